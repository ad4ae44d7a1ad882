//! Choices that are drawn from the bytes of an input.

/// Reads choices off an input, so that a mutated input is a mutated choice. Behind the end of the
/// input all choices are the first ones.
///
/// ```
/// use datafold_testkit::Draw;
///
/// let mut draw = Draw::new(&[7, 2, b'a', b'b', b'c']);
/// assert_eq!((draw.below(5), draw.short_bytes(), draw.u8()), (2, &b"ab"[..], b'c'));
/// assert!(draw.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    rest: &'a [u8],
}

impl<'a> Draw<'a> {
    /// Starts at the front of an input.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether all of the input was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A byte.
    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        self.bytes(4).iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Eight bytes, with a sign.
    pub fn i64(&mut self) -> i64 {
        self.u64().cast_signed()
    }

    /// A float of any kind.
    pub fn f64(&mut self) -> f64 {
        f64::from_bits(self.u64())
    }

    /// A number below `end`, which is at most 256; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()).checked_rem(end).unwrap_or(0)
    }

    /// True or false.
    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// So many bytes, or those that are left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Less than 256 bytes, behind their number.
    pub fn short_bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8());
        self.bytes(len)
    }

    /// A text of less than 256 bytes; what is not UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.short_bytes()).into_owned()
    }
}
