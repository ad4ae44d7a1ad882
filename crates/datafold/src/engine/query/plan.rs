//! A query that is checked against its schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafold_lang::{self as lang, CompileError, Compiler, Names, Scope};

use super::super::elements::INLINE_ELEMENTS_MAX;
use super::super::error::{FoldDbError, QueryError};
use super::access::{
    Access, Choice, Conditions, KeyRange, choose, is_scalar, ordered_index, part_of,
};
use super::clause::{Aggregate, Column, SortKey};
use super::explain::{Counts, Explain};
use super::group::BoundAggregate;
use super::names::QueryNames;
use super::order::OrderPart;
use super::program::{Binder, Bound, BoundFilter, Surroundings};
use super::reader::RecordReader;
use super::{KeyCondition, QueryRequest, Record, pinned, reach_of, readable};
use crate::data_layer::internal::{IndexPart, Pipeline, Projection, ReadPoint};
use crate::data_layer::{Moment, SchemaEntry};
use crate::model::{
    AggregateCall, AggregateKind, FieldName, SchemaName, Timestamp, Value, to_lang,
};

/// A query that is checked against its schema.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) point: ReadPoint,
    pub(super) entry: Arc<SchemaEntry>,
    pub(super) choice: Choice,
    /// What the programs read of a record.
    pub(super) inputs: Projection,
    pub(super) around: Surroundings,
    pub(super) filter: Option<BoundFilter>,
    pub(super) output: Output,
    /// The fields that are read, for their price.
    fields: Vec<FieldName>,
    /// What a cursor of this query begins with: the mark of the query, and the time that its pages
    /// are of, if it reads the clock.
    pub(super) mark: Vec<u8>,
    /// Where an earlier answer ended: the key of a record, or the place of a group in the order.
    pub(super) after: Option<Vec<u8>>,
    pub(super) limit: Option<usize>,
    pub(super) inline_elements: usize,
    pub(super) counts: Counts,
}

#[derive(Debug)]
pub(super) enum Output {
    Records { columns: Columns, order: RecordOrder },
    Groups(Box<Grouping>),
}

#[derive(Debug)]
pub(super) enum RecordOrder {
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
pub(super) struct Columns {
    pub(super) names: Arc<[FieldName]>,
    /// Those that are fields.
    pub(super) projection: Projection,
    /// The others.
    pub(super) computed: Vec<(usize, Bound)>,
}

#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) keys: Vec<Bound>,
    pub(super) aggregates: Vec<BoundAggregate>,
    /// Of rows of groups.
    pub(super) around: Surroundings,
    pub(super) having: Option<BoundFilter>,
    pub(super) names: Arc<[FieldName]>,
    pub(super) columns: Vec<Bound>,
    pub(super) sort: Vec<OrderPart>,
}

