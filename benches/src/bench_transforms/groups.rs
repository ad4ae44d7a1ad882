//! A mutation of a record that an aggregate counts, sums or compares: in a group of a million
//! records, and in one of a thousand.
//!
//! Both groups are of one store in memory, so that only they differ. Each function is that of a
//! schema of its own and reads a field of its own, so that a mutation adjusts one alone; that of a
//! field that nothing reads shows what the number of records costs without any aggregate. The
//! records are random ones of their group. Each mutation changes what it adjusts: those of `count`
//! take a record out and put it back in turns, those of `min` and `max` make a record the lowest
//! or highest one and an ordinary one again.

use std::fmt::Write as _;

use datafold::FoldDb;
use datafold::engine::{Mutation, MutationRequest, RecordInput};
use datafold::model::{SchemaName, Value};

use super::turns::{TURN, in_turns, ratio, told, values};
use super::{approve, int, verify_derived};
use crate::Size;
use crate::fixture::Random;
use crate::table::Table;

/// The records of the small group.
const SMALL: u64 = 1_000;
/// Values are below it, but for those that are meant to be the highest.
const VALUES: u64 = 1_000_000;

/// A function over the field with the number of its place.
struct Function {
    name: &'static str,
    /// With `x` for the field.
    aggregate: &'static str,
    filter: Option<&'static str>,
    /// The value of a step; a record has two steps, one after the other.
    value: fn(&mut Random, usize) -> i64,
}

const fn of_all(
    name: &'static str,
    aggregate: &'static str,
    value: fn(&mut Random, usize) -> i64,
) -> Function {
    Function { name, aggregate, filter: None, value }
}

const FUNCTIONS: [Function; 6] = [
    Function {
        name: "count",
        aggregate: "count()",
        filter: Some("x >= 0"),
        value: |random, step| if step == 0 { -1 } else { ordinary(random, step) },
    },
    of_all("sum", "sum(x)", ordinary),
    of_all("avg", "avg(x)", ordinary),
    of_all("min", "min(x)", |random, step| match step {
        0 => -1 - random.below(SMALL) as i64,
        _ => ordinary(random, step),
    }),
    of_all("max", "max(x)", |random, step| match step {
        0 => (VALUES + random.below(SMALL)) as i64,
        _ => ordinary(random, step),
    }),
    of_all("count_distinct", "count_distinct(x)", ordinary),
];

fn ordinary(random: &mut Random, _step: usize) -> i64 {
    random.below(VALUES) as i64
}

pub(super) fn run(size: Size, table: &mut Table) {
    let db = store(size.records);
    let mut measure = |what: &str, field: usize, value: fn(&mut Random, usize) -> i64, goal| {
        let mut random = Random(field as u64);
        let times = in_turns(&[&db, &db], 4 * size.rounds, |side, _| {
            let ids = if side == 0 { 0..size.records } else { size.records..size.records + SMALL };
            let mut pair = || {
                let id = ids.start + random.below(ids.end - ids.start);
                [0, 1].map(|step| update(id, field, value(&mut random, step)))
            };
            (0..TURN / 2).flat_map(|_| pair()).collect()
        });
        table.add(
            &format!("{what}, group of {} records beside {SMALL}", size.records),
            told(&times[0]),
            told(&times[1]),
            ratio(&times[0], &times[1]),
            goal,
        );
    };
    for (field, function) in FUNCTIONS.iter().enumerate() {
        let what = format!("update that adjusts a {}", function.name);
        measure(&what, field, function.value, "below 2");
    }
    measure("update that no aggregate reads", FUNCTIONS.len(), ordinary, "for comparison");
    check_counts(&db, size.records);
    verify_derived(&db);
}

fn update(id: u64, field: usize, value: i64) -> MutationRequest {
    let mut record = values([("id", id)]);
    record.insert(format!("x{field}"), Value::Int(value));
    Mutation::update(sale(), vec![record]).into()
}

fn sale() -> SchemaName {
    SchemaName::parse("Sale").unwrap()
}

/// A store with both groups, 0 and 1, and a schema for each function.
fn store(records: u64) -> FoldDb {
    let db = FoldDb::create("memory:").unwrap();
    let mut fields = String::new();
    for at in 0..=FUNCTIONS.len() {
        write!(fields, r#", "x{at}": {{"value": {{"type": "integer"}}}}"#).unwrap();
    }
    let schema = format!(
        r#"{{"name": "Sale", "key": ["id"], "fields": {{"id": {{"value": {{"type": "integer"}}}},
            "g": {{"value": {{"type": "integer"}}}}{fields}}}}}"#
    );
    approve(&db, &schema);
    let mut random = Random(7);
    let mut record = |id: u64| -> RecordInput {
        let mut record = values([("id", id), ("g", u64::from(id >= records))]);
        for field in 0..=FUNCTIONS.len() {
            record.insert(format!("x{field}"), Value::Int(ordinary(&mut random, 0)));
        }
        record
    };
    let mut of_functions = Vec::new();
    for (field, function) in FUNCTIONS.iter().enumerate() {
        let name = approve(&db, &of_function(field, function));
        let groups = vec![values([("g", 0)]), values([("g", 1)])];
        db.mutate(&Mutation::create(name.clone(), groups).into()).unwrap();
        of_functions.push(name);
    }
    let ids: Vec<u64> = (0..records + SMALL).collect();
    for chunk in ids.chunks(1_000) {
        let rows = chunk.iter().map(|id| record(*id)).collect();
        db.mutate(&Mutation::create(sale(), rows).into()).unwrap();
    }
    for name in &of_functions {
        db.schemas().wait_for_transforms(name).unwrap();
    }
    db
}

fn of_function(field: usize, function: &Function) -> String {
    let x = format!("x{field}");
    let aggregate = function.aggregate.replace("(x)", &format!("({x})"));
    let filter = function.filter.map(|filter| filter.replacen('x', &x, 1));
    let filter = filter.map_or(String::new(), |filter| format!(r#", "where": "{filter}""#));
    format!(
        r#"{{"name": "Of_{}", "key": ["g"], "fields": {{"g": {{"value": {{"type": "integer"}}}},
            "result": {{"writable": false, "transform": {{"inputs": {{"r":
                {{"aggregate": "{aggregate}", "of": "Sale", "by": ["g"]{filter}}}}},
                "logic": "r"}}}}}}}}"#,
        function.name
    )
}

/// All records are counted again when the last pair of steps is over.
fn check_counts(db: &FoldDb, records: u64) {
    let name = SchemaName::parse(&format!("Of_{}", FUNCTIONS[0].name)).unwrap();
    for (group, expected) in [(0, records), (1, SMALL)] {
        let found = db.get(&name, &[Value::Int(group)]).unwrap().unwrap();
        assert_eq!(found.get("result").and_then(int), Some(expected as i64));
    }
}
