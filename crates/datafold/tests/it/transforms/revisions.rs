//! Changed logic of a schema that is approved: what is computed again, and what stays of before.

use datafold::FoldDb;
use datafold::data_layer::{CommitNumber, Moment, Origin, TransformState};
use datafold::engine::{ChangeKind, ChangesQuery};
use datafold::model::{SchemaState, Value};
use datafold_testkit::{CutKind, Random, is_full_size, replay, seed_from_env};

use super::{field, schema, value, write, writers};
use crate::harness::{
    Place, all, approve, check_sound, fold_db_within, memory, mutate, name, query,
};

fn revise(db: &FoldDb, computed: &[(&str, &str)]) -> Vec<String> {
    let (name, fields, _) = db.schemas().revise_text(&schema(computed), None).unwrap();
    db.schemas().wait_for_transforms(&name).unwrap();
    fields.iter().map(ToString::to_string).collect()
}

fn verified(db: &FoldDb) -> u64 {
    check_sound(db);
    let report = db.verify_derived(|difference| panic!("{difference:?}")).unwrap();
    assert_eq!((report.differences, report.unregistered), (0, 0));
    report.values
}

#[test]
fn only_what_changed_is_computed_again() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + b"), ("y", "x > 10"), ("z", "a * 2")]));
    for id in 0..300 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": {id}, "b": 1}}"#));
    }
    let before = db.stats().unwrap();
    let revisions = db.schemas().transforms(&name("S")).unwrap();
    assert_eq!(
        revise(&db, &[("x", "b > 1 ? 0 : a + (a < 100 ? 1 : 2)"), ("y", "x > 10"), ("z", "a * 2")]),
        ["x"]
    );
    let after = db.schemas().transforms(&name("S")).unwrap();
    assert_ne!(after[0].revision, revisions[0].revision);
    assert_eq!(
        [after[1].revision, after[2].revision],
        [revisions[1].revision, revisions[2].revision]
    );
    assert_eq!(after[0].state, "ready");
    // Below 100 the result is the same, and there is no atom; `y` is true for the others already.
    assert_eq!(db.stats().unwrap().total_atoms - before.total_atoms, 200);
    assert_eq!((value(&db, 50, "x"), value(&db, 250, "x")), (Value::Int(51), Value::Int(252)));
    // Both revisions are named by what they wrote, and by commits the values of before are there.
    let [new, old] = [after[0].revision, revisions[0].revision].map(|of| format!("transform-{of}"));
    let found: Vec<_> = writers(&db, 250, "x").into_iter().map(|(writer, _)| writer).collect();
    assert_eq!(found, [new, old.clone()]);
    assert_eq!(writers(&db, 50, "x")[0].0, old);
    let text = format!(
        r#"{{"schema": "S", "select": ["x"], "key": {{"exact": [250]}}, "as_of": {}}}"#,
        before.commit
    );
    assert_eq!(query(&db, &text).unwrap().records[0].values, [Value::Int(251)]);
    write(&db, "update", r#"{"id": 50, "b": 2}"#);
    assert_eq!((value(&db, 50, "x"), value(&db, 50, "y")), (Value::Int(0), Value::Bool(false)));
    assert!(verified(&db) > 1_100);
    // The same again changes nothing.
    let commit = db.stats().unwrap().commit;
    assert!(
        revise(&db, &[("x", "b > 1 ? 0 : a + (a < 100 ? 1 : 2)"), ("y", "x > 10"), ("z", "a * 2")])
            .is_empty()
    );
    assert_eq!(db.stats().unwrap().commit, commit);
}

#[test]
fn values_of_before_are_explained_by_the_logic_of_then() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 5}"#);
    let commit = db.stats().unwrap().commit;
    revise(&db, &[("x", "a + 2")]);
    let why = |moment| {
        let why = db.why(&name("S"), &[Value::Int(1)], &field("x"), moment).unwrap();
        let Origin::Computed(derivation) = why.lineage.origin else { panic!() };
        (why.lineage.value, derivation.definition.logic, derivation.state, derivation.inputs.len())
    };
    let expected = (Value::Int(7), "a + 2".to_owned(), TransformState::Ready, 1);
    assert_eq!(why(Moment::Now), expected);
    let expected = (Value::Int(6), "a + 1".to_owned(), TransformState::Retired, 1);
    assert_eq!(why(Moment::Commit(commit)), expected);
    // Back to what it was: a revision of its own.
    revise(&db, &[("x", "a + 1")]);
    assert_eq!(value(&db, 1, "x"), Value::Int(6));
    assert_eq!(verified(&db), 1 + 2);
}

