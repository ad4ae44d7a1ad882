//! The commit log: what each commit wrote, in parts of bounded size.

use bytes::Bytes;
use datafold_store::BatchKey;
use minicbor::{Decoder, Encoder};

use super::ids::{CommitNumber, FieldId, SchemaId, WriterId};
use super::record::ok;
use super::rows::Rows;
use super::serialization::RowError;
use crate::model::Timestamp;

/// One commit, without its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the order of the space.
    pub number: CommitNumber,
    /// When it was made; later commits have later times.
    pub time: Timestamp,
    /// Who made it.
    pub writer: WriterId,
    /// How many atoms it wrote.
    pub atoms: u32,
}

/// What a commit did to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ChangeKind {
    /// Wrote cells of a record that existed.
    Write = 0,
    /// Created the record.
    Create = 1,
    /// Deleted the record.
    Delete = 2,
}

/// One thing that a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Record {
        schema: SchemaId,
        record: Bytes,
        kind: ChangeKind,
        base: u32,
        fields: Vec<FieldId>,
    },
    /// Wrote elements of a field: the ordinal of the first is `base`, and so on.
    Elements {
        schema: SchemaId,
        record: Bytes,
        base: u32,
        field: FieldId,
        /// Encoded element keys, ascending.
        elements: Vec<Bytes>,
    },
    /// Wrote or removed a row of the catalogue.
    Catalogue {
        key: Bytes,
        /// The row, if it is the state of a schema.
        row: Option<Bytes>,
    },
}

/// Stands for [`Change::Elements`] where the kind of the change of a record stands.
const ELEMENTS: u8 = 3;

/// A change lists at most about this many bytes of element keys, so that a part stays small.
const ELEMENTS_BYTES: usize = 8 << 10;

/// The changes that list the elements written to a field.
pub(crate) fn element_changes(
    schema: SchemaId,
    record: &Bytes,
    field: FieldId,
    mut base: u32,
    written: Vec<Bytes>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut elements, mut bytes) = (Vec::new(), 0);
    let mut close = |elements: Vec<Bytes>| {
        let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
        let record = record.clone();
        changes.push(Change::Elements { schema, record, base, field, elements });
        base = base.saturating_add(count);
    };
    for element in written {
        bytes += element.len();
        elements.push(element);
        if bytes >= ELEMENTS_BYTES {
            close(std::mem::take(&mut elements));
            bytes = 0;
        }
    }
    if !elements.is_empty() {
        close(elements);
    }
    changes
}

