//! `init`: creates the store and the space.

use datafold::data_layer::PoolOptions;

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Format, Out, note, print_rows};
use crate::session::{Session, explain};

/// Creates the store, and the space if one is named. It is no error if they exist.
pub(crate) fn run(invocation: &Invocation) -> Done {
    if invocation.store == "memory:" {
        let failure = Failure::new(Exit::Usage, "a store in memory ends with the command");
        return Err(failure.hint("name a folder with --store"));
    }
    let (session, created) = open_or_create(invocation)?;
    let info = session.db.pool().operations().store_info();
    let row = vec![
        info.url.as_str().into(),
        info.engine.into(),
        invocation.space.as_deref().unwrap_or("default").into(),
        created.into(),
    ];
    let mut out = Out::new();
    match invocation.format {
        Format::Table => {
            let space = match &invocation.space {
                Some(space) => format!(" with the space `{space}`"),
                None => String::new(),
            };
            let what = if created { "created the store" } else { "there is already the store" };
            out.line(format_args!("{what} {}{space}", invocation.store))?;
            out.flush()?;
            if created {
                note(format_args!("next: {}", invocation.command("schema load PATH")));
            }
        }
        format => {
            print_rows(&mut out, format, &["store", "engine", "space", "created"], vec![row])?
        }
    }
    session.close()
}

/// Opens the store and the space, creating what is missing; answers whether something was.
pub(crate) fn open_or_create(invocation: &Invocation) -> Result<(Session<'_>, bool), Failure> {
    match Session::try_open(invocation, PoolOptions::default()) {
        Ok(session) => Ok((session, false)),
        Err(error) if matches!(error.code(), "store_not_found" | "not_found") => {
            let session = Session::open_with(invocation, PoolOptions::create())?;
            Ok((session, true))
        }
        Err(error) => Err(explain(&error, invocation, None)),
    }
}
