//! What is sled's own: its files, its lock, crashes at moments that it would not survive alone, and
//! snapshots that expire.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use datafold_store::{
    Batch, FORMAT_VERSION, Keyspace, Loader, OpenOptions, Outcome, Scan, SpaceId, Store,
    StoreError, StoreId, open,
};
use datafold_testkit::model::dump;
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use tempfile::TempDir;

use crate::harness::options;
use crate::workload::Workload;

fn url(path: &Path) -> String {
    format!("sled:{}", path.display())
}

fn open_at(path: &Path, create: bool) -> Result<Arc<dyn Store>, StoreError> {
    open(&url(path), &options(create))
}

#[track_caller]
fn accept(store: &dyn Store, batch: &Batch) {
    let outcome = store.apply(batch);
    assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
}

fn batch(number: u64) -> Batch {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(SpaceId::DEFAULT, number - 1, number, token)
}

/// A closed store with one row.
fn closed_store() -> (TempDir, StoreId) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    let mut first = batch(1);
    first.put(Keyspace::Records, &b"key"[..], &b"value"[..]);
    accept(&*store, &first);
    store.close().unwrap();
    (folder, store.info().id)
}

#[track_caller]
fn assert_has_the_row(store: &dyn Store) {
    let value = store.snapshot().unwrap().get(Keyspace::Records, b"key").unwrap();
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn write_files(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::create_dir_all(folder.join("sled/blobs")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn a_plain_path_opens_the_engine_of_the_note_and_no_url_opens_another() {
    let (folder, id) = closed_store();
    assert_eq!(names(folder.path()), ["LOCK", "STORE.json", "commit.log", "sled", "sled.seal"]);
    let path = folder.path().to_str().unwrap();
    let store = open(path, &options(false)).unwrap();
    let info = store.info().clone();
    assert_eq!((info.engine, info.id, info.format_version), ("sled", id, FORMAT_VERSION));
    assert_has_the_row(&*store);
    store.close().unwrap();
    for create in [false, true] {
        let error = open(&format!("redb:{path}"), &options(create)).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
        assert!(error.to_string().contains("belongs to the engine `sled`"), "{error}");
    }
    let redb = tempfile::tempdir().unwrap();
    drop(open(redb.path().to_str().unwrap(), &options(true)).unwrap());
    let before = files(redb.path());
    let error = open_at(redb.path(), true).unwrap_err();
    assert!(error.to_string().contains("the URL names `sled`"), "{error}");
    assert!(files(redb.path()) == before);
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
}

#[test]
fn an_open_store_is_refused_to_others_also_without_its_lock_file() {
    let (folder, _) = closed_store();
    let store = open_at(folder.path(), false).unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    let StoreError::AlreadyOpen { pid, .. } = error else { panic!("{error:?}") };
    assert_eq!(pid, Some(std::process::id()));
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { pid: None, .. }), "{error:?}");
    let view = store.snapshot().unwrap();
    store.close().unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
    drop(view);
    // Its threads have let everything go: it opens at once, again and again.
    for _ in 0..10 {
        let store = open_at(folder.path(), false).unwrap();
        assert_has_the_row(&*store);
        store.close().unwrap();
    }
}

#[test]
fn a_store_that_has_lost_something_is_not_opened_and_not_created_anew() {
    let (folder, id) = closed_store();
    let whole = files(folder.path());
    let (other, _) = closed_store();
    let other = files(other.path());
    let code = |change: &dyn Fn(&mut BTreeMap<PathBuf, Vec<u8>>)| {
        let folder = tempfile::tempdir().unwrap();
        let mut files = whole.clone();
        change(&mut files);
        write_files(folder.path(), &files);
        [false, true].map(|create| open_at(folder.path(), create).unwrap_err().code())
    };
    let remove = |name: &'static str| code(&move |files| drop(files.remove(Path::new(name))));
    assert_eq!(remove("sled/db"), ["store_unexpectedly_empty"; 2]);
    assert_eq!(remove("commit.log"), ["store_corrupted"; 2]);
    assert_eq!(remove("sled.seal"), ["store_corrupted"; 2]);
    let emptied = code(&|files| drop(files.insert("sled/db".into(), Vec::new())));
    assert_eq!(emptied, ["store_unexpectedly_empty"; 2]);
    for name in ["sled/db", "commit.log"] {
        let exchanged =
            code(&|files| drop(files.insert(name.into(), other[Path::new(name)].clone())));
        assert_eq!(exchanged, ["store_corrupted"; 2], "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), &whole);
    let store = open_at(folder.path(), true).unwrap();
    assert_eq!(store.info().id, id);
    assert_has_the_row(&*store);
}

/// Only with the note there is a store. Until then the next create begins or finishes it, and
/// keeps what it finds.
#[test]
fn a_creation_that_was_interrupted_is_finished_by_the_next_one() {
    let (folder, id) = closed_store();
    let mut whole = files(folder.path());
    whole.remove(Path::new("STORE.json"));
    let only = |names: &[&str]| {
        let kept = whole.iter().filter(|(name, _)| names.iter().any(|n| name.starts_with(n)));
        kept.map(|(name, bytes)| (name.clone(), bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    let renamed = |files: BTreeMap<PathBuf, Vec<u8>>| {
        let rename = |name: PathBuf| match name.strip_prefix("sled") {
            Ok(rest) => Path::new("sled.new").join(rest),
            Err(_) => name.clone(),
        };
        files.into_iter().map(|(name, bytes)| (rename(name), bytes)).collect::<BTreeMap<_, _>>()
    };
    let mut torn = only(&["sled"]);
    torn.insert("sled/db".into(), vec![7; 5_000]);
    for (step, (stage, keeps)) in [
        (only(&["LOCK"]), false),
        (renamed(torn), false),
        (renamed(only(&["LOCK", "sled"])), false),
        (renamed(only(&["LOCK", "sled", "commit.log"])), false),
        (renamed(whole.clone()), false),
        (whole.clone(), true),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &stage {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let error = open_at(folder.path(), false).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "step {step}: {error:?}");
        let store = open_at(folder.path(), true);
        let store = store.unwrap_or_else(|error| panic!("step {step}: {error:?}"));
        assert_eq!(store.info().id == id, keeps, "step {step}");
        let rows = dump(&*store.snapshot().unwrap()).unwrap();
        assert_eq!(rows.len(), usize::from(keeps), "step {step}");
        let number = u64::from(keeps) + 1;
        accept(&*store, &batch(number));
        drop(store);
        let head = open_at(folder.path(), false).unwrap().snapshot().unwrap();
        assert_eq!(head.head(SpaceId::DEFAULT).unwrap().unwrap().number, number);
    }
}

/// The files that have to be made durable are those that the engine knows of: if sled makes others,
/// this fails.
#[test]
fn sled_makes_no_files_but_those_that_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    for number in 1..=40 {
        let mut large = batch(number);
        for row in 0..4_u8 {
            large.put(Keyspace::Records, vec![row], vec![row; 300_000]);
        }
        accept(&*store, &large);
    }
    let is_known =
        |name: &str| ["db", "conf", "blobs"].contains(&name) || name.starts_with("snap.");
    let check = || {
        let inside = names(&folder.path().join("sled"));
        assert!(inside.iter().all(|name| is_known(name)), "{inside:?}");
        let blobs = names(&folder.path().join("sled/blobs"));
        assert!(blobs.iter().all(|name| name.parse::<u64>().is_ok()), "{blobs:?}");
        blobs.len()
    };
    assert!(check() > 0, "large pages are files of their own");
    store.close().unwrap();
    assert!(store.size_bytes().is_err());
    let store = open_at(folder.path(), false).unwrap();
    check();
    let on_disk: usize = files(&folder.path().join("sled")).values().map(Vec::len).sum();
    let log = fs::metadata(folder.path().join("commit.log")).unwrap().len();
    assert_eq!(store.size_bytes().unwrap(), on_disk as u64 + log);
    for row in 0..4_u8 {
        let value = store.snapshot().unwrap().get(Keyspace::Records, &[row]).unwrap();
        assert!(value == Some(vec![row; 300_000]));
    }
}

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
            .args(["--exact", "sled::killed_processes_lose_and_tear_nothing", "--nocapture"])
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

#[test]
fn the_oldest_snapshots_expire_and_the_newest_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { snapshot_bytes: 60_000, ..options(true) };
    let store = open(&url(folder.path()), &options).unwrap();
    let put = |number: u64| {
        let mut changes = batch(number);
        for row in 0..100_u8 {
            let value = [&number.to_be_bytes()[..], &[0; 200]].concat();
            changes.put(Keyspace::Records, vec![row], value);
        }
        accept(&*store, &changes);
    };
    put(1);
    let oldest = store.snapshot().unwrap();
    put(2);
    let number = |view: &dyn datafold_store::Snapshot| {
        let value = view.get(Keyspace::Records, &[50]).unwrap().unwrap();
        u64::from_be_bytes(value[..8].try_into().unwrap())
    };
    let newer = store.snapshot().unwrap();
    assert_eq!((number(&*oldest), number(&*newer)), (1, 2));
    put(3);
    assert_eq!(number(&*newer), 2);
    let answers = [
        oldest.get(Keyspace::Records, &[50]).map(drop),
        oldest.get(Keyspace::Records, b"nothing").map(drop),
        oldest.scan(&Scan::all(Keyspace::Records)).map(drop),
        oldest.scan(&Scan::all(Keyspace::History).reverse()).map(drop),
        oldest.head(SpaceId::DEFAULT).map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::SnapshotExpired)), "{answer:?}");
    }
    assert_eq!(number(&*store.snapshot().unwrap()), 3);
    drop(oldest);
    put(4);
    assert_eq!(number(&*store.snapshot().unwrap()), 4);
}

/// A load that was not finished is no store, and is begun anew.
#[test]
fn an_unfinished_load_is_refused_and_begun_anew() {
    let id = StoreId([9; 16]);
    for scheme in ["", "sled:"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LOADING.new"), "").unwrap();
        let url = format!("{scheme}{}", folder.path().display());
        let mut loader = Loader::begin(&url, id, &options(true)).unwrap();
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
        for row in 0..20_000_u32 {
            loader.put(Keyspace::Records, &row.to_be_bytes(), b"left behind").unwrap();
        }
        drop(loader);
        for url in [&url, &format!("redb:{}", folder.path().display())] {
            for create in [false, true] {
                let error = open(url, &options(create)).unwrap_err();
                assert!(matches!(error, StoreError::Unfinished { .. }), "{error:?}");
            }
        }
        // As is one whose rows are found to be wrong.
        let loader = Loader::begin(&url, id, &options(true)).unwrap();
        let refused = loader.finish(|_| Err(StoreError::SnapshotExpired));
        assert!(matches!(refused, Err(StoreError::SnapshotExpired)), "{refused:?}");
        let error = open(&url, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::Unfinished { .. }), "{error:?}");
        // By another engine, too.
        for scheme in ["sled:", "redb:"] {
            let url = format!("{scheme}{}", folder.path().display());
            let mut loader = Loader::begin(&url, id, &options(true)).unwrap();
            loader.put(Keyspace::Records, b"key", b"value").unwrap();
            if scheme == "redb:" {
                let store = loader.finish(|_| Ok(())).unwrap();
                assert_eq!(dump(&*store.snapshot().unwrap()).unwrap().len(), 1);
                assert_has_the_row(&*store);
            }
        }
        assert_eq!(names(folder.path()), ["LOCK", "STORE.json", "commit.log", "data.redb"]);
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
        fs::remove_file(folder.path().join("STORE.json")).unwrap();
        let error = Loader::begin(&url, id, &options(true)).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    }
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
    let open_files = |files: &BTreeMap<PathBuf, Vec<u8>>, options: &OpenOptions| {
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
