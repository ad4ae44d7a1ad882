//! Computes past values with aggregates again: the groups as of a commit are found by going through
//! all commits from the first on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;

use super::aggregate_groups::ReplayedGroups;
use super::commit::Change;
use super::derived::{Check, Computed, Flow};
use super::draft::Draft;
use super::element_input::Elements;
use super::error::DataLayerError;
use super::ids::{CommitNumber, SchemaId, TransformId};
use super::lineage::AsOf;
use super::read_point::ReadPoint;
use super::record::Cell;
use super::rows::FieldAddress;
use super::transform::{Evaluation, OtherRecords, Target, Transform};

/// At most so many bytes of versions wait for their commits.
const VERSIONS_BYTES_MAX: usize = 64 << 20;

/// Values that are computed again when their commits are reached.
#[derive(Default)]
pub(super) struct Versions {
    by_commit: BTreeMap<CommitNumber, Vec<Version>>,
    bytes: usize,
}

struct Version {
    transform: TransformId,
    record: Bytes,
    stored: Option<Bytes>,
}

impl Versions {
    /// Keeps a version; answers whether there is room for it.
    pub(super) fn keep(&mut self, transform: &Transform, record: &Bytes, cell: &Cell) -> bool {
        let stored = cell.value.as_ref().map(|raw| Bytes::copy_from_slice(raw));
        self.bytes += size_of::<Version>() + record.len() + stored.as_ref().map_or(0, Bytes::len);
        if self.bytes > VERSIONS_BYTES_MAX {
            return false;
        }
        let version = Version { transform: transform.id, record: record.clone(), stored };
        self.by_commit.entry(cell.stamp.commit).or_default().push(version);
        true
    }
}

impl Check<'_> {
    /// Goes through the commits and compares the versions that were kept.
    pub(super) fn versions(&mut self) -> Flow {
        let Versions { mut by_commit, .. } = std::mem::take(&mut self.versions);
        let Some(last) = by_commit.keys().next_back().copied() else {
            return Ok(ControlFlow::Continue(()));
        };
        let catalogue = Arc::clone(&self.point.published.catalogue);
        let mut readers: BTreeMap<SchemaId, Vec<(&Transform, usize)>> = BTreeMap::new();
        let retired = catalogue.retired().map(|found| &found.transform);
        for transform in catalogue.computed().chain(retired) {
            for (slot, aggregate) in transform.aggregates().iter().enumerate() {
                readers.entry(aggregate.records).or_default().push((&**transform, slot));
            }
        }
        let groups = RefCell::new(ReplayedGroups::default());
        for number in (1..=last.0).map(CommitNumber) {
            self.replay(number, &readers, &mut groups.borrow_mut())?;
            for version in by_commit.remove(&number).unwrap_or_default() {
                let Some(transform) = catalogue.revision(version.transform) else { continue };
                let point = ReadPoint { at: number, ..self.point.clone() };
                let draft = Draft::found(point.live(transform.records, &version.record)?);
                let others = Then { others: AsOf::new(&point, number), groups: &groups };
                let (record, stored) = (&version.record, version.stored.as_ref());
                let then = Computed { transform, record, at: number, stored };
                if self.compare_with(&then, &draft, &others)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Brings the groups from one commit to the next.
    fn replay(
        &self,
        number: CommitNumber,
        readers: &BTreeMap<SchemaId, Vec<(&Transform, usize)>>,
        groups: &mut ReplayedGroups,
    ) -> Result<(), DataLayerError> {
        let Some((_, changes)) = self.point.changes(number)? else { return Ok(()) };
        let of_record = |change: Change| match change {
            Change::Record { schema, record, .. } => Some((schema, record)),
            _ => None,
        };
        let changed: BTreeSet<(SchemaId, Bytes)> =
            changes.into_iter().filter_map(of_record).collect();
        let before = CommitNumber(number.0.saturating_sub(1));
        for (schema, record) in changed {
            let Some(readers) = readers.get(&schema) else { continue };
            let live = |at| ReadPoint { at, ..self.point.clone() }.live(schema, &record);
            let (before, after) = (live(before)?, live(number)?);
            for reader in readers {
                let rows = self.point.rows;
                groups.change(rows, *reader, &record, before.as_ref(), after.as_ref())?;
            }
        }
        Ok(())
    }
}

/// The records of others, and the groups, as of a commit.
struct Then<'c> {
    others: AsOf,
    groups: &'c RefCell<ReplayedGroups>,
}

impl OtherRecords for Then<'_> {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        self.others.value(target, record)
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        self.groups.borrow_mut().value(self.others.point().rows, transform, slot, record)
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        self.others.elements(at, draft)
    }
}
