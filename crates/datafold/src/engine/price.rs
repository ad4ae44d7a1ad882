//! What a query would cost.

use super::FoldDb;
use super::error::{FoldDbError, QueryError};
use super::query::{QueryRequest, readable};
use crate::model::{Field, Price, PriceBasis};

impl FoldDb {
    /// The price of the fields that a query selects, for a caller at a distance. A preview: the
    /// query is not carried out, and nothing is charged.
    ///
    /// The price is one of the fields, whatever the number of records; see
    /// [`crate::model::Schema::price`].
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`] as for the query: an unknown or unapproved schema, an unknown field,
    /// and [`QueryError::Price`] for a price that is too large.
    pub fn price_of(
        &self,
        request: &QueryRequest,
        basis: &PriceBasis,
        distance: u32,
    ) -> Result<Price, FoldDbError> {
        let entry = readable(&self.pool().operations().now(), &request.schema)?;
        let schema = &entry.schema;
        let plan = self.plan(&QueryRequest { cursor: None, as_of: None, ..request.clone() })?;
        let selected = plan.fields().iter().filter_map(|name| schema.field(name.as_str()));
        let selected: Vec<&Field> = selected.collect();
        let price = schema.price(selected.into_iter(), basis, distance);
        Ok(price.map_err(QueryError::Price)?)
    }
}
