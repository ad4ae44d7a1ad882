//! Reads everything of a space and checks that it fits together.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use bytes::Bytes;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan};
use minicbor::Decoder;

use super::commit::{
    Change, ChangeKind, Commit, FailureChange, decode_changes, decode_header, encode_part,
};
use super::counters::SchemaCounters;
use super::error::{DataLayerError, hex};
use super::ids::{CommitNumber, FieldId, IndexId, SchemaId, TransformId};
use super::index::IndexState;
use super::index_build::Progress;
use super::layout::CellPlace;
use super::read_point::ReadPoint;
use super::record::{Cell, PastCell, RecordRow, Stamp};
use super::rows::Rows;
use super::serialization::RowError;
use super::transform_revision::Revisions;
use super::verify_transforms::FoundTransform;
use crate::model::{FieldKind, Timestamp, Value, decode_value};

/// At most this many problems are described; the others are counted.
const PROBLEMS_MAX: usize = 100;

/// What a verification has read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Commits in the log.
    pub commits: u64,
    /// Live records.
    pub records: u64,
    /// Elements of Collection and Range fields.
    pub elements: u64,
    /// Atoms, current and past.
    pub atoms: u64,
    /// The first 100 problems, each with the place where it was found.
    pub problems: Vec<String>,
    /// How many problems were found.
    pub problems_found: u64,
}

impl VerifyReport {
    /// Whether everything fits together.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems_found == 0
    }

    pub(super) fn problem(&mut self, problem: impl fmt::Display) {
        self.problems_found += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        }
    }
}

/// Checks a space.
///
/// - commits are numbered without a gap, their times rise, and the head is the last one;
/// - every record, element, past atom, earlier life and value decodes, fits its field, and names a
///   commit of the log;
/// - every row and key is in the one form that the format has for it, also in the catalogue;
/// - elements belong to records, and each field's count of them is right;
/// - the atoms and births found in records and history are those that the commits list, by schema;
/// - the counters are what a count finds, and every schema has its state and its hash;
/// - computed cells name their transform; its failures and what is left to compute are counted, the
///   commits say for which records it fails, and what it has looked up leads back to its records;
/// - indexes that are ready have the entries of all live records and no others.
pub(crate) fn verify(point: &ReadPoint) -> Result<VerifyReport, DataLayerError> {
    let (report, found, entries, transforms, told_failures) = Default::default();
    let mut check = Check { point, report, found, entries, transforms, told_failures };
    let listed = check.commits()?;
    check.records()?;
    check.elements()?;
    check.history()?;
    check.indexes()?;
    check.catalogue()?;
    check.heads()?;
    check.compare(&listed)?;
    Ok(check.report)
}

pub(super) struct Check<'a> {
    pub(super) point: &'a ReadPoint,
    pub(super) report: VerifyReport,
    found: HashMap<SchemaId, Found>,
    entries: HashMap<IndexId, Entries>,
    pub(super) transforms: HashMap<TransformId, FoundTransform>,
    /// By transform, the sum of the hashes of the records for which the commits say that it fails,
    /// less those of the rows that tell why.
    pub(super) told_failures: HashMap<TransformId, u64>,
}

/// Entries of an index in any order, as sums of their hashes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entries {
    of_records: u64,
    found: u64,
}

pub(super) fn entry_hash(key: &[u8], row: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, row).hash(&mut hasher);
    hasher.finish()
}

/// What was found of a schema.
#[derive(Debug, Default)]
struct Found {
    counters: SchemaCounters,
    writes: WriteSum,
}

/// Atoms and births of records in any order: two are equal if they are the same ones, but for a
/// chance of one in 2^64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct WriteSum(u64);

/// Stands for the birth of a record where a field could stand.
const BIRTH: FieldId = FieldId(u32::MAX);

impl WriteSum {
    fn add(&mut self, record: &[u8], field: FieldId, element: &[u8], stamp: Stamp) {
        let mut hasher = DefaultHasher::new();
        (record, field, element, stamp.commit, stamp.writer, stamp.base).hash(&mut hasher);
        self.0 = self.0.wrapping_add(hasher.finish());
    }

