use super::*;

fn schema(json: &str) -> ValueSchema {
    ValueSchema::new(Value::parse_json(json).unwrap()).unwrap()
}

fn json(text: &str) -> Value {
    Value::parse_json(text).unwrap()
}

fn refused(schema_json: &str, value: &str) -> String {
    schema(schema_json).accept(json(value)).unwrap_err().to_string()
}

fn invalid(schema_json: &str) -> ValueSchemaError {
    ValueSchema::new(json(schema_json)).unwrap_err()
}

#[test]
fn errors_say_expected_and_found() {
    for (schema, value, error) in [
        (r#"{"type":"integer"}"#, "\"x\"", "expected integer, found text \"x\""),
        (r#"{"type":"integer"}"#, "1.5", "expected integer, found number 1.5"),
        (r#"{"type":"integer"}"#, "1e30", "expected integer, found number 1e+30"),
        (
            r#"{"type":["number","string"]}"#,
            "[1]",
            "expected number or text, found array of 1 items",
        ),
        (r#"{"type":"string","format":"date-time"}"#, "5", "expected time, found integer 5"),
        (r#"{"minimum":0}"#, "-1", "expected at least 0 (`minimum`), found integer -1"),
        (r#"{"enum":["a",2]}"#, "\"b\"", "expected \"a\" | 2 (`enum`), found text \"b\""),
        (
            r#"{"items":{"type":"object","properties":{"a/b":{"type":"string"}}}}"#,
            r#"[{},{"a/b":1}]"#,
            "expected text, found integer 1 at /1/a~1b",
        ),
        ("false", "1", "expected nothing, found integer 1"),
    ] {
        assert_eq!(refused(schema, value), error);
    }
    let long = refused(r#"{"type":"integer"}"#, &format!("\"a\\n{}\"", "x".repeat(500)));
    assert!(long.len() < 100 && !long.contains('\n'), "{long}");
    let time = refused(r#"{"type":"string","format":"date-time"}"#, "\"2013\"");
    assert!(time.starts_with("expected time: `2013` is not an RFC 3339 time: "), "{time}");
}

#[test]
fn null_is_a_missing_value() {
    for json in [r#"{"type":"integer"}"#, r#"{"enum":[1]}"#, "false"] {
        assert_eq!(schema(json).accept(Value::Null), Ok(Value::Null));
    }
    assert!(refused(r#"{"items":{"type":"string"}}"#, "[null]").contains("found null at /0"));
}

#[test]
fn times_are_converted() {
    let time = schema(r#"{"type":["string","null"],"format":"date-time"}"#);
    let expected = Value::Time(Timestamp::parse("2013-01-01T05:15:00Z").unwrap());
    let given = Value::from("2013-01-01T06:15:00+01:00");
    assert_eq!(time.accept(given.clone()), Ok(expected.clone()));
    assert_eq!(time.accept(expected.clone()), Ok(expected.clone()));
    let text = schema(r#"{"type":"string"}"#);
    assert_eq!(text.accept(expected.clone()), Ok("2013-01-01T05:15:00Z".into()));
    assert_eq!(schema("true").accept(expected.clone()), Ok(expected.clone()));
    let one = schema(r#"{"format":"date-time","enum":["2013-01-01T06:15:00+01:00"]}"#);
    assert_eq!(one.accept("2013-01-01T05:15:00Z".into()), Ok(expected));
    let nested = schema(r#"{"items":{"format":"date-time"}}"#);
    assert_eq!(nested.accept(vec![given.clone()].into()), Ok(Value::Array(vec![given])));
    assert!(nested.accept(vec!["x"].into()).is_err());
}

/// (schema, accepted, refused)
const CASES: &[(&str, &[&str], &[&str])] = &[
    (r#"{"type":["integer","boolean"]}"#, &["5", "5.0", "true"], &["5.5", "\"5\"", "{}"]),
    (r#"{"const":{"a":[1]}}"#, &[r#"{"a":[1.0]}"#], &[r#"{"a":[2]}"#]),
    (r#"{"exclusiveMinimum":0,"exclusiveMaximum":1}"#, &["0.5", "\"x\""], &["0", "1"]),
    (r#"{"maximum":9007199254740992.5}"#, &["9007199254740992"], &["9007199254740993"]),
    (r#"{"multipleOf":0.1}"#, &["0.3", "7", "0", "1e300", "4.35e1"], &["0.35", "1e-300"]),
    (r#"{"multipleOf":3}"#, &["9", "-9", "1.5e1"], &["10", "0.5"]),
    (r#"{"minLength":2,"maxLength":3}"#, &["\"éé\"", "5"], &["\"é\"", "\"éééé\""]),
    (r#"{"pattern":"^[A-Z]{2}\\d"}"#, &["\"UA1x\"", "1"], &["\"ua1\"", "\" UA1\""]),
    (r#"{"format":"date"}"#, &["\"2013-02-28\"", "1"], &["\"2013-02-29\"", "\"x\""]),
    (
        r#"{"prefixItems":[{"type":"string"}],"items":{"type":"integer"}}"#,
        &["[]", "[\"a\"]", "[\"a\",1,2]", "5"],
        &["[1]", "[\"a\",\"b\"]"],
    ),
    (r#"{"prefixItems":[true],"items":false}"#, &["[1]"], &["[1,2]"]),
    (
        r#"{"minItems":1,"maxItems":2,"uniqueItems":true}"#,
        &["[1,2]"],
        &["[]", "[1,1.0]", "[1,2,3]"],
    ),
    (
        r#"{"contains":{"type":"integer"},"minContains":2,"maxContains":2}"#,
        &["[1,\"a\",2]"],
        &["[1]", "[1,2,3]"],
    ),
    (
        r#"{"properties":{"a":{"type":"integer"}},"patternProperties":{"^x":{"type":"string"}},
            "additionalProperties":false,"required":["a"],"maxProperties":3}"#,
        &[r#"{"a":1}"#, r#"{"a":1,"x1":"b"}"#, "[]"],
        &["{}", r#"{"a":"1"}"#, r#"{"a":1,"x":1}"#, r#"{"a":1,"b":1}"#],
    ),
    (r#"{"additionalProperties":{"type":"integer"}}"#, &[r#"{"b":1}"#], &[r#"{"b":"1"}"#]),
    (
        r#"{"propertyNames":{"maxLength":1},"minProperties":1}"#,
        &[r#"{"a":1}"#],
        &[r#"{"ab":1}"#, "{}"],
    ),
    (r#"{"dependentRequired":{"a":["b"]}}"#, &["{}", r#"{"a":1,"b":1}"#], &[r#"{"a":1}"#]),
    (
        r#"{"dependentSchemas":{"a":{"required":["b"]}}}"#,
        &[r#"{"b":1}"#, r#"{"a":1,"b":1}"#],
        &[r#"{"a":1}"#],
    ),
    (r#"{"allOf":[{"minimum":1},{"maximum":2}]}"#, &["1"], &["3"]),
    (r#"{"anyOf":[{"maximum":1},{"minimum":3}]}"#, &["1", "3"], &["2"]),
    (r#"{"oneOf":[{"maximum":2},{"minimum":2}]}"#, &["1", "3"], &["2"]),
    (r#"{"not":{"type":"string"}}"#, &["1"], &["\"x\""]),
    (
        r#"{"if":{"type":"integer"},"then":{"minimum":0},"else":{"type":"string"}}"#,
        &["1", "\"x\""],
        &["-1", "true"],
    ),
    (
        r##"{"$defs":{"tree":{"type":"array","items":{"$ref":"#/$defs/tree"}}},
            "$ref":"#/$defs/tree"}"##,
        &["[]", "[[[]],[]]"],
        &["[1]", "[[[1]]]"],
    ),
    (r##"{"type":["array","integer"],"items":{"$ref":"#"}}"##, &["[1,[2]]"], &["[\"x\"]"]),
];

#[test]
fn every_keyword_is_enforced() {
    for (schema_json, accepted, refused) in CASES {
        let schema = schema(schema_json);
        let trusted = ValueSchema::trusted(schema.json().clone());
        for value in *accepted {
            assert_eq!(schema.accept(json(value)), Ok(json(value)), "{schema_json} {value}");
            assert!(trusted.accept(json(value)).is_ok(), "{schema_json} {value}");
        }
        for value in *refused {
            let error = schema.accept(json(value)).unwrap_err().to_string();
            assert!(error.starts_with("expected "), "{error}");
            assert!(trusted.accept(json(value)).is_err(), "{schema_json} {value}");
        }
    }
}

#[test]
fn what_is_not_enforced_is_refused() {
    for (schema, code, path) in [
        ("5", "value_schema_wrong", ""),
        (r#"{"type":"int"}"#, "value_schema_wrong", "/type"),
        (r#"{"type":[]}"#, "value_schema_wrong", "/type"),
        (r#"{"properties":{"a":{"minimum":"1"}}}"#, "value_schema_wrong", "/properties/a/minimum"),
        (r#"{"items":[{}]}"#, "value_schema_wrong", "/items"),
        (r#"{"minLength":-1}"#, "value_schema_wrong", "/minLength"),
        (r#"{"multipleOf":0}"#, "value_schema_wrong", "/multipleOf"),
        (r#"{"anyOf":[]}"#, "value_schema_wrong", "/anyOf"),
        (r#"{"contains":{},"minContains":"x"}"#, "value_schema_wrong", "/minContains"),
        (
            r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#,
            "value_schema_wrong",
            "/$schema",
        ),
        (
            r#"{"unevaluatedProperties":false}"#,
            "value_schema_unsupported",
            "/unevaluatedProperties",
        ),
        (r#"{"$id":"x"}"#, "value_schema_unsupported", "/$id"),
        (r#"{"$ref":"https://a/b"}"#, "value_schema_remote_reference", "/$ref"),
        (r##"{"$ref":"#/$defs/a"}"##, "value_schema_unknown_reference", "/$ref"),
        (r#"{"pattern":"("}"#, "value_schema_pattern", "/pattern"),
        (r#"{"patternProperties":{"(":{}}}"#, "value_schema_pattern", "/patternProperties/("),
    ] {
        let error = invalid(schema);
        assert_eq!((error.code(), error.path.as_str()), (code, path), "{schema}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn places_that_nothing_checks_are_listed() {
    let value = json(r#"{"format":"email","x-unit":"km","items":{"title":"a","typo":1}}"#);
    let (_, unchecked) = ValueSchema::checked(value).unwrap();
    assert_eq!(unchecked, ["/format", "/items/typo", "/x-unit"]);
}

#[test]
fn endless_schemas_end() {
    for json in [
        r##"{"$ref":"#"}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}},
            "anyOf":[{"$ref":"#/$defs/a"},true]}"##,
    ] {
        assert_eq!(schema(json).accept(1.into()), Err(ValueError::TooManySteps));
    }
}

#[test]
fn scalar_types() {
    for (json, expected) in [
        (r#"{"type":"boolean"}"#, Some(ScalarType::Bool)),
        (r#"{"type":["integer","null"]}"#, Some(ScalarType::Integer)),
        (r#"{"type":["integer","number"]}"#, Some(ScalarType::Number)),
        (r#"{"type":"string"}"#, Some(ScalarType::Text)),
        (r#"{"type":"string","format":"date-time"}"#, Some(ScalarType::Time)),
        (r#"{"type":["string","integer"]}"#, None),
        (r#"{"type":"array"}"#, None),
        ("{}", None),
    ] {
        assert_eq!(schema(json).scalar_type(), expected, "{json}");
    }
}

#[test]
fn cells_of_csv_files_are_read() {
    let time = || Value::Time(Timestamp::parse("2013-01-01T05:00:00Z").unwrap());
    for (json, text, expected) in [
        (r#"{"type":"integer"}"#, "0515", Some(Value::Int(515))),
        (r#"{"type":"integer"}"#, " -5.0 ", Some(Value::Int(-5))),
        (r#"{"type":"integer"}"#, "", Some(Value::Null)),
        (r#"{"type":"integer"}"#, "NA", None),
        (r#"{"type":"integer"}"#, "99999999999999999999", None),
        (r#"{"type":"number"}"#, "99999999999999999999", None),
        (r#"{"type":"number"}"#, "1e3", Some(Value::Int(1000))),
        (r#"{"type":"number"}"#, ".5", Some(Value::Float(0.5))),
        (r#"{"type":"number"}"#, "inf", None),
        (r#"{"type":"number"}"#, "NaN", None),
        (r#"{"type":"boolean"}"#, "TRUE", Some(Value::Bool(true))),
        (r#"{"type":"boolean"}"#, "1", None),
        (r#"{"type":"string"}"#, "", Some("".into())),
        (r#"{"type":"string"}"#, " 5", Some(" 5".into())),
        (r#"{"type":["string","integer"]}"#, "5", Some("5".into())),
        (r#"{"type":["boolean","integer"]}"#, "5", Some(Value::Int(5))),
        (r#"{"type":"string","format":"date-time"}"#, "2013-01-01T05:00:00Z", Some(time())),
        (r#"{"type":"string","format":"date-time"}"#, "", Some(Value::Null)),
        (r#"{"type":"array"}"#, "[1, 2]", Some(vec![1, 2].into())),
        (r#"{"type":"integer","minimum":0}"#, "-1", None),
        ("{}", "5", Some("5".into())),
    ] {
        assert_eq!(schema(json).coerce_text(text).ok(), expected, "{json} {text}");
    }
    let error = schema(r#"{"type":"integer"}"#).coerce_text("NA").unwrap_err();
    assert_eq!(error.to_string(), "expected integer, found text \"NA\"");
}
