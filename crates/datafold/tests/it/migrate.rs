//! A store that goes from engine to engine is the same store.
//!
//! The long form takes all rows of the example and 100,000 changes. Flights of a whole year can
//! stand in for those of a month:
//! `DATAFOLD_FULL=1 DATAFOLD_FLIGHTS=flights.csv.gz cargo test -p datafold --test it migrate::`

use std::fmt::Write;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use datafold::data_layer::{CopyPhase, CopyProgress, Durability, PoolOptions, migrate};
use datafold::engine::{ImportFormat, ImportOptions, Mutation, RecordInput};
use datafold::model::Value;
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_store::{Keyspace, OpenOptions, Scan, open};
use datafold_testkit::{Random, is_full_size, seed_from_env};
use flate2::read::GzDecoder;
use tempfile::TempDir;

use crate::harness::{check_sound, lines, mutate, name};

/// The rows of a file of the example that are imported.
const ROWS_MAX: usize = 1_500;
const FLIGHTS: &str = "flights-2013-01.csv.gz";
const TABLES: [(&str, &str); 5] = [
    ("Plane", "planes.csv.gz"),
    ("Weather", "weather.csv.gz"),
    ("Flight", FLIGHTS),
    ("Airline", "airlines.csv"),
    ("Airport", "airports.csv.gz"),
];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nycflights").join(name)
}

fn rows(file: &str) -> String {
    let year = std::env::var_os("DATAFOLD_FLIGHTS").filter(|_| file == FLIGHTS);
    let bytes = std::fs::read(year.map_or_else(|| example(file), PathBuf::from)).unwrap();
    let mut text = String::new();
    match file.ends_with(".gz") {
        true => GzDecoder::new(&bytes[..]).read_to_string(&mut text).map(drop).unwrap(),
        false => text = String::from_utf8(bytes).unwrap(),
    }
    let rows = if is_full_size() { usize::MAX } else { ROWS_MAX };
    text.split_inclusive('\n').take(rows).collect()
}

/// The flights of a month, changed: some say otherwise later, some are deleted and come again.
fn fill(url: &str) {
    let db = FoldDb::create(url).unwrap();
    for (schema, file) in TABLES {
        let text = std::fs::read_to_string(example(&format!("schemas/{schema}.json"))).unwrap();
        db.schemas().load_text(&text, Some("example")).unwrap();
        db.schemas().approve_schema(&name(schema)).unwrap();
        let options = ImportOptions {
            nulls: vec!["NA".into()],
            batch_rows: 500,
            ..ImportOptions::new(ImportFormat::Csv)
        };
        let input = std::io::Cursor::new(rows(file));
        let report =
            db.import(&name(schema), input, &options, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.refused, 0, "{:?}", report.errors);
    }
    let change = |text: &str| assert!(mutate(&db, text).is_ok(), "{text}");
    for n in 0..30 {
        change(&format!(
            r#"{{"mutation": "update", "schema": "Airline", "records": [
                {{"carrier": "UA", "name": "United, version {n}"}}]}}"#
        ));
    }
    change(r#"{"mutation": "delete", "schema": "Airline", "keys": [["AA"]]}"#);
    change(r#"{"mutation": "create", "schema": "Airline", "records": [{"carrier": "AA"}]}"#);
    change(r#"{"mutation": "delete", "schema": "Airline", "keys": [["AA"]]}"#);
    change_flights(&db);
    db.schemas().block_schema(&name("Plane"), Some("for now")).unwrap();
    for (schema, _) in TABLES {
        db.schemas().wait_for_transforms(&name(schema)).unwrap();
    }
    db.pool().close().unwrap();
    let other = PoolOptions { space: "other".into(), ..PoolOptions::create() };
    FoldDb::open_with(url, &other).unwrap().pool().close().unwrap();
}

/// The keys of the flights, in the order of the file.
fn flights() -> Vec<[Value; 3]> {
    let text = rows(FLIGHTS);
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let columns = ["carrier", "flight", "time_hour"]
        .map(|name| header.iter().position(|column| *column == name).unwrap());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let [carrier, flight, hour] = columns.map(|column| cells[column]);
            [carrier.into(), Value::Int(flight.parse().unwrap()), hour.into()]
        })
        .collect()
}

/// Changes some flight in each of many commits; of a hundred one is deleted, and some of those
/// come again.
fn change_flights(db: &FoldDb) {
    let flights = flights();
    let mut random = Random::new(seed_from_env(0x319));
    for n in 0..if is_full_size() { 100_000 } else { 300 } {
        let [carrier, flight, hour] = random.choose(&flights).unwrap().clone();
        let record = RecordInput::from([
            ("carrier".to_owned(), carrier.clone()),
            ("flight".to_owned(), flight.clone()),
            ("time_hour".to_owned(), hour.clone()),
            ("dep_delay".to_owned(), Value::Int(n)),
        ]);
        let mutation = match n % 100 {
            99 => Mutation::delete(name("Flight"), vec![vec![carrier, flight, hour]]),
            _ => Mutation::upsert(name("Flight"), vec![record]),
        };
        match db.mutate_with(&mutation.into(), Durability::Buffered) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), "record_not_found"),
        }
    }
    db.pool().flush().unwrap();
}

