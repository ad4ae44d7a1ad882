//! The canonical form of a schema, its hash, and the form in which it is stored.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize, Deserializer};

use super::super::{FieldName, SchemaName, Value};
use super::Schema;
use super::error::{SchemaError, SchemaRule};
use super::field::Field;
use super::index::IndexDefinition;
use super::parse::{MEMBERS, read_rest};
use super::reader::{Members, Path, Reader};

/// The BLAKE3 hash of a schema's canonical form. Equal hashes mean equal schemas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

/// A text is not a [`ContentHash`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content hash has 64 hexadecimal digits")]
pub struct ContentHashError;

impl ContentHashError {
    /// A name of the error that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "content_hash_invalid"
    }
}

impl ContentHash {
    /// Takes the bytes of a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`ContentHashError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ContentHashError> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| ContentHashError)?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Schema {
    /// Everything but the fields that is not the default.
    fn rest_to_value(&self) -> Members {
        let mut members = Members::new();
        members.insert("name".to_owned(), self.name.as_str().into());
        if let Some(description) = &self.description {
            members.insert("description".to_owned(), description.as_str().into());
        }
        if self.is_keyed() {
            let key: Vec<_> = self.key.iter().map(FieldName::as_str).collect();
            members.insert("key".to_owned(), key.into());
        }
        if let Some(payment) = self.payment.to_value() {
            members.insert("payment_config".to_owned(), payment);
        }
        if !self.indexes.is_empty() {
            let indexes = self.indexes.iter().map(IndexDefinition::to_value).collect();
            members.insert("indexes".to_owned(), Value::Array(indexes));
        }
        members
    }

    /// The one JSON text of all schemas that mean the same: what is the default is left out, and
    /// members, fields and indexes are sorted.
    ///
    /// It is a valid schema file, which parses to a schema with the same hash.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        let mut members = self.rest_to_value();
        if let Some(Value::Array(indexes)) = members.get_mut("indexes") {
            indexes.sort_by(Value::cmp_values);
        }
        let fields = self.fields.iter().map(|field| (field.name.to_string(), field.to_value()));
        members.insert("fields".to_owned(), fields.collect());
        Value::Object(members).to_json()
    }

    /// The hash of [`Schema::canonical_json`]. The order of fields does not matter.
    ///
    /// # Cost
    ///
    /// Builds the canonical form each time.
    #[must_use]
    pub fn content_hash(&self) -> ContentHash {
        ContentHash(*blake3::hash(self.canonical_json().as_bytes()).as_bytes())
    }

    /// The form in which the schema is stored. It keeps the order of fields.
    #[must_use]
    pub fn to_stored(&self) -> Value {
        let mut members = self.rest_to_value();
        let pair = |field: &Field| Value::Array(vec![field.name.as_str().into(), field.to_value()]);
        let fields = self.fields.iter().map(pair).collect();
        members.insert("fields".to_owned(), Value::Array(fields));
        members.into()
    }

    /// The schema that [`Schema::to_stored`] has stored, equal to the one that was.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Invalid`] if the value is not the form of a stored schema. The rules that
    /// concern several fields are not checked again.
    ///
    /// # Cost
    ///
    /// A few microseconds a schema; `value` schemas are compiled when they are first needed.
    pub fn from_stored(stored: &Value) -> Result<Schema, SchemaError> {
        let mut reader = Reader::default();
        let schema = read_stored(&mut reader, stored);
        // A member that this version does not know may have a meaning that must not be lost.
        if let Some(warning) = reader.warnings.pop() {
            reader.field = warning.place.field;
            reader.refuse(Path::of(&warning.place.member), SchemaRule::NotSupported("the member"));
        }
        match schema {
            Some(schema) if reader.violations.is_empty() => Ok(schema),
            _ => Err(SchemaError::Invalid { violations: reader.violations }),
        }
    }
}

fn read_stored(reader: &mut Reader, stored: &Value) -> Option<Schema> {
    let members = reader.members(Path::HERE, stored)?;
    reader.unknown(Path::HERE, members.0, &MEMBERS);
    let mut fields = Vec::new();
    let at_fields = Path::of("fields");
    let found = members.get("fields").unwrap_or(&Value::Null);
    for pair in reader.array(at_fields, found)? {
        let Value::Array(pair) = pair else {
            reader.wrong(at_fields, "a name and a field", pair);
            return None;
        };
        let [Value::Text(name), field] = pair.as_slice() else {
            reader.refuse(at_fields, SchemaRule::Missing);
            return None;
        };
        let name = FieldName::parse(name).map_err(|error| reader.refuse(at_fields, error)).ok()?;
        fields.extend(Field::read(reader, name, field, true));
    }
    let path = Path::of("name");
    let name = reader.text(path, members.get("name").unwrap_or(&Value::Null))?;
    let name = SchemaName::parse(name).map_err(|error| reader.refuse(path, error)).ok()?;
    read_rest(reader, Some(name), members, fields)
}

/// As a schema file, without what is the default; fields in their order.
impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Fields<'a>(&'a [Field]);

        impl Serialize for Fields<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let fields = self.0.iter();
                serializer.collect_map(fields.map(|field| (&field.name, field.to_value())))
            }
        }

        let members = self.rest_to_value();
        let mut map = serializer.serialize_map(Some(members.len() + 1))?;
        for name in MEMBERS {
            match members.get(name) {
                Some(value) => map.serialize_entry(name, value)?,
                None if name == "fields" => map.serialize_entry(name, &Fields(&self.fields))?,
                None => {}
            }
        }
        map.end()
    }
}
