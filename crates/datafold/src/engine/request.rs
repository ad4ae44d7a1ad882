//! The JSON form of requests.

use std::collections::BTreeMap;

use super::error::RequestError;
use super::mutation::{
    Condition, ElementPlace, Mutation, MutationKind, MutationRequest, Precondition, PutCondition,
};
use super::query::{KeyCondition, QueryRequest};
use crate::data_layer::CommitNumber;
use crate::model::{SchemaName, Value};

pub(super) type Members = BTreeMap<String, Value>;

/// The members of an object, taken one by one, so that unknown ones are found.
pub(super) struct Object<'p> {
    place: &'p str,
    pub(super) members: Members,
}

impl<'p> Object<'p> {
    pub(super) fn new(place: &'p str, value: Value) -> Result<Self, RequestError> {
        match value {
            Value::Object(members) => Ok(Self { place, members }),
            other => Err(wrong(place, "an object", &other)),
        }
    }

    pub(super) fn at(&self, member: &str) -> String {
        // A place that is no text would be no place.
        let member = if member.is_empty() { "\"\"" } else { member };
        if self.place == "request" { member.to_owned() } else { format!("{}.{member}", self.place) }
    }

    pub(super) fn take(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member).filter(|value| !value.is_null())
    }

    pub(super) fn need(&mut self, member: &str) -> Result<Value, RequestError> {
        let place = self.at(member);
        self.take(member).ok_or_else(|| RequestError::new(place, "is missing"))
    }

    pub(super) fn text(&mut self, member: &str) -> Result<String, RequestError> {
        let place = self.at(member);
        match self.need(member)? {
            Value::Text(text) => Ok(text),
            other => Err(wrong(&place, "text", &other)),
        }
    }

    pub(super) fn schema(&mut self) -> Result<SchemaName, RequestError> {
        let name = self.text("schema")?;
        SchemaName::parse(&name)
            .map_err(|error| RequestError::new(self.at("schema"), error.to_string()))
    }

    pub(super) fn list(&mut self, member: &str) -> Result<Vec<Value>, RequestError> {
        let place = self.at(member);
        list(&place, self.need(member)?)
    }

    pub(super) fn limit(&mut self) -> Result<Option<usize>, RequestError> {
        match self.take("limit") {
            None => Ok(None),
            Some(Value::Int(limit)) if limit > 0 => Ok(usize::try_from(limit).ok()),
            Some(other) => Err(wrong(&self.at("limit"), "a positive integer", &other)),
        }
    }

    pub(super) fn cursor(&mut self) -> Result<Option<String>, RequestError> {
        self.optional_text("cursor")
    }

    pub(super) fn optional_text(&mut self, member: &str) -> Result<Option<String>, RequestError> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.at(member), "text", &other)),
        }
    }

    pub(super) fn optional_texts(
        &mut self,
        member: &str,
    ) -> Result<Option<Vec<String>>, RequestError> {
        let place = self.at(member);
        self.take(member).map(|found| texts(&place, found)).transpose()
    }

    pub(super) fn as_of(&mut self) -> Result<Option<String>, RequestError> {
        match self.take("as_of") {
            None => Ok(None),
            Some(Value::Text(moment)) => Ok(Some(moment)),
            Some(number @ Value::Int(_)) => {
                Ok(Some(commit(&self.at("as_of"), &number)?.to_string()))
            }
            Some(other) => Err(wrong(&self.at("as_of"), "a commit number or a time", &other)),
        }
    }

    pub(super) fn done(self) -> Result<(), RequestError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(member) => Err(RequestError::new(self.at(member), "is not a member known here")),
        }
    }
}

pub(super) fn wrong(place: &str, expected: &str, found: &Value) -> RequestError {
    RequestError::new(place, format!("must be {expected}, not {}", found.type_name()))
}

pub(super) fn list(place: &str, value: Value) -> Result<Vec<Value>, RequestError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong(place, "an array", &other)),
    }
}

