//! Faults of the commit pipeline that tests plant, to see that they are found.
//!
//! Outside tests none can be planted without the feature `shuttle`, and nothing of them is left in
//! the code.

#![cfg_attr(not(feature = "shuttle"), allow(unreachable_pub))]

/// A fault that a test can plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A commit is answered before the store has its group.
    AnswerBeforeDurable,
    /// A commit is answered when the store has its group, and shown later.
    AnswerBeforeShown,
    /// A group is shown before the store has it.
    ShownBeforeDurable,
    /// A refusal that a pending commit is the cause of is answered at once.
    RefusalBeforeDurable,
    /// The lock is let go between looking at the state and writing on top of it.
    LockLetGo,
    /// Two threads flush at once.
    TwoFlushers,
    /// Nobody is told that commits have queued up during a flush.
    NoHandOver,
    /// Only the flusher's thread is told, which may have ended when the pool is being closed.
    NoHandOverAtClose,
    /// Who waits looks at the outcome, and says only then that it waits.
    LostWakeUp,
    /// What was executed on top of a failed commit is never answered.
    CascadeUnanswered,
    /// The rows of a failed commit stay where the next one looks.
    FailedRowsStay,
    /// A commit that was staged before the pipeline halted is written all the same.
    WrittenAfterHalt,
    /// A time is fixed without the lock under which commits get theirs.
    TimeWithoutLock,
    /// Rows that a group has changed stay in the cache.
    CacheKept,
    /// Rows that a group has changed leave the cache when the group is shown already.
    CacheAfterShown,
    /// A reader puts a row into the cache although it has changed since.
    CacheOldReader,
    /// A reader takes a row out of the cache that is newer than what it reads.
    CacheNewRow,
    /// Who follows the commits is not told of new ones.
    FollowerUntold,
    /// Who follows the commits looks for a new one, and says only then that it waits.
    FollowerLostWakeUp,
    /// The evaluation of a transform panics.
    EvaluationPanics,
    /// A result that differs from what is there is not written.
    ResultKept,
    /// The first element that a result changes stays as it was.
    ElementKept,
    /// What a record contributed to an aggregate stays when it changes.
    ContributionKept,
    /// The log of a commit does not say that a transform fails.
    FailureUntold,
}

#[cfg(any(test, feature = "shuttle"))]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault, or none, for all schedules that the calling thread runs from now on.
#[cfg(any(test, feature = "shuttle"))]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted. All threads of a schedule run on the one that runs the schedule.
#[cfg(any(test, feature = "shuttle"))]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

#[cfg(not(any(test, feature = "shuttle")))]
#[inline(always)]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}
