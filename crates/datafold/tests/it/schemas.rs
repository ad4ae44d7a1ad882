//! The life of schemas.

use std::fs;
use std::path::PathBuf;

use datafold::model::SchemaState;
use datafold::{FoldDb, QueryRequest};

use crate::harness::{
    Place, all, approve, check_sound, clock, fold_db, memory, mutate, name, query,
};
use crate::stage::code;

const NOTE: &str = r#"{"name": "Note", "fields": {"text": {}}}"#;
const OTHER_NOTE: &str = r#"{"name": "Note", "fields": {"text": {}, "more": {}}}"#;

fn head(db: &FoldDb) -> u64 {
    db.pool().operations().head().0.0
}

fn states(db: &FoldDb) -> Vec<(String, SchemaState, Option<String>)> {
    let status = db.schemas().get_status().into_iter();
    status.map(|status| (status.name.to_string(), status.state, status.reason)).collect()
}

#[test]
fn loading_again_changes_nothing_and_another_definition_is_refused() {
    let db = memory();
    db.schemas().load_text(NOTE, Some("note.json")).unwrap();
    let before = db.schemas().get_status();
    assert_eq!((before[0].state, head(&db)), (SchemaState::Available, 1));
    // What means the same is the same.
    let same =
        r#"{"fields": {"text": {"field_type": "Single", "writable": true}}, "name": "Note"}"#;
    for text in [NOTE, same] {
        db.schemas().load_text(text, Some("again.json")).unwrap();
    }
    db.schemas().approve_schema(&name("Note")).unwrap();
    assert_eq!(code(db.schemas().load_text(OTHER_NOTE, None)), "already_exists");
    db.schemas().load_text(NOTE, None).unwrap();
    let after = &db.schemas().get_status()[0];
    assert_eq!(
        (after.state, after.source.as_deref(), after.loaded),
        (SchemaState::Approved, Some("note.json"), 1)
    );
    assert_eq!((&after.hash, head(&db)), (&before[0].hash, 2));
}

#[test]
fn states_survive_reopening_and_loading_again() {
    let mut place = Place::sim(1);
    let db = fold_db(place.open(), clock());
    let names = ["Approved", "Available", "Blocked"];
    let text = |name: &str| NOTE.replace("Note", name);
    for name in names {
        db.schemas().load_text(&text(name), Some("here")).unwrap();
    }
    db.schemas().approve_schema(&name("Approved")).unwrap();
    db.schemas().block_schema(&name("Blocked"), Some("for a reason")).unwrap();
    let (before, commits) = (db.schemas().get_status(), head(&db));
    db.pool().close().unwrap();
    drop(db);
    let db = fold_db(place.open(), clock());
    assert_eq!(db.schemas().get_status(), before);
    for name in names {
        db.schemas().load_text(&text(name), Some("elsewhere")).unwrap();
    }
    assert_eq!((db.schemas().get_status(), head(&db)), (before, commits));
    check_sound(&db);
}

#[test]
fn every_order_of_approving_blocking_and_unloading_is_one_commit_or_none() {
    let db = memory();
    db.schemas().load_text(NOTE, None).unwrap();
    let note = name("Note");
    let all_states = [SchemaState::Available, SchemaState::Approved, SchemaState::Blocked];
    for from in all_states {
        for to in all_states {
            db.schemas().set_states(std::slice::from_ref(&note), from, None).unwrap();
            let before = head(&db);
            let receipt = match to {
                SchemaState::Approved => db.schemas().approve_schema(&note),
                SchemaState::Blocked => db.schemas().block_schema(&note, Some("why")),
                _ => db.schemas().unload_schema(&note),
            };
            let receipt = receipt.unwrap();
            assert_eq!(receipt.commit.0, before + u64::from(from != to));
            assert_eq!(db.pool().schemas().get_state(&note).unwrap(), Some(to));
        }
    }
    check_sound(&db);
}

