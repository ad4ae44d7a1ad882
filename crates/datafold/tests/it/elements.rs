//! Elements of Collection and Range fields.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{CellName, CommitNumber, Moment, ReadRepository};
use datafold::engine::{
    ElementFilter, ElementQuery, FoldDbError, FoldTransaction, INLINE_ELEMENTS_MAX, ImportFormat,
    ImportOptions, Mutation,
};
use datafold::model::{FieldName, RecordKey, Value};
use datafold_store::{Keyspace, MemoryStore};
use datafold_testkit::RecordingStore;

use crate::harness::{all, approve, check_sound, clock, fold_db, memory, mutate, name, query};
use crate::stage::code;

const SHOP: &str = r#"{"name": "Shop", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "city": {"value": {"type": "string"}},
    "stock": {"field_type": "Range", "value": {"type": "integer"}},
    "notes": {"field_type": "Collection"},
    "fixed": {"field_type": "Range", "writable": false}}}"#;
const BOARD: &str = r#"{"name": "Board", "fields": {
    "title": {"value": {"type": "string"}, "default": "untitled"},
    "cards": {"field_type": "Collection"}}}"#;

fn shop() -> FoldDb {
    let db = memory();
    approve(&db, SHOP);
    approve(&db, BOARD);
    let create = r#"{"mutation": "create", "schema": "Shop", "records": [{"id": 1}]}"#;
    mutate(&db, create).unwrap();
    db
}

fn put(db: &FoldDb, elements: &str) -> Result<u64, FoldDbError> {
    let request = format!(
        r#"{{"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
            "elements": {elements}}}"#
    );
    mutate(db, &request).map(|receipt| receipt.commit.0)
}

