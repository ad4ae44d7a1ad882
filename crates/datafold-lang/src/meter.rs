//! The bounds of a run.

use crate::diagnostic::{Checked, ErrorKind, Fault};

/// How much a run may use before it ends with an error.
///
/// The same program with the same inputs uses the same amounts on every machine, so whether a run
/// ends this way does not depend on how busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps. An operation is one; those on long texts and arrays are as many more as they take
    /// longer. A step takes some 10 ns, at most some 50.
    pub steps: u64,
    /// Bytes of all texts, arrays and objects that a run builds, also of those that it no longer
    /// needs. Inputs do not count.
    pub memory_bytes: u64,
    /// The [weight](crate::Value::weight) of the result.
    pub output_bytes: u64,
}

impl Limits {
    /// The limits unless others are asked for: 1,000,000 steps, 8 MiB built, a result of 2 MiB.
    pub const DEFAULT: Limits =
        Limits { steps: 1_000_000, memory_bytes: 8 << 20, output_bytes: 2 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a run has left. Everything is charged before it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) steps_left: u64,
    pub(crate) bytes_left: u64,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { steps_left: limits.steps, bytes_left: limits.memory_bytes }
    }

    #[inline]
    pub(crate) fn step(&mut self) -> Checked<()> {
        self.steps(1)
    }

    #[inline]
    pub(crate) fn steps(&mut self, steps: u64) -> Checked<()> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(too_many_steps()),
        }
    }

    /// Charges for building this much, which takes steps too.
    pub(crate) fn bytes(&mut self, bytes: u64) -> Checked<()> {
        self.steps(bytes / 32)?;
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => Err(Fault::new(ErrorKind::TooMuchMemory, "this builds more than a run may")),
        }
    }

    /// Charges for reading a text or value of this many bytes.
    pub(crate) fn read(&mut self, bytes: u64) -> Checked<()> {
        self.steps(bytes / 16)
    }
}

#[cold]
fn too_many_steps() -> Box<Fault> {
    Fault::new(ErrorKind::TooManySteps, "this takes more steps than a run may")
}
