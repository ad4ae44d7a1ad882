//! The durable state that readers see.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Page, Scan, Snapshot, StoreError};

use super::catalogue::SchemaCore;
use super::counters::SchemaCounters;
use super::error::DataLayerError;
use super::ids::{CommitNumber, SchemaId, TransformId};
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
    /// The transforms that have something left to compute.
    pub(crate) queued: Arc<BTreeSet<TransformId>>,
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

    /// The transforms that have something left to compute when there are these counters, too.
    pub(super) fn queued_after(
        &self,
        counters: &HashMap<SchemaId, SchemaCounters>,
    ) -> Arc<BTreeSet<TransformId>> {
        let of_transforms = counters.iter().filter_map(|(id, counted)| {
            let transform = id.transform()?;
            let is_queued = counted.elements > 0;
            (self.queued.contains(&transform) != is_queued).then_some((transform, is_queued))
        });
        let changed: Vec<_> = of_transforms.collect();
        if changed.is_empty() {
            return Arc::clone(&self.queued);
        }
        let mut queued = BTreeSet::clone(&self.queued);
        for (transform, is_queued) in changed {
            match is_queued {
                true => queued.insert(transform),
                false => queued.remove(&transform),
            };
        }
        Arc::new(queued)
    }

    /// The first keys of a range, at most as many as the scan has rows.
    pub(crate) fn keys(&self, scan: &Scan) -> Result<Vec<Bytes>, DataLayerError> {
        let mut keys = Vec::new();
        let mut scan = scan.clone();
        loop {
            let page = self.snapshot.scan(&scan)?;
            keys.extend(page.rows().map(|(key, _)| Bytes::copy_from_slice(key)));
            scan.rows_max = scan.rows_max.saturating_sub(page.rows().count());
            match page.last_key() {
                Some(last) if page.more() && scan.rows_max > 0 => scan = scan.after(last),
                _ => return Ok(keys),
            }
        }
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

    fn keys(&mut self, scan: &Scan) -> Result<Vec<Bytes>, DataLayerError> {
        Published::keys(self, scan)
    }
}
