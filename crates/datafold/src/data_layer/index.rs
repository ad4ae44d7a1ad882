//! Secondary indexes: what they are over, in which state, and the keys of their entries.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyPart, KeyReader, KeyWriter};
use minicbor::{Decoder, Encoder};

use super::ids::{FieldId, IndexId, SchemaId};
use super::record::ok;
use super::rows::Rows;
use super::serialization::RowError;
use crate::model::{FieldName, IndexDefinition, SchemaName, Value, decode_value, part_of_value};

/// An index has at most so many fields.
pub const INDEX_FIELDS_MAX: usize = 16;
/// Longer texts are cut in an entry, and their hash stands behind them.
pub(crate) const TEXT_BYTES_MAX: usize = 256;
/// Stands between a cut text and its hash. A text that is not cut is shorter than any that is.
const CUT: char = '\u{10FFFF}';
/// At most so many pairs of records with the same values are kept of a unique index that failed.
pub(crate) const DUPLICATES_MAX: usize = 100;

/// Whether an index can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexState {
    /// Records that were there before it are still read. New writes are in it.
    Building,
    /// It holds every record.
    Ready,
    /// It is unique, and records had the same values. It is not kept.
    Failed {
        /// The encoded keys of the first pairs of such records.
        duplicates: Vec<(Bytes, Bytes)>,
    },
    /// Its entries are being removed.
    Dropping,
}

impl IndexState {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            IndexState::Building => "building",
            IndexState::Ready => "ready",
            IndexState::Failed { .. } => "failed",
            IndexState::Dropping => "dropping",
        }
    }
}

/// An index as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its number, never given twice.
    pub id: IndexId,
    /// The schema that it was made for.
    pub schema: SchemaName,
    /// Its fields, and whether it is unique.
    pub definition: IndexDefinition,
    /// Whether it can be used.
    pub state: IndexState,
    /// The schema that has the records.
    pub(crate) records: SchemaId,
    pub(crate) parts: Arc<[IndexPart]>,
}

/// Where a part of an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexPart {
    /// A part of the record's key.
    Key(usize),
    /// A cell of the record.
    Cell(FieldId),
}

/// An entry: its key in the keyspace of indexes, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    /// The key of the record if the entry is that of one record only, else empty.
    pub(crate) row: Bytes,
}

impl Index {
    /// Whether writes keep it.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.state, IndexState::Building | IndexState::Ready)
    }

    /// Whether the value of one of these fields is a part of its entries.
    pub(crate) fn reads_any<'f>(&self, mut fields: impl Iterator<Item = &'f FieldId>) -> bool {
        fields.any(|field| self.parts.contains(&IndexPart::Cell(*field)))
    }

    /// The entry of a record whose cells `value` answers, encoded.
    pub(crate) fn entry<'v>(
        &self,
        rows: Rows,
        record: &Bytes,
        value: impl Fn(FieldId) -> Option<&'v [u8]>,
    ) -> Result<Entry, RowError> {
        let mut key = KeyWriter::new();
        key.raw(&rows.index(self.id));
        let mut has_null = false;
        for part in &*self.parts {
            let part = match part {
                IndexPart::Key(at) => key_part(record, *at)?,
                IndexPart::Cell(field) => match value(*field) {
                    Some(raw) => entry_part(&decode_value(raw)?, raw),
                    None => KeyPart::Null,
                },
            };
            has_null |= part == KeyPart::Null;
            key.part(&part).map_err(|_| RowError::Malformed("a number is not finite"))?;
        }
        if self.definition.unique && !has_null {
            return Ok(Entry { key: key.finish(), row: record.clone() });
        }
        key.raw(record);
        Ok(Entry { key: key.finish(), row: Bytes::new() })
    }

    /// The encoded key of the record that an entry is of.
    pub(crate) fn record_of<'e>(
        &self,
        rows: Rows,
        key: &'e [u8],
        row: &'e [u8],
    ) -> Result<&'e [u8], KeyError> {
        let behind = key.get(rows.index(self.id).len()..).ok_or(KeyError::Truncated)?;
        let mut reader = KeyReader::new(behind);
        reader.skip_parts(self.parts.len())?;
        match (row.first(), reader.rest()) {
            (None, record) => Ok(record),
            (Some(_), []) => Ok(row),
            (Some(byte), _) => Err(KeyError::UnexpectedByte(*byte)),
        }
    }
}

impl fmt::Display for Index {
    /// As in "the unique index on a, b".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unique = if self.definition.unique { "unique " } else { "" };
        write!(f, "the {unique}index on ")?;
        for (at, field) in self.definition.fields.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{field}")?;
        }
        Ok(())
    }
}

