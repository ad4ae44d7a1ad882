//! Requests to write, as data.

use std::collections::BTreeMap;

use crate::data_layer::CommitNumber;
use crate::model::{SchemaName, Value};

/// The fields of a record by name.
pub type RecordInput = BTreeMap<String, Value>;

/// What a mutation does with its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutationKind {
    /// The records must not exist; defaults are applied.
    Create,
    /// The records must exist; the given fields are merged.
    Update,
    /// Creates or merges.
    Upsert,
}

/// What must hold for each element of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutCondition {
    /// The record has no such element: the put adds it.
    Absent,
    /// The record has the element: the put replaces its value.
    Exists,
}

/// One request to write records of one schema, or elements of one of its fields.
///
/// The record of a schema without key always exists: create, update and upsert merge into it,
/// and delete empties it.
///
/// A record's Collection and Range fields take an object of elements, which are put one by one;
/// what is not named stays. An array stands for the object with the ids `"0"`, `"1"`… for a
/// Collection. An element that is null is taken away.
#[derive(Debug, Clone, PartialEq)]
pub enum Mutation {
    /// Writes records; the key fields are among their fields.
    Write {
        /// What it does with them.
        kind: MutationKind,
        /// The schema.
        schema: SchemaName,
        /// The records.
        records: Vec<RecordInput>,
    },
    /// Deletes records, each of which must exist.
    Delete {
        /// The schema.
        schema: SchemaName,
        /// Their keys.
        keys: Vec<Vec<Value>>,
    },
    /// Creates or replaces elements of a record, which must exist.
    Put {
        /// The schema.
        schema: SchemaName,
        /// The key of the record.
        key: Vec<Value>,
        /// A Collection or Range field.
        field: String,
        /// Values by element key; null takes an element away.
        elements: BTreeMap<String, Value>,
        /// What must hold for each of them.
        condition: Option<PutCondition>,
    },
    /// Takes elements away, each of which must exist.
    Remove {
        /// The schema.
        schema: SchemaName,
        /// The key of the record.
        key: Vec<Value>,
        /// A Collection or Range field.
        field: String,
        /// Their element keys.
        elements: Vec<String>,
    },
}

impl Mutation {
    /// A mutation that creates records.
    #[must_use]
    pub fn create(schema: SchemaName, records: Vec<RecordInput>) -> Self {
        Mutation::Write { kind: MutationKind::Create, schema, records }
    }

    /// A mutation that merges fields into records that exist.
    #[must_use]
    pub fn update(schema: SchemaName, records: Vec<RecordInput>) -> Self {
        Mutation::Write { kind: MutationKind::Update, schema, records }
    }

    /// A mutation that creates records or merges fields into them.
    #[must_use]
    pub fn upsert(schema: SchemaName, records: Vec<RecordInput>) -> Self {
        Mutation::Write { kind: MutationKind::Upsert, schema, records }
    }

    /// A mutation that deletes records.
    #[must_use]
    pub fn delete(schema: SchemaName, keys: Vec<Vec<Value>>) -> Self {
        Mutation::Delete { schema, keys }
    }

    /// A mutation that creates or replaces elements.
    #[must_use]
    pub fn put(
        schema: SchemaName,
        key: Vec<Value>,
        field: impl Into<String>,
        elements: BTreeMap<String, Value>,
    ) -> Self {
        Mutation::Put { schema, key, field: field.into(), elements, condition: None }
    }

    /// A mutation that takes elements away.
    #[must_use]
    pub fn remove(
        schema: SchemaName,
        key: Vec<Value>,
        field: impl Into<String>,
        elements: Vec<String>,
    ) -> Self {
        Mutation::Remove { schema, key, field: field.into(), elements }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        match self {
            Mutation::Write { schema, .. }
            | Mutation::Delete { schema, .. }
            | Mutation::Put { schema, .. }
            | Mutation::Remove { schema, .. } => schema,
        }
    }
}

/// Names an element of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementPlace {
    /// A Collection or Range field.
    pub field: String,
    /// The element key.
    pub element: String,
}

/// What a precondition asks of a record or element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It exists.
    Exists,
    /// It does not exist.
    Absent,
    /// It exists, and no commit after this one has touched it. Of a record, its life and its Single
    /// fields count; elements have conditions of their own.
    UnchangedSince(CommitNumber),
}

/// Something that must hold when the transaction commits, or nothing is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Precondition {
    /// The schema.
    pub schema: SchemaName,
    /// The key of the record.
    pub key: Vec<Value>,
    /// The element that it is about; without it, it is about the record.
    pub element: Option<ElementPlace>,
    /// What must hold.
    pub condition: Condition,
}

/// Mutations that become one commit, and what must hold for it.
///
/// Preconditions look at the state before the first mutation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MutationRequest {
    /// In the order in which they are carried out.
    pub mutations: Vec<Mutation>,
    /// Checked first.
    pub preconditions: Vec<Precondition>,
}

impl From<Mutation> for MutationRequest {
    fn from(mutation: Mutation) -> Self {
        Self { mutations: vec![mutation], preconditions: Vec::new() }
    }
}
