//! What opening and `verify` find in a damaged catalogue of mappings, indexes and transforms.

use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{DataLayerError, DatabasePool, Repository};
use datafold::model::TransformDefinition;
use datafold_store::encoding::KeyWriter;
use datafold_store::{Batch, Keyspace, MemoryStore, SpaceId};
use datafold_testkit::model::Row;

use crate::damage::{damaged, rows_of};
use crate::harness::{approve, check_sound, clock, describe, fold_db, mutate, options};

const PLANE: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "seats": {"value": {"type": "integer"}},
    "maker": {}},
    "indexes": [{"fields": ["maker"]}, {"fields": ["seats"], "unique": true}]}"#;
const CABIN: &str = r#"{"name": "Cabin", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "places": {"field_mappers": {"Plane": "seats"}},
    "notes": {}, "bags": {"field_type": "Range"}}}"#;

/// The kinds of the catalogue's rows, which stand behind the space in a key.
const STATE: u8 = 2;
const TRANSFORM: u8 = 3;
const LAYOUT: u8 = 4;
/// Rows of which nobody knows whether they should be there: the next number of something.
const NEXT: [u8; 3] = [6, 7, 9];

fn space() -> Arc<MemoryStore> {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let db = fold_db(Arc::clone(&memory) as _, clock());
    approve(&db, PLANE);
    approve(&db, CABIN);
    let transform = TransformDefinition {
        inputs: vec!["Plane.seats".into()],
        logic: "seats * 2".into(),
        output: Some("Cabin.notes".into()),
        ..TransformDefinition::default()
    };
    db.pool().transforms().store(&"double".to_owned(), &transform).unwrap();
    for request in [
        r#"{"mutation": "create", "schema": "Plane", "records": [
            {"tailnum": "A", "seats": 2, "maker": "Boeing"},
            {"tailnum": "B", "seats": 3, "maker": "Boeing"}, {"tailnum": "C"}]}"#,
        r#"{"mutation": "update", "schema": "Cabin",
            "records": [{"tailnum": "A", "places": 4, "notes": "wide"}]}"#,
        r#"{"mutation": "put", "schema": "Cabin", "key": "A", "field": "bags",
            "elements": {"x": 1, "y": 2}}"#,
        r#"{"mutation": "delete", "schema": "Plane", "keys": ["B"]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    Arc::new(memory.reopen())
}

fn rows(keyspace: Keyspace) -> Vec<Row> {
    rows_of(space().as_ref(), keyspace)
}

fn open(damage: impl FnOnce(&mut Batch)) -> Result<FoldDb, DataLayerError> {
    let store = damaged(&space(), damage);
    DatabasePool::with_store(store, &options(clock())).map(FoldDb::new)
}

/// What opening refuses the space for, or else what verifying finds.
fn found(damage: impl FnOnce(&mut Batch)) -> Vec<String> {
    match open(damage) {
        Ok(db) => db.verify().unwrap().problems,
        Err(error) => {
            assert_eq!(error.code(), "corrupt_row", "{error}");
            vec![describe(&error)]
        }
    }
}

#[test]
fn a_space_with_mappings_indexes_and_transforms_is_sound() {
    check_sound(&open(|_| {}).unwrap());
    let kinds: std::collections::BTreeSet<_> =
        rows(Keyspace::Catalogue).into_iter().map(|(_, key, _)| key[1]).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 6, 7, 8, 9]);
    assert_eq!(rows(Keyspace::Indexes).len(), 4);
}

#[test]
fn a_row_of_the_catalogue_that_does_not_decode_is_found() {
    for (_, key, row) in rows(Keyspace::Catalogue) {
        let cut = row[..row.len() - 1].to_vec();
        for wrong in [vec![], vec![0xFF], vec![0x80], vec![0x61, b'x'], cut] {
            let found = found(|batch| batch.put(Keyspace::Catalogue, key.clone(), wrong.clone()));
            assert!(!found.is_empty(), "{key:x?} {wrong:x?}");
        }
    }
}

#[test]
fn a_row_of_the_catalogue_that_is_missing_is_found() {
    for (_, key, _) in rows(Keyspace::Catalogue) {
        // A transform may have been deleted, and the next number is at least that of what is there.
        if NEXT.contains(&key[1]) || key[1] == TRANSFORM {
            continue;
        }
        let found = found(|batch| batch.delete(Keyspace::Catalogue, key.clone()));
        assert!(!found.is_empty(), "{key:x?}");
    }
}

#[test]
fn a_row_of_the_catalogue_in_the_place_of_another_is_found() {
    let rows = rows(Keyspace::Catalogue);
    for kind in [1, LAYOUT, 8] {
        let of_kind: Vec<_> = rows.iter().filter(|(_, key, _)| key[1] == kind).collect();
        for (_, key, row) in &of_kind {
            for (_, _, other) in of_kind.iter().filter(|(_, _, other)| other != row) {
                let put = |batch: &mut Batch| {
                    batch.put(Keyspace::Catalogue, key.clone(), other.clone());
                };
                assert!(!found(put).is_empty(), "{key:x?} {other:x?}");
            }
        }
    }
}

