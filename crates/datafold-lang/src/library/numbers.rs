//! Functions of numbers.

use super::{Function, Returns, int, invalid, one};
use crate::ast::BinaryOp;
use crate::diagnostic::Checked;
use crate::meter::Meter;
use crate::number::{Number, finite, negate, overflow};
use crate::ops;
use crate::types::Kinds;
use crate::value::Value;

const NUMBER: Kinds = Kinds::NUMBER;
const TO_NUMBER: Returns = one(NUMBER);

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("abs", &[("number", NUMBER)], 1, Returns::First, abs, "without its sign"),
    Function::new("sign", &[("number", NUMBER)], 1, one(Kinds::INT), sign, "-1, 0 or 1"),
    Function::new("floor", &[("number", NUMBER)], 1, TO_NUMBER, floor,
        "the next integer that is not above"),
    Function::new("ceil", &[("number", NUMBER)], 1, TO_NUMBER, ceil,
        "the next integer that is not below"),
    Function::new("trunc", &[("number", NUMBER)], 1, TO_NUMBER, trunc, "without its fraction"),
    Function::new("round", &[("number", NUMBER), ("digits", Kinds::INT)], 1, TO_NUMBER, round,
        "to the nearest integer, or with so many digits behind the point; halves go away from 0"),
    Function::new("sqrt", &[("number", NUMBER)], 1, TO_NUMBER, sqrt, "the square root"),
    Function::new("exp", &[("number", NUMBER)], 1, TO_NUMBER, exp, "e to this power"),
    Function::new("ln", &[("number", NUMBER)], 1, TO_NUMBER, ln, "the natural logarithm"),
    Function::new("log10", &[("number", NUMBER)], 1, TO_NUMBER, log10, "the logarithm to base 10"),
    Function::new("clamp", &[("number", NUMBER), ("least", NUMBER), ("most", NUMBER)], 3,
        TO_NUMBER, clamp, "the number, or the nearer end if it is outside"),
];

pub(super) static MIN: Function =
    Function::new("min", &[("value", Kinds::ORDERED)], 2, Returns::First, min, "the least")
        .variadic();
pub(super) static MAX: Function =
    Function::new("max", &[("value", Kinds::ORDERED)], 2, Returns::First, max, "the greatest")
        .variadic();

fn extreme<'a>(meter: &mut Meter, arguments: &[Value<'a>], op: BinaryOp) -> Checked<Value<'a>> {
    let mut best = arguments.first().unwrap_or(&Value::Null);
    for value in arguments.iter().skip(1) {
        if ops::compare(op, value, best, meter)? {
            best = value;
        }
    }
    Ok(best.clone())
}

fn min<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    extreme(meter, arguments, BinaryOp::Less)
}

fn max<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    extreme(meter, arguments, BinaryOp::Greater)
}

fn number(arguments: &[Value<'_>], at: usize) -> Number {
    arguments.get(at).and_then(Number::of).unwrap_or(Number::Int(0))
}

fn abs<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    match number(arguments, 0) {
        Number::Int(int) if int < 0 => negate(Number::Int(int)),
        Number::Int(int) => Ok(Value::Int(int)),
        Number::Float(float) => finite(float.abs()),
    }
}

fn sign<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let number = number(arguments, 0).to_float();
    Ok(Value::Int(i64::from(number > 0.0) - i64::from(number < 0.0)))
}

fn of_float<'a>(arguments: &[Value<'a>], function: fn(f64) -> f64) -> Checked<Value<'a>> {
    match number(arguments, 0) {
        Number::Int(int) => Ok(Value::Int(int)),
        Number::Float(float) => finite(function(float)),
    }
}

fn floor<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    of_float(arguments, f64::floor)
}

fn ceil<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    of_float(arguments, f64::ceil)
}

fn trunc<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    of_float(arguments, f64::trunc)
}

/// The most digits behind the point that a float has, and the most before it.
const DIGITS_MAX: i64 = 18;

