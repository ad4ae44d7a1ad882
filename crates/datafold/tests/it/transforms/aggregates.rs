//! Aggregates over the records of another schema, as inputs of computed fields.

use datafold::FoldDb;
use datafold::data_layer::Repository as _;
use datafold::model::Value;

use super::field;
use crate::harness::{all, approve, check_sound, memory, mutate, name, query};

const FLIGHT: &str = r#"{"name": "Flight", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "carrier": {"value": {"type": "string"}},
    "delay": {"value": {"type": ["number", "null"]}}, "plane": {},
    "late": {"transform": {"logic": "delay > 10"}}}}"#;

/// A schema whose records are carriers, with one computed field for each aggregate.
fn carrier(aggregates: &[(&str, &str, &str)]) -> String {
    let computed: Vec<String> = aggregates
        .iter()
        .map(|(name, aggregate, filter)| {
            let filter = match *filter {
                "" => String::new(),
                filter => format!(r#", "where": {}"#, Value::from(filter).to_json()),
            };
            let aggregate = Value::from(*aggregate).to_json();
            format!(
                r#""{name}": {{"writable": false, "transform": {{"inputs": {{"x": {{"aggregate":
                   {aggregate}, "of": "Flight", "by": ["carrier"]{filter}}}}}, "logic": "x"}}}}"#
            )
        })
        .collect();
    let computed = computed.join(", ");
    format!(
        r#"{{"name": "Carrier", "key": ["code"], "fields": {{
            "code": {{"value": {{"type": "string"}}}}, "note": {{}}, {computed}}}}}"#
    )
}

const ALL: [(&str, &str, &str); 9] = [
    ("n", "count()", ""),
    ("known", "count(delay)", ""),
    ("total", "sum(delay)", ""),
    ("least", "min(delay)", ""),
    ("most", "max(delay)", ""),
    ("mean", "avg(delay)", ""),
    ("planes", "count_distinct(plane)", ""),
    ("latest", "last(delay, id)", ""),
    ("late", "count()", "late"),
];

fn write(db: &FoldDb, kind: &str, schema: &str, record: &str) -> u64 {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "{schema}", "records": [{record}]}}"#);
    mutate(db, &text).unwrap().commit.0
}

