//! `changes`: what changed, commit by commit.

use std::ops::ControlFlow;
use std::time::Duration;

use datafold::data_layer::{AtomId, CommitNumber};
use datafold::engine::{Change, ChangesQuery, CommitChanges};
use datafold::model::{FieldName, SchemaName, Value};

use crate::Done;
use crate::args::ChangesArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::invocation::Invocation;
use crate::output::{Format, Out, RowWriter, footer, int, note, tell_hidden};
use crate::session::{self, Session};
use crate::watch::Watch;

const COLUMNS: [&str; 10] =
    ["commit", "time", "writer", "schema", "key", "change", "field", "element", "value", "atom"];
/// Where the column `before` stands, if it is asked for.
const BEFORE_AT: usize = 8;
/// So often it is seen whether another process has written to the store.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Prints changes; with `--follow`, until Ctrl-C.
pub(crate) fn run(args: ChangesArgs, invocation: &Invocation) -> Done {
    let mut query = ChangesQuery {
        from: CommitNumber(args.from.unwrap_or(0)),
        schemas: args.schema,
        limit: args.limit.map(usize::from),
        before: args.before,
        // The local operator is the owner.
        unapproved: true,
    };
    let mut out = Out::new();
    let mut columns = COLUMNS.map(str::to_owned).to_vec();
    if query.before {
        columns.insert(BEFORE_AT, "before".to_owned());
    }
    let mut rows = RowWriter::begin(&mut out, invocation.format, columns)?.behind("{\"changes\":");
    let is_more = match args.follow {
        true => follow(&mut query, invocation, &mut rows)?,
        false => {
            let session = Session::open(invocation)?;
            let is_more = print(&session, &mut query, &mut rows, None)?;
            session.close()?;
            is_more
        }
    };
    let hidden = rows.finish()?;
    if invocation.format == Format::Json {
        out.line(format_args!(",\"next\":{}}}", query.from))?;
    }
    out.flush()?;
    tell_hidden(&hidden);
    match (is_more, invocation.format) {
        (false, _) | (_, Format::Json) => {}
        (true, Format::Table) => {
            footer(format_args!("there are more; go on with --from {}", query.from));
        }
        (true, _) => note(format_args!("next: {}", query.from)),
    }
    Ok(())
}

/// Prints what there is, and moves the query behind it; answers whether the limit has ended it.
fn print(
    session: &Session<'_>,
    query: &mut ChangesQuery,
    rows: &mut RowWriter<'_>,
    pause: Option<&Interrupt>,
) -> Result<bool, Failure> {
    let mut failed = None;
    let mut printed = 0;
    let visit = |commit: CommitChanges| {
        printed += commit.changes.len();
        let written = commit
            .changes
            .iter()
            .try_for_each(|change| rows.row(&row_of(&commit, change, query.before)));
        match written.and_then(|()| session.look()) {
            Ok(()) if pause.is_some_and(Interrupt::is_wanted) => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    };
    let end = session.db.changes_each(query, visit).map_err(|error| session.fail(&error))?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    query.from = end.next;
    query.limit = query.limit.map(|limit| limit.saturating_sub(printed));
    Ok(end.next <= end.head)
}

/// Prints what there is and what comes, until Ctrl-C or the limit. The store is open only while it
/// is read, so that others can write to it; answers whether the limit has ended it.
fn follow(
    query: &mut ChangesQuery,
    invocation: &Invocation,
    rows: &mut RowWriter<'_>,
) -> Result<bool, Failure> {
    let pause = Interrupt::watch("")?;
    let mut watch = Watch::new(&invocation.store);
    let mut is_first = true;
    loop {
        watch.look();
        match Session::try_open(invocation, session::reading()) {
            Ok(session) => {
                print(&session, query, rows, Some(&pause))?;
                let is_more = query.limit == Some(0);
                session.close()?;
                rows.flush()?;
                if is_more || pause.is_wanted() {
                    return Ok(false);
                }
            }
            Err(error) if error.code() == "store_already_open" => {
                if is_first {
                    note("the store is open in another process; waiting until that has closed it");
                }
                watch.forget();
            }
            Err(error) => return Err(crate::session::explain(&error, invocation, None)),
        }
        is_first = false;
        loop {
            if pause.wait(LOOK_EVERY) {
                return Ok(false);
            }
            if watch.has_changed() {
                break;
            }
        }
    }
}

/// A change as a row.
fn row_of(commit: &CommitChanges, change: &Change, with_before: bool) -> Vec<Value> {
    let key = change.key.as_ref().and_then(|key| key.values().ok());
    let mut row = vec![
        int(commit.commit.number.0),
        commit.commit.time.into(),
        commit.commit.writer.to_string().into(),
        change.schema.as_ref().map(SchemaName::to_string).into(),
        key.map(Value::Array).unwrap_or_default(),
        change.kind.as_str().into(),
        change.field.as_ref().map(FieldName::to_string).into(),
        change.element.clone().into(),
        change.value.clone(),
        change.atom.as_ref().map(AtomId::to_string).into(),
    ];
    if with_before {
        row.insert(BEFORE_AT, change.before.clone().unwrap_or_default());
    }
    row
}
