//! Importing flights while fields and aggregates are computed, beside the same import without any,
//! and beside SQLite that computes them by triggers and generated columns.
//!
//! Airlines, airports and planes are there before. Each flight has its speed, the class of its
//! delay and, from its plane, the number of seats; each airline three aggregates over its flights,
//! each airport three over those with it as destination. All in commits of 1,000 rows, each
//! durable. The time ends when nothing is left to compute. What was computed is compared with what
//! SQLite says of the same rows.

use std::collections::BTreeMap;
use std::time::Instant;

use datafold::FoldDb;
use rusqlite::Connection;

use super::flights::{self, Computed};
use super::sqlite::{self, History};
use super::{Choice, int, number, text};
use crate::Size;
use crate::bench_import::write_lines;
use crate::fixture;
use crate::table::{Table, median};

pub(super) const BATCH: usize = 1_000;

/// What is imported into.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Ours(Computed),
    Sqlite(History),
}

pub(super) fn run(size: Size, choice: Choice<'_>, table: &mut Table) {
    let folder = fixture::folder();
    let lines = folder.path().join("flights.ndjson");
    let columns = write_lines(choice.flights, &lines);
    let most = if choice.aggregates { Computed::Aggregates } else { Computed::Fields };
    let subjects = [
        Subject::Ours(most),
        Subject::Ours(Computed::Nothing),
        Subject::Sqlite(History::Every),
        Subject::Sqlite(History::Replaced),
        Subject::Ours(Computed::Fields),
    ];
    // Without aggregates the last one would be the first one again.
    let subjects = if choice.aggregates { &subjects[..] } else { &subjects[..4] };
    let (mut rates, mut count) = (vec![Vec::new(); subjects.len()], 0);
    for round in 0..size.rounds.min(3) {
        // It goes at the end of the round, after the stores in it.
        let stores = fixture::folder();
        let mut sides: (Option<FoldDb>, Option<Connection>) = (None, None);
        for place in 0..subjects.len() {
            let at = (round + place) % subjects.len();
            let path = stores.path().join(at.to_string());
            let seconds = match subjects[at] {
                Subject::Ours(computed) => {
                    let db = flights::create(&path, computed);
                    let start = Instant::now();
                    count = flights::import_flights(&db, &lines, BATCH);
                    let seconds = start.elapsed().as_secs_f64();
                    if at == 0 {
                        sides.0 = Some(db)
                    } else {
                        db.pool().close().unwrap()
                    }
                    seconds
                }
                Subject::Sqlite(history) => {
                    let db = sqlite::create(&path, &columns, most, history);
                    let start = Instant::now();
                    assert_eq!(sqlite::import(&db, &lines, &columns, history), count);
                    let seconds = start.elapsed().as_secs_f64();
                    sqlite::check(&db, most);
                    sides.1 = Some(db);
                    seconds
                }
            };
            rates[at].push(count as f64 / seconds);
        }
        if let (Some(ours), Some(theirs)) = &sides {
            check(ours, theirs, most);
        }
    }
    add(&rates, count, most, table);
}

fn add(rates: &[Vec<f64>], count: u64, most: Computed, table: &mut Table) {
    let aggregates = if most == Computed::Aggregates { " and six aggregates" } else { "" };
    let what = format!("import of {count} flights with three computed fields{aggregates}");
    let mut add = |what: &str, ours: usize, theirs: usize, beside: &str, goal: &str| {
        let ratios = rates[ours].iter().zip(&rates[theirs]).map(|(ours, theirs)| ours / theirs);
        let ratio = median(ratios.collect());
        let told = |side: usize| format!("{:.0} rows/s", median(rates[side].clone()));
        table.add(what, told(ours), format!("{} {beside}", told(theirs)), ratio, goal);
    };
    add(&what, 0, 1, "without them", "at least 0.4");
    add("that", 0, 2, "SQLite with triggers", "at least 0.5");
    add("that", 0, 3, "SQLite, the least that it can do", "reported");
    if most == Computed::Aggregates {
        add("import with three computed fields alone", 4, 1, "without them", "reported");
    }
}