/// A key is a scalar or an array.
pub(super) fn key(value: Value) -> Vec<Value> {
    match value {
        Value::Array(parts) => parts,
        scalar => vec![scalar],
    }
}

pub(super) fn commit(place: &str, value: &Value) -> Result<CommitNumber, RequestError> {
    match value {
        Value::Int(number) if *number >= 0 => Ok(CommitNumber(number.unsigned_abs())),
        other => Err(wrong(place, "a commit number", other)),
    }
}

impl MutationRequest {
    /// Reads `{"mutation": …}` or `{"transaction": […], "if": […]}`.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that names the member and the rule.
    pub fn from_value(request: Value) -> Result<Self, RequestError> {
        let mut object = Object::new("request", request)?;
        // Beside a put stands the condition of its elements.
        let is_of_put = matches!(object.members.get("if"), Some(Value::Text(_)));
        let conditions = if is_of_put { None } else { object.take("if") };
        let preconditions = match conditions {
            None => Vec::new(),
            Some(conditions) => list("if", conditions)?
                .into_iter()
                .enumerate()
                .map(|(at, condition)| precondition(&format!("if[{at}]"), condition))
                .collect::<Result<_, _>>()?,
        };
        let mutations = match object.take("transaction") {
            Some(mutations) => {
                let mutations = list("transaction", mutations)?;
                object.done()?;
                let each = mutations.into_iter().enumerate();
                each.map(|(at, value)| mutation(&format!("transaction[{at}]"), value))
                    .collect::<Result<_, _>>()?
            }
            None => vec![mutation("request", Value::Object(object.members))?],
        };
        Ok(Self { mutations, preconditions })
    }

    /// Reads the JSON text of a request.
    ///
    /// # Errors
    ///
    /// As [`MutationRequest::from_value`]; text that is no JSON is an error of the place
    /// `request`.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        Self::from_value(parse(text)?)
    }
}

pub(super) fn parse(text: &str) -> Result<Value, RequestError> {
    Value::parse_json(text).map_err(|error| RequestError::new("request", error.to_string()))
}

fn mutation(place: &str, value: Value) -> Result<Mutation, RequestError> {
    let mut object = Object::new(place, value)?;
    let kind = object.text("mutation")?;
    let schema = object.schema()?;
    let kind = match kind.as_str() {
        "create" => MutationKind::Create,
        "update" => MutationKind::Update,
        "upsert" => MutationKind::Upsert,
        "delete" => {
            let keys = object.list("keys")?.into_iter().map(key).collect();
            object.done()?;
            return Ok(Mutation::Delete { schema, keys });
        }
        "put" => return put(object, schema),
        "remove" => return remove(object, schema),
        other => {
            let rule =
                format!("must be create, update, upsert, delete, put or remove, not `{other}`");
            return Err(RequestError::new(object.at("mutation"), rule));
        }
    };
    let place = object.at("records");
    let records = object.list("records")?;
    object.done()?;
    let each = records.into_iter().enumerate();
    let records = each.map(|(at, record)| match record {
        Value::Object(members) => Ok(members),
        other => Err(wrong(&format!("{place}[{at}]"), "an object", &other)),
    });
    Ok(Mutation::Write { kind, schema, records: records.collect::<Result<_, _>>()? })
}

fn put(mut object: Object<'_>, schema: SchemaName) -> Result<Mutation, RequestError> {
    let key = key(object.need("key")?);
    let field = object.text("field")?;
    let place = object.at("elements");
    let elements = match object.need("elements")? {
        Value::Object(elements) => elements,
        other => return Err(wrong(&place, "an object of elements", &other)),
    };
    let condition = match object.take("if") {
        None => None,
        Some(Value::Text(text)) if text == "absent" => Some(PutCondition::Absent),
        Some(Value::Text(text)) if text == "exists" => Some(PutCondition::Exists),
        Some(_) => {
            return Err(RequestError::new(object.at("if"), "must be `absent` or `exists`"));
        }
    };
    object.done()?;
    Ok(Mutation::Put { schema, key, field, elements, condition })
}

