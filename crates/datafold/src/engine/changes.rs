//! What changed, commit by commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafold_store::Keyspace;
use datafold_store::encoding::KeyReader;

use super::error::{FoldDbError, QueryError};
use super::fold_db::FoldDb;
use crate::data_layer::internal::{
    CatalogueKind, CellPlace, Deadline, ElementScan, Evaluation, FieldAddress, Logged,
    LoggedFailure, LoggedKind, ReadPoint, decode_cell, read_state,
};
use crate::data_layer::{
    AtomId, Commit, CommitNumber, DataLayerError, DbOperations, FieldId, IndexId, SchemaEntry,
    SchemaId, TransformId,
};
use crate::model::{
    FieldKind, FieldName, RecordKey, SchemaName, SchemaState, Value, decode_element,
};

/// A subscription looks at the clock again after so many commits that are of no concern to it.
const COMMITS_BETWEEN_LOOKS: u32 = 256;

/// Which changes are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangesQuery {
    /// The first commit that is read, itself included; 0 is before the first.
    pub from: CommitNumber,
    /// Only changes of these schemas, and only commits with such changes; empty stands for all.
    ///
    /// A cell is of the schema that has it: what a mapped field shows is a change of the field that
    /// it maps from, and the records of a keyed schema that maps are those of its source.
    pub schemas: Vec<SchemaName>,
    /// Ends behind the commit that reaches so many changes; no limit by default.
    pub limit: Option<usize>,
    /// Also tell the value before each change.
    pub before: bool,
    /// Also changes of schemas that are not approved now, which are for the owner only.
    pub unapproved: bool,
}

impl ChangesQuery {
    /// All changes of approved schemas from a commit on.
    #[must_use]
    pub fn from(from: CommitNumber) -> Self {
        Self { from, ..Self::default() }
    }
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Began a new life of a record: nothing is left of an earlier one. Its values follow as
    /// changes of their own.
    Created,
    /// Ended the life of a record, with all that it had.
    Deleted,
    /// Gave a cell or an element a value.
    Set,
    /// Took the value of a cell, or an element, away.
    Removed,
    /// Stored the definition of a schema.
    Loaded,
    /// Deleted the definition of a schema.
    Dropped,
    /// Set the state of a schema. The value is the name of the state.
    State,
    /// Made, dropped or finished an index of a schema.
    Index,
    /// Registered or removed a transform.
    Transform,
    /// A transform has failed for a record, whose field keeps the value that it had. What went
    /// wrong is told as an object of `code`, `message`, `line` and `column`.
    Failed,
    /// A transform that had failed for a record has a result again.
    Recovered,
}

impl ChangeKind {
    /// A name that never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Set => "set",
            ChangeKind::Removed => "removed",
            ChangeKind::Loaded => "loaded",
            ChangeKind::Dropped => "dropped",
            ChangeKind::State => "state",
            ChangeKind::Index => "index",
            ChangeKind::Transform => "transform",
            ChangeKind::Failed => "failed",
            ChangeKind::Recovered => "recovered",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What it did.
    pub kind: ChangeKind,
    /// The schema that has the record or cell; `None` for one that is gone, and for a transform.
    pub schema: Option<SchemaName>,
    /// The record; `None` for a change of the catalogue.
    pub key: Option<RecordKey>,
    /// The field; `None` for a change of the whole record or the catalogue.
    pub field: Option<FieldName>,
    /// The element, of a Collection or Range field.
    pub element: Option<String>,
    /// The value that the commit gave, or what went wrong in a computation; null otherwise.
    pub value: Value,
    /// If it was asked for, the value before the commit. Of a record that was created or deleted,
    /// an object of the Single fields that its schema has, or null if it did not exist.
    pub before: Option<Value>,
    /// The atom that was written; `None` for a creation and for the catalogue.
    pub atom: Option<AtomId>,
}

/// A commit and its changes: by record, and in a record by field.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitChanges {
    /// Its number, time, writer, and how many atoms it wrote.
    pub commit: Commit,
    /// Its changes, of the schemas that were asked for.
    pub changes: Vec<Change>,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangesAnswer {
    /// The commits, in their order.
    pub commits: Vec<CommitChanges>,
    /// The commit to go on from.
    pub next: CommitNumber,
}

