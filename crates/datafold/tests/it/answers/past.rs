//! Queries of the past answer what a model answers that keeps every version: it reads all its
//! records, and evaluates conditions with the expression language alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use datafold::engine::{Mutation, RecordInput};
use datafold::model::{Timestamp, Value};
use datafold::{FoldDb, MutationRequest, QueryRequest};
use datafold_lang::{self as lang, Compiler, Scope as Names, Type};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};

use super::data::{Column, Kind};
use super::expression::Parameters;
use super::generate::{Generator, Scope};
use crate::harness::{Place, approve, check_sound, clock, describe, fold_db, name};

const SCHEMA: &str = r#"{"name": "Thing", "key": ["g", "n"], "fields": {
    "g": {"value": {"type": "string"}}, "n": {"value": {"type": "integer"}},
    "a": {"value": {"type": ["integer", "null"]}}, "b": {"value": {"type": ["number", "null"]}},
    "t": {"value": {"type": ["string", "null"]}},
    "tags": {"field_type": "Collection", "value": {"type": "integer"}}},
    "indexes": [{"fields": ["a"]}, {"fields": ["t", "a"]}, {"fields": ["b"]}]}"#;

const COLUMNS: [(&str, Kind); 5] = [
    ("g", Kind::AnyText),
    ("n", Kind::Int),
    ("a", Kind::Int),
    ("b", Kind::Number),
    ("t", Kind::AnyText),
];

const TEXTS: [&str; 8] = ["", "a", "a\0", "a\0b", "ab", "b", "ä", "z"];

type Key = (String, i64);
type Row = Rc<BTreeMap<String, Value>>;
/// All records at one moment.
type State = BTreeMap<Key, Row>;

/// Something wrong in the model on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A record keeps its elements when it is deleted.
    KeptElements,
    /// Sorts forget the direction of ties.
    Ties,
}

struct OpenAnswer {
    request: QueryRequest,
    rest: Vec<Vec<Value>>,
}

struct Run {
    random: Random,
    place: Place,
    db: FoldDb,
    /// The state behind each commit; those of the catalogue change nothing.
    states: Vec<State>,
    /// Elements of records that were deleted.
    dead: BTreeMap<Key, Value>,
    open: Option<OpenAnswer>,
    fault: Option<Fault>,
    queries: usize,
    found: usize,
}

fn long(random: &mut Random) -> String {
    let behind = random.choose(&["", "a", "b", "\0"]).unwrap();
    format!("{}{behind}", "l".repeat(255 + random.below(3)))
}

