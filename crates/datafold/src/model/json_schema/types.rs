//! The types that the keyword `type` allows.

use std::fmt;

use super::super::Value;

/// A set of JSON Schema types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Types = Types(1);
    pub(super) const BOOL: Types = Types(2);
    pub(super) const INTEGER: Types = Types(4);
    pub(super) const NUMBER: Types = Types(8);
    pub(super) const STRING: Types = Types(16);
    pub(super) const ARRAY: Types = Types(32);
    pub(super) const OBJECT: Types = Types(64);
    pub(super) const NONE: Types = Types(0);
    pub(super) const ANY: Types = Types(127);

    /// What the keyword `type` says: a name or a list of names.
    pub(super) fn of_keyword(value: &Value) -> Option<Types> {
        match value {
            Value::Text(name) => Types::of_name(name),
            Value::Array(names) if !names.is_empty() => {
                names.iter().try_fold(Types::NONE, |types, name| {
                    let one = Types::of_name(name.as_text()?)?;
                    (!types.contains(one)).then_some(Types(types.0 | one.0))
                })
            }
            _ => None,
        }
    }

    fn of_name(name: &str) -> Option<Types> {
        Some(match name {
            "null" => Types::NULL,
            "boolean" => Types::BOOL,
            "integer" => Types::INTEGER,
            "number" => Types::NUMBER,
            "string" => Types::STRING,
            "array" => Types::ARRAY,
            "object" => Types::OBJECT,
            _ => return None,
        })
    }

    pub(super) fn contains(self, other: Types) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn without(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    pub(super) fn allow(self, value: &Value) -> bool {
        let types = match value {
            Value::Null => Types::NULL.0,
            Value::Bool(_) => Types::BOOL.0,
            Value::Int(_) => Types::INTEGER.0 | Types::NUMBER.0,
            Value::Float(_) => Types::NUMBER.0,
            Value::Time(_) | Value::Text(_) => Types::STRING.0,
            Value::Array(_) => Types::ARRAY.0,
            Value::Object(_) => Types::OBJECT.0,
        };
        self.0 & types != 0
    }
}

/// In our words, which are those of [`Value::type_name`]: `integer or text`.
impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (Types::BOOL, "bool"),
            (Types::INTEGER, "integer"),
            (Types::NUMBER, "number"),
            (Types::STRING, "text"),
            (Types::ARRAY, "array"),
            (Types::OBJECT, "object"),
        ];
        let mut separator = "";
        for (_, word) in words.into_iter().filter(|(types, _)| self.contains(*types)) {
            write!(f, "{separator}{word}")?;
            separator = " or ";
        }
        if separator.is_empty() { f.write_str("null") } else { Ok(()) }
    }
}
