//! The stored encoding of values: CBOR.
//!
//! Integers, text, arrays and objects are CBOR's own, in their shortest form and with definite
//! lengths; members are sorted by the bytes of their names. A float is always 8 bytes. A time is
//! tag 6 around its microseconds. One value has one encoding.
//!
//! Source: RFC 8949.

use std::collections::BTreeMap;
use std::convert::Infallible;

use minicbor::data::{Tag, Type};
use minicbor::encode;
use minicbor::{Decoder, Encoder};

use super::value::DEPTH_MAX;
use super::{InvalidValue, Timestamp, Value};

/// The tag of a time. IANA has not assigned it, so no other reader takes it for something else.
const TIME_TAG: Tag = Tag::new(6);

/// Why bytes are not an encoded value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not CBOR, end too early, or hold an integer outside `i64`.
    #[error("the encoding is damaged at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
        /// The decoder's answer.
        #[source]
        source: minicbor::decode::Error,
    },
    /// CBOR that no value is encoded as.
    #[error("the encoding has an unexpected {found} at byte {at}")]
    Unexpected {
        /// Where.
        at: usize,
        /// The CBOR type.
        found: Type,
    },
    /// A number, a length or a tag in more bytes than it needs.
    #[error("the encoding has a number that is not in its shortest form at byte {at}")]
    NotShortest {
        /// Where.
        at: usize,
    },
    /// A length beyond the bytes that follow.
    #[error("the encoding ends inside the value at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// Members of an object that are not in ascending order, or twice.
    #[error("the encoding has unsorted members at byte {at}")]
    Unsorted {
        /// Where.
        at: usize,
    },
    /// A number or a nesting that breaks an invariant of values.
    #[error("the encoding has an invalid value at byte {at}")]
    Invalid {
        /// Where.
        at: usize,
        /// The invariant.
        #[source]
        source: InvalidValue,
    },
    /// Bytes behind the value.
    #[error("the encoding has {count} bytes too many")]
    Trailing {
        /// How many.
        count: usize,
    },
}

impl CodecError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            CodecError::Malformed { .. } => "encoding_malformed",
            CodecError::Unexpected { .. } => "encoding_unexpected",
            CodecError::NotShortest { .. } => "encoding_not_shortest",
            CodecError::Truncated { .. } => "encoding_truncated",
            CodecError::Unsorted { .. } => "encoding_unsorted",
            CodecError::Invalid { .. } => "encoding_invalid",
            CodecError::Trailing { .. } => "encoding_trailing",
        }
    }
}

/// Appends the encoding of a value.
///
/// The value keeps the invariants of [`Value`]; [`Value::check`] checks them. What breaks them is
/// encoded, but not decoded again.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) {
    // A vector takes every byte.
    let _: Result<(), encode::Error<Infallible>> = write(value, &mut Encoder::new(out));
}

fn write(value: &Value, out: &mut Encoder<&mut Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
    match value {
        Value::Null => out.null()?,
        Value::Bool(value) => out.bool(*value)?,
        Value::Int(value) => out.i64(*value)?,
        Value::Float(value) => out.f64(*value)?,
        Value::Time(time) => out.tag(TIME_TAG)?.i64(time.as_micros())?,
        Value::Text(text) => out.str(text)?,
        Value::Array(items) => {
            out.array(items.len() as u64)?;
            return items.iter().try_for_each(|item| write(item, out));
        }
        Value::Object(members) => {
            out.map(members.len() as u64)?;
            return members.iter().try_for_each(|(name, member)| {
                out.str(name)?;
                write(member, out)
            });
        }
    };
    Ok(())
}

/// Decodes bytes that hold one value and nothing else.
///
/// # Errors
///
/// A [`CodecError`] for bytes that [`encode_value`] does not write. It never panics.
///
/// # Cost
///
/// One pass; allocates at most in proportion to the bytes, whatever lengths they claim.
pub fn decode_value(bytes: &[u8]) -> Result<Value, CodecError> {
    let mut decoder = Decoder::new(bytes);
    let value = decode_from(&mut decoder)?;
    match bytes.len().saturating_sub(decoder.position()) {
        0 => Ok(value),
        count => Err(CodecError::Trailing { count }),
    }
}

