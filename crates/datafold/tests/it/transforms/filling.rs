//! Records that were there before their transforms: computed in the background, beside writers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datafold::FoldDb;
use datafold::engine::{Mutation, RecordInput};
use datafold::model::Value;
use datafold_testkit::{ApplyFault, CutKind, Random, seed_from_env};

use super::{field, schema, value, write};
use crate::harness::{approve, check_sound, clock, faulty, fold_db, memory, name, open_sim};

/// Computes fields over the records of `S`.
const VIEW: &str = r#"{"name": "V", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "a": {"field_mappers": {"S": "a"}}, "b": {"field_mappers": {"S": "b"}},
    "sum": {"transform": {"logic": "a + b"}},
    "double": {"transform": {"logic": "sum * 2"}}}}"#;

fn fill(db: &FoldDb, records: i64) {
    approve(db, &schema(&[]));
    for chunk in 0..(records + 499) / 500 {
        let ids = chunk * 500..((chunk + 1) * 500).min(records);
        let record = |id: i64| -> RecordInput {
            let values = [("id", id), ("a", id), ("b", 1)];
            values.map(|(name, value)| (name.to_owned(), Value::Int(value))).into()
        };
        let records = ids.map(record).collect();
        db.mutate(&Mutation::create(name("S"), records).into()).unwrap();
    }
}

/// Every record has what its inputs say.
fn assert_exact(db: &FoldDb) -> usize {
    db.schemas().wait_for_transforms(&name("V")).unwrap();
    let mut request = datafold::QueryRequest::new(name("V"));
    request.limit = None;
    let records = db.query(&request).unwrap().records;
    for record in &records {
        let int = |name: &str| match record.get(name) {
            Some(Value::Int(value)) => Some(*value),
            _ => None,
        };
        let sum = int("a").zip(int("b")).map(|(a, b)| a + b);
        assert_eq!((int("sum"), int("double")), (sum, sum.map(|sum| sum * 2)), "{record:?}");
    }
    let states = db.schemas().transforms(&name("V")).unwrap();
    assert!(states.iter().all(|found| found.state == "ready" && found.records_read.is_none()));
    check_sound(db);
    records.len()
}

#[test]
fn existing_records_are_computed_in_bounded_commits() {
    let db = memory();
    fill(&db, 1_000);
    let before = db.stats().unwrap().commit.0;
    approve(&db, VIEW);
    assert_eq!(assert_exact(&db), 1_000);
    let commits = db.stats().unwrap().commit.0 - before;
    assert!((9..=14).contains(&commits), "{commits} commits of at most 128 records");
    // Each has one version, by its transform, and what was before it shows nothing.
    let key = [Value::Int(7)];
    let atoms = db.history(&name("V"), &key, Some(&field("double")), None, 9).unwrap();
    assert_eq!(atoms.len(), 1);
    assert!(atoms[0].writer.transform().is_some());
    let request = format!(r#"{{"schema": "V", "select": ["sum"], "as_of": {}}}"#, before + 2);
    let past = crate::harness::query(&db, &request).unwrap();
    assert!(past.records.iter().all(|record| record.values == [Value::Null]));
    // Approving again computes nothing.
    let commit = db.stats().unwrap().commit;
    db.schemas().block_schema(&name("V"), None).unwrap();
    db.schemas().approve_schema(&name("V")).unwrap();
    assert_eq!(assert_exact(&db), 1_000);
    assert_eq!(db.stats().unwrap().commit.0, commit.0 + 2);
}

#[test]
fn it_is_exact_although_writers_go_on() {
    let db = memory();
    fill(&db, 2_000);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut random = Random::new(seed_from_env(71) + seed);
                while !stop.load(Ordering::Relaxed) {
                    let id = Value::Int(random.below(2_100) as i64);
                    if random.one_in(6) {
                        let delete = Mutation::delete(name("S"), vec![vec![id]]);
                        let _ = db.mutate(&delete.into());
                        continue;
                    }
                    let field = if random.one_in(2) { "a" } else { "b" };
                    let number = Value::Int(random.below(100) as i64);
                    let record = [("id".to_owned(), id), (field.to_owned(), number)];
                    db.mutate(&Mutation::upsert(name("S"), vec![record.into()]).into()).unwrap();
                }
            });
        }
        approve(&db, VIEW);
        db.schemas().wait_for_transforms(&name("V")).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(assert_exact(&db) > 1_000);
}

#[test]
fn a_record_that_is_written_meanwhile_is_computed_as_a_whole() {
    let db = memory();
    fill(&db, 300);
    // The background has hardly begun with the first ones.
    approve(&db, VIEW);
    write(&db, "update", r#"{"id": 299, "b": 5}"#);
    let record = db.get(&name("V"), &[Value::Int(299)]).unwrap().unwrap();
    assert_eq!(record.get("double"), Some(&Value::Int(608)));
    assert_exact(&db);
}

#[test]
fn a_commit_that_fails_is_made_again() {
    let (store, db) = faulty();
    fill(&db, 300);
    // The second commit of the background: behind those of loading and approving.
    store.fail_apply(4, ApplyFault::Failed);
    approve(&db, VIEW);
    assert_eq!(assert_exact(&db), 300);
}

#[test]
fn it_goes_on_after_a_kill_and_after_a_power_cut() {
    let seed = seed_from_env(9);
    for case in 0..6 {
        let mut random = Random::part(seed, case);
        let disk = datafold_testkit::SimDisk::new(random.next_u64());
        let store = std::sync::Arc::new(open_sim(&disk, true).unwrap());
        let db = fold_db(store, clock());
        fill(&db, 700);
        approve(&db, VIEW);
        let pause = random.below(6) as u64;
        for id in 0..pause as i64 {
            write(&db, "update", &format!(r#"{{"id": {id}, "a": {pause}}}"#));
        }
        let seed = random.next_u64();
        let after = match case % 3 {
            0 => disk.process_kill(seed),
            1 => disk.power_cut(CutKind::LoseAll, seed),
            _ => disk.power_cut(CutKind::Torn, seed),
        };
        drop(db);
        let store = std::sync::Arc::new(open_sim(&after, false).unwrap());
        let db = fold_db(store, clock());
        assert_eq!(assert_exact(&db), 700, "case {case}");
        assert_eq!(value(&db, 699, "a"), Value::Int(699));
    }
}

#[test]
fn failures_of_existing_records_are_told_and_reject_nothing() {
    let db = memory();
    fill(&db, 200);
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"field_mappers": {"S": "a"}},
        "q": {"transform": {"on_error": "reject", "logic": "100 / (a - 7)"}}}}"#;
    approve(&db, view);
    db.schemas().wait_for_transforms(&name("V")).unwrap();
    let found = db.schemas().transform_failures(&name("V"), &field("q"), 10).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.values().unwrap(), [Value::Int(7)]);
    assert_eq!(db.schemas().transforms(&name("V")).unwrap()[0].failing, 1);
    check_sound(&db);
}

#[test]
fn a_view_whose_results_are_in_another_schema_is_not_deleted() {
    let db = memory();
    fill(&db, 3);
    approve(&db, VIEW);
    assert_eq!(assert_exact(&db), 3);
    let error = db.schemas().delete(&name("V")).unwrap_err();
    assert!(error.to_string().contains("has data (3 records"), "{error}");
    assert_eq!(assert_exact(&db), 3);
}
