//! Which elements of a field are read.

use std::ops::Bound;

use super::error::RequestError;
use super::glob::Glob;
use super::request::{texts, wrong};
use crate::data_layer::internal::{BEHIND_PARTS, ElementBounds};
use crate::model::{Value, encode_element_bound, encode_element_prefix};

/// Which elements of a Collection or Range field are read. Texts are compared by their bytes.
///
/// All but [`ElementFilter::Value`] and patterns that begin with `*` or `?` are found by a seek and
/// read no other element.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum ElementFilter {
    /// All of them.
    #[default]
    All,
    /// The element with this key.
    Key(String),
    /// Those with one of these keys; the same key twice counts once.
    Keys(Vec<String>),
    /// Those whose key begins so; the empty text begins every key.
    KeyPrefix(String),
    /// Those with `start <= key < end`; either may be absent.
    KeyRange {
        /// The first key.
        start: Option<String>,
        /// Behind the last key.
        end: Option<String>,
    },
    /// Those whose whole key fits the pattern.
    KeyPattern(Glob),
    /// Those whose value equals this one, as JSON values are equal.
    Value(Value),
}

/// The kinds as the original's JSON writes them.
const KINDS: &str = "must be an object with exactly one of `Key`, `Keys`, `KeyPrefix`, \
                     `KeyRange`, `KeyPattern` and `Value`";

impl ElementFilter {
    /// Reads the original's form: `{"Key": "a"}`, `{"Keys": ["a", "b"]}`, `{"KeyPrefix": "a"}`,
    /// `{"KeyRange": {"start": "a", "end": "b"}}`, `{"KeyPattern": "a*"}` or `{"Value": "v"}`.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that names the member and the rule.
    pub fn from_value(filter: Value) -> Result<Self, RequestError> {
        let place = "filter";
        let Value::Object(members) = filter else {
            return Err(RequestError::new(place, KINDS));
        };
        let mut members = members.into_iter();
        let (Some((kind, value)), None) = (members.next(), members.next()) else {
            return Err(RequestError::new(place, KINDS));
        };
        let place = format!("filter.{kind}");
        let text = |value| match value {
            Value::Text(text) => Ok(text),
            other => Err(wrong(&place, "text", &other)),
        };
        match kind.as_str() {
            "Key" => text(value).map(Self::Key),
            "KeyPrefix" => text(value).map(Self::KeyPrefix),
            "KeyPattern" => text(value).map(|pattern| Self::KeyPattern(Glob::new(&pattern))),
            "Keys" => texts(&place, value).map(Self::Keys),
            "KeyRange" => {
                let Value::Object(mut bounds) = value else {
                    return Err(wrong(&place, "an object of `start` and `end`", &value));
                };
                match (bounds.remove("start"), bounds.remove("end"), bounds.is_empty()) {
                    (Some(Value::Text(start)), Some(Value::Text(end)), true) => {
                        Ok(Self::KeyRange { start: Some(start), end: Some(end) })
                    }
                    _ => Err(RequestError::new(place, "must have the texts `start` and `end`")),
                }
            }
            "Value" => Ok(Self::Value(value)),
            _ => Err(RequestError::new("filter", KINDS)),
        }
    }

    /// What has to be read; `None` if no element can fit.
    pub(crate) fn reach(&self) -> ElementReach {
        let all = (Bound::Unbounded, Bound::Unbounded);
        match self {
            Self::All | Self::Value(_) => ElementReach::Range(all),
            Self::Key(key) => ElementReach::Keys(vec![key.clone()]),
            Self::Keys(keys) => {
                let mut keys = keys.clone();
                keys.sort_unstable();
                keys.dedup();
                ElementReach::Keys(keys)
            }
            Self::KeyPrefix(prefix) => ElementReach::Range(prefix_bounds(prefix)),
            Self::KeyRange { start, end } => {
                let bound = |text: &String| encode_element_bound(text);
                ElementReach::Range((
                    start.as_ref().map_or(Bound::Unbounded, |start| Bound::Included(bound(start))),
                    end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(bound(end))),
                ))
            }
            Self::KeyPattern(glob) => ElementReach::Range(prefix_bounds(glob.literal_prefix())),
        }
    }

    /// Whether the key of an element inside the reach fits.
    pub(crate) fn takes_key(&self, key: &str) -> bool {
        match self {
            Self::KeyPattern(glob) => glob.matches(key),
            _ => true,
        }
    }

    /// Whether the value of an element inside the reach fits.
    pub(crate) fn takes_value(&self, value: &Value) -> bool {
        match self {
            Self::Value(wanted) => value == wanted,
            _ => true,
        }
    }
}

/// What has to be read to answer a filter.
#[derive(Debug, Clone)]
pub(crate) enum ElementReach {
    /// Some keys, ascending, each once.
    Keys(Vec<String>),
    /// Encoded keys between two bounds.
    Range(ElementBounds),
}

fn prefix_bounds(prefix: &str) -> ElementBounds {
    let from = encode_element_prefix(prefix);
    let to = [from.as_slice(), &[BEHIND_PARTS]].concat();
    (Bound::Included(from), Bound::Excluded(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_original_are_read() {
        let read = |text: &str| ElementFilter::from_value(Value::parse_json(text).unwrap());
        let text = |text: &str| Some(text.to_owned());
        for (json, filter) in [
            (r#"{"Key": "k"}"#, ElementFilter::Key("k".into())),
            (r#"{"KeyPrefix": ""}"#, ElementFilter::KeyPrefix(String::new())),
            (r#"{"Keys": ["a", "b"]}"#, ElementFilter::Keys(vec!["a".into(), "b".into()])),
            (r#"{"KeyPattern": "a*"}"#, ElementFilter::KeyPattern(Glob::new("a*"))),
            (r#"{"Value": 5}"#, ElementFilter::Value(5.into())),
            (
                r#"{"KeyRange": {"start": "a", "end": "b"}}"#,
                ElementFilter::KeyRange { start: text("a"), end: text("b") },
            ),
        ] {
            assert_eq!(read(json).unwrap(), filter, "{json}");
        }
        for (json, place) in [
            ("5", "filter"),
            ("{}", "filter"),
            (r#"{"Key": "a", "Value": 1}"#, "filter"),
            (r#"{"Prefix": "a"}"#, "filter"),
            (r#"{"Key": 5}"#, "filter.Key"),
            (r#"{"Keys": ["a", 5]}"#, "filter.Keys[1]"),
            (r#"{"KeyRange": {"start": "a"}}"#, "filter.KeyRange"),
            (r#"{"KeyRange": {"start": "a", "end": "b", "x": 1}}"#, "filter.KeyRange"),
            (r#"{"KeyRange": "a"}"#, "filter.KeyRange"),
        ] {
            assert_eq!(read(json).unwrap_err().place, place, "{json}");
        }
    }
}
