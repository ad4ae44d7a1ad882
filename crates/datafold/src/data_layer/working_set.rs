//! What a transaction is about to write, before its commit number is known.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::catalogue::encode_definition;
use super::commit::{Change, ChangeKind};
use super::error::DataLayerError;
use super::ids::{CommitNumber, FieldId, SchemaId, WriterId};
use super::record::{Cell, LiveRecord, PastCell, RecordRow, Stamp};
use super::rows::Rows;
use super::serialization::RowError;
use crate::model::{ContentHash, Schema};

/// Where a transaction reads the rows that it has not written itself.
pub(crate) trait RowSource {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError>;
}

/// New values of fields, encoded; `None` deletes the cell.
pub(crate) type FieldWrites = BTreeMap<FieldId, Option<Bytes>>;

/// A record as it was found, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    before: Option<RecordRow>,
    /// The row as it was found, to be kept whole when the record's life ends.
    before_row: Option<Bytes>,
    after: After,
}

#[derive(Debug, Clone)]
enum After {
    Untouched,
    /// Writes cells of the life that was found.
    Merged(FieldWrites),
    /// A new life.
    Created(FieldWrites),
    Deleted,
}

impl Draft {
    fn new(row: Option<Bytes>) -> Result<Self, RowError> {
        let before = row.as_ref().map(RecordRow::decode).transpose()?;
        Ok(Self { before, before_row: row, after: After::Untouched })
    }

    fn found_live(&self) -> Option<&LiveRecord> {
        self.before.as_ref().and_then(RecordRow::live)
    }

    /// Whether the record exists, as the transaction sees it.
    pub(crate) fn exists(&self) -> bool {
        match self.after {
            After::Untouched | After::Merged(_) => self.found_live().is_some(),
            After::Created(_) => true,
            After::Deleted => false,
        }
    }

    /// The last commit that touched the record; `None` if it does not exist, or if this
    /// transaction wrote it.
    pub(crate) fn changed(&self) -> Option<CommitNumber> {
        match self.after {
            After::Untouched => self.found_live().map(LiveRecord::changed),
            _ => None,
        }
    }

    /// The last commit before this transaction that wrote or ended a cell.
    pub(crate) fn cell_changed(&self, field: FieldId) -> Option<CommitNumber> {
        match self.before.as_ref()? {
            RecordRow::Live(live) => live.cell(field).map(|cell| cell.stamp.commit),
            RecordRow::Tombstone(stamp) => Some(stamp.commit),
        }
    }

    /// The commit that ended the record's last life before this transaction; 0 if there was none.
    pub(crate) fn ended(&self) -> CommitNumber {
        match &self.before {
            Some(RecordRow::Tombstone(stamp)) => stamp.commit,
            _ => CommitNumber::ZERO,
        }
    }

    /// The encoded value of a field, as the transaction sees it.
    pub(crate) fn value(&self, field: FieldId) -> Option<&Bytes> {
        let found = || self.found_live()?.cell(field)?.value.as_ref();
        match &self.after {
            After::Untouched => found(),
            After::Merged(writes) => match writes.get(&field) {
                Some(write) => write.as_ref(),
                None => found(),
            },
            After::Created(writes) => writes.get(&field).and_then(Option::as_ref),
            After::Deleted => None,
        }
    }

    /// Begins a new life with these values. The record must not exist.
    pub(crate) fn create(&mut self, writes: FieldWrites) {
        debug_assert!(!self.exists(), "create is called for a record that does not exist");
        self.after = After::Created(writes);
    }

    /// Writes cells of the record, which must exist.
    pub(crate) fn merge(&mut self, writes: FieldWrites) {
        debug_assert!(self.exists(), "merge is called for a record that exists");
        match &mut self.after {
            After::Merged(earlier) | After::Created(earlier) => earlier.extend(writes),
            After::Untouched | After::Deleted => self.after = After::Merged(writes),
        }
    }

    /// Ends the life of the record, if it has one.
    pub(crate) fn delete(&mut self) {
        self.after = if self.found_live().is_some() { After::Deleted } else { After::Untouched };
    }
}

/// A catalogue row as it was found, and what becomes of it.
#[derive(Debug, Clone)]
struct CatalogueDraft {
    before: Option<Bytes>,
    after: CatalogueWrite,
}

/// What becomes of a catalogue row.
#[derive(Debug, Clone)]
pub(crate) enum CatalogueWrite {
    Put(Bytes),
    Delete,
    /// A definition's row names the commit that writes it.
    Define {
        schema: Arc<Schema>,
        hash: ContentHash,
        source: Option<Arc<str>>,
    },
}

impl CatalogueWrite {
    fn row(&self, number: CommitNumber) -> Option<Bytes> {
        match self {
            CatalogueWrite::Put(row) => Some(row.clone()),
            CatalogueWrite::Delete => None,
            CatalogueWrite::Define { schema, hash, source } => {
                Some(encode_definition(schema, hash, number, source.as_deref()).into())
            }
        }
    }
}

