//! What rows were before later batches changed them: the past that open snapshots show.
//!
//! sled has one moment only, the present. Before a batch changes a row, the row as it was is kept
//! here under the number of the batch. A snapshot reads a row in the engine first and then looks
//! here whether a later batch has changed it; as a row is kept *before* it is changed, the two
//! answers together are those of the snapshot's moment, whatever happens between them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

/// What each kept row costs besides its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 128;

/// A row as it was: `None` if there was none under the key.
pub(super) type Before = Option<Bytes>;

/// The snapshot is too old: what it shows has been let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired;

/// The kept rows, and which snapshots need them.
#[derive(Debug)]
pub(super) struct Versions {
    state: RwLock<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The number of batches that are visible: a new snapshot gets it as its version.
    current: u64,
    /// The row under a key as it was before the batch with this number.
    rows: BTreeMap<(Bytes, u64), Before>,
    /// The keys in `rows`, by batch.
    keys: BTreeMap<u64, Vec<Bytes>>,
    /// How many snapshots of each version are open.
    open: BTreeMap<u64, usize>,
    /// Snapshots with a smaller version have expired.
    oldest: u64,
    /// What `rows` occupies, about.
    bytes: usize,
}

impl Versions {
    /// Nothing is kept yet. Rows of at most `bytes_max` bytes are, and those of one batch.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: RwLock::default(), bytes_max }
    }

    /// Counts a new snapshot; answers its version.
    pub(super) fn open(&self) -> u64 {
        let mut state = self.state.write();
        let version = state.current;
        *state.open.entry(version).or_default() += 1;
        version
    }

    /// Lets go what only this snapshot needed.
    pub(super) fn release(&self, version: u64) {
        let mut state = self.state.write();
        let Some(count) = state.open.get_mut(&version) else { return };
        *count -= 1;
        if *count == 0 {
            state.close(version);
        }
    }

    /// Keeps rows as they are before the next batch changes them.
    ///
    /// The snapshots that new ones would equal never expire: the bound is of those before.
    pub(super) fn keep(&self, rows: impl IntoIterator<Item = (Bytes, Before)>) {
        let mut state = self.state.write();
        let version = state.current + 1;
        for (key, before) in rows {
            state.bytes += size_of(&key, before.as_ref());
            state.keys.entry(version).or_default().push(key.clone());
            state.rows.insert((key, version), before);
        }
        while state.bytes > self.bytes_max {
            let Some((&oldest, _)) = state.open.range(..state.current).next() else { break };
            state.oldest = oldest + 1;
            state.close(oldest);
        }
    }

    /// Makes the batch whose rows were kept visible to new snapshots.
    pub(super) fn advance(&self) {
        let mut state = self.state.write();
        let before = state.current;
        state.current += 1;
        let newest = state.open.keys().next_back().copied();
        if newest != Some(before) {
            let changed = state.current;
            state.collect(before, changed, newest);
        }
    }

    /// What the row under `key` was for a snapshot, if a later batch has changed it. The engine
    /// must have been asked before.
    pub(super) fn get(&self, version: u64, key: &[u8]) -> Result<Option<Before>, Expired> {
        let state = self.state.read();
        state.check(version)?;
        if state.rows.is_empty() {
            return Ok(None);
        }
        let from = (Bytes::copy_from_slice(key), version + 1);
        let later = state.rows.range(from..).next();
        Ok(later.filter(|((found, _), _)| found == key).map(|(_, before)| before.clone()))
    }

    /// The rows between two keys that later batches have changed, as they were for a snapshot, by
    /// key. The engine must have been asked before.
    pub(super) fn range(
        &self,
        version: u64,
        (lower, upper): (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Vec<(Bytes, Before)>, Expired> {
        let state = self.state.read();
        state.check(version)?;
        let mut found: Vec<(Bytes, Before)> = Vec::new();
        if state.rows.is_empty() {
            return Ok(found);
        }
        let lower = match lower {
            Bound::Included(key) => Bound::Included((Bytes::copy_from_slice(key), 0)),
            Bound::Excluded(key) => Bound::Excluded((Bytes::copy_from_slice(key), u64::MAX)),
            Bound::Unbounded => Bound::Unbounded,
        };
        for ((key, changed), before) in state.rows.range((lower, Bound::Unbounded)) {
            let is_in = match upper {
                Bound::Included(upper) => key.as_ref() <= upper,
                Bound::Excluded(upper) => key.as_ref() < upper,
                Bound::Unbounded => true,
            };
            if !is_in {
                break;
            }
            // Of several batches, the first one behind the snapshot changed what it shows.
            let is_told = found.last().is_some_and(|(last, _)| last == key);
            if *changed > version && !is_told {
                found.push((key.clone(), before.clone()));
            }
        }
        Ok(found)
    }

    /// What is kept occupies so many bytes, about.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.state.read().bytes
    }
}

impl State {
    fn check(&self, version: u64) -> Result<(), Expired> {
        if version < self.oldest { Err(Expired) } else { Ok(()) }
    }

    fn close(&mut self, version: u64) {
        self.open.remove(&version);
        let older = self.open.range(..version).next_back().map(|(version, _)| *version);
        let newer = self.open.range(version..).next().map(|(version, _)| *version);
        // What the next batch changes is not in question: snapshots of the present may follow.
        self.collect(version, newer.unwrap_or(self.current), older);
    }

