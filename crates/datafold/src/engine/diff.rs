//! What is different between two moments.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::elements::text_of;
use super::error::FoldDbError;
use super::fold_db::FoldDb;
use super::query::{key_of, readable};
use crate::data_layer::internal::{
    BEHIND_PARTS, CellPlace, ElementSides, Logged, ReadPoint, changed_since, decode_cell,
};
use crate::data_layer::{CommitNumber, DataLayerError, SchemaEntry, SchemaId};
use crate::model::{Field, FieldKind, FieldName, RecordKey, SchemaName, Value};

/// The commits between two moments are walked if there are no more of them than this, or than the
/// schema has records; else all records are.
const COMMITS_WALKED: u64 = 1_000;
/// All records are walked if more than so many were touched, whose keys would be in memory.
const RECORDS_TOUCHED_MAX: usize = 20_000;

/// Which moments are compared, and of which records.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffQuery {
    /// The schema.
    pub schema: SchemaName,
    /// The record; `None` for all of them.
    pub key: Option<Vec<Value>>,
    /// The one moment: a commit number, an RFC 3339 time, or a relative time such as `-2h`. Before
    /// the schema was loaded there were no records.
    pub from: String,
    /// The other moment; `None` is now. It may be the earlier one.
    pub to: Option<String>,
}

impl DiffQuery {
    /// All that changed since a moment.
    #[must_use]
    pub fn since(schema: SchemaName, from: impl Into<String>) -> Self {
        Self { schema, key: None, from: from.into(), to: None }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It exists only at the second moment.
    Created,
    /// It exists only at the first moment.
    Deleted,
    /// It exists at both. It may have been deleted and created again between them.
    Changed,
}

impl DifferenceKind {
    /// A name that never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::Created => "created",
            DifferenceKind::Deleted => "deleted",
            DifferenceKind::Changed => "changed",
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One cell or element that is different, or the record itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What became of the record.
    pub kind: DifferenceKind,
    /// The record.
    pub key: RecordKey,
    /// The field; `None` for the record itself, which was created or deleted. The differences of
    /// its fields follow.
    pub field: Option<FieldName>,
    /// The element, of a Collection or Range field.
    pub element: Option<String>,
    /// The value at the first moment; null without one.
    pub before: Value,
    /// The value at the second moment; null without one.
    pub after: Value,
}

/// The commits that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffEnd {
    /// The one before or at the first moment.
    pub from: CommitNumber,
    /// The one before or at the second moment.
    pub to: CommitNumber,
}

