//! The order of an answer: sort keys as bytes that sort as they do, and the first of many.

use std::collections::BinaryHeap;

use datafold_lang as lang;
use datafold_store::encoding::{KeyPart, KeyReader, KeyWriter};

use super::super::error::{FoldDbError, QueryError};
use super::program::{Bound, RowView, Surroundings};

/// The most bytes that a sort keeps in memory.
pub(super) const SORT_BYTES_MAX: usize = 64 << 20;
/// What an item of a sort takes besides its bytes.
const ITEM_BYTES: usize = 48;

// Nulls stand before or behind everything, whatever the direction. Between, each type begins with
// its own byte, those of keys among them.
const NULLS_FIRST: u8 = 0x01;
const NULLS_LAST: u8 = 0xFE;
const DURATION: u8 = 0x31;
const ARRAY: u8 = 0x50;
const OBJECT: u8 = 0x51;
/// Ends an array or object, or the keys of a row; nothing in them begins with it.
const END: u8 = 0x00;

/// A sort key of a query.
#[derive(Debug)]
pub(super) struct OrderPart {
    pub(super) bound: Bound,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

impl OrderPart {
    /// Whether it is the order of keys and indexes, forwards or backwards.
    pub(super) fn is_usual(&self) -> bool {
        self.nulls_first != self.descending
    }
}

/// Writes the sort keys of a row.
pub(super) fn write_order(
    parts: &[OrderPart],
    row: &RowView<'_>,
    around: &Surroundings,
    out: &mut Vec<u8>,
) -> Result<(), FoldDbError> {
    for part in parts {
        part.bound.evaluate(row, around, |value| {
            if value.is_null() {
                out.push(if part.nulls_first { NULLS_FIRST } else { NULLS_LAST });
                return;
            }
            let start = out.len();
            write_value(&value, out);
            if part.descending {
                invert(out.get_mut(start..).unwrap_or_default());
            }
        })?;
    }
    Ok(())
}

/// Ends the order of a row with its key, or the keys of its group, by which rows are told apart
/// that are equal otherwise.
pub(super) fn write_ties(
    descending: bool,
    out: &mut Vec<u8>,
    write_keys: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    write_keys(out);
    // The bytes of one text may begin those of another, which then stands before it if it descends.
    out.push(END);
    if descending {
        invert(out.get_mut(start..).unwrap_or_default());
    }
}

/// Records that are equal otherwise are in the order of their keys, in the direction of the last
/// sort key.
pub(super) fn ends_descending(sort: &[OrderPart]) -> bool {
    sort.last().is_some_and(|part| part.descending)
}

/// The key that [`write_ties`] wrote.
pub(super) fn read_ties(descending: bool, ties: &[u8]) -> Vec<u8> {
    let mut key = ties.to_vec();
    key.pop();
    if descending {
        invert(&mut key);
    }
    key
}

/// The first sort keys of an order in the usual way with nulls, as parts of a key; `None` if they
/// are no such parts.
pub(super) fn read_order(descending: bool, order: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut order = order.to_vec();
    if descending {
        invert(&mut order);
    }
    let mut parts = KeyWriter::default();
    let mut rest = order.as_slice();
    for _ in 0..count {
        if let Some(behind) = rest.strip_prefix(&[NULLS_FIRST]) {
            parts.part(&KeyPart::Null).ok()?;
            rest = behind;
        } else {
            let mut reader = KeyReader::new(rest);
            parts.raw(reader.skip_parts(1).ok()?);
            rest = reader.rest();
        }
    }
    Some(parts.into_vec())
}

fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

/// Writes a value so that bytes compare as values do ([`lang::Value::cmp_values`]), and what is
/// written behind it does not matter unless two values are equal.
pub(super) fn write_value(value: &lang::Value<'_>, out: &mut Vec<u8>) {
    let mut writer = KeyWriter::from(std::mem::take(out));
    write_into(value, &mut writer);
    *out = writer.into_vec();
}

fn write_into(value: &lang::Value<'_>, writer: &mut KeyWriter) {
    let part = match value {
        lang::Value::Null => KeyPart::Null,
        lang::Value::Bool(value) => KeyPart::Bool(*value),
        lang::Value::Int(value) => KeyPart::Int(*value),
        lang::Value::Float(value) => KeyPart::Float(*value),
        lang::Value::Time(time) => KeyPart::Time(time.as_micros()),
        lang::Value::Duration(duration) => {
            writer.raw(&[DURATION]);
            KeyPart::Time(duration.as_micros())
        }
        lang::Value::Text(text) => return writer.text(text),
        lang::Value::Array(items) => {
            writer.raw(&[ARRAY]);
            items.iter().for_each(|item| write_into(item, writer));
            writer.raw(&[END]);
            return;
        }
        lang::Value::Object(members) => {
            writer.raw(&[OBJECT]);
            for (name, value) in members.iter() {
                writer.text(name);
                write_into(value, writer);
            }
            writer.raw(&[END]);
            return;
        }
    };
    // Only a float that is not finite has no encoding, and values have none.
    let _ = writer.part(&part);
}

/// Something with its place in the order.
#[derive(Debug)]
pub(super) struct Ranked<P> {
    pub(super) order: Box<[u8]>,
    pub(super) payload: P,
}

impl<P> PartialEq for Ranked<P> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<P> Eq for Ranked<P> {}

impl<P> PartialOrd for Ranked<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Ranked<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

/// Sorts, or finds the first of many with memory for these only.
#[derive(Debug)]
pub(super) struct Sorter<P> {
    limit: Option<usize>,
    kept: BinaryHeap<Ranked<P>>,
    bytes: usize,
    /// Whether more were offered than are kept.
    pub(super) has_more: bool,
}

impl<P> Sorter<P> {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit, kept: BinaryHeap::new(), bytes: 0, has_more: false }
    }

    pub(super) fn offer(
        &mut self,
        order: &[u8],
        payload: impl FnOnce() -> P,
    ) -> Result<(), QueryError> {
        if self.limit.is_some_and(|limit| self.kept.len() >= limit) {
            self.has_more = true;
            match self.kept.peek_mut() {
                Some(mut last) if order < &*last.order => {
                    self.bytes -= last.order.len();
                    self.bytes += order.len();
                    *last = Ranked { order: order.into(), payload: payload() };
                }
                _ => {}
            }
        } else {
            self.bytes += order.len() + ITEM_BYTES;
            self.kept.push(Ranked { order: order.into(), payload: payload() });
        }
        if self.bytes > SORT_BYTES_MAX {
            return Err(QueryError::TooLarge { limit: SORT_BYTES_MAX });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<Ranked<P>> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<lang::Value<'static>> {
        let texts = [
            "null",
            "false",
            "true",
            "-1e300",
            "-9223372036854775808",
            "-1",
            "-0.5",
            "0",
            "0.5",
            "1",
            "255",
            "256",
            "9223372036854775807",
            "1e300",
            "\"\"",
            "\"a\"",
            "\"a\\u0000\"",
            "\"a\\u0000b\"",
            "\"ab\"",
            "\"b\"",
            "[]",
            "[null]",
            "[1]",
            "[1,2]",
            "[2]",
            "[[]]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,\"b\":0}",
            "{\"a\":2}",
            "{\"b\":0}",
        ];
        texts.iter().map(|text| lang::Value::parse_json(text).unwrap()).collect()
    }

    #[test]
    fn bytes_compare_as_values_do_whatever_follows() {
        for a in values() {
            for b in values() {
                for (behind_a, behind_b) in [(0x05, 0xFE), (0xFE, 0x05), (0x40, 0x40)] {
                    let written = |value: &lang::Value<'_>, behind: u8, inverted: bool| {
                        let mut out = Vec::new();
                        write_value(value, &mut out);
                        if inverted {
                            invert(&mut out);
                        }
                        out.push(behind);
                        out
                    };
                    let expected = a.cmp_values(&b).then(behind_a.cmp(&behind_b));
                    let found = written(&a, behind_a, false).cmp(&written(&b, behind_b, false));
                    assert_eq!(found, expected, "{a} {b}");
                    let expected = b.cmp_values(&a).then(behind_a.cmp(&behind_b));
                    let found = written(&a, behind_a, true).cmp(&written(&b, behind_b, true));
                    assert_eq!(found, expected, "descending {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_limit_keeps_the_first() {
        for limit in [None, Some(1), Some(3), Some(100)] {
            let mut sorter = Sorter::new(limit);
            for n in [5_u8, 3, 9, 1, 7, 1] {
                sorter.offer(&[n], || n).unwrap();
            }
            let has_more = sorter.has_more;
            let found: Vec<_> = sorter.finish().iter().map(|item| item.payload).collect();
            let expected = [1, 1, 3, 5, 7, 9];
            let count = limit.unwrap_or(6).min(6);
            assert_eq!((&found[..], has_more), (&expected[..count], count < 6));
        }
    }
}
