//! Fields that a transform of another schema computes.

use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{Moment, Origin};
use datafold::engine::{ImportFormat, ImportOptions, Trial, TrialRecords};
use datafold::model::{Schema, Value};

use super::field;
use crate::harness::{all, approve, check_sound, memory, mutate, name};

const ORDER: &str = r#"{"name": "Order", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "net": {"value": {"type": "number"}},
    "total": {"writable": false, "value": {"type": "number"}},
    "is_large": {"transform": {"logic": "total > 100"}}}}"#;

/// What is added to orders: the gross is computed for each.
const TAX: &str = r#"{"name": "Tax", "key": ["order"], "fields": {
    "order": {"value": {"type": "integer"}}, "rate": {"value": {"type": "number"}},
    "gross": {"transform": {"inputs": ["Order.net", "Tax.rate"],
        "logic": "Order.net * (1 + (rate ?? 0.5))", "output": "Order.total"}}}}"#;

fn write(db: &FoldDb, kind: &str, schema: &str, record: &str) -> u64 {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "{schema}", "records": [{record}]}}"#);
    mutate(db, &text).unwrap().commit.0
}

fn taxed() -> FoldDb {
    let db = memory();
    approve(&db, ORDER);
    approve(&db, TAX);
    db
}

fn verified(db: &FoldDb) -> u64 {
    check_sound(db);
    let report = db.verify_derived(|difference| panic!("{difference:?}")).unwrap();
    assert_eq!(report.differences, 0);
    report.values
}

