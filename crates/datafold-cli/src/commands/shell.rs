//! `shell`: one command after the other on an open store.

mod complete;

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use self::complete::ShellHelper;
use crate::Done;
use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::invocation::Invocation;
use crate::output::{footer, note};
use crate::progress::Stopwatch;
use crate::session::Session;

/// Lines that are kept in the history file.
const HISTORY_LINES_MAX: usize = 10_000;

const HELP: &str = "\
Every command of datafold, without its name: query, history, schema list, mutate FILE, …
A command with --help tells its options; words with blanks are quoted: --where 'distance > 1000'.

.help            this text
.schemas         the schemas
.timing          tell how long each command takes, or no longer
.quit            end; so does Ctrl-D

A line goes on in the next one behind a backslash, or if a quote is open. Tab completes commands,
options, schemas, fields and functions. Ctrl-C clears the line, or ends what runs.";

/// Reads and carries out commands until the input ends.
pub(crate) fn run(invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    let interrupt = Interrupt::watch("")?;
    let shared = invocation.with_open(session.db.clone(), interrupt.clone());
    let is_interactive = stdin().is_terminal();
    let mut editor = editor(ShellHelper::new(session.db.clone()))?;
    let history = history_file().filter(|_| is_interactive);
    if let Some(file) = &history {
        // There is none at first.
        let _ = editor.load_history(file);
    }
    if is_interactive {
        footer(format_args!(
            "datafold {}, store {}; .help tells what can be typed",
            env!("CARGO_PKG_VERSION"),
            invocation.store
        ));
    }
    let mut shell = Shell { invocation: &shared, has_timing: false, failed: None };
    loop {
        // From here on Ctrl-C is for the line, and then for what it runs.
        interrupt.forget();
        match editor.readline("datafold> ") {
            Ok(line) => {
                if !line.trim().is_empty() {
                    // Only a history that cannot grow refuses a line.
                    let _ = editor.add_history_entry(line.trim());
                }
                if shell.line(&line).is_break() {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Io(error)) => return Err(Failure::io("standard input", &error)),
            Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
        }
    }
    if let Some(file) = &history {
        let saved = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let saved = saved.map_err(ReadlineError::from).and_then(|()| editor.save_history(file));
        if let Err(error) = saved {
            note(format_args!("the history was not kept in {}: {error}", file.display()));
        }
    }
    let failed = shell.failed.filter(|_| !is_interactive);
    session.close()?;
    // What is wrong has been told.
    failed.map_or(Ok(()), |exit| Err(Failure::new(exit, "")))
}

fn editor(helper: ShellHelper) -> Result<Editor<ShellHelper, FileHistory>, Failure> {
    let failed = |error: ReadlineError| Failure::new(Exit::Failed, error.to_string());
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .map_err(failed)?
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(helper));
    Ok(editor)
}

/// `DATAFOLD_HISTORY`, or a file in the state folder of the user; none if that is empty or unknown.
///
/// Source: XDG Base Directory Specification, `XDG_STATE_HOME`.
fn history_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("DATAFOLD_HISTORY") {
        return (!file.is_empty()).then(|| PathBuf::from(file));
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|state| !state.is_empty());
    let state = match state {
        Some(state) => PathBuf::from(state),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    Some(state.join("datafold/history"))
}

struct Shell<'i> {
    invocation: &'i Invocation,
    has_timing: bool,
    /// How the last command that failed did.
    failed: Option<Exit>,
}

impl Shell<'_> {
    /// Carries out a line; breaks at the end.
    fn line(&mut self, line: &str) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};

        let line = line.trim().replace("\\\n", " ");
        match line.as_str() {
            "" => return Continue(()),
            ".quit" | ".exit" | "quit" | "exit" => return Break(()),
            ".help" | "help" => {
                note(HELP);
                return Continue(());
            }
            ".timing" => {
                self.has_timing = !self.has_timing;
                footer(if self.has_timing { "timing is on" } else { "timing is off" });
                return Continue(());
            }
            _ => {}
        }
        let line = if line == ".schemas" { "schema list" } else { &line };
        let stopwatch = Stopwatch::start();
        if let Err(failure) = self.command(line) {
            failure.report();
            self.failed = Some(failure.exit());
        }
        if self.has_timing {
            footer(format_args!("{:.3} s", stopwatch.seconds()));
        }
        Continue(())
    }

    fn command(&self, line: &str) -> Done {
        if let Some(word) = line.strip_prefix('.') {
            let failure = Failure::new(Exit::Usage, format!("there is no `.{word}`"));
            return Err(failure.hint(".help tells what there is"));
        }
        let words = shell_words::split(line).map_err(|_| {
            Failure::new(Exit::Usage, "a quote is open").hint("quote words with blanks: '…'")
        })?;
        let words = ["datafold".to_owned()].into_iter().chain(words);
        let read = Cli::command().try_get_matches_from(words).and_then(|matches| {
            let cli = Cli::from_arg_matches(&matches)?;
            Ok((cli, matches))
        });
        let (cli, matches) = match read {
            Ok(read) => read,
            // Help is one of these.
            Err(error) => {
                error.print().map_err(|error| Failure::io("standard error", &error))?;
                return match error.use_stderr() {
                    true => Err(Failure::new(Exit::Usage, "")),
                    false => Ok(()),
                };
            }
        };
        if let Command::Shell = cli.command {
            return Err(Failure::new(Exit::Usage, "this is the shell"));
        }
        let given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let mut invocation = if given("store") || given("space") {
            Invocation::new(&cli.global, matches.value_source("store"))
        } else {
            self.invocation.clone()
        };
        if given("format") {
            invocation.format = cli.global.format;
        }
        super::run(cli.command, &invocation)
    }
}
