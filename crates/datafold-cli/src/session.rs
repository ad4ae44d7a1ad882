//! An open store, and what its errors mean to the user of the command line.

use datafold::FoldDb;
use datafold::FoldDbError;
use datafold::data_layer::{DEFAULT_SPACE, DataLayerError, PoolOptions};
use datafold::engine::{MutationError, QueryError};
use datafold::model::SchemaName;

use crate::Done;
use crate::failure::Failure;
use crate::invocation::Invocation;

/// An open store.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// The space of the store.
    pub(crate) db: FoldDb,
    /// How the program was called.
    pub(crate) invocation: &'a Invocation,
}

impl<'a> Session<'a> {
    /// Opens the store that the program was called for.
    pub(crate) fn open(invocation: &'a Invocation) -> Result<Self, Failure> {
        Self::open_with(invocation, PoolOptions::default())
    }

    /// Opens the store as the options say; the space is the one that was named.
    pub(crate) fn open_with(
        invocation: &'a Invocation,
        options: PoolOptions,
    ) -> Result<Self, Failure> {
        Self::try_open(invocation, options).map_err(|error| explain(&error, invocation, None))
    }

    /// As [`Session::open_with`], with the library's error.
    pub(crate) fn try_open(
        invocation: &'a Invocation,
        options: PoolOptions,
    ) -> Result<Self, FoldDbError> {
        let space = invocation.space.as_deref().unwrap_or(DEFAULT_SPACE).to_owned();
        let db = FoldDb::open_with(&invocation.store, &PoolOptions { space, ..options })?;
        Ok(Self { db, invocation })
    }

    /// The failure that an error of the library means.
    pub(crate) fn fail(&self, error: &FoldDbError) -> Failure {
        explain(error, self.invocation, Some(&self.db))
    }

    /// Closes the store.
    pub(crate) fn close(self) -> Done {
        self.db.pool().close().map_err(|error| self.fail(&error.into()))
    }
}

/// The failure that an error means, with a hint where there is something to do.
pub(crate) fn explain(
    error: &FoldDbError,
    invocation: &Invocation,
    db: Option<&FoldDb>,
) -> Failure {
    let failure = Failure::from(error);
    match hint(error, invocation, db) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(error: &FoldDbError, invocation: &Invocation, db: Option<&FoldDb>) -> Option<String> {
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
        FoldDbError::DataLayer(DataLayerError::NotFound { what: "field", name }) => {
            let schema = name.split('.').next().unwrap_or_default();
            return Some(invocation.command(&format!("schema show {schema}")));
        }
        _ => {}
    }
    match error.code() {
        "store_not_found" => Some(format!(
            "create it with {}, or see {}",
            invocation.command("init"),
            invocation.with_default_store().command("quickstart"),
        )),
        "store_already_open" => {
            Some("a store is open in one process at a time; wait for the other, or end it".into())
        }
        "store_unfinished" => Some("run the migration to this place again".into()),
        "invalid_key" => Some(
            "a KEY is a scalar, or a JSON array such as '[\"UA\",1545]'; digits that are text \
             are quoted: '\"06\"'"
                .into(),
        ),
        _ => None,
    }
}

/// The schema that was perhaps meant, else how to list them.
fn closest_schema(wrong: &str, invocation: &Invocation, db: &FoldDb) -> String {
    let catalogue = db.pool().operations().catalogue();
    let names = catalogue.iter().map(|entry| &entry.schema.name);
    let lower = wrong.to_lowercase();
    let distance =
        |name: &SchemaName| strsim::damerau_levenshtein(&lower, &name.as_str().to_lowercase());
    let near = names.map(|name| (distance(name), name)).min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, name)) if distance <= (lower.chars().count() / 3).max(1) => {
            format!("did you mean `{name}`?")
        }
        Some(_) => format!("{} names those that exist", invocation.command("schema list")),
        None => format!("there are none yet: {}", invocation.command("schema load PATH")),
    }
}
