//! What was durable when it was last made so, kept outside of the engine's own files.
//!
//! sled takes the end of its log to be where it can no longer read it. So damage can make it open
//! a state that is older than what it once said was durable, without an error; the seal tells.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::StoreError;
use crate::folder::{read_file, write_file};

pub(super) const SEAL_FILE: &str = "sled.seal";

/// The state of the engine's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// The generation of the commit log that the engine keeps, or the one before.
    pub(super) generation: u64,
    /// The sum over all rows when the store was closed; none while it is written to.
    pub(super) sum: Option<u128>,
}

impl Seal {
    /// Reads the seal; `None` if there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(SEAL_FILE);
        let Some(text) = read_file(&path)? else { return Ok(None) };
        Self::parse(&text).map(Some).ok_or_else(|| damaged(path))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let seal: Value = serde_json::from_str(text).ok()?;
        let sum = match seal.get("rows_sum")? {
            Value::Null => None,
            // A sign is no digit, though numbers are read with one.
            Value::String(digits) if digits.len() == 32 && !digits.starts_with('+') => {
                Some(u128::from_str_radix(digits, 16).ok()?)
            }
            _ => return None,
        };
        Some(Self { generation: seal.get("generation")?.as_u64()?, sum })
    }

    /// Writes the seal, durable and in one step.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        write_file(folder, SEAL_FILE, &self.text())
    }

    /// The text of the seal.
    pub(super) fn text(&self) -> String {
        let text = json!({
            "generation": self.generation,
            "rows_sum": self.sum.map(|sum| format!("{sum:032x}")),
        });
        format!("{text:#}\n")
    }
}

fn damaged(path: PathBuf) -> StoreError {
    StoreError::Corrupted { what: format!("{} is malformed", path.display()), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back_and_anything_else_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Seal::read(folder.path()).unwrap(), None);
        for seal in [
            Seal { generation: 7, sum: Some(u128::MAX - 5) },
            Seal { generation: u64::MAX, sum: Some(3) },
            Seal { generation: 1, sum: None },
        ] {
            seal.write(folder.path()).unwrap();
            assert_eq!(Seal::read(folder.path()).unwrap(), Some(seal));
        }
        let sign = format!("{{\"generation\": 1, \"rows_sum\": \"+{}\"}}", "0".repeat(31));
        for text in
            [&sign, "", "{}", "{\"generation\": 1}", "{\"generation\": 1, \"rows_sum\": \"7\"}"]
        {
            std::fs::write(folder.path().join(SEAL_FILE), text).unwrap();
            assert_eq!(Seal::read(folder.path()).unwrap_err().code(), "store_corrupted");
        }
    }
}
