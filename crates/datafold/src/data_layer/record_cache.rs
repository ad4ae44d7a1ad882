//! Rows of records that were read lately, in front of the engine.
//!
//! An entry is the row as of the newest commit that has changed anything in its shard. That stays
//! true because the pipeline takes the rows that a group of commits changes out *before* it shows
//! the group, and because a row is looked up and put in only by readers whose snapshot is at least
//! as new as the newest change in the shard: for them the row is the same. Older readers, and those
//! that find a shard locked, go to the engine.
//!
//! Only putting a row in locks a shard for itself, and it does so only if nobody else is there, so
//! that neither readers nor the pipeline wait for readers.

use super::ids::CommitNumber;
use crate::entropy::KeyHasher;
use crate::memory::Memory;
use crate::planted::{Fault, is_planted};
use crate::sync::{AtomicU64, Ordering, RwLock};

/// The memory that a cache takes at most, unless the pool says otherwise.
pub(crate) const RECORD_CACHE_BYTES: usize = 256 << 20;
/// Longer keys and rows together are read from the engine.
const ENTRY_BYTES_MAX: usize = 4 << 10;
// Few where each lock and each access is a step of a schedule. Not many elsewhere: each has memory
// of its own, which has to be much for large pages.
const SHARDS: usize = if cfg!(feature = "shuttle") { 1 } else { 16 };
/// Eight on a cache line.
const SLOTS: usize = 8;
const SLOT_BYTES: usize = size_of::<u64>();
const BUCKET_BYTES: usize = SLOTS * SLOT_BYTES;
const WORD_BITS: usize = u64::BITS as usize;
/// One slot for so many bytes: rows are mostly longer, so that few buckets have too few slots.
const RING_BYTES_PER_SLOT: usize = 64;
const RING_BYTES_PER_BUCKET: usize = RING_BYTES_PER_SLOT * SLOTS;
/// The buckets and the bytes of the ring that a shard begins with; both double as it fills.
const FIRST_BUCKETS: usize = 4;
const FIRST_BYTES: usize = 2 << 10;
/// The lengths of the key and the row.
const PREFIX: usize = 4;
const POSITION_BITS: u32 = 48;
const SHARD_BITS: u32 = 8;

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

struct Shard {
    /// The newest commit that has changed a row whose place is here.
    changed: AtomicU64,
    /// The buckets, and behind them the ring, as long as what was written: entries one behind the
    /// other, the oldest overwritten first. In one piece, so that both lie in large pages.
    ///
    /// A bucket is [`SLOTS`] slots, and a key has its place in one of them, or in one of the bucket
    /// beside it if all are taken. A slot is the position of an entry, and above it 16 bits of its
    /// key's hash; 0 if it is empty.
    memory: Memory,
    buckets: usize,
    /// A bit for each slot: whether its entry was taken out, which needs no lock for oneself.
    gone: Vec<AtomicU64>,
    /// How many slots were empty when they were taken.
    taken: usize,
    ring_bytes_max: usize,
    /// Where the next entry goes, counted from the first byte that was ever written, 1.
    end: u64,
}

/// Where a key has its place: its bits of the hash.
#[derive(Clone, Copy)]
struct Place {
    bucket: u32,
    tag: u64,
}

impl Place {
    fn of(hash: u64) -> Self {
        // The lowest bits choose the shard.
        let bucket = u32::try_from((hash >> SHARD_BITS) & u64::from(u32::MAX)).unwrap_or(0);
        Self { bucket, tag: hash >> POSITION_BITS }
    }
}

