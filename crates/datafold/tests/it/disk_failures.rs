//! Every operation of the disk under a whole program fails, once and for ever.
//!
//! Full size: `DATAFOLD_FULL=1 cargo test -p datafold --test it disk_failures -- --nocapture`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use datafold::FoldDb;
use datafold::data_layer::DatabasePool;
use datafold_store::{Batch, Outcome, Snapshot, Store, StoreError, StoreInfo};
use datafold_testkit::{
    CutKind, DiskError, DiskFault, DiskImages, SimDisk, is_full_size, replay, seed_from_env,
};

use crate::harness::{clock, describe, fold_db, open_sim, options};
use crate::power_cuts::{go_on, open};
use crate::steps::{Expected, check_sound, head, run, steps};

/// What a program was answered.
#[derive(Default)]
struct Answers {
    /// The last commit that was acknowledged.
    acknowledged: u64,
    /// The last commit that can be there.
    attempted: u64,
    /// Calls that answered an error of the store.
    errors: u64,
    is_indeterminate: bool,
}

/// What stands between the space and its store.
type Wrap = fn(Arc<dyn Store>) -> Arc<dyn Store>;

/// Opens the space and runs the program as far as the disk lets it; then reads, and closes.
fn run_all(disk: &SimDisk, expected: &Expected, wrap: Wrap) -> Result<Answers, String> {
    let mut answers = Answers::default();
    let store = open_sim(disk, false).map(|store| wrap(Arc::new(store)));
    let pool = store.ok().and_then(|store| DatabasePool::with_store(store, &options(clock())).ok());
    let Some(db) = pool.map(FoldDb::new) else {
        answers.errors += 1;
        return Ok(answers);
    };
    let program = expected.steps.iter().zip(&expected.ends).zip(&expected.answers);
    for (at, ((step, end), wanted)) in program.enumerate() {
        let before = answers.acknowledged;
        let mut answer = run(&db, step);
        if let Err(failure) = &answer {
            answers.note(failure.error.code(), before + failure.done, *end, step.is_single());
            read(&db, expected, &answers, before..=*end)?;
            // A step of one commit can be tried again.
            if step.is_single() {
                answer = run(&db, step);
            }
        }
        match answer {
            Ok(_) if answers.is_indeterminate => {
                return Err(format!("step {at} was carried out after an unknown commit"));
            }
            Ok(found) if found == *wanted && head(&db) == *end => {
                answers.acknowledged = *end;
                answers.attempted = *end;
            }
            Ok(found) => {
                let head = head(&db);
                return Err(format!("step {at} ended at {head}, not {end}: {found:?}, {wanted:?}"));
            }
            Err(failure) => {
                let done = answers.acknowledged;
                answers.note(failure.error.code(), done, *end, step.is_single());
                break;
            }
        }
    }
    read(&db, expected, &answers, answers.acknowledged..=answers.attempted)?;
    answers.errors += u64::from(db.pool().close().is_err());
    Ok(answers)
}

impl Answers {
    fn note(&mut self, code: &str, done: u64, end: u64, is_single: bool) {
        self.errors += 1;
        self.is_indeterminate |= code == "commit_indeterminate";
        self.acknowledged = done;
        // Of several commits any may be known; of one it is said whether it is.
        let is_open = !is_single || self.is_indeterminate;
        self.attempted = if is_open { end } else { self.attempted.max(done) };
    }
}

/// A read of what is visible fails, or answers it.
fn read(
    db: &FoldDb,
    expected: &Expected,
    answers: &Answers,
    range: std::ops::RangeInclusive<u64>,
) -> Result<(), String> {
    let head = head(db);
    if !range.contains(&head) || head < answers.acknowledged {
        return Err(format!("commit {head} is visible, not {range:?}"));
    }
    // An error is one of the store.
    expected.compare(db, head).map(drop)
}

