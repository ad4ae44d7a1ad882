//! `import`: records from CSV and NDJSON.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use datafold::FoldDbError;
use datafold::data_layer::PoolOptions;
use datafold::engine::{ErrorClass, ImportFormat, ImportOptions, ImportReport, ImportRowError};
use datafold::model::{SchemaName, Value};

use super::input;
use crate::Done;
use crate::args::{ImportArgs, InputFormat};
use crate::failure::{Exit, Failure, told};
use crate::interrupt::Interrupt;
use crate::invocation::Invocation;
use crate::output::{Count, Format, Out, counted, int, note, print_rows};
use crate::progress::{Progress, rate};
use crate::session::Session;

/// So many refused rows of a file are described.
const ERRORS_SHOWN: usize = 20;
/// What Ctrl-C is answered.
const STOPPING: &str = "stopping behind the rows that were read; Ctrl-C once more ends at once";
/// What is true of every import that ended early.
const AGAIN: &str = "the same command goes on: rows that are there are passed over";

/// Imports files, one after the other.
pub(crate) fn run(args: &ImportArgs, invocation: &Invocation) -> Done {
    let files = files_of(args)?;
    // Rows that come in any order change pages all over the store.
    let session = Session::open_with(invocation, PoolOptions::default())?;
    let mut run =
        Run { args, session: &session, stop: Interrupt::watch(STOPPING)?, files: Vec::new() };
    for (file, format) in &files {
        if run.file(file, *format)?.is_break() {
            break;
        }
    }
    run.print()?;
    let failure = run.failure(files.len());
    // Why an import failed says more than how the store closed after it.
    let closed = session.close();
    failure.map_or(closed, Err)
}

/// The files and their formats.
fn files_of(args: &ImportArgs) -> Result<Vec<(PathBuf, ImportFormat)>, Failure> {
    if args.files.iter().filter(|file| input::is_stdin(file)).count() > 1 {
        let message = "standard input (`-`) is named twice and can be read once";
        return Err(Failure::new(Exit::Usage, message).hint("name it once, or put files together"));
    }
    let format = |file: &PathBuf| Ok((file.clone(), format_of(file, args.input_format)?));
    args.files.iter().map(format).collect()
}

/// An import of several files.
struct Run<'a> {
    args: &'a ImportArgs,
    session: &'a Session<'a>,
    stop: Interrupt,
    files: Vec<FileReport>,
}

/// What became of a file.
struct FileReport {
    name: String,
    report: ImportReport,
    failure: Option<Failure>,
}

impl Run<'_> {
    /// Imports a file; breaks if there is no use in going on with the next.
    fn file(&mut self, path: &Path, format: ImportFormat) -> Result<ControlFlow<()>, Failure> {
        let name = input::name_of(path);
        let opened = input::open(path);
        let options = ImportOptions {
            batch_rows: self.args.batch.get(),
            nulls: self.args.null.clone(),
            ..ImportOptions::new(format)
        };
        let (done, is_named) = match opened {
            Ok((file, size)) => {
                (import(self.session, &self.args.schema, file, size, &options, &self.stop), false)
            }
            Err(failure) => (Imported { failure: Some(failure), ..Imported::default() }, true),
        };
        if let (Some(failure), None, true) = (&done.failure, &done.summary, done.is_hopeless) {
            // It is the schema, so there is nothing to say of the file.
            return Err(failure.clone());
        }
        tell_refused(&name, &done.report);
        for field in &done.report.computed {
            note(format_args!("{name}: `{field}` is computed; its values were passed over"));
        }
        match &done.summary {
            Some(summary) if self.args.files.len() > 1 => note(format_args!("{name}: {summary}")),
            Some(summary) => note(summary),
            None => {}
        }
        let refused = done.report.refused;
        let failure = match done.failure {
            Some(failure) if is_named => Some(failure),
            Some(failure) => Some(failure.at(&name)),
            None if done.report.stopped => {
                let failure = Failure::new(Exit::Interrupted, format!("{name}: interrupted"));
                Some(failure.hint(AGAIN))
            }
            None if refused > 0 => {
                let message = format!("{} of {name} not imported", counted(refused, "row"));
                let failure = Failure::new(Exit::Invalid, message);
                Some(failure.hint("mend these rows and import them; the others are there"))
            }
            None => None,
        };
        let is_last = done.is_hopeless || done.report.stopped;
        self.files.push(FileReport { name, report: done.report, failure });
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Prints what became of each file.
    fn print(&self) -> Done {
        let format = self.session.invocation.format;
        let mut columns = vec!["file", "imported", "unchanged", "refused", "commits"];
        let with_errors = matches!(format, Format::Json | Format::Ndjson);
        if with_errors {
            columns.extend(["stopped", "errors", "failure"]);
        }
        let row = |file: &FileReport| {
            let report = &file.report;
            let counts = [report.imported, report.unchanged, report.refused, report.commits];
            let mut row = vec![file.name.as_str().into()];
            row.extend(counts.map(int));
            if with_errors {
                let errors: Vec<Value> = report.errors.iter().map(error_value).collect();
                let failure = file.failure.as_ref().map(|failure| failure.message().to_owned());
                row.extend([report.stopped.into(), Value::Array(errors), failure.into()]);
            }
            row
        };
        print_rows(&mut Out::new(), format, &columns, self.files.iter().map(row).collect())
    }

    /// Why not everything is imported, if so. The exit code is that of the first failure.
    fn failure(mut self, total: usize) -> Option<Failure> {
        let left = total - self.files.len();
        let mut failures: Vec<_> = self.files.iter_mut().filter_map(|f| f.failure.take()).collect();
        let untouched = match left {
            0 => String::new(),
            left => format!("; {} not begun", counted(left as u64, "file")),
        };
        if failures.len() == 1 {
            return failures.pop().map(|failure| failure.behind(&untouched));
        }
        let first = failures.first()?;
        for failure in &failures {
            note(told(failure.message()));
        }
        let message = format!("{} of {total} files not imported whole{untouched}", failures.len());
        Some(Failure::new(first.exit(), message).hint(AGAIN))
    }
}

