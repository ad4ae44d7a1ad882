//! Why a schema is refused, and what in it is ignored.

use std::fmt;

use datafold_lang::CompileError;

use super::super::json_schema::{plain, quote};
use super::super::{JsonError, NameError, ValueError, ValueSchemaError};

/// The most bytes of a schema's JSON.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;

/// Why a text is not a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text is longer than [`SCHEMA_BYTES_MAX`].
    #[error("a schema has at most {SCHEMA_BYTES_MAX} bytes, this one has {found}")]
    TooLarge {
        /// Its bytes.
        found: usize,
    },
    /// The text is not JSON.
    #[error("the schema is not JSON: {0}")]
    Json(JsonError),
    /// The schema breaks rules; every one that was found, one at least.
    #[error("{}", join(violations))]
    Invalid {
        /// In the order of the text, cross-checks last.
        violations: Vec<SchemaViolation>,
    },
}

impl From<JsonError> for SchemaError {
    fn from(error: JsonError) -> Self {
        SchemaError::Json(error)
    }
}

impl SchemaError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SchemaError::TooLarge { .. } => "schema_too_large",
            SchemaError::Json(_) => "schema_json",
            SchemaError::Invalid { .. } => "schema_invalid",
        }
    }

    /// The broken rules, if the text is JSON.
    #[must_use]
    pub fn violations(&self) -> &[SchemaViolation] {
        match self {
            SchemaError::Invalid { violations } => violations,
            _ => &[],
        }
    }
}

fn join(violations: &[SchemaViolation]) -> String {
    let texts: Vec<_> = violations.iter().map(SchemaViolation::to_string).collect();
    texts.join("; ")
}

/// A rule that a schema breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaViolation {
    /// The place.
    pub place: SchemaPlace,
    /// The rule.
    pub rule: SchemaRule,
}

/// `Flight.distance, payment_config.base_multiplier: must be greater than 0, found -1`
impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

/// A place in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaPlace {
    /// The name of the schema as given; empty if it has none.
    pub schema: String,
    /// The name of the field as given, if the place is in a field.
    pub field: Option<String>,
    /// The path of the member, with dots; empty for the schema or field itself.
    pub member: String,
}

impl fmt::Display for SchemaPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schema.as_str() {
            "" => f.write_str("schema")?,
            name => write!(f, "{}", plain(name))?,
        }
        if let Some(field) = &self.field {
            write!(f, ".{}", plain(field))?;
        }
        if self.member.is_empty() { Ok(()) } else { write!(f, ", {}", plain(&self.member)) }
    }
}

/// A rule of schemas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaRule {
    /// A member that must be there.
    #[error("is missing")]
    Missing,
    /// A member with a value that it cannot have.
    #[error("expected {expected}, found {found}")]
    Wrong {
        /// What it can have.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A member that the object does not have, where a slip would change the meaning.
    #[error("is not a member of a transform")]
    UnknownMember,
    /// A name that breaks the rules of names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text that must say something.
    #[error("must not be empty")]
    Empty,
    /// Something that the original accepts, and this version does not yet.
    #[error("{0} is not supported yet")]
    NotSupported(&'static str),
    /// A transform that is declared as text, but not in the form for that.
    #[error("the declaration of a transform: {0}")]
    Logic(CompileError),
    /// The `value` schema is invalid.
    #[error("{0}")]
    ValueSchema(ValueSchemaError),
    /// The default breaks the field's `value` schema.
    #[error("the default is not accepted: {0}")]
    Default(ValueError),
    /// A default where none is applied.
    #[error("{0} has no default")]
    NoDefault(&'static str),
    /// A name that is no field of the schema.
    #[error("`{}` is not a field of the schema", plain(field))]
    NoSuchField {
        /// The name.
        field: String,
    },
    /// The same twice.
    #[error("{} stands there twice", quote(what))]
    Duplicate {
        /// What.
        what: String,
    },
    /// A field that cannot be a key field or be indexed.
    #[error("`{field}` {reason}")]
    UnfitField {
        /// The field.
        field: String,
        /// Why.
        reason: &'static str,
    },
    /// More than one source of a mapped field.
    #[error("a field maps from one source, found {found}")]
    ManySources {
        /// How many.
        found: usize,
    },
    /// A field that maps from, or is computed from, itself.
    #[error("must not be the field itself")]
    Itself,
    /// A text that should name a field of a schema.
    #[error("{} does not have the form `Schema.field`", quote(found))]
    NotQualified {
        /// The text.
        found: String,
    },
    /// A transform with an output in its own schema that is not its own field.
    #[error("an output in the same schema must be the field itself, found `{}`", plain(found))]
    ForeignOutput {
        /// The output.
        found: String,
    },
}

impl SchemaRule {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SchemaRule::Missing => "schema_member_missing",
            SchemaRule::Wrong { .. } => "schema_member_wrong",
            SchemaRule::UnknownMember => "schema_member_unknown",
            SchemaRule::Name(cause) => cause.code(),
            SchemaRule::Empty => "schema_member_empty",
            SchemaRule::NotSupported(_) => "schema_not_supported",
            SchemaRule::Logic(_) => "schema_declaration",
            SchemaRule::ValueSchema(cause) => cause.code(),
            SchemaRule::Default(_) => "schema_default_refused",
            SchemaRule::NoDefault(_) => "schema_default_unused",
            SchemaRule::NoSuchField { .. } => "schema_no_such_field",
            SchemaRule::Duplicate { .. } => "schema_duplicate",
            SchemaRule::UnfitField { .. } => "schema_unfit_field",
            SchemaRule::ManySources { .. } => "schema_many_sources",
            SchemaRule::Itself => "schema_itself",
            SchemaRule::NotQualified { .. } => "schema_not_qualified",
            SchemaRule::ForeignOutput { .. } => "schema_foreign_output",
        }
    }
}

/// Something in a schema that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaWarning {
    /// The place.
    pub place: SchemaPlace,
    /// Why it has no effect.
    pub kind: SchemaWarningKind,
}

/// Why something in a schema has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaWarningKind {
    /// Schemas do not have the member.
    #[error("the member is unknown and ignored")]
    UnknownMember,
    /// JSON Schema does not have the keyword, or does not assert the format.
    #[error("the keyword or format is not checked")]
    Unchecked,
}

impl SchemaWarning {
    /// A name of the kind that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            SchemaWarningKind::UnknownMember => "schema_warning_unknown_member",
            SchemaWarningKind::Unchecked => "schema_warning_unchecked",
        }
    }
}

impl fmt::Display for SchemaWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}
