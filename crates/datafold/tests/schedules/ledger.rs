//! What a schedule was answered, and whether one order of commits explains it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use datafold::model::Timestamp;

/// Items and what they hold; an absent one does not exist.
pub(crate) type Items = BTreeMap<i64, i64>;

/// What a commit wrote and what it took for granted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// When; `None` if the answer does not say.
    pub(crate) time: Option<Timestamp>,
    pub(crate) items: Items,
    /// What the state before it must have been, of these items.
    pub(crate) before: BTreeMap<i64, Option<i64>>,
    /// The schema must have been approved before it.
    pub(crate) needs_approval: bool,
    /// Nobody was waiting for it: a loss is told by a flush.
    pub(crate) is_buffered: bool,
    /// The schema is approved after it, or blocked.
    pub(crate) approves: Option<bool>,
}

/// What somebody read, and the commit that the answer named.
#[derive(Debug)]
struct Read {
    commit: u64,
    items: BTreeMap<i64, Option<i64>>,
    how: &'static str,
}

/// A refusal, and the commits between which it must be right.
#[derive(Debug)]
struct Refusal {
    from: u64,
    to: u64,
    what: Refused,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    /// The item exists.
    Exists(i64),
    /// The schema is blocked.
    Blocked,
}

#[derive(Debug, Default)]
struct Entries {
    commits: BTreeMap<u64, Written>,
    reads: Vec<Read>,
    refusals: Vec<Refusal>,
    times: Vec<(Timestamp, u64)>,
    /// Commits that may or may not have become durable, with the number that they then have.
    candidates: Vec<(u64, Written)>,
    /// The first commit whose outcome was answered as unknown.
    unknown: Option<u64>,
    losses: usize,
    wrong: Vec<String>,
}

/// Everything that the threads of a schedule were answered.
///
/// Its lock is none of the schedule's: no other thread runs while it is held.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: (u64, Items),
    /// The newest commit that anybody was told is durable.
    known: AtomicU64,
    entries: Mutex<Entries>,
}

