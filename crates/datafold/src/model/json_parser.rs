//! A JSON parser that keeps numbers exact.
//!
//! `serde_json` reads an integer of 30 digits as a float, gives no sign of a duplicate member, and
//! loses the order of members or needs a feature that every user of the crate then pays for. This
//! parser builds any [`Tree`]: a [`Value`], or a tree that keeps the order of a schema's fields.
//!
//! Source: RFC 8259.

use std::collections::BTreeMap;

use super::Value;
use super::json::{JsonError, JsonRule};
use super::value::DEPTH_MAX;

/// What the parser builds.
pub(crate) trait Tree: Sized {
    /// The members of an object that is being read.
    type Members: Default;

    /// Wraps a value that has no members.
    fn scalar(value: Value) -> Self;
    /// Wraps an array.
    fn array(items: Vec<Self>) -> Self;
    /// Wraps an object.
    fn object(members: Self::Members) -> Self;
    /// Adds a member; false if the name is taken.
    fn insert(members: &mut Self::Members, name: String, value: Self) -> bool;
}

impl Tree for Value {
    type Members = BTreeMap<String, Value>;

    fn scalar(value: Value) -> Self {
        value
    }

    fn array(items: Vec<Self>) -> Self {
        Value::Array(items)
    }

    fn object(members: Self::Members) -> Self {
        Value::Object(members)
    }

    fn insert(members: &mut Self::Members, name: String, value: Self) -> bool {
        members.insert(name, value).is_none()
    }
}

/// Reads one JSON text.
pub(crate) fn parse<T: Tree>(text: &str) -> Result<T, JsonError> {
    let mut parser = Parser { text, at: 0 };
    let result = parser.document();
    result.map_err(|rule| JsonError::new(text, parser.at, rule))
}

/// After an error `at` is where the offending token starts.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn document<T: Tree>(&mut self) -> Result<T, JsonRule> {
        self.blanks();
        let value = self.value(0)?;
        self.blanks();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    fn value<T: Tree>(&mut self, depth: usize) -> Result<T, JsonRule> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(T::scalar(Value::Text(self.string()?))),
            Some(b'-' | b'0'..=b'9') => Ok(T::scalar(self.number()?)),
            Some(b't') => self.word("true", Value::Bool(true)).map(T::scalar),
            Some(b'f') => self.word("false", Value::Bool(false)).map(T::scalar),
            Some(b'n') => self.word("null", Value::Null).map(T::scalar),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn object<T: Tree>(&mut self, depth: usize) -> Result<T, JsonRule> {
        self.enter(depth)?;
        let mut members = T::Members::default();
        if self.skip(b'}') {
            return Ok(T::object(members));
        }
        loop {
            let name_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("the name of a member in double quotes"));
            }
            let name = self.string()?;
            self.blanks();
            if !self.skip(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            // The name is copied only for the error, after the insertion has failed.
            let name_end = self.at;
            if !T::insert(&mut members, name, value) {
                self.at = name_at;
                let name = self.string().unwrap_or_default();
                self.at = name_at;
                return Err(JsonRule::DuplicateMember { name });
            }
            self.at = name_end;
            if !self.next_item(b'}', "`,` or `}`")? {
                return Ok(T::object(members));
            }
        }
    }

    fn array<T: Tree>(&mut self, depth: usize) -> Result<T, JsonRule> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.skip(b']') {
            return Ok(T::array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.next_item(b']', "`,` or `]`")? {
                return Ok(T::array(items));
            }
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonRule> {
        if depth >= DEPTH_MAX {
            return Err(JsonRule::TooDeep);
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// Whether another item follows.
    fn next_item(&mut self, end: u8, expected: &'static str) -> Result<bool, JsonRule> {
        self.blanks();
        if self.skip(end) {
            return Ok(false);
        }
        if !self.skip(b',') {
            return Err(self.unexpected(expected));
        }
        self.blanks();
        Ok(true)
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, JsonRule> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<Value, JsonRule> {
        let start = self.at;
        self.skip(b'-');
        let first = self.peek();
        let whole = self.digits()?;
        if whole > 1 && first == Some(b'0') {
            self.at = start;
            return Err(JsonRule::LeadingZero);
        }
        let mut is_integer = true;
        if self.skip(b'.') {
            is_integer = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_integer = false;
            self.at += 1;
            if !self.skip(b'-') {
                self.skip(b'+');
            }
            self.digits()?;
        }
        let literal = self.text.get(start..self.at).unwrap_or_default();
        let value = if is_integer {
            literal.parse().map(Value::Int).map_err(|_| JsonRule::IntegerOutOfRange)
        } else {
            let number = literal.parse().unwrap_or(f64::NAN);
            Value::number(number).map_err(|_| JsonRule::NumberOutOfRange)
        };
        if value.is_err() {
            self.at = start;
        }
        value
    }

    fn digits(&mut self) -> Result<usize, JsonRule> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(self.at - start)
    }

    fn string(&mut self) -> Result<String, JsonRule> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let plain = self.bytes().iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
            let Some(plain) = plain else {
                self.at = self.text.len();
                return Err(JsonRule::UnexpectedEnd { expected: "`\"`" });
            };
            string.push_str(self.rest().get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(JsonRule::ControlCharacter),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonRule> {
        let start = self.at;
        self.at += 1;
        let escaped = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let escaped = self.unicode_escape();
                if escaped.is_err() {
                    self.at = start;
                }
                return escaped;
            }
            _ => {
                self.at = start;
                return Err(JsonRule::InvalidEscape);
            }
        };
        self.at += 1;
        Ok(escaped)
    }

    /// `uXXXX`, twice for a character beyond U+FFFF.
    fn unicode_escape(&mut self) -> Result<char, JsonRule> {
        let first = self.code_unit()?;
        let pair = if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 1;
            vec![first, self.code_unit()?]
        } else {
            vec![first]
        };
        let mut decoded = char::decode_utf16(pair);
        match (decoded.next(), decoded.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(JsonRule::LoneSurrogate),
        }
    }

    fn code_unit(&mut self) -> Result<u16, JsonRule> {
        let hex = self.text.get(self.at + 1..self.at + 5).ok_or(JsonRule::InvalidEscape)?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(JsonRule::InvalidEscape);
        }
        self.at += 5;
        u16::from_str_radix(hex, 16).map_err(|_| JsonRule::InvalidEscape)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self, expected: &'static str) -> JsonRule {
        match self.rest().chars().next() {
            Some(found) => JsonRule::Unexpected { found, expected },
            None => JsonRule::UnexpectedEnd { expected },
        }
    }
}
