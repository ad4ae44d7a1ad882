//! SQLite that computes what DataFold does, by triggers and generated columns: WAL,
//! `synchronous=FULL`, 256 MiB of cache, upserts.
//!
//! - `speed` and `delay_class` are generated columns that are stored.
//! - `airline` and `airport` have a column for each count, sum and highest value, which triggers
//!   on the insertion, update and deletion of a flight adjust. An average is a sum, a count and a
//!   generated column. If the highest delay goes, the next one is looked for.
//! - `seats` is looked up in `plane` when a flight is inserted and when its tail number changes.
//!
//! What is kept of the past is that of flights alone, not that of aggregates. There are two
//! shapes, see [`History`].

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use super::flights::{Computed, zipped};
use super::import::BATCH;
use crate::bench_import::{KEY, TEXTS, example};

/// What is kept of flights as they were, and what is made easy besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    /// As in the bench of imports: every version of a row, with what is computed, goes to a
    /// history with an index of the key. Triggers look `seats` up, also when a plane is changed,
    /// inserted or deleted, with an index of the tail number; another index finds the highest
    /// delay of a destination.
    Every,
    /// As in the table beside others: a row has the time since when it is what it is, and goes to
    /// the history when it is replaced. The statement that inserts looks `seats` up. There is no
    /// index besides the key: another number of seats of a plane changes no flight, and if the
    /// highest delay goes, all flights are read.
    Replaced,
}

const DELAY_CLASS: &str = "CASE WHEN dep_delay IS NULL THEN 'not flown'
    WHEN dep_delay < 0 THEN 'early' WHEN dep_delay < 15 THEN 'on time'
    WHEN dep_delay < 60 THEN 'late' ELSE 'very late' END";

/// A new database with all tables, and all rows but those of flights.
pub(super) fn create(
    path: &Path,
    columns: &[String],
    computed: Computed,
    history: History,
) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144;
         CREATE TABLE plane (tailnum TEXT PRIMARY KEY, seats INTEGER) STRICT, WITHOUT ROWID;
         CREATE TABLE airline (carrier TEXT PRIMARY KEY, flights INTEGER DEFAULT 0,
             miles INTEGER DEFAULT 0, delays INTEGER DEFAULT 0, delay INTEGER DEFAULT 0,
             mean_delay REAL GENERATED ALWAYS AS (CAST(delay AS REAL) / nullif(delays, 0)))
             STRICT, WITHOUT ROWID;
         CREATE TABLE airport (faa TEXT PRIMARY KEY, arrivals INTEGER DEFAULT 0,
             delays INTEGER DEFAULT 0, delay INTEGER DEFAULT 0, worst INTEGER,
             mean_delay REAL GENERATED ALWAYS AS (CAST(delay AS REAL) / nullif(delays, 0)))
             STRICT, WITHOUT ROWID;",
    )
    .unwrap();
    db.execute_batch("BEGIN").unwrap();
    fill(&db, "INSERT INTO plane VALUES (?, ?)", zipped("planes.csv.gz"), "seats");
    fill(&db, "INSERT INTO airport (faa) VALUES (?)", zipped("airports.csv.gz"), "");
    let airlines = File::open(example("airlines.csv")).unwrap();
    fill(&db, "INSERT INTO airline (carrier) VALUES (?)", airlines, "");
    db.execute_batch("COMMIT").unwrap();
    db.execute_batch(&flights(columns, history)).unwrap();
    if computed == Computed::Aggregates {
        db.execute_batch(&aggregates()).unwrap();
        if history == History::Every {
            db.execute_batch("CREATE INDEX by_delay ON flight (dest, arr_delay)").unwrap();
        }
    }
    db
}

