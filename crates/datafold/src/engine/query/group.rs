//! Groups of records, and what is computed of each.

use std::collections::{HashMap, HashSet};

use datafold_lang::{self as lang, ExactSum, Type};

use super::super::error::{FoldDbError, QueryError};
use super::order::write_value;
use super::program::{Bound, RowView, Surroundings};
use crate::model::{AggregateKind, RecordKey};

/// The most bytes that groups and sets of distinct values take in memory.
pub(super) const GROUP_BYTES_MAX: usize = 64 << 20;
/// What a group, and a value in a set, take besides their bytes.
const GROUP_BYTES: usize = 128;

/// An aggregate whose argument is found; `count()` has none.
#[derive(Debug)]
pub(super) struct BoundAggregate {
    pub(super) kind: AggregateKind,
    pub(super) argument: Option<Bound>,
    /// Where it stands in the request.
    pub(super) place: String,
}

impl BoundAggregate {
    /// The type of its results.
    pub(super) fn result_type(&self) -> Type {
        match (self.kind, &self.argument) {
            (AggregateKind::Count | AggregateKind::CountDistinct, _) => Type::INTEGER,
            (AggregateKind::Sum | AggregateKind::Average, _) => Type::NUMBER,
            (_, Some(of)) => of.program().result_type().clone(),
            (_, None) => Type::ANY,
        }
    }

    fn start(&self) -> Accumulator {
        match self.kind {
            AggregateKind::Count => Accumulator::Count(0),
            AggregateKind::CountDistinct => Accumulator::Distinct(HashSet::new()),
            AggregateKind::Sum => Accumulator::Sum(ExactSum::new()),
            AggregateKind::Average => Accumulator::Average(ExactSum::new(), 0),
            // Those with an order are refused where a query is read.
            AggregateKind::Min | AggregateKind::First => Accumulator::Min(None),
            AggregateKind::Max | AggregateKind::Last => Accumulator::Max(None),
        }
    }
}

#[derive(Debug)]
enum Accumulator {
    Count(u64),
    Distinct(HashSet<Box<[u8]>>),
    Sum(ExactSum),
    Average(ExactSum, u64),
    Min(Option<lang::Value<'static>>),
    Max(Option<lang::Value<'static>>),
}

impl Accumulator {
    /// Adds a value that is not null; answers by how many bytes of memory it has grown, or `None`
    /// for a value that is no number where one is needed.
    fn add(&mut self, value: &lang::Value<'_>) -> Option<i64> {
        match self {
            Accumulator::Count(count) => *count += 1,
            Accumulator::Distinct(set) => {
                let mut bytes = Vec::new();
                write_value(value, &mut bytes);
                let taken = signed(bytes.len() + GROUP_BYTES / 2);
                return Some(if set.insert(bytes.into()) { taken } else { 0 });
            }
            Accumulator::Sum(sum) => return add_to(sum, value),
            Accumulator::Average(sum, count) => {
                *count += 1;
                return add_to(sum, value);
            }
            Accumulator::Min(least) => {
                if least.as_ref().is_none_or(|least| value.cmp_values(least).is_lt()) {
                    return Some(replace(least, value));
                }
            }
            Accumulator::Max(most) => {
                if most.as_ref().is_none_or(|most| value.cmp_values(most).is_gt()) {
                    return Some(replace(most, value));
                }
            }
        }
        Some(0)
    }

    /// The result; `None` if it is larger than any number.
    fn result(self) -> Option<lang::Value<'static>> {
        let count = |count: u64| lang::Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        Some(match self {
            Accumulator::Count(found) => count(found),
            Accumulator::Distinct(set) => count(set.len() as u64),
            Accumulator::Sum(sum) => sum.value()?,
            Accumulator::Average(_, 0) => lang::Value::Null,
            Accumulator::Average(sum, count) => sum.average(count)?,
            Accumulator::Min(value) | Accumulator::Max(value) => value.unwrap_or_default(),
        })
    }
}

/// Adds a value to a sum; answers by how many bytes it has grown, or `None` if it is no number.
fn add_to(sum: &mut ExactSum, value: &lang::Value<'_>) -> Option<i64> {
    let before = sum.weight();
    sum.add(value).then(|| signed(sum.weight()) - signed(before))
}

/// Keeps a value in the place of another one; answers by how many bytes it is larger.
fn replace(kept: &mut Option<lang::Value<'static>>, value: &lang::Value<'_>) -> i64 {
    let before = kept.as_ref().map_or(0, |kept| signed(kept.weight()));
    *kept = Some(value.clone().into_owned());
    signed(value.weight()) - before
}

fn signed<T>(bytes: T) -> i64
where
    i64: TryFrom<T>,
{
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Groups while records are added.
#[derive(Debug)]
pub(super) struct Groups<'q> {
    keys: &'q [Bound],
    aggregates: &'q [BoundAggregate],
    by_key: HashMap<Box<[u8]>, usize>,
    groups: Vec<Group>,
    bytes: i64,
    /// The key of the row, and the group of the row before.
    key: Vec<u8>,
    last: Option<(Vec<u8>, usize)>,
}

#[derive(Debug)]
struct Group {
    values: Vec<lang::Value<'static>>,
    accumulators: Vec<Accumulator>,
}

impl<'q> Groups<'q> {
    pub(super) fn new(keys: &'q [Bound], aggregates: &'q [BoundAggregate]) -> Self {
        let mut groups = Self {
            keys,
            aggregates,
            by_key: HashMap::new(),
            groups: Vec::new(),
            bytes: 0,
            key: Vec::new(),
            last: None,
        };
        // Without keys there is one group, also of nothing.
        if keys.is_empty() {
            groups.groups.push(groups.start(Vec::new()));
            groups.last = Some((Vec::new(), 0));
        }
        groups
    }

