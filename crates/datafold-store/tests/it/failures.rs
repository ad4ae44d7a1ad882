//! Every call to the disk fails once, and then for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};

use datafold_store::{Batch, Keyspace, Outcome, Scan, SpaceId, Store, StoreError, StoreId};
use datafold_testkit::model::{describe, read_all};
use datafold_testkit::{
    CutKind, DiskCall, DiskError, DiskFault, DiskImages, SimDisk, is_full_size, replay,
    seed_from_env,
};

use crate::commit_log::version_1;
use crate::harness::{LOG, open_sim};
use crate::workload::Workload;

const ID: StoreId = StoreId([7; 16]);

/// What a workload was answered.
#[derive(Default)]
struct Answers {
    /// The last batch that was accepted.
    accepted: u64,
    /// A batch behind it whose outcome was left open.
    is_indeterminate: bool,
    /// Calls that answered an error.
    errors: u64,
}

impl Answers {
    /// The commits at which the store may be found.
    fn range(&self) -> std::ops::RangeInclusive<u64> {
        self.accepted..=self.accepted + u64::from(self.is_indeterminate)
    }
}

/// Opens the store, applies the batches, reads and closes, as far as the disk lets it.
fn run(disk: &SimDisk, workload: &Workload) -> Result<Answers, String> {
    let mut answers = Answers::default();
    let Ok(store) = open_sim(disk, ID, false) else {
        answers.errors += 1;
        return Ok(answers);
    };
    // One more round than there are batches, so that one that failed is tried again.
    for _ in 0..=workload.batches().len() {
        let Some(batch) = workload.next(answers.accepted) else { break };
        match store.apply(batch) {
            Outcome::Accepted if answers.is_indeterminate => {
                return Err("a batch was accepted after an indeterminate one".into());
            }
            Outcome::Accepted => answers.accepted = batch.number,
            Outcome::Indeterminate(_) if answers.is_indeterminate => {
                return Err("a poisoned store answered indeterminate again".into());
            }
            Outcome::Indeterminate(_) => {
                answers.is_indeterminate = true;
                answers.errors += 1;
            }
            Outcome::Failed(StoreError::Poisoned) => answers.errors += 1,
            Outcome::Failed(error) if answers.is_indeterminate => {
                return Err(format!("a poisoned store answered {}", describe(&error)));
            }
            Outcome::Failed(_) => answers.errors += 1,
            Outcome::Fenced { head } => return Err(format!("fenced at {head:?}")),
        }
        // A read may fail if it is what the disk fails; what it answers is an accepted state.
        if let Ok(number) = read(&store, workload)?
            && number != answers.accepted
        {
            return Err(format!("a snapshot shows commit {number} of {}", answers.accepted));
        }
    }
    answers.errors += u64::from(store.close().is_err());
    Ok(answers)
}

/// The commit that a snapshot shows; the inner error is that of a read that failed.
fn read(store: &dyn Store, workload: &Workload) -> Result<Result<u64, String>, String> {
    match workload.check(store) {
        Err(message) if message.contains("model has") => Err(message),
        other => Ok(other),
    }
}

/// What a restart may find: the same process image, and the worst and a torn power cut.
fn restarts(disk: &SimDisk, seed: u64) -> [(&'static str, SimDisk); 4] {
    [
        ("a killed process", disk.process_kill(seed)),
        ("a cut that lost everything", disk.power_cut(CutKind::LoseAll, seed)),
        ("a torn cut", disk.power_cut(CutKind::Torn, seed)),
        ("a cut that kept everything", disk.power_cut(CutKind::KeepAll, seed)),
    ]
}

fn sweep_point(
    images: &DiskImages,
    fault: DiskFault,
    seed: u64,
    workload: &Workload,
) -> Result<Answers, String> {
    let disk = SimDisk::from_images(images.clone(), seed);
    disk.inject(fault);
    let answers = run(&disk, workload)?;
    for (name, disk) in restarts(&disk, seed) {
        let open = || {
            let store = open_sim(&disk, ID, false).map_err(|error| describe(&error))?;
            let number = workload.check_within(&store, answers.range())?;
            match workload.next(number).map(|batch| store.apply(batch)) {
                None | Some(Outcome::Accepted) => Ok(()),
                Some(other) => Err(format!("the next batch was answered {other:?}")),
            }
        };
        open().map_err(|message| format!("after {name}: {message}"))?;
    }
    Ok(answers)
}

fn created(seed: u64) -> DiskImages {
    let disk = SimDisk::new(seed);
    let store = open_sim(&disk, ID, true).unwrap();
    store.close().unwrap();
    disk.images()
}

fn faults(calls: u64) -> impl Iterator<Item = DiskFault> {
    (1..=calls).flat_map(|nth| {
        DiskError::ALL.into_iter().flat_map(move |error| {
            let once = DiskFault::nth(nth, error);
            [once, once.for_ever()]
        })
    })
}

/// Runs `point` and turns a panic of the engine into a failure of this fault.
fn no_panic<T>(point: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(point)).unwrap_or_else(|_| Err("the engine panicked".into()))
}

