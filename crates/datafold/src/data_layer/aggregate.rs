//! Aggregates over the records of a schema, as transforms read them: what each record contributes.
//!
//! The groups are kept by [`super::aggregate_groups`]: a record that changes takes away what it
//! contributed and adds what it contributes then, so that nothing else is read.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang::{self as lang, Filter, InputError, Inputs, Limits, Program};
use datafold_store::encoding::{KeyPart, KeyWriter};

use super::ids::{FieldId, SchemaId};
use super::index::{TEXT_BYTES_MAX, entry_part};
use super::transform::{Part, VALUE_BYTES_MAX};
use crate::model::{
    AggregateDefinition, AggregateKind, CodecError, RecordKey, Schema, decode_lang, encode_value,
    from_lang, part_of_value, to_lang,
};
use crate::planted::{Fault, is_planted};

/// What the condition and each expression of an aggregate may use for one record. They run for
/// every record that a commit writes, besides its other steps, and are never left for later.
pub const AGGREGATE_LIMITS: Limits =
    Limits { steps: 1_000, memory_bytes: 1 << 20, output_bytes: 1 << 20 };

/// An aggregate of a transform, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) definition: AggregateDefinition,
    /// The schema that has the records.
    pub(crate) records: SchemaId,
    /// The field that stands for the existence of a record.
    pub(crate) existence: String,
    /// The parts of the group that a record belongs to.
    pub(crate) by: Box<[Part]>,
    /// The schema whose keys the groups have.
    pub(crate) owner: Arc<Schema>,
    pub(crate) filter: Option<(Filter, Box<[Part]>)>,
    pub(crate) argument: Option<(Program, Box<[Part]>)>,
    pub(crate) order: Option<(Program, Box<[Part]>)>,
}

/// What a record contributes to a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contribution {
    /// The key of the record that reads the group.
    pub(crate) group: Bytes,
    pub(crate) item: Item,
}

/// What is kept of a record in its group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// It is counted.
    Counted,
    /// It is counted, with a number.
    Number(lang::Value<'static>),
    /// A value among others by their order: the encoded part of a key, and the encoded value.
    Value(Bytes, Bytes),
    /// A value at the record's place in an order; empty for null.
    Placed(Bytes, Bytes),
    /// It cannot be computed what the record contributes.
    Failed,
}

/// The cells of a record, encoded.
pub(crate) type Cells<'a, 'v> = &'a dyn Fn(FieldId) -> Option<&'v Bytes>;

/// What an expression gave, unless it failed.
type Found = Result<lang::Value<'static>, ()>;

impl Aggregate {
    /// What is read of the records.
    pub(crate) fn reads(&self) -> BTreeSet<Part> {
        let filter = self.filter.iter().flat_map(|(_, parts)| parts.iter());
        let programs = self.argument.iter().chain(&self.order).flat_map(|(_, parts)| parts.iter());
        let read = self.by.iter().chain(filter).chain(programs).copied();
        // Whether the record exists.
        read.chain([Part::Key(0)]).collect()
    }

    /// The fields that it reads, as `Schema.field`.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let by = self.definition.by.iter().map(|name| name.as_str().to_owned());
        let filter = self.filter.iter().flat_map(|(filter, _)| filter.inputs());
        let programs = self.argument.iter().chain(&self.order);
        let read = filter.chain(programs.flat_map(|(program, _)| program.inputs()));
        let names = by.chain(read.map(|input| input.path.field.clone()));
        let mut names: Vec<String> = names.collect();
        if names.is_empty() {
            names.push(self.existence.clone());
        }
        names.iter().map(|name| format!("{}.{name}", self.definition.of)).collect()
    }

    /// What a record contributes that exists and whose cells `value` answers, encoded; `None` if
    /// it belongs to no group or adds nothing to it.
    pub(crate) fn contribution<'v>(
        &self,
        record: &Bytes,
        value: Cells<'_, 'v>,
    ) -> Option<Contribution> {
        let group = self.group(record, value)?;
        let contributed = |item| Some(Contribution { group: group.clone(), item });
        if let Some((filter, parts)) = &self.filter {
            let inputs = PartInputs { record, parts, value };
            match caught(|| filter.matches_within(&inputs, &AGGREGATE_LIMITS)) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(()) => return contributed(Item::Failed),
            }
        }
        let Some(argument) = &self.argument else { return contributed(Item::Counted) };
        let Ok(found) = evaluate(argument, record, value) else {
            return contributed(Item::Failed);
        };
        let kind = self.definition.aggregate.kind;
        if let Some(order) = &self.order {
            return match evaluate(order, record, value) {
                Ok(lang::Value::Null) => None,
                Ok(order) => contributed(placed(&order, record, &found)),
                Err(()) => contributed(Item::Failed),
            };
        }
        if found.is_null() {
            return None;
        }
        contributed(match kind {
            AggregateKind::Count => Item::Counted,
            AggregateKind::Sum | AggregateKind::Average => match found {
                lang::Value::Int(_) | lang::Value::Float(_) => Item::Number(found),
                _ => Item::Failed,
            },
            AggregateKind::CountDistinct => {
                let raw = raw_of(&found);
                key_of_part(&entry_part(&from_lang(&found), &raw), &Bytes::new())
                    .map_or(Item::Failed, |key| Item::Value(key, Bytes::new()))
            }
            _ => match ordered(&found).and_then(|part| key_of_part(&part, &Bytes::new())) {
                Some(key) => Item::Value(key, raw_of(&found)),
                None => Item::Failed,
            },
        })
    }

    /// The key of the group that a record belongs to.
    pub(crate) fn group<'v>(&self, record: &Bytes, value: Cells<'_, 'v>) -> Option<Bytes> {
        if self.by.is_empty() {
            return Some(Bytes::new());
        }
        let inputs = PartInputs { record, parts: &self.by, value };
        let mut parts = Vec::with_capacity(self.by.len());
        for at in 0..self.by.len() {
            parts.push(from_lang(&inputs.value(at).ok()?));
        }
        // What is no key of that schema is the group of no record, and never will be.
        self.owner.key_of(&parts).ok().map(|key| key.bytes().clone())
    }
}

