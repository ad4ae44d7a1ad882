//! The head row of a space: what its next batch must follow.

use bytes::Bytes;

use crate::encoding::KeyWriter;
use crate::{Batch, BatchToken, Keyspace, Outcome, Snapshot, SpaceId, StoreError};

/// The last commit of a space, as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the last commit.
    pub number: u64,
    /// The token of the batch that wrote it.
    pub token: BatchToken,
    /// What the layer above keeps in the head row.
    pub payload: Bytes,
}

impl Head {
    /// The key of the head row of a space in [`Keyspace::Head`].
    pub(crate) fn key(space: SpaceId) -> Bytes {
        let mut key = KeyWriter::new();
        key.id(space.0);
        key.finish()
    }

    /// The head row that a batch writes.
    pub(crate) fn row_of(batch: &Batch) -> Bytes {
        let mut row = Vec::with_capacity(24 + batch.head.len());
        row.extend_from_slice(&batch.number.to_be_bytes());
        row.extend_from_slice(&batch.token);
        row.extend_from_slice(&batch.head);
        row.into()
    }

    pub(crate) fn decode(row: Vec<u8>) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupted {
            what: format!("a head row of {} bytes, at least 24 are needed", row.len()),
            source: None,
        };
        let number = row.get(..8).and_then(|b| b.try_into().ok()).ok_or_else(corrupt)?;
        let token = row.get(8..24).and_then(|b| b.try_into().ok()).ok_or_else(corrupt)?;
        Ok(Self {
            number: u64::from_be_bytes(number),
            token,
            payload: Bytes::from(row).slice(24..),
        })
    }

    /// Decides whether a batch may be applied to a store with this head.
    pub(crate) fn check_follows(head: Option<&Head>, batch: &Batch) -> Result<(), Outcome> {
        let number = head.map_or(0, |head| head.number);
        if number == batch.follows {
            return Ok(());
        }
        Err(Outcome::Fenced { head: head.cloned() })
    }
}

/// Reads a head row through any snapshot.
pub(crate) fn read_head(
    snapshot: &(impl Snapshot + ?Sized),
    space: SpaceId,
) -> Result<Option<Head>, StoreError> {
    snapshot.get(Keyspace::Head, &Head::key(space))?.map(Head::decode).transpose()
}
