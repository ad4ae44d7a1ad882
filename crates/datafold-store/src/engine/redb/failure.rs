//! What redb answers, as errors of the store.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::StoreError;

/// Calls redb, which trusts its file and panics on some damage, so that damage is an error here.
pub(super) fn unless_panic<T>(
    action: &str,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // What a panic leaves half done is behind redb's own locks, which it poisons.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(action, &*panic)))
}

pub(super) fn panicked(action: &str, panic: &(dyn Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    StoreError::Corrupted {
        what: format!("the engine panicked when it tried to {action}: {text}"),
        source: None,
    }
}

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
