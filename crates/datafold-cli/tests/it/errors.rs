//! Exit codes, messages and hints.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::Folder;

#[test]
fn without_a_store_the_hint_says_how_to_get_one() {
    let folder = Folder::empty();
    let error = folder.run(["query", "City"]).failed(6);
    let program = env!("CARGO_BIN_EXE_datafold");
    let expected = format!(
        "error: there is no store at ./datafold-data; create one first\n\
         hint: create it with {program} init, or see {program} quickstart\n"
    );
    assert_eq!(error, expected);
    let error = folder.run(["stats", "--store", "it's here"]).failed(6);
    assert!(error.contains(&format!("{program} --store 'it'\\''s here' init")), "{error}");
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 0, "nothing was created");
}

#[test]
fn wrong_usage_is_2() {
    let folder = Folder::with_cities();
    for args in [
        &["query"][..],
        &["bogus"],
        &["query", "City", "--limit", "0"],
        &["query", "City", "--as-of", "yesterday"],
        &["query", "City", "--key", "a", "--prefix", "b"],
        &["query", "City", "--file", "x"],
        &["query", "--file", "x", "--limit", "1"],
        &["query", "no schema"],
        &["stats", "--format", "xml"],
        &["stats", "--store", "mysql://host/db"],
        &["init", "--store", "memory:"],
        &["quickstart", "--store", "x"],
        &["import", "City", "cities.txt"],
        &["import", "City", "x.csv", "--batch", "0"],
    ] {
        let error = folder.run(args).failed(2);
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
}

#[test]
fn what_does_not_exist_is_3() {
    let folder = Folder::with_cities();
    let error = folder.run(["query", "Citty"]).failed(3);
    assert_eq!(error, "error: schema `Citty` does not exist\nhint: did you mean `City`?\n");
    let error = folder.run(["query", "Plane"]).failed(3);
    assert!(error.contains("schema list names those that exist"), "{error}");
    let error = folder.run(["stats", "--space", "lab"]).failed(3);
    assert!(error.contains("--space lab init"), "{error}");
    let error = folder.run(["history", "City", "Ulm", "mayr"]).failed(3);
    assert!(error.contains("schema show City"), "{error}");
    folder.run(["mutate", "nope.ndjson"]).failed(3);
    folder.run(["query", "--file", "nope.json"]).failed(3);
    folder.run(["import", "City", "nope.csv"]).failed(3);
    let none = Folder::new().run(["query", "City"]).failed(3);
    assert!(none.contains("hint: there are none yet"), "{none}");
}

#[test]
fn what_is_not_approved_is_4() {
    let folder = Folder::with_cities();
    folder.run(["schema", "block", "City"]).done();
    let program = env!("CARGO_BIN_EXE_datafold");
    let error = folder.run(["query", "City"]).failed(4);
    assert!(error.ends_with(&format!("hint: {program} schema approve City\n")), "{error}");
    folder.write("c.csv", "name\nRome\n");
    folder.run(["import", "City", "c.csv"]).failed(4);
}

#[test]
fn what_breaks_a_rule_is_5() {
    let folder = Folder::with_cities();
    let error = folder.run(["query", "City", "--key", "[1, 2]"]).failed(5);
    assert!(error.contains("hint: a KEY is"), "{error}");
    let error = folder.run(["query", "City", "--select", "peopel"]).failed(5);
    assert!(error.starts_with("error: `City` has no field `peopel`"), "{error}");
    folder.run(["query", "City", "--cursor", "zz"]).failed(5);
}

#[test]
fn what_is_no_sound_store_is_6() {
    let folder = Folder::with_cities();
    std::fs::create_dir(folder.path("other")).unwrap();
    folder.write("other/file", "x");
    let error = folder.run(["stats", "--store", "other"]).failed(6);
    assert!(error.contains("other is not a DataFold store: it holds `file`"), "{error}");
    folder.run(["quickstart", "--dir", "other"]).failed(6);
    let data = folder.path("datafold-data/data.redb");
    let mut bytes = std::fs::read(&data).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte ^= 0x5a;
    }
    std::fs::write(&data, bytes).unwrap();
    folder.run(["verify"]).failed(6);
    std::fs::write(&data, "").unwrap();
    folder.run(["verify"]).failed(6);
}

