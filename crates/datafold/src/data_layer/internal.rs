//! What the layers above use of the data layer's inside.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::error::DataLayerError;
use super::ids::SchemaId;
use super::published::Published;
use super::rows::Rows;
use super::serialization::RowError;
use crate::model::{RecordKey, Value, decode_value};

pub(crate) use super::catalogue::Projection;
pub(crate) use super::catalogue_edit::Editor;
pub(crate) use super::layout::CellPlace;
pub(crate) use super::pipeline::Execution;
pub(crate) use super::read_point::{ReadPoint, RecordAt};
pub(crate) use super::ticket::Ticket;
pub(crate) use super::verify::verify;
pub(crate) use super::working_set::{Draft, FieldWrites};

/// Record rows that were read before the writer lock was taken, with the state they are from.
#[derive(Debug)]
pub(crate) struct Prefetch {
    pub(crate) published: Arc<Published>,
    pub(crate) rows: HashMap<Bytes, Option<Bytes>>,
}

impl Prefetch {
    pub(crate) fn read<'a>(
        published: Arc<Published>,
        rows: Rows,
        records: impl Iterator<Item = (SchemaId, &'a RecordKey)>,
    ) -> Result<Self, DataLayerError> {
        let mut read = HashMap::new();
        for (schema, record) in records {
            let key = rows.record(schema, record.as_bytes());
            let row = published.get(Keyspace::Records, &key)?;
            read.insert(key, row);
        }
        Ok(Self { published, rows: read })
    }
}

/// Decodes the value of a cell outside its row.
pub(crate) fn decode_cell(raw: &[u8]) -> Result<Value, DataLayerError> {
    decode_value(raw)
        .map_err(|error| DataLayerError::row(Keyspace::Records, &[], RowError::from(error)))
}
