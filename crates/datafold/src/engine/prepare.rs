//! Checks a mutation against its schema before any lock is taken.

use std::sync::Arc;

use bytes::Bytes;

use super::error::MutationError;
use super::mutation::{Condition, Mutation, MutationKind, MutationRequest, RecordInput};
use super::suggest::closest;
use crate::data_layer::internal::{CellPlace, FieldWrites};
use crate::data_layer::{Catalogue, SchemaEntry, SchemaId, SerializationHelper};
use crate::model::{FieldKind, RecordKey, SchemaName, SchemaState, Value};

/// The largest encoded value of a cell, the same on every engine.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

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
    pub(crate) condition: Condition,
}

/// One record and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) entry: Arc<SchemaEntry>,
    pub(crate) key: RecordKey,
    pub(crate) action: Action,
    /// What is written to the records of other schemas, which a schema without key maps from.
    pub(crate) mapped: Vec<MappedWrites>,
}

impl Step {
    /// The bytes of the values that it writes.
    pub(crate) fn value_bytes(&self) -> usize {
        let own = match &self.action {
            Action::Write { writes, .. } | Action::Import { writes } => Some(writes),
            Action::Delete => None,
        };
        let writes = own.into_iter().chain(self.mapped.iter().map(|mapped| &mapped.writes));
        writes.flat_map(FieldWrites::values).flatten().map(Bytes::len).sum()
    }

    /// The records that it writes.
    pub(crate) fn records(&self) -> impl Iterator<Item = (SchemaId, &RecordKey)> {
        let mapped = self.mapped.iter().map(|mapped| mapped.entry.id);
        std::iter::once(self.entry.records()).chain(mapped).map(|schema| (schema, &self.key))
    }
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
    /// An upsert that leaves cells alone that have their value already.
    Import {
        writes: FieldWrites,
    },
    Delete,
}

/// Checks a request against the catalogue.
pub(crate) fn prepare(
    catalogue: &Catalogue,
    request: &MutationRequest,
) -> Result<Prepared, MutationError> {
    let mut prepared = Prepared { preconditions: Vec::new(), steps: Vec::new() };
    for precondition in &request.preconditions {
        let entry = approved(catalogue, &precondition.schema)?;
        let key = entry.key_of(&precondition.key, || "of a precondition".into())?;
        let condition = precondition.condition;
        prepared.preconditions.push(PreparedCondition { entry, key, condition });
    }
    for mutation in &request.mutations {
        let entry = approved(catalogue, mutation.schema())?;
        match mutation {
            Mutation::Write { kind, records, .. } => {
                for (at, record) in records.iter().enumerate() {
                    let place = &|| place_name(at);
                    let check = RecordCheck { catalogue, entry: &entry, place };
                    let action = |writes| Action::Write { kind: *kind, writes };
                    prepared.steps.push(check.step(record, action)?);
                }
            }
            Mutation::Delete { keys, .. } => {
                for (at, key) in keys.iter().enumerate() {
                    let key = entry.key_of(key, || place_name(at))?;
                    let cells = entry.fields().map(|(cell, _)| (cell, None));
                    let mapped = mapped_writes(catalogue, &entry, cells)?.1;
                    let entry = Arc::clone(&entry);
                    prepared.steps.push(Step { entry, key, action: Action::Delete, mapped });
                }
            }
        }
    }
    Ok(prepared)
}

/// The schema with this name, if the owner has approved it.
pub(crate) fn approved(
    catalogue: &Catalogue,
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
pub(crate) fn recheck(catalogue: &Catalogue, prepared: &Prepared) -> Result<(), MutationError> {
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

/// Writes of cells by the schemas that have them: those of the schema's own records, and those of
/// others.
fn mapped_writes(
    catalogue: &Catalogue,
    entry: &SchemaEntry,
    cells: impl Iterator<Item = (CellPlace, Option<Bytes>)>,
) -> Result<(FieldWrites, Vec<MappedWrites>), MutationError> {
    let mut own = FieldWrites::new();
    let mut mapped = Vec::<MappedWrites>::new();
    for (cell, write) in cells {
        if cell.schema == entry.records() {
            own.insert(cell.field, write);
            continue;
        }
        let known = mapped.iter().position(|mapped| mapped.entry.id == cell.schema);
        let at = match known {
            Some(at) => at,
            None => {
                // A source cannot be deleted while it is mapped from.
                let source = catalogue.by_id(cell.schema).cloned().ok_or_else(|| {
                    MutationError::UnknownSchema { schema: entry.schema.name.clone() }
                })?;
                mapped.push(MappedWrites { entry: source, writes: FieldWrites::new() });
                mapped.len() - 1
            }
        };
        if let Some(mapped) = mapped.get_mut(at) {
            mapped.writes.insert(cell.field, write);
        }
    }
    Ok((own, mapped))
}

/// Checks one record of a mutation or import.
pub(crate) struct RecordCheck<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) entry: &'a Arc<SchemaEntry>,
    /// Which record it is, for errors before its key is known.
    pub(crate) place: &'a dyn Fn() -> String,
}

