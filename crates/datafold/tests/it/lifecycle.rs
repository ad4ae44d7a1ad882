//! The life of schemas in random order beside a model: no state, definition or value is ever lost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use datafold::engine::{Mutation, RecordInput};
use datafold::model::{Schema, SchemaName, SchemaState, Value};
use datafold::schema::{SchemaDiscovery, SchemaOutcome, SchemaSource};
use datafold::{FoldDb, FoldDbError, QueryRequest};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use tempfile::TempDir;

use crate::harness::{Place, check_sound, clock, fold_db, lines, name};

const NAMES: [&str; 3] = ["Keyed", "Other", "Single"];
const VARIANTS: usize = 3;
const STEPS: usize = 30;

/// The definition of a schema; the variants differ in a field that is never written.
fn definition(schema: &str, variant: usize) -> String {
    let key = if schema == "Single" { "" } else { r#""key": ["id"],"# };
    format!(
        r#"{{"name": "{schema}", {key} "fields": {{"id": {{"value": {{"type": "integer"}}}},
            "n": {{}}, "v{variant}": {{}}}}}}"#
    )
}

/// What the owner knows of a schema.
#[derive(Debug, Clone, Default)]
struct Known {
    variant: usize,
    state: SchemaState,
    reason: Option<String>,
    /// `n` by `id`; the record of a schema without key stands under 0.
    records: BTreeMap<i64, i64>,
    /// The records after each commit that wrote some.
    past: Vec<(u64, BTreeMap<i64, i64>)>,
}

impl Known {
    fn set_state(&mut self, state: SchemaState, reason: Option<&str>) {
        if self.state != state {
            self.state = state;
            self.reason = reason.map(str::to_owned);
        }
    }
}

/// The folder that every discovery looks into: the first definition of each schema, and a file
/// that is none.
struct Folder {
    discovery: SchemaDiscovery,
    _folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for schema in NAMES {
            let file = folder.path().join(format!("{schema}.json"));
            fs::write(file, definition(schema, 0)).unwrap();
        }
        fs::write(folder.path().join("A-broken.json"), "{").unwrap();
        let source = SchemaSource::AvailableDirectory;
        let discovery = SchemaDiscovery::none().with_folder(source, folder.path());
        Self { discovery, _folder: folder }
    }
}

struct Life<'a> {
    place: Place,
    db: FoldDb,
    folder: &'a Folder,
    known: BTreeMap<String, Known>,
    random: Random,
    log: String,
}