impl RecordCache {
    /// A cache that takes no more than about `bytes`; with none it holds nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        Self::with_shards(bytes, SHARDS)
    }

    fn with_shards(bytes: usize, shards: usize) -> Self {
        // For each slot there is a bit besides.
        let bucket_bytes = RING_BYTES_PER_BUCKET + BUCKET_BYTES + SLOTS / 8;
        // Each bucket has one beside it.
        let buckets = bytes / shards / bucket_bytes / 2 * 2;
        let ring_bytes_max = buckets * RING_BYTES_PER_BUCKET;
        let shard = |_| RwLock::new(Shard::new(ring_bytes_max));
        Self { hasher: KeyHasher::default(), shards: (0..shards).map(shard).collect() }
    }

    /// The row of a key as a snapshot at `at` has it, if it is here.
    pub(crate) fn get(&self, key: &[u8], at: CommitNumber) -> Option<Vec<u8>> {
        let (shard, place) = self.place(key)?;
        let shard = shard.try_read()?;
        if !shard.is_known_to(at) && !is_planted(Fault::CacheNewRow) {
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
        let is_known = shard.is_known_to(at) || is_planted(Fault::CacheOldReader);
        if is_known && shard.find(place, key).is_none() {
            shard.put(&self.hasher, place, key, row);
        }
    }

    /// Takes out a row that commits up to `number` change, before anybody sees them.
    pub(crate) fn remove(&self, key: &[u8], number: CommitNumber) {
        let Some((shard, place)) = self.place(key) else { return };
        let shard = shard.read();
        // Readers of an earlier commit may go on to find the row; it is theirs.
        shard.changed.fetch_max(number.0, Ordering::AcqRel);
        if let Some((slot, _)) = shard.find(place, key) {
            shard.take_out(slot);
        }
    }

    fn place(&self, key: &[u8]) -> Option<(&RwLock<Shard>, Place)> {
        let hash = self.hasher.hash(key);
        let shard = usize::try_from(hash % self.shards.len() as u64).ok()?;
        Some((self.shards.get(shard)?, Place::of(hash)))
    }
}

impl Shard {
    fn new(ring_bytes_max: usize) -> Self {
        Self {
            changed: AtomicU64::new(0),
            memory: Memory::default(),
            buckets: 0,
            gone: Vec::new(),
            taken: 0,
            ring_bytes_max,
            end: 1,
        }
    }

    /// Whether nothing here has changed since a commit that would be unknown to its reader.
    fn is_known_to(&self, at: CommitNumber) -> bool {
        at.0 >= self.changed.load(Ordering::Acquire)
    }

    fn ring(&self) -> &[u8] {
        self.memory.get(self.buckets * BUCKET_BYTES..).unwrap_or_default()
    }

    /// The first slot of the bucket of a place.
    fn first_slot(&self, place: Place) -> usize {
        // The high half of the product: the part of the buckets that the hash says.
        let product = u64::from(place.bucket) * self.buckets as u64;
        usize::try_from(product >> u32::BITS).unwrap_or(0) * SLOTS
    }

    /// What the slots of a bucket say, the first of which is this one; 0 for those that are gone.
    fn slots(&self, first: usize) -> Option<[u64; SLOTS]> {
        slots(&self.memory, &self.gone, first)
    }

    /// Whether nothing was ever written there.
    fn is_empty(&self, slot: usize) -> bool {
        let at = slot * SLOT_BYTES;
        self.memory.get(at..at + SLOT_BYTES) == Some(&[0; SLOT_BYTES])
    }

    fn set_slot(&mut self, slot: usize, value: u64) {
        copy(&mut self.memory, slot * SLOT_BYTES, &value.to_le_bytes());
        if let Some(gone) = self.gone.get(slot / WORD_BITS) {
            gone.fetch_and(!(1 << (slot % WORD_BITS)), Ordering::Release);
        }
    }

    fn take_out(&self, slot: usize) {
        if let Some(gone) = self.gone.get(slot / WORD_BITS) {
            gone.fetch_or(1 << (slot % WORD_BITS), Ordering::Release);
        }
    }

    /// The slot and the row of a key.
    fn find(&self, place: Place, key: &[u8]) -> Option<(usize, &[u8])> {
        let first = self.first_slot(place);
        let slots = slots_of(&self.memory, first)?;
        let found = self.find_among(first, slots, place, key);
        if found.is_some() || slots.contains(&[0; SLOT_BYTES]) {
            return found;
        }
        // What has found no place in a full bucket is in its neighbour.
        let other = neighbour(first);
        self.find_among(other, slots_of(&self.memory, other)?, place, key)
    }

