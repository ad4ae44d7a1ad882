//! The evaluator: walks a program's tree.

use crate::ast::BinaryOp;
use crate::diagnostic::{Checked, ErrorKind, Fault, Span};
use crate::library::{self, patterns};
use crate::meter::Meter;
use crate::node::{Each, EachOp, Node, Op, Statement};
use crate::ops;
use crate::scope::{InputError, Inputs};
use crate::types::Kinds;
use crate::value::{Text, VALUE_BYTES, Value};

/// One run.
pub(crate) struct Machine<'a> {
    inputs: &'a dyn Inputs,
    locals: Vec<Value<'a>>,
    pub(crate) meter: Meter,
    /// What the last expression statement gave.
    last: Value<'a>,
    /// What an input answered instead of a value.
    pub(crate) failure: Option<InputError>,
}

/// A value, or a constant of the program.
enum Operand<'a> {
    Constant(&'a Value<'static>),
    Value(Value<'a>),
}

impl<'a> Operand<'a> {
    fn value(&self) -> &Value<'a> {
        match self {
            Operand::Constant(value) => value,
            Operand::Value(value) => value,
        }
    }
}

/// How a statement ends.
enum Flow {
    Next,
    Returned,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(inputs: &'a dyn Inputs, locals: usize, meter: Meter) -> Self {
        // Most filters have none.
        let locals = if locals == 0 { Vec::new() } else { vec![Value::Null; locals] };
        Self { inputs, locals, meter, last: Value::Null, failure: None }
    }

