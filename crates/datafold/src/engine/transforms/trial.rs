//! Trying transforms: what they would compute, without writing anything.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;

use super::super::apply::apply;
use super::super::error::FoldDbError;
use super::super::fold_db::FoldDb;
use super::super::mutation::{Mutation, RecordInput};
use super::super::prepare::prepare;
use super::super::query::key_of;
use crate::data_layer::internal::{
    Cause, Draft, Editor, Elements, Evaluation, FieldAddress, GatheredGroups, OtherRecords,
    ReadPoint, Target, WorkingSet, decode_cell,
};
use crate::data_layer::{
    CommitNumber, DataLayerError, FieldId, SchemaEntry, Transform, TransformFailure, TransformId,
};
use crate::model::{FieldName, RecordKey, Schema, SchemaName, SchemaState, Value, from_lang};

/// A trial computes at most so many records.
pub const TRIAL_RECORDS_MAX: usize = 10_000;

/// Which transforms are tried, on which records.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The schema whose transforms are tried.
    pub schema: SchemaName,
    /// Only that of this field, and those that follow from it; all by default.
    pub field: Option<FieldName>,
    /// A definition of the schema that is not approved, or not even loaded. It may be another one
    /// than the schema has: its fields are then those with the same names, so that changed logic
    /// can be tried on the records that are there.
    pub definition: Option<Arc<Schema>>,
    /// The records.
    pub records: TrialRecords,
}

/// The records on which transforms are tried.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrialRecords {
    /// The first ones that there are.
    First(usize),
    /// Those with these keys.
    Keys(Vec<Vec<Value>>),
    /// These, as if they had been written: over what is there, if there is a record with the key.
    Given(Vec<RecordInput>),
}

/// What transforms would compute.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialReport {
    /// The schema that has the records: the one that was asked for, or the one whose fields it
    /// computes if it computes none of its own.
    pub schema: SchemaName,
    /// The fields that were tried, in the order of the definition.
    pub fields: Vec<FieldName>,
    /// How many records the schema has, which would be computed if the definition were approved.
    pub existing: u64,
    /// The commit as of which they were read.
    pub commit: CommitNumber,
    /// By record, in the order of the keys or in that in which they were given.
    pub records: Vec<TrialRecord>,
}

/// What would be computed for a record.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRecord {
    /// The record.
    pub key: RecordKey,
    /// By field, in the order of [`TrialReport::fields`].
    pub values: Vec<TrialValue>,
}

/// What would be computed for a field.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialValue {
    /// The value that the field has.
    pub stored: Value,
    /// The value that it would get; the stored one after an error.
    pub computed: Value,
    /// What went wrong.
    pub error: Option<TransformFailure>,
}

impl FoldDb {
    /// Computes transforms for some records and answers what comes out. Nothing is written.
    ///
    /// # Errors
    ///
    /// Those of approval, if a definition is given: [`DataLayerError::Transforms`] with all that is
    /// wrong and its place, [`DataLayerError::Refused`]. [`DataLayerError::NotFound`] for a schema,
    /// record or transform that does not exist; those of a mutation for records that are given;
    /// [`DataLayerError::InvalidData`] for more than [`TRIAL_RECORDS_MAX`] records.
    ///
    /// # Cost
    ///
    /// A row for each record; the answer is in memory.
    pub fn try_transforms(&self, trial: &Trial) -> Result<TrialReport, FoldDbError> {
        let point = self.pool().operations().now();
        let mut sandbox = Sandbox::new(&point);
        if let Some(definition) = &trial.definition {
            sandbox.editor().suppose(definition)?;
            sandbox.editor().set_state(&definition.name, SchemaState::Approved, None)?;
        }
        let entry = sandbox.catalogue.get(trial.schema.as_str()).cloned();
        let entry = entry.ok_or_else(|| DataLayerError::not_found("schema", &trial.schema))?;
        let tried = sandbox.tried(&entry, trial.field.as_ref())?;
        // Those that it defines for another schema compute the records of that one.
        let home = tried.first().and_then(|first| sandbox.catalogue.get(first.schema.as_str()));
        let entry = home.cloned().unwrap_or(entry);
        let records = sandbox.records(&entry, &trial.records)?;
        let counters = self.pool().operations().pipeline().counters();
        let existing = counters.get(&entry.records()).map_or(0, |counted| counted.records);
        let records = records.iter().map(|record| sandbox.compute(&entry, record, &tried));
        Ok(TrialReport {
            schema: entry.schema.name.clone(),
            fields: tried.iter().map(|transform| transform.field.clone()).collect(),
            existing,
            commit: point.at,
            records: records.collect::<Result<_, _>>()?,
        })
    }
}

