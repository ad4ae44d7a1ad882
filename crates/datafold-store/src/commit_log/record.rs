//! One record of the log: its header, its checksum, and its link to the record before it.

use std::io;

use crate::StoreId;

/// What every record begins with.
pub(super) const MAGIC: [u8; 4] = *b"dflr";
/// The bytes before the payload.
pub(super) const HEAD_BYTES: usize = 56;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
pub(super) const CHECKSUM_BYTES: usize = 16;

pub(super) type Checksum = [u8; CHECKSUM_BYTES];

/// What a record says of its place: a record at any other place of the log, of an earlier round
/// or of another store is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) generation: u64,
    /// Its number within the generation, from 0.
    pub(super) sequence: u64,
    /// The checksum of the record before it; zeros for the first one.
    pub(super) previous: Checksum,
}

impl Link {
    pub(super) fn first(generation: u64) -> Self {
        Self { generation, sequence: 0, previous: [0; CHECKSUM_BYTES] }
    }

    /// The link of the record behind one with this link and this checksum.
    pub(super) fn next(self, checksum: Checksum) -> Self {
        Self { sequence: self.sequence + 1, previous: checksum, ..self }
    }
}

/// The bytes of a record with a payload of this length; `None` if the format has none so long.
pub(super) fn len_of(payload: u64) -> Option<u64> {
    u32::try_from(payload).ok()?;
    payload.checked_add(HEAD_BYTES as u64)?.checked_next_multiple_of(ALIGNMENT as u64)
}

/// Leaves room for what [`seal`] writes before the payload.
pub(super) fn begin(record: &mut Vec<u8>) {
    record.resize(HEAD_BYTES, 0);
}

/// Completes a record whose payload has been written behind the room of [`begin`].
pub(super) fn seal(record: &mut Vec<u8>, id: StoreId, link: &Link) -> io::Result<Checksum> {
    let too_long = || io::Error::other("the batch is too long for a record");
    let len = record.len().checked_sub(HEAD_BYTES).ok_or_else(too_long)?;
    let len = u32::try_from(len).map_err(|_| too_long())?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&len.to_be_bytes());
    head.extend_from_slice(&link.generation.to_be_bytes());
    head.extend_from_slice(&link.sequence.to_be_bytes());
    head.extend_from_slice(&link.previous);
    let (room, payload) = record.split_at_mut_checked(HEAD_BYTES).ok_or_else(too_long)?;
    let checksum = checksum_of(&[&id.0, &head, payload]);
    head.extend_from_slice(&checksum);
    room.copy_from_slice(&head);
    record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
    Ok(checksum)
}

/// A record that is whole and of this store.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) link: Link,
    pub(super) checksum: Checksum,
    pub(super) payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with; `None` if they begin with none.
    pub(super) fn parse(bytes: &'a [u8], id: StoreId) -> Option<Self> {
        let (head, behind) = bytes.split_at_checked(HEAD_BYTES)?;
        let (checked, checksum) = head.split_at_checked(HEAD_BYTES - CHECKSUM_BYTES)?;
        if !checked.starts_with(&MAGIC) {
            return None;
        }
        let len = u32::from_be_bytes(checked.get(4..8)?.try_into().ok()?);
        let payload = behind.get(..usize::try_from(len).ok()?)?;
        let checksum: Checksum = checksum.try_into().ok()?;
        let link = Link {
            generation: u64::from_be_bytes(checked.get(8..16)?.try_into().ok()?),
            sequence: u64::from_be_bytes(checked.get(16..24)?.try_into().ok()?),
            previous: checked.get(24..40)?.try_into().ok()?,
        };
        let is_whole = checksum_of(&[&id.0, checked, payload]) == checksum;
        is_whole.then_some(Self { link, checksum, payload })
    }

    /// Bytes of the whole record.
    pub(super) fn len(&self) -> usize {
        (HEAD_BYTES + self.payload.len()).next_multiple_of(ALIGNMENT)
    }
}

/// The first bytes of the BLAKE3 hash of the parts, one behind the other.
pub(super) fn checksum_of(parts: &[&[u8]]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut checksum = [0; CHECKSUM_BYTES];
    hasher.finalize_xof().fill(&mut checksum);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: StoreId = StoreId([7; 16]);

    fn record(payload: &[u8], link: &Link) -> Vec<u8> {
        let mut record = Vec::new();
        begin(&mut record);
        record.extend_from_slice(payload);
        seal(&mut record, ID, link).unwrap();
        record
    }

    #[test]
    fn a_record_reads_back_and_no_flipped_bit_goes_unnoticed() {
        let link = Link { generation: 3, sequence: 9, previous: [5; 16] };
        let bytes = record(b"thirteen byte", &link);
        assert_eq!(Some(bytes.len() as u64), len_of(13));
        let found = Record::parse(&bytes, ID).unwrap();
        assert_eq!((found.link, found.payload), (link, &b"thirteen byte"[..]));
        assert_eq!(found.len(), bytes.len());
        assert!(Record::parse(&bytes, StoreId([8; 16])).is_none(), "of another store");
        for bit in 0..(HEAD_BYTES + 13) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::parse(&flipped, ID).is_none(), "bit {bit}");
        }
        for len in 0..HEAD_BYTES + 13 {
            assert!(Record::parse(&bytes[..len], ID).is_none(), "{len} bytes");
        }
    }

    #[test]
    fn a_payload_beyond_the_format_has_no_record() {
        assert_eq!(len_of(0), Some(56));
        assert_eq!(len_of(1), Some(64));
        assert_eq!(len_of(1 << 32), None);
        assert_eq!(len_of(u64::MAX), None);
    }
}
