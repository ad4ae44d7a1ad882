//! Stores that earlier versions wrote open for ever and answer what they answered.
//!
//! A folder of `tests/fixtures` holds the folder of a store, its files compressed, and in
//! `answers.txt` what it must answer. It is what a process leaves that was killed, so that a part
//! of it stands in the commit log alone; those of version 1 were closed, and had no log. A
//! fixture is never changed. For a new version of the format, make another one, and commit it:
//!
//! ```text
//! DATAFOLD_FIXTURE=v2 cargo test -p datafold --test it format::make_a_fixture
//! ```

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafold::clock::ManualClock;
use datafold::data_layer::{PoolOptions, ReadRepository, Repository};
use datafold::engine::Mutation;
use datafold::model::{SchemaState, Timestamp, TransformDefinition, Value};
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::Random;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::harness::{approve, check_sound, lines, mutate, name, noon};
use crate::program::{self, SCHEMAS};

/// The files of a store that a fixture holds compressed. Version 1 of the format had no log.
const FILES: [&str; 2] = ["data.redb", "commit.log"];
const NOTE: &str = "STORE.json";
const ANSWERS: &str = "answers.txt";
const SPACES: [&str; 2] = ["default", "other"];
/// The largest file of a fixture.
const BYTES_MAX: u64 = 200 << 10;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(folder: &Path, space: &str, clock: &Arc<ManualClock>) -> FoldDb {
    let options =
        PoolOptions { space: space.into(), clock: Arc::clone(clock) as _, ..PoolOptions::create() };
    FoldDb::open_with(folder.to_str().unwrap(), &options).unwrap()
}

/// Everything that a version can write: lives, nulls, defaults, all types, long and deep values, a
/// commit of several parts, states, transforms.
fn fill(db: &FoldDb, clock: &ManualClock) {
    let mut random = Random::new(0xF1);
    for text in SCHEMAS {
        approve(db, text);
    }
    let extra = [
        r#"{"name": "Waiting", "fields": {"a": {"description": "said in words"}}}"#,
        r#"{"name": "Kept_out", "key": ["b"], "fields": {"a": {"field_type": "Range"}, "b": {}}}"#,
    ];
    for text in extra {
        db.schemas().load_text(text, Some("a/file.json")).unwrap();
    }
    db.schemas().block_schema(&name("Kept_out"), Some("by its owner")).unwrap();
    let transforms = db.pool().transforms();
    let transform = TransformDefinition {
        inputs: vec!["Flight.delay".into()],
        logic: "delay * 60".into(),
        output: Some("Flight.seconds".into()),
        ..TransformDefinition::default()
    };
    transforms.store(&"Flight.seconds".to_owned(), &transform).unwrap();
    let schemas = SCHEMAS.map(|text| datafold::model::Schema::parse(text).unwrap().schema);
    let mut commits = 0;
    while commits < 60 {
        clock.set(Timestamp::from_micros(noon().as_micros() + commits * 1_000_000));
        let mut request = program::request(&mut random, &schemas, 0);
        request.preconditions.clear();
        commits += i64::from(db.mutate(&request).is_ok());
    }
    let tags = (0..1_500).map(|n| [("tag".to_owned(), Value::from(format!("a tag {n:0>40}")))]);
    let tags = tags.map(|tag| tag.into_iter().collect()).collect();
    db.mutate(&Mutation::upsert(name("Tag"), tags).into()).unwrap();
    let settings = format!(
        r#"{{"mutation": "upsert", "schema": "Settings", "records": [{{"size": -1,
            "extra": [{{"deep": {{"er": [null, true, 1e300, 9007199254740993,
                "é𝄞\u0000"]}}}}, "{}"]}}]}}"#,
        "long ".repeat(30_000)
    );
    mutate(db, &settings).unwrap();
    mutate(db, r#"{"mutation": "update", "schema": "Settings", "records": [{"size": null}]}"#)
        .unwrap();
}

/// A long text by its ends and its length.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count < 400 {
        return text.to_owned();
    }
    let (start, end) = (text.chars().take(150), text.chars().skip(count - 150));
    format!("{}…{}… {count} characters", start.collect::<String>(), end.collect::<String>())
}

