//! A computed field: the compiled program, where it reads and where its result goes.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang::{self as lang, CompileError, EvalError, InputError, Inputs, Limits, Program};
use datafold_store::Keyspace;
use minicbor::{Decoder, Encoder};

use super::aggregate::Aggregate;
use super::catalogue::SchemaEntry;
use super::draft::Draft;
use super::element_input::Elements;
use super::element_output::encode_elements;
use super::error::{DataLayerError, SerializationError};
use super::ids::{CommitNumber, FieldId, SchemaId, TransformId};
use super::layout::CellPlace;
use super::record::ok;
use super::rows::FieldAddress;
use super::serialization::{RowError, SerializationHelper};
use super::transform_output::Home;
use crate::model::{
    Field, FieldKind, FieldName, RecordKey, Schema, SchemaName, TransformDefinition, Value,
    decode_lang, from_lang, to_lang,
};
use crate::planted::{Fault, is_planted};

/// What one evaluation may use. It runs where commits get their order, so that the bounds are
/// tighter than those of a query.
pub const TRANSFORM_LIMITS: Limits =
    Limits { steps: 200_000, memory_bytes: 4 << 20, output_bytes: 2 << 20 };

/// How much of what depends on a commit is computed in it; the rest is computed in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropagationLimits {
    /// Evaluations for records that the commit does not write itself.
    pub outputs: usize,
    /// Steps of all evaluations; each alone has its own limit, see [`TRANSFORM_LIMITS`].
    pub steps: u64,
}

/// 1,000 evaluations, 2,000,000 steps.
impl Default for PropagationLimits {
    fn default() -> Self {
        Self { outputs: 1_000, steps: 2_000_000 }
    }
}

/// The largest encoded value of a cell, the same on every engine.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// One evaluation may look up so many different records: each is written down with it.
pub const LOOKUPS_MAX: usize = 100;

/// At most so many records are computed by one commit of the background: little enough that a
/// writer who waits behind it hardly notices.
pub(crate) const CHUNK_RECORDS: usize = 128;

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
    /// Another revision has taken its place; it computes nothing more.
    Retired,
}

impl TransformState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TransformState::Filling => "filling",
            TransformState::Ready => "ready",
            TransformState::Retired => "retired",
        }
    }
}

/// Where an input of a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A part of the record's key.
    Key(usize),
    /// A cell of the record.
    Cell(FieldId),
    /// The elements of a field of the record.
    Elements(FieldId),
    /// A field of the record of a schema without key.
    One(Target),
    /// A field of the record with the same key.
    Same(Target),
    /// An aggregate of the transform.
    Aggregate(usize),
}

/// A field of the records of a schema, as other records read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    /// The schema that has the records.
    pub(crate) records: SchemaId,
    pub(crate) part: Part,
}

/// What is read of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// A part of its key, which it has as long as it exists.
    Key(usize),
    Cell(FieldId),
}

impl Target {
    /// The value in a record; null if the record does not exist.
    pub(crate) fn value(
        self,
        record: &Bytes,
        draft: &Draft,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        match self.part {
            _ if !draft.exists() => Ok(lang::Value::Null),
            Part::Key(at) => {
                let parts = RecordKey::from_bytes(record.clone()).values();
                let parts = parts.map_err(SerializationError::from)?;
                Ok(parts.get(at).map_or(lang::Value::Null, to_lang).into_owned())
            }
            Part::Cell(field) => match draft.value(field) {
                Some(raw) => match decode_lang(raw) {
                    Ok(value) => Ok(value.into_owned()),
                    Err(error) => {
                        let error = RowError::from(error);
                        Err(DataLayerError::row(Keyspace::Records, record, error))
                    }
                },
                None => Ok(lang::Value::Null),
            },
        }
    }
}

/// How a transform finds the record of another field that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Finder {
    /// It is the only one of its schema.
    One,
    /// It has the same key.
    Same,
    /// Its key is computed; which one it was is written down (see [`super::asked`]).
    Lookup,
    /// It is one of those that an aggregate is over.
    Group(usize),
}

/// Where a lookup of a program finds its field.
#[derive(Debug, Clone)]
pub(crate) struct LookupSource {
    pub(crate) target: Target,
    /// The schema whose key it is.
    pub(crate) schema: Arc<Schema>,
}

/// A compiled program and where its inputs and lookups are, by their slots.
#[derive(Debug, Clone)]
pub(crate) struct Logic {
    pub(crate) program: Program,
    pub(crate) sources: Box<[Source]>,
    pub(crate) lookups: Box<[LookupSource]>,
    pub(crate) aggregates: Box<[Aggregate]>,
}

/// The records that an evaluation has looked up: the schemas that have them, and their keys.
pub(crate) type Asked = BTreeSet<(SchemaId, Bytes)>;