fn remove(mut object: Object<'_>, schema: SchemaName) -> Result<Mutation, RequestError> {
    let key = key(object.need("key")?);
    let field = object.text("field")?;
    let place = object.at("elements");
    let elements = texts(&place, object.need("elements")?)?;
    object.done()?;
    Ok(Mutation::Remove { schema, key, field, elements })
}

/// An array of texts.
pub(super) fn texts(place: &str, value: Value) -> Result<Vec<String>, RequestError> {
    let each = list(place, value)?.into_iter().enumerate();
    let text = |(at, value)| match value {
        Value::Text(text) => Ok(text),
        other => Err(wrong(&format!("{place}[{at}]"), "text", &other)),
    };
    each.map(text).collect()
}

fn precondition(place: &str, value: Value) -> Result<Precondition, RequestError> {
    let mut object = Object::new(place, value)?;
    let schema = object.schema()?;
    let key = key(object.need("key")?);
    let element =
        match (object.members.contains_key("field"), object.members.contains_key("element")) {
            (false, false) => None,
            _ => {
                let (field, element) = (object.text("field")?, object.text("element")?);
                Some(ElementPlace { field, element })
            }
        };
    let conditions = [object.take("exists"), object.take("absent"), object.take("unchanged_since")];
    let condition = match conditions {
        [Some(Value::Bool(exists)), None, None] => existence(exists),
        [None, Some(Value::Bool(absent)), None] => existence(!absent),
        [None, None, Some(since)] => {
            Condition::UnchangedSince(commit(&object.at("unchanged_since"), &since)?)
        }
        _ => {
            let rule = "needs exactly one of `exists`, `absent` (true or false) and \
                        `unchanged_since` (a commit number)";
            return Err(RequestError::new(place, rule));
        }
    };
    object.done()?;
    Ok(Precondition { schema, key, element, condition })
}

fn existence(exists: bool) -> Condition {
    if exists { Condition::Exists } else { Condition::Absent }
}

impl QueryRequest {
    /// Reads the JSON form of a query.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that names the member and the rule.
    pub fn from_value(request: Value) -> Result<Self, RequestError> {
        let mut object = Object::new("request", request)?;
        let mut query = QueryRequest::new(object.schema()?);
        query.select = object.optional_texts("select")?;
        query.filter = object.optional_text("where")?;
        query.parameters = match object.take("parameters") {
            None => Members::new(),
            Some(Value::Object(parameters)) => parameters,
            Some(other) => return Err(wrong("parameters", "an object", &other)),
        };
        query.group_by = object.optional_texts("group_by")?.unwrap_or_default();
        query.aggregates = object.optional_texts("aggregates")?.unwrap_or_default();
        query.having = object.optional_text("having")?;
        query.distinct = match object.take("distinct") {
            None => false,
            Some(Value::Bool(distinct)) => distinct,
            Some(other) => return Err(wrong("distinct", "true or false", &other)),
        };
        query.sort = object.optional_texts("sort")?.unwrap_or_default();
        if let Some(condition) = object.take("key") {
            query.key = key_condition(condition)?;
        }
        query.limit = object.limit()?;
        query.cursor = object.cursor()?;
        query.as_of = object.as_of()?;
        object.done()?;
        Ok(query)
    }

    /// Reads the JSON text of a query.
    ///
    /// # Errors
    ///
    /// As [`QueryRequest::from_value`].
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        Self::from_value(parse(text)?)
    }
}

