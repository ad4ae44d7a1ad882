//! Rows that are committed in order but not yet durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace, Scan};

use super::ids::CommitNumber;

/// At most this many keys of durable commits are kept for checking transactions against.
const RECENT_KEYS_MAX: usize = 65_536;

/// The rows of pending commits, and which rows recent commits have written.
///
/// Transactions read the first; optimistic transactions are checked against the second.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: BTreeMap<BatchKey, (CommitNumber, Option<Bytes>)>,
    /// The sorted keys of each commit, oldest first. Consecutive numbers.
    recent: VecDeque<(CommitNumber, Vec<BatchKey>)>,
    recent_keys: usize,
    /// Commits up to this number are no longer in `rows`.
    pruned: CommitNumber,
}

/// A row or a range of rows that a transaction has read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReadRange {
    Row(BatchKey),
    Range(Keyspace, Bound2),
}

/// Bounds of a range that has been read: from inclusive, to exclusive or open.
pub(crate) type Bound2 = (Vec<u8>, Option<Vec<u8>>);

/// Whether transactions can read rows of this keyspace while they are pending.
fn is_read_back(keyspace: Keyspace) -> bool {
    match keyspace {
        // Of the head keyspace: the counters.
        Keyspace::Head
        | Keyspace::Catalogue
        | Keyspace::Records
        | Keyspace::Elements
        | Keyspace::Indexes => true,
        Keyspace::History | Keyspace::Commits => false,
    }
}

impl Overlay {
    /// The row as pending commits leave it; `None` if no pending commit wrote it.
    pub(crate) fn get(&self, key: &BatchKey) -> Option<Option<&Bytes>> {
        self.rows.get(key).map(|(_, row)| row.as_ref())
    }

    /// The keys of a range that pending commits have written, with whether there is a row then.
    pub(crate) fn keys(&self, scan: &Scan) -> impl Iterator<Item = (&Bytes, bool)> {
        let whole = |key: &Vec<u8>| (scan.keyspace, Bytes::copy_from_slice(key));
        let first = Bound::Included((scan.keyspace, Bytes::new()));
        let lower = match &scan.lower {
            Bound::Included(key) => Bound::Included(whole(key)),
            Bound::Excluded(key) => Bound::Excluded(whole(key)),
            Bound::Unbounded => first,
        };
        let found = self.rows.range((lower, Bound::Unbounded));
        let is_within = |key: &BatchKey| {
            key.0 == scan.keyspace
                && match &scan.upper {
                    Bound::Included(upper) => key.1 <= *upper,
                    Bound::Excluded(upper) => key.1 < *upper,
                    Bound::Unbounded => true,
                }
        };
        let found = found.take_while(move |(key, _)| is_within(key));
        found.map(|(key, (_, row))| (&key.1, row.is_some()))
    }

    /// Adds the writes of the next commit.
    pub(crate) fn push(&mut self, number: CommitNumber, writes: &[(BatchKey, Option<Bytes>)]) {
        let mut keys = Vec::with_capacity(writes.len());
        for (key, row) in writes.iter().filter(|(key, _)| is_read_back(key.0)) {
            self.rows.insert(key.clone(), (number, row.clone()));
            keys.push(key.clone());
        }
        keys.sort_unstable();
        self.recent_keys += keys.len();
        self.recent.push_back((number, keys));
    }

    /// Forgets the rows of commits that a snapshot at `durable` shows, and the keys of the
    /// oldest commits beyond the bound.
    pub(crate) fn prune(&mut self, durable: CommitNumber) {
        if durable > self.pruned {
            let first = self.recent.partition_point(|(number, _)| *number <= self.pruned);
            for (number, keys) in self.recent.iter().skip(first) {
                if *number > durable {
                    break;
                }
                for key in keys {
                    if self.rows.get(key).is_some_and(|(written, _)| *written <= durable) {
                        self.rows.remove(key);
                    }
                }
            }
            self.pruned = durable;
        }
        while self.recent_keys > RECENT_KEYS_MAX
            && self.recent.front().is_some_and(|(number, _)| *number <= durable)
        {
            let dropped = self.recent.pop_front().map_or(0, |(_, keys)| keys.len());
            self.recent_keys -= dropped;
        }
    }

