//! The groups that aggregates are kept in: rows of counts and sums, and of values in order.
//!
//! A transform has for each of its aggregates and each group a row with the number of records, of
//! those that cannot be computed, and the exact sum. For `min`, `max` and `count_distinct` there is
//! a row for each different value, with how many records have it, for `first` and `last` one for
//! each record, so that the next one is there when one goes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use datafold_lang::{self as lang, ExactSum};
use datafold_store::{BatchKey, Keyspace, Scan};
use minicbor::{Decoder, Encoder};

use super::aggregate::{Aggregate, Contribution, Item, value_of};
use super::error::DataLayerError;
use super::ids::TransformId;
use super::read_point::ReadPoint;
use super::record::{LiveRecord, ok};
use super::rows::{BEHIND_PARTS, Rows};
use super::serialization::RowError;
use super::transform::{Evaluation, Transform};
use super::working_set::RowSource;
use crate::model::AggregateKind;

/// A group: the transform, the place of the aggregate in it, and the key of the record it is for.
pub(super) type GroupName = (TransformId, usize, Bytes);

/// What is counted of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GroupState {
    /// Records, or different values where values are kept.
    count: u64,
    /// Records of which it cannot be computed what they contribute.
    failed: u64,
    sum: ExactSum,
}

impl GroupState {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        ok(Encoder::new(&mut out)
            .array(3)
            .and_then(|e| e.u64(self.count))
            .and_then(|e| e.u64(self.failed))
            .and_then(|e| e.bytes(&self.sum.to_bytes())));
        out.into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(3) {
            return Err(RowError::Malformed("a group has three parts"));
        }
        let (count, failed) = (decoder.u64()?, decoder.u64()?);
        let sum = ExactSum::from_bytes(decoder.bytes()?);
        let sum = sum.ok_or(RowError::Malformed("not the sum of a group"))?;
        Ok(Self { count, failed, sum })
    }

    /// The row that would be written of what one says.
    pub(super) fn own_form(row: &[u8]) -> Result<Vec<u8>, RowError> {
        Ok(Self::decode(row)?.encode().to_vec())
    }
}

/// The row of a value: how many records have it, and the value.
pub(super) fn encode_value_row(count: u64, raw: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(raw.len() + 12);
    ok(Encoder::new(&mut out).array(2).and_then(|e| e.u64(count)).and_then(|e| e.bytes(raw)));
    out.into()
}

pub(super) fn decode_value_row(row: &[u8]) -> Result<(u64, Bytes), RowError> {
    let mut decoder = Decoder::new(row);
    if decoder.array()? != Some(2) {
        return Err(RowError::Malformed("a value of a group has two parts"));
    }
    Ok((decoder.u64()?, Bytes::copy_from_slice(decoder.bytes()?)))
}

/// Where groups are read that were not changed yet.
pub(super) struct GroupSource<'s> {
    pub(super) rows: Rows,
    /// Whether there may be any.
    pub(super) has_rows: bool,
    pub(super) newest: &'s mut dyn RowSource,
}

/// Groups as they are changed. What was not read yet is read where it is needed.
#[derive(Debug, Default)]
pub(super) struct Groups {
    states: BTreeMap<GroupName, (Option<Bytes>, GroupState)>,
    /// Rows of values, by their keys behind the group; `None` for one that goes.
    items: BTreeMap<GroupName, BTreeMap<Bytes, Option<Bytes>>>,
}

impl Groups {
    /// Adds what a record contributes, or takes it away.
    pub(super) fn apply(
        &mut self,
        source: &mut GroupSource<'_>,
        (transform, slot): (TransformId, usize),
        contribution: &Contribution,
        is_added: bool,
    ) -> Result<(), DataLayerError> {
        let name = (transform, slot, contribution.group.clone());
        let key = source.rows.group(transform, slot, &name.2);
        let malformed =
            |rule| Err(DataLayerError::row(Keyspace::Indexes, &key, RowError::Malformed(rule)));
        let items = &mut self.items;
        let state = state(&mut self.states, source, &name)?;
        let change = |count: &mut u64| {
            let changed = count.checked_add_signed(if is_added { 1 } else { -1 });
            changed.map(|changed| *count = changed)
        };
        let changed = match &contribution.item {
            Item::Failed => change(&mut state.failed),
            Item::Counted => change(&mut state.count),
            Item::Number(number) => {
                match is_added {
                    true => state.sum.add(number),
                    false => state.sum.remove(number),
                };
                change(&mut state.count)
            }
            Item::Placed(place, raw) => {
                let row = is_added.then(|| raw.clone());
                items.entry(name).or_default().insert(place.clone(), row);
                change(&mut state.count)
            }
            Item::Value(value, raw) => {
                let row_key = source.rows.group_item(transform, slot, &name.2, value);
                let items = items.entry(name).or_default();
                let row = match items.get(value) {
                    Some(row) => row.clone(),
                    None => source.newest.read(Keyspace::Indexes, &row_key)?,
                };
                let mut count = match &row {
                    Some(row) => {
                        let found = decode_value_row(row);
                        let found = found.map_err(|error| {
                            DataLayerError::row(Keyspace::Indexes, &row_key, error)
                        });
                        found?.0
                    }
                    None => 0,
                };
                let before = count;
                let changed = change(&mut count);
                let row = (count > 0).then(|| encode_value_row(count, raw));
                items.insert(value.clone(), row);
                match (before, count) {
                    _ if changed.is_none() => None,
                    (0, _) | (_, 0) => change(&mut state.count),
                    _ => Some(()),
                }
            }
        };
        match changed {
            Some(()) => Ok(()),
            None => malformed("a group has less than is taken away from it"),
        }
    }

