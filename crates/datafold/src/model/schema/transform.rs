//! The definition of a computed field.

use super::super::{FieldName, SchemaName, Value};
use super::error::SchemaRule;
use super::reader::{Path, Reader};

/// How a field is computed. Whether the logic can be compiled, and what it reads, is checked when
/// the schema is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformDefinition {
    /// What the logic reads, as `Schema.field`; if empty, that is found out from the logic.
    pub inputs: Vec<String>,
    /// The program; not blank.
    pub logic: String,
    /// The field that takes the result, as `Schema.field`; by default the field itself.
    pub output: Option<String>,
}

impl TransformDefinition {
    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Option<Self> {
        if matches!(value, Value::Text(_)) {
            let rule = SchemaRule::NotSupported(
                "a transform declared as text (write {\"logic\": …} instead)",
            );
            reader.refuse(path, rule);
            return None;
        }
        let members = reader.members(path, value)?;
        let known = ["inputs", "logic", "output"];
        for name in members.0.keys().filter(|name| !known.contains(&name.as_str())) {
            reader.refuse(path.child(name), SchemaRule::UnknownMember);
        }
        let mut inputs = Vec::new();
        if let Some(value) = members.get("inputs") {
            let path = path.child("inputs");
            for input in reader.array(path, value).unwrap_or_default() {
                inputs.extend(reader.text(path, input).map(str::to_owned));
            }
        }
        let output = members.get("output");
        let output = output.and_then(|value| reader.text(path.child("output"), value));
        let path = path.child("logic");
        let Some(logic) = members.get("logic") else {
            reader.refuse(path, SchemaRule::Missing);
            return None;
        };
        let logic = reader.text(path, logic)?;
        if logic.trim().is_empty() {
            reader.refuse(path, SchemaRule::Empty);
        }
        Some(Self { inputs, logic: logic.to_owned(), output: output.map(str::to_owned) })
    }

    pub(super) fn to_value(&self) -> Value {
        let mut members = vec![("logic".to_owned(), Value::from(self.logic.as_str()))];
        if !self.inputs.is_empty() {
            members.push(("inputs".to_owned(), self.inputs.clone().into()));
        }
        members.extend(self.output.as_deref().map(|o| ("output".to_owned(), o.into())));
        members.into_iter().collect()
    }
}

/// The parts of `Schema.field`.
pub(super) fn qualified(text: &str) -> Option<(SchemaName, FieldName)> {
    let (schema, field) = text.split_once('.')?;
    Some((SchemaName::parse(schema).ok()?, FieldName::parse(field).ok()?))
}
