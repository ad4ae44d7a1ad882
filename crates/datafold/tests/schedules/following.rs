//! Who follows the commits, while others make them.

use crate::clients::SCHEDULES;
use crate::runs::{choose, run};
use crate::space::Space;

/// The commits before the first one here: those that `prepare` makes.
const BEFORE: u64 = 3;

/// Each commit is followed once, in order and when it is durable; nobody waits for ever.
pub(crate) fn following() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let writer: fn(&Space, i64) = |space, n| {
        for step in 0..2 {
            match choose(2) {
                0 => space.set(&[0, 1], n + step),
                _ => space.set(&[0], n + step),
            }
        }
    };
    let follower: fn(&Space, i64) = |space, _| space.follow(BEFORE + 1, 4);
    space.run(vec![Box::new(writer), Box::new(writer), Box::new(follower)]);
    space.finish()
}

/// The end of the pool is told, too.
pub(crate) fn closing() -> Result<(), String> {
    let space = Space::new(None, &["closed", "store_closed"]);
    let writer: fn(&Space, i64) = |space, n| space.set(&[0], n);
    let follower: fn(&Space, i64) = |space, _| space.follow(BEFORE + 1, 9);
    let closer: fn(&Space, i64) = |space, _| space.close();
    space.run(vec![Box::new(writer), Box::new(follower), Box::new(closer)]);
    space.reopen()
}

#[test]
fn each_commit_is_followed_once() {
    run("following", SCHEDULES, following);
}

#[test]
fn who_follows_is_told_of_the_end() {
    run("following to the end", SCHEDULES, closing);
}
