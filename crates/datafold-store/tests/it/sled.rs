//! What is sled's own: its files, its lock, and snapshots that expire.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafold_store::{
    Batch, FORMAT_VERSION, Keyspace, OpenOptions, Outcome, Scan, SpaceId, Store, StoreError,
    StoreId, open,
};
use datafold_testkit::model::dump;
use tempfile::TempDir;

use crate::harness::options;

/// The files of a folder, by their paths in it.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn url(path: &Path) -> String {
    format!("sled:{}", path.display())
}

pub(crate) fn open_at(path: &Path, create: bool) -> Result<Arc<dyn Store>, StoreError> {
    open(&url(path), &options(create))
}

#[track_caller]
pub(crate) fn accept(store: &dyn Store, batch: &Batch) {
    let outcome = store.apply(batch);
    assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
}

pub(crate) fn batch(number: u64) -> Batch {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(SpaceId::DEFAULT, number - 1, number, token)
}

/// A closed store with one row.
pub(crate) fn closed_store() -> (TempDir, StoreId) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    let mut first = batch(1);
    first.put(Keyspace::Records, &b"key"[..], &b"value"[..]);
    accept(&*store, &first);
    store.close().unwrap();
    (folder, store.info().id)
}

#[track_caller]
pub(crate) fn assert_has_the_row(store: &dyn Store) {
    let value = store.snapshot().unwrap().get(Keyspace::Records, b"key").unwrap();
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files below a folder, by their paths in it.
pub(crate) fn files(folder: &Path) -> Files {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

pub(crate) fn write_files(folder: &Path, files: &Files) {
    fs::create_dir_all(folder.join("sled/blobs")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn a_plain_path_opens_the_engine_of_the_note_and_no_url_opens_another() {
    let (folder, id) = closed_store();
    assert_eq!(names(folder.path()), ["LOCK", "STORE.json", "commit.log", "sled", "sled.seal"]);
    let path = folder.path().to_str().unwrap();
    let store = open(path, &options(false)).unwrap();
    let info = store.info().clone();
    assert_eq!((info.engine, info.id, info.format_version), ("sled", id, FORMAT_VERSION));
    assert_has_the_row(&*store);
    store.close().unwrap();
    for create in [false, true] {
        let error = open(&format!("redb:{path}"), &options(create)).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
        assert!(error.to_string().contains("belongs to the engine `sled`"), "{error}");
    }
    let redb = tempfile::tempdir().unwrap();
    drop(open(redb.path().to_str().unwrap(), &options(true)).unwrap());
    let before = files(redb.path());
    let error = open_at(redb.path(), true).unwrap_err();
    assert!(error.to_string().contains("the URL names `sled`"), "{error}");
    assert!(files(redb.path()) == before);
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
}

#[test]
fn an_open_store_is_refused_to_others_also_without_its_lock_file() {
    let (folder, _) = closed_store();
    let store = open_at(folder.path(), false).unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    let StoreError::AlreadyOpen { pid, .. } = error else { panic!("{error:?}") };
    assert_eq!(pid, Some(std::process::id()));
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { pid: None, .. }), "{error:?}");
    let view = store.snapshot().unwrap();
    store.close().unwrap();
    let error = open_at(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
    drop(view);
    // Its threads have let everything go: it opens at once, again and again.
    for _ in 0..10 {
        let store = open_at(folder.path(), false).unwrap();
        assert_has_the_row(&*store);
        store.close().unwrap();
    }
}

#[test]
fn a_store_that_has_lost_something_is_not_opened_and_not_created_anew() {
    let (folder, id) = closed_store();
    let whole = files(folder.path());
    let (other, _) = closed_store();
    let other = files(other.path());
    let code = |change: &dyn Fn(&mut Files)| {
        let folder = tempfile::tempdir().unwrap();
        let mut files = whole.clone();
        change(&mut files);
        write_files(folder.path(), &files);
        [false, true].map(|create| open_at(folder.path(), create).unwrap_err().code())
    };
    let remove = |name: &'static str| code(&move |files| drop(files.remove(Path::new(name))));
    assert_eq!(remove("sled/db"), ["store_unexpectedly_empty"; 2]);
    assert_eq!(remove("commit.log"), ["store_corrupted"; 2]);
    assert_eq!(remove("sled.seal"), ["store_corrupted"; 2]);
    let emptied = code(&|files| drop(files.insert("sled/db".into(), Vec::new())));
    assert_eq!(emptied, ["store_unexpectedly_empty"; 2]);
    for name in ["sled/db", "commit.log"] {
        let exchanged =
            code(&|files| drop(files.insert(name.into(), other[Path::new(name)].clone())));
        assert_eq!(exchanged, ["store_corrupted"; 2], "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), &whole);
    let store = open_at(folder.path(), true).unwrap();
    assert_eq!(store.info().id, id);
    assert_has_the_row(&*store);
}

/// Only with the note there is a store. Until then the next create begins or finishes it, and
/// keeps what it finds.
#[test]
fn a_creation_that_was_interrupted_is_finished_by_the_next_one() {
    let (folder, id) = closed_store();
    let mut whole = files(folder.path());
    whole.remove(Path::new("STORE.json"));
    let only = |names: &[&str]| {
        let kept = whole.iter().filter(|(name, _)| names.iter().any(|n| name.starts_with(n)));
        kept.map(|(name, bytes)| (name.clone(), bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    let renamed = |files: Files| {
        let rename = |name: PathBuf| match name.strip_prefix("sled") {
            Ok(rest) => Path::new("sled.new").join(rest),
            Err(_) => name.clone(),
        };
        files.into_iter().map(|(name, bytes)| (rename(name), bytes)).collect::<BTreeMap<_, _>>()
    };
    let mut torn = only(&["sled"]);
    torn.insert("sled/db".into(), vec![7; 5_000]);
    for (step, (stage, keeps)) in [
        (only(&["LOCK"]), false),
        (renamed(torn), false),
        (renamed(only(&["LOCK", "sled"])), false),
        (renamed(only(&["LOCK", "sled", "commit.log"])), false),
        (renamed(whole.clone()), false),
        (whole.clone(), true),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &stage {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let error = open_at(folder.path(), false).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "step {step}: {error:?}");
        let store = open_at(folder.path(), true);
        let store = store.unwrap_or_else(|error| panic!("step {step}: {error:?}"));
        assert_eq!(store.info().id == id, keeps, "step {step}");
        let rows = dump(&*store.snapshot().unwrap()).unwrap();
        assert_eq!(rows.len(), usize::from(keeps), "step {step}");
        let number = u64::from(keeps) + 1;
        accept(&*store, &batch(number));
        drop(store);
        let head = open_at(folder.path(), false).unwrap().snapshot().unwrap();
        assert_eq!(head.head(SpaceId::DEFAULT).unwrap().unwrap().number, number);
    }
}

/// sled writes a summary of its log when it is opened, and takes one that it has not finished for
/// a damaged one.
#[test]
fn an_opening_that_was_killed_keeps_nothing_from_the_next_one() {
    let (closed, _) = closed_store();
    let whole = files(closed.path());
    let is_summary = |name: &Path| name.to_str().is_some_and(|name| name.starts_with("sled/snap."));
    let (name, bytes) = whole.iter().find(|(name, _)| is_summary(name)).unwrap();
    let unfinished = PathBuf::from(format!("{}.generating", name.display()));
    let longer = [&bytes[..], &[7; 9]].concat();
    for left in
        [&[][..], &bytes[..1], &bytes[..bytes.len() - 12], &bytes[..bytes.len() - 1], &longer]
    {
        for is_replaced in [false, true] {
            let mut files = whole.clone();
            if is_replaced {
                files.remove(name);
            }
            files.insert(unfinished.clone(), left.to_vec());
            let folder = tempfile::tempdir().unwrap();
            write_files(folder.path(), &files);
            let store = open_at(folder.path(), false).unwrap();
            assert_has_the_row(&*store);
            store.close().unwrap();
            let names = names(&folder.path().join("sled"));
            assert!(!names.iter().any(|name| name.ends_with(".generating")), "{names:?}");
        }
    }
}

/// The files that have to be made durable are those that the engine knows of: if sled makes others,
/// this fails.
#[test]
fn sled_makes_no_files_but_those_that_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(folder.path(), true).unwrap();
    for number in 1..=40 {
        let mut large = batch(number);
        for row in 0..4_u8 {
            large.put(Keyspace::Records, vec![row], vec![row; 300_000]);
        }
        accept(&*store, &large);
    }
    let is_known =
        |name: &str| ["db", "conf", "blobs"].contains(&name) || name.starts_with("snap.");
    let check = || {
        let inside = names(&folder.path().join("sled"));
        assert!(inside.iter().all(|name| is_known(name)), "{inside:?}");
        let blobs = names(&folder.path().join("sled/blobs"));
        assert!(blobs.iter().all(|name| name.parse::<u64>().is_ok()), "{blobs:?}");
        blobs.len()
    };
    assert!(check() > 0, "large pages are files of their own");
    store.close().unwrap();
    assert!(store.size_bytes().is_err());
    let store = open_at(folder.path(), false).unwrap();
    check();
    let on_disk: usize = files(&folder.path().join("sled")).values().map(Vec::len).sum();
    let log = fs::metadata(folder.path().join("commit.log")).unwrap().len();
    assert_eq!(store.size_bytes().unwrap(), on_disk as u64 + log);
    for row in 0..4_u8 {
        let value = store.snapshot().unwrap().get(Keyspace::Records, &[row]).unwrap();
        assert!(value == Some(vec![row; 300_000]));
    }
}

#[test]
fn the_oldest_snapshots_expire_and_the_newest_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { snapshot_bytes: 60_000, ..options(true) };
    let store = open(&url(folder.path()), &options).unwrap();
    let put = |number: u64| {
        let mut changes = batch(number);
        for row in 0..100_u8 {
            let value = [&number.to_be_bytes()[..], &[0; 200]].concat();
            changes.put(Keyspace::Records, vec![row], value);
        }
        accept(&*store, &changes);
    };
    put(1);
    let oldest = store.snapshot().unwrap();
    put(2);
    let number = |view: &dyn datafold_store::Snapshot| {
        let value = view.get(Keyspace::Records, &[50]).unwrap().unwrap();
        u64::from_be_bytes(value[..8].try_into().unwrap())
    };
    let newer = store.snapshot().unwrap();
    assert_eq!((number(&*oldest), number(&*newer)), (1, 2));
    put(3);
    assert_eq!(number(&*newer), 2);
    let answers = [
        oldest.get(Keyspace::Records, &[50]).map(drop),
        oldest.get(Keyspace::Records, b"nothing").map(drop),
        oldest.scan(&Scan::all(Keyspace::Records)).map(drop),
        oldest.scan(&Scan::all(Keyspace::History).reverse()).map(drop),
        oldest.head(SpaceId::DEFAULT).map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::SnapshotExpired)), "{answer:?}");
    }
    assert_eq!(number(&*store.snapshot().unwrap()), 3);
    drop(oldest);
    put(4);
    assert_eq!(number(&*store.snapshot().unwrap()), 4);
}

/// sled came with the second format, so that a note of the first one is not what was written.
#[test]
fn a_note_of_the_first_format_is_refused_and_nothing_is_changed() {
    let (folder, _) = closed_store();
    let path = folder.path().join("STORE.json");
    let note = fs::read_to_string(&path).unwrap();
    let current = format!("\"format_version\": {FORMAT_VERSION}");
    fs::write(&path, note.replace(&current, "\"format_version\": 1")).unwrap();
    let before = files(folder.path());
    for create in [false, true] {
        let error = open_at(folder.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::UnknownFormat { found: 1 }), "{error:?}");
    }
    fs::write(&path, note).unwrap();
    assert_has_the_row(&*open_at(folder.path(), false).unwrap());
    assert_eq!(before.len(), files(folder.path()).len());
}
