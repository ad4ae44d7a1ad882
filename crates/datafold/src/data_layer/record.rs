//! The row of a record: all its Single cells, packed.

use bytes::Bytes;
use minicbor::Encoder;

use super::ids::{CommitNumber, FieldId, WriterId};
use super::row_reader::RowReader;
use super::serialization::RowError;
use crate::model::Value;

/// Which commit wrote some cells of a record, who did, and where their ordinals start.
///
/// The ordinal of a cell's atom is `base` plus the number of its field; the record's own ordinal
/// is `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) commit: CommitNumber,
    pub(crate) writer: WriterId,
    pub(crate) base: u32,
}

impl Stamp {
    pub(crate) fn ordinal(self, field: FieldId) -> u32 {
        self.base.saturating_add(field.0)
    }
}

/// The current atom of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) stamp: Stamp,
    /// The encoded value; `None` for a deleted cell.
    pub(crate) value: Option<Bytes>,
}

/// A decoded row of the records keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordRow {
    Live(LiveRecord),
    /// The record was deleted by this commit.
    Tombstone(Stamp),
}

/// A record that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveRecord {
    /// The commit that created the record, in its present life.
    pub(crate) birth: Stamp,
    /// By field, ascending.
    pub(crate) cells: Vec<(FieldId, Cell)>,
}

impl LiveRecord {
    pub(crate) fn cell(&self, field: FieldId) -> Option<&Cell> {
        let at = self.cells.binary_search_by_key(&field, |(field, _)| *field).ok()?;
        self.cells.get(at).map(|(_, cell)| cell)
    }

    /// The last commit that touched the record.
    pub(crate) fn changed(&self) -> CommitNumber {
        let cells = self.cells.iter().map(|(_, cell)| cell.stamp.commit);
        cells.fold(self.birth.commit, CommitNumber::max)
    }
}

impl RecordRow {
    pub(crate) fn birth(&self) -> Stamp {
        match self {
            RecordRow::Live(live) => live.birth,
            RecordRow::Tombstone(stamp) => *stamp,
        }
    }

    pub(crate) fn live(&self) -> Option<&LiveRecord> {
        match self {
            RecordRow::Live(live) => Some(live),
            RecordRow::Tombstone(_) => None,
        }
    }

    /// The row: `[stamps]` for a tombstone, `[stamps, cells]` for a live record.
    ///
    /// Stamps are triples `commit, writer, base`, the birth first. Cells are triples
    /// `field, index of the stamp, value`; `undefined` stands for a deleted cell.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match self {
            RecordRow::Tombstone(stamp) => {
                let mut encoder = Encoder::new(&mut out);
                ok(encoder.array(1));
                encode_stamps(&mut encoder, &[*stamp]);
            }
            RecordRow::Live(live) => encode_live(live, &mut out),
        }
        out
    }

    pub(crate) fn decode(row: &Bytes) -> Result<Self, RowError> {
        let view = RecordView::new(row)?;
        let Some(mut cells) = view.cells() else { return Ok(RecordRow::Tombstone(view.birth())) };
        let mut live = LiveRecord { birth: view.birth(), cells: Vec::new() };
        while let Some(cell) = cells.next_cell()? {
            let value = cell.value.map(|raw| row.slice_ref(raw));
            live.cells.push((cell.field, Cell { stamp: cell.stamp, value }));
        }
        Ok(RecordRow::Live(live))
    }
}

fn encode_live(live: &LiveRecord, out: &mut Vec<u8>) {
    let mut stamps = vec![live.birth];
    let mut index_of = Vec::with_capacity(live.cells.len());
    for (_, cell) in &live.cells {
        let index = stamps.iter().position(|stamp| *stamp == cell.stamp).unwrap_or_else(|| {
            stamps.push(cell.stamp);
            stamps.len() - 1
        });
        index_of.push(index as u64);
    }
    let mut encoder = Encoder::new(out);
    ok(encoder.array(2));
    encode_stamps(&mut encoder, &stamps);
    ok(encoder.array(live.cells.len() as u64 * 3));
    for ((field, cell), index) in live.cells.iter().zip(index_of) {
        ok(encoder.u32(field.0).and_then(|encoder| encoder.u64(index)));
        encode_value_or_undefined(&mut encoder, cell.value.as_ref());
    }
}