/// The text of less than 256 bytes that begins here, and what stands behind it.
pub(crate) fn take_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = match bytes {
        [head @ 0x60..0x78, rest @ ..] => (head - 0x60, rest),
        [0x78, length @ 24..=255, rest @ ..] => (*length, rest),
        _ => return None,
    };
    let (text, rest) = rest.split_at_checked(length.into())?;
    simdutf8::basic::from_utf8(text).ok().map(|text| (text, rest))
}

/// As [`decode_value`], in the place of `value`, whose memory a text takes over.
pub(crate) fn decode_value_into(bytes: &[u8], value: &mut Value) -> Result<(), CodecError> {
    if let (Value::Text(text), Some((found, []))) = (&mut *value, take_text(bytes)) {
        text.clear();
        text.push_str(found);
        return Ok(());
    }
    *value = decode_value(bytes)?;
    Ok(())
}

/// Decodes the value at the decoder's position, and leaves it behind the value.
///
/// # Errors
///
/// As [`decode_value`], but for bytes behind the value.
pub fn decode_from(decoder: &mut Decoder<'_>) -> Result<Value, CodecError> {
    read(decoder, 0)
}

/// Refuses the head of an item that has a shorter form, so that a value has one encoding.
///
/// Source: RFC 8949, section 4.2.1.
fn check_head(bytes: &[u8], at: usize) -> Result<(), CodecError> {
    let is_long = match bytes.get(at..).unwrap_or_default() {
        // Floats and simple values are no numbers of this kind.
        [0xE0..=0xFF, ..] => false,
        [head, number, ..] if head & 0x1F == 24 => *number < 24,
        [head, 0, _, ..] if head & 0x1F == 25 => true,
        [head, 0, 0, ..] if head & 0x1F == 26 => true,
        [head, 0, 0, 0, 0, ..] if head & 0x1F == 27 => true,
        _ => false,
    };
    if is_long { Err(CodecError::NotShortest { at }) } else { Ok(()) }
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CodecError> {
    let at = decoder.position();
    let malformed = |source| CodecError::Malformed { at, source };
    check_head(decoder.input(), at)?;
    let found = decoder.datatype().map_err(malformed)?;
    let value = match found {
        Type::Null => decoder.null().map(|()| Value::Null),
        Type::Bool => decoder.bool().map(Value::Bool),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.i64().map(Value::Int),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => decoder.i64().map(Value::Int),
        Type::F64 => {
            let value = Value::Float(decoder.f64().map_err(malformed)?);
            return value
                .check()
                .map(|()| value)
                .map_err(|e| CodecError::Invalid { at, source: e });
        }
        Type::String => decoder.str().map(Value::from),
        Type::Tag if decoder.tag().map_err(malformed)? == TIME_TAG => {
            check_head(decoder.input(), decoder.position())?;
            decoder.i64().map(|micros| Value::Time(Timestamp::from_micros(micros)))
        }
        Type::Array => return read_array(decoder, at, depth),
        Type::Map => return read_object(decoder, at, depth),
        found => return Err(CodecError::Unexpected { at, found }),
    };
    value.map_err(malformed)
}

/// Checks the depth, and that as many items as claimed can follow: each has a byte at least.
fn check_length(
    decoder: &Decoder<'_>,
    at: usize,
    depth: usize,
    length: Option<u64>,
) -> Result<usize, CodecError> {
    if depth >= DEPTH_MAX {
        return Err(CodecError::Invalid { at, source: InvalidValue::TooDeep });
    }
    let rest = decoder.input().len().saturating_sub(decoder.position());
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.filter(|length| *length <= rest).ok_or(CodecError::Truncated { at })
}

fn read_array(decoder: &mut Decoder<'_>, at: usize, depth: usize) -> Result<Value, CodecError> {
    let length = decoder.array().map_err(|source| CodecError::Malformed { at, source })?;
    let length = check_length(decoder, at, depth, length)?;
    // A value takes more memory than its shortest encoding, so long arrays grow as they are read.
    let mut items = Vec::with_capacity(length.min(64));
    for _ in 0..length {
        items.push(read(decoder, depth + 1)?);
    }
    Ok(Value::Array(items))
}

fn read_object(decoder: &mut Decoder<'_>, at: usize, depth: usize) -> Result<Value, CodecError> {
    let length = decoder.map().map_err(|source| CodecError::Malformed { at, source })?;
    let length = check_length(decoder, at, depth, length)?;
    let mut members = BTreeMap::new();
    let mut last: Option<&str> = None;
    for _ in 0..length {
        let at = decoder.position();
        check_head(decoder.input(), at)?;
        let name = decoder.str().map_err(|source| CodecError::Malformed { at, source })?;
        if last.is_some_and(|last| last >= name) {
            return Err(CodecError::Unsorted { at });
        }
        last = Some(name);
        members.insert(name.to_owned(), read(decoder, depth + 1)?);
    }
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::tests::{nested, value};
    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_value(value, &mut bytes);
        bytes
    }

    fn code(bytes: &[u8]) -> &'static str {
        decode_value(bytes).unwrap_err().code()
    }

    proptest! {
        #[test]
        fn values_are_read_back(value in value()) {
            let bytes = encoded(&value);
            prop_assert_eq!(&decode_value(&bytes).unwrap(), &value);
            for end in 0..bytes.len() {
                prop_assert!(decode_value(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn a_value_takes_the_place_of_another(value in value(), before in value(), flip: bool) {
            let mut bytes = encoded(&value);
            if flip && let Some(last) = bytes.last_mut() {
                *last ^= 0xFF;
            }
            let mut found = before;
            match decode_value(&bytes) {
                Ok(expected) => {
                    decode_value_into(&bytes, &mut found).unwrap();
                    prop_assert_eq!(found, expected);
                }
                Err(_) => prop_assert!(decode_value_into(&bytes, &mut found).is_err()),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_value(&bytes);
        }

        #[test]
        fn damaged_bytes_decode_to_what_they_encode(value in value(), at: usize, byte: u8) {
            let mut bytes = encoded(&value);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(value) = decode_value(&bytes) {
                prop_assert_eq!(decode_value(&encoded(&value)).unwrap(), value);
            }
        }
    }

    /// The bytes are on disks: they must never change.
    #[test]
    fn the_bytes_are_frozen() {
        let value = Value::parse_json(r#"{"b":[null,true,-1,24],"a":"é","c":1.5}"#).unwrap();
        let expected = b"\xa3\x61a\x62\xc3\xa9\x61b\x84\xf6\xf5\x20\x18\x18\x61c\xfb\
            \x3f\xf8\0\0\0\0\0\0";
        assert_eq!(encoded(&value), expected);
        assert_eq!(encoded(&Value::Time(Timestamp::from_micros(-1))), b"\xc6\x20");
        assert_eq!(encoded(&Value::Int(i64::MIN)), b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff");
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        assert_eq!(code(b""), "encoding_malformed");
        assert_eq!(code(b"\xf6\xf6"), "encoding_trailing");
        assert_eq!(code(b"\xf9\x3c\x00"), "encoding_unexpected");
        assert_eq!(code(b"\xc5\x20"), "encoding_unexpected");
        assert_eq!(code(b"\x9f\xff"), "encoding_unexpected");
        assert_eq!(code(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), "encoding_truncated");
        assert_eq!(code(b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff"), "encoding_malformed");
        assert_eq!(code(b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), "encoding_malformed");
        assert_eq!(code(b"\xa2\x61a\xf6\x61a\xf6"), "encoding_unsorted");
        assert_eq!(code(b"\xfb\x7f\xf0\0\0\0\0\0\0"), "encoding_invalid");
        assert_eq!(code(b"\xfb\x3f\xf0\0\0\0\0\0\0"), "encoding_invalid");
        for long in [
            &b"\x18\x17"[..],
            b"\x19\0\xff",
            b"\x1a\0\0\xff\xff",
            b"\x1b\0\0\0\0\xff\xff\xff\xff",
            b"\x38\0",
            b"\x78\x01a",
            b"\x98\x01\xf6",
            b"\xb8\x01\x61a\xf6",
            b"\xa1\x78\x01a\xf6",
            b"\xd8\x06\0",
            b"\xc6\x18\0",
        ] {
            assert_eq!(code(long), "encoding_not_shortest", "{long:x?}");
        }
        assert_eq!(code(&[0x81; 100_000]), "encoding_invalid");
    }

    #[test]
    fn depth_is_limited() {
        assert!(decode_value(&encoded(&nested(DEPTH_MAX))).is_ok());
        assert_eq!(code(&encoded(&nested(DEPTH_MAX + 1))), "encoding_invalid");
    }
}