#[test]
fn an_unknown_name_is_not_found_everywhere() {
    let db = memory();
    let unknown = name("Unknown");
    let schemas = db.schemas();
    for answer in [
        schemas.approve_schema(&unknown),
        schemas.block_schema(&unknown, None),
        schemas.unload_schema(&unknown),
        schemas.delete(&unknown),
    ] {
        assert_eq!(code(answer), "not_found");
    }
    assert_eq!(code(db.query(&QueryRequest::new(unknown.clone()))), "schema_not_found");
    assert_eq!(code(db.get(&unknown, &[])), "schema_not_found");
    assert_eq!(code(db.history(&unknown, &[], None, None, 1)), "schema_not_found");
    let request = r#"{"mutation": "upsert", "schema": "Unknown", "records": [{}]}"#;
    assert_eq!(code(mutate(&db, request)), "schema_not_found");
    assert_eq!(head(&db), 0);
}

#[test]
fn several_states_are_set_together_or_not_at_all() {
    let db = memory();
    db.schemas().load_text(NOTE, None).unwrap();
    let names = [name("Note"), name("Unknown")];
    assert_eq!(code(db.schemas().set_states(&names, SchemaState::Approved, None)), "not_found");
    assert_eq!(states(&db), [("Note".to_owned(), SchemaState::Available, None)]);
    assert_eq!(head(&db), 1);
}