/// Every row of a store, that of the identity included.
fn dump(url: &str) -> Vec<(Keyspace, Vec<u8>, Vec<u8>)> {
    let store = open(url, &OpenOptions::default()).unwrap();
    let view = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for keyspace in Keyspace::ALL {
        view.for_each(&Scan::all(keyspace), &mut |key, value| {
            rows.push((keyspace, key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    rows
}

/// What a store answers to queries of now and then, and of histories.
fn answers(url: &str) -> String {
    let db = FoldDb::open(url).unwrap();
    check_sound(&db);
    let mut out = String::new();
    let stats = db.stats().unwrap();
    writeln!(out, "{} {} {}", stats.commit, stats.total_records, stats.total_atoms).unwrap();
    for status in db.schemas().get_status() {
        writeln!(out, "{} {:?} {:?} {}", status.name, status.state, status.reason, status.hash)
            .unwrap();
    }
    for schema in ["Airline", "Airport", "Weather", "Flight"] {
        for ago in [0, 20, 200, stats.commit.0 / 2] {
            let as_of = stats.commit.0 - ago;
            let text = format!(r#"{{"schema": "{schema}", "as_of": {as_of}}}"#);
            let request = QueryRequest::parse(&text).unwrap();
            out += &lines(&db.query(&request).unwrap());
        }
    }
    for key in flights().into_iter().step_by(50) {
        for atom in db.history(&name("Flight"), &key, None, None, 1_000).unwrap() {
            writeln!(out, "{atom:?}").unwrap();
        }
    }
    for key in ["UA", "AA"] {
        for atom in db.history(&name("Airline"), &[key.into()], None, None, 1_000).unwrap() {
            writeln!(out, "{atom:?}").unwrap();
        }
    }
    db.pool().close().unwrap();
    out
}

#[test]
fn redb_to_sled_to_redb_is_the_same_store() {
    let folder = TempDir::new().unwrap();
    let url = |scheme: &str, name: &str| format!("{scheme}{}", folder.path().join(name).display());
    let (first, second) = (url("", "a"), url("sled:", "b"));
    let (third, fourth) = (url("redb:", "c"), url("sled:", "d"));
    fill(&first);
    let (rows, expected) = (dump(&first), answers(&first));
    assert!(rows.len() > 4_000 && expected.lines().count() > 4_000);
    let options = OpenOptions::default();
    let mut told = Vec::<CopyProgress>::new();
    let migration =
        migrate(&first, &second, &options, &mut |progress| told.push(progress)).unwrap();
    assert_eq!((migration.from_engine, migration.to_engine), ("redb", "sled"));
    // All but the row of the identity, which the new store writes itself, and it is equal.
    assert_eq!(migration.rows, rows.len() as u64);
    let bytes = rows.iter().map(|(_, key, value)| (key.len() + value.len()) as u64).sum::<u64>();
    assert_eq!(migration.bytes, bytes);
    for phase in [CopyPhase::Copying, CopyPhase::Comparing] {
        let of_phase: Vec<_> = told.iter().filter(|told| told.phase == phase).collect();
        assert!(!of_phase.is_empty() && of_phase.is_sorted_by_key(|told| told.rows));
    }
    for (from, to) in [(&second, &third), (&second, &fourth)] {
        migrate(from, to, &options, &mut |_| {}).unwrap();
    }
    for url in [&first, &second, &third, &fourth] {
        assert!(dump(url) == rows, "{url}");
        assert!(answers(url) == expected, "{url}");
    }
    // Each goes on by itself, from the same commit.
    let request = r#"{"mutation": "create", "schema": "Airline", "records": [{"carrier": "ZZ"}]}"#;
    let request = MutationRequest::parse(request).unwrap();
    let commits = [&second, &third].map(|url| {
        let db = FoldDb::open(url).unwrap();
        let receipt = db.mutate(&request).unwrap();
        db.pool().close().unwrap();
        receipt.commit
    });
    assert_eq!(commits[0], commits[1]);
    assert!(dump(&first) == rows);
}

#[test]
fn a_migration_is_refused_where_it_makes_no_sense() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    FoldDb::create(&path("a")).unwrap().pool().close().unwrap();
    let code = |from: &str, to: &str| {
        let error = migrate(from, to, &OpenOptions::default(), &mut |_| {}).unwrap_err();
        error.code()
    };
    assert_eq!(code("memory:", &path("b")), "invalid_store_url");
    assert_eq!(code(&path("a"), "memory:"), "invalid_store_url");
    assert_eq!(code(&path("missing"), &path("b")), "store_not_found");
    assert_eq!(code(&path("a"), &path("a")), "store_exists");
    assert_eq!(code(&path("a"), &format!("sled:{}", path("a"))), "store_exists");
    assert_eq!(code(&format!("sled:{}", path("a")), &path("b")), "not_a_store");
    std::fs::create_dir(path("c")).unwrap();
    std::fs::write(folder.path().join("c/holiday.jpg"), "x").unwrap();
    assert_eq!(code(&path("a"), &path("c")), "not_a_store");
    assert_eq!(std::fs::read_dir(path("c")).unwrap().count(), 1);
    assert!(!folder.path().join("b").exists() && !folder.path().join("missing").exists());
    // A folder that is there and empty will do.
    std::fs::create_dir(path("b")).unwrap();
    migrate(&path("a"), &path("b"), &OpenOptions::default(), &mut |_| {}).unwrap();
}
