//! What is wrong with a source or a run, and where.

use std::fmt;

/// The most characters of a source line that a [`Diagnostic`] shows.
const EXCERPT_CHARS_MAX: usize = 100;
/// What is shown of the line before the place, if the line is cut.
const EXCERPT_CHARS_BEFORE: usize = 60;

/// A part of a source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: short(start), end: short(end) }
    }

    pub(crate) fn to(self, end: Span) -> Self {
        Self { start: self.start, end: end.end }
    }
}

/// The family of a [`Diagnostic`], for programs; its [`code`](ErrorKind::code) never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source is longer than [`SOURCE_BYTES_MAX`](crate::SOURCE_BYTES_MAX).
    SourceTooLong,
    /// Expressions or blocks are nested more than [`DEPTH_MAX`](crate::DEPTH_MAX) deep.
    TooDeep,
    /// The source is not one of the language.
    Syntax,
    /// A number that does not exist here: out of range, or written in a form that is not known.
    InvalidNumber,
    /// No input, `let` or parameter has the name.
    UnknownName,
    /// The name stands for more than one thing, or is given twice.
    AmbiguousName,
    /// No function has the name.
    UnknownFunction,
    /// A function got too few or too many arguments.
    WrongArity,
    /// A value has a type with which this cannot work.
    TypeClash,
    /// A regular expression that is wrong, too large, or not known before the run.
    InvalidRegex,
    /// An argument has the right type and an impossible value.
    InvalidArgument,
    /// A number or time that is larger than there are any.
    Overflow,
    /// A division by zero.
    DivisionByZero,
    /// The run took more steps than [`Limits::steps`](crate::Limits::steps).
    TooManySteps,
    /// The run built more than [`Limits::memory_bytes`](crate::Limits::memory_bytes).
    TooMuchMemory,
    /// The result is larger than [`Limits::output_bytes`](crate::Limits::output_bytes).
    OutputTooLarge,
    /// An input could not be read.
    InputFailed,
}

impl ErrorKind {
    /// A name of the kind that never changes.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::SourceTooLong => "source_too_long",
            ErrorKind::TooDeep => "too_deep",
            ErrorKind::Syntax => "syntax",
            ErrorKind::InvalidNumber => "invalid_number",
            ErrorKind::UnknownName => "unknown_name",
            ErrorKind::AmbiguousName => "ambiguous_name",
            ErrorKind::UnknownFunction => "unknown_function",
            ErrorKind::WrongArity => "wrong_arity",
            ErrorKind::TypeClash => "type_clash",
            ErrorKind::InvalidRegex => "invalid_regex",
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::Overflow => "overflow",
            ErrorKind::DivisionByZero => "division_by_zero",
            ErrorKind::TooManySteps => "too_many_steps",
            ErrorKind::TooMuchMemory => "too_much_memory",
            ErrorKind::OutputTooLarge => "output_too_large",
            ErrorKind::InputFailed => "input_failed",
        }
    }
}

/// One thing that is wrong, with its place in the source.
///
/// `Display` is one line; [`Diagnostic::render`] shows the source line and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The family.
    pub kind: ErrorKind,
    /// What is wrong, in one line.
    pub message: String,
    /// What may have been meant, such as ``did you mean `carrier`?``.
    pub hint: Option<String>,
    /// The bytes of the source that it is about.
    pub span: Span,
    /// The line; the first is 1.
    pub line: usize,
    /// The column in characters; the first is 1.
    pub column: usize,
    excerpt: String,
    /// Characters of the excerpt before the caret, and carets.
    caret: (usize, usize),
}

