//! Ends the process when a body does not come to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

/// Knows the input that is being looked at. A thread cannot be ended from outside, so that the
/// process is, after the input has been told.
pub(super) struct Watchdog {
    seen: Arc<Seen>,
    /// The thread ends when this is dropped.
    _end: Sender<()>,
}

#[derive(Default)]
struct Seen {
    inputs: AtomicU64,
    input: Mutex<Vec<u8>>,
}

impl Watchdog {
    pub(super) fn begin(name: &'static str, seed: u64, stuck: Duration) -> Self {
        let seen = Arc::new(Seen::default());
        let (end, ended) = mpsc::channel();
        let watched = Arc::clone(&seen);
        thread::spawn(move || {
            let mut before = u64::MAX;
            while ended.recv_timeout(stuck) == Err(RecvTimeoutError::Timeout) {
                let now = watched.inputs.load(Ordering::Relaxed);
                if now == before {
                    let input: String =
                        watched.input.lock().iter().map(|byte| format!("{byte:02x}")).collect();
                    eprintln!("{name} does not end with DATAFOLD_FUZZ_INPUT={input}");
                    eprintln!("{}", crate::replay(seed));
                    std::process::abort();
                }
                before = now;
            }
        });
        Self { seen, _end: end }
    }

    /// The body gets this input now.
    pub(super) fn note(&self, input: &[u8]) {
        let mut noted = self.seen.input.lock();
        noted.clear();
        noted.extend_from_slice(input);
        self.seen.inputs.fetch_add(1, Ordering::Relaxed);
    }
}
