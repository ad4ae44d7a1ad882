//! Reading the elements of a field as of a moment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use datafold_store::{Keyspace, Order, Scan};

use super::element::{ElementCell, ElementView};
use super::error::DataLayerError;
use super::ids::{CommitNumber, WriterId};
use super::read_point::ReadPoint;
use super::record::PastCell;
use super::rows::{FieldAddress, Rows};
use super::working_set::read_count;

/// A range of encoded element keys.
pub(crate) type ElementBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The elements of one field of a record, in the life that the record has at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ElementScan<'a> {
    pub(crate) point: &'a ReadPoint,
    pub(crate) address: FieldAddress<'a>,
    /// The commit that began that life.
    pub(crate) birth: CommitNumber,
}

impl ElementScan<'_> {
    /// The encoded value of an element: one seek, and another one if it has changed since.
    pub(crate) fn get(&self, element: &[u8]) -> Result<Option<Bytes>, DataLayerError> {
        let key = self.point.rows.element(self.address, element);
        let Some(row) = self.point.published.get(Keyspace::Elements, &key)? else {
            return Ok(None);
        };
        Ok(self.resolve(element, &row)?.map(|value| match value {
            Cow::Borrowed(raw) => row.slice_ref(raw),
            Cow::Owned(raw) => raw.into(),
        }))
    }

    /// How many elements there are, if the moment is the newest one: one row.
    pub(crate) fn count(&self) -> Result<Option<u64>, DataLayerError> {
        if !self.point.is_current() {
            return Ok(None);
        }
        let mut source = self.point.published.as_ref();
        let count = read_count(&mut source, self.point.rows, self.address)?;
        Ok(Some(count.map_or(0, |count| count.of_life(self.birth))))
    }

    /// Hands over key and value of each element in a range, both encoded, until `visit` breaks.
    ///
    /// Nothing is kept of what was handed over.
    pub(crate) fn for_each<E: From<DataLayerError>>(
        &self,
        (lower, upper): ElementBounds,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let rows = self.point.rows;
        let prefix = rows.element_count(self.address);
        let whole = |element: Vec<u8>| rows.element(self.address, &element).to_vec();
        let lower = match lower {
            // The row that counts the elements is none.
            Bound::Unbounded => Bound::Excluded(prefix.to_vec()),
            bound => bound.map(whole),
        };
        let upper = match upper {
            Bound::Unbounded => Bound::Excluded(rows.elements_end(self.address)),
            bound => bound.map(whole),
        };
        let scan = Scan { order, ..Scan::range(Keyspace::Elements, lower, upper) };
        let mut one = |key: &[u8], row: &[u8]| {
            let element = key.get(prefix.len()..).unwrap_or_default();
            match self.resolve(element, row)? {
                Some(value) => visit(element, &value),
                None => Ok(ControlFlow::Continue(())),
            }
        };
        let mut failed = None;
        let read = self.point.published.snapshot.for_each(&scan, &mut |key, row| {
            one(key, row).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(read.map_err(DataLayerError::from)?),
        }
    }

    /// The encoded value of an element whose row is this one.
    pub(super) fn resolve<'r>(
        &self,
        element: &[u8],
        row: &'r [u8],
    ) -> Result<Option<Cow<'r, [u8]>>, DataLayerError> {
        let view = ElementView::read(row).map_err(|error| {
            let key = self.point.rows.element(self.address, element);
            DataLayerError::row(Keyspace::Elements, &key, error)
        })?;
        if self.point.is_current() || view.commit <= self.point.at {
            let value = view.value.filter(|_| view.commit >= self.birth);
            return Ok(value.map(Cow::Borrowed));
        }
        let past = self.point.past_element(self.address, element, self.point.at)?;
        let past = past.filter(|cell| cell.is_live(self.birth));
        Ok(past.and_then(|cell| cell.value).map(|raw| Cow::Owned(raw.into())))
    }
}

/// The first atom that a commit gave to the elements of a field, or took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstAtom {
    pub(super) writer: WriterId,
    pub(super) ordinal: u32,
}

impl ReadPoint {
    /// The commits that have written elements of a field, in all lives of its record up to now:
    /// one range of rows of the elements, and one of their past.
    pub(super) fn element_commits(
        &self,
        address: FieldAddress<'_>,
    ) -> Result<BTreeMap<CommitNumber, FirstAtom>, DataLayerError> {
        let mut commits: BTreeMap<CommitNumber, FirstAtom> = BTreeMap::new();
        let mut add = |cell: ElementCell| {
            let atom = FirstAtom { writer: cell.writer, ordinal: cell.ordinal };
            let first = commits.entry(cell.commit).or_insert(atom);
            if atom.ordinal < first.ordinal {
                *first = atom;
            }
        };
        let prefix = self.rows.element_count(address);
        let lower = Bound::Excluded(prefix.to_vec());
        let upper = Bound::Excluded(self.rows.elements_end(address));
        let current = Scan::range(Keyspace::Elements, lower, upper);
        self.each_row(&current, |key, row| {
            let cell = ElementCell::decode(&Bytes::copy_from_slice(row));
            add(cell.map_err(|error| DataLayerError::row(Keyspace::Elements, key, error))?);
            Ok(())
        })?;
        let prefix = self.rows.elements_history(address);
        self.each_row(&Scan::prefix(Keyspace::History, &prefix), |key, row| {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let (_, birth) = Rows::read_past_element(rest)
                .map_err(|error| DataLayerError::key(Keyspace::History, key, error))?;
            let past = PastCell::decode(&Bytes::copy_from_slice(row))
                .map_err(|error| DataLayerError::row(Keyspace::History, key, error))?;
            add(ElementCell::of_past(past, birth));
            Ok(())
        })?;
        Ok(commits)
    }

    fn each_row(
        &self,
        scan: &Scan,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), DataLayerError>,
    ) -> Result<(), DataLayerError> {
        let mut outcome = Ok(());
        self.published.snapshot.for_each(scan, &mut |key, row| {
            outcome = visit(key, row);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }

    /// The newest past atom of an element that was born at or before `at`: one seek.
    pub(crate) fn past_element(
        &self,
        address: FieldAddress<'_>,
        element: &[u8],
        at: CommitNumber,
    ) -> Result<Option<ElementCell>, DataLayerError> {
        let mut found = None;
        let prefix = self.rows.element_history(address, element);
        self.scan_past(prefix, at, 1, |birth, row| {
            found = Some((birth, Bytes::copy_from_slice(row)));
        })?;
        let Some((birth, row)) = found else { return Ok(None) };
        let past = PastCell::decode(&row).map_err(|error| {
            let key = self.rows.past_element(address, element, birth);
            DataLayerError::row(Keyspace::History, &key, error)
        })?;
        Ok(Some(ElementCell::of_past(past, birth)))
    }
}
