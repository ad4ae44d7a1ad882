//! Reads and writes that become one commit, or nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::catalogue::SchemaCore;
use super::db_operations::DbOperations;
use super::element_scan::ElementBounds;
use super::error::{CommitError, DataLayerError};
use super::ids::{CommitNumber, WriterId};
use super::overlay::ReadRange;
use super::pipeline::{Durability, Receipt};
use super::published::Published;
use super::read_point::ReadPoint;
use super::repository::Repository;
use super::rows::{FieldAddress, Rows};
use super::working_set::{RowSource, WorkingSet};

/// Reads and writes on one snapshot that become one commit.
///
/// A transaction sees the space as it was when it began, and its own writes. It takes no lock
/// and blocks nobody. [`Transaction::commit`] checks that nothing it has read was changed
/// meanwhile and then writes everything, atomically; otherwise it answers
/// [`CommitError::Conflict`] and has written nothing. Dropping it, or [`Transaction::rollback`],
/// leaves nothing behind either. [`DbOperations::transact`] runs a closure again on a conflict.
///
/// ```
/// use datafold::data_layer::{DatabasePool, Repository, ReadRepository};
/// use datafold::model::{Schema, SchemaName, SchemaState};
///
/// let pool = DatabasePool::open("memory:")?;
/// let note = Schema::parse(r#"{"name": "Note", "fields": {"text": {}}}"#)?.schema;
/// let mut transaction = pool.begin();
/// transaction.insert(pool.schemas(), &note.name, &note)?;
/// assert!(transaction.get(pool.schemas(), &note.name)?.is_some());
/// assert!(!pool.schemas().exists(&note.name)?, "nobody else sees it yet");
/// let receipt = transaction.commit()?;
/// assert_eq!(receipt.commit.0, 1);
/// assert_eq!(pool.schemas().get_state(&note.name)?, Some(SchemaState::Available));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transaction {
    ops: Arc<DbOperations>,
    writer: WriterId,
    pub(crate) state: TransactionState,
}

/// The part of a transaction that code of the layers above works on.
#[derive(Debug)]
pub(crate) struct TransactionState {
    pub(crate) catalogue: Arc<SchemaCore>,
    pub(crate) working: WorkingSet,
    pub(crate) source: RecordingSource,
}

/// A snapshot that keeps a record of what was read from it.
#[derive(Debug)]
pub(crate) struct RecordingSource {
    published: Arc<Published>,
    reads: RefCell<BTreeSet<ReadRange>>,
}

impl RecordingSource {
    /// The state that is read.
    pub(crate) fn point(&self, rows: Rows) -> ReadPoint {
        let published = Arc::clone(&self.published);
        ReadPoint { at: published.number, published, rows }
    }

    /// Records that a range of rows was read.
    pub(crate) fn note_range(&self, keyspace: Keyspace, from: Vec<u8>, to: Option<Vec<u8>>) {
        self.reads.borrow_mut().insert(ReadRange::Range(keyspace, (from, to)));
    }
}

impl TransactionState {
    /// Records that elements of a field were read, up to `last` if the reading ended there.
    pub(crate) fn note_elements(
        &self,
        address: FieldAddress<'_>,
        (lower, upper): ElementBounds,
        last: Option<&[u8]>,
    ) {
        let rows = self.working.rows;
        let whole = |element: &[u8]| rows.element(address, element).to_vec();
        // The key right behind another one is the same with a zero byte.
        let behind = |element: &[u8]| [whole(element).as_slice(), &[0]].concat();
        let from = match lower {
            Bound::Included(element) => whole(&element),
            Bound::Excluded(element) => behind(&element),
            // The row that counts the elements is none.
            Bound::Unbounded => behind(&[]),
        };
        let to = match (last, upper) {
            (Some(last), _) => behind(last),
            (None, Bound::Included(element)) => behind(&element),
            (None, Bound::Excluded(element)) => whole(&element),
            (None, Bound::Unbounded) => rows.elements_end(address),
        };
        self.source.note_range(Keyspace::Elements, from, Some(to));
    }
}

