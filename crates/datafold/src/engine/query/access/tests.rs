//! What the ranges of conditions contain.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::data_layer::internal::entry_part;
use crate::model::Value;

const CELL: IndexPart = IndexPart::Key(0);
const SECOND: IndexPart = IndexPart::Key(1);
const BASE: &[u8] = &[7, 1];

fn text() -> impl Strategy<Value = String> {
    let behind = select(vec!["", "a", "b", "\0", "\0a", "\u{10FFFF}", "ä"]);
    let count = select(vec![0_usize, 1, 2, 63, 64, 65, 250, 251, 252, 253, 255, 256, 257, 300]);
    let of = select(vec!["l", "\u{10FFFF}", "ä"]);
    (of, count, behind).prop_map(|(of, count, behind)| {
        let mut text = of.repeat(count);
        text.truncate(text.floor_char_boundary(300));
        text + behind
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    let floats = vec![-1.5, -0.5, 0.5, 1.5, 2.5, 1e300, -1e300, 9_223_372_036_854_775_808.0];
    prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        4 => (-3..4_i64).prop_map(Value::Int),
        1 => select(vec![i64::MIN, i64::MIN + 1, i64::MAX, 255, 256]).prop_map(Value::Int),
        3 => select(floats).prop_map(Value::Float),
        2 => (-2..3_i64).prop_map(|time| Value::Time(crate::model::Timestamp::from_micros(time))),
        9 => text().prop_map(Value::Text),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => scalar(),
        1 => scalar().prop_map(|item| Value::Array(vec![item])),
    ]
}

fn constant() -> impl Strategy<Value = lang::Value<'static>> {
    scalar().prop_map(|value| crate::model::to_lang(&value).into_owned())
}

fn ordered() -> impl Strategy<Value = lang::Value<'static>> {
    constant().prop_filter("has an order", |value| {
        !matches!(value, lang::Value::Null | lang::Value::Bool(_))
    })
}

fn end() -> impl Strategy<Value = Bound<lang::Value<'static>>> {
    prop_oneof![
        ordered().prop_map(Bound::Included),
        ordered().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn are_of_one_type(a: &Bound<lang::Value<'static>>, b: &Bound<lang::Value<'static>>) -> bool {
    let region = |bound: &Bound<lang::Value<'static>>| match bound {
        Bound::Included(value) | Bound::Excluded(value) => {
            key_part(value).map(|part| part_region(&part))
        }
        Bound::Unbounded => None,
    };
    region(a).is_some() && region(a) == region(b)
}

fn between() -> impl Strategy<Value = Is> {
    let of_one_type = |(lower, upper): &(Bound<_>, Bound<_>)| {
        let one = matches!(lower, Bound::Unbounded) != matches!(upper, Bound::Unbounded);
        one || are_of_one_type(lower, upper)
    };
    (end(), end())
        .prop_filter("ends of one type", of_one_type)
        .prop_map(|(lower, upper)| Is::Between(lower, upper))
}

fn is() -> impl Strategy<Value = Is> {
    let one_of = proptest::collection::vec(constant(), 0..5).prop_map(|mut values| {
        values.sort_by(lang::Value::cmp_values);
        values.dedup();
        Is::OneOf(values)
    });
    prop_oneof![one_of, between(), text().prop_map(Is::Prefix)]
}

/// Whether a value fulfils a condition, by the rules of the language.
fn holds(is: &Is, value: &Value) -> bool {
    let value = crate::model::to_lang(value);
    let compare = |bound: &lang::Value<'_>| {
        let one_type = key_part(&value).zip(key_part(bound));
        let one_type = one_type.is_some_and(|(a, b)| part_region(&a) == part_region(&b));
        one_type.then(|| value.cmp_values(bound))
    };
    match is {
        Is::OneOf(values) => values.contains(&value),
        Is::Prefix(prefix) => {
            matches!(&value, lang::Value::Text(text) if text.as_str().starts_with(prefix.as_str()))
        }
        Is::Between(lower, upper) => {
            let above = match lower {
                Bound::Unbounded => true,
                Bound::Included(bound) => compare(bound).is_some_and(|order| order.is_ge()),
                Bound::Excluded(bound) => compare(bound).is_some_and(|order| order.is_gt()),
            };
            let below = match upper {
                Bound::Unbounded => true,
                Bound::Included(bound) => compare(bound).is_some_and(|order| order.is_le()),
                Bound::Excluded(bound) => compare(bound).is_some_and(|order| order.is_lt()),
            };
            above && below
        }
    }
}

/// A key or an entry of some values, with the key of a record behind it.
fn key_of(values: &[Value], behind: &[u8], is_index: bool) -> Vec<u8> {
    let mut key = BASE.to_vec();
    for value in values {
        let mut raw = Vec::new();
        crate::model::encode_value(value, &mut raw);
        let mut part = entry_part(value, &raw);
        if let (Value::Text(text), false) = (value, is_index) {
            part = KeyPart::Text(text.clone());
        }
        key = with_part(&key, &part);
    }
    [&key[..], behind].concat()
}

fn contains(ranges: &[KeyRange], key: &[u8]) -> bool {
    use std::ops::RangeBounds;
    ranges.iter().filter(|range| range.contains(&key.to_vec())).count() == 1
}

/// What may stand behind the parts of an entry: nothing, or a record's key.
fn behind() -> impl Strategy<Value = Vec<u8>> {
    let key = scalar().prop_filter("a key", |value| *value != Value::Null);
    prop_oneof![
        Just(Vec::new()),
        key.prop_map(|value| key_of(&[value], &[], false).split_off(BASE.len())),
    ]
}

fn check(is: [&Is; 2], values: [Value; 2], behind: &[u8], is_index: bool) {
    let is_scalar = !values.iter().any(|value| matches!(value, Value::Array(_)));
    let condition = |part, is: &Is| Condition { part, is: is.clone(), is_scalar };
    for count in 1..=2 {
        let conditions = [condition(CELL, is[0]), condition(SECOND, is[1])];
        let Some(conditions) = conditions.get(..count) else { continue };
        let parts = [CELL, SECOND];
        let served = serve(BASE.to_vec(), &parts, conditions, is_index).unwrap();
        let key = key_of(&values, behind, is_index);
        let found = contains(&served.ranges, &key);
        let all = conditions.iter().zip(&values).all(|(of, value)| holds(&of.is, value));
        assert!(found || !all, "{conditions:?} of {values:?} is not found in {served:?}");
        let used = served.used.iter().all(|at| holds(&conditions[*at].is, &values[*at]));
        if served.is_exact {
            assert_eq!(found, used, "{conditions:?} of {values:?} in {served:?}");
        }
        let ends =
            served.ranges.iter().flat_map(|(lower, upper)| [bytes_of(lower), bytes_of(upper)]);
        assert!(ends.is_sorted(), "{served:?} overlap");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn ranges_contain_what_fulfils_the_conditions(
        first in is(), second in is(), a in value(), b in value(), behind in behind(),
    ) {
        check([&first, &second], [a, b], &behind, true);
    }

    #[test]
    fn ranges_of_keys_contain_what_fulfils_the_conditions(
        first in is(), second in is(), a in scalar(), b in scalar(), behind in behind(),
    ) {
        check([&first, &second], [a, b], &behind, false);
    }
}