/// Where an evaluation reads the records of others.
pub(crate) trait OtherRecords {
    /// The value that a record has there; null if it does not exist.
    fn value(&self, target: Target, record: &Bytes)
    -> Result<lang::Value<'static>, DataLayerError>;

    /// The value of an aggregate for a record, or why it has none.
    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError>;

    /// The elements of a field of the record itself.
    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError>;
}

/// What an evaluation gave, and what it took.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// The value, encoded as it is stored; `None` stands for null. Of elements it is one object.
    pub(crate) result: Result<Option<Bytes>, Evaluation>,
    pub(crate) asked: Asked,
    pub(crate) steps: u64,
}

/// The field that says how a transform computes: the one that it computes, or one of another
/// schema, whose names the logic then has.
#[derive(Debug, Clone)]
pub(crate) struct DefinedAt {
    pub(crate) id: SchemaId,
    pub(crate) schema: Arc<Schema>,
    /// The place of the field.
    pub(crate) at: usize,
}

/// A transform of an approved schema.
#[derive(Debug)]
pub struct Transform {
    /// Its number and revision.
    pub id: TransformId,
    /// The schema whose field it computes.
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
    /// Where it is defined.
    pub(crate) source: DefinedAt,
    /// What went wrong when it was compiled anew, if that is no longer possible.
    pub(crate) logic: Result<Logic, CompileError>,
}

impl Transform {
    /// The transform that the field at a place of a schema defines.
    pub(crate) fn new(
        id: TransformId,
        state: TransformState,
        (entry, at): (&SchemaEntry, usize),
        home: Home<'_>,
        logic: Result<Logic, CompileError>,
    ) -> Option<Self> {
        let field = home.entry.shape.fields.get(home.at)?;
        Some(Self {
            id,
            schema: home.entry.schema.name.clone(),
            field: field.name.clone(),
            state,
            records: home.entry.records(),
            output: home.place()?,
            shape: Arc::clone(&home.entry.shape),
            at: home.at,
            source: DefinedAt { id: entry.id, schema: Arc::clone(&entry.schema), at },
            logic,
        })
    }

    /// Whether records that were there before it are still computed.
    pub(crate) fn is_filling(&self) -> bool {
        self.state == TransformState::Filling
    }

    /// Its definition.
    #[must_use]
    pub fn definition(&self) -> Option<&TransformDefinition> {
        self.source.schema.fields.get(self.source.at)?.transform.as_ref()
    }

