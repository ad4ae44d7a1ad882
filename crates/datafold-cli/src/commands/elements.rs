//! `elements`: elements of a field, as they are, or as they were.

use std::ops::ControlFlow;

use datafold::engine::{Element, ElementFilter, ElementQuery, Glob, QueryEnd};
use datafold::model::Value;

use super::query::{as_of, stale};
use crate::Done;
use crate::args::ElementArgs;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, counted, footer, note, tell_hidden};
use crate::session::Session;

/// Prints elements.
pub(crate) fn run(args: ElementArgs, invocation: &Invocation) -> Done {
    let query = request(args)?;
    let session = Session::open(invocation)?;
    let mut out = Out::new();
    match invocation.format {
        Format::Json => print_object(&session, &query, &mut out)?,
        _ => print_table(&session, &query, &mut out)?,
    }
    out.flush()?;
    session.close()
}

fn request(args: ElementArgs) -> Result<ElementQuery, Failure> {
    let key = parse_key(&args.key)?;
    let filter = match (args.prefix, args.glob, args.value, args.from, args.to) {
        _ if !args.element.is_empty() => ElementFilter::Keys(args.element),
        (Some(prefix), ..) => ElementFilter::KeyPrefix(prefix),
        (_, Some(glob), ..) => ElementFilter::KeyPattern(Glob::new(&glob)),
        (_, _, Some(value), ..) => ElementFilter::Value(parse_value(&value)?),
        (.., None, None) => ElementFilter::All,
        (.., start, end) => ElementFilter::KeyRange { start, end },
    };
    Ok(ElementQuery {
        filter,
        reverse: args.reverse,
        limit: args.limit.map(usize::from),
        cursor: args.cursor,
        as_of: args.as_of,
        ..ElementQuery::new(args.schema, key, args.field.as_str())
    })
}

fn parse_value(text: &str) -> Result<Value, Failure> {
    Value::parse_json(text).map_err(|error| {
        let failure = Failure::new(Exit::Usage, format!("the value `{text}` is no JSON: {error}"));
        failure.hint("a text stands in quotes: '\"a\"'")
    })
}

/// Hands over each element; answers where the answer ended and how many there were.
fn each(
    session: &Session<'_>,
    query: &ElementQuery,
    mut print: impl FnMut(&Element) -> Done,
) -> Result<(QueryEnd, u64), Failure> {
    let (mut count, mut failed) = (0, None);
    let visit = |element: &mut Element| {
        count += 1;
        match session.look().and_then(|()| print(element)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    };
    let end = session.db.elements_each(query, visit).map_err(|error| session.fail(&error))?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok((end, count)),
    }
}

/// The answer as one object.
fn print_object(session: &Session<'_>, query: &ElementQuery, out: &mut Out) -> Done {
    // What is wrong with the request is told before anything is printed.
    let begin = "{\"elements\":{";
    let mut is_empty = true;
    let (end, _) = each(session, query, |element| {
        if std::mem::take(&mut is_empty) {
            out.text(begin)?;
            out.text("\n")?;
        } else {
            out.text(",\n")?;
        }
        out.json(&element.key)?;
        out.text(":")?;
        out.json(&element.value)
    })?;
    out.text(if is_empty { begin } else { "\n" })?;
    out.text("},\"cursor\":")?;
    out.json(&end.cursor)?;
    out.text(&format!(",\"commit\":{}", end.commit))?;
    if !end.stale.is_empty() {
        out.text(",\"stale\":")?;
        out.json(&end.stale)?;
    }
    out.line("}")
}

/// A row for each element.
fn print_table(session: &Session<'_>, query: &ElementQuery, out: &mut Out) -> Done {
    let format = session.invocation.format;
    let columns = ["key", "value"].map(str::to_owned).to_vec();
    let mut rows = RowWriter::begin(out, format, columns)?;
    let (end, count) = each(session, query, |element| {
        rows.row(&[element.key.as_str().into(), element.value.clone()])
    })?;
    let hidden = rows.finish()?;
    out.flush()?;
    match format {
        Format::Table => {
            tell_hidden(&hidden);
            footer(format_args!("{}{}", counted(count, "element"), as_of(&end)));
            if !end.stale.is_empty() {
                footer(stale(&end));
            }
            if let Some(cursor) = &end.cursor {
                footer(format_args!("there are more; go on with --cursor {cursor}"));
            }
        }
        _ => {
            if let Some(cursor) = &end.cursor {
                note(format_args!("cursor: {cursor}"));
            }
            if !end.stale.is_empty() {
                note(format_args!("{}", stale(&end)));
            }
        }
    }
    Ok(())
}
