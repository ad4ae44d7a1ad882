//! The commands.

mod changes;
mod completions;
mod diff;
mod elements;
mod exec;
mod export;
pub(crate) mod history;
mod impact;
pub(crate) mod import;
pub(crate) mod init;
mod input;
mod man;
mod migrate;
mod mutate;
mod price;
pub(crate) mod query;
mod revert;
mod schema;
mod shell;
pub(crate) mod stats;
mod transform;
mod verify;
pub(crate) mod why;

#[cfg(test)]
pub(crate) use self::input::unpack;
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
        Command::Export(export) => export::run(*export, invocation),
        Command::Shell => shell::run(invocation),
        Command::Elements(elements) => elements::run(*elements, invocation),
        Command::History { schema, key, field, element, limit } => {
            let cell = history::Cell { schema: &schema, field: field.as_ref(), element };
            history::run(cell, &key, limit, invocation)
        }
        Command::Changes(changes) => changes::run(changes, invocation),
        Command::Diff(diff) => diff::run(diff, invocation),
        Command::Revert(revert) => revert::run(revert, invocation),
        Command::Import(import) => import::run(&import, invocation),
        Command::Stats => stats::run(invocation),
        Command::Migrate { from, to } => migrate::run(&from, &to, invocation),
        Command::Transform(command) => transform::run(command, invocation),
        Command::Why { schema, key, field, as_of } => {
            let cell = why::Cell { schema: &schema, key: &key, field: &field };
            why::run(cell, as_of.as_deref(), invocation)
        }
        Command::Impact { schema, field } => impact::run(&schema, &field, invocation),
        Command::Verify { derived } => verify::run(derived, invocation),
        Command::Exec { file } => exec::run(&file, invocation),
        Command::Man { dir } => man::run(dir.as_deref()),
        Command::Completions { shell } => completions::run(shell),
    }
}
