//! Secondary indexes: what they hold, how they are built, and what unique ones refuse.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datafold::FoldDb;
use datafold::engine::{FoldDbError, ImportFormat, ImportOptions, Mutation, RecordInput};
use datafold::model::{FieldName, IndexDefinition, SchemaName, Value};
use datafold_testkit::{ApplyFault, Random, seed_from_env};

use crate::harness::all;
use crate::stage::{Stage, code, linger, set};

const PERSON: &str = r#"{"name": "Person", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "email": {"value": {"type": ["string", "null"]}},
    "team": {}, "note": {}}}"#;

fn name() -> SchemaName {
    SchemaName::parse("Person").unwrap()
}

fn definition(fields: &[&str], unique: bool) -> IndexDefinition {
    let fields = fields.iter().map(|field| FieldName::parse(field).unwrap()).collect();
    IndexDefinition { fields, unique }
}

fn database() -> FoldDb {
    let db = FoldDb::open("memory:").unwrap();
    prepare(&db);
    db
}

fn prepare(db: &FoldDb) {
    db.schemas().load_text(PERSON, None).unwrap();
    db.schemas().approve_schema(&name()).unwrap();
}

fn person(id: i64, email: Option<&str>) -> RecordInput {
    [("id".to_owned(), Value::Int(id)), ("email".to_owned(), email.into())].into()
}

fn upsert(db: &FoldDb, records: Vec<RecordInput>) -> Result<(), FoldDbError> {
    db.mutate(&Mutation::upsert(name(), records).into()).map(drop)
}

fn delete(db: &FoldDb, id: i64) {
    db.mutate(&Mutation::delete(name(), vec![vec![Value::Int(id)]]).into()).unwrap();
}

fn states(db: &FoldDb) -> Vec<(&'static str, usize)> {
    let found = db.schemas().indexes(&name()).unwrap();
    found.iter().map(|index| (index.state, index.duplicates.len())).collect()
}

