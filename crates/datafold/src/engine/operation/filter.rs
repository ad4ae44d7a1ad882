//! The filters of Range fields.

use super::super::element_filter::ElementFilter;
use super::super::error::RequestError;
use super::super::request::{Object, wrong};
use crate::model::Value;

/// A filter, and the field that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationFilter {
    /// The field; all Range fields of the query if none is named.
    pub field: Option<String>,
    /// Which of its elements.
    pub elements: ElementFilter,
}

impl OperationFilter {
    /// Reads `{"field": "f", "range_filter": {"Key": "k"}}`, or the inner object alone.
    pub(super) fn read(value: Value) -> Result<Self, RequestError> {
        let mut object = Object::new("filter", value)?;
        let has_frame = ["field", "range_filter"].iter().any(|m| object.members.contains_key(*m));
        if !has_frame {
            let elements = ElementFilter::from_value(Value::Object(object.members))?;
            return Ok(Self { field: None, elements });
        }
        let field = match object.take("field") {
            None => None,
            Some(Value::Text(field)) => Some(field),
            Some(other) => return Err(wrong(&object.at("field"), "the name of a field", &other)),
        };
        let slips = ["operator", "value"];
        if let Some(slip) = slips.iter().find(|slip| object.members.contains_key(**slip)) {
            let rule = "is not a member known here: a filter chooses elements of a Range field, \
                        by `range_filter`";
            return Err(RequestError::new(object.at(slip), rule));
        }
        let elements = ElementFilter::from_value(object.need("range_filter")?)?;
        object.done()?;
        Ok(Self { field, elements })
    }
}
