//! A batch as the bytes of a record's payload.

use bytes::Bytes;

use crate::{Batch, Keyspace, SpaceId};

/// The bytes that a batch becomes.
pub(super) fn len_of(batch: &Batch) -> u64 {
    let rows = batch.writes().map(|(_, key, value)| {
        let value = value.map_or(0, |value| 4 + value.len() as u64);
        2 + 4 + key.len() as u64 + value
    });
    4 + 8 + 8 + 16 + 4 + batch.head.len() as u64 + rows.sum::<u64>()
}

/// Writes a batch behind what `out` holds.
///
/// Lengths are written as 32 bits: [`super::record::len_of`] has refused any batch for which that
/// is too few.
pub(super) fn encode(batch: &Batch, out: &mut Vec<u8>) {
    out.extend_from_slice(&batch.space.0.to_be_bytes());
    out.extend_from_slice(&batch.follows.to_be_bytes());
    out.extend_from_slice(&batch.number.to_be_bytes());
    out.extend_from_slice(&batch.token);
    put_bytes(out, &batch.head);
    for (keyspace, key, value) in batch.writes() {
        out.extend_from_slice(&[keyspace as u8, u8::from(value.is_some())]);
        put_bytes(out, key);
        if let Some(value) = value {
            put_bytes(out, value);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads a batch; `None` if the bytes are not exactly what [`encode`] writes of one.
pub(super) fn decode(payload: &[u8]) -> Option<Batch> {
    let mut reader = Reader { rest: payload };
    let space = SpaceId(u32::from_be_bytes(reader.array()?));
    let follows = u64::from_be_bytes(reader.array()?);
    let number = u64::from_be_bytes(reader.array()?);
    let token = reader.array()?;
    let mut batch = Batch::new(space, follows, number, token);
    batch.head = reader.bytes()?;
    let mut last = None;
    while !reader.rest.is_empty() {
        let [tag, is_put] = reader.array()?;
        let keyspace = Keyspace::ALL.into_iter().find(|keyspace| *keyspace as u8 == tag)?;
        let key = reader.bytes()?;
        let value = match is_put {
            0 => None,
            1 => Some(reader.bytes()?),
            _ => return None,
        };
        // A batch holds each row once, in this order; nobody knows what other bytes mean.
        if last.as_ref().is_some_and(|last| *last >= (keyspace, key.clone())) {
            return None;
        }
        last = Some((keyspace, key.clone()));
        batch.write((keyspace, key), value);
    }
    Some(batch)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(len).ok()?).map(Bytes::copy_from_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn batches() -> impl Strategy<Value = Batch> {
        let bytes = || vec(any::<u8>(), 0..40);
        let row = (0..Keyspace::ALL.len(), bytes(), proptest::option::of(bytes()));
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<[u8; 16]>());
        (numbers, bytes(), vec(row, 0..12)).prop_map(|(numbers, head, rows)| {
            let (space, follows, number, token) = numbers;
            let mut batch = Batch::new(SpaceId(space), follows, number, token);
            batch.head = head.into();
            for (keyspace, key, value) in rows {
                batch.write((Keyspace::ALL[keyspace], key.into()), value.map(Bytes::from));
            }
            batch
        })
    }

    proptest! {
        #[test]
        fn a_batch_reads_back(batch in batches()) {
            let mut bytes = Vec::new();
            encode(&batch, &mut bytes);
            prop_assert_eq!(bytes.len() as u64, len_of(&batch));
            prop_assert_eq!(decode(&bytes), Some(batch));
            for len in 0..40.min(bytes.len()) {
                prop_assert_eq!(decode(&bytes[..len]), None);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Some(batch) = decode(&bytes) {
                let mut again = Vec::new();
                encode(&batch, &mut again);
                prop_assert_eq!(decode(&again), Some(batch));
            }
        }
    }
}
