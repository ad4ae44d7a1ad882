//! What the operators do with two values, and with which types they can.

use std::cmp::Ordering;

use crate::ast::BinaryOp;
use crate::diagnostic::{Checked, ErrorKind, Fault};
use crate::meter::Meter;
use crate::number::{self, Number, overflow};
use crate::time::{Duration, Time};
use crate::types::Kinds;
use crate::value::{Text, Value};

/// The kinds that an arithmetic operator makes of two single kinds; none if it cannot.
fn pair_kinds(op: BinaryOp, a: Kinds, b: Kinds) -> Kinds {
    let both = |kinds: Kinds| a.is_subset(kinds) && b.is_subset(kinds);
    let is = |first: Kinds, second: Kinds| a.is_subset(first) && b.is_subset(second);
    if both(Kinds::NUMBER) {
        let is_exact = both(Kinds::INT)
            && matches!(
                op,
                BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Remainder
            );
        return if is_exact { Kinds::INT } else { Kinds::NUMBER };
    }
    match op {
        BinaryOp::Add if both(Kinds::TEXT) => Kinds::TEXT,
        BinaryOp::Add | BinaryOp::Subtract if both(Kinds::DURATION) => Kinds::DURATION,
        BinaryOp::Add | BinaryOp::Subtract if is(Kinds::TIME, Kinds::DURATION) => Kinds::TIME,
        BinaryOp::Add if is(Kinds::DURATION, Kinds::TIME) => Kinds::TIME,
        BinaryOp::Subtract if both(Kinds::TIME) => Kinds::DURATION,
        BinaryOp::Multiply if is(Kinds::NUMBER, Kinds::DURATION) => Kinds::DURATION,
        BinaryOp::Multiply | BinaryOp::Divide if is(Kinds::DURATION, Kinds::NUMBER) => {
            Kinds::DURATION
        }
        BinaryOp::Divide if both(Kinds::DURATION) => Kinds::NUMBER,
        _ => Kinds::NONE,
    }
}

/// The kinds that an arithmetic operator may give; none if it cannot work with any values of these
/// kinds but null.
pub(crate) fn arithmetic_kinds(op: BinaryOp, a: Kinds, b: Kinds) -> Kinds {
    if a.is_subset(Kinds::NULL) || b.is_subset(Kinds::NULL) {
        return Kinds::NULL;
    }
    let mut found = Kinds::NONE;
    for a in a.each() {
        for b in b.each() {
            found = found | pair_kinds(op, a, b);
        }
    }
    found
}

/// Whether `<` and its relatives can compare values of these kinds.
pub(crate) fn can_order(a: Kinds, b: Kinds) -> bool {
    if a.is_subset(Kinds::NULL) || b.is_subset(Kinds::NULL) {
        return true;
    }
    let same = |kinds: Kinds| a.intersects(kinds) && b.intersects(kinds);
    same(Kinds::NUMBER) || same(Kinds::TEXT) || same(Kinds::TIME) || same(Kinds::DURATION)
}

/// Why an operator cannot work with two types, told in their words.
pub(crate) fn clash(op: BinaryOp, a: &str, b: &str) -> Box<Fault> {
    let symbol = op.symbol();
    let fault = Fault::new(
        ErrorKind::TypeClash,
        match op {
            BinaryOp::Equal | BinaryOp::NotEqual => {
                format!("`{symbol}` compares {a} with {b}, which are never equal")
            }
            _ => format!("`{symbol}` does not work with {a} and {b}"),
        },
    );
    let is = |one: &str| a == one || b == one;
    let is_number = is("number") || is("integer");
    match op {
        BinaryOp::Add if is("text") && is_number => {
            fault.hint("`to_string` makes a text of a number, `to_number` a number of a text")
        }
        _ if is("text") && is_number => fault.hint("`to_number` makes a number of a text"),
        _ if is("text") && is("time") => fault.hint("`time` makes a time of a text"),
        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual
            if is("bool") =>
        {
            fault.hint("for `a < b < c` write `a < b && b < c`")
        }
        BinaryOp::In if b == "text" => fault.hint("`contains` looks for a text in a text"),
        _ => fault,
    }
}

fn time(micros: Option<i64>) -> Checked<Value<'static>> {
    let time = micros.and_then(Time::from_micros).map(Value::Time);
    time.ok_or_else(|| Fault::new(ErrorKind::Overflow, "the time is not in the years 0000 to 9999"))
}

