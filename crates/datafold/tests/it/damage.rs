//! What `verify` finds in a store that somebody else has written to.

use std::convert::Infallible;
use std::sync::Arc;

use datafold::FoldDb;
use datafold::engine::ElementQuery;
use datafold_store::encoding::KeyWriter;
use datafold_store::{Batch, Keyspace, MemoryStore, Outcome, Scan, SpaceId, Store};
use datafold_testkit::model::{Row, dump, read_all};
use minicbor::{Decoder, Encoder};

use crate::harness::{approve, clock, fold_db, mutate};
use crate::stage::ITEM;

const TAG: &str =
    r#"{"name": "Tag", "key": ["tag"], "fields": {"tag": {"value": {"type": "string"}}}}"#;

const BOX: &str = r#"{"name": "Box", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, 
    "of": {"field_type": "Range", "value": {"type": "string"}}}}"#;

/// A space with several lives of records, cells and elements that were taken away, and records of
/// nothing but a key.
fn space() -> Arc<MemoryStore> {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let db = fold_db(Arc::clone(&memory) as _, clock());
    approve(&db, ITEM);
    approve(&db, TAG);
    approve(&db, BOX);
    for request in [
        r#"{"mutation": "create", "schema": "Item",
            "records": [{"id": 1, "n": 1}, {"id": 2, "n": 2}]}"#,
        r#"{"mutation": "update", "schema": "Item", "records": [{"id": 1, "n": 3, "text": "a"}]}"#,
        r#"{"mutation": "update", "schema": "Item", "records": [{"id": 1, "text": null}]}"#,
        r#"{"mutation": "delete", "schema": "Item", "keys": [1]}"#,
        r#"{"mutation": "create", "schema": "Tag", "records": [{"tag": "a"}, {"tag": "b"}]}"#,
        r#"{"mutation": "create", "schema": "Item", "records": [{"id": 1, "n": 4}]}"#,
        r#"{"mutation": "delete", "schema": "Tag", "keys": ["a"]}"#,
        r#"{"mutation": "delete", "schema": "Item", "keys": [2]}"#,
        r#"{"transaction": [
            {"mutation": "delete", "schema": "Tag", "keys": ["b"]},
            {"mutation": "create", "schema": "Tag", "records": [{"tag": "b"}]}]}"#,
        r#"{"mutation": "create", "schema": "Box", "records": [
            {"id": 1, "of": {"a": "1", "b": "2"}}, {"id": 2, "of": {"a": "3"}}]}"#,
        r#"{"mutation": "put", "schema": "Box", "key": 1, "field": "of",
            "elements": {"Y": "7", "Z": "8", "a": "4"}}"#,
        r#"{"mutation": "remove", "schema": "Box", "key": 1, "field": "of", "elements": ["a"]}"#,
        r#"{"mutation": "delete", "schema": "Box", "keys": [2]}"#,
        r#"{"mutation": "create", "schema": "Box",
            "records": [{"id": 2, "of": {"a": "5", "c": "6"}}]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    Arc::new(memory.reopen())
}

fn plant(store: &MemoryStore, damage: impl FnOnce(&mut Batch)) -> FoldDb {
    fold_db(damaged(store, damage), clock())
}

/// Writes to the store as one more commit, which changes nothing else and which the log knows.
pub(crate) fn damaged(store: &MemoryStore, damage: impl FnOnce(&mut Batch)) -> Arc<dyn Store> {
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap().unwrap();
    let mut payload = Decoder::new(&head.payload);
    payload.array().unwrap();
    let time = payload.i64().unwrap() + 1;
    let mut batch = Batch::new(SpaceId::DEFAULT, head.number, head.number + 1, [9; 16]);
    batch.head = encode(|e| e.array(1)?.i64(time)?.ok()).into();
    let header = encode(|e| e.i64(time)?.u32(0)?.u32(0)?.ok());
    let mut key = KeyWriter::new();
    key.id(SpaceId::DEFAULT.0).ascending(batch.number).id(0);
    batch.put(Keyspace::Commits, key.finish(), header);
    damage(&mut batch);
    let store = store.reopen();
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    Arc::new(store)
}

