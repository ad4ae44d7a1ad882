//! Inputs made out of others.

use crate::Random;

/// Inputs that are kept to be built upon.
const POOL_MAX: usize = 768;
/// Changes to one input, at most.
const CHANGES_MAX: u32 = 6;

/// Numbers at which parsers go wrong.
const NUMBERS: [u64; 30] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    23,
    24,
    31,
    32,
    63,
    64,
    100,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    (1 << 53) + 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Makes inputs by changing earlier ones.
pub(super) struct Mutator<'a> {
    random: Random,
    pool: Vec<Vec<u8>>,
    /// The examples at the front of the pool, which stay.
    fixed: usize,
    words: &'a [Vec<u8>],
    len_max: usize,
}

impl<'a> Mutator<'a> {
    pub(super) fn new(seed: u64, seeds: &[Vec<u8>], words: &'a [Vec<u8>], len_max: usize) -> Self {
        let mut pool = seeds.to_vec();
        if pool.is_empty() {
            pool.push(Vec::new());
        }
        let fixed = pool.len();
        Self { random: Random::new(seed), pool, fixed, words, len_max }
    }

    /// Keeps an input that leads somewhere new, and some of those that are accepted.
    pub(super) fn learn(&mut self, input: &[u8], accepted: bool, is_new: bool) {
        let is_kept = is_new || accepted && self.random.one_in(32);
        if !is_kept {
            return;
        }
        if self.pool.len() < POOL_MAX.max(self.fixed * 2) {
            self.pool.push(input.to_vec());
        } else {
            let place = self.fixed + self.random.below(self.pool.len() - self.fixed);
            if let Some(kept) = self.pool.get_mut(place) {
                kept.clear();
                kept.extend_from_slice(input);
            }
        }
    }

    /// Writes the next input into `out`.
    pub(super) fn make(&mut self, out: &mut Vec<u8>) {
        out.clear();
        if self.random.one_in(100) {
            let len = self.random.below(48);
            out.extend_from_slice(&self.random.bytes(len));
            return;
        }
        // Examples more often than what has become of them.
        let among = if self.random.one_in(3) { self.fixed } else { self.pool.len() };
        let base = self.random.below(among);
        out.extend_from_slice(self.pool.get(base).map_or(&[][..], Vec::as_slice));
        let changes = 1 + self.random.next_u64().trailing_ones().min(CHANGES_MAX - 1);
        for _ in 0..changes {
            self.change(out);
        }
        out.truncate(self.len_max);
    }

    fn change(&mut self, out: &mut Vec<u8>) {
        let at = self.random.below(out.len() + 1);
        match self.random.below(16) {
            0 | 1 => {
                let bit = self.random.below(8);
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let new = self.byte();
                if let Some(byte) = out.get_mut(at) {
                    *byte = new;
                }
            }
            3 => {
                let up = self.random.one_in(2);
                if let Some(byte) = out.get_mut(at) {
                    *byte = if up { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
                }
            }
            4 => {
                let byte = self.byte();
                out.insert(at, byte);
            }
            5 => {
                let len = 1 + self.random.below(8);
                let end = (at + len).min(out.len());
                out.drain(at..end);
            }
            6 => out.truncate(at),
            7 | 8 => self.put_number(out, at),
            9 => self.put_decimal(out, at),
            10..=12 if !self.words.is_empty() => {
                let word = self.random.below(self.words.len());
                let word = self.words.get(word).map_or(&[][..], Vec::as_slice);
                let replaced = if self.random.one_in(2) { word.len() } else { 0 };
                let end = (at + replaced).min(out.len());
                out.splice(at..end, word.iter().copied());
            }
            10 | 13 => self.splice(out, at),
            11 | 14 => self.repeat(out, at),
            _ => {
                let other = self.random.below(out.len() + 1);
                if at < out.len() && other < out.len() {
                    out.swap(at, other);
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.random.next_u64().to_le_bytes();
        byte
    }

    fn number(&mut self) -> u64 {
        let number = self.random.choose(&NUMBERS).copied().unwrap_or(0);
        match self.random.below(8) {
            0 => number.wrapping_neg(),
            1 => number.wrapping_add(1),
            2 => number.wrapping_sub(1),
            3 => u64::from(self.byte()),
            _ => number,
        }
    }

    /// Writes or inserts the bytes of a number.
    fn put_number(&mut self, out: &mut Vec<u8>, at: usize) {
        let width = 1 << self.random.below(4);
        let mut bytes = self.number().to_be_bytes();
        let [.., last] = &bytes;
        let last = *last;
        if self.random.one_in(4) {
            bytes.reverse();
        }
        let bytes = match width {
            1 => vec![last],
            width => bytes.get(8 - width..).unwrap_or_default().to_vec(),
        };
        let replaced = if self.random.one_in(3) { 0 } else { bytes.len() };
        let end = (at + replaced).min(out.len());
        out.splice(at..end, bytes);
    }

    /// Writes a number over the decimal digits that stand there, or inserts it.
    fn put_decimal(&mut self, out: &mut Vec<u8>, at: usize) {
        let tail = out.get(at..).unwrap_or_default();
        let from = at + tail.iter().position(u8::is_ascii_digit).unwrap_or(0);
        let digits = out.get(from..).unwrap_or_default();
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.number();
        let text = match self.random.below(4) {
            0 => number.cast_signed().to_string(),
            1 => format!("{}.{}", number % 1000, self.byte()),
            2 => format!("{}e{}", number % 1000, self.number().cast_signed() % 400),
            _ => number.to_string(),
        };
        out.splice(from..from + len, text.into_bytes());
    }

    /// Inserts a part of another input, or goes on with its rest.
    fn splice(&mut self, out: &mut Vec<u8>, at: usize) {
        let other = self.random.below(self.pool.len());
        let (from, len) = match self.pool.get(other) {
            Some(other) => {
                let from = self.random.below(other.len() + 1);
                (from, self.random.below(other.len() - from + 1))
            }
            None => return,
        };
        let whole = self.random.one_in(3);
        let Some(other) = self.pool.get(other) else { return };
        if whole {
            out.truncate(at);
            out.extend_from_slice(other.get(from..).unwrap_or_default());
        } else {
            let part = other.get(from..from + len).unwrap_or_default();
            out.splice(at..at, part.iter().copied());
        }
    }

    /// Repeats what stands there, now and then very often.
    fn repeat(&mut self, out: &mut Vec<u8>, at: usize) {
        let len = 1 + self.random.below(8);
        let part = out.get(at..(at + len).min(out.len())).unwrap_or_default().to_vec();
        let times = if self.random.one_in(16) { 100 } else { 1 + self.random.below(3) };
        out.splice(at..at, part.repeat(times));
    }
}
