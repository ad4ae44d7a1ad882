//! What a space must hold behind an abrupt end, row by row, now and in the past.

use std::collections::BTreeMap;

use datafold::FoldDb;
use datafold::QueryRequest;
use datafold::engine::Record;
use datafold::model::{FieldName, Value};
use datafold_testkit::Random;

use super::load::{self, Items, Run, Step, WRITERS, Way, is_set_up, progress_of, set_up};
use crate::harness::{describe, memory, name};

/// A commit that a process was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) writer: i64,
    /// The number among the commits of the writer.
    pub(crate) n: u64,
    pub(crate) commit: u64,
}

/// All rows by their names; without what is null or has no elements.
type Rows = BTreeMap<String, Value>;

/// What the writers of a seed may have written.
pub(crate) struct Expected {
    seed: u64,
    /// The commits before the first one of a writer.
    set_up: u64,
    /// The steps of each writer, and how many of them were there when it was looked at last.
    writers: Vec<(Vec<Step>, u64)>,
}

/// What one comparison has looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compared {
    pub(crate) commits: u64,
    pub(crate) rows: u64,
    /// Commits that are there and that nobody was told of.
    pub(crate) unacknowledged: u64,
}

impl Expected {
    pub(crate) fn new(seed: u64) -> Self {
        let db = memory();
        set_up(&db);
        let writers = (0..WRITERS).map(|_| (Vec::new(), 0)).collect();
        Self { seed, set_up: head(&db), writers }
    }

    /// Commit `n` of a writer, from 1 on.
    fn step(&mut self, writer: i64, n: u64) -> &Step {
        let (steps, _) = &mut self.writers[usize::try_from(writer).unwrap()];
        while (steps.len() as u64) < n {
            let none = Items::new();
            let items = steps.last().map_or(&none, |step| &step.items);
            let next = load::step(self.seed, writer, steps.len() as u64 + 1, items);
            steps.push(next);
        }
        &steps[usize::try_from(n - 1).unwrap()]
    }

    /// Takes the writers to stand where the space says; for a process that goes on with it.
    pub(crate) fn resume(&mut self, db: &FoldDb) -> Result<(), datafold::FoldDbError> {
        for (writer, (_, seen)) in (0..).zip(&mut self.writers) {
            let element = db.element(&name("Board"), &[], "progress", &progress_of(writer))?;
            if let Some(Value::Int(n)) = element {
                *seen = n.unsigned_abs();
            }
        }
        Ok(())
    }

    /// Where the writers stand, as it was found last.
    pub(crate) fn begin(&mut self) -> Vec<(u64, Items)> {
        let seen: Vec<_> = self.writers.iter().map(|(_, seen)| *seen).collect();
        let each = (0..).zip(seen);
        each.map(|(writer, n)| match n {
            0 => (0, Items::new()),
            n => (n, self.step(writer, n).items.clone()),
        })
        .collect()
    }

    /// Compares a space with what was acknowledged since the last comparison, and with what was
    /// found by that one.
    pub(crate) fn compare(
        &mut self,
        db: &FoldDb,
        acknowledged: &[Acknowledged],
        random: &mut Random,
    ) -> Result<Compared, String> {
        let head = head(db);
        let report = db.verify().map_err(|error| describe(&error))?;
        if !report.is_sound() {
            return Err(format!("{:#?}", report.problems));
        }
        if report.commits != head {
            return Err(format!("{} commits, the last one is {head}", report.commits));
        }
        let acknowledged_before: u64 = self.writers.iter().map(|(_, seen)| *seen).sum();
        if !is_set_up(db) {
            let is_new = acknowledged.is_empty() && acknowledged_before == 0;
            let no_schemas = || format!("the schemas of {acknowledged:?} are gone");
            return if is_new { Ok(Compared::default()) } else { Err(no_schemas()) };
        }
        let order = self.order(db, head)?;
        for ack in acknowledged {
            let found = order.get(&ack.commit);
            if found != Some(&(ack.writer, ack.n)) {
                return Err(format!("{ack:?}, and the commit is of {found:?}"));
            }
        }
        self.check_progress(&order, acknowledged)?;
        let rows = self.compare_rows(db, &order, head)?;
        for _ in 0..2 {
            let since = usize::try_from(head - self.set_up).unwrap();
            let commit = self.set_up + random.below(since + 1) as u64;
            self.compare_rows(db, &order, commit)?;
        }
        let all = head - self.set_up - acknowledged_before;
        // The buffered commits before one that was acknowledged are acknowledged with it.
        let last = acknowledged.iter().map(|ack| ack.commit).max().unwrap_or(self.set_up);
        let unacknowledged = all.min(head.saturating_sub(last));
        Ok(Compared { commits: all, rows, unacknowledged })
    }

