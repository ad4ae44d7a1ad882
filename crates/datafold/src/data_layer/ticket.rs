//! What a committer holds until its commit is durable.

use std::sync::Arc;

use super::error::CommitError;
use crate::planted::{Fault, is_planted};
use crate::sync::{self, Mutex, MutexGuard, Thread};

/// The outcome of one commit, to come. Any number of threads can wait for it.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<(), CommitError>>,
    waiting: Vec<Thread>,
}

impl Ticket {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Registers the calling thread to be unparked; the outcome instead, if it is known.
    pub(crate) fn register(&self) -> Option<Result<(), CommitError>> {
        let mut state = self.state.lock();
        let outcome = state.outcome.clone();
        if outcome.is_none() {
            if is_planted(Fault::LostWakeUp) {
                MutexGuard::unlocked(&mut state, || ());
            }
            let this = sync::current();
            if !state.waiting.iter().any(|thread| thread.id() == this.id()) {
                state.waiting.push(this);
            }
        }
        outcome
    }

    /// Makes the outcome known and wakes everybody who waits for it.
    pub(crate) fn resolve(&self, outcome: Result<(), CommitError>) {
        let waiting = {
            let mut state = self.state.lock();
            state.outcome = Some(outcome);
            std::mem::take(&mut state.waiting)
        };
        for thread in waiting {
            thread.unpark();
        }
    }

    /// Wakes one thread that waits, so that it can flush; false if none does.
    pub(crate) fn wake_one(&self) -> bool {
        let state = self.state.lock();
        match state.waiting.first() {
            Some(thread) => {
                thread.unpark();
                true
            }
            None => false,
        }
    }
}