    /// The name of the field that it computes, `Schema.field`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.field)
    }

    /// The field of another schema that defines it, `Schema.field`.
    #[must_use]
    pub fn defined_in(&self) -> Option<String> {
        let DefinedAt { schema, at, .. } = &self.source;
        let field = schema.fields.get(*at).filter(|_| schema.name != self.schema)?;
        Some(format!("{}.{}", schema.name, field.name))
    }

    /// Whether a field of a schema defines it; without one, whether any does.
    pub(crate) fn is_defined_by(&self, schema: &SchemaName, field: Option<&FieldName>) -> bool {
        let DefinedAt { schema: source, at, .. } = &self.source;
        let found = source.fields.get(*at).map(|found| &found.name);
        source.name == *schema && (field.is_none() || found == field)
    }

    /// The cell that takes the result.
    pub(crate) fn cell(&self) -> CellPlace {
        CellPlace { schema: self.records, field: self.output }
    }

    /// Its row in the catalogue.
    pub(crate) fn row(&self, state: TransformState) -> ComputedRow {
        ComputedRow { schema: self.source.id, field: FieldId::at(self.source.at), state }
    }

    fn output_field(&self) -> Option<&Field> {
        self.shape.fields.get(self.at)
    }

    /// The fields that it reads, as `Schema.field`, in the order of the logic.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for path in self.paths() {
            let schema = path.schema.as_deref().unwrap_or(self.source.schema.name.as_str());
            let mut add = |name: String| {
                if !names.contains(&name) {
                    names.push(name);
                }
            };
            match self.aggregate_named(path) {
                Some(aggregate) => aggregate.inputs().into_iter().for_each(add),
                None => add(format!("{schema}.{}", path.field)),
            }
        }
        names
    }

    /// Its aggregates, in the order of their names.
    pub(crate) fn aggregates(&self) -> &[Aggregate] {
        self.logic.as_ref().map_or(&[], |logic| &logic.aggregates)
    }

    fn aggregate_named(&self, path: &lang::FieldPath) -> Option<&Aggregate> {
        let mut named = self.aggregates().iter();
        let is_bare = path.schema.is_none();
        named.find(|found| is_bare && found.definition.name.as_str() == path.field)
    }

    /// The fields of its own record that it reads, each once, in the order of the logic, with the
    /// schemas through which it does.
    pub(crate) fn input_fields(&self) -> Vec<(SchemaName, FieldName)> {
        let mut fields = Vec::new();
        if let Ok(logic) = &self.logic {
            for (input, source) in logic.program.inputs().iter().zip(&logic.sources) {
                let is_own =
                    matches!(source, Source::Key(_) | Source::Cell(_) | Source::Elements(_));
                let schema = match &input.path.schema {
                    Some(schema) => SchemaName::parse(schema).ok(),
                    None => Some(self.source.schema.name.clone()),
                };
                let found = schema.zip(FieldName::parse(&input.path.field).ok());
                let found = found.filter(|found| is_own && !fields.contains(found));
                fields.extend(found);
            }
        }
        fields
    }

    fn paths(&self) -> impl Iterator<Item = &lang::FieldPath> {
        self.logic.iter().flat_map(|logic| {
            let inputs = logic.program.inputs().iter().map(|input| &input.path);
            inputs.chain(logic.program.lookups().iter().map(|lookup| &lookup.path))
        })
    }

    /// Whether it reads or computes a field of that schema, which does not define it.
    pub(crate) fn names_schema(&self, schema: &SchemaName) -> bool {
        *schema != self.source.schema.name
            && (*schema == self.schema
                || self.paths().any(|path| path.schema.as_deref() == Some(schema.as_str()))
                || self.aggregates().iter().any(|found| found.definition.of == *schema))
    }

    /// Whether it reads elements of its record.
    pub(crate) fn reads_elements(&self) -> bool {
        let mut sources = self.logic.iter().flat_map(|logic| logic.sources.iter());
        sources.any(|source| matches!(source, Source::Elements(_)))
    }

    /// Whether its results are the elements of a field.
    pub(crate) fn gives_elements(&self) -> bool {
        self.output_field().is_some_and(|field| field.kind != FieldKind::Single)
    }

    /// The fields of its own record that it reads, but for parts of the key.
    pub(crate) fn cells(&self) -> impl Iterator<Item = FieldId> + '_ {
        let sources = self.logic.iter().flat_map(|logic| logic.sources.iter());
        sources.filter_map(|source| match source {
            Source::Cell(field) | Source::Elements(field) => Some(*field),
            Source::Key(_) | Source::One(_) | Source::Same(_) | Source::Aggregate(_) => None,
        })
    }

    /// What it reads of other records, and how it finds them.
    pub(crate) fn others(&self) -> impl Iterator<Item = (Finder, Target)> + '_ {
        self.logic.iter().flat_map(|logic| {
            let sources = logic.sources.iter().filter_map(|source| match source {
                Source::One(target) => Some((Finder::One, *target)),
                Source::Same(target) => Some((Finder::Same, *target)),
                Source::Key(_) | Source::Cell(_) | Source::Elements(_) | Source::Aggregate(_) => {
                    None
                }
            });
            let lookups = logic.lookups.iter().map(|lookup| (Finder::Lookup, lookup.target));
            let aggregates = logic.aggregates.iter().enumerate().flat_map(|(slot, found)| {
                let target = |part| Target { records: found.records, part };
                found.reads().into_iter().map(move |part| (Finder::Group(slot), target(part)))
            });
            sources.chain(lookups).chain(aggregates)
        })
    }

    /// Whether it looks up records, which are written down.
    pub(crate) fn looks_up(&self) -> bool {
        self.logic.as_ref().is_ok_and(|logic| !logic.lookups.is_empty())
    }

    /// Evaluates it for a record.
    ///
    /// # Errors
    ///
    /// What `others` answers: then nothing is known of the result.
    pub(crate) fn evaluate(
        &self,
        record: &Bytes,
        draft: &Draft,
        others: &dyn OtherRecords,
    ) -> Result<Evaluated, DataLayerError> {
        let logic = match &self.logic {
            Ok(logic) => logic,
            Err(error) => {
                let result = Err(Evaluation::of_compiler(error));
                return Ok(Evaluated { result, asked: Asked::new(), steps: 1 });
            }
        };
        let inputs = RecordInputs {
            transform: self,
            logic,
            record,
            key: OnceCell::new(),
            draft,
            others,
            asked: RefCell::default(),
            unread: RefCell::default(),
        };
        // A fault of the evaluator is a failure of this one field, not the end of the node.
        let run = panic::catch_unwind(AssertUnwindSafe(|| {
            if is_planted(Fault::EvaluationPanics) {
                panic::resume_unwind(Box::new("planted"));
            }
            let (result, steps) = logic.program.evaluate_counted(&inputs, &TRANSFORM_LIMITS);
            (result.map(|value| from_lang(&value)).map_err(|e| Evaluation::of_run(&e)), steps)
        }));
        let fault = |_| (Err(Evaluation::of_panic()), TRANSFORM_LIMITS.steps);
        let (value, steps) = run.unwrap_or_else(fault);
        if let Some(error) = inputs.unread.take() {
            return Err(error);
        }
        let result = value.and_then(|value| self.stored(value));
        Ok(Evaluated { result, asked: inputs.asked.take(), steps })
    }

    /// The result as it is stored.
    fn stored(&self, value: Value) -> Result<Option<Bytes>, Evaluation> {
        if value.is_null() {
            return Ok(None);
        }
        let Some(field) = self.output_field() else { return Ok(None) };
        if field.kind != FieldKind::Single {
            return encode_elements(field, value);
        }
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

/// The cells of a record and of those that it reads as the inputs of a program.
struct RecordInputs<'a> {
    transform: &'a Transform,
    logic: &'a Logic,
    record: &'a Bytes,
    key: OnceCell<Vec<Value>>,
    draft: &'a Draft,
    others: &'a dyn OtherRecords,
    asked: RefCell<Asked>,
    /// Why a row could not be read, which is no failure of the transform.
    unread: RefCell<Option<DataLayerError>>,
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

    fn other(&self, target: Target, record: &Bytes) -> Result<lang::Value<'_>, InputError> {
        self.others.value(target, record).map_err(|error| self.not_read(error))
    }

    fn known(
        &self,
        found: Result<Elements, DataLayerError>,
    ) -> Result<lang::Value<'_>, InputError> {
        match found {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(found)) => Err(InputFailed(found).into()),
            Err(error) => Err(self.not_read(error)),
        }
    }

    fn not_read(&self, error: DataLayerError) -> InputError {
        let told = error.to_string();
        *self.unread.borrow_mut() = Some(error);
        told.into()
    }
}