fn assert_sound(db: &FoldDb) {
    assert_eq!(db.verify().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_unique_index_refuses_values_of_another_record() {
    let db = database();
    db.schemas().create_index(&name(), &definition(&["email"], true)).unwrap();
    assert_eq!(states(&db), [("ready", 0)]);
    upsert(&db, vec![person(1, Some("a@x")), person(2, None), person(3, None)]).unwrap();
    let error = upsert(&db, vec![person(4, Some("b@x")), person(5, Some("a@x"))]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record [5] of `Person` has the values of record [1] in the unique index on email"
    );
    assert_eq!(error.code(), "duplicate");
    assert!(db.get(&name(), &[Value::Int(4)]).unwrap().is_none(), "all or nothing");
    // Two of one transaction.
    upsert(&db, vec![person(6, Some("c@x")), person(7, Some("c@x"))]).unwrap_err();
    // The same record again, another case of it, and after its deletion.
    upsert(&db, vec![person(1, Some("a@x"))]).unwrap();
    upsert(&db, vec![person(1, Some("d@x")), person(8, Some("a@x"))]).unwrap();
    delete(&db, 8);
    upsert(&db, vec![person(9, Some("a@x"))]).unwrap();
    assert_sound(&db);
}

#[test]
fn records_can_swap_their_values_in_one_transaction() {
    let db = database();
    db.schemas().create_index(&name(), &definition(&["email"], true)).unwrap();
    upsert(&db, vec![person(1, Some("a")), person(2, Some("b"))]).unwrap();
    upsert(&db, vec![person(1, Some("b")), person(2, Some("a"))]).unwrap();
    upsert(&db, vec![person(3, Some("a"))]).unwrap_err();
    upsert(&db, vec![person(3, Some("b"))]).unwrap_err();
    assert_sound(&db);
}

#[test]
fn a_transaction_meets_an_index_that_was_made_after_it_began() {
    let db = database();
    upsert(&db, vec![person(1, Some("a"))]).unwrap();
    let mut runs = 0;
    let error = db.transact(|transaction| {
        transaction.mutate(Mutation::upsert(name(), vec![person(2, Some("a"))]))?;
        if runs == 0 {
            db.schemas().create_index(&name(), &definition(&["email"], true))?;
            db.schemas().wait_for_indexes(&name())?;
        }
        runs += 1;
        Ok::<_, FoldDbError>(())
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("has the values of record [1]"), "{error}");
    assert_sound(&db);
}

#[test]
fn an_index_is_built_over_the_records_that_are_there() {
    let db = database();
    let people = |from: i64| (from..from + 700).map(|id| person(id, Some(&format!("{id}"))));
    upsert(&db, people(0).collect()).unwrap();
    upsert(&db, people(700).collect()).unwrap();
    delete(&db, 5);
    let schemas = db.schemas();
    schemas.create_index(&name(), &definition(&["team", "email"], false)).unwrap();
    schemas.create_index(&name(), &definition(&["email"], true)).unwrap();
    schemas.wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), [("ready", 0), ("ready", 0)]);
    assert_sound(&db);
    upsert(&db, vec![person(5, Some("6"))]).unwrap_err();
    upsert(&db, vec![person(6, Some("5")), person(5, Some("6"))]).unwrap();
    assert_sound(&db);
}

#[test]
fn a_unique_index_over_duplicates_fails_with_their_list_and_can_be_made_again() {
    let db = database();
    upsert(&db, (0..600).map(|id| person(id, Some(&format!("{}", id.max(3))))).collect()).unwrap();
    let unique = definition(&["email"], true);
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    let found = db.schemas().indexes(&name()).unwrap();
    let listed = found[0].duplicates.iter().map(|(a, b)| format!("{a}{b}")).collect::<Vec<_>>();
    assert_eq!((found[0].state, listed.join(" ").as_str()), ("failed", "[0][1] [0][2] [0][3]"));
    // It refuses nothing.
    upsert(&db, vec![person(700, Some("3"))]).unwrap();
    for id in [1, 2, 3, 700] {
        upsert(&db, vec![person(id, Some(&format!("mended {id}")))]).unwrap();
    }
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), [("ready", 0)]);
    upsert(&db, vec![person(701, Some("3"))]).unwrap_err();
    assert_sound(&db);
}

#[test]
fn a_dropped_index_leaves_no_entry_and_refuses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("store");
    let db = FoldDb::create(url.to_str().unwrap()).unwrap();
    prepare(&db);
    let unique = definition(&["email"], true);
    db.schemas().create_index(&name(), &unique).unwrap();
    upsert(&db, (0..600).map(|id| person(id, Some(&format!("{id}")))).collect()).unwrap();
    db.schemas().drop_index(&name(), &unique.fields).unwrap();
    upsert(&db, vec![person(700, Some("3"))]).unwrap();
    assert_eq!(states(&db), []);
    let error = db.schemas().drop_index(&name(), &unique.fields).unwrap_err();
    assert_eq!(error.code(), "not_found");
    db.pool().close().unwrap();
    // What was not removed yet goes on here; a new one meets nothing of the old one.
    let db = FoldDb::open(url.to_str().unwrap()).unwrap();
    upsert(&db, vec![person(700, None)]).unwrap();
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), [("ready", 0)]);
    assert_sound(&db);
}

