//! Reads and writes of records inside a transaction.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Order;

use super::apply::apply;
use super::element_filter::{ElementFilter, ElementReach};
use super::elements::{
    Element, INLINE_ELEMENTS_MAX, element_field, in_order, read, settled, too_many,
};
use super::error::{FoldDbError, MutationError};
use super::mutation::{Mutation, MutationRequest};
use super::prepare::{Prepared, Step, approved, prepare};
use super::query::Record;
use crate::data_layer::internal::{CellPlace, ElementBounds, ElementScan, decode_cell};
use crate::data_layer::{DataLayerError, SchemaEntry, SerializationError, Transaction};
use crate::model::{
    FieldKind, FieldName, RecordKey, SchemaName, Value, encode_element, encode_element_bound,
};

/// A transaction over records.
#[derive(Debug)]
pub struct FoldTransaction<'a> {
    pub(super) transaction: &'a mut Transaction,
}

impl FoldTransaction<'_> {
    /// The underlying transaction, for typed repositories.
    pub fn data_layer(&mut self) -> &mut Transaction {
        self.transaction
    }

    /// Carries out a mutation inside the transaction: all of it, or on an error nothing.
    ///
    /// # Errors
    ///
    /// As [`super::FoldDb::mutate`].
    pub fn mutate(&mut self, mutation: Mutation) -> Result<(), FoldDbError> {
        let request = MutationRequest::from(mutation);
        let state = &mut self.transaction.state;
        let prepared: Prepared = prepare(&state.catalogue, &request)?;
        let records = prepared.steps.iter().flat_map(Step::records);
        let records = records.map(|(schema, key)| (schema, key.bytes()));
        let elements = prepared.steps.iter().flat_map(Step::element_names);
        let before = state.working.savepoint(records, elements);
        let mut editor = state.editor();
        for step in &prepared.steps {
            editor.touch(step.entry.id)?;
        }
        let answer = apply(&mut editor, &prepared).map(|_| ());
        if answer.is_err() {
            // The closure may go on without this mutation.
            state.working.restore(before);
        }
        answer
    }

    /// The record with this key as the transaction sees it; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Mutation`] for an unknown or unapproved schema or a wrong key;
    /// [`super::QueryError::TooManyElements`] as for a query.
    pub fn get(
        &mut self,
        schema: &SchemaName,
        key: &[Value],
    ) -> Result<Option<Record>, FoldDbError> {
        let (entry, key) = self.find(schema, key)?;
        let mut editor = self.transaction.state.editor();
        let draft = editor.working.record(editor.source, entry.records(), key.bytes())?;
        if !draft.exists() && entry.schema.is_keyed() {
            return Ok(None);
        }
        let parts = key.values().map_err(SerializationError::from).map_err(DataLayerError::from)?;
        let mut values = Vec::with_capacity(entry.schema.fields.len());
        let computed = editor.computed(entry.records(), key.bytes())?;
        for (cell, field) in entry.fields() {
            let part = entry.schema.key.iter().position(|part| *part == field.name);
            let draft = match &computed {
                Some(draft) if cell.schema == entry.records() => draft,
                _ => editor.working.record(editor.source, cell.schema, key.bytes())?,
            };
            values.push(match (part.and_then(|at| parts.get(at)), draft.value(cell.field)) {
                (Some(part), _) => part.clone(),
                (None, Some(raw)) => decode_cell(raw)?,
                (None, None) => Value::Null,
            });
        }
        for ((cell, field), value) in entry.fields().zip(&mut values) {
            if field.kind != FieldKind::Single {
                *value = Value::Object(self.inline(&entry, &key, cell)?);
            }
        }
        let columns: Arc<[FieldName]> = Arc::clone(&entry.projection.columns);
        Ok(Some(Record { columns, values }))
    }

    /// The value of a Single field as the transaction sees it; `None` if it has none, or the record
    /// does not exist. Reads no elements.
    ///
    /// # Errors
    ///
    /// As [`FoldTransaction::get`].
    pub fn value(
        &mut self,
        schema: &SchemaName,
        key: &[Value],
        field: &FieldName,
    ) -> Result<Option<Value>, FoldDbError> {
        let (entry, key) = self.find(schema, key)?;
        let found = entry.fields().find(|(_, candidate)| candidate.name == *field);
        let Some((cell, _)) = found else { return Ok(None) };
        let mut editor = self.transaction.state.editor();
        let computed = editor.computed(cell.schema, key.bytes())?;
        let draft = editor.working.record(editor.source, cell.schema, key.bytes())?;
        let raw = computed.as_ref().unwrap_or(draft).value(cell.field);
        Ok(raw.map(|raw| decode_cell(raw)).transpose()?)
    }

    /// The value of an element as the transaction sees it; `None` if it does not exist.
    ///
    /// The transaction conflicts with commits that write this element, or begin or end the life of
    /// its record, and with no other ones.
    ///
    /// # Errors
    ///
    /// As [`FoldTransaction::get`], and [`FoldDbError::Query`] for an unknown field or one that has
    /// no elements.
    pub fn element(
        &mut self,
        schema: &SchemaName,
        key: &[Value],
        field: &str,
        element: &str,
    ) -> Result<Option<Value>, FoldDbError> {
        let filter = ElementFilter::Key(element.to_owned());
        let found = self.elements(schema, key, field, &filter, None)?;
        Ok(found.into_iter().next().map(|element| element.value))
    }

    /// Elements of a field as the transaction sees them, in the order of their keys, at most
    /// `limit`.
    ///
    /// The transaction conflicts with commits that write an element in the range that was read,
    /// also one that was not there.
    ///
    /// # Errors
    ///
    /// As [`FoldTransaction::element`].
    pub fn elements(
        &mut self,
        schema: &SchemaName,
        key: &[Value],
        field: &str,
        filter: &ElementFilter,
        limit: Option<usize>,
    ) -> Result<Vec<Element>, FoldDbError> {
        let (entry, key) = self.find(schema, key)?;
        let (cell, field) = element_field(&entry, field)?;
        let filter = settled(filter, field);
        self.read_elements(&key, cell, &filter, limit)
    }

    /// The schema, which the transaction then depends on, and the key.
    fn find(
        &mut self,
        schema: &SchemaName,
        key: &[Value],
    ) -> Result<(Arc<SchemaEntry>, RecordKey), FoldDbError> {
        let state = &mut self.transaction.state;
        let entry = approved(&state.catalogue, schema)?;
        let key = entry.schema.key_of(key).map_err(|cause| {
            let (schema, place) = (schema.clone(), "of a read".to_owned());
            MutationError::InvalidKey { schema, place, cause: Box::new(cause) }
        })?;
        state.editor().touch(entry.id)?;
        Ok((entry, key))
    }

    fn inline(
        &mut self,
        entry: &SchemaEntry,
        key: &RecordKey,
        cell: CellPlace,
    ) -> Result<BTreeMap<String, Value>, FoldDbError> {
        let limit = Some(INLINE_ELEMENTS_MAX + 1);
        let elements = self.read_elements(key, cell, &ElementFilter::All, limit)?;
        if elements.len() > INLINE_ELEMENTS_MAX {
            return Err(too_many(entry, cell.address(key.as_bytes()), INLINE_ELEMENTS_MAX));
        }
        Ok(elements.into_iter().map(|element| (element.key, element.value)).collect())
    }

    fn read_elements(
        &mut self,
        key: &RecordKey,
        cell: CellPlace,
        filter: &ElementFilter,
        limit: Option<usize>,
    ) -> Result<Vec<Element>, FoldDbError> {
        let limit = limit.unwrap_or(usize::MAX);
        if let Some(elements) = self.computed_elements(key, cell)? {
            return Ok(chosen(elements, filter, limit));
        }
        match filter.reach() {
            ElementReach::Keys(keys) => self.read_named(key, cell, keys, limit),
            ElementReach::Range(bounds) => self.read_range(key, cell, filter, bounds, limit),
        }
    }

    /// The elements of a computed field of a record that the transaction has written to.
    fn computed_elements(
        &mut self,
        key: &RecordKey,
        cell: CellPlace,
    ) -> Result<Option<BTreeMap<String, Value>>, FoldDbError> {
        let mut editor = self.transaction.state.editor();
        if !editor.catalogue.is_computed(cell) {
            return Ok(None);
        }
        let Some(draft) = editor.computed(cell.schema, key.bytes())? else { return Ok(None) };
        let Some(result) = draft.written(cell.field) else { return Ok(None) };
        let result = result.as_ref().map(|raw| decode_cell(raw)).transpose()?;
        Ok(Some(match result {
            Some(Value::Object(elements)) => elements,
            _ => BTreeMap::new(),
        }))
    }

    fn read_named(
        &mut self,
        key: &RecordKey,
        cell: CellPlace,
        keys: Vec<String>,
        limit: usize,
    ) -> Result<Vec<Element>, FoldDbError> {
        let editor = self.transaction.state.editor();
        let mut found = Vec::new();
        for text in in_order(keys, Order::Forward) {
            if found.len() >= limit {
                break;
            }
            // A key that is too long is none of an element.
            let Ok(element) = encode_element(&text) else { continue };
            let name = cell.element(key, element);
            let (record, draft) = editor.working.element(editor.source, &name)?;
            if let Some(raw) = draft.value(record) {
                found.push(Element { value: decode_cell(raw)?, key: text });
            }
        }
        Ok(found)
    }

    fn read_range(
        &mut self,
        key: &RecordKey,
        cell: CellPlace,
        filter: &ElementFilter,
        bounds: ElementBounds,
        limit: usize,
    ) -> Result<Vec<Element>, FoldDbError> {
        let state = &mut self.transaction.state;
        let record = state.working.record(&mut state.source, cell.schema, key.bytes())?.clone();
        // What the transaction itself has read or written takes the place of what is stored.
        let own: Vec<(Bytes, Option<Bytes>)> = state
            .working
            .drafts_of(cell.schema, key.bytes(), cell.field)
            .filter(|(element, _)| bounds.contains(&element.to_vec()))
            .map(|(element, draft)| (element.clone(), draft.value(&record).cloned()))
            .collect();
        let mut own = own.into_iter().peekable();
        let mut found = Found { filter, limit, elements: Vec::new(), last: None };
        let address = cell.address(key.as_bytes());
        let point = state.source.point(state.working.rows);
        if let Some(birth) = record.found_birth() {
            let scan = ElementScan { point: &point, address, birth };
            scan.for_each(bounds.clone(), Order::Forward, |element, raw| {
                while let Some((element, value)) = own.next_if(|(own, _)| own[..] < *element) {
                    found.add(&element, value.as_deref())?;
                }
                match own.next_if(|(own, _)| own[..] == *element) {
                    Some((element, value)) => found.add(&element, value.as_deref())?,
                    None => found.add(element, Some(raw))?,
                }
                let is_full = found.is_full();
                Ok::<_, FoldDbError>(if is_full {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
        }
        for (element, value) in own {
            found.add(&element, value.as_deref())?;
        }
        state.note_elements(address, bounds, found.last.as_deref());
        Ok(found.elements)
    }
}

/// The first elements that a filter takes.
fn chosen(elements: BTreeMap<String, Value>, filter: &ElementFilter, limit: usize) -> Vec<Element> {
    let reach = filter.reach();
    let is_taken = |(key, value): &(String, Value)| {
        let is_reached = match &reach {
            ElementReach::Keys(keys) => keys.contains(key),
            ElementReach::Range(bounds) => bounds.contains(&encode_element_bound(key)),
        };
        is_reached && filter.takes_key(key) && filter.takes_value(value)
    };
    let elements = elements.into_iter().filter(is_taken).take(limit);
    elements.map(|(key, value)| Element { key, value }).collect()
}

/// The elements that a transaction has found, in order.
struct Found<'f> {
    filter: &'f ElementFilter,
    limit: usize,
    elements: Vec<Element>,
    /// The key at which the limit was reached.
    last: Option<Vec<u8>>,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.last.is_some()
    }

    fn add(&mut self, key: &[u8], raw: Option<&[u8]>) -> Result<(), DataLayerError> {
        let (Some(raw), false) = (raw, self.is_full()) else { return Ok(()) };
        if self.elements.len() < self.limit {
            let mut element = Element::default();
            if read(self.filter, key, raw, &mut element)? {
                self.elements.push(element);
            }
        }
        if self.elements.len() >= self.limit {
            self.last = Some(key.to_vec());
        }
        Ok(())
    }
}