    /// Whose each commit is, from the history of what the writers have noted. Each commit behind
    /// the first ones must be of exactly one writer, and each writer's come one after the other.
    fn order(&self, db: &FoldDb, head: u64) -> Result<BTreeMap<u64, (i64, u64)>, String> {
        let field = FieldName::parse("progress").unwrap();
        let mut order = BTreeMap::new();
        for writer in 0..WRITERS {
            let element = progress_of(writer);
            let noted = db
                .element_history(&name("Board"), &[], &field, &element, None, usize::MAX)
                .map_err(|error| describe(&error))?;
            for (n, atom) in (1..).zip(noted.iter().rev()) {
                if atom.value != Value::Int(n) {
                    return Err(format!("writer {writer} has noted {:?} as {n}", atom.value));
                }
                if order.insert(atom.commit.0, (writer, n.unsigned_abs())).is_some() {
                    return Err(format!("commit {} is of two writers", atom.commit));
                }
            }
        }
        let expected = self.set_up + 1..=head;
        if !order.keys().copied().eq(expected.clone()) {
            let missing = expected.clone().find(|commit| !order.contains_key(commit));
            return Err(format!("commit {missing:?} of {expected:?} is of no writer"));
        }
        Ok(order)
    }

    /// No writer is behind what was acknowledged, or ahead of what it can have asked for.
    fn check_progress(
        &mut self,
        order: &BTreeMap<u64, (i64, u64)>,
        acknowledged: &[Acknowledged],
    ) -> Result<(), String> {
        let found = progress(order, u64::MAX);
        for (writer, found) in (0..).zip(found) {
            let of_writer = acknowledged.iter().filter(|ack| ack.writer == writer);
            let told = of_writer.map(|ack| ack.n).max().unwrap_or(0);
            let first = told.max(self.writers[usize::try_from(writer).unwrap()].1);
            // It goes on as long as it does not wait.
            let mut last = first + 1;
            while self.step(writer, last).way == Way::Buffered {
                last += 1;
            }
            if !(first..=last).contains(&found) {
                return Err(format!(
                    "writer {writer} is at {found}: {first} are acknowledged, {last} asked for"
                ));
            }
            self.writers[usize::try_from(writer).unwrap()].1 = found;
        }
        Ok(())
    }

    /// Compares all rows as of a commit.
    fn compare_rows(
        &mut self,
        db: &FoldDb,
        order: &BTreeMap<u64, (i64, u64)>,
        commit: u64,
    ) -> Result<u64, String> {
        let mut expected = Rows::new();
        let mut total = 0;
        for (writer, n) in (0..).zip(progress(order, commit)) {
            for n in 1..=n {
                let step = self.step(writer, n);
                total += i64::from(step.way == Way::Counting);
                if let Some(text) = &step.entry {
                    expected.insert(format!("Entry {writer} {n} text"), text.as_str().into());
                }
            }
            if n > 0 {
                let items = self.step(writer, n).items.clone();
                for (id, item) in items {
                    for (field, value) in item.iter().filter(|(_, value)| is_something(value)) {
                        expected.insert(format!("Item {writer} {id} {field}"), value.clone());
                    }
                }
                let n = Value::Int(i64::try_from(n).unwrap());
                expected.insert(format!("Board progress {}", progress_of(writer)), n);
            }
        }
        if total > 0 {
            expected.insert("Board total".into(), Value::Int(total));
        }
        let found = rows(db, commit).map_err(|error| describe(&error))?;
        difference(&expected, &found).map_err(|error| format!("as of {commit}: {error}"))?;
        Ok(found.len() as u64)
    }
}

fn head(db: &FoldDb) -> u64 {
    db.pool().operations().head().0.0
}

