//! The seam to the operating system's threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Begins a named thread.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(body)
}
