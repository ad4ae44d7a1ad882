//! Which store this is, and in which format its rows are.

use std::fmt;

use bytes::Bytes;

use crate::StoreError;

/// The format of the folder and its rows that this version writes (`docs/format.md`).
pub const FORMAT_VERSION: u32 = 2;

/// The oldest format that opening brings up to [`FORMAT_VERSION`]: the rows of both are the same.
pub(crate) const OLDEST_VERSION: u32 = 1;

/// The format since which a store has a commit log.
pub(crate) const LOG_SINCE: u32 = 2;

/// The key of the identity row in [`crate::Keyspace::Head`]; no space number starts with this byte.
pub(crate) const IDENTITY_KEY: &[u8] = &[0xFF];

const MAGIC: &[u8; 8] = b"DATAFOLD";

/// The random identity of a store, given at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// A new random identity.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] when the operating system gives no random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| StoreError::Engine {
            action: "get random bytes",
            source: Box::new(error),
        })?;
        Ok(Self(bytes))
    }

    /// The 4 bytes that tell the atoms of this store from those of others.
    #[must_use]
    pub fn origin(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The identity row: magic, format version, id.
pub(crate) fn identity_row(id: StoreId) -> Bytes {
    let mut row = Vec::with_capacity(28);
    row.extend_from_slice(MAGIC);
    row.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
    row.extend_from_slice(&id.0);
    row.into()
}

/// What an identity row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: StoreId,
    pub(crate) version: u32,
}

impl Identity {
    /// Reads an identity row of a format that can be opened.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let corrupted =
            || StoreError::Corrupted { what: "the identity row is malformed".into(), source: None };
        let version = row.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let (Some(MAGIC), Some(version)) = (row.first_chunk::<8>(), version) else {
            return Err(corrupted());
        };
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(StoreError::UnknownFormat { found: version });
        }
        let id = row.get(12..).and_then(|b| b.try_into().ok()).ok_or_else(corrupted)?;
        Ok(Self { id: StoreId(id), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_row_has_nothing_behind_it() {
        let row = identity_row(StoreId([7; 16]));
        let read = Identity::decode(&row).unwrap();
        assert_eq!(read, Identity { id: StoreId([7; 16]), version: FORMAT_VERSION });
        for wrong in [&row[..27], &[&row[..], &[0]].concat()] {
            assert_eq!(Identity::decode(wrong).unwrap_err().code(), "store_corrupted");
        }
    }
}
