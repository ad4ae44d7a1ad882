//! Checks a mutation against its schema before any lock is taken.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::error::MutationError;
use super::mutation::{
    Condition, ElementPlace, Mutation, MutationKind, MutationRequest, PutCondition, RecordInput,
};
use super::suggest::closest;
use crate::data_layer::internal::{ElementName, FieldAddress, FieldWrites, Rows};
use crate::data_layer::{Catalogue, FieldId, SchemaEntry, SchemaId, SerializationHelper};
use crate::model::{
    Field, FieldKind, FieldName, RecordKey, SchemaName, SchemaState, Value, encode_element,
};

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
    pub(crate) element: Option<NamedElement>,
    pub(crate) condition: Condition,
}

/// An element of a record, with its names for messages.
#[derive(Debug, Clone)]
pub(crate) struct NamedElement {
    pub(crate) field: FieldId,
    pub(crate) element: Bytes,
    pub(crate) field_name: FieldName,
    pub(crate) text: String,
}

/// An element and its new value, both encoded; `None` takes it away.
#[derive(Debug, Clone)]
pub(crate) struct ElementWrite {
    pub(crate) field: FieldId,
    pub(crate) element: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// What is written to a record.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordWrites {
    pub(crate) cells: FieldWrites,
    pub(crate) elements: Vec<ElementWrite>,
    /// Collection and Range fields that are said to be null.
    pub(crate) nulls: Vec<FieldId>,
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
        writes: RecordWrites,
    },
    /// An upsert that leaves cells and elements alone that have their value already.
    Import {
        writes: RecordWrites,
    },
    Delete,
    Put {
        elements: Vec<ElementWrite>,
        condition: Option<PutCondition>,
    },
    Remove {
        elements: Vec<ElementWrite>,
    },
}

impl Step {
    /// The elements that are written by name.
    fn elements(&self) -> &[ElementWrite] {
        match &self.action {
            Action::Write { writes, .. } | Action::Import { writes } => &writes.elements,
            Action::Put { elements, .. } | Action::Remove { elements } => elements,
            Action::Delete => &[],
        }
    }

    pub(crate) fn element_name(&self, write: &ElementWrite) -> ElementName {
        ElementName {
            schema: self.entry.id,
            record: self.key.bytes().clone(),
            field: write.field,
            element: write.element.clone(),
        }
    }

    /// The names of the elements that are written.
    pub(crate) fn element_names(&self) -> impl Iterator<Item = ElementName> {
        self.elements().iter().map(|write| self.element_name(write))
    }

    /// The rows that carrying it out reads.
    fn rows(&self, rows: Rows, out: &mut Vec<BatchKey>) {
        let (schema, record) = (self.entry.id, self.key.as_bytes());
        out.push((Keyspace::Records, rows.record(schema, record)));
        let address = |field| FieldAddress { schema, record, field };
        let mut counted = None;
        for write in self.elements() {
            let address = address(write.field);
            out.push((Keyspace::Elements, rows.element(address, &write.element)));
            if counted.replace(write.field) != Some(write.field) {
                out.push((Keyspace::Elements, rows.element_count(address)));
            }
        }
        if matches!(self.action, Action::Delete) {
            let counts = self.entry.element_fields.iter().map(|field| address(*field));
            out.extend(counts.map(|at| (Keyspace::Elements, rows.element_count(at))));
        }
    }
}

impl Prepared {
    /// The rows that carrying it out reads.
    pub(crate) fn rows(&self, rows: Rows) -> Vec<BatchKey> {
        let mut out = Vec::with_capacity(self.steps.len() + self.preconditions.len());
        for condition in &self.preconditions {
            let (schema, record) = (condition.entry.id, condition.key.as_bytes());
            out.push((Keyspace::Records, rows.record(schema, record)));
            if let Some(NamedElement { field, element, .. }) = &condition.element {
                let at = FieldAddress { schema, record, field: *field };
                out.push((Keyspace::Elements, rows.element(at, element)));
            }
        }
        for step in &self.steps {
            step.rows(rows, &mut out);
        }
        out
    }
}

