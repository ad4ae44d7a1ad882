//! Reads as of the time now, beside commits that get their times.

use crate::clients::SCHEDULES;
use crate::runs::run;
use crate::space::Space;

/// A time has one answer: no later commit gets it.
pub(crate) fn times() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let writer: fn(&Space, i64) = |space, n| {
        space.set(&[0, 1], n);
        space.set(&[0], n + 1);
    };
    let reader: fn(&Space, i64) = |space, _| {
        space.scan_time();
        space.scan_time();
    };
    space.run(vec![Box::new(writer), Box::new(writer), Box::new(reader)]);
    space.finish()
}

#[test]
fn a_time_has_one_answer() {
    run("times", SCHEDULES, times);
}