    /// The value of a list of statements: of the first `return`, else of the last expression.
    pub(crate) fn run(&mut self, statements: &'a [Statement]) -> Checked<Value<'a>> {
        self.statements(statements)?;
        Ok(std::mem::take(&mut self.last))
    }

    fn statements(&mut self, statements: &'a [Statement]) -> Checked<Flow> {
        for statement in statements {
            match statement {
                Statement::Let(local, node) => {
                    let value = self.eval(node)?;
                    self.set(*local, value);
                }
                Statement::Expr(node) => self.last = self.eval(node)?,
                Statement::Return(node) => {
                    self.last = self.eval(node)?;
                    return Ok(Flow::Returned);
                }
                Statement::If(arms, otherwise) => {
                    let mut block = otherwise;
                    for (condition, then) in arms {
                        if self.test(condition)? {
                            block = then;
                            break;
                        }
                    }
                    if let Flow::Returned = self.statements(block)? {
                        return Ok(Flow::Returned);
                    }
                }
            }
        }
        Ok(Flow::Next)
    }

    /// The steps that the run may still take.
    pub(crate) fn steps_left(&self) -> u64 {
        self.meter.steps_left
    }

    fn set(&mut self, local: usize, value: Value<'a>) {
        if let Some(place) = self.locals.get_mut(local) {
            *place = value;
        }
    }

    /// A condition.
    pub(crate) fn test(&mut self, node: &'a Node) -> Checked<bool> {
        match &node.op {
            Op::Binary(op, sides) if is_comparison(*op) => {
                let at = |fault: Box<Fault>| fault.at(node.span);
                self.meter.step().map_err(at)?;
                let a = self.operand(&sides.0)?;
                let b = self.operand(&sides.1)?;
                ops::compare(*op, a.value(), b.value(), &mut self.meter).map_err(at)
            }
            Op::InSet(of, set) => {
                let at = |fault: Box<Fault>| fault.at(node.span);
                self.meter.step().map_err(at)?;
                let of = self.operand(of)?;
                ops::is_in_set(of.value(), set, &mut self.meter).map_err(at)
            }
            Op::And(operands) => {
                for operand in operands {
                    if !self.test(operand)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Op::Or(operands) => {
                for operand in operands {
                    if self.test(operand)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Op::Not(operand) => Ok(!self.test(operand)?),
            _ => {
                let value = self.eval(node)?;
                ops::truth(&value).map_err(|fault| fault.at(node.span))
            }
        }
    }

    /// An operand that is only looked at: constants are not cloned.
    fn operand(&mut self, node: &'a Node) -> Checked<Operand<'a>> {
        match &node.op {
            Op::Constant(value) => {
                self.meter.step().map_err(|fault| fault.at(node.span))?;
                Ok(Operand::Constant(value))
            }
            _ => self.eval(node).map(Operand::Value),
        }
    }

    pub(crate) fn eval(&mut self, node: &'a Node) -> Checked<Value<'a>> {
        self.meter.step().map_err(|fault| fault.at(node.span))?;
        match &node.op {
            Op::Constant(value) => Ok(value.clone()),
            Op::Slot(slot) => {
                self.inputs.value(*slot).map_err(|error| self.failed(error, node.span))
            }
            Op::Local(local) => Ok(self.locals.get(*local).cloned().unwrap_or_default()),
            Op::Binary(op, _) if is_comparison(*op) => self.test(node).map(Value::Bool),
            Op::InSet(..) | Op::And(_) | Op::Or(_) | Op::Not(_) => self.test(node).map(Value::Bool),
            _ => self.eval_more(node).map_err(|fault| fault.at(node.span)),
        }
    }

    /// The operations that [`Machine::eval`] leaves; apart, so that its frame stays small.
    fn eval_more(&mut self, node: &'a Node) -> Checked<Value<'a>> {
        match &node.op {
            Op::Binary(op, sides) => self.binary(*op, &sides.0, &sides.1),
            Op::Conditional(parts) => {
                let (condition, then, otherwise) = &**parts;
                let chosen = if self.test(condition)? { then } else { otherwise };
                self.eval(chosen)
            }
            Op::Negate(operand) => ops::negate(&self.eval(operand)?),
            Op::Member(of, name) => ops::member(&self.eval(of)?, name),
            Op::Index(sides) => {
                let of = self.eval(&sides.0)?;
                let index = self.eval(&sides.1)?;
                ops::index(&of, &index, &mut self.meter)
            }
            Op::Array(items) => {
                self.meter.bytes(items.len() as u64 * VALUE_BYTES)?;
                let items = self.all(items)?;
                library::array(&mut self.meter, items)
            }
            Op::Object(members) => self.object(members),
            Op::Call(function, arguments) => {
                let arguments = self.all(arguments)?;
                function.call(&mut self.meter, &arguments)
            }
            Op::Regex(op, pattern, arguments) => {
                let arguments = self.all(arguments)?;
                patterns::run(*op, pattern, &arguments, &mut self.meter)
            }
            Op::Each(op, each) => self.each(*op, each),
            Op::Lookup(slot, key) => {
                let key = self.all(key)?;
                self.meter.steps(LOOKUP_STEPS)?;
                self.inputs.lookup(*slot, &key).map_err(|error| self.failed(error, node.span))
            }
            Op::Now => Ok(self.inputs.now().map_or(Value::Null, Value::Time)),
            Op::Exists(of) => self.exists(of).map(Value::Bool),
            _ => self.eval(node),
        }
    }

    fn failed(&mut self, error: InputError, span: Span) -> Box<Fault> {
        let fault = Fault::new(ErrorKind::InputFailed, "an input could not be read");
        self.failure = Some(error);
        fault.at(span)
    }

    fn all(&mut self, nodes: &'a [Node]) -> Checked<Vec<Value<'a>>> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.eval(node)?);
        }
        Ok(values)
    }

    fn binary(&mut self, op: BinaryOp, left: &'a Node, right: &'a Node) -> Checked<Value<'a>> {
        let a = self.eval(left)?;
        match op {
            BinaryOp::Coalesce if !a.is_null() => Ok(a),
            BinaryOp::Coalesce => self.eval(right),
            BinaryOp::In => {
                let b = self.eval(right)?;
                ops::is_in(&a, &b, &mut self.meter).map(Value::Bool)
            }
            op => {
                let b = self.eval(right)?;
                ops::arithmetic(op, &a, &b, &mut self.meter)
            }
        }
    }

    fn object(&mut self, members: &'a [(Text<'static>, Node)]) -> Checked<Value<'a>> {
        self.meter.bytes(members.len() as u64 * 2 * VALUE_BYTES)?;
        let mut values = Vec::with_capacity(members.len());
        for (name, node) in members {
            values.push((name.clone() as Text<'a>, self.eval(node)?));
        }
        Value::object(values).map_err(|_| library::too_deep())
    }

    fn exists(&mut self, of: &'a Node) -> Checked<bool> {
        match &of.op {
            Op::Slot(slot) => {
                self.inputs.exists(*slot).map_err(|error| self.failed(error, of.span))
            }
            Op::Member(object, name) => match self.eval(object)? {
                Value::Object(members) => Ok(members.get(name).is_some()),
                _ => Ok(false),
            },
            Op::Index(sides) => {
                let object = self.eval(&sides.0)?;
                match (object, self.eval(&sides.1)?) {
                    (Value::Object(members), Value::Text(name)) => {
                        self.meter.read(name.len() as u64)?;
                        Ok(members.get(&name).is_some())
                    }
                    (Value::Array(items), Value::Int(at)) => {
                        let place = ops::place(at, items.len());
                        Ok(place.is_some_and(|at| at < items.len()))
                    }
                    _ => Ok(false),
                }
            }
            _ => Ok(!self.eval(of)?.is_null()),
        }
    }

    fn each(&mut self, op: EachOp, each: &'a Each) -> Checked<Value<'a>> {
        let of = self.eval(&each.of)?;
        let len = match &of {
            Value::Array(items) if op != EachOp::MapValues => items.len(),
            Value::Object(members) => members.len(),
            Value::Null if op == EachOp::Count => return Ok(Value::Int(0)),
            Value::Null if op == EachOp::Any => return Ok(Value::Bool(false)),
            Value::Null if op == EachOp::All => return Ok(Value::Bool(true)),
            Value::Null => return Ok(Value::Null),
            other => {
                let (taken, found) = (op.takes(), other.type_name());
                let message = format!("this goes through an {taken}, not {found}");
                return Err(Fault::new(ErrorKind::TypeClash, message).at(each.of.span));
            }
        };
        let mut results = Results::new(op);
        for at in 0..len {
            self.meter.step()?;
            let Some((key, item)) = entry(&of, at) else { break };
            if each.body.is_some() {
                self.set(each.item, item.clone());
            }
            if let Some(local) = each.key {
                self.set(local, key.clone());
            }
            let value = match &each.body {
                Some(body) if op.is_condition() => Value::Bool(self.test(body)?),
                Some(body) => self.eval(body)?,
                None if op == EachOp::Count => Value::Bool(!item.is_null()),
                None => item.clone(),
            };
            let span = each.body.as_ref().map_or(each.of.span, |body| body.span);
            let add = results.add(key, item, value, &mut self.meter);
            if add.map_err(|fault| fault.at(span))? {
                break;
            }
        }
        results.finish(matches!(of, Value::Object(_)), &mut self.meter)
    }
}

/// What a lookup costs beside what the input does for it.
const LOOKUP_STEPS: u64 = 50;

/// An item and its index, or a member and its name.
fn entry<'a>(of: &Value<'a>, at: usize) -> Option<(Value<'a>, Value<'a>)> {
    match of {
        Value::Array(items) => {
            let key = Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
            items.get(at).map(|item| (key, item.clone()))
        }
        Value::Object(members) => {
            members.members_at(at).map(|(name, value)| (Value::Text(name.clone()), value.clone()))
        }
        _ => None,
    }
}

impl EachOp {
    /// Whether the lambda is a condition.
    pub(crate) fn is_condition(self) -> bool {
        matches!(self, EachOp::Filter | EachOp::Any | EachOp::All | EachOp::Count)
    }

    /// What it goes through.
    pub(crate) fn takes(self) -> Kinds {
        match self {
            EachOp::MapValues => Kinds::OBJECT,
            _ => Kinds::COLLECTION,
        }
    }
}

pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
    )
}

/// What a comprehension has found so far.
struct Results<'a> {
    op: EachOp,
    items: Vec<Value<'a>>,
    names: Vec<Text<'a>>,
    sum: crate::ExactSum,
    count: u64,
    best: Value<'a>,
    found: bool,
}

impl<'a> Results<'a> {
    fn new(op: EachOp) -> Self {
        let (items, names, best) = (Vec::new(), Vec::new(), Value::Null);
        let sum = crate::ExactSum::new();
        Self { op, items, names, sum, count: 0, best, found: false }
    }

