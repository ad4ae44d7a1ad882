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
use crate::interrupt::Interrupt;
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
    if args.explain {
        explain_query(&session, &request, &mut out)?;
    } else if args.price.price {
        price::print(&session, &request, &args.price, &mut out)?;
    } else {
        answer(&session, &request, &mut out)?;
    }
    out.flush()?;
    session.close()
}

/// The query that flags describe.
pub(crate) fn flags_request(
    request: QueryRequest,
    flags: QueryFlags,
) -> Result<QueryRequest, Failure> {
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
        select: (!flags.select.is_empty()).then(|| split_lists(&flags.select)),
        filter: flags.filter,
        parameters: flags.parameters.into_iter().collect(),
        key,
        group_by: split_lists(&flags.group_by),
        aggregates: split_lists(&flags.aggregate),
        having: flags.having,
        distinct: flags.distinct,
        sort: split_lists(&flags.sort),
        limit: flags.limit.map(usize::from),
        cursor: flags.cursor,
        as_of: flags.as_of,
        ..request
    })
}

/// Splits lists at their commas, but not at those in parentheses, brackets, braces and quotes.
fn split_lists(lists: &[String]) -> Vec<String> {
    lists.iter().flat_map(|list| split_list(list)).collect()
}

fn split_list(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for c in list.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(end), c) if c == end => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items
}

fn read_request(file: &Path, invocation: &Invocation) -> Result<QueryRequest, Failure> {
    let text = input::read_text(file, QUERY_BYTES_MAX)?;
    QueryRequest::parse(&text)
        .map_err(|error| explain(&error.into(), invocation, None).at(input::name_of(file)))
}

/// Prints the answer in the format that was asked for.
fn answer(session: &Session<'_>, request: &QueryRequest, out: &mut Out) -> Done {
    let format = session.invocation.format;
    // What is wrong with the request is told before anything is printed.
    let columns = columns(session, request)?;
    let rows = RowWriter::begin(out, format, columns)?.behind("{\"records\":");
    let interrupt = session.invocation.open.as_ref().map(|open| &open.interrupt);
    let (end, count, hidden) = print_records(session, request, rows, interrupt)?;
    match format {
        Format::Json => {
            out.text(",\"cursor\":")?;
            out.json(&end.cursor)?;
            out.text(&format!(",\"commit\":{}", end.commit))?;
            if !end.stale.is_empty() {
                out.text(",\"stale\":")?;
                out.json(&end.stale)?;
            }
            out.line("}")
        }
        Format::Ndjson | Format::Csv => {
            out.flush()?;
            if let Some(cursor) = &end.cursor {
                note(format_args!("cursor: {cursor}"));
            }
            if !end.stale.is_empty() {
                note(format_args!("{}", stale(&end)));
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

/// Prints the records of an answer until Ctrl-C; answers its end, their number, and the columns
/// that had no room.
pub(crate) fn print_records(
    session: &Session<'_>,
    request: &QueryRequest,
    mut rows: RowWriter<'_>,
    interrupt: Option<&Interrupt>,
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
    let is_interrupted = || interrupt.is_some_and(Interrupt::is_wanted);
    let end = session.db.query_each_until(request, is_interrupted, visit);
    let end = end.map_err(|error| session.fail(&error))?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok((end, count, rows.finish()?)),
    }
}

/// The columns of an answer.
pub(crate) fn columns(
    session: &Session<'_>,
    request: &QueryRequest,
) -> Result<Vec<String>, Failure> {
    let columns = session.db.columns(request).map_err(|error| session.fail(&error))?;
    Ok(columns.iter().map(ToString::to_string).collect())
}

/// Prints how a query runs and what it reads.
fn explain_query(session: &Session<'_>, request: &QueryRequest, out: &mut Out) -> Done {
    let is_interrupted = || session.look().is_err();
    let explain = session.db.explain_until(request, is_interrupted);
    let explain = explain.map_err(|error| session.fail(&error))?;
    match session.invocation.format {
        Format::Json | Format::Ndjson => out.json_line(&explain),
        Format::Table | Format::Csv => out.text(&explain.to_string()),
    }
}

/// Tells on standard error what a table does not show.
fn foot(end: &QueryEnd, count: u64, hidden: &[String]) {
    if !hidden.is_empty() {
        tell_hidden(hidden);
        footer("choose with --select, or see all with --format json");
    }
    footer(format_args!("{}{}", counted(count, "record"), as_of(end)));
    if !end.stale.is_empty() {
        footer(stale(end));
    }
    if let Some(cursor) = &end.cursor {
        footer(format_args!("there are more; go on with --cursor {cursor}"));
    }
}

/// Which values are not yet what they will be, in words.
pub(crate) fn stale(end: &QueryEnd) -> String {
    let names: Vec<_> = end.stale.iter().map(|name| name.as_str()).collect();
    format!("still being computed again: {}", names.join(", "))
}

/// The moment of an answer in words.
pub(crate) fn as_of(end: &QueryEnd) -> String {
    match end.commit {
        CommitNumber::ZERO => " before the first commit".into(),
        commit => format!(" as of commit {commit} ({})", end.time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_their_own_commas() {
        for (list, items) in [
            ("a,b", vec!["a", "b"]),
            ("a = round(b, 1),c", vec!["a = round(b, 1)", "c"]),
            ("a = ','+b,c", vec!["a = ','+b", "c"]),
            ("a = '\\',',b", vec!["a = '\\','", "b"]),
            ("a = [1,2],b = {c: 1, d: 2}", vec!["a = [1,2]", "b = {c: 1, d: 2}"]),
            (")a,b", vec![")a", "b"]),
            ("", vec![""]),
        ] {
            assert_eq!(split_list(list), items, "{list}");
        }
    }
}
