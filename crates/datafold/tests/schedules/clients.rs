//! Clients that write, read, run transactions and flush at once.

use crate::runs::{choose, run};
use crate::space::{Client, Space};

/// How many schedules of each kind a usual run has.
pub(crate) const SCHEDULES: usize = 2_000;

/// Writers of pairs and of single items, and readers of both.
pub(crate) fn writers_and_readers() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let writer: fn(&Space, i64) = |space, n| {
        for step in 0..2 {
            match choose(3) {
                0 => space.set(&[0, 1], n + step),
                1 => space.set(&[0], n + step),
                _ => space.get(0),
            }
        }
        space.get(1);
    };
    let reader: fn(&Space, i64) = |space, _| {
        for _ in 0..2 {
            match choose(4) {
                0 => space.get(0),
                1 => space.scan(),
                2 => space.look(&[0, 1]),
                _ => space.get_past(0),
            }
        }
    };
    space.run(vec![Box::new(writer), Box::new(writer), Box::new(reader)]);
    space.finish()
}

/// Transactions that read what others write, and creations of one record.
pub(crate) fn transactions() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let client: fn(&Space, i64) = |space, n| {
        for step in 0..2 {
            match choose(4) {
                0 => space.transact(0, 0, n + step),
                1 => space.transact(0, 1, n + step),
                2 => space.transact(1, 0, n + step),
                _ => space.create(7, n + step),
            }
        }
    };
    space.run(vec![Box::new(client), Box::new(client), Box::new(client)]);
    space.finish()
}

/// Commits that nobody waits for, more than the queue holds, and those who flush them.
pub(crate) fn buffered() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let client: fn(&Space, i64) = |space, n| {
        let mut last = None;
        for step in 0..3 {
            last = space.buffer(&[choose(2).cast_signed()], n + step);
        }
        match choose(2) {
            0 => {
                let is_flushed = space.flush();
                if let Some(last) = last.filter(|_| is_flushed) {
                    space.ledger.acknowledged(last, space.store.durable());
                }
            }
            _ => space.set(&[0, 1], n + 3),
        }
        space.scan();
    };
    let clients: Vec<Client> = vec![Box::new(client), Box::new(client)];
    space.run(clients);
    space.finish()
}

/// Many reads by key of what is written meanwhile: out of the cache, or past it.
pub(crate) fn cache() -> Result<(), String> {
    let space = Space::new(None, &[]);
    let writer: fn(&Space, i64) = |space, n| {
        for step in 0..3 {
            space.set(&[0], n + step);
        }
    };
    let reader: fn(&Space, i64) = |space, _| {
        for _ in 0..4 {
            space.get(0);
        }
    };
    space.run(vec![Box::new(writer), Box::new(reader), Box::new(reader)]);
    space.finish()
}

#[test]
fn writers_and_readers_see_one_order() {
    run("writers and readers", SCHEDULES, writers_and_readers);
}

#[test]
fn transactions_lose_nothing() {
    run("transactions", SCHEDULES, transactions);
}

#[test]
fn what_is_flushed_is_there() {
    run("buffered", SCHEDULES, buffered);
}

#[test]
fn the_cache_has_the_rows_of_the_snapshot() {
    run("cache", SCHEDULES, cache);
}
