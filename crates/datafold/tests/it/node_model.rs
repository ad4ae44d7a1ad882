//! What a space must answer, computed from plain maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use datafold::data_layer::{AtomId, AtomStatus};
use datafold::engine::{
    Condition, KeyCondition, Mutation, MutationKind, MutationRequest, PutCondition,
};
use datafold::model::{FieldKind, Schema, SchemaState, Timestamp, Value};

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

/// A field, and for a Collection or Range one of its elements.
pub(crate) type CellId = (String, Option<String>);

/// The cells and elements of a live record that have a value.
pub(crate) type Cells = BTreeMap<CellId, Value>;

/// One atom; `field` is none for the deletion of the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelAtom {
    pub(crate) commit: u64,
    pub(crate) field: Option<String>,
    pub(crate) element: Option<String>,
    pub(crate) value: Value,
    pub(crate) status: AtomStatus,
    /// What the node answered when the atom was first seen.
    pub(crate) id: Option<AtomId>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RecordModel {
    /// Each commit that changed the record, and what it was from then on.
    pub(crate) past: Vec<(u64, Option<Cells>)>,
    /// The commits that began or ended a life of the record.
    pub(crate) lives: Vec<u64>,
    /// By commit; within a commit by field, then element.
    pub(crate) atoms: Vec<ModelAtom>,
    /// The last commit that began or ended a life of the record or wrote one of its Single fields.
    touched: u64,
}

impl RecordModel {
    pub(crate) fn at(&self, commit: u64) -> Option<&Cells> {
        self.past.iter().rev().find(|(since, _)| *since <= commit)?.1.as_ref()
    }

    pub(crate) fn now(&self) -> Option<&Cells> {
        self.at(u64::MAX)
    }

    /// The elements of a field that fit, in order.
    pub(crate) fn elements(
        &self,
        field: &str,
        at: u64,
        mut fits: impl FnMut(&str, &Value) -> bool,
    ) -> Vec<(String, Value)> {
        let cells = self.at(at).into_iter().flatten();
        let elements = cells.filter_map(|((name, element), value)| {
            let element = element.as_ref().filter(|_| name == field)?;
            fits(element, value).then(|| (element.clone(), value.clone()))
        });
        elements.collect()
    }

    /// The last commit that wrote an element, if it is there.
    fn changed_element(&self, field: &str, element: &str) -> Option<u64> {
        let id = (field.to_owned(), Some(element.to_owned()));
        self.now()?.get(&id)?;
        let mut atoms = self.atoms.iter().rev();
        let is_it =
            |atom: &&ModelAtom| (atom.field.as_ref(), &atom.element) == (Some(&id.0), &id.1);
        atoms.find(is_it).map(|atom| atom.commit)
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

    pub(crate) fn live_elements(&self) -> u64 {
        let cells = self.records.values().filter_map(RecordModel::now).flat_map(BTreeMap::keys);
        cells.filter(|(_, element)| element.is_some()).count() as u64
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
                None if field.kind == FieldKind::Single => {
                    cells.get(&(field.name.to_string(), None)).cloned().unwrap_or_default()
                }
                None => {
                    let of_field =
                        cells.iter().filter(|((name, _), _)| field.name.as_str() == name);
                    let element = |((_, element), value): (&CellId, &Value)| {
                        (element.clone().unwrap(), value.clone())
                    };
                    of_field.map(element).collect()
                }
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

    /// The code with which the request would be refused now.
    pub(crate) fn refusal(&self, request: &MutationRequest) -> Option<&'static str> {
        self.run(request).err()
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
            if let Some(place) = &condition.element {
                let changed =
                    record.and_then(|record| record.changed_element(&place.field, &place.element));
                let holds = match condition.condition {
                    Condition::Exists => changed.is_some(),
                    Condition::Absent => changed.is_none(),
                    Condition::UnchangedSince(since) => changed.is_some_and(|at| at <= since.0),
                };
                if !holds {
                    return Err("precondition_failed");
                }
                continue;
            }
            let exists = record.is_some_and(|record| record.now().is_some());
            let keyed = model.schema.is_keyed();
            let changed = record.map(|record| record.touched);
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
            Mutation::Put { key, field, elements, condition, .. } => {
                let draft = self.draft(at, Key(key.clone()), drafts);
                need_record(schema, draft)?;
                if draft.cells.is_none() && elements.values().any(|value| !value.is_null()) {
                    write(schema, MutationKind::Upsert, &BTreeMap::new(), draft)?;
                }
                for (element, value) in elements {
                    draft.put(field, element, value.clone(), *condition)?;
                }
            }
            Mutation::Remove { key, field, elements, .. } => {
                let draft = self.draft(at, Key(key.clone()), drafts);
                need_record(schema, draft)?;
                for element in elements {
                    draft.put(field, element, Value::Null, Some(PutCondition::Exists))?;
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
            let mut new: Vec<(Option<CellId>, Value)> = Vec::new();
            let is_new_life = match (&before, &draft.cells) {
                (Some(_), None) => {
                    new.push((None, Value::Null));
                    true
                }
                (None, None) => continue,
                (Some(before), Some(_)) if !draft.ended => {
                    let is_trace = |(id, value): &(&CellId, &Value)| {
                        !value.is_null() || before.contains_key(*id)
                    };
                    new.extend(in_order(&fields, draft.written.iter().filter(is_trace)));
                    if new.is_empty() {
                        continue;
                    }
                    false
                }
                (_, Some(cells)) => {
                    new.extend(in_order(&fields, cells.iter()));
                    true
                }
            };
            written = true;
            atoms += u32::try_from(new.len()).unwrap();
            record.past.push((commit, draft.cells));
            let is_cell = |(id, _): &(Option<CellId>, Value)| {
                id.as_ref().is_some_and(|(_, element)| element.is_none())
            };
            if is_new_life {
                record.lives.push(commit);
            }
            if is_new_life || new.iter().any(is_cell) {
                record.touched = commit;
            }
            for (id, value) in new {
                let status = if value.is_null() { AtomStatus::Deleted } else { AtomStatus::Active };
                let (field, element) =
                    id.map_or((None, None), |(field, element)| (Some(field), element));
                record.atoms.push(ModelAtom { commit, field, element, value, status, id: None });
            }
        }
        if written { Expected::Atoms(atoms) } else { Expected::Nothing }
    }

    /// The atoms of one record, of one of its fields, or of one element, the newest first.
    pub(crate) fn history(
        &self,
        at: usize,
        key: &Key,
        field: Option<&str>,
        element: Option<&str>,
    ) -> Vec<&ModelAtom> {
        let Some(record) = self.schemas[at].records.get(key) else { return Vec::new() };
        let wanted = |atom: &&ModelAtom| {
            let is_field = atom.field.as_deref() == field;
            let is_element = element.is_none() || atom.element.as_deref() == element;
            field.is_none() || atom.field.is_none() || (is_field && is_element)
        };
        let mut atoms: Vec<_> = record.atoms.iter().filter(wanted).collect();
        // Newest commit first, fields in their order.
        atoms.sort_by_key(|atom| std::cmp::Reverse(atom.commit));
        atoms
    }

    /// The atom before another one: of a cell or element its own or the record's deletion, of a
    /// deletion the deletion before.
    pub(crate) fn previous<'m>(
        &'m self,
        at: usize,
        key: &Key,
        atom: &ModelAtom,
    ) -> Option<&'m ModelAtom> {
        let atoms = &self.schemas[at].records[key].atoms;
        atoms.iter().rev().find(|other| {
            let is_same = other.field == atom.field && other.element == atom.element;
            other.commit < atom.commit && (other.field.is_none() || is_same)
        })
    }
}

