//! Values as JSON text.

use std::fmt::Write;

use crate::number::{float_text, parse_number};
use crate::value::{Text, VALUE_DEPTH_MAX, Value};

/// Why a text is not a JSON value, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at character {at}")]
pub struct JsonError {
    /// The place in characters; the first is 1.
    pub at: usize,
    /// The rule that the text breaks there, in words.
    pub rule: &'static str,
}

impl Value<'_> {
    /// Reads one JSON text, whose texts become this value's own.
    ///
    /// A literal without fraction and exponent is an integer and must be an `i64`. Texts are never
    /// taken for times.
    ///
    /// # Errors
    ///
    /// A [`JsonError`]: no JSON, a number out of range, a member twice, more than
    /// [`VALUE_DEPTH_MAX`] levels, or something behind the value.
    ///
    /// # Cost
    ///
    /// One pass; memory up to 40 times the length of the text (`[0,0,…]`).
    ///
    /// ```
    /// use datafold_lang::Value;
    ///
    /// assert_eq!(Value::parse_json("{\"b\": 5.0, \"a\": []}")?.to_json(), r#"{"a":[],"b":5}"#);
    /// # Ok::<(), datafold_lang::JsonError>(())
    /// ```
    pub fn parse_json(text: &str) -> Result<Value<'static>, JsonError> {
        let mut parser = Parser { text, at: 0 };
        let result = parser.value(0).and_then(|value| {
            parser.blanks();
            if parser.at == text.len() { Ok(value) } else { Err("expected the end") }
        });
        result.map_err(|rule| {
            let before = text.get(..parser.at).unwrap_or(text);
            JsonError { at: before.chars().count() + 1, rule }
        })
    }

    /// The value as JSON without blanks, members sorted.
    ///
    /// 5.0 prints `5`, a float its shortest digits that read back the same, a time its RFC 3339
    /// text and a duration its ISO 8601 text.
    ///
    /// # Cost
    ///
    /// Up to six times the [weight](Value::weight).
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    pub(crate) fn write_json(&self, json: &mut String) {
        match self {
            Value::Null => json.push_str("null"),
            Value::Bool(true) => json.push_str("true"),
            Value::Bool(false) => json.push_str("false"),
            // Writing into a text has no way to fail.
            Value::Int(int) => drop(write!(json, "{int}")),
            Value::Float(float) => json.push_str(&float_text(*float)),
            Value::Time(time) => drop(write!(json, "\"{time}\"")),
            Value::Duration(duration) => drop(write!(json, "\"{duration}\"")),
            Value::Text(text) => write_text(text, json),
            Value::Array(items) => {
                json.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    item.write_json(json);
                }
                json.push(']');
            }
            Value::Object(members) => {
                json.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    write_text(name, json);
                    json.push(':');
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }
}

fn write_text(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' => drop(write!(json, "\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Parsed<Value<'static>> {
        self.blanks();
        let words = [("null", Value::Null), ("true", true.into()), ("false", false.into())];
        match self.peek() {
            Some(b'{' | b'[') if depth >= VALUE_DEPTH_MAX => Err("at most 64 levels may be nested"),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(self.string()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in words {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err("expected a value")
            }
        }
    }

    fn number(&mut self) -> Parsed<Value<'static>> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let digits = rest.get(..end).unwrap_or_default();
        let value = parse_number(digits).ok_or("this is no number, or one out of range")?;
        self.at += end;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Parsed<Value<'static>> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if !self.take(b']') {
            loop {
                items.push(self.value(depth + 1)?);
                self.blanks();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err("expected `,` or `]`");
                }
            }
        }
        Value::array(items).map_err(|_| "at most 64 levels may be nested")
    }

    fn object(&mut self, depth: usize) -> Parsed<Value<'static>> {
        self.at += 1;
        let mut members = Vec::new();
        self.blanks();
        if !self.take(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err("expected the name of a member");
                }
                let name = Text::from(self.string()?);
                self.blanks();
                if !self.take(b':') {
                    return Err("expected `:`");
                }
                members.push((name, self.value(depth + 1)?));
                self.blanks();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err("expected `,` or `}`");
                }
            }
        }
        Value::object(members).map_err(|_| "an object has each member once")
    }

    fn string(&mut self) -> Parsed<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            let end = end.ok_or("the text has no end")?;
            text.push_str(rest.get(..end).unwrap_or_default());
            self.at += end + 1;
            match rest.as_bytes().get(end) {
                Some(b'"') => return Ok(text),
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err("a control character in a text must be escaped"),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some_and(|byte| byte.is_ascii()));
        Ok(match c {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                let mut units = [self.unit()?, 0];
                let mut count = 1;
                if (0xD800..0xDC00).contains(&units[0]) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    units[1] = self.unit()?;
                    count = 2;
                }
                let found = char::decode_utf16(units.into_iter().take(count)).next();
                let found = found.and_then(Result::ok);
                return found.ok_or("an escaped surrogate needs its other half");
            }
            _ => return Err("the escape is not one that JSON has"),
        })
    }

    fn unit(&mut self) -> Parsed<u16> {
        let wrong = "`\\u` needs four hexadecimal digits behind it";
        let digits = self.rest().get(..4).ok_or(wrong)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back_as_it_was_printed() {
        for json in [
            "null",
            "[true,false,-5,0.5,1e+300,\"\"]",
            "{\"a\":{\"b\":[]},\"é\\\"\\\\\\n\\u0001\":\"𝄞\"}",
            "9223372036854775807",
        ] {
            assert_eq!(Value::parse_json(json).unwrap().to_json(), json);
        }
        assert_eq!(Value::parse_json(r#""\ud834\udd1e\b\/""#).unwrap().as_text(), Some("𝄞\u{8}/"));
        for wrong in [
            "",
            "nul",
            "[1",
            "[1,]",
            "{",
            "{\"a\"}",
            "{\"a\":1,\"a\":2}",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud834\"",
            "1 2",
            "01",
            "9223372036854775808",
            "1e999",
            "{a:1}",
            "\"\\é\"",
        ] {
            assert!(Value::parse_json(wrong).is_err(), "{wrong}");
        }
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::parse_json(&deep(64)).is_ok());
        assert!(Value::parse_json(&deep(65)).is_err());
        assert!(Value::parse_json(&deep(1_000_000)).is_err());
    }
}
