//! Inputs from other records: one-record schemas, the same key in another schema, lookups.

use datafold::FoldDb;
use datafold::engine::{FoldDbError, Mutation, MutationKind, RecordInput};
use datafold::model::Value;

use crate::harness::{all, approve, check_sound, describe, memory, mutate, name, query};

const PLANE: &str = r#"{"name": "Plane", "key": ["tailnum"], "fields": {
    "tailnum": {"value": {"type": "string"}},
    "seats": {"value": {"type": "integer"}},
    "rows": {"value": {"type": "integer"}},
    "big": {"transform": {"logic": "seats > 100"}}}}"#;

const SETTINGS: &str =
    r#"{"name": "Settings", "fields": {"rate": {"value": {"type": "integer"}}, "note": {}}}"#;

const FLIGHT: &str = r#"{"name": "Flight", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "tailnum": {"value": {"type": "string"}},
    "people": {"value": {"type": "integer"}},
    "seats": {"transform": {"logic": "Plane[tailnum].seats"}},
    "free": {"transform": {"logic": "seats - people"}},
    "class": {"transform": {"logic": "if Plane[upper(tailnum)].big { return 'big'; } 'small'"}},
    "price": {"transform": {"logic": "people * Settings.rate"}},
    "known": {"transform": {"logic": "Plane[tailnum].tailnum"}}}}"#;

fn flights() -> FoldDb {
    let db = memory();
    approve(&db, PLANE);
    approve(&db, SETTINGS);
    approve(&db, FLIGHT);
    db
}

