//! The encodings of the data layer, for those who add a repository.

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyPart, KeyReader, KeyWriter};

use crate::model::{CodecError, Value, decode_value, encode_value};

/// Why a stored row cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The row is no CBOR, or ends too early.
    #[error("the row is no valid CBOR")]
    Cbor(#[from] minicbor::decode::Error),
    /// A value in the row is damaged.
    #[error(transparent)]
    Value(#[from] CodecError),
    /// The row is CBOR of another shape.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Encodes keys so that their bytes sort as they do, and values compactly.
///
/// Every repository uses it; `docs/format.md` describes the bytes.
///
/// ```
/// use datafold::data_layer::serialization::SerializationHelper;
/// use datafold::model::{KeyPart, Value};
///
/// let nine = SerializationHelper::encode_key(&[KeyPart::Int(9)])?;
/// let ten = SerializationHelper::encode_key(&[KeyPart::Float(10.5)])?;
/// assert!(nine < ten);
/// let bytes = SerializationHelper::serialize(&Value::Text("a".into()));
/// assert_eq!(SerializationHelper::deserialize(&bytes)?, Value::Text("a".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SerializationHelper;

impl SerializationHelper {
    /// The bytes of a key made of typed parts; they sort part by part.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotFinite`] for NaN and the infinities.
    pub fn encode_key(parts: &[KeyPart]) -> Result<Bytes, KeyError> {
        let mut key = KeyWriter::new();
        for part in parts {
            key.part(part)?;
        }
        Ok(key.finish())
    }

    /// The parts of a key.
    ///
    /// # Errors
    ///
    /// A [`KeyError`] for bytes that [`SerializationHelper::encode_key`] does not give.
    pub fn decode_key(key: &[u8]) -> Result<Vec<KeyPart>, KeyError> {
        let mut reader = KeyReader::new(key);
        let mut parts = Vec::new();
        while !reader.is_empty() {
            parts.push(reader.part()?);
        }
        Ok(parts)
    }

    /// The CBOR of a value; equal values have equal bytes.
    #[must_use]
    pub fn serialize(value: &Value) -> Bytes {
        let mut out = Vec::with_capacity(16);
        encode_value(value, &mut out);
        out.into()
    }

    /// The value of some CBOR.
    ///
    /// # Errors
    ///
    /// A [`CodecError`] for bytes that [`SerializationHelper::serialize`] does not give.
    pub fn deserialize(bytes: &[u8]) -> Result<Value, CodecError> {
        decode_value(bytes)
    }
}
