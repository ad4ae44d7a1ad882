//! The elements of a Range field as the result of a transform.
//!
//! A result is one object, whose members are the elements. What is written of it are those that are
//! other ones than there are.

use std::collections::BTreeMap;

use bytes::Bytes;
use datafold_store::Keyspace;

use super::draft::{Draft, ElementDraft};
use super::element_input::{Elements, INPUT_BYTES_MAX, INPUT_ELEMENTS_MAX, stored_cells};
use super::error::DataLayerError;
use super::rows::{FieldAddress, Rows};
use super::serialization::{RowError, SerializationHelper};
use super::transform::Evaluation;
use super::working_set::{RowSource, read_count};
use crate::model::{Field, Value, decode_value, encode_element, encode_element_bound, from_lang};

/// A result as one encoded object of the elements that it stands for; `None` for none. A member
/// that is null is no element.
pub(super) fn encode_elements(field: &Field, value: Value) -> Result<Option<Bytes>, Evaluation> {
    let refuse = |rule: String| Evaluation::of_result("result_refused", rule);
    let Value::Object(members) = value else {
        let found = value.type_name();
        return Err(refuse(format!("the result is {found}, and elements come from an object")));
    };
    let (mut elements, mut bytes) = (BTreeMap::new(), 0);
    for (key, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
        let element = encode_element(&key)
            .map_err(|error| refuse(format!("a name in the result is no key: {error}")))?;
        let value = field.accept(value).map_err(|error| {
            let name = Value::from(key.as_str()).to_json();
            refuse(format!("the element {name} of the result is not accepted: {error}"))
        })?;
        bytes += element.len() + SerializationHelper::serialize(&value).len();
        if elements.len() >= INPUT_ELEMENTS_MAX || bytes > INPUT_BYTES_MAX {
            let rule = format!(
                "the result has more than {INPUT_ELEMENTS_MAX} elements, or more than \
                 {INPUT_BYTES_MAX} bytes of them"
            );
            return Err(Evaluation::of_result("too_many_elements", rule));
        }
        elements.insert(key, value);
    }
    Ok(encode_object(Value::Object(elements)))
}

/// Elements that were read, as a result that gives them.
pub(super) fn encode_found(elements: &Elements) -> Option<Bytes> {
    elements.as_ref().ok().and_then(|elements| encode_object(from_lang(elements)))
}

fn encode_object(elements: Value) -> Option<Bytes> {
    let is_empty = matches!(&elements, Value::Object(members) if members.is_empty());
    (!is_empty).then(|| SerializationHelper::serialize(&elements))
}

/// The elements that a result gives, encoded.
fn decode_elements(result: Option<&Bytes>) -> Result<BTreeMap<Bytes, Bytes>, DataLayerError> {
    let value = result.map(|raw| decode_value(raw)).transpose();
    let value = value
        .map_err(|error| DataLayerError::row(Keyspace::Elements, &[], RowError::from(error)))?;
    let Some(Value::Object(members)) = value else { return Ok(BTreeMap::new()) };
    let element = |(key, value): (String, Value)| {
        (encode_element_bound(&key).into(), SerializationHelper::serialize(&value))
    };
    Ok(members.into_iter().map(element).collect())
}

/// What a result changes of the elements that a field has in the present life of its record.
pub(super) fn changed_elements(
    rows: Rows,
    source: &mut dyn RowSource,
    at: FieldAddress<'_>,
    record: &Draft,
    result: Option<&Bytes>,
    looked_at: &mut u64,
) -> Result<Vec<(Bytes, ElementDraft)>, DataLayerError> {
    let mut wanted = decode_elements(result)?;
    let mut changed = Vec::new();
    if let Some(birth) = record.found_birth() {
        let count = read_count(source, rows, at)?.map_or(0, |count| count.of_life(birth));
        for (element, cell) in stored_cells(rows, source, at, (birth, count), looked_at)? {
            let value = wanted.remove(&element);
            if value != cell.value {
                let mut draft = ElementDraft::of(Some(cell));
                draft.set(record, value);
                changed.push((element, draft));
            }
        }
    }
    for (element, value) in wanted {
        let key = rows.element(at, &element);
        let row = source.read(Keyspace::Elements, &key)?;
        let mut draft = ElementDraft::new(row)
            .map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))?;
        draft.set(record, Some(value));
        changed.push((element, draft));
    }
    Ok(changed)
}
