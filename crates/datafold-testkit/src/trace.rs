//! Everything that a workload did to a simulated disk, in order.

use crate::disk_image::DiskImages;
use crate::write_back::{Change, Files, SyncEnd};
use crate::{CutKind, Random};

/// One entry of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TraceOp {
    /// The bytes of a file changed; not durable yet.
    Change(usize, Change),
    /// A sync of a file ended.
    Sync(usize, SyncEnd),
    /// The workload is about to ask for answer `n`.
    Attempted(u64),
    /// The workload has got the durable answer `n`.
    Acknowledged(u64),
}

/// The operations of a workload on a [`crate::SimDisk`], with the moments at which the workload
/// asked and got its answers.
///
/// A [`TraceCursor`] builds from it what the disk may hold when the power fails at any operation,
/// without running the workload again.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub(crate) start: Files,
    pub(crate) ops: Vec<TraceOp>,
}

impl Trace {
    /// The number of operations and marks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The number of syncs that answered without an error.
    #[must_use]
    pub fn sync_count(&self) -> usize {
        let is_sync = |op: &&TraceOp| match op {
            TraceOp::Sync(_, end) => !matches!(end, SyncEnd::Failed { .. }),
            _ => false,
        };
        self.ops.iter().filter(is_sync).count()
    }

    /// A cursor before the first operation.
    #[must_use]
    pub fn cursor(&self) -> TraceCursor<'_> {
        TraceCursor {
            ops: &self.ops,
            position: 0,
            disk: self.start.clone(),
            acknowledged: 0,
            attempted: 0,
        }
    }
}

/// A place between two operations of a [`Trace`].
///
/// # Cost
///
/// A step costs what its operation does; the images share their pages with the cursor.
#[derive(Debug, Clone)]
pub struct TraceCursor<'a> {
    ops: &'a [TraceOp],
    position: usize,
    disk: Files,
    acknowledged: u64,
    attempted: u64,
}

impl TraceCursor<'_> {
    /// The number of operations and marks before the cursor.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The largest answer that the workload had got.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The largest answer that the workload had asked for.
    #[must_use]
    pub fn attempted(&self) -> u64 {
        self.attempted
    }

    /// The number of changes that a power cut here may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk.unsynced().sum()
    }

    /// The number of files of which a power cut here may lose changes.
    #[must_use]
    pub fn unsynced_files(&self) -> usize {
        self.disk.unsynced().filter(|count| *count > 0).count()
    }

    /// Whether the next entry is a mark, which no disk sees: a cut here equals one behind it,
    /// except that less is acknowledged.
    #[must_use]
    pub fn is_before_mark(&self) -> bool {
        let next = self.ops.get(self.position);
        matches!(next, Some(TraceOp::Attempted(_) | TraceOp::Acknowledged(_)))
    }

    /// Goes on by one operation or mark; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(op) = self.ops.get(self.position) else { return false };
        self.position += 1;
        match op {
            TraceOp::Change(file, change) => self.disk.file_mut(*file).push(change.clone()),
            TraceOp::Sync(file, end) => self.disk.file_mut(*file).sync(*end),
            TraceOp::Attempted(n) => self.attempted = self.attempted.max(*n),
            TraceOp::Acknowledged(n) => self.acknowledged = self.acknowledged.max(*n),
        }
        true
    }

    /// What the files of the disk may hold if the power fails here.
    #[must_use]
    pub fn images(&self, kind: CutKind, random: &mut Random) -> DiskImages {
        self.disk.after_cut(kind, random)
    }
}
