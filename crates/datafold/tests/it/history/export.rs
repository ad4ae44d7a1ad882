//! Histories for a public checker, which knows nothing of this product.
//!
//! Its model is lists that transactions append to and read, since a read of a list tells the order
//! of all appends before it. The lines are those that Jepsen's Elle reads as well;
//! `DATAFOLD_HISTORY=file` writes one history there.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;

use adya::{History, Opts, Report, Valid, Workload, check};
use datafold::engine::{FoldDbError, FoldTransaction, Mutation};
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{ApplyFault, FaultStore, Random, is_full_size, replay, seed_from_env};

use super::clients::CLIENTS;
use super::log::Sequence;
use crate::harness::{Place, approve, clock, fold_db, name};

const LIST: &str = r#"{"name": "List", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "items": {"value": {"type": "array"}}}}"#;
const LISTS: i64 = 5;

/// A part of a transaction; a read is empty until it was made.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Append(i64, i64),
    Read(i64, Option<Vec<i64>>),
}

#[derive(Debug, Clone)]
struct Transaction {
    client: usize,
    invoked: u64,
    answered: u64,
    parts: Vec<Part>,
    /// The checker's word for what became of it.
    outcome: &'static str,
}

fn items(value: Option<&Value>) -> Vec<i64> {
    let Some(Value::Array(items)) = value else { return Vec::new() };
    let int = |item: &Value| if let Value::Int(n) = item { *n } else { panic!("{item:?}") };
    items.iter().map(int).collect()
}

fn carry_out(transaction: &mut FoldTransaction<'_>, parts: &mut [Part]) -> Result<(), FoldDbError> {
    for part in parts {
        let id = match part {
            Part::Append(id, _) | Part::Read(id, _) => Value::Int(*id),
        };
        let record = transaction.get(&name("List"), std::slice::from_ref(&id))?;
        let mut found = items(record.as_ref().and_then(|record| record.get("items")));
        match part {
            Part::Read(_, items) => *items = Some(found),
            Part::Append(_, item) => {
                found.push(*item);
                let found: Vec<_> = found.into_iter().map(Value::Int).collect();
                let record = [("id".to_owned(), id), ("items".to_owned(), found.into())];
                transaction.mutate(Mutation::upsert(name("List"), vec![record.into()]))?;
            }
        }
        thread::yield_now();
    }
    Ok(())
}

/// Reads all lists at once, outside of a transaction.
fn read_all(db: &FoldDb) -> Vec<Part> {
    let answer = db.query(&QueryRequest::new(name("List"))).unwrap();
    let list = |id: i64| {
        let mut records = answer.records.iter();
        let record = records.find(|record| record.get("id") == Some(&Value::Int(id)));
        Part::Read(id, Some(items(record.and_then(|record| record.get("items")))))
    };
    (0..LISTS).map(list).collect()
}

fn run_client(
    db: &FoldDb,
    store: &FaultStore,
    sequence: &Sequence,
    client: usize,
    seed: u64,
    count: i64,
) -> Vec<Transaction> {
    let mut random = Random::part(seed, client as u64);
    let mut log = Vec::new();
    for n in 0..count {
        if random.one_in(50) {
            store.fail_apply(1, ApplyFault::Failed);
        }
        let item = (i64::try_from(client).unwrap() * count + n) * 4;
        let id = |random: &mut Random| i64::try_from(random.below(5)).unwrap();
        let mut parts: Vec<_> = if random.one_in(5) {
            (0..LISTS).map(|id| Part::Read(id, None)).collect()
        } else {
            let one = |at: i64| {
                let id = id(&mut random);
                if random.one_in(2) { Part::Append(id, item + at) } else { Part::Read(id, None) }
            };
            (0..3).map(one).collect()
        };
        let is_query = parts.len() > 3;
        let invoked = sequence.next();
        let outcome = if is_query {
            parts = read_all(db);
            "ok"
        } else {
            match db.transact(|transaction| carry_out(transaction, &mut parts)) {
                Ok(_) => "ok",
                Err(error) => {
                    assert!(
                        ["commit_failed", "commit_cascaded"].contains(&error.code()),
                        "{error}"
                    );
                    "fail"
                }
            }
        };
        let answered = sequence.next();
        log.push(Transaction { client, invoked, answered, parts, outcome });
    }
    log
}

