//! A kill at the first, second, third … call of each kind that changes files.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use super::announce;
use super::child::{Child, Job, Place, open_left};
use super::compare::Expected;
use super::load::Run;

/// What changes a file or a folder, or makes it durable. strace skips names behind a `?` that the
/// machine does not know.
const CALLS: &str = "?write,?writev,?pwrite64,?pwritev,?pwritev2,?fsync,?fdatasync,\
    ?sync_file_range,?ftruncate,?fallocate,?rename,?renameat,?renameat2,?open,?openat,?creat,\
    ?link,?linkat,?unlink,?unlinkat,?mkdir,?mkdirat,?rmdir,?flock";

fn is_strace_there() -> bool {
    let found = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=99", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// The `when`th call of one kind that a thread makes; each thread counts its own.
#[derive(Debug, Clone)]
struct Point {
    kind: String,
    when: u64,
}

/// strace, which kills the child where one of its threads comes to this point.
fn strace(kinds: &str, when: u64, output: &str) -> Vec<String> {
    let inject = format!("inject={kinds}:signal=KILL:when={when}");
    ["strace", "-f", "-qq", "-o", output, "-e"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("trace={kinds}"), "-e".into(), inject])
        .collect()
}

/// A writer on one thread, so that the calls of each run are nearly the same; a short log, so that
/// it is full several times.
struct Sweep {
    engine: &'static str,
    run: Run,
}

impl Sweep {
    const LOG_BYTES: u64 = 8 << 10;

    fn new(engine: &'static str, seed: u64) -> Self {
        let last = if is_full_size() { 120 } else { 25 };
        Self { engine, run: Run { seed, writers: 1, last: Some(last), ..Run::default() } }
    }

    /// For each kind of system call, how many the thread makes that makes the most of them; and how
    /// many all threads make.
    fn count_calls(&self) -> (BTreeMap<String, u64>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(self.engine, folder.path(), Self::LOG_BYTES);
        let output = folder.path().join("calls");
        let options = strace(CALLS, u64::from(u16::MAX), output.to_str().unwrap());
        let mut child = Child::spawn_under(&options, &Job::Load(self.run), &place);
        assert_eq!(child.finish(), None);
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(&output).unwrap().lines() {
            // `1234 pwrite64(5, …`; other lines tell of signals, ends, and calls that go on.
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let Some((kind, _)) = call.trim_start().split_once('(') else { continue };
            if kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                *counts.entry((kind.to_owned(), thread.to_owned())).or_insert(0) += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((kind, _), count) in &counts {
            let most = most.entry(kind.clone()).or_insert(0);
            *most = (*count).max(*most);
        }
        (most, counts.into_values().sum())
    }

    /// Kills a run at a point, and compares what it has left; answers whether it was killed.
    fn kill_at(&self, point: &Point) -> Result<bool, String> {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(self.engine, folder.path(), Self::LOG_BYTES);
        let options = strace(&point.kind, point.when, "/dev/null");
        let mut child = Child::spawn_under(&options, &Job::Load(self.run), &place);
        let is_killed = child.finish() == Some(9);
        let mut expected = Expected::new(self.run.seed);
        let mut random = Random::part(self.run.seed, point.when);
        let Some(db) = open_left(&place, child.acknowledged.is_empty())? else {
            // What there is of a store can be made one.
            let db = place.open_free(true).map_err(|error| crate::harness::describe(&error))?;
            expected.compare(&db, &[], &mut random)?;
            return Ok(is_killed);
        };
        expected.compare(&db, &child.acknowledged, &mut random)?;
        drop(db);
        // It goes on, to its end and without a kill.
        let mut child = Child::spawn(&Job::Load(self.run), &place);
        assert_eq!(child.finish(), None);
        let db = open_left(&place, false)?.ok_or("it is gone")?;
        let compared = expected.compare(&db, &child.acknowledged, &mut random)?;
        let begin = expected.begin();
        if Some(begin[0].0) != self.run.last {
            return Err(format!("it went on for {} commits", compared.commits));
        }
        Ok(is_killed)
    }
}

fn sweep(engine: &'static str, seed: u64) {
    let begin = Instant::now();
    let sweep = Sweep::new(engine, seed);
    let (most, calls) = sweep.count_calls();
    let mut points = Vec::new();
    for (kind, most) in &most {
        // The number of calls differs a little from run to run.
        let behind = if is_full_size() { 5 } else { 0 };
        points.extend((1..=most + behind).map(|when| Point { kind: kind.clone(), when }));
    }
    let all = points.len();
    if !is_full_size() {
        let mut random = Random::new(seed);
        points = (0..20).map(|_| random.choose(&points).unwrap().clone()).collect();
    }
    let (mut kills, mut failures) = (0, Vec::new());
    for point in &points {
        match sweep.kill_at(point) {
            Ok(is_killed) => kills += usize::from(is_killed),
            Err(error) => failures.push(format!("{engine}, {point:?}: {error}")),
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "kills at system calls on {engine}: {kills} kills at {all} points in {calls} calls of \
         {} kinds, seed {seed:#x}, {seconds:.1} s",
        most.len()
    );
    assert!(failures.is_empty(), "{}\n  {}", failures.join("\n"), replay(seed));
    assert!(calls > 60 && kills > points.len() / 2, "{kills} kills at {calls} calls");
}

fn sweep_if_possible(engine: &'static str, seed: u64) {
    if is_strace_there() {
        sweep(engine, seed);
    } else {
        announce(&format!(
            "LEFT OUT: kills at system calls on {engine}; strace is not installed or cannot trace"
        ));
    }
}

#[test]
fn a_kill_at_any_system_call_loses_and_tears_nothing_on_redb() {
    sweep_if_possible("redb", seed_from_env(0x57A1));
}

#[test]
fn a_kill_at_any_system_call_loses_and_tears_nothing_on_sled() {
    sweep_if_possible("sled", seed_from_env(0x57A2));
}