/// Inserts the first column of a CSV file, and a column of integers.
fn fill(db: &Connection, insert: &str, from: impl std::io::Read, column: &str) {
    let mut reader = csv::Reader::from_reader(from);
    let at = reader.headers().unwrap().iter().position(|name| name == column);
    let mut insert = db.prepare(insert).unwrap();
    for row in reader.records() {
        let row = row.unwrap();
        let number = at.map(|at| row[at].parse::<i64>().ok());
        let values = [Sql::Text(row[0].to_owned())].into_iter();
        let values = values.chain(number.map(|number| number.map_or(Sql::Null, Sql::Integer)));
        insert.execute(rusqlite::params_from_iter(values)).unwrap();
    }
}

/// `NAME.a, NAME.b`.
fn of(name: &str, columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{name}.{column}")).collect();
    columns.join(", ")
}

/// The table of flights with its history, and the triggers for `seats`.
fn flights(columns: &[String], history: History) -> String {
    let written: Vec<&str> = columns.iter().map(String::as_str).collect();
    let typed: Vec<String> = columns
        .iter()
        .map(|name| {
            let text = TEXTS.contains(&name.as_str());
            format!("{name} {}", if text { "TEXT" } else { "INTEGER" })
        })
        .collect();
    let (typed, names, key) = (typed.join(", "), written.join(", "), KEY.join(", "));
    let table = format!(
        "CREATE TABLE flight ({typed}, seats INTEGER, since INTEGER,
             speed REAL GENERATED ALWAYS AS (round(1.0 * distance / air_time * 60, 1)) STORED,
             delay_class TEXT GENERATED ALWAYS AS ({DELAY_CLASS}) STORED,
             PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;"
    );
    let (new, old) = (of("new", &written), of("old", &written));
    let and = |name: &str| format!("{name}.speed, {name}.delay_class");
    let kept = format!("{typed}, speed REAL, delay_class TEXT, seats INTEGER");
    let (new, old) = (format!("{new}, {}", and("new")), format!("{old}, {}", and("old")));
    if history == History::Replaced {
        return format!(
            "{table}
             CREATE TABLE history ({kept}, since INTEGER, PRIMARY KEY ({key}, since))
                 STRICT, WITHOUT ROWID;
             CREATE TRIGGER kept_updated AFTER UPDATE ON flight BEGIN
                 INSERT INTO history VALUES ({old}, old.seats, old.since); END;
             CREATE TRIGGER kept_deleted AFTER DELETE ON flight BEGIN
                 INSERT INTO history VALUES ({old}, old.seats, old.since); END;"
        );
    }
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ')";
    let seats = "(SELECT seats FROM plane WHERE tailnum = new.tailnum)";
    let set_seats = format!(
        "UPDATE flight SET seats = {seats}
         WHERE carrier = new.carrier AND flight = new.flight AND time_hour = new.time_hour"
    );
    let of_plane: String = [("inserted", "INSERT", "new"), ("updated", "UPDATE OF seats", "new")]
        .into_iter()
        .chain([("deleted", "DELETE", "old")])
        .map(|(name, event, row)| {
            format!(
                "CREATE TRIGGER plane_{name} AFTER {event} ON plane BEGIN
                     UPDATE flight SET seats = (SELECT seats FROM plane WHERE tailnum =
                         {row}.tailnum) WHERE tailnum = {row}.tailnum;
                     INSERT INTO history SELECT {now}, 'seats', {names}, speed, delay_class, seats
                         FROM flight WHERE tailnum = {row}.tailnum; END;"
            )
        })
        .collect();
    let old_key = of("old", &KEY);
    format!(
        "{table}
         CREATE TABLE history (at TEXT, what TEXT, {kept}) STRICT;
         CREATE INDEX history_of ON history ({key}, at);
         CREATE INDEX by_tailnum ON flight (tailnum);
         CREATE TRIGGER kept_inserted AFTER INSERT ON flight BEGIN
             {set_seats};
             INSERT INTO history VALUES ({now}, 'insert', {new}, {seats}); END;
         CREATE TRIGGER kept_updated AFTER UPDATE OF {names} ON flight BEGIN
             {set_seats};
             INSERT INTO history VALUES ({now}, 'update', {new}, {seats}); END;
         CREATE TRIGGER kept_deleted AFTER DELETE ON flight BEGIN
             INSERT INTO history (at, what, {key}) VALUES ({now}, 'delete', {old_key}); END;
         {of_plane}"
    )
}

