//! Fuzz bodies of requests, filters, moments, cursors and imports, and of a store that somebody
//! else has written to. Each has the name of its target.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::encoding::KeyWriter;
use datafold_store::{Batch, Keyspace, MemoryStore, Outcome, Scan, SpaceId, Store};
use datafold_testkit::{Draw, Fuzz, Verdict};
use minicbor::{Decoder, Encoder};

use super::query::{read_cursor, write_cursor};
use super::{
    ElementFilter, ElementQuery, FoldDbError, Glob, ImportFormat, ImportOptions, Operation,
    parse_moment,
};
use crate::clock::ManualClock;
use crate::data_layer::{CommitNumber, DatabasePool, Moment, PoolOptions};
use crate::model::fuzz::FLIGHT;
use crate::model::{FieldName, SchemaName, SchemaState, Timestamp, Value};
use crate::{FoldDb, MutationRequest, QueryRequest};

const ITEM: &str = r#"{"name": "Item", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}}, "text": {},
    "of": {"field_type": "Range", "value": {"type": "string"}},
    "tags": {"field_type": "Collection"}},
    "indexes": [{"fields": ["n"]}, {"fields": ["text", "id"], "unique": true}]}"#;

const VIEW: &str = r#"{"name": "View", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "shown": {"field_mappers": {"Item": "text"}},
    "own": {}}}"#;

const NOTE: &str = r#"{"name": "Note", "fields": {"title": {}, "list": {"field_type": "Range"}}}"#;

const HISTORY: [&str; 9] = [
    r#"{"mutation": "create", "schema": "Item", "records": [
        {"id": 1, "n": 1, "of": {"a": "1", "b": "2"}}, {"id": 2, "n": 2}]}"#,
    r#"{"mutation": "update", "schema": "Item", "records": [{"id": 1, "n": 3, "text": "a"}]}"#,
    r#"{"mutation": "update", "schema": "Item", "records": [{"id": 1, "text": null}]}"#,
    r#"{"mutation": "put", "schema": "Item", "key": 1, "field": "of", "elements": {"a": "4"}}"#,
    r#"{"mutation": "delete", "schema": "Item", "keys": [1]}"#,
    r#"{"mutation": "create", "schema": "Item", "records": [{"id": 1, "tags": ["x", {"y": 1}]}]}"#,
    r#"{"mutation": "upsert", "schema": "View", "records": [{"id": 3, "shown": 5, "own": [1]}]}"#,
    r#"{"mutation": "update", "schema": "Note", "records": [{"title": "t", "list": {"k": 1}}]}"#,
    r#"{"mutation": "remove", "schema": "Item", "key": 1, "field": "tags", "elements": ["0"]}"#,
];

const QUERIES: [&str; 9] = [
    r#"{"schema": "Item", "select": ["n", "id"], "key": {"prefix": []}, "limit": 1}"#,
    r#"{"schema": "Item", "key": {"from": 1, "to": [2]}, "as_of": 4}"#,
    r#"{"schema": "View", "key": {"exact": 3}, "cursor": null}"#,
    r#"{"schema": "Note", "as_of": "-1h"}"#,
    r#"{"schema": "Item", "key": 1, "field": "of", "prefix": "a", "reverse": true}"#,
    r#"{"schema": "Item", "key": 1, "field": "of",
        "filter": {"KeyRange": {"start": "", "end": "b"}}}"#,
    r#"{"schema": "Note", "key": [], "field": "list", "glob": "k*", "limit": 3}"#,
    r#"{"type": "query", "schema": "Note", "fields": ["title", "list"], "filter": {"Key": "k"}}"#,
    r#"{"type": "mutation", "schema": "Note", "mutation_type": "create", "data": {"title": 1}}"#,
];

const MORE: [&str; 4] = [
    r#"{"transaction": [{"mutation": "delete", "schema": "Item", "keys": [[2], 1]}],
        "if": [{"schema": "Item", "key": [2], "unchanged_since": 1},
               {"schema": "Item", "key": 1, "field": "of", "element": "a", "absent": true}]}"#,
    r#"{"mutation": "put", "schema": "Note", "key": [], "field": "list", "if": "absent",
        "elements": {"k": null, "é": {"a": [1]}}}"#,
    r#"{"type": "mutation", "schema": "Item", "mutation_type": "add_to_collection:x",
        "data": {"id": 2, "tags": 5}}"#,
    r#"{"type": "mutation", "schema": "Item", "mutation_type": {"Delete": null},
        "data": {"id": 2}}"#,
];

