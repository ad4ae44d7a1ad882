//! The clock jumps, forwards and back, while commits and reads as of times go on.
//!
//! Full size: `DATAFOLD_FULL=1 cargo test -p datafold --test it clock_jumps -- --nocapture`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Instant;

use datafold::clock::{Clock, ManualClock};
use datafold::model::Timestamp;
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use crate::harness::{Place, approve, check_sound, clock, fold_db, name, noon};
use crate::stage::{ITEM, create};

const WRITERS: u64 = 3;
const READERS: u64 = 2;

/// A read as of a time: the commit that it was answered at, and the number of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    time: i64,
    commit: u64,
    items: usize,
}

/// What was answered so far.
#[derive(Debug, Default)]
struct Log {
    /// The time of each commit, all of which are known.
    times: BTreeMap<u64, i64>,
    /// The last commit before the first item.
    base: u64,
    answers: Vec<Answer>,
}

impl Log {
    /// Times rise with the numbers; a read as of a time sees the commits up to it and no other.
    fn check(&self) -> Result<(), String> {
        let times: Vec<_> = self.times.iter().collect();
        for pair in times.windows(2) {
            let [(one, earlier), (other, later)] = pair else { continue };
            if **other != **one + 1 || later <= earlier {
                return Err(format!("commit {one} at {earlier}, commit {other} at {later}"));
            }
        }
        for answer in &self.answers {
            let found = times.partition_point(|(_, time)| **time <= answer.time);
            let commit = found.checked_sub(1).map(|at| *times[at].0);
            let commit = commit.ok_or_else(|| format!("{answer:?} is before the first commit"))?;
            let items = usize::try_from(commit.saturating_sub(self.base)).unwrap();
            if (answer.commit, answer.items) != (commit, items) {
                return Err(format!("{answer:?} where commit {commit} was to be seen"));
            }
        }
        Ok(())
    }

    /// Everything that was read is read again.
    fn read_again(&self, db: &FoldDb) -> Result<(), String> {
        for answer in &self.answers {
            let found = read(db, answer.time).map_err(|code| format!("{answer:?}: {code}"))?;
            if found != *answer {
                return Err(format!("{answer:?} became {found:?}"));
            }
        }
        Ok(())
    }

    /// A restart forgets the times that were read, so those that neither the clock nor a commit
    /// has reached may get another answer.
    fn forget_after(&mut self, now: i64) {
        let last = self.times.values().next_back().copied().unwrap_or(now);
        self.answers.retain(|answer| answer.time <= now.max(last));
    }
}

fn read(db: &FoldDb, time: i64) -> Result<Answer, &'static str> {
    let as_of = Some(Timestamp::from_micros(time).to_string());
    let query = QueryRequest { as_of, ..QueryRequest::new(name("Item")) };
    let answer = db.query(&query).map_err(|error| error.code())?;
    Ok(Answer { time, commit: answer.commit.0, items: answer.records.len() })
}

/// From a microsecond to some years, and mostly a little.
fn jump(random: &mut Random) -> i64 {
    let most = *random.choose(&[3, 100, 10_000, 3_600_000_000, 86_400_000_000 * 900]).unwrap();
    i64::try_from(random.below(2 * most + 1)).unwrap() - i64::try_from(most).unwrap()
}

/// Some threads write and some read while the clock jumps.
fn round(db: &FoldDb, clock: &ManualClock, log: &mut Log, seed: u64, commits: u64) {
    let first = log.times.values().next().copied().unwrap();
    let known = AtomicI64::new(*log.times.values().next_back().unwrap());
    let done = AtomicBool::new(false);
    let next = AtomicI64::new(i64::try_from(log.times.len()).unwrap());
    thread::scope(|scope| {
        let (known, done, next) = (&known, &done, &next);
        scope.spawn(move || {
            let mut random = Random::part(seed, 1);
            while !done.load(Ordering::SeqCst) {
                // Around where it stood, or around where it began, so that it comes back.
                let from = if random.one_in(4) { noon() } else { clock.now() };
                let time = from.as_micros().saturating_add(jump(&mut random)).max(first);
                clock.set(Timestamp::from_micros(time));
                thread::yield_now();
            }
        });
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                scope.spawn(move || {
                    let mut random = Random::part(seed, 100 + reader);
                    let mut answers = Vec::new();
                    while !done.load(Ordering::SeqCst) {
                        let settled = known.load(Ordering::SeqCst);
                        let from = if random.one_in(2) { settled } else { clock.now().as_micros() };
                        let time = (from + jump(&mut random).min(50)).max(first);
                        match read(db, time) {
                            Ok(answer) => answers.push(answer),
                            Err(code) => {
                                assert_eq!(code, "future_moment");
                                assert!(time > settled, "{time} was over, {}", replay(seed));
                            }
                        }
                    }
                    answers
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(move || {
                    let commit = |_| {
                        let receipt = create(db, next.fetch_add(1, Ordering::SeqCst)).unwrap();
                        known.fetch_max(receipt.time.as_micros(), Ordering::SeqCst);
                        (receipt.commit.0, receipt.time.as_micros())
                    };
                    (0..commits).map(commit).collect::<Vec<_>>()
                })
            })
            .collect();
        for writer in writers {
            log.times.extend(writer.join().unwrap());
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            log.answers.extend(reader.join().unwrap());
        }
    });
}

