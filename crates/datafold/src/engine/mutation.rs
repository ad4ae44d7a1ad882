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

/// One request to write records of one schema.
///
/// The record of a schema without key always exists: create, update and upsert merge into it,
/// and delete empties it.
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

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        match self {
            Mutation::Write { schema, .. } | Mutation::Delete { schema, .. } => schema,
        }
    }
}

/// What a precondition asks of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The record exists.
    Exists,
    /// The record does not exist.
    Absent,
    /// No commit after this one has touched the record.
    UnchangedSince(CommitNumber),
}

/// Something that must hold when the transaction commits, or nothing is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Precondition {
    /// The schema.
    pub schema: SchemaName,
    /// The key of the record.
    pub key: Vec<Value>,
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