const WORDS: [&str; 40] = [
    "\"mutation\":",
    "\"create\"",
    "\"update\"",
    "\"upsert\"",
    "\"delete\"",
    "\"put\"",
    "\"remove\"",
    "\"schema\":",
    "\"Item\"",
    "\"View\"",
    "\"Note\"",
    "\"records\":",
    "\"keys\":",
    "\"key\":",
    "\"field\":",
    "\"elements\":",
    "\"if\":",
    "\"exists\"",
    "\"absent\":true",
    "\"unchanged_since\":",
    "\"transaction\":[",
    "\"select\":",
    "\"cursor\":\"9-01\"",
    "\"cursor\":\"9-010103210100\"",
    "\"as_of\":",
    "\"limit\":1",
    "\"prefix\":",
    "\"exact\":",
    "\"from\":",
    "\"to\":",
    "\"id\":",
    "\"tags\":",
    "\"of\":",
    "null",
    "{}",
    "[]",
    "1e300",
    "true",
    "\"filter\":{\"Keys\":[\"a\"]}",
    "\"Value\":",
];

fn requests() -> impl Iterator<Item = &'static str> {
    HISTORY.into_iter().chain(QUERIES).chain(MORE)
}

fn noon() -> Timestamp {
    Timestamp::parse("2013-01-01T12:00:00Z").unwrap()
}

fn open(store: Arc<dyn Store>) -> Result<FoldDb, FoldDbError> {
    let clock = Arc::new(ManualClock::new(noon()));
    Ok(FoldDb::new(DatabasePool::with_store(
        store,
        &PoolOptions { clock, ..PoolOptions::create() },
    )?))
}