/// How many commits of each writer there are up to a commit.
fn progress(order: &BTreeMap<u64, (i64, u64)>, commit: u64) -> Vec<u64> {
    let mut progress = vec![0; usize::try_from(WRITERS).unwrap()];
    for (writer, n) in order.range(..=commit).map(|(_, found)| found) {
        progress[usize::try_from(*writer).unwrap()] = *n;
    }
    progress
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Object(elements) => !elements.is_empty(),
        other => !other.is_null(),
    }
}

/// Everything that a space shows as of a commit.
fn rows(db: &FoldDb, commit: u64) -> Result<Rows, datafold::FoldDbError> {
    let mut rows = Rows::new();
    for schema in ["Item", "Entry", "Board"] {
        let mut query = QueryRequest::new(name(schema));
        query.as_of = Some(commit.to_string());
        for record in db.query(&query)?.records {
            insert_record(&mut rows, schema, record);
        }
    }
    Ok(rows)
}

fn insert_record(rows: &mut Rows, schema: &str, record: Record) {
    let key: String = ["writer", "id", "n"]
        .into_iter()
        .filter(|part| schema != "Item" || *part != "n")
        .filter_map(|part| Some(format!(" {}", record.get(part)?.to_json())))
        .collect();
    for (column, value) in record.columns.iter().zip(record.values) {
        let column = column.as_str();
        let is_key = column == "writer" || column == "id" || (schema == "Entry" && column == "n");
        match value {
            Value::Object(elements) if schema == "Board" => {
                for (element, value) in elements {
                    rows.insert(format!("{schema} {column} {element}"), value);
                }
            }
            value if !is_key && is_something(&value) => {
                rows.insert(format!("{schema}{key} {column}"), value);
            }
            _ => {}
        }
    }
}

fn difference(expected: &Rows, found: &Rows) -> Result<(), String> {
    let short = |value: Option<&Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => value.to_json().chars().take(200).collect(),
    };
    let names = expected.keys().chain(found.keys());
    let mut wrong: Vec<_> = names
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| {
            let [expected, found] = [expected, found].map(|rows| short(rows.get(name)));
            format!("{name} is {found}, not {expected}")
        })
        .collect();
    wrong.dedup();
    wrong.truncate(5);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The canary: what is lost, torn or invented must be found out.
#[test]
fn what_is_lost_torn_or_invented_is_found_out() {
    let seed = datafold_testkit::seed_from_env(0xCA9A);
    let ran = |plant: &dyn Fn(&FoldDb, &mut Vec<Acknowledged>)| {
        let db = memory();
        set_up(&db);
        let acknowledged = parking_lot::Mutex::new(Vec::new());
        let mut expected = Expected::new(seed);
        let run = Run { seed, writers: WRITERS, last: Some(40), ..Run::default() };
        let stopped = load::run(&db, &run, &expected.begin(), &|writer, n, commit| {
            acknowledged.lock().push(Acknowledged { writer, n, commit: commit.0 });
        });
        assert!(stopped.is_empty(), "{stopped:?}");
        let mut acknowledged = acknowledged.into_inner();
        plant(&db, &mut acknowledged);
        expected.compare(&db, &acknowledged, &mut Random::new(seed))
    };
    let compared = ran(&|_, _| {}).unwrap();
    assert_eq!(compared.commits, 40 * WRITERS.unsigned_abs());
    let lost = ran(&|_, acknowledged| {
        let commit = acknowledged.iter().map(|ack| ack.commit).max().unwrap() + 1;
        acknowledged.push(Acknowledged { writer: 1, n: 41, commit });
    });
    assert!(lost.unwrap_err().contains("the commit is of None"));
    let invented = ran(&|db, _| {
        let record = [("writer", 9.into()), ("id", 9.into())].map(|(k, v)| (k.to_owned(), v));
        let mutation = datafold::engine::Mutation::create(name("Item"), vec![record.into()]);
        db.mutate(&mutation.into()).unwrap();
    });
    assert!(invented.unwrap_err().contains("is of no writer"));
    // The note of a commit without the rest of it.
    let torn = ran(&|db, acknowledged| {
        let n = Value::Int(41);
        let elements = [(progress_of(2), n)].into();
        let put = datafold::engine::Mutation::put(name("Board"), vec![], "progress", elements);
        let commit = db.mutate(&put.into()).unwrap().commit.0;
        acknowledged.push(Acknowledged { writer: 2, n: 41, commit });
    });
    assert!(torn.unwrap_err().starts_with("as of"));
}
