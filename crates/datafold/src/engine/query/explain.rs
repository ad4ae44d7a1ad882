//! How a query runs.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

/// How a query ran, and what it read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explain {
    /// What was done, in order and in words.
    pub steps: Vec<String>,
    /// What was read and answered.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What a query read and answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Entries of an index.
    pub entries_read: Cell<u64>,
    /// Records that were looked at.
    pub rows_read: Cell<u64>,
    /// Groups that were made.
    pub groups: Cell<u64>,
    /// Records or groups that were answered.
    pub rows_returned: Cell<u64>,
    /// Whether the index led to so many records that all were read instead.
    #[serde(skip)]
    pub(super) has_left_index: Cell<bool>,
}

impl Counts {
    pub(super) fn add(count: &Cell<u64>, more: u64) {
        count.set(count.get() + more);
    }
}

/// One step a line, then what was read.
impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {step}", at + 1)?;
        }
        let Counts { entries_read, rows_read, groups, rows_returned, .. } = &self.counts;
        let told = [
            ("index entries read", entries_read),
            ("rows read", rows_read),
            ("groups", groups),
            ("rows returned", rows_returned),
        ];
        for (what, count) in told {
            let is_told = count.get() > 0 || what.starts_with("rows");
            if is_told {
                writeln!(f, "{what}: {}", count.get())?;
            }
        }
        Ok(())
    }
}
