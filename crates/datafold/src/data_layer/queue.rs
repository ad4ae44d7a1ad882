//! Commits that have their place in the order and wait to become durable.

use std::sync::Arc;

use bytes::Bytes;
use datafold_store::BatchKey;

use super::catalogue::SchemaCore;
use super::counters::SchemaCounters;
use super::error::CommitError;
use super::ids::{CommitNumber, SchemaId};
use super::ticket::Ticket;
use crate::model::Timestamp;

/// A group ends behind the commit that reaches this many bytes.
///
/// In schedules three small commits do.
const GROUP_BYTES_MAX: usize = if cfg!(feature = "shuttle") { 1_000 } else { 32 << 20 };

/// One commit with everything that its group needs of it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) number: CommitNumber,
    pub(crate) time: Timestamp,
    pub(crate) writes: Vec<(BatchKey, Option<Bytes>)>,
    pub(crate) bytes: usize,
    pub(crate) catalogue: Option<Arc<SchemaCore>>,
    pub(crate) counters: Vec<(SchemaId, SchemaCounters)>,
    /// Nobody waits for it.
    pub(crate) buffered: bool,
    pub(crate) ticket: Arc<Ticket>,
}

/// The pending commits in their order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) pending: Vec<Queued>,
    pub(crate) bytes: usize,
    /// A thread is between taking a group and resolving it.
    pub(crate) flushing: bool,
    /// The ticket of the newest commit that was ever queued.
    pub(crate) newest: Option<Arc<Ticket>>,
    pub(crate) closed: bool,
    /// Why a buffered commit was lost; `flush` reports it once.
    pub(crate) lost: Option<CommitError>,
}

/// Takes the oldest pending commits, as many as make a group.
pub(crate) fn take_group(queue: &mut Queue) -> Vec<Queued> {
    let mut bytes = 0;
    let fits = queue.pending.iter().take_while(|queued| {
        let fits = bytes < GROUP_BYTES_MAX;
        bytes += queued.bytes;
        fits
    });
    let count = fits.count();
    let rest = queue.pending.split_off(count);
    let group = std::mem::replace(&mut queue.pending, rest);
    queue.bytes -= group.iter().map(|queued| queued.bytes).sum::<usize>();
    group
}
