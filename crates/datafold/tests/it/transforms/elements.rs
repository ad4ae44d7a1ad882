//! Elements of Collection and Range fields as inputs of computed fields.

use std::collections::BTreeMap;

use datafold::FoldDb;
use datafold::data_layer::{CommitNumber, INPUT_ELEMENTS_MAX, Moment, Origin, PropagationLimits};
use datafold::model::Value;
use datafold_testkit::{CutKind, Random, is_full_size, seed_from_env};

use super::field;
use crate::harness::{Place, approve, check_sound, fold_db_within, memory, mutate, name, query};

const CART: &str = r#"{"name": "Cart", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "factor": {"value": {"type": "integer"}},
    "prices": {"field_type": "Range", "value": {"type": "integer"}},
    "tags": {"field_type": "Collection"},
    "total": {"transform": {"logic": "sum(values(prices)) * (factor ?? 1)"}},
    "kinds": {"transform": {"logic": "length(tags)"}},
    "dear": {"transform": {"logic": "total > 100"}}}}"#;

fn put(db: &FoldDb, id: i64, of: &str, elements: &str) -> u32 {
    let text = format!(
        r#"{{"mutation": "put", "schema": "Cart", "key": [{id}], "field": "{of}",
            "elements": {{{elements}}}}}"#
    );
    mutate(db, &text).unwrap().atoms
}

fn remove(db: &FoldDb, id: i64, of: &str, elements: &str) {
    let text = format!(
        r#"{{"mutation": "remove", "schema": "Cart", "key": [{id}], "field": "{of}",
            "elements": [{elements}]}}"#
    );
    mutate(db, &text).unwrap();
}

fn write(db: &FoldDb, kind: &str, record: &str) {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "Cart", "records": [{record}]}}"#);
    mutate(db, &text).unwrap();
}

fn computed(db: &FoldDb, id: i64) -> String {
    let text = format!(
        r#"{{"schema": "Cart", "select": ["total", "kinds", "dear"], "key": {{"exact": [{id}]}}}}"#
    );
    crate::harness::lines(&query(db, &text).unwrap()).trim_end().to_owned()
}

