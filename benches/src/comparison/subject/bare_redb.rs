//! redb as it is: one durable transaction for each write, one read transaction for each read.

use std::hint::black_box;
use std::ops::Range;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{BATCH, CACHE_BYTES, Fields, Session, Subject, row};

const ITEMS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("items");
const FLIGHTS: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("flights");

pub(super) struct BareRedb {
    database: Database,
}

impl BareRedb {
    pub(super) fn open(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        Self { database: builder.create(path.join("bare.redb")).unwrap() }
    }
}

impl Subject for BareRedb {
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session)) {
        run(&mut RedbSession(&self.database));
    }

    fn fill(&self, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for chunk in ids.chunks(BATCH) {
            let transaction = self.database.begin_write().unwrap();
            {
                let mut items = transaction.open_table(ITEMS).unwrap();
                for id in chunk {
                    items.insert(id, &row::encode(0, &super::text_of(*id))[..]).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
    }

    fn import(&self, lines: &Path, _: &[String]) -> u64 {
        row::import(lines, |batch| {
            let transaction = self.database.begin_write().unwrap();
            {
                let mut flights = transaction.open_table(FLIGHTS).unwrap();
                for (key, row) in &batch {
                    flights.insert(&key[..], &row[..]).unwrap();
                }
            }
            transaction.commit().unwrap();
        })
    }

    fn close(self: Box<Self>) {}
}

struct RedbSession<'a>(&'a Database);

impl RedbSession<'_> {
    fn read<T>(&self, id: u64, of: impl FnOnce(&[u8]) -> T) -> T {
        let transaction = self.0.begin_read().unwrap();
        let items = transaction.open_table(ITEMS).unwrap();
        let row = ReadableTable::get(&items, id).unwrap().unwrap();
        of(row.value())
    }
}

impl Session for RedbSession<'_> {
    fn create(&mut self, id: u64, count: u64) {
        let transaction = self.0.begin_write().unwrap();
        let row = row::encode(count, &super::text_of(id));
        transaction.open_table(ITEMS).unwrap().insert(id, &row[..]).unwrap();
        transaction.commit().unwrap();
    }

    fn update(&mut self, id: u64, count: u64) -> u64 {
        let transaction = self.0.begin_write().unwrap();
        {
            let mut items = transaction.open_table(ITEMS).unwrap();
            let before = ReadableTable::get(&items, id).unwrap().unwrap();
            let after = row::with_count(before.value(), count);
            drop(before);
            items.insert(id, &after[..]).unwrap();
        }
        transaction.commit().unwrap();
        0
    }

    fn get(&mut self, id: u64) -> u64 {
        self.read(id, |row| {
            black_box(row::text_of(row).to_owned());
            row::count_of(row)
        })
    }

    fn text(&mut self, id: u64) -> String {
        self.read(id, |row| row::text_of(row).to_owned())
    }

    fn scan(&mut self, fields: Fields) -> u64 {
        let transaction = self.0.begin_read().unwrap();
        let items = transaction.open_table(ITEMS).unwrap();
        let mut rows = 0;
        for item in ReadableTable::iter(&items).unwrap() {
            let (id, row) = item.unwrap();
            black_box(row::count_of(row.value()));
            if fields == Fields::All {
                black_box((id.value(), row::text_of(row.value())));
            }
            rows += 1;
        }
        rows
    }
}
