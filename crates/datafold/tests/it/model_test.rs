//! Random programs; after each step the space answers what plain maps answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use datafold::clock::{Clock, ManualClock};
use datafold::data_layer::{
    Atom, AtomId, CellName, CommitNumber, DataLayerError, Durability, Moment, ReadRepository,
    Receipt,
};
use datafold::engine::{
    ElementFilter, ElementQuery, FoldDbError, FoldTransaction, KeyCondition, Mutation,
};
use datafold::model::{
    FieldKind, RecordKey, Schema, SchemaName, SchemaState, Timestamp, Value, part_of_value,
};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_testkit::{ApplyFault, FaultStore, Random, is_full_size, replay, seed_from_env};

use crate::harness::{Place, check_sound, clock, fold_db};
use crate::node_model::{Expected, Key, NodeModel, SchemaModel};
use crate::program::{self, SCHEMAS};

const STEPS: usize = 60;

/// An answer in pages that goes on while others write.
struct OpenCursor {
    request: QueryRequest,
    at: u64,
    rest: Vec<Vec<Value>>,
}

struct Run {
    random: Random,
    place: Place,
    clock: Arc<ManualClock>,
    /// Between the space and its store, unless the engine is to be used as it is.
    store: FaultStore,
    bare: bool,
    db: FoldDb,
    model: NodeModel,
    schemas: Vec<Schema>,
    /// Every atom that was ever answered.
    seen: HashMap<AtomId, Atom>,
    cursor: Option<OpenCursor>,
    /// The latest time that was read as of since the space was opened.
    settled: Timestamp,
}

/// What a transaction must read after its own writes.
struct Inside {
    schema: SchemaName,
    key: Key,
    row: Option<Vec<Value>>,
    filter: ElementFilter,
    limit: Option<usize>,
    /// Elements of a field that fit the filter.
    elements: Option<(String, Vec<(String, Value)>)>,
}

impl Inside {
    fn check(&self, transaction: &mut FoldTransaction<'_>) -> Result<(), FoldDbError> {
        let (schema, key) = (&self.schema, &self.key.0);
        let row = transaction.get(schema, key)?.map(|record| record.values);
        assert_eq!(row, self.row, "{schema}{key:?} inside");
        let Some((field, expected)) = &self.elements else { return Ok(()) };
        let found = transaction.elements(schema, key, field, &self.filter, self.limit)?;
        let found: Vec<_> = found.into_iter().map(|found| (found.key, found.value)).collect();
        assert_eq!(&found, expected, "{field} of {schema}{key:?} inside, {:?}", self.filter);
        Ok(())
    }
}

fn open(place: &mut Place, bare: bool, clock: &Arc<ManualClock>) -> (FaultStore, FoldDb) {
    let store = place.open();
    let faulty = FaultStore::new(Arc::clone(&store));
    let used = if bare { store } else { Arc::new(faulty.clone()) };
    (faulty, fold_db(used, Arc::clone(clock) as Arc<dyn Clock>))
}

impl Run {
    fn new(seed: u64, mut place: Place, bare: bool) -> Self {
        let clock = clock();
        let (store, db) = open(&mut place, bare, &clock);
        let (model, settled) = (NodeModel::default(), Timestamp::from_micros(0));
        let random = Random::new(seed);
        let schemas = SCHEMAS.iter().map(|text| Schema::parse(text).unwrap().schema).collect();
        let (seen, cursor) = (HashMap::new(), None);
        Self { random, place, clock, store, bare, db, model, schemas, seen, cursor, settled }
    }

    fn run(&mut self, steps: usize) {
        for text in SCHEMAS {
            self.load(text);
        }
        for _ in 0..steps {
            self.step();
            self.check();
        }
        self.reopen();
        self.check_everything();
    }

    fn load(&mut self, text: &str) {
        let schema = self.db.schemas().load_text(text, None).unwrap();
        let (commit, time) = self.db.pool().operations().head();
        self.model.times.push(time);
        let (state, loaded) = (SchemaState::Available, commit.0);
        let records = BTreeMap::new();
        self.model.schemas.push(SchemaModel { schema, state, loaded, records });
        if !self.random.one_in(4) {
            self.set_state(self.model.schemas.len() - 1, SchemaState::Approved);
        }
    }

