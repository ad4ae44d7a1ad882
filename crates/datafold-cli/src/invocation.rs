//! How the program was called, and how it is called again.

use std::path::Path;

use clap::parser::ValueSource;
use datafold::FoldDb;

use crate::args::Global;
use crate::interrupt::Interrupt;
use crate::output::Format;

/// How the program was called.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The store's URL.
    pub(crate) store: String,
    /// Whether the URL was on the command line.
    pub(crate) store_given: bool,
    /// The space, if it was named.
    pub(crate) space: Option<String>,
    /// How results are printed.
    pub(crate) format: Format,
    program: String,
    /// The store, if it is open already, as in the shell.
    pub(crate) open: Option<Open>,
}

/// A store that is open for several commands.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) db: FoldDb,
    /// Ends the command that runs.
    pub(crate) interrupt: Interrupt,
}

impl Invocation {
    /// Takes the global options; `source` says where the store's URL came from.
    pub(crate) fn new(global: &Global, source: Option<ValueSource>) -> Self {
        Self {
            store: global.store.clone(),
            store_given: source == Some(ValueSource::CommandLine),
            space: global.space.clone(),
            format: global.format,
            program: program(),
            open: None,
        }
    }

    /// The same call with another store.
    pub(crate) fn with_store(&self, store: &str) -> Self {
        Self {
            store: store.to_owned(),
            store_given: true,
            space: self.space.clone(),
            format: self.format,
            program: self.program.clone(),
            open: None,
        }
    }

    /// The same call with its store open.
    pub(crate) fn with_open(&self, db: FoldDb, interrupt: Interrupt) -> Self {
        Self { open: Some(Open { db, interrupt }), ..self.clone() }
    }

    /// The same call without naming a space.
    pub(crate) fn with_no_space(&self) -> Self {
        Self { space: None, ..self.with_store(&self.store) }
    }

    /// The same call without naming a store or space.
    pub(crate) fn with_default_store(&self) -> Self {
        Self { store_given: false, space: None, ..self.with_store(&self.store) }
    }

    /// A command on the same store, to be pasted into a shell.
    pub(crate) fn command(&self, rest: &str) -> String {
        let mut command = quote(&self.program);
        if self.store_given {
            command += " --store ";
            command += &quote(&self.store);
        }
        if let Some(space) = &self.space {
            command += " --space ";
            command += &quote(space);
        }
        command.push(' ');
        command + rest
    }
}

/// The program as it was called, a path below the current folder without what leads there.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_else(|| "datafold".into());
    let path = Path::new(&called);
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// A word as a POSIX shell takes it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("./datafold-data"), "./datafold-data");
        assert_eq!(quote(""), "''");
        assert_eq!(quote(r#"["it's"]"#), r#"'["it'\''s"]'"#);
    }
}
