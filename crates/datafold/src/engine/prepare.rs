//! Checks a mutation against its schema before any lock is taken.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::error::MutationError;
use super::mutation::{
    Condition, ElementPlace, Mutation, MutationKind, MutationRequest, PutCondition,
};
use super::record_check::{RecordCheck, mapped_writes};
use crate::data_layer::internal::{
    CellPlace, ElementName, FieldAddress, FieldWrites, Pipeline, Planned, Prefetch, Published, Rows,
};
use crate::data_layer::{DataLayerError, SchemaCore, SchemaEntry, SchemaId};
use crate::model::{Field, FieldKind, FieldName, RecordKey, SchemaName, SchemaState, Value};

/// A request whose names, types and keys are checked and whose values are encoded.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) preconditions: Vec<PreparedCondition>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedCondition {
    pub(crate) entry: Arc<SchemaEntry>,
    pub(crate) key: RecordKey,
    pub(crate) element: Option<NamedElement>,
    pub(crate) condition: Condition,
}

/// An element of a record, with its names for messages.
#[derive(Debug, Clone)]
pub(crate) struct NamedElement {
    pub(crate) cell: CellPlace,
    pub(crate) element: Bytes,
    pub(crate) field: FieldName,
    pub(crate) text: String,
}

/// An element and its new value, both encoded; `None` takes it away.
#[derive(Debug, Clone)]
pub(crate) struct ElementWrite {
    pub(crate) cell: CellPlace,
    pub(crate) element: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// One record and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) entry: Arc<SchemaEntry>,
    pub(crate) key: RecordKey,
    pub(crate) action: Action,
    /// What is written to the records of other schemas, which a schema without key maps from.
    pub(crate) mapped: Vec<MappedWrites>,
    /// Elements that are written, of these records and those.
    pub(crate) elements: Vec<ElementWrite>,
    /// Fields that must have no elements.
    pub(crate) empty: Vec<CellPlace>,
}

/// Cells of the one record of a schema.
#[derive(Debug, Clone)]
pub(crate) struct MappedWrites {
    pub(crate) entry: Arc<SchemaEntry>,
    pub(crate) writes: FieldWrites,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Write {
        kind: MutationKind,
        writes: FieldWrites,
    },
    /// An upsert that leaves cells and elements alone that have their value already.
    Import {
        writes: FieldWrites,
    },
    Delete,
    /// Writes elements and nothing else.
    Put {
        condition: Option<PutCondition>,
    },
}

impl Step {
    /// The bytes of the values that it writes.
    pub(crate) fn value_bytes(&self) -> usize {
        let own = match &self.action {
            Action::Write { writes, .. } | Action::Import { writes } => Some(writes),
            Action::Delete | Action::Put { .. } => None,
        };
        let writes = own.into_iter().chain(self.mapped.iter().map(|mapped| &mapped.writes));
        let elements = self.elements.iter().map(|write| &write.value);
        writes.flat_map(FieldWrites::values).chain(elements).flatten().map(Bytes::len).sum()
    }

    /// The records that it writes, or whose elements it does.
    pub(crate) fn records(&self) -> impl Iterator<Item = (SchemaId, &RecordKey)> {
        let mapped = self.mapped.iter().map(|mapped| mapped.entry.id);
        let elements = self.elements.iter().map(|write| write.cell.schema);
        let schemas = std::iter::once(self.entry.records()).chain(mapped).chain(elements);
        schemas.map(|schema| (schema, &self.key))
    }

    /// The records that it deletes or writes cells of.
    fn planned(&self) -> impl Iterator<Item = (SchemaId, Bytes, Planned<'_>)> {
        let own = match &self.action {
            Action::Write { kind: MutationKind::Update, writes }
                if self.entry.schema.is_keyed() =>
            {
                Some(Planned::Merge(writes))
            }
            Action::Write { writes, .. } | Action::Import { writes } => {
                Some(Planned::Write(writes))
            }
            Action::Delete => Some(Planned::Delete),
            Action::Put { .. } => None,
        };
        let own = own.map(|planned| (self.entry.records(), planned));
        let mapped = self.mapped.iter().map(|of| (of.entry.id, Planned::Write(&of.writes)));
        let record = self.key.bytes();
        own.into_iter().chain(mapped).map(|(schema, planned)| (schema, record.clone(), planned))
    }

    pub(crate) fn element_name(&self, write: &ElementWrite) -> ElementName {
        write.cell.element(&self.key, write.element.clone())
    }

    /// The names of the elements that are written.
    pub(crate) fn element_names(&self) -> impl Iterator<Item = ElementName> {
        self.elements.iter().map(|write| self.element_name(write))
    }

