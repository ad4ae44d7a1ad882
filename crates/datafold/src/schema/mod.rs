//! Schemas: discovery, loading, approval, blocking.

mod discovery;
mod initialize;
mod loading;
mod report;
mod service;

pub use crate::data_layer::SchemaCore;
pub use discovery::{SchemaDiscovery, SchemaFile, SchemaFileError, SchemaSource};
pub use initialize::Initialize;
pub use report::{
    IndexStatus, SchemaFailure, SchemaFileReport, SchemaLoadingReport, SchemaOutcome, SchemaStatus,
    TransformStatus,
};
pub use service::SchemaService;
