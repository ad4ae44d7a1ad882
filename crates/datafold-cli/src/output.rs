//! Results on standard output, notes on standard error.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};

use clap::ValueEnum;
use datafold::model::Value;
use flate2::write::GzEncoder;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Done;
use crate::failure::Failure;
use crate::harmless::harmless;
use crate::table::Table;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An aligned table
    Table,
    /// One JSON value
    Json,
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values with a header line
    Csv,
}

/// Where results go to.
pub(crate) trait Sink: Write {
    /// Writes what is still to come, so that all of it is kept.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl Sink for Stdout {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl Sink for File {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.sync_all()
    }
}

impl Sink for GzEncoder<BufWriter<File>> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let file = GzEncoder::finish(*self)?.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()
    }
}

/// Standard output, or a file.
pub(crate) struct Out {
    writer: BufWriter<Box<dyn Sink>>,
}

impl Out {
    /// Takes standard output; it is flushed by [`Out::flush`].
    pub(crate) fn new() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    /// Writes there.
    pub(crate) fn to(sink: Box<dyn Sink>) -> Self {
        Self { writer: BufWriter::with_capacity(64 << 10, sink) }
    }

    /// Ends the output; what was written is kept then.
    pub(crate) fn finish(self) -> Done {
        let sink = self.writer.into_inner().map_err(|error| error.into_error());
        sink.and_then(Sink::finish).map_err(|error| Failure::output(&error))
    }

    /// Writes text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Done {
        self.writer.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Display) -> Done {
        writeln!(self.writer, "{line}").map_err(|error| Failure::output(&error))
    }

    /// Writes a value as JSON, without a line break.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Done {
        serde_json::to_writer(&mut self.writer, value)
            .map_err(|error| Failure::output(&error.into()))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Done {
        self.json(value)?;
        self.text("\n")
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Done {
        self.writer.flush().map_err(|error| Failure::output(&error))
    }
}

/// Prints a line to standard error. Nobody can be told if that fails.
pub(crate) fn note(line: impl Display) {
    // At once, so that what other programs print stands not in the middle of it.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Prints a dim line to standard error.
pub(crate) fn footer(line: impl Display) {
    let line = harmless(&line.to_string());
    note(console::style(line).for_stderr().dim());
}

/// Rows with named columns, printed one by one in any format.
pub(crate) struct RowWriter<'o> {
    out: &'o mut Out,
    columns: Vec<String>,
    form: Form,
    /// What stands before the rows, until it is printed with the first of them or with the end: a
    /// request that is refused prints nothing.
    head: String,
}

#[derive(Debug)]
enum Form {
    Table(Table),
    /// The elements of a JSON array, and whether there is none yet.
    Json(bool),
    Ndjson,
    Csv,
}

impl<'o> RowWriter<'o> {
    /// Begins to print.
    pub(crate) fn begin(
        out: &'o mut Out,
        format: Format,
        columns: Vec<String>,
    ) -> Result<Self, Failure> {
        let (form, head) = match format {
            Format::Table => (Form::Table(Table::new(&columns)), String::new()),
            Format::Json => (Form::Json(true), "[".to_owned()),
            Format::Ndjson => (Form::Ndjson, String::new()),
            Format::Csv => {
                let header: Vec<_> = columns.iter().map(String::as_str).collect();
                (Form::Csv, csv_line(&header)?)
            }
        };
        Ok(Self { out, columns, form, head })
    }

    /// The rows as a member of an object, of which this is the part before them, if they are
    /// printed as JSON.
    pub(crate) fn behind(mut self, text: &str) -> Self {
        if let Form::Json(_) = self.form {
            self.head.insert_str(0, text);
        }
        self
    }

    fn open(&mut self) -> Done {
        self.out.text(&std::mem::take(&mut self.head))
    }

    /// Begins a table whose lines stand back by so many blanks.
    pub(crate) fn begin_table(out: &'o mut Out, columns: Vec<String>, indent: usize) -> Self {
        let form = Form::Table(Table::new(&columns).indent(indent));
        Self { out, columns, form, head: String::new() }
    }