    /// Takes the value for an item; says whether the result is known.
    fn add(
        &mut self,
        key: Value<'a>,
        item: Value<'a>,
        value: Value<'a>,
        meter: &mut Meter,
    ) -> Checked<bool> {
        match self.op {
            EachOp::Map => {
                meter.bytes(2 * VALUE_BYTES)?;
                self.items.push(value);
            }
            EachOp::MapValues => {
                meter.bytes(4 * VALUE_BYTES)?;
                self.items.push(value);
                if let Value::Text(name) = key {
                    self.names.push(name);
                }
            }
            EachOp::Filter => {
                if value == Value::Bool(true) {
                    meter.bytes(4 * VALUE_BYTES)?;
                    self.items.push(item);
                    if let Value::Text(name) = key {
                        self.names.push(name);
                    }
                }
            }
            EachOp::Any => {
                self.found = ops::truth(&value)?;
                return Ok(self.found);
            }
            EachOp::All => {
                self.found = !ops::truth(&value)?;
                return Ok(self.found);
            }
            EachOp::Count => self.count += u64::from(value == Value::Bool(true)),
            EachOp::Sum | EachOp::Avg => {
                if self.sum.add(&value) {
                    self.count += 1;
                } else if !value.is_null() {
                    let message = format!("a sum is of numbers, not of {}", value.type_name());
                    return Err(Fault::new(ErrorKind::TypeClash, message));
                }
            }
            EachOp::Min => self.best(value, BinaryOp::Less, meter)?,
            EachOp::Max => self.best(value, BinaryOp::Greater, meter)?,
            EachOp::Sort => {
                meter.bytes(6 * VALUE_BYTES)?;
                // Pairs, flat: first the key, then the item.
                self.items.push(value);
                self.items.push(item);
            }
        }
        Ok(false)
    }

