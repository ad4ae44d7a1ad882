//! Computes the fields that depend on what a commit writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::catalogue::SchemaCore;
use super::commit::{Change, FailureChange};
use super::counters::SchemaCounters;
use super::draft::{After, Draft};
use super::error::{CommitError, DataLayerError};
use super::failure::unreadable;
use super::ids::{CommitNumber, SchemaId};
use super::materialize::Materialized;
use super::propagation::{Cause, Propagation};
use super::rows::Rows;
use super::transform::{Evaluation, Transform, TransformFailure};
use super::working_set::{Again, RowSource};
use crate::model::{OnError, RecordKey};
use crate::planted::{Fault, is_planted};

/// The records of a transaction, by schema and key.
type Records = BTreeMap<(SchemaId, Bytes), Draft>;

/// What propagation reads and writes besides the records.
pub(super) struct Propagate<'a> {
    pub(super) rows: Rows,
    /// The commit that the writes become.
    pub(super) number: CommitNumber,
    pub(super) newest: &'a mut dyn RowSource,
    /// The counters before the commit.
    pub(super) counters: &'a HashMap<SchemaId, SchemaCounters>,
    pub(super) out: &'a mut Materialized,
}

impl Propagate<'_> {
    /// Computes what depends on the writes, and in the records of `filling` what was never
    /// computed.
    pub(super) fn records(
        &mut self,
        catalogue: &SchemaCore,
        records: &mut Records,
        filling: &BTreeSet<(SchemaId, Bytes)>,
        again: &Again,
    ) -> Result<(), CommitError> {
        if !catalogue.computes() {
            return Ok(());
        }
        let mut of_schema: Option<(SchemaId, Option<Arc<Propagation>>)> = None;
        for (name, draft) in records {
            let (schema, record) = name;
            let found = match &of_schema {
                Some((known, found)) if known == schema => found,
                _ => &of_schema.insert((*schema, catalogue.propagation(*schema).cloned())).1,
            };
            let Some(propagation) = found.clone() else { continue };
            let is_filling = filling.contains(name);
            let again = again.get(name);
            // What reads a result that was never computed would compute something else.
            let fills = is_filling || (propagation.is_filling() && draft.is_written());
            let cause = match again {
                Some(transforms) => Cause::Again(transforms),
                None if fills => Cause::Filling,
                None => Cause::Written,
            };
            let is_refusable = !is_filling && again.is_none();
            if matches!(draft.after, After::Deleted) {
                for transform in propagation.transforms() {
                    let gone = self.ended(transform, record, FailureChange::Gone);
                    gone.map_err(unreadable)?;
                }
                continue;
            }
            propagation.run(record, draft, cause, |transform, outcome| match outcome {
                Ok(()) => {
                    let recovered = self.ended(transform, record, FailureChange::Recovered);
                    recovered.map_err(unreadable)
                }
                Err(found) if rejects(transform) && is_refusable => {
                    Err(rejection(transform, record, &found))
                }
                Err(found) => self.failed(transform, record, found).map_err(unreadable),
            })?;
        }
        Ok(())
    }

    /// Removes what is told of a failure, if there was one.
    fn ended(
        &mut self,
        transform: &Transform,
        record: &Bytes,
        how: FailureChange,
    ) -> Result<(), DataLayerError> {
        if self.failure(transform, record)?.is_some() {
            let key = self.rows.failure(transform.id, record);
            self.out.writes.push(((Keyspace::Indexes, key), None));
            self.count(transform, -1);
            self.tell(transform, record, how);
        }
        Ok(())
    }

    /// Says so in the log of the commit.
    fn tell(&mut self, transform: &Transform, record: &Bytes, what: FailureChange) {
        if is_planted(Fault::FailureUntold) {
            return;
        }
        let (transform, record) = (transform.id, record.clone());
        self.out.failures.push(Change::Failure { transform, record, what });
    }

    /// The cell stays as it is; the owner is told why.
    fn failed(
        &mut self,
        transform: &Transform,
        record: &Bytes,
        found: Evaluation,
    ) -> Result<(), DataLayerError> {
        let (found, before) = (found.cut(), self.failure(transform, record)?);
        let count = before.as_ref().map_or(0, |before| before.count).saturating_add(1);
        let failure = TransformFailure::new(self.number, count, found.clone());
        let key = self.rows.failure(transform.id, record);
        self.out.writes.push(((Keyspace::Indexes, key), Some(failure.encode())));
        if before.is_none() {
            self.count(transform, 1);
        }
        let again = before.is_some();
        self.tell(transform, record, FailureChange::Failed { again, error: found });
        Ok(())
    }

    /// What is told of the last failure. Where no record fails, nothing is read.
    fn failure(
        &mut self,
        transform: &Transform,
        record: &Bytes,
    ) -> Result<Option<TransformFailure>, DataLayerError> {
        let counter = transform.id.counter();
        if self.counters.get(&counter).is_none_or(|counted| counted.records == 0) {
            return Ok(None);
        }
        let key = self.rows.failure(transform.id, record);
        let Some(row) = self.newest.read(Keyspace::Indexes, &key)? else { return Ok(None) };
        let failure = TransformFailure::decode(&row);
        failure.map(Some).map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))
    }

    fn count(&mut self, transform: &Transform, change: i64) {
        self.out.counters.entry(transform.id.counter()).or_default().records += change;
    }
}

fn rejects(transform: &Transform) -> bool {
    transform.definition().is_some_and(|definition| definition.on_error == OnError::Reject)
}

fn rejection(transform: &Transform, record: &Bytes, found: &Evaluation) -> CommitError {
    CommitError::NotComputed {
        schema: transform.schema.clone(),
        field: transform.field.clone(),
        record: RecordKey::from_bytes(record.clone()).to_string(),
        code: found.code.clone(),
        rule: found.to_string(),
    }
}
