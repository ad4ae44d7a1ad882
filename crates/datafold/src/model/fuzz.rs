//! Fuzz bodies of values, keys, names, times, JSON and schemas. Each has the name of its target.

use datafold_testkit::{Draw, Fuzz, Verdict};

use super::{
    ContentHash, FieldName, KEY_BYTES_MAX, RecordKey, Schema, SchemaName, SchemaState, Timestamp,
    Value, ValueSchema, decode_element, decode_element_into, decode_value, decode_value_into,
    encode_element, encode_element_prefix, encode_value, part_of_value, take_text,
};

pub(crate) const FLIGHT: &str = r#"{"name":"Flight","key":["carrier","flight"],"fields":{
    "carrier":{"value":{"type":"string","maxLength":3}},"flight":{"value":{"type":"integer"}},
    "departure":{"value":{"type":"string","format":"date-time"},"default":"2013-01-01T05:15:00Z"},
    "delay":{"value":{"type":["number","null"],"minimum":-1e9}},"note":{},
    "tags":{"field_type":"Collection","permission_policy":{"read_policy":{"Distance":1}}},
    "at":{"field_type":"Range","value":{"type":"number"}},
    "mph":{"writable":false,"transform":{"logic":"delay / 60"}}},
    "indexes":[{"fields":["delay"],"unique":true}]}"#;

const ORDERS: &str = r#"{"name":"Orders","description":"o","fields":{
    "amount":{"permission_policy":{"read_policy":"NoRequirement",
        "write_policy":{"NoRequirement":null},"explicit_read_policy":{"counts_by_pub_key":{"k":1}}},
      "payment_config":{"base_multiplier":2.0,"min_payment":1000,"trust_distance_scaling":
        {"Linear":{"slope":0.5,"intercept":1.0,"min_factor":1.0}}}},
    "customer":{"field_mappers":{"UserProfile":"username"},"payment_config":
        {"trust_distance_scaling":{"Exponential":{"base":2.0,"scale":0.5,"min_factor":1.0}}}},
    "total":{"transform":{"inputs":["Orders.amount"],"logic":"sum","output":"Orders.total"}}},
    "payment_config":{"base_multiplier":1.5,"min_payment_threshold":10}}"#;

const VALUES: [&str; 12] = [
    "null",
    "true",
    "-1",
    "24",
    "9223372036854775807",
    "1.5",
    "1e300",
    "\"\"",
    "\"é\\u0000\\ud834\\udd1e\"",
    "[1,[2,[]],{}]",
    r#"{"a":"é","b":[null,true,-1,24],"c":1.5}"#,
    r#"{"":{"x":[{"y":-0.25}]},"long name of a member":"2013-01-01T05:15:00Z"}"#,
];

const JSON_WORDS: [&str; 22] = [
    "{", "}", "[", "]", ":", ",", "\"", "null", "true", "false", "-", "0", "1e999", "0.1", "\\u",
    "\\ud800", "\\udc00", "\\", "e-400", " ", "\n", "é",
];

fn json(text: &str) -> Value {
    Value::parse_json(text).unwrap()
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes);
    bytes
}

/// Stored values: those of JSON, and times.
pub(crate) fn stored_values() -> Vec<Vec<u8>> {
    let mut values: Vec<_> = VALUES.iter().map(|text| encoded(&json(text))).collect();
    values.push(encoded(&Value::Time(Timestamp::from_micros(-1))));
    values.push(encoded(&vec![Value::Time(Timestamp::MAX), Value::Int(i64::MIN)].into()));
    values.push(encoded(&Value::from("x".repeat(300))));
    values
}

/// Pieces of CBOR: heads of items of each kind, some in a form that is too long.
pub(crate) const CBOR_WORDS: [&[u8]; 24] = [
    &[0xF6],
    &[0xF7],
    &[0x18, 0x17],
    &[0x19, 0x00, 0xFF],
    &[0x1A, 0x00, 0x00, 0xFF, 0xFF],
    &[0x1B, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x1B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x3B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x40],
    &[0x58, 0x01],
    &[0x5B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x61, b'a'],
    &[0x78, 0x01, b'a'],
    &[0x7F, 0x61, b'a', 0xFF],
    &[0x80],
    &[0x81],
    &[0x82],
    &[0x98, 0x02],
    &[0x9F],
    &[0xA1, 0x61, b'a'],
    &[0xBF],
    &[0xC6, 0x20],
    &[0xD8, 0x06],
    &[0xFB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0],
];

