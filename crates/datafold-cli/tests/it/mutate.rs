//! The protocol of `mutate`: a line in, a line out.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::Folder;

const CREATE: &str = r#"{"mutation": "create", "schema": "City", "records": [{"name": "Rome"}]}"#;
const DELETE: &str = r#"{"mutation": "delete", "schema": "City", "keys": ["Rome"]}"#;

#[test]
fn every_line_is_answered_in_order() {
    let folder = Folder::with_cities();
    let lines = format!("{CREATE}\n\n  \n{CREATE}\nrubbish\n{DELETE}\n{DELETE}");
    let answer = folder.pipe(["mutate", "-", "--format", "table"], lines);
    let answers = answer.json_lines();
    let code = |at: usize| answers[at]["error"]["code"].as_str().unwrap();
    assert_eq!(answers.len(), 5);
    assert_eq!((&answers[0]["commit"], &answers[0]["atoms"]), (&json!(4), &json!(0)));
    assert!(answers[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!((code(1), &answers[1]["line"]), ("record_exists", &json!(4)));
    assert_eq!((code(2), &answers[2]["line"]), ("invalid_request", &json!(5)));
    assert_eq!(answers[3]["commit"], 5);
    assert_eq!((code(4), &answers[4]["line"]), ("record_not_found", &json!(7)));
    // The exit code is that of the first failure.
    let notes = answer.failed(4);
    assert!(notes.starts_with("error: 3 lines failed, the first is: line 4: "), "{notes}");
}

#[test]
fn a_line_that_is_too_long_is_answered_and_later_ones_go_on() {
    let folder = Folder::with_cities();
    let lines = format!("{}\n{CREATE}\n", "x".repeat((32 << 20) + 2));
    let answer = folder.pipe(["mutate", "-"], lines);
    let answers = answer.json_lines();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["line"], 1);
    let message = answers[0]["error"]["message"].as_str().unwrap();
    assert_eq!(message, "the line is longer than 33554432 bytes");
    assert_eq!(answers[1]["commit"], 4);
    answer.failed(5);
}

/// A mutation with a field that there is not.
fn line_of_field(name: &str) -> String {
    let line = r#"{"mutation": "create", "schema": "City", "records": [{"name": "X", "F": 1}]}"#;
    line.replace('F', name)
}

#[test]
fn names_from_data_do_nothing_to_the_terminal() {
    let folder = Folder::with_cities();
    let line = line_of_field("esc\\u001b[31m");
    let notes = folder.pipe(["mutate", "-"], line).failed(5);
    assert!(notes.contains("`esc\\u{1b}[31m`"), "{notes}");
    let line = line_of_field(&"a".repeat(900));
    let notes = folder.pipe(["mutate", "-"], line).failed(5);
    let part = "a".repeat(150);
    assert!(notes.contains(&format!("no field `{part}…{part}`\n")), "{notes}");
    let line = format!(r#"{{"mutation": "create", "schema": "{}"}}"#, "A".repeat(100_000));
    assert!(folder.pipe(["mutate", "-"], line).failed(5).len() < 3_000);
}

#[test]
fn a_line_is_answered_before_the_next_is_sent() {
    let folder = Folder::with_cities();
    let mut child = folder.command(["mutate", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (line, commit) in [(CREATE, 4), (DELETE, 5)] {
        writeln!(stdin, "{line}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["commit"], commit);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let folder = Folder::with_cities();
    let transaction = |since: u32| {
        let condition = json!({"schema": "City", "key": "Ulm", "unchanged_since": since});
        let create: Value = serde_json::from_str(CREATE).unwrap();
        let delete = json!({"mutation": "delete", "schema": "City", "keys": ["Bonn"]});
        json!({"transaction": [create, delete], "if": [condition]}).to_string()
    };
    folder.write("t.ndjson", transaction(2));
    let refused = folder.run(["mutate", "t.ndjson"]);
    assert_eq!(refused.json_lines()[0]["error"]["code"], "precondition_failed");
    refused.failed(4);
    folder.write("t.ndjson", transaction(3));
    assert_eq!(folder.run(["mutate", "t.ndjson"]).json()["commit"], 4);
    let names = folder.run(["query", "City", "--select", "name", "--format", "csv"]).done();
    assert_eq!(names, "name\nAachen\nRome\nUlm\n");
}

#[test]
fn wrong_values_are_5_and_unknown_schemas_3() {
    let folder = Folder::with_cities();
    let record = json!({"name": "Ulm", "people": "x"});
    let wrong = json!({"mutation": "update", "schema": "City", "records": [record]});
    let answer = folder.pipe(["mutate", "-"], wrong.to_string());
    assert_eq!(answer.json_lines()[0]["error"]["code"], "invalid_value");
    let notes = answer.failed(5);
    assert!(notes.contains("City.people does not accept the value"), "{notes}");
    folder.pipe(["mutate", "-"], CREATE.replace("City", "Town")).failed(3);
    folder.pipe(["mutate", "-"], b"\xff\n").failed(5);
}
