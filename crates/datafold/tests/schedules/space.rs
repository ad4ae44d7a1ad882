//! A space under a schedule, and what its clients do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use datafold::clock::Clock;
use datafold::data_layer::{
    CommitError, CommitNumber, DataLayerError, DatabasePool, Durability, Moment, PoolOptions,
    Receipt,
};
use datafold::engine::{
    ChangesQuery, FoldDbError, KeyCondition, Mutation, MutationError, MutationKind, QueryError,
    Record,
};
use datafold::model::{SchemaName, Timestamp, Value};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_testkit::{ApplyFault, ModelStore};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread::JoinHandle;
use shuttle::{Config, Runner};

use crate::ledger::{Items, Ledger, Refused, Written};
use crate::runs::choose;
use crate::store::StepStore;

const ITEM: &str = r#"{"name": "Item", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}}}}"#;
/// The items that exist when a schedule begins.
pub(crate) const FIRST_ITEMS: [i64; 2] = [0, 1];
/// So much that all rows of a schedule stay.
const CACHE_BYTES: usize = 4 << 10;

/// A clock that goes on by a microsecond whenever it is read.
#[derive(Debug)]
struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// A space that a schedule works on.
pub(crate) struct Space {
    pub(crate) db: FoldDb,
    pub(crate) store: Arc<StepStore>,
    pub(crate) ledger: Ledger,
    clock: Arc<dyn Clock>,
    tolerates: &'static [&'static str],
}

/// What a thread does; what it writes begins with the number.
pub(crate) type Client = Box<dyn FnOnce(&Space, i64) + Send>;

/// The schema of the items.
pub(crate) fn item() -> SchemaName {
    SchemaName::parse("Item").unwrap()
}

fn open(store: Arc<StepStore>, clock: Arc<dyn Clock>) -> FoldDb {
    let options = PoolOptions { clock, record_cache_bytes: CACHE_BYTES, ..PoolOptions::create() };
    FoldDb::new(DatabasePool::with_store(store, &options).unwrap())
}

static ROWS: OnceLock<Arc<ModelStore>> = OnceLock::new();

/// Makes the rows that every schedule begins with, in a schedule of its own.
pub(crate) fn prepare() {
    ROWS.get_or_init(|| {
        let made = Arc::new(Mutex::new(None));
        let rows = Arc::clone(&made);
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.silence_warnings = true;
        Runner::new(RandomScheduler::new_from_seed(0, 1), config).run(move || {
            let store = Arc::new(StepStore::new(Arc::default(), None));
            let db = open(Arc::clone(&store), clock(1));
            db.schemas().load_text(ITEM, None).unwrap();
            db.schemas().approve_schema(&item()).unwrap();
            db.mutate(&write(MutationKind::Create, &FIRST_ITEMS, 0).into()).unwrap();
            db.pool().close().unwrap();
            *rows.lock().unwrap() = Some(store.model());
        });
        made.lock().unwrap().take().unwrap()
    });
}

/// Far behind the times of the first commits.
fn clock(micros: i64) -> Arc<dyn Clock> {
    Arc::new(TickingClock(AtomicI64::new(micros)))
}

fn write(kind: MutationKind, ids: &[i64], n: i64) -> Mutation {
    let record = |id: &i64| {
        [("id".to_owned(), Value::Int(*id)), ("n".to_owned(), Value::Int(n))].into_iter().collect()
    };
    Mutation::Write { kind, schema: item(), records: ids.iter().map(record).collect() }
}

fn int(record: &Record, field: &str) -> i64 {
    match record.get(field) {
        Some(Value::Int(n)) => *n,
        other => panic!("{field} is {other:?}"),
    }
}

