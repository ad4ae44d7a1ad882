//! Keys of records.

use std::fmt;

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyPart, KeyReader, KeyWriter};

use super::{Timestamp, Value};

/// The most bytes of an encoded record key.
pub const KEY_BYTES_MAX: usize = 480;

/// Why values do not make a key, or bytes are not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordKeyError {
    /// The encoded key is longer than [`KEY_BYTES_MAX`].
    #[error("the key has {found} bytes when encoded, at most {max} are allowed")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// An array or object.
    #[error("{found} cannot be a part of a key, only bool, number, time and text can")]
    NotScalar {
        /// The type found.
        found: &'static str,
    },
    /// The bytes are no key, or a number is not finite.
    #[error(transparent)]
    Encoding(#[from] KeyError),
}

impl RecordKeyError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RecordKeyError::TooLong { .. } => "key_too_long",
            RecordKeyError::NotScalar { .. } => "key_not_scalar",
            RecordKeyError::Encoding(_) => "key_encoding",
        }
    }
}

/// The key of a record: the values of its key fields, encoded so that the bytes sort as the
/// values do.
///
/// Keys of one schema compare as their parts do, part by part. The record of a schema without key
/// has the key [`RecordKey::EMPTY`].
///
/// # Cost
///
/// A clone shares the bytes.
///
/// ```
/// use datafold::model::{KeyPart, RecordKey};
///
/// let key = RecordKey::from_parts(&[KeyPart::Text("UA".into()), KeyPart::Int(1545)])?;
/// assert_eq!(key.to_string(), r#"["UA",1545]"#);
/// # Ok::<(), datafold::model::RecordKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(Bytes);

impl RecordKey {
    /// The key of the only record of a schema without key.
    pub const EMPTY: RecordKey = RecordKey(Bytes::new());

    /// Encodes the parts of a key.
    ///
    /// # Errors
    ///
    /// [`RecordKeyError::TooLong`] beyond [`KEY_BYTES_MAX`] encoded bytes, and
    /// [`RecordKeyError::Encoding`] for a number that is not finite.
    pub fn from_parts(parts: &[KeyPart]) -> Result<Self, RecordKeyError> {
        let mut key = KeyWriter::new();
        for part in parts {
            key.part(part)?;
        }
        let found = key.as_slice().len();
        if found > KEY_BYTES_MAX {
            return Err(RecordKeyError::TooLong { found, max: KEY_BYTES_MAX });
        }
        Ok(Self(key.finish()))
    }

    /// Takes bytes that [`RecordKey::as_bytes`] gave, without checking them.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The encoded key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded key, shared.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether it is the key of a schema without key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decodes the parts.
    ///
    /// # Errors
    ///
    /// [`RecordKeyError::Encoding`] if the bytes given to [`RecordKey::from_bytes`] were no key.
    pub fn parts(&self) -> Result<Vec<KeyPart>, RecordKeyError> {
        let mut reader = KeyReader::new(&self.0);
        let mut parts = Vec::new();
        while !reader.is_empty() {
            parts.push(reader.part()?);
        }
        Ok(parts)
    }

    /// Decodes the parts as values.
    ///
    /// # Errors
    ///
    /// As [`RecordKey::parts`].
    pub fn values(&self) -> Result<Vec<Value>, RecordKeyError> {
        Ok(self.parts()?.into_iter().map(value_of_part).collect())
    }
}

/// A JSON array of the parts: `["UA",1545,"2013-01-01T05:15:00Z"]`.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values() {
            Ok(values) => f.write_str(&Value::Array(values).to_json()),
            Err(_) => write!(f, "<damaged key of {} bytes>", self.0.len()),
        }
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a part of a key.
#[must_use]
pub fn value_of_part(part: KeyPart) -> Value {
    match part {
        KeyPart::Null => Value::Null,
        KeyPart::Bool(value) => Value::Bool(value),
        KeyPart::Int(value) => Value::Int(value),
        // A part made by hand may break the invariants of values; a decoded one does not.
        KeyPart::Float(value) => Value::number(value).unwrap_or_default(),
        KeyPart::Time(micros) => Value::Time(Timestamp::from_micros(micros)),
        KeyPart::Text(text) => Value::Text(text),
    }
}

/// The part of a key that a value makes.
///
/// # Errors
///
/// [`RecordKeyError::NotScalar`] for an array or object.
pub fn part_of_value(value: &Value) -> Result<KeyPart, RecordKeyError> {
    Ok(match value {
        Value::Null => KeyPart::Null,
        Value::Bool(value) => KeyPart::Bool(*value),
        Value::Int(value) => KeyPart::Int(*value),
        Value::Float(value) => KeyPart::Float(*value),
        Value::Time(time) => KeyPart::Time(time.as_micros()),
        Value::Text(text) => KeyPart::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(RecordKeyError::NotScalar { found: value.type_name() });
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::tests::scalar;
    use super::*;

    fn key(values: &[Value]) -> RecordKey {
        let parts: Vec<_> = values.iter().map(|value| part_of_value(value).unwrap()).collect();
        RecordKey::from_parts(&parts).unwrap()
    }

    proptest! {
        #[test]
        fn keys_are_read_back_and_sort_as_values(
            a in prop::collection::vec(scalar(), 0..4),
            b in prop::collection::vec(scalar(), 0..4),
        ) {
            prop_assert_eq!(&key(&a).values().unwrap(), &a);
            let expected = Value::Array(a.clone()).cmp_values(&Value::Array(b.clone()));
            prop_assert_eq!(key(&a).cmp(&key(&b)), expected);
        }
    }

    #[test]
    fn a_key_prints_as_json() {
        let time = Timestamp::parse("2013-01-01T05:15:00Z").unwrap();
        let flight = key(&["UA".into(), 1545.into(), time.into()]);
        assert_eq!(flight.to_string(), r#"["UA",1545,"2013-01-01T05:15:00Z"]"#);
        assert_eq!(RecordKey::EMPTY.to_string(), "[]");
        assert_eq!(RecordKey::from_bytes(&[0xEE_u8][..]).to_string(), "<damaged key of 1 bytes>");
    }

    #[test]
    fn limits_are_kept() {
        // A tag and a terminator stand around the text.
        let text = |bytes| [KeyPart::Text("x".repeat(bytes))];
        assert!(RecordKey::from_parts(&text(478)).is_ok());
        let error = RecordKey::from_parts(&text(479)).unwrap_err();
        assert_eq!(error, RecordKeyError::TooLong { found: 481, max: 480 });
        assert_eq!(part_of_value(&Value::Array(vec![])).unwrap_err().code(), "key_not_scalar");
        assert!(RecordKey::from_parts(&[KeyPart::Float(f64::NAN)]).is_err());
    }
}
