//! The numeric identity of a space.

use std::fmt;

/// The number of a space, a named and independent database inside a store.
///
/// Rows start with it, so spaces never share a key. The names are kept by the data layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub u32);

impl SpaceId {
    /// The space that lists the other spaces.
    pub const SYSTEM: SpaceId = SpaceId(0);
    /// The space named `default`.
    pub const DEFAULT: SpaceId = SpaceId(1);
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
