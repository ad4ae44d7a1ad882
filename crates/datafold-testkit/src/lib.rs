//! Test doubles of DataFold: simulated disks, faulty stores, models and the conformance suite.
//!
//! - [`SimDisk`] is a disk in memory that loses, tears and fails what a real one may;
//!   [`PowerCuts`] cuts the power at every operation of a workload that ran on one.
//! - [`FaultStore`] answers what a test tells it to, and holds batches at its [`Gate`];
//!   [`RecordingStore`] keeps the batches that were accepted.
//! - [`ModelStore`] is what every engine is compared with, and [`conformance_suite!`] does so.
//! - [`Fuzz`] makes inputs for parsers and codecs out of valid ones.
//!
//! A double is stricter than what it stands for, and all of its choices follow from a seed:
//! [`seed_from_env`] reads it from `DATAFOLD_SEED`, and every failure names it.

pub mod conformance;
mod cut_kind;
mod disk_fault;
mod disk_image;
mod fault_store;
mod fuzz;
mod gate;
pub mod model;
mod power_cut;
mod recording_store;
mod seed;
mod sim_disk;
mod trace;
mod write_back;

pub use conformance::Harness;
pub use cut_kind::CutKind;
pub use disk_fault::{DiskCall, DiskError, DiskFault};
pub use disk_image::{DiskImage, DiskImages};
pub use fault_store::{ApplyFault, FaultStore, ReadCall};
pub use fuzz::{Draw, Fuzz, FuzzFailure, FuzzReport, Verdict};
pub use gate::Gate;
pub use model::{ModelStore, Row};
pub use power_cut::{PowerCutFailure, PowerCutReport, PowerCuts};
pub use recording_store::RecordingStore;
pub use seed::{Random, is_full_size, replay, seed_from_env};
pub use sim_disk::SimDisk;
pub use trace::{Trace, TraceCursor};
