//! Queries at their edges, each of them once answered wrongly.

use std::sync::Arc;

use datafold::clock::Clock;
use datafold::engine::QueryError;
use datafold::model::{FieldName, IndexDefinition, Timestamp, Value};
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
        // No limit is too large.
        request.limit = Some(usize::MAX);
        assert_eq!(db.query(&request).unwrap().records, all, "{rest}");
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

/// All pages of a request, and the longest cursor.
fn pages(db: &FoldDb, request: &str) -> (Vec<String>, usize) {
    let mut request = QueryRequest::parse(request).unwrap();
    let (mut found, mut longest) = (Vec::new(), 0);
    loop {
        let answer = db.query(&request).unwrap();
        found.extend(lines(&answer).lines().map(str::to_owned));
        let Some(cursor) = answer.cursor else { return (found, longest) };
        longest = longest.max(cursor.len());
        request.cursor = Some(cursor);
    }
}

const DOCUMENT: &str = r#"{"name": "Document", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "text": {"value": {"type": "string"}}}}"#;

/// Documents whose texts take more memory than a sort may, and cannot be told apart in an index.
fn documents(count: usize) -> FoldDb {
    let db = memory();
    approve(&db, DOCUMENT);
    let long = "a".repeat(1_000_000);
    for id in 0..count {
        let number = (id * 7) % count;
        let create = format!(
            r#"{{"mutation": "create", "schema": "Document",
                "records": [{{"id": {id}, "text": "{long}{number:04}"}}]}}"#
        );
        mutate(&db, &create).unwrap();
    }
    db
}

#[test]
fn an_index_that_cannot_tell_texts_apart_sorts_as_many_as_are_asked_for() {
    let db = documents(70);
    let request = r#"{"schema": "Document", "select": ["id"], "sort": ["text"], "limit": 3}"#;
    let plain = lines(&query(&db, request).unwrap());
    assert_eq!(plain, "[0]\n[10]\n[20]\n");
    let fields = vec![FieldName::parse("text").unwrap()];
    let definition = IndexDefinition { fields, unique: false };
    db.schemas().create_index(&name("Document"), &definition).unwrap();
    db.schemas().wait_for_indexes(&name("Document")).unwrap();
    let explain = db.explain(&QueryRequest::parse(request).unwrap()).unwrap().to_string();
    assert!(explain.contains("in its order"), "{explain}");
    assert_eq!(lines(&query(&db, request).unwrap()), plain);
}

