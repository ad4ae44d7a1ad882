//! A program over all kinds of data, and what a space holds after each of its commits.

use std::ops::ControlFlow;

use datafold::data_layer::Durability;
use datafold::engine::{ErrorClass, FoldDbError, ImportFormat, ImportOptions};
use datafold::model::{Schema, SchemaState};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_testkit::Random;

use crate::harness::{Place, clock, describe, fold_db, lines, name};
use crate::program::{self, SCHEMAS};

/// Fields that show the data of others, of the one record and of one by its key.
const MAPPINGS: [&str; 2] = [
    r#"{"name": "Look", "fields": {
        "colours": {"field_mappers": {"Settings": "theme"}}, "own": {}}}"#,
    r#"{"name": "Label", "key": ["sku"], "fields": {
        "sku": {"value": {"type": "string"}},
        "text": {"field_mappers": {"Product": "title"}}, "price": {}}}"#,
];

/// One thing that a program does, which makes any number of commits.
pub(crate) enum Step {
    Load(&'static str),
    State(&'static str, SchemaState),
    Mutate(MutationRequest),
    /// Several commits that nobody waits for, then a flush.
    Group(Vec<MutationRequest>),
    Import(String),
}

impl Step {
    /// Whether it makes one commit at most.
    pub(crate) fn is_single(&self) -> bool {
        !matches!(self, Step::Group(_) | Step::Import(_))
    }
}

/// The program of a seed: all schemas, then `count` steps.
pub(crate) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let schemas: Vec<_> = SCHEMAS.iter().map(|text| Schema::parse(text).unwrap().schema).collect();
    let names = ["Flight", "Reading", "Settings", "Tag", "Product", "Board", "Look", "Label"];
    let mut steps = Vec::new();
    for (text, name) in SCHEMAS.into_iter().chain(MAPPINGS).zip(names) {
        steps.push(Step::Load(text));
        steps.push(Step::State(name, SchemaState::Approved));
    }
    for at in 0..count {
        let mut request = || {
            let mut request = program::request(&mut random, &schemas, 0);
            request.preconditions.clear();
            request
        };
        steps.push(match at % 10 {
            3 => Step::Group((0..6).map(|_| request()).collect()),
            5 => Step::State("Reading", SchemaState::Blocked),
            6 => Step::State("Reading", SchemaState::Approved),
            8 => {
                let rows = (0..25).map(|row| format!("{{\"tag\": \"t{at}-{row}\"}}\n"));
                Step::Import(rows.collect())
            }
            9 => Step::Mutate(mapped(at)),
            _ => Step::Mutate(request()),
        });
    }
    steps
}

/// Writes through the mappings.
fn mapped(at: usize) -> MutationRequest {
    let request = format!(
        r#"{{"transaction": [
            {{"mutation": "upsert", "schema": "Label",
              "records": [{{"sku": "A", "text": "text {at}", "price": {at}}}]}},
            {{"mutation": "update", "schema": "Look",
              "records": [{{"colours": "colour {at}", "own": [{at}]}}]}}]}}"#
    );
    MutationRequest::parse(&request).unwrap()
}

/// The store failed in the middle of a step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<FoldDbError>,
    /// The commits of an import that are durable all the same.
    pub(crate) done: u64,
}

impl From<FoldDbError> for Failure {
    fn from(error: FoldDbError) -> Self {
        Self { error: Box::new(error), done: 0 }
    }
}

/// Whether an answer tells of the store and not of the request.
pub(crate) fn is_of_store(error: &FoldDbError) -> bool {
    error.class() == ErrorClass::Store
}

