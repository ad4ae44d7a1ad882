//! A moment of the store, as a read transaction of redb.

use std::cell::Cell;
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
    // Who wants a few rows has nothing to wait for meanwhile.
    let copied_max = if scan.rows_max < Scan::ROWS_MAX { 0 } else { COPY_BYTES_MAX };
    match scan.order {
        Order::Forward => visit_rows(rows, copied_max, visit, visiting),
        Order::Reverse => visit_rows(rows.rev(), copied_max, visit, visiting),
    }
}

/// Copies each row of up to so many bytes before it is visited: a processor goes on while what it
/// copies comes from memory, but waits for each part that it decodes.
fn visit_rows<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, StorageError>>,
    copied_max: usize,
    visit: &mut RowVisitor<'_>,
    visiting: &Cell<bool>,
) -> Result<(), StorageError> {
    let mut copy = Vec::new();
    // The only place that takes rows, so that the walk becomes a part of this loop.
    for row in rows {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        let (key, value) = if key.len() + value.len() <= copied_max {
            copy.clear();
            copy.extend_from_slice(key);
            copy.extend_from_slice(value);
            copy.split_at_checked(key.len()).unwrap_or((key, value))
        } else {
            (key, value)
        };
        visiting.set(true);
        let step = visit(key, value);
        visiting.set(false);
        if step.is_break() {
            break;
        }
    }
    Ok(())
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
