//! Why a value is what it is.

use std::ops::ControlFlow;

use super::super::error::FoldDbError;
use super::super::fold_db::FoldDb;
use super::super::query::{key_of, readable, unknown_field};
use crate::data_layer::internal::{Tracer, check_derived};
use crate::data_layer::{
    CommitNumber, DataLayerError, DerivedDifference, DerivedReport, Lineage, Moment,
};
use crate::model::{FieldKind, FieldName, SchemaName, Timestamp, Value};

/// The lineage of a value, and the moment at which it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The commit as of which it was read.
    pub commit: CommitNumber,
    /// The time of that commit; `None` before the first one.
    pub time: Option<Timestamp>,
    /// The value, with what it was made from.
    pub lineage: Lineage,
}

impl FoldDb {
    /// Why a field of a record has its value, a Single one or a computed one with elements, which
    /// stand as one object: the tree from it down to the values that people wrote. Each names who
    /// or what wrote it, and when; what a transform read is told as of the commit in which it
    /// computed.
    ///
    /// The tree has at most [`LINEAGE_VALUES_MAX`](crate::data_layer::LINEAGE_VALUES_MAX) values
    /// and [`LINEAGE_DEPTH_MAX`](crate::data_layer::LINEAGE_DEPTH_MAX) levels; what is left out is
    /// counted where it would stand. A value that stands in it twice is explained once.
    ///
    /// ```
    /// use datafold::data_layer::{Moment, Origin};
    /// use datafold::model::{FieldName, Value};
    /// use datafold::{FoldDb, MutationRequest};
    ///
    /// let db = FoldDb::open("memory:")?;
    /// let text = r#"{"name": "Cart", "key": ["id"], "fields": {
    ///     "id": {"value": {"type": "integer"}}, "net": {"value": {"type": "number"}},
    ///     "gross": {"transform": {"logic": "net * 1.2"}}}}"#;
    /// let name = db.schemas().load_text(text, None)?.name;
    /// db.schemas().approve_schema(&name)?;
    /// db.mutate(&MutationRequest::parse(
    ///     r#"{"mutation": "create", "schema": "Cart", "records": [{"id": 1, "net": 10}]}"#,
    /// )?)?;
    /// let why = db.why(&name, &[Value::Int(1)], &FieldName::parse("gross")?, Moment::Now)?;
    /// assert_eq!(why.lineage.value, Value::Int(12));
    /// let Origin::Computed(derivation) = &why.lineage.origin else { panic!() };
    /// assert_eq!(derivation.inputs[0].value, Value::Int(10));
    /// assert_eq!(derivation.inputs[0].origin, Origin::Written);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FoldDbError::Query`] for an unknown or unapproved schema, an unknown field or a wrong key;
    /// [`DataLayerError::NotFound`] for a record that does not exist at that moment;
    /// [`DataLayerError::InvalidData`] for a field with elements that are written.
    ///
    /// # Cost
    ///
    /// A row for each record and commit in the tree, and a seek for each cell of these that was
    /// overwritten since.
    pub fn why(
        &self,
        schema: &SchemaName,
        key: &[Value],
        field: &FieldName,
        moment: Moment,
    ) -> Result<Why, FoldDbError> {
        let ops = self.pool().operations();
        let point = ops.at(moment)?;
        let entry = readable(&point, schema)?;
        let key = key_of(&entry, key)?;
        let found = entry.placed_field(field.as_str());
        let (place, found) = found.ok_or_else(|| unknown_field(&entry.schema, field.as_str()))?;
        if found.kind != FieldKind::Single && !point.published.catalogue.is_computed(place) {
            let what = format!("{schema}.{field}");
            let rule = "has elements, which are written and not computed".to_owned();
            return Err(DataLayerError::InvalidData { what, rule }.into());
        }
        let records =
            if entry.schema.is_key_field(field.as_str()) { entry.records() } else { place.schema };
        if entry.schema.is_keyed() && point.birth(records, key.as_bytes())?.is_none() {
            let name = format!("{key} of {schema}");
            return Err(DataLayerError::not_found("record", name).into());
        }
        let lineage = Tracer::new(&point, ops.origin()).trace(&entry, &key, field)?;
        let time = match point.at {
            CommitNumber::ZERO => None,
            at => Some(point.commit(at)?.time),
        };
        Ok(Why { commit: point.at, time, lineage })
    }

    /// Computes every computed value of the space again and hands over those that differ, until
    /// `visit` breaks: current values from what their inputs are now, and all values, past ones
    /// included, from what their inputs were in their own commit. What fails must fail again.
    ///
    /// # Errors
    ///
    /// [`FoldDbError::DataLayer`] if the store cannot be read.
    ///
    /// # Cost
    ///
    /// The rows of records and of the history of the schemas that have computed fields, one after
    /// the other, and an evaluation for each value; a seek more for each input that was overwritten
    /// since. Memory for one record.
    pub fn verify_derived(
        &self,
        mut visit: impl FnMut(DerivedDifference) -> ControlFlow<()>,
    ) -> Result<DerivedReport, FoldDbError> {
        Ok(check_derived(&self.pool().operations().now(), &mut visit)?)
    }
}
