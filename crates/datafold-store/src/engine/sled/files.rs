//! sled's own files, and making them durable, which sled does not do.
//!
//! In its folder sled 0.34 has
//!
//! - `db`, its log of segments: written in place and at the end, cut when its last segments are
//!   free. `Db::flush` writes what is buffered and calls `sync_file_range`, which reaches neither
//!   the length of the file nor the cache of the disk;
//! - `blobs/N`, one for each page that is larger than a quarter of a segment: written once under
//!   a new name, not synced, and removed when nothing points to it any more;
//! - `conf`, its parameters: written once, not synced;
//! - `snap.N`, a summary of `db` from the last opening, whose content is synced and whose name is
//!   not. Without it `db` is read from its beginning. While it is written it is called
//!   `snap.N.generating`; sled reads what an end in the middle of that has left, and finds it
//!   damaged.
//!
//! So a batch of writes is durable after `Db::flush`, an `fdatasync` of `db`, an `fsync` of each
//! new blob and, if there was one, of their folder. `conf` and the folder are synced when the store
//! is created.
//!
//! sled uses a segment again when what replaces its pages has been flushed, and the header of a
//! segment tells up to where the log was flushed. Both would be untrue after a loss of power if
//! they had been decided on bytes without a sync. sled decides them at least one whole segment
//! behind, so it is enough to sync before half a segment has been written: see [`Debt`].

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::Duration;

use sled::{Config, Db, Mode};

use super::failure::{engine_error, unless_panic};
use crate::folder::sync_folder;
use crate::{FileDisk, StoreError};

/// sled's default, written down because the file's layout depends on it.
const SEGMENT_BYTES: usize = 512 << 10;
/// Pages have up to 16 rows, and a row that is written has its page written now and then.
const ROWS_PER_PAGE: usize = 16;
const ROW_OVERHEAD_BYTES: usize = 64;

const DB_FILE: &str = "db";
const BLOBS_FOLDER: &str = "blobs";
const UNFINISHED: &str = "generating";

/// Parts of a file that are written again at once.
const REWRITE_BYTES: u64 = 1 << 20;

/// How often, and how long each time, it is waited for sled's threads to let the file go.
const CLOSE_WAITS: u32 = 10_000;
const CLOSE_WAIT: Duration = Duration::from_millis(1);

/// About how many bytes sled has written to its log since the last sync.
#[derive(Debug, Default)]
pub(super) struct Debt {
    bytes: usize,
}

impl Debt {
    /// Counts a row that was written; tells whether it is time to sync.
    pub(super) fn add(&mut self, row_bytes: usize) -> bool {
        self.bytes += (row_bytes + ROW_OVERHEAD_BYTES) * ROWS_PER_PAGE;
        self.bytes >= SEGMENT_BYTES / 2
    }
}

/// The folder of an open sled.
#[derive(Debug)]
pub(super) struct SledFiles {
    path: PathBuf,
    /// A handle of our own on `db`. It locks nothing.
    db: File,
    /// The blobs that have been synced.
    blobs: HashSet<OsString>,
    pub(super) debt: Debt,
}

