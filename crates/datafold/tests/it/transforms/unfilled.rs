//! Values that are read while they, or the groups that they are made of, are not filled yet, and
//! commits that reach more than they may hold.

use std::ops::ControlFlow;

use datafold::FoldDb;
use datafold::engine::{FoldDbError, Mutation, RecordInput, RunScope};
use datafold::model::{SchemaState, Value};

use super::field;
use crate::harness::{all, approve, check_sound, memory, name};

fn record(values: &[(&str, i64)]) -> RecordInput {
    let values = values.iter();
    values.map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect()
}

fn put(db: &FoldDb, schema: &str, records: Vec<RecordInput>) {
    db.mutate(&Mutation::upsert(name(schema), records).into()).unwrap();
}

/// Every value, of now and of the past, is what its inputs give.
fn assert_derived(db: &FoldDb, schemas: &[&str]) {
    for schema in schemas {
        db.schemas().wait_for_transforms(&name(schema)).unwrap();
    }
    let report = db.verify_derived(|difference| panic!("{difference:?}")).unwrap();
    assert_eq!((report.filling, report.stale, report.failing), (0, 0, 0));
    check_sound(db);
}

/// A record that a commit reaches and that is not filled yet is between two others of the chain.
#[test]
fn what_is_reached_before_it_is_filled_is_computed_once_all_is_there() {
    let db = memory();
    let base = r#"{"name": "B", "key": ["k"], "fields": {
        "k": {"value": {"type": "integer"}}, "x": {"value": {"type": "integer"}}}}"#;
    approve(&db, base);
    let last = 20_000;
    for from in (0..last).step_by(1_000) {
        let records = (from..from + 1_000).map(|k| record(&[("k", k + 1), ("x", k + 1)]));
        put(&db, "B", records.collect());
    }
    let view = |name: &str, field: &str, logic: &str| {
        format!(
            r#"{{"name": "{name}", "key": ["k"], "fields": {{
                "k": {{"value": {{"type": "integer"}}}},
                "x": {{"field_mappers": {{"B": "x"}}}},
                "{field}": {{"transform": {{"logic": "{logic}"}}}}}}}}"#
        )
    };
    approve(&db, &view("B1", "f", "x * 2"));
    let above = r#"{"name": "A", "key": ["k"], "fields": {"k": {"value": {"type": "integer"}},
        "y": {"value": {"type": "integer"}}, "u": {"transform": {"logic": "(B1.f ?? 0) + y"}}}}"#;
    approve(&db, above);
    for (group, kind) in [("G", "sum(u)"), ("H", "min(u)")] {
        approve(
            &db,
            &format!(
                r#"{{"name": "{group}", "key": ["k"], "fields": {{
                    "k": {{"value": {{"type": "integer"}}}}, "note": {{}},
                    "t": {{"transform": {{"logic": "s", "inputs": {{"s": {{
                        "aggregate": "{kind}", "of": "A", "by": ["k"]}}}}}}}}}}}}"#
            ),
        );
        put(&db, group, vec![record(&[("k", last)])]);
    }
    put(&db, "A", vec![record(&[("k", last), ("y", 1)])]);
    approve(&db, &view("B2", "z", "G.t"));
    put(&db, "A", vec![record(&[("k", last), ("y", 5)])]);
    put(&db, "A", vec![record(&[("k", last), ("y", -7)])]);
    assert_derived(&db, &["B1", "A", "G", "H", "B2"]);
    assert_eq!(all(&db, "G"), format!("[{last},null,{}]\n", 2 * last - 7));
}

const SOURCE: &str = r#"{"name": "A", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "k": {"value": {"type": "integer"}}, "y": {}}}"#;

const GROUPS: &str = r#"{"name": "G", "key": ["k"], "fields": {"k": {"value": {"type": "integer"}},
    "n": {"transform": {"logic": "s", "inputs": {
        "s": {"aggregate": "count()", "of": "A", "by": ["k"]}}}},
    "least": {"transform": {"logic": "s", "inputs": {
        "s": {"aggregate": "min(y)", "of": "A", "by": ["k"]}}}},
    "last": {"transform": {"logic": "s", "inputs": {
        "s": {"aggregate": "last(y, id)", "of": "A", "by": ["k"]}}}}}}"#;

/// Carries out `change` in the transaction that approves the groups, in either order.
fn approved_with(is_first: bool, change: &Mutation) -> FoldDb {
    let db = memory();
    approve(&db, SOURCE);
    put(&db, "A", (0..3).map(|id| record(&[("id", id), ("k", 1), ("y", id)])).collect());
    db.schemas().load_text(GROUPS, None).unwrap();
    let done = db.transact(|tx| {
        if is_first {
            tx.mutate(change.clone())?;
        }
        let schemas = db.pool().schemas();
        schemas.set_state_in(tx.data_layer(), &name("G"), SchemaState::Approved, None)?;
        if !is_first {
            tx.mutate(change.clone())?;
        }
        tx.mutate(Mutation::create(name("G"), vec![record(&[("k", 1)])]))?;
        Ok::<_, FoldDbError>(())
    });
    done.unwrap();
    db
}

#[test]
fn an_approval_beside_changes_of_the_records_gathers_each_once() {
    let key = |id: i64| vec![Value::Int(id)];
    for is_first in [false, true] {
        for (change, expected) in [
            (
                Mutation::create(name("A"), vec![record(&[("id", 9), ("k", 1), ("y", -1)])]),
                "4,-1,-1",
            ),
            (Mutation::update(name("A"), vec![record(&[("id", 1), ("y", -1)])]), "3,-1,2"),
            (Mutation::update(name("A"), vec![record(&[("id", 1), ("k", 2)])]), "2,0,2"),
            (Mutation::delete(name("A"), vec![key(2)]), "2,0,1"),
        ] {
            let db = approved_with(is_first, &change);
            assert_derived(&db, &["G"]);
            assert_eq!(all(&db, "G"), format!("[1,{expected}]\n"), "{is_first}, {change:?}");
        }
    }
}

#[test]
fn a_write_is_not_refused_for_the_bytes_of_what_depends_on_it() {
    let db = memory();
    let settings = r#"{"name": "Rates", "fields": {"rate": {"value": {"type": "integer"}}}}"#;
    approve(&db, settings);
    let items = r#"{"name": "Item", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "note": {}, "x": {"transform": {"logic": "id * Rates.rate"}}}}"#;
    approve(&db, items);
    let note = "n".repeat(30_000);
    for from in (0..900).step_by(100) {
        let item = |id: i64| {
            let mut item = record(&[("id", id)]);
            item.insert("note".to_owned(), note.as_str().into());
            item
        };
        put(&db, "Item", (from..from + 100).map(item).collect());
    }
    put(&db, "Rates", vec![record(&[("rate", 2)])]);
    assert_derived(&db, &["Item"]);
    let found = db.get(&name("Item"), &[Value::Int(899)]).unwrap().unwrap();
    assert_eq!(found.get("x"), Some(&Value::Int(1_798)));
}

#[test]
fn a_retry_reads_failures_and_no_other_rows() {
    let db = memory();
    approve(&db, SOURCE);
    approve(&db, GROUPS);
    put(&db, "G", vec![record(&[("k", 1)])]);
    put(&db, "A", (0..50).map(|id| record(&[("id", id), ("k", 1), ("y", id)])).collect());
    for computed in ["n", "least", "last"] {
        let scope = RunScope::Failing;
        let run =
            db.run_transform(&name("G"), &field(computed), &scope, |_| ControlFlow::Continue(()));
        assert_eq!(run.unwrap().records, 0, "{computed}");
    }
}
