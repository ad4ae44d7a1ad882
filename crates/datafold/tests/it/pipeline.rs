//! The commit pipeline: one order, group commit, failures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datafold::data_layer::{CommitError, DataLayerError, DatabasePool, ReadRepository, Receipt};
use datafold::engine::{FoldDbError, MutationKind};
use datafold::model::{Timestamp, Value};
use datafold::{FoldDb, QueryRequest};
use datafold_store::{Batch, MemoryStore, Outcome, Snapshot, Store, StoreError, StoreInfo};
use datafold_testkit::{ApplyFault, FaultStore, ReadCall};

use crate::harness::{all, check_sound, clock, fold_db, name, noon, options};
use crate::stage::{Stage, buffer, code, create, get, linger, set, write};

#[test]
fn what_queues_up_becomes_one_batch_in_order() {
    let stage = Stage::new();
    let (base, store) = (stage.head(), &stage.store);
    store.gate().shut();
    thread::scope(|scope| {
        let first = stage.queue(scope, |db| set(db, 0, 0).unwrap());
        store.gate().wait_for(1);
        let mut waiting = Vec::new();
        for n in 1..=6_i64 {
            if n % 2 == 0 {
                assert_eq!(buffer(&stage.db, 7, n).unwrap().commit.0, base + 1 + n.unsigned_abs());
            } else {
                waiting.push(stage.queue(scope, move |db| set(db, 7, n).unwrap()));
            }
        }
        // What is executed now sees what is pending, and no reader does.
        assert_eq!(all(&stage.db, "Item"), "");
        assert_eq!(stage.db.stats().unwrap().total_records, 0);
        store.gate().open();
        assert_eq!(first.join().unwrap().commit.0, base + 1);
        let commits: Vec<_> = waiting.into_iter().map(|w| w.join().unwrap().commit.0).collect();
        assert_eq!(commits, [base + 2, base + 4, base + 6]);
    });
    stage.db.pool().flush().unwrap();
    assert_eq!(stage.batches(), [(base, base + 1), (base + 1, base + 7)]);
    assert_eq!(get(&stage.db, 7), Some(6));
    let history = stage.db.history(&name("Item"), &[Value::Int(7)], None, None, 100).unwrap();
    let written: Vec<_> = history.iter().map(|atom| (atom.commit.0, atom.value.clone())).collect();
    let expected = (1..=6).rev().map(|n: i64| (base + 1 + n.unsigned_abs(), Value::Int(n)));
    assert_eq!(written, expected.collect::<Vec<_>>());
    check_sound(&stage.db);
}

#[test]
fn nothing_is_acknowledged_or_seen_before_the_store_has_accepted_it() {
    let stage = Stage::new();
    let (base, answered) = (stage.head(), AtomicBool::new(false));
    stage.store.gate().shut();
    thread::scope(|scope| {
        let writer = stage.queue(scope, |db| {
            let receipt = set(db, 1, 1).unwrap();
            answered.store(true, Ordering::SeqCst);
            // Acknowledged means visible.
            assert_eq!(get(db, 1), Some(1));
            receipt
        });
        stage.store.gate().wait_for(1);
        assert!(!answered.load(Ordering::SeqCst));
        assert_eq!((get(&stage.db, 1), stage.head()), (None, base));
        let mut query = QueryRequest::new(name("Item"));
        query.as_of = Some((base + 1).to_string());
        assert_eq!(code(stage.db.query(&query)), "future_moment");
        let history = stage.db.history(&name("Item"), &[Value::Int(1)], None, None, 9).unwrap();
        assert_eq!(history, []);
        assert_eq!(stage.db.pool().begin().base().0, base);
        check_sound(&stage.db);
        stage.store.gate().open();
        assert_eq!(writer.join().unwrap().commit.0, base + 1);
    });
}