/// The writes of a transaction, by record and by catalogue row.
#[derive(Debug, Clone)]
pub(crate) struct WorkingSet {
    pub(crate) rows: Rows,
    records: BTreeMap<(SchemaId, Bytes), Draft>,
    catalogue: BTreeMap<Bytes, CatalogueDraft>,
}

/// Drafts to go back to; `None` for a record that had none.
#[derive(Debug)]
pub(crate) struct Savepoint(Vec<((SchemaId, Bytes), Option<Draft>)>);

/// Which commit the writes become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitStamp {
    pub(crate) number: CommitNumber,
    pub(crate) writer: WriterId,
}

/// Signed changes of a schema's counters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CounterDelta {
    pub(crate) records: i64,
    pub(crate) atoms: u64,
}

/// The rows of a commit, without its log and head.
#[derive(Debug, Default)]
pub(crate) struct Materialized {
    pub(crate) writes: Vec<(BatchKey, Option<Bytes>)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) counters: BTreeMap<SchemaId, CounterDelta>,
    /// Catalogue rows: key, row before, row after.
    pub(crate) catalogue: Vec<(Bytes, Option<Bytes>, Option<Bytes>)>,
}

impl Materialized {
    fn put(&mut self, keyspace: Keyspace, key: Bytes, row: impl Into<Bytes>) {
        self.writes.push(((keyspace, key), Some(row.into())));
    }
}

impl WorkingSet {
    pub(crate) fn new(rows: Rows) -> Self {
        Self { rows, records: BTreeMap::new(), catalogue: BTreeMap::new() }
    }

    /// The draft of a record, read from `source` unless the transaction has it.
    pub(crate) fn record(
        &mut self,
        source: &mut dyn RowSource,
        schema: SchemaId,
        record: &Bytes,
    ) -> Result<&mut Draft, DataLayerError> {
        match self.records.entry((schema, record.clone())) {
            Entry::Occupied(draft) => Ok(draft.into_mut()),
            Entry::Vacant(place) => {
                let key = self.rows.record(schema, record);
                let row = source.read(Keyspace::Records, &key)?;
                let draft = Draft::new(row)
                    .map_err(|error| DataLayerError::row(Keyspace::Records, &key, error))?;
                Ok(place.insert(draft))
            }
        }
    }

    /// The drafts of some records as they are, to go back to.
    pub(crate) fn savepoint<'k>(
        &self,
        records: impl Iterator<Item = (SchemaId, &'k Bytes)>,
    ) -> Savepoint {
        let draft = |(schema, record): (SchemaId, &Bytes)| {
            let key = (schema, record.clone());
            let draft = self.records.get(&key).cloned();
            (key, draft)
        };
        Savepoint(records.map(draft).collect())
    }

    /// Goes back; other drafts stay as they are.
    pub(crate) fn restore(&mut self, savepoint: Savepoint) {
        for (key, draft) in savepoint.0 {
            match draft {
                Some(draft) => self.records.insert(key, draft),
                None => self.records.remove(&key),
            };
        }
    }

    /// Whether records of a schema are written.
    pub(crate) fn writes_to(&self, schema: SchemaId) -> bool {
        let from = (schema, Bytes::new());
        let drafts = self.records.range(from..).take_while(|((found, _), _)| *found == schema);
        drafts.into_iter().any(|(_, draft)| !matches!(draft.after, After::Untouched))
    }

    /// A catalogue row as the transaction sees it.
    pub(crate) fn catalogue_row(
        &mut self,
        source: &mut dyn RowSource,
        key: &BatchKey,
    ) -> Result<Option<Bytes>, DataLayerError> {
        match self.catalogue.get(&key.1) {
            Some(draft) => Ok(draft.after.row(CommitNumber::ZERO)),
            None => source.read(key.0, &key.1),
        }
    }

    /// Writes a catalogue row.
    pub(crate) fn write_catalogue(
        &mut self,
        source: &mut dyn RowSource,
        key: &BatchKey,
        write: CatalogueWrite,
    ) -> Result<(), DataLayerError> {
        match self.catalogue.entry(key.1.clone()) {
            Entry::Occupied(mut draft) => draft.get_mut().after = write,
            Entry::Vacant(place) => {
                let before = source.read(key.0, &key.1)?;
                place.insert(CatalogueDraft { before, after: write });
            }
        }
        Ok(())
    }

    /// Whether nothing was written; reads may have left drafts.
    pub(crate) fn is_empty(&self) -> bool {
        self.catalogue.is_empty()
            && self.records.values().all(|draft| matches!(draft.after, After::Untouched))
    }

    fn catalogue_rows_at(&self, at: CommitNumber) -> Vec<(Bytes, Option<Bytes>, Option<Bytes>)> {
        let drafts = self.catalogue.iter();
        drafts
            .map(|(key, draft)| (key.clone(), draft.before.clone(), draft.after.row(at)))
            .collect()
    }

