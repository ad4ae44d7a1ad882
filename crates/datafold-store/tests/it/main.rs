//! The engines against the suite, the disk and each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod commit_log;
mod conformance;
mod copying;
mod damage;
mod failures;
mod harness;
mod kills;
mod loading;
mod obstacles;
mod opening;
mod power_cuts;
mod sled;
mod sled_crashes;
mod workload;