fn encode_stamps(encoder: &mut Encoder<&mut Vec<u8>>, stamps: &[Stamp]) {
    ok(encoder.array(stamps.len() as u64 * 3));
    for stamp in stamps {
        ok(encoder
            .u64(stamp.commit.0)
            .and_then(|encoder| encoder.u32(stamp.writer.0))
            .and_then(|encoder| encoder.u32(stamp.base)));
    }
}

pub(crate) fn encode_value_or_undefined(
    encoder: &mut Encoder<&mut Vec<u8>>,
    value: Option<&Bytes>,
) {
    match value {
        Some(raw) => encoder.writer_mut().extend_from_slice(raw),
        None => ok(encoder.undefined()),
    }
}

/// Writing to a `Vec` cannot fail.
pub(crate) fn ok<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "an encoder on a vector never fails");
}

/// A row of the records keyspace that is decoded cell by cell, as far as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct RecordView<'a> {
    stamps: Vec<Stamp>,
    birth: Stamp,
    /// How many there are, and where they begin.
    cells: Option<(u64, RowReader<'a>)>,
}

/// One cell inside a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellView<'a> {
    pub(crate) field: FieldId,
    pub(crate) stamp: Stamp,
    /// The encoded value; `None` for a deleted cell.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> RecordView<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Result<Self, RowError> {
        let mut reader = RowReader::new(row);
        let parts = reader.array()?;
        let length = reader.array()?;
        // Each stamp takes at least 3 bytes, so a hostile length cannot reserve more.
        let mut stamps = Vec::with_capacity((length / 3).min(row.len() as u64 / 3) as usize);
        for _ in 0..length / 3 {
            stamps.push(Stamp {
                commit: CommitNumber(reader.u64()?),
                writer: WriterId(reader.u32()?),
                base: reader.u32()?,
            });
        }
        let birth = *stamps.first().ok_or_else(|| RowError::Malformed("a record has no stamp"))?;
        let cells = match parts {
            1 => None,
            2 => {
                let left = reader.array()? / 3;
                Some((left, reader))
            }
            _ => return Err(RowError::Malformed("a record row has one or two parts")),
        };
        Ok(Self { stamps, birth, cells })
    }

    pub(crate) fn birth(&self) -> Stamp {
        self.birth
    }

    /// The cells in the order of their fields; `None` for a tombstone.
    pub(crate) fn cells(&self) -> Option<Cells<'_, 'a>> {
        let (left, reader) = self.cells.clone()?;
        Some(Cells { stamps: &self.stamps, left, reader })
    }
}

/// Walks the cells of a row.
#[derive(Debug)]
pub(crate) struct Cells<'s, 'a> {
    stamps: &'s [Stamp],
    left: u64,
    reader: RowReader<'a>,
}

impl<'a> Cells<'_, 'a> {
    pub(crate) fn next_cell(&mut self) -> Result<Option<CellView<'a>>, RowError> {
        let Some((field, stamp)) = self.next_head()? else { return Ok(None) };
        Ok(Some(CellView { field, stamp, value: self.reader.raw_value()? }))
    }

    /// The next cell, whose value is then decoded or skipped.
    pub(crate) fn next_head(&mut self) -> Result<Option<(FieldId, Stamp)>, RowError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let field = FieldId(self.reader.u32()?);
        let index = self.reader.u32()? as usize;
        let stamp = self.stamps.get(index).copied();
        let stamp = stamp.ok_or_else(|| RowError::Malformed("a cell names no stamp"))?;
        Ok(Some((field, stamp)))
    }

    /// Decodes the value in the place of another one, whose memory a text takes over; null for a
    /// deleted cell.
    pub(crate) fn value_into(&mut self, value: &mut Value) -> Result<(), RowError> {
        if self.reader.is_undefined() {
            *value = Value::Null;
            return Ok(());
        }
        self.reader.value(value)
    }

    pub(crate) fn skip_value(&mut self) -> Result<(), RowError> {
        self.reader.skip()
    }
}

