//! Running a query.

mod groups;
mod index_order;

use std::ops::{Bound as RangeBound, ControlFlow};

use datafold_store::{Keyspace, Scan};

use super::super::error::{FoldDbError, QueryError};
use super::access::{Access, IndexAccess, KeyRange, whole};
use super::explain::Counts;
use super::order::{
    OrderPart, Ranked, Sorter, ends_descending, read_ties, write_order, write_ties,
};
use super::plan::{Columns, Output, Plan, RecordOrder};
use super::program::{RowLoader, RowView};
use super::reader::RecordReader;
use super::{QueryEnd, Record, time_of, write_cursor};
use crate::data_layer::{DataLayerError, SchemaCounters};
use crate::model::{RecordKey, from_lang};

/// So many entries of an index are read at once.
const ENTRIES_AT_ONCE: usize = 1_024;
/// An index serves up to this share of the records; beyond it reading all of them is faster.
const INDEX_SHARE: u64 = 6;
/// An index serves so many records whatever their share.
const INDEX_ROWS_MIN: u64 = 1_000;
/// Keys that an index names are sorted in memory up to so many bytes.
const KEY_BYTES_MAX: usize = 64 << 20;
/// An interruption is looked for once in so many rows.
const ROWS_BETWEEN_LOOKS: u64 = 1_024;

/// A row as it is found.
#[derive(Debug, Clone, Copy)]
struct At<'r> {
    place: Place<'r>,
    /// Whether it is known that it passes the filter.
    is_tested: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place<'r> {
    Row(&'r [u8], &'r [u8]),
    Key(&'r RecordKey),
}

impl<'r> At<'r> {
    fn key(&self) -> &'r [u8] {
        match self.place {
            Place::Row(key, _) => key,
            Place::Key(key) => key.as_bytes(),
        }
    }
}

/// Whether to go on, or what went wrong.
type Flow = Result<ControlFlow<()>, FoldDbError>;

/// One run of a query.
#[derive(Clone, Copy)]
struct Run<'q> {
    plan: &'q Plan,
    is_interrupted: &'q dyn Fn() -> bool,
}

impl Plan {
    /// Calls `visit` for each record of the answer, until it breaks, the limit is reached, or the
    /// run is interrupted.
    pub(crate) fn run(
        &self,
        is_interrupted: &dyn Fn() -> bool,
        mut visit: impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        let mut visit = |record: &mut Record| {
            Counts::add(&self.counts.rows_returned, 1);
            visit(record)
        };
        let run = Run { plan: self, is_interrupted };
        let place = match &self.output {
            Output::Records { columns, order } => match order {
                RecordOrder::Key { reverse } => run.run_stream(columns, *reverse, &mut visit)?,
                RecordOrder::Index { reverse, sort, fixed } => {
                    run.run_index_order(columns, *reverse, sort, *fixed, &mut visit)?
                }
                RecordOrder::Sorted(sort) => run.run_sorted(columns, sort, &mut visit)?,
            },
            Output::Groups(grouping) => run.run_groups(grouping, &mut visit)?,
        };
        let cursor = place.map(|place| {
            let position = [&self.mark[..], &place].concat();
            write_cursor(self.point.at, &position)
        });
        let (commit, time) = (self.point.at, time_of(&self.point)?);
        Ok(QueryEnd { cursor, commit, time, stale: self.stale() })
    }
}

impl<'q> Run<'q> {
    #[inline]
    fn count_row(&self) -> Result<(), FoldDbError> {
        self.count(&self.plan.counts.rows_read)
    }

    fn count_entry(&self) -> Result<(), FoldDbError> {
        self.count(&self.plan.counts.entries_read)
    }

    #[inline]
    fn count(&self, count: &std::cell::Cell<u64>) -> Result<(), FoldDbError> {
        Counts::add(count, 1);
        let is_time = count.get().is_multiple_of(ROWS_BETWEEN_LOOKS);
        if is_time && (self.is_interrupted)() {
            return Err(QueryError::Interrupted.into());
        }
        Ok(())
    }

