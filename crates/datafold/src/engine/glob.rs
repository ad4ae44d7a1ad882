//! Patterns of element keys.

use std::collections::HashMap;

/// A pattern for whole texts: `*` is any run of characters, also an empty one, `?` exactly one
/// character, everything else stands for itself.
///
/// # Cost
///
/// A match takes one step a character and 64 characters of the pattern, whatever the pattern is:
/// all ways to match are followed at once, and nothing is tried twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Glob {
    text: String,
    /// What stands before the first `*` or `?`.
    literal: String,
    /// The number of places in the pattern at which a match can stand.
    places: usize,
    /// For each character of the pattern the places that it leads on from, as bits.
    by_char: HashMap<char, Vec<u64>>,
    /// The places that any character leads on from.
    any: Vec<u64>,
    /// The places that any character stays at.
    stay: Vec<u64>,
}

impl Glob {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let literal = pattern.chars().take_while(|c| !matches!(c, '*' | '?')).collect();
        let (mut steps, mut stars) = (Vec::new(), vec![false]);
        for char in pattern.chars() {
            match (char, stars.last_mut()) {
                ('*', Some(star)) => *star = true,
                _ => {
                    steps.push(char);
                    stars.push(false);
                }
            }
        }
        let places = steps.len() + 1;
        let empty = vec![0_u64; places.div_ceil(64)];
        let mut glob = Self {
            text: pattern.to_owned(),
            literal,
            places,
            by_char: HashMap::new(),
            any: empty.clone(),
            stay: empty.clone(),
        };
        for (place, char) in steps.into_iter().enumerate() {
            if char == '?' {
                set(&mut glob.any, place);
            } else {
                set(glob.by_char.entry(char).or_insert_with(|| empty.clone()), place);
            }
        }
        for place in stars.iter().enumerate().filter(|(_, star)| **star).map(|(place, _)| place) {
            set(&mut glob.stay, place);
        }
        glob
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every text that matches begins with.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        &self.literal
    }

    /// Whether the pattern stands for the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut now = vec![0_u64; self.any.len()];
        set(&mut now, 0);
        for char in text.chars() {
            self.step(&mut now, char);
            if now.iter().all(|word| *word == 0) {
                return false;
            }
        }
        let last = self.places - 1;
        now.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1)
    }

    /// Moves every place that a match can stand at over one character.
    fn step(&self, now: &mut [u64], char: char) {
        let own = self.by_char.get(&char);
        let mut carry = 0;
        for (at, word) in now.iter_mut().enumerate() {
            let own = own.and_then(|own| own.get(at)).copied().unwrap_or(0);
            let any = self.any.get(at).copied().unwrap_or(0);
            let stay = self.stay.get(at).copied().unwrap_or(0);
            let on = *word & (own | any);
            *word = on << 1 | carry | (*word & stay);
            carry = on >> 63;
        }
    }
}

fn set(bits: &mut [u64], place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the definition says, by trying every way.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                plain(rest, text) || text.split_first().is_some_and(|(_, t)| plain(pattern, t))
            }
            (Some(('?', rest)), Some((_, text))) => plain(rest, text),
            (Some((own, rest)), Some((char, text))) => own == char && plain(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_as_the_definition_says(
            pattern in "[ab*?é]{0,8}", text in "[abé*]{0,10}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let glob = Glob::new(&pattern);
            prop_assert_eq!(glob.matches(&text), plain(&chars(&pattern), &chars(&text)));
            prop_assert!(!glob.matches(&text) || text.starts_with(glob.literal_prefix()));
        }

        #[test]
        fn long_patterns_match_too(text in "[ab]{60,200}", from in 0_usize..60) {
            let middle = &text[from..];
            let tail = format!("*{middle}");
            prop_assert!(Glob::new(&tail).matches(&text));
            prop_assert!(Glob::new(&"?".repeat(text.len())).matches(&text));
            let longer = format!("{text}?");
            prop_assert!(!Glob::new(&longer).matches(&text));
        }
    }

    #[test]
    fn the_documented_patterns() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("eu:*", "eu:berlin", true),
            ("eu:*", "us:boston", false),
            ("*:b*n", "eu:berlin", true),
            ("?", "é", true),
            ("?", "", false),
            ("A", "a", false),
            ("**a**", "bab", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_more_steps_than_the_text_has() {
        // Tried one by one, the ways to match this are more than can be counted.
        let (pattern, text) = ("*a".repeat(200) + "b", "a".repeat(400));
        assert!(!Glob::new(&pattern).matches(&text));
    }
}
