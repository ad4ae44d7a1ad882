//! Fields that show the data of another schema's.

use datafold::FoldDb;
use datafold::data_layer::{AtomStatus, CellName, CommitNumber, Moment, ReadRepository};
use datafold::model::Value;

use crate::harness::{
    Place, all, approve, check_sound, clock, describe, fold_db, memory, mutate, name, query,
};
use crate::stage::code;

const PROFILE: &str = r#"{"name": "UserProfile", "fields": {
    "username": {"value": {"type": "string"}},
    "email": {},
    "age": {"value": {"type": "integer"}}}}"#;
const CUSTOMER: &str = r#"{"name": "Customer", "fields": {
    "login": {"field_mappers": {"UserProfile": "username"}},
    "tier": {"default": "basic"}}}"#;

const PLANE: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "seats": {"value": {"type": "integer"}, "default": 2},
    "maker": {}}}"#;
const CABIN: &str = r#"{"name": "Cabin", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "notes": {"default": "none"},
    "places": {"field_mappers": {"Plane": "seats"}}}}"#;

fn load(db: &FoldDb, schema: &str) {
    db.schemas().load_text(schema, None).unwrap();
}

fn refusal(db: &FoldDb, schema: &str) -> String {
    let parsed = db.schemas().load_text(schema, None).unwrap();
    let error = db.schemas().approve_schema(&parsed.name).unwrap_err();
    assert_eq!(error.code(), "refused");
    describe(&error)
}

#[test]
fn a_mapped_field_reads_and_writes_the_data_of_its_source() {
    let mut place = Place::sim(1);
    let db = fold_db(place.open(), clock());
    approve(&db, PROFILE);
    approve(&db, CUSTOMER);
    mutate(
        &db,
        r#"{"mutation": "update", "schema": "UserProfile",
            "records": [{"username": "ada", "age": 36}]}"#,
    )
    .unwrap();
    assert_eq!(all(&db, "Customer"), "[\"ada\",null]\n");
    mutate(
        &db,
        r#"{"mutation": "update", "schema": "Customer",
            "records": [{"login": "lovelace", "tier": "gold"}]}"#,
    )
    .unwrap();
    assert_eq!(all(&db, "UserProfile"), "[\"lovelace\",null,36]\n");
    assert_eq!(all(&db, "Customer"), "[\"lovelace\",\"gold\"]\n");
    // Only what is selected, in whatever order, and as it was.
    let answer = query(&db, r#"{"schema": "Customer", "select": ["tier", "login"], "as_of": "5"}"#);
    assert_eq!(
        serde_json::to_string(&answer.unwrap().records).unwrap(),
        r#"[{"tier":null,"login":"ada"}]"#
    );
    drop(db);
    let db = fold_db(place.open(), clock());
    assert_eq!(all(&db, "Customer"), "[\"lovelace\",\"gold\"]\n");
    check_sound(&db);
}

