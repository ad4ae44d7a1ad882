//! The single path from everything above to the store.

use std::sync::Arc;

use datafold_store::StoreInfo;

use super::catalogue::SchemaCore;
use super::error::{CommitError, DataLayerError};
use super::ids::{CommitNumber, WriterId};
use super::moment::Moment;
use super::pipeline::{Durability, Pipeline, Receipt};
use super::read_point::ReadPoint;
use super::rows::Rows;
use super::transaction::Transaction;
use crate::model::Timestamp;

/// A closure runs at most this often before its conflict is reported.
const ATTEMPTS_MAX: usize = 1_000;

/// The operations of one space on its store. Nothing else reads or writes it.
#[derive(Debug)]
pub struct DbOperations {
    pipeline: Pipeline,
    info: StoreInfo,
}

impl DbOperations {
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        let info = pipeline.store().info().clone();
        Self { pipeline, info }
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn rows(&self) -> Rows {
        self.pipeline.rows
    }

    pub(crate) fn origin(&self) -> u32 {
        self.info.id.origin()
    }

    /// The newest durable state.
    pub(crate) fn now(&self) -> ReadPoint {
        let published = self.pipeline.published();
        ReadPoint { at: published.number, published, rows: self.rows() }
    }

    /// The state after an earlier commit.
    pub(crate) fn at(&self, moment: Moment) -> Result<ReadPoint, DataLayerError> {
        match moment {
            Moment::Now => Ok(self.now()),
            Moment::Commit(number) => {
                let now = self.now();
                if number > now.at {
                    let (time, head) = (format!("commit {number}"), now.at);
                    return Err(DataLayerError::FutureMoment { time, head });
                }
                Ok(ReadPoint { at: number, ..now })
            }
            Moment::Time(time) => {
                if !self.pipeline.settle_time(time)? {
                    return Err(DataLayerError::future(time, self.head().0));
                }
                let now = self.now();
                Ok(ReadPoint { at: now.commit_at(time)?, ..now })
            }
        }
    }

    /// What the store is.
    #[must_use]
    pub fn store_info(&self) -> &StoreInfo {
        &self.info
    }

    /// The newest durable commit and its time; commit 0 for a space without commits.
    #[must_use]
    pub fn head(&self) -> (CommitNumber, Timestamp) {
        let published = self.pipeline.published();
        (published.number, published.time)
    }

    /// The catalogue as of the newest durable commit. Takes no lock.
    #[must_use]
    pub fn catalogue(&self) -> Arc<SchemaCore> {
        Arc::clone(&self.pipeline.published().catalogue)
    }

    /// Begins a transaction of the owner.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Transaction {
        Transaction::begin(Arc::clone(self), WriterId::OWNER)
    }

    /// Runs a closure in a transaction and commits it; runs it again if what it read has changed.
    ///
    /// The closure runs outside every lock, at least once and as often as other commits
    /// interfere. A repeated run keeps nothing of the run before. If it answers an error,
    /// nothing is written.
    ///
    /// # Errors
    ///
    /// The closure's own, and those of [`Transaction::commit`]; [`CommitError::Conflict`] only
    /// after 1,000 runs.
    ///
    /// # Durability
    ///
    /// As [`Transaction::commit`].
    pub fn transact<T, E: From<DataLayerError>>(
        self: &Arc<Self>,
        mut run: impl FnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<(T, Receipt), E> {
        let mut attempt = 1;
        loop {
            let mut transaction = self.begin();
            let value = run(&mut transaction)?;
            match transaction.commit_with(Durability::Durable) {
                Ok(receipt) => return Ok((value, receipt)),
                Err(CommitError::Conflict { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(DataLayerError::from(error).into()),
            }
        }
    }

    /// Waits until every commit made so far is durable.
    ///
    /// # Errors
    ///
    /// The [`CommitError`] of a buffered commit that was lost since the last call.
    pub fn flush(&self) -> Result<(), CommitError> {
        self.pipeline.flush()
    }
}
