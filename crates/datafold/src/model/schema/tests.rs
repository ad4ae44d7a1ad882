use proptest::prelude::*;

use super::super::value::tests::value;
use super::super::{Timestamp, Value, decode_value, encode_value};
use super::*;

const FLIGHT: &str = r#"{
  "name": "Flight",
  "key": ["carrier", "flight", "departure"],
  "fields": {
    "carrier":   { "value": { "type": "string" } },
    "flight":    { "value": { "type": "integer" } },
    "departure": { "value": { "type": "string", "format": "date-time" } },
    "distance":  { "value": { "type": "number", "minimum": 0, "default": 1 } },
    "air_time":  { "value": { "type": ["number", "null"] }, "default": 5.0 },
    "notes":     { "field_type": "Collection", "permission_policy": {
        "read_policy": { "Distance": 1 }, "write_policy": { "Distance": 0 } } },
    "positions": { "field_type": "Range" },
    "speed_mph": { "writable": false, "transform": {
        "logic": "if air_time == null { return null; } distance / air_time * 60" } }
  },
  "indexes": [ { "fields": ["carrier"] }, { "fields": ["air_time", "carrier"], "unique": true } ]
}"#;

/// The fullest schema of the original.
const ORDERS: &str = r#"{"name":"Orders",
 "payment_config":{"base_multiplier":1.5,"min_payment_threshold":10},
 "fields":{
  "amount":{"field_type":"Single","writable":true,"ref_atom_uuid":null,"transform":null,
    "permission_policy":{"read_policy":{"Distance":1},"write_policy":{"Distance":0},
      "explicit_read_policy":{"counts_by_pub_key":{"auditor-key":1}},
      "explicit_write_policy":{"counts_by_pub_key":{"shop-key":1}}},
    "payment_config":{"base_multiplier":2.0,
      "trust_distance_scaling":{"Linear":{"slope":0.5,"intercept":1.0,"min_factor":1.0}},
      "min_payment":1000},
    "field_mappers":{}},
  "customer":{"field_type":"Single",
    "permission_policy":{"read_policy":"NoRequirement","write_policy":{"Distance":0}},
    "payment_config":{"base_multiplier":1.0,
      "trust_distance_scaling":{"Exponential":{"base":2.0,"scale":0.5,"min_factor":1.0}},
      "min_payment":50},
    "field_mappers":{"UserProfile":"username"}},
  "tags":{"field_type":"Collection",
    "permission_policy":{"read_policy":"NoRequirement","write_policy":{"NoRequirement":null}},
    "payment_config":{"base_multiplier":1.0,"trust_distance_scaling":{"None":null},
      "min_payment":null},
    "field_mappers":{}},
  "stock":{"field_type":"Range",
    "permission_policy":{"read_policy":{"Distance":2},"write_policy":{"Distance":0}},
    "payment_config":{"base_multiplier":1.0,"trust_distance_scaling":"None"},
    "field_mappers":{}},
  "total":{"field_type":"Single","writable":false,
    "permission_policy":{"read_policy":{"Distance":1},"write_policy":{"Distance":0}},
    "payment_config":{"base_multiplier":1.0,"trust_distance_scaling":"None"},
    "field_mappers":{},
    "transform":{"inputs":["Orders.amount"],"logic":"Orders.amount * 1.2",
      "output":"Orders.total"}}}}"#;

fn schema(text: &str) -> Schema {
    let parsed = Schema::parse(text).unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.schema
}

/// A schema `S` with the given members, and a field `f` with the given members.
fn with(schema: &str, field: &str) -> String {
    format!(r#"{{"name":"S",{schema}"fields":{{"f":{{{field}}},"g":{{}}}}}}"#)
}

fn errors(text: &str) -> String {
    Schema::parse(text).unwrap_err().to_string()
}

#[test]
fn the_schema_of_the_design_is_read() {
    let flight = schema(FLIGHT);
    let names: Vec<_> = flight.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "carrier",
            "flight",
            "departure",
            "distance",
            "air_time",
            "notes",
            "positions",
            "speed_mph"
        ]
    );
    assert_eq!(flight.key, ["carrier", "flight", "departure"]);
    assert_eq!(flight.key_fields().count(), 3);
    assert!(flight.is_keyed() && flight.is_key_field("flight") && !flight.is_key_field("notes"));
    let notes = flight.field("notes").unwrap();
    assert_eq!(notes.kind, FieldKind::Collection);
    assert_eq!(notes.permission.read, TrustDistance::Distance(1));
    assert_eq!(flight.field("distance").unwrap().default, Some(Value::Int(1)));
    assert_eq!(flight.field("air_time").unwrap().default, Some(Value::Int(5)));
    assert!(!flight.field("speed_mph").unwrap().writable);
    assert!(flight.indexes[1].unique);
    assert_eq!(flight.position("flight"), Some(1));
    assert!(flight.field("nothing").is_none());
}

