//! `transform`: computed fields.

mod graph;
mod run;
mod svg;
mod test;

use std::collections::BTreeSet;

use datafold::data_layer::{DataLayerError, TransformFailure};
use datafold::lang;
use datafold::model::{AggregateDefinition, RecordKey, SchemaName, Value};
use datafold::schema::TransformStatus;
use serde::Serialize;

use crate::Done;
use crate::args::{FullName, TransformCommand};
use crate::commands::why::in_one_line;
use crate::failure::Failure;
use crate::harmless::harmless;
use crate::invocation::Invocation;
use crate::output::{Count, Format, Out, counted, footer, int, print_rows};
use crate::session::Session;

/// So many failures of a transform are shown.
const FAILURES_SHOWN: usize = 10;
/// At so many places of the logic.
const PLACES_SHOWN: usize = 3;

/// Carries out a command about computed fields.
pub(crate) fn run(command: TransformCommand, invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    match command {
        TransformCommand::List { schema } => list(&session, schema.as_ref()),
        TransformCommand::Show { field } => show(&session, &field),
        TransformCommand::Test(args) => test::run(&session, &args),
        TransformCommand::Run { field, key } => run::run(&session, &field, &key),
        TransformCommand::Retry { field } => run::retry(&session, field.as_ref()),
        TransformCommand::Graph { schema, svg } => {
            graph::run(&session, schema.as_ref(), svg.as_deref())
        }
    }?;
    session.close()
}

/// The transforms of a schema, or of all.
fn transforms(
    session: &Session<'_>,
    schema: Option<&SchemaName>,
) -> Result<Vec<TransformStatus>, Failure> {
    let of = |name| session.db.schemas().transforms(name).map_err(|error| session.fail(&error));
    if let Some(name) = schema {
        return of(name);
    }
    let mut found = Vec::new();
    for entry in session.db.schemas().core().iter() {
        let name = &entry.schema.name;
        // What it defines for others stands with those.
        found.extend(of(name)?.into_iter().filter(|found| found.schema == *name));
    }
    Ok(found)
}

/// The transform of a field.
fn transform(session: &Session<'_>, of: &FullName) -> Result<TransformStatus, Failure> {
    let FullName { schema, field } = of;
    let is_it = |found: &TransformStatus| found.schema == *schema && found.field == *field;
    let found = transforms(session, Some(schema))?.into_iter().find(is_it);
    found.ok_or_else(|| {
        let name = format!("{schema}.{field}");
        session.fail(&DataLayerError::NotFound { what: "transform", name }.into())
    })
}

/// How many records the schema of a transform has.
fn records(session: &Session<'_>, transform: &TransformStatus) -> u64 {
    let statuses = session.db.schemas().get_status();
    let status = statuses.iter().find(|status| status.name == transform.schema);
    status.map_or(0, |status| status.records)
}

const COLUMNS: [&str; 8] =
    ["schema", "field", "revision", "state", "records", "computed", "failing", "logic"];

fn list(session: &Session<'_>, schema: Option<&SchemaName>) -> Done {
    let found = transforms(session, schema)?;
    let format = session.invocation.format;
    if found.is_empty() && format == Format::Table {
        footer("there are no computed fields; docs/transforms.md tells how to make some");
        return Ok(());
    }
    let row = |transform: &TransformStatus| {
        let records = records(session, transform);
        let logic = match format {
            Format::Table => in_one_line(&transform.definition.logic),
            _ => transform.definition.logic.clone(),
        };
        vec![
            transform.schema.as_str().into(),
            transform.field.as_str().into(),
            int(transform.revision.0.into()),
            transform.state.into(),
            int(records),
            int(transform.records_read.unwrap_or(records).min(records)),
            int(transform.failing),
            logic.into(),
        ]
    };
    print_rows(&mut Out::new(), format, &COLUMNS, found.iter().map(row).collect())
}

/// A transform in JSON.
#[derive(Debug, Serialize)]
struct Shown<'t> {
    schema: &'t str,
    field: &'t str,
    revision: u32,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    defined_in: Option<&'t str>,
    logic: &'t str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aggregates: Vec<String>,
    inputs: &'t [String],
    read_by: Vec<String>,
    on_error: &'static str,
    records: u64,
    computed: u64,
    failing: u64,
    failures: Vec<ShownFailure<'t>>,
}

#[derive(Debug, Serialize)]
struct ShownFailure<'t> {
    key: Value,
    commit: u64,
    count: u64,
    code: &'t str,
    message: &'t str,
    line: usize,
    column: usize,
}

