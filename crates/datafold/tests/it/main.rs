//! The library as a whole: its store below it, its callers above.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod answers;
mod asking;
mod byte_flips;
mod changes;
mod chaos;
mod clock_jumps;
mod damage;
mod damage_catalogue;
mod diff;
mod discovery;
mod disk_failures;
mod elements;
mod failed_reads;
mod faults_data;
mod faults_schemas;
mod format;
mod harness;
mod history;
mod import;
mod indexes;
mod kills;
mod lifecycle;
mod limits;
mod mappings;
mod migrate;
mod model_test;
mod node_model;
mod opening;
mod operations;
mod pipeline;
mod power_cuts;
mod program;
mod queries;
mod repositories;
mod revert;
mod schemas;
mod stage;
mod steps;
mod timeline;
mod times;
mod transactions;
mod transforms;