    #[inline]
    fn find_among(
        &self,
        first: usize,
        slots: &[[u8; SLOT_BYTES]; SLOTS],
        place: Place,
        key: &[u8],
    ) -> Option<(usize, &[u8])> {
        // Which are gone comes from memory while the slots do, and while the entry does: the
        // processor guesses that the entry is there.
        let gone = gone_of(&self.gone, first);
        for (at, bytes) in slots.iter().enumerate() {
            let slot = u64::from_le_bytes(*bytes);
            if slot >> POSITION_BITS == place.tag
                && let Some((found, row)) = self.entry(position_of(slot))
                && found == key
                && gone >> at & 1 == 0
            {
                return Some((first + at, row));
            }
        }
        None
    }

    /// The key and row at a position; `None` if they have been overwritten.
    fn entry(&self, position: u64) -> Option<(&[u8], &[u8])> {
        if position < self.oldest() {
            return None;
        }
        let (prefix, rest) = self.ring().get(self.index_of(position)?..)?.split_first_chunk()?;
        let [a, b, c, d]: [u8; PREFIX] = *prefix;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes([a, b]).into())?;
        Some((key, rest.get(..u16::from_le_bytes([c, d]).into())?))
    }

    /// Positions before it are overwritten. Never 0, which empty slots have.
    fn oldest(&self) -> u64 {
        self.end.saturating_sub(self.ring_bytes_max as u64).max(1)
    }

    fn index_of(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_rem(self.ring_bytes_max as u64)?).ok()
    }

    fn put(&mut self, hasher: &KeyHasher, place: Place, key: &[u8], row: &[u8]) {
        // A slot must have been there for the row, so that it can be found.
        self.grow_buckets(hasher);
        if self.buckets == 0 {
            return;
        }
        let Some(position) = self.write(hasher, key, row) else { return };
        let first = self.first_slot(place);
        let oldest = self.oldest();
        let positions = [first, neighbour(first)].into_iter().flat_map(|first| {
            let slots = self.slots(first).into_iter().flatten().enumerate();
            slots.map(move |(at, slot)| (first + at, position_of(slot)))
        });
        // The first one that is empty or whose entry is overwritten, or else the oldest.
        let age = |position: u64| if position < oldest { 0 } else { position };
        let Some((slot, _)) = positions.min_by_key(|(_, position)| age(*position)) else { return };
        self.taken += usize::from(self.is_empty(slot));
        self.set_slot(slot, place.tag << POSITION_BITS | position);
    }

    /// Writes an entry over the oldest ones; answers its position.
    fn write(&mut self, hasher: &KeyHasher, key: &[u8], row: &[u8]) -> Option<u64> {
        let size = PREFIX + key.len() + row.len();
        if size > ENTRY_BYTES_MAX.min(self.ring_bytes_max) {
            return None;
        }
        let lengths = [u16::try_from(key.len()).ok()?, u16::try_from(row.len()).ok()?];
        let whole = self.ring_bytes_max as u64;
        // An entry does not go on at the beginning.
        let begins_anew = self.end % whole + size as u64 > whole;
        let position = if begins_anew { self.end.next_multiple_of(whole) } else { self.end };
        let at = self.index_of(position)?;
        if position >> POSITION_BITS != 0 || !self.has_ring(hasher, at + size) {
            return None;
        }
        let [key_length, row_length] = lengths.map(u16::to_le_bytes);
        let mut room =
            self.memory.get_mut(self.buckets * BUCKET_BYTES..)?.get_mut(at..at + size)?;
        for part in [&key_length, &row_length, key, row] {
            let (to, rest) = room.split_at_mut_checked(part.len())?;
            to.copy_from_slice(part);
            room = rest;
        }
        self.end = position + size as u64;
        Some(position)
    }

    /// Makes the ring at least so long, which is no more than it may be; answers if that failed.
    fn has_ring(&mut self, hasher: &KeyHasher, bytes: usize) -> bool {
        let len = self.ring().len();
        let more = bytes.max(len * 2).max(FIRST_BYTES).min(self.ring_bytes_max);
        bytes <= len || self.resize(hasher, self.buckets, more)
    }

    /// Doubles the buckets once half of the slots have been taken, up to their share.
    fn grow_buckets(&mut self, hasher: &KeyHasher) {
        let max = self.ring_bytes_max / RING_BYTES_PER_BUCKET;
        if self.taken * 2 >= self.buckets * SLOTS && self.buckets < max {
            let more = (self.buckets * 2).max(FIRST_BUCKETS).min(max);
            self.resize(hasher, more, self.ring().len());
        }
    }

    /// Moves to memory for so many buckets and bytes, no fewer than before; answers if that failed.
    fn resize(&mut self, hasher: &KeyHasher, buckets: usize, ring_bytes: usize) -> bool {
        let index_bytes = buckets * BUCKET_BYTES;
        let memory = index_bytes.checked_add(ring_bytes).and_then(Memory::zeroed);
        let words = (buckets * SLOTS).div_ceil(WORD_BITS);
        let mut gone = Vec::new();
        let (Some(mut memory), Ok(())) = (memory, gone.try_reserve_exact(words)) else {
            return false;
        };
        gone.resize_with(words, || AtomicU64::new(0));
        let (old_index, old_ring) = self.memory.split_at(self.buckets * BUCKET_BYTES);
        copy(&mut memory, index_bytes, old_ring);
        if buckets == self.buckets {
            copy(&mut memory, 0, old_index);
            self.memory = memory;
            return true;
        }
        let old_memory = std::mem::replace(&mut self.memory, memory);
        let old_gone = std::mem::replace(&mut self.gone, gone);
        let old_buckets = std::mem::replace(&mut self.buckets, buckets);
        self.taken = 0;
        let first_slots = (0..old_buckets).map(|bucket| bucket * SLOTS);
        for slot in first_slots.filter_map(|at| slots(&old_memory, &old_gone, at)).flatten() {
            let Some((key, _)) = self.entry(position_of(slot)) else { continue };
            let first = self.first_slot(Place::of(hasher.hash(key)));
            let mut places =
                [first, neighbour(first)].into_iter().flat_map(|first| first..first + SLOTS);
            let Some(empty) = places.find(|slot| self.is_empty(*slot)) else { continue };
            self.set_slot(empty, slot);
            self.taken += 1;
        }
        true
    }
}

