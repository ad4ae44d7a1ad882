//! The definition of a computed field.

use std::fmt;

use datafold_lang::{CompileError, Declaration};

use super::super::{AggregateCall, FieldName, SchemaName, Value};
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

/// A named input of a transform: something that is computed of the records of a schema which have
/// the key of the own record in some of their fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateDefinition {
    /// The name that the logic has for it.
    pub name: FieldName,
    /// What is computed.
    pub aggregate: AggregateCall,
    /// The schema that has the records.
    pub of: SchemaName,
    /// Their fields that must equal the parts of the own key, in its order.
    pub by: Vec<FieldName>,
    /// The condition that a record must fulfil, if there is one.
    pub filter: Option<String>,
}

impl AggregateDefinition {
    fn read(reader: &mut Reader, path: Path<'_>, name: &str, value: &Value) -> Option<Self> {
        let name = FieldName::parse(name).map_err(|error| reader.refuse(path, error)).ok();
        let members = reader.members(path, value)?;
        let known = ["aggregate", "by", "of", "where"];
        for name in members.0.keys().filter(|name| !known.contains(&name.as_str())) {
            reader.refuse(path.child(name), SchemaRule::UnknownMember);
        }
        let mut text = |name: &str| {
            let Some(value) = members.get(name) else {
                reader.refuse(path.child(name), SchemaRule::Missing);
                return None;
            };
            reader.text(path.child(name), value)
        };
        let (aggregate, of) = (text("aggregate"), text("of"));
        let aggregate = aggregate.and_then(|text| {
            let found = AggregateCall::parse(text);
            let wrong = |rule| {
                let found = format!("\"{text}\", which {rule}");
                let expected = "an aggregate, as in `count()` or `avg(delay)`".to_owned();
                reader.refuse(path.child("aggregate"), SchemaRule::Wrong { expected, found });
            };
            found.map_err(wrong).ok()
        });
        let of = of.and_then(|text| {
            let found = SchemaName::parse(text);
            found.map_err(|error| reader.refuse(path.child("of"), error)).ok()
        });
        let mut by = Vec::new();
        if let Some(value) = members.get("by") {
            let path = path.child("by");
            for name in reader.array(path, value).unwrap_or_default() {
                let name = reader.text(path, name).map(FieldName::parse);
                let name = name.map(|name| name.map_err(|error| reader.refuse(path, error)));
                by.extend(name.into_iter().flatten());
            }
        }
        let path = path.child("where");
        let filter = members.get("where").and_then(|value| reader.text(path, value));
        if filter.is_some_and(|filter| filter.trim().is_empty()) {
            reader.refuse(path, SchemaRule::Empty);
        }
        let filter = filter.map(str::to_owned);
        Some(Self { name: name?, aggregate: aggregate?, of: of?, by, filter })
    }

    /// The member of the inputs that it is, without its name.
    pub(crate) fn to_value(&self) -> Value {
        let mut members = vec![
            ("aggregate".to_owned(), Value::from(self.aggregate.to_string())),
            ("of".to_owned(), self.of.as_str().into()),
        ];
        if !self.by.is_empty() {
            let by: Vec<String> = self.by.iter().map(FieldName::to_string).collect();
            members.push(("by".to_owned(), by.into()));
        }
        members.extend(self.filter.as_deref().map(|text| ("where".to_owned(), text.into())));
        members.into_iter().collect()
    }
}

/// `count() of Flight by carrier where dep_delay > 0`
impl fmt::Display for AggregateDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.aggregate, self.of)?;
        for (at, field) in self.by.iter().enumerate() {
            write!(f, "{}{field}", if at == 0 { " by " } else { ", " })?;
        }
        match &self.filter {
            Some(filter) => write!(f, " where {}", filter.trim()),
            None => Ok(()),
        }
    }
}

/// How a field is computed. Whether the logic can be compiled, and what it reads, is checked when
/// the schema is approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransformDefinition {
    /// What the logic reads, as `Schema.field`; if empty, that is found out from the logic.
    pub inputs: Vec<String>,
    /// The aggregates that the logic reads by name.
    pub aggregates: Vec<AggregateDefinition>,
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
        let mut aggregates = Vec::new();
        if let Some(value) = members.get("inputs") {
            let path = path.child("inputs");
            if let Value::Object(named) = value {
                for (name, value) in named {
                    let found = AggregateDefinition::read(reader, path.child(name), name, value);
                    aggregates.extend(found);
                }
            } else {
                for input in reader.array(path, value).unwrap_or_default() {
                    inputs.extend(reader.text(path, input).map(str::to_owned));
                }
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
        Some(Self { inputs, aggregates, output, on_error, ..Self::new(logic) })
    }

    pub(super) fn to_value(&self) -> Value {
        if let Some(declaration) = &self.declaration {
            return declaration.as_str().into();
        }
        let mut members = vec![("logic".to_owned(), Value::from(self.logic.as_str()))];
        if !self.inputs.is_empty() {
            members.push(("inputs".to_owned(), self.inputs.clone().into()));
        }
        if !self.aggregates.is_empty() {
            members.push(("inputs".to_owned(), self.named_inputs()));
        }
        if self.on_error != OnError::Keep {
            members.push(("on_error".to_owned(), self.on_error.as_str().into()));
        }
        members.extend(self.output.as_deref().map(|o| ("output".to_owned(), o.into())));
        members.into_iter().collect()
    }

    /// The aggregates by their names, as they stand in a schema.
    pub(crate) fn named_inputs(&self) -> Value {
        let named = self.aggregates.iter().map(|of| (of.name.to_string(), of.to_value()));
        named.collect()
    }

    /// The aggregates of such an object; `None` for anything else.
    pub(crate) fn read_named_inputs(value: &Value) -> Option<Vec<AggregateDefinition>> {
        let Value::Object(named) = value else { return None };
        let mut reader = Reader::default();
        let read = |(name, value): (&String, &Value)| {
            AggregateDefinition::read(&mut reader, Path::HERE, name, value)
        };
        named.iter().map(read).collect()
    }
}

/// The parts of `Schema.field`.
pub(crate) fn qualified(text: &str) -> Option<(SchemaName, FieldName)> {
    let (schema, field) = text.split_once('.')?;
    Some((SchemaName::parse(schema).ok()?, FieldName::parse(field).ok()?))
}