#[test]
fn every_call_fails_once_and_for_ever() {
    let seed = seed_from_env(0xFA11);
    let workload = Workload::new(seed, 6);
    let images = created(seed);
    let disk = SimDisk::from_images(images.clone(), seed);
    assert_eq!(run(&disk, &workload).unwrap().accepted, 6);
    let calls = disk.call_count();
    let (mut points, mut open_outcomes, mut silent) = (0, 0, 0);
    let mut failures = Vec::new();
    for fault in faults(calls) {
        points += 1;
        match no_panic(|| sweep_point(&images, fault, seed, &workload)) {
            Ok(answers) => {
                open_outcomes += u64::from(answers.is_indeterminate);
                silent += u64::from(answers.errors == 0);
            }
            Err(message) => failures.push(format!("{fault:?}: {message}")),
        }
    }
    eprintln!(
        "failure sweep: {calls} calls, {points} points, {open_outcomes} indeterminate, {silent} \
         without an error, {} failures",
        failures.len()
    );
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), replay(seed));
    assert!(open_outcomes > points / 10 && silent < points / 10);
}

#[test]
fn a_creation_that_failed_is_finished_by_the_next_one() {
    let seed = seed_from_env(0xC4EA);
    let disk = SimDisk::new(seed);
    drop(open_sim(&disk, ID, true).unwrap());
    let calls = disk.call_count();
    let mut failures = Vec::new();
    for fault in faults(calls) {
        let point = || {
            let disk = SimDisk::new(seed);
            disk.inject(fault);
            let is_created = open_sim(&disk, ID, true).is_ok();
            for (name, disk) in restarts(&disk, seed) {
                let store = open_sim(&disk, ID, !is_created);
                let store = store.map_err(|error| format!("after {name}: {}", describe(&error)))?;
                Workload::new(seed, 0).check(&store)?;
            }
            Ok(())
        };
        if let Err(message) = no_panic(point) {
            failures.push(format!("{fault:?}: {message}"));
        }
    }
    eprintln!("failed creations: {calls} calls, {} points", calls * 6);
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), replay(seed));
}

/// An opening that fails while it applies the log leaves everything for the next one, whether
/// that finds the cache of the first or what the power has left.
#[test]
fn an_opening_that_failed_leaves_the_log_for_the_next_one() {
    let seed = seed_from_env(0x0FA1);
    let workload = Workload::new(seed, 31);
    let disk = SimDisk::from_images(created(seed), seed);
    let store = open_sim(&disk, ID, false).unwrap();
    for batch in &workload.batches()[..30] {
        assert!(matches!(store.apply(batch), Outcome::Accepted));
    }
    let killed = disk.process_kill(seed);
    drop(store);
    fail_openings("with a used log", &killed, &workload, seed);
}

#[test]
fn a_store_of_version_1_is_brought_up_by_the_opening_after_one_that_failed() {
    let seed = seed_from_env(0x1FA1);
    let workload = Workload::new(seed, 12);
    let mut held = Workload::new(seed, 12);
    held.forget_last_batch();
    fail_openings("of version 1", &version_1(&held), &workload, seed);
}

/// Fails every call of an opening of a disk that holds all batches but the last one.
fn fail_openings(name: &str, disk: &SimDisk, workload: &Workload, seed: u64) {
    let last = &workload.batches()[workload.batches().len() - 1];
    let images = disk.images();
    let disk = SimDisk::from_images(images.clone(), seed);
    drop(open_sim(&disk, ID, false).unwrap());
    let calls = disk.call_count();
    let (mut points, mut failed, mut failures) = (0, 0, Vec::new());
    // Most calls write one more page. The step shares no factor with the faults of a call, so
    // that it meets each of them.
    let step = if is_full_size() { 1 } else { 13 };
    for fault in faults(calls).step_by(step) {
        points += 1;
        let disk = SimDisk::from_images(images.clone(), seed);
        disk.inject(fault);
        failed += u64::from(open_sim(&disk, ID, false).is_err());
        disk.clear_faults();
        if let Err(message) = no_panic(|| open_again(&disk, workload, last, seed)) {
            failures.push(format!("{fault:?}: {message}"));
        }
    }
    eprintln!("failed openings {name}: {calls} calls, {failed} of {points} points failed");
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), replay(seed));
    assert!(failed > points / 2, "{failed} of {points} openings failed");
}

/// Opens what an opening that failed has left, and applies one more batch.
fn open_again(disk: &SimDisk, workload: &Workload, last: &Batch, seed: u64) -> Result<(), String> {
    let open = |disk: &SimDisk, number| {
        let store = open_sim(disk, ID, false).map_err(|error| describe(&error))?;
        workload.check_within(&store, number..=number)?;
        Ok(store)
    };
    let restarts = restarts(disk, seed);
    for (name, disk) in restarts.into_iter().chain([("a second try", disk.clone())]) {
        let store = open(&disk, last.follows);
        match store.map_err(|message: String| format!("after {name}: {message}"))?.apply(last) {
            Outcome::Accepted => {}
            other => return Err(format!("after {name}: {other:?}")),
        }
    }
    // The second try was made on the cache of the first.
    open(&disk.power_cut(CutKind::LoseAll, seed), last.number).map(drop)
}

