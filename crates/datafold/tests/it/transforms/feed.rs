//! Failures among the changes of a commit.

use datafold::FoldDb;
use datafold::data_layer::CommitNumber;
use datafold::engine::{ChangeKind, ChangesQuery};
use datafold::model::Value;

use super::{schema, write};
use crate::harness::{approve, check_sound, memory, mutate, name};

/// The failures and recoveries of the last commit: kind, field, key, code.
fn last(db: &FoldDb) -> Vec<String> {
    check_sound(db);
    let query = ChangesQuery::from(db.stats().unwrap().commit);
    let found = db.changes(&query).unwrap();
    let is_told = |kind| matches!(kind, ChangeKind::Failed | ChangeKind::Recovered);
    let changes = &found.commits[0].changes;
    // Behind what was written.
    let first = changes.iter().position(|change| is_told(change.kind)).unwrap_or(changes.len());
    assert!(changes[first..].iter().all(|change| is_told(change.kind)));
    let told = changes[first..].iter().map(|change| {
        assert_eq!((&change.schema, &change.atom), (&Some(name("S")), &None));
        let code = match &change.value {
            Value::Object(members) => members["code"].as_text().unwrap().to_owned(),
            _ => String::new(),
        };
        let (key, field) = (change.key.as_ref().unwrap(), change.field.as_ref().unwrap());
        format!("{} {field} {key} {code}", change.kind)
    });
    told.collect()
}

#[test]
fn a_commit_tells_what_it_could_not_compute_and_what_it_can_again() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "1 / a")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    assert_eq!(last(&db), [""; 0]);
    write(&db, "update", r#"{"id": 1, "b": 0}"#);
    assert_eq!(last(&db), ["failed q [1] division_by_zero"]);
    write(&db, "update", r#"{"id": 1, "a": 0}"#);
    let both = ["failed q [1] division_by_zero", "failed r [1] division_by_zero"];
    assert_eq!(last(&db), both);
    write(&db, "update", r#"{"id": 1, "c": 0}"#);
    assert_eq!(last(&db), [""; 0], "nothing was tried");
    write(&db, "update", r#"{"id": 1, "a": 4, "b": 2}"#);
    assert_eq!(last(&db), ["recovered q [1] ", "recovered r [1] "]);
    // The place is told, too.
    write(&db, "update", r#"{"id": 1, "b": 0}"#);
    let query = ChangesQuery::from(db.stats().unwrap().commit);
    let changes = db.changes(&query).unwrap().commits.remove(0).changes;
    let Value::Object(error) = &changes.last().unwrap().value else { panic!("{changes:?}") };
    let places = ["line", "column"].map(|name| error[name].clone());
    assert_eq!(places, [Value::Int(1), Value::Int(1)]);
    // A deletion is told as one, and ends the failure.
    mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [[1]]}"#).unwrap();
    assert_eq!(last(&db), [""; 0]);
    assert_eq!(db.schemas().transforms(&name("S")).unwrap()[0].failing, 0);
}

#[test]
fn a_commit_that_only_fails_is_told_and_can_be_taken_back() {
    use datafold::engine::{Revert, RunReport, RunScope};
    use std::ops::ControlFlow;

    let db = memory();
    approve(&db, &schema(&[("q", "a / b")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 0}"#);
    let go_on = |_: &RunReport| ControlFlow::Continue(());
    let q = super::field("q");
    db.run_transform(&name("S"), &q, &RunScope::Failing, go_on).unwrap();
    assert_eq!(last(&db), ["failed q [1] division_by_zero"]);
    let commit = db.stats().unwrap().commit;
    db.revert(&Revert::Commit { commit, force: false }).unwrap();
    let first = CommitNumber(commit.0 - 1);
    db.revert(&Revert::Commit { commit: first, force: false }).unwrap();
    assert_eq!(crate::harness::all(&db, "S"), "");
    check_sound(&db);
}

#[test]
fn schemas_that_were_not_asked_for_are_not_told() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b")]));
    approve(&db, &schema(&[]).replace("\"S\"", "\"T\""));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 0}"#);
    let query = ChangesQuery { schemas: vec![name("T")], ..ChangesQuery::default() };
    let told = db.changes(&query).unwrap();
    let changes = told.commits.iter().flat_map(|commit| &commit.changes);
    assert!(changes.into_iter().all(|change| change.schema == Some(name("T"))));
    db.schemas().block_schema(&name("S"), None).unwrap();
    let told = db.changes(&ChangesQuery::default()).unwrap();
    let mut changes = told.commits.iter().flat_map(|commit| &commit.changes);
    assert!(!changes.any(|change| change.kind == ChangeKind::Failed));
}
