//! A store that answers what a test tells it to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafold_store::{
    Batch, Head, Keyspace, Outcome, Page, Scan, Snapshot, SpaceId, Store, StoreError, StoreInfo,
};
use parking_lot::Mutex;

use crate::Gate;

/// What a [`FaultStore`] answers to a batch instead of passing it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplyFault {
    /// [`Outcome::Failed`]; nothing is applied.
    Failed,
    /// [`Outcome::Indeterminate`] although the batch was applied; then the store is poisoned, and
    /// its snapshots show the batch only after [`FaultStore::reopen`].
    IndeterminateApplied,
    /// [`Outcome::Indeterminate`] and nothing is applied; then the store is poisoned.
    IndeterminateNotApplied,
    /// [`Outcome::Fenced`] with the head that the space really has; nothing is applied.
    Fenced,
}

/// The reads of a store that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadCall {
    /// [`Store::snapshot`].
    Snapshot,
    /// [`Snapshot::get`] and [`Snapshot::head`].
    Get,
    /// [`Snapshot::get_many`].
    GetMany,
    /// [`Snapshot::scan`].
    Scan,
}

/// Passes calls on to another store, except where a test has planted something else.
///
/// Like a real engine it is poisoned by an indeterminate outcome: until [`FaultStore::reopen`]
/// every later batch is refused, and snapshots show the moment before that outcome. It is cloned
/// to keep a handle beside the one that the layer above owns.
///
/// ```
/// use std::sync::Arc;
///
/// use datafold_store::{Batch, MemoryStore, Outcome, SpaceId, Store};
/// use datafold_testkit::{ApplyFault, FaultStore};
///
/// let store = FaultStore::new(Arc::new(MemoryStore::new()?));
/// store.fail_apply(1, ApplyFault::IndeterminateApplied);
/// let batch = Batch::new(SpaceId::DEFAULT, 0, 1, [1; 16]);
/// assert!(matches!(store.apply(&batch), Outcome::Indeterminate(_)));
/// assert!(matches!(store.apply(&batch), Outcome::Failed(_)));
/// store.reopen();
/// assert!(matches!(store.apply(&batch), Outcome::Fenced { .. }));
/// # Ok::<(), datafold_store::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FaultStore {
    store: Arc<dyn Store>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    gate: Gate,
    is_poisoned: AtomicBool,
    /// What snapshots show while the store is poisoned.
    before: Mutex<Option<Arc<dyn Snapshot>>>,
    applies: AtomicU64,
    accepted: AtomicU64,
    rows: AtomicU64,
    /// Each with the number of calls that are still to pass before it strikes.
    apply_faults: Mutex<Vec<(u64, ApplyFault)>>,
    read_faults: Mutex<Vec<(u64, ReadCall)>>,
    page_rows_max: Mutex<Option<usize>>,
}