#[test]
fn a_store_that_is_open_is_named_with_its_process() {
    let folder = Folder::with_cities();
    let mut holder = folder.command(["mutate", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = holder.stdin.take().unwrap();
    // Once a line is answered the store is surely open.
    writeln!(stdin, "x").unwrap();
    let mut answers = BufReader::new(holder.stdout.take().unwrap());
    answers.read_line(&mut String::new()).unwrap();
    let error = folder.run(["stats"]).failed(6);
    let pid = holder.id();
    assert!(error.contains(&format!("is already open in process {pid}")), "{error}");
    drop(stdin);
    assert_eq!(holder.wait().unwrap().code(), Some(5));
    folder.run(["stats"]).done();
}

/// Calls the program where a file can hardly grow, which is as a disk that is full.
#[cfg(unix)]
fn run_on_full_disk(folder: &Folder, args: &[&str]) -> crate::Answer {
    let size = std::fs::metadata(folder.path("datafold-data/data.redb")).unwrap().len();
    let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", size / 512 + 64);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_datafold")]).args(args);
    command.current_dir(folder.path("")).env_remove("DATAFOLD_STORE").output().unwrap().into()
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_as_what_failed_first() {
    let folder = Folder::with_cities();
    let rows = (0..100).map(|n| json!({"name": format!("C{n}"), "mayor": "x".repeat(60_000)}));
    let create =
        |row: &Value| json!({"mutation": "create", "schema": "City", "records": [row]}).to_string();
    let rows: Vec<_> = rows.collect();
    folder.write("m.ndjson", rows.iter().map(create).collect::<Vec<_>>().join("\n"));
    let answer = run_on_full_disk(&folder, &["mutate", "m.ndjson"]);
    let answers = answer.json_lines();
    assert_eq!(answers.len(), 100);
    let failed = answers.iter().find(|answer| answer["commit"].is_null()).unwrap();
    let first = format!("the first is: line {}: {}", failed["line"], failed["error"]["message"]);
    let notes = answer.failed(6);
    assert!(notes.contains("File too large"), "{notes}");
    assert!(notes.contains(&first.replace('"', "")), "{notes}");
    let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
    folder.write("i.ndjson", lines.join("\n"));
    let answer = run_on_full_disk(&folder, &["import", "City", "i.ndjson"]);
    assert!(answer.out.contains("i.ndjson"), "{answer:?}");
    let notes = answer.failed(6);
    assert!(notes.starts_with("City: "), "{notes}");
    assert!(notes.contains("error: i.ndjson: the commit failed"), "{notes}");
    assert!(notes.contains("hint: the same command goes on"), "{notes}");
    folder.run(["import", "City", "i.ndjson"]).done();
    assert_eq!(folder.run(["stats", "--format", "json"]).json()["records"], 103);
}

#[test]
fn a_key_that_begins_like_json_and_is_none_is_wrong_usage() {
    let folder = Folder::with_cities();
    for arguments in [
        vec!["query", "City", "--key", "[broken"],
        vec!["query", "City", "--prefix", "[\"U\" 1]"],
        vec!["query", "City", "--from", "{"],
        vec!["query", "City", "--to", " [1,"],
        vec!["history", "City", "[\"Ulm\""],
    ] {
        let notes = folder.run(arguments).failed(2);
        assert!(notes.contains("is no JSON: "), "{notes}");
    }
    let notes = folder.run(["history", "City", r#"{"name": "Ulm"}"#]).failed(2);
    assert!(notes.contains("is an object"), "{notes}");
    folder.run(["query", "City", "--key", "\"[broken\""]).done();
}