    fn add_change(&mut self, change: &Change, commit: &Commit, revisions: &Revisions) {
        let stamp = |base| Stamp { commit: commit.number, writer: commit.writer, base };
        let stamp_of = |schema, field, base| {
            let writer = revisions.writer_of(CellPlace { schema, field }, commit.writer);
            Stamp { writer, ..stamp(base) }
        };
        match change {
            Change::Record { schema, record, kind, base, fields } => {
                match kind {
                    ChangeKind::Delete => {
                        self.add(record, FieldId::RECORD, &[], stamp(*base));
                    }
                    ChangeKind::Create => self.add(record, BIRTH, &[], stamp(*base)),
                    ChangeKind::Write => {}
                }
                for field in fields {
                    self.add(record, *field, &[], stamp_of(*schema, *field, *base));
                }
            }
            Change::Elements { schema, record, base, field, elements } => {
                for (ordinal, element) in (*base..).zip(elements) {
                    self.add(record, *field, element, stamp_of(*schema, *field, ordinal));
                }
            }
            Change::Catalogue { .. } | Change::Failure { .. } => {}
        }
    }
}

/// A row that is read.
pub(super) struct Place<'a> {
    pub(super) schema: SchemaId,
    pub(super) record: &'a [u8],
    /// The element, encoded; empty if it is not the row of one.
    pub(super) element: &'a [u8],
    /// The birth that the key tells.
    pub(super) birth: Option<CommitNumber>,
    pub(super) keyspace: &'static str,
    pub(super) key: &'a [u8],
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: row {}", self.keyspace, hex(self.key))
    }
}

/// What the commits list of a schema.
#[derive(Debug, Default)]
struct Listed {
    atoms: u64,
    writes: WriteSum,
}