/// Where a streamed answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangesEnd {
    /// The commit to go on from.
    pub next: CommitNumber,
    /// The newest commit that the answer could have held.
    pub head: CommitNumber,
}

impl FoldDb {
    /// Tells what changed, commit by commit; the answer is in memory.
    ///
    /// A page is never split inside a commit: it ends behind the one that reaches the limit, and
    /// `next` is the commit to read the next page from.
    ///
    /// ```
    /// use datafold::engine::ChangesQuery;
    /// use datafold::data_layer::CommitNumber;
    /// use datafold::{FoldDb, MutationRequest};
    ///
    /// let db = FoldDb::open("memory:")?;
    /// let note = r#"{"name": "Note", "key": ["id"], "fields": {"id": {}, "text": {}}}"#;
    /// let note = note.replace("\"id\": {}", r#""id": {"value": {"type": "integer"}}"#);
    /// let name = db.schemas().load_text(&note, None)?.name;
    /// let approved = db.schemas().approve_schema(&name)?;
    /// db.mutate(&MutationRequest::parse(
    ///     r#"{"mutation": "create", "schema": "Note", "records": [{"id": 1, "text": "a"}]}"#,
    /// )?)?;
    /// let answer = db.changes(&ChangesQuery::from(CommitNumber(3)))?;
    /// let kinds: Vec<_> = answer.commits[0].changes.iter().map(|c| c.kind.as_str()).collect();
    /// assert_eq!(kinds, ["created", "set"]);
    /// assert_eq!(answer.next, CommitNumber(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`] for a schema that is unknown, or not approved if those are not asked
    /// for; [`FoldDbError::DataLayer`].
    ///
    /// # Cost
    ///
    /// The rows of each commit's log, one row for each record and one for each element that it
    /// wrote, and a seek more for each cell that has changed since; the same again for the values
    /// before. Memory for the answer; one commit is at most 16 MiB.
    pub fn changes(&self, query: &ChangesQuery) -> Result<ChangesAnswer, FoldDbError> {
        let mut commits = Vec::new();
        let end = self.changes_each(query, |commit| {
            commits.push(commit);
            ControlFlow::Continue(())
        })?;
        Ok(ChangesAnswer { commits, next: end.next })
    }

    /// Hands over what changed, commit by commit, up to the newest durable commit, the limit, or
    /// until `visit` breaks. Memory for one commit.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::changes`].
    pub fn changes_each(
        &self,
        query: &ChangesQuery,
        mut visit: impl FnMut(CommitChanges) -> ControlFlow<()>,
    ) -> Result<ChangesEnd, FoldDbError> {
        let ops = self.pool().operations();
        let point = ops.now();
        let head = point.at;
        let feed = Feed { point, query, origin: ops.origin() };
        feed.check()?;
        let (mut next, mut count) = (first(query), 0);
        while next <= head && query.limit.is_none_or(|limit| count < limit) {
            let found = feed.read(next)?;
            next = next.next();
            if let Some(found) = found {
                count += found.changes.len();
                if visit(found).is_break() {
                    break;
                }
            }
        }
        Ok(ChangesEnd { next, head })
    }

    /// Follows the commits of the space from `query.from` on; the limit is of no account.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::changes`].
    pub fn subscribe(&self, query: ChangesQuery) -> Result<Subscription, FoldDbError> {
        let ops = Arc::clone(self.pool().operations());
        Feed { point: ops.now(), query: &query, origin: ops.origin() }.check()?;
        Ok(Subscription { next: first(&query), ops, query })
    }
}

/// The first commit that is read.
fn first(query: &ChangesQuery) -> CommitNumber {
    query.from.max(CommitNumber(1))
}

