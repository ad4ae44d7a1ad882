//! Test doubles of DataFold: simulated disks, faulty stores, models and the conformance suite.
//!
//! - [`SimDisk`] is a disk in memory that loses, tears and fails what a real one may;
//!   [`PowerCuts`] cuts the power at every operation of a workload that ran on one.
//! - [`ModelStore`] is what every engine is compared with, and [`conformance_suite!`] does so.
//!
//! A double is stricter than what it stands for, and all of its choices follow from a seed:
//! [`seed_from_env`] reads it from `DATAFOLD_SEED`, and every failure names it.

pub mod conformance;
mod cut_kind;
mod disk_fault;
mod disk_image;
pub mod model;
mod power_cut;
mod seed;
mod sim_disk;
mod trace;
mod write_back;

pub use conformance::Harness;
pub use cut_kind::CutKind;
pub use disk_fault::{DiskCall, DiskError, DiskFault};
pub use disk_image::DiskImage;
pub use model::ModelStore;
pub use power_cut::{PowerCutFailure, PowerCutReport, PowerCuts};
pub use seed::{Random, is_full_size, replay, seed_from_env};
pub use sim_disk::SimDisk;
pub use trace::{Trace, TraceCursor};
