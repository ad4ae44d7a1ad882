//! Building indexes over the records that are there, and removing the entries of dropped ones.
//!
//! A thread of the library does it in small commits of its own, so that it can be stopped anywhere
//! and goes on at the next opening. Writes keep a building index from the commit on that made it,
//! so each record has to be read once, and a commit that changes it meanwhile wins: the chunk that
//! read it is in conflict and is read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};
use minicbor::{Decoder, Encoder};

use super::catalogue_edit::Editor;
use super::error::{CommitError, DataLayerError};
use super::ids::{SchemaId, WriterId};
use super::index::{DUPLICATES_MAX, Entry, Index, IndexState, decode_pairs, encode_pairs};
use super::overlay::ReadRange;
use super::pipeline::{Durability, Pipeline};
use super::published::Published;
use super::record::{RecordRow, ok};
use super::serialization::RowError;
use super::working_set::{CatalogueWrite, WorkingSet};
use crate::sync::{Condvar, Mutex};

/// At most so many rows are read or removed by a commit of the builder: little enough that a writer
/// who waits behind it hardly notices.
pub(super) const CHUNK_ROWS: usize = 512;
/// How long the builder waits after a commit that failed, for example on a full disk.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts the changes of the catalogue, for those who wait for one.
#[derive(Debug, Default)]
pub(super) struct CatalogueChanges {
    count: Mutex<u64>,
    changed: Condvar,
}

impl CatalogueChanges {
    pub(super) fn count(&self) -> u64 {
        *self.count.lock()
    }

    pub(super) fn tell(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until there were other changes than `seen`, or so long.
    fn wait(&self, seen: u64, at_most: Option<Duration>) {
        let mut count = self.count.lock();
        while *count == seen {
            match at_most {
                None => self.changed.wait(&mut count),
                Some(time) => {
                    self.changed.wait_for(&mut count, time);
                    return;
                }
            }
        }
    }
}

/// How far the building of an index is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Records that were read.
    pub(super) records: u64,
    /// The last of them.
    pub(super) last: Option<Bytes>,
    /// Pairs of records that had the same values when the second was read.
    pub(super) duplicates: Vec<(Bytes, Bytes)>,
}

impl Progress {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        let mut encoder = Encoder::new(&mut out);
        ok(encoder.array(3).and_then(|e| e.u64(self.records)).and_then(|e| match &self.last {
            Some(last) => e.bytes(last),
            None => e.null(),
        }));
        encode_pairs(&mut encoder, &self.duplicates);
        out.into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(3) {
            return Err(RowError::Malformed("progress has three parts"));
        }
        let records = decoder.u64()?;
        let last = decoder.decode::<Option<&minicbor::bytes::ByteSlice>>()?;
        let last = last.map(|last| Bytes::copy_from_slice(last));
        Ok(Self { records, last, duplicates: decode_pairs(&mut decoder)? })
    }
}

impl Pipeline {
    /// The body of the library's thread for indexes.
    pub(crate) fn run_indexer(&self) {
        let mut chunk_rows = CHUNK_ROWS;
        loop {
            // Before the question whether it is closed, so that its closing is not missed.
            let seen = self.catalogue_changes.count();
            if self.is_closed() {
                return;
            }
            match self.index_step(chunk_rows) {
                Ok(true) => chunk_rows = (chunk_rows * 2).min(CHUNK_ROWS),
                Ok(false) => self.catalogue_changes.wait(seen, None),
                // Somebody else was faster, as always where a few records are written all the time.
                // Or it was too much for one commit.
                Err(DataLayerError::Commit(
                    CommitError::Conflict { .. } | CommitError::TooLarge { .. },
                )) if chunk_rows > 1 => chunk_rows /= 2,
                Err(DataLayerError::Commit(CommitError::Conflict { .. })) => {}
                Err(_) if self.halted.get().is_some() => self.catalogue_changes.wait(seen, None),
                Err(_) => self.catalogue_changes.wait(seen, Some(PAUSE)),
            }
        }
    }

    /// Waits until no index over the records of a schema is being built, or the pipeline is
    /// closed or halted.
    pub(crate) fn wait_for_indexes(&self, records: SchemaId) {
        loop {
            let seen = self.catalogue_changes.count();
            let published = self.published();
            let mut kept = published.catalogue.kept_indexes(records).iter();
            if self.is_closed()
                || self.halted.get().is_some()
                || !kept.any(|index| index.state == IndexState::Building)
            {
                return;
            }
            drop(published);
            self.catalogue_changes.wait(seen, Some(PAUSE));
        }
    }

