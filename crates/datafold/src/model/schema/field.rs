//! Fields of a schema.

use std::collections::BTreeMap;
use std::fmt;

use super::super::json_schema::ValueSchema;
use super::super::{FieldName, SchemaName, Value, ValueError};
use super::error::{SchemaRule, SchemaWarningKind};
use super::payment::FieldPayment;
use super::policy::PermissionPolicy;
use super::reader::{Members, Path, Present, Reader};
use super::transform::TransformDefinition;

const MEMBERS: [&str; 10] = [
    "default",
    "description",
    "field_mappers",
    "field_type",
    "payment_config",
    "permission_policy",
    // The original's pointer to its data; it has no meaning here.
    "ref_atom_uuid",
    "transform",
    "value",
    "writable",
];

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FieldKind {
    /// One value.
    #[default]
    Single,
    /// Values by an element id.
    Collection,
    /// Values by an element key that sorts.
    Range,
}

impl FieldKind {
    /// As it stands in a schema: `Single`, `Collection` or `Range`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FieldKind::Single => "Single",
            FieldKind::Collection => "Collection",
            FieldKind::Range => "Range",
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One field of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: FieldName,
    /// What it is for, in words.
    pub description: Option<String>,
    /// How many values it has.
    pub kind: FieldKind,
    /// What values, or elements, it accepts; without it any.
    pub value: Option<ValueSchema>,
    /// What a created record has if it does not say; as it is stored. It comes from the member
    /// `default` or, where the field can have one, from the keyword `default` of `value`.
    pub default: Option<Value>,
    /// Whether mutations may write it.
    pub writable: bool,
    /// Who may read and write it.
    pub permission: PermissionPolicy,
    /// What reading it costs.
    pub payment: FieldPayment,
    /// The field whose data it shows, if it has none of its own; at most one.
    pub mappers: BTreeMap<SchemaName, FieldName>,
    /// How it is computed, if it is.
    pub transform: Option<TransformDefinition>,
}

impl Field {
    /// Checks a value, or one of the elements, and gives it as it is to be stored.
    ///
    /// # Errors
    ///
    /// As [`ValueSchema::accept`]; without a `value` schema only an invariant of values can be
    /// broken.
    pub fn accept(&self, value: Value) -> Result<Value, ValueError> {
        match &self.value {
            Some(schema) => schema.accept(value),
            None => {
                value.check()?;
                Ok(value)
            }
        }
    }

    /// Makes a value of a text without types, such as a cell of a CSV file. Without a `value`
    /// schema it is text.
    ///
    /// # Errors
    ///
    /// As [`ValueSchema::coerce_text`].
    pub fn coerce_text(&self, text: &str) -> Result<Value, ValueError> {
        match &self.value {
            Some(schema) => schema.coerce_text(text),
            None => Ok(Value::from(text)),
        }
    }

    /// Reads a field. `trusted` members come from [`Field::to_value`].
    pub(super) fn read(
        reader: &mut Reader,
        name: FieldName,
        value: &Value,
        trusted: bool,
    ) -> Option<Self> {
        let members = reader.members(Path::HERE, value)?;
        reader.unknown(Path::HERE, members.0, &MEMBERS);
        let at = Path::of;
        let description = members.get("description");
        let kind = members.get("field_type").and_then(|value| {
            let names = ["Single", "Collection", "Range"];
            reader.variant(at("field_type"), value, &names)
        });
        let writable = members.get("writable");
        let permission = members.get("permission_policy");
        let payment = members.get("payment_config");
        let transform = members.get("transform");
        Some(Self {
            name,
            description: description
                .and_then(|value| reader.text(at("description"), value))
                .map(str::to_owned),
            kind: match kind {
                Some(("Collection", _)) => FieldKind::Collection,
                Some(("Range", _)) => FieldKind::Range,
                _ => FieldKind::Single,
            },
            value: members.get("value").and_then(|json| read_value(reader, json, trusted)),
            default: members.get("default").cloned(),
            writable: writable.and_then(|value| reader.bool(at("writable"), value)).unwrap_or(true),
            permission: permission
                .map(|value| PermissionPolicy::read(reader, at("permission_policy"), value))
                .unwrap_or_default(),
            payment: payment
                .map(|value| FieldPayment::read(reader, at("payment_config"), value))
                .unwrap_or_default(),
            mappers: read_mappers(reader, members),
            transform: transform
                .and_then(|value| TransformDefinition::read(reader, at("transform"), value)),
        })
    }

