//! Changes of the catalogue inside a transaction.

use std::sync::Arc;

use datafold_store::{BatchKey, Keyspace};
use minicbor::{Decoder, Encoder};

use super::catalogue::{SchemaCore, SchemaEntry, encode_state};
use super::counters::SchemaCounters;
use super::error::DataLayerError;
use super::ids::{FieldId, SchemaId};
use super::layout;
use super::pipeline::Execution;
use super::record::ok;
use super::rows::CatalogueKind;
use super::transaction::TransactionState;
use super::working_set::{CatalogueWrite, RowSource, WorkingSet};
use crate::model::{Schema, SchemaName, SchemaState};

/// What a declarative request and a transaction have in common: the catalogue as they see it,
/// their writes, and where they read.
pub(crate) struct Editor<'a> {
    pub(crate) catalogue: &'a mut Arc<SchemaCore>,
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
            self.lay_out(&entry)?;
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

    /// Makes the layout of a schema that maps fields, unless it has one.
    fn lay_out(&mut self, entry: &Arc<SchemaEntry>) -> Result<(), DataLayerError> {
        if entry.layout.is_some() || !layout::maps(&entry.schema) {
            return Ok(());
        }
        let catalogue = Arc::clone(self.catalogue);
        let mut next_field = |root: &SchemaEntry| {
            let key = self.working.rows.next_field_id(root.id);
            let next = match self.working.catalogue_row(self.source, &key)? {
                Some(row) => Decoder::new(&row)
                    .u32()
                    .map_err(|error| DataLayerError::row(key.0, &key.1, error.into()))?,
                None => FieldId::at(root.schema.fields.len()).0,
            };
            let mut row = Vec::with_capacity(5);
            ok(Encoder::new(&mut row).u32(next.saturating_add(1)));
            self.write(&key, CatalogueWrite::Put(row.into()))?;
            Ok(FieldId(next))
        };
        let layouts = layout::plan(&catalogue, entry, &mut next_field)?;
        for source in catalogue.iter() {
            // Whoever deletes meanwhile what a field resolves through is in conflict with this.
            for (id, _) in &layouts {
                if let Some(planned) = catalogue.by_id(*id)
                    && layout::leads_through(&catalogue, planned, source.id)?
                {
                    self.touch(source.id)?;
                }
            }
        }
        for (id, layout) in layouts {
            let key = self.working.rows.layout(id);
            self.write(&key, CatalogueWrite::Put(layout.encode().into()))?;
        }
        Ok(())
    }

    /// Removes a definition that never had data.
    pub(crate) fn remove(&mut self, name: &SchemaName) -> Result<(), DataLayerError> {
        let entry = self.entry(name)?;
        if entry.has_cells() && self.working.writes_to(entry.records()) {
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: "has data that this transaction writes and cannot be deleted in it".into(),
            });
        }
        for other in self.catalogue.iter() {
            let shows = other.id != entry.id && other.layout.is_some();
            if shows && layout::leads_through(self.catalogue, other, entry.id)? {
                return Err(DataLayerError::Refused {
                    what: "schema",
                    name: name.to_string(),
                    rule: format!(
                        "is mapped from by `{}` and cannot be deleted",
                        other.schema.name
                    ),
                });
            }
        }
        let rows = self.working.rows;
        let (keyspace, key) = rows.counters(entry.records());
        let counters = match self.source.read(keyspace, &key)? {
            Some(row) if entry.has_cells() => SchemaCounters::decode(&row)
                .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
            _ => SchemaCounters::default(),
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
        if entry.layout.is_some() {
            self.write(&rows.layout(entry.id), CatalogueWrite::Delete)?;
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
