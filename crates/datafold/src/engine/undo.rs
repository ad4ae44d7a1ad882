//! What a commit wrote, and what takes it back.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::diff::{Comparison, DifferenceKind};
use super::elements::text_of;
use super::error::FoldDbError;
use super::revert::{
    CONFLICTS_MAX, RecordPlan, RevertConflict, RevertError, Room, carry_out, note_record,
    plan_record,
};
use super::transaction::FoldTransaction;
use crate::data_layer::internal::{
    CellPlace, ElementCell, ElementScan, FieldAddress, Logged, LoggedKind, ReadPoint, RecordRow,
    RowSource, decode_cell,
};
use crate::data_layer::{CommitNumber, DataLayerError, FieldId, SchemaEntry, SchemaId};
use crate::model::{FieldName, RecordKey, SchemaName, Value};

/// What a commit wrote to one record.
#[derive(Default)]
struct Written {
    /// What it did to the record itself.
    kind: Option<LoggedKind>,
    fields: Vec<FieldId>,
    elements: Vec<(FieldId, Bytes)>,
}

/// Plans and writes what was before a commit.
pub(super) fn commit_whole(
    transaction: &mut FoldTransaction<'_>,
    number: CommitNumber,
    force: bool,
) -> Result<(), FoldDbError> {
    let state = &transaction.transaction.state;
    let now = state.source.point(state.working.rows);
    if number > now.at {
        let (time, head) = (format!("commit {number}"), now.at);
        return Err(DataLayerError::FutureMoment { time, head }.into());
    }
    let Some((_, logged)) = now.changes(number)? else {
        return Err(DataLayerError::not_found("commit", number).into());
    };
    let before = ReadPoint { at: CommitNumber(number.0.saturating_sub(1)), ..now.clone() };
    let mut undo = Undo { number, force, now, before, conflicts: Vec::new(), whole: Vec::new() };
    let mut room = Room::default();
    let mut plans = Vec::new();
    let catalogue = Arc::clone(&undo.now.published.catalogue);
    for ((schema, record), mut written) in by_record(number, logged)? {
        // What is computed follows from the other fields, and is in nobody's way.
        let is_computed = |field: FieldId| catalogue.is_computed(CellPlace { schema, field });
        written.fields.retain(|field| !is_computed(*field));
        written.elements.retain(|(field, _)| !is_computed(*field));
        let key = RecordKey::from_bytes(record);
        undo.record(transaction, schema, &key, &written, &mut room, &mut plans)?;
        if undo.conflicts.len() >= CONFLICTS_MAX && !force {
            break;
        }
    }
    if !undo.conflicts.is_empty() && !force {
        let conflicts = undo.conflicts;
        return Err(RevertError::Conflicts { commit: number, conflicts }.into());
    }
    for (schema, key) in std::mem::take(&mut undo.whole) {
        undo.whole_record(transaction, schema, &key, &mut room, &mut plans)?;
    }
    carry_out(transaction, plans)
}

type ByRecord = BTreeMap<(SchemaId, Bytes), Written>;

fn by_record(number: CommitNumber, logged: Vec<Logged>) -> Result<ByRecord, RevertError> {
    let mut records = ByRecord::new();
    for logged in logged {
        match logged {
            Logged::Record { schema, record, kind, fields, .. } => {
                let written = records.entry((schema, record)).or_default();
                written.kind = Some(kind);
                written.fields = fields;
            }
            Logged::Elements { schema, record, field, elements, .. } => {
                let written = records.entry((schema, record)).or_default();
                written.elements.extend(elements.into_iter().map(|element| (field, element)));
            }
            Logged::Catalogue { .. } => return Err(RevertError::Catalogue { commit: number }),
            // It follows from what is computed.
            Logged::Failure { .. } => {}
        }
    }
    Ok(records)
}

/// Takes back what a commit wrote.
struct Undo {
    number: CommitNumber,
    force: bool,
    /// What the transaction sees.
    now: ReadPoint,
    /// The moment before the commit.
    before: ReadPoint,
    conflicts: Vec<RevertConflict>,
    /// Records that become as a whole what they were.
    whole: Vec<(SchemaId, RecordKey)>,
}

