//! A byte of any file of a closed store is another one; whatever the space then answers is right,
//! or it is an error.
//!
//! Full size, with the folders in memory: `TMPDIR=/dev/shm DATAFOLD_FULL=1 cargo test -p datafold
//! --test it byte_flips -- --nocapture`. The ids in a store are random, so that a seed repeats the
//! places and what is stored, and not every byte.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use datafold::data_layer::{PoolOptions, ReadRepository};
use datafold::engine::{ElementQuery, FoldDbError};
use datafold::model::{FieldKind, SchemaState, Value};
use datafold::{FoldDb, QueryRequest};
use datafold_store::OpenOptions;
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use tempfile::TempDir;

use crate::harness::{clock, describe, lines, mutate, name};
use crate::steps::{catalogue, head, run, steps};

/// So long a single answer may take before it counts as none: thousands of times what it takes.
const HANG: Duration = Duration::from_secs(120);

/// So much more memory may be asked for than before the damage.
const MEMORY_KIB: u64 = 4 << 20;

/// What becomes of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// Everything that was read is as it was written.
    Right,
    /// The store does not open.
    Refused,
    /// `verify` tells of it.
    Found,
    /// A read answers an error.
    ReadError,
    /// Something else than was written is answered.
    Wrong,
    Panic,
}

