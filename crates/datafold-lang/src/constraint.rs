//! What a filter says of single fields, for a planner that chooses a key or an index.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::ast::BinaryOp;
use crate::node::{Node, Op, value_set};
use crate::ops::can_order;
use crate::types::Kinds;
use crate::value::Value;

/// Something that holds of a field in every record that a filter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// The field equals one of these values; null also means that it is missing. One value, or as
    /// many as were listed, none of them twice, sorted.
    OneOf {
        /// The place of the field in [`Program::inputs`](crate::Program::inputs).
        slot: usize,
        /// The values.
        values: Vec<Value<'static>>,
    },
    /// The field is between two values of one type, and not null.
    Between {
        /// The place of the field in [`Program::inputs`](crate::Program::inputs).
        slot: usize,
        /// The lower end.
        lower: Bound<Value<'static>>,
        /// The upper end.
        upper: Bound<Value<'static>>,
    },
    /// The field is a text that begins so.
    Prefix {
        /// The place of the field in [`Program::inputs`](crate::Program::inputs).
        slot: usize,
        /// What it begins with.
        prefix: String,
    },
}

/// The constraints of a filter, all of which must hold. Ranges of one field are one constraint.
///
/// For a record that breaks one of them the filter is false, or it is an error: a planner that
/// skips such records skips these errors too, such as those of a field without a type that holds a
/// text in some record and is compared with a number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Constraints {
    /// The constraints.
    pub all: Vec<Constraint>,
    /// Whether they say all that the filter says, so that records that fulfil them need not be
    /// tested.
    pub is_exact: bool,
}

/// The constraints of the operands of `&&`, or of a single condition.
pub(crate) fn constraints(node: &Node) -> Constraints {
    let mut found = Constraints { all: Vec::new(), is_exact: true };
    collect(node, &mut found);
    found
}

fn collect(node: &Node, found: &mut Constraints) {
    if let Op::And(operands) = &node.op {
        operands.iter().for_each(|operand| collect(operand, found));
        return;
    }
    if node.constant() == Some(&Value::Bool(true)) {
        return;
    }
    match constraint(node) {
        Some(constraint) => add(&mut found.all, constraint),
        None => found.is_exact = false,
    }
}

/// Adds a constraint; two ranges of one field become one.
fn add(all: &mut Vec<Constraint>, constraint: Constraint) {
    if let Constraint::Between { slot, lower, upper } = &constraint {
        for known in all.iter_mut() {
            if let Constraint::Between { slot: of, lower: low, upper: high } = known
                && of == slot
                && have_order([&*low, &*high, lower, upper])
            {
                narrow(low, lower, Ordering::Greater);
                narrow(high, upper, Ordering::Less);
                return;
            }
        }
    }
    all.push(constraint);
}

fn end<'b>(bound: &'b Bound<Value<'static>>) -> Option<&'b Value<'static>> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value),
        Bound::Unbounded => None,
    }
}

/// Whether the ends are of one type.
fn have_order(bounds: [&Bound<Value<'static>>; 4]) -> bool {
    let mut kinds = bounds.into_iter().filter_map(end).map(Kinds::of);
    kinds.next().is_none_or(|first| kinds.all(|other| can_order(first, other)))
}

/// Makes an end the other one, if that is tighter: `tighter` says how it compares then.
fn narrow(bound: &mut Bound<Value<'static>>, other: &Bound<Value<'static>>, tighter: Ordering) {
    let Some(value) = end(other) else { return };
    let is_tighter = end(bound).is_none_or(|known| match value.cmp_values(known) {
        Ordering::Equal => matches!(other, Bound::Excluded(_)),
        order => order == tighter,
    });
    if is_tighter {
        *bound = other.clone();
    }
}

fn constraint(node: &Node) -> Option<Constraint> {
    match &node.op {
        // A bool that is a condition itself; null counts as false.
        Op::Slot(slot) => one_of(*slot, vec![Value::Bool(true)]),
        Op::Not(of) => match of.op {
            Op::Slot(slot) => one_of(slot, vec![Value::Null, Value::Bool(false)]),
            _ => None,
        },
        Op::InSet(of, values) => match of.op {
            Op::Slot(slot) => one_of(slot, values.to_vec()),
            _ => None,
        },
        Op::Binary(op, sides) => {
            if let (Op::Slot(slot), Some(value)) = (&sides.0.op, sides.1.constant()) {
                return comparison(*slot, *op, value);
            }
            let (Some(value), Op::Slot(slot)) = (sides.0.constant(), &sides.1.op) else {
                return None;
            };
            comparison(*slot, mirrored(*op)?, value)
        }
        // Alternatives for one field are a list of its values.
        Op::Or(operands) => {
            let mut field = None;
            let mut all = Vec::new();
            for operand in operands {
                let Some(Constraint::OneOf { slot, values }) = constraint(operand) else {
                    return None;
                };
                if *field.get_or_insert(slot) != slot {
                    return None;
                }
                all.extend(values);
            }
            one_of(field?, all)
        }
        Op::Call(function, arguments) if function.name == "starts_with" => {
            let [of, prefix] = &**arguments else { return None };
            let (Op::Slot(slot), Some(Value::Text(prefix))) = (&of.op, prefix.constant()) else {
                return None;
            };
            Some(Constraint::Prefix { slot: *slot, prefix: prefix.as_str().to_owned() })
        }
        _ => None,
    }
}

fn one_of(slot: usize, values: Vec<Value<'static>>) -> Option<Constraint> {
    let values = value_set(values).into_vec();
    let is_scalar = |value: &Value<'_>| !Kinds::of(value).intersects(Kinds::COLLECTION);
    values.iter().all(is_scalar).then_some(Constraint::OneOf { slot, values })
}

fn comparison(slot: usize, op: BinaryOp, value: &Value<'static>) -> Option<Constraint> {
    let between = |lower, upper| {
        let has_order = Kinds::of(value).is_subset(Kinds::ORDERED);
        has_order.then_some(Constraint::Between { slot, lower, upper })
    };
    match op {
        BinaryOp::Equal => one_of(slot, vec![value.clone()]),
        BinaryOp::Less => between(Bound::Unbounded, Bound::Excluded(value.clone())),
        BinaryOp::LessEqual => between(Bound::Unbounded, Bound::Included(value.clone())),
        BinaryOp::Greater => between(Bound::Excluded(value.clone()), Bound::Unbounded),
        BinaryOp::GreaterEqual => between(Bound::Included(value.clone()), Bound::Unbounded),
        _ => None,
    }
}

/// The operator with its sides exchanged.
fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Equal => BinaryOp::Equal,
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        _ => return None,
    })
}
