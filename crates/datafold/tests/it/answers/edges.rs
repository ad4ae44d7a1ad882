//! Queries at their edges, each of them once answered wrongly.

use std::sync::Arc;

use datafold::clock::Clock;
use datafold::engine::QueryError;
use datafold::model::{Timestamp, Value};
use datafold::{FoldDb, FoldDbError, QueryRequest};
use datafold_store::MemoryStore;

use crate::harness::{approve, clock, fold_db, lines, memory, mutate, name, query};

const THING: &str = r#"{"name": "Thing", "key": ["id"], "fields": {
    "id": {"value": {"type": "string"}}, "n": {"value": {"type": "integer"}}, "any": {}},
    "indexes": [{"fields": ["any"]}, {"fields": ["n"]}]}"#;

fn things() -> FoldDb {
    let db = memory();
    fill(&db);
    db
}

fn fill(db: &FoldDb) {
    approve(db, THING);
    mutate(
        db,
        r#"{"mutation": "create", "schema": "Thing", "records": [
            {"id": "a", "n": 1, "any": "z"}, {"id": "a\u0000", "n": 1, "any": ["z"]},
            {"id": "a\u0000\u0000", "n": 1, "any": 5}, {"id": "b", "n": 2, "any": {"z": 1}}]}"#,
    )
    .unwrap();
    db.schemas().wait_for_indexes(&name("Thing")).unwrap();
}

