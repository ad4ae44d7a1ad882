//! What is different between two moments is what two full reads tell.

use std::ops::ControlFlow;

use datafold::FoldDb;
use datafold::data_layer::CommitNumber;
use datafold::engine::{DiffQuery, Difference, DifferenceKind};
use datafold::model::Value;
use datafold_testkit::{is_full_size, seed_from_env};

use crate::harness::{Place, approve, memory, mutate, name};
use crate::node_model::{Cells, Key};
use crate::timeline::{State, Timeline, Visible, run_programs, state_of};

/// One difference: schema, key, kind, field, element, before, after.
type Row = (String, Key, DifferenceKind, Option<String>, Option<String>, Value, Value);

/// By the definition, from two full states.
fn expected(timeline: &Timeline, from: &State, to: &State) -> Vec<Row> {
    let mut rows = Vec::new();
    for schema in &timeline.schemas {
        let name = schema.name.to_string();
        let of_schema = from.keys().chain(to.keys()).filter(|(found, _)| *found == name);
        let mut keys: Vec<_> = of_schema.map(|(_, key)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let place = (name.clone(), key.clone());
            let (before, after) = (from.get(&place), to.get(&place));
            let kind = match (before, after) {
                _ if !schema.is_keyed() => DifferenceKind::Changed,
                (None, _) => DifferenceKind::Created,
                (_, None) => DifferenceKind::Deleted,
                _ => DifferenceKind::Changed,
            };
            if kind != DifferenceKind::Changed {
                let null = Value::Null;
                rows.push((name.clone(), key.clone(), kind, None, None, null.clone(), null));
            }
            let empty = Cells::new();
            let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
            for field in &schema.fields {
                let cells = before.keys().chain(after.keys());
                let mut ids: Vec<_> =
                    cells.filter(|(found, _)| field.name.as_str() == found).collect();
                ids.sort();
                ids.dedup();
                for id in ids {
                    let value = |cells: &Cells| cells.get(id).cloned().unwrap_or_default();
                    let (before, after) = (value(before), value(after));
                    if before != after {
                        let (field, element) = (Some(id.0.clone()), id.1.clone());
                        rows.push((name.clone(), key.clone(), kind, field, element, before, after));
                    }
                }
            }
        }
    }
    rows
}

fn row(schema: &str, found: Difference) -> Row {
    let Difference { kind, key, field, element, before, after } = found;
    let key = Key(key.values().unwrap());
    (schema.to_owned(), key, kind, field.map(|field| field.to_string()), element, before, after)
}

fn found(timeline: &Timeline, from: u64, to: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for schema in &timeline.schemas {
        let mut query = DiffQuery::since(schema.name.clone(), from.to_string());
        query.to = Some(to.to_string());
        let differences = timeline.db.diff(&query).unwrap();
        rows.extend(differences.into_iter().map(|found| row(schema.name.as_str(), found)));
    }
    rows
}

fn check_some(timeline: &mut Timeline) -> Result<(), String> {
    // Since all schemas are loaded.
    let first = 2 * timeline.schemas.len() as u64;
    let (from, to) = (timeline.moment().max(first), timeline.moment().max(first));
    let read = |at| state_of(&timeline.db, &timeline.schemas, Some(CommitNumber(at))).unwrap();
    let (before, after) = (read(from), read(to));
    assert_eq!(before, timeline.state_at(from).visible());
    let expected = expected(timeline, &before, &after);
    compare(&found(timeline, from, to), &expected)?;
    // One record of it.
    let Some((at, key)) = timeline.some_record() else { return Ok(()) };
    let schema = timeline.schemas[at].name.clone();
    let mut query = DiffQuery::since(schema.clone(), from.to_string());
    (query.to, query.key) = (Some(to.to_string()), Some(key.0.clone()));
    let differences = timeline.db.diff(&query).unwrap();
    let found: Vec<_> = differences.into_iter().map(|found| row(schema.as_str(), found)).collect();
    let of_record = |row: &&Row| row.0 == schema.as_str() && row.1 == key;
    let expected: Vec<_> = expected.iter().filter(of_record).cloned().collect();
    compare(&found, &expected)
}

fn compare(found: &[Row], expected: &[Row]) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:#?}\nnot {expected:#?}")) }
}

fn program(seed: u64, place: Place) {
    let mut timeline = Timeline::new(seed, place);
    for _ in 0..if is_full_size() { 30 } else { 8 } {
        timeline.run(8);
        check_some(&mut timeline).unwrap();
    }
}

#[test]
fn differences_are_those_of_two_full_reads() {
    run_programs(0xD1FF, program);
}

/// A fault, and what plants it.
type Planted<'p> = (&'p str, &'p dyn Fn(&mut Vec<Row>));

