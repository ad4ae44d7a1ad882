//! Queries in their JSON form.

use super::{Store, Wrong, wrong};

pub(super) const WRONG: &[Wrong] = &[
    wrong(5, "", "standard input: request", "line 1, column 1"),
    wrong(5, "[]", "request", "must be an object, not array"),
    wrong(5, "{}", "schema", "is missing"),
    wrong(5, r#"{"schema": "Ci ty"}"#, "schema", "at character 3"),
    wrong(3, r#"{"schema": "Town"}"#, "schema `Town`", "does not exist"),
    wrong(5, r#"{"schema": "City", "select": "name"}"#, "select", "must be an array, not text"),
    wrong(5, r#"{"schema": "City", "select": [1]}"#, "select[0]", "must be text"),
    wrong(5, r#"{"schema": "City", "select": ["nam"]}"#, "no field `nam`", "did you mean `name`?"),
    wrong(5, r#"{"schema": "City", "key": "Ulm"}"#, "key", "must be an object, not text"),
    wrong(5, r#"{"schema": "City", "key": {"exact": "a", "from": "b"}}"#, "key", "takes `exact`"),
    wrong(5, r#"{"schema": "City", "key": {"like": "a"}}"#, "key.like", "is not a member"),
    wrong(5, r#"{"schema": "City", "key": {"exact": 5}}"#, "the key of `City`", "expected text"),
    wrong(5, r#"{"schema": "City", "limit": 0}"#, "limit", "a positive integer"),
    wrong(5, r#"{"schema": "City", "limit": 1.5}"#, "limit", "a positive integer"),
    wrong(5, r#"{"schema": "City", "cursor": 5}"#, "cursor", "must be text"),
    wrong(5, r#"{"schema": "City", "cursor": "1-zz"}"#, "cursor", "this query has given"),
    wrong(5, r#"{"schema": "City", "as_of": -1}"#, "as_of", "a commit number"),
    wrong(5, r#"{"schema": "City", "as_of": "today"}"#, "as_of", "is not a moment"),
    wrong(5, r#"{"schema": "City", "filter": {}}"#, "filter", "is not a member"),
    wrong(5, "\u{feff}{}", "request", "line 1, column 1"),
];

#[test]
fn queries_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in WRONG {
        let answer = store.folder.pipe(["query", "--file", "-"], case.input);
        assert_eq!(answer.out, "", "{}", case.input);
        store.check(case, &answer);
    }
    let case = wrong(5, "no UTF-8", "standard input", "must be UTF-8");
    let answer = store.folder.pipe(["query", "--file", "-"], b"{\"schema\": \"\xff\"}");
    store.check(&case, &answer);
    store.done(WRONG.len() + 1);
}
