//! What a value was made from, and what depends on a field.

use std::fmt::Write;

use datafold::FoldDb;
use datafold::data_layer::{
    Derivation, LINEAGE_DEPTH_MAX, LINEAGE_VALUES_MAX, Lineage, Moment, Origin,
};
use datafold::engine::{FieldRole, Trial, TrialRecords};
use datafold::model::Value;

use super::{field, schema, write};
use crate::harness::{approve, check_sound, memory, mutate, name};

fn why_at(db: &FoldDb, schema: &str, id: i64, of: &str, at: Option<u64>) -> Lineage {
    let at = at.map(|commit| commit.to_string());
    let moment = db.moment(at.as_deref()).unwrap();
    db.why(&name(schema), &[Value::Int(id)], &field(of), moment).unwrap().lineage
}

fn why(db: &FoldDb, id: i64, of: &str) -> Lineage {
    why_at(db, "S", id, of, None)
}

fn derivation(lineage: &Lineage) -> &Derivation {
    match &lineage.origin {
        Origin::Computed(found) => found,
        other => panic!("{other:?}"),
    }
}

/// A tree in words: `x=3@5(a=1@4 …)`, with the commits of the atoms.
fn told(lineage: &Lineage) -> String {
    let mut text = format!("{}={}", lineage.field, lineage.value.to_json());
    match (&lineage.origin, &lineage.atom) {
        (Origin::Key, None) => text += "@key",
        (_, Some(atom)) => write!(text, "@{}", atom.commit).unwrap(),
        (_, None) => {}
    }
    if let Origin::Computed(found) = &lineage.origin {
        let inputs: Vec<_> = found.inputs.iter().map(told).collect();
        let inputs = if found.is_repeated { "above".to_owned() } else { inputs.join(" ") };
        write!(text, "({inputs})").unwrap();
        if let Some(failed) = &found.failure {
            let inputs: Vec<_> = failed.inputs.iter().map(told).collect();
            let (code, commit) = (&failed.error.code, failed.error.commit);
            write!(text, "!{code}@{commit}({})", inputs.join(" ")).unwrap();
        }
    }
    text
}

