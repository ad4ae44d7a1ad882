//! Queries: the values of one record, by position.

use super::super::error::{FoldDbError, MutationError, RequestError};
use super::super::fold_db::FoldDb;
use super::super::query::{KeyCondition, QueryRequest, readable};
use super::{OperationFilter, OperationQuery};
use crate::data_layer::SchemaEntry;
use crate::model::{FieldKind, Value};

/// Answers the fields in the order in which they are named.
pub(super) fn run(db: &FoldDb, query: &OperationQuery) -> Result<Vec<Value>, FoldDbError> {
    let entry = readable(&db.pool().operations().now(), &query.schema)?;
    let key = match &query.key {
        Some(key) => key.clone(),
        None if entry.schema.is_keyed() => {
            let names: Vec<_> = entry.schema.key.iter().map(ToString::to_string).collect();
            let rule = format!(
                "is missing: the records of `{}` have the key `{}`",
                query.schema,
                names.join("`, `")
            );
            return Err(RequestError::new("key", rule).into());
        }
        None => Vec::new(),
    };
    if let Some(filter) = &query.filter {
        check_filter(filter, &entry, &query.fields)?;
    }
    let request = QueryRequest {
        select: Some(query.fields.clone()),
        key: KeyCondition::Exact(key.clone()),
        ..QueryRequest::new(query.schema.clone())
    };
    let answer = db.query(&request)?;
    match answer.records.into_iter().next() {
        Some(record) => Ok(record.values),
        None => {
            let key = entry.schema.key_of(&key).map_err(|cause| {
                let schema = query.schema.clone();
                super::super::QueryError::InvalidKey { schema, cause: Box::new(cause) }
            })?;
            Err(MutationError::RecordNotFound { schema: query.schema.clone(), key }.into())
        }
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
