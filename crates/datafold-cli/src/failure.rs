//! Why a command failed, and what its user can do about it.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use datafold::FoldDbError;
use datafold::data_layer::DataLayerError;
use datafold::engine::ErrorClass;
use serde::Serialize;

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
    /// Ctrl-C was pressed. Source: shells, 128 and the number of the signal SIGINT.
    Interrupted = 130,
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
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// The place in a source, drawn in several lines.
    excerpt: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of that kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), excerpt: None, hint: None }
    }

    /// The failure of an input or output that belongs to `what`.
    pub(crate) fn io(what: impl Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::InvalidData => Exit::Invalid,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, format!("{what}: {error}"));
        match (error.kind(), std::env::current_dir()) {
            (io::ErrorKind::NotFound, Ok(folder)) => {
                failure.hint(format!("paths begin in the current folder, {}", folder.display()))
            }
            (io::ErrorKind::IsADirectory, _) => failure.hint("name a file, not a folder"),
            (io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, _) => {
                failure.hint("choose another name")
            }
            (io::ErrorKind::PermissionDenied, _) => failure.hint("see who may read and write it"),
            _ => failure,
        }
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

    /// Shows the place in a source below the message.
    pub(crate) fn excerpt(self, excerpt: String) -> Self {
        Self { excerpt: Some(excerpt), ..self }
    }

    /// The same of another kind.
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Puts the place in front of the message.
    pub(crate) fn at(self, place: impl Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// Puts a remark behind the message.
    pub(crate) fn behind(self, remark: &str) -> Self {
        Self { message: self.message + remark, ..self }
    }

    /// Adds what to do next, unless that is known already.
    pub(crate) fn or_hint(self, hint: impl Into<String>) -> Self {
        let hint = self.hint.clone().unwrap_or_else(|| hint.into());
        self.hint(hint)
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
        if self.exit != Exit::ClosedPipe && !self.message.is_empty() {
            let label = console::style("error:").for_stderr().red().bold();
            note(format_args!("{label} {}", told(&self.message)));
            for line in self.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
                note(harmless(line));
            }
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
        let exit = match error {
            // What is wrong is an option, not the data.
            FoldDbError::DataLayer(DataLayerError::InvalidData { what, .. })
                if what.starts_with("the space name") =>
            {
                Exit::Usage
            }
            _ if error.code() == "invalid_store_url" => Exit::Usage,
            _ => error.class().into(),
        };
        Self::new(exit, one_line(error))
    }
}

/// An error among the results.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorAnswer {
    /// The stable name of the error.
    pub(crate) code: &'static str,
    /// What is wrong, in one line.
    pub(crate) message: String,
}

impl ErrorAnswer {
    /// What an error of the library says.
    pub(crate) fn new(error: &FoldDbError) -> Self {
        Self { code: error.code(), message: one_line(error) }
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
