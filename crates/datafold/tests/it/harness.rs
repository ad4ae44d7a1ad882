//! Stores and spaces as the tests use them.

use std::fmt::Write;
use std::sync::Arc;

use datafold::clock::{Clock, ManualClock};
use datafold::data_layer::{DatabasePool, PoolOptions, PropagationLimits, Receipt};
use datafold::engine::{FoldDbError, QueryAnswer};
use datafold::model::{SchemaName, Timestamp, Value};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_store::{
    MemoryStore, OpenOptions, RedbDisks, RedbStore, Store, StoreError, StoreId, open,
};
use datafold_testkit::{FaultStore, SimDisk};
use tempfile::TempDir;

/// A small cache, so that pages are also read from the disk.
const CACHE_BYTES: usize = 256 << 10;
/// A short log, so that it is full after some commits.
const LOG_BYTES: u64 = 8 << 10;
const ID: StoreId = StoreId([7; 16]);

/// Where a space lives while it is closed and opened again.
pub(crate) enum Place {
    Memory(Arc<MemoryStore>),
    Sim(SimDisk),
    Sled(TempDir),
}

impl Place {
    pub(crate) fn memory() -> Self {
        Place::Memory(Arc::new(MemoryStore::new().unwrap()))
    }

    pub(crate) fn sim(seed: u64) -> Self {
        Place::Sim(SimDisk::new(seed))
    }

    pub(crate) fn sled() -> Self {
        Place::Sled(tempfile::tempdir().unwrap())
    }

    /// Opens the store; everything that used it before must be gone.
    pub(crate) fn open(&mut self) -> Arc<dyn Store> {
        match self {
            Place::Memory(store) => {
                *store = Arc::new(store.reopen());
                Arc::clone(store) as Arc<dyn Store>
            }
            Place::Sim(disk) => Arc::new(open_sim(disk, true).unwrap()),
            Place::Sled(folder) => {
                let url = format!("sled:{}", folder.path().display());
                let options = OpenOptions {
                    create: true,
                    cache_bytes: CACHE_BYTES,
                    log_bytes: LOG_BYTES,
                    ..OpenOptions::default()
                };
                open(&url, &options).unwrap()
            }
        }
    }
}

/// Opens the redb engine on a simulated disk.
pub(crate) fn open_sim(disk: &SimDisk, create: bool) -> Result<RedbStore, StoreError> {
    let options = OpenOptions {
        create,
        cache_bytes: CACHE_BYTES,
        log_bytes: LOG_BYTES,
        ..OpenOptions::default()
    };
    let disks = RedbDisks { data: Box::new(disk.clone()), log: Box::new(disk.file(1)) };
    RedbStore::open("sim:", disks, ID, &options)
}

/// A space on a store that is open.
pub(crate) fn fold_db(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> FoldDb {
    FoldDb::new(DatabasePool::with_store(store, &options(clock)).unwrap())
}

pub(crate) fn options(clock: Arc<dyn Clock>) -> PoolOptions {
    // So little that rows are put out of it all the time.
    PoolOptions { clock, record_cache_bytes: 64 << 10, ..PoolOptions::create() }
}

/// The moment at which most clocks of the tests stand.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2013-01-01T12:00:00Z").unwrap()
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(noon()))
}

/// A space in memory whose store can be told to fail.
pub(crate) fn faulty() -> (FaultStore, FoldDb) {
    let store = FaultStore::new(Arc::new(MemoryStore::new().unwrap()));
    let db = fold_db(Arc::new(store.clone()), clock());
    (store, db)
}

/// A space in memory.
pub(crate) fn memory() -> FoldDb {
    faulty().1
}

/// A space of which a commit computes only so much.
pub(crate) fn fold_db_within(store: Arc<dyn Store>, propagation: PropagationLimits) -> FoldDb {
    let options = PoolOptions { propagation, ..options(clock()) };
    FoldDb::new(DatabasePool::with_store(store, &options).unwrap())
}

pub(crate) fn name(text: &str) -> SchemaName {
    SchemaName::parse(text).unwrap()
}

/// Loads and approves a schema.
pub(crate) fn approve(db: &FoldDb, schema: &str) -> SchemaName {
    let name = db.schemas().load_text(schema, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    name
}

/// Carries out the JSON of a mutation.
pub(crate) fn mutate(db: &FoldDb, request: &str) -> Result<Receipt, FoldDbError> {
    db.mutate(&MutationRequest::parse(request)?)
}

/// Answers the JSON of a query.
pub(crate) fn query(db: &FoldDb, request: &str) -> Result<QueryAnswer, FoldDbError> {
    db.query(&QueryRequest::parse(request)?)
}

/// The records of an answer, one line of JSON each.
pub(crate) fn lines(answer: &QueryAnswer) -> String {
    answer.records.iter().fold(String::new(), |mut lines, record| {
        writeln!(lines, "{}", Value::Array(record.values.clone()).to_json()).unwrap();
        lines
    })
}

/// All records of a schema, one line of JSON each.
pub(crate) fn all(db: &FoldDb, schema: &str) -> String {
    lines(&db.query(&QueryRequest::new(name(schema))).unwrap())
}

/// An error with the chain of its causes.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    datafold_testkit::model::describe(error)
}

/// Fails unless everything in the space fits together.
pub(crate) fn check_sound(db: &FoldDb) {
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{:#?}", report.problems);
}
