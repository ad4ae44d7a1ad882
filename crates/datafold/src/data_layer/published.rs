//! The durable state that readers see.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Snapshot};

use super::catalogue::Catalogue;
use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::working_set::RowSource;
use crate::model::Timestamp;

/// The newest durable commit with a snapshot of the store at it and the catalogue as of it.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) number: CommitNumber,
    pub(crate) time: Timestamp,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) catalogue: Arc<Catalogue>,
}

impl Published {
    pub(crate) fn get(
        &self,
        keyspace: Keyspace,
        key: &[u8],
    ) -> Result<Option<Bytes>, DataLayerError> {
        Ok(self.snapshot.get(keyspace, key)?.map(Bytes::from))
    }
}

/// A published state as the source of a transaction that checks nothing.
impl RowSource for &Published {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        self.get(keyspace, key)
    }
}
