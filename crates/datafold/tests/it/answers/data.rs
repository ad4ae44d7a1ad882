//! Rows that both have: those of the flights, and generated ones that are hard to sort and compare.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use datafold::engine::{ImportFormat, ImportOptions, Mutation, RecordInput};
use datafold::model::{FieldName, IndexDefinition, Timestamp, Value};
use datafold::{FoldDb, QueryRequest};
use datafold_testkit::Random;
use flate2::read::GzDecoder;
use rusqlite::Connection;

use super::expression::sql_value;
use crate::harness::{approve, name};

/// What can be computed with the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Small ones, so that nothing overflows.
    Int,
    /// Integers and floats.
    Number,
    /// Integers of any size, only to compare.
    Big,
    Text,
    /// With the character NUL, at which functions of SQLite stop.
    AnyText,
    Time,
    /// Numbers and texts.
    Mixed,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Values that it has.
    pub(super) samples: Vec<Value>,
}

/// A table, and the schema with the same rows.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// So many of the first columns are the key.
    pub(super) key: usize,
    pub(super) columns: Vec<Column>,
    /// Tables whose records can be looked up: their names, and the columns that have their key.
    pub(super) lookups: Vec<(&'static str, Vec<&'static str>)>,
    /// The columns of indexes that have an order to sort by.
    pub(super) indexes: Vec<Vec<&'static str>>,
}

/// Stores with the same rows.
pub(super) struct Stores {
    pub(super) tables: Vec<Table>,
    pub(super) plain: FoldDb,
    pub(super) indexed: FoldDb,
    pub(super) sqlite: Connection,
}

/// A schema without its computed fields, each of which stands in a line of its own.
fn written_only(schema: &str) -> String {
    let lines = schema.lines().filter(|line| !line.contains("\"transform\""));
    // The last one that is left may have a comma behind it.
    lines.collect::<String>().replace("},  }}", "}}}")
}

/// A table to be: its name, schema, kinds of columns, lookups and indexes (`!` for unique).
struct Plan {
    name: &'static str,
    schema: &'static str,
    columns: &'static [(&'static str, Kind)],
    key: usize,
    lookups: &'static [(&'static str, &'static [&'static str])],
    indexes: &'static [&'static [&'static str]],
}

use Kind::{AnyText, Big, Bool, Int, Mixed, Number, Text, Time};

macro_rules! flights_file {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/nycflights/", $name)
    };
}

