//! The engine: mutations, queries and time travel on one space.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::apply::apply;
use super::error::{FoldDbError, RequestError};
use super::mutation::MutationRequest;
use super::prepare::prepare;
use super::query::{Explain, Plan, QueryAnswer, QueryEnd, QueryRequest, Record};
use super::transaction::FoldTransaction;
use crate::data_layer::{
    Atom, CellName, CommitNumber, DataLayerError, DatabasePool, DatabaseStats, Durability, Moment,
    PoolOptions, Receipt, VerifyReport, WriterId,
};
use crate::engine::moment::parse_moment;
use crate::model::{FieldName, RecordKey, SchemaName, Value};
use crate::schema::SchemaService;

/// An open space: what an application embeds.
///
/// Cheap to clone; all clones share one store.
///
/// ```
/// use datafold::{FoldDb, MutationRequest, QueryRequest};
///
/// let db = FoldDb::open("memory:")?;
/// let name = db.schemas().load_text(
///     r#"{"name": "City", "key": ["name"],
///         "fields": {"name": {"value": {"type": "string"}},
///                    "people": {"value": {"type": "integer"}}}}"#,
///     None,
/// )?.name;
/// db.schemas().approve_schema(&name)?;
/// let first = db.mutate(&MutationRequest::parse(
///     r#"{"mutation": "create", "schema": "City",
///         "records": [{"name": "Ulm", "people": 126000}]}"#,
/// )?)?;
/// db.mutate(&MutationRequest::parse(
///     r#"{"mutation": "update", "schema": "City",
///         "records": [{"name": "Ulm", "people": 129000}]}"#,
/// )?)?;
/// let mut query = QueryRequest::new(name);
/// assert_eq!(db.query(&query)?.records[0].get("people"), Some(&129000.into()));
/// query.as_of = Some(first.commit.to_string());
/// assert_eq!(db.query(&query)?.records[0].get("people"), Some(&126000.into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FoldDb {
    pool: DatabasePool,
    schemas: SchemaService,
}

impl FoldDb {
    /// Opens the existing store at `url`. `memory:` is always new.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`].
    pub fn open(url: &str) -> Result<Self, FoldDbError> {
        Self::open_with(url, &PoolOptions::default())
    }

    /// Opens the store at `url`, creating it if there is none. Creating makes no commit.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`].
    pub fn create(url: &str) -> Result<Self, FoldDbError> {
        Self::open_with(url, &PoolOptions::create())
    }

    /// Opens the store at `url`.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::open_with`].
    pub fn open_with(url: &str, options: &PoolOptions) -> Result<Self, FoldDbError> {
        Ok(Self::new(DatabasePool::open_with(url, options)?))
    }

    /// Works on a pool that is already open.
    #[must_use]
    pub fn new(pool: DatabasePool) -> Self {
        let schemas = SchemaService::new(pool.clone());
        Self { pool, schemas }
    }

    /// The data layer underneath.
    #[must_use]
    pub fn pool(&self) -> &DatabasePool {
        &self.pool
    }

    /// Loading and approving schemas.
    #[must_use]
    pub fn schemas(&self) -> &SchemaService {
        &self.schemas
    }

    /// Carries out mutations as one commit and waits until it is durable.
    ///
    /// Everything is checked before anything is written. The preconditions and the rules of the
    /// kinds (`create`: absent, `update` and `delete`: present) see the newest commit.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Mutation`] and [`FoldDbError::DataLayer`]; nothing was written, unless the
    /// error is [`crate::data_layer::CommitError::Indeterminate`].
    ///
    /// # Durability
    ///
    /// A receipt means that the commit survives the loss of power.
    ///
    /// # Cost
    ///
    /// Two rows for each record that is created, one more for each cell that is overwritten, one
    /// sync shared with whoever commits at the same time.
    pub fn mutate(&self, request: &MutationRequest) -> Result<Receipt, FoldDbError> {
        self.mutate_with(request, Durability::Durable)
    }

