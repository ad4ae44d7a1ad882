//! How long threads wait for locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::sync::{Mutex, MutexGuard};

/// Counts the waits for a group of locks.
#[derive(Debug, Default)]
pub(crate) struct LockMeter {
    taken: AtomicU64,
    waits: AtomicU64,
    wait_ns: AtomicU64,
}

/// How often and how long threads waited for the locks of the commit pipeline.
///
/// Waiting for a commit to become durable is not part of it. Readers take none of these locks,
/// but for a read as of a time behind the last commit, which fixes what that time shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockStats {
    /// How often a lock was taken.
    pub taken: u64,
    /// How often it was held by another thread.
    pub waits: u64,
    /// Nanoseconds spent waiting for it, all threads together.
    pub wait_ns: u64,
}

impl LockMeter {
    /// Takes a lock; only a wait costs two readings of the clock.
    pub(crate) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(guard) = mutex.try_lock() {
            return guard;
        }
        let start = Instant::now();
        let guard = mutex.lock();
        let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.wait_ns.fetch_add(waited, Ordering::Relaxed);
        guard
    }

    pub(crate) fn stats(&self) -> LockStats {
        LockStats {
            taken: self.taken.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            wait_ns: self.wait_ns.load(Ordering::Relaxed),
        }
    }
}
