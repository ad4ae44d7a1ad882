//! Reading records from CSV and NDJSON.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use super::apply::apply;
use super::error::{FoldDbError, RequestError};
use super::fold_db::FoldDb;
use super::mutation::RecordInput;
use super::prepare::{Action, Prepared, RecordCheck, Step, approved};
use super::suggest::closest;
use crate::data_layer::internal::{Execution, Prefetch, Ticket};
use crate::data_layer::{Catalogue, CommitError, DataLayerError, SchemaEntry, WriterId};
use crate::model::{Field, SchemaName, Value};

/// The longest line of NDJSON and the longest row of CSV, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 20;
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

/// What an import did. Everything that it counts as imported is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Rows that were imported.
    pub imported: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Commits that were made.
    pub commits: u64,
    /// The first 100 refusals.
    pub errors: Vec<ImportRowError>,
}

impl FoldDb {
    /// Creates or merges one record for each row of `input`. Cells that have their value already
    /// are not written again.
    ///
    /// A row that breaks a rule is refused, reported with its line, and skipped; the others are
    /// imported. Rows become durable in batches, in order. `progress` is called after each.
    ///
    /// # Errors
    ///
    /// - [`FoldDbError::Mutation`] for an unknown or unapproved schema;
    /// - [`FoldDbError::Request`] for a header line that does not fit the schema;
    /// - [`FoldDbError::DataLayer`] when the store fails.
    ///
    /// Then some batches are durable and others are not; importing the same file again completes
    /// it.
    ///
    /// # Cost
    ///
    /// Memory for eight batches of at most 4 MiB of values and one row more.
    pub fn import(
        &self,
        schema: &SchemaName,
        input: impl Read,
        options: &ImportOptions,
        progress: impl FnMut(ImportProgress),
    ) -> Result<ImportReport, FoldDbError> {
        let catalogue = self.pool().operations().catalogue();
        let entry = approved(&catalogue, schema)?;
        let mut import = Import {
            db: self,
            options,
            progress,
            batch: Vec::new(),
            batch_bytes: 0,
            in_flight: Vec::new(),
            read: ImportProgress::default(),
            report: ImportReport::default(),
            catalogue,
            entry,
        };
        let read = without_mark(input).map_err(|error| io_error(&error)).and_then(|input| {
            match options.format {
                ImportFormat::Csv => import.csv(input),
                ImportFormat::Ndjson => import.ndjson(input),
            }
        });
        let committed = read.and_then(|()| import.commit_batch());
        // Also after an error: nothing is on its way any more when it is answered.
        let settled = import.settle();
        committed?;
        settled?;
        Ok(import.report)
    }
}

/// A row that was accepted, and the line on which it begins.
#[derive(Debug, Clone)]
struct Row {
    line: u64,
    step: Step,
}

/// A batch on its way.
#[derive(Debug)]
struct InFlight {
    rows: u64,
    ticket: Option<Arc<Ticket>>,
}

struct Import<'a, P> {
    db: &'a FoldDb,
    options: &'a ImportOptions,
    catalogue: Arc<Catalogue>,
    entry: Arc<SchemaEntry>,
    progress: P,
    batch: Vec<Row>,
    batch_bytes: usize,
    /// Batches that are not known to be durable.
    in_flight: Vec<InFlight>,
    read: ImportProgress,
    report: ImportReport,
}

