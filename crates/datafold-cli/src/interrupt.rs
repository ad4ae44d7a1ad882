//! Ctrl-C, for commands that can stop in good order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use crate::failure::{Exit, Failure};
use crate::output::note;

/// Whether the user wants the command to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    wanted: Arc<AtomicBool>,
}

/// What Ctrl-C does is one for the process.
static WATCHED: LazyLock<Mutex<Option<Interrupt>>> = LazyLock::new(Mutex::default);

impl Interrupt {
    /// Watches for Ctrl-C from now on: the first asks to stop, which `message` tells, the second
    /// ends the process.
    pub(crate) fn watch(message: &'static str) -> Result<Self, Failure> {
        let mut watched = WATCHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(interrupt) = &*watched {
            return Ok(interrupt.clone());
        }
        let interrupt = Self::default();
        let wanted = Arc::clone(&interrupt.wanted);
        let handler = move || {
            if wanted.swap(true, Ordering::Relaxed) {
                // What is committed is durable, however the process ends.
                std::process::exit(Exit::Interrupted as i32);
            }
            if !message.is_empty() {
                note(message);
            }
        };
        let set = ctrlc::set_handler(handler);
        set.map_err(|error| Failure::new(Exit::Failed, format!("Ctrl-C: {error}")))?;
        *watched = Some(interrupt.clone());
        Ok(interrupt)
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Waits for the next one.
    pub(crate) fn forget(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}
