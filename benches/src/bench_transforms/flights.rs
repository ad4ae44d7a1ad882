//! Flights with airlines, airports and planes, and how much of them is computed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use datafold::engine::{ImportFormat, ImportOptions};
use datafold::model::SchemaName;
use datafold::{FoldDb, QueryRequest, engine::Record};
use flate2::read::GzDecoder;

use super::approve;
use crate::bench_import::{example, written_only};

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Computed {
    Nothing,
    /// Three fields of flights: two from the flight itself, one from its plane.
    Fields,
    /// These, and three aggregates for each carrier and for each destination.
    Aggregates,
}

pub(super) const SPEED: &str = r#""speed": {"value": {"type": ["number", "null"]},
    "writable": false, "transform": {"logic": "round(distance / air_time * 60, 1)"}}"#;

pub(super) const DELAY_CLASS: &str = r#""delay_class": {"value": {"type": ["string", "null"]},
    "writable": false, "transform": {"logic": "dep_delay == null ? 'not flown' :
        dep_delay < 0 ? 'early' : dep_delay < 15 ? 'on time' : dep_delay < 60 ? 'late' :
        'very late'"}}"#;

pub(super) const SEATS: &str = r#""seats": {"value": {"type": ["integer", "null"]},
    "writable": false, "transform": {"logic": "Plane[tailnum].seats"}}"#;

/// Of flights by their carrier.
pub(super) const OF_CARRIERS: [&str; 3] = [
    r#""flights": {"value": {"type": ["integer", "null"]}, "writable": false,
        "transform": {"inputs": {"n": {"aggregate": "count()", "of": "Flight",
            "by": ["carrier"], "where": "dep_delay != null"}}, "logic": "n"}}"#,
    r#""miles": {"value": {"type": ["integer", "null"]}, "writable": false,
        "transform": {"inputs": {"s": {"aggregate": "sum(distance)", "of": "Flight",
            "by": ["carrier"]}}, "logic": "s"}}"#,
    r#""mean_delay": {"value": {"type": ["number", "null"]}, "writable": false,
        "transform": {"inputs": {"m": {"aggregate": "avg(dep_delay)", "of": "Flight",
            "by": ["carrier"]}}, "logic": "m"}}"#,
];

/// Of flights by their destination.
const OF_DESTINATIONS: [&str; 3] = [
    r#""arrivals": {"value": {"type": ["integer", "null"]}, "writable": false,
        "transform": {"inputs": {"n": {"aggregate": "count()", "of": "Flight",
            "by": ["dest"]}}, "logic": "n"}}"#,
    r#""mean_arr_delay": {"value": {"type": ["number", "null"]}, "writable": false,
        "transform": {"inputs": {"m": {"aggregate": "avg(arr_delay)", "of": "Flight",
            "by": ["dest"]}}, "logic": "m"}}"#,
    r#""worst_arr_delay": {"value": {"type": ["integer", "null"]}, "writable": false,
        "transform": {"inputs": {"m": {"aggregate": "max(arr_delay)", "of": "Flight",
            "by": ["dest"]}}, "logic": "m"}}"#,
];

/// A schema of the example with what it has in files, and such fields besides.
fn with_fields(schema: &str, fields: &[&str]) -> String {
    let mut text = written_only(&format!("schemas/{schema}.json"));
    let begin = r#""fields": {"#;
    let at = text.find(begin).unwrap() + begin.len();
    text.insert_str(at, &fields.iter().map(|field| format!("{field}, ")).collect::<String>());
    // Lines of a text in JSON.
    text.replace('\n', " ")
}

/// A new store at `path` with all schemas, and all records but those of flights.
pub(super) fn create(path: &Path, computed: Computed) -> FoldDb {
    let db = FoldDb::create(path.to_str().unwrap()).unwrap();
    let if_at_least = |least: Computed, fields: &[&'static str]| {
        if computed >= least { fields.to_vec() } else { Vec::new() }
    };
    let fields = if_at_least(Computed::Fields, &[SPEED, DELAY_CLASS, SEATS]);
    let of_carriers = if_at_least(Computed::Aggregates, &OF_CARRIERS);
    let of_destinations = if_at_least(Computed::Aggregates, &OF_DESTINATIONS);
    let plane = approve(&db, &with_fields("Plane", &[]));
    approve(&db, &with_fields("Flight", &fields));
    let airline = approve(&db, &with_fields("Airline", &of_carriers));
    let airport = approve(&db, &with_fields("Airport", &of_destinations));
    let mut options = ImportOptions::new(ImportFormat::Csv);
    options.nulls.push("NA".into());
    import(&db, &plane, zipped("planes.csv.gz"), &options);
    import(&db, &airport, zipped("airports.csv.gz"), &options);
    import(&db, &airline, File::open(example("airlines.csv")).unwrap(), &options);
    db
}

pub(super) fn zipped(file: &str) -> GzDecoder<File> {
    GzDecoder::new(File::open(example(file)).unwrap())
}

/// Imports all rows; answers how many.
fn import(db: &FoldDb, name: &SchemaName, from: impl Read, options: &ImportOptions) -> u64 {
    let go_on = |_| ControlFlow::Continue(());
    let report = db.import(name, BufReader::new(from), options, go_on).unwrap();
    assert_eq!(report.refused, 0, "{:?}", report.errors.first());
    report.imported
}

/// Imports flights in commits of so many rows, and waits until all is computed; answers how many
/// there are.
pub(super) fn import_flights(db: &FoldDb, lines: &Path, batch_rows: usize) -> u64 {
    let mut options = ImportOptions::new(ImportFormat::Ndjson);
    options.batch_rows = batch_rows;
    let count = import(db, &flight(), File::open(lines).unwrap(), &options);
    for name in ["Flight", "Airline", "Airport"] {
        db.schemas().wait_for_transforms(&SchemaName::parse(name).unwrap()).unwrap();
    }
    count
}

pub(super) fn flight() -> SchemaName {
    SchemaName::parse("Flight").unwrap()
}

/// Has `see` look at some fields of all records of a schema.
pub(super) fn each(db: &FoldDb, schema: &str, select: &[&str], mut see: impl FnMut(&Record)) {
    let request = format!(r#"{{"schema": "{schema}", "select": {select:?}}}"#);
    let request = QueryRequest::parse(&request).unwrap();
    db.query_each(&request, |record| {
        see(record);
        ControlFlow::Continue(())
    })
    .unwrap();
}