type Written = Result<(), minicbor::encode::Error<Infallible>>;

fn encode(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

/// The problems of a fresh space with this damage.
fn problems(damage: impl FnOnce(&mut Batch)) -> Vec<String> {
    plant(&space(), damage).verify().unwrap().problems
}

fn rows(keyspace: Keyspace) -> Vec<Row> {
    rows_of(space().as_ref(), keyspace)
}

/// The rows of a keyspace, those of heads and counters among them.
pub(crate) fn rows_of(store: &dyn Store, keyspace: Keyspace) -> Vec<Row> {
    let rows = read_all(store.snapshot().unwrap().as_ref(), Scan::all(keyspace)).unwrap();
    rows.into_iter().map(|(key, row)| (keyspace, key, row)).collect()
}

fn counters() -> Vec<(Vec<u8>, Vec<u8>)> {
    let snapshot = space().snapshot().unwrap();
    let rows = read_all(snapshot.as_ref(), Scan::all(Keyspace::Head)).unwrap();
    // Behind the head of the space itself.
    rows.into_iter().filter(|(key, _)| key.len() == 2).collect()
}

/// The keyspaces whose rows are all needed.
const ALL: [Keyspace; 4] =
    [Keyspace::Records, Keyspace::Elements, Keyspace::History, Keyspace::Commits];

fn assert_found(problems: &[String], what: impl std::fmt::Debug) {
    assert!(!problems.is_empty(), "nothing found: {what:?}");
}

#[test]
fn a_commit_that_damages_nothing_is_sound() {
    assert_eq!(problems(|_| {}), Vec::<String>::new());
}

#[test]
fn a_row_that_is_missing_is_found() {
    let mut count = 0;
    for keyspace in ALL {
        for (_, key, _) in rows(keyspace) {
            let found = problems(|batch| batch.delete(keyspace, key.clone()));
            assert_found(&found, (keyspace, &key));
            count += 1;
        }
    }
    assert!(count >= 35, "{count} rows");
}

#[test]
fn a_row_that_does_not_decode_is_found() {
    for keyspace in ALL {
        for (_, key, row) in rows(keyspace) {
            for wrong in [vec![], vec![0xFF], row[..row.len() - 1].to_vec()] {
                let found = problems(|batch| batch.put(keyspace, key.clone(), wrong.clone()));
                assert_found(&found, (keyspace, &key, wrong));
            }
        }
    }
}

#[test]
fn a_row_in_the_place_of_another_is_found() {
    for keyspace in [Keyspace::Records, Keyspace::Elements, Keyspace::History] {
        let rows = rows(keyspace);
        for (at, (_, key, row)) in rows.iter().enumerate() {
            for (_, other_key, other) in rows[at + 1..].iter().filter(|other| other.2 != *row) {
                let found = problems(|batch| {
                    batch.put(keyspace, key.clone(), other.clone());
                    batch.put(keyspace, other_key.clone(), row.clone());
                });
                assert_found(&found, (keyspace, key, other_key));
            }
        }
    }
}

#[test]
fn a_wrong_count_of_elements_is_found() {
    let counts = rows(Keyspace::Elements);
    let counts: Vec<_> = counts.into_iter().filter(|(_, _, row)| row[0] == 0x82).collect();
    assert_eq!(counts.len(), 2);
    for (keyspace, key, row) in counts {
        for at in [1, row.len() - 1] {
            let mut wrong = row.clone();
            wrong[at] -= 1;
            let found = problems(|batch| batch.put(keyspace, key.clone(), wrong));
            assert_found(&found, at);
        }
    }
}

/// The number of atoms stays right, but one is of another cell or commit.
#[test]
fn a_row_under_another_key_is_found() {
    for keyspace in [Keyspace::Records, Keyspace::Elements, Keyspace::History] {
        for (_, key, row) in rows(keyspace) {
            let mut other = key.clone();
            let last = other.len() - if keyspace == Keyspace::History { 1 } else { 2 };
            other[last] ^= 1;
            let found = problems(|batch| {
                batch.delete(keyspace, key.clone());
                batch.put(keyspace, other.clone(), row.clone());
            });
            assert_found(&found, (keyspace, key, other));
        }
    }
}

#[test]
fn a_row_too_many_is_found() {
    let (_, key, row) = rows(Keyspace::Records).swap_remove(0);
    let mut unknown_schema = key.clone();
    unknown_schema[1] += 7;
    for keyspace in [Keyspace::Records, Keyspace::History, Keyspace::Elements, Keyspace::Indexes] {
        let found = problems(|batch| batch.put(keyspace, unknown_schema.clone(), row.clone()));
        assert_found(&found, keyspace);
    }
    let (_, mut commit, part) = rows(Keyspace::Commits).pop().unwrap();
    commit[8] += 2;
    assert_found(&problems(|batch| batch.put(Keyspace::Commits, commit, part)), "a commit to come");
}

#[test]
fn a_wrong_counter_is_found() {
    let counters = counters();
    assert_eq!(counters.len(), 3);
    for (key, row) in counters {
        assert_found(&problems(|batch| batch.delete(Keyspace::Head, key.clone())), "none");
        for at in [1, 2, row.len() - 1] {
            let mut wrong = row.clone();
            wrong[at] += 1;
            let found = problems(|batch| batch.put(Keyspace::Head, key.clone(), wrong));
            assert_found(&found, at);
        }
    }
}

#[test]
fn a_commit_out_of_time_is_found() {
    let commits = rows(Keyspace::Commits);
    let (_, key, row) = &commits[commits.len() / 2];
    let mut time = Decoder::new(row);
    let micros = time.i64().unwrap();
    let rest = row[time.position()..].to_vec();
    for wrong in [micros - 3, micros + 3_600_000_000] {
        let mut damaged = encode(|e| e.i64(wrong)?.ok());
        damaged.extend_from_slice(&rest);
        let found = problems(|batch| batch.put(Keyspace::Commits, key.clone(), damaged));
        assert!(found.iter().any(|problem| problem.contains("time")), "{found:?}");
    }
    let head = plant(&space(), |batch| {
        batch.head = encode(|e| e.array(1)?.i64(micros + 5_000)?.ok()).into();
    });
    assert_found(&head.verify().unwrap().problems, "the head");
}

#[test]
fn a_commit_without_log_is_found() {
    let found = problems(|batch| {
        let mut key = KeyWriter::new();
        key.id(SpaceId::DEFAULT.0).ascending(batch.number).id(0);
        batch.delete(Keyspace::Commits, key.finish());
    });
    assert!(found.iter().any(|problem| problem.contains("the log ends at commit")), "{found:?}");
}

#[test]
fn a_damaged_catalogue_is_found_by_opening_or_by_verifying() {
    for (_, key, row) in rows(Keyspace::Catalogue) {
        // The kind behind the space: 6 is the number of the next schema.
        let is_count = key[1..] == [6];
        for damage in [None, Some(vec![]), Some(row[..row.len() - 1].to_vec())] {
            if is_count && damage.is_none() {
                continue;
            }
            let store = space();
            let wrong = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                plant(&store, |batch| {
                    batch.write(
                        (Keyspace::Catalogue, key.clone().into()),
                        damage.clone().map(Into::into),
                    );
                })
            }));
            if let Ok(db) = wrong {
                assert_found(&db.verify().unwrap().problems, (&key, damage));
            }
        }
    }
}

