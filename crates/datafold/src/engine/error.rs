//! Why a request was not answered.

use datafold_lang::{CompileError, EvalError};
use datafold_store::StoreError;

use super::revert::RevertError;
use crate::data_layer::{CommitError, CommitNumber, DataLayerError};
use crate::model::{
    FieldName, KeyOfError, PriceError, RecordKey, RecordKeyError, SchemaError, SchemaName,
    SchemaState, Value, ValueError,
};

/// What kind of answer an error is; the command line's exit codes and HTTP's status follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Something that was named does not exist.
    NotFound,
    /// A state, policy or precondition forbids it.
    Refused,
    /// The request or its data break a rule.
    Invalid,
    /// The store cannot be used.
    Store,
    /// Anything else.
    Failed,
}

/// Why a request to a [`super::FoldDb`] was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldDbError {
    /// The data layer refused or failed.
    #[error(transparent)]
    DataLayer(#[from] DataLayerError),
    /// A schema file or text is invalid.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A mutation was refused; nothing was written.
    #[error(transparent)]
    Mutation(#[from] MutationError),
    /// A query cannot be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The request's JSON has the wrong shape.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A commit cannot be reverted; nothing was written.
    #[error(transparent)]
    Revert(#[from] RevertError),
}

/// The JSON of a request has the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}")]
pub struct RequestError {
    /// The member that is wrong, such as `records[2]`, or `request` for the whole.
    pub place: String,
    /// The rule that it breaks.
    pub rule: String,
}

impl RequestError {
    pub(crate) fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { place: place.into(), rule: rule.into() }
    }
}

/// Why a mutation was not committed. Nothing of its transaction was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MutationError {
    /// There is no schema with that name.
    #[error("schema `{schema}` does not exist")]
    UnknownSchema {
        /// The name.
        schema: SchemaName,
    },
    /// The owner has not approved the schema.
    #[error("schema `{schema}` is {state}; only approved schemas can be written and queried")]
    NotApproved {
        /// The schema.
        schema: SchemaName,
        /// Its state.
        state: SchemaState,
    },
    /// The schema has no such field.
    #[error(
        "record {place}: `{schema}` has no field `{field}`{}",
        did_you_mean(suggestion.as_ref())
    )]
    UnknownField {
        /// The schema.
        schema: SchemaName,
        /// The name as given.
        field: String,
        /// Which record of the mutation: its key, or its place from 1 on.
        place: String,
        /// A field with a similar name.
        suggestion: Option<FieldName>,
    },
    /// The field is not for users to write.
    #[error("record {place}: {schema}.{field} cannot be written: {rule}")]
    NotWritable {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// Why.
        rule: &'static str,
    },
    /// The value breaks the field's JSON Schema or a limit.
    #[error(
        "record {place}: {schema}.{field}{} does not accept the value: {cause}",
        in_brackets(element.as_deref())
    )]
    InvalidValue {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// The element, if it is the value of one.
        element: Option<String>,
        /// The rule.
        #[source]
        cause: Box<ValueError>,
    },
    /// A value is larger than any engine takes.
    #[error(
        "record {place}: {schema}.{field}{} has {found} bytes, the limit is {limit}",
        in_brackets(element.as_deref())
    )]
    ValueTooLarge {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// The element, if it is the value of one.
        element: Option<String>,
        /// The encoded size, in bytes.
        found: usize,
        /// The largest size, in bytes.
        limit: usize,
    },
    /// The field has one value and no elements.
    #[error("record {place}: {schema}.{field} is a Single field and has no elements; {rule}")]
    NoElements {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// What does it.
        rule: &'static str,
    },
    /// What is given for a field with elements is not a set of elements.
    #[error("record {place}: the elements of {schema}.{field} {rule}")]
    InvalidElements {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// The rule.
        rule: String,
    },
    /// An element key is too long.
    #[error("record {place}: the element key {} of {schema}.{field}: {cause}", quoted(element))]
    InvalidElementKey {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
        /// Which record of the mutation.
        place: String,
        /// The element key.
        element: String,
        /// The rule.
        #[source]
        cause: RecordKeyError,
    },
    /// The key is missing, of the wrong type, or too long.
    #[error("record {place} of `{schema}`: {cause}")]
    InvalidKey {
        /// The schema.
        schema: SchemaName,
        /// Which record of the mutation.
        place: String,
        /// The rule.
        #[source]
        cause: Box<KeyOfError>,
    },
    /// `create` for a record that exists.
    #[error("record {key} of `{schema}` already exists")]
    RecordExists {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
    },
    /// `update` or `delete` for a record that does not exist.
    #[error("record {key} of `{schema}` does not exist")]
    RecordNotFound {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
    },
    /// A field that is to lose its value has none.
    #[error("record {key} of `{schema}`: the field `{field}` has no value to delete")]
    ValueNotFound {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
    },
    /// A put with `"if": "absent"` for an element that exists.
    #[error("element {} of {schema}.{field} of record {key} already exists", quoted(element))]
    ElementExists {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
        /// The element.
        element: String,
    },
    /// `remove`, or a put with `"if": "exists"`, for an element that does not exist.
    #[error("element {} of {schema}.{field} of record {key} does not exist", quoted(element))]
    ElementNotFound {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
        /// The element.
        element: String,
    },
    /// Null is given for a field that has elements, or a record is deleted that shows the elements
    /// of another schema's: they are taken away by name.
    #[error(
        "record {key}: {schema}.{field} has {found} elements, which this does not take away; \
         `remove` does, by element"
    )]
    ElementsNotEmpty {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
        /// How many elements it has.
        found: u64,
    },
    /// A precondition on an element does not hold; read again and decide.
    #[error(
        "element {} of {schema}.{field} of record {key} {found}, but the precondition is that it \
         {expected}",
        quoted(element)
    )]
    ElementPreconditionFailed {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
        /// The element.
        element: Box<str>,
        /// The condition.
        expected: Box<str>,
        /// What holds instead.
        found: Box<str>,
    },
    /// A precondition does not hold; read again and decide.
    #[error("record {key} of `{schema}` {found}, but the precondition is that it {expected}")]
    PreconditionFailed {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The condition.
        expected: String,
        /// What holds instead.
        found: String,
    },
}

