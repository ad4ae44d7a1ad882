//! Crashes and damage that sled alone would not survive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use datafold_store::{Batch, Keyspace, OpenOptions, Scan, SpaceId, StoreError, open};
use datafold_testkit::model::describe;
use datafold_testkit::{ModelStore, Random, is_full_size, replay, seed_from_env};

use crate::harness::options;
use crate::sled::{Files, accept, batch, closed_store, files, open_at, url, write_files};
use crate::workload::Workload;

/// A crash leaves the log as it is and sled at any earlier moment of its round, or with any part of
/// the batches. Whatever the mixture, every batch is there, whole.
#[test]
fn whatever_sled_has_kept_of_a_round_the_log_completes() {
    let seed = seed_from_env(0x51ED);
    let mut random = Random::new(seed);
    for round in 0..if is_full_size() { 200 } else { 4 } {
        let workload = Workload::new(seed ^ round, 25);
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { log_bytes: 1 << 20, ..options(true) };
        let store = open(&url(folder.path()), &options).unwrap();
        // The state of sled after each batch, and for one the log at the end.
        let mut states = Vec::new();
        for batch in workload.batches() {
            accept(&*store, batch);
            states.push(files(&folder.path().join("sled")));
        }
        let mut outside = files(folder.path());
        outside.retain(|name, _| !name.starts_with("sled"));
        outside.insert("sled.seal".into(), fs::read(folder.path().join("sled.seal")).unwrap());
        drop(store);
        for _ in 0..if is_full_size() { 25 } else { 5 } {
            let state = &states[random.below(states.len())];
            let crashed = tempfile::tempdir().unwrap();
            write_files(crashed.path(), &outside);
            for (name, bytes) in state {
                fs::write(crashed.path().join("sled").join(name), bytes).unwrap();
            }
            let store = open(&url(crashed.path()), &options).unwrap();
            let number = workload
                .check(&*store)
                .unwrap_or_else(|error| panic!("{error}\n  {}", replay(seed)));
            assert_eq!(number, 25, "{}", replay(seed));
            store.close().unwrap();
            drop(store);
            let options = OpenOptions { check_integrity: true, ..options.clone() };
            assert_eq!(workload.check(&*open(&url(crashed.path()), &options).unwrap()), Ok(25));
        }
    }
}

/// Rows that are overwritten again and again, so that sled frees and uses segments anew.
fn small_batch(random: &mut Random, number: u64) -> Batch {
    let mut batch = batch(number);
    for _ in 0..10 {
        let row = u32::try_from(random.below(400)).unwrap();
        batch.put(Keyspace::Records, row.to_be_bytes().to_vec(), random.bytes(120));
    }
    batch
}

/// What stands in a file when the power fails between a write and its sync: of each sector the old
/// bytes or the new ones.
fn torn(before: &[u8], after: &[u8], random: &mut Random) -> Vec<u8> {
    const SECTOR: usize = 512;
    let len = if random.one_in(3) { before.len() } else { after.len() };
    let mut bytes = after.to_vec();
    // What was never written to the disk is zero.
    let old = |at: usize| before.get(at).copied().unwrap_or_default();
    let lost_of_4 = random.below(5);
    for start in (0..bytes.len()).step_by(SECTOR) {
        if random.below(4) < lost_of_4 {
            for at in start..bytes.len().min(start + SECTOR) {
                bytes[at] = old(at);
            }
        }
    }
    bytes.resize(len, 0);
    bytes
}

