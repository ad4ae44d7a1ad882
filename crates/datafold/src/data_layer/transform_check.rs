//! Compiles the transforms of a schema, and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafold_lang::{
    self as lang, CompileError, Compiler, Diagnostic, FieldPath, LookupType, Named, Names, Program,
    Scope, Type,
};

use super::aggregate::Aggregate;
use super::catalogue::{SchemaCore, SchemaEntry};
use super::transform::{Logic, LookupSource, Part, Source, Target};
use super::transform_output::{Home, has_same_key, home, no_home};
use crate::model::{
    AggregateDefinition, AggregateKind, Field, FieldKind, FieldName, SchemaState,
    TransformDefinition, qualified, type_of,
};

/// What is wrong with one transform of a schema that is to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformProblem {
    /// The field that it computes.
    pub field: FieldName,
    /// The rule that it breaks; that of the first diagnostic if there are some.
    pub rule: String,
    /// What is wrong with the logic, each with its place.
    pub diagnostics: Vec<Diagnostic>,
}

impl TransformProblem {
    pub(crate) fn new(field: &Field, rule: impl Into<String>) -> Self {
        Self { field: field.name.clone(), rule: rule.into(), diagnostics: Vec::new() }
    }

    fn of_logic(field: &Field, error: CompileError) -> Self {
        let rule = error.to_string();
        Self { field: field.name.clone(), rule, diagnostics: error.diagnostics }
    }

    /// The name of the family of the first diagnostic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.diagnostics.first().map_or("transform_refused", Diagnostic::code)
    }
}

impl fmt::Display for TransformProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the transform of `{}`: {}", self.field, self.rule)
    }
}

/// Checks and compiles the transform of a field that has one; answers where its results go, too.
pub(crate) fn check<'a>(
    catalogue: &'a SchemaCore,
    entry: &'a SchemaEntry,
    field: &Field,
    definition: &TransformDefinition,
) -> Result<(Home<'a>, Logic), TransformProblem> {
    let refuse = |rule: String| Err(TransformProblem::new(field, rule));
    if !field.mappers.is_empty() {
        return refuse("the field is mapped too, so that its data would have two writers".into());
    }
    let schema = &entry.schema.name;
    let Some(home) = home(catalogue, entry, field) else {
        return refuse(no_home(catalogue, definition));
    };
    let kind = home.field().map_or(FieldKind::Single, |output| output.kind);
    if kind == FieldKind::Collection {
        return refuse("it is a Collection field, and Single and Range fields are computed".into());
    }
    if let Some(rule) = home.refusal(catalogue, entry) {
        return refuse(rule);
    }
    for input in &definition.inputs {
        let named = qualified(input).and_then(|(of, name)| {
            let of = if of == *schema { entry } else { catalogue.get(of.as_str())? };
            of.place(name.as_str())
        });
        if named.is_none() {
            let of = qualified(input).map(|(of, _)| of);
            let of = of.filter(|of| catalogue.get(of.as_str()).is_some());
            let of = of.unwrap_or_else(|| schema.clone());
            return refuse(format!("its input `{input}` is not a field of `{of}`"));
        }
    }
    let aggregates = aggregates(catalogue, (entry, home), definition, true)
        .map_err(|problem| problem.of(field))?;
    let aggregates = &aggregates[..];
    let names = ReadableNames { catalogue, entry, home, definition, aggregates, is_new: true };
    let program = compile(&names, &BTreeSet::new())
        .map_err(|error| TransformProblem::of_logic(field, error))?;
    let refused: Vec<_> =
        paths(&program).filter_map(|path| Some((path.clone(), names.refusal(path)?))).collect();
    if !refused.is_empty() {
        return Err(TransformProblem::of_logic(field, names.place(&refused)));
    }
    let stored = home.field().map_or(Type::ANY, type_of);
    if !program.result_type().may_become(&stored) {
        let found = program.result_type();
        return refuse(format!("its result is {found}, but the field takes {stored}"));
    }
    if kind == FieldKind::Range
        && let Some((name, of)) = program.result_type().unfit_member(&stored)
    {
        let what = match name {
            Some(name) => format!("the member `{name}` of its result is {of}"),
            None => format!("the members of its result are {of}"),
        };
        return refuse(format!("{what}, which the elements of the field cannot be"));
    }
    let logic = names.bind(program).map_err(|rule| TransformProblem::new(field, rule))?;
    Ok((home, logic))
}

