//! A schema that is blocked and approved while others write.

use crate::clients::SCHEDULES;
use crate::runs::{choose, run};
use crate::space::Space;

/// A commit is written only into a schema that is approved in the state before it.
pub(crate) fn catalogue() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let owner: fn(&Space, i64) = |space, _| {
        space.approve(false);
        space.approve(true);
    };
    let client: fn(&Space, i64) = |space, n| {
        for step in 0..2 {
            let n = n + step;
            match choose(4) {
                0 => space.set(&[0, 1], n),
                1 => {
                    let _ = space.buffer(&[1], n);
                }
                2 => space.transact(0, 1, n),
                _ => space.get(0),
            }
        }
    };
    space.run(vec![Box::new(owner), Box::new(client), Box::new(client)]);
    space.finish()
}

#[test]
fn nothing_is_written_into_a_blocked_schema() {
    run("catalogue", SCHEDULES, catalogue);
}