    /// The rows that carrying it out reads.
    fn rows(&self, rows: Rows, out: &mut Vec<BatchKey>) {
        let record = self.key.as_bytes();
        let row = |schema| (Keyspace::Records, rows.record(schema, record));
        out.push(row(self.entry.records()));
        out.extend(self.mapped.iter().map(|mapped| row(mapped.entry.id)));
        let count = |at| (Keyspace::Elements, rows.element_count(at));
        let mut counted = None;
        for write in &self.elements {
            let at = write.cell.address(record);
            out.push((Keyspace::Elements, rows.element(at, &write.element)));
            if counted.replace(write.cell) != Some(write.cell) {
                out.extend([row(at.schema), count(at)]);
            }
        }
        out.extend(self.empty.iter().map(|cell| count(cell.address(record))));
        if let (Action::Delete, Some(entry)) = (&self.action, &self.records_entry()) {
            let fields = entry.element_fields.iter();
            let schema = entry.id;
            out.extend(fields.map(|field| count(FieldAddress { schema, record, field: *field })));
        }
    }

    /// The schema's own entry, if it has the records.
    fn records_entry(&self) -> Option<&Arc<SchemaEntry>> {
        (self.entry.records() == self.entry.id).then_some(&self.entry)
    }
}

impl Prepared {
    /// Reads the rows that carrying it out reads, and computing what depends on it.
    pub(crate) fn prefetch(
        &self,
        pipeline: &Pipeline,
        published: Arc<Published>,
    ) -> Result<Prefetch, DataLayerError> {
        let keys = self.rows(pipeline.rows);
        if !published.catalogue.computes() {
            return Prefetch::read(published, keys);
        }
        let planned: Vec<_> = self.steps.iter().flat_map(Step::planned).collect();
        let outputs_max = pipeline.limits().outputs;
        Prefetch::with_dependents(published, pipeline.rows, keys, &planned, outputs_max)
    }

    /// The rows that carrying it out reads.
    fn rows(&self, rows: Rows) -> Vec<BatchKey> {
        let mut out = Vec::with_capacity(self.steps.len() + self.preconditions.len());
        for condition in &self.preconditions {
            let record = condition.key.as_bytes();
            let schema = match &condition.element {
                None => condition.entry.records(),
                Some(NamedElement { cell, element, .. }) => {
                    let at = cell.address(record);
                    out.push((Keyspace::Elements, rows.element(at, element)));
                    cell.schema
                }
            };
            out.push((Keyspace::Records, rows.record(schema, record)));
        }
        for step in &self.steps {
            step.rows(rows, &mut out);
        }
        out
    }
}

/// Checks a request against the catalogue.
pub(crate) fn prepare(
    catalogue: &SchemaCore,
    request: &MutationRequest,
) -> Result<Prepared, MutationError> {
    let mut prepared = Prepared { preconditions: Vec::new(), steps: Vec::new() };
    for precondition in &request.preconditions {
        let entry = approved(catalogue, &precondition.schema)?;
        let place = || "of a precondition".to_owned();
        let key = entry.key_of(&precondition.key, place)?;
        let element = match &precondition.element {
            None => None,
            Some(ElementPlace { field, element }) => {
                let check = RecordCheck { catalogue, entry: &entry, place: &place };
                let (cell, found) = check.element_field(&key, field)?;
                let encoded = check.element_key(&key, found, element)?;
                let (field, text) = (found.name.clone(), element.clone());
                Some(NamedElement { cell, element: encoded, field, text })
            }
        };
        let condition = precondition.condition;
        prepared.preconditions.push(PreparedCondition { entry, key, element, condition });
    }
    for mutation in &request.mutations {
        prepare_mutation(catalogue, mutation, &mut prepared.steps)?;
    }
    Ok(prepared)
}

