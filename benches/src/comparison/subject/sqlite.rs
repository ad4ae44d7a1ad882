//! SQLite with a history of every row by triggers: WAL, `synchronous=FULL`, one connection and one
//! prepared statement of each kind for each thread, a transaction for each write.
//!
//! The leanest shape that can tell what a row was at a time: a row has the time since when it is
//! what it is, and what it was goes to the history when it is replaced. Inserting writes nothing
//! to it.
//!
//! Writers wait for each other at a lock of the program. SQLite's own way of waiting,
//! `busy_timeout`, sleeps between its tries and is slower; `DATAFOLD_BENCH_SQLITE=busy` measures
//! it, and `=mmap` that SQLite reads through a mapping of the file.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Statement, params};

use super::{BATCH, CACHE_BYTES, Fields, Session, Subject, text_of};
use crate::bench_import::{KEY, TEXTS};

const ITEMS: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, text TEXT NOT NULL,
        since INTEGER NOT NULL) STRICT;
    CREATE TABLE item_history (id INTEGER NOT NULL, since INTEGER NOT NULL, count INTEGER,
        text TEXT, PRIMARY KEY (id, since)) STRICT, WITHOUT ROWID;
    CREATE TRIGGER item_updated AFTER UPDATE ON item BEGIN
        INSERT INTO item_history VALUES (old.id, old.since, old.count, old.text); END;
    CREATE TRIGGER item_deleted AFTER DELETE ON item BEGIN
        INSERT INTO item_history VALUES (old.id, old.since, old.count, old.text); END;";

const INSERT: &str = "INSERT INTO item (id, count, text, since) VALUES (?1, ?2, ?3, ?4)";

pub(super) struct Sqlite {
    path: PathBuf,
    mode: String,
    /// Connections that no thread has, with what they have in memory.
    idle: Mutex<Vec<Connection>>,
    /// The time of the last commit, in microseconds; who holds it writes.
    writer: Mutex<i64>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let path = path.join("items.db");
        let is_new = !path.exists();
        let mode = std::env::var("DATAFOLD_BENCH_SQLITE").unwrap_or_default();
        let this = Self { path, mode, idle: Mutex::default(), writer: Mutex::new(0) };
        if is_new {
            this.with(|db| db.execute_batch(ITEMS).unwrap());
        }
        this
    }

    fn connect(&self) -> Connection {
        let db = Connection::open(&self.path).unwrap();
        db.busy_timeout(Duration::from_secs(60)).unwrap();
        let kib = CACHE_BYTES / 1024;
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{kib};"
        ))
        .unwrap();
        if self.mode == "mmap" {
            db.execute_batch("PRAGMA mmap_size = 1073741824").unwrap();
        }
        db
    }

    fn with<T>(&self, run: impl FnOnce(&Connection) -> T) -> T {
        let idle = self.idle.lock().unwrap().pop();
        let db = idle.unwrap_or_else(|| self.connect());
        let answer = run(&db);
        self.idle.lock().unwrap().push(db);
        answer
    }

    /// Waits for its turn to write; answers the time of the commit.
    fn turn(&self) -> (Option<MutexGuard<'_, i64>>, i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        let mut last = self.writer.lock().unwrap();
        *last = now.max(*last + 1);
        let since = *last;
        (Some(last).filter(|_| self.mode != "busy"), since)
    }
}

impl Subject for Sqlite {
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session)) {
        self.with(|db| {
            let prepare = |sql| db.prepare(sql).unwrap();
            run(&mut SqliteSession {
                store: self,
                insert: prepare(INSERT),
                update: prepare("UPDATE item SET count = ?2, since = ?3 WHERE id = ?1"),
                get: prepare("SELECT count, text FROM item WHERE id = ?1"),
                one: prepare("SELECT count FROM item ORDER BY id"),
                all: prepare("SELECT id, count, text FROM item ORDER BY id"),
                since: prepare("SELECT count, text FROM item WHERE id = ?1 AND since <= ?2"),
                past: prepare(
                    "SELECT count, text FROM item_history WHERE id = ?1 AND since <= ?2
                     ORDER BY since DESC LIMIT 1",
                ),
                versions: prepare(
                    "SELECT since, count FROM item WHERE id = ?1 UNION ALL
                     SELECT * FROM (SELECT since, count FROM item_history WHERE id = ?1
                                    ORDER BY since DESC)",
                ),
            });
        });
    }

    fn fill(&self, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        self.with(|db| {
            let mut insert = db.prepare(INSERT).unwrap();
            for chunk in ids.chunks(BATCH) {
                let (_turn, since) = self.turn();
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
                for id in chunk {
                    insert.execute(params![*id as i64, 0, text_of(*id), since]).unwrap();
                }
                db.execute_batch("COMMIT").unwrap();
            }
        });
    }

    fn import(&self, lines: &Path, columns: &[String]) -> u64 {
        let (_turn, since) = self.turn();
        self.with(|db| {
            db.execute_batch(&flights(columns)).unwrap();
            import(db, lines, columns, since)
        })
    }

    fn close(self: Box<Self>) {
        self.with(|db| {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        });
    }
}

