//! The simple schemas, which nearly all fields have: checked without the library.

use std::borrow::Cow;

use super::super::{Timestamp, Value};
use super::error::{ValueError, one_of};
use super::types::Types;
use super::vet::ANNOTATIONS;

/// The most values of an `enum` that are compared one by one.
const ENUM_MAX: usize = 16;

/// What a simple schema asks for besides its types and its time: `minimum` and its relatives, and
/// a short `enum`.
#[derive(Debug, Default)]
pub(super) struct Native {
    bounds: Vec<(Bound, Value)>,
    allowed: Option<Vec<Value>>,
}

/// Which end of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

impl Bound {
    fn of_keyword(keyword: &str) -> Option<Self> {
        Some(match keyword {
            "minimum" => Bound::Minimum,
            "maximum" => Bound::Maximum,
            "exclusiveMinimum" => Bound::ExclusiveMinimum,
            "exclusiveMaximum" => Bound::ExclusiveMaximum,
            _ => return None,
        })
    }
}

impl Native {
    /// The rules of a schema, if it is a simple one. Its types and `format: date-time` are looked
    /// after by the caller.
    pub(super) fn of_schema(json: &Value) -> Option<Self> {
        let members = match json {
            Value::Object(members) => members,
            other => return (*other == Value::Bool(true)).then(Native::default),
        };
        let mut native = Native::default();
        for (keyword, value) in members {
            match (keyword.as_str(), value) {
                ("type", types) => drop(Types::of_keyword(types)?),
                ("format", Value::Text(format)) if format != "date" => {}
                ("enum", Value::Array(values)) if is_short(values) => {
                    native.allowed = Some(values.clone());
                }
                (keyword, Value::Int(_) | Value::Float(_))
                    if Bound::of_keyword(keyword).is_some() =>
                {
                    native.bounds.extend(Bound::of_keyword(keyword).map(|b| (b, value.clone())));
                }
                (keyword, _) if ANNOTATIONS.contains(&keyword) => {}
                _ => return None,
            }
        }
        Some(native)
    }

    pub(super) fn check(&self, value: &Value) -> Result<(), ValueError> {
        if matches!(value, Value::Int(_) | Value::Float(_)) {
            for (bound, limit) in &self.bounds {
                check_bound(*bound, limit, value)?;
            }
        }
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(|allowed| same(allowed, value)) => {
                Err(ValueError::keyword("enum", one_of(allowed.iter().map(Cow::Borrowed)), value))
            }
            _ => Ok(()),
        }
    }
}

/// A short list of scalars.
fn is_short(values: &[Value]) -> bool {
    let is_scalar = |value: &Value| !matches!(value, Value::Array(_) | Value::Object(_));
    values.len() <= ENUM_MAX && values.iter().all(is_scalar)
}

/// Equality of a value with one of the schema's JSON, which writes a time as text.
fn same(json: &Value, value: &Value) -> bool {
    match (json, value) {
        (Value::Text(text), Value::Time(time)) => Timestamp::parse(text).as_ref() == Ok(time),
        _ => json == value,
    }
}

fn check_bound(bound: Bound, limit: &Value, value: &Value) -> Result<(), ValueError> {
    let order = value.cmp_values(limit);
    let (holds, keyword, words) = match bound {
        Bound::Minimum => (order.is_ge(), "minimum", "at least"),
        Bound::Maximum => (order.is_le(), "maximum", "at most"),
        Bound::ExclusiveMinimum => (order.is_gt(), "exclusiveMinimum", "more than"),
        Bound::ExclusiveMaximum => (order.is_lt(), "exclusiveMaximum", "less than"),
    };
    if holds {
        return Ok(());
    }
    Err(ValueError::keyword(keyword, format!("{words} {limit}"), value))
}