impl FaultStore {
    /// Passes everything on to `store` until something is planted.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Arc::default() }
    }

    /// The `nth` batch from now on is answered `fault`; the first is 1.
    pub fn fail_apply(&self, nth: u64, fault: ApplyFault) {
        self.state.apply_faults.lock().push((nth, fault));
    }

    /// The `nth` read of one kind from now on fails with [`StoreError::Io`]; the first is 1.
    /// Snapshots that were taken before count as well.
    pub fn fail_read(&self, nth: u64, call: ReadCall) {
        self.state.read_faults.lock().push((nth, call));
    }

    /// Removes everything that is planted; a poisoned store stays so.
    pub fn clear_faults(&self) {
        self.state.apply_faults.lock().clear();
        self.state.read_faults.lock().clear();
        *self.state.page_rows_max.lock() = None;
    }

    /// Gives scans at most this many rows a page, fewer than they ask for, as an engine may.
    pub fn shorten_pages(&self, rows_max: usize) {
        *self.state.page_rows_max.lock() = Some(rows_max.max(1));
    }

    /// Takes batches again after an indeterminate outcome, as a store does when it was opened
    /// again.
    pub fn reopen(&self) {
        self.state.before.lock().take();
        self.state.is_poisoned.store(false, Ordering::Release);
    }

    /// Whether an outcome was indeterminate since the last [`FaultStore::reopen`].
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.state.is_poisoned.load(Ordering::Acquire)
    }

    /// The gate that every batch passes before anything else happens to it.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.state.gate
    }

    /// The number of batches that were handed in, whatever the answer.
    #[must_use]
    pub fn apply_count(&self) -> u64 {
        self.state.applies.load(Ordering::Acquire)
    }

    /// The number of batches that were answered [`Outcome::Accepted`].
    #[must_use]
    pub fn accepted_count(&self) -> u64 {
        self.state.accepted.load(Ordering::Acquire)
    }

    /// The number of rows in the batches that were accepted.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.state.rows.load(Ordering::Acquire)
    }

    fn pass_on(&self, batch: &Batch) -> Outcome {
        let outcome = self.store.apply(batch);
        match outcome {
            Outcome::Accepted => {
                self.state.accepted.fetch_add(1, Ordering::AcqRel);
                self.state.rows.fetch_add(batch.len() as u64, Ordering::AcqRel);
            }
            Outcome::Indeterminate(_) => self.state.is_poisoned.store(true, Ordering::Release),
            Outcome::Fenced { .. } | Outcome::Failed(_) => {}
        }
        outcome
    }

    fn apply_in_secret(&self, batch: &Batch) -> Outcome {
        match self.store.snapshot() {
            Ok(before) => *self.state.before.lock() = Some(before),
            Err(error) => return Outcome::Failed(error),
        }
        match self.store.apply(batch) {
            Outcome::Accepted => self.indeterminate(),
            other => {
                self.state.before.lock().take();
                other
            }
        }
    }

    fn indeterminate(&self) -> Outcome {
        self.state.is_poisoned.store(true, Ordering::Release);
        Outcome::Indeterminate(planted("sync a batch"))
    }

    fn fenced(&self, space: SpaceId) -> Outcome {
        match self.store.snapshot().and_then(|snapshot| snapshot.head(space)) {
            Ok(head) => Outcome::Fenced { head },
            Err(error) => Outcome::Failed(error),
        }
    }
}

impl Store for FaultStore {
    fn info(&self) -> &StoreInfo {
        self.store.info()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.state.check(ReadCall::Snapshot)?;
        let before = self.state.before.lock().clone();
        let snapshot = before.map_or_else(|| self.store.snapshot(), Ok)?;
        Ok(Arc::new(FaultSnapshot { snapshot, state: Arc::clone(&self.state) }))
    }