const FLIGHTS: &[(Plan, &str)] = &[
    (
        Plan {
            name: "Airline",
            schema: include_str!("../../../../../examples/nycflights/schemas/Airline.json"),
            columns: &[("carrier", Text), ("name", Text)],
            key: 1,
            lookups: &[],
            indexes: &[],
        },
        flights_file!("airlines.csv"),
    ),
    (
        Plan {
            name: "Airport",
            schema: include_str!("../../../../../examples/nycflights/schemas/Airport.json"),
            columns: &[
                ("faa", Text),
                ("name", Text),
                ("lat", Number),
                ("lon", Number),
                ("alt", Int),
                ("tz", Int),
                ("dst", Text),
                ("tzone", Text),
            ],
            key: 1,
            lookups: &[],
            indexes: &[&["tz", "alt"], &["tzone"], &["lat"], &["name"]],
        },
        flights_file!("airports.csv.gz"),
    ),
    (
        Plan {
            name: "Plane",
            schema: include_str!("../../../../../examples/nycflights/schemas/Plane.json"),
            columns: &[
                ("tailnum", Text),
                ("year", Int),
                ("type", Text),
                ("manufacturer", Text),
                ("model", Text),
                ("engines", Int),
                ("seats", Int),
                ("speed", Int),
                ("engine", Text),
            ],
            key: 1,
            lookups: &[],
            indexes: &[&["manufacturer", "year"], &["seats"], &["speed"], &["year", "tailnum"]],
        },
        flights_file!("planes.csv.gz"),
    ),
    (
        Plan {
            name: "Weather",
            schema: include_str!("../../../../../examples/nycflights/schemas/Weather.json"),
            columns: &[
                ("origin", Text),
                ("time_hour", Time),
                ("temp", Number),
                ("humid", Number),
                ("wind_dir", Int),
                ("wind_gust", Number),
                ("pressure", Number),
                ("hour", Int),
                ("month", Int),
            ],
            key: 2,
            lookups: &[("Airport", &["origin"])],
            indexes: &[&["temp"], &["wind_dir", "temp"], &["time_hour"], &["wind_gust"]],
        },
        flights_file!("weather.csv.gz"),
    ),
    (
        Plan {
            name: "Flight",
            schema: include_str!("../../../../../examples/nycflights/schemas/Flight.json"),
            columns: &[
                ("carrier", Text),
                ("flight", Int),
                ("time_hour", Time),
                ("origin", Text),
                ("dest", Text),
                ("tailnum", Text),
                ("dep_time", Int),
                ("dep_delay", Int),
                ("arr_delay", Int),
                ("air_time", Int),
                ("distance", Int),
                ("day", Int),
            ],
            key: 3,
            lookups: &[
                ("Airline", &["carrier"]),
                ("Airport", &["dest"]),
                ("Plane", &["tailnum"]),
                ("Weather", &["origin", "time_hour"]),
            ],
            indexes: &[
                &["dest"],
                &["carrier", "distance"],
                &["origin", "dep_delay"],
                &["tailnum"],
                &["dep_delay"],
                &["time_hour", "dest"],
                &["!", "origin", "carrier", "flight", "time_hour"],
            ],
        },
        flights_file!("flights-2013-01.csv.gz"),
    ),
];

const GENERATED: &[Plan] = &[
    Plan {
        name: "Other",
        schema: r#"{"name": "Other", "key": ["id"], "fields": {
            "id": {"value": {"type": "string"}}, "v": {"value": {"type": ["integer", "null"]}},
            "w": {"value": {"type": ["string", "null"]}}}}"#,
        columns: &[("id", AnyText), ("v", Int), ("w", AnyText)],
        key: 1,
        lookups: &[],
        indexes: &[&["v"], &["w"], &["w", "id"]],
    },
    Plan {
        name: "Item",
        schema: r#"{"name": "Item", "key": ["g", "n"], "fields": {
            "g": {"value": {"type": "string"}}, "n": {"value": {"type": "number"}},
            "a": {"value": {"type": ["integer", "null"]}},
            "b": {"value": {"type": ["number", "null"]}},
            "t": {"value": {"type": ["string", "null"]}},
            "u": {"value": {"type": ["integer", "null"]}},
            "f": {"value": {"type": ["boolean", "null"]}},
            "d": {"value": {"type": ["string", "null"], "format": "date-time"}},
            "ref": {"value": {"type": ["string", "null"]}},
            "big": {"value": {"type": ["integer", "null"]}},
            "x": {}}}"#,
        columns: &[
            ("g", AnyText),
            ("n", Number),
            ("a", Int),
            ("b", Number),
            ("t", AnyText),
            ("u", Int),
            ("f", Bool),
            ("d", Time),
            ("ref", AnyText),
            ("big", Big),
            ("x", Mixed),
        ],
        key: 2,
        lookups: &[("Other", &["ref"])],
        indexes: &[
            &["a"],
            &["b"],
            &["t"],
            &["a", "t"],
            &["t", "b"],
            &["!", "u"],
            &["f", "d"],
            &["ref", "g"],
            &["big"],
            &["x"],
            &["n", "a"],
        ],
    },
];

