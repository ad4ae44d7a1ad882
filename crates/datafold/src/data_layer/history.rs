//! The versions of cells, elements and records.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use datafold_store::{Keyspace, Scan};

use super::atom::{Atom, AtomStatus, CellName};
use super::element::ElementCell;
use super::error::DataLayerError;
use super::ids::{AtomId, CommitNumber, FieldId, SchemaId, WriterId};
use super::read_point::ReadPoint;
use super::record::{Cell, PastCell, RecordRow, Stamp};
use super::rows::{FieldAddress, Rows};
use super::serialization::RowError;
use crate::model::{FieldName, RecordKey, SchemaName, Value, decode_element, decode_value};

/// A version of a cell or element before its time and predecessor are looked up.
#[derive(Debug, Clone)]
pub(super) struct Version {
    commit: CommitNumber,
    writer: WriterId,
    ordinal: u32,
    field: FieldId,
    element: Option<Bytes>,
    value: Option<Bytes>,
}

impl Version {
    pub(super) fn of(field: FieldId, cell: &Cell) -> Self {
        let Stamp { commit, writer, .. } = cell.stamp;
        let (ordinal, value) = (cell.stamp.ordinal(field), cell.value.clone());
        Self { commit, writer, ordinal, field, element: None, value }
    }

    pub(super) fn of_element(field: FieldId, element: Bytes, cell: ElementCell) -> Self {
        let ElementCell { commit, writer, ordinal, value } = cell;
        Self { commit, writer, ordinal, field, element: Some(element), value }
    }

    pub(super) fn deletion(stamp: Stamp) -> Self {
        let Stamp { commit, writer, base: ordinal } = stamp;
        Self { commit, writer, ordinal, field: FieldId::RECORD, element: None, value: None }
    }

    pub(super) fn id(&self, origin: u32) -> AtomId {
        AtomId { commit: self.commit, ordinal: self.ordinal, origin }
    }

    pub(super) fn status(&self) -> AtomStatus {
        if self.value.is_some() { AtomStatus::Active } else { AtomStatus::Deleted }
    }
}

/// Of what versions are wanted; deletions of the record always are.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) cells: Vec<FieldId>,
    /// Fields all of whose elements are wanted.
    pub(super) elements: Vec<FieldId>,
    pub(super) element: Option<(FieldId, Bytes)>,
}

/// Collects the versions of one record.
pub(super) struct History<'a> {
    pub(super) point: &'a ReadPoint,
    /// The schema that has the records.
    pub(super) schema: SchemaId,
    /// The schema and the field that a version is shown as.
    pub(super) name: &'a dyn Fn(FieldId) -> (SchemaName, Option<FieldName>),
    pub(super) origin: u32,
}

/// A version with the one before.
type Linked = (Version, Option<AtomId>);