impl RecordCheck<'_> {
    /// The step that writes the record, its values checked and encoded.
    pub(crate) fn step(
        &self,
        record: &RecordInput,
        action: impl FnOnce(FieldWrites) -> Action,
    ) -> Result<Step, MutationError> {
        let schema = &self.entry.schema;
        let part = |name: &crate::model::FieldName| {
            record.get(name.as_str()).cloned().unwrap_or(Value::Null)
        };
        let parts: Vec<Value> = schema.key.iter().map(part).collect();
        let key = self.entry.key_of(&parts, || (self.place)())?;
        let mut cells = Vec::with_capacity(record.len());
        for (name, value) in record {
            if schema.key.iter().any(|part| part.as_str() == name) {
                continue;
            }
            cells.push(self.field(&key, name, value)?);
        }
        let (writes, mapped) = mapped_writes(self.catalogue, self.entry, cells.into_iter())?;
        Ok(Step { entry: Arc::clone(self.entry), key, action: action(writes), mapped })
    }

    /// The record's key if it has one, else its place.
    fn place(&self, key: &RecordKey) -> String {
        if key.is_empty() { (self.place)() } else { key.to_string() }
    }

    fn field(
        &self,
        key: &RecordKey,
        name: &str,
        value: &Value,
    ) -> Result<(CellPlace, Option<Bytes>), MutationError> {
        let schema = &self.entry.schema;
        let Some((cell, field)) = self.entry.placed_field(name) else {
            let names = schema.fields.iter().map(|field| &field.name);
            return Err(MutationError::UnknownField {
                schema: schema.name.clone(),
                field: name.to_owned(),
                place: self.place(key),
                suggestion: closest(name, names).cloned(),
            });
        };
        let refuse = |rule| MutationError::NotWritable {
            schema: schema.name.clone(),
            field: field.name.clone(),
            place: self.place(key),
            rule,
        };
        if !field.writable {
            let mapped = !field.mappers.is_empty();
            return Err(refuse(match mapped {
                true => "it, or what it maps from, is not writable",
                false => "its schema says `writable: false`",
            }));
        }
        if field.transform.is_some() {
            return Err(refuse("it is computed"));
        }
        if field.kind != FieldKind::Single {
            return Err(refuse("elements of Collection and Range fields cannot be written yet"));
        }
        let write = encode(field, value).map_err(|error| match error {
            EncodeError::Value(cause) => MutationError::InvalidValue {
                schema: schema.name.clone(),
                field: field.name.clone(),
                place: self.place(key),
                cause: Box::new(cause),
            },
            EncodeError::TooLarge(found) => MutationError::ValueTooLarge {
                schema: schema.name.clone(),
                field: field.name.clone(),
                place: self.place(key),
                found,
                limit: VALUE_BYTES_MAX,
            },
        })?;
        Ok((cell, write))
    }
}

enum EncodeError {
    Value(crate::model::ValueError),
    TooLarge(usize),
}

fn encode(field: &crate::model::Field, value: &Value) -> Result<Option<Bytes>, EncodeError> {
    if value.is_null() {
        return Ok(None);
    }
    let value = &field.accept(value.clone()).map_err(EncodeError::Value)?;
    let raw = SerializationHelper::serialize(value);
    if raw.len() > VALUE_BYTES_MAX {
        return Err(EncodeError::TooLarge(raw.len()));
    }
    Ok(Some(raw))
}

trait KeyOf {
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