/// What was computed is what SQLite says of the same rows.
fn check(ours: &FoldDb, theirs: &Connection, computed: Computed) {
    let (mut classes, mut seats, mut speed) = (BTreeMap::new(), 0, 0.0);
    flights::each(ours, "Flight", &["delay_class", "seats", "speed"], |record| {
        *classes.entry(text(&record.values[0]).unwrap().to_owned()).or_insert(0) += 1;
        seats += int(&record.values[1]).unwrap_or(0);
        speed += number(&record.values[2]).unwrap_or(0.0);
    });
    let found: BTreeMap<String, i64> =
        rows(theirs, "SELECT delay_class, count(*) FROM flight GROUP BY 1", |row| {
            (row.get(0).unwrap(), row.get(1).unwrap())
        });
    assert_eq!(classes, found);
    let sums = theirs.query_row("SELECT sum(seats), total(speed) FROM flight", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
    });
    let (their_seats, their_speed) = sums.unwrap();
    assert_eq!(seats, their_seats);
    // A speed in the middle of two tenths may be rounded another way.
    assert!((speed - their_speed).abs() <= their_speed * 1e-6, "{speed} {their_speed}");
    if computed == Computed::Aggregates {
        check_groups(
            ours,
            theirs,
            ["Airline", "carrier", "flights", "miles", "mean_delay"],
            "SELECT carrier, count(dep_delay), sum(distance), avg(dep_delay)
             FROM flight GROUP BY carrier",
        );
        check_groups(
            ours,
            theirs,
            ["Airport", "faa", "arrivals", "worst_arr_delay", "mean_arr_delay"],
            "SELECT dest, count(*), max(arr_delay), avg(arr_delay)
             FROM flight WHERE dest IN (SELECT faa FROM airport) GROUP BY dest",
        );
    }
}

/// Two integers and an average of each group.
type Groups = BTreeMap<String, (i64, Option<i64>, Option<f64>)>;

/// The integers are the same, and the average but for its rounding.
fn check_groups(ours: &FoldDb, theirs: &Connection, names: [&str; 5], sql: &str) {
    let [schema, select @ ..] = names;
    let expected: Groups = rows(theirs, sql, |row| {
        let integers = (row.get(1).unwrap(), row.get(2).unwrap(), row.get(3).unwrap());
        (row.get(0).unwrap(), integers)
    });
    let mut seen = 0;
    flights::each(ours, schema, &select, |record| {
        let [key, count, integer, average] = &record.values[..] else { unreachable!() };
        let key = text(key).unwrap();
        // An empty group has no row there: nothing is counted, and there is no highest or mean.
        let Some(expected) = expected.get(key) else {
            assert_eq!(int(count).unwrap_or(0), 0, "{schema} {key}");
            assert_eq!(number(average), None, "{schema} {key}");
            return;
        };
        seen += 1;
        let found = (int(count).unwrap(), int(integer), number(average));
        assert_eq!((found.0, found.1), (expected.0, expected.1), "{schema} {key}");
        let (ours, theirs) = (found.2.unwrap_or(f64::NAN), expected.2.unwrap_or(f64::NAN));
        let is_same = (ours - theirs).abs() <= theirs.abs() * 1e-9;
        assert!(is_same || ours.is_nan() && theirs.is_nan(), "{schema} {key}: {ours} {theirs}");
    });
    assert_eq!(seen, expected.len(), "{schema}");
}

/// The rows that a query answers, by their first column.
fn rows<V>(
    db: &Connection,
    sql: &str,
    row: impl Fn(&rusqlite::Row<'_>) -> (String, V),
) -> BTreeMap<String, V> {
    let mut statement = db.prepare(sql).unwrap();
    let found = statement.query_map([], |found| Ok(row(found))).unwrap();
    found.map(|row| row.unwrap()).collect()
}
