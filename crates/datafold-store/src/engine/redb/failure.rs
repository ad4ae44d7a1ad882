//! What redb answers, as errors of the store.

use std::io;

use crate::StoreError;
pub(super) use crate::engine::panic::{panicked, unless_panic};

pub(super) fn engine_error(action: &'static str, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(source) => StoreError::io(action, source),
        redb::Error::Corrupted(what) => StoreError::Corrupted { what, source: None },
        redb::Error::PreviousIo => StoreError::Poisoned,
        redb::Error::DatabaseClosed => StoreError::Closed,
        other => StoreError::Engine { action, source: Box::new(other) },
    }
}

pub(super) fn open_error(error: redb::DatabaseError) -> StoreError {
    match redb::Error::from(error) {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Corrupted {
                what: "the file is not one of the engine's".into(),
                source: Some(Box::new(source)),
            }
        }
        redb::Error::RepairAborted => {
            StoreError::Corrupted { what: "the repair did not finish".into(), source: None }
        }
        other => engine_error("open the store", other),
    }
}
