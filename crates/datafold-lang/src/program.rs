//! From a source to something that runs.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::SOURCE_BYTES_MAX;
use crate::check::Checker;
use crate::constraint::{Constraints, constraints};
use crate::diagnostic::{Checked, Diagnostic, ErrorKind, Fault, Span};
use crate::eval::Machine;
use crate::meter::{Limits, Meter};
use crate::node::{Node, Statement};
use crate::parser::{parse_expression, parse_program};
use crate::scope::{FieldPath, InputError, Inputs, Names};
use crate::types::{Kinds, Type};
use crate::value::Value;

/// A field that a program reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Which one.
    pub path: FieldPath,
    /// Its type, as the scope told it.
    pub of: Type,
}

/// A field of another schema's records that a program reads by their keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// Which one; it has a schema.
    pub path: FieldPath,
    /// Its type, as the scope told it.
    pub of: Type,
    /// The parts of the key, in order: the place in [`Program::inputs`] of a part that is a field
    /// and nothing else, such as `tailnum` in `Plane[tailnum].seats`; `None` for what is computed
    /// or constant.
    pub key: Vec<Option<usize>>,
}

/// Why a source cannot run: everything that is wrong with it, up to ten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// In the order of the source; at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl CompileError {
    pub(crate) fn new(source: &str, faults: Vec<Fault>) -> Self {
        let faults = faults.into_iter().map(|fault| Diagnostic::new(source, fault));
        let mut diagnostics: Vec<_> = faults.collect();
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Self { diagnostics }
    }

    /// A name of the first diagnostic's family that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.diagnostics.first().map_or(ErrorKind::Syntax.code(), Diagnostic::code)
    }

    /// All diagnostics with their source lines.
    #[must_use]
    pub fn render(&self) -> String {
        self.diagnostics.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n")
    }
}

/// The first diagnostic, in one line.
impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.diagnostics.first() else { return Ok(()) };
        first.fmt(f)?;
        match self.diagnostics.len() - 1 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl Error for CompileError {}

/// Why a run has no result.
#[derive(Debug)]
pub struct EvalError {
    /// What went wrong, and where in the source.
    pub diagnostic: Box<Diagnostic>,
    source: Option<InputError>,
}

impl EvalError {
    /// A name of the family that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.diagnostic.code()
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

/// Its source is what an input answered.
impl Error for EvalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}

/// Makes programs of sources.
///
/// # Cost
///
/// Less than 100 ms for any source, some microseconds for a usual one. Keep programs and run them
/// often.
pub struct Compiler<'s> {
    names: &'s dyn Names,
    folds: bool,
}

impl<'s> Compiler<'s> {
    /// A compiler for sources that may use these names.
    #[must_use]
    pub fn new(names: &'s dyn Names) -> Self {
        Self { names, folds: true }
    }

    /// Whether what is constant is computed once, by the compiler (the default), or in each run.
    /// Results are the same, but for two things: runs that compute less reach their limits later,
    /// and only what was computed is known as a constant where one is asked for (a pattern, a text
    /// beside a time, a [constraint](Filter::constraints)).
    #[must_use]
    pub fn fold_constants(mut self, folds: bool) -> Self {
        self.folds = folds;
        self
    }

