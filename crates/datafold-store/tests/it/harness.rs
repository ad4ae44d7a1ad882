//! The engines as the suite sees them.

use std::sync::Arc;

use datafold_store::{
    Loader, MemoryStore, OpenOptions, RedbDisks, RedbStore, Store, StoreError, StoreId, open,
};
use datafold_testkit::conformance::{LoadCheck, load_all};
use datafold_testkit::{Harness, Row, SimDisk, is_full_size};
use parking_lot::Mutex;
use tempfile::TempDir;

/// A small cache, so that pages are also read from the disk.
pub(crate) const CACHE_BYTES: usize = 64 << 10;

/// A short log, so that it is full after a few batches.
pub(crate) const LOG_BYTES: u64 = 64 << 10;

/// The number of the log's file on a simulated disk; the engine's is file 0.
pub(crate) const LOG: usize = 1;

pub(crate) fn options(create: bool) -> OpenOptions {
    OpenOptions { create, cache_bytes: CACHE_BYTES, log_bytes: LOG_BYTES, ..OpenOptions::default() }
}

/// The memory engine.
#[derive(Default)]
pub(crate) struct MemoryHarness {
    store: Mutex<Option<Arc<MemoryStore>>>,
}

impl Harness for MemoryHarness {
    fn fresh(&self) -> Arc<dyn Store> {
        let store = Arc::new(MemoryStore::new().unwrap());
        *self.store.lock() = Some(Arc::clone(&store));
        store
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().unwrap();
        let mut place = self.store.lock();
        let store = Arc::new(place.take().unwrap().reopen());
        *place = Some(Arc::clone(&store));
        store
    }

    fn load(
        &self,
        id: StoreId,
        rows: &[Row],
        check: &mut LoadCheck<'_>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let (store, loader) = MemoryStore::loader(id);
        *self.store.lock() = Some(store);
        load_all(loader, rows, check)
    }
}

/// The memory engine behind a store of the test kit.
pub(crate) struct Wrapped {
    memory: MemoryHarness,
    wrap: fn(Arc<dyn Store>) -> Arc<dyn Store>,
}

impl Wrapped {
    pub(crate) fn new(wrap: fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        Self { memory: MemoryHarness::default(), wrap }
    }
}

impl Harness for Wrapped {
    fn fresh(&self) -> Arc<dyn Store> {
        (self.wrap)(self.memory.fresh())
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        (self.wrap)(self.memory.reopen(store))
    }

    fn load(
        &self,
        id: StoreId,
        rows: &[Row],
        check: &mut LoadCheck<'_>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.memory.load(id, rows, check).map(self.wrap)
    }
}

/// An engine in a folder, opened by its URL.
pub(crate) struct FolderHarness {
    /// What stands before the path in a URL.
    scheme: &'static str,
    folder: Mutex<Option<TempDir>>,
}

impl FolderHarness {
    pub(crate) fn redb() -> Self {
        Self { scheme: "", folder: Mutex::default() }
    }

    pub(crate) fn sled() -> Self {
        Self { scheme: "sled:", folder: Mutex::default() }
    }

    fn url(&self, folder: &TempDir) -> String {
        format!("{}{}", self.scheme, folder.path().to_str().unwrap())
    }
}

impl Harness for FolderHarness {
    fn fresh(&self) -> Arc<dyn Store> {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&self.url(&folder), &options(true)).unwrap();
        *self.folder.lock() = Some(folder);
        store
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().unwrap();
        drop(store);
        let folder = self.folder.lock();
        open(&self.url(folder.as_ref().unwrap()), &options(false)).unwrap()
    }

    fn load(
        &self,
        id: StoreId,
        rows: &[Row],
        check: &mut LoadCheck<'_>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let folder = tempfile::tempdir().unwrap();
        let loader = Loader::begin(&self.url(&folder), id, &options(true))?;
        *self.folder.lock() = Some(folder);
        load_all(loader, rows, check)
    }

    fn program_count(&self) -> u64 {
        match (is_full_size(), self.scheme) {
            // Opening and closing it takes milliseconds.
            (false, "sled:") => 12,
            (false, _) => 300,
            (true, _) => 5_000,
        }
    }
}

/// redb on a simulated disk.
#[derive(Default)]
pub(crate) struct SimHarness {
    place: Mutex<Option<(SimDisk, StoreId)>>,
}

impl Harness for SimHarness {
    fn fresh(&self) -> Arc<dyn Store> {
        let disk = SimDisk::new(1);
        let id = StoreId::random().unwrap();
        let store = open_sim(&disk, id, true).unwrap();
        *self.place.lock() = Some((disk, id));
        Arc::new(store)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().unwrap();
        drop(store);
        let place = self.place.lock();
        let (disk, id) = place.as_ref().unwrap();
        Arc::new(open_sim(disk, *id, false).unwrap())
    }

    fn load(
        &self,
        id: StoreId,
        rows: &[Row],
        check: &mut LoadCheck<'_>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let disk = SimDisk::new(1);
        let again = disk.clone();
        let loader =
            RedbStore::loader("sim:", disks(&disk), id, &options(true), move || disks(&again))?;
        *self.place.lock() = Some((disk, id));
        load_all(loader, rows, check)
    }
}

/// Opens or creates a store on a simulated disk.
pub(crate) fn open_sim(
    disk: &SimDisk,
    id: StoreId,
    create: bool,
) -> Result<RedbStore, datafold_store::StoreError> {
    RedbStore::open("sim:", disks(disk), id, &options(create))
}

/// The files of a store on a simulated disk.
pub(crate) fn disks(disk: &SimDisk) -> RedbDisks {
    RedbDisks { data: Box::new(disk.clone()), log: Box::new(disk.file(LOG)) }
}
