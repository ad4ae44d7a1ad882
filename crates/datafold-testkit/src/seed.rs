//! Seeded randomness, so that every failure can be played again.

use std::env;

/// A small deterministic generator (SplitMix64): the same seed gives the same numbers on every
/// machine and in every version.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
///
/// ```
/// use datafold_testkit::Random;
///
/// assert_eq!(Random::new(7).next_u64(), Random::new(7).next_u64());
/// assert!(Random::new(7).below(10) < 10);
/// ```
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that starts at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for part `index` of the work of `seed`, so that one part can be
    /// played again without those before it.
    #[must_use]
    pub fn part(seed: u64, index: u64) -> Self {
        let mut random = Self::new(seed ^ index.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.next_u64();
        random
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        let number = if end == 0 { 0 } else { self.next_u64() % end };
        usize::try_from(number).unwrap_or(0)
    }

    /// True once in `times` on average.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`; `None` if there is none.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// The seed of a test: `DATAFOLD_SEED` (decimal, or hexadecimal behind `0x`), else `default`.
///
/// # Panics
///
/// If the variable holds something else: a replay that silently ran another seed would mislead.
#[must_use]
pub fn seed_from_env(default: u64) -> u64 {
    let Ok(text) = env::var("DATAFOLD_SEED") else { return default };
    match parse_seed(&text) {
        Some(seed) => seed,
        None => panic!("DATAFOLD_SEED={text} is neither decimal nor 0x and hexadecimal"),
    }
}

fn parse_seed(text: &str) -> Option<u64> {
    match text.trim().strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.trim().parse().ok(),
    }
}

/// How to play a seed again; every failure message ends with it.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("seed {seed:#x}; play it again with DATAFOLD_SEED={seed:#x} and this test's name")
}

/// Whether `DATAFOLD_FULL=1` asks for the long form of the seeded tests.
#[must_use]
pub fn is_full_size() -> bool {
    env::var("DATAFOLD_FULL").is_ok_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut random = Random::new(1_234_567);
        // The reference sequence of the generator for this seed.
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(random.bytes(11).len(), 11);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.choose::<u8>(&[]), None);
    }

    #[test]
    fn seeds_are_read_in_both_forms() {
        assert_eq!(parse_seed("255"), Some(255));
        assert_eq!(parse_seed("0xff"), Some(255));
        assert_eq!(parse_seed("ff"), None);
        assert!(replay(255).contains("DATAFOLD_SEED=0xff"));
    }
}
