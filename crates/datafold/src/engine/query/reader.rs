//! Records of one schema, read into columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafold_store::Keyspace;
use datafold_store::encoding::{KeyError, KeyReader};

use super::super::elements::inline;
use super::super::error::FoldDbError;
use super::Record;
use crate::data_layer::internal::{
    ElementScan, FieldAddress, Projection, ReadPoint, RecordAt, project_plain,
};
use crate::data_layer::{CommitNumber, DataLayerError, SchemaEntry};
use crate::model::{FieldName, RecordKey, Value, value_of_part};

/// Reads some columns of a schema's records at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordReader<'p> {
    pub(super) point: &'p ReadPoint,
    pub(super) entry: &'p SchemaEntry,
    pub(super) projection: &'p Projection,
    /// At most so many elements of a field stand in a record.
    pub(super) inline_elements: usize,
}

impl RecordReader<'_> {
    /// The record with this key. That of a schema without key always exists.
    pub(super) fn one(&self, key: &RecordKey) -> Result<Option<Record>, FoldDbError> {
        let mut record = self.empty(&self.projection.columns);
        let found = self.one_into(key, &mut record.values)?;
        Ok(found.then_some(record))
    }

    /// As [`RecordReader::one`]; answers whether the record exists.
    pub(super) fn one_into(
        &self,
        key: &RecordKey,
        columns: &mut [Value],
    ) -> Result<bool, FoldDbError> {
        let bytes = key.as_bytes();
        let found = self.point.record(self.entry.records(), bytes, |found| {
            match found {
                Some(found) => self.answer(bytes, found, columns)?,
                None if self.entry.schema.is_keyed() => return Ok(false),
                None => {
                    columns.fill(Value::Null);
                    for (_, column) in &*self.projection.elements {
                        set(columns, *column, Value::Object(BTreeMap::new()));
                    }
                }
            }
            Ok::<_, FoldDbError>(true)
        })?;
        if !found {
            return Ok(false);
        }
        for (schema, cells) in &*self.projection.mapped {
            self.point.record(*schema, bytes, |found| {
                found.map_or(Ok(()), |found| found.project(cells, columns))
            })?;
        }
        for (cell, column) in &*self.projection.mapped_elements {
            let elements = match self.point.birth(cell.schema, bytes)? {
                Some(birth) => self.inline(cell.address(bytes), birth)?,
                None => BTreeMap::new(),
            };
            set(columns, *column, Value::Object(elements));
        }
        Ok(true)
    }

    /// Sets all columns from a row of a keyed schema, as it is now; answers whether the record
    /// exists at the moment.
    #[inline]
    pub(super) fn row_into(
        &self,
        key: &[u8],
        row: &[u8],
        columns: &mut [Value],
    ) -> Result<bool, FoldDbError> {
        if self.is_plain()
            && let Some(exists) = project_plain(row, &self.projection.cells, columns)
        {
            if exists {
                self.answer_key(key, columns)?;
            }
            return Ok(exists);
        }
        match self.point.resolve(self.entry.records(), key, row)? {
            Some(found) => self.answer(key, found, columns).map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether current rows say all.
    pub(super) fn is_plain(&self) -> bool {
        self.point.is_current() && self.projection.elements.is_empty()
    }

    /// A record with all columns null.
    pub(super) fn empty(&self, columns: &Arc<[FieldName]>) -> Record {
        Record { values: vec![Value::Null; columns.len()], columns: Arc::clone(columns) }
    }

    /// The elements of a field in a life of its record.
    fn inline(
        &self,
        address: FieldAddress<'_>,
        birth: CommitNumber,
    ) -> Result<BTreeMap<String, Value>, FoldDbError> {
        let scan = ElementScan { point: self.point, address, birth };
        inline(&scan, self.entry, self.inline_elements)
    }

    /// Sets all columns of a record that come from its own row, its key and its elements.
    fn answer(
        &self,
        key: &[u8],
        found: RecordAt<'_>,
        columns: &mut [Value],
    ) -> Result<(), FoldDbError> {
        self.answer_key(key, columns)?;
        let birth = found.birth;
        found.project(&self.projection.cells, columns)?;
        for (field, column) in &*self.projection.elements {
            let schema = self.entry.records();
            let address = FieldAddress { schema, record: key, field: *field };
            set(columns, *column, Value::Object(self.inline(address, birth)?));
        }
        Ok(())
    }

    /// Sets the columns of the parts of the key.
    pub(super) fn answer_key(
        &self,
        key: &[u8],
        columns: &mut [Value],
    ) -> Result<(), DataLayerError> {
        self.answer_parts(key, columns).map_err(|error| {
            let row = self.point.rows.record(self.entry.records(), key);
            DataLayerError::key(Keyspace::Records, &row, error)
        })
    }

    fn answer_parts(&self, key: &[u8], columns: &mut [Value]) -> Result<(), KeyError> {
        let mut reader = KeyReader::new(key);
        let (mut next, mut first) = (0, 0);
        for (part, column) in self.projection.key_parts.iter() {
            if *part < next {
                // A part that was selected twice.
                let value = columns.get(first).cloned().unwrap_or_default();
                set(columns, *column, value);
                continue;
            }
            if *part > next {
                reader.skip_parts(part - next)?;
            }
            (next, first) = (part + 1, *column);
            let Some(place) = columns.get_mut(*column) else { continue };
            if let Some(int) = reader.natural() {
                match place {
                    // Nothing is dropped.
                    Value::Int(place) => *place = int,
                    other => *other = Value::Int(int),
                }
            } else if let Value::Text(text) = place
                && reader.is_text()
            {
                reader.text_into(text)?;
            } else {
                *place = value_of_part(reader.part()?);
            }
        }
        Ok(())
    }
}

fn set(columns: &mut [Value], column: usize, value: Value) {
    if let Some(place) = columns.get_mut(column) {
        *place = value;
    }
}
