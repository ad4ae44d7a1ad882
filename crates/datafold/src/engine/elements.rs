//! Reading the elements of a field, a page at a time or one by one.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, RangeBounds};

use datafold_store::{Keyspace, Order};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::element_filter::{ElementFilter, ElementReach};
use super::error::{FoldDbError, QueryError, RequestError};
use super::fold_db::FoldDb;
use super::glob::Glob;
use super::query::{
    QueryEnd, commit_number, key_of, mark_of, pinned, readable, time_of, unknown_field,
    write_cursor,
};
use super::request::{Object, key, parse, texts};
use crate::data_layer::internal::{
    CellPlace, ElementBounds, ElementScan, FieldAddress, Pipeline, ReadPoint, decode_cell,
    decode_cell_into,
};
use crate::data_layer::{CommitNumber, DataLayerError, Moment, SchemaEntry};
use crate::model::{
    Field, FieldKind, FieldName, RecordKey, SchemaName, Value, decode_element, decode_element_into,
    encode_element,
};

/// A query answers at most this many elements of a field inline.
pub const INLINE_ELEMENTS_MAX: usize = 1_000;

/// The most bytes that the elements of a field may have, keys and values, to stand in a record.
pub const INLINE_BYTES_MAX: usize = 16 << 20;

/// Which elements of one field of one record are read.
#[derive(Debug, Clone, PartialEq)]
pub struct ElementQuery {
    /// The schema.
    pub schema: SchemaName,
    /// The key of the record.
    pub key: Vec<Value>,
    /// A Collection or Range field.
    pub field: String,
    /// Which of its elements.
    pub filter: ElementFilter,
    /// Whether the last one comes first.
    pub reverse: bool,
    /// At most this many; no limit by default.
    pub limit: Option<usize>,
    /// Where an earlier answer ended.
    pub cursor: Option<String>,
    /// The moment to read as of, as in [`super::QueryRequest`].
    pub as_of: Option<String>,
}

impl ElementQuery {
    /// All elements of a field, as they are now.
    #[must_use]
    pub fn new(schema: SchemaName, key: Vec<Value>, field: impl Into<String>) -> Self {
        Self {
            schema,
            key,
            field: field.into(),
            filter: ElementFilter::All,
            reverse: false,
            limit: None,
            cursor: None,
            as_of: None,
        }
    }

    /// Reads the JSON form: `schema`, `key`, `field`; at most one of `element`, `elements`,
    /// `prefix`, `glob`, `value`, `from` with `to`, and `filter` (the original's form);
    /// `reverse`, `limit`, `cursor` and `as_of`.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that names the member and the rule.
    pub fn from_value(request: Value) -> Result<Self, RequestError> {
        let mut object = Object::new("request", request)?;
        let (schema, record) = (object.schema()?, key(object.need("key")?));
        let mut query = Self::new(schema, record, object.text("field")?);
        query.filter = filter(&mut object)?;
        query.reverse = match object.take("reverse") {
            None => false,
            Some(Value::Bool(reverse)) => reverse,
            Some(_) => return Err(RequestError::new("reverse", "must be true or false")),
        };
        query.limit = object.limit()?;
        query.cursor = object.cursor()?;
        query.as_of = object.as_of()?;
        object.done()?;
        Ok(query)
    }

    /// Reads the JSON text of a request for elements.
    ///
    /// # Errors
    ///
    /// As [`ElementQuery::from_value`].
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        Self::from_value(parse(text)?)
    }
}

fn filter(object: &mut Object<'_>) -> Result<ElementFilter, RequestError> {
    let mut found = Vec::new();
    found.extend(object.optional_text("element")?.map(ElementFilter::Key));
    if let Some(keys) = object.take("elements") {
        found.push(ElementFilter::Keys(texts("elements", keys)?));
    }
    found.extend(object.optional_text("prefix")?.map(ElementFilter::KeyPrefix));
    let (start, end) = (object.optional_text("from")?, object.optional_text("to")?);
    if start.is_some() || end.is_some() {
        found.push(ElementFilter::KeyRange { start, end });
    }
    let pattern = object.optional_text("glob")?;
    found.extend(pattern.map(|pattern| ElementFilter::KeyPattern(Glob::new(&pattern))));
    found.extend(object.take("value").map(ElementFilter::Value));
    if let Some(filter) = object.take("filter") {
        found.push(ElementFilter::from_value(filter)?);
    }
    match (found.pop(), found.is_empty()) {
        (None, _) => Ok(ElementFilter::All),
        (Some(filter), true) => Ok(filter),
        (Some(_), false) => Err(RequestError::new(
            "request",
            "takes at most one of `element`, `elements`, `prefix`, `from` with `to`, `glob`, \
             `value` and `filter`",
        )),
    }
}

