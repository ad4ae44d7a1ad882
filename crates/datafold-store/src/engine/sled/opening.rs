//! Creating a store in sled, and what is found when one is opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;
use sled::Db;

use super::failure::unless_panic;
use super::files::{Presence, SledFiles, look, rewrite};
use super::rows::{
    put, read_generation, read_head, read_identity, rows_of, sum_all, tagged, write_generation,
};
use super::seal::{SEAL_FILE, Seal};
use super::versions::Versions;
use super::writer::{LOG_FILE, NEW_LOG_FILE, Writer, open_log_file};
use super::{Change, NAME, OpenFile, SledStore};
use crate::commit_log::CommitLog;
use crate::folder::{FolderLock, remove, sync_folder};
use crate::identity::{IDENTITY_KEY, identity_row};
use crate::{
    Batch, FORMAT_VERSION, FileDisk, Keyspace, OpenOptions, SpaceId, StoreError, StoreId, StoreInfo,
};

/// sled's own folder in that of the store.
pub(super) const DATA_FOLDER: &str = "sled";
/// Where it is made: it gets its name when everything in it is durable.
const NEW_DATA_FOLDER: &str = "sled.new";
const NEW_SEAL_FILE: &str = "sled.seal.new";

/// What this engine makes in a store's folder.
pub(crate) const OWN_NAMES: &[&str] =
    &[DATA_FOLDER, NEW_DATA_FOLDER, LOG_FILE, NEW_LOG_FILE, SEAL_FILE, NEW_SEAL_FILE];

/// The generation that a new log begins with.
const FIRST_GENERATION: u64 = 1;

/// Makes the files of a store without commits in a folder that has no note, unless an earlier
/// creation has; answers the identity that they have.
///
/// The folder of sled gets its name last, so it is whole if it is there.
pub(super) fn create(
    folder: &Path,
    id: StoreId,
    options: &OpenOptions,
) -> Result<StoreId, StoreError> {
    let io = |source| StoreError::io(format!("create a store in {}", folder.display()), source);
    let data = folder.join(DATA_FOLDER);
    if data.try_exists().map_err(io)? {
        check_presence(folder, look(&data)?)?;
        let (db, files) = SledFiles::open(&data, options.cache_bytes)?;
        let found = unless_panic("read the store's identity", || read_identity(&db));
        close(db, files);
        let found = found?.ok_or_else(|| unexpectedly_empty(folder, "its identity is missing"))?;
        return Ok(found.id);
    }
    let new = folder.join(NEW_DATA_FOLDER);
    // It was never a store's.
    remove(&new)?;
    let (db, mut files) = SledFiles::open(&new, options.cache_bytes)?;
    let written = unless_panic("create the store", || {
        put(&db, &tagged(Keyspace::Head, IDENTITY_KEY), Some(&identity_row(id)))?;
        write_generation(&db, FIRST_GENERATION)?;
        files.sync(&db)?;
        files.sync_names().map_err(io)?;
        sum_all(&db)
    });
    close(db, files);
    let sum = written?;
    let log = FileDisk::open(&folder.join(LOG_FILE), true).map_err(io)?;
    CommitLog::create(Box::new(log), id, options.log_bytes)?;
    Seal { generation: FIRST_GENERATION, sum: Some(sum) }.write(folder)?;
    fs::rename(&new, &data).map_err(io)?;
    sync_folder(folder).map_err(io)?;
    Ok(id)
}

/// Drops a sled, and waits until it has let its files go.
pub(super) fn close(db: Db, files: SledFiles) {
    // What it would tell is told by what is read of its files next.
    let _ = unless_panic("close the store", || {
        drop(db);
        Ok(())
    });
    files.wait_for_release();
}

fn unexpectedly_empty(folder: &Path, reason: &str) -> StoreError {
    StoreError::UnexpectedlyEmpty {
        url: format!("{NAME}:{}", folder.display()),
        reason: reason.to_owned(),
    }
}

fn corrupted(what: String) -> StoreError {
    StoreError::Corrupted { what, source: None }
}

fn check_presence(folder: &Path, presence: Presence) -> Result<(), StoreError> {
    match presence {
        Presence::Present => Ok(()),
        Presence::Locked => Err(StoreError::AlreadyOpen { path: folder.to_owned(), pid: None }),
        Presence::Missing => Err(unexpectedly_empty(folder, "the file sled/db is missing")),
        Presence::Empty => Err(unexpectedly_empty(folder, "the file sled/db has no bytes")),
    }
}

