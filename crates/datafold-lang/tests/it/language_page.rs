//! Every example of `docs/language.md` runs and gives what the page says.

use std::collections::BTreeSet;
use std::path::Path;

use datafold_lang::{
    Compiler, FieldPath, InputError, Inputs, LookupType, Program, Scope, Time, Type, Value,
    functions,
};

/// What the examples read.
struct Record {
    value: Value<'static>,
    slots: Vec<FieldPath>,
}

impl Inputs for Record {
    fn value(&self, slot: usize) -> Result<Value<'_>, InputError> {
        let FieldPath { schema, field } = &self.slots[slot];
        if schema.is_some() {
            return Ok(Value::from("Newark"));
        }
        let Value::Object(members) = &self.value else { panic!("no record") };
        let value = members.get(field).cloned().unwrap_or_default();
        Ok(match field.as_str() {
            "departure" | "arrival" => Value::Time(Time::parse(value.as_text().unwrap()).unwrap()),
            _ => value,
        })
    }

    fn exists(&self, slot: usize) -> Result<bool, InputError> {
        let Value::Object(members) = &self.value else { panic!("no record") };
        Ok(members.get(&self.slots[slot].field).is_some())
    }

    fn lookup(&self, _: usize, key: &[Value<'_>]) -> Result<Value<'_>, InputError> {
        Ok(if key == [Value::from("N14228")] { Value::Int(149) } else { Value::Null })
    }

    fn now(&self) -> Option<Time> {
        Time::parse("2013-01-03T00:00:00Z")
    }
}

/// The blocks behind this fence.
fn blocks<'t>(page: &'t str, fence: &str) -> Vec<&'t str> {
    let start = format!("```{fence}\n");
    page.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    std::fs::read_to_string(path).unwrap()
}

fn scope(page: &str) -> Scope {
    let types = Value::parse_json(blocks(page, "json types")[0]).unwrap();
    let Value::Object(members) = &types else { panic!("no types") };
    let seats = [("seats".to_owned(), Type::INTEGER)].into();
    let plane = LookupType { key: vec![Type::TEXT], fields: seats };
    let scope = Scope::new()
        .with_qualified("Airport", "name", Type::TEXT)
        .with_lookup("Plane", plane)
        .with_parameter("min", Value::Int(1000))
        .with_clock();
    members.iter().fold(scope, |scope, (name, schema)| {
        scope.with(name.as_str(), Type::of_json_schema(schema))
    })
}

/// The result of a program as the page writes it.
fn outcome(page: &str, compiled: Result<Program, datafold_lang::CompileError>) -> String {
    let program = match compiled {
        Ok(program) => program,
        Err(error) => {
            let first = &error.diagnostics[0];
            let hint = first.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            return format!("error {}: {}{hint}", first.code(), first.message);
        }
    };
    let value = Value::parse_json(blocks(page, "json record")[0]).unwrap();
    let slots = program.inputs().iter().map(|input| input.path.clone()).collect();
    let record = Record { value, slots };
    match program.evaluate(&record) {
        Ok(value) => value.to_json(),
        Err(error) => {
            let found = error.diagnostic;
            let hint = found.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("error {}: {}{hint}", found.code(), found.message)
        }
    }
}

/// The examples whose outcome is another one, and the sources of all.
fn wrong_examples(page: &str) -> (Vec<String>, Vec<String>) {
    let scope = scope(page);
    let compiler = Compiler::new(&scope);
    let (mut wrong, mut sources) = (Vec::new(), Vec::new());
    let mut check = |source: &str, expected: &str, found: String| {
        sources.push(source.to_owned());
        if found != expected {
            wrong.push(format!("{source}\n  -> {found}\n  instead of {expected}"));
        }
    };
    for block in blocks(page, "text examples") {
        for line in block.lines() {
            let (source, expected) = line.split_once(" -> ").expect(line);
            let source = source.trim();
            check(source, expected.trim(), outcome(page, compiler.expression(source)));
            // What is an expression is a program too, and folding changes nothing.
            let unfolded = Compiler::new(&scope).fold_constants(false);
            check(source, expected.trim(), outcome(page, unfolded.program(source)));
        }
    }
    for block in blocks(page, "text program") {
        let (source, expected) = block.rsplit_once("-> ").expect(block);
        check(source, expected.trim(), outcome(page, compiler.program(source)));
    }
    for block in blocks(page, "text render") {
        let (source, expected) = block.split_once("-> ").expect(block);
        let found = compiler.program(source).unwrap_err().render();
        check(source, expected, found);
    }
    (wrong, sources)
}

#[test]
fn every_example_gives_what_the_page_says() {
    let (wrong, sources) = wrong_examples(&page());
    assert!(sources.len() > 400, "{} examples were found", sources.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_function_has_an_example_and_stands_in_a_table() {
    let page = page();
    let (_, sources) = wrong_examples(&page);
    let missing: Vec<_> = functions()
        .into_iter()
        .filter(|function| {
            let call = format!("{}(", function.name);
            let is_called = |source: &String| {
                source.match_indices(&call).any(|(at, _)| {
                    let before = source[..at].chars().next_back();
                    !before.is_some_and(|c| c == '_' || c.is_alphanumeric())
                })
            };
            !sources.iter().any(is_called)
                || !page.lines().any(|line| line.starts_with("| `") && line.contains(function.name))
                    && function.name != "exists"
        })
        .map(|function| function.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_code_is_on_the_page() {
    let page = page();
    let (_, end) = page.split_once("Before anything runs:").unwrap();
    let codes: BTreeSet<_> = end.split('`').skip(1).step_by(2).take(19).collect();
    for (_, code) in page.match_indices("-> error ").map(|(at, mark)| {
        let rest = &page[at + mark.len()..];
        (at, rest.split(':').next().unwrap())
    }) {
        assert!(codes.contains(code), "{code}");
    }
}

#[test]
fn canary_examples() {
    let page = page();
    let planted =
        page.replace("5.0                                            -> 5\n", "5.0 -> 6\n");
    assert_ne!(page, planted);
    let (wrong, _) = wrong_examples(&planted);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}
