//! The most memory of the program while it reads much, in a process of its own for each command.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Size;
use crate::bench_import;
use crate::fixture;
use crate::table::Table;

const GOAL_MB: f64 = 200.0;

/// A command that reads all records of a schema.
struct Reading {
    what: &'static str,
    arguments: &'static [&'static str],
    /// Whether it is more than may be kept.
    is_refused: bool,
}

const fn answered(what: &'static str, arguments: &'static [&'static str]) -> Reading {
    Reading { what, arguments, is_refused: false }
}

const fn refused(what: &'static str, arguments: &'static [&'static str]) -> Reading {
    Reading { what, arguments, is_refused: true }
}

const OF_ITEMS: [Reading; 6] = [
    answered("query of all", &["query", "Item"]),
    answered("export", &["export", "Item"]),
    answered("the first 10 by text", &["query", "Item", "--sort=text desc", "--limit=10"]),
    refused("sort of all by text", &["query", "Item", "--sort=text desc"]),
    refused(
        "group for each text",
        &["query", "Item", "--group-by=text", "--aggregate=n = count()"],
    ),
    refused("different texts", &["query", "Item", "--aggregate=n = count_distinct(text)"]),
];

const OF_FLIGHTS: [Reading; 8] = [
    answered("query of all", &["query", "Flight"]),
    answered("export", &["export", "Flight"]),
    answered("export as CSV", &["export", "Flight", "--format=csv"]),
    answered("sort of all by destination", &["query", "Flight", "--sort=dest"]),
    refused("sort of all by a long text", &["query", "Flight", "--sort=repeat(dest, 100)"]),
    refused(
        "group for each flight",
        &[
            "query",
            "Flight",
            "--group-by=carrier,flight,time_hour",
            "--aggregate=most = max(dep_delay)",
        ],
    ),
    // A sum takes far more from its first float on.
    refused(
        "sums of floats for each plane and day",
        &["query", "Flight", "--group-by=tailnum,month,day", "--aggregate=s = sum(distance + 0.5)"],
    ),
    // Groups that are almost too large, then sorted.
    answered(
        "sort of 336 groups with long texts",
        &[
            "query",
            "Flight",
            "--where=month == 1",
            "--group-by=g = flight % 336",
            "--aggregate=t = min(repeat(dest, 55000))",
            "--sort=t desc",
        ],
    ),
];

pub(crate) fn run(size: Size, flights: &Path, table: &mut Table) {
    let Some(program) = program() else {
        eprintln!("memory: left out, since it runs the program: cargo build --release");
        return;
    };
    let folder = fixture::folder();
    let [small, large] = [size.records / 10, size.records].map(|records| {
        let path = folder.path().join(records.to_string());
        fixture::filled(&path, records);
        path
    });
    let lines = folder.path().join("lines");
    bench_import::write_lines(flights, &lines);
    let year = folder.path().join("flights");
    let (count, _) = bench_import::import(&year, &lines);
    for reading in &OF_ITEMS {
        let peak = reading.peak(&program, &large);
        let beside = format!("{:.0} MB of a tenth", as_mb(reading.peak(&program, &small).bytes));
        reading.add(table, &format!("{} items", size.records), &peak, beside);
    }
    for reading in &OF_FLIGHTS {
        let peak = reading.peak(&program, &year);
        reading.add(table, &format!("{count} flights"), &peak, format!("{GOAL_MB:.0} MB"));
    }
}

fn as_mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Reading {
    fn add(&self, table: &mut Table, of: &str, peak: &Peak, beside: String) {
        // Less than all of them may not be too many.
        let refused = if peak.is_refused { ", refused" } else { "" };
        if peak.is_refused != self.is_refused {
            eprintln!("memory: {}: meant to be refused: {}", self.what, self.is_refused);
        }
        let mb = as_mb(peak.bytes);
        let what = format!("peak memory: {}{refused}, {of}", self.what);
        table.add(&what, format!("{mb:.0} MB"), beside, mb / GOAL_MB, "at most 1 of 200 MB");
    }

    /// Runs the program to its end, and looks at the most memory that it has had so far all the
    /// time.
    fn peak(&self, program: &Path, store: &Path) -> Peak {
        let mut command = Command::new(program);
        command.arg("--store").arg(store).args(self.arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let process = child.id().to_string();
        let mut bytes = 0;
        let exit = loop {
            bytes = bytes.max(bench_import::peak_bytes(&process).unwrap_or(0));
            if let Some(exit) = child.try_wait().unwrap() {
                break exit;
            }
            thread::sleep(Duration::from_millis(2));
        };
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(
            exit.success() || told.contains("more than 64 MiB of memory"),
            "{}: {told}",
            self.what
        );
        Peak { bytes, is_refused: !exit.success() }
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
