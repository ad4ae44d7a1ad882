//! `transform test`: what would be computed.

use std::sync::Arc;

use datafold::data_layer::{DataLayerError, TransformFailure};
use datafold::engine::{RecordInput, Trial, TrialRecords, TrialReport, TrialValue};
use datafold::lang;
use datafold::model::{FieldName, Schema, SchemaName, Value};

use super::harmless_lines;
use crate::Done;
use crate::args::{TestArgs, full_name};
use crate::commands::input::read_text;
use crate::failure::{Exit, Failure};
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, counted, footer, tell_hidden};
use crate::session::Session;

const COLUMNS: [&str; 5] = ["key", "field", "stored", "computed", "error"];
/// The longest schema file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Tries transforms on some records and prints what comes out.
pub(super) fn run(session: &Session<'_>, args: &TestArgs) -> Done {
    let trial = trial(args)?;
    let report = session.db.try_transforms(&trial).map_err(|error| {
        let failure = session.fail(&error);
        match &args.file {
            Some(file) => failure.at(file.display()),
            None => failure,
        }
    })?;
    print(session, &report)?;
    let values = || report.records.iter().flat_map(|record| &record.values);
    let failed = values().filter(|value| value.error.is_some()).count() as u64;
    let what = format!("{} of {}", failed, counted(values().count() as u64, "value"));
    let Some((field, error)) = first_error(&report) else {
        let of = counted(report.existing, "record");
        footer(format_args!("nothing was written; `{}` has {of}", report.schema));
        return Ok(());
    };
    let failure = Failure::new(Exit::Invalid, format!("{what} could not be computed"));
    let logic = logic_of(session, &trial, field);
    let excerpt = logic.and_then(|logic| lang::excerpt(&logic, error.line, error.column));
    let excerpt = excerpt.map(|excerpt| {
        let place = format!("{}.{field}: {}\n", report.schema, error.message);
        place + &harmless_lines(&excerpt)
    });
    Err(match excerpt {
        Some(excerpt) => failure.excerpt(excerpt),
        None => failure,
    })
}

/// What is tried, as the arguments say.
fn trial(args: &TestArgs) -> Result<Trial, Failure> {
    let (schema, field, definition) = match (&args.file, args.name.as_deref()) {
        (Some(file), _) => {
            let text = read_text(file, FILE_BYTES_MAX)?;
            let parsed = Schema::parse(&text).map_err(|error| {
                let failure = Failure::new(Exit::Invalid, error.to_string()).at(file.display());
                failure.hint("`datafold schema load --help` shows what a schema is like")
            })?;
            let schema = Arc::new(parsed.schema);
            (schema.name.clone(), args.field.clone(), Some(schema))
        }
        (None, Some(name)) if name.contains('.') => {
            let name = full_name(name).map_err(|error| Failure::new(Exit::Usage, error))?;
            (name.schema, Some(name.field), None)
        }
        (None, name) => {
            let name = SchemaName::parse(name.unwrap_or_default());
            (name.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?, None, None)
        }
    };
    let records = if !args.key.is_empty() {
        let keys = args.key.iter().map(|key| parse_key(key)).collect::<Result<_, _>>()?;
        TrialRecords::Keys(keys)
    } else if !args.record.is_empty() {
        let records = args.record.iter().map(|text| record(text));
        TrialRecords::Given(records.collect::<Result<_, _>>()?)
    } else {
        TrialRecords::First(args.limit.get())
    };
    Ok(Trial { schema, field, definition, records })
}

/// A record as JSON.
fn record(text: &str) -> Result<RecordInput, Failure> {
    let wrong = |error: String| {
        let failure = Failure::new(Exit::Usage, format!("the record `{text}` {error}"));
        failure.hint(r#"write it in JSON, such as '{"name": "Ulm", "people": 126000}'"#)
    };
    match Value::parse_json(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(wrong("is no object".into())),
        Err(error) => Err(wrong(format!("is no JSON: {error}"))),
    }
}

fn first_error(report: &TrialReport) -> Option<(&FieldName, &TransformFailure)> {
    let values = report.records.iter().flat_map(|record| report.fields.iter().zip(&record.values));
    values.into_iter().find_map(|(field, value)| Some((field, value.error.as_ref()?)))
}

fn logic_of(session: &Session<'_>, trial: &Trial, field: &FieldName) -> Option<String> {
    let registered = || session.db.pool().schemas().entry(trial.schema.as_str());
    let schema = match &trial.definition {
        Some(schema) => Arc::clone(schema),
        None => registered().map(|entry| Arc::clone(&entry.schema))?,
    };
    let transform = schema.field(field.as_str())?.transform.as_ref()?;
    Some(transform.logic.clone())
}

fn print(session: &Session<'_>, report: &TrialReport) -> Done {
    let format = session.invocation.format;
    let mut out = Out::new();
    if format == Format::Json {
        let (schema, existing, commit) = (&report.schema, report.existing, report.commit);
        out.text(&format!(
            r#"{{"schema":"{schema}","existing":{existing},"commit":{commit},"results":"#
        ))?;
    }
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let mut rows = RowWriter::begin(&mut out, format, columns)?;
    for record in &report.records {
        let key = record.key.values();
        let key = key.map_err(|error| {
            session.fail(
                &DataLayerError::InvalidData { what: "a key".to_owned(), rule: error.to_string() }
                    .into(),
            )
        })?;
        for (field, value) in report.fields.iter().zip(&record.values) {
            let TrialValue { stored, computed, error } = value;
            let told = error.as_ref().map(|error| match error.line {
                0 => error.message.clone(),
                line => format!("line {line}, column {}: {}", error.column, error.message),
            });
            rows.row(&[
                Value::Array(key.clone()),
                field.as_str().into(),
                stored.clone(),
                if error.is_some() { Value::Null } else { computed.clone() },
                told.into(),
            ])?;
        }
    }
    let hidden = rows.finish()?;
    if format == Format::Json {
        out.line("}")?;
    }
    out.flush()?;
    tell_hidden(&hidden);
    Ok(())
}