/// The commits of a space, one after the other, as they become durable.
///
/// Each commit is answered exactly once and in order, and only when it is durable. Nothing is kept
/// for a subscription: it reads the commit log, so a slow reader costs no memory, and one that goes
/// on from [`Subscription::position`] later, also after the store was opened again, misses nothing
/// and sees nothing twice.
#[derive(Debug)]
pub struct Subscription {
    ops: Arc<DbOperations>,
    query: ChangesQuery,
    next: CommitNumber,
}

impl Subscription {
    /// The commit to go on from: everything before it has been answered or was of no concern.
    #[must_use]
    pub fn position(&self) -> CommitNumber {
        self.next
    }

    /// The next commit with changes of the schemas that were asked for, or without a choice of
    /// schemas the next commit; `None` if there was none within the time.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`]: `store_closed` if the pool was closed. The position stays.
    ///
    /// # Cost
    ///
    /// As [`FoldDb::changes`] of the commits that it steps over. While it waits, none.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<CommitChanges>, FoldDbError> {
        let deadline = Deadline::within(timeout);
        let mut stepped: u32 = 0;
        loop {
            let point = self.ops.now();
            while self.next <= point.at {
                let query = &self.query;
                let feed = Feed { point: point.clone(), query, origin: self.ops.origin() };
                let found = feed.read(self.next)?;
                self.next = self.next.next();
                if found.is_some() {
                    return Ok(found);
                }
                stepped = stepped.wrapping_add(1);
                if stepped.is_multiple_of(COMMITS_BETWEEN_LOOKS) && deadline.left().is_none() {
                    return Ok(None);
                }
            }
            if !self.ops.pipeline().wait_until_published(self.next, deadline)? {
                return Ok(None);
            }
        }
    }
}

/// Reads commits as of one durable state.
struct Feed<'a> {
    point: ReadPoint,
    query: &'a ChangesQuery,
    origin: u32,
}

/// The records that a logged change is of.
struct Place<'a> {
    commit: CommitNumber,
    schema: SchemaId,
    record: &'a Bytes,
}

