//! Values, what a cell holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use datafold_store::encoding::exact_int;

use super::Timestamp;

/// The most arrays and objects that a value nests. A scalar nests none.
pub const DEPTH_MAX: usize = 64;

/// A value of a field, or of an element of a field.
///
/// # Invariants
///
/// - A number that equals an `i64` is an [`Value::Int`]: 5.0 is 5 and -0.0 is 0, so the derived
///   equality is the equality of numbers. [`Value::number`] keeps this.
/// - A [`Value::Float`] is finite.
/// - At most [`DEPTH_MAX`] arrays and objects are nested.
///
/// The parsers and the decoder only make such values. Code that builds them by hand checks them
/// with [`Value::check`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
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
    Time(Timestamp),
    /// Text.
    Text(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Named values, sorted by the bytes of their names.
    Object(BTreeMap<String, Value>),
}

/// Why something is not a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// NaN, an infinity, or the result of an overflow.
    #[error("a number must be finite")]
    NotFinite,
    /// A [`Value::Float`] that should be a [`Value::Int`].
    #[error("a number that is an integer must be kept as one")]
    HiddenInt,
    /// More nested arrays and objects than [`DEPTH_MAX`].
    #[error("a value nests at most {DEPTH_MAX} arrays and objects")]
    TooDeep,
}

impl InvalidValue {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            InvalidValue::NotFinite => "number_not_finite",
            InvalidValue::HiddenInt => "number_hidden_int",
            InvalidValue::TooDeep => "value_too_deep",
        }
    }
}

impl Value {
    /// A number: an integer if it equals one.
    ///
    /// # Errors
    ///
    /// [`InvalidValue::NotFinite`] for NaN and the infinities.
    ///
    /// ```
    /// use datafold::model::Value;
    ///
    /// assert_eq!(Value::number(5.0)?, Value::Int(5));
    /// assert!(Value::number(f64::NAN).is_err());
    /// # Ok::<(), datafold::model::InvalidValue>(())
    /// ```
    pub fn number(number: f64) -> Result<Value, InvalidValue> {
        if !number.is_finite() {
            return Err(InvalidValue::NotFinite);
        }
        Ok(exact_int(number).map_or(Value::Float(number), Value::Int))
    }

    /// Whether there is nothing, which is the same as a missing value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// What kind of value it is: `null`, `bool`, `integer`, `number`, `time`, `text`, `array` or
    /// `object`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "integer",
            Value::Float(_) => "number",
            Value::Time(_) => "time",
            Value::Text(_) => "text",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// The total order of values: null < bool < number < time < text < array < object.
    ///
    /// Integers and floats compare exactly, without rounding either; text by its bytes; arrays
    /// and objects member by member, an object's name before its value. It is
    /// [`Ordering::Equal`] exactly where two values that keep the invariants are `==`.
    #[must_use]
    pub fn cmp_values(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Int(a), Value::Float(b)) => cmp_int_float(*a, *b),
            (Value::Float(a), Value::Int(b)) => cmp_int_float(*b, *a).reverse(),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Array(a), Value::Array(b)) => {
                let pairs = a.iter().zip(b).map(|(a, b)| a.cmp_values(b));
                first_difference(pairs).then(a.len().cmp(&b.len()))
            }
            (Value::Object(a), Value::Object(b)) => {
                let pairs = a.iter().zip(b);
                let pairs =
                    pairs.map(|((na, a), (nb, b))| na.cmp(nb).then_with(|| a.cmp_values(b)));
                first_difference(pairs).then(a.len().cmp(&b.len()))
            }
            _ => self.rank().cmp(&other.rank()),
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

    /// Checks the invariants of a value that was built by hand.
    ///
    /// # Errors
    ///
    /// The first [`InvalidValue`] found.
    ///
    /// # Cost
    ///
    /// Visits every nested value; constant for a scalar.
    pub fn check(&self) -> Result<(), InvalidValue> {
        self.check_below(0)
    }

    fn check_below(&self, depth: usize) -> Result<(), InvalidValue> {
        match self {
            Value::Float(number) if !number.is_finite() => Err(InvalidValue::NotFinite),
            Value::Float(number) if exact_int(*number).is_some() => Err(InvalidValue::HiddenInt),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => Err(InvalidValue::TooDeep),
            Value::Array(items) => items.iter().try_for_each(|item| item.check_below(depth + 1)),
            Value::Object(members) => {
                members.values().try_for_each(|member| member.check_below(depth + 1))
            }
            _ => Ok(()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Time(_) => 3,
            Value::Text(_) => 4,
            Value::Array(_) => 5,
            Value::Object(_) => 6,
        }
    }
}