    /// The first commit after `base` that wrote something of what was read.
    ///
    /// If the commits after `base` are no longer all known, the oldest known one is answered: a
    /// transaction that old has to run again.
    pub(crate) fn conflict<'a>(
        &self,
        base: CommitNumber,
        head: CommitNumber,
        reads: impl Iterator<Item = &'a ReadRange> + Clone,
    ) -> Option<CommitNumber> {
        if base >= head {
            return None;
        }
        let oldest = self.recent.front().map_or(head, |(number, _)| *number);
        if self.recent.is_empty() || oldest > base.next() {
            return Some(oldest);
        }
        let first = self.recent.partition_point(|(number, _)| *number <= base);
        let mut since = self.recent.iter().skip(first);
        since.find(|(_, keys)| reads.clone().any(|read| touches(keys, read))).map(|(n, _)| *n)
    }

    /// Forgets everything after a failure; the next commit follows `durable`.
    pub(crate) fn reset(&mut self, durable: CommitNumber) {
        self.rows.clear();
        while self.recent.back().is_some_and(|(number, _)| *number > durable) {
            self.recent_keys -= self.recent.pop_back().map_or(0, |(_, keys)| keys.len());
        }
        self.pruned = durable;
    }
}

fn touches(keys: &[BatchKey], read: &ReadRange) -> bool {
    match read {
        ReadRange::Row(key) => keys.binary_search(key).is_ok(),
        ReadRange::Range(keyspace, (from, to)) => {
            let at =
                keys.partition_point(|(space, key)| (*space, &key[..]) < (*keyspace, &from[..]));
            keys.get(at).is_some_and(|(space, key)| {
                space == keyspace && to.as_ref().is_none_or(|to| key[..] < to[..])
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str) -> BatchKey {
        (Keyspace::Records, Bytes::from_static(name.as_bytes()))
    }

    fn overlay(commits: &[&[&'static str]]) -> Overlay {
        let mut overlay = Overlay::default();
        for (at, keys) in commits.iter().enumerate() {
            let writes: Vec<_> =
                keys.iter().map(|name| (key(name), Some(Bytes::from(format!("{at}"))))).collect();
            overlay.push(CommitNumber(at as u64 + 1), &writes);
        }
        overlay
    }

    #[test]
    fn pruning_keeps_what_a_later_commit_wrote() {
        let mut overlay = overlay(&[&["a", "b"], &["b"]]);
        overlay.prune(CommitNumber(1));
        assert_eq!(overlay.get(&key("a")), None);
        assert_eq!(overlay.get(&key("b")), Some(Some(&Bytes::from_static(b"1"))));
        overlay.prune(CommitNumber(2));
        assert_eq!(overlay.get(&key("b")), None);
    }

    #[test]
    fn conflicts_are_found_in_rows_and_ranges_since_the_base() {
        let overlay = overlay(&[&["a"], &["c"], &["e"]]);
        let head = CommitNumber(3);
        let row = |name| ReadRange::Row(key(name));
        let range = |from: &str, to: Option<&str>| {
            let to = to.map(|to| to.as_bytes().to_vec());
            ReadRange::Range(Keyspace::Records, (from.as_bytes().to_vec(), to))
        };
        let check = |base, read: ReadRange| {
            overlay.conflict(CommitNumber(base), head, [read].iter()).map(|n| n.0)
        };
        assert_eq!(check(0, row("a")), Some(1));
        assert_eq!(check(1, row("a")), None);
        assert_eq!(check(0, row("d")), None);
        assert_eq!(check(1, range("b", Some("d"))), Some(2));
        assert_eq!(check(2, range("b", Some("d"))), None);
        assert_eq!(check(2, range("d", None)), Some(3));
        assert_eq!(check(0, range("d", Some("e"))), None);
    }

    #[test]
    fn a_transaction_older_than_what_is_known_conflicts() {
        let mut overlay = Overlay::default();
        overlay.push(CommitNumber(8), &[(key("a"), None)]);
        let read = [ReadRange::Row(key("z"))];
        let conflict = |overlay: &Overlay, base| {
            overlay.conflict(CommitNumber(base), CommitNumber(8), read.iter())
        };
        assert_eq!(conflict(&overlay, 7), None);
        assert_eq!(conflict(&overlay, 6), Some(CommitNumber(8)));
        overlay.reset(CommitNumber(7));
        assert_eq!(conflict(&overlay, 7), Some(CommitNumber(8)));
    }
}
