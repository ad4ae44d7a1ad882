//! Which rows a query reads: by key, through an index, or all.

use std::fmt::Write;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use datafold_lang::{self as lang, Constraint};
use datafold_store::encoding::{KeyPart, KeyWriter};
use datafold_store::{Keyspace, Scan};

use super::super::error::FoldDbError;
use super::program::BoundFilter;
use super::{KeyCondition, Reach, reach_of};
use crate::data_layer::internal::{
    BEHIND_PARTS, INDEX_TEXT_BYTES, Index, IndexPart, IndexState, ReadPoint, index_text,
    part_region,
};
use crate::data_layer::{DataLayerError, SchemaEntry};
use crate::model::{FieldKind, FieldName, RecordKey};

/// Lists of values are combined to at most so many ranges.
const RANGES_MAX: usize = 20_000;
/// Of each way to the rows so many rows are counted before one is chosen.
const PROBE_ROWS: usize = 256;

/// A range of encoded keys.
pub(super) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The way to the rows.
#[derive(Debug)]
pub(super) enum Access {
    /// The records with these keys, ascending.
    Keys(Vec<RecordKey>),
    /// Ranges of the keyspace of records, ascending.
    Ranges(Vec<KeyRange>),
    /// The records of the entries in these ranges of an index, ascending.
    Index(IndexAccess),
}

#[derive(Debug)]
pub(super) struct IndexAccess {
    pub(super) index: Arc<Index>,
    pub(super) ranges: Vec<KeyRange>,
    /// Whether the entries are in the order of the records' keys.
    pub(super) in_key_order: bool,
}

impl IndexAccess {
    /// The rest of one range from the entries on that begin with these parts, behind what all its
    /// entries have in common.
    pub(super) fn behind(&self, start: &[u8], reverse: bool) -> Self {
        let rest = |(lower, upper): &KeyRange| {
            let start = [bytes_of(lower), start].concat();
            match reverse {
                false => (Bound::Included(start), upper.clone()),
                true => (lower.clone(), Bound::Excluded(behind(&start))),
            }
        };
        let ranges = self.ranges.iter().map(rest).collect();
        Self { index: Arc::clone(&self.index), ranges, in_key_order: self.in_key_order }
    }
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) access: Access,
    /// Whether the rows need not be tested.
    pub(super) is_exact: bool,
    /// In words.
    pub(super) words: String,
}

/// What a filter says of a part of the key or a cell.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) part: IndexPart,
    pub(super) is: Is,
    /// Whether no value there is an array or object. In an index these are hashes that stand
    /// among the last texts.
    pub(super) is_scalar: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Is {
    OneOf(Vec<lang::Value<'static>>),
    Between(Bound<lang::Value<'static>>, Bound<lang::Value<'static>>),
    Prefix(String),
}

/// The conditions of a filter that a key or an index can serve.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) all: Vec<Condition>,
    /// Whether they say all that the filter says.
    pub(super) is_exact: bool,
}

impl Conditions {
    pub(super) fn of(filter: &BoundFilter, entry: &SchemaEntry, columns: &[FieldName]) -> Self {
        let found = filter.constraints();
        let mut conditions = Self { all: Vec::new(), is_exact: found.is_exact };
        for constraint in found.all {
            let (slot, is) = match constraint {
                Constraint::OneOf { slot, values } => (slot, Is::OneOf(values)),
                Constraint::Between { slot, lower, upper } => (slot, Is::Between(lower, upper)),
                Constraint::Prefix { slot, prefix } => (slot, Is::Prefix(prefix)),
            };
            let column = filter.bound.column_of(slot).and_then(|column| columns.get(column));
            let part = column.and_then(|name| Some((part_of(entry, name)?, name)));
            match part {
                Some((part, name)) => {
                    let is_scalar = is_scalar(entry, name);
                    conditions.all.push(Condition { part, is, is_scalar });
                }
                None => conditions.is_exact = false,
            }
        }
        conditions
    }
}

