//! The same rows as of two moments.

use std::ops::{Bound, ControlFlow};

use datafold_store::{Keyspace, Scan};

use super::element::ElementView;
use super::element_scan::ElementScan;
use super::error::DataLayerError;
use super::ids::CommitNumber;
use super::read_point::ReadPoint;
use super::record::RowHeader;
use super::rows::FieldAddress;
use super::serialization::RowError;

/// Whether a record's current row was written by a commit behind this one.
pub(crate) fn changed_since(row: &[u8], at: CommitNumber) -> Result<bool, RowError> {
    Ok(RowHeader::read(row)?.newest > at)
}

/// The elements of a field of a record as of two moments, read from one snapshot.
pub(crate) struct ElementSides<'a> {
    pub(crate) address: FieldAddress<'a>,
    /// Each moment, with the commit that began the life that the record has at it.
    pub(crate) from: (&'a ReadPoint, Option<CommitNumber>),
    pub(crate) to: (&'a ReadPoint, Option<CommitNumber>),
}

impl ElementSides<'_> {
    /// Hands over the elements that are not the same: the key, the value at the one moment and the
    /// value at the other one, all encoded. Nothing is kept of what was handed over.
    pub(crate) fn for_each_difference<E: From<DataLayerError>>(
        &self,
        mut visit: impl FnMut(&[u8], Option<&[u8]>, Option<&[u8]>) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let address = self.address;
        let scan_of = |(point, birth): (_, Option<CommitNumber>)| {
            birth.map(|birth| ElementScan { point, address, birth })
        };
        let (from, to) = (scan_of(self.from), scan_of(self.to));
        if from.is_none() && to.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        let is_one_life = self.from.1 == self.to.1;
        let older = self.from.0.at.min(self.to.0.at);
        let point = self.to.0;
        let prefix = point.rows.element_count(address);
        let scan = Scan::range(
            Keyspace::Elements,
            // The row that counts the elements is none.
            Bound::Excluded(prefix.to_vec()),
            Bound::Excluded(point.rows.elements_end(address)),
        );
        let mut one = |key: &[u8], row: &[u8]| -> Result<ControlFlow<()>, E> {
            let element = key.get(prefix.len()..).unwrap_or_default();
            let view = ElementView::read(row)
                .map_err(|error| DataLayerError::row(Keyspace::Elements, key, error))?;
            if is_one_life && view.commit <= older {
                return Ok(ControlFlow::Continue(()));
            }
            let value_at = |scan: &Option<ElementScan<'_>>| match scan {
                Some(scan) => scan.resolve(element, row).map(|value| value.map(|v| v.into_owned())),
                None => Ok(None),
            };
            let (before, after) = (value_at(&from)?, value_at(&to)?);
            if before == after {
                return Ok(ControlFlow::Continue(()));
            }
            visit(element, before.as_deref(), after.as_deref())
        };
        let (mut failed, mut flow) = (None, ControlFlow::Continue(()));
        let read = point.published.snapshot.for_each(&scan, &mut |key, row| {
            flow = one(key, row).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            });
            flow
        });
        match failed {
            Some(error) => Err(error),
            None => {
                read.map_err(DataLayerError::from)?;
                Ok(flow)
            }
        }
    }
}
