//! Whether a history is strictly serializable, with the order of the commits as the witness.
//!
//! The commits are replayed in the order of their numbers against the model. Every answer must be
//! the model's at the commit that it names; an answer that names none must be the model's at some
//! commit between what was acknowledged before it was asked for and what was asked for after it was
//! given. One pass; nothing is searched for.

use std::collections::BTreeMap;
use std::fmt::Write;

use datafold::MutationRequest;
use datafold::engine::KeyCondition;
use datafold::model::{Schema, SchemaState, Timestamp, Value};

use super::clients::{ENTRY, MARK};
use super::log::{Answer, Call, History, Operation, Row};
use crate::node_model::{Expected, NodeModel, SchemaModel};

type Checked<T> = Result<T, String>;

/// What was checked.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) operations: usize,
    pub(crate) commits: usize,
    pub(crate) reads: usize,
    pub(crate) refusals: usize,
    pub(crate) failed: usize,
    pub(crate) lost: usize,
    pub(crate) unknown: usize,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Summary) {
        self.operations += other.operations;
        self.commits += other.commits;
        self.reads += other.reads;
        self.refusals += other.refusals;
        self.failed += other.failed;
        self.lost += other.lost;
        self.unknown += other.unknown;
    }
}

struct Checker<'h> {
    history: &'h History,
    /// The commit of each operation that is in the space.
    commits: Vec<Option<u64>>,
    /// What each operation must see at least.
    floors: Vec<u64>,
    /// What each operation may see at most.
    ceilings: Vec<u64>,
}

/// Fails with what cannot be.
pub(crate) fn check(history: &History) -> Checked<Summary> {
    let commits = commits(history)?;
    let order = order(history, &commits)?;
    let mut checker = Checker { history, commits, floors: Vec::new(), ceilings: Vec::new() };
    checker.check_losses()?;
    checker.check_real_time()?;
    checker.replay(&order)?;
    Ok(checker.summary())
}

fn told(operation: &Operation, what: &str) -> String {
    let mut text = format!("{what}: ");
    let _ = write!(text, "{operation:?}");
    text
}

fn ensure(holds: bool, operation: &Operation, what: &str) -> Checked<()> {
    if holds { Ok(()) } else { Err(told(operation, what)) }
}

/// Where each operation stands in the space, as its mark shows.
fn commits(history: &History) -> Checked<Vec<Option<u64>>> {
    let mut marks = history.marks.clone();
    let mut commits = Vec::with_capacity(history.operations.len());
    for operation in &history.operations {
        let found = marks.remove(&operation.mark);
        let is_right = match (&operation.answer, found) {
            (Answer::Committed { commit, .. }, Some(found)) => *commit == found,
            (Answer::Committed { .. }, None) => operation.is_buffered(),
            (Answer::Indeterminate, _) | (_, None) => true,
            (_, Some(_)) => false,
        };
        ensure(is_right, operation, &format!("the space has it in commit {found:?}"))?;
        commits.push(found);
    }
    match marks.first_key_value() {
        None => Ok(commits),
        Some((mark, commit)) => Err(format!("nobody wrote mark {mark} of commit {commit}")),
    }
}

/// The operations in the order of their commits, which has no gaps.
fn order(history: &History, commits: &[Option<u64>]) -> Checked<Vec<usize>> {
    let mut order: Vec<_> = (0..commits.len()).filter(|at| commits[*at].is_some()).collect();
    order.sort_by_key(|at| commits[*at]);
    for (expected, at) in (history.base + 1..).zip(&order) {
        let what = format!("commit {expected} is missing or there twice");
        ensure(commits[*at] == Some(expected), &history.operations[*at], &what)?;
    }
    let last = history.base + order.len() as u64;
    if last == history.head { Ok(order) } else { Err(format!("{last} is not the head")) }
}