/// Applies batches behind commit `from` until one is not accepted; answers the last one that was,
/// and the outcome.
fn apply_until_it_fails(store: &dyn Store, workload: &Workload, from: u64) -> (u64, Outcome) {
    let mut last = from;
    loop {
        let batch = workload.next(last).unwrap();
        match store.apply(batch) {
            Outcome::Accepted => last = batch.number,
            outcome => return (last, outcome),
        }
    }
}

/// The cache is far smaller than the rows, so the reads go to the disk.
#[test]
fn after_a_failure_the_store_only_reads() {
    let seed = seed_from_env(0x5C);
    let workload = Workload::new(seed, 80);
    let images = created(seed);
    for (file, call) in
        [(0, DiskCall::Sync), (0, DiskCall::Write), (LOG, DiskCall::Sync), (LOG, DiskCall::Write)]
    {
        for error in DiskError::ALL {
            let disk = SimDisk::from_images(images.clone(), seed);
            let store = open_sim(&disk, ID, false).unwrap();
            for number in 0..50 {
                assert!(matches!(store.apply(workload.next(number).unwrap()), Outcome::Accepted));
            }
            disk.inject(DiskFault::nth(1, error).of(call).on(file));
            let (last, outcome) = apply_until_it_fails(&store, &workload, 50);
            let batch = workload.next(last).unwrap();
            let view = store.snapshot().unwrap();
            let is_known = matches!(outcome, Outcome::Failed(StoreError::Io { .. }));
            let is_open = matches!(outcome, Outcome::Indeterminate(StoreError::Io { .. }));
            assert!(is_open || is_known, "{outcome:?}");
            let writes = disk.images();
            for _ in 0..3 {
                let outcome = store.apply(batch);
                assert!(matches!(outcome, Outcome::Failed(StoreError::Poisoned)), "{outcome:?}");
                assert_eq!(workload.check(&store), Ok(last));
            }
            assert!(disk.images() == writes, "the disk was written to after it had failed");
            drop(store);
            assert_eq!(view.head(SpaceId::DEFAULT).unwrap().map(|head| head.number), Some(last));
            assert!(read_all(&*view, Scan::all(Keyspace::Records)).is_ok());
            drop(view);
            for (name, disk) in restarts(&disk, seed) {
                let store = open_sim(&disk, ID, false).unwrap();
                let number = workload.check_within(&store, last..=last + u64::from(is_open));
                let number = number.unwrap_or_else(|error| panic!("after {name}: {error}"));
                let outcome = store.apply(workload.next(number).unwrap());
                assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
            }
        }
    }
}

/// A page that could not be written back may stay in the cache as clean, so that the store that
/// is opened next reads what no sync will ever make durable.
#[test]
fn a_store_that_is_opened_after_a_failed_sync_builds_on_durable_pages() {
    let seed = seed_from_env(0x5D);
    let workload = Workload::new(seed, 60);
    let images = created(seed);
    let mut differed = [0, 0];
    for point in 0..200 {
        let file = usize::from(point % 2 == 1);
        let disk = SimDisk::from_images(images.clone(), seed + point);
        let store = open_sim(&disk, ID, false).unwrap();
        let accepted = 5 + point % 30;
        for number in 0..accepted {
            assert!(matches!(store.apply(workload.next(number).unwrap()), Outcome::Accepted));
        }
        disk.inject(DiskFault::nth(1, DiskError::Io).of(DiskCall::Sync).on(file));
        let (failing, outcome) = apply_until_it_fails(&store, &workload, accepted);
        // A batch that makes the file grow syncs before its commit; it is known to have failed.
        let io = matches!(
            outcome,
            Outcome::Indeterminate(StoreError::Io { .. }) | Outcome::Failed(StoreError::Io { .. })
        );
        assert!(io, "{outcome:?}");
        let failed = disk.file(file);
        differed[file] += u32::from(failed.image() != failed.durable_image());
        drop(store);
        // The same disk: the process ended, the machine and its cache did not.
        let store = open_sim(&disk, ID, false).unwrap();
        let found = workload.check_within(&store, failing..=failing + 1).unwrap();
        assert!(matches!(store.apply(workload.next(found).unwrap()), Outcome::Accepted));
        drop(store);
        for kind in CutKind::ALL {
            let disk = disk.power_cut(kind, seed + point);
            let store = open_sim(&disk, ID, false);
            let checked = store
                .map_err(|error| describe(&error))
                .and_then(|store| workload.check_within(&store, found + 1..=found + 1));
            if let Err(error) = checked {
                panic!("point {point}, {kind}: {error}\n{}", replay(seed));
            }
        }
    }
    assert!(
        differed.iter().all(|count| *count > 60),
        "{differed:?}: the failed syncs left nothing undone, so nothing was tested"
    );
}
