//! Why a command failed, and what its user can do about it.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use datafold::FoldDbError;
use datafold::engine::ErrorClass;

use crate::harmless::{cut, cut_quoted, harmless};
use crate::output::note;

/// The longest message, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 2_000;
/// The longest quoted part of a message, in characters.
const QUOTED_CHARACTERS_MAX: usize = 300;

/// The kind of a failure; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nobody reads the output any more, which is no failure.
    ClosedPipe = 0,
    /// Anything that has no code of its own.
    Failed = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// Something that was named does not exist.
    NotFound = 3,
    /// A state, policy or precondition forbids it.
    Refused = 4,
    /// The request or its data break a rule.
    Invalid = 5,
    /// The store cannot be used.
    Store = 6,
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::NotFound => Exit::NotFound,
            ErrorClass::Refused => Exit::Refused,
            ErrorClass::Invalid => Exit::Invalid,
            ErrorClass::Store => Exit::Store,
            ErrorClass::Failed => Exit::Failed,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure of that kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The failure of an input or output that belongs to `what`.
    pub(crate) fn io(what: impl Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::InvalidData => Exit::Invalid,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("{what}: {error}"))
    }

    /// The failure to write to standard output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::ClosedPipe, ""),
            _ => Self::io("standard output", error),
        }
    }

    /// Adds what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same of another kind.
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Puts the place in front of the message.
    pub(crate) fn at(self, place: impl Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// Its kind.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What is wrong, in one line.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure to standard error; answers the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.exit != Exit::ClosedPipe {
            let label = console::style("error:").for_stderr().red().bold();
            note(format_args!("{label} {}", told(&self.message)));
            if let Some(hint) = &self.hint {
                let label = console::style("hint:").for_stderr().cyan();
                note(format_args!("{label} {}", told(hint)));
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<&FoldDbError> for Failure {
    fn from(error: &FoldDbError) -> Self {
        let exit = match error.code() {
            "invalid_store_url" => Exit::Usage,
            _ => error.class().into(),
        };
        Self::new(exit, one_line(error))
    }
}

/// Names in a message may come from data, of whatever length.
pub(crate) fn told(message: &str) -> String {
    cut(&cut_quoted(&harmless(message), QUOTED_CHARACTERS_MAX), MESSAGE_CHARACTERS_MAX)
}

/// An error and its sources in one line. A source that its error has already told is left out.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line.replace('\n', " ")
}
