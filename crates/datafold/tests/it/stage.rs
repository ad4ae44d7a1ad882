//! A space whose store and clock a test holds still.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use datafold::FoldDb;
use datafold::clock::Clock;
use datafold::data_layer::{Durability, Receipt};
use datafold::engine::{FoldDbError, Mutation, MutationKind};
use datafold::model::{Timestamp, Value};
use datafold_store::MemoryStore;
use datafold_testkit::{FaultStore, RecordingStore};
use parking_lot::{Condvar, Mutex};

use crate::harness::{approve, fold_db, name, noon};

pub(crate) const ITEM: &str = r#"{"name": "Item", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}}, "text": {}}}"#;

/// A clock that stands still and counts how often it is read: once for each commit that gets its
/// place in the order.
#[derive(Debug)]
pub(crate) struct CountingClock {
    state: Mutex<(Timestamp, usize)>,
    read: Condvar,
}

impl CountingClock {
    fn new() -> Self {
        Self { state: Mutex::new((noon(), 0)), read: Condvar::new() }
    }

    pub(crate) fn set(&self, time: Timestamp) {
        self.state.lock().0 = time;
    }

    pub(crate) fn reads(&self) -> usize {
        self.state.lock().1
    }

    /// Blocks until it was read this often in all.
    pub(crate) fn wait_for(&self, reads: usize) {
        let mut state = self.state.lock();
        while state.1 < reads {
            self.read.wait(&mut state);
        }
    }
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock();
        state.1 += 1;
        self.read.notify_all();
        state.0
    }
}

/// A space with the schema `Item` on a store with a gate.
pub(crate) struct Stage {
    pub(crate) store: FaultStore,
    pub(crate) accepted: Arc<RecordingStore>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) clock: Arc<CountingClock>,
    pub(crate) db: FoldDb,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(MemoryStore::new().unwrap());
        let accepted = Arc::new(RecordingStore::new(Arc::clone(&memory) as _));
        let store = FaultStore::new(Arc::clone(&accepted) as _);
        let clock = Arc::new(CountingClock::new());
        let db = fold_db(Arc::new(store.clone()), Arc::clone(&clock) as _);
        approve(&db, ITEM);
        let _ = accepted.take_batches();
        Self { store, accepted, memory, clock, db }
    }

    /// Opens the space again, as after the end of the process.
    pub(crate) fn reopen(&self) -> FoldDb {
        self.store.reopen();
        let memory = Arc::new(self.memory.reopen());
        fold_db(memory, Arc::clone(&self.clock) as _)
    }

    /// The numbers `(follows, number)` of the batches that were accepted.
    pub(crate) fn batches(&self) -> Vec<(u64, u64)> {
        self.accepted.batches().iter().map(|batch| (batch.follows, batch.number)).collect()
    }

    pub(crate) fn head(&self) -> u64 {
        self.db.pool().operations().head().0.0
    }

    /// Runs `body` on a thread and waits until the commit that it makes has its place in the
    /// order. It must make one, and nobody else at the same time.
    pub(crate) fn queue<'s, T: Send + 's>(
        &'s self,
        scope: &'s thread::Scope<'s, '_>,
        body: impl FnOnce(&FoldDb) -> T + Send + 's,
    ) -> thread::ScopedJoinHandle<'s, T> {
        let reads = self.clock.reads();
        let taken = || self.db.stats().unwrap().locks.taken;
        let before = taken();
        let handle = scope.spawn(move || body(&self.db));
        self.clock.wait_for(reads + 1);
        // The queue's lock to see whether there is room, the writer lock, the queue's lock to take
        // a place, and again to wait: then it takes no other, and its commit is in the queue.
        while taken() < before + 4 {
            thread::yield_now();
        }
        handle
    }
}

/// Writes `n` of one item.
pub(crate) fn write(kind: MutationKind, id: i64, n: i64) -> Mutation {
    let record = [("id".to_owned(), Value::Int(id)), ("n".to_owned(), Value::Int(n))];
    Mutation::Write { kind, schema: name("Item"), records: vec![record.into_iter().collect()] }
}

pub(crate) fn create(db: &FoldDb, id: i64) -> Result<Receipt, FoldDbError> {
    db.mutate(&write(MutationKind::Create, id, 0).into())
}

pub(crate) fn set(db: &FoldDb, id: i64, n: i64) -> Result<Receipt, FoldDbError> {
    db.mutate(&write(MutationKind::Upsert, id, n).into())
}

pub(crate) fn buffer(db: &FoldDb, id: i64, n: i64) -> Result<Receipt, FoldDbError> {
    db.mutate_with(&write(MutationKind::Upsert, id, n).into(), Durability::Buffered)
}

/// `n` of an item that exists.
pub(crate) fn get(db: &FoldDb, id: i64) -> Option<i64> {
    let record = db.get(&name("Item"), &[Value::Int(id)]).unwrap()?;
    match record.get("n") {
        Some(Value::Int(n)) => Some(*n),
        other => panic!("item {id} has {other:?}"),
    }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, FoldDbError>) -> &'static str {
    answer.unwrap_err().code()
}

/// Gives other threads time to get where they should be.
///
/// Whether they got there changes what a test exercises, never whether it passes.
pub(crate) fn linger(is_there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_there() && begin.elapsed() < Duration::from_secs(2) {
        thread::yield_now();
    }
}
