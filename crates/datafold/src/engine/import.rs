//! Reading records from CSV and NDJSON.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::apply::apply;
use super::error::{FoldDbError, RequestError};
use super::fold_db::FoldDb;
use super::lines::{LINE_BYTES_MAX, Lines, without_mark};
use super::mutation::RecordInput;
use super::prepare::{Action, Prepared, Step, approved};
use super::record_check::RecordCheck;
use super::suggest::closest;
use crate::data_layer::internal::{Execution, Ticket};
use crate::data_layer::{CommitError, DataLayerError, SchemaCore, SchemaEntry, WriterId};
use crate::model::{Field, FieldKind, FieldName, SchemaName, Value};

/// After this many batches an import waits until they are durable.
const BATCHES_IN_FLIGHT: usize = 8;
/// A batch ends behind the row that reaches this many bytes of values.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// At most this many row errors are kept; the others are counted.
const ROW_ERRORS_MAX: usize = 100;

/// The format of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// Comma-separated values; the first line names the fields.
    ///
    /// Cells are converted to the types of the fields. Source: RFC 4180.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// How rows are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The format of the rows.
    pub format: ImportFormat,
    /// Rows that become one commit; halved where a commit would be too large. Default: 1,000.
    pub batch_rows: usize,
    /// CSV cells with one of these texts are null. Default: none.
    pub nulls: Vec<String>,
}

impl ImportOptions {
    /// The defaults for a format.
    #[must_use]
    pub fn new(format: ImportFormat) -> Self {
        Self { format, batch_rows: 1_000, nulls: Vec::new() }
    }
}

/// How far an import is, told after each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that had all their values already.
    pub unchanged: u64,
    /// Rows that were refused.
    pub refused: u64,
}

/// A row that was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRowError {
    /// The line on which the row begins, from 1 on.
    pub line: u64,
    /// What is wrong.
    pub message: String,
}

/// What an import did. Everything that it counts as imported or unchanged is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Rows that created a record or changed one.
    pub imported: u64,
    /// Rows that had all their values already, such as those of an earlier run.
    pub unchanged: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Commits that were made.
    pub commits: u64,
    /// The first 100 refusals.
    pub errors: Vec<ImportRowError>,
    /// Whether it was stopped before the end of the input.
    pub stopped: bool,
    /// The computed fields that rows had values for. These were passed over.
    pub computed: BTreeSet<FieldName>,
}

/// Why an import ended early, and what it had done until then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ImportError {
    /// What is known to be durable, and the rows that were refused. A batch that is not counted
    /// can be there all the same if the outcome of its commit is not known.
    pub report: Box<ImportReport>,
    /// Why.
    #[source]
    pub error: Box<FoldDbError>,
}

impl From<ImportError> for FoldDbError {
    fn from(error: ImportError) -> Self {
        *error.error
    }
}

