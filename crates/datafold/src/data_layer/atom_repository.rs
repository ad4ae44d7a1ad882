//! Atoms by id, and the versions of a cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::atom::{Atom, AtomRef, AtomStatus, CellName};
use super::catalogue::SchemaEntry;
use super::commit::{Change, ChangeKind};
use super::db_operations::DbOperations;
use super::error::DataLayerError;
use super::ids::{AtomId, CommitNumber, FieldId, SchemaId};
use super::layout::CellPlace;
use super::read_point::ReadPoint;
use super::record::{Cell, PastCell, RecordRow, Stamp};
use super::repository::{Page, ReadRepository};
use crate::model::{FieldName, RecordKey, SchemaName, Value, decode_value};

/// Atoms. They never change, so there is only the read half of a repository.
///
/// Atoms are written by mutations, never alone.
#[derive(Debug, Clone)]
pub struct AtomRepository {
    ops: Arc<DbOperations>,
}

/// A version of a cell before its time and predecessor are looked up.
#[derive(Debug, Clone)]
struct Version {
    stamp: Stamp,
    field: FieldId,
    value: Option<Bytes>,
}

impl Version {
    fn of(field: FieldId, cell: &Cell) -> Self {
        Self { stamp: cell.stamp, field, value: cell.value.clone() }
    }

    fn deletion(stamp: Stamp) -> Self {
        Self { stamp, field: FieldId::RECORD, value: None }
    }
}

impl AtomRepository {
    pub(crate) fn new(ops: Arc<DbOperations>) -> Self {
        Self { ops }
    }

    /// The versions of a cell, the newest first, all from commits before `before` if it is given.
    /// Deletions of the record are among them.
    ///
    /// They end behind the commit that reaches `limit`: the atoms of one commit are never split, so
    /// that the next page is the one before the last commit. Of a record it can be a few more than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema or field; a record that never was has
    /// no versions. [`DataLayerError::Store`] and [`DataLayerError::Serialization`].
    ///
    /// # Cost
    ///
    /// One row a version, one for the time of each commit, and one for each earlier life of the
    /// record.
    pub fn history(
        &self,
        cell: &CellName,
        before: Option<CommitNumber>,
        limit: usize,
    ) -> Result<Vec<Atom>, DataLayerError> {
        let point = self.ops.now();
        let entry = entry_of(&point, cell)?;
        let mut fields = BTreeMap::<SchemaId, Vec<FieldId>>::new();
        match &cell.field {
            Some(name) => {
                let place = entry.place(name.as_str()).ok_or_else(|| {
                    DataLayerError::not_found("field", format!("{}.{name}", cell.schema))
                })?;
                fields.insert(place.schema, vec![place.field]);
            }
            None => {
                fields.insert(entry.records(), Vec::new());
                for (place, _) in entry.fields() {
                    fields.entry(place.schema).or_default().push(place.field);
                }
            }
        }
        let origin = self.ops.origin();
        let mut atoms = Vec::new();
        for (schema, fields) in fields {
            let name = |field| {
                let field = entry.field_at(CellPlace { schema, field });
                (entry.schema.name.clone(), field.map(|field| field.name.clone()))
            };
            let history = History { point: &point, schema, name: &name, origin };
            atoms.push(history.atoms(&cell.key, &fields, before, limit)?);
        }
        Ok(newest(atoms, limit))
    }

    /// The versions of all cells of a record, the newest first, as [`AtomRepository::history`].
    ///
    /// # Errors
    ///
    /// As [`AtomRepository::history`].
    pub fn record_history(
        &self,
        cell: &CellName,
        before: Option<CommitNumber>,
        limit: usize,
    ) -> Result<Vec<Atom>, DataLayerError> {
        let whole = CellName { field: None, ..cell.clone() };
        self.history(&whole, before, limit)
    }

    /// The current atom of a cell; `None` if it never had one, or its record was created anew
    /// without it.
    ///
    /// # Errors
    ///
    /// As [`AtomRepository::history`].
    ///
    /// # Cost
    ///
    /// One row.
    pub fn current(&self, cell: &CellName) -> Result<Option<AtomRef>, DataLayerError> {
        let point = self.ops.now();
        let entry = entry_of(&point, cell)?;
        let place = cell.field.as_ref().and_then(|name| entry.place(name.as_str()));
        let schema = place.map_or(entry.records(), |place| place.schema);
        let key = point.rows.record(schema, cell.key.as_bytes());
        let Some(row) = point.published.get(Keyspace::Records, &key)? else { return Ok(None) };
        let row = RecordRow::decode(&row)
            .map_err(|error| DataLayerError::row(Keyspace::Records, &key, error))?;
        let version = match (&row, place.map(|place| place.field)) {
            (RecordRow::Tombstone(stamp), _) => Some(Version::deletion(*stamp)),
            (RecordRow::Live(live), Some(field)) => {
                live.cell(field).map(|cell| Version::of(field, cell))
            }
            (RecordRow::Live(_), None) => None,
        };
        let origin = self.ops.origin();
        Ok(version.map(|version| AtomRef {
            cell: cell.clone(),
            atom: id_of(&version, origin),
            status: status_of(&version),
        }))
    }

