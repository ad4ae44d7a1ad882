//! Range fields that are computed: their elements come from an object.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{
    CommitNumber, INPUT_ELEMENTS_MAX, Lineage, Moment, Origin, PropagationLimits,
};
use datafold::engine::{
    ChangesQuery, ElementFilter, ElementQuery, FoldDbError, ImportFormat, ImportOptions, Mutation,
    RecordInput, Revert, RunScope, Trial, TrialRecords,
};
use datafold::model::{Schema, Value};
use datafold_testkit::{CutKind, Random, is_full_size, seed_from_env};

use super::field;
use crate::harness::{
    Place, approve, check_sound, fold_db_within, lines, memory, mutate, name, query,
};

/// `totals` are computed from elements, `dear` from those, and `sum` and `most` from both.
const CART: &str = r#"{"name": "Cart", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "factor": {"value": {"type": "integer"}},
    "prices": {"field_type": "Range", "value": {"type": "integer"}},
    "note": {},
    "totals": {"field_type": "Range", "value": {"type": "integer"},
        "transform": {"logic": "map_values(prices, p => p * (factor ?? 1))"}},
    "dear": {"field_type": "Range", "transform": {"logic": "filter(totals, t => t > 100)"}},
    "sum": {"transform": {"logic": "sum(values(totals))"}},
    "most": {"transform": {"logic": "max(values(dear)) ?? sum"}}}}"#;

/// What is computed is what is given, or fails.
const RAW: &str = r#"{"name": "Raw", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "given": {},
    "shown": {"field_type": "Range", "value": {"type": "integer"},
        "transform": {"on_error": "ON_ERROR", "logic": "given"}},
    "count": {"transform": {"logic": "length(shown)"}}}}"#;

fn raw(db: &FoldDb, on_error: &str) {
    approve(db, &RAW.replace("ON_ERROR", on_error));
}

fn put(db: &FoldDb, id: i64, elements: &str) -> u32 {
    let text = format!(
        r#"{{"mutation": "put", "schema": "Cart", "key": [{id}], "field": "prices",
            "elements": {{{elements}}}}}"#
    );
    mutate(db, &text).unwrap().atoms
}

fn remove(db: &FoldDb, id: i64, element: &str) -> u32 {
    let text = format!(
        r#"{{"mutation": "remove", "schema": "Cart", "key": [{id}], "field": "prices",
            "elements": ["{element}"]}}"#
    );
    mutate(db, &text).unwrap().atoms
}

fn write(db: &FoldDb, kind: &str, schema: &str, record: &str) -> Result<u32, FoldDbError> {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "{schema}", "records": [{record}]}}"#);
    mutate(db, &text).map(|receipt| receipt.atoms)
}

