//! Expressions of a query, with where their inputs come from.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound as RangeBound, Range};
use std::sync::Arc;

use datafold_lang::{self as lang, Constraint, InputError, Inputs, Program};

use super::super::elements::INLINE_ELEMENTS_MAX;
use super::super::error::{FoldDbError, QueryError};
use super::names::other_schema;
use super::reader::RecordReader;
use crate::data_layer::SchemaEntry;
use crate::data_layer::internal::{Projection, ReadPoint, locate_plain};
use crate::model::{FieldName, RecordKey, Timestamp, Value, decode_lang, from_lang, to_lang};

/// At most so many looked up values are kept, so that those that are asked for again are at hand.
const LOOKUPS_KEPT_MAX: usize = 10_000;
/// They take at most about so many bytes.
const LOOKUP_BYTES_MAX: u64 = 16 << 20;
/// What one takes besides its key and value.
const LOOKUP_BYTES: u64 = 128;

/// Where a cell's value is in its row; empty for a cell without value.
type Span = Range<usize>;

/// A program whose inputs are found.
#[derive(Debug)]
pub(super) struct Bound {
    program: Program,
    slots: Box<[Slot]>,
    targets: Box<[usize]>,
    /// The column, if it is nothing but one.
    pub(super) direct: Option<usize>,
    /// Where it stands in the request, such as `sort[0]`.
    place: String,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Column(usize),
    Constant(usize),
}

/// A field of another schema's records, found by their key.
#[derive(Debug)]
struct Target {
    entry: Arc<SchemaEntry>,
    projection: Projection,
}

/// What the programs of a query read besides their row.
#[derive(Debug)]
pub(super) struct Surroundings {
    point: ReadPoint,
    now: Timestamp,
    constants: Vec<lang::Value<'static>>,
    targets: Vec<Target>,
    found: RefCell<Found>,
}

/// Looked up values by place and key.
#[derive(Debug, Default)]
struct Found {
    values: HashMap<(usize, RecordKey), lang::Value<'static>>,
    bytes: u64,
}

impl Found {
    fn keep(&mut self, place: (usize, RecordKey), value: &lang::Value<'static>) {
        let bytes = LOOKUP_BYTES + place.1.as_bytes().len() as u64 + value.weight();
        if self.values.len() >= LOOKUPS_KEPT_MAX || self.bytes + bytes > LOOKUP_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += bytes;
        self.values.insert(place, value.clone());
    }
}

/// Gives the programs of a query their inputs.
#[derive(Debug)]
pub(super) struct Binder<'p> {
    /// The schema whose fields the columns are; without, they are given.
    entry: Option<&'p SchemaEntry>,
    /// The columns that are read, each once.
    pub(super) columns: Vec<FieldName>,
    pub(super) surroundings: Surroundings,
    constants: BTreeMap<(String, String), usize>,
}

impl<'p> Binder<'p> {
    pub(super) fn new(point: &ReadPoint, entry: Option<&'p SchemaEntry>, now: Timestamp) -> Self {
        let surroundings = Surroundings {
            point: point.clone(),
            now,
            constants: Vec::new(),
            targets: Vec::new(),
            found: RefCell::default(),
        };
        Self { entry, columns: Vec::new(), surroundings, constants: BTreeMap::new() }
    }

    /// For rows that have these columns.
    pub(super) fn of_columns(point: &ReadPoint, columns: Vec<FieldName>, now: Timestamp) -> Self {
        Self { columns, ..Self::new(point, None, now) }
    }

    pub(super) fn point(&self) -> &ReadPoint {
        &self.surroundings.point
    }

    pub(super) fn bind(&mut self, program: Program, place: String) -> Result<Bound, FoldDbError> {
        let mut slots = Vec::with_capacity(program.inputs().len());
        for input in program.inputs() {
            let (schema, field) = (input.path.schema.as_deref(), &input.path.field);
            slots.push(match schema {
                Some(schema) if !self.is_own(schema) => {
                    Slot::Constant(self.constant(schema, field)?)
                }
                _ => Slot::Column(self.column(field)?),
            });
        }
        let mut targets = Vec::with_capacity(program.lookups().len());
        for lookup in program.lookups() {
            let schema = lookup.path.schema.as_deref().unwrap_or_default();
            targets.push(self.target(schema, &lookup.path.field)?);
        }
        let direct = match (&slots[..], program.inputs()) {
            ([Slot::Column(column)], [input]) if program.source().trim() == input.path.field => {
                Some(*column)
            }
            _ => None,
        };
        Ok(Bound { program, slots: slots.into(), targets: targets.into(), direct, place })
    }

