//! The key of every row of a space (`docs/format.md`).

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyReader, KeyWriter};
use datafold_store::{BatchKey, Keyspace, SpaceId};

use super::ids::{CommitNumber, FieldId, SchemaId};

/// The kinds of catalogue rows; the numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CatalogueKind {
    Schema = 1,
    State = 2,
    Transform = 3,
    Layout = 4,
    Metadata = 5,
    NextSchemaId = 6,
    NextFieldId = 7,
}

impl CatalogueKind {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Schema),
            2 => Some(Self::State),
            3 => Some(Self::Transform),
            4 => Some(Self::Layout),
            5 => Some(Self::Metadata),
            6 => Some(Self::NextSchemaId),
            7 => Some(Self::NextFieldId),
            _ => None,
        }
    }
}

/// Builds the keys of one space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) space: SpaceId,
}

impl Rows {
    fn key(self) -> KeyWriter {
        let mut key = KeyWriter::new();
        key.id(self.space.0);
        key
    }

    /// The prefix of every row of the space.
    pub(crate) fn all(self) -> Vec<u8> {
        self.key().into_vec()
    }

    pub(crate) fn counters(self, schema: SchemaId) -> BatchKey {
        let mut key = self.key();
        key.id(schema.0);
        (Keyspace::Head, key.finish())
    }

    pub(crate) fn catalogue_kind(self, kind: CatalogueKind) -> Vec<u8> {
        let mut key = self.key();
        key.id(kind as u32);
        key.into_vec()
    }

    pub(crate) fn schema(self, schema: SchemaId) -> BatchKey {
        self.catalogue_id(CatalogueKind::Schema, schema)
    }

    pub(crate) fn state(self, schema: SchemaId) -> BatchKey {
        self.catalogue_id(CatalogueKind::State, schema)
    }

    pub(crate) fn layout(self, schema: SchemaId) -> BatchKey {
        self.catalogue_id(CatalogueKind::Layout, schema)
    }

    pub(crate) fn next_field_id(self, schema: SchemaId) -> BatchKey {
        self.catalogue_id(CatalogueKind::NextFieldId, schema)
    }

    fn catalogue_id(self, kind: CatalogueKind, schema: SchemaId) -> BatchKey {
        let mut key = self.key();
        key.id(kind as u32).id(schema.0);
        (Keyspace::Catalogue, key.finish())
    }

    pub(crate) fn next_schema_id(self) -> BatchKey {
        (Keyspace::Catalogue, self.catalogue_kind(CatalogueKind::NextSchemaId).into())
    }

    pub(crate) fn catalogue_text(self, kind: CatalogueKind, name: &str) -> BatchKey {
        let mut key = self.key();
        key.id(kind as u32).text(name);
        (Keyspace::Catalogue, key.finish())
    }

    /// The prefix of every record of a schema, in [`Keyspace::Records`].
    pub(crate) fn records(self, schema: SchemaId) -> Vec<u8> {
        let mut key = self.key();
        key.id(schema.0);
        key.into_vec()
    }

    pub(crate) fn record(self, schema: SchemaId, record: &[u8]) -> Bytes {
        let mut key = self.key();
        key.id(schema.0).raw(record);
        key.finish()
    }

    /// The prefix of the past of one cell, or with [`FieldId::RECORD`] of earlier lives.
    pub(crate) fn cell_history(self, schema: SchemaId, record: &[u8], field: FieldId) -> Vec<u8> {
        let mut key = self.key();
        key.id(schema.0).raw(record).id(field.0);
        key.into_vec()
    }

    pub(crate) fn history(
        self,
        schema: SchemaId,
        record: &[u8],
        field: FieldId,
        birth: CommitNumber,
    ) -> Bytes {
        let mut key = self.key();
        key.id(schema.0).raw(record).id(field.0).descending(birth.0);
        key.finish()
    }

    /// The prefix of the parts of one commit.
    pub(crate) fn commit(self, number: CommitNumber) -> Vec<u8> {
        let mut key = self.key();
        key.ascending(number.0);
        key.into_vec()
    }

    pub(crate) fn commit_part(self, number: CommitNumber, part: u32) -> BatchKey {
        let mut key = self.key();
        key.ascending(number.0).id(part);
        (Keyspace::Commits, key.finish())
    }

    /// The number of the commit that a key of [`Keyspace::Commits`] belongs to, and the part.
    pub(crate) fn read_commit_part(self, key: &[u8]) -> Result<(CommitNumber, u32), KeyError> {
        let mut reader = KeyReader::new(key);
        reader.id()?;
        let number = reader.ascending()?;
        Ok((CommitNumber(number), reader.id()?))
    }

    /// The record key behind the space and the schema.
    pub(crate) fn read_record(self, key: &[u8]) -> Result<(SchemaId, &[u8]), KeyError> {
        let mut reader = KeyReader::new(key);
        reader.id()?;
        let schema = reader.id()?;
        Ok((SchemaId(schema), reader.rest()))
    }
}
