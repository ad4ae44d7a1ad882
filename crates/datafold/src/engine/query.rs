//! Requests to read, and their answers.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::error::{FoldDbError, QueryError};
use super::suggest::closest;
use crate::data_layer::internal::{ReadPoint, RecordAt, prefix_end};
use crate::data_layer::{CommitNumber, DataLayerError, FieldId, SchemaEntry};
use crate::model::{
    FieldName, RecordKey, SchemaName, SchemaState, Timestamp, Value, decode_value, value_of_part,
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

fn commit_number<S: Serializer>(commit: &CommitNumber, serializer: S) -> Result<S::Ok, S::Error> {
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
    columns: Arc<[FieldName]>,
    sources: Vec<Source>,
    /// For each field number up to the largest one selected: its columns.
    by_field: Vec<Vec<usize>>,
    reach: Reach,
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    KeyPart(usize),
    Cell,
}

#[derive(Debug)]
enum Reach {
    One(RecordKey),
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Plan {
    pub(crate) fn new(mut point: ReadPoint, request: &QueryRequest) -> Result<Self, FoldDbError> {
        let entry = point.published.catalogue.get(request.schema.as_str()).cloned();
        let Some(entry) = entry else {
            let schema = request.schema.clone();
            return Err(QueryError::UnknownSchema { schema, at: None }.into());
        };
        if entry.state != SchemaState::Approved {
            let schema = request.schema.clone();
            return Err(QueryError::NotApproved { schema, state: entry.state }.into());
        }
        let after = match &request.cursor {
            None => None,
            Some(cursor) => {
                let (at, key) = read_cursor(cursor).ok_or(QueryError::InvalidCursor)?;
                if at > point.published.number {
                    return Err(QueryError::InvalidCursor.into());
                }
                point.at = at;
                Some(key)
            }
        };
        if entry.loaded > point.at {
            let schema = request.schema.clone();
            return Err(QueryError::UnknownSchema { schema, at: Some(point.at) }.into());
        }
        let mut plan = Self {
            columns: columns(&entry, request.select.as_deref())?,
            reach: Reach::Range(Bound::Unbounded, Bound::Unbounded),
            sources: Vec::new(),
            by_field: Vec::new(),
            point,
            entry,
        };
        plan.resolve_columns();
        plan.reach = plan.reach_of(&request.key)?;
        if let (Some(key), Reach::Range(lower, _)) = (after, &mut plan.reach) {
            *lower = Bound::Excluded(plan.point.rows.record(plan.entry.id, &key).to_vec());
        }
        Ok(plan)
    }

    fn resolve_columns(&mut self) {
        let key = &self.entry.schema.key;
        for (column, name) in self.columns.iter().enumerate() {
            if let Some(part) = key.iter().position(|part| part == name) {
                self.sources.push(Source::KeyPart(part));
                continue;
            }
            self.sources.push(Source::Cell);
            let Some(field) = self.entry.field_id(name.as_str()) else { continue };
            let field = field.0 as usize;
            if self.by_field.len() <= field {
                self.by_field.resize_with(field + 1, Vec::new);
            }
            if let Some(columns) = self.by_field.get_mut(field) {
                columns.push(column);
            }
        }
    }

    fn reach_of(&self, condition: &KeyCondition) -> Result<Reach, FoldDbError> {
        let schema = &self.entry.schema;
        let bound = |parts: &[Value]| {
            let key = schema
                .key_prefix_of(parts)
                .map_err(|cause| QueryError::InvalidKey { schema: schema.name.clone(), cause })?;
            let rows = self.point.rows;
            Ok::<_, FoldDbError>(rows.record(self.entry.id, key.as_bytes()).to_vec())
        };
        let prefix_range = |prefix: Vec<u8>| {
            let end = prefix_end(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
            Reach::Range(Bound::Included(prefix), end)
        };
        if !schema.is_keyed() && matches!(condition, KeyCondition::All) {
            return Ok(Reach::One(RecordKey::EMPTY));
        }
        match condition {
            KeyCondition::All => Ok(prefix_range(bound(&[])?)),
            KeyCondition::Prefix(parts) => Ok(prefix_range(bound(parts)?)),
            KeyCondition::Exact(parts) => {
                let key = schema.key_of(parts);
                let schema = schema.name.clone();
                Ok(Reach::One(key.map_err(|cause| QueryError::InvalidKey { schema, cause })?))
            }
            KeyCondition::Range { from, to } => {
                let lower = bound(from.as_deref().unwrap_or_default())?;
                let upper = match to {
                    Some(to) => Bound::Excluded(bound(to)?),
                    None => prefix_end(&bound(&[])?).map_or(Bound::Unbounded, Bound::Excluded),
                };
                Ok(Reach::Range(Bound::Included(lower), upper))
            }
        }
    }

    /// Calls `visit` for each record in the order of the keys, until it breaks or `limit` is
    /// reached.
    pub(crate) fn run(
        &self,
        limit: Option<usize>,
        mut visit: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        let mut cursor = None;
        match &self.reach {
            Reach::One(key) => {
                if let Some(found) = self.read_one(key)? {
                    let _ = visit(self.answer(key.as_bytes(), &found)?);
                }
            }
            Reach::Range(lower, upper) => {
                cursor = self.run_range(lower.clone(), upper.clone(), limit, &mut visit)?;
            }
        }
        let commit = self.point.at;
        let time = match commit {
            CommitNumber::ZERO => Timestamp::from_micros(0),
            _ if self.point.is_current() => self.point.published.time,
            _ => self.point.commit(commit)?.time,
        };
        Ok(QueryEnd { cursor, commit, time })
    }

    fn read_one(&self, key: &RecordKey) -> Result<Option<RecordAt>, DataLayerError> {
        let found = self.point.record(self.entry.id, key.as_bytes())?;
        // The record of a schema without key always exists.
        let empty = (!self.entry.schema.is_keyed()).then(RecordAt::empty);
        Ok(found.or(empty))
    }

    fn run_range(
        &self,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        limit: Option<usize>,
        visit: &mut impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Option<String>, FoldDbError> {
        let mut scan = Scan::range(Keyspace::Records, lower, upper);
        if let Some(limit) = limit {
            // One more tells whether there is more.
            scan = scan.rows(limit.saturating_add(1).min(Scan::ROWS_MAX));
        }
        let prefix = self.point.rows.records(self.entry.id).len();
        let mut last: Option<Bytes> = None;
        let mut visited = 0;
        loop {
            let page = self.point.published.snapshot.scan(&scan).map_err(DataLayerError::from)?;
            for (row_key, row) in page.rows() {
                let key = row_key.get(prefix..).unwrap_or_default();
                let row = Bytes::copy_from_slice(row);
                let Some(found) = self.point.resolve(self.entry.id, key, row)? else { continue };
                if limit.is_some_and(|limit| visited >= limit) {
                    return Ok(last.map(|key| write_cursor(self.point.at, &key)));
                }
                if visit(self.answer(key, &found)?).is_break() {
                    return Ok(None);
                }
                visited += 1;
                if limit.is_some_and(|limit| visited >= limit) {
                    last = Some(Bytes::copy_from_slice(key));
                }
            }
            match page.last_key() {
                Some(last_key) if page.more() => scan = scan.after(last_key),
                _ => return Ok(None),
            }
        }
    }

    fn answer(&self, key: &[u8], found: &RecordAt) -> Result<Record, DataLayerError> {
        let mut values = vec![Value::Null; self.columns.len()];
        if self.sources.iter().any(|source| matches!(source, Source::KeyPart(_))) {
            self.answer_key(key, &mut values)?;
        }
        let decoded = found.for_each_value(|FieldId(field), raw| {
            for column in self.by_field.get(field as usize).into_iter().flatten() {
                if let Some(value) = values.get_mut(*column) {
                    *value = decode_value(raw)?;
                }
            }
            Ok(())
        });
        decoded.map_err(|error| self.point.record_error(self.entry.id, key, error))?;
        Ok(Record { columns: Arc::clone(&self.columns), values })
    }

    fn answer_key(&self, key: &[u8], values: &mut [Value]) -> Result<(), DataLayerError> {
        let parts = RecordKey::from_bytes(Bytes::copy_from_slice(key)).parts();
        let parts = parts.map_err(crate::data_layer::SerializationError::from)?;
        for (source, value) in self.sources.iter().zip(values) {
            if let Source::KeyPart(part) = source
                && let Some(part) = parts.get(*part)
            {
                *value = value_of_part(part.clone());
            }
        }
        Ok(())
    }
}

fn columns(entry: &SchemaEntry, select: Option<&[String]>) -> Result<Arc<[FieldName]>, QueryError> {
    let fields = &entry.schema.fields;
    let Some(select) = select else {
        return Ok(fields.iter().map(|field| field.name.clone()).collect());
    };
    let column = |name: &String| {
        let found = fields.iter().find(|field| field.name.as_str() == name);
        found.map(|field| field.name.clone()).ok_or_else(|| QueryError::UnknownField {
            schema: entry.schema.name.clone(),
            field: name.clone(),
            suggestion: closest(name, fields.iter().map(|field| &field.name)).cloned(),
        })
    };
    select.iter().map(column).collect()
}

/// A cursor is the commit that was read at and the last key, in hexadecimal digits.
fn write_cursor(at: CommitNumber, key: &[u8]) -> String {
    use std::fmt::Write;
    let mut cursor = format!("{:x}-", at.0);
    for byte in key {
        let _ = write!(cursor, "{byte:02x}");
    }
    cursor
}

fn read_cursor(cursor: &str) -> Option<(CommitNumber, Vec<u8>)> {
    let (at, key) = cursor.split_once('-')?;
    let at = u64::from_str_radix(at, 16).ok()?;
    if !key.is_ascii() || key.len() % 2 != 0 {
        return None;
    }
    let bytes = (0..key.len() / 2).map(|at| {
        let digits = key.get(at * 2..at * 2 + 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    Some((CommitNumber(at), bytes.collect::<Option<_>>()?))
}