    fn is_own(&self, schema: &str) -> bool {
        self.entry.is_some_and(|entry| entry.schema.name.as_str() == schema)
    }

    fn column(&mut self, field: &str) -> Result<usize, QueryError> {
        if let Some(at) = self.columns.iter().position(|column| column.as_str() == field) {
            return Ok(at);
        }
        let found = self.entry.and_then(|entry| entry.schema.field(field));
        // The names that a program was compiled with are those of the schema or the columns.
        let found = found.ok_or_else(|| gone(field))?;
        self.columns.push(found.name.clone());
        Ok(self.columns.len() - 1)
    }

    /// A field of a one-record schema: read once.
    fn constant(&mut self, schema: &str, field: &str) -> Result<usize, FoldDbError> {
        let path = (schema.to_owned(), field.to_owned());
        if let Some(at) = self.constants.get(&path) {
            return Ok(*at);
        }
        let target = make_target(&self.surroundings.point, schema, field)?;
        let value = read_target(&self.surroundings.point, &target, &RecordKey::EMPTY)?;
        let at = self.surroundings.constants.len();
        self.surroundings.constants.push(value);
        self.constants.insert(path, at);
        Ok(at)
    }

    fn target(&mut self, schema: &str, field: &str) -> Result<usize, FoldDbError> {
        self.surroundings.targets.push(make_target(&self.surroundings.point, schema, field)?);
        Ok(self.surroundings.targets.len() - 1)
    }
}

fn gone(name: &str) -> QueryError {
    QueryError::InvalidClause { place: "request".into(), rule: format!("there is no `{name}`") }
}

fn make_target(point: &ReadPoint, schema: &str, field: &str) -> Result<Target, FoldDbError> {
    let path = || gone(&format!("{schema}.{field}"));
    let entry = other_schema(point, schema).ok_or_else(path)?;
    let name = entry.schema.field(field).ok_or_else(path)?.name.clone();
    let projection = entry.project(Arc::from([name]));
    Ok(Target { entry, projection })
}

fn read_target(
    point: &ReadPoint,
    target: &Target,
    key: &RecordKey,
) -> Result<lang::Value<'static>, FoldDbError> {
    let Target { entry, projection } = target;
    let mut value = [Value::Null];
    let inline_elements = INLINE_ELEMENTS_MAX;
    RecordReader { point, entry, projection, inline_elements }.one_into(key, &mut value)?;
    let [value] = value;
    Ok(to_lang(&value).into_owned())
}

impl Surroundings {
    fn lookup(
        &self,
        at: usize,
        key: &[lang::Value<'_>],
    ) -> Result<lang::Value<'static>, InputError> {
        let Some(target) = self.targets.get(at) else { return Ok(lang::Value::Null) };
        let parts: Vec<Value> = key.iter().map(from_lang).collect();
        // What is no key of that schema has no record.
        let Ok(key) = target.entry.schema.key_of(&parts) else { return Ok(lang::Value::Null) };
        let place = (at, key);
        if let Some(found) = self.found.borrow().values.get(&place) {
            return Ok(found.clone());
        }
        let value = read_target(&self.point, target, &place.1)?;
        self.found.borrow_mut().keep(place, &value);
        Ok(value)
    }
}

impl Bound {
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// The column that is an input of the program, by the input's slot.
    pub(super) fn column_of(&self, slot: usize) -> Option<usize> {
        match self.slots.get(slot) {
            Some(Slot::Column(column)) => Some(*column),
            _ => None,
        }
    }

