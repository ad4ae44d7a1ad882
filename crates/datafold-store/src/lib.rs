//! The ordered key-value store underneath DataFold.
//!
//! A [`Store`] keeps rows in named [`Keyspace`]s, ordered by the bytes of their keys. It is read
//! through [`Snapshot`]s, each one consistent moment, and changed only by [`Store::apply`]: one
//! [`Batch`] is atomic across all keyspaces and durable when `apply` has answered
//! [`Outcome::Accepted`]. A batch names the head of its space that it follows; a store that has
//! another head answers [`Outcome::Fenced`] and changes nothing.
//!
//! The crate knows nothing of schemas. It also holds the order-preserving [`encoding`] of keys,
//! because every engine orders by it.
//!
//! ```
//! use datafold_store::{Batch, Keyspace, OpenOptions, Outcome, SpaceId, open};
//!
//! let store = open("memory:", &OpenOptions::default())?;
//! let mut batch = Batch::new(SpaceId::DEFAULT, 0, 1, [7; 16]);
//! batch.put(Keyspace::Records, &b"key"[..], &b"value"[..]);
//! assert!(matches!(store.apply(&batch), Outcome::Accepted));
//! let snapshot = store.snapshot()?;
//! assert_eq!(snapshot.get(Keyspace::Records, b"key")?.as_deref(), Some(&b"value"[..]));
//! assert_eq!(snapshot.head(SpaceId::DEFAULT)?.map(|head| head.number), Some(1));
//! # Ok::<(), datafold_store::StoreError>(())
//! ```

mod batch;
mod commit_log;
mod copy;
mod disk;
pub mod encoding;
mod engine;
mod error;
mod folder;
#[cfg(test)]
mod fuzz;
mod head;
mod identity;
mod keyspace;
mod load;
mod open;
mod scan;
mod snapshot;
mod space;
mod store;
mod url;

pub use batch::{Batch, BatchKey, BatchToken};
pub use copy::{CopyPhase, CopyProgress, copy_to};
pub use disk::{Disk, FileDisk};
pub use engine::memory::MemoryStore;
pub use engine::redb::{RedbDisks, RedbStore};
pub use error::StoreError;
pub use head::Head;
pub use identity::{FORMAT_VERSION, StoreId};
pub use keyspace::Keyspace;
pub use load::Loader;
pub use open::{OpenOptions, open};
pub use scan::{Order, Page, Scan};
pub use snapshot::{RowVisitor, Snapshot};
pub use space::SpaceId;
pub use store::{Outcome, Store, StoreInfo};
pub use url::StoreUrl;