    fn step(&mut self) {
        match self.random.below(30) {
            0 => self.reopen(),
            1 | 2 => self.move_clock(),
            3 => self.change_state(),
            4 | 5 => self.mutate_wrongly(),
            6 if !self.bare => self.fail_to_mutate(),
            7 => self.store.shorten_pages(1 + self.random.below(4)),
            _ => self.mutate(),
        }
    }

    fn move_clock(&mut self) {
        let by = [-3_600_000_000, -1, 0, 1, 1_000_000, 86_400_000_000];
        let by = self.random.choose(&by).unwrap();
        self.clock.set(Timestamp::from_micros(self.clock.now().as_micros() + by));
    }

    fn reopen(&mut self) {
        self.db.pool().close().unwrap();
        // The last handle on the old store goes before the new one comes.
        (self.store, self.db) = open(&mut Place::memory(), false, &self.clock);
        (self.store, self.db) = open(&mut self.place, self.bare, &self.clock);
        self.settled = Timestamp::from_micros(0);
        check_sound(&self.db);
    }

    fn change_state(&mut self) {
        let at = self.random.below(self.schemas.len());
        let states = [SchemaState::Approved, SchemaState::Blocked, SchemaState::Available];
        let state = if self.random.one_in(2) {
            SchemaState::Approved
        } else {
            *self.random.choose(&states).unwrap()
        };
        self.set_state(at, state);
    }

    fn set_state(&mut self, at: usize, state: SchemaState) {
        let name = self.model.schemas[at].schema.name.clone();
        let before = self.model.schemas[at].state;
        let receipt = self.db.schemas().set_states(&[name], state, Some("the model")).unwrap();
        let expected = if before == state { Expected::Nothing } else { Expected::Atoms(0) };
        self.model.schemas[at].state = state;
        self.check_receipt(&expected, &receipt);
    }

    /// The answer of a mutation must be the model's.
    fn check_answer(&mut self, expected: &Expected, answer: Result<Receipt, FoldDbError>) {
        match (expected, answer) {
            (Expected::Code(code), Err(error)) => assert_eq!(error.code(), *code, "{error}"),
            (Expected::Code(code), Ok(receipt)) => panic!("expected {code}, found {receipt:?}"),
            (_, Err(error)) => panic!("expected {expected:?}, found {}: {error}", error.code()),
            (_, Ok(receipt)) => self.check_receipt(expected, &receipt),
        }
    }

    fn check_receipt(&mut self, expected: &Expected, receipt: &Receipt) {
        let head = self.model.head();
        match *expected {
            Expected::Atoms(atoms) => {
                assert_eq!((receipt.commit.0, receipt.atoms), (head + 1, atoms));
                assert!(self.model.times.last().is_none_or(|last| receipt.time > *last));
                assert!(receipt.time >= self.clock.now());
                assert!(receipt.time > self.settled, "a commit at a time that was read as of");
                self.model.times.push(receipt.time);
            }
            _ => assert_eq!((receipt.commit.0, receipt.atoms), (head, 0)),
        }
    }

    fn mutate(&mut self) {
        let request = program::request(&mut self.random, &self.schemas, self.model.head());
        let expected = self.model.mutate(&request);
        let refused = expected == Expected::Code("schema_not_approved");
        let answer = match self.random.below(5) {
            0 => self.db.mutate(&MutationRequest::parse(&program::json(&request)).unwrap()),
            1 if request.preconditions.is_empty() && !refused => {
                let read = self.read_inside(&request, &expected);
                self.transact(&request, read)
            }
            2 => self.buffer(&request),
            _ => self.db.mutate(&request),
        };
        self.check_answer(&expected, answer);
    }

