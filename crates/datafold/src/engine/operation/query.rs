//! Queries: the values of one record, by position.

use std::collections::BTreeMap;

use super::super::elements::ElementQuery;
use super::super::error::{FoldDbError, MutationError, QueryError, RequestError};
use super::super::fold_db::FoldDb;
use super::super::query::{KeyCondition, QueryAnswer, QueryRequest, readable};
use super::{OperationFilter, OperationQuery};
use crate::data_layer::SchemaEntry;
use crate::model::{FieldKind, Value};

/// Answers the fields in the order in which they are named. A filtered Range field is answered by
/// `{"matches": {…}, "total_count": n}`.
pub(super) fn run(db: &FoldDb, query: &OperationQuery) -> Result<Vec<Value>, FoldDbError> {
    let entry = readable(&db.pool().operations().now(), &query.schema)?;
    let key = key_of(query, &entry)?;
    if let Some(filter) = &query.filter {
        check_filter(filter, &entry, &query.fields)?;
    }
    let is_filtered = |name: &String| match &query.filter {
        None => false,
        Some(OperationFilter { field: Some(field), .. }) => field == name,
        Some(OperationFilter { field: None, .. }) => {
            entry.schema.field(name).is_some_and(|field| field.kind == FieldKind::Range)
        }
    };
    let whole = query.fields.iter().filter(|name| !is_filtered(name)).cloned().collect();
    let request = QueryRequest {
        select: Some(whole),
        key: KeyCondition::Exact(key.clone()),
        ..QueryRequest::new(query.schema.clone())
    };
    let QueryAnswer { records, commit, .. } = db.query(&request)?;
    let Some(record) = records.into_iter().next() else {
        return Err(record_not_found(query, &entry, &key));
    };
    let mut whole = record.values.into_iter();
    let mut values = Vec::with_capacity(query.fields.len());
    for name in &query.fields {
        values.push(match &query.filter {
            Some(filter) if is_filtered(name) => {
                let elements = ElementQuery {
                    filter: filter.elements.clone(),
                    // Everything that is answered is of one moment.
                    as_of: Some(commit.to_string()),
                    ..ElementQuery::new(query.schema.clone(), key.clone(), name.as_str())
                };
                matches(db, &elements)?
            }
            _ => whole.next().unwrap_or_default(),
        });
    }
    Ok(values)
}

fn matches(db: &FoldDb, query: &ElementQuery) -> Result<Value, FoldDbError> {
    let elements = db.elements(query)?.elements;
    let count = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let matches = elements.into_iter().map(|element| (element.key, element.value));
    let matches: BTreeMap<String, Value> = matches.collect();
    let members = [
        ("matches".to_owned(), Value::Object(matches)),
        ("total_count".to_owned(), Value::Int(count)),
    ];
    Ok(Value::Object(BTreeMap::from(members)))
}

/// The key of the record: that of a schema without key is `[]`.
fn key_of(query: &OperationQuery, entry: &SchemaEntry) -> Result<Vec<Value>, RequestError> {
    match &query.key {
        Some(key) => Ok(key.clone()),
        None if entry.schema.is_keyed() => {
            let names: Vec<_> = entry.schema.key.iter().map(ToString::to_string).collect();
            let names = names.join("`, `");
            let rule =
                format!("is missing: the records of `{}` have the key `{names}`", query.schema);
            Err(RequestError::new("key", rule))
        }
        None => Ok(Vec::new()),
    }
}

fn record_not_found(query: &OperationQuery, entry: &SchemaEntry, key: &[Value]) -> FoldDbError {
    let schema = query.schema.clone();
    match entry.schema.key_of(key) {
        Ok(key) => MutationError::RecordNotFound { schema, key }.into(),
        Err(cause) => QueryError::InvalidKey { schema, cause: Box::new(cause) }.into(),
    }
}

/// A filter that would choose nothing of the answer is an error, not silence.
fn check_filter(
    filter: &OperationFilter,
    entry: &SchemaEntry,
    fields: &[String],
) -> Result<(), RequestError> {
    let kind = |name: &String| entry.schema.field(name).map(|field| field.kind);
    let rule = match &filter.field {
        Some(name) if !fields.contains(name) => {
            format!("`{name}` is not among the fields of the query")
        }
        Some(name) => match kind(name) {
            Some(FieldKind::Range) | None => return Ok(()),
            Some(kind) => {
                format!("`{name}` is a {} field; filters are for Range fields", kind.as_str())
            }
        },
        None if fields.iter().any(|name| kind(name) == Some(FieldKind::Range)) => return Ok(()),
        None => "none of the fields of the query is a Range field".to_owned(),
    };
    let place = if filter.field.is_some() { "filter.field" } else { "filter" };
    Err(RequestError::new(place, rule))
}
