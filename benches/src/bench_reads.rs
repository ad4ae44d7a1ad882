//! Point reads and scans beside the bare engine reading the same rows.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use datafold::engine::QueryRequest;
use datafold::model::Value;
use datafold_store::Keyspace;
use datafold_store::encoding::{KeyPart, KeyWriter};
use redb::{Database, ReadableDatabase, ReadableTable};

use crate::fixture::{self, Random};
use crate::table::{Table, median, percentile};
use crate::{Size, bare};

pub(crate) fn run_points(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let path = folder.path().join("store");
    fixture::filled(&path, size.records);
    for threads in [1, 4] {
        point_reads(&path, size, threads, table);
    }
    beside_writers(&path, size, table);
}

pub(crate) fn run_scans(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let path = folder.path().join("store");
    fixture::filled(&path, size.records);
    for threads in [1, 4] {
        scans(&path, size, threads, table);
    }
}

/// The key of the record row of an item: space 1, schema 1, the id.
pub(crate) fn row_key(id: u64) -> Vec<u8> {
    let mut key = KeyWriter::new();
    key.id(1).id(1).part(&KeyPart::Int(id as i64)).unwrap();
    key.into_vec()
}

/// Runs `body` on some threads and answers operations per second of all together.
fn rate(threads: u64, count: u64, body: impl Fn(u64) + Sync) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let body = &body;
            scope.spawn(move || body(thread));
        }
    });
    (threads * count) as f64 / start.elapsed().as_secs_f64()
}

fn point_reads(path: &Path, size: Size, threads: u64, table: &mut Table) {
    let count = 200_000;
    let ours = |db: &datafold::FoldDb| {
        rate(threads, count, |thread| {
            let mut random = Random(thread);
            for _ in 0..count {
                let key = [Value::Int(random.below(size.records) as i64)];
                assert!(db.get(&fixture::schema(), &key).unwrap().is_some());
            }
        })
    };
    let beside = |database: &Database| {
        rate(threads, count, |thread| {
            let mut random = Random(thread);
            for _ in 0..count {
                let transaction = database.begin_read().unwrap();
                let rows = transaction.open_table(bare::table(Keyspace::Records)).unwrap();
                let row = ReadableTable::get(&rows, &row_key(random.below(size.records))[..]);
                assert!(row.unwrap().is_some());
            }
        })
    };
    // Two handles on one file are not allowed, so the sides take turns to have it open.
    let rounds: Vec<_> = (0..size.rounds)
        .map(|_| {
            let db = fixture::open(path);
            ours(&db);
            let ours = ours(&db);
            db.pool().close().unwrap();
            let database = bare::open(path);
            beside(&database);
            (ours, beside(&database))
        })
        .collect();
    report(table, &format!("point reads, {threads} threads"), &rounds, "at least 0.6");
}

fn scans(path: &Path, size: Size, threads: u64, table: &mut Table) {
    let ours = |db: &datafold::FoldDb, select: Option<Vec<String>>| {
        rate(threads, size.records, |_| {
            let mut query = QueryRequest::new(fixture::schema());
            query.select.clone_from(&select);
            let mut records = 0;
            db.query_each(&query, |record| {
                records += u64::from(!record.values.is_empty());
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(records, size.records);
        })
    };
    let beside = |database: &Database| {
        rate(threads, size.records, |_| {
            let transaction = database.begin_read().unwrap();
            let rows = transaction.open_table(bare::table(Keyspace::Records)).unwrap();
            // A table knows the lengths of its rows without a look at them: reading is copying.
            let (mut records, mut bytes) = (0, Vec::new());
            // The records of the schema, as a query of all of them reads.
            for row in ReadableTable::range::<&[u8]>(&rows, &[1, 1][..]..&[1, 2][..]).unwrap() {
                let (key, value) = row.unwrap();
                bytes.clear();
                bytes.extend_from_slice(key.value());
                bytes.extend_from_slice(value.value());
                records += u64::from(!std::hint::black_box(&bytes).is_empty());
            }
            assert_eq!(records, size.records);
        })
    };
    let mut all = Vec::new();
    let mut one = Vec::new();
    // Each scan is the second one of its handle, so that all of them find the pages in memory.
    let ours = |select: Option<Vec<String>>| {
        let db = fixture::open(path);
        ours(&db, select.clone());
        let rate = ours(&db, select);
        db.pool().close().unwrap();
        rate
    };
    for _ in 0..size.rounds {
        let (all_fields, one_field) = (ours(None), ours(Some(vec!["count".into()])));
        let database = bare::open(path);
        beside(&database);
        let beside = beside(&database);
        all.push((all_fields, beside));
        one.push((one_field, beside));
    }
    report(table, &format!("scan, one field, {threads} threads"), &one, "at least 0.5");
    report(table, &format!("scan, all fields, {threads} threads"), &all, "at least 0.5");
}

fn report(table: &mut Table, what: &str, rounds: &[(f64, f64)], goal: &str) {
    let ratio = median(rounds.iter().map(|(a, b)| a / b).collect());
    let ours = median(rounds.iter().map(|(a, _)| *a).collect());
    let beside = median(rounds.iter().map(|(_, b)| *b).collect());
    table.add(what, format!("{ours:.0}/s"), format!("{beside:.0}/s redb"), ratio, goal);
}

/// Reads while 16 writers commit; the bare reads go to the same file beside the same writers.
fn beside_writers(path: &Path, size: Size, table: &mut Table) {
    let db = fixture::open(path);
    let id = db.pool().operations().store_info().id;
    db.pool().close().unwrap();
    drop(db);
    let bare_store = Arc::new(bare::BareStore::open(path, id));
    let database = Arc::clone(&bare_store.database);
    let pool = datafold::data_layer::DatabasePool::with_store(
        bare_store,
        &datafold::data_layer::PoolOptions::default(),
    );
    let db = datafold::FoldDb::new(pool.unwrap());
    let stop = AtomicBool::new(false);
    let mut rounds = Vec::new();
    thread::scope(|scope| {
        for writer in 0..16 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut random = Random(writer);
                while !stop.load(Ordering::Relaxed) {
                    let update = fixture::update(random.below(size.records), 3);
                    db.mutate(&update.into()).unwrap();
                }
            });
        }
        let mut random = Random(99);
        for _ in 0..size.rounds {
            let ours = latencies(size, || {
                let key = [Value::Int(random.below(size.records) as i64)];
                assert!(db.get(&fixture::schema(), &key).unwrap().is_some());
            });
            let beside = latencies(size, || {
                let key = row_key(random.below(size.records));
                let transaction = database.begin_read().unwrap();
                let rows = transaction.open_table(bare::table(Keyspace::Records)).unwrap();
                assert!(ReadableTable::get(&rows, &key[..]).unwrap().is_some());
            });
            rounds.push((ours, beside));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let ratio = median(rounds.iter().map(|(a, b)| a / b).collect());
    let ours = median(rounds.iter().map(|(a, _)| *a).collect());
    let beside = median(rounds.iter().map(|(_, b)| *b).collect());
    let what = "p99 of point reads beside 16 writers";
    table.add(what, format!("{ours:.1} us"), format!("{beside:.1} us redb"), ratio, "at most 1.3");
}

/// The 99th percentile in microseconds.
fn latencies(size: Size, mut read: impl FnMut()) -> f64 {
    let end = Instant::now() + std::time::Duration::from_secs_f64(size.seconds);
    let mut nanos = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        read();
        nanos.push(start.elapsed().as_nanos() as u64);
    }
    percentile(&mut nanos, 0.99) as f64 / 1e3
}
