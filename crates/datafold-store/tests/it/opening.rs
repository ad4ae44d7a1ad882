//! What is opened, what is created, and what is refused.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use datafold_store::{
    Batch, FORMAT_VERSION, Keyspace, OpenOptions, Outcome, SpaceId, Store, StoreError, StoreId,
    open,
};
use datafold_testkit::{CutKind, DiskImage, DiskImages, Random, SimDisk, seed_from_env};
use tempfile::TempDir;

use crate::harness::{open_sim, options};

const DATA_FILE: &str = "data.redb";
const LOG_FILE: &str = "commit.log";
const NOTE_FILE: &str = "STORE.json";

fn open_at(path: &Path, create: bool) -> Result<Arc<dyn Store>, StoreError> {
    open(path.to_str().unwrap(), &options(create))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap();
    let number = head.map_or(0, |head| head.number);
    let mut batch = Batch::new(SpaceId::DEFAULT, number, number + 1, [1; 16]);
    batch.put(Keyspace::Records, key.to_vec(), value.to_vec());
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
}

/// A closed store with one row.
fn closed_store() -> (TempDir, StoreId) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    put(&*store, b"key", b"value");
    store.close().unwrap();
    let id = store.info().id;
    (folder, id)
}

#[track_caller]
fn assert_has_the_row(store: &dyn Store) {
    let value = store.snapshot().unwrap().get(Keyspace::Records, b"key").unwrap();
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}

#[test]
fn without_create_nothing_is_created() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("new"), folder.path().join("a/b")] {
        let error = open_at(&path, false).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(names(folder.path()), [] as [String; 0]);
}

#[test]
fn create_makes_the_folders_and_keeps_a_store_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let store = open_at(&path, true).unwrap();
    let info = store.info().clone();
    assert_eq!((info.engine, info.format_version), ("redb", FORMAT_VERSION));
    put(&*store, b"key", b"value");
    drop(store);
    assert_eq!(names(&path), ["LOCK", NOTE_FILE, LOG_FILE, DATA_FILE]);
    let store = open_at(&path, true).unwrap();
    assert_eq!(store.info(), &info);
    assert_has_the_row(&*store);
}

#[test]
fn a_folder_with_other_things_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("holiday.jpg"), "x").unwrap();
    for create in [false, true] {
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
        assert!(error.to_string().contains("holiday.jpg"), "{error}");
        let error = open_at(&folder.path().join("holiday.jpg"), create).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    }
    assert_eq!(names(folder.path()), ["holiday.jpg"]);
    // A file of the engine's name that is none of the engine's is not touched.
    let folder = tempfile::tempdir().unwrap();
    for content in [&b"a text"[..], &[0, 0, 0, 7], &[1; 100_000]] {
        fs::write(folder.path().join(DATA_FILE), content).unwrap();
        let error = open_at(folder.path(), true).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
        assert_eq!(fs::read(folder.path().join(DATA_FILE)).unwrap(), content);
    }
}

#[test]
fn the_same_process_cannot_open_a_store_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    let assert_refused = || {
        for create in [false, true] {
            let error = open_at(folder.path(), create).unwrap_err();
            let StoreError::AlreadyOpen { pid, .. } = error else { panic!("{error:?}") };
            assert_eq!(pid, Some(std::process::id()));
        }
    };
    assert_refused();
    let view = store.snapshot().unwrap();
    store.close().unwrap();
    // The file may not change under a snapshot that is still held.
    assert_refused();
    drop(view);
    open_at(folder.path(), false).unwrap();
}

/// Set in a child process: the folder to open, and the process that must be named as the holder.
const CHILD: &str = "DATAFOLD_TEST_CHILD";

#[test]
fn a_second_process_cannot_open_a_store() {
    if let Ok(task) = std::env::var(CHILD) {
        return second_process(&task);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    put(&*store, b"key", b"value");
    spawn_child(&format!("{} {}", std::process::id(), folder.path().display()));
    put(&*store, b"other", b"value");
    store.close().unwrap();
    spawn_child(&format!("0 {}", folder.path().display()));
}

fn spawn_child(task: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::a_second_process_cannot_open_a_store", "--nocapture"])
        .env(CHILD, task)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{task}: {output:?}");
}

fn second_process(task: &str) {
    let (holder, folder) = task.split_once(' ').unwrap();
    match (holder.parse().unwrap(), open_at(Path::new(folder), false)) {
        (0_u32, store) => assert_has_the_row(&*store.unwrap()),
        (holder, Err(StoreError::AlreadyOpen { pid, .. })) => assert_eq!(pid, Some(holder)),
        (_, other) => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_file_that_was_removed_lets_nobody_in() {
    let (folder, _) = closed_store();
    let first = open_at(folder.path(), false).unwrap();
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { pid: None, .. }), "{error}");
    first.close().unwrap();
    drop(first);
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
}

#[test]
fn a_note_of_an_unknown_format_is_refused() {
    let (folder, _) = closed_store();
    let path = folder.path().join(NOTE_FILE);
    let note = fs::read_to_string(&path).unwrap();
    let version = |version| format!("\"format_version\": {version}");
    let other = note.replace(&version(u64::from(FORMAT_VERSION)), &version(77));
    assert_ne!(note, other);
    fs::write(&path, other).unwrap();
    for create in [false, true] {
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::UnknownFormat { found: 77 }), "{error:?}");
    }
    fs::write(&path, "not a note").unwrap();
    let error = open_at(folder.path(), true).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    fs::write(&path, note).unwrap();
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
}