impl RowSource for RecordingSource {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        let row = self.published.get(keyspace, key)?;
        self.reads.get_mut().insert(ReadRange::Row((keyspace, key.clone())));
        Ok(row)
    }

    fn keys(&mut self, scan: &Scan) -> Result<Vec<Bytes>, DataLayerError> {
        let bounds = (scan.lower.clone(), scan.upper.clone());
        // A range that is open at an end is noted as one that reaches further.
        let from = match bounds.0 {
            Bound::Included(from) | Bound::Excluded(from) => from,
            Bound::Unbounded => Vec::new(),
        };
        let to = match bounds.1 {
            Bound::Included(to) => Some([to.as_slice(), &[0]].concat()),
            Bound::Excluded(to) => Some(to),
            Bound::Unbounded => None,
        };
        self.note_range(scan.keyspace, from, to);
        self.published.keys(scan)
    }
}

impl Transaction {
    pub(crate) fn begin(ops: Arc<DbOperations>, writer: WriterId) -> Self {
        let published = ops.pipeline().published();
        let state = TransactionState {
            catalogue: Arc::clone(&published.catalogue),
            working: WorkingSet::new(ops.rows()),
            source: RecordingSource { published, reads: RefCell::default() },
        };
        Self { ops, writer, state }
    }

    /// The commit whose state the transaction sees.
    #[must_use]
    pub fn base(&self) -> CommitNumber {
        self.state.source.published.number
    }

    /// The item as the transaction sees it.
    ///
    /// # Errors
    ///
    /// Those of the repository.
    pub fn get<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
    ) -> Result<Option<T>, DataLayerError> {
        repository.get_in(self, key)
    }

    /// Adds an item that must not exist.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::AlreadyExists`] if it does, and those of the repository.
    pub fn insert<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
        item: &T,
    ) -> Result<(), DataLayerError> {
        if repository.get_in(self, key)?.is_some() {
            return Err(DataLayerError::AlreadyExists {
                what: repository.item_name(),
                name: repository.key_name(key),
                note: None,
            });
        }
        repository.put_in(self, key, item)
    }

    /// Replaces an item that must exist.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] if it does not, and those of the repository.
    pub fn update<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
        item: &T,
    ) -> Result<(), DataLayerError> {
        self.require(repository, key)?;
        repository.put_in(self, key, item)
    }

    /// Adds or replaces an item.
    ///
    /// # Errors
    ///
    /// Those of the repository.
    pub fn upsert<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
        item: &T,
    ) -> Result<(), DataLayerError> {
        repository.put_in(self, key, item)
    }

    /// Removes an item that must exist.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] if it does not, and those of the repository.
    pub fn delete<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
    ) -> Result<(), DataLayerError> {
        self.require(repository, key)?;
        repository.delete_in(self, key)
    }

    /// A precondition: the item must exist, now and when the transaction commits.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] if it does not.
    pub fn require<T, K: ?Sized, R: Repository<T, K>>(
        &mut self,
        repository: &R,
        key: &K,
    ) -> Result<(), DataLayerError> {
        match repository.get_in(self, key)? {
            Some(_) => Ok(()),
            None => {
                Err(DataLayerError::not_found(repository.item_name(), repository.key_name(key)))
            }
        }
    }

    /// Makes everything one commit, and waits until it is durable.
    ///
    /// A transaction that wrote nothing makes no commit.
    ///
    /// # Errors
    ///
    /// - [`CommitError::Conflict`]: something that was read has changed; nothing is written.
    /// - [`CommitError::TooLarge`]: beyond 20,000 rows or 16 MiB; nothing is written.
    /// - [`CommitError::Failed`], [`CommitError::Cascaded`]: nothing is written.
    /// - [`CommitError::Indeterminate`]: open the store again to find out.
    ///
    /// # Durability
    ///
    /// A receipt means that the commit survives the loss of power.
    pub fn commit(self) -> Result<Receipt, CommitError> {
        self.commit_with(Durability::Durable)
    }

    /// As [`Transaction::commit`], waiting only as `durability` says.
    ///
    /// # Errors
    ///
    /// As [`Transaction::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<Receipt, CommitError> {
        let base = self.base();
        let TransactionState { working, source, .. } = self.state;
        let reads = source.reads.into_inner();
        self.ops.pipeline().commit_checked(base, reads.iter(), working, self.writer, durability)
    }

    /// Forgets everything. Dropping the transaction does the same.
    pub fn rollback(self) {
        drop(self);
    }
}