fn duration(micros: Option<i64>) -> Checked<Value<'static>> {
    micros.map(|micros| Value::Duration(Duration::from_micros(micros))).ok_or_else(overflow)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn scaled(duration: Duration, factor: Number, divide: bool) -> Option<i64> {
    let micros = duration.as_micros();
    match (factor, divide) {
        (Number::Int(factor), false) => micros.checked_mul(factor),
        (Number::Int(factor), true) if micros.checked_rem(factor) == Some(0) => {
            micros.checked_div(factor)
        }
        (factor, divide) => {
            let factor = factor.to_float();
            let scaled = micros as f64;
            let scaled = (if divide { scaled / factor } else { scaled * factor }).round();
            (scaled.abs() < 9.2e18).then_some(scaled as i64)
        }
    }
}

/// `a op b` of an arithmetic operator. Null makes null.
pub(crate) fn arithmetic<'a>(
    op: BinaryOp,
    a: &Value<'a>,
    b: &Value<'a>,
    meter: &mut Meter,
) -> Checked<Value<'a>> {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return match op {
            BinaryOp::Add => number::add(a, b),
            BinaryOp::Subtract => number::subtract(a, b),
            BinaryOp::Multiply => number::multiply(a, b),
            BinaryOp::Divide => number::divide(a, b),
            BinaryOp::Remainder => number::remainder(a, b),
            _ => number::power(a, b),
        };
    }
    if a.is_null() || b.is_null() {
        return Ok(Value::Null);
    }
    match (op, a, b) {
        (BinaryOp::Add, Value::Text(a), Value::Text(b)) => concat(&[a, b], meter),
        (BinaryOp::Add, Value::Time(a), Value::Duration(b))
        | (BinaryOp::Add, Value::Duration(b), Value::Time(a)) => {
            time(a.as_micros().checked_add(b.as_micros()))
        }
        (BinaryOp::Subtract, Value::Time(a), Value::Duration(b)) => {
            time(a.as_micros().checked_sub(b.as_micros()))
        }
        (BinaryOp::Subtract, Value::Time(a), Value::Time(b)) => {
            duration(a.as_micros().checked_sub(b.as_micros()))
        }
        (BinaryOp::Add, Value::Duration(a), Value::Duration(b)) => {
            duration(a.as_micros().checked_add(b.as_micros()))
        }
        (BinaryOp::Subtract, Value::Duration(a), Value::Duration(b)) => {
            duration(a.as_micros().checked_sub(b.as_micros()))
        }
        (BinaryOp::Divide, Value::Duration(a), Value::Duration(b)) => {
            number::divide(Number::Int(a.as_micros()), Number::Int(b.as_micros()))
        }
        (BinaryOp::Multiply, Value::Duration(a), b) if Number::of(b).is_some() => {
            duration(Number::of(b).and_then(|b| scaled(*a, b, false)))
        }
        (BinaryOp::Multiply, a, Value::Duration(b)) if Number::of(a).is_some() => {
            duration(Number::of(a).and_then(|a| scaled(*b, a, false)))
        }
        (BinaryOp::Divide, Value::Duration(a), b) if Number::of(b).is_some() => {
            if *b == Value::Int(0) {
                return Err(Fault::new(ErrorKind::DivisionByZero, "this divides by zero"));
            }
            duration(Number::of(b).and_then(|b| scaled(*a, b, true)))
        }
        _ => Err(clash(op, a.type_name(), b.type_name())),
    }
}

/// Texts behind each other.
pub(crate) fn concat<'a>(parts: &[&str], meter: &mut Meter) -> Checked<Value<'a>> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    meter.bytes(bytes as u64)?;
    Ok(Value::Text(Text::from(parts.concat())))
}

/// `-a`.
pub(crate) fn negate<'a>(a: &Value<'a>) -> Checked<Value<'a>> {
    match a {
        Value::Int(_) | Value::Float(_) => number::negate(Number::of(a).unwrap_or(Number::Int(0))),
        Value::Duration(a) => duration(a.as_micros().checked_neg()),
        Value::Null => Ok(Value::Null),
        _ => {
            let message = format!("`-` does not work with {}", a.type_name());
            Err(Fault::new(ErrorKind::TypeClash, message))
        }
    }
}

