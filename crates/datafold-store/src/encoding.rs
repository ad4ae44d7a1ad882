//! Keys whose bytes sort as their values do.
//!
//! A key is a concatenation of numeric ids ([`KeyWriter::id`]) and typed parts
//! ([`KeyWriter::part`]). What is appended behind an id or part never changes its order, so a list
//! of parts sorts part by part. The bytes of one text may begin those of another (`"a"` and
//! `"a\0"`), but then the longer one goes on with 0xFF, with which no id and no part begins.
//!
//! The order of parts is null < bool < number < time < text. Integers and floats share one order
//! and, where they are equal, one encoding. `docs/format.md` gives the bytes.

use std::ops::RangeInclusive;

use bytes::Bytes;
use memchr::memchr;

/// One typed part of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyPart {
    /// Nothing.
    Null,
    /// A truth value; false sorts first.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite number that is not an `i64`. [`KeyWriter`] writes a float that equals an `i64`
    /// as that integer, and the reader gives the integer back.
    Float(f64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
    /// Text, compared by its UTF-8 bytes.
    Text(String),
}

/// The bytes are no key, or a part cannot stand in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes end inside a part.
    #[error("the key ends inside a part")]
    Truncated,
    /// A byte that no part starts or continues with.
    #[error("the key has the unexpected byte {0:#04x}")]
    UnexpectedByte(u8),
    /// Text that is not UTF-8.
    #[error("the key has text that is not UTF-8")]
    NotUtf8,
    /// NaN or an infinity.
    #[error("a key part must be a finite number")]
    NotFinite,
    /// A number in other bytes than those that a [`KeyWriter`] writes: it would not sort with them.
    #[error("the key has a number in another form than its own")]
    OtherForm,
}

const NULL: u8 = 0x05;
const FALSE: u8 = 0x06;
const TRUE: u8 = 0x07;
/// Numbers: the middle is zero; up to 8 bytes of integer part above and below, then the floats
/// whose integer part needs more.
const ZERO: u8 = 0x20;
const HUGE: u8 = 9;
const TIME: u8 = 0x30;
const TEXT: u8 = 0x40;
const ESCAPE: u8 = 0xFF;

/// Most keys of rows are shorter: writing them needs no more memory than they begin with.
const USUAL_BYTES: usize = 48;

/// 2^63, the first float above every `i64`.
const INT_END: f64 = 9_223_372_036_854_775_808.0;

/// The `i64` that equals a float, if there is one.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range and the fraction are checked")]
pub fn exact_int(float: f64) -> Option<i64> {
    let is_int = float.fract() == 0.0 && (-INT_END..INT_END).contains(&float);
    is_int.then_some(float as i64)
}

/// Builds a key.
#[derive(Debug, Clone)]
pub struct KeyWriter {
    bytes: Vec<u8>,
}

