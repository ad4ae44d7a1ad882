//! From the JSON of a schema to rules.

use std::collections::BTreeMap;

use regex_lite::{Regex, RegexBuilder};

use super::super::Value;
use super::error::{ValueSchemaError, ValueSchemaRule, describe, quote};
use super::types::Types;

type Members = BTreeMap<String, Value>;

/// A compiled schema with what its references name.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) root: Node,
    pub(super) defs: BTreeMap<String, Node>,
}

/// One schema: all rules must hold.
#[derive(Debug, Default)]
pub(super) struct Node(pub(super) Vec<Rule>);

/// What one keyword, or a few that work together, ask for.
#[derive(Debug)]
pub(super) enum Rule {
    Never,
    Types(Types),
    DateTime,
    Date,
    Enum(Vec<Value>),
    Const(Value),
    Bound(Bound, Value),
    MultipleOf(Value),
    Count(Count, usize),
    Pattern(Regex),
    Items { prefix: Vec<Node>, rest: Option<Node> },
    UniqueItems,
    Contains { item: Node, min: usize, max: usize },
    Properties { named: BTreeMap<String, Node>, patterns: Vec<(Regex, Node)>, rest: Option<Node> },
    PropertyNames(Node),
    Required(Vec<String>),
    DependentRequired(BTreeMap<String, Vec<String>>),
    DependentSchemas(BTreeMap<String, Node>),
    AllOf(Vec<Node>),
    AnyOf(Vec<Node>),
    OneOf(Vec<Node>),
    Not(Node),
    If { condition: Node, then: Option<Node>, otherwise: Option<Node> },
    Reference(Target),
}

/// Which end of a range of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    MinLength,
    MaxLength,
    MinItems,
    MaxItems,
    MinProperties,
    MaxProperties,
}

/// Where a reference leads.
#[derive(Debug)]
pub(super) enum Target {
    Root,
    Definition(String),
}

/// Keywords that assert nothing.
pub(super) const ANNOTATIONS: [&str; 12] = [
    "$comment",
    "$defs",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// Keywords that another keyword reads.
const COMPANIONS: [&str; 7] = [
    "prefixItems",
    "minContains",
    "maxContains",
    "patternProperties",
    "additionalProperties",
    "then",
    "else",
];

const UNSUPPORTED: [&str; 9] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$vocabulary",
    "contentSchema",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// What became of a schema.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub(super) errors: Vec<ValueSchemaError>,
    /// Where an unknown keyword or format stands, which nothing checks.
    pub(super) unchecked: Vec<String>,
    definitions: Vec<String>,
    path: Vec<String>,
}

impl Compiler {
    pub(super) fn schema(&mut self, json: &Value) -> Compiled {
        let defs = match json {
            Value::Object(members) => members.get("$defs"),
            _ => None,
        };
        if let Some(Value::Object(members)) = defs {
            self.definitions = members.keys().cloned().collect();
        }
        let defs = defs.map(|defs| self.at("$defs", |c| c.nodes_by_name(defs)));
        Compiled { root: self.node(json), defs: defs.unwrap_or_default() }
    }

    fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.replace('~', "~0").replace('/', "~1"));
        let result = read(self);
        self.path.pop();
        result
    }

    fn pointer(&self) -> String {
        self.path.iter().map(|step| format!("/{step}")).collect()
    }

    fn refuse(&mut self, rule: ValueSchemaRule) {
        let path = self.pointer();
        self.errors.push(ValueSchemaError { path, rule });
    }

    fn wrong<T>(&mut self, expected: &'static str, found: &Value) -> Option<T> {
        self.refuse(ValueSchemaRule::Wrong { expected, found: describe(found) });
        None
    }

    fn node(&mut self, json: &Value) -> Node {
        match json {
            Value::Bool(true) => Node::default(),
            Value::Bool(false) => Node(vec![Rule::Never]),
            Value::Object(members) => {
                let mut rules = Vec::new();
                for (keyword, value) in members {
                    rules.extend(self.at(keyword, |c| c.keyword(keyword, value, members)));
                }
                Node(rules)
            }
            other => {
                self.wrong::<Node>("an object, true or false as a schema", other);
                Node::default()
            }
        }
    }

    fn keyword(&mut self, keyword: &str, value: &Value, all: &Members) -> Option<Rule> {
        match keyword {
            "type" => match Types::of_keyword(value) {
                Some(types) => Some(Rule::Types(types)),
                None => self.wrong("the name of a type or a list of different ones", value),
            },
            "format" => self.format(value),
            "enum" => match value {
                Value::Array(values) => Some(Rule::Enum(values.clone())),
                other => self.wrong("an array", other),
            },
            "const" => Some(Rule::Const(value.clone())),
            "minimum" => self.bound(Bound::Minimum, value),
            "maximum" => self.bound(Bound::Maximum, value),
            "exclusiveMinimum" => self.bound(Bound::ExclusiveMinimum, value),
            "exclusiveMaximum" => self.bound(Bound::ExclusiveMaximum, value),
            "multipleOf" => match value {
                Value::Int(1..) | Value::Float(f64::MIN_POSITIVE..) => {
                    Some(Rule::MultipleOf(value.clone()))
                }
                other => self.wrong("a number above 0", other),
            },
            "pattern" => {
                let pattern = self.text(value)?;
                self.regex(pattern).map(Rule::Pattern)
            }
            "minLength" => self.count(Count::MinLength, value),
            "maxLength" => self.count(Count::MaxLength, value),
            "minItems" => self.count(Count::MinItems, value),
            "maxItems" => self.count(Count::MaxItems, value),
            "minProperties" => self.count(Count::MinProperties, value),
            "maxProperties" => self.count(Count::MaxProperties, value),
            _ => self.applicator(keyword, value, all),
        }
    }

    fn applicator(&mut self, keyword: &str, value: &Value, all: &Members) -> Option<Rule> {
        match keyword {
            "allOf" => self.nodes(value).map(Rule::AllOf),
            "anyOf" => self.nodes(value).map(Rule::AnyOf),
            "oneOf" => self.nodes(value).map(Rule::OneOf),
            "not" => Some(Rule::Not(self.node(value))),
            "if" => Some(Rule::If {
                condition: self.node(value),
                then: self.sibling("then", all),
                otherwise: self.sibling("else", all),
            }),
            "uniqueItems" => match value {
                Value::Bool(unique) => unique.then_some(Rule::UniqueItems),
                other => self.wrong("true or false", other),
            },
            "contains" => Some(Rule::Contains {
                item: self.node(value),
                min: self.sibling_count("minContains", all).unwrap_or(1),
                max: self.sibling_count("maxContains", all).unwrap_or(usize::MAX),
            }),
            "propertyNames" => Some(Rule::PropertyNames(self.node(value))),
            "required" => self.names(value).map(Rule::Required),
            "dependentRequired" => {
                let members = self.object(value)?;
                let names = members.iter();
                let names = names.filter_map(|(n, v)| Some((n.clone(), self.names(v)?)));
                Some(Rule::DependentRequired(names.collect()))
            }
            "dependentSchemas" => Some(Rule::DependentSchemas(self.nodes_by_name(value))),
            "$ref" => self.reference(value),
            "items" | "prefixItems" if first_of(keyword, all, &["items", "prefixItems"]) => {
                Some(self.items(all))
            }
            "properties" | "patternProperties" | "additionalProperties"
                if first_of(
                    keyword,
                    all,
                    &["properties", "patternProperties", "additionalProperties"],
                ) =>
            {
                Some(self.properties(all))
            }
            _ => self.other(keyword, value),
        }
    }

    /// A keyword that makes no rule of its own.
    fn other(&mut self, keyword: &str, value: &Value) -> Option<Rule> {
        let is_2020_12 = |value: &Value| {
            value.as_text().is_some_and(|uri| {
                uri.trim_end_matches('#') == "https://json-schema.org/draft/2020-12/schema"
            })
        };
        if keyword == "$schema" && !is_2020_12(value) {
            return self.wrong("\"https://json-schema.org/draft/2020-12/schema\"", value);
        }
        let is_nested_defs = keyword == "$defs" && self.path.len() > 1;
        if is_nested_defs || UNSUPPORTED.contains(&keyword) {
            self.refuse(ValueSchemaRule::Unsupported);
        } else if !ANNOTATIONS.contains(&keyword)
            && !COMPANIONS.contains(&keyword)
            && !["items", "properties"].contains(&keyword)
        {
            self.unchecked.push(self.pointer());
        }
        None
    }

    fn format(&mut self, value: &Value) -> Option<Rule> {
        match self.text(value)? {
            "date-time" => Some(Rule::DateTime),
            "date" => Some(Rule::Date),
            _ => {
                self.unchecked.push(self.pointer());
                None
            }
        }
    }

    fn bound(&mut self, bound: Bound, value: &Value) -> Option<Rule> {
        match value {
            Value::Int(_) | Value::Float(_) => Some(Rule::Bound(bound, value.clone())),
            other => self.wrong("a number", other),
        }
    }

    fn count(&mut self, count: Count, value: &Value) -> Option<Rule> {
        self.unsigned(value).map(|number| Rule::Count(count, number))
    }

    fn unsigned(&mut self, value: &Value) -> Option<usize> {
        match value {
            Value::Int(number @ 0..) => Some(usize::try_from(*number).unwrap_or(usize::MAX)),
            other => self.wrong("an integer from 0 on", other),
        }
    }

    fn text<'v>(&mut self, value: &'v Value) -> Option<&'v str> {
        match value {
            Value::Text(text) => Some(text),
            other => self.wrong("text", other),
        }
    }

    fn object<'v>(&mut self, value: &'v Value) -> Option<&'v Members> {
        match value {
            Value::Object(members) => Some(members),
            other => self.wrong("an object", other),
        }
    }

    fn names(&mut self, value: &Value) -> Option<Vec<String>> {
        let Value::Array(names) = value else {
            return self.wrong("an array of texts", value);
        };
        names.iter().map(|name| self.text(name).map(str::to_owned)).collect()
    }

    fn nodes(&mut self, value: &Value) -> Option<Vec<Node>> {
        match value {
            Value::Array(items) if !items.is_empty() => {
                let items = items.iter().enumerate();
                Some(items.map(|(i, item)| self.at(&i.to_string(), |c| c.node(item))).collect())
            }
            other => self.wrong("an array of schemas with one at least", other),
        }
    }

    fn nodes_by_name(&mut self, value: &Value) -> BTreeMap<String, Node> {
        let members = self.object(value).into_iter().flatten();
        members.map(|(name, json)| (name.clone(), self.at(name, |c| c.node(json)))).collect()
    }

    /// Runs `read` on another keyword of the same schema.
    fn beside<T>(
        &mut self,
        keyword: &str,
        all: &Members,
        read: impl FnOnce(&mut Self, &Value) -> T,
    ) -> Option<T> {
        let value = all.get(keyword)?;
        let here = self.path.pop();
        let result = self.at(keyword, |c| read(c, value));
        self.path.extend(here);
        Some(result)
    }

    fn sibling(&mut self, keyword: &str, all: &Members) -> Option<Node> {
        self.beside(keyword, all, Self::node)
    }

    fn sibling_count(&mut self, keyword: &str, all: &Members) -> Option<usize> {
        self.beside(keyword, all, Self::unsigned).flatten()
    }

    fn items(&mut self, all: &Members) -> Rule {
        let prefix = self.beside("prefixItems", all, Self::nodes).flatten();
        Rule::Items { prefix: prefix.unwrap_or_default(), rest: self.sibling("items", all) }
    }

    fn properties(&mut self, all: &Members) -> Rule {
        let named = self.beside("properties", all, Self::nodes_by_name).unwrap_or_default();
        let patterns = self.beside("patternProperties", all, |c, value| {
            let members = c.object(value).into_iter().flatten();
            let entry = |(pattern, json): (&String, &Value)| {
                let entry = c.at(pattern, |c| (c.regex(pattern), c.node(json)));
                entry.0.map(|regex| (regex, entry.1))
            };
            members.filter_map(entry).collect()
        });
        let rest = self.sibling("additionalProperties", all);
        Rule::Properties { named, patterns: patterns.unwrap_or_default(), rest }
    }

    fn reference(&mut self, value: &Value) -> Option<Rule> {
        let reference = self.text(value)?.to_owned();
        if reference == "#" {
            return Some(Rule::Reference(Target::Root));
        }
        if !reference.starts_with('#') {
            self.refuse(ValueSchemaRule::RemoteReference { reference });
            return None;
        }
        match reference.strip_prefix("#/$defs/") {
            Some(name) if self.definitions.iter().any(|known| known == name) => {
                Some(Rule::Reference(Target::Definition(name.to_owned())))
            }
            _ => {
                self.refuse(ValueSchemaRule::UnknownReference { reference });
                None
            }
        }
    }

    fn regex(&mut self, pattern: &str) -> Option<Regex> {
        match RegexBuilder::new(pattern).size_limit(1 << 20).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string().replace('\n', " ");
                self.refuse(ValueSchemaRule::Pattern { pattern: quote(pattern), reason });
                None
            }
        }
    }
}

/// Whether a keyword is the first present one of those that make a rule together.
fn first_of(keyword: &str, all: &Members, group: &[&str]) -> bool {
    group.iter().find(|member| all.contains_key(**member)) == Some(&keyword)
}
