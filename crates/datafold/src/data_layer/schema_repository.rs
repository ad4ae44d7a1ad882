//! Definitions and states of schemas.

use std::sync::Arc;

use super::catalogue::SchemaEntry;
use super::db_operations::DbOperations;
use super::error::DataLayerError;
use super::repository::{Page, ReadRepository, Repository};
use super::transaction::Transaction;
use crate::model::{Schema, SchemaName, SchemaState};

/// Schemas by name.
///
/// Reads are answered from the catalogue in memory, as of the newest durable commit. Storing
/// the same definition again does nothing, storing another one under the name is refused. Storing
/// never changes a state.
#[derive(Debug, Clone)]
pub struct SchemaRepository {
    ops: Arc<DbOperations>,
}

impl SchemaRepository {
    pub(crate) fn new(ops: Arc<DbOperations>) -> Self {
        Self { ops }
    }

    /// The schema with its number, state and source.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Arc<SchemaEntry>> {
        self.ops.catalogue().get(name).cloned()
    }

    /// The state of a schema; `None` for an unknown name.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn get_state(&self, name: &SchemaName) -> Result<Option<SchemaState>, DataLayerError> {
        Ok(self.entry(name.as_str()).map(|entry| entry.state))
    }

    /// Sets the state of a schema, in a commit of its own.
    ///
    /// # Errors
    ///
    /// As [`SchemaRepository::set_state_in`], and [`DataLayerError::Commit`].
    pub fn set_state(&self, name: &SchemaName, state: SchemaState) -> Result<(), DataLayerError> {
        self.ops.transact(|transaction| self.set_state_in(transaction, name, state, None)).map(drop)
    }

    /// Sets the state of a schema in a transaction.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown name; [`DataLayerError::Refused`] for the
    /// approval of a definition that asks for what this version does not do.
    pub fn set_state_in(
        &self,
        transaction: &mut Transaction,
        name: &SchemaName,
        state: SchemaState,
        reason: Option<&str>,
    ) -> Result<(), DataLayerError> {
        transaction.state.note_schema_names();
        transaction.state.editor().set_state(name, state, reason).map(drop)
    }

    /// The names of the schemas in a state, sorted.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn list_by_state(&self, state: SchemaState) -> Result<Vec<SchemaName>, DataLayerError> {
        let catalogue = self.ops.catalogue();
        let entries = catalogue.iter().filter(|entry| entry.state == state);
        Ok(entries.map(|entry| entry.schema.name.clone()).collect())
    }
}

impl ReadRepository<Schema, SchemaName> for SchemaRepository {
    fn get(&self, key: &SchemaName) -> Result<Option<Schema>, DataLayerError> {
        Ok(self.entry(key.as_str()).map(|entry| Schema::clone(&entry.schema)))
    }

    fn exists(&self, key: &SchemaName) -> Result<bool, DataLayerError> {
        Ok(self.entry(key.as_str()).is_some())
    }

    fn get_many(&self, keys: &[SchemaName]) -> Result<Vec<Option<Schema>>, DataLayerError> {
        let catalogue = self.ops.catalogue();
        let get = |key: &SchemaName| {
            catalogue.get(key.as_str()).map(|entry| Schema::clone(&entry.schema))
        };
        Ok(keys.iter().map(get).collect())
    }

    fn page(
        &self,
        after: Option<&SchemaName>,
        limit: usize,
    ) -> Result<Page<Schema, SchemaName>, DataLayerError> {
        let catalogue = self.ops.catalogue();
        let mut rest = catalogue
            .iter()
            .filter(|entry| after.is_none_or(|after| entry.schema.name > *after))
            .peekable();
        let mut items = Vec::new();
        while let Some(entry) = rest.next_if(|_| items.len() < limit.max(1)) {
            items.push((entry.schema.name.clone(), Schema::clone(&entry.schema)));
        }
        let more = rest.peek().is_some();
        let next = items.last().map(|(name, _)| name.clone()).filter(|_| more);
        Ok(Page { items, next })
    }

    fn count(&self) -> Result<u64, DataLayerError> {
        Ok(self.ops.catalogue().len() as u64)
    }
}

impl Repository<Schema, SchemaName> for SchemaRepository {
    fn operations(&self) -> &Arc<DbOperations> {
        &self.ops
    }

    fn get_in(
        &self,
        transaction: &mut Transaction,
        key: &SchemaName,
    ) -> Result<Option<Schema>, DataLayerError> {
        let state = &transaction.state;
        state.note_schema_names();
        Ok(state.catalogue.get(key.as_str()).map(|entry| Schema::clone(&entry.schema)))
    }

    fn put_in(
        &self,
        transaction: &mut Transaction,
        key: &SchemaName,
        item: &Schema,
    ) -> Result<(), DataLayerError> {
        if *key != item.name {
            return Err(DataLayerError::InvalidData {
                what: format!("the key `{key}` of schema `{}`", item.name),
                rule: "must be its name".into(),
            });
        }
        transaction.state.note_schema_names();
        transaction.state.editor().define(&Arc::new(item.clone()), None).map(drop)
    }

    fn delete_in(
        &self,
        transaction: &mut Transaction,
        key: &SchemaName,
    ) -> Result<(), DataLayerError> {
        transaction.state.note_schema_names();
        transaction.state.editor().remove(key)
    }

    fn item_name(&self) -> &'static str {
        "schema"
    }

    fn key_name(&self, key: &SchemaName) -> String {
        key.to_string()
    }
}
