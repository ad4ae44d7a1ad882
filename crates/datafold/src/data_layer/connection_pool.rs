//! The handle that opens a store and holds the repositories.

use std::fmt;
use std::sync::Arc;

use datafold_store::{OpenOptions, Store, StoreError};

use super::atom_repository::AtomRepository;
use super::db_operations::DbOperations;
use super::error::{CommitError, DataLayerError};
use super::pipeline::{Pipeline, Receipt};
use super::record_cache::RECORD_CACHE_BYTES;
use super::rows::Rows;
use super::schema_repository::SchemaRepository;
use super::spaces::{self, DEFAULT_SPACE};
use super::stats::DatabaseStats;
use super::transaction::Transaction;
use super::transform::PropagationLimits;
use super::transform_repository::TransformRepository;
use crate::clock::{Clock, SystemClock};
use crate::sync::{JoinHandle, Mutex};
use crate::threads;

/// How a pool is opened.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// How the store is opened.
    pub store: OpenOptions,
    /// The space to work in. Default: `default`.
    pub space: String,
    /// The clock that commits take their times from.
    pub clock: Arc<dyn Clock>,
    /// The memory that rows of records which were read lately take at most, in bytes, about. It is
    /// taken only as records are read by their keys. Default: 256 MiB; 0 for none.
    pub record_cache_bytes: usize,
    /// How much of what depends on a commit is computed in it.
    pub propagation: PropagationLimits,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            store: OpenOptions::default(),
            space: DEFAULT_SPACE.to_owned(),
            clock: Arc::new(SystemClock),
            record_cache_bytes: RECORD_CACHE_BYTES,
            propagation: PropagationLimits::default(),
        }
    }
}

impl PoolOptions {
    /// The defaults, but creating the store and the space if there are none.
    #[must_use]
    pub fn create() -> Self {
        Self { store: OpenOptions::create(), ..Self::default() }
    }
}

/// The repositories of one space.
#[derive(Debug)]
pub struct RepositoryRegistry {
    schemas: SchemaRepository,
    atoms: AtomRepository,
    transforms: TransformRepository,
}

impl RepositoryRegistry {
    /// Definitions and states of schemas.
    #[must_use]
    pub fn schemas(&self) -> &SchemaRepository {
        &self.schemas
    }

    /// Versions of cells.
    #[must_use]
    pub fn atoms(&self) -> &AtomRepository {
        &self.atoms
    }

    /// Registered transforms.
    #[must_use]
    pub fn transforms(&self) -> &TransformRepository {
        &self.transforms
    }
}

/// An open store: one space of it, and its repositories. Cheap to clone; all clones are one.
///
/// The last clone to go flushes and closes the store; [`DatabasePool::close`] does it at once
/// and reports what went wrong.
#[derive(Clone)]
pub struct DatabasePool {
    shared: Arc<Shared>,
}

struct Shared {
    ops: Arc<DbOperations>,
    registry: RepositoryRegistry,
    /// The threads of the library: the flusher and the indexer.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for DatabasePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabasePool").field("store", self.shared.ops.store_info()).finish()
    }
}

impl DatabasePool {
    /// Opens the existing store at `url`, space `default`. `memory:` is always new.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`].
    pub fn open(url: &str) -> Result<Self, DataLayerError> {
        Self::open_with(url, &PoolOptions::default())
    }

    /// Opens the store at `url`, creating it if there is none.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`].
    pub fn create(url: &str) -> Result<Self, DataLayerError> {
        Self::open_with(url, &PoolOptions::create())
    }

    /// Opens the store at `url`.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::Store`] as [`datafold_store::open`]; [`DataLayerError::NotFound`] for
    /// an unknown space; [`DataLayerError::Serialization`] for a damaged catalogue.
    ///
    /// # Cost
    ///
    /// The catalogue and the counters are read, nothing else, whatever the number of records.
    pub fn open_with(url: &str, options: &PoolOptions) -> Result<Self, DataLayerError> {
        Self::with_store(datafold_store::open(url, &options.store)?, options)
    }