/// Compiles logic that was approved, without further questions.
pub(crate) fn recompile(
    catalogue: &SchemaCore,
    entry: &SchemaEntry,
    home: Home<'_>,
    definition: &TransformDefinition,
) -> Result<Option<Logic>, CompileError> {
    let aggregates = match aggregates(catalogue, (entry, home), definition, false) {
        Ok(aggregates) => aggregates,
        Err(AggregateProblem { error: Some(error), .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    let aggregates = &aggregates[..];
    let names = ReadableNames { catalogue, entry, home, definition, aggregates, is_new: false };
    let program = compile(&names, &BTreeSet::new())?;
    Ok(names.bind(program).ok())
}

fn compile(
    names: &ReadableNames<'_>,
    hidden: &BTreeSet<FieldPath>,
) -> Result<Program, CompileError> {
    let logic = &names.definition.logic;
    let compiled = Compiler::new(&LogicNames::new(*names, hidden)).program(logic);
    compiled.map_err(|mut error| {
        for found in &mut error.diagnostics {
            names.explain(found);
        }
        error
    })
}

fn paths(program: &Program) -> impl Iterator<Item = &FieldPath> {
    let inputs = program.inputs().iter().map(|input| &input.path);
    inputs.chain(program.lookups().iter().map(|lookup| &lookup.path))
}

/// The schemas and fields that the logic of a field may read.
#[derive(Clone, Copy)]
struct ReadableNames<'a> {
    catalogue: &'a SchemaCore,
    /// The schema that defines the transform.
    entry: &'a SchemaEntry,
    home: Home<'a>,
    definition: &'a TransformDefinition,
    /// The aggregates of the definition, with the types of their values.
    aggregates: &'a [(Aggregate, Type)],
    /// Whether it is not approved yet.
    is_new: bool,
}

impl<'a> ReadableNames<'a> {
    /// Another schema, if its records can be read: what was approved once can always be.
    fn other(self, schema: &str) -> Option<&'a SchemaEntry> {
        if schema == self.entry.schema.name.as_str() {
            return Some(self.entry);
        }
        let found = self.catalogue.get(schema)?;
        let is_readable = !self.is_new || found.state == SchemaState::Approved;
        is_readable.then_some(found)
    }

    /// The schema of a path, if it is not the own one.
    fn schema_of(self, path: &FieldPath) -> Option<&'a SchemaEntry> {
        let schema = path.schema.as_deref()?;
        if schema == self.entry.schema.name.as_str() { None } else { self.other(schema) }
    }

    /// Where the inputs and lookups of a program are.
    fn bind(self, program: Program) -> Result<Logic, String> {
        let missing = |path: &FieldPath| format!("`{}` is missing", path.field);
        let source = |input: &lang::Input| {
            let path = &input.path;
            if let Some(slot) = self.aggregate(path) {
                return Ok(Source::Aggregate(slot));
            }
            let source = match self.schema_of(path) {
                Some(other) => self.other_source(other, &path.field),
                None if self.home.is_of(self.entry) => self.own_source(&path.field),
                None => self.other_source(self.entry, &path.field),
            };
            source.ok_or_else(|| missing(path))
        };
        let sources = program.inputs().iter().map(source).collect::<Result<_, _>>()?;
        let lookup = |lookup: &lang::Lookup| {
            let path = &lookup.path;
            // A lookup may be of the own schema.
            let of = path.schema.as_deref().and_then(|schema| self.other(schema));
            let found = of.and_then(|of| {
                let schema = Arc::clone(&of.schema);
                Some(LookupSource { target: target(of, &path.field)?, schema })
            });
            found.ok_or_else(|| missing(path))
        };
        let lookups = program.lookups().iter().map(lookup).collect::<Result<_, _>>()?;
        let aggregates = self.aggregates.iter().map(|(found, _)| found.clone()).collect();
        Ok(Logic { program, sources, lookups, aggregates })
    }

    /// The place of the aggregate with this name.
    fn aggregate(self, path: &FieldPath) -> Option<usize> {
        let is_it = |(found, _): &(Aggregate, Type)| found.definition.name.as_str() == path.field;
        self.aggregates.iter().position(is_it).filter(|_| path.schema.is_none())
    }

    fn own_source(self, name: &str) -> Option<Source> {
        match target(self.entry, name)? {
            Target { part: Part::Key(part), .. } => Some(Source::Key(part)),
            Target { records, part: Part::Cell(field) } => {
                let (_, found) = self.entry.placed_field(name)?;
                let source = match found.kind {
                    FieldKind::Single => Source::Cell(field),
                    FieldKind::Collection | FieldKind::Range => Source::Elements(field),
                };
                (records == self.entry.records()).then_some(source)
            }
        }
    }

    fn other_source(self, other: &SchemaEntry, name: &str) -> Option<Source> {
        let target = target(other, name)?;
        let is_own = target.records == self.home.entry.records();
        Some(match target.part {
            // Two schemas over the same records.
            Part::Cell(field) if is_own => Source::Cell(field),
            Part::Key(part) if is_own => Source::Key(part),
            _ if other.schema.is_keyed() => Source::Same(target),
            _ => Source::One(target),
        })
    }

    /// Why a field cannot be read, if it cannot.
    fn refusal(self, path: &FieldPath) -> Option<(String, Option<String>)> {
        if self.aggregate(path).is_some() {
            return None;
        }
        let name = path.field.as_str();
        let schema = path.schema.as_deref().unwrap_or(self.entry.schema.name.as_str());
        let is_own = schema == self.entry.schema.name.as_str();
        let is_at_home = is_own && self.home.is_of(self.entry);
        let is_output = self.home.field().is_some_and(|output| output.name.as_str() == name);
        if is_at_home && is_output && self.is_new {
            return Some((format!("`{name}` would be computed from itself"), None));
        }
        let is_listed = |input: &String| {
            qualified(input).is_some_and(|(of, own)| of.as_str() == schema && own.as_str() == name)
        };
        let inputs = &self.definition.inputs;
        if !inputs.is_empty() && !inputs.iter().any(is_listed) {
            let hint = format!("add \"{schema}.{name}\" to `inputs`, or leave `inputs` out");
            return Some((format!("`{name}` is not among the inputs"), Some(hint)));
        }
        let of = if is_own { self.entry } else { self.other(schema)? };
        let (place, field) = of.placed_field(name)?;
        if field.kind != FieldKind::Single && !is_at_home {
            let rule =
                format!("`{name}` has elements, and of other records Single fields are read");
            return Some((rule, None));
        }
        let is_key = self.entry.schema.key.iter().any(|key| key.as_str() == name);
        if is_at_home && place.schema != self.entry.records() && !is_key {
            return Some((format!("`{name}` has its data in another schema"), None));
        }
        None
    }

    /// The diagnostics of fields that may not be read, where they stand.
    fn place(self, refused: &[(FieldPath, (String, Option<String>))]) -> CompileError {
        let hidden = refused.iter().map(|(path, _)| path.clone()).collect();
        let mut error = match compile(&self, &hidden) {
            Err(error) => error,
            // A name that is hidden is unknown wherever it stands.
            Ok(_) => CompileError { diagnostics: Vec::new() },
        };
        for found in &mut error.diagnostics {
            let text = self.text(found);
            let named = |name: &str| text == name || text.ends_with(&format!(".{name}"));
            if let Some((_, (rule, hint))) = refused.iter().find(|(path, _)| named(&path.field)) {
                found.message.clone_from(rule);
                found.hint.clone_from(hint);
            }
        }
        error
    }

    fn text(self, found: &Diagnostic) -> &'a str {
        let span = found.span.start as usize..found.span.end as usize;
        self.definition.logic.get(span).unwrap_or_default()
    }

    /// Says of a schema that cannot be read why that is.
    fn explain(self, found: &mut Diagnostic) {
        let text = self.text(found);
        let Some(other) = self.catalogue.get(text) else { return };
        let name = &other.schema.name;
        let (rule, hint) = if self.other(text).is_none() {
            let rule = format!("`{name}` is not approved, so that its fields cannot be read");
            (rule, format!("approve `{name}` first"))
        } else if !other.schema.is_keyed() {
            let rule = format!("`{name}` has one record and no key");
            (rule, format!("write `{name}.field`"))
        } else {
            return;
        };
        found.message = rule;
        found.hint = Some(hint);
    }
}

