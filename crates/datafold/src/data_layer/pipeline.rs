//! The commit pipeline: one order, a short writer lock, group commit.
//!
//! A commit is *staged* under the writer lock: it gets the next number, its rows go into the
//! overlay and onto the queue. The lock is released before anything is durable. Flushing takes
//! what has queued up, hands it to the store as one batch, publishes the new state and wakes
//! those who wait. A committer that is alone does it itself; as soon as several are queued, or
//! nobody waits, a thread of the library does, without a pause until the queue is empty.
//!
//! Lock order: writer, queue, ticket. No lock is held while the store syncs. Of a caller's
//! code only its clock is asked under a lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace, Order, Scan, Store};
use minicbor::{Decoder, Encoder};

use super::catalogue::SchemaCore;
use super::commit::{Change, Commit, encode_commit};
use super::counters::SchemaCounters;
use super::error::{CommitError, DataLayerError};
use super::failure::Halt;
use super::ids::{CommitNumber, SchemaId, WriterId};
use super::index_build::CatalogueChanges;
use super::materialize::{CommitStamp, CounterDelta, Materialized};
use super::meter::{LockMeter, LockStats};
use super::overlay::{Overlay, ReadRange};
use super::prefetch::Prefetch;
use super::publication::Publication;
use super::published::Published;
use super::queue::{Queue, Queued};
use super::record::ok;
use super::record_cache::RecordCache;
use super::rows::Rows;
use super::serialization::RowError;
use super::ticket::Ticket;
use super::transform::PropagationLimits;
use super::working_set::{RowSource, WorkingSet};
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::planted::{Fault, is_planted};
use crate::sync::{ArcSwap, AtomicI64, Condvar, Mutex, MutexGuard, OnceLock, Ordering};

/// The largest transaction, the same on every engine: rows.
pub const TRANSACTION_ROWS_MAX: usize = 20_000;
/// The largest transaction, the same on every engine: bytes of keys and values.
pub const TRANSACTION_BYTES_MAX: usize = 16 << 20;
/// A committer waits while this many bytes are queued. In schedules some small commits fill it.
const QUEUE_BYTES_MAX: usize = if cfg!(feature = "shuttle") { 1_500 } else { 64 << 20 };

/// When a commit call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the commit is durable, and visible to every read that begins later.
    #[default]
    Durable,
    /// When the commit has its place in the order. It becomes visible when it is durable;
    /// `flush` waits for that. If its group fails, it is lost, and `flush` says so.
    Buffered,
}

/// What a commit call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The commit; if nothing was written, the last one before.
    pub commit: CommitNumber,
    /// Its time.
    pub time: Timestamp,
    /// The number of atoms that it wrote.
    pub atoms: u32,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) number: CommitNumber,
    pub(super) time: Timestamp,
    pub(super) overlay: Overlay,
    pub(super) catalogue: Arc<SchemaCore>,
    pub(super) counters: HashMap<SchemaId, SchemaCounters>,
}

/// The commit pipeline of one space.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(super) store: Arc<dyn Store>,
    pub(crate) rows: Rows,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Mutex<Writer>,
    pub(super) queue: Mutex<Queue>,
    /// Wakes the flusher thread.
    pub(super) work: Condvar,
    pub(super) published: ArcSwap<Published>,
    pub(super) durable_counters: Mutex<HashMap<SchemaId, SchemaCounters>>,
    /// No later commit may have a time at or before this one.
    pub(super) time_floor: AtomicI64,
    pub(super) meter: LockMeter,
    pub(super) halted: OnceLock<Halt>,
    pub(super) catalogue_changes: CatalogueChanges,
    pub(super) publication: Publication,
    pub(super) limits: PropagationLimits,
}

/// What a declarative request sees and writes while it runs under the writer lock.
pub(crate) struct Execution<'a> {
    pub(crate) catalogue: Arc<SchemaCore>,
    pub(crate) working: WorkingSet,
    pub(crate) source: PendingSource<'a>,
}

/// Rows as the newest pending commit leaves them.
pub(crate) struct PendingSource<'a> {
    overlay: &'a Overlay,
    published: &'a Published,
    prefetched: Option<&'a HashMap<BatchKey, Option<Bytes>>>,
}

