//! Filling a new store with the rows of another one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::redb::RedbLoader;
use crate::engine::sled::SledLoader;
use crate::folder::{
    FolderLock, LOADING_FILE, LOCK_FILE, NOTE_FILE, Note, create_folder, remove, sync_folder,
    write_file,
};
use crate::identity::IDENTITY_KEY;
use crate::open::{Engine, look_for, names_in, open_noted, redb_disks};
use crate::{
    FORMAT_VERSION, Keyspace, MemoryStore, OpenOptions, Snapshot, Store, StoreError, StoreId,
    StoreUrl,
};

/// A row that is loaded.
pub(crate) type Row = (Keyspace, Bytes, Bytes);

/// Rows that are handed to the engine at once.
const BUFFER_ROWS: usize = 16_384;
const BUFFER_BYTES: usize = 4 << 20;

/// All that a load leaves which was interrupted before the folder was marked.
const NEW_LOADING_FILE: &str = "LOADING.new";

/// What an engine does for a [`Loader`].
pub(crate) trait LoadRows: Send + fmt::Debug {
    /// Writes rows. They need not be durable before [`LoadRows::finish`].
    fn load(&mut self, rows: &[Row]) -> Result<(), StoreError>;

    /// Makes durable what was written, and closes the engine's files.
    fn finish(&mut self) -> Result<(), StoreError>;
}

type Open = Box<dyn FnOnce() -> Result<Arc<dyn Store>, StoreError> + Send>;
type Publish = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

/// A store in the making: it takes rows, heads included, as they are, and an identity that
/// another store was given.
///
/// There is no store before [`Loader::finish`] has returned. A load that was interrupted, by a
/// crash or because the loader was dropped, leaves a folder that is refused when it is opened
/// ([`StoreError::Unfinished`]), and that the next load at the place begins anew.
pub struct Loader {
    engine: Box<dyn LoadRows>,
    open: Open,
    publish: Publish,
    rows: Vec<Row>,
    bytes: usize,
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Loader {
    /// Begins a store at `url` with the identity `id`.
    ///
    /// Atom ids are made of the identity, so a copy keeps that of its source. From then on there
    /// are two stores with one identity, and only one of them may be written to: the ids that both
    /// give would be the same.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Exists`]: there is a store at the place.
    /// - [`StoreError::NotAStore`]: the folder holds other things.
    /// - [`StoreError::AlreadyOpen`]: another load is in progress there.
    /// - [`StoreError::InvalidUrl`] and [`StoreError::Io`] as [`crate::open`].
    pub fn begin(url: &str, id: StoreId, options: &OpenOptions) -> Result<Self, StoreError> {
        let (engine, folder) = match StoreUrl::parse(url)? {
            StoreUrl::Memory => return Ok(MemoryStore::loader(id).1),
            StoreUrl::Folder(folder) | StoreUrl::Redb(folder) => (Engine::Redb, folder),
            StoreUrl::Sled(folder) => (Engine::Sled, folder),
        };
        let lock = claim(url, &folder)?;
        let loading: Box<dyn LoadRows> = match engine {
            Engine::Redb => Box::new(RedbLoader::begin(url, redb_disks(&folder)?, id, options)?),
            Engine::Sled => Box::new(SledLoader::begin(&folder, id, options)?),
        };
        let note = move || Note { id, engine: engine.name().into(), version: FORMAT_VERSION };
        let options = OpenOptions { create: false, check_integrity: false, ..options.clone() };
        let (url, path) = (url.to_owned(), folder.clone());
        let open = move || open_noted(&url, &path, note(), engine, lock, &options);
        let publish = move || {
            note().write(&folder)?;
            // The note decides; a crash between the two leaves a store.
            remove(&folder.join(LOADING_FILE))
        };
        Ok(Self::new(loading, open, publish))
    }

    pub(crate) fn new(
        engine: Box<dyn LoadRows>,
        open: impl FnOnce() -> Result<Arc<dyn Store>, StoreError> + Send + 'static,
        publish: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> Self {
        let (open, publish) = (Box::new(open), Box::new(publish));
        Self { engine, open, publish, rows: Vec::new(), bytes: 0 }
    }

    /// Adds a row. Rows in the order of keyspaces and keys are loaded fastest.
    ///
    /// The row of the identity, which the loader writes itself, is left out.
    ///
    /// # Errors
    ///
    /// What the engine answers; the loader is of no use then.
    pub fn put(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if keyspace == Keyspace::Head && key == IDENTITY_KEY {
            return Ok(());
        }
        self.bytes += key.len() + value.len();
        self.rows.push((keyspace, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if self.rows.len() >= BUFFER_ROWS || self.bytes >= BUFFER_BYTES {
            self.load()?;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), StoreError> {
        self.engine.load(&self.rows)?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Makes the rows durable, calls `check` with what was read back of them, and if that answers
    /// no error makes them a store, which is open.
    ///
    /// # Errors
    ///
    /// What the engine or `check` answers. There is no store then.
    ///
    /// # Durability
    ///
    /// The store is durable when it is returned.
    pub fn finish(
        mut self,
        check: impl FnOnce(&dyn Snapshot) -> Result<(), StoreError>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.load()?;
        self.engine.finish()?;
        drop(self.engine);
        let store = (self.open)()?;
        check(&*store.snapshot()?)?;
        (self.publish)()?;
        Ok(store)
    }
}

/// Takes a folder that holds nothing, or what an interrupted load has left.
fn claim(url: &str, folder: &Path) -> Result<FolderLock, StoreError> {
    let refuse = |name: &std::ffi::OsStr| StoreError::NotAStore {
        path: folder.to_owned(),
        reason: format!("it holds `{}`", name.display()),
    };
    // Nothing is made in a folder that is refused, not even the file of the lock.
    let check = || {
        if !look_for(folder)? {
            return Ok(());
        }
        if Note::read(folder)?.is_some() {
            return Err(StoreError::Exists { url: url.to_owned() });
        }
        let names = names_in(folder)?;
        let is_unfinished = names.iter().any(|name| name == LOADING_FILE);
        let may_stay = |name: &std::ffi::OsStr| {
            [LOCK_FILE, NEW_LOADING_FILE].iter().any(|may_stay| name == *may_stay)
                || (is_unfinished && is_of_load(name))
        };
        names.iter().find(|name| !may_stay(name)).map_or(Ok(()), |other| Err(refuse(other)))
    };
    check()?;
    create_folder(folder)?;
    let lock = FolderLock::acquire(folder)?;
    // Somebody else may have had the lock meanwhile.
    check()?;
    write_file(folder, LOADING_FILE, "Rows are loaded into this folder. It is not a store yet.\n")?;
    for name in names_in(folder)? {
        if name != LOCK_FILE && name != LOADING_FILE {
            remove(&folder.join(name))?;
        }
    }
    sync_folder(folder)
        .map_err(|source| StoreError::io(format!("clear {}", folder.display()), source))?;
    Ok(lock)
}

/// Whether a load may have made it.
fn is_of_load(name: &std::ffi::OsStr) -> bool {
    let own = [Engine::Redb, Engine::Sled].into_iter().flat_map(|engine| engine.own_names());
    own.copied().any(|own| name == own)
        || [LOADING_FILE, NOTE_FILE].iter().any(|own| {
            name == *own || name.to_str().and_then(|name| name.strip_suffix(".new")) == Some(*own)
        })
}
