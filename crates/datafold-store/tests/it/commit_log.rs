//! The commit log: what it costs, what it brings back, and how it is damaged.

use std::collections::BTreeMap;

use datafold_store::{
    Batch, Disk, FORMAT_VERSION, Keyspace, OpenOptions, Outcome, RedbStore, SpaceId, Store,
    StoreError, StoreId,
};
use datafold_testkit::model::describe;
use datafold_testkit::{
    DiskImage, PowerCuts, Random, SimDisk, is_full_size, replay, seed_from_env,
};

use crate::harness::{LOG, LOG_BYTES, disks, open_sim, options};
use crate::workload::Workload;

const ID: StoreId = StoreId([7; 16]);
const HEADER: usize = 4_096;

fn put(store: &dyn Store, number: u64, bytes: usize) -> Outcome {
    let mut batch = Batch::new(SpaceId::DEFAULT, number - 1, number, [1; 16]);
    batch.put(Keyspace::Records, format!("key {}", number % 7).into_bytes(), vec![7; bytes]);
    store.apply(&batch)
}

#[track_caller]
fn accept(store: &dyn Store, number: u64, bytes: usize) {
    let outcome = put(store, number, bytes);
    assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
}

fn head(store: &dyn Store) -> u64 {
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap();
    head.map_or(0, |head| head.number)
}

/// Where records of the log begin, and the round and number of each, as `docs/format.md` has it.
fn records(log: &[u8]) -> Vec<(usize, u64, u64)> {
    let number = |at: usize| u64::from_be_bytes(log[at..at + 8].try_into().unwrap());
    let starts = (HEADER..log.len() - 56).step_by(8).filter(|at| log[*at..].starts_with(b"dflr"));
    starts.map(|at| (at, number(at + 8), number(at + 16))).collect()
}

#[test]
fn a_batch_is_one_write_and_one_sync_of_the_log() {
    let disk = SimDisk::new(1);
    // Enough for all pages: a cache that is too small puts some out into the file.
    let options = OpenOptions { cache_bytes: 4 << 20, ..options(true) };
    let store = RedbStore::open("sim:", disks(&disk), ID, &options).unwrap();
    // A new file grows with the first batches.
    (1..=20).for_each(|number| accept(&store, number, 100));
    for number in 21..=100 {
        let (calls, data) = (disk.call_count(), disk.image());
        accept(&store, number, 100);
        assert_eq!(disk.call_count() - calls, 2, "batch {number}");
        assert!(disk.image() == data, "the engine's file was written to");
        assert_eq!((disk.unsynced(), disk.file(LOG).unsynced()), (0, 0));
    }
    assert_eq!(disk.file(LOG).len().unwrap(), LOG_BYTES, "the log does not grow");
    let sizes = disk.len().unwrap() + LOG_BYTES;
    assert_eq!(store.size_bytes().unwrap(), sizes);
}

#[test]
fn a_killed_process_loses_nothing_that_is_in_the_log_and_replays_it_once() {
    let disk = SimDisk::new(1);
    let store = open_sim(&disk, ID, true).unwrap();
    (1..=20).for_each(|number| accept(&store, number, 100));
    let killed = disk.process_kill(1);
    let store = open_sim(&killed, ID, false).unwrap();
    assert_eq!(head(&store), 20);
    // What was replayed is durable in the engine when the store is open.
    let killed = killed.process_kill(1);
    assert_eq!(head(&open_sim(&killed, ID, false).unwrap()), 20);
    accept(&store, 21, 100);
}

#[test]
fn a_session_that_only_reads_writes_nothing_to_the_log() {
    let disk = SimDisk::new(1);
    let store = open_sim(&disk, ID, true).unwrap();
    (1..=3).for_each(|number| accept(&store, number, 100));
    store.close().unwrap();
    let log = disk.file(LOG).image();
    let store = open_sim(&disk, ID, false).unwrap();
    assert_eq!(head(&store), 3);
    store.close().unwrap();
    assert!(disk.file(LOG).image() == log);
}