impl Space {
    /// A space whose batch number `nth` from now on is answered `fault`. Answers of the codes in
    /// `tolerates` are nothing to wonder at.
    pub(crate) fn new(
        fault: Option<(u64, ApplyFault)>,
        tolerates: &'static [&'static str],
    ) -> Arc<Self> {
        let rows = Arc::clone(ROWS.get().expect("`prepare` was called"));
        let store = Arc::new(StepStore::new(rows, fault));
        let clock = clock(1_000_000);
        let db = open(Arc::clone(&store), Arc::clone(&clock));
        let first = FIRST_ITEMS.map(|id| (id, 0)).into();
        let ledger = Ledger::new(db.pool().operations().head().0.0, first);
        Arc::new(Self { db, store, ledger, clock, tolerates })
    }

    /// Runs the clients, each on a thread, and waits for them.
    pub(crate) fn run(self: &Arc<Self>, clients: Vec<Client>) {
        let begin = |(at, client): (usize, Client)| {
            let space = Arc::clone(self);
            let first = i64::try_from(at + 1).unwrap() * 100;
            shuttle::thread::spawn(move || client(&space, first))
        };
        let threads: Vec<JoinHandle<()>> = clients.into_iter().enumerate().map(begin).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// Follows the next `count` commits, which must come in order, durable, each once.
    pub(crate) fn follow(&self, from: u64, count: u64) {
        let query = ChangesQuery::from(CommitNumber(from));
        let mut subscription = self.db.subscribe(query).unwrap();
        for expected in from..from + count {
            // Time stands still in a schedule: it waits for a change.
            let found = subscription.next_within(Duration::MAX);
            let Some(found) = self.answer("follow", None, found) else { return };
            let found = found.map(|found| found.commit.number.0);
            if found != Some(expected) {
                self.ledger.wrong(format!("followed {found:?}, not commit {expected}"));
            }
            if self.store.durable() < expected {
                self.ledger.wrong(format!("followed commit {expected}, which is not durable"));
            }
        }
    }

    fn head(&self) -> u64 {
        self.db.pool().operations().head().0.0
    }

    /// What a request was answered, if it was carried out.
    fn answer<T>(
        &self,
        what: &str,
        written: Option<&Written>,
        answer: Result<T, FoldDbError>,
    ) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        if let FoldDbError::DataLayer(DataLayerError::Commit(CommitError::Indeterminate {
            number,
            ..
        })) = &error
        {
            self.ledger.unknown(number.0);
            if let Some(written) = written {
                self.ledger.candidate(number.0, written.clone());
            }
        }
        if !self.tolerates.contains(&error.code()) {
            self.ledger.wrong(format!("{what}: {error}"));
        }
        None
    }

    fn acknowledge(&self, receipt: Receipt, written: Written) {
        let durable = self.store.durable();
        self.ledger.staged(receipt.commit.0, Written { time: Some(receipt.time), ..written });
        self.ledger.acknowledged(receipt.commit.0, durable);
    }

    /// Carries out a mutation; answers the commit if there is one.
    fn mutate(
        &self,
        what: &str,
        mutation: Mutation,
        durability: Durability,
        written: Written,
    ) -> Option<u64> {
        let known = self.ledger.known();
        let answer = self.db.mutate_with(&MutationRequest::from(mutation), durability);
        let refused = match &answer {
            Err(FoldDbError::Mutation(MutationError::RecordExists { .. })) => {
                written.items.keys().next().map(|item| Refused::Exists(*item))
            }
            Err(FoldDbError::Mutation(MutationError::NotApproved { .. })) => Some(Refused::Blocked),
            _ => None,
        };
        if let Some(refused) = refused {
            self.ledger.refused(known, self.head(), refused);
            return None;
        }
        let receipt = self.answer(what, Some(&written), answer)?;
        match durability {
            Durability::Durable => self.acknowledge(receipt, written),
            Durability::Buffered => {
                let time = Some(receipt.time);
                let written = Written { time, is_buffered: true, ..written };
                self.ledger.candidate(receipt.commit.0, written);
            }
        }
        Some(receipt.commit.0)
    }

    /// Writes items in one commit.
    pub(crate) fn set(&self, ids: &[i64], n: i64) {
        let _ = self.upsert(ids, n, Durability::Durable);
    }

    /// As [`Space::set`] without waiting; answers the number that the commit has.
    pub(crate) fn buffer(&self, ids: &[i64], n: i64) -> Option<u64> {
        self.upsert(ids, n, Durability::Buffered)
    }

    fn upsert(&self, ids: &[i64], n: i64, durability: Durability) -> Option<u64> {
        let items = ids.iter().map(|id| (*id, n)).collect();
        let written = Written { items, needs_approval: true, ..Written::default() };
        self.mutate("set", write(MutationKind::Upsert, ids, n), durability, written)
    }

    /// Writes an item that must not exist.
    pub(crate) fn create(&self, id: i64, n: i64) {
        let (items, before) = ([(id, n)].into(), [(id, None)].into());
        let written = Written { items, before, needs_approval: true, ..Written::default() };
        let mutation = write(MutationKind::Create, &[id], n);
        let _ = self.mutate("create", mutation, Durability::Durable, written);
    }

    /// Reads one item and writes another, or the same, in one transaction.
    pub(crate) fn transact(&self, read: i64, id: i64, n: i64) {
        let (known, mut found) = (self.ledger.known(), None);
        let answer = self.db.transact(|transaction| {
            let record = transaction.get(&item(), &[Value::Int(read)])?;
            found = record.as_ref().map(|record| int(record, "n"));
            transaction.mutate(write(MutationKind::Upsert, &[id], n))
        });
        let (items, before) = ([(id, n)].into(), [(read, found)].into());
        let written = Written { items, before, needs_approval: true, ..Written::default() };
        if let Err(FoldDbError::Mutation(MutationError::NotApproved { .. })) = &answer {
            self.ledger.refused(known, self.head(), Refused::Blocked);
            return;
        }
        if let Some(((), receipt)) = self.answer("transact", Some(&written), answer) {
            self.acknowledge(receipt, written);
        }
    }

    /// Reads items in one transaction that writes nothing.
    pub(crate) fn look(&self, ids: &[i64]) {
        let (known, mut found) = (self.ledger.known(), (0, BTreeMap::new()));
        let answer = self.db.transact(|transaction| {
            found = (transaction.data_layer().base().0, BTreeMap::new());
            for id in ids {
                let record = transaction.get(&item(), &[Value::Int(*id)])?;
                found.1.insert(*id, record.as_ref().map(|record| int(record, "n")));
            }
            Ok(())
        });
        if self.answer::<((), Receipt)>("look", None, answer).is_some() {
            let (base, items) = found;
            self.ledger.read("a transaction", known, base, self.store.durable(), items);
        }
    }

    fn query(&self, how: &'static str, key: KeyCondition, as_of: Option<String>) -> Option<u64> {
        let known = if as_of.is_none() { self.ledger.known() } else { 0 };
        let keys = match &key {
            KeyCondition::Exact(values) => values.clone(),
            _ => FIRST_ITEMS.map(Value::Int).to_vec(),
        };
        let request = QueryRequest { key, as_of, ..QueryRequest::new(item()) };
        let answer = self.db.query(&request);
        let durable = self.store.durable();
        if let Err(FoldDbError::Query(QueryError::NotApproved { .. })) = &answer {
            self.ledger.refused(known, self.head(), Refused::Blocked);
            return None;
        }
        let answer = self.answer(how, None, answer)?;
        let mut items: BTreeMap<i64, Option<i64>> = keys
            .iter()
            .map(|key| match key {
                Value::Int(id) => (*id, None),
                other => panic!("the key {other:?}"),
            })
            .collect();
        let found = answer.records.iter().map(|record| (int(record, "id"), Some(int(record, "n"))));
        items.extend(found);
        self.ledger.read(how, known, answer.commit.0, durable, items);
        Some(answer.commit.0)
    }

    /// Reads one item by its key.
    pub(crate) fn get(&self, id: i64) {
        let _ = self.query("a read by key", KeyCondition::Exact(vec![Value::Int(id)]), None);
    }

    /// Reads all items.
    pub(crate) fn scan(&self) {
        let _ = self.query("a scan", KeyCondition::All, None);
    }

    /// Reads one item as it was after a commit that is known.
    pub(crate) fn get_past(&self, id: i64) {
        let commit = self.ledger.known().saturating_sub(choose(3)).max(self.ledger.first());
        let key = KeyCondition::Exact(vec![Value::Int(id)]);
        let _ = self.query("a read of the past", key, Some(commit.to_string()));
    }

    /// Reads all items as of the time now.
    pub(crate) fn scan_time(&self) {
        let time = self.clock.now();
        let commit = self.query("a read as of a time", KeyCondition::All, Some(time.to_string()));
        if let Some(commit) = commit {
            self.ledger.at_time(time, commit);
        }
    }

    /// Waits for what was committed before. Answers whether all of it is durable.
    pub(crate) fn flush(&self) -> bool {
        let answer = self.db.pool().flush().map_err(DataLayerError::from);
        self.told(answer)
    }

    fn told(&self, answer: Result<(), DataLayerError>) -> bool {
        let is_loss = answer.is_err();
        let is_flushed = self.answer("flush", None, answer.map_err(Into::into)).is_some();
        if is_loss {
            self.ledger.loss_told();
        }
        is_flushed
    }

    /// Blocks the schema or approves it. Only one client may do so.
    pub(crate) fn approve(&self, approves: bool) {
        let schemas = self.db.schemas();
        let answer = match approves {
            true => schemas.approve_schema(&item()),
            false => schemas.block_schema(&item(), None),
        };
        if let Some(receipt) = self.answer("approve", None, answer) {
            let approves = Some(approves);
            self.acknowledge(receipt, Written { approves, ..Written::default() });
        }
    }

    /// Closes the pool, also while others use it.
    pub(crate) fn close(&self) {
        let answer = self.db.pool().close();
        self.told(answer);
    }

    /// Checks every answer against the space as it is, and closes it.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn finish(self: Arc<Self>) -> Result<(), String> {
        self.flush();
        let wrong = self.check(&self.db);
        self.close();
        wrong
    }

    /// Checks every answer against the space as it is when it is opened again.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn reopen(self: Arc<Self>) -> Result<(), String> {
        self.close();
        let store = Arc::new(StepStore::new(self.store.model(), None));
        let db = open(store, Arc::clone(&self.clock));
        let wrong = self.check(&db);
        db.pool().close().map_err(|error| error.to_string())?;
        wrong
    }

    fn check(&self, db: &FoldDb) -> Result<(), String> {
        let head = db.pool().operations().head().0.0;
        // What was written has numbers of its own, so that it is known again.
        let is_there = |commit: u64, written: &Written| {
            commit <= head
                && written.items.iter().all(|(id, n)| {
                    let moment = Moment::Commit(CommitNumber(commit));
                    let record = db.get_as_of(&item(), &[Value::Int(*id)], moment).unwrap();
                    record.is_some_and(|record| int(&record, "n") == *n)
                })
        };
        let lost = self.ledger.settle(is_there);
        let items = self.ledger.check(head)?;
        let answer = db.query(&QueryRequest::new(item())).map_err(|error| error.to_string())?;
        let found: Items =
            answer.records.iter().map(|record| (int(record, "id"), int(record, "n"))).collect();
        if found != items {
            return Err(format!("the space holds {found:?}, its commits say {items:?}"));
        }
        if lost > 0 && self.ledger.losses() == 0 {
            return Err(format!("{lost} commits were lost, and no flush has told of it"));
        }
        Ok(())
    }
}