/// Where a field is found in keys and indexes, if it is one of the record's own Single ones.
pub(super) fn part_of(entry: &SchemaEntry, name: &FieldName) -> Option<IndexPart> {
    if let Some(part) = entry.schema.key.iter().position(|part| part == name) {
        return Some(IndexPart::Key(part));
    }
    let (place, field) = entry.placed_field(name.as_str())?;
    let is_own = place.schema == entry.records() && field.kind == FieldKind::Single;
    is_own.then_some(IndexPart::Cell(place.field))
}

/// Whether all values of a field are scalars, or null.
pub(super) fn is_scalar(entry: &SchemaEntry, name: &FieldName) -> bool {
    let field = entry.placed_field(name.as_str()).map(|(_, field)| field);
    let value = field.and_then(|field| field.value.as_ref());
    value.is_some_and(|value| value.scalar_type().is_some())
}

/// The ranges of keys or entries that fulfil conditions.
#[derive(Debug)]
struct Served {
    ranges: Vec<KeyRange>,
    /// The conditions that it needs.
    used: Vec<usize>,
    /// How many parts have given values.
    fixed: usize,
    /// Whether every key in the ranges fulfils the conditions.
    is_exact: bool,
}

/// The ranges for the conditions on the first of some parts; `None` if there is no such condition.
fn serve(
    base: Vec<u8>,
    parts: &[IndexPart],
    conditions: &[Condition],
    is_index: bool,
) -> Option<Served> {
    let mut prefixes = vec![base];
    let mut served = Served { ranges: Vec::new(), used: Vec::new(), fixed: 0, is_exact: true };
    let mut last = None;
    for part in parts {
        let of_part = || conditions.iter().enumerate().filter(|(_, found)| found.part == *part);
        let fixed = of_part().find_map(|(at, found)| match &found.is {
            Is::OneOf(values) if prefixes.len() * values.len() <= RANGES_MAX => Some((at, values)),
            _ => None,
        });
        if let Some((at, values)) = fixed {
            served.used.push(at);
            served.fixed += 1;
            let values: Vec<KeyPart> = values.iter().filter_map(key_part).collect();
            prefixes = prefixes
                .iter()
                .flat_map(|prefix| {
                    values.iter().map(|value| with_part(prefix, &entry_form(value, is_index)))
                })
                .collect();
            continue;
        }
        last = of_part().find(|(_, found)| !matches!(found.is, Is::OneOf(_)));
        break;
    }
    if let Some((at, condition)) = last {
        served.used.push(at);
        served.is_exact &= condition.is_scalar || !is_index;
        for prefix in &prefixes {
            let (range, is_exact) = range_of(prefix, &condition.is, is_index);
            served.is_exact &= is_exact;
            served.ranges.extend(range);
        }
    } else if served.fixed > 0 {
        served.ranges.extend(prefixes.into_iter().map(whole));
    } else {
        return None;
    }
    served.ranges.sort_by(|(a, _), (b, _)| bytes_of(a).cmp(bytes_of(b)));
    Some(served)
}

fn bytes_of(bound: &Bound<Vec<u8>>) -> &[u8] {
    match bound {
        Bound::Included(bytes) | Bound::Excluded(bytes) => bytes,
        Bound::Unbounded => &[],
    }
}

/// All that begins with some parts. The key `"a\0"` does not begin with the part `"a"`, although
/// its bytes do.
pub(super) fn whole(prefix: Vec<u8>) -> KeyRange {
    let end = behind(&prefix);
    (Bound::Included(prefix), Bound::Excluded(end))
}

fn behind(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[BEHIND_PARTS]].concat()
}

fn with_part(prefix: &[u8], part: &KeyPart) -> Vec<u8> {
    let mut writer = KeyWriter::from(prefix.to_vec());
    // Constants are finite.
    let _ = writer.part(part);
    writer.into_vec()
}

