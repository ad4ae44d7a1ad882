//! Engines trust their files and panic on some damage; here that becomes an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::StoreError;

/// Calls an engine; a panic of it is damage.
pub(super) fn unless_panic<T>(
    action: &str,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // What a panic leaves half done is the engine's own; after one in a batch the store is
    // poisoned.
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
