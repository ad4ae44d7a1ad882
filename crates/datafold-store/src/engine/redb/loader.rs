//! Filling a store of redb with the rows of another one.

use redb::Durability;

use super::definition;
use super::failure::{engine_error, unless_panic};
use super::{OpenFile, RedbDisks, RedbStore};
use crate::load::{LoadRows, Loader, Row};
use crate::{OpenOptions, Store, StoreError, StoreId};

/// A store that nobody has been given yet.
#[derive(Debug)]
pub(crate) struct RedbLoader {
    store: RedbStore,
}

impl RedbLoader {
    /// Makes an empty store with the identity `id`.
    pub(crate) fn begin(
        url: &str,
        disks: RedbDisks,
        id: StoreId,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        let options = OpenOptions { create: true, ..options.clone() };
        Ok(Self { store: RedbStore::open(url, disks, id, &options)? })
    }
}

impl RedbStore {
    /// Begins a store on empty disks that is filled with the rows of another one; `reopen` gives
    /// the same disks once more when it has been filled.
    ///
    /// # Errors
    ///
    /// As [`RedbStore::open`].
    pub fn loader(
        url: &str,
        disks: RedbDisks,
        id: StoreId,
        options: &OpenOptions,
        reopen: impl FnOnce() -> RedbDisks + Send + 'static,
    ) -> Result<Loader, StoreError> {
        let engine = RedbLoader::begin(url, disks, id, options)?;
        let (url, options) = (url.to_owned(), OpenOptions { create: false, ..options.clone() });
        let open = move || {
            let store = RedbStore::open(&url, reopen(), id, &options)?;
            Ok(std::sync::Arc::new(store) as _)
        };
        Ok(Loader::new(Box::new(engine), open, || Ok(())))
    }
}

impl LoadRows for RedbLoader {
    fn load(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let guard = self.store.open.read();
        let file = &guard.as_ref().ok_or(StoreError::Closed)?.file;
        let written = unless_panic("load rows", || write_rows(file, rows));
        match file.backend.take_failure() {
            Some(error) => Err(StoreError::io("load rows", error)),
            None => written,
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.close()
    }
}

fn write_rows(file: &OpenFile, rows: &[Row]) -> Result<(), StoreError> {
    fn error(error: impl Into<redb::Error>) -> StoreError {
        engine_error("load rows", error)
    }
    let mut transaction = file.database()?.begin_write().map_err(error)?;
    // The pages that this frees are there for the next one.
    transaction.set_durability(Durability::Immediate).map_err(error)?;
    for same in rows.chunk_by(|a, b| a.0 == b.0) {
        let Some((keyspace, ..)) = same.first() else { continue };
        let mut table = transaction.open_table(definition(*keyspace)).map_err(error)?;
        for (_, key, value) in same {
            table.insert(key.as_ref(), value.as_ref()).map_err(error)?;
        }
    }
    transaction.commit().map_err(error)
}
