//! Why a value, or a schema of values, is refused.

use std::borrow::Cow;

use super::super::{InvalidValue, TimestampError, Value};

/// Why a field's `value` schema does not accept a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value has another type.
    #[error("expected {expected}, found {found}{}", at(path))]
    Type {
        /// The types allowed.
        expected: String,
        /// The type of the value, and the value, cut.
        found: String,
        /// Where in the value, as a JSON pointer; empty for the value itself.
        path: String,
    },
    /// The value breaks another keyword.
    #[error("expected {expected} (`{keyword}`), found {found}{}", at(path))]
    Keyword {
        /// The keyword.
        keyword: &'static str,
        /// What it asks for.
        expected: String,
        /// The type of the value, and the value, cut.
        found: String,
        /// Where in the value, as a JSON pointer; empty for the value itself.
        path: String,
    },
    /// The value is no time.
    #[error("expected time: {cause}{}", at(path))]
    Time {
        /// The broken rule of RFC 3339.
        cause: TimestampError,
        /// Where in the value, as a JSON pointer; empty for the value itself.
        path: String,
    },
    /// The value breaks an invariant of values.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// The schema's references are followed too often, or too deep, for this value.
    #[error("the `value` schema takes too many steps for this value")]
    TooManySteps,
    /// The stored schema is one that this version cannot compile.
    #[error("the `value` schema cannot be used: {cause}")]
    Schema {
        /// The rule that it breaks.
        cause: Box<ValueSchemaError>,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {}", plain(path)) }
}

impl ValueError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ValueError::Type { .. } => "value_type",
            ValueError::Keyword { .. } => "value_keyword",
            ValueError::Time { .. } => "value_time",
            ValueError::Invalid(cause) => cause.code(),
            ValueError::TooManySteps => "value_too_many_steps",
            ValueError::Schema { cause } => cause.code(),
        }
    }

    pub(super) fn types(expected: impl ToString, value: &Value) -> Self {
        let (expected, path) = (expected.to_string(), String::new());
        ValueError::Type { expected, found: describe(value), path }
    }

    pub(super) fn keyword(
        keyword: &'static str,
        expected: impl Into<String>,
        value: &Value,
    ) -> Self {
        let (expected, path) = (expected.into(), String::new());
        ValueError::Keyword { keyword, expected, found: describe(value), path }
    }
}

/// The type of a value and, for a scalar, the value.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(items) => format!("array of {} items", items.len()),
        Value::Object(members) => format!("object of {} members", members.len()),
        Value::Text(text) => format!("text {}", quote(text)),
        scalar => format!("{} {scalar}", scalar.type_name()),
    }
}

/// The first of some values as JSON, cut.
pub(super) fn one_of<'v>(values: impl ExactSizeIterator<Item = Cow<'v, Value>>) -> String {
    let more = if values.len() > 5 { " | …" } else { "" };
    let some: Vec<_> = values.take(5).map(|value| value.to_json()).collect();
    let text: String = some.join(" | ").chars().take(200).collect();
    text + more
}

/// A text in quotes on one line, cut to 40 characters.
pub(crate) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(40).is_some() { "…" } else { "" };
    format!("\"{cut}{more}\"")
}

/// A text as it is if it is short and prints on one line, else as [`quote`] has it.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = text.len() <= 300 && !text.contains(char::is_control);
    if is_plain { text.to_owned() } else { quote(text) }
}

/// Why a JSON value is not a schema of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}{}", at(path))]
pub struct ValueSchemaError {
    /// Where in the schema, as a JSON pointer; empty for the schema itself.
    pub path: String,
    /// The broken rule.
    pub rule: ValueSchemaRule,
}

impl ValueSchemaError {
    /// A name of the broken rule that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.rule {
            ValueSchemaRule::Wrong { .. } => "value_schema_wrong",
            ValueSchemaRule::Unsupported => "value_schema_unsupported",
            ValueSchemaRule::RemoteReference { .. } => "value_schema_remote_reference",
            ValueSchemaRule::UnknownReference { .. } => "value_schema_unknown_reference",
            ValueSchemaRule::Pattern { .. } => "value_schema_pattern",
            ValueSchemaRule::Endless => "value_schema_endless",
            ValueSchemaRule::TooDeep { .. } => "value_schema_too_deep",
            ValueSchemaRule::TooLarge { .. } => "value_schema_too_large",
        }
    }
}

/// A rule that a schema of values breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueSchemaRule {
    /// A keyword, or the schema, has a value that it cannot have.
    #[error("expected {expected}, found {found}")]
    Wrong {
        /// What it can have.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A keyword of JSON Schema that is not enforced here, and so not accepted.
    #[error("the keyword is not supported")]
    Unsupported,
    /// A reference that leaves the schema.
    #[error("remote references are refused: {}", quote(reference))]
    RemoteReference {
        /// The reference.
        reference: String,
    },
    /// A reference to a place of the schema that is no schema, or that does not exist.
    #[error("{} leads to no place of the schema, such as `#/$defs/NAME`", quote(reference))]
    UnknownReference {
        /// The reference.
        reference: String,
    },
    /// A regular expression that cannot be used.
    #[error("{pattern} cannot be used as a pattern: {reason}")]
    Pattern {
        /// The expression in quotes, cut.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// References that lead back to where they began, for the same value.
    #[error("the schema refers to itself without end")]
    Endless,
    /// Too many schemas that apply to the same value inside each other.
    #[error("at most {limit} schemas may apply to the same value inside each other")]
    TooDeep {
        /// The most.
        limit: usize,
    },
    /// Too many schemas in the schema.
    #[error("a `value` schema has at most {limit} schemas inside it")]
    TooLarge {
        /// The most.
        limit: usize,
    },
}
