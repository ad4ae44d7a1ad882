//! Values as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Deserializer};

use super::value::DEPTH_MAX;
use super::{Value, json_parser};

/// Why a text is not a JSON value, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at line {line}, column {column}")]
pub struct JsonError {
    /// The line; the first is 1.
    pub line: usize,
    /// The column in characters; the first is 1.
    pub column: usize,
    /// The rule that the text breaks there.
    pub rule: JsonRule,
}

/// A rule of JSON, or of [`Value`], that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonRule {
    /// A character that does not belong there.
    #[error("expected {expected}, found `{}`", found.escape_default())]
    Unexpected {
        /// The character.
        found: char,
        /// What may stand there.
        expected: &'static str,
    },
    /// The text ends too early.
    #[error("expected {expected}, found the end")]
    UnexpectedEnd {
        /// What is missing.
        expected: &'static str,
    },
    /// A number such as `007`.
    #[error("a number must not start with a superfluous zero")]
    LeadingZero,
    /// An integer that does not fit.
    #[error("an integer must be from -9223372036854775808 to 9223372036854775807")]
    IntegerOutOfRange,
    /// A number such as `1e999`.
    #[error("a number must not be larger than 1.7976931348623157e308")]
    NumberOutOfRange,
    /// A line break or another control character in a text.
    #[error("a control character in a text must be escaped")]
    ControlCharacter,
    /// A backslash that starts no escape.
    #[error("the escape is not one that JSON has")]
    InvalidEscape,
    /// Half of a pair of UTF-16 escapes.
    #[error("an escaped surrogate needs its other half")]
    LoneSurrogate,
    /// An object has a member twice.
    #[error("the member `{}` stands there twice", name.escape_debug())]
    DuplicateMember {
        /// Its name.
        name: String,
    },
    /// More nested arrays and objects than [`DEPTH_MAX`].
    #[error("at most {DEPTH_MAX} arrays and objects may be nested")]
    TooDeep,
}

impl JsonError {
    pub(crate) fn new(text: &str, at: usize, rule: JsonRule) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line, column, rule }
    }

    /// A name of the broken rule that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.rule {
            JsonRule::Unexpected { .. } => "json_unexpected",
            JsonRule::UnexpectedEnd { .. } => "json_unexpected_end",
            JsonRule::LeadingZero => "json_leading_zero",
            JsonRule::IntegerOutOfRange => "json_integer_out_of_range",
            JsonRule::NumberOutOfRange => "json_number_out_of_range",
            JsonRule::ControlCharacter => "json_control_character",
            JsonRule::InvalidEscape => "json_invalid_escape",
            JsonRule::LoneSurrogate => "json_lone_surrogate",
            JsonRule::DuplicateMember { .. } => "json_duplicate_member",
            JsonRule::TooDeep => "json_too_deep",
        }
    }
}

impl Value {
    /// Reads one JSON text.
    ///
    /// A literal without fraction and exponent is an integer and must be an `i64`; every other
    /// number is the nearest float, and an integer again if it equals one (`1e3` is 1000). Texts
    /// are never taken for times: that is the schema's to say.
    ///
    /// # Errors
    ///
    /// A [`JsonError`] with line, column and rule: no JSON, an integer outside `i64`, a number too
    /// large for a float, a duplicate member, more than [`DEPTH_MAX`] nested arrays and objects, or
    /// something behind the value.
    ///
    /// # Cost
    ///
    /// One pass; one allocation a text, member name, array and object.
    ///
    /// ```
    /// use datafold::model::Value;
    ///
    /// assert_eq!(Value::parse_json("[5.0, null]")?.to_json(), "[5,null]");
    /// let error = Value::parse_json("{\"a\": 1,\n \"a\": 2}").unwrap_err();
    /// assert_eq!(error.to_string(), "the member `a` stands there twice at line 2, column 2");
    /// # Ok::<(), datafold::model::JsonError>(())
    /// ```
    pub fn parse_json(text: &str) -> Result<Value, JsonError> {
        json_parser::parse(text)
    }