    /// The value of an aggregate for a record, or why it has none.
    pub(super) fn value(
        &mut self,
        source: &mut GroupSource<'_>,
        aggregate: &Aggregate,
        name: &GroupName,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let found = state(&mut self.states, source, name)?.clone();
        if found.failed > 0 {
            let of = &aggregate.definition.of;
            let rule = format!(
                "`{}` cannot be computed: {} of the records of `{of}` have no value that it takes",
                aggregate.definition.name, found.failed
            );
            return Ok(Err(Evaluation::of_result("aggregate_failed", rule)));
        }
        let overflow = || {
            let rule = format!("`{}` is larger than any number", aggregate.definition.name);
            Evaluation::of_result("overflow", rule)
        };
        let count = || i64::try_from(found.count).map_err(|_| overflow()).map(lang::Value::Int);
        Ok(match aggregate.definition.aggregate.kind {
            AggregateKind::Count | AggregateKind::CountDistinct => count(),
            AggregateKind::Sum => found.sum.value().ok_or_else(overflow),
            AggregateKind::Average if found.count == 0 => Ok(lang::Value::Null),
            AggregateKind::Average => found.sum.average(found.count).ok_or_else(overflow),
            _ if found.count == 0 => Ok(lang::Value::Null),
            kind => {
                let is_last = matches!(kind, AggregateKind::Max | AggregateKind::Last);
                let Some((key, row)) = self.end(source, name, is_last)? else {
                    return Ok(Ok(lang::Value::Null));
                };
                let raw = match kind.has_order() {
                    true => Ok(row),
                    false => decode_value_row(&row).map(|(_, raw)| raw),
                };
                let value = raw.and_then(|raw| Ok(value_of(&raw)?));
                Ok(value.map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))?)
            }
        })
    }

    /// The first or last row of a group's values, with its key.
    fn end(
        &self,
        source: &mut GroupSource<'_>,
        name: &GroupName,
        is_last: bool,
    ) -> Result<Option<(Bytes, Bytes)>, DataLayerError> {
        let (transform, slot, group) = name;
        let prefix = source.rows.group_items(*transform, *slot, group);
        let changed = self.items.get(name);
        let mut written = changed.into_iter().flatten().filter_map(|(key, row)| {
            Some((Bytes::from([&prefix[..], key].concat()), row.clone()?))
        });
        let written = if is_last { written.next_back() } else { written.next() };
        if !source.has_rows {
            return Ok(written);
        }
        let gone = changed.map_or(0, |of| of.values().filter(|row| row.is_none()).count());
        let mut scan = Scan::prefix(Keyspace::Indexes, &prefix).rows(gone.saturating_add(1));
        scan.upper = Bound::Excluded([&prefix[..], &[BEHIND_PARTS]].concat());
        let scan = if is_last { scan.reverse() } else { scan };
        let is_there = |key: &Bytes| {
            let behind = key.get(prefix.len()..).unwrap_or_default();
            changed.is_none_or(|of| of.get(behind).is_none_or(Option::is_some))
        };
        let stored = source.newest.keys(&scan)?.into_iter().find(is_there);
        let Some(stored) = stored else { return Ok(written) };
        if let Some((key, row)) = written
            && (key == stored || (key < stored) != is_last)
        {
            return Ok(Some((key, row)));
        }
        let row = source.newest.read(Keyspace::Indexes, &stored)?;
        Ok(row.map(|row| (stored, row)))
    }

    /// Writes what has changed.
    pub(super) fn finish(self, rows: Rows, writes: &mut Vec<(BatchKey, Option<Bytes>)>) {
        for ((transform, slot, group), (before, state)) in self.states {
            let row = (state != GroupState::default()).then(|| state.encode());
            if row != before {
                let key = rows.group(transform, slot, &group);
                writes.push(((Keyspace::Indexes, key), row));
            }
        }
        for ((transform, slot, group), items) in self.items {
            for (item, row) in items {
                let key = rows.group_item(transform, slot, &group, &item);
                writes.push(((Keyspace::Indexes, key), row));
            }
        }
    }
}