impl MutationError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            MutationError::UnknownSchema { .. } => "schema_not_found",
            MutationError::NotApproved { .. } => "schema_not_approved",
            MutationError::UnknownField { .. } => "unknown_field",
            MutationError::NotWritable { .. } => "field_not_writable",
            MutationError::InvalidValue { .. } => "invalid_value",
            MutationError::ValueTooLarge { .. } => "value_too_large",
            MutationError::InvalidKey { .. } => "invalid_key",
            MutationError::RecordExists { .. } => "record_exists",
            MutationError::RecordNotFound { .. } => "record_not_found",
            MutationError::ValueNotFound { .. } => "value_not_found",
            MutationError::NoElements { .. } => "no_elements",
            MutationError::InvalidElements { .. } => "invalid_elements",
            MutationError::InvalidElementKey { .. } => "invalid_element_key",
            MutationError::ElementExists { .. } => "element_exists",
            MutationError::ElementNotFound { .. } => "element_not_found",
            MutationError::ElementsNotEmpty { .. } => "elements_not_empty",
            MutationError::ElementPreconditionFailed { .. }
            | MutationError::PreconditionFailed { .. } => "precondition_failed",
        }
    }
}

/// Why a query cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There is no schema with that name, or there was none at the moment asked for.
    #[error("schema `{schema}` does not exist{}", as_of(*at))]
    UnknownSchema {
        /// The name.
        schema: SchemaName,
        /// The moment, for a schema that was loaded later.
        at: Option<CommitNumber>,
    },
    /// The owner has not approved the schema.
    #[error("schema `{schema}` is {state}; only approved schemas can be written and queried")]
    NotApproved {
        /// The schema.
        schema: SchemaName,
        /// Its state.
        state: SchemaState,
    },
    /// The schema has no such field.
    #[error("`{schema}` has no field `{field}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownField {
        /// The schema.
        schema: SchemaName,
        /// The name as given.
        field: String,
        /// A field with a similar name.
        suggestion: Option<FieldName>,
    },
    /// The key has too many parts, or one of the wrong type.
    #[error("the key of `{schema}`: {cause}")]
    InvalidKey {
        /// The schema.
        schema: SchemaName,
        /// The rule.
        #[source]
        cause: Box<KeyOfError>,
    },
    /// The field has one value and no elements.
    #[error("{schema}.{field} is a Single field and has no elements; a query reads it")]
    NoElements {
        /// The schema.
        schema: SchemaName,
        /// The field.
        field: FieldName,
    },
    /// Few elements of a field stand in a record, and not more bytes than
    /// [`super::INLINE_BYTES_MAX`].
    #[error(
        "{schema}.{field} of record {key} has more than {limit} elements, or more than 16 MiB of \
         them; leave it out of `select`, and read it by pages: `elements {schema} KEY {field}`"
    )]
    TooManyElements {
        /// The schema.
        schema: SchemaName,
        /// The record.
        key: RecordKey,
        /// The field.
        field: FieldName,
        /// The largest number that is answered inline.
        limit: usize,
    },
    /// The cursor is not one of this query's.
    #[error("the cursor is not one that this query has given")]
    InvalidCursor,
    /// An expression of the query does not compile.
    #[error("{place}: {error}")]
    Expression {
        /// Where it stands in the request, such as `where` or `sort[0]`.
        place: String,
        /// What is wrong with it, and where.
        error: Box<CompileError>,
    },
    /// An expression has no result for a record.
    #[error("{place}{}: {error}", of_record(record.as_ref()))]
    Evaluation {
        /// Where it stands in the request.
        place: String,
        /// The record; a group has none.
        record: Option<RecordKey>,
        /// What went wrong, and where.
        #[source]
        error: Box<EvalError>,
    },
    /// A part of the query breaks a rule.
    #[error("{place}: {rule}")]
    InvalidClause {
        /// Where it stands in the request, such as `aggregates[0]`.
        place: String,
        /// The rule.
        rule: String,
    },
    /// A sort would take too much memory.
    #[error(
        "the sort of this query takes more than {} MiB of memory; choose fewer records with \
         `where` or a key, or set a `limit`",
        limit >> 20
    )]
    TooLarge {
        /// The most bytes.
        limit: usize,
    },
    /// The groups would take too much memory.
    #[error(
        "the groups of this query take more than {} MiB of memory; choose fewer records with \
         `where` or a key, or group by fewer values",
        limit >> 20
    )]
    TooManyGroups {
        /// The most bytes.
        limit: usize,
    },
    /// The caller of the query ended it.
    #[error("the query was interrupted")]
    Interrupted,
    /// The price that was asked for is too large.
    #[error(transparent)]
    Price(PriceError),
}

