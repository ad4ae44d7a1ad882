//! Loads that were interrupted.

use std::fs;

use datafold_store::{Keyspace, Loader, StoreError, StoreId, open};
use datafold_testkit::model::dump;

use crate::harness::options;
use crate::sled::{assert_has_the_row, names};

/// A load that was not finished is no store, and is begun anew.
#[test]
fn an_unfinished_load_is_refused_and_begun_anew() {
    let id = StoreId([9; 16]);
    for scheme in ["", "sled:"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LOADING.new"), "").unwrap();
        let url = format!("{scheme}{}", folder.path().display());
        let mut loader = Loader::begin(&url, id, &options(true)).unwrap();
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
        for row in 0..20_000_u32 {
            loader.put(Keyspace::Records, &row.to_be_bytes(), b"left behind").unwrap();
        }
        drop(loader);
        for url in [&url, &format!("redb:{}", folder.path().display())] {
            for create in [false, true] {
                let error = open(url, &options(create)).unwrap_err();
                assert!(matches!(error, StoreError::Unfinished { .. }), "{error:?}");
            }
        }
        // As is one whose rows are found to be wrong.
        let loader = Loader::begin(&url, id, &options(true)).unwrap();
        let refused = loader.finish(|_| Err(StoreError::SnapshotExpired));
        assert!(matches!(refused, Err(StoreError::SnapshotExpired)), "{refused:?}");
        let error = open(&url, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::Unfinished { .. }), "{error:?}");
        // By another engine, too.
        for scheme in ["sled:", "redb:"] {
            let url = format!("{scheme}{}", folder.path().display());
            let mut loader = Loader::begin(&url, id, &options(true)).unwrap();
            loader.put(Keyspace::Records, b"key", b"value").unwrap();
            if scheme == "redb:" {
                let store = loader.finish(|_| Ok(())).unwrap();
                assert_eq!(dump(&*store.snapshot().unwrap()).unwrap().len(), 1);
                assert_has_the_row(&*store);
            }
        }
        assert_eq!(names(folder.path()), ["LOCK", "STORE.json", "commit.log", "data.redb"]);
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
        fs::remove_file(folder.path().join("STORE.json")).unwrap();
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    }
}