/// What a space answers.
fn answers(db: &FoldDb) -> String {
    let mut out = String::new();
    let stats = db.stats().unwrap();
    let totals = (stats.total_records, stats.total_atoms, stats.total_transforms);
    writeln!(out, "commit {} of {}, totals {totals:?}", stats.commit, stats.time).unwrap();
    for status in db.schemas().get_status() {
        let (reason, source) = (status.reason.as_deref(), status.source.as_deref());
        let life = (status.loaded, status.records, status.atoms, reason, source);
        writeln!(out, "schema {} {:?} {life:?} {}", status.name, status.state, status.hash)
            .unwrap();
        let entry = db.pool().schemas().entry(status.name.as_str()).unwrap();
        writeln!(out, "  {}", entry.schema.canonical_json()).unwrap();
    }
    for (key, transform) in db.pool().transforms().page(None, 100).unwrap().items {
        let TransformDefinition { inputs, logic, output, .. } = transform;
        writeln!(out, "transform {key}: {inputs:?} {logic} {output:?}").unwrap();
    }
    let approved = db.pool().schemas().list_by_state(SchemaState::Approved).unwrap();
    for schema in &approved {
        for commit in 1..=stats.commit.0 {
            let mut query = QueryRequest::new(schema.clone());
            query.as_of = Some(commit.to_string());
            let Ok(answer) = db.query(&query) else { continue };
            let (text, count) = (lines(&answer), answer.records.len());
            writeln!(out, "{schema} as of {commit}: {count} {}", blake3::hash(text.as_bytes()))
                .unwrap();
        }
        let answer = db.query(&QueryRequest::new(schema.clone())).unwrap();
        for line in lines(&answer).lines().take(60) {
            writeln!(out, "{schema} {}", short(line)).unwrap();
        }
    }
    let mut counted = 0;
    db.pool()
        .atoms()
        .for_each(|id, atom| {
            counted += 1;
            if counted % 7 == 0 && counted < 1_000 {
                let field = atom.cell.field.as_ref().map_or("-", |field| field.as_str());
                let previous = atom.previous.map(|id| id.to_string()).unwrap_or_default();
                let cell = format!("{}{}.{field}", atom.cell.schema, atom.cell.key);
                let value = short(&atom.value.to_json());
                let stamp = format!("{} {} {}", atom.status, atom.writer, atom.time);
                writeln!(out, "atom {id} {cell} = {value} {stamp} after {previous:?}").unwrap();
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{:#?}", report.problems);
    writeln!(out, "verified {} {} {}", report.commits, report.records, report.atoms).unwrap();
    out
}

fn all_answers(folder: &Path, clock: &Arc<ManualClock>) -> String {
    SPACES.iter().fold(String::new(), |text, space| {
        let db = open(folder, space, clock);
        text + "space " + space + "\n" + &answers(&db)
    })
}

/// Makes the folder that `DATAFOLD_FIXTURE` names; without it a throw-away one, so that the code
/// stays alive.
#[test]
fn make_a_fixture() {
    let kept = std::env::var("DATAFOLD_FIXTURE").ok();
    let temporary = tempfile::tempdir().unwrap();
    let fixture = match &kept {
        Some(name) => fixtures().join(name),
        None => temporary.path().join("fixture"),
    };
    assert!(!fixture.exists(), "{} is there and must not change", fixture.display());
    let clock = Arc::new(ManualClock::new(noon()));
    let store = temporary.path().join("store");
    let db = open(&store, SPACES[0], &clock);
    fill(&db, &clock);
    drop(db);
    let db = open(&store, SPACES[1], &clock);
    approve(&db, SCHEMAS[3]);
    mutate(&db, r#"{"mutation": "create", "schema": "Tag", "records": [{"tag": "of the other"}]}"#)
        .unwrap();
    // Copied while it is open: no process ends more suddenly than that.
    let left = temporary.path().join("left");
    fs::create_dir(&left).unwrap();
    for file in FILES.into_iter().chain([NOTE]) {
        fs::copy(store.join(file), left.join(file)).unwrap();
    }
    drop(db);
    let expected = all_answers(&store, &clock);
    fs::create_dir_all(&fixture).unwrap();
    fs::copy(left.join(NOTE), fixture.join(NOTE)).unwrap();
    fs::write(fixture.join(ANSWERS), &expected).unwrap();
    for file in FILES {
        let packed = File::create(fixture.join(file.to_owned() + ".gz")).unwrap();
        let mut packed = GzEncoder::new(packed, Compression::best());
        io::copy(&mut File::open(left.join(file)).unwrap(), &mut packed).unwrap();
        packed.finish().unwrap();
    }
    for file in fs::read_dir(&fixture).unwrap() {
        let file = file.unwrap();
        let bytes = file.metadata().unwrap().len();
        assert!(bytes < BYTES_MAX, "{} has {bytes} bytes", file.path().display());
    }
    check_fixture(&fixture);
}

fn check_fixture(fixture: &Path) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture.join(NOTE), folder.path().join(NOTE)).unwrap();
    for file in FILES {
        let Ok(packed) = File::open(fixture.join(file.to_owned() + ".gz")) else {
            let note = fs::read_to_string(fixture.join(NOTE)).unwrap();
            let is_old = note.contains("\"format_version\": 1");
            assert!(is_old, "{} has no {file}", fixture.display());
            continue;
        };
        let mut data = File::create(folder.path().join(file)).unwrap();
        io::copy(&mut GzDecoder::new(packed), &mut data).unwrap();
    }
    let clock = Arc::new(ManualClock::new(noon()));
    let expected = fs::read_to_string(fixture.join(ANSWERS)).unwrap();
    let found = all_answers(folder.path(), &clock);
    let mut both = expected.lines().zip(found.lines());
    if let Some((expected, found)) = both.find(|(expected, found)| expected != found) {
        panic!("{}:\nexpected {expected}\nfound    {found}", fixture.display());
    }
    assert_eq!(expected.len(), found.len(), "{}", fixture.display());
    // It is not only read: it goes on.
    for space in SPACES {
        let db = open(folder.path(), space, &clock);
        let before = db.stats().unwrap().commit.0;
        let request = r#"{"mutation": "upsert", "schema": "Tag", "records": [{"tag": "new"}]}"#;
        assert_eq!(mutate(&db, request).unwrap().commit.0, before + 1);
        drop(db);
        check_sound(&open(folder.path(), space, &clock));
    }
}

#[test]
fn every_frozen_store_answers_what_it_answered() {
    let mut checked = 0;
    for fixture in fs::read_dir(fixtures()).unwrap() {
        check_fixture(&fixture.unwrap().path());
        checked += 1;
    }
    assert!(checked > 0, "there is no fixture");
}
