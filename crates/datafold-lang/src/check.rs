//! The checker: resolves names, finds types, and makes the form that runs.

mod call;
mod name;

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{self, BinaryOp, Expr, ExprKind};
use crate::diagnostic::{Checked, ErrorKind, Fault, Span, quoted};
use crate::eval::{constant, is_comparison};
use crate::library;
use crate::library::patterns::Patterns;
use crate::library::times::{not_duration, not_time};
use crate::meter::{Limits, Meter};
use crate::node::{Node, Op, Statement, value_set};
use crate::ops;
use crate::program::{Input, Lookup};
use crate::scope::{FieldPath, Named, Names};
use crate::time::{Duration, Time};
use crate::types::{Kinds, Type};
use crate::value::{Text, Value};

/// The most diagnostics of one source.
const DIAGNOSTICS_MAX: usize = 10;
/// What all folding of constants of one program may use.
const FOLDING: Limits = Limits { steps: 20_000, memory_bytes: 1 << 18, output_bytes: 0 };

/// A name that the source gives.
struct Local {
    name: String,
    place: usize,
    of: Type,
    /// How many blocks and lambdas were open when it was given.
    level: usize,
}

pub(crate) struct Checker<'s> {
    names: &'s dyn Names,
    folds: bool,
    folding: Meter,
    pub(crate) inputs: Vec<Input>,
    slots: BTreeMap<FieldPath, usize>,
    pub(crate) lookups: Vec<Lookup>,
    patterns: Patterns,
    locals: Vec<Local>,
    /// The places in `locals` of each name, the innermost last: a source may have thousands.
    by_name: BTreeMap<String, Vec<usize>>,
    level: usize,
    pub(crate) places: usize,
    /// The type of what `return` statements give.
    returned: Type,
    pub(crate) faults: Vec<Fault>,
}

/// What a checked expression is.
type Typed = (Node, Type);

impl<'s> Checker<'s> {
    pub(crate) fn new(names: &'s dyn Names, folds: bool) -> Self {
        Self {
            names,
            folds,
            folding: Meter::new(&FOLDING),
            inputs: Vec::new(),
            slots: BTreeMap::new(),
            lookups: Vec::new(),
            patterns: Patterns::default(),
            locals: Vec::new(),
            by_name: BTreeMap::new(),
            level: 0,
            places: 0,
            returned: Type::of_kinds(Kinds::NONE),
            faults: Vec::new(),
        }
    }

    /// Keeps a fault and goes on with something that causes no other.
    fn refuse(&mut self, fault: Box<Fault>, span: Span) -> Typed {
        if self.faults.len() < DIAGNOSTICS_MAX {
            self.faults.push(*fault.at(span));
        }
        (Node { op: Op::Constant(Value::Null), span }, Type::ANY)
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= DIAGNOSTICS_MAX
    }

    /// The statements of a block, and the type of the last value that they leave.
    fn statements(&mut self, statements: &[ast::Statement]) -> (Vec<Statement>, Type) {
        let mut checked = Vec::with_capacity(statements.len());
        let mut result = Type::NULL;
        for statement in statements {
            match statement {
                ast::Statement::Let(name, span, value) => {
                    let (node, of) = self.expr(value);
                    let place = self.give(name, *span, of);
                    checked.push(Statement::Let(place, node));
                }
                ast::Statement::Return(value) => {
                    let (node, of) = self.expr(value);
                    self.returned = join(&self.returned, &of);
                    checked.push(Statement::Return(node));
                }
                ast::Statement::Expr(value) => {
                    let (node, of) = self.expr(value);
                    result = of;
                    checked.push(Statement::Expr(node));
                }
                ast::Statement::If(arms, otherwise) => {
                    let mut blocks = Vec::with_capacity(arms.len());
                    for (condition, block) in arms {
                        let condition = self.condition(condition);
                        let (block, of) = self.block(block);
                        // Whether a block leaves a value is known when it runs.
                        result = join(&result, &of);
                        blocks.push((condition, block));
                    }
                    let (otherwise, of) = self.block(otherwise);
                    result = join(&result, &of);
                    checked.push(Statement::If(blocks.into(), otherwise));
                }
            }
        }
        (checked, result)
    }

