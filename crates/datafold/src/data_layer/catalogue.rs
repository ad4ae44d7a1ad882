//! The catalogue in memory: one immutable snapshot, replaced after each commit that changes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang::CompileError;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan, Snapshot};
use minicbor::{Decoder, Encoder};

use super::error::{DataLayerError, SerializationError, hex};
use super::ids::{CommitNumber, FieldId, IndexId, SchemaId, TransformId};
use super::index::{Index, IndexPart, IndexRow, encode_index};
use super::layout::{self, CellPlace, Layout};
use super::propagation::Propagation;
use super::record::ok;
use super::rows::{CatalogueKind, Rows};
use super::serialization::{RowError, SerializationHelper};
use super::transform::{ComputedRow, Part, Transform, TransformState};
use super::transform_check::recompile;
use super::transform_graph::TransformGraph;
use super::transform_output::home;
use super::transform_repository;
use super::transform_revision::{Retired, RetiredRow};
use crate::model::{
    ContentHash, Field, FieldKind, FieldName, Schema, SchemaName, SchemaState, decode_from,
    encode_value, qualified,
};

/// A schema as the catalogue knows it.
#[derive(Debug, Clone)]
pub struct SchemaEntry {
    /// Its number, never given twice.
    pub id: SchemaId,
    /// Its definition.
    pub schema: Arc<Schema>,
    /// The content hash of the definition's canonical form.
    pub hash: ContentHash,
    /// The commit that stored the definition.
    pub loaded: CommitNumber,
    /// Where the definition came from, such as the path of its file.
    pub source: Option<Arc<str>>,
    /// Whether the owner lets applications use it.
    pub state: SchemaState,
    /// Why the state was set, if a reason was given.
    pub reason: Option<Arc<str>>,
    /// Where its records and cells are, if it maps fields and was approved.
    pub(crate) layout: Option<Layout>,
    /// The definition, with what comes from the roots of mapped fields.
    pub(crate) shape: Arc<Schema>,
    /// What a created record has where nothing is given, encoded.
    pub(crate) defaults: Arc<[(FieldId, Bytes)]>,
    /// What a query of all fields answers.
    pub(crate) projection: Projection,
    /// The fields in its records that have elements, those of other schemas included.
    pub(crate) element_fields: Arc<[FieldId]>,
}

/// Fields and their columns, sorted by field.
pub(crate) type Columns = Arc<[(FieldId, usize)]>;

/// The columns of an answer, and where their values come from. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection {
    pub(crate) columns: Arc<[FieldName]>,
    /// Fields and their columns, sorted by field.
    pub(crate) cells: Columns,
    /// The same of the records of other schemas, from which a schema without key maps.
    pub(crate) mapped: Arc<[(SchemaId, Columns)]>,
    /// Collection and Range fields and their columns.
    pub(crate) elements: Columns,
    /// The same of the records of other schemas.
    pub(crate) mapped_elements: Arc<[(CellPlace, usize)]>,
    /// Parts of the key and their columns, sorted by part.
    pub(crate) key_parts: Arc<[(usize, usize)]>,
}

impl SchemaEntry {
    /// The schema that has the records: this one, or the root that a keyed schema maps from.
    pub(crate) fn records(&self) -> SchemaId {
        self.layout.as_ref().map_or(self.id, |layout| layout.records)
    }

    /// Whether it has fields with cells of their own; each record of a keyed schema counts as one.
    pub(crate) fn has_cells(&self) -> bool {
        self.records() == self.id
            || self
                .schema
                .fields
                .iter()
                .any(|field| field.mappers.is_empty() && !self.schema.key.contains(&field.name))
    }

    /// Where the cells of the field with this name are.
    pub(crate) fn place(&self, name: &str) -> Option<CellPlace> {
        self.schema.position(name).and_then(|at| self.place_at(at))
    }

    /// A field with the place of its cells.
    pub(crate) fn placed_field(&self, name: &str) -> Option<(CellPlace, &Field)> {
        let at = self.schema.position(name)?;
        Some((self.place_at(at)?, self.shape.fields.get(at)?))
    }

