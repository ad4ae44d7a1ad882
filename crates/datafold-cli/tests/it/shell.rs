//! The shell, in a real terminal.

use std::process::Command;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};

use crate::Folder;

/// The longest wait for what a shell is to print.
const PATIENCE: Duration = Duration::from_secs(30);
const TAB: &str = "\t";
const UP: &str = "\x1b[A";

struct Terminal {
    session: PtySession,
}

impl Terminal {
    fn open(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datafold"));
        command.arg("shell").current_dir(folder.path("."));
        command.env_remove("DATAFOLD_STORE").env("TERM", "xterm").env("NO_COLOR", "1");
        command.env("COLUMNS", "120").env("DATAFOLD_HISTORY", folder.path("history"));
        let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
        let mut terminal = Self { session: spawn_command(command, Some(patience)).unwrap() };
        terminal.sees("datafold> ");
        terminal
    }

    /// Types text as it is.
    fn types(&mut self, text: &str) {
        self.session.send(text).unwrap();
        self.session.flush().unwrap();
    }

    /// Types a line.
    fn line(&mut self, line: &str) {
        self.types(line);
        self.types("\r");
    }

    /// Waits until this is printed; answers what was printed before it.
    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        self.session.exp_string(text).unwrap()
    }

    /// Gives up the line that was begun. What is typed before the next prompt would be lost.
    #[track_caller]
    fn gives_up(&mut self) {
        self.types("\x03");
        self.sees("datafold> ");
    }

    #[track_caller]
    fn ends(mut self) {
        self.line(".quit");
        self.session.exp_eof().unwrap();
    }
}

#[test]
fn lines_are_carried_out_and_wrong_ones_told() {
    let folder = Folder::with_cities();
    let mut terminal = Terminal::open(&folder);
    terminal.line("query City --where 'people > 200000' --select name");
    terminal.sees("Aachen");
    terminal.sees("1 record");
    terminal.line("query City --where 'poeple > 1'");
    terminal.sees("there is no name `poeple`");
    terminal.sees("^^^^^^ did you mean `people`?");
    terminal.line(".timing");
    terminal.sees("timing is on");
    terminal.line(".schemas");
    terminal.sees("City");
    terminal.sees(" s\r\n");
    terminal.line(".nothing");
    terminal.sees("there is no `.nothing`");
    terminal.line("history City Ulm people");
    terminal.sees("126000");
    terminal.line("shell");
    terminal.sees("this is the shell");
    terminal.line("query --help");
    terminal.sees("--where");
    terminal.ends();
}

#[test]
fn words_are_completed() {
    let folder = Folder::with_cities();
    let mut terminal = Terminal::open(&folder);
    terminal.types(&format!("que{TAB}"));
    terminal.sees("query");
    terminal.types(&format!(" Ci{TAB}"));
    terminal.sees("City");
    terminal.types(&format!(" --sel{TAB}"));
    terminal.sees("select");
    terminal.line(&format!(" may{TAB} --where 'starts_w{TAB}(name, \"Ul\")'"));
    terminal.sees("Ann");
    terminal.sees("1 record");
    // Several that fit are listed.
    terminal.types(&format!("schema un{TAB}"));
    terminal.sees("unload");
    terminal.gives_up();
    terminal.types(&format!("schema l{TAB}{TAB}"));
    terminal.sees("list");
    terminal.sees("schema l");
    terminal.gives_up();
    terminal.ends();
}

#[test]
fn lines_are_found_again_also_by_the_next_shell() {
    let folder = Folder::with_cities();
    let mut terminal = Terminal::open(&folder);
    terminal.line("query City --key Bonn --select name,people");
    terminal.sees("Bonn");
    terminal.sees("1 record");
    terminal.sees("datafold> ");
    terminal.line(UP);
    terminal.sees("--key Bonn");
    terminal.sees("1 record");
    terminal.ends();
    let mut terminal = Terminal::open(&folder);
    terminal.line(&format!("{UP}{UP}"));
    terminal.sees("--key Bonn");
    terminal.sees("1 record");
    terminal.ends();
}

#[test]
fn a_line_goes_on_while_a_quote_is_open() {
    let folder = Folder::with_cities();
    let mut terminal = Terminal::open(&folder);
    terminal.line("query City \\");
    terminal.line("  --where 'people > 100000 &&");
    terminal.line("           people < 200000' --select name");
    terminal.sees("Ulm");
    terminal.sees("1 record");
    // A line that was begun is given up.
    terminal.sees("datafold> ");
    terminal.types("query 'nothing");
    terminal.sees("nothing");
    terminal.gives_up();
    terminal.line("stats");
    terminal.sees("records");
    terminal.ends();
}

#[test]
fn what_runs_is_interrupted_and_the_shell_goes_on() {
    let folder = Folder::with_cities();
    let line = |n: u32| format!("{{\"name\": \"c{n}\", \"people\": {n}}}\n");
    folder.write("cities.ndjson", (0..40_000).map(line).collect::<String>());
    folder.run(["import", "City", "cities.ndjson", "--batch", "10000"]).done();
    let mut terminal = Terminal::open(&folder);
    // It would run for a long time: every record goes through some thousand steps.
    let filter = "sum(range(0, 9000), n => n % 7) < people - 1000000";
    terminal.line(&format!("query City --where '{filter}' --sort people"));
    // The line has been read, so that the terminal makes a signal of what is typed.
    terminal.sees("\u{1b}[?2004l");
    terminal.types("\x03");
    terminal.sees("the query was interrupted");
    terminal.line("query City --aggregate 'n = count()'");
    terminal.sees("40003");
    terminal.ends();
}

#[test]
fn lines_that_are_piped_in_are_carried_out() {
    let folder = Folder::with_cities();
    let answer = folder.pipe(
        ["shell", "--format", "csv"],
        "query City --key Ulm --select people\n\n\
         query City --key Bonn --select name --format ndjson\n",
    );
    assert_eq!(answer.out, "people\n126000\n{\"name\":\"Bonn\"}\n");
    assert_eq!((answer.err.as_str(), answer.code), ("", 0));
    // What clap refuses is a failure too, and help is none.
    for (line, code) in [("query", 2), ("frobnicate", 2), ("query --help", 0)] {
        assert_eq!(folder.pipe(["shell"], line).code, code, "{line}");
    }
    let answer = folder.pipe(["shell"], "query Nope\nstats\n");
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.out.contains("records"), "{answer:?}");
    assert_eq!(answer.err.matches("does not exist").count(), 1, "{answer:?}");
}
