//! Who may name an engine, a runtime, the clock, random numbers, threads and files.

use crate::paths::paths;
use crate::source::{Finding, Source, assert_lines, check_all};

/// The files below a path without extension: the module's file, or its folder.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| {
        rest.is_empty() || rest == ".rs" || rest.starts_with('/') || place.ends_with('/')
    })
}

/// Crates, each with the only places that may name it.
const CRATES: &[(&str, &[&str])] = &[
    // The benchmarks run the bare engine beside ours.
    ("redb", &["crates/datafold-store/src/engine/redb", "benches/"]),
    ("rpds", &["crates/datafold-store/src/engine/memory"]),
    ("sled", &["crates/datafold-store/src/engine/sled", "benches/"]),
    ("tokio_postgres", &["crates/datafold-store/src/engine/postgres"]),
    ("tokio", ASYNC),
    ("axum", ASYNC),
    ("hyper", ASYNC),
];

const ASYNC: &[&str] =
    &["crates/datafold-node/", "crates/datafold-cli/", "crates/datafold-store/src/engine/postgres"];

fn crate_rule(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in paths(&source.code) {
        for (name, places) in CRATES {
            let allowed = places.iter().any(|place| is_in(&source.path, place));
            if path.is_of_crate(name) && !allowed {
                let what = format!("`{name}` may be named only in {}", places.join(", "));
                findings.push(source.finding(path.line, what));
            }
        }
    }
    findings
}

/// Something outside the process, and the files that are its seam.
struct Seam {
    what: &'static str,
    paths: &'static [&'static str],
    /// Each place with the reason why it is one.
    places: &'static [(&'static str, &'static str)],
}

const SEAMS: &[Seam] = &[
    Seam {
        what: "the clock",
        paths: &["SystemTime", "Zoned::now", "jiff::Timestamp::now"],
        places: &[("crates/datafold/src/clock.rs", "the seam `Clock`")],
    },
    Seam {
        what: "the stopwatch",
        paths: &["Instant"],
        places: &[
            ("crates/datafold/src/data_layer/meter.rs", "waits for locks; no answer depends on it"),
            ("crates/datafold/src/data_layer/publication.rs", "how long a subscription waits"),
            ("crates/datafold-cli/src/progress.rs", "rows per second; nothing of it is stored"),
            ("crates/datafold-testkit/src/fuzz", "how long a parser takes"),
        ],
    },
    Seam {
        what: "random numbers",
        paths: &["getrandom", "rand", "fastrand", "RandomState"],
        places: &[
            ("crates/datafold-store/src/identity.rs", "a store's id, given once"),
            ("crates/datafold/src/entropy.rs", "the tokens of batches"),
        ],
    },
    Seam {
        what: "memory of the operating system",
        paths: &["memmap2"],
        places: &[("crates/datafold/src/memory.rs", "memory in large pages")],
    },
    Seam {
        what: "the beginning of threads",
        paths: &["thread::spawn", "thread::Builder", "thread::scope"],
        places: &[
            ("crates/datafold/src/threads.rs", "the threads of the library"),
            ("crates/datafold-testkit/src/", "test doubles"),
        ],
    },
    Seam {
        what: "locks and atomics of the library",
        paths: &[
            "parking_lot",
            "arc_swap",
            "shuttle",
            "std::sync::atomic",
            "std::sync::Mutex",
            "std::sync::RwLock",
        ],
        places: &[
            ("crates/datafold/src/sync", "what schedules take the place of"),
            ("crates/datafold/src/threads.rs", "threads of a schedule"),
            ("crates/datafold/src/clock.rs", "a clock of tests"),
            ("crates/datafold/src/data_layer/meter.rs", "counts; no answer depends on them"),
            ("crates/datafold-store/", "the engines, whose calls are single steps of a schedule"),
            ("crates/datafold-cli/src/", "progress and interruption"),
            ("crates/datafold-testkit/src/", "test doubles"),
            ("benches/", "measures"),
        ],
    },
    Seam {
        what: "files",
        paths: &["std::fs"],
        places: &[
            ("crates/datafold-store/src/disk.rs", "the seam `Disk`"),
            ("crates/datafold-store/src/folder.rs", "the lock and the note of a store's folder"),
            ("crates/datafold-store/src/open.rs", "what is in a folder before it becomes a store"),
            (
                "crates/datafold-store/src/engine/sled",
                "the engine's own files, which it does not make durable itself",
            ),
            ("crates/datafold/src/schema/", "schema files that the owner names"),
            ("crates/datafold-cli/src/", "files that the arguments name"),
        ],
    },
];