    /// Lets go of rows that batches in `after..=until` have changed and that no snapshot needs;
    /// the next older one has version `older`, and none lies between.
    fn collect(&mut self, after: u64, until: u64, older: Option<u64>) {
        if after >= until {
            return;
        }
        let numbers: Vec<u64> = self.keys.range(after + 1..=until).map(|(n, _)| *n).collect();
        for number in numbers {
            let Some(keys) = self.keys.remove(&number) else { continue };
            let (mut needed, mut freed) = (Vec::new(), 0);
            for key in keys {
                // The older one needs the row if no batch between has changed it.
                let is_needed = older.is_some_and(|older| {
                    let between = (key.clone(), older + 1)..(key.clone(), number);
                    self.rows.range(between).next().is_none()
                });
                if is_needed {
                    needed.push(key);
                } else if let Some(before) = self.rows.remove(&(key.clone(), number)) {
                    freed += size_of(&key, before.as_ref());
                }
            }
            self.bytes -= freed;
            if !needed.is_empty() {
                self.keys.insert(number, needed);
            }
        }
    }
}

fn size_of(key: &Bytes, before: Option<&Bytes>) -> usize {
    ROW_OVERHEAD_BYTES + key.len() + before.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<u8, Bytes>;

    fn key(n: u8) -> Bytes {
        Bytes::copy_from_slice(&[n])
    }

    /// The present, and the moments that snapshots are of.
    struct Model {
        versions: Versions,
        rows: Rows,
        open: Vec<(u64, Rows)>,
    }

    impl Model {
        fn new(bytes_max: usize) -> Self {
            Self { versions: Versions::new(bytes_max), rows: Rows::new(), open: Vec::new() }
        }

        fn apply(&mut self, changes: &BTreeMap<u8, Option<u8>>) {
            let before = changes.keys().map(|n| (key(*n), self.rows.get(n).cloned()));
            self.versions.keep(before.collect::<Vec<_>>());
            for (n, value) in changes {
                match value {
                    Some(value) => self.rows.insert(*n, key(*value)),
                    None => self.rows.remove(n),
                };
            }
            // Between the change and its end every snapshot shows what it did before.
            self.check();
            self.versions.advance();
        }

        fn check(&self) {
            for (version, expected) in &self.open {
                let mut found = self.rows.clone();
                let all = (Bound::Unbounded, Bound::Unbounded);
                for (key, before) in self.versions.range(*version, all).unwrap() {
                    match before {
                        Some(before) => found.insert(key[0], before),
                        None => found.remove(&key[0]),
                    };
                }
                assert_eq!(&found, expected, "version {version}");
                for n in 0..8 {
                    let found = self.versions.get(*version, &[n]).unwrap();
                    let found = found.unwrap_or_else(|| self.rows.get(&n).cloned());
                    assert_eq!(found.as_ref(), expected.get(&n), "version {version}, key {n}");
                }
            }
        }
    }

    /// Keys and their new values; `None` removes the row.
    fn changes() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
        vec((0_u8..8, proptest::option::of(any::<u8>())), 0..5)
    }

    proptest! {
        /// Snapshots that come and go show their moments, and nothing stays behind them.
        #[test]
        fn snapshots_show_their_moment(
            steps in vec((0_u8..3, changes(), 0..9_usize), 1..60),
        ) {
            let mut model = Model::new(usize::MAX);
            for (kind, changes, place) in steps {
                match kind {
                    0 => model.apply(&changes.into_iter().collect()),
                    1 => model.open.push((model.versions.open(), model.rows.clone())),
                    _ if model.open.is_empty() => {}
                    _ => {
                        let place = place % model.open.len();
                        let (version, _) = model.open.swap_remove(place);
                        model.versions.release(version);
                    }
                }
                model.check();
                // Each row that is kept is the only answer to some snapshot.
                let distinct = model.open.iter().map(|(version, _)| version);
                let distinct = distinct.collect::<std::collections::BTreeSet<_>>().len();
                prop_assert!(model.versions.state.read().rows.len() <= distinct * 8);
            }
            for (version, _) in std::mem::take(&mut model.open) {
                model.versions.release(version);
            }
            prop_assert_eq!(model.versions.bytes(), 0);
            prop_assert!(model.versions.state.read().keys.is_empty());
        }
    }

    #[test]
    fn beyond_the_bound_the_oldest_snapshots_expire_and_the_newest_does_not() {
        let mut model = Model::new(4 * (ROW_OVERHEAD_BYTES + 2));
        let oldest = model.versions.open();
        for n in 0..3 {
            model.apply(&BTreeMap::from([(n, Some(1))]));
        }
        let old = model.versions.open();
        assert_eq!(model.versions.get(oldest, &[0]), Ok(Some(None)));
        for n in 0..4 {
            model.apply(&BTreeMap::from([(n, Some(2))]));
        }
        assert_eq!(model.versions.get(oldest, &[0]), Err(Expired));
        assert_eq!(
            model.versions.range(oldest, (Bound::Unbounded, Bound::Unbounded)),
            Err(Expired)
        );
        assert_eq!(model.versions.get(old, &[0]), Ok(Some(Some(key(1)))));
        // One batch beyond the bound: the moment before it stays.
        let newest = model.versions.open();
        model.apply(&(0..200).map(|n| (n, Some(3))).collect());
        assert_eq!(model.versions.get(old, &[0]), Err(Expired));
        assert_eq!(model.versions.get(newest, &[0]), Ok(Some(Some(key(2)))));
        for version in [oldest, old, newest] {
            model.versions.release(version);
        }
        assert_eq!(model.versions.bytes(), 0);
    }

    #[test]
    fn a_row_changed_again_and_again_is_kept_once_for_an_old_snapshot() {
        let mut model = Model::new(usize::MAX);
        let old = model.versions.open();
        for n in 0..100 {
            let newest = model.versions.open();
            model.apply(&BTreeMap::from([(1, Some(n))]));
            model.versions.release(newest);
        }
        assert_eq!(model.versions.state.read().rows.len(), 1);
        assert_eq!(model.versions.get(old, &[1]), Ok(Some(None)));
    }
}
