//! Atoms by id, and the versions of a cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::atom::{Atom, AtomRef, CellName};
use super::catalogue::SchemaEntry;
use super::commit::{Change, ChangeKind};
use super::db_operations::DbOperations;
use super::element::ElementCell;
use super::error::DataLayerError;
use super::history::{History, Scope, Version, newest};
use super::ids::{AtomId, CommitNumber, FieldId, SchemaId};
use super::layout::CellPlace;
use super::read_point::ReadPoint;
use super::record::RecordRow;
use super::repository::{Page, ReadRepository};
use super::rows::FieldAddress;
use crate::model::{FieldKind, RecordKey, encode_element};

/// Atoms. They never change, so there is only the read half of a repository.
///
/// Atoms are written by mutations, never alone.
#[derive(Debug, Clone)]
pub struct AtomRepository {
    ops: Arc<DbOperations>,
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
        let origin = self.ops.origin();
        let mut atoms = Vec::new();
        for (schema, scope) in scopes_of(&entry, cell)? {
            let name = |field| {
                let field = entry.field_at(CellPlace { schema, field });
                (entry.schema.name.clone(), field.map(|field| field.name.clone()))
            };
            let history = History { point: &point, schema, name: &name, origin };
            atoms.push(history.atoms(&cell.key, &scope, before, limit)?);
        }
        Ok(newest(atoms, limit))
    }

    /// The versions of all cells and elements of a record, the newest first, as
    /// [`AtomRepository::history`].
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
        let whole = CellName { field: None, element: None, ..cell.clone() };
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
            (RecordRow::Live(live), Some(field)) => match &cell.element {
                Some(element) => {
                    let address = FieldAddress { schema, record: cell.key.as_bytes(), field };
                    current_element(&point, address, element, live.birth.commit)?
                }
                None => live.cell(field).map(|cell| Version::of(field, cell)),
            },
            (RecordRow::Live(_), None) => None,
        };
        let origin = self.ops.origin();
        Ok(version.map(|version| AtomRef {
            cell: cell.clone(),
            atom: version.id(origin),
            status: version.status(),
        }))
    }

    fn find(&self, point: &ReadPoint, id: AtomId) -> Result<Option<Atom>, DataLayerError> {
        if id.origin != self.ops.origin() || id.commit > point.at {
            return Ok(None);
        }
        let Some((_, changes)) = point.changes(id.commit)? else { return Ok(None) };
        match written(&changes).into_iter().find(|written| written.ordinal == id.ordinal) {
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
        let key = RecordKey::from_bytes(written.record.clone());
        let mut scope = Scope::default();
        match written.element {
            Some(element) => scope.element = Some((written.field, element.clone())),
            // A deletion is there in any case.
            None if written.field == FieldId::RECORD => {}
            None => scope.cells.push(written.field),
        }
        let atoms = history.atoms(&key, &scope, before, 1)?;
        Ok(atoms.into_iter().find(|atom| atom.id == id))
    }
}

/// Of what a cell's name asks for the versions, by the schemas that have the records.
fn scopes_of(
    entry: &SchemaEntry,
    cell: &CellName,
) -> Result<BTreeMap<SchemaId, Scope>, DataLayerError> {
    let mut scopes = BTreeMap::<SchemaId, Scope>::new();
    let Some(name) = &cell.field else {
        scopes.insert(entry.records(), Scope::default());
        for (place, field) in entry.fields() {
            let scope = scopes.entry(place.schema).or_default();
            match field.kind {
                FieldKind::Single => scope.cells.push(place.field),
                _ => scope.elements.push(place.field),
            }
        }
        return Ok(scopes);
    };
    let (place, field) = entry
        .placed_field(name.as_str())
        .ok_or_else(|| DataLayerError::not_found("field", format!("{}.{name}", cell.schema)))?;
    let scope = scopes.entry(place.schema).or_default();
    match (&cell.element, field.kind) {
        (None, FieldKind::Single) => scope.cells.push(place.field),
        (None, _) => scope.elements.push(place.field),
        // A Single field has no elements, and an element key that is too long is none of one.
        (Some(_), FieldKind::Single) => {}
        (Some(element), _) => {
            scope.element = encode_element(element).ok().map(|key| (place.field, key));
        }
    }
    Ok(scopes)
}

/// The current atom of an element, if it is one of the record's present life.
fn current_element(
    point: &ReadPoint,
    address: FieldAddress<'_>,
    element: &str,
    birth: CommitNumber,
) -> Result<Option<Version>, DataLayerError> {
    let Ok(element) = encode_element(element) else { return Ok(None) };
    let key = point.rows.element(address, &element);
    let Some(row) = point.published.get(Keyspace::Elements, &key)? else { return Ok(None) };
    let cell = ElementCell::decode(&row)
        .map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))?;
    let is_present = cell.commit >= birth;
    Ok(is_present.then(|| Version::of_element(address.field, element, cell)))
}

fn entry_of(point: &ReadPoint, cell: &CellName) -> Result<Arc<SchemaEntry>, DataLayerError> {
    let entry = point.published.catalogue.get(cell.schema.as_str()).cloned();
    entry.ok_or_else(|| DataLayerError::not_found("schema", &cell.schema))
}

/// An atom in the list of a commit: the cell or element that its ordinal stands for.
struct Written<'a> {
    ordinal: u32,
    schema: SchemaId,
    record: &'a Bytes,
    field: FieldId,
    element: Option<&'a Bytes>,
}

/// All atoms that a commit wrote, by ordinal.
fn written(changes: &[Change]) -> Vec<Written<'_>> {
    let mut out = Vec::new();
    for change in changes {
        match change {
            Change::Record { schema, record, kind, base, fields } => {
                let deleted = [FieldId::RECORD];
                let fields = match kind {
                    ChangeKind::Delete => &deleted[..],
                    ChangeKind::Write | ChangeKind::Create => fields,
                };
                let atom = |field: &FieldId| Written {
                    ordinal: base.saturating_add(field.0),
                    schema: *schema,
                    record,
                    field: *field,
                    element: None,
                };
                out.extend(fields.iter().map(atom));
            }
            Change::Elements { schema, record, base, field, elements } => {
                let atom = |(ordinal, element)| Written {
                    ordinal,
                    schema: *schema,
                    record,
                    field: *field,
                    element: Some(element),
                };
                out.extend((*base..).zip(elements).map(atom));
            }
            Change::Catalogue { .. } | Change::Failure { .. } => {}
        }
    }
    out
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
