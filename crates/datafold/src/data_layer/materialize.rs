//! The rows that the writes of a transaction become.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::catalogue::SchemaCore;
use super::commit::{Change, ChangeKind, element_changes};
use super::counters::SchemaCounters;
use super::draft::{After, Draft, ElementDraft, FieldWrites};
use super::element::{ElementCell, ElementCount};
use super::error::{CommitError, DataLayerError};
use super::failure::{own_encoding, unreadable};
use super::ids::{CommitNumber, FieldId, SchemaId, WriterId};
use super::index_writes::IndexWrites;
use super::propagate::Propagate;
use super::propagation::Propagation;
use super::record::{Cell, LiveRecord, PastCell, RecordRow, Stamp};
use super::rows::{CatalogueKind, FieldAddress, Rows};
use super::transform::PropagationLimits;
use super::working_set::{ElementName, RowSource, WorkingSet, read_count};

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
    pub(crate) elements: i64,
    pub(crate) atoms: u64,
}

/// The rows of a commit, without its log and head.
#[derive(Debug, Default)]
pub(crate) struct Materialized {
    pub(crate) writes: Vec<(BatchKey, Option<Bytes>)>,
    pub(crate) changes: Vec<Change>,
    /// Changes of what is told of failures, which come last.
    pub(crate) failures: Vec<Change>,
    pub(crate) counters: BTreeMap<SchemaId, CounterDelta>,
    /// The catalogue behind the commit, if it changes it.
    pub(crate) catalogue: Option<Arc<SchemaCore>>,
}

impl Materialized {
    fn put(&mut self, keyspace: Keyspace, key: Bytes, row: impl Into<Bytes>) {
        self.writes.push(((keyspace, key), Some(row.into())));
    }

    fn counters(&mut self, schema: SchemaId) -> &mut CounterDelta {
        self.counters.entry(schema).or_default()
    }

    fn change(&mut self, schema: SchemaId, change: Change) {
        self.counters(schema).atoms += u64::from(change.atoms());
        self.changes.push(change);
    }
}

impl WorkingSet {
    /// The rows of the commit that these writes become.
    ///
    /// `newest` is the state that the commit follows, `counters` are what it counts. Of it are read
    /// the counts of elements, the entries of unique indexes and what transforms depend on, which
    /// are therefore no part of what a transaction conflicts with.
    ///
    /// Fields that are computed from what is written are computed here, so that everything behind
    /// takes them for what they are: cells that the commit writes.
    pub(crate) fn materialize(
        mut self,
        stamp: CommitStamp,
        (catalogue, counters): (&SchemaCore, &HashMap<SchemaId, SchemaCounters>),
        newest: &mut dyn RowSource,
        limits: PropagationLimits,
    ) -> Result<Materialized, CommitError> {
        let mut out = Materialized::default();
        let mut changed = self.catalogue_rows_at(stamp.number);
        changed.retain(|(_, before, after)| before != after);
        let states = self.rows.catalogue_kind(CatalogueKind::State);
        for (key, _, after) in &changed {
            let row = after.clone().filter(|_| key.starts_with(&states));
            out.changes.push(Change::Catalogue { key: key.clone(), row });
            out.writes.push(((Keyspace::Catalogue, key.clone()), after.clone()));
        }
        if !changed.is_empty() {
            let rows = changed.iter().map(|(key, old, new)| (key, old.as_ref(), new.as_ref()));
            let next = catalogue.with_rows(rows).map_err(|error| own_encoding(&error))?;
            out.catalogue = Some(Arc::new(next));
        }
        for id in &self.background.retired {
            if let Some(counted) = counters.get(&id.counter()) {
                let delta = out.counters(id.counter());
                delta.records -= signed(counted.records);
                delta.elements -= signed(counted.elements);
            }
        }
        for (key, row) in self.index_rows {
            out.writes.push(((Keyspace::Indexes, key), row));
        }
        // A record that is written with the approval of its schema is in its indexes.
        let after = out.catalogue.clone();
        let catalogue = after.as_deref().unwrap_or(catalogue);
        let known = (catalogue, counters);
        Propagate::new(self.rows, stamp.number, known, newest, limits, &mut out).records(
            &mut self.records,
            &mut self.elements,
            &self.background,
        )?;
        let entries = IndexWrites::default();
        let mut writer =
            Writer { rows: self.rows, stamp, catalogue, newest, next: 0, out, entries };
        // Both are sorted by record.
        let mut elements = self.elements.into_iter().peekable();
        for ((schema, record), draft) in self.records {
            let mut of_record = Vec::new();
            while let Some(element) =
                elements.next_if(|(name, _)| (name.schema, &name.record) == (schema, &record))
            {
                of_record.push(element);
            }
            writer.record(schema, &record, &draft).map_err(unreadable)?;
            writer.elements(schema, &record, &draft, of_record).map_err(unreadable)?;
        }
        let Writer { newest, mut out, entries, .. } = writer;
        entries.finish(newest, &mut out.writes)?;
        out.changes.append(&mut out.failures);
        Ok(out)
    }
}

