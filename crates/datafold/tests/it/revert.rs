//! What is reverted is again what it was, and nothing else has changed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use datafold::FoldDb;
use datafold::data_layer::{CommitNumber, Receipt};
use datafold::engine::{FoldDbError, Revert, RevertError};
use datafold_testkit::{is_full_size, seed_from_env};

use crate::harness::{Place, all, approve, check_sound, memory, mutate, name};
use crate::node_model::{CellId, Cells, Key, ModelAtom, RecordModel};
use crate::timeline::{Timeline, run_programs};

/// What a record is to be, and what a later commit has changed of what a commit wrote.
struct Undone {
    cells: Option<Cells>,
    conflicts: BTreeSet<(Option<CellId>, u64)>,
}

fn cell_of(atom: &ModelAtom) -> Option<CellId> {
    atom.field.as_ref().map(|field| (field.clone(), atom.element.clone()))
}

/// Takes back what a commit wrote to one record, by the definition.
fn undo(record: &RecordModel, commit: u64) -> Undone {
    let now = record.now().cloned();
    let before = record.at(commit - 1).cloned();
    let later = |atom: &&ModelAtom| atom.commit > commit;
    let mut conflicts = BTreeSet::new();
    let last_life = record.lives.last().copied().filter(|at| *at > commit);
    conflicts.extend(last_life.map(|at| (None, at)));
    if record.lives.contains(&commit) {
        if last_life.is_none() {
            for atom in record.atoms.iter().filter(later) {
                let id = cell_of(atom);
                conflicts.retain(|(found, _)| *found != id);
                conflicts.insert((id, atom.commit));
            }
        }
        return Undone { cells: before, conflicts };
    }
    let written = record.atoms.iter().filter(|atom| atom.commit == commit);
    let written: BTreeSet<_> = written.filter_map(cell_of).collect();
    if last_life.is_none() {
        for atom in record.atoms.iter().filter(later) {
            let id = cell_of(atom).filter(|id| written.contains(id));
            if id.is_some() {
                conflicts.retain(|(found, _)| *found != id);
                conflicts.insert((id, atom.commit));
            }
        }
    }
    let Some(mut cells) = now else { return Undone { cells: before, conflicts } };
    for id in written {
        match before.as_ref().and_then(|before| before.get(&id)) {
            Some(value) => cells.insert(id, value.clone()),
            None => cells.remove(&id),
        };
    }
    Undone { cells: Some(cells), conflicts }
}

/// The model does what the space is to have done; answers whether there was anything to do.
fn become_cells(timeline: &mut Timeline, at: usize, key: &Key, cells: Option<Cells>) -> bool {
    let is_keyed = timeline.schemas[at].is_keyed();
    let head = timeline.model.head() + 1;
    let record = timeline.record(at, key);
    let (now, shown) = (record.now().cloned(), |cells: &Option<Cells>| match cells {
        None if !is_keyed => Some(Cells::new()),
        cells => cells.clone(),
    });
    if shown(&now) == shown(&cells) {
        return false;
    }
    // The record of a schema without key is not deleted, but loses its values.
    let cells = if is_keyed { cells } else { shown(&cells) };
    let differs = |id: &CellId, cells: &Option<Cells>, other: &Option<Cells>| {
        let value = |cells: &Option<Cells>| cells.as_ref().and_then(|cells| cells.get(id)).cloned();
        value(cells) != value(other)
    };
    let ids = now.iter().chain(&cells).flat_map(|cells| cells.keys().cloned());
    let ids: BTreeSet<_> = ids.filter(|id| differs(id, &now, &cells)).collect();
    let atom = |field: Option<CellId>| ModelAtom {
        commit: head,
        field: field.as_ref().map(|(field, _)| field.clone()),
        element: field.and_then(|(_, element)| element),
        value: datafold::model::Value::Null,
        status: datafold::data_layer::AtomStatus::Active,
        id: None,
    };
    if cells.is_none() {
        record.atoms.push(atom(None));
    } else {
        record.atoms.extend(ids.into_iter().map(|id| atom(Some(id))));
    }
    if now.is_none() || cells.is_none() {
        record.lives.push(head);
    }
    record.past.push((head, cells));
    true
}

fn settle(timeline: &mut Timeline, receipt: &Receipt, has_written: bool) {
    if has_written {
        timeline.model.times.push(receipt.time);
    }
    assert_eq!(receipt.commit.0, timeline.model.head(), "{receipt:?}");
    timeline.check_now();
}

