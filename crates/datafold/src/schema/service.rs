//! The life of schemas: loading, approving, blocking, unloading, deleting.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::discovery::SchemaDiscovery;
use super::report::{IndexStatus, SchemaLoadingReport, SchemaStatus, TransformStatus};
use crate::data_layer::internal::{Execution, Pipeline};
use crate::data_layer::{
    DataLayerError, DatabasePool, Durability, Index, IndexState, Receipt, SchemaCore, SchemaEntry,
    TransformFailure, WriterId,
};
use crate::engine::FoldDbError;
use crate::model::{
    FieldName, IndexDefinition, RecordKey, Schema, SchemaName, SchemaState, qualified,
};
use crate::sync::Mutex;

/// Loads, approves, blocks and unloads schemas. Each call is one commit or none.
///
/// Loading only ever adds: a definition, once stored, does not change but for how fields are
/// computed ([`SchemaService::revise_text`]), and no load, restart or
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
    pub(super) pool: DatabasePool,
    pub(super) discovery: Arc<SchemaDiscovery>,
    /// What the last run found, for all clones.
    pub(super) last_run: Arc<Mutex<Option<SchemaLoadingReport>>>,
}

impl SchemaService {
    pub(crate) fn new(pool: DatabasePool) -> Self {
        Self { pool, discovery: Arc::default(), last_run: Arc::default() }
    }

    /// The same service, which looks for schemas in these folders; see
    /// [`SchemaService::initialize`].
    #[must_use]
    pub fn with_discovery(&self, discovery: SchemaDiscovery) -> Self {
        Self { discovery: Arc::new(discovery), ..self.clone() }
    }

    /// The folders in which it looks for schemas.
    #[must_use]
    pub fn discovery(&self) -> &SchemaDiscovery {
        &self.discovery
    }

    /// The schemas and their states as of the newest durable commit. Takes no lock.
    #[must_use]
    pub fn core(&self) -> Arc<SchemaCore> {
        self.pool.operations().catalogue()
    }

