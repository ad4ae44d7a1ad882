//! Approving a schema together with its first values.

use super::apply::apply;
use super::error::FoldDbError;
use super::mutation::{Mutation, MutationRequest, RecordInput};
use super::prepare::prepare;
use crate::data_layer::Receipt;
use crate::data_layer::internal::Execution;
use crate::model::{SchemaName, SchemaState};
use crate::schema::SchemaService;

impl SchemaService {
    /// Approves a schema and creates records of it, all in one commit or nothing: nobody ever sees
    /// it approved without these values.
    ///
    /// A schema without key has one record, which exists; the values are written into it. The
    /// schema may be in any state; if it is approved already, only the records are created.
    ///
    /// # Errors
    ///
    /// As [`SchemaService::approve_schema`], and [`FoldDbError::Mutation`] for records that the
    /// schema does not accept or that exist, for example from before it was blocked. Then nothing
    /// is changed.
    ///
    /// ```
    /// use datafold::FoldDb;
    /// use datafold::model::Value;
    ///
    /// let db = FoldDb::open("memory:")?;
    /// let text = r#"{"name": "Settings", "fields": {"theme": {"value": {"type": "string"}}}}"#;
    /// let name = db.schemas().load(text)?.name;
    /// let values = [("theme".to_owned(), Value::from("dark"))].into();
    /// let receipt = db.schemas().approve_schema_with_atoms(&name, vec![values])?;
    /// assert_eq!(receipt.atoms, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn approve_schema_with_atoms(
        &self,
        name: &SchemaName,
        records: Vec<RecordInput>,
    ) -> Result<Receipt, FoldDbError> {
        let request = MutationRequest::from(Mutation::create(name.clone(), records));
        let approve = |execution: &mut Execution<'_>| {
            let mut editor = execution.editor();
            editor.set_state(name, SchemaState::Approved, None)?;
            // Prepared here, since it asks for the state that the line above has set.
            let prepared = prepare(editor.catalogue, &request)?;
            apply(&mut editor, &prepared)
        };
        self.run(approve).map(|(_, receipt)| receipt)
    }
}
