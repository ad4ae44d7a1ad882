//! Requests to read, and their answers.

mod access;
mod clause;
mod explain;
mod group;
mod names;
mod order;
mod plan;
mod program;
mod reader;
mod run;

pub use self::explain::{Counts, Explain};
pub(crate) use self::plan::Plan;

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use self::clause::{Column, SortKey};
use super::elements::INLINE_ELEMENTS_MAX;
use super::error::QueryError;
use super::suggest::closest;
use crate::data_layer::internal::{BEHIND_PARTS, ReadPoint};
use crate::data_layer::{CommitNumber, DataLayerError, Moment, SchemaEntry};
use crate::model::{FieldName, RecordKey, Schema, SchemaName, SchemaState, Timestamp, Value};

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
    /// The columns to answer, in this order: fields, or `name = expression`; `None` for all
    /// fields, in the schema's order. Of groups, the names are those of [`group_by`] and
    /// [`aggregates`], and `None` is all of them.
    ///
    /// [`group_by`]: QueryRequest::group_by
    /// [`aggregates`]: QueryRequest::aggregates
    pub select: Option<Vec<String>>,
    /// The condition that a record must fulfil, an expression.
    pub filter: Option<String>,
    /// The values of the parameters, such as `$min`, in all expressions.
    pub parameters: BTreeMap<String, Value>,
    /// Which records, by their keys.
    pub key: KeyCondition,
    /// The columns by which records are grouped: fields, or `name = expression`.
    pub group_by: Vec<String>,
    /// What is computed of each group, or of all records: `name = function(expression)` with
    /// `count` (also without an expression), `count_distinct`, `sum`, `min`, `max` or `avg`.
    pub aggregates: Vec<String>,
    /// The condition that a group must fulfil, an expression.
    pub having: Option<String>,
    /// Whether equal records are answered once.
    pub distinct: bool,
    /// The order: expressions, each with `desc` and `nulls first` or `nulls last` behind it. By
    /// default that of the keys; records that are equal in it come in the order of their keys, in
    /// the direction of the last sort key.
    pub sort: Vec<String>,
    /// At most this many records, one at least; no limit by default.
    pub limit: Option<usize>,
    /// Where an earlier answer ended.
    pub cursor: Option<String>,
    /// The moment to read as of: a commit number, an RFC 3339 time, or a relative time such as
    /// `-2h`.
    pub as_of: Option<String>,
    /// At most this many elements of a field stand in a record, [`INLINE_ELEMENTS_MAX`] by
    /// default; a record with more is an error.
    ///
    /// [`INLINE_ELEMENTS_MAX`]: super::INLINE_ELEMENTS_MAX
    pub inline_elements: usize,
}

impl QueryRequest {
    /// All records of a schema, with all fields, as they are now.
    #[must_use]
    pub fn new(schema: SchemaName) -> Self {
        Self {
            schema,
            select: None,
            filter: None,
            parameters: BTreeMap::new(),
            key: KeyCondition::All,
            group_by: Vec::new(),
            aggregates: Vec::new(),
            having: None,
            distinct: false,
            sort: Vec::new(),
            limit: None,
            cursor: None,
            as_of: None,
            inline_elements: INLINE_ELEMENTS_MAX,
        }
    }

    /// Whether groups are answered.
    fn is_grouped(&self) -> bool {
        self.distinct || !self.group_by.is_empty() || !self.aggregates.is_empty()
    }

    /// All texts that may have expressions.
    fn sources(&self) -> impl Iterator<Item = &str> + Clone {
        let select = self.select.iter().flatten();
        let lists = select.chain(&self.group_by).chain(&self.aggregates).chain(&self.sort);
        lists.chain(&self.filter).map(String::as_str)
    }

    /// Whether an expression may read the clock.
    fn reads_clock(&self) -> bool {
        self.sources().chain(self.having.as_deref()).any(|source| source.contains("now"))
    }

    /// Whether a sort key is the name of this computed column.
    fn sorts_by(&self, column: &str) -> bool {
        let column = Column::parse("select", column);
        column.is_ok_and(|column| {
            let name = column.name.as_str();
            column.source != name && self.sort.iter().any(|key| SortKey::parse(key).source == name)
        })
    }

    /// Tells the order of this query from that of others.
    fn mark(&self) -> Vec<u8> {
        let is_of_order = |column: &&String| self.is_grouped() || self.sorts_by(column);
        let select: Vec<&String> = self.select.iter().flatten().filter(is_of_order).collect();
        let of_records = (&self.schema, &self.filter, &self.parameters, &self.key, select);
        let of_groups = (&self.group_by, &self.aggregates, &self.having, self.distinct);
        mark_of(&(of_records, of_groups, &self.sort)).to_vec()
    }
}

/// Four bytes that tell a request from others, for its cursors.
pub(super) fn mark_of(request: &impl std::fmt::Debug) -> [u8; 4] {
    let mut mark = [0; 4];
    let request = format!("{request:?}");
    blake3::Hasher::new().update(request.as_bytes()).finalize_xof().fill(&mut mark);
    mark
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

    /// Has a value for each column again after [`Record::take`].
    fn refill(&mut self) {
        if self.values.len() != self.columns.len() {
            self.values.resize(self.columns.len(), Value::Null);
        }
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
    /// The computed fields among those that were read whose values may be old, because what they
    /// depend on reached more than one commit computes. Of an answer as of an earlier moment it is
    /// empty: what was old then is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<FieldName>,
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
    /// As [`QueryAnswer::stale`].
    pub stale: Vec<FieldName>,
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
    asked: Moment,
) -> Result<Option<Vec<u8>>, QueryError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let (at, key) = read_cursor(cursor).ok_or(QueryError::InvalidCursor)?;
    if at > point.published.number {
        return Err(QueryError::InvalidCursor);
    }
    // The same time may be that of a later commit by now, but a commit is what it is.
    if let Moment::Commit(asked) = asked
        && asked != at
    {
        let rule = format!("is commit {asked}, but the cursor goes on at commit {at}");
        return Err(QueryError::InvalidClause { place: "as_of".into(), rule });
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

pub(super) fn read_cursor(cursor: &str) -> Option<(CommitNumber, Vec<u8>)> {
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