    fn place_at(&self, index: usize) -> Option<CellPlace> {
        match &self.layout {
            Some(layout) => layout.cells.get(index).copied(),
            None => Some(CellPlace { schema: self.id, field: FieldId::at(index) }),
        }
    }

    /// The field whose cells are there.
    pub(crate) fn field_at(&self, place: CellPlace) -> Option<&Field> {
        let at = match &self.layout {
            Some(layout) => layout.cells.iter().position(|cell| *cell == place)?,
            None if place.schema == self.id => (place.field.0 as usize).checked_sub(1)?,
            None => return None,
        };
        self.shape.fields.get(at)
    }

    /// The fields with the places of their cells, in the order of the definition.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (CellPlace, &Field)> {
        let places = (0..).map_while(|at| self.place_at(at));
        places.zip(&self.shape.fields)
    }

    /// The projection of some fields, which must exist.
    pub(crate) fn project(&self, columns: Arc<[FieldName]>) -> Projection {
        self.project_some(columns, |_| true)
    }

    /// The same where only some of the columns are fields.
    pub(crate) fn project_some(
        &self,
        columns: Arc<[FieldName]>,
        is_field: impl Fn(usize) -> bool,
    ) -> Projection {
        let (mut cells, mut elements, mut key_parts) = (Vec::new(), Vec::new(), Vec::new());
        let mut mapped = BTreeMap::<SchemaId, Vec<(FieldId, usize)>>::new();
        let mut mapped_elements = Vec::new();
        for (column, name) in columns.iter().enumerate().filter(|(column, _)| is_field(*column)) {
            if let Some(part) = self.schema.key.iter().position(|part| part == name) {
                key_parts.push((part, column));
            } else if let Some((place, field)) = self.placed_field(name.as_str()) {
                match (field.kind, place.schema == self.records()) {
                    (FieldKind::Single, true) => cells.push((place.field, column)),
                    (FieldKind::Single, false) => {
                        mapped.entry(place.schema).or_default().push((place.field, column));
                    }
                    (_, true) => elements.push((place.field, column)),
                    (_, false) => mapped_elements.push((place, column)),
                }
            }
        }
        cells.sort_unstable();
        key_parts.sort_unstable();
        let mapped = mapped.into_iter().map(|(schema, mut cells)| {
            cells.sort_unstable();
            (schema, cells.into())
        });
        Projection {
            columns,
            cells: cells.into(),
            mapped: mapped.collect(),
            elements: elements.into(),
            mapped_elements: mapped_elements.into(),
            key_parts: key_parts.into(),
        }
    }

    /// Takes over the fields that other schemas have in the records.
    fn keep_element_fields(&mut self, before: &SchemaEntry) {
        let fields = self.element_fields.iter().chain(before.element_fields.iter());
        self.element_fields = fields.copied().collect::<BTreeSet<_>>().into_iter().collect();
    }

    /// Sets what follows from the definition and the layout.
    fn settle(&mut self, root: Option<&SchemaEntry>) {
        self.projection =
            self.project(self.schema.fields.iter().map(|field| field.name.clone()).collect());
        // A record that is created has the defaults of the schema that has it, too.
        let mut defaults: BTreeMap<FieldId, Bytes> =
            root.iter().flat_map(|root| root.defaults.iter().cloned()).collect();
        for (place, field) in self.fields() {
            if let Some(default) = &field.default
                && place.schema == self.records()
            {
                defaults.insert(place.field, SerializationHelper::serialize(default));
            }
        }
        self.defaults = defaults.into_iter().collect();
        let own = self
            .fields()
            .filter(|(place, field)| place.schema == self.id && field.kind != FieldKind::Single);
        self.element_fields = own.map(|(place, _)| place.field).collect();
    }
}

