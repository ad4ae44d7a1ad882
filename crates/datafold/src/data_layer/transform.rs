//! A computed field: the compiled program, where it reads and where its result goes.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang::{self as lang, CompileError, EvalError, InputError, Inputs, Limits, Program};
use minicbor::{Decoder, Encoder};

use super::catalogue::SchemaEntry;
use super::draft::Draft;
use super::ids::{CommitNumber, FieldId, SchemaId, TransformId};
use super::record::ok;
use super::serialization::{RowError, SerializationHelper};
use crate::model::{
    Field, FieldName, RecordKey, Schema, SchemaName, TransformDefinition, Value, decode_lang,
    from_lang, to_lang,
};
use crate::planted::{Fault, is_planted};

/// What one evaluation may use. It runs where commits get their order, so that the bounds are
/// tighter than those of a query.
pub const TRANSFORM_LIMITS: Limits =
    Limits { steps: 200_000, memory_bytes: 4 << 20, output_bytes: 2 << 20 };

/// The largest encoded value of a cell, the same on every engine.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// A failure's message is cut behind so many bytes.
const MESSAGE_BYTES_MAX: usize = 400;

/// Whether a transform has computed the records that were there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransformState {
    /// Records that were there before it are still computed. New writes are computed at once.
    Filling,
    /// Every record is computed.
    Ready,
}

impl TransformState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TransformState::Filling => "filling",
            TransformState::Ready => "ready",
        }
    }
}

/// Where an input of a program is in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A part of the record's key.
    Key(usize),
    /// A cell of the record.
    Cell(FieldId),
}

/// A compiled program and where its inputs are, by their slots.
#[derive(Debug, Clone)]
pub(crate) struct Logic {
    pub(crate) program: Program,
    pub(crate) sources: Box<[Source]>,
}

/// A transform of an approved schema.
#[derive(Debug)]
pub struct Transform {
    /// Its number and revision.
    pub id: TransformId,
    /// The schema that it was approved with.
    pub schema: SchemaName,
    /// The field that it computes.
    pub field: FieldName,
    /// Whether all records are computed.
    pub state: TransformState,
    /// The schema that has the records.
    pub(crate) records: SchemaId,
    /// The cell that takes the result.
    pub(crate) output: FieldId,
    /// The definition of the schema, and the place of the field in it.
    pub(crate) shape: Arc<Schema>,
    pub(crate) at: usize,
    /// What went wrong when it was compiled anew, if that is no longer possible.
    pub(crate) logic: Result<Logic, CompileError>,
}

impl Transform {
    /// The transform of a field that is not registered yet.
    pub(crate) fn unregistered(entry: &SchemaEntry, at: usize, logic: Logic) -> Option<Self> {
        let field = entry.schema.fields.get(at)?;
        let place = entry.place(field.name.as_str())?;
        Some(Self {
            id: TransformId(0),
            schema: entry.schema.name.clone(),
            field: field.name.clone(),
            state: TransformState::Filling,
            records: entry.records(),
            output: place.field,
            shape: Arc::clone(&entry.shape),
            at,
            logic: Ok(logic),
        })
    }

    /// Its definition.
    #[must_use]
    pub fn definition(&self) -> Option<&TransformDefinition> {
        self.output_field()?.transform.as_ref()
    }

    /// The place of the field in its schema, from 1 on.
    pub(crate) fn place(&self) -> FieldId {
        FieldId::at(self.at)
    }

    fn output_field(&self) -> Option<&Field> {
        self.shape.fields.get(self.at)
    }

    /// The fields that it reads, as `Schema.field`, in the order of the logic.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let logic = self.logic.iter();
        let inputs = logic.flat_map(|logic| logic.program.inputs());
        let mut names: Vec<String> = Vec::new();
        for input in inputs {
            let name = format!("{}.{}", self.schema, input.path.field);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The fields of its own record that it reads, each once, in the order of the logic.
    pub(crate) fn input_fields(&self) -> impl Iterator<Item = FieldName> + '_ {
        let inputs = self.logic.iter().flat_map(|logic| logic.program.inputs());
        let fields = inputs.filter_map(|input| FieldName::parse(&input.path.field).ok());
        let mut seen = BTreeSet::new();
        fields.filter(move |field| seen.insert(field.clone()))
    }

