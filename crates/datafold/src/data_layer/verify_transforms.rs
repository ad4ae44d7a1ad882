//! Checks the rows that transforms have besides the values that they compute.

use std::hash::{DefaultHasher, Hash, Hasher};

use datafold_store::Keyspace;
use datafold_store::encoding::KeyReader;

use super::aggregate_groups::{GroupState, decode_value_row, encode_value_row};
use super::asked::{RecordRef, Task, TaskProgress, decode_asked, encode_asked, read_asker};
use super::counters::SchemaCounters;
use super::error::{DataLayerError, hex};
use super::ids::TransformId;
use super::index_build::Progress;
use super::rows::{BEHIND_PARTS, Rows, TransformRow};
use super::serialization::RowError;
use super::transform::TransformFailure;
use super::verify::{Check, entry_hash};
use crate::model::AggregateKind;

/// What was found of a transform.
#[derive(Debug, Default)]
pub(super) struct FoundTransform {
    /// How many records it fails for.
    failures: u64,
    tasks: u64,
    /// What it has looked up, in any order, as sums of hashes: as its records say, and as those
    /// say that were looked up.
    asked: u64,
    askers: u64,
}

fn asked_hash((schema, asked): RecordRef<'_>, record: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, asked, record).hash(&mut hasher);
    hasher.finish()
}

impl Check<'_> {
    /// Checks a row of a transform; `rest` is what stands behind its number.
    pub(super) fn transform_row(&mut self, id: TransformId, key: &[u8], row: &[u8], rest: &[u8]) {
        let place = || format!("{}: row {}", Keyspace::Indexes, hex(key));
        let own_form = match rest.first() {
            Some(&BEHIND_PARTS) => self.other_row(id, row, rest),
            _ => {
                self.transforms.entry(id).or_default().failures += 1;
                let told = self.told_failures.entry(id).or_default();
                *told = told.wrapping_sub(entry_hash(rest, &[]));
                self.live(id, rest, &place);
                TransformFailure::decode(row).map(|failure| failure.encode().to_vec())
            }
        };
        if rest.first() == Some(&BEHIND_PARTS)
            && let Ok((TransformRow::Asked, record)) = Rows::read_of_transform(rest)
        {
            self.live(id, record, &place);
        }
        match own_form {
            Ok(own_form) => self.form(&place(), row, &own_form),
            Err(error) => self.report.problem(format!("{}: {error}", place())),
        }
    }

    /// A row that goes with a record must have one.
    fn live(&mut self, id: TransformId, record: &[u8], place: &dyn Fn() -> String) {
        let Some(transform) = self.point.published.catalogue.transform(id) else { return };
        match self.point.birth(transform.records, record) {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.report.problem(format!("{}: is of a record that does not exist", place()));
            }
            Err(error) => self.report.problem(format!("{}: {error}", place())),
        }
    }

    fn other_row(&mut self, id: TransformId, row: &[u8], rest: &[u8]) -> Result<Vec<u8>, RowError> {
        let wrong = || RowError::Malformed("no key of a row of a transform");
        let (kind, rest) = Rows::read_of_transform(rest).map_err(|_| wrong())?;
        let catalogue = &self.point.published.catalogue;
        let found = self.transforms.entry(id).or_default();
        match kind {
            TransformRow::Asked => {
                let asked = decode_asked(row)?;
                if asked.is_empty() {
                    return Err(RowError::Malformed("nothing was looked up"));
                }
                for (schema, key) in &asked {
                    found.asked = found.asked.wrapping_add(asked_hash((*schema, key), rest));
                }
                Ok(encode_asked(&asked).to_vec())
            }
            TransformRow::Asker => {
                let parts = |schema| Some(catalogue.by_id(schema)?.schema.key.len());
                let (asked, record) = read_asker(rest, parts).ok_or_else(wrong)?;
                found.askers = found.askers.wrapping_add(asked_hash(asked, record));
                Ok(Vec::new())
            }
            TransformRow::Group => GroupState::own_form(row),
            TransformRow::GroupItem => match self.aggregate_of(id, rest) {
                Some(kind) if kind.has_order() => Ok(row.to_vec()),
                _ => {
                    let (count, raw) = decode_value_row(row)?;
                    if count == 0 {
                        return Err(RowError::Malformed("a value that no record has"));
                    }
                    Ok(encode_value_row(count, &raw).to_vec())
                }
            },
            TransformRow::Gathering => Ok(Progress::decode(row)?.encode().to_vec()),
            TransformRow::Task => {
                found.tasks += 1;
                Task::read(rest)?;
                Ok(TaskProgress::decode(row)?.encode().to_vec())
            }
        }
    }

    /// The kind of the aggregate that a row is of; `rest` is what stands behind its kind.
    fn aggregate_of(&self, id: TransformId, rest: &[u8]) -> Option<AggregateKind> {
        let slot = KeyReader::new(rest).id().ok()?;
        let transform = self.point.published.catalogue.transform(id)?;
        let aggregate = transform.aggregates().get(usize::try_from(slot).ok()?)?;
        Some(aggregate.definition.aggregate.kind)
    }

    /// Compares what was found with the counters.
    pub(super) fn compare_transforms(&mut self) -> Result<(), DataLayerError> {
        let catalogue = std::sync::Arc::clone(&self.point.published.catalogue);
        let retired = catalogue.retired().map(|found| &found.transform);
        for transform in catalogue.computed().chain(retired) {
            let found = self.transforms.remove(&transform.id).unwrap_or_default();
            let (keyspace, key) = self.point.rows.counters(transform.id.counter());
            let counted = match self.point.published.get(keyspace, &key)? {
                Some(row) => SchemaCounters::decode(&row)
                    .map_err(|error| DataLayerError::row(keyspace, &key, error))?,
                None => SchemaCounters::default(),
            };
            let expected =
                SchemaCounters { records: found.failures, elements: found.tasks, atoms: 0 };
            let (schema, field) = (&transform.schema, &transform.field);
            if counted != expected {
                self.report.problem(format!(
                    "{schema}.{field}: the counters say that {} records fail and {} tasks are \
                     queued, there are {} and {}",
                    counted.records, counted.elements, found.failures, found.tasks
                ));
            }
            if found.asked != found.askers {
                self.report.problem(format!(
                    "{schema}.{field}: what it has looked up does not lead back to its records"
                ));
            }
        }
        Ok(())
    }
}