fn revert_record(timeline: &mut Timeline) {
    let Some((at, key)) = timeline.some_record() else { return };
    let to = timeline.moment();
    let schema = timeline.schemas[at].name.clone();
    let revert = Revert::Record { schema, key: key.0.clone(), to: to.to_string() };
    let cells = timeline.record(at, &key).at(to).cloned();
    let has_written = become_cells(timeline, at, &key, cells);
    let receipt = timeline.db.revert(&revert).unwrap();
    settle(timeline, &receipt, has_written);
}

fn revert_commit(timeline: &mut Timeline) {
    let commit = timeline.moment();
    let mut touched = Vec::new();
    for (at, schema) in timeline.model.schemas.iter().enumerate() {
        for (key, record) in &schema.records {
            if record.past.iter().any(|(found, _)| *found == commit) {
                touched.push((at, key.clone(), undo(record, commit)));
            }
        }
    }
    let number = CommitNumber(commit);
    let mut revert = Revert::Commit { commit: number, force: false };
    if touched.is_empty() {
        let code = if commit == 0 { "not_found" } else { "revert_of_catalogue" };
        assert_eq!(timeline.db.revert(&revert).unwrap_err().code(), code);
        return;
    }
    let expected: BTreeSet<_> = touched
        .iter()
        .flat_map(|(at, key, undone)| {
            let name = timeline.schemas[*at].name.to_string();
            let place = move |(id, by): &_| (name.clone(), key.clone(), Option::clone(id), *by);
            undone.conflicts.iter().map(place)
        })
        .collect();
    if !expected.is_empty() {
        let error = timeline.db.revert(&revert).unwrap_err();
        let FoldDbError::Revert(RevertError::Conflicts { conflicts, .. }) = &error else {
            panic!("{error}")
        };
        let found = conflicts.iter().map(|found| {
            let id = found.field.as_ref().map(|field| (field.to_string(), found.element.clone()));
            let key = Key(found.key.values().unwrap());
            (found.schema.to_string(), key, id, found.commit.0)
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), expected);
        timeline.check_now();
        revert = Revert::Commit { commit: number, force: true };
    }
    let mut has_written = false;
    for (at, key, undone) in touched {
        has_written |= become_cells(timeline, at, &key, undone.cells);
    }
    let receipt = timeline.db.revert(&revert).unwrap();
    settle(timeline, &receipt, has_written);
}

fn program(seed: u64, place: Place) {
    let mut timeline = Timeline::new(seed, place);
    for _ in 0..if is_full_size() { 100 } else { 25 } {
        let steps = 1 + timeline.random.below(4);
        timeline.run(steps);
        if timeline.random.one_in(2) {
            revert_record(&mut timeline);
        } else {
            revert_commit(&mut timeline);
        }
    }
    check_sound(&timeline.db);
    timeline.reopen();
    timeline.check_now();
}

#[test]
fn what_is_reverted_is_what_it_was() {
    run_programs(0x4E7E, program);
}

/// Planted faults: a revert that does something else must be found.
#[test]
fn a_wrong_revert_is_found() {
    let mut timeline = Timeline::new(seed_from_env(0xCA4C), Place::memory());
    timeline.run(60);
    let mut found = 0;
    for _ in 0..40 {
        let Some((at, key)) = timeline.some_record() else { continue };
        let (to, wrong) = (timeline.moment(), timeline.moment());
        let cells = timeline.record(at, &key).at(to).cloned();
        let other = timeline.record(at, &key).at(wrong).cloned();
        if cells.clone().unwrap_or_default() == other.clone().unwrap_or_default() {
            continue;
        }
        let schema = timeline.schemas[at].name.clone();
        let revert = Revert::Record { schema, key: key.0.clone(), to: wrong.to_string() };
        let before = timeline.record(at, &key).clone();
        let has_written = become_cells(&mut timeline, at, &key, cells);
        let head = timeline.db.pool().operations().head().0;
        let receipt = timeline.db.revert(&revert).unwrap();
        let outcome =
            catch_unwind(AssertUnwindSafe(|| settle(&mut timeline, &receipt, has_written)));
        assert!(outcome.is_err(), "{revert:?} was taken for one to {to}");
        found += 1;
        // The model does what was done.
        *timeline.record(at, &key) = before;
        timeline.model.times.truncate(usize::try_from(receipt.commit.0).unwrap());
        if receipt.commit > head {
            timeline.model.times.truncate(usize::try_from(receipt.commit.0 - 1).unwrap());
            assert!(become_cells(&mut timeline, at, &key, other));
            timeline.model.times.push(receipt.time);
        }
        timeline.check_now();
    }
    assert!(found > 5, "{found}");
}