/// One element.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Element {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl Element {
    /// Takes the element out of a streamed answer, which reuses it otherwise.
    #[must_use]
    pub fn take(&mut self) -> Element {
        std::mem::take(self)
    }
}

/// What a request for elements found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ElementAnswer {
    /// The elements in the order of their keys.
    #[serde(serialize_with = "as_object")]
    pub elements: Vec<Element>,
    /// Where to go on if the limit was reached; it pins the moment.
    pub cursor: Option<String>,
    /// The commit that was read at.
    #[serde(serialize_with = "commit_number")]
    pub commit: CommitNumber,
    /// The field, if it is computed and its elements may be old, as in
    /// [`super::QueryAnswer::stale`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<FieldName>,
}

fn as_object<S: Serializer>(elements: &[Element], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(elements.len()))?;
    for element in elements {
        map.serialize_entry(&element.key, &element.value)?;
    }
    map.end()
}

impl FoldDb {
    /// Reads elements of one field of a record; the answer is in memory.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::elements_each`].
    ///
    /// # Cost
    ///
    /// As [`FoldDb::elements_each`].
    pub fn elements(&self, query: &ElementQuery) -> Result<ElementAnswer, FoldDbError> {
        let mut elements = Vec::new();
        let end = self.elements_each(query, |element| {
            elements.push(element.take());
            ControlFlow::Continue(())
        })?;
        let QueryEnd { cursor, commit, stale, .. } = end;
        Ok(ElementAnswer { elements, cursor, commit, stale })
    }

    /// Reads elements one by one, in the order of their keys, until `visit` breaks. All are of one
    /// moment. Of a record that does not exist there are none. The memory of an element is used
    /// again for the next one, unless [`Element::take`] takes it.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`], [`FoldDbError::Request`] for a moment that is none, and
    /// [`FoldDbError::DataLayer`].
    ///
    /// # Cost
    ///
    /// The record's row, and the rows that the filter reaches up to the limit: one seek for a key,
    /// a range of rows for a prefix, a range or the start of a pattern, every element for
    /// a value. Rows of removed elements are stepped over. As of an earlier commit, one seek more
    /// for each element that has changed since.
    pub fn elements_each(
        &self,
        query: &ElementQuery,
        visit: impl FnMut(&mut Element) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        let asked = self.moment(query.as_of.as_deref())?;
        let is_first = query.cursor.is_none();
        let moment = if is_first { asked } else { Moment::Now };
        let mut point = self.pool().operations().at(moment)?;
        let cursor = pinned(&mut point, query.cursor.as_deref(), asked)?;
        let plan = ElementPlan::new(point, query)?;
        let after = |cursor: Vec<u8>| {
            let after = cursor.strip_prefix(&plan.mark[..]).map(<[u8]>::to_vec);
            after.ok_or(QueryError::InvalidCursor)
        };
        let cursor = plan.run(cursor.map(after).transpose()?, query.limit, visit)?;
        let (commit, time) = (plan.point.at, time_of(&plan.point)?);
        Ok(QueryEnd { cursor, commit, time, stale: plan.stale() })
    }

    /// The value of an element as it is now; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::elements_each`].
    ///
    /// # Cost
    ///
    /// The record's row and the element's.
    pub fn element(
        &self,
        schema: &SchemaName,
        key: &[Value],
        field: &str,
        element: &str,
    ) -> Result<Option<Value>, FoldDbError> {
        self.element_as_of(schema, key, field, element, Moment::Now)
    }