    /// Compiles a condition: one expression that is true or false.
    ///
    /// # Errors
    ///
    /// A [`CompileError`] with everything that is wrong, unknown names and types included.
    ///
    /// ```
    /// use datafold_lang::{Compiler, Scope, Type, Value};
    ///
    /// let scope = Scope::new().with("origin", Type::TEXT).with("distance", Type::NUMBER);
    /// let filter = Compiler::new(&scope).filter("distance > 1000 && origin in ['JFK', 'LGA']")?;
    /// let names: Vec<_> = filter.inputs().iter().map(|input| input.path.field.as_str()).collect();
    /// assert_eq!(names, ["distance", "origin"]);
    /// assert!(filter.matches(&[Value::Int(1400), Value::from("JFK")])?);
    /// assert!(!filter.matches(&[Value::Null, Value::from("JFK")])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(&self, source: &str) -> Result<Filter, CompileError> {
        let program = self.one_expression(source, true)?;
        Ok(Filter { program })
    }

    /// Compiles one expression.
    ///
    /// # Errors
    ///
    /// As [`Compiler::filter`].
    pub fn expression(&self, source: &str) -> Result<Program, CompileError> {
        self.one_expression(source, false)
    }

    /// Compiles a list of statements, with the value of the first `return` that runs, else of the
    /// last expression statement that ran.
    ///
    /// # Errors
    ///
    /// As [`Compiler::filter`].
    ///
    /// ```
    /// use datafold_lang::{Compiler, Scope, Type, Value};
    ///
    /// let scope = Scope::new().with("distance", Type::NUMBER).with("air_time", Type::NUMBER);
    /// let source = "if air_time == null { return null; } distance / air_time * 60";
    /// let speed = Compiler::new(&scope).program(source)?;
    /// assert_eq!(speed.inputs()[0].path.field, "air_time");
    /// assert_eq!(speed.evaluate(&[Value::Int(120), Value::Int(1400)])?, Value::Int(700));
    /// assert_eq!(speed.evaluate(&[Value::Null, Value::Int(1400)])?, Value::Null);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn program(&self, source: &str) -> Result<Program, CompileError> {
        check_length(source)?;
        let parsed = parse_program(source);
        let statements = parsed.map_err(|fault| CompileError::new(source, vec![*fault]))?;
        let mut checker = Checker::new(self.names, self.folds);
        let (body, of) = checker.body(&statements);
        finish(checker, source, Body::Statements(body), of)
    }

    fn one_expression(&self, source: &str, is_filter: bool) -> Result<Program, CompileError> {
        check_length(source)?;
        let parsed = parse_expression(source);
        let expr = parsed.map_err(|fault| CompileError::new(source, vec![*fault]))?;
        let mut checker = Checker::new(self.names, self.folds);
        let (node, of) = match is_filter {
            true => (checker.condition(&expr), Type::BOOL),
            false => checker.expr(&expr),
        };
        finish(checker, source, Body::Expression(node), of)
    }
}

fn check_length(source: &str) -> Result<(), CompileError> {
    if source.len() <= SOURCE_BYTES_MAX {
        return Ok(());
    }
    let message =
        format!("a source has at most {SOURCE_BYTES_MAX} bytes, this one has {}", source.len());
    let start = Fault::new(ErrorKind::SourceTooLong, message).at(Span::new(0, 1));
    Err(CompileError::new("", vec![*start]))
}

fn finish(
    checker: Checker<'_>,
    source: &str,
    body: Body,
    of: Type,
) -> Result<Program, CompileError> {
    if !checker.faults.is_empty() {
        return Err(CompileError::new(source, checker.faults));
    }
    let Checker { inputs, lookups, places, .. } = checker;
    let of = if of.kinds.is_subset(Kinds::NULL) { Type::NULL } else { of };
    let code = Code { source: source.into(), body, inputs, lookups, places, of };
    Ok(Program { code: Arc::new(code) })
}

/// A compiled source; a clone shares it.
#[derive(Debug, Clone)]
pub struct Program {
    code: Arc<Code>,
}

#[derive(Debug)]
struct Code {
    source: Box<str>,
    body: Body,
    inputs: Vec<Input>,
    lookups: Vec<Lookup>,
    /// How many locals there are.
    places: usize,
    of: Type,
}

#[derive(Debug)]
enum Body {
    Expression(Node),
    Statements(Vec<Statement>),
}