    /// The statements of a program, and the type of what they return or leave.
    pub(crate) fn body(&mut self, statements: &[ast::Statement]) -> (Vec<Statement>, Type) {
        let (checked, last) = self.statements(statements);
        (checked, join(&self.returned, &last))
    }

    fn block(&mut self, statements: &[ast::Statement]) -> (Box<[Statement]>, Type) {
        let open = self.open();
        let (checked, of) = self.statements(statements);
        self.close(open);
        (checked.into(), of)
    }

    fn open(&mut self) -> usize {
        self.level += 1;
        self.locals.len()
    }

    fn close(&mut self, locals: usize) {
        self.level -= 1;
        for local in self.locals.drain(locals..) {
            if let Some(places) = self.by_name.get_mut(&local.name) {
                places.pop();
            }
        }
    }

    /// The innermost local of this name.
    fn local(&self, name: &str) -> Option<&Local> {
        let place = self.by_name.get(name)?.last()?;
        self.locals.get(*place)
    }

    /// Gives a name with `let`.
    fn give(&mut self, name: &str, span: Span, of: Type) -> usize {
        let given = |message: String| Fault::new(ErrorKind::AmbiguousName, message);
        if self.local(name).is_some_and(|local| local.level == self.level) {
            let fault = given(format!("the name `{}` is given already", quoted(name)));
            self.refuse(fault.hint("names cannot be changed; choose another"), span);
        } else if !matches!(self.names.named(name), Named::Unknown) {
            let fault = given(format!("`{}` is the name of an input", quoted(name)));
            self.refuse(fault.hint("inputs cannot be changed; choose another name"), span);
        }
        self.add_local(name, of)
    }

    fn add_local(&mut self, name: &str, of: Type) -> usize {
        let place = self.places;
        self.places += 1;
        self.by_name.entry(name.to_owned()).or_default().push(self.locals.len());
        self.locals.push(Local { name: name.to_owned(), place, of, level: self.level });
        place
    }

    pub(crate) fn condition(&mut self, expr: &Expr) -> Node {
        let (node, of) = self.expr(expr);
        if !of.kinds.intersects(Kinds::BOOL | Kinds::NULL) {
            let message = format!("a condition is a bool, not {of}");
            self.refuse(Fault::new(ErrorKind::TypeClash, message), expr.span);
        }
        node
    }

