//! Queries over flights, beside SQLite with the same rows and indexes: in the library, warm.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use datafold::engine::{ImportFormat, ImportOptions};
use datafold::model::{FieldName, IndexDefinition, SchemaName};
use datafold::{FoldDb, QueryRequest};
use flate2::read::GzDecoder;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::bench_import::{KEY, TEXTS, example, write_lines, written_only};
use crate::fixture;
use crate::table::{Table, median};

/// A query of both, and the most times that ours may take of theirs.
struct Question {
    what: &'static str,
    ours: &'static str,
    sql: &'static str,
    goal: &'static str,
    /// So often in a round.
    times: u32,
}

const QUESTIONS: [Question; 12] = [
    Question {
        what: "point lookup by key",
        ours: r#"{"key": {"exact": ["UA", 1545, "2013-01-01T10:00:00Z"]}}"#,
        sql: "SELECT * FROM flight WHERE carrier = 'UA' AND flight = 1545
              AND time_hour = '2013-01-01T10:00:00Z'",
        goal: "at most 1.5",
        times: 5_000,
    },
    Question {
        what: "point lookup by a condition",
        ours: r#"{"parameters": {"at": "2013-01-01T10:00:00Z"},
                  "where": "carrier == 'UA' && flight == 1545 && time_hour == $at"}"#,
        sql: "SELECT * FROM flight WHERE carrier = 'UA' AND flight = 1545
              AND time_hour = '2013-01-01T10:00:00Z'",
        goal: "reported",
        times: 2_000,
    },
    Question {
        what: "range of 1,000 keys, all fields",
        ours: r#"{"key": {"from": ["UA", 1000]}, "limit": 1000}"#,
        sql: "SELECT * FROM flight WHERE (carrier, flight) >= ('UA', 1000)
              ORDER BY carrier, flight, time_hour LIMIT 1000",
        goal: "at most 1.5",
        times: 50,
    },
    Question {
        what: "indexed condition, about 100 records",
        ours: r#"{"where": "tailnum == 'N14228'"}"#,
        sql: "SELECT * FROM flight WHERE tailnum = 'N14228' ORDER BY carrier, flight, time_hour",
        goal: "at most 1.5",
        times: 100,
    },
    Question {
        what: "condition without an index, count",
        ours: r#"{"where": "distance > 1000 && dep_delay > 60", "aggregates": ["n = count()"]}"#,
        sql: "SELECT count(*) FROM flight WHERE distance > 1000 AND dep_delay > 60",
        goal: "at most 3",
        times: 2,
    },
    Question {
        what: "group by carrier with average",
        ours: r#"{"group_by": ["carrier"], "aggregates": ["mean = avg(dep_delay)"]}"#,
        sql: "SELECT carrier, avg(dep_delay) FROM flight GROUP BY carrier ORDER BY carrier",
        goal: "at most 3",
        times: 2,
    },
    Question {
        what: "group by destination with average",
        ours: r#"{"group_by": ["dest"], "aggregates": ["mean = avg(dep_delay)"]}"#,
        sql: "SELECT dest, avg(dep_delay) FROM flight GROUP BY dest ORDER BY dest",
        goal: "at most 3",
        times: 2,
    },
    Question {
        what: "sort without an index, limit 10",
        ours: r#"{"sort": ["arr_delay desc"], "limit": 10}"#,
        sql: "SELECT * FROM flight ORDER BY arr_delay DESC, carrier, flight, time_hour LIMIT 10",
        goal: "at most 3",
        times: 2,
    },
    Question {
        what: "sort by an index, limit 10",
        ours: r#"{"sort": ["tailnum desc"], "limit": 10}"#,
        sql: "SELECT * FROM flight ORDER BY tailnum DESC LIMIT 10",
        goal: "reported",
        times: 500,
    },
    Question {
        what: "lookup by key in another schema, count",
        ours: r#"{"where": "Plane[tailnum].seats > 300", "aggregates": ["n = count()"]}"#,
        sql: "SELECT count(*) FROM flight JOIN plane USING (tailnum) WHERE seats > 300",
        goal: "reported",
        times: 1,
    },
    Question {
        what: "all records, 2 of 19 fields",
        ours: r#"{"select": ["origin", "distance"]}"#,
        sql: "SELECT origin, distance FROM flight",
        goal: "reported",
        times: 1,
    },
    Question {
        what: "all records, all fields",
        ours: "{}",
        sql: "SELECT * FROM flight",
        goal: "reported",
        times: 1,
    },
];

