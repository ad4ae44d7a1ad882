//! The life of schemas: loading, approving, blocking, unloading, deleting.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{SchemaFailure, SchemaLoadingReport, SchemaStatus};
use crate::data_layer::internal::Execution;
use crate::data_layer::{
    DataLayerError, DatabasePool, Defined, Durability, Receipt, SchemaEntry, WriterId,
};
use crate::engine::FoldDbError;
use crate::model::{SCHEMA_BYTES_MAX, Schema, SchemaName, SchemaState};

/// Loads, approves, blocks and unloads schemas. Each call is one commit or none.
///
/// Loading only ever adds: a definition, once stored, does not change, and no load, restart or
/// repetition changes a state.
///
/// # Errors
///
/// Every call that changes something can also answer [`DataLayerError::Commit`] and
/// [`DataLayerError::Store`]; then nothing was changed, unless the commit's outcome is
/// indeterminate.
///
/// # Durability
///
/// What a call has answered survives the loss of power.
///
/// # Cost
///
/// A commit of a few small rows, and a copy of the catalogue's table of names in memory.
#[derive(Debug, Clone)]
pub struct SchemaService {
    pool: DatabasePool,
}

impl SchemaService {
    pub(crate) fn new(pool: DatabasePool) -> Self {
        Self { pool }
    }

    /// Loads one definition from its JSON text; `source` is remembered as where it came from.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Schema`] for an invalid definition;
    /// [`DataLayerError::AlreadyExists`] for a name with another definition. Nothing is changed.
    pub fn load_text(&self, text: &str, source: Option<&str>) -> Result<Schema, FoldDbError> {
        let schema = Arc::new(Schema::parse(text)?.schema);
        self.define(&schema, source)?;
        Ok(Schema::clone(&schema))
    }

    fn define(&self, schema: &Arc<Schema>, source: Option<&str>) -> Result<Defined, FoldDbError> {
        let define = |execution: &mut Execution<'_>| {
            Ok::<_, FoldDbError>(execution.editor().define(schema, source)?)
        };
        self.run(define).map(|(defined, _)| defined)
    }

    fn run<T>(
        &self,
        request: impl FnMut(&mut Execution<'_>) -> Result<T, FoldDbError>,
    ) -> Result<(T, Receipt), FoldDbError> {
        let pipeline = self.pool.operations().pipeline();
        pipeline.execute(WriterId::OWNER, Durability::Durable, None, request)
    }

    /// Loads schema files: each path is a file, or a folder whose `.json` files are loaded,
    /// sorted by name.
    ///
    /// Each schema is a commit of its own. One that cannot be loaded is reported and does not
    /// stop the others.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`] when the store fails; everything else is in the report.
    pub fn load_paths(&self, paths: &[PathBuf]) -> Result<SchemaLoadingReport, FoldDbError> {
        let mut report = SchemaLoadingReport::default();
        for path in paths {
            match files_of(path) {
                Ok(files) => {
                    for file in files {
                        self.load_file(&file, &mut report)?;
                    }
                }
                Err(error) => report.failed.push(failure(path, error, "unreadable_file")),
            }
        }
        Ok(report)
    }

    fn load_file(&self, path: &Path, report: &mut SchemaLoadingReport) -> Result<(), FoldDbError> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                let is_text = error.kind() != std::io::ErrorKind::InvalidData;
                let code = if is_text { "unreadable_file" } else { "not_text" };
                report.failed.push(failure(path, error, code));
                return Ok(());
            }
        };
        let source = path.display().to_string();
        let parsed = match Schema::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                report.failed.push(failure(path, error, "invalid_schema"));
                return Ok(());
            }
        };
        let warnings = parsed.warnings.iter();
        report.warnings.extend(warnings.map(|warning| format!("{source}: {warning}")));
        let schema = Arc::new(parsed.schema);
        match self.define(&schema, Some(&source)) {
            Ok(Defined::New) => report.loaded.push(schema.name.clone()),
            Ok(Defined::Unchanged) => report.unchanged.push(schema.name.clone()),
            Err(error @ FoldDbError::DataLayer(DataLayerError::AlreadyExists { .. })) => {
                let code = error.code();
                report.failed.push(failure(path, error, code));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Approves a schema: applications may query and write it. From any state.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`]; [`DataLayerError::Refused`] for a definition that asks for
    /// what this version does not do. Then nothing is changed.
    pub fn approve_schema(&self, name: &SchemaName) -> Result<Receipt, FoldDbError> {
        self.set_states(std::slice::from_ref(name), SchemaState::Approved, None)
    }

    /// Blocks a schema: it can no longer be queried and written. Its data stay.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`].
    pub fn block_schema(
        &self,
        name: &SchemaName,
        reason: Option<&str>,
    ) -> Result<Receipt, FoldDbError> {
        self.set_states(std::slice::from_ref(name), SchemaState::Blocked, reason)
    }

    /// Puts a schema back to Available. Its data stay.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`].
    pub fn unload_schema(&self, name: &SchemaName) -> Result<Receipt, FoldDbError> {
        self.set_states(std::slice::from_ref(name), SchemaState::Available, None)
    }

    /// Puts several schemas in a state, all in one commit or none.
    ///
    /// A schema that is in the state already stays as it is.
    ///
    /// # Errors
    ///
    /// As [`SchemaService::approve_schema`]; then no state is changed.
    pub fn set_states(
        &self,
        names: &[SchemaName],
        state: SchemaState,
        reason: Option<&str>,
    ) -> Result<Receipt, FoldDbError> {
        let set = |execution: &mut Execution<'_>| {
            let mut editor = execution.editor();
            for name in names {
                editor.set_state(name, state, reason)?;
            }
            Ok(())
        };
        self.run(set).map(|((), receipt)| receipt)
    }

    /// Deletes the definition of a schema that never had data.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`]; [`DataLayerError::Refused`] for a schema with data.
    pub fn delete(&self, name: &SchemaName) -> Result<Receipt, FoldDbError> {
        let remove = |execution: &mut Execution<'_>| Ok(execution.editor().remove(name)?);
        self.run(remove).map(|((), receipt)| receipt)
    }

    /// The state of every schema, sorted by name.
    #[must_use]
    pub fn get_status(&self) -> Vec<SchemaStatus> {
        let counters = self.pool.operations().pipeline().counters();
        let catalogue = self.pool.operations().catalogue();
        let status = |entry: &Arc<SchemaEntry>| {
            let counters = counters.get(&entry.records()).copied().unwrap_or_default();
            SchemaStatus {
                name: entry.schema.name.clone(),
                state: entry.state,
                reason: entry.reason.as_deref().map(str::to_owned),
                source: entry.source.as_deref().map(str::to_owned),
                hash: entry.hash.to_string(),
                loaded: entry.loaded.0,
                records: counters.records,
                atoms: counters.atoms,
            }
        };
        catalogue.iter().map(status).collect()
    }
}

fn failure(path: &Path, error: impl ToString, code: &str) -> SchemaFailure {
    SchemaFailure {
        source: path.display().to_string(),
        message: error.to_string(),
        code: code.to_owned(),
    }
}

/// A file, or the `.json` files of a folder, sorted by name.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.is_file() && file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let limit = SCHEMA_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
