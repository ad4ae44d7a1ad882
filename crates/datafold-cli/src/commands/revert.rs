//! `revert`: a record or a commit is taken back.

use datafold::FoldDbError;
use datafold::data_layer::CommitNumber;
use datafold::engine::{Revert, RevertError};

use crate::Done;
use crate::args::RevertArgs;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, footer, int, note, print_rows};
use crate::session::Session;

/// So many conflicts are listed.
const CONFLICTS_LISTED: usize = 20;

/// Takes a record or a commit back; prints the new commit.
pub(crate) fn run(args: RevertArgs, invocation: &Invocation) -> Done {
    let revert = revert_of(args)?;
    let session = Session::open(invocation)?;
    let (head, _) = session.db.pool().operations().head();
    let receipt = session.db.revert(&revert).map_err(|error| {
        list_conflicts(&error);
        session.fail(&error)
    })?;
    let columns = ["commit", "time", "atoms"];
    let row = vec![int(receipt.commit.0), receipt.time.into(), int(receipt.atoms.into())];
    let mut out = Out::new();
    match invocation.format {
        // As `mutate` answers.
        Format::Json => print_rows(&mut out, Format::Ndjson, &columns, vec![row])?,
        format => print_rows(&mut out, format, &columns, vec![row])?,
    }
    if receipt.commit <= head {
        footer("everything is as it was already; nothing was written");
    }
    session.close()
}

fn revert_of(args: RevertArgs) -> Result<Revert, Failure> {
    match (args.schema, args.key, args.to, args.commit) {
        (Some(schema), Some(key), Some(to), None) if !args.force => {
            Ok(Revert::Record { schema, key: parse_key(&key)?, to })
        }
        (None, None, None, Some(commit)) => {
            Ok(Revert::Commit { commit: CommitNumber(commit), force: args.force })
        }
        _ => Err(Failure::new(
            Exit::Usage,
            "name a record and --to MOMENT, or --commit N, with --force or not",
        )),
    }
}

fn list_conflicts(error: &FoldDbError) {
    let FoldDbError::Revert(RevertError::Conflicts { conflicts, .. }) = error else { return };
    for conflict in conflicts.iter().take(CONFLICTS_LISTED) {
        note(crate::failure::told(&format!("changed since: {conflict}")));
    }
    if let Some(more) = conflicts.len().checked_sub(CONFLICTS_LISTED).filter(|more| *more > 0) {
        note(format_args!("and {more} more"));
    }
}
