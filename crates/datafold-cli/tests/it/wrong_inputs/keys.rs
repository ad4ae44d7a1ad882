//! Keys.

use super::{Store, Wrong, wrong};

/// Arguments of which the last is the rest of the line.
pub(super) const WRONG: &[Wrong] = &[
    wrong(2, "query City --key [broken", "the KEY `[broken`", "found `b` at line 1, column 2"),
    wrong(2, "query City --prefix [\"U\" 1]", "the KEY `[\"U\" 1]`", "is no JSON: expected"),
    wrong(2, "query City --from {", "the KEY `{`", "is no JSON: expected"),
    wrong(2, "query City --to [1,", "the KEY `[1,`", "is no JSON: expected"),
    wrong(2, "query City --key {\"name\": 1}", "the KEY `{\"name\": 1}`", "is an object"),
    wrong(2, "history City {\"name\": 1}", "the KEY `{\"name\": 1}`", "is an object"),
    wrong(5, "query City --key [1, 2]", "the key of `City`", "has 1 part, found 2"),
    wrong(5, "query City --key []", "the key of `City`", "has 1 part, found 0"),
    wrong(5, "query City --key 5", "City.name", "expected text, found integer 5"),
    wrong(5, "query City --key [null]", "City.name", "null"),
    wrong(5, "query City --key [[1]]", "City.name", "expected text, found array"),
    wrong(5, "query City --prefix [\"a\", \"b\"]", "the key of `City`", "found 2"),
    wrong(5, "query Pair --key a", "the key of `Pair`", "has 2 parts, found 1"),
    wrong(5, "query Pair --key [\"a\", \"1\"]", "Pair.b", "expected integer, found text \"1\""),
    wrong(5, "query Pair --prefix [1]", "Pair.a", "expected text, found integer 1"),
    wrong(5, "query Pair --from [\"a\", 1.5]", "Pair.b", "expected integer, found number 1.5"),
    wrong(5, "query Pair --to [\"a\", 1, 2]", "the key of `Pair`", "found 3"),
    wrong(5, "query Note --key x", "the key of `Note`", "has 0 parts, found 1"),
    wrong(5, "history Typed x", "Typed.id", "expected integer, found text \"x\""),
    wrong(5, "history Pair a", "the key of `Pair`", "has 2 parts, found 1"),
    wrong(5, "query Typed --key 9223372036854775808", "Typed.id", "expected integer"),
];

#[test]
fn keys_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in WRONG {
        let mut args: Vec<_> = case.input.splitn(4, ' ').collect();
        if args[0] == "history" {
            args = case.input.splitn(3, ' ').collect();
        }
        let answer = store.folder.run(args);
        store.check(case, &answer);
    }
    let long = "x".repeat(481);
    let case = wrong(5, "a long key", "the key of `City`", "at most 480 are allowed");
    let answer = store.folder.run(["query", "City", "--key", &long]);
    store.check(&case, &answer);
    store.done(WRONG.len() + 1);
}
