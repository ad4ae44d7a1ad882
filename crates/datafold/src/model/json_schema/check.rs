//! Whether a value keeps the rules of a schema.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex_lite::Regex;

use super::super::{Timestamp, Value};
use super::compile::{Bound, Compiled, Count, Node, Rule, Target};
use super::error::{ValueError, quote};

/// The most schemas that one value is checked against.
const STEPS_MAX: u32 = 1_000_000;
/// The most schemas that apply inside each other, so that a reference to itself ends.
const NESTING_MAX: u32 = 300;

type Checked = Result<(), ValueError>;

/// Checks one value.
pub(super) fn check(schema: &Compiled, value: &Value) -> Checked {
    let mut check = Check { schema, steps: 0, nesting: 0, exhausted: false };
    let result = check.node(&schema.root, value);
    // `not` may have turned the failure into a success.
    if check.exhausted { Err(ValueError::TooManySteps) } else { result }
}

struct Check<'a> {
    schema: &'a Compiled,
    steps: u32,
    nesting: u32,
    exhausted: bool,
}

impl Check<'_> {
    fn node(&mut self, node: &Node, value: &Value) -> Checked {
        self.steps += 1;
        self.exhausted |= self.steps > STEPS_MAX || self.nesting >= NESTING_MAX;
        if self.exhausted {
            return Err(ValueError::TooManySteps);
        }
        self.nesting += 1;
        let result = node.0.iter().try_for_each(|rule| self.rule(rule, value));
        self.nesting -= 1;
        result
    }

    fn holds(&mut self, node: &Node, value: &Value) -> bool {
        self.node(node, value).is_ok()
    }

    fn rule(&mut self, rule: &Rule, value: &Value) -> Checked {
        let fail = |keyword, expected: &str| Err(ValueError::keyword(keyword, expected, value));
        match rule {
            Rule::Never => Err(ValueError::types("nothing", value)),
            Rule::Types(types) if !types.allow(value) => Err(ValueError::types(types, value)),
            Rule::DateTime => date_time(value),
            Rule::Date => date(value),
            Rule::Enum(values) if !values.iter().any(|allowed| same(allowed, value)) => {
                Err(ValueError::keyword("enum", one_of(values), value))
            }
            Rule::Const(only) if !same(only, value) => {
                Err(ValueError::keyword("const", one_of(std::slice::from_ref(only)), value))
            }
            Rule::Bound(bound, limit) => check_bound(*bound, limit, value),
            Rule::MultipleOf(unit) if is_number(value) && !is_multiple(value, unit) => {
                Err(ValueError::keyword("multipleOf", format!("a multiple of {unit}"), value))
            }
            Rule::Count(count, limit) => check_count(*count, *limit, value),
            Rule::Pattern(regex) => match text_of(value) {
                Some(text) if !regex.is_match(&text) => {
                    let expected = format!("text that matches {}", quote(regex.as_str()));
                    Err(ValueError::keyword("pattern", expected, value))
                }
                _ => Ok(()),
            },
            Rule::AllOf(nodes) => nodes.iter().try_for_each(|node| self.node(node, value)),
            Rule::AnyOf(nodes) if !nodes.iter().any(|node| self.holds(node, value)) => {
                fail("anyOf", "one of the alternatives")
            }
            Rule::OneOf(nodes) if nodes.iter().filter(|n| self.holds(n, value)).count() != 1 => {
                fail("oneOf", "exactly one of the alternatives")
            }
            Rule::Not(node) if self.holds(node, value) => fail("not", "something else"),
            Rule::If { condition, then, otherwise } => {
                let branch = if self.holds(condition, value) { then } else { otherwise };
                branch.as_ref().map_or(Ok(()), |node| self.node(node, value))
            }
            Rule::Reference(target) => self.reference(target, value),
            _ => match value {
                Value::Array(items) => self.array_rule(rule, items, value),
                Value::Object(members) => self.object_rule(rule, members, value),
                _ => Ok(()),
            },
        }
    }

    fn reference(&mut self, target: &Target, value: &Value) -> Checked {
        let schema = self.schema;
        match target {
            Target::Root => self.node(&schema.root, value),
            Target::Definition(name) => {
                schema.defs.get(name).map_or(Ok(()), |node| self.node(node, value))
            }
        }
    }

    fn array_rule(&mut self, rule: &Rule, items: &[Value], value: &Value) -> Checked {
        match rule {
            Rule::Items { prefix, rest } => {
                for (i, item) in items.iter().enumerate() {
                    if let Some(node) = prefix.get(i).or(rest.as_ref()) {
                        self.node(node, item).map_err(|error| error.inside(&i.to_string()))?;
                    }
                }
                Ok(())
            }
            Rule::UniqueItems => {
                let mut sorted: Vec<_> = items.iter().collect();
                sorted.sort_by(|a, b| a.cmp_values(b));
                if sorted.iter().zip(sorted.iter().skip(1)).any(|(a, b)| a == b) {
                    return Err(ValueError::keyword("uniqueItems", "different items", value));
                }
                Ok(())
            }
            Rule::Contains { item, min, max } => {
                let count = items.iter().filter(|found| self.holds(item, found)).count();
                if (*min..=*max).contains(&count) {
                    return Ok(());
                }
                Err(ValueError::keyword("contains", "other matching items", value))
            }
            _ => Ok(()),
        }
    }

    fn object_rule(
        &mut self,
        rule: &Rule,
        members: &BTreeMap<String, Value>,
        value: &Value,
    ) -> Checked {
        match rule {
            Rule::Properties { named, patterns, rest } => {
                self.properties(named, patterns, rest.as_ref(), members)
            }
            Rule::PropertyNames(node) => members.keys().try_for_each(|name| {
                self.node(node, &Value::Text(name.clone())).map_err(|error| error.inside(name))
            }),
            Rule::Required(names) => require("required", names, members, value),
            Rule::DependentRequired(names) => names
                .iter()
                .filter(|(name, _)| members.contains_key(*name))
                .try_for_each(|(_, names)| require("dependentRequired", names, members, value)),
            Rule::DependentSchemas(nodes) => nodes
                .iter()
                .filter(|(name, _)| members.contains_key(*name))
                .try_for_each(|(_, node)| self.node(node, value)),
            _ => Ok(()),
        }
    }

    fn properties(
        &mut self,
        named: &BTreeMap<String, Node>,
        patterns: &[(Regex, Node)],
        rest: Option<&Node>,
        members: &BTreeMap<String, Value>,
    ) -> Checked {
        for (name, member) in members {
            let matching = patterns.iter().filter(|(regex, _)| regex.is_match(name));
            let mut nodes = named.get(name).into_iter().chain(matching.map(|(_, node)| node));
            let first = nodes.next().or(rest);
            for node in first.into_iter().chain(nodes) {
                self.node(node, member).map_err(|error| error.inside(name))?;
            }
        }
        Ok(())
    }
}