impl History<'_> {
    /// The newest versions from commits before `before`, up to the end of the commit that reaches
    /// `limit`.
    pub(super) fn atoms(
        &self,
        key: &RecordKey,
        scope: &Scope,
        before: Option<CommitNumber>,
        limit: usize,
    ) -> Result<Vec<Atom>, DataLayerError> {
        let newest = before.map_or(self.point.at, |before| {
            CommitNumber(before.0.saturating_sub(1)).min(self.point.at)
        });
        let lives = self.lives(key, newest)?;
        let deletions: Vec<_> = lives
            .iter()
            .filter(|row| row.live().is_none())
            .map(|row| Version::deletion(row.birth()))
            .filter(|version| version.commit <= newest)
            .collect();
        let mut linked = Vec::new();
        self.link(deletions.clone(), &[], limit, &mut linked);
        // One more than asked for, so that the last one asked for knows its predecessor.
        let wanted = limit.saturating_add(1);
        for field in &scope.cells {
            let versions = self.cell_versions(key, *field, &lives, newest, wanted)?;
            self.link(versions, &deletions, limit, &mut linked);
        }
        if let Some((field, element)) = &scope.element {
            let versions = self.element_versions(key, *field, element, newest, wanted)?;
            self.link(versions, &deletions, limit, &mut linked);
        }
        for field in &scope.elements {
            let address = self.address(key, *field);
            for version in self.newest_of_elements(address, newest, limit)? {
                let previous = self.before(address, &version, &deletions)?;
                linked.push((version, previous));
            }
        }
        linked.sort_by(|(a, _), (b, _)| {
            let place = |version: &Version| (Reverse(version.commit), version.field);
            place(a).cmp(&place(b)).then_with(|| a.element.cmp(&b.element))
        });
        // What one commit wrote is not split, so that `before` it loses nothing.
        let last = limit.checked_sub(1).and_then(|at| linked.get(at)).map(|(v, _)| v.commit);
        match last {
            Some(last) => linked.retain(|(version, _)| version.commit >= last),
            None => linked.truncate(limit),
        }
        self.finish(key, linked)
    }

    fn address<'k>(&self, key: &'k RecordKey, field: FieldId) -> FieldAddress<'k> {
        FieldAddress { schema: self.schema, record: key.as_bytes(), field }
    }

    /// Adds versions of one cell or element, each with the one before.
    fn link(
        &self,
        mut versions: Vec<Version>,
        deletions: &[Version],
        limit: usize,
        out: &mut Vec<Linked>,
    ) {
        versions.extend(deletions.iter().cloned());
        versions.sort_by_key(|version| Reverse(version.commit));
        let before = versions.iter().skip(1).map(|older| Some(older.id(self.origin)));
        let before: Vec<_> = before.chain([None]).collect();
        let linked = versions.into_iter().zip(before).take(limit);
        // Deletions come from the list of their own.
        let own = |(version, _): &Linked| deletions.is_empty() || version.field != FieldId::RECORD;
        out.extend(linked.filter(own));
    }

    /// The current row and the rows of earlier lives and tombstones.
    fn lives(
        &self,
        key: &RecordKey,
        newest: CommitNumber,
    ) -> Result<Vec<RecordRow>, DataLayerError> {
        let (point, schema) = (self.point, self.schema);
        let mut raw = Vec::new();
        let current = point.rows.record(schema, key.as_bytes());
        raw.extend(point.published.get(Keyspace::Records, &current)?);
        let record = FieldId::RECORD;
        point.scan_history(schema, key.as_bytes(), record, newest, usize::MAX, |_, row| {
            raw.push(Bytes::copy_from_slice(row));
        })?;
        let decode = |row| RecordRow::decode(row);
        let rows: Result<Vec<_>, _> = raw.iter().map(decode).collect();
        rows.map_err(|error| point.record_error(schema, key.as_bytes(), error))
    }

    fn cell_versions(
        &self,
        key: &RecordKey,
        field: FieldId,
        lives: &[RecordRow],
        newest: CommitNumber,
        wanted: usize,
    ) -> Result<Vec<Version>, DataLayerError> {
        let in_rows = lives.iter().filter_map(|row| row.live()?.cell(field));
        let mut versions: Vec<_> = in_rows
            .filter(|cell| cell.stamp.commit <= newest)
            .map(|cell| Version::of(field, cell))
            .collect();
        let (point, schema) = (self.point, self.schema);
        let mut rows = Vec::new();
        point.scan_history(schema, key.as_bytes(), field, newest, wanted, |birth, row| {
            rows.push((birth, Bytes::copy_from_slice(row)));
        })?;
        for (birth, row) in rows {
            let past = PastCell::decode(&row).map_err(|error| {
                let key = point.rows.history(schema, key.as_bytes(), field, birth);
                DataLayerError::row(Keyspace::History, &key, error)
            })?;
            versions.push(Version::of(field, &past.into_cell(birth)));
        }
        Ok(versions)
    }

    fn element_versions(
        &self,
        key: &RecordKey,
        field: FieldId,
        element: &Bytes,
        newest: CommitNumber,
        wanted: usize,
    ) -> Result<Vec<Version>, DataLayerError> {
        let (point, address) = (self.point, self.address(key, field));
        let row_key = point.rows.element(address, element);
        let mut versions = Vec::new();
        if let Some(row) = point.published.get(Keyspace::Elements, &row_key)? {
            let cell = ElementCell::decode(&row)
                .map_err(|error| DataLayerError::row(Keyspace::Elements, &row_key, error))?;
            versions.push(Version::of_element(field, element.clone(), cell));
        }
        versions.retain(|version| version.commit <= newest);
        let mut rows = Vec::new();
        let prefix = point.rows.element_history(address, element);
        point.scan_past(prefix, newest, wanted, |birth, row| {
            rows.push((birth, Bytes::copy_from_slice(row)));
        })?;
        for (birth, row) in rows {
            let past = PastCell::decode(&row).map_err(|error| {
                let key = point.rows.past_element(address, element, birth);
                DataLayerError::row(Keyspace::History, &key, error)
            })?;
            let cell = ElementCell::of_past(past, birth);
            versions.push(Version::of_element(field, element.clone(), cell));
        }
        Ok(versions)
    }

    /// The newest versions of all elements of a field, as many as of whole commits reach `limit`.
    /// All rows are read, since elements are not ordered by commit.
    fn newest_of_elements(
        &self,
        address: FieldAddress<'_>,
        newest: CommitNumber,
        limit: usize,
    ) -> Result<Vec<Version>, DataLayerError> {
        let rows = self.point.rows;
        let (field, prefix) = (address.field, rows.elements_history(address));
        let mut kept = Newest { limit, full_at: 0, versions: Vec::new() };
        self.scan_field(Keyspace::Elements, &prefix, |element, row| {
            // The row that counts the elements is none.
            if !element.is_empty() {
                let cell = ElementCell::decode(&Bytes::copy_from_slice(row))?;
                if cell.commit <= newest {
                    let element = Bytes::copy_from_slice(element);
                    kept.add(Version::of_element(field, element, cell));
                }
            }
            Ok(())
        })?;
        self.scan_field(Keyspace::History, &prefix, |rest, row| {
            let (element, birth) = Rows::read_past_element(rest)
                .map_err(|_| RowError::Malformed("the key is none of a past element"))?;
            if birth <= newest {
                let past = PastCell::decode(&Bytes::copy_from_slice(row))?;
                let element = Bytes::copy_from_slice(element);
                let cell = ElementCell::of_past(past, birth);
                kept.add(Version::of_element(field, element, cell));
            }
            Ok(())
        })?;
        kept.shrink();
        Ok(kept.versions)
    }

    /// Hands over what stands behind the field in each key, and the row.
    fn scan_field(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), RowError>,
    ) -> Result<(), DataLayerError> {
        let mut failed = None;
        let scan = Scan::prefix(keyspace, prefix);
        self.point.published.snapshot.for_each(&scan, &mut |key, row| match visit(
            key.get(prefix.len()..).unwrap_or_default(),
            row,
        ) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(DataLayerError::row(keyspace, key, error));
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The version before one of an element: of it, or a deletion of the record.
    fn before(
        &self,
        address: FieldAddress<'_>,
        version: &Version,
        deletions: &[Version],
    ) -> Result<Option<AtomId>, DataLayerError> {
        let Some(element) = &version.element else { return Ok(None) };
        let at = CommitNumber(version.commit.0.saturating_sub(1));
        let older = self.point.past_element(address, element, at)?;
        let older = older.map(|cell| Version::of_element(address.field, element.clone(), cell));
        let deletion = deletions.iter().filter(|deletion| deletion.commit <= at);
        let newest = older.iter().chain(deletion).max_by_key(|version| version.commit);
        Ok(newest.map(|version| version.id(self.origin)))
    }

    fn finish(&self, key: &RecordKey, linked: Vec<Linked>) -> Result<Vec<Atom>, DataLayerError> {
        let mut times = BTreeMap::new();
        let mut atoms = Vec::with_capacity(linked.len());
        for (version, previous) in linked {
            let commit = version.commit;
            let time = match times.get(&commit) {
                Some(time) => *time,
                None => *times.entry(commit).or_insert(self.point.commit(commit)?.time),
            };
            let value = match &version.value {
                Some(raw) => decode_value(raw).map_err(|error| {
                    self.point.record_error(self.schema, key.as_bytes(), error.into())
                })?,
                None => Value::Null,
            };
            let element = version.element.as_deref().map(decode_element).transpose();
            let element =
                element.map_err(|error| DataLayerError::key(Keyspace::Elements, &[], error))?;
            let (schema, field) = (self.name)(version.field);
            atoms.push(Atom {
                id: version.id(self.origin),
                cell: CellName { schema, key: key.clone(), field, element },
                value,
                status: version.status(),
                writer: version.writer,
                commit,
                time,
                previous,
            });
        }
        Ok(atoms)
    }
}

/// The newest of the versions of several schemas, up to the end of the commit that reaches `limit`.
pub(super) fn newest(mut parts: Vec<Vec<Atom>>, limit: usize) -> Vec<Atom> {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut atoms = parts.concat();
    atoms.sort_by_key(|atom| Reverse(atom.commit));
    match limit.checked_sub(1).and_then(|at| atoms.get(at)).map(|atom| atom.commit) {
        Some(last) => atoms.retain(|atom| atom.commit >= last),
        None => atoms.truncate(limit),
    }
    atoms
}

/// Keeps the newest versions that it is given, in bounded memory.
struct Newest {
    limit: usize,
    full_at: usize,
    versions: Vec<Version>,
}

/// So many versions are kept before the oldest ones are dropped.
const KEPT_MIN: usize = 64;

impl Newest {
    fn add(&mut self, version: Version) {
        self.versions.push(version);
        if self.versions.len() >= self.full_at.max(KEPT_MIN) {
            self.shrink();
            self.full_at = self.versions.len().saturating_mul(2);
        }
    }

    /// Drops what is older than the commit that reaches the limit.
    fn shrink(&mut self) {
        self.versions.sort_by_key(|version| Reverse(version.commit));
        let last = self.limit.checked_sub(1).and_then(|at| self.versions.get(at));
        match last.map(|version| version.commit) {
            Some(last) => self.versions.retain(|version| version.commit >= last),
            None => self.versions.truncate(self.limit),
        }
    }
}
