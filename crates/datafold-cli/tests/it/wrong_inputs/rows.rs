//! Rows and files of `import`.

use super::{Store, Wrong, wrong};

/// Rows below the header `id,text,number,flag,time,list`.
pub(super) const CSV: &[Wrong] = &[
    wrong(5, "x,,,,,", "id", "expected integer"),
    wrong(5, ",,,,,", "id", "null"),
    wrong(5, "2.5,,,,,", "id", "expected integer"),
    wrong(5, "9223372036854775808,,,,,", "id", "expected integer"),
    wrong(5, "2,long,,,,", "text", "`maxLength`"),
    wrong(5, "2,,-1,,,", "number", "`minimum`"),
    wrong(5, "2,,many,,,", "number", "expected number"),
    wrong(5, "2,,NaN,,,", "number", "expected number"),
    wrong(5, "2,,1e999,,,", "number", "expected number"),
    wrong(5, "2,,,yes,,", "flag", "expected bool"),
    wrong(5, "2,,,,today,", "time", "expected time"),
    wrong(5, "2,,,,2013-01-01T25:00:00Z,", "time", "expected time"),
    wrong(5, "2,,,,,1", "list", "expected array"),
    wrong(5, "2,,,,", "the row has 5 cells", "the header has 6"),
    wrong(5, "2,,,,,,", "the row has 7 cells", "the header has 6"),
    wrong(5, "2", "the row has 1 cells", "the header has 6"),
];

/// Lines of NDJSON.
pub(super) const NDJSON: &[Wrong] = &[
    wrong(5, "rubbish", "column 1", "expected"),
    wrong(5, "[1]", "a row", "must be an object, not array"),
    wrong(5, "7", "a row", "must be an object, not integer"),
    wrong(5, "{\"id\": 2", "column 9", "expected"),
    wrong(5, "{\"id\": 2, \"id\": 3}", "column ", "twice"),
    wrong(5, "{}", "id", "null"),
    wrong(5, "{\"id\": null}", "id", "null"),
    wrong(5, "{\"id\": \"2\"}", "id", "expected integer, found text"),
    wrong(5, "{\"id\": 2, \"txt\": \"a\"}", "no field `txt`", "did you mean `text`?"),
    wrong(5, "{\"id\": 2, \"text\": 5}", "Typed.text", "expected text, found integer 5"),
    wrong(5, "{\"id\": 2, \"tag\": \"z\"}", "Typed.tag", "`enum`"),
    wrong(5, "{\"id\": 2, \"computed\": 1}", "Typed.computed", "`writable: false`"),
    wrong(5, "{\"id\": 2, \"list\": [\"a\"]}", "at /0", "expected integer"),
];

/// Files that are wrong as a whole, by their names and contents.
pub(super) const FILES: &[Wrong] = &[
    wrong(5, "id,txt\n2,a\n", "line 1: `Typed` has no field `txt`", "did you mean `text`?"),
    wrong(5, "id,id\n2,2\n", "line 1: the column `id`", "twice"),
    wrong(5, "id, text\n2,a\n", "line 1: `Typed` has no field ` text`", "did you mean `text`?"),
    wrong(5, "id;text\n2;a\n", "line 1: `Typed` has no field `id;text`", "commas"),
    wrong(5, "text\na\n", "line 1", "the key field `id`"),
    wrong(5, "{\"id\": 2}\n", "line 1: `Typed` has no field `{", "NDJSON has no header"),
];

#[test]
fn rows_are_told_with_line_place_and_rule() {
    let mut store = Store::new();
    for (name, header, cases) in
        [("r.csv", Some("id,text,number,flag,time,list"), CSV), ("r.ndjson", None, NDJSON)]
    {
        let rows: Vec<_> = header.into_iter().chain(cases.iter().map(|case| case.input)).collect();
        store.folder.write(name, rows.join("\n"));
        let answer = store.folder.run(["import", "Typed", name, "--format", "ndjson"]);
        let report = answer.json_lines().remove(0);
        assert_eq!(report["imported"], 0, "{answer:?}");
        let errors = report["errors"].as_array().unwrap();
        assert_eq!(errors.len(), cases.len(), "{errors:?}");
        let begin = if header.is_some() { 2 } else { 1 };
        for (at, (case, error)) in cases.iter().zip(errors).enumerate() {
            assert_eq!(error["line"], at + begin, "{}: {error}", case.input);
            let message = error["message"].as_str().unwrap();
            let hint = "hint: as the whole import says";
            let err = format!("error: {name}:{}: {message}\n{hint}\n", error["line"]);
            let code = answer.code;
            store.check(case, &crate::Answer { out: String::new(), err, code });
        }
    }
    store.done(CSV.len() + NDJSON.len());
}

#[test]
fn files_are_told_with_place_and_rule() {
    let mut store = Store::new();
    for case in FILES {
        store.folder.write("f.csv", case.input);
        let answer = store.folder.run(["import", "Typed", "f.csv"]);
        store.check(case, &answer);
    }
    store.done(FILES.len());
}
