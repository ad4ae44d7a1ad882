//! A moment of the store: what sled holds now, less what later batches have changed.

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use sled::{IVec, Iter};

use super::OpenFile;
use super::failure::{engine_error, unless_panic};
use super::rows::{get, tagged, tagged_bounds};
use super::versions::Before;
use crate::{Keyspace, Order, Page, RowVisitor, Scan, Snapshot, StoreError};

/// At most so many rows are read of sled before it is looked up what has changed them.
const CHUNK_ROWS: usize = 256;
/// Rows of the first chunk where nobody says how many are wanted: most readers who stop early want
/// one, such as the newest version of a cell. Each chunk is twice as long as the one before.
const FIRST_CHUNK_ROWS: usize = 2;
const CHUNK_BYTES: usize = 1 << 20;

pub(super) struct SledSnapshot {
    version: u64,
    open: Arc<OpenFile>,
}

impl fmt::Debug for SledSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledSnapshot").field("version", &self.version).finish()
    }
}

impl SledSnapshot {
    /// The moment after the last batch that was accepted.
    pub(super) fn take(open: &Arc<OpenFile>) -> Self {
        Self { version: open.versions.open(), open: Arc::clone(open) }
    }

    /// Calls `visit` with each row of a range, until it breaks. The first `chunk_rows` are read
    /// of sled whether it breaks or not.
    fn walk(
        &self,
        scan: &Scan,
        mut chunk_rows: usize,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        if scan.is_empty_range() {
            return Ok(());
        }
        let (mut lower, mut upper) = tagged_bounds(scan.keyspace, scan.bounds());
        let mut rows = self.open.db()?.range::<Vec<u8>, _>((lower.clone(), upper.clone()));
        loop {
            let chunk =
                unless_panic("scan rows", || read_chunk(&mut rows, scan.order, chunk_rows))?;
            // The rows of the chunk and the gaps between them have been read up to its last key,
            // and only now are the changes looked up.
            let end = match chunk.is_last {
                false => chunk.rows.last().map(|(key, _)| key.to_vec()),
                true => None,
            };
            let (from, to) = match (&end, scan.order) {
                (Some(end), Order::Forward) => (lower, Bound::Included(end.clone())),
                (Some(end), Order::Reverse) => (Bound::Included(end.clone()), upper.clone()),
                (None, _) => (lower, upper.clone()),
            };
            let between = (as_slice(&from), as_slice(&to));
            let mut changed = self.open.versions.range(self.version, between)?;
            if scan.order == Order::Reverse {
                changed.reverse();
            }
            if merge(&chunk.rows, &changed, scan.order, visit).is_break() {
                return Ok(());
            }
            let Some(end) = end else { return Ok(()) };
            chunk_rows = (chunk_rows * 2).min(CHUNK_ROWS);
            match scan.order {
                Order::Forward => lower = Bound::Excluded(end),
                Order::Reverse => (lower, upper) = (rest_of(scan), Bound::Excluded(end)),
            }
        }
    }
}

