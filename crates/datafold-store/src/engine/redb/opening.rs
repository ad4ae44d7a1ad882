//! What is found in the files of a store when it is opened, and what a new one is given.

use std::io;

use redb::{Database, ReadableDatabase, TableError};

use super::backend::Backend;
use super::definition;
use super::failure::engine_error;
use super::rows::{make_durable, read_generation, write_batch, write_generation};
use crate::commit_log::CommitLog;
use crate::identity::{IDENTITY_KEY, Identity, LOG_SINCE, identity_row};
use crate::{Batch, Disk, Head, Keyspace, OpenOptions, Outcome, StoreError, StoreId};

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
pub(super) fn discard_unfinished(disk: &dyn Disk) -> io::Result<()> {
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

/// What a store must be to be opened.
pub(super) struct Expected<'a> {
    pub(super) url: &'a str,
    /// Its identity, or the one that a new store gets.
    pub(super) id: StoreId,
    /// The oldest format that its rows may have.
    pub(super) since: u32,
    pub(super) options: &'a OpenOptions,
}

/// Finds out what the engine holds, brings it up to the log, and answers identity and log.
///
/// The row of the identity is what decides. It is written when the log is there, so a store that
/// has it has a log, and anything else is damage.
pub(super) fn identify(
    expected: &Expected<'_>,
    database: &Database,
    log: Box<dyn Disk>,
    backend: &Backend,
) -> Result<(StoreId, CommitLog), StoreError> {
    let unexpectedly_empty = |reason: &str| StoreError::UnexpectedlyEmpty {
        url: expected.url.to_owned(),
        reason: reason.to_owned(),
    };
    let create = expected.options.create;
    let found = match find(database)? {
        Found::NoKeyspaces if create => {
            let log = give_identity(database, log, expected.id, expected.options.log_bytes)?;
            return Ok((expected.id, log));
        }
        Found::NoKeyspaces => return Err(unexpectedly_empty("it has no keyspaces")),
        Found::NoIdentity => return Err(unexpectedly_empty("its identity is missing")),
        Found::Store(found) => found,
    };
    // A creation that was interrupted before its note keeps the identity it had given.
    if found.id != expected.id && !create {
        return Err(StoreError::Corrupted {
            what: format!("the file is store {}, the folder's note says {}", found.id, expected.id),
            source: None,
        });
    }
    if found.version < expected.since {
        return Err(StoreError::Corrupted {
            what: format!(
                "the file has format version {}, the folder's note says {}",
                found.version, expected.since
            ),
            source: None,
        });
    }
    // Not of every older format: one that has a log may have batches in it.
    if found.version < LOG_SINCE {
        let log = give_identity(database, log, found.id, expected.options.log_bytes)?;
        return Ok((found.id, log));
    }
    let log = recover(database, log, found.id, backend)?;
    Ok((found.id, log))
}

enum Found {
    NoKeyspaces,
    NoIdentity,
    Store(Identity),
}

fn find(database: &Database) -> Result<Found, StoreError> {
    let error = |error: redb::Error| engine_error("read the store's identity", error);
    let transaction = database.begin_read().map_err(|e| error(e.into()))?;
    let table = match transaction.open_table(definition(Keyspace::Head)) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Found::NoKeyspaces),
        table => table.map_err(|e| error(e.into()))?,
    };
    match table.get(IDENTITY_KEY).map_err(|e| error(e.into()))? {
        Some(row) => Identity::decode(row.value()).map(Found::Store),
        None => Ok(Found::NoIdentity),
    }
}

/// The generation that a new log begins with.
const FIRST_GENERATION: u64 = 1;

/// Gives a store its identity, in the format of this version, and with it a log.
///
/// The log comes first. If the power fails between the two, the next opening begins anew: a store
/// without an identity holds nothing, and one of the format without a log has nothing in one.
fn give_identity(
    database: &Database,
    log: Box<dyn Disk>,
    id: StoreId,
    log_bytes: u64,
) -> Result<CommitLog, StoreError> {
    fn error(error: impl Into<redb::Error>) -> StoreError {
        engine_error("create the keyspaces", error)
    }
    let mut log = CommitLog::create(log, id, log_bytes)?;
    let mut transaction = database.begin_write().map_err(error)?;
    make_durable(&mut transaction)?;
    for keyspace in Keyspace::ALL {
        let mut table = transaction.open_table(definition(keyspace)).map_err(error)?;
        if keyspace == Keyspace::Head {
            let row = identity_row(id);
            table.insert(IDENTITY_KEY, row.as_ref()).map_err(error)?;
        }
    }
    write_generation(&transaction, FIRST_GENERATION).map_err(error)?;
    transaction.commit().map_err(error)?;
    log.restart(FIRST_GENERATION);
    Ok(log)
}