/// The power fails while sled's files are written: what was written since the last sync is there in
/// part. Every batch is in the log, so every batch must be there.
#[test]
fn a_power_cut_while_sled_is_written_loses_and_tears_nothing() {
    const BATCHES: u64 = 450;
    let seed = seed_from_env(0xC07);
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { log_bytes: 2 << 20, ..options(true) };
    let store = open(&url(folder.path()), &options).unwrap();
    let db = folder.path().join("sled/db");
    let (mut model, mut cuts) = (ModelStore::new(), Vec::new());
    let (mut before, mut first_log) = (Files::new(), Vec::new());
    for number in 1..=BATCHES {
        let batch = small_batch(&mut random, number);
        accept(&*store, &batch);
        model.apply(&batch).unwrap();
        if number == 1 {
            first_log = fs::read(folder.path().join("commit.log")).unwrap();
        }
        // Most batches are not written to sled's files: it buffers them.
        let is_written = before.get(Path::new("db")) != Some(&fs::read(&db).unwrap());
        if is_written {
            let after = files(&folder.path().join("sled"));
            // The first one begins the round, with two syncs.
            let old = std::mem::replace(&mut before, after.clone());
            if number > 1 {
                cuts.push((number, old, after));
            }
        }
    }
    let mut outside = files(folder.path());
    outside.retain(|name, _| !name.starts_with("sled"));
    drop(store);
    assert!(cuts.len() > 20, "sled was written to {} times", cuts.len());
    let per_cut = if is_full_size() { 20 } else { 1 };
    let mut torn_files = 0;
    for (number, old, new) in &cuts {
        for _ in 0..per_cut {
            let crashed = tempfile::tempdir().unwrap();
            write_files(crashed.path(), &outside);
            for (name, bytes) in new {
                let bytes = match old.get(name) {
                    Some(old) if old != bytes => torn(old, bytes, &mut random),
                    _ => bytes.clone(),
                };
                torn_files += usize::from(bytes != new[name] && Some(&bytes) != old.get(name));
                fs::write(crashed.path().join("sled").join(name), bytes).unwrap();
            }
            let checked = check_at(crashed.path(), &options, &model);
            if let Err(error) = checked {
                panic!("cut in batch {number}: {error}\n  {}", replay(seed));
            }
        }
    }
    assert!(torn_files > 10, "{torn_files} files were torn");
    // The canary: a log that has lost what was synced must be found out.
    let Some((_, old, _)) = cuts.first() else { panic!("there was no cut") };
    let crashed = tempfile::tempdir().unwrap();
    outside.insert("commit.log".into(), first_log);
    write_files(crashed.path(), &outside);
    for (name, bytes) in old {
        fs::write(crashed.path().join("sled").join(name), bytes).unwrap();
    }
    assert!(check_at(crashed.path(), &options, &model).is_err());
}

fn check_at(folder: &Path, options: &OpenOptions, model: &ModelStore) -> Result<(), String> {
    let store = open(&url(folder), options).map_err(|error| describe(&error))?;
    let view = store.snapshot().map_err(|error| describe(&error))?;
    model.check(&*view)
}

/// Set in a child process: the folder to write to.
const CHILD: &str = "DATAFOLD_TEST_SLED_CHILD";

/// Rows of a batch that is longer than the log and than several segments of sled.
const LARGE_ROWS: u32 = 3_000;

fn large_batch(number: u64) -> Batch {
    let mut batch = batch(number);
    for row in 0..LARGE_ROWS {
        let value = [&number.to_be_bytes()[..], &[7; 400]].concat();
        batch.put(Keyspace::Records, row.to_be_bytes().to_vec(), value);
    }
    batch
}

/// A process is killed while it writes batches that sled could tear; after each kill the store has
/// every batch that was acknowledged, and each one whole.
#[test]
fn killed_processes_lose_and_tear_nothing() {
    if let Ok(folder) = std::env::var(CHILD) {
        return write_for_ever(Path::new(&folder));
    }
    let seed = seed_from_env(0xDEAD);
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    open_at(folder.path(), true).unwrap().close().unwrap();
    let mut number = 0;
    for _ in 0..if is_full_size() { 300 } else { 3 } {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sled_crashes::killed_processes_lose_and_tear_nothing",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("acknowledged ").map(|number| number.parse::<u64>().unwrap())
        });
        let count = 1 + random.below(3);
        let last = acknowledged.by_ref().take(count).last().unwrap();
        // Some work of the next batch, so that the kill comes at any place in it.
        let mut work = 0_u64;
        for n in 0..random.below(40_000_000) as u64 {
            work = std::hint::black_box(work.wrapping_add(n));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open_at(folder.path(), false).unwrap();
        let view = store.snapshot().unwrap();
        number = view.head(SpaceId::DEFAULT).unwrap().unwrap().number;
        assert!(number >= last, "batch {last} was acknowledged, the store is at {number}");
        let mut rows = 0;
        view.for_each(&Scan::all(Keyspace::Records), &mut |_, value| {
            assert_eq!(value[..8], number.to_be_bytes(), "a batch is there in part");
            rows += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(rows, LARGE_ROWS);
        drop(view);
        store.close().unwrap();
    }
    assert!(number > 0);
}

#[expect(clippy::print_stdout, reason = "the parent process reads it")]
fn write_for_ever(folder: &Path) {
    let store = open_at(folder, false).unwrap();
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap();
    for number in head.map_or(0, |head| head.number) + 1.. {
        accept(&*store, &large_batch(number));
        println!("\nacknowledged {number}");
    }
}

#[test]
fn a_log_that_was_made_longer_is_used_again_and_a_left_one_is_ignored() {
    let (folder, _) = closed_store();
    let len = || fs::metadata(folder.path().join("commit.log")).unwrap().len();
    let short = len();
    fs::write(folder.path().join("commit.log.new"), b"half a log").unwrap();
    let store = open_at(folder.path(), false).unwrap();
    accept(&*store, &large_batch(2));
    let long = len();
    assert!(long > short && !folder.path().join("commit.log.new").exists());
    accept(&*store, &large_batch(3));
    accept(&*store, &batch(4));
    assert_eq!(len(), long);
    store.close().unwrap();
    let view = open_at(folder.path(), false).unwrap().snapshot().unwrap();
    assert_eq!(view.head(SpaceId::DEFAULT).unwrap().unwrap().number, 4);
}

/// What becomes of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Right,
    Refused,
    ReadError,
    Wrong,
    Panic,
}