#[test]
fn failures_and_what_was_looked_up_end_with_their_revision() {
    let db = memory();
    approve(&db, &schema(&[("x", "S[b].a"), ("y", "10 / c")]));
    write(&db, "create", r#"{"id": 1, "a": 5, "b": 2, "c": 0}, {"id": 2, "a": 7, "b": 1, "c": 0}"#);
    assert_eq!(db.schemas().transforms(&name("S")).unwrap()[1].failing, 2);
    revise(&db, &[("x", "S[b].c"), ("y", "c")]);
    assert_eq!(all(&db, "S"), "[1,5,2,0,0,0]\n[2,7,1,0,0,0]\n");
    assert_eq!(db.schemas().transforms(&name("S")).unwrap()[1].failing, 0);
    // What the old ones needed is removed, and a change reaches those that look it up now.
    write(&db, "update", r#"{"id": 1, "c": 3, "a": 9}"#);
    assert_eq!(all(&db, "S"), "[1,9,2,3,0,3]\n[2,7,1,0,3,0]\n");
    // The feed tells of the failures of before.
    let feed = db.changes(&ChangesQuery::from(CommitNumber(1))).unwrap();
    let failed = feed.commits.iter().flat_map(|commit| &commit.changes);
    assert_eq!(failed.filter(|change| change.kind == ChangeKind::Failed).count(), 2);
    verified(&db);
}

#[test]
fn an_error_of_the_new_logic_keeps_the_value_of_the_old() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + 1")]));
    write(&db, "create", r#"{"id": 1, "a": 5, "b": 0}"#);
    revise(&db, &[("x", "a / b")]);
    assert_eq!(value(&db, 1, "x"), Value::Int(6));
    assert_eq!(db.schemas().transforms(&name("S")).unwrap()[0].failing, 1);
    let why = db.why(&name("S"), &[Value::Int(1)], &field("x"), Moment::Now).unwrap();
    let Origin::Computed(derivation) = why.lineage.origin else { panic!() };
    assert_eq!(derivation.definition.logic, "a + 1");
    assert_eq!(derivation.failure.unwrap().error.code, "division_by_zero");
    write(&db, "update", r#"{"id": 1, "b": 5}"#);
    assert_eq!(value(&db, 1, "x"), Value::Int(1));
    verified(&db);
}

#[test]
fn aggregates_of_a_new_revision_are_gathered_anew() {
    let db = memory();
    approve(&db, &schema(&[]));
    let of = |aggregate: &str| {
        format!(
            r#"{{"name": "G", "key": ["g"], "fields": {{"g": {{"value": {{"type": "integer"}}}},
                "r": {{"transform": {{"inputs": {{"n": {{"aggregate": "{aggregate}", "of": "S",
                    "by": ["b"]}}}}, "logic": "n"}}}}}}}}"#
        )
    };
    approve(&db, &of("sum(a)"));
    for id in 0..200 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": {id}, "b": {}}}"#, id % 2));
    }
    mutate(&db, r#"{"mutation": "create", "schema": "G", "records": [{"g": 0}, {"g": 1}]}"#)
        .unwrap();
    assert_eq!(all(&db, "G"), "[0,9900]\n[1,10000]\n");
    db.schemas().revise_text(&of("max(a)"), None).unwrap();
    db.schemas().wait_for_transforms(&name("G")).unwrap();
    assert_eq!(all(&db, "G"), "[0,198]\n[1,199]\n");
    write(&db, "update", r#"{"id": 199, "b": 0}"#);
    assert_eq!(all(&db, "G"), "[0,199]\n[1,197]\n");
    verified(&db);
}

#[test]
fn until_all_is_computed_the_values_of_before_are_stale() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + 1"), ("y", "x * 2"), ("z", "b")]));
    for id in 0..3_000 {
        let mut records = Vec::new();
        if id % 500 == 0 {
            records.extend((id..id + 500).map(|id| format!(r#"{{"id": {id}, "a": {id}}}"#)));
            write(&db, "create", &records.join(", "));
        }
    }
    let revised = schema(&[("x", "a + 2"), ("y", "x * 2"), ("z", "b")]);
    db.schemas().revise_text(&revised, None).unwrap();
    let text = r#"{"schema": "S", "sort": ["-id"], "limit": 1}"#;
    let mut was_stale = false;
    loop {
        let answer = query(&db, text).unwrap();
        let is_done = answer.records[0].get("x") == Some(&Value::Int(3_001));
        let stale: Vec<_> = answer.stale.iter().map(|field| field.as_str()).collect();
        if is_done {
            break;
        }
        assert_eq!(stale, ["x", "y"]);
        was_stale = true;
    }
    assert!(was_stale, "the last record was computed before it could be read");
    db.schemas().wait_for_transforms(&name("S")).unwrap();
    assert!(query(&db, text).unwrap().stale.is_empty());
}

#[test]
fn elements_that_others_have_in_the_records_stay_counted() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + 1")]));
    let view = |logic: &str| {
        format!(
            r#"{{"name": "V", "key": ["id"], "fields": {{
                "id": {{"value": {{"type": "integer"}}}},
                "a": {{"field_mappers": {{"S": "a"}}}}, "notes": {{"field_type": "Collection"}},
                "y": {{"transform": {{"logic": "{logic}"}}}}}}}}"#
        )
    };
    approve(&db, &view("a * 2"));
    write(&db, "create", r#"{"id": 1, "a": 5}, {"id": 2, "a": 6}"#);
    for id in [1, 2] {
        let put = format!(
            r#"{{"mutation": "put", "schema": "V", "key": {id}, "field": "notes",
                "elements": {{"n": 1, "m": 2}}}}"#
        );
        mutate(&db, &put).unwrap();
    }
    revise(&db, &[("x", "a + 2")]);
    check_sound(&db);
    mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [1]}"#).unwrap();
    check_sound(&db);
    db.schemas().revise_text(&view("a * 3"), None).unwrap();
    db.schemas().wait_for_transforms(&name("V")).unwrap();
    mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [2]}"#).unwrap();
    verified(&db);
    assert_eq!(db.stats().unwrap().total_elements, 0);
}

