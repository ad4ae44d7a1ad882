//! Faults that node software of this kind has had with its data, each with the test that shows that
//! it cannot happen here, or where that test stands. Those with schemas stand in `faults_schemas`.
//!
//! Shown elsewhere:
//! - All requests waited for one lock, and values were read under another:
//!   `pipeline::nothing_is_acknowledged_or_seen_before_the_store_has_accepted_it` reads while a
//!   commit stands still, and `transactions::no_increment_is_lost_between_threads` writes from many
//!   threads.
//! - Each of many mutations was synced alone:
//!   `pipeline::what_queues_up_becomes_one_batch_in_order`.
//! - A pattern took exponential time: `glob::tests::no_pattern_takes_more_steps_than_the_text_has`.
//! - A start ended on an empty database in another place:
//!   `opening::what_is_no_store_is_not_touched`.
//! - A record with many elements was deleted one by one:
//!   `elements::a_record_with_many_elements_dies_in_one_small_commit`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafold::engine::ElementQuery;
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_store::{Keyspace, MemoryStore, Store};
use datafold_testkit::model::dump;
use datafold_testkit::{FaultStore, ReadCall};

use crate::damage::damaged;
use crate::harness::{
    Place, all, approve, check_sound, clock, faulty, fold_db, mutate, name, query,
};
use crate::stage::code;

const SHOP: &str = r#"{"name": "Shop", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "a": {}, "b": {}, "c": {}, "d": {}, "e": {},
    "stock": {"field_type": "Range"},
    "notes": {"field_type": "Collection"}}}"#;

fn create(db: &FoldDb, id: usize) {
    let request =
        format!(r#"{{"mutation": "create", "schema": "Shop", "records": [{{"id": {id}}}]}}"#);
    mutate(db, &request).unwrap();
}

fn put(db: &FoldDb, elements: BTreeMap<String, Value>) {
    let elements = Value::Object(elements).to_json();
    let request = format!(
        r#"{{"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
            "elements": {elements}}}"#
    );
    mutate(db, &request).unwrap();
}

fn many(count: usize) -> BTreeMap<String, Value> {
    (0..count).map(|at| (format!("{at:06}"), Value::from("x"))).collect()
}