struct Writer<'a> {
    rows: Rows,
    stamp: CommitStamp,
    catalogue: &'a SchemaCore,
    newest: &'a mut dyn RowSource,
    /// The next ordinal that is free in the commit.
    next: u32,
    out: Materialized,
    entries: IndexWrites,
}

impl Writer<'_> {
    /// Writes the record's rows.
    fn record(
        &mut self,
        schema: SchemaId,
        record: &Bytes,
        draft: &Draft,
    ) -> Result<(), DataLayerError> {
        let base = self.next;
        let stamp = Stamp { commit: self.stamp.number, writer: self.stamp.writer, base };
        let computed = self.catalogue.propagation(schema).map(|found| &**found);
        let place = Place { rows: self.rows, schema, record, computed };
        let (kind, fields) = match &draft.after {
            After::Untouched => return Ok(()),
            After::Merged(writes) => {
                let Some(live) = draft.found_live() else { return Ok(()) };
                let written = place.merge(live.clone(), writes, stamp, &mut self.out);
                if written.is_empty() {
                    return Ok(());
                }
                (ChangeKind::Write, written)
            }
            After::Created(writes) => {
                self.end_life(&place, draft)?;
                (ChangeKind::Create, place.create(writes, stamp, &mut self.out))
            }
            After::Deleted => {
                self.end_life(&place, draft)?;
                let row = RecordRow::Tombstone(stamp).encode();
                self.out.put(Keyspace::Records, self.rows.record(schema, record), row);
                (ChangeKind::Delete, Vec::new())
            }
        };
        for index in self.catalogue.kept_indexes(schema) {
            let is_touched = match &draft.after {
                After::Merged(writes) => index.reads_any(writes.keys()),
                _ => true,
            };
            if is_touched {
                self.entries.record(self.rows, index, record, draft)?;
            }
        }
        self.next += fields.last().map_or(0, |field| field.0) + 1;
        let record = record.clone();
        self.out.change(schema, Change::Record { schema, record, kind, base, fields });
        Ok(())
    }

    /// Keeps the whole row of a life, or of a tombstone, that ends with this commit. The elements
    /// of a life end with it, untouched.
    fn end_life(&mut self, place: &Place<'_>, draft: &Draft) -> Result<(), DataLayerError> {
        let (Some(before), Some(row)) = (&draft.before, &draft.before_row) else { return Ok(()) };
        let birth = before.birth().commit;
        let key = place.history_key(FieldId::RECORD, birth);
        self.out.put(Keyspace::History, key, row.clone());
        if before.live().is_none() {
            return Ok(());
        }
        self.out.counters(place.schema).records -= 1;
        let fields = self.catalogue.by_id(place.schema).map(|entry| entry.element_fields.clone());
        for field in fields.iter().flat_map(|fields| fields.iter()) {
            let address = FieldAddress { field: *field, ..place.record_address() };
            if let Some(count) = read_count(self.newest, self.rows, address)? {
                self.out.counters(place.schema).elements -= signed(count.of_life(birth));
            }
        }
        Ok(())
    }

    /// Writes the rows of the elements of a record.
    fn elements(
        &mut self,
        schema: SchemaId,
        record: &Bytes,
        draft: &Draft,
        elements: Vec<(ElementName, ElementDraft)>,
    ) -> Result<(), DataLayerError> {
        let computed = self.catalogue.propagation(schema).cloned();
        let mut elements = elements.into_iter().peekable();
        while let Some((first, _)) = elements.peek() {
            let field = first.field;
            let writer = self.stamp.writer;
            let writer = computed.as_ref().map_or(writer, |found| found.writer_of(field, writer));
            let mut of_field = FieldElements { writer, written: Vec::new(), delta: 0 };
            let base = self.next;
            while let Some((name, element)) = elements.next_if(|(name, _)| name.field == field) {
                self.element(&name, &element, draft, &mut of_field);
            }
            if of_field.written.is_empty() {
                continue;
            }
            for change in element_changes(schema, record, field, base, of_field.written) {
                self.out.change(schema, change);
            }
            let address = FieldAddress { schema, record, field };
            self.count(address, draft, of_field.delta)?;
        }
        Ok(())
    }

    fn element(
        &mut self,
        name: &ElementName,
        element: &ElementDraft,
        record: &Draft,
        of_field: &mut FieldElements,
    ) {
        let Some(value) = element.write(record) else { return };
        let was_live = element.found(record).is_some();
        if value.is_none() && !was_live {
            // Removing what is not there leaves no trace.
            return;
        }
        let address = name.address();
        if let Some(before) = &element.before {
            let key = self.rows.past_element(address, &name.element, before.commit);
            self.out.put(Keyspace::History, key, before.past().encode());
        }
        let (commit, writer) = (self.stamp.number, of_field.writer);
        let cell = ElementCell { commit, writer, ordinal: self.next, value: value.clone() };
        let key = self.rows.element(address, &name.element);
        self.out.put(Keyspace::Elements, key, cell.encode());
        self.next += 1;
        of_field.written.push(name.element.clone());
        of_field.delta += i64::from(value.is_some()) - i64::from(was_live);
    }

    /// Counts the elements of a field anew.
    fn count(
        &mut self,
        address: FieldAddress<'_>,
        draft: &Draft,
        delta: i64,
    ) -> Result<(), DataLayerError> {
        if delta == 0 {
            return Ok(());
        }
        let birth = draft.found_birth().unwrap_or(self.stamp.number);
        let found = read_count(self.newest, self.rows, address)?;
        let count = found.map_or(0, |found| found.of_life(birth)).saturating_add_signed(delta);
        let key = self.rows.element_count(address);
        self.out.put(Keyspace::Elements, key, ElementCount { birth, count }.encode());
        self.out.counters(address.schema).elements += delta;
        Ok(())
    }
}

