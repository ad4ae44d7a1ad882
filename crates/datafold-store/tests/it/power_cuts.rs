//! The power fails at every operation; what was acknowledged is there, whole.

use std::time::Instant;

use datafold_store::{Outcome, RedbStore, Store, StoreId};
use datafold_testkit::model::describe;
use datafold_testkit::{PowerCutReport, PowerCuts, SimDisk, Trace, is_full_size, seed_from_env};

use crate::harness::open_sim;
use crate::workload::Workload;

const ID: StoreId = StoreId([7; 16]);

/// Creates a store and applies all batches, with a clean close in the middle and at the end.
///
/// Answer 1 is the creation, answer `n + 1` is batch `n`.
fn record(disk: &SimDisk, workload: &Workload) -> Trace {
    disk.start_trace();
    disk.attempt(1);
    let store = open_sim(disk, ID, true).unwrap();
    disk.acknowledge(1);
    apply_all(disk, store, workload);
    disk.take_trace()
}

fn apply_all(disk: &SimDisk, store: RedbStore, workload: &Workload) {
    let mut store = store;
    for batch in workload.batches() {
        if batch.number == workload.batches().len() as u64 / 2 {
            store.close().unwrap();
            store = open_sim(disk, ID, false).unwrap();
        }
        disk.attempt(batch.number + 1);
        let outcome = store.apply(batch);
        assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
        disk.acknowledge(batch.number + 1);
    }
    store.close().unwrap();
}

/// Opens what the cut has left, compares it with the model, and goes on with the next batch.
fn check(
    workload: &Workload,
    disk: &SimDisk,
    acknowledged: u64,
    attempted: u64,
) -> Result<(), String> {
    // Only a creation that nobody was told of may be repeated.
    let create = acknowledged == 0;
    let store = open_sim(disk, ID, create).map_err(|error| describe(&error))?;
    disk.acknowledge(1);
    if store.info().id != ID {
        return Err(format!("the store is now {}", store.info().id));
    }
    let range = acknowledged.saturating_sub(1)..=attempted.saturating_sub(1);
    let number = workload.check_within(&store, range)?;
    let Some(next) = workload.next(number) else { return Ok(()) };
    disk.attempt(number + 2);
    match store.apply(next) {
        Outcome::Accepted => disk.acknowledge(number + 2),
        other => return Err(format!("batch {} was answered {other:?}", next.number)),
    }
    workload.check_within(&store, number + 1..=number + 1).map(drop)
}

fn cut(workload: &Workload, trace: &Trace, cuts: &PowerCuts, name: &str) -> PowerCutReport {
    let begin = Instant::now();
    let report = cuts.run(trace, |disk, acknowledged, attempted| {
        check(workload, &disk, acknowledged, attempted)
    });
    let seconds = begin.elapsed().as_secs_f64();
    let rate = report.points as f64 / seconds;
    eprintln!("{name}: {report} ({} operations, {seconds:.1} s, {rate:.0}/s)", trace.len());
    report
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_torn() {
    let seed = seed_from_env(0x0C07);
    let batches = if is_full_size() { 600 } else { 120 };
    let workload = Workload::new(seed, batches);
    let trace = record(&SimDisk::new(seed), &workload);
    let report = cut(&workload, &trace, &PowerCuts::new(seed), "power cuts");
    report.assert_clean();
    assert!(report.points >= 5_000, "{report}");
}

#[test]
fn a_second_cut_during_the_opening_loses_nothing_either() {
    let seed = seed_from_env(0x2C07);
    let batches = if is_full_size() { 200 } else { 40 };
    let workload = Workload::new(seed, batches);
    let trace = record(&SimDisk::new(seed), &workload);
    let cuts = PowerCuts::new(seed).nested(2);
    let report = cut(&workload, &trace, &cuts, "nested power cuts");
    report.assert_clean();
    assert!(report.nested_points >= 3_000, "{report}");
}

/// The canary: a harness that finds nothing here would find nothing anywhere.
#[test]
fn a_lying_disk_is_found_out() {
    let seed = seed_from_env(0xBAD);
    let workload = Workload::new(seed, 8);
    let disk = SimDisk::new(seed);
    disk.start_trace();
    disk.attempt(1);
    let store = open_sim(&disk, ID, true).unwrap();
    disk.acknowledge(1);
    disk.drop_last_write_before_sync();
    apply_all(&disk, store, &workload);
    let trace = disk.take_trace();
    let report = cut(&workload, &trace, &PowerCuts::new(seed), "canary");
    assert!(report.failure_count > report.points / 4, "{report}");
}
