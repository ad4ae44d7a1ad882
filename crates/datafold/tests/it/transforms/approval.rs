//! What is said of transforms that could not run, and that nothing is approved then.

use datafold::data_layer::{DataLayerError, TransformProblem};
use datafold::engine::FoldDbError;
use datafold::model::SchemaState;

use super::schema;
use crate::harness::{all, approve, memory, mutate, name};

/// What approval says of a schema, which it must refuse.
fn problems(text: &str) -> Vec<TransformProblem> {
    let db = memory();
    let name = db.schemas().load_text(text, None).unwrap().name;
    let before = db.stats().unwrap().commit;
    let error = db.schemas().approve_schema(&name).unwrap_err();
    assert_eq!(error.code(), "invalid_transform");
    assert_eq!(db.stats().unwrap().commit, before, "nothing is written");
    assert_eq!(db.pool().schemas().get_state(&name).unwrap(), Some(SchemaState::Available));
    assert_eq!(db.schemas().transforms(&name).unwrap(), []);
    match error {
        FoldDbError::DataLayer(DataLayerError::Transforms { problems, .. }) => problems,
        other => panic!("{other}"),
    }
}

fn one(text: &str) -> String {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn every_wrong_transform_is_told_with_place_and_caret() {
    let found = problems(&schema(&[("x", "a +"), ("y", "a + b"), ("z", "let q = 1;\n  aa + q")]));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("the transform of `x`: line 1, column 4: expected"), "{texts:?}");
    let expected = "the transform of `z`: line 2, column 3: there is no name `aa`";
    assert!(texts[1].starts_with(expected), "{texts:?}");
    let rendered = found[1].diagnostics[0].render();
    assert!(rendered.contains("2 |   aa + q\n  |   ^^"), "{rendered}");
    assert_eq!(found[1].code(), "unknown_name");
}

#[test]
fn types_come_from_the_fields() {
    assert!(one(&schema(&[("x", r#"a + "t""#)])).contains("line 1, column"));
    let typed =
        schema(&[("x", "a > 1")]).replace(r#""x": {"#, r#""x": {"value": {"type": "integer"}, "#);
    let expected = "the transform of `x`: its result is bool, but the field takes integer";
    assert_eq!(one(&typed), expected);
    // The result of this one may fit.
    approve(&memory(), &typed.replace("a > 1", "a / 2"));
}

#[test]
fn the_list_of_inputs_is_complete() {
    let with = |inputs: &str| {
        schema(&[("x", "a + S.b")])
            .replace(r#""logic""#, &format!(r#""inputs": {inputs}, "logic""#))
    };
    let expected = "the transform of `x`: line 1, column 7: `b` is not among the inputs; \
                    add \"S.b\" to `inputs`, or leave `inputs` out";
    assert_eq!(one(&with(r#"["S.a"]"#)), expected);
    let expected = "the transform of `x`: its input `Other.b` is not a field of `S`";
    assert_eq!(one(&with(r#"["S.a", "S.b", "Other.b"]"#)), expected);
    approve(&memory(), &with(r#"["S.b", "S.a", "S.c"]"#));
}

#[test]
fn circles_are_refused_with_their_fields() {
    let expected = "the transform of `x`: line 1, column 1: `x` would be computed from itself";
    assert_eq!(one(&schema(&[("x", "x + 1")])), expected);
    let found = one(&schema(&[("x", "y + 1"), ("y", "z"), ("z", "a + x"), ("w", "x")]));
    assert!(found.contains("it is computed from itself, by way of"), "{found}");
    for name in ["`S.x`", "`S.y`", "`S.z`"] {
        assert!(found.contains(name), "{found}");
    }
    assert!(!found.contains("`S.w`"), "it only reads the circle: {found}");
}

#[test]
fn there_is_one_writer_for_each_field() {
    let db = memory();
    approve(&db, &schema(&[]));
    let both = r#"{"name": "V", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "x": {"field_mappers": {"S": "a"}, "transform": {"logic": "1"}}}}"#;
    db.schemas().load_text(both, None).unwrap();
    let error = db.schemas().approve_schema(&name("V")).unwrap_err();
    assert!(error.to_string().contains("its data would have two writers"), "{error}");
    let foreign = schema(&[("x", "a")]).replace(r#""logic""#, r#""output": "T.y", "logic""#);
    let expected = "the transform of `x`: its output `T.y`: there is no schema `T`";
    assert_eq!(one(&foreign), expected);
    let own = schema(&[("x", "a")]).replace(r#""logic""#, r#""output": "S.x", "logic""#);
    approve(&memory(), &own);
}

#[test]
fn what_this_version_does_not_compute_is_refused() {
    let range = schema(&[("x", "1")]).replace(r#""x": {"#, r#""x": {"field_type": "Collection", "#);
    assert!(one(&range).contains("it is a Collection field"));
    assert!(one(&schema(&[("x", "now()")])).contains("line 1, column 1"));
    let unique = schema(&[("x", "a")]).replacen(
        "\"key\"",
        r#""indexes": [{"fields": ["x"], "unique": true}], "key""#,
        1,
    );
    let db = memory();
    let name = db.schemas().load_text(&unique, None).unwrap().name;
    let error = db.schemas().approve_schema(&name).unwrap_err();
    assert!(error.to_string().contains("is unique and on `x`, which is computed"), "{error}");
}

#[test]
fn underscores_keywords_and_comments_are_what_they_are() {
    let db = memory();
    let text = r#"{"name": "S", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "session_end": {"value": {"type": "integer"}}, "nullable": {}, "null_count": {},
        "returns": {"transform": {"logic":
            "/* a_b */ let letx = session_end; // o.n 0.5\nreturn letx + null_count"}},
        "trueish": {"transform": {"logic": "nullable == true ? \"S.id\" : \"no\" // end"}}}}"#;
    approve(&db, text);
    let found = db.schemas().transforms(&name("S")).unwrap();
    assert_eq!(found[0].inputs, ["S.session_end", "S.null_count"]);
    assert_eq!(found[1].inputs, ["S.nullable"]);
    let create = r#"{"mutation": "create", "schema": "S", "records":
        [{"id": 1, "session_end": 4, "null_count": 2, "nullable": true}]}"#;
    mutate(&db, create).unwrap();
    assert_eq!(all(&db, "S"), "[1,4,true,2,6,\"S.id\"]\n");
}

#[test]
fn approved_transforms_stand_in_the_repository_and_are_changed_nowhere_else() {
    use datafold::data_layer::{ReadRepository, Repository};
    use datafold::model::TransformDefinition;

    let db = memory();
    approve(&db, &schema(&[("x", "a"), ("y", "x")]));
    let transforms = db.pool().transforms();
    assert_eq!(transforms.list().unwrap(), ["S.x", "S.y"]);
    assert_eq!(db.stats().unwrap().total_transforms, 2);
    let key = "S.x".to_owned();
    let error = transforms.store(&key, &TransformDefinition::new("b")).unwrap_err();
    assert!(error.to_string().starts_with("transform `S.x` is the one of schema `S`"), "{error}");
    assert_eq!(transforms.delete(&key).unwrap_err().code(), "refused");
    // A schema without data goes with its transforms, and may come again.
    db.schemas().delete(&name("S")).unwrap();
    assert_eq!(transforms.count().unwrap(), 0);
    approve(&db, &schema(&[("x", "b")]));
    assert_eq!(db.schemas().transforms(&name("S")).unwrap()[0].inputs, ["S.b"]);
}