    /// The value of an element as it was; `None` if it did not exist.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::elements_each`].
    ///
    /// # Cost
    ///
    /// The record's row and the element's, and one seek more for each that has changed since.
    pub fn element_as_of(
        &self,
        schema: &SchemaName,
        key: &[Value],
        field: &str,
        element: &str,
        moment: Moment,
    ) -> Result<Option<Value>, FoldDbError> {
        let point = self.pool().operations().at(moment)?;
        let filter = ElementFilter::Key(element.to_owned());
        let query = ElementQuery { filter, ..ElementQuery::new(schema.clone(), key.into(), field) };
        let mut found = None;
        ElementPlan::new(point, &query)?.run(None, None, |element| {
            found = Some(element.take().value);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// The Collection or Range field with this name, and where its data are.
pub(super) fn element_field<'e>(
    entry: &'e SchemaEntry,
    name: &str,
) -> Result<(CellPlace, &'e Field), QueryError> {
    let found = entry.placed_field(name);
    let (cell, field) = found.ok_or_else(|| unknown_field(&entry.schema, name))?;
    if field.kind == FieldKind::Single {
        let (schema, field) = (entry.schema.name.clone(), field.name.clone());
        return Err(QueryError::NoElements { schema, field });
    }
    Ok((cell, field))
}

/// The filter with its value as the field would store it.
pub(super) fn settled(filter: &ElementFilter, field: &Field) -> ElementFilter {
    match filter {
        ElementFilter::Value(value) => {
            // What the field does not accept, no element equals.
            ElementFilter::Value(field.accept(value.clone()).unwrap_or_else(|_| value.clone()))
        }
        other => other.clone(),
    }
}

/// A request for elements that is checked against its schema.
struct ElementPlan {
    point: ReadPoint,
    key: RecordKey,
    cell: CellPlace,
    field: FieldName,
    filter: ElementFilter,
    order: Order,
    /// What a cursor of this query begins with.
    mark: [u8; 4],
}

impl ElementPlan {
    fn new(point: ReadPoint, query: &ElementQuery) -> Result<Self, QueryError> {
        let entry = readable(&point, &query.schema)?;
        let key = key_of(&entry, &query.key)?;
        let (cell, field) = element_field(&entry, &query.field)?;
        let filter = settled(&query.filter, field);
        let order = if query.reverse { Order::Reverse } else { Order::Forward };
        let mark = mark_of(&(&query.schema, &query.key, &query.field, &filter, query.reverse));
        let field = field.name.clone();
        Ok(Self { point, key, cell, field, filter, order, mark })
    }

    /// The field, if it is computed and may have the elements of earlier inputs.
    fn stale(&self) -> Vec<FieldName> {
        let ReadPoint { published, .. } = &self.point;
        let propagation = published.catalogue.propagation(self.cell.schema);
        let computing = propagation.and_then(|found| found.computing(self.cell.field));
        let is_stale = self.point.is_current()
            && computing.is_some_and(|found| Pipeline::is_stale(published, found.id));
        Vec::from_iter(is_stale.then(|| self.field.clone()))
    }

    /// Answers where to go on if the limit was reached.
    fn run(
        &self,
        after: Option<Vec<u8>>,
        limit: Option<usize>,
        mut visit: impl FnMut(&mut Element) -> ControlFlow<()>,
    ) -> Result<Option<String>, FoldDbError> {
        let address = self.cell.address(self.key.as_bytes());
        let reach = self.filter.reach();
        if let (Some(after), ElementReach::Range(bounds)) = (&after, &reach)
            && !bounds.contains(after)
        {
            return Err(QueryError::InvalidCursor.into());
        }
        let birth = self.point.birth(address.schema, address.record)?;
        let Some(birth) = birth else { return Ok(None) };
        let scan = ElementScan { point: &self.point, address, birth };
        let (mut visited, mut last, mut cursor) = (0, Vec::new(), None);
        let mut element = Element::default();
        let mut one = |key: &[u8], raw: &[u8]| -> Result<ControlFlow<()>, FoldDbError> {
            if !read(&self.filter, key, raw, &mut element)? {
                return Ok(ControlFlow::Continue(()));
            }
            if limit.is_some_and(|limit| visited >= limit) {
                // There is more: the limit was reached by the element before.
                cursor = Some(write_cursor(self.point.at, &[&self.mark, &last[..]].concat()));
                return Ok(ControlFlow::Break(()));
            }
            visited += 1;
            if limit.is_some_and(|limit| visited >= limit) {
                last = key.to_vec();
            }
            Ok(visit(&mut element))
        };
        match reach {
            ElementReach::Range(bounds) => {
                scan.for_each(behind(bounds, after, self.order), self.order, one)?;
            }
            ElementReach::Keys(keys) => {
                let bounds = behind((Bound::Unbounded, Bound::Unbounded), after, self.order);
                for key in in_order(keys, self.order) {
                    // A key that is too long is none of an element.
                    let Ok(key) = encode_element(&key) else { continue };
                    if !bounds.contains(&key.to_vec()) {
                        continue;
                    }
                    let Some(value) = scan.get(&key)? else { continue };
                    if one(&key, &value)?.is_break() {
                        break;
                    }
                }
            }
        }
        Ok(cursor)
    }
}

/// The rest of a range behind an element.
fn behind((lower, upper): ElementBounds, after: Option<Vec<u8>>, order: Order) -> ElementBounds {
    match (after, order) {
        (None, _) => (lower, upper),
        (Some(after), Order::Forward) => (Bound::Excluded(after), upper),
        (Some(after), Order::Reverse) => (lower, Bound::Excluded(after)),
    }
}

pub(super) fn in_order(mut keys: Vec<String>, order: Order) -> Vec<String> {
    if order == Order::Reverse {
        keys.reverse();
    }
    keys
}

/// Reads an element in the place of another one; answers whether the filter takes it.
pub(super) fn read(
    filter: &ElementFilter,
    key: &[u8],
    raw: &[u8],
    element: &mut Element,
) -> Result<bool, DataLayerError> {
    decode_element_into(key, &mut element.key)
        .map_err(|error| DataLayerError::key(Keyspace::Elements, key, error))?;
    if !filter.takes_key(&element.key) {
        return Ok(false);
    }
    decode_cell_into(raw, &mut element.value)?;
    Ok(filter.takes_value(&element.value))
}

pub(super) fn text_of(key: &[u8]) -> Result<String, DataLayerError> {
    decode_element(key).map_err(|error| DataLayerError::key(Keyspace::Elements, key, error))
}

/// All elements of a field, if they are few enough to stand in a record.
pub(super) fn inline(
    scan: &ElementScan<'_>,
    entry: &SchemaEntry,
    limit: usize,
) -> Result<BTreeMap<String, Value>, FoldDbError> {
    // The newest state is counted, so that what is gone is not stepped over.
    let count = scan.count()?;
    let mut elements = BTreeMap::new();
    if count == Some(0) {
        return Ok(elements);
    }
    let too_many = || too_many(entry, scan.address, limit);
    if count.is_some_and(|count| count > limit as u64) {
        return Err(too_many());
    }
    let mut bytes = 0;
    let whole = (Bound::Unbounded, Bound::Unbounded);
    scan.for_each(whole, Order::Forward, |key, raw| {
        bytes += key.len() + raw.len();
        if elements.len() >= limit || bytes > INLINE_BYTES_MAX {
            return Err(too_many());
        }
        elements.insert(text_of(key)?, decode_cell(raw)?);
        let is_last = count.is_some_and(|count| elements.len() as u64 >= count);
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(elements)
}

pub(super) fn too_many(
    entry: &SchemaEntry,
    address: FieldAddress<'_>,
    limit: usize,
) -> FoldDbError {
    let place = CellPlace { schema: address.schema, field: address.field };
    let Some(field) = entry.field_at(place) else {
        return DataLayerError::missing("a field with elements").into();
    };
    let key = RecordKey::from_bytes(address.record.to_vec());
    let (schema, field) = (entry.schema.name.clone(), field.name.clone());
    QueryError::TooManyElements { schema, key, field, limit }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_read() {
        let query = ElementQuery::parse(
            r#"{"schema": "P", "key": [], "field": "stock", "prefix": "eu:", "reverse": true,
                "limit": 10, "cursor": null, "as_of": 42}"#,
        )
        .unwrap();
        assert_eq!(query.filter, ElementFilter::KeyPrefix("eu:".into()));
        assert!(query.reverse);
        assert_eq!((query.limit, query.as_of.as_deref()), (Some(10), Some("42")));
        let read = |member: &str| {
            let text = format!(r#"{{"schema": "P", "key": 1, "field": "f", {member}}}"#);
            ElementQuery::parse(&text).unwrap().filter
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(read(r#""element": "a""#), ElementFilter::Key(text("a")));
        assert_eq!(read(r#""elements": ["a"]"#), ElementFilter::Keys(vec![text("a")]));
        assert_eq!(read(r#""glob": "a?""#), ElementFilter::KeyPattern(Glob::new("a?")));
        assert_eq!(read(r#""value": [1]"#), ElementFilter::Value(vec![Value::Int(1)].into()));
        assert_eq!(read(r#""filter": {"Key": "a"}"#), ElementFilter::Key(text("a")));
        let range = ElementFilter::KeyRange { start: Some(text("a")), end: None };
        assert_eq!(read(r#""from": "a""#), range);
        assert_eq!(read(r#""limit": 1"#), ElementFilter::All);
    }

    #[test]
    fn wrong_forms_name_the_place_and_the_rule() {
        for (text, place) in [
            (r#"{"schema": "P", "key": 1}"#, "field"),
            (r#"{"schema": "P", "field": "f"}"#, "key"),
            (r#"{"schema": "P", "key": 1, "field": "f", "limit": 0}"#, "limit"),
            (r#"{"schema": "P", "key": 1, "field": "f", "reverse": 1}"#, "reverse"),
            (r#"{"schema": "P", "key": 1, "field": "f", "elements": "a"}"#, "elements"),
            (r#"{"schema": "P", "key": 1, "field": "f", "prefix": 1}"#, "prefix"),
            (r#"{"schema": "P", "key": 1, "field": "f", "pattern": "a"}"#, "pattern"),
            (r#"{"schema": "P", "key": 1, "field": "f", "prefix": "", "to": "b"}"#, "request"),
        ] {
            assert_eq!(ElementQuery::parse(text).unwrap_err().place, place, "{text}");
        }
    }
}
