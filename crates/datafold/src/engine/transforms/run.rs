//! Computing again.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::super::error::FoldDbError;
use super::super::fold_db::FoldDb;
use super::super::query::key_of;
use crate::data_layer::internal::CHUNK_RECORDS;
use crate::data_layer::{CommitNumber, DataLayerError, Transform};
use crate::model::{FieldName, RecordKey, SchemaName, Value};

/// For which records a transform runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunScope {
    /// All that there are.
    All,
    /// Those with these keys.
    Keys(Vec<Vec<Value>>),
    /// Those for which it has no result at present.
    Failing,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// Records for which the transform ran.
    pub records: u64,
    /// Atoms that were written: new results, and what follows from them.
    pub atoms: u64,
    /// Commits that were made.
    pub commits: u64,
    /// For how many records the transform has no result at present.
    pub failing: u64,
    /// The last of the commits; the newest one if there was nothing to write.
    pub commit: CommitNumber,
}

impl FoldDb {
    /// Runs a transform again, with all that follows from its results, in commits of at most 128
    /// records. `progress` hears of each commit and may end the run. A result that is what the
    /// field has writes nothing, so that a run can be repeated any number of times. A failure is
    /// recorded and refuses nothing.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for a field that is not computed, and for a key without record;
    /// [`FoldDbError::Query`] for a wrong key; [`FoldDbError::DataLayer`] for a commit that failed:
    /// those before it are made.
    ///
    /// # Durability
    ///
    /// As [`FoldDb::mutate`].
    ///
    /// # Cost
    ///
    /// A row and an evaluation for each record.
    pub fn run_transform(
        &self,
        schema: &SchemaName,
        field: &FieldName,
        scope: &RunScope,
        mut progress: impl FnMut(&RunReport) -> ControlFlow<()>,
    ) -> Result<RunReport, FoldDbError> {
        let transform = self.transform_of(schema, field)?;
        let mut run = Run { db: self, transform, report: RunReport::default() };
        match scope {
            RunScope::Keys(keys) => {
                let records = run.records_of(schema, keys)?;
                for chunk in records.chunks(CHUNK_RECORDS) {
                    run.chunk(chunk)?;
                    if progress(&run.report).is_break() {
                        break;
                    }
                }
            }
            RunScope::All | RunScope::Failing => {
                let mut last = None;
                loop {
                    let records = run.next(scope, last.as_ref())?;
                    let Some(reached) = records.last().cloned() else { break };
                    run.chunk(&records)?;
                    last = Some(reached);
                    if progress(&run.report).is_break() {
                        break;
                    }
                }
            }
        }
        let mut report = run.report;
        let counters = self.pool().operations().pipeline().counters();
        report.failing = counters.get(&run.transform.id.counter()).map_or(0, |of| of.records);
        report.commit = self.pool().operations().head().0;
        Ok(report)
    }

    /// The transform of a field.
    pub(super) fn transform_of(
        &self,
        schema: &SchemaName,
        field: &FieldName,
    ) -> Result<Arc<Transform>, FoldDbError> {
        let core = self.schemas().core();
        core.get(schema.as_str()).ok_or_else(|| DataLayerError::not_found("schema", schema))?;
        let full = format!("{schema}.{field}");
        let transform = core.transform_of(&full).cloned();
        Ok(transform.ok_or_else(|| DataLayerError::not_found("transform", full))?)
    }
}

struct Run<'a> {
    db: &'a FoldDb,
    transform: Arc<Transform>,
    report: RunReport,
}

impl Run<'_> {
    fn records_of(
        &self,
        schema: &SchemaName,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Bytes>, FoldDbError> {
        let point = self.db.pool().operations().now();
        let entry = point.published.catalogue.get(schema.as_str());
        let entry = entry.ok_or_else(|| DataLayerError::not_found("schema", schema))?;
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            let key: RecordKey = key_of(entry, key)?;
            if point.birth(self.transform.records, key.as_bytes())?.is_none() {
                let name = format!("{key} of {schema}");
                return Err(DataLayerError::not_found("record", name).into());
            }
            records.push(key.bytes().clone());
        }
        Ok(records)
    }

    fn next(&self, scope: &RunScope, after: Option<&Bytes>) -> Result<Vec<Bytes>, FoldDbError> {
        let ops = self.db.pool().operations();
        Ok(match scope {
            RunScope::Failing => {
                ops.pipeline().failing_after(self.transform.id, after, CHUNK_RECORDS)?
            }
            _ => ops.now().records_after(self.transform.records, after, CHUNK_RECORDS)?,
        })
    }

    /// Runs for some records in one commit. Deleted ones are passed over there.
    fn chunk(&mut self, records: &[Bytes]) -> Result<(), FoldDbError> {
        let pipeline = self.db.pool().operations().pipeline();
        let before = self.db.pool().operations().head().0;
        let receipt = pipeline.run_again(&self.transform, records)?;
        self.report.records += records.len() as u64;
        self.report.atoms += u64::from(receipt.atoms);
        // Without a commit the answer names the last one before.
        self.report.commits += u64::from(receipt.atoms > 0 || receipt.commit > before);
        self.report.commit = receipt.commit;
        Ok(())
    }
}