/// The triggers that adjust `airline` and `airport`.
fn aggregates() -> String {
    let adjust = |row: &str, sign: &str, worst: &str| {
        format!(
            "UPDATE airline SET flights = flights {sign} ({row}.dep_delay IS NOT NULL),
                 miles = miles {sign} coalesce({row}.distance, 0),
                 delays = delays {sign} ({row}.dep_delay IS NOT NULL),
                 delay = delay {sign} coalesce({row}.dep_delay, 0) WHERE carrier = {row}.carrier;
             UPDATE airport SET arrivals = arrivals {sign} 1,
                 delays = delays {sign} ({row}.arr_delay IS NOT NULL),
                 delay = delay {sign} coalesce({row}.arr_delay, 0),
                 worst = {worst} WHERE faa = {row}.dest;"
        )
    };
    let add = adjust("new", "+", "coalesce(max(worst, new.arr_delay), worst, new.arr_delay)");
    let remove = adjust(
        "old",
        "-",
        "CASE WHEN old.arr_delay = worst
             THEN (SELECT max(arr_delay) FROM flight WHERE dest = old.dest) ELSE worst END",
    );
    let read = "carrier, dest, dep_delay, arr_delay, distance";
    format!(
        "CREATE TRIGGER counted_inserted AFTER INSERT ON flight BEGIN {add} END;
         CREATE TRIGGER counted_updated AFTER UPDATE OF {read} ON flight BEGIN {remove} {add} END;
         CREATE TRIGGER counted_deleted AFTER DELETE ON flight BEGIN {remove} END;"
    )
}

/// Transactions of as many rows as those of DataFold, each durable; answers how many rows.
pub(super) fn import(db: &Connection, lines: &Path, columns: &[String], history: History) -> u64 {
    let mut names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    if history == History::Replaced {
        let tailnum = columns.iter().position(|name| name == "tailnum").unwrap() + 1;
        names.extend(["seats", "since"]);
        places.push(format!("(SELECT seats FROM plane WHERE tailnum = ?{tailnum})"));
        places.push("unixepoch()".into());
    }
    let updates: Vec<String> = names.iter().map(|name| format!("{name}=excluded.{name}")).collect();
    let upsert = format!(
        "INSERT INTO flight ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        names.join(", "),
        places.join(", "),
        KEY.join(", "),
        updates.join(", ")
    );
    let mut upsert = db.prepare(&upsert).unwrap();
    let mut input = BufReader::new(File::open(lines).unwrap()).lines().peekable();
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
            rows += upsert.execute(rusqlite::params_from_iter(values)).unwrap() as u64;
        }
        db.execute_batch("COMMIT").unwrap();
    }
    rows
}

/// Its own triggers have done what they should.
pub(super) fn check(db: &Connection, computed: Computed) {
    let none = |what: &str| {
        let sql = format!("SELECT count(*) FROM ({what})");
        let count: i64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{what}");
    };
    none(
        "SELECT 1 FROM flight LEFT JOIN plane USING (tailnum)
         WHERE flight.seats IS NOT plane.seats",
    );
    if computed == Computed::Aggregates {
        none(
            "SELECT carrier, count(dep_delay), total(distance), avg(dep_delay) FROM flight
             GROUP BY carrier
             EXCEPT SELECT carrier, flights, CAST(miles AS REAL), mean_delay FROM airline",
        );
        none(
            "SELECT dest, count(*), avg(arr_delay), max(arr_delay) FROM flight
             WHERE dest IN (SELECT faa FROM airport) GROUP BY dest
             EXCEPT SELECT faa, arrivals, mean_delay, worst FROM airport",
        );
    }
}
