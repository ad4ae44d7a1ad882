//! Answers in the order of an index.

use std::ops::ControlFlow;

use datafold_store::encoding::KeyReader;

use super::super::super::error::FoldDbError;
use super::super::Record;
use super::super::access::Access;
use super::super::order::{OrderPart, Sorter, read_order};
use super::super::plan::Columns;
use super::super::program::RowLoader;
use super::{At, Flow, Place, Run, StreamEnd};
use crate::model::RecordKey;

/// Texts in an index are whole up to so many bytes of their encoding.
const WHOLE_BYTES: usize = 250;

impl<'q> Run<'q> {
    /// In the order of an index. Where texts are too long to be whole in it, those that it cannot
    /// tell apart are sorted.
    pub(super) fn run_index_order(
        &self,
        columns: &Columns,
        reverse: bool,
        sort: &[OrderPart],
        fixed: usize,
        visit: &mut impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let Access::Index(access) = &self.plan.choice.access else { return Ok(None) };
        let end = StreamEnd::new(self.plan.limit);
        let mut run = IndexOrder {
            run: *self,
            columns,
            sort,
            visit,
            loader: RowLoader::new(self.input_reader()),
            record: self.output_reader(columns).empty(&columns.names),
            sorter: Sorter::new(end.left()),
            end,
            after: self.cursor_order(sort)?,
            block: Vec::new(),
        };
        let base = self.plan.point.rows.index(access.index.id).len();
        let after = run.after.as_deref();
        let start = after.and_then(|place| entry_start(place, sort.len(), reverse));
        let rest = start.map(|start| access.behind(&start, reverse));
        self.each_entry(rest.as_ref().unwrap_or(access), reverse, &mut |entry, key| {
            let parts = entry.get(base..).unwrap_or_default();
            run.entry(parts_behind(parts, fixed), key)
        })?;
        let _ = run.flush()?;
        Ok(run.end.place())
    }
}

/// A run in the order of an index.
struct IndexOrder<'q, 'v, V> {
    run: Run<'q>,
    columns: &'q Columns,
    sort: &'q [OrderPart],
    visit: &'v mut V,
    loader: RowLoader<'q>,
    record: Record,
    end: StreamEnd,
    /// The place of the cursor, until an entry behind it was met: all others are.
    after: Option<Vec<u8>>,
    /// What the entries that are being sorted have in common.
    block: Vec<u8>,
    sorter: Sorter<RecordKey>,
}

impl<V: FnMut(&mut Record) -> ControlFlow<()>> IndexOrder<'_, '_, V> {
    fn entry(&mut self, parts: &[u8], key: &RecordKey) -> Flow {
        let block = cut_block(parts, self.sort.len());
        if block != self.block && self.flush()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if block.is_empty() {
            return self.emit(key);
        }
        self.block = block.to_vec();
        if let Some(order) = self.order_of(key)?
            && self.after.as_ref().is_none_or(|after| order > *after)
        {
            self.sorter.offer(&order, || key.clone())?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands over what is sorted by now.
    fn flush(&mut self) -> Flow {
        self.block.clear();
        let sorter = std::mem::replace(&mut self.sorter, Sorter::new(self.end.left()));
        for item in sorter.finish() {
            if self.emit(&item.payload)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The place of a record in the order.
    fn order_of(&mut self, key: &RecordKey) -> Result<Option<Vec<u8>>, FoldDbError> {
        self.run.count_row()?;
        let Some(view) = self.loader.load_key(key)? else { return Ok(None) };
        let mut order = Vec::new();
        self.run.write_place(self.sort, &view, key.as_bytes(), &mut order)?;
        Ok(Some(order))
    }

    fn emit(&mut self, key: &RecordKey) -> Flow {
        if self.after.is_some() {
            if self.order_of(key)? <= self.after {
                return Ok(ControlFlow::Continue(()));
            }
            self.after = None;
        }
        if self.end.is_reached() {
            self.end.has_more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.run.count_row()?;
        let at = At { place: Place::Key(key), is_tested: true };
        let view =
            if self.columns.computed.is_empty() { None } else { self.loader.load_key(key)? };
        if !self.run.fill(self.columns, at, view.as_ref(), &mut self.record)? {
            return Ok(ControlFlow::Continue(()));
        }
        self.end.count(key.as_bytes());
        Ok((self.visit)(&mut self.record))
    }
}

/// What an entry has in common with those from which it cannot be told apart by its bytes, since a
/// text is cut in it; empty if all parts are whole.
fn cut_block(parts: &[u8], count: usize) -> &[u8] {
    let mut reader = KeyReader::new(parts);
    for _ in 0..count {
        match reader.skip_parts(1) {
            Ok(part) if part.len() > WHOLE_BYTES => {
                let behind = reader.rest().len() + part.len() - WHOLE_BYTES;
                return parts.get(..parts.len().saturating_sub(behind)).unwrap_or_default();
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    &[]
}

/// What the entry at a place in the order of an index begins with, behind what all entries have in
/// common; as much of it as a long text in it has whole. `None` if it is no such place.
fn entry_start(place: &[u8], count: usize, descending: bool) -> Option<Vec<u8>> {
    let parts = read_order(descending, place, count)?;
    let block = cut_block(&parts, count).len();
    Some(if block == 0 { parts } else { parts.get(..block)?.to_vec() })
}

fn parts_behind(parts: &[u8], fixed: usize) -> &[u8] {
    let mut reader = KeyReader::new(parts);
    match reader.skip_parts(fixed) {
        Ok(_) => reader.rest(),
        Err(_) => &[],
    }
}
