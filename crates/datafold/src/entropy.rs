//! The seam to the operating system's random numbers.

use std::hash::BuildHasher;
#[cfg(feature = "shuttle")]
use std::hash::BuildHasherDefault;
#[cfg(not(feature = "shuttle"))]
use std::hash::RandomState;

use datafold_store::{BatchToken, StoreError};

/// A random number that no other batch has.
pub(crate) fn token() -> Result<BatchToken, StoreError> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| StoreError::Engine {
        action: "get random bytes",
        source: Box::new(error),
    })?;
    Ok(token)
}

/// The state of the hashes of keys: random, but the same in each run of a schedule.
#[cfg(not(feature = "shuttle"))]
type KeyState = RandomState;
#[cfg(feature = "shuttle")]
type KeyState = BuildHasherDefault<std::hash::DefaultHasher>;

/// Hashes that nobody can foresee, so that nobody can choose keys that share one.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(KeyState);

impl KeyHasher {
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}
