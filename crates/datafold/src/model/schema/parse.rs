//! From JSON to a checked schema.

use std::collections::HashSet;

use super::super::json_parser::{self, Tree};
use super::super::{FieldName, SchemaName, Value};
use super::Schema;
use super::error::{SCHEMA_BYTES_MAX, SchemaError, SchemaRule, SchemaViolation, SchemaWarning};
use super::field::{Field, FieldKind};
use super::index::{IndexDefinition, read_field_names};
use super::payment::SchemaPayment;
use super::reader::{Members, Path, Present, Reader};
use super::transform::qualified;

pub(super) const MEMBERS: [&str; 6] =
    ["name", "description", "key", "fields", "indexes", "payment_config"];

/// A schema, and what in its JSON has no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedSchema {
    /// The schema.
    pub schema: Schema,
    /// In the order of the text.
    pub warnings: Vec<SchemaWarning>,
}

/// JSON whose objects keep the order of their members.
enum Ordered {
    Leaf(Value),
    Array(Vec<Ordered>),
    Object(Vec<(String, Ordered)>),
}

impl Tree for Ordered {
    type Members = (Vec<(String, Ordered)>, HashSet<String>);

    fn scalar(value: Value) -> Self {
        Ordered::Leaf(value)
    }

    fn array(items: Vec<Self>) -> Self {
        Ordered::Array(items)
    }

    fn object((members, _): Self::Members) -> Self {
        Ordered::Object(members)
    }

    fn insert((members, names): &mut Self::Members, name: String, value: Self) -> bool {
        let is_new = names.insert(name.clone());
        members.push((name, value));
        is_new
    }
}

impl From<Ordered> for Value {
    fn from(ordered: Ordered) -> Self {
        match ordered {
            Ordered::Leaf(value) => value,
            Ordered::Array(items) => Value::Array(items.into_iter().map(Value::from).collect()),
            Ordered::Object(members) => {
                members.into_iter().map(|(name, member)| (name, member.into())).collect()
            }
        }
    }
}

pub(super) fn parse(text: &str) -> Result<ParsedSchema, SchemaError> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::TooLarge { found: text.len() });
    }
    let mut reader = Reader::default();
    let mut members = Members::new();
    let mut fields = None;
    match json_parser::parse(text)? {
        Ordered::Object(ordered) => {
            for (name, member) in ordered {
                match member {
                    Ordered::Object(ordered) if name == "fields" => fields = Some(ordered),
                    member => {
                        members.insert(name, member.into());
                    }
                }
            }
        }
        other => reader.wrong(Path::HERE, "an object", &other.into()),
    }
    let fields = fields.map(|fields| fields.into_iter().map(|(name, f)| (name, f.into())));
    let fields = fields.map(Iterator::collect::<Vec<(String, Value)>>);
    let schema = if reader.violations.is_empty() {
        read(&mut reader, &members, fields.as_deref())
    } else {
        None
    };
    match schema {
        Some(schema) if reader.violations.is_empty() => {
            Ok(ParsedSchema { schema, warnings: reader.warnings })
        }
        _ => Err(SchemaError::Invalid { violations: reader.violations }),
    }
}

fn read(
    reader: &mut Reader,
    members: &Members,
    fields: Option<&[(String, Value)]>,
) -> Option<Schema> {
    let present = Present(members);
    let name = read_name(reader, present);
    reader.unknown(Path::HERE, members, &MEMBERS);
    let mut read_fields: Vec<Field> = Vec::new();
    match fields {
        None if present.get("fields").is_none() => {
            reader.refuse(Path::of("fields"), SchemaRule::Missing);
        }
        None => {
            let fields = present.get("fields").cloned().unwrap_or_default();
            reader.wrong(Path::of("fields"), "an object", &fields);
        }
        Some(fields) => read_fields.extend(read_all(reader, fields)),
    }
    let mut schema = read_rest(reader, name, present, read_fields)?;
    check_key(reader, &schema);
    check_indexes(reader, &schema);
    let key = schema.key.clone();
    for field in &mut schema.fields {
        reader.field = Some(field.name.to_string());
        field.settle_default(reader, key.contains(&field.name));
    }
    for field in &schema.fields {
        reader.field = Some(field.name.to_string());
        check_field(reader, &schema, field);
    }
    reader.field = None;
    Some(schema)
}

fn read_name(reader: &mut Reader, present: Present<'_>) -> Option<SchemaName> {
    let Some(value) = present.get("name") else {
        reader.refuse(Path::of("name"), SchemaRule::Missing);
        return None;
    };
    let name = reader.text(Path::of("name"), value)?;
    reader.schema = name.to_owned();
    SchemaName::parse(name).map_err(|error| reader.refuse(Path::of("name"), error)).ok()
}

fn read_all(reader: &mut Reader, fields: &[(String, Value)]) -> Vec<Field> {
    let mut read = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        reader.field = Some(name.clone());
        match FieldName::parse(name) {
            Ok(name) => read.extend(Field::read(reader, name, value, false)),
            Err(error) => reader.refuse(Path::HERE, error),
        }
    }
    reader.field = None;
    read
}

