//! Elements of one record: what the millionth costs beside the first ones, how fast they are read
//! beside the bare engine, and what it takes to delete them all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafold::FoldDb;
use datafold::data_layer::Durability;
use datafold::engine::{ElementFilter, ElementQuery, Mutation};
use datafold::model::{SchemaName, Value};
use datafold_store::Keyspace;
use datafold_store::encoding::{KeyPart, KeyWriter};
use datafold_testkit::RecordingStore;
use redb::{Database, ReadableDatabase, ReadableTable};

use crate::fixture::{self, Random};
use crate::table::{Table, median};
use crate::{Size, bare};

const SCHEMA: &str = r#"{"name": "Shelf", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "places": {"field_type": "Range", "value": {"type": "string"}}}}"#;
/// The record with many elements. Every other one has few.
const LARGE: i64 = 1;
const SMALL: u64 = 1_000;
/// Elements that begin alike.
const GROUP: u64 = 1_000;
/// Elements of a commit while filling.
const CHUNK: u64 = 1_000;

fn shelf() -> SchemaName {
    SchemaName::parse("Shelf").unwrap()
}

/// A value of 100 bytes.
fn value(number: u64) -> Value {
    Value::Text(format!("{number:0>100}"))
}

fn key_of(number: u64) -> String {
    format!("{:06}:{:03}", number / GROUP, number % GROUP)
}

fn put(record: i64, elements: BTreeMap<String, Value>) -> Mutation {
    Mutation::put(shelf(), vec![Value::Int(record)], "places", elements)
}

fn create(db: &FoldDb, record: i64) {
    let record = [("id".to_owned(), Value::Int(record))].into();
    db.mutate(&Mutation::create(shelf(), vec![record]).into()).unwrap();
}

/// Puts elements `from` to `to`, in no order of their keys, and waits until they are durable.
fn fill(db: &FoldDb, record: i64, from: u64, to: u64) {
    let numbers: Vec<u64> = (from..to).collect();
    for chunk in numbers.chunks(CHUNK as usize) {
        // A step that has no factor in common with the number of elements meets each once.
        let scattered = chunk.iter().map(|number| number * 387_420_489 % to.max(1_000_003));
        let elements = scattered.map(|number| (key_of(number), value(number))).collect();
        db.mutate_with(&put(record, elements).into(), Durability::Buffered).unwrap();
    }
    db.pool().flush().unwrap();
}

pub(crate) fn run(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let path = folder.path().join("store");
    let db = FoldDb::create(path.to_str().unwrap()).unwrap();
    db.schemas().load_text(SCHEMA, None).unwrap();
    db.schemas().approve_schema(&shelf()).unwrap();
    create(&db, LARGE);
    db.pool().close().unwrap();
    grow(&path, size, table);
    inserts(&path, size, table);
    prefixes(&path, size, table);
    delete(&path, size, table);
}

/// Bytes of the pages in use for each element, of the second half beside the first.
fn grow(path: &Path, size: Size, table: &mut Table) {
    let half = size.records / 2;
    let mut in_use = vec![bytes_in_use(path)];
    for (from, to) in [(0, half), (half, size.records)] {
        let db = fixture::open(path);
        fill(&db, LARGE, from, to);
        db.pool().close().unwrap();
        in_use.push(bytes_in_use(path));
    }
    let each = |at: usize| (in_use[at + 1] - in_use[at]) as f64 / half as f64;
    let what = format!("bytes an element, those behind {half} beside those before");
    let (second, first) = (format!("{:.0} bytes", each(1)), format!("{:.0} bytes", each(0)));
    table.add(&what, second, first, each(1) / each(0), "about 1");
}

fn bytes_in_use(path: &Path) -> u64 {
    let database = bare::open(path);
    let stats = database.begin_write().unwrap().stats().unwrap();
    stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes()
}

/// New elements at random places of a record that has many, beside a record that has few.
fn inserts(path: &Path, size: Size, table: &mut Table) {
    let db = fixture::open(path);
    let (mut random, mut next, mut record) = (Random(3), 0, 100);
    let mut some = |count: u64, below: u64, at_end: bool| -> BTreeMap<String, Value> {
        let mut element = || {
            next += 1;
            let key = key_of(random.below(below));
            let key = if at_end { format!("~{next:09}") } else { format!("{key}+{next}") };
            (key, value(next))
        };
        (0..count).map(|_| element()).collect()
    };
    for (what, commits, each, at_end, goal) in [
        ("one a commit, anywhere", 200, 1, false, "at most 1.5"),
        ("1000 a commit, at the end", 5, 1_000, true, "at most 1.5"),
        // Each of them lies in another page of the large record, and none in the small one.
        ("1000 a commit, anywhere", 5, 1_000, false, "reported"),
    ] {
        let mut time = |record: i64, below: u64| {
            let start = Instant::now();
            for _ in 0..commits {
                db.mutate(&put(record, some(each, below, at_end)).into()).unwrap();
            }
            start.elapsed().as_secs_f64() * 1e6 / (commits * each) as f64
        };
        let mut rounds = Vec::new();
        for _ in 0..=size.rounds {
            record += 1;
            create(&db, record);
            fill(&db, record, 0, SMALL);
            rounds.push((time(LARGE, size.records), time(record, SMALL)));
        }
        // The first round warms up.
        let rounds = rounds.split_off(1);
        let ratio = median(rounds.iter().map(|(large, small)| large / small).collect());
        let large = median(rounds.iter().map(|(large, _)| *large).collect());
        let small = median(rounds.iter().map(|(_, small)| *small).collect());
        let what = format!("insert an element, {what}, {} elements beside {SMALL}", size.records);
        table.add(&what, format!("{large:.2} us"), format!("{small:.2} us"), ratio, goal);
    }
    db.pool().close().unwrap();
}

