//! The times of commits, and reading as of them.

use std::thread;

use datafold::model::Timestamp;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{ApplyFault, Random};

use crate::harness::{all, name, noon};
use crate::stage::{Stage, code, create, linger, set};

fn after(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + micros)
}

/// The number of items as of a moment, and the commit that was read at.
fn count(db: &FoldDb, moment: impl ToString) -> Result<(usize, u64), datafold::FoldDbError> {
    let query = QueryRequest { as_of: Some(moment.to_string()), ..QueryRequest::new(name("Item")) };
    let answer = db.query(&query)?;
    Ok((answer.records.len(), answer.commit.0))
}

#[test]
fn times_rise_whatever_the_clock_does() {
    let stage = Stage::new();
    let mut random = Random::new(1);
    let mut last = stage.db.pool().operations().head().1;
    for id in 0..200 {
        let jump = i64::try_from(random.below(2_000)).unwrap() - 1_000;
        stage.clock.set(after(noon(), jump));
        let receipt = create(&stage.db, id).unwrap();
        assert_eq!(receipt.time, after(last, 1).max(after(noon(), jump)));
        last = receipt.time;
    }
}

#[test]
fn a_time_that_was_read_has_its_answer_for_ever() {
    let stage = Stage::new();
    let mut random = Random::new(2);
    let mut answers = Vec::new();
    for id in 0..150_i64 {
        let jump = i64::try_from(random.below(300)).unwrap() - 100;
        stage.clock.set(after(noon(), id * 10 + jump));
        create(&stage.db, id).unwrap();
        let time = after(noon(), id * 10 + i64::try_from(random.below(200)).unwrap() - 100);
        let time = time.max(after(noon(), 2));
        match count(&stage.db, time) {
            Ok(answer) => answers.push((time, answer)),
            Err(error) => assert_eq!(error.code(), "future_moment"),
        }
        // Also where the clock has not got there again.
        for (time, answer) in &answers {
            assert_eq!(count(&stage.db, time).unwrap(), *answer);
        }
    }
    assert!(answers.len() > 50);
    let db = stage.reopen();
    let last = db.pool().operations().head().1;
    for (time, answer) in answers.iter().filter(|(time, _)| *time <= last) {
        assert_eq!(count(&db, time).unwrap(), *answer);
    }
}

#[test]
fn the_future_is_not_read() {
    let stage = Stage::new();
    let receipt = create(&stage.db, 1).unwrap();
    assert_eq!(count(&stage.db, receipt.time).unwrap(), (1, receipt.commit.0));
    assert_eq!(code(count(&stage.db, after(receipt.time, 1))), "future_moment");
    assert_eq!(code(count(&stage.db, receipt.commit.0 + 1)), "future_moment");
    stage.clock.set(after(receipt.time, 5));
    assert_eq!(count(&stage.db, after(receipt.time, 5)).unwrap(), (1, receipt.commit.0));
    // A commit made now comes after what was read.
    assert!(create(&stage.db, 2).unwrap().time > after(receipt.time, 5));
    assert_eq!(count(&stage.db, after(receipt.time, 5)).unwrap(), (1, receipt.commit.0));
    assert_eq!(code(count(&stage.db, "yesterday")), "invalid_request");
    assert_eq!(code(count(&stage.db, Timestamp::MIN)), "schema_not_found");
}

#[test]
fn a_time_waits_for_the_pending_commits_that_belong_to_it() {
    for fault in [None, Some(ApplyFault::Failed)] {
        let stage = Stage::new();
        let base = stage.head();
        stage.clock.set(after(noon(), 1_000));
        if let Some(fault) = fault {
            stage.store.fail_apply(1, fault);
        }
        stage.store.gate().shut();
        thread::scope(|scope| {
            let writer = stage.queue(scope, |db| create(db, 1));
            stage.store.gate().wait_for(1);
            let locks = stage.db.stats().unwrap().locks.taken;
            let reader = scope.spawn(|| count(&stage.db, after(noon(), 1_000)));
            linger(|| stage.db.stats().unwrap().locks.taken >= locks + 3);
            // What is known already is answered at once.
            assert_eq!(count(&stage.db, after(noon(), 0)).unwrap().0, 0);
            stage.store.gate().open();
            let expected = if fault.is_none() { (1, base + 1) } else { (0, base) };
            assert_eq!(reader.join().unwrap().unwrap(), expected);
            assert_eq!(writer.join().unwrap().is_ok(), fault.is_none());
        });
        set(&stage.db, 2, 2).unwrap();
        assert_eq!(count(&stage.db, after(noon(), 1_000)).unwrap().0, usize::from(fault.is_none()));
    }
}

#[test]
fn relative_times_are_before_now() {
    let stage = Stage::new();
    stage.clock.set(after(noon(), 3_600_000_000));
    create(&stage.db, 1).unwrap();
    stage.clock.set(after(noon(), 7_200_000_000));
    create(&stage.db, 2).unwrap();
    assert_eq!(count(&stage.db, "-30m").unwrap().0, 1);
    assert_eq!(count(&stage.db, "-90m").unwrap().0, 0);
    assert_eq!(all(&stage.db, "Item"), "[1,0,null]\n[2,0,null]\n");
}
