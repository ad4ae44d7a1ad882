//! Computes computed values again and compares.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan};

use super::aggregate_groups::GatheredGroups;
use super::counters::SchemaCounters;
use super::derived_versions::Versions;
use super::draft::Draft;
use super::element_input::{Elements, elements_at};
use super::element_output::encode_found;
use super::element_scan::FirstAtom;
use super::error::DataLayerError;
use super::ids::{CommitNumber, FieldId, SchemaId};
use super::lineage::{AsOf, read_failure};
use super::pipeline::{Pipeline, read_counters};
use super::propagation::Propagation;
use super::read_point::ReadPoint;
use super::record::{Cell, LiveRecord, PastCell, RecordRow, Stamp};
use super::rows::FieldAddress;
use super::transform::{Evaluation, OtherRecords, Target, Transform, TransformState};
use crate::model::{FieldName, RecordKey, SchemaName, Value, decode_value};

/// What the computed values of a space were found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DerivedReport {
    /// Live records with computed fields.
    pub records: u64,
    /// Values that were computed again, current ones and past ones, null included.
    pub values: u64,
    /// Values whose transform fails for the record at present.
    pub failing: u64,
    /// Values that are not computed yet, as their transform is filling.
    pub filling: u64,
    /// Values that may be those of earlier inputs, as what is queued is not computed yet.
    pub stale: u64,
    /// Past values with aggregates that are not computed again, as more than 64 MiB of such values
    /// would have to be kept until their commits are reached.
    pub aggregated: u64,
    /// Values of revisions that are not registered any more, which cannot be computed again.
    pub unregistered: u64,
    /// Values that are other ones than what is computed.
    pub differences: u64,
}

/// A computed value that is not what its inputs give.
#[derive(Debug, Clone, PartialEq)]
pub struct DerivedDifference {
    /// The schema of the transform.
    pub schema: SchemaName,
    /// The record.
    pub key: RecordKey,
    /// The field.
    pub field: FieldName,
    /// The commit as of whose inputs it was computed; of a current value, the newest one.
    pub commit: CommitNumber,
    /// The value that is there.
    pub stored: Value,
    /// What its inputs give: a value, or an error in words.
    pub computed: Result<Value, String>,
}

/// Computes again, in the space as of `point`, which must be the newest state:
///
/// - of each live record what its inputs give now, but for what fails or is not computed yet; what
///   fails must fail again;
/// - each value that was computed, past ones included, as of its own commit.
///
/// Reads the rows of the schemas that have computed fields one after the other; memory for one.
pub(crate) fn check_derived(
    point: &ReadPoint,
    visit: &mut dyn FnMut(DerivedDifference) -> ControlFlow<()>,
) -> Result<DerivedReport, DataLayerError> {
    let counters = read_counters(&point.published, point.rows)?;
    let (report, groups, versions) = Default::default();
    let mut check = Check { point, counters, visit, report, groups, versions };
    let catalogue = Arc::clone(&point.published.catalogue);
    for (schema, propagation) in catalogue.propagations() {
        let is_over = check.scan(Keyspace::Records, schema, |check, record, row| {
            check.current(schema, propagation, record, row)
        })?;
        if is_over.is_break() {
            return Ok(check.report);
        }
        let parts = catalogue.by_id(schema).map_or(0, |entry| entry.schema.key.len());
        let is_over = check.scan(Keyspace::History, schema, |check, rest, row| {
            check.past(schema, parts, propagation, rest, row)
        })?;
        if is_over.is_break() || check.past_elements(schema, parts, propagation)?.is_break() {
            return Ok(check.report);
        }
    }
    let _ = check.versions()?;
    Ok(check.report)
}

pub(super) type Flow = Result<ControlFlow<()>, DataLayerError>;

pub(super) struct Check<'a> {
    pub(super) point: &'a ReadPoint,
    counters: HashMap<SchemaId, SchemaCounters>,
    visit: &'a mut dyn FnMut(DerivedDifference) -> ControlFlow<()>,
    report: DerivedReport,
    /// Those of aggregates, as they are now.
    groups: RefCell<GatheredGroups>,
    pub(super) versions: Versions,
}

/// A value to be computed again.
pub(super) struct Computed<'a> {
    pub(super) transform: &'a Transform,
    pub(super) record: &'a Bytes,
    pub(super) at: CommitNumber,
    pub(super) stored: Option<&'a Bytes>,
}

