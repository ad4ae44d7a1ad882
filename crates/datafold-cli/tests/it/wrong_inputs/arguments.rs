//! Arguments and the URLs of stores.

use super::{Store, Wrong, wrong};

/// Arguments, divided by blanks.
pub(super) const WRONG: &[Wrong] = &[
    wrong(2, "bogus", "'bogus'", "unrecognized subcommand"),
    wrong(2, "qury City", "'qury'", "a similar subcommand exists: 'query'"),
    wrong(2, "schema lod x.json", "'lod'", "a similar subcommand exists: 'load'"),
    wrong(2, "schema load", "<PATH>", "required arguments were not provided"),
    wrong(2, "schema approve", "<NAME>", "required arguments were not provided"),
    wrong(2, "schema approve a-b", "'a-b' for '<NAME>...'", "`-` is not allowed at character 2"),
    wrong(2, "schema approve 1st", "'1st' for '<NAME>...'", "`1` is not allowed at character 1"),
    wrong(2, "schema show", "<NAME>", "required arguments were not provided"),
    wrong(2, "schema block City --reason", "--reason <TEXT>", "a value is required"),
    wrong(2, "schema delete City Pair", "'Pair'", "unexpected argument"),
    wrong(2, "query", "<SCHEMA>", "required arguments were not provided"),
    wrong(2, "query City Ulm", "'Ulm'", "unexpected argument"),
    wrong(2, "query City --limit 0", "--limit <N>", "a number from 1 on"),
    wrong(2, "query City --limit -1", "'-1'", "--help"),
    wrong(2, "query City --limit many", "--limit <N>", "a number from 1 on"),
    wrong(2, "query City --as-of yesterday", "--as-of <MOMENT>", "is not a moment"),
    wrong(2, "query City --as-of -2y", "--as-of <MOMENT>", "units w, d, h, m, s, ms"),
    wrong(2, "query City --as-of 2013-13-01T00:00:00Z", "--as-of <MOMENT>", "is not a moment"),
    wrong(2, "query City --as-of", "--as-of <MOMENT>", "a value is required"),
    wrong(2, "query City --key a --prefix b", "--key <KEY>", "cannot be used with"),
    wrong(2, "query City --prefix a --from b", "--prefix <KEY>", "cannot be used with"),
    wrong(5, "query City --where x", "where", "there is no name `x`"),
    wrong(2, "query City --file q.json", "--file <FILE>", "cannot be used with"),
    wrong(2, "query --file q.json --limit 3", "--file <FILE>", "cannot be used with"),
    wrong(2, "history City", "<KEY>", "required arguments were not provided"),
    wrong(2, "history City Ulm a.b", "'a.b' for '[FIELD]'", "`.` is not allowed at character 2"),
    wrong(2, "import City", "<FILE>", "required arguments were not provided"),
    wrong(2, "import City a.txt", "a.txt", "tells no format"),
    wrong(2, "import City -", "standard input", "tells no format"),
    wrong(2, "import City - - --input-format csv", "standard input", "named twice"),
    wrong(2, "import City a.csv --batch 0", "--batch <N>", "a number from 1 on"),
    wrong(2, "import City a.csv --input-format xml", "--input-format <FORMAT>", "csv, ndjson"),
    wrong(2, "mutate", "<FILE>", "required arguments were not provided"),
    wrong(2, "exec", "<FILE>", "required arguments were not provided"),
    wrong(2, "completions tcsh", "<SHELL>", "bash, elvish, fish, powershell, zsh"),
    wrong(2, "stats --format xml", "--format <FORMAT>", "table, json, ndjson, csv"),
    wrong(2, "stats --space", "--space <NAME>", "a value is required"),
    wrong(3, "mutate nope.ndjson", "nope.ndjson", "No such file"),
    wrong(3, "query --file nope.json", "nope.json", "No such file"),
    wrong(3, "import City nope.csv", "nope.csv", "No such file"),
    wrong(3, "exec nope.json", "nope.json", "No such file"),
    wrong(3, "schema load nope.json", "nope.json", "No such file"),
    wrong(1, "mutate .", ".", "is a directory"),
    wrong(3, "stats --space lab", "space `lab`", "does not exist"),
    wrong(2, "stats --space a/b", "space name `a/b`", "1 to 64 letters"),
    wrong(3, "query Citty", "schema `Citty`", "does not exist"),
    wrong(3, "schema show Nowhere", "schema `Nowhere`", "does not exist"),
    wrong(3, "schema approve City Ctiy", "schema `Ctiy`", "does not exist"),
    wrong(3, "schema block Ctiy", "schema `Ctiy`", "does not exist"),
    wrong(3, "schema delete Ctiy", "schema `Ctiy`", "does not exist"),
    wrong(4, "schema delete City", "schema `City`", "has data"),
    wrong(3, "import Citty c.csv", "schema `Citty`", "does not exist"),
    wrong(4, "query Waiting", "schema `Waiting` is Available", "only approved schemas"),
    wrong(4, "import Waiting c.csv", "schema `Waiting` is Available", "only approved schemas"),
    wrong(
        5,
        "query City --select peopel",
        "`City` has no field `peopel`",
        "did you mean `people`?",
    ),
    wrong(5, "query City --cursor zz", "cursor", "this query has given"),
    wrong(5, "query City --cursor 99999-00", "cursor", "this query has given"),
    wrong(5, "query City --as-of 2999-01-01T00:00:00Z", "2999-01-01", "lies in the future"),
    wrong(5, "query City --as-of 99999", "commit 99999", "lies in the future"),
    wrong(3, "query City --as-of 0", "schema `City`", "does not exist as of commit 0"),
    wrong(3, "history City Rome", "record [\"Rome\"]", "no versions"),
    wrong(3, "history City Ulm mayr", "`City.mayr`", "does not exist"),
    wrong(1, "man --dir n.json", "n.json", "File exists"),
];

/// URLs of stores.
pub(super) const URLS: &[Wrong] = &[
    wrong(2, "mysql://host/db", "`mysql://host/db`", "is no engine of this build"),
    wrong(2, "http://localhost:1", "`http://localhost:1`", "is no engine of this build"),
    wrong(2, "", "`` is not a store URL", "it is empty"),
    wrong(2, "redb:", "`redb:`", "folder"),
    wrong(2, "memory:x", "`memory:x`", "nothing may follow"),
    wrong(6, "nowhere", "nowhere", "there is no store"),
    wrong(6, "redb:nowhere/else", "nowhere/else", "there is no store"),
    wrong(6, "n.json", "n.json", "is not a DataFold store"),
    wrong(6, "other", "other", "is not a DataFold store: it holds `file`"),
];

#[test]
fn arguments_are_told_with_place_and_rule() {
    let mut store = Store::new();
    store.folder.write("c.csv", "name\nRome\n");
    for case in WRONG {
        let answer = store.folder.run(case.input.split_whitespace());
        store.check(case, &answer);
    }
    store.done(WRONG.len());
}

#[test]
fn urls_are_told_with_place_and_rule() {
    let mut store = Store::new();
    std::fs::create_dir(store.folder.path("other")).unwrap();
    store.folder.write("other/file", "x");
    for case in URLS {
        let answer = store.folder.run(["stats", "--store", case.input]);
        store.check(case, &answer);
    }
    store.done(URLS.len());
}
