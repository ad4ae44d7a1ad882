//! The command line as its users call it: the real program in a folder of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod changes;
mod commands;
mod elements;
mod errors;
mod export;
mod import;
mod migrate;
mod mutate;
mod pipes;
mod prices;
mod quickstart;
mod recorded;
mod revisions;
mod schemas;
mod shell;
mod transforms;
mod wrong_inputs;

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The schema that most tests use.
const CITY: &str = r#"{"name": "City", "key": ["name"], "description": "Cities.", "fields": {
    "name": {"value": {"type": "string"}},
    "people": {"value": {"type": ["integer", "null"]}},
    "mayor": {"value": {"type": ["string", "null"]}}}}"#;

/// A folder in which the program is called, with the store in `datafold-data`.
struct Folder {
    dir: TempDir,
}

/// What a call of the program answered.
#[derive(Debug)]
struct Answer {
    out: String,
    err: String,
    code: i32,
}

impl Folder {
    /// An empty folder.
    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A folder with a store.
    fn new() -> Self {
        let folder = Self::empty();
        folder.run(["init"]).done();
        folder
    }

    /// A folder with a store in which `City` is approved and has some records.
    fn with_cities() -> Self {
        let folder = Self::new();
        folder.write("city.json", CITY);
        folder.run(["schema", "load", "city.json"]).done();
        folder.run(["schema", "approve", "City"]).done();
        let records = r#"{"mutation": "create", "schema": "City", "records": [
            {"name": "Ulm", "people": 126000, "mayor": "Ann"}, {"name": "Aachen", "people": 249000},
            {"name": "Bonn"}]}"#;
        folder.pipe(["mutate", "-"], records.replace('\n', " ")).done();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The program, to be called in the folder.
    fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datafold"));
        command.args(args).current_dir(self.dir.path()).env_remove("DATAFOLD_STORE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Answer {
        self.command(args).output().unwrap().into()
    }

    /// Calls the program with an input.
    fn pipe<I: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = I>,
        input: impl AsRef<[u8]>,
    ) -> Answer {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The program may end before it has read everything.
        let _ = stdin.write_all(input.as_ref());
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }
}

impl Answer {
    /// The results, of a call that was to succeed.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The results as one JSON value.
    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// The results as a JSON value a line.
    #[track_caller]
    fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The notes, of a call that was to fail with this exit code; they contain no colours.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.err.contains('\u{1b}'), "{self:?}");
        self.err
    }
}