/// The row of the catalogue that would be written of what one says, by its kind.
pub(crate) fn own_form(
    kind: CatalogueKind,
    key: &[u8],
    row: &[u8],
) -> Result<Vec<u8>, DataLayerError> {
    let error = |source| DataLayerError::row(Keyspace::Catalogue, key, source);
    let number = || -> Result<Vec<u8>, DataLayerError> {
        let number = Decoder::new(row).u32().map_err(|source| error(source.into()))?;
        let mut out = Vec::with_capacity(5);
        ok(Encoder::new(&mut out).u32(number));
        Ok(out)
    };
    match kind {
        CatalogueKind::Schema => {
            let Definition { schema, hash, loaded, source } = Definition::decode(key, row)?;
            Ok(encode_definition(&schema, &hash, loaded, source.as_deref()))
        }
        CatalogueKind::State => {
            let StateRow { state, reason } = StateRow::decode(row).map_err(error)?;
            Ok(encode_state(state, reason.as_deref()))
        }
        CatalogueKind::Transform => transform_repository::own_form(key, row),
        CatalogueKind::Layout => Ok(Layout::decode(row).map_err(error)?.encode()),
        CatalogueKind::Index => {
            let IndexRow { schema, definition, state } = IndexRow::decode(row).map_err(error)?;
            Ok(encode_index(schema, &definition, &state))
        }
        CatalogueKind::ComputedField => Ok(ComputedRow::decode(row).map_err(error)?.encode()),
        CatalogueKind::RetiredTransform => Ok(RetiredRow::decode(key, row)?.encode()),
        CatalogueKind::Metadata
        | CatalogueKind::NextSchemaId
        | CatalogueKind::NextFieldId
        | CatalogueKind::NextIndexId => number(),
    }
}

/// What a definition's row holds.
#[derive(Debug, Clone)]
struct Definition {
    schema: Arc<Schema>,
    hash: ContentHash,
    loaded: CommitNumber,
    source: Option<Arc<str>>,
}

/// What a state's row holds.
#[derive(Debug, Clone, Default)]
struct StateRow {
    state: SchemaState,
    reason: Option<Arc<str>>,
}

/// Every schema of a space with its state.
#[derive(Debug, Clone, Default)]
pub struct SchemaCore {
    by_name: BTreeMap<SchemaName, Arc<SchemaEntry>>,
    names: HashMap<SchemaId, SchemaName>,
    /// The fields whose cells are in records of another schema's, by their places.
    placed: HashMap<CellPlace, (SchemaName, FieldName)>,
    next_schema_id: u32,
    transforms: u64,
    indexes: BTreeMap<IndexId, Arc<Index>>,
    /// The indexes that writes keep, by the schema that has the records.
    kept: HashMap<SchemaId, Arc<[Arc<Index>]>>,
    next_index_id: u32,
    computed: BTreeMap<TransformId, Arc<Transform>>,
    /// The transforms that writes run, by the schema that has the records.
    propagations: HashMap<SchemaId, Arc<Propagation>>,
    /// Transforms whose place others have taken.
    retired: BTreeMap<TransformId, Arc<Retired>>,
    /// Whether records still have results of transforms whose places others have taken.
    replaces_any: bool,
    /// How they depend on each other.
    graph: Arc<TransformGraph>,
    /// The schemas with records whose transforms have changed since these were made.
    unsettled: BTreeSet<SchemaId>,
}