/// A state that can be written to and is forgotten.
struct Sandbox<'p> {
    point: &'p ReadPoint,
    catalogue: Arc<crate::data_layer::SchemaCore>,
    working: WorkingSet,
    source: &'p crate::data_layer::internal::Published,
    groups: GatheredGroups,
}

impl<'p> Sandbox<'p> {
    fn new(point: &'p ReadPoint) -> Self {
        let catalogue = Arc::clone(&point.published.catalogue);
        let working = WorkingSet::new(point.rows);
        let groups = GatheredGroups::default();
        Self { point, catalogue, working, source: &point.published, groups }
    }

    fn editor(&mut self) -> Editor<'_> {
        let Self { catalogue, working, source, .. } = self;
        Editor { catalogue, working, source }
    }

    /// The transforms that are tried.
    fn tried(
        &self,
        entry: &SchemaEntry,
        field: Option<&FieldName>,
    ) -> Result<Vec<Arc<Transform>>, DataLayerError> {
        let name = &entry.schema.name;
        let wanted = entry.schema.fields.iter().map(|found| &found.name);
        let wanted = wanted.filter(|found| field.is_none_or(|field| field == *found));
        let found =
            wanted.filter_map(|found| self.catalogue.transform_of(&format!("{name}.{found}")));
        let mut found: Vec<_> = found.cloned().collect();
        if found.is_empty() {
            let elsewhere = self.catalogue.computed().filter(|transform| {
                transform.is_defined_by(name, field) && transform.schema != *name
            });
            found.extend(elsewhere.cloned());
            let home = found.first().map(|first| first.schema.clone());
            found.retain(|transform| Some(&transform.schema) == home.as_ref());
        }
        match (found.is_empty(), field) {
            (false, _) => Ok(found),
            (true, Some(field)) => {
                Err(DataLayerError::not_found("transform", format!("{name}.{field}")))
            }
            (true, None) => {
                let rule = "has no transforms that are registered".to_owned();
                Err(DataLayerError::Refused { what: "schema", name: name.to_string(), rule })
            }
        }
    }

    /// The records that are tried, by key; those that are given are written to the sandbox.
    fn records(
        &mut self,
        entry: &Arc<SchemaEntry>,
        records: &TrialRecords,
    ) -> Result<Vec<Bytes>, FoldDbError> {
        let count = match records {
            TrialRecords::First(count) => *count,
            TrialRecords::Keys(keys) => keys.len(),
            TrialRecords::Given(records) => records.len(),
        };
        if count > TRIAL_RECORDS_MAX {
            let what = "a trial".to_owned();
            let rule = format!("computes at most {TRIAL_RECORDS_MAX} records, not {count}");
            return Err(DataLayerError::InvalidData { what, rule }.into());
        }
        match records {
            TrialRecords::First(count) => Ok(self.first(entry, *count)?),
            TrialRecords::Keys(keys) => {
                let keys = keys.iter().map(|key| {
                    let key = key_of(entry, key)?;
                    if self.point.birth(entry.records(), key.as_bytes())?.is_none() {
                        let name = format!("{key} of {}", entry.schema.name);
                        return Err(DataLayerError::not_found("record", name).into());
                    }
                    Ok(key.bytes().clone())
                });
                keys.collect()
            }
            TrialRecords::Given(records) => {
                let mut keys = Vec::with_capacity(records.len());
                for record in records {
                    let name = entry.schema.name.clone();
                    let request = Mutation::upsert(name, vec![record.clone()]).into();
                    let prepared = prepare(&self.catalogue, &request)?;
                    apply(&mut self.editor(), &prepared)?;
                    keys.extend(prepared.steps.iter().map(|step| step.key.bytes().clone()));
                }
                Ok(keys)
            }
        }
    }

    /// The first records that exist.
    fn first(&self, entry: &SchemaEntry, count: usize) -> Result<Vec<Bytes>, DataLayerError> {
        let (mut found, mut last) = (Vec::new(), None);
        while found.len() < count {
            let page = self.point.records_after(entry.records(), last.as_ref(), count)?;
            let Some(reached) = page.last().cloned() else { break };
            for record in page {
                if found.len() < count && self.point.birth(entry.records(), &record)?.is_some() {
                    found.push(record);
                }
            }
            last = Some(reached);
        }
        Ok(found)
    }

    fn compute(
        &mut self,
        entry: &SchemaEntry,
        record: &Bytes,
        tried: &[Arc<Transform>],
    ) -> Result<TrialRecord, FoldDbError> {
        let records = entry.records();
        let propagation = self.catalogue.propagation(records).cloned();
        let wanted: BTreeSet<TransformId> = tried.iter().map(|transform| transform.id).collect();
        let point = self.point;
        let stored = Draft::found(point.live(records, record)?);
        let mut groups = std::mem::take(&mut self.groups);
        let mut editor = self.editor();
        let draft = &mut editor.working.record(editor.source, records, record)?.clone();
        let mut errors: Vec<(FieldId, Evaluation)> = Vec::new();
        let others = Supposed {
            editor: RefCell::new(&mut editor),
            point,
            groups: RefCell::new(&mut groups),
        };
        let compute = |transform: &Transform, draft: &Draft| {
            let result = transform.evaluate(record, draft, &others)?.result;
            Ok::<_, DataLayerError>(match result {
                Ok(value) => Some(value),
                Err(error) => {
                    errors.push((transform.output, error));
                    None
                }
            })
        };
        if let Some(propagation) = propagation {
            propagation.run(draft, Cause::Again(&wanted), compute)?;
        }
        self.groups = groups;
        let mut editor = self.editor();
        let mut value = |transform: &Transform, draft: &Draft| {
            let field = transform.output;
            match draft.value(field) {
                Some(raw) => decode_cell(raw),
                None if !transform.gives_elements() => Ok(Value::Null),
                None if draft.written(field).is_some() => Ok(Value::Object(BTreeMap::new())),
                None => {
                    let at = FieldAddress { schema: records, record, field };
                    let elements = editor.elements(at, draft)?;
                    Ok(elements.map_or(Value::Null, |elements| from_lang(&elements)))
                }
            }
        };
        let at = point.at;
        let mut values = Vec::with_capacity(tried.len());
        for transform in tried {
            let error = errors.iter().find(|(field, _)| *field == transform.output);
            values.push(TrialValue {
                stored: value(transform, &stored)?,
                computed: value(transform, draft)?,
                error: error.map(|(_, error)| TransformFailure::new(at, 1, error.clone())),
            });
        }
        Ok(TrialRecord { key: RecordKey::from_bytes(record.clone()), values })
    }
}

/// The records of others as the sandbox has them.
struct Supposed<'s, 'e> {
    editor: RefCell<&'s mut Editor<'e>>,
    point: &'s ReadPoint,
    /// Of the records that are there: none that are given are among them.
    groups: RefCell<&'s mut GatheredGroups>,
}

impl OtherRecords for Supposed<'_, '_> {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        let mut editor = self.editor.borrow_mut();
        let Editor { working, source, .. } = &mut **editor;
        target.value(record, working.record(*source, target.records, record)?)
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        self.groups.borrow_mut().value(self.point, transform, slot, record)
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        let mut editor = self.editor.borrow_mut();
        editor.elements(at, draft)
    }
}