    pub(crate) fn run<T>(
        &self,
        request: impl FnMut(&mut Execution<'_>) -> Result<T, FoldDbError>,
    ) -> Result<(T, Receipt), FoldDbError> {
        let pipeline = self.pool.operations().pipeline();
        pipeline.execute(WriterId::OWNER, Durability::Durable, None, request)
    }

    /// Approves a schema: applications may query and write it. From any state. Its transforms, if
    /// it was never approved before, compute from then on with every write; records that are there
    /// are computed in the background, see [`SchemaService::transforms`].
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`]; [`DataLayerError::Refused`] for a definition that asks for
    /// what this version does not do; [`DataLayerError::Transforms`] with everything that is wrong
    /// with its transforms. Then nothing is changed.
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

    /// Puts several schemas in a state, all in one commit or none, those first that others of
    /// them read or map from.
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
            for name in in_order(editor.catalogue, names) {
                editor.set_state(name, state, reason)?;
            }
            Ok(())
        };
        self.run(set).map(|((), receipt)| receipt)
    }

    /// Replaces the definition of a schema by one that computes its fields in another way; answers
    /// which fields these are. Only how computed fields are computed may differ, and no output.
    ///
    /// Of a schema that was approved, these fields are computed anew with every write from then on,
    /// and for the records that are there in the background: only what has another result is
    /// written, with what follows from it. Until then they are `filling`, and answers of queries
    /// list them as stale. The values of before stay in the history, and what has computed them is
    /// kept with them. The same definition again changes nothing.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Schema`] for an invalid definition; [`DataLayerError::NotFound`];
    /// [`DataLayerError::Refused`] for one that differs in more; [`DataLayerError::Transforms`] as
    /// [`SchemaService::approve_schema`]. Then nothing is changed.
    pub fn revise_text(
        &self,
        text: &str,
        source: Option<&str>,
    ) -> Result<(SchemaName, Vec<FieldName>, Receipt), FoldDbError> {
        let schema = Arc::new(Schema::parse(text)?.schema);
        let revise = |execution: &mut Execution<'_>| {
            Ok::<_, FoldDbError>(execution.editor().revise(&schema, source)?)
        };
        let (fields, receipt) = self.run(revise)?;
        Ok((schema.name.clone(), fields, receipt))
    }

    /// Makes an index over Single fields of a schema, in any state, but for one that maps fields
    /// and was never approved. Answers when it is there; the records that exist are read in the
    /// background, see [`SchemaService::indexes`] and
    /// [`SchemaService::wait_for_indexes`]. The same index again changes nothing, but one that
    /// failed is built anew.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema; [`DataLayerError::Refused`] for fields
    /// that cannot be indexed; [`DataLayerError::AlreadyExists`] for an index over the same fields
    /// that is unique if this is not, or the other way round.
    ///
    /// # Cost
    ///
    /// The building reads each record once, and is spread over commits of 512 records.
    pub fn create_index(
        &self,
        name: &SchemaName,
        definition: &IndexDefinition,
    ) -> Result<Receipt, FoldDbError> {
        let create = |execution: &mut Execution<'_>| {
            execution.editor().create_index(name, definition)?;
            Ok(())
        };
        self.run(create).map(|((), receipt)| receipt)
    }

    /// Ends an index. Its entries are removed in the background.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema or index.
    pub fn drop_index(
        &self,
        name: &SchemaName,
        fields: &[FieldName],
    ) -> Result<Receipt, FoldDbError> {
        let drop = |execution: &mut Execution<'_>| {
            execution.editor().drop_index(name, fields)?;
            Ok(())
        };
        self.run(drop).map(|((), receipt)| receipt)
    }

    /// Waits until no index over the records of a schema is being built. Returns early if the pool
    /// is closed or takes no more writes.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema.
    pub fn wait_for_indexes(&self, name: &SchemaName) -> Result<(), FoldDbError> {
        let records = self.entry(name)?.records();
        self.pool.operations().pipeline().wait_for_indexes(records);
        Ok(())
    }

    /// The indexes of a schema, those that are being removed left out.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema.
    pub fn indexes(&self, name: &SchemaName) -> Result<Vec<IndexStatus>, FoldDbError> {
        self.entry(name)?;
        let pipeline = self.pool.operations().pipeline();
        let core = self.core();
        let mut found = Vec::new();
        let of_schema = |index: &&Arc<Index>| index.schema == *name;
        for index in core.indexes().filter(of_schema) {
            let (records_read, duplicates) = match &index.state {
                IndexState::Dropping => continue,
                IndexState::Building => (Some(pipeline.index_progress(index)?), &[][..]),
                IndexState::Failed { duplicates } => (None, &duplicates[..]),
                IndexState::Ready => (None, &[][..]),
            };
            let key = |key: &Bytes| RecordKey::from_bytes(key.clone());
            found.push(IndexStatus {
                fields: index.definition.fields.clone(),
                unique: index.definition.unique,
                state: index.state.as_str(),
                records_read,
                duplicates: duplicates.iter().map(|(a, b)| (key(a), key(b))).collect(),
            });
        }
        Ok(found)
    }

    /// The transforms that compute fields of a schema, in the order of its fields; behind them
    /// those that it defines for fields of others.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema.
    pub fn transforms(&self, name: &SchemaName) -> Result<Vec<TransformStatus>, FoldDbError> {
        let entry = self.entry(name)?;
        let pipeline = self.pool.operations().pipeline();
        let (published, counters) = (pipeline.published(), pipeline.counters());
        let core = Arc::clone(&published.catalogue);
        let own = entry.schema.fields.iter();
        let own = own.filter_map(|field| core.transform_of(&format!("{name}.{}", field.name)));
        let elsewhere = core.computed().filter(|found| found.schema != *name);
        let elsewhere = elsewhere.filter(|found| found.source.schema.name == *name);
        let mut found = Vec::new();
        for transform in own.chain(elsewhere) {
            let is_filling = transform.is_filling();
            let is_stale = Pipeline::is_stale(&published, transform.id);
            let records_read =
                is_filling.then(|| pipeline.records_filled(transform)).transpose()?;
            let counted = counters.get(&transform.id.counter()).copied().unwrap_or_default();
            found.push(TransformStatus {
                revision: transform.id,
                schema: transform.schema.clone(),
                field: transform.field.clone(),
                defined_in: transform.defined_in(),
                inputs: transform.inputs(),
                definition: transform.definition().cloned().unwrap_or_default(),
                state: if is_stale && !is_filling { "stale" } else { transform.state.as_str() },
                records_read,
                failing: counted.records,
                queued: counted.elements,
            });
        }
        Ok(found)
    }

    /// The records for which the transform of a field has no result, by key, at most `limit` and at
    /// most some thousands.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for a field that is not computed.
    ///
    /// # Cost
    ///
    /// One row for each.
    pub fn transform_failures(
        &self,
        name: &SchemaName,
        field: &FieldName,
        limit: usize,
    ) -> Result<Vec<(RecordKey, TransformFailure)>, FoldDbError> {
        let (core, full) = (self.core(), format!("{name}.{field}"));
        let transform = core.transform_of(&full);
        let transform = transform.ok_or_else(|| DataLayerError::not_found("transform", full))?;
        let found = self.pool.operations().pipeline().failures(transform.id, limit)?;
        let key = |(key, failure)| (RecordKey::from_bytes(key), failure);
        Ok(found.into_iter().map(key).collect())
    }

    /// Waits until every record of a schema that was there before its transforms is computed, and
    /// what was too much for one commit; also that of the transforms that those depend on. Returns
    /// early if the pool is closed or takes no more writes.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema.
    pub fn wait_for_transforms(&self, name: &SchemaName) -> Result<(), FoldDbError> {
        let mut records = BTreeSet::from([self.entry(name)?.records()]);
        let core = self.core();
        let defined = core.computed().filter(|found| found.source.schema.name == *name);
        records.extend(defined.map(|found| found.records));
        for records in records {
            self.pool.operations().pipeline().wait_for_transforms(records);
        }
        Ok(())
    }

    fn entry(&self, name: &SchemaName) -> Result<Arc<SchemaEntry>, FoldDbError> {
        let entry = self.core().get(name.as_str()).cloned();
        Ok(entry.ok_or_else(|| DataLayerError::not_found("schema", name))?)
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
        let core = self.core();
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
        core.iter().map(status).collect()
    }
}

