//! Random requests.

use std::collections::BTreeMap;

use datafold::MutationRequest;
use datafold::data_layer::CommitNumber;
use datafold::engine::{
    Condition, KeyCondition, Mutation, MutationKind, Precondition, RecordInput,
};
use datafold::model::{Field, ScalarType, Schema, Timestamp, Value, ValueSchema};
use datafold_testkit::Random;

use crate::harness::name;
use crate::node_model::Key;

/// A key of three types with fields on all sides of it, one of numbers, none, and nothing but a
/// key.
pub(crate) const SCHEMAS: [&str; 4] = [
    r#"{"name": "Flight", "key": ["carrier", "flight", "departure"], "fields": {
        "delay": {"value": {"type": ["number", "null"]}},
        "carrier": {"value": {"type": "string"}},
        "notes": {},
        "flight": {"value": {"type": "integer"}},
        "class": {"value": {"type": "string"}, "default": "economy"},
        "departure": {"value": {"type": "string", "format": "date-time"}},
        "arrival": {"value": {"type": ["string", "null"], "format": "date-time"}}}}"#,
    r#"{"name": "Reading", "key": ["at"], "fields": {
        "at": {"value": {"type": "number"}},
        "ok": {"value": {"type": "boolean"}},
        "count": {"value": {"type": "integer", "minimum": -5, "default": 7}}}}"#,
    r#"{"name": "Settings", "fields": {
        "theme": {"value": {"type": "string"}, "default": "light"},
        "size": {"value": {"type": "integer"}},
        "extra": {}}}"#,
    r#"{"name": "Tag", "key": ["tag"], "fields": {"tag": {"value": {"type": "string"}}}}"#,
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

fn record(random: &mut Random, schema: &Schema) -> RecordInput {
    let mut record = BTreeMap::new();
    for field in &schema.fields {
        if schema.is_key_field(field.name.as_str()) {
            record.insert(field.name.to_string(), part(random, field));
        } else if random.one_in(2) {
            record.insert(field.name.to_string(), value(random, field));
        }
    }
    record
}

pub(crate) fn mutation(random: &mut Random, schema: &Schema) -> Mutation {
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
    Precondition { schema: schema.name.clone(), key: key(random, schema).0, condition }
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
                None => Value::Float(f64::NAN),
                Some(_) => Value::Array(vec![]),
            };
            input.insert(some_field.name.to_string(), value);
            if is_key { "invalid_key" } else { "invalid_value" }
        }
    };
    (Mutation::upsert(schema.name.clone(), vec![input]), code)
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

/// The JSON of a request.
pub(crate) fn json(request: &MutationRequest) -> String {
    let mutations = request.mutations.iter().map(|mutation| {
        let schema = ("schema".to_owned(), Value::from(mutation.schema().as_str()));
        let (kind, rest) = match mutation {
            Mutation::Write { kind, records, .. } => {
                let kind = match kind {
                    MutationKind::Create => "create",
                    MutationKind::Update => "update",
                    MutationKind::Upsert => "upsert",
                };
                (kind, ("records".to_owned(), Value::from(records.clone())))
            }
            Mutation::Delete { keys, .. } => {
                ("delete", ("keys".to_owned(), Value::from(keys.clone())))
            }
        };
        [schema, rest, ("mutation".to_owned(), kind.into())].into_iter().collect::<Value>()
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
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()
    });
    let members = [
        ("transaction".to_owned(), Value::Array(mutations.collect())),
        ("if".to_owned(), Value::Array(conditions.collect())),
    ];
    members.into_iter().collect::<Value>().to_json()
}
