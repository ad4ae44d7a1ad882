//! The durable half of the commit pipeline: groups of commits on their way into the store.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use datafold_store::{Batch, Keyspace, Outcome, StoreError};

use super::error::CommitError;
use super::failure::{Failure, Halt, engine_panicked};
use super::ids::CommitNumber;
use super::pipeline::{Pipeline, encode_head};
use super::published::Published;
use super::queue::{Queue, Queued, take_group};
use super::record_cache::RecordCache;
use super::ticket::Ticket;
use crate::entropy;
use crate::planted::{Fault, is_planted};
use crate::sync::{self, MutexGuard};

impl Pipeline {
    /// Waits until every commit made so far is durable.
    ///
    /// Reports a buffered commit that was lost since the last call.
    pub(crate) fn flush(&self) -> Result<(), CommitError> {
        let outcome = self.wait_for_newest();
        let lost = self.meter.lock(&self.queue).lost.take();
        lost.map_or(outcome, Err)
    }

    pub(super) fn wait_for_newest(&self) -> Result<(), CommitError> {
        let newest = self.meter.lock(&self.queue).newest.clone();
        newest.map_or(Ok(()), |ticket| self.wait(&ticket))
    }

    /// Waits until the outcome of a commit is known; flushes if nobody else does.
    pub(crate) fn wait(&self, ticket: &Ticket) -> Result<(), CommitError> {
        loop {
            if let Some(outcome) = ticket.register() {
                return outcome;
            }
            let mut queue = self.meter.lock(&self.queue);
            let is_idle = !queue.flushing && !queue.pending.is_empty();
            if is_idle && (queue.pending.len() == 1 || queue.closed) {
                queue.flushing = true;
                let group = take_group(&mut queue);
                drop(queue);
                self.flush_group(group);
            } else {
                if is_idle {
                    self.work.notify_one();
                }
                drop(queue);
                sync::park();
            }
        }
    }

    /// The body of the library's flusher thread.
    ///
    /// A committer that is alone flushes for itself, which saves two switches of threads. As soon
    /// as others queue up behind it, this thread goes on without a pause until the queue is
    /// empty. It also flushes what nobody waits for.
    pub(crate) fn run_flusher(&self) {
        let mut queue = self.queue.lock();
        loop {
            let is_alone = !queue.flushing || is_planted(Fault::TwoFlushers);
            if is_alone && !queue.pending.is_empty() {
                queue.flushing = true;
                let group = take_group(&mut queue);
                MutexGuard::unlocked(&mut queue, || self.flush_group(group));
            } else if queue.closed {
                return;
            } else {
                self.work.wait(&mut queue);
            }
        }
    }

    /// Flushes what is queued and refuses everything after it.
    pub(crate) fn close(&self) -> Result<(), CommitError> {
        let mut queue = self.meter.lock(&self.queue);
        queue.closed = true;
        self.work.notify_all();
        drop(queue);
        self.catalogue_changes.tell();
        let flushed = self.flush();
        // A snapshot that is held would keep the file open and locked.
        self.published.store(Arc::new(self.published().closed()));
        self.publication.tell();
        flushed
    }

