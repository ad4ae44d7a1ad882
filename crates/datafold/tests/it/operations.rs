//! The operation JSON of the first DataFold.

use datafold::FoldDb;
use datafold::engine::{FoldDbError, Operation, OperationAnswer};
use datafold::model::Value;

use crate::harness::{approve, check_sound, memory};

const PROFILE: &str = r#"{"name": "UserProfile", "fields": {
    "username": {"value": {"type": "string"}}, "email": {}, "age": {"value": {"type": "integer"}},
    "score": {"writable": false}}}"#;
const PLANE: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}}, "seats": {"value": {"type": "integer"}}}}"#;

fn db() -> FoldDb {
    let db = memory();
    approve(&db, PROFILE);
    approve(&db, PLANE);
    db
}

fn run(db: &FoldDb, operation: &str) -> Result<OperationAnswer, FoldDbError> {
    db.execute(&Operation::parse(operation)?)
}

/// The commit of a mutation of the profile.
fn mutate(db: &FoldDb, kind: &str, data: &str) -> Result<u64, FoldDbError> {
    let operation = format!(
        r#"{{"type": "mutation", "schema": "UserProfile", "mutation_type": "{kind}",
             "data": {data}}}"#
    );
    run(db, &operation).map(|answer| match answer {
        OperationAnswer::Written(receipt) => receipt.commit.0,
        OperationAnswer::Values(values) => panic!("{values:?} is no commit"),
    })
}

/// The values that a query answers, as JSON.
fn query(db: &FoldDb, rest: &str) -> Result<String, FoldDbError> {
    run(db, &format!(r#"{{"type": "query", {rest}}}"#)).map(|answer| match answer {
        OperationAnswer::Values(values) => Value::Array(values).to_json(),
        OperationAnswer::Written(receipt) => panic!("{receipt:?} is no value"),
    })
}

const ALL: &str = r#""schema": "UserProfile", "fields": ["age", "username", "email"]"#;