fn answer(folder: &Path, workload: &Workload, check_integrity: bool) -> Answer {
    let run = || {
        let options = OpenOptions { check_integrity, ..options(false) };
        let Ok(store) = open(&url(folder), &options) else { return Answer::Refused };
        let last = workload.batches().len() as u64 - 1;
        let answer = match workload.check(&*store) {
            Ok(number) if number == last => Answer::Right,
            Err(error) if !error.contains("model has") => Answer::ReadError,
            _ => Answer::Wrong,
        };
        // Whatever this answers, it must not panic.
        let _ = workload.next(last).map(|batch| store.apply(batch));
        let _ = workload.check(&*store);
        let _ = store.close();
        answer
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Answer::Panic)
}

/// Flips a bit of a file of a closed store, or cuts it.
fn sweep(check_integrity: bool) -> BTreeMap<Answer, usize> {
    let seed = seed_from_env(0xF11D);
    let workload = Workload::new(seed, 31);
    let closed = tempfile::tempdir().unwrap();
    let store = open_at(closed.path(), true).unwrap();
    for batch in &workload.batches()[..30] {
        accept(&*store, batch);
    }
    store.close().unwrap();
    drop(store);
    let whole = files(closed.path());
    let targets: Vec<_> = whole.keys().filter(|name| name.as_path() != Path::new("LOCK")).collect();
    let mut random = Random::new(seed);
    let mut counts = BTreeMap::new();
    for n in 0..if is_full_size() { 20_000 } else { 60 } {
        // Every other damage is in sled's log, which is most of it.
        let db = PathBuf::from("sled/db");
        let name = if n % 2 == 0 { &db } else { targets[random.below(targets.len())] };
        let mut damaged = whole.clone();
        let bytes = damaged.get_mut(name).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = random.below(bytes.len());
        if n % 5 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << random.below(8)
        }
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &damaged);
        let answer = answer(folder.path(), &workload, check_integrity);
        *counts.entry(answer).or_default() += 1;
        let is_allowed = match answer {
            Answer::Right | Answer::Refused => true,
            Answer::ReadError | Answer::Wrong => !check_integrity,
            Answer::Panic => false,
        };
        assert!(is_allowed, "{}, byte {at}: {answer:?}\n  {}", name.display(), replay(seed));
    }
    eprintln!("damaged files, checked when opened: {check_integrity}, answers: {counts:?}");
    counts
}

#[test]
fn a_check_when_opening_finds_all_damage_and_nothing_panics() {
    let checked = sweep(true);
    assert!(checked[&Answer::Refused] > 5 && checked[&Answer::Right] > 5, "{checked:?}");
    sweep(false);
}

/// Files that fit together in all but the rows: what opens without a word otherwise.
#[test]
fn a_check_when_opening_compares_the_rows_with_those_of_the_last_close() {
    let (folder, _) = closed_store();
    let before = files(folder.path());
    let after = |value: &'static str| {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &before);
        let store = open_at(folder.path(), false).unwrap();
        let mut change = batch(2);
        change.put(Keyspace::Records, &b"key"[..], value);
        accept(&*store, &change);
        store.close().unwrap();
        files(folder.path())
    };
    let (mut one, other) = (after("one"), after("other"));
    let seal = PathBuf::from("sled.seal");
    assert_ne!(one[&seal], other[&seal]);
    let check = OpenOptions { check_integrity: true, ..options(false) };
    let open_files = |files: &Files, options: &OpenOptions| {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), files);
        open(&url(folder.path()), options).map(drop)
    };
    open_files(&one, &check).unwrap();
    one.insert(seal.clone(), other[&seal].clone());
    open_files(&one, &options(false)).unwrap();
    let error = open_files(&one, &check).unwrap_err();
    assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
    // A seal of a later round: sled has lost what it had.
    let text = String::from_utf8(other[&seal].clone()).unwrap();
    let generation = number_of_member(&text, "generation");
    let later = text.replace(&format!(" {generation}"), &format!(" {}", generation + 1));
    assert_ne!(later, text);
    one.insert(seal, later.into_bytes());
    let error = open_files(&one, &options(false)).unwrap_err();
    assert!(error.to_string().contains("was durable in them"), "{error}");
}

/// The number of a member of a JSON object.
fn number_of_member(text: &str, member: &str) -> u64 {
    let rest = text.split_once(&format!("\"{member}\": ")).unwrap().1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}