#[test]
fn a_key_of_the_catalogue_that_is_none_is_found() {
    for (_, key, row) in rows(Keyspace::Catalogue) {
        let mut cut = key.clone();
        // The kind alone, where something must stand behind it.
        cut.truncate(2);
        for wrong in [cut, [&key[..], &[0x00]].concat()] {
            let found = (wrong != key)
                .then(|| found(|batch| batch.put(Keyspace::Catalogue, wrong.clone(), row.clone())));
            assert!(found.is_none_or(|found| !found.is_empty()), "{wrong:x?}");
        }
    }
}

/// A later version may have more kinds of rows.
#[test]
fn a_row_of_an_unknown_kind_is_left_alone() {
    let mut key = KeyWriter::new();
    key.id(SpaceId::DEFAULT.0).id(77);
    let key = key.finish();
    let store = damaged(&space(), |batch| {
        batch.put(Keyspace::Catalogue, key.clone(), vec![0xFF]);
    });
    let db = fold_db(Arc::clone(&store), clock());
    mutate(&db, r#"{"mutation": "delete", "schema": "Plane", "keys": ["A"]}"#).unwrap();
    check_sound(&db);
    let row = store.snapshot().unwrap().get(Keyspace::Catalogue, &key).unwrap();
    assert_eq!(row, Some(vec![0xFF]));
}

#[test]
fn a_state_of_an_unknown_number_is_refused_and_not_taken_for_another() {
    for (_, key, row) in rows(Keyspace::Catalogue).iter().filter(|(_, key, _)| key[1] == STATE) {
        let mut wrong = row.clone();
        wrong[1] = 3;
        let error = open(|batch| batch.put(Keyspace::Catalogue, key.clone(), wrong)).unwrap_err();
        assert_eq!(error.code(), "corrupt_row");
        assert!(describe(&error).contains("an unknown schema state"), "{}", describe(&error));
    }
}

#[test]
fn a_layout_with_a_field_of_no_number_is_refused() {
    let rows = rows(Keyspace::Catalogue);
    let layouts: Vec<_> = rows.iter().filter(|(_, key, _)| key[1] == LAYOUT).collect();
    assert!(!layouts.is_empty());
    for (_, key, row) in layouts {
        // The records' schema, and then a schema and a field for each field.
        let mut wrong = row.clone();
        wrong[3] = 0;
        let error = open(|batch| batch.put(Keyspace::Catalogue, key.clone(), wrong)).unwrap_err();
        assert_eq!(error.code(), "corrupt_row");
        assert!(describe(&error).contains("numbered from 1 on"), "{}", describe(&error));
    }
}

#[test]
fn an_index_that_is_not_that_of_the_records_is_found() {
    let entries = rows(Keyspace::Indexes);
    for (_, key, row) in &entries {
        let missing = found(|batch| batch.delete(Keyspace::Indexes, key.clone()));
        assert!(missing.iter().any(|problem| problem.contains("is not that of the records")));
        for wrong in [[&row[..], b"x"].concat(), vec![]] {
            if wrong != *row {
                let found = found(|batch| batch.put(Keyspace::Indexes, key.clone(), wrong));
                assert!(!found.is_empty(), "{key:x?}");
            }
        }
        // An entry too many, behind the one that is there.
        let found = found(|batch| {
            batch.put(Keyspace::Indexes, [&key[..], &[0x01]].concat(), row.clone());
        });
        assert!(!found.is_empty(), "{key:x?}");
    }
    let mut progress = KeyWriter::new();
    progress.id(SpaceId::DEFAULT.0).id(0).id(1);
    let progress = progress.finish();
    let found = found(|batch| batch.put(Keyspace::Indexes, progress, vec![0xFF]));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_counter_that_does_not_decode_is_refused_when_the_space_is_opened() {
    let counters = rows(Keyspace::Head).into_iter().filter(|(_, key, _)| key.len() == 2);
    let mut count = 0;
    for (_, key, row) in counters {
        for wrong in [vec![], vec![0x83], vec![0x82, 0, 0], row[..row.len() - 1].to_vec()] {
            let put = |batch: &mut Batch| batch.put(Keyspace::Head, key.clone(), wrong.clone());
            let error = open(put).unwrap_err();
            assert_eq!(error.code(), "corrupt_row", "{wrong:x?}: {error}");
            count += 1;
        }
    }
    assert_eq!(count, 4);
    let mut cut = KeyWriter::new();
    cut.id(SpaceId::DEFAULT.0);
    let cut = [&cut.finish()[..], &[0xFF]].concat();
    let error = open(|batch| batch.put(Keyspace::Head, cut, vec![0x80])).unwrap_err();
    assert_eq!(error.code(), "corrupt_row");
}

#[test]
fn a_head_that_does_not_decode_is_refused_when_the_space_is_opened() {
    for wrong in [vec![], vec![0x80], vec![0x82, 0x00, 0x00], vec![0x81, 0x61, b'x']] {
        let error = open(|batch| batch.head = wrong.clone().into()).unwrap_err();
        assert_eq!(error.code(), "corrupt_row", "{wrong:x?}: {error}");
    }
}