/// Schemas in an order in which each stands behind those of them that it reads or maps from, as far
/// as there is one.
fn in_order<'n>(catalogue: &SchemaCore, names: &'n [SchemaName]) -> Vec<&'n SchemaName> {
    let reads = |name: &SchemaName| -> BTreeSet<String> {
        let entry = catalogue.get(name.as_str());
        let fields = entry.iter().flat_map(|entry| &entry.schema.fields);
        let mut found = BTreeSet::new();
        for field in fields {
            found.extend(field.mappers.keys().map(ToString::to_string));
            let Some(transform) = &field.transform else { continue };
            found.extend(transform.aggregates.iter().map(|of| of.of.to_string()));
            let output = transform.output.as_deref().and_then(qualified);
            found.extend(output.map(|(schema, _)| schema.to_string()));
            let words = transform.logic.split(|c: char| !c.is_alphanumeric() && c != '_');
            found.extend(words.map(str::to_owned));
        }
        found.remove(name.as_str());
        found
    };
    let mut left: Vec<_> = names.iter().map(|name| (name, reads(name))).collect();
    let mut ordered = Vec::with_capacity(names.len());
    while !left.is_empty() {
        let waits = |reads: &BTreeSet<String>| {
            !reads.is_empty() && left.iter().any(|(name, _)| reads.contains(name.as_str()))
        };
        // In a circle one is as good as the other.
        let next = left.iter().position(|(_, reads)| !waits(reads)).unwrap_or(0);
        ordered.push(left.remove(next).0);
    }
    ordered
}