/// What is read as a value is what would be written of it, whichever way it is read.
#[test]
fn value_codec() {
    Fuzz::new("value_codec").seeds(stored_values()).words(CBOR_WORDS).run(|input| {
        let mut place = Value::from("before");
        let into = decode_value_into(input, &mut place);
        if let Some((text, rest)) = take_text(input) {
            let taken = &input[..input.len() - rest.len()];
            assert_eq!(encoded(&text.into()), taken, "a text in another form");
        }
        match decode_value(input) {
            Ok(value) => {
                assert_eq!(value.check(), Ok(()));
                assert_eq!(encoded(&value), input, "{value:?} has another form");
                assert!(into.is_ok() && place == value);
                assert!(value.cmp_values(&value).is_eq());
                let kinds = value.type_name().bytes().map(u64::from).sum::<u64>();
                Verdict::accepted(kinds)
            }
            Err(error) => {
                assert!(into.is_err());
                assert!(error.to_string().len() < 200);
                Verdict::refused(error.code())
            }
        }
    });
}

/// JSON that is read prints as JSON that is read as the same; another reader agrees on what is
/// JSON, but for what it hides.
#[test]
fn json_text() {
    Fuzz::new("json_text").seeds(VALUES).seeds([FLIGHT]).words(JSON_WORDS).run(|input| {
        let text = String::from_utf8_lossy(input);
        let theirs = serde_json::from_str::<Value>(&text);
        match Value::parse_json(&text) {
            Ok(value) => {
                assert_eq!(value.check(), Ok(()));
                let printed = value.to_json();
                assert_eq!(Value::parse_json(&printed).as_ref(), Ok(&value), "{printed}");
                assert_eq!(theirs.unwrap(), value);
                assert_eq!(decode_value(&encoded(&value)).unwrap(), value);
                Verdict::accepted(u64::from(printed.as_bytes()[0]))
            }
            Err(error) => {
                let is_hidden = error.code() == "json_integer_out_of_range";
                assert!(theirs.is_err() || is_hidden, "{error}: {theirs:?}");
                let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
                assert!((1..=lines).contains(&error.line), "{error}");
                assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
                Verdict::refused(error.code())
            }
        }
    });
}

#[test]
fn timestamp() {
    let seeds = [
        "2013-01-01T05:15:00Z",
        "2013-01-01t05:15:00.25+01:00",
        "1969-12-31 23:59:59.999999-00:00",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2000-02-29T00:00:00.1000000+23:59",
    ];
    let words = ["T", "Z", ":60", "-02-29", ".000000", "+00:00", "+24:00", "９", "10000"];
    Fuzz::new("timestamp").seeds(seeds).words(words).len_max(64).run(|input| {
        let text = String::from_utf8_lossy(input);
        match Timestamp::parse(&text) {
            Ok(time) => {
                let printed = time.to_string();
                assert_eq!(Timestamp::parse(&printed), Ok(time));
                assert_eq!(Timestamp::from_micros_checked(time.as_micros()), Some(time));
                // Another calendar agrees: `jiff` has no year 0000 behind some offsets.
                if let Ok(theirs) = text.trim().parse::<jiff::Timestamp>() {
                    assert_eq!(theirs.as_microsecond(), time.as_micros(), "{text}");
                }
                Verdict::accepted(printed.len() as u64)
            }
            Err(error) => {
                assert!(error.to_string().len() < 1_000);
                Verdict::refused(error.code())
            }
        }
    });
}

/// Every count of microseconds prints, and those that RFC 3339 can write are read back.
#[test]
fn timestamp_print() {
    let seeds = [Timestamp::MIN, Timestamp::MAX, Timestamp::from_micros(-1)];
    let seeds = seeds.map(|time| time.as_micros().to_be_bytes());
    Fuzz::new("timestamp_print").seeds(seeds).len_max(16).run(|input| {
        let time = Timestamp::from_micros(Draw::new(input).i64());
        let printed = time.to_string();
        let is_in_range = (Timestamp::MIN..=Timestamp::MAX).contains(&time);
        assert_eq!(Timestamp::parse(&printed).ok(), is_in_range.then_some(time), "{printed}");
        Verdict::accepted(printed.len() as u64)
    });
}