impl Check<'_> {
    /// Hands over what stands behind the schema in each key, and the row.
    fn scan(
        &mut self,
        keyspace: Keyspace,
        schema: SchemaId,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Flow,
    ) -> Flow {
        let prefix = self.point.rows.records(schema);
        let snapshot = Arc::clone(&self.point.published.snapshot);
        let mut outcome = Ok(ControlFlow::Continue(()));
        snapshot.for_each(&Scan::prefix(keyspace, &prefix), &mut |key, row| {
            outcome = visit(self, key.get(prefix.len()..).unwrap_or_default(), row);
            match outcome {
                Ok(flow) => flow,
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        outcome
    }

    /// Checks a current record.
    fn current(
        &mut self,
        schema: SchemaId,
        propagation: &Propagation,
        record: &[u8],
        row: &[u8],
    ) -> Flow {
        let record = Bytes::copy_from_slice(record);
        let row = RecordRow::decode(&Bytes::copy_from_slice(row))
            .map_err(|error| self.point.record_error(schema, &record, error))?;
        let RecordRow::Live(live) = row else { return Ok(ControlFlow::Continue(())) };
        self.report.records += 1;
        let draft = Draft::found(Some(live.clone()));
        for transform in propagation.transforms() {
            let elements = match transform.gives_elements() {
                true => self.elements_at(transform, &record, self.point.at)?,
                false => None,
            };
            let cell = elements.as_ref().or_else(|| live.cell(transform.output));
            let stored = cell.and_then(|cell| cell.value.as_ref());
            let at = self.point.at;
            let now = Computed { transform, record: &record, at, stored };
            let flow = if self.fails(transform, &record)? {
                self.report.failing += 1;
                self.failing_again(&now, &draft)?
            } else if transform.state == TransformState::Filling
                && cell.is_none_or(|cell| cell.stamp.writer.transform() != Some(transform.id))
            {
                self.report.filling += 1;
                ControlFlow::Continue(())
            } else if Pipeline::is_stale(&self.point.published, transform.id) {
                self.report.stale += 1;
                ControlFlow::Continue(())
            } else {
                self.compare(&now, &draft)?
            };
            if flow.is_break() {
                return Ok(flow);
            }
            // Versions of elements are gone through by themselves.
            let Some(cell) = cell.filter(|_| !transform.gives_elements()) else { continue };
            let is_older = is_older_than_inputs(transform, cell, &live);
            let reads_more = transform.others().next().is_some() || transform.reads_elements();
            if (is_older || reads_more)
                && self.as_of_commit(schema, transform, &record, cell)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Checks a row of the history.
    fn past(
        &mut self,
        schema: SchemaId,
        key_parts: usize,
        propagation: &Propagation,
        rest: &[u8],
        row: &[u8],
    ) -> Flow {
        let error = |error| DataLayerError::key(Keyspace::History, rest, error);
        let mut reader = KeyReader::new(rest);
        let record = Bytes::copy_from_slice(reader.skip_parts(key_parts).map_err(error)?);
        let field = FieldId(reader.id().map_err(error)?);
        let row = Bytes::copy_from_slice(row);
        let malformed = |error| DataLayerError::row(Keyspace::History, rest, error);
        if field == FieldId::RECORD {
            let ended = RecordRow::decode(&row).map_err(malformed)?;
            let Some(live) = ended.live() else { return Ok(ControlFlow::Continue(())) };
            for transform in propagation.transforms() {
                let Some(cell) = live.cell(transform.output) else { continue };
                if self.as_of_commit(schema, transform, &record, cell)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        }
        let transform = propagation.computing(field).filter(|found| !found.gives_elements());
        let Some(transform) = transform else { return Ok(ControlFlow::Continue(())) };
        let birth = CommitNumber(reader.descending().map_err(error)?);
        let cell = PastCell::decode(&row).map_err(malformed)?.into_cell(birth);
        self.as_of_commit(schema, transform, &record, &cell)
    }

    /// Checks what computed fields with elements had in each commit that has written some.
    fn past_elements(
        &mut self,
        schema: SchemaId,
        key_parts: usize,
        propagation: &Propagation,
    ) -> Flow {
        if !propagation.transforms().iter().any(|found| found.gives_elements()) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut last: Option<(Bytes, FieldId)> = None;
        self.scan(Keyspace::Elements, schema, |check, rest, _| {
            let error = |error| DataLayerError::key(Keyspace::Elements, rest, error);
            let mut reader = KeyReader::new(rest);
            let record = reader.skip_parts(key_parts).map_err(error)?;
            let field = FieldId(reader.id().map_err(error)?);
            if last.as_ref().is_some_and(|(known, of)| (&known[..], *of) == (record, field)) {
                return Ok(ControlFlow::Continue(()));
            }
            let (record, _) = last.insert((Bytes::copy_from_slice(record), field));
            let Some(transform) = propagation.computing(field) else {
                return Ok(ControlFlow::Continue(()));
            };
            let commits = check.point.element_commits(FieldAddress { schema, record, field })?;
            for (commit, FirstAtom { writer, .. }) in commits {
                let stamp = Stamp { commit, writer, base: 0 };
                let found = check.elements_at(transform, record, commit)?;
                let cell = Cell { stamp, value: found.and_then(|found| found.value) };
                if check.as_of_commit(schema, transform, record, &cell)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The elements that a transform has given a record, as if they were one value; `None` without.
    fn elements_at(
        &self,
        transform: &Transform,
        record: &Bytes,
        at: CommitNumber,
    ) -> Result<Option<Cell>, DataLayerError> {
        let (schema, field) = (transform.records, transform.output);
        let point = ReadPoint { at, ..self.point.clone() };
        let draft = Draft::found(point.live(schema, record)?);
        let elements = elements_at(&point, FieldAddress { schema, record, field }, &draft)?;
        let stamp = Stamp { commit: at, writer: transform.id.writer(), base: 0 };
        let value = encode_found(&elements);
        Ok(value.map(|value| Cell { stamp, value: Some(value) }))
    }

    /// Compares a version with what its inputs gave as of its own commit.
    fn as_of_commit(
        &mut self,
        schema: SchemaId,
        transform: &Transform,
        record: &Bytes,
        cell: &Cell,
    ) -> Flow {
        let catalogue = Arc::clone(&self.point.published.catalogue);
        let revision = cell.stamp.writer.transform().and_then(|id| catalogue.revision(id));
        let Some(transform) = revision
            .filter(|found| found.cell() == transform.cell())
            .filter(|found| found.logic.is_ok() || found.state != TransformState::Retired)
        else {
            self.report.unregistered += 1;
            return Ok(ControlFlow::Continue(()));
        };
        if !transform.aggregates().is_empty() {
            let is_kept = self.versions.keep(transform, record, cell);
            self.report.aggregated += u64::from(!is_kept);
            return Ok(ControlFlow::Continue(()));
        }
        let at = cell.stamp.commit;
        let point = ReadPoint { at, ..self.point.clone() };
        let draft = Draft::found(point.live(schema, record)?);
        let then = Computed { transform, record, at, stored: cell.value.as_ref() };
        self.compare(&then, &draft)
    }

    fn fails(&self, transform: &Transform, record: &Bytes) -> Result<bool, DataLayerError> {
        let counted = self.counters.get(&transform.id.counter());
        if counted.is_none_or(|counted| counted.records == 0) {
            return Ok(false);
        }
        Ok(read_failure(self.point, transform, record)?.is_some())
    }

    fn compare(&mut self, of: &Computed<'_>, inputs: &Draft) -> Flow {
        let computed = self.evaluate(of, inputs)?;
        self.compare_result(of, computed)
    }

    /// As [`Check::compare`], with other records that are read elsewhere.
    pub(super) fn compare_with(
        &mut self,
        of: &Computed<'_>,
        inputs: &Draft,
        others: &dyn OtherRecords,
    ) -> Flow {
        let computed = of.transform.evaluate(of.record, inputs, others)?.result;
        self.compare_result(of, computed)
    }

    fn compare_result(
        &mut self,
        of: &Computed<'_>,
        computed: Result<Option<Bytes>, Evaluation>,
    ) -> Flow {
        self.report.values += 1;
        match &computed {
            Ok(computed) if computed.as_ref() == of.stored => Ok(ControlFlow::Continue(())),
            _ => self.differs(of, computed),
        }
    }

    /// What is told to fail must fail.
    fn failing_again(&mut self, of: &Computed<'_>, inputs: &Draft) -> Flow {
        match self.evaluate(of, inputs)? {
            Err(_) => Ok(ControlFlow::Continue(())),
            Ok(computed) => self.differs(of, Ok(computed)),
        }
    }

    fn evaluate(
        &self,
        of: &Computed<'_>,
        inputs: &Draft,
    ) -> Result<Result<Option<Bytes>, Evaluation>, DataLayerError> {
        let others = Now { others: AsOf::new(self.point, of.at), groups: &self.groups };
        Ok(of.transform.evaluate(of.record, inputs, &others)?.result)
    }

    fn differs(&mut self, of: &Computed<'_>, computed: Result<Option<Bytes>, Evaluation>) -> Flow {
        self.report.differences += 1;
        let value = |raw: Option<&Bytes>| match raw {
            None => Ok(Value::Null),
            Some(raw) => decode_value(raw).map_err(|error| {
                self.point.record_error(of.transform.records, of.record, error.into())
            }),
        };
        let computed = match computed {
            Ok(raw) => Ok(value(raw.as_ref())?),
            Err(error) => Err(error.to_string()),
        };
        Ok((self.visit)(DerivedDifference {
            schema: of.transform.schema.clone(),
            key: RecordKey::from_bytes(of.record.clone()),
            field: of.transform.field.clone(),
            commit: of.at,
            stored: value(of.stored)?,
            computed,
        }))
    }
}

/// The records of others as of a commit, with the groups of now.
struct Now<'c> {
    others: AsOf,
    groups: &'c RefCell<GatheredGroups>,
}

impl OtherRecords for Now<'_> {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        self.others.value(target, record)
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        self.groups.borrow_mut().value(self.others.point(), transform, slot, record)
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        self.others.elements(at, draft)
    }
}

/// Whether something that a transform reads was written behind its result.
fn is_older_than_inputs(transform: &Transform, result: &Cell, live: &LiveRecord) -> bool {
    let mut inputs = transform.cells().filter_map(|field| live.cell(field));
    inputs.any(|input| input.stamp.commit > result.stamp.commit)
}
