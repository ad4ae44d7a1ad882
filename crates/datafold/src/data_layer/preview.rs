//! The computed fields of a record that a transaction has written, as it sees them before it
//! commits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;

use super::aggregate_groups::stored_value;
use super::catalogue::SchemaCore;
use super::catalogue_edit::Editor;
use super::draft::Draft;
use super::element_input::{Elements, elements_after};
use super::element_output::encode_found;
use super::error::DataLayerError;
use super::ids::{SchemaId, TransformId};
use super::propagate::NoOthers;
use super::propagation::Cause;
use super::rows::FieldAddress;
use super::transform::{Evaluation, OtherRecords, Part, Target, Transform};
use super::working_set::drafts_of;

/// Results of transforms for records, encoded.
type Results = HashMap<(TransformId, Bytes), Option<Bytes>>;

impl Editor<'_> {
    /// A record with its computed fields as the commit would leave them, if the transaction has
    /// written to it and there are some. Elements stand in the place of a cell, as one object. What
    /// it reads of other records that the transaction has written is computed as well.
    pub(crate) fn computed(
        &mut self,
        records: SchemaId,
        record: &Bytes,
    ) -> Result<Option<Draft>, DataLayerError> {
        let catalogue = Arc::clone(self.catalogue);
        let draft = self.working.record(self.source, records, record)?;
        let propagation = catalogue.propagation(records).filter(|_| draft.is_written());
        let Some(propagation) = propagation.filter(|_| draft.exists()) else { return Ok(None) };
        let mut draft = draft.clone();
        // A field that has no result keeps its value here too.
        if catalogue.is_local(records) {
            propagation.run(&mut draft, Cause::Written, |transform, draft| {
                Ok::<_, DataLayerError>(transform.evaluate(record, draft, &NoOthers)?.result.ok())
            })?;
            return Ok(Some(draft));
        }
        let mut results = Results::new();
        for transform in propagation.transforms() {
            self.compute(&catalogue, (transform.id, record.clone()), &mut results)?;
        }
        for transform in propagation.transforms() {
            if let Some(value) = results.get(&(transform.id, record.clone())) {
                draft.merge([(transform.output, value.clone())].into());
            }
        }
        Ok(Some(draft))
    }

    /// Computes one result, and before it those that it depends on.
    fn compute(
        &mut self,
        catalogue: &SchemaCore,
        wanted: (TransformId, Bytes),
        results: &mut Results,
    ) -> Result<(), DataLayerError> {
        // Not by recursion: a chain may have thousands.
        let mut path = vec![wanted];
        while let Some((id, record)) = path.last().cloned() {
            let transform = catalogue.transform(id);
            let Some(transform) =
                transform.filter(|_| !results.contains_key(&(id, record.clone())))
            else {
                path.pop();
                continue;
            };
            let mut draft = self.working.record(self.source, transform.records, &record)?.clone();
            let propagation = catalogue.propagation(transform.records);
            let inputs = transform.cells();
            let inputs = inputs.filter_map(|cell| propagation?.computing(cell));
            let mut missing = None;
            for input in inputs {
                match results.get(&(input.id, record.clone())) {
                    Some(value) => draft.merge([(input.output, value.clone())].into()),
                    None => missing = Some((input.id, record.clone())),
                }
            }
            if let Some(missing) = missing {
                path.push(missing);
                continue;
            }
            let others = Others {
                catalogue,
                editor: RefCell::new(self),
                results,
                missing: RefCell::default(),
            };
            let evaluated = transform.evaluate(&record, &draft, &others);
            if let Some(missing) = others.missing.take() {
                path.push(missing);
                continue;
            }
            // Groups that are not made yet mean nothing.
            let is_made = !transform.is_filling() || transform.aggregates().is_empty();
            let result = evaluated?.result.ok().filter(|_| is_made);
            let value = match result {
                Some(value) => value,
                None if transform.gives_elements() => {
                    let (schema, field) = (transform.records, transform.output);
                    let at = FieldAddress { schema, record: &record, field };
                    encode_found(&self.elements(at, &draft)?)
                }
                None => draft.value(transform.output).cloned(),
            };
            results.insert((id, record), value);
            path.pop();
        }
        Ok(())
    }
}

/// Other records as the transaction sees them.
struct Others<'o, 'e> {
    catalogue: &'o SchemaCore,
    editor: RefCell<&'o mut Editor<'e>>,
    results: &'o Results,
    /// A result that must be computed first.
    missing: RefCell<Option<(TransformId, Bytes)>>,
}

impl OtherRecords for Others<'_, '_> {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        let mut editor = self.editor.borrow_mut();
        let Editor { working, source, .. } = &mut **editor;
        let draft = working.record(*source, target.records, record)?;
        if let Part::Cell(field) = target.part
            && draft.is_written()
            && draft.exists()
            && let Some(found) = self.catalogue.propagation(target.records)
            && let Some(transform) = found.computing(field)
        {
            let result = (transform.id, record.clone());
            let Some(value) = self.results.get(&result) else {
                *self.missing.borrow_mut() = Some(result);
                return Err(DataLayerError::missing("a result that is computed first"));
            };
            let mut draft = draft.clone();
            draft.merge([(field, value.clone())].into());
            return target.value(record, &draft);
        }
        target.value(record, draft)
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let mut editor = self.editor.borrow_mut();
        let Editor { working, source, .. } = &mut **editor;
        stored_value(working.rows, *source, transform, slot, record)
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        let mut editor = self.editor.borrow_mut();
        editor.elements(at, draft)
    }
}

impl Editor<'_> {
    /// The elements of a field of a record as the transaction sees them.
    pub(crate) fn elements(
        &mut self,
        at: FieldAddress<'_>,
        draft: &Draft,
    ) -> Result<Elements, DataLayerError> {
        let Editor { working, source, .. } = self;
        let drafts = drafts_of(&working.elements, at);
        elements_after(working.rows, &mut **source, at, draft, drafts, &mut 0)
    }
}
