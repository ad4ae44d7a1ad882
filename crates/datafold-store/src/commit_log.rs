//! The log that makes a batch durable before the engine does.
//!
//! The file has one fixed length and is written all over when it is created, so that a record
//! overwrites bytes that are there: a sync then has no metadata to write. It is used in rounds.
//! Each round begins at the start of the file and has a *generation*, a number that the engine
//! keeps; a durable commit of the engine ends the round by raising that number, in the same
//! transaction that holds what the records say. So nothing in the log has to be changed to empty
//! it, and there is no moment at which log and engine could disagree.
//!
//! The bytes are in `docs/format.md`.

#[cfg(test)]
mod fuzz;
mod payload;
mod record;
mod replay;

use std::io;

use crate::{Batch, Disk, StoreError, StoreId};

use self::record::{CHECKSUM_BYTES, Checksum, Link};

/// What the header keeps for itself; records begin behind it.
const HEADER_BYTES: usize = 4_096;
/// The shortest log: the header and a few small records.
pub(crate) const LOG_BYTES_MIN: u64 = 8 << 10;
/// The longest log; opening reads it whole.
pub(crate) const LOG_BYTES_MAX: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"DATAFLOG";
/// The format of the log. A format of the store that leaves the log as it is leaves this number.
const VERSION: u32 = 2;
/// The bytes of the header that its checksum covers.
const HEADER_CHECKED: usize = 36;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An open log, and the place of its next record.
#[derive(Debug)]
pub(crate) struct CommitLog {
    disk: Box<dyn Disk>,
    id: StoreId,
    len: u64,
    /// The generation that the engine keeps.
    generation: u64,
    /// The place behind the last record of this generation. There is none until a generation has
    /// begun that no earlier handle can have written to: records of two handles must not mix.
    tail: Option<Tail>,
    /// The bytes of the record that is being written, kept to be used again.
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Tail {
    offset: u64,
    link: Link,
}

impl CommitLog {
    /// Writes an empty log over whatever the disk holds, durable when it returns.
    pub(crate) fn create(disk: Box<dyn Disk>, id: StoreId, len: u64) -> Result<Self, StoreError> {
        let len = len.clamp(LOG_BYTES_MIN, LOG_BYTES_MAX);
        write_empty(&*disk, id, len)
            .map_err(|source| StoreError::io("create the commit log", source))?;
        Ok(Self { disk, id, len, generation: 0, tail: None, buffer: Vec::new() })
    }

    /// Opens the log of a store that has one.
    ///
    /// A log that is missing, cut or another store's is damage: what it held may have been
    /// acknowledged.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        id: StoreId,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let io = |source| StoreError::io("read the commit log", source);
        let len = disk.len().map_err(io)?;
        if !(LOG_BYTES_MIN..=LOG_BYTES_MAX).contains(&len) {
            return Err(damaged(format!("the commit log has {len} bytes")));
        }
        let mut found = [0; HEADER_BYTES];
        disk.read(0, &mut found).map_err(io)?;
        if found == header(id, len) {
            return Ok(Self { disk, id, len, generation, tail: None, buffer: Vec::new() });
        }
        Err(damaged(match found.get(12..28) {
            // The likeliest cause gets its name; the id is right only if the checksum is.
            Some(other) if other != id.0 && is_sound(&found) => {
                "the commit log is another store's".to_owned()
            }
            _ => "the commit log's header is malformed, or the file was cut".to_owned(),
        }))
    }

    /// The generation that the engine keeps.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a round, after the engine has made durable that its generation is `generation`.
    pub(crate) fn restart(&mut self, generation: u64) {
        self.generation = generation;
        self.tail = Some(Tail { offset: HEADER_BYTES as u64, link: Link::first(generation) });
    }

    /// Whether it holds batches that the engine may not have made durable.
    pub(crate) fn is_used(&self) -> bool {
        self.tail.is_some_and(|tail| tail.link.sequence > 0)
    }

    /// Whether the batch can be appended in this round.
    pub(crate) fn has_room_for(&self, batch: &Batch) -> bool {
        let Some(tail) = self.tail else { return false };
        let room = self.len.saturating_sub(tail.offset);
        record::len_of(payload::len_of(batch)).is_some_and(|len| len <= room)
    }

    /// Writes the batch behind the last one. It is durable when this returns.
    ///
    /// After an error nothing may be appended any more: the next record would stand behind one of
    /// which nobody knows whether it is there. No page has to be written again, as the engine's
    /// file needs it: whoever opens the log next and reads this record, out of a cache or from the
    /// disk, makes the batch durable in the engine before anything is built on it.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let Some(Tail { offset, link }) = self.tail.take() else {
            return Err(io::Error::other("no round of the commit log has begun"));
        };
        self.buffer.clear();
        record::begin(&mut self.buffer);
        payload::encode(batch, &mut self.buffer);
        let checksum = record::seal(&mut self.buffer, self.id, &link)?;
        if self.buffer.len() as u64 > self.len.saturating_sub(offset) {
            return Err(io::Error::other("the commit log has no room"));
        }
        self.disk.write(offset, &self.buffer)?;
        self.disk.sync()?;
        let offset = offset + self.buffer.len() as u64;
        self.tail = Some(Tail { offset, link: link.next(checksum) });
        Ok(())
    }

    /// Bytes of the file.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.len
    }
}

fn write_empty(disk: &dyn Disk, id: StoreId, len: u64) -> io::Result<()> {
    disk.set_len(len)?;
    // Zeros that were written, not only a length: blocks without bytes would be given to the file
    // by the first sync of each record instead.
    let mut offset = HEADER_BYTES as u64;
    while offset < len {
        let room = usize::try_from(len - offset).unwrap_or(usize::MAX);
        let part = ZEROS.get(..room).unwrap_or(&ZEROS);
        disk.write(offset, part)?;
        offset += part.len() as u64;
    }
    disk.write(0, &header(id, len))?;
    disk.sync()
}

fn header(id: StoreId, len: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&id.0);
    bytes.extend_from_slice(&len.to_be_bytes());
    let checksum = record::checksum_of(&[&bytes]);
    bytes.extend_from_slice(&checksum);
    bytes.resize(HEADER_BYTES, 0);
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes);
    header
}

fn is_sound(header: &[u8; HEADER_BYTES]) -> bool {
    let checked = header.get(..HEADER_CHECKED).map(|bytes| record::checksum_of(&[bytes]));
    let found: Option<Checksum> = header
        .get(HEADER_CHECKED..HEADER_CHECKED + CHECKSUM_BYTES)
        .and_then(|bytes| bytes.try_into().ok());
    checked.is_some() && checked == found
}

fn damaged(what: String) -> StoreError {
    StoreError::Corrupted {
        what: format!("{what}; acknowledged commits may have been in it"),
        source: None,
    }
}
