//! Rows of records that were read lately, in front of the engine.
//!
//! An entry is the row as of the newest commit that has changed anything in its shard. That stays
//! true because the pipeline takes the rows that a group of commits changes out *before* it shows
//! the group, and because a row is looked up and put in only by readers whose snapshot is at least
//! as new as the newest change in the shard: for them the row is the same. Older readers, and those
//! that find a shard locked, go to the engine.

use parking_lot::RwLock;

use super::ids::CommitNumber;
use crate::entropy::KeyHasher;

/// The memory that a cache takes at most, unless the pool says otherwise. It grows to that only
/// as rows are read.
pub(crate) const RECORD_CACHE_BYTES: usize = 256 << 20;
/// Longer keys and rows together are read from the engine.
const ENTRY_BYTES_MAX: usize = 4 << 10;
const SHARDS: usize = 64;
const SLOTS: usize = 8;
/// One slot for so many bytes: rows are mostly longer, so that few buckets have too few slots.
const BYTES_PER_SLOT: usize = 64;
/// The lengths of the key and the row.
const PREFIX: usize = 4;
const POSITION_BITS: u32 = 48;

/// A bounded cache of rows by key. When it is full the rows that were put in first go.
pub(crate) struct RecordCache {
    hasher: KeyHasher,
    shards: Box<[RwLock<Shard>]>,
}

impl std::fmt::Debug for RecordCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordCache")
    }
}

/// Eight slots on a cache line; a key has its place in one bucket.
///
/// A slot is the position of an entry below 16 bits of its key's hash.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket([u64; SLOTS]);

struct Shard {
    /// The newest commit that has changed a row whose place is here.
    changed: CommitNumber,
    buckets: Vec<Bucket>,
    /// Entries one behind the other, the oldest overwritten first.
    ring: Vec<u8>,
    ring_bytes: usize,
    /// Where the next entry goes, counted from the first byte that was ever written.
    end: u64,
}

/// Where a key has its place.
#[derive(Clone, Copy)]
struct Place {
    bucket: u64,
    tag: u64,
}

impl RecordCache {
    /// A cache that takes no more than `bytes`; with none it holds nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        let ring_bytes = bytes / SHARDS / (BYTES_PER_SLOT + size_of::<u64>()) * BYTES_PER_SLOT;
        let shard = |_| {
            RwLock::new(Shard {
                changed: CommitNumber::ZERO,
                buckets: Vec::new(),
                ring: Vec::new(),
                ring_bytes,
                end: 0,
            })
        };
        Self { hasher: KeyHasher::default(), shards: (0..SHARDS).map(shard).collect() }
    }

    /// The row of a key as a snapshot at `at` has it, if it is here.
    pub(crate) fn get(&self, key: &[u8], at: CommitNumber) -> Option<Vec<u8>> {
        let (shard, place) = self.place(key)?;
        let shard = shard.try_read()?;
        if at < shard.changed {
            return None;
        }
        let (_, row) = shard.find(place, key)?;
        Some(row.to_vec())
    }

    /// Keeps the row of a key that a snapshot at `at` has.
    pub(crate) fn put(&self, key: &[u8], row: &[u8], at: CommitNumber) {
        let Some((shard, place)) = self.place(key) else { return };
        // Another reader is worth more than a row in the cache.
        let Some(mut shard) = shard.try_write() else { return };
        if at >= shard.changed && shard.find(place, key).is_none() {
            shard.put(place, key, row);
        }
    }

    /// Takes out a row that commits up to `number` change, before anybody sees them.
    pub(crate) fn remove(&self, key: &[u8], number: CommitNumber) {
        let Some((shard, place)) = self.place(key) else { return };
        let mut shard = shard.write();
        shard.changed = shard.changed.max(number);
        let Some((slot, _)) = shard.find(place, key) else { return };
        if let Some(slot) = shard.bucket_mut(place).and_then(|bucket| bucket.0.get_mut(slot)) {
            *slot = 0;
        }
    }

    fn place(&self, key: &[u8]) -> Option<(&RwLock<Shard>, Place)> {
        let hash = self.hasher.hash(key);
        let shard = self.shards.get(usize::try_from(hash % SHARDS as u64).ok()?)?;
        Some((shard, Place { bucket: hash >> 8 & 0xFFFF_FFFF, tag: hash >> POSITION_BITS }))
    }
}

