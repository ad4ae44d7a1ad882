//! A planted failure of a simulated disk.

use std::io;

/// The calls of a disk that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskCall {
    /// [`datafold_store::Disk::read`].
    Read,
    /// [`datafold_store::Disk::write`].
    Write,
    /// [`datafold_store::Disk::set_len`].
    SetLen,
    /// [`datafold_store::Disk::sync`].
    Sync,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskError {
    /// The device failed (EIO).
    Io,
    /// No space is left (ENOSPC).
    NoSpace,
    /// A write stops in the middle, a read ends early; any other call fails as [`DiskError::Io`].
    Short,
}

impl DiskError {
    /// Every way to fail.
    pub const ALL: [DiskError; 3] = [DiskError::Io, DiskError::NoSpace, DiskError::Short];

    pub(crate) fn to_io(self, call: DiskCall) -> io::Error {
        let kind = match (self, call) {
            (DiskError::NoSpace, _) => io::ErrorKind::StorageFull,
            (DiskError::Short, DiskCall::Write) => io::ErrorKind::WriteZero,
            (DiskError::Short, DiskCall::Read) => io::ErrorKind::UnexpectedEof,
            (DiskError::Io | DiskError::Short, _) => io::ErrorKind::Other,
        };
        io::Error::new(kind, format!("planted failure of {call:?}: {self:?}"))
    }
}

/// A failure of the Nth call from now on.
///
/// ```
/// use datafold_store::Disk;
/// use datafold_testkit::{DiskCall, DiskError, DiskFault, SimDisk};
///
/// let disk = SimDisk::new(1);
/// disk.inject(DiskFault::nth(2, DiskError::NoSpace).of(DiskCall::Write));
/// assert!(disk.write(0, b"a").is_ok());
/// assert!(disk.write(1, b"b").is_err());
/// assert!(disk.write(1, b"b").is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFault {
    /// Only these calls are counted and fail; `None` is all of them.
    pub call: Option<DiskCall>,
    /// Only calls of this file are counted and fail; `None` is all of them.
    pub file: Option<usize>,
    /// Which of them fails, counted from 1.
    pub nth: u64,
    /// Whether all later ones fail too.
    pub for_ever: bool,
    /// How it fails.
    pub error: DiskError,
}

impl DiskFault {
    /// The `nth` call from now on fails once; the first is 1.
    #[must_use]
    pub fn nth(nth: u64, error: DiskError) -> Self {
        Self { call: None, file: None, nth, for_ever: false, error }
    }

    /// Counts and fails only calls of one kind.
    #[must_use]
    pub fn of(mut self, call: DiskCall) -> Self {
        self.call = Some(call);
        self
    }

    /// Counts and fails only calls of one file.
    #[must_use]
    pub fn on(mut self, file: usize) -> Self {
        self.file = Some(file);
        self
    }

    /// All calls behind it fail as well.
    #[must_use]
    pub fn for_ever(mut self) -> Self {
        self.for_ever = true;
        self
    }
}
