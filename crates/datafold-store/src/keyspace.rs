//! The named keyspaces of a store.

use std::fmt;

/// One ordered set of rows inside a store.
///
/// An engine with several trees keeps one tree for each; the names and tags are part of the
/// storage format (`docs/format.md`) and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Keyspace {
    /// Per space: the last commit, and the counters.
    Head = 1,
    /// Schemas, states, transforms, permissions and metadata.
    Catalogue = 2,
    /// The current Single cells of each record.
    Records = 3,
    /// The current cells of Collection and Range fields.
    Elements = 4,
    /// Atoms that were replaced.
    History = 5,
    /// The commit log.
    Commits = 6,
    /// Secondary indexes.
    Indexes = 7,
}

impl Keyspace {
    /// Every keyspace, in the order of their tags.
    pub const ALL: [Keyspace; 7] = [
        Keyspace::Head,
        Keyspace::Catalogue,
        Keyspace::Records,
        Keyspace::Elements,
        Keyspace::History,
        Keyspace::Commits,
        Keyspace::Indexes,
    ];

    /// The name under which an engine with trees keeps it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Keyspace::Head => "head",
            Keyspace::Catalogue => "catalogue",
            Keyspace::Records => "records",
            Keyspace::Elements => "elements",
            Keyspace::History => "history",
            Keyspace::Commits => "commits",
            Keyspace::Indexes => "indexes",
        }
    }

    /// Its position in [`Keyspace::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }
}

impl fmt::Display for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
