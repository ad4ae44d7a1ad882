//! The simplest store that can be right.

use std::collections::BTreeMap;
use std::ops::Bound;

use datafold_store::{Batch, Head, Keyspace, Order, Scan, Snapshot, SpaceId, StoreError};

/// A row of a model or a dump: keyspace, key, value.
pub type Row = (Keyspace, Vec<u8>, Vec<u8>);

/// A row of a scan.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Rows and heads in ordered maps: what every engine is compared with.
///
/// It keeps the heads apart from the rows, so it knows nothing of how an engine stores them;
/// batches of the suite never write to [`Keyspace::Head`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelStore {
    rows: BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>,
    heads: BTreeMap<SpaceId, Head>,
}

impl ModelStore {
    /// A model without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a batch if it follows the head of its space; else answers that head and changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// The head that the space has, if the batch does not follow it.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), Option<Head>> {
        let head = self.heads.get(&batch.space);
        if head.map_or(0, |head| head.number) != batch.follows {
            return Err(head.cloned());
        }
        for (keyspace, key, value) in batch.writes() {
            let key = (keyspace, key.to_vec());
            match value {
                Some(value) => self.rows.insert(key, value.to_vec()),
                None => self.rows.remove(&key),
            };
        }
        let head = Head { number: batch.number, token: batch.token, payload: batch.head.clone() };
        self.heads.insert(batch.space, head);
        Ok(())
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<&[u8]> {
        self.rows.get(&(keyspace, key.to_vec())).map(Vec::as_slice)
    }

    /// The head of a space.
    #[must_use]
    pub fn head(&self, space: SpaceId) -> Option<&Head> {
        self.heads.get(&space)
    }

    /// The number of a space's last commit; 0 without one.
    #[must_use]
    pub fn head_number(&self, space: SpaceId) -> u64 {
        self.head(space).map_or(0, |head| head.number)
    }

    /// All rows of a scan's range in its order, whatever its limits are.
    #[must_use]
    pub fn scan(&self, scan: &Scan) -> Vec<KeyValue> {
        let in_range = |key: &[u8]| {
            let above = match &scan.lower {
                Bound::Included(lower) => key >= lower.as_slice(),
                Bound::Excluded(lower) => key > lower.as_slice(),
                Bound::Unbounded => true,
            };
            above
                && match &scan.upper {
                    Bound::Included(upper) => key <= upper.as_slice(),
                    Bound::Excluded(upper) => key < upper.as_slice(),
                    Bound::Unbounded => true,
                }
        };
        let rows = self.rows.iter().filter(|((keyspace, _), _)| *keyspace == scan.keyspace);
        let rows = rows.filter(|((_, key), _)| in_range(key));
        let mut rows: Vec<_> = rows.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        if scan.order == Order::Reverse {
            rows.reverse();
        }
        rows
    }

    /// Every row, in the order of keyspaces and keys.
    #[must_use]
    pub fn dump(&self) -> Vec<Row> {
        let rows = self.rows.iter();
        rows.map(|((keyspace, key), value)| (*keyspace, key.clone(), value.clone())).collect()
    }

    /// Whether a snapshot shows exactly the rows and heads of the model.
    ///
    /// # Errors
    ///
    /// A text that names the first difference, or the error of a read.
    pub fn check(&self, snapshot: &dyn Snapshot) -> Result<(), String> {
        for (space, expected) in &self.heads {
            let found = snapshot.head(*space).map_err(|error| describe(&error))?;
            if found.as_ref() != Some(expected) {
                return Err(format!(
                    "the head of space {space} is number {:?}, the model has {}",
                    found.map(|head| head.number),
                    expected.number
                ));
            }
        }
        let found = dump(snapshot).map_err(|error| describe(&error))?;
        let expected = self.dump();
        let differs = expected.iter().zip(&found).position(|(expected, found)| expected != found);
        match differs {
            Some(index) => Err(format!(
                "row {index} is {}, the model has {}",
                describe_row(found.get(index)),
                describe_row(expected.get(index))
            )),
            None if found.len() == expected.len() => Ok(()),
            None => {
                let (found, expected) = (found.len(), expected.len());
                Err(format!("the store has {found} rows, the model has {expected}"))
            }
        }
    }
}

/// Every row of a snapshot but the heads, in the order of keyspaces and keys.
///
/// # Errors
///
/// The error of the first read that fails.
pub fn dump(snapshot: &dyn Snapshot) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for keyspace in Keyspace::ALL {
        if keyspace != Keyspace::Head {
            let found = read_all(snapshot, Scan::all(keyspace))?;
            rows.extend(found.into_iter().map(|(key, value)| (keyspace, key, value)));
        }
    }
    Ok(rows)
}

/// All rows of a scan, page by page.
///
/// # Errors
///
/// The error of the first page that cannot be read.
pub fn read_all(snapshot: &dyn Snapshot, scan: Scan) -> Result<Vec<KeyValue>, StoreError> {
    let mut rows = Vec::new();
    let mut scan = scan;
    loop {
        let page = snapshot.scan(&scan)?;
        rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
        match page.last_key() {
            Some(key) if page.more() => scan = scan.after(key),
            _ => return Ok(rows),
        }
    }
}

/// An error with the chain of its causes on one line.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn describe_row(row: Option<&Row>) -> String {
    let Some((keyspace, key, value)) = row else { return "missing".into() };
    format!("{keyspace} {} with {} bytes", key.escape_ascii(), value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_must_follow_the_head() {
        let mut model = ModelStore::new();
        let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [1; 16]);
        batch.put(Keyspace::Records, &b"k"[..], &b"v"[..]);
        assert_eq!(model.apply(&batch), Ok(()));
        let before = model.clone();
        let head = model.apply(&batch).unwrap_err();
        assert_eq!(head.map(|head| head.number), Some(1));
        assert_eq!(model, before);
        assert_eq!(model.get(Keyspace::Records, b"k"), Some(&b"v"[..]));
        let range = Scan::range(
            Keyspace::Records,
            Bound::Excluded(b"k".to_vec()),
            Bound::Excluded(b"k".to_vec()),
        );
        assert_eq!(model.scan(&range), []);
    }
}