    /// Hands `use_value` the value for a row.
    pub(super) fn evaluate<T>(
        &self,
        row: &RowView<'_>,
        around: &Surroundings,
        use_value: impl FnOnce(lang::Value<'_>) -> T,
    ) -> Result<T, FoldDbError> {
        if let Some(column) = self.direct {
            return Ok(use_value(row.value(column)?));
        }
        let inputs = RowInputs { bound: self, row, around };
        let value = self.program.evaluate(&inputs);
        value.map(use_value).map_err(|error| self.failed(row, error))
    }

    pub(super) fn failed(&self, row: &RowView<'_>, error: lang::EvalError) -> FoldDbError {
        let record = row.key.map(|key| RecordKey::from_bytes(key.to_vec()));
        let error = Box::new(error);
        QueryError::Evaluation { place: self.place.clone(), record, error }.into()
    }
}

/// A condition whose inputs are found.
#[derive(Debug)]
pub(super) struct BoundFilter {
    filter: lang::Filter,
    pub(super) bound: Bound,
    /// What it says of single columns, if that is all that it says.
    quick: Option<Box<[(usize, Constraint)]>>,
}

impl BoundFilter {
    pub(super) fn new(
        binder: &mut Binder<'_>,
        filter: lang::Filter,
        place: &str,
    ) -> Result<Self, FoldDbError> {
        let bound = binder.bind(filter.program().clone(), place.to_owned())?;
        let constraints = filter.constraints();
        let column = |constraint: Constraint| {
            let (Constraint::OneOf { slot, .. }
            | Constraint::Between { slot, .. }
            | Constraint::Prefix { slot, .. }) = constraint;
            Some((bound.column_of(slot)?, constraint))
        };
        let quick = if constraints.is_exact {
            constraints.all.into_iter().map(column).collect()
        } else {
            None
        };
        Ok(Self { filter, bound, quick })
    }

    pub(super) fn constraints(&self) -> lang::Constraints {
        self.filter.constraints()
    }

    pub(super) fn matches(
        &self,
        row: &RowView<'_>,
        around: &Surroundings,
    ) -> Result<bool, FoldDbError> {
        if let Some(quick) = &self.quick
            && let Some(matches) = test_quickly(quick, row)?
        {
            return Ok(matches);
        }
        let inputs = RowInputs { bound: &self.bound, row, around };
        self.filter.matches(&inputs).map_err(|error| self.bound.failed(row, error))
    }
}

/// Tests constraints without the program; `None` if it must say what is to be said of a value of
/// another type.
fn test_quickly(
    quick: &[(usize, Constraint)],
    row: &RowView<'_>,
) -> Result<Option<bool>, FoldDbError> {
    let mut matches = true;
    for (column, constraint) in quick {
        let value = row.value(*column)?;
        matches &= match constraint {
            // They are in order.
            Constraint::OneOf { values, .. } => {
                values.binary_search_by(|found| found.cmp_values(&value)).is_ok()
            }
            _ if value.is_null() => false,
            Constraint::Between { lower, upper, .. } => {
                let (Some(above), Some(below)) = (is_above(&value, lower), is_below(&value, upper))
                else {
                    return Ok(None);
                };
                above && below
            }
            Constraint::Prefix { prefix, .. } => match value.as_text() {
                Some(text) => text.starts_with(prefix.as_str()),
                None => return Ok(None),
            },
        };
        if !matches {
            // What stands behind it is not looked at by the program either, unless it is wrong.
            return Ok(Some(false));
        }
    }
    Ok(Some(matches))
}

fn is_above(value: &lang::Value<'_>, lower: &RangeBound<lang::Value<'_>>) -> Option<bool> {
    match lower {
        RangeBound::Unbounded => Some(true),
        RangeBound::Included(lower) => Some(compare(value, lower)?.is_ge()),
        RangeBound::Excluded(lower) => Some(compare(value, lower)?.is_gt()),
    }
}

fn is_below(value: &lang::Value<'_>, upper: &RangeBound<lang::Value<'_>>) -> Option<bool> {
    match upper {
        RangeBound::Unbounded => Some(true),
        RangeBound::Included(upper) => Some(compare(value, upper)?.is_le()),
        RangeBound::Excluded(upper) => Some(compare(value, upper)?.is_lt()),
    }
}

/// Compares values of one type; `None` for others.
#[inline]
fn compare(a: &lang::Value<'_>, b: &lang::Value<'_>) -> Option<Ordering> {
    use lang::Value::{Duration, Float, Int, Text, Time};

    match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Int(_) | Float(_), Int(_) | Float(_))
        | (Time(_), Time(_))
        | (Duration(_), Duration(_))
        | (Text(_), Text(_)) => Some(a.cmp_values(b)),
        _ => None,
    }
}

/// The values of one row: encoded in it, or decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowView<'r> {
    /// The key of the record; that of a group has none.
    pub(super) key: Option<&'r [u8]>,
    row: &'r [u8],
    /// Where the encoded values of the columns are; those with an empty place are in `values`.
    places: &'r [Span],
    values: &'r [Value],
    /// The columns of a group, in place of all others: durations are no values.
    of_group: Option<&'r Vec<lang::Value<'static>>>,
}

