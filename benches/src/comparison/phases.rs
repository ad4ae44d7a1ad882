//! What is measured, in what order, and how much of it.

use std::path::Path;

use super::process::Processes;
use super::report::{Better, Report};
use super::{SMALL, VERSIONS};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Rounds of each figure.
    rounds: usize,
    /// Records of the large store.
    records: u64,
    /// Records of the store that many write to.
    written: u64,
    /// Seconds of the writers' turns.
    seconds: f64,
    /// Reads of a turn.
    reads: u64,
    /// Durable writes of a turn of one writer.
    writes: u64,
}

impl Effort {
    pub(super) const FULL: Self = Self {
        rounds: 5,
        records: 1_000_000,
        written: 100_000,
        seconds: 1.0,
        reads: 100_000,
        writes: 1_000,
    };
    pub(super) const QUICK: Self = Self {
        rounds: 3,
        records: 30_000,
        written: 10_000,
        seconds: 0.2,
        reads: 10_000,
        writes: 100,
    };
}

/// Many writers, many versions and the past.
pub(super) fn writers(effort: Effort, folder: &Path, report: &mut Report) {
    let folder = folder.join("writers");
    let mut all = Processes::begin(&folder);
    all.each(&format!("fill {}", effort.written));
    all.each(&format!("open {}", effort.written));
    for writers in [1, 4, 16, 64] {
        let rounds = all.rounds(effort.rounds, &format!("writers {writers} {}", effort.seconds));
        let what = format!("durable one-field updates a second, {}", plural(writers, "writer"));
        report.add(&what, Better::Higher, 0, &rounds);
    }
    all.each("deepen");
    let rounds = all.rounds(effort.rounds, &format!("depth {}", effort.reads));
    report.add(&format!("read a record with {VERSIONS} versions, µs"), Better::Lower, 0, &rounds);
    report.add_factor("that beside a record with 1 version", &rounds);
    let rounds = all.rounds(effort.rounds, &format!("past {}", effort.reads));
    let what = format!("read it as of one of its {VERSIONS} moments, µs");
    report.add(&what, Better::Lower, 0, &rounds);
    report.add_factor("that beside now", &rounds);
    let rounds = all.rounds(effort.rounds, "history 50");
    report.add("read all its versions, versions a second", Better::Higher, 0, &rounds);
    all.end();
    std::fs::remove_dir_all(folder).unwrap();
}

/// One process after the other fills a large store; others open it and work in it.
pub(super) fn million(effort: Effort, folder: &Path, report: &mut Report) {
    let folder = folder.join("million");
    let records = effort.records;
    let mut filling = Processes::begin(&folder);
    let disk = filling.rounds(1, &format!("fill {records}"));
    filling.end();
    let mut all = Processes::begin(&folder);
    let opening = all.rounds(effort.rounds, &format!("open {records}"));
    all.each("warm 1");
    let points = all.rounds(effort.rounds, &format!("points 1 {}", effort.reads));
    let one = all.rounds(effort.rounds, "scan one");
    let every = all.rounds(effort.rounds, "scan all");
    let peak = all.rounds(1, "peak");
    all.each("warm 4");
    let points_4 = all.rounds(effort.rounds, &format!("points 4 {}", effort.reads));
    report.add("point reads a second, 1 thread", Better::Higher, 0, &points);
    report.add("point reads a second, 4 threads", Better::Higher, 0, &points_4);
    report.add("scan, one field, rows a second", Better::Higher, 0, &one);
    report.add("scan, all fields, rows a second", Better::Higher, 0, &every);
    all.each("small");
    let operations = [("read", effort.reads), ("update", effort.writes), ("create", effort.writes)];
    for (operation, count) in operations {
        // Without a round before, the small store's first turn would be its first at all.
        all.each(&format!("growth {operation} {count}"));
        let rounds = all.rounds(effort.rounds, &format!("growth {operation} {count}"));
        let what = format!("{operation}, one of {records} records, µs");
        report.add(&what, Better::Lower, 0, &rounds);
        report.add_factor(&format!("that beside one of {SMALL}"), &rounds);
    }
    report.add(
        &format!("open a store of {records} and read a record, ms"),
        Better::Lower,
        0,
        &opening,
    );
    let what = format!("peak memory, {records} records opened, read and scanned, MB");
    report.add(&what, Better::Lower, 0, &peak);
    report.add("disk of a record, bytes", Better::Lower, 0, &disk);
    all.end();
    std::fs::remove_dir_all(folder).unwrap();
}

/// The flights.
pub(super) fn import(effort: Effort, folder: &Path, lines: &Path, report: &mut Report) {
    let folder = folder.join("import");
    let mut all = Processes::begin(&folder);
    let rounds = all.rounds(effort.rounds, &format!("import {}", lines.display()));
    let peak = all.rounds(1, "peak");
    report.add("import of flights, rows a second", Better::Higher, 0, &rounds);
    report.add("CPU of it, seconds for a million rows", Better::Lower, 1, &rounds);
    report.add("disk of a flight, bytes", Better::Lower, 2, &rounds);
    report.add("peak memory of the import, MB", Better::Lower, 0, &peak);
    all.end();
    std::fs::remove_dir_all(folder).unwrap();
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