fn require(
    keyword: &'static str,
    names: &[String],
    members: &BTreeMap<String, Value>,
    value: &Value,
) -> Checked {
    match names.iter().find(|name| !members.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            Err(ValueError::keyword(keyword, format!("the member {}", quote(name)), value))
        }
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}

/// A text, and a time as JSON has it.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Time(time) => Some(Cow::Owned(time.to_string())),
        _ => None,
    }
}

/// Equality of a value with one of the schema's JSON, which writes a time as text.
fn same(json: &Value, value: &Value) -> bool {
    match (json, value) {
        (Value::Text(text), Value::Time(time)) => Timestamp::parse(text).as_ref() == Ok(time),
        _ => json == value,
    }
}

fn one_of(values: &[Value]) -> String {
    let some: Vec<_> = values.iter().take(5).map(|value| value.to_json()).collect();
    let more = if values.len() > 5 { " | …" } else { "" };
    let text: String = some.join(" | ").chars().take(200).collect();
    text + more
}

fn date_time(value: &Value) -> Checked {
    match value {
        Value::Text(text) => match Timestamp::parse(text) {
            Ok(_) => Ok(()),
            Err(cause) => Err(ValueError::Time { cause, path: String::new() }),
        },
        _ => Ok(()),
    }
}

fn date(value: &Value) -> Checked {
    let is_date = |text: &str| Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok();
    match text_of(value) {
        Some(text) if !is_date(&text) => {
            Err(ValueError::keyword("format", "a date such as 2013-01-01", value))
        }
        _ => Ok(()),
    }
}