/// What the next process may find.
fn restarts(disk: &SimDisk, seed: u64) -> [(&'static str, SimDisk); 4] {
    [
        ("a killed process", disk.process_kill(seed)),
        ("a cut that lost everything", disk.power_cut(CutKind::LoseAll, seed)),
        ("a torn cut", disk.power_cut(CutKind::Torn, seed)),
        // The same disk, with its cache: only the space was opened again.
        ("nothing but time", disk.clone()),
    ]
}

fn sweep_point(
    images: &DiskImages,
    fault: DiskFault,
    point: usize,
    seed: u64,
    expected: &Expected,
    wrap: Wrap,
) -> Result<Answers, String> {
    let disk = SimDisk::from_images(images.clone(), seed);
    disk.inject(fault);
    let answers = run_all(&disk, expected, wrap)?;
    disk.clear_faults();
    let chosen = point % 4;
    for (at, (name, disk)) in restarts(&disk, seed).into_iter().enumerate() {
        // The small size goes through the restarts in turn.
        if !is_full_size() && at != chosen {
            continue;
        }
        let check = || {
            let db = open(&disk, false)?;
            let commit = head(&db);
            if !(answers.acknowledged..=answers.attempted).contains(&commit) {
                let (from, to) = (answers.acknowledged, answers.attempted);
                return Err(format!("commit {commit} is there, not {from} to {to}"));
            }
            expected.compare(&db, commit)?.map_err(|error| describe(&error))?;
            check_sound(&db)?;
            drop(db);
            if at == chosen { go_on(&disk) } else { Ok(()) }
        };
        check().map_err(|message: String| format!("after {name}: {message}"))?;
    }
    Ok(answers)
}

fn faults(calls: u64) -> impl Iterator<Item = DiskFault> {
    (1..=calls).flat_map(|nth| {
        DiskError::ALL.into_iter().flat_map(move |error| {
            let once = DiskFault::nth(nth, error);
            [once, once.for_ever()]
        })
    })
}

#[derive(Default)]
struct Counts {
    points: u64,
    indeterminate: u64,
    /// Points at which the failure was of no account.
    silent: u64,
    failures: Vec<String>,
}

/// Fails every call of the program of a seed, in each way.
fn sweep(seed: u64, count: usize, wrap: Wrap) -> Counts {
    let begin = Instant::now();
    let expected = Expected::new(steps(seed, count));
    let disk = SimDisk::new(seed);
    fold_db(Arc::new(open_sim(&disk, true).unwrap()), clock()).pool().close().unwrap();
    let images = disk.images();
    let disk = SimDisk::from_images(images.clone(), seed);
    let whole = run_all(&disk, &expected, |store| store).unwrap();
    assert_eq!((whole.errors, Some(&whole.acknowledged)), (0, expected.ends.last()));
    let calls = disk.call_count();
    let mut counts = Counts::default();
    for (point, fault) in faults(calls).enumerate() {
        counts.points += 1;
        // The faults of a call are 6, the restarts 4.
        let turn = point + point / 12;
        let answers = catch_unwind(AssertUnwindSafe(|| {
            sweep_point(&images, fault, turn, seed, &expected, wrap)
        }));
        match answers.unwrap_or_else(|_| Err("it panicked".into())) {
            Ok(answers) => {
                counts.indeterminate += u64::from(answers.is_indeterminate);
                counts.silent += u64::from(answers.errors == 0);
            }
            Err(message) => counts.failures.push(format!("{fault:?}: {message}")),
        }
    }
    eprintln!(
        "disk failures: {} commits, {calls} calls, {} points, {} of them indeterminate, {} without \
         an error, {} failures, seed {seed:#x}, {:.1} s",
        whole.acknowledged,
        counts.points,
        counts.indeterminate,
        counts.silent,
        counts.failures.len(),
        begin.elapsed().as_secs_f64()
    );
    counts
}

#[test]
fn every_operation_fails_and_the_space_says_so() {
    let seed = seed_from_env(0xD15C);
    let counts = sweep(seed, if is_full_size() { 90 } else { 9 }, |store| store);
    let shown = counts.failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(counts.failures.is_empty(), "{shown}\n{}", replay(seed));
    assert!(counts.indeterminate > 0 && counts.silent < counts.points / 4);
}

/// A store that says of every batch that it was accepted.
#[derive(Debug)]
struct Hopeful(Arc<dyn Store>);

impl Store for Hopeful {
    fn info(&self) -> &StoreInfo {
        self.0.info()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.0.snapshot()
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let _ = self.0.apply(batch);
        Outcome::Accepted
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.0.close()
    }
}

/// The canary: a commit that failed in silence must be found out.
#[test]
fn a_failure_that_is_kept_secret_is_found_out() {
    let counts = sweep(seed_from_env(0x0BAD), 1, |store| Arc::new(Hopeful(store)));
    assert!(counts.failures.len() as u64 > counts.points / 4, "{}", counts.failures.len());
}
