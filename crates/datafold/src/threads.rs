//! The seam to the operating system's threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Begins a named thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(body)
}
