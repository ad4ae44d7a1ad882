//! What reading a field costs. Configuration, from which `price.rs` makes a preview: nothing is
//! charged.

use std::collections::BTreeMap;
use std::fmt;

use super::super::Value;
use super::error::SchemaRule;
use super::reader::{Path, Present, Reader};

/// The payment configuration of a schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchemaPayment {
    /// Factor of every field's price; above 0, by default 1.
    pub base_multiplier: f64,
    /// The least price of a field in satoshi; by default 0.
    pub min_payment_threshold: u64,
}

impl Default for SchemaPayment {
    fn default() -> Self {
        Self { base_multiplier: 1.0, min_payment_threshold: 0 }
    }
}

/// The payment configuration of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FieldPayment {
    /// Factor of the price; above 0, by default 1.
    pub base_multiplier: f64,
    /// How the price grows with the caller's distance.
    pub scaling: TrustDistanceScaling,
    /// The least price in satoshi; 1 or more.
    pub min_payment: Option<u64>,
}

impl Default for FieldPayment {
    fn default() -> Self {
        Self { base_multiplier: 1.0, scaling: TrustDistanceScaling::None, min_payment: None }
    }
}

/// The factor of a price for a caller at a distance d.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum TrustDistanceScaling {
    /// 1.
    #[default]
    None,
    /// max(slope * d + intercept, `min_factor`).
    Linear {
        /// Growth by distance.
        slope: f64,
        /// Factor at distance 0.
        intercept: f64,
        /// The least factor; 1 or more.
        min_factor: f64,
    },
    /// max(base ^ (scale * d), `min_factor`).
    Exponential {
        /// Above 0.
        base: f64,
        /// Factor of the distance.
        scale: f64,
        /// The least factor; 1 or more.
        min_factor: f64,
    },
}

/// `1.5`, or with a threshold `1.5, at least 10`.
impl fmt::Display for SchemaPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base_multiplier)?;
        match self.min_payment_threshold {
            0 => Ok(()),
            threshold => write!(f, ", at least {threshold}"),
        }
    }
}

/// The formula, with `d` for the distance: `2 * max(0.5 * d + 1, 1), at least 1000`.
impl fmt::Display for FieldPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base_multiplier)?;
        match self.scaling {
            TrustDistanceScaling::None => {}
            TrustDistanceScaling::Linear { slope, intercept, min_factor } => {
                write!(f, " * max({slope} * d + {intercept}, {min_factor})")?;
            }
            TrustDistanceScaling::Exponential { base, scale, min_factor } => {
                write!(f, " * max({base} ^ ({scale} * d), {min_factor})")?;
            }
        }
        self.min_payment.map_or(Ok(()), |least| write!(f, ", at least {least}"))
    }
}

impl SchemaPayment {
    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Self {
        let mut payment = Self::default();
        let Some(members) = reader.members(path, value) else {
            return payment;
        };
        reader.unknown(path, members.0, &["base_multiplier", "min_payment_threshold"]);
        if let Some(multiplier) = multiplier(reader, path, members) {
            payment.base_multiplier = multiplier;
        }
        if let Some(value) = members.get("min_payment_threshold") {
            let threshold = path.child("min_payment_threshold");
            let found = reader.unsigned(threshold, value, 0, i64::MAX);
            payment.min_payment_threshold = found.map_or(0, i64::unsigned_abs);
        }
        payment
    }

    pub(super) fn to_value(self) -> Option<Value> {
        let mut members = BTreeMap::new();
        add_multiplier(&mut members, self.base_multiplier);
        if self.min_payment_threshold != 0 {
            let threshold = satoshi(self.min_payment_threshold);
            members.insert("min_payment_threshold".to_owned(), threshold);
        }
        (!members.is_empty()).then(|| members.into())
    }
}

