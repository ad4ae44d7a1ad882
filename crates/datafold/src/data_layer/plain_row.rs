//! Record rows as scans meet most of them, read in one pass.
//!
//! The general reader answers results that can hold an error, and moving those about costs a scan
//! more than reading its rows. This one answers `None` for whatever it does not read, damaged rows
//! included; the general one then reads the row, or says what is wrong with it.

use std::ops::Range;

use minicbor::Decoder;

use super::ids::FieldId;
use super::row_reader::UNDEFINED;
use crate::model::{Value, decode_from, take_text};

/// Sets columns from a record's current row: those of cells without a value to null. `cells` is
/// sorted by field; what stands behind its last field is not looked at.
///
/// Answers whether the record exists; for a tombstone nothing is set.
pub(crate) fn project_plain(
    row: &[u8],
    cells: &[(FieldId, usize)],
    columns: &mut [Value],
) -> Option<bool> {
    visit_plain(row, cells, &mut Decoded(columns))
}

/// As [`project_plain`], but answers where the encoded values are in the row; nowhere, as an empty
/// range, for cells without a value.
pub(crate) fn locate_plain(
    row: &[u8],
    cells: &[(FieldId, usize)],
    places: &mut [Range<usize>],
) -> Option<bool> {
    visit_plain(row, cells, &mut Located { row_bytes: row.len(), places })
}

/// What becomes of the cells that are wanted.
trait Visitor {
    fn absent(&mut self, column: usize) -> Option<()>;
    /// Takes the value off the items.
    fn found(&mut self, items: &mut Items<'_>, column: usize) -> Option<()>;
}

struct Decoded<'c>(&'c mut [Value]);

impl Visitor for Decoded<'_> {
    #[inline]
    fn absent(&mut self, column: usize) -> Option<()> {
        *self.0.get_mut(column)? = Value::Null;
        Some(())
    }

    #[inline]
    fn found(&mut self, items: &mut Items<'_>, column: usize) -> Option<()> {
        items.value(self.0.get_mut(column)?)
    }
}

struct Located<'c> {
    row_bytes: usize,
    places: &'c mut [Range<usize>],
}

impl Visitor for Located<'_> {
    #[inline]
    fn absent(&mut self, column: usize) -> Option<()> {
        *self.places.get_mut(column)? = 0..0;
        Some(())
    }

    #[inline]
    fn found(&mut self, items: &mut Items<'_>, column: usize) -> Option<()> {
        let start = self.row_bytes - items.0.len();
        items.skip()?;
        *self.places.get_mut(column)? = start..self.row_bytes - items.0.len();
        Some(())
    }
}

#[inline]
fn visit_plain(row: &[u8], cells: &[(FieldId, usize)], visitor: &mut impl Visitor) -> Option<bool> {
    let mut items = Items(row);
    let parts = items.array()?;
    let stamps = items.array()?;
    if stamps == 0 {
        return None;
    }
    // Stamps are triples of numbers, and cells of a field, the index of a stamp and a value.
    for _ in 0..stamps / 3 * 3 {
        items.skip()?;
    }
    match parts {
        1 => return Some(false),
        2 => {}
        _ => return None,
    }
    let mut wanted = cells.iter().copied();
    let mut next = wanted.next();
    for _ in 0..items.array()? / 3 {
        // Most numbers of fields and stamps are in one byte.
        let field = if let [field @ 0..24, 0..24, rest @ ..] = items.0 {
            items.0 = rest;
            FieldId(u32::from(*field))
        } else {
            let field = FieldId(items.number()?);
            items.skip()?;
            field
        };
        if let Some(behind) = items.0.strip_prefix(&[UNDEFINED]) {
            items.0 = behind;
            continue;
        }
        while let Some((absent, column)) = next
            && absent < field
        {
            visitor.absent(column)?;
            next = wanted.next();
        }
        match next {
            None => return Some(true),
            Some((found, column)) if found == field => {
                visitor.found(&mut items, column)?;
                next = wanted.next();
                // A field that was selected twice.
                next.is_none_or(|(next, _)| next != field).then_some(())?;
            }
            Some(_) => items.skip()?,
        }
    }
    for (_, column) in next.into_iter().chain(wanted) {
        visitor.absent(column)?;
    }
    Some(true)
}

/// The bytes of an item by its first byte; 0 for those that say more about their length.
static LENGTHS: [u8; 256] = lengths();

const fn lengths() -> [u8; 256] {
    let mut lengths = [0; 256];
    let mut head = 0_u8;
    loop {
        let length = match head {
            0x00..0x18 | 0x20..0x38 | 0xF4..=0xF7 => 1,
            0x18 | 0x38 => 2,
            0x19 | 0x39 => 3,
            0x1A | 0x3A => 5,
            0x1B | 0x3B | 0xFB => 9,
            0x60..0x78 => head - 0x60 + 1,
            _ => 0,
        };
        #[expect(clippy::indexing_slicing, reason = "there is a place for each byte")]
        {
            lengths[head as usize] = length;
        }
        if head == u8::MAX {
            return lengths;
        }
        head += 1;
    }
}

