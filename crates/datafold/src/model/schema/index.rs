//! Indexes over the fields of a schema.

use super::super::{FieldName, Value};
use super::error::SchemaRule;
use super::reader::{Path, Reader};

/// An index over Single fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexDefinition {
    /// The fields, the first one sorts first; one at least.
    pub fields: Vec<FieldName>,
    /// Whether two records must not have the same values; null is never the same.
    pub unique: bool,
}

impl IndexDefinition {
    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Option<Self> {
        let members = reader.members(path, value)?;
        reader.unknown(path, members.0, &["fields", "unique"]);
        let unique = members.get("unique");
        let unique = unique.and_then(|value| reader.bool(path.child("unique"), value));
        let path = path.child("fields");
        let Some(value) = members.get("fields") else {
            reader.refuse(path, SchemaRule::Missing);
            return None;
        };
        let fields = read_field_names(reader, path, value)?;
        if fields.is_empty() {
            reader.refuse(path, SchemaRule::Empty);
        }
        Some(Self { fields, unique: unique.unwrap_or(false) })
    }

    pub(super) fn to_value(&self) -> Value {
        let fields: Vec<_> = self.fields.iter().map(FieldName::as_str).collect();
        let mut members = vec![("fields".to_owned(), Value::from(fields))];
        if self.unique {
            members.push(("unique".to_owned(), true.into()));
        }
        members.into_iter().collect()
    }
}

/// A list of names of fields, each once.
pub(super) fn read_field_names(
    reader: &mut Reader,
    path: Path<'_>,
    value: &Value,
) -> Option<Vec<FieldName>> {
    let mut names: Vec<FieldName> = Vec::new();
    for name in reader.array(path, value)? {
        let Some(name) = reader.text(path, name) else {
            continue;
        };
        match FieldName::parse(name) {
            Ok(name) if names.contains(&name) => {
                reader.refuse(path, SchemaRule::Duplicate { what: name.to_string() });
            }
            Ok(name) => names.push(name),
            Err(error) => reader.refuse(path, error),
        }
    }
    Some(names)
}
