//! Processes that end abruptly, on real files: what was acknowledged is there, whole, and nothing
//! else is.
//!
//! The full size, in one command (5,000 kills, kinds of system calls, large imports, full disks):
//!
//! ```text
//! DATAFOLD_FULL=1 cargo test -p datafold --test it kills:: -- --nocapture
//! ```
//!
//! A kill leaves what was written to the operating system. What a loss of power leaves is another
//! matter; see `power_cuts.rs`.

mod child;
mod compare;
mod full_disk;
mod imports;
mod load;
mod system_calls;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use self::child::{Child, Job, Place, is_child, open_left};
use self::compare::{Compared, Expected};
use self::load::{Run, WRITERS};

/// Kills of each engine, and those of one folder before another one is begun.
fn sizes() -> (usize, usize) {
    if is_full_size() { (2_500, 100) } else { (50, 25) }
}

/// Prints a line that is seen also if the test passes.
fn announce(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "\n{line}");
}

/// What a loop of kills has seen.
#[derive(Debug, Default)]
struct Totals {
    kills: usize,
    /// Kills while the store was opened.
    during_opening: usize,
    /// Kills whose store the next child opened without anybody having opened it in between.
    on_crashed: usize,
    acknowledged: usize,
    commits: u64,
    unacknowledged: u64,
    rows: u64,
}

impl Totals {
    fn add(&mut self, acknowledged: usize, compared: Compared) {
        self.kills += 1;
        self.acknowledged += acknowledged;
        self.commits += compared.commits;
        self.unacknowledged += compared.unacknowledged;
        self.rows += compared.rows;
    }
}

/// Kills children at random moments, each in the folder that the one before has left.
fn kill_in_one_folder(
    engine: &'static str,
    run: Run,
    kills: usize,
    random: &mut Random,
    totals: &mut Totals,
) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let log_bytes = *random.choose(&[8 << 10, 64 << 10, 1 << 20]).unwrap();
    let place = Place::new(engine, folder.path(), log_bytes);
    let mut expected = Expected::new(run.seed);
    for kill in 0..kills {
        let mut child = Child::spawn(&Job::Load(run), &place);
        child.wait_for_opening();
        if random.one_in(8) {
            totals.during_opening += 1;
            idle(random.below(3_000_000));
        } else {
            child.wait_for(1 + random.below(40));
            idle(random.below(300_000));
        }
        child.kill();
        let acknowledged = std::mem::take(&mut child.acknowledged);
        // The next child finds either what this one has left, or what was opened and closed.
        let copy = tempfile::tempdir().unwrap();
        let looked_at = if random.one_in(3) && place.folder.exists() {
            totals.on_crashed += 1;
            let copy = Place::new(engine, copy.path(), log_bytes);
            copy_folder(&place.folder, &copy.folder);
            copy
        } else {
            place.clone()
        };
        let compared = open_left(&looked_at, acknowledged.is_empty()).and_then(|db| {
            let Some(db) = db else { return Ok(Compared::default()) };
            let compared = expected.compare(&db, &acknowledged, random)?;
            db.pool().close().map_err(|error| crate::harness::describe(&error))?;
            Ok(compared)
        });
        let compared = compared.map_err(|error| format!("{engine}, kill {kill}: {error}"))?;
        totals.add(acknowledged.len(), compared);
    }
    Ok(())
}

/// Some work, so that a kill comes at any place of what the child does meanwhile.
fn idle(rounds: usize) {
    let mut work = 0_usize;
    for n in 0..rounds {
        work = std::hint::black_box(work.wrapping_add(n));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn kill_all(engine: &'static str, seed: u64) {
    let begin = Instant::now();
    let (kills, of_one_folder) = sizes();
    let mut totals = Totals::default();
    for folder in 0..(kills / of_one_folder) as u64 {
        let mut random = Random::part(seed, folder);
        let run = Run { seed: random.next_u64(), writers: WRITERS, ..Run::default() };
        let done = kill_in_one_folder(engine, run, of_one_folder, &mut random, &mut totals);
        done.unwrap_or_else(|error| panic!("folder {folder}, {error}\n  {}", replay(seed)));
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("kills on {engine}: {totals:?}, seed {seed:#x}, {seconds:.1} s");
    assert_eq!(totals.kills, kills);
    assert!(totals.commits > totals.kills as u64 && totals.during_opening > 0, "{totals:?}");
}

#[test]
fn killed_processes_lose_tear_and_invent_nothing_on_redb() {
    if is_child() {
        return;
    }
    kill_all("redb", seed_from_env(0x9111));
}

#[test]
fn killed_processes_lose_tear_and_invent_nothing_on_sled() {
    kill_all("sled", seed_from_env(0x9112));
}

/// The canary: a process that acknowledges what is queued and not durable must be found out.
#[test]
fn a_process_that_acknowledges_too_early_is_found_out() {
    let seed = seed_from_env(0xEA51);
    for engine in ["redb", "sled"] {
        let mut random = Random::new(seed);
        let run = Run { seed, writers: WRITERS, acknowledges_early: true, ..Run::default() };
        let found = kill_in_one_folder(engine, run, 50, &mut random, &mut Totals::default());
        let error = found.unwrap_err();
        assert!(error.contains("and the commit is of None"), "{error}");
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_one_writes() {
    let seed = seed_from_env(0x2222);
    for engine in ["redb", "sled"] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(engine, folder.path(), 64 << 10);
        let run = Run { seed, writers: WRITERS, ..Run::default() };
        let mut child = Child::spawn(&Job::Load(run), &place);
        for at in 1..=5 {
            child.wait_for(at * 10);
            let error = place.open(at % 2 == 0).unwrap_err();
            assert_eq!(error.code(), "store_already_open");
            assert!(error.to_string().contains(&format!(" {}", child.pid())), "{error}");
        }
        // The first one has not noticed.
        child.wait_for(100);
        child.kill();
        let db = place.open_free(false).unwrap();
        let mut expected = Expected::new(seed);
        let compared = expected.compare(&db, &child.acknowledged, &mut Random::new(seed));
        assert!(compared.unwrap().commits >= 100);
    }
}
