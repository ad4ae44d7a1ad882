//! Reads everything of a space and checks that it fits together.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan};
use minicbor::Decoder;

use super::commit::{Change, decode_changes, decode_header};
use super::counters::SchemaCounters;
use super::error::{DataLayerError, hex};
use super::ids::{CommitNumber, FieldId, SchemaId};
use super::read_point::ReadPoint;
use super::record::{Cell, PastCell, RecordRow};
use super::rows::Rows;
use crate::model::{Timestamp, decode_value};

/// At most this many problems are described; the others are counted.
const PROBLEMS_MAX: usize = 100;

/// What a verification has read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Commits in the log.
    pub commits: u64,
    /// Live records.
    pub records: u64,
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

    fn problem(&mut self, problem: impl fmt::Display) {
        self.problems_found += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        }
    }
}

/// Checks a space.
///
/// - commits are numbered without a gap, their times rise, and the head is the last one;
/// - every record, past cell, earlier life and value decodes, and names a commit of the log;
/// - the atoms found in records and history are as many as the commits list, by schema;
/// - the counters are what a count finds.
pub(crate) fn verify(point: &ReadPoint) -> Result<VerifyReport, DataLayerError> {
    let mut check = Check { point, report: VerifyReport::default(), found: HashMap::new() };
    let listed = check.commits()?;
    check.records()?;
    check.history()?;
    check.unused()?;
    check.compare(&listed)?;
    Ok(check.report)
}

struct Check<'a> {
    point: &'a ReadPoint,
    report: VerifyReport,
    found: HashMap<SchemaId, SchemaCounters>,
}

