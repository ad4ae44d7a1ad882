//! Generated queries answer what SQLite answers of the same rows, with and without indexes, and
//! page by page what they answer at once.

use std::thread;

use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use rusqlite::types::ValueRef;

use super::data::{self, Stores};
use super::query::{Fault, Query, Statement};
use crate::harness::describe;

const SEED: u64 = 0x05EE_D501;
/// At most so many pages of an answer are read.
const PAGES_MAX: usize = 6;
/// So many threads share the queries of the long form.
const THREADS: u64 = 2;
/// Of the queries of the long form one in so many is also read in pages: each page of a sorted
/// answer reads all rows again.
const PAGED_ONE_IN: usize = 8;

/// How queries were answered: what the comparison has seen.
#[derive(Debug, Default)]
struct Ways {
    queries: usize,
    empty: usize,
    /// Queries that were read in pages too.
    paged: usize,
    pages: usize,
    by_key: usize,
    by_index: usize,
    in_index_order: usize,
    counted: usize,
    grouped: usize,
}

impl Ways {
    fn count(&mut self, db: &FoldDb, request: &QueryRequest) {
        let steps = db.explain(request).unwrap().to_string();
        let has = |words: &str| usize::from(steps.contains(words));
        self.by_key += has("the key");
        self.by_index += has("index on");
        self.in_index_order += has("in its order");
        self.counted += has("count the entries") + has("take the counter");
        self.grouped += has("group by");
    }

    fn add(&mut self, other: &Self) {
        self.queries += other.queries;
        self.empty += other.empty;
        self.paged += other.paged;
        self.pages += other.pages;
        self.by_key += other.by_key;
        self.by_index += other.by_index;
        self.in_index_order += other.in_index_order;
        self.counted += other.counted;
        self.grouped += other.grouped;
    }
}

/// A number in an answer of SQLite may be rounded otherwise than the exact sum.
fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
}

#[expect(clippy::cast_precision_loss, reason = "a sum of SQLite is rounded, too")]
fn is_same(found: &Value, expected: ValueRef<'_>) -> bool {
    match (found, expected) {
        (Value::Null, ValueRef::Null) => true,
        (Value::Bool(a), ValueRef::Integer(b)) => i64::from(*a) == b,
        (Value::Int(a), ValueRef::Integer(b)) => *a == b,
        (Value::Time(a), ValueRef::Integer(b)) => a.as_micros() == b,
        (Value::Int(a), ValueRef::Real(b)) => is_near(*a as f64, b),
        (Value::Float(a), ValueRef::Integer(b)) => is_near(*a, b as f64),
        (Value::Float(a), ValueRef::Real(b)) => is_near(*a, b),
        (Value::Text(a), ValueRef::Text(b)) => a.as_bytes() == b,
        _ => false,
    }
}

/// Compares an answer with that of SQLite; answers what differs.
fn difference(stores: &Stores, statement: &Statement, found: &[Vec<Value>]) -> Result<(), String> {
    let fail = |error: rusqlite::Error| format!("SQLite: {error}");
    let mut prepared = stores.sqlite.prepare(&statement.text).map_err(fail)?;
    let bound = rusqlite::params_from_iter(statement.bound.iter());
    let mut rows = prepared.query(bound).map_err(fail)?;
    let mut at = 0;
    while let Some(row) = rows.next().map_err(fail)? {
        let Some(values) = found.get(at) else {
            return Err(format!("{at} records, and SQLite has more"));
        };
        for (column, value) in values.iter().enumerate() {
            let expected = row.get_ref(column).map_err(fail)?;
            if !is_same(value, expected) {
                return Err(format!("record {at}, column {column}: {value:?}, not {expected:?}"));
            }
        }
        at += 1;
    }
    if at < found.len() {
        return Err(format!("{} records, and SQLite has {at}", found.len()));
    }
    Ok(())
}

fn answer(
    db: &FoldDb,
    request: &QueryRequest,
) -> Result<(Vec<Vec<Value>>, Option<String>), String> {
    let answer = db.query(request).map_err(|error| describe(&error))?;
    let records = answer.records.into_iter().map(|record| record.values).collect();
    Ok((records, answer.cursor))
}

/// Reads the first pages of an answer, which must be its beginning.
fn check_pages(
    db: &FoldDb,
    request: &QueryRequest,
    limit: usize,
    all: &[Vec<Value>],
) -> Result<usize, String> {
    let mut request = QueryRequest { limit: Some(limit), ..request.clone() };
    let mut at = 0;
    for page in 1..=PAGES_MAX {
        let (records, cursor) = answer(db, &request)?;
        let end = (at + limit).min(all.len());
        if records != all[at..end] {
            return Err(format!("page {page} of {limit} is {records:?}, not {:?}", &all[at..end]));
        }
        at = end;
        match cursor {
            Some(_) if at == all.len() => return Err(format!("a cursor behind page {page}")),
            None if at < all.len() => return Err(format!("no cursor behind page {page}")),
            None => return Ok(page),
            cursor => request.cursor = cursor,
        }
    }
    Ok(PAGES_MAX)
}

