//! The process that is killed: this test binary once more, told by a variable what to do.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdout, Command, Stdio};
use std::str::FromStr;

use datafold::FoldDb;
use datafold::data_layer::PoolOptions;
use datafold_store::OpenOptions;

use super::compare::{Acknowledged, Expected};
use super::imports;
use super::load::{self, Run, set_up};

/// What the child does, as words; the path is the last one.
const JOB: &str = "DATAFOLD_TEST_KILLS_JOB";

/// The test that is the child when the variable is set.
const CHILD_TEST: &str = "kills::killed_processes_lose_tear_and_invent_nothing_on_redb";

/// An engine and a folder of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) engine: &'static str,
    pub(crate) folder: PathBuf,
    /// The size of the commit log, if the store is created.
    pub(crate) log_bytes: u64,
}

impl Place {
    pub(crate) fn new(engine: &'static str, folder: &Path, log_bytes: u64) -> Self {
        Self { engine, folder: folder.join("store"), log_bytes }
    }

    pub(crate) fn open(&self, create: bool) -> Result<FoldDb, datafold::FoldDbError> {
        // A small cache, so that pages are also read from the disk.
        let store = OpenOptions {
            create,
            cache_bytes: 256 << 10,
            log_bytes: self.log_bytes,
            ..OpenOptions::default()
        };
        let url = format!("{}:{}", self.engine, self.folder.display());
        FoldDb::open_with(&url, &PoolOptions { store, ..PoolOptions::default() })
    }
}

impl Place {
    /// Opens a store that nobody has open.
    ///
    /// A process that another test is about to begin holds this one's locks too, until it has
    /// become another program; so this asks more than once.
    pub(crate) fn open_free(&self, create: bool) -> Result<FoldDb, datafold::FoldDbError> {
        for _ in 0..100_000 {
            match self.open(create) {
                Err(error) if error.code() == "store_already_open" => std::thread::yield_now(),
                opened => return opened,
            }
        }
        self.open(create)
    }
}

/// What a child is to do in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Load(Run),
    Import(imports::Input),
}

impl Job {
    /// The words of the variable.
    fn words(&self, place: &Place) -> String {
        let place = format!("{} {} {}", place.engine, place.log_bytes, place.folder.display());
        match self {
            Job::Load(run) => format!(
                "load {} {} {} {} {place}",
                run.seed,
                run.writers,
                run.last.unwrap_or(0),
                run.acknowledges_early
            ),
            Job::Import(input) => format!(
                "import {} {} {} {} {place}",
                input.seed, input.rows, input.batch_rows, input.acknowledges_early
            ),
        }
    }

    fn parse(text: &str) -> (Self, Place) {
        let words: Vec<_> = text.splitn(8, ' ').collect();
        let early = word(words[4]);
        let job = match words[0] {
            "load" => Job::Load(Run {
                seed: word(words[1]),
                writers: word(words[2]),
                last: Some(word(words[3])).filter(|last| *last > 0),
                is_durable: false,
                acknowledges_early: early,
            }),
            "import" => Job::Import(imports::Input {
                seed: word(words[1]),
                rows: word(words[2]),
                batch_rows: word(words[3]),
                acknowledges_early: early,
            }),
            other => panic!("{other} is no job"),
        };
        let engine = if words[5] == "sled" { "sled" } else { "redb" };
        (job, Place { engine, log_bytes: word(words[6]), folder: words[7].into() })
    }
}

fn word<T: FromStr>(text: &str) -> T {
    text.parse().ok().unwrap()
}

/// Does the child's work if this process is one.
pub(crate) fn is_child() -> bool {
    let Ok(job) = env::var(JOB) else { return false };
    let (job, place) = Job::parse(&job);
    // The harness of the tests has begun a line.
    say("");
    say("opening");
    match job {
        Job::Import(input) => imports::import(&place, &input),
        Job::Load(run) => {
            let db = place.open_free(true).unwrap();
            set_up(&db);
            let mut expected = Expected::new(run.seed);
            expected.resume(&db).unwrap();
            let stopped = load::run(&db, &run, &expected.begin(), &|writer, n, commit| {
                say(&format!("acknowledged {writer} {n} {commit}"));
            });
            assert!(stopped.is_empty(), "{stopped:?}");
            db.pool().close().unwrap();
        }
    }
    true
}

/// Writes a line to the parent, whole.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A child at work. It is killed when this is dropped.
pub(crate) struct Child {
    process: process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// The rows that an import has read; the last batches of them are on their way.
    read: u64,
    /// The rows of an import that are known to be durable.
    pub(crate) rows: u64,
}

impl Child {
    pub(crate) fn spawn(job: &Job, place: &Place) -> Self {
        Self::spawn_under(&[], job, place)
    }

    /// Begins a child under another program, such as strace with its options.
    pub(crate) fn spawn_under(wrapper: &[String], job: &Job, place: &Place) -> Self {
        let exe = env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(exe),
            [program, options @ ..] => {
                let mut command = Command::new(program);
                command.args(options).arg(exe);
                command
            }
        };
        let mut process = command
            .args(["--exact", CHILD_TEST, "--test-threads=1", "--nocapture"])
            .env(JOB, job.words(place))
            .env_remove("DATAFOLD_SEED")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, acknowledged: Vec::new(), read: 0, rows: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the next line; answers false at the end of the process.
    fn read_line(&mut self) -> bool {
        let Some(Ok(line)) = self.lines.next() else { return false };
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["acknowledged", writer, n, commit] => self.acknowledged.push(Acknowledged {
                writer: word(writer),
                n: word(n),
                commit: word(commit),
            }),
            ["read", rows] => self.read = word(rows),
            ["imported", rows] => self.rows = word(rows),
            _ => {}
        }
        true
    }

    /// Waits until the child begins to open the store.
    pub(crate) fn wait_for_opening(&mut self) {
        while let Some(Ok(line)) = self.lines.next() {
            if line == "opening" {
                return;
            }
        }
        panic!("the child did not begin")
    }

    /// Waits until the child has acknowledged this many commits.
    ///
    /// # Panics
    ///
    /// If the child ends before.
    pub(crate) fn wait_for(&mut self, count: usize) {
        while self.acknowledged.len() < count {
            assert!(self.read_line(), "the child has ended by itself");
        }
    }

    /// Waits until an import has read this many rows, or has ended.
    pub(crate) fn wait_for_rows(&mut self, rows: u64) {
        while self.read < rows && self.read_line() {}
    }

    /// Kills the child and reads what it had said before.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        let signal = self.finish();
        assert_eq!(signal, Some(9), "the child has ended by itself");
    }

    /// Kills a child that may have ended meanwhile.
    pub(crate) fn kill_if_alive(&mut self) {
        self.process.kill().unwrap();
    }

    /// Waits for the end of the child; answers the signal that has ended it.
    ///
    /// # Panics
    ///
    /// If the child has failed.
    pub(crate) fn finish(&mut self) -> Option<i32> {
        while self.read_line() {}
        let status = self.process.wait().unwrap();
        assert!(status.success() || status.signal().is_some(), "the child has failed: {status}");
        status.signal()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Opens what a child has left. `None` if there is no store, which is right only if nothing was
/// acknowledged.
pub(crate) fn open_left(place: &Place, may_be_missing: bool) -> Result<Option<FoldDb>, String> {
    match place.open_free(false) {
        Ok(db) => Ok(Some(db)),
        Err(error)
            if may_be_missing && ["store_not_found", "not_found"].contains(&error.code()) =>
        {
            Ok(None)
        }
        Err(error) => Err(crate::harness::describe(&error)),
    }
}
