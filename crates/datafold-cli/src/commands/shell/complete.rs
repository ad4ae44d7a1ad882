//! What the shell offers while a line is typed.

use clap::CommandFactory;
use datafold::FoldDb;
use datafold::lang;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use crate::args::Cli;

const DOT_COMMANDS: [&str; 4] = [".help", ".quit", ".schemas", ".timing"];

/// Completes words, and knows whether a line goes on.
pub(super) struct ShellHelper {
    db: FoldDb,
}

impl ShellHelper {
    pub(super) fn new(db: FoldDb) -> Self {
        Self { db }
    }

    /// Everything that may stand where the word begins, behind what was typed before it.
    fn candidates(&self, before: &str, word: &str) -> Vec<String> {
        let mut command = Cli::command();
        command.build();
        let mut words = before.split_whitespace();
        let mut current = &command;
        while let Some(found) = words.next().and_then(|word| current.find_subcommand(word)) {
            current = found;
        }
        let typed = before.split_whitespace().count();
        if current.has_subcommands() && words.next().is_none() {
            let names = current.get_subcommands().map(|command| command.get_name().to_owned());
            let dots = DOT_COMMANDS.iter().filter(|_| typed == 0).map(ToString::to_string);
            return names.chain(dots).collect();
        }
        if word.starts_with('-') {
            let options = current.get_arguments().filter(|option| !option.is_hide_set());
            return options.filter_map(|o| o.get_long()).map(|long| format!("--{long}")).collect();
        }
        self.names(before)
    }

    /// Schemas, the fields of those that the line names, and functions.
    fn names(&self, before: &str) -> Vec<String> {
        let catalogue = self.db.schemas().core();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut names: Vec<String> = Vec::new();
        for entry in catalogue.iter() {
            let name = entry.schema.name.as_str();
            if before.split(|c| !is_word(c)).any(|word| word == name) {
                names.extend(entry.schema.fields.iter().map(|field| field.name.to_string()));
            }
            names.push(name.to_owned());
        }
        let computed = catalogue.computed();
        names.extend(computed.map(|found| format!("{}.{}", found.schema, found.field)));
        names.extend(lang::functions().iter().map(|function| function.name.to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let start = typed.rfind(|c| !is_word(c)).map_or(0, |found| {
            found
                + typed.get(found..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
        });
        let (before, word) = typed.split_at_checked(start).unwrap_or((typed, ""));
        let fitting = self.candidates(before, word).into_iter();
        let fitting = fitting.filter(|candidate| candidate.starts_with(word));
        let pairs = fitting.map(|name| Pair { display: name.clone(), replacement: name });
        Ok((start, pairs.collect()))
    }
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let line = context.input();
        let goes_on = line.ends_with('\\') || shell_words::split(line).is_err();
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Highlighter for ShellHelper {}

impl Helper for ShellHelper {}
