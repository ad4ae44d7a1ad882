//! The engines, one module each. An engine's crate is named in its module only.

pub(crate) mod memory;
mod panic;
pub(crate) mod redb;
pub(crate) mod sled;
