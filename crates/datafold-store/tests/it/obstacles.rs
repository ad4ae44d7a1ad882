//! Files that cannot be written or read because something else is in their place.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Batch, Keyspace, Loader, Outcome, SpaceId, Store, StoreError, StoreId, open};
use tempfile::TempDir;

use crate::harness::{LOG_BYTES, options};

const SCHEMES: [&str; 2] = ["redb:", "sled:"];

fn open_at(scheme: &str, path: &Path, create: bool) -> Result<Arc<dyn Store>, StoreError> {
    open(&format!("{scheme}{}", path.display()), &options(create))
}

/// A batch with one row of so many bytes.
fn batch(number: u64, bytes: usize) -> Batch {
    let mut batch = Batch::new(SpaceId::DEFAULT, number - 1, number, [7; 16]);
    batch.put(Keyspace::Records, number.to_be_bytes().to_vec(), vec![1; bytes]);
    batch
}

#[track_caller]
fn accept(store: &dyn Store, batch: &Batch) {
    let outcome = store.apply(batch);
    assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
}

#[track_caller]
fn assert_refuses(store: &dyn Store, number: u64) {
    let outcome = store.apply(&batch(number, 8));
    assert!(matches!(outcome, Outcome::Failed(StoreError::Poisoned)), "{outcome:?}");
}

fn head(store: &dyn Store) -> u64 {
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap();
    head.map_or(0, |head| head.number)
}

/// A closed store with one commit.
fn closed_store(scheme: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(scheme, folder.path(), true).unwrap();
    accept(&*store, &batch(1, 8));
    store.close().unwrap();
    folder
}

/// Puts a folder with a file in it there, so that it is neither opened nor replaced.
fn block(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("thesis.txt"), "years of work").unwrap();
}

