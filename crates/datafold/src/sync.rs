//! The seam to locks, atomics and the parking of threads.
//!
//! They are those of `parking_lot`, `arc-swap` and the standard library, under their own names.
//! With the feature `shuttle` they are those of the crate of that name instead, with the same
//! methods: the tests in `tests/schedules` then choose which thread runs at each step. The code
//! that uses them is the same.

#[cfg(feature = "shuttle")]
mod scheduled;

#[cfg(feature = "shuttle")]
pub(crate) use scheduled::*;

#[cfg(not(feature = "shuttle"))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU64};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread::{JoinHandle, Thread, current, park};

pub(crate) use std::sync::atomic::Ordering;
