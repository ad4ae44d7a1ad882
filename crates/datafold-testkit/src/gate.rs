//! A gate in front of a call, which a test shuts and opens.

use parking_lot::{Condvar, Mutex};

/// Holds the calls that come to it while it is shut.
///
/// A test shuts it, waits until a call stands at it ([`Gate::wait_for`]), does what should happen
/// meanwhile, and opens it again: no sleep, and the same on every run.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    /// Calls that may pass although it is shut.
    tickets: usize,
    waiting: usize,
}

impl Gate {
    /// Holds every call from now on.
    pub fn shut(&self) {
        let mut state = self.state.lock();
        *state = State { is_shut: true, waiting: state.waiting, tickets: 0 };
    }

    /// Lets all calls pass, those that wait and those to come.
    pub fn open(&self) {
        let mut state = self.state.lock();
        *state = State { waiting: state.waiting, ..State::default() };
        self.changed.notify_all();
    }

    /// Lets one call pass and stays shut.
    pub fn let_one_pass(&self) {
        self.state.lock().tickets += 1;
        self.changed.notify_all();
    }

    /// The number of calls that stand at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Blocks until at least `count` calls stand at the gate.
    pub fn wait_for(&self, count: usize) {
        let mut state = self.state.lock();
        while state.waiting < count {
            self.changed.wait(&mut state);
        }
    }

    /// Passes the gate; blocks while it is shut.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_shut && state.tickets == 0 {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
        state.tickets = state.tickets.saturating_sub(usize::from(state.is_shut));
    }
}