    /// As [`FoldDb::mutate`], waiting only as `durability` says.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::mutate`].
    pub fn mutate_with(
        &self,
        request: &MutationRequest,
        durability: Durability,
    ) -> Result<Receipt, FoldDbError> {
        let pipeline = self.pool.operations().pipeline();
        let published = pipeline.published();
        let prepared = prepare(&published.catalogue, request)?;
        let prefetch = prepared.prefetch(pipeline, published)?;
        let run = |execution: &mut crate::data_layer::internal::Execution<'_>| {
            apply(&mut execution.editor(), &prepared)
        };
        let answer = pipeline.execute(WriterId::OWNER, durability, Some(&prefetch), run);
        answer.map(|(_, receipt)| receipt)
    }

    /// Answers a query.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`], [`FoldDbError::Request`] for a moment that is none, and
    /// [`FoldDbError::DataLayer`].
    ///
    /// # Cost
    ///
    /// The rows in the range of the key condition up to the limit; the answer is in memory. Use
    /// [`FoldDb::query_each`] for large ones.
    pub fn query(&self, request: &QueryRequest) -> Result<QueryAnswer, FoldDbError> {
        let mut records = Vec::new();
        let end = self.query_each(request, |record| {
            records.push(record.take());
            ControlFlow::Continue(())
        })?;
        let QueryEnd { cursor, commit, stale, .. } = end;
        Ok(QueryAnswer { records, cursor, commit, stale })
    }

    /// Answers a query record by record, in the order of the keys, until `visit` breaks. All
    /// records are of one moment. The record is reused; [`Record::take`] keeps one.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`].
    pub fn query_each(
        &self,
        request: &QueryRequest,
        visit: impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        self.plan(request)?.run(&|| false, visit)
    }

    /// As [`FoldDb::query_each`], unless `is_interrupted`, which is asked about once in 1,024 rows,
    /// answers true.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`], and [`super::QueryError::Interrupted`].
    pub fn query_each_until(
        &self,
        request: &QueryRequest,
        is_interrupted: impl Fn() -> bool,
        visit: impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<QueryEnd, FoldDbError> {
        self.plan(request)?.run(&is_interrupted, visit)
    }

    /// Carries a query out and answers how it ran and what it read, but no records.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`].
    ///
    /// # Cost
    ///
    /// As the query.
    pub fn explain(&self, request: &QueryRequest) -> Result<Explain, FoldDbError> {
        self.explain_until(request, || false)
    }

    /// As [`FoldDb::explain`], unless `is_interrupted`, as for [`FoldDb::query_each_until`].
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query_each_until`].
    pub fn explain_until(
        &self,
        request: &QueryRequest,
        is_interrupted: impl Fn() -> bool,
    ) -> Result<Explain, FoldDbError> {
        let plan = self.plan(request)?;
        plan.run(&is_interrupted, |_| ControlFlow::Continue(()))?;
        Ok(plan.explain())
    }

    /// The names of the columns that a query answers.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`], for what is wrong with the request.
    pub fn columns(&self, request: &QueryRequest) -> Result<Arc<[FieldName]>, FoldDbError> {
        Ok(Arc::clone(self.plan(request)?.columns()))
    }

    pub(super) fn plan(&self, request: &QueryRequest) -> Result<Plan, FoldDbError> {
        let asked = self.moment(request.as_of.as_deref())?;
        // A cursor pins its commit, whatever has become of the moment since.
        let moment = if request.cursor.is_none() { asked } else { Moment::Now };
        let operations = self.pool.operations();
        Plan::new(operations.at(moment)?, request, asked, operations.pipeline().now())
    }

    /// The record with this key as it is now; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`].
    ///
    /// # Cost
    ///
    /// One row.
    pub fn get(&self, schema: &SchemaName, key: &[Value]) -> Result<Option<Record>, FoldDbError> {
        self.get_as_of(schema, key, Moment::Now)
    }

    /// The record with this key as it was; `None` if it did not exist.
    ///
    /// # Errors
    ///
    /// As [`FoldDb::query`].
    ///
    /// # Cost
    ///
    /// One row, and one seek for each cell that was overwritten since.
    pub fn get_as_of(
        &self,
        schema: &SchemaName,
        key: &[Value],
        moment: Moment,
    ) -> Result<Option<Record>, FoldDbError> {
        let point = self.pool.operations().at(moment)?;
        Plan::of_key(&point, schema, key)
    }

    /// The versions of a cell or of all elements of a field, or with `field: None` of all cells and
    /// elements of a record, the newest first, up to the end of the commit that reaches `limit`;
    /// the next page is the one `before` it.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`] for an unknown or unapproved schema or a wrong key;
    /// [`DataLayerError::NotFound`] for an unknown field.
    ///
    /// # Cost
    ///
    /// Of a Single field or an element, the rows that are answered. Elements are not ordered by
    /// commit, so that every page of a field with elements, or of a record with some, reads all
    /// their rows; memory for `limit` versions.
    pub fn history(
        &self,
        schema: &SchemaName,
        key: &[Value],
        field: Option<&FieldName>,
        before: Option<CommitNumber>,
        limit: usize,
    ) -> Result<Vec<Atom>, FoldDbError> {
        let cell = CellName {
            schema: schema.clone(),
            key: self.key_of(schema, key)?,
            field: field.cloned(),
            element: None,
        };
        Ok(self.pool.atoms().history(&cell, before, limit)?)
    }

    /// The versions of an element, the newest first, as [`FoldDb::history`].
    ///
    /// # Errors
    ///
    /// As [`FoldDb::history`], and [`FoldDbError::Query`] for a field that has no elements.
    pub fn element_history(
        &self,
        schema: &SchemaName,
        key: &[Value],
        field: &FieldName,
        element: &str,
        before: Option<CommitNumber>,
        limit: usize,
    ) -> Result<Vec<Atom>, FoldDbError> {
        let entry = super::query::readable(&self.pool.operations().now(), schema)?;
        super::elements::element_field(&entry, field.as_str())?;
        let cell = CellName {
            schema: schema.clone(),
            key: super::query::key_of(&entry, key)?,
            field: Some(field.clone()),
            element: Some(element.to_owned()),
        };
        Ok(self.pool.atoms().history(&cell, before, limit)?)
    }

    fn key_of(&self, schema: &SchemaName, key: &[Value]) -> Result<RecordKey, FoldDbError> {
        let entry = super::query::readable(&self.pool.operations().now(), schema)?;
        Ok(super::query::key_of(&entry, key)?)
    }

    /// Reads a moment as people write it; `None` is now.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Request`] for a text that is no moment.
    pub fn moment(&self, text: Option<&str>) -> Result<Moment, FoldDbError> {
        let Some(text) = text else { return Ok(Moment::Now) };
        let now = self.pool.operations().pipeline().now();
        parse_moment(text, now)
            .map_err(|error| RequestError::new("as_of", error.to_string()).into())
    }

    /// Runs a closure as one transaction, again on a conflict; see
    /// [`crate::data_layer::DbOperations::transact`].
    ///
    /// # Errors
    ///
    /// The closure's own, and those of the commit.
    pub fn transact<T, E: From<DataLayerError>>(
        &self,
        mut run: impl FnMut(&mut FoldTransaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Receipt), E> {
        self.pool.transact(|transaction| run(&mut FoldTransaction { transaction }))
    }

    /// What the space holds, from counters.
    ///
    /// # Errors
    ///
    /// As [`DatabasePool::stats`].
    pub fn stats(&self) -> Result<DatabaseStats, FoldDbError> {
        Ok(self.pool.stats()?)
    }

    /// Reads everything and checks that it fits together.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`] if the store cannot be read; what does not fit is in the
    /// report.
    ///
    /// # Cost
    ///
    /// Every row of the space is read and decoded.
    pub fn verify(&self) -> Result<VerifyReport, FoldDbError> {
        Ok(crate::data_layer::internal::verify(&self.pool.operations().now())?)
    }
}
