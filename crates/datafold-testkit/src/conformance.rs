//! One suite that every engine passes, with no case that differs by engine.
//!
//! A crate that has an engine implements [`Harness`] for it and calls
//! [`conformance_suite!`](crate::conformance_suite), which makes one test of each case.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::sync::Arc;

use datafold_store::{
    Batch, Keyspace, Loader, Outcome, Snapshot, SpaceId, Store, StoreError, StoreId,
};

use crate::model::Row;

mod batches;
mod lifecycle;
mod loading;
mod programs;
mod rows;
mod scans;
mod snapshots;

pub use batches::{
    a_batch_is_atomic_across_keyspaces, a_fenced_batch_changes_nothing_and_names_the_head,
    a_head_keeps_its_payload_and_token, heads_of_spaces_are_independent,
    the_last_write_of_a_key_wins,
};
pub use lifecycle::{
    a_closed_store_answers_closed, a_fenced_batch_stays_fenced_after_a_reopen,
    reopening_keeps_rows_heads_and_identity, stores_have_identities_of_their_own,
};
pub use loading::{
    a_loaded_store_is_checked_before_it_is_one, a_loaded_store_is_the_store_that_was_read,
    a_store_loaded_with_nothing_is_empty,
};
pub use programs::{random_programs_match_the_model, run_program};
pub use rows::{
    an_empty_store_has_no_rows, empty_keys_and_values, get_many_keeps_the_order,
    keys_are_ordered_by_bytes, put_get_and_delete, values_of_a_mebibyte,
};
pub use scans::{
    a_page_says_whether_rows_are_left, a_reverse_scan_is_the_scan_backwards,
    pages_by_bytes_end_behind_the_row_that_reaches_them, prefixes_of_every_kind,
    ranges_of_every_kind, the_union_of_pages_is_one_scan,
};
pub use snapshots::{
    a_snapshot_does_not_change, a_snapshot_shows_what_was_accepted_before,
    a_snapshot_survives_the_close, readers_see_whole_batches_only,
};

/// How the suite gets at an engine.
pub trait Harness: Send + Sync {
    /// An empty store at a new place.
    fn fresh(&self) -> Arc<dyn Store>;

    /// Closes and drops `store`, which [`Harness::fresh`] or this method gave last, and opens its
    /// place again. The suite holds no snapshot of it any more.
    fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;

    /// A store at a new place that was loaded with these rows and this identity.
    ///
    /// # Errors
    ///
    /// What the engine or `check` answers.
    fn load(
        &self,
        id: StoreId,
        rows: &[Row],
        check: &mut LoadCheck<'_>,
    ) -> Result<Arc<dyn Store>, StoreError>;

    /// How many random programs are run against the model.
    fn program_count(&self) -> u64 {
        if crate::is_full_size() { 5_000 } else { 300 }
    }
}

/// What a test asks of rows that were loaded, before they become a store.
pub type LoadCheck<'a> = dyn FnMut(&dyn Snapshot) -> Result<(), StoreError> + 'a;

/// Puts rows into a loader and finishes it.
///
/// # Errors
///
/// What the engine or `check` answers.
pub fn load_all(
    mut loader: Loader,
    rows: &[Row],
    check: &mut LoadCheck<'_>,
) -> Result<Arc<dyn Store>, StoreError> {
    for (keyspace, key, value) in rows {
        loader.put(*keyspace, key, value)?;
    }
    loader.finish(check)
}

/// Makes a module with one test for each case of the suite.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use datafold_store::{MemoryStore, Store, StoreError, StoreId};
/// use datafold_testkit::conformance::{LoadCheck, load_all};
/// use datafold_testkit::{Harness, Row, conformance_suite};
///
/// #[derive(Default)]
/// struct MemoryHarness(Mutex<Option<Arc<MemoryStore>>>);
///
/// impl Harness for MemoryHarness {
///     fn fresh(&self) -> Arc<dyn Store> {
///         let store = Arc::new(MemoryStore::new().unwrap());
///         *self.0.lock().unwrap() = Some(Arc::clone(&store));
///         store
///     }
///
///     fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
///         store.close().unwrap();
///         let mut place = self.0.lock().unwrap();
///         let store = Arc::new(place.take().unwrap().reopen());
///         *place = Some(Arc::clone(&store));
///         store
///     }
///
///     fn load(
///         &self,
///         id: StoreId,
///         rows: &[Row],
///         check: &mut LoadCheck<'_>,
///     ) -> Result<Arc<dyn Store>, StoreError> {
///         let (store, loader) = MemoryStore::loader(id);
///         *self.0.lock().unwrap() = Some(store);
///         load_all(loader, rows, check)
///     }
/// }
///
/// conformance_suite!(memory, MemoryHarness::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_suite {
    ($module:ident, $harness:expr) => {
        $crate::conformance_suite! { @cases $module, $harness,
            an_empty_store_has_no_rows
            put_get_and_delete
            empty_keys_and_values
            keys_are_ordered_by_bytes
            values_of_a_mebibyte
            get_many_keeps_the_order
            ranges_of_every_kind
            a_page_says_whether_rows_are_left
            pages_by_bytes_end_behind_the_row_that_reaches_them
            prefixes_of_every_kind
            the_union_of_pages_is_one_scan
            a_reverse_scan_is_the_scan_backwards
            a_batch_is_atomic_across_keyspaces
            the_last_write_of_a_key_wins
            a_fenced_batch_changes_nothing_and_names_the_head
            heads_of_spaces_are_independent
            a_head_keeps_its_payload_and_token
            a_snapshot_does_not_change
            a_snapshot_shows_what_was_accepted_before
            a_snapshot_survives_the_close
            readers_see_whole_batches_only
            a_closed_store_answers_closed
            reopening_keeps_rows_heads_and_identity
            a_fenced_batch_stays_fenced_after_a_reopen
            stores_have_identities_of_their_own
            a_loaded_store_is_the_store_that_was_read
            a_store_loaded_with_nothing_is_empty
            a_loaded_store_is_checked_before_it_is_one
            random_programs_match_the_model
        }
    };
    (@cases $module:ident, $harness:expr, $($case:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::conformance::$case(&$harness);
                }
            )+
        }
    };
}

/// Commit `number` of the default space, which follows `number - 1`.
fn commit(number: u64) -> Batch {
    commit_of(SpaceId::DEFAULT, number)
}

fn commit_of(space: SpaceId, number: u64) -> Batch {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(space, number - 1, number, token)
}

#[track_caller]
fn accept(store: &dyn Store, batch: &Batch) {
    match store.apply(batch) {
        Outcome::Accepted => {}
        other => panic!("a batch that follows its head was answered {other:?}"),
    }
}

/// Commit 1 with the given rows of one keyspace.
#[track_caller]
fn fill<K: AsRef<[u8]>>(store: &dyn Store, keyspace: Keyspace, rows: &[(K, &[u8])]) {
    let mut batch = commit(1);
    for (key, value) in rows {
        batch.put(keyspace, key.as_ref().to_vec(), value.to_vec());
    }
    accept(store, &batch);
}

#[track_caller]
fn snapshot(store: &dyn Store) -> Arc<dyn Snapshot> {
    store.snapshot().unwrap()
}

/// The keyspaces that hold the rows of the layer above.
fn row_keyspaces() -> impl Iterator<Item = Keyspace> {
    Keyspace::ALL.into_iter().filter(|keyspace| *keyspace != Keyspace::Head)
}
