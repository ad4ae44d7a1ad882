//! Batches, heads and fencing.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use bytes::Bytes;
use datafold_store::{Batch, Head, Keyspace, Outcome, SpaceId, Store};

use super::{Harness, accept, commit, commit_of, row_keyspaces, snapshot};
use crate::model::dump;

/// One batch writes to and removes from all keyspaces.
pub fn a_batch_is_atomic_across_keyspaces(harness: &dyn Harness) {
    let store = harness.fresh();
    for number in 1..=20 {
        let mut batch = commit(number);
        for keyspace in row_keyspaces() {
            batch.put(keyspace, number.to_be_bytes().to_vec(), &b"row"[..]);
            if let Some(old) = number.checked_sub(3) {
                batch.delete(keyspace, old.to_be_bytes().to_vec());
            }
        }
        accept(&*store, &batch);
    }
    let store = harness.reopen(store);
    let mut expected = Vec::new();
    for keyspace in row_keyspaces() {
        for number in 18..=20_u64 {
            expected.push((keyspace, number.to_be_bytes().to_vec(), b"row".to_vec()));
        }
    }
    assert_eq!(dump(&*snapshot(&*store)).unwrap(), expected);
}

/// The last put or delete of a key in a batch is the one that counts.
pub fn the_last_write_of_a_key_wins(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut batch = commit(1);
    batch.put(Keyspace::Records, &b"put twice"[..], &b"one"[..]);
    batch.put(Keyspace::Records, &b"put twice"[..], &b"two"[..]);
    batch.put(Keyspace::Records, &b"put, deleted"[..], &b"one"[..]);
    batch.delete(Keyspace::Records, &b"put, deleted"[..]);
    batch.delete(Keyspace::Records, &b"deleted, put"[..]);
    batch.put(Keyspace::Records, &b"deleted, put"[..], &b"two"[..]);
    accept(&*store, &batch);
    let expected = [
        (Keyspace::Records, b"deleted, put".to_vec(), b"two".to_vec()),
        (Keyspace::Records, b"put twice".to_vec(), b"two".to_vec()),
    ];
    assert_eq!(dump(&*snapshot(&*store)).unwrap(), expected);
}

#[track_caller]
fn fenced(store: &dyn Store, batch: &Batch) -> Option<Head> {
    match store.apply(batch) {
        Outcome::Fenced { head } => head,
        other => panic!("a batch that does not follow its head was answered {other:?}"),
    }
}

/// A batch that follows another head is answered that head, and nothing changes.
pub fn a_fenced_batch_changes_nothing_and_names_the_head(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut early = Batch::new(SpaceId::DEFAULT, 5, 6, [6; 16]);
    early.put(Keyspace::Records, &b"key"[..], &b"early"[..]);
    assert_eq!(fenced(&*store, &early), None);
    assert_eq!(dump(&*snapshot(&*store)).unwrap(), []);

    let mut batch = commit(1);
    batch.head = Bytes::from_static(b"payload");
    batch.put(Keyspace::Records, &b"key"[..], &b"value"[..]);
    accept(&*store, &batch);
    let before = dump(&*snapshot(&*store)).unwrap();
    let head = Head { number: 1, token: batch.token, payload: batch.head.clone() };
    for (follows, number) in [(0, 1), (0, 2), (2, 3), (u64::MAX - 1, u64::MAX)] {
        let mut late = Batch::new(SpaceId::DEFAULT, follows, number, [9; 16]);
        late.put(Keyspace::Records, &b"key"[..], &b"late"[..]);
        late.put(Keyspace::Indexes, &b"new"[..], &b"late"[..]);
        late.delete(Keyspace::Records, &b"key"[..]);
        assert_eq!(fenced(&*store, &late), Some(head.clone()));
        assert_eq!(dump(&*snapshot(&*store)).unwrap(), before);
        assert_eq!(snapshot(&*store).head(SpaceId::DEFAULT).unwrap(), Some(head.clone()));
    }
    accept(&*store, &commit(2));
}

/// Each space has a head of its own, and moving one moves no other.
pub fn heads_of_spaces_are_independent(harness: &dyn Harness) {
    let store = harness.fresh();
    let spaces = [0, 1, 2, 0xF7, 0xF8, 0xFFFF, u32::MAX].map(SpaceId);
    for (n, space) in spaces.into_iter().enumerate() {
        for number in 1..=n as u64 {
            accept(&*store, &commit_of(space, number));
        }
    }
    let store = harness.reopen(store);
    for (n, space) in spaces.into_iter().enumerate() {
        let head = snapshot(&*store).head(space).unwrap();
        assert_eq!(head.map_or(0, |head| head.number), n as u64);
        accept(&*store, &commit_of(space, n as u64 + 1));
    }
    assert_eq!(snapshot(&*store).head(SpaceId(3)).unwrap(), None);
}

/// A head row keeps number, token and payload, also those of a batch without rows.
pub fn a_head_keeps_its_payload_and_token(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut store = store;
    let mut follows = 0;
    for (number, payload) in [(1, vec![]), (2, vec![0xFF; 10_000]), (900, b"counters".to_vec())] {
        let mut batch = Batch::new(SpaceId::DEFAULT, follows, number, [7; 16]);
        batch.head = payload.into();
        accept(&*store, &batch);
        let expected = Head { number, token: [7; 16], payload: batch.head };
        assert_eq!(snapshot(&*store).head(SpaceId::DEFAULT).unwrap(), Some(expected.clone()));
        store = harness.reopen(store);
        assert_eq!(snapshot(&*store).head(SpaceId::DEFAULT).unwrap(), Some(expected));
        follows = number;
    }
}