impl Ledger {
    /// The state before the schedule, as of a commit.
    pub(crate) fn new(commit: u64, items: Items) -> Self {
        Self { first: (commit, items), known: AtomicU64::new(commit), entries: Mutex::default() }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commit before the schedule.
    pub(crate) fn first(&self) -> u64 {
        self.first.0
    }

    /// Something is wrong.
    pub(crate) fn wrong(&self, what: String) {
        self.entries().wrong.push(what);
    }

    /// The newest commit that must be visible to whoever begins to read now.
    pub(crate) fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    /// A commit has its place in the order.
    pub(crate) fn staged(&self, commit: u64, written: Written) {
        let other = self.entries().commits.insert(commit, written);
        if let Some(other) = other {
            self.wrong(format!("commit {commit} was given twice, first to {other:?}"));
        }
    }

    /// A commit was acknowledged when the store had accepted those up to `durable`.
    pub(crate) fn acknowledged(&self, commit: u64, durable: u64) {
        if commit > durable {
            self.wrong(format!("commit {commit} was acknowledged, {durable} is durable"));
        }
        if self.entries().unknown.is_some_and(|unknown| commit >= unknown) {
            self.wrong(format!("commit {commit} was acknowledged behind one that is unknown"));
        }
        self.known.fetch_max(commit, Ordering::SeqCst);
    }

    /// A commit has a number, and will have its place if it becomes durable.
    pub(crate) fn candidate(&self, commit: u64, written: Written) {
        self.entries().candidates.push((commit, written));
    }

    /// The outcome of a commit is not known.
    pub(crate) fn unknown(&self, commit: u64) {
        let unknown = &mut self.entries().unknown;
        *unknown = Some(unknown.map_or(commit, |other| other.min(commit)));
    }

    /// A flush has told of a commit that was lost.
    pub(crate) fn loss_told(&self) {
        self.entries().losses += 1;
    }

    /// Gives those candidates their place that are found to have it; answers how many were lost
    /// that nobody waited for.
    pub(crate) fn settle(&self, mut is_there: impl FnMut(u64, &Written) -> bool) -> usize {
        let candidates = std::mem::take(&mut self.entries().candidates);
        let mut lost = 0;
        for (commit, written) in candidates {
            if is_there(commit, &written) {
                self.staged(commit, written);
            } else {
                lost += usize::from(written.is_buffered);
            }
        }
        lost
    }

    /// How often a flush has told of a loss.
    pub(crate) fn losses(&self) -> usize {
        self.entries().losses
    }

    /// An answer that names a commit, of a read that began when `known` was known.
    pub(crate) fn read(
        &self,
        how: &'static str,
        known: u64,
        commit: u64,
        durable: u64,
        items: BTreeMap<i64, Option<i64>>,
    ) {
        if commit < known {
            self.wrong(format!("{how}: commit {known} was acknowledged, {commit} was read"));
        }
        if commit > durable {
            self.wrong(format!("{how}: {durable} is durable, commit {commit} was read"));
        }
        // Who has read a commit never reads an earlier one later.
        self.known.fetch_max(commit, Ordering::SeqCst);
        self.entries().reads.push(Read { commit, items, how });
    }

    /// A refusal that must be right as of one of the commits `from` to `to`.
    pub(crate) fn refused(&self, from: u64, to: u64, what: Refused) {
        self.entries().refusals.push(Refusal { from, to, what });
    }

    /// A read as of a time was answered with this commit.
    pub(crate) fn at_time(&self, time: Timestamp, commit: u64) {
        self.entries().times.push((time, commit));
    }

    /// The last state, if the commits explain every answer.
    ///
    /// # Errors
    ///
    /// The first answer that is wrong.
    pub(crate) fn check(&self, head: u64) -> Result<Items, String> {
        let entries = self.entries();
        if let Some(wrong) = entries.wrong.first() {
            return Err(wrong.clone());
        }
        let (first, items) = &self.first;
        let mut states = BTreeMap::from([(*first, (items.clone(), true))]);
        let (mut items, mut is_approved) = (items.clone(), true);
        let (mut last, mut latest) = (*first, None);
        for (commit, written) in &entries.commits {
            if *commit != last + 1 {
                return Err(format!("commit {commit} follows {last}"));
            }
            if written.time.is_some_and(|time| latest.is_some_and(|latest| time <= latest)) {
                return Err(format!("commit {commit} is not later than the one before"));
            }
            if written.needs_approval && !is_approved {
                return Err(format!("commit {commit} was written into a blocked schema"));
            }
            for (item, before) in &written.before {
                if items.get(item) != before.as_ref() {
                    let found = items.get(item);
                    return Err(format!(
                        "commit {commit} took item {item} to be {before:?}, it was {found:?}"
                    ));
                }
            }
            items.extend(written.items.iter().map(|(item, n)| (*item, *n)));
            is_approved = written.approves.unwrap_or(is_approved);
            states.insert(*commit, (items.clone(), is_approved));
            (last, latest) = (*commit, written.time.or(latest));
        }
        if last != head {
            return Err(format!("the head is {head}, the last commit is {last}"));
        }
        self.check_answers(&entries, &states)?;
        Ok(items)
    }

    fn check_answers(
        &self,
        entries: &Entries,
        states: &BTreeMap<u64, (Items, bool)>,
    ) -> Result<(), String> {
        for Read { commit, items, how } in &entries.reads {
            let Some((state, _)) = states.get(commit) else {
                return Err(format!("{how} names commit {commit}, which nobody made"));
            };
            for (item, found) in items {
                if state.get(item) != found.as_ref() {
                    return Err(format!(
                        "{how} as of commit {commit}: item {item} is {found:?}, not {:?}",
                        state.get(item)
                    ));
                }
            }
        }
        for Refusal { from, to, what } in &entries.refusals {
            let is_right = states.range(from..=to).any(|(_, (items, is_approved))| match what {
                Refused::Exists(item) => items.contains_key(item),
                Refused::Blocked => !is_approved,
            });
            if !is_right {
                return Err(format!("{what:?} is wrong as of each commit from {from} to {to}"));
            }
        }
        for (asked, answered) in &entries.times {
            for (commit, Written { time, .. }) in &entries.commits {
                let Some(time) = time else { continue };
                if (commit <= answered) != (time <= asked) {
                    return Err(format!(
                        "a read as of {asked} saw commit {answered}; commit {commit} has {time}"
                    ));
                }
            }
        }
        Ok(())
    }
}