/// Why a schema is not approved beside `Order`.
fn refusal(text: &str) -> String {
    let db = memory();
    approve(&db, ORDER);
    let name = db.schemas().load_text(text, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap_err().to_string()
}

#[test]
fn results_go_to_the_record_with_the_same_key_in_the_same_commit() {
    let db = taxed();
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}"#);
    assert_eq!(all(&db, "Order"), "[1,80,120,true]\n");
    let commit = write(&db, "create", "Tax", r#"{"order": 1, "rate": 0.25}"#);
    assert_eq!(all(&db, "Order"), "[1,80,100,false]\n");
    assert_eq!(db.stats().unwrap().commit.0, commit);
    write(&db, "update", "Order", r#"{"id": 1, "net": 200}"#);
    assert_eq!(all(&db, "Order"), "[1,200,250,true]\n");
    // Where there is no order nothing is computed, and the field that defines it has no values.
    write(&db, "create", "Tax", r#"{"order": 2, "rate": 0.5}"#);
    assert_eq!(all(&db, "Tax"), "[1,0.25,null]\n[2,0.5,null]\n");
    write(&db, "create", "Order", r#"{"id": 2, "net": 10}"#);
    assert_eq!(all(&db, "Order"), "[1,200,250,true]\n[2,10,15,false]\n");
    mutate(&db, r#"{"mutation": "delete", "schema": "Tax", "keys": [1]}"#).unwrap();
    assert_eq!(all(&db, "Order"), "[1,200,300,true]\n[2,10,15,false]\n");
    // Every version of the totals, and of what is computed from them.
    assert!(verified(&db) > 8);
}

#[test]
fn nobody_else_writes_the_field() {
    let db = taxed();
    let text = r#"{"mutation": "create", "schema": "Order", "records": [{"id": 1, "total": 1}]}"#;
    let error = mutate(&db, text).unwrap_err().to_string();
    assert!(error.contains("total"), "{error}");
    let text = r#"{"mutation": "create", "schema": "Tax", "records": [{"order": 1, "gross": 1}]}"#;
    assert!(mutate(&db, text).unwrap_err().to_string().contains("gross"));
    // An import passes over what its rows say of it.
    let rows = "id,net,total\n1,80,7\n";
    let options = ImportOptions::new(ImportFormat::Csv);
    let report = db
        .import(&name("Order"), rows.as_bytes(), &options, |_| std::ops::ControlFlow::Continue(()));
    assert_eq!(report.unwrap().imported, 1);
    assert_eq!(all(&db, "Order"), "[1,80,120,true]\n");
}

#[test]
fn records_that_are_there_are_computed_when_it_is_approved() {
    let db = memory();
    approve(&db, ORDER);
    for id in 0..300 {
        write(&db, "create", "Order", &format!(r#"{{"id": {id}, "net": {id}}}"#));
    }
    assert_eq!(db.schemas().transforms(&name("Order")).unwrap().len(), 1);
    approve(&db, TAX);
    db.schemas().wait_for_transforms(&name("Tax")).unwrap();
    let record = db.get(&name("Order"), &[Value::Int(200)]).unwrap().unwrap();
    assert_eq!(record.get("total"), Some(&Value::Int(300)));
    assert_eq!(record.get("is_large"), Some(&Value::Bool(true)));
    let found = db.schemas().transforms(&name("Order")).unwrap();
    let fields: Vec<_> = found.iter().map(|of| (of.field.as_str(), of.state)).collect();
    assert_eq!(fields, [("total", "ready"), ("is_large", "ready")]);
    assert_eq!(found[0].defined_in.as_deref(), Some("Tax.gross"));
    assert_eq!(found[0].inputs, ["Order.net", "Tax.rate"]);
    let defined = db.schemas().transforms(&name("Tax")).unwrap();
    assert_eq!((defined.len(), &defined[0].schema), (1, &name("Order")));
    assert!(verified(&db) >= 600);
}

#[test]
fn a_schema_without_key_computes_for_all_records() {
    let db = memory();
    approve(&db, ORDER);
    let text = r#"{"name": "Rate", "fields": {"percent": {},
        "sum": {"transform": {"logic": "Order.net * (1 + percent / 100)",
                              "output": "Order.total"}}}}"#;
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}, {"id": 2, "net": 90}"#);
    approve(&db, text);
    write(&db, "upsert", "Rate", r#"{"percent": 50}"#);
    assert_eq!(all(&db, "Order"), "[1,80,120,true]\n[2,90,135,true]\n");
    write(&db, "upsert", "Rate", r#"{"percent": 0}"#);
    assert_eq!(all(&db, "Order"), "[1,80,80,false]\n[2,90,90,false]\n");
    verified(&db);
}

#[test]
fn why_leads_to_what_both_schemas_have() {
    let db = taxed();
    write(&db, "create", "Tax", r#"{"order": 1, "rate": 0.25}"#);
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}"#);
    let why = db.why(&name("Order"), &[Value::Int(1)], &field("total"), Moment::Now).unwrap();
    assert_eq!(why.lineage.value, Value::Int(100));
    let Origin::Computed(derivation) = &why.lineage.origin else { panic!("{why:?}") };
    let mut inputs: Vec<_> = derivation
        .inputs
        .iter()
        .map(|input| (format!("{}.{}", input.schema, input.field), input.value.to_json()))
        .collect();
    inputs.sort();
    let expected = [("Order.net", "80"), ("Tax.rate", "0.25")];
    assert_eq!(inputs, expected.map(|(field, value)| (field.to_owned(), value.to_owned())));
    let impact = db.impact(&name("Tax"), &field("rate")).unwrap();
    let dependents: Vec<_> =
        impact.dependents.iter().map(|of| format!("{}.{}", of.schema, of.field)).collect();
    assert_eq!(dependents, ["Order.total", "Order.is_large"]);
}

#[test]
fn the_schema_of_the_field_must_agree() {
    let tax = |from: &str, to: &str| TAX.replace(from, to);
    let found = refusal(&tax("Order.total", "Order.sum"));
    assert!(found.contains("its output `Order.sum`: `Order` has no field `sum`"), "{found}");
    let found = refusal(&tax("\"Order.total\"", "\"Other.sum\""));
    assert!(found.contains("its output `Other.sum`: there is no schema `Other`"), "{found}");
    let found = refusal(&tax("\"Order.total\"", "\"Order.net\""));
    assert!(found.contains("its output `Order.net` can be written by users"), "{found}");
    let found = refusal(&tax("Order.total", "Order.is_large"));
    assert!(found.contains("`Order.is_large` has a transform of its own"), "{found}");
    let found = refusal(&tax("\"Order.total\"", "\"Order.id\""));
    assert!(found.contains("its output `Order.id` has no data of its own"), "{found}");
    let text = tax("integer", "string");
    let found = refusal(&text.replace("\"Order.net\", ", "").replace("Order.net * ", "1 * "));
    assert!(found.contains("`Order.total` is in records with another key"), "{found}");
    // What is read of the output makes a circle.
    let found = refusal(
        &tax("\"Order.net\", ", "\"Order.is_large\", \"Order.net\", ")
            .replace("Order.net *", "(Order.is_large ? 1 : Order.net) *"),
    );
    assert!(found.contains("it is computed from itself, by way of"), "{found}");
}

#[test]
fn elements_of_another_schema_are_computed() {
    let db = memory();
    let order = ORDER.replacen(
        r#""total": {"writable": false, "value": {"type": "number"}}"#,
        r#""total": {"value": {"type": "number"}},
           "parts": {"field_type": "Range", "writable": false, "value": {"type": "number"}}"#,
        1,
    );
    approve(&db, &order);
    let tax = TAX
        .replace("Order.net * (1 + (rate ?? 0.5))", "{net: Order.net, tax: Order.net * rate}")
        .replace("Order.total", "Order.parts");
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}"#);
    approve(&db, &tax);
    db.schemas().wait_for_transforms(&name("Tax")).unwrap();
    assert_eq!(all(&db, "Order"), "[1,80,null,{\"net\":80},false]\n");
    write(&db, "create", "Tax", r#"{"order": 1, "rate": 0.25}"#);
    assert_eq!(all(&db, "Order"), "[1,80,null,{\"net\":80,\"tax\":20},false]\n");
    let text = r#"{"mutation": "put", "schema": "Order", "key": 1, "field": "parts",
        "elements": {"x": 1}}"#;
    assert!(mutate(&db, text).unwrap_err().to_string().contains("parts"));
    verified(&db);
}

#[test]
fn defaults_and_unique_indexes_do_not_go_with_it() {
    let refusal = |order: &str| {
        let db = memory();
        approve(&db, order);
        let name = db.schemas().load_text(TAX, None).unwrap().name;
        db.schemas().approve_schema(&name).unwrap_err().to_string()
    };
    let with_default = ORDER.replacen(
        r#""writable": false, "value": {"type": "number"}"#,
        r#""writable": false, "value": {"type": "number", "default": 5}"#,
        1,
    );
    let found = refusal(&with_default);
    assert!(found.contains("its output `Order.total` has a default"), "{found}");
    let indexed = ORDER.replacen(
        r#""key""#,
        r#""indexes": [{"fields": ["total"], "unique": true}], "key""#,
        1,
    );
    let found = refusal(&indexed);
    assert!(found.contains("its output `Order.total` is in a unique index"), "{found}");
}

#[test]
fn it_is_tried_on_the_records_that_it_would_compute() {
    let db = memory();
    approve(&db, ORDER);
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}"#);
    let trial = Trial {
        schema: name("Tax"),
        field: None,
        definition: Some(Arc::new(Schema::parse(TAX).unwrap().schema)),
        records: TrialRecords::First(10),
    };
    let found = db.try_transforms(&trial).unwrap();
    assert_eq!((&found.schema, &found.fields[..]), (&name("Order"), &[field("total")][..]));
    assert_eq!(found.records[0].values[0].computed, Value::Int(120));
    assert_eq!(all(&db, "Order"), "[1,80,null,false]\n");
}

#[test]
fn only_one_computes_a_field_and_both_schemas_stay() {
    let db = taxed();
    let second = TAX.replace("\"Tax\"", "\"Duty\"").replace("Tax.rate", "Duty.rate");
    let second = db.schemas().load_text(&second, None).unwrap().name;
    let error = db.schemas().approve_schema(&second).unwrap_err().to_string();
    assert!(error.contains("`Order.total` is computed by `Tax.gross` already"), "{error}");
    let error = db.schemas().delete(&name("Order")).unwrap_err().to_string();
    assert!(error.contains("is read or computed by `Tax.gross` and cannot be deleted"), "{error}");
    let error = db.schemas().delete(&name("Tax")).unwrap_err().to_string();
    assert!(error.contains("computes `Order.total` and cannot be deleted"), "{error}");
    // Two fields of one schema.
    let both = TAX.replace(
        "\"gross\"",
        "\"twice\": {\"transform\": {\"logic\": \"2\", \"output\": \"Order.total\"}}, \"gross\"",
    );
    assert!(refusal(&both).contains("`Order.total` is computed by `Tax.twice` as well"));
    // Blocked, it goes on.
    db.schemas().block_schema(&name("Tax"), None).unwrap();
    write(&db, "create", "Order", r#"{"id": 1, "net": 80}"#);
    assert_eq!(all(&db, "Order"), "[1,80,120,true]\n");
    verified(&db);
}
