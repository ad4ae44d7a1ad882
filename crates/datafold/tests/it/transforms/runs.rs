//! Computing again, trying, and the verification of computed values.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafold::FoldDb;
use datafold::engine::{RunReport, RunScope, Trial, TrialRecords, TrialReport};
use datafold::model::{Schema, Value};

use super::{field, schema, value, write};
use crate::harness::{all, approve, check_sound, memory, name};

fn run(db: &FoldDb, of: &str, scope: RunScope) -> RunReport {
    let go_on = |_: &RunReport| ControlFlow::Continue(());
    db.run_transform(&name("S"), &field(of), &scope, go_on).unwrap()
}

/// Nothing differs; answers how many values were computed and how many fail.
fn verified(db: &FoldDb) -> (u64, u64) {
    let report = db.verify_derived(|found| panic!("{found:?}")).unwrap();
    assert_eq!((report.differences, report.unregistered, report.filling), (0, 0, 0));
    (report.values, report.failing)
}

#[test]
fn a_run_works_any_number_of_times_and_writes_only_what_is_new() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b"), ("more", "sum + 1")]));
    for id in 0..300 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": {id}, "b": 1}}"#));
    }
    let commit = db.stats().unwrap().commit;
    for _ in 0..3 {
        let report = run(&db, "sum", RunScope::All);
        assert_eq!((report.records, report.atoms, report.commits, report.failing), (300, 0, 0, 0));
        assert_eq!(report.commit, commit);
    }
    let one = RunScope::Keys(vec![vec![Value::Int(7)], vec![Value::Int(8)]]);
    assert_eq!(run(&db, "more", one).records, 2);
    assert_eq!(db.stats().unwrap().commit, commit, "there is nothing to write");
    // Deleted records are passed over.
    let text = r#"{"mutation": "delete", "schema": "S", "keys": [[1], [299]]}"#;
    crate::harness::mutate(&db, text).unwrap();
    assert_eq!(run(&db, "sum", RunScope::All).atoms, 0);
    let gone = RunScope::Keys(vec![vec![Value::Int(1)]]);
    let never = |_: &RunReport| ControlFlow::Continue(());
    let error = db.run_transform(&name("S"), &field("sum"), &gone, never).unwrap_err();
    assert_eq!(error.to_string(), "record `[1] of S` does not exist");
    let error = db.run_transform(&name("S"), &field("a"), &RunScope::All, never).unwrap_err();
    assert_eq!(error.to_string(), "transform `S.a` does not exist");
    check_sound(&db);
}

#[test]
fn a_run_can_be_ended_between_its_commits() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b")]));
    for id in 0..300 {
        write(&db, "create", &format!(r#"{{"id": {id}}}"#));
    }
    let mut steps = 0;
    let stop = |_: &RunReport| {
        steps += 1;
        if steps == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = db.run_transform(&name("S"), &field("sum"), &RunScope::All, stop).unwrap();
    assert_eq!(report.records, 256, "two commits of 128 records");
}

#[test]
fn a_retry_counts_again_what_fails_and_refuses_nothing() {
    let db = memory();
    let text = schema(&[("q", "a / b")]);
    approve(&db, &text);
    for id in 0..200 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": 6, "b": {}}}"#, id % 2));
    }
    let report = run(&db, "q", RunScope::Failing);
    assert_eq!((report.records, report.failing, report.atoms, report.commits), (100, 100, 0, 1));
    let found = db.schemas().transform_failures(&name("S"), &field("q"), 1).unwrap();
    assert_eq!(found[0].1.count, 2);
    assert_eq!(verified(&db), (100, 100));
    check_sound(&db);
}

#[test]
fn a_rejecting_transform_does_not_refuse_a_run() {
    let db = memory();
    approve(&db, &schema(&[]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 0}"#);
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"field_mappers": {"S": "a"}}, "b": {"field_mappers": {"S": "b"}},
        "q": {"transform": {"logic": "a / b", "on_error": "reject"}}}}"#;
    approve(&db, view);
    db.schemas().wait_for_transforms(&name("V")).unwrap();
    let go_on = |_: &RunReport| ControlFlow::Continue(());
    let report = db.run_transform(&name("V"), &field("q"), &RunScope::All, go_on).unwrap();
    assert_eq!((report.records, report.failing), (1, 1));
    check_sound(&db);
}

fn tried(db: &FoldDb, trial: &Trial) -> (TrialReport, Vec<String>) {
    let commit = db.stats().unwrap().commit;
    let report = db.try_transforms(trial).unwrap();
    assert_eq!(db.stats().unwrap().commit, commit, "nothing is written");
    let told = report.records.iter().map(|record| {
        let values = record.values.iter().map(|value| match &value.error {
            Some(error) => error.code.clone(),
            None => format!("{}>{}", value.stored.to_json(), value.computed.to_json()),
        });
        format!("{} {}", record.key, values.collect::<Vec<_>>().join(" "))
    });
    let told = told.collect();
    (report, told)
}

fn trial(records: TrialRecords) -> Trial {
    Trial { schema: name("S"), field: None, definition: None, records }
}