    pub(crate) fn expr(&mut self, expr: &Expr) -> Typed {
        let span = expr.span;
        if self.is_full() {
            return (Node { op: Op::Constant(Value::Null), span }, Type::ANY);
        }
        let leaf = |value: Value<'static>| {
            let of = Type::of_value(&value);
            Ok((Op::Constant(value), of))
        };
        let checked = match &expr.kind {
            ExprKind::Null => leaf(Value::Null),
            ExprKind::Bool(truth) => leaf(Value::Bool(*truth)),
            ExprKind::Int(int) => leaf(Value::Int(*int)),
            ExprKind::Float(float) => leaf(Value::number(*float).unwrap_or_default()),
            ExprKind::Text(text) => leaf(Value::Text(Text::Shared(text.as_str().into()))),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Parameter(name) => self.parameter(name),
            ExprKind::Array(items) => {
                let (nodes, of) = self.items(items);
                Ok((Op::Array(nodes), Type::array(of)))
            }
            ExprKind::Object(members) => self.object(members),
            ExprKind::Member(of, name, at) => self.member(of, name, *at),
            ExprKind::Index(of, indexes) => self.index(of, indexes, span),
            ExprKind::Negate(operand) => self.negate(operand),
            ExprKind::Not(operand) => {
                let node = self.condition(operand);
                Ok((Op::Not(Box::new(node)), Type::BOOL))
            }
            ExprKind::Binary(op, at, sides) => {
                self.binary(*op, &sides.0, &sides.1).map_err(|fault| fault.at(*at))
            }
            ExprKind::And(operands) => {
                let nodes = operands.iter().map(|operand| self.condition(operand)).collect();
                Ok((Op::And(nodes), Type::BOOL))
            }
            ExprKind::Or(operands) => {
                let nodes = operands.iter().map(|operand| self.condition(operand)).collect();
                Ok((Op::Or(nodes), Type::BOOL))
            }
            ExprKind::Conditional(parts) => {
                let condition = self.condition(&parts.0);
                let (then, a) = self.expr(&parts.1);
                let (otherwise, b) = self.expr(&parts.2);
                Ok((Op::Conditional(Box::new((condition, then, otherwise))), a.or(&b)))
            }
            ExprKind::Call(name, at, arguments) => self.call(name, *at, arguments),
        };
        match checked {
            Ok((op, of)) => self.folded(Node { op, span }, of),
            Err(fault) => self.refuse(fault, span),
        }
    }

    /// The node, or its value if that is known already.
    fn folded(&mut self, node: Node, of: Type) -> Typed {
        if !self.folds || !has_constant_operands(&node) {
            return (node, of);
        }
        match constant(&node, &mut self.folding) {
            Some(value) => (Node { op: Op::Constant(value), span: node.span }, of),
            None => (node, of),
        }
    }

    fn items(&mut self, items: &[Expr]) -> (Box<[Node]>, Type) {
        let mut nodes = Vec::with_capacity(items.len());
        let mut of = Type::of_kinds(Kinds::NONE);
        for item in items {
            let (node, one) = self.expr(item);
            of = join(&of, &one);
            nodes.push(node);
        }
        (nodes.into(), if of.kinds.is_empty() { Type::NULL } else { of })
    }

    fn object(&mut self, members: &[(String, Span, Expr)]) -> Checked<(Op, Type)> {
        let mut nodes = Vec::with_capacity(members.len());
        let mut types = Vec::with_capacity(members.len());
        let mut seen = BTreeSet::new();
        for (name, span, value) in members {
            if !seen.insert(name.as_str()) {
                let message = format!("the member `{}` is given twice", quoted(name));
                return Err(Fault::new(ErrorKind::AmbiguousName, message).at(*span));
            }
            let (node, of) = self.expr(value);
            nodes.push((Text::Shared(name.as_str().into()), node));
            types.push((name.clone(), of));
        }
        Ok((Op::Object(nodes.into()), Type::object(types)))
    }

    fn negate(&mut self, operand: &Expr) -> Checked<(Op, Type)> {
        let (node, of) = self.expr(operand);
        let kinds = of.kinds & (Kinds::NUMBER | Kinds::DURATION | Kinds::NULL);
        if kinds.is_empty() {
            let message = format!("`-` does not work with {of}");
            return Err(Fault::new(ErrorKind::TypeClash, message).at(operand.span));
        }
        Ok((Op::Negate(Box::new(node)), Type::of_kinds(kinds)))
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Checked<(Op, Type)> {
        let (mut a_node, mut a) = self.expr(left);
        let (mut b_node, mut b) = self.expr(right);
        if is_comparison(op) {
            // A text beside a time is the time that it says.
            if adapt(&mut b_node, &a)? {
                b = Type::of_value(b_node.constant().unwrap_or(&Value::Null));
            }
            if adapt(&mut a_node, &b)? {
                a = Type::of_value(a_node.constant().unwrap_or(&Value::Null));
            }
        }
        let clash = || Err(ops::clash(op, &a.to_string(), &b.to_string()));
        let of = match op {
            BinaryOp::Equal | BinaryOp::NotEqual => {
                if !a.may_equal(&b) {
                    return clash();
                }
                Type::BOOL
            }
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
                if !ops::can_order(a.kinds, b.kinds) {
                    return clash();
                }
                Type::BOOL
            }
            BinaryOp::In => {
                self.membership(&a, &mut b_node, &b)?;
                if let Some(Value::Array(items)) = b_node.constant() {
                    let set = value_set(items.to_vec());
                    return Ok((Op::InSet(Box::new(a_node), set), Type::BOOL));
                }
                Type::BOOL
            }
            BinaryOp::Coalesce => a.or(&b),
            _ => {
                let kinds = ops::arithmetic_kinds(op, a.kinds, b.kinds);
                if kinds.is_empty() {
                    return clash();
                }
                Type::of_kinds(kinds)
            }
        };
        Ok((Op::Binary(op, Box::new((a_node, b_node))), of))
    }

    fn membership(&mut self, a: &Type, list: &mut Node, b: &Type) -> Checked<()> {
        adapt_items(list, a)?;
        if !b.kinds.intersects(Kinds::COLLECTION | Kinds::NULL) {
            return Err(ops::clash(BinaryOp::In, &a.to_string(), &b.to_string()));
        }
        if !b.kinds.is_subset(Kinds::ARRAY) || a.kinds.intersects(Kinds::TIME | Kinds::DURATION) {
            return Ok(());
        }
        let content = b.content();
        if !a.may_equal(&content) {
            let message = format!("none of these can be {a}, they are {content}");
            return Err(Fault::new(ErrorKind::TypeClash, message));
        }
        Ok(())
    }
}

