//! Moments of the past.

use super::ids::CommitNumber;
use crate::model::Timestamp;

/// A moment to read as of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moment {
    /// The newest durable commit.
    #[default]
    Now,
    /// After this commit.
    Commit(CommitNumber),
    /// After the last commit with a time at or before this one.
    Time(Timestamp),
}