    /// The value as JSON without blanks, members sorted.
    ///
    /// 5 prints `5`, a float its shortest digits that read back the same, and a time its RFC 3339
    /// text, which reads back as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serializing a `Value` into memory has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// As [`Value::to_json`].
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Time(value) => serializer.collect_str(value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

/// The rules of [`Value::parse_json`], but for one that serde hides: an integer literal of more
/// than 20 digits reaches this as a float.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueSeed { depth: 0 }.deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct ValueSeed {
    depth: usize,
}

impl ValueSeed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(JsonRule::TooDeep));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        value.try_into().map(Value::Int).map_err(|_| E::custom(JsonRule::IntegerOutOfRange))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Value::number(value).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(JsonRule::DuplicateMember { name }));
            }
            let value = map.next_value_seed(seed)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::tests::{nested, value};
    use super::*;

    /// What JSON makes of a value: a time is text.
    fn as_json(value: Value) -> Value {
        match value {
            Value::Time(time) => Value::Text(time.to_string()),
            Value::Array(items) => Value::Array(items.into_iter().map(as_json).collect()),
            Value::Object(members) => members.into_iter().map(|(n, v)| (n, as_json(v))).collect(),
            other => other,
        }
    }

    fn error(text: &str) -> String {
        Value::parse_json(text).unwrap_err().to_string()
    }

    proptest! {
        #[test]
        fn values_are_read_back(value in value()) {
            let json = value.to_json();
            let value = as_json(value);
            prop_assert_eq!(&Value::parse_json(&json).unwrap(), &value);
            prop_assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), &value);
        }

        #[test]
        fn it_accepts_what_serde_json_does(text in "[-0-9.eE+\"\\\\untrfalse{}\\[\\]:, ]{0,12}") {
            let ours = Value::parse_json(&text);
            let theirs = serde_json::from_str::<Value>(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", &ours, &theirs);
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\n]{0,40}") {
            let _ = Value::parse_json(&text);
        }
    }

    #[test]
    fn numbers_stay_exact() {
        for (text, printed) in [
            ("5", "5"),
            ("5.0", "5"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("0.1", "0.1"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("1e30", "1e+30"),
            ("1e-400", "0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ] {
            assert_eq!(Value::parse_json(text).unwrap().to_json(), printed, "{text}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for text in ["9223372036854775808", "-9223372036854775809", &"1".repeat(40)] {
            assert!(error(text).starts_with("an integer must be from"), "{text}");
        }
        assert_eq!(
            error("[1, 1e999]"),
            "a number must not be larger than 1.7976931348623157e308 at line 1, column 5"
        );
        assert!(serde_json::from_str::<Value>("9223372036854775808").is_err());
        assert!(serde_json::from_str::<Value>("{\"a\":1,\"a\":1}").is_err());
    }

    #[test]
    fn errors_name_place_and_rule() {
        assert_eq!(error(""), "expected a value, found the end at line 1, column 1");
        assert_eq!(error("[1,\n é]"), "expected a value, found `\\u{e9}` at line 2, column 2");
        assert_eq!(error("{\"a\" 1}"), "expected `:`, found `1` at line 1, column 6");
        assert_eq!(error("[1 2]"), "expected `,` or `]`, found `2` at line 1, column 4");
        assert_eq!(error("1 2"), "expected the end, found `2` at line 1, column 3");
        assert_eq!(
            error("{\"é\":1,\"é\":2}"),
            "the member `é` stands there twice at line 1, column 8"
        );
        assert!(error("01").starts_with("a number must not start with"));
        assert!(error("\"\\ud800\"").starts_with("an escaped surrogate"));
        assert!(error("\"\\ud800\\u0041\"").starts_with("an escaped surrogate"));
        assert!(error("\"\\x\"").starts_with("the escape is not one"));
        assert!(error("\"\\u00é0\"").starts_with("the escape is not one"));
        assert!(error("\"a\nb\"").starts_with("a control character"));
        assert_eq!(Value::parse_json("nul").unwrap_err().code(), "json_unexpected");
    }

    #[test]
    fn escapes_are_read() {
        let text = r#""\"\\\/\b\f\n\r\t\u00e9\ud834\udd1e""#;
        let expected = "\"\\/\u{8}\u{c}\n\r\té𝄞";
        assert_eq!(Value::parse_json(text).unwrap(), Value::from(expected));
    }

    #[test]
    fn depth_is_limited() {
        let deep = nested(DEPTH_MAX).to_json();
        assert!(Value::parse_json(&deep).is_ok());
        assert!(serde_json::from_str::<Value>(&deep).is_ok());
        let deeper = nested(DEPTH_MAX + 1).to_json();
        assert_eq!(Value::parse_json(&deeper).unwrap_err().rule, JsonRule::TooDeep);
        assert!(serde_json::from_str::<Value>(&deeper).is_err());
        assert!(Value::parse_json(&"[".repeat(1_000_000)).is_err());
    }
}
