//! Reads of the store that fail, and rows that do not decode, in the middle of a request.

use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{DatabasePool, PoolOptions};
use datafold::engine::{ElementQuery, FoldDbError};
use datafold_store::{Batch, Keyspace, MemoryStore, Outcome, SpaceId, Store};
use datafold_testkit::model::{Row, dump};
use datafold_testkit::{ApplyFault, FaultStore, ReadCall};

use crate::damage::damaged;
use crate::harness::{approve, check_sound, clock, fold_db, lines, mutate, name, options, query};
use crate::stage::{ITEM, code};

const PERSON: &str = r#"{"name": "Person", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "email": {}, "team": {},
    "notes": {"field_type": "Collection"}},
    "indexes": [{"fields": ["email"], "unique": true}, {"fields": ["team"]}]}"#;

fn space() -> MemoryStore {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let db = fold_db(Arc::clone(&memory) as _, clock());
    approve(&db, PERSON);
    for request in [
        r#"{"mutation": "create", "schema": "Person", "records": [
            {"id": 1, "email": "a", "team": "x", "notes": ["one", "two"]},
            {"id": 2, "email": "b", "team": "x"}]}"#,
        r#"{"mutation": "update", "schema": "Person", "records": [{"id": 1, "team": "y"}]}"#,
        r#"{"mutation": "put", "schema": "Person", "key": 1, "field": "notes",
            "elements": {"0": "first"}}"#,
        r#"{"mutation": "remove", "schema": "Person", "key": 1, "field": "notes",
            "elements": ["1"]}"#,
        r#"{"mutation": "delete", "schema": "Person", "keys": [2]}"#,
        r#"{"mutation": "create", "schema": "Person", "records": [{"id": 3, "email": "c"}]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    memory.reopen()
}

/// What a request answers, and how many of its reads have failed, one after the other.
///
/// Each time a space of its own is asked. With the read that fails, the request fails and leaves
/// everything as it was; after it, the same request does what it does in a sound space.
fn sweep(request: impl Fn(&FoldDb) -> Result<String, FoldDbError>) -> (String, usize) {
    let memory = space();
    let expected = request(&fold_db(Arc::new(memory.reopen()), clock())).unwrap();
    let (mut failed, after) = (0, rows(&memory));
    for call in [ReadCall::Get, ReadCall::GetMany, ReadCall::Scan] {
        for nth in 1.. {
            let memory = space();
            let before = dump(memory.snapshot().unwrap().as_ref()).unwrap();
            let store = FaultStore::new(Arc::new(memory.reopen()));
            let db = fold_db(Arc::new(store.clone()), clock());
            store.fail_read(nth, call);
            let answer = request(&db);
            store.clear_faults();
            let is_last = answer.is_ok();
            match answer {
                Ok(answer) => assert_eq!(answer, expected, "{call:?} {nth}"),
                Err(error) => {
                    let is_told = ["store_io", "commit_failed"].contains(&error.code());
                    assert!(is_told, "{call:?} {nth}: {error}");
                    let now = dump(memory.snapshot().unwrap().as_ref()).unwrap();
                    assert!(now == before, "{call:?} {nth}: something was written");
                    assert_eq!(request(&db).unwrap(), expected, "{call:?} {nth}, again");
                    failed += 1;
                }
            }
            check_sound(&db);
            assert!(rows(&memory) == after, "{call:?} {nth}: other rows than in a sound space");
            if is_last {
                break;
            }
        }
    }
    (expected, failed)
}

/// The rows of a space without those of its heads, in which tokens are drawn.
fn rows(memory: &MemoryStore) -> Vec<Row> {
    let rows = dump(memory.snapshot().unwrap().as_ref()).unwrap();
    rows.into_iter().filter(|row| row.0 != Keyspace::Head).collect()
}

