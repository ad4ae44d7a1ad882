//! Numbers: exact integers, and floats that are finite.

use std::cmp::Ordering;

use crate::diagnostic::{Checked, ErrorKind, Fault};
use crate::value::Value;

/// 2^63, the first float above every `i64`.
const INT_END: f64 = 9_223_372_036_854_775_808.0;

/// The `i64` that equals a float, if there is one.
#[expect(clippy::cast_possible_truncation, reason = "the range and the fraction are checked")]
pub(crate) fn exact_int(float: f64) -> Option<i64> {
    let is_int = (-INT_END..INT_END).contains(&float) && float.trunc() == float;
    is_int.then_some(float as i64)
}

/// The order of an integer and a float, without rounding either.
pub(crate) fn cmp_int_float(int: i64, float: f64) -> Ordering {
    match exact_int(float.floor()) {
        // The float lies between its floor and the next integer.
        Some(floor) if int <= floor && float != float.floor() => Ordering::Less,
        Some(floor) => int.cmp(&floor),
        None if float < 0.0 => Ordering::Greater,
        None => Ordering::Less,
    }
}

/// A number of either kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Int(int) => Some(Number::Int(*int)),
            Value::Float(float) => Some(Number::Float(*float)),
            _ => None,
        }
    }

    pub(crate) fn to_float(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

pub(crate) fn overflow() -> Box<Fault> {
    Fault::new(ErrorKind::Overflow, "the result is larger than any number here")
}

/// A float as a value.
pub(crate) fn finite<'a>(float: f64) -> Checked<Value<'a>> {
    Value::number(float).map_err(|_| overflow())
}

fn exact_or<'a>(
    a: Number,
    b: Number,
    ints: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Checked<Value<'a>> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => ints(a, b).map(Value::Int).ok_or_else(overflow),
        (a, b) => finite(floats(a.to_float(), b.to_float())),
    }
}

pub(crate) fn add<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    exact_or(a, b, i64::checked_add, |a, b| a + b)
}

pub(crate) fn subtract<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    exact_or(a, b, i64::checked_sub, |a, b| a - b)
}

pub(crate) fn multiply<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    exact_or(a, b, i64::checked_mul, |a, b| a * b)
}

fn check_divisor(b: Number) -> Checked<()> {
    if b.to_float() == 0.0 {
        return Err(Fault::new(ErrorKind::DivisionByZero, "this divides by zero"));
    }
    Ok(())
}

/// Exact if the integers divide, else the nearest float.
pub(crate) fn divide<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    check_divisor(b)?;
    match (a, b) {
        (Number::Int(a), Number::Int(b)) if a.checked_rem(b) == Some(0) => {
            a.checked_div(b).map(Value::Int).ok_or_else(overflow)
        }
        // The smallest integer by -1, which has no remainder to compute either.
        (Number::Int(_), Number::Int(-1)) => Err(overflow()),
        (Number::Int(a), Number::Int(b)) => finite(quotient(a, b)),
        (a, b) => finite(a.to_float() / b.to_float()),
    }
}

/// The float that is nearest to the quotient of two integers that are not 0. Floats of them would
/// be rounded before they are divided.
fn quotient(a: i64, b: i64) -> f64 {
    let (x, y) = (a.unsigned_abs(), b.unsigned_abs());
    if x.max(y) <= 1 << 53 {
        return a as f64 / b as f64;
    }
    // More than 60 bits; the last one stands for all that are not there, which breaks ties.
    let shift = u128::from(x).leading_zeros() - 1;
    let (dividend, divisor) = (u128::from(x) << shift, u128::from(y));
    let bits = (dividend / divisor) | u128::from(dividend % divisor != 0);
    let size = bits as f64 / (1_u128 << shift) as f64;
    if (a < 0) == (b < 0) { size } else { -size }
}

/// What a division that is cut to an integer leaves; it has the sign of `a`.
pub(crate) fn remainder<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    check_divisor(b)?;
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Ok(Value::Int(a.checked_rem(b).unwrap_or(0))),
        (a, b) => finite(libm::fmod(a.to_float(), b.to_float())),
    }
}

