//! Moving a store to another place or engine.

use datafold_store::{OpenOptions, StoreError, StoreId, StoreUrl, copy_to, open};

use super::error::DataLayerError;

pub use datafold_store::{CopyPhase, CopyProgress};

/// What a migration has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The engine of the source.
    pub from_engine: &'static str,
    /// The engine of the new store.
    pub to_engine: &'static str,
    /// The identity that both have.
    pub id: StoreId,
    /// Rows of all keyspaces, each compared after it was written.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Copies the store at `from`, with all spaces, to a new store at `to`, of the same or another
/// engine.
///
/// Every row is the same in both, so commits, their times and numbers, atom ids, history and
/// catalogue are. The source is not changed, but for what opening it does: a store of an older
/// format is brought to that of this version. Every row is read back and compared before there is
/// a store at `to`.
///
/// Both stores have one identity then, which the ids of new atoms are made of. Write to one of
/// them only.
///
/// # Errors
///
/// [`DataLayerError::Store`]: [`StoreError::InvalidUrl`] for `memory:`, which is empty as a source
/// and gone at once as a target; as [`datafold_store::open`] for the source; as
/// [`datafold_store::Loader::begin`] for the target. What an interrupted migration leaves is
/// refused when it is opened ([`StoreError::Unfinished`]), and the next migration there begins
/// anew.
///
/// # Durability
///
/// The new store is durable and closed when this returns.
///
/// # Cost
///
/// Three reads of all rows and one write. Memory does not grow with the store.
pub fn migrate(
    from: &str,
    to: &str,
    options: &OpenOptions,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<Migration, DataLayerError> {
    refuse_memory(from, "a store in memory is empty when it is opened; there is nothing to copy")?;
    refuse_memory(to, "a store in memory is gone when the migration ends")?;
    let options = OpenOptions { create: false, ..options.clone() };
    let source = open(from, &options)?;
    let (copy, copied) = copy_to(&*source, to, &options, progress)?;
    let migration = Migration {
        from_engine: source.info().engine,
        to_engine: copy.info().engine,
        id: copy.info().id,
        rows: copied.rows,
        bytes: copied.bytes,
    };
    copy.close()?;
    source.close()?;
    Ok(migration)
}

fn refuse_memory(url: &str, reason: &str) -> Result<(), StoreError> {
    match StoreUrl::parse(url)? {
        StoreUrl::Memory => {
            Err(StoreError::InvalidUrl { url: url.to_owned(), reason: reason.to_owned() })
        }
        _ => Ok(()),
    }
}
