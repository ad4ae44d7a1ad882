//! What the layers above use of the data layer's inside.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace};

use super::error::DataLayerError;
pub(crate) use super::published::Published;
use super::serialization::RowError;
use crate::model::{CodecError, Value, decode_value, decode_value_into};

pub(crate) use datafold_store::encoding::part_region;

pub(crate) use super::catalogue::{Projection, read_state};
pub(crate) use super::catalogue_edit::Editor;
pub(crate) use super::commit::{
    Change as Logged, ChangeKind as LoggedKind, FailureChange as LoggedFailure,
};
pub(crate) use super::comparison::{ElementSides, changed_since};
pub(crate) use super::derived::check_derived;
pub(crate) use super::draft::{Draft, FieldWrites};
pub(crate) use super::element::ElementCell;
pub(crate) use super::element_scan::{ElementBounds, ElementScan};
#[cfg(test)]
pub(crate) use super::index::entry_part;
pub(crate) use super::index::{
    Index, IndexPart, IndexState, TEXT_BYTES_MAX as INDEX_TEXT_BYTES, text_part as index_text,
};
pub(crate) use super::layout::CellPlace;
pub(crate) use super::lineage::Tracer;
pub(crate) use super::pipeline::Execution;
pub(crate) use super::plain_row::{locate_plain, project_plain};
pub(crate) use super::propagation::Cause;
pub(crate) use super::publication::Deadline;
pub(crate) use super::read_point::{ReadPoint, RecordAt};
pub(crate) use super::record::RecordRow;
pub(crate) use super::rows::{BEHIND_PARTS, CatalogueKind, FieldAddress, Rows};
pub(crate) use super::ticket::Ticket;
pub(crate) use super::transform::Evaluation;
pub(crate) use super::verify::verify;
pub(crate) use super::working_set::{ElementName, RowSource, WorkingSet};

/// Rows that were read before the writer lock was taken, with the state they are from.
#[derive(Debug)]
pub(crate) struct Prefetch {
    pub(crate) published: Arc<Published>,
    pub(crate) rows: HashMap<BatchKey, Option<Bytes>>,
}

impl Prefetch {
    /// Reads some rows at once.
    pub(crate) fn read(
        published: Arc<Published>,
        mut keys: Vec<BatchKey>,
    ) -> Result<Self, DataLayerError> {
        keys.sort_unstable();
        keys.dedup();
        let wanted: Vec<_> = keys.iter().map(|(keyspace, key)| (*keyspace, &key[..])).collect();
        let found = published.snapshot.get_many(&wanted)?;
        let rows = keys.into_iter().zip(found.into_iter().map(|row| row.map(Bytes::from)));
        Ok(Self { published, rows: rows.collect() })
    }
}

/// As [`decode_cell`], in the place of another value.
pub(crate) fn decode_cell_into(raw: &[u8], value: &mut Value) -> Result<(), DataLayerError> {
    decode_value_into(raw, value)
        .map_err(|error| DataLayerError::row(Keyspace::Records, &[], RowError::from(error)))
}

/// Decodes the value of a cell outside its row.
pub(crate) fn decode_cell(raw: &[u8]) -> Result<Value, DataLayerError> {
    decode_value(raw)
        .map_err(|error| DataLayerError::row(Keyspace::Records, &[], RowError::from(error)))
}

/// The value of a cell does not decode.
pub(crate) fn cell_error(error: CodecError) -> DataLayerError {
    DataLayerError::row(Keyspace::Records, &[], RowError::from(error))
}
