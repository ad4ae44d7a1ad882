//! The commit pipeline under schedules that are chosen step by step.
//!
//! Locks, atomics and threads of the library are those of the crate `shuttle` here (feature
//! `shuttle`): one thread runs at a time, and at each step a scheduler chooses which. A schedule in
//! which nobody can go on is found by the scheduler itself.
//!
//! `DATAFOLD_SEED=0x…` plays schedules again from a seed on, `DATAFOLD_FULL=1` runs many more.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod canaries;
mod catalogue;
mod clients;
mod closing;
mod failures;
mod following;
mod ledger;
mod runs;
mod space;
mod store;
mod times;