impl QueryError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::UnknownSchema { .. } => "schema_not_found",
            QueryError::NotApproved { .. } => "schema_not_approved",
            QueryError::UnknownField { .. } => "unknown_field",
            QueryError::InvalidKey { .. } => "invalid_key",
            QueryError::NoElements { .. } => "no_elements",
            QueryError::TooManyElements { .. } => "too_many_elements",
            QueryError::InvalidCursor => "invalid_cursor",
            QueryError::Expression { error, .. } => error.code(),
            QueryError::Evaluation { error, .. } => error.code(),
            QueryError::InvalidClause { .. } => "invalid_clause",
            QueryError::TooLarge { .. } | QueryError::TooManyGroups { .. } => "query_too_large",
            QueryError::Interrupted => "interrupted",
            QueryError::Price(error) => error.code(),
        }
    }
}

fn of_record(record: Option<&RecordKey>) -> String {
    record.map(|record| format!(" of record {record}")).unwrap_or_default()
}

fn as_of(at: Option<CommitNumber>) -> String {
    at.map(|at| format!(" as of commit {at}")).unwrap_or_default()
}

/// An element behind its field: `["a"]`.
fn in_brackets(element: Option<&str>) -> String {
    element.map(|element| format!("[{}]", quoted(element))).unwrap_or_default()
}

/// An element key as JSON writes it.
fn quoted(element: &str) -> String {
    Value::from(element).to_json()
}

fn did_you_mean(suggestion: Option<&FieldName>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl FoldDbError {
    /// A name of the innermost variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            FoldDbError::DataLayer(error) => error.code(),
            FoldDbError::Schema(_) => "invalid_schema",
            FoldDbError::Mutation(error) => error.code(),
            FoldDbError::Query(error) => error.code(),
            FoldDbError::Request(_) => "invalid_request",
            FoldDbError::Revert(error) => error.code(),
        }
    }

    /// What kind of answer it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            FoldDbError::DataLayer(error) => class_of(error),
            FoldDbError::Schema(_) | FoldDbError::Request(_) => ErrorClass::Invalid,
            FoldDbError::Revert(_) => ErrorClass::Refused,
            FoldDbError::Mutation(error) => match error {
                MutationError::UnknownSchema { .. }
                | MutationError::RecordNotFound { .. }
                | MutationError::ValueNotFound { .. }
                | MutationError::ElementNotFound { .. } => ErrorClass::NotFound,
                MutationError::NotApproved { .. }
                | MutationError::NotWritable { .. }
                | MutationError::RecordExists { .. }
                | MutationError::ElementExists { .. }
                | MutationError::ElementsNotEmpty { .. }
                | MutationError::ElementPreconditionFailed { .. }
                | MutationError::PreconditionFailed { .. } => ErrorClass::Refused,
                _ => ErrorClass::Invalid,
            },
            FoldDbError::Query(error) => match error {
                QueryError::UnknownSchema { .. } => ErrorClass::NotFound,
                QueryError::NotApproved { .. } => ErrorClass::Refused,
                QueryError::Interrupted => ErrorClass::Failed,
                _ => ErrorClass::Invalid,
            },
        }
    }
}

fn class_of(error: &DataLayerError) -> ErrorClass {
    match error {
        // Nothing is wrong with the store: reading again reads a newer moment of it.
        DataLayerError::Store(StoreError::SnapshotExpired) => ErrorClass::Failed,
        DataLayerError::Store(StoreError::Exists { .. }) => ErrorClass::Refused,
        DataLayerError::Store(_) | DataLayerError::Serialization(_) => ErrorClass::Store,
        DataLayerError::Commit(error) => match error {
            CommitError::Conflict { .. } | CommitError::Duplicate { .. } => ErrorClass::Refused,
            CommitError::TooLarge { .. } | CommitError::NotComputed { .. } => ErrorClass::Invalid,
            _ => ErrorClass::Store,
        },
        DataLayerError::NotFound { .. } => ErrorClass::NotFound,
        DataLayerError::AlreadyExists { .. } | DataLayerError::Refused { .. } => {
            ErrorClass::Refused
        }
        DataLayerError::InvalidData { .. }
        | DataLayerError::Transforms { .. }
        | DataLayerError::FutureMoment { .. } => ErrorClass::Invalid,
    }
}
