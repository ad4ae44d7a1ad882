//! Reading records as they are, or as they were after an earlier commit.

use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::encoding::KeyWriter;
use datafold_store::{Keyspace, Scan};
use minicbor::Decoder;

use super::commit::{Change, Commit, decode_changes, decode_header};
use super::error::DataLayerError;
use super::ids::{CommitNumber, FieldId, SchemaId};
use super::published::Published;
use super::record::{Cell, LiveRecord, PastCell, RecordRow, RecordView, RowHeader, Values};
use super::rows::Rows;
use super::serialization::RowError;
use crate::model::{Timestamp, Value};

/// One moment of a space: everything that commits up to `at` wrote.
#[derive(Debug, Clone)]
pub(crate) struct ReadPoint {
    pub(crate) published: Arc<Published>,
    pub(crate) at: CommitNumber,
    pub(crate) rows: Rows,
}

impl ReadPoint {
    /// Whether it is the newest durable state, so that current rows need no look into the past.
    pub(crate) fn is_current(&self) -> bool {
        self.at >= self.published.number
    }

    /// Hands `visit` the record as of this moment; `None` if it does not exist.
    pub(crate) fn record<T, E: From<DataLayerError>>(
        &self,
        schema: SchemaId,
        record: &[u8],
        visit: impl FnOnce(Option<RecordAt<'_>>) -> Result<T, E>,
    ) -> Result<T, E> {
        let key = self.rows.record(schema, record);
        match self.published.record(&key)? {
            Some(row) => visit(self.resolve(schema, record, &row)?),
            None => visit(None),
        }
    }

    /// What a current row was at this moment.
    pub(crate) fn resolve<'r>(
        &'r self,
        schema: SchemaId,
        record: &'r [u8],
        row: &'r [u8],
    ) -> Result<Option<RecordAt<'r>>, DataLayerError> {
        let error = |error| self.record_error(schema, record, error);
        let header = RowHeader::read(row).map_err(error)?;
        let found = |birth, cells| RecordAt { point: self, schema, record, birth, cells };
        if self.is_current() || header.newest <= self.at {
            return Ok(header.values.map(|values| found(header.birth, CellsAt::Row(values))));
        }
        if header.birth <= self.at {
            let row = RowBytes::Borrowed(row);
            return Ok(header.values.map(|_| found(header.birth, CellsAt::Rewound(row))));
        }
        let Some((birth, row)) = self.earlier_life(schema, record)? else { return Ok(None) };
        let header =
            RowHeader::read(&row).map_err(|error| self.life_error(schema, record, birth, error))?;
        let is_live = header.values.is_some();
        Ok(is_live.then(|| found(birth, CellsAt::Rewound(RowBytes::Owned(row)))))
    }

    /// The commit that began the life that a record has at this moment; `None` if it has none.
    pub(crate) fn birth(
        &self,
        schema: SchemaId,
        record: &[u8],
    ) -> Result<Option<CommitNumber>, DataLayerError> {
        let error = |error| self.record_error(schema, record, error);
        let key = self.rows.record(schema, record);
        let Some(row) = self.published.record(&key)? else { return Ok(None) };
        let header = RowHeader::read(&row).map_err(error)?;
        if self.is_current() || header.birth <= self.at {
            return Ok(header.values.map(|_| header.birth));
        }
        let Some((birth, row)) = self.earlier_life(schema, record)? else { return Ok(None) };
        let header =
            RowHeader::read(&row).map_err(|error| self.life_error(schema, record, birth, error))?;
        Ok(header.values.map(|_| birth))
    }

    /// The record as of this moment, with who wrote its cells; `None` if it does not exist.
    ///
    /// One row, and one seek for each cell that was overwritten since.
    pub(crate) fn live(
        &self,
        schema: SchemaId,
        record: &[u8],
    ) -> Result<Option<LiveRecord>, DataLayerError> {
        let key = self.rows.record(schema, record);
        match self.published.record(&key)? {
            Some(row) => self.live_of(schema, record, &row.into()),
            None => Ok(None),
        }
    }

    /// As [`ReadPoint::live`], of a current row.
    pub(crate) fn live_of(
        &self,
        schema: SchemaId,
        record: &[u8],
        row: &Bytes,
    ) -> Result<Option<LiveRecord>, DataLayerError> {
        let mut found =
            RecordRow::decode(row).map_err(|error| self.record_error(schema, record, error))?;
        if found.birth().commit > self.at {
            let Some((birth, row)) = self.earlier_life(schema, record)? else { return Ok(None) };
            found = RecordRow::decode(&row)
                .map_err(|error| self.life_error(schema, record, birth, error))?;
        }
        let RecordRow::Live(mut live) = found else { return Ok(None) };
        if live.changed() <= self.at {
            return Ok(Some(live));
        }
        let mut cells = Vec::with_capacity(live.cells.len());
        for (field, mut cell) in live.cells {
            if cell.stamp.commit > self.at {
                let past = self.past_cell(schema, record, field)?;
                // A version of an earlier life is none of this one.
                let past = past.filter(|past| past.stamp.commit >= live.birth.commit);
                let Some(past) = past else { continue };
                cell = past;
            }
            cells.push((field, cell));
        }
        live.cells = cells;
        Ok(Some(live))
    }

    /// The row of the last life or tombstone that began at or before this moment and has ended.
    fn earlier_life(
        &self,
        schema: SchemaId,
        record: &[u8],
    ) -> Result<Option<(CommitNumber, Bytes)>, DataLayerError> {
        self.first_history(schema, record, FieldId::RECORD, self.at)
    }

    fn past_cell(
        &self,
        schema: SchemaId,
        record: &[u8],
        field: FieldId,
    ) -> Result<Option<Cell>, DataLayerError> {
        let Some((birth, row)) = self.first_history(schema, record, field, self.at)? else {
            return Ok(None);
        };
        let past = PastCell::decode(&row).map_err(|error| {
            let key = self.rows.history(schema, record, field, birth);
            DataLayerError::row(Keyspace::History, &key, error)
        })?;
        Ok(Some(past.into_cell(birth)))
    }

    /// What a cell was in the life that `birth` began; null if it had no value.
    fn past_value(
        &self,
        schema: SchemaId,
        record: &[u8],
        field: FieldId,
        birth: CommitNumber,
    ) -> Result<Value, DataLayerError> {
        let mut found = Ok(Value::Null);
        self.scan_history(schema, record, field, self.at, 1, |born, row| {
            // A version of an earlier life is none of this one.
            if born >= birth {
                found = PastCell::value_of(row).map_err(|error| {
                    let key = self.rows.history(schema, record, field, born);
                    DataLayerError::row(Keyspace::History, &key, error)
                });
            }
        })?;
        found
    }

    /// The newest history row of a cell that was born at or before `at`: one seek.
    fn first_history(
        &self,
        schema: SchemaId,
        record: &[u8],
        field: FieldId,
        at: CommitNumber,
    ) -> Result<Option<(CommitNumber, Bytes)>, DataLayerError> {
        let mut found = None;
        self.scan_history(schema, record, field, at, 1, |birth, row| {
            found = Some((birth, Bytes::copy_from_slice(row)));
        })?;
        Ok(found)
    }

    /// History rows of a cell (or with [`FieldId::RECORD`] of earlier lives) that were born at
    /// or before `newest`, the newest first, at most `limit`.
    pub(crate) fn scan_history(
        &self,
        schema: SchemaId,
        record: &[u8],
        field: FieldId,
        newest: CommitNumber,
        limit: usize,
        visit: impl FnMut(CommitNumber, &[u8]),
    ) -> Result<(), DataLayerError> {
        let prefix = self.rows.cell_history(schema, record, field);
        self.scan_past(prefix, newest, limit, visit)
    }

    /// As [`ReadPoint::scan_history`], of the cell or element whose history keys begin so.
    pub(crate) fn scan_past(
        &self,
        prefix: Vec<u8>,
        newest: CommitNumber,
        limit: usize,
        mut visit: impl FnMut(CommitNumber, &[u8]),
    ) -> Result<(), DataLayerError> {
        let mut from = KeyWriter::new();
        from.raw(&prefix).descending(newest.0);
        // Without an upper bound, which would cost an engine a second descent.
        let lower = Bound::Included(from.into_vec());
        let scan = Scan::range(Keyspace::History, lower, Bound::Unbounded).rows(limit);
        let (mut left, mut failed) = (limit, None);
        self.published.snapshot.for_each(&scan, &mut |key, row| {
            let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
                return ControlFlow::Break(());
            };
            let birth = rest.try_into().ok();
            match birth.map(|bytes| CommitNumber(!u64::from_be_bytes(bytes))) {
                _ if left == 0 => return ControlFlow::Break(()),
                Some(birth) => visit(birth, row),
                None => {
                    let error = RowError::Malformed("a history key ends in a commit number");
                    failed = Some(DataLayerError::row(Keyspace::History, key, error));
                    return ControlFlow::Break(());
                }
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The time and writer of a commit.
    pub(crate) fn commit(&self, number: CommitNumber) -> Result<Commit, DataLayerError> {
        let key = self.rows.commit_part(number, 0).1;
        let row = self.published.get(Keyspace::Commits, &key)?;
        let row = row.ok_or_else(|| DataLayerError::missing(format!("commit {number}")))?;
        decode_header(number, &mut Decoder::new(&row))
            .map_err(|error| DataLayerError::row(Keyspace::Commits, &key, error))
    }

    /// What a commit did; `None` for a number that no commit has.
    pub(crate) fn changes(
        &self,
        number: CommitNumber,
    ) -> Result<Option<(Commit, Vec<Change>)>, DataLayerError> {
        let mut scan = Scan::prefix(Keyspace::Commits, &self.rows.commit(number));
        let mut header = None;
        let mut changes = Vec::new();
        loop {
            let page = self.published.snapshot.scan(&scan)?;
            for (key, part) in page.rows() {
                let error = |error| DataLayerError::row(Keyspace::Commits, key, error);
                let mut decoder = Decoder::new(part);
                if header.is_none() {
                    header = Some(decode_header(number, &mut decoder).map_err(error)?);
                }
                changes.extend(decode_changes(&mut decoder, part).map_err(error)?);
            }
            match page.last_key() {
                Some(last) if page.more() => scan = scan.after(last),
                _ => return Ok(header.map(|header| (header, changes))),
            }
        }
    }

    /// The last commit with a time at or before `time`: a binary search in the commit log.
    pub(crate) fn commit_at(&self, time: Timestamp) -> Result<CommitNumber, DataLayerError> {
        if time >= self.published.time {
            return Ok(self.published.number);
        }
        let (mut known, mut beyond) = (0, self.published.number.0);
        while beyond - known > 1 {
            let middle = known + (beyond - known) / 2;
            if self.commit(CommitNumber(middle))?.time <= time {
                known = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(CommitNumber(known))
    }

    /// Of the row of an earlier life.
    fn life_error(
        &self,
        schema: SchemaId,
        record: &[u8],
        birth: CommitNumber,
        error: RowError,
    ) -> DataLayerError {
        let key = self.rows.history(schema, record, FieldId::RECORD, birth);
        DataLayerError::row(Keyspace::History, &key, error)
    }

    pub(crate) fn record_error(
        &self,
        schema: SchemaId,
        record: &[u8],
        error: RowError,
    ) -> DataLayerError {
        DataLayerError::row(Keyspace::Records, &self.rows.record(schema, record), error)
    }
}

/// A row that was read, or one that was given.
#[derive(Debug)]
pub(crate) enum RowBytes<'r> {
    Borrowed(&'r [u8]),
    Owned(Bytes),
}

impl RowBytes<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            RowBytes::Borrowed(row) => row,
            RowBytes::Owned(row) => row,
        }
    }
}

/// A record as of some moment.
#[derive(Debug)]
pub(crate) struct RecordAt<'r> {
    point: &'r ReadPoint,
    schema: SchemaId,
    record: &'r [u8],
    /// The commit that began the life that it has at that moment.
    pub(crate) birth: CommitNumber,
    cells: CellsAt<'r>,
}