    /// For what is done with what was read.
    fn look(&self) -> Result<(), FoldDbError> {
        if (self.is_interrupted)() {
            return Err(QueryError::Interrupted.into());
        }
        Ok(())
    }

    fn input_reader(&self) -> RecordReader<'q> {
        RecordReader {
            point: &self.plan.point,
            entry: &self.plan.entry,
            projection: &self.plan.inputs,
            inline_elements: self.plan.inline_elements,
        }
    }

    fn output_reader(&self, columns: &'q Columns) -> RecordReader<'q> {
        RecordReader { projection: &columns.projection, ..self.input_reader() }
    }

    /// Hands over the records that pass the filter, with the columns that programs read.
    fn each_match(
        &self,
        reverse: bool,
        after: Option<&[u8]>,
        needs_order: bool,
        visit: &mut impl FnMut(At<'_>, &RowView<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let mut loader = RowLoader::new(self.input_reader());
        self.each_row(
            reverse,
            after,
            needs_order,
            &mut |at| match self.matching(&mut loader, at)? {
                Some(view) => visit(at, &view),
                None => Ok(ControlFlow::Continue(())),
            },
        )
    }

    /// The columns that programs read of a record that passes the filter.
    #[inline]
    fn matching<'r>(
        &self,
        loader: &'r mut RowLoader<'_>,
        at: At<'r>,
    ) -> Result<Option<RowView<'r>>, FoldDbError> {
        let view = match at.place {
            Place::Row(key, row) => loader.load(key, row)?,
            Place::Key(key) => loader.load_key(key)?,
        };
        let Some(view) = view else { return Ok(None) };
        match &self.plan.filter {
            Some(filter) if !at.is_tested && !filter.matches(&view, &self.plan.around)? => Ok(None),
            _ => Ok(Some(view)),
        }
    }

    /// Fills a record of the answer; answers false if the record does not exist.
    #[inline]
    fn fill(
        &self,
        columns: &Columns,
        at: At<'_>,
        view: Option<&RowView<'_>>,
        record: &mut Record,
    ) -> Result<bool, FoldDbError> {
        record.refill();
        let reader = self.output_reader(columns);
        let exists = match at.place {
            Place::Row(key, row) => reader.row_into(key, row, &mut record.values)?,
            Place::Key(key) => reader.one_into(key, &mut record.values)?,
        };
        if let Some(view) = view.filter(|_| exists) {
            for (column, bound) in &columns.computed {
                let value = bound.evaluate(view, &self.plan.around, |value| from_lang(&value))?;
                if let Some(place) = record.values.get_mut(*column) {
                    *place = value;
                }
            }
        }
        Ok(exists)
    }

    /// In the order of the keys.
    fn run_stream(
        &self,
        columns: &Columns,
        reverse: bool,
        visit: &mut impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut record = self.output_reader(columns).empty(&columns.names);
        let mut end = StreamEnd::new(self.plan.limit);
        let mut loader = RowLoader::new(self.input_reader());
        self.each_row(reverse, self.plan.after.as_deref(), true, &mut |at| {
            let needs_view =
                self.plan.filter.is_some() && !at.is_tested || !columns.computed.is_empty();
            let view = if needs_view {
                match self.matching(&mut loader, at)? {
                    None => return Ok(ControlFlow::Continue(())),
                    view => view,
                }
            } else {
                None
            };
            if end.is_reached() {
                // Whether there is more is known once the next record exists.
                let exists = needs_view || self.fill(columns, at, None, &mut record)?;
                end.has_more |= exists;
                return Ok(if exists { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
            }
            if !self.fill(columns, at, view.as_ref(), &mut record)? {
                return Ok(ControlFlow::Continue(()));
            }
            end.count(at.key());
            Ok(visit(&mut record))
        })?;
        Ok(end.place())
    }

    /// All sorted, or the first of them.
    fn run_sorted(
        &self,
        columns: &Columns,
        sort: &[OrderPart],
        visit: &mut impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut sorter = Sorter::new(self.plan.limit);
        let after = self.cursor_order(sort)?;
        let mut order = Vec::new();
        self.each_match(false, None, false, &mut |at, view| {
            order.clear();
            let key_at = self.write_place(sort, view, at.key(), &mut order)?;
            if after.as_ref().is_none_or(|after| order > *after) {
                sorter.offer(&order, || key_at)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let has_more = sorter.has_more;
        let found = sorter.finish();
        let key_of = |item: &Ranked<usize>| {
            let ties = item.order.get(item.payload..).unwrap_or_default();
            read_ties(ends_descending(sort), ties)
        };
        let last = found.last().filter(|_| has_more).map(key_of);
        let mut loader = RowLoader::new(self.input_reader());
        let mut record = self.output_reader(columns).empty(&columns.names);
        for item in found {
            self.look()?;
            let key = RecordKey::from_bytes(key_of(&item));
            let at = At { place: Place::Key(&key), is_tested: true };
            let view = if columns.computed.is_empty() { None } else { loader.load_key(&key)? };
            if self.fill(columns, at, view.as_ref(), &mut record)? && visit(&mut record).is_break()
            {
                break;
            }
        }
        Ok(last)
    }

    /// Writes the place of a record in a sort; answers where its key begins there.
    fn write_place(
        &self,
        sort: &[OrderPart],
        view: &RowView<'_>,
        key: &[u8],
        order: &mut Vec<u8>,
    ) -> Result<usize, FoldDbError> {
        write_order(sort, view, &self.plan.around, order)?;
        let key_at = order.len();
        write_ties(ends_descending(sort), order, |order| order.extend_from_slice(key));
        Ok(key_at)
    }

    /// The place in a sort of the record at which the page before has ended.
    fn cursor_order(&self, sort: &[OrderPart]) -> Result<Option<Vec<u8>>, FoldDbError> {
        let Some(after) = &self.plan.after else { return Ok(None) };
        let key = RecordKey::from_bytes(after.clone());
        let mut loader = RowLoader::new(self.input_reader());
        let view = loader.load_key(&key)?.ok_or(QueryError::InvalidCursor)?;
        let mut order = Vec::new();
        self.write_place(sort, &view, after, &mut order)?;
        Ok(Some(order))
    }

    fn counted(&self) -> Result<u64, FoldDbError> {
        let (keyspace, key) = self.plan.point.rows.counters(self.plan.entry.records());
        let row = self.plan.point.published.get(keyspace, &key)?;
        let counters = row.map(|row| SchemaCounters::decode(&row)).transpose();
        let counters = counters.map_err(|error| DataLayerError::row(keyspace, &key, error))?;
        Ok(counters.unwrap_or_default().records)
    }

    fn count_entries(&self) -> Result<u64, FoldDbError> {
        let Access::Index(access) = &self.plan.choice.access else { return Ok(0) };
        let mut count = 0;
        for (lower, upper) in &access.ranges {
            let scan = Scan::range(Keyspace::Indexes, lower.clone(), upper.clone());
            let mut is_over = false;
            let visit = &mut |_: &[u8], _: &[u8]| {
                count += 1;
                is_over = count % ROWS_BETWEEN_LOOKS == 0 && (self.is_interrupted)();
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.plan
                .point
                .published
                .snapshot
                .for_each(&scan, visit)
                .map_err(DataLayerError::from)?;
            if is_over {
                return Err(QueryError::Interrupted.into());
            }
        }
        Counts::add(&self.plan.counts.entries_read, count);
        Ok(count)
    }

    /// Hands over every row that the chosen way leads to; in the order of the keys if it is
    /// needed.
    fn each_row(
        &self,
        reverse: bool,
        after: Option<&[u8]>,
        needs_order: bool,
        visit: &mut impl FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let is_tested = self.plan.choice.is_exact;
        match &self.plan.choice.access {
            Access::Keys(keys) => {
                let is_left = |key: &&RecordKey| is_behind(key.as_bytes(), after, reverse);
                let mut visit = |key: &RecordKey| {
                    self.count_row()?;
                    visit(At { place: Place::Key(key), is_tested })
                };
                if reverse {
                    each(keys.iter().rev().filter(is_left), &mut visit)
                } else {
                    each(keys.iter().filter(is_left), &mut visit)
                }
            }
            Access::Ranges(ranges) => self.each_in_ranges(ranges, is_tested, reverse, after, visit),
            Access::Index(access) => self.each_by_index(access, reverse, after, needs_order, visit),
        }
    }

    fn each_in_ranges(
        &self,
        ranges: &[KeyRange],
        is_tested: bool,
        reverse: bool,
        after: Option<&[u8]>,
        visit: &mut impl FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let after = after.map(|key| self.plan.point.rows.record(self.plan.entry.records(), key));
        let prefix = self.plan.point.rows.records(self.plan.entry.records()).len();
        let one = &mut |range: &KeyRange| {
            let (mut lower, mut upper) = range.clone();
            if let Some(after) = &after {
                let limit = RangeBound::Excluded(after.to_vec());
                if reverse {
                    if upper_end(&upper) > &after[..] {
                        upper = limit;
                    }
                } else if lower_end(&lower) <= &after[..] {
                    lower = limit;
                }
                if lower_end(&lower) >= upper_end(&upper) {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            let scan = Scan::range(Keyspace::Records, lower, upper);
            let scan = if reverse { scan.reverse() } else { scan };
            let mut failed = None;
            let mut flow = ControlFlow::Continue(());
            let read = self.plan.point.published.snapshot.for_each(&scan, &mut |key, row| {
                let place = Place::Row(key.get(prefix..).unwrap_or_default(), row);
                let visited = match self.count_row() {
                    Ok(()) => visit(At { place, is_tested }),
                    Err(error) => Err(error),
                };
                flow = match visited {
                    Ok(flow) => flow,
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                };
                flow
            });
            match failed {
                Some(error) => Err(error),
                None => {
                    read.map_err(DataLayerError::from)?;
                    Ok(flow)
                }
            }
        };
        if reverse { each(ranges.iter().rev(), one) } else { each(ranges.iter(), one) }
    }

    /// The records of entries, unless these are too many: then all records are read.
    fn each_by_index(
        &self,
        access: &IndexAccess,
        reverse: bool,
        after: Option<&[u8]>,
        needs_order: bool,
        visit: &mut impl FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let most = (self.counted()? / INDEX_SHARE).max(INDEX_ROWS_MIN);
        let mut visit_key = |key: &RecordKey| {
            self.count_row()?;
            visit(At { place: Place::Key(key), is_tested: self.plan.choice.is_exact })
        };
        if needs_order && access.in_key_order && !reverse {
            let mut seen = 0;
            let mut rest = None;
            // Behind the values, an entry has the key; that of a unique index is the only one.
            let start = after.filter(|_| !access.index.definition.unique);
            let behind = start.map(|key| access.behind(key, false));
            self.each_entry(behind.as_ref().unwrap_or(access), false, &mut |_, key| {
                if !is_behind(key.as_bytes(), after, false) {
                    return Ok(ControlFlow::Continue(()));
                }
                seen += 1;
                if seen > most {
                    rest = Some(key.clone());
                    return Ok(ControlFlow::Break(()));
                }
                visit_key(key)
            })?;
            let Some(next) = rest else { return Ok(()) };
            let from =
                self.plan.point.rows.record(self.plan.entry.records(), next.as_bytes()).to_vec();
            return self.each_of_all(RangeBound::Included(from), false, None, visit);
        }
        let mut keys: Vec<RecordKey> = Vec::new();
        let mut bytes = 0;
        let mut is_too_many = false;
        self.each_entry(access, false, &mut |_, key| {
            bytes += key.as_bytes().len() + size_of::<RecordKey>();
            is_too_many = keys.len() as u64 >= most || bytes > KEY_BYTES_MAX;
            if is_too_many {
                return Ok(ControlFlow::Break(()));
            }
            keys.push(key.clone());
            Ok(ControlFlow::Continue(()))
        })?;
        if is_too_many {
            let from = self.plan.point.rows.records(self.plan.entry.records());
            return self.each_of_all(RangeBound::Included(from), reverse, after, visit);
        }
        if needs_order {
            keys.sort_unstable();
        }
        let keys = keys.iter().filter(|key| is_behind(key.as_bytes(), after, reverse));
        if reverse { each(keys.rev(), &mut visit_key) } else { each(keys, &mut visit_key) }
    }

    /// All records from one on, in the place of an index: the filter is tested again.
    fn each_of_all(
        &self,
        from: RangeBound<Vec<u8>>,
        reverse: bool,
        after: Option<&[u8]>,
        visit: &mut impl FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        self.plan.counts.has_left_index.set(true);
        let (_, end) = whole(self.plan.point.rows.records(self.plan.entry.records()));
        self.each_in_ranges(&[(from, end)], false, reverse, after, visit)
    }

    /// Hands over the entries of an index, and the keys of their records.
    fn each_entry(
        &self,
        access: &IndexAccess,
        reverse: bool,
        visit: &mut impl FnMut(&[u8], &RecordKey) -> Flow,
    ) -> Result<(), FoldDbError> {
        let rows = self.plan.point.rows;
        let one = &mut |(lower, upper): &KeyRange| {
            let scan = Scan::range(Keyspace::Indexes, lower.clone(), upper.clone());
            let mut scan = if reverse { scan.reverse() } else { scan }.rows(ENTRIES_AT_ONCE);
            loop {
                let page =
                    self.plan.point.published.snapshot.scan(&scan).map_err(DataLayerError::from)?;
                for (entry, row) in page.rows() {
                    self.count_entry()?;
                    let key = access
                        .index
                        .record_of(rows, entry, row)
                        .map_err(|error| DataLayerError::key(Keyspace::Indexes, entry, error))?;
                    let key = RecordKey::from_bytes(key.to_vec());
                    if visit(entry, &key)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                match page.last_key() {
                    Some(last) if page.more() => scan = scan.after(last),
                    _ => return Ok(ControlFlow::Continue(())),
                }
            }
        };
        if reverse {
            each(access.ranges.iter().rev(), one)
        } else {
            each(access.ranges.iter(), one)
        }
    }
}

/// Visits one after the other until it breaks.
fn each<T>(
    items: impl Iterator<Item = T>,
    visit: &mut impl FnMut(T) -> Flow,
) -> Result<(), FoldDbError> {
    for item in items {
        if visit(item)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn is_behind(key: &[u8], after: Option<&[u8]>, reverse: bool) -> bool {
    after.is_none_or(|after| if reverse { key < after } else { key > after })
}

fn lower_end(bound: &RangeBound<Vec<u8>>) -> &[u8] {
    match bound {
        RangeBound::Included(bytes) | RangeBound::Excluded(bytes) => bytes,
        RangeBound::Unbounded => &[],
    }
}

fn upper_end(bound: &RangeBound<Vec<u8>>) -> &[u8] {
    match bound {
        RangeBound::Included(bytes) | RangeBound::Excluded(bytes) => bytes,
        RangeBound::Unbounded => &[0xFF; 8],
    }
}

/// Counts up to the limit of a stream.
#[derive(Debug)]
struct StreamEnd {
    limit: Option<usize>,
    visited: usize,
    /// The place of the last record, once the limit is reached.
    last: Vec<u8>,
    has_more: bool,
}

impl StreamEnd {
    fn new(limit: Option<usize>) -> Self {
        Self { limit, visited: 0, last: Vec::new(), has_more: false }
    }

    fn is_reached(&self) -> bool {
        self.limit.is_some_and(|limit| self.visited >= limit)
    }

    /// How many records there may still be, and one that tells that there are more.
    fn left(&self) -> Option<usize> {
        let left = self.limit?.saturating_sub(self.visited);
        Some(left.saturating_add(1))
    }

    /// Counts a record with its place in the order.
    fn count(&mut self, place: &[u8]) {
        self.visited += 1;
        if self.is_reached() {
            self.last = place.to_vec();
        }
    }

    fn place(self) -> Option<Vec<u8>> {
        self.has_more.then_some(self.last)
    }
}