    /// The cells that it reads.
    pub(crate) fn cells(&self) -> impl Iterator<Item = FieldId> + '_ {
        let sources = self.logic.iter().flat_map(|logic| logic.sources.iter());
        sources.filter_map(|source| match source {
            Source::Cell(field) => Some(*field),
            Source::Key(_) => None,
        })
    }

    /// The result for a record, encoded as it is stored; `None` stands for null.
    pub(crate) fn evaluate(
        &self,
        record: &Bytes,
        draft: &Draft,
    ) -> Result<Option<Bytes>, Evaluation> {
        let logic = self.logic.as_ref().map_err(Evaluation::of_compiler)?;
        let key = OnceCell::new();
        let inputs = RecordInputs { sources: &logic.sources, record, key, draft };
        // A fault of the evaluator is a failure of this one field, not the end of the node.
        let run = panic::catch_unwind(AssertUnwindSafe(|| {
            if is_planted(Fault::EvaluationPanics) {
                panic::resume_unwind(Box::new("planted"));
            }
            let result = logic.program.evaluate_within(&inputs, &TRANSFORM_LIMITS);
            result.map(|value| from_lang(&value)).map_err(|error| Evaluation::of_run(&error))
        }));
        let value = run.unwrap_or_else(|_| Err(Evaluation::of_panic()))?;
        if value.is_null() {
            return Ok(None);
        }
        let Some(field) = self.output_field() else { return Ok(None) };
        let value = field.accept(value).map_err(|error| {
            Evaluation::of_result("result_refused", format!("the result is not accepted: {error}"))
        })?;
        let raw = SerializationHelper::serialize(&value);
        if raw.len() > VALUE_BYTES_MAX {
            let found = raw.len();
            let rule = format!("the result has {found} bytes, the limit is {VALUE_BYTES_MAX}");
            return Err(Evaluation::of_result("value_too_large", rule));
        }
        Ok(Some(raw))
    }
}

/// The cells of a record as the inputs of a program.
struct RecordInputs<'a> {
    sources: &'a [Source],
    record: &'a Bytes,
    key: OnceCell<Vec<Value>>,
    draft: &'a Draft,
}

impl RecordInputs<'_> {
    fn key_part(&self, at: usize) -> Result<lang::Value<'_>, InputError> {
        let parts = match self.key.get() {
            Some(parts) => parts,
            None => {
                let parts = RecordKey::from_bytes(self.record.clone()).values()?;
                self.key.get_or_init(|| parts)
            }
        };
        Ok(parts.get(at).map_or(lang::Value::Null, to_lang))
    }
}

impl Inputs for RecordInputs<'_> {
    fn value(&self, slot: usize) -> Result<lang::Value<'_>, InputError> {
        match self.sources.get(slot) {
            Some(Source::Key(at)) => self.key_part(*at),
            Some(Source::Cell(field)) => match self.draft.value(*field) {
                Some(raw) => Ok(decode_lang(raw)?),
                None => Ok(lang::Value::Null),
            },
            None => Ok(lang::Value::Null),
        }
    }
}

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// A name of the family that never changes.
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    /// The line and column in the logic; 0 without a place.
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Evaluation {
    fn of_run(error: &EvalError) -> Self {
        let found = &error.diagnostic;
        let message = found.message.clone();
        Self { code: found.code().into(), message, line: found.line, column: found.column }
    }

    fn of_compiler(error: &CompileError) -> Self {
        let place = error.diagnostics.first().map_or((0, 0), |found| (found.line, found.column));
        let message = format!("the logic can no longer be compiled: {error}");
        Self { code: error.code().into(), message, line: place.0, column: place.1 }
    }

    fn of_panic() -> Self {
        Self::of_result("panic", "the evaluation ended by a fault of this program".into())
    }

    fn of_result(code: &'static str, message: String) -> Self {
        Self { code: code.into(), message, line: 0, column: 0 }
    }

    /// The same with a message that is no longer than is stored.
    pub(crate) fn cut(mut self) -> Self {
        let end = (0..=MESSAGE_BYTES_MAX.min(self.message.len())).rev();
        let end = end.into_iter().find(|at| self.message.is_char_boundary(*at)).unwrap_or(0);
        self.message.truncate(end);
        self
    }
}

