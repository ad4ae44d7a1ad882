//! What a user can do about an error.

use datafold::data_layer::DataLayerError;
use datafold::engine::{MutationError, QueryError};
use datafold::{FoldDb, FoldDbError};

use crate::invocation::Invocation;

/// What the user can do about an error.
pub(crate) fn hint(
    error: &FoldDbError,
    invocation: &Invocation,
    db: Option<&FoldDb>,
) -> Option<String> {
    match error {
        FoldDbError::Mutation(MutationError::UnknownSchema { schema })
        | FoldDbError::Query(QueryError::UnknownSchema { schema, at: None }) => {
            return Some(closest_schema(schema.as_str(), invocation, db?));
        }
        FoldDbError::Query(QueryError::UnknownSchema { schema, at: Some(_) }) => {
            let loaded = db?.pool().schemas().entry(schema.as_str())?.loaded;
            return Some(format!("it was loaded in commit {loaded}"));
        }
        FoldDbError::DataLayer(DataLayerError::NotFound { what: "schema", name }) => {
            return Some(closest_schema(name, invocation, db?));
        }
        FoldDbError::Mutation(MutationError::NotApproved { schema, .. })
        | FoldDbError::Query(QueryError::NotApproved { schema, .. }) => {
            return Some(invocation.command(&format!("schema approve {schema}")));
        }
        FoldDbError::DataLayer(DataLayerError::NotFound { what: "space", .. }) => {
            return Some(format!("create it with {}", invocation.command("init")));
        }
        FoldDbError::DataLayer(DataLayerError::NotFound { what: "transform", name }) => {
            return Some(closest_transform(name, invocation, db?));
        }
        FoldDbError::DataLayer(DataLayerError::NotFound { what: "field", name }) => {
            let schema = name.split('.').next().unwrap_or_default();
            return Some(invocation.command(&format!("schema show {schema}")));
        }
        FoldDbError::Mutation(
            MutationError::UnknownField { schema, .. }
            | MutationError::InvalidValue { schema, .. }
            | MutationError::NoElements { schema, .. }
            | MutationError::InvalidElements { schema, .. }
            | MutationError::NotWritable { schema, .. },
        )
        | FoldDbError::Query(QueryError::UnknownField { schema, .. }) => {
            let show = invocation.command(&format!("schema show {schema}"));
            return Some(format!("{show} tells the fields and what they accept"));
        }
        FoldDbError::Query(QueryError::Expression { .. } | QueryError::Evaluation { .. }) => {
            return Some("docs/language.md is the reference of expressions".into());
        }
        FoldDbError::Query(QueryError::InvalidClause { .. }) => {
            return Some("docs/queries.md tells what stands where".into());
        }
        _ => {}
    }
    by_code(error.code(), invocation)
}

/// What can be done about every error of a kind.
fn by_code(code: &str, invocation: &Invocation) -> Option<String> {
    match code {
        "store_not_found" => Some(format!(
            "create it with {}, or see {}",
            invocation.command("init"),
            invocation.with_default_store().command("quickstart"),
        )),
        "store_unfinished" => Some("run the migration to this place again".into()),
        "store_already_open" => {
            Some("a store is open in one process at a time; wait for the other, or end it".into())
        }
        "invalid_key" => Some(
            "a KEY is a scalar, or a JSON array such as '[\"UA\",1545]'; digits that are text \
             are quoted: '\"06\"'"
                .into(),
        ),
        "revert_conflict" => Some(
            "with --force it becomes what it was all the same; `history` tells who wrote".into(),
        ),
        "revert_of_catalogue" => Some("`schema` sets the states of schemas".into()),
        "duplicate" => Some("`schema index NAME` lists the indexes of a schema".into()),
        "record_exists" => Some("an `update` or `upsert` writes into a record that exists".into()),
        "record_not_found" => Some("a `create` or `upsert` makes a record".into()),
        "element_exists" => {
            Some("a put with \"if\": \"exists\", or without it, replaces it".into())
        }
        "element_not_found" => Some("a put without \"if\", or with \"absent\", makes it".into()),
        "elements_not_empty" => Some("take them away with `remove`, by their keys".into()),
        "too_many_elements" => {
            Some(format!("{} reads them by page", invocation.command("elements SCHEMA KEY FIELD")))
        }
        "value_not_found" => Some("name only fields that have a value".into()),
        "precondition_failed" => Some("read the record as it is now, and decide again".into()),
        "value_too_large" | "transaction_too_large" => {
            Some("divide it; several mutations need not be one transaction".into())
        }
        "invalid_cursor" => {
            Some("a cursor goes on with the query that gave it; leave it out to begin anew".into())
        }
        "future_moment" => Some("leave the moment out to read what is now".into()),
        "invalid_request" => Some("--help of the command shows the form".into()),
        "not_a_store" => Some("name a new folder, or one that holds a store".into()),
        "invalid_store_url" => Some("a store is a folder, redb:FOLDER or memory:".into()),
        "unknown_format" => Some("use the version of DataFold that wrote the store".into()),
        "store_corrupted" | "corrupt_row" => {
            Some(format!("{} tells what is damaged", invocation.command("verify")))
        }
        "commit_indeterminate" | "store_poisoned" => {
            Some("call the command again: the store is opened anew and looked at".into())
        }
        "invalid_data" => Some("choose another name".into()),
        "refused" => Some(format!("{} tells the states", invocation.command("schema status"))),
        _ => None,
    }
}

/// The schema that was perhaps meant, else how to list them.
/// The computed field that may have been meant.
fn closest_transform(wrong: &str, invocation: &Invocation, db: &FoldDb) -> String {
    let catalogue = db.pool().operations().catalogue();
    let names = catalogue.computed().map(|found| format!("{}.{}", found.schema, found.field));
    match closest(wrong, names) {
        Some((true, name)) => format!("did you mean `{name}`?"),
        Some(_) => format!("{} names those that exist", invocation.command("transform list")),
        None => "no field of an approved schema is computed; docs/transforms.md tells how".into(),
    }
}

/// The nearest of some names, and whether it is near enough.
fn closest(wrong: &str, names: impl Iterator<Item = String>) -> Option<(bool, String)> {
    let lower = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let near = names.map(|name| (distance(&name), name)).min_by_key(|(distance, _)| *distance);
    near.map(|(distance, name)| (distance <= (lower.chars().count() / 3).max(1), name))
}

fn closest_schema(wrong: &str, invocation: &Invocation, db: &FoldDb) -> String {
    let catalogue = db.pool().operations().catalogue();
    match closest(wrong, catalogue.iter().map(|entry| entry.schema.name.to_string())) {
        Some((true, name)) => format!("did you mean `{name}`?"),
        Some(_) => format!("{} names those that exist", invocation.command("schema list")),
        None => format!("there are none yet: {}", invocation.command("schema load PATH")),
    }
}
