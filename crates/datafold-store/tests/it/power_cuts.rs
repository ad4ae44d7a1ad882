//! The power fails at every operation; what was acknowledged is there, whole.
//!
//! Full size: `DATAFOLD_FULL=1 cargo test -p datafold-store --test it power_cuts -- --nocapture`;
//! with the one of the crate `datafold` more than 200,000 cuts.

use std::io;
use std::time::Instant;

use datafold_store::{Disk, Outcome, RedbDisks, RedbStore, Store, StoreError, StoreId};
use datafold_testkit::model::describe;
use datafold_testkit::{PowerCutReport, PowerCuts, SimDisk, Trace, is_full_size, seed_from_env};

use crate::harness::{LOG, open_sim, options};
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
    open: Open,
) -> Result<(), String> {
    // Only a creation that nobody was told of may be repeated.
    let create = acknowledged == 0;
    let store = open(disk, ID, create).map_err(|error| describe(&error))?;
    disk.acknowledge(1);
    if store.info().id != ID {
        return Err(format!("the store is now {}", store.info().id));
    }
    let range = acknowledged.saturating_sub(1)..=attempted.saturating_sub(1);
    let number = workload.check_within(&store, range)?;
    // What was shown stays, whether anybody had been told of it before or not.
    disk.acknowledge(number + 1);
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
        check(workload, &disk, acknowledged, attempted, open_sim)
    });
    let seconds = begin.elapsed().as_secs_f64();
    let rate = report.points as f64 / seconds;
    eprintln!("{name}: {report} ({} operations, {seconds:.1} s, {rate:.0}/s)", trace.len());
    report
}

/// Cuts the power of a workload of each of some seeds; answers all cuts, and those of them that
/// were nested.
fn cut_all(default: u64, seeds: u64, batches: u64, nested: usize) -> [usize; 2] {
    let first = seed_from_env(default);
    let begin = Instant::now();
    let mut counts = [0, 0];
    for seed in first..first + seeds {
        let workload = Workload::new(seed, batches);
        let trace = record(&SimDisk::new(seed), &workload);
        let cuts = PowerCuts::new(seed).nested(nested);
        let report = cut(&workload, &trace, &cuts, "power cuts");
        report.assert_clean();
        counts[0] += report.points;
        counts[1] += report.nested_points;
    }
    let [points, nested] = counts;
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("all seeds from {first:#x}: {points} cuts, {nested} nested, {seconds:.1} s");
    counts
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_torn() {
    let (seeds, batches) = if is_full_size() { (3, 200) } else { (1, 75) };
    let [points, _] = cut_all(0x0C07, seeds, batches, 0);
    assert!(points >= 5_000, "{points} cuts");
}

#[test]
fn a_second_cut_during_the_opening_loses_nothing_either() {
    let (seeds, batches) = if is_full_size() { (10, 48) } else { (1, 24) };
    let [_, nested] = cut_all(0x2C07, seeds, batches, 2);
    assert!(nested >= 3_000, "{nested} nested cuts");
}

/// The canaries: a harness that finds nothing here would find nothing anywhere.
#[test]
fn a_lying_disk_is_found_out() {
    let report = planted(8, SimDisk::drop_last_write_before_sync, open_sim);
    assert!(report.failure_count > report.points / 4, "{report}");
}

#[test]
fn a_file_that_is_not_synced_is_found_out() {
    for file in [0, LOG] {
        let report = planted(24, |disk| disk.file(file).ignore_syncs(), open_sim);
        assert!(report.failure_count > 20, "file {file}: {report}");
    }
}

/// The fault is in the opening: it takes a record for whole without looking at its checksum.
#[test]
fn a_replay_that_trusts_every_record_is_found_out() {
    let open = |disk: &SimDisk, id, create| {
        let log = TrustingLog { disk: disk.file(LOG), id };
        let disks = RedbDisks { data: Box::new(disk.clone()), log: Box::new(log) };
        RedbStore::open("sim:", disks, id, &options(create))
    };
    let report = planted(40, |_| (), open);
    assert!(report.failure_count > 2, "{report}");
}

type Open = fn(&SimDisk, StoreId, bool) -> Result<RedbStore, StoreError>;

/// Cuts the power of a store with a planted fault.
fn planted(batches: u64, plant: impl Fn(&SimDisk), open: Open) -> PowerCutReport {
    let seed = seed_from_env(0xBAD);
    let workload = Workload::new(seed, batches);
    let disk = SimDisk::new(seed);
    disk.start_trace();
    disk.attempt(1);
    let store = open_sim(&disk, ID, true).unwrap();
    disk.acknowledge(1);
    plant(&disk);
    apply_all(&disk, store, &workload);
    let trace = disk.take_trace();
    let cuts = PowerCuts::new(seed);
    let report = cuts.run(&trace, |disk, acknowledged, attempted| {
        check(&workload, &disk, acknowledged, attempted, open)
    });
    eprintln!("canary: {} of {} points", report.failure_count, report.points);
    report
}

/// A log in which every record of the current round seems to have the right checksum.
#[derive(Debug)]
struct TrustingLog {
    disk: SimDisk,
    id: StoreId,
}

impl Disk for TrustingLog {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)?;
        // The first record says which round it is; only the header is read without records.
        let Some(first) = out.get(..24).filter(|first| first.starts_with(b"dflr")) else {
            return Ok(());
        };
        let generation = first[8..16].to_vec();
        let (mut at, mut previous) = (0, [0; 16]);
        for sequence in 0_u64.. {
            let Some(head) = out.get(at..at + 56) else { break };
            let is_next = head.starts_with(b"dflr")
                && head[8..16] == generation[..]
                && head[16..24] == sequence.to_be_bytes();
            let len = u32::from_be_bytes(head[4..8].try_into().unwrap()) as usize;
            if !is_next || out.len() < at + 56 + len {
                break;
            }
            out[at + 24..at + 40].copy_from_slice(&previous);
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.id.0).update(&out[at..at + 40]).update(&out[at + 56..][..len]);
            previous.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
            out[at + 40..at + 56].copy_from_slice(&previous);
            at += (56 + len).next_multiple_of(8);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}