impl SledFiles {
    /// Opens sled in a folder, creating what is missing. What is there must be durable.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<(Db, Self), StoreError> {
        remove_unfinished(path)
            .map_err(|source| StoreError::io(format!("open {}", path.display()), source))?;
        let config = Config::new()
            .path(path)
            .cache_capacity(u64::try_from(cache_bytes).unwrap_or(u64::MAX))
            .segment_size(SEGMENT_BYTES)
            .mode(Mode::LowSpace)
            // Nothing is flushed but by us: what is not in the commit log any more is durable.
            .flush_every_ms(None);
        let db = unless_panic("open the store", || {
            config.open().map_err(|error| engine_error("open the store", error))
        })?;
        let io = |source| StoreError::io(format!("open {}", path.display()), source);
        let file = File::options().read(true).write(true).open(path.join(DB_FILE)).map_err(io)?;
        let blobs = fs::read_dir(path.join(BLOBS_FOLDER)).map_err(io)?;
        let blobs = blobs.map(|entry| entry.map(|entry| entry.file_name()));
        let blobs = blobs.collect::<io::Result<_>>().map_err(io)?;
        Ok((db, Self { path: path.to_owned(), db: file, blobs, debt: Debt::default() }))
    }

    /// Makes everything durable that was written to sled.
    pub(super) fn sync(&mut self, db: &Db) -> Result<(), StoreError> {
        db.flush().map_err(|error| engine_error("flush the engine", error))?;
        // The blobs first: a log that is durable must not point to one that is not.
        let synced = self.sync_blobs().and_then(|()| self.db.sync_data());
        synced.map_err(|source| StoreError::io("sync the engine's files", source))?;
        self.debt = Debt::default();
        Ok(())
    }

    fn sync_blobs(&mut self) -> io::Result<()> {
        let folder = self.path.join(BLOBS_FOLDER);
        let mut found = HashSet::new();
        let mut any_is_new = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !self.blobs.contains(&name) {
                match File::open(entry.path()) {
                    Ok(blob) => blob.sync_all()?,
                    // Nothing points to it any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                any_is_new = true;
            }
            found.insert(name);
        }
        self.blobs = found;
        if any_is_new { sync_folder(&folder) } else { Ok(()) }
    }

    /// Makes the files durable that sled has made.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.is_file() {
                File::open(path)?.sync_all()?;
            }
        }
        sync_folder(&self.path)
    }

    /// Bytes of all files.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for folder in [self.path.clone(), self.path.join(BLOBS_FOLDER)] {
            for entry in fs::read_dir(folder)? {
                match entry?.metadata() {
                    Ok(found) if found.is_file() => bytes += found.len(),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(bytes)
    }

    /// Waits until sled's threads have let go of `db`, which they may do a little later than the
    /// handle that was dropped. Until then it could not be opened again.
    pub(super) fn wait_for_release(self) {
        let path = self.path.join(DB_FILE);
        for _ in 0..CLOSE_WAITS {
            match is_locked(&path) {
                Ok(true) => park_timeout(CLOSE_WAIT),
                _ => return,
            }
        }
    }
}

/// Removes summaries that were never finished.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// What is found in a folder before sled is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Missing,
    Empty,
    Locked,
    Present,
}

/// Looks for sled's files without opening sled, which would create what is missing.
pub(super) fn look(path: &Path) -> Result<Presence, StoreError> {
    let db = path.join(DB_FILE);
    let io = |source| StoreError::io(format!("look for {}", db.display()), source);
    match fs::metadata(&db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Presence::Missing),
        Err(error) => Err(io(error)),
        Ok(found) if found.len() == 0 => Ok(Presence::Empty),
        Ok(_) if is_locked(&db).map_err(io)? => Ok(Presence::Locked),
        Ok(_) => Ok(Presence::Present),
    }
}

fn is_locked(path: &Path) -> io::Result<bool> {
    Ok(!FileDisk::open(path, false)?.try_lock()?)
}

/// Writes the bytes of sled's files again.
///
/// After a sync that failed, the operating system may show bytes that are not on the disk and
/// that no later sync writes. Whoever builds on what the files show has to write it first.
///
/// Source: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
pub(super) fn rewrite(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::io("write the engine's files again", source);
    for folder in [path.to_owned(), path.join(BLOBS_FOLDER)] {
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.is_file() {
                rewrite_file(&path).map_err(io)?;
            }
        }
        sync_folder(&folder).map_err(io)?;
    }
    Ok(())
}

fn rewrite_file(path: &Path) -> io::Result<()> {
    use crate::Disk;
    let disk = FileDisk::open(path, false)?;
    let (len, mut offset) = (disk.len()?, 0);
    while offset < len {
        let part = REWRITE_BYTES.min(len - offset);
        let mut bytes = vec![0; usize::try_from(part).map_err(io::Error::other)?];
        disk.read(offset, &mut bytes)?;
        disk.write(offset, &bytes)?;
        offset += part;
    }
    disk.sync()
}