/// The flights; `full` or every so many of them.
pub(super) fn flights(full: bool) -> Stores {
    let mut stores = Stores::new();
    for (plan, file) in FLIGHTS {
        let every = match plan.name {
            _ if full => 1,
            "Flight" => 14,
            "Weather" => 15,
            "Plane" => 3,
            _ => 1,
        };
        let csv = read(file);
        let mut lines = csv.lines();
        let mut some: String = lines.next().into_iter().flat_map(|line| [line, "\n"]).collect();
        for line in lines.step_by(every) {
            some.push_str(line);
            some.push('\n');
        }
        approve(&stores.plain, &written_only(plan.schema));
        let options =
            ImportOptions { nulls: vec!["NA".into()], ..ImportOptions::new(ImportFormat::Csv) };
        let go_on = |_| ControlFlow::Continue(());
        let report = stores.plain.import(&name(plan.name), some.as_bytes(), &options, go_on);
        assert_eq!(report.unwrap().refused, 0);
        stores.add(plan, None);
    }
    stores
}

fn read(file: &str) -> String {
    let bytes = std::fs::read(file).unwrap();
    if !file.ends_with(".gz") {
        return String::from_utf8(bytes).unwrap();
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text
}

/// Records with nulls, duplicates and texts that are easily taken for each other.
pub(super) fn generated(random: &mut Random, count: usize) -> Stores {
    let mut stores = Stores::new();
    let mut texts = texts();
    for (plan, count) in GENERATED.iter().zip([texts.len(), count]) {
        approve(&stores.plain, &written_only(plan.schema));
        let mut rows = std::collections::BTreeMap::new();
        for at in 0..count {
            let mut row = Vec::new();
            for (place, (column, kind)) in plan.columns.iter().enumerate() {
                row.push(match (*column, kind) {
                    ("id", _) => texts[at].as_str().into(),
                    ("u", _) if !random.one_in(5) => Value::from(i64::try_from(at * 3).unwrap()),
                    ("u", _) => Value::Null,
                    _ if place >= plan.key && random.one_in(6) => Value::Null,
                    (_, kind) => value(*kind, random, &texts),
                });
            }
            let key: Vec<String> = row.iter().take(plan.key).map(Value::to_json).collect();
            rows.insert(key, row);
        }
        stores.add(plan, Some(rows.into_values().collect()));
        // Some that nothing has.
        texts.extend(["zz".to_owned(), "a\0\0\0".to_owned()]);
    }
    stores
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> =
        ["", "a", "a\0", "a\0\0", "a\0b", "ab", "b", "ä", "z", "Z", "\u{10FFFF}", "\u{7f}", "0"]
            .map(str::to_owned)
            .to_vec();
    for count in [250, 251, 252, 253, 255, 256, 257, 300] {
        let long = "l".repeat(count);
        for behind in ["", "a", "b", "\0", "\u{10FFFF}", "ä"] {
            texts.push(format!("{long}{behind}"));
        }
    }
    texts.push(format!("{}tail", "ä".repeat(130)));
    texts.push(format!("{}tails", "ä".repeat(130)));
    texts.sort();
    texts.dedup();
    texts
}

fn value(kind: Kind, random: &mut Random, texts: &[String]) -> Value {
    let small = i64::try_from(random.below(21)).unwrap() - 10;
    match kind {
        Bool => Value::Bool(random.one_in(2)),
        Int => Value::Int(small),
        // Sums of quarters are exact everywhere.
        Number => match random.below(3) {
            0 => Value::Int(small * 300),
            _ => Value::number(f64::from(i32::try_from(small).unwrap()) * 1.25).unwrap(),
        },
        Big => {
            let ends = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 1 << 53, (1 << 53) + 1, 0];
            Value::Int(*random.choose(&ends).unwrap())
        }
        Text | AnyText => Value::from(random.choose(texts).unwrap().as_str()),
        Time => {
            let hour = i64::try_from(random.below(200)).unwrap();
            Value::Time(Timestamp::from_micros(1_357_000_000_000_000 + hour * 1_800_000_000))
        }
        Mixed => match random.below(3) {
            0 => Value::Int(small),
            1 => Value::number(f64::from(i32::try_from(small).unwrap()) / 4.0).unwrap(),
            _ => Value::from(random.choose(texts).unwrap().as_str()),
        },
    }
}

