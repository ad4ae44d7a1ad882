//! The engines as the suite sees them.

use std::sync::Arc;

use datafold_store::{MemoryStore, OpenOptions, RedbDisks, RedbStore, Store, StoreId, open};
use datafold_testkit::{Harness, SimDisk};
use parking_lot::Mutex;
use tempfile::TempDir;

/// A small cache, so that pages are also read from the disk.
pub(crate) const CACHE_BYTES: usize = 64 << 10;

/// A short log, so that it is full after a few batches.
pub(crate) const LOG_BYTES: u64 = 64 << 10;

/// The number of the log's file on a simulated disk; the engine's is file 0.
pub(crate) const LOG: usize = 1;

pub(crate) fn options(create: bool) -> OpenOptions {
    OpenOptions { create, cache_bytes: CACHE_BYTES, check_integrity: false, log_bytes: LOG_BYTES }
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
}

/// redb in a folder, opened by its URL.
#[derive(Default)]
pub(crate) struct FolderHarness {
    folder: Mutex<Option<TempDir>>,
}

impl Harness for FolderHarness {
    fn fresh(&self) -> Arc<dyn Store> {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), &options(true)).unwrap();
        *self.folder.lock() = Some(folder);
        store
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().unwrap();
        drop(store);
        let folder = self.folder.lock();
        open(folder.as_ref().unwrap().path().to_str().unwrap(), &options(false)).unwrap()
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
