//! The default engine: redb, on any [`Disk`].

mod backend;
mod failure;
mod loader;
mod opening;
mod rows;
mod snapshot;
mod unwritten;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::{Database, TableDefinition};

use self::backend::Backend;
use self::failure::{engine_error, open_error, unless_panic};
pub(crate) use self::loader::RedbLoader;
use self::opening::{Expected, discard_unfinished, identify};
use self::rows::{make_durable, make_visible, write_batch, write_generation};
use self::snapshot::RedbSnapshot;
use crate::commit_log::CommitLog;
use crate::folder::FolderLock;
use crate::identity::OLDEST_VERSION;
use crate::{
    Batch, Disk, FORMAT_VERSION, Keyspace, OpenOptions, Outcome, Snapshot, Store, StoreError,
    StoreId, StoreInfo,
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(keyspace: Keyspace) -> Definition {
    TableDefinition::new(keyspace.name())
}

/// The files of a [`RedbStore`].
#[derive(Debug)]
pub struct RedbDisks {
    /// The engine's file.
    pub data: Box<dyn Disk>,
    /// The commit log.
    pub log: Box<dyn Disk>,
}

/// A store in a redb file, one table a keyspace, behind a commit log.
///
/// A batch is durable when it is in the log, which is one write and one sync, and is then made
/// visible by a commit of the engine that writes nothing. A batch for which the log has no room,
/// and the first one after a clean opening, goes into a durable commit of the engine instead,
/// which carries everything before it and begins the log anew.
///
/// Batches are applied one after the other. After an error that leaves unknown what the disk
/// holds, every further batch is refused until the store is opened again.
#[derive(Debug)]
pub struct RedbStore {
    info: StoreInfo,
    open: RwLock<Option<Opened>>,
    apply: Mutex<()>,
    poisoned: AtomicBool,
    log_bytes: u64,
}

/// What an open store has, until it is closed.
#[derive(Debug, Clone)]
struct Opened {
    file: Arc<OpenFile>,
    /// The moment after the last batch that was accepted, which every snapshot shares. It stays
    /// if the disk fails, when redb itself would show a commit that may not be durable.
    newest: Arc<RedbSnapshot>,
}

/// The open file, shared by the store and its snapshots: the last of them closes it.
///
/// redb answers nothing once its database is closed, and another handle may overwrite the pages
/// that a snapshot shows once the lock is released. So both stay until no snapshot is left.
struct OpenFile {
    /// `None` once it is closed, which is before the lock is released.
    database: Option<Database>,
    backend: Backend,
    /// `None` until the store's identity is known.
    log: Mutex<Option<CommitLog>>,
    lock: Mutex<Option<FolderLock>>,
}

impl OpenFile {
    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or(StoreError::Closed)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some(database) = self.database.take() else { return Ok(()) };
        let had_failed = self.backend.has_failed();
        let log = self.log.get_mut().take();
        let closed = unless_panic("close the store", || {
            // After a failure nothing is written any more: the log is what the next opening needs.
            let emptied = match log {
                Some(log) if log.is_used() && !had_failed => empty_log(&database, &log),
                _ => Ok(()),
            };
            let closed = database.close().map_err(|error| engine_error("close the store", error));
            emptied.and(closed)
        });
        match self.backend.take_failure() {
            Some(error) => Err(StoreError::io("close the store", error)),
            None if had_failed => Err(StoreError::Poisoned),
            None => closed,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; what was accepted is durable.
        let _ = self.close();
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the store on disks that no other handle uses.
    ///
    /// `id` is the identity to give to a new store, or the one that an existing store must have.
    ///
    /// # Errors
    ///
    /// As [`crate::open`]. Unless `options.create` is set, an empty disk is
    /// [`StoreError::UnexpectedlyEmpty`] and one of another identity [`StoreError::Corrupted`]. A
    /// log that is missing, damaged or another store's is [`StoreError::Corrupted`].
    ///
    /// # Cost
    ///
    /// Constant after a clean close; after a crash the commit log is applied once more.
    pub fn open(
        url: &str,
        disks: RedbDisks,
        id: StoreId,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        Self::open_since(url, disks, id, OLDEST_VERSION, options)
    }

    /// Opens the store if its rows have format version `since` or a later one.
    pub(crate) fn open_since(
        url: &str,
        disks: RedbDisks,
        id: StoreId,
        since: u32,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        let RedbDisks { data, log } = disks;
        let backend = Backend::new(data);
        let disk = backend.disk();
        if options.create {
            discard_unfinished(disk)
                .map_err(|e| StoreError::io("look for an unfinished creation", e))?;
        }
        let is_empty = disk.is_empty().map_err(|e| StoreError::io("read the store's length", e))?;
        if is_empty && !options.create {
            return Err(StoreError::UnexpectedlyEmpty {
                url: url.to_owned(),
                reason: "its file has no bytes".into(),
            });
        }
        let database = unless_panic("open the store", || {
            // The check comes before anything that the file says is trusted.
            Database::builder()
                .set_cache_size(options.cache_bytes)
                .set_check_integrity_on_open(options.check_integrity)
                .create_with_backend(backend.clone())
                .map_err(open_error)
        })?;
        let open = OpenFile {
            database: Some(database),
            backend,
            log: Mutex::default(),
            lock: Mutex::default(),
        };
        let (id, log) = unless_panic("read the store's identity", || {
            let expected = Expected { url, id, since, options };
            identify(&expected, open.database()?, log, &open.backend)
        })?;
        let log_bytes = log.size_bytes();
        *open.log.lock() = Some(log);
        let open = Arc::new(open);
        open.backend.keep_failures();
        let newest = unless_panic("begin a read", || Ok(Arc::new(RedbSnapshot::take(&open)?)))?;
        let info =
            StoreInfo { url: url.to_owned(), engine: "redb", id, format_version: FORMAT_VERSION };
        Ok(Self {
            info,
            open: RwLock::new(Some(Opened { file: open, newest })),
            apply: Mutex::new(()),
            poisoned: AtomicBool::new(false),
            log_bytes,
        })
    }

    /// Keeps the folder's lock as long as the file is open.
    pub(crate) fn holding(self, lock: FolderLock) -> Self {
        if let Some(open) = self.open.read().as_ref() {
            *open.file.lock.lock() = Some(lock);
        }
        self
    }

    pub(crate) fn id(&self) -> StoreId {
        self.info.id
    }

    /// Applies a batch; answers the moment after it.
    fn try_apply(open: &Arc<OpenFile>, batch: &Batch) -> Result<Arc<RedbSnapshot>, Outcome> {
        let failed = Outcome::Failed;
        let mut log = open.log.lock();
        let log = log.as_mut().ok_or(failed(StoreError::Closed))?;
        let is_logged = log.has_room_for(batch);
        let next_generation = log.generation() + 1;
        let mut transaction = open
            .database()
            .map_err(failed)?
            .begin_write()
            .map_err(|e| failed(engine_error("begin a batch", e)))?;
        // The rows come first, though nobody sees them yet: an engine that cannot write them has
        // then failed before anything is durable.
        let written = if is_logged {
            make_visible(&mut transaction)
                .map_err(failed)
                .and_then(|()| write_batch(&transaction, batch, &open.backend))
        } else {
            make_durable(&mut transaction)
                .map_err(failed)
                .and_then(|()| write_batch(&transaction, batch, &open.backend))
                .and_then(|()| {
                    write_generation(&transaction, next_generation)
                        .map_err(|e| failed(engine_error("write a batch", e)))
                })
        };
        // The disk is written to before the commit when the file or the cache is too small.
        let written = match open.backend.take_failure() {
            Some(error) => Err(failed(StoreError::io("write a batch", error))),
            None => written,
        };
        let written = written.and_then(|()| match is_logged.then(|| log.append(batch)) {
            Some(Err(e)) => Err(Outcome::Indeterminate(StoreError::io("log a batch", e))),
            Some(Ok(())) | None => Ok(()),
        });
        if let Err(outcome) = written {
            if matches!(outcome, Outcome::Indeterminate(_)) {
                open.backend.stop();
            }
            // Nothing is committed whether this succeeds or not, and the outcome holds the cause.
            let _ = transaction.abort();
            return Err(outcome);
        }
        // From here on the batch may be durable whatever the answer is.
        let committed = transaction.commit();
        let indeterminate = Outcome::Indeterminate;
        if let Some(error) = open.backend.take_failure() {
            return Err(indeterminate(StoreError::io("commit a batch", error)));
        }
        committed.map_err(|error| indeterminate(engine_error("commit a batch", error)))?;
        if !is_logged {
            log.restart(next_generation);
        }
        // A batch that no snapshot can show is as good as unknown. Reading may have had to put
        // pages out, and what failed first is the cause.
        RedbSnapshot::take(open).map(Arc::new).map_err(|error| {
            indeterminate(match open.backend.take_failure() {
                Some(source) => StoreError::io("commit a batch", source),
                None => error,
            })
        })
    }
}

/// Says that the engine holds all that is in the log, which is so when it has closed.
fn empty_log(database: &Database, log: &CommitLog) -> Result<(), StoreError> {
    fn error(error: impl Into<redb::Error>) -> StoreError {
        engine_error("empty the commit log", error)
    }
    let mut transaction = database.begin_write().map_err(error)?;
    make_visible(&mut transaction)?;
    write_generation(&transaction, log.generation() + 1).map_err(error)?;
    transaction.commit().map_err(error)
}

impl Store for RedbStore {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let guard = self.open.read();
        let open = guard.as_ref().ok_or(StoreError::Closed)?;
        Ok(Arc::clone(&open.newest) as _)
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let _one_at_a_time = self.apply.lock();
        let file = self.open.read().as_ref().map(|open| Arc::clone(&open.file));
        let Some(file) = file else { return Outcome::Failed(StoreError::Closed) };
        if self.poisoned.load(Ordering::Acquire) {
            // A failure behind a batch that the log had made durable is nobody's yet.
            let failure = file.backend.take_failure();
            return Outcome::Failed(match failure {
                Some(error) => StoreError::io("write to the store", error),
                None => StoreError::Poisoned,
            });
        }
        let applied = unless_panic("apply a batch", || Ok(Self::try_apply(&file, batch)));
        // After a panic nothing is known of what the disk holds.
        let applied = applied.unwrap_or_else(|error| match file.backend.take_failure() {
            Some(source) => Err(Outcome::Indeterminate(StoreError::io("commit a batch", source))),
            None => Err(Outcome::Indeterminate(error)),
        });
        if matches!(applied, Err(Outcome::Indeterminate(_))) || file.backend.has_failed() {
            self.poisoned.store(true, Ordering::Release);
            // What the files hold now is what the next opening sorts out.
            file.backend.stop();
        }
        match applied {
            Ok(newest) => {
                // Closing waits for `apply`, so the store is still open.
                if let Some(open) = self.open.write().as_mut() {
                    open.newest = newest;
                }
                Outcome::Accepted
            }
            Err(outcome) => outcome,
        }
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let guard = self.open.read();
        let open = guard.as_ref().ok_or(StoreError::Closed)?;
        let len = open.file.backend.disk().len();
        let len = len.map_err(|error| StoreError::io("read the store's length", error))?;
        Ok(len + self.log_bytes)
    }

    fn close(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.apply.lock();
        let Some(Opened { file, newest }) = self.open.write().take() else { return Ok(()) };
        drop(newest);
        // While snapshots are held there is nothing to do: the last of them closes the file.
        match Arc::into_inner(file) {
            Some(mut open) => open.close(),
            None => Ok(()),
        }
    }
}