    /// Checks the default, and takes the one of `value` if the field can have one.
    pub(super) fn settle_default(&mut self, reader: &mut Reader, is_key: bool) {
        let unfit = if is_key {
            Some("a key field")
        } else if self.kind != FieldKind::Single {
            Some("a Collection or Range field")
        } else if self.transform.is_some() {
            Some("a computed field")
        } else if !self.mappers.is_empty() {
            Some("a mapped field")
        } else {
            None
        };
        match (unfit, self.default.take()) {
            (Some(_), None) => {}
            (Some(what), Some(_)) => {
                reader.refuse(Path::of("default"), SchemaRule::NoDefault(what));
            }
            (None, default) => {
                let in_value = self.value.as_ref().and_then(ValueSchema::default_value);
                let Some(default) = default.or_else(|| in_value.cloned()) else {
                    return;
                };
                match self.accept(default) {
                    Ok(default) => self.default = Some(default),
                    Err(error) => reader.refuse(Path::of("default"), SchemaRule::Default(error)),
                }
            }
        }
    }

    /// The members that are not the default.
    pub(super) fn to_value(&self) -> Value {
        let mut members = Members::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        add("description", self.description.as_deref().map(Value::from));
        let kind = (self.kind != FieldKind::Single).then(|| self.kind.as_str().into());
        add("field_type", kind);
        add("value", self.value.as_ref().map(|schema| schema.json().clone()));
        add("default", self.default.clone());
        add("writable", (!self.writable).then_some(Value::Bool(false)));
        add("permission_policy", self.permission.to_value());
        add("payment_config", self.payment.to_value());
        if !self.mappers.is_empty() {
            let mappers = self.mappers.iter();
            let mappers =
                mappers.map(|(schema, field)| (schema.to_string(), field.as_str().into()));
            add("field_mappers", Some(mappers.collect()));
        }
        add("transform", self.transform.as_ref().map(TransformDefinition::to_value));
        members.into()
    }
}

fn read_value(reader: &mut Reader, json: &Value, trusted: bool) -> Option<ValueSchema> {
    if trusted {
        return Some(ValueSchema::trusted(json.clone()));
    }
    match ValueSchema::checked(json.clone()) {
        Ok((schema, unchecked)) => {
            for place in unchecked {
                let place = format!("value{place}");
                reader.warn(Path::of(&place), SchemaWarningKind::Unchecked);
            }
            Some(schema)
        }
        Err(errors) => {
            for error in errors {
                reader.refuse(Path::of("value"), SchemaRule::ValueSchema(error));
            }
            None
        }
    }
}

fn read_mappers(reader: &mut Reader, members: Present<'_>) -> BTreeMap<SchemaName, FieldName> {
    let mut mappers = BTreeMap::new();
    let path = Path::of("field_mappers");
    let Some(sources) = members.get("field_mappers").and_then(|v| reader.members(path, v)) else {
        return mappers;
    };
    for (schema, field) in sources.0 {
        let path = path.child(schema);
        let schema = SchemaName::parse(schema).map_err(|error| reader.refuse(path, error));
        let field = reader.text(path, field).and_then(|field| {
            FieldName::parse(field).map_err(|error| reader.refuse(path, error)).ok()
        });
        if let (Ok(schema), Some(field)) = (schema, field) {
            mappers.insert(schema, field);
        }
    }
    mappers
}
