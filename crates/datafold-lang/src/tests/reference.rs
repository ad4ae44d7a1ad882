//! The reference: walks the tree of the parser, knows no types, and copies everything.

#![expect(clippy::cast_possible_truncation, reason = "what is cut is checked before")]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::Value;
use crate::ast::{Argument, BinaryOp, Expr, ExprKind, Lambda, Statement};

/// A value, or the code of an error.
type Result<T> = std::result::Result<T, &'static str>;
type V = Value<'static>;

/// The comprehensions that it knows.
const EACH: [&str; 10] =
    ["map", "map_values", "filter", "any", "all", "sum", "count", "min", "max", "sort"];

pub(super) struct Reference {
    names: Vec<BTreeMap<String, V>>,
    last: V,
    /// Adds integers as floats, which the comparison must find.
    fault: bool,
}

impl Reference {
    pub(super) fn new(values: &[(&str, V)], fault: bool) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self { names: vec![values.collect()], last: V::Null, fault }
    }

    pub(super) fn run(mut self, statements: &[Statement]) -> Result<V> {
        self.block(statements)?;
        Ok(self.last)
    }

    /// Whether the block has returned.
    fn block(&mut self, statements: &[Statement]) -> Result<bool> {
        self.names.push(BTreeMap::new());
        for statement in statements {
            match statement {
                Statement::Let(name, _, value) => {
                    let value = self.eval(value)?;
                    self.names.last_mut().unwrap().insert(name.clone(), value);
                }
                Statement::Return(value) => {
                    self.last = self.eval(value)?;
                    return Ok(true);
                }
                Statement::Expr(value) => self.last = self.eval(value)?,
                Statement::If(arms, otherwise) => {
                    let mut chosen = otherwise;
                    for (condition, block) in arms {
                        if self.truth(condition)? {
                            chosen = block;
                            break;
                        }
                    }
                    if self.block(chosen)? {
                        return Ok(true);
                    }
                }
            }
        }
        self.names.pop();
        Ok(false)
    }

    fn truth(&mut self, expr: &Expr) -> Result<bool> {
        match self.eval(expr)? {
            V::Bool(truth) => Ok(truth),
            V::Null => Ok(false),
            _ => Err("type_clash"),
        }
    }

    fn eval(&mut self, expr: &Expr) -> Result<V> {
        Ok(match &expr.kind {
            ExprKind::Null => V::Null,
            ExprKind::Bool(truth) => V::Bool(*truth),
            ExprKind::Int(int) => V::Int(*int),
            ExprKind::Float(float) => number(*float)?,
            ExprKind::Text(text) => V::from(text.clone()),
            ExprKind::Name(name) => {
                self.names.iter().rev().find_map(|scope| scope.get(name)).unwrap().clone()
            }
            ExprKind::Parameter(_) => V::Null,
            ExprKind::Array(items) => {
                let items: Result<Vec<V>> = items.iter().map(|item| self.eval(item)).collect();
                V::array(items?).unwrap()
            }
            ExprKind::Object(members) => {
                let mut values = Vec::new();
                for (name, _, value) in members {
                    values.push((name.clone().into(), self.eval(value)?));
                }
                V::object(values).unwrap()
            }
            ExprKind::Member(of, name, _) => match self.eval(of)? {
                V::Object(members) => members.get(name).cloned().unwrap_or_default(),
                V::Null => V::Null,
                _ => return Err("type_clash"),
            },
            ExprKind::Index(of, index) => match (self.eval(of)?, self.eval(&index[0])?) {
                (V::Null, _) | (V::Array(_) | V::Object(_), V::Null) => V::Null,
                (V::Array(items), V::Int(at)) => {
                    let len = i128::try_from(items.len()).unwrap();
                    let at = if at < 0 { len + i128::from(at) } else { i128::from(at) };
                    let item = usize::try_from(at).ok().and_then(|at| items.get(at));
                    item.cloned().unwrap_or_default()
                }
                (V::Object(members), V::Text(name)) => {
                    members.get(&name).cloned().unwrap_or_default()
                }
                _ => return Err("type_clash"),
            },
            ExprKind::Negate(of) => match self.eval(of)? {
                V::Int(int) => exact(-i128::from(int))?,
                V::Float(float) => number(-float)?,
                V::Null => V::Null,
                _ => return Err("type_clash"),
            },
            ExprKind::Not(of) => V::Bool(!self.truth(of)?),
            ExprKind::Binary(op, _, sides) => self.binary(*op, &sides.0, &sides.1)?,
            ExprKind::And(operands) => {
                for operand in operands {
                    if !self.truth(operand)? {
                        return Ok(V::Bool(false));
                    }
                }
                V::Bool(true)
            }
            ExprKind::Or(operands) => {
                for operand in operands {
                    if self.truth(operand)? {
                        return Ok(V::Bool(true));
                    }
                }
                V::Bool(false)
            }
            ExprKind::Conditional(parts) => {
                if self.truth(&parts.0)? {
                    self.eval(&parts.1)?
                } else {
                    self.eval(&parts.2)?
                }
            }
            ExprKind::Call(name, _, arguments) => self.call(name, arguments)?,
        })
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<V> {
        let a = self.eval(left)?;
        if op == BinaryOp::Coalesce {
            return if matches!(a, V::Null) { self.eval(right) } else { Ok(a) };
        }
        let b = self.eval(right)?;
        match op {
            BinaryOp::Equal => return Ok(V::Bool(equal(&a, &b))),
            BinaryOp::NotEqual => return Ok(V::Bool(!equal(&a, &b))),
            BinaryOp::In => {
                return match (&a, &b) {
                    (_, V::Null) => Ok(V::Bool(false)),
                    (_, V::Array(items)) => Ok(V::Bool(items.iter().any(|b| equal(&a, b)))),
                    (V::Null, V::Object(_)) => Ok(V::Bool(false)),
                    (V::Text(name), V::Object(o)) => Ok(V::Bool(o.get(name).is_some())),
                    _ => Err("type_clash"),
                };
            }
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
                if matches!(a, V::Null) || matches!(b, V::Null) {
                    return Ok(V::Bool(false));
                }
                let order = order(&a, &b).ok_or("type_clash")?;
                return Ok(V::Bool(match op {
                    BinaryOp::Less => order.is_lt(),
                    BinaryOp::LessEqual => order.is_le(),
                    BinaryOp::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }));
            }
            _ => {}
        }
        match (&a, &b) {
            (V::Null, _) | (_, V::Null) => Ok(V::Null),
            (V::Text(a), V::Text(b)) if op == BinaryOp::Add => {
                Ok(V::from(format!("{}{}", a.as_str(), b.as_str())))
            }
            (V::Time(a), V::Time(b)) if op == BinaryOp::Subtract => {
                let micros = a.as_micros() - b.as_micros();
                Ok(V::Duration(crate::Duration::from_micros(micros)))
            }
            (V::Int(a), V::Int(b)) => self.ints(op, *a, *b),
            (V::Int(_) | V::Float(_), V::Int(_) | V::Float(_)) => floats(op, float(&a), float(&b)),
            _ => Err("type_clash"),
        }
    }

    fn ints(&self, op: BinaryOp, a: i64, b: i64) -> Result<V> {
        let (x, y) = (i128::from(a), i128::from(b));
        match op {
            BinaryOp::Add if self.fault => number(a as f64 + b as f64),
            BinaryOp::Add => exact(x + y),
            BinaryOp::Subtract => exact(x - y),
            BinaryOp::Multiply => exact(x * y),
            BinaryOp::Divide | BinaryOp::Remainder if b == 0 => Err("division_by_zero"),
            BinaryOp::Divide if x % y == 0 => exact(x / y),
            BinaryOp::Remainder => exact(x % y),
            BinaryOp::Power if b >= 0 => {
                // Larger exponents leave the integers for every other base.
                let small = u32::try_from(if a.abs_diff(0) <= 1 { b % 2 + 2 } else { b.min(64) });
                let exponent = if b == 0 { 0 } else { small.unwrap() };
                exact(x.checked_pow(exponent).ok_or("overflow")?)
            }
            BinaryOp::Divide => number(quotient(a, b)),
            op => floats(op, a as f64, b as f64),
        }
    }

    fn call(&mut self, name: &str, arguments: &[Argument]) -> Result<V> {
        if let [Argument::Value(of), rest @ ..] = arguments
            && EACH.contains(&name)
        {
            let lambda = match rest {
                [Argument::Lambda(lambda)] => Some(lambda),
                _ => None,
            };
            return self.each(name, of, lambda);
        }
        let mut values = Vec::new();
        for argument in arguments {
            let Argument::Value(value) = argument else { return Err("type_clash") };
            values.push(self.eval(value)?);
        }
        let is_fit = |value: &V| match name {
            "upper" | "concat" => matches!(value, V::Text(_) | V::Null),
            "abs" => matches!(value, V::Int(_) | V::Float(_) | V::Null),
            "length" => matches!(value, V::Text(_) | V::Array(_) | V::Object(_) | V::Null),
            _ => true,
        };
        if !values.iter().all(is_fit) {
            return Err("type_clash");
        }
        if name == "to_string" {
            return Ok(match &values[0] {
                V::Text(text) => V::from(text.as_str().to_owned()),
                V::Time(time) => V::from(time.to_string()),
                V::Duration(duration) => V::from(duration.to_string()),
                value => V::from(value.to_json()),
            });
        }
        if values.iter().any(|value| matches!(value, V::Null)) {
            return Ok(V::Null);
        }
        match (name, values.first()) {
            ("upper", Some(V::Text(text))) => Ok(V::from(text.to_uppercase())),
            ("length", Some(V::Text(text))) => exact(text.chars().count() as i128),
            ("length", Some(V::Array(items))) => exact(items.len() as i128),
            ("length", Some(V::Object(members))) => exact(members.len() as i128),
            ("abs", Some(V::Int(int))) => exact(i128::from(*int).abs()),
            ("abs", Some(V::Float(float))) => number(float.abs()),
            ("concat", _) => {
                Ok(V::from(values.iter().filter_map(|value| value.as_text()).collect::<String>()))
            }
            _ => panic!("the reference has no `{name}`"),
        }
    }

    fn each(&mut self, name: &str, of: &Expr, lambda: Option<&Lambda>) -> Result<V> {
        let of = self.eval(of)?;
        let items: Vec<V> = match &of {
            V::Array(items) if name != "map_values" => items.to_vec(),
            V::Object(members) => members.iter().map(|(_, value)| value.clone()).collect(),
            V::Null => {
                return Ok(match name {
                    "count" => V::Int(0),
                    "any" => V::Bool(false),
                    "all" => V::Bool(true),
                    _ => V::Null,
                });
            }
            _ => return Err("type_clash"),
        };
        let mut values = Vec::new();
        for item in &items {
            let value = match lambda {
                None => item.clone(),
                Some(lambda) => {
                    let parameter = lambda.parameters[0].0.clone();
                    self.names.push([(parameter, item.clone())].into());
                    let value = match name {
                        "filter" | "any" | "all" | "count" => self.truth(&lambda.body)?.into(),
                        _ => self.eval(&lambda.body)?,
                    };
                    self.names.pop();
                    value
                }
            };
            // The comprehensions stop where nothing can change any more.
            let is_true = matches!(value, V::Bool(true));
            let is_known = matches!((name, is_true), ("any", true) | ("all", false));
            match (name, &value) {
                ("sum", V::Null | V::Int(_) | V::Float(_)) => {}
                ("sum", _) => return Err("type_clash"),
                ("min" | "max", V::Bool(_) | V::Array(_) | V::Object(_)) => {
                    return Err("type_clash");
                }
                ("min" | "max", value) if !matches!(value, V::Null) => {
                    let other = values.iter().find(|other| !matches!(other, V::Null));
                    if other.is_some_and(|other| order(other, value).is_none()) {
                        return Err("type_clash");
                    }
                }
                _ => {}
            }
            values.push(value);
            if is_known {
                break;
            }
        }
        let some = values.iter().filter(|value| !matches!(value, V::Null)).cloned();
        Ok(match name {
            "map" => V::array(values).unwrap(),
            "map_values" => {
                let V::Object(members) = &of else { return Err("type_clash") };
                let names = members.iter().map(|(name, _)| name.clone());
                V::object(names.zip(values).collect()).unwrap()
            }
            "any" => V::Bool(values.iter().any(|value| matches!(value, V::Bool(true)))),
            "all" => V::Bool(values.iter().all(|value| matches!(value, V::Bool(true)))),
            "count" if lambda.is_none() => exact(some.count() as i128)?,
            "count" => exact(values.iter().filter(|v| matches!(v, V::Bool(true))).count() as i128)?,
            "sum" => sum(&some.collect::<Vec<_>>())?,
            "min" => some.min_by(|a, b| order(a, b).unwrap()).unwrap_or_default(),
            // The first of several greatest, as it is for the least.
            "max" => some
                .reduce(|a, b| if order(&b, &a) == Some(Ordering::Greater) { b } else { a })
                .unwrap_or_default(),
            "filter" => {
                let kept = |at: &usize| matches!(values[*at], V::Bool(true));
                match &of {
                    V::Object(members) => {
                        let kept = (0..items.len()).filter(kept).map(|at| members[at].clone());
                        V::object(kept.collect()).unwrap()
                    }
                    _ => {
                        let kept = (0..items.len()).filter(kept).map(|at| items[at].clone());
                        V::array(kept.collect()).unwrap()
                    }
                }
            }
            _ => sorted(items, &values),
        })
    }
}

