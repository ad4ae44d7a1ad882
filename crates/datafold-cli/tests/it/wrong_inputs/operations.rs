//! Operations of `exec`.

use super::{Store, Wrong, wrong};

pub(super) const WRONG: &[Wrong] = &[
    wrong(5, "rubbish", "standard input: request", "line 1, column 1"),
    wrong(5, "5", "request", "must be an object"),
    wrong(5, "[1]", "operation 1: request", "must be an object"),
    wrong(5, "{}", "type", "is missing"),
    wrong(5, r#"{"type": "delete"}"#, "type", "must be query or mutation"),
    wrong(5, r#"{"type": "query", "schema": "Note"}"#, "fields", "is missing"),
    wrong(
        5,
        r#"{"type": "query", "schema": "Note", "fields": "text"}"#,
        "fields",
        "must be an array",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Note", "fields": ["txt"]}"#,
        "no field `txt`",
        "did you mean `text`?",
    ),
    wrong(
        3,
        r#"{"type": "query", "schema": "Nobody", "fields": []}"#,
        "schema `Nobody`",
        "does not exist",
    ),
    wrong(
        4,
        r#"{"type": "query", "schema": "Waiting", "fields": []}"#,
        "schema `Waiting`",
        "only approved",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "City", "fields": ["name"]}"#,
        "key",
        "have the key `name`",
    ),
    wrong(
        3,
        r#"{"type": "query", "schema": "City", "fields": ["name"], "key": "Rome"}"#,
        "record [\"Rome\"]",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Note", "fields": ["text"], "filter": {"gt": 1}}"#,
        "filter: ",
        "exactly one of `Key`",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Note", "fields": ["text"], "filter": {"Key": "k"}}"#,
        "filter",
        "a Range field",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Note", "fields": ["text"], "filter": {"field": "text",
            "operator": "eq", "value": 1}}"#,
        "filter.operator",
        "`range_filter`",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "data": {"text": "x"}}"#,
        "mutation_type",
        "is missing",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "operation": "create", "data": {"text": "x"}}"#,
        "operation",
        "`mutation_type`",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "drop",
            "data": {"text": "x"}}"#,
        "mutation_type",
        "must be create",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "create", "data": {}}"#,
        "data",
        "one field",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "create",
            "data": {"text": 1}}"#,
        "Note.text",
        "expected text",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "add_to_collection:",
            "data": {"text": 1}}"#,
        "mutation_type",
        "must not be empty",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "add_to_collection:7",
            "data": {"text": "x"}}"#,
        "data.text",
        "only Collection fields",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Note", "mutation_type": "update",
            "data": {"text": "x"}, "filter": {"a": 1}}"#,
        "filter",
        "not for mutations",
    ),
    wrong(
        3,
        r#"{"type": "mutation", "schema": "Typed", "mutation_type": "delete", "data": {"id": 1,
            "text": null}}"#,
        "the field `text`",
        "no value to delete",
    ),
    wrong(
        3,
        r#"{"type": "mutation", "schema": "Typed", "mutation_type": "delete", "data": {"id": 7}}"#,
        "record [7]",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Shelf", "mutation_type": "add_to_collection:x",
            "data": {"tags": "t", "stock": 1}}"#,
        "data.stock",
        "only Collection fields",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Shelf", "mutation_type": "delete",
            "data": {"tags": null}}"#,
        "data.tags",
        "delete_from_collection:ID",
    ),
    wrong(
        5,
        r#"{"type": "mutation", "schema": "Shelf", "mutation_type": "delete",
            "data": {"stock": "a"}}"#,
        "data.stock",
        "an array of the elements' keys",
    ),
    wrong(
        3,
        r#"{"type": "mutation", "schema": "Shelf", "mutation_type": "update_to_collection:x",
            "data": {"tags": "t"}}"#,
        "element \"x\" of Shelf.tags",
        "does not exist",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Shelf", "fields": ["tags"], "filter": {"Key": "a"}}"#,
        "filter",
        "a Range field",
    ),
    wrong(
        5,
        r#"{"type": "query", "schema": "Shelf", "fields": ["stock"], "filter": {"Key": 1}}"#,
        "filter.Key",
        "must be text",
    ),
];

#[test]
fn operations_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in WRONG {
        let answer = store.folder.pipe(["exec", "-"], case.input);
        store.check(case, &answer);
    }
    store.done(WRONG.len());
}