impl FieldPayment {
    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Self {
        let mut payment = Self::default();
        let Some(members) = reader.members(path, value) else {
            return payment;
        };
        let known = ["base_multiplier", "trust_distance_scaling", "min_payment"];
        reader.unknown(path, members.0, &known);
        if let Some(multiplier) = multiplier(reader, path, members) {
            payment.base_multiplier = multiplier;
        }
        if let Some(value) = members.get("trust_distance_scaling") {
            let path = path.child("trust_distance_scaling");
            payment.scaling = TrustDistanceScaling::read(reader, path, value).unwrap_or_default();
        }
        if let Some(value) = members.get("min_payment") {
            let found = reader.unsigned(path.child("min_payment"), value, 1, i64::MAX);
            payment.min_payment = found.map(i64::unsigned_abs);
        }
        payment
    }

    pub(super) fn to_value(self) -> Option<Value> {
        let mut members = BTreeMap::new();
        add_multiplier(&mut members, self.base_multiplier);
        if let Some(scaling) = self.scaling.to_value() {
            members.insert("trust_distance_scaling".to_owned(), scaling);
        }
        if let Some(min_payment) = self.min_payment {
            members.insert("min_payment".to_owned(), satoshi(min_payment));
        }
        (!members.is_empty()).then(|| members.into())
    }
}

impl TrustDistanceScaling {
    fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Option<Self> {
        let (variant, content) = reader.variant(path, value, &["None", "Linear", "Exponential"])?;
        if variant == "None" {
            return Some(TrustDistanceScaling::None);
        }
        let path = path.child(variant);
        let members = reader.members(path, content)?;
        let mut number = |name, at_least: Option<f64>| {
            let path = path.child(name);
            let Some(value) = members.get(name) else {
                reader.refuse(path, SchemaRule::Missing);
                return None;
            };
            let number = reader.number(path, value)?;
            if at_least.is_some_and(|least| number < least) {
                reader.wrong(path, "a number from 1 on", value);
            }
            Some(number)
        };
        let min_factor = number("min_factor", Some(1.0));
        if variant == "Linear" {
            let (slope, intercept) = (number("slope", None), number("intercept", None));
            reader.unknown(path, members.0, &["slope", "intercept", "min_factor"]);
            return Some(TrustDistanceScaling::Linear {
                slope: slope?,
                intercept: intercept?,
                min_factor: min_factor?,
            });
        }
        let (base, scale) = (number("base", None), number("scale", None));
        reader.unknown(path, members.0, &["base", "scale", "min_factor"]);
        let base = base?;
        if base <= 0.0 {
            let found = members.get("base").cloned().unwrap_or_default();
            reader.wrong(path.child("base"), "a number above 0", &found);
        }
        let (scale, min_factor) = (scale?, min_factor?);
        Some(TrustDistanceScaling::Exponential { base, scale, min_factor })
    }

    fn to_value(self) -> Option<Value> {
        let (variant, members) = match self {
            TrustDistanceScaling::None => return None,
            TrustDistanceScaling::Linear { slope, intercept, min_factor } => {
                let members =
                    [("slope", slope), ("intercept", intercept), ("min_factor", min_factor)];
                ("Linear", members)
            }
            TrustDistanceScaling::Exponential { base, scale, min_factor } => {
                ("Exponential", [("base", base), ("scale", scale), ("min_factor", min_factor)])
            }
        };
        let members = members.into_iter().map(|(name, n)| (name.to_owned(), number_value(n)));
        Some(Value::from_iter([(variant.to_owned(), members.collect())]))
    }
}

fn multiplier(reader: &mut Reader, path: Path<'_>, members: Present<'_>) -> Option<f64> {
    let value = members.get("base_multiplier")?;
    let path = path.child("base_multiplier");
    let multiplier = reader.number(path, value)?;
    if multiplier <= 0.0 {
        reader.wrong(path, "a number above 0", value);
    }
    Some(multiplier)
}

#[expect(clippy::float_cmp, reason = "the default is exactly 1")]
fn add_multiplier(members: &mut BTreeMap<String, Value>, multiplier: f64) {
    if multiplier != 1.0 {
        members.insert("base_multiplier".to_owned(), number_value(multiplier));
    }
}

/// Numbers were read from values, so they are finite.
fn number_value(number: f64) -> Value {
    Value::number(number).unwrap_or_default()
}

/// Amounts were read from values, so they are an `i64`.
fn satoshi(amount: u64) -> Value {
    Value::Int(i64::try_from(amount).unwrap_or(i64::MAX))
}
