//! Faults that node software of this kind has had with its schemas, each with the test that shows
//! that it cannot happen here. Others stand in `schemas`, `discovery` and `lifecycle`.

use std::sync::{Arc, Barrier};
use std::thread;

use datafold::data_layer::DatabasePool;
use datafold::engine::RecordInput;
use datafold::model::{PriceBasis, Schema, SchemaState};
use datafold::{FoldDb, QueryRequest};
use datafold_store::{Keyspace, MemoryStore, Store};
use datafold_testkit::ApplyFault;
use datafold_testkit::model::dump;

use crate::damage::damaged;
use crate::harness::{
    all, approve, check_sound, clock, faulty, fold_db, memory, mutate, name, options, query,
};
use crate::stage::code;

const CITY: &str = r#"{"name": "City", "key": ["name"], "fields": {
    "name": {"value": {"type": "string"}},
    "people": {"value": {"type": "integer", "minimum": 0}}}}"#;

fn state(db: &FoldDb, schema: &str) -> Option<SchemaState> {
    db.pool().schemas().get_state(&name(schema)).unwrap()
}

fn city(name: &str, people: i64) -> RecordInput {
    [("name".to_owned(), name.into()), ("people".to_owned(), people.into())].into()
}

/// A change of one state wrote the states of all schemas.
#[test]
fn a_change_of_state_writes_as_much_with_a_thousand_schemas_as_with_one() {
    let written = |schemas: usize| {
        let (store, db) = faulty();
        for i in 0..schemas {
            let text = format!(r#"{{"name": "S{i:04}", "fields": {{"a": {{}}}}}}"#);
            db.schemas().load(&text).unwrap();
        }
        let before = (store.apply_count(), store.row_count());
        db.schemas().approve_schema(&name("S0000")).unwrap();
        (store.apply_count() - before.0, store.row_count() - before.1)
    };
    let one = written(1);
    assert_eq!(one.0, 1, "one batch");
    assert_eq!(written(1_000), one);
}

/// Several schemas were approved one by one, each with syncs of its own, and some of them only.
#[test]
fn many_states_are_one_batch() {
    let (store, db) = faulty();
    let names: Vec<_> = (0..50).map(|i| name(&format!("S{i}"))).collect();
    for schema in &names {
        db.schemas().load(&format!(r#"{{"name": "{schema}", "fields": {{}}}}"#)).unwrap();
    }
    let before = store.apply_count();
    db.schemas().set_states(&names, SchemaState::Approved, None).unwrap();
    assert_eq!(store.apply_count(), before + 1);
    store.fail_apply(1, ApplyFault::Failed);
    assert_eq!(code(db.schemas().set_states(&names, SchemaState::Blocked, None)), "commit_failed");
    assert!(names.iter().all(|schema| state(&db, schema.as_str()) == Some(SchemaState::Approved)));
}

/// What a schema asks of values was looked at anew for each value.
#[test]
fn a_definition_is_made_once() {
    let db = memory();
    let schema = approve(&db, CITY);
    let entry = |db: &FoldDb| db.pool().schemas().entry("City").unwrap();
    let before = Arc::clone(&entry(&db).schema);
    db.schemas().block_schema(&schema, None).unwrap();
    db.schemas().approve_schema(&schema).unwrap();
    approve(&db, r#"{"name": "Other", "fields": {}}"#);
    mutate(&db, r#"{"mutation": "create", "schema": "City", "records": [{"name": "Ulm"}]}"#)
        .unwrap();
    assert!(Arc::ptr_eq(&before, &entry(&db).schema));
}

/// The approval was stored first and its checks failed afterwards.
#[test]
fn an_approval_that_fails_leaves_the_state_as_it_was() {
    let (store, db) = faulty();
    let computes = r#"{"name": "Sum", "fields": {"a": {}, "b": {"transform": {"logic": "x"}}}}"#;
    let maps = r#"{"name": "View", "fields": {"a": {"field_mappers": {"Nowhere": "a"}}}}"#;
    for (text, refusal) in [(computes, "invalid_transform"), (maps, "refused")] {
        let schema = db.schemas().load(text).unwrap().name;
        for from in [SchemaState::Available, SchemaState::Blocked] {
            db.schemas().set_states(std::slice::from_ref(&schema), from, None).unwrap();
            assert_eq!(code(db.schemas().approve_schema(&schema)), refusal);
            assert_eq!(state(&db, schema.as_str()), Some(from));
        }
    }
    let city = db.schemas().load(CITY).unwrap().name;
    store.fail_apply(1, ApplyFault::Failed);
    assert_eq!(code(db.schemas().approve_schema(&city)), "commit_failed");
    assert_eq!(state(&db, "City"), Some(SchemaState::Available));
    db.schemas().approve_schema(&city).unwrap();
}

/// A schema was approved, and its first values were written later or not at all.
#[test]
fn a_schema_and_its_first_values_are_one_commit() {
    let (store, db) = faulty();
    let schema = db.schemas().load(CITY).unwrap().name;
    let approve = |records| db.schemas().approve_schema_with_atoms(&schema, records);
    // One of the values is wrong, a field does not exist, a record is there twice.
    let unknown = [("name".to_owned(), "Ulm".into()), ("mayor".to_owned(), 1.into())].into();
    for (records, why) in [
        (vec![city("Ulm", 1), city("Bonn", -1)], "invalid_value"),
        (vec![unknown], "unknown_field"),
        (vec![city("Ulm", 1), city("Ulm", 2)], "record_exists"),
    ] {
        assert_eq!(code(approve(records)), why);
        assert_eq!(state(&db, "City"), Some(SchemaState::Available));
    }
    store.fail_apply(1, ApplyFault::Failed);
    assert_eq!(code(approve(vec![city("Ulm", 1)])), "commit_failed");
    assert_eq!(state(&db, "City"), Some(SchemaState::Available));
    let receipt = approve(vec![city("Ulm", 1), city("Bonn", 2)]).unwrap();
    assert_eq!((receipt.commit.0, receipt.atoms), (2, 2));
    assert_eq!(all(&db, "City"), "[\"Bonn\",2]\n[\"Ulm\",1]\n");
    // Blocked with its data, and approved again: what is there is not written over.
    db.schemas().block_schema(&schema, None).unwrap();
    assert_eq!(code(approve(vec![city("Ulm", 9)])), "record_exists");
    assert_eq!(state(&db, "City"), Some(SchemaState::Blocked));
    approve(vec![city("Jena", 3)]).unwrap();
    assert_eq!(all(&db, "City").lines().count(), 3);
    let unknown = db.schemas().approve_schema_with_atoms(&name("Nothing"), vec![]);
    assert_eq!(code(unknown), "not_found");
    check_sound(&db);
}

/// Two loads of one name looked whether it was free, and then both stored their definition.
#[test]
fn of_definitions_that_are_loaded_at_once_one_wins() {
    for _ in 0..20 {
        let db = memory();
        let start = Barrier::new(4);
        let answers: Vec<_> = thread::scope(|scope| {
            let load = |i: usize| {
                let (db, start) = (&db, &start);
                scope.spawn(move || {
                    let text = format!(r#"{{"name": "Note", "fields": {{"f{i}": {{}}}}}}"#);
                    start.wait();
                    db.schemas().load(&text)
                })
            };
            let threads: Vec<_> = (0..4).map(load).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let loaded: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(loaded.len(), 1);
        assert_eq!(*db.pool().schemas().entry("Note").unwrap().schema, *loaded[0]);
        let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(lost.map(|error| error.code()).all(|code| code == "already_exists"));
    }
}

/// Locks were taken in different orders, and a panic under one of them made all later calls fail.
#[test]
fn threads_and_panics_do_not_stop_the_catalogue() {
    let db = memory();
    for schema in ["A", "B"] {
        approve(&db, &format!(r#"{{"name": "{schema}", "fields": {{"a": {{}}}}}}"#));
    }
    let panics = thread::scope(|scope| {
        let spawn = |turn: usize| {
            let db = &db;
            scope.spawn(move || {
                let names = [name("A"), name("B")];
                for i in 0..100 {
                    let schema = &names[(i + turn) % 2];
                    match (i + turn) % 5 {
                        0 => drop(db.schemas().block_schema(schema, None).unwrap()),
                        1 => drop(db.schemas().set_states(&names, SchemaState::Approved, None)),
                        2 => assert_eq!(db.schemas().get_status().len(), 2),
                        3 => drop(db.query(&QueryRequest::new(schema.clone()))),
                        _ => drop(db.schemas().loading_report()),
                    }
                }
                let outcome = db.transact(|_| -> Result<(), datafold::FoldDbError> {
                    panic!("the code of a caller")
                });
                drop(outcome);
            })
        };
        let threads: Vec<_> = (0..4).map(spawn).collect();
        threads.into_iter().filter_map(|thread| thread.join().err()).count()
    });
    assert_eq!(panics, 4);
    db.schemas().set_states(&[name("A"), name("B")], SchemaState::Approved, None).unwrap();
    mutate(&db, r#"{"mutation": "upsert", "schema": "A", "records": [{"a": 1}]}"#).unwrap();
    assert_eq!(all(&db, "A"), "[1]\n");
}

/// The rows of a schema: its definition and its state.
fn schema_rows(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = dump(store.snapshot().unwrap().as_ref()).unwrap();
    let rows = rows.into_iter().filter(|row| row.0 == Keyspace::Catalogue);
    rows.map(|(_, key, row)| (key, row)).collect()
}

fn store_with_city() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new().unwrap());
    approve(&fold_db(Arc::clone(&store) as _, clock()), CITY);
    Arc::new(store.reopen())
}

/// States that could not be read were taken for the default, or all of them for none.
#[test]
fn a_damaged_row_of_the_catalogue_is_an_error_and_not_a_default() {
    let rows = schema_rows(&store_with_city());
    assert_eq!(rows.len(), 3, "a definition, a state, the next number");
    for (key, _) in rows {
        for row in [vec![], vec![0xFF], b"[\"Approved\"]".to_vec()] {
            let store = store_with_city();
            let store = damaged(&store, |batch| batch.put(Keyspace::Catalogue, key.clone(), row));
            let error = DatabasePool::with_store(store, &options(clock())).unwrap_err();
            assert_eq!(error.code(), "corrupt_row", "{error}");
        }
    }
}

/// A state without a definition was given a schema without fields.
#[test]
fn a_state_without_a_definition_makes_no_schema() {
    let rows = schema_rows(&store_with_city());
    // The definition is the longest of them.
    let (definition, _) = rows.iter().max_by_key(|(_, row)| row.len()).unwrap();
    let store = store_with_city();
    let store = damaged(&store, |batch| batch.delete(Keyspace::Catalogue, definition.clone()));
    let db = fold_db(store, clock());
    assert!(db.schemas().get_status().is_empty());
    assert_eq!(code(db.schemas().approve_schema(&name("City"))), "not_found");
    assert_eq!(code(query(&db, r#"{"schema": "City"}"#)), "schema_not_found");
    // Nobody can make such a state either.
    let unknown = db.pool().schemas().set_state(&name("Ghost"), SchemaState::Approved);
    assert_eq!(unknown.unwrap_err().code(), "not_found");
    assert!(db.schemas().get_status().is_empty());
}

/// The order of a hash map decided the order of fields and which of two wins.
#[test]
fn what_is_stored_does_not_depend_on_chance() {
    let fields: Vec<String> = (0..40).map(|i| format!("f{}", (i * 7) % 40)).collect();
    let members: Vec<_> = fields.iter().map(|field| format!(r#""{field}": {{}}"#)).collect();
    let text = format!(r#"{{"name": "S", "fields": {{{}}}}}"#, members.join(", "));
    let stored = || {
        let store = Arc::new(MemoryStore::new().unwrap());
        let db = fold_db(Arc::clone(&store) as _, clock());
        let schema = db.schemas().load(&text).unwrap();
        let names: Vec<_> = schema.fields.iter().map(|field| field.name.to_string()).collect();
        assert_eq!(names, fields);
        schema_rows(&store)
    };
    let first = stored();
    assert!((0..5).all(|_| stored() == first));
    let mut backwards = members.clone();
    backwards.reverse();
    let other = format!(r#"{{"fields": {{{}}}, "name": "S"}}"#, backwards.join(", "));
    let hash = |text: &str| Schema::parse(text).unwrap().schema.content_hash();
    assert_eq!(hash(&text), hash(&other));
}

/// Some names of fields, schemas and paths meant something to the code.
#[test]
fn no_name_has_a_meaning_of_its_own() {
    let db = memory();
    let fields = ["username", "email", "age", "value1", "value2", "result", "test", "input"];
    let members: Vec<_> = fields.iter().map(|field| format!(r#""{field}": {{}}"#)).collect();
    for schema in ["test", "nonexistent", "UserProfile", "TransformBase"] {
        let text = format!(r#"{{"name": "{schema}", "fields": {{{}}}}}"#, members.join(", "));
        approve(&db, &text);
        assert_eq!(all(&db, schema), format!("[{}]\n", ["null"; 8].join(",")));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonexistent");
    drop(FoldDb::create(path.to_str().unwrap()).unwrap());
    assert!(FoldDb::open(path.to_str().unwrap()).is_ok());
}

/// A name with an underscore was cut at it where dependencies were looked for.
#[test]
fn underscores_are_letters_of_names() {
    let db = memory();
    let text = r#"{"name": "_my_schema_1", "key": ["a_b"], "fields": {
        "a_b": {}, "_": {}, "__x__": {}, "a": {}, "b": {}},
        "indexes": [{"fields": ["__x__", "a_b"]}]}"#;
    approve(&db, text);
    let write = r#"{"mutation": "create", "schema": "_my_schema_1",
        "records": [{"a_b": "k", "_": 1, "__x__": 2}]}"#;
    mutate(&db, write).unwrap();
    assert_eq!(all(&db, "_my_schema_1"), "[\"k\",1,2,null,null]\n");
    let refers = r#"{"name": "_other_1", "fields": {
        "_c_": {"transform": {"logic": "1", "inputs": ["_my_schema_1.__x__"]}},
        "d_": {"field_mappers": {"_my_schema_1": "__x__"}}}}"#;
    let schema = db.schemas().load(refers).unwrap();
    let transform = schema.fields[0].transform.as_ref().unwrap();
    assert_eq!(transform.inputs, ["_my_schema_1.__x__"]);
    assert_eq!(schema.fields[1].mappers["_my_schema_1"], "__x__");
}

/// One kind of error stood for everything, so that nobody could tell them apart.
#[test]
fn every_failure_has_a_kind_of_its_own() {
    let (store, db) = faulty();
    let schemas = db.schemas();
    let city = approve(&db, CITY);
    let computes = r#"{"name": "Sum", "fields": {"b": {"transform": {"logic": "x"}}}}"#;
    schemas.load(computes).unwrap();
    mutate(&db, r#"{"mutation": "create", "schema": "City", "records": [{"name": "Ulm"}]}"#)
        .unwrap();
    let select = |field: &str| QueryRequest {
        select: Some(vec![field.to_owned()]),
        ..QueryRequest::new(city.clone())
    };
    let basis = PriceBasis::default();
    let mut codes = vec![
        code(schemas.load("no JSON")),
        code(schemas.load(&CITY.replace("integer", "number"))),
        code(schemas.approve_schema(&name("Unknown"))),
        code(schemas.delete(&city)),
        code(schemas.approve_schema(&name("Sum"))),
        code(db.price_of(&QueryRequest::new(name("Unknown")), &basis, 0)),
        code(db.price_of(&QueryRequest::new(name("Sum")), &basis, 0)),
        code(db.price_of(&select("peopel"), &basis, 0)),
    ];
    store.fail_apply(1, ApplyFault::Failed);
    codes.push(code(schemas.block_schema(&city, None)));
    assert_eq!(
        codes,
        [
            "invalid_schema",
            "already_exists",
            "not_found",
            "refused",
            "invalid_transform",
            "schema_not_found",
            "schema_not_approved",
            "unknown_field",
            "commit_failed"
        ]
    );
}

/// Prices were configured and nobody could ask for them.
#[test]
fn the_price_of_a_query_is_known_before_it_is_asked() {
    let db = memory();
    let text = r#"{"name": "Song", "payment_config": {"base_multiplier": 1.5}, "fields": {
        "title": {"payment_config": {"base_multiplier": 2, "trust_distance_scaling":
            {"Linear": {"slope": 0.5, "intercept": 1, "min_factor": 1}}}},
        "year": {"payment_config": {"base_multiplier": 0.1, "min_payment": 1000}},
        "free": {"payment_config": {"base_multiplier": 0.001}}}}"#;
    approve(&db, text);
    let basis = PriceBasis { market_rate: 100, system_base_rate: 40 };
    let price = |select: Option<&[&str]>, distance| {
        let select = select.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let request = QueryRequest { select, ..QueryRequest::new(name("Song")) };
        db.price_of(&request, &basis, distance).unwrap()
    };
    assert_eq!(price(None, 2).total, 1_600);
    assert_eq!(price(Some(&["title"]), 2).total, 600);
    assert_eq!(price(Some(&["title", "title"]), 0).total, 300);
    assert_eq!(price(Some(&["free"]), 0).total, 40);
    let json = serde_json::to_string(&price(Some(&["year", "free"]), 0)).unwrap();
    assert_eq!(json, r#"{"fields":[["year",1000],["free",0]],"total":1000}"#);
    // Configuration outlives the definition's way through the store.
    let entry = db.pool().schemas().entry("Song").unwrap();
    assert_eq!(*entry.schema, Schema::parse(text).unwrap().schema);
}