impl Life<'_> {
    fn schema(&mut self) -> (&'static str, SchemaName) {
        let schema = NAMES[self.random.below(NAMES.len())];
        (schema, name(schema))
    }

    /// An answer to a call about a schema that may be unknown.
    fn expect_known<T>(&self, schema: &str, answer: Result<T, FoldDbError>) -> Option<T> {
        match (self.known.contains_key(schema), answer) {
            (true, answer) => Some(answer.unwrap()),
            (false, Err(error)) => {
                assert!(["not_found", "schema_not_found"].contains(&error.code()), "{error}");
                None
            }
            (false, Ok(_)) => panic!("{schema} is not known"),
        }
    }

    fn step(&mut self) {
        let (schema, id) = self.schema();
        let action = self.random.below(12);
        writeln!(self.log, "{action} {schema}").unwrap();
        match action {
            0 | 1 => self.load(schema),
            2 | 3 => self.set_state(schema, SchemaState::Approved),
            4 => self.set_state(schema, SchemaState::Blocked),
            5 => self.set_state(schema, SchemaState::Available),
            6 => self.delete(schema, &id),
            7 => self.reopen(),
            8 => self.discover(),
            9 => self.approve_with_record(schema, &id),
            _ => self.write(schema, &id),
        }
        self.check_status();
        self.check_values(schema);
    }

    fn load(&mut self, schema: &str) {
        let variant = self.random.below(VARIANTS);
        let answer = self.db.schemas().load(&definition(schema, variant));
        match self.known.get(schema) {
            None => {
                answer.unwrap();
                let known = Known { variant, ..Known::default() };
                self.known.insert(schema.to_owned(), known);
            }
            Some(known) if known.variant == variant => drop(answer.unwrap()),
            Some(_) => assert_eq!(answer.unwrap_err().code(), "already_exists"),
        }
    }

    fn set_state(&mut self, schema: &str, state: SchemaState) {
        let id = name(schema);
        let reason = Some("why").filter(|_| self.random.one_in(2));
        let schemas = self.db.schemas();
        let (answer, reason) = match state {
            SchemaState::Approved => (schemas.approve_schema(&id), None),
            SchemaState::Blocked => (schemas.block_schema(&id, reason), reason),
            SchemaState::Available => (schemas.unload_schema(&id), None),
        };
        self.expect_known(schema, answer);
        if let Some(known) = self.known.get_mut(schema) {
            known.set_state(state, reason);
        }
    }

    fn delete(&mut self, schema: &str, id: &SchemaName) {
        let answer = self.db.schemas().delete(id);
        match self.known.get(schema) {
            Some(known) if !known.past.is_empty() => {
                assert_eq!(answer.unwrap_err().code(), "refused");
            }
            _ => {
                self.expect_known(schema, answer);
                self.known.remove(schema);
            }
        }
    }

    fn reopen(&mut self) {
        self.db.pool().close().unwrap();
        self.db = fold_db(self.place.open(), clock());
    }

    fn discover(&mut self) {
        let schemas = self.db.schemas().with_discovery(self.folder.discovery.clone());
        let report = schemas.initialize_blocking().unwrap();
        let outcomes = report.files.iter().map(|file| file.outcome).collect::<Vec<_>>();
        let mut expected = vec![SchemaOutcome::Failed];
        for schema in NAMES {
            expected.push(match self.known.get(schema).map(|known| known.variant) {
                None => SchemaOutcome::Loaded,
                Some(0) => SchemaOutcome::Unchanged,
                Some(_) => SchemaOutcome::Conflict,
            });
            self.known.entry(schema.to_owned()).or_default();
        }
        assert_eq!(outcomes, expected);
        let states = self.known.iter().map(|(schema, known)| (name(schema), known.state));
        assert_eq!(report.schema_states, states.collect());
    }

    /// A record, and the place where the model keeps it.
    fn record(&mut self, schema: &str) -> (i64, i64, RecordInput) {
        let keyed = schema != "Single";
        let id = if keyed { self.random.below(3) as i64 } else { 0 };
        let n = self.random.below(1_000) as i64;
        let mut record = RecordInput::from([("n".to_owned(), Value::Int(n))]);
        if keyed {
            record.insert("id".to_owned(), Value::Int(id));
        }
        (id, n, record)
    }

    fn wrote(&mut self, schema: &str, id: i64, n: Option<i64>, commit: u64) {
        let known = self.known.get_mut(schema).unwrap();
        match n {
            Some(n) => drop(known.records.insert(id, n)),
            None => drop(known.records.remove(&id)),
        }
        known.past.push((commit, known.records.clone()));
    }

    fn approve_with_record(&mut self, schema: &str, id: &SchemaName) {
        let (key, n, record) = self.record(schema);
        let answer = self.db.schemas().approve_schema_with_atoms(id, vec![record]);
        let exists = |known: &Known| schema != "Single" && known.records.contains_key(&key);
        if self.known.get(schema).is_some_and(exists) {
            assert_eq!(answer.unwrap_err().code(), "record_exists");
        } else if let Some(receipt) = self.expect_known(schema, answer) {
            self.known.get_mut(schema).unwrap().set_state(SchemaState::Approved, None);
            self.wrote(schema, key, Some(n), receipt.commit.0);
        }
    }

    fn write(&mut self, schema: &str, id: &SchemaName) {
        let (key, n, record) = self.record(schema);
        let known = self.known.get(schema);
        let exists = known.is_some_and(|known| known.records.contains_key(&key));
        let deletes = exists && self.random.one_in(4);
        let mutation = match deletes {
            true if schema == "Single" => Mutation::delete(id.clone(), vec![vec![]]),
            true => Mutation::delete(id.clone(), vec![vec![Value::Int(key)]]),
            false => Mutation::upsert(id.clone(), vec![record]),
        };
        let answer = self.db.mutate(&mutation.into());
        if known.is_some_and(|known| known.state != SchemaState::Approved) {
            assert_eq!(answer.unwrap_err().code(), "schema_not_approved");
        } else if let Some(receipt) = self.expect_known(schema, answer) {
            self.wrote(schema, key, Some(n).filter(|_| !deletes), receipt.commit.0);
        }
    }

    /// Compares every state, reason and definition.
    fn check_status(&self) {
        let status = self.db.schemas().get_status();
        assert_eq!(status.len(), self.known.len());
        for (status, (schema, known)) in status.iter().zip(&self.known) {
            let parsed = Schema::parse(&definition(schema, known.variant)).unwrap().schema;
            let found = (status.name.as_str(), status.state, &status.reason);
            assert_eq!(found, (schema.as_str(), known.state, &known.reason));
            assert_eq!(status.hash, parsed.content_hash().to_string());
            let entry = self.db.pool().schemas().entry(schema).unwrap();
            assert_eq!(*entry.schema, parsed);
        }
    }

    /// Compares the records of an approved schema; nobody sees those of another one.
    fn check_values(&self, schema: &str) {
        let Some(known) = self.known.get(schema) else { return };
        let answer = self.db.query(&QueryRequest::new(name(schema)));
        if known.state == SchemaState::Approved {
            assert_eq!(lines(&answer.unwrap()), expected(schema, &known.records));
        } else {
            assert_eq!(answer.unwrap_err().code(), "schema_not_approved");
        }
    }

    /// Approves everything and looks at all that was ever written.
    fn end(&mut self) {
        self.reopen();
        self.check_status();
        for (schema, known) in &self.known {
            self.db.schemas().approve_schema(&name(schema)).unwrap();
            let now = self.db.query(&QueryRequest::new(name(schema))).unwrap();
            assert_eq!(lines(&now), expected(schema, &known.records));
            for (commit, records) in &known.past {
                let as_of = Some(commit.to_string());
                let request = QueryRequest { as_of, ..QueryRequest::new(name(schema)) };
                let then = self.db.query(&request).unwrap();
                assert_eq!(lines(&then), expected(schema, records), "as of {commit}");
            }
        }
    }
}

/// What a query of all fields answers.
fn expected(schema: &str, records: &BTreeMap<i64, i64>) -> String {
    if schema == "Single" {
        let n = records.get(&0).map_or("null".to_owned(), i64::to_string);
        return format!("[null,{n},null]\n");
    }
    records.iter().map(|(id, n)| format!("[{id},{n},null]\n")).collect()
}

/// Runs one sequence of steps; `verify` also checks every row at its end.
fn live(seed: u64, index: u64, folder: &Folder, verify: bool) {
    let mut place = Place::memory();
    let db = fold_db(place.open(), clock());
    let random = Random::part(seed, index);
    let (known, log) = (BTreeMap::new(), String::new());
    let mut life = Life { place, db, folder, known, random, log };
    let run = std::panic::AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            life.step();
        }
        life.end();
        if verify {
            check_sound(&life.db);
        }
    });
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("sequence {index} of {}\n{}", replay(seed), life.log);
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn no_order_of_steps_loses_a_state_a_definition_or_a_value() {
    let seed = seed_from_env(0x11FE);
    let sequences = if is_full_size() { 10_000 } else { 500 };
    let folder = Folder::new();
    for index in 0..sequences {
        live(seed, index, &folder, index % 20 == 0);
    }
}