    fn find(&self, point: &ReadPoint, id: AtomId) -> Result<Option<Atom>, DataLayerError> {
        if id.origin != self.ops.origin() || id.commit > point.at {
            return Ok(None);
        }
        let Some((_, changes)) = point.changes(id.commit)? else { return Ok(None) };
        match written(&changes).find(|written| written.ordinal == id.ordinal) {
            Some(written) => self.read(point, id, &written),
            None => Ok(None),
        }
    }

    fn read(
        &self,
        point: &ReadPoint,
        id: AtomId,
        written: &Written<'_>,
    ) -> Result<Option<Atom>, DataLayerError> {
        let schema = written.schema;
        let catalogue = &point.published.catalogue;
        let entry = catalogue
            .by_id(schema)
            .ok_or_else(|| DataLayerError::missing(format!("the schema with number {schema}")))?;
        let name = |field| match catalogue.field_at(CellPlace { schema, field }) {
            Some((schema, field)) => (schema.clone(), Some(field.name.clone())),
            None => (entry.schema.name.clone(), None),
        };
        let history = History { point, schema, name: &name, origin: id.origin };
        let before = Some(id.commit.next());
        // A deletion belongs to every field, and one of them shows it.
        let field = (written.field != FieldId::RECORD).then_some(written.field);
        let key = RecordKey::from_bytes(written.record.clone());
        let atoms = history.atoms(&key, field.as_slice(), before, 1)?;
        Ok(atoms.into_iter().find(|atom| atom.id == id))
    }
}

fn entry_of(point: &ReadPoint, cell: &CellName) -> Result<Arc<SchemaEntry>, DataLayerError> {
    let entry = point.published.catalogue.get(cell.schema.as_str()).cloned();
    entry.ok_or_else(|| DataLayerError::not_found("schema", &cell.schema))
}

/// An atom in the list of a commit: the cell that its ordinal stands for.
struct Written<'a> {
    ordinal: u32,
    schema: SchemaId,
    record: &'a Bytes,
    field: FieldId,
}

/// All atoms that a commit wrote, by ordinal.
fn written(changes: &[Change]) -> impl Iterator<Item = Written<'_>> {
    changes.iter().flat_map(|change| {
        let (schema, record, base, fields) = match change {
            Change::Record { schema, record, kind: ChangeKind::Delete, base, .. } => {
                (*schema, record, *base, &[FieldId::RECORD][..])
            }
            Change::Record { schema, record, base, fields, .. } => {
                (*schema, record, *base, fields.as_slice())
            }
            Change::Catalogue { key } => (SchemaId(0), key, 0, &[][..]),
        };
        let atom = move |field: &FieldId| Written {
            ordinal: base.saturating_add(field.0),
            schema,
            record,
            field: *field,
        };
        fields.iter().map(atom)
    })
}

fn id_of(version: &Version, origin: u32) -> AtomId {
    let stamp = version.stamp;
    AtomId { commit: stamp.commit, ordinal: stamp.ordinal(version.field), origin }
}

fn status_of(version: &Version) -> AtomStatus {
    if version.value.is_some() { AtomStatus::Active } else { AtomStatus::Deleted }
}

/// Collects the versions of cells of one record.
struct History<'a> {
    point: &'a ReadPoint,
    /// The schema that has the records.
    schema: SchemaId,
    /// The schema and the field that a version is shown as.
    name: &'a dyn Fn(FieldId) -> (SchemaName, Option<FieldName>),
    origin: u32,
}

/// The newest of the versions of several schemas, by the rule of [`AtomRepository::history`].
fn newest(mut parts: Vec<Vec<Atom>>, limit: usize) -> Vec<Atom> {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut atoms = parts.concat();
    atoms.sort_by_key(|atom| std::cmp::Reverse(atom.commit));
    match limit.checked_sub(1).and_then(|at| atoms.get(at)).map(|atom| atom.commit) {
        Some(last) => atoms.retain(|atom| atom.commit >= last),
        None => atoms.truncate(limit),
    }
    atoms
}