impl<'r> RowView<'r> {
    /// A row that is decoded.
    pub(super) fn of_values(key: Option<&'r [u8]>, values: &'r [Value]) -> Self {
        Self { key, row: &[], places: &[], values, of_group: None }
    }

    /// A row of a group.
    pub(super) fn of_group(values: &'r Vec<lang::Value<'static>>) -> Self {
        Self { key: None, row: &[], places: &[], values: &[], of_group: Some(values) }
    }

    #[inline]
    pub(super) fn value(&self, column: usize) -> Result<lang::Value<'r>, FoldDbError> {
        if let Some(place) = self.places.get(column)
            && !place.is_empty()
            && let Some(raw) = self.row.get(place.clone())
        {
            return decode_lang(raw)
                .map_err(|error| crate::data_layer::internal::cell_error(error).into());
        }
        Ok(self.decoded(column))
    }

    /// The value of a column that is not encoded. Apart, so that the way of most stays short.
    #[inline(never)]
    fn decoded(&self, column: usize) -> lang::Value<'r> {
        match (self.values.get(column), self.of_group) {
            (Some(value), _) => to_lang(value),
            (None, Some(group)) => group.get(column).cloned().unwrap_or_default(),
            (None, None) => lang::Value::Null,
        }
    }
}

struct RowInputs<'r> {
    bound: &'r Bound,
    row: &'r RowView<'r>,
    around: &'r Surroundings,
}

impl Inputs for RowInputs<'_> {
    #[inline]
    fn value(&self, slot: usize) -> Result<lang::Value<'_>, InputError> {
        match self.bound.slots.get(slot) {
            Some(Slot::Column(column)) => Ok(self.row.value(*column)?),
            Some(Slot::Constant(at)) => {
                Ok(self.around.constants.get(*at).cloned().unwrap_or_default())
            }
            None => Ok(lang::Value::Null),
        }
    }

    fn lookup(&self, slot: usize, key: &[lang::Value<'_>]) -> Result<lang::Value<'_>, InputError> {
        match self.bound.targets.get(slot) {
            Some(target) => self.around.lookup(*target, key),
            None => Ok(lang::Value::Null),
        }
    }

    fn now(&self) -> Option<lang::Time> {
        lang::Time::from_micros(self.around.now.as_micros())
    }
}

/// Reads the columns of one row after the other, with the memory of the one before.
#[derive(Debug)]
pub(super) struct RowLoader<'p> {
    reader: RecordReader<'p>,
    places: Vec<Span>,
    /// The values that are in the key, beside encoded ones.
    of_key: Vec<Value>,
    values: Vec<Value>,
}

impl<'p> RowLoader<'p> {
    pub(super) fn new(reader: RecordReader<'p>) -> Self {
        let columns = reader.projection.columns.len();
        Self {
            reader,
            places: vec![0..0; columns],
            of_key: vec![Value::Null; columns],
            values: vec![Value::Null; columns],
        }
    }

    /// The columns of a row as it is now; `None` if the record does not exist at the moment.
    #[inline]
    pub(super) fn load<'r>(
        &'r mut self,
        key: &'r [u8],
        row: &'r [u8],
    ) -> Result<Option<RowView<'r>>, FoldDbError> {
        if self.reader.is_plain()
            && let Some(exists) = locate_plain(row, &self.reader.projection.cells, &mut self.places)
        {
            if !exists {
                return Ok(None);
            }
            self.reader.answer_key(key, &mut self.of_key)?;
            let (places, values) = (&self.places[..], &self.of_key[..]);
            return Ok(Some(RowView { key: Some(key), row, places, values, of_group: None }));
        }
        let exists = self.reader.row_into(key, row, &mut self.values)?;
        Ok(exists.then_some(RowView::of_values(Some(key), &self.values)))
    }

    /// The columns of the record with this key.
    pub(super) fn load_key<'r>(
        &'r mut self,
        key: &'r RecordKey,
    ) -> Result<Option<RowView<'r>>, FoldDbError> {
        let exists = self.reader.one_into(key, &mut self.values)?;
        Ok(exists.then_some(RowView::of_values(Some(key.as_bytes()), &self.values)))
    }
}
