//! The engine: mutations, queries and time travel.

mod apply;
mod approval;
mod changes;
mod diff;
mod element_filter;
mod elements;
mod error;
mod fold_db;
#[cfg(test)]
mod fuzz;
mod glob;
mod import;
mod lines;
mod moment;
mod mutation;
mod operation;
mod prepare;
mod price;
mod query;
mod record_check;
mod request;
mod revert;
pub(crate) mod suggest;
mod transaction;
mod undo;

pub use crate::data_layer::VALUE_BYTES_MAX;
pub use changes::{
    Change, ChangeKind, ChangesAnswer, ChangesEnd, ChangesQuery, CommitChanges, Subscription,
};
pub use diff::{DiffEnd, DiffQuery, Difference, DifferenceKind};
pub use element_filter::ElementFilter;
pub use elements::{Element, ElementAnswer, ElementQuery, INLINE_BYTES_MAX, INLINE_ELEMENTS_MAX};
pub use error::{ErrorClass, FoldDbError, MutationError, QueryError, RequestError};
pub use fold_db::FoldDb;
pub use glob::Glob;
pub use import::{
    ImportError, ImportFormat, ImportOptions, ImportProgress, ImportReport, ImportRowError,
};
pub use moment::{MomentError, parse_moment};
pub use mutation::{
    Condition, ElementPlace, Mutation, MutationKind, MutationRequest, Precondition, PutCondition,
    RecordInput,
};
pub use operation::{
    Operation, OperationAnswer, OperationFilter, OperationKind, OperationMutation, OperationQuery,
};
pub use query::{Counts, Explain, KeyCondition, QueryAnswer, QueryEnd, QueryRequest, Record};
pub use revert::{Revert, RevertConflict, RevertError};
pub use transaction::FoldTransaction;
