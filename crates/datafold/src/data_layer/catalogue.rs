//! The catalogue in memory: one immutable snapshot, replaced after each commit that changes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan, Snapshot};
use minicbor::{Decoder, Encoder};

use super::error::{DataLayerError, SerializationError, hex};
use super::ids::{CommitNumber, FieldId, SchemaId};
use super::record::ok;
use super::rows::{CatalogueKind, Rows};
use super::serialization::RowError;
use crate::model::{
    ContentHash, Field, FieldKind, FieldName, Schema, SchemaName, SchemaState, decode_from,
    encode_value,
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
    /// What a query of all fields answers.
    pub(crate) projection: Projection,
    /// The Collection and Range fields, ascending.
    pub(crate) element_fields: Arc<[FieldId]>,
}

/// The columns of an answer, and where their values come from. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    pub(crate) columns: Arc<[FieldName]>,
    /// Single fields and their columns, sorted by field.
    pub(crate) cells: Arc<[(FieldId, usize)]>,
    /// Collection and Range fields and their columns, sorted by field.
    pub(crate) elements: Arc<[(FieldId, usize)]>,
    /// Parts of the key and their columns, sorted by part.
    pub(crate) key_parts: Arc<[(usize, usize)]>,
}

impl Projection {
    /// The projection of some fields of a schema, which must exist.
    pub(crate) fn new(schema: &Schema, columns: Arc<[FieldName]>) -> Self {
        let (mut cells, mut elements, mut key_parts) = (Vec::new(), Vec::new(), Vec::new());
        for (column, name) in columns.iter().enumerate() {
            if let Some(part) = schema.key.iter().position(|part| part == name) {
                key_parts.push((part, column));
                continue;
            }
            let Some(at) = schema.position(name.as_str()) else { continue };
            match schema.fields.get(at).map(|field| field.kind) {
                Some(FieldKind::Single) => cells.push((field_id_at(at), column)),
                _ => elements.push((field_id_at(at), column)),
            }
        }
        cells.sort_unstable();
        elements.sort_unstable();
        key_parts.sort_unstable();
        Self {
            columns,
            cells: cells.into(),
            elements: elements.into(),
            key_parts: key_parts.into(),
        }
    }

    /// All fields of a schema, in its order.
    fn all(schema: &Schema) -> Self {
        Self::new(schema, schema.fields.iter().map(|field| field.name.clone()).collect())
    }
}

impl SchemaEntry {
    /// The number of the field with this name.
    #[must_use]
    pub fn field_id(&self, name: &str) -> Option<FieldId> {
        self.schema.position(name).map(field_id_at)
    }

    /// The field with this number.
    #[must_use]
    pub fn field(&self, id: FieldId) -> Option<&Field> {
        self.schema.fields.get((id.0 as usize).checked_sub(1)?)
    }

    /// The fields with their numbers, in the order of the definition.
    pub fn fields(&self) -> impl Iterator<Item = (FieldId, &Field)> {
        self.schema.fields.iter().enumerate().map(|(at, field)| (field_id_at(at), field))
    }
}

fn element_fields(schema: &Schema) -> Arc<[FieldId]> {
    let fields = schema.fields.iter().enumerate();
    let fields = fields.filter(|(_, field)| field.kind != FieldKind::Single);
    fields.map(|(at, _)| field_id_at(at)).collect()
}

/// A field's number is its place in the definition as it was loaded, from 1 on.
fn field_id_at(index: usize) -> FieldId {
    FieldId(u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1))
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
pub struct Catalogue {
    by_name: BTreeMap<SchemaName, Arc<SchemaEntry>>,
    names: HashMap<SchemaId, SchemaName>,
    next_schema_id: u32,
    transforms: u64,
}

impl Catalogue {
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
                _ => return Ok(catalogue),
            }
        }
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
                    Some(row) => self.define(id, Definition::decode(key, row)?),
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
            Some(CatalogueKind::NextSchemaId) => {
                if let Some(row) = after {
                    self.next_schema_id = Decoder::new(row).u32().map_err(|source| {
                        DataLayerError::row(Keyspace::Catalogue, key, source.into())
                    })?;
                }
            }
            Some(CatalogueKind::Transform) => match (before, after) {
                (None, Some(_)) => self.transforms += 1,
                (Some(_), None) => self.transforms = self.transforms.saturating_sub(1),
                _ => {}
            },
            // Not part of what is kept in memory.
            Some(CatalogueKind::Metadata) | None => {}
        }
        Ok(())
    }

    fn define(&mut self, id: SchemaId, definition: Definition) {
        let old = self.by_id(id).cloned();
        let name = definition.schema.name.clone();
        let entry = SchemaEntry {
            id,
            projection: Projection::all(&definition.schema),
            element_fields: element_fields(&definition.schema),
            schema: definition.schema,
            hash: definition.hash,
            loaded: definition.loaded,
            source: definition.source,
            state: old.as_ref().map(|old| old.state).unwrap_or_default(),
            reason: old.and_then(|old| old.reason.clone()),
        };
        self.names.insert(id, name.clone());
        self.by_name.insert(name, Arc::new(entry));
    }

    fn remove(&mut self, id: SchemaId) {
        if let Some(name) = self.names.remove(&id) {
            self.by_name.remove(&name);
        }
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
