//! Requests to read, and their answers.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use datafold_store::encoding::{KeyError, KeyReader};
use datafold_store::{Keyspace, Scan};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::elements::inline;
use super::error::{FoldDbError, QueryError};
use super::suggest::closest;
use crate::data_layer::internal::{
    BEHIND_PARTS, ElementScan, FieldAddress, Projection, ReadPoint, RecordAt, project_plain,
};
use crate::data_layer::{CommitNumber, DataLayerError, SchemaEntry};
use crate::model::{
    FieldName, RecordKey, Schema, SchemaName, SchemaState, Timestamp, Value, value_of_part,
};

/// Which records of a schema a query reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum KeyCondition {
    /// All of them.
    #[default]
    All,
    /// The record with this key.
    Exact(Vec<Value>),
    /// The records whose key starts with these parts.
    Prefix(Vec<Value>),
    /// The records with `from <= key < to`; either may be absent or have fewer parts than the
    /// key.
    Range {
        /// The first key.
        from: Option<Vec<Value>>,
        /// Behind the last key.
        to: Option<Vec<Value>>,
    },
}

/// A query, as data.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The schema.
    pub schema: SchemaName,
    /// The fields to answer, in this order; `None` for all, in the schema's order.
    pub select: Option<Vec<String>>,
    /// Which records.
    pub key: KeyCondition,
    /// At most this many records; no limit by default.
    pub limit: Option<usize>,
    /// Where an earlier answer ended.
    pub cursor: Option<String>,
    /// The moment to read as of: a commit number, an RFC 3339 time, or a relative time such as
    /// `-2h`.
    pub as_of: Option<String>,
}

impl QueryRequest {
    /// All records of a schema, with all fields, as they are now.
    #[must_use]
    pub fn new(schema: SchemaName) -> Self {
        Self {
            schema,
            select: None,
            key: KeyCondition::All,
            limit: None,
            cursor: None,
            as_of: None,
        }
    }
}

/// The selected fields of one record, absent ones as null.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The names, shared by all records of an answer.
    pub columns: Arc<[FieldName]>,
    /// One value a column.
    pub values: Vec<Value>,
}

impl Record {
    /// The value of a column; `None` if it was not selected.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Value> {
        let at = self.columns.iter().position(|name| name.as_str() == column)?;
        self.values.get(at)
    }

    /// Takes the record out of a streamed answer, which reuses it otherwise.
    #[must_use]
    pub fn take(&mut self) -> Record {
        let columns = Arc::clone(&self.columns);
        Record { columns, values: std::mem::take(&mut self.values) }
    }

    fn set(&mut self, column: usize, value: Value) {
        if let Some(place) = self.values.get_mut(column) {
            *place = value;
        }
    }

    /// Has a value for each column again after [`Record::take`].
    fn refill(&mut self) {
        self.values.resize(self.columns.len(), Value::Null);
    }
}

impl Serialize for Record {
    /// An object with its members in the order of the columns.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in self.columns.iter().zip(&self.values) {
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryAnswer {
    /// The records in the order of their keys.
    pub records: Vec<Record>,
    /// Where to go on if the limit was reached; it pins the moment.
    pub cursor: Option<String>,
    /// The commit that was read at.
    #[serde(serialize_with = "commit_number")]
    pub commit: CommitNumber,
}

pub(super) fn commit_number<S: Serializer>(
    commit: &CommitNumber,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(commit.0)
}

/// Where a streamed query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEnd {
    /// Where to go on if the limit was reached.
    pub cursor: Option<String>,
    /// The commit that was read at.
    pub commit: CommitNumber,
    /// The time of that commit.
    pub time: Timestamp,
}

/// A query that is checked against its schema.
#[derive(Debug)]
pub(crate) struct Plan {
    point: ReadPoint,
    entry: Arc<SchemaEntry>,
    projection: Projection,
    reach: Reach,
}

