//! Computing what was more than a commit may compute.
//!
//! What is left is a row for each transform and each record that changed, however many records
//! depend on that. The thread of the library that fills does it in commits of bounded size, the
//! transforms first whose results others read, and goes on after a restart.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::asked::{Task, TaskProgress};
use super::catalogue_edit::Editor;
use super::error::DataLayerError;
use super::ids::{SchemaId, TransformId, WriterId};
use super::pipeline::{Durability, Execution, Pipeline};
use super::prefetch::Prefetch;
use super::propagate::dependents;
use super::published::Published;
use super::rows::{FieldAddress, Rows};
use super::transform::{CHUNK_RECORDS, Finder, Transform};

/// A part of a task that is done by one commit.
struct TaskPart {
    key: Bytes,
    /// The row as it was found: if it is another one when the commit is made, more is to be done.
    row: Bytes,
    records: Vec<Bytes>,
    /// The last record that is done then; `None` if the task is.
    last: Option<Bytes>,
}

impl Pipeline {
    /// Computes some of what is queued; answers whether there was anything.
    pub(super) fn queue_step(&self, chunk_records: usize) -> Result<bool, DataLayerError> {
        let published = self.published();
        let catalogue = &published.catalogue;
        let queued = published.queued.iter().filter_map(|id| catalogue.transform(*id));
        let mut queued: Vec<_> = queued.collect();
        queued.sort_by_key(|found| (catalogue.graph().level(found.id), found.id));
        for transform in queued {
            let limit = chunk_records.min(CHUNK_RECORDS);
            let parts = self.next_parts(&published, transform, limit)?;
            if parts.is_empty() {
                continue;
            }
            let records = parts.iter().flat_map(|part| &part.records);
            let rows = records.flat_map(|record| rows_of(self.rows, transform, record));
            let prefetch = Prefetch::read(Arc::clone(&published), rows.collect())?;
            let run =
                |execution: &mut Execution<'_>| take_up(&parts, transform, &mut execution.editor());
            self.execute(WriterId::OWNER, Durability::Durable, Some(&prefetch), run)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The next parts of the tasks of a transform, with at most so many records together.
    fn next_parts(
        &self,
        published: &Published,
        transform: &Transform,
        records_max: usize,
    ) -> Result<Vec<TaskPart>, DataLayerError> {
        let prefix = self.rows.tasks(transform.id);
        let scan = Scan::prefix(Keyspace::Indexes, &prefix).rows(records_max);
        let page = published.snapshot.scan(&scan)?;
        let (mut parts, mut left) = (Vec::new(), records_max);
        for (key, row) in page.rows() {
            if left == 0 {
                break;
            }
            let error = |error| DataLayerError::row(Keyspace::Indexes, key, error);
            let task = Task::read(key.get(prefix.len()..).unwrap_or_default()).map_err(error)?;
            let progress = TaskProgress::decode(row).map_err(error)?;
            let (records, is_done) =
                self.next_records(published, transform, &task, progress.last, left)?;
            // A task without records is taken up as well: it ends.
            left = left.saturating_sub(records.len().max(1));
            parts.push(TaskPart {
                key: Bytes::copy_from_slice(key),
                row: Bytes::copy_from_slice(row),
                last: if is_done { None } else { records.last().cloned() },
                records,
            });
        }
        Ok(parts)
    }

    /// The next records of a task, and whether there are no more.
    fn next_records(
        &self,
        published: &Published,
        transform: &Transform,
        task: &Task,
        last: Option<Bytes>,
        records_max: usize,
    ) -> Result<(Vec<Bytes>, bool), DataLayerError> {
        let (finder, prefix) = match task {
            Task::Record(record) => return Ok((vec![record.clone()], true)),
            Task::All => (Finder::One, self.rows.records(transform.records)),
            Task::Askers(schema, asked) => {
                (Finder::Lookup, self.rows.askers(transform.id, *schema, asked))
            }
        };
        let mut scan = dependents(finder, &prefix).rows(records_max);
        if let Some(last) = last {
            scan = scan.after(&[&prefix, &last[..]].concat());
        }
        let keys = published.keys(&scan)?;
        let is_done = keys.len() < records_max;
        Ok((keys.into_iter().map(|key| key.slice(prefix.len()..)).collect(), is_done))
    }

    /// Whether a transform or one whose result it depends on has something left to compute.
    pub(crate) fn is_stale(published: &Published, transform: TransformId) -> bool {
        let catalogue = &published.catalogue;
        if published.queued.is_empty() && !catalogue.replaces_any() {
            return false;
        }
        let upstream = catalogue.upstream(transform);
        upstream
            .iter()
            .any(|found| published.queued.contains(&found.id) || catalogue.is_replacing(found))
    }

    /// Whether what is computed in the records of a schema is not yet what it will be: the
    /// transforms there, or such as they depend on, have records to compute.
    pub(super) fn is_behind(published: &Published, records: SchemaId) -> bool {
        let catalogue = &published.catalogue;
        if published.queued.is_empty() && catalogue.filling().is_none() {
            return false;
        }
        let of_schema = catalogue.propagation(records);
        let of_schema = of_schema.into_iter().flat_map(|found| found.transforms().iter());
        let mut upstream = of_schema.flat_map(|found| catalogue.upstream(found.id));
        upstream.any(|found| found.is_filling() || published.queued.contains(&found.id))
    }
}

/// Puts the records of tasks that are still as they were found on the list of what is due.
fn take_up(
    parts: &[TaskPart],
    transform: &Transform,
    editor: &mut Editor<'_>,
) -> Result<(), DataLayerError> {
    // It may have been retired meanwhile.
    if editor.catalogue.transform(transform.id).is_none() {
        return Ok(());
    }
    for part in parts {
        if editor.source.read(Keyspace::Indexes, &part.key)?.as_ref() != Some(&part.row) {
            continue;
        }
        for record in &part.records {
            editor.working.record(editor.source, transform.records, record)?;
            let name = (transform.records, record.clone());
            editor.working.background.due.insert((name, transform.id));
        }
        let progress = part.last.clone().map(Some);
        editor.working.background.tasks.insert(part.key.clone(), (transform.id, progress));
    }
    Ok(())
}

/// The rows that computing a record reads.
pub(super) fn rows_of<'t>(
    rows: Rows,
    transform: &'t Transform,
    record: &'t Bytes,
) -> impl Iterator<Item = (Keyspace, Bytes)> + 't {
    let groups = 0..transform.aggregates().len();
    let groups = groups.map(move |slot| rows.group(transform.id, slot, record));
    let groups = groups.map(|key| (Keyspace::Indexes, key));
    let asked = transform.looks_up().then(|| rows.asked(transform.id, record));
    let own = (Keyspace::Records, rows.record(transform.records, record));
    let elements = transform.gives_elements().then(|| {
        let (schema, field) = (transform.records, transform.output);
        (Keyspace::Elements, rows.element_count(FieldAddress { schema, record, field }))
    });
    std::iter::once(own)
        .chain(elements)
        .chain(asked.map(|key| (Keyspace::Indexes, key)))
        .chain(groups)
}