/// The state of a group, read unless it is there.
fn state<'g>(
    states: &'g mut BTreeMap<GroupName, (Option<Bytes>, GroupState)>,
    source: &mut GroupSource<'_>,
    name: &GroupName,
) -> Result<&'g mut GroupState, DataLayerError> {
    match states.entry(name.clone()) {
        Entry::Occupied(found) => Ok(&mut found.into_mut().1),
        Entry::Vacant(place) => {
            let (transform, slot, group) = name;
            let key = source.rows.group(*transform, *slot, group);
            let row = source.newest.read(Keyspace::Indexes, &key)?;
            let state = match &row {
                Some(row) => GroupState::decode(row)
                    .map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))?,
                None => GroupState::default(),
            };
            Ok(&mut place.insert((row, state)).1)
        }
    }
}

/// The value of an aggregate as the rows have it.
pub(super) fn stored_value(
    rows: Rows,
    newest: &mut dyn RowSource,
    transform: &Transform,
    slot: usize,
    group: &Bytes,
) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
    let Some(aggregate) = transform.aggregates().get(slot) else {
        return Ok(Ok(lang::Value::Null));
    };
    let name = (transform.id, slot, group.clone());
    let mut source = GroupSource { rows, has_rows: true, newest };
    Groups::default().value(&mut source, aggregate, &name)
}

/// The groups of an aggregate, made from the records as of a point.
#[derive(Debug, Default)]
pub(crate) struct GatheredGroups {
    groups: Groups,
    gathered: BTreeSet<(TransformId, usize)>,
}

impl GatheredGroups {
    /// The value of an aggregate; its groups are made first, of the records as of the point.
    ///
    /// # Cost
    ///
    /// The first call for an aggregate reads all records that it is over; the groups are in memory.
    pub(crate) fn value(
        &mut self,
        point: &ReadPoint,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let Some(aggregate) = transform.aggregates().get(slot) else {
            return Ok(Ok(lang::Value::Null));
        };
        let name = (transform.id, slot);
        let mut source = GroupSource { rows: point.rows, has_rows: false, newest: &mut NoRows };
        if self.gathered.insert(name) {
            let mut last = None;
            loop {
                let page = point.records_after(aggregate.records, last.as_ref(), Scan::ROWS_MAX)?;
                for record in &page {
                    let Some(live) = point.live(aggregate.records, record)? else { continue };
                    let value = |field| live.cell(field)?.value.as_ref();
                    if let Some(of_record) = aggregate.contribution(record, &value) {
                        self.groups.apply(&mut source, name, &of_record, true)?;
                    }
                }
                match page.last() {
                    Some(reached) => last = Some(reached.clone()),
                    None => break,
                }
            }
        }
        self.groups.value(&mut source, aggregate, &(name.0, name.1, record.clone()))
    }
}

/// The groups of aggregates while the commits of a space are gone through from the first on.
#[derive(Debug, Default)]
pub(super) struct ReplayedGroups {
    groups: Groups,
}

impl ReplayedGroups {
    /// Takes away what a record contributed before a commit, and adds what it does behind it.
    pub(super) fn change(
        &mut self,
        rows: Rows,
        (transform, slot): (&Transform, usize),
        record: &Bytes,
        before: Option<&LiveRecord>,
        after: Option<&LiveRecord>,
    ) -> Result<(), DataLayerError> {
        let Some(aggregate) = transform.aggregates().get(slot) else { return Ok(()) };
        let mut source = GroupSource { rows, has_rows: false, newest: &mut NoRows };
        for (live, is_added) in [(before, false), (after, true)] {
            let Some(live) = live else { continue };
            let value = |field| live.cell(field)?.value.as_ref();
            if let Some(of_record) = aggregate.contribution(record, &value) {
                self.groups.apply(&mut source, (transform.id, slot), &of_record, is_added)?;
            }
        }
        Ok(())
    }

    /// The value of an aggregate as of the last commit.
    pub(super) fn value(
        &mut self,
        rows: Rows,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let Some(aggregate) = transform.aggregates().get(slot) else {
            return Ok(Ok(lang::Value::Null));
        };
        let mut source = GroupSource { rows, has_rows: false, newest: &mut NoRows };
        self.groups.value(&mut source, aggregate, &(transform.id, slot, record.clone()))
    }
}

/// A store without rows, for groups that are computed from nothing.
pub(super) struct NoRows;

impl RowSource for NoRows {
    fn read(&mut self, _: Keyspace, _: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        Ok(None)
    }

    fn keys(&mut self, _: &Scan) -> Result<Vec<Bytes>, DataLayerError> {
        Ok(Vec::new())
    }
}
