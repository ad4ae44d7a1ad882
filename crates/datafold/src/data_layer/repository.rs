//! The repository pattern: typed items under typed keys.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::db_operations::DbOperations;
use super::error::DataLayerError;
use super::transaction::Transaction;

/// Items of a page unless another number is asked for.
pub(crate) const PAGE_ITEMS: usize = 1_000;

/// Some items in the order of their keys, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// Keys and items.
    pub items: Vec<(K, T)>,
    /// The key to give as `after` for the next page; `None` behind the last one.
    pub next: Option<K>,
}

/// The read half of a repository: everything that atoms, which never change, have.
///
/// Reads see the newest durable commit, take no lock and block nobody.
pub trait ReadRepository<T, K> {
    /// The item under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::Store`] and [`DataLayerError::Serialization`], as for every method.
    fn get(&self, key: &K) -> Result<Option<T>, DataLayerError>;

    /// Whether there is an item under `key`.
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn exists(&self, key: &K) -> Result<bool, DataLayerError> {
        Ok(self.get(key)?.is_some())
    }

    /// The items under `keys`, in the order of `keys`, all of one moment.
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn get_many(&self, keys: &[K]) -> Result<Vec<Option<T>>, DataLayerError>;

    /// At most `limit` items with keys behind `after`, in the order of their keys.
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    ///
    /// # Cost
    ///
    /// What the page holds; of what is kept in memory (schemas) also what lies before it.
    fn page(&self, after: Option<&K>, limit: usize) -> Result<Page<T, K>, DataLayerError>;

    /// The number of items, from counters or from memory; never a scan.
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn count(&self) -> Result<u64, DataLayerError>;

    /// All keys in order. For large sets use [`ReadRepository::page`] or
    /// [`ReadRepository::for_each`].
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn list(&self) -> Result<Vec<K>, DataLayerError>
    where
        Self: Sized,
    {
        let mut keys = Vec::new();
        self.for_each(|key, _| {
            keys.push(key);
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// Calls `visit` for each item in the order of the keys, until it breaks.
    ///
    /// Streams page by page, so memory stays bounded. An item written meanwhile may or may not
    /// be visited; each item is visited at most once.
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn for_each(&self, mut visit: impl FnMut(K, T) -> ControlFlow<()>) -> Result<(), DataLayerError>
    where
        Self: Sized,
    {
        let mut after = None;
        loop {
            let page = self.page(after.as_ref(), PAGE_ITEMS)?;
            for (key, item) in page.items {
                if visit(key, item).is_break() {
                    return Ok(());
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// The write half of a repository.
///
/// Each method of its own is one commit. Several become one by a [`Transaction`].
///
/// # Durability
///
/// What a method has answered survives the loss of power. The `_in` methods write nothing before
/// their transaction commits.
pub trait Repository<T, K: ?Sized> {
    /// Adds or replaces the item under `key`.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::Commit`], and what the repository refuses.
    fn store(&self, key: &K, item: &T) -> Result<(), DataLayerError> {
        self.store_batch(&[(key, item)])
    }

    /// Adds or replaces several items, all in one commit.
    ///
    /// # Errors
    ///
    /// As [`Repository::store`]; then none is written.
    fn store_batch(&self, items: &[(&K, &T)]) -> Result<(), DataLayerError> {
        let store = |transaction: &mut Transaction| {
            items.iter().try_for_each(|(key, item)| self.put_in(transaction, key, item))
        };
        self.operations().transact(store).map(drop)
    }

    /// Removes the item under `key`; answers whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Repository::store`].
    fn delete(&self, key: &K) -> Result<bool, DataLayerError> {
        Ok(self.delete_batch(&[key])? == 1)
    }

    /// Removes several items, all in one commit; answers how many there were.
    ///
    /// # Errors
    ///
    /// As [`Repository::store`]; then none is removed.
    fn delete_batch(&self, keys: &[&K]) -> Result<usize, DataLayerError> {
        let delete = |transaction: &mut Transaction| {
            let mut deleted = 0;
            for key in keys {
                if self.get_in(transaction, key)?.is_some() {
                    self.delete_in(transaction, key)?;
                    deleted += 1;
                }
            }
            Ok::<_, DataLayerError>(deleted)
        };
        self.operations().transact(delete).map(|(deleted, _)| deleted)
    }

    /// The path to the store that the repository's own commits take.
    fn operations(&self) -> &Arc<DbOperations>;

    /// The item as a transaction sees it. Called by [`Transaction::get`].
    ///
    /// # Errors
    ///
    /// As [`ReadRepository::get`].
    fn get_in(&self, transaction: &mut Transaction, key: &K) -> Result<Option<T>, DataLayerError>;

    /// Adds or replaces an item in a transaction. Called by [`Transaction::upsert`].
    ///
    /// # Errors
    ///
    /// What the repository refuses.
    fn put_in(
        &self,
        transaction: &mut Transaction,
        key: &K,
        item: &T,
    ) -> Result<(), DataLayerError>;

    /// Removes an item in a transaction. Called by [`Transaction::delete`].
    ///
    /// # Errors
    ///
    /// What the repository refuses.
    fn delete_in(&self, transaction: &mut Transaction, key: &K) -> Result<(), DataLayerError>;

    /// What the items are called in errors, such as `schema`.
    fn item_name(&self) -> &'static str;

    /// How a key is written in errors.
    fn key_name(&self, key: &K) -> String;
}
