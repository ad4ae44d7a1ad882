//! The engine sled 0.34, behind a commit log.

mod failure;
mod files;
#[cfg(test)]
mod fuzz;
mod loader;
mod opening;
mod rows;
mod seal;
mod snapshot;
mod versions;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use sled::Db;

use self::failure::unless_panic;
use self::rows::{get, read_head, rows_of};
use self::snapshot::SledSnapshot;
use self::versions::Versions;
use self::writer::{Change, Writer, can_be_logged};
use crate::folder::FolderLock;
use crate::{Batch, Head, Outcome, Snapshot, Store, StoreError, StoreInfo};

pub(crate) use self::loader::SledLoader;
pub(crate) use self::opening::OWN_NAMES;

/// The engine's name, the scheme of its URLs.
pub(crate) const NAME: &str = "sled";

/// Rows that are kept for snapshots under one hold of the readers' lock.
const KEPT_AT_ONCE: usize = 256;

/// A store in a folder of sled, one tree with the keyspaces as prefixes, behind a commit log.
///
/// A batch is durable when it is in the log, which is one write and one sync. Then its rows are
/// written to sled one by one. sled is made durable now and then, and always before the log
/// begins anew; whatever it holds of the log's batches after a crash, writing all their rows again
/// in their order leads to the same state. So sled is trusted with neither the durability nor the
/// atomicity of a batch.
///
/// sled has no snapshots; [`Versions`] keeps what open ones show, within a bound.
///
/// After an error that leaves unknown what the disk holds, every further batch is refused until
/// the store is opened again.
#[derive(Debug)]
pub(crate) struct SledStore {
    info: StoreInfo,
    open: RwLock<Option<Arc<OpenFile>>>,
    apply: Mutex<()>,
}

/// The open files, shared by the store and its snapshots: the last of them closes them.
pub(super) struct OpenFile {
    /// `None` once it is closed, which is before the lock is released.
    db: Option<Db>,
    versions: Versions,
    writer: Mutex<Option<Writer>>,
    poisoned: AtomicBool,
    _lock: FolderLock,
}

impl OpenFile {
    fn db(&self) -> Result<&Db, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some(db) = self.db.take() else { return Ok(()) };
        let Some(mut writer) = self.writer.get_mut().take() else { return Ok(()) };
        // After a failure the log is what the next opening needs.
        let closed = match self.poisoned.load(Ordering::Acquire) {
            true => Err(StoreError::Poisoned),
            false => unless_panic("close the store", || writer.finish(&db)),
        };
        let dropped = unless_panic("close the store", || {
            drop(db);
            Ok(())
        });
        writer.files.wait_for_release();
        closed.and(dropped)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; what was accepted is durable.
        let _ = self.close();
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl SledStore {
    fn new(info: StoreInfo, open: OpenFile) -> Self {
        Self { info, open: RwLock::new(Some(Arc::new(open))), apply: Mutex::new(()) }
    }

    fn opened(&self) -> Result<Arc<OpenFile>, StoreError> {
        self.open.read().as_ref().map(Arc::clone).ok_or(StoreError::Closed)
    }

    fn try_apply(open: &OpenFile, batch: &Batch) -> Result<(), Outcome> {
        let failed = Outcome::Failed;
        let db = open.db().map_err(failed)?;
        let mut writer = open.writer.lock();
        let writer = writer.as_mut().ok_or(failed(StoreError::Closed))?;
        let head = read_head(db, batch.space).map_err(failed)?;
        Head::check_follows(head.as_ref(), batch)?;
        if !can_be_logged(batch) {
            let source = "it is larger than any commit log".into();
            return Err(failed(StoreError::Engine { action: "log a batch", source }));
        }
        let changes = changes_of(db, batch).map_err(failed)?;
        if !writer.log.has_room_for(batch) {
            writer.checkpoint(db).map_err(|error| {
                open.poisoned.store(true, Ordering::Release);
                failed(error)
            })?;
        }
        // From here on the batch may be durable whatever the answer is.
        let indeterminate = Outcome::Indeterminate;
        writer.log(batch).map_err(indeterminate)?;
        for part in changes.chunks(KEPT_AT_ONCE) {
            let rows = part.iter().map(|change| (change.key.clone(), change.before.clone()));
            open.versions.keep(rows);
        }
        writer.write(db, &changes).map_err(indeterminate)?;
        open.versions.advance();
        Ok(())
    }
}

/// The rows that a batch writes, with what they are now.
fn changes_of(db: &Db, batch: &Batch) -> Result<Vec<Change>, StoreError> {
    let changes = rows_of(batch).into_iter().map(|(key, after)| {
        let before = get(db, &key)?.map(|value| Bytes::copy_from_slice(&value));
        Ok(Change { key: key.into(), before, after })
    });
    changes.collect()
}

impl Store for SledStore {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(SledSnapshot::take(&self.opened()?)))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let _one_at_a_time = self.apply.lock();
        let open = match self.opened() {
            Ok(open) => open,
            Err(error) => return Outcome::Failed(error),
        };
        if open.poisoned.load(Ordering::Acquire) {
            return Outcome::Failed(StoreError::Poisoned);
        }
        let applied = unless_panic("apply a batch", || Ok(Self::try_apply(&open, batch)));
        // After a panic nothing is known of what the disk holds.
        match applied.unwrap_or_else(|error| Err(Outcome::Indeterminate(error))) {
            Ok(()) => Outcome::Accepted,
            Err(outcome) => {
                if matches!(outcome, Outcome::Indeterminate(_)) {
                    open.poisoned.store(true, Ordering::Release);
                }
                outcome
            }
        }
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let open = self.opened()?;
        let writer = open.writer.lock();
        let writer = writer.as_ref().ok_or(StoreError::Closed)?;
        let files = writer.files.size_bytes();
        let files = files.map_err(|error| StoreError::io("read the store's length", error))?;
        Ok(files + writer.log.size_bytes())
    }

    fn close(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.apply.lock();
        let Some(open) = self.open.write().take() else { return Ok(()) };
        // While snapshots are held there is nothing to do: the last of them closes the files.
        match Arc::into_inner(open) {
            Some(mut open) => open.close(),
            None => Ok(()),
        }
    }
}
