//! Closing and opening again.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use datafold_store::{FORMAT_VERSION, Keyspace, Outcome, SpaceId, StoreError};

use super::{Harness, accept, commit, fill, snapshot};
use crate::model::dump;

/// Every call on a closed store answers that it is closed; closing again is no error.
pub fn a_closed_store_answers_closed(harness: &dyn Harness) {
    let store = harness.fresh();
    fill(&*store, Keyspace::Records, &[(b"key", b"value")]);
    store.close().unwrap();
    store.close().unwrap();
    assert!(matches!(store.snapshot().unwrap_err(), StoreError::Closed));
    assert!(matches!(store.size_bytes().unwrap_err(), StoreError::Closed));
    let outcome = store.apply(&commit(2));
    assert!(matches!(outcome, Outcome::Failed(StoreError::Closed)), "{outcome:?}");
    let store = harness.reopen(store);
    assert_eq!(dump(&*snapshot(&*store)).unwrap().len(), 1);
    accept(&*store, &commit(2));
}

/// What a store is and holds is the same after each of several reopenings.
pub fn reopening_keeps_rows_heads_and_identity(harness: &dyn Harness) {
    let mut store = harness.fresh();
    let info = store.info().clone();
    assert_eq!(info.format_version, FORMAT_VERSION);
    for number in 1..=8 {
        let mut batch = commit(number);
        let row = number.to_be_bytes().to_vec();
        batch.put(Keyspace::Commits, row.clone(), row);
        accept(&*store, &batch);
        let before = dump(&*snapshot(&*store)).unwrap();
        store = harness.reopen(store);
        assert_eq!(store.info(), &info);
        let view = snapshot(&*store);
        assert_eq!(dump(&*view).unwrap(), before);
        assert_eq!(view.head(SpaceId::DEFAULT).unwrap().map(|head| head.number), Some(number));
    }
}

/// The head that a batch must follow is the one from before the reopening.
pub fn a_fenced_batch_stays_fenced_after_a_reopen(harness: &dyn Harness) {
    let store = harness.fresh();
    accept(&*store, &commit(1));
    let store = harness.reopen(store);
    let outcome = store.apply(&commit(1));
    let Outcome::Fenced { head: Some(head) } = outcome else { panic!("{outcome:?}") };
    assert_eq!((head.number, head.token), (1, commit(1).token));
    accept(&*store, &commit(2));
}

/// Two new stores differ in their identity.
pub fn stores_have_identities_of_their_own(harness: &dyn Harness) {
    let first = harness.fresh().info().id;
    assert_ne!(first, harness.fresh().info().id);
}