/// Exact for integers with an exponent of at least zero.
pub(crate) fn power<'a>(a: Number, b: Number) -> Checked<Value<'a>> {
    if let (Number::Int(a), Number::Int(b)) = (a, b)
        && b >= 0
    {
        let power = match a {
            0 | 1 => {
                if b == 0 {
                    Some(1)
                } else {
                    Some(a)
                }
            }
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        };
        return power.map(Value::Int).ok_or_else(overflow);
    }
    if a.to_float() == 0.0 && b.to_float() < 0.0 {
        return Err(Fault::new(ErrorKind::DivisionByZero, "this divides by zero"));
    }
    let power = libm::pow(a.to_float(), b.to_float());
    if power.is_nan() {
        let message = "a negative number has no power with a fraction";
        return Err(Fault::new(ErrorKind::InvalidArgument, message));
    }
    finite(power)
}

pub(crate) fn negate<'a>(a: Number) -> Checked<Value<'a>> {
    match a {
        Number::Int(a) => a.checked_neg().map(Value::Int).ok_or_else(overflow),
        Number::Float(a) => finite(-a),
    }
}

/// The float as JSON: its shortest digits that read back the same.
pub(crate) fn float_text(float: f64) -> String {
    serde_json::to_string(&float).unwrap_or_default()
}

/// A number as in JSON, with a sign if there is one; `None` if the text is anything else.
pub(crate) fn parse_number<'a>(text: &str) -> Option<Value<'a>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) =
        digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    if rest.is_empty() {
        return text.parse().ok().map(Value::Int);
    }
    let exponent = match rest.strip_prefix('.') {
        Some(fraction) => {
            let behind = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if behind.len() == fraction.len() {
                return None;
            }
            behind
        }
        None => rest,
    };
    if let Some(digits) = exponent.strip_prefix(['e', 'E']) {
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    } else if !exponent.is_empty() {
        return None;
    }
    text.parse().ok().and_then(|float| Value::number(float).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_and_overflow_is_an_error() {
        let int = Number::Int;
        let big = 9_007_199_254_740_993;
        assert_eq!(add(int(big), int(0)).unwrap(), Value::Int(big));
        for wrong in [
            add(int(i64::MAX), int(1)),
            subtract(int(i64::MIN), int(1)),
            multiply(int(i64::MAX), int(2)),
            divide(int(i64::MIN), int(-1)),
            power(int(10), int(19)),
            power(int(2), int(i64::MAX)),
            negate(int(i64::MIN)),
            multiply(Number::Float(1e308), int(10)),
        ] {
            assert_eq!(wrong.unwrap_err().kind, ErrorKind::Overflow);
        }
        assert_eq!(remainder(int(i64::MIN), int(-1)).unwrap(), Value::Int(0));
        assert_eq!(remainder(int(-7), int(3)).unwrap(), Value::Int(-1));
        assert_eq!(divide(int(7), int(2)).unwrap(), Value::Float(3.5));
        assert_eq!(divide(int(6), int(2)).unwrap(), Value::Int(3));
        // Rounded once, and not first to floats.
        let sixth = divide(int(9_007_199_254_740_993), int(-6)).unwrap();
        assert_eq!(sixth, Value::Float(-1_501_199_875_790_165.5));
        let near_eight = divide(int(i64::MAX), int((1 << 60) + 65)).unwrap();
        assert_eq!(near_eight, Value::Float(7.999_999_999_999_999));
        assert_eq!(power(int(2), int(-1)).unwrap(), Value::Float(0.5));
        assert_eq!(power(int(-1), int(i64::MAX)).unwrap(), Value::Int(-1));
        assert_eq!(power(int(0), int(-1)).unwrap_err().kind, ErrorKind::DivisionByZero);
        let root = power(int(-8), Number::Float(0.5));
        assert_eq!(root.unwrap_err().kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn numbers_are_read_as_json_writes_them() {
        assert_eq!(parse_number("-12"), Some(Value::Int(-12)));
        assert_eq!(parse_number("1.5e3"), Some(Value::Int(1500)));
        assert_eq!(parse_number("1e-1"), Some(Value::Float(0.1)));
        let wrong = ["", "-", "+1", "1.", ".5", "007", "1e", "inf", "NaN", "1 ", "1e999", "0x1"];
        for text in wrong.into_iter().chain(["99999999999999999999", "1.5.2"]) {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