impl Feed<'_> {
    /// Refuses schemas that may not be asked for.
    fn check(&self) -> Result<(), QueryError> {
        for name in &self.query.schemas {
            let entry = self.point.published.catalogue.get(name.as_str());
            let unknown = || QueryError::UnknownSchema { schema: name.clone(), at: None };
            let state = entry.ok_or_else(unknown)?.state;
            if state != SchemaState::Approved && !self.query.unapproved {
                return Err(QueryError::NotApproved { schema: name.clone(), state });
            }
        }
        Ok(())
    }

    /// Whether changes of a schema are wanted and may be seen.
    fn shows(&self, name: &SchemaName) -> bool {
        let is_wanted = self.query.schemas.is_empty() || self.query.schemas.contains(name);
        let state = || self.point.published.catalogue.get(name.as_str()).map(|entry| entry.state);
        is_wanted && (self.query.unapproved || state() == Some(SchemaState::Approved))
    }

    /// What a commit changed; `None` if nothing of it is of the schemas that were chosen.
    fn read(&self, number: CommitNumber) -> Result<Option<CommitChanges>, FoldDbError> {
        let missing = || DataLayerError::missing(format!("commit {number}"));
        let (commit, logged) = self.point.changes(number)?.ok_or_else(missing)?;
        let mut changes = Vec::new();
        self.catalogue(&logged, &mut changes)?;
        for logged in &logged {
            match logged {
                Logged::Record { schema, record, kind, base, fields } => {
                    let place = Place { commit: number, schema: *schema, record };
                    self.record(&place, *kind, *base, fields, &mut changes)?;
                }
                Logged::Elements { schema, record, base, field, elements } => {
                    let place = Place { commit: number, schema: *schema, record };
                    self.elements(&place, *field, *base, elements, &mut changes)?;
                }
                Logged::Failure { transform, record, what } => {
                    self.failure(*transform, record, what, &mut changes)?;
                }
                Logged::Catalogue { .. } => {}
            }
        }
        let is_of_concern = self.query.schemas.is_empty() || !changes.is_empty();
        Ok(is_of_concern.then_some(CommitChanges { commit, changes }))
    }

    /// The state behind a commit.
    fn at(&self, number: CommitNumber) -> ReadPoint {
        ReadPoint { at: number, ..self.point.clone() }
    }

    /// The state before a commit.
    fn before(&self, number: CommitNumber) -> ReadPoint {
        self.at(CommitNumber(number.0.saturating_sub(1)))
    }

    fn entry(&self, schema: SchemaId) -> Result<&Arc<SchemaEntry>, DataLayerError> {
        let entry = self.point.published.catalogue.by_id(schema);
        entry.ok_or_else(|| DataLayerError::missing(format!("the schema with number {schema}")))
    }

    /// The schema and name of the field whose cells are there.
    fn owner(&self, place: CellPlace) -> Result<(&SchemaName, &FieldName), DataLayerError> {
        let found = self.point.published.catalogue.field_at(place);
        let (schema, field) = found.ok_or_else(|| DataLayerError::missing("a field"))?;
        Ok((schema, &field.name))
    }

    fn atom(&self, commit: CommitNumber, ordinal: u32) -> Option<AtomId> {
        Some(AtomId { commit, ordinal, origin: self.origin })
    }

    /// The changes of a record and its cells.
    fn record(
        &self,
        place: &Place<'_>,
        kind: LoggedKind,
        base: u32,
        fields: &[FieldId],
        out: &mut Vec<Change>,
    ) -> Result<(), FoldDbError> {
        let entry = self.entry(place.schema)?;
        let life = match kind {
            LoggedKind::Write => None,
            LoggedKind::Create => Some((ChangeKind::Created, None)),
            LoggedKind::Delete => Some((ChangeKind::Deleted, self.atom(place.commit, base))),
        };
        if let Some((kind, atom)) = life
            && self.shows(&entry.schema.name)
        {
            let before = || self.whole(place, entry);
            out.push(Change {
                kind,
                schema: Some(entry.schema.name.clone()),
                key: Some(RecordKey::from_bytes(place.record.clone())),
                field: None,
                element: None,
                value: Value::Null,
                before: self.query.before.then(before).transpose()?,
                atom,
            });
        }
        if kind == LoggedKind::Delete {
            return Ok(());
        }
        let mut shown = Vec::with_capacity(fields.len());
        for field in fields {
            let owner = self.owner(CellPlace { schema: place.schema, field: *field })?;
            if self.shows(owner.0) {
                shown.push((*field, owner));
            }
        }
        let cells: Vec<_> = shown.iter().map(|(field, _)| *field).zip(0..).collect();
        let values = cells_at(&self.at(place.commit), place, &cells)?;
        let before = match self.query.before {
            true => cells_at(&self.before(place.commit), place, &cells)?.into_iter().map(Some),
            false => Vec::new().into_iter().map(Some),
        };
        let before = before.chain(std::iter::repeat(None));
        for (((field, (schema, name)), value), before) in shown.into_iter().zip(values).zip(before)
        {
            out.push(Change {
                kind: if value.is_null() { ChangeKind::Removed } else { ChangeKind::Set },
                schema: Some(schema.clone()),
                key: Some(RecordKey::from_bytes(place.record.clone())),
                field: Some(name.clone()),
                element: None,
                value,
                before,
                atom: self.atom(place.commit, base.saturating_add(field.0)),
            });
        }
        Ok(())
    }

    /// The Single fields that a record had before a commit, as an object; null without a record.
    fn whole(&self, place: &Place<'_>, entry: &SchemaEntry) -> Result<Value, FoldDbError> {
        let point = self.before(place.commit);
        if point.birth(place.schema, place.record)?.is_none() {
            return Ok(Value::Null);
        }
        let fields = entry.fields().filter(|(cell, field)| {
            let is_own = cell.schema == place.schema && field.mappers.is_empty();
            is_own
                && field.kind == FieldKind::Single
                && !entry.schema.is_key_field(field.name.as_str())
        });
        let (mut fields, mut names) = (fields.collect::<Vec<_>>(), Vec::new());
        fields.sort_unstable_by_key(|(cell, _)| cell.field);
        let cells = fields.iter().zip(0..).map(|((cell, field), column)| {
            names.push(field.name.to_string());
            (cell.field, column)
        });
        let cells: Vec<_> = cells.collect();
        let values = names.into_iter().zip(cells_at(&point, place, &cells)?);
        let members: BTreeMap<_, _> = values.filter(|(_, value)| !value.is_null()).collect();
        Ok(Value::Object(members))
    }

    /// The changes of elements of one field.
    fn elements(
        &self,
        place: &Place<'_>,
        field: FieldId,
        base: u32,
        elements: &[Bytes],
        out: &mut Vec<Change>,
    ) -> Result<(), FoldDbError> {
        let (schema, name) = self.owner(CellPlace { schema: place.schema, field })?;
        if !self.shows(schema) {
            return Ok(());
        }
        let address = FieldAddress { schema: place.schema, record: place.record, field };
        let (now, then) = (self.at(place.commit), self.before(place.commit));
        let birth = now.birth(place.schema, place.record)?;
        let birth_before = match self.query.before {
            true => then.birth(place.schema, place.record)?,
            false => None,
        };
        for (element, ordinal) in elements.iter().zip(base..) {
            let value = element_at(&now, address, birth, element)?;
            let before = match self.query.before {
                true => Some(element_at(&then, address, birth_before, element)?),
                false => None,
            };
            let text = decode_element(element)
                .map_err(|error| DataLayerError::key(Keyspace::Commits, element, error))?;
            out.push(Change {
                kind: if value.is_null() { ChangeKind::Removed } else { ChangeKind::Set },
                schema: Some(schema.clone()),
                key: Some(RecordKey::from_bytes(place.record.clone())),
                field: Some(name.clone()),
                element: Some(text),
                value,
                before,
                atom: self.atom(place.commit, ordinal),
            });
        }
        Ok(())
    }

    /// That a transform failed for a record, or has a result again.
    fn failure(
        &self,
        transform: TransformId,
        record: &Bytes,
        what: &LoggedFailure,
        out: &mut Vec<Change>,
    ) -> Result<(), DataLayerError> {
        let found = self.point.published.catalogue.revision(transform);
        let missing = || DataLayerError::missing(format!("the transform with number {transform}"));
        let found = found.ok_or_else(missing)?;
        if !self.shows(&found.schema) {
            return Ok(());
        }
        let (kind, value) = match what {
            LoggedFailure::Failed { error, .. } => (ChangeKind::Failed, told_failure(error)),
            LoggedFailure::Recovered => (ChangeKind::Recovered, Value::Null),
            // The record is told to be deleted.
            LoggedFailure::Gone => return Ok(()),
        };
        out.push(Change {
            kind,
            schema: Some(found.schema.clone()),
            key: Some(RecordKey::from_bytes(record.clone())),
            field: Some(found.field.clone()),
            element: None,
            value,
            before: None,
            atom: None,
        });
        Ok(())
    }

    /// The changes of the catalogue. Rows that only number things are none.
    fn catalogue(&self, logged: &[Logged], out: &mut Vec<Change>) -> Result<(), FoldDbError> {
        let keys = logged.iter().filter_map(|logged| match logged {
            Logged::Catalogue { key, row } => Some((key, row)),
            _ => None,
        });
        let mut rows = Vec::new();
        for (key, row) in keys {
            let (kind, id) = read_catalogue_key(key)?;
            rows.push((kind, id, key, row));
        }
        let numbers_one = rows.iter().any(|(kind, ..)| *kind == CatalogueKind::NextSchemaId);
        let computes = rows.iter().any(|(kind, ..)| *kind == CatalogueKind::ComputedField);
        let mut loaded = BTreeSet::new();
        for (kind, id, key, row) in rows {
            let catalogue = &self.point.published.catalogue;
            let by_id = |id| catalogue.by_id(SchemaId(id)).map(|entry| entry.schema.name.clone());
            let (kind, schema) = match kind {
                CatalogueKind::Schema => {
                    loaded.insert(id);
                    let name = by_id(id);
                    let is_new = name.is_some() || numbers_one;
                    (if is_new { ChangeKind::Loaded } else { ChangeKind::Dropped }, name)
                }
                // The state that comes or goes with a definition is no change of it.
                CatalogueKind::State if loaded.contains(&id) => continue,
                CatalogueKind::State => (ChangeKind::State, by_id(id)),
                CatalogueKind::Index => {
                    let index = catalogue.index(IndexId(id));
                    (ChangeKind::Index, index.map(|index| index.schema.clone()))
                }
                CatalogueKind::ComputedField => {
                    let transform = catalogue.revision(TransformId(id));
                    (ChangeKind::Transform, transform.map(|found| found.schema.clone()))
                }
                // It comes or goes with the row above.
                CatalogueKind::Transform if computes => continue,
                CatalogueKind::Transform => (ChangeKind::Transform, None),
                CatalogueKind::Layout
                | CatalogueKind::RetiredTransform
                | CatalogueKind::Metadata
                | CatalogueKind::NextSchemaId
                | CatalogueKind::NextFieldId
                | CatalogueKind::NextIndexId => continue,
            };
            let is_shown = match &schema {
                Some(name) => self.shows(name),
                None => self.query.unapproved && self.query.schemas.is_empty(),
            };
            if is_shown {
                let state = row.as_deref().map(read_state).transpose();
                let state =
                    state.map_err(|error| DataLayerError::row(Keyspace::Commits, key, error))?;
                out.push(Change {
                    kind,
                    schema,
                    key: None,
                    field: None,
                    element: None,
                    value: state.map_or(Value::Null, |state| Value::from(state.as_str())),
                    before: None,
                    atom: None,
                });
            }
        }
        Ok(())
    }
}

