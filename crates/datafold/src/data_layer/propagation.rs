//! The transforms of the records of one schema, in the order in which they run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::draft::{After, Draft};
use super::ids::{FieldId, TransformId, WriterId};
use super::transform::{Evaluation, Transform, TransformState};
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
    /// Puts transforms in order. Answers also the fields of one that can never run, since its input
    /// depends on its own result: those form a circle.
    pub(crate) fn new(transforms: Vec<Arc<Transform>>) -> (Self, Option<Vec<Arc<Transform>>>) {
        let writers: HashMap<FieldId, usize> =
            transforms.iter().enumerate().map(|(at, found)| (found.output, at)).collect();
        let inputs: Vec<BTreeSet<usize>> = transforms
            .iter()
            .map(|found| found.cells().filter_map(|cell| writers.get(&cell).copied()).collect())
            .collect();
        let mut left: BTreeSet<usize> = (0..transforms.len()).collect();
        let mut order = Vec::with_capacity(transforms.len());
        let waits_for = |at: usize, left: &BTreeSet<usize>| {
            inputs.get(at).and_then(|of| of.iter().copied().find(|input| left.contains(input)))
        };
        // Depth first, so that a chain of thousands takes one pass.
        let mut circle = None;
        while let Some(first) = left.first().copied() {
            let mut path = vec![first];
            while let Some(last) = path.last().copied() {
                match waits_for(last, &left) {
                    None => {
                        left.remove(&last);
                        order.push(last);
                        path.pop();
                    }
                    Some(next) => match path.iter().position(|at| *at == next) {
                        None => path.push(next),
                        Some(start) => {
                            let of = path.get(start..).unwrap_or_default().iter();
                            let of = of.filter_map(|at| transforms.get(*at).cloned());
                            circle.get_or_insert(of.collect());
                            left.remove(&last);
                            order.push(last);
                            path.pop();
                        }
                    },
                }
            }
        }
        let order = order.into_iter().filter_map(|at| transforms.get(at).cloned());
        (Self::of_order(order.collect()), circle)
    }

    fn of_order(order: Box<[Arc<Transform>]>) -> Self {
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
        Self { order, readers, writers, is_filling }
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

    /// Computes what depends on the writes of a record, each field once. Results that differ from
    /// what is there are written to the draft. What each evaluation gave is told.
    pub(crate) fn run<E>(
        &self,
        record: &Bytes,
        draft: &mut Draft,
        cause: Cause<'_>,
        mut tell: impl FnMut(&Transform, Result<(), Evaluation>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut due: BTreeSet<usize> = match &draft.after {
            After::Created(_) => (0..self.order.len()).collect(),
            After::Merged(writes) => self.reading(writes.keys()).collect(),
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
            let result = transform.evaluate(record, draft);
            let outcome = result.map(|value| {
                let is_new = draft.value(transform.output) != value.as_ref();
                if is_new && !is_planted(Fault::ResultKept) {
                    draft.merge([(transform.output, value)].into());
                    // They all stand behind this one.
                    due.extend(self.reading([transform.output].iter()));
                }
            });
            tell(transform, outcome)?;
        }
        Ok(())
    }

    fn reading<'f>(
        &'f self,
        fields: impl Iterator<Item = &'f FieldId> + 'f,
    ) -> impl Iterator<Item = usize> + 'f {
        fields
            .flat_map(|field| self.readers.get(field).into_iter().flat_map(|of| of.iter().copied()))
    }
}