    /// What a transaction must read of one of the records that it has written.
    fn read_inside(&mut self, request: &MutationRequest, expected: &Expected) -> Option<Inside> {
        let mutation = self.random.choose(&request.mutations)?;
        if matches!(expected, Expected::Code(_)) {
            return None;
        }
        let model = &self.model.schemas[self.model.schema(mutation.schema().as_str())];
        let key = match mutation {
            Mutation::Write { records, .. } => {
                let parts = model.schema.key.iter();
                Key(parts.map(|part| records[0][part.as_str()].clone()).collect())
            }
            Mutation::Delete { keys, .. } => Key(keys[0].clone()),
            Mutation::Put { key, .. } | Mutation::Remove { key, .. } => Key(key.clone()),
        };
        let record = model.records.get(&key).cloned().unwrap_or_default();
        let row = model.query(&KeyCondition::Exact(key.0.clone()), u64::MAX);
        let row = row.into_iter().next().map(|(_, row)| row);
        let fields = program::element_fields(&model.schema);
        let field = self.random.choose(&fields).map(|field| field.name.to_string());
        let filter = program::filter(&mut self.random);
        let limit = self.random.one_in(2).then(|| self.random.below(4));
        let elements = field.map(|field| {
            let fits = |key: &str, value: &Value| program::fits(&filter, key, value);
            let mut elements = record.elements(&field, u64::MAX, fits);
            elements.truncate(limit.unwrap_or(usize::MAX));
            (field, elements)
        });
        Some(Inside { schema: model.schema.name.clone(), key, row, filter, limit, elements })
    }