/// What went wrong, with its place in the logic.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a transform has no result for a record: the row that tells the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformFailure {
    /// The last commit in which it failed.
    pub commit: CommitNumber,
    /// How many times it has failed for the record since it last had a result.
    pub count: u64,
    /// A name of the family of errors that never changes.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// The line in the logic, from 1 on; 0 if the error has no place there.
    pub line: usize,
    /// The column in characters, from 1 on; 0 if the error has no place there.
    pub column: usize,
}

impl TransformFailure {
    pub(crate) fn new(commit: CommitNumber, count: u64, found: Evaluation) -> Self {
        let Evaluation { code, message, line, column } = found.cut();
        Self { commit, count, code: code.into_owned(), message, line, column }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(96);
        ok(Encoder::new(&mut out)
            .array(6)
            .and_then(|e| e.u64(self.commit.0))
            .and_then(|e| e.u64(self.count))
            .and_then(|e| e.str(&self.code))
            .and_then(|e| e.str(&self.message))
            .and_then(|e| e.u64(self.line as u64))
            .and_then(|e| e.u64(self.column as u64)));
        out.into()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(6) {
            return Err(RowError::Malformed("a failure has six parts"));
        }
        let mut found = Self {
            commit: CommitNumber(decoder.u64()?),
            count: decoder.u64()?,
            code: decoder.str()?.to_owned(),
            message: decoder.str()?.to_owned(),
            line: 0,
            column: 0,
        };
        let place = |number: u64| {
            usize::try_from(number).map_err(|_| RowError::Malformed("a place is too large"))
        };
        found.line = place(decoder.u64()?)?;
        found.column = place(decoder.u64()?)?;
        Ok(found)
    }
}

/// The row of a computed field in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ComputedRow {
    /// The schema with the definition.
    pub(crate) schema: SchemaId,
    /// The place of the field in it, from 1 on.
    pub(crate) field: FieldId,
    pub(crate) state: TransformState,
}

impl ComputedRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        let state = match self.state {
            TransformState::Filling => 0,
            TransformState::Ready => 1,
        };
        let mut out = Vec::with_capacity(12);
        ok(Encoder::new(&mut out)
            .array(3)
            .and_then(|e| e.u32(self.schema.0))
            .and_then(|e| e.u32(self.field.0))
            .and_then(|e| e.u8(state)));
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(3) {
            return Err(RowError::Malformed("a computed field has three parts"));
        }
        let (schema, field) = (SchemaId(decoder.u32()?), FieldId(decoder.u32()?));
        let state = match decoder.u8()? {
            0 => TransformState::Filling,
            1 => TransformState::Ready,
            _ => return Err(RowError::Malformed("an unknown state of a computed field")),
        };
        Ok(Self { schema, field, state })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_read_back(
            (commit, count, line) in (any::<u64>(), any::<u64>(), 0_usize..90),
            message in ".{0,200}",
            (schema, field, ready) in (any::<u32>(), any::<u32>(), any::<bool>()),
        ) {
            let found = Evaluation { code: "overflow".into(), message, line, column: line + 1 };
            let failure = TransformFailure::new(CommitNumber(commit), count, found);
            prop_assert!(failure.message.len() <= MESSAGE_BYTES_MAX);
            prop_assert_eq!(TransformFailure::decode(&failure.encode()).unwrap(), failure);
            let state = if ready { TransformState::Ready } else { TransformState::Filling };
            let row = ComputedRow { schema: SchemaId(schema), field: FieldId(field), state };
            prop_assert_eq!(ComputedRow::decode(&row.encode()).unwrap(), row);
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = TransformFailure::decode(&bytes);
            let _ = ComputedRow::decode(&bytes);
        }
    }
}
