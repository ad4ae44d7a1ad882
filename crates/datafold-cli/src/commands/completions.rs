//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::Done;
use crate::args::Cli;
use crate::output::Out;

/// Prints the completions of a shell.
pub(crate) fn run(shell: Shell) -> Done {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "datafold", &mut script);
    let mut out = Out::new();
    out.text(&String::from_utf8_lossy(&script))?;
    out.flush()
}