#[test]
fn a_batch_that_the_log_has_no_room_for_goes_to_the_engine() {
    let disk = SimDisk::new(1);
    let store = open_sim(&disk, ID, true).unwrap();
    accept(&store, 1, 100);
    let log = disk.file(LOG).image();
    accept(&store, 2, 2 * usize::try_from(LOG_BYTES).unwrap());
    assert!(disk.file(LOG).image() == log, "a part of the batch is in the log");
    // It has begun a new round, in which the record of the first batch is none.
    accept(&store, 3, 10);
    let killed = disk.process_kill(1);
    let found: Vec<_> = records(&killed.file(LOG).bytes()).iter().map(|r| (r.1, r.2)).collect();
    assert_eq!(found[0], (2, 0));
    assert_eq!(head(&open_sim(&killed, ID, false).unwrap()), 3);
}

/// The store with records of several rounds in its log, as a killed process leaves it.
fn used_log() -> (SimDisk, u64) {
    let disk = SimDisk::new(1);
    let store = open_sim(&disk, ID, true).unwrap();
    let mut number = 0;
    let mut rounds = 0;
    // Two rounds and a part of the third, so that records of the second stand behind its end.
    while rounds < 2 || records(&disk.file(LOG).bytes()).iter().filter(|r| r.1 == 3).count() < 6 {
        number += 1;
        let data = disk.image();
        accept(&store, number, 900 + usize::try_from(number % 5).unwrap() * 300);
        rounds += u64::from(disk.image() != data && number > 6);
        assert!(number < 500);
    }
    let killed = disk.process_kill(1);
    drop(store);
    (killed, number)
}

#[test]
fn records_of_an_earlier_round_are_not_replayed() {
    let (disk, number) = used_log();
    let log = disk.file(LOG).bytes();
    let records = records(&log);
    let last = records.iter().map(|record| record.1).max().unwrap();
    assert!(records.iter().any(|record| record.1 < last), "there is nothing stale: {records:?}");
    assert_eq!(head(&open_sim(&disk, ID, false).unwrap()), number);
}

