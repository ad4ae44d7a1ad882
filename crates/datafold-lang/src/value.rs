//! Values while a program runs.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::number::{cmp_int_float, exact_int};
use crate::time::{Duration, Time};

/// The most arrays and objects that a value nests. A scalar nests none.
pub const VALUE_DEPTH_MAX: usize = 64;

/// What a value without its content weighs, in bytes.
pub(crate) const VALUE_BYTES: u64 = 32;

/// A value of an input, of a constant, or of a result.
///
/// Texts may be borrowed from where the input keeps them, so that reading one copies nothing.
/// Arrays and objects are shared, so a clone costs no more than counting.
///
/// # Invariants
///
/// - A number that equals an `i64` is an [`Value::Int`], and a [`Value::Float`] is finite:
///   [`Value::number`] keeps this.
/// - At most [`VALUE_DEPTH_MAX`] arrays and objects are nested: their constructors keep this.
#[derive(Debug, Clone, Default)]
pub enum Value<'a> {
    /// Nothing; the same as a missing value.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite number that equals no `i64`.
    Float(f64),
    /// A moment.
    Time(Time),
    /// A length of time. JSON has none: as a result it becomes its text, such as `PT1H30M`.
    Duration(Duration),
    /// Text.
    Text(Text<'a>),
    /// Values in order.
    Array(Arc<Array<'a>>),
    /// Named values.
    Object(Arc<Object<'a>>),
}

/// Why something is not a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// NaN or an infinity.
    #[error("a number must be finite")]
    NotFinite,
    /// More nested arrays and objects than [`VALUE_DEPTH_MAX`].
    #[error("a value nests at most {VALUE_DEPTH_MAX} arrays and objects")]
    TooDeep,
    /// An object with a member twice.
    #[error("an object has each member once")]
    DuplicateMember,
}

impl<'a> Value<'a> {
    /// A number: an integer if it equals one.
    ///
    /// # Errors
    ///
    /// [`InvalidValue::NotFinite`] for NaN and the infinities.
    pub fn number(number: f64) -> Result<Self, InvalidValue> {
        if !number.is_finite() {
            return Err(InvalidValue::NotFinite);
        }
        Ok(exact_int(number).map_or(Value::Float(number), Value::Int))
    }

    /// An array of these items.
    ///
    /// # Errors
    ///
    /// [`InvalidValue::TooDeep`].
    pub fn array(items: Vec<Value<'a>>) -> Result<Self, InvalidValue> {
        let (weight, depth) = measure(items.iter())?;
        Ok(Value::Array(Arc::new(Array { items, weight, depth })))
    }

    /// An object of these members, in any order.
    ///
    /// # Errors
    ///
    /// [`InvalidValue::TooDeep`] and [`InvalidValue::DuplicateMember`].
    ///
    /// # Cost
    ///
    /// Sorts the members by their names, unless they are sorted.
    pub fn object(mut members: Vec<(Text<'a>, Value<'a>)>) -> Result<Self, InvalidValue> {
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.as_str().cmp(b));
            if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
                return Err(InvalidValue::DuplicateMember);
            }
        }
        let (weight, depth) = measure(members.iter().map(|(_, value)| value))?;
        let names = members.iter().map(|(name, _)| name.len() as u64 + VALUE_BYTES);
        let weight = names.fold(weight, u64::saturating_add);
        Ok(Value::Object(Arc::new(Object { members, weight, depth })))
    }

    /// Whether there is nothing, which is the same as a missing value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// What kind of value it is: `null`, `bool`, `integer`, `number`, `time`, `duration`, `text`,
    /// `array` or `object`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "integer",
            Value::Float(_) => "number",
            Value::Time(_) => "time",
            Value::Duration(_) => "duration",
            Value::Text(_) => "text",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// The value as text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// About the bytes of memory that the value would take if nothing of it were shared.
    ///
    /// # Cost
    ///
    /// Constant: arrays and objects know theirs.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            Value::Text(text) => VALUE_BYTES + text.len() as u64,
            Value::Array(array) => VALUE_BYTES.saturating_add(array.weight),
            Value::Object(object) => VALUE_BYTES.saturating_add(object.weight),
            _ => VALUE_BYTES,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Value::Array(array) => array.depth,
            Value::Object(object) => object.depth,
            _ => 0,
        }
    }

    /// The total order of values: null < bool < number < time < duration < text < array < object.
    ///
    /// Integers and floats compare exactly, without rounding either; text by its bytes; arrays
    /// and objects member by member, an object's name before its value.
    ///
    /// # Cost
    ///
    /// At most the lower weight of both.
    #[must_use]
    pub fn cmp_values(&self, other: &Value<'_>) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Int(a), Value::Float(b)) => cmp_int_float(*a, *b),
            (Value::Float(a), Value::Int(b)) => cmp_int_float(*b, *a).reverse(),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_str().cmp(b.as_str()),
            (Value::Array(a), Value::Array(b)) => {
                let pairs = a.items.iter().zip(&b.items).map(|(a, b)| a.cmp_values(b));
                first_difference(pairs).then(a.items.len().cmp(&b.items.len()))
            }
            (Value::Object(a), Value::Object(b)) => {
                let pairs = a.members.iter().zip(&b.members);
                let pairs = pairs.map(|((name_a, a), (name_b, b))| {
                    name_a.as_str().cmp(name_b.as_str()).then_with(|| a.cmp_values(b))
                });
                first_difference(pairs).then(a.members.len().cmp(&b.members.len()))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Time(_) => 3,
            Value::Duration(_) => 4,
            Value::Text(_) => 5,
            Value::Array(_) => 6,
            Value::Object(_) => 7,
        }
    }

    /// The value with texts of its own.
    ///
    /// # Cost
    ///
    /// Copies what is borrowed, and arrays and objects whole: up to the [weight](Value::weight).
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Time(value) => Value::Time(value),
            Value::Duration(value) => Value::Duration(value),
            Value::Text(text) => Value::Text(text.into_owned()),
            Value::Array(array) => {
                let items = array.items.iter().map(|item| item.clone().into_owned()).collect();
                Value::Array(Arc::new(Array { items, weight: array.weight, depth: array.depth }))
            }
            Value::Object(object) => {
                let own = |(name, value): &(Text<'a>, Value<'a>)| {
                    (name.clone().into_owned(), value.clone().into_owned())
                };
                let members = object.members.iter().map(own).collect();
                let (weight, depth) = (object.weight, object.depth);
                Value::Object(Arc::new(Object { members, weight, depth }))
            }
        }
    }
}

