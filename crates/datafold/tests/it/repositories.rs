//! Typed repositories: schemas, transforms, atoms.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafold::FoldDb;
use datafold::data_layer::{
    Atom, AtomId, AtomStatus, CellName, CommitNumber, DataLayerError, ReadRepository, Repository,
};
use datafold::engine::Mutation;
use datafold::model::{FieldName, RecordKey, Schema, SchemaState, TransformDefinition, Value};
use datafold_testkit::ApplyFault;

use crate::harness::{Place, approve, check_sound, clock, faulty, fold_db, memory, mutate, name};
use crate::stage::ITEM;

fn schema(name: &str) -> Schema {
    let text = format!(r#"{{"name": "{name}", "fields": {{"a": {{}}}}}}"#);
    Schema::parse(&text).unwrap().schema
}

fn transform(logic: &str) -> TransformDefinition {
    TransformDefinition {
        inputs: vec!["A.b".into()],
        output: Some("A.c".into()),
        ..TransformDefinition::new(logic)
    }
}

fn head(db: &FoldDb) -> u64 {
    db.pool().operations().head().0.0
}

#[test]
fn schemas_are_stored_listed_and_deleted() {
    let db = memory();
    let schemas = db.pool().schemas();
    let names: Vec<_> = ["B", "A", "C"].map(name).into();
    for name in &names {
        schemas.store(name, &schema(name.as_str())).unwrap();
    }
    assert_eq!(schemas.list().unwrap(), ["A", "B", "C"]);
    assert_eq!((schemas.count().unwrap(), head(&db)), (3, 3));
    assert_eq!(schemas.get(&name("B")).unwrap(), Some(schema("B")));
    assert_eq!(schemas.get(&name("X")).unwrap(), None);
    assert!(schemas.exists(&name("A")).unwrap() && !schemas.exists(&name("a")).unwrap());
    let many = schemas.get_many(&[name("C"), name("X"), name("C")]).unwrap();
    assert_eq!(many, [Some(schema("C")), None, Some(schema("C"))]);
    // Storing what is there is nothing, something else is refused.
    schemas.store(&name("A"), &schema("A")).unwrap();
    assert_eq!(head(&db), 3);
    let other = Schema::parse(r#"{"name": "A", "fields": {"b": {}}}"#).unwrap().schema;
    assert_eq!(schemas.store(&name("A"), &other).unwrap_err().code(), "already_exists");
    assert_eq!(schemas.store(&name("B"), &other).unwrap_err().code(), "invalid_data");
    assert!(schemas.delete(&name("B")).unwrap());
    assert!(!schemas.delete(&name("B")).unwrap());
    assert_eq!((schemas.list().unwrap().len(), head(&db)), (2, 4));
    check_sound(&db);
}

#[test]
fn a_definition_that_was_changed_into_a_wrong_one_is_refused() {
    let db = memory();
    let mut no_key_field = schema("Wrong");
    no_key_field.key = vec![datafold::model::FieldName::parse("absent").unwrap()];
    let mut twice = schema("Wrong");
    let field = twice.fields[0].clone();
    twice.fields.push(field);
    for wrong in [no_key_field, twice] {
        let error = db.pool().schemas().store(&name("Wrong"), &wrong).unwrap_err();
        assert_eq!(error.code(), "invalid_data", "{error}");
    }
    assert_eq!((db.pool().schemas().count().unwrap(), head(&db)), (0, 0));
}

#[test]
fn states_are_listed() {
    let db = memory();
    let schemas = db.pool().schemas();
    for (at, state) in [SchemaState::Available, SchemaState::Approved, SchemaState::Blocked]
        .into_iter()
        .cycle()
        .take(7)
        .enumerate()
    {
        let name = name(&format!("S{at}"));
        schemas.store(&name, &schema(name.as_str())).unwrap();
        schemas.set_state(&name, state).unwrap();
    }
    assert_eq!(schemas.list_by_state(SchemaState::Available).unwrap(), ["S0", "S3", "S6"]);
    assert_eq!(schemas.list_by_state(SchemaState::Approved).unwrap(), ["S1", "S4"]);
    assert_eq!(schemas.list_by_state(SchemaState::Blocked).unwrap(), ["S2", "S5"]);
    assert_eq!(schemas.get_state(&name("S1")).unwrap(), Some(SchemaState::Approved));
    assert_eq!(schemas.get_state(&name("S9")).unwrap(), None);
    let error = schemas.set_state(&name("S9"), SchemaState::Blocked).unwrap_err();
    assert_eq!(error.code(), "not_found");
}

#[test]
fn a_batch_is_one_commit_or_none() {
    let db = memory();
    let schemas = db.pool().schemas();
    let items: Vec<_> = (0..40).map(|n| name(&format!("S{n:02}"))).collect();
    let stored: Vec<_> = items.iter().map(|name| schema(name.as_str())).collect();
    let pairs: Vec<_> = items.iter().zip(&stored).collect();
    schemas.store_batch(&pairs).unwrap();
    assert_eq!((schemas.count().unwrap(), head(&db)), (40, 1));
    let (new, other) =
        (schema("New"), Schema::parse(r#"{"name": "S00", "fields": {"b": {}}}"#).unwrap().schema);
    let error = schemas.store_batch(&[(&new.name, &new), (&other.name, &other)]).unwrap_err();
    assert_eq!(error.code(), "already_exists");
    assert!(!schemas.exists(&new.name).unwrap());
    approve(&db, ITEM);
    mutate(&db, r#"{"mutation": "create", "schema": "Item", "records": [{"id": 1}]}"#).unwrap();
    let error = schemas.delete_batch(&[&items[0], &name("Item")]).unwrap_err();
    assert_eq!((error.code(), schemas.count().unwrap()), ("refused", 41));
    assert_eq!(schemas.delete_batch(&[&items[0], &name("X"), &items[1], &items[0]]).unwrap(), 2);
    assert_eq!(schemas.count().unwrap(), 39);
    check_sound(&db);
}

#[test]
fn pages_and_streams_hold_every_item_once() {
    let db = memory();
    let (schemas, transforms) = (db.pool().schemas(), db.pool().transforms());
    let names: Vec<_> = (0..25).map(|n| name(&format!("S{n:02}"))).collect();
    let keys: Vec<_> = names.iter().map(|name| format!("{name}.a\0é")).collect();
    for (schema_name, key) in names.iter().zip(&keys) {
        schemas.store(schema_name, &schema(schema_name.as_str())).unwrap();
        transforms.store(key, &transform(key)).unwrap();
    }
    for limit in [1, 2, 7, 25, 26] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = schemas.page(after.as_ref(), limit).unwrap();
            assert!(page.items.len() <= limit);
            found.extend(page.items.into_iter().map(|(name, _)| name));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!(found, names, "limit {limit}");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = transforms.page(after.as_ref(), limit).unwrap();
            assert!(page.items.iter().all(|(key, item)| item.logic == *key));
            found.extend(page.items.into_iter().map(|(key, _)| key));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!(found, keys, "limit {limit}");
    }
    let mut visited = 0;
    schemas
        .for_each(|_, _| {
            visited += 1;
            if visited == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((visited, transforms.list().unwrap()), (3, keys));
}

#[test]
fn transforms_are_stored_replaced_and_deleted() {
    let mut place = Place::sim(1);
    let db = fold_db(place.open(), clock());
    let transforms = db.pool().transforms();
    let [a, b] = ["Flight.speed", "Flight.delay"].map(str::to_owned);
    transforms.store(&a, &transform("1")).unwrap();
    transforms.store_batch(&[(&a, &transform("2")), (&b, &transform("3"))]).unwrap();
    transforms.store(&b, &transform("3")).unwrap();
    assert_eq!((transforms.count().unwrap(), head(&db)), (2, 2));
    assert_eq!(
        transforms.get_many(&[b.clone(), "x".into()]).unwrap(),
        [Some(transform("3")), None]
    );
    let long = "x".repeat(481);
    for wrong in ["", &long] {
        let error = transforms.store(&wrong.to_owned(), &transform("1")).unwrap_err();
        assert_eq!(error.code(), "invalid_data");
    }
    transforms.store(&long[1..].to_owned(), &transform("4")).unwrap();
    assert_eq!(transforms.delete_batch(&[&b, &"x".to_owned()]).unwrap(), 1);
    assert!(!transforms.delete(&b).unwrap());
    db.pool().close().unwrap();
    drop(db);
    let db = fold_db(place.open(), clock());
    let transforms = db.pool().transforms();
    assert_eq!(transforms.list().unwrap(), [a.clone(), long[1..].to_owned()]);
    assert_eq!(
        (transforms.get(&a).unwrap(), transforms.count().unwrap()),
        (Some(transform("2")), 2)
    );
    assert_eq!(db.stats().unwrap().total_transforms, 2);
    check_sound(&db);
}

#[test]
fn a_transaction_is_atomic_over_repositories() {
    let db = memory();
    let (schemas, transforms) = (db.pool().schemas(), db.pool().transforms());
    let key = "A.b".to_owned();
    let mut transaction = db.pool().begin();
    transaction.insert(schemas, &name("A"), &schema("A")).unwrap();
    transaction.insert(transforms, &key, &transform("1")).unwrap();
    // It reads its own writes, and nobody else does.
    assert_eq!(transaction.get(transforms, &key).unwrap(), Some(transform("1")));
    assert!(transaction.get(schemas, &name("A")).unwrap().is_some());
    assert_eq!((schemas.count().unwrap(), transforms.count().unwrap()), (0, 0));
    let error = transaction.insert(transforms, &key, &transform("2")).unwrap_err();
    assert_eq!(error.code(), "already_exists");
    transaction.update(transforms, &key, &transform("3")).unwrap();
    let missing = "X.x".to_owned();
    assert_eq!(
        transaction.update(transforms, &missing, &transform("1")).unwrap_err().code(),
        "not_found"
    );
    assert_eq!(transaction.delete(transforms, &missing).unwrap_err().code(), "not_found");
    assert_eq!(transaction.require(schemas, &name("B")).unwrap_err().code(), "not_found");
    transaction.upsert(transforms, &missing, &transform("4")).unwrap();
    transaction.delete(transforms, &missing).unwrap();
    assert_eq!(transaction.get(transforms, &missing).unwrap(), None);
    schemas.set_state_in(&mut transaction, &name("A"), SchemaState::Approved, None).unwrap();
    let receipt = transaction.commit().unwrap();
    assert_eq!((receipt.commit.0, receipt.atoms), (1, 0));
    assert_eq!(transforms.get(&key).unwrap(), Some(transform("3")));
    assert_eq!(schemas.get_state(&name("A")).unwrap(), Some(SchemaState::Approved));
    assert_eq!((schemas.count().unwrap(), transforms.count().unwrap()), (1, 1));
    check_sound(&db);
}

#[test]
fn rolling_back_and_failing_leave_nothing() {
    let (store, db) = faulty();
    let transforms = db.pool().transforms();
    let key = "A.b".to_owned();
    let fill = || {
        let mut transaction = db.pool().begin();
        transaction.insert(transforms, &key, &transform("1")).unwrap();
        transaction.insert(db.pool().schemas(), &name("A"), &schema("A")).unwrap();
        transaction
    };
    fill().rollback();
    drop(fill());
    store.fail_apply(1, ApplyFault::Failed);
    assert_eq!(fill().commit().unwrap_err().code(), "commit_failed");
    assert_eq!(
        (transforms.count().unwrap(), db.stats().unwrap().total_schemas, head(&db)),
        (0, 0, 0)
    );
    assert_eq!(db.pool().begin().commit().unwrap().commit.0, 0);
    assert_eq!(fill().commit().unwrap().commit.0, 1);
    // What was decided on what is no longer true conflicts.
    let mut transaction = db.pool().begin();
    transaction.delete(transforms, &key).unwrap();
    transforms.delete(&key).unwrap();
    assert_eq!(transaction.commit().unwrap_err().code(), "conflict");
}

fn write(db: &FoldDb, kind: &str, record: &str) -> CommitNumber {
    let request = format!(r#"{{"mutation": "{kind}", "schema": "Item", "records": [{record}]}}"#);
    mutate(db, &request).unwrap().commit
}

fn delete(db: &FoldDb, id: i64) -> CommitNumber {
    let request = format!(r#"{{"mutation": "delete", "schema": "Item", "keys": [{id}]}}"#);
    mutate(db, &request).unwrap().commit
}

fn cell(id: i64, field: Option<&str>) -> CellName {
    let parts = [datafold::model::KeyPart::Int(id)];
    CellName {
        schema: name("Item"),
        key: RecordKey::from_parts(&parts).unwrap(),
        field: field.map(|field| FieldName::parse(field).unwrap()),
        element: None,
    }
}

fn history(db: &FoldDb, id: i64, field: Option<&str>) -> Vec<Atom> {
    db.pool().atoms().history(&cell(id, field), None, 100).unwrap()
}

/// Two lives of a record, with a cell that was taken away in between.
fn lives(db: &FoldDb) {
    approve(db, ITEM);
    write(db, "create", r#"{"id": 1, "n": 1, "text": "a"}"#);
    write(db, "update", r#"{"id": 1, "n": 2}"#);
    write(db, "update", r#"{"id": 1, "text": null}"#);
    delete(db, 1);
    write(db, "create", r#"{"id": 1, "n": 3}"#);
    write(db, "create", r#"{"id": 2, "n": 9}"#);
    write(db, "update", r#"{"id": 1, "n": 4, "text": "b"}"#);
}

#[test]
fn an_atom_keeps_its_id_when_it_becomes_past() {
    let mut place = Place::sim(1);
    let db = fold_db(place.open(), clock());
    lives(&db);
    let all = history(&db, 1, None);
    let shape: Vec<_> = all
        .iter()
        .map(|atom| {
            let field = atom.cell.field.as_ref().map_or("-", |field| field.as_str());
            (atom.commit.0, field, atom.value.to_json(), atom.status == AtomStatus::Active)
        })
        .collect();
    let expected = [
        (9, "n", "4", true),
        (9, "text", "\"b\"", true),
        (7, "n", "3", true),
        (6, "-", "null", false),
        (5, "text", "null", false),
        (4, "n", "2", true),
        (3, "n", "1", true),
        (3, "text", "\"a\"", true),
    ];
    let expected =
        expected.map(|(commit, field, value, active)| (commit, field, value.into(), active));
    assert_eq!(shape, expected);
    // Each follows the one before it in its cell; a new life follows the deletion.
    let previous: Vec<_> = all.iter().map(|atom| atom.previous.map(|id| id.commit.0)).collect();
    assert_eq!(previous, [Some(7), Some(6), Some(6), None, Some(3), Some(3), None, None]);
    let atoms = db.pool().atoms();
    let ids: Vec<_> = all.iter().map(|atom| atom.id).collect();
    for atom in &all {
        assert_eq!(atoms.get(&atom.id).unwrap().as_ref(), Some(atom));
        assert_eq!(atom.id.to_string().parse(), Ok(atom.id));
    }
    write(&db, "update", r#"{"id": 1, "n": 5, "text": null}"#);
    delete(&db, 1);
    db.pool().close().unwrap();
    drop(db);
    let db = fold_db(place.open(), clock());
    let atoms = db.pool().atoms();
    let found: Vec<_> = atoms.get_many(&ids).unwrap().into_iter().map(Option::unwrap).collect();
    assert_eq!(found, all);
    assert_eq!(history(&db, 1, None)[3..], all);
    check_sound(&db);
}

#[test]
fn the_current_atom_of_a_cell_is_told() {
    let db = memory();
    lives(&db);
    let current = |id, field| {
        let found = db.pool().atoms().current(&cell(id, field)).unwrap();
        found.map(|found| (found.atom.commit.0, found.status))
    };
    assert_eq!(current(1, Some("n")), Some((9, AtomStatus::Active)));
    assert_eq!(current(2, Some("text")), None);
    assert_eq!(current(3, Some("n")), None);
    write(&db, "update", r#"{"id": 1, "text": null}"#);
    assert_eq!(current(1, Some("text")), Some((10, AtomStatus::Deleted)));
    delete(&db, 2);
    assert_eq!(current(2, Some("n")), Some((11, AtomStatus::Deleted)));
    let unknown = CellName { schema: name("Unknown"), ..cell(1, None) };
    assert_eq!(db.pool().atoms().current(&unknown).unwrap_err().code(), "not_found");
}

#[test]
fn history_is_paged_by_commit_and_limit() {
    let db = memory();
    lives(&db);
    let all = history(&db, 1, None);
    let atoms = db.pool().atoms();
    for before in 0..=11 {
        for limit in 0..=all.len() + 1 {
            let found = atoms.history(&cell(1, None), Some(CommitNumber(before)), limit).unwrap();
            let known: Vec<_> = all.iter().filter(|atom| atom.commit.0 < before).collect();
            // What one commit wrote is not split.
            let last = limit.checked_sub(1).and_then(|at| known.get(at)).map(|atom| atom.commit);
            let expected: Vec<_> = known
                .iter()
                .enumerate()
                .filter(|(at, atom)| *at < limit || last.is_some_and(|last| atom.commit >= last))
                .map(|(_, atom)| Atom::clone(atom))
                .collect();
            assert_eq!(found, expected, "before {before}, limit {limit}");
        }
    }
    for field in ["n", "text"] {
        for limit in 0..=5 {
            let found = atoms.history(&cell(1, Some(field)), None, limit).unwrap();
            let expected = all.iter().filter(|atom| {
                atom.cell.field.as_ref().is_none_or(|found| found.as_str() == field)
            });
            assert_eq!(found, expected.take(limit).cloned().collect::<Vec<_>>(), "{field} {limit}");
        }
    }
    assert_eq!(atoms.record_history(&cell(1, Some("n")), None, 100).unwrap(), all);
    assert_eq!(history(&db, 77, None), []);
    assert_eq!(history(&db, 1, Some("id")), [all[3].clone()]);
    let error = atoms.history(&cell(1, Some("nn")), None, 1).unwrap_err();
    assert!(matches!(error, DataLayerError::NotFound { what: "field", .. }));
}

#[test]
fn all_atoms_are_paged_and_counted() {
    let db = memory();
    lives(&db);
    let atoms = db.pool().atoms();
    let mut expected: Vec<_> = history(&db, 1, None)
        .into_iter()
        .chain(history(&db, 2, None))
        .map(|atom| atom.id)
        .collect();
    expected.sort_unstable();
    assert_eq!((atoms.list().unwrap(), atoms.count().unwrap()), (expected.clone(), 9));
    for limit in 1..=10 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = atoms.page(after.as_ref(), limit).unwrap();
            found.extend(page.items.iter().map(|(id, _)| *id));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!(found, expected, "limit {limit}");
    }
    for wrong in [
        AtomId { commit: CommitNumber(0), ..expected[0] },
        AtomId { commit: CommitNumber(99), ..expected[0] },
        AtomId { ordinal: 999, ..expected[0] },
        AtomId { origin: 1, ..expected[0] },
    ] {
        assert_eq!(atoms.get(&wrong).unwrap(), None);
    }
}

/// The cost of a page is what the page holds, also inside of one large commit.
#[test]
fn the_atoms_of_a_large_commit_are_paged_in_time() {
    let db = memory();
    approve(&db, ITEM);
    let record = |id: i64| {
        BTreeMap::from([("id".to_owned(), Value::Int(id)), ("n".to_owned(), Value::Int(id))])
    };
    db.mutate(&Mutation::create(name("Item"), (0..15_000).map(record).collect()).into()).unwrap();
    let mut sum = 0;
    db.pool()
        .atoms()
        .for_each(|_, atom| {
            sum += if let Value::Int(n) = atom.value { n } else { 0 };
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(sum, 15_000 * 14_999 / 2);
}