#[derive(Debug)]
enum CellsAt<'r> {
    /// The values of the row as it is stored.
    Row(Values<'r>),
    /// A live row, some of whose cells may be newer than the moment.
    Rewound(RowBytes<'r>),
}

impl RecordAt<'_> {
    /// Sets the columns of the cells; those without a value become null. `cells` is sorted by
    /// field; what stands behind its last field is not looked at.
    ///
    /// One seek for each of the cells that was overwritten since.
    pub(crate) fn project(
        self,
        cells: &[(FieldId, usize)],
        columns: &mut [Value],
    ) -> Result<(), DataLayerError> {
        let (point, schema, record) = (self.point, self.schema, self.record);
        let row = match self.cells {
            CellsAt::Row(values) => {
                return project_row(values, cells, columns)
                    .map_err(|error| point.record_error(schema, record, error));
            }
            CellsAt::Rewound(row) => row,
        };
        let error = |error| match &row {
            RowBytes::Borrowed(_) => point.record_error(schema, record, error),
            RowBytes::Owned(_) => point.life_error(schema, record, self.birth, error),
        };
        let view = RecordView::new(row.bytes()).map_err(error)?;
        let past = |field| point.past_value(schema, record, field, self.birth);
        project_past(&view, point.at, past, cells, columns, error)
    }
}

