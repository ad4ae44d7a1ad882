//! Reading rows from CSV and NDJSON.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::thread;

use datafold::FoldDb;
use datafold::engine::{
    FoldDbError, ImportError, ImportFormat, ImportOptions, ImportProgress, ImportReport,
};
use datafold::model::Value;
use datafold_testkit::ApplyFault;

use crate::harness::{all, approve, check_sound, faulty, memory, name};
use crate::stage::{ITEM, Stage, code};

const CITY: &str = r#"{"name": "City", "key": ["name"], "fields": {
    "name": {"value": {"type": "string"}},
    "people": {"value": {"type": ["integer", "null"]}},
    "area": {"value": {"type": "number"}},
    "capital": {"value": {"type": "boolean"}},
    "founded": {"value": {"type": ["string", "null"], "format": "date-time"}},
    "kind": {"value": {"type": "string"}, "default": "town"},
    "extra": {}}}"#;

fn import(
    db: &FoldDb,
    format: ImportFormat,
    input: impl AsRef<[u8]>,
) -> Result<ImportReport, FoldDbError> {
    let options = ImportOptions::new(format);
    db.import(&name("City"), input.as_ref(), &options, go_on).map_err(FoldDbError::from)
}

fn go_on(_: ImportProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn cities() -> FoldDb {
    let db = memory();
    approve(&db, CITY);
    db
}

fn csv(db: &FoldDb, input: impl AsRef<[u8]>) -> ImportReport {
    import(db, ImportFormat::Csv, input).unwrap()
}

fn ndjson(db: &FoldDb, input: impl AsRef<[u8]>) -> ImportReport {
    import(db, ImportFormat::Ndjson, input).unwrap()
}

/// Imported and refused rows, and the lines of the errors.
fn figures(report: &ImportReport) -> (u64, u64, Vec<u64>) {
    let lines = report.errors.iter().map(|error| error.line).collect();
    (report.imported, report.refused, lines)
}

#[test]
fn csv_cells_become_the_types_of_their_fields() {
    let db = cities();
    let report = csv(
        &db,
        "name,people,area,capital,founded,kind,extra\n\
         Ulm,126000,118.7,FALSE,0854-07-22T00:00:00Z,city,any\n\
         \"Aalen, \"\"the\"\" second\",,146,true,,,\n\
         1st, 0012 ,1e2,True,1000-01-01T12:00:00.5+01:00,x,5\n",
    );
    assert_eq!((figures(&report), report.commits), ((3, 0, vec![]), 1));
    let expected = "[\"1st\",12,100,true,\"1000-01-01T11:00:00.500000Z\",\"x\",\"5\"]\n\
         [\"Aalen, \\\"the\\\" second\",null,146,true,null,\"\",\"\"]\n\
         [\"Ulm\",126000,118.7,false,\"0854-07-22T00:00:00Z\",\"city\",\"any\"]\n";
    assert_eq!(all(&db, "City"), expected);
    check_sound(&db);
}

#[test]
fn texts_can_stand_for_null_and_null_takes_the_default() {
    let db = cities();
    let options = ImportOptions {
        nulls: vec!["NA".into(), String::new()],
        ..ImportOptions::new(ImportFormat::Csv)
    };
    let input = "name,people,kind\nUlm,NA,\nAalen,5,village\nNA,1,x\n";
    let report = db.import(&name("City"), input.as_bytes(), &options, go_on).unwrap();
    assert_eq!(figures(&report), (2, 1, vec![4]));
    let expected = "[\"Aalen\",5,null,null,null,\"village\",null]\n\
                    [\"Ulm\",null,null,null,null,\"town\",null]\n";
    assert_eq!(all(&db, "City"), expected);
}

#[test]
fn rows_that_break_a_rule_are_refused_with_their_line_and_the_others_are_not() {
    let db = cities();
    let report = csv(
        &db,
        "name,people,area\n\
         \"two\nlines\",1,1\n\
         Ulm,many,1\n\
         Aalen,1\n\
         \"three\n\n\nlines\",x,1\n\
         \n\
         Giengen,1,1,1\n\
         Heidenheim,9223372036854775808,1\n\
         Oberkochen,2,2\n\
         ,3,3\n",
    );
    assert_eq!(figures(&report), (3, 5, vec![4, 5, 6, 11, 12]));
    let messages: Vec<_> = report.errors.iter().map(|error| error.message.as_str()).collect();
    assert!(messages[0].contains("people"), "{messages:?}");
    assert_eq!(messages[1], "the row has 2 cells, the header has 3");
    assert_eq!(messages[3], "the row has 4 cells, the header has 3");
    assert_eq!(db.stats().unwrap().total_records, 3);
}

#[test]
fn line_numbers_are_right_with_carriage_returns() {
    for end in ["\n", "\r\n"] {
        let db = cities();
        let rows = ["name,people", "a,1", "\"b", "b\",x", "c,x", "d,1,1", "", "e,x", "f,2"];
        let report = csv(&db, rows.join(end));
        assert_eq!(figures(&report), (2, 4, vec![3, 5, 6, 8]), "{end:?}");
        // The last row has no line end, and nothing of the `\r` is kept.
        assert_eq!(all(&db, "City").lines().last(), Some(r#"["f",2,null,null,null,"town",null]"#));
    }
    let db = cities();
    let rows = [r#"{"name": "a"}"#, "", "  ", r#"{"name": 1}"#, r#"{"name": "b"}"#, "nonsense"];
    assert_eq!(figures(&ndjson(&db, rows.join("\r\n"))), (2, 2, vec![4, 6]));
}

#[test]
fn a_header_that_does_not_fit_is_an_error_and_nothing_is_read() {
    let db = cities();
    for (header, hint) in [
        ("name,poeple", "did you mean `people`?"),
        ("name,people,name", "twice"),
        ("name, people", "did you mean `people`?"),
        ("Ulm,126000", "no field"),
    ] {
        let error = import(&db, ImportFormat::Csv, format!("{header}\nUlm,1\n")).unwrap_err();
        assert_eq!(error.code(), "invalid_request");
        assert!(error.to_string().contains(hint), "{error}");
        assert!(error.to_string().starts_with("line 1"), "{error}");
    }
    assert_eq!(db.stats().unwrap().total_records, 0);
}

#[test]
fn empty_inputs_import_nothing() {
    let db = cities();
    for input in ["", "\n", "name,people", "name,people\n"] {
        assert_eq!(figures(&csv(&db, input)), (0, 0, vec![]), "{input:?}");
    }
    for input in ["", "\n", " \r\n \n"] {
        assert_eq!(figures(&ndjson(&db, input)), (0, 0, vec![]), "{input:?}");
    }
    assert_eq!(db.stats().unwrap().commit.0, 2);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_row() {
    let db = cities();
    assert_eq!(figures(&csv(&db, "\u{feff}name,people\nUlm,1\n")), (1, 0, vec![]));
    assert_eq!(csv(&db, "\u{feff}\"name\",people\nUlm,1\n").unchanged, 1);
    assert_eq!(ndjson(&db, "\u{feff}{\"name\": \"Ulm\"}\n").unchanged, 1);
    assert_eq!(db.stats().unwrap().total_records, 1);
}

#[test]
fn what_is_no_utf_8_is_refused_row_by_row() {
    let db = cities();
    let report = csv(&db, b"name,people\nUlm,1\nM\xFCnchen,2\nAalen,3\n");
    assert_eq!(figures(&report), (2, 1, vec![3]));
    assert_eq!(report.errors[0].message, "the row is not UTF-8");
    let report = ndjson(&db, b"{\"name\": \"K\xF6ln\"}\n{\"name\": \"Bonn\"}\n");
    assert_eq!(figures(&report), (1, 1, vec![1]));
    assert!(import(&db, ImportFormat::Csv, b"n\xFCme\nUlm\n").is_err());
}

#[test]
fn ndjson_rows_are_objects_of_the_fields() {
    let db = cities();
    let report = ndjson(
        &db,
        "{\"name\": \"Ulm\", \"people\": 126000, \"extra\": {\"a\": [1, null, 2.5]}}\n\
         {\"name\": \"Aalen\", \"people\": null}\n\
         [1]\n\
         {\"name\": \"x\", \"poeple\": 1}\n\
         {\"name\": null}\n\
         {\"name\": \"y\", \"people\": 1.5}\n\
         {\"name\": \"z\", \"people\": 1e400}\n\
         {\"name\": \"Bonn\"} x\n\
         {\"name\": \"Bonn\", \"capital\": false}",
    );
    assert_eq!(figures(&report), (3, 6, vec![3, 4, 5, 6, 7, 8]));
    let expected = "[\"Aalen\",null,null,null,null,\"town\",null]\n\
                    [\"Bonn\",null,null,false,null,\"town\",null]\n\
                    [\"Ulm\",126000,null,null,null,\"town\",{\"a\":[1,null,2.5]}]\n";
    assert_eq!(all(&db, "City"), expected);
}

#[test]
fn the_same_key_twice_is_merged_in_the_order_of_the_rows() {
    for batch_rows in [1, 2, 1_000] {
        let db = cities();
        let options = ImportOptions { batch_rows, ..ImportOptions::new(ImportFormat::Ndjson) };
        let input = "{\"name\": \"Ulm\", \"people\": 1, \"kind\": null}\n\
                     {\"name\": \"Ulm\", \"area\": 2}\n\
                     {\"name\": \"Ulm\", \"people\": 3}\n";
        let report = db.import(&name("City"), input.as_bytes(), &options, go_on).unwrap();
        assert_eq!((report.imported, report.commits), (3, 3_u64.div_ceil(batch_rows as u64)));
        assert_eq!(all(&db, "City"), "[\"Ulm\",3,2,null,null,\"town\",null]\n");
        check_sound(&db);
    }
}

#[test]
fn importing_again_changes_nothing() {
    let db = cities();
    let input = "name,people\nUlm,1\nAalen,2\n";
    csv(&db, input);
    let once = all(&db, "City");
    let history = || db.history(&name("City"), &["Ulm".into()], None, None, 100).unwrap();
    let versions = history();
    let again = csv(&db, input);
    assert_eq!((figures(&again), again.unchanged), ((0, 0, vec![]), 2));
    assert_eq!((all(&db, "City"), history()), (once, versions));
    // Only what is new is written.
    csv(&db, "name,people\nUlm,1\nAalen,3\n");
    assert_eq!(history().len(), 2);
    assert_eq!(db.history(&name("City"), &["Aalen".into()], None, None, 9).unwrap().len(), 3);
    // Where there is nothing to write there is no commit to count.
    approve(&db, r#"{"name": "Tag", "key": ["tag"], "fields": {"tag": {}}}"#);
    let options = ImportOptions::new(ImportFormat::Csv);
    let tags = |figures| {
        let input = &b"tag\na\nb\n"[..];
        let report = db.import(&name("Tag"), input, &options, go_on).unwrap();
        assert_eq!((report.imported, report.unchanged, report.commits), figures);
    };
    tags((2, 0, 1));
    tags((0, 2, 0));
    check_sound(&db);
}

#[test]
fn batches_too_large_for_a_commit_are_split() {
    let db = memory();
    approve(&db, ITEM);
    let rows: String = (0..40).fold("id,text\n".to_owned(), |mut rows, id| {
        rows += &format!("{id},{}\n", "x".repeat(1_000_000));
        rows
    });
    let options = ImportOptions { batch_rows: 1_000, ..ImportOptions::new(ImportFormat::Csv) };
    let mut told = Vec::new();
    let tell = |progress: ImportProgress| {
        told.push(progress.rows);
        ControlFlow::Continue(())
    };
    let report = db.import(&name("Item"), rows.as_bytes(), &options, tell).unwrap();
    assert_eq!((report.imported, report.refused), (40, 0));
    assert!((8..=12).contains(&report.commits), "{}", report.commits);
    assert_eq!(told.last(), Some(&40));
    let quote = format!("id,text\n1,\"{}", "x".repeat(17 << 20));
    let error = db.import(&name("Item"), quote.as_bytes(), &options, go_on).unwrap_err();
    assert!(error.to_string().contains("is a quote not closed?"), "{error}");
    let rows: String =
        (0..45_000).fold(String::new(), |rows, id| rows + &format!("{{\"id\":{id}}}\n"));
    let options = ImportOptions { batch_rows: 45_000, ..ImportOptions::new(ImportFormat::Ndjson) };
    let report = db.import(&name("Item"), rows.as_bytes(), &options, go_on).unwrap();
    let figures = (report.imported, report.unchanged, report.commits);
    assert_eq!(figures, (45_000 - 40, 40, 4));
    assert_eq!(db.stats().unwrap().total_records, 45_000);
    check_sound(&db);
}

#[test]
fn progress_is_told_and_errors_are_bounded() {
    let db = cities();
    let rows = (0..1_050).fold("name,people\n".to_owned(), |rows, n| {
        rows + &if n % 3 == 0 { format!("c{n},x\n") } else { format!("c{n},{n}\n") }
    });
    let options = ImportOptions { batch_rows: 100, ..ImportOptions::new(ImportFormat::Csv) };
    let mut told = Vec::new();
    let tell = |progress: ImportProgress| {
        told.push((progress.rows, progress.refused));
        ControlFlow::Continue(())
    };
    let report = db.import(&name("City"), rows.as_bytes(), &options, tell).unwrap();
    assert_eq!((report.imported, report.refused, report.errors.len()), (700, 350, 100));
    assert_eq!((told.len(), told.last().copied()), (11, Some((1_050, 350))));
    assert!(told.is_sorted());
}

#[test]
fn an_unapproved_schema_takes_no_rows() {
    let db = memory();
    assert_eq!(code(import(&db, ImportFormat::Csv, "name\na\n")), "schema_not_found");
    db.schemas().load_text(CITY, None).unwrap();
    assert_eq!(code(import(&db, ImportFormat::Csv, "name\na\n")), "schema_not_approved");
}

/// Another thread that flushes must not hide from an import that its rows are lost.
#[test]
fn an_import_counts_no_row_that_was_lost() {
    let (store, db) = faulty();
    approve(&db, CITY);
    store.fail_apply(1, ApplyFault::Failed);
    let options = ImportOptions { batch_rows: 2, ..ImportOptions::new(ImportFormat::Csv) };
    let mut flushed = Vec::new();
    let answer = db.import(&name("City"), &b"name\na\nb\nc\n"[..], &options, |_| {
        flushed.push(db.pool().flush().is_err());
        ControlFlow::Continue(())
    });
    assert!(flushed[0]);
    assert_eq!(code(answer.map_err(FoldDbError::from)), "commit_failed");
    assert!(!all(&db, "City").contains('a'));
    check_sound(&db);
}

/// Rows, and then a failure of the source.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other("planted")) } else { self.0.read(out) }
    }
}

#[test]
fn what_was_committed_before_an_error_is_durable_when_it_is_answered() {
    let stage = Stage::new();
    let before = stage.store.accepted_count();
    stage.store.gate().shut();
    thread::scope(|scope| {
        let import = scope.spawn(|| {
            let options = ImportOptions { batch_rows: 2, ..ImportOptions::new(ImportFormat::Csv) };
            let input = Broken(b"id\n1\nx\n2\n3\n");
            let error = stage.db.import(&name("Item"), input, &options, go_on).unwrap_err();
            (error, stage.store.accepted_count())
        });
        stage.store.gate().wait_for(1);
        stage.store.gate().open();
        let (ImportError { report, error }, accepted) = import.join().unwrap();
        assert!(accepted > before);
        assert_eq!((error.code(), figures(&report)), ("invalid_request", (3, 1, vec![3])));
    });
    assert_eq!(all(&stage.db, "Item"), "[1,null,null]\n[2,null,null]\n[3,null,null]\n");
}

#[test]
fn an_import_that_is_stopped_is_completed_by_the_next() {
    let db = cities();
    let rows = (0..1_000).fold("name,people\n".to_owned(), |rows, n| {
        rows + &if n % 10 == 0 { format!("c{n},x\n") } else { format!("c{n},{n}\n") }
    });
    let options = ImportOptions { batch_rows: 100, ..ImportOptions::new(ImportFormat::Csv) };
    let stop = |progress: ImportProgress| match progress.rows {
        0..300 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let report = db.import(&name("City"), rows.as_bytes(), &options, stop).unwrap();
    assert!(report.stopped);
    assert_eq!((report.imported, report.refused), (270, 30));
    assert_eq!(db.stats().unwrap().total_records, 270);
    let report = db.import(&name("City"), rows.as_bytes(), &options, go_on).unwrap();
    assert!(!report.stopped);
    assert_eq!((report.imported, report.unchanged, report.refused), (630, 270, 100));
    // One commit for each batch that had something new.
    assert_eq!(report.commits, 7);
    check_sound(&db);
}

#[test]
fn a_failed_import_tells_which_rows_it_refused() {
    let db = cities();
    let input = Broken(b"name,people\nUlm,1\nAalen,many\nBonn,2\n");
    let options = ImportOptions::new(ImportFormat::Csv);
    let error = db.import(&name("City"), input, &options, go_on).unwrap_err();
    assert_eq!(figures(&error.report), (2, 1, vec![3]));
    assert_eq!(error.to_string(), "input: planted");
    assert!(all(&db, "City").contains("Bonn"));
}

#[test]
fn a_record_without_key_is_merged_from_every_row() {
    let db = memory();
    approve(
        &db,
        r#"{"name": "Settings", "fields": {"a": {}, "b": {"value": {"type": "integer"}}}}"#,
    );
    let options = ImportOptions::new(ImportFormat::Csv);
    let report = db.import(&name("Settings"), &b"a,b\nx,1\ny,\n"[..], &options, go_on).unwrap();
    assert_eq!(report.imported, 2);
    let record = db.get(&name("Settings"), &[]).unwrap().unwrap();
    assert_eq!(record.values, [Value::from("y"), Value::Null]);
}
