//! What a space must answer, computed from plain maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use datafold::data_layer::{AtomId, AtomStatus};
use datafold::engine::{Condition, KeyCondition, Mutation, MutationKind, MutationRequest};
use datafold::model::{Schema, SchemaState, Timestamp, Value};

/// The parts of a key, in the order of values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key(pub(crate) Vec<Value>);

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        Value::Array(self.0.clone()).cmp_values(&Value::Array(other.0.clone()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The cells of a live record that have a value.
pub(crate) type Cells = BTreeMap<String, Value>;

/// One atom; `field` is none for the deletion of the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelAtom {
    pub(crate) commit: u64,
    pub(crate) field: Option<String>,
    pub(crate) value: Value,
    pub(crate) status: AtomStatus,
    /// What the node answered when the atom was first seen.
    pub(crate) id: Option<AtomId>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RecordModel {
    /// Each commit that changed the record, and what it was from then on.
    pub(crate) past: Vec<(u64, Option<Cells>)>,
    /// In the order in which they were written; within a commit by field.
    pub(crate) atoms: Vec<ModelAtom>,
}

impl RecordModel {
    pub(crate) fn at(&self, commit: u64) -> Option<&Cells> {
        self.past.iter().rev().find(|(since, _)| *since <= commit)?.1.as_ref()
    }

    pub(crate) fn now(&self) -> Option<&Cells> {
        self.at(u64::MAX)
    }

    fn changed(&self) -> Option<u64> {
        self.past.last().map(|(commit, _)| *commit)
    }
}

#[derive(Debug)]
pub(crate) struct SchemaModel {
    pub(crate) schema: Schema,
    pub(crate) state: SchemaState,
    pub(crate) loaded: u64,
    pub(crate) records: BTreeMap<Key, RecordModel>,
}

impl SchemaModel {
    pub(crate) fn live_records(&self) -> u64 {
        self.records.values().filter(|record| record.now().is_some()).count() as u64
    }

    pub(crate) fn atoms(&self) -> u64 {
        self.records.values().map(|record| record.atoms.len() as u64).sum()
    }

    /// The values of a record in the order of the fields.
    fn row(&self, key: &Key, cells: &Cells) -> Vec<Value> {
        let value = |field: &datafold::model::Field| {
            let part = self.schema.key.iter().position(|part| *part == field.name);
            match part {
                Some(part) => key.0[part].clone(),
                None => cells.get(field.name.as_str()).cloned().unwrap_or_default(),
            }
        };
        self.schema.fields.iter().map(value).collect()
    }

    /// All records that a query answers as of a commit, in order.
    pub(crate) fn query(&self, condition: &KeyCondition, at: u64) -> Vec<(Key, Vec<Value>)> {
        if !self.schema.is_keyed() {
            let key = Key(Vec::new());
            let empty = Cells::new();
            let found = self.records.get(&key).and_then(|record| record.at(at));
            let row = self.row(&key, found.unwrap_or(&empty));
            return vec![(key, row)];
        }
        let fits = |key: &Key| {
            let below = |bound: &Vec<Value>| *key < Key(bound.clone());
            match condition {
                KeyCondition::All => true,
                KeyCondition::Exact(parts) => key.0 == *parts,
                KeyCondition::Prefix(parts) => key.0.starts_with(parts),
                KeyCondition::Range { from, to } => {
                    !from.as_ref().is_some_and(below) && to.as_ref().is_none_or(below)
                }
            }
        };
        let live = self.records.iter().filter(|(key, _)| fits(key));
        live.filter_map(|(key, record)| Some((key.clone(), self.row(key, record.at(at)?))))
            .collect()
    }
}

/// A record while a transaction works on it.
#[derive(Debug, Clone)]
struct Draft {
    cells: Option<Cells>,
    /// What the present life was given, null for what was taken away.
    written: Cells,
    /// The life that was found has ended.
    ended: bool,
}

/// What a request must be answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Expected {
    /// Nothing is written, so there is no commit.
    Nothing,
    /// A commit with this many atoms.
    Atoms(u32),
    /// A refusal with this code; nothing changes.
    Code(&'static str),
}

/// A space.
#[derive(Debug, Default)]
pub(crate) struct NodeModel {
    pub(crate) schemas: Vec<SchemaModel>,
    /// The time of each commit; commit 1 stands first.
    pub(crate) times: Vec<Timestamp>,
}

impl NodeModel {
    pub(crate) fn head(&self) -> u64 {
        self.times.len() as u64
    }

    /// The last commit with a time at or before this one.
    pub(crate) fn commit_at(&self, time: Timestamp) -> u64 {
        self.times.partition_point(|found| *found <= time) as u64
    }

    pub(crate) fn schema(&self, name: &str) -> usize {
        self.schemas.iter().position(|found| found.schema.name == *name).unwrap()
    }

    /// Carries out a request whose static rules hold; commits what it wrote.
    pub(crate) fn mutate(&mut self, request: &MutationRequest) -> Expected {
        match self.run(request) {
            Err(code) => Expected::Code(code),
            Ok(drafts) => self.commit(drafts),
        }
    }

    fn run(&self, request: &MutationRequest) -> Result<Drafts, &'static str> {
        let conditions = request.preconditions.iter().map(|condition| &condition.schema);
        let schemas = request.mutations.iter().map(Mutation::schema).chain(conditions);
        for name in schemas {
            if self.schemas[self.schema(name.as_str())].state != SchemaState::Approved {
                return Err("schema_not_approved");
            }
        }
        for condition in &request.preconditions {
            let model = &self.schemas[self.schema(condition.schema.as_str())];
            let record = model.records.get(&Key(condition.key.clone()));
            let exists = record.is_some_and(|record| record.now().is_some());
            let keyed = model.schema.is_keyed();
            let changed = record.and_then(RecordModel::changed);
            let holds = match condition.condition {
                Condition::Exists => exists || !keyed,
                Condition::Absent => !exists && keyed,
                Condition::UnchangedSince(since) => {
                    (exists || !keyed) && changed.unwrap_or(0) <= since.0
                }
            };
            if !holds {
                return Err("precondition_failed");
            }
        }
        let mut drafts = Drafts::new();
        for mutation in &request.mutations {
            self.step(mutation, &mut drafts)?;
        }
        Ok(drafts)
    }

    fn draft<'d>(&self, at: usize, key: Key, drafts: &'d mut Drafts) -> &'d mut Draft {
        let found = self.schemas[at].records.get(&key).and_then(RecordModel::now).cloned();
        let draft = Draft { cells: found, written: Cells::new(), ended: false };
        drafts.entry((at, key)).or_insert(draft)
    }

    fn step(&self, mutation: &Mutation, drafts: &mut Drafts) -> Result<(), &'static str> {
        let at = self.schema(mutation.schema().as_str());
        let schema = &self.schemas[at].schema;
        match mutation {
            Mutation::Delete { keys, .. } => {
                for key in keys {
                    let draft = self.draft(at, Key(key.clone()), drafts);
                    match draft.cells.take() {
                        Some(_) => {
                            *draft = Draft { cells: None, written: Cells::new(), ended: true }
                        }
                        None if schema.is_keyed() => return Err("record_not_found"),
                        None => {}
                    }
                }
            }
            Mutation::Write { kind, records, .. } => {
                for record in records {
                    let key = schema.key.iter().map(|part| record[part.as_str()].clone()).collect();
                    let draft = self.draft(at, Key(key), drafts);
                    write(schema, *kind, record, draft)?;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, drafts: Drafts) -> Expected {
        let commit = self.head() + 1;
        let (mut atoms, mut written) = (0, false);
        for ((at, key), draft) in drafts {
            let model = &mut self.schemas[at];
            let fields: Vec<_> =
                model.schema.fields.iter().map(|field| field.name.to_string()).collect();
            let record = model.records.entry(key).or_default();
            let before = record.now().cloned();
            let mut new: Vec<(Option<String>, Value)> = Vec::new();
            match (&before, &draft.cells) {
                (Some(_), None) => new.push((None, Value::Null)),
                (None, None) => continue,
                (Some(before), Some(_)) if !draft.ended => {
                    for field in fields {
                        if let Some(value) = draft.written.get(&field)
                            && (!value.is_null() || before.contains_key(&field))
                        {
                            new.push((Some(field), value.clone()));
                        }
                    }
                    if new.is_empty() {
                        continue;
                    }
                }
                (_, Some(cells)) => {
                    for field in fields {
                        if let Some(value) = cells.get(&field) {
                            new.push((Some(field), value.clone()));
                        }
                    }
                }
            }
            written = true;
            atoms += u32::try_from(new.len()).unwrap();
            record.past.push((commit, draft.cells));
            for (field, value) in new {
                let status = if value.is_null() { AtomStatus::Deleted } else { AtomStatus::Active };
                record.atoms.push(ModelAtom { commit, field, value, status, id: None });
            }
        }
        if written { Expected::Atoms(atoms) } else { Expected::Nothing }
    }

    /// The atoms of one record, or of one of its fields, the newest first.
    pub(crate) fn history(&self, at: usize, key: &Key, field: Option<&str>) -> Vec<&ModelAtom> {
        let Some(record) = self.schemas[at].records.get(key) else { return Vec::new() };
        let wanted = |atom: &&ModelAtom| {
            field.is_none() || atom.field.is_none() || atom.field.as_deref() == field
        };
        let mut atoms: Vec<_> = record.atoms.iter().filter(wanted).collect();
        // Newest commit first, fields in their order.
        atoms.sort_by_key(|atom| std::cmp::Reverse(atom.commit));
        atoms
    }

    /// The atom before another one: of a cell its own or the record's deletion, of a deletion the
    /// deletion before.
    pub(crate) fn previous<'m>(
        &'m self,
        at: usize,
        key: &Key,
        atom: &ModelAtom,
    ) -> Option<&'m ModelAtom> {
        let atoms = &self.schemas[at].records[key].atoms;
        atoms.iter().rev().find(|other| {
            other.commit < atom.commit && (other.field.is_none() || other.field == atom.field)
        })
    }
}

type Drafts = BTreeMap<(usize, Key), Draft>;

fn write(
    schema: &Schema,
    kind: MutationKind,
    record: &BTreeMap<String, Value>,
    draft: &mut Draft,
) -> Result<(), &'static str> {
    match (kind, schema.is_keyed(), draft.cells.is_some()) {
        (MutationKind::Create, true, true) => return Err("record_exists"),
        (MutationKind::Update, true, false) => return Err("record_not_found"),
        _ => {}
    }
    let is_new = draft.cells.is_none();
    let cells = draft.cells.get_or_insert_default();
    for field in &schema.fields {
        let name = field.name.as_str();
        if schema.is_key_field(name) {
            continue;
        }
        let given = record.get(name).cloned();
        let value = match (&field.default, is_new) {
            (Some(default), true) if given.as_ref().is_none_or(Value::is_null) => {
                Some(default.clone())
            }
            _ => given,
        };
        let Some(value) = value else { continue };
        if value.is_null() {
            cells.remove(name);
        } else {
            cells.insert(name.to_owned(), value.clone());
        }
        draft.written.insert(name.to_owned(), value);
    }
    Ok(())
}
