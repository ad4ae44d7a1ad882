//! `import`: records from CSV and NDJSON.

use std::io::Read;
use std::path::Path;

use datafold::FoldDbError;
use datafold::engine::{ImportFormat, ImportOptions, ImportProgress, ImportReport};
use datafold::model::SchemaName;

use super::input;
use crate::Done;
use crate::args::{ImportArgs, InputFormat};
use crate::failure::{Exit, Failure, told};
use crate::invocation::Invocation;
use crate::output::{Count, counted, note};
use crate::progress::{Progress, rate};
use crate::session::Session;

/// So many refused rows are described.
const ERRORS_SHOWN: usize = 20;

/// Imports a file.
pub(crate) fn run(args: &ImportArgs, invocation: &Invocation) -> Done {
    let format = format_of(&args.file, args.input_format)?;
    let name = input::name_of(&args.file);
    let (file, size) = input::open(&args.file)?;
    let session = Session::open(invocation)?;
    let options = ImportOptions {
        batch_rows: args.batch.get(),
        nulls: args.null.clone(),
        ..ImportOptions::new(format)
    };
    let (report, summary) = import(&session, &args.schema, file, size, &options)
        .map_err(|failure| failure.at(&name))?;
    for error in report.errors.iter().take(ERRORS_SHOWN) {
        note(told(&format!("{name}:{}: {}", error.line, error.message)));
    }
    let shown = report.errors.len().min(ERRORS_SHOWN) as u64;
    if report.refused > shown {
        note(format_args!("… and {} more", Count(report.refused - shown)));
    }
    note(summary);
    session.close()?;
    match report.refused {
        0 => Ok(()),
        refused => {
            let message = format!("{} of {name} not imported", counted(refused, "row"));
            Err(Failure::new(Exit::Invalid, message))
        }
    }
}

/// Imports what can be read, with progress; answers also a summary in one line.
pub(crate) fn import(
    session: &Session<'_>,
    schema: &SchemaName,
    file: impl Read + 'static,
    size: Option<u64>,
    options: &ImportOptions,
) -> Result<(ImportReport, String), Failure> {
    let mut shown = Progress::begin(schema.as_str(), size);
    let input = input::unpack(shown.count(file));
    let input = input.map_err(|error| Failure::io("input", &error))?;
    let (input, unread) = input::watch(input);
    let mut reached = ImportProgress::default();
    let report = session.db.import(schema, input, options, |progress| {
        reached = progress;
        shown.show(progress);
    });
    let time = shown.finish();
    let report = report.map_err(|error| {
        let failure = session.fail(&error);
        if unread.get() || reached.rows > 0 || matches!(error, FoldDbError::DataLayer(_)) {
            note(what_may_be_there(reached));
        }
        if unread.get() { failure.with_exit(Exit::Failed) } else { failure }
    })?;
    let refused = match report.refused {
        0 => String::new(),
        refused => format!(", {} refused", Count(refused)),
    };
    let summary = format!(
        "{schema}: {} imported{refused} in {:.1} s ({} rows/s), {}",
        counted(report.imported, "row"),
        time.as_secs_f64(),
        Count(rate(report.imported + report.refused, time)),
        counted(report.commits, "commit"),
    );
    Ok((report, summary))
}

/// What is known of an import that failed: batches are durable in order, but which was the last is
/// not told.
fn what_may_be_there(reached: ImportProgress) -> String {
    let again = "importing all of it again completes it and writes nothing twice";
    match reached.rows {
        0 => format!("no row is known to be imported; {again}"),
        rows => {
            let accepted = Count(rows.saturating_sub(reached.refused));
            format!("{} read, up to {accepted} of them imported; {again}", counted(rows, "row"))
        }
    }
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