#[test]
fn definitions_with_indexes_have_them_from_their_approval_on() {
    let db = FoldDb::open("memory:").unwrap();
    let text = PERSON
        .replace(r#""fields""#, r#""indexes": [{"fields": ["email"], "unique": true}], "fields""#);
    db.schemas().load_text(&text, None).unwrap();
    let first = vec![person(1, Some("a"))];
    db.schemas().approve_schema_with_atoms(&name(), first).unwrap();
    assert_eq!(states(&db), [("ready", 0)]);
    upsert(&db, vec![person(2, Some("a"))]).unwrap_err();
    assert_sound(&db);
}

#[test]
fn fields_that_cannot_be_indexed_are_refused() {
    let db = FoldDb::open("memory:").unwrap();
    let text = PERSON.replace(r#""note": {}"#, r#""note": {"field_type": "Collection"}"#);
    db.schemas().load_text(&text, None).unwrap();
    let message = |fields: &[&str], unique| {
        let error = db.schemas().create_index(&name(), &definition(fields, unique)).unwrap_err();
        error.to_string()
    };
    let of = |rule: &str| format!("an index of schema `Person` {rule}");
    assert_eq!(
        message(&["note"], false),
        of("is on `note`, which has elements: only Single fields can")
    );
    assert_eq!(message(&["x"], false), of("is on `x`, which is none of its fields"));
    assert_eq!(message(&["team", "team"], false), of("names `team` twice"));
    assert_eq!(message(&[], false), of("must have 1 to 16 fields, not 0"));
    db.schemas().create_index(&name(), &definition(&["team"], false)).unwrap();
    db.schemas().create_index(&name(), &definition(&["team"], false)).unwrap();
    assert_eq!(states(&db).len(), 1);
    assert_eq!(
        message(&["team"], true),
        "index `the index on team` already exists with the same fields; drop it first"
    );
}

/// Values of all kinds, few of them, and texts that differ only behind what an entry holds.
fn any_value(random: &mut Random) -> Value {
    let long = |end: &str| Value::Text(format!("{}{end}", "é".repeat(150)));
    match random.below(12) {
        0 | 1 => Value::Null,
        2 => Value::Bool(random.below(2) == 0),
        3 | 4 => Value::Int(random.below(3) as i64),
        5 => Value::number(0.5).unwrap(),
        6 => long("a"),
        7 => long("b"),
        8 => Value::Array(vec![Value::Int(random.below(2) as i64)]),
        9 => [("a".to_owned(), Value::Int(random.below(2) as i64))].into_iter().collect(),
        _ => Value::Text(["", "a", "a\0", "b"][random.below(4)].to_owned()),
    }
}

/// Random writes beside a map, with a unique index that is made, dropped and made again.
#[test]
fn a_unique_index_refuses_just_what_a_map_refuses() {
    let seed = seed_from_env(0x1DE);
    for case in 0..30 {
        let mut random = Random::part(seed, case);
        let db = database();
        let unique = definition(&["team", "note"], true);
        let mut model: BTreeMap<i64, (Value, Value)> = BTreeMap::new();
        let mut is_kept = false;
        for step in 0..120 {
            match random.below(20) {
                0 if !is_kept => {
                    db.schemas().create_index(&name(), &unique).unwrap();
                    db.schemas().wait_for_indexes(&name()).unwrap();
                    is_kept = has_no_duplicates(&model);
                    let state = if is_kept { "ready" } else { "failed" };
                    assert_eq!(states(&db)[0].0, state, "seed {seed:#x} case {case} step {step}");
                }
                1 if is_kept => {
                    db.schemas().drop_index(&name(), &unique.fields).unwrap();
                    is_kept = false;
                }
                2 | 3 if !model.is_empty() => {
                    let at = random.below(model.len());
                    let id = *model.keys().nth(at).unwrap();
                    delete(&db, id);
                    model.remove(&id);
                }
                _ => {
                    let mut after = model.clone();
                    let mut records = Vec::new();
                    for _ in 0..=random.below(3) {
                        let id = random.below(8) as i64;
                        let (team, note) = (any_value(&mut random), any_value(&mut random));
                        let values = [("team", team.clone()), ("note", note.clone())];
                        let mut record: RecordInput = values
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), value))
                            .collect();
                        record.insert("id".to_owned(), Value::Int(id));
                        records.push(record);
                        after.insert(id, (team, note));
                    }
                    let written = upsert(&db, records);
                    let fits = !is_kept || has_no_duplicates(&after);
                    assert_eq!(written.is_ok(), fits, "seed {seed:#x} case {case} step {step}");
                    if fits {
                        model = after;
                    }
                }
            }
        }
        assert_sound(&db);
    }
}

