//! What is more than one commit computes: queued, drained in the background, stale until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafold::FoldDb;
use datafold::data_layer::PropagationLimits;
use datafold::engine::{Mutation, RecordInput};
use datafold::model::{FieldName, Value};
use datafold_store::{MemoryStore, Store};
use datafold_testkit::{FaultStore, PowerCuts, Random, SimDisk, is_full_size, seed_from_env};

use super::field;
use crate::harness::{
    approve, check_sound, clock, describe, fold_db, fold_db_within, mutate, name, open_sim, query,
};

const PLANE: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}}, "seats": {"value": {"type": "integer"}}}}"#;

fn flight(on_error: &str) -> String {
    format!(
        r#"{{"name": "Flight", "key": ["id"], "fields": {{
        "id": {{"value": {{"type": "integer"}}}}, "tailnum": {{"value": {{"type": "string"}}}},
        "seats": {{"transform": {{"on_error": "{on_error}", "logic": "Plane[tailnum].seats"}}}},
        "more": {{"transform": {{"logic": "seats + Rate.rate"}}}},
        "odd": {{"transform": {{"logic": "id % 2"}}}}}}}}"#
    )
}

fn limits(outputs: usize) -> PropagationLimits {
    PropagationLimits { outputs, ..PropagationLimits::default() }
}

fn fill(db: &FoldDb, flights: i64, on_error: &str) {
    approve(db, PLANE);
    approve(db, r#"{"name": "Rate", "fields": {"rate": {"value": {"type": "integer"}}}}"#);
    approve(db, &flight(on_error));
    set(db, 100).unwrap();
    mutate(db, r#"{"mutation": "upsert", "schema": "Rate", "records": [{"rate": 1}]}"#).unwrap();
    let record = |id: i64| -> RecordInput {
        [("id".to_owned(), Value::Int(id)), ("tailnum".to_owned(), "N1".into())].into()
    };
    let records = (0..flights).map(record).collect();
    db.mutate(&Mutation::create(name("Flight"), records).into()).unwrap();
}

fn set(db: &FoldDb, seats: i64) -> Result<u64, datafold::engine::FoldDbError> {
    let text = format!(
        r#"{{"mutation": "upsert", "schema": "Plane", "records":
            [{{"tailnum": "N1", "seats": {seats}}}]}}"#
    );
    mutate(db, &text).map(|receipt| receipt.commit.0)
}

