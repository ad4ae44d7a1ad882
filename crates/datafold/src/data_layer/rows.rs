//! The key of every row of a space (`docs/format.md`).

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyReader, KeyWriter};
use datafold_store::{BatchKey, Keyspace, SpaceId};

use super::ids::{CommitNumber, FieldId, IndexId, SchemaId, TransformId};

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
    Index = 8,
    NextIndexId = 9,
    ComputedField = 10,
    RetiredTransform = 11,
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
            8 => Some(Self::Index),
            9 => Some(Self::NextIndexId),
            10 => Some(Self::ComputedField),
            11 => Some(Self::RetiredTransform),
            _ => None,
        }
    }
}

/// The kinds of rows that a transform has besides those of its failures; the numbers are part of
/// the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TransformRow {
    /// Which records were looked up for a record.
    Asked = 1,
    /// For which record a record was looked up.
    Asker = 2,
    /// What is still to be computed.
    Task = 3,
    /// What is counted of a group.
    Group = 4,
    /// A value of a group.
    GroupItem = 5,
    /// How far the groups of an aggregate are made from the records that were there before.
    Gathering = 6,
}

impl TransformRow {
    fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Asked),
            2 => Some(Self::Asker),
            3 => Some(Self::Task),
            4 => Some(Self::Group),
            5 => Some(Self::GroupItem),
            6 => Some(Self::Gathering),
            _ => None,
        }
    }
}

/// Where the cell or the elements of a field of a record lie.
///
/// Everything that reads or writes elements does it through such an address, so that a field whose
/// data lie elsewhere needs another address and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldAddress<'a> {
    pub(crate) schema: SchemaId,
    /// The encoded key of the record.
    pub(crate) record: &'a [u8],
    pub(crate) field: FieldId,
}

/// No part begins with this byte, and a text goes on with it behind a NUL.
pub(crate) const BEHIND_PARTS: u8 = 0xFF;

