//! `diff`: what is different between two moments.

use std::ops::ControlFlow;

use datafold::engine::{DiffQuery, Difference, DifferenceKind};
use datafold::model::{FieldName, Value};

use crate::Done;
use crate::args::DiffArgs;
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, counted, footer, tell_hidden};
use crate::session::Session;

const COLUMNS: [&str; 6] = ["key", "change", "field", "element", "before", "after"];

/// Prints the differences.
pub(crate) fn run(args: DiffArgs, invocation: &Invocation) -> Done {
    let key = args.key.as_deref().map(parse_key).transpose()?;
    let query = DiffQuery { schema: args.schema, key, from: args.from, to: args.to };
    let session = Session::open(invocation)?;
    let mut out = Out::new();
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let rows = RowWriter::begin(&mut out, invocation.format, columns)?;
    let mut rows = rows.behind("{\"differences\":");
    let (mut failed, mut count) = (None, 0);
    let visit = |difference: Difference| {
        // The record itself is told by its creation or deletion.
        count += u64::from(difference.field.is_none());
        match session.look().and_then(|()| rows.row(&row_of(difference))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    };
    let end = session.db.diff_each(&query, visit).map_err(|error| session.fail(&error))?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let hidden = rows.finish()?;
    if invocation.format == Format::Json {
        out.line(format_args!(",\"from\":{},\"to\":{}}}", end.from, end.to))?;
    }
    out.flush()?;
    if invocation.format == Format::Table {
        tell_hidden(&hidden);
        let records = counted(count, "record");
        let (from, to) = (end.from, end.to);
        footer(format_args!("from commit {from} to commit {to}; {records} created or deleted"));
    }
    session.close()
}

fn row_of(difference: Difference) -> Vec<Value> {
    let Difference { kind, key, field, element, before, after } = difference;
    vec![
        key.values().map(Value::Array).unwrap_or_default(),
        DifferenceKind::as_str(kind).into(),
        field.as_ref().map(FieldName::to_string).into(),
        element.into(),
        before,
        after,
    ]
}