    /// Waits until what is computed in the records of a schema is not behind what it depends on, or
    /// the pipeline is closed or halted.
    pub(crate) fn wait_for_transforms(&self, records: SchemaId) {
        loop {
            let seen = self.catalogue_changes.count();
            let is_behind = Self::is_behind(&self.published(), records);
            if self.is_closed() || self.halted.get().is_some() || !is_behind {
                return;
            }
            self.catalogue_changes.wait(seen, Some(PAUSE));
        }
    }

    /// How many records the building of an index has read.
    pub(crate) fn index_progress(&self, index: &Index) -> Result<u64, DataLayerError> {
        let progress = self.progress(&self.published(), index)?;
        Ok(progress.map_or(0, |progress| progress.records))
    }

    /// Does a part of what is to be done; answers whether there was anything.
    fn index_step(&self, chunk_rows: usize) -> Result<bool, DataLayerError> {
        let published = self.published();
        for index in published.catalogue.indexes() {
            match &index.state {
                IndexState::Ready => continue,
                IndexState::Building => self.build(&published, index, chunk_rows)?,
                IndexState::Dropping => self.remove(&published, index)?,
                // Its entries are there as long as its progress is.
                IndexState::Failed { .. } => match self.progress(&published, index)? {
                    Some(_) => self.remove(&published, index)?,
                    None => continue,
                },
            }
            return Ok(true);
        }
        let is_done = self.queue_step(chunk_rows)? || self.fill_step(chunk_rows)?;
        Ok(is_done || self.retire_step(&published)?)
    }

    fn progress(
        &self,
        published: &Published,
        index: &Index,
    ) -> Result<Option<Progress>, DataLayerError> {
        let key = self.rows.index_progress(index.id);
        let Some(row) = published.get(Keyspace::Indexes, &key)? else { return Ok(None) };
        let progress = Progress::decode(&row);
        progress.map(Some).map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))
    }

    fn build(
        &self,
        published: &Arc<Published>,
        index: &Arc<Index>,
        chunk_rows: usize,
    ) -> Result<(), DataLayerError> {
        let progress = self.progress(published, index)?.unwrap_or_default();
        let mut chunk = Chunk {
            pipeline: self,
            published,
            index,
            reads: vec![ReadRange::Row(self.rows.index_row(index.id))],
            owners: BTreeMap::new(),
            writes: BTreeMap::new(),
            progress,
        };
        let has_read = chunk.read(chunk_rows)?;
        let state = if chunk.progress.duplicates.len() >= DUPLICATES_MAX {
            // There may be more, which are not listed.
            Some(IndexState::Failed { duplicates: chunk.progress.duplicates.clone() })
        } else if has_read {
            None
        } else {
            Some(chunk.last()?)
        };
        let Chunk { reads, mut writes, progress, .. } = chunk;
        let has_ended = state == Some(IndexState::Ready);
        writes.insert(self.rows.index_progress(index.id), (!has_ended).then(|| progress.encode()));
        self.commit_index(published, index, &reads, writes, state)
    }

    fn remove(&self, published: &Arc<Published>, index: &Arc<Index>) -> Result<(), DataLayerError> {
        let scan = Scan::prefix(Keyspace::Indexes, &self.rows.index(index.id)).rows(CHUNK_ROWS);
        let page = published.snapshot.scan(&scan)?;
        let mut writes: BTreeMap<_, _> =
            page.rows().map(|(key, _)| (Bytes::copy_from_slice(key), None)).collect();
        let reads = [ReadRange::Row(self.rows.index_row(index.id))];
        if page.more() {
            return self.commit_index(published, index, &reads, writes, None);
        }
        writes.insert(self.rows.index_progress(index.id), None);
        let state = (index.state == IndexState::Dropping).then_some(IndexState::Dropping);
        self.commit_index(published, index, &reads, writes, state)
    }

    /// Commits entries and the state of their index. One that is dropping has been dropped.
    fn commit_index(
        &self,
        published: &Arc<Published>,
        index: &Arc<Index>,
        reads: &[ReadRange],
        writes: BTreeMap<Bytes, Option<Bytes>>,
        state: Option<IndexState>,
    ) -> Result<(), DataLayerError> {
        let mut working = WorkingSet::new(self.rows);
        working.index_rows = writes;
        let mut catalogue = Arc::clone(&published.catalogue);
        let mut source = &**published;
        let mut editor =
            Editor { catalogue: &mut catalogue, working: &mut working, source: &mut source };
        match state {
            None => {}
            Some(IndexState::Dropping) => {
                editor.write(&self.rows.index_row(index.id), CatalogueWrite::Delete)?;
            }
            Some(state) => editor.set_index(index, state)?,
        }
        let base = published.number;
        let durability = Durability::Durable;
        self.commit_checked(base, reads.iter(), working, WriterId::OWNER, durability)?;
        Ok(())
    }
}

