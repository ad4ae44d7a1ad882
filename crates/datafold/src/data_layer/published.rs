//! The durable state that readers see.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Page, Scan, Snapshot, StoreError};

use super::catalogue::SchemaCore;
use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::record_cache::RecordCache;
use super::working_set::RowSource;
use crate::model::Timestamp;

/// The newest durable commit with a snapshot of the store at it and the catalogue as of it.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) number: CommitNumber,
    pub(crate) time: Timestamp,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) catalogue: Arc<SchemaCore>,
    /// Rows of records, of this and other states.
    pub(crate) cache: Arc<RecordCache>,
}

impl Published {
    pub(crate) fn get(
        &self,
        keyspace: Keyspace,
        key: &[u8],
    ) -> Result<Option<Bytes>, DataLayerError> {
        Ok(self.snapshot.get(keyspace, key)?.map(Bytes::from))
    }

    /// The row of a record, which stays at hand for the next reader.
    pub(crate) fn record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DataLayerError> {
        if let Some(row) = self.cache.get(key, self.number) {
            return Ok(Some(row));
        }
        let row = self.snapshot.get(Keyspace::Records, key)?;
        if let Some(row) = &row {
            self.cache.put(key, row, self.number);
        }
        Ok(row)
    }

    /// The same commit and catalogue, without the store's rows.
    pub(crate) fn closed(&self) -> Self {
        let cache = Arc::new(RecordCache::new(0));
        Self { snapshot: Arc::new(ClosedSnapshot), cache, ..self.clone() }
    }
}

/// What a closed pool shows: nothing, so that the engine can release the file.
#[derive(Debug)]
struct ClosedSnapshot;

impl Snapshot for ClosedSnapshot {
    fn get(&self, _: Keyspace, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Closed)
    }

    fn get_many(&self, _: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Err(StoreError::Closed)
    }

    fn scan(&self, _: &Scan) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }
}

/// A published state as the source of a transaction that checks nothing.
impl RowSource for &Published {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        self.get(keyspace, key)
    }
}