/// The part of a key that a value is; none for what cannot stand in a key.
fn key_part(value: &lang::Value<'_>) -> Option<KeyPart> {
    Some(match value {
        lang::Value::Null => KeyPart::Null,
        lang::Value::Bool(value) => KeyPart::Bool(*value),
        lang::Value::Int(value) => KeyPart::Int(*value),
        lang::Value::Float(value) => KeyPart::Float(*value),
        lang::Value::Time(time) => KeyPart::Time(time.as_micros()),
        lang::Value::Text(text) => KeyPart::Text(text.as_str().to_owned()),
        lang::Value::Duration(_) | lang::Value::Array(_) | lang::Value::Object(_) => return None,
    })
}

/// As it stands in an index, where long texts are cut.
fn entry_form(part: &KeyPart, is_index: bool) -> KeyPart {
    match part {
        KeyPart::Text(text) if is_index => index_text(text.clone()),
        other => other.clone(),
    }
}

/// The range of a condition behind a prefix, and whether all in it fulfils the condition. No range
/// if nothing can.
fn range_of(prefix: &[u8], condition: &Is, is_index: bool) -> (Option<KeyRange>, bool) {
    // Texts up to this length compare with cut ones as with whole ones.
    let short = |text: &str| !is_index || text.len() <= INDEX_TEXT_BYTES - 4;
    let cut = |text: &str| {
        let mut text = text.to_owned();
        text.truncate(text.floor_char_boundary(INDEX_TEXT_BYTES - 4));
        text
    };
    match condition {
        Is::OneOf(_) => (None, true),
        Is::Prefix(text) => {
            let is_exact = short(text);
            let text = if is_exact { text.clone() } else { cut(text) };
            let mut lower = with_part(prefix, &KeyPart::Text(text));
            // Without the end of the text.
            lower.pop();
            let upper = behind(&lower);
            (Some((Bound::Included(lower), Bound::Excluded(upper))), is_exact)
        }
        Is::Between(lower, upper) => {
            let of = |bound: &Bound<lang::Value<'static>>| match bound {
                Bound::Unbounded => None,
                Bound::Included(value) => Some((key_part(value), true)),
                Bound::Excluded(value) => Some((key_part(value), false)),
            };
            let (lower, upper) = (of(lower), of(upper));
            let Some((Some(some), _)) = lower.as_ref().or(upper.as_ref()) else {
                return (None, true);
            };
            let region = part_region(some);
            let mut is_exact = true;
            let start = match &lower {
                None => [prefix, &[*region.start()]].concat(),
                Some((Some(KeyPart::Text(text)), _)) if !short(text) => {
                    is_exact = false;
                    with_part(prefix, &KeyPart::Text(cut(text)))
                }
                Some((Some(part), true)) => with_part(prefix, part),
                Some((Some(part), false)) => behind(&with_part(prefix, part)),
                Some((None, _)) => return (None, true),
            };
            let end = match &upper {
                None => [prefix, &[region.end() + 1]].concat(),
                Some((Some(KeyPart::Text(text)), _)) if !short(text) => {
                    is_exact = false;
                    let mut end = with_part(prefix, &KeyPart::Text(cut(text)));
                    end.pop();
                    behind(&end)
                }
                Some((Some(part), true)) => behind(&with_part(prefix, part)),
                Some((Some(part), false)) => with_part(prefix, part),
                Some((None, _)) => return (None, true),
            };
            let is_empty = start >= end;
            let range = (Bound::Included(start), Bound::Excluded(end));
            ((!is_empty).then_some(range), is_exact)
        }
    }
}