#[test]
fn a_tree_leads_down_to_the_values_that_people_wrote() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b"), ("part", "sum * id"), ("deep", "part - c")]));
    write(&db, "create", r#"{"id": 4, "a": 1, "b": 2, "c": 3}"#);
    let first = db.stats().unwrap().commit.0;
    write(&db, "update", r#"{"id": 4, "c": 5}"#);
    let (one, two) = (first, first + 1);
    let found = why(&db, 4, "deep");
    let expected =
        format!("deep=7@{two}(part=12@{one}(sum=3@{one}(a=1@{one} b=2@{one}) id=4@key) c=5@{two})");
    assert_eq!(told(&found), expected);
    let atom = found.atom.unwrap();
    let revision = derivation(&found).revision;
    assert_eq!(atom.writer, revision.writer());
    assert_eq!(derivation(&found).definition.logic, "part - c");
    let history = db.history(&name("S"), &[Value::Int(4)], Some(&field("deep")), None, 1).unwrap();
    assert_eq!((atom.id, atom.time), (history[0].id, history[0].time));
    let written = &derivation(&found).inputs[1];
    assert_eq!(written.origin, Origin::Written);
    assert_eq!(written.atom.unwrap().writer.to_string(), "owner");
    // As of then it is as it was then.
    let past = why_at(&db, "S", 4, "deep", Some(one));
    let expected =
        format!("deep=9@{one}(part=12@{one}(sum=3@{one}(a=1@{one} b=2@{one}) id=4@key) c=3@{one})");
    assert_eq!(told(&past), expected);
    // A value that people wrote, and a part of the key.
    assert_eq!(told(&why(&db, 4, "a")), format!("a=1@{one}"));
    assert_eq!(told(&why(&db, 4, "id")), "id=4@key");
}

#[test]
fn inputs_are_those_of_the_commit_that_computed() {
    let db = memory();
    approve(&db, &schema(&[("big", "a > 10"), ("text", r#"big ? "big" : "small""#)]));
    write(&db, "create", r#"{"id": 1, "a": 20}"#);
    let first = db.stats().unwrap().commit.0;
    write(&db, "update", r#"{"id": 1, "a": 30}"#);
    let found = why(&db, 1, "text");
    assert_eq!(told(&found), format!(r#"text="big"@{first}(big=true@{first}(a=20@{first}))"#));
    assert_eq!(derivation(&found).unchanged_since, None);
    let big = why(&db, 1, "big");
    assert_eq!(derivation(&big).unchanged_since.unwrap().0, first + 1);
    // Before that commit there was no change.
    let past = why_at(&db, "S", 1, "big", Some(first));
    assert_eq!(derivation(&past).unchanged_since, None);
}

#[test]
fn a_failure_tells_what_it_read_and_the_last_good_value_what_that_was_made_from() {
    let db = memory();
    approve(&db, &schema(&[("q", "a / b"), ("r", "q + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 2}"#);
    let good = db.stats().unwrap().commit.0;
    write(&db, "update", r#"{"id": 1, "b": 0}"#);
    let bad = good + 1;
    let q =
        format!("q=3@{good}(a=6@{good} b=2@{good})!division_by_zero@{bad}(a=6@{good} b=0@{bad})");
    assert_eq!(told(&why(&db, 1, "q")), q);
    let failed = why(&db, 1, "q");
    let failed = derivation(&failed).failure.as_ref().unwrap();
    assert_eq!((failed.error.line, failed.error.count), (1, 1));
    // What reads it was computed before it failed.
    let r = why(&db, 1, "r");
    assert_eq!(told(&r), format!("r=4@{good}(q=3@{good}(a=6@{good} b=2@{good}))"));
    assert_eq!(derivation(&why_at(&db, "S", 1, "q", Some(good))).failure, None);
    // A new record that fails has no value at all.
    write(&db, "create", r#"{"id": 2, "a": 6, "b": 0}"#);
    let new = bad + 1;
    let expected =
        format!("q=null(a=6@{new} b=0@{new})!division_by_zero@{new}(a=6@{new} b=0@{new})");
    assert_eq!(told(&why(&db, 2, "q")), expected);
    write(&db, "update", r#"{"id": 1, "b": 3}"#);
    assert_eq!(derivation(&why(&db, 1, "q")).failure, None);
    check_sound(&db);
}

#[test]
fn a_null_result_is_explained_too() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + b"), ("y", "x * 2")]));
    write(&db, "create", r#"{"id": 1, "a": 1}"#);
    let at = db.stats().unwrap().commit.0;
    assert_eq!(told(&why(&db, 1, "y")), format!("y=null(x=null(a=1@{at} b=null))"));
    assert_eq!(derivation(&why(&db, 1, "x")).inputs[1].origin, Origin::Written);
    write(&db, "update", r#"{"id": 1, "b": 1}"#);
    write(&db, "update", r#"{"id": 1, "b": null}"#);
    let (two, three) = (at + 1, at + 2);
    assert_eq!(told(&why(&db, 1, "x")), format!("x=null@{three}(a=1@{at} b=null@{three})"));
    assert_eq!(
        told(&why_at(&db, "S", 1, "x", Some(two))),
        format!("x=2@{two}(a=1@{at} b=1@{two})")
    );
}

#[test]
fn mapped_fields_name_their_root_and_lead_on() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b")]));
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "total": {"field_mappers": {"S": "sum"}}, "half": {"transform": {"logic": "total / 2"}}}}"#;
    approve(&db, view);
    write(&db, "create", r#"{"id": 1, "a": 3, "b": 5}"#);
    let at = db.stats().unwrap().commit.0;
    let found = why_at(&db, "V", 1, "half", None);
    assert_eq!(told(&found), format!("half=4@{at}(total=8@{at}(a=3@{at} b=5@{at}))"));
    let total = &derivation(&found).inputs[0];
    assert_eq!((total.schema.as_str(), &total.key), ("V", &found.key));
    assert_eq!(total.mapped_from, Some((name("S"), field("sum"))));
    assert_eq!(derivation(total).inputs[0].schema.as_str(), "S");
}

#[test]
fn long_lineages_are_bounded_and_say_what_is_left_out() {
    // A chain that is longer than a tree may be deep.
    let links = LINEAGE_DEPTH_MAX + 20;
    let chain: Vec<(String, String)> = (0..links)
        .map(|n| (format!("x{n}"), if n == 0 { "a".into() } else { format!("x{} + 1", n - 1) }))
        .collect();
    let chain: Vec<_> = chain.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let db = memory();
    approve(&db, &schema(&chain));
    write(&db, "create", r#"{"id": 1, "a": 1}"#);
    let found = why(&db, 1, &format!("x{}", links - 1));
    let (mut node, mut depth) = (&found, 1);
    while let Some(next) = derivation(node).inputs.first() {
        (node, depth) = (next, depth + 1);
    }
    assert_eq!((depth, derivation(node).left_out), (LINEAGE_DEPTH_MAX, 1));
    // A chain of diamonds has 2^40 paths and 80 values: each is told once.
    let diamonds: Vec<(String, String)> = (0..40)
        .flat_map(|n| {
            let of = if n == 0 { "a + b".into() } else { format!("l{0} + r{0}", n - 1) };
            [(format!("l{n}"), format!("min(1, {of})")), (format!("r{n}"), format!("max(0, {of})"))]
        })
        .collect();
    let diamonds: Vec<_> = diamonds.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let db = memory();
    approve(&db, &schema(&diamonds));
    write(&db, "create", r#"{"id": 1, "a": 0, "b": 0}"#);
    let found = why(&db, 1, "l39");
    assert!(count(&found) < 200, "{}", count(&found));
    assert!(told(&found).contains("above"));
    // So many inputs that they are more than a tree may have.
    let wide: Vec<String> = (0..LINEAGE_VALUES_MAX + 100).map(|n| format!("f{n}")).collect();
    let inputs: Vec<String> = wide.iter().map(|name| format!("\"{name}\": {{}}")).collect();
    let logic = format!("[{}]", wide.join(", "));
    let text = schema(&[("all", &logic)]);
    let text = text.replacen("\"c\":", &format!("{}, \"c\":", inputs.join(", ")), 1);
    let db = memory();
    approve(&db, &text);
    write(&db, "create", r#"{"id": 1}"#);
    let found = why(&db, 1, "all");
    assert_eq!(count(&found), LINEAGE_VALUES_MAX);
    assert_eq!(derivation(&found).left_out, 101);
}

fn count(lineage: &Lineage) -> usize {
    let inputs = match &lineage.origin {
        Origin::Computed(found) => found.inputs.iter().map(count).sum(),
        _ => 0,
    };
    1 + inputs
}

#[test]
fn what_is_not_there_is_an_error_with_a_suggestion() {
    let db = memory();
    approve(&db, &schema(&[("sum", "a + b")]));
    write(&db, "create", r#"{"id": 1}"#);
    let why = |schema: &str, key: Value, of: &str| {
        db.why(&name(schema), &[key], &field(of), Moment::Now).unwrap_err().to_string()
    };
    assert_eq!(why("S", 1.into(), "sun"), "`S` has no field `sun`; did you mean `sum`?");
    assert_eq!(why("T", 1.into(), "sum"), "schema `T` does not exist");
    assert_eq!(why("S", 2.into(), "sum"), "record `[2] of S` does not exist");
    assert!(why("S", "x".into(), "sum").starts_with("the key of `S`"));
    db.schemas().block_schema(&name("S"), None).unwrap();
    assert!(why("S", 1.into(), "sum").contains("Blocked"));
}

#[test]
fn impact_names_what_depends_on_a_field_in_order() {
    let db = memory();
    let computed =
        [("d", "b1 + b2"), ("b2", "x * 3"), ("b1", "x * 2"), ("x", "a + 1"), ("other", "c")];
    approve(&db, &schema(&computed));
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "x_of_s": {"field_mappers": {"S": "x"}},
        "twice": {"transform": {"logic": "x_of_s * 2"}}}}"#;
    approve(&db, view);
    write(&db, "create", r#"{"id": 1, "a": 1}"#);
    let told = |schema: &str, of: &str| -> Vec<String> {
        let impact = db.impact(&name(schema), &field(of)).unwrap();
        let line = |found: &datafold::engine::Dependent| {
            let direct = if found.is_direct { "*" } else { "" };
            assert_eq!(found.records, 1);
            format!("{}.{}{direct}<{}", found.schema, found.field, found.through.join(" "))
        };
        impact.dependents.iter().map(line).collect()
    };
    assert_eq!(
        told("S", "a"),
        ["S.x*<S.a", "S.b1<S.x", "S.b2<S.x", "V.x_of_s<S.x", "S.d<S.b1 S.b2", "V.twice<V.x_of_s"]
    );
    assert_eq!(told("S", "c"), ["S.other*<S.c"]);
    assert_eq!(told("S", "d"), [""; 0]);
    // What a mapped field shows is what its root is.
    assert_eq!(
        told("V", "x_of_s"),
        ["S.b1*<S.x", "S.b2*<S.x", "S.d<S.b1 S.b2", "V.twice*<V.x_of_s"]
    );
    assert_eq!(told("S", "id"), [""; 0]);
    let error = db.impact(&name("S"), &field("bl")).unwrap_err().to_string();
    assert_eq!(error, "`S` has no field `bl`; did you mean `a`?".replace("`a`", "`b`"));
}

#[test]
fn the_graph_has_each_field_behind_what_it_is_made_from() {
    let db = memory();
    approve(&db, &schema(&[("y", "x + b"), ("x", "a + 1")]));
    let other = schema(&[("z", "a")]).replace("\"S\"", "\"T\"");
    approve(&db, &other);
    let view = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "shown": {"field_mappers": {"S": "y"}}, "unused": {"field_mappers": {"S": "c"}}}}"#;
    approve(&db, view);
    let graph = |of: Option<&str>| -> Vec<(String, FieldRole, usize)> {
        let graph = db.transform_graph(of.map(name).as_ref()).unwrap();
        for (at, found) in graph.fields.iter().enumerate() {
            assert!(found.from.iter().all(|from| *from < at), "{found:?}");
        }
        let told = |found: &datafold::engine::GraphField| {
            (format!("{}.{}", found.schema, found.field), found.role, found.layer)
        };
        graph.fields.iter().map(told).collect()
    };
    let of_s = [
        ("S.a".to_owned(), FieldRole::Written, 0),
        ("S.b".to_owned(), FieldRole::Written, 0),
        ("S.x".to_owned(), FieldRole::Computed, 1),
        ("S.y".to_owned(), FieldRole::Computed, 2),
        ("V.shown".to_owned(), FieldRole::Mapped, 3),
    ];
    assert_eq!(graph(Some("S")), of_s);
    assert_eq!(graph(None).len(), 7);
    assert_eq!(graph(Some("V")), []);
    assert_eq!(db.transform_graph(Some(&name("W"))).unwrap_err().code(), "not_found");
}

#[test]
fn a_value_is_explained_in_a_few_milliseconds() {
    // Not a benchmark: a thousand times slower than it is would fail.
    let db = memory();
    approve(&db, &schema(&[("x", "a + b"), ("y", "x * c"), ("z", "y - x")]));
    for id in 0..500 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": {id}, "b": 2, "c": 3}}"#));
    }
    for id in 0..500 {
        let text = format!(
            r#"{{"mutation": "update", "schema": "S", "records": [{{"id": {id}, "c": 4}}]}}"#
        );
        mutate(&db, &text).unwrap();
        let found = why(&db, id, "z");
        assert_eq!(found.value, Value::Int((id + 2) * 3));
        assert_eq!(count(&found), 7);
    }
}

/// Values of other records stand in the tree as they were read, by whatever way they were found.
#[test]
fn a_tree_goes_on_in_other_records_as_of_then() {
    let db = memory();
    for text in [
        r#"{"name": "Plane", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
            "rows": {"value": {"type": "integer"}},
            "seats": {"transform": {"logic": "rows * 6"}}}}"#,
        r#"{"name": "Settings", "fields": {"rate": {"value": {"type": "integer"}}}}"#,
        r#"{"name": "Flight", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
            "plane": {"value": {"type": "integer"}},
            "price": {"transform": {"logic": "Plane[plane].seats * Settings.rate"}},
            "twin": {"transform": {"logic": "Plane.rows"}}}}"#,
    ] {
        approve(&db, text);
    }
    let write = |schema: &str, record: &str| {
        let text =
            format!(r#"{{"mutation": "upsert", "schema": "{schema}", "records": [{record}]}}"#);
        mutate(&db, &text).unwrap().commit.0
    };
    let plane = write("Plane", r#"{"id": 7, "rows": 10}"#);
    let rate = write("Settings", r#"{"rate": 2}"#);
    let flight = write("Flight", r#"{"id": 7, "plane": 7}"#);
    let again = write("Plane", r#"{"id": 7, "rows": 11}"#);
    let of_flight = |rows: i64, at: u64, plane: u64| {
        let (seats, price) = (rows * 6, rows * 12);
        format!(
            "price={price}@{at}(plane=7@{flight} seats={seats}@{plane}(rows={rows}@{plane}) \
             rate=2@{rate})"
        )
    };
    let now = why_at(&db, "Flight", 7, "price", None);
    assert_eq!(told(&now), of_flight(11, again, again));
    assert_eq!(derivation(&now).inputs[1].schema, name("Plane"));
    let then = why_at(&db, "Flight", 7, "price", Some(flight));
    assert_eq!(told(&then), of_flight(10, flight, plane));
    let twin = why_at(&db, "Flight", 7, "twin", None);
    assert_eq!(told(&twin), format!("twin=11@{again}(rows=11@{again})"));
    // Every version is what its inputs gave, in the past too.
    let report = db.verify_derived(|found| panic!("{found:?}")).unwrap();
    assert_eq!((report.differences, report.stale, report.records), (0, 0, 2));
    let (schema, records) = (name("Flight"), TrialRecords::First(1));
    let trial = Trial { schema, field: None, definition: None, records };
    let tried = db.try_transforms(&trial).unwrap();
    let values: Vec<_> = tried.records[0].values.iter().map(|found| &found.computed).collect();
    assert_eq!(values, [&Value::Int(132), &Value::Int(11)]);
    check_sound(&db);
}
