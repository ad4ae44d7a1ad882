//! Compiles the transforms of a schema, and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafold_lang::{
    self as lang, CompileError, Compiler, Diagnostic, FieldPath, LookupType, Named, Names, Program,
    Type,
};

use super::catalogue::{SchemaCore, SchemaEntry};
use super::transform::{Logic, LookupSource, Part, Source, Target};
use crate::model::{
    Field, FieldKind, FieldName, SchemaState, TransformDefinition, qualified, type_of,
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

/// Checks and compiles the transform of a field that has one.
pub(crate) fn check(
    catalogue: &SchemaCore,
    entry: &SchemaEntry,
    field: &Field,
    definition: &TransformDefinition,
) -> Result<Logic, TransformProblem> {
    let refuse = |rule: String| Err(TransformProblem::new(field, rule));
    if field.kind != FieldKind::Single {
        let kind = field.kind;
        return refuse(format!("the field is a {kind} field, and only a Single one is computed"));
    }
    if !field.mappers.is_empty() {
        return refuse("the field is mapped too, so that its data would have two writers".into());
    }
    let schema = &entry.schema.name;
    let is_own =
        |text: &str| qualified(text).is_some_and(|(of, name)| of == *schema && name == field.name);
    if let Some(output) = definition.output.as_ref().filter(|output| !is_own(output)) {
        return refuse(format!(
            "its output is `{output}`, but a transform computes the field that it stands at"
        ));
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
    let names = ReadableNames { catalogue, entry, definition, output: Some(field) };
    let program = compile(&names, &BTreeSet::new())
        .map_err(|error| TransformProblem::of_logic(field, error))?;
    let refused: Vec<_> =
        paths(&program).filter_map(|path| Some((path.clone(), names.refusal(path)?))).collect();
    if !refused.is_empty() {
        return Err(TransformProblem::of_logic(field, names.place(&refused)));
    }
    let stored = type_of(field);
    if !program.result_type().may_become(&stored) {
        let found = program.result_type();
        return refuse(format!("its result is {found}, but the field takes {stored}"));
    }
    names.bind(program).map_err(|rule| TransformProblem::new(field, rule))
}

/// Compiles logic that was approved, without further questions.
pub(crate) fn recompile(
    catalogue: &SchemaCore,
    entry: &SchemaEntry,
    definition: &TransformDefinition,
) -> Result<Option<Logic>, CompileError> {
    let names = ReadableNames { catalogue, entry, definition, output: None };
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
    entry: &'a SchemaEntry,
    definition: &'a TransformDefinition,
    /// The field that it computes, if it is not approved yet.
    output: Option<&'a Field>,
}

impl<'a> ReadableNames<'a> {
    /// Another schema, if its records can be read: what was approved once can always be.
    fn other(self, schema: &str) -> Option<&'a SchemaEntry> {
        if schema == self.entry.schema.name.as_str() {
            return Some(self.entry);
        }
        let found = self.catalogue.get(schema)?;
        let is_readable = self.output.is_none() || found.state == SchemaState::Approved;
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
            let source = match self.schema_of(path) {
                Some(other) => self.other_source(other, &path.field),
                None => self.own_source(&path.field),
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
        Ok(Logic { program, sources, lookups })
    }

    fn own_source(self, name: &str) -> Option<Source> {
        match target(self.entry, name)? {
            Target { part: Part::Key(part), .. } => Some(Source::Key(part)),
            Target { records, part: Part::Cell(field) } => {
                (records == self.entry.records()).then_some(Source::Cell(field))
            }
        }
    }

    fn other_source(self, other: &SchemaEntry, name: &str) -> Option<Source> {
        let target = target(other, name)?;
        Some(match target.part {
            // Two schemas over the same records.
            Part::Cell(field) if target.records == self.entry.records() => Source::Cell(field),
            _ if other.schema.is_keyed() => Source::Same(target),
            _ => Source::One(target),
        })
    }

    /// Why a field cannot be read, if it cannot.
    fn refusal(self, path: &FieldPath) -> Option<(String, Option<String>)> {
        let name = path.field.as_str();
        let schema = path.schema.as_deref().unwrap_or(self.entry.schema.name.as_str());
        let is_own = schema == self.entry.schema.name.as_str();
        if is_own && self.output.is_some_and(|output| output.name.as_str() == name) {
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
        if field.kind != FieldKind::Single {
            let rule = format!("`{name}` has elements, and a transform reads Single fields");
            return Some((rule, None));
        }
        let is_key = self.entry.schema.key.iter().any(|key| key.as_str() == name);
        if is_own && place.schema != self.entry.records() && !is_key {
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

    /// Whether a record of the other schema is found by the own key.
    fn has_same_key(self, other: &SchemaEntry) -> bool {
        let types = |entry: &SchemaEntry| -> Vec<Option<Type>> {
            let key = entry.schema.key.iter();
            key.map(|name| Some(type_of(entry.placed_field(name.as_str())?.1))).collect()
        };
        types(self.entry) == types(other)
    }
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
        let is_found = !other.schema.is_keyed() || self.readable.has_same_key(other);
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
            let schemas = self.readable.catalogue.iter().map(|other| other.schema.name.to_string());
            names.extend(schemas);
        }
        names
    }

    fn known_parameters(&self) -> Vec<String> {
        Vec::new()
    }
}