#[test]
fn names() {
    let seeds = ["Flight", "_", "A1_b", "return", "a.b", "é", &"x".repeat(255)];
    Fuzz::new("names").seeds(seeds).words(["let", "in", "_", "9", "\u{130}"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
        match SchemaName::parse(&text) {
            Ok(name) => {
                assert_eq!(name.to_string(), text);
                assert!(text.chars().all(is_name) && text.len() <= 255 && !text.is_empty());
                assert_eq!(FieldName::parse(&text).unwrap().as_str(), text);
                let json = serde_json::to_string(&name).unwrap();
                assert_eq!(serde_json::from_str::<SchemaName>(&json).unwrap(), name);
                Verdict::accepted(u64::from(text.as_bytes()[0]))
            }
            Err(error) => {
                assert_eq!(FieldName::parse(&text), Err(error.clone()));
                assert!(error.to_string().len() < text.len() * 10 + 200);
                Verdict::refused(error.code())
            }
        }
    });
}

/// An element key has one form, sorts as its text does, and begins as its prefixes say.
#[test]
fn element_key() {
    let seeds = ["a", "", "eu:berlin", "a\0b"].map(|text| encode_element(text).unwrap().to_vec());
    Fuzz::new("element_key").seeds(seeds).words([&[0, 0xFF][..], &[0]]).run(|input| {
        let mut place = "before".to_owned();
        let into = decode_element_into(input, &mut place);
        let text = match decode_element(input) {
            Ok(text) => text,
            Err(error) => {
                assert!(into.is_err());
                return Verdict::refused(&error.to_string());
            }
        };
        assert_eq!((into, &place), (Ok(()), &text));
        match encode_element(&text) {
            Ok(key) => assert_eq!(key, input, "{text:?} has another form"),
            Err(_) => assert!(input.len() > super::ELEMENT_KEY_BYTES_MAX),
        }
        for (end, _) in text.char_indices() {
            assert!(input.starts_with(&encode_element_prefix(&text[..end])));
        }
        Verdict::accepted(text.len().min(16) as u64)
    });
}

#[test]
fn record_key() {
    let key = |text: &str| {
        let Value::Array(parts) = json(text) else { panic!() };
        let parts: Vec<_> = parts.iter().map(|part| part_of_value(part).unwrap()).collect();
        RecordKey::from_parts(&parts).unwrap().as_bytes().to_vec()
    };
    let seeds = [key("[\"UA\",1545,true]"), key("[]"), key("[-1.5,1e300,\"a\\u0000\"]")];
    Fuzz::new("record_key").seeds(seeds).run(|input| {
        let key = RecordKey::from_bytes(input.to_vec());
        let printed = key.to_string();
        match key.values() {
            Ok(values) => {
                let parts: Vec<_> = values.iter().map(|v| part_of_value(v).unwrap()).collect();
                assert_eq!(parts, key.parts().unwrap());
                match RecordKey::from_parts(&parts) {
                    Ok(again) => assert_eq!(again, key, "the key has another form"),
                    Err(_) => assert!(input.len() > KEY_BYTES_MAX),
                }
                assert!(values.iter().all(|value| value.check().is_ok()));
                assert_eq!(printed, Value::Array(values).to_json());
                Verdict::accepted(parts.len() as u64)
            }
            Err(error) => {
                assert!(printed.starts_with("<damaged key of"), "{printed}");
                Verdict::refused(&error.to_string())
            }
        }
    });
}

const SCHEMA_WORDS: [&str; 40] = [
    "\"name\":",
    "\"key\":",
    "\"fields\":",
    "\"indexes\":",
    "\"payment_config\":",
    "{}",
    "[]",
    "\"description\":",
    "\"value\":",
    "\"default\":",
    "\"field_type\":",
    "\"Range\"",
    "null",
    "\"Collection\"",
    "\"Single\"",
    "\"writable\":",
    "\"permission_policy\":",
    "\"Distance\":",
    "\"read_policy\":",
    "\"field_mappers\":",
    "\"transform\":",
    "\"logic\":",
    "\"inputs\":",
    "\"output\":",
    "\"unique\":true",
    "\"base_multiplier\":",
    "\"min_payment\":",
    "\"carrier\"",
    "{\"type\":\"string\",\"format\":\"date-time\"}",
    "{\"type\":[\"array\",\"null\"]}",
    "{\"type\":\"number\"}",
    "{\"pattern\":\"^a\"}",
    "\"f\":{},",
    "1e400",
    "-1",
    "0.1",
    "{\"Single\":null}",
    "\"Flight.carrier\"",
    "{\"NoRequirement\":null}",
    "\"explicit_counts\":",
];

