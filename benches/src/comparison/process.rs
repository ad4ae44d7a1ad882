//! The child processes of one phase.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::CHILD;
use super::subject::Kind;

/// A subject's process.
struct Process {
    kind: Kind,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What each subject has answered to a step, in the order of the columns; `None` for one that
/// cannot do it.
pub(super) type Answers = Vec<Option<Vec<f64>>>;

/// One process for each subject.
pub(super) struct Processes(Vec<Process>);

impl Processes {
    /// Begins a process for each subject; each works in a folder of its own below `folder`.
    pub(super) fn begin(folder: &Path) -> Self {
        let begin = |kind: Kind| {
            let own = folder.join(kind.name());
            std::fs::create_dir_all(&own).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(CHILD).arg(kind.name()).arg(own);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let input = child.stdin.take().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            Process { kind, child, input, output }
        };
        Self(Kind::ALL.into_iter().map(begin).collect())
    }

    /// Has each subject in its turn do a step.
    pub(super) fn each(&mut self, step: &str) -> Answers {
        self.0.iter_mut().map(|process| process.ask(step)).collect()
    }

    /// As `each`, some times over.
    pub(super) fn rounds(&mut self, rounds: usize, step: &str) -> Vec<Answers> {
        let rounds: Vec<Answers> = (0..rounds).map(|_| self.each(step)).collect();
        let firsts = |answers: &Answers| {
            let first = |answer: &Option<Vec<f64>>| answer.as_ref().map_or(0.0, |all| all[0]);
            answers.iter().map(|answer| format!("{:.1}", first(answer))).collect::<Vec<_>>()
        };
        for answers in &rounds {
            eprintln!("{step}: {}", firsts(answers).join("  "));
        }
        rounds
    }

    /// Ends the processes, each when it has closed what it had open.
    pub(super) fn end(self) {
        for mut process in self.0 {
            drop(process.input);
            assert!(process.child.wait().unwrap().success(), "{}", process.kind.name());
        }
    }
}

impl Process {
    fn ask(&mut self, step: &str) -> Option<Vec<f64>> {
        writeln!(self.input, "{step}").unwrap();
        self.input.flush().unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "{} ended at {step}", self.kind.name());
        let figures = answer.split_whitespace();
        match answer.trim() {
            "-" => None,
            _ => Some(figures.map(|figure| figure.parse().unwrap()).collect()),
        }
    }
}
