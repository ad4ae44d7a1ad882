//! Random requests.

use std::collections::BTreeMap;

use datafold::MutationRequest;
use datafold::data_layer::CommitNumber;
use datafold::engine::{
    Condition, ElementFilter, ElementPlace, Glob, KeyCondition, Mutation, MutationKind,
    Precondition, PutCondition, RecordInput,
};
use datafold::model::{Field, FieldKind, ScalarType, Schema, Timestamp, Value, ValueSchema};
use datafold_testkit::Random;

use crate::harness::name;
use crate::node_model::Key;

/// A key of three types with fields on all sides of it, one of numbers, none, and nothing but a
/// key; then elements beside a key and cells, and elements of the one record. Most have indexes.
pub(crate) const SCHEMAS: [&str; 6] = [
    r#"{"name": "Flight", "key": ["carrier", "flight", "departure"],
        "indexes": [{"fields": ["class", "carrier"]}, {"fields": ["notes"]}], "fields": {
        "delay": {"value": {"type": ["number", "null"]}},
        "carrier": {"value": {"type": "string"}},
        "notes": {},
        "flight": {"value": {"type": "integer"}},
        "class": {"value": {"type": "string"}, "default": "economy"},
        "departure": {"value": {"type": "string", "format": "date-time"}},
        "arrival": {"value": {"type": ["string", "null"], "format": "date-time"}}}}"#,
    r#"{"name": "Reading", "key": ["at"],
        "indexes": [{"fields": ["count"]}, {"fields": ["at", "ok"], "unique": true}], "fields": {
        "at": {"value": {"type": "number"}},
        "ok": {"value": {"type": "boolean"}},
        "count": {"value": {"type": "integer", "minimum": -5, "default": 7}}}}"#,
    r#"{"name": "Settings", "indexes": [{"fields": ["size"]}], "fields": {
        "theme": {"value": {"type": "string"}, "default": "light"},
        "size": {"value": {"type": "integer"}},
        "extra": {}}}"#,
    r#"{"name": "Tag", "key": ["tag"], "fields": {"tag": {"value": {"type": "string"}}}}"#,
    r#"{"name": "Product", "key": ["sku"], "indexes": [{"fields": ["title"]}], "fields": {
        "stock": {"field_type": "Range", "value": {"type": "integer"}},
        "sku": {"value": {"type": "string"}},
        "title": {},
        "reviews": {"field_type": "Collection"},
        "delivered": {"field_type": "Range",
            "value": {"type": "string", "format": "date-time"}}}}"#,
    r#"{"name": "Board", "fields": {
        "notes": {"field_type": "Collection", "value": {"type": "string"}},
        "title": {"value": {"type": "string"}, "default": "untitled"},
        "slots": {"field_type": "Range"}}}"#,
];

fn text(random: &mut Random) -> Value {
    let texts = ["", "A", "AB", "B", "B\0", "B\u{1}", "é", "𝄞", "a \"b\"\n", "\u{ffff}"];
    Value::from(*random.choose(&texts).unwrap())
}

fn int(random: &mut Random) -> Value {
    Value::from(*random.choose(&[0, 1, 2, 5, -1, 300, i64::MAX, 1 << 53]).unwrap())
}

fn number(random: &mut Random) -> Value {
    let floats = [0.5, -1.5, 5.0, 1e300, -2e-9, 300.25, 9_223_372_036_854_775_808.0];
    if random.one_in(2) {
        return int(random);
    }
    Value::number(*random.choose(&floats).unwrap()).unwrap()
}

fn time(random: &mut Random) -> Value {
    let micros = *random.choose(&[0, 1, -1, 1_357_017_300_000_000, 1_357_017_300_000_001]).unwrap();
    Timestamp::from_micros(micros).into()
}

fn any(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => random.one_in(2).into(),
        2 => int(random),
        3 => number(random),
        4 | 5 => text(random),
        6 => Value::from("long ".repeat(random.below(800))),
        7 => (0..random.below(4)).map(|_| any(random, depth - 1)).collect::<Vec<_>>().into(),
        _ => (0..random.below(4)).map(|n| (format!("m{n}"), any(random, depth - 1))).collect(),
    }
}

fn scalar_type(field: &Field) -> Option<ScalarType> {
    field.value.as_ref().and_then(ValueSchema::scalar_type)
}

