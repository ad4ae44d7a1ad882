//! Wrong inputs: each gets a message that names the place and the rule, the right exit code and
//! what to do next, and changes nothing.

mod arguments;
mod keys;
mod mutations;
mod operations;
mod queries;
mod rows;
mod schemas;

use std::fmt::Write;

use crate::{Answer, Folder};

/// A wrong input and what its message must say.
struct Wrong {
    /// The arguments, the content of the file, or the line.
    input: &'static str,
    /// The exit code.
    code: i32,
    /// What names the place: a member, a line, an option, a field.
    place: &'static str,
    /// What names the rule that is broken.
    rule: &'static str,
}

const fn wrong(code: i32, input: &'static str, place: &'static str, rule: &'static str) -> Wrong {
    Wrong { input, code, place, rule }
}

/// A schema with a field for each rule.
const TYPED: &str = r#"{"name": "Typed", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "text": {"value": {"type": "string", "maxLength": 3}},
    "number": {"value": {"type": "number", "minimum": 0}}, "flag": {"value": {"type": "boolean"}},
    "time": {"value": {"type": ["string", "null"], "format": "date-time"}},
    "list": {"value": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
    "tag": {"value": {"enum": ["a", "b", null]}}, "computed": {"writable": false}, "any": {}}}"#;
const PAIR: &str = r#"{"name": "Pair", "key": ["a", "b"], "fields": {
    "a": {"value": {"type": "string"}}, "b": {"value": {"type": "integer"}}, "c": {}}}"#;
const NOTE: &str = r#"{"name": "Note", "fields": {"text": {"value": {"type": "string"}}}}"#;
const SHELF: &str = r#"{"name": "Shelf", "fields": {"title": {},
    "tags": {"field_type": "Collection"},
    "stock": {"field_type": "Range", "value": {"type": "integer", "minimum": 0}}}}"#;
const WAITING: &str = r#"{"name": "Waiting", "key": ["id"], "fields": {"id": {}}}"#;

/// A store with schemas and records, and what it holds.
struct Store {
    folder: Folder,
    before: String,
    problems: String,
    count: usize,
}

impl Store {
    fn new() -> Self {
        let folder = Folder::with_cities();
        for (name, schema) in [("t", TYPED), ("p", PAIR), ("n", NOTE), ("w", WAITING), ("s", SHELF)]
        {
            folder.write(&format!("{name}.json"), schema);
        }
        folder.run(["schema", "load", "t.json", "p.json", "n.json", "w.json", "s.json"]).done();
        folder.run(["schema", "approve", "Typed", "Pair", "Note", "Shelf"]).done();
        let typed =
            r#"{"mutation": "create", "schema": "Typed", "records": [{"id": 1, "any": 1}]}"#;
        let note = r#"{"mutation": "create", "schema": "Note", "records": [{"text": "hello"}]}"#;
        let shelf =
            r#"{"mutation": "create", "schema": "Shelf", "records": [{"stock": {"a": 1}}]}"#;
        folder.pipe(["mutate", "-"], format!("{typed}\n{note}\n{shelf}\n")).done();
        let before = holds(&folder);
        Self { folder, before, problems: String::new(), count: 0 }
    }

    /// Notes what is not as it should be.
    fn check(&mut self, wrong: &Wrong, answer: &Answer) {
        self.count += 1;
        let Answer { err, code, .. } = answer;
        let told = err.contains("hint: ") || err.contains("try '--help'");
        let Some((_, error)) = err.split_once("error: ") else {
            let _ = writeln!(self.problems, "{}: no error: {answer:?}", wrong.input);
            return;
        };
        // What to do is no part of what is wrong.
        let said = err.lines().filter(|line| !line.starts_with("hint: "));
        let said = said.collect::<Vec<_>>().join("\n");
        let names = |part: &str| said.contains(part);
        let is_only_invalid = error.split_whitespace().count() < 4;
        if *code != wrong.code
            || !names(wrong.place)
            || !names(wrong.rule)
            || !told
            || is_only_invalid
        {
            let Wrong { input, code: expected, place, rule } = wrong;
            let _ = writeln!(
                self.problems,
                "{input}\n    exit code {code}, expected {expected}; `{place}`; `{rule}`\n    {}",
                err.trim_end().replace('\n', "\n    ")
            );
        }
    }

    /// Everything was as it should be, and nothing has changed.
    fn done(self, count: usize) {
        assert!(self.problems.is_empty(), "\n{}", self.problems);
        assert_eq!(self.count, count);
        assert_eq!(holds(&self.folder), self.before);
        let sound = self.folder.run(["verify", "--format", "json"]).json();
        assert_eq!(sound["sound"], true);
    }
}

/// Everything that a store shows: records, histories of what there is, states, and the commit.
fn holds(folder: &Folder) -> String {
    let mut all = String::new();
    for args in [
        &["query", "City"][..],
        &["query", "Typed"],
        &["query", "Pair"],
        &["query", "Note"],
        &["query", "Shelf"],
        &["history", "Shelf", "[]"],
        &["history", "City", "Ulm"],
        &["history", "Note", "[]"],
        &["schema", "status"],
    ] {
        all += &folder.run([args, &["--format", "json"]].concat()).done();
    }
    let stats = folder.run(["stats", "--format", "json"]).json();
    assert!(stats["commit"].as_u64().unwrap() > 0);
    all + &format!("{} {} {}", stats["commit"], stats["records"], stats["atoms"])
}

/// There are this many in all.
#[test]
fn there_are_200_of_them() {
    let counts = [
        arguments::WRONG.len(),
        arguments::URLS.len(),
        keys::WRONG.len(),
        mutations::WRONG.len(),
        operations::WRONG.len(),
        queries::WRONG.len(),
        rows::CSV.len(),
        rows::NDJSON.len(),
        rows::FILES.len(),
        schemas::WRONG.len(),
    ];
    let count: usize = counts.iter().sum();
    assert!(count >= 200, "{count}: {counts:?}");
}

/// A message that says too little is noticed, and so is a wrong exit code.
#[test]
fn canary_messages() {
    let mut store =
        Store { folder: Folder::empty(), before: String::new(), problems: String::new(), count: 0 };
    let case = wrong(5, "x", "place", "rule");
    let answer = |code, err: &str| Answer { out: String::new(), err: err.to_owned(), code };
    store.check(&case, &answer(5, "error: at the place a rule is broken\nhint: mend it\n"));
    assert_eq!(store.problems, "");
    for (code, err) in [
        (5, "error: invalid\nhint: place rule\n"),
        (5, "error: at the place a rule is broken\n"),
        (4, "error: at the place a rule is broken\nhint: mend it\n"),
        (5, "error: at the place it is broken\nhint: mend it\n"),
        (5, "place rule hint: \n"),
    ] {
        store.problems.clear();
        store.check(&case, &answer(code, err));
        assert_ne!(store.problems, "", "{err}");
    }
}
