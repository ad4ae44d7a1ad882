//! The rows of a batch, and the generation of the log, inside a transaction of redb.

use redb::{
    Durability, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use super::backend::Backend;
use super::definition;
use super::failure::engine_error;
use crate::{Batch, Head, Keyspace, Outcome, StoreError};

/// The table that says which generation of the commit log stands behind this state.
const LOG_TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("log");
const GENERATION_KEY: &[u8] = b"generation";

/// Writes the rows of a batch that follows the head of its space.
pub(super) fn write_batch(
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

/// Says in the transaction which generation of the log stands behind what it commits.
pub(super) fn write_generation(
    transaction: &WriteTransaction,
    generation: u64,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(LOG_TABLE)?;
    table.insert(GENERATION_KEY, &generation.to_be_bytes()[..])?;
    Ok(())
}

/// The generation of the log that stands behind the state; `None` if it names none.
pub(super) fn read_generation(transaction: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let error = |error: redb::Error| engine_error("read the log's generation", error);
    let table = match transaction.open_table(LOG_TABLE) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(|e| error(e.into()))?,
    };
    let row = table.get(GENERATION_KEY).map_err(|e| error(e.into()))?;
    let number = row.and_then(|row| row.value().try_into().ok());
    Ok(number.map(u64::from_be_bytes))
}

/// Makes the transaction one that is durable, and fast to open behind a crash.
pub(super) fn make_durable(transaction: &mut WriteTransaction) -> Result<(), StoreError> {
    set_durability(transaction, Durability::Immediate)?;
    // The commits behind it are not durable in the file, so this is what a crash goes back to:
    // it must not cost a walk through the whole of it.
    transaction.set_quick_repair(true);
    Ok(())
}

/// Makes the transaction one that is seen, and durable with the next one that is.
pub(super) fn make_visible(transaction: &mut WriteTransaction) -> Result<(), StoreError> {
    set_durability(transaction, Durability::None)
}

fn set_durability(
    transaction: &mut WriteTransaction,
    durability: Durability,
) -> Result<(), StoreError> {
    let set = transaction.set_durability(durability);
    set.map_err(|error| engine_error("begin a batch", error))
}