#[test]
fn an_identity_row_of_an_unknown_format_is_refused() {
    let disk = SimDisk::new(1);
    let id = StoreId([7; 16]);
    let store = open_sim(&disk, id, true).unwrap();
    let identity = |version: u32| {
        let mut row = b"DATAFOLD".to_vec();
        row.extend_from_slice(&version.to_be_bytes());
        row.extend_from_slice(&id.0);
        row
    };
    let found = store.snapshot().unwrap().get(Keyspace::Head, &[0xFF]).unwrap();
    assert_eq!(found, Some(identity(FORMAT_VERSION)));
    let mut batch = Batch::new(SpaceId::SYSTEM, 0, 1, [1; 16]);
    batch.put(Keyspace::Head, vec![0xFF], identity(77));
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    store.close().unwrap();
    for create in [false, true] {
        let error = open_sim(&disk, id, create).unwrap_err();
        assert!(matches!(error, StoreError::UnknownFormat { found: 77 }), "{error:?}");
    }
}

#[test]
fn a_store_whose_data_is_gone_is_not_created_anew() {
    let (folder, id) = closed_store();
    let data = folder.path().join(DATA_FILE);
    let bytes = fs::read(&data).unwrap();
    for create in [false, true] {
        fs::remove_file(&data).unwrap();
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::UnexpectedlyEmpty { .. }), "{error:?}");
        assert!(!data.exists());
        fs::write(&data, b"").unwrap();
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::UnexpectedlyEmpty { .. }), "{error:?}");
        for len in [1, 4_096, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&data, &bytes[..len]).unwrap();
            let error = open_at(folder.path(), create).unwrap_err();
            assert!(matches!(error, StoreError::Corrupted { .. }), "{len} bytes: {error:?}");
        }
        fs::write(&data, vec![0; bytes.len()]).unwrap();
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
    }
    fs::write(&data, &bytes).unwrap();
    let store = open_at(folder.path(), false).unwrap();
    assert_eq!(store.info().id, id);
    assert_has_the_row(&*store);
}

#[test]
fn the_data_of_another_store_is_refused() {
    let (folder, id) = closed_store();
    let (other, other_id) = closed_store();
    assert_ne!(id, other_id);
    fs::copy(other.path().join(DATA_FILE), folder.path().join(DATA_FILE)).unwrap();
    for create in [false, true] {
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
}

#[test]
fn a_store_whose_log_is_gone_is_damaged() {
    let (folder, _) = closed_store();
    let (other, _) = closed_store();
    let log = folder.path().join(LOG_FILE);
    let bytes = fs::read(&log).unwrap();
    for create in [false, true] {
        fs::remove_file(&log).unwrap();
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
        assert!(error.to_string().contains(LOG_FILE), "{error}");
        assert!(!log.exists());
        for content in [&b""[..], &bytes[..bytes.len() / 2], &vec![0; bytes.len()]] {
            fs::write(&log, content).unwrap();
            let error = open_at(folder.path(), create).unwrap_err();
            assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
            assert!(fs::read(&log).unwrap() == content);
        }
        fs::copy(other.path().join(LOG_FILE), &log).unwrap();
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(error.to_string().contains("another store's"), "{error}");
    }
    fs::write(&log, &bytes).unwrap();
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
}

fn set_note_version(folder: &Path, from: u32, to: u32) {
    let path = folder.join(NOTE_FILE);
    let note = fs::read_to_string(&path).unwrap();
    let version = |version: u32| format!("\"format_version\": {version}");
    assert!(note.contains(&version(from)), "{note}");
    fs::write(&path, note.replace(&version(from), &version(to))).unwrap();
}

/// Makes a closed store one of format 1: no log, and the older number in identity and note.
fn bring_down(folder: &Path, id: StoreId) {
    let store = open_at(folder, false).unwrap();
    let identity = [&b"DATAFOLD"[..], &1_u32.to_be_bytes(), &id.0].concat();
    let mut batch = Batch::new(SpaceId::SYSTEM, 0, 1, [1; 16]);
    batch.put(Keyspace::Head, vec![0xFF], identity);
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    store.close().unwrap();
    fs::remove_file(folder.join(LOG_FILE)).unwrap();
    set_note_version(folder, FORMAT_VERSION, 1);
}

#[test]
fn a_store_of_version_1_is_brought_up_and_every_step_can_be_the_last() {
    // What a power cut may leave behind: no log, an empty one, one that is not whole.
    for log in [None, Some(vec![]), Some(vec![7; 5_000])] {
        let (folder, id) = closed_store();
        bring_down(folder.path(), id);
        if let Some(bytes) = log {
            fs::write(folder.path().join(LOG_FILE), bytes).unwrap();
        }
        let store = open_at(folder.path(), false).unwrap();
        assert_eq!((store.info().format_version, store.info().id), (FORMAT_VERSION, id));
        assert_has_the_row(&*store);
        put(&*store, b"other", b"value");
        store.close().unwrap();
        drop(store);
        assert_eq!(names(folder.path()), ["LOCK", NOTE_FILE, LOG_FILE, DATA_FILE]);
        // The note is the last step.
        set_note_version(folder.path(), FORMAT_VERSION, 1);
        assert_has_the_row(&*open_at(folder.path(), false).unwrap());
        set_note_version(folder.path(), FORMAT_VERSION, FORMAT_VERSION);
        assert_has_the_row(&*open_at(folder.path(), false).unwrap());
        // Once the data are of the new format, the log may hold what was acknowledged.
        set_note_version(folder.path(), FORMAT_VERSION, 1);
        fs::remove_file(folder.path().join(LOG_FILE)).unwrap();
        let error = open_at(folder.path(), false).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error:?}");
    }
}