fn check_bound(bound: Bound, limit: &Value, value: &Value) -> Checked {
    if !is_number(value) {
        return Ok(());
    }
    let order = value.cmp_values(limit);
    let (holds, keyword, words) = match bound {
        Bound::Minimum => (order.is_ge(), "minimum", "at least"),
        Bound::Maximum => (order.is_le(), "maximum", "at most"),
        Bound::ExclusiveMinimum => (order.is_gt(), "exclusiveMinimum", "more than"),
        Bound::ExclusiveMaximum => (order.is_lt(), "exclusiveMaximum", "less than"),
    };
    if holds {
        return Ok(());
    }
    Err(ValueError::keyword(keyword, format!("{words} {limit}"), value))
}

fn check_count(count: Count, limit: usize, value: &Value) -> Checked {
    let length = |value: &Value| text_of(value).map(|text| text.chars().count());
    let items = |value: &Value| match value {
        Value::Array(items) => Some(items.len()),
        _ => None,
    };
    let members = |value: &Value| match value {
        Value::Object(members) => Some(members.len()),
        _ => None,
    };
    let (found, is_min, keyword, what) = match count {
        Count::MinLength => (length(value), true, "minLength", "characters"),
        Count::MaxLength => (length(value), false, "maxLength", "characters"),
        Count::MinItems => (items(value), true, "minItems", "items"),
        Count::MaxItems => (items(value), false, "maxItems", "items"),
        Count::MinProperties => (members(value), true, "minProperties", "members"),
        Count::MaxProperties => (members(value), false, "maxProperties", "members"),
    };
    let holds = found.is_none_or(|found| if is_min { found >= limit } else { found <= limit });
    if holds {
        return Ok(());
    }
    let words = if is_min { "at least" } else { "at most" };
    Err(ValueError::keyword(keyword, format!("{words} {limit} {what}"), value))
}

/// Whether a number is a multiple of another as decimals, so that 0.3 is one of 0.1.
fn is_multiple(value: &Value, unit: &Value) -> bool {
    let (Some((a, a_scale)), Some((b, b_scale))) = (decimal(value), decimal(unit)) else {
        return false;
    };
    if a == 0 {
        return true;
    }
    let scale = a_scale.min(b_scale);
    let widen = |digits: i128, from: i32| {
        10_i128.checked_pow(from.abs_diff(scale)).and_then(|factor| digits.checked_mul(factor))
    };
    match (widen(a, a_scale), widen(b, b_scale)) {
        (Some(a), Some(b)) => b != 0 && a % b == 0,
        // The unit is so much smaller that only its digits decide.
        (None, Some(b)) => b != 0 && (a % b == 0 || [1, 2, 5].contains(&b)),
        _ => false,
    }
}

/// The shortest decimal of a number: its digits, and the power of ten to multiply them with.
fn decimal(value: &Value) -> Option<(i128, i32)> {
    let text = match value {
        Value::Int(int) => return Some((i128::from(*int), 0)),
        Value::Float(float) => format!("{float:e}"),
        _ => return None,
    };
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?;
    Some((digits, exponent.parse::<i32>().ok()?.checked_sub(shift)?))
}
