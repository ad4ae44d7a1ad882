//! Loading: from files to definitions in state Available.

use std::path::PathBuf;
use std::sync::Arc;

use super::discovery::{SchemaFile, read_path};
use super::initialize::Initialize;
use super::report::SchemaLoadingReport;
use super::{SchemaService, SchemaSource};
use crate::data_layer::Defined;
use crate::data_layer::internal::Execution;
use crate::engine::{ErrorClass, FoldDbError};
use crate::model::{Schema, SchemaName};

impl SchemaService {
    /// Loads one definition from its JSON text; `source` is remembered as where it came from.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Schema`] for an invalid definition;
    /// [`crate::data_layer::DataLayerError::AlreadyExists`] for a name with another definition.
    /// Nothing is changed.
    pub fn load_text(&self, text: &str, source: Option<&str>) -> Result<Schema, FoldDbError> {
        let schema = Arc::new(Schema::parse(text)?.schema);
        self.define(&schema, source)?;
        Ok(Schema::clone(&schema))
    }

    /// As [`SchemaService::load_text`], without a source.
    ///
    /// # Errors
    ///
    /// As [`SchemaService::load_text`].
    pub fn load(&self, text: &str) -> Result<Schema, FoldDbError> {
        self.load_text(text, None)
    }

    /// Loads schema files: each path is a file, or a folder whose `.json` files are loaded,
    /// sorted by name.
    ///
    /// Each schema is a commit of its own. One that cannot be loaded is reported and does not
    /// stop the others. The report has the states and sources of the schemas in these files.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`] when the store fails; everything else is in the report.
    pub fn load_paths(&self, paths: &[PathBuf]) -> Result<SchemaLoadingReport, FoldDbError> {
        let mut report = self.load_files(paths.iter().flat_map(|path| read_path(path)))?;
        let named: Vec<SchemaName> =
            report.files.iter().filter_map(|file| file.schema.clone()).collect();
        self.describe(&mut report);
        report.schema_states.retain(|name, _| named.contains(name));
        report.loading_sources.retain(|name, _| named.contains(name));
        Ok(report)
    }

    /// Looks for schemas in the folders of the discovery and loads what is new, on a thread of the
    /// library.
    ///
    /// The future needs no runtime: whatever polls it is woken when the work is done. Nothing is
    /// done before it is polled; dropping it later does not end the work.
    ///
    /// Files only ever add: what the store has keeps its definition and its state. In the report
    /// are the states of all schemas, also of those without a file.
    ///
    /// # Errors
    ///
    /// As [`SchemaService::initialize_blocking`], and
    /// [`datafold_store::StoreError::Io`] if no thread can be begun.
    pub fn initialize(&self) -> Initialize {
        Initialize::new(self.clone())
    }

    /// As [`SchemaService::initialize`], on the calling thread.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`] when the store fails; everything else is in the report.
    pub fn initialize_blocking(&self) -> Result<SchemaLoadingReport, FoldDbError> {
        let mut report = self.load_files(self.discovery.discover_all_sources().into_iter())?;
        self.describe(&mut report);
        *self.last_run.lock() = Some(report.clone());
        Ok(report)
    }

    /// The report of the last [`SchemaService::initialize`] with the states and schemas of now.
    ///
    /// What was wrong with files stays in it until the next run. A schema that was in none of its
    /// files has the source [`SchemaSource::Persistence`].
    #[must_use]
    pub fn loading_report(&self) -> SchemaLoadingReport {
        let mut report = self.last_run.lock().clone().unwrap_or_default();
        let updated = report.last_updated;
        self.describe(&mut report);
        report.last_updated = updated;
        report
    }

    /// Adds the states of now, and a source for every schema.
    fn describe(&self, report: &mut SchemaLoadingReport) {
        let core = self.core();
        let states = core.iter().map(|entry| (entry.schema.name.clone(), entry.state));
        report.schema_states = states.collect();
        report.loading_sources.retain(|name, _| report.schema_states.contains_key(name));
        for name in report.schema_states.keys() {
            let source = report.loading_sources.entry(name.clone());
            source.or_insert(SchemaSource::Persistence);
        }
        report.last_updated = Some(self.pool.operations().pipeline().now());
    }

    fn load_files(
        &self,
        files: impl Iterator<Item = SchemaFile>,
    ) -> Result<SchemaLoadingReport, FoldDbError> {
        let mut report = SchemaLoadingReport::default();
        for file in files {
            self.load_file(&file, &mut report)?;
        }
        Ok(report)
    }

    fn load_file(
        &self,
        file: &SchemaFile,
        report: &mut SchemaLoadingReport,
    ) -> Result<(), FoldDbError> {
        let parsed = match &file.parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                report.add_failure(file, None, error, error.code());
                return Ok(());
            }
        };
        let source = file.path.display().to_string();
        let warnings = parsed.warnings.iter();
        report.warnings.extend(warnings.map(|warning| format!("{source}: {warning}")));
        let schema = Arc::new(parsed.schema.clone());
        match self.define(&schema, Some(&source)) {
            Ok(defined) => report.add_success(file, &schema.name, defined == Defined::New),
            Err(error) if matches!(error.class(), ErrorClass::Store | ErrorClass::Failed) => {
                return Err(error);
            }
            Err(error) => {
                let is_conflict = error.code() == "already_exists";
                let name = is_conflict.then_some(&schema.name);
                report.add_failure(file, name, &error, error.code());
            }
        }
        Ok(())
    }

    fn define(&self, schema: &Arc<Schema>, source: Option<&str>) -> Result<Defined, FoldDbError> {
        let define = |execution: &mut Execution<'_>| {
            Ok::<_, FoldDbError>(execution.editor().define(schema, source)?)
        };
        self.run(define).map(|(defined, _)| defined)
    }
}
