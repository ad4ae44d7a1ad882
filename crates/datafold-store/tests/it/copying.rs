//! Copies that must not become stores: of a source that cannot be read, on a disk that fails, and
//! those that are not the source.

use std::sync::Arc;

use datafold_store::{
    Batch, CopyPhase, Keyspace, Outcome, Page, RedbStore, Scan, Snapshot, SpaceId, Store,
    StoreError, StoreId, StoreInfo, copy_to, open,
};
use datafold_store::{MemoryStore, RowVisitor};
use datafold_testkit::model::dump;
use datafold_testkit::{CutKind, DiskError, DiskFault, FaultStore, ReadCall, SimDisk};

use crate::harness::{disks, open_sim, options};

const ROWS: u32 = 1_000;

fn source() -> Arc<MemoryStore> {
    let store = MemoryStore::new().unwrap();
    let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [7; 16]);
    for row in 0..ROWS {
        batch.put(Keyspace::Records, row.to_be_bytes().to_vec(), row.to_le_bytes().to_vec());
    }
    batch.put(Keyspace::History, &b"past"[..], &b"value"[..]);
    assert!(matches!(store.apply(&batch), Outcome::Accepted));
    Arc::new(store)
}

/// What becomes of the rows that are read a second time.
#[derive(Debug, Clone, Copy)]
enum Change {
    Value,
    Key,
    Missing,
    Another,
}

/// A source that has other rows when the copy is compared with it: as if the engine of the copy
/// had written something else than it was given.
#[derive(Debug)]
struct Changed(Arc<MemoryStore>, Keyspace, Change);

#[derive(Debug)]
struct ChangedSnapshot(Arc<dyn Snapshot>, Keyspace, Change);

impl Store for Changed {
    fn info(&self) -> &StoreInfo {
        self.0.info()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(ChangedSnapshot(self.0.snapshot()?, self.1, self.2)))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        self.0.apply(batch)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.0.close()
    }
}

impl Snapshot for ChangedSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(keyspace, key)
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.get_many(keys)
    }

    /// The comparison reads by pages, and the copy before it did not.
    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let page = self.0.scan(scan)?;
        if scan.keyspace != self.1 || page.more() {
            return Ok(page);
        }
        let mut changed = Page::new();
        let last = page.len().saturating_sub(1);
        for (at, (key, value)) in page.rows().enumerate() {
            match self.2 {
                _ if at < last => changed.push(key, value),
                Change::Value => changed.push(key, &[value, b"!"].concat()),
                Change::Key => changed.push(&[key, b"!"].concat(), value),
                Change::Missing => {}
                Change::Another => {
                    changed.push(key, value);
                    changed.push(&[key, b"!"].concat(), value);
                }
            }
        }
        Ok(changed)
    }

    fn for_each(&self, scan: &Scan, visit: &mut RowVisitor<'_>) -> Result<(), StoreError> {
        self.0.for_each(scan, visit)
    }
}

/// Copies to a place where the copy before it was not finished.
fn finish(url: &str, source: &MemoryStore) {
    let error = open(url, &options(true)).unwrap_err();
    assert_eq!(error.code(), "store_unfinished", "{error}");
    let (copy, total) = copy_to(source, url, &options(true), &mut |_| ()).unwrap();
    let rows = dump(&*source.snapshot().unwrap()).unwrap();
    assert!(dump(&*copy.snapshot().unwrap()).unwrap() == rows);
    assert_eq!((total.phase, copy.info().id), (CopyPhase::Copying, source.info().id));
}

#[test]
fn a_copy_that_differs_in_one_row_is_refused_and_is_no_store() {
    let source = source();
    for scheme in ["redb:", "sled:"] {
        for keyspace in [Keyspace::Records, Keyspace::History] {
            for change in [Change::Value, Change::Key, Change::Missing, Change::Another] {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("{scheme}{}", folder.path().display());
                let changed = Changed(Arc::clone(&source), keyspace, change);
                let copied = copy_to(&changed, &url, &options(true), &mut |_| ());
                let error = copied.map(|(_, total)| total).unwrap_err();
                assert_eq!(error.code(), "store_corrupted", "{change:?}: {error}");
                let row = match (keyspace, change) {
                    (Keyspace::Records, Change::Another) => ROWS + 1,
                    (Keyspace::Records, _) => ROWS,
                    (_, Change::Another) => 2,
                    _ => 1,
                };
                let found = format!("row {row} of the keyspace {keyspace} differs");
                assert!(error.to_string().contains(&found), "{change:?}: {error}");
                finish(&url, &source);
            }
        }
    }
}

#[test]
fn a_copy_of_a_source_that_cannot_be_read_is_no_store() {
    let source = source();
    for scheme in ["redb:", "sled:"] {
        let mut failed = 0;
        for nth in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("{scheme}{}", folder.path().display());
            let faulty = FaultStore::new(Arc::clone(&source) as _);
            faulty.shorten_pages(400);
            faulty.fail_read(nth, ReadCall::Scan);
            match copy_to(&faulty, &url, &options(true), &mut |_| ()) {
                Ok(_) => break,
                Err(error) => assert_eq!(error.code(), "store_io", "{nth}: {error}"),
            }
            finish(&url, &source);
            failed += 1;
        }
        assert!(failed > 2 * Keyspace::ALL.len(), "{failed} reads failed");
    }
}

/// Loads some rows on a simulated disk.
fn load(disk: &SimDisk) -> Result<Arc<dyn Store>, StoreError> {
    let again = disk.clone();
    let id = StoreId([9; 16]);
    let mut loader =
        RedbStore::loader("sim:", disks(disk), id, &options(true), move || disks(&again))?;
    for row in 0..200_u32 {
        loader.put(Keyspace::Records, &row.to_be_bytes(), &[7; 200])?;
    }
    loader.finish(|_| Ok(()))
}

/// Whatever fails, a load that says that it is done has all rows on the disk.
#[test]
fn a_load_on_a_disk_that_fails_says_so() {
    let disk = SimDisk::new(1);
    let whole = load(&disk).unwrap();
    let expected = dump(&*whole.snapshot().unwrap()).unwrap();
    assert_eq!(expected.len(), 200);
    let calls = disk.call_count();
    let (mut points, mut failed) = (0, 0);
    for nth in 1..=calls {
        for error in DiskError::ALL {
            for for_ever in [false, true] {
                let disk = SimDisk::new(nth);
                disk.inject(DiskFault { for_ever, ..DiskFault::nth(nth, error) });
                let loaded = load(&disk);
                disk.clear_faults();
                points += 1;
                match loaded {
                    Ok(store) => drop(store),
                    Err(_) => {
                        failed += 1;
                        continue;
                    }
                }
                let disk = disk.power_cut(CutKind::LoseAll, nth);
                let store = open_sim(&disk, StoreId([9; 16]), false).unwrap();
                let rows = dump(&*store.snapshot().unwrap()).unwrap();
                assert!(rows == expected, "{error:?} of call {nth}, for ever: {for_ever}");
            }
        }
    }
    assert!(failed > points / 2, "{failed} of {points} loads failed");
}