/// The lower bound of a range, which stays when it is read from its end.
fn rest_of(scan: &Scan) -> Bound<Vec<u8>> {
    tagged_bounds(scan.keyspace, scan.bounds()).0
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

struct Chunk {
    rows: Vec<(IVec, IVec)>,
    /// Whether the range ends behind these rows.
    is_last: bool,
}

fn read_chunk(rows: &mut Iter, order: Order, rows_max: usize) -> Result<Chunk, StoreError> {
    let mut chunk = Chunk { rows: Vec::new(), is_last: false };
    let mut bytes = 0;
    while chunk.rows.len() < rows_max && bytes < CHUNK_BYTES {
        let row = match order {
            Order::Forward => rows.next(),
            Order::Reverse => rows.next_back(),
        };
        let Some(row) = row else {
            chunk.is_last = true;
            break;
        };
        let (key, value) = row.map_err(|error| engine_error("scan rows", error))?;
        #[cfg(test)]
        tests::ROWS_READ.set(tests::ROWS_READ.get() + 1);
        bytes += key.len() + value.len();
        chunk.rows.push((key, value));
    }
    Ok(chunk)
}

/// Visits the rows of sled, or instead of them what they were; both are in the order of the scan.
fn merge(
    rows: &[(IVec, IVec)],
    changed: &[(Bytes, Before)],
    order: Order,
    visit: &mut RowVisitor<'_>,
) -> ControlFlow<()> {
    let mut changed = changed.iter().peekable();
    let is_before = |a: &[u8], b: &[u8]| match order {
        Order::Forward => a < b,
        Order::Reverse => a > b,
    };
    let mut tell = |tagged: &[u8], value: &[u8]| match tagged.split_first() {
        Some((_, key)) => visit(key, value),
        None => ControlFlow::Continue(()),
    };
    for (key, value) in rows {
        while let Some((gone, before)) = changed.next_if(|(other, _)| is_before(other, key)) {
            if let Some(before) = before {
                tell(gone, before)?;
            }
        }
        match changed.next_if(|(other, _)| other.as_ref() == key.as_ref()) {
            Some((_, Some(before))) => tell(key, before)?,
            Some((_, None)) => {}
            None => tell(key, value)?,
        }
    }
    for (gone, before) in changed {
        if let Some(before) = before {
            tell(gone, before)?;
        }
    }
    ControlFlow::Continue(())
}

impl Snapshot for SledSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = tagged(keyspace, key);
        let db = self.open.db()?;
        let now = unless_panic("read a row", || get(db, &key))?;
        // Only now: what changed the row before it was read had been kept before that.
        match self.open.versions.get(self.version, &key)? {
            Some(before) => Ok(before.map(|value| value.to_vec())),
            None => Ok(now.map(|value| value.to_vec())),
        }
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = Page::for_scan(scan);
        let chunk_rows = scan.rows_max.saturating_add(1).min(CHUNK_ROWS);
        self.walk(scan, chunk_rows, &mut |key, value| {
            if page.is_full(scan) {
                page.set_more();
                return ControlFlow::Break(());
            }
            page.push(key, value);
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }

    fn for_each(&self, scan: &Scan, visit: &mut RowVisitor<'_>) -> Result<(), StoreError> {
        self.walk(scan, FIRST_CHUNK_ROWS, visit)
    }
}

impl Drop for SledSnapshot {
    fn drop(&mut self) {
        self.open.versions.release(self.version);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{Batch, OpenOptions, SpaceId, Store, open};

    thread_local! {
        /// Rows that this thread has read of sled.
        pub(super) static ROWS_READ: Cell<usize> = const { Cell::new(0) };
    }

    /// A store with the keys 0 to 999.
    fn filled(folder: &std::path::Path) -> Arc<dyn Store> {
        let url = format!("sled:{}", folder.join("store").display());
        let store = open(&url, &OpenOptions::create()).unwrap();
        let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [1; 16]);
        for n in 0..1_000_u16 {
            batch.put(Keyspace::Records, n.to_be_bytes().to_vec(), vec![7; 20]);
        }
        assert!(matches!(store.apply(&batch), crate::Outcome::Accepted));
        store
    }

    /// How many rows of sled `read` reads.
    fn rows_read(read: impl FnOnce()) -> usize {
        let before = ROWS_READ.get();
        read();
        ROWS_READ.get() - before
    }

    #[test]
    fn who_wants_few_rows_reads_few() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let snapshot = store.snapshot().unwrap();
        for all in [Scan::all(Keyspace::Records), Scan::all(Keyspace::Records).reverse()] {
            for (wanted, most) in [(1, 2), (2, 3), (10, 11), (100, 101)] {
                let read = rows_read(|| {
                    let page = snapshot.scan(&all.clone().rows(wanted)).unwrap();
                    assert_eq!(page.len(), wanted);
                });
                assert_eq!(read, most, "a page of {wanted}");
            }
            for (wanted, most) in [(1, 2), (2, 2), (3, 6), (100, 126)] {
                let mut seen = 0;
                let read = rows_read(|| {
                    let visit = &mut |_: &[u8], _: &[u8]| {
                        seen += 1;
                        if seen == wanted {
                            return ControlFlow::Break(());
                        }
                        ControlFlow::Continue(())
                    };
                    snapshot.for_each(&all, visit).unwrap();
                });
                assert_eq!((seen, read), (wanted, most), "a walk that stops at {wanted}");
            }
            let mut keys = Vec::new();
            let read = rows_read(|| {
                let visit = &mut |key: &[u8], _: &[u8]| {
                    keys.push(u16::from_be_bytes(key.try_into().unwrap()));
                    ControlFlow::Continue(())
                };
                snapshot.for_each(&all, visit).unwrap();
            });
            assert_eq!(read, 1_000, "a walk reads each row once");
            if all.order == Order::Reverse {
                keys.reverse();
            }
            assert_eq!(keys, (0..1_000).collect::<Vec<u16>>());
        }
    }
}