impl Plan {
    pub(crate) fn new(
        mut point: ReadPoint,
        request: &QueryRequest,
        asked: Moment,
        now: Timestamp,
    ) -> Result<Self, FoldDbError> {
        check_request(request)?;
        let cursor = pinned(&mut point, request.cursor.as_deref(), asked)?;
        let Start { mark, after, now } = Start::new(request, cursor, now)?;
        let entry = readable(&point, &request.schema)?;
        let parameters: BTreeMap<String, lang::Value<'static>> = request
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), to_lang(value).into_owned()))
            .collect();
        let names = QueryNames::new(&point, &entry, &parameters, request.sources());
        let mut binder = Binder::new(&point, Some(&entry), now);
        // A schema that may not be read is none that a program knows, and that is why.
        let told = |error: FoldDbError| names.refusal().map_or(error, FoldDbError::from);
        let filter = match request.filter.as_deref() {
            Some(source) => Some(filter(&mut binder, &names, "where", source).map_err(told)?),
            None => None,
        };
        let is_grouped = request.is_grouped();
        if request.having.is_some() && !is_grouped {
            let rule = "is a condition for groups; `where` is one for records".to_owned();
            return Err(QueryError::InvalidClause { place: "having".into(), rule }.into());
        }
        let mut output = if is_grouped {
            grouped(&mut binder, &names, &parameters, request, now).map_err(told)?
        } else {
            records(&mut binder, &names, request).map_err(told)?
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
            inline_elements: request.inline_elements,
            counts: Counts::default(),
        };
        if !is_grouped {
            plan.check_cursor(request)?;
        }
        Ok(plan)
    }

    /// A cursor of a query of records stands at one in its range.
    fn check_cursor(&self, request: &QueryRequest) -> Result<(), FoldDbError> {
        let Some(after) = self.after.as_deref().filter(|_| self.entry.schema.is_keyed()) else {
            return Ok(());
        };
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
        let (projection, inline_elements) = (&entry.projection, INLINE_ELEMENTS_MAX);
        RecordReader { point, entry: &entry, projection, inline_elements }.one(&key)
    }

    /// The computed fields among those that the query reads whose values may be old.
    pub(super) fn stale(&self) -> Vec<FieldName> {
        let published = &self.point.published;
        if !self.point.is_current() {
            return Vec::new();
        }
        let is_stale = |name: &&FieldName| {
            let place = self.entry.place(name.as_str());
            let transform = place.and_then(|place| {
                published.catalogue.propagation(place.schema)?.computing(place.field)
            });
            transform.is_some_and(|found| Pipeline::is_stale(published, found.id))
        };
        self.fields.iter().filter(is_stale).cloned().collect()
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
        let has_left_index = self.counts.has_left_index.get();
        if has_left_index {
            steps.push("that leads to too many: read all records instead".to_owned());
        }
        let is_filtered = has_left_index || !self.choice.is_exact;
        if let Some(filter) = self.filter.as_ref().filter(|_| is_filtered) {
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

    /// Whether all that is asked is how many records there are.
    pub(super) fn is_plain_count(&self, grouping: &Grouping) -> bool {
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
    pub(super) fn counts_entries(&self, grouping: &Grouping) -> bool {
        self.counts_all(grouping) && matches!(self.choice.access, Access::Index(_))
    }

    fn counts_all(&self, grouping: &Grouping) -> bool {
        let mut aggregates = grouping.aggregates.iter();
        grouping.keys.is_empty()
            && (self.filter.is_none() || self.choice.is_exact)
            && aggregates.all(|of| of.kind == AggregateKind::Count && of.argument.is_none())
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
        // Without a limit an answer has no cursor.
        let has_cursor = request.limit.is_some() || request.cursor.is_some();
        let mark = if has_cursor { request.mark() } else { Vec::new() };
        let mut start = Self { mark, after: None, now };
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
            Some([]) => return Err(clause("select", "names no column to be distinct in").into()),
            Some(texts) => named_columns(texts, "select")?,
            None => {
                let fields = entry.schema.fields.iter().map(|field| field.name.to_string());
                named_columns(&fields.collect::<Vec<_>>(), "select")?
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
        let Aggregate { name, call } = Aggregate::parse(&place, text)?;
        let AggregateCall { kind, source, .. } = call;
        let argument = match source {
            Some(source) => Some(expression(binder, names, place.clone(), &source)?),
            None => None,
        };
        let of = argument.as_ref().map(|argument| argument.program().result_type());
        if let (AggregateKind::Sum | AggregateKind::Average, Some(of)) = (kind, of)
            && !of.may_be_number()
        {
            let rule = format!("is of numbers, and this is {of}");
            return Err(QueryError::InvalidClause { place, rule }.into());
        }
        let aggregate = BoundAggregate { kind, argument, place };
        scope = scope.with(name.as_str(), aggregate.result_type());
        all.push(name);
        aggregates.push(aggregate);
    }
    if let Some(twice) =
        all.iter().enumerate().find(|(at, name)| all.iter().take(*at).any(|n| n == *name))
    {
        let rule = format!("`{}` names two columns", twice.1);
        let place = if request.distinct { "select" } else { "group_by" };
        return Err(clause(place, &rule).into());
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
