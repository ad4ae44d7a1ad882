//! Deep, long and greedy sources end with clear errors.

use datafold_lang::{Compiler, Limits, SOURCE_BYTES_MAX, Scope, Type, Value};

fn scope() -> Scope {
    Scope::new().with("a", Type::ANY).with("n", Type::NUMBER)
}

fn compile_code(source: &str) -> &'static str {
    let scope = scope();
    let compiled = Compiler::new(&scope).program(source).map(|_| ()).map_err(|e| e.code());
    compiled.err().unwrap_or("ok")
}

/// The code of the error that a run ends with, and that is the same without folding.
fn run_code(source: &str, a: &Value<'static>) -> &'static str {
    let scope = scope();
    let code = |folds: bool| {
        let program = Compiler::new(&scope).fold_constants(folds).program(source).unwrap();
        let inputs = vec![a.clone(); program.inputs().len()];
        program.evaluate(&inputs).map(|_| ()).map_err(|error| error.code()).err().unwrap_or("ok")
    };
    assert_eq!(code(true), code(false), "{source}");
    code(true)
}

#[test]
fn long_and_deep_sources_are_refused() {
    assert_eq!(compile_code(&" ".repeat(SOURCE_BYTES_MAX + 1)), "source_too_long");
    assert_eq!(compile_code(&" ".repeat(SOURCE_BYTES_MAX)), "ok");
    assert_eq!(compile_code(&"9".repeat(60_000)), "invalid_number");
    assert_eq!(compile_code(&format!("1e{}", "9".repeat(60_000))), "invalid_number");
    assert_eq!(compile_code(&format!("0.{}", "9".repeat(60_000))), "ok");
    assert_eq!(compile_code(&format!("'{}'", "x".repeat(60_000))), "ok");
    for deep in ["(", "[", "{a:", "-", "!", "a[", "f(", "map(a, x => ", "a ? ", "1 + (", "if a {"] {
        let source = deep.repeat(SOURCE_BYTES_MAX / deep.len());
        assert_eq!(compile_code(&source), "too_deep", "{deep}");
    }
}

#[test]
fn values_that_nest_through_names_are_bounded() {
    let lets: String =
        (1..1000).map(|at| format!("let x{at} = [x{}, x{}];", at - 1, at - 1)).collect();
    assert_eq!(run_code(&format!("let x0 = a; {lets}"), &Value::Null), "too_deep");
    // Twice as large with each name, though it is never copied.
    let lets: String =
        (1..60).map(|at| format!("let x{at} = [x{}, x{}];", at - 1, at - 1)).collect();
    let source = |end: &str| format!("let x0 = a; {lets} {end}");
    assert_eq!(run_code(&source("x59"), &Value::Null), "output_too_large");
    assert_eq!(run_code(&source("x59 == x58"), &Value::Null), "too_many_steps");
    assert_eq!(run_code(&source("to_json(x59)"), &Value::Null), "too_many_steps");
    assert_eq!(run_code(&source("length(x59)"), &Value::Null), "ok");
}

#[test]
fn greedy_runs_are_ended_before_they_take_what_they_ask_for() {
    for source in [
        "repeat('ab', 9000000000000000000)",
        "pad_start('', 9000000000000000000)",
        "range(0, 9223372036854775807)",
        "range(-9223372036854775807, 9223372036854775807)",
        "let x = repeat('a', 100000); map(range(0, 1000), y => x + x)",
        "let x = repeat('a', 100000); replace(x, '', x)",
        "let x = repeat('a,', 100000); map(range(0, 100), y => split(x, ','))",
        "let x = repeat('[', 1000000); parse_json(x)",
    ] {
        let code = run_code(source, &Value::Null);
        assert!(["too_many_steps", "too_much_memory"].contains(&code), "{source}: {code}");
    }
}

#[test]
fn limits_are_those_that_are_asked_for() {
    let scope = scope();
    let program = Compiler::new(&scope).program("sum(range(0, 200), x => x * x)").unwrap();
    let inputs: Vec<Value<'_>> = Vec::new();
    let small = Limits { steps: 100, ..Limits::DEFAULT };
    assert_eq!(program.evaluate_within(&inputs, &small).unwrap_err().code(), "too_many_steps");
    let small = Limits { memory_bytes: 100, ..Limits::DEFAULT };
    assert_eq!(program.evaluate_within(&inputs, &small).unwrap_err().code(), "too_much_memory");
    assert_eq!(program.evaluate(&inputs).unwrap(), Value::Int(2_646_700));
}

#[test]
fn many_faults_are_told_at_once_and_not_all() {
    let scope = scope();
    let error = Compiler::new(&scope).program("b; c + 'x' + 1; d(1)").unwrap_err();
    let codes: Vec<_> = error.diagnostics.iter().map(|found| found.code()).collect();
    assert_eq!(codes, ["unknown_name", "unknown_name", "type_clash", "unknown_function"]);
    assert!(error.to_string().ends_with("(and 3 more)"), "{error}");
    let error = Compiler::new(&scope).program(&"b;".repeat(10_000)).unwrap_err();
    assert_eq!(error.diagnostics.len(), 10);
}
