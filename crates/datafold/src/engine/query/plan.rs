//! A query that is checked against its schema, and how it runs.

use std::collections::BTreeMap;
use std::ops::{Bound as RangeBound, ControlFlow};
use std::sync::Arc;

use datafold_lang::{self as lang, CompileError, Compiler, Names, Scope};
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan};

use super::super::error::{FoldDbError, QueryError};
use super::access::{
    Access, Choice, Conditions, IndexAccess, KeyRange, choose, is_scalar, ordered_index, part_of,
};
use super::clause::{Aggregate, AggregateKind, Column, SortKey};
use super::explain::{Counts, Explain};
use super::group::{BoundAggregate, Groups};
use super::names::QueryNames;
use super::order::{OrderPart, Sorter, read_ties, write_order, write_ties, write_value};
use super::program::{Binder, Bound, BoundFilter, RowLoader, RowView, Surroundings};
use super::reader::RecordReader;
use super::value::{from_lang, to_lang};
use super::{
    KeyCondition, QueryEnd, QueryRequest, Record, pinned, reach_of, readable, time_of, write_cursor,
};
use crate::data_layer::internal::{IndexPart, Projection, ReadPoint};
use crate::data_layer::{DataLayerError, SchemaCounters, SchemaEntry};
use crate::model::{FieldName, RecordKey, SchemaName, Timestamp, Value};

/// So many entries of an index are read at once.
const ENTRIES_AT_ONCE: usize = 1_024;
/// An index serves up to this share of the records; beyond it reading all of them is faster.
const INDEX_SHARE: u64 = 6;
/// An index serves so many records whatever their share.
const INDEX_ROWS_MIN: u64 = 1_000;
/// Keys that an index names are sorted in memory up to so many bytes.
const KEY_BYTES_MAX: usize = 64 << 20;
/// Texts in an index are whole up to so many bytes of their encoding.
const WHOLE_BYTES: usize = 250;

/// A query that is checked against its schema.
#[derive(Debug)]
pub(crate) struct Plan {
    point: ReadPoint,
    entry: Arc<SchemaEntry>,
    choice: Choice,
    /// What the programs read of a record.
    inputs: Projection,
    around: Surroundings,
    filter: Option<BoundFilter>,
    output: Output,
    /// The fields that are read, for their price.
    fields: Vec<FieldName>,
    /// What a cursor of this query begins with: the mark of its order, but for that of the keys,
    /// and the time that its pages are of, if it reads the clock.
    mark: Vec<u8>,
    /// Where an earlier answer ended: the place of a record in the order.
    after: Option<Vec<u8>>,
    limit: Option<usize>,
    counts: Counts,
}

#[derive(Debug)]
enum Output {
    Records { columns: Columns, order: RecordOrder },
    Groups(Box<Grouping>),
}

#[derive(Debug)]
enum RecordOrder {
    /// That of the keys.
    Key {
        reverse: bool,
    },
    /// That of the chosen index.
    Index {
        reverse: bool,
        sort: Vec<OrderPart>,
        fixed: usize,
    },
    Sorted(Vec<OrderPart>),
}

/// The columns of an answer.
#[derive(Debug)]
struct Columns {
    names: Arc<[FieldName]>,
    /// Those that are fields.
    projection: Projection,
    /// The others.
    computed: Vec<(usize, Bound)>,
}

#[derive(Debug)]
struct Grouping {
    keys: Vec<Bound>,
    aggregates: Vec<BoundAggregate>,
    /// Of rows of groups.
    around: Surroundings,
    having: Option<BoundFilter>,
    names: Arc<[FieldName]>,
    columns: Vec<Bound>,
    sort: Vec<OrderPart>,
}

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

type Visit<'v> = &'v mut dyn FnMut(&mut Record) -> ControlFlow<()>;

