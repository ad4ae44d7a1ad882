//! Ctrl-C, for commands that can stop in good order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure::{Exit, Failure};
use crate::output::note;

/// Whether the user wants the command to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: AtomicBool,
    /// What the first Ctrl-C is answered; nothing if it is empty.
    message: Mutex<&'static str>,
    pressed: Condvar,
}

impl State {
    fn message(&self) -> MutexGuard<'_, &'static str> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Ctrl-C does is one for the process.
static WATCHED: LazyLock<Mutex<Option<Interrupt>>> = LazyLock::new(Mutex::default);

impl Interrupt {
    /// Watches for Ctrl-C from now on: the first asks to stop, which `message` tells, the second
    /// ends the process.
    pub(crate) fn watch(message: &'static str) -> Result<Self, Failure> {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*watched {
            *interrupt.state.message() = message;
            return Ok(interrupt.clone());
        }
        let interrupt = Self::default();
        *interrupt.state.message() = message;
        let state = Arc::clone(&interrupt.state);
        let handler = move || {
            if state.wanted.swap(true, Ordering::Relaxed) {
                // What is committed is durable, however the process ends.
                std::process::exit(Exit::Interrupted as i32);
            }
            let message = *state.message();
            state.pressed.notify_all();
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
        self.state.wanted.load(Ordering::Relaxed)
    }

    /// Waits so long, or until Ctrl-C is pressed; answers whether it was.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self
            .state
            .pressed
            .wait_timeout_while(self.state.message(), time, |_| !self.is_wanted());
        drop(waited);
        self.is_wanted()
    }

    /// Waits for the next one.
    pub(crate) fn forget(&self) {
        self.state.wanted.store(false, Ordering::Relaxed);
    }
}
