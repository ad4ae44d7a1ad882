//! The process is killed, the next one opens the store out of the same cache, and then the power
//! fails: what the second process has seen must stay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafold_store::{Disk, Outcome, RedbDisks, RedbStore, Store, StoreId};
use datafold_testkit::model::describe;
use datafold_testkit::{CutKind, SimDisk, is_full_size, replay, seed_from_env};

use crate::harness::{LOG, open_sim, options};
use crate::workload::Workload;

const ID: StoreId = StoreId([7; 16]);

/// A file that does nothing once its process was killed. What was written stays in the cache.
#[derive(Debug)]
struct Mortal {
    disk: SimDisk,
    calls_left: Arc<AtomicU64>,
}

impl Mortal {
    fn live(&self) -> io::Result<()> {
        let one_less = |left: u64| left.checked_sub(1);
        let taken = self.calls_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
        taken.map(drop).map_err(|_| io::Error::other("the process was killed"))
    }
}

impl Disk for Mortal {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.live()?;
        self.disk.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.live()?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.live()?;
        self.disk.sync()
    }
}

/// Creates the store, applies the batches and closes it, with a clean close in the middle, until
/// the process is killed; answers the last commit that was accepted, and whether all was done.
/// There is no commit if nobody was told of the creation.
fn run(disk: &SimDisk, workload: &Workload, calls: u64) -> (Option<u64>, bool) {
    let calls_left = Arc::new(AtomicU64::new(calls));
    let open = |create| {
        let file = |disk| Box::new(Mortal { disk, calls_left: Arc::clone(&calls_left) });
        let disks = RedbDisks { data: file(disk.clone()), log: file(disk.file(LOG)) };
        RedbStore::open("sim:", disks, ID, &options(create))
    };
    let Ok(mut store) = open(true) else { return (None, false) };
    let mut accepted = 0;
    for batch in workload.batches() {
        if batch.number == workload.batches().len() as u64 / 2 {
            if store.close().is_err() {
                return (Some(accepted), false);
            }
            let Ok(again) = open(false) else { return (Some(accepted), false) };
            store = again;
        }
        match store.apply(batch) {
            Outcome::Accepted => accepted = batch.number,
            _ => return (Some(accepted), false),
        }
    }
    (Some(accepted), store.close().is_ok())
}

/// Opens what the killed process has left, and cuts the power behind what is seen then.
fn check(disk: &SimDisk, workload: &Workload, accepted: Option<u64>) -> Result<(), String> {
    let open =
        |disk: &SimDisk, create| open_sim(disk, ID, create).map_err(|error| describe(&error));
    let first = accepted.unwrap_or(0);
    let last = workload.batches().len() as u64;
    let range = first..=last.min(first + 1);
    let store = open(disk, accepted.is_none())?;
    let seen = workload.check_within(&store, range)?;
    for kind in CutKind::ALL {
        let cut = disk.power_cut(kind, 1);
        let found = open(&cut, false).and_then(|store| workload.check_within(&store, seen..=seen));
        found.map_err(|error| format!("{kind}, {seen} was seen: {error}"))?;
    }
    let Some(batch) = workload.next(seen) else { return Ok(()) };
    match store.apply(batch) {
        Outcome::Accepted => {}
        other => return Err(format!("batch {} was answered {other:?}", batch.number)),
    }
    for kind in CutKind::ALL {
        let store = open(&disk.power_cut(kind, 2), false)?;
        workload.check_within(&store, seen + 1..=seen + 1)?;
    }
    Ok(())
}

#[test]
fn what_was_seen_after_a_kill_stays() {
    let seed = seed_from_env(0x417);
    let workload = Workload::new(seed, if is_full_size() { 100 } else { 16 });
    let mut failures = Vec::new();
    let mut unsynced = 0;
    for calls in 0.. {
        let disk = SimDisk::new(seed + calls);
        let (accepted, is_done) = run(&disk, &workload, calls);
        unsynced += u64::from(disk.unsynced() + disk.file(LOG).unsynced() > 0);
        if let Err(message) = check(&disk, &workload, accepted) {
            failures.push(format!("killed behind {calls} calls: {message}"));
        }
        if is_done {
            eprintln!("kills: {calls} calls, behind {unsynced} of them not all was synced");
            assert!(unsynced > calls / 4, "{unsynced} of {calls}");
            break;
        }
    }
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), replay(seed));
}
