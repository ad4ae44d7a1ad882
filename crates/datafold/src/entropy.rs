//! The seam to the operating system's random numbers.

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
