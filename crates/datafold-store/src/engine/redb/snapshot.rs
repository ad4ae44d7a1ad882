//! A moment of the store, as a read transaction of redb.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use redb::{AccessGuard, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageError};

use super::failure::{engine_error, panicked, unless_panic};
use super::{OpenFile, definition};
use crate::{Keyspace, Order, Page, RowVisitor, Scan, Snapshot, StoreError};

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The tables of one read transaction, which they keep alive.
pub(super) struct RedbSnapshot {
    tables: [Table; Keyspace::ALL.len()],
    /// Dropped after the tables, which end their transaction on it.
    _open: Arc<OpenFile>,
}

impl std::fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedbSnapshot")
    }
}

impl RedbSnapshot {
    /// A snapshot of what the last batch has left.
    pub(super) fn take(file: &Arc<OpenFile>) -> Result<Self, StoreError> {
        let transaction =
            file.database()?.begin_read().map_err(|error| engine_error("begin a read", error))?;
        let open = |keyspace| {
            let table = transaction.open_table(definition(keyspace));
            table.map_err(|error| engine_error("open a keyspace", error))
        };
        let [a, b, c, d, e, f, g] = Keyspace::ALL;
        let tables = [open(a)?, open(b)?, open(c)?, open(d)?, open(e)?, open(f)?, open(g)?];
        Ok(Self { tables, _open: Arc::clone(file) })
    }

    fn table(&self, keyspace: Keyspace) -> Result<&Table, StoreError> {
        self.tables.get(keyspace.index()).ok_or(StoreError::Closed)
    }
}

impl Snapshot for RedbSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        unless_panic("read a row", || {
            let row = ReadableTable::get(self.table(keyspace)?, key);
            let row = row.map_err(|error| engine_error("read a row", error))?;
            Ok(row.map(|guard| guard.value().to_vec()))
        })
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        if scan.is_empty_range() {
            return Ok(Page::new());
        }
        let table = self.table(scan.keyspace)?;
        unless_panic("scan rows", || {
            read_page(table, scan).map_err(|error| engine_error("scan rows", error))
        })
    }

    fn for_each(&self, scan: &Scan, visit: &mut RowVisitor<'_>) -> Result<(), StoreError> {
        if scan.is_empty_range() {
            return Ok(());
        }
        let table = self.table(scan.keyspace)?;
        let visiting = Cell::new(false);
        let walk = AssertUnwindSafe(|| walk(table, scan, visit, &visiting));
        match catch_unwind(walk) {
            Ok(walked) => walked.map_err(|error| engine_error("scan rows", error)),
            // A panic of `visit` is the caller's own.
            Err(panic) if visiting.get() => resume_unwind(panic),
            Err(panic) => Err(panicked("scan rows", &*panic)),
        }
    }
}

/// So many rows at most are copied before they are visited.
const COPIED_ROWS: usize = 32;

/// Longer rows are handed over where they are.
const COPY_BYTES_MAX: usize = 4 << 10;

type Row<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// Walks the rows of a range; `visiting` tells whether `visit` runs.
fn walk(
    table: &Table,
    scan: &Scan,
    visit: &mut RowVisitor<'_>,
    visiting: &Cell<bool>,
) -> Result<(), StorageError> {
    let rows = ReadableTable::range::<&[u8]>(table, scan.bounds())?;
    // Who wants a few rows shall not pay for more.
    let is_long = scan.rows_max >= Scan::ROWS_MAX;
    let mut visit = |key: &[u8], value: &[u8]| {
        visiting.set(true);
        let step = visit(key, value);
        visiting.set(false);
        step
    };
    match (scan.order, is_long) {
        (Order::Forward, true) => visit_copies(rows, &mut visit),
        (Order::Reverse, true) => visit_copies(rows.rev(), &mut visit),
        (Order::Forward, false) => visit_in_place(rows, &mut visit),
        (Order::Reverse, false) => visit_in_place(rows.rev(), &mut visit),
    }
}

fn visit_in_place<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, StorageError>>,
    visit: &mut RowVisitor<'_>,
) -> Result<(), StorageError> {
    for row in rows {
        let (key, value) = row?;
        if visit(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}

/// Copies some rows before they are visited: while rows come from memory one behind the other, a
/// processor waits for several at once, but for each alone if it is to be decoded first.
fn visit_copies<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, StorageError>>,
    visit: &mut RowVisitor<'_>,
) -> Result<(), StorageError> {
    let mut copies = Copies::default();
    // Few at first, as the visitor may want no more.
    let mut most = 1;
    for row in rows {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => {
                let is_over = copies.visit(visit).is_break();
                return if is_over { Ok(()) } else { Err(error) };
            }
        };
        let (key, value) = (key.value(), value.value());
        if key.len() + value.len() > COPY_BYTES_MAX {
            if copies.visit(visit).is_break() || visit(key, value).is_break() {
                return Ok(());
            }
            continue;
        }
        copies.push(key, value);
        if copies.ends.len() >= most {
            if copies.visit(visit).is_break() {
                return Ok(());
            }
            most = (most * 2).min(COPIED_ROWS);
        }
    }
    let _ = copies.visit(visit);
    Ok(())
}

/// Rows one behind the other.
#[derive(Default)]
struct Copies {
    bytes: Vec<u8>,
    /// Where the key and the value of each end.
    ends: Vec<(usize, usize)>,
}

impl Copies {
    #[inline]
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// Hands them over and forgets them.
    fn visit(&mut self, visit: &mut RowVisitor<'_>) -> ControlFlow<()> {
        let mut start = 0;
        let mut step = ControlFlow::Continue(());
        for (key_end, end) in &self.ends {
            let key = self.bytes.get(start..*key_end).unwrap_or_default();
            let value = self.bytes.get(*key_end..*end).unwrap_or_default();
            step = visit(key, value);
            if step.is_break() {
                break;
            }
            start = *end;
        }
        self.bytes.clear();
        self.ends.clear();
        step
    }
}

fn read_page(table: &Table, scan: &Scan) -> Result<Page, StorageError> {
    let mut page = Page::for_scan(scan);
    let mut rows = ReadableTable::range::<&[u8]>(table, scan.bounds())?;
    loop {
        let row = match scan.order {
            Order::Forward => rows.next(),
            Order::Reverse => rows.next_back(),
        };
        let Some(row) = row else { return Ok(page) };
        if page.is_full(scan) {
            page.set_more();
            return Ok(page);
        }
        let (key, value) = row?;
        page.push(key.value(), value.value());
    }
}
