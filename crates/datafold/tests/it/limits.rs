//! The largest things that are taken, and the smallest that are not.

use std::collections::BTreeMap;

use datafold::FoldDb;
use datafold::data_layer::{
    CommitError, DataLayerError, TRANSACTION_BYTES_MAX, TRANSACTION_ROWS_MAX,
};
use datafold::engine::{FoldDbError, Mutation, VALUE_BYTES_MAX};
use datafold::model::{KEY_BYTES_MAX, Value};
use datafold_testkit::FaultStore;

use crate::harness::{approve, check_sound, faulty, memory, mutate, name};
use crate::stage::{ITEM, code};

fn record(id: i64, text: usize) -> BTreeMap<String, Value> {
    let text = Value::from("x".repeat(text));
    [("id".to_owned(), Value::Int(id)), ("text".to_owned(), text)].into_iter().collect()
}

/// What was counted, if it was too much.
fn too_large(db: &FoldDb, records: Vec<BTreeMap<String, Value>>) -> Option<(&'static str, usize)> {
    match db.mutate(&Mutation::create(name("Item"), records).into()) {
        Ok(_) => None,
        Err(FoldDbError::DataLayer(DataLayerError::Commit(CommitError::TooLarge {
            unit,
            limit,
            found,
        }))) => {
            let limits = [("rows", TRANSACTION_ROWS_MAX), ("bytes", TRANSACTION_BYTES_MAX)];
            assert!(limits.contains(&(unit, limit)));
            Some((unit, found))
        }
        Err(error) => panic!("{error}"),
    }
}

fn items() -> (FaultStore, FoldDb) {
    let (store, db) = faulty();
    approve(&db, ITEM);
    (store, db)
}

#[test]
fn a_transaction_has_at_most_20_000_rows() {
    let (store, db) = items();
    let rows = |count: usize| (0..count).map(|id| record(i64::try_from(id).unwrap(), 1)).collect();
    let (unit, found) = too_large(&db, rows(20_000)).unwrap();
    assert_eq!(unit, "rows");
    let fits = 20_000 - (found - TRANSACTION_ROWS_MAX);
    assert_eq!(too_large(&db, rows(fits + 1)), Some(("rows", TRANSACTION_ROWS_MAX + 1)));
    assert_eq!(db.stats().unwrap().total_records, 0);
    let before = store.row_count();
    assert_eq!(too_large(&db, rows(fits)), None);
    assert_eq!(store.row_count() - before, TRANSACTION_ROWS_MAX as u64);
    assert_eq!(db.stats().unwrap().total_records, fits as u64);
    check_sound(&db);
}

#[test]
fn a_transaction_has_at_most_16_mib() {
    let (_, db) = items();
    let with = |last: usize| {
        let mut records: Vec<_> = (0..16).map(|id| record(id, 1_000_000)).collect();
        records.push(record(16, last));
        records
    };
    let (unit, found) = too_large(&db, with(900_000)).unwrap();
    assert_eq!(unit, "bytes");
    let fits = 900_000 - (found - TRANSACTION_BYTES_MAX);
    let one_more = Some(("bytes", TRANSACTION_BYTES_MAX + 1));
    assert_eq!(too_large(&db, with(fits + 1)), one_more);
    assert_eq!(too_large(&db, with(fits)), None);
    check_sound(&db);
}

#[test]
fn a_value_has_at_most_1_mib_when_encoded() {
    let (_, db) = items();
    // A text has a head of five bytes at this length.
    let create =
        |id, bytes| db.mutate(&Mutation::create(name("Item"), vec![record(id, bytes)]).into());
    create(1, VALUE_BYTES_MAX - 5).unwrap();
    assert_eq!(code(create(2, VALUE_BYTES_MAX - 4)), "value_too_large");
    let found = db.get(&name("Item"), &[1.into()]).unwrap().unwrap();
    assert_eq!(found.get("text").unwrap().as_text().unwrap().len(), VALUE_BYTES_MAX - 5);
    assert_eq!(db.stats().unwrap().total_records, 1);
}

#[test]
fn a_key_has_at_most_480_bytes_when_encoded() {
    let db = memory();
    let schema =
        r#"{"name": "Tag", "key": ["tag"], "fields": {"tag": {"value": {"type": "string"}}}}"#;
    approve(&db, schema);
    let create = |bytes: usize| {
        let tag = "x".repeat(bytes);
        let request = format!(
            r#"{{"mutation": "create", "schema": "Tag", "records": [{{"tag": "{tag}"}}]}}"#
        );
        mutate(&db, &request)
    };
    // A text has a tag and an end.
    create(KEY_BYTES_MAX - 2).unwrap();
    assert_eq!(code(create(KEY_BYTES_MAX - 1)), "invalid_key");
    let key = [Value::from("x".repeat(KEY_BYTES_MAX - 2))];
    assert!(db.get(&name("Tag"), &key).unwrap().is_some());
    check_sound(&db);
}

/// A value that cannot be read back must not be written.
#[test]
fn values_that_are_none_are_refused() {
    let db = memory();
    approve(&db, r#"{"name": "Any", "fields": {"a": {}}}"#);
    let deep = (0..65).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    for wrong in [Value::Float(f64::NAN), Value::Float(f64::INFINITY), Value::Float(5.0), deep] {
        let record = [("a".to_owned(), wrong)].into_iter().collect();
        let request = Mutation::upsert(name("Any"), vec![record]).into();
        assert_eq!(code(db.mutate(&request)), "invalid_value");
    }
    assert!(db.get(&name("Any"), &[]).unwrap().is_some());
}
