//! Reads operations.

use super::super::error::RequestError;
use super::super::request::{Object, key, parse, wrong};
use super::{Operation, OperationFilter, OperationKind, OperationMutation, OperationQuery};
use crate::model::Value;

/// The kinds of mutations, as the errors list them.
const KINDS: &str = "create, update, delete, add_to_collection:ID, update_to_collection:ID or \
                     delete_from_collection:ID";

impl Operation {
    /// Reads `{"type": "query", …}` or `{"type": "mutation", …}`. A member `description` is for
    /// people and passed over; any other that is not known is an error.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that names the member and the rule.
    pub fn from_value(operation: Value) -> Result<Self, RequestError> {
        let mut object = Object::new("request", operation)?;
        object.take("description");
        match object.text("type")?.as_str() {
            "query" => query(object).map(Operation::Query),
            "mutation" => mutation(object).map(Operation::Mutation),
            other => {
                let rule = format!("must be query or mutation, not `{other}`");
                Err(RequestError::new("type", rule))
            }
        }
    }

    /// Reads the JSON text of an operation.
    ///
    /// # Errors
    ///
    /// As [`Operation::from_value`]; text that is no JSON is an error of the place `request`.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        Self::from_value(parse(text)?)
    }
}

fn query(mut object: Object<'_>) -> Result<OperationQuery, RequestError> {
    let schema = object.schema()?;
    let fields = object.list("fields")?.into_iter().enumerate();
    let fields = fields.map(|(at, field)| match field {
        Value::Text(name) => Ok(name),
        other => Err(wrong(&format!("fields[{at}]"), "the name of a field", &other)),
    });
    let fields = fields.collect::<Result<_, _>>()?;
    let key = object.take("key").map(key);
    let filter = object.take("filter").map(OperationFilter::read);
    let filter = filter.transpose()?;
    object.done()?;
    Ok(OperationQuery { schema, key, fields, filter })
}

fn mutation(mut object: Object<'_>) -> Result<OperationMutation, RequestError> {
    let schema = object.schema()?;
    if object.members.contains_key("operation") {
        let rule = "is not a member known here; the kind of a mutation is `mutation_type`";
        return Err(RequestError::new("operation", rule));
    }
    let kind = kind(object.need("mutation_type")?)?;
    let data = match object.need("data")? {
        Value::Object(data) => data,
        other => return Err(wrong("data", "an object", &other)),
    };
    if object.take("filter").is_some() {
        let rule = "is not for mutations: the record is the one of the schema, or has the key \
                    fields that are in `data`";
        return Err(RequestError::new("filter", rule));
    }
    object.done()?;
    if data.is_empty() {
        return Err(RequestError::new("data", "must name one field at least"));
    }
    Ok(OperationMutation { schema, kind, data })
}

