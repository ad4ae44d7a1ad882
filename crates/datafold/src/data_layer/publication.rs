//! Waiting for commits to become durable.

use std::time::{Duration, Instant};

use datafold_store::StoreError;

use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::pipeline::Pipeline;
use crate::planted::{Fault, is_planted};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Tells those who follow the commits of a space that there are more.
///
/// It holds nothing of them: who is told looks at what is published.
#[derive(Debug, Default)]
pub(super) struct Publication {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Publication {
    /// Called behind each change of what is published, and when the pool is being closed.
    pub(super) fn tell(&self) {
        if is_planted(Fault::FollowerUntold) {
            return;
        }
        // Who has looked before the change holds the lock until it waits, and so hears of it.
        drop(self.lock.lock());
        self.changed.notify_all();
    }
}

/// When a wait ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now; never, if that is beyond the clock.
    pub(crate) fn within(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// What is left; `None` if it has passed.
    pub(crate) fn left(self) -> Option<Duration> {
        let Some(end) = self.0 else { return Some(Duration::MAX) };
        let left = end.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Pipeline {
    /// Waits until a commit with this number or a later one is durable and visible; false if the
    /// deadline has passed before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] if the pool was closed meanwhile.
    pub(crate) fn wait_until_published(
        &self,
        number: CommitNumber,
        deadline: Deadline,
    ) -> Result<bool, DataLayerError> {
        let mut guard = self.publication.lock.lock();
        while self.published().number < number {
            if self.is_closed() {
                return Err(StoreError::Closed.into());
            }
            let Some(left) = deadline.left() else { return Ok(false) };
            if is_planted(Fault::FollowerLostWakeUp) {
                MutexGuard::unlocked(&mut guard, || ());
            }
            self.publication.changed.wait_for(&mut guard, left);
        }
        Ok(true)
    }
}
