//! Schemas: what a record of a kind consists of, and who may do what with it.

mod canonical;
mod error;
mod field;
mod index;
mod key;
mod parse;
mod payment;
mod policy;
mod price;
mod reader;
mod state;
mod transform;

use std::collections::HashMap;

pub use self::canonical::{ContentHash, ContentHashError};
pub use self::error::{
    SCHEMA_BYTES_MAX, SchemaError, SchemaPlace, SchemaRule, SchemaViolation, SchemaWarning,
    SchemaWarningKind,
};
pub use self::field::{Field, FieldKind};
pub use self::index::IndexDefinition;
pub use self::key::KeyOfError;
pub use self::parse::ParsedSchema;
pub use self::payment::{FieldPayment, SchemaPayment, TrustDistanceScaling};
pub use self::policy::{PermissionPolicy, TrustDistance};
pub use self::price::{Price, PriceBasis, PriceError};
pub use self::state::{SchemaState, SchemaStateError};
pub(crate) use self::transform::qualified;
pub use self::transform::{AggregateDefinition, OnError, TransformDefinition};
use super::{FieldName, SchemaName};

/// A schema: a named contract of key, fields, policies and transforms.
///
/// It is made by [`Schema::parse`] or [`Schema::from_stored`] and not changed afterwards: its
/// fields are found by an index that is built once.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Its name.
    pub name: SchemaName,
    /// What it is for, in words.
    pub description: Option<String>,
    /// The key fields in their order; empty for a schema with exactly one record.
    pub key: Vec<FieldName>,
    /// The fields, in the order of the schema's file.
    pub fields: Vec<Field>,
    /// The indexes, in the order of the schema's file.
    pub indexes: Vec<IndexDefinition>,
    /// What reading costs.
    pub payment: SchemaPayment,
    /// Where in `fields` a field stands.
    positions: HashMap<FieldName, usize>,
}

impl Schema {
    /// Reads a schema file.
    ///
    /// Both shapes of the original are read, and the members of `DESIGN.md` section 6. Everything
    /// but `name` and `fields` may be left out, and `null` is the same as left out. Unknown members
    /// are warnings; inside a transform they are errors.
    ///
    /// Whether fields of other schemas exist, mappings and transforms have no cycles, and the logic
    /// of transforms compiles, is checked when the schema is approved.
    ///
    /// # Errors
    ///
    /// [`SchemaError::TooLarge`] beyond [`SCHEMA_BYTES_MAX`], [`SchemaError::Json`], and
    /// [`SchemaError::Invalid`] with every broken rule (100 at most).
    ///
    /// ```
    /// use datafold::model::Schema;
    ///
    /// let error = Schema::parse(r#"{"name": "Plane", "key": ["id"], "fields": {}}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "Plane, key: `id` is not a field of the schema");
    /// ```
    pub fn parse(text: &str) -> Result<ParsedSchema, SchemaError> {
        parse::parse(text)
    }

    /// The field of that name.
    ///
    /// # Cost
    ///
    /// One look-up in a hash map.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.positions.get(name).and_then(|position| self.fields.get(*position))
    }

    /// The place of a field in [`Schema::fields`].
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// The key fields in their order.
    pub fn key_fields(&self) -> impl Iterator<Item = &Field> {
        self.key.iter().filter_map(|name| self.field(name.as_str()))
    }

    /// Whether it has a key; without one it has exactly one record.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whether a field is part of the key.
    #[must_use]
    pub fn is_key_field(&self, name: &str) -> bool {
        self.key.iter().any(|field| field == name)
    }

    fn index_fields(&mut self) {
        let fields = self.fields.iter().enumerate();
        self.positions = fields.map(|(position, field)| (field.name.clone(), position)).collect();
    }
}

#[cfg(test)]
mod tests;
