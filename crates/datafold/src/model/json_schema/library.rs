//! All other schemas: checked by the library `jsonschema`, within bounds.
//!
//! A schema may refer to itself, and the same value may be checked against the same schema in
//! exponentially many ways. So every reference stands behind a gate, `if STEP then $ref else
//! false`, whose keyword counts; when the steps are used up, the gates are shut and the check ends.
//! Without references a check takes at most the schema's size for each value inside the value.

use std::cell::Cell;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Number, Value as Json};

use super::super::{Timestamp, Value};
use super::error::{ValueError, ValueSchemaError, ValueSchemaRule, describe, one_of, quote};
use super::vet::Vetted;

/// The keyword of the gates.
pub(super) const STEP: &str = "datafold-step";
/// The most references that are followed for one value.
const STEPS_MAX: u32 = 1_000_000;
/// The most references that are followed to find out what is wrong: alternatives are all
/// described, which takes more time and memory.
const EXPLAIN_STEPS_MAX: u32 = 10_000;
/// The most schemas that apply inside each other, which is what the stack allows.
const NESTING_MAX: usize = 512;
/// The most bytes of a compiled regular expression, and of its cache.
const PATTERN_BYTES_MAX: usize = 1 << 20;

thread_local! {
    /// The steps that are left of the check that this thread is in.
    static STEPS: Cell<u32> = const { Cell::new(0) };
}

struct Step;

impl<'i> Keyword<'i> for Step {
    fn validate(&self, instance: &'i Json) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom("shut")) }
    }

    fn is_valid(&self, _: &'i Json) -> bool {
        STEPS.with(|steps| {
            let left = steps.get();
            steps.set(left.saturating_sub(1));
            left > 0
        })
    }
}

/// A schema that the library has compiled.
#[derive(Debug)]
pub(super) struct Library {
    validator: Validator,
    in_place_depth: usize,
}

impl Library {
    /// Compiles what [`super::vet::vet`] has written.
    pub(super) fn compile(vetted: &Vetted) -> Result<Self, ValueSchemaError> {
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .with_format("date-time", |text: &str| Timestamp::parse(text).is_ok())
            .with_format("date", is_date)
            .with_keyword(STEP, |_, _, _| Ok(Box::new(Step) as Box<dyn for<'i> Keyword<'i>>))
            .build(&vetted.rewritten)
            .map_err(|error| of_schema(&error))?;
        Ok(Self { validator, in_place_depth: vetted.in_place_depth })
    }

    pub(super) fn check(&self, value: &Value) -> Result<(), ValueError> {
        let may_be_deep = self.in_place_depth.saturating_mul(super::super::DEPTH_MAX) > NESTING_MAX;
        if may_be_deep && self.in_place_depth.saturating_mul(depth(value)) > NESTING_MAX {
            return Err(ValueError::TooManySteps);
        }
        let json = to_json(value);
        STEPS.set(STEPS_MAX);
        if self.validator.is_valid(&json) {
            return Ok(());
        }
        if STEPS.get() == 0 {
            return Err(ValueError::TooManySteps);
        }
        STEPS.set(EXPLAIN_STEPS_MAX);
        let explained = self.validator.validate(&json);
        match explained {
            Err(error) if STEPS.get() > 0 => Err(of_value(&error, value)),
            _ => Err(ValueError::keyword("$ref", "a value that the schema accepts", value)),
        }
    }
}

/// Checks a schema against the meta-schema.
pub(super) fn check_schema(json: &Value) -> Vec<ValueSchemaError> {
    let json = to_json(json);
    let meta = jsonschema::draft202012::meta::validator();
    let errors = meta.iter_errors(&json).map(|error| of_schema(&error));
    errors.collect()
}

/// A value as the library has it; times are text.
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(int) => Json::Number(Number::from(*int)),
        // Floats are finite, and finite ones are numbers of JSON.
        Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
        Value::Time(time) => Json::String(time.to_string()),
        Value::Text(text) => Json::String(text.clone()),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| (name.clone(), to_json(member)));
            Json::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_date(text: &str) -> bool {
    Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok()
}

fn of_schema(error: &ValidationError<'_>) -> ValueSchemaError {
    let path = error.instance_path().to_string();
    let found = describe(&of_json(error.instance()));
    let reason =
        "it is not a regular expression without look-around and back-references, or is too large";
    let rule = match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => ValueSchemaRule::Pattern {
            pattern: error.instance().as_str().map_or(found, quote),
            reason: reason.to_owned(),
        },
        // The one alternative of the meta-schema that is not told apart by the type.
        ValidationErrorKind::AnyOf { .. } => {
            let expected = "the name of a type or a list of different ones".to_owned();
            ValueSchemaRule::Wrong { expected, found }
        }
        ValidationErrorKind::Type { kind } if is_schema(kind) => {
            let expected = "an object, true or false as a schema".to_owned();
            ValueSchemaRule::Wrong { expected, found }
        }
        kind => ValueSchemaRule::Wrong { expected: rule_of(kind).1, found },
    };
    ValueSchemaError { path, rule }
}

/// What the meta-schema allows where a schema is to stand.
fn is_schema(kind: &TypeKind) -> bool {
    types_of(kind) == ["bool", "object"]
}

