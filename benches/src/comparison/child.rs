//! A subject in a process of its own, so that its memory is its own. It is told what to do line by
//! line, and answers each line with figures, or with `-` if it cannot do that.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::subject::{Fields, Kind, Session, Subject};
use super::{SMALL, VERSIONS};
use crate::bench_import;
use crate::fixture::Random;

/// The figures of a step.
type Figures = Option<Vec<f64>>;

/// The ids that steps create begin here, beyond those that are there.
const NEW_IDS: u64 = 1 << 32;
/// The item with many versions.
const DEEP: u64 = NEW_IDS - 1;

struct Child {
    kind: Kind,
    folder: PathBuf,
    /// Items in the large store.
    records: u64,
    large: Option<Box<dyn Subject>>,
    small: Option<Box<dyn Subject>>,
    /// The moments of the versions of the deep item.
    moments: Vec<u64>,
    next_id: u64,
    steps: u64,
}

/// Runs a subject until its input ends.
pub(crate) fn run(name: &str, folder: &Path) {
    let mut child = Child {
        kind: Kind::of_name(name),
        folder: folder.to_owned(),
        records: 0,
        large: None,
        small: None,
        moments: Vec::new(),
        next_id: NEW_IDS,
        steps: 0,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let figures = child.step(words[0], &words[1..]);
        let answer = figures.map_or("-".to_owned(), |figures| {
            figures.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
    child.close();
}

impl Child {
    fn step(&mut self, step: &str, words: &[&str]) -> Figures {
        self.steps += 1;
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match step {
            "fill" => self.fill(number(0)),
            "open" => self.open(number(0)),
            "small" => self.fill_small(),
            "warm" => self.warm(number(0)),
            "writers" => Some(vec![self.writers(number(0), words[1].parse().unwrap())]),
            "points" => Some(vec![self.points(number(0), number(1))]),
            "scan" => Some(vec![self.scan(words[0])]),
            "growth" => Some(self.growth(words[0], number(1))),
            "deepen" => self.deepen(),
            "depth" => self.depth(number(0)),
            "past" => self.past(number(0)),
            "history" => self.history(number(0)),
            "import" => Some(self.import(Path::new(words[0]))),
            "peak" => Some(vec![bench_import::peak_bytes("self").unwrap() as f64 / 1e6]),
            other => panic!("there is no step {other}"),
        }
    }

    fn close(&mut self) {
        for store in [self.large.take(), self.small.take()].into_iter().flatten() {
            store.close();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn large(&self) -> &dyn Subject {
        self.large.as_deref().unwrap()
    }

    /// Fills the large store and closes it; answers the bytes on disk of a record.
    fn fill(&mut self, records: u64) -> Figures {
        let path = self.path("large");
        if !self.kind.is_on_disk() {
            return None;
        }
        let store = self.kind.open(&path);
        store.fill(0..records);
        store.close();
        Some(vec![disk_bytes(&path) as f64 / records as f64])
    }

    /// Opens the large store; answers the milliseconds until its first record is read.
    fn open(&mut self, records: u64) -> Figures {
        self.records = records;
        if !self.kind.is_on_disk() {
            if self.large.is_none() {
                let store = self.kind.open(&self.path("large"));
                store.fill(0..records);
                self.large = Some(store);
            }
            return None;
        }
        self.close();
        let start = Instant::now();
        let store = self.kind.open(&self.path("large"));
        store.session(&mut |session| assert_eq!(session.get(records / 2), 0));
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        store.session(&mut |session| {
            let id = records / 3;
            assert_eq!(session.text(id), super::subject::text_of(id));
        });
        self.large = Some(store);
        Some(vec![elapsed])
    }

    fn fill_small(&mut self) -> Figures {
        let store = self.kind.open(&self.path("small"));
        store.fill(0..SMALL);
        self.small = Some(store);
        Some(Vec::new())
    }

    /// Reads everything once on each of some threads.
    fn warm(&mut self, threads: u64) -> Figures {
        self.timed(threads, |_, session| {
            for id in 0..self.records {
                session.get(id);
            }
        });
        Some(Vec::new())
    }

    /// Runs `body` on some threads, each with its own session; answers the seconds from when the
    /// first one begins, once all are ready, until the last one ends.
    fn timed(&self, threads: u64, body: impl Fn(u64, &mut dyn Session) + Sync) -> f64 {
        let ready = Barrier::new(threads as usize);
        let turns = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..threads {
                let (ready, body, turns) = (&ready, &body, &turns);
                scope.spawn(move || {
                    self.large().session(&mut |session| {
                        ready.wait();
                        // Told by the threads themselves: on a busy machine another one may come
                        // to look at its clock when they are through.
                        let begin = Instant::now();
                        body(thread, session);
                        turns.lock().unwrap().push((begin, Instant::now()));
                    });
                });
            }
        });
        let turns = turns.into_inner().unwrap();
        let begin = turns.iter().map(|(begin, _)| *begin).min().unwrap();
        let end = turns.iter().map(|(_, end)| *end).max().unwrap();
        (end - begin).as_secs_f64()
    }

    /// Durable updates of one field a second.
    fn writers(&self, threads: u64, seconds: f64) -> f64 {
        let done = AtomicU64::new(0);
        let elapsed = self.timed(threads, |thread, session| {
            let mut random = Random(self.steps << 32 | thread);
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            let mut mine = 0;
            while Instant::now() < end {
                session.update(random.below(self.records), random.below(1_000));
                mine += 1;
            }
            done.fetch_add(mine, Ordering::Relaxed);
        });
        done.into_inner() as f64 / elapsed
    }

    /// Reads of random records a second.
    fn points(&self, threads: u64, count: u64) -> f64 {
        let elapsed = self.timed(threads, |thread, session| {
            let mut random = Random(self.steps << 32 | thread);
            for _ in 0..count {
                session.get(random.below(self.records));
            }
        });
        (threads * count) as f64 / elapsed
    }

    /// Rows a second.
    fn scan(&self, fields: &str) -> f64 {
        let fields = if fields == "one" { Fields::One } else { Fields::All };
        let elapsed = self.timed(1, |_, session| {
            assert_eq!(session.scan(fields), self.records);
        });
        self.records as f64 / elapsed
    }

    /// Microseconds of an operation in the large store and in the small one.
    fn growth(&mut self, operation: &str, count: u64) -> Vec<f64> {
        let mut figures = Vec::new();
        let stores = [(&self.large, self.records), (&self.small, SMALL)];
        for (store, records) in stores {
            let mut random = Random(self.steps);
            let mut elapsed = 0.0;
            store.as_deref().unwrap().session(&mut |session| {
                let start = Instant::now();
                for at in 0..count {
                    match operation {
                        "read" => _ = session.get(random.below(records)),
                        "update" => _ = session.update(random.below(records), at),
                        _ => session.create(self.next_id + at, at),
                    }
                }
                elapsed = start.elapsed().as_secs_f64();
            });
            figures.push(elapsed * 1e6 / count as f64);
        }
        self.next_id += count;
        figures
    }

    /// Makes an item with many versions.
    fn deepen(&mut self) -> Figures {
        if !self.kind.has_history() {
            return None;
        }
        let mut moments = Vec::new();
        self.large().session(&mut |session| {
            session.create(DEEP - 1, 0);
            session.create(DEEP, 0);
            for version in 1..VERSIONS {
                moments.push(session.update(DEEP, version));
            }
            for (at, moment) in moments.iter().enumerate() {
                assert_eq!(session.get_as_of(DEEP, *moment), at as u64 + 1);
            }
            assert_eq!(session.history(DEEP), VERSIONS);
        });
        self.moments = moments;
        Some(Vec::new())
    }

    /// Microseconds of `count` calls of `read`.
    fn micros(&self, count: u64, mut read: impl FnMut(&mut dyn Session)) -> f64 {
        let mut elapsed = 0.0;
        self.large().session(&mut |session| {
            read(session);
            let start = Instant::now();
            for _ in 0..count {
                read(session);
            }
            elapsed = start.elapsed().as_secs_f64();
        });
        elapsed * 1e6 / count as f64
    }

    /// A read of the item with many versions, and one of an item with a single version.
    fn depth(&self, count: u64) -> Figures {
        if self.moments.is_empty() {
            return None;
        }
        let many = self.micros(count, |session| _ = session.get(DEEP));
        let one = self.micros(count, |session| _ = session.get(DEEP - 1));
        Some(vec![many, one])
    }

    /// A read of the item as it was, and as it is.
    fn past(&self, count: u64) -> Figures {
        if self.moments.is_empty() {
            return None;
        }
        let mut random = Random(self.steps);
        let past = self.micros(count, |session| {
            let at = random.below(self.moments.len() as u64 - 1) as usize;
            session.get_as_of(DEEP, self.moments[at]);
        });
        Some(vec![past, self.micros(count, |session| _ = session.get(DEEP))])
    }

    /// Versions a second, reading all of the item.
    fn history(&self, count: u64) -> Figures {
        if self.moments.is_empty() {
            return None;
        }
        let all = self.micros(count, |session| _ = session.history(DEEP));
        Some(vec![VERSIONS as f64 * 1e6 / all])
    }

    /// Rows a second, seconds of CPU of a million rows, and the bytes on disk of one.
    fn import(&self, lines: &Path) -> Vec<f64> {
        let path = self.path(&format!("import{}", self.steps));
        let columns = columns_of(lines);
        let store = self.kind.open(&path);
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let rows = store.import(lines, &columns) as f64;
        let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        store.close();
        let mut figures = vec![rows / elapsed, cpu * 1e6 / rows];
        if self.kind.is_on_disk() {
            figures.push(disk_bytes(&path) as f64 / rows);
            std::fs::remove_dir_all(&path).unwrap();
        }
        figures
    }
}

/// The names in the first line, which are those of every line.
fn columns_of(lines: &Path) -> Vec<String> {
    let first = BufReader::new(File::open(lines).unwrap()).lines().next().unwrap().unwrap();
    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&first).unwrap();
    row.keys().cloned().collect()
}

/// The time of the processor that this process has had, all threads.
fn cpu_seconds() -> f64 {
    // Fields 14 and 15, in hundredths of a second on Linux; the name in brackets may hold blanks.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// What the files of a folder occupy.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            folder if folder.is_dir() => disk_bytes(&entry.path()),
            file => file.blocks() * 512,
        })
        .sum()
}
