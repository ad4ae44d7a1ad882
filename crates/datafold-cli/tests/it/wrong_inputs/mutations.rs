//! Lines of `mutate`.

use super::{Store, Wrong, wrong};

pub(super) const WRONG: &[Wrong] = &[
    wrong(5, "rubbish", "line 1: request", "line 1, column 1"),
    wrong(5, "[]", "line 1: request", "must be an object, not array"),
    wrong(5, "5", "line 1: request", "must be an object, not integer"),
    wrong(5, "{}", "mutation", "is missing"),
    wrong(5, r#"{"mutation": 1}"#, "mutation", "must be text, not integer"),
    wrong(5, r#"{"mutation": "drop", "schema": "City"}"#, "mutation", "must be create"),
    wrong(5, r#"{"mutation": "create"}"#, "schema", "is missing"),
    wrong(5, r#"{"mutation": "create", "schema": 5, "records": []}"#, "schema", "must be text"),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "a b", "records": []}"#,
        "schema",
        "at character 2",
    ),
    wrong(
        3,
        r#"{"mutation": "create", "schema": "Town", "records": []}"#,
        "schema `Town`",
        "does not exist",
    ),
    wrong(
        4,
        r#"{"mutation": "create", "schema": "Waiting", "records": []}"#,
        "schema `Waiting`",
        "only approved",
    ),
    wrong(5, r#"{"mutation": "create", "schema": "City"}"#, "records", "is missing"),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": {}}"#,
        "records",
        "must be an array, not object",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [1]}"#,
        "records[0]",
        "must be an object, not integer",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [], "x": 1}"#,
        "x",
        "is not a member",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{}]}"#,
        "record number 1",
        "name",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X"}, {"name": null}]}"#,
        "record number 2",
        "name",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": 5}]}"#,
        "record number 1",
        "expected text",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X", "mayr": 1}]}"#,
        "record [\"X\"]: `City`",
        "did you mean `mayor`?",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X",
            "people": "many"}]}"#,
        "City.people",
        "expected integer, found text",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X", "people": 1.5}]}"#,
        "City.people",
        "found number 1.5",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X", "people": true}]}"#,
        "City.people",
        "found bool true",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X",
            "people": 9223372036854775808}]}"#,
        "line 1",
        "an integer must be from",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X", "people": 1e999}]}"#,
        "line 1",
        "number",
    ),
    wrong(
        4,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "Ulm"}]}"#,
        "record [\"Ulm\"] of `City`",
        "already exists",
    ),
    wrong(
        4,
        r#"{"mutation": "create", "schema": "City", "records": [{"name": "X"}, {"name": "X"}]}"#,
        "record [\"X\"] of `City`",
        "already exists",
    ),
    wrong(
        3,
        r#"{"mutation": "update", "schema": "City", "records": [{"name": "X"}]}"#,
        "record [\"X\"] of `City`",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "City", "keys": ["Ulm"]}"#,
        "records",
        "is missing",
    ),
    wrong(5, r#"{"mutation": "delete", "schema": "City"}"#, "keys", "is missing"),
    wrong(
        5,
        r#"{"mutation": "delete", "schema": "City", "keys": "Ulm"}"#,
        "keys",
        "must be an array, not text",
    ),
    wrong(
        5,
        r#"{"mutation": "delete", "schema": "City", "keys": ["Ulm"], "records": []}"#,
        "records",
        "is not a member",
    ),
    wrong(
        3,
        r#"{"mutation": "delete", "schema": "City", "keys": ["Rome"]}"#,
        "record [\"Rome\"] of `City`",
        "does not exist",
    ),
    wrong(
        3,
        r#"{"mutation": "delete", "schema": "City", "keys": ["Ulm", "Ulm"]}"#,
        "record [\"Ulm\"] of `City`",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"mutation": "delete", "schema": "City", "keys": [["Ulm", 1]]}"#,
        "record number 1 of `City`",
        "found 2",
    ),
    wrong(
        5,
        r#"{"mutation": "delete", "schema": "City", "keys": [7]}"#,
        "record number 1 of `City`",
        "expected text",
    ),
    wrong(
        5,
        r#"{"mutation": "create", "schema": "Typed", "records": [{"id": "2"}]}"#,
        "record number 1 of `Typed`",
        "expected integer, found text",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "text": "long"}]}"#,
        "Typed.text",
        "`maxLength`",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "number": -1}]}"#,
        "Typed.number",
        "`minimum`",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "flag": 0}]}"#,
        "Typed.flag",
        "expected bool, found integer 0",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "time": "today"}]}"#,
        "Typed.time",
        "expected time",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1,
            "time": "2013-02-30T00:00:00Z"}]}"#,
        "Typed.time",
        "expected time",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "list": [1, "2"]}]}"#,
        "at /1",
        "expected integer",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "list": [1, 2, 3]}]}"#,
        "Typed.list",
        "`maxItems`",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "tag": "c"}]}"#,
        "Typed.tag",
        "`enum`",
    ),
    wrong(
        4,
        r#"{"mutation": "update", "schema": "Typed", "records": [{"id": 1, "computed": 1}]}"#,
        "Typed.computed",
        "`writable: false`",
    ),
    wrong(
        5,
        r#"{"mutation": "update", "schema": "Note", "records": [{"text": 1}]}"#,
        "Note.text",
        "expected text",
    ),
    wrong(
        5,
        r#"{"mutation": "delete", "schema": "Note", "keys": ["x"]}"#,
        "record number 1 of `Note`",
        "found 1",
    ),
    wrong(5, r#"{"transaction": {}}"#, "transaction", "must be an array, not object"),
    wrong(5, r#"{"transaction": [{}]}"#, "transaction[0].mutation", "is missing"),
    wrong(
        5,
        r#"{"transaction": [{"mutation": "delete", "schema": "City"}]}"#,
        "transaction[0].keys",
        "is missing",
    ),
    wrong(5, r#"{"transaction": [], "iff": []}"#, "iff", "is not a member"),
    wrong(5, r#"{"transaction": [], "if": {}}"#, "if", "must be an array, not object"),
    wrong(
        5,
        r#"{"transaction": [], "if": [{"schema": "City", "key": "Ulm"}]}"#,
        "if[0]",
        "exactly one of",
    ),
    wrong(
        5,
        r#"{"transaction": [], "if": [{"schema": "City", "exists": true}]}"#,
        "if[0].key",
        "is missing",
    ),
    wrong(
        5,
        r#"{"transaction": [], "if": [{"schema": "City", "key": "Ulm", "unchanged_since": -1}]}"#,
        "if[0].unchanged_since",
        "a commit number",
    ),
    wrong(
        5,
        r#"{"transaction": [], "if": [{"schema": "City", "key": [1, 2], "exists": true}]}"#,
        "of a precondition",
        "found 2",
    ),
    wrong(
        4,
        r#"{"transaction": [], "if": [{"schema": "City", "key": "Ulm", "absent": true}]}"#,
        "record [\"Ulm\"] of `City`",
        "it does not exist",
    ),
    wrong(
        4,
        r#"{"transaction": [], "if": [{"schema": "City", "key": "Rome", "exists": true}]}"#,
        "record [\"Rome\"] of `City`",
        "it exists",
    ),
    wrong(
        4,
        r#"{"transaction": [], "if": [{"schema": "City", "key": "Ulm", "unchanged_since": 1}]}"#,
        "record [\"Ulm\"] of `City`",
        "unchanged since commit 1",
    ),
    wrong(
        3,
        r#"{"transaction": [{"mutation": "delete", "schema": "City", "keys": ["Ulm"]},
            {"mutation": "delete", "schema": "City", "keys": ["Rome"]}]}"#,
        "record [\"Rome\"] of `City`",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "field": "stock", "elements": {}}"#,
        "key",
        "is missing",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "elements": {}}"#,
        "field",
        "is missing",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock"}"#,
        "elements",
        "is missing",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock", "elements": [1]}"#,
        "elements",
        "an object of elements",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stok",
            "elements": {"a": 1}}"#,
        "no field `stok`",
        "did you mean `stock`?",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "title",
            "elements": {"a": 1}}"#,
        "Shelf.title",
        "has no elements",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock",
            "elements": {"b": -1}}"#,
        "Shelf.stock[\"b\"]",
        "`minimum`",
    ),
    wrong(
        5,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock",
            "elements": {"b": 1}, "if": "new"}"#,
        "if",
        "`absent` or `exists`",
    ),
    wrong(
        4,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock",
            "elements": {"a": 2}, "if": "absent"}"#,
        "element \"a\" of Shelf.stock",
        "already exists",
    ),
    wrong(
        3,
        r#"{"mutation": "put", "schema": "Shelf", "key": [], "field": "stock",
            "elements": {"b": 2}, "if": "exists"}"#,
        "element \"b\" of Shelf.stock",
        "does not exist",
    ),
    wrong(
        3,
        r#"{"mutation": "remove", "schema": "Shelf", "key": [], "field": "stock",
            "elements": ["a", "b"]}"#,
        "element \"b\" of Shelf.stock",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"mutation": "remove", "schema": "Shelf", "key": [], "field": "stock",
            "elements": [1]}"#,
        "elements[0]",
        "must be text",
    ),
    wrong(
        4,
        r#"{"mutation": "update", "schema": "Shelf", "records": [{"stock": null}]}"#,
        "Shelf.stock",
        "which this does not take away",
    ),
    wrong(
        4,
        r#"{"transaction": [], "if": [{"schema": "Shelf", "key": [], "field": "stock",
            "element": "a", "unchanged_since": 1}]}"#,
        "element \"a\" of Shelf.stock",
        "unchanged since commit 1",
    ),
];

#[test]
fn mutations_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in WRONG {
        let answer = store.folder.pipe(["mutate", "-"], one_line(case.input));
        // The answer on standard output says the same.
        let message = answer.json_lines()[0]["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.len() > "invalid".len(), "{message}");
        store.check(case, &answer);
    }
    store.done(WRONG.len());
}

/// The input, which is divided in this file because it is long, as one line.
fn one_line(input: &str) -> String {
    input.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
