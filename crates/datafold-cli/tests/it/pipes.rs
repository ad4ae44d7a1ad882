//! Whoever reads the output may stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::Folder;

/// A store with more records than a pipe holds.
fn large() -> Folder {
    let folder = Folder::with_cities();
    let rows: String = (0..20_000).map(|row| format!("City number {row},{row}\n")).collect();
    folder.write("c.csv", format!("name,people\n{rows}"));
    folder.run(["import", "City", "c.csv"]).done();
    folder
}

#[test]
fn a_query_ends_quietly_when_nobody_reads_on() {
    let folder = large();
    for format in ["table", "json", "ndjson", "csv"] {
        let mut child = folder.command(["query", "City", "--format", format]).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        drop(reader);
        let mut notes = String::new();
        child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
        assert_eq!(notes, "", "{format}");
    }
    assert_eq!(folder.run(["query", "City", "--format", "csv"]).done().lines().count(), 20_004);
}

#[test]
fn mutations_that_nobody_hears_of_stop_with_a_failure() {
    let folder = Folder::with_cities();
    let mut child = folder.command(["mutate", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let delete = r#"{"mutation": "delete", "schema": "City", "keys": ["Ulm"]}"#;
    let _ = write!(stdin, "{delete}\n{}\n", delete.replace("Ulm", "Bonn"));
    drop(stdin);
    let answer = crate::Answer::from(child.wait_with_output().unwrap());
    assert!(answer.failed(1).contains("line 1 was the last carried out"));
    let names = folder.run(["query", "City", "--select", "name", "--format", "csv"]).done();
    assert_eq!(names, "name\nAachen\nBonn\n");
}