fn delete(db: &FoldDb, schema: &str, key: &str) {
    let text = format!(r#"{{"mutation": "delete", "schema": "{schema}", "keys": [{key}]}}"#);
    mutate(db, &text).unwrap();
}

/// The computed fields of a carrier.
fn of(db: &FoldDb, code: &str) -> String {
    let text = format!(r#"{{"schema": "Carrier", "key": {{"exact": ["{code}"]}}}}"#);
    let record = query(db, &text).unwrap().records.remove(0);
    let values: Vec<_> = record.values.iter().skip(2).map(Value::to_json).collect();
    values.join(" ")
}

#[test]
fn every_function_follows_creates_updates_moves_and_deletes() {
    let db = memory();
    approve(&db, FLIGHT);
    approve(&db, &carrier(&ALL));
    write(&db, "create", "Carrier", r#"{"code": "UA"}, {"code": "AA"}"#);
    assert_eq!(of(&db, "UA"), "0 0 0 null null null 0 null 0");
    write(&db, "create", "Flight", r#"{"id": 1, "carrier": "UA", "delay": 5, "plane": "N1"}"#);
    assert_eq!(of(&db, "UA"), r"1 1 5 5 5 5 1 5 0");
    let commit = write(
        &db,
        "create",
        "Flight",
        r#"{"id": 2, "carrier": "UA", "delay": 20.5, "plane": "N1"},
           {"id": 3, "carrier": "UA", "plane": [1]}, {"id": 4, "carrier": "AA", "delay": -3}"#,
    );
    assert_eq!(of(&db, "UA"), "3 2 25.5 5 20.5 12.75 2 null 1");
    assert_eq!(of(&db, "AA"), "1 1 -3 -3 -3 -3 0 -3 0");
    // All of it in the commit that was written.
    assert_eq!(db.stats().unwrap().commit.0, commit);
    write(&db, "update", "Flight", r#"{"id": 2, "delay": 4}"#);
    assert_eq!(of(&db, "UA"), "3 2 9 4 5 4.5 2 null 0");
    // One leaves the group for another, one has no group any more, and one is deleted.
    write(&db, "update", "Flight", r#"{"id": 2, "carrier": "AA"}"#);
    assert_eq!(of(&db, "UA"), "2 1 5 5 5 5 2 null 0");
    assert_eq!(of(&db, "AA"), "2 2 1 -3 4 0.5 1 -3 0");
    write(&db, "update", "Flight", r#"{"id": 1, "carrier": null}"#);
    assert_eq!(of(&db, "UA"), "1 0 0 null null null 1 null 0");
    delete(&db, "Flight", "4");
    assert_eq!(of(&db, "AA"), "1 1 4 4 4 4 1 4 0");
    let text = format!(
        r#"{{"schema": "Carrier", "select": ["n", "most"], "as_of": {commit},
            "key": {{"exact": ["UA"]}}}}"#
    );
    assert_eq!(
        query(&db, &text).unwrap().records[0].values,
        [Value::Int(3), 20.5.try_into().unwrap()]
    );
    check_sound(&db);
}

#[test]
fn what_does_not_change_a_group_writes_nothing_there() {
    let db = memory();
    approve(&db, FLIGHT);
    approve(&db, &carrier(&ALL[..2]));
    write(&db, "create", "Carrier", r#"{"code": "UA"}"#);
    let record = r#"{"id": 1, "carrier": "UA", "delay": 5}"#;
    let create = format!(r#"{{"mutation": "create", "schema": "Flight", "records": [{record}]}}"#);
    // Three cells of the flight, the computed one included, and two of the carrier.
    assert_eq!(mutate(&db, &create).unwrap().atoms, 5);
    let text = r#"{"mutation": "update", "schema": "Flight", "records": [{"id": 1, "delay": 6}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 1);
    let text = r#"{"mutation": "update", "schema": "Flight", "records": [{"id": 1, "plane": 1}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 1);
    // A group without a record is kept for the record to come.
    write(&db, "create", "Flight", r#"{"id": 2, "carrier": "AA", "delay": 5}"#);
    write(&db, "create", "Carrier", r#"{"code": "AA"}"#);
    assert_eq!(of(&db, "AA"), "1 1");
    delete(&db, "Carrier", r#""AA""#);
    write(&db, "create", "Flight", r#"{"id": 3, "carrier": "AA"}"#);
    write(&db, "create", "Carrier", r#"{"code": "AA"}"#);
    assert_eq!(of(&db, "AA"), "2 1");
    check_sound(&db);
}

#[test]
fn records_that_were_there_are_gathered_beside_writes() {
    let db = memory();
    approve(&db, FLIGHT);
    for chunk in 0..10 {
        let record = |id: usize| {
            let carrier = ["UA", "AA", "DL"][id % 3];
            format!(r#"{{"id": {id}, "carrier": "{carrier}", "delay": {}}}"#, id % 50)
        };
        let records: Vec<_> = (chunk * 100..chunk * 100 + 100).map(record).collect();
        write(&db, "create", "Flight", &records.join(", "));
    }
    approve(&db, &carrier(&ALL));
    write(&db, "create", "Carrier", r#"{"code": "UA"}, {"code": "DL"}"#);
    for id in [1, 500, 998] {
        write(&db, "update", "Flight", &format!(r#"{{"id": {id}, "carrier": "UA"}}"#));
        delete(&db, "Flight", &(id + 1).to_string());
        let record = format!(r#"{{"id": {}, "carrier": "DL", "delay": 99.5}}"#, id + 1_000);
        write(&db, "create", "Flight", &record);
    }
    db.schemas().wait_for_transforms(&name("Carrier")).unwrap();
    let text = r#"{"schema": "Flight", "group_by": ["carrier"], "aggregates": ["n = count()",
        "known = count(delay)", "total = sum(delay)", "least = min(delay)", "most = max(delay)",
        "mean = avg(delay)", "planes = count_distinct(plane)"], "having": "carrier != 'AA'"}"#;
    for group in query(&db, text).unwrap().records {
        let values: Vec<_> = group.values.iter().skip(1).map(Value::to_json).collect();
        let Value::Text(code) = &group.values[0] else { panic!() };
        assert!(of(&db, code).starts_with(&values.join(" ")), "{code}: {values:?}");
    }
    check_sound(&db);
}

#[test]
fn a_schema_without_key_and_other_fields_read_aggregates() {
    let db = memory();
    approve(&db, FLIGHT);
    let totals = r#"{"name": "Totals", "fields": {"note": {},
        "late": {"transform": {"inputs": {
            "all": {"aggregate": "count()", "of": "Flight"},
            "delayed": {"aggregate": "count()", "of": "Flight", "where": "late"}},
            "logic": "all == 0 ? null : delayed / all"}},
        "percent": {"transform": {"logic": "late * 100"}}}}"#;
    approve(&db, totals);
    // Its record is computed when it is first written.
    write(&db, "upsert", "Totals", r#"{"note": "x"}"#);
    write(&db, "create", "Flight", r#"{"id": 1, "delay": 11}, {"id": 2, "delay": 1}"#);
    assert_eq!(all(&db, "Totals"), "[\"x\",0.5,50]\n");
    write(&db, "update", "Flight", r#"{"id": 2, "delay": 20}"#);
    assert_eq!(all(&db, "Totals"), "[\"x\",1,100]\n");
    // A lookup reads what was aggregated, so that a record can have the values of its group.
    approve(&db, &carrier(&ALL[..1]));
    let leg = r#"{"name": "Leg", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "carrier": {"value": {"type": "string"}},
        "others": {"transform": {"logic": "Carrier[carrier].n"}}}}"#;
    approve(&db, leg);
    write(&db, "create", "Carrier", r#"{"code": "UA"}"#);
    write(&db, "create", "Leg", r#"{"id": 1, "carrier": "UA"}"#);
    write(&db, "update", "Flight", r#"{"id": 2, "carrier": "UA"}"#);
    db.schemas().wait_for_transforms(&name("Carrier")).unwrap();
    assert_eq!(all(&db, "Leg"), "[1,\"UA\",1]\n");
    check_sound(&db);
}

#[test]
fn records_that_cannot_be_aggregated_are_failures_that_end_with_them() {
    let db = memory();
    let flight = FLIGHT.replace(r#""plane": {}"#, r#""plane": {}, "by": {}"#);
    approve(&db, &flight);
    approve(&db, &carrier(&[("total", "sum(plane)", "1 / by > 0")]));
    write(&db, "create", "Carrier", r#"{"code": "UA"}"#);
    write(&db, "create", "Flight", r#"{"id": 1, "carrier": "UA", "plane": 4, "by": 2}"#);
    write(&db, "create", "Flight", r#"{"id": 2, "carrier": "UA", "plane": "x", "by": 2}"#);
    write(&db, "create", "Flight", r#"{"id": 3, "carrier": "UA", "plane": 1, "by": 0}"#);
    assert_eq!(of(&db, "UA"), "4");
    let failures = db.schemas().transform_failures(&name("Carrier"), &field("total"), 9).unwrap();
    assert_eq!(failures.len(), 1);
    let (_, failure) = &failures[0];
    assert_eq!((failure.code.as_str(), failure.count), ("aggregate_failed", 2));
    assert!(failure.message.contains("2 of the records of `Flight`"), "{}", failure.message);
    check_sound(&db);
    write(&db, "update", "Flight", r#"{"id": 2, "plane": 7}"#);
    delete(&db, "Flight", "3");
    assert_eq!(of(&db, "UA"), "11");
    let failures = db.schemas().transform_failures(&name("Carrier"), &field("total"), 9).unwrap();
    assert!(failures.is_empty());
    check_sound(&db);
}

#[test]
fn what_an_aggregate_cannot_be_is_said_at_its_place() {
    let db = memory();
    approve(&db, FLIGHT);
    let refused = |aggregate: &str, filter: &str| {
        let text = carrier(&[("x1", aggregate, filter)]);
        db.schemas().load_text(&text, None).unwrap();
        let error = db.schemas().approve_schema(&name("Carrier")).unwrap_err().to_string();
        db.pool().schemas().delete(&name("Carrier")).unwrap();
        error
    };
    for (aggregate, filter, told) in [
        ("sum(delays)", "", "its input `x`, aggregate: "),
        ("sum(delays)", "", "delays"),
        ("sum(carrier)", "", "`sum` is of numbers, and this is text"),
        ("min([delay])", "", "`min` needs an order"),
        ("count()", "delay +", "its input `x`, where: "),
        ("count()", "code == 'UA'", "code"),
    ] {
        let error = refused(aggregate, filter);
        assert!(error.contains(told), "{aggregate}, {filter}: {error}");
    }
    let load = |inputs: &str| {
        let text = format!(
            r#"{{"name": "T", "key": ["code"], "fields": {{
                "code": {{"value": {{"type": "string"}}}},
                "n": {{"transform": {{"inputs": {inputs}, "logic": "n + 1"}}}}}}}}"#
        );
        let loaded = db.schemas().load_text(&text, None);
        match loaded {
            Err(error) => error.to_string(),
            Ok(_) => {
                let error = db.schemas().approve_schema(&name("T")).unwrap_err().to_string();
                db.pool().schemas().delete(&name("T")).unwrap();
                error
            }
        }
    };
    for (inputs, told) in [
        (r#"{"x": {"of": "Flight"}}"#, "x.aggregate: is missing"),
        (r#"{"x": {"aggregate": "count()"}}"#, "x.of: is missing"),
        (r#"{"x": {"aggregate": "median(a)", "of": "Flight"}}"#, "`median` is none of count"),
        (r#"{"x": {"aggregate": "count()", "of": "Flight"}}"#, "one for each part of the own key"),
        (r#"{"x": {"aggregate": "count()", "of": "No", "by": ["a"]}}"#, "no schema `No`"),
        (r#"{"x": {"aggregate": "count()", "of": "Flight", "by": ["id"]}}"#, "`id` is integer"),
        (r#"{"n": {"aggregate": "count()", "of": "Flight", "by": ["carrier"]}}"#, "is a field of"),
        (r#"{"x": {"aggregate": "sum(n)", "of": "T", "by": ["code"]}}"#, "computed from itself"),
    ] {
        let error = load(inputs);
        assert!(error.contains(told), "{inputs}: {error}");
    }
}
