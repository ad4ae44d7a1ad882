//! Closures and explicit transactions against each other.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use datafold::data_layer::{DataLayerError, ReadRepository, Repository};
use datafold::engine::{FoldDbError, FoldTransaction, Mutation, MutationKind};
use datafold::model::{Schema, SchemaState, TransformDefinition, Value};
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::Random;

use crate::harness::{all, approve, check_sound, memory, name};
use crate::stage::{ITEM, Stage, code, create, get, set, write};

type Answer<T> = Result<T, FoldDbError>;

fn read(transaction: &mut FoldTransaction<'_>, id: i64) -> Answer<i64> {
    let record = transaction.get(&name("Item"), &[Value::Int(id)])?;
    Ok(match record.as_ref().and_then(|record| record.get("n")) {
        Some(Value::Int(n)) => *n,
        _ => 0,
    })
}

fn items() -> FoldDb {
    let db = memory();
    approve(&db, ITEM);
    db
}

fn transform(logic: &str) -> TransformDefinition {
    TransformDefinition::new(logic)
}

#[test]
fn no_increment_is_lost_between_threads() {
    let db = items();
    let (threads, times) = (8_i64, 200_i64);
    let runs = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (db, runs) = (&db, &runs);
            scope.spawn(move || {
                for n in 0..times {
                    let increment = |transaction: &mut FoldTransaction<'_>| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        let id = if n % 4 == 0 { 100 + thread } else { 1 };
                        let found = read(transaction, id)?;
                        transaction.mutate(write(MutationKind::Upsert, id, found + 1))
                    };
                    db.transact(increment).unwrap();
                }
            });
        }
    });
    assert_eq!(get(&db, 1), Some(threads * times * 3 / 4));
    for thread in 0..threads {
        assert_eq!(get(&db, 100 + thread), Some(times / 4));
    }
    let stats = db.stats().unwrap();
    assert_eq!(stats.commit.0, 2 + (threads * times).unsigned_abs());
    assert!(runs.into_inner() >= 1_600);
    check_sound(&db);
}

#[test]
fn a_sum_is_the_same_in_every_snapshot_while_threads_move_parts_of_it() {
    let db = items();
    for id in 0..10 {
        set(&db, id, 100).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (db, done) = (&db, &done);
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random::new(thread);
                    for _ in 0..150 {
                        let [from, to] = [0, 1].map(|_| i64::try_from(random.below(10)).unwrap());
                        db.transact(|transaction| -> Answer<()> {
                            let (a, b) = (read(transaction, from)?, read(transaction, to)?);
                            if from == to {
                                return Ok(());
                            }
                            transaction.mutate(write(MutationKind::Update, from, a - 7))?;
                            transaction.mutate(write(MutationKind::Update, to, b + 7))
                        })
                        .unwrap();
                    }
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) || reads == 0 {
                let answer = db.query(&QueryRequest::new(name("Item"))).unwrap();
                let values = answer.records.iter().map(|record| record.get("n").cloned());
                let sum: i64 =
                    values.map(|n| if let Some(Value::Int(n)) = n { n } else { 0 }).sum();
                assert_eq!((sum, answer.records.len()), (1_000, 10), "at {}", answer.commit);
                reads += 1;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    check_sound(&db);
}

/// Two closures that both have read before either commits; each runs a second time at most.
fn race(
    db: &FoldDb,
    run: impl Fn(&mut FoldTransaction<'_>, usize) -> Answer<()> + Sync,
) -> [Answer<u64>; 2] {
    let barrier = Barrier::new(2);
    let one = |which: usize| {
        let mut first = true;
        let answer = db.transact(|transaction| {
            let answer = run(transaction, which);
            if std::mem::take(&mut first) {
                barrier.wait();
            }
            answer
        });
        answer.map(|((), receipt)| receipt.commit.0)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| one(1));
        [one(0), other.join().unwrap()]
    })
}

