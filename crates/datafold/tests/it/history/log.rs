//! What clients did and were answered, with the order in which it began and ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use datafold::MutationRequest;
use datafold::engine::KeyCondition;
use datafold::model::Value;

pub(crate) type Row = Vec<Value>;

/// Read before anything is written: a key, and its record if there was one.
pub(crate) type Reads = Vec<(Vec<Value>, Option<Row>)>;

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// Some records, as of a commit or as of now.
    Query {
        condition: KeyCondition,
        as_of: Option<u64>,
    },
    /// One record as of now; the answer names no commit.
    Get(Vec<Value>),
    /// A request that states its own rules.
    Write {
        request: MutationRequest,
        is_buffered: bool,
    },
    /// A closure that read, and then wrote. Without mutations it only read.
    Transact {
        reads: Reads,
        request: MutationRequest,
    },
    Flush,
}

/// What it was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Rows {
        commit: u64,
        rows: Vec<Row>,
    },
    Row(Option<Row>),
    Committed {
        commit: u64,
        atoms: u32,
    },
    /// A transaction that wrote nothing, and the commit that it saw.
    Saw {
        commit: u64,
        refusal: Option<&'static str>,
    },
    /// Refused by the rules of the request; the answer names no commit.
    Refused(&'static str),
    /// Not written.
    Failed,
    /// Written or not.
    Indeterminate,
    Flushed,
    /// A buffered commit was lost.
    FlushFailed,
}

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Unique; every request that writes also writes it to the client's mark.
    pub(crate) mark: i64,
    pub(crate) invoked: u64,
    pub(crate) answered: u64,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
}

impl Operation {
    /// The commit that the answer names.
    pub(crate) fn commit(&self) -> Option<u64> {
        match self.answer {
            Answer::Rows { commit, .. }
            | Answer::Committed { commit, .. }
            | Answer::Saw { commit, .. } => Some(commit),
            _ => None,
        }
    }

    /// What it would write, and what it read for that.
    pub(crate) fn request(&self) -> Option<(&MutationRequest, Reads)> {
        match &self.call {
            Call::Write { request, .. } => Some((request, Reads::new())),
            Call::Transact { reads, request } => Some((request, reads.clone())),
            _ => None,
        }
    }

    pub(crate) fn is_buffered(&self) -> bool {
        matches!(self.call, Call::Write { is_buffered: true, .. })
    }
}

/// Everything that happened, and what the space holds at the end.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// The last commit before the first operation.
    pub(crate) base: u64,
    pub(crate) operations: Vec<Operation>,
    /// The marks that are in the space, with their commits.
    pub(crate) marks: BTreeMap<i64, u64>,
    pub(crate) head: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) atoms: u64,
}

/// Gives every beginning and every end its place; there is no clock.
#[derive(Debug, Default)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}