impl Shard {
    fn bucket_mut(&mut self, place: Place) -> Option<&mut Bucket> {
        let at = bucket_of(self.buckets.len(), place)?;
        self.buckets.get_mut(at)
    }

    /// The slot and the row of a key.
    fn find(&self, place: Place, key: &[u8]) -> Option<(usize, &[u8])> {
        let bucket = self.buckets.get(bucket_of(self.buckets.len(), place)?)?;
        bucket.0.iter().enumerate().find_map(|(at, slot)| {
            if slot >> POSITION_BITS != place.tag {
                return None;
            }
            let (found, row) = self.entry(position_of(*slot))?;
            (found == key).then_some((at, row))
        })
    }

    /// The key and row at a position; `None` if they have been overwritten.
    fn entry(&self, position: u64) -> Option<(&[u8], &[u8])> {
        if position < self.oldest() {
            return None;
        }
        let at = usize::try_from(position % self.ring.len() as u64).ok()?;
        let (prefix, rest) = self.ring.get(at..)?.split_first_chunk::<PREFIX>()?;
        let [a, b, c, d] = *prefix;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes([a, b]).into())?;
        Some((key, rest.get(..u16::from_le_bytes([c, d]).into())?))
    }

    /// Positions before it are overwritten. More than 0, which empty slots have.
    fn oldest(&self) -> u64 {
        self.end.saturating_sub(self.ring.len() as u64).max(1)
    }

    fn put(&mut self, place: Place, key: &[u8], row: &[u8]) {
        let size = PREFIX + key.len() + row.len();
        let lengths = (u16::try_from(key.len()), u16::try_from(row.len()));
        let (Ok(key_length), Ok(row_length)) = lengths else { return };
        if size > ENTRY_BYTES_MAX || size >= self.ring_bytes {
            return;
        }
        if self.ring.is_empty() {
            self.ring = vec![0; self.ring_bytes];
            self.buckets = vec![Bucket([0; SLOTS]); self.ring_bytes / BYTES_PER_SLOT / SLOTS + 1];
            self.end = 1;
        }
        let length = self.ring.len() as u64;
        // An entry does not go on at the beginning.
        if self.end % length + size as u64 > length {
            self.end = self.end.next_multiple_of(length);
        }
        let position = self.end;
        if position >> POSITION_BITS != 0 {
            return;
        }
        // An empty slot, one whose entry is overwritten, or the oldest.
        let bucket = self.bucket_mut(place);
        let slot = bucket.and_then(|bucket| bucket.0.iter_mut().min_by_key(|at| position_of(**at)));
        let Some(slot) = slot else { return };
        *slot = place.tag << POSITION_BITS | position;
        let at = usize::try_from(position % length).unwrap_or(0);
        let parts: [&[u8]; 4] = [&key_length.to_le_bytes(), &row_length.to_le_bytes(), key, row];
        let mut room = self.ring.get_mut(at..at + size).unwrap_or_default();
        for part in parts {
            let Some((to, rest)) = room.split_at_mut_checked(part.len()) else { return };
            to.copy_from_slice(part);
            room = rest;
        }
        self.end = position + size as u64;
    }
}

fn bucket_of(buckets: usize, place: Place) -> Option<usize> {
    // The high half of a product: the share of the buckets that the hash says.
    usize::try_from((place.bucket * buckets as u64) >> 32).ok()
}

