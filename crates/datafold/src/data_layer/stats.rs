//! What a space holds, from counters.

use datafold_store::StoreInfo;

use super::counters::SchemaCounters;
use super::db_operations::DbOperations;
use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::meter::LockStats;
use crate::model::{SchemaName, SchemaState, Timestamp};

/// What one schema holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStats {
    /// The schema.
    pub name: SchemaName,
    /// Its state.
    pub state: SchemaState,
    /// What it holds.
    pub counters: SchemaCounters,
}

/// What a space holds. Read from counters and memory, whatever the amount of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStats {
    /// The number of schemas, in whatever state.
    pub total_schemas: u64,
    /// The number of live records.
    pub total_records: u64,
    /// The number of elements of Collection and Range fields.
    pub total_elements: u64,
    /// The number of atoms ever written.
    pub total_atoms: u64,
    /// The number of registered transforms.
    pub total_transforms: u64,
    /// The newest durable commit.
    pub commit: CommitNumber,
    /// Its time.
    pub time: Timestamp,
    /// Each schema, sorted by name.
    pub schemas: Vec<SchemaStats>,
    /// Bytes that the store occupies, all spaces together.
    pub size_bytes: u64,
    /// The store.
    pub store: StoreInfo,
    /// Waits for the locks of the commit pipeline since the space was opened.
    pub locks: LockStats,
}

impl DatabaseStats {
    pub(crate) fn read(ops: &DbOperations) -> Result<Self, DataLayerError> {
        let pipeline = ops.pipeline();
        let published = pipeline.published();
        let counters = pipeline.counters();
        let mut total = SchemaCounters::default();
        let mut schemas = Vec::with_capacity(published.catalogue.len());
        for entry in published.catalogue.iter() {
            let counters = counters.get(&entry.records()).copied().unwrap_or_default();
            if entry.records() == entry.id {
                total += counters;
            }
            let name = entry.schema.name.clone();
            schemas.push(SchemaStats { name, state: entry.state, counters });
        }
        Ok(Self {
            total_schemas: published.catalogue.len() as u64,
            total_records: total.records,
            total_elements: total.elements,
            total_atoms: total.atoms,
            total_transforms: published.catalogue.transforms(),
            commit: published.number,
            time: published.time,
            schemas,
            size_bytes: pipeline.store().size_bytes()?,
            store: ops.store_info().clone(),
            locks: pipeline.lock_stats(),
        })
    }
}