fn answer(db: &FoldDb, rest: &str) -> String {
    let answer = query(db, &format!(r#"{{"schema": "Thing", {rest}}}"#)).unwrap();
    lines(&answer).replace('\n', " ")
}

fn problem(db: &FoldDb, request: &QueryRequest) -> (&'static str, String) {
    let FoldDbError::Query(error) = db.query(request).unwrap_err() else { panic!("{request:?}") };
    (QueryError::code(&error), error.to_string())
}

#[test]
fn a_condition_on_a_range_of_keys_is_tested() {
    let db = things();
    let found = answer(&db, r#""select": ["id"], "key": {"from": "a"}, "where": "n * 2 > 2""#);
    assert_eq!(found, r#"["b"] "#);
    let found =
        answer(&db, r#""key": {"from": "a"}, "where": "n * 2 > 2", "aggregates": ["n = count()"]"#);
    assert_eq!(found, "[1] ");
}

/// A page in the order of an index begins where the one before ended, without a look at what is
/// before; also among nulls, equal values and texts that an index has only the beginning of.
#[test]
fn a_page_in_the_order_of_an_index_begins_at_its_cursor() {
    let db = memory();
    approve(
        &db,
        r#"{"name": "Thing", "key": ["id"], "fields": {
            "id": {"value": {"type": "integer"}}, "kind": {"value": {"type": "integer"}},
            "n": {"value": {"type": ["integer", "null"]}},
            "text": {"value": {"type": ["string", "null"]}}},
            "indexes": [{"fields": ["kind", "n", "text"]}, {"fields": ["text"]}]}"#,
    );
    let records: Vec<String> = (0..300)
        .map(|id| {
            let n = if id % 11 == 0 { "null".into() } else { (id % 9 - 4).to_string() };
            let text = match id % 13 {
                0 => "null".to_owned(),
                1..=4 => format!("\"{}{}\"", "long ".repeat(51), id % 17),
                5 => format!("\"a\\u0000{}\"", id % 3),
                _ => format!("\"{}\"", id % 40),
            };
            format!(r#"{{"id": {id}, "kind": {}, "n": {n}, "text": {text}}}"#, id % 2)
        })
        .collect();
    let records = records.join(", ");
    let create = format!(r#"{{"mutation": "create", "schema": "Thing", "records": [{records}]}}"#);
    mutate(&db, &create).unwrap();
    db.schemas().wait_for_indexes(&name("Thing")).unwrap();
    for rest in [
        r#""sort": ["text"]"#,
        r#""sort": ["text desc"]"#,
        r#""where": "kind == 1", "sort": ["n", "text"]"#,
        r#""where": "kind == 1", "sort": ["n desc", "text desc"]"#,
    ] {
        let all = query(&db, &format!(r#"{{"schema": "Thing", {rest}}}"#)).unwrap().records;
        let page = format!(r#"{{"schema": "Thing", {rest}, "limit": 7}}"#);
        let mut request = QueryRequest::parse(&page).unwrap();
        let mut found = Vec::new();
        loop {
            let explain = db.explain(&request).unwrap();
            assert!(explain.to_string().contains("in its order"), "{explain}");
            // Texts that an index cannot tell apart are sorted: at most as many as there are.
            let read = explain.counts.entries_read.get();
            assert!(read <= 7 + 1 + 93, "{rest}: {read} entries behind {}", found.len());
            let answer = db.query(&request).unwrap();
            found.extend(answer.records);
            request.cursor = answer.cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{rest}");
    }
}

#[test]
fn keys_that_begin_with_each_other_descend() {
    let db = things();
    let keys = r#"["a\u0000\u0000"] ["a\u0000"] ["a"] ["b"] "#;
    // Sorted, and in the order of an index.
    for sort in [r#""sort": ["n + 0 desc"]"#, r#""sort": ["n desc"], "limit": 9"#] {
        let found = answer(&db, &format!(r#""select": ["id"], {sort}"#));
        assert_eq!(found, r#"["b"] ["a\u0000\u0000"] ["a\u0000"] ["a"] "#, "{sort}");
    }
    let found = answer(&db, r#""select": ["id"], "sort": ["n", "n - n desc"]"#);
    assert_eq!(found, keys);
    let groups = r#""group_by": ["id"], "aggregates": ["m = max(n)"], "select": ["id"],
                    "sort": ["m", "m - m desc"]"#;
    assert_eq!(answer(&db, groups), keys);
}

#[test]
fn arrays_in_an_index_are_no_texts() {
    let db = things();
    let plain = memory();
    approve(&plain, &THING.replace(r#"{"fields": ["any"]}, "#, ""));
    mutate(
        &plain,
        r#"{"mutation": "create", "schema": "Thing", "records": [
            {"id": "a", "any": "z"}, {"id": "b", "any": ["z"]}]}"#,
    )
    .unwrap();
    for db in [&db, &plain] {
        // A text does not compare with an array, be it found in an index or not.
        let request = r#"{"schema": "Thing", "where": "any >= 'a'"}"#;
        assert_eq!(problem(db, &QueryRequest::parse(request).unwrap()).0, "type_clash");
    }
}

#[test]
fn what_a_request_cannot_mean_is_refused() {
    let db = things();
    let mut request = QueryRequest::new(name("Thing"));
    request.limit = Some(0);
    assert_eq!(problem(&db, &request), ("invalid_clause", "limit: must be at least 1".into()));
    request.limit = None;
    request.filter = Some("n < $most".into());
    request.parameters.insert("most".into(), Value::Float(f64::NAN));
    assert_eq!(problem(&db, &request).0, "invalid_clause");
    for rest in [
        r#""select": ["x = n", "x = n + 1"]"#,
        r#""select": ["n", "n = 5"]"#,
        r#""aggregates": ["m = max(n)"], "select": ["x = m", "x = m + 1"]"#,
    ] {
        let request = QueryRequest::parse(&format!(r#"{{"schema": "Thing", {rest}}}"#)).unwrap();
        let (code, told) = problem(&db, &request);
        assert_eq!(code, "invalid_clause", "{rest}");
        assert!(told.contains("names two columns"), "{told}");
    }
}

#[test]
fn a_cursor_is_of_the_order_that_it_was_made_in() {
    let db = things();
    let request = |select: &str| {
        let text =
            format!(r#"{{"schema": "Thing", "select": {select}, "sort": ["x"], "limit": 2}}"#);
        QueryRequest::parse(&text).unwrap()
    };
    let first = db.query(&request(r#"["x = n"]"#)).unwrap();
    let go_on = |select: &str| QueryRequest { cursor: first.cursor.clone(), ..request(select) };
    let other = go_on(r#"["x = 0 - n"]"#);
    assert_eq!(problem(&db, &other).0, "invalid_cursor");
    // What is answered beside it may change.
    assert_eq!(lines(&db.query(&go_on(r#"["id", "x = n"]"#)).unwrap()).lines().count(), 2);
}

#[test]
fn pages_are_of_one_time() {
    let clock = clock();
    let db = fold_db(Arc::new(MemoryStore::new().unwrap()), Arc::clone(&clock) as Arc<dyn Clock>);
    fill(&db);
    for sort in ["", r#", "sort": ["n"]"#, r#", "sort": ["now()", "n + 0 desc"]"#] {
        let text = format!(r#"{{"schema": "Thing", "select": ["t = now()"], "limit": 2{sort}}}"#);
        let mut request = QueryRequest::parse(&text).unwrap();
        let first = db.query(&request).unwrap();
        clock.set(Timestamp::from_micros(clock.now().as_micros() + 1_000_000));
        request.cursor = first.cursor;
        let second = db.query(&request).unwrap();
        assert_eq!(second.records, first.records, "{sort}");
        assert_eq!(second.cursor, None);
        // Without the time it is no cursor of this query.
        let without =
            QueryRequest { select: Some(vec!["id".into()]), cursor: None, ..request.clone() };
        request.cursor = db.query(&without).unwrap().cursor;
        let is_other = !sort.contains("now");
        assert!(!is_other || db.query(&request).is_err(), "{sort}");
    }
}
