//! The tree that the parser makes of a source.
//!
//! **Invariant:** no tree is deeper than [`DEPTH_MAX`](crate::DEPTH_MAX), so that everything that
//! walks or drops one may recurse. The parser makes sure of it.

use crate::diagnostic::Span;

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
    /// Levels of expressions, this one included.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Name(String),
    Parameter(String),
    Array(Vec<Expr>),
    Object(Vec<(String, Span, Expr)>),
    /// `of.name`
    Member(Box<Expr>, String, Span),
    /// `of[a]`, or `of[a, b]` for a lookup by a key of two parts.
    Index(Box<Expr>, Vec<Expr>),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Binary(BinaryOp, Span, Box<(Expr, Expr)>),
    /// Two or more operands joined by `&&`; a chain is one node, however long it is.
    And(Vec<Expr>),
    /// As [`ExprKind::And`], for `||`.
    Or(Vec<Expr>),
    /// `condition ? then : else`
    Conditional(Box<(Expr, Expr, Expr)>),
    Call(String, Span, Vec<Argument>),
}

/// An operator between two operands that are both evaluated, but for `??`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Coalesce,
}

impl BinaryOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
            BinaryOp::Power => "^",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::In => "in",
            BinaryOp::Coalesce => "??",
        }
    }
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Argument {
    Value(Expr),
    /// `x => body` or `(x, key) => body`
    Lambda(Lambda),
}

impl Argument {
    pub(crate) fn span(&self) -> Span {
        match self {
            Argument::Value(expr) => expr.span,
            Argument::Lambda(lambda) => lambda.span,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        match self {
            Argument::Value(expr) => expr.depth,
            Argument::Lambda(lambda) => lambda.body.depth,
        }
    }
}

/// What is evaluated for each item of a collection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lambda {
    /// One or two names.
    pub(crate) parameters: Vec<(String, Span)>,
    pub(crate) body: Expr,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    Let(String, Span, Expr),
    Return(Expr),
    Expr(Expr),
    /// The conditions with their blocks, in order, and the `else` block.
    If(Vec<(Expr, Vec<Statement>)>, Vec<Statement>),
}
