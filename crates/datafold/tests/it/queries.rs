//! Queries at their edges.

use datafold::FoldDb;
use datafold::QueryRequest;
use datafold::engine::KeyCondition;
use datafold::model::Value;

use crate::harness::{all, approve, describe, lines, memory, mutate, name, query};
use crate::stage::code;

const FLIGHT: &str = r#"{"name": "Flight", "key": ["carrier", "flight"], "fields": {
    "carrier": {"value": {"type": "string"}}, "flight": {"value": {"type": "number"}},
    "gate": {}}}"#;

fn flights() -> FoldDb {
    let db = memory();
    approve(&db, FLIGHT);
    let keys = [("A", "1"), ("A", "2.5"), ("A", "10"), ("A\\u0000", "1"), ("AB", "1"), ("B", "-3")];
    for (carrier, flight) in keys {
        let record = format!(r#"{{"carrier": "{carrier}", "flight": {flight}}}"#);
        let request =
            format!(r#"{{"mutation": "create", "schema": "Flight", "records": [{record}]}}"#);
        mutate(&db, &request).unwrap();
    }
    db
}

fn keys(db: &FoldDb, condition: &str) -> Vec<String> {
    let request =
        format!(r#"{{"schema": "Flight", "select": ["carrier", "flight"], "key": {condition}}}"#);
    let answer = query(db, &request).unwrap_or_else(|error| panic!("{}", describe(&error)));
    lines(&answer).lines().map(str::to_owned).collect()
}

#[test]
fn keys_are_found_by_prefix_and_range() {
    let db = flights();
    for (condition, expected) in [
        (r#"{"prefix": ["A"]}"#, &[r#"["A",1]"#, r#"["A",2.5]"#, r#"["A",10]"#][..]),
        (r#"{"prefix": ["A\u0000"]}"#, &[r#"["A\u0000",1]"#]),
        (r#"{"prefix": "AB"}"#, &[r#"["AB",1]"#]),
        (r#"{"prefix": ["A", 2.5]}"#, &[r#"["A",2.5]"#]),
        (r#"{"prefix": ["A", 1.0]}"#, &[r#"["A",1]"#]),
        (r#"{"exact": ["B", -3.0]}"#, &[r#"["B",-3]"#]),
        (r#"{"from": ["A", 2], "to": ["A", 10]}"#, &[r#"["A",2.5]"#]),
        (r#"{"from": ["A", 10], "to": ["AB", 1]}"#, &[r#"["A",10]"#, r#"["A\u0000",1]"#]),
        (r#"{"to": ["A"]}"#, &[]),
        (r#"{"from": ["B"]}"#, &[r#"["B",-3]"#]),
        (r#"{"from": ["B"], "to": ["A"]}"#, &[]),
        (r#"{"exact": ["B", 3]}"#, &[]),
    ] {
        assert_eq!(keys(&db, condition), expected, "{condition}");
    }
    for wrong in [
        r#"{"exact": ["A"]}"#,
        r#"{"exact": ["A", "x"]}"#,
        r#"{"prefix": ["A", 1, 2]}"#,
        r#"{"prefix": [null]}"#,
        r#"{"from": [1]}"#,
        r#"{"exact": [["A"], 1]}"#,
    ] {
        let request = format!(r#"{{"schema": "Flight", "key": {wrong}}}"#);
        assert_eq!(code(query(&db, &request)), "invalid_key", "{wrong}");
    }
}

#[test]
fn pages_end_where_the_answer_does() {
    let db = flights();
    for limit in 1..=7 {
        let mut request = QueryRequest::new(name("Flight"));
        request.limit = Some(limit);
        let (mut pages, mut rows) = (0, String::new());
        loop {
            let answer = db.query(&request).unwrap();
            assert!(answer.records.len() <= limit);
            (pages, rows) = (pages + 1, rows + &lines(&answer));
            match answer.cursor {
                Some(cursor) => request.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!((rows, pages), (all(&db, "Flight"), 6_usize.div_ceil(limit)), "limit {limit}");
    }
}

#[test]
fn a_cursor_shows_its_moment_and_only_its_own_query() {
    let db = flights();
    let mut request = QueryRequest::new(name("Flight"));
    request.limit = Some(2);
    let cursor = db.query(&request).unwrap().cursor.unwrap();
    for write in [
        r#"{"mutation": "delete", "schema": "Flight", "keys": [["A", 10]]}"#,
        r#"{"mutation": "create", "schema": "Flight", "records": [{"carrier": "A", "flight": 7}]}"#,
        r#"{"mutation": "update", "schema": "Flight",
            "records": [{"carrier": "B", "flight": -3, "gate": 1}]}"#,
    ] {
        mutate(&db, write).unwrap();
    }
    let rest = QueryRequest { cursor: Some(cursor.clone()), limit: None, ..request.clone() };
    let expected = "[\"A\",10,null]\n[\"A\\u0000\",1,null]\n[\"AB\",1,null]\n[\"B\",-3,null]\n";
    assert_eq!(lines(&db.query(&rest).unwrap()), expected);
    for condition in [
        KeyCondition::Prefix(vec!["A".into()]),
        KeyCondition::Prefix(vec!["B".into()]),
        KeyCondition::Range { from: Some(vec!["AB".into()]), to: None },
        KeyCondition::Range { from: None, to: Some(vec!["A".into(), 2.into()]) },
        KeyCondition::Exact(vec!["B".into(), Value::Int(-3)]),
    ] {
        let other = QueryRequest { key: condition, ..rest.clone() };
        assert_eq!(code(db.query(&other)), "invalid_cursor", "{other:?}");
    }
    for wrong in ["", "-", "x-00", "1-0", "1-zz", "99999-40", "1-é0", &format!("{cursor}0")] {
        let wrong = QueryRequest { cursor: Some(wrong.to_owned()), ..request.clone() };
        assert_eq!(code(db.query(&wrong)), "invalid_cursor", "{wrong:?}");
    }
}

#[test]
fn the_record_without_key_is_always_one() {
    let db = memory();
    approve(&db, r#"{"name": "Settings", "fields": {"a": {"default": 1}, "b": {}}}"#);
    let ask = |key: &str| {
        lines(&query(&db, &format!(r#"{{"schema": "Settings", "key": {key}}}"#)).unwrap())
    };
    let conditions = ["{}", r#"{"exact": []}"#, r#"{"prefix": []}"#, r#"{"from": []}"#];
    let check = |expected: &str| {
        for condition in conditions {
            assert_eq!(ask(condition), expected, "{condition}");
        }
        assert_eq!(ask(r#"{"to": []}"#), "");
    };
    check("[null,null]\n");
    let write = r#"{"mutation": "update", "schema": "Settings", "records": [{"b": 2}]}"#;
    mutate(&db, write).unwrap();
    check("[1,2]\n");
    mutate(&db, r#"{"mutation": "delete", "schema": "Settings", "keys": [[]]}"#).unwrap();
    check("[null,null]\n");
    // Emptying it again is nothing.
    let again =
        mutate(&db, r#"{"mutation": "delete", "schema": "Settings", "keys": [[]]}"#).unwrap();
    assert_eq!((again.commit.0, again.atoms), (4, 0));
    let wrong = r#"{"schema": "Settings", "key": {"exact": ["a"]}}"#;
    assert_eq!(code(query(&db, wrong)), "invalid_key");
    assert_eq!(code(query(&db, &wrong.replace("exact", "prefix"))), "invalid_key");
}

#[test]
fn unchanged_since_guards_the_record_without_key() {
    let db = memory();
    approve(&db, r#"{"name": "Settings", "fields": {"a": {}}}"#);
    let write = |since: u64, a: u64| {
        let condition =
            format!(r#"{{"schema": "Settings", "key": [], "unchanged_since": {since}}}"#);
        let mutation =
            format!(r#"{{"mutation": "upsert", "schema": "Settings", "records": [{{"a": {a}}}]}}"#);
        mutate(&db, &format!(r#"{{"transaction": [{mutation}], "if": [{condition}]}}"#))
    };
    let first = write(0, 1).unwrap().commit.0;
    assert_eq!(code(write(first - 1, 2)), "precondition_failed");
    let second = write(first, 2).unwrap().commit.0;
    mutate(&db, r#"{"mutation": "delete", "schema": "Settings", "keys": [[]]}"#).unwrap();
    assert_eq!(code(write(second, 3)), "precondition_failed");
    write(second + 1, 3).unwrap();
}

#[test]
fn fields_are_answered_as_they_are_selected() {
    let db = flights();
    let select = |fields: &str| {
        let request = format!(
            r#"{{"schema": "Flight", "select": [{fields}], "key": {{"exact": ["A", 1]}}}}"#
        );
        query(&db, &request).map(|answer| lines(&answer))
    };
    assert_eq!(
        select(r#""flight", "gate", "flight", "carrier", "gate""#).unwrap(),
        "[1,null,1,\"A\",null]\n"
    );
    assert_eq!(select("").unwrap(), "[]\n");
    let error = select(r#""gat""#).unwrap_err();
    assert_eq!(error.code(), "unknown_field");
    assert!(error.to_string().ends_with("did you mean `gate`?"), "{error}");
}

#[test]
fn a_closed_space_answers_nothing_that_it_has_read_before() {
    let db = flights();
    let key = [Value::from("A"), Value::Int(1)];
    for _ in 0..2 {
        assert!(db.get(&name("Flight"), &key).unwrap().is_some());
    }
    db.pool().close().unwrap();
    let error = db.get(&name("Flight"), &key).unwrap_err();
    assert_eq!(error.code(), "store_closed", "{}", describe(&error));
}