impl SchemaCore {
    /// The schema with this name, in whatever state.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<SchemaEntry>> {
        self.by_name.get(name)
    }

    /// The schema with this number.
    #[must_use]
    pub fn by_id(&self, id: SchemaId) -> Option<&Arc<SchemaEntry>> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// The field whose cells are there, and its schema: the root of what maps from it.
    pub(crate) fn field_at(&self, place: CellPlace) -> Option<(&SchemaName, &Field)> {
        if let Some((schema, field)) = self.placed.get(&place) {
            let field = self.get(schema.as_str())?.schema.field(field.as_str())?;
            return Some((schema, field));
        }
        let entry = self.by_id(place.schema)?;
        let field = entry.schema.fields.get((place.field.0 as usize).checked_sub(1)?)?;
        Some((&entry.schema.name, field))
    }

    /// All schemas, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SchemaEntry>> {
        self.by_name.values()
    }

    /// The number of schemas.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no schema.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The number of registered transforms.
    #[must_use]
    pub fn transforms(&self) -> u64 {
        self.transforms
    }

    /// All indexes, by their numbers.
    pub fn indexes(&self) -> impl Iterator<Item = &Arc<Index>> {
        self.indexes.values()
    }

    /// The index with this number.
    #[must_use]
    pub fn index(&self, id: IndexId) -> Option<&Arc<Index>> {
        self.indexes.get(&id)
    }

    /// The indexes that writes to the records of a schema keep.
    pub(crate) fn kept_indexes(&self, records: SchemaId) -> &[Arc<Index>] {
        self.kept.get(&records).map_or(&[], |kept| kept)
    }

    /// The transforms of schemas that were approved, by their numbers.
    pub fn computed(&self) -> impl Iterator<Item = &Arc<Transform>> {
        self.computed.values()
    }

    /// The transform with this number.
    #[must_use]
    pub fn transform(&self, id: TransformId) -> Option<&Arc<Transform>> {
        self.computed.get(&id)
    }

    /// The transform with this number, also one whose place another one has taken.
    pub(crate) fn revision(&self, id: TransformId) -> Option<&Arc<Transform>> {
        let retired = || Some(&self.retired.get(&id)?.transform);
        self.transform(id).or_else(retired)
    }

    /// The transform with this number whose place another one has taken.
    pub(crate) fn retired_transform(&self, id: TransformId) -> Option<&Arc<Retired>> {
        self.retired.get(&id)
    }

    /// The transforms whose place others have taken, by their numbers.
    pub(crate) fn retired(&self) -> impl Iterator<Item = &Arc<Retired>> {
        self.retired.values()
    }

    /// Whether records still have results of transforms whose places others have taken.
    pub(crate) fn replaces_any(&self) -> bool {
        self.replaces_any
    }

    /// Whether the records still have results of a transform whose place this one has taken.
    pub(crate) fn is_replacing(&self, transform: &Transform) -> bool {
        let mut retired = self.retired().map(|found| found.transform.cell());
        transform.is_filling() && retired.any(|found| found == transform.cell())
    }

    /// The transform of an approved schema with this name, `Schema.field`.
    #[must_use]
    pub fn transform_of(&self, name: &str) -> Option<&Arc<Transform>> {
        let (schema, field) = qualified(name)?;
        let entry = self.get(schema.as_str())?;
        let place = entry.place(field.as_str())?;
        let found = self.propagations.get(&entry.records())?.computing(place.field)?;
        (found.schema == schema && found.field == field).then_some(found)
    }

    /// The transforms whose results are in the records of a schema, if there are some.
    pub(crate) fn propagation(&self, records: SchemaId) -> Option<&Arc<Propagation>> {
        self.propagations.get(&records)
    }

    /// All transforms, by the schema that has the records.
    pub(crate) fn propagations(&self) -> impl Iterator<Item = (SchemaId, &Arc<Propagation>)> {
        let mut found: Vec<_> = self.propagations.iter().map(|(id, of)| (*id, of)).collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found.into_iter()
    }

    /// Whether a transform writes the cell.
    pub(crate) fn is_computed(&self, place: CellPlace) -> bool {
        let found = self.propagations.get(&place.schema);
        found.is_some_and(|found| found.computing(place.field).is_some())
    }

    /// How the transforms of all schemas depend on each other.
    pub(crate) fn graph(&self) -> &TransformGraph {
        &self.graph
    }

    /// Whether what is computed in the records of a schema has to do with no other record.
    pub(crate) fn is_local(&self, records: SchemaId) -> bool {
        let propagation = self.propagations.get(&records);
        !self.graph.is_watched(records) && propagation.is_none_or(|found| !found.reads_others())
    }

    /// The transforms whose results a transform depends on, directly or by way of others, and it.
    pub(crate) fn upstream(&self, transform: TransformId) -> Vec<&Arc<Transform>> {
        let mut found: Vec<&Arc<Transform>> = Vec::new();
        let mut left: Vec<&Arc<Transform>> = self.computed.get(&transform).into_iter().collect();
        let mut seen = BTreeSet::from([transform]);
        while let Some(next) = left.pop() {
            found.push(next);
            let own = next.cells().map(|field| CellPlace { schema: next.records, field });
            let others = next.others().filter_map(|(_, target)| match target.part {
                Part::Cell(field) => Some(CellPlace { schema: target.records, field }),
                Part::Key(_) => None,
            });
            for place in own.chain(others) {
                let of_schema = self.propagations.get(&place.schema);
                let input = of_schema.and_then(|found| found.computing(place.field));
                left.extend(input.filter(|input| seen.insert(input.id)));
            }
        }
        found
    }

    /// Whether anything is computed.
    pub(crate) fn computes(&self) -> bool {
        !self.propagations.is_empty()
    }

    /// The schemas with records in which something is still to be computed.
    pub(crate) fn filling(&self) -> Option<(SchemaId, &Arc<Propagation>)> {
        let state = TransformState::Filling;
        let first = self.computed.values().find(|found| found.state == state)?;
        Some((first.records, self.propagations.get(&first.records)?))
    }

    pub(crate) fn next_index_id(&self) -> IndexId {
        IndexId(self.next_index_id.max(1))
    }

    pub(crate) fn next_schema_id(&self) -> SchemaId {
        SchemaId(self.next_schema_id.max(1))
    }

    /// Reads the catalogue of a space.
    pub(crate) fn load(snapshot: &dyn Snapshot, rows: Rows) -> Result<Self, DataLayerError> {
        let mut catalogue = Self::default();
        let mut scan = Scan::prefix(Keyspace::Catalogue, &rows.all());
        loop {
            let page = snapshot.scan(&scan)?;
            for (key, value) in page.rows() {
                catalogue.apply_row(key, None, Some(value))?;
            }
            match page.last_key() {
                Some(last) if page.more() => scan = scan.after(last),
                _ => break,
            }
        }
        catalogue.settle_transforms();
        Ok(catalogue)
    }

    /// The catalogue after a commit has written these rows. `before` tells whether a row existed.
    pub(crate) fn with_rows<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>, Option<&'a Bytes>)>,
    ) -> Result<Self, DataLayerError> {
        let mut next = self.clone();
        for (key, before, after) in rows {
            next.apply_row(key, before.map(|row| &row[..]), after.map(|row| &row[..]))?;
        }
        next.settle_transforms();
        Ok(next)
    }

    fn apply_row(
        &mut self,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<(), DataLayerError> {
        let error = |source| DataLayerError::key(Keyspace::Catalogue, key, source);
        let mut reader = KeyReader::new(key);
        reader.id().map_err(error)?;
        let kind = CatalogueKind::from_number(reader.id().map_err(error)?);
        match kind {
            Some(CatalogueKind::Schema) => {
                let id = SchemaId(reader.id().map_err(error)?);
                match after {
                    Some(row) => self.define(id, Definition::decode(key, row)?)?,
                    None => self.remove(id),
                }
            }
            Some(CatalogueKind::State) => {
                let id = SchemaId(reader.id().map_err(error)?);
                if let Some(row) = after {
                    let state = StateRow::decode(row)
                        .map_err(|source| DataLayerError::row(Keyspace::Catalogue, key, source))?;
                    self.set_state(id, state);
                }
            }
            Some(CatalogueKind::Layout) => {
                let id = SchemaId(reader.id().map_err(error)?);
                if let Some(row) = after {
                    let layout = Layout::decode(row)
                        .map_err(|source| DataLayerError::row(Keyspace::Catalogue, key, source))?;
                    self.set_layout(id, layout)?;
                }
            }
            Some(CatalogueKind::NextSchemaId) => {
                if let Some(row) = after {
                    self.next_schema_id = Decoder::new(row).u32().map_err(|source| {
                        DataLayerError::row(Keyspace::Catalogue, key, source.into())
                    })?;
                }
            }
            Some(CatalogueKind::Index) => {
                let id = IndexId(reader.id().map_err(error)?);
                let row = after.map(IndexRow::decode).transpose();
                let row =
                    row.map_err(|source| DataLayerError::row(Keyspace::Catalogue, key, source))?;
                self.set_index(id, row);
            }
            Some(CatalogueKind::NextIndexId) => {
                if let Some(row) = after {
                    self.next_index_id = Decoder::new(row).u32().map_err(|source| {
                        DataLayerError::row(Keyspace::Catalogue, key, source.into())
                    })?;
                }
            }
            Some(CatalogueKind::ComputedField) => {
                let id = TransformId(reader.id().map_err(error)?);
                let row = after.map(ComputedRow::decode).transpose();
                let row =
                    row.map_err(|source| DataLayerError::row(Keyspace::Catalogue, key, source))?;
                self.set_computed(id, row);
            }
            Some(CatalogueKind::RetiredTransform) => {
                let id = TransformId(reader.id().map_err(error)?);
                let row = after.map(|row| RetiredRow::decode(key, row)).transpose()?;
                self.retired.remove(&id);
                let retired = row.and_then(|row| self.resolve_retired(id, row));
                self.retired.extend(retired.map(|retired| (id, Arc::new(retired))));
            }
            Some(CatalogueKind::Transform) => match (before, after) {
                (None, Some(_)) => self.transforms += 1,
                (Some(_), None) => self.transforms = self.transforms.saturating_sub(1),
                _ => {}
            },
            // Not part of what is kept in memory.
            Some(CatalogueKind::Metadata | CatalogueKind::NextFieldId) | None => {}
        }
        Ok(())
    }

    fn define(&mut self, id: SchemaId, definition: Definition) -> Result<(), DataLayerError> {
        let old = self.by_id(id).cloned();
        let name = definition.schema.name.clone();
        let mut entry = SchemaEntry {
            id,
            shape: Arc::clone(&definition.schema),
            schema: definition.schema,
            hash: definition.hash,
            loaded: definition.loaded,
            source: definition.source,
            state: old.as_ref().map(|old| old.state).unwrap_or_default(),
            reason: old.as_ref().and_then(|old| old.reason.clone()),
            layout: None,
            defaults: Arc::default(),
            projection: Projection::default(),
            element_fields: Arc::default(),
        };
        entry.settle(None);
        if let Some(old) = &old {
            entry.keep_element_fields(old);
        }
        self.names.insert(id, name.clone());
        self.by_name.insert(name, Arc::new(entry));
        match old.and_then(|old| old.layout.clone()) {
            Some(layout) => self.set_layout(id, layout),
            None => Ok(()),
        }
    }

    fn remove(&mut self, id: SchemaId) {
        if let Some(name) = self.names.remove(&id) {
            self.by_name.remove(&name);
            self.placed.retain(|_, (schema, _)| *schema != name);
        }
    }

    /// Rows of layouts come behind those of definitions, and their sources cannot be deleted.
    fn set_layout(&mut self, id: SchemaId, layout: Layout) -> Result<(), DataLayerError> {
        let Some(entry) = self.by_id(id).cloned() else { return Ok(()) };
        // A schema gets its layout when its fields lead somewhere, so this is no refusal of it.
        let shape = layout::shape(self, &entry).map_err(|_| {
            let name = &entry.schema.name;
            DataLayerError::missing(format!("the source of a mapped field of schema `{name}`"))
        })?;
        let root = (layout.records != id).then(|| self.by_id(layout.records).cloned()).flatten();
        for (cell, field) in layout.cells.iter().zip(&shape.fields) {
            if cell.schema != id && field.mappers.is_empty() && !shape.key.contains(&field.name) {
                self.placed.insert(*cell, (shape.name.clone(), field.name.clone()));
                if field.kind != FieldKind::Single {
                    self.add_element_field(*cell);
                }
            }
        }
        let old = entry;
        let mut entry = SchemaEntry::clone(&old);
        entry.shape = Arc::new(shape);
        entry.layout = Some(layout);
        entry.settle(root.as_deref());
        entry.keep_element_fields(&old);
        self.by_name.insert(entry.schema.name.clone(), Arc::new(entry));
        Ok(())
    }

    /// A field of another schema has elements in the records of this one.
    fn add_element_field(&mut self, place: CellPlace) {
        let name = self.names.get(&place.schema);
        let Some(entry) = name.and_then(|name| self.by_name.get_mut(name)) else { return };
        if !entry.element_fields.contains(&place.field) {
            let entry = Arc::make_mut(entry);
            let fields = entry.element_fields.iter().copied().chain([place.field]);
            entry.element_fields = fields.collect();
        }
    }

    /// Rows of indexes come behind those of definitions and layouts.
    fn set_index(&mut self, id: IndexId, row: Option<IndexRow>) {
        let before = self.indexes.remove(&id).map(|index| index.records);
        let index = row.and_then(|row| self.resolve_index(id, row));
        let after = index.as_ref().map(|index| index.records);
        if let Some(index) = index {
            self.indexes.insert(id, Arc::new(index));
        }
        for records in before.into_iter().chain(after) {
            let of_records = |index: &&Arc<Index>| index.records == records && index.is_kept();
            let kept = self.indexes.values().filter(of_records).cloned().collect();
            self.kept.insert(records, kept);
        }
    }

    fn resolve_index(&self, id: IndexId, row: IndexRow) -> Option<Index> {
        let IndexRow { schema, definition, state } = row;
        let entry = self.by_id(schema)?;
        let parts = definition.fields.iter().map(|name| {
            if let Some(part) = entry.schema.key.iter().position(|key| key == name) {
                return Some(IndexPart::Key(part));
            }
            let (place, field) = entry.placed_field(name.as_str())?;
            let is_there = place.schema == entry.records() && field.kind == FieldKind::Single;
            is_there.then_some(IndexPart::Cell(place.field))
        });
        let parts = parts.collect::<Option<Arc<[IndexPart]>>>()?;
        let (schema, records) = (entry.schema.name.clone(), entry.records());
        Some(Index { id, schema, definition, state, records, parts })
    }

    /// Rows of computed fields come behind those of definitions and layouts.
    fn set_computed(&mut self, id: TransformId, row: Option<ComputedRow>) {
        let before = self.computed.remove(&id);
        let after = row.and_then(|row| self.resolve_computed(id, row, before.as_deref()));
        let records = before.iter().map(|found| found.records);
        self.unsettled.extend(records.chain(after.as_ref().map(|found| found.records)));
        if let Some(transform) = after {
            self.computed.insert(id, Arc::new(transform));
        }
    }

    /// Sets what follows from the transforms together.
    fn settle_transforms(&mut self) {
        let unsettled = std::mem::take(&mut self.unsettled);
        if unsettled.is_empty() {
            return;
        }
        let graph = TransformGraph::new(self.computed.values());
        let mut found: HashMap<SchemaId, Vec<(u32, Arc<Transform>)>> = HashMap::new();
        for transform in self.computed.values() {
            if unsettled.contains(&transform.records) {
                let of_schema = found.entry(transform.records).or_default();
                of_schema.push((graph.level(transform.id), Arc::clone(transform)));
            }
        }
        for records in unsettled {
            match found.remove(&records) {
                Some(found) => {
                    self.propagations.insert(records, Arc::new(Propagation::new(found)));
                }
                None => drop(self.propagations.remove(&records)),
            }
        }
        self.graph = Arc::new(graph);
        self.replaces_any = self.computed.values().any(|found| self.is_replacing(found));
    }

    fn resolve_computed(
        &self,
        id: TransformId,
        row: ComputedRow,
        before: Option<&Transform>,
    ) -> Option<Transform> {
        let entry = self.by_id(row.schema)?;
        let at = (row.field.0 as usize).checked_sub(1)?;
        let field = entry.schema.fields.get(at)?;
        let home = home(self, entry, field)?;
        let logic = match before {
            Some(before) => before.logic.clone(),
            None => recompile(self, entry, home, field.transform.as_ref()?).transpose()?,
        };
        Transform::new(id, row.state, (entry, at), home, logic)
    }

    fn resolve_retired(&self, id: TransformId, row: RetiredRow) -> Option<Retired> {
        let entry = self.by_id(row.schema)?;
        let at = (row.field.0 as usize).checked_sub(1)?;
        // The definition as it was.
        let mut schema = Schema::clone(&entry.schema);
        schema.fields.get_mut(at)?.transform = Some(row.definition);
        let field = schema.fields.get(at)?;
        let home = home(self, entry, field)?;
        let logic = recompile(self, entry, home, field.transform.as_ref()?);
        // Its number stays known whatever becomes of what it read.
        let missing = || CompileError { diagnostics: Vec::new() };
        let logic = logic.and_then(|logic| logic.ok_or_else(missing));
        let state = TransformState::Retired;
        let mut transform = Transform::new(id, state, (entry, at), home, logic)?;
        transform.source.schema = Arc::new(schema);
        Some(Retired { transform: Arc::new(transform), has_rows: row.has_rows })
    }

    fn set_state(&mut self, id: SchemaId, row: StateRow) {
        let Some(entry) = self.names.get(&id).and_then(|name| self.by_name.get_mut(name)) else {
            return;
        };
        let entry = Arc::make_mut(entry);
        entry.state = row.state;
        entry.reason = row.reason;
    }
}