fn elements(db: &FoldDb, rest: &str) -> Result<Vec<String>, datafold::FoldDbError> {
    let text = format!(r#"{{"schema": "Shop", "key": 1, "field": "stock"{rest}}}"#);
    let answer = db.elements(&ElementQuery::parse(&text).unwrap())?;
    Ok(answer.elements.into_iter().map(|element| element.key).collect())
}

/// All elements of a field were one value, which each write wrote anew.
#[test]
fn an_element_is_written_alone_however_many_there_are() {
    let written = |count: usize| {
        let (store, db) = faulty();
        approve(&db, SHOP);
        create(&db, 1);
        put(&db, many(count));
        let before = (store.apply_count(), store.row_count());
        put(&db, [("new".to_owned(), Value::from("x"))].into());
        (store.apply_count() - before.0, store.row_count() - before.1)
    };
    let one = written(1);
    assert_eq!(one.0, 1, "one batch");
    assert_eq!(written(3_000), one);
}

/// Each field was written and synced by itself, and some of them only.
#[test]
fn the_fields_of_a_mutation_are_one_batch_and_one_row() {
    let written = |record: &str| {
        let (store, db) = faulty();
        approve(&db, SHOP);
        let before = (store.apply_count(), store.row_count());
        let request =
            format!(r#"{{"mutation": "create", "schema": "Shop", "records": [{record}]}}"#);
        mutate(&db, &request).unwrap();
        (store.apply_count() - before.0, store.row_count() - before.1)
    };
    let one = written(r#"{"id": 1, "a": 1}"#);
    assert_eq!(one.0, 1, "one batch");
    assert_eq!(written(r#"{"id": 1, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5}"#), one);
}

/// A store whose next reads fail behind so many of each kind.
fn reads_at_most(store: Arc<dyn Store>, count: u64) -> FaultStore {
    let store = FaultStore::new(store);
    for call in [ReadCall::Snapshot, ReadCall::Get, ReadCall::GetMany, ReadCall::Scan] {
        store.fail_read(count + 1, call);
    }
    store.shorten_pages(10);
    store
}

/// A space with so many records of several versions, and as many elements.
fn filled(records: usize) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new().unwrap());
    let db = fold_db(Arc::clone(&store) as _, clock());
    approve(&db, SHOP);
    for kind in ["create", "update"] {
        let rows: Vec<_> =
            (1..=records).map(|id| format!(r#"{{"id": {id}, "a": "{kind}"}}"#)).collect();
        let rows = rows.join(",");
        let request = format!(r#"{{"mutation": "{kind}", "schema": "Shop", "records": [{rows}]}}"#);
        mutate(&db, &request).unwrap();
    }
    put(&db, many(records));
    drop(db);
    Arc::new(store.reopen())
}

/// All values were read into memory at the start, and counted by reading them.
#[test]
fn opening_and_counting_read_as_much_of_a_large_space_as_of_a_small_one() {
    for records in [5, 2_000] {
        let store = reads_at_most(filled(records), 12);
        let db = fold_db(Arc::new(store.clone()), clock());
        let stats = db.pool().stats().unwrap();
        assert_eq!(stats.total_records, records as u64);
        // The bound is one: what reads everything meets it.
        let found = db.query(&QueryRequest::new(name("Shop")));
        assert_eq!(found.is_ok(), records == 5, "{found:?}");
    }
}

/// A filter read all elements, and those that could not be read were passed over.
#[test]
fn a_filter_reads_what_it_asks_for_and_nothing_else() {
    let store = filled(20);
    let rows = dump(store.snapshot().unwrap().as_ref()).unwrap();
    let last = rows.into_iter().rfind(|row| row.0 == Keyspace::Elements).unwrap();
    let db = fold_db(
        damaged(&store, |batch| batch.put(Keyspace::Elements, last.1, vec![0xFF])),
        clock(),
    );
    for (rest, count) in [
        (r#", "element": "000003""#, 1),
        (r#", "elements": ["000003", "000018"]"#, 2),
        (r#", "prefix": "00000""#, 10),
        (r#", "from": "000003", "to": "000006""#, 3),
        (r#", "glob": "00000*""#, 10),
        (r#", "limit": 5"#, 5),
    ] {
        assert_eq!(elements(&db, rest).map(|found| found.len()).unwrap(), count, "{rest}");
    }
    for rest in [r#", "element": "000019""#, r#", "value": "x""#, "", r#", "glob": "*1""#] {
        assert_eq!(code(elements(&db, rest)), "corrupt_row", "{rest}");
    }
}

/// Elements could not be read, and were of another kind after a restart.
#[test]
fn elements_are_of_their_kind_after_a_restart() {
    let mut place = Place::sim(3);
    let db = fold_db(place.open(), clock());
    approve(&db, SHOP);
    mutate(
        &db,
        r#"{"mutation": "create", "schema": "Shop",
            "records": [{"id": 1, "stock": {"b": 2, "a": 1.5}, "notes": ["x", {"y": null}]}]}"#,
    )
    .unwrap();
    let shown = r#"[1,null,null,null,null,null,{"a":1.5,"b":2},{"0":"x","1":{"y":null}}]"#;
    assert_eq!(all(&db, "Shop"), format!("{shown}\n"));
    drop(db);
    let db = fold_db(place.open(), clock());
    assert_eq!(all(&db, "Shop"), format!("{shown}\n"));
    // An array of values is a form of collections only.
    let array = r#"{"mutation": "update", "schema": "Shop", "records": [{"id": 1, "stock": [7]}]}"#;
    assert_eq!(code(mutate(&db, array)), "invalid_elements");
    mutate(&db, &array.replace("stock", "notes")).unwrap();
    assert_eq!(elements(&db, "").unwrap(), ["a", "b"]);
    check_sound(&db);
}

/// Who read kept others from writing, and saw half of what they wrote.
#[test]
fn a_reader_keeps_nobody_from_writing_and_sees_one_moment() {
    let (_, db) = faulty();
    approve(&db, SHOP);
    (1..=5).for_each(|id| create(&db, id));
    let (mut ids, mut next) = (Vec::new(), 100);
    db.query_each(&QueryRequest::new(name("Shop")), |record| {
        ids.push(record.get("id").cloned());
        create(&db, next);
        let delete =
            format!(r#"{{"mutation": "delete", "schema": "Shop", "keys": [{}]}}"#, 6 - ids.len());
        let _ = mutate(&db, &delete);
        next += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(ids, (1..=5).map(|id| Some(Value::Int(id))).collect::<Vec<_>>());
    let now = query(&db, r#"{"schema": "Shop", "select": ["id"]}"#).unwrap();
    let now: Vec<_> = now.records.iter().map(|record| record.values[0].clone()).collect();
    assert_eq!(now, (100..105).map(Value::Int).collect::<Vec<_>>());
    check_sound(&db);
}
