//! Random programs, run against an engine and the model side by side.

#![expect(clippy::indexing_slicing, reason = "the indexes are below the lengths")]

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{Batch, BatchToken, Keyspace, Outcome, Scan, Snapshot, SpaceId, Store};

use super::{Harness, row_keyspaces};
use crate::model::{Row, describe, read_all};
use crate::{ModelStore, Random, replay, seed_from_env};

const STEPS: usize = 60;
/// Snapshots that a program holds at most.
const SNAPSHOTS_MAX: usize = 3;

/// Every program leaves the engine as it leaves the model, and every read on the way agrees.
pub fn random_programs_match_the_model(harness: &dyn Harness) {
    let seed = seed_from_env(0xDA7A_F01D);
    for program in 0..harness.program_count() {
        if let Err(message) = run_program(harness, seed, program, STEPS) {
            panic!("program {program}: {message}\n  {}", replay(seed));
        }
    }
}

/// Runs `steps` steps of program number `program` of a seed: batches, reads, snapshots and
/// reopenings. Answers the rows at the end, which depend on the program only, so that engines can
/// be compared with each other.
///
/// # Errors
///
/// A text that names the step and the first difference from the model.
pub fn run_program(
    harness: &dyn Harness,
    seed: u64,
    program: u64,
    steps: usize,
) -> Result<Vec<Row>, String> {
    let mut run = Run {
        store: harness.fresh(),
        model: ModelStore::new(),
        snapshots: Vec::new(),
        random: Random::part(seed, program),
    };
    for step in 0..steps {
        run = run.step(harness).map_err(|message| format!("step {step}: {message}"))?;
    }
    run = run.reopen(harness);
    run.check_latest().map_err(|message| format!("after the last step: {message}"))?;
    Ok(run.model.dump())
}

struct Run {
    store: Arc<dyn Store>,
    model: ModelStore,
    /// Each with the model as it was then.
    snapshots: Vec<(Arc<dyn Snapshot>, ModelStore)>,
    random: Random,
}

impl Run {
    fn step(mut self, harness: &dyn Harness) -> Result<Self, String> {
        match self.random.below(20) {
            0..=8 => self.apply()?,
            9..=11 => self.get()?,
            12..=14 => self.scan()?,
            15 | 16 => self.take_snapshot()?,
            17 => self.check_old()?,
            18 => self.check_latest()?,
            _ => self = self.reopen(harness),
        }
        Ok(self)
    }

    fn apply(&mut self) -> Result<(), String> {
        let batch = self.batch();
        let expected = self.model.apply(&batch);
        match (self.store.apply(&batch), expected) {
            (Outcome::Accepted, Ok(())) => Ok(()),
            (Outcome::Fenced { head }, Err(expected)) if head == expected => Ok(()),
            (outcome, expected) => {
                Err(format!("a batch was answered {outcome:?}, the model answers {expected:?}"))
            }
        }
    }

    fn batch(&mut self) -> Batch {
        let random = &mut self.random;
        let space = SpaceId([0, 1, 0xF8][random.below(3)]);
        let head = self.model.head_number(space);
        let follows = if random.one_in(10) { head + 1 + random.below(2) as u64 } else { head };
        let mut token: BatchToken = [0; 16];
        token[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        let mut batch = Batch::new(space, follows, follows + 1 + random.below(3) as u64, token);
        let payload_len = random.below(40);
        batch.head = Bytes::from(random.bytes(payload_len));
        for _ in 0..random.below(12) {
            let (keyspace, key) = (keyspace(random), key(random));
            let value = if random.one_in(3) { None } else { Some(value(random).into()) };
            batch.write((keyspace, key.into()), value);
        }
        batch
    }

    /// A snapshot, old or new, and the model of its moment.
    fn view(&mut self) -> Result<(Arc<dyn Snapshot>, ModelStore), String> {
        if self.random.one_in(2)
            && let Some(old) = self.random.choose(&self.snapshots)
        {
            return Ok(old.clone());
        }
        let view = self.store.snapshot().map_err(|error| describe(&error))?;
        Ok((view, self.model.clone()))
    }

    fn get(&mut self) -> Result<(), String> {
        let (view, model) = self.view()?;
        let random = &mut self.random;
        let keys: Vec<_> = (0..random.below(8)).map(|_| (keyspace(random), key(random))).collect();
        let asked: Vec<_> = keys.iter().map(|(keyspace, key)| (*keyspace, &key[..])).collect();
        let found = view.get_many(&asked).map_err(|error| describe(&error))?;
        let expected = asked.iter().map(|(keyspace, key)| model.get(*keyspace, key));
        let expected: Vec<_> = expected.map(|value| value.map(<[u8]>::to_vec)).collect();
        if found == expected { Ok(()) } else { Err(format!("get_many differs at {asked:?}")) }
    }

    fn scan(&mut self) -> Result<(), String> {
        let (view, model) = self.view()?;
        let random = &mut self.random;
        let mut scan = match random.below(3) {
            0 => Scan::all(keyspace(random)),
            1 => Scan::prefix(keyspace(random), &key(random)),
            _ => Scan::range(keyspace(random), bound(random), bound(random)),
        };
        if random.one_in(2) {
            scan = scan.reverse();
        }
        scan = scan.rows(1 + random.below(9));
        scan.bytes_max = [1, 40, 1 << 20][random.below(3)];
        let found = read_all(&*view, scan.clone()).map_err(|error| describe(&error))?;
        if found == model.scan(&scan) { Ok(()) } else { Err(format!("{scan:?} differs")) }
    }

    fn take_snapshot(&mut self) -> Result<(), String> {
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            self.snapshots.swap_remove(self.random.below(SNAPSHOTS_MAX));
        }
        let view = self.store.snapshot().map_err(|error| describe(&error))?;
        self.snapshots.push((view, self.model.clone()));
        Ok(())
    }

    fn check_old(&self) -> Result<(), String> {
        self.snapshots.iter().try_for_each(|(view, model)| model.check(&**view))
    }

    fn check_latest(&self) -> Result<(), String> {
        let view = self.store.snapshot().map_err(|error| describe(&error))?;
        self.model.check(&*view)
    }

    fn reopen(mut self, harness: &dyn Harness) -> Self {
        self.snapshots.clear();
        Self { store: harness.reopen(self.store), ..self }
    }
}

fn keyspace(random: &mut Random) -> Keyspace {
    // Few keyspaces, so that keys meet again.
    let keyspaces: Vec<_> = row_keyspaces().take(3).collect();
    random.choose(&keyspaces).copied().unwrap_or(Keyspace::Records)
}

fn key(random: &mut Random) -> Vec<u8> {
    (0..random.below(4)).map(|_| [0x00, 0x01, 0x7F, 0x80, 0xFF][random.below(5)]).collect()
}

fn value(random: &mut Random) -> Vec<u8> {
    let len = if random.one_in(20) { 5_000 } else { random.below(60) };
    random.bytes(len)
}

fn bound(random: &mut Random) -> Bound<Vec<u8>> {
    match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(random)),
        _ => Bound::Excluded(key(random)),
    }
}