/// Whatever one byte becomes, nothing panics, neither opening nor verifying nor reading.
#[test]
fn no_byte_makes_anything_panic() {
    use datafold::data_layer::{DatabasePool, ReadRepository};
    let store = space();
    let snapshot = store.snapshot().unwrap();
    for (keyspace, key, row) in dump(snapshot.as_ref()).unwrap() {
        for at in 0..row.len() {
            for mask in [0x01, 0x80, 0xFF] {
                let mut wrong = row.clone();
                wrong[at] ^= mask;
                let store = MemoryStore::new().unwrap();
                let head = snapshot.head(SpaceId::DEFAULT).unwrap().unwrap();
                let mut batch = Batch::new(SpaceId::DEFAULT, 0, head.number, [9; 16]);
                batch.head = head.payload;
                for (keyspace, key, row) in dump(snapshot.as_ref()).unwrap() {
                    batch.put(keyspace, key, row);
                }
                batch.put(keyspace, key.clone(), wrong);
                assert!(matches!(store.apply(&batch), Outcome::Accepted));
                let options = crate::harness::options(clock());
                let Ok(pool) = DatabasePool::with_store(Arc::new(store), &options) else {
                    continue;
                };
                let db = FoldDb::new(pool);
                let _ = db.verify();
                let _ = db.query(&datafold::QueryRequest::new(crate::harness::name("Item")));
                for id in [1, 2] {
                    let _ = db.history(&crate::harness::name("Item"), &[id.into()], None, None, 99);
                }
                let _ = db.pool().atoms().list();
                let _ = db.query(&datafold::QueryRequest::new(crate::harness::name("Box")));
                let elements = r#"{"schema": "Box", "key": 1, "field": "of", "as_of": 13}"#;
                let _ = db.elements(&ElementQuery::parse(elements).unwrap());
                let _ = db.history(&crate::harness::name("Box"), &[1.into()], None, None, 99);
            }
        }
    }
}

