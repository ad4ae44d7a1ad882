//! What loading schemas did, and what state they are in.

use serde::Serialize;

use crate::model::{SchemaName, SchemaState};

/// A file or text that was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaFailure {
    /// The file, or another name of the source.
    pub source: String,
    /// What is wrong.
    pub message: String,
    /// The stable code of the error.
    pub code: String,
}

/// What a run of loading did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SchemaLoadingReport {
    /// Schemas that were new, now in state Available.
    pub loaded: Vec<SchemaName>,
    /// Schemas that were there with the same definition; nothing changed.
    pub unchanged: Vec<SchemaName>,
    /// What was not loaded. One bad file never stops the others.
    pub failed: Vec<SchemaFailure>,
    /// Members that no version knows, with their place.
    pub warnings: Vec<String>,
}

impl SchemaLoadingReport {
    /// Whether everything was loaded or known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

/// The state of one schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaStatus {
    /// The schema.
    pub name: SchemaName,
    /// Its state.
    pub state: SchemaState,
    /// Why it was set, if a reason was given.
    pub reason: Option<String>,
    /// Where the definition came from.
    pub source: Option<String>,
    /// The content hash of the definition, in hexadecimal digits.
    pub hash: String,
    /// The commit that stored the definition.
    pub loaded: u64,
    /// Live records.
    pub records: u64,
    /// Atoms ever written.
    pub atoms: u64,
}
