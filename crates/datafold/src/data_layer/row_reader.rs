//! Reading the CBOR of rows.

use minicbor::Decoder;

use super::serialization::RowError;
use crate::model::{Value, decode_from, take_text};

/// The CBOR item that stands for a deleted cell.
pub(crate) const UNDEFINED: u8 = 0xF7;

/// Reads a row from its beginning on.
///
/// Numbers of at most 32 bits and short arrays, of which rows consist, are read here, since scans
/// read many; everything else by a [`Decoder`].
#[derive(Debug, Clone)]
pub(crate) struct RowReader<'a> {
    row: &'a [u8],
    rest: &'a [u8],
}

impl<'a> RowReader<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Self {
        Self { row, rest: row }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The length of an array that begins here; 0 if it does not say it.
    pub(crate) fn array(&mut self) -> Result<u64, RowError> {
        match self.rest {
            [head @ 0x80..0x98, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(head - 0x80))
            }
            _ => self.decode(|decoder| Ok(decoder.array()?.unwrap_or(0))),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RowError> {
        match self.small_number() {
            Some(number) => Ok(u64::from(number)),
            None => self.decode(|decoder| Ok(decoder.u64()?)),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RowError> {
        match self.small_number() {
            Some(number) => Ok(number),
            None => self.decode(|decoder| Ok(decoder.u32()?)),
        }
    }

    /// Decodes a value in the place of another one, whose memory a text takes over.
    pub(crate) fn value(&mut self, value: &mut Value) -> Result<(), RowError> {
        match (&mut *value, self.rest) {
            (_, [number @ 0..24, rest @ ..] | [24, number @ 24..=255, rest @ ..]) => {
                *value = Value::Int(i64::from(*number));
                self.rest = rest;
            }
            (Value::Text(text), [0x60..0x80, ..])
                if let Some((found, rest)) = take_text(self.rest) =>
            {
                text.clear();
                text.push_str(found);
                self.rest = rest;
            }
            _ => *value = self.decode(|decoder| Ok(decode_from(decoder)?))?,
        }
        Ok(())
    }

    /// Steps over a value. Texts and numbers, which most are, are not looked at.
    pub(crate) fn skip(&mut self) -> Result<(), RowError> {
        let behind = match self.rest {
            [0x00..0x18 | 0x20..0x38, rest @ ..] | [0x18 | 0x38, _, rest @ ..] => Some(rest),
            [head @ 0x60..0x78, rest @ ..] => rest.get(usize::from(head - 0x60)..),
            [0x78, length, rest @ ..] => rest.get(usize::from(*length)..),
            _ => None,
        };
        match behind {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => self.decode(|decoder| Ok(decoder.skip()?)),
        }
    }

    /// Steps over a value and answers its bytes, which are well-formed, texts too; `None` for one
    /// that stands for no value.
    pub(crate) fn raw_value(&mut self) -> Result<Option<&'a [u8]>, RowError> {
        if self.is_undefined() {
            return Ok(None);
        }
        let before = self.rest;
        match take_text(before) {
            Some((_, behind)) => self.rest = behind,
            None => self.decode(|decoder| Ok(decoder.skip()?))?,
        }
        let raw = before.get(..before.len() - self.rest.len());
        raw.map(Some).ok_or(RowError::Malformed("a value ends behind its row"))
    }

    /// Answers whether the next item stands for no value, and steps over it then.
    pub(crate) fn is_undefined(&mut self) -> bool {
        let behind = self.rest.strip_prefix(&[UNDEFINED]);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    /// A CBOR unsigned integer of at most 32 bits.
    fn small_number(&mut self) -> Option<u32> {
        let (number, rest) = match self.rest {
            [number @ 0..24, rest @ ..] | [24, number, rest @ ..] => (u32::from(*number), rest),
            [25, a, b, rest @ ..] => (u32::from(u16::from_be_bytes([*a, *b])), rest),
            [26, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), rest),
            _ => return None,
        };
        self.rest = rest;
        Some(number)
    }

    fn decode<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, RowError>,
    ) -> Result<T, RowError> {
        let mut decoder = Decoder::new(self.row);
        // Errors tell where in the row they are.
        decoder.set_position(self.row.len() - self.rest.len());
        let read = read(&mut decoder)?;
        self.rest = self.row.get(decoder.position()..).unwrap_or_default();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Array,
        U64,
        U32,
        Value,
        Skip,
        Undefined,
    }

    fn step() -> impl Strategy<Value = Step> {
        use Step::{Array, Skip, U32, U64, Undefined, Value};
        prop::sample::select(vec![Array, U64, U32, Value, Skip, Undefined])
    }

    /// What a decoder alone reads, and where it stands then.
    fn decoded(decoder: &mut Decoder<'_>, step: Step) -> Result<String, RowError> {
        Ok(match step {
            Step::Array => format!("{}", decoder.array()?.unwrap_or(0)),
            Step::U64 => format!("{}", decoder.u64()?),
            Step::U32 => format!("{}", decoder.u32()?),
            Step::Value => format!("{:?}", crate::model::decode_from(decoder)?),
            Step::Skip => decoder.skip().map(|()| String::new())?,
            Step::Undefined => match decoder.input().get(decoder.position()) {
                Some(&UNDEFINED) => decoder.undefined().map(|()| "true".to_owned())?,
                _ => "false".to_owned(),
            },
        })
    }

    fn read(reader: &mut RowReader<'_>, step: Step, value: &mut Value) -> Result<String, RowError> {
        Ok(match step {
            Step::Array => format!("{}", reader.array()?),
            Step::U64 => format!("{}", reader.u64()?),
            Step::U32 => format!("{}", reader.u32()?),
            Step::Value => reader.value(value).map(|()| format!("{value:?}"))?,
            Step::Skip => reader.skip().map(|()| String::new())?,
            Step::Undefined => format!("{}", reader.is_undefined()),
        })
    }

    /// Bytes that begin items of all kinds more often than others do.
    fn byte() -> impl Strategy<Value = u8> {
        let heads = vec![
            0x00, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x20, 0x38, 0x60, 0x61, 0x78, 0x80, 0x82, 0x98,
            0x9F, 0xA0, 0xC1, 0xF6, 0xF7, 0xFB,
        ];
        prop_oneof![prop::sample::select(heads), any::<u8>()]
    }

    proptest! {
        #[test]
        fn it_reads_what_a_decoder_reads(
            row in prop::collection::vec(byte(), 0..40),
            steps in prop::collection::vec(step(), 1..12),
        ) {
            let (mut reader, mut decoder) = (RowReader::new(&row), Decoder::new(&row));
            let mut value = Value::from("before");
            for step in steps {
                match (read(&mut reader, step, &mut value), decoded(&mut decoder, step)) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                    // A text is stepped over without a look at whether it is one.
                    (Ok(_), Err(_)) if matches!(step, Step::Skip) => break,
                    (found, expected) => {
                        prop_assert_eq!(found.is_ok(), expected.is_ok());
                        break;
                    }
                }
                prop_assert_eq!(reader.rest().len(), row.len() - decoder.position());
            }
        }
    }
}