/// As [`Type::or`], where no kinds at all stand for no type yet.
fn join(a: &Type, b: &Type) -> Type {
    if a.kinds.is_empty() { b.clone() } else { a.or(b) }
}

/// Makes a constant text that stands beside times the time that it says, and beside durations the
/// duration; JSON has neither. Says whether it did.
fn adapt(node: &mut Node, beside: &Type) -> Checked<bool> {
    let Op::Constant(value) = &mut node.op else { return Ok(false) };
    let adapted = adapted(value, beside).map_err(|fault| fault.at(node.span))?;
    let is_adapted = adapted.is_some();
    if let Some(adapted) = adapted {
        *value = adapted;
    }
    Ok(is_adapted)
}

fn adapted(value: &Value<'static>, beside: &Type) -> Checked<Option<Value<'static>>> {
    let Value::Text(text) = value else { return Ok(None) };
    let kinds = beside.kinds.without(Kinds::NULL);
    Ok(Some(match kinds {
        Kinds::TIME => Value::Time(Time::parse(text).ok_or_else(|| not_time(text))?),
        Kinds::DURATION => {
            Value::Duration(Duration::parse(text).ok_or_else(|| not_duration(text))?)
        }
        _ => return Ok(None),
    }))
}

/// As [`adapt`], for the items of an array.
fn adapt_items(node: &mut Node, beside: &Type) -> Checked<()> {
    match &mut node.op {
        Op::Array(items) => {
            for item in items {
                adapt(item, beside)?;
            }
        }
        Op::Constant(value) => {
            if let Value::Array(items) = &*value
                && beside.kinds.intersects(Kinds::TIME | Kinds::DURATION)
            {
                let mut changed = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let adapted = adapted(item, beside).map_err(|fault| fault.at(node.span))?;
                    changed.push(adapted.unwrap_or_else(|| item.clone()));
                }
                *value = Value::array(changed).map_err(|_| library::too_deep())?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a node could be computed now: it reads no input, local or clock.
fn has_constant_operands(node: &Node) -> bool {
    let all = |nodes: &[Node]| nodes.iter().all(|node| node.constant().is_some());
    match &node.op {
        Op::Array(items) => all(items),
        Op::Object(members) => members.iter().all(|(_, node)| node.constant().is_some()),
        Op::Member(of, _) | Op::Negate(of) | Op::Not(of) | Op::InSet(of, _) => {
            of.constant().is_some()
        }
        Op::Index(sides) | Op::Binary(_, sides) => {
            sides.0.constant().is_some() && sides.1.constant().is_some()
        }
        Op::And(operands) | Op::Or(operands) => all(operands),
        Op::Conditional(parts) => {
            let (condition, then, otherwise) = &**parts;
            [condition, then, otherwise].iter().all(|node| node.constant().is_some())
        }
        Op::Call(_, arguments) | Op::Regex(_, _, arguments) => all(arguments),
        Op::Constant(_)
        | Op::Slot(_)
        | Op::Local(_)
        | Op::Lookup(..)
        | Op::Now
        | Op::Exists(_)
        | Op::Each(..) => false,
    }
}