/// A space with several lives of records, mapped fields and elements.
fn space() -> MemoryStore {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let db = open(Arc::clone(&memory) as _).unwrap();
    for text in [ITEM, VIEW, NOTE] {
        let name = db.schemas().load_text(text, None).unwrap().name;
        db.schemas().approve_schema(&name).unwrap();
    }
    for request in HISTORY {
        db.mutate(&MutationRequest::parse(request).unwrap()).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
    memory.fork()
}

/// Each form of request is read or refused with a place and a rule, and none is taken for two.
#[test]
fn request_json() {
    Fuzz::new("request_json").seeds(requests()).words(WORDS).len_max(800).run(|input| {
        let text = String::from_utf8_lossy(input);
        let read = [
            MutationRequest::parse(&text).map(drop),
            QueryRequest::parse(&text).map(drop),
            ElementQuery::parse(&text).map(drop),
            Operation::parse(&text).map(drop),
        ];
        let mut class = 0;
        for (at, read) in read.iter().enumerate() {
            match read {
                Ok(()) => class |= 1_u64 << at,
                Err(error) => assert!(!error.place.is_empty() && !error.rule.is_empty()),
            }
        }
        if let Ok(value) = Value::parse_json(&text) {
            class |= u64::from(ElementFilter::from_value(value).is_ok()) << 4;
        }
        assert!(class.count_ones() <= 1, "one text is two requests: {class:b}");
        match class {
            0 => {
                let place = &read[0].as_ref().unwrap_err().place;
                Verdict::refused(
                    &place.chars().filter(char::is_ascii_lowercase).take(9).collect::<String>(),
                )
            }
            class => Verdict::accepted(class),
        }
    });
}

/// A request that is carried out leaves a space that is sound, and one that is refused changes
/// nothing.
#[test]
fn request_run() {
    let space = space();
    let fuzz = Fuzz::new("request_run").seeds(requests()).words(WORDS).len_max(800).cost(100);
    fuzz.run(|input| {
        let text = String::from_utf8_lossy(input);
        let mutation = MutationRequest::parse(&text);
        let query = QueryRequest::parse(&text);
        let elements = ElementQuery::parse(&text);
        let operation = Operation::parse(&text);
        if mutation.is_err() && query.is_err() && elements.is_err() && operation.is_err() {
            return Verdict::refused("request");
        }
        let db = open(Arc::new(space.fork())).unwrap();
        let before = db.verify().unwrap();
        let done = match (mutation, query, elements, operation) {
            (Ok(request), ..) => db.mutate(&request).map(|_| 1),
            (_, Ok(query), ..) => db.query(&query).map(|answer| 2 + answer.records.len() as u64),
            (_, _, Ok(query), _) => {
                db.elements(&query).map(|answer| 20 + answer.elements.len() as u64)
            }
            (.., Ok(operation)) => db.execute(&operation).map(|_| 50),
            _ => return Verdict::refused("request"),
        };
        let after = db.verify().unwrap();
        assert!(after.is_sound(), "{:?}", after.problems);
        match done {
            Ok(class) => Verdict::accepted(class),
            Err(error) => {
                assert_eq!(after, before, "{error}");
                assert!(!error.to_string().is_empty());
                Verdict::refused(error.code())
            }
        }
    });
}

#[test]
fn moment() {
    let seeds = ["42", "2013-01-01T05:15:00Z", "-2h", "-1w2d3h4m5s6ms", "-90m", "0"];
    let words = ["w", "d", "h", "m", "s", "ms", "-", "99999999999999999999", "153722867280w"];
    Fuzz::new("moment").seeds(seeds).words(words).len_max(64).run(|input| {
        let text = String::from_utf8_lossy(input);
        match parse_moment(&text, noon()) {
            Ok(Moment::Commit(number)) => {
                assert_eq!(
                    text.trim_start_matches('0'),
                    number.to_string().trim_start_matches('0')
                );
                Verdict::accepted(0)
            }
            Ok(Moment::Time(time)) if text.starts_with('-') => {
                assert!(time < noon());
                assert!((noon().as_micros() - time.as_micros()) % 1_000 == 0);
                Verdict::accepted(1)
            }
            Ok(Moment::Time(time)) => {
                assert_eq!(Timestamp::parse(&text), Ok(time));
                Verdict::accepted(2)
            }
            Ok(Moment::Now) => panic!("no text is now"),
            Err(error) => {
                assert_eq!(error.text, text);
                Verdict::refused("moment")
            }
        }
    });
}

/// As the definition of patterns says, in as many steps as pattern and text have together.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let mut places = vec![false; text.len() + 1];
    places[0] = true;
    for char in pattern {
        if *char == '*' {
            let from = places.iter().position(|is_place| *is_place).unwrap_or(places.len());
            places[from..].fill(true);
        } else {
            let step = |at: usize| places[at] && (*char == '?' || *char == text[at]);
            let next: Vec<bool> = (0..text.len()).map(step).collect();
            places = [&[false][..], &next].concat();
        }
    }
    places[text.len()]
}

#[test]
fn glob() {
    let long = format!("{}\n{}", "*a?".repeat(40), "ab".repeat(70));
    let seeds = ["eu:*\neu:berlin", "*:b*n\neu:berlin", "?\né", "**a**\nbab", &long];
    Fuzz::new("glob").seeds(seeds).words(["*", "?", "**", "é", "\n"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        let (pattern, text) = text.split_once('\n').unwrap_or((&text, "ab"));
        let glob = Glob::new(pattern);
        assert_eq!(glob.as_str(), pattern);
        let is_match = glob.matches(text);
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(is_match, matches(&chars(pattern), &chars(text)), "{pattern:?} {text:?}");
        assert!(!is_match || text.starts_with(glob.literal_prefix()));
        Verdict::from(is_match)
    });
}

#[test]
fn cursor() {
    let seeds = [write_cursor(CommitNumber(42), b"key"), write_cursor(CommitNumber(0), b"")];
    Fuzz::new("cursor").seeds(seeds).words(["-", "+", "ffffffffffffffff", "0x"]).run(|input| {
        let text = String::from_utf8_lossy(input);
        match read_cursor(&text) {
            Some((at, key)) => {
                let again = write_cursor(at, &key);
                assert_eq!(read_cursor(&again), Some((at, key)));
                // Zeros in front of the number and capital digits are read too.
                let plain = text.to_lowercase();
                assert!(plain.trim_start_matches('0').ends_with(again.trim_start_matches('0')));
                Verdict::accepted(again.len().min(9) as u64)
            }
            None => Verdict::refused("cursor"),
        }
    });
}

