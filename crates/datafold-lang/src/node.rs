//! The form in which programs run: a tree with resolved names.
//!
//! **Invariant:** a tree is at most as deep as the one that the parser made, so that the evaluator
//! may recurse.

use std::sync::Arc;

use regex::Regex;

use crate::ast::BinaryOp;
use crate::diagnostic::Span;
use crate::library::Function;
use crate::value::{Text, Value};

/// An operation and its place in the source.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Constant(Value<'static>),
    /// An input.
    Slot(usize),
    /// A `let` or the parameter of a lambda.
    Local(usize),
    /// A field of the record of another schema, by the parts of its key.
    Lookup(usize, Box<[Node]>),
    Now,
    /// `exists(…)` of a slot or of a member.
    Exists(Box<Node>),
    Array(Box<[Node]>),
    /// Names that are unique, in their order.
    Object(Box<[(Text<'static>, Node)]>),
    Member(Box<Node>, Box<str>),
    Index(Box<(Node, Node)>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(BinaryOp, Box<(Node, Node)>),
    /// `in` of a constant array, whose items are sorted and each there once.
    InSet(Box<Node>, Box<[Value<'static>]>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Conditional(Box<(Node, Node, Node)>),
    Call(&'static Function, Box<[Node]>),
    /// A function of a regular expression, which is not among the nodes.
    Regex(RegexOp, Arc<Pattern>, Box<[Node]>),
    Each(EachOp, Box<Each>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegexOp {
    Matches,
    Find,
    FindAll,
    Groups,
    Replace,
    Split,
}

/// A regular expression, compiled once.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// Steps that a byte of text costs.
    pub(crate) byte_steps: u64,
    /// The most bytes behind a part that fits which are read before it is known to be the one;
    /// `None` if that may be the whole rest of the text, as for `ab` in `(a|b)*c|ab`.
    pub(crate) overrun: Option<u64>,
}

/// What is done with the items of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EachOp {
    Map,
    MapValues,
    Filter,
    Any,
    All,
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Sort,
}

#[derive(Debug, Clone)]
pub(crate) struct Each {
    pub(crate) of: Node,
    /// The local that holds the item.
    pub(crate) item: usize,
    /// The local that holds its index or name.
    pub(crate) key: Option<usize>,
    /// What is evaluated for each item; without, the item itself.
    pub(crate) body: Option<Node>,
}

#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Let(usize, Node),
    Return(Node),
    Expr(Node),
    If(Box<[(Node, Box<[Statement]>)]>, Box<[Statement]>),
}

/// Values as [`Op::InSet`] holds them.
pub(crate) fn value_set(mut values: Vec<Value<'static>>) -> Box<[Value<'static>]> {
    values.sort_by(Value::cmp_values);
    values.dedup();
    values.into()
}

impl Node {
    pub(crate) fn constant(&self) -> Option<&Value<'static>> {
        match &self.op {
            Op::Constant(value) => Some(value),
            _ => None,
        }
    }
}
