//! Batches that fail, or whose outcome is unknown, under clients.

use datafold_testkit::ApplyFault;

use crate::clients::SCHEDULES;
use crate::runs::{choose, run};
use crate::space::Space;

fn client(space: &Space, n: i64) {
    for step in 0..2 {
        let n = n + step;
        match choose(6) {
            0 => space.set(&[0, 1], n),
            1 => {
                let _ = space.buffer(&[0], n);
            }
            2 => space.transact(0, 1, n),
            3 => space.create(7, n),
            4 => space.get(0),
            _ => {
                let _ = space.flush();
            }
        }
    }
}

fn nth() -> u64 {
    1 + choose(3)
}

/// A batch fails; what was executed on top of it fails too, and everything goes on.
pub(crate) fn known() -> Result<(), String> {
    let space =
        Space::new(Some((nth(), ApplyFault::Failed)), &["commit_failed", "commit_cascaded"]);
    space.run(vec![Box::new(client), Box::new(client), Box::new(client)]);
    space.finish()
}

/// The outcome of a batch is unknown: nothing is written any more until the space is opened again.
pub(crate) fn unknown() -> Result<(), String> {
    let faults = [ApplyFault::IndeterminateApplied, ApplyFault::IndeterminateNotApplied];
    let fault = faults[usize::try_from(choose(2)).unwrap()];
    let space = Space::new(
        Some((nth(), fault)),
        &["commit_failed", "commit_cascaded", "commit_indeterminate", "commit_fenced"],
    );
    space.run(vec![Box::new(client), Box::new(client), Box::new(client)]);
    space.reopen()
}

#[test]
fn a_failed_batch_fails_what_stands_on_it_and_nothing_else() {
    run("known failures", SCHEDULES, known);
}

#[test]
fn behind_an_unknown_outcome_nothing_is_written() {
    run("unknown failures", SCHEDULES, unknown);
}
