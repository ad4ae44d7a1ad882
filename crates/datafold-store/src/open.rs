//! Opening a store by its URL.

use std::path::Path;
use std::sync::Arc;

use crate::folder::{FolderLock, Note, create_folder, sync_folder};
use crate::identity::LOG_SINCE;
use crate::{
    FORMAT_VERSION, FileDisk, MemoryStore, RedbDisks, RedbStore, Store, StoreError, StoreId,
    StoreUrl,
};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Creates the store if there is none. Without it, opening never creates anything.
    pub create: bool,
    /// Bytes of pages that the engine may keep in memory.
    ///
    /// Default: 256 MiB.
    pub cache_bytes: usize,
    /// Reads and checks every page of the engine's file before the store is used.
    pub check_integrity: bool,
    /// Bytes of the commit log, if the store is created by this opening; 8 KiB to 1 GiB.
    ///
    /// A longer log is emptied less often, and each time takes longer. Default: 1 MiB.
    pub log_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { create: false, cache_bytes: 256 << 20, check_integrity: false, log_bytes: 1 << 20 }
    }
}

impl OpenOptions {
    /// The defaults, but creating the store if there is none.
    #[must_use]
    pub fn create() -> Self {
        Self { create: true, ..Self::default() }
    }
}

/// Opens the store at `url`: `memory:`, a plain path, or `redb:PATH`.
///
/// # Errors
///
/// - [`StoreError::InvalidUrl`]: the URL names no engine of this build.
/// - [`StoreError::NotFound`]: there is no store and `options.create` is not set.
/// - [`StoreError::NotAStore`]: the folder holds other things.
/// - [`StoreError::AlreadyOpen`]: another handle holds it.
/// - [`StoreError::UnknownFormat`], [`StoreError::UnexpectedlyEmpty`],
///   [`StoreError::Corrupted`]: the content cannot be trusted.
/// - [`StoreError::Io`]: the operating system refused.
///
/// # Cost
///
/// Constant after a clean close. After a crash the commit log is applied once more.
///
/// # Durability
///
/// A store of format 1 is brought to this version's format. Power that fails meanwhile leaves
/// either the one or the other.
pub fn open(url: &str, options: &OpenOptions) -> Result<Arc<dyn Store>, StoreError> {
    match StoreUrl::parse(url)? {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new()?)),
        StoreUrl::Redb(folder) => Ok(Arc::new(open_redb(url, &folder, options)?)),
    }
}

const REDB_FILE: &str = "data.redb";
const LOG_FILE: &str = "commit.log";

fn open_redb(url: &str, folder: &Path, options: &OpenOptions) -> Result<RedbStore, StoreError> {
    let look = |source| StoreError::io(format!("look for {}", folder.display()), source);
    let exists = folder.try_exists().map_err(look)?;
    if !exists && !options.create {
        return Err(StoreError::NotFound { url: url.to_owned() });
    }
    if exists && !folder.is_dir() {
        return Err(StoreError::NotAStore {
            path: folder.to_owned(),
            reason: "it is not a folder".into(),
        });
    }
    let note = if exists { Note::read(folder)? } else { None };
    match note {
        Some(note) => open_noted(url, folder, note, options),
        None => create_in(url, folder, options),
    }
}

fn open_noted(
    url: &str,
    folder: &Path,
    note: Note,
    options: &OpenOptions,
) -> Result<RedbStore, StoreError> {
    if note.engine != "redb" {
        return Err(StoreError::NotAStore {
            path: folder.to_owned(),
            reason: format!("it belongs to the engine `{}`", note.engine),
        });
    }
    let lock = FolderLock::acquire(folder)?;
    let path = folder.join(REDB_FILE);
    let disk = match FileDisk::open(&path, false) {
        Ok(disk) => disk,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::UnexpectedlyEmpty {
                url: url.to_owned(),
                reason: format!("the file {REDB_FILE} is missing"),
            });
        }
        Err(error) => return Err(StoreError::io(format!("open {}", path.display()), error)),
    };
    lock_file(&disk, folder)?;
    let log = open_log(folder, &note)?;
    let options = OpenOptions { create: false, ..options.clone() };
    let disks = RedbDisks { data: Box::new(disk), log: Box::new(log) };
    let store = RedbStore::open_since(url, disks, note.id, note.version, &options)?;
    if note.version != FORMAT_VERSION {
        Note { version: FORMAT_VERSION, ..note }.write(folder)?;
    }
    Ok(store.holding(lock))
}

/// Opens the commit log, and makes its file for a store of the format that had none.
fn open_log(folder: &Path, note: &Note) -> Result<FileDisk, StoreError> {
    let path = folder.join(LOG_FILE);
    let is_new = note.version < LOG_SINCE;
    let io = |source| StoreError::io(format!("open {}", path.display()), source);
    match FileDisk::open(&path, is_new) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(StoreError::Corrupted {
            what: format!(
                "the file {LOG_FILE} is missing; acknowledged commits may have been in it"
            ),
            source: None,
        }),
        opened => {
            if is_new {
                sync_folder(folder).map_err(io)?;
            }
            opened.map_err(io)
        }
    }
}

/// Creates a store in a folder without a note, or finishes a creation that was interrupted
/// before the note was written.
fn create_in(url: &str, folder: &Path, options: &OpenOptions) -> Result<RedbStore, StoreError> {
    let ours = |name: &std::ffi::OsStr| {
        [REDB_FILE, LOG_FILE, "LOCK", "STORE.json.new"].iter().any(|ours| name == *ours)
    };
    let look = |source| StoreError::io(format!("look for {}", folder.display()), source);
    if folder.try_exists().map_err(look)? {
        let io = |source| StoreError::io(format!("list {}", folder.display()), source);
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if !ours(&name) {
                return Err(StoreError::NotAStore {
                    path: folder.to_owned(),
                    reason: format!("it holds `{}`", name.display()),
                });
            }
        }
    }
    if !options.create {
        return Err(StoreError::NotFound { url: url.to_owned() });
    }
    create_folder(folder)?;
    let lock = FolderLock::acquire(folder)?;
    let path = folder.join(REDB_FILE);
    let io = |source| StoreError::io(format!("create {}", path.display()), source);
    let disk = FileDisk::open(&path, true).map_err(io)?;
    lock_file(&disk, folder)?;
    let log = FileDisk::open(&folder.join(LOG_FILE), true)
        .map_err(|source| StoreError::io(format!("create {LOG_FILE}"), source))?;
    sync_folder(folder).map_err(io)?;
    let id = StoreId::random()?;
    let disks = RedbDisks { data: Box::new(disk), log: Box::new(log) };
    let store = RedbStore::open(url, disks, id, options)?;
    let note = Note { id: store.id(), engine: "redb".into(), version: FORMAT_VERSION };
    note.write(folder)?;
    Ok(store.holding(lock))
}

/// Locks the data themselves: the file `LOCK` tells who has them, but anybody can remove it.
fn lock_file(disk: &FileDisk, folder: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::io(format!("lock {REDB_FILE}"), source);
    if disk.try_lock().map_err(io)? {
        return Ok(());
    }
    Err(StoreError::AlreadyOpen { path: folder.to_owned(), pid: None })
}