/// Records whose entries become one commit.
struct Chunk<'a> {
    pipeline: &'a Pipeline,
    published: &'a Published,
    index: &'a Index,
    reads: Vec<ReadRange>,
    /// The records of the entries that this chunk takes for one record each.
    owners: BTreeMap<Bytes, Bytes>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    progress: Progress,
}

impl Chunk<'_> {
    /// Reads the next records; answers whether there were any.
    fn read(&mut self, rows_max: usize) -> Result<bool, DataLayerError> {
        let rows = self.pipeline.rows;
        let records = self.index.records;
        let mut scan = Scan::prefix(Keyspace::Records, &rows.records(records)).rows(rows_max);
        if let Some(last) = &self.progress.last {
            scan = scan.after(&rows.record(records, last));
        }
        let page = self.published.snapshot.scan(&scan)?;
        for (key, row) in page.rows() {
            let (_, record) = rows
                .read_record(key)
                .map_err(|error| DataLayerError::key(Keyspace::Records, key, error))?;
            let record = Bytes::copy_from_slice(record);
            self.progress.records += 1;
            self.progress.last = Some(record.clone());
            self.reads.push(ReadRange::Row((Keyspace::Records, Bytes::copy_from_slice(key))));
            let entry = self.entry_of(key, row, &record)?;
            if let Some(other) = self.take(&record, entry)?
                && self.progress.duplicates.len() < DUPLICATES_MAX
            {
                self.progress.duplicates.push((other, record));
            }
        }
        Ok(page.rows().next().is_some())
    }

    /// What becomes of the index when every record was read.
    fn last(&mut self) -> Result<IndexState, DataLayerError> {
        let rows = self.pipeline.rows;
        let mut duplicates = Vec::new();
        for (_, record) in std::mem::take(&mut self.progress.duplicates) {
            // Both may have changed since.
            let key = rows.record(self.index.records, &record);
            self.reads.push(ReadRange::Row((Keyspace::Records, key.clone())));
            let Some(row) = self.published.get(Keyspace::Records, &key)? else { continue };
            let entry = self.entry_of(&key, &row, &record)?;
            if let Some(other) = self.take(&record, entry)? {
                duplicates.push((other, record));
            }
        }
        self.progress.duplicates.clone_from(&duplicates);
        Ok(if duplicates.is_empty() {
            IndexState::Ready
        } else {
            IndexState::Failed { duplicates }
        })
    }

    /// The entry of a record, if it exists.
    fn entry_of(
        &self,
        key: &[u8],
        row: &[u8],
        record: &Bytes,
    ) -> Result<Option<Entry>, DataLayerError> {
        let error = |error| DataLayerError::row(Keyspace::Records, key, error);
        let row = RecordRow::decode(&Bytes::copy_from_slice(row)).map_err(error)?;
        let Some(live) = row.live() else { return Ok(None) };
        let cell = |field| live.cell(field)?.value.as_deref();
        self.index.entry(self.pipeline.rows, record, cell).map(Some).map_err(error)
    }

    /// Writes an entry, or answers which other record has it.
    fn take(
        &mut self,
        record: &Bytes,
        entry: Option<Entry>,
    ) -> Result<Option<Bytes>, DataLayerError> {
        let Some(Entry { key, row }) = entry else { return Ok(None) };
        if !row.is_empty() {
            self.reads.push(ReadRange::Row((Keyspace::Indexes, key.clone())));
            let owner = match self.owners.get(&key) {
                Some(owner) => Some(owner.clone()),
                None => self.published.get(Keyspace::Indexes, &key)?,
            };
            if let Some(owner) = owner.filter(|owner| owner != record) {
                return Ok(Some(owner));
            }
            self.owners.insert(key.clone(), record.clone());
        }
        self.writes.insert(key, Some(row));
        Ok(None)
    }
}