impl Undo {
    /// Looks for conflicts, and plans what becomes of one record's cells.
    fn record(
        &mut self,
        transaction: &mut FoldTransaction<'_>,
        schema: SchemaId,
        key: &RecordKey,
        written: &Written,
        room: &mut Room,
        plans: &mut Vec<RecordPlan>,
    ) -> Result<(), FoldDbError> {
        let source = &mut transaction.transaction.state.source;
        let row_key = self.now.rows.record(schema, key.as_bytes());
        let row = source.read(Keyspace::Records, &row_key)?;
        let row = row.ok_or_else(|| DataLayerError::missing("a record of the commit log"))?;
        let row = RecordRow::decode(&row)
            .map_err(|error| self.now.record_error(schema, key.as_bytes(), error))?;
        let birth = row.birth().commit;
        if birth > self.number {
            // It was deleted or created again since.
            self.conflict(schema, key, None, None, birth)?;
        }
        let is_whole = matches!(written.kind, Some(LoggedKind::Create | LoggedKind::Delete));
        let Some(live) = row.live().filter(|_| !is_whole) else {
            if let Some(live) = row.live().filter(|_| birth == self.number) {
                for (field, cell) in &live.cells {
                    if cell.stamp.commit > self.number {
                        self.conflict(schema, key, Some(*field), None, cell.stamp.commit)?;
                    }
                }
                self.later_elements(schema, key)?;
            }
            self.whole.push((schema, key.clone()));
            return Ok(());
        };
        let mut found = Vec::new();
        for field in &written.fields {
            let cell = live.cell(*field);
            if let Some(cell) = cell.filter(|cell| cell.stamp.commit > self.number)
                && birth <= self.number
            {
                self.conflict(schema, key, Some(*field), None, cell.stamp.commit)?;
            }
            let value = cell.and_then(|cell| cell.value.clone());
            let cells = [(*field, 0)];
            let mut then = [Value::Null];
            self.before.record(schema, key.as_bytes(), |record| match record {
                Some(record) => record.project(&cells, &mut then),
                None => Ok(()),
            })?;
            let [then] = then;
            let value = value.map_or(Ok(Value::Null), |raw| decode_cell(&raw))?;
            if then != value {
                found.push((*field, None, then));
            }
        }
        let birth_then = self.before.birth(schema, key.as_bytes())?;
        for (field, element) in &written.elements {
            let address = FieldAddress { schema, record: key.as_bytes(), field: *field };
            let cell = self.element(transaction, address, element)?;
            if let Some(cell) = cell.as_ref().filter(|cell| cell.commit > self.number)
                && birth <= self.number
            {
                self.conflict(schema, key, Some(*field), Some(element), cell.commit)?;
            }
            let value = cell.filter(|cell| cell.is_live(birth)).and_then(|cell| cell.value);
            let point = &self.before;
            let then = match birth_then {
                Some(birth) => ElementScan { point, address, birth }.get(element)?,
                None => None,
            };
            if then != value {
                let then = then.map_or(Ok(Value::Null), |raw| decode_cell(&raw))?;
                found.push((*field, Some(text_of(element)?), then));
            }
        }
        let mut by_owner = BTreeMap::<SchemaName, RecordPlan>::new();
        for (field, element, value) in found {
            room.take()?;
            let (entry, name) = self.owner(CellPlace { schema, field })?;
            let plan = by_owner.entry(entry.schema.name.clone());
            plan.or_insert_with(|| RecordPlan::new(&entry, key)).set(&name, element, value);
        }
        plans.extend(by_owner.into_values());
        Ok(())
    }