impl FoldDb {
    /// Creates or merges one record for each row of `input`. Cells that have their value already
    /// are not written again. A null takes the value of a Single field away; elements stay.
    ///
    /// What a row says of a computed field is passed over: it follows from the others.
    ///
    /// A row that breaks a rule is refused, reported with its line, and skipped; the others are
    /// imported. Rows become durable in batches, in order. `progress` is called after each, and
    /// stops the import when it breaks.
    ///
    /// # Errors
    ///
    /// An [`ImportError`] with what was done until then, because of
    ///
    /// - [`FoldDbError::Mutation`] for an unknown or unapproved schema;
    /// - [`FoldDbError::Request`] for a header line that does not fit the schema, and for input
    ///   that cannot be read;
    /// - [`FoldDbError::DataLayer`] when the store fails.
    ///
    /// Importing the same input again completes it, also after it was stopped: rows that are
    /// there already are passed over and write nothing.
    ///
    /// # Cost
    ///
    /// Memory for eight batches of at most 4 MiB of values and one row more.
    pub fn import(
        &self,
        schema: &SchemaName,
        input: impl Read,
        options: &ImportOptions,
        progress: impl FnMut(ImportProgress) -> ControlFlow<()>,
    ) -> Result<ImportReport, ImportError> {
        let catalogue = self.pool().operations().catalogue();
        let entry = approved(&catalogue, schema).map_err(|error| {
            let report = Box::default();
            ImportError { report, error: Box::new(error.into()) }
        })?;
        let computed = entry
            .fields()
            .filter(|(place, field)| field.transform.is_some() || catalogue.is_computed(*place));
        let computed = computed.map(|(_, field)| field.name.clone()).collect();
        let mut import = Import {
            db: self,
            options,
            progress,
            batch: Vec::new(),
            batch_rows: 0,
            batch_bytes: 0,
            in_flight: Vec::new(),
            read: ImportProgress::default(),
            report: ImportReport::default(),
            computed,
            catalogue,
            entry,
        };
        let read = without_mark(input).map_err(|error| io_error(&error)).and_then(|input| {
            match options.format {
                ImportFormat::Csv => import.csv(input),
                ImportFormat::Ndjson => import.ndjson(input),
            }
        });
        // Rows that were read before the input failed are rows all the same.
        let committed = import.commit_batch();
        // Also after an error: nothing is on its way any more when it is answered.
        let settled = import.settle();
        let done = read.and(committed).and(settled);
        let report = import.report;
        done.map(|()| report.clone()).map_err(|error| {
            let report = Box::new(report);
            ImportError { report, error: Box::new(error) }
        })
    }
}

/// A row that was accepted, and the line on which it begins.
#[derive(Debug)]
struct Row {
    line: u64,
    step: Step,
}

/// A batch on its way.
#[derive(Debug)]
struct InFlight {
    rows: u64,
    unchanged: u64,
    ticket: Option<Arc<Ticket>>,
}

struct Import<'a, P> {
    db: &'a FoldDb,
    options: &'a ImportOptions,
    catalogue: Arc<SchemaCore>,
    entry: Arc<SchemaEntry>,
    computed: Box<[FieldName]>,
    progress: P,
    batch: Vec<Row>,
    /// Rows that were read since the last batch, refused ones too.
    batch_rows: usize,
    batch_bytes: usize,
    /// Batches that are not known to be durable.
    in_flight: Vec<InFlight>,
    read: ImportProgress,
    report: ImportReport,
}