impl FoldDb {
    /// What is different between two moments, in the order of keys, fields and elements; the answer
    /// is in memory.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::diff_each`].
    ///
    /// # Cost
    ///
    /// As [`FoldDb::diff_each`].
    pub fn diff(&self, query: &DiffQuery) -> Result<Vec<Difference>, FoldDbError> {
        let mut found = Vec::new();
        self.diff_each(query, |difference| {
            found.push(difference);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Hands over what is different between two moments, in the order of keys, fields and elements,
    /// until `visit` breaks.
    ///
    /// Both moments are read from one snapshot. A record that was deleted and created again is
    /// different only where its values are.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`] for an unknown or unapproved schema or a wrong key,
    /// [`FoldDbError::Request`] for a moment that is none, and [`FoldDbError::DataLayer`].
    ///
    /// # Cost
    ///
    /// The log of the commits between the moments, and then the records and elements that they
    /// touched; or, where there are many of them, all records and elements of the schema. One seek
    /// more for each cell that has changed since a moment. Memory for one record without its
    /// elements, and for the keys of up to 20,000 records.
    pub fn diff_each(
        &self,
        query: &DiffQuery,
        mut visit: impl FnMut(Difference) -> ControlFlow<()>,
    ) -> Result<DiffEnd, FoldDbError> {
        let ops = self.pool().operations();
        let from = ops.at(self.moment(Some(&query.from))?)?.at;
        let to = ops.at(self.moment(query.to.as_deref())?)?.at;
        // The newest state holds both, whatever was committed meanwhile.
        let point = ops.now();
        let entry = readable(&ReadPoint { at: from.max(to), ..point.clone() }, &query.schema)?;
        let side = |at| ReadPoint {
            at: if at < entry.loaded { CommitNumber::ZERO } else { at },
            ..point.clone()
        };
        let comparison = Comparison {
            from: side(from),
            to: side(to),
            entry: Arc::clone(&entry),
            own_only: false,
        };
        let mut visit = |difference| Ok(visit(difference));
        match &query.key {
            Some(key) => {
                let _ = comparison.record(&key_of(&entry, key)?, &mut visit)?;
            }
            None if !entry.schema.is_keyed() => {
                let _ = comparison.record(&RecordKey::EMPTY, &mut visit)?;
            }
            None => {
                let counters = ops.pipeline().counters();
                let records = counters.get(&entry.records()).map_or(0, |found| found.records);
                comparison.all(records, &mut visit)?;
            }
        }
        Ok(DiffEnd { from, to })
    }
}

/// Takes a difference; breaks to end.
pub(super) type Visit<'v> = dyn FnMut(Difference) -> Result<ControlFlow<()>, FoldDbError> + 'v;

/// Two moments of a schema, read from one snapshot.
pub(super) struct Comparison {
    pub(super) from: ReadPoint,
    pub(super) to: ReadPoint,
    pub(super) entry: Arc<SchemaEntry>,
    /// Without the fields that it maps from other schemas.
    pub(super) own_only: bool,
}

impl Comparison {
    /// The differences of all records of a schema with key, which has about so many.
    fn all(&self, records: u64, visit: &mut Visit<'_>) -> Result<(), FoldDbError> {
        match self.touched(records)? {
            Some(touched) => {
                for record in touched {
                    if self.record(&RecordKey::from_bytes(record), visit)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            None => self.scan(visit),
        }
    }

    /// The records that the commits between the moments touched; `None` if there are too many to
    /// look for them.
    fn touched(&self, records: u64) -> Result<Option<BTreeSet<Bytes>>, FoldDbError> {
        let (first, last) = (self.from.at.min(self.to.at), self.from.at.max(self.to.at));
        if last.0 - first.0 > records.max(COMMITS_WALKED) {
            return Ok(None);
        }
        let (mut touched, mut next) = (BTreeSet::new(), first.next());
        while next <= last {
            let missing = || DataLayerError::missing(format!("commit {next}"));
            let (_, changes) = self.to.changes(next)?.ok_or_else(missing)?;
            for change in changes {
                let (schema, record) = match change {
                    Logged::Record { schema, record, .. } => (schema, record),
                    Logged::Elements { schema, record, .. } => (schema, record),
                    Logged::Catalogue { .. } | Logged::Failure { .. } => continue,
                };
                // Rows of a commit share their memory, which must not be kept for a key.
                if schema == self.entry.records() && !touched.contains(&record) {
                    touched.insert(Bytes::copy_from_slice(&record));
                }
            }
            if touched.len() > RECORDS_TOUCHED_MAX {
                return Ok(None);
            }
            next = next.next();
        }
        Ok(Some(touched))
    }

    /// Walks all records. Those that were deleted have left a row.
    fn scan(&self, visit: &mut Visit<'_>) -> Result<(), FoldDbError> {
        let prefix = self.to.rows.records(self.entry.records());
        let end = Bound::Excluded([&prefix[..], &[BEHIND_PARTS]].concat());
        let scan = Scan::range(Keyspace::Records, Bound::Included(prefix.clone()), end);
        let mut failed = None;
        let read = self.to.published.snapshot.for_each(&scan, &mut |key, row| {
            let key = key.get(prefix.len()..).unwrap_or_default();
            self.row(&RecordKey::from_bytes(key.to_vec()), Some(row), visit).unwrap_or_else(
                |error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                },
            )
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(read.map_err(DataLayerError::from)?),
        }
    }

    /// The differences of one record.
    pub(super) fn record(
        &self,
        key: &RecordKey,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, FoldDbError> {
        let row_key = self.to.rows.record(self.entry.records(), key.as_bytes());
        let row = self.to.published.get(Keyspace::Records, &row_key)?;
        self.row(key, row.as_deref(), visit)
    }

    /// The differences of a record whose current row is this one.
    fn row(
        &self,
        key: &RecordKey,
        row: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, FoldDbError> {
        let (entry, records) = (&self.entry, self.entry.records());
        let older = self.from.at.min(self.to.at);
        let is_same = match row {
            Some(row) => !changed_since(row, older)
                .map_err(|error| self.to.record_error(records, key.as_bytes(), error))?,
            None => true,
        };
        let has_more = entry.schema.fields.iter().any(|field| field.kind != FieldKind::Single)
            || !entry.projection.mapped.is_empty();
        if is_same && !has_more {
            return Ok(ControlFlow::Continue(()));
        }
        let (from, from_birth) = self.side(&self.from, key, row)?;
        let (to, to_birth) = self.side(&self.to, key, row)?;
        let kind = match (from_birth, to_birth) {
            _ if !entry.schema.is_keyed() => DifferenceKind::Changed,
            (None, None) => return Ok(ControlFlow::Continue(())),
            (None, Some(_)) => DifferenceKind::Created,
            (Some(_), None) => DifferenceKind::Deleted,
            (Some(_), Some(_)) => DifferenceKind::Changed,
        };
        let whole = |field: Option<&Field>| Difference {
            kind,
            key: key.clone(),
            field: field.map(|field| field.name.clone()),
            element: None,
            before: Value::Null,
            after: Value::Null,
        };
        if kind != DifferenceKind::Changed && visit(whole(None))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let births = (from_birth, to_birth);
        for (((cell, field), before), after) in entry.fields().zip(from).zip(to) {
            let is_left_out = entry.schema.is_key_field(field.name.as_str())
                || (self.own_only && !field.mappers.is_empty());
            let flow = match field.kind {
                _ if is_left_out => ControlFlow::Continue(()),
                FieldKind::Single if before == after => ControlFlow::Continue(()),
                FieldKind::Single => visit(Difference { before, after, ..whole(Some(field)) })?,
                _ => self.elements(key, cell, births, &whole(Some(field)), visit)?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The values of the Single fields at one of the moments, in the order of the definition, and
    /// the commit that began the record's life.
    fn side(
        &self,
        point: &ReadPoint,
        key: &RecordKey,
        row: Option<&[u8]>,
    ) -> Result<(Vec<Value>, Option<CommitNumber>), FoldDbError> {
        let (entry, records, bytes) = (&self.entry, self.entry.records(), key.as_bytes());
        let mut values = vec![Value::Null; entry.schema.fields.len()];
        let found = match row {
            Some(row) => point.resolve(records, bytes, row)?,
            None => None,
        };
        let birth = found.as_ref().map(|found| found.birth);
        if let Some(found) = found {
            found.project(&entry.projection.cells, &mut values)?;
        }
        for (schema, cells) in &*entry.projection.mapped {
            point.record(*schema, bytes, |found| {
                found.map_or(Ok(()), |found| found.project(cells, &mut values))
            })?;
        }
        Ok((values, birth))
    }

    /// The differences of the elements of a field.
    fn elements(
        &self,
        key: &RecordKey,
        cell: CellPlace,
        births: (Option<CommitNumber>, Option<CommitNumber>),
        of_field: &Difference,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, FoldDbError> {
        let address = cell.address(key.as_bytes());
        let (from, to) = match self.is_own(cell.schema) {
            true => births,
            false => {
                let birth = |point: &ReadPoint| point.birth(cell.schema, key.as_bytes());
                (birth(&self.from)?, birth(&self.to)?)
            }
        };
        let sides = ElementSides { address, from: (&self.from, from), to: (&self.to, to) };
        sides.for_each_difference(|element, before, after| {
            let value = |raw: Option<&[u8]>| raw.map_or(Ok(Value::Null), decode_cell);
            let element = Some(text_of(element)?);
            let (before, after) = (value(before)?, value(after)?);
            visit(Difference { element, before, after, ..of_field.clone() })
        })
    }

    fn is_own(&self, schema: SchemaId) -> bool {
        schema == self.entry.records()
    }
}
