//! Opening a store by its URL.

use std::path::Path;
use std::sync::Arc;

use crate::engine::sled::{NAME as SLED_NAME, OWN_NAMES as SLED_NAMES, SledStore};
use crate::folder::{
    FolderLock, LOADING_FILE, LOCK_FILE, NOTE_FILE, Note, create_folder, sync_folder,
};
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
    /// Bytes of rows that an engine without snapshots may keep in memory for those that are open;
    /// beyond, the oldest answer [`StoreError::SnapshotExpired`]. The rows that the newest batch
    /// has changed are kept besides.
    ///
    /// Default: 64 MiB. Of account to sled only.
    pub snapshot_bytes: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: false,
            cache_bytes: 256 << 20,
            check_integrity: false,
            log_bytes: 1 << 20,
            snapshot_bytes: 64 << 20,
        }
    }
}

impl OpenOptions {
    /// The defaults, but creating the store if there is none.
    #[must_use]
    pub fn create() -> Self {
        Self { create: true, ..Self::default() }
    }
}

/// Opens the store at `url`: `memory:`, a plain path, `redb:PATH` or `sled:PATH`.
///
/// A plain path opens a store with the engine that its note names, and creates one with redb.
///
/// # Errors
///
/// - [`StoreError::InvalidUrl`]: the URL names no engine of this build.
/// - [`StoreError::NotFound`]: there is no store and `options.create` is not set.
/// - [`StoreError::NotAStore`]: the folder holds other things, or a store of another engine than
///   the URL names.
/// - [`StoreError::Unfinished`]: loading rows into the folder was begun and not finished.
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
        StoreUrl::Folder(folder) => open_folder(url, &folder, None, options),
        StoreUrl::Redb(folder) => open_folder(url, &folder, Some(Engine::Redb), options),
        StoreUrl::Sled(folder) => open_folder(url, &folder, Some(Engine::Sled), options),
    }
}

/// An engine that keeps a store in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The one that a plain path is created with.
    Redb,
    Sled,
}

impl Engine {
    const ALL: [Engine; 2] = [Engine::Redb, Engine::Sled];

    /// Its name in notes and URLs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Redb => "redb",
            Engine::Sled => SLED_NAME,
        }
    }

    /// What it makes in a store's folder, besides what every engine has there.
    pub(crate) fn own_names(self) -> &'static [&'static str] {
        match self {
            Engine::Redb => &[REDB_FILE, LOG_FILE],
            Engine::Sled => SLED_NAMES,
        }
    }

    fn of_note(note: &Note, folder: &Path) -> Result<Self, StoreError> {
        Self::ALL.into_iter().find(|engine| engine.name() == note.engine).ok_or_else(|| {
            StoreError::NotAStore {
                path: folder.to_owned(),
                reason: format!("it belongs to the engine `{}`", note.engine),
            }
        })
    }
}

const REDB_FILE: &str = "data.redb";
const LOG_FILE: &str = "commit.log";

/// Opens or creates the store in a folder; `wanted` is the engine that the URL names.
fn open_folder(
    url: &str,
    folder: &Path,
    wanted: Option<Engine>,
    options: &OpenOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    let exists = look_for(folder)?;
    if !exists && !options.create {
        return Err(StoreError::NotFound { url: url.to_owned() });
    }
    let note = if exists { Note::read(folder)? } else { None };
    let Some(note) = note else {
        let engine = wanted.unwrap_or(Engine::Redb);
        return create_in(url, folder, engine, options);
    };
    let engine = Engine::of_note(&note, folder)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != engine) {
        return Err(StoreError::NotAStore {
            path: folder.to_owned(),
            reason: format!(
                "it belongs to the engine `{}`, and the URL names `{}`",
                engine.name(),
                wanted.name()
            ),
        });
    }
    let lock = FolderLock::acquire(folder)?;
    open_noted(url, folder, note, engine, lock, options)
}

