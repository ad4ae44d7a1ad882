//! Indexes over many records: what building one costs those who write meanwhile, and counting.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use datafold::data_layer::Durability;
use datafold::engine::Mutation;
use datafold::model::{FieldName, IndexDefinition, Value};
use datafold::{FoldDb, QueryRequest};

use crate::Size;
use crate::fixture::{self, Random};
use crate::table::{Table, median, percentile};

const WRITERS: u64 = 4;
/// `count` has so many values.
const GROUPS: u64 = 10;

pub(crate) fn run(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let path = folder.path().join("store");
    let db = FoldDb::create(path.to_str().unwrap()).unwrap();
    fixture::approve(&db);
    let ids: Vec<u64> = (0..size.records).collect();
    for chunk in ids.chunks(1_000) {
        let rows = chunk.iter().map(|id| fixture::record(*id, id % GROUPS)).collect();
        let request = Mutation::create(fixture::schema(), rows).into();
        db.mutate_with(&request, Durability::Buffered).unwrap();
    }
    db.pool().operations().flush().unwrap();
    build_beside_writers(&db, size, table);
    count_by_index(&db, size, table);
    db.pool().close().unwrap();
}

/// Latencies of updates, in nanoseconds, until `end` answers.
fn write_until(db: &FoldDb, records: u64, end: impl FnOnce()) -> Vec<u64> {
    let (stop, all) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for thread in 0..WRITERS {
            let (stop, all) = (&stop, &all);
            scope.spawn(move || {
                let (mut random, mut latencies) = (Random(thread), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let id = random.below(records);
                    let update = fixture::update(id, random.below(GROUPS));
                    let start = Instant::now();
                    db.mutate(&update.into()).unwrap();
                    latencies.push(start.elapsed().as_nanos() as u64);
                }
                all.lock().unwrap().extend(latencies);
            });
        }
        end();
        stop.store(true, Ordering::Relaxed);
    });
    all.into_inner().unwrap()
}

fn build_beside_writers(db: &FoldDb, size: Size, table: &mut Table) {
    let definition =
        IndexDefinition { fields: vec![FieldName::parse("count").unwrap()], unique: false };
    let mut seconds = 0.0;
    let mut beside = write_until(db, size.records, || {
        let start = Instant::now();
        db.schemas().create_index(&fixture::schema(), &definition).unwrap();
        db.schemas().wait_for_indexes(&fixture::schema()).unwrap();
        seconds = start.elapsed().as_secs_f64();
    });
    // The same run without the build, as long; with the index, which writes keep.
    let mut alone = write_until(db, size.records, || {
        thread::sleep(std::time::Duration::from_secs_f64(seconds));
    });
    let count = beside.len();
    let (ours, theirs) = (percentile(&mut beside, 0.999), percentile(&mut alone, 0.999));
    table.add(
        &format!(
            "p99.9 of updates by {WRITERS} writers while an index of {} records is built \
             ({seconds:.0} s, {count} updates)",
            size.records
        ),
        format!("{:.2} ms", ours as f64 / 1e6),
        format!("{:.2} ms without the build", theirs as f64 / 1e6),
        ours as f64 / theirs as f64,
        "at most 2",
    );
    let report = db.verify().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems.first());
}

fn count_by_index(db: &FoldDb, size: Size, table: &mut Table) {
    let request = QueryRequest::parse(
        r#"{"schema": "Item", "where": "count == 3", "aggregates": ["n = count()"]}"#,
    )
    .unwrap();
    let mut found = Value::Null;
    let mut times = Vec::new();
    for _ in 0..size.rounds {
        let start = Instant::now();
        found = db.query(&request).unwrap().records[0].values[0].clone();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let time = median(times);
    table.add(
        &format!("count by an index: {} of {} records", found.to_json(), size.records),
        format!("{time:.1} ms"),
        "50 ms".into(),
        time / 50.0,
        "at most 1",
    );
}
