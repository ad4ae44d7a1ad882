//! Running transforms again for records that are there.

use std::ops::Bound;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::error::DataLayerError;
use super::ids::{SchemaId, TransformId, WriterId};
use super::pipeline::{Durability, Execution, Pipeline, Receipt};
use super::prefetch::Prefetch;
use super::read_point::ReadPoint;
use super::transform::Transform;
use super::transform_queue::rows_of;

impl Pipeline {
    /// Runs a transform for some records in one commit, on the records as they are then; what has
    /// the result already is not written. Records that do not exist are passed over.
    pub(crate) fn run_again(
        &self,
        transform: &Transform,
        records: &[Bytes],
    ) -> Result<Receipt, DataLayerError> {
        let rows = |record| rows_of(self.rows, transform, record);
        let keys = records.iter().flat_map(rows).collect();
        let prefetch = Prefetch::read(self.published(), keys)?;
        let run = |execution: &mut Execution<'_>| {
            let editor = execution.editor();
            for record in records {
                editor.working.record(editor.source, transform.records, record)?;
                let name = (transform.records, record.clone());
                editor.working.background.due.insert((name, transform.id));
            }
            Ok::<_, DataLayerError>(())
        };
        let answer = self.execute(WriterId::OWNER, Durability::Durable, Some(&prefetch), run);
        answer.map(|((), receipt)| receipt)
    }

    /// The records behind `after` for which a transform has no result, by key; at most `limit`.
    pub(crate) fn failing_after(
        &self,
        transform: TransformId,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Bytes>, DataLayerError> {
        let prefix = self.rows.index(transform.rows());
        let mut scan = Scan::prefix(Keyspace::Indexes, &prefix).rows(limit);
        scan.upper = Bound::Excluded(self.rows.failures_end(transform));
        if let Some(after) = after {
            scan = scan.after(&self.rows.failure(transform, after));
        }
        let page = self.published().snapshot.scan(&scan)?;
        let record =
            |key: &[u8]| Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default());
        Ok(page.rows().map(|(key, _)| record(key)).collect())
    }
}

impl ReadPoint {
    /// The keys of records of a schema behind `after`, deleted ones included; at most `limit`.
    pub(crate) fn records_after(
        &self,
        schema: SchemaId,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Bytes>, DataLayerError> {
        let prefix = self.rows.records(schema);
        let mut scan = Scan::prefix(Keyspace::Records, &prefix).rows(limit);
        if let Some(after) = after {
            scan = scan.after(&self.rows.record(schema, after));
        }
        let page = self.published.snapshot.scan(&scan)?;
        let record =
            |key: &[u8]| Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default());
        Ok(page.rows().map(|(key, _)| record(key)).collect())
    }
}
