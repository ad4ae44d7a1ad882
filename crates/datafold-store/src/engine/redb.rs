//! The default engine: redb, on any [`Disk`].

mod backend;

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use self::backend::Backend;
use crate::folder::FolderLock;
use crate::identity::{IDENTITY_KEY, identity_row, read_identity};
use crate::{
    Batch, Disk, FORMAT_VERSION, Head, Keyspace, OpenOptions, Order, Outcome, Page, RowVisitor,
    Scan, Snapshot, Store, StoreError, StoreId, StoreInfo,
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

const fn definition(keyspace: Keyspace) -> Definition {
    TableDefinition::new(keyspace.name())
}

/// A store in one redb file: one table a keyspace, one engine transaction and one sync a batch.
///
/// Batches are applied one after the other. After an error that leaves unknown what the disk
/// holds, every further batch is refused until the store is opened again.
#[derive(Debug)]
pub struct RedbStore {
    info: StoreInfo,
    open: RwLock<Option<Opened>>,
    apply: Mutex<()>,
    poisoned: AtomicBool,
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
    lock: Mutex<Option<FolderLock>>,
}

impl OpenFile {
    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or(StoreError::Closed)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some(database) = self.database.take() else { return Ok(()) };
        let had_failed = self.backend.has_failed();
        let closed = unless_panic("close the store", || {
            database.close().map_err(|error| engine_error("close the store", error))
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
    /// Opens the store on a disk that no other handle uses.
    ///
    /// `id` is the identity to give to a new store, or the one that an existing store must have.
    ///
    /// # Errors
    ///
    /// As [`crate::open`]. Unless `options.create` is set, an empty disk is
    /// [`StoreError::UnexpectedlyEmpty`] and one of another identity [`StoreError::Corrupted`].
    ///
    /// # Cost
    ///
    /// Constant after a clean close; after a crash the file is walked once.
    pub fn open(
        url: &str,
        disk: Box<dyn Disk>,
        id: StoreId,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        let backend = Backend::new(disk);
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
        let open = Arc::new(OpenFile { database: Some(database), backend, lock: Mutex::new(None) });
        let id = unless_panic("read the store's identity", || {
            check_or_give_identity(url, &open, id, options.create)
        })?;
        open.backend.keep_failures();
        let newest = unless_panic("begin a read", || Ok(Arc::new(RedbSnapshot::take(&open)?)))?;
        let info =
            StoreInfo { url: url.to_owned(), engine: "redb", id, format_version: FORMAT_VERSION };
        Ok(Self {
            info,
            open: RwLock::new(Some(Opened { file: open, newest })),
            apply: Mutex::new(()),
            poisoned: AtomicBool::new(false),
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
        let database = open.database().map_err(failed)?;
        let mut transaction =
            database.begin_write().map_err(|e| failed(engine_error("begin a batch", e)))?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|e| failed(engine_error("begin a batch", e)))?;
        let written = write_batch(&transaction, batch, &open.backend);
        // The disk is written to before the commit when the file or the cache is too small.
        let written = match open.backend.take_failure() {
            Some(error) => Err(failed(StoreError::io("write a batch", error))),
            None => written,
        };
        if let Err(outcome) = written {
            // Nothing is committed whether this succeeds or not, and the outcome holds the cause.
            let _ = transaction.abort();
            return Err(outcome);
        }
        // From here on the disk may hold the batch whatever the answer is.
        let committed = transaction.commit();
        let indeterminate = Outcome::Indeterminate;
        if let Some(error) = open.backend.take_failure() {
            return Err(indeterminate(StoreError::io("commit a batch", error)));
        }
        committed.map_err(|error| indeterminate(engine_error("commit a batch", error)))?;
        // A batch that no snapshot can show is as good as unknown.
        RedbSnapshot::take(open).map(Arc::new).map_err(indeterminate)
    }
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
        if self.poisoned.load(Ordering::Acquire) {
            return Outcome::Failed(StoreError::Poisoned);
        }
        let file = self.open.read().as_ref().map(|open| Arc::clone(&open.file));
        let Some(file) = file else { return Outcome::Failed(StoreError::Closed) };
        let applied = unless_panic("apply a batch", || Ok(Self::try_apply(&file, batch)));
        // After a panic nothing is known of what the disk holds.
        let applied = applied.unwrap_or_else(|error| match file.backend.take_failure() {
            Some(source) => Err(Outcome::Indeterminate(StoreError::io("commit a batch", source))),
            None => Err(Outcome::Indeterminate(error)),
        });
        if matches!(applied, Err(Outcome::Indeterminate(_))) || file.backend.has_failed() {
            self.poisoned.store(true, Ordering::Release);
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
        len.map_err(|error| StoreError::io("read the store's length", error))
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

/// What redb's file begins with. It is written last of all, when the rest of a new file is durable.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// What redb keeps for its header.
const HEADER_BYTES: usize = 4_096;
/// More than redb gives to a file that has no commit.
const NEW_BYTES_MAX: u64 = 4 << 20;

/// Empties a disk on which redb's own creation was cut short, so that it can begin again: redb
/// refuses such a file for ever.
///
/// Without a whole magic number there was never a commit. That nothing stands behind the header
/// tells such a file from any other.
fn discard_unfinished(disk: &dyn Disk) -> io::Result<()> {
    let len = disk.len()?;
    if len == 0 || len > NEW_BYTES_MAX {
        return Ok(());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    disk.read(0, &mut bytes)?;
    let begin = bytes.get(..MAGIC.len()).unwrap_or(&bytes);
    let written = begin.iter().zip(MAGIC).take_while(|(found, magic)| found == magic).count();
    let is_new = written < MAGIC.len()
        && begin.iter().skip(written).all(|byte| *byte == 0)
        && bytes.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
    if is_new { disk.set_len(0) } else { Ok(()) }
}

fn check_or_give_identity(
    url: &str,
    open: &Arc<OpenFile>,
    id: StoreId,
    create: bool,
) -> Result<StoreId, StoreError> {
    let unexpectedly_empty = |reason: &str| StoreError::UnexpectedlyEmpty {
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    match RedbSnapshot::take(open) {
        Ok(snapshot) => match read_identity(&snapshot)? {
            // A creation that was interrupted before its note keeps the identity it had given.
            Some(found) if found == id || create => Ok(found),
            Some(found) => Err(StoreError::Corrupted {
                what: format!("the file is store {found}, the folder's note says {id}"),
                source: None,
            }),
            None => Err(unexpectedly_empty("its identity is missing")),
        },
        Err(StoreError::NotFound { .. }) if create => {
            give_identity(open.database()?, id)?;
            Ok(id)
        }
        Err(StoreError::NotFound { .. }) => Err(unexpectedly_empty("it has no keyspaces")),
        Err(error) => Err(error),
    }
}

fn give_identity(database: &Database, id: StoreId) -> Result<(), StoreError> {
    fn error(error: impl Into<redb::Error>) -> StoreError {
        engine_error("create the keyspaces", error)
    }
    let transaction = database.begin_write().map_err(error)?;
    for keyspace in Keyspace::ALL {
        let mut table = transaction.open_table(definition(keyspace)).map_err(error)?;
        if keyspace == Keyspace::Head {
            let row = identity_row(id);
            table.insert(IDENTITY_KEY, row.as_ref()).map_err(error)?;
        }
    }
    transaction.commit().map_err(error)
}

fn write_batch(
    transaction: &WriteTransaction,
    batch: &Batch,
    backend: &Backend,
) -> Result<(), Outcome> {
    let head_key = Head::key(batch.space);
    let mut heads = transaction.open_table(definition(Keyspace::Head)).map_err(write_failed)?;
    let head = match heads.get(head_key.as_ref()).map_err(write_failed)? {
        Some(row) => Some(Head::decode(row.value().to_vec()).map_err(Outcome::Failed)?),
        None => None,
    };
    Head::check_follows(head.as_ref(), batch)?;
    let head_row = Head::row_of(batch);
    heads.insert(head_key.as_ref(), head_row.as_ref()).map_err(write_failed)?;
    let mut open = (Keyspace::Head, heads);
    for (keyspace, key, value) in batch.writes() {
        if open.0 != keyspace {
            let table = transaction.open_table(definition(keyspace));
            open = (keyspace, table.map_err(write_failed)?);
        }
        match value {
            Some(value) => open.1.insert(key.as_ref(), value.as_ref()).map(drop),
            None => open.1.remove(key.as_ref()).map(drop),
        }
        .map_err(write_failed)?;
        if backend.has_failed() {
            // A page that redb has put out of its cache is not there to be read back.
            return Err(Outcome::Failed(StoreError::Poisoned));
        }
    }
    Ok(())
}

fn write_failed(error: impl Into<redb::Error>) -> Outcome {
    Outcome::Failed(engine_error("write a batch", error))
}

/// The tables of one read transaction, which they keep alive.
struct RedbSnapshot {
    tables: [Table; Keyspace::ALL.len()],
    /// Dropped after the tables, which end their transaction on it.
    _open: Arc<OpenFile>,
}

impl std::fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedbSnapshot")
    }
}

impl RedbSnapshot {
    /// A snapshot of the database; `NotFound` if it has no keyspaces yet.
    fn take(file: &Arc<OpenFile>) -> Result<Self, StoreError> {
        let transaction =
            file.database()?.begin_read().map_err(|error| engine_error("begin a read", error))?;
        let open = |keyspace| match transaction.open_table(definition(keyspace)) {
            Ok(table) => Ok(table),
            Err(TableError::TableDoesNotExist(name)) => Err(StoreError::NotFound { url: name }),
            Err(error) => Err(engine_error("open a keyspace", error)),
        };
        let [a, b, c, d, e, f, g] = Keyspace::ALL;
        let tables = [open(a)?, open(b)?, open(c)?, open(d)?, open(e)?, open(f)?, open(g)?];
        Ok(Self { tables, _open: Arc::clone(file) })
    }

    fn table(&self, keyspace: Keyspace) -> Result<&Table, StoreError> {
        self.tables.get(keyspace.index()).ok_or(StoreError::Closed)
    }
}

impl Snapshot for RedbSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        unless_panic("read a row", || {
            let row = ReadableTable::get(self.table(keyspace)?, key);
            let row = row.map_err(|error| engine_error("read a row", error))?;
            Ok(row.map(|guard| guard.value().to_vec()))
        })
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        if scan.is_empty_range() {
            return Ok(Page::new());
        }
        let table = self.table(scan.keyspace)?;
        unless_panic("scan rows", || {
            read_page(table, scan).map_err(|error| engine_error("scan rows", error))
        })
    }

    fn for_each(&self, scan: &Scan, visit: &mut RowVisitor<'_>) -> Result<(), StoreError> {
        if scan.is_empty_range() {
            return Ok(());
        }
        let table = self.table(scan.keyspace)?;
        let visiting = Cell::new(false);
        let walk = AssertUnwindSafe(|| walk(table, scan, visit, &visiting));
        match catch_unwind(walk) {
            Ok(walked) => walked.map_err(|error| engine_error("scan rows", error)),
            // A panic of `visit` is the caller's own.
            Err(panic) if visiting.get() => resume_unwind(panic),
            Err(panic) => Err(panicked("scan rows", &*panic)),
        }
    }
}

/// Walks the rows of a range; `visiting` tells whether `visit` runs.
fn walk(
    table: &Table,
    scan: &Scan,
    visit: &mut RowVisitor<'_>,
    visiting: &Cell<bool>,
) -> Result<(), redb::StorageError> {
    let mut rows = ReadableTable::range::<&[u8]>(table, scan.bounds())?;
    loop {
        let row = match scan.order {
            Order::Forward => rows.next(),
            Order::Reverse => rows.next_back(),
        };
        let Some(row) = row else { return Ok(()) };
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        visiting.set(true);
        let step = visit(key, value);
        visiting.set(false);
        if step.is_break() {
            return Ok(());
        }
    }
}

fn read_page(table: &Table, scan: &Scan) -> Result<Page, redb::StorageError> {
    let mut page = Page::for_scan(scan);
    let mut rows = ReadableTable::range::<&[u8]>(table, scan.bounds())?;
    loop {
        let row = match scan.order {
            Order::Forward => rows.next(),
            Order::Reverse => rows.next_back(),
        };
        let Some(row) = row else { return Ok(page) };
        if page.is_full(scan) {
            page.set_more();
            return Ok(page);
        }
        let (key, value) = row?;
        page.push(key.value(), value.value());
    }
}

/// Calls redb, which trusts its file and panics on some damage, so that damage is an error here.
fn unless_panic<T>(
    action: &str,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // What a panic leaves half done is behind redb's own locks, which it poisons.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(action, &*panic)))
}

fn panicked(action: &str, panic: &(dyn Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    StoreError::Corrupted {
        what: format!("the engine panicked when it tried to {action}: {text}"),
        source: None,
    }
}

fn engine_error(action: &'static str, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(source) => StoreError::io(action, source),
        redb::Error::Corrupted(what) => StoreError::Corrupted { what, source: None },
        redb::Error::PreviousIo => StoreError::Poisoned,
        redb::Error::DatabaseClosed => StoreError::Closed,
        other => StoreError::Engine { action, source: Box::new(other) },
    }
}

fn open_error(error: redb::DatabaseError) -> StoreError {
    match redb::Error::from(error) {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Corrupted {
                what: "the file is not one of the engine's".into(),
                source: Some(Box::new(source)),
            }
        }
        redb::Error::RepairAborted => {
            StoreError::Corrupted { what: "the repair did not finish".into(), source: None }
        }
        other => engine_error("open the store", other),
    }
}
