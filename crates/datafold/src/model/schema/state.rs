//! What the owner has decided about a schema.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the owner has decided about a schema.
///
/// Only an approved schema is queried and mutated. Mappings and transforms go on working for the
/// others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum SchemaState {
    /// Known, and not approved.
    #[default]
    Available,
    /// In use.
    Approved,
    /// Refused.
    Blocked,
}

/// A text is not the name of a [`SchemaState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not Available, Approved or Blocked", found.escape_debug())]
pub struct SchemaStateError {
    /// The text.
    pub found: String,
}

impl SchemaStateError {
    /// A name of the error that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "schema_state_unknown"
    }
}

impl SchemaState {
    /// `Available`, `Approved` or `Blocked`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SchemaState::Available => "Available",
            SchemaState::Approved => "Approved",
            SchemaState::Blocked => "Blocked",
        }
    }

    /// Reads what [`SchemaState::as_str`] gives.
    ///
    /// # Errors
    ///
    /// [`SchemaStateError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, SchemaStateError> {
        let states = [SchemaState::Available, SchemaState::Approved, SchemaState::Blocked];
        let found = states.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| SchemaStateError { found: text.to_owned() })
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SchemaState {
    type Err = SchemaStateError;

    fn from_str(text: &str) -> Result<Self, SchemaStateError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_back() {
        for state in [SchemaState::Available, SchemaState::Approved, SchemaState::Blocked] {
            assert_eq!(SchemaState::parse(&state.to_string()), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert!(SchemaState::parse("approved").is_err());
    }
}