impl Check<'_> {
    pub(super) fn scan(
        &mut self,
        keyspace: Keyspace,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]),
    ) -> Result<(), DataLayerError> {
        let scan = Scan::prefix(keyspace, &self.point.rows.all());
        let snapshot = std::sync::Arc::clone(&self.point.published.snapshot);
        snapshot.for_each(&scan, &mut |key, row| {
            visit(self, key, row);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// Reads the commit log; answers the atoms that it lists.
    fn commits(&mut self) -> Result<HashMap<SchemaId, Listed>, DataLayerError> {
        let mut listed: HashMap<SchemaId, Listed> = HashMap::new();
        let mut expected = CommitNumber(1);
        let mut time = Timestamp::from_micros(i64::MIN);
        // The commit whose parts are read, and the atoms counted in them.
        let mut open: Option<(Commit, u32)> = None;
        let rows = self.point.rows;
        let catalogue = &self.point.published.catalogue;
        let mut revisions = Revisions::new(std::sync::Arc::clone(catalogue));
        self.scan(Keyspace::Commits, |check, key, row| {
            let Ok((number, part)) = rows.read_commit_part(key) else {
                return check.report.problem(format!("commits: key {} is none", hex(key)));
            };
            let mut decoder = Decoder::new(row);
            if part == 0 {
                check.close_commit(open.take());
                if number != expected {
                    check.report.problem(format!("commit {expected} is missing"));
                }
                expected = number.next();
                check.report.commits += 1;
                match decode_header(number, &mut decoder) {
                    Ok(header) => {
                        if header.time <= time {
                            check.report.problem(format!("commit {number}: time goes back"));
                        }
                        time = header.time;
                        open = Some((header, 0));
                    }
                    Err(error) => {
                        return check.report.problem(format!("commit {number}: {error}"));
                    }
                }
            }
            match decode_changes(&mut decoder, row) {
                Ok(changes) => {
                    let header = open.as_ref().filter(|_| part == 0).map(|(header, _)| header);
                    let own_form = encode_part(header, &changes);
                    let place = format_args!("commit {number}.{part}");
                    check.form(&place, row, &own_form);
                    for change in changes {
                        revisions.read(rows, &change);
                        check.tell_failure(&change);
                        let Some((commit, counted)) = &mut open else { continue };
                        *counted += change.atoms();
                        if let Change::Record { schema, .. } | Change::Elements { schema, .. } =
                            &change
                        {
                            let listed = listed.entry(*schema).or_default();
                            listed.atoms += u64::from(change.atoms());
                            listed.writes.add_change(&change, commit, &revisions);
                        }
                    }
                }
                Err(error) => check.report.problem(format!("commit {number}.{part}: {error}")),
            }
        })?;
        self.close_commit(open);
        if expected != self.point.published.number.next() {
            let (last, head) = (expected.0.saturating_sub(1), self.point.published.number);
            self.report.problem(format!("the log ends at commit {last}, the head is {head}"));
        } else if expected > CommitNumber(1) && time != self.point.published.time {
            let found = self.point.published.time;
            self.report.problem(format!("the last commit is of {time}, the head says {found}"));
        }
        Ok(listed)
    }

    /// Notes that a transform begins or ends to fail for a record.
    fn tell_failure(&mut self, change: &Change) {
        let Change::Failure { transform, record, what } = change else { return };
        let hash = entry_hash(record, &[]);
        let told = self.told_failures.entry(*transform).or_default();
        *told = match what {
            FailureChange::Failed { again: false, .. } => told.wrapping_add(hash),
            FailureChange::Failed { again: true, .. } => *told,
            FailureChange::Recovered | FailureChange::Gone => told.wrapping_sub(hash),
        };
    }

    fn close_commit(&mut self, commit: Option<(Commit, u32)>) {
        if let Some((Commit { number, atoms: stated, .. }, counted)) = commit
            && stated != counted
        {
            self.report
                .problem(format!("commit {number} states {stated} atoms and lists {counted}"));
        }
    }

    fn records(&mut self) -> Result<(), DataLayerError> {
        let rows = self.point.rows;
        self.scan(Keyspace::Records, |check, key, row| {
            let Some((schema, record)) = check.read_record_key(rows, key) else {
                return check.report.problem(format!("records: key {} is none", hex(key)));
            };
            let (element, birth, keyspace) = (&[][..], None, "records");
            let place = Place { schema, record, element, birth, keyspace, key };
            if check.row(&place, row) {
                check.found.entry(schema).or_default().counters.records += 1;
                check.report.records += 1;
                if let Err(error) = check.entries_of(schema, record, row) {
                    check.report.problem(format!("{place}: {error}"));
                }
            }
        })
    }

    /// Notes what a live record should have in indexes.
    fn entries_of(&mut self, schema: SchemaId, record: &[u8], row: &[u8]) -> Result<(), RowError> {
        let indexes = self.point.published.catalogue.kept_indexes(schema);
        if indexes.is_empty() {
            return Ok(());
        }
        let record = Bytes::copy_from_slice(record);
        let row = RecordRow::decode(&Bytes::copy_from_slice(row))?;
        let Some(live) = row.live() else { return Ok(()) };
        for index in indexes {
            let cell = |field| live.cell(field)?.value.as_deref();
            let entry = index.entry(self.point.rows, &record, cell)?;
            let sum = &mut self.entries.entry(index.id).or_default().of_records;
            *sum = sum.wrapping_add(entry_hash(&entry.key, &entry.row));
        }
        Ok(())
    }

    /// The schema of a record's key, which must have as many parts as the schema says.
    fn read_record_key<'k>(&self, rows: Rows, key: &'k [u8]) -> Option<(SchemaId, &'k [u8])> {
        let (schema, record) = rows.read_record(key).ok()?;
        let entry = self.point.published.catalogue.by_id(schema)?;
        let mut reader = KeyReader::new(record);
        for _ in &entry.schema.key {
            reader.part().ok()?;
        }
        reader.is_empty().then_some((schema, record))
    }

    fn indexes(&mut self) -> Result<(), DataLayerError> {
        let keyspace = Keyspace::Indexes;
        let rows = self.point.rows;
        let catalogue = std::sync::Arc::clone(&self.point.published.catalogue);
        self.scan(keyspace, |check, key, row| {
            let place = || format!("{keyspace}: row {}", hex(key));
            let Ok((id, rest)) = rows.read_index(key) else {
                return check.report.problem(format!("{}: is of no index", place()));
            };
            if id == IndexId(0) {
                match Progress::decode(row) {
                    Ok(progress) => check.form(&place(), row, &progress.encode()),
                    Err(error) => check.report.problem(format!("{}: {error}", place())),
                }
                return;
            }
            let transform = TransformId(id.0);
            if catalogue.transform(transform).is_some() {
                return check.transform_row(transform, key, row, rest);
            }
            if catalogue.retired_transform(transform).is_some_and(|found| found.has_rows) {
                // They are removed in the background.
                return;
            }
            let Some(index) = catalogue.index(id) else {
                return check.report.problem(format!("{}: is of no index", place()));
            };
            if let Err(error) = index.record_of(rows, key, row) {
                check.report.problem(format!("{}: {error}", place()));
            }
            let sum = &mut check.entries.entry(id).or_default().found;
            *sum = sum.wrapping_add(entry_hash(key, row));
        })?;
        self.compare_transforms()?;
        let catalogue = &self.point.published.catalogue;
        let is_retired = |id| catalogue.retired_transform(id).is_some();
        let differs = |(id, told): &(TransformId, u64)| *told != 0 && !is_retired(*id);
        for (transform, _) in self.told_failures.drain().filter(differs) {
            self.report.problem(format!(
                "the commits say that transform {transform} fails for other records than it does"
            ));
        }
        for index in catalogue.indexes().filter(|index| index.state == IndexState::Ready) {
            let entries = self.entries.remove(&index.id).unwrap_or_default();
            if entries.of_records != entries.found {
                let schema = &index.schema;
                self.report.problem(format!("{index} of {schema} is not that of the records"));
            }
        }
        Ok(())
    }

    /// A row that decodes must be the one that is written of what it says: of other bytes nobody
    /// knows whether every reader takes them for the same.
    pub(super) fn form(&mut self, place: &dyn fmt::Display, row: &[u8], own_form: &[u8]) {
        if row != own_form {
            self.report.problem(format!("{place}: is in another form than it was written"));
        }
    }

    /// Counts an element that exists.
    pub(super) fn count_element(&mut self, schema: SchemaId) {
        self.found.entry(schema).or_default().counters.elements += 1;
        self.report.elements += 1;
    }

    /// Checks the row of a record or of an earlier life; answers whether it is a live one.
    fn row(&mut self, place: &Place<'_>, row: &[u8]) -> bool {
        let decoded = RecordRow::decode(&Bytes::copy_from_slice(row));
        if let Ok(decoded) = &decoded {
            self.form(place, row, &decoded.encode());
        }
        if let (Ok(row), Some(birth)) = (&decoded, place.birth)
            && row.birth().commit != birth
        {
            let found = row.birth().commit;
            self.report.problem(format!("{place}: the key says commit {birth}, the row {found}"));
        }
        match decoded {
            Ok(RecordRow::Tombstone(stamp)) => {
                self.atom(place, FieldId::RECORD, stamp);
                false
            }
            Ok(RecordRow::Live(live)) => {
                self.write(place, BIRTH, live.birth);
                for (field, cell) in &live.cells {
                    self.cell(place, *field, cell);
                    if cell.stamp.commit < live.birth.commit {
                        self.report.problem(format!("{place}: a cell is too old"));
                    }
                }
                true
            }
            Err(error) => {
                self.report.problem(format!("{place}: {error}"));
                false
            }
        }
    }

    fn cell(&mut self, place: &Place<'_>, field: FieldId, cell: &Cell) {
        self.value(place, field, cell.stamp, cell.value.as_ref());
    }

    /// Checks an atom of a cell or element, whose base is its own ordinal there.
    pub(super) fn value(
        &mut self,
        place: &Place<'_>,
        field: FieldId,
        stamp: Stamp,
        value: Option<&Bytes>,
    ) {
        self.atom(place, field, stamp);
        let problem = match value.map(|raw| decode_value(raw)) {
            None => None,
            Some(Ok(value)) => self.unfit(place, field, value),
            Some(Err(error)) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            self.report.problem(format!("{place}: field {}: {problem}", field.0));
        }
    }

    /// Why a value is none of its field.
    fn unfit(&self, place: &Place<'_>, field: FieldId, value: Value) -> Option<String> {
        let catalogue = &self.point.published.catalogue;
        catalogue.by_id(place.schema)?;
        let field = catalogue.field_at(CellPlace { schema: place.schema, field });
        if let Some((_, field)) = field
            && place.element.is_empty() != (field.kind == FieldKind::Single)
        {
            return Some("is of another kind than its field".into());
        }
        match field.map(|(_, field)| field.accept(value.clone())) {
            None => Some("the schema has no such field".into()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(stored)) if stored != value => Some("is not the value that is stored".into()),
            Some(Ok(_)) => None,
        }
    }

    fn atom(&mut self, place: &Place<'_>, field: FieldId, stamp: Stamp) {
        self.report.atoms += 1;
        self.found.entry(place.schema).or_default().counters.atoms += 1;
        self.write(place, field, stamp);
    }

    fn write(&mut self, place: &Place<'_>, field: FieldId, stamp: Stamp) {
        let found = self.found.entry(place.schema).or_default();
        found.writes.add(place.record, field, place.element, stamp);
        if stamp.commit == CommitNumber::ZERO || stamp.commit > self.point.published.number {
            let commit = stamp.commit;
            self.report.problem(format!("{place}: is of commit {commit}, which is none"));
        }
    }

    fn history(&mut self) -> Result<(), DataLayerError> {
        self.scan(Keyspace::History, |check, key, row| {
            let Some((place, field, birth)) = check.read_history_key(key) else {
                return check.report.problem(format!("history: key {} is none", hex(key)));
            };
            if field == FieldId::RECORD {
                check.row(&place, row);
                return;
            }
            let past = match PastCell::decode(&Bytes::copy_from_slice(row)) {
                Ok(past) => {
                    check.form(&place, row, &past.encode());
                    past.into_cell(birth)
                }
                Err(error) => return check.report.problem(format!("{place}: {error}")),
            };
            check.cell(&place, field, &past);
        })
    }

    fn read_history_key<'k>(&self, key: &'k [u8]) -> Option<(Place<'k>, FieldId, CommitNumber)> {
        let (schema, record, field, mut reader) = self.read_field_key(key)?;
        let entry = self.point.published.catalogue.by_id(schema)?;
        let (element, birth) = if entry.element_fields.contains(&field) {
            Rows::read_past_element(reader.rest()).ok()?
        } else {
            let birth = CommitNumber(reader.descending().ok()?);
            if !reader.is_empty() {
                return None;
            }
            (&[][..], birth)
        };
        let keyspace = "history";
        let place = Place { schema, record, element, birth: Some(birth), keyspace, key };
        Some((place, field, birth))
    }

    /// Schema, record and field of a key, and what stands behind them.
    pub(super) fn read_field_key<'k>(
        &self,
        key: &'k [u8],
    ) -> Option<(SchemaId, &'k [u8], FieldId, KeyReader<'k>)> {
        let mut reader = KeyReader::new(key);
        reader.id().ok()?;
        let schema = SchemaId(reader.id().ok()?);
        let parts = self.point.published.catalogue.by_id(schema)?.schema.key.len();
        let record = reader.skip_parts(parts).ok()?;
        let field = FieldId(reader.id().ok()?);
        Some((schema, record, field, reader))
    }

    /// Compares what was found with what the commits list and what the counters say.
    fn compare(&mut self, listed: &HashMap<SchemaId, Listed>) -> Result<(), DataLayerError> {
        let none = Listed::default();
        let entries: Vec<_> = self.point.published.catalogue.iter().cloned().collect();
        for entry in entries {
            let Found { counters: found, writes } =
                self.found.remove(&entry.id).unwrap_or_default();
            let (keyspace, key) = self.point.rows.counters(entry.id);
            let counters = match self.point.published.get(keyspace, &key)? {
                Some(row) => SchemaCounters::decode(&row)
                    .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
                None => SchemaCounters::default(),
            };
            let name = &entry.schema.name;
            if counters != found {
                self.report.problem(format!(
                    "{name}: the counters say {} records, {} elements and {} atoms, \
                     there are {}, {} and {}",
                    counters.records,
                    counters.elements,
                    counters.atoms,
                    found.records,
                    found.elements,
                    found.atoms
                ));
            }
            let listed = listed.get(&entry.id).unwrap_or(&none);
            if listed.atoms != found.atoms {
                self.report.problem(format!(
                    "{name}: the commits list {} atoms, there are {}",
                    listed.atoms, found.atoms
                ));
            } else if listed.writes != writes {
                let problem = "the commits list other atoms than there are, or other records";
                self.report.problem(format!("{name}: {problem}"));
            }
            let (keyspace, key) = self.point.rows.state(entry.id);
            if self.point.published.get(keyspace, &key)?.is_none() {
                self.report.problem(format!("{name}: its state is missing"));
            }
            if entry.schema.content_hash() != entry.hash {
                self.report.problem(format!("{name}: its hash is not that of its definition"));
            }
        }
        // Two definitions with one name: what is found by the name is not what has the records.
        for schema in std::mem::take(&mut self.found).into_keys() {
            self.report.problem(format!("there are records of schema number {schema}, unknown"));
        }
        Ok(())
    }
}
