//! Opening and closing a space in a folder.

use std::fs;

use datafold::data_layer::{DatabasePool, PoolOptions};
use datafold::{FoldDb, QueryRequest};

use crate::harness::{all, approve, check_sound, describe, name};
use crate::stage::{ITEM, buffer, code, set};

fn url(folder: &tempfile::TempDir) -> String {
    folder.path().join("store").to_str().unwrap().to_owned()
}

#[test]
fn what_is_written_in_a_folder_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(FoldDb::open(&url(&folder))), "store_not_found");
    assert!(!folder.path().join("store").exists(), "opening has created something");
    let db = FoldDb::create(&url(&folder)).unwrap();
    assert_eq!(db.stats().unwrap().commit.0, 0, "creating makes no commit");
    approve(&db, ITEM);
    set(&db, 1, 1).unwrap();
    let id = db.stats().unwrap().store.id;
    drop(db);
    for n in 2..5 {
        let db = FoldDb::create(&url(&folder)).unwrap();
        assert_eq!(
            (db.stats().unwrap().store.id, db.stats().unwrap().commit.0),
            (id, 1 + n as u64)
        );
        set(&db, n, n).unwrap();
        check_sound(&db);
    }
    let db = FoldDb::open(&format!("redb:{}", url(&folder))).unwrap();
    assert_eq!(all(&db, "Item").lines().count(), 4);
}

#[test]
fn a_folder_is_open_once_and_free_after_closing() {
    let folder = tempfile::tempdir().unwrap();
    let db = FoldDb::create(&url(&folder)).unwrap();
    approve(&db, ITEM);
    let error = FoldDb::open(&url(&folder)).unwrap_err();
    assert_eq!(error.code(), "store_already_open");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    buffer(&db, 1, 1).unwrap();
    let clone = db.clone();
    db.pool().close().unwrap();
    // Handles that are still there do not hold the folder.
    let again = FoldDb::open(&url(&folder)).unwrap();
    assert_eq!(all(&again, "Item"), "[1,1,null]\n");
    let error = clone.query(&QueryRequest::new(name("Item"))).unwrap_err();
    assert_eq!(error.code(), "store_closed");
    assert_eq!(code(clone.verify()), "store_closed");
    assert!(["closed", "store_closed"].contains(&code(set(&clone, 2, 2))));
    set(&again, 2, 2).unwrap();
}

#[test]
fn a_transaction_that_was_begun_before_closing_commits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = FoldDb::create(&url(&folder)).unwrap();
    let mut transaction = db.pool().begin();
    let schema = datafold::model::Schema::parse(ITEM).unwrap().schema;
    transaction.insert(db.pool().schemas(), &schema.name, &schema).unwrap();
    db.pool().close().unwrap();
    assert_eq!(transaction.commit().unwrap_err().code(), "closed");
    drop(db);
    assert_eq!(FoldDb::open(&url(&folder)).unwrap().stats().unwrap().commit.0, 0);
}

#[test]
fn spaces_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let options = |space: &str, create: bool| {
        let options = if create { PoolOptions::create() } else { PoolOptions::default() };
        PoolOptions { space: space.into(), ..options }
    };
    let open = |space: &str, create: bool| {
        DatabasePool::open_with(&url(&folder), &options(space, create)).map(FoldDb::new)
    };
    let db = open("first", true).unwrap();
    approve(&db, ITEM);
    set(&db, 1, 1).unwrap();
    drop(db);
    assert_eq!(open("second", false).unwrap_err().code(), "not_found");
    let db = open("second", true).unwrap();
    assert_eq!(db.stats().unwrap().total_schemas, 0);
    drop(db);
    assert_eq!(all(&open("first", false).unwrap(), "Item"), "[1,1,null]\n");
    assert_eq!(open("default", false).unwrap().stats().unwrap().commit.0, 0);
    for wrong in ["", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(open(wrong, true).unwrap_err().code(), "invalid_data", "{wrong}");
    }
}

#[test]
fn what_is_no_store_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.txt"), "years of work").unwrap();
    for answer in [FoldDb::open(&url(&folder)), FoldDb::create(&url(&folder))] {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), "not_a_store", "{}", describe(&error));
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}
