//! One atomic change of a store.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Keyspace, SpaceId};

/// A random number that tells one batch from every other, so that an unknown outcome can be
/// looked up in the head that it would have written.
pub type BatchToken = [u8; 16];

/// The full name of a row.
pub type BatchKey = (Keyspace, Bytes);

/// Puts and deletes that are applied together or not at all.
///
/// A batch moves the head of one space from `follows` to `number`. It holds each row at most once:
/// the last put or delete of a key wins.
///
/// # Cost
///
/// Keys and values are reference-counted; cloning a batch copies no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The space whose head moves.
    pub space: SpaceId,
    /// The head number that the batch follows; 0 for a space without commits.
    pub follows: u64,
    /// The head number after the batch; larger than `follows`.
    pub number: u64,
    /// What tells this batch from any other.
    pub token: BatchToken,
    /// What the layer above keeps in the head row.
    pub head: Bytes,
    writes: BTreeMap<BatchKey, Option<Bytes>>,
}

impl Batch {
    /// An empty batch that moves the head of `space` from `follows` to `number`.
    #[must_use]
    pub fn new(space: SpaceId, follows: u64, number: u64, token: BatchToken) -> Self {
        Self { space, follows, number, token, head: Bytes::new(), writes: BTreeMap::new() }
    }

    /// Writes a row, replacing what the batch or the store holds under the key.
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.insert((keyspace, key.into()), Some(value.into()));
    }

    /// Removes a row; removing a missing row is not an error.
    pub fn delete(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.writes.insert((keyspace, key.into()), None);
    }

    /// Writes (`Some`) or removes (`None`) a row.
    pub fn write(&mut self, key: BatchKey, value: Option<Bytes>) {
        self.writes.insert(key, value);
    }

    /// The rows in keyspace and key order; `None` is a delete.
    pub fn writes(&self) -> impl Iterator<Item = (Keyspace, &Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|((keyspace, key), value)| (*keyspace, key, value.as_ref()))
    }

    /// The number of rows written or removed, the head row not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether the batch moves the head and nothing else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}