impl Program {
    /// The source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.code.source
    }

    /// The fields that it reads, by their slots: each once, in the order of the source. They are
    /// what it depends on, besides its [lookups](Program::lookups).
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.code.inputs
    }

    /// The fields of other schemas' records that it reads by their keys.
    #[must_use]
    pub fn lookups(&self) -> &[Lookup] {
        &self.code.lookups
    }

    /// The type of its results, which may also be null.
    #[must_use]
    pub fn result_type(&self) -> &Type {
        &self.code.of
    }

    /// Runs it within [`Limits::DEFAULT`].
    ///
    /// # Errors
    ///
    /// An [`EvalError`] with the place in the source: overflow, a division by zero, a value of the
    /// wrong type where the types were not known, a limit, an input that could not be read.
    pub fn evaluate<'a>(&'a self, inputs: &'a dyn Inputs) -> Result<Value<'a>, EvalError> {
        self.evaluate_within(inputs, &Limits::DEFAULT)
    }

    /// Runs it within other limits.
    ///
    /// # Errors
    ///
    /// As [`Program::evaluate`].
    pub fn evaluate_within<'a>(
        &'a self,
        inputs: &'a dyn Inputs,
        limits: &Limits,
    ) -> Result<Value<'a>, EvalError> {
        self.evaluate_counted(inputs, limits).0
    }

    /// As [`Program::evaluate_within`], with the number of steps that it took.
    pub fn evaluate_counted<'a>(
        &'a self,
        inputs: &'a dyn Inputs,
        limits: &Limits,
    ) -> (Result<Value<'a>, EvalError>, u64) {
        let mut machine = self.machine(inputs, limits);
        let result = match &self.code.body {
            Body::Expression(node) => machine.eval(node),
            Body::Statements(statements) => machine.run(statements),
        };
        let steps = limits.steps.saturating_sub(machine.steps_left());
        let result = result.and_then(|value| self.check_output(value, limits));
        (result.map_err(|fault| self.error(fault, machine.failure)), steps)
    }

    fn machine<'a>(&'a self, inputs: &'a dyn Inputs, limits: &Limits) -> Machine<'a> {
        Machine::new(inputs, self.code.places, Meter::new(limits))
    }

    fn check_output<'a>(&self, value: Value<'a>, limits: &Limits) -> Checked<Value<'a>> {
        if value.weight() > limits.output_bytes {
            let message = "the result is larger than a result may be";
            let whole = Span::new(0, self.code.source.len());
            return Err(Fault::new(ErrorKind::OutputTooLarge, message).at(whole));
        }
        Ok(value)
    }

    #[cold]
    #[expect(clippy::boxed_local, reason = "faults are handed on in their boxes")]
    fn error(&self, fault: Box<Fault>, source: Option<InputError>) -> EvalError {
        let diagnostic = Box::new(Diagnostic::new(&self.code.source, *fault));
        EvalError { diagnostic, source }
    }
}

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Program,
}

impl Filter {
    /// The program that computes the condition.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The fields that it reads, by their slots.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        self.program.inputs()
    }

    /// Whether the condition holds; null counts as false. Runs within [`Limits::DEFAULT`].
    ///
    /// # Errors
    ///
    /// As [`Program::evaluate`].
    ///
    /// # Cost
    ///
    /// Some tens of nanoseconds for a few comparisons.
    pub fn matches(&self, inputs: &dyn Inputs) -> Result<bool, EvalError> {
        self.matches_within(inputs, &Limits::DEFAULT)
    }

    /// Whether the condition holds, within other limits.
    ///
    /// # Errors
    ///
    /// As [`Program::evaluate`].
    pub fn matches_within(&self, inputs: &dyn Inputs, limits: &Limits) -> Result<bool, EvalError> {
        let Body::Expression(node) = &self.program.code.body else { return Ok(false) };
        let mut machine = self.program.machine(inputs, limits);
        machine.test(node).map_err(|fault| self.program.error(fault, machine.failure))
    }

    /// What the condition says of single fields: equalities, ranges and prefixes that are joined
    /// by `&&`.
    ///
    /// ```
    /// use datafold_lang::{Compiler, Constraint, Scope, Type, Value};
    ///
    /// let scope = Scope::new().with("a", Type::INTEGER).with("b", Type::TEXT);
    /// let filter = Compiler::new(&scope).filter("a in [2, 1] && starts_with(b, 'x')")?;
    /// let values = vec![Value::Int(1), Value::Int(2)];
    /// let found = filter.constraints();
    /// assert!(found.is_exact);
    /// assert_eq!(found.all[0], Constraint::OneOf { slot: 0, values });
    /// assert_eq!(found.all[1], Constraint::Prefix { slot: 1, prefix: "x".into() });
    /// # Ok::<(), datafold_lang::CompileError>(())
    /// ```
    #[must_use]
    pub fn constraints(&self) -> Constraints {
        match &self.program.code.body {
            Body::Expression(node) => constraints(node),
            Body::Statements(_) => Constraints::default(),
        }
    }
}
