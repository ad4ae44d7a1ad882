//! Computing the records that were there before their transforms.
//!
//! A thread of the library does it in small commits of its own, so that it can be stopped anywhere
//! and goes on at the next opening. Writes run a transform from the commit on that registered it,
//! so each record has to be looked at once. That is done where commits get their order, on the
//! record as it then is: nobody is in conflict with it, and nothing that it computes is old.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::catalogue_edit::Editor;
use super::error::DataLayerError;
use super::ids::{SchemaId, TransformId, WriterId};
use super::index_build::Progress;
use super::pipeline::{Durability, Execution, Pipeline};
use super::prefetch::Prefetch;
use super::propagation::Propagation;
use super::published::Published;
use super::transform::{CHUNK_RECORDS, Transform, TransformFailure, TransformState};
use super::working_set::{CatalogueWrite, Gathering};

/// Records that are computed by one commit.
struct Chunk {
    records: Vec<Bytes>,
    /// The transforms that have not computed all records, and how far they are then.
    progress: Vec<(TransformId, Progress)>,
    /// Whether there are no more.
    is_last: bool,
}

impl Pipeline {
    /// Computes some records; answers whether there was anything to compute. At most
    /// `chunk_records`, and fewer than there usually are.
    pub(super) fn fill_step(&self, chunk_records: usize) -> Result<bool, DataLayerError> {
        let published = self.published();
        if self.gather_step(&published, chunk_records.min(CHUNK_RECORDS))? {
            return Ok(true);
        }
        let Some((schema, propagation)) = published.catalogue.filling() else { return Ok(false) };
        let limit = chunk_records.min(CHUNK_RECORDS);
        let chunk = self.next_chunk(&published, schema, propagation, limit)?;
        let row = |record: &Bytes| (Keyspace::Records, self.rows.record(schema, record));
        let keys = chunk.records.iter().map(row).collect();
        let prefetch = Prefetch::read(Arc::clone(&published), keys)?;
        let fill = |execution: &mut Execution<'_>| chunk.fill(schema, &mut execution.editor());
        let answer = self.execute(WriterId::OWNER, Durability::Durable, Some(&prefetch), fill);
        answer.map(|_| true)
    }