/// `only` is a part of the words of the queries to measure.
pub(crate) fn run(flights: &Path, rounds: usize, only: &str, table: &mut Table) {
    let folder = fixture::folder();
    let lines = folder.path().join("flights.ndjson");
    let columns = write_lines(flights, &lines);
    let db = load(&folder.path().join("store"), &lines);
    let sql = load_sqlite(&folder.path().join("flights.db"), &lines, &columns);
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for question in QUESTIONS.iter().filter(|question| question.what.contains(only)) {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut request = question.ours.trim_start_matches('{').to_owned();
        let separator = if request.starts_with('}') { "" } else { ", " };
        request.insert_str(0, &format!(r#"{{"schema": "Flight"{separator}"#));
        let request = QueryRequest::parse(&request).unwrap();
        let mut statement = sql.prepare(question.sql).unwrap();
        let mut counts = (0, 0);
        for round in 0..=rounds {
            let our = measure(question.times, || counts.0 = answer(&db, &request));
            let their = measure(question.times, || counts.1 = answer_sqlite(&mut statement));
            // The first round warms both.
            if round > 0 {
                ours.push(our);
                theirs.push(their);
                ratios.push(our / their);
            }
        }
        assert_eq!(counts.0, counts.1, "{}", question.what);
        if question.what.starts_with("all records") {
            if narrow.is_empty() { narrow.clone_from(&ours) } else { wide.clone_from(&ours) }
        }
        table.add(
            &format!("{} ({} rows)", question.what, counts.0),
            format!("{:.1} µs", median(ours)),
            format!("{:.1} µs SQLite", median(theirs)),
            median(ratios),
            question.goal,
        );
    }
    if narrow.is_empty() || wide.is_empty() {
        return;
    }
    let ratios = wide.iter().zip(&narrow).map(|(wide, narrow)| wide / narrow).collect();
    table.add(
        "time of all fields beside 2 of 19",
        format!("{:.0} µs", median(wide)),
        format!("{:.0} µs", median(narrow)),
        median(ratios),
        "at least 1.5",
    );
}

/// Microseconds of one call.
fn measure(times: u32, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        call();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

fn answer(db: &FoldDb, request: &QueryRequest) -> u64 {
    let mut rows = 0;
    db.query_each(request, |record| {
        rows += 1;
        black_box(&record.values);
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

fn answer_sqlite(statement: &mut rusqlite::Statement<'_>) -> u64 {
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        count += 1;
        for column in 0..columns {
            // Texts are borrowed: what is least.
            black_box::<ValueRef<'_>>(row.get_ref(column).unwrap());
        }
    }
    count
}

fn load(store: &Path, lines: &Path) -> FoldDb {
    let db = FoldDb::create(store.to_str().unwrap()).unwrap();
    let import = |schema: &str, file: Box<dyn Read>, format: ImportFormat| -> SchemaName {
        let text = written_only(&format!("schemas/{schema}.json"));
        let name = db.schemas().load_text(&text, None).unwrap().name;
        db.schemas().approve_schema(&name).unwrap();
        let mut options = ImportOptions::new(format);
        options.batch_rows = 10_000;
        options.nulls.push("NA".into());
        let report = db
            .import(&name, BufReader::new(file), &options, |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(report.refused, 0, "{:?}", report.errors.first());
        name
    };
    import("Plane", Box::new(planes()), ImportFormat::Csv);
    let flight = import("Flight", Box::new(File::open(lines).unwrap()), ImportFormat::Ndjson);
    let fields = vec![FieldName::parse("tailnum").unwrap()];
    let index = IndexDefinition { fields, unique: false };
    db.schemas().create_index(&flight, &index).unwrap();
    db.schemas().wait_for_indexes(&flight).unwrap();
    db
}

fn planes() -> GzDecoder<File> {
    GzDecoder::new(File::open(example("planes.csv.gz")).unwrap())
}

fn load_sqlite(path: &Path, lines: &Path, columns: &[String]) -> Connection {
    let db = Connection::open(path).unwrap();
    let typed: Vec<String> = columns
        .iter()
        .map(|name| {
            let text = TEXTS.contains(&name.as_str());
            format!("{name} {}", if text { "TEXT" } else { "INTEGER" })
        })
        .collect();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA cache_size = -500000;
         CREATE TABLE flight ({}, PRIMARY KEY ({})) STRICT, WITHOUT ROWID;
         CREATE TABLE plane (tailnum TEXT PRIMARY KEY, seats INTEGER) STRICT, WITHOUT ROWID;",
        typed.join(", "),
        KEY.join(", ")
    ))
    .unwrap();
    let places: Vec<String> = columns.iter().map(|name| format!(":line ->> '$.{name}'")).collect();
    db.execute_batch("BEGIN").unwrap();
    let insert = format!("INSERT INTO flight VALUES ({})", places.join(", "));
    let mut insert = db.prepare(&insert).unwrap();
    for line in std::io::BufRead::lines(BufReader::new(File::open(lines).unwrap())) {
        insert.execute([line.unwrap()]).unwrap();
    }
    drop(insert);
    let mut planes = csv::Reader::from_reader(planes());
    let headers = planes.headers().unwrap().clone();
    let seats = headers.iter().position(|name| name == "seats").unwrap();
    let mut insert = db.prepare("INSERT INTO plane VALUES (?, ?)").unwrap();
    for plane in planes.records() {
        let plane = plane.unwrap();
        insert.execute((&plane[0], plane[seats].parse::<i64>().ok())).unwrap();
    }
    drop(insert);
    db.execute_batch("COMMIT; CREATE INDEX by_tailnum ON flight (tailnum); ANALYZE;").unwrap();
    db
}