#[test]
fn a_field_follows_the_elements_that_it_is_computed_from() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", r#"{"id": 1, "prices": {"a": 10, "b": 5}}"#);
    assert_eq!(computed(&db, 1), "[15,0,false]");
    // The element and the sum; what does not read the field is left alone.
    assert_eq!(put(&db, 1, "prices", r#""c": 30"#), 2);
    assert_eq!(computed(&db, 1), "[45,0,false]");
    let commit = db.stats().unwrap().commit.0;
    assert_eq!(put(&db, 1, "prices", r#""a": 80, "d": 1"#), 2 + 2, "the chain goes on");
    remove(&db, 1, "prices", r#""b""#);
    assert_eq!(computed(&db, 1), "[111,0,true]");
    put(&db, 1, "tags", r#""x": 1, "y": null"#);
    write(&db, "update", r#"{"id": 1, "factor": 2}"#);
    assert_eq!(computed(&db, 1).split_once(',').unwrap().0, "[222");
    // As of then it is as it was then, and says why.
    let why =
        |moment| db.why(&name("Cart"), &[Value::Int(1)], &field("total"), moment).unwrap().lineage;
    let then = why(Moment::Commit(CommitNumber(commit)));
    let Origin::Computed(found) = &then.origin else { panic!() };
    assert_eq!(
        (then.value, &found.inputs[0].origin),
        (45.into(), &Origin::Elements { is_known: true })
    );
    assert_eq!(found.inputs[0].value.to_json(), r#"{"a":10,"b":5,"c":30}"#);
    // A new life has no elements of the old one.
    let delete = r#"{"mutation": "delete", "schema": "Cart", "keys": [1]}"#;
    mutate(&db, delete).unwrap();
    write(&db, "create", r#"{"id": 1, "prices": {"z": 7}}"#);
    assert_eq!(computed(&db, 1), "[7,0,false]");
    check_sound(&db);
}

#[test]
fn too_many_elements_are_a_failure_that_ends_when_they_are_fewer() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", r#"{"id": 1}"#);
    let elements = |from: usize, to: usize| {
        let each: Vec<_> = (from..to).map(|at| format!(r#""e{at:05}": 1"#)).collect();
        each.join(", ")
    };
    put(&db, 1, "prices", &elements(0, INPUT_ELEMENTS_MAX));
    assert_eq!(computed(&db, 1), "[1000,0,true]");
    put(&db, 1, "prices", r#""more": 1"#);
    assert_eq!(computed(&db, 1), "[1000,0,true]");
    let failures = || db.schemas().transform_failures(&name("Cart"), &field("total"), 9).unwrap();
    assert_eq!(failures()[0].1.code, "too_many_elements");
    check_sound(&db);
    remove(&db, 1, "prices", r#""more""#);
    assert!(failures().is_empty());
    put(&db, 1, "prices", &elements(2_000, 4_000));
    assert_eq!(failures()[0].1.code, "too_many_elements");
    check_sound(&db);
}

#[test]
fn elements_of_other_records_are_not_read() {
    let db = memory();
    approve(&db, CART);
    let text = r#"{"name": "T", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "n": {"transform": {"logic": "length(Cart[id].tags)"}}}}"#;
    db.schemas().load_text(text, None).unwrap();
    let error = db.schemas().approve_schema(&name("T")).unwrap_err().to_string();
    assert!(error.contains("`tags` has elements"), "{error}");
}

type Carts = BTreeMap<i64, (Option<i64>, BTreeMap<String, i64>)>;

fn expected(carts: &Carts) -> String {
    let line = |(_, (factor, prices)): (&i64, &(Option<i64>, BTreeMap<String, i64>))| {
        let total = prices.values().sum::<i64>() * factor.unwrap_or(1);
        format!("[{total},{}]\n", total > 100)
    };
    carts.iter().map(line).collect()
}

/// Random changes with kills and power cuts, against a recomputation from scratch, now and then.
#[test]
fn what_reads_elements_is_what_a_full_recomputation_gives() {
    let seed = seed_from_env(0xE1E);
    for run in 0..if is_full_size() { 1_000 } else { 40 } {
        let mut random = Random::part(seed, run);
        let limits = PropagationLimits::default();
        let mut place = Place::sim(seed ^ run);
        let mut db = fold_db_within(place.open(), limits);
        approve(&db, CART);
        let (mut carts, mut past) = (Carts::new(), Vec::new());
        for _ in 0..30 {
            let id = random.below(3) as i64;
            let key = ["a", "b", "c", "d"][random.below(4)];
            match (random.below(8), carts.get_mut(&id)) {
                (0, Some(_)) => {
                    let delete =
                        format!(r#"{{"mutation": "delete", "schema": "Cart", "keys": [{id}]}}"#);
                    mutate(&db, &delete).unwrap();
                    carts.remove(&id);
                }
                (1, Some(cart)) => {
                    let factor = random.below(4) as i64;
                    write(&db, "update", &format!(r#"{{"id": {id}, "factor": {factor}}}"#));
                    cart.0 = Some(factor);
                }
                (2, Some(cart)) if cart.1.contains_key(key) => {
                    remove(&db, id, "prices", &format!(r#""{key}""#));
                    cart.1.remove(key);
                }
                (3, _) => {
                    let Place::Sim(disk) = &place else { panic!() };
                    let after = match random.one_in(2) {
                        true => disk.process_kill(random.next_u64()),
                        false => {
                            let kind = *random.choose(&CutKind::ALL).unwrap();
                            disk.power_cut(kind, random.next_u64())
                        }
                    };
                    drop(db);
                    place = Place::Sim(after);
                    db = fold_db_within(place.open(), limits);
                }
                (_, Some(cart)) => {
                    let price = random.below(90) as i64;
                    put(&db, id, "prices", &format!(r#""{key}": {price}"#));
                    cart.1.insert(key.to_owned(), price);
                }
                (_, None) => {
                    let price = random.below(90) as i64;
                    let prices = format!(r#"{{"id": {id}, "prices": {{"{key}": {price}}}}}"#);
                    write(&db, "create", &prices);
                    carts.insert(id, (None, [(key.to_owned(), price)].into()));
                }
            }
            let commit = db.stats().unwrap().commit.0;
            let text = r#"{"schema": "Cart", "select": ["total", "dear"]}"#;
            let found = crate::harness::lines(&query(&db, text).unwrap());
            assert_eq!(found, expected(&carts), "run {run}, now");
            past.push((commit, found));
        }
        for (commit, then) in past.iter().step_by(5) {
            let text =
                format!(r#"{{"schema": "Cart", "select": ["total", "dear"], "as_of": {commit}}}"#);
            assert_eq!(&crate::harness::lines(&query(&db, &text).unwrap()), then, "run {run}");
        }
        check_sound(&db);
    }
}