struct SqliteSession<'a> {
    store: &'a Sqlite,
    insert: Statement<'a>,
    update: Statement<'a>,
    get: Statement<'a>,
    one: Statement<'a>,
    all: Statement<'a>,
    since: Statement<'a>,
    past: Statement<'a>,
    versions: Statement<'a>,
}

/// Counts the rows; each is decoded and seen.
fn walk(rows: &mut rusqlite::Rows<'_>, mut see: impl FnMut(&rusqlite::Row<'_>)) -> u64 {
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        see(row);
        count += 1;
    }
    count
}

fn item(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

impl Session for SqliteSession<'_> {
    fn create(&mut self, id: u64, count: u64) {
        let (_turn, since) = self.store.turn();
        let values = params![id as i64, count as i64, text_of(id), since];
        assert_eq!(self.insert.execute(values).unwrap(), 1);
    }

    fn update(&mut self, id: u64, count: u64) -> u64 {
        let (_turn, since) = self.store.turn();
        assert_eq!(self.update.execute([id as i64, count as i64, since]).unwrap(), 1);
        since as u64
    }

    fn get(&mut self, id: u64) -> u64 {
        black_box(self.get.query_row([id as i64], item).unwrap()).0 as u64
    }

    fn text(&mut self, id: u64) -> String {
        self.get.query_row([id as i64], item).unwrap().1
    }

    fn scan(&mut self, fields: Fields) -> u64 {
        let number = |row: &rusqlite::Row<'_>, at| row.get_ref(at).unwrap().as_i64().unwrap();
        match fields {
            Fields::One => walk(&mut self.one.query([]).unwrap(), |row| {
                black_box(number(row, 0));
            }),
            Fields::All => walk(&mut self.all.query([]).unwrap(), |row| {
                black_box((number(row, 0), number(row, 1)));
                black_box(row.get_ref(2).unwrap().as_str().unwrap());
            }),
        }
    }

    fn get_as_of(&mut self, id: u64, moment: u64) -> u64 {
        let (id, moment) = (id as i64, moment as i64);
        let now = self.since.query_row([id, moment], item);
        let found = now.or_else(|_| self.past.query_row([id, moment], item));
        black_box(found.unwrap()).0 as u64
    }

    fn history(&mut self, id: u64) -> u64 {
        walk(&mut self.versions.query([id as i64]).unwrap(), |row| {
            let version: (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            black_box(version);
        })
    }
}

/// The table of flights.
fn flights(columns: &[String]) -> String {
    let is_text = |name: &String| TEXTS.contains(&name.as_str());
    let typed: Vec<String> = columns
        .iter()
        .map(|name| format!("{name} {}", if is_text(name) { "TEXT" } else { "INTEGER" }))
        .collect();
    let old: Vec<String> = columns.iter().map(|name| format!("old.{name}")).collect();
    let (typed, old, key) = (typed.join(", "), old.join(", "), KEY.join(", "));
    format!(
        "CREATE TABLE flight ({typed}, since INTEGER, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;
         CREATE TABLE flight_history ({typed}, since INTEGER, PRIMARY KEY ({key}, since))
             STRICT, WITHOUT ROWID;
         CREATE TRIGGER flight_updated AFTER UPDATE ON flight BEGIN
             INSERT INTO flight_history VALUES ({old}, old.since); END;
         CREATE TRIGGER flight_deleted AFTER DELETE ON flight BEGIN
             INSERT INTO flight_history VALUES ({old}, old.since); END;"
    )
}

/// Transactions of 1,000 rows, each durable.
fn import(db: &Connection, lines: &Path, columns: &[String], since: i64) -> u64 {
    let places: Vec<String> = (1..=columns.len() + 1).map(|at| format!("?{at}")).collect();
    let all: Vec<&str> = columns.iter().map(String::as_str).chain(["since"]).collect();
    let updates: Vec<String> = all.iter().map(|name| format!("{name}=excluded.{name}")).collect();
    let sql = format!(
        "INSERT INTO flight ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        all.join(", "),
        places.join(", "),
        KEY.join(", "),
        updates.join(", ")
    );
    let mut upsert = db.prepare(&sql).unwrap();
    let mut lines = BufReader::new(File::open(lines).unwrap()).lines().peekable();
    let mut rows = 0;
    while lines.peek().is_some() {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for line in lines.by_ref().take(BATCH) {
            let row: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line.unwrap()).unwrap();
            let values = columns.iter().map(|name| match &row[name] {
                serde_json::Value::String(text) => Sql::Text(text.clone()),
                serde_json::Value::Number(number) => Sql::Integer(number.as_i64().unwrap()),
                _ => Sql::Null,
            });
            let values = values.chain([Sql::Integer(since)]);
            rows += upsert.execute(rusqlite::params_from_iter(values)).unwrap() as u64;
        }
        db.execute_batch("COMMIT").unwrap();
    }
    rows
}
