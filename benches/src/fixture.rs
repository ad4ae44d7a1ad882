//! Stores with something in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafold::FoldDb;
use datafold::data_layer::{DatabasePool, Durability, PoolOptions};
use datafold::engine::{Mutation, RecordInput};
use datafold::model::{SchemaName, Value};
use datafold_store::{OpenOptions, Store};

/// A pseudo-random sequence, the same in every run (SplitMix64).
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// The schema of the benches: a key, a number and a text of 100 bytes.
pub(crate) fn schema() -> SchemaName {
    SchemaName::parse("Item").unwrap()
}

const SCHEMA: &str = r#"{"name": "Item", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "count": {"value": {"type": "integer"}},
    "text": {"value": {"type": "string"}}}}"#;

pub(crate) fn record(id: u64, count: u64) -> RecordInput {
    let text = format!("{id:0>100}");
    RecordInput::from([
        ("id".into(), Value::Int(id as i64)),
        ("count".into(), Value::Int(count as i64)),
        ("text".into(), Value::Text(text)),
    ])
}

pub(crate) fn update(id: u64, count: u64) -> Mutation {
    let record = RecordInput::from([
        ("id".into(), Value::Int(id as i64)),
        ("count".into(), Value::Int(count as i64)),
    ]);
    Mutation::update(schema(), vec![record])
}

/// A folder on the disk of the project, so that syncs are real.
pub(crate) fn folder() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    tempfile::Builder::new().prefix("bench-").tempdir_in(target).unwrap()
}

/// Loads and approves the schema.
pub(crate) fn approve(db: &FoldDb) {
    let name = db.schemas().load_text(SCHEMA, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
}

/// Creates a store with records 0 to `records` in it.
pub(crate) fn filled(path: &Path, records: u64) {
    let db = FoldDb::create(path.to_str().unwrap()).unwrap();
    approve(&db);
    let ids: Vec<u64> = (0..records).collect();
    for chunk in ids.chunks(1_000) {
        let rows = chunk.iter().map(|id| record(*id, 0)).collect();
        let request = Mutation::create(schema(), rows).into();
        db.mutate_with(&request, Durability::Buffered).unwrap();
    }
    db.pool().close().unwrap();
}

pub(crate) fn open(path: &Path) -> FoldDb {
    FoldDb::open(path.to_str().unwrap()).unwrap()
}

/// Opens a store whose batches pass through `wrap`.
pub(crate) fn open_wrapped(
    path: &Path,
    wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
) -> FoldDb {
    let store = datafold_store::open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
    let pool = DatabasePool::with_store(wrap(store), &PoolOptions::default()).unwrap();
    FoldDb::new(pool)
}

/// A copy of a closed store.
pub(crate) fn copied(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}
