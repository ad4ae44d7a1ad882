//! The commands.

mod completions;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
mod input;
mod migrate;
mod mutate;
pub(crate) mod query;
mod schema;
pub(crate) mod stats;
mod verify;

use crate::Done;
use crate::args::Command;
use crate::invocation::Invocation;
use crate::quickstart;

/// Carries out a command.
pub(crate) fn run(command: Command, invocation: &Invocation) -> Done {
    match command {
        Command::Quickstart { dir } => quickstart::run(&dir, invocation),
        Command::Init => init::run(invocation),
        Command::Schema(command) => schema::run(command, invocation),
        Command::Mutate { file } => mutate::run(&file, invocation),
        Command::Query(query) => query::run(*query, invocation),
        Command::History { schema, key, field, limit } => {
            history::run(&schema, &key, field.as_ref(), limit, invocation)
        }
        Command::Import(import) => import::run(&import, invocation),
        Command::Stats => stats::run(invocation),
        Command::Migrate { from, to } => migrate::run(&from, &to, invocation),
        Command::Verify => verify::run(invocation),
        Command::Completions { shell } => completions::run(shell),
    }
}
