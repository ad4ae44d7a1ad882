//! Functions of arrays and objects.

use super::{Function, Returns, array, count, int, items, one, text, too_deep};
use crate::diagnostic::Checked;
use crate::meter::Meter;
use crate::ops;
use crate::types::Kinds;
use crate::value::{VALUE_BYTES, Value};

const ARRAY: Kinds = Kinds::ARRAY;
const OBJECT: Kinds = Kinds::OBJECT;
const COLLECTION: Kinds = Kinds::COLLECTION;
const INT: Kinds = Kinds::INT;
const ANY: Kinds = Kinds::ANY;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("length", &[("value", Kinds::TEXT_OR_COLLECTION)], 1, one(INT), length,
        "the characters of a text, items of an array, members of an object"),
    Function::new("keys", &[("object", OBJECT)], 1, Returns::ArrayOf(Kinds::TEXT), keys,
        "the names of the members, sorted"),
    Function::new("values", &[("collection", COLLECTION)], 1, Returns::Contents, values,
        "the values of the members, in the order of their names"),
    Function::new("has", &[("object", OBJECT), ("name", Kinds::TEXT)], 2, one(Kinds::BOOL), has,
        "whether there is a member of this name, be it null"),
    Function::new("merge", &[("object", OBJECT)], 1, one(OBJECT), merge,
        "the members of all objects; later ones win").variadic(),
    Function::new("first", &[("collection", COLLECTION)], 1, Returns::Content, first,
        "the first item, or null"),
    Function::new("last", &[("collection", COLLECTION)], 1, Returns::Content, last,
        "the last item, or null"),
    Function::new("slice", &[("array", ARRAY), ("start", INT), ("count", INT)], 2, Returns::First,
        slice, "the items from a place on, from 0; a start below 0 counts from the end"),
    Function::new("reverse", &[("array", Kinds::TEXT_OR_ARRAY)], 1, Returns::First, reverse,
        "an array or a text from its end to its start"),
    Function::new("distinct", &[("collection", COLLECTION)], 1, Returns::Contents, distinct,
        "each different item once, sorted"),
    Function::new("flatten", &[("array", ARRAY)], 1, one(ARRAY), flatten,
        "the items of the arrays in an array; other items stay"),
    Function::new("append", &[("array", ARRAY), ("item", ANY)], 2, one(ARRAY), append,
        "the array with one more item").lenient(),
    Function::new("range", &[("from", INT), ("to", INT)], 2, Returns::ArrayOf(INT), range,
        "the integers from one up to another, which is not among them"),
];

fn length<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let len = match arguments.first() {
        Some(Value::Text(text)) => {
            meter.read(text.len() as u64)?;
            return Ok(super::texts::length(text));
        }
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn len(collection: &Value<'_>) -> u64 {
    match collection {
        Value::Array(items) => items.len() as u64,
        Value::Object(members) => members.len() as u64,
        _ => 0,
    }
}

/// The items, charged for as often as they are copied.
fn copied<'a>(meter: &mut Meter, arguments: &[Value<'a>], times: u64) -> Checked<Vec<Value<'a>>> {
    let Some(collection) = arguments.first() else { return Ok(Vec::new()) };
    meter.bytes(len(collection) * VALUE_BYTES * times)?;
    Ok(items(collection).into_owned())
}

fn keys<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let Some(Value::Object(members)) = arguments.first() else { return Ok(Value::Null) };
    meter.bytes(members.len() as u64 * VALUE_BYTES)?;
    array(meter, members.iter().map(|(name, _)| Value::Text(name.clone())).collect())
}

fn values<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let items = copied(meter, arguments, 1)?;
    array(meter, items)
}

fn has<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 1).len() as u64)?;
    let Some(Value::Object(members)) = arguments.first() else { return Ok(Value::Null) };
    Ok(members.get(text(arguments, 1)).is_some().into())
}

