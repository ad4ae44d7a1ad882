//! `import`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

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
    let report = "file   imported  unchanged  refused  commits\n\
                  c.csv         3          1        0        1\n";
    assert_eq!((answer.out.as_str(), answer.code), (report, 0), "{answer:?}");
    let summary = "City: 3 rows imported, 1 was there already in ";
    assert!(answer.err.starts_with(summary), "{answer:?}");
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
    let args = ["import", "City", "c.csv.gz", "--batch", "100", "--format", "json"];
    let answer = folder.run(args);
    let report: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    let imported = report[0]["imported"].as_u64().unwrap();
    assert!((100..5_000).contains(&imported), "{report}");
    // What was refused is told all the same.
    assert_eq!((&report[0]["refused"], &report[0]["errors"][0]["line"]), (&json!(1), &json!(2)));
    let notes = answer.failed(1);
    assert!(notes.starts_with("c.csv.gz:2: people: expected integer"), "{notes}");
    assert!(notes.contains("\nerror: c.csv.gz: input: "), "{notes}");
    let hint = "\nhint: the same command goes on: rows that are there are passed over\n";
    assert!(notes.ends_with(hint), "{notes}");
    let there = || folder.run(["stats", "--format", "json"]).json()["records"].clone();
    assert_eq!(there(), 3 + imported);
    folder.write("c.csv.gz", whole);
    let again = folder.run(["import", "City", "c.csv.gz", "--format", "ndjson"]);
    let report = again.json_lines().remove(0);
    assert_eq!(
        (&report["imported"], &report["unchanged"]),
        (&json!(5_000 - imported), &json!(imported))
    );
    again.failed(5);
    assert_eq!(there(), 3 + 5_000);
    let short = gzip("name,people\nRome,1\n");
    folder.write("short.csv.gz", &short[..short.len() / 2]);
    let notes = folder.run(["import", "City", "short.csv.gz"]).failed(1);
    assert!(notes.starts_with("City: 0 rows imported in "), "{notes}");
}

#[test]
fn several_files_are_imported_and_a_bad_one_stops_no_other() {
    let folder = Folder::with_cities();
    folder.write("a.csv", "name,people\nRome,1\nOslo,x\n");
    folder.write("b.csv", "nam\nBern\n");
    folder.write("d.ndjson", "{\"name\": \"Wien\"}\n");
    let files = ["a.csv", "b.csv", "c.csv", "d.ndjson"];
    let answer = folder.run([&["import", "City"], &files[..], &["--format", "csv"]].concat());
    let report = "file,imported,unchanged,refused,commits\n\
                  a.csv,1,0,1,1\nb.csv,0,0,0,0\nc.csv,0,0,0,0\nd.ndjson,1,0,0,1\n";
    assert_eq!(answer.out, report);
    // The exit code is that of the first failure.
    let notes = answer.failed(5);
    for part in [
        "a.csv:3: people: ",
        "\n1 row of a.csv not imported\n",
        "\nb.csv: line 1: `City` has no field `nam`",
        "\nc.csv: No such file",
        "\nerror: 3 of 4 files not imported whole\n",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert_eq!(people(&folder, "Rome"), 1);
    // What would fail for every file is told once.
    let notes = folder.run(["import", "Town", "a.csv", "d.ndjson"]).failed(3);
    assert!(notes.starts_with("error: schema `Town` does not exist\nhint: "), "{notes}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_in_good_order_and_the_same_command_goes_on() {
    let folder = Folder::with_cities();
    let args = ["import", "City", "-", "--input-format", "csv", "--batch", "100"];
    let mut child = folder.command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds: when it is written, the program reads and watches for Ctrl-C.
    let rows: String = (0..20_000).map(|row| format!("City number {row},{row}\n")).collect();
    stdin.write_all(format!("name,people\n{rows}").as_bytes()).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = notes.next().unwrap().unwrap();
    assert!(told.starts_with("stopping behind the rows that were read"), "{told}");
    // The input has not ended, so it is Ctrl-C that ends the import.
    while stdin.write_all(rows.as_bytes()).is_ok() {}
    let rest: Vec<_> = notes.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(rest[rest.len() - 2], "error: standard input: interrupted");
    assert!(rest[rest.len() - 1].starts_with("hint: the same command goes on"), "{rest:?}");
    let there = folder.run(["stats", "--format", "json"]).json()["records"].as_u64().unwrap();
    assert!(there > 3, "{there}");
    let again = [&args[..5], &["--format", "ndjson"]].concat();
    let report = folder.pipe(again, format!("name,people\n{rows}")).json();
    assert_eq!((&report["unchanged"], &report["refused"]), (&json!(there - 3), &json!(0)));
    assert_eq!(folder.run(["stats", "--format", "json"]).json()["records"], 20_003);
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
    assert!(lines[5].starts_with("hint: mend these rows"), "{errors}");
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
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn the_size_of_commits_can_be_chosen() {
    let folder = Folder::with_cities();
    let rows: String = (0..10).map(|row| format!("C{row},{row}\n")).collect();
    folder.write("c.csv", format!("name,people\n{rows}"));
    let Answer { err, .. } = folder.run(["import", "City", "c.csv", "--batch", "4"]);
    assert!(err.trim_end().ends_with(", 3 commits"), "{err}");
}
