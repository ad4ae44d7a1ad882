//! The most memory of the program while it reads much, in a process of its own for each command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Size;
use crate::fixture;
use crate::table::Table;

const GOAL_MB: f64 = 200.0;
/// What is asked of all records, and whether it is more than may be kept.
const COMMANDS: [(&str, &[&str], bool); 5] = [
    ("query of all", &["query", "Item"], false),
    (
        "query with the first 10 by text",
        &["query", "Item", "--sort=text desc", "--limit=10"],
        false,
    ),
    ("export", &["export", "Item"], false),
    ("sort of all by text", &["query", "Item", "--sort=text desc"], true),
    ("group for each text", &["query", "Item", "--group-by=text", "--aggregate=n = count()"], true),
];

pub(crate) fn run(size: Size, table: &mut Table) {
    let Some(program) = program() else {
        eprintln!("memory: left out, since it runs the program: cargo build --release");
        return;
    };
    let folder = fixture::folder();
    let stores = [size.records / 10, size.records].map(|records| {
        let path = folder.path().join(records.to_string());
        fixture::filled(&path, records);
        path
    });
    for (what, arguments, is_refused) in COMMANDS {
        let [small, large] = stores.each_ref().map(|store| peak(&program, store, arguments));
        assert_eq!(large.is_refused, is_refused, "{what}");
        let refused = if is_refused { ", refused" } else { "" };
        let large = large.bytes as f64 / 1e6;
        table.add(
            &format!("peak memory of the program: {what}{refused}, {} records", size.records),
            format!("{large:.0} MB"),
            format!("{:.0} MB with a tenth of them", small.bytes as f64 / 1e6),
            large / GOAL_MB,
            "at most 1 of 200 MB",
        );
    }
}

/// The program, built beside this one.
fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name("datafold");
    program.exists().then_some(program)
}

struct Peak {
    bytes: u64,
    is_refused: bool,
}

/// Runs the program to its end, and looks at the most memory that it has had so far all the time.
fn peak(program: &Path, store: &Path, arguments: &[&str]) -> Peak {
    let mut command = Command::new(program);
    command.arg("--store").arg(store).args(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut bytes = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        bytes = bytes.max(kib.unwrap_or(0) * 1024);
        if let Some(exit) = child.try_wait().unwrap() {
            return Peak { bytes, is_refused: !exit.success() };
        }
        thread::sleep(Duration::from_millis(2));
    }
}
