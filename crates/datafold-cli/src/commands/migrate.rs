//! `migrate`: a store becomes one at another place or of another engine.

use datafold::data_layer::{CopyPhase, Migration, migrate};
use datafold::model::Value;
use serde::Serialize;

use crate::Done;
use crate::invocation::{Invocation, quote};
use crate::output::{Count, Format, Out, counted, footer, int, print_rows};
use crate::progress::Progress;
use crate::session::explain;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    from: &'a str,
    from_engine: &'a str,
    to: &'a str,
    to_engine: &'a str,
    store_id: String,
    rows: u64,
    bytes: u64,
}

/// Copies the store at `from` to a new one at `to`.
pub(crate) fn run(from: &str, to: &str, invocation: &Invocation) -> Done {
    let migrated = copy(from, to);
    let migration = migrated.map_err(|error| {
        let failure = explain(&error, &invocation.with_store(from), None);
        match error.code() {
            "store_exists" | "not_a_store" => failure.hint("name a new or empty folder with --to"),
            _ => failure,
        }
    })?;
    print(from, to, &migration, invocation.format)?;
    if invocation.format == Format::Table {
        let next = invocation.with_store(to).with_no_space().command("stats");
        footer(format_args!("next: {next}"));
        footer(format_args!(
            "both stores have one identity now: go on with one of them, and keep {} as a copy or \
             remove it",
            quote(from)
        ));
    }
    Ok(())
}

fn copy(from: &str, to: &str) -> Result<Migration, datafold::FoldDbError> {
    let mut shown: Option<(CopyPhase, Progress)> = None;
    let migration = migrate(from, to, &Default::default(), &mut |progress| {
        let is_same = shown.as_ref().is_some_and(|(phase, _)| *phase == progress.phase);
        if !is_same {
            let name = match progress.phase {
                CopyPhase::Copying => "copy",
                CopyPhase::Comparing => "compare",
            };
            finish(shown.replace((progress.phase, Progress::begin(name, None))));
        }
        if let Some((_, shown)) = &mut shown {
            shown.show_rows(progress.rows);
        }
    });
    finish(shown);
    Ok(migration?)
}

fn finish(shown: Option<(CopyPhase, Progress)>) {
    if let Some((_, shown)) = shown {
        shown.finish();
    }
}

fn print(from: &str, to: &str, migration: &Migration, format: Format) -> Done {
    let Migration { from_engine, to_engine, id, rows, bytes } = migration;
    let mut out = Out::new();
    match format {
        Format::Table => {
            out.line(format_args!(
                "copied and compared {} ({} bytes) from {from} ({from_engine}) to {to} \
                 ({to_engine})",
                counted(*rows, "row"),
                Count(*bytes),
            ))?;
        }
        Format::Json | Format::Ndjson => out.json_line(&Answer {
            from,
            from_engine,
            to,
            to_engine,
            store_id: id.to_string(),
            rows: *rows,
            bytes: *bytes,
        })?,
        Format::Csv => {
            let columns = ["from", "from_engine", "to", "to_engine", "store_id", "rows", "bytes"];
            let row: Vec<Value> = vec![
                from.into(),
                (*from_engine).into(),
                to.into(),
                (*to_engine).into(),
                id.to_string().into(),
                int(*rows),
                int(*bytes),
            ];
            print_rows(&mut out, format, &columns, vec![row])?;
        }
    }
    out.flush()
}