/// A schema that is read has one canonical form, which reads as the same schema; so does the form
/// that is stored, also out of its bytes.
#[test]
fn schema_json() {
    let fuzz = Fuzz::new("schema_json").seeds([FLIGHT, ORDERS, r#"{"name":"S","fields":{}}"#]);
    fuzz.words(SCHEMA_WORDS).len_max(2_000).cost(10).run(|input| {
        let text = String::from_utf8_lossy(input);
        let parsed = match Schema::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return Verdict::refused(error.code());
            }
        };
        let schema = parsed.schema;
        let canonical = schema.canonical_json();
        let again = Schema::parse(&canonical).unwrap_or_else(|e| panic!("{canonical}: {e}"));
        assert_eq!(again.schema.canonical_json(), canonical);
        assert_eq!(again.schema.content_hash(), schema.content_hash());
        let stored = schema.to_stored();
        let bytes = encoded(&stored);
        let back = Schema::from_stored(&decode_value(&bytes).unwrap()).unwrap();
        assert_eq!(back, schema);
        assert_eq!(encoded(&back.to_stored()), bytes);
        let file = serde_json::to_string(&schema).unwrap();
        assert_eq!(Schema::parse(&file).unwrap().schema, schema, "{file}");
        Verdict::accepted(schema.fields.len() as u64 * 8 + parsed.warnings.len().min(7) as u64)
    });
}

/// Whatever is read as a stored schema is stored again in the same bytes, or is refused.
#[test]
fn schema_stored() {
    let stored = |text: &str| encoded(&Schema::parse(text).unwrap().schema.to_stored());
    let fuzz = Fuzz::new("schema_stored").seeds([stored(FLIGHT), stored(ORDERS)]);
    let words = SCHEMA_WORDS.iter().map(|word| encoded(&word.trim_matches(['"', ':']).into()));
    fuzz.words(words).words(CBOR_WORDS).len_max(2_000).cost(5).run(|input| {
        let Ok(value) = decode_value(input) else { return Verdict::refused("value") };
        match Schema::from_stored(&value) {
            Ok(schema) => {
                let again = Schema::from_stored(&schema.to_stored()).unwrap();
                assert_eq!(again, schema);
                assert_eq!(again.content_hash(), schema.content_hash());
                Verdict::accepted(schema.fields.len() as u64)
            }
            Err(error) => Verdict::refused(error.code()),
        }
    });
}

const VALUE_SCHEMAS: [&str; 22] = [
    r#"{"type":"string","format":"date-time"}"#,
    r#"{"type":["integer","null"],"minimum":0,"maximum":9007199254740993}"#,
    r#"{"type":["number","string"],"format":"date-time"}"#,
    r#"{"enum":["a",2,null,[1]],"default":"a"}"#,
    r#"{"const":{"a":[1]}}"#,
    r#"{"multipleOf":0.1,"exclusiveMinimum":-1e300}"#,
    r#"{"minLength":2,"maxLength":3,"pattern":"^[A-Z]{2}\\d"}"#,
    r#"{"format":"date"}"#,
    r#"{"prefixItems":[{"type":"string"},true],"items":{"type":"integer"},"minItems":1}"#,
    r#"{"contains":{"type":"integer"},"minContains":1,"maxContains":2,"uniqueItems":true}"#,
    r#"{"properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#,
    r#"{"patternProperties":{"^x":{"type":"string"}},"propertyNames":{"maxLength":4}}"#,
    r#"{"dependentRequired":{"a":["b"]},"dependentSchemas":{"a":{"minProperties":2}}}"#,
    r#"{"if":{"type":"string"},"then":{"minLength":1},"else":{"minimum":0}}"#,
    r#"{"allOf":[{"type":"number"}],"anyOf":[true],"oneOf":[{"minimum":1}],"not":{"const":5}}"#,
    r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"string"}}}"##,
    r##"{"$defs":{"t":{"$anchor":"t","items":{"$ref":"#t"}}},"$ref":"#t"}"##,
    r##"{"$dynamicAnchor":"n","properties":{"c":{"items":{"$dynamicRef":"#n"}}}}"##,
    r#"{"unevaluatedProperties":false,"properties":{"a":true}}"#,
    r#"{"unevaluatedItems":false,"prefixItems":[true]}"#,
    "true",
    "false",
];