impl Diagnostic {
    pub(crate) fn new(source: &str, fault: Fault) -> Self {
        let Fault { kind, message, hint, span } = fault;
        let at = floor_boundary(source, span.start as usize);
        let end = floor_boundary(source, span.end as usize).max(at);
        let before = source.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |found| found + 1);
        let rest = source.get(line_start..).unwrap_or_default();
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = source.get(line_start..at).unwrap_or_default().chars().count();
        let marked = source.get(at..end).unwrap_or_default();
        let width = marked.split('\n').next().unwrap_or_default().chars().count().max(1);
        let (excerpt, caret_at) = cut(text, column);
        let width = width.min((excerpt.chars().count() + 1).saturating_sub(caret_at)).max(1);
        let caret = (caret_at, width);
        Self { kind, message, hint, span, line, column: column + 1, excerpt, caret }
    }

    /// A name of the family that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The message with the source line and a caret below the place, several lines.
    ///
    /// ```
    /// use datafold_lang::{Compiler, Scope, Type};
    ///
    /// let scope = Scope::new().with("carrier", Type::TEXT);
    /// let error = Compiler::new(&scope).filter("carier == 'UA'").unwrap_err();
    /// assert_eq!(
    ///     error.render(),
    ///     "error: there is no name `carier`\n \
    ///      --> line 1, column 1\n  \
    ///      |\n\
    ///      1 | carier == 'UA'\n  \
    ///      | ^^^^^^ did you mean `carrier`?\n"
    /// );
    /// ```
    #[must_use]
    pub fn render(&self) -> String {
        format!("error: {}\n{}", self.message, self.excerpt())
    }

    /// The place: the source line with a caret below it, and the hint; four lines.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (at, width) = self.caret;
        // A tab stays one, so that the caret stands below its place whatever a tab's width.
        let chars = self.excerpt.chars().take(at);
        let indent: String = chars.map(|c| if c == '\t' { c } else { ' ' }).collect();
        let carets = "^".repeat(width);
        let hint = self.hint.as_ref().map(|hint| format!(" {hint}")).unwrap_or_default();
        format!(
            "{margin}--> line {}, column {}\n{margin} |\n{number} | {}\n\
             {margin} | {indent}{carets}{hint}\n",
            self.line, self.column, self.excerpt
        )
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// A place in a source as [`Diagnostic::excerpt`] shows it: the source line with a caret below it.
/// `None` if the source has no such line, counted from 1 on as columns are.
///
/// ```
/// let shown = datafold_lang::excerpt("let x = a;\nx / b", 2, 3);
/// assert_eq!(shown.as_deref(), Some(" --> line 2, column 3\n  |\n2 | x / b\n  |   ^\n"));
/// ```
#[must_use]
pub fn excerpt(source: &str, line: usize, column: usize) -> Option<String> {
    let text = source.split('\n').nth(line.checked_sub(1)?)?.trim_end_matches('\r');
    let at = column.checked_sub(1)?.min(text.chars().count());
    let (excerpt, at) = cut(text, at);
    let (kind, span, caret) = (ErrorKind::Syntax, Span::default(), (at, 1));
    let (message, hint) = (String::new(), None);
    Some(Diagnostic { kind, message, hint, span, line, column, excerpt, caret }.excerpt())
}

/// The part of a line around a column, and where the column is in it.
fn cut(line: &str, column: usize) -> (String, usize) {
    let clean = |c: char| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c };
    if line.chars().count() <= EXCERPT_CHARS_MAX {
        return (line.chars().map(clean).collect(), column);
    }
    let skipped = column.saturating_sub(EXCERPT_CHARS_BEFORE);
    let mut shown = String::new();
    if skipped > 0 {
        shown.push('…');
    }
    let mut rest = line.chars().skip(skipped);
    shown.extend(rest.by_ref().take(EXCERPT_CHARS_MAX).map(clean));
    if rest.next().is_some() {
        shown.push('…');
    }
    (shown, column - skipped + usize::from(skipped > 0))
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A [`Diagnostic`] before its place is looked up in the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) span: Span,
}

/// Boxed, since answers without fault are what must be small.
pub(crate) type Checked<T> = Result<T, Box<Fault>>;

impl Fault {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind, message: message.into(), hint: None, span: Span::default() })
    }

    pub(crate) fn at(mut self: Box<Self>, span: Span) -> Box<Self> {
        // The innermost place is the right one.
        if self.span == Span::default() {
            self.span = span;
        }
        self
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn meant(self: Box<Self>, name: Option<&str>) -> Box<Self> {
        match name {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// A text of the source or of a value inside a message: short, and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_and_long_lines_are_cut() {
        let source = format!("a\n\té = \"{}\" + x", "é".repeat(200));
        let at = source.find(" + x").unwrap() + 3;
        let fault = Fault::new(ErrorKind::UnknownName, "there is no name `x`");
        let found = Diagnostic::new(&source, *fault.at(Span::new(at, at + 1)));
        assert_eq!((found.line, found.column), (2, 211));
        let rendered = found.render();
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(lines[1], " --> line 2, column 211");
        assert!(lines[3].starts_with("2 | …éé") && lines[3].ends_with("+ x"), "{rendered}");
        let column = |line: &str, c| line.chars().position(|found| found == c);
        assert_eq!(column(lines[4], '^'), column(lines[3], 'x'));
        let fault = Fault::new(ErrorKind::Syntax, "m").at(Span::new(4, 4000)).hint("h");
        let found = Diagnostic::new("a\nb", *fault);
        assert_eq!(found.to_string(), "line 2, column 2: m; h");
    }
}
