//! The changes that the tour makes, each of them once.

use datafold::data_layer::{Atom, AtomStatus, CommitNumber, Moment};
use datafold::engine::Why;
use datafold::model::{FieldName, SchemaName, Value};
use datafold::{FoldDbError, MutationRequest};

use crate::failure::{Exit, Failure};
use crate::key::parse_key;
use crate::session::Session;

/// So many versions of a cell are searched for the change.
const VERSIONS_SEARCHED: usize = 1_000;

/// A change, and the version of a cell by which it is known to have been made.
#[derive(Debug)]
pub(crate) struct Change {
    /// Why it is made.
    pub(crate) why: &'static str,
    /// The mutation.
    pub(crate) request: &'static str,
    schema: &'static str,
    key: &'static str,
    field: &'static str,
    /// The value that it gives the field; none if it takes the value away.
    value: Option<i64>,
}

/// In the order in which they are made. None of them undoes what another one has done.
pub(crate) const CHANGES: [Change; 4] = [
    Change {
        why: "A wind of 1,048 miles per hour at Newark was an error of the instrument:",
        request: concat!(
            r#"{"mutation": "update", "schema": "Weather", "records": [{"origin": "EWR", "#,
            r#""time_hour": "2013-02-12T08:00:00Z", "wind_speed": null}]}"#,
        ),
        schema: "Weather",
        key: r#"["EWR", "2013-02-12T08:00:00Z"]"#,
        field: "wind_speed",
        value: None,
    },
    Change {
        why: "Suppose that HA 51 of 9 January, the worst delay, left 20 minutes earlier:",
        request: concat!(
            r#"{"mutation": "update", "schema": "Flight", "records": [{"carrier": "HA", "#,
            r#""flight": 51, "time_hour": "2013-01-09T14:00:00Z", "#,
            r#""dep_time": 621, "dep_delay": 1281}]}"#,
        ),
        schema: "Flight",
        key: WORST,
        field: "dep_delay",
        value: Some(1281),
    },
    Change {
        why: "... that the one of 10 January was cancelled:",
        request: concat!(
            r#"{"mutation": "update", "schema": "Flight", "records": [{"carrier": "HA", "#,
            r#""flight": 51, "time_hour": "2013-01-10T14:00:00Z", "dep_time": null, "#,
            r#""dep_delay": null, "arr_time": null, "arr_delay": null, "air_time": null}]}"#,
        ),
        schema: "Flight",
        key: CANCELLED,
        field: "dep_delay",
        value: None,
    },
    Change {
        why: "... and that the one of 11 January had never been planned:",
        request: concat!(
            r#"{"mutation": "delete", "schema": "Flight", "#,
            r#""keys": [["HA", 51, "2013-01-11T14:00:00Z"]]}"#,
        ),
        schema: "Flight",
        key: r#"["HA", 51, "2013-01-11T14:00:00Z"]"#,
        field: "dep_delay",
        value: None,
    },
];

/// The key of the flight that is cancelled.
pub(crate) const CANCELLED: &str = r#"["HA", 51, "2013-01-10T14:00:00Z"]"#;

/// The key of the flight with the worst delay.
pub(crate) const WORST: &str = r#"["HA", 51, "2013-01-09T14:00:00Z"]"#;

impl Change {
    /// The commit that made the change, if one has.
    ///
    /// The version stays whatever is done to the record later, so nothing is done twice.
    pub(crate) fn commit(&self, session: &Session<'_>) -> Result<Option<CommitNumber>, Failure> {
        let history = history(session, self.schema, self.key, Some(self.field), VERSIONS_SEARCHED)?;
        let made = history.iter().rev().find(|atom| match self.value {
            Some(value) => atom.value == Value::Int(value),
            None => atom.status == AtomStatus::Deleted,
        });
        Ok(made.map(|atom| atom.commit))
    }

    /// Whether it changes flights.
    pub(crate) fn is_of_flights(&self) -> bool {
        self.schema == "Flight"
    }

    /// Makes the change.
    pub(crate) fn make(&self, session: &Session<'_>) -> Result<CommitNumber, Failure> {
        let request = MutationRequest::parse(self.request);
        let request = request.map_err(|error| session.fail(&FoldDbError::from(error)))?;
        let receipt = session.db.mutate(&request).map_err(|error| session.fail(&error))?;
        Ok(receipt.commit)
    }
}

/// The newest versions of the fields of the flight with the worst delay.
pub(crate) fn history_of_worst(session: &Session<'_>, limit: usize) -> Result<Vec<Atom>, Failure> {
    let mut atoms = history(session, "Flight", WORST, None, limit)?;
    atoms.truncate(limit);
    Ok(atoms)
}

/// Why a field of a record has its value.
pub(crate) fn why(
    session: &Session<'_>,
    schema: &str,
    key: &str,
    field: &str,
) -> Result<Why, Failure> {
    let (schema, field) = names(schema, field)?;
    let why = session.db.why(&schema, &parse_key(key)?, &field, Moment::Now);
    why.map_err(|error| session.fail(&error))
}

fn names(schema: &str, field: &str) -> Result<(SchemaName, FieldName), Failure> {
    match (SchemaName::parse(schema), FieldName::parse(field)) {
        (Ok(schema), Ok(field)) => Ok((schema, field)),
        _ => Err(Failure::new(Exit::Failed, "the names of the tour are wrong")),
    }
}

fn history(
    session: &Session<'_>,
    schema: &str,
    key: &str,
    field: Option<&str>,
    limit: usize,
) -> Result<Vec<Atom>, Failure> {
    let (Ok(schema), Ok(field)) =
        (SchemaName::parse(schema), field.map(FieldName::parse).transpose())
    else {
        return Err(Failure::new(Exit::Failed, "the names of the tour are wrong"));
    };
    let history = session.db.history(&schema, &parse_key(key)?, field.as_ref(), None, limit);
    history.map_err(|error| session.fail(&error))
}