/// Cells by the order of their fields, then by element.
fn in_order<'c>(
    fields: &[String],
    cells: impl Iterator<Item = (&'c CellId, &'c Value)>,
) -> Vec<(Option<CellId>, Value)> {
    let place = |(id, _): &(&CellId, &Value)| fields.iter().position(|field| *field == id.0);
    let mut cells: Vec<_> = cells.collect();
    cells.sort_by_key(place);
    cells.into_iter().map(|(id, value)| (Some(id.clone()), value.clone())).collect()
}

impl Draft {
    fn put(
        &mut self,
        field: &str,
        element: &str,
        value: Value,
        condition: Option<PutCondition>,
    ) -> Result<(), &'static str> {
        let id = (field.to_owned(), Some(element.to_owned()));
        let exists = self.cells.as_ref().is_some_and(|cells| cells.contains_key(&id));
        match condition {
            Some(PutCondition::Absent) if exists => return Err("element_exists"),
            Some(PutCondition::Exists) if !exists => return Err("element_not_found"),
            _ => {}
        }
        self.set(id, value);
        Ok(())
    }

    fn set(&mut self, id: CellId, value: Value) {
        let Some(cells) = &mut self.cells else { return };
        if value.is_null() {
            cells.remove(&id);
        } else {
            cells.insert(id.clone(), value.clone());
        }
        self.written.insert(id, value);
    }
}

fn need_record(schema: &Schema, draft: &Draft) -> Result<(), &'static str> {
    if draft.cells.is_some() || !schema.is_keyed() { Ok(()) } else { Err("record_not_found") }
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
    draft.cells.get_or_insert_default();
    for field in schema.fields.iter().filter(|field| !schema.is_key_field(field.name.as_str())) {
        let name = field.name.as_str();
        let given = record.get(name).cloned();
        if field.kind == FieldKind::Single {
            let value = match (&field.default, is_new) {
                (Some(default), true) if given.as_ref().is_none_or(Value::is_null) => {
                    Some(default.clone())
                }
                _ => given,
            };
            if let Some(value) = value {
                draft.set((name.to_owned(), None), value);
            }
            continue;
        }
        let elements: Vec<(String, Value)> = match given {
            None => continue,
            Some(Value::Null) => {
                let mut ids = draft.cells.iter().flat_map(BTreeMap::keys);
                if ids.any(|(field, _)| field == name) {
                    return Err("elements_not_empty");
                }
                continue;
            }
            Some(Value::Array(values)) => {
                values.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            Some(Value::Object(elements)) => elements.into_iter().collect(),
            Some(other) => panic!("{other:?} is no set of elements"),
        };
        for (element, value) in elements {
            draft.set((name.to_owned(), Some(element)), value);
        }
    }
    Ok(())
}
