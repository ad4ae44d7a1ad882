//! Concurrent clients on one space, and whether all that they were answered has one order.
//!
//! `DATAFOLD_FULL=1 cargo test -p datafold --test it history:: -- --nocapture` runs 2,000
//! histories of 8 clients with 200 operations each, and prints what they did.

mod checker;
mod clients;
mod export;
mod log;

use std::env;

use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use self::checker::{Summary, check};
use self::clients::{Planted, run};
use self::log::{Answer, Call, History};
use crate::harness::Place;

fn run_histories(name: &str, count: u64, default: u64, place: impl Fn(u64) -> Place) {
    // A seed that was given is the one of the history that failed.
    let one = env::var("DATAFOLD_SEED").is_ok();
    let seed = seed_from_env(default);
    let mut all = Summary::default();
    let count = if one { 1 } else { count };
    for index in 0..count {
        let seed = if one { seed } else { Random::part(seed, index).next_u64() };
        let history = run(seed, place(seed), Planted::Nothing);
        match check(&history) {
            Ok(summary) => all.add(&summary),
            Err(problem) => panic!("history {index}: {problem}; {}", replay(seed)),
        }
    }
    assert!(all.commits > 0 && all.reads > 0 && all.refusals > 0, "{all:?}");
    if !one {
        assert!(all.failed > 0, "no commit failed: {all:?}");
    }
    eprintln!("{name}: {count} histories, seed {seed:#x}, {all:?}");
}

#[test]
fn histories_in_memory_are_strictly_serializable() {
    run_histories("memory", if is_full_size() { 1_000 } else { 34 }, 0x41501, |_| Place::memory());
}

#[test]
fn histories_on_redb_are_strictly_serializable() {
    run_histories("redb", if is_full_size() { 600 } else { 12 }, 0x41502, Place::sim);
}

#[test]
fn histories_on_sled_are_strictly_serializable() {
    run_histories("sled", if is_full_size() { 400 } else { 4 }, 0x41503, |_| Place::sled());
}

/// The problem that the checker finds in what a faulty product would have answered.
fn problem_of(planted: Planted) -> String {
    let seed = seed_from_env(0x41504);
    let history = run(seed, Place::memory(), planted);
    let Err(problem) = check(&history) else {
        panic!("{planted:?} was not found; {}", replay(seed));
    };
    problem
}

#[test]
fn canary_a_stale_read_is_found() {
    let problem = problem_of(Planted::StaleRead);
    assert!(problem.contains("was acknowledged"), "{problem}");
    let problem = problem_of(Planted::WrongRead);
    assert!(problem.contains("not what commit"), "{problem}");
}

#[test]
fn canary_a_lost_update_is_found() {
    let problem = problem_of(Planted::LostUpdate);
    assert!(problem.contains("is another before commit"), "{problem}");
}

#[test]
fn canary_an_answer_before_the_commit_is_durable_is_found() {
    problem_of(Planted::EarlyAnswer);
}

/// Changes one operation that fits, the last one, and expects the checker to find it.
fn edit(history: &History, what: &str, change: impl Fn(&mut History, usize) -> bool) {
    let mut edited = history.clone();
    let changed = (0..history.operations.len()).rev().any(|at| change(&mut edited, at));
    assert!(changed, "nothing to edit for: {what}");
    assert!(check(&edited).is_err(), "not found: {what}");
}

#[test]
fn canary_edited_histories_are_found() {
    let seed = seed_from_env(0x41505);
    let history = run(seed, Place::memory(), Planted::Nothing);
    check(&history).unwrap();
    edit(&history, "a row is missing in an answer", |history, at| {
        match &mut history.operations[at].answer {
            Answer::Rows { rows, .. } => rows.pop().is_some(),
            _ => false,
        }
    });
    edit(&history, "a record is found that was never there", |history, at| {
        let Answer::Row(row) = &mut history.operations[at].answer else { return false };
        *row = Some(vec![9.into(); 4]);
        true
    });
    edit(&history, "a refusal for another reason", |history, at| {
        let Answer::Refused(code) = &mut history.operations[at].answer else { return false };
        *code = if *code == "record_exists" { "record_not_found" } else { "record_exists" };
        true
    });
    edit(&history, "an acknowledged commit is gone", |history, at| {
        let operation = &history.operations[at];
        let is_durable = !operation.is_buffered();
        is_durable && history.marks.remove(&operation.mark).is_some()
    });
    edit(&history, "a failed commit is there", |history, at| {
        if history.operations[at].answer != Answer::Failed {
            return false;
        }
        let mark = history.operations[at].mark;
        history.head += 1;
        history.marks.insert(mark, history.head);
        true
    });
    edit(&history, "two commits have changed places", |history, at| {
        let Answer::Committed { commit, .. } = history.operations[at].answer else { return false };
        let mark = history.operations[at].mark;
        let operations = &mut history.operations;
        let Some(other) = operations.iter().position(|other| {
            let is_before = matches!(other.answer, Answer::Committed { commit: c, .. }
                if c + 20 < commit);
            is_before && history.marks.contains_key(&other.mark)
        }) else {
            return false;
        };
        let Some(found) = history.marks.get(&mark).copied() else { return false };
        let other_mark = operations[other].mark;
        let other_commit = history.marks[&other_mark];
        history.marks.extend([(mark, other_commit), (other_mark, found)]);
        for (at, new) in [(at, other_commit), (other, found)] {
            let Answer::Committed { commit, .. } = &mut operations[at].answer else { return false };
            *commit = new;
        }
        true
    });
    edit(&history, "a transaction read something else", |history, at| {
        let operation = &mut history.operations[at];
        let is_committed = matches!(operation.answer, Answer::Committed { .. });
        match &mut operation.call {
            Call::Transact { reads, .. } if is_committed => {
                reads[0].1 = Some(vec![9.into(); 4]);
                true
            }
            _ => false,
        }
    });
    edit(&history, "the loss of a commit is told to nobody", |history, at| {
        let operation = &mut history.operations[at];
        if !matches!(operation.answer, Answer::Committed { .. }) || !operation.is_buffered() {
            return false;
        }
        // It is the last commit, so that there is no gap.
        let last = history.marks.iter().max_by_key(|(_, commit)| **commit);
        let last = *last.unwrap().0;
        operation.mark = last + 1;
        for operation in &mut history.operations {
            if operation.answer == Answer::FlushFailed {
                operation.answer = Answer::Flushed;
            }
        }
        true
    });
}