fn has_no_duplicates(model: &BTreeMap<i64, (Value, Value)>) -> bool {
    let with_all = model.values().filter(|(a, b)| *a != Value::Null && *b != Value::Null);
    let mut seen: Vec<&(Value, Value)> = Vec::new();
    with_all.into_iter().all(|values| {
        let is_new = !seen.contains(&values);
        seen.push(values);
        is_new
    })
}

#[test]
fn an_index_that_is_built_while_writes_go_on_is_exact() {
    let db = database();
    let people = |from: i64| (from..from + 1_000).map(|id| person(id, Some(&format!("{id}"))));
    for from in 0..5 {
        upsert(&db, people(from * 1_000).collect()).unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut random = Random::part(7, writer);
                while !stop.load(Ordering::Relaxed) {
                    let id = random.below(5_200) as i64;
                    match random.below(4) {
                        0 => drop(
                            db.mutate(&Mutation::delete(name(), vec![vec![Value::Int(id)]]).into()),
                        ),
                        // Often the value of another record, which the unique index refuses.
                        n => {
                            let email = format!("{}", id + n as i64 - 1);
                            let _ = upsert(db, vec![person(id, Some(&email))]);
                        }
                    }
                }
            });
        }
        for index in [definition(&["email", "id"], false), definition(&["team"], false)] {
            db.schemas().create_index(&name(), &index).unwrap();
        }
        db.schemas().wait_for_indexes(&name()).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(states(&db), [("ready", 0), ("ready", 0)]);
    assert_sound(&db);
}

#[test]
fn a_build_that_was_interrupted_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("store");
    let url = url.to_str().unwrap();
    let db = FoldDb::create(url).unwrap();
    prepare(&db);
    for from in 0..10 {
        let people = (from * 2_000)..(from + 1) * 2_000;
        upsert(&db, people.map(|id| person(id, Some(&format!("{id}")))).collect()).unwrap();
    }
    db.schemas().create_index(&name(), &definition(&["email"], true)).unwrap();
    let mut seen = Vec::new();
    let mut db = db;
    while states(&db) == [("building", 0)] {
        let read = db.schemas().indexes(&name()).unwrap()[0].records_read.unwrap();
        seen.push(read);
        // Changes on both sides of where it is.
        let (low, high) = (seen.len() as i64 * 40, 19_000 - seen.len() as i64 * 40);
        let email = format!("new {read} {}", seen.len());
        let records = vec![person(low, Some(&email)), person(high, Some(&format!("{email}!")))];
        upsert(&db, records).unwrap();
        db.pool().close().unwrap();
        db = FoldDb::open(url).unwrap();
    }
    assert_eq!(states(&db), [("ready", 0)]);
    assert!(seen.is_sorted(), "no opening begins anew: {seen:?}");
    assert_sound(&db);
    upsert(&db, vec![person(30_000, Some("7"))]).unwrap_err();
}

const EMAILS: &str = r#"{"name": "Emails", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "email": {"field_mappers": {"Person": "email"}},
    "seen": {"value": {"type": "integer"}}}}"#;

/// A keyed schema that maps has the records of its source, and so has its index.
#[test]
fn an_index_of_a_schema_that_maps_is_over_the_records_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("store");
    let url = url.to_str().unwrap();
    let db = FoldDb::create(url).unwrap();
    prepare(&db);
    upsert(&db, vec![person(1, Some("a")), person(2, None)]).unwrap();
    let emails = db.schemas().load_text(EMAILS, None).unwrap().name;
    let unique = definition(&["email", "seen"], true);
    let error = db.schemas().create_index(&emails, &unique).unwrap_err();
    assert!(error.to_string().contains("must wait for its approval"), "{error}");
    db.schemas().approve_schema(&emails).unwrap();
    db.schemas().create_index(&emails, &unique).unwrap();
    db.schemas().wait_for_indexes(&emails).unwrap();
    let seen = |id: i64| -> RecordInput {
        [("id".to_owned(), Value::Int(id)), ("seen".to_owned(), Value::Int(7))].into()
    };
    let mutate =
        |db: &FoldDb, id| db.mutate(&Mutation::update(emails.clone(), vec![seen(id)]).into());
    mutate(&db, 1).unwrap();
    mutate(&db, 2).unwrap();
    upsert(&db, vec![person(2, Some("a"))]).unwrap_err();
    db.pool().close().unwrap();
    let db = FoldDb::open(url).unwrap();
    assert_sound(&db);
    let error = upsert(&db, vec![person(2, Some("a"))]).unwrap_err();
    let message = error.to_string();
    assert_eq!(
        message,
        "record [2] of `Emails` has the values of record [1] in the unique index on email, seen"
    );
    assert!(db.schemas().delete(&emails).is_err());
}

