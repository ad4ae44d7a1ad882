//! What is compared: each subject does the same work with the same records.

mod bare_redb;
mod bare_sled;
mod folded;
mod limit;
mod row;
mod sqlite;

use std::ops::Range;
use std::path::Path;

pub(super) use folded::Engine;

/// What is compared, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fold(Engine),
    Redb,
    Sled,
    Sqlite,
    Limit,
}

impl Kind {
    pub(super) const ALL: [Kind; 7] = [
        Kind::Fold(Engine::Redb),
        Kind::Fold(Engine::Sled),
        Kind::Fold(Engine::Memory),
        Kind::Redb,
        Kind::Sled,
        Kind::Sqlite,
        Kind::Limit,
    ];

    /// The name of the child process's argument.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Fold(Engine::Redb) => "datafold-redb",
            Kind::Fold(Engine::Sled) => "datafold-sled",
            Kind::Fold(Engine::Memory) => "datafold-memory",
            Kind::Redb => "redb",
            Kind::Sled => "sled",
            Kind::Sqlite => "sqlite",
            Kind::Limit => "limit",
        }
    }

    pub(super) fn of_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap()
    }

    /// The head of the column.
    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Fold(Engine::Redb) => "DataFold redb",
            Kind::Fold(Engine::Sled) => "DataFold sled",
            Kind::Fold(Engine::Memory) => "DataFold memory, not durable",
            Kind::Redb => "bare redb",
            Kind::Sled => "bare sled",
            Kind::Sqlite => "SQLite with history",
            Kind::Limit => "the limit",
        }
    }

    /// Whether something is left of it on a disk.
    pub(super) fn is_on_disk(self) -> bool {
        self != Kind::Fold(Engine::Memory)
    }

    /// Whether it keeps the versions of a record.
    pub(super) fn has_history(self) -> bool {
        matches!(self, Kind::Fold(_) | Kind::Sqlite)
    }

    /// Opens what is at `path`, or creates it.
    pub(super) fn open(self, path: &Path) -> Box<dyn Subject> {
        match self {
            Kind::Fold(engine) => Box::new(folded::Folded::open(engine, path)),
            Kind::Redb => Box::new(bare_redb::BareRedb::open(path)),
            Kind::Sled => Box::new(bare_sled::BareSled::open(path)),
            Kind::Sqlite => Box::new(sqlite::Sqlite::open(path)),
            Kind::Limit => Box::new(limit::Limit::open(path)),
        }
    }
}

/// Which fields a scan hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// The number.
    One,
    /// The key, the number and the text.
    All,
}

/// The pages that each may keep in memory, in bytes: DataFold's default.
const CACHE_BYTES: usize = 256 << 20;
/// Rows of a commit of an import, and of filling.
const BATCH: usize = 1_000;

/// An open store of items: a number as key, a number, and a text of 100 bytes.
pub(super) trait Subject: Sync {
    /// Calls `run` with what one thread works with.
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session));

    /// Creates items, 1,000 a commit.
    fn fill(&self, ids: Range<u64>);

    /// Upserts flights, one JSON object a line, 1,000 a commit, each of them durable at the end.
    /// Answers how many.
    fn import(&self, lines: &Path, columns: &[String]) -> u64;

    /// Closes it, with everything in its place.
    fn close(self: Box<Self>);
}

/// What one thread has open. Every write is a commit of its own, durable when the call returns.
pub(super) trait Session {
    fn create(&mut self, id: u64, count: u64);

    /// Sets the number of an item; answers the moment from which it is what it is.
    fn update(&mut self, id: u64, count: u64) -> u64;

    /// Reads an item into memory of its own and answers its number.
    fn get(&mut self, id: u64) -> u64;

    /// The text of an item.
    fn text(&mut self, id: u64) -> String;

    /// Reads all items in the order of their keys; answers how many.
    fn scan(&mut self, fields: Fields) -> u64;

    /// As `get`, as it was at a moment. Only with history.
    fn get_as_of(&mut self, _id: u64, _moment: u64) -> u64 {
        unreachable!("it has no history")
    }

    /// Reads all versions of an item's number; answers how many. Only with history.
    fn history(&mut self, _id: u64) -> u64 {
        unreachable!("it has no history")
    }
}

/// The text of an item.
pub(super) fn text_of(id: u64) -> String {
    format!("{id:0>100}")
}
