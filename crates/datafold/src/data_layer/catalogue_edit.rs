//! Changes of the catalogue inside a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafold_store::{BatchKey, Keyspace};
use minicbor::{Decoder, Encoder};

use super::catalogue::{SchemaCore, SchemaEntry, encode_state};
use super::counters::SchemaCounters;
use super::error::DataLayerError;
use super::ids::{FieldId, IndexId, SchemaId, TransformId};
use super::index::{INDEX_FIELDS_MAX, Index, IndexState, encode_index};
use super::index_build::Progress;
use super::layout::{self, CellPlace, Layout};
use super::pipeline::Execution;
use super::record::ok;
use super::rows::CatalogueKind;
use super::transaction::TransactionState;
use super::transform::{Transform, TransformState};
use super::transform_check::{self, TransformProblem};
use super::transform_graph::levels;
use super::transform_repository;
use super::transform_revision::Retired;
use super::working_set::{CatalogueWrite, RowSource, WorkingSet};
use crate::model::{Field, FieldKind, FieldName, IndexDefinition, Schema, SchemaName, SchemaState};

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
                note: Some(
                    "with another definition; `schema revise` changes how fields are computed, \
                     anything else needs a new name",
                ),
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
            loaded: None,
            source: source.map(Arc::from),
        };
        self.write(&rows.schema(id), define)?;
        let state = encode_state(SchemaState::Available, None);
        self.write(&rows.state(id), CatalogueWrite::Put(state.into()))?;
        Ok(Defined::New)
    }

    /// Stores a definition for a trial, which is never committed: one with the name of a schema
    /// takes its place, and its fields are those of the schema with the same names.
    pub(crate) fn suppose(&mut self, schema: &Arc<Schema>) -> Result<(), DataLayerError> {
        let hash = schema.content_hash();
        let found = self.catalogue.get(schema.name.as_str()).cloned();
        let Some(old) = found.filter(|found| found.hash != hash) else {
            return self.define(schema, None).map(|_| ());
        };
        let refuse = |rule: String| {
            let name = schema.name.to_string();
            Err(DataLayerError::Refused { what: "a trial of schema", name, rule })
        };
        if old.schema.key != schema.key {
            return refuse("has another key than the schema that is there".into());
        }
        let mut next = self.next_field(&old)?;
        let mut cells = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let same = old.schema.field(field.name.as_str());
            let same = same.filter(|same| same.mappers == field.mappers && same.kind == field.kind);
            let place = same.and_then(|same| old.place(same.name.as_str()));
            if place.is_none() && !field.mappers.is_empty() {
                let name = &field.name;
                return refuse(format!("maps `{name}`, which the schema that is there does not"));
            }
            cells.push(place.unwrap_or_else(|| {
                next.0 = next.0.saturating_add(1);
                CellPlace { schema: old.records(), field: next }
            }));
        }
        let rows = self.working.rows;
        let replaced: Vec<_> = self.defined_by(&schema.name).cloned().collect();
        for transform in replaced {
            self.write(&rows.computed_field(transform.id), CatalogueWrite::Delete)?;
        }
        let loaded = Some(old.loaded);
        let schema = Arc::clone(schema);
        let define = CatalogueWrite::Define { schema, hash, loaded, source: None };
        self.write(&rows.schema(old.id), define)?;
        let layout = Layout { records: old.records(), cells: cells.into() };
        self.write(&rows.layout(old.id), CatalogueWrite::Put(layout.encode().into()))
    }

    /// The last number that a field has in the records of a schema.
    fn next_field(&mut self, entry: &SchemaEntry) -> Result<FieldId, DataLayerError> {
        let Some(root) = self.catalogue.by_id(entry.records()).cloned() else {
            return Ok(FieldId::at(entry.schema.fields.len()));
        };
        let key = self.working.rows.next_field_id(root.id);
        match self.working.catalogue_row(self.source, &key)? {
            Some(row) => Decoder::new(&row)
                .u32()
                .map(FieldId)
                .map_err(|error| DataLayerError::row(key.0, &key.1, error.into())),
            None => Ok(FieldId::at(root.schema.fields.len())),
        }
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
            self.register_transforms(name)?;
            for definition in &entry.schema.indexes {
                self.create_index(name, definition)?;
            }
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

    /// Registers the transforms of a schema, unless they are: all of them or none. They are ready
    /// at once if there are no records to compute, and else what is there is computed in the
    /// background.
    pub(super) fn register_transforms(&mut self, name: &SchemaName) -> Result<(), DataLayerError> {
        let entry = self.entry(name)?;
        let known: BTreeSet<usize> = self.defined_by(name).map(|found| found.source.at).collect();
        let is_new =
            |(at, field): &(usize, &Field)| field.transform.is_some() && !known.contains(at);
        if !entry.schema.fields.iter().enumerate().any(|found| is_new(&found)) {
            return Ok(());
        }
        let new = self.check_transforms(&entry, &known)?;
        let rows = self.working.rows;
        let mut writes = Vec::with_capacity(2 * new.len());
        let ids = self.take_index_ids(new.len())?;
        for (transform, id) in new.into_iter().zip(ids) {
            let id = TransformId(id.0);
            let mut is_filling = self.has_records(transform.records)?;
            for (slot, aggregate) in transform.aggregates().iter().enumerate() {
                if self.has_records(aggregate.records)? {
                    is_filling = true;
                    let progress = Progress::default().encode();
                    self.working.index_rows.insert(rows.gathering(id, slot), Some(progress));
                }
            }
            let state = if is_filling { TransformState::Filling } else { TransformState::Ready };
            let write = CatalogueWrite::Put(transform.row(state).encode().into());
            writes.push((rows.computed_field(id), write));
            let key = rows.catalogue_text(CatalogueKind::Transform, &transform.full_name());
            let row = transform.definition().map(transform_repository::encode);
            writes.extend(row.map(|row| (key, CatalogueWrite::Put(row.into()))));
        }
        self.write_all(writes)
    }

    /// The registered transforms that a schema defines.
    pub(super) fn defined_by(&self, name: &SchemaName) -> impl Iterator<Item = &Arc<Transform>> {
        self.catalogue.computed().filter(move |found| found.source.schema.name == *name)
    }

    /// The transforms of a schema but for those of the known fields; refuses a schema of which some
    /// could not run. Whoever changes or deletes meanwhile a schema that they read is in conflict
    /// with this.
    fn check_transforms(
        &mut self,
        entry: &Arc<SchemaEntry>,
        known: &BTreeSet<usize>,
    ) -> Result<Vec<Arc<Transform>>, DataLayerError> {
        let mut problems = Vec::new();
        let is_own =
            |found: &Transform| found.source.id == entry.id && !known.contains(&found.source.at);
        let mut all: Vec<_> = self.catalogue.computed().cloned().collect();
        let mut read = BTreeSet::new();
        for (at, field) in entry.schema.fields.iter().enumerate() {
            let Some(definition) = field.transform.as_ref().filter(|_| !known.contains(&at)) else {
                continue;
            };
            let (home, logic) =
                match transform_check::check(self.catalogue, entry, field, definition) {
                    Ok(found) => found,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                };
            let (id, state) = (TransformId(0), TransformState::Filling);
            let Some(found) = Transform::new(id, state, (entry, at), home, Ok(logic)) else {
                continue;
            };
            if let Some(other) = all.iter().find(|other| other.cell() == found.cell()) {
                let name = found.full_name();
                let rule = match other.defined_in() {
                    Some(by) => format!("`{name}` is computed by `{by}` as well"),
                    None => format!("`{name}` is computed by `{}` as well", other.full_name()),
                };
                problems.push(TransformProblem::new(field, rule));
            }
            let schemas = self.catalogue.iter();
            let schemas = schemas.filter(|other| found.names_schema(&other.schema.name));
            read.extend(schemas.map(|other| other.id));
            all.push(Arc::new(found));
        }
        for schema in read {
            self.touch(schema)?;
        }
        if let (_, Some(circle)) = levels(&all) {
            let names: Vec<_> =
                circle.iter().map(|found| format!("`{}`", found.full_name())).collect();
            let own = circle.iter().find(|found| is_own(found));
            let field = own.and_then(|own| entry.schema.fields.get(own.source.at));
            let rule = format!("it is computed from itself, by way of {}", names.join(", "));
            problems.extend(field.map(|field| TransformProblem::new(field, rule)));
        }
        if problems.is_empty() {
            all.retain(|found| is_own(found));
            return Ok(all);
        }
        Err(DataLayerError::Transforms { schema: entry.schema.name.clone(), problems })
    }

    /// Whether a schema has records, also such as are written with this.
    fn has_records(&mut self, records: SchemaId) -> Result<bool, DataLayerError> {
        let (keyspace, key) = self.working.rows.counters(records);
        let counters = match self.source.read(keyspace, &key)? {
            Some(row) => SchemaCounters::decode(&row)
                .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
            None => SchemaCounters::default(),
        };
        Ok(counters.records > 0 || self.working.writes_to(records))
    }

    /// The next numbers of indexes or transforms, which are never given again.
    fn take_index_ids(
        &mut self,
        count: usize,
    ) -> Result<impl Iterator<Item = IndexId> + use<>, DataLayerError> {
        let first = self.catalogue.next_index_id().0;
        let end = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        let mut next = Vec::with_capacity(5);
        ok(Encoder::new(&mut next).u32(end));
        self.write(&self.working.rows.next_index_id(), CatalogueWrite::Put(next.into()))?;
        Ok((first..end).map(IndexId))
    }

    /// Makes an index unless there is the same one. It is ready at once if the schema has no
    /// records, and else built in the background.
    pub(crate) fn create_index(
        &mut self,
        name: &SchemaName,
        definition: &IndexDefinition,
    ) -> Result<(), DataLayerError> {
        let entry = self.entry(name)?;
        self.touch(entry.id)?;
        check_index(self.catalogue, &entry, definition)?;
        let rows = self.working.rows;
        let same = |index: &&Arc<Index>| {
            index.schema == *name && index.definition.fields == definition.fields
        };
        let found: Vec<_> = self.catalogue.indexes().filter(same).cloned().collect();
        for index in found {
            match index.state {
                IndexState::Building | IndexState::Ready => {
                    if index.definition.unique == definition.unique {
                        return Ok(());
                    }
                    return Err(DataLayerError::AlreadyExists {
                        what: "index",
                        name: index.to_string(),
                        note: Some("with the same fields; drop it first"),
                    });
                }
                // A failed one is built anew.
                IndexState::Failed { .. } => self.set_index(&index, IndexState::Dropping)?,
                IndexState::Dropping => {}
            }
        }
        let state = match self.has_records(entry.records())? {
            true => IndexState::Building,
            false => IndexState::Ready,
        };
        let row = encode_index(entry.id, definition, &state);
        for id in self.take_index_ids(1)? {
            self.write(&rows.index_row(id), CatalogueWrite::Put(row.clone().into()))?;
        }
        Ok(())
    }

    /// Ends an index; its entries are removed in the background.
    pub(crate) fn drop_index(
        &mut self,
        name: &SchemaName,
        fields: &[FieldName],
    ) -> Result<(), DataLayerError> {
        let entry = self.entry(name)?;
        self.touch(entry.id)?;
        let is_it = |index: &&Arc<Index>| {
            index.schema == *name
                && index.definition.fields == fields
                && index.state != IndexState::Dropping
        };
        let Some(index) = self.catalogue.indexes().find(is_it).cloned() else {
            let names: Vec<_> = fields.iter().map(FieldName::as_str).collect();
            return Err(DataLayerError::not_found(
                "index",
                format!("of `{name}` on {}", names.join(", ")),
            ));
        };
        self.set_index(&index, IndexState::Dropping)
    }

    /// Writes the state of an index.
    pub(crate) fn set_index(
        &mut self,
        index: &Index,
        state: IndexState,
    ) -> Result<(), DataLayerError> {
        let entry = self.entry(&index.schema)?;
        let row = encode_index(entry.id, &index.definition, &state);
        let key = self.working.rows.index_row(index.id);
        self.write(&key, CatalogueWrite::Put(row.into()))
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
        let reads = |found: &&Arc<Transform>| found.names_schema(name);
        // Also what read it once: values of the past are explained by it.
        let retired = self.catalogue.retired().map(|found| &found.transform);
        let readers = self.catalogue.computed().chain(retired).filter(reads);
        let readers = readers.map(|found| found.defined_in().unwrap_or_else(|| found.full_name()));
        let readers: BTreeSet<_> = readers.map(|name| format!("`{name}`")).collect();
        if !readers.is_empty() {
            let readers = Vec::from_iter(readers).join(", ");
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: format!("is read or computed by {readers} and cannot be deleted"),
            });
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
        let own: Vec<_> = self.defined_by(name).cloned().collect();
        let of_schema = |found: &&Arc<Retired>| found.transform.source.id == entry.id;
        let retired: Vec<_> = self.catalogue.retired().filter(of_schema).cloned().collect();
        if retired.iter().any(|found| found.has_rows) {
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: "was revised, and what that leaves is still removed; try again".into(),
            });
        }
        let elsewhere: Vec<_> = own
            .iter()
            .filter(|found| found.defined_in().is_some())
            .map(|found| format!("`{}`", found.full_name()))
            .collect();
        if !elsewhere.is_empty() {
            let fields = elsewhere.join(", ");
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: format!("computes {fields} and cannot be deleted; block it instead"),
            });
        }
        for aggregate in own.iter().flat_map(|found| found.aggregates()) {
            let (keyspace, key) = rows.counters(aggregate.records);
            if self.source.read(keyspace, &key)?.is_some() {
                return Err(DataLayerError::Refused {
                    what: "schema",
                    name: name.to_string(),
                    rule: format!(
                        "keeps aggregates of the data of `{}` and cannot be deleted; block it \
                         instead",
                        aggregate.definition.of
                    ),
                });
            }
        }
        let of_schema = |index: &&Arc<Index>| index.schema == entry.schema.name;
        let indexes: Vec<_> = self.catalogue.indexes().filter(of_schema).cloned().collect();
        if entry.records() != entry.id
            && let Some(index) = indexes.first()
        {
            return Err(DataLayerError::Refused {
                what: "schema",
                name: name.to_string(),
                rule: format!("has {index} over the records of another one; drop it first"),
            });
        }
        // Nothing was ever written, so that they have no entries.
        for index in indexes {
            self.write(&rows.index_row(index.id), CatalogueWrite::Delete)?;
        }
        let transforms = own.iter().flat_map(|transform| {
            let stored = rows.catalogue_text(CatalogueKind::Transform, &transform.full_name());
            [stored, rows.computed_field(transform.id)]
        });
        let retired = retired.iter().map(|found| rows.retired_transform(found.transform.id));
        let writes = transforms.chain(retired).map(|key| (key, CatalogueWrite::Delete)).collect();
        self.write_all(writes)?;
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
        self.write_all(vec![(key.clone(), write)])
    }

    /// As [`Editor::write`], several rows at once: what follows from them is found once.
    pub(crate) fn write_all(
        &mut self,
        writes: Vec<(BatchKey, CatalogueWrite)>,
    ) -> Result<(), DataLayerError> {
        let mut changed = Vec::with_capacity(writes.len());
        for (key, write) in writes {
            let before = self.working.catalogue_row(self.source, &key)?;
            self.working.write_catalogue(self.source, &key, write)?;
            let after = self.working.catalogue_row(self.source, &key)?;
            changed.push((key.1, before, after));
        }
        let rows =
            changed.iter().map(|(key, before, after)| (key, before.as_ref(), after.as_ref()));
        *self.catalogue = Arc::new(self.catalogue.with_rows(rows)?);
        Ok(())
    }
}