/// A value that the field accepts, sometimes null.
fn value(random: &mut Random, field: &Field) -> Value {
    if random.one_in(6) {
        return Value::Null;
    }
    match scalar_type(field) {
        Some(ScalarType::Bool) => random.one_in(2).into(),
        Some(ScalarType::Number) => number(random),
        Some(ScalarType::Integer) => int(random),
        Some(ScalarType::Time) => time(random),
        Some(ScalarType::Text) => text(random),
        _ => any(random, 2),
    }
}

fn part(random: &mut Random, field: &Field) -> Value {
    match scalar_type(field) {
        Some(ScalarType::Integer) => random.below(3).try_into().map(|n: i32| n.into()).unwrap(),
        Some(ScalarType::Number) => number(random),
        Some(ScalarType::Time) => time(random),
        _ => text(random),
    }
}

/// A key out of so few that records meet.
pub(crate) fn key(random: &mut Random, schema: &Schema) -> Key {
    Key(schema.key_fields().map(|field| part(random, field)).collect())
}

/// An element key out of so few that elements meet.
pub(crate) fn element(random: &mut Random) -> String {
    let keys = ["", "0", "1", "2", "a", "a:1", "a:2", "a\0", "a\0b", "b", "é", "é1", "\u{ffff}"];
    (*random.choose(&keys).unwrap()).to_owned()
}

/// Elements that the field accepts, some of them null.
fn elements(random: &mut Random, field: &Field) -> BTreeMap<String, Value> {
    (0..random.below(5)).map(|_| (element(random), value(random, field))).collect()
}

/// The Collection and Range fields of a schema.
pub(crate) fn element_fields(schema: &Schema) -> Vec<&Field> {
    schema.fields.iter().filter(|field| field.kind != FieldKind::Single).collect()
}

/// What a record can say of a field with elements.
fn element_value(random: &mut Random, field: &Field) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 | 2 if field.kind == FieldKind::Collection => {
            (0..random.below(4)).map(|_| value(random, field)).collect::<Vec<_>>().into()
        }
        _ => elements(random, field).into(),
    }
}

fn record(random: &mut Random, schema: &Schema) -> RecordInput {
    let mut record = BTreeMap::new();
    for field in &schema.fields {
        if schema.is_key_field(field.name.as_str()) {
            record.insert(field.name.to_string(), part(random, field));
        } else if field.kind != FieldKind::Single {
            if random.one_in(4) {
                record.insert(field.name.to_string(), element_value(random, field));
            }
        } else if random.one_in(2) {
            record.insert(field.name.to_string(), value(random, field));
        }
    }
    record
}

/// A put or remove of elements of one of the fields.
fn element_mutation(random: &mut Random, schema: &Schema, field: &Field) -> Mutation {
    let (name, key) = (schema.name.clone(), key(random, schema).0);
    let field_name = field.name.to_string();
    if random.one_in(3) {
        let elements = (0..1 + random.below(2)).map(|_| element(random)).collect();
        return Mutation::remove(name, key, field_name, elements);
    }
    let condition = match random.below(6) {
        0 => Some(PutCondition::Absent),
        1 => Some(PutCondition::Exists),
        _ => None,
    };
    let elements = elements(random, field);
    Mutation::Put { schema: name, key, field: field_name, elements, condition }
}

pub(crate) fn mutation(random: &mut Random, schema: &Schema) -> Mutation {
    let with_elements = element_fields(schema);
    if !random.one_in(3)
        && let Some(field) = random.choose(&with_elements)
    {
        return element_mutation(random, schema, field);
    }
    let count = 1 + random.below(3);
    let name = schema.name.clone();
    let kind = match random.below(10) {
        0..=1 => {
            let keys = (0..1 + random.below(2)).map(|_| key(random, schema).0).collect();
            return Mutation::delete(name, keys);
        }
        2..=4 => MutationKind::Create,
        5..=6 => MutationKind::Update,
        _ => MutationKind::Upsert,
    };
    let records = (0..count).map(|_| record(random, schema)).collect();
    Mutation::Write { kind, schema: name, records }
}

fn precondition(random: &mut Random, schema: &Schema, head: u64) -> Precondition {
    let condition = match random.below(4) {
        0 => Condition::Exists,
        1 => Condition::Absent,
        _ => Condition::UnchangedSince(CommitNumber(head.saturating_sub(random.below(9) as u64))),
    };
    let with_elements = element_fields(schema);
    let element = random.choose(&with_elements).map(|field| field.name.to_string());
    let element = element.filter(|_| random.one_in(2));
    let element = element.map(|field| ElementPlace { field, element: self::element(random) });
    Precondition { schema: schema.name.clone(), key: key(random, schema).0, element, condition }
}