#[test]
fn a_read_that_fails_fails_the_commit_whole_and_nothing_else() {
    let mut failed = 0;
    for request in [
        r#"{"mutation": "create", "schema": "Person",
            "records": [{"id": 4, "email": "d", "notes": ["x"]}, {"id": 2, "email": "b"}]}"#,
        r#"{"mutation": "upsert", "schema": "Person",
            "records": [{"id": 1, "email": "c"}, {"id": 3, "email": "a"}]}"#,
        r#"{"mutation": "put", "schema": "Person", "key": 1, "field": "notes",
            "elements": {"0": "again", "5": "new"}}"#,
        r#"{"mutation": "remove", "schema": "Person", "key": 1, "field": "notes",
            "elements": ["0"]}"#,
        r#"{"mutation": "delete", "schema": "Person", "keys": [1]}"#,
        r#"{"transaction": [
            {"mutation": "delete", "schema": "Person", "keys": [3]},
            {"mutation": "create", "schema": "Person", "records": [{"id": 5, "email": "c"}]}]}"#,
    ] {
        let commit = |db: &FoldDb| mutate(db, request).map(|receipt| receipt.commit.to_string());
        let (answer, of_request) = sweep(commit);
        assert_eq!(answer, "9", "{request}");
        failed += of_request;
    }
    assert!(failed >= 12, "{failed} reads failed");
}

#[test]
fn a_read_that_fails_fails_a_change_of_the_catalogue_whole() {
    let load = |db: &FoldDb| Ok(db.schemas().load_text(ITEM, None)?.name.to_string());
    let (answer, loads) = sweep(load);
    assert_eq!(answer, "Item");
    let block = |db: &FoldDb| {
        let receipt = db.schemas().block_schema(&name("Person"), Some("for a test"))?;
        Ok(receipt.commit.to_string())
    };
    let (answer, blocks) = sweep(block);
    assert_eq!(answer, "9");
    assert!(loads + blocks >= 3, "{loads} and {blocks} reads failed");
}

