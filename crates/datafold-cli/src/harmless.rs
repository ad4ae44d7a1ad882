//! Texts from data that may not do anything to a terminal.

/// The text with every character escaped that could move the cursor, change colours or turn the
/// direction of writing.
pub(crate) fn harmless(text: &str) -> String {
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    let escape = |c: char| {
        if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}

/// Source: the categories Cc, Zl and Zp and the property Bidi_Control of Unicode.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text in at most so many characters, cut in its middle.
pub(crate) fn cut(text: &str, characters_max: usize) -> String {
    let count = text.chars().count();
    if count <= characters_max {
        return text.to_owned();
    }
    let half = characters_max / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{begin}…{end}")
}

/// The text with each part between quotes or backticks in at most so many characters.
pub(crate) fn cut_quoted(text: &str, characters_max: usize) -> String {
    let (mut done, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((begin, quote)) = rest.char_indices().find(|(_, c)| matches!(c, '`' | '"')) {
        let (before, quoted) = rest.split_at(begin + quote.len_utf8());
        let Some((part, behind)) = quoted.split_once(quote) else { break };
        done.push_str(before);
        done.push_str(&cut(part, characters_max));
        done.push(quote);
        rest = behind;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_characters_are_escaped_and_others_are_not() {
        assert_eq!(harmless("Zoë 🛩"), "Zoë 🛩");
        assert_eq!(harmless("a\u{1b}[31mb\u{202E}c"), "a\\u{1b}[31mb\\u{202e}c");
    }

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefghij", 6), "abc…hij");
    }

    #[test]
    fn quoted_parts_are_cut_one_by_one() {
        for (text, expected) in [
            ("", ""),
            ("none is quoted", "none is quoted"),
            ("`abcdef` and [\"ghijkl\", 1]", "`ab…ef` and [\"gh…kl\", 1]"),
            ("`a` \"\" `bcdefg", "`a` \"\" `bcdefg"),
        ] {
            assert_eq!(cut_quoted(text, 4), expected);
        }
    }
}
