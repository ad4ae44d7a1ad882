//! The engines, one module each. An engine's crate is named in its module only.

pub(crate) mod memory;
pub(crate) mod redb;
