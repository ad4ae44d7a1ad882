//! Compiles the transforms of a schema, and says what is wrong with them.

use std::collections::BTreeSet;
use std::fmt;

use datafold_lang::{
    self as lang, CompileError, Compiler, Diagnostic, FieldPath, LookupType, Named, Names, Program,
    Type,
};

use super::catalogue::SchemaEntry;
use super::transform::{Logic, Source};
use crate::model::{Field, FieldKind, FieldName, TransformDefinition, qualified, type_of};

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
        let named = qualified(input).filter(|(of, _)| of == schema);
        if named.and_then(|(_, name)| entry.place(name.as_str())).is_none() {
            return refuse(format!("its input `{input}` is not a field of `{schema}`"));
        }
    }
    let program = compile(entry, &definition.logic, &BTreeSet::new())
        .map_err(|error| TransformProblem::of_logic(field, error))?;
    let refused: Vec<_> = program
        .inputs()
        .iter()
        .filter_map(|input| {
            let name = input.path.field.as_str();
            Some((name, refusal(entry, field, definition, name)?))
        })
        .collect();
    if !refused.is_empty() {
        let error = place(entry, &definition.logic, &refused);
        return Err(TransformProblem::of_logic(field, error));
    }
    let stored = type_of(field);
    if !program.result_type().may_become(&stored) {
        let found = program.result_type();
        return refuse(format!("its result is {found}, but the field takes {stored}"));
    }
    bind(entry, program).map_err(|rule| TransformProblem::new(field, rule))
}

/// Compiles logic that was approved, without further questions.
pub(crate) fn recompile(
    entry: &SchemaEntry,
    definition: &TransformDefinition,
) -> Result<Option<Logic>, CompileError> {
    let program = compile(entry, &definition.logic, &BTreeSet::new())?;
    Ok(bind(entry, program).ok())
}

fn compile(
    entry: &SchemaEntry,
    logic: &str,
    hidden: &BTreeSet<&str>,
) -> Result<Program, CompileError> {
    Compiler::new(&RecordNames { entry, hidden }).program(logic)
}

/// Where the inputs of a program are.
fn bind(entry: &SchemaEntry, program: Program) -> Result<Logic, String> {
    let source = |input: &lang::Input| {
        let name = input.path.field.as_str();
        if let Some(part) = entry.schema.key.iter().position(|key| key.as_str() == name) {
            return Ok(Source::Key(part));
        }
        let place = entry.place(name).filter(|place| place.schema == entry.records());
        place.map(|place| Source::Cell(place.field)).ok_or_else(|| format!("`{name}` is missing"))
    };
    let sources = program.inputs().iter().map(source).collect::<Result<_, _>>()?;
    Ok(Logic { program, sources })
}

/// Why a transform cannot read a field of its schema, if it cannot.
fn refusal(
    entry: &SchemaEntry,
    output: &Field,
    definition: &TransformDefinition,
    name: &str,
) -> Option<(String, Option<String>)> {
    let schema = &entry.schema.name;
    if name == output.name.as_str() {
        return Some((format!("`{name}` would be computed from itself"), None));
    }
    let is_listed = |input: &String| qualified(input).is_some_and(|(_, own)| own.as_str() == name);
    if !definition.inputs.is_empty() && !definition.inputs.iter().any(is_listed) {
        let hint = format!("add \"{schema}.{name}\" to `inputs`, or leave `inputs` out");
        return Some((format!("`{name}` is not among the inputs"), Some(hint)));
    }
    let (place, field) = entry.placed_field(name)?;
    if field.kind != FieldKind::Single {
        let rule = format!("`{name}` has elements, and a transform reads Single fields");
        return Some((rule, None));
    }
    if place.schema != entry.records() && !entry.schema.key.iter().any(|key| key.as_str() == name) {
        return Some((format!("`{name}` has its data in another schema"), None));
    }
    None
}

/// The diagnostics of names that may not be read, where they stand.
fn place(
    entry: &SchemaEntry,
    logic: &str,
    refused: &[(&str, (String, Option<String>))],
) -> CompileError {
    let hidden = refused.iter().map(|(name, _)| *name).collect();
    let mut error = match compile(entry, logic, &hidden) {
        Err(error) => error,
        // A name that is hidden is unknown wherever it stands.
        Ok(_) => CompileError { diagnostics: Vec::new() },
    };
    for found in &mut error.diagnostics {
        let span = found.span.start as usize..found.span.end as usize;
        let text = logic.get(span).unwrap_or_default();
        let named = |name: &str| text == name || text.ends_with(&format!(".{name}"));
        if let Some((_, (rule, hint))) = refused.iter().find(|(name, _)| named(name)) {
            found.message.clone_from(rule);
            found.hint.clone_from(hint);
        }
    }
    error
}

/// The fields of a schema, but for some.
struct RecordNames<'a> {
    entry: &'a SchemaEntry,
    hidden: &'a BTreeSet<&'a str>,
}

impl RecordNames<'_> {
    fn field(&self, name: &str) -> Option<Type> {
        if self.hidden.contains(name) {
            return None;
        }
        self.entry.placed_field(name).map(|(_, field)| type_of(field))
    }
}

impl Names for RecordNames<'_> {
    fn named(&self, name: &str) -> Named {
        match self.field(name) {
            Some(of) => Named::Field(FieldPath { schema: None, field: name.to_owned() }, of),
            None => Named::Unknown,
        }
    }

    fn qualified(&self, schema: &str, field: &str) -> Option<Option<Type>> {
        (schema == self.entry.schema.name.as_str()).then(|| self.field(field))
    }

    fn lookup(&self, _: &str) -> Option<&LookupType> {
        None
    }

    fn parameter(&self, _: &str) -> Option<&lang::Value<'static>> {
        None
    }

    /// The same inputs give the same result at any time.
    fn has_clock(&self) -> bool {
        false
    }

    fn known(&self, schema: Option<&str>) -> Vec<String> {
        let own = self.entry.schema.name.as_str();
        if schema.is_some_and(|schema| schema != own) {
            return Vec::new();
        }
        let fields = self.entry.schema.fields.iter().map(|field| field.name.to_string());
        fields.filter(|name| !self.hidden.contains(name.as_str())).collect()
    }

    fn known_parameters(&self) -> Vec<String> {
        Vec::new()
    }
}