#[test]
fn answers_are_by_position_and_missing_values_are_null() {
    let db = db();
    assert_eq!(query(&db, ALL).unwrap(), "[null,null,null]");
    let commit = mutate(&db, "create", r#"{"username": "ann", "age": 30}"#).unwrap();
    assert_eq!(query(&db, ALL).unwrap(), r#"[30,"ann",null]"#);
    let twice = r#""schema": "UserProfile", "fields": ["age", "age"], "filter": null"#;
    assert_eq!(query(&db, twice).unwrap(), "[30,30]");
    assert_eq!(query(&db, r#""schema": "UserProfile", "fields": []"#).unwrap(), "[]");
    // A schema without key has one record, so create and update both merge.
    assert_eq!(mutate(&db, "CREATE", r#"{"email": "a@x"}"#).unwrap(), commit + 1);
    assert_eq!(mutate(&db, "update", r#"{"age": 31}"#).unwrap(), commit + 2);
    assert_eq!(query(&db, ALL).unwrap(), r#"[31,"ann","a@x"]"#);
    check_sound(&db);
}

#[test]
fn delete_takes_values_that_are_there() {
    let db = db();
    let commit = mutate(&db, "create", r#"{"username": "ann", "age": 30}"#).unwrap();
    let error = mutate(&db, "delete", r#"{"age": null, "email": null}"#).unwrap_err();
    assert_eq!(error.code(), "value_not_found");
    let text = "record [] of `UserProfile`: the field `email` has no value to delete";
    assert_eq!(error.to_string(), text);
    assert_eq!(query(&db, ALL).unwrap(), r#"[30,"ann",null]"#);
    // The values that are given do not matter.
    assert_eq!(mutate(&db, "delete", r#"{"age": "x"}"#).unwrap(), commit + 1);
    assert_eq!(query(&db, ALL).unwrap(), r#"[null,"ann",null]"#);
    assert_eq!(mutate(&db, "delete", r#"{"age": null}"#).unwrap_err().code(), "value_not_found");
    assert_eq!(mutate(&db, "delete", r#"{"agee": null}"#).unwrap_err().code(), "unknown_field");
    let error = mutate(&db, "delete", r#"{"score": null}"#).unwrap_err();
    assert_eq!(error.code(), "field_not_writable");
    assert_eq!(db.stats().unwrap().commit.0, commit + 1);
}

#[test]
fn records_with_keys_are_named_by_them() {
    let db = db();
    let mutate = |kind: &str, data: &str| {
        run(
            &db,
            &format!(
                r#"{{"type": "mutation", "schema": "Plane", "mutation_type": "{kind}",
                     "data": {data}}}"#
            ),
        )
    };
    let seats =
        |key: &str| query(&db, &format!(r#""schema": "Plane", "fields": ["seats"], "key": {key}"#));
    mutate("create", r#"{"tailnum": "N1", "seats": 5}"#).unwrap();
    assert_eq!(seats("\"N1\"").unwrap(), "[5]");
    assert_eq!(seats("[\"N1\"]").unwrap(), "[5]");
    let code = |kind, data| mutate(kind, data).unwrap_err().code();
    assert_eq!(code("create", r#"{"tailnum": "N1"}"#), "record_exists");
    assert_eq!(code("update", r#"{"tailnum": "N2", "seats": 1}"#), "record_not_found");
    assert_eq!(code("update", r#"{"seats": 1}"#), "invalid_key");
    assert_eq!(code("delete", r#"{"seats": 1}"#), "invalid_key");
    mutate("delete", r#"{"tailnum": "N1", "seats": null}"#).unwrap();
    assert_eq!(seats("\"N1\"").unwrap(), "[null]");
    // The key alone is the whole record.
    mutate("delete", r#"{"tailnum": "N1"}"#).unwrap();
    assert_eq!(seats("\"N1\"").unwrap_err().code(), "record_not_found");
    let error = query(&db, r#""schema": "Plane", "fields": ["seats"]"#).unwrap_err();
    let text = "key: is missing: the records of `Plane` have the key `tailnum`";
    assert_eq!(error.to_string(), text);
    check_sound(&db);
}

#[test]
fn what_cannot_be_done_says_where_and_why() {
    let db = db();
    let code = |answer: Result<String, FoldDbError>| answer.unwrap_err().code();
    assert_eq!(code(query(&db, r#""schema": "Nobody", "fields": []"#)), "schema_not_found");
    let unknown = query(&db, r#""schema": "UserProfile", "fields": ["emial"]"#).unwrap_err();
    assert!(unknown.to_string().contains("did you mean `email`?"), "{unknown}");
    for (filter, place) in [
        (r#"{"Key": "k"}"#, "filter"),
        (r#"{"field": "age", "range_filter": {"Key": "k"}}"#, "filter.field"),
        (r#"{"field": "score", "range_filter": {"Key": "k"}}"#, "filter.field"),
    ] {
        let error = query(&db, &format!("{ALL}, \"filter\": {filter}")).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{place}: ")), "{error}");
        assert_eq!(error.code(), "invalid_request");
    }
    let error = mutate(&db, "add_to_collection:7", r#"{"email": "x"}"#).unwrap_err();
    let text = "data.email: is a Single field; only Collection fields have elements with ids";
    assert_eq!(error.to_string(), text);
    assert_eq!(mutate(&db, "create", r#"{"age": "x"}"#).unwrap_err().code(), "invalid_value");
    assert_eq!(db.stats().unwrap().total_atoms, 0);
    let reason = Some("not yet");
    db.schemas().block_schema(&crate::harness::name("UserProfile"), reason).unwrap();
    assert_eq!(code(query(&db, ALL)), "schema_not_approved");
    assert_eq!(mutate(&db, "update", r#"{"age": 1}"#).unwrap_err().code(), "schema_not_approved");
}

const PRODUCT: &str = r#"{"name": "Product", "fields": {
    "name": {"value": {"type": "string"}}, "tags": {"field_type": "Collection"},
    "stock": {"field_type": "Range", "value": {"type": "integer", "minimum": 0}},
    "size": {"field_type": "Range"}}}"#;

/// A database with a product, and what carries out mutations of it.
fn product() -> (FoldDb, impl Fn(&FoldDb, &str, &str) -> Result<(), FoldDbError>) {
    let db = memory();
    approve(&db, PRODUCT);
    let mutate = |db: &FoldDb, kind: &str, data: &str| {
        let operation = format!(
            r#"{{"type": "mutation", "schema": "Product", "mutation_type": "{kind}",
                 "data": {data}}}"#
        );
        run(db, &operation).map(|_| ())
    };
    let stock = r#"{"name": "cog", "tags": ["a", "b"],
        "stock": {"eu:berlin": 12, "eu:london": 40, "us:boston": 3, "x": 12}}"#;
    mutate(&db, "create", stock).unwrap();
    (db, mutate)
}

fn fields(db: &FoldDb, fields: &str, filter: &str) -> Result<String, FoldDbError> {
    query(db, &format!(r#""schema": "Product", "fields": {fields}, "filter": {filter}"#))
}

#[test]
fn elements_are_answered_whole_or_by_the_six_filters() {
    let (db, _) = product();
    let all = fields(&db, r#"["tags", "name", "stock", "size"]"#, "null").unwrap();
    let stock = r#"{"eu:berlin":12,"eu:london":40,"us:boston":3,"x":12}"#;
    assert_eq!(all, format!(r#"[{{"0":"a","1":"b"}},"cog",{stock},{{}}]"#));
    for (filter, matches, count) in [
        (r#"{"Key": "x"}"#, r#""x":12"#, 1),
        (r#"{"Key": "y"}"#, "", 0),
        (r#"{"KeyPrefix": "eu:"}"#, r#""eu:berlin":12,"eu:london":40"#, 2),
        (r#"{"KeyPrefix": ""}"#, &stock[1..stock.len() - 1], 4),
        (r#"{"KeyRange": {"start": "eu:c", "end": "x"}}"#, r#""eu:london":40,"us:boston":3"#, 2),
        (r#"{"KeyRange": {"start": "x", "end": "a"}}"#, "", 0),
        (r#"{"Keys": ["x", "eu:berlin", "x", "y"]}"#, r#""eu:berlin":12,"x":12"#, 2),
        (r#"{"Keys": []}"#, "", 0),
        (r#"{"KeyPattern": "*:?o*"}"#, r#""eu:london":40,"us:boston":3"#, 2),
        (r#"{"KeyPattern": "?"}"#, r#""x":12"#, 1),
        (r#"{"Value": 12}"#, r#""eu:berlin":12,"x":12"#, 2),
        (r#"{"Value": "12"}"#, "", 0),
    ] {
        let expected = format!(r#"{{"matches":{{{matches}}},"total_count":{count}}}"#);
        let framed = format!(r#"{{"field": "stock", "range_filter": {filter}}}"#);
        let found = fields(&db, r#"["stock", "name"]"#, &framed).unwrap();
        assert_eq!(found, format!(r#"[{expected},"cog"]"#), "{filter}");
        // Without a field it is for every Range field of the query, and for no other.
        let found = fields(&db, r#"["tags", "stock", "size"]"#, filter).unwrap();
        let none = r#"{"matches":{},"total_count":0}"#;
        assert_eq!(found, format!(r#"[{{"0":"a","1":"b"}},{expected},{none}]"#), "{filter}");
    }
}

#[test]
fn collection_operations_name_an_element_that_is_absent_or_exists() {
    let (db, mutate) = product();
    let code = |kind: &str, data: &str| mutate(&db, kind, data).unwrap_err().code();
    mutate(&db, "add_to_collection:New:One", r#"{"tags": "c"}"#).unwrap();
    assert_eq!(code("add_to_collection:New:One", r#"{"tags": "d"}"#), "element_exists");
    mutate(&db, "update_to_collection:New:One", r#"{"tags": "e"}"#).unwrap();
    assert_eq!(code("update_to_collection:new:one", r#"{"tags": "d"}"#), "element_not_found");
    mutate(&db, "delete_from_collection:0", r#"{"tags": null}"#).unwrap();
    assert_eq!(code("delete_from_collection:0", r#"{"tags": null}"#), "element_not_found");
    assert_eq!(code("add_to_collection:7", r#"{"stock": 1}"#), "invalid_request");
    assert_eq!(code("add_to_collection:7", r#"{"tags": null}"#), "invalid_request");
    // All or nothing: the second field is no Collection.
    assert_eq!(code("add_to_collection:7", r#"{"tags": 1, "name": "x"}"#), "invalid_request");
    let tags = fields(&db, r#"["tags"]"#, "null").unwrap();
    assert_eq!(tags, r#"[{"1":"b","New:One":"e"}]"#);
    check_sound(&db);
}

#[test]
fn range_fields_are_merged_and_their_keys_deleted() {
    let (db, mutate) = product();
    let stock = || fields(&db, r#"["stock"]"#, "null").unwrap();
    let code = |kind: &str, data: &str| mutate(&db, kind, data).unwrap_err().code();
    mutate(&db, "update", r#"{"stock": {"x": 1, "y": 2}}"#).unwrap();
    assert_eq!(stock(), r#"[{"eu:berlin":12,"eu:london":40,"us:boston":3,"x":1,"y":2}]"#);
    mutate(&db, "delete", r#"{"stock": ["x", "y"], "name": null}"#).unwrap();
    let before = r#"[{"eu:berlin":12,"eu:london":40,"us:boston":3}]"#;
    assert_eq!(stock(), before);
    for (kind, data, expected) in [
        ("delete", r#"{"stock": ["us:boston", "x"]}"#, "element_not_found"),
        ("delete", r#"{"stock": ["us:boston"], "name": null}"#, "value_not_found"),
        ("delete", r#"{"stock": "us:boston"}"#, "invalid_request"),
        ("delete", r#"{"stock": [1]}"#, "invalid_request"),
        ("delete", r#"{"stock": []}"#, "value_not_found"),
        ("delete", r#"{"tags": null}"#, "invalid_request"),
        ("update", r#"{"stock": {"a": 1, "b": -1}}"#, "invalid_value"),
    ] {
        assert_eq!(code(kind, data), expected, "{data}");
        assert_eq!(stock(), before, "{data}");
    }
    mutate(&db, "delete", r#"{"stock": null}"#).unwrap();
    assert_eq!(stock(), "[{}]");
    assert_eq!(code("delete", r#"{"stock": null}"#), "value_not_found");
    check_sound(&db);
}
