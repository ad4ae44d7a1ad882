//! Changes of the catalogue inside a transaction.

use std::sync::Arc;

use datafold_store::{BatchKey, Keyspace};
use minicbor::Encoder;

use super::catalogue::{Catalogue, SchemaEntry, encode_state};
use super::counters::SchemaCounters;
use super::error::DataLayerError;
use super::ids::SchemaId;
use super::pipeline::Execution;
use super::record::ok;
use super::rows::CatalogueKind;
use super::transaction::TransactionState;
use super::working_set::{CatalogueWrite, RowSource, WorkingSet};
use crate::model::{Schema, SchemaName, SchemaState};

/// What a declarative request and a transaction have in common: the catalogue as they see it,
/// their writes, and where they read.
pub(crate) struct Editor<'a> {
    pub(crate) catalogue: &'a mut Arc<Catalogue>,
    pub(crate) working: &'a mut WorkingSet,
    pub(crate) source: &'a mut dyn RowSource,
}

impl Execution<'_> {
    pub(crate) fn editor(&mut self) -> Editor<'_> {
        Editor {
            catalogue: &mut self.catalogue,
            working: &mut self.working,
            source: &mut self.source,
        }
    }
}

impl TransactionState {
    pub(crate) fn editor(&mut self) -> Editor<'_> {
        Editor {
            catalogue: &mut self.catalogue,
            working: &mut self.working,
            source: &mut self.source,
        }
    }

    /// Records that the set of schemas was looked at: a name that is missing has no row.
    pub(crate) fn note_schema_names(&self) {
        let from = self.working.rows.catalogue_kind(CatalogueKind::Schema);
        let to = self.working.rows.catalogue_kind(CatalogueKind::State);
        self.source.note_range(Keyspace::Catalogue, from, Some(to));
    }
}

/// Whether a definition was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    /// It was stored, in state Available.
    New,
    /// The same definition was there; nothing changed.
    Unchanged,
}

impl Editor<'_> {
    /// The schema with this name, in whatever state.
    pub(crate) fn entry(&self, name: &SchemaName) -> Result<Arc<SchemaEntry>, DataLayerError> {
        let entry = self.catalogue.get(name.as_str()).cloned();
        entry.ok_or_else(|| DataLayerError::not_found("schema", name))
    }

    /// Reads the rows that a decision on a schema depends on, so that a transaction conflicts
    /// with whoever changes them.
    pub(crate) fn touch(&mut self, schema: SchemaId) -> Result<(), DataLayerError> {
        let rows = self.working.rows;
        for key in [rows.schema(schema), rows.state(schema)] {
            self.working.catalogue_row(self.source, &key)?;
        }
        Ok(())
    }

    /// Stores a definition that is not there yet.
    pub(crate) fn define(
        &mut self,
        schema: &Arc<Schema>,
        source: Option<&str>,
    ) -> Result<Defined, DataLayerError> {
        let hash = schema.content_hash();
        if let Some(found) = self.catalogue.get(schema.name.as_str()) {
            if found.hash == hash {
                return Ok(Defined::Unchanged);
            }
            return Err(DataLayerError::AlreadyExists {
                what: "schema",
                name: schema.name.to_string(),
                note: Some("with another definition; definitions do not change, use a new name"),
            });
        }
        check_definition(schema)?;
        let rows = self.working.rows;
        let id = self.catalogue.next_schema_id();
        let mut next = Vec::with_capacity(5);
        ok(Encoder::new(&mut next).u32(id.0 + 1));
        self.write(&rows.next_schema_id(), CatalogueWrite::Put(next.into()))?;
        let define = CatalogueWrite::Define {
            schema: Arc::clone(schema),
            hash,
            source: source.map(Arc::from),
        };
        self.write(&rows.schema(id), define)?;
        let state = encode_state(SchemaState::Available, None);
        self.write(&rows.state(id), CatalogueWrite::Put(state.into()))?;
        Ok(Defined::New)
    }

    /// Sets the state of a schema; answers whether it had another one.
    pub(crate) fn set_state(
        &mut self,
        name: &SchemaName,
        state: SchemaState,
        reason: Option<&str>,
    ) -> Result<bool, DataLayerError> {
        let entry = self.entry(name)?;
        self.touch(entry.id)?;
        if state == SchemaState::Approved {
            check_supported(&entry)?;
        }
        if entry.state == state {
            return Ok(false);
        }
        let row = encode_state(state, reason);
        let key = self.working.rows.state(entry.id);
        self.write(&key, CatalogueWrite::Put(row.into()))?;
        Ok(true)
    }

    /// Removes a definition that never had data.
    pub(crate) fn remove(&mut self, name: &SchemaName) -> Result<(), DataLayerError> {
        let entry = self.entry(name)?;
        if self.working.writes_to(entry.id) {
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: "has data that this transaction writes and cannot be deleted in it".into(),
            });
        }
        let rows = self.working.rows;
        let (keyspace, key) = rows.counters(entry.id);
        let counters = match self.source.read(keyspace, &key)? {
            None => SchemaCounters::default(),
            Some(row) => SchemaCounters::decode(&row)
                .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
        };
        if counters != SchemaCounters::default() {
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: format!(
                    "has data ({} records, {} atoms) and cannot be deleted; block it instead",
                    counters.records, counters.atoms
                ),
            });
        }
        self.write(&rows.schema(entry.id), CatalogueWrite::Delete)?;
        self.write(&rows.state(entry.id), CatalogueWrite::Delete)
    }

    /// Writes a catalogue row and keeps the catalogue as the transaction sees it.
    pub(crate) fn write(
        &mut self,
        key: &BatchKey,
        write: CatalogueWrite,
    ) -> Result<(), DataLayerError> {
        let before = self.working.catalogue_row(self.source, key)?;
        self.working.write_catalogue(self.source, key, write)?;
        let after = self.working.catalogue_row(self.source, key)?;
        let row = (&key.1, before.as_ref(), after.as_ref());
        *self.catalogue = Arc::new(self.catalogue.with_rows(std::iter::once(row))?);
        Ok(())
    }
}

/// Refuses a definition that no file could have: one that was changed after it was read.
fn check_definition(schema: &Schema) -> Result<(), DataLayerError> {
    let invalid = |rule: String| DataLayerError::InvalidData {
        what: format!("the definition of `{}`", schema.name),
        rule,
    };
    let text = serde_json::to_string(schema).map_err(|error| invalid(error.to_string()))?;
    let parsed = Schema::parse(&text).map_err(|error| invalid(error.to_string()))?;
    if parsed.schema != *schema {
        return Err(invalid("is not what its own JSON says".into()));
    }
    Ok(())
}

/// Refuses what would silently do nothing.
fn check_supported(entry: &SchemaEntry) -> Result<(), DataLayerError> {
    let refuse = |rule: String| DataLayerError::Refused {
        what: "schema",
        name: entry.schema.name.to_string(),
        rule,
    };
    for field in &entry.schema.fields {
        let cannot = if field.transform.is_some() {
            "computes fields"
        } else if !field.mappers.is_empty() {
            "maps fields"
        } else {
            continue;
        };
        let name = &field.name;
        let rule = format!("{cannot} (`{name}`), which this version cannot do yet");
        return Err(refuse(rule));
    }
    match entry.schema.indexes.iter().find(|index| index.unique) {
        Some(_) => Err(refuse("has a unique index, which this version cannot keep yet".into())),
        None => Ok(()),
    }
}
