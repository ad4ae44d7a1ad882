//! Pages that are read while others write: together they are the records of one commit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use datafold::data_layer::CommitNumber;
use datafold::engine::{ImportFormat, ImportOptions, Mutation};
use datafold::model::Value;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use crate::harness::{approve, memory, name};

const SCHEMA: &str = r#"{"name": "Row", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "v": {"value": {"type": "integer"}},
    "w": {"value": {"type": "integer"}}}, "indexes": [{"fields": ["v"]}]}"#;

/// What a writer did: the commit, and the record with its new value or none.
type Change = (CommitNumber, i64, Option<i64>);

/// One answer in pages.
struct Reading {
    commit: CommitNumber,
    sort: &'static str,
    records: Vec<(i64, i64)>,
}

/// Writes until it is told that all is read; tells when it has written for the first time.
fn write(
    db: &FoldDb,
    mut random: Random,
    ids: usize,
    is_done: &AtomicBool,
    has_begun: &Sender<()>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    while !is_done.load(Ordering::Relaxed) {
        let id = i64::try_from(random.below(ids)).unwrap();
        let value = i64::try_from(random.below(1_000)).unwrap();
        let record = || {
            let fields = [("id", id), ("v", value), ("w", -value)];
            fields.into_iter().map(|(name, value)| (name.to_owned(), Value::Int(value))).collect()
        };
        let schema = name("Row");
        let (mutation, value) = match random.below(3) {
            0 => (Mutation::delete(schema, vec![vec![Value::Int(id)]]), None),
            1 => (Mutation::create(schema, vec![record()]), Some(value)),
            _ => (Mutation::update(schema, vec![record()]), Some(value)),
        };
        // Others may have deleted or made it.
        if let Ok(receipt) = db.mutate(&mutation.into()) {
            changes.push((receipt.commit, id, value));
            if changes.len() == 1 {
                has_begun.send(()).unwrap();
            }
        }
    }
    changes
}

fn read(db: &FoldDb, sort: &'static str, limit: usize) -> Reading {
    let mut request = QueryRequest::new(name("Row"));
    request.sort = if sort.is_empty() { Vec::new() } else { vec![sort.to_owned()] };
    request.limit = Some(limit);
    let (mut records, mut commit) = (Vec::new(), None);
    loop {
        let answer = db.query(&request).unwrap();
        assert_eq!(*commit.get_or_insert(answer.commit), answer.commit, "all of one commit");
        records.extend(answer.records.iter().map(|record| match record.values[..] {
            [Value::Int(id), Value::Int(v), Value::Int(w)] if v == -w => (id, v),
            _ => panic!("{record:?} was never written"),
        }));
        match answer.cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => return Reading { commit: commit.unwrap(), sort, records },
        }
    }
}

/// The records as they are at each of some commits, in the order that a sort asks for.
fn check(
    initial: &BTreeMap<i64, i64>,
    mut changes: Vec<Change>,
    mut readings: Vec<Reading>,
) -> bool {
    changes.sort_unstable();
    readings.sort_by_key(|reading| reading.commit);
    let (mut state, mut at) = (initial.clone(), 0);
    readings.into_iter().all(|reading| {
        while let Some((_, id, value)) = changes.get(at).filter(|change| change.0 <= reading.commit)
        {
            match value {
                Some(value) => state.insert(*id, *value),
                None => state.remove(id),
            };
            at += 1;
        }
        let mut expected: Vec<(i64, i64)> = state.iter().map(|(id, v)| (*id, *v)).collect();
        match reading.sort {
            "v" | "w desc" => expected.sort_by_key(|(id, v)| (*v, *id)),
            "v desc" => expected.sort_by_key(|(id, v)| (-*v, -*id)),
            _ => {}
        }
        if reading.sort == "w desc" {
            // Records with the same value come in the direction of the last sort key.
            expected.sort_by_key(|(id, v)| (*v, -*id));
        }
        expected == reading.records
    })
}

fn run(db: &FoldDb, seed: u64, count: usize, writers: u64, is_wrong: bool) -> bool {
    approve(db, SCHEMA);
    let initial: BTreeMap<i64, i64> =
        (0..i64::try_from(count).unwrap()).map(|id| (id * 2, id % 1_000)).collect();
    let csv: String = std::iter::once("id,v,w\n".to_owned())
        .chain(initial.iter().map(|(id, v)| format!("{id},{v},{}\n", -v)))
        .collect();
    let mut options = ImportOptions::new(ImportFormat::Csv);
    options.batch_rows = 20_000;
    let go_on = |_| std::ops::ControlFlow::Continue(());
    let report = db.import(&name("Row"), csv.as_bytes(), &options, go_on).unwrap();
    assert_eq!(report.refused, 0);
    db.schemas().wait_for_indexes(&name("Row")).unwrap();
    let is_done = AtomicBool::new(false);
    let (mut changes, readings) = thread::scope(|scope| {
        let (begin, begun) = channel();
        let start = |writer| {
            let (is_done, begin) = (&is_done, begin.clone());
            let random = Random::part(seed, writer);
            scope.spawn(move || write(db, random, 2 * count, is_done, &begin))
        };
        let writing: Vec<_> = (0..writers).map(start).collect();
        assert_eq!(begun.iter().take(writing.len()).count(), writing.len());
        // Sorted pages read all records each time.
        let readings = vec![
            read(db, "", (count / 50).max(1)),
            read(db, "v", count / 8),
            read(db, "v desc", count / 8),
            read(db, "w desc", count / 8),
            read(db, "", (count / 200).max(1)),
        ];
        is_done.store(true, Ordering::Relaxed);
        let changes = writing.into_iter().flat_map(|writer| writer.join().unwrap());
        (changes.collect::<Vec<_>>(), readings)
    });
    assert!(!changes.is_empty());
    let last = readings.iter().map(|reading| reading.commit).max().unwrap();
    if is_wrong {
        changes.push((last, 0, Some(5_000)));
    }
    eprintln!(
        "seed {seed:#x}: {} changes by {writers} writers, {} readings of about {count} records",
        changes.len(),
        readings.len(),
    );
    check(&initial, changes, readings)
}

#[test]
fn pages_are_the_records_of_one_commit_whatever_is_written() {
    let seed = seed_from_env(0x05EE_D520);
    let is_right = if is_full_size() {
        // On a disk, which has room for all versions, and for which the writers wait.
        let folder = tempfile::tempdir().unwrap();
        let db = FoldDb::create(folder.path().join("store").to_str().unwrap()).unwrap();
        run(&db, seed, 1_000_000, 8, false)
    } else {
        run(&memory(), seed, 2_000, 4, false)
    };
    assert!(is_right, "{}", replay(seed));
}

#[test]
fn a_change_that_nobody_made_is_found() {
    let seed = seed_from_env(0x05EE_D521);
    assert!(!run(&memory(), seed, 500, 2, true), "{}", replay(seed));
}