fn to_commit(db: &FoldDb, commit: u64, force: bool) -> Result<Receipt, FoldDbError> {
    db.revert(&Revert::Commit { commit: CommitNumber(commit), force })
}

fn to_moment(db: &FoldDb, schema: &str, key: &str, to: u64) -> Result<Receipt, FoldDbError> {
    let key = if key.is_empty() { Vec::new() } else { vec![key.into()] };
    db.revert(&Revert::Record { schema: name(schema), key, to: to.to_string() })
}

const ITEM: &str = r#"{"name": "Item", "key": ["id"],
    "indexes": [{"fields": ["code"], "unique": true}], "fields": {
    "id": {"value": {"type": "string"}}, "n": {"default": 7}, "code": {},
    "fixed": {"default": "f", "writable": false}, "tags": {"field_type": "Collection"}}}"#;

fn items() -> FoldDb {
    let db = memory();
    approve(&db, ITEM);
    for request in [
        r#"{"mutation": "create", "schema": "Item",
            "records": [{"id": "a", "code": 1, "tags": {"x": 1}}, {"id": "b", "n": 2}]}"#,
        r#"{"mutation": "update", "schema": "Item", "records": [{"id": "a", "n": null}]}"#,
        r#"{"mutation": "delete", "schema": "Item", "keys": ["a"]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    db
}

