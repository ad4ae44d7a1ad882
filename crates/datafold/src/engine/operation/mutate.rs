//! Mutations, said in the words of this version.

use super::super::error::{FoldDbError, MutationError, RequestError};
use super::super::fold_db::{FoldDb, FoldTransaction};
use super::super::mutation::{Mutation, MutationRequest, RecordInput};
use super::super::prepare::approved;
use super::{OperationKind, OperationMutation};
use crate::data_layer::{Receipt, SchemaEntry};
use crate::model::{FieldKind, FieldName, Value};

/// Carries out a mutation as one commit.
pub(super) fn run(db: &FoldDb, mutation: &OperationMutation) -> Result<Receipt, FoldDbError> {
    let catalogue = db.pool().operations().catalogue();
    let entry = approved(&catalogue, &mutation.schema)?;
    let (schema, data) = (mutation.schema.clone(), &mutation.data);
    let request = match &mutation.kind {
        OperationKind::Create => Mutation::create(schema, vec![data.clone()]),
        OperationKind::Update => Mutation::update(schema, vec![data.clone()]),
        OperationKind::Delete => {
            let names = data.keys().filter(|name| !entry.schema.is_key_field(name));
            let names: Vec<&String> = names.collect();
            if !names.is_empty() {
                return take_away(db, &entry, mutation, &names);
            }
            Mutation::delete(schema, vec![key_in(&entry, data)])
        }
        OperationKind::AddToCollection(id)
        | OperationKind::UpdateToCollection(id)
        | OperationKind::DeleteFromCollection(id) => {
            return db.mutate(&element_request(&entry, mutation, id)?);
        }
    };
    db.mutate(&MutationRequest::from(request))
}

/// The requests `put` and `remove` that do the same, one for each field.
fn element_request(
    entry: &SchemaEntry,
    mutation: &OperationMutation,
    id: &str,
) -> Result<MutationRequest, FoldDbError> {
    let schema = &entry.schema;
    let key = Value::Array(key_in(entry, &mutation.data));
    let data = mutation.data.iter().filter(|(name, _)| !schema.is_key_field(name));
    let mut steps = Vec::new();
    for (name, value) in data {
        if let Some(field) = schema.field(name)
            && field.kind != FieldKind::Collection
        {
            let kind = field.kind.as_str();
            let rule = format!("is a {kind} field; only Collection fields have elements with ids");
            return Err(RequestError::new(format!("data.{name}"), rule).into());
        }
        let (kind, elements, condition) = match mutation.kind {
            OperationKind::DeleteFromCollection(_) => {
                ("remove", Value::Array(vec![id.into()]), None)
            }
            OperationKind::AddToCollection(_) => ("put", element(id, value), Some("absent")),
            _ => ("put", element(id, value), Some("exists")),
        };
        let mut step = RecordInput::from([
            ("mutation".to_owned(), kind.into()),
            ("schema".to_owned(), schema.name.as_str().into()),
            ("key".to_owned(), key.clone()),
            ("field".to_owned(), name.as_str().into()),
            ("elements".to_owned(), elements),
        ]);
        if let Some(condition) = condition {
            step.insert("if".to_owned(), condition.into());
        }
        steps.push(Value::Object(step));
    }
    if steps.is_empty() {
        return Err(RequestError::new("data", "must name a Collection field").into());
    }
    let request = RecordInput::from([("transaction".to_owned(), Value::Array(steps))]);
    Ok(MutationRequest::from_value(Value::Object(request))?)
}

fn element(id: &str, value: &Value) -> Value {
    Value::Object(RecordInput::from([(id.to_owned(), value.clone())]))
}

/// Sets fields to null, each of which must have a value.
fn take_away(
    db: &FoldDb,
    entry: &SchemaEntry,
    mutation: &OperationMutation,
    names: &[&String],
) -> Result<Receipt, FoldDbError> {
    let schema = &entry.schema;
    let key = key_in(entry, &mutation.data);
    let mut record: RecordInput = mutation.data.clone();
    for name in names {
        record.insert((*name).clone(), Value::Null);
    }
    let update = Mutation::update(schema.name.clone(), vec![record]);
    let take = |transaction: &mut FoldTransaction<'_>| {
        let before = transaction.get(&schema.name, &key)?;
        // Also says what is wrong with the names and the record.
        transaction.mutate(update.clone())?;
        let is_null = |name: &str| match before.as_ref().map(|record| record.get(name)) {
            Some(Some(value)) => value.is_null(),
            _ => true,
        };
        let missing = schema.fields.iter().find(|field| {
            names.iter().any(|name| field.name.as_str() == name.as_str())
                && is_null(field.name.as_str())
        });
        match missing {
            None => Ok(()),
            Some(field) => Err(no_value(entry, &key, &field.name)),
        }
    };
    db.transact(take).map(|((), receipt)| receipt)
}

fn no_value(entry: &SchemaEntry, key: &[Value], field: &FieldName) -> FoldDbError {
    let schema = entry.schema.name.clone();
    match entry.schema.key_of(key) {
        Ok(key) => MutationError::ValueNotFound { schema, key, field: field.clone() }.into(),
        Err(cause) => {
            let place = "of the mutation".to_owned();
            MutationError::InvalidKey { schema, place, cause: Box::new(cause) }.into()
        }
    }
}

/// The values of the key fields, null where one is missing.
fn key_in(entry: &SchemaEntry, data: &RecordInput) -> Vec<Value> {
    let part = |name: &FieldName| data.get(name.as_str()).cloned().unwrap_or_default();
    entry.schema.key.iter().map(part).collect()
}
