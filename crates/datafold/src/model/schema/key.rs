//! Keys of a schema's records.

use super::super::part_of_value;
use super::super::{FieldName, RecordKey, RecordKeyError, SchemaName, Value, ValueError};
use super::Schema;

/// Why values are not a key of a schema's records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyOfError {
    /// There are too few or too many values.
    #[error("a key of {schema} has {expected} part{}, found {found}", plural(*expected))]
    WrongCount {
        /// The schema.
        schema: SchemaName,
        /// How many key fields it has.
        expected: usize,
        /// How many values were given.
        found: usize,
    },
    /// A key field has no value.
    #[error("the key field {schema}.{field} must not be null")]
    Null {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
    },
    /// A value breaks the field's `value` schema.
    #[error("the key field {schema}.{field} does not accept the value: {cause}")]
    InvalidValue {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// What was expected and found.
        cause: ValueError,
    },
    /// A value cannot be a part of a key, or the key is too long.
    #[error("the key field {schema}.{field} cannot be encoded: {cause}")]
    Key {
        /// The schema.
        schema: SchemaName,
        /// The field; the last one if the key is too long.
        field: FieldName,
        /// The broken rule.
        cause: RecordKeyError,
    },
}

impl KeyOfError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            KeyOfError::WrongCount { .. } => "key_wrong_count",
            KeyOfError::Null { .. } => "key_null",
            KeyOfError::InvalidValue { .. } => "key_invalid_value",
            KeyOfError::Key { cause, .. } => cause.code(),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Schema {
    /// The key of the record whose key fields have these values, in the order of the key.
    ///
    /// Texts become times where the field says so. A schema without key has the key of no values.
    ///
    /// # Errors
    ///
    /// A [`KeyOfError`] that names the field and the rule.
    ///
    /// ```
    /// use datafold::model::Schema;
    ///
    /// let text = r#"{"name": "Plane", "key": ["tailnum"],
    ///     "fields": {"tailnum": {"value": {"type": "string"}}, "seats": {}}}"#;
    /// let plane = Schema::parse(text)?.schema;
    /// assert_eq!(plane.key_of(&["N14228".into()])?.to_string(), r#"["N14228"]"#);
    /// assert!(plane.key_of(&[5.into()]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key_of(&self, parts: &[Value]) -> Result<RecordKey, KeyOfError> {
        if parts.len() != self.key.len() {
            return Err(KeyOfError::WrongCount {
                schema: self.name.clone(),
                expected: self.key.len(),
                found: parts.len(),
            });
        }
        self.key_prefix_of(parts)
    }

    /// As [`Schema::key_of`], for the first fields of the key: a key that all keys starting with
    /// these values start with.
    ///
    /// # Errors
    ///
    /// As [`Schema::key_of`]; [`KeyOfError::WrongCount`] only for too many values.
    pub fn key_prefix_of(&self, parts: &[Value]) -> Result<RecordKey, KeyOfError> {
        let schema = || self.name.clone();
        let (expected, found) = (self.key.len(), parts.len());
        if found > expected {
            return Err(KeyOfError::WrongCount { schema: schema(), expected, found });
        }
        let mut key = Vec::with_capacity(found);
        for (name, part) in self.key.iter().zip(parts) {
            let field = || name.clone();
            if part.is_null() {
                return Err(KeyOfError::Null { schema: schema(), field: field() });
            }
            let accepted = match self.field(name.as_str()) {
                Some(definition) => definition.accept(part.clone()),
                None => Ok(part.clone()),
            };
            let accepted = accepted.map_err(|cause| KeyOfError::InvalidValue {
                schema: schema(),
                field: field(),
                cause,
            })?;
            let part = part_of_value(&accepted);
            key.push(part.map_err(|cause| KeyOfError::Key {
                schema: schema(),
                field: field(),
                cause,
            })?);
        }
        RecordKey::from_parts(&key).map_err(|cause| match self.key.get(found.wrapping_sub(1)) {
            Some(field) => KeyOfError::Key { schema: schema(), field: field.clone(), cause },
            None => KeyOfError::WrongCount { schema: schema(), expected, found },
        })
    }
}
