//! Schemas in configured folders.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use datafold::model::{SchemaName, SchemaState};
use datafold::schema::{
    SchemaDiscovery, SchemaLoadingReport, SchemaOutcome, SchemaService, SchemaSource,
};
use datafold_testkit::ApplyFault;

use crate::harness::{Place, clock, faulty, fold_db, memory, name};
use crate::stage::code;

fn put(folder: &Path, file: &str, text: impl AsRef<[u8]>) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(file), text).unwrap();
}

fn schema(name: &str, field: &str) -> String {
    format!(r#"{{"name": "{name}", "fields": {{"{field}": {{}}}}}}"#)
}

fn names(names: &[SchemaName]) -> Vec<&str> {
    names.iter().map(SchemaName::as_str).collect()
}

/// Files by their last part, with what became of them.
fn outcomes(report: &SchemaLoadingReport) -> Vec<(&str, SchemaSource, SchemaOutcome)> {
    let files = report.files.iter();
    let last = |file: &'_ str| file.rfind('/').map_or(0, |at| at + 1);
    files.map(|file| (&file.file[last(&file.file)..], file.source, file.outcome)).collect()
}

const AVAILABLE: SchemaSource = SchemaSource::AvailableDirectory;
const DATA: SchemaSource = SchemaSource::DataDirectory;

#[test]
fn every_file_is_looked_at_in_order_and_reported() {
    let base = tempfile::tempdir().unwrap();
    let available = base.path().join("available_schemas");
    let data = base.path().join("data/schemas");
    put(&available, "b.json", schema("B", "x"));
    put(&available, "a.json", schema("A", "x").replace("{}", r#"{"surprise": 1}"#));
    put(&available, "c.json", "{");
    put(&available, "d.json", b"\xFF");
    put(&available, "e.json", " ".repeat(1_048_577) + "é");
    put(&available, "f.JSON", schema("F", "x"));
    put(&available, "g.json.bak", schema("G", "x"));
    put(&available.join("h.json"), "i.json", schema("I", "x"));
    put(&data, "a.json", schema("A", "x"));
    put(&data, "b.json", schema("B", "another"));
    put(&data, "z.json", schema("Z", "x"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("k.json", available.join("k.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", available.join("l.json")).unwrap();
        std::os::unix::fs::symlink("b.json", available.join("m.json")).unwrap();
        std::os::unix::fs::symlink("..", available.join("n.json")).unwrap();
        std::os::unix::net::UnixListener::bind(available.join("o.json")).unwrap();
    }
    let db = memory();
    let schemas = db.schemas().with_discovery(SchemaDiscovery::in_folder(base.path()));
    let report = schemas.initialize_blocking().unwrap();
    use SchemaOutcome::{Conflict, Failed, Loaded, Unchanged};
    let mut expected = vec![
        ("a.json", AVAILABLE, Loaded),
        ("b.json", AVAILABLE, Loaded),
        ("c.json", AVAILABLE, Failed),
        ("d.json", AVAILABLE, Failed),
        ("e.json", AVAILABLE, Failed),
    ];
    if cfg!(unix) {
        expected.extend([
            ("k.json", AVAILABLE, Failed),
            ("l.json", AVAILABLE, Failed),
            ("m.json", AVAILABLE, Unchanged),
            ("o.json", AVAILABLE, Failed),
        ]);
    }
    expected.extend([
        ("a.json", DATA, Unchanged),
        ("b.json", DATA, Conflict),
        ("z.json", DATA, Loaded),
    ]);
    assert_eq!(outcomes(&report), expected);
    assert_eq!(names(&report.loaded), ["A", "B", "Z"]);
    let sources: Vec<_> = report.loading_sources.values().copied().collect();
    assert_eq!(sources, [AVAILABLE, AVAILABLE, DATA]);
    assert!(report.schema_states.values().all(|state| *state == SchemaState::Available));
    let failed = report.failed.iter().map(|failure| failure.code.as_str()).collect::<Vec<_>>();
    let expected = ["invalid_schema", "not_text", "invalid_schema"];
    assert_eq!(&failed[..3], expected);
    assert_eq!(failed.last(), Some(&"already_exists"));
    assert!(report.failed[2].message.contains("at most 1048576 bytes"), "{:?}", report.failed[2]);
    assert!(report.failed.iter().all(|failure| failure.source.contains(".json")));
    assert!(report.warnings[0].contains("a.json: A.x, surprise"), "{:?}", report.warnings);
    // The same again, but for what is known now.
    let again = schemas.initialize_blocking().unwrap();
    assert_eq!((names(&again.loaded), again.failed), (vec![], report.failed));
}

#[test]
fn a_folder_that_is_missing_has_no_files_and_one_that_is_none_is_reported() {
    let base = tempfile::tempdir().unwrap();
    put(base.path(), "file", "");
    put(&base.path().join("good"), "a.json", schema("A", "x"));
    let discovery = SchemaDiscovery::none()
        .with_folder(AVAILABLE, base.path().join("missing"))
        .with_folder(AVAILABLE, base.path().join("file"))
        .with_folder(DATA, base.path().join("good"));
    let db = memory();
    let report = db.schemas().with_discovery(discovery).initialize_blocking().unwrap();
    assert_eq!(
        outcomes(&report),
        [("file", AVAILABLE, SchemaOutcome::Failed), ("a.json", DATA, SchemaOutcome::Loaded)]
    );
    assert_eq!(report.failed[0].code, "unreadable_file");
    let nothing = db.schemas().initialize_blocking().unwrap();
    assert!(nothing.files.is_empty() && nothing.is_complete());
    assert_eq!(nothing.loading_sources[&name("A")], SchemaSource::Persistence);
}

#[test]
fn restart_and_discovery_leave_states_and_definitions_alone() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("available_schemas");
    for schema_name in ["Approved", "Available", "Blocked", "Changed"] {
        put(&folder, &format!("{schema_name}.json"), schema(schema_name, "x"));
    }
    let discovery = SchemaDiscovery::in_folder(base.path());
    let mut place = Place::sim(3);
    let db = fold_db(place.open(), clock());
    db.schemas().with_discovery(discovery.clone()).initialize_blocking().unwrap();
    for approved in ["Approved", "Changed"] {
        db.schemas().approve_schema(&name(approved)).unwrap();
    }
    db.schemas().block_schema(&name("Blocked"), Some("why")).unwrap();
    let before = db.schemas().get_status();
    db.pool().close().unwrap();
    drop(db);
    put(&folder, "Changed.json", schema("Changed", "another"));
    fs::remove_file(folder.join("Approved.json")).unwrap();
    let db = fold_db(place.open(), clock());
    let schemas = db.schemas().with_discovery(discovery);
    for _ in 0..2 {
        let report = schemas.initialize_blocking().unwrap();
        assert_eq!(schemas.get_status(), before);
        assert_eq!(names(&report.unchanged), ["Available", "Blocked"]);
        assert_eq!(report.failed.len(), 1);
        let source = |schema| report.loading_sources[&name(schema)];
        assert_eq!(source("Approved"), SchemaSource::Persistence);
        assert_eq!(source("Changed"), SchemaSource::Persistence);
        assert_eq!(source("Blocked"), AVAILABLE);
    }
}

#[test]
fn what_was_wrong_stays_in_the_report_until_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("available_schemas");
    put(&folder, "a.json", schema("A", "x"));
    put(&folder, "b.json", "no schema");
    let db = memory();
    assert_eq!(db.schemas().loading_report(), SchemaLoadingReport::default());
    let schemas = db.schemas().with_discovery(SchemaDiscovery::in_folder(base.path()));
    let first = schemas.initialize_blocking().unwrap();
    assert_eq!(schemas.loading_report(), first);
    // The states are those of now, for every clone of the service.
    db.schemas().approve_schema(&name("A")).unwrap();
    db.schemas().load(&schema("C", "x")).unwrap();
    let report = db.schemas().loading_report();
    assert_eq!((&report.failed, report.last_updated), (&first.failed, first.last_updated));
    assert_eq!(report.schema_states[&name("A")], SchemaState::Approved);
    assert_eq!(report.loading_sources[&name("C")], SchemaSource::Persistence);
    fs::remove_file(folder.join("b.json")).unwrap();
    schemas.initialize_blocking().unwrap();
    assert!(db.schemas().loading_report().is_complete());
}

/// Wakes the thread that waits, and counts.
struct Unpark(thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Runs a future without any runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // Polled again only when it asks for it: a lost wake-up would hang.
        while unpark.1.swap(0, Ordering::SeqCst) == 0 {
            thread::park();
        }
    }
}

fn folder_of_two() -> (tempfile::TempDir, SchemaDiscovery) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("available_schemas");
    put(&folder, "a.json", schema("A", "x"));
    put(&folder, "b.json", schema("B", "x"));
    let discovery = SchemaDiscovery::in_folder(base.path());
    (base, discovery)
}

#[test]
fn the_future_needs_no_runtime() {
    let (_base, discovery) = folder_of_two();
    for _ in 0..50 {
        let db = memory();
        let schemas = db.schemas().with_discovery(discovery.clone());
        // Not polled, nothing is done.
        drop(schemas.initialize());
        assert_eq!(schemas.core().len(), 0);
        let report = block_on(schemas.initialize()).unwrap();
        assert_eq!(names(&report.loaded), ["A", "B"]);
        assert_eq!(schemas.loading_report(), report);
    }
}

#[test]
fn a_failing_store_is_an_error_of_the_future_and_leaves_nothing_half_done() {
    let (_base, discovery) = folder_of_two();
    let (store, db) = faulty();
    let schemas: SchemaService = db.schemas().with_discovery(discovery);
    store.fail_apply(2, ApplyFault::Failed);
    assert_eq!(code(block_on(schemas.initialize())), "commit_failed");
    assert_eq!(schemas.core().iter().count(), 1);
    let report = block_on(schemas.initialize()).unwrap();
    assert_eq!((names(&report.unchanged), names(&report.loaded)), (vec!["A"], vec!["B"]));
}