/// Planted faults of the answer; the comparison must find each.
#[test]
fn wrong_differences_are_found() {
    let mut timeline = Timeline::new(seed_from_env(0xCA4B), Place::memory());
    timeline.run(60);
    let (from, to) = (20, timeline.model.head());
    let expected =
        expected(&timeline, &timeline.state_at(from).visible(), &timeline.state_at(to).visible());
    let found = found(&timeline, from, to);
    compare(&found, &expected).unwrap();
    assert!(found.len() > 10);
    let planted: [Planted<'_>; 4] = [
        ("one is missing", &|rows| drop(rows.remove(5))),
        ("one is told twice", &|rows| rows.push(rows[0].clone())),
        ("before and after change places", &|rows| {
            let row = rows.iter_mut().find(|row| row.3.is_some()).unwrap();
            (row.5, row.6) = (row.6.clone(), row.5.clone());
        }),
        ("they are out of order", &|rows| rows.swap(2, 3)),
    ];
    for (fault, plant) in planted {
        let mut wrong = found.clone();
        plant(&mut wrong);
        assert!(compare(&wrong, &expected).is_err(), "{fault} was not found");
    }
}

fn lines(db: &FoldDb, query: &DiffQuery) -> Vec<String> {
    let line = |found: Difference| {
        let Difference { kind, key, field, element, before, after } = found;
        let field = field.map(|field| format!(".{field}")).unwrap_or_default();
        let element = element.map(|element| format!("[{element}]")).unwrap_or_default();
        let values = format!("{} -> {}", before.to_json(), after.to_json());
        format!("{kind} {key}{field}{element} {values}")
    };
    db.diff(query).unwrap().into_iter().map(line).collect()
}

#[test]
fn deletions_creations_and_elements_are_different() {
    let db = memory();
    let item = approve(
        &db,
        r#"{"name": "Item", "key": ["id"], "fields": {"id": {"value": {"type": "string"}},
            "n": {}, "tags": {"field_type": "Collection"}}}"#,
    );
    for request in [
        r#"{"mutation": "create", "schema": "Item", "records": [{"id": "a", "n": 1},
            {"id": "b", "n": 2, "tags": {"x": 1}}, {"id": "c", "n": 3}]}"#,
        r#"{"mutation": "delete", "schema": "Item", "keys": ["a", "b", "c"]}"#,
        r#"{"mutation": "create", "schema": "Item", "records": [{"id": "a", "n": 1},
            {"id": "b", "tags": {"y": 2}}]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    let mut query = DiffQuery::since(item.clone(), "3");
    let differences = [
        r#"changed ["b"].n 2 -> null"#,
        r#"changed ["b"].tags[x] 1 -> null"#,
        r#"changed ["b"].tags[y] null -> 2"#,
        r#"deleted ["c"] null -> null"#,
        r#"deleted ["c"].n 3 -> null"#,
    ];
    assert_eq!(lines(&db, &query), differences);
    query.to = Some("0".into());
    assert_eq!(
        lines(&db, &query)[..2],
        [r#"deleted ["a"] null -> null"#, r#"deleted ["a"].n 1 -> null"#]
    );
    query.to = Some("3".into());
    assert!(lines(&db, &query).is_empty());
    // From before it was loaded, backwards, and of one record only.
    (query.from, query.to, query.key) = ("0".into(), Some("5".into()), Some(vec!["b".into()]));
    let created = [r#"created ["b"] null -> null"#, r#"created ["b"].tags[y] null -> 2"#];
    assert_eq!(lines(&db, &query), created);
    let mut seen = 0;
    let end = db.diff_each(&DiffQuery::since(item.clone(), "2"), |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((seen, end.unwrap().from), (1, CommitNumber(2)));
    for (wrong, code) in [("9", "future_moment"), ("soon", "invalid_request")] {
        assert_eq!(db.diff(&DiffQuery::since(item.clone(), wrong)).unwrap_err().code(), code);
    }
    let other = DiffQuery::since(name("Other"), "1");
    assert_eq!(db.diff(&other).unwrap_err().code(), "schema_not_found");
    db.schemas().block_schema(&item, None).unwrap();
    assert_eq!(db.diff(&query).unwrap_err().code(), "schema_not_approved");
}

/// More commits than are walked: the records are walked instead, with the same answer.
#[test]
fn far_moments_are_compared_by_walking_the_records() {
    let db = memory();
    let item = approve(
        &db,
        r#"{"name": "Item", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
            "n": {}}}"#,
    );
    for at in 0..1_200 {
        let request = format!(
            r#"{{"mutation": "upsert", "schema": "Item", "records": [{{"id": {}, "n": {at}}}]}}"#,
            at % 7
        );
        mutate(&db, &request).unwrap();
    }
    mutate(&db, r#"{"mutation": "delete", "schema": "Item", "keys": [3]}"#).unwrap();
    let found = lines(&db, &DiffQuery::since(item.clone(), "5"));
    assert_eq!(found[0], "changed [0].n 0 -> 1197");
    assert_eq!(found.len(), 3 + 3 * 2);
    let near = lines(&db, &DiffQuery::since(item, "1200"));
    assert_eq!(near[..1], ["changed [1].n 1191 -> 1198"]);
}
