//! Faults that are planted in the pipeline, each of which a usual run must find.

use datafold::planted::Fault;

use crate::catalogue::catalogue;
use crate::clients::{SCHEDULES, buffered, cache, transactions, writers_and_readers};
use crate::closing::closing;
use crate::failures::{known, unknown};
use crate::following::following;
use crate::runs::{Scenario, find};
use crate::times::times;

/// Who waits for a commit before running again, and is told too early, runs again too often.
const RUNS_AGAIN: &str = "conflicts with commit";

/// The scenario that finds a fault, and parts of what it may say of it.
fn check(fault: Fault, scenario: Scenario, says: &[&str]) {
    let wrong = find("canary", fault, SCHEDULES, scenario);
    assert!(
        says.iter().any(|part| wrong.contains(part)),
        "{fault:?} was found for another reason: {wrong}"
    );
}

#[test]
fn answers_before_a_commit_is_durable() {
    check(Fault::AnswerBeforeDurable, writers_and_readers, &["was acknowledged", RUNS_AGAIN]);
}

#[test]
fn answers_before_a_commit_is_shown() {
    check(Fault::AnswerBeforeShown, writers_and_readers, &["was acknowledged", RUNS_AGAIN]);
}

#[test]
fn a_commit_that_is_shown_before_it_is_durable() {
    check(Fault::ShownBeforeDurable, writers_and_readers, &["commit"]);
}

#[test]
fn refusals_because_of_a_pending_commit() {
    check(Fault::RefusalBeforeDurable, transactions, &["is wrong as of each commit"]);
}

#[test]
fn a_lock_that_is_let_go_too_early() {
    check(Fault::LockLetGo, transactions, &["took item"]);
}

#[test]
fn two_flushers() {
    check(Fault::TwoFlushers, buffered, &["has moved on", "was acknowledged"]);
}

#[test]
fn a_flusher_that_hands_over_to_nobody() {
    check(Fault::NoHandOver, writers_and_readers, &["deadlock"]);
}

#[test]
fn a_flusher_that_hands_over_to_a_thread_that_has_ended() {
    check(Fault::NoHandOverAtClose, closing, &["deadlock"]);
}

#[test]
fn lost_wake_ups() {
    check(Fault::LostWakeUp, writers_and_readers, &["deadlock"]);
}

#[test]
fn a_cascade_that_is_not_answered() {
    check(Fault::CascadeUnanswered, known, &["deadlock"]);
}

#[test]
fn rows_of_a_failed_commit() {
    check(Fault::FailedRowsStay, known, &["commit"]);
}

#[test]
fn writing_behind_an_unknown_outcome() {
    check(Fault::WrittenAfterHalt, unknown, &["behind one that is unknown"]);
}

#[test]
fn times_that_are_fixed_without_the_lock() {
    check(Fault::TimeWithoutLock, times, &["a read as of"]);
}

#[test]
fn rows_that_stay_in_the_cache() {
    check(Fault::CacheKept, cache, &["a read by key"]);
}

#[test]
fn rows_that_leave_the_cache_too_late() {
    check(Fault::CacheAfterShown, cache, &["a read by key"]);
}

#[test]
fn old_readers_that_put_rows_into_the_cache() {
    check(Fault::CacheOldReader, cache, &["a read by key"]);
}

#[test]
fn new_rows_for_old_readers() {
    check(Fault::CacheNewRow, cache, &["a read by key"]);
}

#[test]
fn followers_who_are_not_told() {
    check(Fault::FollowerUntold, following, &["deadlock"]);
}

#[test]
fn lost_wake_ups_of_followers() {
    check(Fault::FollowerLostWakeUp, following, &["deadlock"]);
}

#[test]
fn commits_that_are_followed_before_they_are_durable() {
    check(Fault::ShownBeforeDurable, following, &["commit"]);
}

#[test]
fn a_lock_let_go_beside_the_catalogue() {
    check(Fault::LockLetGo, catalogue, &["commit"]);
}

#[test]
fn a_seed_plays_the_same_schedules_again() {
    let play = || find("replay", Fault::CacheNewRow, SCHEDULES, cache);
    assert_eq!(play(), play());
}
