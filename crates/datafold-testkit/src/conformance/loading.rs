//! Filling a new store with the rows of another one.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use datafold_store::{
    Batch, FORMAT_VERSION, Keyspace, Outcome, Scan, SpaceId, Store, StoreError, StoreId,
};

use super::{Harness, accept, commit, commit_of, row_keyspaces, snapshot};
use crate::model::{Row, dump, read_all};

/// A store with rows in all keyspaces and the heads of three spaces.
fn source(harness: &dyn Harness) -> std::sync::Arc<dyn Store> {
    let store = harness.fresh();
    for number in 1..=3 {
        let mut batch = commit(number);
        batch.head = vec![7; 5].into();
        for keyspace in row_keyspaces() {
            batch.put(keyspace, &b""[..], number.to_be_bytes().to_vec());
            for row in 0..200_u32 {
                let key = [&number.to_be_bytes()[..], &row.to_be_bytes()].concat();
                batch.put(keyspace, key, vec![b'x'; usize::try_from(row).unwrap() * 4]);
            }
        }
        accept(&*store, &batch);
    }
    accept(&*store, &commit_of(SpaceId::SYSTEM, 1));
    accept(&*store, &commit_of(SpaceId(70_000), 1));
    store
}

/// Every row, those of heads and identity included.
fn all_rows(store: &dyn Store) -> Vec<Row> {
    let view = snapshot(store);
    let rows = Keyspace::ALL.into_iter().flat_map(|keyspace| {
        let rows = read_all(&*view, Scan::all(keyspace)).unwrap();
        rows.into_iter().map(move |(key, value)| (keyspace, key, value))
    });
    rows.collect()
}

/// A loaded store has the rows, heads and identity that it was given, goes on from there, and is
/// the same after it was opened again.
pub fn a_loaded_store_is_the_store_that_was_read(harness: &dyn Harness) {
    let source = source(harness);
    let (rows, info) = (all_rows(&*source), source.info().clone());
    let from_source = dump(&*snapshot(&*source)).unwrap();
    drop(source);
    let loaded = harness.load(info.id, &rows, &mut |_| Ok(())).unwrap();
    assert_eq!(loaded.info().id, info.id);
    assert_eq!(loaded.info().format_version, FORMAT_VERSION);
    assert!(all_rows(&*loaded) == rows);
    let outcome = loaded.apply(&commit(3));
    let Outcome::Fenced { head: Some(head) } = outcome else { panic!("{outcome:?}") };
    assert_eq!((head.number, head.token, head.payload.as_ref()), (3, commit(3).token, &[7; 5][..]));
    let loaded = harness.reopen(loaded);
    assert_eq!(loaded.info().id, info.id);
    assert!(dump(&*snapshot(&*loaded)).unwrap() == from_source);
    let mut batch = commit(4);
    batch.delete(Keyspace::Records, &b""[..]);
    accept(&*loaded, &batch);
    accept(&*loaded, &commit_of(SpaceId(70_000), 2));
    let loaded = harness.reopen(loaded);
    assert_eq!(dump(&*snapshot(&*loaded)).unwrap().len(), from_source.len() - 1);
    assert_eq!(snapshot(&*loaded).head(SpaceId::DEFAULT).unwrap().unwrap().number, 4);
}

/// A store can be loaded with nothing: then it is new, but for its identity.
pub fn a_store_loaded_with_nothing_is_empty(harness: &dyn Harness) {
    let id = StoreId([0xAB; 16]);
    let loaded = harness.load(id, &[], &mut |_| Ok(())).unwrap();
    assert_eq!(dump(&*snapshot(&*loaded)).unwrap(), []);
    assert_eq!(snapshot(&*loaded).head(SpaceId::DEFAULT).unwrap(), None);
    let loaded = harness.reopen(loaded);
    assert_eq!(loaded.info().id, id);
    accept(&*loaded, &commit(1));
}

/// The check before the end sees the rows, and what it refuses becomes no store.
pub fn a_loaded_store_is_checked_before_it_is_one(harness: &dyn Harness) {
    let rows = [(Keyspace::Records, b"key".to_vec(), b"value".to_vec())];
    let mut seen = None;
    let refused = harness.load(StoreId([1; 16]), &rows, &mut |view| {
        seen = view.get(Keyspace::Records, b"key")?;
        Err(StoreError::SnapshotExpired)
    });
    assert!(matches!(refused, Err(StoreError::SnapshotExpired)), "{refused:?}");
    assert_eq!(seen.as_deref(), Some(&b"value"[..]));
    let store = harness.fresh();
    let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [1; 16]);
    batch.put(Keyspace::Records, &b"other"[..], &b"value"[..]);
    accept(&*store, &batch);
}
