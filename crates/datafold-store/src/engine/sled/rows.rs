//! Rows as sled has them: one tree, in which the tag of the keyspace is the first byte of the key.

use std::ops::Bound;

use bytes::Bytes;
use sled::{IVec, Tree};

use super::failure::engine_error;
use crate::identity::{IDENTITY_KEY, Identity};
use crate::{Batch, Head, Keyspace, SpaceId, StoreError};

/// The row that says which generation of the commit log stands behind the state. No keyspace has
/// the tag 0.
pub(super) const GENERATION_KEY: &[u8] = b"\0generation";
/// The first key of the keyspaces.
pub(super) const FIRST_KEY: &[u8] = &[1];

/// The key of a row in the tree.
pub(super) fn tagged(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(key.len() + 1);
    tagged.push(keyspace as u8);
    tagged.extend_from_slice(key);
    tagged
}

/// The bounds of a range of a keyspace in the tree.
pub(super) fn tagged_bounds(
    keyspace: Keyspace,
    (lower, upper): (Bound<&[u8]>, Bound<&[u8]>),
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let lower = match lower {
        Bound::Unbounded => Bound::Included(vec![keyspace as u8]),
        bound => bound.map(|key| tagged(keyspace, key)),
    };
    let upper = match upper {
        Bound::Unbounded => Bound::Excluded(vec![keyspace as u8 + 1]),
        bound => bound.map(|key| tagged(keyspace, key)),
    };
    (lower, upper)
}

/// The rows that a batch writes, by their keys in the tree. That of the head comes first, so
/// that a write of the batch to the same key wins, as everywhere.
pub(super) fn rows_of(batch: &Batch) -> Vec<(Vec<u8>, Option<Bytes>)> {
    let head_key = tagged(Keyspace::Head, &Head::key(batch.space));
    let writes =
        batch.writes().map(|(keyspace, key, value)| (tagged(keyspace, key), value.cloned()));
    let writes: Vec<_> = writes.collect();
    let mut rows = Vec::with_capacity(writes.len() + 1);
    if !writes.iter().any(|(key, _)| *key == head_key) {
        rows.push((head_key, Some(Head::row_of(batch))));
    }
    rows.extend(writes);
    rows
}

/// The value under a key of the tree, as it is now.
pub(super) fn get(tree: &Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
    tree.get(key).map_err(|error| engine_error("read a row", error))
}

/// Writes or removes a row.
pub(super) fn put(tree: &Tree, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
    let put = match value {
        Some(value) => tree.insert(key, value),
        None => tree.remove(key),
    };
    put.map(drop).map_err(|error| engine_error("write a row", error))
}

pub(super) fn read_head(tree: &Tree, space: SpaceId) -> Result<Option<Head>, StoreError> {
    let row = get(tree, &tagged(Keyspace::Head, &Head::key(space)))?;
    row.map(|row| Head::decode(row.to_vec())).transpose()
}

pub(super) fn read_identity(tree: &Tree) -> Result<Option<Identity>, StoreError> {
    let row = get(tree, &tagged(Keyspace::Head, IDENTITY_KEY))?;
    row.map(|row| Identity::decode(&row)).transpose()
}

pub(super) fn read_generation(tree: &Tree) -> Result<Option<u64>, StoreError> {
    let row = get(tree, GENERATION_KEY)?;
    Ok(row.and_then(|row| row.as_ref().try_into().ok()).map(u64::from_be_bytes))
}

pub(super) fn write_generation(tree: &Tree, generation: u64) -> Result<(), StoreError> {
    put(tree, GENERATION_KEY, Some(&generation.to_be_bytes()))
}

/// What one row adds to the sum over all rows. The order of rows does not matter to the sum, so
/// each change of a row changes it at once.
pub(super) fn share_of(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let mut share = [0; 16];
    hasher.finalize_xof().fill(&mut share);
    u128::from_be_bytes(share)
}

/// The sum over all rows of the keyspaces. Reads, and so checks, everything that sled holds.
pub(super) fn sum_all(tree: &Tree) -> Result<u128, StoreError> {
    let mut sum = 0_u128;
    for row in tree.range(FIRST_KEY..) {
        let (key, value) = row.map_err(|error| engine_error("read all rows", error))?;
        sum = sum.wrapping_add(share_of(&key, &value));
    }
    Ok(sum)
}
