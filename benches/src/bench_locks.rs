//! The share of time that threads wait for locks: the seed plan's metric.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use datafold::model::Value;

use crate::Size;
use crate::fixture::{self, Random};
use crate::table::Table;

const WRITERS: u64 = 16;
const READERS: u64 = 4;

pub(crate) fn run(size: Size, table: &mut Table) {
    let records = 100_000.min(size.records);
    let folder = fixture::folder();
    let path = folder.path().join("store");
    fixture::filled(&path, records);
    let db = fixture::open(&path);
    let before = db.stats().unwrap().locks;
    let stop = AtomicBool::new(false);
    let (writes, reads) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..WRITERS + READERS {
            let (db, stop, writes, reads) = (&db, &stop, &writes, &reads);
            scope.spawn(move || {
                let mut random = Random(thread);
                while !stop.load(Ordering::Relaxed) {
                    let id = random.below(records);
                    if thread < WRITERS {
                        db.mutate(&fixture::update(id, 1).into()).unwrap();
                        writes.fetch_add(1, Ordering::Relaxed);
                    } else {
                        db.get(&fixture::schema(), &[Value::Int(id as i64)]).unwrap();
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        thread::sleep(std::time::Duration::from_secs_f64(size.seconds * 3.0));
        stop.store(true, Ordering::Relaxed);
    });
    let elapsed = start.elapsed().as_nanos() as f64;
    let locks = db.stats().unwrap().locks;
    let waited = (locks.wait_ns - before.wait_ns) as f64;
    let share = waited / (elapsed * WRITERS as f64);
    let what = format!("share of the writers' time waiting for locks, {WRITERS} writers");
    let ours = format!("{:.2} % of time", share * 100.0);
    let of = format!("{} writes, {} reads", writes.into_inner(), reads.into_inner());
    table.add(&what, ours, of, share, "reported");
    let what = format!("share of the readers' time waiting for locks, {READERS} readers");
    table.add(&what, "0 % (they wait for none)".into(), "".into(), 0.0, "reported");
    db.pool().close().unwrap();
}
