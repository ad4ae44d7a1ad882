//! Keys of elements of Collection and Range fields.

use bytes::Bytes;
use datafold_store::encoding::{KeyError, KeyReader, KeyWriter};

use super::RecordKeyError;

/// The most bytes of an encoded element key.
pub const ELEMENT_KEY_BYTES_MAX: usize = 480;

/// The bytes of an element key, which sort as the texts do.
///
/// # Errors
///
/// [`RecordKeyError::TooLong`] beyond [`ELEMENT_KEY_BYTES_MAX`] encoded bytes.
pub(crate) fn encode_element(text: &str) -> Result<Bytes, RecordKeyError> {
    let key = encode_element_bound(text);
    let (found, max) = (key.len(), ELEMENT_KEY_BYTES_MAX);
    if found > max {
        return Err(RecordKeyError::TooLong { found, max });
    }
    Ok(key.into())
}

/// As [`encode_element`], for a bound of a range, which has no limit.
pub(crate) fn encode_element_bound(text: &str) -> Vec<u8> {
    let mut key = KeyWriter::new();
    key.text(text);
    key.into_vec()
}

/// What the bytes of exactly those element keys begin with whose text begins so.
pub(crate) fn encode_element_prefix(text: &str) -> Vec<u8> {
    let mut key = encode_element_bound(text);
    // Without the end of the text.
    key.pop();
    key
}

/// The text of an element key.
pub(crate) fn decode_element(key: &[u8]) -> Result<String, KeyError> {
    let mut text = String::new();
    decode_element_into(key, &mut text)?;
    Ok(text)
}

/// As [`decode_element`], in the place of what `text` holds.
pub(crate) fn decode_element_into(key: &[u8], text: &mut String) -> Result<(), KeyError> {
    let mut reader = KeyReader::new(key);
    reader.text_into(text)?;
    match reader.rest() {
        [] => Ok(()),
        [byte, ..] => Err(KeyError::UnexpectedByte(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_read_back_and_sort_as_texts(a in "[a\0é]{0,5}", b in "[a\0é]{0,5}") {
            let (x, y) = (encode_element(&a).unwrap(), encode_element(&b).unwrap());
            prop_assert_eq!(decode_element(&x).unwrap(), a.clone());
            prop_assert_eq!(x.cmp(&y), a.as_bytes().cmp(b.as_bytes()));
            prop_assert_eq!(x.starts_with(&encode_element_prefix(&b)), a.starts_with(&b));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = decode_element(&bytes);
        }
    }

    #[test]
    fn the_limit_is_kept() {
        assert!(encode_element(&"x".repeat(478)).is_ok());
        let error = encode_element(&"x".repeat(479)).unwrap_err();
        assert_eq!(error, RecordKeyError::TooLong { found: 481, max: 480 });
        assert!(encode_element(&"\0".repeat(300)).is_err());
    }
}
