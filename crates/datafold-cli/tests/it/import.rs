//! `import`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::{Answer, Folder};

fn people(folder: &Folder, name: &str) -> serde_json::Value {
    let query = folder.run(["query", "City", "--key", name, "--format", "json"]).json();
    query["records"][0]["people"].clone()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn csv_is_converted_to_the_types_of_the_fields() {
    let folder = Folder::with_cities();
    folder.write("c.csv", "people,name\r\n5,Rome\r\nNA,Ulm\r\n-,Bonn\r\n,\"Saint, X\"\r\n");
    let answer = folder.run(["import", "City", "c.csv", "--null", "NA", "--null", "-"]);
    assert_eq!((answer.out.as_str(), answer.code), ("", 0), "{answer:?}");
    assert!(answer.err.starts_with("City: 4 rows imported in "), "{answer:?}");
    assert_eq!(people(&folder, "Rome"), 5);
    assert_eq!(people(&folder, "Ulm"), json!(null));
    assert_eq!(people(&folder, "Saint, X"), json!(null));
}

#[test]
fn gzip_ndjson_and_standard_input_are_read() {
    let folder = Folder::with_cities();
    folder.write("a.csv.gz", gzip("name,people\nRome,1\n"));
    folder.run(["import", "City", "a.csv.gz"]).done();
    folder.write("b.ndjson", "{\"name\": \"Oslo\", \"people\": 2}\n");
    folder.run(["import", "City", "b.ndjson"]).done();
    // The content says that it is gzip, whatever the name says.
    folder.write("c.jsonl", gzip("{\"name\": \"Bern\", \"people\": 3}\n"));
    folder.run(["import", "City", "c.jsonl"]).done();
    let args = ["import", "City", "-", "--input-format", "csv"];
    folder.pipe(args, gzip("name,people\nParis,4\n")).done();
    for (name, number) in [("Rome", 1), ("Oslo", 2), ("Bern", 3), ("Paris", 4)] {
        assert_eq!(people(&folder, name), number, "{name}");
    }
    let error = folder.pipe(["import", "City", "-"], "name\nX\n").failed(2);
    assert!(error.contains("hint: add --input-format"), "{error}");
}

#[test]
fn an_import_that_ends_midway_tells_what_may_be_there() {
    let folder = Folder::with_cities();
    let rows: String = (0..5_000u32)
        .map(|row| format!("C{row},{}\n", row.wrapping_mul(2_654_435_761) >> 2))
        .collect();
    let whole = gzip(&format!("name,people\nX,y\n{rows}"));
    folder.write("c.csv.gz", &whole[..whole.len() / 2]);
    let notes = folder.run(["import", "City", "c.csv.gz", "--batch", "100"]).failed(1);
    let (before, error) = notes.split_once('\n').unwrap();
    assert!(error.starts_with("error: c.csv.gz: input: "), "{notes}");
    let (read, rest) = before.split_once(" rows read, up to ").unwrap();
    let (imported, rest) = rest.split_once(" of them imported; ").unwrap();
    assert!(rest.starts_with("importing all of it again completes it"), "{notes}");
    let number = |text: &str| text.replace(',', "").parse::<usize>().unwrap();
    assert_eq!(number(read), number(imported) + 1, "{notes}");
    let there = || folder.run(["stats", "--format", "json"]).json()["records"].clone();
    assert_eq!(there(), 3 + number(imported));
    folder.write("c.csv.gz", whole);
    folder.run(["import", "City", "c.csv.gz"]).failed(5);
    assert_eq!(there(), 3 + 5_000);
    // Nothing is known where not even a batch was read, and nothing is said of a wrong header.
    let short = gzip("name,people\nRome,1\n");
    folder.write("short.csv.gz", &short[..short.len() / 2]);
    let notes = folder.run(["import", "City", "short.csv.gz"]).failed(1);
    assert!(notes.starts_with("no row is known to be imported; "), "{notes}");
}

#[test]
fn refused_rows_are_told_with_their_lines() {
    let folder = Folder::with_cities();
    folder.write("c.csv", "name,people\nRome,5\nOslo,many\nBern\n\"Par\nis\",1\n,2\nKyiv,3.5\n");
    let answer = folder.run(["import", "City", "c.csv"]);
    let errors = answer.failed(5);
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].starts_with("c.csv:3: people: expected integer"), "{errors}");
    assert_eq!(lines[1], "c.csv:4: the row has 1 cells, the header has 2");
    assert!(lines[2].starts_with("c.csv:8: people: expected integer"), "{errors}");
    assert!(lines[3].starts_with("City: 3 rows imported, 3 refused in "), "{errors}");
    assert_eq!(lines[4], "error: 3 rows of c.csv not imported");
    folder.write("d.ndjson", "\n[1]\n{\"name\": \"Wien\", \"color\": 1}\n{\"nam\n");
    let errors = folder.run(["import", "City", "d.ndjson"]).failed(5);
    assert!(errors.starts_with("d.ndjson:2: a row must be an object, not array\n"), "{errors}");
    assert!(errors.contains("d.ndjson:3: record [\"Wien\"]: `City` has no field `color`"));
    assert!(errors.contains("d.ndjson:4: column "), "{errors}");
}

#[test]
fn only_the_first_refused_rows_are_told() {
    let folder = Folder::with_cities();
    let rows: String = (0..150).map(|row| format!("C{row},x\n")).collect();
    folder.write("c.csv", format!("name,people\n{rows}Rome,1\n"));
    let errors = folder.run(["import", "City", "c.csv"]).failed(5);
    assert_eq!(errors.lines().filter(|line| line.starts_with("c.csv:")).count(), 20);
    assert!(errors.contains("… and 130 more\n"), "{errors}");
    assert_eq!(people(&folder, "Rome"), 1);
}

#[test]
fn a_header_that_does_not_fit_imports_nothing() {
    let folder = Folder::with_cities();
    folder.write("c.csv", "name,peple\nRome,5\n");
    let error = folder.run(["import", "City", "c.csv"]).failed(5);
    let expected = "error: c.csv: line 1: `City` has no field `peple`; did you mean `people`?\n";
    assert_eq!(error, expected);
}

#[test]
fn the_size_of_commits_can_be_chosen() {
    let folder = Folder::with_cities();
    let rows: String = (0..10).map(|row| format!("C{row},{row}\n")).collect();
    folder.write("c.csv", format!("name,people\n{rows}"));
    let Answer { err, .. } = folder.run(["import", "City", "c.csv", "--batch", "4"]);
    assert!(err.trim_end().ends_with(", 3 commits"), "{err}");
}