fn of_value(error: &ValidationError<'_>, value: &Value) -> ValueError {
    let path = error.instance_path().to_string();
    let place = at(value, &path).unwrap_or(value);
    let found = describe(place);
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            ValueError::Type { expected: types_of(kind).join(" or "), found, path }
        }
        ValidationErrorKind::FalseSchema => {
            ValueError::Type { expected: "nothing".to_owned(), found, path }
        }
        ValidationErrorKind::Format { format } if format == "date-time" => {
            match place.as_text().map(Timestamp::parse) {
                Some(Err(cause)) => ValueError::Time { cause, path },
                _ => ValueError::Type { expected: "time".to_owned(), found, path },
            }
        }
        ValidationErrorKind::PropertyNames { error } => {
            let (_, expected) = rule_of(error.kind());
            let name = error.instance().as_str().unwrap_or_default();
            let found = format!("the name {}", quote(name));
            ValueError::Keyword { keyword: "propertyNames", expected, found, path }
        }
        kind => {
            let (keyword, expected) = rule_of(kind);
            ValueError::Keyword { keyword, expected, found, path }
        }
    }
}

/// The value at a JSON pointer.
fn at<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    let mut steps = pointer.split('/').skip(1);
    steps.try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Object(members) => members.get(&step.replace("~1", "/").replace("~0", "~")),
        _ => None,
    })
}

/// The types that the library names, in our words.
fn types_of(kind: &TypeKind) -> Vec<&'static str> {
    let word = |name: &'static str| match name {
        "string" => "text",
        "boolean" => "bool",
        name => name,
    };
    match kind {
        TypeKind::Single(only) => vec![word(only.as_str())],
        TypeKind::Multiple(types) => types.iter().map(|name| word(name.as_str())).collect(),
    }
}

/// The keyword, and what it asks for.
fn rule_of(kind: &ValidationErrorKind) -> (&'static str, String) {
    use ValidationErrorKind as Kind;
    let counted = |words: &str, limit: &u64, what: &str| format!("{words} {limit} {what}");
    let names = |names: &[String]| {
        names.iter().take(5).map(|name| quote(name)).collect::<Vec<_>>().join(", ")
    };
    match kind {
        Kind::Minimum { limit } => ("minimum", format!("at least {limit}")),
        Kind::Maximum { limit } => ("maximum", format!("at most {limit}")),
        Kind::ExclusiveMinimum { limit } => ("exclusiveMinimum", format!("more than {limit}")),
        Kind::ExclusiveMaximum { limit } => ("exclusiveMaximum", format!("less than {limit}")),
        Kind::MultipleOf { multiple_of } => ("multipleOf", format!("a multiple of {multiple_of}")),
        Kind::MinLength { limit } => ("minLength", counted("at least", limit, "characters")),
        Kind::MaxLength { limit } => ("maxLength", counted("at most", limit, "characters")),
        Kind::MinItems { limit } => ("minItems", counted("at least", limit, "items")),
        Kind::MaxItems { limit } => ("maxItems", counted("at most", limit, "items")),
        Kind::MinProperties { limit } => ("minProperties", counted("at least", limit, "members")),
        Kind::MaxProperties { limit } => ("maxProperties", counted("at most", limit, "members")),
        Kind::Pattern { pattern } => ("pattern", format!("text that matches {}", quote(pattern))),
        Kind::Format { format } if format == "date" => {
            ("format", "a date such as 2013-01-01".to_owned())
        }
        Kind::Format { format } => ("format", format!("text of the format {}", quote(format))),
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            ("enum", one_of(options.iter().map(|option| std::borrow::Cow::Owned(of_json(option)))))
        }
        Kind::Constant { expected_value } => {
            ("const", one_of(std::iter::once(std::borrow::Cow::Owned(of_json(expected_value)))))
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            ("required", format!("the member {}", quote(name)))
        }
        Kind::AdditionalProperties { unexpected } => {
            ("additionalProperties", format!("no member {}", names(unexpected)))
        }
        Kind::UnevaluatedProperties { unexpected } => {
            ("unevaluatedProperties", format!("no member {}", names(unexpected)))
        }
        Kind::UnevaluatedItems { unexpected } => {
            ("unevaluatedItems", format!("no item {}", names(unexpected)))
        }
        Kind::AdditionalItems { limit } => ("items", format!("at most {limit} items")),
        Kind::Type { kind } => ("type", types_of(kind).join(" or ")),
        Kind::Contains => ("contains", "an item that fits, in the right number".to_owned()),
        Kind::UniqueItems => ("uniqueItems", "different items".to_owned()),
        Kind::AnyOf { .. } => ("anyOf", "one of the alternatives".to_owned()),
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            ("oneOf", "exactly one of the alternatives".to_owned())
        }
        Kind::Not { .. } => ("not", "something else".to_owned()),
        Kind::FalseSchema => ("false", "nothing".to_owned()),
        _ => ("schema", "a value that the schema accepts".to_owned()),
    }
}

/// JSON of the library, to be described.
fn of_json(json: &Json) -> Value {
    Value::parse_json(&json.to_string()).unwrap_or_default()
}
