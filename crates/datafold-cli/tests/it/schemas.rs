//! `schema …`.

use serde_json::json;

use crate::{CITY, Folder};

#[test]
fn schemas_are_loaded_approved_blocked_and_unloaded() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("schemas")).unwrap();
    folder.write("schemas/city.json", CITY);
    folder.write("schemas/note.json", r#"{"name": "Note", "fields": {"text": {}}}"#);
    let loaded = folder.run(["schema", "load", "schemas"]);
    assert_eq!(loaded.out, "schema  result\nCity    loaded\nNote    loaded\n");
    assert!(loaded.err.ends_with("schema approve City Note\n"), "{}", loaded.err);
    let again = folder.run(["schema", "load", "schemas", "--format", "json"]).json();
    assert_eq!(again["unchanged"], json!(["City", "Note"]));
    let approved = folder.run(["schema", "approve", "City", "Note", "--format", "csv"]).done();
    assert!(approved.starts_with("schema,state,commit,time\nCity,Approved,3,20"), "{approved}");
    folder.run(["schema", "block", "Note", "--reason", "-- not ours"]).done();
    let status = folder.run(["schema", "status", "--format", "ndjson"]);
    let status = status.json_lines();
    assert_eq!((&status[0]["state"], &status[0]["reason"]), (&json!("Approved"), &json!(null)));
    assert_eq!(status[1]["reason"], "-- not ours");
    folder.run(["schema", "unload", "Note"]).done();
    let list = folder.run(["schema", "list", "--format", "csv"]).done();
    let rows = "schema,state,records,description\nCity,Approved,0,Cities.\nNote,Available,0,\n";
    assert_eq!(list, rows);
    folder.run(["schema", "delete", "Note"]).done();
    assert_eq!(folder.run(["schema", "list"]).done().lines().count(), 2);
}

#[test]
fn show_prints_a_file_that_can_be_loaded() {
    let folder = Folder::with_cities();
    let table = folder.run(["schema", "show", "City"]).done();
    assert!(table.contains("key: name"), "{table}");
    assert!(table.contains("people  Single  integer or null"), "{table}");
    let json = folder.run(["schema", "show", "City", "--format", "json"]).done();
    folder.write("again.json", json);
    let again = folder.run(["schema", "load", "again.json", "--format", "json"]).json();
    assert_eq!(again["unchanged"], json!(["City"]));
}

#[test]
fn show_tells_policies_and_prices_where_they_are_not_the_usual() {
    let folder = Folder::with_cities();
    assert!(!folder.run(["schema", "show", "City"]).done().contains("owner"));
    let song = r#"{"name": "Song", "payment_config": {"base_multiplier": 1.5}, "fields": {
        "title": {"permission_policy": {"read_policy": {"Distance": 2},
            "write_policy": "NoRequirement",
            "explicit_read_policy": {"counts_by_pub_key": {"k": 1}}}},
        "year": {"payment_config": {"min_payment": 10}}}}"#;
    folder.write("song.json", song);
    folder.run(["schema", "load", "song.json"]).done();
    let table = folder.run(["schema", "show", "Song"]).done();
    assert!(table.contains("price: 1.5\n"), "{table}");
    let rows: Vec<_> = table.lines().skip_while(|line| !line.starts_with("field")).collect();
    let words = |row: &str| row.split("  ").map(str::trim).collect::<Vec<_>>().join("|");
    assert!(rows[0].contains("read") && rows[0].contains("write"), "{table}");
    assert!(words(rows[1]).contains("distance <= 2, 1 key|everybody|1"), "{table}");
    assert!(words(rows[2]).ends_with("1, at least 10"), "{table}");
    assert!(!rows[0].contains("description"), "{table}");
    let csv = folder.run(["schema", "show", "City", "--format", "csv"]).done();
    assert!(csv.starts_with("field,kind,value,default,read,write,price,description\n"), "{csv}");
}

#[test]
fn files_that_cannot_be_loaded_do_not_stop_others() {
    let folder = Folder::with_cities();
    folder.write("broken.json", "{\"name\": ");
    folder.write("other.json", r#"{"name": "City", "fields": {"a": {}}}"#);
    folder.write("note.json", r#"{"name": "Note", "fields": {"text": {}}}"#);
    let all = folder.run(["schema", "load", "broken.json", "other.json", "note.json"]);
    assert_eq!(all.out, "schema  result\nNote    loaded\n");
    let errors = all.failed(5);
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].starts_with("broken.json: the schema is not JSON"), "{errors}");
    assert!(lines[1].starts_with("other.json: schema `City` already exists"), "{errors}");
    assert_eq!(lines[2], "error: 2 of 3 files not loaded");
    folder.run(["schema", "load", "other.json"]).failed(4);
    folder.run(["schema", "load", "nope.json"]).failed(3);
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.run(["schema", "load", "empty"]).failed(3);
    folder.write("latin.json", b"{\"name\": \"Caf\xe9\"}");
    folder.run(["schema", "load", "latin.json"]).failed(5);
    folder.write("odd.json", r#"{"name": "Odd", "fields": {"a": {}}, "colour": 1}"#);
    let odd = folder.run(["schema", "load", "odd.json"]);
    assert!(odd.err.starts_with("warning: odd.json: "), "{odd:?}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = Folder::with_cities();
    let delete = folder.run(["schema", "delete", "City"]).failed(4);
    assert!(delete.contains("has data"), "{delete}");
    let unknown = folder.run(["schema", "approve", "City", "Ctiy"]).failed(3);
    assert!(unknown.ends_with("hint: did you mean `City`?\n"), "{unknown}");
    folder.run(["schema", "show", "Nowhere"]).failed(3);
    let computed = r#"{"name": "R", "fields": {"a": {}, "b": {"transform": {"logic": "a +"}}}}"#;
    folder.write("computed.json", computed);
    folder.run(["schema", "load", "computed.json"]).done();
    let refused = folder.run(["schema", "approve", "R"]).failed(5);
    assert!(refused.contains("the transform of `b`"), "{refused}");
    assert!(refused.contains("1 | a +\n  |    ^"), "{refused}");
    folder.run(["schema", "approve", "a b"]).failed(2);
}