/// The answer of a request for elements of a shop's stock, with the cursor if there is one.
fn elements(db: &FoldDb, rest: &str) -> String {
    let text = format!(r#"{{"schema": "Shop", "key": 1, "field": "stock"{rest}}}"#);
    let answer = db.elements(&ElementQuery::parse(&text).unwrap()).unwrap();
    let mut out = String::new();
    for element in &answer.elements {
        write!(out, "{}={} ", element.key, element.value.to_json()).unwrap();
    }
    out + if answer.cursor.is_some() { "…" } else { "" }
}

fn many(count: usize) -> BTreeMap<String, Value> {
    (0..count).map(|at| (format!("{at:06}"), Value::from(i64::try_from(at).unwrap()))).collect()
}

#[test]
fn elements_are_put_read_and_removed() {
    let db = shop();
    put(&db, r#"{"eu:rome": 1, "eu:ulm": 2, "us:nyc": 3}"#).unwrap();
    assert_eq!(elements(&db, ""), "eu:rome=1 eu:ulm=2 us:nyc=3 ");
    assert_eq!(elements(&db, r#", "element": "eu:ulm""#), "eu:ulm=2 ");
    assert_eq!(elements(&db, r#", "elements": ["us:nyc", "x", "eu:rome"]"#), "eu:rome=1 us:nyc=3 ");
    assert_eq!(elements(&db, r#", "prefix": "eu:""#), "eu:rome=1 eu:ulm=2 ");
    assert_eq!(elements(&db, r#", "prefix": "eu:", "reverse": true"#), "eu:ulm=2 eu:rome=1 ");
    assert_eq!(elements(&db, r#", "from": "eu:s", "to": "us:nyc""#), "eu:ulm=2 ");
    assert_eq!(elements(&db, r#", "from": "z", "to": "a""#), "");
    assert_eq!(elements(&db, r#", "glob": "*:?????""#), "");
    assert_eq!(elements(&db, r#", "glob": "*:u*""#), "eu:ulm=2 ");
    assert_eq!(elements(&db, r#", "value": 3.0"#), "us:nyc=3 ");
    assert_eq!(elements(&db, r#", "value": "3""#), "");
    assert_eq!(elements(&db, r#", "filter": {"KeyPrefix": "us"}"#), "us:nyc=3 ");
    assert_eq!(elements(&db, r#", "limit": 2"#), "eu:rome=1 eu:ulm=2 …");
    let shop = |rest: &str| query(&db, &format!(r#"{{"schema": "Shop"{rest}}}"#)).unwrap();
    let inline = r#"{"eu:rome":1,"eu:ulm":2,"us:nyc":3}"#;
    let stock = shop("").records[0].get("stock").map(Value::to_json);
    assert_eq!(stock.as_deref(), Some(inline));
    assert_eq!(shop("").records[0].get("notes").map(Value::to_json).as_deref(), Some("{}"));
    let remove = r#"{"mutation": "remove", "schema": "Shop", "key": 1, "field": "stock",
        "elements": ["eu:rome", "us:nyc"]}"#;
    mutate(&db, remove).unwrap();
    assert_eq!(elements(&db, ""), "eu:ulm=2 ");
    assert_eq!(db.stats().unwrap().total_elements, 1);
    assert_eq!(elements(&db, r#", "as_of": 6"#), "eu:rome=1 eu:ulm=2 us:nyc=3 ");
    check_sound(&db);
}

#[test]
fn records_take_objects_and_collections_also_arrays() {
    let db = shop();
    let upsert = |rest: &str| {
        let request = r#"{"mutation": "upsert", "schema": "Shop", "records": [{"id": 1, "#;
        mutate(&db, &format!("{request}{rest}}}]}}"))
    };
    upsert(r#""notes": ["a", null, {"b": 1}]"#).unwrap();
    upsert(r#""notes": {"x": 1, "0": null}, "stock": {"k": 5}"#).unwrap();
    let row = "[1,null,{\"k\":5},{\"2\":{\"b\":1},\"x\":1},{}]\n";
    assert_eq!(all(&db, "Shop"), row);
    // Null and nothing are the same where there is nothing.
    upsert(r#""fixed": null"#).unwrap_err();
    assert_eq!(code(upsert(r#""stock": null"#)), "elements_not_empty");
    upsert(r#""stock": {"k": null}"#).unwrap();
    let before = db.stats().unwrap().commit;
    upsert(r#""stock": null"#).unwrap();
    assert_eq!(db.stats().unwrap().commit, before);
    for (wrong, rule) in [
        (r#""stock": [1]"#, "invalid_elements"),
        (r#""notes": "text""#, "invalid_elements"),
        (r#""stock": {"k": "text"}"#, "invalid_value"),
        (r#""fixed": {"k": 1}"#, "field_not_writable"),
    ] {
        assert_eq!(code(upsert(wrong)), rule, "{wrong}");
    }
    check_sound(&db);
}

#[test]
fn refusals_name_the_element_and_the_rule() {
    let db = shop();
    put(&db, r#"{"a": 1}"#).unwrap();
    let long = "x".repeat(500);
    let head = db.stats().unwrap().commit;
    for (rest, code, text) in [
        (r#""put", "key": 2, "field": "stock", "elements": {"a": 1}"#, "record_not_found", "[2]"),
        (r#""put", "key": 1, "field": "stack", "elements": {}"#, "unknown_field", "`stock`?"),
        (r#""put", "key": 1, "field": "city", "elements": {}"#, "no_elements", "Shop.city is a"),
        (r#""put", "key": 1, "field": "fixed", "elements": {}"#, "field_not_writable", "fixed"),
        (
            r#""put", "key": 1, "field": "stock", "elements": {"b": 1, "c": "d"}"#,
            "invalid_value",
            r#"record [1]: Shop.stock["c"] does not accept"#,
        ),
        (
            r#""put", "key": 1, "field": "stock", "elements": {"b": 1, "a": 2}, "if": "absent""#,
            "element_exists",
            r#"element "a" of Shop.stock of record [1] already exists"#,
        ),
        (
            r#""put", "key": 1, "field": "stock", "elements": {"a": 2, "b": 1}, "if": "exists""#,
            "element_not_found",
            r#"element "b" of Shop.stock of record [1] does not exist"#,
        ),
        (
            r#""remove", "key": 1, "field": "stock", "elements": ["a", "a"]"#,
            "element_not_found",
            r#""a""#,
        ),
        (r#""remove", "key": 2, "field": "stock", "elements": ["a"]"#, "record_not_found", "[2]"),
        (
            &format!(r#""remove", "key": 1, "field": "stock", "elements": ["{long}"]"#),
            "invalid_element_key",
            "at most 480",
        ),
        (r#""put", "key": 1, "field": "stock", "elements": [1]"#, "invalid_request", "elements"),
        (
            r#""put", "key": 1, "field": "stock", "elements": {}, "if": "x""#,
            "invalid_request",
            "if",
        ),
        (r#""remove", "key": 1, "field": "stock", "elements": [1]"#, "invalid_request", "[0]"),
        (r#""put", "key": 1, "elements": {}"#, "invalid_request", "field"),
    ] {
        let request = format!(r#"{{"schema": "Shop", "mutation": {rest}}}"#);
        let error = mutate(&db, &request).unwrap_err();
        assert_eq!(error.code(), code, "{rest}");
        assert!(error.to_string().contains(text), "{rest}: {error}");
    }
    assert_eq!(db.stats().unwrap().commit, head);
    assert_eq!(elements(&db, ""), "a=1 ");
    for (field, code) in [("city", "no_elements"), ("stack", "unknown_field")] {
        let query = ElementQuery::new(name("Shop"), vec![1.into()], field);
        assert_eq!(db.elements(&query).unwrap_err().code(), code);
        let field = FieldName::parse(field).unwrap();
        let history = db.element_history(&name("Shop"), &[1.into()], &field, "a", None, 9);
        assert_eq!(history.unwrap_err().code(), code);
    }
}

#[test]
fn preconditions_look_at_one_element() {
    let db = shop();
    let first = put(&db, r#"{"a": 1, "b": 1}"#).unwrap();
    put(&db, r#"{"b": 2}"#).unwrap();
    let guarded = |condition: &str| {
        let request = format!(
            r#"{{"transaction": [{{"mutation": "put", "schema": "Shop", "key": 1, "field": "notes",
                "elements": {{"n": 1}}}}],
              "if": [{{"schema": "Shop", "key": 1, {condition}}}]}}"#
        );
        mutate(&db, &request).map(|_| ())
    };
    for (condition, holds) in [
        (format!(r#""field": "stock", "element": "a", "unchanged_since": {first}"#), true),
        (format!(r#""field": "stock", "element": "b", "unchanged_since": {first}"#), false),
        (format!(r#""field": "stock", "element": "c", "unchanged_since": {first}"#), false),
        (r#""field": "stock", "element": "c", "absent": true"#.into(), true),
        (r#""field": "stock", "element": "a", "exists": true"#.into(), true),
        (r#""field": "stock", "element": "a", "absent": true"#.into(), false),
        // Elements are no part of what a record's own condition covers.
        (format!(r#""unchanged_since": {}"#, first - 1), true),
    ] {
        let answer = guarded(&condition);
        assert_eq!(answer.is_ok(), holds, "{condition}: {answer:?}");
        if let Err(error) = answer {
            assert_eq!(error.code(), "precondition_failed");
            assert!(error.to_string().contains("Shop.stock of record [1]"), "{error}");
        }
    }
    assert_eq!(code(guarded(r#""field": "stock", "exists": true"#)), "invalid_request");
    assert_eq!(code(guarded(r#""field": "city", "element": "a", "exists": true"#)), "no_elements");
}

/// Deleting a record with many elements writes a few rows, whatever their number.
#[test]
fn a_record_with_many_elements_dies_in_one_small_commit() {
    let store = Arc::new(RecordingStore::new(Arc::new(MemoryStore::new().unwrap())));
    let db = fold_db(Arc::clone(&store) as _, clock());
    approve(&db, SHOP);
    let shop = name("Shop");
    let key = || vec![Value::Int(1)];
    mutate(&db, r#"{"mutation": "create", "schema": "Shop", "records": [{"id": 1}]}"#).unwrap();
    db.mutate(&Mutation::put(shop.clone(), key(), "stock", many(15_000)).into()).unwrap();
    let alive = db.stats().unwrap();
    assert_eq!(alive.total_elements, 15_000);
    drop(store.take_batches());
    db.mutate(&Mutation::delete(shop.clone(), vec![key()]).into()).unwrap();
    let rows: usize = store.take_batches().iter().map(datafold_store::Batch::len).sum();
    // The tombstone, the life that ended, the log, the counters.
    assert_eq!(rows, 4);
    let stats = db.stats().unwrap();
    assert_eq!((stats.total_elements, stats.total_records), (0, 0));
    assert_eq!(elements(&db, ""), "");
    assert_eq!(db.element(&shop, &key(), "stock", "000007").unwrap(), None);
    // A new life starts empty, and takes the place of a dead element.
    let life = r#"{"mutation": "create", "schema": "Shop", "records": [{"id": 1, "stock": {}}]}"#;
    mutate(&db, life).unwrap();
    assert_eq!(elements(&db, ""), "");
    put(&db, r#"{"000007": -7}"#).unwrap();
    assert_eq!(elements(&db, ""), "000007=-7 ");
    assert_eq!(db.stats().unwrap().total_elements, 1);
    let then = Moment::Commit(alive.commit);
    let value =
        |element: &str, moment| db.element_as_of(&shop, &key(), "stock", element, moment).unwrap();
    assert_eq!(value("000007", then), Some(7.into()));
    assert_eq!(value("000007", Moment::Commit(alive.commit.next())), None);
    assert_eq!(value("000008", then), Some(8.into()));
    assert_eq!(value("000008", Moment::Now), None);
    let mut past = ElementQuery::new(shop.clone(), key(), "stock");
    past.as_of = Some(alive.commit.to_string());
    let mut count = 0;
    db.elements_each(&past, |element| {
        assert_eq!(element.key, format!("{count:06}"));
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(count, 15_000);
    let field = FieldName::parse("stock").unwrap();
    let history = db.element_history(&shop, &key(), &field, "000007", None, 9).unwrap();
    let shape: Vec<_> =
        history.iter().map(|atom| (atom.value.to_json(), atom.cell.element.is_some())).collect();
    let expected = [("-7", true), ("null", false), ("7", true)];
    assert_eq!(shape, expected.map(|(value, is_element)| (value.to_owned(), is_element)));
    assert_eq!(history[0].previous, Some(history[1].id));
    check_sound(&db);
}

#[test]
fn a_query_answers_so_many_elements_inline_and_no_more() {
    let db = shop();
    let (shop, key) = (name("Shop"), vec![Value::Int(1)]);
    let full = many(INLINE_ELEMENTS_MAX);
    db.mutate(&Mutation::put(shop.clone(), key.clone(), "stock", full).into()).unwrap();
    let record = db.get(&shop, &key).unwrap().unwrap();
    let Some(Value::Object(found)) = record.get("stock") else { panic!("an object") };
    assert_eq!(found.len(), INLINE_ELEMENTS_MAX);
    let inside = |transaction: &mut FoldTransaction<'_>| transaction.get(&shop, &key);
    assert_eq!(db.transact(inside).unwrap().0, Some(record));
    let full = db.stats().unwrap().commit;
    put(&db, r#"{"one more": 1}"#).unwrap();
    let error = db.get(&shop, &key).unwrap_err();
    assert_eq!(error.code(), "too_many_elements");
    assert!(error.to_string().contains("elements Shop KEY stock"), "{error}");
    assert_eq!(code(db.transact(inside)), "too_many_elements");
    assert!(db.get_as_of(&shop, &key, Moment::Commit(full)).is_ok());
    put(&db, r#"{"000003": null}"#).unwrap();
    assert!(db.get(&shop, &key).is_ok());
    put(&db, r#"{"000003": 3}"#).unwrap();
    let now = db.stats().unwrap().commit;
    put(&db, r#"{"000003": null}"#).unwrap();
    let past = db.get_as_of(&shop, &key, Moment::Commit(now)).unwrap_err();
    assert_eq!(past.code(), "too_many_elements");
    let select = r#"{"schema": "Shop", "select": ["id", "notes"]}"#;
    assert_eq!(query(&db, select).unwrap().records.len(), 1);
}

#[test]
fn the_one_record_takes_elements_without_being_created() {
    let db = shop();
    let put = r#"{"mutation": "put", "schema": "Board", "key": [], "field": "cards",
        "elements": {"a": 1}}"#;
    let empty = r#"{"mutation": "put", "schema": "Board", "key": [], "field": "cards",
        "elements": {}}"#;
    assert_eq!(mutate(&db, empty).unwrap().atoms, 0);
    assert_eq!(all(&db, "Board"), "[null,{}]\n");
    // Its life begins with the first write, and so do its defaults.
    assert_eq!(mutate(&db, put).unwrap().atoms, 2);
    assert_eq!(all(&db, "Board"), "[\"untitled\",{\"a\":1}]\n");
    let delete = r#"{"mutation": "delete", "schema": "Board", "keys": [[]]}"#;
    mutate(&db, delete).unwrap();
    assert_eq!(all(&db, "Board"), "[null,{}]\n");
    let remove = r#"{"mutation": "remove", "schema": "Board", "key": [], "field": "cards",
        "elements": ["a"]}"#;
    assert_eq!(code(mutate(&db, remove)), "element_not_found");
    mutate(&db, put).unwrap();
    assert_eq!(all(&db, "Board"), "[\"untitled\",{\"a\":1}]\n");
    check_sound(&db);
}

#[test]
fn mutations_of_one_transaction_see_each_other() {
    let db = shop();
    put(&db, r#"{"old": 1}"#).unwrap();
    let request = r#"{"transaction": [
        {"mutation": "put", "schema": "Shop", "key": 1, "field": "stock", "elements": {"lost": 1}},
        {"mutation": "delete", "schema": "Shop", "keys": [1]},
        {"mutation": "create", "schema": "Shop", "records": [{"id": 1, "stock": {"new": 1}}]},
        {"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
         "elements": {"old": 2}, "if": "absent"},
        {"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
         "elements": {"new": 2}, "if": "exists"},
        {"mutation": "put", "schema": "Shop", "key": 1, "field": "stock", "elements": {"gone": 1}},
        {"mutation": "remove", "schema": "Shop", "key": 1, "field": "stock", "elements": ["gone"]}
    ]}"#;
    let receipt = mutate(&db, request).unwrap();
    assert_eq!((receipt.atoms, elements(&db, "")), (2, "new=2 old=2 ".into()));
    assert_eq!(db.stats().unwrap().total_elements, 2);
    let before = format!(r#", "as_of": {}"#, receipt.commit.0 - 1);
    assert_eq!(elements(&db, &before), "old=1 ");
    check_sound(&db);
}

fn put_inside(transaction: &mut FoldTransaction<'_>, element: &str) -> Result<(), FoldDbError> {
    let elements = [(element.to_owned(), Value::Int(1))].into();
    transaction.mutate(Mutation::put(name("Shop"), vec![1.into()], "stock", elements))
}

/// A closure whose first run is overtaken by another commit; answers how often it ran.
fn overtaken(
    db: &FoldDb,
    by: &str,
    read: impl Fn(&mut FoldTransaction<'_>) -> Result<(), FoldDbError>,
) -> usize {
    let mut runs = 0;
    db.transact(|transaction| {
        read(transaction)?;
        runs += 1;
        if runs == 1 {
            mutate(db, by)?;
        }
        put_inside(transaction, "mine")
    })
    .unwrap();
    runs
}

#[test]
fn a_transaction_conflicts_with_what_it_has_read_and_nothing_else() {
    let db = shop();
    put(&db, r#"{"a": 1, "b": 1, "c": 1, "d": 1}"#).unwrap();
    let put = |element: &str| {
        format!(
            r#"{{"mutation": "put", "schema": "Shop", "key": 1, "field": "stock",
                "elements": {{"{element}": 9}}}}"#
        )
    };
    let (shop, key) = (name("Shop"), [Value::Int(1)]);
    let one = |transaction: &mut FoldTransaction<'_>| {
        transaction.element(&shop, &key, "stock", "b").map(|_| ())
    };
    let range = |limit| {
        let filter = ElementFilter::KeyRange { start: Some("b".into()), end: Some("e".into()) };
        let (shop, key) = (shop.clone(), key.clone());
        move |transaction: &mut FoldTransaction<'_>| {
            transaction.elements(&shop, &key, "stock", &filter, limit).map(|_| ())
        }
    };
    assert_eq!(overtaken(&db, &put("b"), one), 2);
    assert_eq!(overtaken(&db, &put("c"), one), 1);
    // New elements beside each other change one count, which nobody depends on.
    assert_eq!(overtaken(&db, &put("new"), |_| Ok(())), 1);
    assert_eq!(overtaken(&db, &put("mine"), |_| Ok(())), 2);
    assert_eq!(overtaken(&db, &put("cc"), range(None)), 2);
    assert_eq!(overtaken(&db, &put("e"), range(None)), 1);
    assert_eq!(overtaken(&db, &put("bb"), range(Some(2))), 2);
    assert_eq!(overtaken(&db, &put("d"), range(Some(2))), 1);
    let delete_and_create = r#"{"transaction": [
        {"mutation": "delete", "schema": "Shop", "keys": [1]},
        {"mutation": "create", "schema": "Shop", "records": [{"id": 1}]}]}"#;
    assert_eq!(overtaken(&db, delete_and_create, one), 2);
    assert_eq!(elements(&db, ""), "mine=1 ");
    assert_eq!(db.stats().unwrap().total_elements, 1);
    check_sound(&db);
}

#[test]
fn imports_take_elements_and_write_nothing_twice() {
    let db = shop();
    let import = |format, rows: &str| {
        let options = ImportOptions::new(format);
        let go_on = |_| ControlFlow::Continue(());
        db.import(&name("Shop"), rows.as_bytes(), &options, go_on).unwrap()
    };
    let rows = "{\"id\": 1, \"stock\": {\"a\": 1}, \"notes\": [\"x\"]}\n\
                {\"id\": 2, \"stock\": {}}\n{\"id\": 3, \"stock\": {\"a\": \"b\"}}\n";
    let report = import(ImportFormat::Ndjson, rows);
    assert_eq!((report.imported, report.refused), (2, 1));
    assert!(report.errors[0].message.contains(r#"Shop.stock["a"]"#), "{:?}", report.errors);
    let expected = "[1,null,{\"a\":1},{\"0\":\"x\"},{}]\n[2,null,{},{},{}]\n";
    assert_eq!(all(&db, "Shop"), expected);
    let before = db.stats().unwrap().commit;
    let again = import(ImportFormat::Ndjson, rows);
    assert_eq!((again.imported, again.unchanged, again.refused), (0, 2, 1));
    assert_eq!(db.stats().unwrap().commit, before);
    let csv = "id,stock,notes\n1,\"{\"\"b\"\": 2}\",\n2,,[7]\n3,text,\n";
    let report = import(ImportFormat::Csv, csv);
    assert_eq!((report.imported, report.refused, report.errors[0].line), (2, 1, 4));
    let expected = "[1,null,{\"a\":1,\"b\":2},{\"0\":\"x\"},{}]\n[2,null,{},{\"0\":7},{}]\n";
    assert_eq!(all(&db, "Shop"), expected);
    check_sound(&db);
}

/// A commit with long element keys: its log stays in small parts, and every atom is found.
#[test]
fn a_commit_of_many_elements_is_logged_in_small_parts() {
    let store = Arc::new(RecordingStore::new(Arc::new(MemoryStore::new().unwrap())));
    let db = fold_db(Arc::clone(&store) as _, clock());
    approve(&db, SHOP);
    mutate(&db, r#"{"mutation": "create", "schema": "Shop", "records": [{"id": 1}]}"#).unwrap();
    drop(store.take_batches());
    let elements: BTreeMap<_, _> =
        (0..400).map(|at| (format!("{at:0>400}"), Value::Int(at))).collect();
    let put = Mutation::put(name("Shop"), vec![1.into()], "notes", elements);
    let receipt = db.mutate(&put.into()).unwrap();
    let batches = store.take_batches();
    let parts = batches[0].writes().filter(|(keyspace, ..)| *keyspace == Keyspace::Commits);
    let sizes: Vec<_> = parts.map(|(_, _, row)| row.unwrap().len()).collect();
    assert!(sizes.len() >= 4 && sizes.iter().all(|size| *size < 45_000), "{sizes:?}");
    let atoms = db.pool().atoms();
    let page = atoms.page(None, 1_000).unwrap().items;
    assert_eq!(page.len(), 400);
    for (at, (id, atom)) in page.iter().enumerate() {
        assert_eq!((id.commit, id.ordinal as usize), (receipt.commit, at));
        assert_eq!(atom.value, i64::try_from(at).unwrap().into());
    }
    let found = db.history(&name("Shop"), &[1.into()], None, None, 10).unwrap();
    assert_eq!(found.len(), 400, "what one commit wrote is not split");
    let earlier = db.history(&name("Shop"), &[1.into()], None, Some(CommitNumber(3)), 10).unwrap();
    assert_eq!(earlier, []);
}

#[test]
fn a_ref_points_from_an_element_to_its_atom() {
    let db = shop();
    let commit = put(&db, r#"{"a": 1, "b": 2}"#).unwrap();
    let cell = |element: &str| CellName {
        schema: name("Shop"),
        key: RecordKey::from_parts(&[datafold::model::KeyPart::Int(1)]).unwrap(),
        field: Some(FieldName::parse("stock").unwrap()),
        element: Some(element.into()),
    };
    let atoms = db.pool().atoms();
    let found = atoms.current(&cell("b")).unwrap().unwrap();
    assert_eq!((found.atom.commit.0, found.atom.ordinal), (commit, 1));
    let atom = atoms.get(&found.atom).unwrap().unwrap();
    assert_eq!((atom.cell, atom.value), (cell("b"), 2.into()));
    assert_eq!(atoms.current(&cell("c")).unwrap(), None);
    put(&db, r#"{"b": 3}"#).unwrap();
    assert_eq!(atoms.get(&found.atom).unwrap().unwrap().value, 2.into(), "also when it is past");
}

/// Two schemas with the same records: each has elements of its own in them, and one shows the
/// other's.
#[test]
fn mapped_fields_show_the_elements_of_their_roots() {
    let db = shop();
    approve(
        &db,
        r#"{"name": "Depot", "key": ["id"], "fields": {
            "id": {"value": {"type": "integer"}},
            "goods": {"field_type": "Range", "field_mappers": {"Shop": "stock"}},
            "racks": {"field_type": "Collection"}}}"#,
    );
    put(&db, r#"{"a": 1}"#).unwrap();
    let depot = r#"{"mutation": "put", "schema": "Depot", "key": 1, "field": "goods",
        "elements": {"b": 2}}"#;
    mutate(&db, depot).unwrap();
    let racks = r#"{"mutation": "upsert", "schema": "Depot", "records": [
        {"id": 1, "goods": {"a": null}, "racks": ["x", "y"]}]}"#;
    mutate(&db, racks).unwrap();
    assert_eq!(elements(&db, ""), "b=2 ");
    assert_eq!(all(&db, "Depot"), "[1,{\"b\":2},{\"0\":\"x\",\"1\":\"y\"}]\n");
    let inside = |transaction: &mut FoldTransaction<'_>| {
        let b = transaction.element(&name("Depot"), &[1.into()], "goods", "b")?;
        let record = transaction.get(&name("Depot"), &[1.into()])?.unwrap();
        Ok::<_, FoldDbError>((b, Value::Array(record.values).to_json()))
    };
    let expected = r#"[1,{"b":2},{"0":"x","1":"y"}]"#;
    assert_eq!(db.transact(inside).unwrap().0, (Some(2.into()), expected.into()));
    let wrong = r#"{"mutation": "put", "schema": "Depot", "key": 1, "field": "goods",
        "elements": {"b": "text"}}"#;
    assert_eq!(code(mutate(&db, wrong)), "invalid_value", "the rules are those of the root");
    let history = db.history(&name("Depot"), &[1.into()], None, None, 99).unwrap();
    let fields: Vec<_> = history.iter().filter_map(|atom| atom.cell.field.as_ref()).collect();
    assert_eq!(fields, ["goods", "racks", "racks", "goods", "goods"]);
    assert_eq!(db.stats().unwrap().total_elements, 3);
    check_sound(&db);
    mutate(&db, r#"{"mutation": "delete", "schema": "Shop", "keys": [1]}"#).unwrap();
    assert_eq!(db.stats().unwrap().total_elements, 0);
    mutate(&db, r#"{"mutation": "create", "schema": "Depot", "records": [{"id": 1}]}"#).unwrap();
    assert_eq!(all(&db, "Depot"), "[1,{},{}]\n");
    assert_eq!(elements(&db, ""), "");
    check_sound(&db);
}

#[test]
fn the_one_record_of_a_view_writes_elements_to_its_sources() {
    let db = shop();
    approve(
        &db,
        r#"{"name": "Wall", "fields": {
            "notes": {"field_type": "Collection", "field_mappers": {"Board": "cards"}},
            "pins": {"field_type": "Collection"}}}"#,
    );
    assert_eq!(all(&db, "Wall"), "[{},{}]\n");
    let put = r#"{"mutation": "put", "schema": "Wall", "key": [], "field": "notes",
        "elements": {"a": 1}, "if": "absent"}"#;
    mutate(&db, put).unwrap();
    assert_eq!(code(mutate(&db, put)), "element_exists");
    assert_eq!(all(&db, "Board"), "[\"untitled\",{\"a\":1}]\n");
    let upsert = r#"{"mutation": "upsert", "schema": "Wall", "records": [
        {"notes": {"b": 2}, "pins": {"p": 3}}]}"#;
    mutate(&db, upsert).unwrap();
    assert_eq!(all(&db, "Wall"), "[{\"a\":1,\"b\":2},{\"p\":3}]\n");
    assert_eq!(db.element(&name("Wall"), &[], "notes", "b").unwrap(), Some(2.into()));
    let delete = r#"{"mutation": "delete", "schema": "Wall", "keys": [[]]}"#;
    assert_eq!(code(mutate(&db, delete)), "elements_not_empty");
    let remove = r#"{"mutation": "remove", "schema": "Wall", "key": [], "field": "notes",
        "elements": ["a", "b"]}"#;
    mutate(&db, remove).unwrap();
    mutate(&db, delete).unwrap();
    assert_eq!(all(&db, "Wall"), "[{},{}]\n");
    assert_eq!(all(&db, "Board"), "[\"untitled\",{}]\n");
    check_sound(&db);
}