impl Change {
    /// The number of atoms that it wrote. A deletion is one atom, of the record itself.
    pub(crate) fn atoms(&self) -> u32 {
        match self {
            Change::Record { kind: ChangeKind::Delete, .. } => 1,
            Change::Record { fields, .. } => u32::try_from(fields.len()).unwrap_or(u32::MAX),
            Change::Elements { elements, .. } => u32::try_from(elements.len()).unwrap_or(u32::MAX),
            Change::Catalogue { .. } => 0,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder::new(out);
        match self {
            Change::Record { schema, record, kind, base, fields } => {
                ok(encoder
                    .array(5)
                    .and_then(|e| e.u32(schema.0))
                    .and_then(|e| e.bytes(record))
                    .and_then(|e| e.u8(*kind as u8))
                    .and_then(|e| e.u32(*base))
                    .and_then(|e| e.array(fields.len() as u64)));
                for field in fields {
                    ok(encoder.u32(field.0));
                }
            }
            Change::Elements { schema, record, base, field, elements } => {
                ok(encoder
                    .array(6)
                    .and_then(|e| e.u32(schema.0))
                    .and_then(|e| e.bytes(record))
                    .and_then(|e| e.u8(ELEMENTS))
                    .and_then(|e| e.u32(*base))
                    .and_then(|e| e.u32(field.0))
                    .and_then(|e| e.array(elements.len() as u64)));
                for element in elements {
                    ok(encoder.bytes(element));
                }
            }
            Change::Catalogue { key, row: None } => ok(encoder.array(1).and_then(|e| e.bytes(key))),
            Change::Catalogue { key, row: Some(row) } => {
                ok(encoder.array(2).and_then(|e| e.bytes(key)).and_then(|e| e.bytes(row)));
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RowError> {
        match decoder.array()? {
            Some(parts @ 1..=2) => {
                let key = Bytes::copy_from_slice(decoder.bytes()?);
                let row = match parts {
                    1 => None,
                    _ => Some(Bytes::copy_from_slice(decoder.bytes()?)),
                };
                Ok(Change::Catalogue { key, row })
            }
            Some(5) => {
                let schema = SchemaId(decoder.u32()?);
                let record = Bytes::copy_from_slice(decoder.bytes()?);
                let kind = match decoder.u8()? {
                    0 => ChangeKind::Write,
                    1 => ChangeKind::Create,
                    2 => ChangeKind::Delete,
                    _ => return Err(RowError::Malformed("an unknown kind of change")),
                };
                let base = decoder.u32()?;
                let count = decoder.array()?.unwrap_or(0);
                let mut fields = Vec::new();
                for _ in 0..count {
                    fields.push(FieldId(decoder.u32()?));
                }
                Ok(Change::Record { schema, record, kind, base, fields })
            }
            Some(6) => {
                let schema = SchemaId(decoder.u32()?);
                let record = Bytes::copy_from_slice(decoder.bytes()?);
                if decoder.u8()? != ELEMENTS {
                    return Err(RowError::Malformed("a change of six parts is one of elements"));
                }
                let base = decoder.u32()?;
                let field = FieldId(decoder.u32()?);
                let count = decoder.array()?.unwrap_or(0);
                let mut elements = Vec::new();
                for _ in 0..count {
                    elements.push(Bytes::copy_from_slice(decoder.bytes()?));
                }
                Ok(Change::Elements { schema, record, base, field, elements })
            }
            _ => Err(RowError::Malformed("a change has one, two, five or six parts")),
        }
    }
}

/// A part ends after the change that reaches this many bytes.
const PART_BYTES: usize = 32 << 10;

/// The rows of a commit: part 0 starts with its time and writer, every part lists changes.
pub(crate) fn encode_commit(
    rows: Rows,
    commit: &Commit,
    changes: &[Change],
) -> Vec<(BatchKey, Bytes)> {
    let mut out = Vec::new();
    let mut part = encode_part(Some(commit), &[]);
    let mut number = 0;
    for change in changes {
        if part.len() >= PART_BYTES {
            out.push((rows.commit_part(commit.number, number), std::mem::take(&mut part).into()));
            number += 1;
        }
        change.encode(&mut part);
    }
    out.push((rows.commit_part(commit.number, number), part.into()));
    out
}

/// One part of a commit, which begins with the header if it is the first one.
pub(crate) fn encode_part(header: Option<&Commit>, changes: &[Change]) -> Vec<u8> {
    let mut part = Vec::with_capacity(64);
    if let Some(commit) = header {
        ok(Encoder::new(&mut part)
            .i64(commit.time.as_micros())
            .and_then(|e| e.u32(commit.writer.0))
            .and_then(|e| e.u32(commit.atoms)));
    }
    for change in changes {
        change.encode(&mut part);
    }
    part
}

/// Reads the header of part 0; what follows are its changes.
pub(crate) fn decode_header(
    number: CommitNumber,
    decoder: &mut Decoder<'_>,
) -> Result<Commit, RowError> {
    Ok(Commit {
        number,
        time: Timestamp::from_micros(decoder.i64()?),
        writer: WriterId(decoder.u32()?),
        atoms: decoder.u32()?,
    })
}

/// Reads the changes up to the end of the part.
pub(crate) fn decode_changes(
    decoder: &mut Decoder<'_>,
    part: &[u8],
) -> Result<Vec<Change>, RowError> {
    let mut changes = Vec::new();
    while decoder.position() < part.len() {
        changes.push(Change::decode(decoder)?);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use datafold_store::SpaceId;
    use proptest::prelude::*;

    use super::*;

    fn change() -> impl Strategy<Value = Change> {
        let kind = prop_oneof![
            Just(ChangeKind::Write),
            Just(ChangeKind::Create),
            Just(ChangeKind::Delete)
        ];
        let record = (
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..480),
            kind,
            any::<u32>(),
            prop::collection::vec(1_u32..400, 0..20),
        );
        prop_oneof![
            record.prop_map(|(schema, record, kind, base, fields)| Change::Record {
                schema: SchemaId(schema),
                record: record.into(),
                kind,
                base,
                fields: fields.into_iter().map(FieldId).collect(),
            }),
            (bytes(), prop::option::of(bytes()))
                .prop_map(|(key, row)| Change::Catalogue { key, row }),
            (any::<u32>(), any::<u32>(), elements()).prop_map(|(schema, base, elements)| {
                let (record, field) = (Bytes::from_static(b"r"), FieldId(schema % 9));
                Change::Elements { schema: SchemaId(schema), record, base, field, elements }
            }),
        ]
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from)
    }

    fn elements() -> impl Strategy<Value = Vec<Bytes>> {
        let element = prop::collection::vec(any::<u8>(), 1..90).prop_map(Bytes::from);
        prop::collection::vec(element, 1..20)
    }

    proptest! {
        #[test]
        fn many_elements_are_listed_in_several_changes(
            written in prop::collection::vec(elements(), 0..60), base in 0_u32..9,
        ) {
            let written: Vec<Bytes> = written.into_iter().flatten().collect();
            let (schema, field, record) = (SchemaId(1), FieldId(2), Bytes::from_static(b"r"));
            let mut listed = Vec::new();
            for change in element_changes(schema, &record, field, base, written.clone()) {
                let Change::Elements { base: first, elements, .. } = change else { panic!() };
                prop_assert_eq!(first as usize, base as usize + listed.len());
                prop_assert!(!elements.is_empty());
                let bytes: usize = elements.iter().map(Bytes::len).sum();
                prop_assert!(bytes < ELEMENTS_BYTES + 90);
                listed.extend(elements);
            }
            prop_assert_eq!(listed, written);
        }

        #[test]
        fn commits_are_read_back_from_their_parts(
            changes in prop::collection::vec(change(), 0..400),
        ) {
            let rows = Rows { space: SpaceId::DEFAULT };
            let commit = Commit {
                number: CommitNumber(7),
                time: Timestamp::from_micros(-5),
                writer: WriterId::OWNER,
                atoms: changes.iter().map(Change::atoms).sum(),
            };
            let mut read = Vec::new();
            for (part, (key, row)) in encode_commit(rows, &commit, &changes).iter().enumerate() {
                let (number, found) = rows.read_commit_part(&key.1).unwrap();
                prop_assert_eq!((number, found as usize), (commit.number, part));
                prop_assert!(row.len() < PART_BYTES + 2_000);
                let mut decoder = Decoder::new(row);
                if part == 0 {
                    prop_assert_eq!(decode_header(number, &mut decoder).unwrap(), commit);
                }
                read.extend(decode_changes(&mut decoder, row).unwrap());
            }
            prop_assert_eq!(read, changes);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_changes(&mut Decoder::new(&bytes), &bytes);
        }
    }
}
