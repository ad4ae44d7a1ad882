//! Bounded reads of a range of rows, a page at a time.

use std::ops::Bound;

use crate::Keyspace;

/// The direction of a [`Scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Ascending bytes of the keys.
    #[default]
    Forward,
    /// Descending bytes of the keys.
    Reverse,
}

/// A range of one keyspace, and how much of it to read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The keyspace to read.
    pub keyspace: Keyspace,
    /// The lower bound of the keys.
    pub lower: Bound<Vec<u8>>,
    /// The upper bound of the keys.
    pub upper: Bound<Vec<u8>>,
    /// Which end comes first.
    pub order: Order,
    /// At most this many rows a page; at least 1.
    pub rows_max: usize,
    /// A page ends after the row that reaches this many bytes of keys and values.
    pub bytes_max: usize,
}

impl Scan {
    /// Rows of a page unless a scan asks for another number.
    pub const ROWS_MAX: usize = 1_000;
    /// Bytes of a page unless a scan asks for another number.
    pub const BYTES_MAX: usize = 1 << 20;

    /// All rows of a keyspace, ascending.
    #[must_use]
    pub fn all(keyspace: Keyspace) -> Self {
        Self::range(keyspace, Bound::Unbounded, Bound::Unbounded)
    }

    /// The rows between two bounds, ascending.
    #[must_use]
    pub fn range(keyspace: Keyspace, lower: Bound<Vec<u8>>, upper: Bound<Vec<u8>>) -> Self {
        Self {
            keyspace,
            lower,
            upper,
            order: Order::Forward,
            rows_max: Self::ROWS_MAX,
            bytes_max: Self::BYTES_MAX,
        }
    }

    /// The rows whose key starts with `prefix`, ascending.
    #[must_use]
    pub fn prefix(keyspace: Keyspace, prefix: &[u8]) -> Self {
        let upper = match prefix_end(prefix) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        Self::range(keyspace, Bound::Included(prefix.to_vec()), upper)
    }

    /// The same rows, from the other end.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.order = match self.order {
            Order::Forward => Order::Reverse,
            Order::Reverse => Order::Forward,
        };
        self
    }

    /// The same range, at most `rows_max` rows a page.
    #[must_use]
    pub fn rows(mut self, rows_max: usize) -> Self {
        self.rows_max = rows_max.max(1);
        self
    }

    /// The rest of the range behind `key`, the last one of a page.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        match self.order {
            Order::Forward => self.lower = Bound::Excluded(key.to_vec()),
            Order::Reverse => self.upper = Bound::Excluded(key.to_vec()),
        }
        self
    }

    /// The bounds as slices.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.lower.as_ref().map(Vec::as_slice), self.upper.as_ref().map(Vec::as_slice))
    }

    /// Whether no key can lie between the bounds.
    ///
    /// Engines answer such a scan with an empty page instead of an error.
    #[must_use]
    pub fn is_empty_range(&self) -> bool {
        match self.bounds() {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
            (Bound::Included(lower) | Bound::Excluded(lower), Bound::Excluded(upper))
            | (Bound::Excluded(lower), Bound::Included(upper)) => lower >= upper,
        }
    }
}

/// The smallest key above every key that starts with `prefix`; `None` if there is none.
#[must_use]
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix.get(..=last)?.to_vec();
    let byte = end.last_mut()?;
    *byte += 1;
    Some(end)
}

/// Rows in the order of their scan, packed in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    /// For each row the end of its key and the end of its value in `bytes`.
    ends: Vec<(usize, usize)>,
    more: bool,
}

impl Page {
    /// A page without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A page without rows, with room for many if the scan asks for many.
    #[must_use]
    pub fn for_scan(scan: &Scan) -> Self {
        let rows = scan.rows_max.min(Scan::ROWS_MAX);
        let bytes = (rows * 128).min(scan.bytes_max);
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(rows), more: false }
    }

    /// Appends a row.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// Whether the scan asks for no more than the page holds; never true of an empty page, so that
    /// a limit of 0 cannot make a reader go round for ever.
    #[must_use]
    pub fn is_full(&self, scan: &Scan) -> bool {
        let rows = self.ends.len();
        rows > 0 && (rows >= scan.rows_max || self.bytes.len() >= scan.bytes_max)
    }

    /// Marks that the range has rows behind the last one of this page.
    pub fn set_more(&mut self) {
        self.more = true;
    }

    /// Whether the range has rows behind the last one of this page.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the page has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key and value of row `index`, counted from 0.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (key_end, value_end) = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(previous) => self.ends.get(previous)?.1,
            None => 0,
        };
        Some((self.bytes.get(start..key_end)?, self.bytes.get(key_end..value_end)?))
    }

    /// The rows in the order of the scan.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).filter_map(|index| self.row(index))
    }

    /// The key of the last row, from which [`Scan::after`] goes on.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.row(self.len().checked_sub(1)?).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_next_key_that_does_not_start_with_the_prefix() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xFF\xFF"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xFF"), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn a_page_gives_back_what_was_pushed() {
        let mut page = Page::new();
        page.push(b"", b"empty key");
        page.push(b"k", b"");
        page.push(b"key", b"value");
        let rows: Vec<_> = page.rows().collect();
        assert_eq!(rows, [(&b""[..], &b"empty key"[..]), (b"k", b""), (b"key", b"value")]);
        assert_eq!(page.last_key(), Some(&b"key"[..]));
        assert_eq!(page.row(3), None);
    }
}