    fn flush_group(&self, group: Vec<Queued>) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.apply(&group)));
        match outcome.unwrap_or_else(|_| Err(Failure::Indeterminate(Arc::new(engine_panicked())))) {
            Ok(()) => {
                answer(&group);
                let mut queue = self.meter.lock(&self.queue);
                queue.flushing = false;
                if !is_planted(Fault::NoHandOver) {
                    self.hand_over(&queue);
                }
            }
            Err(failure) => self.fail(group, &failure),
        }
    }

    /// Lets another thread go on with what has queued up meanwhile.
    fn hand_over(&self, queue: &Queue) {
        if queue.pending.is_empty() {
            return;
        }
        self.work.notify_one();
        if queue.closed && !is_planted(Fault::NoHandOverAtClose) {
            // The flusher thread may have ended. Who does not wait yet will find that nobody
            // flushes.
            let _ = queue.pending.iter().any(|queued| queued.ticket.wake_one());
        }
    }

    /// Hands a group to the store as one batch and publishes the state after it.
    fn apply(&self, group: &[Queued]) -> Result<(), Failure> {
        let Some(last) = group.last() else { return Ok(()) };
        // A commit that was staged just before the pipeline halted; not every engine refuses it.
        if self.halted.get().is_some() && !is_planted(Fault::WrittenAfterHalt) {
            return Err(Failure::failed(StoreError::Poisoned));
        }
        let before = self.published();
        let token = entropy::token().map_err(Failure::failed)?;
        let mut batch = Batch::new(self.rows.space, before.number.0, last.number.0, token);
        batch.head = encode_head(last.time);
        let mut counters = HashMap::new();
        let mut catalogue = None;
        for queued in group {
            for (key, row) in &queued.writes {
                batch.write(key.clone(), row.clone());
            }
            counters.extend(queued.counters.iter().copied());
            catalogue = queued.catalogue.as_ref().or(catalogue);
        }
        if is_planted(Fault::AnswerBeforeDurable) {
            answer(group);
        }
        if is_planted(Fault::ShownBeforeDurable) {
            let (number, time) = (last.number, last.time);
            self.published.store(Arc::new(Published { number, time, ..Published::clone(&before) }));
        }
        match self.store.apply(&batch) {
            Outcome::Accepted => {}
            Outcome::Fenced { head } => {
                let head = head.map_or(CommitNumber::ZERO, |head| CommitNumber(head.number));
                return Err(Failure::Fenced(head));
            }
            Outcome::Failed(error) => return Err(Failure::failed(error)),
            Outcome::Indeterminate(error) => return Err(Failure::Indeterminate(Arc::new(error))),
        }
        if is_planted(Fault::AnswerBeforeShown) {
            answer(group);
        }
        // The batch is durable. Without a new snapshot nobody could see it, which is as good as
        // not knowing: the store has to be opened again.
        let snapshot = self.store.snapshot().map_err(|e| Failure::Indeterminate(Arc::new(e)))?;
        let has_catalogue_changed = catalogue.is_some();
        let catalogue = catalogue.unwrap_or(&before.catalogue);
        // Before the state is published: the cache would answer its readers with rows before it.
        if !is_planted(Fault::CacheKept) && !is_planted(Fault::CacheAfterShown) {
            forget_records(&before.cache, group, last.number);
        }
        let queued = before.queued_after(&counters);
        let has_queue_changed = queued != before.queued;
        self.durable_counters.lock().extend(counters);
        self.published.store(Arc::new(Published {
            number: last.number,
            time: last.time,
            snapshot,
            catalogue: Arc::clone(catalogue),
            queued,
            cache: Arc::clone(&before.cache),
        }));
        self.publication.tell();
        if is_planted(Fault::CacheAfterShown) {
            forget_records(&before.cache, group, last.number);
        }
        if has_catalogue_changed || has_queue_changed {
            self.catalogue_changes.tell();
        }
        Ok(())
    }

    /// Fails a group and everything executed on top of it, and goes back to the durable state.
    fn fail(&self, group: Vec<Queued>, failure: &Failure) {
        let mut writer = self.meter.lock(&self.writer);
        let mut queue = self.meter.lock(&self.queue);
        let published = self.published();
        writer.number = published.number;
        writer.time = published.time;
        writer.catalogue = Arc::clone(&published.catalogue);
        writer.counters = self.durable_counters.lock().clone();
        if !is_planted(Fault::FailedRowsStay) {
            writer.overlay.reset(published.number);
        }
        let cascaded = std::mem::take(&mut queue.pending);
        if let Some(lost) = group.iter().chain(&cascaded).find(|queued| queued.buffered) {
            queue.lost = Some(failure.of_group(lost.number));
        }
        queue.bytes = 0;
        queue.newest = None;
        queue.flushing = false;
        if let Some(refusal) = failure.refusal_since() {
            let cause = failure.of_group(published.number.next());
            self.halted.get_or_init(|| Halt { cause, refusal });
        }
        drop(queue);
        drop(writer);
        for queued in group {
            queued.ticket.resolve(Err(failure.of_group(queued.number)));
        }
        for queued in cascaded.into_iter().filter(|_| !is_planted(Fault::CascadeUnanswered)) {
            queued.ticket.resolve(Err(failure.of_cascade()));
        }
    }
}

/// Tells those who wait that their commits are durable.
fn answer(group: &[Queued]) {
    for queued in group {
        queued.ticket.resolve(Ok(()));
    }
}

/// Takes the records that a group changes out of the cache.
fn forget_records(cache: &RecordCache, group: &[Queued], number: CommitNumber) {
    let written = group.iter().flat_map(|queued| &queued.writes);
    for ((_, key), _) in written.filter(|((keyspace, _), _)| *keyspace == Keyspace::Records) {
        cache.remove(key, number);
    }
}
