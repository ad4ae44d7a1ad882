//! `impact`: what depends on a field.

use datafold::engine::{Dependent, Impact};
use datafold::model::{FieldName, SchemaName, Value};

use crate::Done;
use crate::invocation::Invocation;
use crate::output::{Format, Out, footer, int, print_rows};
use crate::session::Session;

const COLUMNS: [&str; 7] = ["schema", "field", "role", "state", "records", "direct", "through"];

/// Prints the fields that depend on a field, each behind those that it is made from.
pub(crate) fn run(schema: &SchemaName, field: &FieldName, invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    let impact = session.db.impact(schema, field).map_err(|error| session.fail(&error))?;
    print(&impact, invocation.format)?;
    session.close()
}

fn print(impact: &Impact, format: Format) -> Done {
    let Impact { schema, field, dependents } = impact;
    if dependents.is_empty() && format == Format::Table {
        footer(format_args!("nothing is computed or mapped from {schema}.{field}"));
        return Ok(());
    }
    let row = |found: &Dependent| {
        let through = match format {
            Format::Table | Format::Csv => Value::from(found.through.join(", ")),
            Format::Json | Format::Ndjson => Value::from(found.through.clone()),
        };
        vec![
            found.schema.as_str().into(),
            found.field.as_str().into(),
            found.role.as_str().into(),
            found.state.map(str::to_owned).into(),
            int(found.records),
            found.is_direct.into(),
            through,
        ]
    };
    print_rows(&mut Out::new(), format, &COLUMNS, dependents.iter().map(row).collect())
}
