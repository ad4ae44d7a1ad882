//! DataFold on each engine beside the bare engines, SQLite with a history by triggers, and a limit:
//! `cargo run --release -p datafold-bench -- table`.
//!
//! Each subject runs in a process of its own, which this one tells what to do. In each round every
//! subject has its turn, so that what else the machine does touches all alike; the median of the
//! rounds counts, and the ratios are medians of the ratios in each round. `--quick` measures less;
//! `--write` puts the table into `docs/performance.md`.

mod child;
mod machine;
mod phases;
mod process;
mod report;
mod subject;

use std::path::Path;

pub(crate) use child::run as run_child;
use phases::Effort;
use report::Report;

use crate::bench_import;
use crate::fixture;

/// The argument that makes a child of a process.
pub(crate) const CHILD: &str = "table-subject";
/// Records of the small store.
const SMALL: u64 = 1_000;
/// Versions of the record that has many.
const VERSIONS: u64 = 1_000;

pub(crate) fn run(arguments: &[String], flights: &Path) {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let effort = if has("--quick") { Effort::QUICK } else { Effort::FULL };
    let folder = fixture::folder();
    let lines = folder.path().join("flights.ndjson");
    bench_import::write_lines(flights, &lines);
    let start = std::time::Instant::now();
    let mut report = Report::new();
    phases::writers(effort, folder.path(), &mut report);
    phases::million(effort, folder.path(), &mut report);
    phases::import(effort, folder.path(), &lines, &mut report);
    let text = report.markdown(&machine::description(arguments, folder.path(), start.elapsed()));
    report::print(&text);
    if has("--write") {
        report::write(&text);
    }
}
