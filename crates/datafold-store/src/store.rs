//! The interface that every engine has.

use std::fmt;
use std::sync::Arc;

use crate::{Batch, Head, Snapshot, StoreError, StoreId};

/// What became of a batch.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The whole batch is durable, and every snapshot taken from now on shows it.
    Accepted,
    /// The space has another head than the batch follows. Nothing was changed.
    Fenced {
        /// The head that the space has.
        head: Option<Head>,
    },
    /// Nothing was changed, and nothing will be.
    Failed(StoreError),
    /// The batch may or may not be durable. The store refuses every further batch until it is
    /// opened again; the head then tells by its token what happened.
    Indeterminate(StoreError),
}

/// What a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// The URL that opens the store again.
    pub url: String,
    /// The name of the engine, the scheme of the URL.
    pub engine: &'static str,
    /// The identity given at creation.
    pub id: StoreId,
    /// The format of the rows.
    pub format_version: u32,
}

/// An ordered, transactional key-value store.
///
/// All engines pass one conformance suite with no case that differs by engine.
pub trait Store: Send + Sync + fmt::Debug {
    /// What the store is.
    fn info(&self) -> &StoreInfo;

    /// A view of the store as it is now; after an [`Outcome::Indeterminate`], as it was before
    /// that batch, until the store is opened again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] after [`Store::close`]; [`StoreError::Io`] and
    /// [`StoreError::Corrupted`] when the engine cannot read.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Applies a batch: atomically across keyspaces, and only if it follows the head it names.
    ///
    /// # Durability
    ///
    /// [`Outcome::Accepted`] means that the batch survives the loss of power.
    ///
    /// # Cost
    ///
    /// One sync, whatever the number of rows. Now and then an engine with a log takes over what
    /// that holds, which costs as much as it holds.
    fn apply(&self, batch: &Batch) -> Outcome;

    /// Bytes that the store occupies, on disk where it has one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] and [`StoreError::Io`].
    fn size_bytes(&self) -> Result<u64, StoreError>;

    /// Releases the files and the lock. Snapshots that are still held go on answering; then the
    /// last of them releases both when it is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the engine could not write its closing state; what was accepted is
    /// durable all the same. Closing twice is not an error.
    fn close(&self) -> Result<(), StoreError>;
}
