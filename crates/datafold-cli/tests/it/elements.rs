//! `elements`, and the history of an element.

use serde_json::json;

use crate::Folder;

const SHOP: &str = r#"{"name": "Shop", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "city": {},
    "stock": {"field_type": "Range"}}}"#;

/// A shop with some stock, in commit 4; in commit 5 one of it is removed.
fn shop() -> Folder {
    let folder = Folder::empty();
    folder.write("shop.json", SHOP);
    folder.run(["init"]).done();
    folder.run(["schema", "load", "shop.json"]).done();
    folder.run(["schema", "approve", "Shop"]).done();
    let lines = [
        r#"{"mutation": "create", "schema": "Shop", "records": [{"id": 1, "city": "Ulm"}]}"#,
        r#"{"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
            "elements": {"eu:rome": 1, "eu:ulm": 2, "us:nyc": "three"}}"#,
        r#"{"mutation": "remove", "schema": "Shop", "key": 1, "field": "stock",
            "elements": ["us:nyc"]}"#,
    ];
    let lines: Vec<_> = lines.iter().map(|line| line.replace('\n', " ")).collect();
    let answers = folder.pipe(["mutate", "-"], lines.join("\n")).json_lines();
    assert_eq!(answers.iter().map(|answer| &answer["atoms"]).collect::<Vec<_>>(), [1, 3, 1]);
    folder
}

#[test]
fn elements_are_read_by_every_filter_and_in_every_format() {
    let folder = shop();
    let run = |rest: &[&str]| folder.run([&["elements", "Shop", "1", "stock"], rest].concat());
    let table = run(&[]);
    let lines = ["key      value", "eu:rome      1", "eu:ulm       2"];
    assert_eq!(table.out.lines().collect::<Vec<_>>(), lines);
    assert!(table.err.starts_with("2 elements as of commit 5 (20"), "{}", table.err);
    let keys = |rest: &[&str]| {
        let answer = run(&[rest, &["--format", "json"]].concat()).json();
        let object = answer["elements"].as_object().unwrap().clone();
        object.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&["--element", "eu:ulm", "--element", "x"]), "eu:ulm");
    assert_eq!(keys(&["--prefix", "eu:"]), "eu:rome eu:ulm");
    assert_eq!(keys(&["--from", "eu:s"]), "eu:ulm");
    assert_eq!(keys(&["--to", "eu:s", "--from", "a"]), "eu:rome");
    assert_eq!(keys(&["--glob", "*n?"]), "");
    assert_eq!(keys(&["--glob", "??:r*"]), "eu:rome");
    assert_eq!(keys(&["--value", "2.0"]), "eu:ulm");
    assert_eq!(keys(&["--value", "\"three\"", "--as-of", "4"]), "us:nyc");
    let page = run(&["--reverse", "--limit", "1", "--format", "ndjson"]);
    assert_eq!(page.out, "{\"key\":\"eu:ulm\",\"value\":2}\n");
    let cursor = page.err.trim().strip_prefix("cursor: ").unwrap();
    let rest = run(&["--reverse", "--cursor", cursor, "--format", "csv"]).done();
    assert_eq!(rest, "key,value\neu:rome,1\n");
    let empty = folder.run(["elements", "Shop", "2", "stock", "--format", "json"]).json();
    assert_eq!(empty, json!({"elements": {}, "cursor": null, "commit": 5}));
}

#[test]
fn a_query_shows_elements_inline_and_a_history_their_versions() {
    let folder = shop();
    let answer = folder.run(["query", "Shop", "--format", "json"]).json();
    assert_eq!(answer["records"][0]["stock"], json!({"eu:rome": 1, "eu:ulm": 2}));
    let history = folder.run(["history", "Shop", "1", "stock", "us:nyc", "--format", "csv"]).done();
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split(',').collect()).collect();
    let columns = ["commit", "time", "writer", "field", "element", "status", "value", "atom"];
    assert_eq!(lines[0], columns);
    assert_eq!(lines[1][3..7], ["stock", "us:nyc", "deleted", ""]);
    assert_eq!(lines[2][3..7], ["stock", "us:nyc", "active", "three"]);
    assert_eq!(lines.len(), 3);
    let whole = folder.run(["history", "Shop", "1", "--format", "csv"]).done();
    assert_eq!(whole.lines().count(), 6);
    let city = folder.run(["history", "Shop", "1", "city", "--format", "csv"]).done();
    assert!(city.starts_with("commit,time,writer,field,status,"), "{city}");
}

#[test]
fn what_is_no_request_for_elements_is_refused() {
    let folder = shop();
    for (args, exit, message) in [
        (&["elements", "Shop", "1", "city"][..], 5, "is a Single field"),
        (&["elements", "Shop", "1", "stocks"], 5, "did you mean `stock`?"),
        (&["elements", "Shop", "x", "stock"], 5, "Shop.id"),
        (&["elements", "Ship", "1", "stock"], 3, "`Ship` does not exist"),
        (&["elements", "Shop", "1", "stock", "--value", "{"], 2, "is no JSON"),
        (&["elements", "Shop", "1", "stock", "--prefix", "a", "--glob", "a"], 2, "--glob"),
        (&["elements", "Shop", "1", "stock", "--limit", "0"], 2, "from 1 on"),
        (&["elements", "Shop", "1", "stock", "--cursor", "5-zz"], 5, "cursor"),
        (&["history", "Shop", "1", "stock", "eu:"], 3, "the element \"eu:\" of the field"),
        (&["history", "Shop", "1", "city", "a"], 5, "is a Single field"),
    ] {
        let notes = folder.run(args).failed(exit);
        assert!(notes.contains(message), "{args:?}: {notes}");
    }
}

/// A file has all elements of a record, more than an answer shows; an import reads them back.
#[test]
fn an_export_has_more_elements_than_an_answer() {
    let folder = shop();
    let elements: Vec<String> = (0..1_500).map(|n| format!(r#""n:{n:04}": {n}"#)).collect();
    let elements = elements.join(", ");
    let put = r#"{"mutation": "put", "schema": "Shop", "key": 1, "field": "stock", "elements": "#;
    let put = format!("{put}{{{elements}}}}}");
    folder.pipe(["mutate", "-"], put).done();
    let refused = folder.run(["query", "Shop"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("more than 1000 elements"), "{}", refused.err);
    folder.run(["export", "Shop", "-o", "shop.ndjson"]).done();
    let other = Folder::empty();
    other.write("shop.json", SHOP);
    other.run(["init"]).done();
    other.run(["schema", "load", "shop.json"]).done();
    other.run(["schema", "approve", "Shop"]).done();
    let file = folder.path("shop.ndjson");
    other.run(["import", "Shop", file.to_str().unwrap()]).done();
    let exported = other.run(["export", "Shop"]);
    assert_eq!(exported.json_lines()[0]["stock"].as_object().unwrap().len(), 1_502);
    assert_eq!(exported.out, folder.run(["export", "Shop"]).out);
}
