//! Atoms: immutable, attributed versions of cells.

use std::fmt;

use super::ids::{AtomId, CommitNumber, WriterId};
use crate::model::{FieldName, RecordKey, SchemaName, Timestamp, Value};

/// Whether an atom gave a cell a value or took it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomStatus {
    /// The cell has the atom's value.
    Active,
    /// The cell, or the whole record, was deleted.
    Deleted,
}

impl fmt::Display for AtomStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AtomStatus::Active => "active",
            AtomStatus::Deleted => "deleted",
        })
    }
}

/// Names a cell, an element of a field, or a whole record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellName {
    /// The schema of the record.
    pub schema: SchemaName,
    /// The key of the record.
    pub key: RecordKey,
    /// The field; `None` stands for the record, whose atoms are its deletions.
    pub field: Option<FieldName>,
    /// The element, if the field is a Collection or Range; `None` stands for all of them.
    pub element: Option<String>,
}

/// One version of a cell. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Atom {
    /// Its identity, which stays when the atom becomes history.
    pub id: AtomId,
    /// The cell that it is a version of.
    pub cell: CellName,
    /// The value; null for a deletion.
    pub value: Value,
    /// Whether it gave the cell a value or took it away.
    pub status: AtomStatus,
    /// Who wrote it.
    pub writer: WriterId,
    /// The commit that wrote it.
    pub commit: CommitNumber,
    /// The time of that commit.
    pub time: Timestamp,
    /// The version before; `None` for the first one.
    pub previous: Option<AtomId>,
}

/// The pointer from a cell to its current atom.
#[derive(Debug, Clone, PartialEq)]
pub struct AtomRef {
    /// The cell.
    pub cell: CellName,
    /// Its current atom.
    pub atom: AtomId,
    /// Whether the cell has a value.
    pub status: AtomStatus,
}