#[test]
fn cursors_are_short_whatever_is_sorted_by() {
    let db = documents(9);
    for rest in [
        r#""sort": ["text desc"], "select": ["id"]"#,
        r#""group_by": ["text"], "aggregates": ["first = min(id)"], "select": ["first"]"#,
        r#""group_by": ["text"], "aggregates": ["first = min(id)"], "select": ["first"],
            "sort": ["text desc"]"#,
    ] {
        let all = lines(&query(&db, &format!(r#"{{"schema": "Document", {rest}}}"#)).unwrap());
        let (found, longest) =
            pages(&db, &format!(r#"{{"schema": "Document", {rest}, "limit": 2}}"#));
        assert_eq!(found.join("\n") + "\n", all, "{rest}");
        assert!(longest < 100, "{rest}: {longest}");
    }
}

#[test]
fn a_cursor_is_refused_by_every_other_query() {
    let db = things();
    approve(&db, &THING.replace("Thing", "Other"));
    let requests = [
        r#"{"schema": "Thing"}"#,
        r#"{"schema": "Other"}"#,
        r#"{"schema": "Thing", "sort": ["id desc"]}"#,
        r#"{"schema": "Thing", "sort": ["n"]}"#,
        r#"{"schema": "Thing", "where": "n > 0"}"#,
        r#"{"schema": "Thing", "where": "n >= 0"}"#,
        r#"{"schema": "Thing", "where": "n > 0 || now() == $t", "parameters": {"t": null}}"#,
        r#"{"schema": "Thing", "key": {"from": "a"}}"#,
        r#"{"schema": "Thing", "group_by": ["id"], "aggregates": ["c = count()"]}"#,
        r#"{"schema": "Thing", "select": ["id"], "distinct": true}"#,
    ];
    let mut limited = requests.map(|request| QueryRequest::parse(request).unwrap());
    limited.iter_mut().for_each(|request| request.limit = Some(1));
    for (at, from) in limited.iter().enumerate() {
        let Some(cursor) = db.query(from).unwrap().cursor else { continue };
        for (other, to) in limited.iter().enumerate() {
            let request = QueryRequest { cursor: Some(cursor.clone()), ..to.clone() };
            match at == other {
                true => assert!(db.query(&request).is_ok(), "{from:?}"),
                false => assert_eq!(problem(&db, &request).0, "invalid_cursor", "{from:?} {to:?}"),
            }
        }
    }
    let cursor = db.query(&limited[0]).unwrap().cursor;
    let mut request = QueryRequest { cursor, as_of: Some("1".into()), ..limited[0].clone() };
    assert_eq!(
        problem(&db, &request),
        ("invalid_clause", "as_of: is commit 1, but the cursor goes on at commit 5".into())
    );
    request.as_of = Some("5".into());
    assert_eq!(db.query(&request).unwrap().records.len(), 1);
    request.as_of = Some("nonsense".into());
    assert!(db.query(&request).is_err());
}

#[test]
fn durations_of_groups_are_durations() {
    let db = memory();
    approve(
        &db,
        r#"{"name": "Trip", "key": ["id"], "fields": {
            "id": {"value": {"type": "integer"}},
            "from": {"value": {"type": "string", "format": "date-time"}},
            "to": {"value": {"type": "string", "format": "date-time"}}}}"#,
    );
    mutate(
        &db,
        r#"{"mutation": "create", "schema": "Trip", "records": [
            {"id": 1, "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T10:00:00Z"},
            {"id": 2, "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T02:00:00Z"},
            {"id": 3, "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}]}"#,
    )
    .unwrap();
    let trips = |rest: &str| {
        lines(&query(&db, &format!(r#"{{"schema": "Trip", {rest}}}"#)).unwrap()).replace('\n', " ")
    };
    let by = r#""group_by": ["d = to - from"], "aggregates": ["n = count()"], "select": ["d"]"#;
    assert_eq!(trips(by), r#"["PT1H"] ["PT2H"] ["PT10H"] "#);
    let long = format!(r#"{by}, "having": "d > duration('1h')""#);
    assert_eq!(trips(&long), r#"["PT2H"] ["PT10H"] "#);
    let distinct = r#""select": ["d = to - from"], "distinct": true, "sort": ["d desc"]"#;
    assert_eq!(trips(distinct), r#"["PT10H"] ["PT2H"] ["PT1H"] "#);
    let most = r#""aggregates": ["m = max(to - from)"], "select": ["h = hours(m)"]"#;
    assert_eq!(trips(most), "[10] ");
}

#[test]
fn lists_are_searched_whatever_their_order_and_length() {
    let db = things();
    for list in ["[2, 1, \"z\", null]", "[3, 2, 1]", "[1.0, 2.0]"] {
        for filter in ["n in $l", "(n + 0) in $l"] {
            let rest = format!(
                r#""select": ["id"], "where": "{filter}", "parameters": {{"l": {list}}},
                    "as_of": "3""#
            );
            let all = r#"["a"] ["a\u0000"] ["a\u0000\u0000"] ["b"] "#;
            assert_eq!(answer(&db, &rest), all, "{filter} {list}");
        }
    }
    let keys: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\"")).collect();
    let request = format!(
        r#"{{"schema": "Thing", "where": "id in $l", "parameters": {{"l": ["b", {}]}}}}"#,
        keys.join(", ")
    );
    let explain = db.explain(&QueryRequest::parse(&request).unwrap()).unwrap();
    assert!(explain.to_string().contains("read the key"), "{explain}");
    assert_eq!(explain.counts.rows_returned.get(), 1);
}

#[test]
fn explain_tells_when_an_index_was_left() {
    let db = memory();
    let with_index = r#""indexes": [{"fields": ["text"]}], "fields": {"#;
    let indexed = DOCUMENT.replace(r#""fields": {"#, with_index);
    approve(&db, &indexed);
    for chunk in 0..4 {
        let record = |id: i64| format!(r#"{{"id": {id}, "text": "{}"}}"#, id % 2);
        let records: Vec<_> = (chunk * 600..chunk * 600 + 600).map(record).collect();
        let create = format!(
            r#"{{"mutation": "create", "schema": "Document", "records": [{}]}}"#,
            records.join(", ")
        );
        mutate(&db, &create).unwrap();
    }
    let request = QueryRequest::parse(
        r#"{"schema": "Document", "where": "text == '1'", "aggregates": ["m = max(id)"]}"#,
    );
    let explain = db.explain(&request.unwrap()).unwrap();
    assert_eq!(
        explain.steps[1..],
        [
            "that leads to too many: read all records instead",
            "keep those with text == '1'",
            "aggregate them"
        ]
    );
    assert_eq!(explain.counts.rows_read.get(), 2_400);
    // Pages by the key begin in the index where the one before ended.
    let page = r#"{"schema": "Document", "where": "text == '1'", "limit": 5}"#;
    let mut request = QueryRequest::parse(page).unwrap();
    for _ in 0..40 {
        request.cursor = db.query(&request).unwrap().cursor;
    }
    let explain = db.explain(&request).unwrap();
    // The entry at the cursor, and the one that tells that there are more.
    assert_eq!(explain.counts.entries_read.get(), 7, "{explain}");
    let first = db.query(&request).unwrap().records[0].values[0].clone();
    assert_eq!(first, Value::Int(401));
}

#[test]
fn a_schema_that_may_not_be_read_is_named_with_the_reason() {
    let db = things();
    approve(&db, r#"{"name": "Limits", "fields": {"most": {"value": {"type": "integer"}}}}"#);
    approve(&db, &THING.replace("Thing", "Other"));
    let found = |rest: &str| {
        let request = format!(r#"{{"schema": "Thing", {rest}}}"#);
        problem(&db, &QueryRequest::parse(&request).unwrap())
    };
    for rest in [r#""select": ["x = Other[id].n"]"#, r#""where": "Other[id].n > 1""#] {
        db.schemas().block_schema(&name("Other"), None).unwrap();
        let blocked = found(rest);
        assert_eq!(blocked.0, "schema_not_approved", "{rest}");
        assert!(blocked.1.contains("schema `Other` is Blocked"), "{blocked:?}");
        db.schemas().approve_schema(&name("Other")).unwrap();
        let early = found(&format!(r#"{rest}, "as_of": "3""#));
        assert_eq!(early.0, "schema_not_found", "{rest}");
    }
    db.schemas().unload_schema(&name("Limits")).unwrap();
    assert_eq!(found(r#""where": "n < Limits.most""#).0, "schema_not_approved");
    assert_eq!(found(r#""where": "n < Limit.most""#).0, "unknown_name");
}