#[test]
fn write_skew_cannot_happen() {
    let db = items();
    for _ in 0..20 {
        set(&db, 0, 1).unwrap();
        set(&db, 1, 1).unwrap();
        let answers = race(&db, |transaction, which| {
            // One of the two must stay on duty.
            if read(transaction, 0)? + read(transaction, 1)? < 2 {
                return Ok(());
            }
            let which = i64::try_from(which).unwrap();
            transaction.mutate(write(MutationKind::Update, which, 0))
        });
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(get(&db, 0).unwrap() + get(&db, 1).unwrap(), 1);
    }
}

#[test]
fn what_was_absent_conflicts_with_its_creation() {
    let db = items();
    let answers = race(&db, |transaction, which| {
        let id = i64::try_from(which).unwrap();
        // Each writes its own if the other one is not there.
        if transaction.get(&name("Item"), &[Value::Int(1 - id)])?.is_none() {
            transaction.mutate(write(MutationKind::Create, id, 0))?;
        }
        Ok(())
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(db.stats().unwrap().total_records, 1, "{}", all(&db, "Item"));
}

#[test]
fn two_closures_cannot_define_the_same_name_differently() {
    let db = memory();
    let schemas = ["a", "b"].map(|field| {
        let text = format!(r#"{{"name": "Same", "fields": {{"{field}": {{}}}}}}"#);
        Schema::parse(&text).unwrap().schema
    });
    let mut codes = race(&db, |transaction, which| {
        let repository = db.pool().schemas();
        Ok(transaction.data_layer().upsert(repository, &name("Same"), &schemas[which])?)
    })
    .map(|answer| answer.map_or_else(|error| error.code(), |_| "defined"));
    codes.sort_unstable();
    assert_eq!(codes, ["already_exists", "defined"]);
    assert_eq!(db.pool().schemas().count().unwrap(), 1);
    check_sound(&db);
}

#[test]
fn two_closures_that_define_or_approve_the_same_agree() {
    let db = memory();
    let same = Schema::parse(ITEM).unwrap().schema;
    let answers = race(&db, |transaction, _| {
        let repository = db.pool().schemas();
        Ok(transaction.data_layer().upsert(repository, &same.name, &same)?)
    });
    assert_eq!(answers.map(Result::unwrap), [1, 1]);
    let answers = race(&db, |transaction, _| {
        let state = SchemaState::Approved;
        let schemas = db.pool().schemas();
        Ok(schemas.set_state_in(transaction.data_layer(), &same.name, state, None)?)
    });
    assert_eq!(answers.map(Result::unwrap), [2, 2]);
    create(&db, 1).unwrap();
}

#[test]
fn a_closure_conflicts_with_whoever_blocks_its_schema() {
    let db = items();
    let answers = race(&db, |transaction, which| match which {
        0 => transaction.mutate(write(MutationKind::Create, 1, 1)),
        _ => {
            let (state, schemas) = (SchemaState::Blocked, db.pool().schemas());
            Ok(schemas.set_state_in(transaction.data_layer(), &name("Item"), state, None)?)
        }
    });
    let codes = answers.map(|answer| answer.map_or_else(|error| error.code(), |_| "done"));
    assert!(codes == ["done", "done"] || codes == ["schema_not_approved", "done"], "{codes:?}");
    let records = db.stats().unwrap().total_records;
    assert_eq!(records, u64::from(codes[0] == "done"));
    check_sound(&db);
}

#[test]
fn an_explicit_transaction_answers_a_conflict_and_writes_nothing() {
    let db = memory();
    let transforms = db.pool().transforms();
    let key = "Flight.speed".to_owned();
    transforms.store(&key, &transform("1")).unwrap();
    let (mut one, mut two) = (db.pool().begin(), db.pool().begin());
    one.update(transforms, &key, &transform("one")).unwrap();
    two.update(transforms, &key, &transform("two")).unwrap();
    two.upsert(transforms, &"Other.x".to_owned(), &transform("two")).unwrap();
    one.commit().unwrap();
    assert_eq!(two.commit().unwrap_err().code(), "conflict");
    assert_eq!(transforms.get(&key).unwrap(), Some(transform("one")));
    assert_eq!(transforms.count().unwrap(), 1);
    assert_eq!(db.stats().unwrap().commit.0, 2);
}

#[test]
fn what_a_transaction_did_not_read_does_not_disturb_it() {
    let db = items();
    let transforms = db.pool().transforms();
    let mut transaction = db.pool().begin();
    transaction.insert(transforms, &"A.a".to_owned(), &transform("a")).unwrap();
    transforms.store(&"B.b".to_owned(), &transform("b")).unwrap();
    create(&db, 1).unwrap();
    transaction.commit().unwrap();
    assert_eq!(transforms.list().unwrap(), ["A.a", "B.b"]);
}

#[test]
fn absence_and_the_set_of_names_are_read_too() {
    let db = memory();
    let transforms = db.pool().transforms();
    let mut transaction = db.pool().begin();
    assert_eq!(transaction.get(transforms, &"A.a".to_owned()).unwrap(), None);
    transaction.insert(transforms, &"B.b".to_owned(), &transform("b")).unwrap();
    transforms.store(&"A.a".to_owned(), &transform("a")).unwrap();
    assert_eq!(transaction.commit().unwrap_err().code(), "conflict");
    let mut transaction = db.pool().begin();
    assert_eq!(transaction.get(db.pool().schemas(), &name("Item")).unwrap(), None);
    transaction.insert(transforms, &"B.b".to_owned(), &transform("b")).unwrap();
    db.schemas().load_text(ITEM, None).unwrap();
    assert_eq!(transaction.commit().unwrap_err().code(), "conflict");
    assert_eq!(transforms.list().unwrap(), ["A.a"]);
}

/// Without a record of what was written since, a transaction has to run again.
#[test]
fn a_transaction_older_than_what_is_remembered_conflicts() {
    let db = items();
    let mut old = db.pool().begin();
    old.insert(db.pool().transforms(), &"A.a".to_owned(), &transform("a")).unwrap();
    let records = |from: i64| {
        let ids = from..from + 15_000;
        ids.map(|id| BTreeMap::from([("id".to_owned(), Value::Int(id))])).collect()
    };
    for round in 0..6 {
        db.mutate(&Mutation::create(name("Item"), records(round * 15_000)).into()).unwrap();
    }
    assert_eq!(old.commit().unwrap_err().code(), "conflict");
    let mut new = db.pool().begin();
    new.insert(db.pool().transforms(), &"A.a".to_owned(), &transform("a")).unwrap();
    create(&db, -1).unwrap();
    new.commit().unwrap();
}

#[test]
fn a_conflict_with_a_pending_commit_waits_for_it() {
    let stage = Stage::new();
    let transforms = stage.db.pool().transforms();
    let key = "A.a".to_owned();
    let mut transaction = stage.db.pool().begin();
    transaction.insert(transforms, &key, &transform("mine")).unwrap();
    stage.store.gate().shut();
    thread::scope(|scope| {
        let pending = stage.queue(scope, |db| {
            db.pool().transforms().store(&"A.a".to_owned(), &transform("theirs")).unwrap();
        });
        stage.store.gate().wait_for(1);
        let conflict = scope.spawn(move || transaction.commit().unwrap_err().code());
        stage.store.gate().open();
        assert_eq!(conflict.join().unwrap(), "conflict");
        // Whoever runs again now sees what it conflicted with.
        assert_eq!(transforms.get(&key).unwrap(), Some(transform("theirs")));
        pending.join().unwrap();
    });
}

#[test]
fn a_closure_that_answers_an_error_writes_nothing() {
    let db = items();
    let fails = |transaction: &mut FoldTransaction<'_>| -> Answer<()> {
        transaction.mutate(write(MutationKind::Create, 1, 1))?;
        Err(DataLayerError::NotFound { what: "point", name: "this".into() }.into())
    };
    assert_eq!(code(db.transact(fails)), "not_found");
    assert_eq!((all(&db, "Item"), db.stats().unwrap().commit.0), (String::new(), 2));
}

/// A mutation is all or nothing also for a closure that goes on after its refusal.
#[test]
fn a_refused_mutation_leaves_nothing_in_its_transaction() {
    let db = items();
    create(&db, 1).unwrap();
    db.transact(|transaction| -> Answer<()> {
        transaction.mutate(write(MutationKind::Create, 9, 9))?;
        let record = |id: i64| BTreeMap::from([("id".to_owned(), Value::Int(id))]);
        let some = vec![record(2), record(3), record(1)];
        assert_eq!(code(transaction.mutate(Mutation::create(name("Item"), some))), "record_exists");
        let keys = vec![vec![Value::Int(1)], vec![Value::Int(9)], vec![Value::Int(4)]];
        let delete = Mutation::delete(name("Item"), keys);
        assert_eq!(code(transaction.mutate(delete)), "record_not_found");
        assert_eq!(read(transaction, 9)?, 9);
        Ok(())
    })
    .unwrap();
    assert_eq!(all(&db, "Item"), "[1,0,null]\n[9,9,null]\n");
    check_sound(&db);
}

#[test]
fn a_transaction_reads_its_own_writes() {
    let db = items();
    set(&db, 1, 1).unwrap();
    let ((), receipt) = db
        .transact(|transaction| -> Answer<()> {
            assert_eq!(read(transaction, 1)?, 1);
            transaction.mutate(write(MutationKind::Update, 1, 2))?;
            transaction.mutate(write(MutationKind::Create, 2, 2))?;
            assert_eq!((read(transaction, 1)?, read(transaction, 2)?), (2, 2));
            transaction.mutate(Mutation::delete(name("Item"), vec![vec![Value::Int(1)]]))?;
            assert_eq!(transaction.get(&name("Item"), &[Value::Int(1)])?, None);
            let again = code(transaction.mutate(write(MutationKind::Update, 1, 3)));
            assert_eq!(again, "record_not_found");
            transaction.mutate(write(MutationKind::Create, 1, 4))?;
            assert_eq!(read(transaction, 1)?, 4);
            Ok(())
        })
        .unwrap();
    assert_eq!(receipt.atoms, 2);
    assert_eq!(all(&db, "Item"), "[1,4,null]\n[2,2,null]\n");
    check_sound(&db);
}

#[test]
fn a_schema_cannot_be_deleted_in_the_transaction_that_fills_it() {
    let db = items();
    let schemas = db.pool().schemas();
    let answer = db.transact(|transaction| -> Answer<()> {
        transaction.mutate(write(MutationKind::Create, 1, 1))?;
        Ok(transaction.data_layer().delete(schemas, &name("Item"))?)
    });
    assert_eq!(code(answer), "refused");
    check_sound(&db);
    // The other way round there is nothing to write to.
    let answer = db.transact(|transaction| -> Answer<()> {
        transaction.data_layer().delete(schemas, &name("Item"))?;
        transaction.mutate(write(MutationKind::Create, 1, 1))
    });
    assert_eq!(code(answer), "schema_not_found");
    check_sound(&db);
}

#[test]
fn deleting_a_schema_conflicts_with_filling_it() {
    for _ in 0..10 {
        let db = items();
        let answers = race(&db, |transaction, which| match which {
            0 => transaction.mutate(write(MutationKind::Create, 1, 1)),
            _ => Ok(transaction.data_layer().delete(db.pool().schemas(), &name("Item"))?),
        });
        let codes = answers.map(|answer| answer.map_or_else(|error| error.code(), |_| "done"));
        assert!(codes == ["done", "refused"] || codes == ["schema_not_found", "done"], "{codes:?}");
        check_sound(&db);
    }
}