impl Plan {
    pub(crate) fn new(
        mut point: ReadPoint,
        request: &QueryRequest,
        now: Timestamp,
    ) -> Result<Self, FoldDbError> {
        check_request(request)?;
        let cursor = pinned(&mut point, request.cursor.as_deref())?;
        let is_in_key_order = !request.is_grouped() && request.sort.is_empty();
        let Start { mark, after, now } = Start::new(request, cursor, now)?;
        let entry = readable(&point, &request.schema)?;
        let parameters: BTreeMap<String, lang::Value<'static>> = request
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), to_lang(value).into_owned()))
            .collect();
        let names = QueryNames::new(&point, &entry, &parameters, request.sources());
        let mut binder = Binder::new(&point, Some(&entry), now);
        let filter = match request.filter.as_deref() {
            Some(source) => Some(filter(&mut binder, &names, "where", source)?),
            None => None,
        };
        let is_grouped = request.is_grouped();
        if request.having.is_some() && !is_grouped {
            let rule = "is a condition for groups; `where` is one for records".to_owned();
            return Err(QueryError::InvalidClause { place: "having".into(), rule }.into());
        }
        let mut output = if is_grouped {
            grouped(&mut binder, &names, &parameters, request, now)?
        } else {
            records(&mut binder, &names, request)?
        };
        let conditions = match &filter {
            Some(filter) => Conditions::of(filter, &entry, &binder.columns),
            None => Conditions { all: Vec::new(), is_exact: true },
        };
        let chosen = match &mut output {
            Output::Records { order, .. } => {
                by_order(&point, &entry, request, &binder.columns, &conditions, order)
            }
            Output::Groups(_) => None,
        };
        let choice = match chosen {
            Some(choice) => choice,
            None => choose(&point, &entry, &request.key, &conditions)?,
        };
        let Binder { columns, surroundings: around, .. } = binder;
        let fields = fields_read(&columns, &output);
        let inputs = entry.project(columns.into());
        let plan = Self {
            point,
            entry,
            choice,
            inputs,
            around,
            filter,
            output,
            fields,
            mark,
            after,
            limit: request.limit,
            counts: Counts::default(),
        };
        if is_in_key_order {
            plan.check_cursor(request)?;
        }
        Ok(plan)
    }

    /// A cursor of a query in the order of the keys stands at a record in its range.
    fn check_cursor(&self, request: &QueryRequest) -> Result<(), FoldDbError> {
        let Some(after) = self.after.as_deref() else { return Ok(()) };
        let row = self.point.rows.record(self.entry.records(), after).to_vec();
        reach_of(&self.entry, &self.point, &request.key)?.behind(row)?;
        Ok(())
    }

    /// All fields of one record.
    pub(crate) fn of_key(
        point: &ReadPoint,
        schema: &SchemaName,
        key: &[Value],
    ) -> Result<Option<Record>, FoldDbError> {
        let entry = readable(point, schema)?;
        let key = super::key_of(&entry, key)?;
        RecordReader { point, entry: &entry, projection: &entry.projection }.one(&key)
    }

    /// The fields that the query reads.
    pub(crate) fn fields(&self) -> &[FieldName] {
        &self.fields
    }

    /// The names of the columns of the answer.
    pub(crate) fn columns(&self) -> &Arc<[FieldName]> {
        match &self.output {
            Output::Records { columns, .. } => &columns.names,
            Output::Groups(grouping) => &grouping.names,
        }
    }

    /// How the query runs, and what it read if it has run.
    pub(crate) fn explain(&self) -> Explain {
        let mut steps = vec![format!("read {}", self.choice.words)];
        if let Some(filter) = self.filter.as_ref().filter(|_| !self.choice.is_exact) {
            steps.push(format!("keep those with {}", filter.bound.program().source().trim()));
        }
        let by = |sort: &[OrderPart]| {
            let parts = sort.iter().map(|part| {
                let source = part.bound.program().source().trim();
                format!("{source}{}", if part.descending { " desc" } else { "" })
            });
            parts.collect::<Vec<_>>().join(", ")
        };
        let first = match self.limit {
            Some(limit) => format!("keep the first {limit} "),
            None => "sort ".to_owned(),
        };
        match &self.output {
            Output::Records { order: RecordOrder::Sorted(sort), .. } => {
                steps.push(format!("{first}by {}", by(sort)));
            }
            Output::Records { .. } => {
                steps.extend(self.limit.map(|limit| format!("stop behind {limit} records")));
            }
            Output::Groups(grouping) => {
                let keys = grouping.keys.iter().map(|key| key.program().source().trim());
                let keys = keys.collect::<Vec<_>>().join(", ");
                steps.push(match keys.as_str() {
                    "" if self.is_plain_count(grouping) => "take the counter".to_owned(),
                    "" if self.counts_entries(grouping) => "count the entries".to_owned(),
                    "" => "aggregate them".to_owned(),
                    keys => format!("group by {keys}"),
                });
                if let Some(having) = &grouping.having {
                    let source = having.bound.program().source().trim();
                    steps.push(format!("keep groups with {source}"));
                }
                if !grouping.keys.is_empty() {
                    steps.push(format!("{first}by {}", by(&grouping.sort)));
                }
            }
        }
        Explain { steps, counts: self.counts.clone() }
    }

    /// Calls `visit` for each record of the answer, until it breaks or the limit is reached.
    pub(crate) fn run(
        &self,
        mut visit: impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        let mut visit = |record: &mut Record| {
            Counts::add(&self.counts.rows_returned, 1);
            visit(record)
        };
        let place = match &self.output {
            Output::Records { columns, order } => match order {
                RecordOrder::Key { reverse } => self.run_stream(columns, *reverse, &mut visit)?,
                RecordOrder::Index { reverse, sort, fixed } => {
                    self.run_index_order(columns, *reverse, sort, *fixed, &mut visit)?
                }
                RecordOrder::Sorted(sort) => self.run_sorted(columns, sort, &mut visit)?,
            },
            Output::Groups(grouping) => self.run_groups(grouping, &mut visit)?,
        };
        let cursor = place.map(|place| {
            let position = [&self.mark[..], &place].concat();
            write_cursor(self.point.at, &position)
        });
        Ok(QueryEnd { cursor, commit: self.point.at, time: time_of(&self.point)? })
    }

    fn input_reader(&self) -> RecordReader<'_> {
        RecordReader { point: &self.point, entry: &self.entry, projection: &self.inputs }
    }

    fn output_reader<'q>(&'q self, columns: &'q Columns) -> RecordReader<'q> {
        let projection = &columns.projection;
        RecordReader { point: &self.point, entry: &self.entry, projection }
    }

    /// Hands over the records that pass the filter, with the columns that programs read.
    fn each_match(
        &self,
        reverse: bool,
        after: Option<&[u8]>,
        needs_order: bool,
        visit: &mut dyn FnMut(At<'_>, &RowView<'_>) -> Flow,
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
        match &self.filter {
            Some(filter) if !at.is_tested && !filter.matches(&view, &self.around)? => Ok(None),
            _ => Ok(Some(view)),
        }
    }

    /// Fills a record of the answer; answers false if the record does not exist.
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
                let value = bound.evaluate(view, &self.around, |value| from_lang(&value))?;
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
        visit: Visit<'_>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut record = self.output_reader(columns).empty(&columns.names);
        let mut end = StreamEnd::new(self.limit);
        let mut loader = RowLoader::new(self.input_reader());
        self.each_row(reverse, self.after.as_deref(), true, &mut |at| {
            let needs_view = self.filter.is_some() && !at.is_tested || !columns.computed.is_empty();
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
        visit: Visit<'_>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut sorter = Sorter::new(self.limit);
        let mut order = Vec::new();
        self.each_match(false, None, false, &mut |at, view| {
            order.clear();
            write_order(sort, view, &self.around, &mut order)?;
            let key_at = order.len();
            write_ties(ends_descending(sort), &mut order, |order| {
                order.extend_from_slice(at.key());
            });
            if self.after.as_ref().is_none_or(|after| order > *after) {
                sorter.offer(&order, || key_at)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let has_more = sorter.has_more;
        let found = sorter.finish();
        let last = found.last().filter(|_| has_more).map(|item| item.order.to_vec());
        let mut loader = RowLoader::new(self.input_reader());
        let mut record = self.output_reader(columns).empty(&columns.names);
        for item in found {
            let ties = item.order.get(item.payload..).unwrap_or_default();
            let key = RecordKey::from_bytes(read_ties(ends_descending(sort), ties));
            let at = At { place: Place::Key(&key), is_tested: true };
            let view = if columns.computed.is_empty() { None } else { loader.load_key(&key)? };
            if self.fill(columns, at, view.as_ref(), &mut record)? && visit(&mut record).is_break()
            {
                break;
            }
        }
        Ok(last)
    }

    /// In the order of an index. Where texts are too long to be whole in it, those that it cannot
    /// tell apart are sorted.
    fn run_index_order(
        &self,
        columns: &Columns,
        reverse: bool,
        sort: &[OrderPart],
        fixed: usize,
        visit: Visit<'_>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let Access::Index(access) = &self.choice.access else { return Ok(None) };
        let mut run = IndexOrder {
            plan: self,
            columns,
            sort,
            visit,
            loader: RowLoader::new(self.input_reader()),
            record: self.output_reader(columns).empty(&columns.names),
            end: StreamEnd::new(self.limit),
            block: Vec::new(),
            sorter: Sorter::new(None),
        };
        let base = self.point.rows.index(access.index.id).len();
        self.each_entry(access, reverse, &mut |entry, key| {
            let parts = entry.get(base..).unwrap_or_default();
            run.entry(parts_behind(parts, fixed), key)
        })?;
        let _ = run.flush()?;
        Ok(run.end.place())
    }

    fn run_groups(
        &self,
        grouping: &Grouping,
        visit: Visit<'_>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut groups = Groups::new(&grouping.keys, &grouping.aggregates);
        if self.is_plain_count(grouping) {
            groups.count(self.counted()?);
        } else if self.counts_entries(grouping) {
            groups.count(self.count_entries()?);
        } else {
            self.each_match(false, None, false, &mut |_, view| {
                groups.add(view, &self.around)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let rows = groups.finish()?;
        Counts::add(&self.counts.groups, rows.len() as u64);
        let mut sorter = Sorter::new(self.limit);
        let mut order = Vec::new();
        for values in rows {
            let view = RowView::of_values(None, &values);
            if let Some(having) = &grouping.having
                && !having.matches(&view, &grouping.around)?
            {
                continue;
            }
            order.clear();
            write_order(&grouping.sort, &view, &grouping.around, &mut order)?;
            write_ties(ends_descending(&grouping.sort), &mut order, |order| {
                for value in values.iter().take(grouping.keys.len()) {
                    write_value(&to_lang(value), order);
                }
            });
            if self.after.as_ref().is_none_or(|after| order > *after) {
                sorter.offer(&order, || values)?;
            }
        }
        let has_more = sorter.has_more;
        let found = sorter.finish();
        let last = found.last().filter(|_| has_more).map(|item| item.order.to_vec());
        let columns = &grouping.names;
        for item in found {
            let view = RowView::of_values(None, &item.payload);
            let mut values = Vec::with_capacity(columns.len());
            for bound in &grouping.columns {
                let value = bound.evaluate(&view, &grouping.around, |value| from_lang(&value))?;
                values.push(value);
            }
            let mut record = Record { columns: Arc::clone(columns), values };
            if visit(&mut record).is_break() {
                break;
            }
        }
        Ok(last)
    }

    /// Whether all that is asked is how many records there are.
    fn is_plain_count(&self, grouping: &Grouping) -> bool {
        self.counts_all(grouping)
            && self.point.is_current()
            && self.entry.schema.is_keyed()
            && matches!(&self.choice.access, Access::Ranges(ranges)
                if ranges.len() == 1 && self.is_whole(ranges))
    }

    fn is_whole(&self, ranges: &[KeyRange]) -> bool {
        let all = super::access::whole(self.point.rows.records(self.entry.records()));
        ranges == [all]
    }

    /// Whether all that is asked is how many entries there are in ranges of an index.
    fn counts_entries(&self, grouping: &Grouping) -> bool {
        self.counts_all(grouping) && matches!(self.choice.access, Access::Index(_))
    }

    fn counts_all(&self, grouping: &Grouping) -> bool {
        let mut aggregates = grouping.aggregates.iter();
        grouping.keys.is_empty()
            && (self.filter.is_none() || self.choice.is_exact)
            && aggregates.all(|of| of.kind == AggregateKind::Count && of.argument.is_none())
    }

    fn counted(&self) -> Result<u64, FoldDbError> {
        let (keyspace, key) = self.point.rows.counters(self.entry.records());
        let row = self.point.published.get(keyspace, &key)?;
        let counters = row.map(|row| SchemaCounters::decode(&row)).transpose();
        let counters = counters.map_err(|error| DataLayerError::row(keyspace, &key, error))?;
        Ok(counters.unwrap_or_default().records)
    }

    fn count_entries(&self) -> Result<u64, FoldDbError> {
        let Access::Index(access) = &self.choice.access else { return Ok(0) };
        let mut count = 0;
        for (lower, upper) in &access.ranges {
            let scan = Scan::range(Keyspace::Indexes, lower.clone(), upper.clone());
            let visit = &mut |_: &[u8], _: &[u8]| {
                count += 1;
                ControlFlow::Continue(())
            };
            self.point.published.snapshot.for_each(&scan, visit).map_err(DataLayerError::from)?;
        }
        Counts::add(&self.counts.entries_read, count);
        Ok(count)
    }

    /// Hands over every row that the chosen way leads to; in the order of the keys if it is
    /// needed.
    fn each_row(
        &self,
        reverse: bool,
        after: Option<&[u8]>,
        needs_order: bool,
        visit: &mut dyn FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let is_tested = self.choice.is_exact;
        match &self.choice.access {
            Access::Keys(keys) => {
                let is_left = |key: &&RecordKey| is_behind(key.as_bytes(), after, reverse);
                let mut visit = |key: &RecordKey| {
                    Counts::add(&self.counts.rows_read, 1);
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
        visit: &mut dyn FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let after = after.map(|key| self.point.rows.record(self.entry.records(), key));
        let prefix = self.point.rows.records(self.entry.records()).len();
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
            let read = self.point.published.snapshot.for_each(&scan, &mut |key, row| {
                Counts::add(&self.counts.rows_read, 1);
                let place = Place::Row(key.get(prefix..).unwrap_or_default(), row);
                flow = visit(At { place, is_tested }).unwrap_or_else(|error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                });
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
        visit: &mut dyn FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let most = (self.counted()? / INDEX_SHARE).max(INDEX_ROWS_MIN);
        let mut visit_key = |key: &RecordKey| {
            Counts::add(&self.counts.rows_read, 1);
            visit(At { place: Place::Key(key), is_tested: self.choice.is_exact })
        };
        if needs_order && access.in_key_order && !reverse {
            let mut seen = 0;
            let mut rest = None;
            self.each_entry(access, false, &mut |_, key| {
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
            let from = self.point.rows.record(self.entry.records(), next.as_bytes()).to_vec();
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
            let from = self.point.rows.records(self.entry.records());
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
        visit: &mut dyn FnMut(At<'_>) -> Flow,
    ) -> Result<(), FoldDbError> {
        let (_, end) = super::access::whole(self.point.rows.records(self.entry.records()));
        self.each_in_ranges(&[(from, end)], false, reverse, after, visit)
    }

    /// Hands over the entries of an index, and the keys of their records.
    fn each_entry(
        &self,
        access: &IndexAccess,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &RecordKey) -> Flow,
    ) -> Result<(), FoldDbError> {
        let rows = self.point.rows;
        let one = &mut |(lower, upper): &KeyRange| {
            let scan = Scan::range(Keyspace::Indexes, lower.clone(), upper.clone());
            let mut scan = if reverse { scan.reverse() } else { scan }.rows(ENTRIES_AT_ONCE);
            loop {
                let page =
                    self.point.published.snapshot.scan(&scan).map_err(DataLayerError::from)?;
                for (entry, row) in page.rows() {
                    Counts::add(&self.counts.entries_read, 1);
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
    visit: &mut dyn FnMut(T) -> Flow,
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

/// A run in the order of an index.
struct IndexOrder<'q, 'v> {
    plan: &'q Plan,
    columns: &'q Columns,
    sort: &'q [OrderPart],
    visit: Visit<'v>,
    loader: RowLoader<'q>,
    record: Record,
    end: StreamEnd,
    /// What the entries that are being sorted have in common.
    block: Vec<u8>,
    sorter: Sorter<RecordKey>,
}

impl IndexOrder<'_, '_> {
    fn entry(&mut self, parts: &[u8], key: &RecordKey) -> Flow {
        let block = cut_block(parts, self.sort.len());
        if block != self.block && self.flush()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if block.is_empty() {
            return self.emit(key);
        }
        self.block = block.to_vec();
        if let Some(order) = self.order_of(key)? {
            self.sorter.offer(&order, || key.clone())?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands over what is sorted by now.
    fn flush(&mut self) -> Flow {
        self.block.clear();
        let sorter = std::mem::replace(&mut self.sorter, Sorter::new(None));
        for item in sorter.finish() {
            if self.emit(&item.payload)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The place of a record in the order.
    fn order_of(&mut self, key: &RecordKey) -> Result<Option<Vec<u8>>, FoldDbError> {
        let Some(view) = self.loader.load_key(key)? else { return Ok(None) };
        let mut order = Vec::new();
        write_order(self.sort, &view, &self.plan.around, &mut order)?;
        write_ties(ends_descending(self.sort), &mut order, |order| {
            order.extend_from_slice(key.as_bytes());
        });
        Ok(Some(order))
    }

    fn emit(&mut self, key: &RecordKey) -> Flow {
        if let Some(after) = &self.plan.after
            && self.order_of(key)?.is_none_or(|order| order <= *after)
        {
            return Ok(ControlFlow::Continue(()));
        }
        if self.end.is_reached() {
            self.end.has_more = true;
            return Ok(ControlFlow::Break(()));
        }
        Counts::add(&self.plan.counts.rows_read, 1);
        let at = At { place: Place::Key(key), is_tested: true };
        let view =
            if self.columns.computed.is_empty() { None } else { self.loader.load_key(key)? };
        if !self.plan.fill(self.columns, at, view.as_ref(), &mut self.record)? {
            return Ok(ControlFlow::Continue(()));
        }
        self.end.visited += 1;
        if self.end.is_reached() {
            self.end.last = self.order_of(key)?.unwrap_or_default();
        }
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

fn parts_behind(parts: &[u8], fixed: usize) -> &[u8] {
    let mut reader = KeyReader::new(parts);
    match reader.skip_parts(fixed) {
        Ok(_) => reader.rest(),
        Err(_) => &[],
    }
}

/// Where an answer begins.
struct Start {
    /// See [`Plan::mark`].
    mark: Vec<u8>,
    after: Option<Vec<u8>>,
    /// The time of the first page.
    now: Timestamp,
}

impl Start {
    fn new(
        request: &QueryRequest,
        position: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Self, QueryError> {
        let is_in_key_order = !request.is_grouped() && request.sort.is_empty();
        let mut start = Self {
            mark: if is_in_key_order { Vec::new() } else { request.mark() },
            after: None,
            now,
        };
        if let Some(position) = position {
            start.read(request, &position).ok_or(QueryError::InvalidCursor)?;
        }
        if request.reads_clock() {
            start.mark.extend(start.now.as_micros().to_be_bytes());
        }
        Ok(start)
    }

    fn read(&mut self, request: &QueryRequest, position: &[u8]) -> Option<()> {
        let mut place = position.strip_prefix(self.mark.as_slice())?;
        if request.reads_clock() {
            let (micros, behind) = place.split_first_chunk()?;
            self.now = Timestamp::from_micros_checked(i64::from_be_bytes(*micros))?;
            place = behind;
        }
        self.after = Some(place.to_vec());
        Some(())
    }
}

/// What the JSON form of a request cannot say.
fn check_request(request: &QueryRequest) -> Result<(), QueryError> {
    let wrong = |place: String, rule: String| Err(QueryError::InvalidClause { place, rule });
    if request.limit == Some(0) {
        return wrong("limit".into(), "must be at least 1".into());
    }
    for (name, value) in &request.parameters {
        if let Err(error) = value.check() {
            return wrong(format!("parameters.{name}"), error.to_string());
        }
    }
    Ok(())
}

/// Records that are equal otherwise are in the order of their keys, in the direction of the last
/// sort key.
fn ends_descending(sort: &[OrderPart]) -> bool {
    sort.last().is_some_and(|part| part.descending)
}

fn filter(
    binder: &mut Binder<'_>,
    names: &dyn Names,
    place: &str,
    source: &str,
) -> Result<BoundFilter, FoldDbError> {
    let compiled = Compiler::new(names).filter(source);
    BoundFilter::new(binder, compiled.map_err(|error| wrong(place, error))?, place)
}

fn expression(
    binder: &mut Binder<'_>,
    names: &dyn Names,
    place: String,
    source: &str,
) -> Result<Bound, FoldDbError> {
    let compiled = Compiler::new(names).expression(source);
    binder.bind(compiled.map_err(|error| wrong(&place, error))?, place)
}

fn wrong(place: &str, error: CompileError) -> QueryError {
    QueryError::Expression { place: place.to_owned(), error: Box::new(error) }
}

/// Sort keys; the name of a computed column stands for its expression.
fn order_parts(
    binder: &mut Binder<'_>,
    names: &dyn Names,
    sort: &[String],
    columns: &[Column],
) -> Result<Vec<OrderPart>, FoldDbError> {
    let mut parts = Vec::with_capacity(sort.len());
    for (at, text) in sort.iter().enumerate() {
        let key = SortKey::parse(text);
        let column = columns.iter().find(|column| column.name.as_str() == key.source);
        let source = column.map_or(&key.source, |column| &column.source);
        let bound = expression(binder, names, format!("sort[{at}]"), source)?;
        let (descending, nulls_first) = (key.descending, key.has_nulls_first());
        parts.push(OrderPart { bound, descending, nulls_first });
    }
    Ok(parts)
}

/// The columns that a request names. A field can be named twice; other columns would hide each
/// other where an answer is an object.
fn named_columns(texts: &[String], clause: &str) -> Result<Vec<Column>, QueryError> {
    let mut columns: Vec<Column> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let place = format!("{clause}[{at}]");
        let column = Column::parse(&place, text)?;
        if columns.iter().any(|known| known.name == column.name && *known != column) {
            let rule = format!("`{}` names two columns", column.name);
            return Err(QueryError::InvalidClause { place, rule });
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The output of a query without groups.
fn records(
    binder: &mut Binder<'_>,
    names: &QueryNames<'_>,
    request: &QueryRequest,
) -> Result<Output, FoldDbError> {
    let entry = names.entry();
    let selected = request.select.as_deref();
    let wanted = selected.map(|texts| named_columns(texts, "select")).transpose()?;
    let columns = match &wanted {
        None => Columns {
            names: Arc::clone(&entry.projection.columns),
            projection: entry.projection.clone(),
            computed: Vec::new(),
        },
        Some(wanted) => {
            let mut computed = Vec::new();
            for (at, column) in wanted.iter().enumerate() {
                if column.source != column.name.as_str() {
                    let place = format!("select[{at}]");
                    computed.push((at, expression(binder, names, place, &column.source)?));
                } else if entry.schema.field(column.name.as_str()).is_none() {
                    return Err(super::unknown_field(&entry.schema, column.name.as_str()).into());
                }
            }
            let names: Arc<[FieldName]> = wanted.iter().map(|column| column.name.clone()).collect();
            let is_field = |at: usize| computed.iter().all(|(column, _)| *column != at);
            let projection = entry.project_some(Arc::clone(&names), is_field);
            Columns { names, projection, computed }
        }
    };
    let sort = order_parts(binder, names, &request.sort, wanted.as_deref().unwrap_or_default())?;
    let order = match sort.is_empty() {
        true => RecordOrder::Key { reverse: false },
        false => RecordOrder::Sorted(sort),
    };
    Ok(Output::Records { columns, order })
}

/// Replaces a sort by the order of the keys or of an index, where one of them is the same.
fn by_order(
    point: &ReadPoint,
    entry: &SchemaEntry,
    request: &QueryRequest,
    columns: &[FieldName],
    conditions: &Conditions,
    order: &mut RecordOrder,
) -> Option<Choice> {
    let RecordOrder::Sorted(sort) = order else { return None };
    let reverse = sort.first()?.descending;
    if !entry.schema.is_keyed()
        || !sort.iter().all(|part| part.is_usual() && part.descending == reverse)
    {
        return None;
    }
    let part = |part: &OrderPart| {
        let name = columns.get(part.bound.direct?)?;
        // Others have a hash in an index.
        part_of(entry, name)
            .filter(|part| is_scalar(entry, name) || matches!(part, IndexPart::Key(_)))
    };
    let parts: Vec<IndexPart> = sort.iter().map(part).collect::<Option<_>>()?;
    let is_key_order = parts.len() <= entry.schema.key.len()
        && parts.iter().enumerate().all(|(at, part)| *part == IndexPart::Key(at));
    if is_key_order {
        *order = RecordOrder::Key { reverse };
        return None;
    }
    if request.limit.is_none() || request.key != KeyCondition::All {
        return None;
    }
    let (access, is_exact, words) = ordered_index(point, entry, &parts, conditions)?;
    // A filter that few records pass would lead through most of the index.
    if !is_exact {
        return None;
    }
    let fixed = access.index.parts.len() - parts.len();
    let sort = std::mem::take(sort);
    *order = RecordOrder::Index { reverse, sort, fixed };
    Some(Choice { access: Access::Index(access), is_exact, words })
}

/// The output of a query with groups, or with distinct records, which are groups of their columns.
fn grouped(
    binder: &mut Binder<'_>,
    names: &QueryNames<'_>,
    parameters: &BTreeMap<String, lang::Value<'static>>,
    request: &QueryRequest,
    now: Timestamp,
) -> Result<Output, FoldDbError> {
    let entry = names.entry();
    let clause = |place: &str, rule: &str| QueryError::InvalidClause {
        place: place.to_owned(),
        rule: rule.to_owned(),
    };
    let keys = if request.distinct {
        if !request.group_by.is_empty() || !request.aggregates.is_empty() {
            let rule = "groups are distinct already; leave out `group_by` and `aggregates`";
            return Err(clause("distinct", rule).into());
        }
        match request.select.as_deref() {
            Some(texts) => named_columns(texts, "select")?,
            None => {
                let single = entry.schema.fields.iter().map(|field| field.name.to_string());
                named_columns(&single.collect::<Vec<_>>(), "select")?
            }
        }
    } else {
        named_columns(&request.group_by, "group_by")?
    };
    let mut scope = Scope::new().with_clock();
    for (name, value) in parameters {
        scope = scope.with_parameter(name.as_str(), value.clone());
    }
    let mut all: Vec<FieldName> = Vec::new();
    let mut bound_keys = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let place = format!("{}[{at}]", if request.distinct { "select" } else { "group_by" });
        let bound = expression(binder, names, place, &key.source)?;
        scope = scope.with(key.name.as_str(), bound.program().result_type().clone());
        all.push(key.name.clone());
        bound_keys.push(bound);
    }
    let mut aggregates = Vec::with_capacity(request.aggregates.len());
    for (at, text) in request.aggregates.iter().enumerate() {
        let place = format!("aggregates[{at}]");
        let Aggregate { name, kind, source } = Aggregate::parse(&place, text)?;
        let argument = match source {
            Some(source) => Some(expression(binder, names, place.clone(), &source)?),
            None => None,
        };
        let aggregate = BoundAggregate { kind, argument, place };
        scope = scope.with(name.as_str(), aggregate.result_type());
        all.push(name);
        aggregates.push(aggregate);
    }
    if let Some(twice) =
        all.iter().enumerate().find(|(at, name)| all.iter().take(*at).any(|n| n == *name))
    {
        let rule = format!("`{}` names two columns", twice.1);
        return Err(QueryError::InvalidClause { place: "group_by".into(), rule }.into());
    }
    let mut of_groups = Binder::of_columns(binder.point(), all.clone(), now);
    let having = match request.having.as_deref() {
        Some(source) => Some(filter(&mut of_groups, &scope, "having", source)?),
        None => None,
    };
    let selected = request.select.as_deref().filter(|_| !request.distinct);
    let wanted = match selected {
        Some(texts) => named_columns(texts, "select")?,
        None => {
            let column = |name: &FieldName| Column { name: name.clone(), source: name.to_string() };
            all.iter().map(column).collect()
        }
    };
    let mut columns = Vec::with_capacity(wanted.len());
    for (at, column) in wanted.iter().enumerate() {
        columns.push(expression(&mut of_groups, &scope, format!("select[{at}]"), &column.source)?);
    }
    let by_keys: Vec<String> = keys.iter().map(|key| key.name.to_string()).collect();
    let sort = if request.sort.is_empty() { &by_keys } else { &request.sort };
    let sort = order_parts(&mut of_groups, &scope, sort, &wanted)?;
    Ok(Output::Groups(Box::new(Grouping {
        keys: bound_keys,
        aggregates,
        around: of_groups.surroundings,
        having,
        names: wanted.iter().map(|column| column.name.clone()).collect(),
        columns,
        sort,
    })))
}

/// The fields that a query reads, each once.
fn fields_read(columns: &[FieldName], output: &Output) -> Vec<FieldName> {
    let mut fields = match output {
        Output::Records { columns, .. } => {
            let is_field = |at: &usize| columns.computed.iter().all(|(column, _)| column != at);
            let at = (0..columns.names.len()).filter(is_field);
            at.filter_map(|at| columns.names.get(at).cloned()).collect()
        }
        Output::Groups(_) => Vec::new(),
    };
    for column in columns {
        if !fields.contains(column) {
            fields.push(column.clone());
        }
    }
    fields
}
