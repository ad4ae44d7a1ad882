//! Durable one-field mutations, beside the bare engine replaying the same batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use datafold_testkit::RecordingStore;

use crate::fixture::{self, Random};
use crate::table::{Table, median};
use crate::{Size, bare};

pub(crate) fn run(size: Size, table: &mut Table) {
    let records = 100_000.min(size.records);
    let folder = fixture::folder();
    let original = folder.path().join("original");
    fixture::filled(&original, records);
    for (writers, goal) in [(1, "at least 0.8"), (16, "at least 0.7"), (64, "at least 0.7")] {
        let mut rounds = Vec::new();
        for round in 0..size.rounds {
            let ours = fixture::copied(&original, &folder.path().join("ours"));
            let (rate, group, batches) = mutate(&ours, writers, records, size.seconds);
            let copy = fixture::copied(&original, &folder.path().join("bare"));
            let database = bare::open(&copy);
            let start = Instant::now();
            for batch in &batches {
                bare::apply(&database, batch);
            }
            let commits = batches.iter().map(|batch| batch.number - batch.follows).sum::<u64>();
            let beside = commits as f64 / start.elapsed().as_secs_f64();
            eprintln!("  {writers} writers, round {round}: {rate:.0} / {beside:.0}");
            rounds.push((rate, beside, group));
        }
        let ratio = median(rounds.iter().map(|(ours, beside, _)| ours / beside).collect());
        let ours = median(rounds.iter().map(|(ours, ..)| *ours).collect());
        let beside = median(rounds.iter().map(|(_, beside, _)| *beside).collect());
        let group = median(rounds.iter().map(|(.., group)| *group).collect());
        let what = format!("durable one-field updates, {writers} writers");
        let beside = format!("{beside:.0}/s redb, the same batches of {group:.1}");
        table.add(&what, format!("{ours:.0}/s"), beside, ratio, goal);
    }
}

fn mutate(
    path: &std::path::Path,
    writers: u64,
    records: u64,
    seconds: f64,
) -> (f64, f64, Vec<datafold_store::Batch>) {
    let mut recording = None;
    let db = fixture::open_wrapped(path, |store| {
        let wrapped = Arc::new(RecordingStore::new(store));
        recording = Some(Arc::clone(&wrapped));
        wrapped
    });
    let done = AtomicU64::new(0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let start = Instant::now();
    thread::scope(|scope| {
        for writer in 0..writers {
            let (db, done) = (&db, &done);
            scope.spawn(move || {
                let mut random = Random(writer);
                while Instant::now() < end {
                    let id = random.below(records);
                    db.mutate(&fixture::update(id, random.below(1_000)).into()).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let rate = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    db.pool().close().unwrap();
    let batches = recording.unwrap().batches();
    let group = done.load(Ordering::Relaxed) as f64 / batches.len() as f64;
    (rate, group, batches)
}