    /// The current atom of an element, of whatever life.
    fn element(
        &self,
        transaction: &mut FoldTransaction<'_>,
        address: FieldAddress<'_>,
        element: &[u8],
    ) -> Result<Option<ElementCell>, DataLayerError> {
        let key = self.now.rows.element(address, element);
        let row = transaction.transaction.state.source.read(Keyspace::Elements, &key)?;
        let cell = row.as_ref().map(ElementCell::decode).transpose();
        cell.map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))
    }

    /// Elements that later commits have written to a record that the commit created.
    fn later_elements(&mut self, schema: SchemaId, key: &RecordKey) -> Result<(), FoldDbError> {
        let entry = self.entry(schema)?;
        let catalogue = Arc::clone(&self.now.published.catalogue);
        let is_written =
            |field: &&FieldId| !catalogue.is_computed(CellPlace { schema, field: **field });
        for field in entry.element_fields.iter().filter(is_written) {
            let address = FieldAddress { schema, record: key.as_bytes(), field: *field };
            let prefix = self.now.rows.element_count(address);
            let scan = Scan::range(
                Keyspace::Elements,
                Bound::Excluded(prefix.to_vec()),
                Bound::Excluded(self.now.rows.elements_end(address)),
            );
            let (mut later, mut failed) = (Vec::new(), None);
            let room = CONFLICTS_MAX.saturating_sub(self.conflicts.len());
            self.now
                .published
                .snapshot
                .for_each(&scan, &mut |row_key, row| {
                    let element = row_key.get(prefix.len()..).unwrap_or_default();
                    match ElementCell::decode(&Bytes::copy_from_slice(row)) {
                        Ok(cell) if cell.commit > self.number => {
                            later.push((Bytes::copy_from_slice(element), cell.commit));
                        }
                        Ok(_) => {}
                        Err(error) => {
                            let error = DataLayerError::row(Keyspace::Elements, row_key, error);
                            failed = Some(error);
                        }
                    }
                    match failed.is_some() || later.len() >= room {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                })
                .map_err(DataLayerError::from)?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            for (element, commit) in later {
                self.conflict(schema, key, Some(*field), Some(&element), commit)?;
            }
        }
        Ok(())
    }

    fn conflict(
        &mut self,
        schema: SchemaId,
        key: &RecordKey,
        field: Option<FieldId>,
        element: Option<&Bytes>,
        commit: CommitNumber,
    ) -> Result<(), FoldDbError> {
        if self.force || self.conflicts.len() >= CONFLICTS_MAX {
            return Ok(());
        }
        let (schema, field) = match field {
            Some(field) => {
                let (entry, field) = self.owner(CellPlace { schema, field })?;
                (entry.schema.name.clone(), Some(field))
            }
            None => (self.entry(schema)?.schema.name.clone(), None),
        };
        let element = element.map(|element| text_of(element)).transpose()?;
        self.conflicts.push(RevertConflict { schema, key: key.clone(), field, element, commit });
        Ok(())
    }

    fn entry(&self, schema: SchemaId) -> Result<Arc<SchemaEntry>, DataLayerError> {
        let entry = self.now.published.catalogue.by_id(schema).cloned();
        entry.ok_or_else(|| DataLayerError::missing(format!("the schema with number {schema}")))
    }

    /// The schema and name of the field whose cells are there.
    fn owner(&self, place: CellPlace) -> Result<(Arc<SchemaEntry>, FieldName), DataLayerError> {
        let catalogue = &self.now.published.catalogue;
        let missing = || DataLayerError::missing("a field");
        let (schema, field) = catalogue.field_at(place).ok_or_else(missing)?;
        let entry = catalogue.get(schema.as_str()).ok_or_else(missing)?;
        Ok((Arc::clone(entry), field.name.clone()))
    }

    /// Plans that a record becomes as a whole what it was, through all schemas that have fields in
    /// it: first the one whose record it is.
    fn whole_record(
        &self,
        transaction: &mut FoldTransaction<'_>,
        schema: SchemaId,
        key: &RecordKey,
        room: &mut Room,
        plans: &mut Vec<RecordPlan>,
    ) -> Result<(), FoldDbError> {
        let root = self.entry(schema)?;
        let catalogue = &self.now.published.catalogue;
        let others = catalogue
            .iter()
            .filter(|entry| entry.id != schema && entry.records() == schema && entry.has_cells());
        for entry in [&root].into_iter().chain(others) {
            note_record(transaction, entry, key)?;
            let comparison = Comparison {
                from: self.now.clone(),
                to: self.before.clone(),
                entry: Arc::clone(entry),
                own_only: true,
            };
            let mut plan = plan_record(&comparison, key, room)?;
            if entry.id != schema {
                if plan.kind == DifferenceKind::Deleted {
                    // It goes with the record.
                    continue;
                }
                plan.kind = DifferenceKind::Changed;
            }
            plans.push(plan);
        }
        Ok(())
    }
}