/// A request that breaks no static rule.
pub(crate) fn request(random: &mut Random, schemas: &[Schema], head: u64) -> MutationRequest {
    let mut request = MutationRequest::default();
    for _ in 0..1 + random.below(3) {
        let schema = random.choose(schemas).unwrap();
        request.mutations.push(mutation(random, schema));
    }
    if random.one_in(4) {
        let schema = random.choose(schemas).unwrap();
        request.preconditions.push(precondition(random, schema, head));
    }
    request
}

/// A mutation that breaks a static rule, and the code of the refusal.
pub(crate) fn wrong(random: &mut Random, schema: &Schema) -> (Mutation, &'static str) {
    let mut input = record(random, schema);
    let unknown = name("Unknown");
    let keyed = schema.is_keyed();
    let some_field = schema.fields[random.below(schema.fields.len())].clone();
    if random.one_in(2)
        && let Some(wrong) = wrong_elements(random, schema)
    {
        return wrong;
    }
    let code = match random.below(5) {
        0 => {
            input.insert("depature".into(), Value::Null);
            "unknown_field"
        }
        1 => return (Mutation::upsert(unknown, vec![input]), "schema_not_found"),
        2 => {
            let keys = vec![vec![Value::from("A"); schema.key.len() + 1]];
            return (Mutation::delete(schema.name.clone(), keys), "invalid_key");
        }
        3 if keyed => {
            input.insert(schema.key[0].to_string(), Value::Null);
            "invalid_key"
        }
        _ => {
            let is_key = schema.is_key_field(some_field.name.as_str());
            let value = match scalar_type(&some_field) {
                _ if some_field.kind != FieldKind::Single => {
                    input.insert(some_field.name.to_string(), Value::Int(1));
                    return (
                        Mutation::upsert(schema.name.clone(), vec![input]),
                        "invalid_elements",
                    );
                }
                None => Value::Float(f64::NAN),
                Some(_) => Value::Array(vec![]),
            };
            input.insert(some_field.name.to_string(), value);
            if is_key { "invalid_key" } else { "invalid_value" }
        }
    };
    (Mutation::upsert(schema.name.clone(), vec![input]), code)
}

/// A put or remove that breaks a static rule, if the schema has elements.
fn wrong_elements(random: &mut Random, schema: &Schema) -> Option<(Mutation, &'static str)> {
    let with_elements = element_fields(schema);
    let field = *random.choose(&with_elements)?;
    let (name, parts, field_name) =
        (schema.name.clone(), key(random, schema).0, field.name.to_string());
    let long = "x".repeat(500);
    let mut elements = elements(random, field);
    Some(match random.below(5) {
        0 => (Mutation::put(name, parts, "stocks", elements), "unknown_field"),
        1 => (Mutation::put(name, parts, "title", elements), "no_elements"),
        2 => (Mutation::remove(name, parts, field_name, vec![long]), "invalid_element_key"),
        3 => {
            elements.insert(long, Value::Null);
            (Mutation::put(name, parts, field_name, elements), "invalid_element_key")
        }
        _ => {
            elements = [("a".to_owned(), Value::Float(f64::NAN))].into();
            (Mutation::put(name, parts, field_name, elements), "invalid_value")
        }
    })
}

pub(crate) fn condition(random: &mut Random, schema: &Schema) -> KeyCondition {
    if !schema.is_keyed() {
        return match random.below(3) {
            0 => KeyCondition::Exact(vec![]),
            1 => KeyCondition::Prefix(vec![]),
            _ => KeyCondition::All,
        };
    }
    let mut some = |max: usize| {
        let mut parts = key(random, schema).0;
        parts.truncate(random.below(max + 1));
        parts
    };
    let (count, one, two) = (schema.key.len(), some(schema.key.len()), some(schema.key.len()));
    let (from, to) = (Some(one.clone()), Some(two));
    match random.below(7) {
        0 => KeyCondition::Exact(key(random, schema).0),
        1 | 2 => KeyCondition::Prefix(one),
        3 => KeyCondition::Range { from, to },
        4 => KeyCondition::Range { from, to: None },
        5 if count > 0 => KeyCondition::Range { from: None, to },
        _ => KeyCondition::All,
    }
}

