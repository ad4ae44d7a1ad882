//! What a commit writes to indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::draft::Draft;
use super::error::{CommitError, DataLayerError};
use super::failure::unreadable;
use super::ids::FieldId;
use super::index::{Entry, Index};
use super::rows::Rows;
use super::working_set::RowSource;
use crate::model::RecordKey;

/// The entries that the records of a commit leave and take.
#[derive(Debug, Default)]
pub(super) struct IndexWrites {
    /// The entries of single records that are left, with the record.
    left: BTreeMap<Bytes, Bytes>,
    taken: BTreeMap<Bytes, Taken>,
    /// Entries that tell the record in their key, and whether they are there afterwards.
    shared: BTreeMap<Bytes, bool>,
}

/// An entry of a single record.
#[derive(Debug)]
struct Taken {
    index: Arc<Index>,
    record: Bytes,
    /// Another record that takes it too.
    also: Option<Bytes>,
}

impl IndexWrites {
    /// Adds what becomes of the entry of a record.
    pub(super) fn record(
        &mut self,
        rows: Rows,
        index: &Arc<Index>,
        record: &Bytes,
        draft: &Draft,
    ) -> Result<(), DataLayerError> {
        let error = |error| DataLayerError::row(Keyspace::Records, record, error);
        let before = draft.found_live().map(|live| {
            let cell = |field: FieldId| live.cell(field)?.value.as_deref();
            index.entry(rows, record, cell)
        });
        let after = draft.exists().then(|| {
            let cell = |field: FieldId| draft.value(field).map(|raw| &raw[..]);
            index.entry(rows, record, cell)
        });
        let (before, after) =
            (before.transpose().map_err(error)?, after.transpose().map_err(error)?);
        if before == after {
            return Ok(());
        }
        if let Some(Entry { key, row }) = before {
            if row.is_empty() {
                self.shared.insert(key, false);
            } else {
                self.left.insert(key, row);
            }
        }
        if let Some(Entry { key, row }) = after {
            if row.is_empty() {
                self.shared.insert(key, true);
            } else {
                let taken = Taken { index: Arc::clone(index), record: row.clone(), also: None };
                let first = self.taken.entry(key).or_insert(taken);
                if first.record != row {
                    first.also = Some(row);
                }
            }
        }
        Ok(())
    }

    /// Checks the entries of single records against those that are there, and writes all.
    pub(super) fn finish(
        self,
        newest: &mut dyn RowSource,
        writes: &mut Vec<(BatchKey, Option<Bytes>)>,
    ) -> Result<(), CommitError> {
        let Self { left, taken, shared } = self;
        let mut owner = |key: &Bytes| newest.read(Keyspace::Indexes, key).map_err(unreadable);
        for (key, record) in &left {
            // While the index is built, the entry may be another record's.
            if !taken.contains_key(key) && owner(key)?.as_ref() == Some(record) {
                writes.push(((Keyspace::Indexes, key.clone()), None));
            }
        }
        for (key, Taken { index, record, also }) in taken {
            let found = owner(&key)?.filter(|found| left.get(&key) != Some(found));
            if let Some(other) = also.or(found).filter(|other| *other != record) {
                return Err(duplicate(&index, record, other));
            }
            writes.push(((Keyspace::Indexes, key), Some(record)));
        }
        for (key, is_there) in shared {
            writes.push(((Keyspace::Indexes, key), is_there.then(Bytes::new)));
        }
        Ok(())
    }
}

fn duplicate(index: &Index, record: Bytes, other: Bytes) -> CommitError {
    CommitError::Duplicate {
        schema: index.schema.clone(),
        index: index.to_string(),
        record: RecordKey::from_bytes(record).to_string(),
        other: RecordKey::from_bytes(other).to_string(),
    }
}
