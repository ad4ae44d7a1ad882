//! What a query would cost.

use super::FoldDb;
use super::error::{FoldDbError, QueryError};
use super::query::{QueryRequest, readable, unknown_field};
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
        let selected: Vec<&Field> = match &request.select {
            None => schema.fields.iter().collect(),
            Some(names) => {
                let find =
                    |name: &String| schema.field(name).ok_or_else(|| unknown_field(schema, name));
                names.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let price = schema.price(selected.into_iter(), basis, distance);
        Ok(price.map_err(QueryError::Price)?)
    }
}