/// Refuses a definition that no file could have: one that was changed after it was read.
pub(super) fn check_definition(schema: &Schema) -> Result<(), DataLayerError> {
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

/// Refuses an index that could not be kept.
fn check_index(
    catalogue: &SchemaCore,
    entry: &SchemaEntry,
    definition: &IndexDefinition,
) -> Result<(), DataLayerError> {
    let refuse = |rule: String| {
        let name = entry.schema.name.to_string();
        Err(DataLayerError::Refused { what: "an index of schema", name, rule })
    };
    if entry.layout.is_none() && layout::maps(&entry.schema) {
        return refuse("must wait for its approval, which says where its records are".into());
    }
    let count = definition.fields.len();
    if count == 0 || count > INDEX_FIELDS_MAX {
        return refuse(format!("must have 1 to {INDEX_FIELDS_MAX} fields, not {count}"));
    }
    for (at, name) in definition.fields.iter().enumerate() {
        if definition.fields.iter().take(at).any(|earlier| earlier == name) {
            return refuse(format!("names `{name}` twice"));
        }
        let Some((place, field)) = entry.placed_field(name.as_str()) else {
            return refuse(format!("is on `{name}`, which is none of its fields"));
        };
        if field.kind != FieldKind::Single {
            return refuse(format!("is on `{name}`, which has elements: only Single fields can"));
        }
        if place.schema != entry.records() && !entry.schema.key.contains(name) {
            return refuse(format!("is on `{name}`, whose values are in another schema"));
        }
        let is_computed = field.transform.is_some() || catalogue.is_computed(place);
        if definition.unique && is_computed {
            return refuse(format!("is unique and on `{name}`, which is computed"));
        }
    }
    Ok(())
}