/// The sum of the weights of items, and the levels that an array or object of them nests.
fn measure<'v, 'a: 'v>(
    items: impl Iterator<Item = &'v Value<'a>>,
) -> Result<(u64, usize), InvalidValue> {
    let (mut weight, mut depth) = (0_u64, 0);
    for item in items {
        weight = weight.saturating_add(item.weight());
        depth = depth.max(item.depth());
    }
    if depth >= VALUE_DEPTH_MAX { Err(InvalidValue::TooDeep) } else { Ok((weight, depth + 1)) }
}

fn first_difference(mut pairs: impl Iterator<Item = Ordering>) -> Ordering {
    pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Equality of values: 5 and 5.0 are one number, and arrays and objects compare by their content.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => a.as_str() == b.as_str(),
            _ => self.cmp_values(other).is_eq(),
        }
    }
}

/// As [`Value::to_json`].
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// A text that is borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Borrowed from the input.
    Borrowed(&'a str),
    /// Shared by all its clones.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }

    /// The text, shared if it was borrowed.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        match self {
            Text::Borrowed(text) => Text::Shared(text.into()),
            Text::Shared(text) => Text::Shared(text),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.as_str().cmp(other.as_str()))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Borrowed(text)
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Shared(text.into())
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// The items of a [`Value::Array`].
#[derive(Debug, Clone)]
pub struct Array<'a> {
    items: Vec<Value<'a>>,
    weight: u64,
    depth: usize,
}

impl<'a> Deref for Array<'a> {
    type Target = [Value<'a>];

    fn deref(&self) -> &[Value<'a>] {
        &self.items
    }
}

/// The members of a [`Value::Object`], sorted by the bytes of their names, each name once.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    members: Vec<(Text<'a>, Value<'a>)>,
    weight: u64,
    depth: usize,
}

impl<'a> Object<'a> {
    /// The member with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let found = self.members.binary_search_by(|(member, _)| member.as_str().cmp(name));
        found.ok().and_then(|at| self.members.get(at)).map(|(_, value)| value)
    }
}

impl<'a> Object<'a> {
    pub(crate) fn members_at(&self, at: usize) -> Option<&(Text<'a>, Value<'a>)> {
        self.members.get(at)
    }
}

impl<'a> Deref for Object<'a> {
    type Target = [(Text<'a>, Value<'a>)];

    fn deref(&self) -> &[(Text<'a>, Value<'a>)] {
        &self.members
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<Time> for Value<'_> {
    fn from(value: Time) -> Self {
        Value::Time(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value.into())
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Value::Text(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value<'_>>() <= 24, "{}", size_of::<Value<'_>>());
    }

    #[test]
    fn nesting_and_sharing_are_measured_without_walking() {
        let mut value = Value::Null;
        for _ in 0..VALUE_DEPTH_MAX {
            value = Value::array(vec![value.clone(), value]).unwrap();
        }
        // 2^64 nulls, if nothing were shared.
        assert_eq!(value.weight(), u64::MAX);
        assert_eq!(Value::array(vec![value]).unwrap_err(), InvalidValue::TooDeep);
    }

    #[test]
    fn members_are_sorted_and_unique() {
        let object = |names: [&'static str; 2]| {
            Value::object(names.map(|name| (Text::from(name), Value::Null)).to_vec())
        };
        assert_eq!(object(["b", "a"]).unwrap(), object(["a", "b"]).unwrap());
        assert_eq!(object(["a", "a"]).unwrap_err(), InvalidValue::DuplicateMember);
        let Value::Object(found) = object(["b", "a"]).unwrap() else { panic!("no object") };
        assert!(found.get("b").is_some() && found.get("c").is_none());
    }
}