/// Chooses the way to the rows.
pub(super) fn choose(
    point: &ReadPoint,
    entry: &SchemaEntry,
    key: &KeyCondition,
    conditions: &Conditions,
) -> Result<Choice, FoldDbError> {
    let reach = reach_of(entry, point, key)?;
    let base = match reach {
        Reach::One(key) => {
            let words = if entry.schema.is_keyed() {
                format!("the record with the key {key}")
            } else {
                "the record of the schema".into()
            };
            return Ok(Choice { access: Access::Keys(vec![key]), is_exact: false, words });
        }
        Reach::Range(lower, upper) => (lower, upper),
    };
    if *key != KeyCondition::All {
        let words = "records in a range of keys".to_owned();
        let access = Access::Ranges(vec![base]);
        let is_exact = conditions.all.is_empty() && conditions.is_exact;
        return Ok(Choice { access, is_exact, words });
    }
    let mut candidates = Vec::new();
    let key_parts: Vec<IndexPart> = (0..entry.schema.key.len()).map(IndexPart::Key).collect();
    let records = point.rows.records(entry.records());
    if let Some(served) = serve(records.clone(), &key_parts, &conditions.all, false) {
        if served.fixed == key_parts.len() {
            return Ok(by_keys(entry, &records, served, conditions));
        }
        candidates.push((None, served));
    }
    // Indexes hold current values only.
    if point.is_current() {
        for index in point.published.catalogue.kept_indexes(entry.records()) {
            if index.state == IndexState::Ready
                && let Some(served) =
                    serve(point.rows.index(index.id), &index.parts, &conditions.all, true)
            {
                candidates.push((Some(index), served));
            }
        }
    }
    let chosen = match candidates.len() {
        0 => None,
        1 => candidates.pop(),
        _ => smallest(point, candidates)?,
    };
    Ok(match chosen {
        None => Choice {
            access: Access::Ranges(vec![base]),
            is_exact: conditions.all.is_empty() && conditions.is_exact,
            words: "all records".into(),
        },
        Some((None, served)) => {
            let words = format!("records in {}", words_of(entry, &served, conditions, "the key"));
            let is_exact = says_all(&served, conditions);
            Choice { access: Access::Ranges(served.ranges), is_exact, words }
        }
        Some((Some(index), served)) => {
            let words = words_of(entry, &served, conditions, &index.to_string());
            let is_exact = says_all(&served, conditions);
            let in_key_order = served.ranges.len() <= 1 && served.fixed == index.parts.len();
            let index = Arc::clone(index);
            let access = Access::Index(IndexAccess { index, ranges: served.ranges, in_key_order });
            Choice { access, is_exact, words }
        }
    })
}

fn says_all(served: &Served, conditions: &Conditions) -> bool {
    served.is_exact && conditions.is_exact && served.used.len() == conditions.all.len()
}

fn by_keys(entry: &SchemaEntry, records: &[u8], served: Served, conditions: &Conditions) -> Choice {
    let words = words_of(entry, &served, conditions, "the key");
    let is_exact = says_all(&served, conditions);
    let key = |(lower, _): KeyRange| {
        let key = bytes_of(&lower).get(records.len()..).unwrap_or_default().to_vec();
        RecordKey::from_bytes(key)
    };
    Choice { access: Access::Keys(served.ranges.into_iter().map(key).collect()), is_exact, words }
}

type Candidate<'p> = (Option<&'p Arc<Index>>, Served);