impl Run {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut place = Place::sim(seed);
        let db = fold_db(place.open(), clock());
        approve(&db, SCHEMA);
        db.schemas().wait_for_indexes(&name("Thing")).unwrap();
        let (head, _) = db.pool().operations().head();
        let states = vec![State::new(); usize::try_from(head.0).unwrap() + 1];
        let random = Random::new(seed);
        let (open, dead) = (None, BTreeMap::new());
        Self { random, place, db, states, dead, open, fault, queries: 0, found: 0 }
    }

    fn run(&mut self, steps: usize, queries: usize) -> Result<(), String> {
        for step in 0..steps {
            if step % (steps / 6).max(1) == 0 {
                self.reopen();
            }
            self.mutate();
            for _ in 0..queries / steps {
                self.query()?;
            }
            self.go_on()?;
        }
        check_sound(&self.db);
        Ok(())
    }

    fn reopen(&mut self) {
        self.db.pool().close().unwrap();
        self.db = fold_db(Place::memory().open(), clock());
        self.db = fold_db(self.place.open(), clock());
    }

    fn text(&mut self) -> Value {
        if self.random.one_in(6) {
            return Value::from(long(&mut self.random).as_str());
        }
        (*self.random.choose(&TEXTS).unwrap()).into()
    }

    fn fields(&mut self) -> Vec<(&'static str, Value)> {
        let small = i64::try_from(self.random.below(9)).unwrap() - 4;
        let number = Value::number(f64::from(i32::try_from(small).unwrap()) / 2.0).unwrap();
        let fields = [("a", Value::Int(small)), ("b", number), ("t", self.text())];
        let mut some = Vec::new();
        for (field, value) in fields {
            match self.random.below(5) {
                0 => {}
                1 => some.push((field, Value::Null)),
                _ => some.push((field, value)),
            }
        }
        some
    }

    /// One commit: some records are written, deleted and get elements.
    fn mutate(&mut self) {
        let mut state = self.states.last().cloned().unwrap_or_default();
        let mut request = MutationRequest { mutations: Vec::new(), preconditions: Vec::new() };
        let mut touched = BTreeSet::new();
        for _ in 0..1 + self.random.below(5) {
            let text = *self.random.choose(&TEXTS).unwrap();
            let key = (text.to_owned(), i64::try_from(self.random.below(6)).unwrap());
            if !touched.insert(key.clone()) {
                continue;
            }
            request.mutations.push(self.change(key, &mut state));
        }
        let receipt = self.db.mutate(&request).unwrap();
        let at = usize::try_from(receipt.commit.0).unwrap();
        let before = self.states.last().cloned().unwrap_or_default();
        self.states.resize(at, before);
        self.states.push(state);
    }

    fn change(&mut self, key: Key, state: &mut State) -> Mutation {
        let parts = vec![Value::from(key.0.as_str()), Value::Int(key.1)];
        let Some(row) = state.get(&key).cloned() else {
            let fields = self.fields();
            let tags = self.dead.remove(&key).filter(|_| self.fault == Some(Fault::KeptElements));
            let mut row = BTreeMap::from([("tags".to_owned(), tags.unwrap_or_else(no_tags))]);
            row.extend(fields.iter().cloned().map(|(field, value)| (field.to_owned(), value)));
            state.insert(key, Rc::new(row));
            return Mutation::create(name("Thing"), vec![input(&parts, fields)]);
        };
        let mut row = (*row).clone();
        let mutation = match self.random.below(5) {
            0 => {
                self.dead.insert(key.clone(), row["tags"].clone());
                state.remove(&key);
                return Mutation::delete(name("Thing"), vec![parts]);
            }
            1 | 2 => {
                let element = *self.random.choose(&["x", "y", "z"]).unwrap();
                let value = Value::Int(i64::try_from(self.random.below(5)).unwrap());
                if let Some(Value::Object(tags)) = row.get_mut("tags") {
                    tags.insert(element.to_owned(), value.clone());
                }
                let elements = [(element.to_owned(), value)].into();
                let (schema, field) = (name("Thing"), "tags".to_owned());
                Mutation::Put { schema, key: parts, field, elements, condition: None }
            }
            _ => {
                let fields = self.fields();
                row.extend(fields.iter().cloned().map(|(field, value)| (field.to_owned(), value)));
                Mutation::update(name("Thing"), vec![input(&parts, fields)])
            }
        };
        state.insert(key, Rc::new(row));
        mutation
    }

    /// A random query of a random moment.
    fn query(&mut self) -> Result<(), String> {
        let at = self.random.below(self.states.len() - 2) + 2;
        let at = if self.random.one_in(5) { self.states.len() - 1 } else { at };
        let columns: Vec<Column> = COLUMNS
            .iter()
            .map(|(name, kind)| {
                let sample = || match kind {
                    Kind::Int | Kind::Number => Value::Int(at as i64 % 7 - 3),
                    _ => TEXTS[at % TEXTS.len()].into(),
                };
                let samples = vec![sample(), Value::Null, "l".repeat(256).as_str().into()];
                let count = if *kind == Kind::AnyText { 3 } else { 2 };
                let samples = samples.into_iter().take(count).collect();
                Column { name: (*name).to_owned(), kind: *kind, samples }
            })
            .collect();
        let scope = Scope { columns: &columns, lookups: Vec::new() };
        let mut make = Generator { random: &mut self.random, scope };
        let depth = make.random.below(3);
        let Some(condition) = make.condition(depth) else { return Ok(()) };
        let mut parameters = Parameters::new();
        let mut filter = condition.source(&mut parameters);
        if make.random.one_in(4) {
            filter.push_str(" && any(tags, tag => tag > 2)");
        }
        let mut sort = Vec::new();
        for _ in 0..make.random.below(3) {
            let (column, _) = *make.random.choose(&COLUMNS).unwrap();
            sort.push((column, make.random.one_in(2), make.random.one_in(2)));
        }
        let mut expected = self.expected(&self.states[at], &filter, &parameters)?;
        self.sort(&mut expected, &sort);
        let expected: Vec<_> = expected.into_iter().map(|(key, row)| record(&key, &row)).collect();
        let mut request = QueryRequest::new(name("Thing"));
        (request.filter, request.parameters) = (Some(filter), parameters);
        let word = |(column, descending, nulls_first): &(&str, bool, bool)| {
            let direction = if *descending { "desc" } else { "asc" };
            format!("{column} {direction} nulls {}", if *nulls_first { "first" } else { "last" })
        };
        request.sort = sort.iter().map(word).collect();
        request.as_of = Some(at.to_string());
        self.check(request, expected)
    }

    /// Compares an answer, and sometimes leaves its rest for later.
    fn check(
        &mut self,
        mut request: QueryRequest,
        mut rest: Vec<Vec<Value>>,
    ) -> Result<(), String> {
        self.queries += 1;
        self.found += rest.len();
        if self.random.one_in(3) {
            request.limit = Some(1 + self.random.below(4));
        }
        let answer = self.db.query(&request).map_err(|error| describe(&error))?;
        let found: Vec<_> = answer.records.into_iter().map(|record| record.values).collect();
        let behind = rest.split_off(request.limit.unwrap_or(rest.len()).min(rest.len()));
        if found != rest || answer.cursor.is_some() == behind.is_empty() {
            return Err(format!("{request:#?}\nfound {found:?}\n  not {rest:?}\n then {behind:?}"));
        }
        if let Some(cursor) = answer.cursor {
            request.cursor = Some(cursor);
            self.open = Some(OpenAnswer { request, rest: behind });
        }
        Ok(())
    }

    /// The next page of an answer whose first one was read some commits ago.
    fn go_on(&mut self) -> Result<(), String> {
        match self.open.take() {
            Some(OpenAnswer { request, rest }) => self.check(request, rest),
            None => Ok(()),
        }
    }

    /// The records that fulfil a condition.
    fn expected(
        &self,
        state: &State,
        filter: &str,
        parameters: &Parameters,
    ) -> Result<Vec<(Key, Row)>, String> {
        let mut names = Names::new().with("tags", Type::elements(Type::INTEGER));
        for (column, kind) in COLUMNS {
            names = names.with(
                column,
                match kind {
                    Kind::Int => Type::INTEGER,
                    Kind::Number => Type::NUMBER,
                    _ => Type::TEXT,
                },
            );
        }
        for (parameter, value) in parameters {
            names = names.with_parameter(parameter.as_str(), to_lang(value));
        }
        let filter = Compiler::new(&names).filter(filter).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        for (key, row) in state {
            let input = |input: &lang::Input| match input.path.field.as_str() {
                "g" => lang::Value::from(key.0.clone()),
                "n" => lang::Value::Int(key.1),
                field => row.get(field).map(to_lang).unwrap_or_default(),
            };
            let inputs: Vec<_> = filter.program().inputs().iter().map(input).collect();
            if filter.matches(&inputs).map_err(|error| error.to_string())? {
                found.push((key.clone(), Rc::clone(row)));
            }
        }
        Ok(found)
    }

    fn sort(&self, records: &mut [(Key, Row)], sort: &[(&str, bool, bool)]) {
        let value = |(key, row): &(Key, Row), column: &str| match column {
            "g" => Value::from(key.0.as_str()),
            "n" => Value::Int(key.1),
            column => row.get(column).cloned().unwrap_or_default(),
        };
        let directed = |order: Ordering, descending: bool| {
            if descending { order.reverse() } else { order }
        };
        records.sort_by(|a, b| {
            for (column, descending, nulls_first) in sort {
                let (a, b) = (value(a, column), value(b, column));
                let order = match (a.is_null(), b.is_null()) {
                    (true, true) => Ordering::Equal,
                    (true, false) => directed(Ordering::Less, !nulls_first),
                    (false, true) => directed(Ordering::Greater, !nulls_first),
                    (false, false) => directed(a.cmp_values(&b), *descending),
                };
                if order.is_ne() {
                    return order;
                }
            }
            let descending = sort.last().is_some_and(|(_, descending, _)| *descending);
            directed(a.0.cmp(&b.0), descending && self.fault != Some(Fault::Ties))
        });
    }
}

