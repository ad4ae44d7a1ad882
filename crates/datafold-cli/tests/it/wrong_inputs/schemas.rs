//! Schema files.

use super::{Store, Wrong, wrong};

pub(super) const WRONG: &[Wrong] = &[
    wrong(5, "", "s.json", "found the end at line 1, column 1"),
    wrong(5, "{\"name\": ", "s.json", "found the end at line 1, column 10"),
    wrong(5, "[]", "schema", "expected an object, found array"),
    wrong(5, "{}", "schema, name", "is missing"),
    wrong(5, r#"{"name": "S"}"#, "S, fields", "is missing"),
    wrong(5, r#"{"name": 5, "fields": {}}"#, "schema, name", "expected"),
    wrong(5, r#"{"name": "", "fields": {}}"#, "schema, name", "empty"),
    wrong(5, r#"{"name": "a b", "fields": {}}"#, "a b, name", "at character 2"),
    wrong(
        5,
        r#"{"name": "let", "fields": {}}"#,
        "let, name",
        "is a keyword of the expression language",
    ),
    wrong(5, r#"{"name": "S", "fields": []}"#, "S, fields", "expected an object"),
    wrong(5, r#"{"name": "S", "fields": {"a-b": {}}}"#, "S.a-b", "at character 2"),
    wrong(5, r#"{"name": "S", "fields": {"a": 5}}"#, "S.a", "expected an object"),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"field_type": "Many"}}}"#,
        "S.a, field_type",
        "Single",
    ),
    wrong(5, r#"{"name": "S", "fields": {"a": {"value": 5}}}"#, "S.a, value", "expected"),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"value": {"type": "text"}}}}"#,
        "S.a, value",
        "/type",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"value": {"$dynamicRef": "x"}}}}"#,
        "S.a, value",
        "remote references",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"value": {"pattern": "("}}}}"#,
        "S.a, value",
        "pattern",
    ),
    wrong(
        5,
        r##"{"name": "S", "fields": {"a": {"value": {"$ref": "http://x"}}}}"##,
        "S.a, value",
        "remote references",
    ),
    wrong(
        5,
        r##"{"name": "S", "fields": {"a": {"value": {"$ref": "#/$defs/x"}}}}"##,
        "S.a, value",
        "leads to no place",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"value": {"type": "integer", "default": "x"}}}}"#,
        "S.a, default",
        "expected integer",
    ),
    wrong(5, r#"{"name": "S", "fields": {"a": {"writable": "no"}}}"#, "S.a, writable", "expected"),
    wrong(
        5,
        r#"{"name": "S",
            "fields": {"a": {"permission_policy": {"read_policy": {"Distance": -1}}}}}"#,
        "S.a, permission_policy",
        "expected",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"permission_policy": {"read_policy": "Nobody"}}}}"#,
        "S.a, permission_policy",
        "NoRequirement",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"payment_config": {"base_multiplier": 0}}}}"#,
        "S.a, payment_config.base_multiplier",
        "a number above 0",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"payment_config": {"min_payment": 0}}}}"#,
        "S.a, payment_config.min_payment",
        "0",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {}}, "payment_config": {"base_multiplier": -1}}"#,
        "S, payment_config.base_multiplier",
        "a number above 0",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"field_mappers": {"": "x"}}}}"#,
        "S.a, field_mappers",
        "empty",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"transform": {"logic": ""}}}}"#,
        "S.a, transform",
        "empty",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {"transform": {"logic": "1", "bogus": 1}}}}"#,
        "S.a, transform.bogus",
        "not a member",
    ),
    wrong(5, r#"{"name": "S", "key": ["b"], "fields": {"a": {}}}"#, "S, key", "`b`"),
    wrong(5, r#"{"name": "S", "key": ["a", "a"], "fields": {"a": {}}}"#, "S, key", "twice"),
    wrong(5, r#"{"name": "S", "key": "a", "fields": {"a": {}}}"#, "S, key", "expected"),
    wrong(
        5,
        r#"{"name": "S", "key": ["a"], "fields": {"a": {"field_type": "Range"}}}"#,
        "S, key",
        "Single",
    ),
    wrong(
        5,
        r#"{"name": "S", "fields": {"a": {}}, "indexes": [{"fields": ["b"]}]}"#,
        "S, indexes",
        "`b`",
    ),
    wrong(5, r#"{"name": "S", "fields": {"a": {}, "a": {}}}"#, "s.json", "twice"),
    wrong(4, r#"{"name": "City", "fields": {"a": {}}}"#, "schema `City`", "already exists"),
];

#[test]
fn schemas_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in WRONG {
        store.folder.write("s.json", case.input);
        let answer = store.folder.run(["schema", "load", "s.json"]);
        store.check(case, &answer);
    }
    store.done(WRONG.len());
}

#[test]
fn one_bad_file_stops_no_other_and_the_first_failure_is_the_exit_code() {
    let store = Store::new();
    std::fs::create_dir(store.folder.path("all")).unwrap();
    for (at, case) in WRONG.iter().enumerate() {
        store.folder.write(&format!("all/{at:02}.json"), case.input);
    }
    store.folder.write("all/zz.json", r#"{"name": "Last", "fields": {"a": {}}}"#);
    let answer = store.folder.run(["schema", "load", "all", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(report["loaded"], serde_json::json!(["Last"]));
    let failed = report["failed"].as_array().unwrap();
    let sources: Vec<_> = failed.iter().map(|failed| failed["source"].as_str().unwrap()).collect();
    assert_eq!(sources.len(), WRONG.len());
    assert!(sources.is_sorted(), "{sources:?}");
    let err = answer.failed(5);
    assert!(err.contains(&format!(
        "error: {} of {} files not loaded",
        WRONG.len(),
        WRONG.len() + 1
    )));
}