    /// Works on a store that is already open, and takes it over: closing the pool closes it.
    ///
    /// A store serves one pool at a time. A second pool on the same space would be fenced by the
    /// commits of the first, and halt.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`], and [`DataLayerError::Store`] if no thread can be begun.
    pub fn with_store(
        store: Arc<dyn Store>,
        options: &PoolOptions,
    ) -> Result<Self, DataLayerError> {
        let create = options.store.create || store.info().engine == "memory";
        let space = spaces::find_or_create(store.as_ref(), &options.space, create)?;
        let clock = Arc::clone(&options.clock);
        let (cache_bytes, limits) = (options.record_cache_bytes, options.propagation);
        let pipeline = Pipeline::open(store, Rows { space }, clock, cache_bytes, limits)?;
        let ops = Arc::new(DbOperations::new(pipeline));
        let registry = RepositoryRegistry {
            schemas: SchemaRepository::new(Arc::clone(&ops)),
            atoms: AtomRepository::new(Arc::clone(&ops)),
            transforms: TransformRepository::new(Arc::clone(&ops)),
        };
        let shared = Shared { ops, registry, threads: Mutex::default() };
        shared.begin("datafold-flusher", Pipeline::run_flusher)?;
        shared.begin("datafold-indexer", Pipeline::run_indexer)?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The repositories.
    #[must_use]
    pub fn repositories(&self) -> &RepositoryRegistry {
        &self.shared.registry
    }

    /// Definitions and states of schemas.
    #[must_use]
    pub fn schemas(&self) -> &SchemaRepository {
        self.shared.registry.schemas()
    }

    /// Versions of cells.
    #[must_use]
    pub fn atoms(&self) -> &AtomRepository {
        self.shared.registry.atoms()
    }

    /// Registered transforms.
    #[must_use]
    pub fn transforms(&self) -> &TransformRepository {
        self.shared.registry.transforms()
    }

    /// The single path to the store.
    #[must_use]
    pub fn operations(&self) -> &Arc<DbOperations> {
        &self.shared.ops
    }

    /// Begins a transaction of the owner.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        self.shared.ops.begin()
    }

    /// Runs a closure as a transaction, again on a conflict; see [`DbOperations::transact`].
    ///
    /// # Errors
    ///
    /// As [`DbOperations::transact`].
    pub fn transact<T, E: From<DataLayerError>>(
        &self,
        run: impl FnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<(T, Receipt), E> {
        self.shared.ops.transact(run)
    }

    /// What the space holds, from counters: never a scan.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::Store`] if the size of the store cannot be read.
    pub fn stats(&self) -> Result<DatabaseStats, DataLayerError> {
        DatabaseStats::read(&self.shared.ops)
    }

    /// Waits until every commit made so far is durable.
    ///
    /// # Errors
    ///
    /// As [`DbOperations::flush`].
    pub fn flush(&self) -> Result<(), CommitError> {
        self.shared.ops.flush()
    }

    /// Flushes, refuses every later commit and closes the store, for all clones.
    ///
    /// # Errors
    ///
    /// What flushing and closing answer; the store is closed all the same.
    pub fn close(&self) -> Result<(), DataLayerError> {
        self.shared.close()
    }
}

impl Shared {
    /// Begins a thread, which ends when the pool is closed.
    fn begin(&self, name: &str, run: fn(&Pipeline)) -> Result<(), StoreError> {
        let ops = Arc::clone(&self.ops);
        let thread = threads::spawn(name, move || run(ops.pipeline()))
            .map_err(|source| StoreError::Io { action: format!("begin thread {name}"), source })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn close(&self) -> Result<(), DataLayerError> {
        let flushed = self.ops.pipeline().close();
        for thread in self.threads.lock().drain(..) {
            // A panic of the flusher has already failed the commits that it was flushing.
            let _ = thread.join();
        }
        let closed = self.ops.pipeline().store().close();
        flushed?;
        Ok(closed?)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.close();
    }
}