/// The nearest float, by long division of bits: one more than a float has, and a last one that says
/// whether anything is left.
fn quotient(a: i64, b: i64) -> f64 {
    let (x, y) = (u128::from(a.unsigned_abs()), u128::from(b.unsigned_abs()));
    let (mut bits, mut rest, mut places) = (x / y, x % y, 0);
    while bits < 1 << 55 {
        rest *= 2;
        bits = bits * 2 + rest / y;
        rest %= y;
        places += 1;
    }
    let size = (bits | u128::from(rest != 0)) as f64 / 2_f64.powi(places);
    if (a < 0) == (b < 0) { size } else { -size }
}

/// Sorted by insertion, which keeps the order of equal ones.
fn sorted(items: Vec<V>, keys: &[V]) -> V {
    let mut pairs: Vec<(V, V)> = Vec::new();
    for (item, key) in items.into_iter().zip(keys) {
        let at = pairs.iter().position(|(other, _)| total(key, other).is_lt());
        pairs.insert(at.unwrap_or(pairs.len()), (key.clone(), item));
    }
    V::array(pairs.into_iter().map(|(_, item)| item).collect()).unwrap()
}

fn rank(value: &V) -> u8 {
    match value {
        V::Null => 0,
        V::Bool(_) => 1,
        V::Int(_) | V::Float(_) => 2,
        V::Time(_) => 3,
        V::Duration(_) => 4,
        V::Text(_) => 5,
        V::Array(_) => 6,
        V::Object(_) => 7,
    }
}