/// As [`project_row`], with what `past` says of the cells that were written after `at`.
pub(super) fn project_past(
    view: &RecordView<'_>,
    at: CommitNumber,
    past: impl Fn(FieldId) -> Result<Value, DataLayerError>,
    cells: &[(FieldId, usize)],
    columns: &mut [Value],
    error: impl Fn(RowError) -> DataLayerError,
) -> Result<(), DataLayerError> {
    let mut wanted = cells.iter().peekable();
    let Some(mut found) = view.cells() else { return Ok(()) };
    while wanted.peek().is_some()
        && let Some((field, stamp)) = found.next_head().map_err(&error)?
    {
        while let Some((_, column)) = wanted.next_if(|(wanted, _)| *wanted < field) {
            set_null(columns, *column);
        }
        let first = wanted.next_if(|(wanted, _)| *wanted == field);
        let place = first.and_then(|(_, column)| columns.get_mut(*column));
        let (Some((_, first)), Some(place)) = (first, place) else {
            found.skip_value().map_err(&error)?;
            continue;
        };
        if stamp.commit > at {
            found.skip_value().map_err(&error)?;
            *place = past(field)?;
        } else {
            found.value_into(place).map_err(&error)?;
        }
        repeat(&mut wanted, field, *first, columns);
    }
    for (_, column) in wanted {
        set_null(columns, *column);
    }
    Ok(())
}