fn write(db: &FoldDb, kind: &str, schema: &str, record: &str) -> u64 {
    let text = format!(r#"{{"mutation": "{kind}", "schema": "{schema}", "records": [{record}]}}"#);
    mutate(db, &text).unwrap().commit.0
}

fn delete(db: &FoldDb, schema: &str, key: &str) {
    let text = format!(r#"{{"mutation": "delete", "schema": "{schema}", "keys": [{key}]}}"#);
    mutate(db, &text).unwrap();
}

fn flight(db: &FoldDb, id: i64, fields: &str) -> String {
    let text =
        format!(r#"{{"schema": "Flight", "select": [{fields}], "key": {{"exact": [{id}]}}}}"#);
    crate::harness::lines(&query(db, &text).unwrap()).trim_end().to_owned()
}

const COMPUTED: &str = r#""seats", "free", "class", "price", "known""#;

#[test]
fn a_lookup_follows_the_record_that_it_finds() {
    let db = flights();
    write(&db, "create", "Flight", r#"{"id": 1, "tailnum": "N1", "people": 30}"#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[null,null,"small",null,null]"#);
    // A record that begins to exist, is changed, is deleted, and is there again.
    let created = write(&db, "create", "Plane", r#"{"tailnum": "N1", "seats": 150}"#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[150,120,"big",null,"N1"]"#);
    assert_eq!(db.stats().unwrap().commit.0, created, "computed in the same commit");
    write(&db, "update", "Plane", r#"{"tailnum": "N1", "seats": 80}"#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[80,50,"small",null,"N1"]"#);
    delete(&db, "Plane", r#""N1""#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[null,null,"small",null,null]"#);
    write(&db, "create", "Plane", r#"{"tailnum": "N1", "seats": 101}"#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[101,71,"big",null,"N1"]"#);
    // Another key is followed from then on, and the earlier one no more.
    write(&db, "create", "Plane", r#"{"tailnum": "N2", "seats": 200}"#);
    write(&db, "update", "Flight", r#"{"id": 1, "tailnum": "N2"}"#);
    assert_eq!(flight(&db, 1, COMPUTED), r#"[200,170,"big",null,"N2"]"#);
    let before = db.stats().unwrap().commit.0;
    write(&db, "update", "Plane", r#"{"tailnum": "N1", "seats": 5}"#);
    let key = [Value::Int(1)];
    let history = |field: &str| {
        let field = super::field(field);
        db.history(&name("Flight"), &key, Some(&field), None, 100).unwrap()
    };
    assert!(history("seats").iter().all(|atom| atom.commit.0 <= before));
    let past = query(&db, &format!(r#"{{"schema": "Flight", "as_of": {created}}}"#)).unwrap();
    assert_eq!(past.records[0].get("free"), Some(&Value::Int(120)));
    check_sound(&db);
    delete(&db, "Flight", "1");
    write(&db, "update", "Plane", r#"{"tailnum": "N2", "seats": 6}"#);
    check_sound(&db);
}

#[test]
fn a_changed_record_reaches_those_that_read_it_and_no_others() {
    let db = flights();
    for tailnum in ["N1", "N2"] {
        write(&db, "create", "Plane", &format!(r#"{{"tailnum": "{tailnum}", "seats": 150}}"#));
    }
    for id in 0..20 {
        let tailnum = if id % 4 == 0 { "N1" } else { "N2" };
        let record = format!(r#"{{"id": {id}, "tailnum": "{tailnum}", "people": {id}}}"#);
        write(&db, "create", "Flight", &record);
    }
    let text = r#"{"mutation": "update", "schema": "Plane", "records":
        [{"tailnum": "N1", "seats": 149, "rows": 20}]}"#;
    // Two cells of the plane; seats and free of its five flights.
    assert_eq!(mutate(&db, text).unwrap().atoms, 2 + 10);
    // What nobody reads reaches nobody, and so does a value that is written again.
    let text = r#"{"mutation": "update", "schema": "Plane", "records":
        [{"tailnum": "N2", "seats": 150, "rows": 21}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 2);
    // A one-record schema is read by all.
    let text = r#"{"mutation": "update", "schema": "Settings", "records": [{"rate": 3}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 1 + 20);
    assert_eq!(flight(&db, 7, COMPUTED), r#"[150,143,"big",21,"N2"]"#);
    let text = r#"{"mutation": "update", "schema": "Settings", "records": [{"note": "x"}]}"#;
    assert_eq!(mutate(&db, text).unwrap().atoms, 1);
    let text = r#"{"mutation": "delete", "schema": "Settings", "keys": [[]]}"#;
    mutate(&db, text).unwrap();
    assert_eq!(flight(&db, 7, COMPUTED), r#"[150,143,"big",null,"N2"]"#);
    check_sound(&db);
}

#[test]
fn keys_that_begin_alike_are_told_apart() {
    let db = flights();
    let names = ["a", r"a\u0000", r"a\u0000b", "ab", ""];
    for (id, tailnum) in (0..).zip(names) {
        let record = format!(r#"{{"id": {id}, "tailnum": "{tailnum}", "people": 0}}"#);
        write(&db, "create", "Flight", &record);
    }
    for (id, tailnum) in (0..).zip(names) {
        let record = format!(r#"{{"tailnum": "{tailnum}", "seats": {id}}}"#);
        let text = format!(r#"{{"mutation": "create", "schema": "Plane", "records": [{record}]}}"#);
        let atoms = mutate(&db, &text).unwrap().atoms;
        assert!(atoms <= 7, "the plane, its seats and big; seats, free and known of one flight");
        assert_eq!(flight(&db, id, r#""seats""#), format!("[{id}]"));
    }
    check_sound(&db);
}

#[test]
fn the_same_key_in_another_schema_and_chains_across_schemas() {
    let db = memory();
    approve(
        &db,
        r#"{"name": "Base", "key": ["day", "n"], "fields": {
        "day": {"value": {"type": "string", "format": "date-time"}},
        "n": {"value": {"type": "integer"}},
        "x": {"value": {"type": "integer"}},
        "twice": {"transform": {"logic": "x * 2"}}}}"#,
    );
    approve(
        &db,
        r#"{"name": "Same", "key": ["date", "number"], "fields": {
        "date": {"value": {"type": "string", "format": "date-time"}},
        "number": {"value": {"type": "integer"}},
        "y": {"value": {"type": "integer"}},
        "sum": {"transform": {"logic": "Base.twice + y"}},
        "day": {"transform": {"logic": "Base.day"}}}}"#,
    );
    approve(
        &db,
        r#"{"name": "Last", "key": ["id"], "fields": {
        "id": {"value": {"type": "string"}},
        "date": {"value": {"type": "string", "format": "date-time"}},
        "sums": {"transform": {"logic": "Same[date, 1].sum ?? 0 + (Same[date, 2].sum ?? 0)"}},
        "more": {"transform": {"logic": "sums + 1"}}}}"#,
    );
    let day = "2013-01-01T00:00:00Z";
    write(&db, "create", "Last", &format!(r#"{{"id": "a", "date": "{day}"}}"#));
    write(&db, "create", "Same", &format!(r#"{{"date": "{day}", "number": 1, "y": 5}}"#));
    assert_eq!(all(&db, "Last"), format!("[\"a\",\"{day}\",0,1]\n"));
    let text = format!(
        r#"{{"mutation": "create", "schema": "Base",
            "records": [{{"day": "{day}", "n": 1, "x": 3}}]}}"#
    );
    // x and the key parts are no atoms: x, twice; sum and day; sums and more.
    let atoms = mutate(&db, &text).unwrap().atoms;
    assert_eq!(all(&db, "Same"), format!("[\"{day}\",1,5,11,\"{day}\"]\n"));
    assert_eq!(all(&db, "Last"), format!("[\"a\",\"{day}\",11,12]\n"));
    assert_eq!(atoms, 6);
    // The whole chain in one transaction, each result once.
    let text = format!(
        r#"{{"transaction": [
        {{"mutation": "update", "schema": "Last", "records": [{{"id": "a", "date": "{day}"}}]}},
        {{"mutation": "update", "schema": "Same",
            "records": [{{"date": "{day}", "number": 1, "y": 6}}]}},
        {{"mutation": "update", "schema": "Base",
            "records": [{{"day": "{day}", "n": 1, "x": 4}}]}}]}}"#
    );
    assert_eq!(mutate(&db, &text).unwrap().atoms, 3 + 1 + 1 + 2);
    assert_eq!(all(&db, "Last"), format!("[\"a\",\"{day}\",14,15]\n"));
    check_sound(&db);
}

#[test]
fn a_transaction_sees_what_it_has_written_to_other_records() {
    let db = flights();
    write(&db, "create", "Flight", r#"{"id": 1, "tailnum": "N1", "people": 30}"#);
    let record = |pairs: &[(&str, Value)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        pairs.collect::<RecordInput>()
    };
    let mutation = |kind, schema: &str, record| Mutation::Write {
        kind,
        schema: name(schema),
        records: vec![record],
    };
    let seen = db.transact(|tx| {
        let plane = record(&[("tailnum", "N1".into()), ("seats", Value::Int(120))]);
        tx.mutate(mutation(MutationKind::Create, "Plane", plane))?;
        let flight = record(&[("id", Value::Int(1)), ("people", Value::Int(31))]);
        tx.mutate(mutation(MutationKind::Update, "Flight", flight))?;
        let seen = tx.get(&name("Flight"), &[Value::Int(1)])?.unwrap();
        Ok::<_, FoldDbError>(["seats", "free", "class"].map(|field| seen.get(field).cloned()))
    });
    let [seats, free, class] = seen.unwrap().0;
    assert_eq!(
        [seats, free, class],
        [Some(Value::Int(120)), Some(Value::Int(89)), Some("big".into())]
    );
    assert_eq!(flight(&db, 1, r#""seats", "free", "class""#), r#"[120,89,"big"]"#);
}

#[test]
fn records_that_are_there_are_filled_and_followed() {
    let db = memory();
    approve(&db, PLANE);
    approve(&db, SETTINGS);
    let flights = FLIGHT.replace(r#""name": "Flight""#, r#""name": "Plain""#);
    let plain: String = flights.lines().filter(|line| !line.contains("transform")).collect();
    approve(&db, &format!("{}}}}}", plain.trim_end().trim_end_matches(',')));
    for id in 0..300 {
        let record = format!(r#"{{"id": {id}, "tailnum": "N{}", "people": {id}}}"#, id % 3);
        write(&db, "create", "Plain", &record);
    }
    write(&db, "create", "Plane", r#"{"tailnum": "N1", "seats": 500}"#);
    let map = |name: &str| format!(r#""{name}": {{"field_mappers": {{"Plain": "{name}"}}}}"#);
    let view = FLIGHT
        .replace(r#""tailnum": {"value": {"type": "string"}}"#, &map("tailnum"))
        .replace(r#""people": {"value": {"type": "integer"}}"#, &map("people"));
    approve(&db, &view);
    db.schemas().wait_for_transforms(&name("Flight")).unwrap();
    assert_eq!(flight(&db, 298, COMPUTED), r#"[500,202,"big",null,"N1"]"#);
    write(&db, "create", "Plane", r#"{"tailnum": "N2", "seats": 100}"#);
    assert_eq!(flight(&db, 299, COMPUTED), r#"[100,-199,"small",null,"N2"]"#);
    assert_eq!(flight(&db, 298, COMPUTED), r#"[500,202,"big",null,"N1"]"#);
    check_sound(&db);
}

#[test]
fn failures_are_tried_again_when_the_other_record_changes() {
    let db = memory();
    approve(&db, PLANE);
    approve(
        &db,
        r#"{"name": "Flight", "key": ["id"], "fields": {
        "id": {"value": {"type": "integer"}}, "tailnum": {"value": {"type": "string"}},
        "share": {"transform": {"logic": "100 / Plane[tailnum].seats"}},
        "must": {"transform": {"on_error": "reject",
            "logic": "100 / (Plane[tailnum].rows ?? 1)"}}}}"#,
    );
    write(&db, "create", "Plane", r#"{"tailnum": "N1", "seats": 0, "rows": 2}"#);
    write(&db, "create", "Flight", r#"{"id": 1, "tailnum": "N1"}"#);
    let failures = || db.schemas().transform_failures(&name("Flight"), &super::field("share"), 9);
    assert_eq!(failures().unwrap().len(), 1);
    write(&db, "update", "Plane", r#"{"tailnum": "N1", "seats": 50}"#);
    assert_eq!(failures().unwrap(), []);
    assert_eq!(flight(&db, 1, r#""share", "must""#), "[2,50]");
    // What a change of another record makes impossible is refused there.
    let text = r#"{"mutation": "update", "schema": "Plane", "records":
        [{"tailnum": "N1", "rows": 0}]}"#;
    let error = describe(&mutate(&db, text).unwrap_err());
    assert!(error.contains("record [1]: Flight.must cannot be computed: line 1"), "{error}");
    assert_eq!(flight(&db, 1, r#""share", "must""#), "[2,50]");
    check_sound(&db);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let refused = |logic: &str| {
        let db = memory();
        approve(&db, PLANE);
        approve(&db, SETTINGS);
        let load = |text: &str| db.schemas().load_text(text, None).unwrap().name;
        load(&PLANE.replace(r#""name": "Plane""#, r#""name": "Later""#));
        approve(&db, r#"{"name": "Lists", "fields": {"all": {"field_type": "Collection"}}}"#);
        let logic = Value::from(logic).to_json();
        let schema = load(&format!(
            r#"{{"name": "S", "key": ["id"], "fields": {{
                "id": {{"value": {{"type": "integer"}}}}, "a": {{"value": {{"type": "integer"}}}},
                "out": {{"transform": {{"logic": {logic}}}}}}}}}"#
        ));
        let error = db.schemas().approve_schema(&schema).unwrap_err();
        let FoldDbError::DataLayer(datafold::data_layer::DataLayerError::Transforms {
            problems,
            ..
        }) = &error
        else {
            panic!("{}", describe(&error))
        };
        let found = problems[0].diagnostics.first();
        let place = found.map(|found| (found.line, found.column, found.hint.clone()));
        (problems[0].rule.clone(), place)
    };
    let check = |logic: &str, rule: &str, line: usize, column: usize| {
        let (found, place) = refused(logic);
        assert!(found.contains(rule), "{logic}: {found}");
        let (found_line, found_column, _) = place.unwrap();
        assert_eq!((found_line, found_column), (line, column), "{logic}: {found}");
    };
    check("1 +\n  Plane.seats", "`Plane` needs a key", 2, 3);
    check("Plane['N1'].seat", "Plane has no field `seat`", 1, 13);
    check("Plane[a].seats", "this part of the key is text, not integer", 1, 7);
    check("Plane['N1', 2].seats", "the key of Plane has 1 parts, not 2", 1, 1);
    check("a + Later['N1'].seats", "`Later` is not approved", 1, 5);
    check("Settings[1].rate", "`Settings` has one record and no key", 1, 1);
    check("Setings.rate", "there is no name `Setings`", 1, 1);
    check("Lists.all == null", "`all` has elements", 1, 7);
    check("S[a].out", "`out` would be computed from itself", 1, 6);
    let (_, place) = refused("Later['N1'].seats");
    assert_eq!(place.unwrap().2.as_deref(), Some("approve `Later` first"));
}

#[test]
fn circles_across_schemas_are_refused_and_read_schemas_stay() {
    let db = memory();
    let load = |text: &str| db.schemas().load_text(text, None).unwrap().name;
    let schema = |name: &str, fields: &str| {
        format!(
            r#"{{"name": "{name}", "key": ["id"], "fields": {{
            "id": {{"value": {{"type": "integer"}}}}, {fields}}}}}"#
        )
    };
    approve(&db, &schema("A", r#""a": {"value": {"type": "integer"}}"#));
    approve(&db, &schema("B", r#""b": {"transform": {"logic": "A.a + 1"}}"#));
    // C shows the records of A and computes a field of them from B, which reads A: no circle.
    let c = r#""a": {"field_mappers": {"A": "a"}}, "c": {"transform": {"logic": "B.b"}}"#;
    approve(&db, &schema("C", c));
    // The two fields of D lead to each other through its own records.
    let d = r#""d": {"transform": {"logic": "D[id + 1].e"}},
        "e": {"transform": {"logic": "C[id].c + D[id - 1].d"}}"#;
    let d = load(&schema("D", d));
    let error = describe(&db.schemas().approve_schema(&d).unwrap_err());
    assert!(error.contains("it is computed from itself, by way of `D."), "{error}");
    assert!(error.contains("`D.d`") && error.contains("`D.e`"), "{error}");
    assert!(!error.contains("`C.c`"), "{error}");
    for (read, reader) in [("A", "`B.b`"), ("B", "`C.c`")] {
        let error = describe(&db.schemas().delete(&name(read)).unwrap_err());
        assert!(error.contains(reader) || error.contains("mapped"), "{error}");
    }
    // What was approved goes on, whatever becomes of the state of what it reads.
    db.schemas().block_schema(&name("B"), None).unwrap();
    write(&db, "create", "A", r#"{"id": 1, "a": 1}"#);
    assert_eq!(all(&db, "C"), "[1,1,null]\n");
    db.schemas().approve_schema(&name("B")).unwrap();
    write(&db, "create", "B", r#"{"id": 1}"#);
    assert_eq!(all(&db, "C"), "[1,1,2]\n");
    write(&db, "update", "C", r#"{"id": 1, "a": 4}"#);
    assert_eq!(all(&db, "C"), "[1,4,5]\n");
    check_sound(&db);
}
