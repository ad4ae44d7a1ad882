//! sled as it is. Its `flush` writes the file and does not have the device write its cache, so a
//! write of it is less durable than one of the others.

use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sled::{Batch, Db, Tree};

use super::{BATCH, CACHE_BYTES, Fields, Session, Subject, row};

pub(super) struct BareSled {
    path: PathBuf,
    db: Db,
    items: Tree,
    flights: Tree,
}

impl BareSled {
    pub(super) fn open(path: &Path) -> Self {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES as u64);
        let db = config.flush_every_ms(None).open().unwrap();
        let (items, flights) = (db.open_tree("items").unwrap(), db.open_tree("flights").unwrap());
        Self { path: path.to_owned(), db, items, flights }
    }
}

fn write(tree: &Tree, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) {
    let mut batch = Batch::default();
    for (key, row) in rows {
        batch.insert(key, row);
    }
    tree.apply_batch(batch).unwrap();
    tree.flush().unwrap();
}

impl Subject for BareSled {
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session)) {
        run(&mut SledSession(&self.items));
    }

    fn fill(&self, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for chunk in ids.chunks(BATCH) {
            let row = |id: &u64| (id.to_be_bytes().to_vec(), row::encode(0, &super::text_of(*id)));
            write(&self.items, chunk.iter().map(row));
        }
    }

    fn import(&self, lines: &Path, _: &[String]) -> u64 {
        row::import(lines, |batch| write(&self.flights, batch.into_iter()))
    }

    /// Waits until sled's own threads have let the file go, or it could not be opened again.
    fn close(self: Box<Self>) {
        let Self { path, db, items, flights } = *self;
        db.flush().unwrap();
        drop((items, flights, db));
        let file = std::fs::File::open(path.join("db")).unwrap();
        file.lock().unwrap();
    }
}

struct SledSession<'a>(&'a Tree);

impl Session for SledSession<'_> {
    fn create(&mut self, id: u64, count: u64) {
        let row = row::encode(count, &super::text_of(id));
        self.0.insert(id.to_be_bytes(), row).unwrap();
        self.0.flush().unwrap();
    }

    fn update(&mut self, id: u64, count: u64) -> u64 {
        let after = |before: Option<&[u8]>| Some(row::with_count(before.unwrap(), count));
        self.0.update_and_fetch(id.to_be_bytes(), after).unwrap();
        self.0.flush().unwrap();
        0
    }

    fn get(&mut self, id: u64) -> u64 {
        let row = self.0.get(id.to_be_bytes()).unwrap().unwrap();
        black_box(row::text_of(&row).to_owned());
        row::count_of(&row)
    }

    fn text(&mut self, id: u64) -> String {
        row::text_of(&self.0.get(id.to_be_bytes()).unwrap().unwrap()).to_owned()
    }

    fn scan(&mut self, fields: Fields) -> u64 {
        let mut rows = 0;
        for item in self.0.iter() {
            let (id, row) = item.unwrap();
            black_box(row::count_of(&row));
            if fields == Fields::All {
                black_box((u64::from_be_bytes(id[..].try_into().unwrap()), row::text_of(&row)));
            }
            rows += 1;
        }
        rows
    }
}