/// What sled is when it has been opened and brought up to the commit log.
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) writer: Writer,
}

/// Opens sled in the folder of a store, and applies what the log holds and sled may not.
pub(super) fn open_data(
    folder: &Path,
    id: StoreId,
    options: &OpenOptions,
) -> Result<Opened, StoreError> {
    let data = folder.join(DATA_FOLDER);
    check_presence(folder, look(&data)?)?;
    let seal =
        Seal::read(folder)?.ok_or_else(|| corrupted(format!("the file {SEAL_FILE} is missing")))?;
    if seal.sum.is_none() {
        rewrite(&data)?;
    }
    let (db, files) = SledFiles::open(&data, options.cache_bytes)?;
    let recovering = Recovering { folder, id, seal, check_integrity: options.check_integrity };
    let mut files = Some(files);
    match unless_panic("apply the commit log", || recovering.recover(&db, &mut files)) {
        Ok(writer) => Ok(Opened { db, writer }),
        Err(error) => {
            match files {
                Some(files) => close(db, files),
                // They went with the writer that a panic has ended.
                None => drop(unless_panic("close the store", || {
                    drop(db);
                    Ok(())
                })),
            }
            Err(error)
        }
    }
}

struct Recovering<'a> {
    folder: &'a Path,
    id: StoreId,
    seal: Seal,
    check_integrity: bool,
}

impl Recovering<'_> {
    fn recover(&self, db: &Db, files: &mut Option<SledFiles>) -> Result<Writer, StoreError> {
        let found = read_identity(db)?
            .ok_or_else(|| unexpectedly_empty(self.folder, "its identity is missing"))?;
        if found.id != self.id {
            let (found, id) = (found.id, self.id);
            return Err(corrupted(format!(
                "the file is store {found}, the folder's note says {id}"
            )));
        }
        let generation = read_generation(db)?.ok_or_else(|| {
            corrupted("the file does not name the generation of its commit log".into())
        })?;
        // The seal is written next after the generation.
        let sealed = self.seal.generation;
        if generation != sealed && generation != sealed.saturating_add(1) {
            return Err(corrupted(format!(
                "the engine's files are of round {generation} of the commit log, and {sealed} was \
                 durable in them"
            )));
        }
        let log = CommitLog::open(Box::new(open_log_file(self.folder)?), self.id, generation)?;
        let batches = read_batches(db, &log)?;
        let sealed = self.seal.sum.filter(|_| batches.is_empty() && generation == sealed);
        if let Some(sealed) = sealed.filter(|_| self.check_integrity) {
            let sum = sum_all(db)?;
            if sum != sealed {
                return Err(corrupted("rows are not those that the store was closed with".into()));
            }
        }
        let Some(files) = files.take() else { return Err(StoreError::Closed) };
        let (folder, id) = (self.folder.to_owned(), self.id);
        let mut writer =
            Writer { folder, id, files, log, seal: self.seal, sum: sealed.unwrap_or_default() };
        for batch in &batches {
            writer.write(db, &rows_to_write(batch))?;
        }
        if !batches.is_empty() {
            writer.checkpoint(db)?;
        }
        if sealed.is_none() {
            writer.sum = sum_all(db)?;
        }
        Ok(writer)
    }
}