fn import(fuzz: Fuzz, schema: &str, text: &str, format: ImportFormat) {
    let memory = Arc::new(MemoryStore::new().unwrap());
    let db = open(Arc::clone(&memory) as _).unwrap();
    db.schemas().load_text(text, None).unwrap();
    let name = SchemaName::parse(schema).unwrap();
    db.schemas().approve_schema(&name).unwrap();
    let memory = memory.fork();
    fuzz.cost(100).run(|input| {
        let db = open(Arc::new(memory.fork())).unwrap();
        let mut options = ImportOptions::new(format);
        options.batch_rows = 2;
        let go_on = |_| ControlFlow::Continue(());
        let imported = db.import(&name, input, &options, go_on);
        let after = db.verify().unwrap();
        assert!(after.is_sound(), "{:?}", after.problems);
        match imported {
            Ok(report) => {
                let rows = report.imported + report.unchanged + report.refused;
                let lines = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
                assert!(rows <= lines as u64, "{rows} rows on {lines} lines");
                for error in &report.errors {
                    assert!((1..=lines as u64).contains(&error.line), "{error:?}");
                }
                assert!(after.records <= report.imported);
                // What was refused is refused again, and a row alone is there already.
                let again = db.import(&name, input, &options, go_on).unwrap();
                assert_eq!(again.errors, report.errors);
                assert!(rows != 1 || again.imported == 0, "{again:?}");
                Verdict::accepted(report.imported.min(3) * 4 + report.refused.min(3))
            }
            Err(error) => Verdict::refused(error.error.code()),
        }
    });
}

#[test]
fn import_csv() {
    let seeds = [
        "carrier,flight,delay\nUA,1545,2\nAA,1,\n",
        "carrier,flight,departure,note\n\"U\"\"A\",1,2013-01-01T05:15:00Z,\"a\r\nb\"\n",
        "\u{feff}flight,carrier,tags,at\r\n\r\n1,UA,\"[1,2]\",\"{\"\"k\"\":1}\"\r\n2,AA,{},x\r\n",
    ];
    let words =
        ["carrier", "flight", "delay", "note", "tags", "at", "\"\"", ",", "\r\n", "\u{feff}"];
    let fuzz = Fuzz::new("import_csv").seeds(seeds).words(words).words(["1e999", "NaN", "[", "{"]);
    import(fuzz, "Flight", &flight_without_logic(), ImportFormat::Csv);
}