/// What went wrong, as an object; line and column are left out if there is no place.
fn told_failure(error: &Evaluation) -> Value {
    let int = |number: usize| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let mut members = BTreeMap::from([
        ("code".to_owned(), Value::from(&*error.code)),
        ("message".to_owned(), Value::from(error.message.as_str())),
    ]);
    if error.line > 0 {
        members.insert("line".to_owned(), int(error.line));
        members.insert("column".to_owned(), int(error.column));
    }
    Value::Object(members)
}

/// The kind of a row of the catalogue, and the number in its key; 0 if it has none.
fn read_catalogue_key(key: &[u8]) -> Result<(CatalogueKind, u32), DataLayerError> {
    let error = |error| DataLayerError::key(Keyspace::Catalogue, key, error);
    let mut reader = KeyReader::new(key);
    reader.id().map_err(error)?;
    let number = reader.id().map_err(error)?;
    let unknown = || DataLayerError::missing(format!("the kind {number} of catalogue rows"));
    let kind = CatalogueKind::from_number(number).ok_or_else(unknown)?;
    let id = match kind {
        CatalogueKind::Schema
        | CatalogueKind::State
        | CatalogueKind::Index
        | CatalogueKind::ComputedField
        | CatalogueKind::RetiredTransform => reader.id().map_err(error)?,
        _ => 0,
    };
    Ok((kind, id))
}

/// The values of cells of a record, in the order of `cells`, null without one.
fn cells_at(
    point: &ReadPoint,
    place: &Place<'_>,
    cells: &[(FieldId, usize)],
) -> Result<Vec<Value>, DataLayerError> {
    let mut values = vec![Value::Null; cells.len()];
    if cells.is_empty() {
        return Ok(values);
    }
    point.record(place.schema, place.record, |found| match found {
        Some(found) => found.project(cells, &mut values),
        None => Ok(()),
    })?;
    Ok(values)
}

/// The value of an element in the life that its record has; null without one.
fn element_at(
    point: &ReadPoint,
    address: FieldAddress<'_>,
    birth: Option<CommitNumber>,
    element: &[u8],
) -> Result<Value, DataLayerError> {
    let Some(birth) = birth else { return Ok(Value::Null) };
    let raw = ElementScan { point, address, birth }.get(element)?;
    raw.map_or(Ok(Value::Null), |raw| decode_cell(&raw))
}