/// `a op b` of a comparison.
#[inline]
pub(crate) fn compare(
    op: BinaryOp,
    a: &Value<'_>,
    b: &Value<'_>,
    meter: &mut Meter,
) -> Checked<bool> {
    // Numbers first, since most comparisons are of them.
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        _ => {
            let weight = a.weight().min(b.weight());
            if weight > 256 {
                meter.read(weight)?;
            }
            match op {
                BinaryOp::Equal => return Ok(a == b),
                BinaryOp::NotEqual => return Ok(a != b),
                _ => {}
            }
            if a.is_null() || b.is_null() {
                return Ok(false);
            }
            let (kinds_a, kinds_b) = (Kinds::of(a), Kinds::of(b));
            if !can_order(kinds_a, kinds_b) {
                return Err(clash(op, a.type_name(), b.type_name()));
            }
            a.cmp_values(b)
        }
    };
    Ok(match op {
        BinaryOp::Equal => order == Ordering::Equal,
        BinaryOp::NotEqual => order != Ordering::Equal,
        BinaryOp::Less => order == Ordering::Less,
        BinaryOp::LessEqual => order != Ordering::Greater,
        BinaryOp::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

/// `a in b`: an item of an array, or the name of a member of an object. Nothing is in null.
pub(crate) fn is_in(a: &Value<'_>, b: &Value<'_>, meter: &mut Meter) -> Checked<bool> {
    match (a, b) {
        (_, Value::Null) => Ok(false),
        (a, Value::Array(items)) => {
            for item in items.iter() {
                meter.step()?;
                meter.read(a.weight().min(item.weight()))?;
                if a == item {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Text(name), Value::Object(members)) => {
            meter.read(name.len() as u64)?;
            Ok(members.get(name).is_some())
        }
        (Value::Null, Value::Object(_)) => Ok(false),
        _ => Err(clash(BinaryOp::In, a.type_name(), b.type_name())),
    }
}

/// `a in b` of an array whose items are sorted.
pub(crate) fn is_in_set(a: &Value<'_>, set: &[Value<'_>], meter: &mut Meter) -> Checked<bool> {
    let rounds = u64::from(usize::BITS - set.len().leading_zeros());
    meter.steps(rounds)?;
    // No comparison reads more than the lighter side.
    meter.read(a.weight().saturating_mul(rounds))?;
    Ok(set.binary_search_by(|item| item.cmp_values(a)).is_ok())
}

/// A condition: true or false, where null is false.
#[inline]
pub(crate) fn truth(value: &Value<'_>) -> Checked<bool> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Null => Ok(false),
        other => {
            let message = format!("a condition is a bool, not {}", other.type_name());
            Err(Fault::new(ErrorKind::TypeClash, message))
        }
    }
}

/// `of.name`: null if there is no such member.
pub(crate) fn member<'a>(of: &Value<'a>, name: &str) -> Checked<Value<'a>> {
    match of {
        Value::Object(members) => Ok(members.get(name).cloned().unwrap_or_default()),
        Value::Null => Ok(Value::Null),
        _ => {
            let message = format!("{} has no members", of.type_name());
            Err(Fault::new(ErrorKind::TypeClash, message))
        }
    }
}

/// `of[index]`: null if there is no such item or member. Below zero counts from the end.
pub(crate) fn index<'a>(
    of: &Value<'a>,
    index: &Value<'a>,
    meter: &mut Meter,
) -> Checked<Value<'a>> {
    match (of, index) {
        (Value::Null, _) | (Value::Array(_) | Value::Object(_), Value::Null) => Ok(Value::Null),
        (Value::Array(items), Value::Int(at)) => {
            Ok(place(*at, items.len()).and_then(|at| items.get(at)).cloned().unwrap_or_default())
        }
        (Value::Object(members), Value::Text(name)) => {
            meter.read(name.len() as u64)?;
            Ok(members.get(name).cloned().unwrap_or_default())
        }
        _ => {
            let (of, index) = (of.type_name(), index.type_name());
            let message = format!("{of} has no items by {index}");
            let fault = Fault::new(ErrorKind::TypeClash, message);
            Err(if of == "text" { fault.hint("`substring` cuts a text") } else { fault })
        }
    }
}

/// The place of an item, if there may be one: below zero counts from the end.
pub(crate) fn place(at: i64, len: usize) -> Option<usize> {
    let back = || len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?);
    if at < 0 { back() } else { usize::try_from(at).ok() }
}
