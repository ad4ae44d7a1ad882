//! Writers whose every commit follows from a seed: how far they got tells what they have done.
//!
//! Each writer has records of its own, so that its part of the space depends on nothing but the
//! number of its commits; and every commit of every writer touches one shared record, where it
//! notes its number. Some also count in a shared field that they read before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use datafold::data_layer::{CommitNumber, DataLayerError, Durability};
use datafold::engine::{FoldDbError, Mutation};
use datafold::model::{FieldName, SchemaState, Value};
use datafold::{FoldDb, MutationRequest};
use datafold_testkit::Random;

use crate::harness::{approve, name};

pub(crate) const WRITERS: i64 = 4;

/// The records that each writer creates, changes and deletes.
const ITEMS: usize = 10;

pub(crate) const SCHEMAS: [&str; 3] = [
    r#"{"name": "Item", "key": ["writer", "id"], "fields": {
        "writer": {"value": {"type": "integer"}}, "id": {"value": {"type": "integer"}},
        "n": {"value": {"type": "integer"}}, "text": {},
        "tags": {"field_type": "Collection"}, "places": {"field_type": "Range"}}}"#,
    r#"{"name": "Entry", "key": ["writer", "n"], "fields": {
        "writer": {"value": {"type": "integer"}}, "n": {"value": {"type": "integer"}},
        "text": {"value": {"type": "string"}}}}"#,
    r#"{"name": "Board", "fields": {
        "total": {"value": {"type": "integer"}}, "progress": {"field_type": "Range"}}}"#,
];

/// The schema that is approved last.
pub(crate) const LAST_SCHEMA: &str = "Board";

/// The fields of a record that have a value, without the key.
pub(crate) type Item = BTreeMap<String, Value>;

/// The records of one writer.
pub(crate) type Items = BTreeMap<i64, Arc<Item>>;

/// How a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Waits until it is durable.
    Durable,
    /// Goes on at once; the next commit of another way acknowledges this one too.
    Buffered,
    /// A transaction that reads the shared count and writes one more.
    Counting,
}

/// One commit of a writer, and what it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) way: Way,
    /// The text of the record that is created for this commit, if it makes one.
    pub(crate) entry: Option<String>,
    pub(crate) items: Items,
}

/// How a load is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) writers: i64,
    /// The last commit of each writer; endless without it.
    pub(crate) last: Option<u64>,
    /// Every commit waits.
    pub(crate) is_durable: bool,
    /// The planted fault: commits are acknowledged when they are queued.
    pub(crate) acknowledges_early: bool,
}

/// The board's element in which a writer notes its commits.
pub(crate) fn progress_of(writer: i64) -> String {
    format!("w{writer}")
}

/// Commit `n` of a writer, from 1 on, which has left `items` so far.
pub(crate) fn step(seed: u64, writer: i64, n: u64, items: &Items) -> Step {
    let mut random = Random::part(seed ^ (writer.unsigned_abs() << 48), n);
    let way = match random.below(8) {
        0 | 1 => Way::Counting,
        2..5 => Way::Buffered,
        _ => Way::Durable,
    };
    let mut items = items.clone();
    let mut mutations = Vec::new();
    for _ in 0..1 + random.below(3) {
        mutations.push(item_mutation(&mut random, writer, n, &mut items));
    }
    let entry = random.one_in(3).then(|| text(&mut random));
    if let Some(text) = &entry {
        let record = [("writer", writer.into()), ("n", int(n)), ("text", text.as_str().into())];
        mutations.push(Mutation::create(name("Entry"), vec![record_of(record)]));
    }
    let progress = [(progress_of(writer), int(n))].into();
    mutations.push(Mutation::put(name("Board"), vec![], "progress", progress));
    Step { mutations, way, entry, items }
}

/// Changes one record of a writer, in `items` too.
fn item_mutation(random: &mut Random, writer: i64, n: u64, items: &mut Items) -> Mutation {
    let id = i64::try_from(random.below(ITEMS)).unwrap();
    let key = vec![Value::Int(writer), Value::Int(id)];
    let field = ["tags", "places"][random.below(2)];
    let mut item = items.get(&id).map(|item| Item::clone(item)).unwrap_or_default();
    let mut fields = record_of([("writer", writer.into()), ("id", id.into()), ("n", int(n))]);
    item.insert("n".into(), int(n));
    match random.below(3) {
        0 => {}
        1 => drop(fields.insert("text".into(), text(random).into())),
        _ => drop(fields.insert("text".into(), Value::Null)),
    }
    let mutation = match (items.contains_key(&id), random.below(6)) {
        (true, 0) => {
            items.remove(&id);
            return Mutation::delete(name("Item"), vec![key]);
        }
        (true, 1 | 2) => {
            let Value::Object(mut elements) = item.remove(field).unwrap_or_else(no_elements) else {
                panic!("{field} has elements")
            };
            let first = elements.keys().next().cloned();
            let mutation = match first {
                Some(first) if random.one_in(2) => {
                    elements.remove(&first);
                    Mutation::remove(name("Item"), key, field, vec![first])
                }
                _ => {
                    let new = self::elements(random, n);
                    elements.extend(new.clone());
                    Mutation::put(name("Item"), key, field, new)
                }
            };
            item.insert(field.into(), Value::Object(elements));
            // Elements alone leave the cells as they are.
            item.insert("n".into(), items[&id]["n"].clone());
            items.insert(id, Arc::new(item));
            return mutation;
        }
        (true, 3 | 4) => Mutation::update(name("Item"), vec![fields.clone()]),
        (true, _) => Mutation::upsert(name("Item"), vec![fields.clone()]),
        (false, at) => {
            if random.one_in(2) {
                fields.insert(field.into(), Value::Object(elements(random, n)));
            }
            let make = if at < 3 { Mutation::create } else { Mutation::upsert };
            make(name("Item"), vec![fields.clone()])
        }
    };
    item.extend(fields.into_iter().filter(|(name, _)| name != "writer" && name != "id"));
    items.insert(id, Arc::new(item));
    mutation
}