impl Checker<'_> {
    fn operations(&self) -> &[Operation] {
        &self.history.operations
    }

    fn flushes(&self, answer: &Answer) -> Vec<&Operation> {
        let flushes = self.operations().iter();
        let mut flushes: Vec<_> = flushes.filter(|flush| flush.answer == *answer).collect();
        flushes.sort_by_key(|flush| flush.invoked);
        flushes
    }

    /// A buffered commit that is not there was told of by the flush that came first, or by one
    /// beside it.
    fn check_losses(&self) -> Checked<()> {
        let (good, bad) = (self.flushes(&Answer::Flushed), self.flushes(&Answer::FlushFailed));
        for (operation, commit) in self.operations().iter().zip(&self.commits) {
            let is_lost = operation.is_buffered()
                && commit.is_none()
                && matches!(operation.answer, Answer::Committed { .. });
            if !is_lost {
                continue;
            }
            let later = good.iter().filter(|flush| flush.invoked > operation.answered);
            let until = later.map(|flush| flush.answered).min().unwrap_or(u64::MAX);
            let is_told =
                bad.iter().any(|flush| flush.invoked < until && flush.answered > operation.invoked);
            ensure(is_told, operation, "lost, and no flush said so")?;
        }
        Ok(())
    }

    /// When each commit was acknowledged, if it was.
    ///
    /// Of a buffered one by a flush, unless another flush has told of a failure meanwhile: that is
    /// told once, so the next flush says nothing of the commits before.
    fn acknowledged(&self) -> Vec<Option<u64>> {
        let (good, bad) = (self.flushes(&Answer::Flushed), self.flushes(&Answer::FlushFailed));
        let is_told = |operation: &Operation, until: &u64| {
            bad.iter().any(|f| f.invoked < *until && f.answered > operation.invoked)
        };
        // The earliest answer among the flushes from each one on.
        let mut earliest: Vec<_> = good.iter().map(|flush| flush.answered).collect();
        for at in (1..earliest.len()).rev() {
            earliest[at - 1] = earliest[at - 1].min(earliest[at]);
        }
        let when = |operation: &Operation| match operation.answer {
            Answer::Committed { .. } if operation.is_buffered() => {
                let next = good.partition_point(|flush| flush.invoked < operation.answered);
                earliest.get(next).copied().filter(|until| !is_told(operation, until))
            }
            Answer::Indeterminate => None,
            _ => Some(operation.answered),
        };
        self.operations().iter().map(when).collect()
    }

    fn check_real_time(&mut self) -> Checked<()> {
        enum Event {
            Invoked,
            /// Has its place in the order: what is written later stands behind it.
            Placed,
            /// Everybody sees it from now on.
            Acknowledged,
        }
        let mut events = Vec::new();
        for (at, when) in self.acknowledged().into_iter().enumerate() {
            let operation = &self.operations()[at];
            events.push((operation.invoked, at, Event::Invoked));
            let Some(commit) = self.commits[at].or(operation.commit()) else { continue };
            if operation.is_buffered() && self.commits[at].is_none() {
                continue;
            }
            if operation.answer != Answer::Indeterminate {
                events.push((operation.answered, at, Event::Placed));
            }
            let is_known = commit <= self.history.head;
            ensure(is_known, operation, "names a commit behind the last one")?;
            events.extend(when.map(|when| (when, at, Event::Acknowledged)));
        }
        events.sort_by_key(|(when, ..)| *when);
        let (mut floor, mut placed) = (self.history.base, self.history.base);
        let mut witness = None;
        let mut floors = vec![0; self.operations().len()];
        for (_, at, event) in &events {
            let operation = &self.operations()[*at];
            let named = self.commits[*at].or(operation.commit()).unwrap_or(0);
            match event {
                Event::Acknowledged if named > floor => (floor, witness) = (named, Some(*at)),
                Event::Acknowledged => {}
                Event::Placed if self.commits[*at].is_some() => placed = placed.max(named),
                Event::Placed => {}
                Event::Invoked => {
                    floors[*at] = floor;
                    let is_past = matches!(operation.call, Call::Query { as_of: Some(_), .. });
                    let is_right = match (self.commits[*at], operation.commit()) {
                        (Some(commit), _) => commit > floor.max(placed),
                        (None, Some(commit)) => {
                            commit >= floor || is_past || operation.is_buffered()
                        }
                        (None, None) => true,
                    };
                    if !is_right {
                        let witness = witness.map(|at| &self.operations()[at]);
                        let what = format!("{floor} was acknowledged by {witness:?}");
                        return Err(told(operation, &format!("{what}, {placed} placed before")));
                    }
                }
            }
        }
        self.floors = floors;
        self.set_ceilings();
        Ok(())
    }

    fn set_ceilings(&mut self) {
        let operations = self.operations();
        let mut latest: Vec<_> = (0..operations.len()).collect();
        latest.sort_by_key(|at| operations[*at].invoked);
        let begins: Vec<_> = latest.iter().map(|at| operations[*at].invoked).collect();
        let limit = |at: usize| match (self.commits[at], &operations[at].call) {
            (Some(commit), _) => commit - 1,
            (None, Call::Query { as_of: Some(_), .. } | Call::Write { .. }) => u64::MAX,
            (None, _) => operations[at].commit().unwrap_or(u64::MAX),
        };
        let mut limits: Vec<_> = latest.iter().map(|at| limit(*at)).collect();
        for at in (1..limits.len()).rev() {
            limits[at - 1] = limits[at - 1].min(limits[at]);
        }
        let ceiling = |operation: &Operation| {
            let next = begins.partition_point(|begin| *begin < operation.answered);
            limits.get(next).copied().unwrap_or(u64::MAX).min(self.history.head)
        };
        self.ceilings = operations.iter().map(ceiling).collect();
    }

    fn replay(&self, order: &[usize]) -> Checked<()> {
        let mut model = model(self.history.base);
        let mut named: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut unnamed = Vec::new();
        for (at, operation) in self.operations().iter().enumerate() {
            match operation.answer {
                Answer::Rows { commit, .. } | Answer::Saw { commit, .. } => {
                    named.entry(commit).or_default().push(at);
                }
                Answer::Row(_) | Answer::Refused(_) => unnamed.push(at),
                _ => {}
            }
        }
        unnamed.sort_by_key(|at| self.operations()[*at].invoked);
        let mut next = order.iter();
        loop {
            for at in named.remove(&model.head()).unwrap_or_default() {
                let operation = &self.operations()[at];
                let what = format!("not what commit {} shows", model.head());
                ensure(holds(&model, operation), operation, &what)?;
            }
            self.place(&model, &mut unnamed)?;
            let Some(at) = next.next() else { break };
            self.commit(&mut model, &self.operations()[*at])?;
        }
        if let Some(at) = named.into_values().flatten().next() {
            return Err(told(&self.operations()[at], "names a commit before the first one"));
        }
        if rows(&model, &KeyCondition::All) != self.history.rows {
            return Err(format!("at the end the space holds {:?}", self.history.rows));
        }
        let atoms: u64 = model.schemas.iter().map(SchemaModel::atoms).sum();
        if atoms == self.history.atoms { Ok(()) } else { Err(format!("{atoms} atoms expected")) }
    }

    /// Gives answers that name no commit the first one at which they are right. What was answered
    /// before another was asked for must have its place first.
    fn place(&self, model: &NodeModel, unnamed: &mut Vec<usize>) -> Checked<()> {
        let (head, operations) = (model.head(), self.operations());
        let mut waiting = u64::MAX;
        let mut late = None;
        let mut past = false;
        unnamed.retain(|at| {
            let operation = &operations[*at];
            // They are in the order of their beginnings, and floors rise in it.
            past |= self.floors[*at] > head;
            if past {
                return true;
            }
            if waiting > operation.invoked && holds(model, operation) {
                return false;
            }
            waiting = waiting.min(operation.answered);
            if self.ceilings[*at] <= head {
                late.get_or_insert(*at);
            }
            true
        });
        let Some(at) = late else { return Ok(()) };
        let what = format!("right at no commit of {} to {head}", self.floors[at]);
        Err(told(&operations[at], &what))
    }

    fn commit(&self, model: &mut NodeModel, operation: &Operation) -> Checked<()> {
        let number = model.head() + 1;
        let Some((request, reads)) = operation.request() else {
            return Err(told(operation, "has written and is no write"));
        };
        for (key, row) in &reads {
            let what = format!("{key:?} is another before commit {number}");
            ensure(is_row(model, key, row), operation, &what)?;
        }
        let expected = model.mutate(request);
        model.times.push(Timestamp::from_micros(0));
        let is_right = match (&expected, &operation.answer) {
            (Expected::Atoms(atoms), Answer::Committed { atoms: found, .. }) => atoms == found,
            (Expected::Atoms(_), Answer::Indeterminate) => true,
            _ => false,
        };
        ensure(is_right, operation, &format!("commit {number} should be {expected:?}"))
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary { operations: self.operations().len(), ..Summary::default() };
        for (operation, commit) in self.operations().iter().zip(&self.commits) {
            match operation.answer {
                Answer::Committed { .. } if commit.is_none() => summary.lost += 1,
                Answer::Committed { .. } => summary.commits += 1,
                Answer::Rows { .. } | Answer::Row(_) | Answer::Saw { refusal: None, .. } => {
                    summary.reads += 1;
                }
                Answer::Refused(_) | Answer::Saw { .. } => summary.refusals += 1,
                Answer::Failed => summary.failed += 1,
                Answer::Indeterminate => {
                    summary.unknown += 1;
                    summary.commits += usize::from(commit.is_some());
                }
                Answer::Flushed | Answer::FlushFailed => {}
            }
        }
        summary
    }
}