impl Stores {
    fn new() -> Self {
        Self {
            tables: Vec::new(),
            plain: FoldDb::open("memory:").unwrap(),
            indexed: FoldDb::open("memory:").unwrap(),
            sqlite: Connection::open_in_memory().unwrap(),
        }
    }

    /// The same stores for another thread, with the rows of SQLite in a file of its own.
    pub(super) fn copy(&self, file: &Path) -> Stores {
        self.sqlite.execute("VACUUM INTO ?", [file.to_str().unwrap()]).unwrap();
        let sqlite = Connection::open(file).unwrap();
        sqlite.pragma_update(None, "cache_size", -64_000).unwrap();
        let (plain, indexed) = (self.plain.clone(), self.indexed.clone());
        Stores { tables: self.tables.clone(), plain, indexed, sqlite }
    }

    /// Gives all stores the rows, or those that the plain one has.
    fn add(&mut self, plan: &Plan, rows: Option<Vec<Vec<Value>>>) {
        approve(&self.indexed, &written_only(plan.schema));
        let schema = name(plan.name);
        for index in plan.indexes {
            let unique = index[0] == "!";
            let fields = index.iter().skip(usize::from(unique));
            let fields = fields.map(|field| FieldName::parse(field).unwrap()).collect();
            let definition = IndexDefinition { fields, unique };
            self.indexed.schemas().create_index(&schema, &definition).unwrap();
        }
        let record = |row: &Vec<Value>| -> RecordInput {
            let names = plan.columns.iter().map(|(column, _)| (*column).to_owned());
            names.zip(row.iter().cloned()).collect()
        };
        let is_new = rows.is_some();
        let rows = rows.unwrap_or_else(|| {
            let mut request = QueryRequest::new(schema.clone());
            request.select = Some(plan.columns.iter().map(|(name, _)| (*name).into()).collect());
            let answer = self.plain.query(&request).unwrap();
            answer.records.into_iter().map(|record| record.values).collect()
        });
        for some in rows.chunks(500) {
            let create = || Mutation::create(schema.clone(), some.iter().map(record).collect());
            self.indexed.mutate(&create().into()).unwrap();
            if is_new {
                self.plain.mutate(&create().into()).unwrap();
            }
        }
        self.indexed.schemas().wait_for_indexes(&schema).unwrap();
        self.insert(plan, &rows);
        let columns = plan.columns.iter().enumerate().map(|(at, (column, kind))| {
            let every = (rows.len() / 60).max(1);
            let samples = rows.iter().step_by(every).map(|row| row[at].clone()).collect();
            Column { name: (*column).to_owned(), kind: *kind, samples }
        });
        let has_no_order =
            |name: &&str| plan.columns.iter().any(|column| column.0 == *name && column.1 == Mixed);
        let indexes = plan.indexes.iter().filter(|index| !index.iter().any(has_no_order));
        let without_mark =
            |index: &&[&'static str]| index.iter().copied().filter(|field| *field != "!").collect();
        self.tables.push(Table {
            name: plan.name,
            indexes: indexes.map(without_mark).collect(),
            key: plan.key,
            columns: columns.collect(),
            lookups: plan.lookups.iter().map(|(name, key)| (*name, key.to_vec())).collect(),
        });
    }

    fn insert(&mut self, plan: &Plan, rows: &[Vec<Value>]) {
        let names: Vec<_> = plan.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let key = names[..plan.key].join(", ");
        // Without types, so that nothing is converted.
        let table = format!(
            "CREATE TABLE \"{}\" ({}, PRIMARY KEY ({key})) WITHOUT ROWID",
            plan.name,
            names.join(", ")
        );
        self.sqlite.execute(&table, []).unwrap();
        let places = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT INTO \"{}\" VALUES ({places})", plan.name);
        let transaction = self.sqlite.transaction().unwrap();
        {
            let mut insert = transaction.prepare(&insert).unwrap();
            for row in rows {
                insert.execute(rusqlite::params_from_iter(row.iter().map(sql_value))).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}
