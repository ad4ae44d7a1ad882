//! Why a group of commits was not committed, and what that means for others.

use std::sync::Arc;

use datafold_store::StoreError;

use super::error::{CommitError, DataLayerError};
use super::ids::CommitNumber;

/// Why nothing can be committed until the store is opened again.
#[derive(Debug)]
pub(crate) struct Halt {
    /// What happened to the first commit of the group: what may have become durable is not known.
    pub(crate) cause: CommitError,
    /// The answer to every commit since.
    pub(crate) refusal: CommitError,
}

/// Why a group was not committed.
#[derive(Debug)]
pub(crate) enum Failure {
    Failed(Arc<StoreError>),
    Indeterminate(Arc<StoreError>),
    Fenced(CommitNumber),
}

impl Failure {
    pub(crate) fn failed(error: StoreError) -> Self {
        Failure::Failed(Arc::new(error))
    }

    pub(crate) fn of_group(&self, number: CommitNumber) -> CommitError {
        match self {
            Failure::Failed(source) => CommitError::Failed(Arc::clone(source)),
            Failure::Indeterminate(source) => {
                CommitError::Indeterminate { number, source: Arc::clone(source) }
            }
            Failure::Fenced(head) => CommitError::Fenced { head: *head },
        }
    }

    /// The answer to every later commit, if the store has to be opened again.
    pub(crate) fn refusal_since(&self) -> Option<CommitError> {
        match self {
            Failure::Failed(_) => None,
            Failure::Indeterminate(_) => Some(CommitError::Failed(Arc::new(StoreError::Poisoned))),
            Failure::Fenced(head) => Some(CommitError::Fenced { head: *head }),
        }
    }

    pub(crate) fn of_cascade(&self) -> CommitError {
        match self {
            Failure::Failed(source) | Failure::Indeterminate(source) => {
                CommitError::Cascaded(Arc::clone(source))
            }
            Failure::Fenced(head) => CommitError::Fenced { head: *head },
        }
    }
}

/// A panic while a batch was applied: nothing is known of what the disk holds.
pub(crate) fn engine_panicked() -> StoreError {
    StoreError::Corrupted { what: "the engine panicked while it wrote".into(), source: None }
}

/// What a commit must count cannot be read, so there is no commit.
pub(super) fn unreadable(error: DataLayerError) -> CommitError {
    CommitError::Failed(Arc::new(match error {
        DataLayerError::Store(error) => error,
        other => StoreError::Corrupted { what: other.to_string(), source: None },
    }))
}

/// Rows that this process has just encoded must decode; if not, nothing may be written.
pub(super) fn own_encoding(error: &DataLayerError) -> CommitError {
    CommitError::Failed(Arc::new(StoreError::Corrupted {
        what: format!("a catalogue row that was to be written does not decode: {error}"),
        source: None,
    }))
}