#[test]
fn a_deleted_record_comes_back_with_its_elements_and_without_later_defaults() {
    let db = items();
    let receipt = to_commit(&db, 5, false).unwrap();
    assert_eq!((receipt.commit.0, receipt.atoms), (6, 3));
    let rows = "[\"a\",null,1,\"f\",{\"x\":1}]\n[\"b\",2,null,\"f\",{}]\n";
    assert_eq!(all(&db, "Item"), rows);
    // Again: it is there already, and that is a conflict.
    let error = to_commit(&db, 5, false).unwrap_err();
    let message = r#"what commit 5 wrote has changed since: Item ["a"] in commit 6"#;
    assert_eq!(error.to_string(), message);
    assert_eq!(error.code(), "revert_conflict");
    assert_eq!(to_commit(&db, 5, true).unwrap().atoms, 0);
    to_moment(&db, "Item", "a", 3).unwrap();
    assert_eq!(all(&db, "Item").lines().next(), Some(r#"["a",7,1,"f",{"x":1}]"#));
    // It did not exist then, and not before the schema either.
    assert_eq!(to_moment(&db, "Item", "b", 0).unwrap().atoms, 1);
    assert_eq!(to_moment(&db, "Item", "b", 2).unwrap().atoms, 0);
    assert_eq!(all(&db, "Item").lines().count(), 1);
    check_sound(&db);
}

#[test]
fn todays_schema_and_indexes_hold() {
    let db = items();
    let taken = r#"{"mutation": "update", "schema": "Item", "records": [{"id": "b", "code": 1}]}"#;
    mutate(&db, taken).unwrap();
    assert_eq!(to_commit(&db, 5, false).unwrap_err().code(), "duplicate");
    for (commit, code) in [
        (0, "not_found"),
        (1, "revert_of_catalogue"),
        (2, "revert_of_catalogue"),
        (7, "future_moment"),
    ] {
        assert_eq!(to_commit(&db, commit, true).unwrap_err().code(), code, "{commit}");
    }
    assert_eq!(to_moment(&db, "Other", "a", 1).unwrap_err().code(), "schema_not_found");
    assert_eq!(to_moment(&db, "Item", "a", 9).unwrap_err().code(), "future_moment");
    db.schemas().block_schema(&name("Item"), None).unwrap();
    assert_eq!(to_moment(&db, "Item", "a", 3).unwrap_err().code(), "schema_not_approved");
    assert_eq!(to_commit(&db, 6, false).unwrap_err().code(), "schema_not_approved");
    assert_eq!(db.pool().operations().head().0.0, 7);
}

#[test]
fn what_does_not_fit_into_a_commit_is_refused() {
    let db = memory();
    approve(&db, ITEM);
    mutate(&db, r#"{"mutation": "create", "schema": "Item", "records": [{"id": "a"}]}"#).unwrap();
    for half in 0..2 {
        let elements: Vec<_> = (0..9_900).map(|at| format!(r#""{half}-{at}": {at}"#)).collect();
        let request = format!(
            r#"{{"mutation": "put", "schema": "Item", "key": "a", "field": "tags",
                "elements": {{{}}}}}"#,
            elements.join(",")
        );
        mutate(&db, &request).unwrap();
        let more = format!(
            r#"{{"mutation": "put", "schema": "Item", "key": "a", "field": "tags",
                "elements": {{"{half}-more": 1, "{half}-less": 2}}}}"#
        );
        mutate(&db, &more).unwrap();
    }
    to_moment(&db, "Item", "a", 6).unwrap();
    let more: Vec<_> = (0..300).map(|at| format!(r#""of-{at}": {at}"#)).collect();
    let request = format!(
        r#"{{"mutation": "put", "schema": "Item", "key": "a", "field": "tags",
            "elements": {{{}}}}}"#,
        more.join(",")
    );
    mutate(&db, &request).unwrap();
    let gone = r#"{"mutation": "delete", "schema": "Item", "keys": ["a"]}"#;
    let gone = mutate(&db, gone).unwrap().commit.0;
    let error = to_commit(&db, gone, false).unwrap_err();
    assert_eq!(error.code(), "transaction_too_large");
    assert_eq!(all(&db, "Item"), "");
}

#[test]
fn mapped_fields_are_reverted_where_they_are() {
    let db = memory();
    approve(&db, ITEM);
    approve(
        &db,
        r#"{"name": "View", "key": ["id"], "fields": {"id": {"value": {"type": "string"}},
            "count": {"field_mappers": {"Item": "n"}}, "own": {"default": 3}}}"#,
    );
    let create = r#"{"mutation": "create", "schema": "View",
        "records": [{"id": "a", "count": 1, "own": 2}]}"#;
    let created = mutate(&db, create).unwrap().commit.0;
    let update = r#"{"mutation": "update", "schema": "View",
        "records": [{"id": "a", "count": 5, "own": null}]}"#;
    let updated = mutate(&db, update).unwrap().commit.0;
    let gone = r#"{"mutation": "delete", "schema": "Item", "keys": ["a"]}"#;
    let gone = mutate(&db, gone).unwrap().commit.0;
    to_commit(&db, gone, false).unwrap();
    assert_eq!(all(&db, "View"), "[\"a\",5,null]\n");
    assert_eq!(all(&db, "Item"), "[\"a\",5,null,\"f\",{}]\n");
    to_moment(&db, "View", "a", created).unwrap();
    assert_eq!(all(&db, "View"), "[\"a\",1,2]\n");
    let error = to_commit(&db, updated, false).unwrap_err();
    assert_eq!(error.code(), "revert_conflict");
    to_commit(&db, created, true).unwrap();
    assert_eq!(all(&db, "Item"), "");
    check_sound(&db);
}

/// Whoever writes meanwhile is before the revert or behind it, and not in the middle.
#[test]
fn reverts_and_writes_at_once_leave_nothing_half_done() {
    let db = memory();
    approve(&db, ITEM);
    let both = |n: usize| {
        let records = format!(r#"[{{"id": "a", "n": {n}}}, {{"id": "b", "n": {n}}}]"#);
        let request =
            format!(r#"{{"mutation": "upsert", "schema": "Item", "records": {records}}}"#);
        mutate(&db, &request).unwrap().commit.0
    };
    let both = &both;
    let first = both(0);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            scope.spawn(move || (0..100).for_each(|n| assert!(both(1 + 2 * n + writer) > 0)));
        }
        for _ in 0..50 {
            // Two in one commit, taken back in one commit.
            let head = db.pool().operations().head().0.0;
            match to_commit(&db, head, false) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.code(), "revert_conflict"),
            }
            let _ = to_commit(&db, first, true);
        }
    });
    for commit in first..=db.pool().operations().head().0.0 {
        let mut request = datafold::QueryRequest::new(name("Item"));
        request.as_of = Some(commit.to_string());
        let answer = db.query(&request).unwrap();
        let values: Vec<_> = answer.records.iter().map(|record| record.get("n")).collect();
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]) && values.len() != 1);
    }
    check_sound(&db);
}