    fn transact(
        &mut self,
        request: &MutationRequest,
        read: Option<Inside>,
    ) -> Result<Receipt, FoldDbError> {
        let run = |transaction: &mut FoldTransaction<'_>| {
            for mutation in &request.mutations {
                transaction.mutate(mutation.clone())?;
            }
            if let Some(read) = &read {
                read.check(transaction)?;
            }
            Ok::<_, FoldDbError>(())
        };
        self.db.transact(run).map(|((), receipt)| receipt)
    }

    fn buffer(&mut self, request: &MutationRequest) -> Result<Receipt, FoldDbError> {
        let answer = self.db.mutate_with(request, Durability::Buffered);
        self.db.pool().flush().unwrap();
        answer
    }

    fn mutate_wrongly(&mut self) {
        let schema = self.random.choose(&self.schemas).unwrap().clone();
        let (mutation, code) = program::wrong(&mut self.random, &schema);
        let mut request = MutationRequest::from(mutation);
        let state = |name: &str| self.model.schemas[self.model.schema(name)].state;
        let mut approved =
            code == "schema_not_found" || state(schema.name.as_str()) == SchemaState::Approved;
        if approved && self.random.one_in(2) {
            let other = self.random.choose(&self.schemas).unwrap().clone();
            approved = state(other.name.as_str()) == SchemaState::Approved;
            request.mutations.insert(0, program::mutation(&mut self.random, &other));
        }
        let code = if approved { code } else { "schema_not_approved" };
        let answer = self.db.mutate(&request);
        self.check_answer(&Expected::Code(code), answer);
    }

    /// The store refuses a batch: nothing has changed, and the next one is taken.
    fn fail_to_mutate(&mut self) {
        let request = program::request(&mut self.random, &self.schemas, self.model.head());
        let snapshot = self.model.schemas.iter().map(|schema| schema.records.clone()).collect();
        let records: Vec<_> = snapshot;
        let expected = match self.model.mutate(&request) {
            Expected::Atoms(_) => Expected::Code("commit_failed"),
            other => other,
        };
        for (schema, records) in self.model.schemas.iter_mut().zip(records) {
            schema.records = records;
        }
        self.store.fail_apply(1, ApplyFault::Failed);
        let answer = self.db.mutate(&request);
        self.store.clear_faults();
        self.check_answer(&expected, answer);
    }

    fn check(&mut self) {
        self.check_stats();
        self.check_query();
        self.check_query();
        self.check_cursor();
        self.check_elements();
        for _ in 0..2 {
            let at = self.random.below(self.schemas.len());
            let key = program::key(&mut self.random, &self.schemas[at].clone());
            self.check_history(at, &key);
            self.check_current(at, &key);
        }
        self.check_atom();
        if self.random.one_in(20) {
            check_sound(&self.db);
        }
    }

    fn check_stats(&self) {
        let stats = self.db.stats().unwrap();
        assert_eq!(stats.commit.0, self.model.head());
        assert_eq!(Some(&stats.time), self.model.times.last());
        let live: u64 = self.model.schemas.iter().map(SchemaModel::live_records).sum();
        let atoms: u64 = self.model.schemas.iter().map(SchemaModel::atoms).sum();
        let elements: u64 = self.model.schemas.iter().map(SchemaModel::live_elements).sum();
        let totals = (stats.total_records, stats.total_elements, stats.total_atoms);
        assert_eq!(totals, (live, elements, atoms));
        assert_eq!(stats.total_schemas, self.model.schemas.len() as u64);
        for found in &stats.schemas {
            let schema = &self.model.schemas[self.model.schema(found.name.as_str())];
            let counters = found.counters;
            let expected = (schema.live_records(), schema.live_elements(), schema.atoms());
            assert_eq!((counters.records, counters.elements, counters.atoms), expected);
            assert_eq!(found.state, schema.state);
        }
    }

    /// A moment: the commit that it means, and as a text.
    fn moment(&mut self) -> Result<(u64, Option<String>), String> {
        let head = self.model.head();
        let commit = head - (self.random.below(usize::try_from(head).unwrap() + 1) as u64);
        match self.random.below(6) {
            0 | 1 => Ok((head, None)),
            2 | 3 => Ok((commit, Some(commit.to_string()))),
            4 if self.random.one_in(10) => Err((head + 1).to_string()),
            _ => {
                let base = match (self.random.below(3), commit.checked_sub(1)) {
                    (0, _) | (_, None) => self.clock.now(),
                    (_, Some(index)) => self.model.times[usize::try_from(index).unwrap()],
                };
                let by = *self.random.choose(&[-1, 0, 0, 1]).unwrap();
                let time = Timestamp::from_micros(base.as_micros() + by);
                let last = *self.model.times.last().unwrap();
                if time > self.clock.now() && time > last && time > self.settled {
                    return Err(time.to_string());
                }
                self.settled = self.settled.max(time);
                Ok((self.model.commit_at(time), Some(time.to_string())))
            }
        }
    }

    fn check_query(&mut self) {
        let at = self.random.below(self.schemas.len());
        let schema = self.model.schemas[at].schema.clone();
        let mut request = QueryRequest::new(schema.name.clone());
        request.key = program::condition(&mut self.random, &schema);
        let commit = match self.moment() {
            Err(future) => {
                request.as_of = Some(future);
                let error = self.db.query(&request).unwrap_err();
                assert_eq!(error.code(), "future_moment", "{error}");
                return;
            }
            Ok((commit, as_of)) => {
                request.as_of = as_of;
                commit
            }
        };
        let model = &self.model.schemas[at];
        if model.state != SchemaState::Approved || model.loaded > commit {
            let approved = model.state == SchemaState::Approved;
            let code = if approved { "schema_not_found" } else { "schema_not_approved" };
            assert_eq!(self.db.query(&request).unwrap_err().code(), code);
            return;
        }
        let expected = model.query(&request.key, commit);
        self.check_select(&request, &expected);
        let answer = self.db.query(&request).unwrap();
        let rows: Vec<_> = answer.records.iter().map(|record| record.values.clone()).collect();
        let expected: Vec<_> = expected.into_iter().map(|(_, row)| row).collect();
        assert_eq!(rows, expected, "{request:?}");
        assert_eq!((answer.commit.0, answer.cursor), (commit, None));
        if self.cursor.is_none() && schema.is_keyed() {
            request.limit = Some(1 + self.random.below(4));
            self.cursor = Some(OpenCursor { request, at: commit, rest: expected });
        }
    }

    /// Some fields, in another order and perhaps twice.
    fn check_select(&mut self, request: &QueryRequest, expected: &[(Key, Vec<Value>)]) {
        let fields = &self.schemas[self.model.schema(request.schema.as_str())].fields;
        let names: Vec<_> = fields.iter().map(|field| field.name.to_string()).collect();
        let count = self.random.below(4);
        let select: Vec<_> =
            (0..count).map(|_| self.random.choose(&names).unwrap().clone()).collect();
        let request = QueryRequest { select: Some(select.clone()), ..request.clone() };
        let answer = self.db.query(&request).unwrap();
        assert_eq!(
            answer.records.len(),
            expected.len(),
            "{request:?} {:?} {:?}",
            self.model.times,
            answer
        );
        let schema = &self.model.schemas[self.model.schema(request.schema.as_str())].schema;
        for (record, (_, row)) in answer.records.iter().zip(expected) {
            let places = select.iter().map(|name| schema.position(name).unwrap());
            let values: Vec<_> = places.map(|place| row[place].clone()).collect();
            assert_eq!(record.values, values, "{select:?}");
        }
    }

    /// One more page of the open answer.
    fn check_cursor(&mut self) {
        let Some(mut open) = self.cursor.take() else { return };
        let at = self.model.schema(open.request.schema.as_str());
        if self.model.schemas[at].state != SchemaState::Approved {
            return;
        }
        let answer = self.db.query(&open.request).unwrap();
        if let KeyCondition::Exact(_) = open.request.key {
            return;
        }
        let count = open.request.limit.unwrap().min(open.rest.len());
        let rest = open.rest.split_off(count);
        let rows: Vec<_> = answer.records.iter().map(|record| record.values.clone()).collect();
        assert_eq!(rows, open.rest, "{:?}", open.request);
        assert_eq!(answer.commit.0, open.at);
        assert_eq!(answer.cursor.is_none(), rest.is_empty());
        open.request.cursor = answer.cursor;
        open.rest = rest;
        if open.request.cursor.is_some() {
            self.cursor = Some(open);
        }
    }

    fn cell(&self, at: usize, key: &Key, field: Option<&str>) -> CellName {
        let schema = &self.model.schemas[at].schema;
        let parts: Vec<_> = key.0.iter().map(|part| part_of_value(part).unwrap()).collect();
        CellName {
            schema: schema.name.clone(),
            key: RecordKey::from_parts(&parts).unwrap(),
            field: field.map(|name| schema.field(name).unwrap().name.clone()),
            element: None,
        }
    }

    fn check_history(&mut self, at: usize, key: &Key) {
        let schema = &self.model.schemas[at].schema;
        let field = self.random.choose(&schema.fields).unwrap().name.clone();
        let field = (!self.random.one_in(3)).then_some(field);
        let limit = if self.random.one_in(2) { 100_000 } else { self.random.below(4) };
        let before = match self.random.below(3) {
            0 => Some(self.random.below(usize::try_from(self.model.head()).unwrap() + 2) as u64),
            _ => None,
        };
        let (name, parts) = (schema.name.clone(), key.0.clone());
        let before = before.map(CommitNumber);
        let element = field
            .as_ref()
            .filter(|name| schema.field(name.as_str()).unwrap().kind != FieldKind::Single);
        let element = element.map(|_| program::element(&mut self.random));
        let element = element.filter(|_| self.random.one_in(2));
        let found = match (&field, &element) {
            (Some(field), Some(element)) => {
                self.db.element_history(&name, &parts, field, element, before, limit)
            }
            _ => self.db.history(&name, &parts, field.as_ref(), before, limit),
        };
        if self.model.schemas[at].state != SchemaState::Approved {
            assert_eq!(found.unwrap_err().code(), "schema_not_approved");
            return;
        }
        let found = found.unwrap();
        let field = field.as_ref().map(|name| name.as_str());
        let known = |atom: &&&crate::node_model::ModelAtom| {
            before.is_none_or(|before| atom.commit < before.0)
        };
        let expected: Vec<_> = self.model.history(at, key, field, element.as_deref());
        let expected: Vec<_> = expected.iter().filter(known).collect();
        // What one commit wrote is not split.
        let last = limit.checked_sub(1).and_then(|at| expected.get(at)).map(|atom| atom.commit);
        let expected = expected
            .into_iter()
            .enumerate()
            .filter(|(at, atom)| *at < limit || last.is_some_and(|last| atom.commit >= last));
        let expected: Vec<_> = expected.map(|(_, atom)| atom).collect();
        let shape = |atom: &Atom| {
            let field = atom.cell.field.as_ref().map(|name| name.to_string());
            (atom.commit.0, field, atom.cell.element.clone(), atom.value.clone(), atom.status)
        };
        let found_shapes: Vec<_> = found.iter().map(shape).collect();
        let shapes = expected
            .iter()
            .map(|a| (a.commit, a.field.clone(), a.element.clone(), a.value.clone(), a.status));
        assert_eq!(found_shapes, shapes.collect::<Vec<_>>(), "{field:?} {before:?} {limit}");
        for (atom, expected) in found.iter().zip(expected) {
            let previous = self.model.previous(at, key, expected).map(|atom| atom.commit);
            assert_eq!(atom.previous.map(|id| id.commit.0), previous, "{atom:?}");
            let commit = usize::try_from(atom.commit.0).unwrap() - 1;
            assert_eq!(atom.time, self.model.times[commit]);
            assert_eq!(atom.cell.key, self.cell(at, key, None).key);
            if let Some(seen) = self.seen.insert(atom.id, atom.clone()) {
                assert_eq!(seen, *atom, "an atom has changed");
            }
        }
    }

    fn check_current(&mut self, at: usize, key: &Key) {
        let schema = self.model.schemas[at].schema.clone();
        let field = self.random.choose(&schema.fields).unwrap();
        let has_elements = field.kind != FieldKind::Single;
        let element = has_elements.then(|| program::element(&mut self.random));
        let field = field.name.clone();
        let cell = CellName { element, ..self.cell(at, key, Some(field.as_str())) };
        let found = self.db.pool().atoms().current(&cell).unwrap();
        let record = self.model.schemas[at].records.get(key);
        let alive = record.is_some_and(|record| record.now().is_some());
        let history = self.model.history(at, key, Some(field.as_str()), cell.element.as_deref());
        let newest = history.into_iter().next();
        let birth = record.and_then(|record| {
            let past = record.past.iter().rev();
            past.take_while(|(_, cells)| cells.is_some()).last().map(|(commit, _)| *commit)
        });
        let expected = newest.filter(|atom| !alive || Some(atom.commit) >= birth);
        // A life that follows another in the same commit hides what that one had.
        if alive && expected.is_some() && found.is_none() {
            let cells = record.and_then(|record| record.now()).unwrap();
            assert!(!cells.contains_key(&(field.to_string(), cell.element.clone())));
            return;
        }
        let shape = found.map(|atom| (atom.atom.commit.0, atom.status));
        assert_eq!(shape, expected.map(|atom| (atom.commit, atom.status)), "{cell:?}");
    }

    /// Elements of some field, by some filter, at some moment, in pages.
    fn check_elements(&mut self) {
        let at = self.random.below(self.schemas.len());
        let schema = self.schemas[at].clone();
        let fields = program::element_fields(&schema);
        let Some(field) = self.random.choose(&fields).map(|field| field.name.to_string()) else {
            return;
        };
        let key = program::key(&mut self.random, &schema);
        let Ok((commit, as_of)) = self.moment() else { return };
        let filter = program::filter(&mut self.random);
        let mut request = ElementQuery::new(schema.name.clone(), key.0.clone(), field.clone());
        (request.filter, request.as_of) = (filter.clone(), as_of);
        let model = &self.model.schemas[at];
        if model.state != SchemaState::Approved || model.loaded > commit {
            let approved = model.state == SchemaState::Approved;
            let code = if approved { "schema_not_found" } else { "schema_not_approved" };
            assert_eq!(self.db.elements(&request).unwrap_err().code(), code);
            return;
        }
        let record = model.records.get(&key).cloned().unwrap_or_default();
        let mut expected =
            record.elements(&field, commit, |key, value| program::fits(&filter, key, value));
        let reverse = self.random.one_in(2);
        if reverse {
            expected.reverse();
        }
        request.reverse = reverse;
        request.limit = self.random.one_in(2).then(|| 1 + self.random.below(3));
        let mut found = Vec::new();
        loop {
            let page = self.db.elements(&request).unwrap();
            assert_eq!(page.commit.0, commit);
            assert!(request.limit.is_none_or(|limit| page.elements.len() <= limit));
            found.extend(page.elements.into_iter().map(|element| (element.key, element.value)));
            request.cursor = page.cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{request:?}");
        let element = program::element(&mut self.random);
        let id = (field.clone(), Some(element.clone()));
        let expected = record.at(commit).and_then(|cells| cells.get(&id));
        let moment = Moment::Commit(CommitNumber(commit));
        let found = self.db.element_as_of(&schema.name, &key.0, &field, &element, moment).unwrap();
        assert_eq!(found.as_ref(), expected);
    }

    /// An atom that was seen is found again by its id.
    fn check_atom(&mut self) {
        let mut ids: Vec<_> = self.seen.keys().copied().collect();
        ids.sort_unstable();
        let Some(id) = self.random.choose(&ids) else { return };
        assert_eq!(self.db.pool().atoms().get(id).unwrap().as_ref(), self.seen.get(id));
        let wrong = AtomId { ordinal: id.ordinal + 1_000, ..*id };
        assert_eq!(self.db.pool().atoms().get(&wrong).unwrap(), None);
        let wrong = AtomId { origin: !id.origin, ..*id };
        assert_eq!(self.db.pool().atoms().get(&wrong).unwrap(), None);
    }

    fn check_everything(&mut self) {
        check_sound(&self.db);
        for at in 0..self.schemas.len() {
            let keys: Vec<_> = self.model.schemas[at].records.keys().cloned().collect();
            for key in &keys {
                self.check_history(at, key);
                self.check_current(at, key);
            }
            if self.model.schemas[at].state != SchemaState::Approved {
                continue;
            }
            for commit in self.model.schemas[at].loaded..=self.model.head() {
                let mut request = QueryRequest::new(self.model.schemas[at].schema.name.clone());
                request.as_of = Some(commit.to_string());
                let answer = self.db.query(&request).unwrap();
                let rows = answer.records.into_iter().map(|record| record.values);
                let expected = self.model.schemas[at].query(&KeyCondition::All, commit);
                let expected = expected.into_iter().map(|(_, row)| row);
                assert!(rows.eq(expected), "{request:?}");
            }
        }
        self.check_all_atoms();
    }

    /// The atoms of all commits, page by page.
    fn check_all_atoms(&mut self) {
        let limit = 1 + self.random.below(50);
        let atoms = self.db.pool().atoms();
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let page = atoms.page(after.as_ref(), limit).unwrap();
            assert!(page.items.len() <= limit);
            for (id, atom) in page.items {
                assert_eq!(id, atom.id);
                assert!(self.seen.get(&id).is_none_or(|seen| *seen == atom));
                ids.push(id);
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert!(ids.is_sorted());
        let total: u64 = self.model.schemas.iter().map(SchemaModel::atoms).sum();
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!((distinct.len() as u64, ids.len() as u64), (total, total));
        assert_eq!(atoms.count().unwrap(), total);
        assert!(self.seen.keys().all(|id| distinct.contains(id)));
    }
}

fn run_programs(count: u64, default: u64, bare: bool, place: impl Fn(u64) -> Place) {
    // A seed that was given is the one of the program that failed.
    let one = env::var("DATAFOLD_SEED").is_ok();
    let seed = seed_from_env(default);
    for index in 0..if one { 1 } else { count } {
        let seed = if one { seed } else { Random::part(seed, index).next_u64() };
        let mut run = Run::new(seed, place(seed), bare);
        let steps = if is_full_size() { 4 * STEPS } else { STEPS };
        let outcome = catch_unwind(AssertUnwindSafe(|| run.run(steps)));
        if let Err(panic) = outcome {
            eprintln!("program {index} failed: {}", replay(seed));
            resume_unwind(panic);
        }
    }
}

#[test]
fn random_programs_in_memory() {
    let count = if is_full_size() { 5_000 } else { 400 };
    run_programs(count, 0xF01D, false, |_| Place::memory());
}

#[test]
fn random_programs_on_redb() {
    run_programs(if is_full_size() { 2_000 } else { 150 }, 0xF02D, false, Place::sim);
}

/// Without the double in between, which does not use all that the engine offers.
#[test]
fn random_programs_on_bare_redb() {
    run_programs(if is_full_size() { 2_000 } else { 100 }, 0xF03D, true, Place::sim);
}

#[test]
fn random_programs_on_sled() {
    run_programs(if is_full_size() { 1_000 } else { 8 }, 0xF04D, false, |_| Place::sled());
}

#[test]
fn random_programs_on_bare_sled() {
    run_programs(if is_full_size() { 1_000 } else { 8 }, 0xF05D, true, |_| Place::sled());
}

/// What a program cannot tell apart by its code alone.
#[test]
fn an_error_of_the_data_layer_keeps_its_cause() {
    let (store, db) = crate::harness::faulty();
    crate::harness::approve(&db, SCHEMAS[3]);
    store.fail_apply(1, ApplyFault::Failed);
    let request = r#"{"mutation": "create", "schema": "Tag", "records": [{"tag": "a"}]}"#;
    let error = crate::harness::mutate(&db, request).unwrap_err();
    assert!(matches!(error, FoldDbError::DataLayer(DataLayerError::Commit(_))));
    assert!(crate::harness::describe(&error).ends_with("planted failure"), "{error}");
}
