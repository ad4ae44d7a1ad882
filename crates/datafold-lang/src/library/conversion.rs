//! Functions that make one type of another.

use super::{Function, invalid, one, text};
use crate::diagnostic::Checked;
use crate::meter::Meter;
use crate::number::parse_number;
use crate::time::{Duration, Time};
use crate::types::Kinds;
use crate::value::{VALUE_BYTES, Value};

const ANY: Kinds = Kinds::ANY;
const TEXT: Kinds = Kinds::TEXT;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("to_string", &[("value", ANY)], 1, one(TEXT), to_string,
        "as text: a text as it is, everything else as in JSON without quotes").lenient(),
    Function::new("to_number", &[("value", ANY)], 1, one(Kinds::NUMBER), to_number,
        "as number: true is 1, false 0, a text what it says; everything else is 0").lenient(),
    Function::new("to_boolean", &[("value", ANY)], 1, one(Kinds::BOOL), to_boolean,
        "false for null, 0 and empty texts, else true").lenient(),
    Function::new("parse_number", &[("text", TEXT)], 1, one(Kinds::NUMBER), read_number,
        "the number that a text says, or null"),
    Function::new("parse_time", &[("text", TEXT)], 1, one(Kinds::TIME), parse_time,
        "the time of an RFC 3339 text, or null"),
    Function::new("parse_duration", &[("text", TEXT)], 1, one(Kinds::DURATION), parse_duration,
        "the duration that a text says, or null"),
    Function::new("parse_json", &[("text", TEXT)], 1, one(ANY), parse_json,
        "the value of a JSON text"),
    Function::new("to_json", &[("value", ANY)], 1, one(TEXT), to_json,
        "as JSON text").lenient(),
    Function::new("type_of", &[("value", ANY)], 1, one(TEXT), type_of,
        "null, bool, integer, number, time, duration, text, array or object").lenient(),
];

/// Printing takes at most six bytes for each byte of a text, and 24 for a number.
fn print<'a>(meter: &mut Meter, value: &Value<'_>) -> Checked<Value<'a>> {
    // The text grows by doubling.
    meter.bytes(value.weight().saturating_mul(2))?;
    let mut json = String::new();
    write_charged(meter, value, &mut json)?;
    Ok(Value::from(json))
}

/// As `Value::write_json`, but what texts need beyond their length is charged before.
fn write_charged(meter: &mut Meter, value: &Value<'_>, json: &mut String) -> Checked<()> {
    let extra = escapes(value);
    meter.bytes(extra.saturating_mul(2))?;
    value.write_json(json);
    Ok(())
}

/// About the bytes that escapes add.
fn escapes(value: &Value<'_>) -> u64 {
    let of_text = |text: &str| text.bytes().filter(|b| *b < b' ').count() as u64 * 5;
    match value {
        Value::Text(text) => of_text(text),
        Value::Array(items) => items.iter().map(escapes).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| of_text(name) + escapes(value)).sum()
        }
        _ => 0,
    }
}

fn to_json<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    print(meter, arguments.first().unwrap_or(&Value::Null))
}

fn to_string<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    match arguments.first() {
        Some(Value::Text(text)) => Ok(Value::Text(text.clone())),
        Some(Value::Time(time)) => {
            meter.bytes(2 * VALUE_BYTES)?;
            Ok(time.to_string().into())
        }
        Some(Value::Duration(duration)) => {
            meter.bytes(2 * VALUE_BYTES)?;
            Ok(duration.to_string().into())
        }
        value => print(meter, value.unwrap_or(&Value::Null)),
    }
}

fn to_number<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    Ok(match arguments.first() {
        Some(number @ (Value::Int(_) | Value::Float(_))) => number.clone(),
        Some(Value::Bool(truth)) => Value::Int(i64::from(*truth)),
        Some(Value::Text(text)) => {
            meter.read(text.len() as u64)?;
            parse_number(text.trim()).unwrap_or(Value::Int(0))
        }
        _ => Value::Int(0),
    })
}

fn to_boolean<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    Ok(Value::Bool(match arguments.first() {
        None | Some(Value::Null) => false,
        Some(Value::Bool(truth)) => *truth,
        Some(Value::Int(int)) => *int != 0,
        Some(Value::Text(text)) => !text.is_empty(),
        Some(_) => true,
    }))
}

fn read_number<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 0).len() as u64)?;
    Ok(parse_number(text(arguments, 0).trim()).unwrap_or_default())
}

fn parse_time<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 0).len() as u64)?;
    Ok(Time::parse(text(arguments, 0).trim()).map_or(Value::Null, Value::Time))
}

fn parse_duration<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 0).len() as u64)?;
    Ok(Duration::parse(text(arguments, 0).trim()).map_or(Value::Null, Value::Duration))
}

/// The bytes that a value of a JSON text takes at most, for each byte of the text: `0,` is an
/// item, in an array that grows by doubling and may be copied then.
const PARSED_BYTES: u64 = 48;

fn parse_json<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let json = text(arguments, 0);
    meter.steps(json.len() as u64)?;
    // Only what starts a value, member or level needs more than its own length.
    let starts = json.bytes().filter(|b| matches!(b, b',' | b'[' | b'{' | b':')).count() as u64;
    meter.bytes(json.len() as u64 * 2 + starts.saturating_mul(2 * PARSED_BYTES))?;
    Value::parse_json(json).map_err(|error| invalid(format!("the text is no JSON: {error}")))
}

fn type_of<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    Ok(arguments.first().unwrap_or(&Value::Null).type_name().into())
}
