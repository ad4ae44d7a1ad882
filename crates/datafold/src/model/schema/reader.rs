//! Reads the members of a schema and collects what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;

use super::super::Value;
use super::super::json_schema::describe;
use super::error::{SchemaPlace, SchemaRule, SchemaViolation, SchemaWarning, SchemaWarningKind};

/// The most violations and warnings that are kept of one schema.
const REPORTS_MAX: usize = 100;

pub(super) type Members = BTreeMap<String, Value>;

/// The path of a member, which becomes text only when something is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
}

impl<'a> Path<'a> {
    /// The schema or field itself.
    pub(super) const HERE: Path<'static> = Path { parent: None, name: "" };

    pub(super) fn of(name: &'a str) -> Self {
        Path { parent: None, name }
    }

    pub(super) fn child(&'a self, name: &'a str) -> Self {
        if self.name.is_empty() { Path::of(name) } else { Path { parent: Some(self), name } }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.name)
    }
}

/// Collects violations and warnings. A method that reads gives `None` after it has reported.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) schema: String,
    pub(super) field: Option<String>,
    pub(super) violations: Vec<SchemaViolation>,
    pub(super) warnings: Vec<SchemaWarning>,
}

impl Reader {
    fn place(&self, path: Path<'_>) -> SchemaPlace {
        SchemaPlace {
            schema: self.schema.clone(),
            field: self.field.clone(),
            member: path.to_string(),
        }
    }

    pub(super) fn refuse(&mut self, path: Path<'_>, rule: impl Into<SchemaRule>) {
        if self.violations.len() < REPORTS_MAX {
            let place = self.place(path);
            self.violations.push(SchemaViolation { place, rule: rule.into() });
        }
    }

    pub(super) fn wrong(&mut self, path: Path<'_>, expected: impl Into<String>, found: &Value) {
        let (expected, found) = (expected.into(), describe(found));
        self.refuse(path, SchemaRule::Wrong { expected, found });
    }

    pub(super) fn warn(&mut self, path: Path<'_>, kind: SchemaWarningKind) {
        if self.warnings.len() < REPORTS_MAX {
            let place = self.place(path);
            self.warnings.push(SchemaWarning { place, kind });
        }
    }

    pub(super) fn object<'v>(&mut self, path: Path<'_>, value: &'v Value) -> Option<&'v Members> {
        match value {
            Value::Object(members) => Some(members),
            other => {
                self.wrong(path, "an object", other);
                None
            }
        }
    }

    pub(super) fn array<'v>(&mut self, path: Path<'_>, value: &'v Value) -> Option<&'v [Value]> {
        match value {
            Value::Array(items) => Some(items),
            other => {
                self.wrong(path, "an array", other);
                None
            }
        }
    }

    pub(super) fn text<'v>(&mut self, path: Path<'_>, value: &'v Value) -> Option<&'v str> {
        match value {
            Value::Text(text) => Some(text),
            other => {
                self.wrong(path, "text", other);
                None
            }
        }
    }

    pub(super) fn bool(&mut self, path: Path<'_>, value: &Value) -> Option<bool> {
        match value {
            Value::Bool(value) => Some(*value),
            other => {
                self.wrong(path, "true or false", other);
                None
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "factors of prices are floats")]
    pub(super) fn number(&mut self, path: Path<'_>, value: &Value) -> Option<f64> {
        match value {
            Value::Int(int) => Some(*int as f64),
            Value::Float(float) => Some(*float),
            other => {
                self.wrong(path, "a number", other);
                None
            }
        }
    }

    /// An unsigned integer from `min` on; the error says up to which number.
    pub(super) fn unsigned<T: TryFrom<i64> + fmt::Display>(
        &mut self,
        path: Path<'_>,
        value: &Value,
        min: i64,
        max: T,
    ) -> Option<T> {
        if let Value::Int(int) = value
            && *int >= min
            && let Ok(number) = T::try_from(*int)
        {
            return Some(number);
        }
        self.wrong(path, format!("an integer from {min} to {max}"), value);
        None
    }

    /// Reports the members that are not in `known`.
    pub(super) fn unknown(&mut self, path: Path<'_>, members: &Members, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.warn(path.child(name), SchemaWarningKind::UnknownMember);
        }
    }

    /// An enum: `"Name"`, `{"Name": null}` or `{"Name": content}`, with a name out of `names`.
    pub(super) fn variant<'v>(
        &mut self,
        path: Path<'_>,
        value: &'v Value,
        names: &[&'static str],
    ) -> Option<(&'static str, &'v Value)> {
        let (found, content) = match value {
            Value::Text(name) => (name.as_str(), &Value::Null),
            Value::Object(members) if members.len() == 1 => {
                members.iter().next().map(|(name, content)| (name.as_str(), content))?
            }
            _ => ("", &Value::Null),
        };
        let name = names.iter().find(|name| **name == found);
        if name.is_none() {
            self.wrong(path, names.join(" or "), value);
        }
        name.map(|name| (*name, content))
    }

    /// Reads the members of an object. `null` is the same as no member.
    pub(super) fn members<'v>(&mut self, path: Path<'_>, value: &'v Value) -> Option<Present<'v>> {
        self.object(path, value).map(Present)
    }
}

/// The members of an object that are not null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present<'v>(pub(super) &'v Members);

impl<'v> Present<'v> {
    pub(super) fn get(self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}