/// The candidate with the fewest rows, as far as it is worth counting.
fn smallest<'p>(
    point: &ReadPoint,
    candidates: Vec<Candidate<'p>>,
) -> Result<Option<Candidate<'p>>, FoldDbError> {
    let mut best: Option<(usize, usize, Candidate<'p>)> = None;
    for candidate in candidates {
        let keyspace = if candidate.0.is_some() { Keyspace::Indexes } else { Keyspace::Records };
        let mut rows = 0;
        for (lower, upper) in &candidate.1.ranges {
            let scan = Scan::range(keyspace, lower.clone(), upper.clone()).rows(PROBE_ROWS);
            let visit = &mut |_: &[u8], _: &[u8]| {
                rows += 1;
                if rows < PROBE_ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            point.published.snapshot.for_each(&scan, visit).map_err(DataLayerError::from)?;
            if rows >= PROBE_ROWS {
                break;
            }
        }
        let used = candidate.1.used.len();
        let is_better = best.as_ref().is_none_or(|(best_rows, best_used, _)| {
            rows < *best_rows || rows == *best_rows && used > *best_used
        });
        if is_better {
            best = Some((rows, used, candidate));
        }
    }
    Ok(best.map(|(_, _, candidate)| candidate))
}

/// What is served, in words: `the index on carrier: carrier = "UA"`.
fn words_of(entry: &SchemaEntry, served: &Served, conditions: &Conditions, what: &str) -> String {
    let mut words = format!("{what}: ");
    for (nth, at) in served.used.iter().enumerate() {
        let Some(condition) = conditions.all.get(*at) else { continue };
        if nth > 0 {
            words.push_str(" and ");
        }
        let name = name_of(entry, condition.part);
        let _ = match &condition.is {
            Is::OneOf(values) => match &values[..] {
                [value] => write!(words, "{name} == {value}"),
                values => write!(words, "{name} in {} values", values.len()),
            },
            Is::Prefix(prefix) => {
                write!(words, "starts_with({name}, {})", lang::Value::from(prefix.as_str()))
            }
            Is::Between(lower, upper) => write_between(&mut words, &name, lower, upper),
        };
    }
    words
}

fn write_between(
    words: &mut String,
    name: &str,
    lower: &Bound<lang::Value<'static>>,
    upper: &Bound<lang::Value<'static>>,
) -> std::fmt::Result {
    match lower {
        Bound::Included(value) => write!(words, "{name} >= {value}")?,
        Bound::Excluded(value) => write!(words, "{name} > {value}")?,
        Bound::Unbounded => {}
    }
    if *lower != Bound::Unbounded && *upper != Bound::Unbounded {
        words.push_str(" and ");
    }
    match upper {
        Bound::Included(value) => write!(words, "{name} <= {value}"),
        Bound::Excluded(value) => write!(words, "{name} < {value}"),
        Bound::Unbounded => Ok(()),
    }
}

fn name_of(entry: &SchemaEntry, part: IndexPart) -> String {
    let name = match part {
        IndexPart::Key(at) => entry.schema.key.get(at).map(ToString::to_string),
        IndexPart::Cell(field) => {
            let mut fields = entry.fields();
            let found =
                fields.find(|(place, _)| place.schema == entry.records() && place.field == field);
            found.map(|(_, field)| field.name.to_string())
        }
    };
    name.unwrap_or_else(|| "?".into())
}

/// An index whose order is that of some sort keys, behind values that the filter fixes.
pub(super) fn ordered_index(
    point: &ReadPoint,
    entry: &SchemaEntry,
    sort: &[IndexPart],
    conditions: &Conditions,
) -> Option<(IndexAccess, bool, String)> {
    if !point.is_current() {
        return None;
    }
    let indexes = point.published.catalogue.kept_indexes(entry.records());
    indexes.iter().filter(|index| index.state == IndexState::Ready).find_map(|index| {
        let fixed = index.parts.len().checked_sub(sort.len())?;
        let (before, behind) = index.parts.split_at_checked(fixed)?;
        if behind != sort {
            return None;
        }
        let base = point.rows.index(index.id);
        let mut words = format!("{index}, in its order");
        let mut is_exact = conditions.all.is_empty() && conditions.is_exact;
        let range = if before.is_empty() {
            whole(base)
        } else {
            let served = serve(base, before, &conditions.all, true)?;
            if served.fixed != fixed || served.ranges.len() != 1 {
                return None;
            }
            is_exact = says_all(&served, conditions);
            words = words_of(entry, &served, conditions, &words);
            served.ranges.into_iter().next()?
        };
        let index = Arc::clone(index);
        Some((IndexAccess { index, ranges: vec![range], in_key_order: false }, is_exact, words))
    })
}

#[cfg(test)]
mod tests;
