//! The evaluator against a second one, which is written to be plain instead of fast.

#[path = "../../tests/fuzz/generate.rs"]
mod generate;
mod reference;

use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use generate::{Generator, NAMES};
use reference::Reference;

use crate::parser::parse_program;
use crate::types::Kinds;
use crate::{Compiler, Program, Scope, Time, Type, Value};

fn scope(types: [Type; 9]) -> Scope {
    NAMES.into_iter().zip(types).fold(Scope::new(), |scope, (name, of)| scope.with(name, of))
}

/// Types that the values keep.
fn typed() -> Scope {
    let fields = [("k".to_owned(), Type::NUMBER), ("l".to_owned(), Type::TEXT)];
    let (numbers, object) = (Type::array(Type::NUMBER), Type::object(fields));
    let (n, t) = (Type::NUMBER, Type::TEXT);
    scope([n.clone(), n, t.clone(), t, Type::BOOL, numbers, object, Type::TIME, Type::ANY])
}

/// Values of the types of [`typed`], or null.
fn values(random: &mut Random) -> Vec<(&'static str, Value<'static>)> {
    let json = |text: &str| Value::parse_json(text).unwrap();
    let number = |random: &mut Random| match random.below(5) {
        0 => Value::Int(random.next_u64().cast_signed()),
        1 => Value::Float(0.25),
        2 => Value::Null,
        _ => Value::Int(i64::try_from(random.below(20)).unwrap() - 10),
    };
    let text = |random: &mut Random| match random.below(4) {
        0 => Value::Null,
        1 => Value::from("k"),
        2 => Value::from("Zürich, 12"),
        _ => Value::from(""),
    };
    let (n, m) = (number(random), number(random));
    let (t, u) = (text(random), text(random));
    let b = [Value::Null, true.into(), false.into()][random.below(3)].clone();
    let xs = [Value::Null, json("[]"), json("[3, null, 0.5, -7]")][random.below(3)].clone();
    let o = [Value::Null, json("{}"), json(r#"{"k": 4, "l": "x"}"#)][random.below(3)].clone();
    let d = Value::Time(Time::parse("2013-01-01T10:15:00Z").unwrap());
    let a = [n.clone(), t.clone(), b.clone(), xs.clone(), o.clone()][random.below(5)].clone();
    let values = [n, m, t, u, b, xs, o, d, a];
    NAMES.into_iter().zip(values).collect()
}

/// What a program gives: JSON, or the code of its error.
fn outcome(program: &Program, values: &[(&str, Value<'static>)]) -> String {
    let find = |field: &str| values.iter().find(|(name, _)| *name == field).unwrap().1.clone();
    let inputs: Vec<_> = program.inputs().iter().map(|input| find(&input.path.field)).collect();
    match program.evaluate(&inputs) {
        Ok(value) => {
            let kinds = Kinds::of(&value);
            let known = program.result_type().kinds | Kinds::NULL;
            let known = if known.intersects(Kinds::NUMBER) { known | Kinds::NUMBER } else { known };
            assert!(kinds.is_subset(known), "{kinds} is not {known}: {}", program.source());
            value.to_json()
        }
        Err(error) => error.code().to_owned(),
    }
}

struct Agreement {
    compiled: usize,
    differences: Vec<String>,
}

/// Compares generated programs with the reference, which may have a fault.
fn compare(seed: u64, count: usize, fault: bool) -> Agreement {
    let mut random = Random::new(seed);
    let scopes = [typed(), scope(std::array::from_fn(|_| Type::ANY))];
    let mut found = Agreement { compiled: 0, differences: Vec::new() };
    for _ in 0..count {
        let source = Generator::new(&mut random, true).program();
        let values = values(&mut random);
        let statements = parse_program(&source).unwrap();
        let expected = Reference::new(&values, fault).run(&statements);
        let expected = expected.map_or_else(str::to_owned, |value| value.to_json());
        for scope in &scopes {
            for folds in [true, false] {
                let compiler = Compiler::new(scope).fold_constants(folds);
                let Ok(program) = compiler.program(&source) else { continue };
                found.compiled += 1;
                let outcome = outcome(&program, &values);
                if outcome != expected {
                    let text = format!("{source}\n{values:?}\n{outcome} instead of {expected}\n");
                    found.differences.push(text);
                }
            }
        }
    }
    found
}

#[test]
fn two_evaluators_agree_with_and_without_folding() {
    let seed = seed_from_env(0xd1ff);
    let count = if is_full_size() { 1_000_000 } else { 4_000 };
    let found = compare(seed, count, false);
    println!("{count} programs, {} compilations compared; {}", found.compiled, replay(seed));
    let first = found.differences.first().map_or("", String::as_str);
    assert!(found.differences.is_empty(), "{first}\n{}", replay(seed));
    assert!(found.compiled > count * 2, "{} of {count} compiled", found.compiled);
}

#[test]
fn canary_a_reference_that_rounds_is_found() {
    assert!(!compare(0xd1ff, 5_000, true).differences.is_empty());
}