    /// Adds some records to the groups of aggregates that are not made yet: those that have reached
    /// the same record of the same schema together. Answers whether there was anything to add.
    fn gather_step(
        &self,
        published: &Arc<Published>,
        records_max: usize,
    ) -> Result<bool, DataLayerError> {
        let mut next: Option<Gathering> = None;
        let filling = published.catalogue.computed().filter(|found| found.is_filling());
        for transform in filling {
            for (slot, aggregate) in transform.aggregates().iter().enumerate() {
                let key = self.rows.gathering(transform.id, slot);
                let Some(row) = published.get(Keyspace::Indexes, &key)? else { continue };
                let after = Progress::decode(&row)
                    .map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))?
                    .last;
                let (records, found) = (aggregate.records, (transform.id, slot));
                match &mut next {
                    None => {
                        let aggregates = vec![found];
                        next = Some(Gathering { records, aggregates, after, records_max });
                    }
                    Some(next) if (next.records, &next.after) == (records, &after) => {
                        next.aggregates.push(found);
                    }
                    Some(_) => {}
                }
            }
        }
        let Some(gathering) = next else { return Ok(false) };
        let prefix = self.rows.records(gathering.records);
        let mut scan = Scan::prefix(Keyspace::Records, &prefix).rows(records_max);
        if let Some(after) = &gathering.after {
            scan = scan.after(&self.rows.record(gathering.records, after));
        }
        let keys = published.keys(&scan)?;
        let keys = keys.into_iter().map(|key| (Keyspace::Records, key)).collect();
        let prefetch = Prefetch::read(Arc::clone(published), keys)?;
        let gather = |execution: &mut Execution<'_>| {
            execution.editor().working.background.gathering = Some(gathering.clone());
            Ok::<_, DataLayerError>(())
        };
        self.execute(WriterId::OWNER, Durability::Durable, Some(&prefetch), gather)?;
        Ok(true)
    }

    /// The records behind the one that the slowest transform has reached.
    fn next_chunk(
        &self,
        published: &Published,
        schema: SchemaId,
        propagation: &Propagation,
        limit: usize,
    ) -> Result<Chunk, DataLayerError> {
        let mut progress = Vec::new();
        for transform in propagation.transforms() {
            if transform.state == TransformState::Filling {
                let found = self.fill_progress(published, transform.id)?;
                progress.push((transform.id, found.unwrap_or_default()));
            }
        }
        let last = progress.iter().map(|(_, progress)| progress.last.clone()).min().flatten();
        let prefix = self.rows.records(schema);
        let mut scan = Scan::prefix(Keyspace::Records, &prefix).rows(limit);
        if let Some(last) = &last {
            scan = scan.after(&self.rows.record(schema, last));
        }
        let page = published.snapshot.scan(&scan)?;
        let mut records = Vec::with_capacity(limit);
        for (key, _) in page.rows() {
            let (_, record) = self
                .rows
                .read_record(key)
                .map_err(|error| DataLayerError::key(Keyspace::Records, key, error))?;
            records.push(Bytes::copy_from_slice(record));
        }
        for (_, progress) in &mut progress {
            let is_new = |record: &&Bytes| progress.last.as_ref().is_none_or(|last| last < *record);
            progress.records += records.iter().filter(is_new).count() as u64;
            progress.last = progress.last.take().max(records.last().cloned());
        }
        // The state is set by a commit of its own: one that sets it finds nothing more to fill.
        let is_last = records.is_empty();
        Ok(Chunk { records, progress, is_last })
    }

    fn fill_progress(
        &self,
        published: &Published,
        transform: TransformId,
    ) -> Result<Option<Progress>, DataLayerError> {
        let key = self.rows.index_progress(transform.rows());
        let Some(row) = published.get(Keyspace::Indexes, &key)? else { return Ok(None) };
        let progress = Progress::decode(&row);
        progress.map(Some).map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))
    }

    /// How many of the records that were there before a transform it has looked at.
    pub(crate) fn records_filled(&self, transform: &Transform) -> Result<u64, DataLayerError> {
        let progress = self.fill_progress(&self.published(), transform.id)?;
        Ok(progress.map_or(0, |progress| progress.records))
    }

    /// The records for which a transform has no result, with why, by key; at most `limit`.
    pub(crate) fn failures(
        &self,
        transform: TransformId,
        limit: usize,
    ) -> Result<Vec<(Bytes, TransformFailure)>, DataLayerError> {
        let published = self.published();
        let prefix = self.rows.index(transform.rows());
        let mut scan = Scan::prefix(Keyspace::Indexes, &prefix).rows(limit.min(Scan::ROWS_MAX));
        scan.upper = Bound::Excluded(self.rows.failures_end(transform));
        let page = published.snapshot.scan(&scan)?;
        let failure = |(key, row): (&[u8], &[u8])| {
            let record = Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default());
            let failure = TransformFailure::decode(row)
                .map_err(|error| DataLayerError::row(Keyspace::Indexes, key, error))?;
            Ok((record, failure))
        };
        page.rows().map(failure).collect()
    }
}

impl Chunk {
    fn fill(&self, schema: SchemaId, editor: &mut Editor<'_>) -> Result<(), DataLayerError> {
        for record in &self.records {
            editor.working.record(editor.source, schema, record)?;
            editor.working.background.filling.insert((schema, record.clone()));
        }
        let rows = editor.working.rows;
        let mut ended = Vec::new();
        for (id, progress) in &self.progress {
            // A schema that has no data of its own may have been deleted meanwhile.
            let found = editor.catalogue.transform(*id).cloned();
            let progress_key = rows.index_progress(id.rows());
            let Some(transform) = found.filter(|_| !self.is_last) else {
                editor.working.index_rows.insert(progress_key, None);
                ended.extend(editor.catalogue.transform(*id).cloned());
                continue;
            };
            debug_assert_eq!(transform.records, schema, "the records of a transform stay");
            editor.working.index_rows.insert(progress_key, Some(progress.encode()));
        }
        let mut writes = Vec::with_capacity(ended.len());
        for transform in ended {
            let row = transform.row(TransformState::Ready);
            let write = CatalogueWrite::Put(row.encode().into());
            writes.push((rows.computed_field(transform.id), write));
        }
        if writes.is_empty() { Ok(()) } else { editor.write_all(writes) }
    }
}