/// A JSON Schema that is accepted accepts and refuses values without a panic; what it accepts it
/// accepts again, unchanged, and a schema that was trusted decides alike.
#[test]
fn value_schema() {
    let with_values = |schema: &&str| format!("{schema} [1,\"UA1\",{{\"a\":1}},null,1.5]");
    let fuzz = Fuzz::new("value_schema").seeds(VALUE_SCHEMAS.iter().map(with_values));
    let words = [
        "\"type\":",
        "\"enum\":",
        "\"items\":",
        "\"$ref\":\"#\"",
        "\"$ref\":\"#/$defs/a\"",
        "\"properties\":",
        "\"$defs\":",
        "\"not\":",
        "\"pattern\":\"(a|b)*c{2,9}\"",
        "\"format\":",
        "\"default\":",
        "\"minimum\":",
        "\"multipleOf\":",
        "\"required\":[\"a\"]",
        "true",
        "false",
        "\"x\"",
        "1e308",
        "[]",
        "{}",
        "\"a\":",
        "\"2013-01-01T05:15:00Z\"",
        "\"$id\":\"x\"",
        "%41",
    ];
    fuzz.words(words).len_max(300).cost(40).run(|input| {
        let text = String::from_utf8_lossy(input);
        let (schema, values) = text.rsplit_once(' ').unwrap_or((&text, "[]"));
        let Ok(json) = Value::parse_json(schema) else { return Verdict::refused("json") };
        let schema = match ValueSchema::new(json.clone()) {
            Ok(schema) => schema,
            Err(error) => {
                assert!(error.to_string().len() < 2_000, "{error}");
                return Verdict::refused(error.code());
            }
        };
        assert_eq!(schema.json(), &json);
        let trusted = ValueSchema::trusted(json.clone());
        let (mut taken, values) = (0, Value::parse_json(values));
        let values = match values {
            Ok(Value::Array(values)) => values,
            Ok(value) => vec![value],
            Err(_) => vec![Value::Null, Value::from(values.unwrap_err().to_string())],
        };
        for value in values {
            let accepted = schema.accept(value.clone());
            assert_eq!(trusted.accept(value.clone()).is_ok(), accepted.is_ok());
            match accepted {
                Ok(stored) => {
                    assert_eq!(schema.accept(stored.clone()).as_ref(), Ok(&stored), "again");
                    assert_eq!(stored.check(), Ok(()));
                    taken += 1;
                }
                Err(error) => assert!(error.to_string().len() < 3_000, "{error}"),
            }
            if let Value::Text(text) = &value {
                let _ = schema.coerce_text(text);
            }
        }
        Verdict::accepted(taken)
    });
}

/// A text that a type takes from a table is a value that it accepts as it is.
#[test]
fn value_of_text() {
    let seeds = ["0 5", "1 007", "2 -1.5e3", "3 TRUE", "4 [1,2]", "5 2013-01-01T05:15:00Z", "6  "];
    let schemas = [
        r#"{"type":"integer"}"#,
        r#"{"type":"number"}"#,
        r#"{"type":["number","boolean"]}"#,
        r#"{"type":"boolean"}"#,
        r#"{"type":["array","object"]}"#,
        r#"{"type":"string","format":"date-time"}"#,
        r#"{"type":["string","null"]}"#,
        r#"{"type":["integer","string"],"format":"date-time"}"#,
        "true",
    ];
    let schemas = schemas.map(|text| ValueSchema::new(json(text)).unwrap());
    let words = ["inf", "nan", "+", "-0", "1e999", "9223372036854775808", "\u{a0}", "True"];
    Fuzz::new("value_of_text").seeds(seeds).words(words).run(|input| {
        let text = String::from_utf8_lossy(input);
        let first = text.chars().next().unwrap_or('0');
        let schema = &schemas[first as usize % schemas.len()];
        let cell = text.get(2..).unwrap_or_default();
        match schema.coerce_text(cell) {
            Ok(value) => {
                assert_eq!(value.check(), Ok(()));
                assert_eq!(schema.accept(value.clone()).as_ref(), Ok(&value));
                Verdict::accepted(value.type_name().bytes().map(u64::from).sum())
            }
            Err(error) => {
                assert!(error.to_string().len() < 1_000, "{error}");
                Verdict::refused("unfit")
            }
        }
    });
}

#[test]
fn small_words() {
    let hash = ContentHash::from_bytes([0xA5; 32]).to_string();
    let states = ["Available", "Approved", "Blocked", "available"];
    Fuzz::new("small_words").seeds([hash.as_str()]).seeds(states).len_max(80).run(|input| {
        let text = String::from_utf8_lossy(input);
        let mut class = 0;
        if let Ok(hash) = ContentHash::parse(&text) {
            assert_eq!(hash.to_string(), text.to_lowercase());
            class += 1;
        }
        if let Ok(state) = SchemaState::parse(&text) {
            assert_eq!(SchemaState::parse(&state.to_string()), Ok(state));
            class += 2 + state as u64;
        }
        if class == 0 { Verdict::refused("none") } else { Verdict::accepted(class) }
    });
}