/// Why an aggregate cannot be kept.
struct AggregateProblem {
    /// What comes before the rule: which aggregate, and which part of it.
    place: String,
    rule: String,
    error: Option<CompileError>,
}

impl AggregateProblem {
    fn of(self, field: &Field) -> TransformProblem {
        let Self { place, rule, error } = self;
        let mut found = match error {
            Some(error) => TransformProblem::of_logic(field, error),
            None => TransformProblem::new(field, rule),
        };
        found.rule = format!("{place}: {}", found.rule);
        found
    }
}

/// Checks and compiles the aggregates of a transform, which was approved before or is new.
fn aggregates(
    catalogue: &SchemaCore,
    at: (&SchemaEntry, Home<'_>),
    definition: &TransformDefinition,
    is_new: bool,
) -> Result<Vec<(Aggregate, Type)>, AggregateProblem> {
    let compile = |of: &AggregateDefinition| aggregate(catalogue, at, of, is_new);
    definition.aggregates.iter().map(compile).collect()
}

fn aggregate(
    catalogue: &SchemaCore,
    (entry, home): (&SchemaEntry, Home<'_>),
    definition: &AggregateDefinition,
    is_new: bool,
) -> Result<(Aggregate, Type), AggregateProblem> {
    let AggregateDefinition { name, aggregate: call, of, by, filter } = definition;
    let place = |part: &str| format!("its input `{name}`, {part}");
    let refuse =
        |part: &str, rule: String| Err(AggregateProblem { place: place(part), rule, error: None });
    if entry.schema.field(name.as_str()).is_some() {
        let rule = format!("`{name}` is a field of `{}` as well", entry.schema.name);
        return refuse("its name", rule);
    }
    let found = if *of == entry.schema.name {
        Some(entry)
    } else {
        catalogue.get(of.as_str()).map(|found| &**found)
    };
    let Some(source) = found else { return refuse("of", format!("there is no schema `{of}`")) };
    let is_own = *of == entry.schema.name;
    if is_new && !is_own && source.state != SchemaState::Approved {
        return refuse("of", format!("`{of}` is not approved; approve it first"));
    }
    let mut scope = Scope::new();
    for field in &source.schema.fields {
        if readable_part(source, field).is_some() {
            scope = scope.with(field.name.as_str(), type_of(field));
        }
    }
    let key = &home.entry.schema.key;
    if by.len() != key.len() {
        let rule = format!(
            "it names {} fields of `{of}`, one for each part of the own key, which has {}",
            by.len(),
            key.len()
        );
        return refuse("by", rule);
    }
    let mut parts = Vec::with_capacity(by.len());
    for (field, key) in by.iter().zip(key) {
        let found = source.schema.field(field.as_str());
        let part = found.and_then(|found| Some((found, readable_part(source, found)?)));
        let Some((found, part)) = part else {
            let rule = format!("`{field}` is no Single field with its data in `{of}`");
            return refuse("by", rule);
        };
        let own = home.entry.placed_field(key.as_str());
        let own = own.map_or(Type::ANY, |(_, own)| type_of(own));
        let found = type_of(found);
        if !found.may_become(&own) {
            let rule = format!("`{field}` is {found}, but `{key}` is {own}");
            return refuse("by", rule);
        }
        parts.push(part);
    }
    let at = |inputs: &[lang::Input]| -> Box<[Part]> {
        let parts = inputs.iter().map(|input| {
            let field = source.schema.field(&input.path.field)?;
            readable_part(source, field)
        });
        parts.collect::<Option<_>>().unwrap_or_default()
    };
    let compiler = Compiler::new(&scope);
    let wrong = |part: &str, error: CompileError| AggregateProblem {
        place: place(part),
        rule: error.to_string(),
        error: Some(error),
    };
    let filter = filter.as_ref().map(|text| {
        let filter = compiler.filter(text).map_err(|error| wrong("where", error))?;
        let parts = at(filter.inputs());
        Ok((filter, parts))
    });
    let expression = |text: &String| {
        let program = compiler.expression(text).map_err(|error| wrong("aggregate", error))?;
        let parts = at(program.inputs());
        Ok((program, parts))
    };
    let argument = call.source.as_ref().map(expression).transpose()?;
    let order = call.order.as_ref().map(expression).transpose()?;
    let of_argument = argument.as_ref().map_or(Type::ANY, |(of, _)| of.result_type().clone());
    let kind = call.kind;
    if matches!(kind, AggregateKind::Sum | AggregateKind::Average) && !of_argument.may_be_number() {
        let rule = format!("`{}` is of numbers, and this is {of_argument}", kind.as_str());
        return refuse("aggregate", rule);
    }
    let ordered = match kind {
        AggregateKind::Min | AggregateKind::Max => Some(&of_argument),
        _ => order.as_ref().map(|(of, _)| of.result_type()),
    };
    if let Some(found) = ordered.filter(|found| !found.may_be_ordered()) {
        let rule = format!("`{}` needs an order, and {found} has none", kind.as_str());
        return refuse("aggregate", rule);
    }
    let result = match kind {
        AggregateKind::Count | AggregateKind::CountDistinct => Type::INTEGER,
        AggregateKind::Sum | AggregateKind::Average => Type::NUMBER,
        _ => of_argument,
    };
    let first = source.schema.fields.first().map(|field| &field.name);
    let existence = source.schema.key.first().or(first);
    let aggregate = Aggregate {
        definition: definition.clone(),
        records: source.records(),
        existence: existence.map_or_else(String::new, ToString::to_string),
        by: parts.into(),
        owner: Arc::clone(&home.entry.schema),
        filter: filter.transpose()?,
        argument,
        order,
    };
    Ok((aggregate, result))
}

/// Where an aggregate reads a field of the records that it is over.
fn readable_part(source: &SchemaEntry, field: &Field) -> Option<Part> {
    let found = target(source, field.name.as_str())?;
    let is_there = found.records == source.records() && field.kind == FieldKind::Single;
    is_there.then_some(found.part)
}

/// Where a field of a schema is, as seen from other records.
fn target(entry: &SchemaEntry, name: &str) -> Option<Target> {
    if let Some(part) = entry.schema.key.iter().position(|key| key.as_str() == name) {
        return Some(Target { records: entry.records(), part: Part::Key(part) });
    }
    let place = entry.place(name)?;
    Some(Target { records: place.schema, part: Part::Cell(place.field) })
}

/// What the names of a logic stand for, but for some fields.
struct LogicNames<'a> {
    readable: ReadableNames<'a>,
    hidden: &'a BTreeSet<FieldPath>,
    lookups: BTreeMap<&'a str, LookupType>,
}

impl<'a> LogicNames<'a> {
    fn new(readable: ReadableNames<'a>, hidden: &'a BTreeSet<FieldPath>) -> Self {
        let mut names = Self { readable, hidden, lookups: BTreeMap::new() };
        let logic = &readable.definition.logic;
        // A lookup has brackets; few sources have. But what needs a key must be known as well.
        if logic.contains('[') || logic.contains('.') {
            for other in readable.catalogue.iter() {
                let name = other.schema.name.as_str();
                if other.schema.is_keyed() && logic.contains(name) && names.other(name).is_some() {
                    let lookup = names.lookup_type(other);
                    names.lookups.insert(name, lookup);
                }
            }
        }
        names
    }

    fn other(&self, schema: &str) -> Option<&'a SchemaEntry> {
        self.readable.other(schema)
    }

    /// The type of a field; `schema` is `None` for a bare name.
    fn field(&self, entry: &SchemaEntry, schema: Option<&str>, name: &str) -> Option<Type> {
        let path = FieldPath { schema: schema.map(str::to_owned), field: name.to_owned() };
        if self.hidden.contains(&path) {
            return None;
        }
        entry.placed_field(name).map(|(_, field)| type_of(field))
    }

    fn lookup_type(&self, entry: &SchemaEntry) -> LookupType {
        let schema = &entry.schema;
        let name = schema.name.as_str();
        let key = schema.key.iter().map(|part| {
            entry.placed_field(part.as_str()).map_or(Type::ANY, |(_, field)| type_of(field))
        });
        let fields = schema.fields.iter().filter_map(|field| {
            let of = self.field(entry, Some(name), field.name.as_str())?;
            Some((field.name.to_string(), of))
        });
        LookupType { key: key.collect(), fields: fields.collect() }
    }
}