/// The values of a row, field by field, without who wrote them.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    reader: RowReader<'a>,
    left: u64,
}

/// What the first part of a row says.
#[derive(Debug)]
pub(crate) struct RowHeader<'a> {
    /// The commit that began the record's present life, or ended its last one.
    pub(crate) birth: CommitNumber,
    /// The last commit that touched the record.
    pub(crate) newest: CommitNumber,
    /// `None` for a tombstone.
    pub(crate) values: Option<Values<'a>>,
}

impl<'a> RowHeader<'a> {
    pub(crate) fn read(row: &'a [u8]) -> Result<Self, RowError> {
        let mut reader = RowReader::new(row);
        let parts = reader.array()?;
        let stamps = reader.array()? / 3;
        let (mut birth, mut newest) = (None, CommitNumber::ZERO);
        for _ in 0..stamps {
            let commit = CommitNumber(reader.u64()?);
            reader.u32()?;
            reader.u32()?;
            birth = birth.or(Some(commit));
            newest = newest.max(commit);
        }
        let birth = birth.ok_or(RowError::Malformed("a record has no stamp"))?;
        let values = match parts {
            1 => None,
            2 => {
                let left = reader.array()? / 3;
                Some(Values { reader, left })
            }
            _ => return Err(RowError::Malformed("a record row has one or two parts")),
        };
        Ok(Self { birth, newest, values })
    }
}

impl Values<'_> {
    /// The next field that has a value; its value is then decoded or skipped.
    pub(crate) fn next_field(&mut self) -> Result<Option<FieldId>, RowError> {
        while self.left > 0 {
            self.left -= 1;
            let field = FieldId(self.reader.u32()?);
            self.reader.u32()?;
            if !self.reader.is_undefined() {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }

    /// Decodes the value in the place of another one, whose memory a text takes over.
    pub(crate) fn decode_into(&mut self, value: &mut Value) -> Result<(), RowError> {
        self.reader.value(value)
    }

    /// Steps over a value.
    pub(crate) fn skip(&mut self) -> Result<(), RowError> {
        self.reader.skip()
    }
}

/// A row of the history keyspace: the atom of a cell that was replaced. Its birth is in the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastCell {
    pub(crate) writer: WriterId,
    pub(crate) base: u32,
    pub(crate) value: Option<Bytes>,
}

impl PastCell {
    pub(crate) fn of(cell: &Cell) -> Self {
        Self { writer: cell.stamp.writer, base: cell.stamp.base, value: cell.value.clone() }
    }

    pub(crate) fn into_cell(self, birth: CommitNumber) -> Cell {
        let stamp = Stamp { commit: birth, writer: self.writer, base: self.base };
        Cell { stamp, value: self.value }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        let mut encoder = Encoder::new(&mut out);
        ok(encoder
            .array(3)
            .and_then(|encoder| encoder.u32(self.writer.0))
            .and_then(|encoder| encoder.u32(self.base)));
        encode_value_or_undefined(&mut encoder, self.value.as_ref());
        out
    }

    pub(crate) fn decode(row: &Bytes) -> Result<Self, RowError> {
        let (writer, base, mut reader) = Self::head(row)?;
        let value = reader.raw_value()?.map(|raw| row.slice_ref(raw));
        Ok(Self { writer, base, value })
    }

    /// The value alone; null for a deleted cell.
    pub(crate) fn value_of(row: &[u8]) -> Result<Value, RowError> {
        let (.., mut reader) = Self::head(row)?;
        let mut value = Value::Null;
        if !reader.is_undefined() {
            reader.value(&mut value)?;
        }
        Ok(value)
    }

