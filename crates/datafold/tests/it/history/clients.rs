//! Clients that do everything at once and record what they are answered.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use datafold::data_layer::{CommitNumber, DataLayerError, Durability, Receipt};
use datafold::engine::{
    Condition, FoldDbError, FoldTransaction, KeyCondition, Mutation, MutationKind, Precondition,
};
use datafold::model::{SchemaName, Value};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_testkit::{ApplyFault, FaultStore, Random};

use super::log::{Answer, Call, History, Operation, Reads, Row, Sequence};
use crate::harness::{Place, approve, check_sound, clock, fold_db, name};

pub(crate) const ENTRY: &str = r#"{"name": "Entry", "key": ["shelf", "slot"], "fields": {
    "shelf": {"value": {"type": "integer"}}, "slot": {"value": {"type": "integer"}},
    "n": {"value": {"type": "integer"}}, "text": {}}}"#;
pub(crate) const MARK: &str = r#"{"name": "Mark", "key": ["client"], "fields": {
    "client": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}}}}"#;

pub(crate) const CLIENTS: i64 = 8;
const OPERATIONS: i64 = 200;
const SHELVES: usize = 3;
const SLOTS: usize = 4;

/// A fault of the product as a client would see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// Reads show the commit before the newest one that the client knows, and say so.
    StaleRead,
    /// Reads show the commit before the one that they name.
    WrongRead,
    /// Transactions do not look at what was committed since they read.
    LostUpdate,
    /// What is answered as durable is only buffered, and its loss is not told.
    EarlyAnswer,
}

#[derive(Clone, Copy)]
struct World<'a> {
    db: &'a FoldDb,
    store: &'a FaultStore,
    sequence: &'a Sequence,
    /// The last commit before the first operation.
    base: u64,
    planted: Planted,
}

struct Client<'a> {
    world: World<'a>,
    random: Random,
    client: i64,
    mark: i64,
    /// The newest commit that this client was told of.
    seen: u64,
    log: Vec<Operation>,
}

/// Runs one history: half of the operations, the space opened again, the other half.
pub(crate) fn run(seed: u64, mut place: Place, planted: Planted) -> History {
    let sequence = Sequence::default();
    let mut random = Random::new(seed);
    let clock = clock();
    let (mut operations, mut base) = (Vec::new(), 0);
    for half in 0..2 {
        let store = FaultStore::new(place.open());
        let db = fold_db(std::sync::Arc::new(store.clone()), std::sync::Arc::clone(&clock) as _);
        if half == 0 {
            approve(&db, ENTRY);
            approve(&db, MARK);
            base = db.pool().operations().head().0.0;
        }
        let world = World { db: &db, store: &store, sequence: &sequence, base, planted };
        operations.extend(run_half(world, half, &mut random));
        store.clear_faults();
        // A space whose last outcome is not known does not close without a word.
        let _ = db.pool().close();
    }
    let db = fold_db(place.open(), clock);
    check_sound(&db);
    let rows = db.query(&QueryRequest::new(name("Entry"))).unwrap();
    let head = db.pool().operations().head().0.0;
    let atoms = db.stats().unwrap().total_atoms;
    History { base, operations, marks: marks(&db), head, rows: values(rows.records), atoms }
}

