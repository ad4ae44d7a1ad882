//! Schemas: loading, approval, blocking.

mod report;
mod service;

pub use report::{SchemaFailure, SchemaLoadingReport, SchemaStatus};
pub use service::SchemaService;