    fn apply(&self, batch: &Batch) -> Outcome {
        self.state.applies.fetch_add(1, Ordering::AcqRel);
        self.state.gate.pass();
        if self.is_poisoned() {
            return Outcome::Failed(StoreError::Poisoned);
        }
        match strike(&mut self.state.apply_faults.lock(), |_| true) {
            None => self.pass_on(batch),
            Some(ApplyFault::Failed) => Outcome::Failed(planted("write a batch")),
            Some(ApplyFault::Fenced) => self.fenced(batch.space),
            Some(ApplyFault::IndeterminateNotApplied) => self.indeterminate(),
            Some(ApplyFault::IndeterminateApplied) => self.apply_in_secret(batch),
        }
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.store.size_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}

impl State {
    fn check(&self, call: ReadCall) -> Result<(), StoreError> {
        match strike(&mut self.read_faults.lock(), |planted| *planted == call) {
            Some(_) => Err(planted("read")),
            None => Ok(()),
        }
    }
}

/// Counts a call for the faults that mean it, and takes out the one that strikes.
fn strike<T>(faults: &mut Vec<(u64, T)>, is_meant: impl Fn(&T) -> bool) -> Option<T> {
    let mut struck = None;
    for (index, (left, fault)) in faults.iter_mut().enumerate() {
        if is_meant(fault) {
            *left = left.saturating_sub(1);
            if *left == 0 && struck.is_none() {
                struck = Some(index);
            }
        }
    }
    struck.map(|index| faults.remove(index).1)
}

fn planted(action: &str) -> StoreError {
    StoreError::Io { action: action.into(), source: io::Error::other("planted failure") }
}

#[derive(Debug)]
struct FaultSnapshot {
    snapshot: Arc<dyn Snapshot>,
    state: Arc<State>,
}

impl Snapshot for FaultSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.check(ReadCall::Get)?;
        self.snapshot.get(keyspace, key)
    }

    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.state.check(ReadCall::GetMany)?;
        self.snapshot.get_many(keys)
    }

    fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        self.state.check(ReadCall::Scan)?;
        match *self.state.page_rows_max.lock() {
            Some(rows_max) => self.snapshot.scan(&scan.clone().rows(rows_max.min(scan.rows_max))),
            None => self.snapshot.scan(scan),
        }
    }

    fn head(&self, space: SpaceId) -> Result<Option<Head>, StoreError> {
        self.state.check(ReadCall::Get)?;
        self.snapshot.head(space)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use datafold_store::MemoryStore;

    use super::*;
    use crate::model::read_all;

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(MemoryStore::new().unwrap()))
    }

    fn batch(number: u64) -> Batch {
        let mut batch = Batch::new(SpaceId::DEFAULT, number - 1, number, [0; 16]);
        batch.put(Keyspace::Records, number.to_be_bytes().to_vec(), &b"v"[..]);
        batch
    }

    fn head(store: &FaultStore) -> u64 {
        let head = store.snapshot().unwrap().head(SpaceId::DEFAULT).unwrap();
        head.map_or(0, |head| head.number)
    }

    #[test]
    fn planted_outcomes_do_what_they_say() {
        let store = store();
        store.fail_apply(2, ApplyFault::Failed);
        store.fail_apply(3, ApplyFault::Fenced);
        assert!(matches!(store.apply(&batch(1)), Outcome::Accepted));
        assert!(matches!(store.apply(&batch(2)), Outcome::Failed(_)));
        let outcome = store.apply(&batch(2));
        let Outcome::Fenced { head: Some(found) } = outcome else { panic!("{outcome:?}") };
        assert_eq!((found.number, head(&store)), (1, 1));
        store.fail_apply(1, ApplyFault::IndeterminateNotApplied);
        assert!(matches!(store.apply(&batch(2)), Outcome::Indeterminate(_)));
        assert!(matches!(store.apply(&batch(2)), Outcome::Failed(StoreError::Poisoned)));
        assert_eq!(head(&store), 1);
        store.reopen();
        store.fail_apply(1, ApplyFault::IndeterminateApplied);
        assert!(matches!(store.apply(&batch(2)), Outcome::Indeterminate(_)));
        assert!(store.is_poisoned());
        assert_eq!(head(&store), 1);
        store.reopen();
        assert_eq!(head(&store), 2);
        assert_eq!((store.apply_count(), store.accepted_count(), store.row_count()), (6, 1, 1));
    }

    #[test]
    fn reads_fail_and_pages_are_short_when_told_so() {
        let store = store();
        for number in 1..=5 {
            assert!(matches!(store.apply(&batch(number)), Outcome::Accepted));
        }
        store.fail_read(1, ReadCall::Snapshot);
        store.fail_read(2, ReadCall::Scan);
        assert_eq!(store.snapshot().unwrap_err().code(), "store_io");
        let view = store.snapshot().unwrap();
        let scan = Scan::all(Keyspace::Records);
        store.shorten_pages(2);
        let page = view.scan(&scan).unwrap();
        assert_eq!((page.len(), page.more()), (2, true));
        assert_eq!(view.scan(&scan).unwrap_err().code(), "store_io");
        assert_eq!(read_all(&*view, scan).unwrap().len(), 5);
    }

    #[test]
    fn a_shut_gate_holds_a_batch() {
        let store = store();
        store.gate().shut();
        thread::scope(|scope| {
            let apply = scope.spawn(|| matches!(store.apply(&batch(1)), Outcome::Accepted));
            store.gate().wait_for(1);
            assert_eq!((head(&store), store.gate().waiting()), (0, 1));
            store.gate().let_one_pass();
            assert!(apply.join().unwrap());
            let apply = scope.spawn(|| matches!(store.apply(&batch(2)), Outcome::Accepted));
            store.gate().wait_for(1);
            store.gate().open();
            assert!(apply.join().unwrap());
        });
        assert_eq!(head(&store), 2);
    }
}