fn delete(db: &FoldDb, schema: &str, id: i64) {
    let text = format!(r#"{{"mutation": "delete", "schema": "{schema}", "keys": [{id}]}}"#);
    mutate(db, &text).unwrap();
}

fn shown(db: &FoldDb, schema: &str, select: &str, as_of: Option<u64>) -> String {
    let moment = as_of.map(|commit| format!(r#", "as_of": {commit}"#)).unwrap_or_default();
    let text = format!(r#"{{"schema": "{schema}", "select": [{select}]{moment}}}"#);
    lines(&query(db, &text).unwrap()).trim_end().to_owned()
}

const COMPUTED: &str = r#""totals", "dear", "sum", "most""#;

fn carts(db: &FoldDb) -> String {
    shown(db, "Cart", COMPUTED, None)
}

fn commit(db: &FoldDb) -> u64 {
    db.stats().unwrap().commit.0
}

/// The rows are as they should be, and every version is what its inputs give. Answers how many
/// values were computed again.
fn check(db: &FoldDb) -> u64 {
    check_sound(db);
    let report = db.verify_derived(|found| panic!("{found:?}")).unwrap();
    assert_eq!((report.differences, report.unregistered, report.filling), (0, 0, 0));
    report.values
}

fn failures(db: &FoldDb, schema: &str, of: &str) -> Vec<String> {
    let found = db.schemas().transform_failures(&name(schema), &field(of), 99).unwrap();
    found.into_iter().map(|(_, failure)| failure.code).collect()
}

#[test]
fn elements_follow_what_they_are_computed_from() {
    let db = memory();
    approve(&db, CART);
    // Two elements, two of `totals`, the sum, and the most.
    let created = r#"{"id": 1, "prices": {"a": 10, "b": 5}}"#;
    assert_eq!(write(&db, "create", "Cart", created).unwrap(), 2 + 2 + 2);
    assert_eq!(carts(&db), r#"[{"a":10,"b":5},{},15,15]"#);
    let first = commit(&db);
    // Only what changes is written: one element of each field, and what depends on it.
    assert_eq!(put(&db, 1, r#""b": 500"#), 2 + 1 + 2);
    assert_eq!(carts(&db), r#"[{"a":10,"b":500},{"b":500},510,500]"#);
    // The same result ends the chain, and what reads nothing of it is not looked at.
    assert_eq!(write(&db, "update", "Cart", r#"{"id": 1, "factor": 1}"#).unwrap(), 1);
    assert_eq!(write(&db, "update", "Cart", r#"{"id": 1, "note": "x"}"#).unwrap(), 1);
    assert_eq!(remove(&db, 1, "a"), 2 + 1, "the element, that of `totals`, and the sum");
    assert_eq!(carts(&db), r#"[{"b":500},{"b":500},500,500]"#);
    write(&db, "update", "Cart", r#"{"id": 1, "factor": 0}"#).unwrap();
    assert_eq!(carts(&db), r#"[{"b":0},{},0,0]"#);
    put(&db, 1, r#""a": 1"#);
    assert_eq!(carts(&db), r#"[{"a":0,"b":0},{},0,0]"#);
    // As of then it is as it was then.
    assert_eq!(shown(&db, "Cart", COMPUTED, Some(first)), r#"[{"a":10,"b":5},{},15,15]"#);
    let then = shown(&db, "Cart", COMPUTED, Some(first + 1));
    assert_eq!(then, r#"[{"a":10,"b":500},{"b":500},510,500]"#);
    assert!(check(&db) > 12);
}

#[test]
fn elements_name_their_transform_and_are_told_like_others() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"a": 10, "b": 200}}"#).unwrap();
    put(&db, 1, r#""b": 300"#);
    let (key, cart) = ([Value::Int(1)], name("Cart"));
    let revision = db.schemas().transforms(&cart).unwrap()[0].revision;
    let atoms =
        |of: &str, element| db.element_history(&cart, &key, &field(of), element, None, 9).unwrap();
    let writers: Vec<_> = atoms("totals", "b").iter().map(|atom| atom.writer.to_string()).collect();
    assert_eq!(writers, [format!("transform-{revision}"), format!("transform-{revision}")]);
    assert_eq!(atoms("totals", "a").len(), 1);
    assert_eq!(atoms("prices", "b")[0].writer.to_string(), "owner");
    // Filters, single elements and the change feed.
    let mut elements = ElementQuery::new(cart.clone(), key.to_vec(), "totals");
    elements.filter = ElementFilter::KeyRange { start: Some("b".into()), end: None };
    let found = db.elements(&elements).unwrap();
    assert_eq!((found.elements.len(), found.elements[0].value.clone()), (1, 300.into()));
    assert!(found.stale.is_empty());
    assert_eq!(db.element(&cart, &key, "dear", "b").unwrap(), Some(300.into()));
    let changes = db.changes(&ChangesQuery::from(CommitNumber(commit(&db)))).unwrap();
    let told: Vec<_> = changes
        .commits
        .iter()
        .flat_map(|commit| &commit.changes)
        .map(|change| {
            let element = change.element.clone().unwrap_or_default();
            format!("{}[{element}]={}", change.field.as_ref().unwrap(), change.value.to_json())
        })
        .collect();
    let expected = ["prices[b]=300", "totals[b]=300", "dear[b]=300", "sum[]=310", "most[]=300"];
    let mut told = told.iter().map(String::as_str).collect::<Vec<_>>();
    told.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!(db.stats().unwrap().total_elements, 2 + 2 + 1);
    check(&db);
}

#[test]
fn a_new_life_begins_without_the_elements_of_the_old_one() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"a": 10, "b": 200}}"#).unwrap();
    let first = commit(&db);
    delete(&db, "Cart", 1);
    assert_eq!(db.stats().unwrap().total_elements, 0);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"b": 7, "c": 8}}"#).unwrap();
    assert_eq!(carts(&db), r#"[{"b":7,"c":8},{},15,15]"#);
    // Also where one life ends and the next begins in one commit.
    let text = r#"{"transaction": [
        {"mutation": "delete", "schema": "Cart", "keys": [[1]]},
        {"mutation": "create", "schema": "Cart", "records": [{"id": 1, "prices": {"c": 8}}]}]}"#;
    mutate(&db, text).unwrap();
    assert_eq!(carts(&db), r#"[{"c":8},{},8,8]"#);
    let then = shown(&db, "Cart", COMPUTED, Some(first));
    assert_eq!(then, r#"[{"a":10,"b":200},{"b":200},210,200]"#);
    assert_eq!(shown(&db, "Cart", COMPUTED, Some(first + 1)), "");
    check(&db);
}

#[test]
fn a_result_that_gives_no_elements_keeps_the_last_good_ones() {
    let db = memory();
    raw(&db, "keep");
    let both = r#""shown", "count""#;
    write(&db, "create", "Raw", r#"{"id": 1, "given": {"b": 2, "a": 1, "c": null}}"#).unwrap();
    assert_eq!(shown(&db, "Raw", both, None), r#"[{"a":1,"b":2},2]"#);
    let many: Vec<_> = (0..=INPUT_ELEMENTS_MAX).map(|at| format!(r#""e{at}": 1"#)).collect();
    let (enough, many) = (many[1..].join(","), many.join(","));
    let long = "k".repeat(500);
    for (given, code) in [
        ("[1, 2]".to_owned(), "result_refused"),
        ("7".to_owned(), "result_refused"),
        (r#"{"a": 1, "b": "text"}"#.to_owned(), "result_refused"),
        (format!(r#"{{"{long}": 1}}"#), "result_refused"),
        (format!("{{{many}}}"), "too_many_elements"),
    ] {
        let update = format!(r#"{{"id": 1, "given": {given}}}"#);
        assert_eq!(write(&db, "update", "Raw", &update).unwrap(), 1);
        assert_eq!(failures(&db, "Raw", "shown"), [code], "{given:.40}");
        assert_eq!(shown(&db, "Raw", both, None), r#"[{"a":1,"b":2},2]"#);
        check(&db);
    }
    write(&db, "update", "Raw", &format!(r#"{{"id": 1, "given": {{{enough}}}}}"#)).unwrap();
    assert!(failures(&db, "Raw", "shown").is_empty());
    assert_eq!(shown(&db, "Raw", r#""count""#, None), "[1000]");
    check(&db);
    // Null stands for no elements, as an empty object does.
    for given in ["null", "{}", r#"{"a": null}"#] {
        write(&db, "update", "Raw", &format!(r#"{{"id": 1, "given": {given}}}"#)).unwrap();
        assert_eq!(shown(&db, "Raw", both, None), "[{},0]");
        write(&db, "update", "Raw", r#"{"id": 1, "given": {"z": 3}}"#).unwrap();
        assert_eq!(shown(&db, "Raw", both, None), r#"[{"z":3},1]"#);
    }
    check(&db);
}

#[test]
fn what_is_rejected_refuses_the_mutation() {
    let db = memory();
    raw(&db, "reject");
    write(&db, "create", "Raw", r#"{"id": 1, "given": {"a": 1}}"#).unwrap();
    let error = write(&db, "update", "Raw", r#"{"id": 1, "given": {"a": "x"}}"#).unwrap_err();
    assert_eq!(error.code(), "not_computed");
    let told = error.to_string();
    assert!(told.contains(r#"the element "a" of the result is not accepted"#), "{told}");
    let error = write(&db, "create", "Raw", r#"{"id": 2, "given": [1]}"#).unwrap_err();
    assert!(error.to_string().contains("elements come from an object"), "{error}");
    assert_eq!(shown(&db, "Raw", r#""id", "shown""#, None), r#"[1,{"a":1}]"#);
    check(&db);
}

#[test]
fn nobody_else_writes_the_elements() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"a": 10}}"#).unwrap();
    for text in [
        r#"{"mutation": "put", "schema": "Cart", "key": [1], "field": "totals",
            "elements": {"a": 1}}"#,
        r#"{"mutation": "remove", "schema": "Cart", "key": [1], "field": "totals",
            "elements": ["a"]}"#,
        r#"{"mutation": "update", "schema": "Cart", "records": [{"id": 1, "totals": {"a": 1}}]}"#,
        r#"{"mutation": "update", "schema": "Cart", "records": [{"id": 1, "totals": null}]}"#,
        r#"{"mutation": "upsert", "schema": "Cart", "records": [{"id": 1, "dear": {}}]}"#,
        r#"{"mutation": "create", "schema": "Cart", "records": [{"id": 2, "dear": {"a": 1}}]}"#,
    ] {
        let error = mutate(&db, text).unwrap_err();
        assert_eq!(error.code(), "field_not_writable", "{text}");
        assert!(error.to_string().contains("it is computed"), "{error}");
    }
    // An import passes over what rows say of it.
    let rows = r#"{"id": 1, "prices": {"a": 20}, "totals": {"a": 9}, "dear": {"x": 1}}"#;
    let options = ImportOptions::new(ImportFormat::Ndjson);
    let go_on = |_| ControlFlow::Continue(());
    let report = db.import(&name("Cart"), rows.as_bytes(), &options, go_on).unwrap();
    assert_eq!((report.imported, report.refused), (1, 0));
    assert_eq!(report.computed, [field("totals"), field("dear")].into());
    assert_eq!(carts(&db), r#"[{"a":20},{},20,20]"#);
    check(&db);
}

#[test]
fn reverts_leave_it_to_the_transforms() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"a": 10}}"#).unwrap();
    let created = commit(&db);
    put(&db, 1, r#""a": 500, "b": 1"#);
    let changed = CommitNumber(commit(&db));
    // What is computed is in nobody's way: `factor` changes each total again.
    write(&db, "update", "Cart", r#"{"id": 1, "factor": 2}"#).unwrap();
    db.revert(&Revert::Commit { commit: changed, force: false }).unwrap();
    assert_eq!(carts(&db), r#"[{"a":20},{},20,20]"#);
    put(&db, 1, r#""c": 400"#);
    assert_eq!(carts(&db), r#"[{"a":20,"c":800},{"c":800},820,800]"#);
    let to = created.to_string();
    db.revert(&Revert::Record { schema: name("Cart"), key: vec![1.into()], to }).unwrap();
    assert_eq!(carts(&db), r#"[{"a":10},{},10,10]"#);
    check(&db);
}

#[test]
fn a_transaction_sees_the_elements_that_its_writes_compute() {
    let db = memory();
    raw(&db, "keep");
    write(&db, "create", "Raw", r#"{"id": 1, "given": {"a": 1, "b": 2}}"#).unwrap();
    let (schema, key) = (name("Raw"), [Value::Int(1)]);
    let update = |given: &str| {
        let record = [("id", Value::Int(1)), ("given", Value::parse_json(given).unwrap())];
        let record: RecordInput = record.map(|(name, value)| (name.to_owned(), value)).into();
        Mutation::update(name("Raw"), vec![record])
    };
    let shown_in = |transaction: &mut datafold::engine::FoldTransaction<'_>| {
        let record = transaction.get(&schema, &key).unwrap().unwrap();
        let values = [record.get("shown").unwrap(), record.get("count").unwrap()];
        values.map(Value::to_json).join(" ")
    };
    db.transact(|transaction| {
        assert_eq!(shown_in(transaction), r#"{"a":1,"b":2} 2"#);
        transaction.mutate(update(r#"{"b": 3, "c": 4, "d": 5}"#))?;
        assert_eq!(shown_in(transaction), r#"{"b":3,"c":4,"d":5} 3"#);
        assert_eq!(transaction.element(&schema, &key, "shown", "a")?, None);
        assert_eq!(transaction.element(&schema, &key, "shown", "b")?, Some(3.into()));
        let range = ElementFilter::KeyRange { start: Some("c".into()), end: None };
        let found = transaction.elements(&schema, &key, "shown", &range, Some(1))?;
        assert_eq!((found.len(), found[0].key.as_str()), (1, "c"));
        // What fails keeps what it had, and what is empty is empty.
        transaction.mutate(update("[1]"))?;
        assert_eq!(shown_in(transaction), r#"{"a":1,"b":2} 2"#);
        transaction.mutate(update("null"))?;
        assert_eq!(shown_in(transaction), "{} 0");
        transaction.mutate(update(r#"{"e": 6}"#))?;
        Ok::<_, FoldDbError>(())
    })
    .unwrap();
    assert_eq!(shown(&db, "Raw", r#""shown", "count""#, None), r#"[{"e":6},1]"#);
    check(&db);
}

fn why(db: &FoldDb, of: &str, moment: Moment) -> Lineage {
    db.why(&name("Cart"), &[Value::Int(1)], &field(of), moment).unwrap().lineage
}

#[test]
fn why_tells_of_the_elements_as_one_object() {
    let db = memory();
    approve(&db, CART);
    write(&db, "create", "Cart", r#"{"id": 1, "prices": {"a": 10, "b": 200}}"#).unwrap();
    let first = commit(&db);
    put(&db, 1, r#""b": 7"#);
    let dear = why(&db, "dear", Moment::Now);
    // The last commit that wrote or removed an element of the field.
    let revisions = db.schemas().transforms(&name("Cart")).unwrap();
    let atom = dear.atom.unwrap();
    assert_eq!(dear.value.to_json(), "{}");
    assert_eq!(atom.commit.0, first + 1);
    assert_eq!(atom.writer.transform(), Some(revisions[1].revision));
    let Origin::Computed(found) = &dear.origin else { panic!("{dear:?}") };
    let totals = &found.inputs[0];
    assert_eq!(
        (totals.field.as_str(), totals.value.to_json().as_str()),
        ("totals", r#"{"a":10,"b":7}"#)
    );
    let Origin::Computed(of_totals) = &totals.origin else { panic!("{totals:?}") };
    assert_eq!(of_totals.inputs[0].origin, Origin::Elements { is_known: true });
    // The atom is one of the commit.
    let history = db.element_history(&name("Cart"), &[1.into()], &field("dear"), "b", None, 9);
    assert_eq!(history.unwrap()[0].id, atom.id);
    let then = why(&db, "dear", Moment::Commit(CommitNumber(first)));
    assert_eq!(
        (then.value.to_json().as_str(), then.atom.unwrap().commit.0),
        (r#"{"b":200}"#, first)
    );
    // Another cell that reads it leads on to what people wrote.
    let sum = why(&db, "sum", Moment::Now);
    let Origin::Computed(found) = &sum.origin else { panic!("{sum:?}") };
    assert!(matches!(found.inputs[0].origin, Origin::Computed(_)));
    let error = db.why(&name("Cart"), &[1.into()], &field("prices"), Moment::Now).unwrap_err();
    assert!(error.to_string().contains("written and not computed"), "{error}");
    let impact = db.impact(&name("Cart"), &field("totals")).unwrap();
    let names: Vec<_> = impact.dependents.iter().map(|found| found.field.as_str()).collect();
    assert_eq!(names, ["dear", "sum", "most"]);
}

#[test]
fn approval_checks_that_the_result_can_be_elements() {
    let problem = |kind: &str, of: &str, logic: &str| {
        let text = format!(
            r#"{{"name": "T", "key": ["id"], "fields": {{"id": {{"value": {{"type": "integer"}}}},
            "r": {{"field_type": "Range", "value": {{"type": "integer"}}}},
            "x": {{"field_type": "{kind}", "value": {{"type": "{of}"}},
                "transform": {{"logic": {}}}}},
            "y": {{"transform": {{"logic": "length(x)"}}}}}}}}"#,
            Value::from(logic).to_json()
        );
        let db = memory();
        db.schemas().load_text(&text, None).unwrap();
        let approved = db.schemas().approve_schema(&name("T"));
        approved.map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    };
    let refused = |logic, told: &str| {
        let found = problem("Range", "integer", logic);
        assert!(found.contains(told), "{logic}: {found}");
    };
    refused("id", "its result is integer, but the field takes object");
    refused("values(r)", "its result is array, but the field takes object");
    refused("{a: 1, b: 'x'}", "the member `b` of its result is text, which the elements");
    refused("map_values(r, v => v > 1)", "the members of its result are bool, which the elements");
    refused("map_values(x, v => v)", "`x` would be computed from itself");
    refused("y == 1 ? r : {}", "computed from itself");
    for logic in ["r", "{a: 1, b: null}", "filter(r, v => v > 1)", "merge(r, {k: id})", "null"] {
        assert_eq!(problem("Range", "integer", logic), "fine", "{logic}");
    }
    assert_eq!(problem("Range", "string", "map_values(r, (v, k) => k)"), "fine");
    let found = problem("Collection", "integer", "r");
    assert!(found.contains("it is a Collection field"), "{found}");
}

#[test]
fn records_that_are_there_are_computed_and_tried() {
    let db = memory();
    let base = r#"{"name": "Base", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}},
        "r": {"field_type": "Range"}}}"#;
    approve(&db, base);
    let records =
        (0..300).map(|id| format!(r#"{{"id": {id}, "n": {}, "r": {{"k": {id}}}}}"#, id % 3));
    write(&db, "create", "Base", &records.collect::<Vec<_>>().join(", ")).unwrap();
    let view = r#"{"name": "View", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}}, "n": {"field_mappers": {"Base": "n"}},
        "parts": {"field_type": "Range", "value": {"type": "integer"}, "transform": {
            "logic": "n == 0 ? null : {a: id, b: 6 / (n - 1)}"}},
        "sum": {"transform": {"logic": "sum(values(parts))"}}}}"#;
    // What would be computed, before it is approved.
    let tried = db
        .try_transforms(&Trial {
            schema: name("View"),
            field: None,
            definition: Some(Arc::new(Schema::parse(view).unwrap().schema)),
            records: TrialRecords::First(3),
        })
        .unwrap();
    let values: Vec<_> = tried.records.iter().flat_map(|record| &record.values).collect();
    let told: Vec<_> = values.iter().map(|found| found.computed.to_json()).collect();
    assert_eq!(told, ["{}", "0", "{}", "0", r#"{"a":2,"b":6}"#, "8"]);
    assert!(values[2].error.is_some() && values[4].error.is_none());
    approve(&db, view);
    db.schemas().wait_for_transforms(&name("View")).unwrap();
    let wanted: String = (0..300).fold(String::new(), |mut wanted, id| {
        let _ = match id % 3 {
            2 => writeln!(wanted, r#"[{{"a":{id},"b":6}},{}]"#, id + 6),
            _ => writeln!(wanted, "[{{}},0]"),
        };
        wanted
    });
    assert_eq!(shown(&db, "View", r#""parts", "sum""#, None), wanted.trim_end());
    assert_eq!(failures(&db, "View", "parts").len(), 99);
    check(&db);
    // Running it again writes nothing.
    let go_on = |_: &datafold::engine::RunReport| ControlFlow::Continue(());
    let (view, parts) = (name("View"), field("parts"));
    let report = db.run_transform(&view, &parts, &RunScope::All, go_on).unwrap();
    assert_eq!((report.records, report.atoms, report.failing), (300, 0, 100));
    // The record and its elements go together, through whichever schema.
    let elements = || db.stats().unwrap().total_elements;
    assert_eq!(elements(), 300 + 200);
    delete(&db, "Base", 2);
    assert_eq!(elements(), 299 + 198);
    let report = db.run_transform(&view, &parts, &RunScope::Failing, go_on).unwrap();
    assert_eq!((report.records, report.failing), (100, 100));
    check(&db);
}

#[test]
fn what_is_too_much_for_a_commit_is_computed_in_the_background() {
    let db = fold_db_within(Place::memory().open(), PropagationLimits::default());
    approve(&db, r#"{"name": "Tariff", "fields": {"rates": {}}}"#);
    let shop = r#"{"name": "Shop", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}},
        "rates": {"field_type": "Range", "transform": {
            "logic": "map_values(Tariff.rates, r => r + id)"}},
        "count": {"transform": {"logic": "length(rates)"}}}}"#;
    approve(&db, shop);
    let records: Vec<_> = (0..40).map(|id| format!(r#"{{"id": {id}}}"#)).collect();
    write(&db, "create", "Shop", &records.join(", ")).unwrap();
    // 40 records of 900 elements: more rows than a commit may have.
    for round in 0..3 {
        let rates: Vec<_> = (0..900).map(|at| format!(r#""e{}": {round}"#, at + round)).collect();
        let record = format!(r#"{{"rates": {{{}}}}}"#, rates.join(", "));
        write(&db, "upsert", "Tariff", &record).unwrap();
        db.schemas().wait_for_transforms(&name("Shop")).unwrap();
        assert_eq!(shown(&db, "Shop", r#""count""#, None), vec!["[900]"; 40].join("\n"));
        let last = format!("e{}", 899 + round);
        let found = db.element(&name("Shop"), &[Value::Int(39)], "rates", &last).unwrap();
        assert_eq!(found, Some(Value::Int(39 + round)));
    }
    write(&db, "upsert", "Tariff", r#"{"rates": null}"#).unwrap();
    db.schemas().wait_for_transforms(&name("Shop")).unwrap();
    assert_eq!(db.stats().unwrap().total_elements, 0);
    check(&db);
}

type Cart = (Option<i64>, BTreeMap<String, i64>);

#[test]
fn keys_that_come_and_go_leave_readers_as_they_are() {
    let db = memory();
    raw(&db, "keep");
    let record = |from: usize, keys: usize| {
        let mut given = String::new();
        for key in from..from + keys {
            write!(given, r#"{}"k{key:06}": 1"#, if key == from { "" } else { ", " }).unwrap();
        }
        format!(r#"{{"id": 1, "given": {{{given}}}}}"#)
    };
    for round in 0..12 {
        write(&db, "upsert", "Raw", &record(round * 1_000, 1_000)).unwrap();
    }
    write(&db, "upsert", "Raw", &record(900_000, 3)).unwrap();
    db.schemas().wait_for_transforms(&name("Raw")).unwrap();
    assert_eq!(shown(&db, "Raw", r#""count""#, None), "[3]");
    check(&db);
}

#[test]
fn a_commit_is_not_refused_for_the_elements_that_follow_from_it() {
    let db = memory();
    let text = r#"{"name": "K", "key": ["id"], "fields": {"id": {"value": {"type": "string"}},
        "src": {"field_type": "Range"}, "given": {},
        "o": {"field_type": "Range", "transform": {"logic": "given ?? src"}}}}"#;
    approve(&db, text);
    let object = |keys: usize, width: usize| {
        let member = |key: usize| format!(r#""{key:0>width$}": 1"#);
        (0..keys).map(member).collect::<Vec<_>>().join(", ")
    };
    // Beside 12,600 rows of elements that are written there is no room for as many again.
    let elements = object(900, 4);
    let record = |id: usize| format!(r#"{{"id": "r{id}", "src": {{{elements}}}}}"#);
    let records: Vec<_> = (0..14).map(record).collect();
    write(&db, "create", "K", &records.join(", ")).unwrap();
    // Few rows, but long keys of both records and elements.
    let elements = object(1_000, 464);
    let record = |id: usize| format!(r#"{{"id": "{id:0>460}", "given": {{{elements}}}}}"#);
    let records: Vec<_> = (0..12).map(record).collect();
    write(&db, "create", "K", &records.join(", ")).unwrap();
    db.schemas().wait_for_transforms(&name("K")).unwrap();
    let status = db.schemas().transforms(&name("K")).unwrap();
    assert_eq!((status[0].state, status[0].queued, status[0].failing), ("ready", 0, 0));
    assert_eq!(db.stats().unwrap().total_elements, 2 * 14 * 900 + 12 * 1_000);
    check(&db);
}

fn expected(carts: &BTreeMap<i64, Cart>, rate: i64) -> String {
    let object = |elements: &BTreeMap<String, i64>| {
        let members = elements.iter().map(|(key, value)| (key.clone(), Value::Int(*value)));
        Value::Object(members.collect()).to_json()
    };
    let line = |(factor, prices): &Cart| {
        let factor = factor.unwrap_or(1);
        let totals: BTreeMap<_, _> =
            prices.iter().map(|(key, price)| (key.clone(), price * factor + rate)).collect();
        let dear: BTreeMap<_, _> = totals
            .iter()
            .filter(|(_, total)| **total > 100)
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        let sum: i64 = totals.values().sum();
        let most = dear.values().max().copied().unwrap_or(sum);
        format!("[{},{},{sum},{most}]", object(&totals), object(&dear))
    };
    carts.values().map(line).collect::<Vec<_>>().join("\n")
}

/// Random changes with kills and power cuts, against a recomputation from scratch, now and then.
#[test]
fn elements_are_what_a_full_recomputation_gives() {
    let seed = seed_from_env(0x4A6E);
    for run in 0..if is_full_size() { 1_000 } else { 40 } {
        let mut random = Random::part(seed, run);
        // In half of the runs most is computed in the background.
        let mut limits = PropagationLimits::default();
        if random.one_in(2) {
            (limits.outputs, limits.steps) = (random.below(3), 1 + random.below(60) as u64);
        }
        let mut place = Place::sim(seed ^ run);
        let mut db = fold_db_within(place.open(), limits);
        approve(&db, r#"{"name": "Rate", "fields": {"rate": {"value": {"type": "integer"}}}}"#);
        approve(&db, &CART.replace("(factor ?? 1)", "(factor ?? 1) + (Rate.rate ?? 0)"));
        let mut rate = 0;
        let (mut carts, mut past) = (BTreeMap::<i64, Cart>::new(), Vec::new());
        for _ in 0..30 {
            let id = random.below(3) as i64;
            let key = ["a", "b", "c", "d"][random.below(4)];
            match (random.below(10), carts.get_mut(&id)) {
                (9, _) => {
                    rate = random.below(60) as i64;
                    let record = format!(r#"{{"rate": {rate}}}"#);
                    write(&db, "upsert", "Rate", &record).unwrap();
                }
                (0, Some(_)) => {
                    delete(&db, "Cart", id);
                    carts.remove(&id);
                }
                (1 | 2, Some(cart)) => {
                    let factor = random.below(4) as i64;
                    let update = format!(r#"{{"id": {id}, "factor": {factor}}}"#);
                    write(&db, "update", "Cart", &update).unwrap();
                    cart.0 = Some(factor);
                }
                (3, Some(cart)) if cart.1.contains_key(key) => {
                    remove(&db, id, key);
                    cart.1.remove(key);
                }
                (4, _) => {
                    let Place::Sim(disk) = &place else { panic!() };
                    let after = match random.one_in(2) {
                        true => disk.process_kill(random.next_u64()),
                        false => {
                            let kind = *random.choose(&CutKind::ALL).unwrap();
                            disk.power_cut(kind, random.next_u64())
                        }
                    };
                    drop(db);
                    place = Place::Sim(after);
                    db = fold_db_within(place.open(), limits);
                }
                (_, Some(cart)) => {
                    let price = random.below(90) as i64;
                    put(&db, id, &format!(r#""{key}": {price}"#));
                    cart.1.insert(key.to_owned(), price);
                }
                (_, None) => {
                    let price = random.below(90) as i64;
                    let record = format!(r#"{{"id": {id}, "prices": {{"{key}": {price}}}}}"#);
                    write(&db, "create", "Cart", &record).unwrap();
                    carts.insert(id, (None, [(key.to_owned(), price)].into()));
                }
            }
            if random.one_in(3) {
                continue;
            }
            db.schemas().wait_for_transforms(&name("Cart")).unwrap();
            let found = self::carts(&db);
            assert_eq!(found, expected(&carts, rate), "run {run}, now");
            past.push((commit(&db), found));
        }
        for (commit, then) in past.iter().step_by(5) {
            assert_eq!(&shown(&db, "Cart", COMPUTED, Some(*commit)), then, "run {run}");
        }
        db.schemas().wait_for_transforms(&name("Cart")).unwrap();
        check(&db);
    }
}
