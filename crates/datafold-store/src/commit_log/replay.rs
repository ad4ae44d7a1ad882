//! Reading the batches of the log's last round.

use std::io;

use super::record::{ALIGNMENT, Link, MAGIC, Record};
use super::{CommitLog, HEADER_BYTES, damaged, payload};
use crate::{Batch, StoreError};

impl CommitLog {
    /// Hands the batches of this generation to `visit`, in their order; answers how many.
    ///
    /// The first place at which the next record is not whole is the end. It was reached by a
    /// record that nobody was told of, or not at all: a record is begun only when the one before
    /// it is durable. So a whole record behind that place means that what stands there was
    /// acknowledged once, and is damage.
    pub(crate) fn replay(
        &self,
        mut visit: impl FnMut(Batch) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let bytes = self.records().map_err(|e| StoreError::io("read the commit log", e))?;
        let mut link = Link::first(self.generation);
        let mut rest = bytes.as_slice();
        // A round begins only when the engine has made durable that the one before it is over.
        if let Some(record) = Record::parse(rest, self.id)
            && record.link.generation > self.generation
        {
            return Err(damaged(format!(
                "the commit log is in round {}, the engine's file only knows of round {}",
                record.link.generation, self.generation
            )));
        }
        while let Some(record) = Record::parse(rest, self.id).filter(|found| found.link == link) {
            let batch = payload::decode(record.payload)
                .ok_or_else(|| damaged(format!("record {} is malformed", link.sequence)))?;
            visit(batch)?;
            link = link.next(record.checksum);
            rest = rest.get(record.len()..).unwrap_or_default();
        }
        match self.record_behind(rest, &link) {
            Some(behind) => Err(damaged(format!(
                "record {} of the commit log is not readable, record {behind} behind it is",
                link.sequence
            ))),
            None => Ok(link.sequence),
        }
    }

    fn records(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len.saturating_sub(HEADER_BYTES)];
        self.disk.read(HEADER_BYTES as u64, &mut bytes)?;
        Ok(bytes)
    }

    /// The number of a record of this generation that stands at the end of the chain or behind it
    /// and is none of the chain.
    fn record_behind(&self, rest: &[u8], end: &Link) -> Option<u64> {
        let generation = end.generation.to_be_bytes();
        let places = (0..rest.len()).step_by(ALIGNMENT);
        for rest in places.filter_map(|place| rest.get(place..)) {
            // Most of what is there is of earlier rounds: that needs no checksum.
            if !rest.starts_with(&MAGIC) || rest.get(8..16) != Some(&generation) {
                continue;
            }
            let found = Record::parse(rest, self.id).map(|record| record.link);
            if let Some(link) = found
                && link.sequence > end.sequence
            {
                return Some(link.sequence);
            }
        }
        None
    }
}