fn model(base: u64) -> NodeModel {
    let mut model = NodeModel::default();
    for text in [ENTRY, MARK] {
        let schema = Schema::parse(text).unwrap().schema;
        let state = SchemaState::Approved;
        model.schemas.push(SchemaModel { schema, state, loaded: 0, records: BTreeMap::new() });
    }
    model.times = (0..base).map(|_| Timestamp::from_micros(0)).collect();
    model
}

fn rows(model: &NodeModel, condition: &KeyCondition) -> Vec<Row> {
    let rows = model.schemas[0].query(condition, u64::MAX);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn is_row(model: &NodeModel, key: &[Value], row: &Option<Row>) -> bool {
    rows(model, &KeyCondition::Exact(key.to_vec())).first() == row.as_ref()
}

fn is_refusal(model: &NodeModel, request: &MutationRequest, code: Option<&'static str>) -> bool {
    model.refusal(request) == code
}

/// Whether the model now gives the same answer to an operation that wrote nothing.
fn holds(model: &NodeModel, operation: &Operation) -> bool {
    match (&operation.call, &operation.answer) {
        (Call::Query { condition, .. }, Answer::Rows { rows: found, .. }) => {
            rows(model, condition) == *found
        }
        (Call::Get(key), Answer::Row(row)) => is_row(model, key, row),
        (Call::Write { request, .. }, Answer::Refused(code)) => {
            is_refusal(model, request, Some(code))
        }
        (Call::Transact { reads, request }, Answer::Saw { refusal, .. }) => {
            reads.iter().all(|(key, row)| is_row(model, key, row))
                && is_refusal(model, request, *refusal)
        }
        _ => false,
    }
}
