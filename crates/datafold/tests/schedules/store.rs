//! A store in memory whose every call is a step of the schedule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use datafold_store::{
    Batch, FORMAT_VERSION, Head, Keyspace, Outcome, Page, Scan, Snapshot, SpaceId, Store,
    StoreError, StoreId, StoreInfo,
};
use datafold_testkit::{ApplyFault, ModelStore};

/// The steps of the schedule that the calls of a store consist of.
struct Steps(shuttle::sync::atomic::AtomicBool);

impl Steps {
    /// Another thread may go on here.
    fn take(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

/// The rows, and the batch that is answered otherwise.
///
/// Unlike a real engine it goes on to take batches after an unknown outcome: the pipeline must not
/// rely on being refused.
pub(crate) struct StepStore {
    info: StoreInfo,
    steps: Steps,
    rows: Mutex<Arc<ModelStore>>,
    space: SpaceId,
    fault: Option<(u64, ApplyFault)>,
    applies: AtomicU64,
    durable: AtomicU64,
}

impl fmt::Debug for StepStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepStore")
    }
}

impl StepStore {
    /// The rows of `model`; the batch number `nth` from now on is answered `fault`.
    pub(crate) fn new(model: Arc<ModelStore>, fault: Option<(u64, ApplyFault)>) -> Self {
        let info = StoreInfo {
            url: "steps:".into(),
            engine: "steps",
            id: StoreId([7; 16]),
            format_version: FORMAT_VERSION,
        };
        // The first space that is registered.
        let space = SpaceId::DEFAULT;
        let durable = AtomicU64::new(model.head_number(space));
        let steps = Steps(shuttle::sync::atomic::AtomicBool::new(false));
        let (rows, applies) = (Mutex::new(model), AtomicU64::new(0));
        Self { info, steps, rows, space, fault, applies, durable }
    }

    /// All rows as they are now.
    pub(crate) fn model(&self) -> Arc<ModelStore> {
        Arc::clone(&self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of the last commit that the store has accepted.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    fn write(&self, batch: &Batch) -> Result<(), Outcome> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut rows).apply(batch).map_err(|head| Outcome::Fenced { head })
    }
}

impl Store for StepStore {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.steps.take();
        Ok(Arc::new(Moment(self.model())))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        let nth = self.applies.fetch_add(1, Ordering::SeqCst) + 1;
        self.steps.take();
        let fault = self.fault.filter(|(at, _)| *at == nth).map(|(_, fault)| fault);
        let failure = |action: &str| StoreError::Io {
            action: action.into(),
            source: io::Error::other("planted failure"),
        };
        match fault {
            Some(ApplyFault::Failed) => return Outcome::Failed(failure("write a batch")),
            Some(ApplyFault::IndeterminateNotApplied) => {
                return Outcome::Indeterminate(failure("sync a batch"));
            }
            Some(ApplyFault::IndeterminateApplied) => {
                return match self.write(batch) {
                    Ok(()) => Outcome::Indeterminate(failure("sync a batch")),
                    Err(outcome) => outcome,
                };
            }
            Some(ApplyFault::Fenced) => {
                return Outcome::Fenced { head: self.model().head(batch.space).cloned() };
            }
            None => {}
        }
        if let Err(outcome) = self.write(batch) {
            return outcome;
        }
        // It is written and not yet synced.
        self.steps.take();
        if batch.space == self.space {
            self.durable.store(batch.number, Ordering::SeqCst);
        }
        self.steps.take();
        Outcome::Accepted
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The rows at one moment.
struct Moment(Arc<ModelStore>);

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moment")
    }
}

impl Snapshot for Moment {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(keyspace, key).map(<[u8]>::to_vec))
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key)).collect()
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = Page::for_scan(scan);
        for (key, value) in self.0.scan(scan) {
            if page.is_full(scan) {
                page.set_more();
                break;
            }
            page.push(&key, &value);
        }
        Ok(page)
    }

    fn head(&self, space: SpaceId) -> Result<Option<Head>, StoreError> {
        Ok(self.0.head(space).cloned())
    }
}
