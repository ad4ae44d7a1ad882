//! Fuzz bodies of the commit log: batches, records, headers, and the replay of whole logs.

use std::io;

use datafold_testkit::{Draw, Fuzz, Verdict};
use parking_lot::Mutex;

use super::record::{HEAD_BYTES, Link, Record};
use super::*;
use crate::{Keyspace, SpaceId};

const ID: StoreId = StoreId([7; 16]);
const GENERATION: u64 = 3;

/// A file in memory.
#[derive(Debug)]
struct File(Mutex<Vec<u8>>);

impl Disk for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.lock();
        let bytes = bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let mut bytes = self.0.lock();
        let len = bytes.len().max(start + data.len());
        bytes.resize(len, 0);
        bytes[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn batch(number: u64, keys: &[&str]) -> Batch {
    let mut batch = Batch::new(SpaceId::DEFAULT, number - 1, number, [9; 16]);
    batch.head = vec![0x81, 0x05].into();
    for (at, key) in keys.iter().enumerate() {
        let keyspace = Keyspace::ALL[at % 7];
        match at % 3 {
            2 => batch.delete(keyspace, key.as_bytes().to_vec()),
            _ => batch.put(keyspace, key.as_bytes().to_vec(), vec![0xF6; at]),
        }
    }
    batch
}

fn payload_of(batch: &Batch) -> Vec<u8> {
    let mut payload = Vec::new();
    payload::encode(batch, &mut payload);
    payload
}

fn payloads() -> Vec<Vec<u8>> {
    let batches = [batch(1, &[]), batch(2, &["a"]), batch(9, &["a", "b", "c", "d", "e", "f"])];
    batches.iter().map(payload_of).collect()
}

/// A payload that is read is the one that would be written of its batch.
#[test]
fn log_batch() {
    let rows = payloads().into_iter().map(|payload| payload[42..].to_vec());
    Fuzz::new("log_batch").seeds(payloads()).words(rows).run(|input| {
        let Some(batch) = payload::decode(input) else { return Verdict::refused("none") };
        assert_eq!(payload_of(&batch), input, "the batch has another form");
        assert_eq!(payload::len_of(&batch), input.len() as u64);
        Verdict::accepted(batch.len().min(8) as u64)
    });
}

fn sealed(payload: &[u8], link: &Link) -> (Vec<u8>, Checksum) {
    let mut record = Vec::new();
    record::begin(&mut record);
    record.extend_from_slice(payload);
    let checksum = record::seal(&mut record, ID, link).unwrap();
    (record, checksum)
}

/// Bytes of any kind, and such with a checksum that is right.
#[test]
fn log_record() {
    let link = Link { generation: 3, sequence: 9, previous: [5; 16] };
    let (record, _) = sealed(b"thirteen byte", &link);
    Fuzz::new("log_record").seeds([record]).run(|input| {
        let mut bytes = input.to_vec();
        if bytes.len() >= HEAD_BYTES && bytes.len() % 2 == 0 {
            let len = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
            if let Some(payload) = bytes.get(HEAD_BYTES..HEAD_BYTES.saturating_add(len)) {
                let sum = record::checksum_of(&[&ID.0, &bytes[..40], payload]);
                bytes[40..56].copy_from_slice(&sum);
            }
        }
        let Some(found) = Record::parse(&bytes, ID) else { return Verdict::refused("none") };
        let (again, checksum) = sealed(found.payload, &found.link);
        assert_eq!(checksum, found.checksum);
        let end = HEAD_BYTES + found.payload.len();
        assert_eq!(again[..end], bytes[..end], "the record has another form");
        assert_eq!(again.len(), found.len());
        assert!(Record::parse(&bytes, StoreId([8; 16])).is_none(), "of another store");
        Verdict::accepted(found.payload.len() as u64 & 7)
    });
}

/// Only the header that is written is read, whatever its checksum says.
#[test]
fn log_header() {
    let len = LOG_BYTES_MIN;
    let header = header(ID, len)[..HEADER_CHECKED + CHECKSUM_BYTES].to_vec();
    Fuzz::new("log_header").seeds([header]).run(|input| {
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        let front = &input[..input.len().min(bytes.len())];
        bytes[..front.len()].copy_from_slice(front);
        if front.len() % 2 == 0 {
            let sum = record::checksum_of(&[&bytes[..HEADER_CHECKED]]);
            bytes[HEADER_CHECKED..HEADER_CHECKED + CHECKSUM_BYTES].copy_from_slice(&sum);
        }
        let is_own = bytes[..HEADER_BYTES] == super::header(ID, len);
        match CommitLog::open(Box::new(File(Mutex::new(bytes))), ID, GENERATION) {
            Ok(log) => {
                assert!(is_own, "another header");
                assert_eq!((log.size_bytes(), log.is_used()), (len, false));
                Verdict::accepted(0)
            }
            Err(error) => {
                assert!(!is_own);
                Verdict::refused(if error.to_string().contains("another") { "other" } else { "" })
            }
        }
    });
}

/// What a log of some records must be read as: its batches, or damage.
struct Expected {
    bytes: Vec<u8>,
    batches: Vec<Batch>,
    /// The chain has not ended.
    is_open: bool,
    is_damaged: bool,
    link: Link,
}

impl Expected {
    fn new() -> Self {
        let (bytes, link) = (header(ID, LOG_BYTES_MIN).to_vec(), Link::first(GENERATION));
        Self { bytes, batches: Vec::new(), is_open: true, is_damaged: false, link }
    }

    fn replay(&self) -> (Result<u64, StoreError>, Vec<Batch>) {
        let mut bytes = self.bytes.clone();
        bytes.resize(usize::try_from(LOG_BYTES_MIN).unwrap(), 0);
        let log = CommitLog::open(Box::new(File(Mutex::new(bytes))), ID, GENERATION).unwrap();
        let mut found = Vec::new();
        let replayed = log.replay(|batch| {
            found.push(batch);
            Ok(())
        });
        (replayed, found)
    }

    fn add(&mut self, payload: &[u8], link: Link) {
        let (record, checksum) = sealed(payload, &link);
        let is_first = self.bytes.len() == HEADER_BYTES;
        self.bytes.extend_from_slice(&record);
        if is_first && link.generation > GENERATION {
            self.is_damaged = true;
        }
        if self.is_open && link == self.link {
            match payload::decode(payload) {
                Some(batch) => self.batches.push(batch),
                None => self.is_damaged = true,
            }
            self.link = link.next(checksum);
        } else {
            self.is_open = false;
            self.is_damaged |= link.generation == GENERATION && link.sequence > self.link.sequence;
        }
    }
}

/// A log of good, wrong and foreign records is replayed as the batches of its chain, or refused.
#[test]
fn log_replay() {
    let with = |kinds: &[u8]| {
        let mut program = Vec::new();
        for (kind, payload) in kinds.iter().zip(payloads().iter().cycle()) {
            program.extend([*kind, payload.len().to_le_bytes()[0]]);
            program.extend(payload);
        }
        program
    };
    let seeds = [with(&[0, 0, 0]), with(&[0, 0, 1, 0]), with(&[2, 0]), with(&[0, 5, 0, 3, 4])];
    Fuzz::new("log_replay").seeds(seeds).words(payloads()).cost(4).run(|input| {
        let mut log = Expected::new();
        let mut draw = Draw::new(input);
        while !draw.is_empty() && log.bytes.len() < 7_000 {
            let (kind, payload) = (draw.below(8), draw.short_bytes());
            let link = log.link;
            match kind {
                1 => log.add(payload, Link { sequence: link.sequence + 1, ..link }),
                2 => log.add(payload, Link { generation: GENERATION + 1, ..link }),
                3 => log.add(payload, Link { generation: GENERATION - 1, ..link }),
                4 => log.add(payload, Link { previous: [1; 16], ..link }),
                5 => {
                    // What is no record ends the chain.
                    log.is_open = false;
                    log.bytes.extend_from_slice(&[payload.first().copied().unwrap_or(0) | 1; 8]);
                }
                _ => log.add(payload, link),
            }
        }
        let (replayed, found) = log.replay();
        match replayed {
            Ok(count) => {
                assert!(!log.is_damaged, "damage was not seen");
                assert_eq!(found, log.batches);
                assert_eq!(count, log.batches.len() as u64);
                Verdict::accepted(count)
            }
            Err(error) => {
                assert!(log.is_damaged, "{error}");
                assert!(log.batches.starts_with(&found));
                Verdict::refused(error.code())
            }
        }
    });
}

/// At the place where the next record would be stands one with a number that comes later.
#[test]
fn a_later_record_at_the_end_of_the_chain_is_damage() {
    for before in 0..3 {
        let mut log = Expected::new();
        for number in 1..=before {
            log.add(&payload_of(&batch(number, &["a"])), log.link);
        }
        assert_eq!(log.replay().0.unwrap(), before);
        let later = Link { sequence: log.link.sequence + 1, ..log.link };
        log.add(&payload_of(&batch(9, &["a"])), later);
        let error = log.replay().0.unwrap_err();
        assert!(error.to_string().contains("is not readable"), "{error}");
    }
}

#[test]
fn a_batch_with_rows_out_of_order_or_twice_is_damage() {
    let row = |key: u8| [&[3, 0, 0, 0, 0, 1][..], &[key]].concat();
    let empty = payload_of(&batch(1, &[]));
    let with = |keys: &[u8]| {
        let rows = keys.iter().flat_map(|key| row(*key));
        empty.iter().copied().chain(rows).collect::<Vec<u8>>()
    };
    assert_eq!(payload::decode(&with(b"ab")).unwrap().len(), 2);
    for wrong in [&b"ba"[..], b"aa", b"aba"] {
        assert_eq!(payload::decode(&with(wrong)), None, "{wrong:?}");
        let mut log = Expected::new();
        log.add(&with(wrong), log.link);
        let error = log.replay().0.unwrap_err();
        assert!(error.to_string().contains("record 0 is malformed"), "{error}");
    }
}