/// A space that was just created, and what is known of it.
fn space(place: &mut Place) -> (FoldDb, Arc<ManualClock>, Log) {
    let clock = clock();
    let db = fold_db(place.open(), Arc::clone(&clock) as _);
    approve(&db, ITEM);
    let (commit, time) = db.pool().operations().head();
    let log =
        Log { times: [(commit.0, time.as_micros())].into(), base: commit.0, answers: Vec::new() };
    (db, clock, log)
}

/// Rounds of one space, with a restart behind each; answers the commits and the reads.
fn rounds(place: &mut Place, random: &mut Random, count: u64) -> Result<[usize; 2], String> {
    let (mut db, clock, mut log) = space(place);
    let mut reads = 0;
    for _ in 0..count {
        let before = log.answers.len();
        round(&db, &clock, &mut log, random.next_u64(), 12);
        reads += log.answers.len() - before;
        log.check()?;
        log.read_again(&db)?;
        check_sound(&db);
        drop(db);
        // The clock of the next process stands anywhere.
        let first = *log.times.values().next().unwrap();
        let now = (noon().as_micros() + jump(random)).max(first);
        clock.set(Timestamp::from_micros(now));
        log.forget_after(now);
        // Enough to read again after each restart.
        log.answers.truncate(300);
        db = fold_db(place.open(), Arc::clone(&clock) as _);
        log.read_again(&db).map_err(|error| format!("after a restart: {error}"))?;
    }
    Ok([log.times.len() - 1, reads])
}

#[test]
fn a_time_has_one_answer_while_the_clock_jumps() {
    let seed = seed_from_env(0xC10C);
    let spaces = if is_full_size() { 60 } else { 1 };
    for engine in 0..3 {
        let begin = Instant::now();
        let (mut commits, mut reads) = (0, 0);
        for space in 0..spaces {
            let mut random = Random::part(seed, space * 3 + engine);
            let mut place = match engine {
                0 => Place::memory(),
                1 => Place::sim(seed),
                _ => Place::sled(),
            };
            let done = rounds(&mut place, &mut random, 4);
            let [made, read] = done.unwrap_or_else(|error| panic!("{error}\n  {}", replay(seed)));
            commits += made;
            reads += read;
        }
        let name = ["memory", "redb", "sled"][usize::try_from(engine).unwrap()];
        eprintln!(
            "clock jumps on {name}: {} restarts, {commits} commits, {reads} reads as of a time, \
             seed {seed:#x}, {:.1} s",
            spaces * 4,
            begin.elapsed().as_secs_f64()
        );
        assert!(reads > 100, "{reads} reads");
    }
}

/// The canary: a process that forgets which times it has answered must be found out. A restart
/// does, if the clock is set back behind them.
#[test]
fn a_time_that_was_answered_and_forgotten_is_found_out() {
    let mut place = Place::memory();
    let (db, clock, mut log) = space(&mut place);
    let later = noon().as_micros() + 3_600_000_000;
    clock.set(Timestamp::from_micros(later));
    log.answers.push(read(&db, later).unwrap());
    let write = |db: &FoldDb, log: &mut Log| {
        let receipt = create(db, 1).unwrap();
        log.times.insert(receipt.commit.0, receipt.time.as_micros());
    };
    clock.set(noon());
    drop(db);
    let db = fold_db(place.open(), Arc::clone(&clock) as _);
    write(&db, &mut log);
    assert!(log.check().unwrap_err().contains("was to be seen"));
    clock.set(Timestamp::from_micros(later));
    assert!(log.read_again(&db).unwrap_err().contains("became"));
    // The same without a restart is sound.
    let (db, clock, mut log) = space(&mut Place::memory());
    clock.set(Timestamp::from_micros(later));
    log.answers.push(read(&db, later).unwrap());
    clock.set(noon());
    write(&db, &mut log);
    assert_eq!(log.check().and_then(|()| log.read_again(&db)), Ok(()));
    // Times that do not rise are found out too.
    let last = *log.times.values().next_back().unwrap();
    log.times.insert(log.base + 2, last);
    assert!(log.check().is_err());
}
