//! A pool that is closed while others use it.

use crate::clients::SCHEDULES;
use crate::runs::{choose, run};
use crate::space::Space;

/// Whatever was acknowledged is there when the space is opened again; nobody waits for ever.
pub(crate) fn closing() -> Result<(), String> {
    let space = Space::new(None, &["closed", "store_closed"]);
    let client: fn(&Space, i64) = |space, n| {
        for step in 0..2 {
            let n = n + step;
            match choose(5) {
                0 => space.set(&[0, 1], n),
                1 => {
                    let _ = space.buffer(&[0], n);
                }
                2 => space.transact(0, 1, n),
                3 => space.create(7, n),
                _ => space.get(0),
            }
        }
    };
    let closer: fn(&Space, i64) = |space, _| space.close();
    space.run(vec![Box::new(client), Box::new(client), Box::new(client), Box::new(closer)]);
    space.reopen()
}

#[test]
fn closing_loses_nothing_and_nobody_waits_for_ever() {
    run("closing", SCHEDULES, closing);
}
