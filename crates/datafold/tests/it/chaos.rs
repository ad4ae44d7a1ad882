//! Threads on a store that fails now and then: what was acknowledged is there, nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datafold::data_layer::Durability;
use datafold::engine::{FoldDbError, Mutation, MutationKind};
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_store::MemoryStore;
use datafold_testkit::{ApplyFault, FaultStore, Random, is_full_size, replay, seed_from_env};

use crate::harness::{approve, check_sound, clock, fold_db, name};
use crate::stage::{ITEM, get, write};

const WRITERS: i64 = 6;

/// Writes the same number to two records, in one of several ways.
fn write_pair(db: &FoldDb, writer: i64, n: i64, way: usize) -> Result<(), FoldDbError> {
    let [one, two] = [writer * 2, writer * 2 + 1];
    let pair = || [one, two].map(|id| write(MutationKind::Upsert, id, n));
    match way {
        0 => db
            .transact(|transaction| {
                let found = transaction.get(&name("Item"), &[Value::Int(one)])?;
                let other = transaction.get(&name("Item"), &[Value::Int(two)])?;
                let n_of = |record: Option<datafold::engine::Record>| {
                    record.and_then(|record| record.get("n").cloned())
                };
                assert_eq!(n_of(found), n_of(other), "a torn pair");
                pair().into_iter().try_for_each(|mutation| transaction.mutate(mutation))
            })
            .map(drop),
        1 => {
            // A new life for one of them.
            let keys = vec![vec![Value::Int(one)]];
            let mut mutations =
                vec![write(MutationKind::Upsert, one, -1), Mutation::delete(name("Item"), keys)];
            mutations.extend(pair());
            db.mutate(&datafold::MutationRequest { mutations, ..Default::default() }).map(drop)
        }
        _ => {
            let mutations = pair().into();
            db.mutate(&datafold::MutationRequest { mutations, ..Default::default() }).map(drop)
        }
    }
}

fn write_for_a_while(db: &FoldDb, store: &FaultStore, writer: i64, seed: u64, times: i64) -> i64 {
    let mut random = Random::part(seed, writer.unsigned_abs());
    let mut acknowledged = 0;
    for n in 1..=times {
        if random.one_in(9) {
            store.fail_apply(1 + random.below(3) as u64, ApplyFault::Failed);
        }
        match write_pair(db, writer, n, random.below(4)) {
            Ok(()) => {
                acknowledged = n;
                assert_eq!(get(db, writer * 2), Some(n), "acknowledged and not visible");
            }
            Err(error) => {
                assert!(["commit_failed", "commit_cascaded"].contains(&error.code()), "{error}");
                let found = get(db, writer * 2).unwrap_or(0);
                assert_eq!(found, acknowledged, "failed and visible");
            }
        }
    }
    acknowledged
}

#[test]
fn failures_lose_what_they_say_and_nothing_else() {
    let seed = seed_from_env(0xC405);
    let times = if is_full_size() { 5_000 } else { 250 };
    let memory = Arc::new(MemoryStore::new().unwrap());
    let store = FaultStore::new(Arc::clone(&memory) as _);
    let db = fold_db(Arc::new(store.clone()), clock());
    approve(&db, ITEM);
    let done = AtomicBool::new(false);
    let acknowledged: Vec<_> = thread::scope(|scope| {
        let (db, store, done) = (&db, &store, &done);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write_for_a_while(db, store, writer, seed, times)))
            .collect();
        // Commits that nobody waits for, among those of the others.
        let buffered = scope.spawn(move || {
            let (mut lost, mut n) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                n += 1;
                let request = write(MutationKind::Upsert, 1_000, n).into();
                let _ = db.mutate_with(&request, Durability::Buffered);
                if n % 5 == 0 && db.pool().flush().is_err() {
                    lost += 1;
                }
            }
            lost
        });
        let reader = scope.spawn(move || {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let answer = db.query(&QueryRequest::new(name("Item"))).unwrap();
                assert!(answer.commit.0 >= last, "time went back");
                last = answer.commit.0;
                let rows: Vec<_> = answer.records.iter().map(|record| &record.values).collect();
                let limit = Value::Int(WRITERS * 2);
                let pairs = rows.iter().filter(|row| row[0].cmp_values(&limit).is_lt());
                let pairs: Vec<_> = pairs.collect();
                for pair in pairs.chunks(2) {
                    assert_eq!(pair[0][1], pair[1][1], "a torn pair at commit {}", answer.commit);
                }
            }
        });
        let acknowledged = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        buffered.join().unwrap();
        acknowledged
    });
    store.clear_faults();
    let _ = db.pool().flush();
    db.pool().flush().unwrap();
    for db in [&db, &fold_db(Arc::new(memory.reopen()), clock())] {
        for (writer, n) in (0..).zip(&acknowledged) {
            let found = [get(db, writer * 2), get(db, writer * 2 + 1)];
            let expected = if *n == 0 { None } else { Some(*n) };
            assert_eq!(found, [expected; 2], "writer {writer}, {}", replay(seed));
        }
        check_sound(db);
    }
}
