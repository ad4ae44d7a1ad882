//! The same as the seam without the feature, in the hands of a scheduler.
//!
//! Every operation here is a point at which the scheduler may let another thread go on.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use shuttle::sync::atomic::AtomicBool;

pub(crate) use shuttle::sync::atomic::{AtomicI64, AtomicU64};
pub(crate) use shuttle::thread::{JoinHandle, Thread, current, park};

use super::Ordering;

/// A lock that a panic does not poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

/// A lock that is held. It is `None` only while its thread waits without it.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex: self, held: Some(held) }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { mutex: self, held: Some(held) })
    }
}

impl<T> MutexGuard<'_, T> {
    /// Runs `body` without the lock, and takes it again.
    pub(crate) fn unlocked<U>(guard: &mut Self, body: impl FnOnce() -> U) -> U {
        drop(guard.held.take());
        let answer = body();
        guard.held = guard.mutex.lock().held.take();
        answer
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_deref().unwrap_or_else(|| unreachable!("the lock is held"))
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_deref_mut().unwrap_or_else(|| unreachable!("the lock is held"))
    }
}

/// Where threads wait for a change of what a lock guards.
#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Condvar {
    /// Time stands still here: it waits for a change.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
        self.wait(guard);
    }
}

/// A lock that readers share.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_read(&self) -> Option<shuttle::sync::RwLockReadGuard<'_, T>> {
        self.0.try_read().ok()
    }

    pub(crate) fn try_write(&self) -> Option<shuttle::sync::RwLockWriteGuard<'_, T>> {
        self.0.try_write().ok()
    }
}

/// A pointer that is replaced in one step.
///
/// The lock inside is nobody's to wait for: between the step, which is the scheduler's, and its end
/// no other thread runs.
#[derive(Debug)]
pub(crate) struct ArcSwap<T> {
    step: Step,
    value: std::sync::Mutex<Arc<T>>,
}

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self { step: Step::default(), value: std::sync::Mutex::new(Arc::new(value)) }
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        self.step.take();
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        self.step.take();
        let mut held = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, value);
        drop(held);
        // What goes with it may take steps of its own.
        drop(before);
    }
}

/// A value that is given once.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    step: Step,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { step: Step::default(), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.step.take();
        self.value.get()
    }

    pub(crate) fn get_or_init(&self, first: impl FnOnce() -> T) -> &T {
        self.step.take();
        self.value.get_or_init(first)
    }
}

/// A point at which another thread may go on.
#[derive(Debug, Default)]
struct Step(AtomicBool);

impl Step {
    fn take(&self) {
        self.0.load(Ordering::SeqCst);
    }
}
