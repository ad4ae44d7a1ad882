//! The filters of Range fields.

use super::super::error::RequestError;
use super::super::request::{Object, list, wrong};
use crate::model::Value;

/// A filter, and the field that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationFilter {
    /// The field; all Range fields of the query if none is named.
    pub field: Option<String>,
    /// Which of its elements.
    pub elements: ElementFilter,
}

/// Which elements of a Range field are answered.
#[derive(Debug, Clone, PartialEq)]
pub enum ElementFilter {
    /// The one with this key.
    Key(String),
    /// Those whose keys begin with this text.
    KeyPrefix(String),
    /// Those with `start <= key < end`, by bytes.
    KeyRange {
        /// The first key.
        start: String,
        /// Behind the last key.
        end: String,
    },
    /// Those with these keys.
    Keys(Vec<String>),
    /// Those whose whole key fits: `*` is any run of characters, `?` one character.
    KeyPattern(String),
    /// Those with this value.
    Value(Value),
}

/// The names of the kinds, as the errors list them.
const KINDS: &str = "Key, KeyPrefix, KeyRange, Keys, KeyPattern or Value";

impl OperationFilter {
    /// Reads `{"field": "f", "range_filter": {"Key": "k"}}`, or the inner object alone.
    pub(super) fn read(place: &str, value: Value) -> Result<Self, RequestError> {
        let mut object = Object::new(place, value)?;
        let has_frame = ["field", "range_filter"].iter().any(|m| object.members.contains_key(*m));
        if !has_frame {
            let elements = ElementFilter::read(place, Value::Object(object.members))?;
            return Ok(Self { field: None, elements });
        }
        let field = match object.take("field") {
            None => None,
            Some(Value::Text(field)) => Some(field),
            Some(other) => return Err(wrong(&object.at("field"), "the name of a field", &other)),
        };
        if let Some(operator) =
            ["operator", "value"].iter().find(|m| object.members.contains_key(**m))
        {
            let rule = "is not a member known here: a filter chooses elements of a Range field, \
                        by `range_filter`";
            return Err(RequestError::new(object.at(operator), rule));
        }
        let elements =
            ElementFilter::read(&object.at("range_filter"), object.need("range_filter")?)?;
        object.done()?;
        Ok(Self { field, elements })
    }
}

impl ElementFilter {
    fn read(place: &str, value: Value) -> Result<Self, RequestError> {
        let Value::Object(members) = value else {
            return Err(wrong(place, &format!("an object with {KINDS}"), &value));
        };
        let count = members.len();
        let mut members = members.into_iter();
        let (Some((kind, value)), None) = (members.next(), members.next()) else {
            let rule = format!("needs exactly one of {KINDS}, not {count} members");
            return Err(RequestError::new(place, rule));
        };
        let place = format!("{place}.{kind}");
        Ok(match kind.as_str() {
            "Key" => ElementFilter::Key(text(&place, value)?),
            "KeyPrefix" => ElementFilter::KeyPrefix(text(&place, value)?),
            "KeyPattern" => ElementFilter::KeyPattern(text(&place, value)?),
            "Value" => ElementFilter::Value(value),
            "Keys" => {
                let keys = list(&place, value)?.into_iter().enumerate();
                let keys = keys.map(|(at, key)| text(&format!("{place}[{at}]"), key));
                ElementFilter::Keys(keys.collect::<Result<_, _>>()?)
            }
            "KeyRange" => {
                let mut range = Object::new(&place, value)?;
                let (start, end) = (range.text("start")?, range.text("end")?);
                range.done()?;
                ElementFilter::KeyRange { start, end }
            }
            _ => return Err(RequestError::new(place, format!("is none of {KINDS}"))),
        })
    }
}

fn text(place: &str, value: Value) -> Result<String, RequestError> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(wrong(place, "text", &other)),
    }
}