impl<P: FnMut(ImportProgress)> Import<'_, P> {
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
                Ok(record) => self.record(line, &record)?,
                Err(message) => self.refuse(line, message)?,
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
                    .unwrap_or_default();
                let rule = format!("`{}` has no field `{name}`{hint}", schema.name);
                return Err(refuse(rule).into());
            };
            if fields.iter().any(|earlier| earlier.name == field.name) {
                return Err(refuse(format!("the column `{name}` is there twice")).into());
            }
            fields.push(field.clone());
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
                match &field.value {
                    Some(schema) => schema
                        .coerce_text(text)
                        .map_err(|error| format!("{}: {error}", field.name))?,
                    None => Value::Text(text.to_owned()),
                }
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
            if read == 0 {
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
            match Value::parse_json(text) {
                Ok(Value::Object(record)) => self.record(number, &record)?,
                Ok(other) => {
                    let message = format!("a row must be an object, not {}", other.type_name());
                    self.refuse(number, message)?;
                }
                Err(error) => self.refuse(number, json_error(&error))?,
            }
        }
        Ok(())
    }

    fn record(&mut self, line: u64, record: &RecordInput) -> Result<(), FoldDbError> {
        let place = &|| format!("of line {line}");
        let check = RecordCheck { catalogue: &self.catalogue, entry: &self.entry, place };
        match check.step(record, |writes| Action::Import { writes }) {
            Ok(step) => {
                self.batch_bytes += step.value_bytes();
                self.batch.push(Row { line, step });
                self.read.rows += 1;
                self.batch_if_full()
            }
            Err(error) => self.refuse(line, error.to_string()),
        }
    }

    fn refuse(&mut self, line: u64, message: String) -> Result<(), FoldDbError> {
        self.read.rows += 1;
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

    fn batch_if_full(&mut self) -> Result<(), FoldDbError> {
        if self.batch.len() >= self.options.batch_rows.max(1) || self.batch_bytes >= BATCH_BYTES_MAX
        {
            self.commit_batch()?;
        }
        Ok(())
    }

    fn commit_batch(&mut self) -> Result<(), FoldDbError> {
        self.batch_bytes = 0;
        let rows = std::mem::take(&mut self.batch);
        if !rows.is_empty() {
            self.commit(rows)?;
        }
        (self.progress)(self.read);
        Ok(())
    }

    /// Commits some rows at once, or in halves if that would be too much for one commit.
    fn commit(&mut self, mut rows: Vec<Row>) -> Result<(), FoldDbError> {
        match self.try_commit(&rows) {
            Ok(ticket) => self.in_flight.push(InFlight { rows: rows.len() as u64, ticket }),
            Err(FoldDbError::DataLayer(DataLayerError::Commit(
                error @ CommitError::TooLarge { .. },
            ))) => {
                if let [row] = rows.as_slice() {
                    self.note_refusal(row.line, error.to_string());
                    return Ok(());
                }
                let rest = rows.split_off(rows.len() / 2);
                self.commit(rows)?;
                return self.commit(rest);
            }
            Err(error) => return Err(error),
        }
        if self.in_flight.len() >= BATCHES_IN_FLIGHT {
            self.settle()?;
        }
        Ok(())
    }

    fn try_commit(&self, rows: &[Row]) -> Result<Option<Arc<Ticket>>, FoldDbError> {
        let pipeline = self.db.pool().operations().pipeline();
        let records = rows.iter().flat_map(|row| row.step.records());
        let prefetch = Prefetch::read(pipeline.published(), pipeline.rows, records)?;
        let steps = rows.iter().map(|row| row.step.clone()).collect();
        let prepared = Prepared { preconditions: Vec::new(), steps };
        let run = |execution: &mut Execution<'_>| apply(&mut execution.editor(), &prepared);
        pipeline.execute_buffered(WriterId::OWNER, &prefetch, run)
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
        }
        Ok(())
    }
}

fn json_error(error: &crate::model::JsonError) -> String {
    format!("column {}: {}", error.column, error.rule)
}

/// The input without the byte order mark that some programs begin a file with.
fn without_mark(mut input: impl Read) -> io::Result<impl Read> {
    let mut start = Vec::with_capacity(MARK.len());
    input.by_ref().take(MARK.len() as u64).read_to_end(&mut start)?;
    if start == MARK {
        start.clear();
    }
    Ok(io::Cursor::new(start).chain(input))
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Counts the lines of an input that is read ahead, to tell on which a row begins: the parser's
/// own position is before the blank lines that it skips.
struct Lines<R> {
    input: R,
    /// What was read behind the last row.
    ahead: VecDeque<u8>,
    /// The place of `ahead` in the input, and its line.
    offset: u64,
    line: u64,
}

impl<R> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, ahead: VecDeque::new(), offset: 0, line: 1 }
    }

    /// The line on which the row begins that ends at a place in the input.
    fn row_ends(&mut self, end: u64) -> u64 {
        let bytes = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut begin = None;
        for byte in self.ahead.drain(..bytes.min(self.ahead.len())) {
            if begin.is_none() && !matches!(byte, b'\n' | b'\r') {
                begin = Some(self.line);
            }
            self.line += u64::from(byte == b'\n');
        }
        self.offset = end;
        begin.unwrap_or(self.line)
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ahead.len() as u64 >= LINE_BYTES_MAX {
            let line = self.line;
            return Err(io::Error::other(format!(
                "the row behind line {line} is longer than {LINE_BYTES_MAX} bytes; \
                 is a quote not closed?"
            )));
        }
        let read = self.input.read(out)?;
        self.ahead.extend(out.iter().take(read));
        Ok(read)
    }
}

fn csv_error(error: &csv::Error) -> FoldDbError {
    RequestError::new("input", error.to_string()).into()
}

fn io_error(error: &io::Error) -> FoldDbError {
    RequestError::new("input", error.to_string()).into()
}