/// Stands behind an element key in the history. A commit number may begin with the byte that a
/// text goes on with, so that it cannot stand there itself.
const PAST_OF_ELEMENT: u32 = 0;

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

    /// The catalogue row of an index.
    pub(crate) fn index_row(self, index: IndexId) -> BatchKey {
        let mut key = self.key();
        key.id(CatalogueKind::Index as u32).id(index.0);
        (Keyspace::Catalogue, key.finish())
    }

    pub(crate) fn next_index_id(self) -> BatchKey {
        (Keyspace::Catalogue, self.catalogue_kind(CatalogueKind::NextIndexId).into())
    }

    /// The catalogue row of a transform that computes a field.
    pub(crate) fn computed_field(self, transform: TransformId) -> BatchKey {
        let mut key = self.key();
        key.id(CatalogueKind::ComputedField as u32).id(transform.0);
        (Keyspace::Catalogue, key.finish())
    }

    /// The catalogue row of a transform whose place another one has taken.
    pub(crate) fn retired_transform(self, transform: TransformId) -> BatchKey {
        let mut key = self.key();
        key.id(CatalogueKind::RetiredTransform as u32).id(transform.0);
        (Keyspace::Catalogue, key.finish())
    }

    /// The row that tells why a transform failed for a record, in [`Keyspace::Indexes`].
    pub(crate) fn failure(self, transform: TransformId, record: &[u8]) -> Bytes {
        let mut key = self.key();
        key.id(transform.rows().0).raw(record);
        key.finish()
    }

    /// The key of another row of a transform, in [`Keyspace::Indexes`]; they stand behind those of
    /// its failures.
    fn of_transform(self, transform: TransformId, kind: TransformRow) -> KeyWriter {
        let mut key = self.key();
        key.id(transform.rows().0).raw(&[BEHIND_PARTS]).id(kind as u32);
        key
    }

    /// Behind the rows of a transform's failures.
    pub(crate) fn failures_end(self, transform: TransformId) -> Vec<u8> {
        let mut key = self.key();
        key.id(transform.rows().0).raw(&[BEHIND_PARTS]);
        key.into_vec()
    }

    /// The row that tells which records a transform has looked up for a record.
    pub(crate) fn asked(self, transform: TransformId, record: &[u8]) -> Bytes {
        let mut key = self.of_transform(transform, TransformRow::Asked);
        key.raw(record);
        key.finish()
    }

    /// The prefix of [`Rows::asker`] of all records that have looked up this one. What goes on
    /// with [`BEHIND_PARTS`] is of another key.
    pub(crate) fn askers(self, transform: TransformId, schema: SchemaId, asked: &[u8]) -> Vec<u8> {
        let mut key = self.of_transform(transform, TransformRow::Asker);
        key.id(schema.0).raw(asked);
        key.into_vec()
    }

    /// The row that tells that a transform has looked up `asked` for `record`.
    pub(crate) fn asker(
        self,
        transform: TransformId,
        (schema, asked): (SchemaId, &[u8]),
        record: &[u8],
    ) -> Bytes {
        let mut key = self.askers(transform, schema, asked);
        key.extend_from_slice(record);
        key.into()
    }

    /// The prefix of what a transform is still to compute.
    pub(crate) fn tasks(self, transform: TransformId) -> Vec<u8> {
        self.of_transform(transform, TransformRow::Task).into_vec()
    }

    fn of_slot(self, transform: TransformId, kind: TransformRow, slot: usize) -> KeyWriter {
        let mut key = self.of_transform(transform, kind);
        key.id(u32::try_from(slot).unwrap_or(u32::MAX));
        key
    }

    /// The row of a group of an aggregate; the group has the key of a record.
    pub(crate) fn group(self, transform: TransformId, slot: usize, group: &[u8]) -> Bytes {
        let mut key = self.of_slot(transform, TransformRow::Group, slot);
        key.raw(group);
        key.finish()
    }

    /// The prefix of the values of a group. What goes on with [`BEHIND_PARTS`] is of another group.
    pub(crate) fn group_items(self, transform: TransformId, slot: usize, group: &[u8]) -> Vec<u8> {
        let mut key = self.of_slot(transform, TransformRow::GroupItem, slot);
        key.raw(group);
        key.into_vec()
    }

    /// The row of a value of a group.
    pub(crate) fn group_item(
        self,
        transform: TransformId,
        slot: usize,
        group: &[u8],
        item: &[u8],
    ) -> Bytes {
        let mut key = self.group_items(transform, slot, group);
        key.extend_from_slice(item);
        key.into()
    }

    /// The row that tells how far the groups of an aggregate are made. It is gone when they are.
    pub(crate) fn gathering(self, transform: TransformId, slot: usize) -> Bytes {
        self.of_slot(transform, TransformRow::Gathering, slot).finish()
    }

    /// The kind of another row of a transform than that of a failure, and what stands behind it.
    /// `rest` is what stands behind the transform.
    pub(crate) fn read_of_transform(rest: &[u8]) -> Result<(TransformRow, &[u8]), KeyError> {
        let mut reader = KeyReader::new(rest.get(1..).unwrap_or_default());
        let kind = TransformRow::from_number(reader.id()?).ok_or(KeyError::Truncated)?;
        Ok((kind, reader.rest()))
    }

    /// The prefix of every entry of an index, in [`Keyspace::Indexes`].
    pub(crate) fn index(self, index: IndexId) -> Vec<u8> {
        let mut key = self.key();
        key.id(index.0);
        key.into_vec()
    }

    /// The row that tells how far the building of an index is. No index has the number 0.
    pub(crate) fn index_progress(self, index: IndexId) -> Bytes {
        let mut key = self.key();
        key.id(0).id(index.0);
        key.finish()
    }

    /// The index of a key of [`Keyspace::Indexes`]; 0 for a row of progress.
    pub(crate) fn read_index(self, key: &[u8]) -> Result<(IndexId, &[u8]), KeyError> {
        let mut reader = KeyReader::new(key);
        reader.id()?;
        let index = reader.id()?;
        Ok((IndexId(index), reader.rest()))
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

    fn field(self, at: FieldAddress<'_>) -> KeyWriter {
        let mut key = self.key();
        key.id(at.schema.0).raw(at.record).id(at.field.0);
        key
    }

    /// The row that counts the elements of a field. Their rows begin with its bytes.
    pub(crate) fn element_count(self, at: FieldAddress<'_>) -> Bytes {
        self.field(at).finish()
    }

    pub(crate) fn element(self, at: FieldAddress<'_>, element: &[u8]) -> Bytes {
        let mut key = self.field(at);
        key.raw(element);
        key.finish()
    }

    /// Behind all elements of a field.
    pub(crate) fn elements_end(self, at: FieldAddress<'_>) -> Vec<u8> {
        let mut key = self.field(at);
        key.raw(&[BEHIND_PARTS]);
        key.into_vec()
    }

    /// The prefix of the past of all elements of a field.
    pub(crate) fn elements_history(self, at: FieldAddress<'_>) -> Vec<u8> {
        self.field(at).into_vec()
    }

    /// The prefix of the past of one element.
    pub(crate) fn element_history(self, at: FieldAddress<'_>, element: &[u8]) -> Vec<u8> {
        let mut key = self.field(at);
        key.raw(element).id(PAST_OF_ELEMENT);
        key.into_vec()
    }

    pub(crate) fn past_element(
        self,
        at: FieldAddress<'_>,
        element: &[u8],
        birth: CommitNumber,
    ) -> Bytes {
        let mut key = self.field(at);
        key.raw(element).id(PAST_OF_ELEMENT).descending(birth.0);
        key.finish()
    }

    /// The element key and the birth behind the field in a key of [`Keyspace::History`].
    pub(crate) fn read_past_element(rest: &[u8]) -> Result<(&[u8], CommitNumber), KeyError> {
        let mut reader = KeyReader::new(rest);
        let element = reader.skip_parts(1)?;
        match reader.id()? {
            PAST_OF_ELEMENT => {}
            _ => {
                return Err(KeyError::UnexpectedByte(
                    rest.get(element.len()).copied().unwrap_or(0),
                ));
            }
        }
        let birth = CommitNumber(reader.descending()?);
        if reader.is_empty() { Ok((element, birth)) } else { Err(KeyError::Truncated) }
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
        let (number, part) = (CommitNumber(reader.ascending()?), reader.id()?);
        match reader.rest() {
            [] => Ok((number, part)),
            [byte, ..] => Err(KeyError::UnexpectedByte(*byte)),
        }
    }

    /// The record key behind the space and the schema.
    pub(crate) fn read_record(self, key: &[u8]) -> Result<(SchemaId, &[u8]), KeyError> {
        let mut reader = KeyReader::new(key);
        reader.id()?;
        let schema = reader.id()?;
        Ok((SchemaId(schema), reader.rest()))
    }
}