/// The values of a field, with how many records have them.
fn values(db: &FoldDb, field: &str, as_of: Option<u64>) -> Vec<(Value, usize)> {
    let moment = as_of.map(|commit| format!(r#", "as_of": {commit}"#)).unwrap_or_default();
    let text = format!(r#"{{"schema": "Flight", "select": ["{field}"]{moment}}}"#);
    let mut found: Vec<(Value, usize)> = Vec::new();
    for record in query(db, &text).unwrap().records {
        match found.iter_mut().find(|(value, _)| *value == record.values[0]) {
            Some((_, count)) => *count += 1,
            None => found.push((record.values[0].clone(), 1)),
        }
    }
    found
}

fn states(db: &FoldDb) -> Vec<(&'static str, u64)> {
    let found = db.schemas().transforms(&name("Flight")).unwrap();
    found.iter().map(|found| (found.state, found.queued)).collect()
}

fn wait(db: &FoldDb) {
    db.schemas().wait_for_transforms(&name("Flight")).unwrap();
}

#[test]
fn the_rest_is_queued_and_drained_in_bounded_commits() {
    let store = FaultStore::new(Arc::new(MemoryStore::new().unwrap()));
    let db = fold_db_within(Arc::new(store.clone()), limits(100));
    fill(&db, 500, "keep");
    assert_eq!(states(&db), [("ready", 0); 3]);
    let changed = set(&db, 200).unwrap();
    wait(&db);
    let drained = db.stats().unwrap().commit.0;
    // The commit itself computed nothing of what is more than 100, and moments in between show it.
    assert_eq!(values(&db, "seats", Some(changed)), [(Value::Int(100), 500)]);
    assert_eq!(values(&db, "more", None), [(Value::Int(201), 500)]);
    assert!((4..=6).contains(&(drained - changed)), "{} commits", drained - changed);
    let between = values(&db, "more", Some(changed + 2));
    assert_eq!(between, [(Value::Int(201), 256), (Value::Int(101), 244)]);
    assert_eq!(states(&db), [("ready", 0); 3]);
    check_sound(&db);
    // A one-record schema, and one row of the queue however often it is changed.
    for rate in 2..5 {
        let text = format!(
            r#"{{"mutation": "upsert", "schema": "Rate", "records": [{{"rate": {rate}}}]}}"#
        );
        mutate(&db, &text).unwrap();
    }
    wait(&db);
    assert_eq!(values(&db, "more", None), [(Value::Int(204), 500)]);
    check_sound(&db);
}

#[test]
fn what_is_queued_is_stale_and_so_is_what_depends_on_it() {
    let disk = SimDisk::new(5);
    let store = FaultStore::new(Arc::new(open_sim(&disk, true).unwrap()) as Arc<dyn Store>);
    let db = fold_db_within(Arc::new(store.clone()), limits(0));
    fill(&db, 300, "keep");
    wait(&db);
    // Behind the gate nothing is drained.
    store.gate().shut();
    store.gate().let_one_pass();
    set(&db, 300).unwrap();
    store.gate().wait_for(1);
    assert_eq!(states(&db), [("stale", 1), ("stale", 0), ("ready", 0)]);
    let answer = query(&db, r#"{"schema": "Flight", "select": ["odd"]}"#).unwrap();
    assert_eq!(answer.stale, Vec::<FieldName>::new());
    assert!(!serde_json::to_string(&answer).unwrap().contains("stale"));
    let answer = query(&db, r#"{"schema": "Flight", "select": ["id", "more"]}"#).unwrap();
    assert_eq!(answer.stale, [field("more")]);
    let answer = query(&db, r#"{"schema": "Flight", "where": "seats > 1"}"#).unwrap();
    assert_eq!(answer.stale, [field("seats"), field("more")]);
    assert!(serde_json::to_string(&answer).unwrap().contains(r#""stale":["seats","more"]"#));
    assert_eq!(values(&db, "seats", None), [(Value::Int(100), 300)]);
    check_sound(&db);
    // A process that ends there, and one that goes on.
    let killed = disk.process_kill(7);
    store.gate().open();
    let reopened = fold_db(Arc::new(open_sim(&killed, false).unwrap()), clock());
    for db in [db, reopened] {
        wait(&db);
        assert_eq!(states(&db), [("ready", 0); 3]);
        assert_eq!(values(&db, "more", None), [(Value::Int(301), 300)]);
        check_sound(&db);
    }
}

#[test]
fn what_rejects_refuses_a_commit_that_reaches_too_much() {
    let db = fold_db_within(Arc::new(MemoryStore::new().unwrap()), limits(100));
    fill(&db, 300, "reject");
    let error = set(&db, 200).unwrap_err();
    assert_eq!(error.code(), "not_computed");
    let error = describe(&error);
    assert!(error.contains("Flight.seats cannot be computed: the commit reaches more"), "{error}");
    assert_eq!(values(&db, "seats", None), [(Value::Int(100), 300)]);
    check_sound(&db);
}

#[test]
fn steps_are_bounded_for_own_records_too() {
    let propagation = PropagationLimits { outputs: 1_000, steps: 60_000 };
    let db = fold_db_within(Arc::new(MemoryStore::new().unwrap()), propagation);
    let slow = r#"{"name": "Slow", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}},
        "sum": {"transform": {"logic": "sum(map(range(0, 1000), i => i + id))"}},
        "next": {"transform": {"logic": "sum + 1"}}}}"#;
    approve(&db, slow);
    let ids = (0..50).map(|id| -> RecordInput { [("id".to_owned(), Value::Int(id))].into() });
    let create = Mutation::create(name("Slow"), ids.collect());
    let commit = db.mutate(&create.into()).unwrap().commit.0;
    db.schemas().wait_for_transforms(&name("Slow")).unwrap();
    let count = |as_of: u64| {
        let text = format!(r#"{{"schema": "Slow", "where": "next > 0", "as_of": {as_of}}}"#);
        query(&db, &text).unwrap().records.len()
    };
    let head = db.stats().unwrap().commit.0;
    assert!((5..45).contains(&count(commit)), "{}", count(commit));
    assert_eq!(count(head), 50);
    assert!((2..30).contains(&(head - commit)), "{}", head - commit);
    check_sound(&db);
}

#[test]
fn it_is_exact_although_writers_go_on() {
    let db = fold_db_within(Arc::new(MemoryStore::new().unwrap()), limits(20));
    fill(&db, 400, "keep");
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let db = &db;
            scope.spawn(move || {
                let mut random = Random::part(seed_from_env(0x9E), seed);
                for _ in 0..60 {
                    let id = random.below(420);
                    let text = match random.below(6) {
                        0 | 1 => {
                            let seats = random.below(50);
                            format!(
                                r#"{{"mutation": "upsert", "schema": "Plane", "records":
                                [{{"tailnum": "N{}", "seats": {seats}}}]}}"#,
                                random.below(3)
                            )
                        }
                        2 => format!(
                            r#"{{"mutation": "delete", "schema": "Flight", "keys": [{id}]}}"#
                        ),
                        3 => format!(
                            r#"{{"mutation": "upsert", "schema": "Rate", "records":
                            [{{"rate": {id}}}]}}"#
                        ),
                        _ => format!(
                            r#"{{"mutation": "upsert", "schema": "Flight", "records":
                            [{{"id": {id}, "tailnum": "N{}"}}]}}"#,
                            random.below(3)
                        ),
                    };
                    let _ = mutate(db, &text);
                }
            });
        }
    });
    assert_exact(&db);
}

