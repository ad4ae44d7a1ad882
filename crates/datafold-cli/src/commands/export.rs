//! `export`: records as lines of a file.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use datafold::QueryRequest;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::query::{as_of, columns, flags_request, print_records};
use crate::Done;
use crate::args::ExportArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::invocation::Invocation;
use crate::output::{Format, Out, RowWriter, Sink, counted, footer};
use crate::session::Session;

/// A file may have more elements in a record than an answer: those of a field, or 16 MiB of them.
const INLINE_ELEMENTS: usize = 100_000;

/// Writes the records of a query.
pub(crate) fn run(args: ExportArgs, invocation: &Invocation) -> Done {
    let all = QueryRequest { inline_elements: INLINE_ELEMENTS, ..QueryRequest::new(args.schema) };
    let request = flags_request(all, args.flags)?;
    let session = Session::open(invocation)?;
    // What is wrong with the request is told before a file is made.
    let columns = columns(&session, &request)?;
    let format = match invocation.format {
        Format::Table => Format::Ndjson,
        format => format,
    };
    // Ctrl-C ends an export to standard output at once, and one to a file when that is gone.
    let (out, interrupt) = match &args.output {
        Some(file) => (Out::to(create(file)?), Some(Interrupt::watch("")?)),
        None => (Out::new(), session.invocation.open.as_ref().map(|open| open.interrupt.clone())),
    };
    let written = write(&session, &request, format, columns, out, interrupt.as_ref());
    if written.is_err()
        && let Some(file) = &args.output
    {
        // Half a file is none.
        let _ = std::fs::remove_file(file);
    }
    written?;
    session.close()
}

fn write(
    session: &Session<'_>,
    request: &QueryRequest,
    format: Format,
    columns: Vec<String>,
    mut out: Out,
    interrupt: Option<&Interrupt>,
) -> Done {
    let rows = RowWriter::begin(&mut out, format, columns)?;
    let (end, count, _) = print_records(session, request, rows, interrupt)?;
    if format == Format::Json {
        out.text("\n")?;
    }
    out.finish()?;
    footer(format_args!("{}{}", counted(count, "record"), as_of(&end)));
    if let Some(cursor) = &end.cursor {
        footer(format_args!("there are more; go on with --cursor {cursor}"));
    }
    Ok(())
}

fn create(file: &Path) -> Result<Box<dyn Sink>, Failure> {
    let new = File::options().write(true).create_new(true).open(file);
    let new = new.map_err(|error| Failure::io(file.display(), &error))?;
    let is_compressed = file.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_compressed {
        Box::new(GzEncoder::new(BufWriter::new(new), Compression::default()))
    } else {
        Box::new(new)
    })
}
