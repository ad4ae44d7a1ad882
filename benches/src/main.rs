//! What DataFold costs beside the bare engine: `cargo run --release -p datafold-bench`.
//!
//! Every figure is a ratio of two measurements of one run, taken in turns, since the machine may
//! be busy with other things. Names of benches as arguments run only those; `--quick` runs each
//! with less data. `--flights=FILE` names the CSV file (gzip) of flights for the bench of imports,
//! queries and transforms, instead of the month that the project ships; `--only=WORDS` those
//! queries or parts of transforms that are measured. Results go to standard output as a table in
//! Markdown.
//!
//! `-- table` measures DataFold on each engine beside the bare engines, SQLite and a limit, all in
//! turns; see the module `comparison`. It runs only if it is named.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a measuring program: it prints, and ends at the first surprise"
)]

mod bare;
mod bench_elements;
mod bench_growth;
mod bench_import;
mod bench_indexes;
mod bench_locks;
mod bench_memory;
mod bench_mutations;
mod bench_open;
mod bench_queries;
mod bench_reads;
mod bench_transforms;
mod comparison;
mod fixture;
mod table;

use std::path::PathBuf;

use table::Table;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Records of the large store.
    records: u64,
    /// Seconds of each phase.
    seconds: f64,
    /// How often each pair is measured; the median counts.
    rounds: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, subject, folder] = &arguments[..]
        && first == comparison::CHILD
    {
        comparison::run_child(subject, folder.as_ref());
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let size = if quick {
        Size { records: 100_000, seconds: 0.5, rounds: 3 }
    } else {
        Size { records: 1_000_000, seconds: 2.0, rounds: 5 }
    };
    let flights = arguments.iter().find_map(|argument| argument.strip_prefix("--flights="));
    let flights = flights.map_or_else(bench_import::shipped_flights, PathBuf::from);
    if arguments.iter().any(|argument| argument == "table") {
        comparison::run(&arguments, &flights);
        return;
    }
    let chosen: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| *chosen == name);
    let mut table = Table::new();
    // The first one, since it measures the memory of the process.
    if wanted("import") {
        bench_import::run(&flights, &mut table);
    }
    if wanted("mutations") {
        bench_mutations::run(size, &mut table);
    }
    if wanted("growth") {
        bench_growth::run(size, &mut table);
    }
    if wanted("reads") {
        bench_reads::run_points(size, &mut table);
    }
    if wanted("scans") {
        bench_reads::run_scans(size, &mut table);
    }
    if wanted("elements") {
        bench_elements::run(size, &mut table);
    }
    if wanted("open") {
        bench_open::run(size, &mut table);
    }
    if wanted("indexes") {
        bench_indexes::run(size, &mut table);
    }
    if wanted("memory") {
        bench_memory::run(size, &flights, &mut table);
    }
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let only = only.unwrap_or_default();
    if wanted("queries") {
        bench_queries::run(&flights, size.rounds, only, &mut table);
    }
    if wanted("transforms") {
        let aggregates = !arguments.iter().any(|argument| argument == "--without-aggregates");
        let choice = bench_transforms::Choice { flights: &flights, only, aggregates };
        bench_transforms::run(size, choice, &mut table);
    }
    if wanted("locks") {
        bench_locks::run(size, &mut table);
    }
    table.print();
}
