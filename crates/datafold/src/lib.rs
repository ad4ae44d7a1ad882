//! DataFold, the library: a data node that its owner controls.
//!
//! Applications bring *schemas*; the owner approves or blocks them. Every value written is an
//! immutable, attributed *atom*: nothing is overwritten, and any moment of the past can be read.
//! [`FoldDb`] is the way in; [`data_layer`] is what it stands on.

pub mod clock;
pub mod data_layer;
pub mod engine;
mod entropy;
mod memory;
pub mod model;
#[cfg(not(feature = "shuttle"))]
mod planted;
#[cfg(feature = "shuttle")]
#[doc(hidden)]
pub mod planted;
pub mod schema;
mod sync;
mod threads;

/// The expression language of filters, computed columns and transforms.
pub use datafold_lang as lang;
pub use engine::{FoldDb, FoldDbError, MutationRequest, QueryRequest};