#[test]
fn the_schema_of_the_original_is_read() {
    let orders = schema(ORDERS);
    assert!(!orders.is_keyed());
    let payment = SchemaPayment { base_multiplier: 1.5, min_payment_threshold: 10 };
    assert_eq!(orders.payment, payment);
    let amount = orders.field("amount").unwrap();
    assert_eq!(amount.permission.explicit_read["auditor-key"], 1);
    assert_eq!(amount.payment.min_payment, Some(1000));
    let linear = TrustDistanceScaling::Linear { slope: 0.5, intercept: 1.0, min_factor: 1.0 };
    assert_eq!(amount.payment.scaling, linear);
    let customer = orders.field("customer").unwrap();
    assert_eq!(customer.mappers["UserProfile"], "username");
    assert_eq!(orders.field("tags").unwrap().permission.write, TrustDistance::NoRequirement);
    assert_eq!(orders.payment.to_string(), "1.5, at least 10");
    assert_eq!(amount.payment.to_string(), "2 * max(0.5 * d + 1, 1), at least 1000");
    assert_eq!(customer.payment.to_string(), "1 * max(2 ^ (0.5 * d), 1), at least 50");
    let total = orders.field("total").unwrap().transform.as_ref().unwrap();
    assert_eq!(total.inputs, ["Orders.amount"]);
    assert_eq!(total.output.as_deref(), Some("Orders.total"));
}

#[test]
fn a_stored_schema_is_equal() {
    for text in [FLIGHT, ORDERS, r#"{"name":"Note","fields":{}}"#, &with("", "")] {
        let schema = schema(text);
        let mut bytes = Vec::new();
        encode_value(&schema.to_stored(), &mut bytes);
        let stored = Schema::from_stored(&decode_value(&bytes).unwrap()).unwrap();
        assert_eq!(stored, schema);
        assert_eq!(stored.content_hash(), schema.content_hash());
    }
    let time = r#""value":{"type":"string","format":"date-time"},"default":"2013-01-01T00:00:00Z""#;
    let time = schema(&with("", time));
    assert!(matches!(time.fields[0].default, Some(Value::Time(_))));
    assert_eq!(Schema::from_stored(&time.to_stored()).unwrap(), time);
}

#[test]
fn what_was_not_stored_is_refused() {
    for text in ["1", "{}", r#"{"name":"S","fields":{}}"#, r#"{"name":"S","fields":[1]}"#] {
        assert!(Schema::from_stored(&Value::parse_json(text).unwrap()).is_err(), "{text}");
    }
    let new = Value::parse_json(r#"{"name":"S","fields":[["f",{"future":1}]]}"#).unwrap();
    let error = Schema::from_stored(&new).unwrap_err().to_string();
    assert!(error.contains("future: the member is not supported yet"), "{error}");
}

#[test]
fn a_schema_is_written_as_a_file() {
    for text in [FLIGHT, ORDERS] {
        let schema = schema(text);
        let file = serde_json::to_string_pretty(&schema).unwrap();
        assert_eq!(super::Schema::parse(&file).unwrap().schema, schema);
    }
}

#[test]
fn the_canonical_form_leaves_out_what_says_nothing() {
    let long = r#"{"fields":{"g":{"field_type":{"Single":null},"writable":true,"ref_atom_uuid":"x",
        "permission_policy":{"read_policy":{"Distance":0}},"payment_config":{"base_multiplier":1},
        "field_mappers":{},"transform":null},"f":{"value":{"type":"string","maxLength":3}}},
        "key":[],"indexes":[{"fields":["g"],"unique":false},{"fields":["f"]}],"name":"S",
        "payment_config":{"base_multiplier":1.0,"min_payment_threshold":0}}"#;
    let short = concat!(
        r#"{"fields":{"f":{"value":{"maxLength":3,"type":"string"}},"g":{}},"#,
        r#""indexes":[{"fields":["f"]},{"fields":["g"]}],"name":"S"}"#,
    );
    assert_eq!(schema(long).canonical_json(), short);
    assert_eq!(schema(short).content_hash(), schema(long).content_hash());
    let hash = schema(short).content_hash();
    assert_eq!(ContentHash::parse(&hash.to_string()), Ok(hash));
    assert_eq!(ContentHash::parse("ab"), Err(ContentHashError));
    for text in [FLIGHT, ORDERS] {
        let canonical = schema(text).canonical_json();
        assert_eq!(schema(&canonical).canonical_json(), canonical);
    }
}