fn show(session: &Session<'_>, name: &FullName) -> Done {
    let found = transform(session, name)?;
    let FullName { schema, field } = name;
    let schemas = session.db.schemas();
    let failures = schemas.transform_failures(schema, field, FAILURES_SHOWN);
    let failures = failures.map_err(|error| session.fail(&error))?;
    let records = records(session, &found);
    let impact = session.db.impact(schema, field).map_err(|error| session.fail(&error))?;
    let direct = impact.dependents.iter().filter(|dependent| dependent.is_direct);
    let read_by = direct.map(|dependent| format!("{}.{}", dependent.schema, dependent.field));
    let shown = Shown {
        schema: schema.as_str(),
        field: field.as_str(),
        revision: found.revision.0,
        state: found.state,
        defined_in: found.defined_in.as_deref(),
        aggregates: found.definition.aggregates.iter().map(named).collect(),
        logic: &found.definition.logic,
        inputs: &found.inputs,
        read_by: read_by.collect(),
        on_error: found.definition.on_error.as_str(),
        records,
        computed: found.records_read.unwrap_or(records).min(records),
        failing: found.failing,
        failures: failures.iter().map(shown_failure).collect(),
    };
    let mut out = Out::new();
    match session.invocation.format {
        Format::Json | Format::Ndjson => {
            out.json_line(&shown)?;
            out.flush()
        }
        Format::Csv => print_rows(&mut out, Format::Csv, &FAILURE_COLUMNS, rows_of(&failures)),
        Format::Table => {
            head(&mut out, &shown)?;
            print_failures(&mut out, &found, &failures)
        }
    }
}

/// An aggregate with the name that the logic has for it.
fn named(aggregate: &AggregateDefinition) -> String {
    format!("{} = {aggregate}", aggregate.name)
}

fn shown_failure((key, failure): &(RecordKey, TransformFailure)) -> ShownFailure<'_> {
    ShownFailure {
        key: key.values().map(Value::Array).unwrap_or_default(),
        commit: failure.commit.0,
        count: failure.count,
        code: &failure.code,
        message: &failure.message,
        line: failure.line,
        column: failure.column,
    }
}

fn head(out: &mut Out, shown: &Shown<'_>) -> Done {
    let Shown { schema, field, revision, state, .. } = shown;
    out.line(format_args!("{schema}.{field} is {state}, transform-{revision}"))?;
    for line in shown.logic.trim().lines() {
        out.line(format_args!("    {}", harmless(line.trim_end())))?;
    }
    for aggregate in &shown.aggregates {
        out.line(format_args!("with {}", harmless(aggregate)))?;
    }
    if let Some(field) = shown.defined_in {
        out.line(format_args!("defined in: {field}"))?;
    }
    let names = |names: &[String]| match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    out.line(format_args!("reads: {}", names(shown.inputs)))?;
    out.line(format_args!("read by: {}", names(&shown.read_by)))?;
    out.line(match shown.on_error {
        "reject" => "if it fails: the mutation is refused",
        _ => "if it fails: the last good value stays",
    })?;
    let (computed, failing) = (Count(shown.computed), Count(shown.failing));
    let of = counted(shown.records, "record");
    out.line(format_args!("computed: {computed} of {of}; {failing} failing"))
}

const FAILURE_COLUMNS: [&str; 7] = ["key", "commit", "count", "code", "line", "column", "message"];

fn rows_of(failures: &[(RecordKey, TransformFailure)]) -> Vec<Vec<Value>> {
    let place = |number: usize| if number == 0 { Value::Null } else { int(number as u64) };
    let row = |(key, failure): &(RecordKey, TransformFailure)| {
        vec![
            key.values().map(Value::Array).unwrap_or_default(),
            int(failure.commit.0),
            int(failure.count),
            failure.code.as_str().into(),
            place(failure.line),
            place(failure.column),
            failure.message.as_str().into(),
        ]
    };
    failures.iter().map(row).collect()
}

/// Prints failures, and their places in the logic.
fn print_failures(
    out: &mut Out,
    transform: &TransformStatus,
    failures: &[(RecordKey, TransformFailure)],
) -> Done {
    if failures.is_empty() {
        return out.flush();
    }
    out.line("")?;
    print_rows(out, Format::Table, &FAILURE_COLUMNS, rows_of(failures))?;
    let more = transform.failing.saturating_sub(failures.len() as u64);
    if more > 0 {
        footer(format_args!("{} more", Count(more)));
    }
    let places: BTreeSet<_> = failures.iter().map(|(_, of)| (of.line, of.column)).collect();
    for (line, column) in places.into_iter().take(PLACES_SHOWN) {
        if let Some(excerpt) = lang::excerpt(&transform.definition.logic, line, column) {
            out.line("")?;
            out.text(&harmless_lines(&excerpt))?;
        }
    }
    out.flush()
}

/// Several lines that do nothing to a terminal.
fn harmless_lines(text: &str) -> String {
    text.lines().map(|line| harmless(line) + "\n").collect()
}