/// Applies what the log holds and the engine does not, durable when it returns.
fn recover(
    database: &Database,
    log: Box<dyn Disk>,
    id: StoreId,
    backend: &Backend,
) -> Result<CommitLog, StoreError> {
    fn error(error: impl Into<redb::Error>) -> StoreError {
        engine_error("apply the commit log", error)
    }
    let generation = read_generation(&database.begin_read().map_err(error)?)?;
    let generation = generation.ok_or_else(|| StoreError::Corrupted {
        what: "the file does not name the generation of its commit log".into(),
        source: None,
    })?;
    let mut log = CommitLog::open(log, id, generation)?;
    let mut transaction = database.begin_write().map_err(error)?;
    make_durable(&mut transaction)?;
    let replayed = log.replay(|batch| match write_batch(&transaction, &batch, backend) {
        Ok(()) => Ok(()),
        // The engine may hold a part of the log if it closed and could not say so.
        Err(Outcome::Fenced { head: Some(head) }) if is_held(&head, &batch) => Ok(()),
        Err(Outcome::Failed(error) | Outcome::Indeterminate(error)) => Err(error),
        Err(Outcome::Fenced { .. } | Outcome::Accepted) => Err(StoreError::Corrupted {
            what: format!(
                "commit {} of space {} in the commit log does not follow what the file holds",
                batch.number, batch.space
            ),
            source: None,
        }),
    });
    match replayed {
        // An opening that finds nothing to do writes nothing.
        Ok(0) => transaction.abort().map_err(error)?,
        Ok(_) => {
            let generation = generation + 1;
            write_generation(&transaction, generation).map_err(error)?;
            transaction.commit().map_err(error)?;
            log.restart(generation);
        }
        Err(cause) => {
            // Nothing is committed whether this succeeds or not.
            let _ = transaction.abort();
            return Err(cause);
        }
    }
    Ok(log)
}

/// Whether a space with this head holds the batch.
fn is_held(head: &Head, batch: &Batch) -> bool {
    head.number > batch.number || (head.number == batch.number && head.token == batch.token)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{FileDisk, RedbDisks, RedbStore, SpaceId, Store};

    const ID: StoreId = StoreId([7; 16]);

    fn batch(space: SpaceId, number: u64) -> Batch {
        let token = [u8::try_from(number).unwrap(); 16];
        let mut batch = Batch::new(space, number - 1, number, token);
        let key = format!("{} {number}", space.0).into_bytes();
        batch.put(Keyspace::Records, key, b"row".as_slice());
        batch
    }

    fn log_of(folder: &Path) -> Box<dyn Disk> {
        Box::new(FileDisk::open(&folder.join("log"), true).unwrap())
    }

    fn open(folder: &Path) -> Result<RedbStore, StoreError> {
        let data = Box::new(FileDisk::open(&folder.join("data"), true).unwrap());
        let disks = RedbDisks { data, log: log_of(folder) };
        RedbStore::open("test:", disks, ID, &OpenOptions::create())
    }

    /// A store whose engine holds these batches, and whose log of the same round holds those.
    fn store(held: &[Batch], logged: &[Batch]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        for batch in held {
            assert!(matches!(store.apply(batch), Outcome::Accepted));
        }
        // Without a log, closing makes all durable and leaves the generation as it is.
        *store.open.read().as_ref().unwrap().file.log.lock() = None;
        store.close().unwrap();
        let log = log_of(folder.path());
        let mut log = CommitLog::open(log, ID, FIRST_GENERATION).unwrap();
        log.restart(FIRST_GENERATION);
        for batch in logged {
            log.append(batch).unwrap();
        }
        folder
    }

    /// The number of rows, and the heads of two spaces.
    fn found(store: &RedbStore) -> (usize, [Option<u64>; 2]) {
        let view = store.snapshot().unwrap();
        let head = |space| view.head(space).unwrap().map(|head| head.number);
        let rows = view.scan(&crate::Scan::all(Keyspace::Records)).unwrap();
        (rows.len(), [SpaceId::SYSTEM, SpaceId::DEFAULT].map(head))
    }

    #[test]
    fn of_a_log_that_the_engine_holds_in_part_the_rest_is_applied() {
        let (a, b) = (SpaceId::SYSTEM, SpaceId::DEFAULT);
        let batches = [batch(a, 1), batch(b, 1), batch(a, 2), batch(b, 2), batch(a, 3)];
        for held in 0..=batches.len() {
            let folder = store(&batches[..held], &batches);
            for _ in 0..2 {
                let store = open(folder.path()).unwrap();
                assert_eq!(found(&store), (5, [Some(3), Some(2)]), "{held} held");
                let open = store.open.read();
                let log = open.as_ref().unwrap().file.log.lock();
                assert_eq!(log.as_ref().unwrap().generation(), FIRST_GENERATION + 1);
            }
        }
    }

    #[test]
    fn a_log_that_does_not_follow_what_the_engine_holds_is_damage() {
        let space = SpaceId::DEFAULT;
        let held = [batch(space, 1), batch(space, 2)];
        let mut other = batch(space, 2);
        other.token = [9; 16];
        for logged in [[batch(space, 1), other], [batch(space, 2), batch(space, 4)]] {
            let folder = store(&held, &logged);
            for _ in 0..2 {
                let error = open(folder.path()).unwrap_err();
                assert!(error.to_string().contains("does not follow"), "{error}");
            }
        }
    }
}