impl Check<'_> {
    fn scan(
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
    fn commits(&mut self) -> Result<HashMap<SchemaId, u64>, DataLayerError> {
        let mut listed: HashMap<SchemaId, u64> = HashMap::new();
        let mut expected = CommitNumber(1);
        let mut time = Timestamp::from_micros(i64::MIN);
        let mut open: Option<(CommitNumber, u32, u32)> = None;
        let rows = self.point.rows;
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
                    Ok(header) if header.time > time => {
                        time = header.time;
                        open = Some((number, header.atoms, 0));
                    }
                    Ok(_) => check.report.problem(format!("commit {number}: time goes back")),
                    Err(error) => {
                        return check.report.problem(format!("commit {number}: {error}"));
                    }
                }
            }
            match decode_changes(&mut decoder, row) {
                Ok(changes) => {
                    for change in changes {
                        let atoms = change.atoms();
                        if let Some((_, _, counted)) = &mut open {
                            *counted += atoms;
                        }
                        if let Change::Record { schema, .. } = change {
                            *listed.entry(schema).or_default() += u64::from(atoms);
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
        }
        Ok(listed)
    }

    fn close_commit(&mut self, commit: Option<(CommitNumber, u32, u32)>) {
        if let Some((number, stated, counted)) = commit
            && stated != counted
        {
            self.report
                .problem(format!("commit {number} states {stated} atoms and lists {counted}"));
        }
    }

    fn records(&mut self) -> Result<(), DataLayerError> {
        let rows = self.point.rows;
        self.scan(Keyspace::Records, |check, key, row| {
            let Some(schema) = check.read_record_key(rows, key) else {
                return check.report.problem(format!("records: key {} is none", hex(key)));
            };
            if check.row(schema, "records", key, row) {
                check.found.entry(schema).or_default().records += 1;
                check.report.records += 1;
            }
        })
    }

    /// The schema of a record's key, which must have as many parts as the schema says.
    fn read_record_key(&self, rows: Rows, key: &[u8]) -> Option<SchemaId> {
        let (schema, record) = rows.read_record(key).ok()?;
        let entry = self.point.published.catalogue.by_id(schema)?;
        let mut reader = KeyReader::new(record);
        for _ in &entry.schema.key {
            reader.part().ok()?;
        }
        reader.is_empty().then_some(schema)
    }

    /// Nothing writes these keyspaces yet.
    fn unused(&mut self) -> Result<(), DataLayerError> {
        for keyspace in [Keyspace::Elements, Keyspace::Indexes] {
            self.scan(keyspace, |check, key, _| {
                check.report.problem(format!("{keyspace}: there is a row {}", hex(key)));
            })?;
        }
        Ok(())
    }

    /// Checks the row of a record or of an earlier life; answers whether it is a live one.
    fn row(&mut self, schema: SchemaId, keyspace: &str, key: &[u8], row: &[u8]) -> bool {
        match RecordRow::decode(&Bytes::copy_from_slice(row)) {
            Ok(RecordRow::Tombstone(stamp)) => {
                self.atom(schema, keyspace, key, stamp.commit);
                false
            }
            Ok(RecordRow::Live(live)) => {
                for (field, cell) in &live.cells {
                    self.cell(schema, keyspace, key, *field, cell);
                    if cell.stamp.commit < live.birth.commit {
                        let key = hex(key);
                        self.report.problem(format!("{keyspace}: a cell of {key} is too old"));
                    }
                }
                true
            }
            Err(error) => {
                self.report.problem(format!("{keyspace}: row {}: {error}", hex(key)));
                false
            }
        }
    }

    fn cell(&mut self, schema: SchemaId, keyspace: &str, key: &[u8], field: FieldId, cell: &Cell) {
        self.atom(schema, keyspace, key, cell.stamp.commit);
        if let Some(raw) = &cell.value
            && let Err(error) = decode_value(raw)
        {
            let (key, field) = (hex(key), field.0);
            self.report.problem(format!("{keyspace}: field {field} of {key}: {error}"));
        }
    }

    fn atom(&mut self, schema: SchemaId, keyspace: &str, key: &[u8], commit: CommitNumber) {
        self.report.atoms += 1;
        self.found.entry(schema).or_default().atoms += 1;
        if commit == CommitNumber::ZERO || commit > self.point.published.number {
            let key = hex(key);
            self.report.problem(format!("{keyspace}: {key} is of commit {commit}, which is none"));
        }
    }

    fn history(&mut self) -> Result<(), DataLayerError> {
        self.scan(Keyspace::History, |check, key, row| match check.read_history_key(key) {
            None => check.report.problem(format!("history: key {} is none", hex(key))),
            Some((schema, FieldId::RECORD, _)) => {
                check.row(schema, "history", key, row);
            }
            Some((schema, field, birth)) => match PastCell::decode(&Bytes::copy_from_slice(row)) {
                Ok(past) => check.cell(schema, "history", key, field, &past.into_cell(birth)),
                Err(error) => {
                    check.report.problem(format!("history: row {}: {error}", hex(key)));
                }
            },
        })
    }

    fn read_history_key(&self, key: &[u8]) -> Option<(SchemaId, FieldId, CommitNumber)> {
        let mut reader = KeyReader::new(key);
        reader.id().ok()?;
        let schema = SchemaId(reader.id().ok()?);
        let parts = self.point.published.catalogue.by_id(schema)?.schema.key.len();
        reader.skip_parts(parts).ok()?;
        let field = FieldId(reader.id().ok()?);
        let birth = CommitNumber(reader.descending().ok()?);
        reader.is_empty().then_some((schema, field, birth))
    }

    /// Compares what was found with what the commits list and what the counters say.
    fn compare(&mut self, listed: &HashMap<SchemaId, u64>) -> Result<(), DataLayerError> {
        let entries: Vec<_> = self.point.published.catalogue.iter().cloned().collect();
        for entry in entries {
            let found = self.found.remove(&entry.id).unwrap_or_default();
            let (keyspace, key) = self.point.rows.counters(entry.id);
            let counters = match self.point.published.get(keyspace, &key)? {
                Some(row) => SchemaCounters::decode(&row)
                    .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
                None => SchemaCounters::default(),
            };
            let name = &entry.schema.name;
            if counters != found {
                self.report.problem(format!(
                    "{name}: the counters say {} records and {} atoms, there are {} and {}",
                    counters.records, counters.atoms, found.records, found.atoms
                ));
            }
            let listed = listed.get(&entry.id).copied().unwrap_or_default();
            if listed != found.atoms {
                self.report.problem(format!(
                    "{name}: the commits list {listed} atoms, there are {}",
                    found.atoms
                ));
            }
        }
        for schema in std::mem::take(&mut self.found).into_keys() {
            self.report.problem(format!("there are records of schema number {schema}, unknown"));
        }
        Ok(())
    }
}
