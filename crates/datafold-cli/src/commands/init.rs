//! `init`: creates the store and the space.

use datafold::data_layer::{DEFAULT_SPACE, PoolOptions};
use serde::Serialize;

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Format, Out, counted, footer, print_rows};
use crate::session::{Session, explain};

/// What was missing and has been created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Created {
    /// Everything was there.
    Nothing,
    /// The space.
    Space,
    /// The store, and the space with it.
    Store,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    store: &'a str,
    space: &'a str,
    created: Created,
}

/// Creates the store, and the space if one is named. It is no error if they exist.
pub(crate) fn run(invocation: &Invocation) -> Done {
    if invocation.store == "memory:" {
        let failure = Failure::new(Exit::Usage, "a store in memory ends with the command");
        return Err(failure.hint("name a folder with --store"));
    }
    let (session, created) = open_or_create(invocation)?;
    let commits = commits(&session);
    session.close()?;
    print(invocation, created, commits)?;
    if created != Created::Nothing && invocation.format == Format::Table {
        footer(format_args!("next: {}", invocation.command("schema load PATH")));
    }
    Ok(())
}

fn print(invocation: &Invocation, created: Created, commits: u64) -> Done {
    let store = invocation.store.as_str();
    let space = invocation.space.as_deref().unwrap_or(DEFAULT_SPACE);
    let mut out = Out::new();
    match (invocation.format, created) {
        (Format::Json | Format::Ndjson, _) => out.json_line(&Answer { store, space, created })?,
        (Format::Csv, _) => {
            let columns = ["store", "space", "created"];
            let created = format!("{created:?}").to_lowercase();
            let row = vec![store.into(), space.into(), created.into()];
            print_rows(&mut out, Format::Csv, &columns, vec![row])?;
        }
        (Format::Table, Created::Nothing) => {
            let commits = counted(commits, "commit");
            out.line(format_args!("{store} is there already, with {commits} in `{space}`"))?;
        }
        (Format::Table, Created::Space) => {
            out.line(format_args!("created the space `{space}` in {store}"))?;
        }
        (Format::Table, Created::Store) => {
            out.line(format_args!("created {store} with the space `{space}`"))?;
        }
    }
    out.flush()
}

/// Opens the store and the space, creating what is missing.
pub(crate) fn open_or_create(invocation: &Invocation) -> Result<(Session<'_>, Created), Failure> {
    let created = match Session::try_open(invocation, PoolOptions::default()) {
        Ok(session) => return Ok((session, Created::Nothing)),
        Err(error) => match error.code() {
            "store_not_found" => Created::Store,
            "not_found" => Created::Space,
            _ => return Err(explain(&error, invocation, None)),
        },
    };
    let session = Session::open_with(invocation, PoolOptions::create())?;
    // A store whose file with its name and version was lost is found again with its data.
    let created = if commits(&session) > 0 { Created::Nothing } else { created };
    Ok((session, created))
}

fn commits(session: &Session<'_>) -> u64 {
    let (head, _) = session.db.pool().operations().head();
    head.0
}
