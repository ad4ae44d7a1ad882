//! A process ends right behind a large import, whose batches lie across the places where the
//! engine changes from one piece to the next: the end of the commit log, a segment of sled.

use std::ops::ControlFlow;
use std::time::Instant;

use datafold::engine::{ImportFormat, ImportOptions};
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use super::child::{Child, Job, Place, open_left, say};
use crate::harness::{approve, describe, name};

const ROW: &str = r#"{"name": "Row", "key": ["n"], "fields": {
    "n": {"value": {"type": "integer"}}, "text": {"value": {"type": "string"}}}}"#;

/// The rows of an import, and its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) batch_rows: u64,
    /// The planted fault: the end is told with the first batch.
    pub(crate) acknowledges_early: bool,
}

fn text(seed: u64, n: u64) -> String {
    let mut random = Random::part(seed, n);
    let mut text = format!("{:016x}", random.next_u64()).repeat(16);
    text.truncate(100 + random.below(156));
    text
}

/// The child: ends itself right behind the import.
pub(crate) fn import(place: &Place, input: &Input) {
    let db = place.open_free(true).unwrap();
    if db.schemas().get_status().is_empty() {
        approve(&db, ROW);
    }
    let lines =
        (0..input.rows).map(|n| format!("{{\"n\": {n}, \"text\": \"{}\"}}\n", text(input.seed, n)));
    let lines: String = lines.collect();
    let batch_rows = usize::try_from(input.batch_rows).unwrap();
    let options = ImportOptions { batch_rows, ..ImportOptions::new(ImportFormat::Ndjson) };
    let report = db.import(&name("Row"), lines.as_bytes(), &options, |progress| {
        if input.acknowledges_early {
            say(&format!("imported {}", input.rows));
            std::process::abort();
        }
        say(&format!("read {}", progress.rows));
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    say(&format!("imported {}", report.imported + report.unchanged));
    std::process::abort();
}

/// Compares every row; answers how many there are.
fn compare(db: &FoldDb, input: &Input, acknowledged: u64) -> Result<u64, String> {
    let report = db.verify().map_err(|error| describe(&error))?;
    if !report.is_sound() {
        return Err(format!("{:#?}", report.problems));
    }
    let (mut next, mut wrong) = (0, None);
    let end = db.query_each(&QueryRequest::new(name("Row")), |record| {
        let n = Value::Int(i64::try_from(next).unwrap());
        if record.values != [n, text(input.seed, next).into()] {
            wrong = Some(format!("row {next} is {:?}", record.values));
            return ControlFlow::Break(());
        }
        next += 1;
        ControlFlow::Continue(())
    });
    end.map_err(|error| describe(&error))?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if next < acknowledged || next > input.rows {
        return Err(format!("{next} rows of {}, {acknowledged} are acknowledged", input.rows));
    }
    if next % input.batch_rows != 0 && next != input.rows {
        return Err(format!("{next} rows: a batch of {} was torn", input.batch_rows));
    }
    Ok(next)
}

/// Where a child is ended.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By itself, right behind the last batch.
    Last,
    /// By a kill when so many rows were read.
    Behind(u64),
}

fn end_and_compare(place: &Place, input: &Input, end: End) -> Result<u64, String> {
    let mut child = Child::spawn(&Job::Import(*input), place);
    if let End::Behind(rows) = end {
        child.wait_for_rows(rows);
        child.kill_if_alive();
    }
    child.finish();
    if matches!(end, End::Last) && child.rows != input.rows {
        return Err(format!("only {} rows were acknowledged", child.rows));
    }
    let Some(db) = open_left(place, child.rows == 0)? else { return Ok(0) };
    let rows = compare(&db, input, child.rows)?;
    db.pool().close().map_err(|error| describe(&error))?;
    drop(db);
    let db = place.open_free(false).map_err(|error| describe(&error))?;
    match compare(&db, input, rows)? {
        again if again == rows => Ok(rows),
        again => Err(format!("{rows} rows, and {again} behind a clean close")),
    }
}

fn end_imports(engine: &'static str, seed: u64) {
    let begin = Instant::now();
    let count = if is_full_size() { 150 } else { 4 };
    let mut all = 0;
    for at in 0..count {
        let mut random = Random::part(seed, at);
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(engine, folder.path(), 1 << 20);
        // A row is about 200 bytes in the log: the batches have from 20 KiB to 1.6 MiB, and all
        // together fill the log one to six times, to any place.
        let batch_rows = 100 << random.below(7);
        let rows = (5_000 + random.below(if is_full_size() { 25_000 } else { 5_000 })) as u64;
        let input = Input { seed: random.next_u64(), rows, batch_rows, acknowledges_early: false };
        if at % 2 == 1 {
            // The same folder goes on with the import.
            let end = End::Behind(random.below(usize::try_from(rows).unwrap()) as u64);
            let done = end_and_compare(&place, &input, end);
            all += done.unwrap_or_else(|e| panic!("{engine}, {input:?}: {e}\n {}", replay(seed)));
        }
        let done = end_and_compare(&place, &input, End::Last);
        all += done.unwrap_or_else(|e| panic!("{engine}, {input:?}: {e}\n {}", replay(seed)));
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "ends behind imports on {engine}: {count} imports, {all} rows, seed {seed:#x}, \
         {seconds:.1} s"
    );
}

#[test]
fn an_end_right_behind_an_import_loses_no_row_on_redb() {
    end_imports("redb", seed_from_env(0x1A91));
}

#[test]
fn an_end_right_behind_an_import_loses_no_row_on_sled() {
    end_imports("sled", seed_from_env(0x1A92));
}

/// The canary: an import that says too early that it is done must be found out.
#[test]
fn an_import_that_is_acknowledged_too_early_is_found_out() {
    let seed = seed_from_env(0x1A93);
    for engine in ["redb", "sled"] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(engine, folder.path(), 1 << 20);
        let input = Input { seed, rows: 20_000, batch_rows: 100, acknowledges_early: true };
        let error = end_and_compare(&place, &input, End::Last).unwrap_err();
        assert!(error.contains("20000 are acknowledged"), "{error}");
    }
}