#[test]
fn what_a_revision_read_once_cannot_be_deleted() {
    let db = memory();
    approve(&db, r#"{"name": "F", "fields": {"rate": {"value": {"type": "integer"}}}}"#);
    approve(&db, &schema(&[("x", "a / (F.rate ?? b)")]));
    write(&db, "create", r#"{"id": 1, "a": 6, "b": 3}, {"id": 2, "a": 6, "b": 0}"#);
    revise(&db, &[("x", "a + 1")]);
    let error = db.schemas().delete(&name("F")).unwrap_err().to_string();
    assert!(error.contains("is read or computed by `S.x` and cannot be deleted"), "{error}");
    verified(&db);
}

#[test]
fn a_revision_beside_what_is_queued_leaves_nothing_of_the_old_one() {
    let limits = datafold::data_layer::PropagationLimits { outputs: 5, ..Default::default() };
    let mut place = Place::memory();
    let db = fold_db_within(place.open(), limits);
    approve(&db, r#"{"name": "One", "fields": {"rate": {"value": {"type": "integer"}}}}"#);
    approve(&db, &schema(&[("x", "a + One.rate")]));
    for id in 0..400 {
        write(&db, "create", &format!(r#"{{"id": {id}, "a": 1}}"#));
    }
    for round in 0..20 {
        let text = format!(
            r#"{{"mutation": "upsert", "schema": "One", "records": [{{"rate": {round}}}]}}"#
        );
        mutate(&db, &text).unwrap();
        let logic = format!("a + One.rate + {round}");
        db.schemas().revise_text(&schema(&[("x", &logic)]), None).unwrap();
    }
    db.schemas().wait_for_transforms(&name("S")).unwrap();
    assert_eq!(value(&db, 399, "x"), Value::Int(1 + 19 + 19));
    verified(&db);
}

#[test]
fn elements_are_those_of_the_new_logic_and_name_who_computed_them() {
    let db = memory();
    let of = |logic: &str| {
        schema(&[("sum", "sum(values(parts))")]).replacen(
            r#""sum""#,
            &format!(
                r#""parts": {{"field_type": "Range", "transform": {{"logic": "{logic}"}}}}, "sum""#
            ),
            1,
        )
    };
    approve(&db, &of("{k: a, l: b}"));
    write(&db, "create", r#"{"id": 1, "a": 1, "b": 2}, {"id": 2, "a": 3, "b": 4}"#);
    let before = db.stats().unwrap().commit;
    db.schemas().revise_text(&of("{k: a, m: b * 10}"), None).unwrap();
    db.schemas().wait_for_transforms(&name("S")).unwrap();
    let expected = "[1,1,2,null,{\"k\":1,\"m\":20},21]\n[2,3,4,null,{\"k\":3,\"m\":40},43]\n";
    assert_eq!(all(&db, "S"), expected);
    write(&db, "update", r#"{"id": 2, "a": 5}"#);
    mutate(&db, r#"{"mutation": "delete", "schema": "S", "keys": [1]}"#).unwrap();
    assert_eq!(all(&db, "S"), "[2,5,4,null,{\"k\":5,\"m\":40},45]\n");
    let text = format!(r#"{{"schema": "S", "select": ["sum"], "as_of": {before}}}"#);
    let found = query(&db, &text).unwrap().records;
    assert_eq!(found[1].values, [Value::Int(7)]);
    verified(&db);
}

#[test]
fn an_output_that_is_named_is_the_same_as_none() {
    let db = memory();
    approve(&db, &schema(&[("x", "a + 1")]));
    let named = schema(&[("x", "a + 2")]).replace("\"logic\"", "\"output\": \"S.x\", \"logic\"");
    let (_, fields, _) = db.schemas().revise_text(&named, None).unwrap();
    assert_eq!(fields, [field("x")]);
}

#[test]
fn what_else_differs_is_refused_and_nothing_changes() {
    let db = memory();
    let definition = schema(&[("x", "a + 1")]);
    approve(&db, &definition);
    write(&db, "create", r#"{"id": 1, "a": 5}"#);
    let commit = db.stats().unwrap().commit;
    let refusal = |text: &str| {
        let error = db.schemas().revise_text(text, None).unwrap_err().to_string();
        assert_eq!(db.stats().unwrap().commit, commit);
        error
    };
    let found = refusal(&definition.replace("\"c\"", "\"d\""));
    assert!(found.contains("differs in more than how its fields are computed"), "{found}");
    let found = refusal(&schema(&[]));
    assert!(found.contains("differs in more"), "{found}");
    let plain = schema(&[]).replace("\"c\": {", "\"c\": {\"transform\": {\"logic\": \"1\"}, ");
    let found = refusal(&plain.replacen(
        "}}}",
        "}, \"x\": {\"writable\": false, \"transform\": {\"logic\": \"a + 1\"}}}}",
        1,
    ));
    assert!(found.contains("cannot begin or cease to compute `c`"), "{found}");
    let found = refusal(&schema(&[("x", "a +")]));
    assert!(found.contains("line 1, column 4"), "{found}");
    let found = refusal(&schema(&[("x", "x + 1")]));
    assert!(found.contains("computed from itself"), "{found}");
    let unknown = definition.replace("\"S\"", "\"T\"");
    assert!(refusal(&unknown).contains("`T`") || refusal(&unknown).contains("T"));
    assert_eq!(value(&db, 1, "x"), Value::Int(6));
    // One that is not approved has its definition replaced.
    let waiting = db.schemas().load_text(&unknown, None).unwrap().name;
    let (_, fields, _) =
        db.schemas().revise_text(&unknown.replace("a + 1", "a + 2"), None).unwrap();
    assert_eq!(fields.len(), 1);
    assert_eq!(db.pool().schemas().get_state(&waiting).unwrap(), Some(SchemaState::Available));
    db.schemas().delete(&waiting).unwrap();
}

/// What `x` is computed by, and what it is then of `a` and `b`.
type Logic = (&'static str, fn(i64, i64) -> i64);

const LOGIC: [Logic; 4] = [
    ("a + b", |a, b| a + b),
    ("a", |a, _| a),
    ("S[a].b ?? a - b", |_, _| unreachable!()),
    ("a > 3 ? 1 : b", |a, b| if a > 3 { 1 } else { b }),
];

struct Model {
    random: Random,
    place: Place,
    db: Option<FoldDb>,
    logic: usize,
    /// `a` and `b` by id.
    records: std::collections::BTreeMap<i64, (i64, i64)>,
    past: Vec<(u64, String)>,
}

impl Model {
    fn db(&self) -> &FoldDb {
        self.db.as_ref().unwrap()
    }

    fn definition(logic: usize) -> String {
        schema(&[("x", LOGIC[logic].0), ("y", "x * 2")])
    }

    fn reopen(&mut self) {
        self.db = Some(fold_db_within(self.place.open(), Default::default()));
    }

    fn expected(&self) -> String {
        let x = |(a, b): (i64, i64)| match self.logic {
            2 => self.records.get(&a).map_or(a - b, |found| found.1),
            logic => LOGIC[logic].1(a, b),
        };
        let line = |(id, (a, b)): (&i64, &(i64, i64))| {
            let x = x((*a, *b));
            format!("[{id},{a},{b},null,{x},{}]\n", 2 * x)
        };
        self.records.iter().map(line).collect()
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 => {
                self.logic = self.random.below(LOGIC.len());
                let text = Self::definition(self.logic);
                self.db().schemas().revise_text(&text, None).unwrap();
            }
            1 => self.settle(),
            2 => {
                let Place::Sim(disk) = &self.place else { return };
                let seed = self.random.next_u64();
                let after = match self.random.choose(&CutKind::ALL) {
                    Some(kind) if self.random.one_in(2) => disk.power_cut(*kind, seed),
                    _ => disk.process_kill(seed),
                };
                self.db = None;
                self.place = Place::Sim(after);
                self.reopen();
            }
            3 => {
                let id = self.random.below(20) as i64;
                if self.records.remove(&id).is_some() {
                    let text =
                        format!(r#"{{"mutation": "delete", "schema": "S", "keys": [{id}]}}"#);
                    mutate(self.db(), &text).unwrap();
                }
            }
            _ => {
                let id = self.random.below(20) as i64;
                let (a, b) = (self.random.below(9) as i64, self.random.below(9) as i64);
                self.records.insert(id, (a, b));
                write(self.db(), "upsert", &format!(r#"{{"id": {id}, "a": {a}, "b": {b}}}"#));
            }
        }
    }

    fn settle(&mut self) {
        self.db().schemas().wait_for_transforms(&name("S")).unwrap();
        assert_eq!(all(self.db(), "S"), self.expected());
        verified(self.db());
        self.past.push((self.db().stats().unwrap().commit.0, self.expected()));
        for _ in 0..2 {
            let (commit, expected) = self.random.choose(&self.past).unwrap();
            let text = format!(r#"{{"schema": "S", "as_of": {commit}}}"#);
            let answer = query(self.db(), &text).unwrap();
            let line = |values: &[Value]| Value::Array(values.to_vec()).to_json() + "\n";
            let found: String = answer.records.iter().map(|record| line(&record.values)).collect();
            assert_eq!(found, *expected, "as of {commit}");
        }
    }
}

#[test]
fn random_revisions_with_kills_and_power_cuts_are_what_a_recomputation_gives() {
    let seed = seed_from_env(0x5EED);
    let runs = if is_full_size() { 2_000 } else { 60 };
    for index in 0..runs {
        let seed = Random::part(seed, index).next_u64();
        let outcome = std::panic::catch_unwind(|| {
            let place = Place::sim(seed);
            let (random, records, past) = (Random::new(seed), Default::default(), Vec::new());
            let mut model = Model { random, place, db: None, logic: 0, records, past };
            model.reopen();
            approve(model.db(), &Model::definition(0));
            (0..60).for_each(|_| model.step());
            model.settle();
        });
        if let Err(panic) = outcome {
            eprintln!("run {index} failed: {}", replay(seed));
            std::panic::resume_unwind(panic);
        }
    }
}