impl Inputs for RecordInputs<'_> {
    fn value(&self, slot: usize) -> Result<lang::Value<'_>, InputError> {
        match self.logic.sources.get(slot) {
            Some(Source::Key(at)) => self.key_part(*at),
            Some(Source::Cell(field)) => match self.draft.value(*field) {
                Some(raw) => Ok(decode_lang(raw)?),
                None => Ok(lang::Value::Null),
            },
            Some(Source::One(target)) => self.other(*target, &Bytes::new()),
            Some(Source::Same(target)) => self.other(*target, self.record),
            Some(Source::Aggregate(slot)) => {
                self.known(self.others.aggregate(self.transform, *slot, self.record))
            }
            Some(Source::Elements(field)) => match self.draft.written(*field) {
                // Where nothing is stored, a result stands in the place of a cell.
                Some(Some(raw)) => Ok(decode_lang(raw)?),
                Some(None) => Ok(to_lang(&Value::Object(BTreeMap::new())).into_owned()),
                None => {
                    let (schema, record) = (self.transform.records, &self.record[..]);
                    let at = FieldAddress { schema, record, field: *field };
                    self.known(self.others.elements(at, self.draft))
                }
            },
            None => Ok(lang::Value::Null),
        }
    }

    fn lookup(&self, slot: usize, key: &[lang::Value<'_>]) -> Result<lang::Value<'_>, InputError> {
        let Some(lookup) = self.logic.lookups.get(slot) else { return Ok(lang::Value::Null) };
        let parts: Vec<Value> = key.iter().map(from_lang).collect();
        // What is no key of that schema has no record, and never will.
        let Ok(key) = lookup.schema.key_of(&parts) else { return Ok(lang::Value::Null) };
        {
            let mut asked = self.asked.borrow_mut();
            let asks = (lookup.target.records, key.bytes().clone());
            if asked.len() >= LOOKUPS_MAX && !asked.contains(&asks) {
                let rule = format!("this looks up more than {LOOKUPS_MAX} records");
                return Err(InputFailed(Evaluation::of_result("too_many_lookups", rule)).into());
            }
            asked.insert(asks);
        }
        self.other(lookup.target, key.bytes())
    }
}

/// What an evaluation reads has no value, for a reason that has a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InputFailed(Evaluation);

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
        let cause = std::error::Error::source(error);
        let (code, message) = match cause.and_then(|cause| cause.downcast_ref::<InputFailed>()) {
            Some(InputFailed(input)) => (input.code.clone(), input.message.clone()),
            None => (found.code().into(), found.message.clone()),
        };
        Self { code, message, line: found.line, column: found.column }
    }

    fn of_compiler(error: &CompileError) -> Self {
        let place = error.diagnostics.first().map_or((0, 0), |found| (found.line, found.column));
        let message = format!("the logic can no longer be compiled: {error}");
        Self { code: error.code().into(), message, line: place.0, column: place.1 }
    }

    fn of_panic() -> Self {
        Self::of_result("panic", "the evaluation ended by a fault of this program".into())
    }

    pub(super) fn of_result(code: &'static str, message: String) -> Self {
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
            // It has a row of another kind.
            TransformState::Retired => 2,
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
