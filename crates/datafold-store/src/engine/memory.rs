//! The engine that keeps everything in memory.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rpds::RedBlackTreeMapSync;

use crate::head::read_head;
use crate::identity::{IDENTITY_KEY, identity_row};
use crate::load::{LoadRows, Row};
use crate::{
    Batch, FORMAT_VERSION, Head, Keyspace, Loader, Order, Outcome, Page, Scan, Snapshot, Store,
    StoreError, StoreId, StoreInfo,
};

type Tree = RedBlackTreeMapSync<Bytes, Bytes>;
type Trees = [Tree; Keyspace::ALL.len()];

#[derive(Debug, Clone)]
struct Rows {
    trees: Trees,
    /// Bytes of all keys and values, counted as they are written.
    bytes: u64,
}

impl Rows {
    fn put(&mut self, keyspace: Keyspace, key: Bytes, value: Option<Bytes>) {
        let Some(tree) = self.trees.get_mut(keyspace.index()) else { return };
        let size = |value: &Bytes| (key.len() + value.len()) as u64;
        self.bytes -= tree.get(&key).map_or(0, size);
        self.bytes += value.as_ref().map_or(0, size);
        match value {
            Some(value) => tree.insert_mut(key, value),
            None => {
                tree.remove_mut(&key);
            }
        }
    }
}

/// A store in memory: gone with its last handle, otherwise like every other engine.
///
/// "Durable" means here that the batch is in [`MemoryStore::reopen`]'s view.
#[derive(Debug)]
pub struct MemoryStore {
    info: StoreInfo,
    rows: Arc<RwLock<Rows>>,
    closed: Mutex<bool>,
}

impl MemoryStore {
    /// An empty store with a new identity.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] when the operating system gives no random bytes.
    pub fn new() -> Result<Self, StoreError> {
        Ok(Self::with_id(StoreId::random()?))
    }

    /// An empty store with this identity.
    fn with_id(id: StoreId) -> Self {
        let trees = std::array::from_fn(|_| Tree::new_sync());
        let mut rows = Rows { trees, bytes: 0 };
        rows.put(Keyspace::Head, Bytes::from_static(IDENTITY_KEY), Some(identity_row(id)));
        let info = StoreInfo {
            url: "memory:".into(),
            engine: "memory",
            id,
            format_version: FORMAT_VERSION,
        };
        Self { info, rows: Arc::new(RwLock::new(rows)), closed: Mutex::new(false) }
    }

    /// Begins a store with this identity that is filled with the rows of another one. It is
    /// answered as well, for [`MemoryStore::reopen`].
    #[must_use]
    pub fn loader(id: StoreId) -> (Arc<Self>, Loader) {
        let store = Arc::new(Self::with_id(id));
        let (loading, opening) = (MemoryLoader(Arc::clone(&store)), Arc::clone(&store));
        (store, Loader::new(Box::new(loading), move || Ok(opening), || Ok(())))
    }

    /// A new handle on the same rows, as if the process had ended and begun again.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self { info: self.info.clone(), rows: Arc::clone(&self.rows), closed: Mutex::new(false) }
    }

    /// Another store with the same identity and the rows of this moment: what is written to one of
    /// the two is not in the other.
    ///
    /// # Cost
    ///
    /// Constant; rows are shared until they are changed.
    #[must_use]
    pub fn fork(&self) -> Self {
        let rows = Arc::new(RwLock::new(self.rows.read().clone()));
        Self { info: self.info.clone(), rows, closed: Mutex::new(false) }
    }
}

#[derive(Debug)]
struct MemoryLoader(Arc<MemoryStore>);

impl LoadRows for MemoryLoader {
    fn load(&mut self, loaded: &[Row]) -> Result<(), StoreError> {
        let mut rows = self.0.rows.write();
        for (keyspace, key, value) in loaded {
            rows.put(*keyspace, key.clone(), Some(value.clone()));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Store for MemoryStore {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        if *self.closed.lock() {
            return Err(StoreError::Closed);
        }
        Ok(Arc::new(MemorySnapshot { trees: self.rows.read().trees.clone() }))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        if *self.closed.lock() {
            return Outcome::Failed(StoreError::Closed);
        }
        let mut rows = self.rows.write();
        let head = match read_head(&MemorySnapshot { trees: rows.trees.clone() }, batch.space) {
            Ok(head) => head,
            Err(error) => return Outcome::Failed(error),
        };
        if let Err(fenced) = Head::check_follows(head.as_ref(), batch) {
            return fenced;
        }
        for (keyspace, key, value) in batch.writes() {
            rows.put(keyspace, key.clone(), value.cloned());
        }
        rows.put(Keyspace::Head, Head::key(batch.space), Some(Head::row_of(batch)));
        Outcome::Accepted
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        if *self.closed.lock() {
            return Err(StoreError::Closed);
        }
        Ok(self.rows.read().bytes)
    }

    fn close(&self) -> Result<(), StoreError> {
        *self.closed.lock() = true;
        Ok(())
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    trees: Trees,
}

impl MemorySnapshot {
    fn tree(&self, keyspace: Keyspace) -> Option<&Tree> {
        self.trees.get(keyspace.index())
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree(keyspace).and_then(|tree| tree.get(key)).map(|value| value.to_vec()))
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = Page::for_scan(scan);
        let Some(tree) = self.tree(scan.keyspace) else { return Ok(page) };
        if scan.is_empty_range() {
            return Ok(page);
        }
        let mut rows = tree.range::<[u8], _>(scan.bounds());
        loop {
            let row = match scan.order {
                Order::Forward => rows.next(),
                Order::Reverse => rows.next_back(),
            };
            let Some((key, value)) = row else { return Ok(page) };
            if page.is_full(scan) {
                page.set_more();
                return Ok(page);
            }
            page.push(key, value);
        }
    }
}
