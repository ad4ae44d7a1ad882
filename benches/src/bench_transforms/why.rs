//! How long it takes to tell why a value is what it is, for one value of each kind; and to compute
//! every value again.

use std::time::Instant;

use datafold::data_layer::Moment;
use datafold::model::{FieldName, SchemaName, Value};

use super::filling::{Filled, first};
use super::{flights, verify_derived};
use crate::fixture::Random;
use crate::table::{Table, median};

const TIMES: usize = 100;
const GOAL_MS: f64 = 10.0;

/// Kinds of values of flights, with the schema, but for its number, and the field.
const OF_FLIGHTS: [(&str, &str, &str); 5] = [
    ("written", "Flight", "dep_delay"),
    ("mapped", "Facts", "dep_delay"),
    ("computed from its record", "Facts", "speed"),
    ("computed from a computed one", "Facts", "is_fast"),
    ("looked up", "Facts", "seats"),
];

/// Kinds of values of carriers.
const OF_CARRIERS: [(&str, &str); 3] =
    [("a count", "flights"), ("a sum", "miles"), ("an average", "mean_delay")];

pub(super) fn run(filled: &Filled, table: &mut Table) {
    for (what, schema, field) in OF_FLIGHTS {
        let schema = if schema == "Flight" { flights::flight() } else { first(schema) };
        why(filled, what, &schema, field, &filled.keys, table);
    }
    if filled.aggregates {
        let mut keys = Vec::new();
        flights::each(&filled.db, "Airline", &["carrier"], |record| {
            keys.push(record.values.clone());
        });
        for (what, field) in OF_CARRIERS {
            let what = format!("{what} over {} flights by carrier", filled.keys.len());
            why(filled, &what, &first("Carriers"), field, &keys, table);
        }
    }
    let start = Instant::now();
    let report = filled.db.verify().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems.first());
    let whole = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let values = verify_derived(&filled.db);
    let derived = start.elapsed().as_secs_f64();
    table.add(
        &format!("verify --derived: {values} computed values, 0 differences"),
        format!("{derived:.2} s"),
        format!("{whole:.2} s verify of the store"),
        derived / whole,
        "reported",
    );
}

/// Asks for values of random records; the longest time counts.
fn why(
    filled: &Filled,
    what: &str,
    schema: &SchemaName,
    field: &str,
    keys: &[Vec<Value>],
    table: &mut Table,
) {
    let field = FieldName::parse(field).unwrap();
    let mut random = Random(3);
    let times: Vec<f64> = (0..TIMES)
        .map(|_| {
            let key = &keys[random.below(keys.len() as u64) as usize];
            let start = Instant::now();
            filled.db.why(schema, key, &field, Moment::Now).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let longest = times.iter().copied().fold(0.0, f64::max);
    table.add(
        &format!("why of a value: {what}"),
        format!("{:.3} ms, at most {longest:.3} ms", median(times)),
        format!("{GOAL_MS} ms"),
        longest / GOAL_MS,
        "at most 1",
    );
}