/// Reads the text form, upper and lower case taken as equal in front of the id, or the form
/// `{"AddToCollection": "ID"}`, in which a kind without id has null.
fn kind(value: Value) -> Result<OperationKind, RequestError> {
    const PLACE: &str = "mutation_type";
    let (name, id) = match value {
        Value::Text(text) => match text.split_once(':') {
            Some((name, id)) => (name.to_owned(), Some(id.to_owned())),
            None => (text, None),
        },
        Value::Object(members) if members.len() == 1 => {
            let (name, id) = members.into_iter().next().unwrap_or_default();
            match id {
                Value::Null => (name, None),
                Value::Text(id) => (name, Some(id)),
                other => {
                    return Err(wrong(&format!("{PLACE}.{name}"), "the id of an element", &other));
                }
            }
        }
        other => return Err(wrong(PLACE, KINDS, &other)),
    };
    let plain: String = name.to_lowercase().chars().filter(|c| *c != '_').collect();
    match (plain.as_str(), id) {
        ("create", None) => Ok(OperationKind::Create),
        ("update", None) => Ok(OperationKind::Update),
        ("delete", None) => Ok(OperationKind::Delete),
        ("create" | "update" | "delete", Some(id)) => {
            Err(RequestError::new(PLACE, format!("`{name}` takes no id, and has `{id}`")))
        }
        ("addtocollection" | "updatetocollection" | "deletefromcollection", None) => Err(
            RequestError::new(PLACE, format!("`{name}` needs the id of an element: `{name}:ID`")),
        ),
        ("addtocollection" | "updatetocollection" | "deletefromcollection", Some(id))
            if id.is_empty() =>
        {
            Err(RequestError::new(PLACE, format!("the id behind `{name}:` must not be empty")))
        }
        ("addtocollection", Some(id)) => Ok(OperationKind::AddToCollection(id)),
        ("updatetocollection", Some(id)) => Ok(OperationKind::UpdateToCollection(id)),
        ("deletefromcollection", Some(id)) => Ok(OperationKind::DeleteFromCollection(id)),
        _ => Err(RequestError::new(PLACE, format!("must be {KINDS}, not `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{ElementFilter, Glob};
    use super::*;

    fn kind_of(mutation_type: &str) -> Result<OperationKind, RequestError> {
        let text = format!(
            r#"{{"type": "mutation", "schema": "S", "mutation_type": {mutation_type},
                 "data": {{"a": 1}}, "description": "why"}}"#
        );
        Operation::parse(&text).map(|operation| match operation {
            Operation::Mutation(mutation) => mutation.kind,
            Operation::Query(_) => panic!("a mutation"),
        })
    }

    #[test]
    fn kinds_are_read_in_every_spelling_and_ids_as_they_are() {
        use OperationKind::{AddToCollection, Create, Delete, DeleteFromCollection};
        for (text, kind) in [
            (r#""create""#, Create),
            (r#""CREATE""#, Create),
            (r#"{"Delete": null}"#, Delete),
            (r#""add_to_collection:x""#, AddToCollection("x".into())),
            (r#""Add_To_Collection:User:Ab""#, AddToCollection("User:Ab".into())),
            (r#"{"AddToCollection": "X"}"#, AddToCollection("X".into())),
            (r#""delete_from_collection: ""#, DeleteFromCollection(" ".into())),
        ] {
            assert_eq!(kind_of(text).unwrap(), kind, "{text}");
        }
    }

    #[test]
    fn filters_are_read_with_and_without_a_field() {
        let filter = |text: &str| {
            let text = format!(r#"{{"type":"query","schema":"S","fields":["a"],"filter":{text}}}"#);
            match Operation::parse(&text).unwrap() {
                Operation::Query(query) => query.filter.unwrap(),
                Operation::Mutation(_) => panic!("a query"),
            }
        };
        let range = ElementFilter::KeyRange { start: Some("a".into()), end: Some("b".into()) };
        for (text, elements) in [
            (r#"{"Key": "k"}"#, ElementFilter::Key("k".into())),
            (r#"{"KeyPrefix": ""}"#, ElementFilter::KeyPrefix(String::new())),
            (r#"{"KeyRange": {"start": "a", "end": "b"}}"#, range),
            (r#"{"Keys": ["a", "b"]}"#, ElementFilter::Keys(vec!["a".into(), "b".into()])),
            (r#"{"KeyPattern": "*c?"}"#, ElementFilter::KeyPattern(Glob::new("*c?"))),
            (r#"{"Value": 5}"#, ElementFilter::Value(5.into())),
        ] {
            let expected = OperationFilter { field: None, elements };
            assert_eq!(filter(text), expected, "{text}");
            let framed = format!(r#"{{"field": "f", "range_filter": {text}}}"#);
            let expected = OperationFilter { field: Some("f".into()), ..expected };
            assert_eq!(filter(&framed), expected, "{text}");
        }
    }

    #[test]
    fn wrong_operations_name_the_place_and_the_rule() {
        let query = r#""type":"query","schema":"S","fields":["a"]"#;
        let mutation = r#""type":"mutation","schema":"S","mutation_type":"create","data":{"a":1}"#;
        for (text, place, rule) in [
            ("[]".to_owned(), "request", "must be an object"),
            ("{}".to_owned(), "type", "is missing"),
            (r#"{"type":"drop"}"#.to_owned(), "type", "query or mutation"),
            (r#"{"type":"query","fields":[]}"#.to_owned(), "schema", "is missing"),
            (r#"{"type":"query","schema":"S"}"#.to_owned(), "fields", "is missing"),
            (query.replace("\"a\"", "1"), "fields[0]", "the name of a field"),
            (format!("{query},\"filters\":1"), "filters", "not a member"),
            (format!("{query},\"filter\":1"), "filter", "an object"),
            (format!("{query},\"filter\":{{}}"), "filter", "exactly one of"),
            (format!("{query},\"filter\":{{\"Key\":1}}"), "filter.Key", "text"),
            (format!("{query},\"filter\":{{\"gt\":1}}"), "filter", "exactly one of"),
            (format!("{query},\"filter\":{{\"Keys\":[1]}}"), "filter.Keys[0]", "text"),
            (
                format!("{query},\"filter\":{{\"KeyRange\":{{\"start\":\"a\"}}}}"),
                "filter.KeyRange",
                "`start` and `end`",
            ),
            (
                format!("{query},\"filter\":{{\"field\":\"a\"}}"),
                "filter.range_filter",
                "is missing",
            ),
            (
                format!("{query},\"filter\":{{\"field\":\"a\",\"operator\":\"gt\",\"value\":1}}"),
                "filter.operator",
                "Range field",
            ),
            (mutation.replace("create", "drop"), "mutation_type", "must be create"),
            (mutation.replace("create", "create:x"), "mutation_type", "takes no id"),
            (mutation.replace("create", "add_to_collection"), "mutation_type", "needs the id"),
            (mutation.replace("create", "add_to_collection:"), "mutation_type", "empty"),
            (mutation.replace("mutation_type", "operation"), "operation", "`mutation_type`"),
            (mutation.replace("{\"a\":1}", "{}"), "data", "one field"),
            (mutation.replace("{\"a\":1}", "[1]"), "data", "an object"),
            (format!("{mutation},\"filter\":{{\"a\":1}}"), "filter", "not for mutations"),
            (format!("{mutation},\"trust_distance\":0"), "trust_distance", "not a member"),
        ] {
            let text = if text.starts_with(['{', '[']) { text } else { format!("{{{text}}}") };
            let error = Operation::parse(&text).unwrap_err();
            assert_eq!(error.place, place, "{text}");
            assert!(error.rule.contains(rule), "{text}: {error}");
        }
    }
}