/// Carries out a step until the store fails; answers the code of each request that was refused,
/// which is a part of the program.
pub(crate) fn run(db: &FoldDb, step: &Step) -> Result<Vec<&'static str>, Failure> {
    let mut codes = Vec::new();
    let mut note = |answer: Result<(), FoldDbError>| {
        match answer {
            Ok(()) => codes.push("done"),
            Err(error) if is_of_store(&error) => return Err(Failure::from(error)),
            Err(error) => codes.push(error.code()),
        }
        Ok(())
    };
    match step {
        Step::Load(text) => note(db.schemas().load_text(text, None).map(drop))?,
        Step::State(schema, state) => {
            note(db.schemas().set_states(&[name(schema)], *state, None).map(drop))?;
        }
        Step::Mutate(request) => note(db.mutate(request).map(drop))?,
        Step::Group(requests) => {
            for request in requests {
                note(db.mutate_with(request, Durability::Buffered).map(drop))?;
            }
            note(db.pool().flush().map_err(|error| FoldDbError::DataLayer(error.into())))?;
        }
        Step::Import(rows) => {
            let go_on = |_| ControlFlow::Continue(());
            let options =
                ImportOptions { batch_rows: 10, ..ImportOptions::new(ImportFormat::Ndjson) };
            let report = db.import(&name("Tag"), rows.as_bytes(), &options, go_on);
            let report = report.map_err(|error| {
                let done = error.report.commits;
                Failure { error: error.error, done }
            })?;
            assert_eq!(report.refused, 0);
        }
    }
    Ok(codes)
}

/// The last commit that is visible.
pub(crate) fn head(db: &FoldDb) -> u64 {
    db.pool().operations().head().0.0
}

/// Names and states, without what is counted.
pub(crate) type States = Vec<(String, SchemaState, u64)>;

pub(crate) fn catalogue(db: &FoldDb) -> States {
    let status = db.schemas().get_status().into_iter();
    status.map(|status| (status.name.to_string(), status.state, status.loaded)).collect()
}

/// All records of the approved schemas as of a commit.
pub(crate) fn records(db: &FoldDb, catalogue: &States, commit: u64) -> Result<String, FoldDbError> {
    let mut text = String::new();
    for (schema, state, _) in catalogue {
        if *state == SchemaState::Approved {
            let mut query = QueryRequest::new(name(schema));
            query.as_of = Some(commit.to_string());
            text = text + schema + "\n" + &lines(&db.query(&query)?);
        }
    }
    Ok(text)
}

/// What a space holds after each commit of a program, and the commit and the answers that each
/// step ends with.
pub(crate) struct Expected {
    pub(crate) steps: Vec<Step>,
    pub(crate) ends: Vec<u64>,
    pub(crate) answers: Vec<Vec<&'static str>>,
    states: Vec<(States, String)>,
}

impl Expected {
    /// Runs the program in memory.
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let db = fold_db(Place::memory().open(), clock());
        let (mut ends, mut answers) = (Vec::new(), Vec::new());
        let mut catalogues = vec![catalogue(&db)];
        for step in &steps {
            answers.push(run(&db, step).unwrap());
            ends.push(head(&db));
            catalogues.resize(usize::try_from(head(&db)).unwrap() + 1, catalogue(&db));
        }
        db.schemas().approve_schema(&name("Reading")).unwrap();
        let commits = (0_u64..).zip(catalogues);
        let states = commits.map(|(commit, catalogue)| {
            let records = records(&db, &catalogue, commit).unwrap();
            (catalogue, records)
        });
        let states = states.collect();
        Self { steps, ends, answers, states }
    }

    /// Compares the whole space with what it must hold after a commit.
    ///
    /// The outer error tells of what is wrong, the inner one of a store that could not be read.
    pub(crate) fn compare(
        &self,
        db: &FoldDb,
        commit: u64,
    ) -> Result<Result<(), FoldDbError>, String> {
        let index = usize::try_from(commit).unwrap();
        let (schemas, expected) = self.states.get(index).ok_or("never attempted")?;
        if catalogue(db) != *schemas {
            return Err(format!("the catalogue of commit {commit} is {:?}", catalogue(db)));
        }
        match records(db, schemas, commit) {
            Ok(found) if found == *expected => Ok(Ok(())),
            Ok(found) => Err(format!("commit {commit} holds\n{found}\nnot\n{expected}")),
            Err(error) if is_of_store(&error) => Ok(Err(error)),
            Err(error) => Err(format!("a read was answered {}", describe(&error))),
        }
    }
}

/// What `verify` finds.
pub(crate) fn check_sound(db: &FoldDb) -> Result<(), String> {
    let report = db.verify().map_err(|error| describe(&error))?;
    if report.is_sound() { Ok(()) } else { Err(format!("{:?}", report.problems)) }
}
