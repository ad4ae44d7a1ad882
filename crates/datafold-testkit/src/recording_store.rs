//! A store that remembers what it accepted.

use std::sync::Arc;

use datafold_store::{Batch, Outcome, Snapshot, Store, StoreError, StoreInfo};
use parking_lot::Mutex;

/// Passes everything on to another store and keeps each batch that was accepted, in order, so
/// that it can be replayed elsewhere.
///
/// # Cost
///
/// One clone of each batch, which copies no row, under a lock that makes `apply` one at a time:
/// the order of the list is the order of the store.
#[derive(Debug)]
pub struct RecordingStore {
    store: Arc<dyn Store>,
    batches: Mutex<Vec<Batch>>,
}

impl RecordingStore {
    /// Records what `store` accepts from now on.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, batches: Mutex::new(Vec::new()) }
    }

    /// The batches accepted so far.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        self.batches.lock().clone()
    }

    /// The batches accepted since the last call, which the recording forgets.
    #[must_use]
    pub fn take_batches(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.batches.lock())
    }
}

impl Store for RecordingStore {
    fn info(&self) -> &StoreInfo {
        self.store.info()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let mut batches = self.batches.lock();
        let outcome = self.store.apply(batch);
        if matches!(outcome, Outcome::Accepted) {
            batches.push(batch.clone());
        }
        outcome
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.store.size_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[cfg(test)]
mod tests {
    use datafold_store::{Keyspace, MemoryStore, SpaceId};

    use super::*;

    #[test]
    fn it_keeps_what_was_accepted_and_nothing_else() {
        let store = RecordingStore::new(Arc::new(MemoryStore::new().unwrap()));
        let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [1; 16]);
        batch.put(Keyspace::Records, &b"k"[..], &b"v"[..]);
        assert!(matches!(store.apply(&batch), Outcome::Accepted));
        assert!(matches!(store.apply(&batch), Outcome::Fenced { .. }));
        assert_eq!(store.batches(), [batch.clone()]);
        assert_eq!(store.take_batches(), [batch]);
        assert_eq!(store.batches(), []);
    }
}