fn parsed(text: &str) -> Option<Arc<Schema>> {
    Some(Arc::new(Schema::parse(text).unwrap().schema))
}

#[test]
fn registered_transforms_are_tried_on_records_and_on_what_they_could_be() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "q + 1")]));
    for (id, b) in [(1, 2), (2, 0), (3, 3)] {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": 6, "b": {b}}}"#));
    }
    crate::harness::mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [[1]]}"#).unwrap();
    let (report, told) = tried(&db, &trial(TrialRecords::First(5)));
    assert_eq!(report.fields, [field("q"), field("r")]);
    assert_eq!(report.existing, 2);
    assert_eq!(told, ["[2] division_by_zero null>null", "[3] 2>2 3>3"]);
    let keys = TrialRecords::Keys(vec![vec![3.into()]]);
    let one = Trial { field: Some(field("r")), ..trial(keys) };
    assert_eq!(tried(&db, &one).1, ["[3] 3>3"]);
    // Given ones are written over what is there.
    let record = |text: &str| match Value::parse_json(text).unwrap() {
        Value::Object(members) => members,
        _ => panic!(),
    };
    let given = [r#"{"id": 3, "b": 1}"#, r#"{"id": 9, "a": 8, "b": 4}"#].map(record).to_vec();
    assert_eq!(
        tried(&db, &trial(TrialRecords::Given(given))).1,
        ["[3] 2>6 3>7", "[9] null>2 null>3"]
    );
    let wrong = vec![record(r#"{"id": 3, "b": "x"}"#)];
    let error = db.try_transforms(&trial(TrialRecords::Given(wrong))).unwrap_err();
    assert_eq!(error.code(), "invalid_value");
    let missing = TrialRecords::Keys(vec![vec![77.into()]]);
    let error = db.try_transforms(&trial(missing)).unwrap_err();
    assert_eq!(error.to_string(), "record `[77] of S` does not exist");
}

#[test]
fn a_definition_is_tried_before_it_is_approved() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "q + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    // The same name and other logic: on the records that are there, by the names of fields.
    let changed = schema(&[("new", "r * 100"), ("r", "q * 10"), ("q", "b / a")]);
    let with = |text: &str, schema: &str| Trial {
        schema: name(schema),
        definition: parsed(text),
        ..trial(TrialRecords::First(10))
    };
    let (report, told) = tried(&db, &with(&changed, "S"));
    assert_eq!(report.fields, ["new", "r", "q"].map(field));
    assert_eq!(report.existing, 1);
    let third = 1.0 / 3.0;
    assert_eq!(told, [format!("[1] null>{} 4>{} 3>{third}", third * 10.0 * 100.0, third * 10.0)]);
    // A new schema that maps from it.
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"field_mappers": {"S": "a"}}, "less": {"transform": {"logic": "a - 1"}}}}"#;
    assert_eq!(tried(&db, &with(view, "V")).1, ["[1] null>5"]);
    assert!(db.pool().schemas().entry("V").is_none());
    // What is wrong is what approval would say.
    let wrong = schema(&[("q", "a +")]).replace("\"S\"", "\"W\"");
    let error = db.try_transforms(&with(&wrong, "W")).unwrap_err();
    assert_eq!(error.code(), "invalid_transform");
    let other_key = changed.replace(r#""key": ["id"]"#, r#""key": ["id", "a"]"#);
    let error = db.try_transforms(&with(&other_key, "S")).unwrap_err();
    assert!(error.to_string().contains("has another key"), "{error}");
    assert_eq!(value(&db, 1, "q"), Value::Int(3));
    check_sound(&db);
}

#[test]
fn every_version_is_computed_again_also_past_ones_and_those_of_ended_lives() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "q + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    assert_eq!(verified(&db), (2, 0));
    write(&db, "update", r#"{"id": 1, "b": 3}"#);
    assert_eq!(verified(&db), (4, 0), "two versions of two fields");
    write(&db, "update", r#"{"id": 1, "b": 0}"#);
    // The result that stays was right in its commit, and `r` is what `q` is.
    assert_eq!(verified(&db), (4, 1));
    crate::harness::mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [[1]]}"#).unwrap();
    write(&db, "create", r#"{"id": 1, "a": 1, "b": 1}"#);
    assert_eq!(verified(&db), (6, 0));
    assert_eq!(all(&db, "S"), "[1,1,1,null,1,2]\n");
}

#[test]
fn what_is_not_computed_yet_is_told_apart() {
    let db = memory();
    approve(&db, &schema(&[]));
    for id in 0..600 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": 1}}"#));
    }
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"field_mappers": {"S": "a"}}, "x": {"transform": {"logic": "a + 1"}}}}"#;
    db.schemas().load_text(view, None).unwrap();
    db.schemas().approve_schema(&name("V")).unwrap();
    // Whatever has been computed meanwhile.
    let report = db.verify_derived(|found| panic!("{found:?}")).unwrap();
    assert_eq!(report.filling + report.values, 600);
    db.schemas().wait_for_transforms(&name("V")).unwrap();
    assert_eq!(verified(&db), (600, 0));
}