/// Checks a request against the catalogue.
pub(crate) fn prepare(
    catalogue: &Catalogue,
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
                let check = RecordCheck { entry: &entry, place: &place };
                let (id, found) = check.element_field(&key, field)?;
                let encoded = check.element_key(&key, found, element)?;
                let (field_name, text) = (found.name.clone(), element.clone());
                Some(NamedElement { field: id, element: encoded, field_name, text })
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
    catalogue: &Catalogue,
    mutation: &Mutation,
    steps: &mut Vec<Step>,
) -> Result<(), MutationError> {
    let entry = approved(catalogue, mutation.schema())?;
    match mutation {
        Mutation::Write { kind, records, .. } => {
            for (at, record) in records.iter().enumerate() {
                let check = RecordCheck { entry: &entry, place: &|| place_name(at) };
                let (key, writes) = check.record(record)?;
                let action = Action::Write { kind: *kind, writes };
                steps.push(Step { entry: Arc::clone(&entry), key, action });
            }
        }
        Mutation::Delete { keys, .. } => {
            for (at, key) in keys.iter().enumerate() {
                let key = entry.key_of(key, || place_name(at))?;
                let entry = Arc::clone(&entry);
                steps.push(Step { entry, key, action: Action::Delete });
            }
        }
        Mutation::Put { key, field, elements, condition, .. } => {
            let place = || "of a put".to_owned();
            let key = entry.key_of(key, place)?;
            let check = RecordCheck { entry: &entry, place: &|| "[]".to_owned() };
            let (id, field) = check.writable_elements(&key, field)?;
            let elements = check.elements(&key, id, field, elements)?;
            let action = Action::Put { elements, condition: *condition };
            steps.push(Step { entry, key, action });
        }
        Mutation::Remove { key, field, elements, .. } => {
            let place = || "of a remove".to_owned();
            let key = entry.key_of(key, place)?;
            let check = RecordCheck { entry: &entry, place: &|| "[]".to_owned() };
            let (id, field) = check.writable_elements(&key, field)?;
            let removed = |element: &String| {
                let element = check.element_key(&key, field, element)?;
                Ok(ElementWrite { field: id, element, value: None })
            };
            let elements = elements.iter().map(removed).collect::<Result<_, MutationError>>()?;
            steps.push(Step { entry, key, action: Action::Remove { elements } });
        }
    }
    Ok(())
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
    ) -> Result<(RecordKey, RecordWrites), MutationError> {
        let schema = &self.entry.schema;
        let part = |name: &FieldName| record.get(name.as_str()).cloned().unwrap_or(Value::Null);
        let parts: Vec<Value> = schema.key.iter().map(part).collect();
        let key = self.entry.key_of(&parts, || (self.place)())?;
        let mut writes = RecordWrites::default();
        for (name, value) in record {
            if schema.key.iter().any(|part| part.as_str() == name) {
                continue;
            }
            let (id, field) = self.writable(&key, name)?;
            match (field.kind, value) {
                (FieldKind::Single, _) => {
                    let value = self.value(&key, field, None, value)?;
                    writes.cells.insert(id, value);
                }
                (_, Value::Null) => writes.nulls.push(id),
                (_, Value::Object(elements)) => {
                    writes.elements.extend(self.elements(&key, id, field, elements)?);
                }
                (FieldKind::Collection, Value::Array(values)) => {
                    let ids = values.iter().enumerate().map(|(at, value)| (at.to_string(), value));
                    writes.elements.extend(self.elements(&key, id, field, ids)?);
                }
                (_, other) => return Err(self.no_elements(&key, field, other)),
            }
        }
        Ok((key, writes))
    }

    fn no_elements(&self, key: &RecordKey, field: &Field, found: &Value) -> MutationError {
        let expected = match field.kind {
            FieldKind::Collection => "an object of ids and values, or an array of values",
            _ => "an object of element keys and values",
        };
        MutationError::InvalidElements {
            schema: self.entry.schema.name.clone(),
            field: field.name.clone(),
            place: self.place(key),
            rule: format!("must be {expected}, not {}", found.type_name()),
        }
    }

    /// The record's key if it has one, else its place.
    fn place(&self, key: &RecordKey) -> String {
        if key.is_empty() { (self.place)() } else { key.to_string() }
    }

    /// The field with this name.
    fn field(&self, key: &RecordKey, name: &str) -> Result<(FieldId, &Field), MutationError> {
        let schema = &self.entry.schema;
        let id = self.entry.field_id(name);
        id.and_then(|id| Some((id, self.entry.field(id)?))).ok_or_else(|| {
            let names = schema.fields.iter().map(|field| &field.name);
            MutationError::UnknownField {
                schema: schema.name.clone(),
                field: name.to_owned(),
                place: self.place(key),
                suggestion: closest(name, names).cloned(),
            }
        })
    }

    /// The field with this name, which must have elements.
    fn element_field(
        &self,
        key: &RecordKey,
        name: &str,
    ) -> Result<(FieldId, &Field), MutationError> {
        let (id, field) = self.field(key, name)?;
        if field.kind == FieldKind::Single {
            return Err(MutationError::NoElements {
                schema: self.entry.schema.name.clone(),
                field: field.name.clone(),
                place: self.place(key),
                rule: "`update` and `upsert` write it",
            });
        }
        Ok((id, field))
    }

    /// The field with this name, which users may write.
    fn writable(&self, key: &RecordKey, name: &str) -> Result<(FieldId, &Field), MutationError> {
        let (id, field) = self.field(key, name)?;
        self.check_writable(key, field)?;
        Ok((id, field))
    }

    fn writable_elements(
        &self,
        key: &RecordKey,
        name: &str,
    ) -> Result<(FieldId, &Field), MutationError> {
        let (id, field) = self.element_field(key, name)?;
        self.check_writable(key, field)?;
        Ok((id, field))
    }

    fn check_writable(&self, key: &RecordKey, field: &Field) -> Result<(), MutationError> {
        let rule = if !field.writable {
            "its schema says `writable: false`"
        } else if field.transform.is_some() {
            "it is computed"
        } else {
            return Ok(());
        };
        Err(MutationError::NotWritable {
            schema: self.entry.schema.name.clone(),
            field: field.name.clone(),
            place: self.place(key),
            rule,
        })
    }

    /// Encodes elements.
    fn elements<'e>(
        &self,
        key: &RecordKey,
        id: FieldId,
        field: &Field,
        elements: impl IntoIterator<Item = (impl AsRef<str>, &'e Value)>,
    ) -> Result<Vec<ElementWrite>, MutationError> {
        let write = |(text, value): (_, &Value)| {
            let text: &str = AsRef::as_ref(&text);
            let element = self.element_key(key, field, text)?;
            let value = self.value(key, field, Some(text), value)?;
            Ok(ElementWrite { field: id, element, value })
        };
        elements.into_iter().map(write).collect()
    }

    fn element_key(
        &self,
        key: &RecordKey,
        field: &Field,
        text: &str,
    ) -> Result<Bytes, MutationError> {
        encode_element(text).map_err(|cause| MutationError::InvalidElementKey {
            schema: self.entry.schema.name.clone(),
            field: field.name.clone(),
            place: self.place(key),
            element: text.to_owned(),
            cause,
        })
    }

    /// Checks and encodes a value of a field, or of one of its elements.
    fn value(
        &self,
        key: &RecordKey,
        field: &Field,
        element: Option<&str>,
        value: &Value,
    ) -> Result<Option<Bytes>, MutationError> {
        encode(field, value).map_err(|error| {
            let (schema, field) = (self.entry.schema.name.clone(), field.name.clone());
            let (place, element) = (self.place(key), element.map(str::to_owned));
            match error {
                EncodeError::Value(cause) => {
                    let cause = Box::new(cause);
                    MutationError::InvalidValue { schema, field, place, element, cause }
                }
                EncodeError::TooLarge(found) => {
                    let limit = VALUE_BYTES_MAX;
                    MutationError::ValueTooLarge { schema, field, place, element, found, limit }
                }
            }
        })
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
