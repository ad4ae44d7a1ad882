//! The power fails at every operation of the whole product; what was acknowledged is there, whole.
//!
//! Full size: `DATAFOLD_FULL=1 cargo test -p datafold --test it power_cuts -- --nocapture`; with
//! the one of the crate `datafold-store` more than 200,000 cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use datafold::data_layer::DatabasePool;
use datafold::engine::{FoldDbError, MutationKind};
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_store::Store;
use datafold_testkit::{
    PowerCutReport, PowerCuts, Random, SimDisk, Trace, is_full_size, seed_from_env,
};

use crate::harness::{approve, clock, describe, fold_db, lines, name, open_sim, options};
use crate::stage::{ITEM, set, write};
use crate::steps::{Expected, check_sound, head, run, steps};

impl Expected {
    /// Runs the program on a disk, with a clean close in the middle and at the end.
    ///
    /// Answer 1 is the creation, answer `n + 1` is commit `n`.
    fn record(&self, disk: &SimDisk, lie: bool) -> Trace {
        disk.start_trace();
        disk.attempt(1);
        let mut db = fold_db(Arc::new(open_sim(disk, true).unwrap()), clock());
        disk.acknowledge(1);
        if lie {
            disk.drop_last_write_before_sync();
        }
        let program = self.steps.iter().zip(&self.ends).zip(&self.answers);
        for (at, ((step, end), answers)) in program.enumerate() {
            if at == self.steps.len() / 2 {
                db.pool().close().unwrap();
                drop(db);
                db = fold_db(Arc::new(open_sim(disk, false).unwrap()), clock());
            }
            disk.attempt(end + 1);
            assert_eq!(run(&db, step).unwrap(), *answers, "another program than in memory");
            assert_eq!(head(&db), *end, "another program than in memory");
            disk.acknowledge(end + 1);
        }
        db.pool().close().unwrap();
        disk.take_trace()
    }

    fn check(&self, disk: &SimDisk, acknowledged: u64, attempted: u64) -> Result<(), String> {
        // Only a creation that nobody was told of may be repeated.
        let db = open(disk, acknowledged == 0)?;
        disk.acknowledge(1);
        let commit = head(&db);
        if !(acknowledged..=attempted).contains(&(commit + 1)) && acknowledged > 0 {
            return Err(format!("commit {commit} is neither acknowledged nor attempted"));
        }
        self.compare(&db, commit)?.map_err(|error| describe(&error))?;
        check_sound(&db)?;
        go_on(disk)
    }
}

pub(crate) fn open(disk: &SimDisk, create: bool) -> Result<FoldDb, String> {
    let store = open_sim(disk, create).map_err(|error| describe(&error))?;
    let pool = DatabasePool::with_store(Arc::new(store), &options(clock()));
    Ok(FoldDb::new(pool.map_err(|error| describe(&error))?))
}