impl Definition {
    fn decode(key: &[u8], row: &[u8]) -> Result<Self, DataLayerError> {
        let error = |source| DataLayerError::row(Keyspace::Catalogue, key, source);
        let mut decoder = Decoder::new(row);
        let (hash, loaded, source, stored) = Self::decode_parts(&mut decoder).map_err(error)?;
        let schema = Schema::from_stored(&stored)
            .map_err(|source| SerializationError::Schema { key: hex(key), source })?;
        Ok(Self { schema: Arc::new(schema), hash, loaded, source })
    }

    #[expect(clippy::type_complexity, reason = "the four parts of one row, used once")]
    fn decode_parts(
        decoder: &mut Decoder<'_>,
    ) -> Result<(ContentHash, CommitNumber, Option<Arc<str>>, crate::model::Value), RowError> {
        if decoder.array()? != Some(4) {
            return Err(RowError::Malformed("a schema row has four parts"));
        }
        let hash = decoder.bytes()?.try_into();
        let hash = hash.map_err(|_| RowError::Malformed("a content hash has 32 bytes"))?;
        let loaded = CommitNumber(decoder.u64()?);
        let source = decoder.decode::<Option<&str>>()?.map(Arc::from);
        Ok((ContentHash::from_bytes(hash), loaded, source, decode_from(decoder)?))
    }
}

