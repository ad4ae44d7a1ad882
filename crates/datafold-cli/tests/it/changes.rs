//! `changes`, `diff` and `revert`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command};

use serde_json::{Value, json};

use crate::Folder;

/// Calls the program until the store is not open in another process.
fn write(folder: &Folder, line: &str) -> Value {
    loop {
        let answer = folder.pipe(["mutate", "-"], line);
        if answer.code != 6 {
            return serde_json::from_str(&answer.done()).unwrap();
        }
    }
}

fn update(people: u32) -> String {
    let record = format!(r#"{{"name": "Ulm", "people": {people}}}"#);
    format!(r#"{{"mutation": "update", "schema": "City", "records": [{record}]}}"#)
}

#[test]
fn changes_are_printed_in_every_format() {
    let folder = Folder::with_cities();
    write(&folder, &update(5));
    let answer = folder.run(["changes", "--from", "4", "--before", "--format", "json"]).json();
    assert_eq!(answer["next"], 5);
    let change = &answer["changes"][0];
    assert_eq!(change["key"], json!(["Ulm"]));
    assert_eq!((&change["value"], &change["before"]), (&json!(5), &json!(126_000)));
    assert_eq!(change["change"], "set");
    let answer = folder.run(["changes", "--limit", "2", "--format", "ndjson"]);
    let kinds: Vec<_> = answer.json_lines().iter().map(|line| line["change"].clone()).collect();
    assert_eq!(kinds, ["loaded", "state"]);
    assert_eq!(answer.err, "next: 3\n");
    let csv = folder.run(["changes", "--from", "3", "--schema", "City", "--format", "csv"]).done();
    // Three records with three values, and the update.
    assert_eq!(csv.lines().count(), 1 + 3 + 3 + 1, "{csv}");
    let table = folder.run(["changes", "--from", "4"]).done();
    assert!(table.starts_with("commit  time"), "{table}");
    // The owner also sees what applications do not.
    folder.run(["schema", "block", "City"]).done();
    let csv = folder.run(["changes", "--schema", "City", "--format", "csv"]).done();
    assert!(csv.contains("loaded"), "{csv}");
    assert!(csv.lines().count() > 1 + 3 + 3 + 1, "{csv}");
    folder.run(["changes", "--schema", "Town"]).failed(3);
    assert!(
        folder.run(["changes", "--from", "99", "--format", "json"]).json()["changes"] == json!([])
    );
}

/// A call with `--follow`, and what it prints.
fn follow(folder: &Folder, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let args = ["changes", "--follow", "--format", "ndjson"].iter().chain(args);
    let mut child = folder.command(args).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn next(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn following_prints_what_others_commit_until_ctrl_c() {
    let folder = Folder::with_cities();
    let (child, mut output) = follow(&folder, &["--from", "4"]);
    for people in 0..3 {
        let written = write(&folder, &update(people));
        let change = next(&mut output);
        assert_eq!((&change["commit"], &change["value"]), (&written["commit"], &json!(people)));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    // It waits for those who write, and says so.
    let notes = String::from_utf8(ended.stderr).unwrap();
    let is_wait = |line: &str| line.starts_with("the store is open in another process");
    assert!(notes.lines().all(is_wait), "{notes}");
}

#[test]
fn following_ends_quietly_when_nobody_reads_on() {
    let folder = Folder::with_cities();
    let (mut child, mut output) = follow(&folder, &[]);
    next(&mut output);
    drop(output);
    for people in 0.. {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            break;
        }
        write(&folder, &update(people));
    }
    // It also ends with the limit.
    let answer = folder.run(["changes", "--follow", "--limit", "1", "--format", "ndjson"]);
    assert_eq!(answer.json_lines().len(), 1);
}

#[test]
fn two_moments_are_compared() {
    let folder = Folder::with_cities();
    write(&folder, &update(5));
    write(&folder, r#"{"mutation": "delete", "schema": "City", "keys": ["Bonn"]}"#);
    let answer = folder.run(["diff", "City", "--from", "3", "--format", "json"]).json();
    assert_eq!((&answer["from"], &answer["to"]), (&json!(3), &json!(5)));
    assert_eq!(
        answer["differences"],
        json!([
            {"key": ["Bonn"], "change": "deleted", "field": null, "element": null,
             "before": null, "after": null},
            {"key": ["Ulm"], "change": "changed", "field": "people", "element": null,
             "before": 126_000, "after": 5}])
    );
    let csv = folder.run(["diff", "City", "Ulm", "--from", "5", "--to", "3", "--format", "csv"]);
    assert_eq!(
        csv.done(),
        "key,change,field,element,before,after\n\"[\"\"Ulm\"\"]\",changed,people,,5,126000\n"
    );
    let table = folder.run(["diff", "City", "--from", "5"]);
    assert_eq!(table.err, "from commit 5 to commit 5; 0 records created or deleted\n");
    folder.run(["diff", "City", "--from", "9"]).failed(5);
    folder.run(["diff", "City"]).failed(2);
    folder.run(["diff", "Town", "--from", "1"]).failed(3);
}

#[test]
fn records_and_commits_are_reverted() {
    let folder = Folder::with_cities();
    write(&folder, &update(5));
    let answer = folder.run(["revert", "--commit", "4", "--format", "json"]).json();
    assert_eq!((&answer["commit"], &answer["atoms"]), (&json!(5), &json!(1)));
    let again = folder.run(["revert", "--commit", "4"]).failed(4);
    assert!(again.starts_with("changed since: City [\"Ulm\"].people in commit 5\n"), "{again}");
    assert!(again.contains("--force"), "{again}");
    let answer = folder.run(["revert", "--commit", "4", "--force"]);
    assert!(answer.err.contains("nothing was written"), "{}", answer.err);
    folder.run(["revert", "City", "Ulm", "--to", "4"]).done();
    folder.run(["revert", "City", "Bonn", "--to", "2"]).done();
    let csv = folder.run(["query", "City", "--select", "name,people", "--format", "csv"]).done();
    assert_eq!(csv, "name,people\nAachen,249000\nUlm,5\n");
    assert!(folder.run(["revert", "--commit", "2"]).failed(4).contains("catalogue"));
    folder.run(["revert", "--commit", "99"]).failed(5);
    for wrong in [
        &["revert"][..],
        &["revert", "City", "Ulm"],
        &["revert", "City", "Ulm", "--to", "1", "--force"],
        &["revert", "City", "--commit", "1"],
    ] {
        folder.run(wrong).failed(2);
    }
}