impl RowSource for PendingSource<'_> {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        let row = (keyspace, key.clone());
        match self.overlay.get(&row) {
            Some(row) => Ok(row.cloned()),
            None => match self.prefetched.and_then(|rows| rows.get(&row)) {
                Some(row) => Ok(row.clone()),
                None => self.published.get(keyspace, key),
            },
        }
    }

    fn keys(&mut self, scan: &Scan) -> Result<Vec<Bytes>, DataLayerError> {
        let pending: Vec<_> = self.overlay.keys(scan).collect();
        let removed = pending.iter().filter(|(_, is_there)| !is_there).count();
        let stored = scan.clone().rows(scan.rows_max.saturating_add(removed));
        let stored = self.published.keys(&stored)?;
        if pending.is_empty() {
            return Ok(stored);
        }
        let mut keys: BTreeSet<Bytes> = stored.into_iter().collect();
        for (key, is_there) in pending {
            match is_there {
                true => keys.insert(key.clone()),
                false => keys.remove(key),
            };
        }
        Ok(match scan.order {
            Order::Forward => keys.into_iter().take(scan.rows_max).collect(),
            Order::Reverse => keys.into_iter().rev().take(scan.rows_max).collect(),
        })
    }
}

/// The durable state before a commit, and what was read of it before the lock was taken.
#[derive(Clone, Copy)]
struct Before<'a> {
    published: &'a Published,
    prefetched: Option<&'a HashMap<BatchKey, Option<Bytes>>>,
}

/// A commit that has its place in the order.
#[derive(Debug)]
struct Staged {
    receipt: Receipt,
    ticket: Arc<Ticket>,
}

impl Pipeline {
    pub(crate) fn open(
        store: Arc<dyn Store>,
        rows: Rows,
        clock: Arc<dyn Clock>,
        cache_bytes: usize,
        limits: PropagationLimits,
    ) -> Result<Self, DataLayerError> {
        let mut published = read_published(store.as_ref(), rows, cache_bytes)?;
        let counters = read_counters(&published, rows)?;
        published.queued = published.queued_after(&counters);
        let writer = Writer {
            number: published.number,
            time: published.time,
            overlay: Overlay::default(),
            catalogue: Arc::clone(&published.catalogue),
            counters: counters.clone(),
        };
        Ok(Self {
            store,
            rows,
            clock,
            writer: Mutex::new(writer),
            queue: Mutex::default(),
            work: Condvar::new(),
            time_floor: AtomicI64::new(published.time.as_micros()),
            published: ArcSwap::from_pointee(published),
            durable_counters: Mutex::new(counters),
            meter: LockMeter::default(),
            halted: OnceLock::new(),
            catalogue_changes: CatalogueChanges::default(),
            publication: Publication::default(),
            limits,
        })
    }