fn key_condition(value: Value) -> Result<KeyCondition, RequestError> {
    let mut object = Object::new("key", value)?;
    let members = [object.take("exact"), object.take("prefix")];
    let (from, to) = (object.take("from").map(key), object.take("to").map(key));
    let condition = match (members, from, to) {
        ([Some(exact), None], None, None) => KeyCondition::Exact(key(exact)),
        ([None, Some(prefix)], None, None) => KeyCondition::Prefix(key(prefix)),
        ([None, None], None, None) => KeyCondition::All,
        ([None, None], from, to) => KeyCondition::Range { from, to },
        _ => {
            let rule = "takes `exact`, or `prefix`, or `from` and `to`";
            return Err(RequestError::new("key", rule));
        }
    };
    object.done()?;
    Ok(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        let request = MutationRequest::parse(
            r#"{"transaction": [
                  {"mutation": "upsert", "schema": "Flight", "records": [{"carrier": "UA"}]},
                  {"mutation": "delete", "schema": "Flight", "keys": [["UA", 1545], "AA"]}],
                "if": [{"schema": "Flight", "key": ["UA", 1545], "unchanged_since": 41},
                       {"schema": "Flight", "key": "AA", "absent": true}]}"#,
        )
        .unwrap();
        assert_eq!(request.mutations.len(), 2);
        assert_eq!(request.preconditions[0].condition, Condition::UnchangedSince(CommitNumber(41)));
        assert_eq!(request.preconditions[1].condition, Condition::Absent);
        let query = QueryRequest::parse(
            r#"{"schema": "Flight", "select": ["carrier"], "key": {"prefix": ["UA"]},
                "where": "distance > $min", "parameters": {"min": 5}, "sort": ["carrier desc"],
                "limit": 10, "cursor": null, "as_of": 42}"#,
        )
        .unwrap();
        assert_eq!(query.parameters["min"], Value::Int(5));
        assert_eq!(query.sort, ["carrier desc"]);
        assert_eq!(query.key, KeyCondition::Prefix(vec![Value::Text("UA".into())]));
        assert_eq!(query.as_of.as_deref(), Some("42"));
    }

    #[test]
    fn wrong_requests_name_the_place_and_the_rule() {
        for (text, place, rule) in [
            ("[]", "request", "must be an object, not array"),
            ("{", "request", ""),
            (r#"{"mutation": "drop", "schema": "A"}"#, "mutation", "must be create"),
            (r#"{"mutation": "create", "schema": "A-B"}"#, "schema", ""),
            (r#"{"mutation": "create", "schema": "A"}"#, "records", "is missing"),
            (r#"{"mutation": "create", "schema": "A", "records": [1]}"#, "records[0]", "object"),
            (
                r#"{"mutation": "create", "schema": "A", "records": [], "filter": 1}"#,
                "filter",
                "not a member",
            ),
            (
                r#"{"transaction": [{"mutation": "delete", "schema": "A"}]}"#,
                "transaction[0].keys",
                "is missing",
            ),
            (r#"{"transaction": [], "if": [{"schema": "A", "key": 1}]}"#, "if[0]", "exactly one"),
        ] {
            let error = MutationRequest::parse(text).unwrap_err();
            assert_eq!(error.place, place, "{text}");
            assert!(error.rule.contains(rule), "{text}: {error}");
        }
        for (text, place) in [
            (r#"{"schema": "A", "wheres": "x > 1"}"#, "wheres"),
            (r#"{"schema": "A", "where": 1}"#, "where"),
            (r#"{"schema": "A", "sort": ["a", 1]}"#, "sort[1]"),
            (r#"{"schema": "A", "parameters": []}"#, "parameters"),
            (r#"{"schema": "A", "distinct": 1}"#, "distinct"),
            (r#"{"schema": "A", "": 0}"#, "\"\""),
            (r#"{"schema": "A", "limit": 0}"#, "limit"),
            (r#"{"schema": "A", "limit": 1.5}"#, "limit"),
            (r#"{"schema": "A", "key": {"exact": 1, "from": 2}}"#, "key"),
            (r#"{"schema": "A", "select": "a"}"#, "select"),
            (r#"{"schema": "A", "as_of": -1}"#, "as_of"),
        ] {
            assert_eq!(QueryRequest::parse(text).unwrap_err().place, place, "{text}");
        }
    }
}