#[derive(Debug)]
enum Reach {
    One(RecordKey),
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Reach {
    /// The rest behind a row, which must be one of these.
    fn behind(self, row: Vec<u8>) -> Result<Self, QueryError> {
        match self {
            Reach::Range(lower, upper) if (lower.clone(), upper.clone()).contains(&row) => {
                Ok(Reach::Range(Bound::Excluded(row), upper))
            }
            _ => Err(QueryError::InvalidCursor),
        }
    }
}

impl Plan {
    pub(crate) fn new(mut point: ReadPoint, request: &QueryRequest) -> Result<Self, FoldDbError> {
        let after = pinned(&mut point, request.cursor.as_deref())?;
        let entry = readable(&point, &request.schema)?;
        let projection = match request.select.as_deref() {
            None => entry.projection.clone(),
            Some(select) => entry.project(columns(&entry, select)?),
        };
        let mut reach = reach_of(&entry, &point, &request.key)?;
        if let Some(key) = after {
            reach = reach.behind(point.rows.record(entry.records(), &key).to_vec())?;
        }
        Ok(Self { point, entry, projection, reach })
    }

    /// All fields of one record.
    pub(crate) fn of_key(
        point: ReadPoint,
        schema: &SchemaName,
        key: &[Value],
    ) -> Result<Self, FoldDbError> {
        let entry = readable(&point, schema)?;
        let reach = Reach::One(key_of(&entry, key)?);
        Ok(Self { projection: entry.projection.clone(), point, entry, reach })
    }

    /// Calls `visit` for each record in the order of the keys, until it breaks or `limit` is
    /// reached.
    pub(crate) fn run(
        &self,
        limit: Option<usize>,
        mut visit: impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        let mut cursor = None;
        match &self.reach {
            Reach::One(key) => {
                if let Some(mut record) = self.one(key)? {
                    let _ = visit(&mut record);
                }
            }
            Reach::Range(lower, upper) => {
                cursor = self.run_range(lower.clone(), upper.clone(), limit, &mut visit)?;
            }
        }
        Ok(QueryEnd { cursor, commit: self.point.at, time: time_of(&self.point)? })
    }

    /// The record of a plan for one key.
    pub(crate) fn get(&self) -> Result<Option<Record>, FoldDbError> {
        match &self.reach {
            Reach::One(key) => Ok(self.one(key)?),
            Reach::Range(..) => Ok(None),
        }
    }

    fn one(&self, key: &RecordKey) -> Result<Option<Record>, FoldDbError> {
        let bytes = key.as_bytes();
        let found = self.point.record(self.entry.records(), bytes, |found| match found {
            Some(found) => {
                let mut record = self.empty();
                self.answer(bytes, found, &mut record)?;
                Ok::<_, FoldDbError>(Some(record))
            }
            None if self.entry.schema.is_keyed() => Ok(None),
            // The record of a schema without key always exists.
            None => {
                let mut record = self.empty();
                for (_, column) in &*self.projection.elements {
                    record.set(*column, Value::Object(BTreeMap::new()));
                }
                Ok(Some(record))
            }
        })?;
        let Some(mut record) = found else { return Ok(None) };
        for (schema, cells) in &*self.projection.mapped {
            self.point.record(*schema, bytes, |found| {
                found.map_or(Ok(()), |found| {
                    found
                        .project(cells, &mut record.values)
                        .map_err(|error| self.point.record_error(*schema, bytes, error))
                })
            })?;
        }
        for (cell, column) in &*self.projection.mapped_elements {
            let elements = match self.point.birth(cell.schema, bytes)? {
                Some(birth) => self.inline(cell.address(bytes), birth)?,
                None => BTreeMap::new(),
            };
            record.set(*column, Value::Object(elements));
        }
        Ok(Some(record))
    }

    /// The elements of a field in a life of its record.
    fn inline(
        &self,
        address: FieldAddress<'_>,
        birth: CommitNumber,
    ) -> Result<BTreeMap<String, Value>, FoldDbError> {
        inline(&ElementScan { point: &self.point, address, birth }, &self.entry)
    }

    fn empty(&self) -> Record {
        let columns = Arc::clone(&self.projection.columns);
        Record { values: vec![Value::Null; columns.len()], columns }
    }