#[test]
fn an_import_refuses_the_rows_that_a_unique_index_does() {
    let db = database();
    db.schemas().create_index(&name(), &definition(&["email"], true)).unwrap();
    upsert(&db, vec![person(0, Some("7"))]).unwrap();
    let row =
        |id: u64| format!("{{\"id\": {id}, \"email\": \"{}\"}}\n", if id == 40 { 3 } else { id });
    let rows: String = (1..=100).map(row).collect();
    let options = ImportOptions::new(ImportFormat::Ndjson);
    let done =
        db.import(&name(), rows.as_bytes(), &options, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((done.imported, done.refused), (98, 2));
    let told: Vec<_> =
        done.errors.iter().map(|error| (error.line, error.message.as_str())).collect();
    let of = |record, other| {
        format!(
            "record [{record}] of `Person` has the values of record [{other}] in the unique index \
             on email"
        )
    };
    assert_eq!(told, [(7, of(7, 0).as_str()), (40, of(40, 3).as_str())]);
    assert_sound(&db);
}

/// A transaction that would have the values of a record whose commit is pending.
fn duplicate_of_pending(fault: Option<ApplyFault>) -> (Result<(), FoldDbError>, Stage) {
    let stage = Stage::new();
    let item = SchemaName::parse("Item").unwrap();
    stage.db.schemas().create_index(&item, &definition(&["n"], true)).unwrap();
    stage.store.gate().shut();
    if let Some(fault) = fault {
        stage.store.fail_apply(1, fault);
    }
    let answer = thread::scope(|scope| {
        let pending = stage.queue(scope, |db| set(db, 1, 7));
        stage.store.gate().wait_for(1);
        let (locks, accepted) =
            (stage.db.stats().unwrap().locks.taken, stage.store.accepted_count());
        let other = scope.spawn(|| {
            let record = [("id".to_owned(), Value::Int(2)), ("n".to_owned(), Value::Int(7))];
            let answer = stage.db.transact(|transaction| {
                transaction.mutate(Mutation::upsert(item.clone(), vec![record.clone().into()]))
            });
            (answer.map(drop), stage.store.accepted_count())
        });
        // The room in the queue, the writer lock, the queue.
        linger(|| stage.db.stats().unwrap().locks.taken >= locks + 3);
        stage.store.gate().open();
        let _ = pending.join().unwrap();
        let (answer, seen) = other.join().unwrap();
        if fault.is_none() {
            assert_eq!(seen, accepted + 1, "answered before the commit was durable");
        }
        answer
    });
    (answer, stage)
}

#[test]
fn a_transaction_hears_of_a_duplicate_when_the_other_record_is_durable() {
    let (answer, _stage) = duplicate_of_pending(None);
    assert_eq!(code(answer), "duplicate");
}

#[test]
fn a_transaction_runs_again_if_what_it_was_the_duplicate_of_was_not_committed() {
    let (answer, stage) = duplicate_of_pending(Some(ApplyFault::Failed));
    answer.unwrap();
    assert_eq!(all(&stage.db, "Item"), "[2,7,null]\n");
    assert_sound(&stage.db);
}

/// What has no data can be deleted with its indexes; what it had is not met by what comes later.
#[test]
fn a_schema_without_data_is_deleted_with_its_indexes() {
    let db = database();
    let unique = definition(&["email"], true);
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().create_index(&name(), &definition(&["team"], false)).unwrap();
    db.schemas().delete(&name()).unwrap();
    assert_eq!(db.schemas().indexes(&name()).unwrap_err().code(), "not_found");
    prepare(&db);
    assert_eq!(states(&db), []);
    upsert(&db, vec![person(1, Some("a")), person(2, Some("a"))]).unwrap();
    upsert(&db, vec![person(2, Some("b"))]).unwrap();
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), [("ready", 0)]);
    assert_sound(&db);
    let error = db.schemas().delete(&name()).unwrap_err();
    assert_eq!(error.code(), "refused", "it has data");
}

