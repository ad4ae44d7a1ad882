//! The seam to the operating system's threads.

use std::io;
#[cfg(not(feature = "shuttle"))]
use std::thread::Builder;

#[cfg(feature = "shuttle")]
use shuttle::thread::Builder;

use crate::sync::JoinHandle;

/// Begins a named thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(body)
}