/// The first slot of the bucket that takes what has no place in the bucket of this one.
fn neighbour(first: usize) -> usize {
    first ^ SLOTS
}

/// The slots of a bucket, the first of which is this one.
fn slots_of(memory: &[u8], first: usize) -> Option<&[[u8; SLOT_BYTES]; SLOTS]> {
    memory.get(first * SLOT_BYTES..)?.as_chunks().0.first_chunk()
}

/// A bit for each slot of a bucket that is gone, and others above them.
fn gone_of(gone: &[AtomicU64], first: usize) -> u64 {
    let word = gone.get(first / WORD_BITS).map_or(0, |word| word.load(Ordering::Acquire));
    word >> (first % WORD_BITS)
}

/// What the slots of a bucket say; 0 for those that are gone.
fn slots(memory: &[u8], gone: &[AtomicU64], first: usize) -> Option<[u64; SLOTS]> {
    let gone = gone_of(gone, first);
    let mut slots = slots_of(memory, first)?.map(u64::from_le_bytes);
    for (at, slot) in slots.iter_mut().enumerate() {
        if gone >> at & 1 == 1 {
            *slot = 0;
        }
    }
    Some(slots)
}

fn copy(to: &mut [u8], at: usize, from: &[u8]) {
    if let Some(room) = to.get_mut(at..at + from.len()) {
        room.copy_from_slice(from);
    }
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
            let filler = usize::from(key) * 3 + usize::try_from(written % 13).unwrap();
            // No two places of two rows are alike, so that a part of another row is seen.
            let mut random = datafold_testkit::Random::part(written, u64::from(key));
            (0..8 + filler).map(|_| random.next_u64().to_le_bytes()[0]).collect()
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

    fn run(cache: &RecordCache, steps: Vec<Step>) -> usize {
        let mut groups = Groups(vec![BTreeMap::new()]);
        let mut hits = 0;
        for step in steps {
            match step {
                Step::Publish(keys) => groups.publish(cache, &keys),
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
                    groups.publish(cache, &writes);
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
            bytes in 0_usize..6_000,
        ) {
            run(&RecordCache::with_shards(bytes, 1), steps);
        }
    }

    #[test]
    fn what_was_read_is_found_again() {
        let reads = (0..5).flat_map(|_| (0..40).map(|key| Step::Read { key, age: 0 }));
        assert_eq!(run(&RecordCache::new(RECORD_CACHE_BYTES), reads.collect()), 4 * 40);
    }

    #[test]
    fn rows_are_not_lost_to_others_while_there_is_room() {
        let cache = RecordCache::new(RECORD_CACHE_BYTES);
        let keys = || (0_u64..200_000).map(u64::to_be_bytes);
        for key in keys() {
            cache.put(&key, &[1; 8], CommitNumber::ZERO);
        }
        let lost = keys().filter(|key| cache.get(key, CommitNumber::ZERO).is_none()).count();
        // A bucket and the one beside it lose about one in a thousand when half of all slots are
        // taken; buckets alone would lose eight.
        assert!(lost < 500, "{lost} of 200,000 rows were lost");
    }

    #[test]
    fn rows_stay_in_their_own_buckets_when_old_ones_are_overwritten() {
        let cache = RecordCache::with_shards(1 << 20, 1);
        for key in 0_u64..50_000 {
            cache.put(&key.to_be_bytes(), &[1; 100], CommitNumber::ZERO);
        }
        let shard = cache.shards[0].read();
        let is_at_home = |key: &u64| {
            let (_, place) = cache.place(&key.to_be_bytes()).unwrap();
            let found = shard.find(place, &key.to_be_bytes());
            found.is_some_and(|(slot, _)| slot / SLOTS * SLOTS == shard.first_slot(place))
        };
        let at_home = (45_000..50_000).filter(is_at_home).count();
        assert!(at_home > 4_500, "{at_home} of 5,000");
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
            shard.memory.len() + shard.gone.len() * size_of::<u64>()
        });
        assert!(memory.sum::<usize>() <= bytes);
    }

    #[test]
    fn an_entry_is_gone_when_a_part_of_it_is_overwritten() {
        let mut shard = Shard::new(128);
        let mut write = |n: u8| {
            let position = shard.write(&KeyHasher::default(), &[n; 4], &[n; 24]).unwrap();
            (position, shard.end)
        };
        assert_eq!([1, 2, 3].map(&mut write), [(1, 33), (33, 65), (65, 97)]);
        // There is no room for the next one behind them.
        assert_eq!(write(4), (128, 160));
        let kept = |position| shard.entry(position).map(|(key, row)| (key[0], row.len()));
        assert_eq!([1, 33, 65, 128].map(kept), [None, Some((2, 24)), Some((3, 24)), Some((4, 24))]);
        assert_eq!(kept(0), None);
    }

    #[test]
    fn no_bound_is_too_large() {
        let cache = RecordCache::new(usize::MAX);
        cache.put(b"a key", b"a row", CommitNumber(3));
        assert_eq!(cache.get(b"a key", CommitNumber(3)).unwrap(), b"a row");
        let memory = cache.shards.iter().map(|shard| shard.read().ring().len());
        assert_eq!(memory.sum::<usize>(), FIRST_BYTES);
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
