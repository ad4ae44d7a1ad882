//! The functions of the language.

mod collections;
mod conversion;
mod numbers;
pub(crate) mod patterns;
mod texts;
pub(crate) mod times;

use std::borrow::Cow;

pub(crate) use collections::sort_charge;

use crate::diagnostic::{Checked, ErrorKind, Fault};
use crate::meter::Meter;
use crate::types::{Kinds, Type};
use crate::value::Value;

/// What a function does. Its arguments have the kinds that it asks for.
pub(crate) type Run = for<'a> fn(&mut Meter, &[Value<'a>]) -> Checked<Value<'a>>;

/// A function whose arguments are all evaluated before it runs.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// Names and kinds of the parameters.
    pub(crate) parameters: &'static [(&'static str, Kinds)],
    /// How many of the parameters must be given.
    pub(crate) required: usize,
    /// Whether the last parameter may be given any number of times.
    pub(crate) is_variadic: bool,
    /// Whether null for any argument makes null.
    pub(crate) is_strict: bool,
    pub(crate) returns: Returns,
    /// What the items of the first argument may be; anything without.
    pub(crate) items: Option<Kinds>,
    pub(crate) run: Run,
    pub(crate) summary: &'static str,
}

const fn one(kinds: Kinds) -> Returns {
    Returns::Kinds(kinds)
}

/// The type of a result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Returns {
    Kinds(Kinds),
    /// That of the first argument.
    First,
    /// That of the items of the first argument.
    Content,
    /// An array of the items of the first argument.
    Contents,
    /// An array of values of these kinds.
    ArrayOf(Kinds),
}

impl Returns {
    pub(crate) fn of(self, arguments: &[Type]) -> Type {
        let first = || arguments.first().cloned().unwrap_or(Type::ANY);
        match self {
            Returns::Kinds(kinds) => Type::of_kinds(kinds),
            Returns::First => first(),
            Returns::Content => first().content(),
            Returns::Contents => Type::array(first().content()),
            Returns::ArrayOf(kinds) => Type::array(Type::of_kinds(kinds)),
        }
    }
}

/// A function as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: &'static str,
    /// How it is called, such as `round(number, digits?)`.
    pub signature: String,
    /// What it gives, in one line.
    pub summary: &'static str,
}

/// Functions that are more than a call: of lambdas, names, patterns or the clock.
pub(crate) const FORMS: [(&str, &str, &str); 19] = [
    ("map", "map(collection, x => value)", "an array of the value for each item"),
    ("map_values", "map_values(object, x => value)", "an object with the value for each member"),
    ("filter", "filter(collection, x => condition)", "the items for which the condition holds"),
    ("any", "any(collection, x => condition)", "whether it holds for at least one item"),
    ("all", "all(collection, x => condition)", "whether it holds for every item"),
    ("count", "count(collection, x => condition?)", "for how many it holds; without, are not null"),
    ("sum", "sum(collection, x => value?)", "the exact sum, rounded once; 0 for none"),
    ("avg", "avg(collection, x => value?)", "the average; null for none"),
    ("min", "min(a, b…) or min(collection, x => value?)", "the least; null for none"),
    ("max", "max(a, b…) or max(collection, x => value?)", "the greatest; null for none"),
    ("sort", "sort(collection, x => value?)", "the items, ascending by the value, nulls first"),
    ("exists", "exists(field)", "whether a value is stored, be it null"),
    ("now", "now()", "the time of the run"),
    ("matches", "matches(text, pattern)", "whether the pattern is found in the text"),
    ("find", "find(text, pattern)", "the first part that fits, or null"),
    ("find_all", "find_all(text, pattern)", "all parts that fit, left to right"),
    ("groups", "groups(text, pattern)", "the first part that fits and its groups, or null"),
    ("replace_all", "replace_all(text, pattern, by)", "the text with all parts that fit replaced"),
    ("split_by", "split_by(text, pattern)", "what stands between the parts that fit"),
];

/// All functions of the language, by their names.
#[must_use]
pub fn functions() -> Vec<FunctionInfo> {
    let forms = FORMS.iter().map(|(name, signature, summary)| FunctionInfo {
        name,
        signature: (*signature).to_owned(),
        summary,
    });
    let plain = all().map(|function| FunctionInfo {
        name: function.name,
        signature: function.signature(),
        summary: function.summary,
    });
    let mut found: Vec<_> = forms.chain(plain).collect();
    found.sort_by_key(|function| function.name);
    found
}

fn all() -> impl Iterator<Item = &'static Function> {
    [
        texts::FUNCTIONS,
        numbers::FUNCTIONS,
        times::FUNCTIONS,
        collections::FUNCTIONS,
        conversion::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// The function of this name, [forms](FORMS) aside.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// `min(a, b…)`
pub(crate) fn least() -> &'static Function {
    &numbers::MIN
}

/// `max(a, b…)`
pub(crate) fn greatest() -> &'static Function {
    &numbers::MAX
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|(name, _, _)| *name).chain(all().map(|function| function.name))
}

