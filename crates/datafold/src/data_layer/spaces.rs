//! The names of the spaces of a store.

use datafold_store::{Batch, Outcome, SpaceId, Store};
use minicbor::{Decoder, Encoder};

use super::error::{CommitError, DataLayerError};
use super::ids::CommitNumber;
use super::record::ok;
use super::rows::{CatalogueKind, Rows};
use crate::entropy;

/// The name of the space that every store has.
pub const DEFAULT_SPACE: &str = "default";
/// The longest name of a space, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The number of the space with this name.
///
/// A space is registered in the system space, whose head counts the registrations.
pub(crate) fn find_or_create(
    store: &dyn Store,
    name: &str,
    create: bool,
) -> Result<SpaceId, DataLayerError> {
    check_name(name)?;
    if name == DEFAULT_SPACE {
        return Ok(SpaceId::DEFAULT);
    }
    let snapshot = store.snapshot()?;
    let rows = Rows { space: SpaceId::SYSTEM };
    let (keyspace, key) = rows.catalogue_text(CatalogueKind::Metadata, name);
    if let Some(row) = snapshot.get(keyspace, &key)? {
        let number = Decoder::new(&row).u32();
        return number
            .map(SpaceId)
            .map_err(|error| DataLayerError::row(keyspace, &key, error.into()));
    }
    if !create {
        return Err(DataLayerError::not_found("space", name));
    }
    let follows = snapshot.head(SpaceId::SYSTEM)?.map_or(0, |head| head.number);
    let number = SpaceId::DEFAULT.0 + u32::try_from(follows).unwrap_or(u32::MAX).saturating_add(1);
    let mut row = Vec::with_capacity(5);
    ok(Encoder::new(&mut row).u32(number));
    let mut batch = Batch::new(SpaceId::SYSTEM, follows, follows + 1, entropy::token()?);
    batch.put(keyspace, key, row);
    match store.apply(&batch) {
        Outcome::Accepted => Ok(SpaceId(number)),
        Outcome::Failed(error) | Outcome::Indeterminate(error) => Err(error.into()),
        Outcome::Fenced { head } => {
            let head = head.map_or(CommitNumber::ZERO, |head| CommitNumber(head.number));
            Err(CommitError::Fenced { head }.into())
        }
    }
}

fn check_name(name: &str) -> Result<(), DataLayerError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) {
        return Ok(());
    }
    Err(DataLayerError::InvalidData {
        what: format!("the space name `{name}`"),
        rule: format!("must be 1 to {NAME_BYTES_MAX} letters, digits, `_` or `-`"),
    })
}
