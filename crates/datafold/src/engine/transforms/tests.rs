//! Faults that are planted must be stopped, or found.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafold_store::Keyspace;

use crate::data_layer::internal::{Published, ReadPoint, Tracer};
use crate::data_layer::{DerivedDifference, Origin};
use crate::engine::{RunReport, RunScope};
use crate::model::{FieldName, SchemaName, Value};
use crate::planted::{Fault, plant};
use crate::{FoldDb, MutationRequest};

fn db() -> (FoldDb, SchemaName, FieldName) {
    let db = FoldDb::create("memory:").unwrap();
    let text = r#"{"name": "S", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"value": {"type": "integer"}}, "x": {"transform": {"logic": "a + 1"}}}}"#;
    let name = db.schemas().load_text(text, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    (db, name, FieldName::parse("x").unwrap())
}

fn write(db: &FoldDb, kind: &str, a: i64) {
    let text =
        format!(r#"{{"mutation": "{kind}", "schema": "S", "records": [{{"id": 1, "a": {a}}}]}}"#);
    db.mutate(&MutationRequest::parse(&text).unwrap()).unwrap();
}

fn value(db: &FoldDb, schema: &SchemaName, field: &str) -> Value {
    db.get(schema, &[Value::Int(1)]).unwrap().unwrap().get(field).cloned().unwrap()
}

fn differences(db: &FoldDb) -> Vec<DerivedDifference> {
    let mut found = Vec::new();
    let report = db.verify_derived(|difference| {
        found.push(difference);
        ControlFlow::Continue(())
    });
    assert_eq!(report.unwrap().differences, found.len() as u64);
    found
}

#[test]
fn a_panic_in_an_evaluation_is_a_failure_of_its_field() {
    let (db, schema, field) = db();
    write(&db, "create", 1);
    plant(Some(Fault::EvaluationPanics));
    write(&db, "update", 5);
    plant(None);
    // The mutation and the node went on, and the last good value is there.
    assert_eq!(value(&db, &schema, "a"), Value::Int(5));
    assert_eq!(value(&db, &schema, "x"), Value::Int(2));
    let failures = db.schemas().transform_failures(&schema, &field, 9).unwrap();
    assert_eq!(failures[0].1.code, "panic");
    write(&db, "update", 6);
    assert_eq!(value(&db, &schema, "x"), Value::Int(7));
    assert!(db.schemas().transform_failures(&schema, &field, 9).unwrap().is_empty());
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_failure_that_no_commit_tells_is_found() {
    let (db, ..) = db();
    plant(Some(Fault::EvaluationPanics));
    write(&db, "create", 1);
    assert!(db.verify().unwrap().is_sound());
    plant(None);
    write(&db, "update", 2);
    assert!(db.verify().unwrap().is_sound());
    plant(Some(Fault::FailureUntold));
    // The value is too large to be added to.
    write(&db, "update", i64::MAX);
    plant(None);
    let problems = db.verify().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("fails for other records than it does"), "{problems:?}");
}

#[test]
fn a_revision_that_is_not_registered_any_more_is_said_to_be_none() {
    let (db, schema, field) = db();
    write(&db, "create", 1);
    let ops = db.pool().operations();
    let point = ops.now();
    let id = db.schemas().transforms(&schema).unwrap()[0].revision;
    // No call of the library takes a transform away whose results stay.
    let (keyspace, key) = point.rows.computed_field(id);
    assert_eq!(keyspace, Keyspace::Catalogue);
    let row = point.published.get(keyspace, &key).unwrap();
    let rows = [(&key, row.as_ref(), None)].into_iter();
    let catalogue = Arc::new(point.published.catalogue.with_rows(rows).unwrap());
    let published = Arc::new(Published { catalogue, ..Published::clone(&point.published) });
    let point = ReadPoint { published, ..point };
    let entry = point.published.catalogue.get("S").unwrap();
    let key = entry.schema.key_of(&[Value::Int(1)]).unwrap();
    let found = Tracer::new(&point, ops.origin()).trace(entry, &key, &field).unwrap();
    assert_eq!((found.value, found.origin), (Value::Int(2), Origin::Unregistered(id)));
}

#[test]
fn a_failure_that_is_none_any_more_is_found() {
    let (db, _, field) = db();
    plant(Some(Fault::EvaluationPanics));
    write(&db, "create", 1);
    plant(None);
    let found = differences(&db);
    assert_eq!((found.len(), &found[0].field), (1, &field));
    assert_eq!((&found[0].stored, &found[0].computed), (&Value::Null, &Ok(Value::Int(2))));
}

#[test]
fn a_result_that_was_not_written_is_found_and_a_run_mends_it() {
    let (db, schema, field) = db();
    write(&db, "create", 1);
    assert_eq!(differences(&db), []);
    plant(Some(Fault::ResultKept));
    write(&db, "update", 5);
    plant(None);
    let found = differences(&db);
    let expected = DerivedDifference {
        schema: schema.clone(),
        key: found[0].key.clone(),
        field: field.clone(),
        commit: db.stats().unwrap().commit,
        stored: Value::Int(2),
        computed: Ok(Value::Int(6)),
    };
    assert_eq!(found, [expected]);
    let go_on = |_: &RunReport| ControlFlow::Continue(());
    let report = db.run_transform(&schema, &field, &RunScope::All, go_on).unwrap();
    assert_eq!((report.records, report.atoms), (1, 1));
    assert_eq!((value(&db, &schema, "x"), differences(&db)), (Value::Int(6), Vec::new()));
}

#[test]
fn an_element_that_stays_is_found_in_present_and_past_values() {
    let db = FoldDb::create("memory:").unwrap();
    let text = r#"{"name": "S", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "a": {"value": {"type": "integer"}},
        "x": {"field_type": "Range", "transform": {"logic": "{k: a, l: a + 1}"}}}}"#;
    let name = db.schemas().load_text(text, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    write(&db, "create", 1);
    assert_eq!(differences(&db), []);
    plant(Some(Fault::ElementKept));
    write(&db, "update", 5);
    plant(None);
    let elements = |k: i64, l: i64| {
        Value::from_iter([("k".to_owned(), Value::Int(k)), ("l".to_owned(), Value::Int(l))])
    };
    assert_eq!(value(&db, &name, "x"), elements(1, 6));
    let of_commit =
        |found: &[DerivedDifference]| found.iter().map(|found| found.commit.0).collect::<Vec<_>>();
    let now = db.stats().unwrap().commit.0;
    let found = differences(&db);
    // The value of now is of that commit as well.
    assert_eq!(of_commit(&found), [now, now]);
    assert_eq!((&found[0].stored, &found[0].computed), (&elements(1, 6), &Ok(elements(5, 6))));
    write(&db, "update", 7);
    assert_eq!(value(&db, &name, "x"), elements(7, 8));
    assert_eq!(of_commit(&differences(&db)), [now]);
}

fn totals() -> (FoldDb, SchemaName) {
    let (db, ..) = db();
    let text = r#"{"name": "Total", "fields": {"note": {}, "of": {"transform": {
        "inputs": {"all": {"aggregate": "sum(a)", "of": "S"}}, "logic": "all"}}}}"#;
    let name = db.schemas().load_text(text, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    let text = r#"{"mutation": "upsert", "schema": "Total", "records": [{"note": 1}]}"#;
    db.mutate(&MutationRequest::parse(text).unwrap()).unwrap();
    (db, name)
}