fn placed(order: &lang::Value<'_>, record: &Bytes, value: &lang::Value<'_>) -> Item {
    let raw = if value.is_null() { Bytes::new() } else { raw_of(value) };
    if raw.len() > VALUE_BYTES_MAX {
        return Item::Failed;
    }
    let key = ordered(order).and_then(|part| key_of_part(&part, record));
    key.map_or(Item::Failed, |key| Item::Placed(key, raw))
}

/// The part of a key at which a value has its place among others; `None` for what has none there:
/// arrays, objects, durations and long texts.
fn ordered(value: &lang::Value<'_>) -> Option<KeyPart> {
    match value {
        lang::Value::Duration(_) | lang::Value::Array(_) | lang::Value::Object(_) => None,
        lang::Value::Text(text) if text.as_str().len() > TEXT_BYTES_MAX => None,
        other => part_of_value(&from_lang(other)).ok(),
    }
}

fn key_of_part(part: &KeyPart, behind: &Bytes) -> Option<Bytes> {
    let mut key = KeyWriter::new();
    key.part(part).ok()?;
    key.raw(behind);
    Some(key.finish())
}

fn raw_of(value: &lang::Value<'_>) -> Bytes {
    let mut raw = Vec::with_capacity(16);
    encode_value(&from_lang(value), &mut raw);
    raw.into()
}

fn evaluate<'v>(
    (program, parts): &(Program, Box<[Part]>),
    record: &Bytes,
    value: Cells<'_, 'v>,
) -> Found {
    let inputs = PartInputs { record, parts, value };
    caught(|| program.evaluate_within(&inputs, &AGGREGATE_LIMITS).map(lang::Value::into_owned))
}

/// A fault of the evaluator is a failure of this one record, not the end of the node.
fn caught<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<T, ()> {
    let run = AssertUnwindSafe(|| {
        if is_planted(Fault::EvaluationPanics) {
            panic::resume_unwind(Box::new("planted"));
        }
        run()
    });
    panic::catch_unwind(run).map_err(drop)?.map_err(drop)
}

/// Parts of a record as the inputs of a program.
struct PartInputs<'a, 'v> {
    record: &'a Bytes,
    parts: &'a [Part],
    value: Cells<'a, 'v>,
}

impl Inputs for PartInputs<'_, '_> {
    fn value(&self, slot: usize) -> Result<lang::Value<'_>, InputError> {
        match self.parts.get(slot) {
            Some(Part::Key(at)) => {
                let parts = RecordKey::from_bytes(self.record.clone()).values()?;
                Ok(parts.get(*at).map_or(lang::Value::Null, to_lang).into_owned())
            }
            Some(Part::Cell(field)) => match (self.value)(*field) {
                Some(raw) => Ok(decode_lang(raw)?),
                None => Ok(lang::Value::Null),
            },
            None => Ok(lang::Value::Null),
        }
    }
}

/// The value that was kept; that of nothing is null.
pub(crate) fn value_of(raw: &[u8]) -> Result<lang::Value<'static>, CodecError> {
    match raw {
        [] => Ok(lang::Value::Null),
        raw => decode_lang(raw).map(lang::Value::into_owned),
    }
}