#[test]
fn only_approved_schemas_are_read_and_written() {
    let db = memory();
    approve(&db, NOTE);
    let write = r#"{"mutation": "upsert", "schema": "Note", "records": [{"text": "a"}]}"#;
    let read = r#"{"schema": "Note"}"#;
    mutate(&db, write).unwrap();
    let commit = head(&db);
    for state in [SchemaState::Blocked, SchemaState::Available] {
        db.schemas().set_states(&[name("Note")], state, None).unwrap();
        assert_eq!(code(mutate(&db, write)), "schema_not_approved");
        assert_eq!(code(query(&db, read)), "schema_not_approved");
        assert_eq!(code(db.get(&name("Note"), &[])), "schema_not_approved");
        // Today's state counts also for the past.
        let past = format!(r#"{{"schema": "Note", "as_of": {commit}}}"#);
        assert_eq!(code(query(&db, &past)), "schema_not_approved");
        let check = r#"{"transaction": [], "if": [{"schema": "Note", "key": [], "exists": true}]}"#;
        assert_eq!(code(mutate(&db, check)), "schema_not_approved");
    }
    db.schemas().approve_schema(&name("Note")).unwrap();
    assert_eq!(all(&db, "Note"), "[\"a\"]\n");
}

#[test]
fn what_would_silently_do_nothing_is_not_approved() {
    let db = memory();
    for (schema, code, why) in [
        (
            r#"{"name": "C", "fields": {"a": {}, "b": {"transform": {"logic": "z"}}}}"#,
            "invalid_transform",
            "there is no name `z`",
        ),
        (r#"{"name": "D", "fields": {"a": {"field_mappers": {"A": "a"}}}}"#, "refused", "maps"),
    ] {
        let name = db.schemas().load_text(schema, None).unwrap().name;
        let error = db.schemas().approve_schema(&name).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(why), "{error}");
        // There is no way around it.
        let error = db.pool().schemas().set_state(&name, SchemaState::Approved).unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(db.pool().schemas().get_state(&name).unwrap(), Some(SchemaState::Available));
    }
    assert_eq!(head(&db), 2);
}

#[test]
fn one_bad_file_never_stops_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    file("a.json", br#"{"name": "A", "fields": {"a": {}}, "surprise": 1}"#);
    file("b.json", b"no json");
    file("c.json", b"\xFF\xFE");
    file("d.json", br#"{"name": "bad name", "fields": {}}"#);
    file("e.json", br#"{"name": "A", "fields": {"b": {}}}"#);
    file("f.json", br#"{"name": "F", "fields": {"a": {}}}"#);
    file("g.json", br#"{"name": "F", "fields": {"a": {}}}"#);
    file("h.json", " ".repeat(1_100_000).as_bytes());
    file("i.json", b"");
    file("ignored.txt", b"no schema");
    fs::create_dir(folder.path().join("j.json")).unwrap();
    fs::create_dir(folder.path().join("deeper")).unwrap();
    file("deeper/k.json", br#"{"name": "K", "fields": {"a": {}}}"#);
    let single = file("deeper/single.txt", br#"{"name": "Single", "fields": {"a": {}}}"#);
    let db = memory();
    let missing = PathBuf::from("/no/such/file.json");
    let paths = [missing, folder.path().to_owned(), single];
    let report = db.schemas().load_paths(&paths).unwrap();
    let names = |names: &[datafold::model::SchemaName]| {
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&report.loaded), ["A", "F", "Single"]);
    assert_eq!(names(&report.unchanged), ["F"]);
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|failure| (failure.source.rsplit('/').next().unwrap(), failure.code.as_str()))
        .collect();
    let expected = [
        ("file.json", "unreadable_file"),
        ("b.json", "invalid_schema"),
        ("c.json", "not_text"),
        ("d.json", "invalid_schema"),
        ("e.json", "already_exists"),
        ("h.json", "invalid_schema"),
        ("i.json", "invalid_schema"),
    ];
    assert_eq!(failed, expected);
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains("a.json") && report.warnings[0].contains("surprise"));
    assert!(!report.is_complete());
    // Again: nothing new, the same complaints.
    let commits = head(&db);
    let again = db.schemas().load_paths(&paths).unwrap();
    assert_eq!((names(&again.loaded), again.unchanged.len()), (vec![], 4));
    assert_eq!((again.failed, head(&db)), (report.failed, commits));
}

#[test]
fn a_schema_does_not_exist_before_it_was_loaded() {
    let db = memory();
    db.schemas().load_text(r#"{"name": "First", "fields": {"a": {}}}"#, None).unwrap();
    approve(&db, NOTE);
    mutate(&db, r#"{"mutation": "upsert", "schema": "Note", "records": [{"text": 1}]}"#).unwrap();
    for (commit, expected) in
        [(0, None), (1, None), (2, Some("null")), (3, Some("null")), (4, Some("1"))]
    {
        let answer = query(&db, &format!(r#"{{"schema": "Note", "as_of": {commit}}}"#));
        match expected {
            None => {
                let error = answer.unwrap_err();
                assert_eq!(error.code(), "schema_not_found");
                assert!(error.to_string().ends_with(&format!("as of commit {commit}")), "{error}");
            }
            Some(text) => assert_eq!(answer.unwrap().records[0].values[0].to_json(), text),
        }
    }
}

#[test]
fn a_schema_with_data_is_not_deleted_and_one_without_is() {
    let db = memory();
    approve(&db, NOTE);
    db.schemas().delete(&name("Note")).unwrap();
    assert_eq!(code(db.query(&QueryRequest::new(name("Note")))), "schema_not_found");
    // The name is free, also for another definition, and nothing of the old one is left.
    db.schemas().load_text(OTHER_NOTE, None).unwrap();
    assert_eq!(states(&db), [("Note".to_owned(), SchemaState::Available, None)]);
    db.schemas().approve_schema(&name("Note")).unwrap();
    mutate(&db, r#"{"mutation": "upsert", "schema": "Note", "records": [{"more": 1}]}"#).unwrap();
    mutate(&db, r#"{"mutation": "delete", "schema": "Note", "keys": [[]]}"#).unwrap();
    // Its past is data as well.
    assert_eq!(code(db.schemas().delete(&name("Note"))), "refused");
    check_sound(&db);
}

#[test]
fn what_is_wrong_in_a_schema_is_said_and_nothing_is_stored() {
    let db = memory();
    for text in [
        "",
        "{}",
        "[]",
        r#"{"name": "A"}"#,
        r#"{"name": "A", "key": ["b"], "fields": {"a": {}}}"#,
        r#"{"name": "A", "fields": {"a": {"value": {"type": "nothing"}}}}"#,
        r#"{"name": "A", "fields": {"a": {"value": {"type": "integer"}, "default": "x"}}}"#,
        r#"{"name": "A", "fields": {"a": {}, "a": {}}}"#,
    ] {
        assert_eq!(code(db.schemas().load_text(text, None)), "invalid_schema", "{text}");
    }
    assert_eq!(head(&db), 0);
}