/// A refused row as a value.
fn error_value(error: &ImportRowError) -> Value {
    let members = [
        ("line".to_owned(), int(error.line)),
        ("message".to_owned(), error.message.as_str().into()),
    ];
    Value::Object(BTreeMap::from(members))
}

/// Tells the first rows that were refused.
fn tell_refused(name: &str, report: &ImportReport) {
    for error in report.errors.iter().take(ERRORS_SHOWN) {
        note(told(&format!("{name}:{}: {}", error.line, error.message)));
    }
    let shown = report.errors.len().min(ERRORS_SHOWN) as u64;
    if report.refused > shown {
        note(format_args!("… and {} more", Count(report.refused - shown)));
    }
}

/// What an import did.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// Also when it failed.
    pub(crate) report: ImportReport,
    /// The report in one line, if there was something to do.
    pub(crate) summary: Option<String>,
    /// Why it ended early.
    pub(crate) failure: Option<Failure>,
    /// Whether the next input would fail as well.
    is_hopeless: bool,
}

/// Imports what can be read, with progress.
pub(crate) fn import(
    session: &Session<'_>,
    schema: &SchemaName,
    file: impl Read + 'static,
    size: Option<u64>,
    options: &ImportOptions,
    stop: &Interrupt,
) -> Imported {
    let mut shown = Progress::begin(schema.as_str(), size);
    let input = match input::unpack(shown.count(file)) {
        Ok(input) => input,
        Err(error) => {
            let failure = Some(Failure::io("input", &error));
            return Imported { failure, ..Imported::default() };
        }
    };
    let (input, unread) = input::watch(input);
    let answer = session.db.import(schema, input, options, |progress| {
        shown.show(progress);
        if stop.is_wanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let time = shown.finish();
    let (report, error) = match answer {
        Ok(report) => (report, None),
        Err(error) => (*error.report, Some(*error.error)),
    };
    let summary = summary(schema, &report, time);
    let Some(error) = error else {
        return Imported { report, summary: Some(summary), ..Imported::default() };
    };
    let is_data_layer = matches!(error, FoldDbError::DataLayer(_));
    let mut failure = session.fail(&error);
    if unread.get() {
        failure = failure.with_exit(Exit::Failed).hint(AGAIN);
    } else if is_data_layer {
        failure = failure.or_hint(AGAIN);
    }
    let is_request = matches!(error.class(), ErrorClass::Invalid | ErrorClass::Failed);
    let done = report.imported + report.unchanged + report.refused;
    let summary = (done > 0 || unread.get() || is_data_layer).then_some(summary);
    Imported { report, summary, failure: Some(failure), is_hopeless: !is_request }
}

/// What an import did, in one line.
fn summary(schema: &SchemaName, report: &ImportReport, time: std::time::Duration) -> String {
    let mut parts = vec![format!("{schema}: {} imported", counted(report.imported, "row"))];
    if report.unchanged > 0 {
        let be = if report.unchanged == 1 { "was" } else { "were" };
        parts.push(format!("{} {be} there already", Count(report.unchanged)));
    }
    if report.refused > 0 {
        parts.push(format!("{} refused", Count(report.refused)));
    }
    let rows = report.imported + report.unchanged + report.refused;
    format!(
        "{} in {:.1} s ({} rows/s), {}",
        parts.join(", "),
        time.as_secs_f64(),
        Count(rate(rows, time)),
        counted(report.commits, "commit"),
    )
}

/// The format that was named, else the one that the name of the file tells.
fn format_of(file: &Path, named: Option<InputFormat>) -> Result<ImportFormat, Failure> {
    if let Some(format) = named {
        return Ok(format.into());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Ok(ImportFormat::Csv),
        Some("ndjson" | "jsonl") => Ok(ImportFormat::Ndjson),
        _ => {
            let message = format!("the name of {} tells no format", input::name_of(file));
            let failure = Failure::new(Exit::Usage, message);
            Err(failure.hint("add --input-format csv or --input-format ndjson"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format() {
        let format = |name: &str| format_of(Path::new(name), None).ok();
        assert_eq!(format("a/flights.csv"), Some(ImportFormat::Csv));
        assert_eq!(format("FLIGHTS.CSV.GZ"), Some(ImportFormat::Csv));
        assert_eq!(format("x.ndjson.gz"), Some(ImportFormat::Ndjson));
        assert_eq!(format("x.jsonl"), Some(ImportFormat::Ndjson));
        for none in ["-", "x", "x.gz", "csv", "x.json"] {
            assert_eq!(format(none), None, "{none}");
        }
        let named = format_of(Path::new("x.csv"), Some(InputFormat::Ndjson)).ok();
        assert_eq!(named, Some(ImportFormat::Ndjson));
    }
}
