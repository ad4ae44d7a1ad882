//! Queries with conditions, computed columns, sorts and groups.

use datafold::engine::QueryError;
use datafold::model::Value;
use datafold::{FoldDb, FoldDbError, MutationRequest, QueryRequest};

const PLANES: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "seats": {"value": {"type": "integer"}}}}"#;

const FLIGHTS: &str = r#"{"name": "Flight", "key": ["carrier", "flight"], "fields": {
    "carrier": {"value": {"type": "string"}},
    "flight": {"value": {"type": "integer"}},
    "dest": {"value": {"type": "string"}},
    "tailnum": {"value": {"type": "string"}},
    "distance": {"value": {"type": "number"}},
    "delay": {"value": {"type": ["number", "null"]}},
    "departure": {"value": {"type": "string", "format": "date-time"}},
    "tags": {"field_type": "Collection"}},
    "indexes": [{"fields": ["dest"]}, {"fields": ["carrier", "distance"]}]}"#;

const LIMITS: &str = r#"{"name": "Limits", "fields": {"far": {"value": {"type": "number"}}}}"#;

fn db() -> FoldDb {
    let db = FoldDb::open("memory:").unwrap();
    for text in [PLANES, FLIGHTS, LIMITS] {
        let name = db.schemas().load_text(text, None).unwrap().name;
        db.schemas().approve_schema(&name).unwrap();
    }
    let mutate = |text: &str| db.mutate(&MutationRequest::parse(text).unwrap()).unwrap();
    mutate(
        r#"{"mutation": "create", "schema": "Plane", "records": [
            {"tailnum": "N1", "seats": 149}, {"tailnum": "N2", "seats": 20}]}"#,
    );
    mutate(r#"{"mutation": "update", "schema": "Limits", "records": [{"far": 1000}]}"#);
    mutate(
        r#"{"mutation": "create", "schema": "Flight", "records": [
            {"carrier": "UA", "flight": 1, "dest": "IAH", "tailnum": "N1", "distance": 1400,
             "delay": 5, "departure": "2013-01-01T10:00:00Z", "tags": {"x": 1}},
            {"carrier": "UA", "flight": 2, "dest": "BOS", "tailnum": "N2", "distance": 200,
             "departure": "2013-01-02T10:00:00Z"},
            {"carrier": "AA", "flight": 1, "dest": "MIA", "tailnum": "N3", "distance": 1089.5,
             "delay": -3, "departure": "2013-01-03T10:00:00Z"},
            {"carrier": "AA", "flight": 7, "dest": "IAH", "distance": 1400, "delay": 11,
             "departure": "2013-01-04T10:00:00Z"}]}"#,
    );
    let flights = datafold::model::SchemaName::parse("Flight").unwrap();
    db.schemas().wait_for_indexes(&flights).unwrap();
    db
}

/// The records as JSON, one a line.
fn answers(db: &FoldDb, request: &str) -> Vec<String> {
    let answer = db.query(&QueryRequest::parse(request).unwrap()).unwrap();
    let record = |record: &datafold::engine::Record| {
        let values = record.values.iter().map(Value::to_json);
        values.collect::<Vec<_>>().join(" ")
    };
    answer.records.iter().map(record).collect()
}

fn steps(db: &FoldDb, request: &str) -> String {
    db.explain(&QueryRequest::parse(request).unwrap()).unwrap().to_string()
}