fn first_difference(mut pairs: impl Iterator<Item = Ordering>) -> Ordering {
    pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The order of an integer and a float that equals no integer, without rounding either.
fn cmp_int_float(int: i64, float: f64) -> Ordering {
    match exact_int(float.floor()) {
        // The float lies between its floor and the next integer.
        Some(floor) if int <= floor && float != float.floor() => Ordering::Less,
        Some(floor) => int.cmp(&floor),
        None if float < 0.0 => Ordering::Greater,
        None => Ordering::Less,
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Int(value.into())
    }
}

impl TryFrom<f64> for Value {
    type Error = InvalidValue;

    fn try_from(value: f64) -> Result<Self, InvalidValue> {
        Value::number(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Value::Time(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::Array(values.into_iter().map(Into::into).collect())
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(members: BTreeMap<String, Value>) -> Self {
        Value::Object(members)
    }
}

impl FromIterator<(String, Value)> for Value {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Value::Object(members.into_iter().collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-300_i64..300).prop_map(Value::Int),
            any::<f64>().prop_filter_map("finite", |number| Value::number(number).ok()),
            (-300.0..300.0).prop_map(|number| Value::number(number).unwrap()),
            Just(Value::Float(9_223_372_036_854_775_808.0)),
            (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros())
                .prop_map(|micros| Value::Time(Timestamp::from_micros(micros))),
            "[a\0\u{1}\"\\\\\né\u{2028}𝄞]{0,6}".prop_map(Value::Text),
        ]
    }

    pub(crate) fn value() -> impl Strategy<Value = Value> {
        scalar().prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[ab\"é\n]{0,3}", inner, 0..4).prop_map(Value::Object),
            ]
        })
    }

    pub(crate) fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_agrees_with_equality(a in value(), b in value(), c in value()) {
            prop_assert_eq!(a.cmp_values(&b), b.cmp_values(&a).reverse());
            prop_assert_eq!(a.cmp_values(&b).is_eq(), a == b);
            if a.cmp_values(&b).is_le() && b.cmp_values(&c).is_le() {
                prop_assert!(a.cmp_values(&c).is_le());
            }
        }

        #[test]
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        fn numbers_compare_exactly(int: i64, float: f64) {
            prop_assume!(float.is_finite());
            let (a, b) = (Value::Int(int), Value::number(float).unwrap());
            let expected = if float >= 9.3e18 {
                Ordering::Less
            } else if float <= -9.3e18 {
                Ordering::Greater
            } else {
                let (whole, fraction) = (float.trunc() as i128, float.fract());
                i128::from(int).cmp(&whole).then(0.0.partial_cmp(&fraction).unwrap())
            };
            prop_assert_eq!(a.cmp_values(&b), expected);
        }
    }

    #[test]
    fn floats_next_to_the_largest_integers_compare_exactly() {
        let big = 9_007_199_254_740_993_i64;
        assert!(Value::Int(big).cmp_values(&Value::Float(9_007_199_254_740_992.5)).is_gt());
        assert!(Value::Int(i64::MAX).cmp_values(&Value::number(2_f64.powi(63)).unwrap()).is_lt());
        assert!(Value::Int(-1).cmp_values(&Value::Float(-0.5)).is_lt());
        assert!(Value::Int(0).cmp_values(&Value::Float(-0.5)).is_gt());
    }

    #[test]
    fn integers_hide_in_no_float() {
        assert_eq!(Value::number(-0.0), Ok(Value::Int(0)));
        assert_eq!(Value::number(-(2_f64.powi(63))), Ok(Value::Int(i64::MIN)));
        assert_eq!(Value::number(2_f64.powi(63)), Ok(Value::Float(2_f64.powi(63))));
        assert_eq!(Value::number(f64::INFINITY), Err(InvalidValue::NotFinite));
        let array = Value::Array(vec![Value::Float(5.0)]);
        assert_eq!(array.check(), Err(InvalidValue::HiddenInt));
        assert_eq!(nested(DEPTH_MAX).check(), Ok(()));
        assert_eq!(nested(DEPTH_MAX + 1).check(), Err(InvalidValue::TooDeep));
    }
}
