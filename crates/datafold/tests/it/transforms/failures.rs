//! A transform that fails: what stays, what is told, and what others see of it.

use datafold::FoldDb;
use datafold::data_layer::TransformFailure;
use datafold::engine::{ImportFormat, ImportOptions};
use datafold::model::{RecordKey, Value};
use std::ops::ControlFlow;

use super::{field, schema, value, write};
use crate::harness::{all, approve, check_sound, memory, mutate, name};

fn failing(db: &FoldDb) -> Vec<(RecordKey, TransformFailure)> {
    let found = db.schemas().transform_failures(&name("S"), &field("q"), 100).unwrap();
    let counted = db.schemas().transforms(&name("S")).unwrap()[0].failing;
    assert_eq!(counted, found.len() as u64);
    check_sound(db);
    found
}

#[test]
fn an_error_keeps_the_last_good_value_and_is_told_until_it_is_over() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "q + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    assert!(failing(&db).is_empty());
    write(&db, "update", r#"{"id": 1, "b": 0}"#);
    assert_eq!(all(&db, "S"), "[1,6,0,null,3,4]\n");
    write(&db, "update", r#"{"id": 1, "a": 8}"#);
    let found = failing(&db);
    let commit = db.stats().unwrap().commit;
    let expected = TransformFailure {
        commit,
        count: 2,
        code: "division_by_zero".into(),
        message: found[0].1.message.clone(),
        line: 1,
        column: found[0].1.column,
    };
    assert_eq!(found[0].0.values().unwrap(), [Value::Int(1)]);
    assert_eq!(found[0].1, expected);
    // It is tried again when an input changes, and by nothing else.
    write(&db, "update", r#"{"id": 1, "c": 1}"#);
    assert_eq!(failing(&db), found);
    write(&db, "update", r#"{"id": 1, "b": 4}"#);
    assert_eq!(all(&db, "S"), "[1,8,4,1,2,3]\n");
    assert!(failing(&db).is_empty());
}

#[test]
fn a_new_life_has_no_last_good_value_and_an_ended_one_no_failure() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    write(&db, "create", r#"{"id": 2, "a": 6, "b": 0}"#);
    assert_eq!((value(&db, 2, "q"), failing(&db).len()), (Value::Null, 1));
    let text = r#"{"transaction": [
        {"mutation": "delete", "schema": "S", "keys": [[1]]},
        {"mutation": "create", "schema": "S", "records": [{"id": 1, "a": 1, "b": 0}]}]}"#;
    mutate(&db, text).unwrap();
    assert_eq!((value(&db, 1, "q"), failing(&db).len()), (Value::Null, 2));
    for id in [1, 2] {
        let text = format!(r#"{{"mutation": "delete", "schema": "S", "keys": [[{id}]]}}"#);
        mutate(&db, &text).unwrap();
    }
    assert!(failing(&db).is_empty());
}

#[test]
fn rejecting_transforms_refuse_the_mutation_as_a_whole() {
    let db = memory();
    let text = schema(&[("q", "a / b")]).replace(r#""logic""#, r#""on_error": "reject", "logic""#);
    approve(&db, &text);
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    let commit = db.stats().unwrap().commit;
    let text = r#"{"mutation": "upsert", "schema": "S", "records":
        [{"id": 2, "a": 1, "b": 1}, {"id": 1, "b": 0}]}"#;
    let error = mutate(&db, text).unwrap_err();
    assert_eq!(error.code(), "not_computed");
    let message = error.to_string();
    let expected = "record [1]: S.q cannot be computed: line 1, column ";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(db.stats().unwrap().commit, commit);
    assert_eq!(all(&db, "S"), "[1,6,2,null,3]\n");
    assert!(failing(&db).is_empty());
}

#[test]
fn an_import_passes_over_the_values_of_computed_fields() {
    for (format, rows) in [
        (ImportFormat::Csv, "id,a,sum,b\n1,2,99,1\n2,4,,0\n"),
        (
            ImportFormat::Ndjson,
            "{\"id\": 1, \"a\": 2, \"b\": 1, \"sum\": \"x\"}\n\
                                {\"id\": 2, \"a\": 4, \"b\": 0}\n",
        ),
    ] {
        let db = memory();
        let name = approve(&db, &schema(&[("sum", "a + b")]));
        let options = ImportOptions::new(format);
        let report =
            db.import(&name, rows.as_bytes(), &options, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.imported, report.refused), (2, 0), "{report:?}");
        assert_eq!(report.computed.into_iter().collect::<Vec<_>>(), [field("sum")]);
        assert_eq!(all(&db, "S"), "[1,2,1,null,3]\n[2,4,0,null,4]\n");
    }
}

#[test]
fn an_import_refuses_the_rows_that_a_transform_rejects() {
    let db = memory();
    let text = schema(&[("q", "a / b")]).replace(r#""logic""#, r#""on_error": "reject", "logic""#);
    let name = approve(&db, &text);
    let rows = "id,a,b\n1,2,1\n2,4,0\n3,6,3\n";
    let options = ImportOptions::new(ImportFormat::Csv);
    let report =
        db.import(&name, rows.as_bytes(), &options, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.imported, report.refused), (2, 1));
    assert_eq!(report.errors[0].line, 3);
    assert!(report.errors[0].message.contains("S.q cannot be computed"), "{report:?}");
    assert_eq!(all(&db, "S"), "[1,2,1,null,2]\n[3,6,3,null,2]\n");
}

#[test]
fn results_that_the_field_does_not_take_are_failures() {
    let db = memory();
    let text = schema(&[("q", "a / 2")])
        .replace(r#""q": {"#, r#""q": {"value": {"type": "integer", "maximum": 9}, "#);
    approve(&db, &text);
    write(&db, "create", r#"{"id": 1, "a": 8}"#);
    assert_eq!(value(&db, 1, "q"), Value::Int(4));
    for wrong in [7, 40] {
        write(&db, "update", &format!(r#"{{"id": 1, "a": {wrong}}}"#));
        assert_eq!(value(&db, 1, "q"), Value::Int(4));
        let found = failing(&db);
        assert_eq!(found[0].1.code, "result_refused", "{found:?}");
    }
}

#[test]
fn hostile_logic_is_stopped_by_limits_and_everything_goes_on() {
    let deep = format!("{}a{}", "(".repeat(90), ")".repeat(90));
    let growing = "let s = \"xxxxxxxxxxxxxxxx\"; ".to_owned()
        + &(0..16).map(|n| format!("let s{n} = {0} + {0}; ", last(n))).collect::<String>()
        + "s15";
    for (logic, code) in [
        (growing.as_str(), "value_too_large"),
        ("map(range(0, 100000), x => map(range(0, 1000), y => x * y + a))", "too_"),
        ("length(range(0, 100000000 + a))", "too_"),
        (
            "count(range(0, 9000), x => count(range(0, 9000), y => y == x + a) > 0)",
            "too_many_steps",
        ),
        (deep.as_str(), ""),
    ] {
        let db = memory();
        approve(&db, &schema(&[("q", logic)]));
        write(&db, "create", r#"{"id": 1, "a": 5}"#);
        write(&db, "update", r#"{"id": 1, "b": 5}"#);
        assert_eq!(value(&db, 1, "b"), Value::Int(5));
        match failing(&db).first() {
            Some((_, failure)) => {
                assert!(failure.code.starts_with(code) && !code.is_empty(), "{logic}: {failure:?}")
            }
            None => assert!(code.is_empty(), "{logic}"),
        }
    }
    // Nested deeper than anybody needs: not approved.
    let text = schema(&[("q", &format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000)))]);
    let db = memory();
    let name = db.schemas().load_text(&text, None).unwrap().name;
    let error = db.schemas().approve_schema(&name).unwrap_err();
    assert_eq!(error.code(), "invalid_transform");
}

fn last(n: usize) -> String {
    if n == 0 { "s".to_owned() } else { format!("s{}", n - 1) }
}