/// Tests are free to use them, but for engines and runtimes.
fn seam_rule(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let code = source.product_code();
    for path in paths(&code) {
        for seam in SEAMS {
            let allowed = seam.places.iter().any(|(place, _)| is_in(&source.path, place));
            if !allowed && seam.paths.iter().any(|name| path.names(name)) {
                let places: Vec<_> = seam.places.iter().map(|(place, _)| *place).collect();
                let what = format!("{} stands behind {}", seam.what, places.join(", "));
                findings.push(source.finding(path.line, what));
            }
        }
    }
    findings
}

/// Waiting for time to pass makes a test slow, and wrong on a busy machine. A benchmark measures
/// for a time.
fn sleep_rule(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("benches/") {
        return Vec::new();
    }
    let sleeps = paths(&source.code).into_iter().filter(|path| path.names("thread::sleep"));
    sleeps.map(|path| source.finding(path.line, "nothing sleeps")).collect()
}

#[test]
fn engines_and_runtimes_are_named_in_their_modules_only() {
    check_all("engines and runtimes", crate_rule);
}

#[test]
fn clock_randomness_threads_and_files_stand_behind_their_seams() {
    check_all("seams", seam_rule);
}

#[test]
fn nothing_sleeps() {
    check_all("sleeping", sleep_rule);
}

#[test]
fn canary_engines_and_runtimes() {
    let use_redb = "use redb::{Database, Durability};\n";
    assert_lines(crate_rule, "crates/datafold-store/src/open.rs", use_redb, &[1, 1]);
    assert_lines(crate_rule, "crates/datafold-store/src/engine/redb.rs", use_redb, &[]);
    assert_lines(crate_rule, "crates/datafold-store/src/engine/redb/backend.rs", use_redb, &[]);
    assert_lines(crate_rule, "crates/datafold-store/src/engine/redb2.rs", use_redb, &[1, 1]);
    let ours = "pub use engine::redb::RedbStore;\nmod redb;\n// redb::Database\n";
    assert_lines(crate_rule, "crates/datafold-store/src/lib.rs", ours, &[]);
    let planted = "\nfn f() { ::sled::open(p); }\ntype T = rpds::List<u8>;\nextern crate axum;\n";
    assert_lines(crate_rule, "crates/datafold/tests/it/a.rs", planted, &[2, 3, 4]);
    let runtime = "use tokio::net;\nuse std::{io, fmt};\n";
    assert_lines(crate_rule, "crates/datafold/src/node/http.rs", runtime, &[1]);
    assert_lines(crate_rule, "crates/datafold-node/src/serve.rs", runtime, &[]);
}

#[test]
fn canary_seams() {
    let path = "crates/datafold/src/engine/query.rs";
    for (line, allowed) in [
        ("let t = SystemTime::now();", "crates/datafold/src/clock.rs"),
        ("use std::time::{Duration, SystemTime};", "crates/datafold/src/clock.rs"),
        ("let t = std::time::Instant::now();", "crates/datafold/src/data_layer/meter.rs"),
        ("getrandom::fill(&mut x);", "crates/datafold/src/entropy.rs"),
        ("thread::spawn(|| ());", "crates/datafold/src/threads.rs"),
        ("use std::thread::{Builder};", "crates/datafold/src/threads.rs"),
        ("use parking_lot::Mutex;", "crates/datafold/src/sync.rs"),
        ("use shuttle::sync::{Mutex};", "crates/datafold/src/sync/scheduled.rs"),
        ("use std::sync::atomic::AtomicU64;", "crates/datafold/src/clock.rs"),
        ("use std::{fmt, fs};", "crates/datafold/src/schema/service.rs"),
        ("std::fs::read(path);", "crates/datafold-store/src/disk.rs"),
    ] {
        let text = format!("\n{line}\n");
        assert_lines(seam_rule, path, &text, &[2]);
        assert_lines(seam_rule, allowed, &text, &[]);
        assert_lines(seam_rule, path, &format!("#[cfg(test)]\nmod tests {{\n{line}\n}}\n"), &[]);
    }
    assert_lines(seam_rule, path, "thread::park();\nuse std::thread::JoinHandle;\n", &[]);
    let sleep = "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(t); } }\n";
    assert_lines(sleep_rule, path, sleep, &[2]);
}
