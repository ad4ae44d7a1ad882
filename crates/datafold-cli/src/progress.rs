//! How far a long command is.

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafold::engine::ImportProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Count, counted, note};

/// The time between two lines where standard error is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// The progress of an import: a bar in a terminal, else a line every two seconds.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    begin: Instant,
    last_line: Instant,
    read: Arc<AtomicU64>,
    /// The bytes of the input, if they are known.
    total: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to show the progress of reading `total` bytes.
    pub(crate) fn begin(name: &str, total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(name, total));
        let (begin, read) = (Instant::now(), Arc::default());
        Self { name: name.to_owned(), begin, last_line: begin, read, total, bar }
    }

    /// Counts the bytes that are read of the input.
    pub(crate) fn count<R: Read>(&self, input: R) -> CountedRead<R> {
        CountedRead { input, read: Arc::clone(&self.read) }
    }

    /// Shows how far an import is.
    pub(crate) fn show(&mut self, progress: ImportProgress) {
        self.show_rows(progress.rows);
    }

    /// Shows how many rows are done.
    pub(crate) fn show_rows(&mut self, rows: u64) {
        let read = self.read.load(Ordering::Relaxed);
        let rate = rate(rows, self.begin.elapsed());
        match &self.bar {
            Some(bar) => {
                bar.set_position(read);
                let rows = counted(rows, "row");
                bar.set_message(format!("{rows}, {} rows/s", Count(rate)));
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let rest = self.rest(read).unwrap_or_default();
                let (name, rows) = (&self.name, counted(rows, "row"));
                note(format_args!("{name}: {rows}, {} rows/s{rest}", Count(rate)));
            }
            None => {}
        }
    }

    /// How much is read and how long the rest will take, if the size is known.
    fn rest(&self, read: u64) -> Option<String> {
        let total = self.total.filter(|total| *total > 0 && read > 0)?;
        let spent = self.begin.elapsed().as_secs();
        let left = u128::from(spent) * u128::from(total.saturating_sub(read)) / u128::from(read);
        Some(format!(", {} % of the file, {left} s left", read.min(total) * 100 / total))
    }

    /// Takes the bar away; answers the time that it took.
    pub(crate) fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.begin.elapsed()
    }
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), BAR),
        None => (ProgressBar::new_spinner(), SPINNER),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_message("0 rows");
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const BAR: &str = "{prefix:>8} {bar:24.cyan/dim} {percent:>3} %  {msg}, {eta} left";
const SPINNER: &str = "{prefix:>8} {spinner}  {msg}, {elapsed}";

/// So many a second.
pub(crate) fn rate(count: u64, time: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

/// An input that counts what is read of it.
#[derive(Debug)]
pub(crate) struct CountedRead<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// How long something takes.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    begin: Instant,
}

impl Stopwatch {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self { begin: Instant::now() }
    }

    /// The seconds since.
    pub(crate) fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}