/// The row of a definition.
pub(crate) fn encode_definition(
    schema: &Schema,
    hash: &ContentHash,
    loaded: CommitNumber,
    source: Option<&str>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut encoder = Encoder::new(&mut out);
    ok(encoder
        .array(4)
        .and_then(|e| e.bytes(hash.as_bytes()))
        .and_then(|e| e.u64(loaded.0))
        .and_then(|e| e.encode(source)));
    encode_value(&schema.to_stored(), &mut out);
    out
}

/// The state that a row of the catalogue gives a schema.
pub(crate) fn read_state(row: &[u8]) -> Result<SchemaState, RowError> {
    Ok(StateRow::decode(row)?.state)
}

impl StateRow {
    fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(2) {
            return Err(RowError::Malformed("a state row has two parts"));
        }
        let state = match decoder.u8()? {
            0 => SchemaState::Available,
            1 => SchemaState::Approved,
            2 => SchemaState::Blocked,
            _ => return Err(RowError::Malformed("an unknown schema state")),
        };
        Ok(Self { state, reason: decoder.decode::<Option<&str>>()?.map(Arc::from) })
    }
}

/// The row of a state.
pub(crate) fn encode_state(state: SchemaState, reason: Option<&str>) -> Vec<u8> {
    let number = match state {
        SchemaState::Available => 0,
        SchemaState::Approved => 1,
        SchemaState::Blocked => 2,
    };
    let mut out = Vec::with_capacity(8);
    ok(Encoder::new(&mut out).array(2).and_then(|e| e.u8(number)).and_then(|e| e.encode(reason)));
    out
}