#[test]
fn the_source_may_be_available_or_blocked_and_be_approved_later() {
    let db = memory();
    load(&db, PROFILE);
    approve(&db, CUSTOMER);
    mutate(&db, r#"{"mutation": "update", "schema": "Customer", "records": [{"login": "ada"}]}"#)
        .unwrap();
    assert_eq!(code(query(&db, r#"{"schema": "UserProfile"}"#)), "schema_not_approved");
    db.schemas().approve_schema(&name("UserProfile")).unwrap();
    assert_eq!(all(&db, "UserProfile"), "[\"ada\",null,null]\n");
    db.schemas().block_schema(&name("UserProfile"), None).unwrap();
    mutate(&db, r#"{"mutation": "update", "schema": "Customer", "records": [{"login": "eve"}]}"#)
        .unwrap();
    db.schemas().unload_schema(&name("UserProfile")).unwrap();
    assert_eq!(all(&db, "Customer"), "[\"eve\",null]\n");
    db.schemas().block_schema(&name("Customer"), None).unwrap();
    db.schemas().approve_schema(&name("Customer")).unwrap();
    db.schemas().approve_schema(&name("UserProfile")).unwrap();
    assert_eq!(all(&db, "UserProfile"), "[\"eve\",null,null]\n");
    assert_eq!(code(db.schemas().delete(&name("UserProfile"))), "refused");
    check_sound(&db);
}

#[test]
fn what_the_source_accepts_holds_for_the_mapped_field_too() {
    let db = memory();
    load(&db, &PROFILE.replace(r#""email": {}"#, r#""email": {"writable": false}"#));
    approve(
        &db,
        r#"{"name": "View", "fields": {"login": {"field_mappers": {"UserProfile": "username"}},
            "mail": {"field_mappers": {"UserProfile": "email"}},
            "years": {"field_mappers": {"UserProfile": "age"}, "value": {"type": "integer"}}}}"#,
    );
    let write = |record: &str| {
        let request =
            format!(r#"{{"mutation": "update", "schema": "View", "records": [{record}]}}"#);
        mutate(&db, &request)
    };
    let error = write(r#"{"login": 5}"#).unwrap_err();
    assert_eq!(error.code(), "invalid_value");
    let error = describe(&error);
    assert!(error.contains("View.login") && error.contains("expected text"), "{error}");
    assert_eq!(code(write(r#"{"mail": "a@b"}"#)), "field_not_writable");
    write(r#"{"years": 36}"#).unwrap();
    assert_eq!(all(&db, "View"), "[null,null,36]\n");
}

#[test]
fn a_chain_resolves_to_its_root_in_whatever_order_it_is_approved() {
    let middle = r#"{"name": "Middle", "fields": {
        "m": {"field_mappers": {"UserProfile": "username"}}, "own": {}}}"#;
    let top = r#"{"name": "Top", "fields": {
        "t": {"field_mappers": {"Middle": "m"}}, "o": {"field_mappers": {"Middle": "own"}}}}"#;
    for order in [["Top", "Middle", "UserProfile"], ["UserProfile", "Middle", "Top"]] {
        let db = memory();
        for schema in [top, middle, PROFILE] {
            load(&db, schema);
        }
        for schema in order {
            db.schemas().approve_schema(&name(schema)).unwrap();
        }
        mutate(
            &db,
            r#"{"mutation": "upsert", "schema": "Top", "records": [{"t": "ada", "o": 1}]}"#,
        )
        .unwrap();
        assert_eq!(all(&db, "UserProfile"), "[\"ada\",null,null]\n");
        assert_eq!(all(&db, "Middle"), "[\"ada\",1]\n");
        check_sound(&db);
    }
}

#[test]
fn a_schema_may_map_from_several_that_have_no_key() {
    let db = memory();
    let other = r#"{"name": "Other", "fields": {"x": {"default": 7}, "y": {}}}"#;
    for schema in [PROFILE, other] {
        load(&db, schema);
    }
    let view = r#"{"name": "View", "fields": {
        "login": {"field_mappers": {"UserProfile": "username"}},
        "own": {}, "y": {"field_mappers": {"Other": "y"}}}}"#;
    approve(&db, view);
    let write = |text: &str| mutate(&db, text).unwrap();
    let commit = write(
        r#"{"mutation": "create", "schema": "View",
            "records": [{"login": "ada", "own": 1, "y": [2]}]}"#,
    );
    assert_eq!(all(&db, "View"), "[\"ada\",1,[2]]\n");
    db.schemas().approve_schema(&name("Other")).unwrap();
    assert_eq!(all(&db, "Other"), "[7,[2]]\n", "the source's own default");
    // Deleting through the view deletes what it shows, and leaves the rest.
    write(r#"{"mutation": "delete", "schema": "View", "keys": [[]]}"#);
    assert_eq!(all(&db, "View"), "[null,null,null]\n");
    assert_eq!(all(&db, "Other"), "[7,null]\n");
    let at = Moment::Commit(commit.commit);
    let record = db.get_as_of(&name("View"), &[], at).unwrap().unwrap();
    assert_eq!(record.values[0], Value::from("ada"));
    // The versions of all fields, from three records, the newest first.
    let atoms = db.history(&name("View"), &[], None, None, 100).unwrap();
    let fields: Vec<_> = atoms
        .iter()
        .map(|atom| (atom.commit.0, atom.cell.field.as_ref().map(ToString::to_string)))
        .collect();
    assert_eq!(fields.len(), 6, "{fields:?}");
    assert!(fields.is_sorted_by_key(|(commit, _)| std::cmp::Reverse(*commit)), "{fields:?}");
    check_sound(&db);
}

#[test]
fn a_precondition_of_a_view_covers_what_it_shows() {
    let db = memory();
    approve(&db, PROFILE);
    approve(&db, CUSTOMER);
    let head = db.pool().operations().head().0;
    let write = |since: CommitNumber| {
        let request = format!(
            r#"{{"transaction": [{{"mutation": "update", "schema": "Customer",
                "records": [{{"tier": "x"}}]}}],
                "if": [{{"schema": "Customer", "key": [], "unchanged_since": {since}}}]}}"#
        );
        mutate(&db, &request)
    };
    let update = |field: &str| {
        let request = format!(
            r#"{{"mutation": "update", "schema": "UserProfile", "records": [{{{field}}}]}}"#
        );
        mutate(&db, &request).unwrap()
    };
    update(r#""email": "not shown""#);
    let head = write(head).unwrap().commit;
    update(r#""username": "shown""#);
    assert_eq!(code(write(head)), "precondition_failed");
}

#[test]
fn a_keyed_schema_shows_the_records_of_its_source() {
    let mut place = Place::sim(2);
    let db = fold_db(place.open(), clock());
    load(&db, PLANE);
    approve(&db, CABIN);
    db.schemas().approve_schema(&name("Plane")).unwrap();
    let write = |text: &str| mutate(&db, text);
    write(
        r#"{"mutation": "create", "schema": "Plane",
            "records": [{"tailnum": "N1", "seats": 150, "maker": "A"}]}"#,
    )
    .unwrap();
    assert_eq!(all(&db, "Cabin"), "[\"N1\",null,150]\n");
    // A record made through the view is a record of the source, with the defaults of both.
    write(r#"{"mutation": "create", "schema": "Cabin", "records": [{"tailnum": "N2"}]}"#).unwrap();
    assert_eq!(all(&db, "Plane"), "[\"N1\",150,\"A\"]\n[\"N2\",2,null]\n");
    assert_eq!(all(&db, "Cabin"), "[\"N1\",null,150]\n[\"N2\",\"none\",2]\n");
    let again = r#"{"mutation": "create", "schema": "Plane", "records": [{"tailnum": "N2"}]}"#;
    assert_eq!(code(write(again)), "record_exists");
    write(
        r#"{"mutation": "update", "schema": "Cabin",
            "records": [{"tailnum": "N1", "places": 160, "notes": "wide"}]}"#,
    )
    .unwrap();
    assert_eq!(all(&db, "Plane"), "[\"N1\",160,\"A\"]\n[\"N2\",2,null]\n");
    // One life: the view's own fields end with the record, and a new one begins without them.
    let before = db.pool().operations().head().0;
    write(r#"{"mutation": "delete", "schema": "Plane", "keys": [["N1"]]}"#).unwrap();
    assert_eq!(all(&db, "Cabin"), "[\"N2\",\"none\",2]\n");
    write(r#"{"mutation": "create", "schema": "Plane", "records": [{"tailnum": "N1"}]}"#).unwrap();
    let key = [Value::from("N1")];
    let now = db.get(&name("Cabin"), &key).unwrap().unwrap();
    assert_eq!(now.values, [Value::from("N1"), Value::Null, Value::Int(2)]);
    let then = db.get_as_of(&name("Cabin"), &key, Moment::Commit(before)).unwrap().unwrap();
    assert_eq!(then.values, [Value::from("N1"), Value::from("wide"), Value::Int(160)]);
    // The versions of a view's own field, by name and by id.
    let notes = datafold::model::FieldName::parse("notes").unwrap();
    let atoms = db.history(&name("Cabin"), &key, Some(&notes), None, 10).unwrap();
    let values: Vec<_> = atoms.iter().map(|atom| (atom.status, atom.value.clone())).collect();
    assert_eq!(
        values,
        [(AtomStatus::Deleted, Value::Null), (AtomStatus::Active, Value::from("wide"))]
    );
    let found = db.pool().atoms().get(&atoms[1].id).unwrap().unwrap();
    assert_eq!(found.cell, atoms[1].cell);
    let cell = CellName {
        schema: name("Cabin"),
        key: atoms[1].cell.key.clone(),
        field: Some(notes),
        element: None,
    };
    assert!(db.pool().atoms().current(&cell).unwrap().is_none());
    let status = db.schemas().get_status();
    assert_eq!((status[0].records, status[1].records), (2, 2));
    assert_eq!(db.pool().stats().unwrap().total_records, 2);
    check_sound(&db);
    drop(db);
    let db = fold_db(place.open(), clock());
    assert_eq!(all(&db, "Cabin"), "[\"N1\",null,2]\n[\"N2\",\"none\",2]\n");
    check_sound(&db);
}

#[test]
fn views_of_one_source_keep_their_own_fields_apart() {
    let db = memory();
    load(&db, PLANE);
    approve(&db, CABIN);
    approve(&db, &CABIN.replace("Cabin", "Galley"));
    // A view of a view that was never approved.
    load(&db, &CABIN.replace("Cabin", "Deck"));
    approve(
        &db,
        r#"{"name": "Top", "key": ["tailnum"], "fields": {
            "tailnum": {"value": {"type": "string"}},
            "remark": {"field_mappers": {"Deck": "notes"}}, "own": {}}}"#,
    );
    db.schemas().approve_schema(&name("Deck")).unwrap();
    for (at, schema) in ["Cabin", "Galley", "Deck"].into_iter().enumerate() {
        let request = format!(
            r#"{{"mutation": "upsert", "schema": "{schema}",
                "records": [{{"tailnum": "N1", "notes": {at}}}]}}"#
        );
        mutate(&db, &request).unwrap();
    }
    mutate(
        &db,
        r#"{"mutation": "update", "schema": "Top", "records": [{"tailnum": "N1", "own": "o"}]}"#,
    )
    .unwrap();
    assert_eq!(all(&db, "Cabin"), "[\"N1\",0,2]\n");
    assert_eq!(all(&db, "Galley"), "[\"N1\",1,2]\n");
    assert_eq!(all(&db, "Deck"), "[\"N1\",2,2]\n");
    assert_eq!(all(&db, "Top"), "[\"N1\",2,\"o\"]\n");
    check_sound(&db);
}