fn unblock(path: &Path) {
    assert_eq!(fs::read_dir(path).unwrap().count(), 1, "{}", path.display());
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_nothing_is_lost_by_the_try() {
    for scheme in SCHEMES {
        let folder = closed_store(scheme);
        let entries = fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        for name in &names {
            let (path, aside) = (folder.path().join(name), folder.path().join("aside"));
            fs::rename(&path, &aside).unwrap();
            block(&path);
            for create in [false, true] {
                let error = open_at(scheme, folder.path(), create).unwrap_err();
                let is_lost = name == "sled";
                let code = if is_lost { "store_unexpectedly_empty" } else { "store_io" };
                assert_eq!(error.code(), code, "{name:?}: {error}");
                let name = name.to_string_lossy();
                assert!(is_lost || error.to_string().contains(&*name), "{name}: {error}");
            }
            unblock(&path);
            fs::rename(&aside, &path).unwrap();
            let store = open_at(scheme, folder.path(), false).unwrap();
            assert_eq!(head(&*store), 1, "{name:?}");
            store.close().unwrap();
        }
    }
}

#[test]
fn a_creation_with_something_in_its_way_is_finished_when_that_has_gone() {
    let own = [
        ("redb:", &["LOCK", "STORE.json.new", "data.redb", "commit.log"][..]),
        ("sled:", &["LOCK", "STORE.json.new", "commit.log", "sled.seal.new"]),
    ];
    for (scheme, names) in own {
        for name in names {
            let folder = tempfile::tempdir().unwrap();
            block(&folder.path().join(name));
            let error = open_at(scheme, folder.path(), true).unwrap_err();
            assert_eq!(error.code(), "store_io", "{scheme} {name}: {error}");
            let error = open_at(scheme, folder.path(), false).unwrap_err();
            assert_eq!(error.code(), "store_not_found", "{scheme} {name}: {error}");
            unblock(&folder.path().join(name));
            let store = open_at(scheme, folder.path(), true).unwrap();
            accept(&*store, &batch(1, 8));
            store.close().unwrap();
            let store = open_at(scheme, folder.path(), false).unwrap();
            assert_eq!(head(&*store), 1, "{scheme} {name}");
        }
    }
}

#[test]
fn a_load_with_something_in_its_way_is_begun_anew_when_that_has_gone() {
    let own = [
        ("redb:", &["LOCK", "LOADING.new", "data.redb", "commit.log"][..]),
        ("sled:", &["LOCK", "LOADING.new", "commit.log"]),
    ];
    let id = StoreId([9; 16]);
    for (scheme, names) in own {
        for name in names {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("{scheme}{}", folder.path().display());
            block(&folder.path().join(name));
            let begun = Loader::begin(&url, id, &options(true));
            let Err(error) = begun.and_then(|loader| loader.finish(|_| Ok(()))) else {
                panic!("{url} {name}: loaded");
            };
            assert!(["store_io", "not_a_store"].contains(&error.code()), "{name}: {error}");
            fs::remove_dir_all(folder.path().join(name)).unwrap_or_default();
            let mut loader = Loader::begin(&url, id, &options(true)).unwrap();
            loader.put(Keyspace::Records, b"key", b"value").unwrap();
            let store = loader.finish(|_| Ok(())).unwrap();
            assert_eq!(store.info().id, id, "{scheme} {name}");
            let row = store.snapshot().unwrap().get(Keyspace::Records, b"key").unwrap();
            assert_eq!(row.as_deref(), Some(&b"value"[..]), "{scheme} {name}");
        }
    }
}

/// A batch for which no log is long enough gets one of its own, which has to be made first.
#[test]
fn a_log_that_cannot_be_replaced_leaves_the_outcome_unknown() {
    let folder = closed_store("sled:");
    let store = open_at("sled:", folder.path(), false).unwrap();
    accept(&*store, &batch(2, 8));
    let obstacle = folder.path().join("commit.log.new");
    block(&obstacle);
    let long = batch(3, usize::try_from(LOG_BYTES).unwrap());
    let outcome = store.apply(&long);
    let Outcome::Indeterminate(StoreError::Io { action, .. }) = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(action, "log a batch");
    assert_refuses(&*store, 3);
    assert_eq!(head(&*store), 2);
    assert_eq!(store.close().unwrap_err().code(), "store_poisoned");
    unblock(&obstacle);
    let store = open_at("sled:", folder.path(), false).unwrap();
    assert_eq!(head(&*store), 2);
    accept(&*store, &long);
    drop(store);
    assert_eq!(head(&*open_at("sled:", folder.path(), false).unwrap()), 3);
}

/// The first batch after a clean opening begins a round of the log, and the seal says so.
#[test]
fn a_round_that_cannot_begin_fails_the_batch_and_every_one_behind_it() {
    let folder = closed_store("sled:");
    let store = open_at("sled:", folder.path(), false).unwrap();
    let obstacle = folder.path().join("sled.seal.new");
    block(&obstacle);
    let outcome = store.apply(&batch(2, 8));
    let Outcome::Failed(StoreError::Io { action, .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(action.contains("sled.seal"), "{action}");
    assert_refuses(&*store, 2);
    assert_eq!(head(&*store), 1);
    assert_eq!(store.close().unwrap_err().code(), "store_poisoned");
    unblock(&obstacle);
    let store = open_at("sled:", folder.path(), false).unwrap();
    assert_eq!(head(&*store), 1);
    accept(&*store, &batch(2, 8));
    store.close().unwrap();
    assert_eq!(head(&*open_at("sled:", folder.path(), false).unwrap()), 2);
}

#[test]
fn a_close_that_cannot_seal_says_so_and_loses_nothing() {
    let folder = closed_store("sled:");
    let store = open_at("sled:", folder.path(), false).unwrap();
    accept(&*store, &batch(2, 8));
    let obstacle = folder.path().join("sled.seal.new");
    block(&obstacle);
    assert_eq!(store.close().unwrap_err().code(), "store_io");
    // It is closed all the same.
    store.close().unwrap();
    let outcome = store.apply(&batch(3, 8));
    assert!(matches!(outcome, Outcome::Failed(StoreError::Closed)), "{outcome:?}");
    unblock(&obstacle);
    let store = open_at("sled:", folder.path(), false).unwrap();
    assert_eq!(head(&*store), 2);
}

#[test]
fn a_batch_beyond_any_log_is_refused_and_the_next_one_is_taken() {
    let folder = closed_store("sled:");
    let store = open_at("sled:", folder.path(), false).unwrap();
    // The rows share their bytes.
    let mut longest = batch(2, 8);
    let value = Bytes::from(vec![0; 64 << 20]);
    for row in 0..16_u8 {
        longest.put(Keyspace::Records, vec![row], value.clone());
    }
    let outcome = store.apply(&longest);
    let Outcome::Failed(error) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(error.code(), "store_engine", "{error}");
    accept(&*store, &batch(2, 8));
    assert_eq!(head(&*store), 2);
}
