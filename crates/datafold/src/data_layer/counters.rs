//! What a schema holds, counted as it is written.

use std::ops::AddAssign;

use minicbor::{Decoder, Encoder};

use super::record::ok;
use super::serialization::RowError;

/// How much a schema holds. Kept in the batch of every commit, so reading it scans nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemaCounters {
    /// Live records.
    pub records: u64,
    /// Elements of Collection and Range fields.
    pub elements: u64,
    /// Atoms ever written, the current ones included.
    pub atoms: u64,
}

impl AddAssign for SchemaCounters {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.elements += other.elements;
        self.atoms += other.atoms;
    }
}

impl SchemaCounters {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        ok(Encoder::new(&mut out)
            .array(3)
            .and_then(|e| e.u64(self.records))
            .and_then(|e| e.u64(self.elements))
            .and_then(|e| e.u64(self.atoms)));
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        if decoder.array()? != Some(3) {
            return Err(RowError::Malformed("counters have three parts"));
        }
        Ok(Self { records: decoder.u64()?, elements: decoder.u64()?, atoms: decoder.u64()? })
    }
}
