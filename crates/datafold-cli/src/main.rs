//! The command line of DataFold.
//!
//! Each command opens the store, asks the library and prints the answer: results on standard
//! output, everything else on standard error, and an exit code for the kind of failure.

mod args;
mod commands;
mod failure;
#[cfg(test)]
mod fuzz;
mod harmless;
mod help;
mod hint;
mod interrupt;
mod invocation;
mod key;
mod output;
mod progress;
mod quickstart;
mod session;
mod table;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::failure::Failure;
use crate::invocation::Invocation;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let invocation = Invocation::new(&cli.global, matches.value_source("store"));
    match commands::run(cli.command, &invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What a command answers: nothing, as its results are printed, or why it failed.
type Done = Result<(), Failure>;
