//! Records and commits become again what they were, in a new commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::diff::{Comparison, Difference, DifferenceKind};
use super::error::FoldDbError;
use super::fold_db::FoldDb;
use super::mutation::{Mutation, RecordInput};
use super::query::{key_of, readable};
use super::transaction::FoldTransaction;
use super::undo::commit_whole;
use crate::data_layer::internal::{CellPlace, ReadPoint, RowSource, decode_cell};
use crate::data_layer::{
    CommitError, CommitNumber, DataLayerError, Receipt, SchemaEntry, SchemaId, SerializationError,
    TRANSACTION_ROWS_MAX,
};
use crate::model::{FieldKind, FieldName, RecordKey, SchemaName, Value};

/// So many conflicts are told.
pub(super) const CONFLICTS_MAX: usize = 1_000;

/// What is to become again what it was.
#[derive(Debug, Clone, PartialEq)]
pub enum Revert {
    /// One record, with its elements, as the schema shows it.
    Record {
        /// The schema.
        schema: SchemaName,
        /// The key of the record.
        key: Vec<Value>,
        /// The moment: a commit number, an RFC 3339 time, or a relative time such as `-2h`.
        to: String,
    },
    /// Everything that a commit wrote, as it was before the commit.
    Commit {
        /// The commit.
        commit: CommitNumber,
        /// Also what later commits have changed again.
        force: bool,
    },
}

/// Something that a commit wrote and a later one changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertConflict {
    /// The schema that has it.
    pub schema: SchemaName,
    /// The record.
    pub key: RecordKey,
    /// The field; `None` for the record, which was deleted or created again.
    pub field: Option<FieldName>,
    /// The element, of a Collection or Range field.
    pub element: Option<String>,
    /// The last commit that changed it.
    pub commit: CommitNumber,
}

impl fmt::Display for RevertConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.schema, self.key)?;
        if let Some(field) = &self.field {
            write!(f, ".{field}")?;
        }
        if let Some(element) = &self.element {
            write!(f, "[{}]", Value::from(element.as_str()).to_json())?;
        }
        write!(f, " in commit {}", self.commit)
    }
}

/// Why a commit cannot be reverted. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevertError {
    /// The commit changed schemas, indexes or transforms.
    #[error("commit {commit} changed the catalogue, and such a commit is not reverted")]
    Catalogue {
        /// The commit.
        commit: CommitNumber,
    },
    /// Later commits have changed again what the commit wrote.
    #[error("what commit {commit} wrote has changed since: {}", told(conflicts))]
    Conflicts {
        /// The commit.
        commit: CommitNumber,
        /// What has changed: the first 1,000.
        conflicts: Vec<RevertConflict>,
    },
}

impl RevertError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RevertError::Catalogue { .. } => "revert_of_catalogue",
            RevertError::Conflicts { .. } => "revert_conflict",
        }
    }
}