/// What was written to the elements of one field.
#[derive(Debug)]
struct FieldElements {
    writer: WriterId,
    written: Vec<Bytes>,
    /// How many more there are.
    delta: i64,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Where a record's rows go.
struct Place<'a> {
    rows: Rows,
    schema: SchemaId,
    record: &'a Bytes,
    computed: Option<&'a Propagation>,
}

impl Place<'_> {
    /// The stamp of a cell: a computed one is written by its transform.
    fn stamp(&self, field: FieldId, stamp: Stamp) -> Stamp {
        match self.computed {
            Some(computed) => Stamp { writer: computed.writer_of(field, stamp.writer), ..stamp },
            None => stamp,
        }
    }

    fn record_address(&self) -> FieldAddress<'_> {
        FieldAddress { schema: self.schema, record: self.record, field: FieldId::RECORD }
    }

    fn history_key(&self, field: FieldId, birth: CommitNumber) -> Bytes {
        self.rows.history(self.schema, self.record, field, birth)
    }

    /// Writes cells of a life; answers to which fields.
    fn merge(
        &self,
        mut live: LiveRecord,
        writes: &FieldWrites,
        stamp: Stamp,
        out: &mut Materialized,
    ) -> Vec<FieldId> {
        let mut written = Vec::with_capacity(writes.len());
        for (field, value) in writes {
            let (field, value, stamp) = (*field, value.clone(), self.stamp(*field, stamp));
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
        if !written.is_empty() {
            let row = RecordRow::Live(live).encode();
            out.put(Keyspace::Records, self.rows.record(self.schema, self.record), row);
        }
        written
    }

    fn create(&self, writes: &FieldWrites, stamp: Stamp, out: &mut Materialized) -> Vec<FieldId> {
        let values = writes.iter().filter(|(_, value)| value.is_some());
        let cell = |field: FieldId, value: &Option<Bytes>| {
            (field, Cell { stamp: self.stamp(field, stamp), value: value.clone() })
        };
        let cells = values.map(|(field, value)| cell(*field, value)).collect();
        let live = LiveRecord { birth: stamp, cells };
        let fields = live.cells.iter().map(|(field, _)| *field).collect();
        let row = RecordRow::Live(live).encode();
        out.put(Keyspace::Records, self.rows.record(self.schema, self.record), row);
        out.counters(self.schema).records += 1;
        fields
    }
}
