//! What a snapshot shows, and for how long.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datafold_store::{Batch, Scan, Snapshot, SpaceId, Store};

use super::{Harness, accept, commit, row_keyspaces, snapshot};
use crate::model::dump;

/// Every keyspace gets the rows `0..rows`, all with the number of the commit as value.
fn uniform(number: u64, rows: u8) -> Batch {
    let mut batch = commit(number);
    for keyspace in row_keyspaces() {
        for row in 0..rows {
            batch.put(keyspace, vec![row], number.to_be_bytes().to_vec());
        }
    }
    batch
}

/// The number that all rows and the head of a snapshot agree on.
fn number_of(view: &dyn Snapshot, rows: usize) -> u64 {
    let found = dump(view).unwrap();
    let number = view.head(SpaceId::DEFAULT).unwrap().map_or(0, |head| head.number);
    assert_eq!(found.len(), if number == 0 { 0 } else { rows * row_keyspaces().count() });
    let is_of_number = |value: &[u8]| value == number.to_be_bytes();
    assert!(found.iter().all(|(_, _, value)| is_of_number(value)), "a batch is shown in part");
    number
}

/// Later batches change no keyspace of a snapshot, not even between two pages of a scan.
pub fn a_snapshot_does_not_change(harness: &dyn Harness) {
    let store = harness.fresh();
    accept(&*store, &uniform(1, 50));
    let view = snapshot(&*store);
    let before = dump(&*view).unwrap();
    let scans = row_keyspaces().map(|keyspace| Scan::all(keyspace).rows(20));
    let pages: Vec<_> = scans.map(|scan| (view.scan(&scan).unwrap(), scan)).collect();
    for number in 2..=30 {
        let mut batch = uniform(number, 25);
        for keyspace in row_keyspaces() {
            batch.delete(keyspace, vec![40]);
            batch.put(keyspace, vec![41, u8::try_from(number).unwrap()], &b"new"[..]);
        }
        accept(&*store, &batch);
    }
    for (page, scan) in pages {
        let rest = view.scan(&scan.clone().after(page.last_key().unwrap()).rows(100)).unwrap();
        let keys: Vec<_> = rest.rows().map(|(key, _)| key.to_vec()).collect();
        assert_eq!(keys, (20..50).map(|row| vec![row]).collect::<Vec<_>>(), "{}", scan.keyspace);
    }
    assert_eq!(dump(&*view).unwrap(), before);
    assert_eq!(view.head(SpaceId::DEFAULT).unwrap().map(|head| head.number), Some(1));
    assert_ne!(dump(&*snapshot(&*store)).unwrap(), before);
}

/// Once `apply` has answered, every snapshot taken later shows the batch.
pub fn a_snapshot_shows_what_was_accepted_before(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut views = vec![snapshot(&*store)];
    for number in 1..=20 {
        accept(&*store, &uniform(number, 3));
        views.push(snapshot(&*store));
    }
    for (number, view) in views.iter().enumerate() {
        assert_eq!(number_of(&**view, 3), number as u64);
    }
}

/// A snapshot goes on answering after the store was closed and its handle was dropped.
pub fn a_snapshot_survives_the_close(harness: &dyn Harness) {
    let store = harness.fresh();
    accept(&*store, &uniform(1, 200));
    let view = snapshot(&*store);
    accept(&*store, &uniform(2, 200));
    store.close().unwrap();
    assert_eq!(number_of(&*view, 200), 1);
    store.close().unwrap();
    assert_eq!(number_of(&*view, 200), 1);
    drop(view);
    let store = harness.reopen(store);
    assert_eq!(number_of(&*snapshot(&*store), 200), 2);
}

/// While batches are applied, threads that read see each batch whole or not at all, and never an
/// older one than before.
pub fn readers_see_whole_batches_only(harness: &dyn Harness) {
    let store = harness.fresh();
    let is_done = AtomicBool::new(false);
    let read = |store: &dyn Store| {
        let (mut last, mut reads) = (0, 0_u32);
        while !is_done.load(Ordering::Acquire) || reads == 0 {
            let number = number_of(&*snapshot(store), 10);
            assert!(number >= last, "a later snapshot showed an earlier moment");
            last = number;
            reads += 1;
        }
        last
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| read(&*store))).collect();
        for number in 1..=150 {
            accept(&*store, &uniform(number, 10));
        }
        is_done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() <= 150);
        }
    });
    assert_eq!(number_of(&*snapshot(&*store), 10), 150);
}