    fn run_range(
        &self,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        limit: Option<usize>,
        visit: &mut impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<Option<String>, FoldDbError> {
        let scan = Scan::range(Keyspace::Records, lower, upper);
        let prefix = self.point.rows.records(self.entry.records()).len();
        let mut visited = 0;
        let mut last: Vec<u8> = Vec::new();
        let mut cursor = None;
        let mut record = self.empty();
        let is_plain = self.point.is_current() && self.projection.elements.is_empty();
        let mut one = |row_key: &[u8], row: &[u8]| -> Result<ControlFlow<()>, FoldDbError> {
            let key = row_key.get(prefix..).unwrap_or_default();
            record.refill();
            let plain = is_plain
                .then(|| project_plain(row, &self.projection.cells, &mut record.values))
                .flatten();
            let found = match plain {
                Some(true) => None,
                Some(false) => return Ok(ControlFlow::Continue(())),
                None => match self.point.resolve(self.entry.records(), key, row)? {
                    Some(found) => Some(found),
                    None => return Ok(ControlFlow::Continue(())),
                },
            };
            if limit.is_some_and(|limit| visited >= limit) {
                // There is more: the limit was reached by the record before.
                cursor = Some(write_cursor(self.point.at, &last));
                return Ok(ControlFlow::Break(()));
            }
            match found {
                Some(found) => self.answer(key, found, &mut record)?,
                None => self.answer_key(key, &mut record.values)?,
            }
            visited += 1;
            if limit.is_some_and(|limit| visited >= limit) {
                last = key.to_vec();
            }
            Ok(visit(&mut record))
        };
        let mut failed = None;
        let read = self.point.published.snapshot.for_each(&scan, &mut |key, row| {
            one(key, row).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        });
        match failed {
            Some(error) => Err(error),
            None => {
                read.map_err(DataLayerError::from)?;
                Ok(cursor)
            }
        }
    }

    /// Sets all columns of a record that come from its own row, its key and its elements.
    fn answer(
        &self,
        key: &[u8],
        found: RecordAt<'_>,
        record: &mut Record,
    ) -> Result<(), FoldDbError> {
        self.answer_key(key, &mut record.values)?;
        let birth = found.birth;
        found
            .project(&self.projection.cells, &mut record.values)
            .map_err(|error| self.point.record_error(self.entry.records(), key, error))?;
        for (field, column) in &*self.projection.elements {
            let schema = self.entry.records();
            let address = FieldAddress { schema, record: key, field: *field };
            record.set(*column, Value::Object(self.inline(address, birth)?));
        }
        Ok(())
    }

    /// Sets the columns of the parts of the key.
    fn answer_key(&self, key: &[u8], values: &mut [Value]) -> Result<(), DataLayerError> {
        if let [(0, column)] = *self.projection.key_parts
            && let Some(int) = KeyReader::new(key).natural()
            && let Some(place) = values.get_mut(column)
        {
            *place = Value::Int(int);
            return Ok(());
        }
        self.answer_parts(key, values).map_err(|error| {
            let row = self.point.rows.record(self.entry.records(), key);
            DataLayerError::key(Keyspace::Records, &row, error)
        })
    }

    fn answer_parts(&self, key: &[u8], values: &mut [Value]) -> Result<(), KeyError> {
        let mut reader = KeyReader::new(key);
        let (mut next, mut first) = (0, 0);
        for (part, column) in self.projection.key_parts.iter() {
            let value = if *part >= next {
                reader.skip_parts(part - next)?;
                (next, first) = (part + 1, *column);
                value_of_part(reader.part()?)
            } else {
                // A part that was selected twice.
                values.get(first).cloned().unwrap_or_default()
            };
            if let Some(place) = values.get_mut(*column) {
                *place = value;
            }
        }
        Ok(())
    }
}

/// The time of the commit that is read at.
pub(super) fn time_of(point: &ReadPoint) -> Result<Timestamp, DataLayerError> {
    match point.at {
        CommitNumber::ZERO => Ok(Timestamp::from_micros(0)),
        _ if point.is_current() => Ok(point.published.time),
        commit => Ok(point.commit(commit)?.time),
    }
}

/// The point that a cursor pins, and the key that it stands behind.
pub(super) fn pinned(
    point: &mut ReadPoint,
    cursor: Option<&str>,
) -> Result<Option<Vec<u8>>, QueryError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let (at, key) = read_cursor(cursor).ok_or(QueryError::InvalidCursor)?;
    if at > point.published.number {
        return Err(QueryError::InvalidCursor);
    }
    point.at = at;
    Ok(Some(key))
}

/// The schema, if it may be queried and existed at the moment.
pub(crate) fn readable(
    point: &ReadPoint,
    name: &SchemaName,
) -> Result<Arc<SchemaEntry>, QueryError> {
    let unknown = |at| QueryError::UnknownSchema { schema: name.clone(), at };
    let entry = point.published.catalogue.get(name.as_str()).ok_or_else(|| unknown(None))?;
    if entry.state != SchemaState::Approved {
        return Err(QueryError::NotApproved { schema: name.clone(), state: entry.state });
    }
    if entry.loaded > point.at {
        return Err(unknown(Some(point.at)));
    }
    Ok(Arc::clone(entry))
}

pub(super) fn key_of(entry: &SchemaEntry, parts: &[Value]) -> Result<RecordKey, QueryError> {
    entry.schema.key_of(parts).map_err(|cause| {
        let schema = entry.schema.name.clone();
        QueryError::InvalidKey { schema, cause: Box::new(cause) }
    })
}

fn reach_of(
    entry: &SchemaEntry,
    point: &ReadPoint,
    condition: &KeyCondition,
) -> Result<Reach, QueryError> {
    let schema = &entry.schema;
    let bound = |parts: &[Value]| {
        let key = schema.key_prefix_of(parts).map_err(|cause| {
            let schema = schema.name.clone();
            QueryError::InvalidKey { schema, cause: Box::new(cause) }
        })?;
        Ok::<_, QueryError>(point.rows.record(entry.records(), key.as_bytes()).to_vec())
    };
    // The key `"a\0"` does not begin with the part `"a"`, although its bytes do.
    let end_of = |prefix: &[u8]| Bound::Excluded([prefix, &[BEHIND_PARTS]].concat());
    let prefix_range = |prefix: Vec<u8>| {
        let end = end_of(&prefix);
        Reach::Range(Bound::Included(prefix), end)
    };
    let reach = match condition {
        KeyCondition::All => prefix_range(bound(&[])?),
        KeyCondition::Prefix(parts) => prefix_range(bound(parts)?),
        KeyCondition::Exact(parts) => Reach::One(key_of(entry, parts)?),
        KeyCondition::Range { from, to } => {
            let lower = bound(from.as_deref().unwrap_or_default())?;
            let upper = match to {
                Some(to) => Bound::Excluded(bound(to)?),
                None => end_of(&bound(&[])?),
            };
            Reach::Range(Bound::Included(lower), upper)
        }
    };
    // The record of a schema without key exists also without a row; its key `[]` is below no other.
    let is_the_record =
        !schema.is_keyed() && !matches!(condition, KeyCondition::Range { to: Some(_), .. });
    Ok(if is_the_record { Reach::One(RecordKey::EMPTY) } else { reach })
}

fn columns(entry: &SchemaEntry, select: &[String]) -> Result<Arc<[FieldName]>, QueryError> {
    let schema = &entry.schema;
    let column = |name: &String| {
        let field = schema.field(name).map(|field| field.name.clone());
        field.ok_or_else(|| unknown_field(schema, name))
    };
    select.iter().map(column).collect()
}

pub(super) fn unknown_field(schema: &Schema, name: &str) -> QueryError {
    let names = schema.fields.iter().map(|field| &field.name);
    QueryError::UnknownField {
        schema: schema.name.clone(),
        field: name.to_owned(),
        suggestion: closest(name, names).cloned(),
    }
}

/// A cursor is the commit that was read at and the last key, in hexadecimal digits.
pub(super) fn write_cursor(at: CommitNumber, key: &[u8]) -> String {
    use std::fmt::Write;
    let mut cursor = format!("{:x}-", at.0);
    for byte in key {
        let _ = write!(cursor, "{byte:02x}");
    }
    cursor
}

fn read_cursor(cursor: &str) -> Option<(CommitNumber, Vec<u8>)> {
    let (at, key) = cursor.split_once('-')?;
    if !(at.bytes().chain(key.bytes())).all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let at = u64::from_str_radix(at, 16).ok()?;
    if key.len() % 2 != 0 {
        return None;
    }
    let bytes = (0..key.len() / 2).map(|at| {
        let digits = key.get(at * 2..at * 2 + 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    Some((CommitNumber(at), bytes.collect::<Option<_>>()?))
}