#[test]
fn import_ndjson() {
    let seeds = [
        "{\"carrier\":\"UA\",\"flight\":1,\"delay\":2}\n{\"carrier\":\"AA\",\"flight\":2}\r\n",
        "\n{\"carrier\":\"UA\",\"flight\":1,\"tags\":[1,2],\"at\":{\"k\":1}}\n5\n{\"x\":1}",
    ];
    let words =
        ["\"carrier\":", "\"flight\":", "\"at\":", "\"note\":", "null", "{}", "\n", "{\"k\":"];
    let fuzz = Fuzz::new("import_ndjson").seeds(seeds).words(words);
    import(fuzz, "Flight", &flight_without_logic(), ImportFormat::Ndjson);
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

/// Writes a row as one more commit, which changes nothing else and which the log knows.
fn plant(store: &MemoryStore, keyspace: Keyspace, key: &[u8], row: Option<&[u8]>) -> MemoryStore {
    let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap().unwrap();
    let mut payload = Decoder::new(&head.payload);
    payload.array().unwrap();
    let time = payload.i64().unwrap() + 1;
    let mut batch = Batch::new(SpaceId::DEFAULT, head.number, head.number + 1, [9; 16]);
    batch.head = encode(|e| e.array(1)?.i64(time)?.ok()).into();
    let mut commit = KeyWriter::new();
    commit.id(SpaceId::DEFAULT.0).ascending(batch.number).id(0);
    let header = encode(|e| e.i64(time)?.u32(0)?.u32(0)?.ok());
    batch.put(Keyspace::Commits, commit.finish(), header);
    batch.write((keyspace, Bytes::copy_from_slice(key)), row.map(Bytes::copy_from_slice));
    let store = store.fork();
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    store
}

/// Reads everything, now and as of each commit.
fn read_all(db: &FoldDb) -> Result<u64, FoldDbError> {
    let mut values = 0;
    let head = db.verify()?.commits;
    for entry in db.schemas().core().iter() {
        let name = &entry.schema.name;
        // Any state is as good as the one that was there.
        if entry.state != SchemaState::Approved {
            db.schemas().approve_schema(name)?;
        }
        for at in (1..=head).chain([head]) {
            let query =
                QueryRequest { as_of: Some(at.to_string()), ..QueryRequest::new(name.clone()) };
            let answer = match db.query(&query) {
                // The schema was not there yet.
                Err(FoldDbError::Query(_)) if at < head => continue,
                answer => answer?,
            };
            for record in answer.records {
                values += record.values.len() as u64;
                let key = entry.schema.key.iter().filter_map(|field| record.get(field.as_str()));
                let key: Vec<Value> = key.cloned().collect();
                db.history(name, &key, None, None, usize::MAX)?;
                for field in ["of", "tags", "list"] {
                    if entry.schema.field(field).is_some() {
                        let field = FieldName::parse(field).unwrap();
                        let query = ElementQuery {
                            as_of: query.as_of.clone(),
                            ..ElementQuery::new(name.clone(), key.clone(), field.as_str())
                        };
                        for element in db.elements(&query)?.elements {
                            values += 1;
                            let element = element.key.as_str();
                            db.element_history(name, &key, &field, element, None, usize::MAX)?;
                        }
                    }
                }
            }
        }
    }
    Ok(values)
}

/// Any row in the place of any other: the store is refused, or `verify` tells, or everything can
/// be read.
#[test]
fn verify_rows() {
    let store = space();
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for keyspace in Keyspace::ALL {
        let page = snapshot.scan(&Scan::all(keyspace)).unwrap();
        assert!(!page.more());
        for (key, row) in page.rows() {
            // The head and the identity are written by the planted commit, or are the engine's.
            if keyspace != Keyspace::Head || key.len() == 2 {
                rows.push((keyspace, key.to_vec(), row.to_vec()));
            }
        }
    }
    assert!((30..256).contains(&rows.len()), "{} rows", rows.len());
    let place = |at: usize| at.to_le_bytes()[0];
    let seeds = rows.iter().enumerate().map(|(at, row)| [&[place(at), 0][..], &row.2].concat());
    let words = rows.iter().map(|(_, _, row)| row.clone()).filter(|row| row.len() < 40);
    let fuzz = Fuzz::new("verify_rows").seeds(seeds).words(words);
    fuzz.words(crate::model::fuzz::CBOR_WORDS).len_max(700).cost(300).run(|input| {
        let mut draw = Draw::new(input);
        let (keyspace, key, before) = &rows[draw.below(rows.len())];
        let row = if draw.below(64) == 63 { None } else { Some(draw.rest()) };
        let is_damaged = row != Some(before.as_slice());
        let store = plant(&store, *keyspace, key, row);
        let db = match open(Arc::new(store)) {
            Ok(db) => db,
            Err(error) => {
                assert!(is_damaged, "{error}");
                return Verdict::refused("opening");
            }
        };
        let verified = match db.verify() {
            Ok(report) => report.is_sound(),
            Err(_) => false,
        };
        let read = read_all(&db);
        assert!(verified || is_damaged);
        match read {
            Ok(values) => Verdict::accepted(u64::from(verified) + 2 * (values & 15)),
            Err(error) => {
                assert!(!verified, "verify found nothing: {error}");
                Verdict::refused(error.code())
            }
        }
    });
}

/// Transforms are no part of what is imported.
fn flight_without_logic() -> String {
    let schema = Value::parse_json(FLIGHT).unwrap();
    let Value::Object(mut members) = schema else { panic!() };
    if let Some(Value::Object(fields)) = members.get_mut("fields") {
        fields.remove("mph");
    }
    members.remove("indexes");
    Value::Object(members).to_json()
}