fn total(a: &V, b: &V) -> Ordering {
    match (a, b) {
        (V::Bool(a), V::Bool(b)) => a.cmp(b),
        (V::Array(a), V::Array(b)) => {
            let first = a.iter().zip(b.iter()).map(|(a, b)| total(a, b)).find(|o| o.is_ne());
            first.unwrap_or(a.len().cmp(&b.len()))
        }
        (V::Object(a), V::Object(b)) => {
            let pairs = a.iter().zip(b.iter());
            let mut orders =
                pairs.map(|((n, a), (m, b))| n.as_str().cmp(m.as_str()).then_with(|| total(a, b)));
            orders.find(|o| o.is_ne()).unwrap_or(a.len().cmp(&b.len()))
        }
        _ => order(a, b).unwrap_or(rank(a).cmp(&rank(b))),
    }
}

fn equal(a: &V, b: &V) -> bool {
    rank(a) == rank(b) && total(a, b).is_eq()
}

/// The order of numbers, texts, times or durations.
fn order(a: &V, b: &V) -> Option<Ordering> {
    Some(match (a, b) {
        (V::Int(a), V::Int(b)) => a.cmp(b),
        (V::Text(a), V::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (V::Time(a), V::Time(b)) => a.as_micros().cmp(&b.as_micros()),
        (V::Duration(a), V::Duration(b)) => a.as_micros().cmp(&b.as_micros()),
        (V::Int(_) | V::Float(_), V::Int(_) | V::Float(_)) => {
            // In whole and fraction, which are exact for both.
            let parts = |value: &V| match value {
                V::Int(int) => (*int as f64, i128::from(*int), 0.0),
                value => {
                    let float = float(value);
                    (float, float.floor().clamp(-1e30, 1e30) as i128, float - float.floor())
                }
            };
            let (x, y) = (parts(a), parts(b));
            if x.0.abs() > 1e30 || y.0.abs() > 1e30 {
                return x.0.partial_cmp(&y.0);
            }
            x.1.cmp(&y.1).then(x.2.partial_cmp(&y.2)?)
        }
        _ => return None,
    })
}

fn float(value: &V) -> f64 {
    match value {
        V::Int(int) => *int as f64,
        V::Float(float) => *float,
        _ => f64::NAN,
    }
}

fn number(float: f64) -> Result<V> {
    if !float.is_finite() {
        return Err("overflow");
    }
    let is_int = float.fract() == 0.0 && float.abs() < 1e19;
    let int = i64::try_from(float as i128).ok().filter(|_| is_int);
    Ok(int.map_or(V::Float(float), V::Int))
}

fn exact(int: i128) -> Result<V> {
    i64::try_from(int).map(V::Int).map_err(|_| "overflow")
}

fn floats(op: BinaryOp, a: f64, b: f64) -> Result<V> {
    match op {
        BinaryOp::Add => number(a + b),
        BinaryOp::Subtract => number(a - b),
        BinaryOp::Multiply => number(a * b),
        BinaryOp::Divide | BinaryOp::Remainder if b == 0.0 => Err("division_by_zero"),
        BinaryOp::Divide => number(a / b),
        BinaryOp::Remainder => number(a % b),
        _ if a == 0.0 && b < 0.0 => Err("division_by_zero"),
        _ => {
            let power = libm::pow(a, b);
            if power.is_nan() { Err("invalid_argument") } else { number(power) }
        }
    }
}

/// The sum of integers in 128 bits. For floats it is that of [`crate::ExactSum`], which has tests
/// of its own.
fn sum(numbers: &[V]) -> Result<V> {
    let ints = numbers.iter().map(|v| if let V::Int(int) = v { i128::from(*int) } else { 0 });
    let total: i128 = ints.sum();
    if !numbers.iter().any(|value| matches!(value, V::Float(_))) {
        return exact(total);
    }
    let mut exact_sum = crate::ExactSum::new();
    for value in numbers {
        exact_sum.add(value);
    }
    exact_sum.value().ok_or("overflow")
}