/// Whether something is there; it must be a folder.
pub(crate) fn look_for(folder: &Path) -> Result<bool, StoreError> {
    let look = |source| StoreError::io(format!("look for {}", folder.display()), source);
    let exists = folder.try_exists().map_err(look)?;
    if exists && !folder.is_dir() {
        return Err(StoreError::NotAStore {
            path: folder.to_owned(),
            reason: "it is not a folder".into(),
        });
    }
    Ok(exists)
}

/// The names in a folder.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let io = |source| StoreError::io(format!("list {}", folder.display()), source);
    let entries = std::fs::read_dir(folder).map_err(io)?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(io)).collect()
}

/// Opens a store that is there, in a folder that is locked.
pub(crate) fn open_noted(
    url: &str,
    folder: &Path,
    note: Note,
    engine: Engine,
    lock: FolderLock,
    options: &OpenOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    match engine {
        Engine::Redb => Ok(Arc::new(open_redb(url, folder, note, options)?.holding(lock))),
        // It came with the version that has the commit log.
        Engine::Sled if note.version < LOG_SINCE => {
            Err(StoreError::UnknownFormat { found: note.version })
        }
        Engine::Sled => Ok(Arc::new(SledStore::open(url, folder, lock, note.id, options)?)),
    }
}

fn open_redb(
    url: &str,
    folder: &Path,
    note: Note,
    options: &OpenOptions,
) -> Result<RedbStore, StoreError> {
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
    Ok(store)
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
fn create_in(
    url: &str,
    folder: &Path,
    engine: Engine,
    options: &OpenOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    if look_for(folder)? {
        let names = names_in(folder)?;
        if names.iter().any(|name| name == LOADING_FILE) {
            return Err(StoreError::Unfinished { path: folder.to_owned() });
        }
        let new_note = format!("{NOTE_FILE}.new");
        let ours = |name: &std::ffi::OsStr| {
            name == LOCK_FILE
                || name == new_note.as_str()
                || engine.own_names().iter().any(|own| name == *own)
        };
        if let Some(other) = names.iter().find(|name| !ours(name)) {
            return Err(StoreError::NotAStore {
                path: folder.to_owned(),
                reason: format!("it holds `{}`", other.display()),
            });
        }
    }
    if !options.create {
        return Err(StoreError::NotFound { url: url.to_owned() });
    }
    create_folder(folder)?;
    let lock = FolderLock::acquire(folder)?;
    let note = |id| Note { id, engine: engine.name().into(), version: FORMAT_VERSION };
    match engine {
        Engine::Redb => {
            let store = RedbStore::open(url, redb_disks(folder)?, StoreId::random()?, options)?;
            note(store.id()).write(folder)?;
            Ok(Arc::new(store.holding(lock)))
        }
        Engine::Sled => {
            let id = SledStore::create(folder, options)?;
            let store = SledStore::open(url, folder, lock, id, options)?;
            note(id).write(folder)?;
            Ok(Arc::new(store))
        }
    }
}

/// Makes the files of a new store, or opens those that an interrupted creation has left.
pub(crate) fn redb_disks(folder: &Path) -> Result<RedbDisks, StoreError> {
    let path = folder.join(REDB_FILE);
    let io = |source| StoreError::io(format!("create {}", path.display()), source);
    let disk = FileDisk::open(&path, true).map_err(io)?;
    lock_file(&disk, folder)?;
    let log = FileDisk::open(&folder.join(LOG_FILE), true)
        .map_err(|source| StoreError::io(format!("create {LOG_FILE}"), source))?;
    sync_folder(folder).map_err(io)?;
    Ok(RedbDisks { data: Box::new(disk), log: Box::new(log) })
}

/// Locks the data themselves: the file `LOCK` tells who has them, but anybody can remove it.
fn lock_file(disk: &FileDisk, folder: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::io(format!("lock {REDB_FILE}"), source);
    if disk.try_lock().map_err(io)? {
        return Ok(());
    }
    Err(StoreError::AlreadyOpen { path: folder.to_owned(), pid: None })
}