/// How carefully a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// As the command `verify` does.
    Verify,
    /// As everything else does.
    None,
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files below a folder.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn write_files(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn open(engine: &str, folder: &Path, create: bool, care: Care) -> Result<FoldDb, FoldDbError> {
    let store = OpenOptions {
        create,
        cache_bytes: 256 << 10,
        log_bytes: 8 << 10,
        check_integrity: care == Care::Verify,
        ..OpenOptions::default()
    };
    let url = format!("{engine}:{}", folder.display());
    FoldDb::open_with(&url, &PoolOptions { store, clock: clock(), ..PoolOptions::default() })
}

/// The files of a closed store with all kinds of data, and everything that it answers.
fn closed(engine: &str, seed: u64, count: usize) -> (Files, String) {
    let folder = tempfile::tempdir().unwrap();
    let db = open(engine, folder.path(), true, Care::None).unwrap();
    for step in steps(seed, count) {
        run(&db, &step).unwrap();
    }
    db.schemas().set_states(&[name("Reading")], SchemaState::Approved, None).unwrap();
    let everything = read_everything(&db).unwrap();
    db.pool().close().unwrap();
    drop(db);
    (files(folder.path()), everything)
}

/// The catalogue, the records now and as of several commits, the history of each and all atoms.
fn read_everything(db: &FoldDb) -> Result<String, FoldDbError> {
    let head = head(db);
    let mut text = format!("{head} {:?}\n", catalogue(db));
    for schema in db.schemas().get_status() {
        for commit in [head, head - head / 8, head * 3 / 4, head / 2] {
            let mut query = QueryRequest::new(schema.name.clone());
            query.as_of = Some(commit.to_string());
            match db.query(&query) {
                Ok(answer) => text += &lines(&answer),
                // It was loaded later.
                Err(error) if error.code() == "schema_not_found" => text += "none\n",
                Err(error) => return Err(error),
            }
        }
        read_records(db, &schema.name, &mut text)?;
    }
    for atom in db.pool().atoms().list()? {
        writeln!(text, "{atom}").unwrap();
    }
    let stats = db.stats()?;
    writeln!(text, "{} {}", stats.total_records, stats.total_atoms).unwrap();
    Ok(text)
}

/// The history and the elements of each record.
fn read_records(
    db: &FoldDb,
    schema: &datafold::model::SchemaName,
    text: &mut String,
) -> Result<(), FoldDbError> {
    let core = db.schemas().core();
    let entry = core.get(schema.as_str());
    let Some(shape) = entry.map(|entry| &entry.schema) else {
        text.push_str("unknown\n");
        return Ok(());
    };
    for record in db.query(&QueryRequest::new(schema.clone()))?.records {
        let key = |part: &datafold::model::FieldName| record.get(part.as_str()).cloned();
        let key: Vec<Value> = shape.key.iter().filter_map(key).collect();
        for atom in db.history(schema, &key, None, None, 1_000)? {
            let value = atom.value.to_json();
            writeln!(text, "{} {} {} {value}", atom.id, atom.commit, atom.time).unwrap();
        }
        for field in shape.fields.iter().filter(|field| field.kind != FieldKind::Single) {
            let query = ElementQuery::new(schema.clone(), key.clone(), field.name.as_str());
            for element in db.elements(&query)?.elements {
                writeln!(text, "{} {}", element.key, element.value.to_json()).unwrap();
            }
        }
    }
    Ok(())
}

/// Opens a store, reads everything, writes if it was checked, and closes.
fn answer(engine: &str, files: &Files, everything: &str, care: Care) -> (Answer, String) {
    let run = || {
        let folder = write_files(files);
        let db = match open(engine, folder.path(), false, care) {
            Ok(db) => db,
            Err(error) => return (Answer::Refused, error.code().to_owned()),
        };
        if care == Care::Verify {
            match db.verify() {
                Ok(report) if report.is_sound() => {}
                Ok(_) => return (Answer::Found, "problems".to_owned()),
                Err(error) => return (Answer::Found, error.code().to_owned()),
            }
        }
        let answer = match read_everything(&db) {
            Ok(found) if found == everything => (Answer::Right, String::new()),
            Ok(_) => (Answer::Wrong, String::new()),
            Err(error) => (Answer::ReadError, error.code().to_owned()),
        };
        // Whatever this answers, it must not panic. Without a check nothing is written: redb can
        // end the process then, by a panic while it unwinds from one.
        if care == Care::Verify {
            let tag = r#"{"mutation": "upsert", "schema": "Tag", "records": [{"tag": "new"}]}"#;
            let _ = mutate(&db, tag);
        }
        let _ = db.verify();
        let _ = db.pool().close();
        answer
    };
    let caught = catch_unwind(AssertUnwindSafe(run));
    caught.unwrap_or_else(|_| (Answer::Panic, String::new()))
}

/// A byte of a file that becomes another one.
#[derive(Debug, Clone)]
struct Flip {
    file: PathBuf,
    at: usize,
    mask: u8,
}

impl Flip {
    /// Most of them are in the largest file, and a quarter in the first page of a file. Zeros are
    /// mostly free space, so other bytes are looked for.
    fn random(files: &Files, random: &mut Random) -> Self {
        let names: Vec<_> = files.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        let largest = names.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
        let (file, bytes) =
            if !random.one_in(4) { largest } else { random.choose(&names).unwrap() };
        let end = if random.one_in(4) { bytes.len().min(4_096) } else { bytes.len() };
        let mut at = random.below(end);
        for _ in 0..random.below(8) {
            if bytes[at] == 0 {
                at = random.below(end);
            }
        }
        let any = u8::try_from(1 + random.below(255)).unwrap();
        let mask = if random.one_in(4) { any } else { 1 << random.below(8) };
        Self { file: (*file).clone(), at, mask }
    }

    fn apply(&self, files: &mut Files) {
        files.get_mut(&self.file).unwrap()[self.at] ^= self.mask;
    }
}

#[derive(Default)]
struct Counts {
    answers: BTreeMap<Answer, u64>,
    codes: BTreeMap<String, u64>,
    /// The first of the flips with a wrong value, and all with a panic.
    wrong: Vec<String>,
}

impl Counts {
    fn of(&self, answer: Answer) -> u64 {
        self.answers.get(&answer).copied().unwrap_or_default()
    }
}

/// Flips bytes, one at a time, and flips each back.
fn sweep(engine: &'static str, care: Care, count: u64, default_seed: u64) -> Counts {
    let begin = Instant::now();
    let seed = seed_from_env(default_seed);
    let (mut files, everything) = closed(engine, seed, 24);
    let bytes: usize = files.values().map(Vec::len).sum();
    assert_eq!(answer(engine, &files, &everything, care).0, Answer::Right);
    let memory = peak_kib();
    let (sender, receiver) = channel();
    let worker = thread::spawn(move || {
        let mut random = Random::new(seed);
        for _ in 0..count {
            let flip = Flip::random(&files, &mut random);
            if sender.send((flip.clone(), None)).is_err() {
                return;
            }
            flip.apply(&mut files);
            let answer = answer(engine, &files, &everything, care);
            flip.apply(&mut files);
            if sender.send((flip, Some(answer))).is_err() {
                return;
            }
        }
    });
    let mut counts = Counts::default();
    let mut last = None;
    loop {
        match receiver.recv_timeout(HANG) {
            Ok((flip, None)) => last = Some(flip),
            Ok((flip, Some((answer, code)))) => {
                *counts.answers.entry(answer).or_default() += 1;
                *counts.codes.entry(code).or_default() += 1;
                if matches!(answer, Answer::Wrong | Answer::Panic) && counts.wrong.len() < 20 {
                    counts.wrong.push(format!("{flip:?}: {answer:?}"));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("no answer after {last:?}, {}", replay(seed)),
        }
    }
    worker.join().unwrap();
    let grown = peak_kib().saturating_sub(memory);
    eprintln!(
        "byte flips of {engine}, {care:?}: {count} in {bytes} bytes: {:?}, codes {:?}, {} MiB more \
         asked for, seed {seed:#x}, {:.1} s",
        counts.answers,
        counts.codes,
        grown >> 10,
        begin.elapsed().as_secs_f64()
    );
    assert_eq!(counts.of(Answer::Panic), 0, "{}\n{}", counts.wrong.join("\n"), replay(seed));
    // Only where no other test runs at the same time does this tell of the damage.
    assert!(!is_full_size() || grown < MEMORY_KIB, "{grown} KiB more, {}", replay(seed));
    counts
}

/// The most memory that the process has asked for, where the system tells.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

fn count(small: u64, full: u64) -> u64 {
    if is_full_size() { full } else { small }
}

fn no_damage_is_overlooked(engine: &'static str, count: u64, seed: u64) {
    let counts = sweep(engine, Care::Verify, count, seed);
    let wrong = counts.wrong.join("\n");
    assert_eq!(counts.of(Answer::Wrong), 0, "{wrong}\n{}", replay(seed_from_env(seed)));
    assert!(counts.of(Answer::Refused) > 5 && counts.of(Answer::Right) > 5);
}

#[test]
fn a_check_finds_every_flip_of_redb_that_matters() {
    no_damage_is_overlooked("redb", count(450, 25_000), 0xF11B);
}

#[test]
fn a_check_finds_every_flip_of_sled_that_matters() {
    no_damage_is_overlooked("sled", count(450, 25_000), 0xF115);
}

/// Values may be wrong here: redb trusts its pages, and sled where its log ends.
#[test]
fn a_flip_without_a_check_makes_nothing_panic() {
    for (engine, seed) in [("redb", 0x1F11B), ("sled", 0x1F115)] {
        let counts = sweep(engine, Care::None, count(50, 5_000), seed);
        assert!(counts.of(Answer::Refused) > 0);
    }
}

/// The canary: where the check is skipped, wrong values are answered and the harness sees them.
#[test]
fn a_check_that_is_skipped_is_found_out() {
    let (mut files, everything) = closed("redb", seed_from_env(0x2F11B), 24);
    // The last value that was written through a mapping; pages that are free now have it too.
    let value = b"colour 19";
    let data = PathBuf::from("data.redb");
    let is_there = |at: &usize| files[&data][*at..].starts_with(value);
    let places: Vec<_> = (0..files[&data].len()).filter(is_there).collect();
    let mut answers = [Care::None, Care::Verify].map(|care| {
        let answer = |at: &usize| {
            let flip = Flip { file: data.clone(), at: *at, mask: 1 };
            flip.apply(&mut files);
            let answer = answer("redb", &files, &everything, care).0;
            flip.apply(&mut files);
            answer
        };
        places.iter().map(answer).collect::<Vec<_>>()
    });
    assert!(answers[0].contains(&Answer::Wrong), "{answers:?}");
    answers[1].retain(|answer| *answer != Answer::Right);
    assert!(!answers[1].is_empty() && !answers[1].contains(&Answer::Wrong), "{answers:?}");
}

/// The canary for both: files that fit together and hold one record more.
#[test]
fn a_record_too_many_is_found_out() {
    for engine in ["redb", "sled"] {
        let seed = seed_from_env(0x3F11);
        let (files, everything) = closed(engine, seed, 8);
        let folder = write_files(&files);
        let db = open(engine, folder.path(), false, Care::None).unwrap();
        let tag = r#"{"mutation": "upsert", "schema": "Tag", "records": [{"tag": "new"}]}"#;
        mutate(&db, tag).unwrap_or_else(|error| panic!("{}", describe(&error)));
        db.pool().close().unwrap();
        drop(db);
        let other = self::files(folder.path());
        assert_eq!(answer(engine, &other, &everything, Care::Verify).0, Answer::Wrong);
        assert_eq!(answer(engine, &files, &everything, Care::Verify).0, Answer::Right);
    }
}
