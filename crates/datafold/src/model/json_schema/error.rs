//! Why a value, or a schema of values, is refused.

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
    /// The schema refers to itself without end, or has too many alternatives.
    #[error("the `value` schema takes too many steps for this value")]
    TooManySteps,
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

    /// Says that the value stands in a member or item of the value looked at.
    pub(super) fn inside(mut self, step: &str) -> Self {
        if let ValueError::Type { path, .. }
        | ValueError::Keyword { path, .. }
        | ValueError::Time { path, .. } = &mut self
        {
            path.insert_str(0, &step.replace('~', "~0").replace('/', "~1"));
            path.insert(0, '/');
        }
        self
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
        expected: &'static str,
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
    /// A reference to something other than `#` or an entry of `$defs`.
    #[error("{} is neither `#` nor `#/$defs/NAME` with an existing name", quote(reference))]
    UnknownReference {
        /// The reference.
        reference: String,
    },
    /// A regular expression that cannot be used.
    #[error("{pattern} cannot be used as a pattern: {reason}")]
    Pattern {
        /// The expression in quotes, cut.
        pattern: String,
        /// The compiler's answer.
        reason: String,
    },
}
