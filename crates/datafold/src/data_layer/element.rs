//! The rows of elements of Collection and Range fields.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};

use super::ids::{CommitNumber, WriterId};
use super::record::{PastCell, encode_value_or_undefined, ok};
use super::row_reader::{RowReader, UNDEFINED};
use super::serialization::RowError;

/// The current atom of one element, inside its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementView<'a> {
    pub(crate) commit: CommitNumber,
    pub(crate) writer: WriterId,
    /// The place of the atom in its commit.
    pub(crate) ordinal: u32,
    /// The encoded value; `None` for an element that was removed.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> ElementView<'a> {
    /// Reads a row of the elements keyspace: `[commit, writer, ordinal, value]`.
    pub(crate) fn read(row: &'a [u8]) -> Result<Self, RowError> {
        let mut reader = RowReader::new(row);
        if reader.array()? != 4 {
            return Err(RowError::Malformed("an element has four parts"));
        }
        let commit = CommitNumber(reader.u64()?);
        let (writer, ordinal) = (WriterId(reader.u32()?), reader.u32()?);
        // The value is the rest of the row, so that nothing has to be stepped over to find its end.
        let value = match reader.rest() {
            [] => return Err(RowError::Malformed("an element has a value, or `undefined`")),
            [UNDEFINED] => None,
            raw => Some(raw),
        };
        Ok(Self { commit, writer, ordinal, value })
    }
}

/// The current atom of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ElementCell {
    pub(crate) commit: CommitNumber,
    pub(crate) writer: WriterId,
    pub(crate) ordinal: u32,
    pub(crate) value: Option<Bytes>,
}

impl ElementCell {
    pub(crate) fn decode(row: &Bytes) -> Result<Self, RowError> {
        let ElementView { commit, writer, ordinal, value } = ElementView::read(row)?;
        let value = value.map(|raw| row.slice_ref(raw));
        Ok(Self { commit, writer, ordinal, value })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.value.as_ref().map_or(1, Bytes::len));
        let mut encoder = Encoder::new(&mut out);
        ok(encoder
            .array(4)
            .and_then(|e| e.u64(self.commit.0))
            .and_then(|e| e.u32(self.writer.0))
            .and_then(|e| e.u32(self.ordinal)));
        encode_value_or_undefined(&mut encoder, self.value.as_ref());
        out
    }

    /// The row of the history that this atom becomes; its birth stands in the key.
    pub(crate) fn past(&self) -> PastCell {
        PastCell { writer: self.writer, base: self.ordinal, value: self.value.clone() }
    }

    pub(crate) fn of_past(past: PastCell, birth: CommitNumber) -> Self {
        Self { commit: birth, writer: past.writer, ordinal: past.base, value: past.value }
    }

    /// Whether it is an element of a life that began with this commit.
    pub(crate) fn is_live(&self, birth: CommitNumber) -> bool {
        self.commit >= birth && self.value.is_some()
    }
}

/// How many elements a field of a record has.
///
/// It counts for the life of the record that it names: the elements of an earlier one are gone
/// without having been touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementCount {
    pub(crate) birth: CommitNumber,
    pub(crate) count: u64,
}

impl ElementCount {
    /// The row: `[birth, count]`.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        ok(Encoder::new(&mut out)
            .array(2)
            .and_then(|e| e.u64(self.birth.0))
            .and_then(|e| e.u64(self.count)));
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(2) {
            return Err(RowError::Malformed("a count of elements has two parts"));
        }
        Ok(Self { birth: CommitNumber(decoder.u64()?), count: decoder.u64()? })
    }

    /// The number of elements of a life.
    pub(crate) fn of_life(self, birth: CommitNumber) -> u64 {
        if self.birth == birth { self.count } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use datafold_store::SpaceId;
    use proptest::prelude::*;

    use super::super::commit::{Change, Commit, encode_commit};
    use super::super::ids::{FieldId, SchemaId};
    use super::super::rows::{FieldAddress, Rows};

    use super::*;
    use crate::model::{Timestamp, Value, encode_element, encode_value};

    /// The example of `docs/format.md`.
    #[test]
    fn the_documented_bytes() {
        let rows = Rows { space: SpaceId::DEFAULT };
        let record = [0x40, 0x55, 0x41, 0x00];
        let at = FieldAddress { schema: SchemaId(3), record: &record, field: FieldId(4) };
        let field = [0x01, 0x03, 0x40, 0x55, 0x41, 0x00, 0x04];
        let element = encode_element("a").unwrap();
        assert_eq!(rows.element_count(at), field[..]);
        assert_eq!(rows.element(at, &element), [&field[..], &[0x40, 0x61, 0x00]].concat());
        let past = rows.past_element(at, &element, CommitNumber(9));
        let birth = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF6];
        assert_eq!(past, [&field[..], &[0x40, 0x61, 0x00, 0x00], &birth].concat());
        let rest = past.get(field.len()..).unwrap();
        assert_eq!(Rows::read_past_element(rest).unwrap(), (&element[..], CommitNumber(9)));
        let count = ElementCount { birth: CommitNumber(7), count: 2 };
        assert_eq!(count.encode(), [0x82, 0x07, 0x02]);
        let (commit, writer) = (CommitNumber(9), WriterId::OWNER);
        let value = Some(Bytes::from_static(&[0x05]));
        let cell = ElementCell { commit, writer, ordinal: 0, value };
        assert_eq!(cell.encode(), [0x84, 0x09, 0x00, 0x00, 0x05]);
        assert_eq!(cell.past().encode(), [0x83, 0x00, 0x00, 0x05]);
        let change = Change::Elements {
            schema: SchemaId(3),
            record: Bytes::copy_from_slice(&record),
            base: 0,
            field: FieldId(4),
            elements: vec![element, encode_element("b").unwrap()],
        };
        let time = Timestamp::from_micros(0);
        let commit = Commit { number: commit, time, writer, atoms: 2 };
        let (_, part) = encode_commit(rows, &commit, &[change]).remove(0);
        let change = [
            0x86, 0x03, 0x44, 0x40, 0x55, 0x41, 0x00, 0x03, 0x00, 0x04, 0x82, 0x43, 0x40, 0x61,
            0x00, 0x43, 0x40, 0x62, 0x00,
        ];
        assert_eq!(part[..], [&[0x00, 0x00, 0x02][..], &change].concat());
    }

    proptest! {
        #[test]
        fn elements_are_read_back(
            commit: u64, writer: u32, ordinal: u32, value in prop::option::of(".{0,9}"),
        ) {
            let value = value.map(|text| {
                let mut raw = Vec::new();
                encode_value(&Value::Text(text), &mut raw);
                raw.into()
            });
            let (commit, writer) = (CommitNumber(commit), WriterId(writer));
            let cell = ElementCell { commit, writer, ordinal, value };
            prop_assert_eq!(&ElementCell::decode(&cell.encode().into()).unwrap(), &cell);
            let past = PastCell::decode(&cell.past().encode().into()).unwrap();
            prop_assert_eq!(ElementCell::of_past(past, commit), cell);
        }

        #[test]
        fn counts_are_read_back(birth: u64, count: u64) {
            let birth = CommitNumber(birth);
            let row = ElementCount { birth, count };
            prop_assert_eq!(ElementCount::decode(&row.encode()).unwrap(), row);
            prop_assert_eq!(row.of_life(birth), count);
            prop_assert_eq!(row.of_life(CommitNumber(birth.0.wrapping_add(1))), 0);
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = ElementCount::decode(&bytes);
            let _ = ElementCell::decode(&bytes.into());
        }
    }
}
