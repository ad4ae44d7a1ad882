//! Which records transforms have looked up: rows that lead from a record to those that must be
//! computed again when it changes.
//!
//! A transform that looks up records has, for each record of its own, a row that lists what it
//! looked up, and for each of these a row that leads back. Both are written in the commit of the
//! evaluation and removed with the record, so that they are always what the last evaluation asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use datafold_store::encoding::KeyReader;
use datafold_store::{BatchKey, Keyspace};
use minicbor::{Decoder, Encoder};

use super::error::DataLayerError;
use super::ids::{SchemaId, TransformId};
use super::record::ok;
use super::rows::Rows;
use super::serialization::RowError;
use super::transform::Asked;
use super::working_set::RowSource;

/// What the evaluations of a commit have looked up, by transform and record, with whether an
/// earlier commit may have written down others.
#[derive(Debug, Default)]
pub(super) struct AskedWrites {
    found: BTreeMap<(TransformId, Bytes), (bool, Asked)>,
}

impl AskedWrites {
    /// Sets what a transform has looked up for a record.
    pub(super) fn set(
        &mut self,
        transform: TransformId,
        record: &Bytes,
        has_earlier: bool,
        asked: Asked,
    ) {
        self.found.insert((transform, record.clone()), (has_earlier, asked));
    }

    /// Writes what differs from what earlier commits have written.
    pub(super) fn finish(
        self,
        rows: Rows,
        newest: &mut dyn RowSource,
        writes: &mut Vec<(BatchKey, Option<Bytes>)>,
    ) -> Result<(), DataLayerError> {
        for ((transform, record), (has_earlier, asked)) in self.found {
            let key = rows.asked(transform, &record);
            let before = match has_earlier {
                true => newest.read(Keyspace::Indexes, &key)?,
                false => None,
            };
            let before = before.map(|row| decode_asked(&row)).transpose();
            let before = before
                .map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))?
                .unwrap_or_default();
            if before == asked {
                continue;
            }
            let back = |(schema, of): &(SchemaId, Bytes)| {
                (Keyspace::Indexes, rows.asker(transform, (*schema, of), &record))
            };
            writes.extend(before.difference(&asked).map(|of| (back(of), None)));
            writes.extend(asked.difference(&before).map(|of| (back(of), Some(Bytes::new()))));
            let row = (!asked.is_empty()).then(|| encode_asked(&asked));
            writes.push(((Keyspace::Indexes, key), row));
        }
        Ok(())
    }
}

pub(super) fn encode_asked(asked: &Asked) -> Bytes {
    let mut out = Vec::with_capacity(16 * asked.len() + 4);
    let mut encoder = Encoder::new(&mut out);
    ok(encoder.array(2 * asked.len() as u64));
    for (schema, record) in asked {
        ok(encoder.u32(schema.0).and_then(|e| e.bytes(record)));
    }
    out.into()
}

pub(super) fn decode_asked(row: &[u8]) -> Result<Asked, RowError> {
    let mut decoder = Decoder::new(row);
    let Some(length) = decoder.array()?.filter(|length| length % 2 == 0) else {
        return Err(RowError::Malformed("what was looked up is pairs of schemas and keys"));
    };
    let mut asked = Asked::new();
    for _ in 0..length / 2 {
        let schema = SchemaId(decoder.u32()?);
        asked.insert((schema, Bytes::copy_from_slice(decoder.bytes()?)));
    }
    Ok(asked)
}

/// What a transform is still to compute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// All its records: the one record of a schema has changed.
    All,
    /// The records that have looked up this one.
    Askers(SchemaId, Bytes),
    /// One record.
    Record(Bytes),
}

impl Task {
    pub(super) fn key(&self, rows: Rows, transform: TransformId) -> Bytes {
        let mut key = rows.tasks(transform);
        match self {
            Task::All => key.push(0),
            Task::Askers(schema, record) => {
                key.push(1);
                key.extend_from_slice(&schema.0.to_be_bytes());
                key.extend_from_slice(record);
            }
            Task::Record(record) => {
                key.push(2);
                key.extend_from_slice(record);
            }
        }
        key.into()
    }

    /// Of what stands behind the kind of the row.
    pub(super) fn read(rest: &[u8]) -> Result<Self, RowError> {
        let wrong = || RowError::Malformed("an unknown task of a transform");
        match rest.split_first().ok_or_else(wrong)? {
            (0, []) => Ok(Task::All),
            (1, rest) => {
                let (schema, record) = rest.split_first_chunk().ok_or_else(wrong)?;
                let schema = SchemaId(u32::from_be_bytes(*schema));
                Ok(Task::Askers(schema, Bytes::copy_from_slice(record)))
            }
            (2, record) => Ok(Task::Record(Bytes::copy_from_slice(record))),
            _ => Err(wrong()),
        }
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TaskProgress {
    /// The commit that last put the task there or went on with it: what was prepared before that is
    /// no longer all that there is to do.
    pub(crate) commit: u64,
    /// The last record that was computed.
    pub(crate) last: Option<Bytes>,
}

impl TaskProgress {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        let mut encoder = Encoder::new(&mut out);
        ok(encoder.array(2).and_then(|e| e.u64(self.commit)).and_then(|e| match &self.last {
            Some(last) => e.bytes(last),
            None => e.null(),
        }));
        out.into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(2) {
            return Err(RowError::Malformed("a task has two parts"));
        }
        let commit = decoder.u64()?;
        let last = decoder.decode::<Option<&minicbor::bytes::ByteSlice>>()?;
        Ok(Self { commit, last: last.map(|last| Bytes::copy_from_slice(last)) })
    }
}

/// A record: the schema that has it, and its key.
pub(super) type RecordRef<'k> = (SchemaId, &'k [u8]);

/// The record that a row of [`Rows::asker`] is of, and the one that was looked up; `parts` tells
/// how many parts a key of a schema has.
pub(super) fn read_asker(
    rest: &[u8],
    parts: impl FnOnce(SchemaId) -> Option<usize>,
) -> Option<(RecordRef<'_>, &[u8])> {
    let mut reader = KeyReader::new(rest);
    let schema = SchemaId(reader.id().ok()?);
    let asked = reader.skip_parts(parts(schema)?).ok()?;
    Some(((schema, asked), reader.rest()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_read_back(
            asked in prop::collection::btree_set(
                (any::<u32>(), prop::collection::vec(any::<u8>(), 0..20)), 0..9),
            (commit, last) in (any::<u64>(), any::<Option<Vec<u8>>>()),
            (kind, schema, record) in (0..3, any::<u32>(), any::<Vec<u8>>()),
        ) {
            let asked: Asked =
                asked.into_iter().map(|(schema, key)| (SchemaId(schema), key.into())).collect();
            prop_assert_eq!(decode_asked(&encode_asked(&asked)).unwrap(), asked);
            let progress = TaskProgress { commit, last: last.map(Bytes::from) };
            prop_assert_eq!(TaskProgress::decode(&progress.encode()).unwrap(), progress);
            let task = match kind {
                0 => Task::All,
                1 => Task::Askers(SchemaId(schema), record.into()),
                _ => Task::Record(record.into()),
            };
            let rows = Rows { space: datafold_store::SpaceId(1) };
            let key = task.key(rows, TransformId(3));
            let rest = &key[rows.tasks(TransformId(3)).len()..];
            prop_assert_eq!(Task::read(rest).unwrap(), task);
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_asked(&bytes);
            let _ = TaskProgress::decode(&bytes);
            let _ = Task::read(&bytes);
            let _ = read_asker(&bytes, |_| Some(2));
        }
    }
}
