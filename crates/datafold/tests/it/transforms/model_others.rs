//! Random schemas that read each other's records, and random mutations, against full recomputation:
//! now and as of earlier moments, with little computed in a commit, after reopening, kills and
//! power cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use datafold::FoldDb;
use datafold::QueryRequest;
use datafold::data_layer::PropagationLimits;
use datafold::engine::{FoldDbError, Mutation, RecordInput};
use datafold::model::Value;
use datafold_testkit::{CutKind, Random, is_full_size, replay, seed_from_env};

use crate::harness::{Place, approve, check_sound, fold_db_within, name};

/// By field; elements as `field/key`.
type Cells = BTreeMap<String, i64>;

/// The records of a schema, by their ids; that of `One` has the id 0.
type World = BTreeMap<&'static str, BTreeMap<i64, Cells>>;

const BASE: [&str; 3] = ["a", "b", "c"];

/// In the order in which they are approved. `View` shows the records of `P`.
const SCHEMAS: [&str; 5] = ["One", "P", "Q", "R", "View"];

/// The schema that has the records.
fn root(schema: &'static str) -> &'static str {
    if schema == "View" { "P" } else { schema }
}

/// An expression, written down and computed here without the language.
#[derive(Debug, Clone)]
enum Logic {
    Own(String),
    One(String),
    /// A field of the record with the same key.
    Same(&'static str, String),
    /// A field of the record with a computed key.
    Lookup(&'static str, Box<Logic>, String),
    Aggregate(Aggregate),
    /// The sum of the elements of a field of the record.
    Elements(&'static str),
    Number(i64),
    Sum(Box<Logic>, Box<Logic>),
    IfNull(Box<Logic>, Box<Logic>, Box<Logic>),
    Sign(Box<Logic>),
}

/// An aggregate over the records of a schema that have the own id in a field.
#[derive(Debug, Clone)]
struct Aggregate {
    name: String,
    kind: &'static str,
    of: &'static str,
    by: String,
    argument: String,
    order: String,
    /// Only records that have more than 1 there.
    filter: Option<String>,
}

const KINDS: [&str; 9] =
    ["count()", "count", "sum", "min", "max", "avg", "count_distinct", "first", "last"];

impl Aggregate {
    fn random(random: &mut Random, of: &'static str, fields: &[String]) -> Self {
        let field = |random: &mut Random| random.choose(fields).unwrap().clone();
        Self {
            name: format!("g{}", random.below(1_000_000)),
            kind: random.choose(&KINDS).unwrap(),
            of,
            by: field(random),
            argument: field(random),
            order: field(random),
            filter: random.one_in(3).then(|| field(random)),
        }
    }

    fn input(&self) -> String {
        let Self { name, kind, of, by, argument, order, .. } = self;
        let call = match *kind {
            "count()" => "count()".to_owned(),
            "first" | "last" => format!("{kind}({argument}, {order})"),
            _ => format!("{kind}({argument})"),
        };
        let filter = self.filter.as_ref().map(|field| format!(r#", "where": "{field} > 1""#));
        let filter = filter.unwrap_or_default();
        format!(r#""{name}": {{"aggregate": "{call}", "of": "{of}", "by": ["{by}"]{filter}}}"#)
    }

    fn value(&self, world: &World, id: i64) -> Option<i64> {
        let records = world.get(root(self.of)).into_iter().flatten();
        let chosen = records.filter(|(_, cells)| {
            let passes = |field: &String| cells.get(field).is_some_and(|value| *value > 1);
            cells.get(&self.by) == Some(&id) && self.filter.as_ref().is_none_or(passes)
        });
        let chosen: Vec<_> = chosen.collect();
        let values: Vec<i64> =
            chosen.iter().filter_map(|(_, cells)| cells.get(&self.argument).copied()).collect();
        let placed = chosen.iter().filter_map(|(id, cells)| {
            Some(((*cells.get(&self.order)?, **id), cells.get(&self.argument).copied()))
        });
        let (count, sum) = (values.len() as i64, values.iter().sum::<i64>());
        match self.kind {
            "count()" => Some(chosen.len() as i64),
            "count" => Some(count),
            "sum" => Some(sum),
            "min" => values.iter().min().copied(),
            "max" => values.iter().max().copied(),
            "avg" => (count > 0).then(|| sum.div_euclid(count)),
            "count_distinct" => Some(values.iter().collect::<BTreeSet<_>>().len() as i64),
            "first" => placed.min_by_key(|(place, _)| *place)?.1,
            _ => placed.max_by_key(|(place, _)| *place)?.1,
        }
    }
}

/// A field whose elements are put, and one whose elements are computed.
const PUT: &str = "put";
const RANGE: &str = "range";

fn has_elements(schema: &str) -> bool {
    matches!(schema, "P" | "Q")
}

/// The elements of a field of a record, by key.
fn elements<'c>(cells: &'c Cells, field: &str) -> impl Iterator<Item = (&'c str, i64)> {
    let field = field.to_owned();
    cells.iter().filter_map(move |(name, value)| {
        let key = name.strip_prefix(field.as_str())?.strip_prefix('/')?;
        Some((key, *value))
    })
}

/// What a field that is to be computed may read.
struct Readable {
    own: Vec<String>,
    /// Own fields that have elements.
    elements: Vec<&'static str>,
    /// Fields of each schema that comes before, and of the own one as others read it.
    others: Vec<(&'static str, Vec<String>)>,
    schema: &'static str,
}

impl Logic {
    fn random(random: &mut Random, readable: &Readable, depth: usize) -> Self {
        let is_leaf = depth == 0 || random.one_in(5);
        let kind = random.below(if is_leaf { 4 } else { 11 });
        let part = |random: &mut Random| Box::new(Self::random(random, readable, depth - 1));
        let other = |random: &mut Random| {
            let (schema, fields) = random.choose(&readable.others)?;
            Some((*schema, random.choose(fields)?.clone()))
        };
        match kind {
            0 => Logic::Number(random.below(4) as i64),
            1 | 2 => match other(random) {
                Some(("One", field)) => Logic::One(field),
                Some((schema, field)) if schema != readable.schema && readable.schema != "One" => {
                    Logic::Same(schema, field)
                }
                _ => Logic::Own(random.choose(&readable.own).unwrap().clone()),
            },
            3 => match random.choose(&readable.elements) {
                Some(field) => Logic::Elements(field),
                None => Logic::Own(random.choose(&readable.own).unwrap().clone()),
            },
            4 | 5 => Logic::Sum(part(random), part(random)),
            6 => Logic::IfNull(part(random), part(random), part(random)),
            7 => Logic::Sign(part(random)),
            8 | 9 => match random.choose(&readable.others) {
                Some((of, fields)) if *of != "One" => {
                    Logic::Aggregate(Aggregate::random(random, of, fields))
                }
                _ => Logic::Sign(part(random)),
            },
            _ => match other(random) {
                Some((schema, field)) if schema != "One" => {
                    Logic::Lookup(schema, part(random), field)
                }
                _ => Logic::Sign(part(random)),
            },
        }
    }

    fn source(&self) -> String {
        match self {
            Logic::Own(name) => name.clone(),
            Logic::One(name) => format!("One.{name}"),
            Logic::Same(schema, name) => format!("{schema}.{name}"),
            Logic::Lookup(schema, key, name) => format!("{schema}[{}].{name}", key.source()),
            Logic::Aggregate(found) if found.kind == "avg" => format!("floor({})", found.name),
            Logic::Aggregate(found) => found.name.clone(),
            Logic::Elements(field) => format!("(sum(values({field})) % 97)"),
            Logic::Number(number) => number.to_string(),
            Logic::Sum(a, b) => format!("(({} + {}) % 97)", a.source(), b.source()),
            Logic::IfNull(a, b, c) => {
                format!("({} == null ? {} : {})", a.source(), b.source(), c.source())
            }
            Logic::Sign(a) => format!("({} > 0 ? 1 : 0)", a.source()),
        }
    }

    fn aggregates(&self) -> Vec<&Aggregate> {
        match self {
            Logic::Aggregate(found) => vec![found],
            Logic::Lookup(_, of, _) | Logic::Sign(of) => of.aggregates(),
            Logic::Sum(a, b) => [a.aggregates(), b.aggregates()].concat(),
            Logic::IfNull(a, b, c) => [a.aggregates(), b.aggregates(), c.aggregates()].concat(),
            _ => Vec::new(),
        }
    }

    fn value(&self, world: &World, cells: &Cells, id: i64) -> Option<i64> {
        let of = |logic: &Logic| logic.value(world, cells, id);
        let read = |schema: &str, id: i64, name: &str| {
            let schema = if schema == "View" { "P" } else { schema };
            world.get(schema)?.get(&id)?.get(name).copied()
        };
        match self {
            Logic::Own(name) => cells.get(name).copied(),
            Logic::One(name) => read("One", 0, name),
            Logic::Same(schema, name) => read(schema, id, name),
            Logic::Lookup(schema, key, name) => read(schema, of(key)?, name),
            Logic::Aggregate(found) => found.value(world, id),
            Logic::Elements(field) => {
                Some(elements(cells, field).map(|(_, value)| value).sum::<i64>() % 97)
            }
            Logic::Number(number) => Some(*number),
            // Small, so that no chain leaves the integers.
            Logic::Sum(a, b) => Some((of(a)? + of(b)?) % 97),
            Logic::IfNull(a, b, c) => {
                if of(a).is_none() {
                    of(b)
                } else {
                    of(c)
                }
            }
            Logic::Sign(a) => Some(i64::from(of(a).is_some_and(|a| a > 0))),
        }
    }
}

/// The computed fields of a schema, in an order in which they can run.
struct Computed {
    schema: &'static str,
    fields: Vec<(String, Logic)>,
    /// The elements of the computed field that has some, by their keys; before the fields.
    range: Vec<(&'static str, Logic)>,
    /// What it computes for the records of another schema, behind its fields.
    elsewhere: Option<(&'static str, Logic)>,
}

/// The field that another schema may compute.
const OUT: &str = "out";

/// The schema that may compute this field of one.
fn computes_out(schema: &str) -> Option<&'static str> {
    match schema {
        "P" => Some("Q"),
        "Q" => Some("R"),
        _ => None,
    }
}

impl Computed {
    fn random(random: &mut Random, schema: &'static str, before: &[Computed]) -> Self {
        let base = BASE.map(str::to_owned);
        let id = (schema != "One").then(|| "id".to_owned());
        let mut readable = Readable {
            own: base.iter().cloned().chain(id.clone()).collect(),
            elements: Vec::from_iter(has_elements(schema).then_some(PUT)),
            others: Vec::new(),
            schema,
        };
        for of in before.iter().filter(|of| root(schema) != of.schema) {
            let id = (of.schema != "One").then(|| "id".to_owned());
            let computed = of.fields.iter().map(|(field, _)| field.clone());
            let is_computed = |by: &Computed| by.elsewhere.iter().any(|(to, _)| *to == of.schema);
            let out = before.iter().any(is_computed).then(|| OUT.to_owned());
            let fields = base.iter().cloned().chain(id).chain(computed).chain(out).collect();
            readable.others.push((of.schema, fields));
        }
        if schema != "One" {
            readable.others.push((schema, base.iter().cloned().chain(id).collect()));
        }
        let mut range = Vec::new();
        if has_elements(schema) && random.one_in(2) {
            let mut logic = || Logic::random(random, &readable, 1);
            range = ["k", "l", "m"].map(|key| (key, logic())).into();
            readable.elements.push(RANGE);
        }
        let mut fields = Vec::new();
        for at in 0..1 + random.below(4) {
            let depth = 1 + random.below(3);
            let logic = Logic::random(random, &readable, depth);
            // Names that sort in another order than they run.
            let field = format!("{}{at}_{schema}", ["z", "m", "e"][random.below(3)]);
            readable.own.push(field.clone());
            if let Some((own, names)) = readable.others.last_mut()
                && *own == schema
            {
                names.push(field.clone());
            }
            fields.push((field, logic));
        }
        let to = before.iter().map(|of| of.schema).find(|of| computes_out(of) == Some(schema));
        let depth = 1 + random.below(3);
        // They are those of another record there.
        readable.elements.clear();
        let elsewhere = to.map(|to| (to, Logic::random(random, &readable, depth)));
        Self { schema, fields, range, elsewhere }
    }

    fn text(&self, random: &mut Random) -> String {
        let mut fields: Vec<String> = BASE
            .iter()
            .map(|name| match self.schema {
                "View" => format!(r#""{name}": {{"field_mappers": {{"P": "{name}"}}}}"#),
                _ => format!(r#""{name}": {{"value": {{"type": "integer"}}}}"#),
            })
            .collect();
        let value = r#""value": {"type": "integer"}"#;
        if computes_out(self.schema).is_some() {
            fields.push(format!(r#""{OUT}": {{{value}, "writable": false}}"#));
        }
        if has_elements(self.schema) {
            fields.push(format!(r#""{PUT}": {{"field_type": "Range", {value}}}"#));
        }
        if !self.range.is_empty() {
            let member = |(key, logic): &(&str, Logic)| format!("{key}: {}", logic.source());
            let members: Vec<_> = self.range.iter().map(member).collect();
            let source = Value::from(format!("{{{}}}", members.join(", "))).to_json();
            let aggregates = self.range.iter().flat_map(|(_, logic)| logic.aggregates());
            let named: Vec<_> = aggregates.map(Aggregate::input).collect();
            let inputs = match &named[..] {
                [] => String::new(),
                named => format!(r#""inputs": {{{}}}, "#, named.join(", ")),
            };
            fields.push(format!(
                r#""{RANGE}": {{"field_type": "Range", {value},
                    "transform": {{{inputs}"logic": {source}}}}}"#
            ));
        }
        let own = self.fields.iter().map(|(field, logic)| (field.as_str(), logic, String::new()));
        let elsewhere = self
            .elsewhere
            .iter()
            .map(|(to, logic)| ("elsewhere", logic, format!(r#""output": "{to}.{OUT}", "#)));
        for (field, logic, output) in own.chain(elsewhere) {
            let source = Value::from(logic.source()).to_json();
            let at = random.below(fields.len() + 1);
            let named: Vec<_> = logic.aggregates().into_iter().map(Aggregate::input).collect();
            let inputs = match &named[..] {
                [] => String::new(),
                named => format!(r#""inputs": {{{}}}, "#, named.join(", ")),
            };
            fields.insert(
                at,
                format!(
                    r#""{field}": {{{value}, "transform": {{{inputs}{output}"logic": {source}}}}}"#
                ),
            );
        }
        let (name, fields) = (self.schema, fields.join(", "));
        let (key, id) = match name {
            "One" => ("", ""),
            _ => (r#""key": ["id"], "#, r#""id": {"value": {"type": "integer"}}, "#),
        };
        format!(r#"{{"name": "{name}", {key}"fields": {{{id}{fields}}}}}"#)
    }
}

struct Run {
    random: Random,
    place: Place,
    limits: PropagationLimits,
    db: Option<FoldDb>,
    computed: Vec<Computed>,
    /// How many schemas are approved.
    approved: usize,
    world: World,
    /// Moments at which nothing was stale.
    past: Vec<(u64, usize, World)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut computed = Vec::new();
        for schema in SCHEMAS {
            let next = Computed::random(&mut random, schema, &computed);
            computed.push(next);
        }
        let outputs = *random.choose(&[0, 1, 2, 5, 1_000, 1_000]).unwrap();
        let steps = *random.choose(&[1, 40, 2_000_000, 2_000_000]).unwrap();
        let place = if random.one_in(3) { Place::sim(seed) } else { Place::memory() };
        let mut run = Self {
            random,
            place,
            limits: PropagationLimits { outputs, steps },
            db: None,
            computed,
            approved: 0,
            world: World::new(),
            past: Vec::new(),
        };
        run.reopen();
        for _ in 0..4 {
            run.approve();
        }
        run
    }

    fn db(&self) -> &FoldDb {
        self.db.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        if let Some(db) = self.db.take() {
            db.pool().close().unwrap();
        }
        self.db = Some(fold_db_within(self.place.open(), self.limits));
    }

    /// Goes on with what a disk shows after a kill or a power cut.
    fn crash(&mut self) {
        let Place::Sim(disk) = &self.place else { return self.reopen() };
        let seed = self.random.next_u64();
        let after = match self.random.choose(&CutKind::ALL) {
            Some(kind) if !self.random.one_in(4) => disk.power_cut(*kind, seed),
            _ => disk.process_kill(seed),
        };
        self.db = None;
        self.place = Place::Sim(after);
        self.reopen();
    }

    fn approve(&mut self) {
        let Some(next) = self.computed.get(self.approved) else { return };
        let text = next.text(&mut self.random);
        approve(self.db.as_ref().unwrap(), &text);
        self.approved += 1;
        self.recompute();
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0 => self.reopen(),
            1 => self.crash(),
            2 => self.approve(),
            3 => self.settle(),
            4 => self.check_past(),
            _ => self.mutate(),
        }
    }

    fn recompute(&mut self) {
        for records in self.world.values_mut() {
            for cells in records.values_mut() {
                let is_put = |field: &str| {
                    field == "id" || BASE.contains(&field) || field.starts_with("put/")
                };
                cells.retain(|field, _| is_put(field));
            }
        }
        for computed in self.computed.iter().take(self.approved) {
            let range = computed.range.iter().map(|(key, logic)| (format!("{RANGE}/{key}"), logic));
            let fields = computed.fields.iter().map(|(field, logic)| (field.clone(), logic));
            for (field, logic) in range.chain(fields) {
                let records = self.world.get(root(computed.schema));
                let value = |(id, cells): (&i64, &Cells)| {
                    Some((*id, logic.value(&self.world, cells, *id)?))
                };
                let values: Vec<_> = records.into_iter().flatten().filter_map(value).collect();
                for (id, value) in values {
                    let records = self.world.get_mut(root(computed.schema)).unwrap();
                    records.get_mut(&id).unwrap().insert(field.clone(), value);
                }
            }
            if let Some((to, logic)) = &computed.elsewhere {
                let own = self.world.get(computed.schema);
                let none = Cells::new();
                let value = |id: &i64| {
                    let cells = own.and_then(|own| own.get(id)).unwrap_or(&none);
                    Some((*id, logic.value(&self.world, cells, *id)?))
                };
                let records = self.world.get(to).into_iter().flatten();
                let values: Vec<_> = records.filter_map(|(id, _)| value(id)).collect();
                for (id, value) in values {
                    let records = self.world.get_mut(to).unwrap();
                    records.get_mut(&id).unwrap().insert(OUT.to_owned(), value);
                }
            }
        }
    }

    fn mutate(&mut self) {
        // What is filled meanwhile was not at the moment of the commit.
        let is_filled = self.is_filled();
        let mut mutations = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let schema = ["One", "P", "P", "Q", "Q", "R"][self.random.below(6)];
            let id = if schema == "One" { 0 } else { self.random.below(6) as i64 };
            let key = if schema == "One" { Vec::new() } else { vec![Value::Int(id)] };
            let records = self.world.entry(schema).or_default();
            if records.contains_key(&id) && self.random.one_in(6) {
                mutations.push(Mutation::delete(name(schema), vec![key]));
                records.remove(&id);
                continue;
            }
            let mut record = RecordInput::new();
            let cells = records.entry(id).or_default();
            if schema != "One" {
                record.insert("id".to_owned(), Value::Int(id));
                cells.insert("id".to_owned(), id);
            }
            for field in BASE {
                if self.random.one_in(2) {
                    continue;
                }
                let value = match self.random.below(9) {
                    0 => None,
                    number => Some(number as i64 - 1),
                };
                record.insert(field.to_owned(), value.map_or(Value::Null, Value::Int));
                match value {
                    Some(value) => drop(cells.insert(field.to_owned(), value)),
                    None => drop(cells.remove(field)),
                }
            }
            if has_elements(schema) && self.approved > 2 && self.random.one_in(2) {
                let mut put = BTreeMap::new();
                for key in ["0", "1", "2"] {
                    if self.random.one_in(2) {
                        let value = self.random.below(9) as i64;
                        cells.insert(format!("{PUT}/{key}"), value);
                        put.insert(key.to_owned(), Value::Int(value));
                    }
                }
                record.insert(PUT.to_owned(), Value::Object(put));
            }
            mutations.push(Mutation::upsert(name(schema), vec![record]));
            let gone = format!("{PUT}/1");
            if self.random.one_in(4) && cells.remove(&gone).is_some() {
                let keys = vec!["1".to_owned()];
                mutations.push(Mutation::remove(name(schema), key, PUT, keys));
            }
        }
        // All become one commit, after which everything is computed once.
        let run = self.db().transact(|tx| {
            for mutation in &mutations {
                tx.mutate(mutation.clone())?;
            }
            Ok::<_, FoldDbError>(())
        });
        let commit = run.unwrap().1.commit.0;
        self.recompute();
        self.check_now();
        if self.limits == (PropagationLimits { outputs: 1_000, steps: 2_000_000 }) && is_filled {
            self.past.push((commit, self.approved, self.world.clone()));
        }
    }

    fn states(&self, schema: &str) -> Vec<datafold::schema::TransformStatus> {
        self.db().schemas().transforms(&name(schema)).unwrap()
    }

    fn is_filled(&self) -> bool {
        let approved = SCHEMAS.iter().take(self.approved);
        approved.flat_map(|schema| self.states(schema)).all(|found| found.state != "filling")
    }

    /// What is not stale is what the model says.
    fn check_now(&self) {
        for computed in self.computed.iter().take(self.approved) {
            let is_filled = self.states(computed.schema).iter().all(|of| of.state != "filling");
            let found = self.compare(computed, None, self.approved, &self.world, is_filled);
            assert!(found.is_empty(), "{}, now: {found}", computed.schema);
        }
    }

    /// Waits until nothing is queued; then everything is what the model says.
    fn settle(&mut self) {
        for schema in SCHEMAS.iter().take(self.approved) {
            self.db().schemas().wait_for_transforms(&name(schema)).unwrap();
            for found in self.states(schema) {
                assert_eq!((found.state, found.queued, found.failing), ("ready", 0, 0));
            }
        }
        self.check_now();
        check_sound(self.db());
        // Every version is computed again, those of the past included.
        let derived = self.db().verify_derived(|difference| panic!("{difference:?}")).unwrap();
        assert_eq!((derived.differences, derived.aggregated), (0, 0));
        let commit = self.db().stats().unwrap().commit.0;
        self.past.push((commit, self.approved, self.world.clone()));
    }

    fn check_past(&mut self) {
        for _ in 0..3 {
            let Some((commit, approved, world)) = self.random.choose(&self.past) else { break };
            for computed in self.computed.iter().take(*approved) {
                let found = self.compare(computed, Some(*commit), *approved, world, true);
                assert!(found.is_empty(), "{}, as of {commit}: {found}", computed.schema);
            }
        }
    }

    /// What differs of a schema.
    fn compare(
        &self,
        computed: &Computed,
        as_of: Option<u64>,
        approved: usize,
        world: &World,
        is_filled: bool,
    ) -> String {
        let mut request = QueryRequest::new(name(computed.schema));
        request.as_of = as_of.map(|commit| commit.to_string());
        let answer = self.db().query(&request).unwrap();
        let mut records = world.get(root(computed.schema)).cloned().unwrap_or_default();
        if computed.schema == "One" {
            records.entry(0).or_default();
        }
        let mut differences = String::new();
        if answer.records.len() != records.len() {
            let found = answer.records.len();
            write!(differences, "{found} records, expected {}", records.len()).unwrap();
        }
        assert!(approved > 0);
        let computed_fields = computed.fields.iter().map(|(field, _)| field.as_str());
        let is_checked = |field: &&str| {
            BASE.contains(field)
                || *field == PUT
                || (is_filled && !answer.stale.iter().any(|stale| stale.as_str() == *field))
        };
        let out = computes_out(computed.schema).map(|_| OUT);
        let put = has_elements(computed.schema).then_some(PUT);
        let range = (!computed.range.is_empty()).then_some(RANGE);
        let fields = BASE.into_iter().chain(computed_fields).chain(out).chain(put).chain(range);
        let fields: Vec<_> = fields.filter(is_checked).collect();
        for (record, (id, cells)) in answer.records.iter().zip(&records) {
            for field in &fields {
                let expected = match *field {
                    PUT | RANGE => {
                        let member =
                            |(key, value): (&str, i64)| (key.to_owned(), Value::Int(value));
                        Value::Object(elements(cells, field).map(member).collect())
                    }
                    _ => cells.get(*field).map_or(Value::Null, |value| Value::Int(*value)),
                };
                let value = record.get(field).unwrap();
                if *value != expected {
                    let (value, expected) = (value.to_json(), expected.to_json());
                    let logic = computed.fields.iter().find(|(name, _)| name == field);
                    let logic = logic.map(|(_, logic)| logic.source());
                    writeln!(differences, "{id}.{field} is {value}, not {expected}; {logic:?}")
                        .unwrap();
                }
            }
        }
        differences
    }
}

/// The canary: values that are not those of the model are found, now and in the past.
#[test]
fn the_model_finds_values_that_are_wrong() {
    let (mut changed, mut told) = (0, 0);
    for index in 0..10 {
        let mut run = Run::new(Random::part(7, index).next_u64());
        (0..15).for_each(|_| run.mutate());
        run.settle();
        let commit = run.past.last().unwrap().0;
        let mut world = run.world.clone();
        for computed in run.computed.iter().take(run.approved) {
            let records = world.get_mut(root(computed.schema));
            for cells in records.into_iter().flat_map(BTreeMap::values_mut) {
                for (field, _) in &computed.fields {
                    changed += 1;
                    *cells.entry(field.clone()).or_insert(0) += 1;
                }
            }
            for as_of in [None, Some(commit)] {
                let found = run.compare(computed, as_of, run.approved, &world, true);
                told += found.lines().count();
            }
        }
    }
    assert!(changed > 0);
    assert_eq!(told, 2 * changed);
}

#[test]
fn what_reads_other_records_is_what_a_full_recomputation_gives() {
    let seed = seed_from_env(0xFEED);
    // A seed that was given is the one of the run that failed.
    let one = std::env::var("DATAFOLD_SEED").is_ok();
    let runs = if is_full_size() { 5_000 } else { 200 };
    for index in 0..if one { 1 } else { runs } {
        let seed = if one { seed } else { Random::part(seed, index).next_u64() };
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..10 + run.random.below(40) {
                run.step();
            }
            run.settle();
            run.check_past();
        });
        if let Err(panic) = outcome {
            eprintln!("run {index} failed: {}", replay(seed));
            std::panic::resume_unwind(panic);
        }
    }
}
