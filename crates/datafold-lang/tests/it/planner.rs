//! What a filter tells a planner, and what programs read.

use std::ops::Bound;

use datafold_lang::{Compiler, Constraint, Constraints, LookupType, Scope, Time, Type, Value};

fn scope() -> Scope {
    Scope::new()
        .with("a", Type::INTEGER)
        .with("b", Type::TEXT)
        .with("t", Type::TIME)
        .with("o", Type::ANY)
        .with("yes", Type::BOOL)
        .with_parameter("min", Value::Int(7))
}

fn constraints(source: &str) -> Constraints {
    Compiler::new(&scope()).filter(source).unwrap().constraints()
}

#[test]
fn equalities_ranges_and_prefixes_of_plain_fields_are_found() {
    let one = |slot, value: Value<'static>| Constraint::OneOf { slot, values: vec![value] };
    let from = |slot, value| Constraint::Between {
        slot,
        lower: Bound::Excluded(value),
        upper: Bound::Unbounded,
    };
    let time = Value::Time(Time::parse("2013-01-01T00:00:00Z").unwrap());
    for (source, expected) in [
        ("a == 5", vec![one(0, Value::Int(5))]),
        ("'x' == b && a > $min", vec![one(0, Value::from("x")), from(1, Value::Int(7))]),
        ("7 < a", vec![from(0, Value::Int(7))]),
        ("a > 3 + 4 && true", vec![from(0, Value::Int(7))]),
        ("t > '2013-01-01T00:00:00Z'", vec![from(0, time)]),
        ("a == null", vec![one(0, Value::Null)]),
        (
            "a == 2 || a in [1, 2] || a == 3",
            vec![Constraint::OneOf { slot: 0, values: [1, 2, 3].map(Value::Int).to_vec() }],
        ),
        ("starts_with(b, 'x')", vec![Constraint::Prefix { slot: 0, prefix: "x".into() }]),
        ("true", vec![]),
        ("yes", vec![one(0, Value::Bool(true))]),
        (
            "!yes",
            vec![Constraint::OneOf { slot: 0, values: vec![Value::Null, Value::Bool(false)] }],
        ),
        ("b in []", vec![Constraint::OneOf { slot: 0, values: vec![] }]),
    ] {
        let found = constraints(source);
        assert_eq!(found.all, expected, "{source}");
        assert!(found.is_exact, "{source}");
    }
}

#[test]
fn ranges_of_one_field_become_one() {
    let int = Value::Int;
    for (source, lower, upper) in [
        ("a > 1 && b < 'x' && a <= 5", Bound::Excluded(int(1)), Bound::Included(int(5))),
        ("a > 1 && a > 2.5 && a < 9", Bound::Excluded(Value::Float(2.5)), Bound::Excluded(int(9))),
        ("5 >= a && a < 5 && a >= 5", Bound::Included(int(5)), Bound::Excluded(int(5))),
        ("a > 5 && a >= 5", Bound::Excluded(int(5)), Bound::Unbounded),
    ] {
        let found = constraints(source);
        assert!(found.is_exact, "{source}");
        let of_a = Constraint::Between { slot: 0, lower, upper };
        assert!(found.all.contains(&of_a) || found.all[0] == of_a, "{source}: {found:?}");
        let ranges = found.all.iter().filter(|c| matches!(c, Constraint::Between { slot: 0, .. }));
        assert_eq!(ranges.count(), 1, "{source}");
    }
    // A range of numbers and one of texts have no common one.
    assert_eq!(constraints("o > 1 && o > 'a'").all.len(), 2);
}

/// A filter takes no record that breaks one of its constraints, and all that keep exact ones.
#[test]
fn constraints_say_what_the_filter_says() {
    let values = [-3, 0, 1, 2, 5, 6, 9].map(Value::Int).into_iter();
    let values: Vec<_> = values.chain([Value::Null, Value::Float(0.5)]).collect();
    let texts = ["", "a", "x", "xy", "y"].map(Value::from).into_iter().chain([Value::Null]);
    let texts: Vec<_> = texts.collect();
    let bools = [Value::Null, Value::Bool(false), Value::Bool(true)];
    for source in [
        "a > 1 && a <= 5",
        "a in [1, null, 0.5] && !yes",
        "a == null || a == 2",
        "yes && starts_with(b, 'x')",
        "b >= 'a' && b < 'xy' && a != 5",
        "'x' <= b && 5 > a",
    ] {
        let filter = Compiler::new(&scope()).filter(source).unwrap();
        let found = filter.constraints();
        for (a, b, yes) in values.iter().flat_map(|a| {
            let pairs = texts.iter().flat_map(|b| bools.iter().map(move |yes| (b, yes)));
            pairs.map(move |(b, yes)| (a, b, yes))
        }) {
            let value = |field: &str| match field {
                "a" => a.clone(),
                "b" => b.clone(),
                _ => yes.clone(),
            };
            let inputs: Vec<_> = filter.inputs().iter().map(|i| value(&i.path.field)).collect();
            let is_match = filter.matches(&inputs).unwrap();
            let is_kept = found.all.iter().all(|constraint| keeps(constraint, &inputs));
            assert!(is_kept || !is_match, "{source} {inputs:?}");
            assert!(!found.is_exact || is_kept == is_match, "{source} {inputs:?}");
        }
    }
}

