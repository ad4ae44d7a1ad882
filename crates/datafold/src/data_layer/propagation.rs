//! The transforms of the records of one schema, in the order in which they run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::draft::{After, Draft};
use super::ids::{FieldId, TransformId, WriterId};
use super::transform::{Transform, TransformState};
use crate::planted::{Fault, is_planted};

/// All transforms whose results are cells of the records of one schema.
///
/// Invariant: a transform stands behind all whose results it reads, so that going through them in
/// order computes each once, with inputs that no longer change.
#[derive(Debug, Default)]
pub(crate) struct Propagation {
    order: Box<[Arc<Transform>]>,
    /// By field, the places in the order of those that read it, ascending.
    readers: HashMap<FieldId, Box<[usize]>>,
    /// By field, the place in the order of the transform that computes it.
    writers: HashMap<FieldId, usize>,
    is_filling: bool,
    reads_others: bool,
}

/// Which transforms are to run for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause<'c> {
    /// Those that read what the transaction has written, and all in a new record.
    Written,
    /// Also those that have not computed all records yet.
    Filling,
    /// Also these, and those that have not computed all records yet.
    Again(&'c BTreeSet<TransformId>),
}

impl Propagation {
    /// Of transforms with their levels.
    pub(crate) fn new(mut transforms: Vec<(u32, Arc<Transform>)>) -> Self {
        transforms.sort_by_key(|(level, found)| (*level, found.id));
        let order: Box<[_]> = transforms.into_iter().map(|(_, found)| found).collect();
        let mut readers: HashMap<FieldId, Vec<usize>> = HashMap::new();
        for (at, transform) in order.iter().enumerate() {
            let cells: BTreeSet<FieldId> = transform.cells().collect();
            for cell in cells {
                readers.entry(cell).or_default().push(at);
            }
        }
        let readers = readers.into_iter().map(|(field, of)| (field, of.into())).collect();
        let writers = order.iter().enumerate().map(|(at, found)| (found.output, at)).collect();
        let is_filling = order.iter().any(|found| found.state == TransformState::Filling);
        let has_more_rows = |found: &Arc<Transform>| {
            found.others().next().is_some() || found.reads_elements() || found.gives_elements()
        };
        let reads_others = order.iter().any(has_more_rows);
        Self { order, readers, writers, is_filling, reads_others }
    }

    /// In the order in which they run.
    pub(crate) fn transforms(&self) -> &[Arc<Transform>] {
        &self.order
    }

    /// The transform that computes a field.
    pub(crate) fn computing(&self, field: FieldId) -> Option<&Arc<Transform>> {
        self.order.get(*self.writers.get(&field)?)
    }

    /// Who writes a field in a commit of `writer`.
    pub(crate) fn writer_of(&self, field: FieldId, writer: WriterId) -> WriterId {
        self.computing(field).map_or(writer, |transform| transform.id.writer())
    }

    /// Whether one of them has not computed all records.
    pub(crate) fn is_filling(&self) -> bool {
        self.is_filling
    }

    /// Whether one of them reads or writes other rows than that of its record.
    pub(crate) fn reads_others(&self) -> bool {
        self.reads_others
    }

    /// Those that have not computed all records yet.
    pub(crate) fn filling(&self) -> impl Iterator<Item = &Arc<Transform>> {
        self.order.iter().filter(|found| found.state == TransformState::Filling)
    }

    /// Those that read a field of their record.
    pub(crate) fn readers(&self, field: FieldId) -> impl Iterator<Item = &Arc<Transform>> {
        self.reading([field].into_iter()).filter_map(|at| self.order.get(at))
    }

    /// Those that depend on some fields of their record, also by way of others, in the order in
    /// which they run.
    pub(crate) fn depending(&self, fields: impl Iterator<Item = FieldId>) -> Vec<&Arc<Transform>> {
        let mut due: BTreeSet<usize> = self.reading(fields).collect();
        let mut found = Vec::new();
        while let Some(transform) = due.pop_first().and_then(|at| self.order.get(at)) {
            // They all stand behind this one.
            due.extend(self.reading([transform.output].into_iter()));
            found.push(transform);
        }
        found
    }

    /// Whether one of them reads one of some fields of its record.
    pub(crate) fn reads_any<'f>(&self, mut fields: impl Iterator<Item = &'f FieldId>) -> bool {
        fields.any(|field| self.readers.contains_key(field))
    }

    /// Computes what depends on the writes of a record, each field once. `compute` answers the
    /// result that is to be written, if there is one.
    pub(crate) fn run<E>(
        &self,
        draft: &mut Draft,
        cause: Cause<'_>,
        mut compute: impl FnMut(&Transform, &Draft) -> Result<Option<Option<Bytes>>, E>,
    ) -> Result<(), E> {
        let mut due: BTreeSet<usize> = match &draft.after {
            After::Created(_) => (0..self.order.len()).collect(),
            After::Merged(writes) => self.reading(writes.keys().copied()).collect(),
            After::Untouched | After::Deleted => BTreeSet::new(),
        };
        if draft.exists() {
            let is_wanted = |found: &Transform| match cause {
                Cause::Written => false,
                Cause::Filling => found.state == TransformState::Filling,
                Cause::Again(wanted) => {
                    wanted.contains(&found.id) || found.state == TransformState::Filling
                }
            };
            if cause != Cause::Written {
                let wanted = self.order.iter().enumerate().filter(|(_, found)| is_wanted(found));
                due.extend(wanted.map(|(at, _)| at));
            }
        }
        while let Some(at) = due.pop_first() {
            let Some(transform) = self.order.get(at) else { continue };
            let Some(value) = compute(transform, draft)? else { continue };
            // What elements there are stands elsewhere.
            let is_new =
                transform.gives_elements() || draft.value(transform.output) != value.as_ref();
            if is_new && !is_planted(Fault::ResultKept) {
                draft.merge([(transform.output, value)].into());
                // They all stand behind this one.
                due.extend(self.reading([transform.output].into_iter()));
            }
        }
        Ok(())
    }

    fn reading(&self, fields: impl Iterator<Item = FieldId>) -> impl Iterator<Item = usize> {
        fields.flat_map(|field| {
            self.readers.get(&field).into_iter().flat_map(|of| of.iter().copied())
        })
    }
}