    /// How much of what depends on a commit is computed in it.
    pub(crate) fn limits(&self) -> PropagationLimits {
        self.limits
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The newest durable state. Takes no lock.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// The time on the pool's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn counters(&self) -> HashMap<SchemaId, SchemaCounters> {
        self.durable_counters.lock().clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    pub(crate) fn lock_stats(&self) -> LockStats {
        self.meter.stats()
    }

    /// Runs a request on the newest pending state and commits what it wrote.
    ///
    /// `request` runs again if a pending commit that its refusal depended on fails.
    pub(crate) fn execute<T, E: From<DataLayerError>>(
        &self,
        writer: WriterId,
        durability: Durability,
        prefetch: Option<&Prefetch>,
        request: impl FnMut(&mut Execution<'_>) -> Result<T, E>,
    ) -> Result<(T, Receipt), E> {
        let (value, staged) = self.stage_request(writer, durability, prefetch, request)?;
        let receipt = self.settle(staged, durability).map_err(DataLayerError::from)?;
        Ok((value, receipt))
    }

    /// As [`Pipeline::execute`] with [`Durability::Buffered`], but the caller hears of a loss by
    /// waiting for the ticket. `None` if nothing was written.
    pub(crate) fn execute_buffered<E: From<DataLayerError>>(
        &self,
        writer: WriterId,
        prefetch: &Prefetch,
        request: impl FnMut(&mut Execution<'_>) -> Result<(), E>,
    ) -> Result<Option<Arc<Ticket>>, E> {
        let durability = Durability::Buffered;
        let ((), staged) = self.stage_request(writer, durability, Some(prefetch), request)?;
        Ok(staged.map(|staged| staged.ticket))
    }

    fn stage_request<T, E: From<DataLayerError>>(
        &self,
        writer: WriterId,
        durability: Durability,
        prefetch: Option<&Prefetch>,
        mut request: impl FnMut(&mut Execution<'_>) -> Result<T, E>,
    ) -> Result<(T, Option<Staged>), E> {
        loop {
            self.make_room().map_err(DataLayerError::from)?;
            let mut guard = self.meter.lock(&self.writer);
            let published = self.published();
            guard.overlay.prune(published.number);
            // What was read before the lock was taken is of use while nothing was published.
            let prefetched = prefetch
                .filter(|prefetch| Arc::ptr_eq(&prefetch.published, &published))
                .map(|prefetch| &prefetch.rows);
            let source =
                PendingSource { overlay: &guard.overlay, published: &published, prefetched };
            let mut execution = Execution {
                catalogue: Arc::clone(&guard.catalogue),
                working: WorkingSet::new(self.rows),
                source,
            };
            let answer = request(&mut execution);
            let working = execution.working;
            if is_planted(Fault::LockLetGo) {
                MutexGuard::unlocked(&mut guard, || ());
            }
            let refusal = match answer {
                Ok(value) => {
                    let before = Before { published: &published, prefetched };
                    let staged = self.stage(&mut guard, before, working, writer, durability);
                    match staged {
                        Err(error) if error.is_of_pending() => DataLayerError::from(error).into(),
                        staged => return Ok((value, staged.map_err(DataLayerError::from)?)),
                    }
                }
                Err(refusal) => refusal,
            };
            let pending = self
                .pending_ticket(&guard, &published)
                .filter(|_| !is_planted(Fault::RefusalBeforeDurable));
            drop(guard);
            // Answered only once what it depends on is durable.
            match (pending.map(|ticket| self.wait(&ticket)), self.halted.get()) {
                (Some(Err(_)), None) => {}
                (Some(Err(_)), Some(halt)) => {
                    return Err(DataLayerError::from(halt.cause.clone()).into());
                }
                (Some(Ok(())) | None, _) => return Err(refusal),
            }
        }
    }

    /// Commits what a transaction wrote, if nothing that it read has changed since `base`.
    pub(crate) fn commit_checked<'a>(
        &self,
        base: CommitNumber,
        reads: impl Iterator<Item = &'a ReadRange> + Clone,
        working: WorkingSet,
        writer: WriterId,
        durability: Durability,
    ) -> Result<Receipt, CommitError> {
        self.make_room()?;
        let mut guard = self.meter.lock(&self.writer);
        let published = self.published();
        guard.overlay.prune(published.number);
        if let Some(with) = guard.overlay.conflict(base, guard.number, reads) {
            let pending = self.pending_ticket(&guard, &published);
            drop(guard);
            // The one that runs again shall see what it conflicted with.
            if let Some(ticket) = pending {
                let _ = self.wait(&ticket);
            }
            return Err(CommitError::Conflict { with });
        }
        if is_planted(Fault::LockLetGo) {
            MutexGuard::unlocked(&mut guard, || ());
        }
        let before = Before { published: &published, prefetched: None };
        let staged = self.stage(&mut guard, before, working, writer, durability);
        let refusal = match staged {
            Err(refusal) if refusal.is_of_pending() => refusal,
            staged => {
                drop(guard);
                return self.settle(staged?, durability);
            }
        };
        let (pending, with) = (self.pending_ticket(&guard, &published), guard.number);
        drop(guard);
        // Answered only once what it depends on is durable.
        Err(match pending.map(|ticket| self.wait(&ticket)) {
            Some(Err(_)) => CommitError::Conflict { with },
            Some(Ok(())) | None => refusal,
        })
    }

    /// The newest pending commit, if there is one that is not durable.
    fn pending_ticket(&self, writer: &Writer, published: &Published) -> Option<Arc<Ticket>> {
        if writer.number <= published.number {
            return None;
        }
        self.queue.lock().newest.clone()
    }

    fn settle(
        &self,
        staged: Option<Staged>,
        durability: Durability,
    ) -> Result<Receipt, CommitError> {
        match staged {
            Some(staged) => {
                if durability == Durability::Durable {
                    self.wait(&staged.ticket)?;
                }
                Ok(staged.receipt)
            }
            // Nothing was written: the answer is as of the last commit, once that is durable.
            None => {
                self.wait_for_newest()?;
                let published = self.published();
                Ok(Receipt { commit: published.number, time: published.time, atoms: 0 })
            }
        }
    }

    /// Gives the writes their place in the order. `None` if there is nothing to commit.
    fn stage(
        &self,
        writer: &mut Writer,
        before: Before<'_>,
        working: WorkingSet,
        by: WriterId,
        durability: Durability,
    ) -> Result<Option<Staged>, CommitError> {
        if working.is_empty() {
            return Ok(None);
        }
        let number = writer.number.next();
        let Before { published, prefetched } = before;
        let mut newest = PendingSource { overlay: &writer.overlay, published, prefetched };
        let stamp = CommitStamp { number, writer: by };
        let (catalogue, counters) = (&writer.catalogue, &writer.counters);
        let mut rows =
            working.materialize(stamp, (catalogue, counters), &mut newest, self.limits)?;
        if rows.writes.is_empty() {
            return Ok(None);
        }
        let catalogue = rows.catalogue.take();
        let time = self.next_time(writer.time);
        let atoms = rows.changes.iter().map(Change::atoms).sum();
        let commit = Commit { number, time, writer: by, atoms };
        for (key, row) in encode_commit(self.rows, &commit, &rows.changes) {
            rows.writes.push((key, Some(row)));
        }
        let counters = self.count(writer, &mut rows);
        let bytes = check_limits(&rows.writes)?;
        let ticket = Ticket::new();
        let queued = Queued {
            number,
            time,
            bytes,
            catalogue: catalogue.clone(),
            counters,
            buffered: durability == Durability::Buffered,
            ticket: Arc::clone(&ticket),
            writes: rows.writes,
        };
        self.enqueue(writer, queued)?;
        if let Some(catalogue) = catalogue {
            writer.catalogue = catalogue;
        }
        Ok(Some(Staged { receipt: Receipt { commit: number, time, atoms }, ticket }))
    }

    fn next_time(&self, previous: Timestamp) -> Timestamp {
        let floor = self.time_floor.load(Ordering::SeqCst).max(previous.as_micros());
        Timestamp::from_micros(self.clock.now().as_micros().max(floor.saturating_add(1)))
    }

    /// Adds the counter rows of the schemas that the commit touches.
    fn count(&self, writer: &Writer, rows: &mut Materialized) -> Vec<(SchemaId, SchemaCounters)> {
        let deltas: BTreeMap<SchemaId, CounterDelta> = std::mem::take(&mut rows.counters);
        let mut counted = Vec::with_capacity(deltas.len());
        for (schema, delta) in deltas {
            let mut counters = writer.counters.get(&schema).copied().unwrap_or_default();
            counters.records = counters.records.saturating_add_signed(delta.records);
            counters.elements = counters.elements.saturating_add_signed(delta.elements);
            counters.atoms += delta.atoms;
            rows.writes.push((self.rows.counters(schema), Some(counters.encode().into())));
            counted.push((schema, counters));
        }
        counted
    }

    /// Makes a commit part of the order. Called under the writer lock, so in order.
    fn enqueue(&self, writer: &mut Writer, queued: Queued) -> Result<(), CommitError> {
        let (number, time) = (queued.number, queued.time);
        let (writes, counters) = (queued.writes.clone(), queued.counters.clone());
        let mut queue = self.meter.lock(&self.queue);
        if queue.closed {
            return Err(CommitError::Closed);
        }
        queue.bytes += queued.bytes;
        queue.newest = Some(Arc::clone(&queued.ticket));
        if queued.buffered {
            self.work.notify_one();
        }
        queue.pending.push(queued);
        drop(queue);
        // The group may be durable before this; the next commit then prunes it at once.
        writer.number = number;
        writer.time = time;
        writer.overlay.push(number, &writes);
        writer.counters.extend(counters);
        Ok(())
    }

    /// Waits while the queue is full, and helps to empty it.
    fn make_room(&self) -> Result<(), CommitError> {
        loop {
            if let Some(halt) = self.halted.get() {
                return Err(halt.refusal.clone());
            }
            let newest = {
                let queue = self.meter.lock(&self.queue);
                if queue.closed {
                    return Err(CommitError::Closed);
                }
                if queue.bytes < QUEUE_BYTES_MAX {
                    return Ok(());
                }
                queue.newest.clone()
            };
            if let Some(ticket) = newest {
                // Whatever became of those commits, there is room now.
                let _ = self.wait(&ticket);
            }
        }
    }

    /// Waits until every commit with a time at or before `time` is durable, and makes sure that
    /// no later one will get such a time.
    ///
    /// Answers `false` if `time` lies in the future.
    pub(crate) fn settle_time(&self, time: Timestamp) -> Result<bool, CommitError> {
        // Every later commit has a later time than the last one that is durable.
        if time <= self.published().time {
            return Ok(true);
        }
        // The clock may have jumped back since an answer was given; it is given again.
        let floor = Timestamp::from_micros(self.time_floor.load(Ordering::SeqCst));
        if time > self.clock.now() && time > floor {
            return Ok(false);
        }
        {
            // Under the writer lock, so that no commit is between its time and its place.
            let _writer =
                (!is_planted(Fault::TimeWithoutLock)).then(|| self.meter.lock(&self.writer));
            self.time_floor.fetch_max(time.as_micros(), Ordering::SeqCst);
        }
        if self.published().time < time {
            // If they fail, none with such a time is left.
            let _ = self.wait_for_newest();
            // But if they may be there after the next opening, there is no answer that stays.
            if let Some(halt) = self.halted.get() {
                return Err(halt.cause.clone());
            }
        }
        Ok(true)
    }
}

fn check_limits(writes: &[(BatchKey, Option<Bytes>)]) -> Result<usize, CommitError> {
    if writes.len() > TRANSACTION_ROWS_MAX {
        let (limit, found) = (TRANSACTION_ROWS_MAX, writes.len());
        return Err(CommitError::TooLarge { unit: "rows", limit, found });
    }
    let size =
        |(key, row): &(BatchKey, Option<Bytes>)| key.1.len() + row.as_ref().map_or(0, Bytes::len);
    let bytes = writes.iter().map(size).sum();
    if bytes > TRANSACTION_BYTES_MAX {
        let limit = TRANSACTION_BYTES_MAX;
        return Err(CommitError::TooLarge { unit: "bytes", limit, found: bytes });
    }
    Ok(bytes)
}

/// What the head row says of the last commit: its time.
pub(super) fn encode_head(time: Timestamp) -> Bytes {
    let mut out = Vec::with_capacity(12);
    ok(Encoder::new(&mut out).array(1).and_then(|e| e.i64(time.as_micros())));
    out.into()
}

pub(super) fn decode_head(payload: &[u8]) -> Result<Timestamp, RowError> {
    let mut decoder = Decoder::new(payload);
    if decoder.array()? != Some(1) {
        return Err(RowError::Malformed("the head of a space has one part"));
    }
    Ok(Timestamp::from_micros(decoder.i64()?))
}

fn read_published(
    store: &dyn Store,
    rows: Rows,
    cache_bytes: usize,
) -> Result<Published, DataLayerError> {
    let snapshot = store.snapshot()?;
    let head = snapshot.head(rows.space)?;
    let (number, time) = match head {
        None => (CommitNumber::ZERO, Timestamp::from_micros(0)),
        Some(head) => {
            let time = decode_head(&head.payload)
                .map_err(|error| DataLayerError::row(Keyspace::Head, &rows.all(), error))?;
            (CommitNumber(head.number), time)
        }
    };
    let catalogue = Arc::new(SchemaCore::load(snapshot.as_ref(), rows)?);
    let cache = Arc::new(RecordCache::new(cache_bytes));
    Ok(Published { number, time, snapshot, catalogue, queued: Arc::default(), cache })
}

pub(super) fn read_counters(
    published: &Published,
    rows: Rows,
) -> Result<HashMap<SchemaId, SchemaCounters>, DataLayerError> {
    let mut counters = HashMap::new();
    let prefix = rows.all();
    let mut scan = Scan::prefix(Keyspace::Head, &prefix).after(&prefix);
    loop {
        let page = published.snapshot.scan(&scan)?;
        for (key, row) in page.rows() {
            let (schema, _) = rows
                .read_record(key)
                .map_err(|error| DataLayerError::key(Keyspace::Head, key, error))?;
            let counted = SchemaCounters::decode(row)
                .map_err(|error| DataLayerError::row(Keyspace::Head, key, error))?;
            counters.insert(schema, counted);
        }
        match page.last_key() {
            Some(last) if page.more() => scan = scan.after(last),
            _ => return Ok(counters),
        }
    }
}
