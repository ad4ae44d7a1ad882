//! Computed fields: what is approved, when they are computed, and what failures leave.

mod aggregates;
mod approval;
mod elements;
mod failures;
mod feed;
mod filling;
mod lineage;
mod model;
mod model_others;
mod others;
mod outputs;
mod queue;
mod ranges;
mod revisions;
mod runs;
mod unfilled;

use datafold::FoldDb;
use datafold::engine::{Mutation, RecordInput};
use datafold::model::{FieldName, SchemaName, Value};

use crate::harness::{all, approve, check_sound, memory, mutate, name, query};

/// A schema with the key `id`, integers `a`, `b`, `c`, and computed fields.
pub(super) fn schema(computed: &[(&str, &str)]) -> String {
    let computed: Vec<String> = computed
        .iter()
        .map(|(field, logic)| {
            let logic = Value::from(*logic).to_json();
            format!(r#""{field}": {{"writable": false, "transform": {{"logic": {logic}}}}}"#)
        })
        .collect();
    let integers = ["id", "a", "b", "c"];
    let fields = integers.map(|name| format!(r#""{name}": {{"value": {{"type": "integer"}}}}"#));
    let fields = fields.into_iter().chain(computed).collect::<Vec<_>>().join(", ");
    format!(r#"{{"name": "S", "key": ["id"], "fields": {{{fields}}}}}"#)
}

/// Carries out a mutation of `S` with one record.
pub(super) fn write(db: &FoldDb, kind: &str, record: &str) {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "S", "records": [{record}]}}"#);
    mutate(db, &text).unwrap();
}

/// A field of the record with this key.
pub(super) fn value(db: &FoldDb, id: i64, field: &str) -> Value {
    let record = db.get(&name("S"), &[Value::Int(id)]).unwrap().unwrap();
    record.get(field).cloned().unwrap()
}

pub(super) fn field(text: &str) -> FieldName {
    FieldName::parse(text).unwrap()
}

/// Who wrote the versions of a field, the newest first, with the commits.
fn writers(db: &FoldDb, id: i64, name_of: &str) -> Vec<(String, u64)> {
    let key = [Value::Int(id)];
    let atoms = db.history(&name("S"), &key, Some(&field(name_of)), None, 100).unwrap();
    atoms.iter().map(|atom| (atom.writer.to_string(), atom.commit.0)).collect()
}

#[test]
fn a_result_is_written_in_the_commit_of_its_inputs() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b")]));
    write(&db, "create", r#"{"id": 1, "a": 10, "b": 5}"#);
    assert_eq!(value(&db, 1, "sum"), Value::Int(15));
    let commit = db.stats().unwrap().commit.0;
    let revision = db.schemas().transforms(&name("S")).unwrap()[0].revision;
    // The derived atom names the revision of its transform; the others say who wrote them.
    assert_eq!(writers(&db, 1, "sum"), [(format!("transform-{revision}"), commit)]);
    assert_eq!(writers(&db, 1, "a"), [("owner".to_owned(), commit)]);
    write(&db, "update", r#"{"id": 1, "a": 20}"#);
    assert_eq!(value(&db, 1, "sum"), Value::Int(25));
    // As of then it is as it was then.
    let past = format!(r#"{{"schema": "S", "select": ["sum"], "as_of": {commit}}}"#);
    assert_eq!(query(&db, &past).unwrap().records[0].values, [Value::Int(15)]);
    check_sound(&db);
}

#[test]
fn inputs_10_20_10_give_the_right_third_result() {
    let db = memory();
    approve(&db, &schema(&[("twice", "a * 2")]));
    write(&db, "create", r#"{"id": 1, "a": 10}"#);
    for (a, twice) in [(20, 40), (10, 20), (10, 20), (20, 40)] {
        write(&db, "update", &format!(r#"{{"id": 1, "a": {a}}}"#));
        assert_eq!(value(&db, 1, "twice"), Value::Int(twice));
    }
}

#[test]
fn a_chain_is_computed_to_its_end_each_field_once() {
    let db = memory();
    // Declared backwards, and with a diamond: `d` reads `b1` and `b2`, which both read `x`.
    let computed =
        [("d", "b1 + b2"), ("b2", "x * 3"), ("b1", "x * 2"), ("x", "a + 1"), ("e", "d - c")];
    approve(&db, &schema(&computed));
    write(&db, "create", r#"{"id": 1, "a": 1, "c": 1}"#);
    assert_eq!(value(&db, 1, "e"), Value::Int(9));
    let text = r#"{"mutation": "update", "schema": "S", "records": [{"id": 1, "a": 2}]}"#;
    let receipt = mutate(&db, text).unwrap();
    assert_eq!(receipt.atoms, 6, "a, x, b1, b2, d and e, each once");
    assert_eq!(value(&db, 1, "e"), Value::Int(14));
    // What does not depend on `c` is left alone.
    let text = r#"{"mutation": "update", "schema": "S", "records": [{"id": 1, "c": 0}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 2, "c and e");
    check_sound(&db);
}

#[test]
fn an_unchanged_result_writes_no_atom_and_ends_the_chain() {
    let db = memory();
    approve(&db, &schema(&[("sign", "a > 0"), ("text", r#"sign ? "up" : "down""#)]));
    write(&db, "create", r#"{"id": 1, "a": 1}"#);
    let text = r#"{"mutation": "update", "schema": "S", "records": [{"id": 1, "a": 7}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 1, "a alone");
    assert_eq!(writers(&db, 1, "sign").len(), 1);
    let text = r#"{"mutation": "update", "schema": "S", "records": [{"id": 1, "a": -7}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 3);
    assert_eq!(all(&db, "S"), "[1,-7,null,null,false,\"down\"]\n");
}

#[test]
fn a_new_record_has_all_its_computed_fields_also_those_without_inputs() {
    let db = memory();
    approve(&db, &schema(&[("one", "1"), ("key", "id * 10"), ("none", "b == null")]));
    write(&db, "create", r#"{"id": 4}"#);
    assert_eq!(all(&db, "S"), "[4,null,null,null,1,40,true]\n");
    // Deleted and created again, its life begins anew.
    let delete = Mutation::delete(name("S"), vec![vec![Value::Int(4)]]);
    db.mutate(&delete.into()).unwrap();
    write(&db, "create", r#"{"id": 4, "b": 1}"#);
    assert_eq!(all(&db, "S"), "[4,null,1,null,1,40,false]\n");
    check_sound(&db);
}

#[test]
fn computed_fields_are_indexed_filtered_and_sorted_like_others() {
    let db = memory();
    let text = schema(&[("sum", "a + b")]);
    let text = text.replacen("\"key\"", r#""indexes": [{"fields": ["sum"]}], "key""#, 1);
    approve(&db, &text);
    for id in 0..20 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": {id}, "b": {}}}"#, id % 3));
    }
    write(&db, "update", r#"{"id": 3, "a": 90}"#);
    let request = r#"{"schema": "S", "select": ["id"], "where": "sum > 18", "sort": ["-sum"]}"#;
    let ids: Vec<Value> =
        query(&db, request).unwrap().records.into_iter().map(|r| r.values[0].clone()).collect();
    assert_eq!(ids, [3, 19, 17].map(Value::Int));
    let request = datafold::QueryRequest::parse(request).unwrap();
    assert!(format!("{:?}", db.explain(&request).unwrap()).contains("sum"), "the index is used");
    check_sound(&db);
}

#[test]
fn a_transaction_sees_what_its_writes_compute() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b"), ("more", "sum + 1")]));
    let schema = name("S");
    let record = |a: i64, b: i64| -> RecordInput {
        let values = [("id", 1), ("a", a), ("b", b)];
        values.map(|(name, value)| (name.to_owned(), Value::Int(value))).into()
    };
    let run = db.transact(|tx| {
        tx.mutate(Mutation::create(schema.clone(), vec![record(1, 2)]))?;
        let key = [Value::Int(1)];
        assert_eq!(tx.value(&schema, &key, &field("more"))?, Some(Value::Int(4)));
        tx.mutate(Mutation::update(schema.clone(), vec![record(5, 5)]))?;
        let found = tx.get(&schema, &key)?.unwrap();
        assert_eq!(found.get("sum"), Some(&Value::Int(10)));
        Ok::<_, datafold::engine::FoldDbError>(())
    });
    assert_eq!(run.unwrap().1.atoms, 4, "each cell has one version, whatever was between");
    assert_eq!(value(&db, 1, "more"), Value::Int(11));
}

#[test]
fn nobody_writes_a_computed_field_whatever_writable_says() {
    let db = memory();
    let open = schema(&[("sum", "a + b")]).replace(r#""writable": false, "#, "");
    approve(&db, &open);
    for kind in ["create", "upsert"] {
        let text = format!(
            r#"{{"mutation": "{kind}", "schema": "S", "records": [{{"id": 1, "sum": 5}}]}}"#
        );
        let error = mutate(&db, &text).unwrap_err();
        assert_eq!(error.to_string(), "record [1]: S.sum cannot be written: it is computed");
    }
}

#[test]
fn transforms_work_on_for_blocked_and_unloaded_schemas_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("db").display().to_string();
    let db = FoldDb::create(&url).unwrap();
    approve(&db, &schema(&[("sum", "a + b")]));
    // A second schema over the same records computes a field of its own.
    let view = r#"{"name": "View", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}}, "total": {"field_mappers": {"S": "sum"}},
        "half": {"transform": {"logic": "total / 2"}}}}"#;
    approve(&db, view);
    db.schemas().block_schema(&name("View"), None).unwrap();
    write(&db, "create", r#"{"id": 1, "a": 3, "b": 5}"#);
    db.pool().close().unwrap();
    drop(db);
    let db = FoldDb::open(&url).unwrap();
    write(&db, "update", r#"{"id": 1, "a": 7}"#);
    db.schemas().approve_schema(&name("View")).unwrap();
    assert_eq!(all(&db, "View"), "[1,12,6]\n");
    let states = |of: &str| -> Vec<&str> {
        let found = db.schemas().transforms(&name(of)).unwrap();
        found.iter().map(|transform| transform.state).collect()
    };
    assert_eq!((states("S"), states("View")), (vec!["ready"], vec!["ready"]));
    check_sound(&db);
}

#[test]
fn reverting_leaves_computed_fields_to_their_inputs() {
    use datafold::engine::Revert;

    let db = memory();
    approve(&db, &schema(&[("sum", "a + b")]));
    write(&db, "create", r#"{"id": 1, "a": 1, "b": 1}"#);
    let first = db.stats().unwrap().commit;
    write(&db, "update", r#"{"id": 1, "a": 5}"#);
    let second = db.stats().unwrap().commit;
    write(&db, "update", r#"{"id": 1, "b": 7}"#);
    // The sum has changed since, but follows from what has not.
    db.revert(&Revert::Commit { commit: second, force: false }).unwrap();
    assert_eq!(all(&db, "S"), "[1,1,7,null,8]\n");
    let (schema, key) = (name("S"), vec![Value::Int(1)]);
    db.revert(&Revert::Record { schema, key, to: first.to_string() }).unwrap();
    assert_eq!(all(&db, "S"), "[1,1,1,null,2]\n");
    check_sound(&db);
}

#[test]
fn a_schema_without_key_computes_when_it_is_written() {
    let db = memory();
    let text = r#"{"name": "Cart", "fields": {"net": {"value": {"type": "number"}},
        "gross": {"transform": "transform tax_2024 { logic: { return net * 1.2; } }"}}}"#;
    approve(&db, text);
    assert_eq!(all(&db, "Cart"), "[null,null]\n");
    let upsert = r#"{"mutation": "upsert", "schema": "Cart", "records": [{"net": 10}]}"#;
    mutate(&db, upsert).unwrap();
    assert_eq!(all(&db, "Cart"), "[10,12]\n");
    let found = db.schemas().transforms(&SchemaName::parse("Cart").unwrap()).unwrap();
    assert_eq!(found[0].inputs, ["Cart.net"]);
    assert!(found[0].definition.declaration.as_ref().unwrap().starts_with("transform tax_2024"));
}

#[test]
fn many_new_records_with_many_fields_are_computed_at_once() {
    let db = memory();
    let computed: Vec<_> = (0..12).map(|at| (format!("x{at}"), format!("a + {at}"))).collect();
    let computed: Vec<_> =
        computed.iter().map(|(field, logic)| (field.as_str(), logic.as_str())).collect();
    let plain: String = (0..20).map(|at| format!(r#""p{at}": {{}}, "#)).collect();
    approve(&db, &schema(&computed).replacen(r#""x0""#, &format!(r#"{plain}"x0""#), 1));
    let fields: String = (0..20).map(|at| format!(r#", "p{at}": {at}"#)).collect();
    let record = |id: usize| format!(r#"{{"id": {id}, "a": {id}{fields}}}"#);
    write(&db, "create", &(0..1_000).map(record).collect::<Vec<_>>().join(", "));
    // Nothing is left to the background: a new record has one row, however many fields it has.
    let commit = db.stats().unwrap().commit;
    let found = db.schemas().transforms(&name("S")).unwrap();
    assert!(found.iter().all(|of| (of.state, of.queued) == ("ready", 0)), "{found:?}");
    let text = format!(
        r#"{{"schema": "S", "select": ["x11"], "key": {{"exact": [999]}}, "as_of": {commit}}}"#
    );
    assert_eq!(query(&db, &text).unwrap().records[0].values, [Value::Int(1_010)]);
    check_sound(&db);
}
