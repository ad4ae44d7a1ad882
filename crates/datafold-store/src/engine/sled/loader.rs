//! Filling a store of sled with the rows of another one.

use std::path::{Path, PathBuf};

use sled::Db;

use super::failure::unless_panic;
use super::files::SledFiles;
use super::opening::{DATA_FOLDER, close, create};
use super::rows::{put, read_generation, sum_all, tagged};
use super::seal::Seal;
use crate::load::{LoadRows, Row};
use crate::{OpenOptions, StoreError, StoreId};

/// An open sled that no store uses yet. What is in it counts when the folder has its note.
#[derive(Debug)]
pub(crate) struct SledLoader {
    folder: PathBuf,
    /// `None` once it is closed.
    open: Option<(Db, SledFiles)>,
}

impl SledLoader {
    /// Makes the files of an empty store with the identity `id` in a folder that has none.
    pub(crate) fn begin(
        folder: &Path,
        id: StoreId,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        create(folder, id, options)?;
        let open = SledFiles::open(&folder.join(DATA_FOLDER), options.cache_bytes)?;
        Ok(Self { folder: folder.to_owned(), open: Some(open) })
    }
}

impl LoadRows for SledLoader {
    fn load(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let (db, files) = self.open.as_mut().ok_or(StoreError::Closed)?;
        unless_panic("load rows", || {
            for (keyspace, key, value) in rows {
                put(db, &tagged(*keyspace, key), Some(value))?;
                if files.debt.add(key.len() + value.len()) {
                    files.sync(db)?;
                }
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let Some((db, mut files)) = self.open.take() else { return Err(StoreError::Closed) };
        let finished = unless_panic("load rows", || {
            files.sync(&db)?;
            let generation = read_generation(&db)?.ok_or(StoreError::Closed)?;
            Seal { generation, sum: Some(sum_all(&db)?) }.write(&self.folder)
        });
        close(db, files);
        finished
    }
}

impl Drop for SledLoader {
    fn drop(&mut self) {
        if let Some((db, files)) = self.open.take() {
            close(db, files);
        }
    }
}