/// One of the filters of elements.
pub(crate) fn filter(random: &mut Random) -> ElementFilter {
    let bound = |random: &mut Random| (!random.one_in(4)).then(|| element(random));
    match random.below(8) {
        0 => ElementFilter::All,
        1 => ElementFilter::Key(element(random)),
        2 => ElementFilter::Keys((0..random.below(4)).map(|_| element(random)).collect()),
        3 | 4 => ElementFilter::KeyPrefix(element(random)),
        5 => ElementFilter::KeyRange { start: bound(random), end: bound(random) },
        6 => {
            let patterns = ["", "*", "a*", "?", "a:?", "*1", "a*b", "??", "é?", "*a*"];
            ElementFilter::KeyPattern(Glob::new(random.choose(&patterns).unwrap()))
        }
        _ => ElementFilter::Value(if random.one_in(2) { int(random) } else { text(random) }),
    }
}

/// Whether a filter takes an element, by its definition.
pub(crate) fn fits(filter: &ElementFilter, key: &str, value: &Value) -> bool {
    match filter {
        ElementFilter::All => true,
        ElementFilter::Key(wanted) => wanted == key,
        ElementFilter::Keys(wanted) => wanted.iter().any(|wanted| wanted == key),
        ElementFilter::KeyPrefix(prefix) => key.starts_with(prefix.as_str()),
        ElementFilter::KeyRange { start, end } => {
            start.as_ref().is_none_or(|start| start.as_str() <= key)
                && end.as_ref().is_none_or(|end| key < end.as_str())
        }
        ElementFilter::KeyPattern(glob) => glob.matches(key),
        ElementFilter::Value(wanted) => wanted == value,
        _ => panic!("an unknown filter"),
    }
}

/// The JSON of a request.
pub(crate) fn json(request: &MutationRequest) -> String {
    let mutations = request.mutations.iter().map(|mutation| {
        let schema = ("schema".to_owned(), Value::from(mutation.schema().as_str()));
        let member = |name: &str, value: Value| (name.to_owned(), value);
        let (kind, rest) = match mutation {
            Mutation::Write { kind, records, .. } => {
                let kind = match kind {
                    MutationKind::Create => "create",
                    MutationKind::Update => "update",
                    MutationKind::Upsert => "upsert",
                };
                (kind, vec![member("records", records.clone().into())])
            }
            Mutation::Delete { keys, .. } => ("delete", vec![member("keys", keys.clone().into())]),
            Mutation::Put { key, field, elements, condition, .. } => {
                let condition = match condition {
                    Some(PutCondition::Absent) => "absent".into(),
                    Some(PutCondition::Exists) => "exists".into(),
                    None => Value::Null,
                };
                let elements = member("elements", elements.clone().into());
                let place =
                    [member("key", key.clone().into()), member("field", field.clone().into())];
                ("put", place.into_iter().chain([elements, member("if", condition)]).collect())
            }
            Mutation::Remove { key, field, elements, .. } => {
                let elements = member("elements", elements.clone().into());
                let place =
                    [member("key", key.clone().into()), member("field", field.clone().into())];
                ("remove", place.into_iter().chain([elements]).collect())
            }
        };
        let kind = member("mutation", kind.into());
        [schema, kind].into_iter().chain(rest).collect::<Value>()
    });
    let conditions = request.preconditions.iter().map(|found| {
        let condition = match found.condition {
            Condition::Exists => ("exists", Value::Bool(true)),
            Condition::Absent => ("absent", Value::Bool(true)),
            Condition::UnchangedSince(since) => {
                ("unchanged_since", Value::Int(i64::try_from(since.0).unwrap()))
            }
        };
        let members = [
            ("schema", found.schema.as_str().into()),
            ("key", Value::from(found.key.clone())),
            condition,
        ];
        let element = found.element.iter().flat_map(|place| {
            [("field", place.field.clone().into()), ("element", place.element.clone().into())]
        });
        members
            .into_iter()
            .chain(element)
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Value>()
    });
    let members = [
        ("transaction".to_owned(), Value::Array(mutations.collect())),
        ("if".to_owned(), Value::Array(conditions.collect())),
    ];
    members.into_iter().collect::<Value>().to_json()
}