/// Nothing is queued, and every flight has what its plane and the rate say.
fn assert_exact(db: &FoldDb) {
    wait(db);
    let all = |text: &str| query(db, text).unwrap().records;
    let int = |value: &Value| match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    let rate = all(r#"{"schema": "Rate"}"#).first().and_then(|rate| int(&rate.values[0]));
    let planes = all(r#"{"schema": "Plane"}"#);
    for record in all(r#"{"schema": "Flight"}"#) {
        let plane = planes.iter().find(|plane| Some(&plane.values[0]) == record.get("tailnum"));
        let seats = plane.and_then(|plane| int(&plane.values[1]));
        assert_eq!(int(record.get("seats").unwrap()), seats, "{record:?}");
        let more = seats.zip(rate).map(|(seats, rate)| seats + rate);
        assert_eq!(int(record.get("more").unwrap()), more, "{record:?}");
    }
    assert_eq!(states(db), [("ready", 0); 3]);
    check_sound(db);
}

#[test]
fn no_power_cut_loses_what_is_queued() {
    let seed = seed_from_env(0xC07);
    let disk = SimDisk::new(seed);
    let db = fold_db_within(Arc::new(open_sim(&disk, true).unwrap()), limits(3));
    fill(&db, 150, "keep");
    disk.start_trace();
    for n in 0..if is_full_size() { 30 } else { 4 } {
        let commit = set(&db, n).unwrap();
        disk.acknowledge(commit);
        if n % 2 == 1 {
            wait(&db);
        }
        let text =
            format!(r#"{{"mutation": "upsert", "schema": "Rate", "records": [{{"rate": {n}}}]}}"#);
        disk.acknowledge(mutate(&db, &text).unwrap().commit.0);
    }
    wait(&db);
    db.pool().close().unwrap();
    drop(db);
    let queued = AtomicUsize::new(0);
    let check = |disk: SimDisk, acknowledged: u64, _: u64| {
        let db = fold_db_within(Arc::new(open_sim(&disk, false).unwrap()), limits(3));
        let found = db.stats().unwrap().commit.0;
        if found < acknowledged {
            return Err(format!("commit {found}, not {acknowledged}"));
        }
        let is_queued = states(&db).iter().any(|(state, _)| *state == "stale");
        queued.fetch_add(usize::from(is_queued), Ordering::Relaxed);
        assert_exact(&db);
        Ok(())
    };
    let report = PowerCuts::new(seed).run(&disk.take_trace(), check);
    report.assert_clean();
    let queued = queued.into_inner();
    eprintln!("{report}; something was queued after {queued}");
    assert!(report.points >= 40 && queued > report.points / 8, "{report}, {queued} queued");
}