/// Reads everything but the fields. Without a name there is no schema, but all is looked at.
pub(super) fn read_rest(
    reader: &mut Reader,
    name: Option<SchemaName>,
    present: Present<'_>,
    fields: Vec<Field>,
) -> Option<Schema> {
    let description = present.get("description");
    let description = description.and_then(|v| reader.text(Path::of("description"), v));
    let key = present.get("key").and_then(|v| read_field_names(reader, Path::of("key"), v));
    let payment = present.get("payment_config");
    let payment = payment.map(|v| SchemaPayment::read(reader, Path::of("payment_config"), v));
    let mut indexes = Vec::new();
    if let Some(value) = present.get("indexes") {
        let path = Path::of("indexes");
        for (i, index) in reader.array(path, value).unwrap_or_default().iter().enumerate() {
            let place = i.to_string();
            indexes.extend(IndexDefinition::read(reader, path.child(&place), index));
        }
    }
    // A placeholder lets the cross-checks run; the missing name is a violation already.
    let name = name.or_else(|| SchemaName::parse("_").ok())?;
    let mut schema = Schema {
        name,
        description: description.map(str::to_owned),
        key: key.unwrap_or_default(),
        fields,
        indexes,
        payment: payment.unwrap_or_default(),
        positions: Default::default(),
    };
    schema.index_fields();
    Some(schema)
}

fn check_key(reader: &mut Reader, schema: &Schema) {
    let path = Path::of("key");
    for name in &schema.key {
        let Some(field) = schema.field(name.as_str()) else {
            // A field that could not be read has its own violation.
            if !mentions(&reader.violations, name) {
                reader.refuse(path, SchemaRule::NoSuchField { field: name.to_string() });
            }
            continue;
        };
        let is_nested = field.value.as_ref().is_some_and(|value| value.allows_nested());
        for (is_unfit, reason) in [
            (field.kind != FieldKind::Single, "is not Single, so it cannot be a key field"),
            (field.transform.is_some(), "is computed, so it cannot be a key field"),
            (!field.mappers.is_empty(), "is mapped, so it cannot be a key field"),
            (is_nested, "may be an array or object, so it cannot be a key field"),
            (!field.writable, "is not writable, so it cannot be a key field"),
        ] {
            if is_unfit {
                reader.refuse(path, SchemaRule::UnfitField { field: name.to_string(), reason });
            }
        }
    }
}

fn mentions(violations: &[SchemaViolation], field: &FieldName) -> bool {
    violations.iter().any(|violation| violation.place.field.as_deref() == Some(field.as_str()))
}

fn check_indexes(reader: &mut Reader, schema: &Schema) {
    let path = Path::of("indexes");
    for (i, index) in schema.indexes.iter().enumerate() {
        let place = i.to_string();
        let path = path.child(&place);
        for name in &index.fields {
            let field = name.to_string();
            match schema.field(name.as_str()) {
                Some(found) if found.kind != FieldKind::Single => {
                    let reason = "is not Single, so it cannot be indexed";
                    reader.refuse(path, SchemaRule::UnfitField { field, reason });
                }
                None if !mentions(&reader.violations, name) => {
                    reader.refuse(path, SchemaRule::NoSuchField { field });
                }
                _ => {}
            }
        }
        let mut earlier = schema.indexes.iter().take(i);
        if earlier.any(|other| other.fields == index.fields) {
            let names: Vec<_> = index.fields.iter().map(FieldName::as_str).collect();
            reader.refuse(path, SchemaRule::Duplicate { what: names.join(", ") });
        }
    }
}

fn check_field(reader: &mut Reader, schema: &Schema, field: &Field) {
    let is_self =
        |source: &SchemaName, name: &FieldName| *source == schema.name && *name == field.name;
    let path = Path::of("field_mappers");
    if field.mappers.len() > 1 {
        reader.refuse(path, SchemaRule::ManySources { found: field.mappers.len() });
    }
    for (source, name) in &field.mappers {
        if is_self(source, name) {
            reader.refuse(path, SchemaRule::Itself);
        } else {
            check_exists(reader, path, schema, source, name);
        }
    }
    let Some(transform) = &field.transform else {
        return;
    };
    let path = Path::of("transform");
    let inputs = path.child("inputs");
    let mut seen = HashSet::new();
    for input in &transform.inputs {
        let found = input.clone();
        match qualified(input) {
            None => reader.refuse(inputs, SchemaRule::NotQualified { found }),
            Some(_) if !seen.insert(input) => {
                reader.refuse(inputs, SchemaRule::Duplicate { what: found });
            }
            Some((source, name)) if is_self(&source, &name) => {
                reader.refuse(inputs, SchemaRule::Itself);
            }
            Some((source, name)) => check_exists(reader, inputs, schema, &source, &name),
        }
    }
    if let Some(output) = &transform.output {
        let (path, found) = (path.child("output"), output.clone());
        match qualified(output) {
            None => reader.refuse(path, SchemaRule::NotQualified { found }),
            Some((target, name)) if target == schema.name && name != field.name => {
                reader.refuse(path, SchemaRule::ForeignOutput { found });
            }
            Some(_) => {}
        }
    }
}

/// Fields of other schemas are looked for at approval, since files are loaded in any order.
fn check_exists(
    reader: &mut Reader,
    path: Path<'_>,
    schema: &Schema,
    source: &SchemaName,
    name: &FieldName,
) {
    let is_missing = *source == schema.name && schema.field(name.as_str()).is_none();
    if is_missing && !mentions(&reader.violations, name) {
        reader.refuse(path, SchemaRule::NoSuchField { field: name.to_string() });
    }
}
