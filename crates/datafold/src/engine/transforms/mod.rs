//! Computed fields as their owner sees them: what a value was made from, what depends on a field,
//! computing again, and trying a transform before it is approved.

mod graph;
mod run;
#[cfg(test)]
mod tests;
mod trial;
mod why;

pub use graph::{Dependent, FieldRole, GraphField, Impact, TransformGraph};
pub use run::{RunReport, RunScope};
pub use trial::{TRIAL_RECORDS_MAX, Trial, TrialRecord, TrialRecords, TrialReport, TrialValue};
pub use why::Why;