/// Schemas are identified by it: it must never change.
#[test]
fn the_content_hash_is_frozen() {
    let hash = schema(ORDERS).content_hash().to_string();
    assert_eq!(hash, "09a03ec357d326e82abbb31277ce44f1cb7e659bcf26cd796b77ef2c0de2e085");
}

#[test]
fn unknown_members_are_warnings() {
    let text = r#"{"name":"S","transforms":[],"payment_config":{"x":1},
        "fields":{"f":{"writeable":true,"permission_policy":{"read":1},
        "value":{"format":"email","items":{"x-unit":1}}}}}"#;
    let warnings = Schema::parse(text).unwrap().warnings;
    let warnings: Vec<_> = warnings.iter().map(SchemaWarning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "S, transforms: the member is unknown and ignored",
            "S.f, writeable: the member is unknown and ignored",
            "S.f, value/format: the keyword or format is not checked",
            "S.f, value/items/x-unit: the keyword or format is not checked",
            "S.f, permission_policy.read: the member is unknown and ignored",
            "S, payment_config.x: the member is unknown and ignored",
        ]
    );
}

#[test]
fn every_rule_is_checked() {
    for (schema, field, error) in [
        (r#""key":"f","#, "", "S, key: expected an array, found text \"f\""),
        (r#""key":["x"],"#, "", "S, key: `x` is not a field of the schema"),
        (r#""key":["f","f"],"#, "", "S, key: \"f\" stands there twice"),
        (r#""key":["f"],"#, r#""field_type":"Range""#, "S, key: `f` is not Single, so"),
        (r#""key":["f"],"#, r#""transform":{"logic":"1"}"#, "S, key: `f` is computed, so"),
        (r#""key":["f"],"#, r#""field_mappers":{"A":"b"}"#, "S, key: `f` is mapped, so"),
        (r#""key":["f"],"#, r#""value":{"type":["array","null"]}"#, "S, key: `f` may be an array"),
        (r#""key":["f"],"#, r#""default":1"#, "S.f, default: a key field has no default"),
        (r#""indexes":[{}],"#, "", "S, indexes.0.fields: is missing"),
        (r#""indexes":[{"fields":[]}],"#, "", "S, indexes.0.fields: must not be empty"),
        (r#""indexes":[{"fields":["x"]}],"#, "", "S, indexes.0: `x` is not a field of the schema"),
        (
            r#""indexes":[{"fields":["f"]},{"fields":["f"],"unique":true}],"#,
            "",
            "S, indexes.1: \"f\" stands there twice",
        ),
        (
            r#""indexes":[{"fields":["f"]}],"#,
            r#""field_type":"Collection""#,
            "S, indexes.0: `f` is not Single, so it cannot be indexed",
        ),
        (
            r#""payment_config":{"base_multiplier":0},"#,
            "",
            "S, payment_config.base_multiplier: expected a number above 0, found integer 0",
        ),
        (
            r#""payment_config":{"min_payment_threshold":-1},"#,
            "",
            "S, payment_config.min_payment_threshold: expected an integer from 0 to \
             9223372036854775807, found integer -1",
        ),
        (r#""description":1,"#, "", "S, description: expected text, found integer 1"),
    ] {
        let found = errors(&with(schema, field));
        assert!(found.starts_with(error) && !found.contains(';'), "{found}");
    }
}

#[test]
fn every_rule_of_a_field_is_checked() {
    for (field, error) in [
        (
            r#""field_type":"Hash""#,
            "field_type: expected Single or Collection or Range, found text",
        ),
        (r#""writable":1"#, "writable: expected true or false, found integer 1"),
        (r#""permission_policy":1"#, "permission_policy: expected an object, found integer 1"),
        (
            r#""permission_policy":{"read_policy":{"Distance":-1}}"#,
            "permission_policy.read_policy.Distance: expected an integer from 0 to 4294967295",
        ),
        (
            r#""permission_policy":{"write_policy":"Nobody"}"#,
            "permission_policy.write_policy: expected Distance or NoRequirement, found text",
        ),
        (
            r#""permission_policy":{"explicit_read_policy":{"counts_by_pub_key":{"k":256}}}"#,
            "permission_policy.explicit_read_policy.counts_by_pub_key.k: expected an integer",
        ),
        (
            r#""payment_config":{"base_multiplier":-1.5}"#,
            "payment_config.base_multiplier: expected a number above 0, found number -1.5",
        ),
        (
            r#""payment_config":{"min_payment":0}"#,
            "payment_config.min_payment: expected an integer from 1 to",
        ),
        (
            r#""payment_config":{"trust_distance_scaling":
                {"Linear":{"slope":1,"intercept":1,"min_factor":0.5}}}"#,
            "payment_config.trust_distance_scaling.Linear.min_factor: expected a number from 1 on",
        ),
        (
            r#""payment_config":{"trust_distance_scaling":{"Linear":{"slope":1,"min_factor":1}}}"#,
            "payment_config.trust_distance_scaling.Linear.intercept: is missing",
        ),
        (
            r#""payment_config":{"trust_distance_scaling":
                {"Exponential":{"base":0,"scale":1,"min_factor":1}}}"#,
            "payment_config.trust_distance_scaling.Exponential.base: expected a number above 0",
        ),
        (r#""value":{"type":"int"}"#, "value: expected the name of a type"),
        (
            r#""value":{"$ref":"http://a"}"#,
            "value: remote references are refused: \"http://a\" at /$ref",
        ),
        (
            r#""value":{"type":"integer"},"default":"x""#,
            "default: the default is not accepted: expected integer, found text \"x\"",
        ),
        (
            r#""field_type":"Range","default":1"#,
            "default: a Collection or Range field has no default",
        ),
        (
            r#""field_mappers":{"A":"b","B":"b"}"#,
            "field_mappers: a field maps from one source, found 2",
        ),
        (r#""field_mappers":{"S":"f"}"#, "field_mappers: must not be the field itself"),
        (r#""field_mappers":{"S":"x"}"#, "field_mappers: `x` is not a field of the schema"),
        (r#""field_mappers":{"A":""}"#, "field_mappers.A: a name must not be empty"),
        (r#""field_mappers":{"A.b":"c"}"#, "field_mappers.A.b: `A.b` is not a name"),
        (
            r#""transform":"transform f {}""#,
            "transform: the declaration of a transform: line 1, column 14: expected `logic`",
        ),
        (r#""transform":"transform f { logic: {} }""#, "transform.logic: must not be empty"),
        (r#""transform":{}"#, "transform.logic: is missing"),
        (r#""transform":{"logic":" "}"#, "transform.logic: must not be empty"),
        (
            r#""transform":{"logic":"1","on_error":"stop"}"#,
            "transform.on_error: expected keep or reject, found text \"stop\"",
        ),
        (
            r#""transform":{"logic":"1","onError":"reject"}"#,
            "transform.onError: is not a member of a transform",
        ),
        (
            r#""transform":{"logic":"1","inputs":["g"]}"#,
            "transform.inputs: \"g\" does not have the form `Schema.field`",
        ),
        (
            r#""transform":{"logic":"1","inputs":["S.f"]}"#,
            "transform.inputs: must not be the field",
        ),
        (r#""transform":{"logic":"1","inputs":["S.x"]}"#, "transform.inputs: `x` is not a field"),
        (
            r#""transform":{"logic":"1","inputs":["A.x","A.x"]}"#,
            "transform.inputs: \"A.x\" stands there twice",
        ),
        (
            r#""transform":{"logic":"1","output":"f"}"#,
            "transform.output: \"f\" does not have the form",
        ),
        (
            r#""transform":{"logic":"1","output":"S.g"}"#,
            "transform.output: an output in the same schema must be the field itself, found `S.g`",
        ),
    ] {
        let found = errors(&with("", field));
        assert!(found.starts_with(&format!("S.f, {error}")) && !found.contains(';'), "{found}");
    }
}

#[test]
fn all_errors_are_told() {
    let text =
        r#"{"name":"a b","key":["x"],"fields":{"if":{},"f":{"writable":1,"default":{}},"g":5}}"#;
    let error = Schema::parse(text).unwrap_err();
    let codes: Vec<_> = error.violations().iter().map(|v| v.rule.code()).collect();
    let expected = [
        "name_character",
        "name_keyword",
        "schema_member_wrong",
        "schema_member_wrong",
        "schema_no_such_field",
    ];
    assert_eq!(codes, expected);
    assert!(error.to_string().contains("; a b.f, writable: expected true or false"), "{error}");
    assert_eq!(errors("{}"), "schema, name: is missing; schema, fields: is missing");
    assert_eq!(errors("[]"), "schema: expected an object, found array of 0 items");
    assert_eq!(
        errors(r#"{"name":"S","fields":[]}"#),
        "S, fields: expected an object, found array of 0 items"
    );
    let broken = r#"{"name":"S","key":["f"],"fields":{"f":5}}"#;
    assert_eq!(errors(broken), "S.f: expected an object, found integer 5");
}

#[test]
fn json_is_checked_first() {
    let twice = "{\"name\":\"S\",\n\"fields\":{\"f\":{},\"f\":{}}}";
    assert_eq!(
        errors(twice),
        "the schema is not JSON: the member `f` stands there twice at line 2, column 18"
    );
    let large = " ".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(Schema::parse(&large).unwrap_err().code(), "schema_too_large");
}

#[test]
fn keys_are_made_of_values() {
    let flight = schema(FLIGHT);
    let time = Timestamp::parse("2013-01-01T05:15:00Z").unwrap();
    let parts = ["UA".into(), Value::Int(1545), "2013-01-01T06:15:00+01:00".into()];
    let key = flight.key_of(&parts).unwrap();
    assert_eq!(key.to_string(), r#"["UA",1545,"2013-01-01T05:15:00Z"]"#);
    assert_eq!(key, flight.key_of(&["UA".into(), Value::Int(1545), time.into()]).unwrap());
    let prefix = flight.key_prefix_of(&["UA".into()]).unwrap();
    assert!(key.as_bytes().starts_with(prefix.as_bytes()));
    let error = |parts: &[Value]| flight.key_of(parts).unwrap_err().to_string();
    assert_eq!(error(&[]), "a key of Flight has 3 parts, found 0");
    let [carrier, number, departure] = parts;
    assert_eq!(
        error(&[Value::Null, number.clone(), departure.clone()]),
        "the key field Flight.carrier must not be null"
    );
    assert_eq!(
        error(&[carrier, Value::Float(1.5), departure.clone()]),
        "the key field Flight.flight does not accept the value: \
         expected integer, found number 1.5"
    );
    let long = ["x".repeat(500).into(), number, departure];
    assert!(error(&long).contains("bytes when encoded, at most 480 are allowed"));
    let untyped = schema(r#"{"name":"S","key":["f"],"fields":{"f":{}}}"#);
    let error = untyped.key_of(&[Value::Array(vec![])]).unwrap_err();
    assert_eq!(error.code(), "key_not_scalar");
    let single = schema(r#"{"name":"S","fields":{"f":{}}}"#);
    assert_eq!(single.key_of(&[]).unwrap(), super::super::RecordKey::EMPTY);
    assert!(single.key_of(&[1.into()]).is_err());
}

proptest! {
    /// Whatever stands at a place of a schema, it is read or refused, and on one line.
    #[test]
    fn no_value_makes_it_panic(value in value(), place in 0..PLACES.len()) {
        let text = PLACES[place].replace('?', &value.to_json());
        match Schema::parse(&text) {
            Ok(parsed) => {
                let schema = parsed.schema;
                prop_assert_eq!(&Schema::from_stored(&schema.to_stored()).unwrap(), &schema);
                let canonical = Schema::parse(&schema.canonical_json()).unwrap().schema;
                prop_assert_eq!(canonical.content_hash(), schema.content_hash());
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
        let _ = Schema::from_stored(&value);
    }

    #[test]
    fn no_text_makes_it_panic(at in 0..FLIGHT.len(), with in "[\\[\\]{}\":,a1]{0,2}") {
        let text = format!("{}{with}{}", &FLIGHT[..at], &FLIGHT[at + 1..]);
        let _ = Schema::parse(&text);
    }
}

const PLACES: [&str; 12] = [
    "?",
    r#"{"name":"S","fields":?}"#,
    r#"{"name":"S","fields":{"f":?}}"#,
    r#"{"name":"S","fields":{"f":{"value":?}}}"#,
    r#"{"name":"S","fields":{"f":{"value":{"items":?,"enum":?}}}}"#,
    r#"{"name":"S","fields":{"f":{"default":?}}}"#,
    r#"{"name":"S","fields":{"f":{"transform":{"logic":"1","inputs":?}}}}"#,
    r#"{"name":"S","fields":{"f":{"permission_policy":{"read_policy":?}}}}"#,
    r#"{"name":"S","fields":{"f":{"payment_config":{"base_multiplier":?,"min_payment":?}}}}"#,
    r#"{"name":"S","fields":{"f":{"field_mappers":?}}}"#,
    r#"{"name":"S","fields":{},"indexes":[?]}"#,
    r#"{"name":"S","fields":{},"key":?,"description":?,"payment_config":?}"#,
];