/// The row of an index: `[schema, unique, [field…], state, [record, record…]]`.
pub(crate) fn encode_index(
    schema: SchemaId,
    definition: &IndexDefinition,
    state: &IndexState,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let mut encoder = Encoder::new(&mut out);
    let (number, duplicates) = match state {
        IndexState::Building => (0, &[][..]),
        IndexState::Ready => (1, &[][..]),
        IndexState::Failed { duplicates } => (2, &duplicates[..]),
        IndexState::Dropping => (3, &[][..]),
    };
    ok(encoder
        .array(5)
        .and_then(|e| e.u32(schema.0))
        .and_then(|e| e.bool(definition.unique))
        .and_then(|e| e.array(definition.fields.len() as u64)));
    for field in &definition.fields {
        ok(encoder.str(field.as_str()));
    }
    ok(encoder.u8(number));
    encode_pairs(&mut encoder, duplicates);
    out
}

/// Pairs of record keys, one behind the other.
pub(super) fn encode_pairs(encoder: &mut Encoder<&mut Vec<u8>>, pairs: &[(Bytes, Bytes)]) {
    ok(encoder.array(2 * pairs.len() as u64));
    for (one, other) in pairs {
        ok(encoder.bytes(one).and_then(|e| e.bytes(other)));
    }
}

pub(super) fn decode_pairs(decoder: &mut Decoder<'_>) -> Result<Vec<(Bytes, Bytes)>, RowError> {
    let mut pairs = Vec::new();
    for _ in 0..decoder.array()?.unwrap_or(0) / 2 {
        let one = Bytes::copy_from_slice(decoder.bytes()?);
        pairs.push((one, Bytes::copy_from_slice(decoder.bytes()?)));
    }
    Ok(pairs)
}

/// What an index's row holds.
#[derive(Debug, Clone)]
pub(crate) struct IndexRow {
    pub(crate) schema: SchemaId,
    pub(crate) definition: IndexDefinition,
    pub(crate) state: IndexState,
}

impl IndexRow {
    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let malformed = RowError::Malformed;
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(5) {
            return Err(malformed("an index row has five parts"));
        }
        let schema = SchemaId(decoder.u32()?);
        let unique = decoder.bool()?;
        let mut fields = Vec::new();
        for _ in 0..decoder.array()?.unwrap_or(0) {
            let name = FieldName::parse(decoder.str()?);
            fields.push(name.map_err(|_| malformed("an index is over fields"))?);
        }
        let number = decoder.u8()?;
        let duplicates = decode_pairs(&mut decoder)?;
        let state = match number {
            0 => IndexState::Building,
            1 => IndexState::Ready,
            2 => IndexState::Failed { duplicates },
            3 => IndexState::Dropping,
            _ => return Err(malformed("an unknown state of an index")),
        };
        Ok(Self { schema, definition: IndexDefinition { fields, unique }, state })
    }
}

fn key_part(record: &[u8], at: usize) -> Result<KeyPart, RowError> {
    let read = || {
        let mut reader = KeyReader::new(record);
        reader.skip_parts(at)?;
        reader.part()
    };
    let part: Result<KeyPart, KeyError> = read();
    let part = part.map_err(|_| RowError::Malformed("the key of a record has too few parts"))?;
    Ok(match part {
        KeyPart::Text(text) => text_part(text),
        other => other,
    })
}

/// The part of an entry that a value is. Arrays and objects are a hash behind all texts.
pub(crate) fn entry_part(value: &Value, raw: &[u8]) -> KeyPart {
    match value {
        Value::Array(_) | Value::Object(_) => {
            let before: String = std::iter::repeat_n(CUT, TEXT_BYTES_MAX / 4).collect();
            KeyPart::Text(with_hash(before, raw))
        }
        Value::Text(text) => text_part(text.clone()),
        other => part_of_value(other).unwrap_or(KeyPart::Null),
    }
}

/// A text as it stands in an entry: cut, with its hash, if it is long.
pub(crate) fn text_part(mut text: String) -> KeyPart {
    if text.len() <= TEXT_BYTES_MAX {
        return KeyPart::Text(text);
    }
    let hash = blake3::hash(text.as_bytes());
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    KeyPart::Text(cut(text, &hash))
}

fn with_hash(before: String, of: &[u8]) -> String {
    cut(before, &blake3::hash(of))
}

fn cut(mut before: String, hash: &blake3::Hash) -> String {
    before.push(CUT);
    // 128 bits of it.
    before.extend(hash.to_hex().chars().take(32));
    before
}