impl Default for KeyWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyWriter {
    /// An empty key.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BYTES) }
    }

    /// Appends a number of a space, schema or field: 1 byte below 0xF8, else 2 to 5.
    pub fn id(&mut self, id: u32) -> &mut Self {
        write_ordered(&mut self.bytes, u64::from(id));
        self
    }

    /// Appends a number in 8 bytes, ascending.
    pub fn ascending(&mut self, number: u64) -> &mut Self {
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Appends a number in 8 bytes, the largest first.
    pub fn descending(&mut self, number: u64) -> &mut Self {
        self.bytes.extend_from_slice(&(!number).to_be_bytes());
        self
    }

    /// Appends bytes that are already a part of a key.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a typed part.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotFinite`] for NaN and the infinities.
    pub fn part(&mut self, part: &KeyPart) -> Result<&mut Self, KeyError> {
        match part {
            KeyPart::Null => self.bytes.push(NULL),
            KeyPart::Bool(value) => self.bytes.push(if *value { TRUE } else { FALSE }),
            KeyPart::Int(value) => self.int(*value),
            KeyPart::Float(value) => self.float(*value)?,
            KeyPart::Time(micros) => {
                self.bytes.push(TIME);
                self.bytes.extend_from_slice(&flip_sign(*micros).to_be_bytes());
            }
            KeyPart::Text(text) => self.text(text),
        }
        Ok(self)
    }

    /// Appends text.
    pub fn text(&mut self, text: &str) {
        self.bytes.push(TEXT);
        let mut rest = text.as_bytes();
        while let Some(at) = memchr(0, rest) {
            let (piece, behind) = rest.split_at(at + 1);
            self.bytes.extend_from_slice(piece);
            self.bytes.push(ESCAPE);
            rest = behind;
        }
        self.bytes.extend_from_slice(rest);
        self.bytes.push(0);
    }

    fn int(&mut self, value: i64) {
        self.number(value < 0, value.unsigned_abs(), 0.0);
    }

    fn float(&mut self, value: f64) -> Result<(), KeyError> {
        if !value.is_finite() {
            return Err(KeyError::NotFinite);
        }
        if let Some(int) = exact_int(value) {
            self.int(int);
            return Ok(());
        }
        let (negative, size) = (value.is_sign_negative(), value.abs());
        if size >= INT_END {
            let start = self.bytes.len();
            self.bytes.push(ZERO + HUGE);
            self.bytes.extend_from_slice(&size.to_bits().to_be_bytes());
            self.invert_from(start, negative);
            return Ok(());
        }
        let whole = exact_int(size.trunc()).unwrap_or(0).unsigned_abs();
        self.number(negative, whole, size.fract());
        Ok(())
    }

    /// A size below 2^63, or exactly 2^63 for the smallest integer: length of the integer part,
    /// integer part, fraction. A negative number has every byte of its size inverted.
    fn number(&mut self, negative: bool, whole: u64, fraction: f64) {
        let start = self.bytes.len();
        let bytes = whole.to_be_bytes();
        let skipped = (whole.leading_zeros() / 8) as usize;
        let significant = bytes.get(skipped..).unwrap_or_default();
        self.bytes.push(ZERO + significant.len().to_le_bytes()[0]);
        self.bytes.extend_from_slice(significant);
        if fraction == 0.0 {
            self.bytes.push(0);
        } else {
            self.bytes.push(1);
            self.bytes.extend_from_slice(&fraction.to_bits().to_be_bytes());
        }
        self.invert_from(start, negative);
    }

    fn invert_from(&mut self, start: usize, negative: bool) {
        if !negative {
            return;
        }
        let mut bytes = self.bytes.iter_mut().skip(start);
        if let Some(tag) = bytes.next() {
            *tag = ZERO - (*tag - ZERO) - 1;
        }
        for byte in bytes {
            *byte = !*byte;
        }
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished key.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }

    /// The finished key, for a bound.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// Goes on behind what is there.
impl From<Vec<u8>> for KeyWriter {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

/// The bytes with which the parts of one type begin: of bools, numbers, times or texts.
#[must_use]
pub fn part_region(part: &KeyPart) -> RangeInclusive<u8> {
    match part {
        KeyPart::Null => NULL..=NULL,
        KeyPart::Bool(_) => FALSE..=TRUE,
        KeyPart::Int(_) | KeyPart::Float(_) => ZERO - 1 - HUGE..=ZERO + HUGE,
        KeyPart::Time(_) => TIME..=TIME,
        KeyPart::Text(_) => TEXT..=TEXT,
    }
}

/// Reads back what a [`KeyWriter`] wrote, from the front.
#[derive(Debug, Clone)]
pub struct KeyReader<'a> {
    bytes: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Starts at the front of a key.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads a number of a space, schema or field.
    ///
    /// # Errors
    ///
    /// [`KeyError::Truncated`], [`KeyError::UnexpectedByte`] for a number beyond `u32`, and
    /// [`KeyError::OtherForm`] for one that has a shorter form.
    pub fn id(&mut self) -> Result<u32, KeyError> {
        let first = self.bytes.first().copied().ok_or(KeyError::Truncated)?;
        let number = self.ordered()?;
        u32::try_from(number).map_err(|_| KeyError::UnexpectedByte(first))
    }

    /// Reads what [`KeyWriter::ascending`] wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::Truncated`].
    pub fn ascending(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Reads what [`KeyWriter::descending`] wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::Truncated`].
    pub fn descending(&mut self) -> Result<u64, KeyError> {
        Ok(!u64::from_be_bytes(self.array()?))
    }

    /// Reads one typed part.
    ///
    /// # Errors
    ///
    /// A [`KeyError`] for bytes that no [`KeyWriter`] wrote.
    pub fn part(&mut self) -> Result<KeyPart, KeyError> {
        let tag = self.byte()?;
        match tag {
            NULL => Ok(KeyPart::Null),
            FALSE => Ok(KeyPart::Bool(false)),
            TRUE => Ok(KeyPart::Bool(true)),
            TIME => Ok(KeyPart::Time(flip_sign(i64::from_be_bytes(self.array()?)))),
            TEXT => {
                let mut text = String::new();
                self.rest_of_text(&mut text)?;
                Ok(KeyPart::Text(text))
            }
            ZERO..=0x29 => self.number(tag - ZERO, false),
            0x16..ZERO => self.number(ZERO - 1 - tag, true),
            other => Err(KeyError::UnexpectedByte(other)),
        }
    }

    /// Skips `count` parts and gives back their bytes.
    ///
    /// # Errors
    ///
    /// As [`KeyReader::part`].
    pub fn skip_parts(&mut self, count: usize) -> Result<&'a [u8], KeyError> {
        let start = self.bytes;
        for _ in 0..count {
            self.skip_part()?;
        }
        let read = start.len() - self.bytes.len();
        start.get(..read).ok_or(KeyError::Truncated)
    }

    fn skip_part(&mut self) -> Result<(), KeyError> {
        if self.bytes.first() != Some(&TEXT) {
            return self.part().map(drop);
        }
        self.byte()?;
        loop {
            let end = memchr(0, self.bytes).ok_or(KeyError::Truncated)?;
            let escaped = self.bytes.get(end + 1) == Some(&ESCAPE);
            self.take(end + 1 + usize::from(escaped))?;
            if !escaped {
                return Ok(());
            }
        }
    }

    fn number(&mut self, size: u8, negative: bool) -> Result<KeyPart, KeyError> {
        let mask = if negative { 0xFF } else { 0 };
        if size == HUGE {
            let bits = u64::from_be_bytes(self.array::<8>()?.map(|byte| byte ^ mask));
            let size = f64::from_bits(bits);
            if !size.is_finite() {
                return Err(KeyError::NotFinite);
            }
            let value = if negative { -size } else { size };
            if size < INT_END || exact_int(value).is_some() {
                return Err(KeyError::OtherForm);
            }
            return Ok(KeyPart::Float(value));
        }
        let whole = self.take(usize::from(size))?;
        if whole.first().is_some_and(|first| first ^ mask == 0) {
            return Err(KeyError::OtherForm);
        }
        let whole = whole.iter().fold(0_u64, |n, byte| n << 8 | u64::from(byte ^ mask));
        match self.byte()? ^ mask {
            0 => {
                let int = if negative {
                    // Zero has no sign.
                    0_i64.checked_sub_unsigned(whole).filter(|int| *int != 0)
                } else {
                    whole.try_into().ok()
                };
                int.map(KeyPart::Int).ok_or(KeyError::OtherForm)
            }
            1 => {
                let bits = u64::from_be_bytes(self.array::<8>()?.map(|byte| byte ^ mask));
                let size = size_of_parts(whole, f64::from_bits(bits))?;
                Ok(KeyPart::Float(if negative { -size } else { size }))
            }
            other => Err(KeyError::UnexpectedByte(other)),
        }
    }

    /// Reads the next part if it is an integer that is not negative; else reads nothing.
    #[must_use]
    #[inline]
    pub fn natural(&mut self) -> Option<i64> {
        let (tag, rest) = self.bytes.split_first()?;
        let size = tag.checked_sub(ZERO).filter(|size| *size < HUGE)?;
        let (whole, rest) = rest.split_at_checked(size.into())?;
        let [0, rest @ ..] = rest else { return None };
        if whole.first() == Some(&0) {
            return None;
        }
        let whole = whole.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let int = i64::try_from(whole).ok()?;
        self.bytes = rest;
        Some(int)
    }

    /// Whether the next part is a text.
    #[must_use]
    #[inline]
    pub fn is_text(&self) -> bool {
        self.bytes.first() == Some(&TEXT)
    }

    /// Reads a part that is a text into `text`, in the place of what is there.
    ///
    /// # Errors
    ///
    /// As [`KeyReader::part`]; [`KeyError::UnexpectedByte`] for a part of another type. Then `text`
    /// can hold anything.
    ///
    /// # Cost
    ///
    /// One pass; allocates only what `text` has no room for.
    pub fn text_into(&mut self, text: &mut String) -> Result<(), KeyError> {
        text.clear();
        match self.byte()? {
            TEXT => self.rest_of_text(text),
            other => Err(KeyError::UnexpectedByte(other)),
        }
    }

    fn rest_of_text(&mut self, text: &mut String) -> Result<(), KeyError> {
        loop {
            let end = memchr(0, self.bytes).ok_or(KeyError::Truncated)?;
            // A NUL is a character of its own, so that each piece between two is UTF-8.
            let piece = std::str::from_utf8(self.take(end)?).map_err(|_| KeyError::NotUtf8)?;
            text.push_str(piece);
            self.byte()?;
            if self.bytes.first() != Some(&ESCAPE) {
                return Ok(());
            }
            self.byte()?;
            text.push('\0');
        }
    }

    fn ordered(&mut self) -> Result<u64, KeyError> {
        let first = self.byte()?;
        match first.checked_sub(0xF7) {
            None | Some(0) => Ok(u64::from(first)),
            Some(len) => {
                let bytes = self.take(usize::from(len))?;
                match bytes {
                    [0, ..] | [..0xF8] => Err(KeyError::OtherForm),
                    _ => Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
                }
            }
        }
    }

    fn byte(&mut self) -> Result<u8, KeyError> {
        let (first, rest) = self.bytes.split_first().ok_or(KeyError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], KeyError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(KeyError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        self.take(N)?.try_into().map_err(|_| KeyError::Truncated)
    }
}

/// The number with this integer part and this fraction, if it has exactly these.
fn size_of_parts(whole: u64, fraction: f64) -> Result<f64, KeyError> {
    #[expect(clippy::cast_precision_loss, reason = "what is lost is another form")]
    let size = whole as f64 + fraction;
    if !size.is_finite() {
        return Err(KeyError::NotFinite);
    }
    let is_own_form = size.fract().to_bits() == fraction.to_bits()
        && fraction > 0.0
        && exact_int(size.trunc()).is_some_and(|int| int.unsigned_abs() == whole);
    if is_own_form { Ok(size) } else { Err(KeyError::OtherForm) }
}

fn flip_sign(number: i64) -> i64 {
    number ^ i64::MIN
}

/// A number below 0xF8 in one byte; else 0xF7 + length, then its significant bytes.
fn write_ordered(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let [.., last] = bytes;
    if number < 0xF8 {
        out.push(last);
        return;
    }
    let skipped = (number.leading_zeros() / 8) as usize;
    let significant = bytes.get(skipped..).unwrap_or_default();
    out.push(0xF7 + significant.len().to_le_bytes()[0]);
    out.extend_from_slice(significant);
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = KeyPart> {
        prop_oneof![
            Just(KeyPart::Null),
            any::<bool>().prop_map(KeyPart::Bool),
            any::<i64>().prop_map(KeyPart::Int),
            (-300_i64..300).prop_map(KeyPart::Int),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(KeyPart::Float),
            (-300.0..300.0).prop_map(KeyPart::Float),
            prop_oneof![Just(INT_END), Just(-INT_END), Just(i64::MAX as f64), Just(-0.0)]
                .prop_map(KeyPart::Float),
            any::<i64>().prop_map(KeyPart::Time),
            "[a\0\u{1}é]{0,4}".prop_map(KeyPart::Text),
        ]
    }

    fn normal(part: KeyPart) -> KeyPart {
        match part {
            KeyPart::Float(f) => exact_int(f).map_or(KeyPart::Float(f), KeyPart::Int),
            other => other,
        }
    }

    /// The order of an i64 and a float that is no i64, without rounding either.
    fn int_vs_float(int: i64, float: f64) -> Ordering {
        if float >= INT_END {
            Ordering::Less
        } else if float < -INT_END {
            Ordering::Greater
        } else {
            let floor = exact_int(float.floor()).unwrap();
            if int <= floor { Ordering::Less } else { Ordering::Greater }
        }
    }

    fn order(a: &KeyPart, b: &KeyPart) -> Ordering {
        let rank = |part: &KeyPart| match part {
            KeyPart::Null => 0,
            KeyPart::Bool(_) => 1,
            KeyPart::Int(_) | KeyPart::Float(_) => 2,
            KeyPart::Time(_) => 3,
            KeyPart::Text(_) => 4,
        };
        match (a, b) {
            (KeyPart::Bool(a), KeyPart::Bool(b)) => a.cmp(b),
            (KeyPart::Int(a), KeyPart::Int(b)) | (KeyPart::Time(a), KeyPart::Time(b)) => a.cmp(b),
            (KeyPart::Float(a), KeyPart::Float(b)) => a.partial_cmp(b).unwrap(),
            (KeyPart::Int(a), KeyPart::Float(b)) => int_vs_float(*a, *b),
            (KeyPart::Float(a), KeyPart::Int(b)) => int_vs_float(*b, *a).reverse(),
            (KeyPart::Text(a), KeyPart::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            _ => rank(a).cmp(&rank(b)),
        }
    }

    fn encode(parts: &[KeyPart]) -> Vec<u8> {
        let mut key = KeyWriter::new();
        for part in parts {
            key.part(part).unwrap();
        }
        key.into_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn keys_sort_as_their_parts(
            a in prop::collection::vec(part(), 0..4),
            b in prop::collection::vec(part(), 0..4),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = (
                a.into_iter().map(normal).collect(),
                b.into_iter().map(normal).collect(),
            );
            let expected = a
                .iter()
                .zip(&b)
                .map(|(a, b)| order(a, b))
                .find(|o| o.is_ne())
                .unwrap_or(a.len().cmp(&b.len()));
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), expected);
        }

        #[test]
        fn keys_are_read_back(parts in prop::collection::vec(part(), 0..4)) {
            let bytes = encode(&parts);
            let mut reader = KeyReader::new(&bytes);
            for part in &parts {
                let mut ahead = reader.clone();
                let natural = ahead.natural();
                let part = normal(part.clone());
                prop_assert_eq!(reader.part().unwrap(), part.clone());
                match (natural, part) {
                    (Some(natural), part) => {
                        prop_assert_eq!(KeyPart::Int(natural), part);
                        prop_assert_eq!(ahead.rest(), reader.rest());
                    }
                    (None, KeyPart::Int(int)) => prop_assert!(int < 0),
                    (None, _) => {}
                }
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(KeyReader::new(&bytes).is_empty(), parts.is_empty());
            prop_assert_eq!(KeyReader::new(&bytes).skip_parts(parts.len()).unwrap(), &bytes[..]);
        }

        #[test]
        fn a_key_goes_on_behind_what_was_written(a in part(), b in part()) {
            let mut key = KeyWriter::from(encode(std::slice::from_ref(&a)));
            key.part(&b).unwrap();
            prop_assert_eq!(key.into_vec(), encode(&[a, b]));
        }

        #[test]
        fn ids_sort_and_are_read_back(a: u32, b: u32, small in 0_u32..600) {
            for (a, b) in [(a, b), (a, small), (small, b)] {
                let key = |id| { let mut key = KeyWriter::new(); key.id(id); key.into_vec() };
                prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
                prop_assert_eq!(KeyReader::new(&key(a)).id().unwrap(), a);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = KeyReader::new(&bytes);
            while reader.part().is_ok() {}
            let mut reader = KeyReader::new(&bytes);
            while reader.id().is_ok() {}
            let _ = KeyReader::new(&bytes).skip_parts(3);
        }
    }

    #[test]
    fn a_number_has_one_form() {
        let fraction = |tag: &[u8], fraction: f64| [tag, &fraction.to_be_bytes()].concat();
        for bytes in [
            // Zeros before the integer part, and a zero with a sign.
            vec![0x22, 0x00, 0x05, 0x00],
            vec![0x1D, 0xFF, 0xFA, 0xFF],
            vec![0x1F, 0xFF],
            // Fractions that are none, and one that the integer part leaves no room for.
            fraction(&[0x21, 0x05, 0x01], 0.0),
            fraction(&[0x21, 0x05, 0x01], 1.5),
            fraction(&[0x20, 0x01], -0.5),
            fraction(&[0x27, 0x80, 0, 0, 0, 0, 0, 0, 0x01], 0.5),
            // Numbers that are integers.
            fraction(&[0x29], 5.0),
            [&[0x16][..], &INT_END.to_be_bytes().map(|byte| !byte)].concat(),
        ] {
            assert_eq!(KeyReader::new(&bytes).part(), Err(KeyError::OtherForm), "{bytes:x?}");
        }
        for id in [&[0xF8, 0xF7][..], &[0xF9, 0x00, 0xF8], &[0xFB, 0, 0, 1, 0]] {
            assert_eq!(KeyReader::new(id).id(), Err(KeyError::OtherForm), "{id:x?}");
        }
    }

    #[test]
    fn five_is_five_and_the_limits_sort() {
        assert_eq!(encode(&[KeyPart::Int(5)]), encode(&[KeyPart::Float(5.0)]));
        assert_eq!(encode(&[KeyPart::Int(0)]), encode(&[KeyPart::Float(-0.0)]));
        let ascending = [
            KeyPart::Float(-f64::MAX),
            KeyPart::Int(i64::MIN),
            KeyPart::Int(-257),
            KeyPart::Int(-256),
            KeyPart::Float(-255.5),
            KeyPart::Int(-1),
            KeyPart::Float(-1e-300),
            KeyPart::Int(0),
            KeyPart::Float(f64::from_bits(1)),
            KeyPart::Float(0.5),
            KeyPart::Int(1),
            KeyPart::Int(i64::MAX),
            KeyPart::Float(INT_END),
            KeyPart::Float(f64::MAX),
        ];
        for pair in ascending.windows(2) {
            assert!(encode(&pair[..1]) < encode(&pair[1..]), "{pair:?}");
        }
        // All numbers are of one region, to whose ends the largest ones come near, and others not.
        let region = part_region(&KeyPart::Int(0));
        let first = |part: KeyPart| encode(&[part])[0];
        for number in ascending {
            assert_eq!(part_region(&number), region);
            assert!(region.contains(&first(number)));
        }
        assert_eq!(first(KeyPart::Float(-f64::MAX)), *region.start());
        assert_eq!(first(KeyPart::Float(f64::MAX)), *region.end());
        for other in
            [KeyPart::Null, KeyPart::Bool(true), KeyPart::Time(0), KeyPart::Text("".into())]
        {
            assert!(part_region(&other).contains(&first(other.clone())), "{other:?}");
            assert!(!region.contains(&first(other)));
        }
        assert!(KeyWriter::new().part(&KeyPart::Float(f64::NAN)).is_err());
    }
}