    fn start(&self, values: Vec<lang::Value<'static>>) -> Group {
        let accumulators = self.aggregates.iter().map(BoundAggregate::start).collect();
        Group { values, accumulators }
    }

    pub(super) fn add(
        &mut self,
        row: &RowView<'_>,
        around: &Surroundings,
    ) -> Result<(), FoldDbError> {
        let at = self.find(row, around)?;
        let Some(group) = self.groups.get_mut(at) else { return Ok(()) };
        for (aggregate, accumulator) in self.aggregates.iter().zip(&mut group.accumulators) {
            let Some(argument) = &aggregate.argument else {
                accumulator.add(&lang::Value::Bool(true));
                continue;
            };
            let added = argument.evaluate(row, around, |value| {
                if value.is_null() {
                    Ok(0)
                } else {
                    accumulator.add(&value).ok_or(value.type_name())
                }
            })?;
            match added {
                Ok(bytes) => self.bytes += bytes,
                Err(found) => {
                    let record = row.key.map(|key| RecordKey::from_bytes(key.to_vec()));
                    let record = record.map(|key| format!(" {key}")).unwrap_or_default();
                    let rule = format!("is of numbers, and the record{record} has {found}");
                    let place = aggregate.place.clone();
                    return Err(QueryError::InvalidClause { place, rule }.into());
                }
            }
        }
        if self.bytes > signed(GROUP_BYTES_MAX) {
            return Err(QueryError::TooManyGroups { limit: GROUP_BYTES_MAX }.into());
        }
        Ok(())
    }

    /// Counts records that are not read, of the only group.
    pub(super) fn count(&mut self, records: u64) {
        for accumulator in self.groups.iter_mut().flat_map(|group| &mut group.accumulators) {
            if let Accumulator::Count(count) = accumulator {
                *count += records;
            }
        }
    }

    /// The group of a row.
    fn find(&mut self, row: &RowView<'_>, around: &Surroundings) -> Result<usize, FoldDbError> {
        self.key.clear();
        for key in self.keys {
            key.evaluate(row, around, |value| write_value(&value, &mut self.key))?;
        }
        if let Some((key, at)) = &self.last
            && *key == self.key
        {
            return Ok(*at);
        }
        let at = match self.by_key.get(self.key.as_slice()) {
            Some(at) => *at,
            None => {
                let mut values = Vec::with_capacity(self.keys.len());
                let taken = self.key.len() + GROUP_BYTES * (1 + self.aggregates.len());
                self.bytes += signed(taken);
                for key in self.keys {
                    // An array takes far more than its part of the key.
                    values.push(key.evaluate(row, around, |value| {
                        self.bytes += signed(value.weight());
                        value.into_owned()
                    })?);
                }
                let at = self.groups.len();
                self.groups.push(self.start(values));
                self.by_key.insert(self.key.as_slice().into(), at);
                at
            }
        };
        let (last, last_at) = self.last.get_or_insert_default();
        last.clone_from(&self.key);
        *last_at = at;
        Ok(at)
    }

    /// The rows of the groups: their keys, then their aggregates.
    pub(super) fn finish(self) -> Result<Vec<Vec<lang::Value<'static>>>, FoldDbError> {
        let aggregates = self.aggregates;
        let row = |group: Group| {
            let mut values = group.values;
            for (aggregate, accumulator) in aggregates.iter().zip(group.accumulators) {
                let result = accumulator.result().ok_or_else(|| QueryError::InvalidClause {
                    place: aggregate.place.clone(),
                    rule: "the result is larger than any number".into(),
                })?;
                values.push(result);
            }
            Ok(values)
        };
        self.groups.into_iter().map(row).collect()
    }
}