    /// What stands before the value.
    fn head(row: &[u8]) -> Result<(WriterId, u32, RowReader<'_>), RowError> {
        let mut reader = RowReader::new(row);
        if reader.array()? != 3 {
            return Err(RowError::Malformed("a past cell has three parts"));
        }
        Ok((WriterId(reader.u32()?), reader.u32()?, reader))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::encode_value;

    fn stamp() -> impl Strategy<Value = Stamp> {
        (1_u64..5, 0_u32..3, 0_u32..70_000).prop_map(|(commit, writer, base)| Stamp {
            commit: CommitNumber(commit),
            writer: WriterId(writer),
            base,
        })
    }

    fn cell() -> impl Strategy<Value = Cell> {
        let value = prop_oneof![
            Just(None),
            any::<i64>().prop_map(|int| Some(Value::Int(int))),
            ".{0,9}".prop_map(|text| Some(Value::Text(text))),
        ];
        (stamp(), value).prop_map(|(stamp, value)| {
            let value = value.map(|value| {
                let mut raw = Vec::new();
                encode_value(&value, &mut raw);
                raw.into()
            });
            Cell { stamp, value }
        })
    }

    fn row() -> impl Strategy<Value = RecordRow> {
        let live = (stamp(), prop::collection::btree_map(1_u32..300, cell(), 0..6));
        prop_oneof![
            stamp().prop_map(RecordRow::Tombstone),
            live.prop_map(|(birth, cells)| RecordRow::Live(LiveRecord {
                birth,
                cells: cells.into_iter().map(|(id, cell)| (FieldId(id), cell)).collect(),
            })),
        ]
    }

    /// Walks a row as far as it goes, every other value skipped.
    fn walk(bytes: &[u8]) {
        let Ok(RowHeader { values: Some(mut values), .. }) = RowHeader::read(bytes) else { return };
        let mut skip = false;
        while let Ok(Some(_)) = values.next_field() {
            skip = !skip;
            let step = if skip { values.skip() } else { values.decode_into(&mut Value::Null) };
            if step.is_err() {
                return;
            }
        }
    }

    proptest! {
        #[test]
        fn rows_are_read_back(row in row()) {
            prop_assert_eq!(RecordRow::decode(&row.encode().into()).unwrap(), row);
        }

        #[test]
        fn values_are_walked_as_they_are_decoded(row in row(), skipped: u8) {
            let bytes = row.encode();
            let header = RowHeader::read(&bytes).unwrap();
            prop_assert_eq!(header.birth, row.birth().commit);
            let (mut walked, mut value) = (Vec::new(), Value::Null);
            if let Some(mut values) = header.values {
                while let Some(field) = values.next_field().unwrap() {
                    if field.0 % 3 == u32::from(skipped % 3) {
                        values.skip().unwrap();
                    } else {
                        values.decode_into(&mut value).unwrap();
                        walked.push((field, value.clone()));
                    }
                }
            }
            let mut expected = Vec::new();
            if let Some(live) = row.live() {
                prop_assert_eq!(header.newest, live.changed());
                for (field, cell) in &live.cells {
                    if let Some(raw) = &cell.value && field.0 % 3 != u32::from(skipped % 3) {
                        expected.push((*field, crate::model::decode_value(raw).unwrap()));
                    }
                }
            }
            prop_assert_eq!(walked, expected);
        }

        #[test]
        fn past_cells_are_read_back(cell in cell()) {
            let past = PastCell::of(&cell);
            let read = PastCell::decode(&past.encode().into()).unwrap();
            prop_assert_eq!(read.into_cell(cell.stamp.commit), cell);
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let _ = RecordRow::decode(&bytes);
            let _ = PastCell::decode(&bytes);
            walk(&bytes);
        }

        #[test]
        fn no_damaged_row_makes_the_decoder_panic(row in row(), at: usize, byte: u8) {
            let mut bytes = row.encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            walk(&bytes);
            let _ = RecordRow::decode(&bytes.into());
        }
    }
}
