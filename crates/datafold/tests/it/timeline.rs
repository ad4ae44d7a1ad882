//! A space that random programs write to, beside a model that keeps every version.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use datafold::FoldDb;
use datafold::clock::{Clock, ManualClock};
use datafold::data_layer::CommitNumber;
use datafold::engine::FoldDbError;
use datafold::model::{Schema, SchemaState, Timestamp};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use crate::harness::{Place, approve, check_sound, clock, fold_db};
use crate::node_model::{Cells, Expected, Key, NodeModel, RecordModel, SchemaModel};
use crate::program::{self, SCHEMAS};

/// The records of a space at one moment, by schema and key. Those that do not exist are not there.
pub(crate) type State = BTreeMap<(String, Key), Cells>;

/// Runs programs, in memory and on redb in turn; the seed of one that fails is printed.
pub(crate) fn run_programs(default: u64, program: impl Fn(u64, Place)) {
    // A seed that was given is the one of the program that failed.
    let one = env::var("DATAFOLD_SEED").is_ok();
    let seed = seed_from_env(default);
    let count = if is_full_size() { 2_000 } else { 60 };
    for index in 0..if one { 1 } else { count } {
        let seed = if one { seed } else { Random::part(seed, index).next_u64() };
        let place = if seed.is_multiple_of(3) { Place::sim(seed) } else { Place::memory() };
        let outcome = catch_unwind(AssertUnwindSafe(|| program(seed, place)));
        if let Err(panic) = outcome {
            eprintln!("program {index} failed: {}", replay(seed));
            resume_unwind(panic);
        }
    }
}

pub(crate) struct Timeline {
    pub(crate) random: Random,
    place: Place,
    clock: Arc<ManualClock>,
    pub(crate) db: FoldDb,
    pub(crate) model: NodeModel,
    pub(crate) schemas: Vec<Schema>,
}

impl Timeline {
    /// A space with the schemas of the programs, all approved.
    pub(crate) fn new(seed: u64, mut place: Place) -> Self {
        let clock = clock();
        let db = fold_db(place.open(), Arc::clone(&clock) as Arc<dyn Clock>);
        let (random, mut model) = (Random::new(seed), NodeModel::default());
        let schemas: Vec<_> =
            SCHEMAS.iter().map(|text| Schema::parse(text).unwrap().schema).collect();
        for (text, schema) in SCHEMAS.iter().zip(&schemas) {
            approve(&db, text);
            model.times.extend([Timestamp::from_micros(0); 2]);
            let (schema, state) = (schema.clone(), SchemaState::Approved);
            let loaded = model.head() - 1;
            model.schemas.push(SchemaModel { schema, state, loaded, records: BTreeMap::new() });
        }
        let timeline = Self { random, place, clock, db, model, schemas };
        timeline.check_head();
        timeline
    }

    fn check_head(&self) {
        assert_eq!(self.db.pool().operations().head().0.0, self.model.head());
    }

    /// Carries out random requests; sometimes the space is opened again.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.random.one_in(30) {
                self.reopen();
            }
            self.mutate();
        }
    }

    pub(crate) fn reopen(&mut self) {
        self.db.pool().close().unwrap();
        // The last handle on the old store goes before the new one comes.
        self.db = fold_db(Place::memory().open(), Arc::clone(&self.clock) as Arc<dyn Clock>);
        self.db = fold_db(self.place.open(), Arc::clone(&self.clock) as Arc<dyn Clock>);
        self.check_head();
        check_sound(&self.db);
    }

    fn mutate(&mut self) {
        let mut request = program::request(&mut self.random, &self.schemas, self.model.head());
        // What the tests write beside the model's own rules, its conditions do not know.
        request.preconditions.clear();
        let expected = self.model.mutate(&request);
        match (expected, self.db.mutate(&request)) {
            (Expected::Code(code), Err(error)) => assert_eq!(error.code(), code),
            (Expected::Atoms(atoms), Ok(receipt)) => {
                self.model.times.push(receipt.time);
                assert_eq!((receipt.commit.0, receipt.atoms), (self.model.head(), atoms));
            }
            (Expected::Nothing, Ok(receipt)) => assert_eq!(receipt.atoms, 0),
            (expected, found) => panic!("expected {expected:?}, found {found:?}"),
        }
    }

    /// The model's records behind a commit.
    pub(crate) fn state_at(&self, commit: u64) -> State {
        let mut state = State::new();
        for schema in &self.model.schemas {
            for (key, record) in &schema.records {
                if let Some(cells) = record.at(commit) {
                    state.insert((schema.schema.name.to_string(), key.clone()), cells.clone());
                }
            }
        }
        state
    }

    /// A commit number, often one of the last.
    pub(crate) fn moment(&mut self) -> u64 {
        let head = usize::try_from(self.model.head()).unwrap();
        let back = if self.random.one_in(2) { head + 1 } else { (head + 1).min(12) };
        (head - self.random.below(back)) as u64
    }

    /// A record of the model, which may not exist now.
    pub(crate) fn some_record(&mut self) -> Option<(usize, Key)> {
        let at = self.random.below(self.model.schemas.len());
        let keys: Vec<_> = self.model.schemas[at].records.keys().cloned().collect();
        Some((at, self.random.choose(&keys)?.clone()))
    }

    pub(crate) fn record(&mut self, at: usize, key: &Key) -> &mut RecordModel {
        self.model.schemas[at].records.entry(key.clone()).or_default()
    }

    /// Fails unless the space is what the model is.
    pub(crate) fn check_now(&self) {
        let found = state_of(&self.db, &self.schemas, None).unwrap();
        assert_eq!(found, self.state_at(u64::MAX).visible());
    }
}

/// The records that queries find.
pub(crate) fn state_of(
    db: &FoldDb,
    schemas: &[Schema],
    at: Option<CommitNumber>,
) -> Result<State, FoldDbError> {
    let mut state = State::new();
    for schema in schemas {
        let mut request = datafold::QueryRequest::new(schema.name.clone());
        request.as_of = at.map(|at| at.to_string());
        for record in db.query(&request)?.records {
            let key = schema.key.iter().map(|part| record.get(part.as_str()).unwrap().clone());
            let key = Key(key.collect());
            let mut cells = Cells::new();
            for (field, value) in schema.fields.iter().zip(record.values) {
                let name = field.name.to_string();
                match value {
                    _ if schema.is_key_field(&name) => {}
                    datafold::model::Value::Null => {}
                    datafold::model::Value::Object(members)
                        if field.kind != datafold::model::FieldKind::Single =>
                    {
                        let element = |(id, value)| ((name.clone(), Some(id)), value);
                        cells.extend(members.into_iter().map(element));
                    }
                    value => {
                        cells.insert((name, None), value);
                    }
                }
            }
            state.insert((schema.name.to_string(), key), cells);
        }
    }
    Ok(state.visible())
}

/// The record of a schema without key shows the same whether it is empty or was never written.
pub(crate) trait Visible {
    fn visible(self) -> Self;
}

impl Visible for State {
    fn visible(mut self) -> Self {
        self.retain(|(_, key), cells| !key.0.is_empty() || !cells.is_empty());
        self
    }
}
