//! Ctrl-C, for commands that can stop in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::failure::{Exit, Failure};
use crate::output::note;

/// Whether the user wants the command to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    wanted: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watches for Ctrl-C from now on: the first asks to stop, the second ends the process.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let wanted = Arc::clone(&interrupt.wanted);
        let handler = move || {
            if wanted.swap(true, Ordering::Relaxed) {
                // What is committed is durable, however the process ends.
                std::process::exit(Exit::Interrupted as i32);
            }
            note("stopping behind the rows that were read; Ctrl-C once more ends at once");
        };
        let set = ctrlc::set_handler(handler);
        set.map_err(|error| Failure::new(Exit::Failed, format!("Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// Pauses that Ctrl-C ends, for a command that goes on until then.
#[derive(Debug)]
pub(crate) struct Pause {
    wanted: Arc<AtomicBool>,
    pressed: Receiver<()>,
}

impl Pause {
    /// Watches for Ctrl-C from now on: the first ends the pauses, the second the process.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let (sender, pressed) = channel();
        let wanted = Arc::new(AtomicBool::new(false));
        let is_wanted = Arc::clone(&wanted);
        let handler = move || {
            if is_wanted.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
            // Nobody listens when the command is over.
            let _ = sender.send(());
        };
        let set = ctrlc::set_handler(handler);
        set.map_err(|error| Failure::new(Exit::Failed, format!("Ctrl-C: {error}")))?;
        Ok(Self { wanted, pressed })
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_over(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Waits so long, or until Ctrl-C is pressed; answers whether it was.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        self.is_over() || self.pressed.recv_timeout(time).is_ok()
    }
}