fn round<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let digits = int(arguments, 1).unwrap_or(0);
    if !(-DIGITS_MAX..=DIGITS_MAX).contains(&digits) {
        return Err(invalid(format!("the digits are from -{DIGITS_MAX} to {DIGITS_MAX}")));
    }
    match number(arguments, 0) {
        Number::Int(int) if digits >= 0 => Ok(Value::Int(int)),
        Number::Int(int) => {
            let unit = 10_i128.pow(u32::try_from(-digits).unwrap_or(0));
            let half = if int < 0 { -unit / 2 } else { unit / 2 };
            let rounded = (i128::from(int) + half) / unit * unit;
            i64::try_from(rounded).map(Value::Int).map_err(|_| overflow())
        }
        Number::Float(float) if digits == 0 => finite(float.round()),
        Number::Float(float) => finite(round_decimal(float, digits)),
    }
}

/// Rounds the shortest decimal digits that are this float, as people who see them would: 1.005
/// with two digits is 1.01, although the float is a little less than that.
fn round_decimal(float: f64, digits: i64) -> f64 {
    let text = format!("{:e}", float.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let mut decimals: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    // The digits before the place of the last one that stays.
    let kept = exponent + 1 + digits;
    let Ok(kept) = usize::try_from(kept) else { return 0.0 };
    let Some(next) = decimals.get(kept).copied() else { return float };
    decimals.truncate(kept);
    let up = u64::from(next >= b'5');
    let whole = String::from_utf8(decimals).ok().filter(|digits| !digits.is_empty());
    let whole = whole.map_or(Ok(0), |digits| digits.parse::<u64>()).unwrap_or(0) + up;
    let rounded = format!("{whole}e{}", -digits).parse().unwrap_or(float.abs());
    if float < 0.0 { -rounded } else { rounded }
}

fn sqrt<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let number = number(arguments, 0).to_float();
    if number < 0.0 {
        return Err(invalid("a negative number has no square root"));
    }
    finite(number.sqrt())
}

fn exp<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    finite(libm::exp(number(arguments, 0).to_float()))
}

fn logarithm<'a>(arguments: &[Value<'a>], function: fn(f64) -> f64) -> Checked<Value<'a>> {
    let number = number(arguments, 0).to_float();
    if number <= 0.0 {
        return Err(invalid("only numbers above 0 have a logarithm"));
    }
    finite(function(number))
}

fn ln<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    logarithm(arguments, libm::log)
}

fn log10<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    logarithm(arguments, libm::log10)
}

fn clamp<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let [value, least, most] = arguments else { return Ok(Value::Null) };
    if least.cmp_values(most).is_gt() {
        return Err(invalid("the least is not above the most"));
    }
    let found = if value.cmp_values(least).is_lt() {
        least
    } else if value.cmp_values(most).is_gt() {
        most
    } else {
        value
    };
    Ok(found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_few() {
        let mut meter = Meter::new(&crate::Limits::DEFAULT);
        for digits in [i64::MIN, -19, 19, i64::MAX] {
            let found = round(&mut meter, &[Value::Float(0.5), Value::Int(digits)]);
            assert_eq!(found.unwrap_err().kind, crate::ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn decimals_are_rounded_as_they_are_shown() {
        for (float, digits, expected) in [
            (1.005, 2, 1.01),
            (2.5, 0, 3.0),
            (-2.345, 2, -2.35),
            (0.5, 3, 0.5),
            (1234.5, -2, 1200.0),
            (0.04, 1, 0.0),
            (0.06, 1, 0.1),
            (5e-324, 18, 0.0),
            (1e300, -18, 1e300),
            (999.95, 1, 1000.0),
            (55.5, -2, 100.0),
            (45.5, -2, 0.0),
            (123_456_789.987_654_3, 4, 123_456_789.987_7),
        ] {
            let rounded =
                if digits == 0 { f64::round(float) } else { round_decimal(float, digits) };
            assert!(rounded == expected, "{float} {digits}: {rounded}");
        }
    }
}