    fn best(&mut self, value: Value<'a>, op: BinaryOp, meter: &mut Meter) -> Checked<()> {
        if value.is_null() {
            return Ok(());
        }
        if !Kinds::of(&value).is_subset(Kinds::ORDERED) {
            let message = format!("{} has no order here", value.type_name());
            return Err(Fault::new(ErrorKind::TypeClash, message));
        }
        if self.best.is_null() || ops::compare(op, &value, &self.best, meter)? {
            self.best = value;
        }
        Ok(())
    }

    fn finish(mut self, is_object: bool, meter: &mut Meter) -> Checked<Value<'a>> {
        match self.op {
            EachOp::Map => library::array(meter, self.items),
            EachOp::MapValues | EachOp::Filter if is_object => {
                let members = self.names.into_iter().zip(self.items).collect();
                Value::object(members).map_err(|_| library::too_deep())
            }
            EachOp::MapValues | EachOp::Filter => library::array(meter, self.items),
            EachOp::Any => Ok(Value::Bool(self.found)),
            EachOp::All => Ok(Value::Bool(!self.found)),
            EachOp::Count => Ok(Value::Int(i64::try_from(self.count).unwrap_or(i64::MAX))),
            EachOp::Sum => self.sum.value().ok_or_else(crate::number::overflow),
            EachOp::Avg if self.count == 0 => Ok(Value::Null),
            EachOp::Avg => self.sum.average(self.count).ok_or_else(crate::number::overflow),
            EachOp::Min | EachOp::Max => Ok(std::mem::take(&mut self.best)),
            EachOp::Sort => {
                let mut pairs = Vec::with_capacity(self.items.len() / 2);
                let mut items = self.items.into_iter();
                while let (Some(key), Some(item)) = (items.next(), items.next()) {
                    pairs.push((key, item));
                }
                let weight = pairs.iter().map(|(key, _)| key.weight()).max().unwrap_or(0);
                library::sort_charge(meter, pairs.len() as u64, weight)?;
                pairs.sort_by(|(a, _), (b, _)| a.cmp_values(b));
                library::array(meter, pairs.into_iter().map(|(_, item)| item).collect())
            }
        }
    }
}

/// The empty run in which constants are folded.
pub(crate) struct NoInputs;

impl Inputs for NoInputs {
    fn value(&self, _: usize) -> Result<Value<'_>, InputError> {
        Err("a constant reads no input".into())
    }
}

/// The value of a node without inputs, within what is left for folding; `None` if it cannot be told
/// or is heavy.
pub(crate) fn constant(node: &Node, meter: &mut Meter) -> Option<Value<'static>> {
    let mut machine = Machine::new(&NoInputs, 0, *meter);
    let value = machine.eval(node).ok().filter(|value| value.weight() <= CONSTANT_BYTES_MAX);
    let value = value.map(Value::into_owned);
    *meter = machine.meter;
    value
}

/// A heavier constant is computed in each run, so that a program does not grow by its constants.
const CONSTANT_BYTES_MAX: u64 = 4096;