/// The elements of one group, decoded, beside the engine's scan of the same rows.
fn prefixes(path: &Path, size: Size, table: &mut Table) {
    let groups = size.records / GROUP;
    let count = 5_000;
    let ours = |db: &FoldDb| {
        let (mut random, mut found) = (Random(5), 0_u64);
        let start = Instant::now();
        for _ in 0..count {
            let prefix = format!("{:06}:", random.below(groups));
            let mut query = ElementQuery::new(shelf(), vec![Value::Int(LARGE)], "places");
            query.filter = ElementFilter::KeyPrefix(prefix);
            db.elements_each(&query, |element| {
                found += u64::from(element.value != Value::Null);
                ControlFlow::Continue(())
            })
            .unwrap();
        }
        found as f64 / start.elapsed().as_secs_f64()
    };
    let beside = |database: &Database| {
        let (mut random, mut found) = (Random(5), 0_u64);
        let start = Instant::now();
        for _ in 0..count {
            let (from, to) = rows_of(random.below(groups));
            let transaction = database.begin_read().unwrap();
            let rows = transaction.open_table(bare::table(Keyspace::Elements)).unwrap();
            for row in ReadableTable::range::<&[u8]>(&rows, &from[..]..&to[..]).unwrap() {
                let (key, value) = row.unwrap();
                found += u64::from(key.value().len() + value.value().len() > 100);
            }
        }
        found as f64 / start.elapsed().as_secs_f64()
    };
    let mut rounds = Vec::new();
    for _ in 0..=size.rounds {
        let db = fixture::open(path);
        ours(&db);
        let one = ours(&db);
        db.pool().close().unwrap();
        drop(db);
        let database = bare::open(path);
        beside(&database);
        rounds.push((one, beside(&database)));
    }
    let ratio = median(rounds.iter().map(|(ours, beside)| ours / beside).collect());
    let ours = median(rounds.iter().map(|(ours, _)| *ours).collect());
    let beside = median(rounds.iter().map(|(_, beside)| *beside).collect());
    let what = format!("read {GROUP} elements by prefix, of {}", size.records);
    table.add(&what, format!("{ours:.0}/s"), format!("{beside:.0}/s redb"), ratio, "at least 0.5");
}

/// The bounds of the rows of a group: space 1, schema 1, the record, field 2, the element keys.
fn rows_of(group: u64) -> (Vec<u8>, Vec<u8>) {
    let mut key = KeyWriter::new();
    key.id(1).id(1).part(&KeyPart::Int(LARGE)).unwrap().id(2);
    key.text(&format!("{group:06}:"));
    let mut from = key.into_vec();
    from.pop();
    let to = [from.as_slice(), &[0xFF]].concat();
    (from, to)
}

/// Deletes the record with all its elements, beside one with few.
fn delete(path: &Path, size: Size, table: &mut Table) {
    let mut recorded = None;
    let db = fixture::open_wrapped(path, |store| {
        let recording = Arc::new(RecordingStore::new(store));
        recorded = Some(Arc::clone(&recording));
        recording
    });
    let recording = recorded.unwrap();
    let delete = |record: i64| {
        drop(recording.take_batches());
        let start = Instant::now();
        db.mutate(&Mutation::delete(shelf(), vec![vec![Value::Int(record)]]).into()).unwrap();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let batches = recording.take_batches();
        let rows = batches.iter().flat_map(|batch| batch.writes());
        let bytes: usize =
            rows.map(|(_, key, row)| key.len() + row.map_or(0, |row| row.len())).sum();
        (ms, bytes)
    };
    let before = db.stats().unwrap().total_elements;
    delete(101);
    let ((few_ms, few), (many_ms, many)) = (delete(102), delete(LARGE));
    assert!(before - db.stats().unwrap().total_elements >= size.records);
    let what = format!("delete a record with {} elements beside {SMALL}", size.records);
    let text = |ms: f64, bytes: usize| format!("{ms:.2} ms, {bytes} bytes");
    table.add(&what, text(many_ms, many), text(few_ms, few), many as f64 / few as f64, "about 1");
    db.pool().close().unwrap();
}