/// CBOR items one behind the other.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The length of an array of less than 256 items.
    #[inline]
    fn array(&mut self) -> Option<u8> {
        let (length, rest) = match self.0 {
            [head @ 0x80..0x98, rest @ ..] => (head - 0x80, rest),
            [0x98, length, rest @ ..] => (*length, rest),
            _ => return None,
        };
        self.0 = rest;
        Some(length)
    }

    /// An unsigned integer of less than 16 bits.
    #[inline]
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = match self.0 {
            [number @ 0..24, rest @ ..] | [24, number, rest @ ..] => (u32::from(*number), rest),
            [25, a, b, rest @ ..] => (u32::from(u16::from_be_bytes([*a, *b])), rest),
            _ => return None,
        };
        self.0 = rest;
        Some(number)
    }

    /// Steps over an item. A text is not looked at.
    #[inline]
    fn skip(&mut self) -> Option<()> {
        let head = *self.0.first()?;
        let length = match LENGTHS.get(usize::from(head)) {
            Some(length @ 1..) => usize::from(*length),
            // A text whose length is in a byte of its own.
            _ if head == 0x78 => 2 + usize::from(*self.0.get(1)?),
            _ => return self.decode(|decoder| decoder.skip().ok()),
        };
        self.0 = self.0.get(length..)?;
        Some(())
    }

    /// Decodes a value in the place of another one, whose memory a text takes over.
    #[inline]
    fn value(&mut self, value: &mut Value) -> Option<()> {
        let (int, rest) = match self.0 {
            [number @ 0..24, rest @ ..] | [24, number @ 24..=255, rest @ ..] => {
                (i64::from(*number), rest)
            }
            // Numbers in a form that is too long are for the decoder to refuse.
            [25, a @ 1..=255, b, rest @ ..] => (i64::from(u16::from_be_bytes([*a, *b])), rest),
            [26, a, b, c, d, rest @ ..] if (*a, *b) != (0, 0) => {
                (i64::from(u32::from_be_bytes([*a, *b, *c, *d])), rest)
            }
            [number @ 0x20..0x38, rest @ ..] => (-1 - i64::from(number - 0x20), rest),
            [0x38, number @ 24..=255, rest @ ..] => (-1 - i64::from(*number), rest),
            [0x60..0x79, ..] => return self.text(value),
            _ => {
                *value = self.decode(|decoder| decode_from(decoder).ok())?;
                return Some(());
            }
        };
        self.0 = rest;
        match value {
            // Nothing is dropped.
            Value::Int(value) => *value = int,
            other => *other = Value::Int(int),
        }
        Some(())
    }

    #[inline]
    fn text(&mut self, value: &mut Value) -> Option<()> {
        let (found, rest) = take_text(self.0)?;
        self.0 = rest;
        match value {
            Value::Text(text) => {
                text.clear();
                text.push_str(found);
            }
            other => *other = Value::Text(found.to_owned()),
        }
        Some(())
    }

    #[cold]
    fn decode<T>(&mut self, read: impl FnOnce(&mut Decoder<'a>) -> Option<T>) -> Option<T> {
        let mut decoder = Decoder::new(self.0);
        let read = read(&mut decoder)?;
        self.0 = self.0.get(decoder.position()..)?;
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::ids::{CommitNumber, WriterId};
    use super::super::read_point::{project_past, project_row};
    use super::super::record::{Cell, LiveRecord, RecordRow, RecordView, RowHeader, Stamp};
    use super::super::serialization::RowError;
    use super::*;
    use crate::model::{decode_value, encode_value};

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            (-300_i64..70_000).prop_map(Value::Int),
            any::<f64>().prop_filter_map("finite", |float| Value::number(float).ok()),
            any::<bool>().prop_map(Value::Bool),
            "[a-zé]{0,9}".prop_map(Value::Text),
            "[a-z]{20,300}".prop_map(Value::Text),
            prop::collection::vec(any::<i64>().prop_map(Value::Int), 0..3).prop_map(Value::Array),
        ]
    }

    fn stamp() -> impl Strategy<Value = Stamp> {
        let commit = prop_oneof![0_u64..300, any::<u64>()];
        (commit, 0_u32..3, 0_u32..70_000).prop_map(|(commit, writer, base)| Stamp {
            commit: CommitNumber(commit),
            writer: WriterId(writer),
            base,
        })
    }

    fn row() -> impl Strategy<Value = Vec<u8>> {
        let cell = (stamp(), prop::option::of(value()));
        let cells = prop::collection::btree_map(1_u32..300, cell, 0..24);
        let live = (stamp(), cells).prop_map(|(birth, cells)| {
            let cells = cells.into_iter().map(|(field, (stamp, value))| {
                let value = value.map(|value| {
                    let mut raw = Vec::new();
                    encode_value(&value, &mut raw);
                    Bytes::from(raw)
                });
                (FieldId(field), Cell { stamp, value })
            });
            RecordRow::Live(LiveRecord { birth, cells: cells.collect() }).encode()
        });
        prop_oneof![9 => live, 1 => stamp().prop_map(|stamp| RecordRow::Tombstone(stamp).encode())]
    }

    /// Columns that hold something already, as those of the record before do.
    fn columns() -> Vec<Value> {
        (0..400).map(|n| if n % 2 == 0 { Value::Int(n) } else { Value::from("before") }).collect()
    }

    fn generally(row: &[u8], cells: &[(FieldId, usize)]) -> Result<(bool, Vec<Value>), ()> {
        let mut columns = columns();
        let Some(values) = RowHeader::read(row).map_err(drop)?.values else {
            return Ok((false, columns));
        };
        project_row(values, cells, &mut columns).map_err(drop)?;
        Ok((true, columns))
    }

    proptest! {
        #[test]
        fn it_reads_what_the_general_reader_does(
            row in row(),
            wanted in prop::collection::btree_set(1_u32..300, 0..30),
            all in any::<bool>(),
        ) {
            let every = (1..300).collect();
            let wanted: Vec<u32> = if all { every } else { wanted.into_iter().collect() };
            let cells: Vec<_> =
                wanted.iter().map(|field| (FieldId(*field), *field as usize)).collect();
            let mut found = columns();
            if let Some(exists) = project_plain(&row, &cells, &mut found) {
                prop_assert_eq!(Ok((exists, found)), generally(&row, &cells));
            }
        }

        #[test]
        fn a_row_is_rewound_to_what_its_older_cells_and_the_past_say(
            row in row(),
            wanted in prop::collection::vec(1_u32..300, 0..30),
            at in prop_oneof![(0_u64..300), Just(u64::MAX)],
        ) {
            let mut wanted = wanted;
            wanted.sort_unstable();
            let cells: Vec<_> =
                wanted.iter().enumerate().map(|(at, field)| (FieldId(*field), at)).collect();
            let mut found = columns();
            let view = RecordView::new(&row).unwrap();
            let asked = std::cell::RefCell::new(Vec::new());
            let past = |field: FieldId| {
                asked.borrow_mut().push(field);
                Ok(Value::Int(-i64::from(field.0)))
            };
            let error = |error: RowError| panic!("{error}");
            project_past(&view, CommitNumber(at), past, &cells, &mut found, error).unwrap();
            let mut expected = columns();
            let mut newer = Vec::new();
            if let RecordRow::Live(live) = RecordRow::decode(&Bytes::from(row)).unwrap() {
                for (field, column) in &cells {
                    let cell = live.cell(*field);
                    expected[*column] = match cell {
                        Some(cell) if cell.stamp.commit.0 > at => {
                            newer.push(*field);
                            Value::Int(-i64::from(field.0))
                        }
                        Some(Cell { value: Some(raw), .. }) => decode_value(raw).unwrap(),
                        _ => Value::Null,
                    };
                }
            }
            newer.dedup();
            prop_assert_eq!(found, expected);
            // Each is looked up once, however often it was selected.
            prop_assert_eq!(asked.into_inner(), newer);
        }

        #[test]
        fn no_bytes_are_read_otherwise_than_generally(
            row in row(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut row = row;
            let at = at.index(row.len());
            if cut { row.truncate(at) } else { row[at] = byte }
            let cells: Vec<_> = (1..300).map(|field| (FieldId(field), field as usize)).collect();
            let mut found = columns();
            // A text that is stepped over is not looked at by either.
            if let (Some(exists), Ok(general)) =
                (project_plain(&row, &cells, &mut found), generally(&row, &cells))
            {
                prop_assert_eq!((exists, found), general);
            }
        }
    }

    #[test]
    fn common_rows_are_read() {
        let stamp = Stamp { commit: CommitNumber(70_000), writer: WriterId::OWNER, base: 9 };
        let raw = |value: Value| {
            let mut raw = Vec::new();
            encode_value(&value, &mut raw);
            Some(Bytes::from(raw))
        };
        let values =
            [Value::Int(-7), Value::from("text"), Value::number(0.5).unwrap(), Value::Bool(true)];
        let cells = (1..=30).map(|field| {
            let value = raw(values[field as usize % values.len()].clone());
            (FieldId(field), Cell { stamp, value })
        });
        let row = RecordRow::Live(LiveRecord { birth: stamp, cells: cells.collect() }).encode();
        let mut columns = vec![Value::Null; 2];
        let wanted = [(FieldId(29), 0), (FieldId(30), 1)];
        assert_eq!(project_plain(&row, &wanted, &mut columns), Some(true));
        assert_eq!(columns, [values[1].clone(), values[2].clone()]);
        let tombstone = RecordRow::Tombstone(stamp).encode();
        assert_eq!(project_plain(&tombstone, &wanted, &mut columns), Some(false));
    }
}