impl History<'_> {
    fn atoms(
        &self,
        key: &RecordKey,
        fields: &[FieldId],
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
            .filter(|version| version.stamp.commit <= newest)
            .collect();
        // One more than asked for, so that the last one asked for knows its predecessor.
        let wanted = limit.saturating_add(1);
        let mut by_field = vec![deletions.clone()];
        for field in fields {
            let mut versions = self.versions(key, *field, &lives, newest, wanted)?;
            versions.extend(deletions.iter().cloned());
            versions.sort_by_key(|version| std::cmp::Reverse(version.stamp.commit));
            by_field.push(versions);
        }
        let mut linked = Vec::new();
        for (at, versions) in by_field.iter().enumerate() {
            for (index, version) in versions.iter().enumerate().take(limit) {
                // Deletions come from the list of their own.
                if at == 0 || version.field != FieldId::RECORD {
                    let previous = versions.get(index + 1).map(|older| id_of(older, self.origin));
                    linked.push((version, previous));
                }
            }
        }
        linked.sort_by_key(|(version, _)| {
            std::cmp::Reverse((version.stamp.commit, std::cmp::Reverse(version.field)))
        });
        // What one commit wrote is not split, so that `before` it loses nothing.
        let last = limit.checked_sub(1).and_then(|at| linked.get(at)).map(|(v, _)| v.stamp.commit);
        match last {
            Some(last) => linked.retain(|(version, _)| version.stamp.commit >= last),
            None => linked.truncate(limit),
        }
        self.finish(key, linked)
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
            raw.push(row);
        })?;
        let decode = |row| RecordRow::decode(row);
        let rows: Result<Vec<_>, _> = raw.iter().map(decode).collect();
        rows.map_err(|error| point.record_error(schema, key.as_bytes(), error))
    }

    fn versions(
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
            rows.push((birth, row));
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

    fn finish(
        &self,
        key: &RecordKey,
        linked: Vec<(&Version, Option<AtomId>)>,
    ) -> Result<Vec<Atom>, DataLayerError> {
        let mut times = BTreeMap::new();
        let mut atoms = Vec::with_capacity(linked.len());
        for (version, previous) in linked {
            let commit = version.stamp.commit;
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
            let (schema, field) = (self.name)(version.field);
            atoms.push(Atom {
                id: id_of(version, self.origin),
                cell: CellName { schema, key: key.clone(), field },
                value,
                status: status_of(version),
                writer: version.stamp.writer,
                commit,
                time,
                previous,
            });
        }
        Ok(atoms)
    }
}

impl ReadRepository<Atom, AtomId> for AtomRepository {
    fn get(&self, key: &AtomId) -> Result<Option<Atom>, DataLayerError> {
        self.find(&self.ops.now(), *key)
    }

    fn get_many(&self, keys: &[AtomId]) -> Result<Vec<Option<Atom>>, DataLayerError> {
        let point = self.ops.now();
        keys.iter().map(|key| self.find(&point, *key)).collect()
    }

    /// Atoms in the order in which they were written.
    fn page(
        &self,
        after: Option<&AtomId>,
        limit: usize,
    ) -> Result<Page<Atom, AtomId>, DataLayerError> {
        let point = self.ops.now();
        let mut items = Vec::new();
        let mut commit = after.map_or(CommitNumber(1), |id| id.commit);
        let mut from = after.map(|id| id.ordinal);
        while commit <= point.at {
            if let Some((_, changes)) = point.changes(commit)? {
                for written in written(&changes) {
                    if from.is_some_and(|from| written.ordinal <= from) {
                        continue;
                    }
                    let id = AtomId { commit, ordinal: written.ordinal, origin: self.ops.origin() };
                    if items.len() >= limit.max(1) {
                        let next = items.last().map(|(id, _)| *id);
                        return Ok(Page { items, next });
                    }
                    let atom = self.read(&point, id, &written)?;
                    let atom = atom.ok_or_else(|| DataLayerError::missing(format!("atom {id}")))?;
                    items.push((id, atom));
                }
            }
            commit = commit.next();
            from = None;
        }
        Ok(Page { items, next: None })
    }

    fn count(&self) -> Result<u64, DataLayerError> {
        Ok(self.ops.pipeline().counters().values().map(|counters| counters.atoms).sum())
    }
}