/// Reads what the log holds; each batch must follow the one before it in its space.
///
/// sled may hold any part of these batches. So their heads are compared with each other, and of
/// the head that sled has it is only known that it is not older than the first of them.
fn read_batches(db: &Db, log: &CommitLog) -> Result<Vec<Batch>, StoreError> {
    let mut batches = Vec::new();
    let mut heads: BTreeMap<SpaceId, u64> = BTreeMap::new();
    log.replay(|batch| {
        let follows = match heads.get(&batch.space) {
            Some(number) => *number == batch.follows,
            None => {
                let head = read_head(db, batch.space)?;
                head.map_or(0, |head| head.number) >= batch.follows
            }
        };
        if !follows {
            return Err(corrupted(format!(
                "commit {} of space {} in the commit log does not follow what the file holds",
                batch.number, batch.space
            )));
        }
        heads.insert(batch.space, batch.number);
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches)
}

/// The rows of a batch; what they replace does not matter, since the sum is made anew.
fn rows_to_write(batch: &Batch) -> Vec<Change> {
    let rows = rows_of(batch).into_iter();
    rows.map(|(key, after)| Change { key: Bytes::from(key), before: None, after }).collect()
}

impl SledStore {
    /// Creates the files of a store in a folder that is locked and has no note, or finishes what
    /// an interrupted creation has left; answers their identity.
    pub(crate) fn create(folder: &Path, options: &OpenOptions) -> Result<StoreId, StoreError> {
        create(folder, StoreId::random()?, options)
    }

    /// Opens the store in a folder that is locked.
    pub(crate) fn open(
        url: &str,
        folder: &Path,
        lock: FolderLock,
        id: StoreId,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        let Opened { db, writer } = open_data(folder, id, options)?;
        let open = OpenFile {
            db: Some(db),
            versions: Versions::new(options.snapshot_bytes),
            writer: Mutex::new(Some(writer)),
            poisoned: AtomicBool::new(false),
            _lock: lock,
        };
        let info =
            StoreInfo { url: url.to_owned(), engine: NAME, id, format_version: FORMAT_VERSION };
        Ok(Self::new(info, open))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::GENERATION_KEY;
    use super::*;
    use crate::{Outcome, open};

    fn batch(space: SpaceId, number: u64) -> Batch {
        let mut batch = Batch::new(space, number - 1, number, [7; 16]);
        let key = format!("{} {number}", space.0).into_bytes();
        batch.put(Keyspace::Records, key, b"row".as_slice());
        batch
    }

    /// A closed store with two commits, whose log has these batches besides.
    fn store_with(logged: &[Batch]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{NAME}:{}", folder.path().display());
        let store = open(&url, &OpenOptions::create()).unwrap();
        for number in 1..=2 {
            let outcome = store.apply(&batch(SpaceId::DEFAULT, number));
            assert!(matches!(outcome, Outcome::Accepted), "{outcome:?}");
        }
        store.close().unwrap();
        let seal = Seal::read(folder.path()).unwrap().unwrap();
        let disk = Box::new(open_log_file(folder.path()).unwrap());
        let mut log = CommitLog::open(disk, store.info().id, seal.generation).unwrap();
        log.restart(seal.generation);
        for batch in logged {
            log.append(batch).unwrap();
        }
        (folder, url)
    }

    #[test]
    fn a_log_that_goes_on_where_the_files_are_is_applied() {
        let (system, default) = (SpaceId::SYSTEM, SpaceId::DEFAULT);
        // sled may hold any of them already.
        for logged in [
            &[batch(default, 3), batch(system, 1), batch(default, 4), batch(system, 2)][..],
            &[batch(default, 1), batch(default, 2), batch(default, 3), batch(default, 4)],
            &[batch(default, 2), batch(default, 3), batch(default, 4)],
        ] {
            let (_folder, url) = store_with(logged);
            let store = open(&url, &OpenOptions::default()).unwrap();
            let head = store.snapshot().unwrap().head(default).unwrap().unwrap();
            assert_eq!(head.number, 4);
        }
    }

    #[test]
    fn a_log_with_a_gap_before_or_in_it_is_damage() {
        let (system, default) = (SpaceId::SYSTEM, SpaceId::DEFAULT);
        for (logged, commit) in [
            (&[batch(default, 4)][..], "commit 4 of space 1"),
            (&[batch(default, 3), batch(default, 5)], "commit 5 of space 1"),
            (&[batch(default, 3), batch(default, 3)], "commit 3 of space 1"),
            (&[batch(default, 3), batch(system, 2)], "commit 2 of space 0"),
        ] {
            let (_folder, url) = store_with(logged);
            for _ in 0..2 {
                let error = open(&url, &OpenOptions::default()).unwrap_err();
                assert_eq!(error.code(), "store_corrupted");
                let text = error.to_string();
                assert!(text.contains("does not follow what the file holds"), "{text}");
                assert!(text.contains(commit), "{text}");
            }
        }
    }

    /// The number of the log's round is what tells whether the log has to be applied.
    #[test]
    fn files_that_do_not_name_their_round_are_damage() {
        let (folder, url) = store_with(&[]);
        let (db, files) = SledFiles::open(&folder.path().join(DATA_FOLDER), 1 << 20).unwrap();
        assert!(read_generation(&db).unwrap().is_some());
        put(&db, GENERATION_KEY, None).unwrap();
        db.flush().unwrap();
        close(db, files);
        let error = open(&url, &OpenOptions::default()).unwrap_err();
        assert_eq!(error.code(), "store_corrupted");
        assert!(error.to_string().contains("does not name the generation"), "{error}");
    }
}
