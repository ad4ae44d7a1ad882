//! The JSON Schema of a field's value.

mod error;
mod library;
mod native;
mod types;
mod vet;

use std::sync::{Arc, OnceLock};

pub use self::error::{ValueError, ValueSchemaError, ValueSchemaRule};
pub(super) use self::error::{describe, plain, quote};
use self::library::Library;
use self::native::Native;
use self::types::Types;
use self::vet::vet;
use super::{Timestamp, Value};

/// The JSON Schema (draft 2020-12) of the values of a field, or of its elements.
///
/// Every keyword that asserts something is enforced, or refused when the schema is made. References
/// lead to `#`, to places of the schema such as `#/$defs/NAME`, and to anchors; remote ones are
/// refused, and nothing is ever fetched. Refused are also `$id` below the top, `$vocabulary` and
/// the `dependencies` of earlier drafts. Of `format`, `date-time` and `date` are asserted; other
/// formats, and keywords that JSON Schema does not have, assert nothing.
///
/// A `pattern` is a regular expression without look-around and back-references, so that its time
/// is linear. `integer` is an `i64`. A schema has at most 1,000 schemas inside it, of which at most
/// 64 apply to the same value inside each other; checking a value follows at most 1,000,000
/// references.
///
/// # Cost
///
/// A clone shares everything. A schema with only `type`, `format: date-time`, `minimum` and its
/// relatives, a short `enum` and annotations is checked in some nanoseconds; another one is
/// compiled once, when it is made or first used, and its values are copied for the check.
#[derive(Debug, Clone)]
pub struct ValueSchema {
    json: Arc<Value>,
    types: Types,
    is_time: bool,
    rules: Arc<Rules>,
}

/// What is checked besides the types and the time.
#[derive(Debug)]
enum Rules {
    Native(Native),
    Library(OnceLock<Result<Library, ValueSchemaError>>),
}

impl Rules {
    fn library(json: &Value) -> Result<Library, ValueSchemaError> {
        Library::compile(&vet(json))
    }

    fn check(&self, json: &Value, value: &Value) -> Result<(), ValueError> {
        match self {
            Rules::Native(native) => native.check(value),
            Rules::Library(library) => match library.get_or_init(|| Rules::library(json)) {
                Ok(library) => library.check(value),
                Err(cause) => Err(ValueError::Schema { cause: Box::new(cause.clone()) }),
            },
        }
    }
}

/// Two schemas are equal if their JSON is.
impl PartialEq for ValueSchema {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

/// The one scalar type that a schema allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScalarType {
    /// `boolean`.
    Bool,
    /// `number`.
    Number,
    /// `integer`.
    Integer,
    /// `string` with `format: date-time`.
    Time,
    /// `string`.
    Text,
}

