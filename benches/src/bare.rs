//! The engine without DataFold around it.

use std::path::Path;
use std::sync::Arc;

use datafold_store::encoding::KeyWriter;
use datafold_store::{
    Batch, Keyspace, Outcome, Page, Scan, Snapshot, Store, StoreError, StoreId, StoreInfo,
};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

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

/// The bare engine as a store, so that DataFold writes to it while others read it directly.
#[derive(Debug)]
pub(crate) struct BareStore {
    pub(crate) database: Arc<Database>,
    info: StoreInfo,
}

impl BareStore {
    pub(crate) fn open(store: &Path, id: StoreId) -> Self {
        let info = StoreInfo {
            url: "bare:".into(),
            engine: "redb",
            id,
            format_version: datafold_store::FORMAT_VERSION,
        };
        Self { database: Arc::new(open(store)), info }
    }
}

impl Store for BareStore {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let transaction = self.database.begin_read().unwrap();
        let tables = Keyspace::ALL.map(|keyspace| transaction.open_table(table(keyspace)).unwrap());
        Ok(Arc::new(BareSnapshot { tables }))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        apply(&self.database, batch);
        Outcome::Accepted
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct BareSnapshot {
    tables: [ReadOnlyTable<&'static [u8], &'static [u8]>; 7],
}

impl std::fmt::Debug for BareSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BareSnapshot")
    }
}

impl Snapshot for BareSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let row = ReadableTable::get(&self.tables[keyspace.index()], key).unwrap();
        Ok(row.map(|row| row.value().to_vec()))
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = Page::for_scan(scan);
        let table = &self.tables[scan.keyspace.index()];
        for row in ReadableTable::range::<&[u8]>(table, scan.bounds()).unwrap() {
            if page.is_full(scan) {
                page.set_more();
                break;
            }
            let (key, value) = row.unwrap();
            page.push(key.value(), value.value());
        }
        Ok(page)
    }
}
