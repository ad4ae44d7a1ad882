//! The limit: a map in memory, and a log that is appended to and synced before the map changes,
//! with the same committer as DataFold's. Nothing durable can be much faster; it has neither
//! history nor schemas nor a store that is larger than the memory.
//!
//! The committer: a writer that is alone syncs for itself; as soon as others queue up behind it, a
//! thread of its own takes all that is queued, and goes on until the queue is empty.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread::{self, JoinHandle, Thread};

use super::{BATCH, Fields, Session, Subject, row};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The log grows by so many bytes of zeros at a time, so that a sync writes no lengths.
const GROWTH_BYTES: usize = 8 << 20;
const HEADER_BYTES: usize = 16;

pub(super) struct Limit {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
}

struct Shared {
    map: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
    queue: Mutex<Queue>,
    work: Condvar,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Queued>,
    flushing: bool,
    closed: bool,
}

struct Queued {
    rows: Rows,
    ticket: Arc<Ticket>,
}

struct Ticket {
    done: AtomicBool,
    waiting: Thread,
}

struct Log {
    path: PathBuf,
    file: File,
    /// Where the next record goes.
    end: usize,
    /// The length of the file.
    length: usize,
}

impl Log {
    fn append(&mut self, group: &[Queued]) {
        let mut records = Vec::new();
        for (key, row) in group.iter().flat_map(|queued| &queued.rows) {
            records.extend_from_slice(&(key.len() as u32).to_be_bytes());
            records.extend_from_slice(&(row.len() as u32).to_be_bytes());
            records.extend_from_slice(&checksum(key, row).to_be_bytes());
            records.extend_from_slice(key);
            records.extend_from_slice(row);
        }
        if self.end + records.len() + HEADER_BYTES > self.length {
            let more = GROWTH_BYTES.max(records.len() + HEADER_BYTES);
            self.file.write_all_at(&vec![0; more], self.length as u64).unwrap();
            self.file.sync_all().unwrap();
            self.length += more;
        }
        self.file.write_all_at(&records, self.end as u64).unwrap();
        self.file.sync_data().unwrap();
        self.end += records.len();
    }
}

/// FNV-1a.
fn checksum(key: &[u8], row: &[u8]) -> u64 {
    key.iter().chain(row).fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The map that a log leads to, and the end of its last record.
fn replay(log: &[u8]) -> (BTreeMap<Vec<u8>, Vec<u8>>, usize) {
    let mut map = BTreeMap::new();
    let mut at = 0;
    while let Some(header) = log.get(at..at + HEADER_BYTES) {
        let size = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap()) as usize;
        let (key, row) = (size(0), size(4));
        let Some(body) = log.get(at + HEADER_BYTES..at + HEADER_BYTES + key + row) else { break };
        let (key, row) = body.split_at(key);
        if key.is_empty() || header[8..] != checksum(key, row).to_be_bytes() {
            break;
        }
        map.insert(key.to_vec(), row.to_vec());
        at += HEADER_BYTES + body.len();
    }
    (map, at)
}

impl Limit {
    pub(super) fn open(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let path = path.join("limit.log");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let bytes = std::fs::read(&path).unwrap();
        let (map, end) = replay(&bytes);
        let log = Log { path, file: file.unwrap(), end, length: bytes.len() };
        let shared = Arc::new(Shared {
            map: RwLock::new(map),
            queue: Mutex::default(),
            work: Condvar::new(),
            log: Mutex::new(log),
        });
        let flushing = Arc::clone(&shared);
        Self { shared, flusher: Some(thread::spawn(move || flushing.run())) }
    }
}

impl Shared {
    fn commit(&self, rows: Rows) {
        let ticket = Arc::new(Ticket { done: AtomicBool::new(false), waiting: thread::current() });
        let queued = Queued { rows, ticket: Arc::clone(&ticket) };
        self.queue.lock().unwrap().pending.push(queued);
        while !ticket.done.load(Ordering::Acquire) {
            let mut queue = self.queue.lock().unwrap();
            let is_idle = !queue.flushing && !queue.pending.is_empty();
            if is_idle && queue.pending.len() == 1 {
                queue.flushing = true;
                let group = std::mem::take(&mut queue.pending);
                drop(queue);
                self.flush(group);
            } else {
                if is_idle {
                    self.work.notify_one();
                }
                drop(queue);
                thread::park();
            }
        }
    }

    fn run(&self) {
        let mut queue = self.queue.lock().unwrap();
        loop {
            if !queue.flushing && !queue.pending.is_empty() {
                queue.flushing = true;
                let group = std::mem::take(&mut queue.pending);
                drop(queue);
                self.flush(group);
                queue = self.queue.lock().unwrap();
            } else if queue.closed {
                return;
            } else {
                queue = self.work.wait(queue).unwrap();
            }
        }
    }

    fn flush(&self, group: Vec<Queued>) {
        self.log.lock().unwrap().append(&group);
        let mut map = self.map.write().unwrap();
        let mut tickets = Vec::with_capacity(group.len());
        for queued in group {
            map.extend(queued.rows);
            tickets.push(queued.ticket);
        }
        drop(map);
        for ticket in tickets {
            ticket.done.store(true, Ordering::Release);
            ticket.waiting.unpark();
        }
        let mut queue = self.queue.lock().unwrap();
        queue.flushing = false;
        if !queue.pending.is_empty() {
            self.work.notify_one();
        }
    }
}

impl Subject for Limit {
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session)) {
        run(&mut LimitSession(&self.shared));
    }

    fn fill(&self, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for chunk in ids.chunks(BATCH) {
            let row = |id: &u64| (key(*id), row::encode(0, &super::text_of(*id)));
            self.shared.commit(chunk.iter().map(row).collect());
        }
    }

    fn import(&self, lines: &Path, _: &[String]) -> u64 {
        row::import(lines, |batch| self.shared.commit(batch))
    }

    /// What was reserved behind the end of the log is given back.
    fn close(mut self: Box<Self>) {
        self.shared.queue.lock().unwrap().closed = true;
        self.shared.work.notify_one();
        self.flusher.take().unwrap().join().unwrap();
        let log = self.shared.log.lock().unwrap();
        File::options().write(true).open(&log.path).unwrap().set_len(log.end as u64).unwrap();
    }
}

struct LimitSession<'a>(&'a Shared);

fn key(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

impl LimitSession<'_> {
    fn read<T>(&self, id: u64, of: impl FnOnce(&[u8]) -> T) -> T {
        of(&self.0.map.read().unwrap()[&id.to_be_bytes()[..]])
    }
}

impl Session for LimitSession<'_> {
    fn create(&mut self, id: u64, count: u64) {
        self.0.commit(vec![(key(id), row::encode(count, &super::text_of(id)))]);
    }

    fn update(&mut self, id: u64, count: u64) -> u64 {
        let after = self.read(id, |before| row::with_count(before, count));
        self.0.commit(vec![(key(id), after)]);
        0
    }

    fn get(&mut self, id: u64) -> u64 {
        self.read(id, |row| {
            black_box(row::text_of(row).to_owned());
            row::count_of(row)
        })
    }

    fn text(&mut self, id: u64) -> String {
        self.read(id, |row| row::text_of(row).to_owned())
    }

    fn scan(&mut self, fields: Fields) -> u64 {
        let map = self.0.map.read().unwrap();
        for (id, row) in &*map {
            black_box(row::count_of(row));
            if fields == Fields::All {
                black_box((u64::from_be_bytes(id[..].try_into().unwrap()), row::text_of(row)));
            }
        }
        map.len() as u64
    }
}