#[test]
fn data_of_version_1_in_a_folder_of_version_2_are_damage() {
    let (folder, id) = closed_store();
    let log = fs::read(folder.path().join(LOG_FILE)).unwrap();
    bring_down(folder.path(), id);
    fs::write(folder.path().join(LOG_FILE), &log).unwrap();
    set_note_version(folder.path(), 1, FORMAT_VERSION);
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(error.to_string().contains("format version 1"), "{error}");
    assert!(fs::read(folder.path().join(LOG_FILE)).unwrap() == log, "the log was written to");
}

/// The steps of a creation: folder, lock, files (themselves cut at every operation), note. Only
/// with the note is there a store; until then the next create begins or finishes it.
#[test]
fn a_creation_that_was_interrupted_is_finished_by_the_next_one() {
    let seed = seed_from_env(0xC4);
    let disk = SimDisk::new(seed);
    disk.start_trace();
    drop(open_sim(&disk, StoreId([9; 16]), true).unwrap());
    let trace = disk.take_trace();
    let mut random = Random::new(seed);
    let mut cursor = trace.cursor();
    let mut images = vec![None, Some(DiskImages::new())];
    while cursor.step() {
        for kind in CutKind::ALL {
            images.push(Some(cursor.images(kind, &mut random)));
        }
    }
    for (step, image) in images.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LOCK"), "").unwrap();
        if let Some(images) = image {
            for (file, name) in [DATA_FILE, LOG_FILE].into_iter().enumerate() {
                let bytes = images.get(&file).map(DiskImage::to_bytes).unwrap_or_default();
                fs::write(folder.path().join(name), bytes).unwrap();
            }
            fs::write(folder.path().join("STORE.json.new"), "{\"half\"").unwrap();
        }
        let before = names(folder.path());
        let error = open_at(folder.path(), false).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        assert_eq!(names(folder.path()), before);
        let store = open_at(folder.path(), true);
        let store = store.unwrap_or_else(|error| panic!("step {step}: {error:?}"));
        put(&*store, b"key", b"value");
        let id = store.info().id;
        drop(store);
        let store = open_at(folder.path(), false).unwrap();
        assert_eq!(store.info().id, id);
        assert_has_the_row(&*store);
    }
}

#[test]
fn an_empty_disk_is_refused_without_create() {
    let disk = SimDisk::new(1);
    let error = open_sim(&disk, StoreId([7; 16]), false).unwrap_err();
    assert!(matches!(error, StoreError::UnexpectedlyEmpty { .. }), "{error:?}");
    assert!(disk.image().is_empty());
}

#[test]
fn a_memory_store_is_always_new() {
    let store = open("memory:", &OpenOptions::default()).unwrap();
    put(&*store, b"key", b"value");
    let other = open("memory:", &OpenOptions::default()).unwrap();
    assert_eq!(other.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap(), None);
    assert_has_the_row(&*store);
}