fn no_elements() -> Value {
    Value::Object(BTreeMap::new())
}

fn elements(random: &mut Random, n: u64) -> BTreeMap<String, Value> {
    (0..1 + random.below(3)).map(|_| (format!("e{}", random.below(6)), int(n))).collect()
}

/// Short ones mostly, and some that a small commit log has hardly room for.
fn text(random: &mut Random) -> String {
    let len = match random.below(40) {
        0 => 20_000,
        1..4 => 3_000,
        _ => random.below(200),
    };
    let mut text = format!("{:016x}", random.next_u64()).repeat(len / 16 + 1);
    text.truncate(len);
    text
}

fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap())
}

fn record_of<const N: usize>(fields: [(&str, Value); N]) -> Item {
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Loads and approves the schemas, as far as that is not done.
pub(crate) fn set_up(db: &FoldDb) {
    for schema in SCHEMAS {
        if !is_approved(db, &datafold::model::Schema::parse(schema).unwrap().schema.name) {
            approve(db, schema);
        }
    }
}

fn is_approved(db: &FoldDb, name: &datafold::model::SchemaName) -> bool {
    let status = db.schemas().get_status();
    status.iter().any(|found| found.name == *name && found.state == SchemaState::Approved)
}

/// Whether a space is ready for the writers.
pub(crate) fn is_set_up(db: &FoldDb) -> bool {
    is_approved(db, &name(LAST_SCHEMA))
}

/// Told of each commit that a writer has been answered: writer, number of the writer, commit.
pub(crate) type Acknowledge<'a> = &'a (dyn Fn(i64, u64, CommitNumber) + Sync);

/// A writer that could not go on: writer, its commit, why.
pub(crate) type Stopped = (i64, u64, FoldDbError);

/// Runs all writers at the same time, each from where it stands in `begin`.
pub(crate) fn run(
    db: &FoldDb,
    run: &Run,
    begin: &[(u64, Items)],
    acknowledge: Acknowledge<'_>,
) -> Vec<Stopped> {
    let writers = (0..run.writers).zip(begin);
    if run.writers == 1 {
        // On this thread, so that its system calls come one after the other.
        return writers.filter_map(|(w, begin)| write(db, run, w, begin, acknowledge)).collect();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = writers
            .map(|(writer, begin)| scope.spawn(move || write(db, run, writer, begin, acknowledge)))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    })
}

fn write(
    db: &FoldDb,
    run: &Run,
    writer: i64,
    (done, items): &(u64, Items),
    acknowledge: Acknowledge<'_>,
) -> Option<Stopped> {
    let mut items = items.clone();
    for n in done + 1..=run.last.unwrap_or(u64::MAX) {
        let mut step = step(run.seed, writer, n, &items);
        match step.way {
            Way::Buffered if run.is_durable || run.last == Some(n) => step.way = Way::Durable,
            Way::Durable if run.acknowledges_early => step.way = Way::Buffered,
            _ => {}
        }
        match perform(db, &step) {
            Ok(commit) if step.way != Way::Buffered || run.acknowledges_early => {
                acknowledge(writer, n, commit);
            }
            Ok(_) => {}
            Err(error) => return Some((writer, n, error)),
        }
        items = step.items;
    }
    None
}

fn perform(db: &FoldDb, step: &Step) -> Result<CommitNumber, FoldDbError> {
    let request =
        || MutationRequest { mutations: step.mutations.clone(), ..MutationRequest::default() };
    let receipt = match step.way {
        Way::Durable => db.mutate(&request())?,
        Way::Buffered => db.mutate_with(&request(), Durability::Buffered)?,
        Way::Counting => {
            // A transaction reads what is durable; it is to see the writer's commits so far.
            db.pool().flush().map_err(DataLayerError::from)?;
            let (board, total) = (name("Board"), FieldName::parse("total").unwrap());
            let ((), receipt) = db.transact(|transaction| {
                let count = match transaction.value(&board, &[], &total)? {
                    Some(Value::Int(count)) => count,
                    _ => 0,
                };
                let more = record_of([("total", Value::Int(count + 1))]);
                transaction.mutate(Mutation::upsert(board.clone(), vec![more]))?;
                step.mutations.iter().try_for_each(|mutation| transaction.mutate(mutation.clone()))
            })?;
            receipt
        }
    };
    Ok(receipt.commit)
}
