//! What an operation costs in a large store, beside what it costs in a small one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use datafold::FoldDb;
use datafold::data_layer::{CommitNumber, Moment};
use datafold::engine::{Mutation, QueryRequest};
use datafold::model::Value;

use datafold_store::Keyspace;
use redb::{Database, ReadableDatabase, ReadableTable};

use crate::fixture::{self, Random};
use crate::table::{Table, median};
use crate::{Size, bare, bench_reads};

const SMALL: u64 = 1_000;
const VERSIONS: u64 = 1_000;

struct Pair {
    small: FoldDb,
    large: FoldDb,
    records: u64,
}

pub(crate) fn run(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let (small, large) = (folder.path().join("small"), folder.path().join("large"));
    fixture::filled(&small, SMALL);
    fixture::filled(&large, size.records);
    let pair =
        Pair { small: fixture::open(&small), large: fixture::open(&large), records: size.records };
    let goal = "at most 1.5";
    // Everything has been read before, as in a store that has been in use for a while.
    for (db, records) in [(&pair.small, SMALL), (&pair.large, size.records)] {
        for id in 0..records as i64 {
            assert!(db.get(&fixture::schema(), &[Value::Int(id)]).unwrap().is_some());
        }
    }
    let mut next = size.records;
    pair.compare("read by key", size, table, goal, 200_000, |db, records, random, count| {
        for _ in 0..count {
            let key = [Value::Int(random.below(records) as i64)];
            assert!(db.get(&fixture::schema(), &key).unwrap().is_some());
        }
    });
    let count = 100_000;
    pair.compare(
        "query a key, JSON to JSON",
        size,
        table,
        goal,
        count,
        |db, records, random, count| {
            for _ in 0..count {
                let id = random.below(records);
                let text = format!(r#"{{"schema": "Item", "key": {{"exact": [{id}]}}}}"#);
                let answer = db.query(&QueryRequest::parse(&text).unwrap()).unwrap();
                assert!(serde_json::to_string(&answer).unwrap().len() > 100);
            }
        },
    );
    pair.compare("update", size, table, goal, 1_500, |db, records, random, count| {
        for _ in 0..count {
            db.mutate(&fixture::update(random.below(records), 7).into()).unwrap();
        }
    });
    pair.compare("create", size, table, goal, 1_500, |db, _, _, count| {
        for _ in 0..count {
            next += 1;
            let record = fixture::record(next, 0);
            db.mutate(&Mutation::create(fixture::schema(), vec![record]).into()).unwrap();
        }
    });
    versions(&pair.small, size, table);
    pair.small.pool().close().unwrap();
    pair.large.pool().close().unwrap();
    bare_reads(&small, &large, size, table);
    maps(size, table);
    accesses(size, table);
}

/// The same growth of the bare engine, to compare with.
fn bare_reads(small: &Path, large: &Path, size: Size, table: &mut Table) {
    let (small, large) = (bare::open(small), bare::open(large));
    let count = 200_000;
    let mut random = Random(1);
    let mut time = |database: &Database, records: u64| {
        let start = Instant::now();
        for _ in 0..count {
            let transaction = database.begin_read().unwrap();
            let rows = transaction.open_table(bare::table(Keyspace::Records)).unwrap();
            let key = bench_reads::row_key(random.below(records));
            assert!(ReadableTable::get(&rows, &key[..]).unwrap().is_some());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    time(&small, SMALL);
    time(&large, size.records);
    let rounds: Vec<(f64, f64)> =
        (0..size.rounds).map(|_| (time(&large, size.records), time(&small, SMALL))).collect();
    let what = format!("redb alone: get, {} records beside {SMALL}", size.records);
    report(table, &what, &rounds, "for comparison");
}

/// The growth of maps in memory, which do nothing but find a row and copy it: what is left of it
/// is the distance to the memory, which no store can make shorter.
fn maps(size: Size, table: &mut Table) {
    let filled = |records: u64| {
        // In an order of their own, as rows in memory are after some updates.
        let mut ids: Vec<u64> = (0..records).collect();
        let mut random = Random(2);
        for at in (1..ids.len()).rev() {
            ids.swap(at, random.below(at as u64 + 1) as usize);
        }
        let rows = ids.into_iter().map(|id| (bench_reads::row_key(id), vec![1_u8; 130]));
        let hashed: HashMap<Vec<u8>, Vec<u8>> = rows.clone().collect();
        (hashed, rows.collect::<BTreeMap<Vec<u8>, Vec<u8>>>())
    };
    let (small, large) = (filled(SMALL), filled(size.records));
    let count = 200_000;
    let mut random = Random(1);
    let mut time = |get: &dyn Fn(&[u8]) -> Option<Vec<u8>>, records: u64| {
        let start = Instant::now();
        for _ in 0..count {
            assert!(get(&bench_reads::row_key(random.below(records))).is_some());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    let mut compare = |what: &str, small: Get<'_>, large: Get<'_>| {
        time(small, SMALL);
        time(large, size.records);
        let rounds: Vec<(f64, f64)> =
            (0..size.rounds).map(|_| (time(large, size.records), time(small, SMALL))).collect();
        let what = format!("{what} in memory: get, {} records beside {SMALL}", size.records);
        report(table, &what, &rounds, "for comparison");
    };
    compare("HashMap", &|key| small.0.get(key).cloned(), &|key| large.0.get(key).cloned());
    compare("BTreeMap", &|key| small.1.get(key).cloned(), &|key| large.1.get(key).cloned());
}

/// What a single access to memory costs if each waits for the one before: the least that a read
/// of a record costs that no cache of the processor has. In a large store's memory beside a small
/// one's, which are [`ROW_BYTES`] for each record.
fn accesses(size: Size, table: &mut Table) {
    let (large, small) = (Chain::new(size.records), Chain::new(SMALL));
    large.follow();
    small.follow();
    let rounds: Vec<(f64, f64)> =
        (0..size.rounds).map(|_| (large.follow(), small.follow())).collect();
    let what = format!("one access to memory, that of {} rows beside {SMALL}", size.records);
    report(table, &what, &rounds, "for comparison");
}

/// What a row of the benches takes with its key in the cache of records.
const ROW_BYTES: u64 = 192;
const LINE_BYTES: u64 = 64;

/// Cache lines, each of which says which one comes next; one round leads through all of them.
struct Chain(Vec<[u32; 16]>);

impl Chain {
    fn new(records: u64) -> Self {
        let count = records * ROW_BYTES / LINE_BYTES;
        let mut order: Vec<u32> = (0..count as u32).collect();
        let mut random = Random(3);
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut lines = vec![[0; 16]; order.len()];
        for (at, line) in order.iter().enumerate() {
            lines[*line as usize][0] = order[(at + 1) % order.len()];
        }
        Self(lines)
    }

    /// Microseconds of one step.
    fn follow(&self) -> f64 {
        let count = 1_000_000;
        let start = Instant::now();
        let last = (0..count).fold(0, |line, _| self.0[line as usize][0]);
        std::hint::black_box(last);
        start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    }
}

type Get<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

impl Pair {
    fn compare(
        &self,
        what: &str,
        size: Size,
        table: &mut Table,
        goal: &str,
        count: u64,
        mut operation: impl FnMut(&FoldDb, u64, &mut Random, u64),
    ) {
        let mut random = Random(1);
        let mut time = |db: &FoldDb, records: u64, count: u64| {
            let start = Instant::now();
            operation(db, records, &mut random, count);
            start.elapsed().as_secs_f64() * 1e6 / count as f64
        };
        time(&self.small, SMALL, count);
        time(&self.large, self.records, count);
        let rounds: Vec<(f64, f64)> = (0..size.rounds)
            .map(|_| (time(&self.large, self.records, count), time(&self.small, SMALL, count)))
            .collect();
        report(table, &format!("{what}, {} records beside {SMALL}", self.records), &rounds, goal);
    }
}

fn report(table: &mut Table, what: &str, rounds: &[(f64, f64)], goal: &str) {
    let ratio = median(rounds.iter().map(|(a, b)| a / b).collect());
    let ours = median(rounds.iter().map(|(a, _)| *a).collect());
    let beside = median(rounds.iter().map(|(_, b)| *b).collect());
    table.add(what, format!("{ours:.2} us"), format!("{beside:.2} us"), ratio, goal);
}

/// A record with many versions beside one with a single one, and the past beside the present.
fn versions(db: &FoldDb, size: Size, table: &mut Table) {
    let schema = fixture::schema();
    let (one, many) = ([Value::Int(2_000_000_001)], [Value::Int(2_000_000_002)]);
    for id in [2_000_000_001, 2_000_000_002] {
        let record = fixture::record(id, 0);
        db.mutate(&Mutation::create(schema.clone(), vec![record]).into()).unwrap();
    }
    let mut commits = Vec::new();
    for version in 1..VERSIONS {
        let request = fixture::update(2_000_000_002, version).into();
        commits.push(db.mutate(&request).unwrap().commit);
    }
    let count = 100_000;
    let read = |key: &[Value; 1]| {
        let start = Instant::now();
        for _ in 0..count {
            assert!(db.get(&schema, key).unwrap().is_some());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    let mut random = Random(5);
    let mut read_past = || {
        let start = Instant::now();
        for _ in 0..count {
            let commit = commits[random.below(commits.len() as u64) as usize];
            let at = Moment::Commit(CommitNumber(commit.0 - 1));
            assert!(db.get_as_of(&schema, &many, at).unwrap().is_some());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    read(&one);
    let rounds: Vec<_> = (0..size.rounds).map(|_| (read(&many), read(&one))).collect();
    let what = format!("read a record with {VERSIONS} versions beside one with 1");
    report(table, &what, &rounds, "at most 1.2");
    let rounds: Vec<_> = (0..size.rounds).map(|_| (read_past(), read(&many))).collect();
    report(table, "read as of an earlier commit beside now", &rounds, "at most 3");
}
