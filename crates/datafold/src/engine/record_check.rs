//! Checks what is written to a record against its schema, and encodes it.

use std::sync::Arc;

use bytes::Bytes;

use super::error::MutationError;
use super::mutation::RecordInput;
use super::prepare::{Action, ElementWrite, KeyOf, MappedWrites, Step};
use super::suggest::closest;
use crate::data_layer::internal::{CellPlace, FieldWrites};
use crate::data_layer::{SchemaCore, SchemaEntry, SerializationHelper, VALUE_BYTES_MAX};
use crate::model::{Field, FieldKind, FieldName, RecordKey, Value, encode_element};

/// Writes of cells by the schemas that have them: those of the schema's own records, and those of
/// others.
pub(super) fn mapped_writes(
    catalogue: &SchemaCore,
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
    pub(crate) catalogue: &'a SchemaCore,
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
        let part = |name: &FieldName| record.get(name.as_str()).cloned().unwrap_or(Value::Null);
        let parts: Vec<Value> = schema.key.iter().map(part).collect();
        let key = self.entry.key_of(&parts, || (self.place)())?;
        let mut cells = Vec::with_capacity(record.len());
        let (mut elements, mut empty) = (Vec::new(), Vec::new());
        for (name, value) in record {
            if schema.key.iter().any(|part| part.as_str() == name) {
                continue;
            }
            let (cell, field) = self.field(&key, name)?;
            self.check_writable(&key, field)?;
            match (field.kind, value) {
                (FieldKind::Single, _) => {
                    cells.push((cell, self.value(&key, field, None, value)?));
                }
                (_, Value::Null) => empty.push(cell),
                (_, Value::Object(members)) => {
                    elements.extend(self.elements(&key, cell, field, members)?);
                }
                (FieldKind::Collection, Value::Array(values)) => {
                    let ids = values.iter().enumerate().map(|(at, value)| (at.to_string(), value));
                    elements.extend(self.elements(&key, cell, field, ids)?);
                }
                (_, other) => return Err(self.no_elements(&key, field, other)),
            }
        }
        let (writes, mapped) = mapped_writes(self.catalogue, self.entry, cells.into_iter())?;
        let entry = Arc::clone(self.entry);
        Ok(Step { entry, key, action: action(writes), mapped, elements, empty })
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

    /// The field with this name, and where its data are.
    fn field(&self, key: &RecordKey, name: &str) -> Result<(CellPlace, &Field), MutationError> {
        let schema = &self.entry.schema;
        self.entry.placed_field(name).ok_or_else(|| {
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
    pub(super) fn element_field(
        &self,
        key: &RecordKey,
        name: &str,
    ) -> Result<(CellPlace, &Field), MutationError> {
        let (cell, field) = self.field(key, name)?;
        if field.kind == FieldKind::Single {
            return Err(MutationError::NoElements {
                schema: self.entry.schema.name.clone(),
                field: field.name.clone(),
                place: self.place(key),
                rule: "`update` and `upsert` write it",
            });
        }
        Ok((cell, field))
    }

    pub(super) fn check_writable(
        &self,
        key: &RecordKey,
        field: &Field,
    ) -> Result<(), MutationError> {
        let rule = if !field.writable && !field.mappers.is_empty() {
            "it, or what it maps from, is not writable"
        } else if !field.writable {
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
    pub(super) fn elements<'e>(
        &self,
        key: &RecordKey,
        cell: CellPlace,
        field: &Field,
        elements: impl IntoIterator<Item = (impl AsRef<str>, &'e Value)>,
    ) -> Result<Vec<ElementWrite>, MutationError> {
        let write = |(text, value): (_, &Value)| {
            let text: &str = AsRef::as_ref(&text);
            let element = self.element_key(key, field, text)?;
            let value = self.value(key, field, Some(text), value)?;
            Ok(ElementWrite { cell, element, value })
        };
        elements.into_iter().map(write).collect()
    }

    pub(super) fn element_key(
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