fn merge<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let total: u64 = arguments.iter().map(len).sum();
    meter.bytes(total * 2 * VALUE_BYTES)?;
    let mut members = Vec::new();
    for object in arguments {
        if let Value::Object(object) = object {
            meter.read(object.iter().map(|(name, _)| name.len() as u64).sum())?;
            members.extend(object.iter().cloned());
        }
    }
    sort_charge(meter, total, 64)?;
    // The last one of a name comes first, and stays.
    members.reverse();
    members.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    members.dedup_by(|(a, _), (b, _)| a.as_str() == b.as_str());
    Value::object(members).map_err(|_| too_deep())
}

fn first<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    Ok(match arguments.first() {
        Some(Value::Array(items)) => items.first().cloned().unwrap_or_default(),
        Some(Value::Object(members)) => members.first().map(|(_, v)| v.clone()).unwrap_or_default(),
        _ => Value::Null,
    })
}

fn last<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    Ok(match arguments.first() {
        Some(Value::Array(items)) => items.last().cloned().unwrap_or_default(),
        Some(Value::Object(members)) => members.last().map(|(_, v)| v.clone()).unwrap_or_default(),
        _ => Value::Null,
    })
}

fn slice<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let Some(Value::Array(items)) = arguments.first() else { return Ok(Value::Null) };
    let start = int(arguments, 1).unwrap_or(0);
    let mut most = match arguments.get(2) {
        Some(_) => count(arguments, 2, "the count")?,
        None => usize::MAX,
    };
    let start = ops::place(start, items.len()).unwrap_or_else(|| {
        // What would stand before the first item counts, and is not there.
        let before = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
        most = most.saturating_sub(before.saturating_sub(items.len()));
        0
    });
    let most = most.min(items.len().saturating_sub(start));
    meter.bytes(most as u64 * VALUE_BYTES)?;
    array(meter, items.iter().skip(start).take(most).cloned().collect())
}

fn reverse<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    if let Some(Value::Text(text)) = arguments.first() {
        meter.bytes(text.len() as u64 * 2)?;
        return Ok(text.chars().rev().collect::<String>().into());
    }
    let mut items = copied(meter, arguments, 1)?;
    items.reverse();
    array(meter, items)
}

/// Charges for sorting so many items of which each weighs so much.
pub(crate) fn sort_charge(meter: &mut Meter, count: u64, weight: u64) -> Checked<()> {
    let rounds = u64::from(64 - count.leading_zeros());
    let comparisons = count.saturating_mul(rounds);
    meter.steps(comparisons.saturating_mul(1 + weight / 256))
}

/// The weight of the heaviest item, of which a comparison reads no more.
pub(crate) fn heaviest(items: &[Value<'_>]) -> u64 {
    items.iter().map(Value::weight).max().unwrap_or(0)
}

fn distinct<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let mut items = copied(meter, arguments, 2)?;
    sort_charge(meter, items.len() as u64, heaviest(&items))?;
    items.sort_by(Value::cmp_values);
    items.dedup();
    array(meter, items)
}

fn flatten<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let Some(Value::Array(outer)) = arguments.first() else { return Ok(Value::Null) };
    let inner = outer.iter().map(|item| if let Value::Array(a) = item { a.len() } else { 1 });
    let total: usize = inner.sum();
    meter.bytes((total as u64 + outer.len() as u64) * VALUE_BYTES)?;
    let mut flat = Vec::with_capacity(total);
    for item in outer.iter() {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            item => flat.push(item.clone()),
        }
    }
    array(meter, flat)
}

fn append<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let [Value::Array(items), item] = arguments else { return Ok(Value::Null) };
    meter.bytes((items.len() as u64 + 1) * VALUE_BYTES)?;
    let mut longer = Vec::with_capacity(items.len() + 1);
    longer.extend(items.iter().cloned());
    longer.push(item.clone());
    array(meter, longer)
}

fn range<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let (from, to) = (int(arguments, 0).unwrap_or(0), int(arguments, 1).unwrap_or(0));
    let count = i128::from(to) - i128::from(from);
    let count = u64::try_from(count.max(0)).unwrap_or(u64::MAX);
    meter.bytes(count.saturating_mul(VALUE_BYTES))?;
    array(meter, (from..to.max(from)).map(Value::Int).collect())
}
