//! `query`: records as they are, or as they were.

use std::ops::ControlFlow;
use std::path::Path;

use datafold::QueryRequest;
use datafold::data_layer::CommitNumber;
use datafold::engine::{KeyCondition, QueryEnd, Record};

use super::{input, price};
use crate::Done;
use crate::args::{QueryArgs, QueryFlags};
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, counted, footer, note, tell_hidden};
use crate::session::{Session, explain};

/// The largest file of a query, in bytes.
const QUERY_BYTES_MAX: u64 = 16 << 20;

/// Answers a query.
pub(crate) fn run(args: QueryArgs, invocation: &Invocation) -> Done {
    let request = match (args.schema, args.file) {
        (Some(schema), _) => flags_request(QueryRequest::new(schema), args.flags)?,
        (None, Some(file)) => read_request(&file, invocation)?,
        (None, None) => return Err(Failure::new(Exit::Usage, "a query needs a schema")),
    };
    let session = Session::open(invocation)?;
    let mut out = Out::new();
    if args.price.price {
        price::print(&session, &request, &args.price, &mut out)?;
    } else {
        answer(&session, &request, &mut out)?;
    }
    out.flush()?;
    session.close()
}

fn flags_request(request: QueryRequest, flags: QueryFlags) -> Result<QueryRequest, Failure> {
    let key = match (flags.key, flags.prefix, flags.from, flags.to) {
        (Some(key), ..) => KeyCondition::Exact(parse_key(&key)?),
        (None, Some(prefix), ..) => KeyCondition::Prefix(parse_key(&prefix)?),
        (None, None, None, None) => KeyCondition::All,
        (None, None, from, to) => KeyCondition::Range {
            from: from.as_deref().map(parse_key).transpose()?,
            to: to.as_deref().map(parse_key).transpose()?,
        },
    };
    Ok(QueryRequest {
        select: flags.select,
        key,
        limit: flags.limit.map(usize::from),
        cursor: flags.cursor,
        as_of: flags.as_of,
        ..request
    })
}

fn read_request(file: &Path, invocation: &Invocation) -> Result<QueryRequest, Failure> {
    let text = input::read_text(file, QUERY_BYTES_MAX)?;
    QueryRequest::parse(&text)
        .map_err(|error| explain(&error.into(), invocation, None).at(input::name_of(file)))
}

/// Prints the answer in the format that was asked for.
fn answer(session: &Session<'_>, request: &QueryRequest, out: &mut Out) -> Done {
    let format = session.invocation.format;
    if format == Format::Json {
        out.text("{\"records\":")?;
    }
    let rows = RowWriter::begin(out, format, columns(session, request))?;
    let (end, count, hidden) = print_records(session, request, rows)?;
    match format {
        Format::Json => {
            out.text(",\"cursor\":")?;
            out.json(&end.cursor)?;
            out.line(format_args!(",\"commit\":{}}}", end.commit))
        }
        Format::Ndjson | Format::Csv => {
            out.flush()?;
            if let Some(cursor) = &end.cursor {
                note(format_args!("cursor: {cursor}"));
            }
            Ok(())
        }
        Format::Table => {
            out.flush()?;
            foot(&end, count, &hidden);
            Ok(())
        }
    }
}

/// Prints the records of an answer; answers its end, their number, and the columns that had no
/// room.
pub(crate) fn print_records(
    session: &Session<'_>,
    request: &QueryRequest,
    mut rows: RowWriter<'_>,
) -> Result<(QueryEnd, u64, Vec<String>), Failure> {
    let (mut count, mut failed) = (0, None);
    let visit = |record: &mut Record| {
        count += 1;
        match rows.row(&record.values) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    };
    let end = session.db.query_each(request, visit).map_err(|error| session.fail(&error))?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok((end, count, rows.finish()?)),
    }
}

/// The columns of an answer; what is wrong with them, the query itself says.
pub(crate) fn columns(session: &Session<'_>, request: &QueryRequest) -> Vec<String> {
    if let Some(select) = &request.select {
        return select.clone();
    }
    let entry = session.db.pool().schemas().entry(request.schema.as_str());
    let fields = entry.iter().flat_map(|entry| &entry.schema.fields);
    fields.map(|field| field.name.to_string()).collect()
}

/// Tells on standard error what a table does not show.
fn foot(end: &QueryEnd, count: u64, hidden: &[String]) {
    if !hidden.is_empty() {
        tell_hidden(hidden);
        footer("choose with --select, or see all with --format json");
    }
    footer(format_args!("{}{}", counted(count, "record"), as_of(end)));
    if let Some(cursor) = &end.cursor {
        footer(format_args!("there are more; go on with --cursor {cursor}"));
    }
}

/// The moment of an answer in words.
pub(crate) fn as_of(end: &QueryEnd) -> String {
    match end.commit {
        CommitNumber::ZERO => " before the first commit".into(),
        commit => format!(" as of commit {commit} ({})", end.time),
    }
}