fn total(db: &FoldDb, schema: &SchemaName) -> Value {
    db.get(schema, &[]).unwrap().unwrap().get("of").cloned().unwrap()
}

#[test]
fn a_contribution_that_stays_is_found_in_present_and_past_values() {
    let (db, schema) = totals();
    write(&db, "create", 5);
    assert_eq!(total(&db, &schema), Value::Int(5));
    plant(Some(Fault::ContributionKept));
    write(&db, "update", 7);
    plant(None);
    assert_eq!(total(&db, &schema), Value::Int(12));
    let commit = |found: &DerivedDifference| found.commit.0;
    let now = db.stats().unwrap().commit.0;
    let found = differences(&db);
    // The value of now is of that commit as well.
    assert_eq!(found.iter().map(commit).collect::<Vec<_>>(), [now, now]);
    assert_eq!(found[0].computed, Ok(Value::Int(7)));
    write(&db, "update", 8);
    let found = differences(&db);
    assert_eq!(found.iter().map(commit).collect::<Vec<_>>(), [now + 1, now, now + 1]);
}

#[test]
fn a_panic_in_an_aggregate_is_a_failure_of_its_field() {
    let (db, schema) = totals();
    plant(Some(Fault::EvaluationPanics));
    write(&db, "create", 5);
    plant(None);
    let of = FieldName::parse("of").unwrap();
    let failures = db.schemas().transform_failures(&schema, &of, 9).unwrap();
    // The evaluation itself panics too.
    assert_eq!((failures.len(), failures[0].1.code.as_str()), (1, "panic"));
    assert_eq!(value(&db, &SchemaName::parse("S").unwrap(), "a"), Value::Int(5));
}