/// The same numbers and lengths in more bytes, or with bytes behind them.
fn other_forms(keyspace: Keyspace, row: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    match (keyspace, row) {
        // Behind the time stands the writer, the owner.
        (Keyspace::Commits, [0x1B, ..]) => {
            forms.push([&row[..9], &[0x18, 0x00], &row[10..]].concat());
        }
        (_, [head @ 0x80..0x98, rest @ ..]) => {
            forms.push([&[0x98, head - 0x80], rest].concat());
            forms.push([row, &[0x00]].concat());
        }
        (_, [number @ 0..24]) => forms.push(vec![0x18, *number]),
        _ => {}
    }
    forms
}

#[test]
fn a_row_in_another_form_is_found() {
    let mut count = 0;
    for keyspace in [&ALL[..], &[Keyspace::Catalogue, Keyspace::Head]].concat() {
        for (_, key, row) in rows(keyspace) {
            // The head of the space is that of the commit that does the damage.
            if keyspace == Keyspace::Head && key.len() != 2 {
                continue;
            }
            for form in other_forms(keyspace, &row) {
                let found = problems(|batch| batch.put(keyspace, key.clone(), form.clone()));
                let is_told = found.iter().any(|problem| {
                    problem.contains("is in another form") || problem.contains("encoding")
                });
                assert!(is_told, "{keyspace} {key:x?} {form:x?}: {found:?}");
                count += 1;
            }
        }
    }
    assert!(count >= 90, "{count} rows");
}

#[test]
fn a_value_in_another_form_is_found() {
    let item = rows(Keyspace::Records).into_iter().find(|(_, _, row)| row.ends_with(&[0x04]));
    let (_, key, row) = item.unwrap();
    let form = [&row[..row.len() - 1], &[0x18, 0x04]].concat();
    let found = problems(|batch| batch.put(Keyspace::Records, key, form));
    assert!(found.iter().any(|problem| problem.contains("not in its shortest form")), "{found:?}");
}

#[test]
fn a_key_of_the_catalogue_or_the_log_with_bytes_behind_it_is_found() {
    for keyspace in [Keyspace::Catalogue, Keyspace::Commits] {
        for (_, key, row) in rows(keyspace) {
            let long = [&key[..], &[0x00]].concat();
            let found = problems(|batch| batch.put(keyspace, long.clone(), row.clone()));
            assert_found(&found, (keyspace, long));
        }
    }
}
