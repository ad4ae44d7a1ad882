//! A fixed run of batches, and the state that a store has after each of them.

use bytes::Bytes;
use datafold_store::{Batch, Keyspace, SpaceId, Store};
use datafold_testkit::model::describe;
use datafold_testkit::{ModelStore, Random};

/// Batches 1, 2, 3... of one space, each following the one before.
pub(crate) struct Workload {
    batches: Vec<Batch>,
    /// The store after 0, 1, 2... batches.
    models: Vec<ModelStore>,
}

impl Workload {
    /// `count` random batches that overwrite, delete and grow a few dozen rows.
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        let mut random = Random::new(seed);
        let mut models = vec![ModelStore::new()];
        let mut batches = Vec::new();
        for number in 1..=count {
            let batch = random_batch(&mut random, number);
            let mut model = models[models.len() - 1].clone();
            assert_eq!(model.apply(&batch), Ok(()));
            models.push(model);
            batches.push(batch);
        }
        Self { batches, models }
    }

    /// Keeps all batches but the last.
    pub(crate) fn forget_last_batch(&mut self) {
        self.batches.pop();
    }

    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The batch behind commit `number`, if there is one.
    pub(crate) fn next(&self, number: u64) -> Option<&Batch> {
        self.batches.get(usize::try_from(number).unwrap())
    }

    /// Checks that a store holds exactly the batches up to one number, and answers that number.
    pub(crate) fn check(&self, store: &dyn Store) -> Result<u64, String> {
        let view = store.snapshot().map_err(|error| describe(&error))?;
        let head = view.head(SpaceId::DEFAULT).map_err(|error| describe(&error))?;
        let number = head.map_or(0, |head| head.number);
        let model = self.models.get(usize::try_from(number).unwrap());
        let model = model.ok_or_else(|| format!("commit {number} was never attempted"))?;
        model.check(&*view).map_err(|error| format!("at commit {number}: {error}"))?;
        Ok(number)
    }

    /// Checks that a store holds the batches up to a number within `range`, whole.
    pub(crate) fn check_within(
        &self,
        store: &dyn Store,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let number = self.check(store)?;
        if range.contains(&number) {
            return Ok(number);
        }
        let (first, last) = range.into_inner();
        Err(format!("the store is at commit {number}, it must be at {first} to {last}"))
    }
}

fn random_batch(random: &mut Random, number: u64) -> Batch {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&random.next_u64().to_be_bytes());
    let mut batch = Batch::new(SpaceId::DEFAULT, number - 1, number, token);
    batch.head = Bytes::from(random.bytes(24));
    let keyspaces = [Keyspace::Records, Keyspace::Elements, Keyspace::History, Keyspace::Commits];
    for _ in 0..1 + random.below(10) {
        let keyspace = keyspaces[random.below(keyspaces.len())];
        let key = format!("key {}", random.below(60)).into_bytes();
        let len = match random.below(20) {
            0 => 12_000,
            1..=4 => 1_500,
            _ => random.below(200),
        };
        let value = if random.one_in(4) { None } else { Some(random.bytes(len).into()) };
        batch.write((keyspace, key.into()), value);
    }
    batch
}
