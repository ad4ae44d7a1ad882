//! One consistent moment of a store.

use std::fmt;
use std::ops::ControlFlow;

use crate::head::read_head;
use crate::{Head, Keyspace, Page, Scan, SpaceId, StoreError};

/// What [`Snapshot::for_each`] calls with the key and the value of each row.
pub type RowVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A read-only view of a store at one moment.
///
/// A snapshot shows every batch that was accepted before it was taken, whole, and none that was
/// accepted later. It blocks no writer. While it lives, the engine keeps the rows it shows.
pub trait Snapshot: Send + Sync + fmt::Debug {
    /// The value under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] and [`StoreError::Corrupted`] when the engine cannot read.
    ///
    /// # Cost
    ///
    /// One descent of the engine's tree and one copy of the value.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values under `keys`, in the order of `keys`.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    fn get_many(&self, keys: &[(Keyspace, &[u8])]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// The first rows of a range, in the order of the scan.
    ///
    /// The page ends when the range does, or at the scan's limit of rows or bytes; then
    /// [`Page::more`] is true and [`Scan::after`] the last key goes on. A page of a range with
    /// rows has at least one row.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    fn scan(&self, scan: &Scan) -> Result<Page, StoreError>;

    /// Calls `visit` with each row of a range, in the order of the scan, until it breaks.
    ///
    /// The scan's limits of rows and bytes are of no account. An engine in this process hands its
    /// rows over one by one and gathers no page.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    fn for_each(&self, scan: &Scan, visit: &mut RowVisitor<'_>) -> Result<(), StoreError> {
        let mut scan = scan.clone();
        loop {
            let page = self.scan(&scan)?;
            for (key, value) in page.rows() {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            match page.last_key() {
                Some(last) if page.more() => scan = scan.after(last),
                _ => return Ok(()),
            }
        }
    }

    /// The head of a space; `None` for a space without commits.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    fn head(&self, space: SpaceId) -> Result<Option<Head>, StoreError> {
        read_head(self, space)
    }
}
