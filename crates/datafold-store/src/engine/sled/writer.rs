//! The one who writes: the commit log in front of sled, and when what is in sled is durable.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sled::Db;

use super::files::SledFiles;
use super::rows::{FIRST_KEY, put, share_of, write_generation};
use super::seal::Seal;
use crate::commit_log::{CommitLog, LOG_BYTES_MAX};
use crate::folder::sync_folder;
use crate::{Batch, FileDisk, StoreError, StoreId};

pub(super) const LOG_FILE: &str = "commit.log";
pub(super) const NEW_LOG_FILE: &str = "commit.log.new";

/// More than a record and the log's header need besides the rows.
const LOG_OVERHEAD_BYTES: u64 = 16 << 10;
/// More than a row needs in a record besides its bytes.
const ROW_OVERHEAD_BYTES: u64 = 16;

/// What an open store writes with.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) id: StoreId,
    pub(super) files: SledFiles,
    pub(super) log: CommitLog,
    /// The seal as it stands in its file.
    pub(super) seal: Seal,
    /// The sum over all rows.
    pub(super) sum: u128,
}

/// A row before and after a change.
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) before: Option<Bytes>,
    pub(super) after: Option<Bytes>,
}

impl Writer {
    /// Writes rows to sled, syncing it as often as it needs.
    pub(super) fn write(&mut self, db: &Db, changes: &[Change]) -> Result<(), StoreError> {
        for Change { key, before, after } in changes {
            put(db, key, after.as_deref())?;
            if key.as_ref() >= FIRST_KEY {
                let share =
                    |value: &Option<Bytes>| value.as_ref().map_or(0, |value| share_of(key, value));
                self.sum = self.sum.wrapping_sub(share(before)).wrapping_add(share(after));
            }
            let written = key.len() + after.as_ref().map_or(0, Bytes::len);
            if self.files.debt.add(written) {
                self.files.sync(db)?;
            }
        }
        Ok(())
    }

    /// Makes durable in sled what the log holds, and begins the log anew.
    ///
    /// The generation is written when the rows are durable, and the seal when the generation is:
    /// so the log is replayed until it is not needed, and the seal is never ahead of sled.
    pub(super) fn checkpoint(&mut self, db: &Db) -> Result<(), StoreError> {
        self.begin_round(db, None)
    }

    fn begin_round(&mut self, db: &Db, sum: Option<u128>) -> Result<(), StoreError> {
        let generation = self.log.generation() + 1;
        self.files.sync(db)?;
        write_generation(db, generation)?;
        self.files.sync(db)?;
        self.write_seal(Seal { generation, sum })?;
        self.log.restart(generation);
        Ok(())
    }

    /// Writes the batch to the log, which must not need a checkpoint first. It is durable then.
    pub(super) fn log(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.log.has_room_for(batch) {
            return self.log.append(batch).map_err(|e| StoreError::io("log a batch", e));
        }
        self.replace_log(batch)
    }

    /// Puts a log in the place of an empty one, long enough for a batch and with the batch in it.
    ///
    /// What is in the log must be whole when it becomes the log: so it gets the name last.
    fn replace_log(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let io = |source| StoreError::io("log a batch", source);
        let (path, new) = (self.folder.join(LOG_FILE), self.folder.join(NEW_LOG_FILE));
        let disk = FileDisk::open(&new, true).map_err(io)?;
        let len = log_bytes_for(batch);
        let mut log = CommitLog::create(Box::new(disk), self.id, len)?;
        log.restart(self.log.generation());
        log.append(batch).map_err(io)?;
        fs::rename(&new, &path).map_err(io)?;
        sync_folder(&self.folder).map_err(io)?;
        self.log = log;
        Ok(())
    }

    /// Makes everything durable in sled, so that the next opening finds nothing to do.
    pub(super) fn finish(&mut self, db: &Db) -> Result<(), StoreError> {
        if self.log.is_used() {
            return self.begin_round(db, Some(self.sum));
        }
        let seal = Seal { generation: self.log.generation(), sum: Some(self.sum) };
        if self.seal != seal {
            self.files.sync(db)?;
            self.write_seal(seal)?;
        }
        Ok(())
    }

    fn write_seal(&mut self, seal: Seal) -> Result<(), StoreError> {
        seal.write(&self.folder)?;
        self.seal = seal;
        Ok(())
    }
}

/// Whether any log is long enough for a batch.
pub(super) fn can_be_logged(batch: &Batch) -> bool {
    log_bytes_for(batch) <= LOG_BYTES_MAX
}

/// The length of a log that has room for the batch.
fn log_bytes_for(batch: &Batch) -> u64 {
    let rows = batch.writes().map(|(_, key, value)| {
        (key.len() + value.map_or(0, Bytes::len)) as u64 + ROW_OVERHEAD_BYTES
    });
    rows.sum::<u64>() + batch.head.len() as u64 + LOG_OVERHEAD_BYTES
}

/// Opens the log's file.
pub(super) fn open_log_file(folder: &Path) -> Result<FileDisk, StoreError> {
    let path = folder.join(LOG_FILE);
    FileDisk::open(&path, false).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Corrupted {
            what: format!(
                "the file {LOG_FILE} is missing; acknowledged commits may have been in it"
            ),
            source: None,
        },
        _ => StoreError::io(format!("open {}", path.display()), error),
    })
}
