//! What loading schemas did, and what state they are in.

use std::collections::BTreeMap;

use serde::Serialize;

use super::discovery::{SchemaFile, SchemaSource};
use crate::data_layer::TransformId;
use crate::model::{FieldName, RecordKey, SchemaName, SchemaState, Timestamp, TransformDefinition};

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

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SchemaOutcome {
    /// The schema was new and is now Available.
    Loaded,
    /// The same definition was there; nothing changed.
    Unchanged,
    /// Another definition has the name; nothing changed.
    Conflict,
    /// The file gave no schema.
    Failed,
}

/// One file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaFileReport {
    /// The path.
    pub file: String,
    /// Where it was looked for.
    pub source: SchemaSource,
    /// The schema in it; none if there is no valid one.
    pub schema: Option<SchemaName>,
    /// What became of it.
    pub outcome: SchemaOutcome,
}

/// What a run of loading did, and the states after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SchemaLoadingReport {
    /// Schemas that were new, now in state Available.
    pub loaded: Vec<SchemaName>,
    /// Schemas that were there with the same definition; nothing changed.
    pub unchanged: Vec<SchemaName>,
    /// What was not loaded, conflicts too. One bad file never stops the others.
    pub failed: Vec<SchemaFailure>,
    /// Members and keywords that have no effect, with their file and place.
    pub warnings: Vec<String>,
    /// All files, in the order in which they were looked at.
    pub files: Vec<SchemaFileReport>,
    /// The state of every schema of the space, as of the end of the run.
    pub schema_states: BTreeMap<SchemaName, SchemaState>,
    /// Where every schema of the space was found: in the folder of the run that had it first, else
    /// in the store.
    pub loading_sources: BTreeMap<SchemaName, SchemaSource>,
    /// When the run was; none if there was none since the space was opened.
    pub last_updated: Option<Timestamp>,
}

impl SchemaLoadingReport {
    /// Whether everything was loaded or known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    pub(super) fn add_success(&mut self, file: &SchemaFile, schema: &SchemaName, is_new: bool) {
        let (names, outcome) = match is_new {
            true => (&mut self.loaded, SchemaOutcome::Loaded),
            false => (&mut self.unchanged, SchemaOutcome::Unchanged),
        };
        names.push(schema.clone());
        self.loading_sources.entry(schema.clone()).or_insert(file.source);
        self.add_file(file, Some(schema), outcome);
    }

    pub(super) fn add_failure(
        &mut self,
        file: &SchemaFile,
        schema: Option<&SchemaName>,
        error: &dyn std::error::Error,
        code: &str,
    ) {
        self.failed.push(SchemaFailure {
            source: file.path.display().to_string(),
            message: error.to_string(),
            code: code.to_owned(),
        });
        let conflict = schema.is_some();
        let outcome = if conflict { SchemaOutcome::Conflict } else { SchemaOutcome::Failed };
        self.add_file(file, schema, outcome);
    }

    fn add_file(&mut self, file: &SchemaFile, schema: Option<&SchemaName>, outcome: SchemaOutcome) {
        let (path, source) = (file.path.display().to_string(), file.source);
        self.files.push(SchemaFileReport { file: path, source, schema: schema.cloned(), outcome });
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

/// The state of one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStatus {
    /// Its fields, the first one sorts first.
    pub fields: Vec<FieldName>,
    /// Whether two records must not have the same values.
    pub unique: bool,
    /// `building`, `ready` or `failed`.
    pub state: &'static str,
    /// How many records were read, while it is being built.
    pub records_read: Option<u64>,
    /// Of a unique index that failed: the first 100 pairs of records with the same values.
    pub duplicates: Vec<(RecordKey, RecordKey)>,
}

/// One transform of an approved schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformStatus {
    /// Its revision, which each atom that it computed names as its writer.
    pub revision: TransformId,
    /// The schema.
    pub schema: SchemaName,
    /// The field that it computes.
    pub field: FieldName,
    /// The field of another schema that defines it, as `Schema.field`.
    pub defined_in: Option<String>,
    /// The fields that it reads, as `Schema.field`, each once, in the order of the logic.
    pub inputs: Vec<String>,
    /// Its definition.
    pub definition: TransformDefinition,
    /// `filling` while records that were there before it are computed, then `ready`; `stale` while
    /// it, or a transform whose result it depends on, has something left to compute.
    pub state: &'static str,
    /// How many of those records it has looked at, while it is filling.
    pub records_read: Option<u64>,
    /// For how many records it has no result at present; see
    /// [`SchemaService::transform_failures`](super::SchemaService::transform_failures).
    pub failing: u64,
    /// How much is left to compute because it was too much for one commit: records that changed,
    /// each with all that depends on it.
    pub queued: u64,
}
