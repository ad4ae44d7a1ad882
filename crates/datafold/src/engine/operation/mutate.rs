//! Mutations, said in the words of this version.

use std::collections::BTreeMap;

use super::super::element_filter::ElementFilter;
use super::super::error::{FoldDbError, MutationError, RequestError};
use super::super::fold_db::FoldDb;
use super::super::mutation::{Mutation, MutationRequest, PutCondition, RecordInput};
use super::super::prepare::approved;
use super::super::request::texts;
use super::super::transaction::FoldTransaction;
use super::{OperationKind, OperationMutation};
use crate::data_layer::{Receipt, SchemaEntry};
use crate::model::{FieldKind, FieldName, Value};

/// Carries out a mutation as one commit.
pub(super) fn run(db: &FoldDb, mutation: &OperationMutation) -> Result<Receipt, FoldDbError> {
    let catalogue = db.pool().operations().catalogue();
    let entry = approved(&catalogue, &mutation.schema)?;
    let (schema, data) = (mutation.schema.clone(), vec![mutation.data.clone()]);
    let request = match &mutation.kind {
        OperationKind::Create => Mutation::create(schema, data).into(),
        OperationKind::Update => Mutation::update(schema, data).into(),
        OperationKind::Delete => return delete(db, &entry, mutation),
        OperationKind::AddToCollection(id)
        | OperationKind::UpdateToCollection(id)
        | OperationKind::DeleteFromCollection(id) => collection(&entry, mutation, id)?,
    };
    db.mutate(&request)
}

/// The mutation of one element of each Collection that the data name.
fn collection(
    entry: &SchemaEntry,
    mutation: &OperationMutation,
    id: &str,
) -> Result<MutationRequest, RequestError> {
    let schema = &entry.schema;
    let key = key_in(entry, &mutation.data);
    let mut mutations = Vec::new();
    for (name, value) in mutation.data.iter().filter(|(name, _)| !schema.is_key_field(name)) {
        if let Some(field) = schema.field(name)
            && field.kind != FieldKind::Collection
        {
            let kind = field.kind.as_str();
            let rule = format!("is a {kind} field; only Collection fields have elements with ids");
            return Err(RequestError::new(format!("data.{name}"), rule));
        }
        let (schema, key, field) = (schema.name.clone(), key.clone(), name.clone());
        let condition = match mutation.kind {
            OperationKind::AddToCollection(_) => PutCondition::Absent,
            OperationKind::UpdateToCollection(_) => PutCondition::Exists,
            _ => {
                mutations.push(Mutation::remove(schema, key, field, vec![id.to_owned()]));
                continue;
            }
        };
        if value.is_null() {
            let rule = "must not be null; delete_from_collection takes an element away";
            return Err(RequestError::new(format!("data.{name}"), rule));
        }
        let elements = BTreeMap::from([(id.to_owned(), value.clone())]);
        let condition = Some(condition);
        mutations.push(Mutation::Put { schema, key, field, elements, condition });
    }
    if mutations.is_empty() {
        return Err(RequestError::new("data", "must name a Collection field"));
    }
    Ok(MutationRequest { mutations, preconditions: Vec::new() })
}

/// Deletes the record if only its key is given, else the values of the fields.
fn delete(
    db: &FoldDb,
    entry: &SchemaEntry,
    mutation: &OperationMutation,
) -> Result<Receipt, FoldDbError> {
    let schema = &entry.schema;
    let key = key_in(entry, &mutation.data);
    if mutation.data.keys().all(|name| schema.is_key_field(name)) {
        return db.mutate(&Mutation::delete(schema.name.clone(), vec![key]).into());
    }
    let take = |transaction: &mut FoldTransaction<'_>| {
        for step in deletions(transaction, entry, &key, &mutation.data)? {
            transaction.mutate(step)?;
        }
        Ok(())
    };
    db.transact(take).map(|((), receipt)| receipt)
}

/// The mutations that take the values away, each of which must be there.
fn deletions(
    transaction: &mut FoldTransaction<'_>,
    entry: &SchemaEntry,
    key: &[Value],
    data: &RecordInput,
) -> Result<Vec<Mutation>, FoldDbError> {
    let name = &entry.schema.name;
    let mut record = data.clone();
    record.retain(|field, _| entry.schema.is_key_field(field));
    let mut removals = Vec::new();
    for (field_name, value) in data.iter().filter(|(name, _)| !entry.schema.is_key_field(name)) {
        let field = entry.schema.field(field_name);
        let elements = match field.map(|field| field.kind) {
            Some(FieldKind::Range) => range_elements(transaction, entry, key, field_name, value)?,
            Some(FieldKind::Collection) => {
                let rule = "is a Collection field; its elements are taken away by \
                            delete_from_collection:ID";
                return Err(RequestError::new(format!("data.{field_name}"), rule).into());
            }
            // What is wrong with a name that no field has, the update says.
            Some(_) | None => {
                record.insert(field_name.clone(), Value::Null);
                continue;
            }
        };
        if let (Some(field), true) = (field, elements.is_empty()) {
            return Err(no_value(entry, key, &field.name));
        }
        removals.push(Mutation::remove(name.clone(), key.to_vec(), field_name, elements));
    }
    let nulls: Vec<_> = record.keys().filter(|name| !entry.schema.is_key_field(name)).collect();
    if nulls.is_empty() {
        return Ok(removals);
    }
    for field in nulls.into_iter().filter_map(|name| entry.schema.field(name)) {
        let is_writable = field.writable && field.transform.is_none();
        if is_writable && transaction.value(name, key, &field.name)?.is_none() {
            return Err(no_value(entry, key, &field.name));
        }
    }
    removals.push(Mutation::update(name.clone(), vec![record]));
    Ok(removals)
}

/// The keys of the elements that are to be removed: those that are listed, or with null all.
fn range_elements(
    transaction: &mut FoldTransaction<'_>,
    entry: &SchemaEntry,
    key: &[Value],
    field: &str,
    value: &Value,
) -> Result<Vec<String>, FoldDbError> {
    let place = format!("data.{field}");
    match value {
        Value::Array(_) => Ok(texts(&place, value.clone())?),
        Value::Null => {
            let name = &entry.schema.name;
            let found = transaction.elements(name, key, field, &ElementFilter::All, None)?;
            Ok(found.into_iter().map(|element| element.key).collect())
        }
        _ => {
            let rule = "must be an array of the elements' keys, or null for all of them";
            Err(RequestError::new(place, rule).into())
        }
    }
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