#[test]
fn conditions_select_records() {
    let db = db();
    for (filter, expected) in [
        ("distance > 1000", vec!["AA 1", "AA 7", "UA 1"]),
        ("distance > $min && delay >= 0", vec!["AA 7", "UA 1"]),
        ("delay == null", vec!["UA 2"]),
        ("carrier == 'UA'", vec!["UA 1", "UA 2"]),
        ("carrier == 'UA' && flight >= 2", vec!["UA 2"]),
        ("carrier in ['AA', 'UA'] && flight == 1", vec!["AA 1", "UA 1"]),
        ("dest == 'IAH'", vec!["AA 7", "UA 1"]),
        ("starts_with(dest, 'I') || dest == 'MIA'", vec!["AA 1", "AA 7", "UA 1"]),
        ("Plane[tailnum].seats > 100", vec!["UA 1"]),
        ("distance > Limits.far", vec!["AA 1", "AA 7", "UA 1"]),
        ("departure < '2013-01-02T12:00:00Z'", vec!["UA 1", "UA 2"]),
        ("exists(tags.x)", vec!["UA 1"]),
        ("any(tags, tag => tag == 1)", vec!["UA 1"]),
        ("false", vec![]),
        ("carrier == 'XX'", vec![]),
        ("carrier == 'UA' && carrier == 'AA'", vec![]),
    ] {
        let request = format!(
            r#"{{"schema": "Flight", "select": ["carrier", "flight"], "where": {},
                "parameters": {{"min": 1000}}}}"#,
            Value::from(filter).to_json()
        );
        let expected: Vec<_> =
            expected.iter().map(|key| format!("\"{}\" {}", &key[..2], &key[3..])).collect();
        assert_eq!(answers(&db, &request), expected, "{filter}");
    }
}

