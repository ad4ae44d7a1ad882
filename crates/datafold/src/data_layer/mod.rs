//! The data layer: one way to the store, repositories, real transactions.
//!
//! A [`DatabasePool`] opens a store and holds the [`RepositoryRegistry`]. [`DbOperations`] is
//! the only path to the store; every change goes through its commit pipeline, which gives all
//! commits of a space one order and makes several durable at once.

mod aggregate;
mod aggregate_groups;
mod asked;
mod atom;
mod atom_repository;
mod catalogue;
mod catalogue_edit;
mod commit;
mod comparison;
mod connection_pool;
mod counters;
mod db_operations;
mod derived;
mod derived_versions;
mod draft;
mod element;
mod element_input;
mod element_output;
mod element_scan;
mod error;
mod failure;
mod flusher;
#[cfg(test)]
mod fuzz;
mod history;
mod ids;
mod index;
mod index_build;
mod index_writes;
pub(crate) mod internal;
mod layout;
mod lineage;
mod materialize;
mod meter;
mod migrate;
mod moment;
mod overlay;
mod pipeline;
mod plain_row;
mod prefetch;
mod preview;
mod propagate;
mod propagation;
mod publication;
mod published;
mod queue;
mod read_point;
mod record;
mod record_cache;
mod repository;
mod row_reader;
mod rows;
mod schema_repository;
pub mod serialization;
mod spaces;
mod stats;
mod ticket;
mod transaction;
mod transform;
mod transform_check;
mod transform_fill;
mod transform_graph;
mod transform_output;
mod transform_queue;
mod transform_repository;
mod transform_revision;
mod transform_run;
mod verify;
mod verify_catalogue;
mod verify_elements;
mod verify_transforms;
mod working_set;

pub use aggregate::AGGREGATE_LIMITS;
pub use atom::{Atom, AtomRef, AtomStatus, CellName};
pub use atom_repository::AtomRepository;
pub use catalogue::{SchemaCore, SchemaEntry};
pub use catalogue_edit::Defined;
pub use commit::Commit;
pub use connection_pool::{DatabasePool, PoolOptions, RepositoryRegistry};
pub use counters::SchemaCounters;
pub use db_operations::DbOperations;
pub use derived::{DerivedDifference, DerivedReport};
pub use element_input::{INPUT_BYTES_MAX, INPUT_ELEMENTS_MAX};
pub use error::{CommitError, DataLayerError, SerializationError};
pub use ids::{
    AtomId, AtomIdError, CommitNumber, FieldId, IndexId, SchemaId, TransformId, WriterId,
};
pub use index::{INDEX_FIELDS_MAX, Index, IndexState};
pub use lineage::{
    AGGREGATED_MAX, Derivation, FailedDerivation, LINEAGE_DEPTH_MAX, LINEAGE_VALUES_MAX, Lineage,
    LineageAtom, Origin,
};
pub use meter::LockStats;
pub use migrate::{CopyPhase, CopyProgress, Migration, migrate};
pub use moment::Moment;
pub use pipeline::{Durability, Receipt, TRANSACTION_BYTES_MAX, TRANSACTION_ROWS_MAX};
pub use repository::{Page, ReadRepository, Repository};
pub use schema_repository::SchemaRepository;
pub use serialization::SerializationHelper;
pub use spaces::DEFAULT_SPACE;
pub use stats::{DatabaseStats, SchemaStats};
pub use transaction::Transaction;
pub use transform::{
    LOOKUPS_MAX, PropagationLimits, TRANSFORM_LIMITS, Transform, TransformFailure, TransformState,
    VALUE_BYTES_MAX,
};
pub use transform_check::TransformProblem;
pub use transform_repository::TransformRepository;
pub use verify::VerifyReport;
