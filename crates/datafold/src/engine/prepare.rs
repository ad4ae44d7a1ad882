//! Checks a mutation against its schema before any lock is taken.

use std::sync::Arc;

use bytes::Bytes;

use super::error::MutationError;
use super::mutation::{Condition, Mutation, MutationKind, MutationRequest, RecordInput};
use super::suggest::closest;
use crate::data_layer::internal::FieldWrites;
use crate::data_layer::{FieldId, SchemaCore, SchemaEntry, SchemaId, SerializationHelper};
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
    catalogue: &SchemaCore,
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
                    let check = RecordCheck { entry: &entry, place: &|| place_name(at) };
                    let (key, writes) = check.record(record)?;
                    let action = Action::Write { kind: *kind, writes };
                    prepared.steps.push(Step { entry: Arc::clone(&entry), key, action });
                }
            }
            Mutation::Delete { keys, .. } => {
                for (at, key) in keys.iter().enumerate() {
                    let key = entry.key_of(key, || place_name(at))?;
                    let entry = Arc::clone(&entry);
                    prepared.steps.push(Step { entry, key, action: Action::Delete });
                }
            }
        }
    }
    Ok(prepared)
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

/// Checks one record of a mutation or import.
pub(crate) struct RecordCheck<'a> {
    pub(crate) entry: &'a SchemaEntry,
    /// Which record it is, for errors before its key is known.
    pub(crate) place: &'a dyn Fn() -> String,
}

impl RecordCheck<'_> {
    /// The key and the encoded values of the other fields.
    pub(crate) fn record(
        &self,
        record: &RecordInput,
    ) -> Result<(RecordKey, FieldWrites), MutationError> {
        let schema = &self.entry.schema;
        let part = |name: &crate::model::FieldName| {
            record.get(name.as_str()).cloned().unwrap_or(Value::Null)
        };
        let parts: Vec<Value> = schema.key.iter().map(part).collect();
        let key = self.entry.key_of(&parts, || (self.place)())?;
        let mut writes = FieldWrites::new();
        for (name, value) in record {
            if schema.key.iter().any(|part| part.as_str() == name) {
                continue;
            }
            let (field, write) = self.field(&key, name, value)?;
            writes.insert(field, write);
        }
        Ok((key, writes))
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
    ) -> Result<(FieldId, Option<Bytes>), MutationError> {
        let schema = &self.entry.schema;
        let id = self.entry.field_id(name);
        let Some((id, field)) = id.and_then(|id| Some((id, self.entry.field(id)?))) else {
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
            return Err(refuse("its schema says `writable: false`"));
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
        Ok((id, write))
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