fn run(seed: u64, mut place: Place, count: i64) -> Vec<Transaction> {
    let store = FaultStore::new(place.open());
    let db = fold_db(Arc::new(store.clone()), clock());
    approve(&db, LIST);
    let sequence = Sequence::default();
    let clients = usize::try_from(CLIENTS).unwrap();
    let barrier = Barrier::new(clients);
    thread::scope(|scope| {
        let (db, store, sequence, barrier) = (&db, &store, &sequence, &barrier);
        let clients = (0..clients).map(|client| {
            scope.spawn(move || {
                barrier.wait();
                run_client(db, store, sequence, client, seed, count)
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// One line for each beginning and each end, in the order in which they happened.
fn export(history: &[Transaction]) -> String {
    let mut events: Vec<_> = history
        .iter()
        .flat_map(|t| [(t.invoked, "invoke", t), (t.answered, t.outcome, t)])
        .collect();
    events.sort_by_key(|(when, ..)| *when);
    let mut text = String::new();
    for (index, (_, kind, transaction)) in events.into_iter().enumerate() {
        let part = |part: &Part| match part {
            Part::Append(id, item) => format!(r#"["append",{id},{item}]"#),
            Part::Read(id, Some(items)) if kind == "ok" => format!(r#"["r",{id},{items:?}]"#),
            Part::Read(id, _) => format!(r#"["r",{id},null]"#),
        };
        let parts: Vec<_> = transaction.parts.iter().map(part).collect();
        let (process, parts) = (transaction.client, parts.join(","));
        writeln!(
            text,
            r#"{{"index":{index},"type":"{kind}","process":{process},"value":[{parts}]}}"#
        )
        .unwrap();
    }
    text
}

fn verdict(history: &[Transaction]) -> Report {
    let history = History::from_json(&export(history)).unwrap();
    // The strongest that it knows: strict serializability.
    let options = Opts { timeout: std::time::Duration::from_secs(60), ..Opts::default() };
    assert_eq!(options.models, ["strict-serializable"]);
    check(&history, Workload::ListAppend, &options)
}

fn check_histories(place: impl Fn(u64) -> Place, default: u64) {
    let seed = seed_from_env(default);
    let (count, transactions) = if is_full_size() { (20, 1_000) } else { (2, 60) };
    for index in 0..count {
        let history = run(seed ^ index, place(seed ^ index), transactions);
        if let Ok(path) = std::env::var("DATAFOLD_HISTORY") {
            std::fs::write(path, export(&history)).unwrap();
        }
        assert!(history.iter().any(|transaction| transaction.outcome == "fail"));
        let report = verdict(&history);
        assert_eq!(report.valid, Valid::True, "{:?}, {}", report.anomalies, replay(seed));
    }
    eprintln!("adya: {count} histories of {CLIENTS} x {transactions} transactions, seed {seed:#x}");
}

#[test]
fn a_public_checker_finds_histories_in_memory_strictly_serializable() {
    check_histories(|_| Place::memory(), 0xAD1A);
}

#[test]
fn a_public_checker_finds_histories_on_redb_strictly_serializable() {
    check_histories(Place::sim, 0xAD1B);
}

#[test]
fn canary_a_public_checker_finds_edited_histories() {
    let seed = seed_from_env(0xAD1C);
    let history = run(seed, Place::memory(), 60);
    assert_eq!(verdict(&history).valid, Valid::True, "{}", replay(seed));
    // A stale read: the last read of a list misses what was read of it long before.
    let mut stale = history.clone();
    let last = stale.iter_mut().filter(|t| t.outcome == "ok").max_by_key(|t| t.invoked).unwrap();
    last.parts = vec![Part::Read(0, Some(Vec::new()))];
    let report = verdict(&stale);
    assert_eq!(report.valid, Valid::False, "a stale read; {}", replay(seed));
    // A lost update: an append that was acknowledged is in no later read.
    let mut lost = history.clone();
    let appended = |transaction: &Transaction| match transaction.parts[..] {
        [Part::Append(id, item), ..] if transaction.outcome == "ok" => Some((id, item)),
        _ => None,
    };
    let first = lost.iter().filter(|t| appended(t).is_some()).min_by_key(|t| t.answered).unwrap();
    let (id, item) = appended(first).unwrap();
    for part in lost.iter_mut().flat_map(|transaction| &mut transaction.parts) {
        match part {
            Part::Read(of, Some(items)) if *of == id => items.retain(|found| *found != item),
            _ => {}
        }
    }
    let report = verdict(&lost);
    assert_eq!(report.valid, Valid::False, "a lost update; {}", replay(seed));
}