impl ValueSchema {
    /// Makes a schema of its JSON.
    ///
    /// # Errors
    ///
    /// The first [`ValueSchemaError`]: a keyword with a wrong value, or one that is not enforced.
    ///
    /// ```
    /// use datafold::model::{Value, ValueSchema};
    ///
    /// let schema = ValueSchema::new(Value::parse_json(r#"{"type": "integer"}"#)?)?;
    /// assert_eq!(schema.accept(5.into())?, Value::Int(5));
    /// let error = schema.accept("x".into()).unwrap_err();
    /// assert_eq!(error.to_string(), r#"expected integer, found text "x""#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(json: Value) -> Result<Self, ValueSchemaError> {
        match Self::checked(json) {
            Ok((schema, _)) => Ok(schema),
            Err(mut errors) => Err(errors.swap_remove(0)),
        }
    }

    /// As [`ValueSchema::new`], with all errors (one at least), or with the places that nothing
    /// checks.
    pub(super) fn checked(json: Value) -> Result<(Self, Vec<String>), Vec<ValueSchemaError>> {
        let vetted = vet(&json);
        let mut errors = library::check_schema(&json);
        let has_all =
            |errors: &[ValueSchemaError], path: &str| errors.iter().any(|error| error.path == path);
        for error in vetted.errors.iter() {
            if !has_all(&errors, &error.path) {
                errors.push(error.clone());
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let schema = Self::trusted(json);
        if let Rules::Library(library) = &*schema.rules {
            let compiled = Library::compile(&vetted).map_err(|error| vec![error])?;
            // Nobody else has the schema yet.
            let _ = library.set(Ok(compiled));
        }
        Ok((schema, vetted.unchecked))
    }

    /// A schema of JSON that [`ValueSchema::new`] has accepted before.
    pub(super) fn trusted(json: Value) -> Self {
        let rules = match Native::of_schema(&json) {
            Some(native) => Rules::Native(native),
            None => Rules::Library(OnceLock::new()),
        };
        Self::with_rules(json, rules)
    }

    fn with_rules(json: Value, rules: Rules) -> Self {
        let (mut types, mut is_time) = (Types::ANY, false);
        if let Value::Object(members) = &json {
            types = members.get("type").and_then(Types::of_keyword).unwrap_or(Types::ANY);
            is_time = members.get("format").and_then(Value::as_text) == Some("date-time");
        }
        Self { json: Arc::new(json), types, is_time, rules: Arc::new(rules) }
    }

    /// The schema as JSON.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The value of the keyword `default`, if it is not null.
    #[must_use]
    pub fn default_value(&self) -> Option<&Value> {
        match &*self.json {
            Value::Object(members) => members.get("default").filter(|value| !value.is_null()),
            _ => None,
        }
    }

    /// The scalar type of the values, if the keyword `type` allows exactly one besides null.
    #[must_use]
    pub fn scalar_type(&self) -> Option<ScalarType> {
        match self.types.without(Types::NULL) {
            Types::BOOL => Some(ScalarType::Bool),
            Types::INTEGER => Some(ScalarType::Integer),
            Types::STRING if self.is_time => Some(ScalarType::Time),
            Types::STRING => Some(ScalarType::Text),
            types if types.without(Types::INTEGER) == Types::NUMBER => Some(ScalarType::Number),
            _ => None,
        }
    }

    /// Whether the keyword `type` is given and allows arrays or objects.
    pub(super) fn allows_nested(&self) -> bool {
        let nested = [Types::ARRAY, Types::OBJECT].into_iter().any(|t| self.types.contains(t));
        self.types != Types::ANY && nested
    }

    /// Checks a value, and gives it as it is to be stored.
    ///
    /// Null is always accepted: it is the same as a missing value. With `format: date-time` a text
    /// becomes a [`Value::Time`]; a time becomes text where the `type` has `string` without that
    /// format. This holds for the value itself; times inside arrays and objects are checked and
    /// stay text.
    ///
    /// # Errors
    ///
    /// A [`ValueError`] with what was expected and what was found.
    pub fn accept(&self, value: Value) -> Result<Value, ValueError> {
        if value.is_null() {
            return Ok(value);
        }
        value.check()?;
        let is_string = self.types.contains(Types::STRING);
        let value = match value {
            Value::Text(text) if self.is_time && is_string => Value::Time(parse_time(&text)?),
            Value::Time(time) if !self.is_time && self.types != Types::ANY && is_string => {
                Value::Text(time.to_string())
            }
            other => other,
        };
        if !self.types.allow(&value) {
            return Err(self.wrong_type(&value));
        }
        self.rules.check(&self.json, &value)?;
        Ok(value)
    }

    fn wrong_type(&self, value: &Value) -> ValueError {
        let mut expected = self.types.to_string();
        if self.is_time {
            expected = expected.replace("text", "time");
        }
        ValueError::types(expected, value)
    }

    /// Makes a value of a text without types, such as a cell of a CSV file.
    ///
    /// Where the `type` allows text, it is text (or a time, by `format: date-time`). Otherwise
    /// blanks around it are ignored, no text is null, and it must be a number (leading zeros are
    /// allowed), `true` or `false` in any case, or the JSON of an array or object.
    ///
    /// # Errors
    ///
    /// As [`ValueSchema::accept`].
    pub fn coerce_text(&self, text: &str) -> Result<Value, ValueError> {
        let trimmed = text.trim();
        let is_string = self.types.contains(Types::STRING);
        if is_string && !self.is_time {
            return self.accept(Value::from(text));
        }
        if trimmed.is_empty() {
            return Ok(Value::Null);
        }
        if is_string && self.types.without(Types::NULL) == Types::STRING {
            return self.accept(Value::from(trimmed));
        }
        let found = self.guess(trimmed).filter(|value| self.types.allow(value));
        self.accept(found.unwrap_or_else(|| Value::from(if is_string { trimmed } else { text })))
    }

    /// The value that the types allow and a text reads as.
    fn guess(&self, text: &str) -> Option<Value> {
        if self.types.contains(Types::BOOL) {
            for (word, value) in [("true", true), ("false", false)] {
                if text.eq_ignore_ascii_case(word) {
                    return Some(Value::Bool(value));
                }
            }
        }
        if text.starts_with(['[', '{']) {
            return Value::parse_json(text).ok();
        }
        number(text)
    }
}

fn parse_time(text: &str) -> Result<Timestamp, ValueError> {
    Timestamp::parse(text).map_err(|cause| ValueError::Time { cause, path: String::new() })
}

/// A decimal number. An integer outside `i64` is none.
fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Value::Int);
    }
    // Keeps out the words `inf` and `nan`.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.parse().ok().and_then(|number| Value::number(number).ok())
}

#[cfg(test)]
mod tests;