fn no_tags() -> Value {
    Value::Object(BTreeMap::new())
}

fn input(key: &[Value], fields: Vec<(&'static str, Value)>) -> RecordInput {
    let mut input: RecordInput =
        fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
    input.extend(["g".to_owned(), "n".to_owned()].into_iter().zip(key.iter().cloned()));
    input
}

fn record((g, n): &Key, row: &Row) -> Vec<Value> {
    let of = |field: &str| row.get(field).cloned().unwrap_or_default();
    vec![g.as_str().into(), Value::Int(*n), of("a"), of("b"), of("t"), of("tags")]
}

/// By way of JSON, as nothing in the engine does it.
fn to_lang(value: &Value) -> lang::Value<'static> {
    match value {
        Value::Time(time) => {
            lang::Value::Time(lang::Time::from_micros(Timestamp::as_micros(*time)).unwrap())
        }
        other => lang::Value::parse_json(&other.to_json()).unwrap(),
    }
}

#[test]
fn queries_of_the_past_answer_what_was() {
    let seed = seed_from_env(0x05EE_D510);
    let (steps, queries) = if is_full_size() { (1_000, 10_000) } else { (120, 720) };
    let mut run = Run::new(seed, None);
    run.run(steps, queries).unwrap_or_else(|problem| panic!("{problem}\n{}", replay(seed)));
    eprintln!("{} queries found {} records", run.queries, run.found);
    assert!(run.found > run.queries, "{} records", run.found);
}

#[test]
fn planted_faults_of_the_model_are_found() {
    let seed = seed_from_env(0x05EE_D511);
    for fault in [Fault::KeptElements, Fault::Ties] {
        let found = Run::new(seed, Some(fault)).run(100, 1_000);
        assert!(found.is_err(), "{fault:?}; {}", replay(seed));
    }
}