fn prepare_mutation(
    catalogue: &SchemaCore,
    mutation: &Mutation,
    steps: &mut Vec<Step>,
) -> Result<(), MutationError> {
    let entry = approved(catalogue, mutation.schema())?;
    match mutation {
        Mutation::Write { kind, records, .. } => {
            for (at, record) in records.iter().enumerate() {
                let place = &|| place_name(at);
                let check = RecordCheck { catalogue, entry: &entry, place };
                let action = |writes| Action::Write { kind: *kind, writes };
                steps.push(check.step(record, action)?);
            }
        }
        Mutation::Delete { keys, .. } => {
            for (at, key) in keys.iter().enumerate() {
                let key = entry.key_of(key, || place_name(at))?;
                steps.push(deletion(catalogue, &entry, key)?);
            }
        }
        Mutation::Put { key, field, elements, condition, .. } => {
            let key = entry.key_of(key, || "of a put".to_owned())?;
            let check = RecordCheck { catalogue, entry: &entry, place: &|| "[]".to_owned() };
            let (cell, field) = check.element_field(&key, field)?;
            check.check_writable(&key, field)?;
            let elements = check.elements(&key, cell, field, elements)?;
            steps.push(element_step(&entry, key, *condition, elements));
        }
        Mutation::Remove { key, field, elements, .. } => {
            let key = entry.key_of(key, || "of a remove".to_owned())?;
            let check = RecordCheck { catalogue, entry: &entry, place: &|| "[]".to_owned() };
            let (cell, field) = check.element_field(&key, field)?;
            check.check_writable(&key, field)?;
            let removed = |element: &String| {
                let element = check.element_key(&key, field, element)?;
                Ok(ElementWrite { cell, element, value: None })
            };
            let elements = elements.iter().map(removed).collect::<Result<_, MutationError>>()?;
            steps.push(element_step(&entry, key, Some(PutCondition::Exists), elements));
        }
    }
    Ok(())
}

/// The step that deletes a record. The cells that a schema without key maps from others are
/// emptied; elements there must have been removed before.
fn deletion(
    catalogue: &SchemaCore,
    entry: &Arc<SchemaEntry>,
    key: RecordKey,
) -> Result<Step, MutationError> {
    let is_mapped = |(cell, _): &(CellPlace, &Field)| cell.schema != entry.records();
    let has_elements = |(_, field): &(CellPlace, &Field)| field.kind != FieldKind::Single;
    let cells = entry.fields().filter(|field| !has_elements(field)).map(|(cell, _)| (cell, None));
    let mapped = mapped_writes(catalogue, entry, cells)?.1;
    let empty = entry.fields().filter(|field| is_mapped(field) && has_elements(field));
    let empty = empty.map(|(cell, _)| cell).collect();
    let (entry, elements) = (Arc::clone(entry), Vec::new());
    Ok(Step { entry, key, action: Action::Delete, mapped, elements, empty })
}

fn element_step(
    entry: &Arc<SchemaEntry>,
    key: RecordKey,
    condition: Option<PutCondition>,
    elements: Vec<ElementWrite>,
) -> Step {
    let (entry, action) = (Arc::clone(entry), Action::Put { condition });
    Step { entry, key, action, mapped: Vec::new(), elements, empty: Vec::new() }
}

/// The schema with this name, if the owner has approved it.
pub(crate) fn approved(
    catalogue: &SchemaCore,
    name: &SchemaName,
) -> Result<Arc<SchemaEntry>, MutationError> {
    let Some(entry) = catalogue.get(name.as_str()) else {
        return Err(MutationError::UnknownSchema { schema: name.clone() });
    };
    check_approved(entry)?;
    Ok(Arc::clone(entry))
}

/// Refuses a schema that is not approved.
pub(crate) fn check_approved(entry: &SchemaEntry) -> Result<(), MutationError> {
    match entry.state {
        SchemaState::Approved => Ok(()),
        state => Err(MutationError::NotApproved { schema: entry.schema.name.clone(), state }),
    }
}

/// Checks that every schema of a prepared request is still there and approved.
pub(crate) fn recheck(catalogue: &SchemaCore, prepared: &Prepared) -> Result<(), MutationError> {
    let conditions = prepared.preconditions.iter().map(|condition| &condition.entry);
    let mut checked: Option<SchemaId> = None;
    for entry in prepared.steps.iter().map(|step| &step.entry).chain(conditions) {
        if checked == Some(entry.id) {
            continue;
        }
        match catalogue.by_id(entry.id) {
            Some(now) => check_approved(now)?,
            None => {
                return Err(MutationError::UnknownSchema { schema: entry.schema.name.clone() });
            }
        }
        checked = Some(entry.id);
    }
    Ok(())
}

fn place_name(at: usize) -> String {
    format!("number {}", at + 1)
}

pub(super) trait KeyOf {
    fn key_of(
        &self,
        parts: &[Value],
        place: impl Fn() -> String,
    ) -> Result<RecordKey, MutationError>;
}

impl KeyOf for SchemaEntry {
    fn key_of(
        &self,
        parts: &[Value],
        place: impl Fn() -> String,
    ) -> Result<RecordKey, MutationError> {
        self.schema.key_of(parts).map_err(|cause| MutationError::InvalidKey {
            schema: self.schema.name.clone(),
            place: place(),
            cause: Box::new(cause),
        })
    }
}