/// Sets the other columns of a field that was selected more than once.
fn repeat<'c>(
    wanted: &mut Peekable<impl Iterator<Item = &'c (FieldId, usize)>>,
    field: FieldId,
    first: usize,
    columns: &mut [Value],
) {
    while let Some((_, column)) = wanted.next_if(|(wanted, _)| *wanted == field) {
        let value = columns.get(first).cloned().unwrap_or_default();
        if let Some(place) = columns.get_mut(*column) {
            *place = value;
        }
    }
}

/// Sets the columns of all cells, those without a value to null.
pub(super) fn project_row(
    mut values: Values<'_>,
    cells: &[(FieldId, usize)],
    columns: &mut [Value],
) -> Result<(), RowError> {
    let mut wanted = cells.iter().peekable();
    while wanted.peek().is_some()
        && let Some(field) = values.next_field()?
    {
        while let Some((_, column)) = wanted.next_if(|(wanted, _)| *wanted < field) {
            set_null(columns, *column);
        }
        let Some((_, first)) = wanted.next_if(|(wanted, _)| *wanted == field) else {
            values.skip()?;
            continue;
        };
        let Some(place) = columns.get_mut(*first) else { continue };
        values.decode_into(place)?;
        repeat(&mut wanted, field, *first, columns);
    }
    for (_, column) in wanted {
        set_null(columns, *column);
    }
    Ok(())
}

fn set_null(columns: &mut [Value], column: usize) {
    if let Some(place) = columns.get_mut(column) {
        *place = Value::Null;
    }
}