#[test]
fn a_failed_batch_takes_everything_on_top_of_it_along() {
    let stage = Stage::new();
    set(&stage.db, 1, 1).unwrap();
    let base = stage.head();
    let before = stage.db.stats().unwrap();
    stage.store.gate().shut();
    stage.store.fail_apply(1, ApplyFault::Failed);
    let other = r#"{"name": "Other", "fields": {"a": {}}}"#;
    thread::scope(|scope| {
        let mut answers = vec![stage.queue(scope, |db| code(set(db, 1, 2)))];
        stage.store.gate().wait_for(1);
        answers.push(stage.queue(scope, |db| code(create(db, 2))));
        answers.push(
            stage.queue(scope, |db| code(db.mutate(&write(MutationKind::Update, 2, 5).into()))),
        );
        answers.push(stage.queue(scope, |db| code(db.schemas().load_text(other, None))));
        answers.push(stage.queue(scope, |db| code(db.schemas().block_schema(&name("Item"), None))));
        stage.store.gate().open();
        let codes: Vec<_> = answers.into_iter().map(|answer| answer.join().unwrap()).collect();
        assert_eq!(codes[0], "commit_failed");
        assert!(codes[1..].iter().all(|code| *code == "commit_cascaded"), "{codes:?}");
    });
    let after = stage.db.stats().unwrap();
    let rest =
        |stats: datafold::data_layer::DatabaseStats| (stats.commit, stats.time, stats.schemas);
    assert_eq!(rest(after), rest(before));
    assert_eq!(all(&stage.db, "Item"), "[1,1,null]\n");
    // The same things can be done now, with the numbers that were lost.
    assert_eq!(create(&stage.db, 2).unwrap().commit.0, base + 1);
    stage.db.schemas().load_text(other, None).unwrap();
    assert_eq!(stage.head(), base + 2);
    check_sound(&stage.db);
    let db = stage.reopen();
    assert_eq!(all(&db, "Item"), "[1,1,null]\n[2,0,null]\n");
    check_sound(&db);
}

