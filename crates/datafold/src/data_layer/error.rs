//! The one error hierarchy of the data layer.

use std::borrow::Cow;
use std::sync::Arc;

use datafold_store::encoding::KeyError;
use datafold_store::{Keyspace, StoreError};

use super::ids::CommitNumber;
use super::serialization::RowError;
use super::transform_check::TransformProblem;
use crate::model::{FieldName, RecordKeyError, SchemaError, SchemaName, Timestamp};

/// Why something in the data layer was not done.
///
/// Each variant has a stable [`DataLayerError::code`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataLayerError {
    /// The store could not be opened, read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row could not be decoded, or an item not be encoded.
    #[error(transparent)]
    Serialization(#[from] SerializationError),
    /// A commit was not made, or it is unknown whether it was.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// There is no such item.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// What was looked for: `schema`, `transform`, `space`…
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An item with that name exists and is another one.
    #[error("{what} `{name}` already exists{}", behind_blank(*note))]
    AlreadyExists {
        /// What was to be inserted.
        what: &'static str,
        /// Its name.
        name: String,
        /// What differs, if something does.
        note: Option<&'static str>,
    },
    /// A rule forbids it in the present state.
    #[error("{what} `{name}` {rule}")]
    Refused {
        /// What was to be changed.
        what: &'static str,
        /// Its name.
        name: String,
        /// The rule.
        rule: String,
    },
    /// Transforms of a schema that is to be approved are wrong. Nothing was changed.
    #[error("schema `{schema}` cannot be approved: {}", join(problems))]
    Transforms {
        /// The schema.
        schema: SchemaName,
        /// What is wrong, in the order of the fields; at least one.
        problems: Vec<TransformProblem>,
    },
    /// A name, key or argument breaks a rule.
    #[error("{what} {rule}")]
    InvalidData {
        /// The thing that is wrong.
        what: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The moment lies in the future, so what it shows could still change.
    #[error("{time} lies in the future; the last commit is {head}")]
    FutureMoment {
        /// The moment, as a commit number or a time.
        time: String,
        /// The last commit.
        head: CommitNumber,
    },
}

/// Why a commit was not made.
///
/// It can be cloned, since everything in a failed group fails for the same reason.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Something that the transaction had read was changed by another commit. Nothing was
    /// written; run it again.
    #[error("the transaction conflicts with commit {with}; run it again")]
    Conflict {
        /// The first commit found that changed what had been read.
        with: CommitNumber,
    },
    /// A transaction is larger than every engine takes. Nothing was written.
    #[error("the transaction has {found} {unit}, the limit is {limit}")]
    TooLarge {
        /// What was counted: `rows` or `bytes`.
        unit: &'static str,
        /// The largest number allowed.
        limit: usize,
        /// The number found.
        found: usize,
    },
    /// A record would have the same values as another one in a unique index. Nothing was written.
    #[error("record {record} of `{schema}` has the values of record {other} in {index}")]
    Duplicate {
        /// The schema of the index.
        schema: SchemaName,
        /// The index, as in `the unique index on a, b`.
        index: String,
        /// The key of the record that was to be written, as JSON.
        record: String,
        /// The key of the record that has the values, as JSON.
        other: String,
    },
    /// A transform that rejects what it cannot compute has no result for a record. Nothing was
    /// written.
    #[error("record {record}: {schema}.{field} cannot be computed: {rule}")]
    NotComputed {
        /// The schema of the transform.
        schema: SchemaName,
        /// The field that it computes.
        field: FieldName,
        /// The key of the record, as JSON.
        record: String,
        /// A name of the family of evaluation errors that never changes.
        code: Cow<'static, str>,
        /// What went wrong, with its place in the logic.
        rule: String,
    },
    /// The store did not take the batch. Nothing was written.
    #[error("the commit failed and nothing was written")]
    Failed(#[source] Arc<StoreError>),
    /// A commit that this one was executed on failed, so this one was not written either.
    #[error("a commit before this one failed, so this one was not written")]
    Cascaded(#[source] Arc<StoreError>),
    /// The commit may or may not be durable. The store must be opened again to find out.
    #[error("it is unknown whether commit {number} is durable; open the store again and look")]
    Indeterminate {
        /// The commit in question.
        number: CommitNumber,
        /// What the store said.
        #[source]
        source: Arc<StoreError>,
    },
    /// Another node has committed to the space meanwhile. Nothing was written.
    #[error("the space has moved on to commit {head} without this process; open it again")]
    Fenced {
        /// The head that the store has.
        head: CommitNumber,
    },
    /// The pool was closed.
    #[error("the database is closed")]
    Closed,
}

/// Why a row or an item has no valid encoding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerializationError {
    /// A stored row cannot be decoded: the store is damaged or from a faulty version.
    #[error("a row of `{keyspace}` under key {key} cannot be decoded")]
    Row {
        /// The keyspace of the row.
        keyspace: Keyspace,
        /// The key in hexadecimal digits.
        key: String,
        /// What is wrong with it.
        #[source]
        source: RowError,
    },
    /// A stored key cannot be decoded.
    #[error("the key {key} of `{keyspace}` cannot be decoded")]
    Key {
        /// The keyspace of the row.
        keyspace: Keyspace,
        /// The key in hexadecimal digits.
        key: String,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// A stored schema is none.
    #[error("the stored schema under key {key} is malformed")]
    Schema {
        /// The key in hexadecimal digits.
        key: String,
        /// What is wrong with it.
        #[source]
        source: SchemaError,
    },
    /// A record key is too long or holds what cannot be ordered.
    #[error(transparent)]
    RecordKey(#[from] RecordKeyError),
    /// A row points to another that is missing.
    #[error("{what} is missing")]
    Missing {
        /// The row that should be there.
        what: String,
    },
}

impl DataLayerError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            DataLayerError::Store(error) => error.code(),
            DataLayerError::Serialization(SerializationError::RecordKey(error)) => error.code(),
            DataLayerError::Serialization(_) => "corrupt_row",
            DataLayerError::Commit(error) => error.code(),
            DataLayerError::NotFound { .. } => "not_found",
            DataLayerError::AlreadyExists { .. } => "already_exists",
            DataLayerError::Refused { .. } => "refused",
            DataLayerError::Transforms { .. } => "invalid_transform",
            DataLayerError::InvalidData { .. } => "invalid_data",
            DataLayerError::FutureMoment { .. } => "future_moment",
        }
    }

    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        DataLayerError::NotFound { what, name: name.to_string() }
    }

    pub(crate) fn row(keyspace: Keyspace, key: &[u8], source: RowError) -> Self {
        SerializationError::Row { keyspace, key: hex(key), source }.into()
    }

    pub(crate) fn key(keyspace: Keyspace, key: &[u8], source: KeyError) -> Self {
        SerializationError::Key { keyspace, key: hex(key), source }.into()
    }

    pub(crate) fn missing(what: impl Into<String>) -> Self {
        SerializationError::Missing { what: what.into() }.into()
    }

    pub(crate) fn future(time: Timestamp, head: CommitNumber) -> Self {
        DataLayerError::FutureMoment { time: time.to_string(), head }
    }
}

impl CommitError {
    /// Whether it says what the records before it are the cause of, pending ones too.
    pub(crate) fn is_of_pending(&self) -> bool {
        matches!(self, CommitError::Duplicate { .. } | CommitError::NotComputed { .. })
    }

    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            CommitError::Conflict { .. } => "conflict",
            CommitError::Duplicate { .. } => "duplicate",
            CommitError::NotComputed { .. } => "not_computed",
            CommitError::TooLarge { .. } => "transaction_too_large",
            CommitError::Failed(_) => "commit_failed",
            CommitError::Cascaded(_) => "commit_cascaded",
            CommitError::Indeterminate { .. } => "commit_indeterminate",
            CommitError::Fenced { .. } => "commit_fenced",
            CommitError::Closed => "closed",
        }
    }
}

fn join(problems: &[TransformProblem]) -> String {
    let texts: Vec<_> = problems.iter().map(TransformProblem::to_string).collect();
    texts.join("; ")
}

fn behind_blank(note: Option<&str>) -> String {
    note.map(|note| format!(" {note}")).unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
