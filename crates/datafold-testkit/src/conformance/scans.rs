//! Ranges, pages and orders.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::ops::Bound;
use std::sync::Arc;

use datafold_store::{Keyspace, Scan, Snapshot, Store};

use super::{Harness, accept, commit, snapshot};
use crate::ModelStore;
use crate::model::read_all;

const KEYS: [&[u8]; 10] =
    [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\xFF", b"b", b"\x7F", b"\xFF", b"\xFF\xFF"];

/// A store whose records are `KEYS`, with neighbours in the keyspaces around them.
fn store_of_keys(harness: &dyn Harness) -> (Arc<dyn Store>, ModelStore) {
    let store = harness.fresh();
    let mut batch = commit(1);
    for (n, key) in KEYS.iter().enumerate() {
        batch.put(Keyspace::Records, *key, vec![b'v'; n]);
    }
    batch.put(Keyspace::Catalogue, &b"\xFF"[..], &b"other"[..]);
    batch.put(Keyspace::Elements, &b""[..], &b"other"[..]);
    accept(&*store, &batch);
    let mut model = ModelStore::new();
    assert_eq!(model.apply(&batch), Ok(()));
    (store, model)
}

fn check(view: &dyn Snapshot, model: &ModelStore, scan: &Scan) {
    let expected = model.scan(scan);
    let expected: Vec<_> = expected.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    let page = view.scan(scan).unwrap();
    let found: Vec<_> = page.rows().collect();
    assert_eq!(found, expected, "{scan:?}");
    assert!(!page.more(), "{scan:?}");
}

/// Every pair of bounds, the inverted and the empty ones included, in both orders.
pub fn ranges_of_every_kind(harness: &dyn Harness) {
    let (store, model) = store_of_keys(harness);
    let view = snapshot(&*store);
    let mut bounds = vec![Bound::Unbounded];
    for key in KEYS.into_iter().chain([&b"A"[..], b"a\x01", b"\x80", b"\xFF\xFF\xFF"]) {
        bounds.push(Bound::Included(key.to_vec()));
        bounds.push(Bound::Excluded(key.to_vec()));
    }
    for lower in &bounds {
        for upper in &bounds {
            let scan = Scan::range(Keyspace::Records, lower.clone(), upper.clone());
            check(&*view, &model, &scan);
            check(&*view, &model, &scan.reverse());
        }
    }
}

/// `more` is true exactly if the range has rows behind the page.
pub fn a_page_says_whether_rows_are_left(harness: &dyn Harness) {
    let (store, _) = store_of_keys(harness);
    let view = snapshot(&*store);
    for scan in [Scan::all(Keyspace::Records), Scan::all(Keyspace::Records).reverse()] {
        for rows in 1..=KEYS.len() + 1 {
            let page = view.scan(&scan.clone().rows(rows)).unwrap();
            assert_eq!(page.len(), rows.min(KEYS.len()));
            assert_eq!(page.more(), rows < KEYS.len());
        }
    }
    let all = Scan::all(Keyspace::Records);
    let behind = view.scan(&all.clone().after(b"\xFF\xFF")).unwrap();
    assert!(behind.is_empty() && !behind.more());
    let before = view.scan(&all.reverse().after(b"")).unwrap();
    assert!(before.is_empty() && !before.more());
}

/// A page ends behind the row that reaches its bytes, and has at least one row.
pub fn pages_by_bytes_end_behind_the_row_that_reaches_them(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut batch = commit(1);
    for n in 0..10_u8 {
        batch.put(Keyspace::History, vec![n; 4], vec![n; 6]);
    }
    accept(&*store, &batch);
    let view = snapshot(&*store);
    for (bytes_max, rows) in [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (1_000, 10)] {
        for scan in [Scan::all(Keyspace::History), Scan::all(Keyspace::History).reverse()] {
            let scan = Scan { bytes_max, ..scan };
            let page = view.scan(&scan).unwrap();
            assert_eq!((page.len(), page.more()), (rows.max(1), rows < 10), "{bytes_max} bytes");
            assert_eq!(read_all(&*view, scan).unwrap().len(), 10);
        }
    }
}

/// A prefix finds the keys that start with it, also where it ends in FF.
pub fn prefixes_of_every_kind(harness: &dyn Harness) {
    let (store, _) = store_of_keys(harness);
    let view = snapshot(&*store);
    let prefixes = [&b""[..], b"\0", b"a", b"a\xFF", b"a\xFF\xFF", b"\xFF", b"\xFF\xFF", b"c"];
    for prefix in prefixes {
        let mut expected: Vec<_> = KEYS.into_iter().filter(|k| k.starts_with(prefix)).collect();
        expected.sort_unstable();
        let scan = Scan::prefix(Keyspace::Records, prefix);
        let rows = read_all(&*view, scan.clone().rows(1)).unwrap();
        assert_eq!(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), expected);
        expected.reverse();
        let rows = read_all(&*view, scan.reverse()).unwrap();
        assert_eq!(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), expected);
    }
}

fn store_of_numbers(harness: &dyn Harness) -> Arc<dyn Store> {
    let store = harness.fresh();
    let mut batch = commit(1);
    for n in 0..2_000_u32 {
        let len = usize::try_from(n % 40).unwrap();
        batch.put(Keyspace::Commits, n.to_be_bytes().to_vec(), vec![b'x'; len]);
    }
    accept(&*store, &batch);
    store
}

/// Pages of any size, put together, are the scan in one page.
pub fn the_union_of_pages_is_one_scan(harness: &dyn Harness) {
    let store = store_of_numbers(harness);
    let view = snapshot(&*store);
    let scan = Scan::range(
        Keyspace::Commits,
        Bound::Excluded(17_u32.to_be_bytes().to_vec()),
        Bound::Included(1_900_u32.to_be_bytes().to_vec()),
    );
    for scan in [scan.clone(), scan.reverse()] {
        let whole = view.scan(&scan.clone().rows(10_000)).unwrap();
        assert_eq!((whole.len(), whole.more()), (1_883, false));
        let whole: Vec<_> = whole.rows().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        for rows in [1, 7, 100, 1_882, 1_883] {
            assert!(read_all(&*view, scan.clone().rows(rows)).unwrap() == whole, "{rows} rows");
        }
        for bytes_max in [1, 100, 9_999] {
            let scan = Scan { bytes_max, ..scan.clone() };
            assert!(read_all(&*view, scan).unwrap() == whole, "{bytes_max} bytes");
        }
    }
}

/// A reverse scan gives the rows of the forward one, the last first.
pub fn a_reverse_scan_is_the_scan_backwards(harness: &dyn Harness) {
    let store = store_of_numbers(harness);
    let view = snapshot(&*store);
    let scan = Scan::all(Keyspace::Commits).rows(64);
    let forward = read_all(&*view, scan.clone()).unwrap();
    let mut backward = read_all(&*view, scan.reverse()).unwrap();
    backward.reverse();
    assert_eq!(forward.len(), 2_000);
    assert!(forward == backward);
}
