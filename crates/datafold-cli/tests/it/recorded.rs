//! The documents that show the command line: their commands are called, and what they print is
//! what the program prints.
//!
//! A block that begins with ```` ```console ```` holds commands behind `$ `, each followed by its
//! output; a line behind `> ` goes on with the command above it. The blocks of a document are one
//! session of a shell. `DATAFOLD_RECORD=1 cargo test -p datafold-cli --test it recorded` writes
//! the output anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex_lite::Regex;

use crate::Folder;

/// Stands between the outputs of two commands.
const MARK: &str = "=== the next command ===";

/// A document in pieces.
struct Document {
    pieces: Vec<Piece>,
}

enum Piece {
    /// Lines that are no command.
    Text(String),
    /// A command as it stands there, with `$ ` and `> `, and its output.
    Step { command: String, output: String },
}

impl Document {
    fn parse(text: &str) -> Self {
        let mut pieces = vec![Piece::Text(String::new())];
        let mut is_session = false;
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end();
            if bare.starts_with("```") {
                is_session = bare == "```console";
                pieces.push(Piece::Text(line.to_owned()));
                continue;
            }
            match (is_session, pieces.last_mut()) {
                (true, _) if bare.starts_with("$ ") => {
                    pieces.push(Piece::Step { command: line.to_owned(), output: String::new() });
                }
                (true, Some(Piece::Step { command, output }))
                    if output.is_empty() && bare.starts_with('>') =>
                {
                    *command += line;
                }
                (true, Some(Piece::Step { output, .. })) => *output += line,
                (_, Some(Piece::Text(text))) => *text += line,
                _ => pieces.push(Piece::Text(line.to_owned())),
            }
        }
        Self { pieces }
    }

    fn commands(&self) -> Vec<&str> {
        let mut commands = Vec::new();
        for piece in &self.pieces {
            if let Piece::Step { command, .. } = piece {
                commands.push(command.as_str());
            }
        }
        commands
    }

    /// The commands as a script.
    fn script(&self) -> String {
        let mut script = "exec 2>&1\n".to_owned();
        for command in self.commands() {
            for line in command.lines() {
                let line = line.strip_prefix("$ ").or(line.strip_prefix("> ")).unwrap_or("");
                script += line;
                script.push('\n');
            }
            // The status of the command is there for the next one.
            script += &format!("status=$?; echo '{MARK}'; (exit $status)\n");
        }
        script
    }

    /// The document with other outputs where they differ in more than what is never the same;
    /// and what differs.
    fn with_outputs(&self, outputs: &[String]) -> (String, Vec<String>) {
        let mut outputs = outputs.iter();
        let (mut text, mut differs) = (String::new(), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text += part,
                Piece::Step { command, output } => {
                    let found = outputs.next().cloned().unwrap_or_default();
                    text += command;
                    if settled(&found) == settled(output) {
                        text += output;
                    } else {
                        text += &found;
                        differs.push(format!("{command}prints:\n{found}not:\n{output}"));
                    }
                }
            }
        }
        (text, differs)
    }
}

/// A text without what is another one each time: times of commits, ids of stores, durations and
/// sizes.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z", "TIME"),
        (r"\b[0-9a-f]{32}\b", "STORE"),
        (r"\b(\d+\.\d+)\.[0-9a-f]{8}\b", "$1.STORE"),
        (r"in \d+\.\d s \([\d,]+ rows/s\)", "in DURATION"),
        (r"\d+\.\d [KM]iB", "SIZE"),
        (r#""size_bytes":\d+"#, "SIZE"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text
}

/// What the commands of a document print in a folder.
fn outputs(document: &Document, folder: &Path) -> Vec<String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_datafold")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &document.script()]).current_dir(folder);
    shell.env("PATH", format!("{}:{path}", programs.display()));
    for variable in ["DATAFOLD_STORE", "CLICOLOR_FORCE"] {
        shell.env_remove(variable);
    }
    let output = shell.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mark = format!("{MARK}\n");
    let mut outputs: Vec<_> = text.split(&mark).map(str::to_owned).collect();
    // Behind the last command is nothing.
    assert_eq!(outputs.pop().as_deref(), Some(""), "{text}");
    outputs
}

/// Calls the commands of a document in a copy of a folder.
#[track_caller]
fn check(path: &Path, copied: Option<&Path>) {
    let text = fs::read_to_string(path).unwrap();
    let document = Document::parse(&text);
    assert!(!document.commands().is_empty(), "{} has no commands", path.display());
    let folder = Folder::empty();
    if let Some(copied) = copied {
        copy(copied, &folder.path(""));
    }
    let (written, differs) = document.with_outputs(&outputs(&document, &folder.path("")));
    if std::env::var_os("DATAFOLD_RECORD").is_some() {
        fs::write(path, written).unwrap();
        return;
    }
    let how = "DATAFOLD_RECORD=1 cargo test -p datafold-cli --test it recorded";
    assert!(differs.is_empty(), "{}; {how}\n{}", path.display(), differs.join("\n"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_walk_through_the_command_line_is_what_the_program_prints() {
    check(&root().join("docs/cli.md"), None);
}

/// Every example shows commands, but the one that is a tour of its own.
#[test]
fn the_examples_are_what_the_program_prints() {
    let mut folders: Vec<_> = fs::read_dir(root().join("examples")).unwrap().collect();
    folders.sort_by_key(|entry| entry.as_ref().unwrap().path());
    let mut count = 0;
    for folder in folders {
        let folder = folder.unwrap().path();
        if folder.file_name().is_some_and(|name| name != "nycflights") {
            check(&folder.join("README.md"), Some(&folder));
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn canary_documents() {
    let text = "# a\n```console\n$ echo a; \\\n>   echo b\na\nb\n\n\
                \
                \
                $ false || echo 2013-01-01T00:00:00.123456Z\n\
                2014-02-03T04:05:06.000001Z\n```\nb\n```sh\n$ no command\n```\n";
    let document = Document::parse(text);
    assert_eq!(document.commands().len(), 2);
    let folder = Folder::empty();
    let printed = outputs(&document, &folder.path(""));
    let (written, differs) = document.with_outputs(&printed);
    // The empty line in front of the second command is no output.
    assert_eq!(differs.len(), 1, "{differs:?}");
    assert_eq!(written, text.replace("b\n\n$", "b\n$"));
    let wrong = Document::parse(&text.replace("a\nb\n\n", "a\nc\n"));
    assert_eq!(wrong.with_outputs(&printed).1.len(), 1);
    let right = Document::parse(&text.replace("b\n\n", "b\n"));
    assert!(right.with_outputs(&printed).1.is_empty());
}
