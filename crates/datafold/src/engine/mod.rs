//! The engine: mutations, queries and time travel.

mod apply;
mod error;
mod fold_db;
mod import;
mod lines;
mod moment;
mod mutation;
mod operation;
mod prepare;
mod query;
mod request;
pub(crate) mod suggest;

pub use error::{ErrorClass, FoldDbError, MutationError, QueryError, RequestError};
pub use fold_db::{FoldDb, FoldTransaction};
pub use import::{
    ImportError, ImportFormat, ImportOptions, ImportProgress, ImportReport, ImportRowError,
};
pub use moment::{MomentError, parse_moment};
pub use mutation::{Condition, Mutation, MutationKind, MutationRequest, Precondition, RecordInput};
pub use operation::{
    ElementFilter, Operation, OperationAnswer, OperationFilter, OperationKind, OperationMutation,
    OperationQuery,
};
pub use prepare::VALUE_BYTES_MAX;
pub use query::{KeyCondition, QueryAnswer, QueryEnd, QueryRequest, Record};