/// A copy of the disk takes another commit, and keeps it.
pub(crate) fn go_on(disk: &SimDisk) -> Result<(), String> {
    let copy = disk.process_kill(1);
    let db = open(&copy, true)?;
    let commits = head(&db);
    db.schemas()
        .load_text(r#"{"name": "Later", "fields": {"a": {}}}"#, None)
        .map_err(|e| describe(&e))?;
    db.pool().close().map_err(|error| describe(&error))?;
    drop(db);
    let db = open(&copy, false)?;
    if head(&db) != commits + 1 {
        return Err(format!("commit {} was lost", commits + 1));
    }
    check_sound(&db)
}

fn cut(
    trace: &Trace,
    cuts: &PowerCuts,
    what: &str,
    check: impl Fn(SimDisk, u64, u64) -> Result<(), String>,
) -> PowerCutReport {
    let begin = Instant::now();
    let report = cuts.run(trace, check);
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("{what}: {report} ({} operations, {seconds:.1} s)", trace.len());
    report
}

/// Cuts the power of a program of each of some seeds; answers all cuts, and those of them that
/// were nested.
fn cut_all(default: u64, seeds: u64, count: usize, nested: usize) -> [usize; 2] {
    let first = seed_from_env(default);
    let begin = Instant::now();
    let mut counts = [0, 0];
    for seed in first..first + seeds {
        let expected = Expected::new(steps(seed, count));
        let trace = expected.record(&SimDisk::new(seed), false);
        let cuts = PowerCuts::new(seed).nested(nested);
        let report = cut(&trace, &cuts, "power cuts", |disk, acknowledged, attempted| {
            expected.check(&disk, acknowledged, attempted)
        });
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
fn no_cut_loses_tears_or_invents_a_commit() {
    let [points, _] = cut_all(0x0CC7, if is_full_size() { 20 } else { 1 }, 80, 0);
    assert!(points >= 1_500, "{points} cuts");
}

#[test]
fn a_second_cut_during_the_opening_loses_nothing_either() {
    let [_, nested] = cut_all(0x2CC7, if is_full_size() { 20 } else { 1 }, 15, 1);
    assert!(nested >= 300, "{nested} nested cuts");
}

/// The canary: a harness that finds nothing here would find nothing anywhere.
#[test]
fn a_lying_disk_is_found_out() {
    let seed = seed_from_env(0xBADC);
    let expected = Expected::new(steps(seed, 3));
    let trace = expected.record(&SimDisk::new(seed), true);
    let report = cut(&trace, &PowerCuts::new(seed), "canary", |disk, acknowledged, attempted| {
        expected.check(&disk, acknowledged, attempted)
    });
    assert!(report.failure_count > report.points / 4, "{report}");
}

/// Several writers whose commits share batches: each moves a part of a sum.
#[test]
fn no_cut_tears_what_several_writers_commit_together() {
    const ACCOUNTS: i64 = 6;
    let seed = seed_from_env(0x3CC7);
    let transfers = if is_full_size() { 60 } else { 12 };
    let disk = SimDisk::new(seed);
    let db = fold_db(Arc::new(open_sim(&disk, true).unwrap()), clock());
    approve(&db, ITEM);
    for account in 0..ACCOUNTS {
        set(&db, account, 100).unwrap();
    }
    disk.start_trace();
    let asked = AtomicU64::new(head(&db));
    disk.acknowledge(head(&db));
    thread::scope(|scope| {
        for writer in 0..4 {
            let (db, disk, asked) = (&db, &disk, &asked);
            scope.spawn(move || {
                let mut random = Random::part(seed, writer);
                for n in 0..transfers {
                    let [from, to] = [0, 1].map(|_| i64::try_from(random.below(6)).unwrap());
                    disk.attempt(asked.fetch_add(1, Ordering::SeqCst) + 1);
                    let moved = db.transact(|transaction| -> Result<(), FoldDbError> {
                        let mut change = |id: i64, by: i64| {
                            let found = transaction.get(&name("Item"), &[Value::Int(id)])?.unwrap();
                            let Some(Value::Int(n)) = found.get("n") else { panic!("{found:?}") };
                            transaction.mutate(write(MutationKind::Update, id, n + by))
                        };
                        change(from, -n)?;
                        change(to, n)
                    });
                    disk.acknowledge(moved.unwrap().1.commit.0);
                }
            });
        }
    });
    db.pool().close().unwrap();
    drop(db);
    let check = |disk: SimDisk, acknowledged: u64, attempted: u64| {
        let db = open(&disk, false)?;
        let commit = head(&db);
        if commit < acknowledged || commit > attempted.max(acknowledged) {
            return Err(format!("commit {commit}, not {acknowledged} to {attempted}"));
        }
        let answer =
            db.query(&QueryRequest::new(name("Item"))).map_err(|error| describe(&error))?;
        let value = |record: &datafold::engine::Record| match record.get("n") {
            Some(Value::Int(n)) => *n,
            _ => 0,
        };
        let sum: i64 = answer.records.iter().map(value).sum();
        if (sum, answer.records.len()) != (600, 6) {
            return Err(format!("a torn transfer: {}", lines(&answer)));
        }
        check_sound(&db)
    };
    let report = cut(&disk.take_trace(), &PowerCuts::new(seed), "writers", check);
    report.assert_clean();
    assert!(report.points >= 200, "{report}");
}

/// A commit that failed with the disk is there whole or not at all after the next opening.
#[test]
fn a_failing_disk_is_indeterminate_and_then_clear() {
    use datafold_testkit::{DiskCall, DiskError, DiskFault};
    let seed = seed_from_env(0x4CC7);
    let mut outcomes = [0, 0, 0];
    for nth in 1..=12 {
        for (call, error) in [
            (DiskCall::Sync, DiskError::Io),
            (DiskCall::Write, DiskError::NoSpace),
            (DiskCall::Write, DiskError::Short),
        ] {
            let disk = SimDisk::new(seed ^ nth);
            let store: Arc<dyn Store> = Arc::new(open_sim(&disk, true).unwrap());
            let db = fold_db(store, clock());
            approve(&db, ITEM);
            disk.inject(DiskFault::nth(nth, error).of(call).for_ever());
            let (mut kept, mut unknown) = (0, None);
            for n in 1..=10 {
                match set(&db, n, n) {
                    Ok(_) if unknown.is_none() => kept = n,
                    Ok(_) => panic!("a commit after an unknown one"),
                    Err(error) if error.code() == "commit_indeterminate" => {
                        assert_eq!(unknown.replace(n), None);
                    }
                    Err(error) => assert_eq!(error.code(), "commit_failed"),
                }
            }
            assert_eq!(
                db.query(&QueryRequest::new(name("Item"))).unwrap().records.len(),
                usize::try_from(kept).unwrap()
            );
            drop(db);
            let db = open(&disk.process_kill(seed), false).unwrap();
            let found = i64::try_from(db.stats().unwrap().total_records).unwrap();
            assert!(found == kept || (unknown.is_some() && found == kept + 1), "{found}, {kept}");
            outcomes[usize::from(unknown.is_some()) + usize::from(found > kept)] += 1;
            check_sound(&db).unwrap();
            set(&db, 11, 11).unwrap();
        }
    }
    assert!(outcomes[1] > 0, "no outcome was ever unknown: {outcomes:?}");
}
