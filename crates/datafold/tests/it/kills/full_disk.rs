//! A small disk that becomes full: an error that says so, nothing lost, and work goes on when there
//! is room again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use datafold::FoldDb;
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::announce;
use super::child::{Place, open_left};
use super::compare::{Acknowledged, Expected};
use super::load::{self, Run, Stopped, WRITERS, set_up};
use crate::harness::describe;

/// A file system in memory of 20 MiB.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None` if this process may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=20m", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk is still mounted");
    }
}

/// Runs the writers until they end or stop; answers what was acknowledged, and why they stopped.
fn write(db: &FoldDb, run: &Run, expected: &mut Expected) -> (Vec<Acknowledged>, Vec<Stopped>) {
    let acknowledged = Mutex::new(Vec::new());
    let stopped = load::run(db, run, &expected.begin(), &|writer, n, commit| {
        acknowledged.lock().push(Acknowledged { writer, n, commit: commit.0 });
    });
    (acknowledged.into_inner(), stopped)
}

fn names_full_disk(error: &str) -> bool {
    error.contains("No space left") || error.contains("StorageFull")
}

/// Fills a disk, and makes room again; answers the commits that were there when it was full.
fn fill(place: &Place, disk: &SmallDisk, run: Run, random: &mut Random) -> Result<u64, String> {
    let said = |error: datafold::FoldDbError| describe(&error);
    let ballast = disk.path().join("ballast");
    // More than what is written beside it, since an opening of sled writes all of it again.
    fs::write(&ballast, vec![0; (12 << 20) + random.below(2 << 20)]).unwrap();
    let mut expected = Expected::new(run.seed);
    let db = place.open_free(true).map_err(said)?;
    set_up(&db);
    let (acknowledged, stopped) = write(&db, &run, &mut expected);
    if stopped.len() as i64 != run.writers {
        return Err(format!("{} writers were stopped by a full disk", stopped.len()));
    }
    for (writer, n, error) in &stopped {
        let codes = ["commit_failed", "commit_cascaded", "commit_indeterminate"];
        // sled reads nothing either once it could not write.
        let is_sleds = place.engine == "sled" && names_full_disk(&describe(error));
        if !codes.contains(&error.code()) && !is_sleds {
            return Err(format!("writer {writer}, commit {n}: {}", describe(error)));
        }
    }
    let mut errors = stopped.iter().map(|(_, _, error)| describe(error));
    if !errors.any(|error| names_full_disk(&error)) {
        return Err(format!("no error names the full disk: {stopped:?}"));
    }
    // Reads go on, and show what was acknowledged. sled may answer them with its own failure.
    match Expected::new(run.seed).compare(&db, &acknowledged, random) {
        Err(error) if place.engine == "sled" && names_full_disk(&error) => {}
        compared => drop(compared?),
    }
    drop(db);
    // While the disk is full, an opening shows everything or says why not.
    match place.open_free(false) {
        Ok(db) => drop(Expected::new(run.seed).compare(&db, &acknowledged, random)?),
        Err(error) if ["store_io", "store_engine"].contains(&error.code()) => {}
        Err(error) => return Err(format!("opened on a full disk: {}", describe(&error))),
    }
    fs::remove_file(&ballast).unwrap();
    let db = open_left(place, false)?.ok_or("the store is gone")?;
    let compared = expected.compare(&db, &acknowledged, random)?;
    // And writing goes on.
    let last = expected.begin().iter().map(|(n, _)| n + 20).max();
    let (acknowledged, stopped) = write(&db, &Run { last, ..run }, &mut expected);
    if !stopped.is_empty() {
        return Err(format!("there is room again: {stopped:?}"));
    }
    expected.compare(&db, &acknowledged, random)?;
    db.pool().close().map_err(|error| describe(&error))?;
    drop(db);
    let db = place.open_free(false).map_err(said)?;
    expected.compare(&db, &[], random)?;
    Ok(compared.commits)
}

fn fill_disks(engine: &'static str, seed: u64) {
    let begin = Instant::now();
    let rounds = if is_full_size() { 40 } else { 2 };
    let mut commits = 0;
    for round in 0..rounds {
        let Some(disk) = SmallDisk::mount() else {
            announce(&format!("LEFT OUT: full disks on {engine}; only root may mount a small one"));
            return;
        };
        let mut random = Random::part(seed, round);
        let log_bytes = *random.choose(&[8 << 10, 64 << 10, 1 << 20]).unwrap();
        let place = Place::new(engine, disk.path(), log_bytes);
        let run =
            Run { seed: random.next_u64(), writers: WRITERS, is_durable: true, ..Run::default() };
        let done = fill(&place, &disk, run, &mut random);
        commits += done.unwrap_or_else(|error| {
            panic!("{engine}, disk {round}, log of {log_bytes}: {error}\n  {}", replay(seed))
        });
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "full disks on {engine}: {rounds} disks, {commits} commits, seed {seed:#x}, {seconds:.1} s"
    );
}

#[test]
fn a_full_disk_loses_nothing_and_is_recovered_from_on_redb() {
    fill_disks("redb", seed_from_env(0xF011));
}

#[test]
fn a_full_disk_loses_nothing_and_is_recovered_from_on_sled() {
    fill_disks("sled", seed_from_env(0xF012));
}