#[test]
fn a_condition_holds_also_within_a_key_range() {
    let db = db();
    for (key, expected) in [
        (r#"{"prefix": ["AA"]}"#, vec!["1"]),
        (r#"{"from": ["AA", 2], "to": ["UA", 2]}"#, vec!["1"]),
        (r#"{"exact": ["UA", 2]}"#, vec![]),
        (r#"{"exact": ["UA", 1]}"#, vec!["1"]),
    ] {
        for filter in ["flight % 4 == 1", "flight == 1"] {
            let request = format!(
                r#"{{"schema": "Flight", "select": ["flight"], "key": {key},
                    "where": "{filter}"}}"#
            );
            assert_eq!(answers(&db, &request), expected, "{request}");
        }
    }
}

#[test]
fn columns_are_computed_and_answers_sorted() {
    let db = db();
    let sorted = |sort: &str| {
        let select = r#""select": ["flight", "d = distance * 2"]"#;
        answers(&db, &format!(r#"{{"schema": "Flight", {select}, "sort": {sort}}}"#))
    };
    assert_eq!(sorted("[]"), ["1 2179", "7 2800", "1 2800", "2 400"]);
    assert_eq!(sorted(r#"["d"]"#), ["2 400", "1 2179", "7 2800", "1 2800"]);
    assert_eq!(sorted(r#"["d desc"]"#), ["1 2800", "7 2800", "1 2179", "2 400"]);
    assert_eq!(sorted(r#"["delay"]"#), ["2 400", "1 2179", "1 2800", "7 2800"]);
    assert_eq!(sorted(r#"["delay nulls last"]"#), ["1 2179", "1 2800", "7 2800", "2 400"]);
    assert_eq!(
        sorted(r#"["carrier desc", "flight desc"]"#),
        ["2 400", "1 2800", "7 2800", "1 2179"]
    );
    assert_eq!(sorted(r#"["carrier desc", "flight"]"#), ["1 2800", "2 400", "1 2179", "7 2800"]);
}

#[test]
fn groups_are_counted_and_filtered() {
    let db = db();
    let found = answers(
        &db,
        r#"{"schema": "Flight", "group_by": ["carrier"],
            "aggregates": ["n = count()", "d = sum(distance)", "late = count(delay)",
                           "worst = max(delay)",
                           "dests = count_distinct(dest)", "mean = avg(delay)"]}"#,
    );
    assert_eq!(found, [r#""AA" 2 2489.5 2 11 2 4"#, r#""UA" 2 1600 1 5 2 5"#]);
    let found = answers(
        &db,
        r#"{"schema": "Flight", "group_by": ["far = distance > 1000"],
            "aggregates": ["n = count()"],
            "having": "n > 1", "select": ["double = n * 2"]}"#,
    );
    assert_eq!(found, ["6"]);
    let all = r#"{"schema": "Flight", "aggregates": ["n = count()"]}"#;
    assert_eq!(answers(&db, all), ["4"]);
    assert!(steps(&db, all).contains("counter"), "{}", steps(&db, all));
    let none = r#"{"schema": "Flight", "where": "false",
        "aggregates": ["n = count()", "s = sum(delay)", "m = min(delay)"]}"#;
    assert_eq!(answers(&db, none), ["0 0 null"]);
    let distinct = r#"{"schema": "Flight", "select": ["dest"], "distinct": true}"#;
    assert_eq!(answers(&db, distinct), [r#""BOS""#, r#""IAH""#, r#""MIA""#]);
}

#[test]
fn keys_and_indexes_are_used() {
    let db = db();
    let explain = |rest: &str| steps(&db, &format!(r#"{{"schema": "Flight", {rest}}}"#));
    for (request, words) in [
        (r#""where": "dest == 'IAH'""#, "the index on dest: dest == \"IAH\""),
        (
            r#""where": "carrier == 'UA' && flight == 1""#,
            "the key: carrier == \"UA\" and flight == 1",
        ),
        (r#""where": "carrier == 'UA' && distance > 1000""#, "the index on carrier, distance"),
        (r#""where": "flight == 1""#, "all records"),
        (r#""where": "dest == 'IAH'", "as_of": "3""#, "all records"),
        (r#""where": "dest == 'IAH'", "aggregates": ["n = count()"]"#, "count the entries"),
        (r#""sort": ["dest"], "limit": 2"#, "the index on dest, in its order"),
        (
            r#""where": "carrier == 'UA'", "sort": ["distance desc"], "limit": 2"#,
            "in its order: carrier",
        ),
        (r#""sort": ["carrier desc"], "limit": 2"#, "all records"),
    ] {
        assert!(explain(request).contains(words), "{request}\n{}", explain(request));
    }
    let first = |rest: &str| {
        answers(&db, &format!(r#"{{"schema": "Flight", "select": ["dest", "flight"], {rest}}}"#))
    };
    assert_eq!(
        first(r#""sort": ["dest"], "limit": 3"#),
        [r#""BOS" 2"#, r#""IAH" 7"#, r#""IAH" 1"#]
    );
    assert_eq!(
        first(r#""sort": ["dest desc"], "limit": 3"#),
        [r#""MIA" 1"#, r#""IAH" 1"#, r#""IAH" 7"#]
    );
}

#[test]
fn pages_follow_each_other_in_any_order() {
    let db = db();
    for rest in [
        r#""sort": []"#,
        r#""sort": ["distance desc", "dest"]"#,
        r#""sort": ["dest"]"#,
        r#""sort": ["carrier desc"]"#,
        r#""group_by": ["dest"], "aggregates": ["n = count()"], "sort": ["n desc"]"#,
    ] {
        let all = answers(&db, &format!(r#"{{"schema": "Flight", {rest}}}"#));
        let mut request =
            QueryRequest::parse(&format!(r#"{{"schema": "Flight", {rest}, "limit": 1}}"#)).unwrap();
        let mut found = Vec::new();
        loop {
            let answer = db.query(&request).unwrap();
            for record in &answer.records {
                let values = record.values.iter().map(Value::to_json);
                found.push(values.collect::<Vec<_>>().join(" "));
            }
            request.cursor = answer.cursor;
            if request.cursor.is_none() {
                break;
            }
            // What happens meanwhile is not seen.
            db.mutate(
                &MutationRequest::parse(
                    r#"{"mutation": "update", "schema": "Flight",
                        "records": [
                            {"carrier": "AA", "flight": 1, "distance": 1, "dest": "ZZZ"}]}"#,
                )
                .unwrap(),
            )
            .unwrap();
        }
        assert_eq!(found, all, "{rest}");
        db.mutate(
            &MutationRequest::parse(
                r#"{"mutation": "update", "schema": "Flight",
                    "records": [
                        {"carrier": "AA", "flight": 1, "distance": 1089.5, "dest": "MIA"}]}"#,
            )
            .unwrap(),
        )
        .unwrap();
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let db = db();
    for (rest, code, words) in [
        (r#""where": "distnace > 1""#, "unknown_name", "where: line 1, column 1"),
        (r#""where": "distance > 'x'""#, "type_clash", "where"),
        (r#""where": "distance""#, "type_clash", "a condition is a bool"),
        (r#""where": "distance > $max""#, "unknown_name", "where"),
        (r#""select": ["x = upper(distance)"]"#, "type_clash", "select[0]"),
        (r#""select": ["distanc"]"#, "unknown_field", "distance"),
        (r#""select": ["distance / 2"]"#, "invalid_clause", "select[0]"),
        (r#""sort": ["distance", "carier"]"#, "unknown_name", "sort[1]"),
        (r#""aggregates": ["count()"]"#, "invalid_clause", "aggregates[0]"),
        (r#""aggregates": ["n = sum(dest)"]"#, "invalid_clause", "aggregates[0]: is of numbers"),
        (r#""group_by": ["dest"], "select": ["carrier"]"#, "unknown_name", "select[0]"),
        (
            r#""group_by": ["dest"], "aggregates": ["dest = count()"]"#,
            "invalid_clause",
            "two columns",
        ),
        (r#""where": "1 / (flight - 1) > 0""#, "division_by_zero", "of record [\"AA\",1]"),
        (r#""having": "true""#, "invalid_clause", "having"),
    ] {
        let request = QueryRequest::parse(&format!(r#"{{"schema": "Flight", {rest}}}"#)).unwrap();
        let FoldDbError::Query(error) = db.query(&request).unwrap_err() else { panic!("{rest}") };
        assert_eq!(QueryError::code(&error), code, "{rest}: {error}");
        assert!(error.to_string().contains(words), "{rest}: {error}");
    }
}

#[test]
fn what_a_query_keeps_has_a_bound_and_what_it_lets_go_does_not_count() {
    let db = FoldDb::open("memory:").unwrap();
    let schema = r#"{"name": "Item", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}}, "text": {"value": {"type": "string"}}}}"#;
    let name = db.schemas().load_text(schema, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    let record = |id: usize| format!(r#"{{"id": {id}, "text": "{:03}"}}"#, 999 - id);
    let records = (0..120).map(record).collect::<Vec<_>>().join(",");
    let create = format!(r#"{{"mutation": "create", "schema": "Item", "records": [{records}]}}"#);
    db.mutate(&MutationRequest::parse(&create).unwrap()).unwrap();
    let ask = |rest: &str| {
        let request = format!(r#"{{"schema": "Item", {rest}}}"#);
        let answer = db.query(&QueryRequest::parse(&request).unwrap());
        answer.map(|answer| answer.records.len()).map_err(|error| error.code())
    };
    // 750,000 bytes for each of the 120 records; each next one sorts before all others.
    let long = "repeat(text, 250000)";
    let short = "repeat(text, id < 60 ? 1 : 250000)";
    for (rest, expected) in [
        (format!(r#""sort": ["{long}"]"#), Err("query_too_large")),
        (format!(r#""sort": ["{long}"], "limit": 5"#), Ok(5)),
        (format!(r#""sort": ["{long}"], "limit": 100"#), Err("query_too_large")),
        (format!(r#""sort": ["{short}"]"#), Ok(120)),
        // Long ones take the places of short ones, and of long ones.
        (format!(r#""sort": ["{short}"], "limit": 50"#), Ok(50)),
        (
            r#""sort": ["repeat(text, id < 20 ? 1 : 250000)"], "limit": 95"#.to_owned(),
            Err("query_too_large"),
        ),
        (format!(r#""group_by": ["t = {long}"]"#), Err("query_too_large")),
        (format!(r#""group_by": ["t = id % 7"], "aggregates": ["m = min({long})"]"#), Ok(7)),
        (
            format!(r#""group_by": ["id"], "aggregates": ["m = max({long})"]"#),
            Err("query_too_large"),
        ),
        (format!(r#""aggregates": ["n = count_distinct({long})"]"#), Err("query_too_large")),
        // A null of an array is one byte of a key, and a whole value in memory.
        (
            r#""group_by": ["t = map(range(0, 20000 + id), n => null)"]"#.to_owned(),
            Err("query_too_large"),
        ),
    ] {
        assert_eq!(ask(&rest), expected, "{rest}");
    }
    // A sum grows with its first float.
    let sums = |of: &str| {
        let sums = (0..1_500).map(|at| format!(r#""s{at} = sum({of})""#)).collect::<Vec<_>>();
        ask(&format!(r#""group_by": ["id"], "aggregates": [{}]"#, sums.join(", ")))
    };
    assert_eq!(sums("id"), Ok(120));
    assert_eq!(sums("id + 0.5"), Err("query_too_large"));
}
