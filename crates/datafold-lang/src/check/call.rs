//! Calls: of functions, of comprehensions with their lambdas, and of patterns.

use super::{Checker, join};
use crate::ast::{Argument, Lambda};
use crate::diagnostic::{Checked, ErrorKind, Fault, Span, quoted};
use crate::library;
use crate::node::{Each, EachOp, Node, Op, RegexOp};
use crate::ops;
use crate::suggest::closest;
use crate::types::{Kinds, Type};
use crate::value::Value;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        name: &str,
        at: Span,
        arguments: &[Argument],
    ) -> Checked<(Op, Type)> {
        if let Some(op) = each_op(name, arguments) {
            return self.each(op, name, arguments);
        }
        if let Some(op) = RegexOp::of_name(name) {
            return self.regex(op, name, arguments);
        }
        match name {
            "now" => return self.now(arguments, at),
            "exists" => return self.exists(arguments, at),
            // `min(a, b)` and `max(a, b)`; of a collection they are among the comprehensions.
            "min" | "max" => return self.extreme(name, arguments),
            _ => {}
        }
        let Some(function) = library::function(name) else {
            let message = format!("there is no function `{}`", quoted(name));
            let fault = Fault::new(ErrorKind::UnknownFunction, message).at(at);
            return Err(fault.meant(closest(name, library::names())));
        };
        if let Some(expected) = function.wrong_count(arguments.len()) {
            return Err(wrong_arity(name, &expected, arguments.len())
                .hint(format!("`{}`", function.signature())));
        }
        let (nodes, types) = self.values(arguments)?;
        for (place, (argument, of)) in arguments.iter().zip(&types).enumerate() {
            if let Some((parameter, kinds)) = function.parameter(place)
                && !of.kinds.intersects(kinds | Kinds::NULL)
            {
                let fault = function.wrong_kind(place, parameter, kinds, of);
                return Err(fault.at(argument.span()));
            }
        }
        if let (Some(kinds), Some(first), Some(argument)) =
            (function.items, types.first(), arguments.first())
        {
            let content = first.content();
            if !content.kinds.intersects(kinds | Kinds::NULL) {
                return Err(function.wrong_item(kinds, content).at(argument.span()));
            }
        }
        let of = function.returns.of(&types);
        Ok((Op::Call(function, nodes.into()), of))
    }

    /// Arguments that are no lambdas.
    fn values(&mut self, arguments: &[Argument]) -> Checked<(Vec<Node>, Vec<Type>)> {
        let mut nodes = Vec::with_capacity(arguments.len());
        let mut types = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let Argument::Value(value) = argument else {
                let message = "this function takes values, no `=>`";
                return Err(Fault::new(ErrorKind::TypeClash, message).at(argument.span()));
            };
            let (node, of) = self.expr(value);
            nodes.push(node);
            types.push(of);
        }
        Ok((nodes, types))
    }

    fn now(&mut self, arguments: &[Argument], at: Span) -> Checked<(Op, Type)> {
        if !arguments.is_empty() {
            return Err(wrong_arity("now", &library::arguments(0), arguments.len()));
        }
        if !self.names.has_clock() {
            let message = "here is no clock: a result must not depend on when it is computed";
            return Err(Fault::new(ErrorKind::UnknownFunction, message).at(at));
        }
        Ok((Op::Now, Type::TIME))
    }

    fn exists(&mut self, arguments: &[Argument], at: Span) -> Checked<(Op, Type)> {
        let [Argument::Value(of)] = arguments else {
            return Err(wrong_arity("exists", &library::arguments(1), arguments.len()).at(at));
        };
        let (node, _) = self.expr(of);
        if !matches!(node.op, Op::Slot(_) | Op::Member(..) | Op::Index(_)) && self.faults.is_empty()
        {
            let message = "`exists` asks for a field or a member";
            return Err(Fault::new(ErrorKind::TypeClash, message).at(of.span));
        }
        Ok((Op::Exists(Box::new(node)), Type::BOOL))
    }

    fn extreme(&mut self, name: &str, arguments: &[Argument]) -> Checked<(Op, Type)> {
        if arguments.len() < 2 {
            return Err(wrong_arity(name, "a collection or at least 2 values", arguments.len()));
        }
        let (nodes, types) = self.values(arguments)?;
        let mut of = Type::of_kinds(Kinds::NONE);
        for (argument, one) in arguments.iter().zip(&types) {
            let fits = one.kinds.intersects(Kinds::ORDERED | Kinds::NULL)
                && (of.kinds.is_empty() || ops::can_order(of.kinds, one.kinds));
            if !fits {
                let message = match of.kinds.is_empty() {
                    true => format!("{one} has no order here"),
                    false => format!("`{name}` cannot compare {of} with {one}"),
                };
                return Err(Fault::new(ErrorKind::TypeClash, message).at(argument.span()));
            }
            of = join(&of, one);
        }
        let function = if name == "min" { library::least() } else { library::greatest() };
        Ok((Op::Call(function, nodes.into()), Type::of_kinds(of.kinds)))
    }

    fn regex(&mut self, op: RegexOp, name: &str, arguments: &[Argument]) -> Checked<(Op, Type)> {
        let count = if op == RegexOp::Replace { 3 } else { 2 };
        if arguments.len() != count {
            return Err(wrong_arity(name, &library::arguments(count), arguments.len()));
        }
        let (mut nodes, types) = self.values(arguments)?;
        for (argument, of) in arguments.iter().zip(&types) {
            if !of.kinds.intersects(Kinds::TEXT | Kinds::NULL) {
                let message = format!("`{name}` works with texts, not with {of}");
                return Err(Fault::new(ErrorKind::TypeClash, message).at(argument.span()));
            }
        }
        let span = arguments.get(1).map(Argument::span).unwrap_or_default();
        let Some(Value::Text(text)) = nodes.get(1).and_then(Node::constant).cloned() else {
            if !self.faults.is_empty() {
                // The pattern has a fault of its own.
                return Ok((Op::Constant(Value::Null), Type::ANY));
            }
            let message = "a pattern is a text that is known before anything runs";
            let fault = Fault::new(ErrorKind::InvalidRegex, message).at(span);
            return Err(fault.hint("write it here, or as a parameter"));
        };
        nodes.remove(1);
        let pattern = self.patterns.get(&text).map_err(|fault| fault.at(span))?;
        let of = match op {
            RegexOp::Matches => Type::BOOL,
            RegexOp::Find | RegexOp::Replace => Type::TEXT,
            RegexOp::FindAll | RegexOp::Groups | RegexOp::Split => Type::array(Type::TEXT),
        };
        Ok((Op::Regex(op, pattern, nodes.into()), of))
    }

    fn each(&mut self, op: EachOp, name: &str, arguments: &[Argument]) -> Checked<(Op, Type)> {
        let needs_lambda = matches!(op, EachOp::Map | EachOp::MapValues | EachOp::Filter);
        let (of, lambda) = match arguments {
            [Argument::Value(of)] if !needs_lambda => (of, None),
            [Argument::Value(of), Argument::Lambda(lambda)] => (of, Some(lambda)),
            [Argument::Value(_), Argument::Value(value)] => {
                let message = format!("the second argument of `{name}` is what to do with an item");
                let fault = Fault::new(ErrorKind::TypeClash, message).at(value.span);
                return Err(fault.hint("write it as `x => …`"));
            }
            [Argument::Lambda(lambda), ..] => {
                let message = format!("the first argument of `{name}` is a collection");
                return Err(Fault::new(ErrorKind::TypeClash, message).at(lambda.span));
            }
            _ => {
                let expected = match needs_lambda {
                    true => library::arguments(2),
                    false => format!("1 to {}", library::arguments(2)),
                };
                return Err(wrong_arity(name, &expected, arguments.len())
                    .hint(format!("`{name}(collection, x => …)`")));
            }
        };
        let (of_node, of_type) = self.expr(of);
        let taken = op.takes();
        if !of_type.kinds.intersects(taken | Kinds::NULL) {
            let message = format!("`{name}` goes through an {taken}, not {of_type}");
            return Err(Fault::new(ErrorKind::TypeClash, message).at(of.span));
        }
        let of_type = match op {
            EachOp::MapValues => of_type.only(taken | Kinds::NULL),
            _ => of_type,
        };
        let content = of_type.content();
        let mut each = Each { of: of_node, item: 0, key: None, body: None };
        let span = lambda.map_or(of.span, |lambda| lambda.body.span);
        let value = match lambda {
            Some(lambda) => self.lambda(lambda, op, &of_type, &content, &mut each)?,
            None => content.clone(),
        };
        let result = match op {
            EachOp::Map => Type::array(value),
            EachOp::MapValues => Type::elements(value),
            EachOp::Filter => of_type.clone(),
            EachOp::Sort => Type::array(content),
            EachOp::Count => Type::INTEGER,
            EachOp::Any | EachOp::All => {
                self.expect(&value, Kinds::BOOL, "a condition is a bool", span)?;
                Type::BOOL
            }
            EachOp::Sum | EachOp::Avg => {
                self.expect(&value, Kinds::NUMBER, "a sum is of numbers", span)?;
                let is_exact = op == EachOp::Sum && value.kinds.is_subset(Kinds::INT | Kinds::NULL);
                if is_exact { Type::INTEGER } else { Type::NUMBER }
            }
            EachOp::Min | EachOp::Max => {
                let what = "only numbers, times, durations and texts have an order";
                self.expect(&value, Kinds::ORDERED, what, span)?;
                Type::of_kinds((value.kinds & Kinds::ORDERED) | Kinds::NULL)
            }
        };
        Ok((Op::Each(op, Box::new(each)), result))
    }

    fn expect(&self, of: &Type, kinds: Kinds, what: &str, span: Span) -> Checked<()> {
        if of.kinds.intersects(kinds | Kinds::NULL) {
            return Ok(());
        }
        Err(Fault::new(ErrorKind::TypeClash, format!("{what}, not {of}")).at(span))
    }

    fn lambda(
        &mut self,
        lambda: &Lambda,
        op: EachOp,
        of: &Type,
        content: &Type,
        each: &mut Each,
    ) -> Checked<Type> {
        let open = self.open();
        if let [(first, _), (second, span)] = lambda.parameters.as_slice()
            && first == second
        {
            let message = format!("the name `{}` is given twice", quoted(first));
            self.close(open);
            return Err(Fault::new(ErrorKind::AmbiguousName, message).at(*span));
        }
        if let Some((name, _)) = lambda.parameters.first() {
            each.item = self.add_local(name, content.clone());
        }
        if let Some((name, _)) = lambda.parameters.get(1) {
            let is = |kinds: Kinds| of.kinds.intersects(kinds | Kinds::NULL);
            let key = match (is(Kinds::ARRAY), is(Kinds::OBJECT)) {
                (true, false) => Type::INTEGER,
                (false, true) => Type::TEXT,
                _ => Type::of_kinds(Kinds::INT | Kinds::TEXT),
            };
            each.key = Some(self.add_local(name, key));
        }
        let (body, value) = if op.is_condition() {
            (self.condition(&lambda.body), Type::BOOL)
        } else {
            self.expr(&lambda.body)
        };
        self.close(open);
        each.body = Some(body);
        Ok(value)
    }
}

fn wrong_arity(name: &str, expected: &str, found: usize) -> Box<Fault> {
    let message = format!("`{name}` takes {expected}, not {found}");
    Fault::new(ErrorKind::WrongArity, message)
}

/// The comprehension of this name; `min(a, b)` and `max(a, b)` are none.
fn each_op(name: &str, arguments: &[Argument]) -> Option<EachOp> {
    let is_each = match arguments {
        [Argument::Value(_)] => true,
        [_, second] => matches!(second, Argument::Lambda(_)),
        _ => false,
    };
    Some(match name {
        "map" => EachOp::Map,
        "map_values" => EachOp::MapValues,
        "filter" => EachOp::Filter,
        "any" => EachOp::Any,
        "all" => EachOp::All,
        "count" => EachOp::Count,
        "sum" => EachOp::Sum,
        "avg" => EachOp::Avg,
        "sort" => EachOp::Sort,
        "min" if is_each => EachOp::Min,
        "max" if is_each => EachOp::Max,
        _ => return None,
    })
}