fn keeps(constraint: &Constraint, inputs: &[Value<'_>]) -> bool {
    match constraint {
        Constraint::OneOf { slot, values } => values.contains(&inputs[*slot].clone().into_owned()),
        Constraint::Between { slot, lower, upper } => {
            let value = &inputs[*slot];
            let is_above = match lower {
                Bound::Included(end) => value.cmp_values(end).is_ge(),
                Bound::Excluded(end) => value.cmp_values(end).is_gt(),
                Bound::Unbounded => true,
            };
            let is_below = match upper {
                Bound::Included(end) => value.cmp_values(end).is_le(),
                Bound::Excluded(end) => value.cmp_values(end).is_lt(),
                Bound::Unbounded => true,
            };
            !value.is_null() && is_above && is_below
        }
        Constraint::Prefix { slot, prefix } => {
            inputs[*slot].as_text().is_some_and(|text| text.starts_with(prefix))
        }
    }
}

#[test]
fn what_is_no_constraint_makes_them_inexact() {
    for (source, count) in [
        ("a != 5", 0),
        ("a == 5 || b == 'x'", 0),
        ("a == 5 || a > 7", 0),
        ("a + 1 == 5 && a == 4", 1),
        ("!(a == 5)", 0),
        ("o == [1]", 0),
        ("o in [[1], 2]", 0),
        ("a == a", 0),
        ("false", 0),
        ("a < null", 0),
    ] {
        let found = constraints(source);
        assert_eq!((found.all.len(), found.is_exact), (count, false), "{source}");
    }
}

#[test]
fn programs_tell_what_they_read_from_their_tree_and_not_from_their_text() {
    let plane = LookupType {
        key: vec![Type::TEXT, Type::TIME],
        fields: [("seats".to_owned(), Type::INTEGER)].into(),
    };
    let scope = Scope::new()
        .with_qualified("S", "session_end", Type::NUMBER)
        .with_qualified("S", "x", Type::NUMBER)
        .with_qualified("R", "x", Type::NUMBER)
        .with_qualified("R", "k", Type::TEXT)
        .with_lookup("Plane", plane);
    let source = "// S.x\nlet y = session_end + S.session_end + 0.5; \
                  y + R.x + length('S.x') + Plane[k, '2013-01-01T00:00:00Z'].seats";
    let program = Compiler::new(&scope).program(source).unwrap();
    let paths: Vec<_> = program
        .inputs()
        .iter()
        .map(|input| format!("{}.{}", input.path.schema.as_ref().unwrap(), input.path.field))
        .collect();
    assert_eq!(paths, ["S.session_end", "R.x", "R.k"]);
    let keys: Vec<_> = program.lookups().iter().map(|lookup| lookup.key.clone()).collect();
    assert_eq!(keys, [[Some(2), None]]);
    let message = |source: &str| {
        let error = Compiler::new(&scope).program(source).unwrap_err();
        error.diagnostics[0].to_string()
    };
    assert_eq!(
        message("x"),
        "line 1, column 1: `x` is the name of more than one field; write `R.x` or `S.x`"
    );
    assert_eq!(message("S.session"), "line 1, column 3: S has no field `session`");
    assert_eq!(
        message("Plane.seats"),
        "line 1, column 1: `Plane` needs a key; write `Plane[key].seats`"
    );
    assert_eq!(
        message("Plane['x'].seats"),
        "line 1, column 1: the key of Plane has 2 parts, not 1"
    );
    assert_eq!(
        message("Plane[1, 't'].seats"),
        "line 1, column 7: this part of the key is text, not integer"
    );
}
