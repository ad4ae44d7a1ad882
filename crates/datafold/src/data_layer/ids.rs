//! Numbers that name things inside a space.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The place of a commit in the total order of its space: 1, 2, 3…; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitNumber(pub u64);

impl CommitNumber {
    /// Before the first commit.
    pub const ZERO: CommitNumber = CommitNumber(0);

    /// The number that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for CommitNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CommitNumber {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The number of a schema in its space; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

impl SchemaId {
    /// The transform whose counters stand under this number, if it is none of a schema.
    pub(crate) fn transform(self) -> Option<TransformId> {
        (self.0 & COMPUTED != 0).then_some(TransformId(self.0 & !COMPUTED))
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a field in its schema, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u32);

impl FieldId {
    /// Stands for the record itself where a field could stand.
    pub const RECORD: FieldId = FieldId(0);

    /// The number of the field at this place of a definition: the place, from 1 on.
    pub(crate) fn at(index: usize) -> Self {
        FieldId(u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// The number of an index in its space; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(pub u32);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a transform, which is also that of its revision: another logic has another number.
/// Never given twice, also not to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransformId(pub u32);

impl TransformId {
    /// Who writes the atoms that it computes.
    #[must_use]
    pub fn writer(self) -> WriterId {
        WriterId(COMPUTED | self.0)
    }

    /// The number under which its rows of failures and progress stand among those of indexes.
    pub(crate) fn rows(self) -> IndexId {
        IndexId(self.0)
    }

    /// The number under which its failing records are counted, where a schema could stand.
    pub(crate) fn counter(self) -> SchemaId {
        SchemaId(COMPUTED | self.0)
    }
}

impl fmt::Display for TransformId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Set in the number of a writer that is a transform.
const COMPUTED: u32 = 1 << 31;

/// Who wrote an atom: a person or program, or a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u32);

impl WriterId {
    /// The owner: the local operator of the library or the command line.
    pub const OWNER: WriterId = WriterId(0);

    /// The transform that computed the atom, if one did.
    #[must_use]
    pub fn transform(self) -> Option<TransformId> {
        (self.0 & COMPUTED != 0).then_some(TransformId(self.0 & !COMPUTED))
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.transform(), self.0) {
            (Some(transform), _) => write!(f, "transform-{transform}"),
            (None, 0) => f.write_str("owner"),
            (None, number) => write!(f, "writer-{number}"),
        }
    }
}

/// The identity of an atom: it never changes, also when the atom becomes history.
///
/// Written `COMMIT.ORDINAL.ORIGIN`, the origin in 8 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtomId {
    /// The commit that wrote the atom.
    pub commit: CommitNumber,
    /// The atom's place in the commit.
    pub ordinal: u32,
    /// The store that wrote the commit.
    pub origin: u32,
}

impl AtomId {
    /// The 16 bytes of the id, which sort by commit and ordinal.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let wide = u128::from(self.commit.0) << 64
            | u128::from(self.ordinal) << 32
            | u128::from(self.origin);
        wide.to_be_bytes()
    }
}

impl fmt::Display for AtomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:08x}", self.commit, self.ordinal, self.origin)
    }
}

impl FromStr for AtomId {
    type Err = AtomIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let (Some(commit), Some(ordinal), Some(origin), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(AtomIdError);
        };
        // Numbers are read with a sign otherwise.
        if text.contains('+') {
            return Err(AtomIdError);
        }
        Ok(Self {
            commit: commit.parse().map_err(|_| AtomIdError)?,
            ordinal: ordinal.parse().map_err(|_| AtomIdError)?,
            origin: u32::from_str_radix(origin, 16).map_err(|_| AtomIdError)?,
        })
    }
}

/// The text is not an atom id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an atom id is COMMIT.ORDINAL.ORIGIN, such as 42.3.00c0ffee")]
pub struct AtomIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atom_ids_are_read_back_and_sort_by_commit() {
        let id = AtomId { commit: CommitNumber(42), ordinal: 3, origin: 0x00c0_ffee };
        assert_eq!(id.to_string(), "42.3.00c0ffee");
        assert_eq!(id.to_string().parse(), Ok(id));
        let later = AtomId { commit: CommitNumber(43), ordinal: 0, origin: 0 };
        assert!(id.to_bytes() < later.to_bytes());
        for wrong in ["", "1.2", "1.2.3.4", "x.1.2", "1.2.zz", "1.+2.3", "1.2.+3"] {
            assert_eq!(wrong.parse::<AtomId>(), Err(AtomIdError), "{wrong}");
        }
    }
}