impl<P: FnMut(ImportProgress) -> ControlFlow<()>> Import<'_, P> {
    fn csv(&mut self, input: impl Read) -> Result<(), FoldDbError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Lines::new(input));
        let header = reader.headers().map_err(|error| csv_error(&error))?.clone();
        let end = reader.position().byte();
        reader.get_mut().row_ends(end);
        let fields = self.header(&header)?;
        let mut row = csv::ByteRecord::new();
        while reader.read_byte_record(&mut row).map_err(|error| csv_error(&error))? {
            let end = reader.position().byte();
            let line = reader.get_mut().row_ends(end);
            match self.csv_record(&fields, &row) {
                Ok(record) => self.record(line, record)?,
                Err(message) => self.refuse(line, message)?,
            }
            if self.report.stopped {
                break;
            }
        }
        Ok(())
    }

    /// The field of each column.
    fn header(&self, header: &csv::StringRecord) -> Result<Vec<Field>, FoldDbError> {
        let schema = &self.entry.shape;
        let mut fields: Vec<Field> = Vec::with_capacity(header.len());
        for name in header {
            let refuse = |rule: String| RequestError::new("line 1", rule);
            let Some(field) = schema.fields.iter().find(|field| field.name.as_str() == name) else {
                let names = schema.fields.iter().map(|field| &field.name);
                let hint = closest(name, names)
                    .map(|name| format!("; did you mean `{name}`?"))
                    .unwrap_or_else(|| format_hint(name).to_owned());
                let rule = format!("`{}` has no field `{name}`{hint}", schema.name);
                return Err(refuse(rule).into());
            };
            if fields.iter().any(|earlier| earlier.name == field.name) {
                return Err(refuse(format!("the column `{name}` is there twice")).into());
            }
            fields.push(field.clone());
        }
        // Without a header there are no rows either.
        let has_column = |key: &&FieldName| fields.iter().any(|field| field.name == **key);
        if let Some(key) = schema.key.iter().find(|key| !has_column(key))
            && !header.is_empty()
        {
            let rule = format!("the key field `{key}` of `{}` has no column", schema.name);
            return Err(RequestError::new("line 1", rule).into());
        }
        Ok(fields)
    }

    fn csv_record(&self, fields: &[Field], row: &csv::ByteRecord) -> Result<RecordInput, String> {
        if row.len() != fields.len() {
            let (cells, columns) = (row.len(), fields.len());
            return Err(format!("the row has {cells} cells, the header has {columns}"));
        }
        let mut record = BTreeMap::new();
        for (field, text) in fields.iter().zip(row) {
            let text = std::str::from_utf8(text).map_err(|_| "the row is not UTF-8")?;
            let value = if self.options.nulls.iter().any(|null| null == text) {
                Value::Null
            } else {
                cell_value(field, text).map_err(|error| format!("{}: {error}", field.name))?
            };
            record.insert(field.name.to_string(), value);
        }
        Ok(record)
    }

    fn ndjson(&mut self, input: impl Read) -> Result<(), FoldDbError> {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let read = read.map_err(|error| io_error(&error))?;
            if read == 0 || self.report.stopped {
                return Ok(());
            }
            if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                let rule = format!("is longer than {LINE_BYTES_MAX} bytes");
                return Err(RequestError::new(format!("line {number}"), rule).into());
            }
            let Ok(text) = std::str::from_utf8(&line) else {
                self.refuse(number, "the line is not UTF-8".into())?;
                continue;
            };
            if text.trim().is_empty() {
                continue;
            }
            match Value::parse_json(text.trim_end_matches(['\r', '\n'])) {
                Ok(Value::Object(record)) => self.record(number, record)?,
                Ok(other) => {
                    let message = format!("a row must be an object, not {}", other.type_name());
                    self.refuse(number, message)?;
                }
                Err(error) => self.refuse(number, json_error(&error))?,
            }
        }
        Ok(())
    }

    fn record(&mut self, line: u64, mut record: RecordInput) -> Result<(), FoldDbError> {
        for field in &*self.computed {
            if record.remove(field.as_str()).is_some() && !self.report.computed.contains(field) {
                self.report.computed.insert(field.clone());
            }
        }
        let place = &|| format!("of line {line}");
        let check = RecordCheck { catalogue: &self.catalogue, entry: &self.entry, place };
        match check.step(&record, |writes| Action::Import { writes }) {
            Ok(step) => {
                self.batch_bytes += step.value_bytes();
                self.batch.push(Row { line, step });
                self.batch_if_full()
            }
            Err(error) => self.refuse(line, error.to_string()),
        }
    }

    fn refuse(&mut self, line: u64, message: String) -> Result<(), FoldDbError> {
        self.note_refusal(line, message);
        self.batch_if_full()
    }

    fn note_refusal(&mut self, line: u64, message: String) {
        self.read.refused += 1;
        self.report.refused += 1;
        if self.report.errors.len() < ROW_ERRORS_MAX {
            self.report.errors.push(ImportRowError { line, message });
        }
    }

    /// Counts the row that was read; commits the batch that it completes. Refused rows count too,
    /// so that an import of nothing else also tells how far it is and can be stopped.
    fn batch_if_full(&mut self) -> Result<(), FoldDbError> {
        self.read.rows += 1;
        self.batch_rows += 1;
        if self.batch_rows >= self.options.batch_rows.max(1) || self.batch_bytes >= BATCH_BYTES_MAX
        {
            self.commit_batch()?;
        }
        Ok(())
    }

    fn commit_batch(&mut self) -> Result<(), FoldDbError> {
        (self.batch_rows, self.batch_bytes) = (0, 0);
        let rows = std::mem::take(&mut self.batch);
        if !rows.is_empty() {
            let (lines, steps) = rows.into_iter().map(|row| (row.line, row.step)).unzip();
            self.commit(lines, Prepared { preconditions: Vec::new(), steps })?;
        }
        self.report.stopped |= (self.progress)(self.read).is_break();
        Ok(())
    }

    /// Commits the rows of some lines at once, or in halves if that would be too much for one
    /// commit, or to find the row that has the values of another record in a unique index, or of
    /// which a field cannot be computed.
    fn commit(&mut self, mut lines: Vec<u64>, mut rows: Prepared) -> Result<(), FoldDbError> {
        match self.try_commit(&rows) {
            Ok((unchanged, ticket)) => {
                self.read.unchanged += unchanged;
                let rows = (lines.len() as u64).saturating_sub(unchanged);
                self.in_flight.push(InFlight { rows, unchanged, ticket });
            }
            Err(FoldDbError::DataLayer(DataLayerError::Commit(
                error @ (CommitError::TooLarge { .. }
                | CommitError::Duplicate { .. }
                | CommitError::NotComputed { .. }),
            ))) => {
                if let [line] = lines.as_slice() {
                    self.note_refusal(*line, error.to_string());
                    return Ok(());
                }
                let half = lines.len() / 2;
                let rest = lines.split_off(half);
                let steps = rows.steps.split_off(half);
                self.commit(lines, rows)?;
                return self.commit(rest, Prepared { preconditions: Vec::new(), steps });
            }
            Err(error) => return Err(error),
        }
        if self.in_flight.len() >= BATCHES_IN_FLIGHT {
            self.settle()?;
        }
        Ok(())
    }

    /// Answers how many rows had all their values already, and what to wait on.
    fn try_commit(&self, prepared: &Prepared) -> Result<(u64, Option<Arc<Ticket>>), FoldDbError> {
        let pipeline = self.db.pool().operations().pipeline();
        let prefetch = prepared.prefetch(pipeline, pipeline.published())?;
        // The pipeline may execute it several times; the last one counts.
        let unchanged = Cell::new(0);
        let run = |execution: &mut Execution<'_>| {
            unchanged.set(apply(&mut execution.editor(), prepared)?);
            Ok::<_, FoldDbError>(())
        };
        let ticket = pipeline.execute_buffered(WriterId::OWNER, &prefetch, run)?;
        Ok((unchanged.get(), ticket))
    }

    /// Waits until everything committed so far is durable, and counts it.
    fn settle(&mut self) -> Result<(), FoldDbError> {
        let pipeline = self.db.pool().operations().pipeline();
        for batch in std::mem::take(&mut self.in_flight) {
            if let Some(ticket) = batch.ticket {
                pipeline.wait(&ticket).map_err(DataLayerError::from)?;
                self.report.commits += 1;
            }
            self.report.imported += batch.rows;
            self.report.unchanged += batch.unchanged;
        }
        Ok(())
    }
}

/// What a header that names no field may be instead.
fn format_hint(name: &str) -> &'static str {
    match name {
        name if name.trim_start().starts_with('{') => "; NDJSON has no header: is it that format?",
        name if name.contains([';', '\t']) => "; columns are divided by commas",
        _ => "",
    }
}

/// The value of a cell of a CSV file; elements stand there as JSON.
fn cell_value(field: &Field, text: &str) -> Result<Value, String> {
    match (field.kind, text) {
        (FieldKind::Single, _) => field.coerce_text(text).map_err(|error| error.to_string()),
        (_, "") => Ok(Value::Null),
        (_, json) => Value::parse_json(json).map_err(|error| json_error(&error)),
    }
}

fn json_error(error: &crate::model::JsonError) -> String {
    format!("column {}: {}", error.column, error.rule)
}

fn csv_error(error: &csv::Error) -> FoldDbError {
    RequestError::new("input", error.to_string()).into()
}

fn io_error(error: &io::Error) -> FoldDbError {
    RequestError::new("input", error.to_string()).into()
}
