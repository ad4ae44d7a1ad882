//! Importing NDJSON with the values checked, beside SQLite that parses the same lines and keeps a
//! history of every row by triggers.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use datafold::FoldDb;
use datafold::engine::{ImportFormat, ImportOptions};
use datafold::model::SchemaName;
use flate2::read::GzDecoder;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::fixture;
use crate::table::{Table, median};

const ROUNDS: usize = 3;
const BATCH: usize = 1_000;
pub(crate) const KEY: [&str; 3] = ["carrier", "flight", "time_hour"];
pub(crate) const TEXTS: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];

pub(crate) fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/nycflights").join(path)
}

/// A schema of the example without its computed fields: with what the files have.
pub(crate) fn written_only(path: &str) -> String {
    let text = std::fs::read_to_string(example(path)).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"transform\""));
    // The last one that is left may have a comma behind it.
    lines.collect::<String>().replace("},  }}", "}}}")
}

/// The flights of one month.
pub(crate) fn shipped_flights() -> PathBuf {
    example("flights-2013-01.csv.gz")
}

pub(crate) fn run(flights: &Path, table: &mut Table) {
    let folder = fixture::folder();
    let lines = folder.path().join("flights.ndjson");
    let columns = write_lines(flights, &lines);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut size, mut sqlite_size, mut peak, mut rows) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let store = folder.path().join(format!("store{round}"));
        forget_peak();
        let (count, rate) = import(&store, &lines);
        peak = peak.max(peak_bytes("self").unwrap());
        size = size_of(&store);
        let database = folder.path().join(format!("flights{round}.db"));
        let (sqlite_count, sqlite_rate) = import_sqlite(&database, &lines, &columns);
        sqlite_size = std::fs::metadata(&database).unwrap().len();
        assert_eq!(count, sqlite_count);
        rows = count;
        ours.push(rate);
        theirs.push(sqlite_rate);
        ratios.push(rate / sqlite_rate);
    }
    table.add(
        &format!("import of {rows} flights, NDJSON"),
        format!("{:.0} rows/s", median(ours)),
        format!("{:.0} rows/s SQLite with a history by triggers", median(theirs)),
        median(ratios),
        "at least 0.8",
    );
    let each = |bytes: u64| bytes as f64 / rows as f64;
    table.add(
        "bytes on disk for each record after it",
        format!("{:.0}", each(size)),
        format!("{:.0} SQLite", each(sqlite_size)),
        each(size) / each(sqlite_size),
        "reported",
    );
    let peak = peak as f64 / 1e6;
    table.add(
        "peak memory of the import",
        format!("{peak:.0} MB"),
        "300 MB".into(),
        peak / 300.0,
        "at most 1",
    );
}

/// Writes the rows of a CSV file as objects, one a line; answers the columns.
pub(crate) fn write_lines(from: &Path, to: &Path) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(GzDecoder::new(File::open(from).unwrap()));
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut out = BufWriter::new(File::create(to).unwrap());
    for row in reader.records() {
        let row = row.unwrap();
        let mut line = String::from("{");
        for (name, cell) in columns.iter().zip(&row) {
            let separator = if line.len() > 1 { ", " } else { "" };
            let quote = if TEXTS.contains(&name.as_str()) { "\"" } else { "" };
            match cell {
                "NA" | "" => write!(line, "{separator}\"{name}\": null").unwrap(),
                cell => write!(line, "{separator}\"{name}\": {quote}{cell}{quote}").unwrap(),
            }
        }
        writeln!(out, "{line}}}").unwrap();
    }
    out.flush().unwrap();
    columns
}

/// Imports such lines into a new store; answers the records and how many a second.
pub(crate) fn import(store: &Path, lines: &Path) -> (u64, f64) {
    let db = FoldDb::create(store.to_str().unwrap()).unwrap();
    let schema = written_only("schemas/Flight.json");
    let name: SchemaName = db.schemas().load_text(&schema, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    let mut options = ImportOptions::new(ImportFormat::Ndjson);
    options.batch_rows = BATCH;
    let input = BufReader::new(File::open(lines).unwrap());
    let start = Instant::now();
    let report = db.import(&name, input, &options, |_| ControlFlow::Continue(())).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(report.refused, 0, "{:?}", report.errors.first());
    db.pool().close().unwrap();
    (report.imported, report.imported as f64 / seconds)
}

/// Transactions of as many rows, each durable; every version of a row also goes to a history.
fn import_sqlite(path: &Path, lines: &Path, columns: &[String]) -> (u64, f64) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&sqlite_schema(columns)).unwrap();
    let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    let updates: Vec<String> =
        columns.iter().map(|name| format!("{name}=excluded.{name}")).collect();
    let insert = format!(
        "INSERT INTO flight ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        columns.join(", "),
        places.join(", "),
        KEY.join(", "),
        updates.join(", ")
    );
    let mut input = BufReader::new(File::open(lines).unwrap()).lines().peekable();
    let start = Instant::now();
    let mut insert = db.prepare(&insert).unwrap();
    let mut rows = 0;
    while input.peek().is_some() {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for line in input.by_ref().take(BATCH) {
            let row: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line.unwrap()).unwrap();
            let values = columns.iter().map(|name| match &row[name] {
                serde_json::Value::String(text) => Sql::Text(text.clone()),
                serde_json::Value::Number(number) => Sql::Integer(number.as_i64().unwrap()),
                _ => Sql::Null,
            });
            rows += insert.execute(rusqlite::params_from_iter(values)).unwrap() as u64;
        }
        db.execute_batch("COMMIT").unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let kept: i64 = db.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
    assert_eq!(kept as u64, rows, "the triggers keep every version");
    (rows, rows as f64 / seconds)
}

fn sqlite_schema(columns: &[String]) -> String {
    let typed: Vec<String> = columns
        .iter()
        .map(|name| {
            let text = TEXTS.contains(&name.as_str());
            format!("{name} {}", if text { "TEXT" } else { "INTEGER" })
        })
        .collect();
    let (typed, names) = (typed.join(", "), columns.join(", "));
    let new: Vec<String> = columns.iter().map(|name| format!("new.{name}")).collect();
    let old: Vec<String> = KEY.iter().map(|name| format!("old.{name}")).collect();
    let (new, old, key) = (new.join(", "), old.join(", "), KEY.join(", "));
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ')";
    format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE flight ({typed}, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;
         CREATE TABLE history (at TEXT, what TEXT, {typed}) STRICT;
         CREATE INDEX history_of ON history ({key}, at);
         CREATE TRIGGER inserted AFTER INSERT ON flight BEGIN
             INSERT INTO history (at, what, {names}) VALUES ({now}, 'insert', {new}); END;
         CREATE TRIGGER updated AFTER UPDATE ON flight BEGIN
             INSERT INTO history (at, what, {names}) VALUES ({now}, 'update', {new}); END;
         CREATE TRIGGER deleted AFTER DELETE ON flight BEGIN
             INSERT INTO history (at, what, {key}) VALUES ({now}, 'delete', {old}); END;"
    )
}

fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Begins to measure the peak anew.
fn forget_peak() {
    // Without it the peak of the whole process so far counts, which is more.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that a process (`self` or its number) had at once, in bytes; `None` if it is
/// gone.
pub(crate) fn peak_bytes(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