#[test]
fn a_transaction_sees_what_it_wrote_through_another_schema() {
    let db = memory();
    approve(&db, PROFILE);
    approve(&db, CUSTOMER);
    let seen = db
        .transact(|tx| {
            let request = r#"{"mutation": "update", "schema": "UserProfile",
                "records": [{"username": "ada"}]}"#;
            let request = datafold::engine::MutationRequest::parse(request)?;
            for mutation in request.mutations {
                tx.mutate(mutation)?;
            }
            tx.get(&name("Customer"), &[])
        })
        .unwrap();
    assert_eq!(seen.0.unwrap().values[0], Value::from("ada"));
}

#[test]
fn what_cannot_be_mapped_is_refused_with_the_field_and_the_rule() {
    let db = memory();
    load(&db, PROFILE);
    load(&db, PLANE);
    load(&db, &PLANE.replace("Plane", "Ship"));
    // `f: A.x` for a field that maps.
    let field = |text: &str| {
        let (name, rest) = text.split_once(": ").unwrap();
        let (source, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let (schema, shown) = source.split_once('.').unwrap();
        format!(r#""{name}": {{{more} "field_mappers": {{"{schema}": "{shown}"}}}}"#)
    };
    let one = |text: &str| format!(r#"{{"name": "V", "fields": {{{}}}}}"#, field(text));
    let keyed = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|text| field(text)).collect();
        format!(
            r#"{{"name": "V", "key": ["tailnum"], "fields": {{
                "tailnum": {{"value": {{"type": "string"}}}}, {}}}}}"#,
            fields.join(", ")
        )
    };
    let cases = [
        (one("f: Nowhere.x"), "`f` maps from `Nowhere.x`, but there is no such schema"),
        (one("f: UserProfile.nme"), "`f` maps from `UserProfile.nme`, but there is no such field"),
        (one("f: Plane.seats"), "`V` has no key and the source has one"),
        (keyed(&["f: UserProfile.age"]), "`V` has a key and the source has none"),
        (
            one(r#"f: UserProfile.age "field_type": "Collection","#),
            "`f` is Collection, but maps from `UserProfile.age`, which is Single",
        ),
        (
            one(r#"f: UserProfile.age "value": {"type": "number"},"#),
            "`f` has another `value` than `UserProfile.age`",
        ),
        (keyed(&["f: Plane.tailnum"]), "`f` maps from `Plane.tailnum`, which is a part of the key"),
        (keyed(&["f: Plane.seats", "g: Ship.seats"]), "`g` maps from a second schema"),
        (keyed(&["f: Plane.seats", "g: Plane.seats"]), "`g` shows a field that another field"),
        (
            keyed(&["f: Plane.seats"]).replace(r#"{"type": "string"}"#, r#"{"type": "integer"}"#),
            "the key is not that of `Plane`",
        ),
    ];
    for (at, (schema, expected)) in cases.into_iter().enumerate() {
        // Each under a name of its own: a definition does not change.
        let schema = schema.replace("\"V\"", &format!("\"V{at}\""));
        let expected = expected.replace("`V`", &format!("`V{at}`"));
        let before = db.pool().operations().head().0.next();
        let error = refusal(&db, &schema);
        assert!(error.contains(&expected), "{error}\n  instead of: {expected}");
        assert_eq!(db.pool().operations().head().0, before, "only the load is a commit");
    }
}

#[test]
fn circles_are_refused() {
    let db = memory();
    let part = |name: &str, source: &str| {
        format!(
            r#"{{"name": "{name}", "fields": {{"f": {{"field_mappers": {{"{source}": "f"}}}}}}}}"#
        )
    };
    load(&db, &part("A", "B"));
    load(&db, &part("B", "C"));
    assert!(refusal(&db, &part("C", "A")).contains("in a circle"));
    let keyed = |name: &str, source: &str, shown: &str| {
        format!(
            r#"{{"name": "{name}", "key": ["k"], "fields": {{"k": {{}}, "own": {{}},
                "f": {{"field_mappers": {{"{source}": "{shown}"}}}}}}}}"#
        )
    };
    // No field of these is in a circle, but their records are.
    load(&db, &keyed("D", "E", "own"));
    assert!(refusal(&db, &keyed("E", "D", "own")).contains("in a circle"));
}