fn run_half(world: World<'_>, half: i64, random: &mut Random) -> Vec<Operation> {
    let seed = random.next_u64();
    let ends_unknown = random.one_in(2);
    let barrier = Barrier::new(usize::try_from(CLIENTS).unwrap());
    let mut operations: Vec<_> = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            let barrier = &barrier;
            scope.spawn(move || {
                let head = world.db.pool().operations().head().0.0;
                let mut client = Client {
                    world,
                    random: Random::part(seed, client.unsigned_abs()),
                    client,
                    mark: (client * 2 + half) * 10_000,
                    seen: head,
                    log: Vec::new(),
                };
                barrier.wait();
                for step in 0..OPERATIONS / 2 {
                    if ends_unknown && client.client == 0 && step == OPERATIONS * 2 / 5 {
                        client.end_in_doubt();
                    }
                    client.step();
                }
                client.log
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    // Tells of a loss that nobody has heard of.
    let mut last = Client {
        world,
        random: Random::new(seed),
        client: CLIENTS,
        mark: (CLIENTS * 2 + half) * 10_000,
        seen: 0,
        log: Vec::new(),
    };
    last.flush();
    operations.append(&mut last.log);
    operations
}

fn marks(db: &FoldDb) -> BTreeMap<i64, u64> {
    let mut marks = BTreeMap::new();
    for client in 0..=CLIENTS {
        let history = db.history(&name("Mark"), &[Value::Int(client)], None, None, 10_000).unwrap();
        for atom in history {
            let Value::Int(mark) = atom.value else { panic!("{atom:?} is no mark") };
            assert_eq!(marks.insert(mark, atom.commit.0), None, "mark {mark} was written twice");
        }
    }
    marks
}

fn values(records: Vec<datafold::engine::Record>) -> Vec<Row> {
    records.into_iter().map(|record| record.values).collect()
}

fn int(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap())
}

/// What an error says of the request.
fn failure(error: &FoldDbError) -> Answer {
    match error.code() {
        "commit_failed" | "commit_cascaded" => Answer::Failed,
        "commit_indeterminate" => Answer::Indeterminate,
        "record_exists" => Answer::Refused("record_exists"),
        "record_not_found" => Answer::Refused("record_not_found"),
        "precondition_failed" => Answer::Refused("precondition_failed"),
        code => panic!("{code}: {error}"),
    }
}

impl Client<'_> {
    fn step(&mut self) {
        self.mark += 1;
        if self.random.one_in(60) {
            let nth = 1 + self.random.below(3) as u64;
            self.world.store.fail_apply(nth, ApplyFault::Failed);
        }
        if self.random.one_in(3) {
            thread::yield_now();
        }
        match self.random.below(20) {
            0..=4 => self.query(),
            5 | 6 => self.get(),
            7..=11 => self.write(false),
            12 => self.write(true),
            13 => self.flush(),
            _ => self.transact(),
        }
    }

    /// The next batch is the last one before the space is opened again.
    fn end_in_doubt(&mut self) {
        let fault = if self.random.one_in(2) {
            ApplyFault::IndeterminateApplied
        } else {
            ApplyFault::IndeterminateNotApplied
        };
        self.world.store.fail_apply(1, fault);
    }

    fn record(&mut self, invoked: u64, call: Call, answer: Answer) {
        let answered = self.world.sequence.next();
        let operation = Operation { mark: self.mark, invoked, answered, call, answer };
        // What is only buffered may be lost, and cannot be read as of.
        if !operation.is_buffered() && self.world.planted != Planted::EarlyAnswer {
            self.seen = self.seen.max(operation.commit().unwrap_or(0));
        }
        self.log.push(operation);
    }

    fn key(&mut self) -> Vec<Value> {
        vec![int(self.random.below(SHELVES)), int(self.random.below(SLOTS))]
    }

    fn query(&mut self) {
        let condition = match self.random.below(4) {
            0 => KeyCondition::All,
            1 => KeyCondition::Exact(self.key()),
            _ => KeyCondition::Prefix(vec![int(self.random.below(SHELVES))]),
        };
        let as_of = self.random.one_in(5).then(|| {
            let back = self.random.below(3) as u64;
            (self.seen - back).max(self.world.base)
        });
        let mut request = QueryRequest::new(name("Entry"));
        (request.key, request.as_of) = (condition.clone(), as_of.map(|at| at.to_string()));
        if self.world.planted == Planted::StaleRead && as_of.is_none() {
            request.as_of = Some((self.seen - 1).max(self.world.base).to_string());
        }
        let invoked = self.world.sequence.next();
        let mut answer = self.world.db.query(&request).unwrap();
        if self.world.planted == Planted::WrongRead && as_of.is_none() {
            let before = (answer.commit.0 - 1).max(self.world.base);
            request.as_of = Some(before.to_string());
            answer.records = self.world.db.query(&request).unwrap().records;
        }
        let (commit, rows) = (answer.commit.0, values(answer.records));
        let answer = Answer::Rows { commit, rows };
        self.record(invoked, Call::Query { condition, as_of }, answer);
    }

    fn get(&mut self) {
        let key = self.key();
        let invoked = self.world.sequence.next();
        let record = self.world.db.get(&name("Entry"), &key).unwrap();
        self.record(invoked, Call::Get(key), Answer::Row(record.map(|record| record.values)));
    }

    fn mutation(&mut self, part: i64) -> Mutation {
        let key = self.key();
        let kind = match self.random.below(6) {
            0 => return Mutation::delete(name("Entry"), vec![key]),
            1 => MutationKind::Create,
            2 => MutationKind::Update,
            _ => MutationKind::Upsert,
        };
        let n = Value::Int(self.mark * 4 + part);
        let mut record = BTreeMap::from([("n".to_owned(), n)]);
        record.extend(["shelf", "slot"].map(str::to_owned).into_iter().zip(key));
        if self.random.one_in(3) {
            record.insert("text".to_owned(), format!("t{}", self.mark).into());
        }
        Mutation::Write { kind, schema: name("Entry"), records: vec![record] }
    }

    fn marking(&self) -> Mutation {
        let record = [("client", self.client), ("n", self.mark)];
        let record = record.map(|(name, n)| (name.to_owned(), Value::Int(n))).into();
        Mutation::upsert(name("Mark"), vec![record])
    }

    fn request(&mut self) -> MutationRequest {
        let count = 1 + i64::try_from(self.random.below(3)).unwrap();
        let mut mutations: Vec<_> = (0..count).map(|part| self.mutation(part)).collect();
        mutations.push(self.marking());
        let mut preconditions = Vec::new();
        if self.random.one_in(4) {
            let condition = match self.random.below(4) {
                0 => Condition::Exists,
                1 => Condition::Absent,
                _ => Condition::UnchangedSince(CommitNumber(self.seen)),
            };
            let (schema, key) = (name("Entry"), self.key());
            preconditions.push(Precondition { schema, key, element: None, condition });
        }
        MutationRequest { mutations, preconditions }
    }

    fn write(&mut self, is_buffered: bool) {
        let request = self.request();
        let is_early = self.world.planted == Planted::EarlyAnswer;
        let durability =
            if is_buffered || is_early { Durability::Buffered } else { Durability::Durable };
        let invoked = self.world.sequence.next();
        let answer = self.world.db.mutate_with(&request, durability);
        self.record(invoked, Call::Write { request, is_buffered }, written(answer));
    }

    fn flush(&mut self) {
        let invoked = self.world.sequence.next();
        let answer = match self.world.db.pool().flush() {
            Ok(()) => Answer::Flushed,
            Err(_) => Answer::FlushFailed,
        };
        self.record(invoked, Call::Flush, answer);
    }

    fn transact(&mut self) {
        let keys: Vec<_> = (0..1 + self.random.below(2)).map(|_| self.key()).collect();
        let mut mutations = Vec::new();
        if !self.random.one_in(4) {
            mutations = (0..1 + i64::try_from(self.random.below(2)).unwrap())
                .map(|part| self.mutation(part))
                .collect();
            mutations.push(self.marking());
        }
        if self.world.planted == Planted::LostUpdate && !mutations.is_empty() {
            return self.read_and_write_unchecked(keys, mutations);
        }
        let (mut reads, mut base) = (Reads::new(), 0);
        let invoked = self.world.sequence.next();
        let answer = self.world.db.transact(|transaction| -> Result<(), FoldDbError> {
            base = transaction.data_layer().base().0;
            reads = read(transaction, &name("Entry"), &keys)?;
            if self.random.one_in(2) {
                thread::yield_now();
            }
            mutations.iter().cloned().try_for_each(|mutation| transaction.mutate(mutation))
        });
        let is_reading = mutations.is_empty();
        let answer = match written(answer.map(|((), receipt)| receipt)) {
            Answer::Committed { .. } if is_reading => Answer::Saw { commit: base, refusal: None },
            Answer::Refused(code) => Answer::Saw { commit: base, refusal: Some(code) },
            other => other,
        };
        let request = MutationRequest { mutations, preconditions: Vec::new() };
        self.record(invoked, Call::Transact { reads, request }, answer);
    }

    /// A transaction as it would be without its check, and a commit in the middle of it.
    fn read_and_write_unchecked(&mut self, keys: Vec<Vec<Value>>, mutations: Vec<Mutation>) {
        let db = self.world.db;
        let invoked = self.world.sequence.next();
        let read =
            |key: &Vec<Value>| db.get(&name("Entry"), key).unwrap().map(|found| found.values);
        let reads = keys.iter().map(|key| (key.clone(), read(key))).collect();
        let mark = self.mark;
        self.mark += 5_000;
        self.write(false);
        self.mark = mark;
        let request = MutationRequest { mutations, preconditions: Vec::new() };
        let answer = match written(db.mutate(&request)) {
            // Where it was refused is not what this is about.
            Answer::Refused(_) => return,
            answer => answer,
        };
        self.record(invoked, Call::Transact { reads, request }, answer);
    }
}

fn read(
    transaction: &mut FoldTransaction<'_>,
    schema: &SchemaName,
    keys: &[Vec<Value>],
) -> Result<Reads, FoldDbError> {
    let mut reads = Reads::new();
    for key in keys {
        let record = transaction.get(schema, key)?;
        reads.push((key.clone(), record.map(|record| record.values)));
    }
    Ok(reads)
}

fn written(answer: Result<Receipt, FoldDbError>) -> Answer {
    match answer {
        Ok(receipt) => Answer::Committed { commit: receipt.commit.0, atoms: receipt.atoms },
        Err(error) => {
            let is_conflict = matches!(
                &error,
                FoldDbError::DataLayer(DataLayerError::Commit(cause)) if cause.code() == "conflict"
            );
            assert!(!is_conflict, "gave up: {error}");
            failure(&error)
        }
    }
}
