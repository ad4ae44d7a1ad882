//! The operation JSON of the first DataFold: one query or one mutation, in its words.
//!
//! `parse.rs` reads it, `mutate.rs` and `query.rs` say the same in the words of this version and
//! shape the answer.

mod filter;
mod mutate;
mod parse;
mod query;

use serde::{Serialize, Serializer};

use super::error::FoldDbError;
use super::fold_db::FoldDb;
use super::mutation::RecordInput;
use crate::data_layer::Receipt;
use crate::model::{SchemaName, Value};

pub use filter::OperationFilter;

/// One operation.
///
/// ```
/// use datafold::FoldDb;
/// use datafold::engine::{Operation, OperationAnswer};
///
/// let db = FoldDb::open("memory:")?;
/// let note = r#"{"name": "Note", "fields": {"title": {}, "text": {}}}"#;
/// let name = db.schemas().load_text(note, None)?.name;
/// db.schemas().approve_schema(&name)?;
/// db.execute(&Operation::parse(
///     r#"{"type": "mutation", "schema": "Note", "mutation_type": "create",
///         "data": {"title": "Hello"}}"#,
/// )?)?;
/// let answer = db.execute(&Operation::parse(
///     r#"{"type": "query", "schema": "Note", "fields": ["text", "title"]}"#,
/// )?)?;
/// let OperationAnswer::Values(values) = answer else { panic!("a query answers values") };
/// assert_eq!(values, [None::<&str>.into(), "Hello".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `{"type": "query", …}`.
    Query(OperationQuery),
    /// `{"type": "mutation", …}`.
    Mutation(OperationMutation),
}

/// A query for fields of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationQuery {
    /// The schema.
    pub schema: SchemaName,
    /// The key of the record, for a schema that has one.
    pub key: Option<Vec<Value>>,
    /// The fields, in the order of the answer; one may be named twice.
    pub fields: Vec<String>,
    /// Which elements of Range fields are answered.
    pub filter: Option<OperationFilter>,
}

/// A mutation of one record. The key fields of a schema that has some are among its data.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationMutation {
    /// The schema.
    pub schema: SchemaName,
    /// What it does.
    pub kind: OperationKind,
    /// The fields; at least one.
    pub data: RecordInput,
}

/// What a mutation does with the fields that its data name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationKind {
    /// Writes them into a new record, or into the one record of a schema without key.
    Create,
    /// Writes them into a record that exists.
    Update,
    /// Takes their values away, each of which must be there. If the data have key fields only,
    /// the record is deleted.
    Delete,
    /// Puts an element with this id, which must be absent, into Collection fields.
    AddToCollection(String),
    /// Replaces the element with this id, which must be there.
    UpdateToCollection(String),
    /// Removes the element with this id, which must be there.
    DeleteFromCollection(String),
}

/// What an operation is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationAnswer {
    /// The values of the fields of a query, in the order in which it names them.
    Values(Vec<Value>),
    /// The commit of a mutation.
    Written(Receipt),
}

impl Serialize for OperationAnswer {
    /// A query is an array, a mutation the object `{"commit", "time", "atoms"}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            OperationAnswer::Values(values) => values.serialize(serializer),
            OperationAnswer::Written(receipt) => {
                use serde::ser::SerializeStruct;
                let mut object = serializer.serialize_struct("Written", 3)?;
                object.serialize_field("commit", &receipt.commit.0)?;
                object.serialize_field("time", &receipt.time.to_string())?;
                object.serialize_field("atoms", &receipt.atoms)?;
                object.end()
            }
        }
    }
}

impl FoldDb {
    /// Carries out an operation.
    ///
    /// # Errors
    ///
    /// Those of [`FoldDb::query`] and [`FoldDb::mutate`], and [`FoldDbError::Request`] for what
    /// only this form can get wrong. Nothing was written.
    ///
    /// # Durability
    ///
    /// As [`FoldDb::mutate`].
    pub fn execute(&self, operation: &Operation) -> Result<OperationAnswer, FoldDbError> {
        match operation {
            Operation::Query(query) => query::run(self, query).map(OperationAnswer::Values),
            Operation::Mutation(mutation) => {
                mutate::run(self, mutation).map(OperationAnswer::Written)
            }
        }
    }
}