/// A flipped bit: in a record behind which another one stands, it is damage. In the last record it
/// looks like a write that the power cut short. Elsewhere it changes nothing.
#[test]
fn a_flipped_bit_never_takes_a_commit_that_has_another_one_behind_it() {
    let seed = seed_from_env(0xF11);
    let mut random = Random::new(seed);
    let (disk, number) = used_log();
    let log = disk.file(LOG).bytes();
    let records = records(&log);
    let round = records.iter().map(|record| record.1).max().unwrap();
    let current: Vec<_> = records.iter().filter(|record| record.1 == round).collect();
    let end_of = |at: usize| at + 56 + u32_at(&log, at + 4);
    let last = current[current.len() - 1].0;
    let mut counts = BTreeMap::<_, u32>::new();
    for _ in 0..if is_full_size() { 20_000 } else { 2_000 } {
        let at = match random.below(4) {
            0 => random.below(HEADER),
            1 => last + random.below(end_of(last) - last),
            2 => HEADER + random.below(last - HEADER),
            _ => random.below(log.len()),
        };
        let mut damaged = log.clone();
        damaged[at] ^= 1 << random.below(8);
        let mut images = disk.images();
        images.insert(LOG, DiskImage::from_bytes(&damaged));
        let opened = open_sim(&SimDisk::from_images(images, 1), ID, false);
        let is_record = current.iter().any(|record| (record.0..end_of(record.0)).contains(&at));
        let (place, is_right) = match &opened {
            Err(StoreError::Corrupted { .. }) => ("refused", at < HEADER || is_record),
            Ok(store) if head(store) == number => ("unharmed", at >= HEADER && !is_record),
            Ok(store) if head(store) == number - 1 => ("last one lost", at >= last && is_record),
            _ => ("wrong", false),
        };
        *counts.entry(place).or_default() += 1;
        let found = opened.map(|store| head(&store)).map_err(|error| describe(&error));
        assert!(is_right, "byte {at}: {found:?} of {number}\n{}", replay(seed));
        // Only the last record may be lost.
        assert!(place != "refused" || at < last, "byte {at}\n{}", replay(seed));
    }
    eprintln!("flipped bits in a log: {counts:?}");
    assert!(counts["refused"] > 100 && counts["unharmed"] > 100 && counts["last one lost"] > 100);
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn a_log_that_is_gone_cut_or_of_another_store_is_damage() {
    let (disk, _) = used_log();
    let (other, _) = {
        let disk = SimDisk::new(2);
        let id = StoreId([9; 16]);
        (disk.clone(), open_sim(&disk, id, true).unwrap())
    };
    let log = disk.file(LOG).bytes();
    let mut zeros = log.clone();
    zeros.fill(0);
    let longer = [log.clone(), vec![0; 4_096]].concat();
    for (damage, bytes, says) in [
        ("gone", Vec::new(), "has 0 bytes"),
        ("cut in the header", log[..3_000].to_vec(), "has 3000 bytes"),
        ("cut", log[..log.len() - 8].to_vec(), "malformed"),
        ("longer", longer, "malformed"),
        ("zeros", zeros, "malformed"),
        ("another store's", other.file(LOG).bytes(), "another store's"),
    ] {
        let mut images = disk.images();
        images.insert(LOG, DiskImage::from_bytes(&bytes));
        for create in [false, true] {
            let disk = SimDisk::from_images(images.clone(), 1);
            let error = open_sim(&disk, ID, create).unwrap_err();
            assert!(matches!(error, StoreError::Corrupted { .. }), "{damage}: {error:?}");
            assert!(error.to_string().contains(says), "{damage}: {error}");
            assert_eq!(disk.file(LOG).bytes(), bytes, "{damage}: the log was written to");
        }
    }
}

/// The engine's file of an earlier day beside the log of today.
#[test]
fn a_log_that_is_ahead_of_the_engine_is_damage() {
    let (disk, _) = used_log();
    let earlier = SimDisk::new(1);
    drop(open_sim(&earlier, ID, true).unwrap());
    let mut images = disk.images();
    images.insert(0, earlier.image());
    let error = open_sim(&SimDisk::from_images(images, 1), ID, false).unwrap_err();
    assert!(error.to_string().contains("only knows of round 1"), "{error}");
}

/// A store as version 1 of the format left it: another number in its identity, and no log.
pub(crate) fn version_1(workload: &Workload) -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open_sim(&disk, ID, true).unwrap();
    for batch in workload.batches() {
        assert!(matches!(store.apply(batch), Outcome::Accepted));
    }
    let mut identity = b"DATAFOLD".to_vec();
    identity.extend_from_slice(&1_u32.to_be_bytes());
    identity.extend_from_slice(&ID.0);
    let mut batch = Batch::new(SpaceId::SYSTEM, 0, 1, [1; 16]);
    batch.put(Keyspace::Head, vec![0xFF], identity);
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    store.close().unwrap();
    SimDisk::from_image(disk.image(), 1)
}

#[test]
fn the_power_may_fail_while_a_store_of_version_1_is_brought_up() {
    let seed = seed_from_env(0x1D2);
    let workload = Workload::new(seed, 12);
    let disk = version_1(&workload);
    disk.start_trace();
    let store = open_sim(&disk, ID, false).unwrap();
    assert_eq!(store.info().format_version, FORMAT_VERSION);
    drop(store);
    let trace = disk.take_trace();
    let report = PowerCuts::new(seed).nested(3).run(&trace, |disk, acknowledged, attempted| {
        let store = open_sim(&disk, ID, false).map_err(|error| describe(&error))?;
        let found = head(&store);
        if !(acknowledged.max(12)..=attempted.max(12)).contains(&found) {
            return Err(format!("the store is at commit {found}"));
        }
        let identity = store.snapshot().unwrap().get(Keyspace::Head, &[0xFF]).unwrap().unwrap();
        if identity[8..12] != FORMAT_VERSION.to_be_bytes() {
            return Err("the identity was not brought up".into());
        }
        disk.attempt(found + 1);
        match put(&store, found + 1, 100) {
            Outcome::Accepted => disk.acknowledge(found + 1),
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    });
    eprintln!("bringing up a store: {report}");
    report.assert_clean();
    assert!(report.points > 100, "{report}");
}