#[test]
fn a_read_that_fails_fails_a_query_and_the_next_one_is_right() {
    let ask = |text: &'static str| move |db: &FoldDb| query(db, text).map(|found| lines(&found));
    let (answer, mut failed) = sweep(ask(r#"{"schema": "Person"}"#));
    assert_eq!(answer, "[1,\"a\",\"y\",{\"0\":\"first\"}]\n[3,\"c\",null,{}]\n");
    let (answer, of_past) = sweep(ask(r#"{"schema": "Person", "as_of": 4}"#));
    let before = "[1,\"a\",\"y\",{\"0\":\"one\",\"1\":\"two\"}]\n[2,\"b\",\"x\",{}]\n";
    assert_eq!(answer, before);
    failed += of_past;
    let (answer, of_history) = sweep(|db: &FoldDb| {
        let atoms = db.history(&name("Person"), &[1.into()], None, None, 99)?;
        Ok(atoms.len().to_string())
    });
    // Four with the record, and one for each change.
    assert_eq!(answer, "7");
    failed += of_history;
    assert!(failed >= 6, "{failed} reads failed");
}

/// A row that ends in a text, whose last byte is none of UTF-8 then.
fn without_utf_8(row: &[u8]) -> Option<Vec<u8>> {
    let (last, before) = row.split_last()?;
    last.is_ascii_alphabetic().then(|| [before, &[0xFF]].concat())
}

#[test]
fn a_text_that_is_not_utf_8_is_refused_with_its_row_by_whatever_reads_it() {
    let rows = dump(space().snapshot().unwrap().as_ref()).unwrap();
    let mut refused = 0;
    for (_, key, row) in rows.iter().filter(|row| row.0 == Keyspace::Records) {
        let Some(wrong) = without_utf_8(row) else { continue };
        let put = |batch: &mut Batch| {
            batch.put(Keyspace::Records, key.clone(), wrong.clone());
        };
        let db = fold_db(damaged(&space(), put), clock());
        let update = |id: u8| {
            let fields = format!(r#"{{"id": {id}, "email": "new"}}"#);
            mutate(
                &db,
                &format!(r#"{{"mutation": "update", "schema": "Person", "records": [{fields}]}}"#),
            )
        };
        let Some(id) = (1..=3).find(|id| db.get(&name("Person"), &[(*id).into()]).is_err()) else {
            continue;
        };
        let id = u8::try_from(id).unwrap();
        let head = db.pool().operations().head().0;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        for error in [
            update(id).map(drop).unwrap_err(),
            query(&db, r#"{"schema": "Person"}"#).map(drop).unwrap_err(),
            db.history(&name("Person"), &[i64::from(id).into()], None, None, 9)
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(error.code(), "corrupt_row", "{error}");
            assert!(error.to_string().contains(&key), "{error} does not name {key}");
        }
        assert_eq!(db.pool().operations().head().0, head);
        refused += 1;
    }
    assert!(refused >= 1, "{refused} rows end in a text");
}

/// What is damaged in the past is refused, and what is beside it is read.
#[test]
fn a_past_that_does_not_decode_is_refused_and_never_left_out() {
    let memory = space();
    let rows = dump(memory.snapshot().unwrap().as_ref()).unwrap();
    let moments = 3..=8;
    let read = |db: &FoldDb, at: u64| {
        let at = at.to_string();
        let of_records = query(
            db,
            &format!(
                r#"{{"schema": "Person", "select": ["id", "email", "team"],
                "as_of": {at}}}"#
            ),
        );
        let elements =
            format!(r#"{{"schema": "Person", "key": 1, "field": "notes", "as_of": {at}}}"#);
        let elements = db.elements(&ElementQuery::parse(&elements).unwrap());
        [
            of_records.map(|answer| lines(&answer)),
            elements.map(|answer| format!("{:?}", answer.elements)),
        ]
    };
    let whole = fold_db(Arc::new(memory.reopen()), clock());
    let mut refused = 0;
    for (_, key, row) in rows.iter().filter(|row| row.0 == Keyspace::History) {
        let cut = row[..row.len() - 1].to_vec();
        for wrong in [vec![], vec![0xFF], cut].into_iter().chain(without_utf_8(row)) {
            let put = |batch: &mut Batch| {
                batch.put(Keyspace::History, key.clone(), wrong.clone());
            };
            let db = fold_db(damaged(&space(), put), clock());
            let mut any = false;
            for at in moments.clone() {
                for (found, right) in read(&db, at).into_iter().zip(read(&whole, at)) {
                    match found {
                        Ok(found) => assert_eq!(found, right.unwrap(), "{key:x?} as of {at}"),
                        Err(error) => {
                            assert_eq!(error.code(), "corrupt_row", "{key:x?}: {error}");
                            any = true;
                        }
                    }
                }
            }
            refused += usize::from(any);
        }
    }
    assert!(refused >= 9, "{refused} refused");
}

#[test]
fn a_space_whose_registration_fails_is_not_there_and_can_be_made_later() {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let store = FaultStore::new(Arc::clone(&memory) as _);
    let open_on = |store: Arc<dyn Store>| {
        let options = PoolOptions { space: "second".into(), ..options(clock()) };
        DatabasePool::with_store(store, &options).map(FoldDb::new)
    };
    let open = || open_on(Arc::new(store.clone()));
    for (fault, code) in [
        (ApplyFault::Failed, "store_io"),
        (ApplyFault::Fenced, "commit_fenced"),
        (ApplyFault::IndeterminateNotApplied, "store_io"),
    ] {
        store.fail_apply(1, fault);
        assert_eq!(open().unwrap_err().code(), code, "{fault:?}");
        assert_eq!(rows(&memory), [], "{fault:?}");
        store.reopen();
    }
    store.fail_apply(1, ApplyFault::IndeterminateApplied);
    assert_eq!(open().unwrap_err().code(), "store_io");
    store.reopen();
    // It had reached the disk after all, and the space is not registered again.
    assert_eq!(rows(&memory).len(), 1);
    let db = open().unwrap();
    approve(&db, ITEM);
    assert_eq!(db.stats().unwrap().commit.0, 2);
    drop(db);
    let db = open_on(Arc::new(memory.reopen())).unwrap();
    assert_eq!(db.stats().unwrap().total_schemas, 1);
    assert_eq!(store.accepted_count(), 2, "the two commits of the schema");
}

#[test]
fn a_space_whose_number_does_not_decode_is_refused() {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let options = PoolOptions { space: "second".into(), ..options(clock()) };
    let open = |memory: &MemoryStore| {
        DatabasePool::with_store(Arc::new(memory.reopen()), &options).map(FoldDb::new)
    };
    drop(open(&memory).unwrap());
    let rows = dump(memory.snapshot().unwrap().as_ref()).unwrap();
    let registered = rows.into_iter().find(|row| row.0 == Keyspace::Catalogue);
    let (keyspace, key, _) = registered.unwrap();
    let system = SpaceId::SYSTEM;
    let mut batch = Batch::new(system, 1, 2, [9; 16]);
    batch.put(keyspace, key, vec![0xFF]);
    assert!(matches!(memory.apply(&batch), Outcome::Accepted));
    assert_eq!(code(open(&memory).map_err(FoldDbError::from)), "corrupt_row");
}
