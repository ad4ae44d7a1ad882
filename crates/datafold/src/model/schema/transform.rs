//! The definition of a computed field.

use datafold_lang::{CompileError, Declaration};

use super::super::{FieldName, SchemaName, Value};
use super::error::SchemaRule;
use super::reader::{Path, Reader};

/// What becomes of a mutation when the logic fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnError {
    /// The field keeps its last good value, and the failure is recorded.
    #[default]
    Keep,
    /// The mutation is refused.
    Reject,
}

impl OnError {
    /// As it stands in a schema: `keep` or `reject`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OnError::Keep => "keep",
            OnError::Reject => "reject",
        }
    }
}

/// How a field is computed. Whether the logic can be compiled, and what it reads, is checked when
/// the schema is approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransformDefinition {
    /// What the logic reads, as `Schema.field`; if empty, that is found out from the logic.
    pub inputs: Vec<String>,
    /// The program; not blank.
    pub logic: String,
    /// The field that takes the result, as `Schema.field`; by default the field itself.
    pub output: Option<String>,
    /// What becomes of a mutation when the logic fails.
    pub on_error: OnError,
    /// The text `transform name { logic: { … } }`, if it was declared so; `logic` is its part.
    pub declaration: Option<String>,
}

impl TransformDefinition {
    /// A transform with this logic and nothing else.
    pub fn new(logic: impl Into<String>) -> Self {
        Self { logic: logic.into(), ..Self::default() }
    }

    /// A transform that is declared as text.
    ///
    /// # Errors
    ///
    /// What is not expected in the declaration, with its place.
    pub fn declared(text: &str) -> Result<Self, CompileError> {
        let logic = Declaration::parse(text)?.logic;
        let logic = text.get(logic).unwrap_or_default();
        Ok(Self { declaration: Some(text.to_owned()), ..Self::new(logic) })
    }

    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Option<Self> {
        if let Value::Text(text) = value {
            let found = Self::declared(text);
            let found = found.map_err(|error| reader.refuse(path, SchemaRule::Logic(error)));
            let found = found.ok()?;
            if found.logic.trim().is_empty() {
                reader.refuse(path.child("logic"), SchemaRule::Empty);
            }
            return Some(found);
        }
        let members = reader.members(path, value)?;
        let known = ["inputs", "logic", "on_error", "output"];
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
        let on_error = members
            .get("on_error")
            .and_then(|value| reader.variant(path.child("on_error"), value, &["keep", "reject"]));
        let on_error = match on_error {
            Some(("reject", _)) => OnError::Reject,
            _ => OnError::Keep,
        };
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
        let output = output.map(str::to_owned);
        Some(Self { inputs, output, on_error, ..Self::new(logic) })
    }

    pub(super) fn to_value(&self) -> Value {
        if let Some(declaration) = &self.declaration {
            return declaration.as_str().into();
        }
        let mut members = vec![("logic".to_owned(), Value::from(self.logic.as_str()))];
        if !self.inputs.is_empty() {
            members.push(("inputs".to_owned(), self.inputs.clone().into()));
        }
        if self.on_error != OnError::Keep {
            members.push(("on_error".to_owned(), self.on_error.as_str().into()));
        }
        members.extend(self.output.as_deref().map(|o| ("output".to_owned(), o.into())));
        members.into_iter().collect()
    }
}

/// The parts of `Schema.field`.
pub(crate) fn qualified(text: &str) -> Option<(SchemaName, FieldName)> {
    let (schema, field) = text.split_once('.')?;
    Some((SchemaName::parse(schema).ok()?, FieldName::parse(field).ok()?))
}