fn indeterminate(fault: ApplyFault, expected: &str) {
    let stage = Stage::new();
    set(&stage.db, 1, 1).unwrap();
    let base = stage.head();
    stage.store.gate().shut();
    stage.store.fail_apply(2, fault);
    thread::scope(|scope| {
        let first = stage.queue(scope, |db| set(db, 1, 2));
        stage.store.gate().wait_for(1);
        let group =
            [stage.queue(scope, |db| set(db, 2, 2)), stage.queue(scope, |db| set(db, 1, 3))];
        stage.store.gate().let_one_pass();
        first.join().unwrap().unwrap();
        stage.store.gate().wait_for(1);
        let later = stage.queue(scope, |db| set(db, 9, 9));
        stage.store.gate().open();
        for (member, commit) in group.into_iter().zip(base + 2..) {
            match member.join().unwrap() {
                Err(FoldDbError::DataLayer(DataLayerError::Commit(
                    CommitError::Indeterminate { number, .. },
                ))) => assert_eq!(number.0, commit),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(code(later.join().unwrap()), "commit_cascaded");
    });
    // Reading goes on, at the last commit that is known.
    assert_eq!((get(&stage.db, 1), stage.head()), (Some(2), base + 1));
    assert_eq!(code(set(&stage.db, 3, 3)), "commit_failed");
    assert_eq!(code(buffer(&stage.db, 3, 3)), "commit_failed");
    assert_eq!(code(create(&stage.db, 1)), "commit_failed");
    assert_eq!(
        code(stage.db.transact(|t| t.mutate(write(MutationKind::Upsert, 3, 3)))),
        "commit_failed"
    );
    stage.db.pool().flush().unwrap();
    let db = stage.reopen();
    assert_eq!(all(&db, "Item"), expected);
    check_sound(&db);
    set(&db, 3, 3).unwrap();
}

#[test]
fn an_indeterminate_batch_that_reached_the_disk_is_there_whole_after_reopening() {
    indeterminate(ApplyFault::IndeterminateApplied, "[1,3,null]\n[2,2,null]\n");
}

#[test]
fn an_indeterminate_batch_that_did_not_is_absent_after_reopening() {
    indeterminate(ApplyFault::IndeterminateNotApplied, "[1,2,null]\n");
}

/// A time behind the last commit that is known has no answer that would stay the same.
#[test]
fn no_time_is_read_that_an_unknown_commit_may_belong_to() {
    let stage = Stage::new();
    set(&stage.db, 1, 1).unwrap();
    let known = stage.db.pool().operations().head().1;
    stage.clock.set(Timestamp::from_micros(known.as_micros() + 1_000));
    stage.store.fail_apply(1, ApplyFault::IndeterminateApplied);
    assert_eq!(code(set(&stage.db, 1, 2)), "commit_indeterminate");
    let mut query = QueryRequest::new(name("Item"));
    query.as_of = Some(known.to_string());
    assert_eq!(stage.db.query(&query).unwrap().records.len(), 1);
    query.as_of = Some(Timestamp::from_micros(known.as_micros() + 1_000).to_string());
    assert_eq!(code(stage.db.query(&query)), "commit_indeterminate");
    assert_eq!(stage.reopen().query(&query).unwrap().records[0].get("n"), Some(&2.into()));
}

#[test]
fn a_store_that_accepts_and_then_cannot_be_read_is_indeterminate() {
    let stage = Stage::new();
    stage.store.fail_read(1, ReadCall::Snapshot);
    assert_eq!(code(set(&stage.db, 1, 1)), "commit_indeterminate");
    assert_eq!(get(&stage.db, 1), None);
    assert_eq!(code(set(&stage.db, 2, 2)), "commit_failed");
    assert_eq!(all(&stage.reopen(), "Item"), "[1,1,null]\n");
}

#[test]
fn a_fenced_space_commits_nothing_until_it_is_opened_again() {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let one = fold_db(Arc::clone(&memory) as _, clock());
    crate::harness::approve(&one, crate::stage::ITEM);
    let two = fold_db(Arc::new(memory.reopen()), clock());
    set(&one, 1, 1).unwrap();
    assert_eq!(code(create(&two, 2)), "commit_fenced");
    assert_eq!(code(buffer(&two, 2, 2)), "commit_fenced");
    assert_eq!(code(two.schemas().block_schema(&name("Item"), None)), "commit_fenced");
    assert_eq!(all(&two, "Item"), "");
    set(&one, 1, 3).unwrap();
    let again = fold_db(Arc::new(memory.reopen()), clock());
    assert_eq!(all(&again, "Item"), "[1,3,null]\n");
    set(&again, 2, 2).unwrap();
    assert_eq!(code(set(&one, 1, 4)), "commit_fenced");
    check_sound(&again);
}

#[test]
fn a_fenced_group_fails_whole() {
    let stage = Stage::new();
    stage.store.gate().shut();
    stage.store.fail_apply(1, ApplyFault::Fenced);
    thread::scope(|scope| {
        let first = stage.queue(scope, |db| code(set(db, 1, 1)));
        stage.store.gate().wait_for(1);
        let second = stage.queue(scope, |db| code(set(db, 2, 2)));
        stage.store.gate().open();
        assert_eq!(
            (first.join().unwrap(), second.join().unwrap()),
            ("commit_fenced", "commit_fenced")
        );
    });
    assert_eq!(all(&stage.db, "Item"), "");
}

#[test]
fn a_buffered_commit_is_visible_when_it_is_durable_and_not_before() {
    let stage = Stage::new();
    stage.store.gate().shut();
    let receipt = buffer(&stage.db, 1, 1).unwrap();
    // The flusher thread has taken it, though nobody waits.
    stage.store.gate().wait_for(1);
    assert_eq!((get(&stage.db, 1), stage.head() + 1), (None, receipt.commit.0));
    thread::scope(|scope| {
        let flush = scope.spawn(|| {
            stage.db.pool().flush().unwrap();
            stage.store.accepted_count()
        });
        let before = stage.store.accepted_count();
        stage.store.gate().open();
        assert_eq!(flush.join().unwrap(), before + 1);
    });
    assert_eq!((get(&stage.db, 1), stage.head()), (Some(1), receipt.commit.0));
}

#[test]
fn flush_tells_once_that_a_buffered_commit_was_lost() {
    let stage = Stage::new();
    stage.store.fail_apply(1, ApplyFault::Failed);
    buffer(&stage.db, 1, 1).unwrap();
    let error = stage.db.pool().flush().unwrap_err();
    assert_eq!(error.code(), "commit_failed");
    stage.db.pool().flush().unwrap();
    assert_eq!(get(&stage.db, 1), None);
}

#[test]
fn flush_tells_of_a_loss_that_nobody_waited_for() {
    let stage = Stage::new();
    stage.store.fail_apply(1, ApplyFault::Failed);
    buffer(&stage.db, 1, 1).unwrap();
    // Taken once the failure is dealt with; before it may be executed on what was lost.
    while let Err(error) = set(&stage.db, 2, 2) {
        assert!(["commit_failed", "commit_cascaded"].contains(&error.code()), "{error}");
    }
    assert_eq!(all(&stage.db, "Item"), "[2,2,null]\n");
    assert!(stage.db.pool().flush().is_err());
    stage.db.pool().flush().unwrap();
}

/// A refusal that depends on a pending commit waits for it.
fn refuse_on_pending(fault: Option<ApplyFault>) -> (Result<Receipt, FoldDbError>, Stage) {
    let stage = Stage::new();
    stage.store.gate().shut();
    if let Some(fault) = fault {
        stage.store.fail_apply(1, fault);
    }
    let answer = thread::scope(|scope| {
        let pending = stage.queue(scope, |db| create(db, 1));
        stage.store.gate().wait_for(1);
        let locks = stage.db.stats().unwrap().locks.taken;
        let accepted = stage.store.accepted_count();
        let refused = scope.spawn(|| {
            let answer = create(&stage.db, 1);
            (answer, stage.store.accepted_count())
        });
        // The room in the queue, the writer lock, the queue.
        linger(|| stage.db.stats().unwrap().locks.taken >= locks + 3);
        stage.store.gate().open();
        let _ = pending.join().unwrap();
        let (answer, seen) = refused.join().unwrap();
        if fault.is_none() {
            assert_eq!(seen, accepted + 1, "answered before the commit was durable");
        }
        answer
    });
    (answer, stage)
}

#[test]
fn a_refusal_waits_for_the_pending_commit_that_it_depends_on() {
    let (answer, _stage) = refuse_on_pending(None);
    assert_eq!(code(answer), "record_exists");
}

#[test]
fn a_request_runs_again_if_what_refused_it_was_not_committed() {
    let (answer, stage) = refuse_on_pending(Some(ApplyFault::Failed));
    answer.unwrap();
    assert_eq!(all(&stage.db, "Item"), "[1,0,null]\n");
    check_sound(&stage.db);
}

#[test]
fn a_refusal_is_not_answered_if_what_it_depends_on_is_unknown() {
    let (answer, _stage) = refuse_on_pending(Some(ApplyFault::IndeterminateApplied));
    let code = code(answer);
    // The second, if it came too late to depend on the first.
    assert!(["commit_indeterminate", "commit_failed"].contains(&code), "{code}");
}

#[test]
fn a_request_that_changes_nothing_waits_as_well() {
    let stage = Stage::new();
    stage.store.gate().shut();
    let base = stage.head();
    thread::scope(|scope| {
        let pending = stage.queue(scope, |db| set(db, 1, 1).unwrap());
        stage.store.gate().wait_for(1);
        let nothing =
            scope.spawn(|| stage.db.schemas().approve_schema(&name("Item")).unwrap().commit.0);
        stage.store.gate().open();
        assert_eq!(pending.join().unwrap().commit.0, base + 1);
        assert!((base..=base + 1).contains(&nothing.join().unwrap()));
    });
}

#[test]
fn closing_waits_for_what_is_in_flight_and_refuses_what_comes_later() {
    let stage = Stage::new();
    stage.store.gate().shut();
    for n in 1..=3 {
        buffer(&stage.db, n, n).unwrap();
    }
    stage.store.gate().wait_for(1);
    thread::scope(|scope| {
        let durable = stage.queue(scope, |db| set(db, 4, 4));
        let close = scope.spawn(|| stage.db.pool().close());
        linger(|| buffer(&stage.db, 5, 5).is_err());
        stage.store.gate().open();
        close.join().unwrap().unwrap();
        durable.join().unwrap().unwrap();
    });
    let closed = |code: &str| assert!(["closed", "store_closed"].contains(&code), "{code}");
    closed(code(set(&stage.db, 9, 9)));
    closed(code(create(&stage.db, 1)));
    closed(code(stage.db.schemas().block_schema(&name("Item"), None)));
    assert_eq!(stage.db.pool().begin().commit().unwrap_err().code(), "closed");
    assert_eq!(code(stage.db.query(&QueryRequest::new(name("Item")))), "store_closed");
    stage.db.pool().close().unwrap();
    let db = stage.reopen();
    for n in 1..=4 {
        assert_eq!(get(&db, n), Some(n));
    }
    check_sound(&db);
}

#[test]
fn dropping_the_last_handle_keeps_buffered_commits() {
    let stage = Stage::new();
    let memory = Arc::clone(&stage.memory);
    for n in 1..=20 {
        buffer(&stage.db, n, n).unwrap();
    }
    drop(stage);
    let db = fold_db(Arc::new(memory.reopen()), clock());
    assert_eq!(db.stats().unwrap().total_records, 20);
}

#[test]
fn a_panic_in_a_closure_hurts_nobody_else() {
    let stage = Stage::new();
    set(&stage.db, 1, 1).unwrap();
    let panics = |transaction: &mut datafold::engine::FoldTransaction<'_>| {
        transaction.mutate(write(MutationKind::Upsert, 1, 2))?;
        assert!(std::env::args().count() == usize::MAX, "planted");
        Ok::<_, FoldDbError>(())
    };
    assert!(catch_unwind(AssertUnwindSafe(|| stage.db.transact(panics))).is_err());
    assert_eq!(get(&stage.db, 1), Some(1));
    set(&stage.db, 1, 3).unwrap();
    stage.db.transact(|t| t.mutate(write(MutationKind::Update, 1, 4))).unwrap();
    assert_eq!(get(&stage.db, 1), Some(4));
    stage.db.pool().close().unwrap();
}

/// An engine with a fault of its own.
#[derive(Debug)]
struct PanickingStore {
    store: FaultStore,
    panics: Arc<AtomicBool>,
}

impl Store for PanickingStore {
    fn info(&self) -> &StoreInfo {
        self.store.info()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let outcome = self.store.apply(batch);
        assert!(!self.panics.swap(false, Ordering::SeqCst), "planted");
        outcome
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.store.size_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[test]
fn a_panic_of_the_engine_leaves_nobody_waiting() {
    let stage = Stage::new();
    let panics = Arc::new(AtomicBool::new(false));
    let memory = Arc::new(stage.memory.reopen());
    let store = FaultStore::new(Arc::clone(&memory) as _);
    let panicking = PanickingStore { store: store.clone(), panics: Arc::clone(&panics) };
    let db = fold_db(Arc::new(panicking), clock());
    store.gate().shut();
    panics.store(true, Ordering::SeqCst);
    buffer(&db, 1, 1).unwrap();
    store.gate().wait_for(1);
    let locks = db.stats().unwrap().locks.taken;
    thread::scope(|scope| {
        let waiting: Vec<_> = (2..6)
            .map(|n| {
                scope.spawn({
                    let db = &db;
                    move || code(set(db, n, n))
                })
            })
            .collect();
        let flush = scope.spawn(|| db.pool().flush().unwrap_err().code());
        linger(|| db.stats().unwrap().locks.taken >= locks + 4 * 3);
        store.gate().open();
        for answer in waiting {
            let code = answer.join().unwrap();
            assert!(["commit_cascaded", "commit_failed"].contains(&code), "{code}");
        }
        assert_eq!(flush.join().unwrap(), "commit_indeterminate");
    });
    // The engine itself would take more, but nobody knows what became of the batch.
    assert_eq!(code(set(&db, 9, 9)), "commit_failed");
    db.pool().close().unwrap();
    let db = fold_db(Arc::new(memory.reopen()), clock());
    assert_eq!(all(&db, "Item"), "[1,1,null]\n");
    check_sound(&db);
}

#[test]
fn a_full_queue_blocks_and_empties() {
    let stage = Stage::new();
    let big = |id: i64| {
        let text = format!("{id}{}", "x".repeat(900_000));
        let record = |n: i64| {
            let fields = [("id", Value::Int(id * 100 + n)), ("text", Value::from(text.as_str()))];
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let records = (0..8).map(record).collect();
        datafold::engine::Mutation::create(name("Item"), records).into()
    };
    stage.store.gate().shut();
    // Nine of them are the first to have more than 64 MiB; one is at the gate.
    let made = std::sync::atomic::AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..=14 {
                let durability = datafold::data_layer::Durability::Buffered;
                stage.db.mutate_with(&big(id), durability).unwrap();
                made.fetch_add(1, Ordering::SeqCst);
            }
        });
        stage.store.gate().wait_for(1);
        linger(|| made.load(Ordering::SeqCst) >= 11);
        assert!(made.load(Ordering::SeqCst) < 14, "the queue has no bound");
        stage.store.gate().open();
    });
    stage.db.pool().flush().unwrap();
    assert_eq!(stage.db.stats().unwrap().total_records, 14 * 8);
}

#[test]
fn spaces_of_one_store_do_not_touch_each_other() {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let open = |space: &str| {
        let options = datafold::data_layer::PoolOptions { space: space.into(), ..options(clock()) };
        FoldDb::new(DatabasePool::with_store(Arc::new(memory.reopen()), &options).unwrap())
    };
    let (one, two) = (open("default"), open("other"));
    crate::harness::approve(&one, crate::stage::ITEM);
    assert_eq!(two.pool().schemas().count().unwrap(), 0);
    crate::harness::approve(&two, crate::stage::ITEM);
    for n in 1..=5 {
        set(&one, n, 1).unwrap();
        assert_eq!(set(&two, n, 2).unwrap().commit.0, 2 + n.unsigned_abs());
    }
    assert_eq!((get(&one, 3), get(&two, 3)), (Some(1), Some(2)));
    assert_eq!(get(&open("other"), 5), Some(2));
    assert_eq!(open("third").stats().unwrap().commit.0, 0);
    for db in [&one, &two] {
        check_sound(db);
    }
    assert!(noon() <= one.pool().operations().head().1);
}
