//! Single rows.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use datafold_store::{Keyspace, Scan, SpaceId};

use super::{Harness, accept, commit, fill, row_keyspaces, snapshot};
use crate::model::{dump, read_all};

/// A new store has no rows and no heads.
pub fn an_empty_store_has_no_rows(harness: &dyn Harness) {
    let store = harness.fresh();
    let view = snapshot(&*store);
    assert_eq!(dump(&*view).unwrap(), []);
    for space in [SpaceId::SYSTEM, SpaceId::DEFAULT, SpaceId(u32::MAX)] {
        assert_eq!(view.head(space).unwrap(), None);
    }
    for keyspace in row_keyspaces() {
        assert_eq!(view.get(keyspace, b"").unwrap(), None);
        let page = view.scan(&Scan::all(keyspace).reverse()).unwrap();
        assert!(page.is_empty() && !page.more());
    }
}

/// A row is written, replaced and removed; the other keyspaces do not have it.
pub fn put_get_and_delete(harness: &dyn Harness) {
    let store = harness.fresh();
    for (number, keyspace) in row_keyspaces().enumerate() {
        let first = number as u64 * 3 + 1;
        let mut batch = commit(first);
        batch.put(keyspace, &b"key"[..], &b"one"[..]);
        accept(&*store, &batch);
        let view = snapshot(&*store);
        assert_eq!(view.get(keyspace, b"key").unwrap().as_deref(), Some(&b"one"[..]));
        for other in row_keyspaces().filter(|other| *other != keyspace) {
            assert_eq!(view.get(other, b"key").unwrap(), None);
        }
        let mut batch = commit(first + 1);
        batch.put(keyspace, &b"key"[..], &b"two"[..]);
        accept(&*store, &batch);
        let value = snapshot(&*store).get(keyspace, b"key").unwrap();
        assert_eq!(value.as_deref(), Some(&b"two"[..]));
        let mut batch = commit(first + 2);
        batch.delete(keyspace, &b"key"[..]);
        batch.delete(keyspace, &b"never there"[..]);
        accept(&*store, &batch);
        assert_eq!(snapshot(&*store).get(keyspace, b"key").unwrap(), None);
    }
    let store = harness.reopen(store);
    assert_eq!(dump(&*snapshot(&*store)).unwrap(), []);
}

/// The empty key is the first of all keys, and an empty value is not a missing one.
pub fn empty_keys_and_values(harness: &dyn Harness) {
    let store = harness.fresh();
    fill(&*store, Keyspace::Records, &[(&b""[..], &b""[..]), (b"\0", b""), (b"k", b"v")]);
    let store = harness.reopen(store);
    let view = snapshot(&*store);
    assert_eq!(view.get(Keyspace::Records, b"").unwrap(), Some(vec![]));
    assert_eq!(view.get(Keyspace::Records, b"\0").unwrap(), Some(vec![]));
    let rows = read_all(&*view, Scan::all(Keyspace::Records)).unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys, [&b""[..], b"\0", b"k"]);
    let page = view.scan(&Scan::all(Keyspace::Records).rows(1)).unwrap();
    assert_eq!((page.last_key(), page.more()), (Some(&b""[..]), true));
    let rest = read_all(&*view, Scan::all(Keyspace::Records).after(b"")).unwrap();
    assert_eq!(rest.len(), 2);
}

/// Keys are compared as unsigned bytes, a prefix before what it starts.
pub fn keys_are_ordered_by_bytes(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut keys: Vec<Vec<u8>> = vec![vec![]];
    for first in [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF] {
        keys.push(vec![first]);
        for second in [0x00, 0x7F, 0x80, 0xFF] {
            keys.push(vec![first, second]);
            keys.push(vec![first, second, 0x00]);
        }
    }
    let mut mixed = keys.clone();
    mixed.reverse();
    mixed.rotate_left(7);
    let rows: Vec<(Vec<u8>, &[u8])> = mixed.into_iter().map(|key| (key, &b"v"[..])).collect();
    fill(&*store, Keyspace::Indexes, &rows);
    let rows = read_all(&*snapshot(&*store), Scan::all(Keyspace::Indexes)).unwrap();
    let found: Vec<_> = rows.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    assert_eq!(found, keys);
}

/// Values of 1 MiB, the largest that the layer above writes, come back whole.
pub fn values_of_a_mebibyte(harness: &dyn Harness) {
    let store = harness.fresh();
    let value = |n: u8| vec![n; 1 << 20];
    let mut batch = commit(1);
    for n in 0..4 {
        batch.put(Keyspace::Elements, vec![n; 480], value(n));
    }
    accept(&*store, &batch);
    let mut batch = commit(2);
    batch.put(Keyspace::Elements, vec![1; 480], value(9));
    batch.delete(Keyspace::Elements, vec![2; 480]);
    accept(&*store, &batch);
    let store = harness.reopen(store);
    let rows = read_all(&*snapshot(&*store), Scan::all(Keyspace::Elements)).unwrap();
    let expected = [(0, 0), (1, 9), (3, 3)].map(|(key, n)| (vec![key; 480], value(n)));
    assert!(rows == expected, "the values differ from what was written");
    assert!(store.size_bytes().unwrap() >= 3 << 20);
}

/// Answers stand in the order of the question; missing and repeated keys are answered too.
pub fn get_many_keeps_the_order(harness: &dyn Harness) {
    let store = harness.fresh();
    let mut batch = commit(1);
    batch.put(Keyspace::Records, &b"a"[..], &b"1"[..]);
    batch.put(Keyspace::Records, &b"b"[..], &b"2"[..]);
    batch.put(Keyspace::Elements, &b"a"[..], &b"3"[..]);
    accept(&*store, &batch);
    let view = snapshot(&*store);
    let keys: [(Keyspace, &[u8]); 6] = [
        (Keyspace::Records, b"b"),
        (Keyspace::History, b"b"),
        (Keyspace::Elements, b"a"),
        (Keyspace::Records, b"a"),
        (Keyspace::Records, b"c"),
        (Keyspace::Records, b"b"),
    ];
    let expected = [Some("2"), None, Some("3"), Some("1"), None, Some("2")];
    let expected = expected.map(|value| value.map(|value| value.as_bytes().to_vec()));
    assert_eq!(view.get_many(&keys).unwrap(), expected);
    assert_eq!(view.get_many(&[]).unwrap(), [] as [Option<Vec<u8>>; 0]);
}
