//! `export`, and an import of what it wrote.

use std::io::Read;
use std::process::Command;

use flate2::read::GzDecoder;

use crate::Folder;

#[test]
fn records_are_written_as_lines() {
    let folder = Folder::with_cities();
    let lines = folder.run(["export", "City", "--where", "people != null"]);
    assert_eq!(
        lines.out,
        "{\"name\":\"Aachen\",\"people\":249000,\"mayor\":null}\n\
         {\"name\":\"Ulm\",\"people\":126000,\"mayor\":\"Ann\"}\n"
    );
    assert!(lines.err.starts_with("2 records as of commit 3"), "{}", lines.err);
    let csv =
        folder.run(["export", "City", "--format", "csv", "--sort", "name desc", "--limit", "1"]);
    assert_eq!(csv.out, "name,people,mayor\nUlm,126000,Ann\n");
    assert!(csv.err.contains("there are more"), "{}", csv.err);
}

#[test]
fn a_file_is_new_or_the_export_is_refused() {
    let folder = Folder::with_cities();
    folder.run(["export", "City", "-o", "cities.ndjson.gz"]).done();
    let mut text = String::new();
    let file = std::fs::File::open(folder.path("cities.ndjson.gz")).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, folder.run(["export", "City"]).out);
    let again = folder.run(["export", "City", "-o", "cities.ndjson.gz"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("cities.ndjson.gz"), "{again:?}");
    // What is wrong is known before there is a file, or takes it away.
    for filter in ["peple > 1", "1 / (people - 126000) > 0"] {
        let wrong = folder.run(["export", "City", "--where", filter, "-o", "new.ndjson"]);
        assert_eq!(wrong.code, 5, "{wrong:?}");
        assert!(!folder.path("new.ndjson").exists(), "{filter}");
    }
}

#[test]
fn an_import_of_the_export_gives_the_same_records() {
    let folder = Folder::with_cities();
    let other = Folder::new();
    other.write("city.json", crate::CITY);
    other.run(["schema", "load", "city.json"]).done();
    other.run(["schema", "approve", "City"]).done();
    for format in ["ndjson", "csv"] {
        let file = other.path(&format!("cities.{format}"));
        let file = file.to_str().unwrap();
        folder.run(["export", "City", "--format", format, "-o", file]).done();
        // An empty cell of CSV is null, or it is an empty text.
        other.run(["import", "City", file, "--null", ""]).done();
        assert_eq!(other.run(["export", "City"]).out, folder.run(["export", "City"]).out);
    }
}

#[cfg(unix)]
#[test]
fn an_export_that_is_interrupted_leaves_no_file() {
    let folder = Folder::with_cities();
    let line = |n: u32| format!("{{\"name\": \"c{n}\", \"people\": {n}}}\n");
    folder.write("cities.ndjson", (0..20_000).map(line).collect::<String>());
    folder.run(["import", "City", "cities.ndjson", "--batch", "10000"]).done();
    // It would run for a long time: every record goes through some thousand steps.
    let filter = "sum(range(0, 9000), n => n % 7) > people - 1000000";
    let mut child = folder.command(["export", "City", "--where", filter, "-o", "all.ndjson"]);
    let mut child = child.spawn().unwrap();
    let file = folder.path("all.ndjson");
    while !file.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!file.exists());
}

#[test]
fn a_request_that_is_refused_prints_nothing() {
    let folder = Folder::with_cities();
    for args in [
        &["changes", "--schema", "Nope"][..],
        &["diff", "Nope", "--from", "1"],
        &["query", "Nope"],
        &["elements", "City", "Ulm", "mayor"],
    ] {
        for format in ["json", "csv"] {
            let answer = folder.run([args, &["--format", format]].concat());
            assert!(answer.code != 0 && answer.out.is_empty(), "{args:?} {format}: {answer:?}");
        }
    }
}
