//! What the layers above use of the data layer's inside.

use datafold_store::Keyspace;

use super::error::DataLayerError;
use super::serialization::RowError;
use crate::model::{CodecError, Value, decode_value, decode_value_into};

pub(crate) use datafold_store::encoding::part_region;

pub(crate) use super::aggregate_groups::GatheredGroups;
pub(crate) use super::catalogue::{Projection, read_state};
pub(crate) use super::catalogue_edit::Editor;
pub(crate) use super::commit::{
    Change as Logged, ChangeKind as LoggedKind, FailureChange as LoggedFailure,
};
pub(crate) use super::comparison::{ElementSides, changed_since};
pub(crate) use super::derived::check_derived;
pub(crate) use super::draft::{Draft, FieldWrites};
pub(crate) use super::element::ElementCell;
pub(crate) use super::element_input::Elements;
pub(crate) use super::element_scan::{ElementBounds, ElementScan};
#[cfg(test)]
pub(crate) use super::index::entry_part;
pub(crate) use super::index::{
    Index, IndexPart, IndexState, TEXT_BYTES_MAX as INDEX_TEXT_BYTES, text_part as index_text,
};
pub(crate) use super::layout::CellPlace;
pub(crate) use super::lineage::Tracer;
pub(crate) use super::pipeline::{Execution, Pipeline};
pub(crate) use super::plain_row::{locate_plain, project_plain};
pub(crate) use super::prefetch::{Planned, Prefetch};
pub(crate) use super::propagation::Cause;
pub(crate) use super::publication::Deadline;
pub(crate) use super::published::Published;
pub(crate) use super::read_point::{ReadPoint, RecordAt};
pub(crate) use super::record::RecordRow;
pub(crate) use super::rows::{BEHIND_PARTS, CatalogueKind, FieldAddress, Rows};
pub(crate) use super::ticket::Ticket;
pub(crate) use super::transform::{CHUNK_RECORDS, Evaluation, OtherRecords, Target};
pub(crate) use super::verify::verify;
pub(crate) use super::working_set::{ElementName, RowSource, WorkingSet};

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