    /// The rows of the commit that these writes become.
    pub(crate) fn materialize(self, stamp: CommitStamp) -> Materialized {
        let mut out = Materialized {
            catalogue: self.catalogue_rows_at(stamp.number),
            ..Materialized::default()
        };
        out.catalogue.retain(|(_, before, after)| before != after);
        for (key, _, after) in &out.catalogue {
            out.changes.push(Change::Catalogue { key: key.clone() });
            out.writes.push(((Keyspace::Catalogue, key.clone()), after.clone()));
        }
        let mut base = 0;
        for ((schema, record), draft) in self.records {
            let place = Place { rows: self.rows, schema, record: &record };
            let stamp = Stamp { commit: stamp.number, writer: stamp.writer, base };
            let Some((kind, fields)) = place.write(draft, stamp, &mut out) else { continue };
            base += fields.last().map_or(0, |field| field.0) + 1;
            let change = Change::Record { schema, record, kind, base: stamp.base, fields };
            let delta = out.counters.entry(schema).or_default();
            delta.atoms += u64::from(change.atoms());
            out.changes.push(change);
        }
        out
    }
}

/// Where a record's rows go.
struct Place<'a> {
    rows: Rows,
    schema: SchemaId,
    record: &'a Bytes,
}

impl Place<'_> {
    fn history_key(&self, field: FieldId, birth: CommitNumber) -> Bytes {
        self.rows.history(self.schema, self.record, field, birth)
    }

    /// Writes the record's rows; answers what it did and to which fields, or `None` for nothing.
    fn write(
        &self,
        draft: Draft,
        stamp: Stamp,
        out: &mut Materialized,
    ) -> Option<(ChangeKind, Vec<FieldId>)> {
        match draft.after {
            After::Untouched => None,
            After::Merged(writes) => {
                let Some(RecordRow::Live(live)) = draft.before else { return None };
                self.merge(live, writes, stamp, out)
            }
            After::Created(writes) => {
                self.end_life(draft.before.as_ref(), draft.before_row, out);
                Some((ChangeKind::Create, self.create(writes, stamp, out)))
            }
            After::Deleted => {
                self.end_life(draft.before.as_ref(), draft.before_row, out);
                let row = RecordRow::Tombstone(stamp).encode();
                out.put(Keyspace::Records, self.rows.record(self.schema, self.record), row);
                Some((ChangeKind::Delete, Vec::new()))
            }
        }
    }

    fn merge(
        &self,
        mut live: LiveRecord,
        writes: FieldWrites,
        stamp: Stamp,
        out: &mut Materialized,
    ) -> Option<(ChangeKind, Vec<FieldId>)> {
        let mut written = Vec::with_capacity(writes.len());
        for (field, value) in writes {
            let at = live.cells.binary_search_by_key(&field, |(field, _)| *field);
            let found = at.ok().and_then(|at| live.cells.get_mut(at)).map(|(_, cell)| cell);
            match found {
                // Deleting what is not there leaves no trace.
                None if value.is_none() => continue,
                Some(cell) if value.is_none() && cell.value.is_none() => continue,
                Some(cell) => {
                    let past = PastCell::of(cell).encode();
                    out.put(Keyspace::History, self.history_key(field, cell.stamp.commit), past);
                    *cell = Cell { stamp, value };
                }
                None => {
                    let place = at.unwrap_or_else(|place| place);
                    live.cells.insert(place, (field, Cell { stamp, value }));
                }
            }
            written.push(field);
        }
        if written.is_empty() {
            return None;
        }
        let row = RecordRow::Live(live).encode();
        out.put(Keyspace::Records, self.rows.record(self.schema, self.record), row);
        Some((ChangeKind::Write, written))
    }

    fn create(&self, writes: FieldWrites, stamp: Stamp, out: &mut Materialized) -> Vec<FieldId> {
        let values = writes.into_iter().filter(|(_, value)| value.is_some());
        let cells = values.map(|(field, value)| (field, Cell { stamp, value })).collect();
        let live = LiveRecord { birth: stamp, cells };
        let fields = live.cells.iter().map(|(field, _)| *field).collect();
        let row = RecordRow::Live(live).encode();
        out.put(Keyspace::Records, self.rows.record(self.schema, self.record), row);
        out.counters.entry(self.schema).or_default().records += 1;
        fields
    }

    /// Keeps the whole row of a life, or of a tombstone, that ends with this commit.
    fn end_life(&self, before: Option<&RecordRow>, row: Option<Bytes>, out: &mut Materialized) {
        let (Some(before), Some(row)) = (before, row) else { return };
        let key = self.history_key(FieldId::RECORD, before.birth().commit);
        out.put(Keyspace::History, key, row);
        if before.live().is_some() {
            out.counters.entry(self.schema).or_default().records -= 1;
        }
    }
}