fn check(
    stores: &Stores,
    query: &Query<'_>,
    random: &mut Random,
    fault: Option<Fault>,
    ways: &mut Ways,
) -> Result<(), String> {
    let request = query.request();
    let statement = query.sql(fault);
    let is_paged = !is_full_size() || random.one_in(PAGED_ONE_IN);
    for (which, db) in [("plain", &stores.plain), ("indexed", &stores.indexed)] {
        let check = || {
            let (all, _) = answer(db, &request)?;
            difference(stores, &statement, &all)?;
            let limit = match all.len() {
                0..4 => 1 + random.below(4),
                count if random.one_in(2) => count / 3,
                _ => 1 + random.below(20),
            };
            let pages = if is_paged { check_pages(db, &request, limit, &all)? } else { 0 };
            Ok((all.len(), pages, limit))
        };
        let checked: Result<_, String> = { check }();
        let (count, pages, limit) = checked.map_err(|problem| {
            format!("{problem}\n{which}: {request:#?}\n{}\n{:?}", statement.text, statement.bound)
        })?;
        ways.pages += pages;
        if which == "indexed" {
            ways.queries += 1;
            ways.empty += usize::from(count == 0);
            ways.paged += usize::from(is_paged);
            ways.count(db, &QueryRequest { limit: Some(limit), ..request.clone() });
        }
    }
    Ok(())
}

/// Carries out `count` queries, each `step`th from one on.
fn run_some(
    stores: &Stores,
    seed: u64,
    (first, step): (u64, u64),
    count: usize,
    fault: Option<Fault>,
) -> Result<Ways, String> {
    let mut ways = Ways::default();
    let mut index = first;
    while ways.queries < count {
        let mut random = Random::part(seed, index);
        // Some tables have no column of a kind that is needed.
        if let Some(query) = Query::random(&mut random, &stores.tables) {
            check(stores, &query, &mut random, fault, &mut ways)
                .map_err(|problem| format!("query {index}: {problem}"))?;
        }
        index += step;
    }
    Ok(ways)
}

/// Carries out `count` queries.
fn run(stores: &Stores, seed: u64, count: usize, fault: Option<Fault>) -> Result<Ways, String> {
    if !is_full_size() {
        return run_some(stores, seed, (0, 1), count, fault);
    }
    let folder = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let start = |first| {
            let stores = stores.copy(&folder.path().join(format!("rows-{first}.sqlite")));
            let count = count.div_ceil(usize::try_from(THREADS).unwrap());
            scope.spawn(move || run_some(&stores, seed, (first, THREADS), count, fault))
        };
        let running: Vec<_> = (0..THREADS).map(start).collect();
        let mut ways = Ways::default();
        for some in running {
            ways.add(&some.join().unwrap()?);
        }
        Ok(ways)
    })
}

fn must_agree(stores: &Stores, seed: u64, count: usize) {
    let ways = run(stores, seed, count, None)
        .unwrap_or_else(|problem| panic!("{problem}\n{}", replay(seed)));
    eprintln!("seed {seed:#x}: {ways:?}");
    // All ways are gone.
    for many in [ways.by_key, ways.by_index, ways.in_index_order, ways.grouped] {
        assert!(many > count / 30, "{ways:?}");
    }
    // Few queries ask for nothing but a count.
    assert!(ways.counted > 0 || !is_full_size(), "{ways:?}");
    assert!(ways.empty < count / 2, "{ways:?}");
}

fn count() -> usize {
    if is_full_size() { 2_500 } else { 300 }
}

#[test]
fn queries_over_the_flights_answer_as_sqlite_does() {
    let seed = seed_from_env(SEED);
    must_agree(&data::flights(is_full_size()), seed, count());
}

#[test]
fn queries_over_generated_rows_answer_as_sqlite_does() {
    let seed = seed_from_env(SEED + 1);
    let rows = if is_full_size() { 6_000 } else { 1_500 };
    must_agree(&data::generated(&mut Random::new(seed), rows), seed, count());
}

#[test]
fn planted_faults_are_found() {
    let seed = seed_from_env(SEED + 2);
    let stores = data::generated(&mut Random::new(seed), 400);
    for fault in [Fault::Nulls, Fault::Equal, Fault::Ties, Fault::Counts] {
        assert!(run(&stores, seed, 300, Some(fault)).is_err(), "{fault:?}; {}", replay(seed));
    }
}
