//! What a power cut does to the changes that were not synced.

use std::fmt;

/// What a power cut does to the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutKind {
    /// All of them are lost.
    LoseAll,
    /// All of them happened to reach the disk; as after a crash of the process alone.
    KeepAll,
    /// A random choice of whole changes reached the disk, later ones perhaps without earlier ones.
    Subset,
    /// As [`CutKind::Subset`], and of a write perhaps only some of its 512-byte sectors.
    Torn,
    /// All changes of one file reached the disk, and none of any other.
    OneFile,
}

impl CutKind {
    /// Every kind.
    pub const ALL: [CutKind; 5] =
        [CutKind::LoseAll, CutKind::KeepAll, CutKind::Subset, CutKind::Torn, CutKind::OneFile];

    /// Whether the seed decides what is kept.
    #[must_use]
    pub fn is_random(self) -> bool {
        matches!(self, CutKind::Subset | CutKind::Torn | CutKind::OneFile)
    }
}

impl fmt::Display for CutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CutKind::LoseAll => "lose all",
            CutKind::KeepAll => "keep all",
            CutKind::Subset => "random subset",
            CutKind::Torn => "torn sectors",
            CutKind::OneFile => "one file kept",
        })
    }
}