impl Names for LogicNames<'_> {
    fn named(&self, name: &str) -> Named {
        let path = FieldPath { schema: None, field: name.to_owned() };
        if let Some(slot) = self.readable.aggregate(&path)
            && let Some((_, of)) = self.readable.aggregates.get(slot)
        {
            return Named::Field(path, of.clone());
        }
        match self.field(self.readable.entry, None, name) {
            Some(of) => Named::Field(FieldPath { schema: None, field: name.to_owned() }, of),
            None => Named::Unknown,
        }
    }

    fn qualified(&self, schema: &str, field: &str) -> Option<Option<Type>> {
        let own = self.readable.entry;
        if schema == own.schema.name.as_str() {
            return Some(self.field(own, Some(schema), field));
        }
        let other = self.other(schema)?;
        let home = self.readable.home.entry;
        let is_found = !other.schema.is_keyed() || has_same_key(home, other);
        is_found.then(|| self.field(other, Some(schema), field))
    }

    fn lookup(&self, schema: &str) -> Option<&LookupType> {
        self.lookups.get(schema)
    }

    fn parameter(&self, _: &str) -> Option<&lang::Value<'static>> {
        None
    }

    /// The same inputs give the same result at any time.
    fn has_clock(&self) -> bool {
        false
    }

    fn known(&self, schema: Option<&str>) -> Vec<String> {
        let own = self.readable.entry;
        let of = match schema {
            Some(schema) if schema != own.schema.name.as_str() => self.other(schema),
            _ => Some(own),
        };
        let Some(of) = of else { return Vec::new() };
        let fields = of.schema.fields.iter().map(|field| field.name.as_str());
        let fields = fields.filter(|name| self.field(of, schema, name).is_some());
        let mut names: Vec<String> = fields.map(str::to_owned).collect();
        if schema.is_none() {
            let aggregates = self.readable.aggregates.iter();
            names.extend(aggregates.map(|(found, _)| found.definition.name.to_string()));
            let schemas = self.readable.catalogue.iter().map(|other| other.schema.name.to_string());
            names.extend(schemas);
        }
        names
    }

    fn known_parameters(&self) -> Vec<String> {
        Vec::new()
    }
}
