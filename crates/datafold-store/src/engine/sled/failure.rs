//! What sled answers, as errors of the store.

use sled::Error;

use super::versions::Expired;
use crate::StoreError;
pub(super) use crate::engine::panic::unless_panic;

pub(super) fn engine_error(action: &'static str, error: Error) -> StoreError {
    match error {
        Error::Io(source) => StoreError::io(action, source),
        Error::Corruption { at: Some(at), .. } => StoreError::Corrupted {
            what: format!("the engine found damage in its file when it tried to {action}, at {at}"),
            source: None,
        },
        Error::Corruption { at: None, .. } => StoreError::Corrupted {
            what: format!("the engine found damage in its files when it tried to {action}"),
            source: None,
        },
        other => StoreError::Engine { action, source: Box::new(other) },
    }
}

impl From<Expired> for StoreError {
    fn from(_: Expired) -> Self {
        StoreError::SnapshotExpired
    }
}