    /// Prints a row, with one value a column.
    pub(crate) fn row(&mut self, values: &[Value]) -> Done {
        self.open()?;
        match &mut self.form {
            Form::Table(table) => table.row(self.out, values),
            Form::Json(first) => {
                self.out.text(if *first { "\n" } else { ",\n" })?;
                *first = false;
                self.out.json(&Object { columns: &self.columns, values })
            }
            Form::Ndjson => self.out.json_line(&Object { columns: &self.columns, values }),
            Form::Csv => {
                let cells: Vec<_> = values.iter().map(csv_cell).collect();
                let line = csv_line(&cells)?;
                self.out.text(&line)
            }
        }
    }

    /// Hands the rows that were printed to the operating system. Of a table, the widths of the
    /// columns are those of these rows from now on.
    pub(crate) fn flush(&mut self) -> Done {
        self.open()?;
        if let Form::Table(table) = &mut self.form {
            table.settle(self.out)?;
        }
        self.out.flush()
    }

    /// Ends the output; answers the columns that the terminal had no room for.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, Failure> {
        self.open()?;
        match self.form {
            Form::Table(table) => table.finish(self.out),
            Form::Json(empty) => {
                self.out.text(if empty { "]" } else { "\n]" })?;
                Ok(Vec::new())
            }
            Form::Ndjson | Form::Csv => Ok(Vec::new()),
        }
    }
}

/// Prints all rows at once, in any format.
pub(crate) fn print_rows(
    out: &mut Out,
    format: Format,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
) -> Done {
    let columns = columns.iter().map(|&column| column.to_owned()).collect();
    let mut writer = RowWriter::begin(out, format, columns)?;
    for row in rows {
        writer.row(&row)?;
    }
    let hidden = writer.finish()?;
    if format == Format::Json {
        out.text("\n")?;
    }
    out.flush()?;
    tell_hidden(&hidden);
    Ok(())
}

/// Names the columns that a terminal had no room for.
pub(crate) fn tell_hidden(hidden: &[String]) {
    if !hidden.is_empty() {
        let (more, names) = (counted(hidden.len() as u64, "more column"), hidden.join(", "));
        footer(format_args!("no room for {more}: {names}"));
    }
}

/// The members of a row, in the order of the columns.
struct Object<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(self.values) {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}

/// A value as a cell: null is empty, text is as it is, everything else is JSON.
fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => plain(value),
    }
}

/// A value for people: text without quotes, everything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Time(time) => time.to_string(),
        value => value.to_json(),
    }
}

/// A line of CSV. Source: RFC 4180, with a line feed at the end.
fn csv_line(cells: &[impl AsRef<[u8]>]) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(cells).map_err(io::Error::from);
    let line = written.and_then(|()| writer.into_inner().map_err(|error| error.into_error()));
    let text = line.and_then(|line| String::from_utf8(line).map_err(io::Error::other));
    text.map_err(|error| Failure::output(&error))
}

/// A number with a comma at each thousand.
pub(crate) struct Count(pub(crate) u64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A number of things, in the singular or plural: `1 row`, `27,004 rows`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", Count(count), if count == 1 { "" } else { "s" })
}

/// A number of a counter as a value.
pub(crate) fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (27_004, "27,004"), (1 << 20, "1,048,576")]
        {
            assert_eq!(Count(number).to_string(), text);
        }
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1_200, "row"), "1,200 rows");
    }

    #[test]
    fn cells_of_csv_are_quoted_where_needed() {
        let values = ["a,b".into(), Value::Null, 1.into(), vec![1, 2].into(), "say \"x\"".into()];
        let cells: Vec<_> = values.iter().map(csv_cell).collect();
        let line = "\"a,b\",,1,\"[1,2]\",\"say \"\"x\"\"\"\n";
        assert_eq!(csv_line(&cells).unwrap(), line);
        assert_eq!(csv_line(&[""]).unwrap(), "\"\"\n");
    }
}
