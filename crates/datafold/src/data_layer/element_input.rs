//! The elements of a Collection or Range field as an input of a transform.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use datafold_lang as lang;
use datafold_store::{Keyspace, Order, Scan};

use super::draft::{Draft, ElementDraft};
use super::element::ElementCell;
use super::element_scan::ElementScan;
use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::read_point::ReadPoint;
use super::rows::{FieldAddress, Rows};
use super::transform::Evaluation;
use super::working_set::{RowSource, read_count};
use crate::model::{Value, decode_element, decode_value, to_lang};

/// A transform reads a field of at most so many elements.
pub const INPUT_ELEMENTS_MAX: usize = 1_000;

/// The most bytes that they have, keys and values.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// So many rows are looked for at once.
const PAGE_ROWS: usize = 1_000;

/// An object of elements by their keys, or why there is none.
pub(crate) type Elements = Result<lang::Value<'static>, Evaluation>;

/// Elements while they are read.
#[derive(Default)]
struct Found {
    elements: BTreeMap<String, Value>,
    bytes: usize,
    is_too_much: bool,
}

impl Found {
    fn add(&mut self, key: &[u8], raw: &[u8]) -> Result<ControlFlow<()>, DataLayerError> {
        self.bytes += key.len() + raw.len();
        if self.elements.len() >= INPUT_ELEMENTS_MAX || self.bytes > INPUT_BYTES_MAX {
            self.is_too_much = true;
            return Ok(ControlFlow::Break(()));
        }
        let text = decode_element(key)
            .map_err(|error| DataLayerError::key(Keyspace::Elements, key, error))?;
        let value = decode_value(raw)
            .map_err(|error| DataLayerError::row(Keyspace::Elements, key, error.into()))?;
        self.elements.insert(text, value);
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self) -> Elements {
        if self.is_too_much {
            return Err(too_many());
        }
        Ok(to_lang(&Value::Object(self.elements)).into_owned())
    }
}

fn too_many() -> Evaluation {
    let rule = format!(
        "a field that is read has more than {INPUT_ELEMENTS_MAX} elements, or more than \
         {INPUT_BYTES_MAX} bytes of them"
    );
    Evaluation::of_result("too_many_elements", rule)
}

/// The elements of a field as a transaction leaves them: those that are stored, and what it writes.
pub(super) fn elements_after<'d>(
    rows: Rows,
    source: &mut dyn RowSource,
    at: FieldAddress<'_>,
    record: &Draft,
    drafts: impl Iterator<Item = (&'d Bytes, &'d ElementDraft)>,
    looked_at: &mut u64,
) -> Result<Elements, DataLayerError> {
    let mut found: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
    if let Some(birth) = record.found_birth() {
        let count = read_count(source, rows, at)?.map_or(0, |count| count.of_life(birth));
        if count > 2 * INPUT_ELEMENTS_MAX as u64 {
            return Ok(Err(too_many()));
        }
        let cells = stored_cells(rows, source, at, (birth, count), looked_at)?;
        found.extend(cells.into_iter().map(|(element, cell)| (element, cell.value)));
    }
    for (element, draft) in drafts {
        found.insert(element.clone(), draft.value(record).cloned());
    }
    let mut elements = Found::default();
    for (key, raw) in found {
        if let Some(raw) = raw
            && elements.add(&key, &raw)?.is_break()
        {
            break;
        }
    }
    Ok(elements.finish())
}

/// The elements that are stored of a field in a life of its record, by key: `count` of them. Adds
/// the rows that had to be looked at, which are more if elements were removed.
pub(super) fn stored_cells(
    rows: Rows,
    source: &mut dyn RowSource,
    at: FieldAddress<'_>,
    (birth, count): (CommitNumber, u64),
    looked_at: &mut u64,
) -> Result<BTreeMap<Bytes, ElementCell>, DataLayerError> {
    let prefix = rows.element_count(at);
    let end = rows.elements_end(at);
    let (mut found, mut last) = (BTreeMap::new(), prefix.clone());
    while (found.len() as u64) < count {
        let (lower, upper) = (Bound::Excluded(last.to_vec()), Bound::Excluded(end.clone()));
        let keys = source.keys(&Scan::range(Keyspace::Elements, lower, upper).rows(PAGE_ROWS))?;
        let Some(reached) = keys.last().cloned() else { break };
        last = reached;
        *looked_at += keys.len() as u64;
        for key in keys {
            let Some(row) = source.read(Keyspace::Elements, &key)? else { continue };
            let cell = ElementCell::decode(&row)
                .map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))?;
            if cell.is_live(birth) {
                found.insert(key.slice(prefix.len()..), cell);
            }
        }
    }
    Ok(found)
}

/// The elements of a field in a life of its record, as of a moment.
pub(super) fn elements_at(
    point: &ReadPoint,
    at: FieldAddress<'_>,
    record: &Draft,
) -> Result<Elements, DataLayerError> {
    let mut found = Found::default();
    if let Some(birth) = record.found_birth() {
        let scan = ElementScan { point, address: at, birth };
        let whole = (Bound::Unbounded, Bound::Unbounded);
        scan.for_each(whole, Order::Forward, |key, raw| found.add(key, raw))?;
    }
    Ok(found.finish())
}
