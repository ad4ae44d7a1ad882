use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::value::tests::value as any_value;
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
    (
        r#"{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}"#,
        &[r#"{"a":1}"#],
        &[r#"{"b":1}"#],
    ),
    (r#"{"prefixItems":[true],"unevaluatedItems":{"type":"string"}}"#, &["[1,\"a\"]"], &["[1,2]"]),
    (
        r##"{"$defs":{"a":{"properties":{"a":true}}},"$ref":"#/$defs/a",
            "unevaluatedProperties":false}"##,
        &[r#"{"a":1}"#],
        &[r#"{"b":1}"#],
    ),
    (r#"{"const":9007199254740993}"#, &["9007199254740993"], &["9007199254740992"]),
    (r#"{"multipleOf":3,"minItems":0}"#, &["9007199254740993"], &["9007199254740992"]),
    (r#"{"uniqueItems":true}"#, &["[9007199254740992,9007199254740993]"], &["[1,1]"]),
    (r#"{"contentMediaType":"application/json","contentSchema":false}"#, &["\"{\""], &[]),
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
        (r#"{"not":{"$id":"x"}}"#, "value_schema_unsupported", "/not/$id"),
        (r#"{"$vocabulary":{}}"#, "value_schema_unsupported", "/$vocabulary"),
        (r#"{"dependencies":{}}"#, "value_schema_unsupported", "/dependencies"),
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

/// A schema of `levels` definitions, each of which refers twice to the next one.
fn doubling(applicator: &str, levels: usize) -> String {
    let level = |i: usize| {
        let next = format!(r##"{{"$ref":"#/$defs/a{}"}}"##, i + 1);
        format!(r#""a{i}":{{"{applicator}":[{next},{next}]}},"#)
    };
    let levels_text: String = (0..levels).map(level).collect();
    format!(
        r##"{{"$defs":{{{levels_text}"a{levels}":{{"type":"integer"}}}},"$ref":"#/$defs/a0"}}"##
    )
}

#[test]
fn references_without_end_are_refused() {
    for json in [
        r##"{"$ref":"#"}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"$anchor":"a","anyOf":[true,{"$ref":"#a"}]}"##,
        r##"{"$dynamicAnchor":"a","anyOf":[true,{"$dynamicRef":"#a"}]}"##,
        r##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}},
            "anyOf":[{"$ref":"#/$defs/a"},true]}"##,
    ] {
        assert_eq!(invalid(json).rule, ValueSchemaRule::Endless, "{json}");
        // An earlier version has accepted it. Then it must still end.
        let _ = ValueSchema::trusted(Value::parse_json(json).unwrap()).accept(1.into());
    }
    let long = doubling("allOf", 32);
    assert_eq!(invalid(&long).rule, ValueSchemaRule::TooDeep { limit: 64 });
    let many = format!(r#"{{"anyOf":[{}true]}}"#, "true,".repeat(1000));
    assert_eq!(invalid(&many).rule, ValueSchemaRule::TooLarge { limit: 1_000 });
}

#[test]
fn what_takes_exponential_time_is_cut_short() {
    let all = schema(&doubling("allOf", 25));
    assert_eq!(all.accept(1.into()), Err(ValueError::TooManySteps));
    let error = all.accept("x".into()).unwrap_err().to_string();
    assert_eq!(error, "expected integer, found text \"x\"");
    let any = schema(&doubling("anyOf", 25));
    assert_eq!(any.accept(1.into()), Ok(1.into()));
    assert_eq!(any.accept("x".into()), Err(ValueError::TooManySteps));
    // Each level of the value could be checked in two ways.
    let tree = schema(
        r##"{"anyOf":[{"type":"integer"},{"type":"array","items":{"$ref":"#"}},
            {"type":"array","minItems":1,"items":{"$ref":"#"}}]}"##,
    );
    let nested = |inner: &str| json(&format!("{}{inner}{}", "[".repeat(60), "]".repeat(60)));
    assert_eq!(tree.accept(nested("1")), Ok(nested("1")));
    let error = tree.accept(nested("\"x\"")).unwrap_err().to_string();
    assert_eq!(error, "expected a value that the schema accepts (`$ref`), found array of 1 items");
    // A regular expression on which backtracking would not come to an end.
    let pattern = schema(r#"{"pattern":"^(a+)+$"}"#);
    assert!(pattern.accept(format!("{}b", "a".repeat(50_000)).into()).is_err());
    for pattern in ["(?=a)b", "(a)\\\\1", "(((a{1,100}){1,100}){1,100}){1,100}", "("] {
        let json = format!(r#"{{"items":{{"pattern":"{pattern}"}}}}"#);
        let error = invalid(&json);
        assert_eq!(
            (error.code(), error.path.as_str()),
            ("value_schema_pattern", "/items/pattern"),
            "{json}"
        );
    }
}

#[test]
fn deep_values_and_schemas_fit_on_the_stack_of_a_thread() {
    // A chain of references for every level of the value.
    let deep = |levels: usize| {
        let level = |i: usize| format!(r##""a{i}":{{"$ref":"#/$defs/a{}"}},"##, i + 1);
        let chain: String = (0..levels).map(level).collect();
        let last = format!(r##""a{levels}":{{"items":{{"$ref":"#"}}}}"##);
        schema(&format!(r##"{{"$defs":{{{chain}{last}}},"$ref":"#/$defs/a0"}}"##))
    };
    let value = json(&format!("{}{}", "[".repeat(64), "]".repeat(64)));
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            assert_eq!(deep(5).accept(value.clone()), Ok(value.clone()));
            assert_eq!(deep(60).accept(value), Err(ValueError::TooManySteps));
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn references_lead_to_places_of_the_schema() {
    for (schema_json, accepted, refused) in [
        (r##"{"$defs":{"a b":{"type":"integer"}},"$ref":"#/$defs/a%20b"}"##, "1", "true"),
        (r##"{"$defs":{"x":{"$anchor":"n","type":"integer"}},"$ref":"#n"}"##, "1", "true"),
        (r##"{"definitions":{"x":{"type":"integer"}},"$ref":"#/definitions/x"}"##, "1", "true"),
        (
            r##"{"properties":{"a":{"$defs":{"b":{"type":"integer"}},
                "$ref":"#/properties/a/$defs/b"}}}"##,
            r#"{"a":1}"#,
            r#"{"a":true}"#,
        ),
        (
            r##"{"$id":"https://a/b","$dynamicAnchor":"n","type":"object",
                "properties":{"c":{"$dynamicRef":"#n"}}}"##,
            r#"{"c":{}}"#,
            r#"{"c":1}"#,
        ),
    ] {
        assert!(schema(schema_json).accept(json(accepted)).is_ok(), "{schema_json}");
        assert!(schema(schema_json).accept(json(refused)).is_err(), "{schema_json}");
    }
    for (json, code) in [
        (r##"{"$ref":"#/title","title":"a"}"##, "value_schema_unknown_reference"),
        (r##"{"$ref":"#/enum/0","enum":[{}]}"##, "value_schema_unknown_reference"),
        (r##"{"$ref":"#x"}"##, "value_schema_unknown_reference"),
        (r#"{"$ref":"other.json"}"#, "value_schema_remote_reference"),
        (r#"{"$ref":"file:///etc/passwd"}"#, "value_schema_remote_reference"),
        (r#"{"items":{"$dynamicRef":"http://127.0.0.1/"}}"#, "value_schema_remote_reference"),
        (r#"{"$ref":1}"#, "value_schema_wrong"),
    ] {
        assert_eq!(invalid(json).code(), code, "{json}");
    }
}

/// What the simple check and the library say of the same schema and value.
fn both(json: Value, value: &Value) -> [Result<Value, ValueError>; 2] {
    let native = Rules::Native(Native::of_schema(&json).unwrap());
    let library = Rules::Library(OnceLock::new());
    [native, library]
        .map(|rules| ValueSchema::with_rules(json.clone(), rules).accept(value.clone()))
}

fn simple_schema() -> impl Strategy<Value = Value> {
    let types = prop::sample::subsequence(
        vec!["null", "boolean", "integer", "number", "string", "array", "object"],
        0..4,
    );
    let number = prop_oneof![
        (-3_i64..3).prop_map(Value::Int),
        (0..3_i64).prop_map(|n| Value::Int(i64::MAX - n)),
        prop::sample::select(vec![0.5, -1.5, 9_007_199_254_740_992.5, 1e18, 1e300])
            .prop_map(|n| Value::number(n).unwrap()),
    ];
    let bound =
        prop::sample::select(vec!["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]);
    let bounds = prop::collection::vec((bound, number), 0..3);
    let allowed = prop::option::of(prop::collection::vec(scalar(), 0..4));
    (types, any::<bool>(), bounds, allowed).prop_map(|(types, is_time, bounds, allowed)| {
        let mut members: BTreeMap<String, Value> = BTreeMap::new();
        match types.as_slice() {
            [] => {}
            [only] => drop(members.insert("type".into(), (*only).into())),
            _ => drop(members.insert("type".into(), types.into())),
        }
        if is_time {
            members.insert("format".into(), "date-time".into());
        }
        members.extend(bounds.into_iter().map(|(keyword, limit)| (keyword.to_owned(), limit)));
        members.extend(allowed.map(|allowed| ("enum".to_owned(), Value::Array(allowed))));
        members.into()
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    let texts = vec!["a", "", "2013-01-01T05:15:00Z", "2013-01-01T06:15:00+01:00", "5"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3_i64..3).prop_map(Value::Int),
        (0..3_i64).prop_map(|n| Value::Int(i64::MAX - n)),
        prop::sample::select(vec![0.5, 1.5, 9_007_199_254_740_992.0, 1e18, -1e300])
            .prop_map(|n| Value::number(n).unwrap()),
        prop::sample::select(texts).prop_map(Value::from),
    ]
}

/// Keywords with values that may be right, and some that are not.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        simple_schema(),
        Just(Value::Bool(false)),
        prop::sample::select(vec!["#", "#/$defs/a", "#a", "x"])
            .prop_map(|to| Value::from_iter([("$ref".to_owned(), to.into())])),
        any_value(),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let one = ["not", "items", "contains", "additionalProperties", "if", "then", "else"];
        let more = ["propertyNames", "unevaluatedItems", "unevaluatedProperties"];
        let one = prop::sample::select([&one[..], &more].concat());
        let many = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let named = prop::sample::select(vec!["properties", "$defs", "patternProperties"]);
        let list = prop::collection::vec(inner.clone(), 1..3).prop_map(Value::Array);
        let object = |inner| Value::from_iter([("a".to_owned(), inner)]);
        let member = prop_oneof![
            (one, inner.clone()).prop_map(|(keyword, schema)| (keyword.to_owned(), schema)),
            (many, list).prop_map(|(keyword, schemas)| (keyword.to_owned(), schemas)),
            (named, inner.prop_map(object)).prop_map(|(keyword, map)| (keyword.to_owned(), map)),
        ];
        prop::collection::vec(member, 1..4).prop_map(|members| members.into_iter().collect())
    })
}

proptest! {
    #[test]
    fn no_schema_makes_it_panic(json in any_schema(), value in any_value()) {
        if let Ok((schema, _)) = ValueSchema::checked(json.clone()) {
            let first = schema.accept(value.clone());
            prop_assert_eq!(&first, &ValueSchema::trusted(json).accept(value));
            // What was accepted is accepted as it is stored.
            if let Ok(stored) = first {
                prop_assert_eq!(schema.accept(stored.clone()), Ok(stored));
            }
        }
    }

    #[test]
    fn the_simple_check_and_the_library_agree(json in simple_schema(), value in scalar()) {
        prop_assume!(ValueSchema::checked(json.clone()).is_ok());
        let [native, library] = both(json, &value);
        // Of two broken rules they may name another one.
        prop_assert_eq!(native.map_err(drop), library.map_err(drop));
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