impl Function {
    const fn new(
        name: &'static str,
        parameters: &'static [(&'static str, Kinds)],
        required: usize,
        returns: Returns,
        run: Run,
        summary: &'static str,
    ) -> Self {
        let (is_variadic, is_strict) = (false, true);
        let items = None;
        Self { name, parameters, required, is_variadic, is_strict, returns, items, run, summary }
    }

    /// The last parameter may be given any number of times.
    const fn variadic(mut self) -> Self {
        self.is_variadic = true;
        self
    }

    /// The items of the first argument are null or of these kinds.
    const fn of_items(mut self, kinds: Kinds) -> Self {
        self.items = Some(kinds);
        self
    }

    /// The function itself decides about null.
    const fn lenient(mut self) -> Self {
        self.is_strict = false;
        self
    }

    pub(crate) fn signature(&self) -> String {
        let mut parameters = Vec::new();
        for (at, (name, _)) in self.parameters.iter().enumerate() {
            let is_last = at + 1 == self.parameters.len();
            let mark = match () {
                () if self.is_variadic && is_last => "…",
                () if at >= self.required => "?",
                () => "",
            };
            parameters.push(format!("{name}{mark}"));
        }
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// The kinds that an argument may have.
    pub(crate) fn parameter(&self, at: usize) -> Option<(&'static str, Kinds)> {
        let last = self.parameters.last().filter(|_| self.is_variadic);
        self.parameters.get(at).or(last).copied()
    }

    /// The number of arguments that it takes, in words; `None` if `count` fits.
    pub(crate) fn wrong_count(&self, count: usize) -> Option<String> {
        let most = if self.is_variadic { usize::MAX } else { self.parameters.len() };
        if (self.required..=most).contains(&count) {
            return None;
        }
        Some(match (self.required, most) {
            (least, usize::MAX) => format!("at least {}", arguments(least)),
            (least, most) if least == most => arguments(least),
            (least, most) => format!("{least} to {}", arguments(most)),
        })
    }

    /// Calls it with values that may be of the wrong kinds.
    pub(crate) fn call<'a>(
        &self,
        meter: &mut Meter,
        arguments: &[Value<'a>],
    ) -> Checked<Value<'a>> {
        let mut has_null = false;
        for (at, argument) in arguments.iter().enumerate() {
            if argument.is_null() {
                has_null = true;
                continue;
            }
            if let Some((name, kinds)) = self.parameter(at)
                && !Kinds::of(argument).is_subset(kinds)
            {
                return Err(self.wrong_kind(at, name, kinds, argument.type_name()));
            }
        }
        if has_null && self.is_strict {
            return Ok(Value::Null);
        }
        (self.run)(meter, arguments)
    }

    pub(crate) fn wrong_kind(
        &self,
        at: usize,
        name: &str,
        expected: Kinds,
        found: impl std::fmt::Display,
    ) -> Box<Fault> {
        let (function, number) = (self.name, at + 1);
        let message =
            format!("argument {number} of `{function}`, the {name}, is {expected}, not {found}");
        Fault::new(ErrorKind::TypeClash, message)
    }

    pub(crate) fn wrong_item(&self, expected: Kinds, found: impl std::fmt::Display) -> Box<Fault> {
        let message = format!("the items for `{}` are {expected}, not {found}", self.name);
        Fault::new(ErrorKind::TypeClash, message).hint("`map(…, x => to_string(x))` makes texts")
    }
}

pub(crate) fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        count => format!("{count} arguments"),
    }
}

fn invalid(message: impl Into<String>) -> Box<Fault> {
    Fault::new(ErrorKind::InvalidArgument, message)
}

/// A text among the arguments; empty if it was not given.
fn text<'v>(arguments: &'v [Value<'_>], at: usize) -> &'v str {
    arguments.get(at).and_then(Value::as_text).unwrap_or_default()
}

/// An integer among the arguments.
fn int(arguments: &[Value<'_>], at: usize) -> Option<i64> {
    match arguments.get(at) {
        Some(Value::Int(int)) => Some(*int),
        _ => None,
    }
}

/// A count among the arguments.
fn count(arguments: &[Value<'_>], at: usize, what: &str) -> Checked<usize> {
    let int = int(arguments, at).unwrap_or(0);
    usize::try_from(int).map_err(|_| invalid(format!("{what} is not less than 0, as {int} is")))
}

/// The items of an array, or the values of an object's members.
fn items<'v, 'a>(collection: &'v Value<'a>) -> Cow<'v, [Value<'a>]> {
    match collection {
        Value::Array(items) => Cow::Borrowed(items),
        Value::Object(members) => members.iter().map(|(_, value)| value.clone()).collect(),
        _ => Cow::Borrowed(&[]),
    }
}

/// An array of new items, charged for.
pub(crate) fn array<'a>(meter: &mut Meter, items: Vec<Value<'a>>) -> Checked<Value<'a>> {
    meter.steps(items.len() as u64 / 4)?;
    Value::array(items).map_err(|_| too_deep())
}

pub(crate) fn too_deep() -> Box<Fault> {
    let max = crate::value::VALUE_DEPTH_MAX;
    let message = format!("a value nests at most {max} arrays and objects");
    Fault::new(ErrorKind::TooDeep, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_signatures_say_what_is_optional() {
        let mut found: Vec<_> = names().collect();
        found.sort_unstable();
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "{found:?}");
        assert_eq!(functions().len(), found.len());
        assert_eq!(function("round").unwrap().signature(), "round(number, digits?)");
        assert_eq!(function("concat").unwrap().signature(), "concat(text…)");
    }
}
