//! The engine without DataFold around it.

use std::path::Path;

use datafold_store::encoding::KeyWriter;
use datafold_store::{Batch, Keyspace};
use redb::{Database, TableDefinition};

pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(crate) fn table(keyspace: Keyspace) -> Definition {
    TableDefinition::new(keyspace.name())
}

/// Opens the file of a closed store.
pub(crate) fn open(store: &Path) -> Database {
    let mut builder = Database::builder();
    builder.set_cache_size(datafold_store::OpenOptions::default().cache_bytes);
    builder.open(store.join("data.redb")).unwrap()
}

/// Writes a batch as the store does, byte for byte: one transaction, one sync.
pub(crate) fn apply(database: &Database, batch: &Batch) {
    let transaction = database.begin_write().unwrap();
    {
        let mut head = Vec::with_capacity(40);
        head.extend_from_slice(&batch.number.to_be_bytes());
        head.extend_from_slice(&batch.token);
        head.extend_from_slice(&batch.head);
        let mut key = KeyWriter::new();
        key.id(batch.space.0);
        let mut open = (Keyspace::Head, transaction.open_table(table(Keyspace::Head)).unwrap());
        open.1.insert(key.as_slice(), &head[..]).unwrap();
        for (keyspace, key, value) in batch.writes() {
            if open.0 != keyspace {
                open = (keyspace, transaction.open_table(table(keyspace)).unwrap());
            }
            match value {
                Some(value) => drop(open.1.insert(&key[..], &value[..]).unwrap()),
                None => drop(open.1.remove(&key[..]).unwrap()),
            }
        }
    }
    transaction.commit().unwrap();
}
