//! Values and types of the model as those of the expression language, and back.

use datafold_lang::{self as lang, Text, Type};

use super::{CodecError, Field, FieldKind, ScalarType, Timestamp, Value, decode_value, take_text};

/// The same value; its texts are borrowed.
pub(crate) fn to_lang(value: &Value) -> lang::Value<'_> {
    match value {
        Value::Null => lang::Value::Null,
        Value::Bool(value) => lang::Value::Bool(*value),
        Value::Int(value) => lang::Value::Int(*value),
        Value::Float(value) => lang::Value::Float(*value),
        Value::Time(time) => {
            lang::Time::from_micros(time.as_micros()).map_or(lang::Value::Null, lang::Value::Time)
        }
        Value::Text(text) => lang::Value::Text(Text::Borrowed(text)),
        // Both nest as deep as each other.
        Value::Array(items) => {
            lang::Value::array(items.iter().map(to_lang).collect()).unwrap_or_default()
        }
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| (Text::Borrowed(name), to_lang(value)));
            lang::Value::object(members.collect()).unwrap_or_default()
        }
    }
}

/// The same value; a duration becomes its text.
pub(crate) fn from_lang(value: &lang::Value<'_>) -> Value {
    match value {
        lang::Value::Null => Value::Null,
        lang::Value::Bool(value) => Value::Bool(*value),
        lang::Value::Int(value) => Value::Int(*value),
        lang::Value::Float(value) => Value::Float(*value),
        lang::Value::Time(time) => Value::Time(Timestamp::from_micros(time.as_micros())),
        lang::Value::Duration(duration) => Value::Text(duration.to_string()),
        lang::Value::Text(text) => Value::from(text.as_str()),
        lang::Value::Array(items) => Value::Array(items.iter().map(from_lang).collect()),
        lang::Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| (name.as_str().to_owned(), from_lang(value)));
            Value::Object(members.collect())
        }
    }
}

/// The value that was encoded; its text is borrowed.
#[inline]
pub(crate) fn decode_lang(raw: &[u8]) -> Result<lang::Value<'_>, CodecError> {
    let int = match raw {
        [number @ 0..24] | [24, number @ 24..=255] => i64::from(*number),
        [25, a @ 1..=255, b] => i64::from(u16::from_be_bytes([*a, *b])),
        [26, a, b, c, d] if (*a, *b) != (0, 0) => i64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        [number @ 0x20..0x38] => -1 - i64::from(number - 0x20),
        [0x38, number @ 24..=255] => -1 - i64::from(*number),
        _ => return decode_other(raw),
    };
    Ok(lang::Value::Int(int))
}

fn decode_other(raw: &[u8]) -> Result<lang::Value<'_>, CodecError> {
    if let Some((text, [])) = take_text(raw) {
        return Ok(lang::Value::Text(Text::Borrowed(text)));
    }
    let value = decode_value(raw)?;
    Ok(match value {
        Value::Float(float) => lang::Value::Float(float),
        Value::Text(text) => lang::Value::Text(Text::from(text)),
        other => to_lang(&other).into_owned(),
    })
}

/// The type of a field's value: of one that has elements, an object of them.
pub(crate) fn type_of(field: &Field) -> Type {
    let of = match &field.value {
        None => Type::ANY,
        Some(schema) => match schema.scalar_type() {
            Some(ScalarType::Bool) => Type::BOOL,
            Some(ScalarType::Integer) => Type::INTEGER,
            Some(ScalarType::Number) => Type::NUMBER,
            Some(ScalarType::Text) => Type::TEXT,
            Some(ScalarType::Time) => Type::TIME,
            _ => Type::of_json_schema(&to_lang(schema.json())),
        },
    };
    match field.kind {
        FieldKind::Single => of,
        FieldKind::Collection | FieldKind::Range => Type::elements(of),
    }
}