fn position_of(slot: u64) -> u64 {
    slot & ((1 << POSITION_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// A group of commits that writes these keys, and shows them afterwards.
        Publish(Vec<u8>),
        /// A read of a key by a snapshot that is so many groups old.
        Read { key: u8, age: usize },
        /// A read during whose look into the engine a group is published.
        SlowRead { key: u8, writes: Vec<u8> },
    }

    fn step() -> impl Strategy<Value = Step> {
        let keys = || prop::collection::vec(0_u8..40, 0..4);
        prop_oneof![
            1 => keys().prop_map(Step::Publish),
            5 => (0_u8..40, 0_usize..3).prop_map(|(key, age)| Step::Read { key, age }),
            1 => (0_u8..40, keys()).prop_map(|(key, writes)| Step::SlowRead { key, writes }),
        ]
    }

    /// What each group of commits has left: the row of a key says which group wrote it.
    struct Groups(Vec<BTreeMap<u8, u64>>);

    impl Groups {
        fn newest(&self) -> u64 {
            self.0.len() as u64 - 1
        }

        fn row(&self, key: u8, at: u64) -> Vec<u8> {
            let written = self.0[usize::try_from(at).unwrap()].get(&key).copied().unwrap_or(0);
            let filler = usize::from(key) * 7 + usize::try_from(written % 13).unwrap();
            [written.to_le_bytes().to_vec(), vec![key; filler]].concat()
        }

        fn publish(&mut self, cache: &RecordCache, keys: &[u8]) {
            let number = self.newest() + 1;
            let mut rows = self.0.last().unwrap().clone();
            for key in keys {
                rows.insert(*key, number);
                cache.remove(&name(*key), CommitNumber(number));
            }
            self.0.push(rows);
        }
    }

    fn name(key: u8) -> Vec<u8> {
        vec![key; 3 + usize::from(key % 5)]
    }

    fn run(bytes: usize, steps: Vec<Step>) -> usize {
        let cache = RecordCache::new(bytes);
        let mut groups = Groups(vec![BTreeMap::new()]);
        let mut hits = 0;
        for step in steps {
            match step {
                Step::Publish(keys) => groups.publish(&cache, &keys),
                Step::Read { key, age } => {
                    let at = groups.newest().saturating_sub(age as u64);
                    let row = groups.row(key, at);
                    match cache.get(&name(key), CommitNumber(at)) {
                        Some(found) => {
                            assert_eq!(found, row);
                            hits += 1;
                        }
                        None => cache.put(&name(key), &row, CommitNumber(at)),
                    }
                }
                Step::SlowRead { key, writes } => {
                    let at = groups.newest();
                    let row = groups.row(key, at);
                    groups.publish(&cache, &writes);
                    cache.put(&name(key), &row, CommitNumber(at));
                }
            }
        }
        hits
    }

    proptest! {
        #[test]
        fn a_row_that_is_found_is_the_one_of_the_snapshot(
            steps in prop::collection::vec(step(), 0..300),
            entries in 0_usize..40,
        ) {
            run(entries * SHARDS * (BYTES_PER_SLOT + size_of::<u64>()), steps);
        }
    }

    #[test]
    fn what_was_read_is_found_again() {
        let reads = (0..5).flat_map(|_| (0..40).map(|key| Step::Read { key, age: 0 }));
        assert_eq!(run(RECORD_CACHE_BYTES, reads.collect()), 4 * 40);
    }

    #[test]
    fn a_full_cache_goes_on_with_the_newest_and_keeps_its_bound() {
        let bytes = 1 << 20;
        let cache = RecordCache::new(bytes);
        for key in 0_u64..50_000 {
            cache.put(&key.to_be_bytes(), &[1; 100], CommitNumber::ZERO);
        }
        let found = |key: &u64| cache.get(&key.to_be_bytes(), CommitNumber::ZERO).is_some();
        // A megabyte holds 8,000 of these entries, each shard its share of them.
        assert_eq!((0..30_000).filter(found).count(), 0);
        let kept = (45_000..50_000).filter(found).count();
        assert!(kept > 4_800, "{kept} rows were kept");
        let memory = cache.shards.iter().map(|shard| {
            let shard = shard.read();
            shard.ring.len() + shard.buckets.len() * size_of::<Bucket>()
        });
        assert!(memory.sum::<usize>() <= bytes + SHARDS * size_of::<Bucket>());
    }

    #[test]
    fn long_rows_and_a_cache_without_room_go_to_the_engine() {
        let key = b"a key";
        for (bytes, row) in [(RECORD_CACHE_BYTES, vec![0; ENTRY_BYTES_MAX]), (0, vec![0; 9])] {
            let cache = RecordCache::new(bytes);
            cache.put(key, &row, CommitNumber::ZERO);
            assert_eq!(cache.get(key, CommitNumber::ZERO), None);
        }
    }
}