/// An index of a schema that shows the records of another one goes first.
#[test]
fn a_schema_with_an_index_over_the_records_of_another_one_is_not_deleted() {
    let db = database();
    upsert(&db, vec![person(1, Some("a"))]).unwrap();
    let text = EMAILS.replace(",\n    \"seen\": {\"value\": {\"type\": \"integer\"}}", "");
    assert_ne!(text, EMAILS);
    let emails = db.schemas().load_text(&text, None).unwrap().name;
    db.schemas().approve_schema(&emails).unwrap();
    let unique = definition(&["email"], true);
    db.schemas().create_index(&emails, &unique).unwrap();
    db.schemas().wait_for_indexes(&emails).unwrap();
    let error = db.schemas().delete(&emails).unwrap_err();
    assert_eq!(
        error.to_string(),
        "schema `Emails` has the unique index on email over the records of another one; drop it \
         first"
    );
    upsert(&db, vec![person(2, Some("a"))]).unwrap_err();
    db.schemas().drop_index(&emails, &unique.fields).unwrap();
    db.schemas().wait_for_indexes(&emails).unwrap();
    upsert(&db, vec![person(2, Some("a"))]).unwrap();
    assert_sound(&db);
}

#[test]
fn an_index_has_at_most_sixteen_fields_and_they_are_of_its_own_records() {
    let db = FoldDb::open("memory:").unwrap();
    let fields: Vec<_> = (0..17).map(|n| format!("f{n}")).collect();
    let wide = fields.iter().map(|field| format!(r#""{field}": {{}}"#)).collect::<Vec<_>>();
    let wide = format!(r#"{{"name": "Wide", "fields": {{{}}}}}"#, wide.join(","));
    let wide = db.schemas().load_text(&wide, None).unwrap().name;
    let names: Vec<_> = fields.iter().map(String::as_str).collect();
    let error = db.schemas().create_index(&wide, &definition(&names, false)).unwrap_err();
    assert!(error.to_string().ends_with("must have 1 to 16 fields, not 17"), "{error}");
    db.schemas().create_index(&wide, &definition(&names[..16], false)).unwrap();
    let view = r#"{"name": "View", "fields": {
        "own": {}, "shown": {"field_mappers": {"Wide": "f0"}}}}"#;
    let view = db.schemas().load_text(view, None).unwrap().name;
    db.schemas().approve_schema(&view).unwrap();
    let error = db.schemas().create_index(&view, &definition(&["shown"], false)).unwrap_err();
    let rule = "is on `shown`, whose values are in another schema";
    assert!(error.to_string().ends_with(rule), "{error}");
    db.schemas().create_index(&view, &definition(&["own"], false)).unwrap();
    assert_sound(&db);
}

#[test]
fn a_build_ends_when_it_has_found_a_hundred_duplicates() {
    let db = database();
    upsert(&db, (0..700).map(|id| person(id, Some("same"))).collect()).unwrap();
    let unique = definition(&["email"], true);
    db.schemas().create_index(&name(), &unique).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), [("failed", 100)]);
    let found = db.schemas().indexes(&name()).unwrap();
    assert!(found[0].duplicates.iter().all(|(owner, _)| owner.to_string() == "[0]"));
    // It refuses nothing, and goes away like any other one.
    upsert(&db, vec![person(700, Some("same"))]).unwrap();
    db.schemas().drop_index(&name(), &unique.fields).unwrap();
    db.schemas().wait_for_indexes(&name()).unwrap();
    assert_eq!(states(&db), []);
    assert_sound(&db);
}