#[test]
fn a_view_can_be_deleted_while_it_has_no_data_of_its_own() {
    let db = memory();
    load(&db, PLANE);
    let view = r#"{"name": "View", "key": ["tailnum"], "fields": {
        "tailnum": {"value": {"type": "string"}},
        "places": {"field_mappers": {"Plane": "seats"}}}}"#;
    approve(&db, view);
    approve(&db, CABIN);
    mutate(&db, r#"{"mutation": "create", "schema": "View", "records": [{"tailnum": "N1"}]}"#)
        .unwrap();
    db.schemas().delete(&name("View")).unwrap();
    assert_eq!(code(db.schemas().delete(&name("Cabin"))), "refused");
    assert_eq!(all(&db, "Cabin"), "[\"N1\",null,2]\n");
    // The same name may come back, and shows the same records.
    approve(&db, view);
    assert_eq!(all(&db, "View"), "[\"N1\",2]\n");
    check_sound(&db);
}

#[test]
fn what_a_chain_leads_through_cannot_be_deleted() {
    let mut place = Place::sim(5);
    let db = fold_db(place.open(), clock());
    load(&db, PROFILE);
    load(&db, CUSTOMER);
    approve(&db, r#"{"name": "Top", "fields": {"t": {"field_mappers": {"Customer": "login"}}}}"#);
    for schema in ["UserProfile", "Customer"] {
        let error = db.schemas().delete(&name(schema)).unwrap_err();
        assert_eq!(error.code(), "refused");
        assert!(describe(&error).contains("is mapped from by `Top`"), "{error}");
    }
    mutate(&db, r#"{"mutation": "update", "schema": "Top", "records": [{"t": "ada"}]}"#).unwrap();
    drop(db);
    let db = fold_db(place.open(), clock());
    assert_eq!(all(&db, "Top"), "[\"ada\"]\n");
    check_sound(&db);
    // What shows it may go, and then the rest of the chain that has no data.
    let db = memory();
    load(&db, PROFILE);
    load(&db, CUSTOMER);
    approve(&db, r#"{"name": "Top", "fields": {"t": {"field_mappers": {"Customer": "login"}}}}"#);
    for schema in ["Top", "UserProfile", "Customer"] {
        db.schemas().delete(&name(schema)).unwrap();
    }
    check_sound(&db);
}

#[test]
fn a_view_is_not_deleted_by_the_transaction_that_writes_its_data() {
    let db = memory();
    approve(&db, PLANE);
    approve(&db, CABIN);
    let schemas = db.pool().schemas();
    let deleted = db.transact(|tx| {
        let request =
            r#"{"mutation": "create", "schema": "Cabin", "records": [{"tailnum": "N1"}]}"#;
        for mutation in datafold::engine::MutationRequest::parse(request)?.mutations {
            tx.mutate(mutation)?;
        }
        Ok::<(), datafold::FoldDbError>(tx.data_layer().delete(schemas, &name("Cabin"))?)
    });
    assert_eq!(code(deleted), "refused");
    assert_eq!(all(&db, "Cabin"), "");
    check_sound(&db);
}