fn told(conflicts: &[RevertConflict]) -> String {
    match conflicts {
        [] => String::new(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}

impl FoldDb {
    /// Makes a record, or everything that a commit wrote, again what it was, in one new commit.
    ///
    /// It is a mutation: values must be accepted by the schema as it is today, fields must be
    /// writable, unique indexes hold, and it is all or nothing. Computed fields are not set, but
    /// follow from the others. What is as it was already is not
    /// written; if all is, there is no commit, and the receipt names the last one.
    ///
    /// A record that did not exist is deleted, and one that was deleted since is created again. The
    /// record of a schema without key always exists; its fields lose their values.
    ///
    /// Of a commit, each cell and element that it wrote, and each record that it created or
    /// deleted, becomes what it was before it. If a later commit has changed one of them, or has
    /// deleted its record, that is a conflict: all are listed and nothing is written, unless
    /// `force` is set. A record that was deleted since is then created again, whole, as it was
    /// before.
    ///
    /// ```
    /// use datafold::engine::Revert;
    /// use datafold::{FoldDb, MutationRequest};
    ///
    /// let db = FoldDb::open("memory:")?;
    /// let text = r#"{"name": "City", "key": ["name"],
    ///     "fields": {"name": {"value": {"type": "string"}}, "people": {}}}"#;
    /// let city = db.schemas().load_text(text, None)?.name;
    /// db.schemas().approve_schema(&city)?;
    /// let upsert = |people: u32| {
    ///     let text = format!(
    ///         r#"{{"mutation": "upsert", "schema": "City",
    ///              "records": [{{"name": "Ulm", "people": {people}}}]}}"#
    ///     );
    ///     db.mutate(&MutationRequest::parse(&text)?)
    /// };
    /// let (first, second) = (upsert(126000)?, upsert(1)?);
    /// db.revert(&Revert::Commit { commit: second.commit, force: false })?;
    /// let people = || db.get(&city, &["Ulm".into()]).map(|r| r.unwrap().get("people").cloned());
    /// assert_eq!(people()?, Some(126000.into()));
    /// let to = second.commit.to_string();
    /// db.revert(&Revert::Record { schema: city.clone(), key: vec!["Ulm".into()], to })?;
    /// assert_eq!(people()?, Some(1.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Revert`] for a conflict and for a commit that changed the catalogue; those of
    /// [`FoldDb::mutate`], among them [`CommitError::TooLarge`] if what it was does not fit into
    /// one commit; those of [`FoldDb::query`] for the moment; [`DataLayerError::NotFound`] and
    /// [`DataLayerError::FutureMoment`] for a commit that is none.
    ///
    /// # Durability
    ///
    /// As [`FoldDb::mutate`].
    ///
    /// # Cost
    ///
    /// The log of the commit, and the rows of what it wrote, as they are and as they were; of a
    /// record all its elements. Memory for what is written.
    pub fn revert(&self, revert: &Revert) -> Result<Receipt, FoldDbError> {
        let receipt = match revert {
            Revert::Record { schema, key, to } => {
                let to = self.pool().operations().at(self.moment(Some(to))?)?.at;
                self.transact(|transaction| record(transaction, schema, key, to))
            }
            Revert::Commit { commit, force } => {
                self.transact(|transaction| commit_whole(transaction, *commit, *force))
            }
        };
        receipt.map(|((), receipt)| receipt)
    }
}

/// What one record becomes, through one schema.
pub(super) struct RecordPlan {
    entry: Arc<SchemaEntry>,
    key: RecordKey,
    pub(super) kind: DifferenceKind,
    cells: BTreeMap<FieldName, Value>,
    elements: BTreeMap<FieldName, BTreeMap<String, Value>>,
}

impl RecordPlan {
    pub(super) fn new(entry: &Arc<SchemaEntry>, key: &RecordKey) -> Self {
        let (entry, key) = (Arc::clone(entry), key.clone());
        let (cells, elements) = (BTreeMap::new(), BTreeMap::new());
        Self { entry, key, kind: DifferenceKind::Changed, cells, elements }
    }

    pub(super) fn set(&mut self, field: &FieldName, element: Option<String>, value: Value) {
        match element {
            Some(element) => {
                self.elements.entry(field.clone()).or_default().insert(element, value);
            }
            None => {
                self.cells.insert(field.clone(), value);
            }
        }
    }

    fn is_empty(&self) -> bool {
        let is_whole = self.kind != DifferenceKind::Changed;
        !is_whole && self.cells.is_empty() && self.elements.is_empty()
    }
}

/// Counts what is to be written, so that what does not fit into a commit is not collected.
#[derive(Default)]
pub(super) struct Room {
    rows: usize,
}

impl Room {
    pub(super) fn take(&mut self) -> Result<(), FoldDbError> {
        self.rows += 1;
        if self.rows <= TRANSACTION_ROWS_MAX {
            return Ok(());
        }
        let (unit, limit, found) = ("rows", TRANSACTION_ROWS_MAX, self.rows);
        Err(DataLayerError::from(CommitError::TooLarge { unit, limit, found }).into())
    }
}

/// What a record was at a moment, against what it is.
pub(super) fn plan_record(
    comparison: &Comparison,
    key: &RecordKey,
    room: &mut Room,
) -> Result<RecordPlan, FoldDbError> {
    let mut plan = RecordPlan::new(&comparison.entry, key);
    let _ = comparison.record(key, &mut |difference: Difference| {
        plan.kind = difference.kind;
        room.take()?;
        match difference.field {
            // With a record everything goes that it has.
            None if difference.kind == DifferenceKind::Deleted => {
                return Ok(ControlFlow::Break(()));
            }
            None => {}
            Some(field) => plan.set(&field, difference.element, difference.after),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(plan)
}

fn record(
    transaction: &mut FoldTransaction<'_>,
    schema: &SchemaName,
    key: &[Value],
    to: CommitNumber,
) -> Result<(), FoldDbError> {
    let state = &mut transaction.transaction.state;
    let point = state.source.point(state.working.rows);
    let entry = readable(&point, schema)?;
    let key = key_of(&entry, key)?;
    let to = if to < entry.loaded { CommitNumber::ZERO } else { to };
    note_record(transaction, &entry, &key)?;
    let then = ReadPoint { at: to, ..point.clone() };
    let comparison = Comparison { from: point, to: then, entry, own_only: false };
    let plan = plan_record(&comparison, &key, &mut Room::default())?;
    carry_out(transaction, vec![plan])
}

/// Records that a record is read, with all that a schema shows of it.
pub(super) fn note_record(
    transaction: &mut FoldTransaction<'_>,
    entry: &SchemaEntry,
    key: &RecordKey,
) -> Result<(), DataLayerError> {
    let state = &mut transaction.transaction.state;
    let rows = state.working.rows;
    let mut records: BTreeSet<SchemaId> = [entry.records()].into();
    for (cell, field) in entry.fields() {
        records.insert(cell.schema);
        if field.kind != FieldKind::Single {
            let whole = (Bound::Unbounded, Bound::Unbounded);
            state.note_elements(cell.address(key.as_bytes()), whole, None);
        }
    }
    for schema in records {
        state.source.read(Keyspace::Records, &rows.record(schema, key.as_bytes()))?;
    }
    Ok(())
}

/// Writes what records become.
pub(super) fn carry_out(
    transaction: &mut FoldTransaction<'_>,
    plans: Vec<RecordPlan>,
) -> Result<(), FoldDbError> {
    // What is taken away does not stand in the way of what comes.
    for plan in plans.iter().filter(|plan| plan.kind == DifferenceKind::Deleted) {
        let keys = vec![parts_of(&plan.key)?];
        transaction.mutate(Mutation::delete(plan.entry.schema.name.clone(), keys))?;
    }
    for plan in plans.iter().filter(|plan| plan.kind != DifferenceKind::Deleted) {
        if plan.is_empty() {
            continue;
        }
        write(transaction, plan)?;
    }
    Ok(())
}

fn parts_of(key: &RecordKey) -> Result<Vec<Value>, FoldDbError> {
    Ok(key.values().map_err(SerializationError::from).map_err(DataLayerError::from)?)
}

fn write(transaction: &mut FoldTransaction<'_>, plan: &RecordPlan) -> Result<(), FoldDbError> {
    let (entry, schema) = (&plan.entry, plan.entry.schema.name.clone());
    let missing = missing_records(transaction, plan)?;
    let parts = parts_of(&plan.key)?;
    let names = entry.schema.key.iter().map(FieldName::to_string);
    let key: RecordInput = names.zip(parts).collect();
    let mut record = key.clone();
    let catalogue = Arc::clone(&transaction.transaction.state.catalogue);
    // It follows from what is written here.
    let is_computed = |name: &FieldName| {
        let place = entry.place(name.as_str());
        place.is_some_and(|place| catalogue.is_computed(place))
    };
    for (name, value) in plan.cells.iter().filter(|(name, _)| !is_computed(name)) {
        let place = entry.place(name.as_str());
        let default = place.and_then(|cell| {
            let is_new = missing.contains(&cell.schema);
            is_new.then(|| default_of(transaction, entry, cell)).flatten()
        });
        // Where the record is new, its default comes by itself, also where nobody may write.
        match default {
            Some(default) if decode_cell(&default)? == *value => {}
            _ => drop(record.insert(name.to_string(), value.clone())),
        }
    }
    let elements = plan
        .elements
        .iter()
        .filter(|(name, _)| !is_computed(name))
        .map(|(name, elements)| (name.to_string(), Value::Object(elements.clone())));
    record.extend(elements);
    transaction.mutate(match plan.kind {
        DifferenceKind::Created => Mutation::create(schema.clone(), vec![record]),
        _ => Mutation::update(schema.clone(), vec![record]),
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    // Defaults that have come although there was no value go again.
    let mut unset = key;
    for (cell, field) in plan.entry.fields() {
        if field.kind != FieldKind::Single || !missing.contains(&cell.schema) {
            continue;
        }
        let is_null = plan.cells.get(&field.name).is_none_or(Value::is_null);
        let editor = transaction.transaction.state.editor();
        let draft = editor.working.record(editor.source, cell.schema, plan.key.bytes())?;
        if is_null && draft.value(cell.field).is_some() {
            unset.insert(field.name.to_string(), Value::Null);
        }
    }
    if unset.len() > plan.entry.schema.key.len() {
        transaction.mutate(Mutation::update(schema, vec![unset]))?;
    }
    Ok(())
}

/// The schemas with cells of the record in which it does not exist now.
fn missing_records(
    transaction: &mut FoldTransaction<'_>,
    plan: &RecordPlan,
) -> Result<BTreeSet<SchemaId>, DataLayerError> {
    let places: BTreeSet<_> = plan.entry.fields().map(|(cell, _)| cell.schema).collect();
    let mut missing = BTreeSet::new();
    for schema in places {
        let editor = transaction.transaction.state.editor();
        let draft = editor.working.record(editor.source, schema, plan.key.bytes())?;
        if !draft.exists() {
            missing.insert(schema);
        }
    }
    Ok(missing)
}

/// What a field of a new record has if nothing is given, encoded.
fn default_of(
    transaction: &FoldTransaction<'_>,
    entry: &Arc<SchemaEntry>,
    cell: CellPlace,
) -> Option<Bytes> {
    let catalogue = &transaction.transaction.state.catalogue;
    let entry =
        if cell.schema == entry.records() { entry } else { catalogue.by_id(cell.schema)? };
    let found = entry.defaults.iter().find(|(field, _)| *field == cell.field);
    found.map(|(_, default)| default.clone())
}
