//! `schema`: loading, approving and looking at schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use datafold::FoldDbError;
use datafold::data_layer::{DataLayerError, Receipt, SchemaEntry, TransformId};
use datafold::model::{
    Field, FieldName, IndexDefinition, SchemaName, SchemaPayment, SchemaState, Value,
};
use datafold::schema::{
    IndexStatus, SchemaFailure, SchemaLoadingReport, SchemaStatus, TransformStatus,
};

use crate::Done;
use crate::args::{SchemaCommand, StateArgs};
use crate::failure::{Exit, Failure, told};
use crate::harmless::harmless;
use crate::invocation::Invocation;
use crate::output::{Format, Out, counted, footer, int, note, print_rows};
use crate::session::Session;

/// Carries out a command about schemas.
pub(crate) fn run(command: SchemaCommand, invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    match command {
        SchemaCommand::Load { paths } => load(&session, &paths),
        SchemaCommand::Revise { file } => revise(&session, &file),
        SchemaCommand::Approve(args) => set_states(&session, &args, SchemaState::Approved),
        SchemaCommand::Block(args) => set_states(&session, &args, SchemaState::Blocked),
        SchemaCommand::Unload(args) => set_states(&session, &args, SchemaState::Available),
        SchemaCommand::List => list(&session),
        SchemaCommand::Show { name } => show(&session, &name),
        SchemaCommand::Status => status(&session),
        SchemaCommand::Index { name, fields, .. } if fields.is_empty() => indexes(&session, &name),
        SchemaCommand::Index { name, fields, drop: true, .. } => {
            drop_index(&session, &name, &fields)
        }
        SchemaCommand::Index { name, fields, unique, .. } => {
            create_index(&session, &name, IndexDefinition { fields, unique })
        }
        SchemaCommand::Delete { name } => delete(&session, &name),
    }?;
    session.close()
}

fn load(session: &Session<'_>, paths: &[PathBuf]) -> Done {
    let report = session.db.schemas().load_paths(paths).map_err(|error| session.fail(&error))?;
    for warning in &report.warnings {
        let label = console::style("warning:").for_stderr().yellow();
        note(format_args!("{label} {}", told(warning)));
    }
    print_report(session.invocation.format, &report)?;
    match report.failed.as_slice() {
        [] if report.loaded.is_empty() && report.unchanged.is_empty() => {
            let failure = Failure::new(Exit::NotFound, "there are no .json files there");
            Err(failure.hint("name the folder that holds them; folders below it are not read"))
        }
        [] => {
            tell_next(session, &report);
            Ok(())
        }
        [only] => Err(failure_of(only)),
        [first, ..] => {
            for failed in &report.failed {
                note(told(&format!("{}: {}", failed.source, failed.message)));
            }
            let total = report.failed.len() + report.loaded.len() + report.unchanged.len();
            let message = format!("{} of {total} files not loaded", report.failed.len());
            let failure = Failure::new(failure_of(first).exit(), message);
            Err(failure.hint("mend them and load them again; the others are there"))
        }
    }
}

fn failure_of(failed: &SchemaFailure) -> Failure {
    let exit = match failed.code.as_str() {
        "already_exists" => Exit::Refused,
        "not_text" => Exit::Invalid,
        "unreadable_file" if Path::new(&failed.source).exists() => Exit::Failed,
        "unreadable_file" => Exit::NotFound,
        _ => Exit::Invalid,
    };
    let hint = match exit {
        Exit::Refused => "if only computed fields differ: `datafold schema revise`",
        Exit::Invalid => "`datafold schema load --help` shows what a schema is like",
        _ => "name a JSON file that can be read, or a folder with such files",
    };
    Failure::new(exit, failed.message.as_str()).at(&failed.source).hint(hint)
}

fn print_report(format: Format, report: &SchemaLoadingReport) -> Done {
    let mut out = Out::new();
    if format == Format::Json {
        out.json_line(report)?;
        return out.flush();
    }
    let rows = |names: &[SchemaName], result: &str| {
        let row = |name: &SchemaName| vec![name.as_str().into(), result.into()];
        names.iter().map(row).collect::<Vec<Vec<Value>>>()
    };
    let rows = [rows(&report.loaded, "loaded"), rows(&report.unchanged, "unchanged")].concat();
    if rows.is_empty() { Ok(()) } else { print_rows(&mut out, format, &["schema", "result"], rows) }
}

/// Tells how the schemas that wait for approval are approved.
fn tell_next(session: &Session<'_>, report: &SchemaLoadingReport) {
    let schemas = session.db.pool().schemas();
    let waits = |name: &&SchemaName| {
        schemas.entry(name.as_str()).is_some_and(|entry| entry.state == SchemaState::Available)
    };
    let waiting = report.loaded.iter().chain(&report.unchanged).filter(waits);
    let waiting: Vec<_> = waiting.map(SchemaName::as_str).collect();
    if !waiting.is_empty() {
        let approve = format!("schema approve {}", waiting.join(" "));
        footer(format_args!("next: {}", session.invocation.command(&approve)));
    }
}

fn set_states(session: &Session<'_>, args: &StateArgs, state: SchemaState) -> Done {
    let known: BTreeSet<TransformId> = ids_of_transforms(session).collect();
    let receipt = session.db.schemas().set_states(&args.names, state, args.reason.as_deref());
    let receipt = receipt.map_err(|error| session.fail(&error))?;
    let row = |name: &SchemaName| changed(name, state.as_str(), &receipt);
    let rows = args.names.iter().map(row).collect();
    print_changed(session, rows)?;
    if state == SchemaState::Approved {
        args.names.iter().try_for_each(|name| await_transforms(session, name, &known))?;
        args.names.iter().try_for_each(|name| await_indexes(session, name))?;
    }
    Ok(())
}

fn revise(session: &Session<'_>, file: &Path) -> Done {
    let source = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let exit = if file.exists() { Exit::Failed } else { Exit::NotFound };
        Failure::new(exit, format!("cannot be read: {error}")).at(&source)
    })?;
    let known: BTreeSet<TransformId> = ids_of_transforms(session).collect();
    let revised = session.db.schemas().revise_text(&text, Some(&source));
    let (name, fields, receipt) = revised.map_err(|error| session.fail(&error).at(&source))?;
    let what = if fields.is_empty() { "unchanged" } else { "revised" };
    print_changed(session, vec![changed(&name, what, &receipt)])?;
    if !fields.is_empty() {
        footer(format_args!("changed: {}", joined(&fields)));
    }
    await_transforms(session, &name, &known)
}

fn create_index(session: &Session<'_>, name: &SchemaName, definition: IndexDefinition) -> Done {
    let made = session.db.schemas().create_index(name, &definition);
    made.map_err(|error| session.fail(&error))?;
    await_indexes(session, name)?;
    indexes(session, name)
}

fn drop_index(session: &Session<'_>, name: &SchemaName, fields: &[FieldName]) -> Done {
    let receipt = session.db.schemas().drop_index(name, fields);
    let receipt = receipt.map_err(|error| session.fail(&error))?;
    let state = format!("index on {} dropped", joined(fields));
    print_changed(session, vec![changed(name, &state, &receipt)])
}

/// Waits until the computed fields of a schema are filled in, and tells of failures.
fn await_transforms(
    session: &Session<'_>,
    name: &SchemaName,
    known: &BTreeSet<TransformId>,
) -> Done {
    let schemas = session.db.schemas();
    let found = || schemas.transforms(name).map_err(|error| session.fail(&error));
    let is_new = |transform: &&TransformStatus| !known.contains(&transform.revision);
    let mut new = BTreeMap::<SchemaName, Vec<FieldName>>::new();
    for transform in found()?.iter().filter(is_new) {
        new.entry(transform.schema.clone()).or_default().push(transform.field.clone());
    }
    for (of, fields) in &new {
        let records = schemas.get_status().into_iter().find(|status| status.name == *of);
        let records = records.map_or(0, |status| status.records);
        if records > 0 {
            let (fields, count) = (joined(fields), counted(records, "record"));
            footer(format_args!(
                "computing {fields} of {of} for {count} that exist; it goes on later if you \
                 interrupt it"
            ));
        }
    }
    if found()?.iter().any(|transform| transform.state == "filling") {
        schemas.wait_for_transforms(name).map_err(|error| session.fail(&error))?;
    }
    for transform in found()?.iter().filter(|transform| transform.failing > 0) {
        let TransformStatus { schema, field, .. } = transform;
        let failing = counted(transform.failing, "record");
        note(format_args!("{schema}.{field} could not be computed for {failing}"));
        let show = session.invocation.command(&format!("transform show {schema}.{field}"));
        footer(format_args!("{show} tells why"));
    }
    Ok(())
}

fn ids_of_transforms(session: &Session<'_>) -> impl Iterator<Item = TransformId> {
    let core = session.db.schemas().core();
    let ids: Vec<_> = core.computed().map(|transform| transform.id).collect();
    ids.into_iter()
}

/// Waits until the indexes of a schema are built; fails if one failed.
fn await_indexes(session: &Session<'_>, name: &SchemaName) -> Done {
    let schemas = session.db.schemas();
    let found = || schemas.indexes(name).map_err(|error| session.fail(&error));
    if found()?.iter().any(|index| index.state == "building") {
        footer(format_args!("building the index; it goes on later if you interrupt it"));
        schemas.wait_for_indexes(name).map_err(|error| session.fail(&error))?;
    }
    let Some(failed) = found()?.into_iter().find(|index| index.state == "failed") else {
        return Ok(());
    };
    for (one, other) in &failed.duplicates {
        note(format_args!("{name} {one} and {other} have the same values"));
    }
    let message = format!("the unique index of `{name}` on {} failed", joined(&failed.fields));
    let failure = Failure::new(Exit::Refused, message);
    Err(failure.hint("give these records values of their own, and make the index again"))
}

fn joined(fields: &[FieldName]) -> String {
    let names: Vec<_> = fields.iter().map(FieldName::as_str).collect();
    names.join(", ")
}

fn indexes(session: &Session<'_>, name: &SchemaName) -> Done {
    let found = session.db.schemas().indexes(name).map_err(|error| session.fail(&error))?;
    print_indexes(&mut Out::new(), session.invocation.format, &found)
}

fn print_indexes(out: &mut Out, format: Format, indexes: &[IndexStatus]) -> Done {
    let row = |index: &IndexStatus| {
        let fields = match format {
            Format::Json | Format::Ndjson => {
                Value::from(index.fields.iter().map(FieldName::as_str).collect::<Vec<_>>())
            }
            Format::Table | Format::Csv => Value::from(joined(&index.fields)),
        };
        vec![fields, index.unique.into(), index.state.into()]
    };
    let rows = indexes.iter().map(row).collect();
    print_rows(out, format, &["index", "unique", "state"], rows)
}

fn delete(session: &Session<'_>, name: &SchemaName) -> Done {
    let receipt = session.db.schemas().delete(name).map_err(|error| session.fail(&error))?;
    print_changed(session, vec![changed(name, "deleted", &receipt)])
}

fn changed(name: &SchemaName, state: &str, receipt: &Receipt) -> Vec<Value> {
    vec![name.as_str().into(), state.into(), int(receipt.commit.0), receipt.time.into()]
}

fn print_changed(session: &Session<'_>, rows: Vec<Vec<Value>>) -> Done {
    let columns = ["schema", "state", "commit", "time"];
    print_rows(&mut Out::new(), session.invocation.format, &columns, rows)
}

fn list(session: &Session<'_>) -> Done {
    let schemas = session.db.pool().schemas();
    let row = |status: SchemaStatus| {
        let entry = schemas.entry(status.name.as_str());
        let description = entry.and_then(|entry| entry.schema.description.clone());
        vec![
            status.name.as_str().into(),
            status.state.as_str().into(),
            int(status.records),
            description.into(),
        ]
    };
    let rows: Vec<_> = session.db.schemas().get_status().into_iter().map(row).collect();
    if rows.is_empty() && session.invocation.format == Format::Table {
        let load = session.invocation.command("schema load PATH");
        footer(format_args!("there are no schemas yet; next: {load}"));
        return Ok(());
    }
    let columns = ["schema", "state", "records", "description"];
    print_rows(&mut Out::new(), session.invocation.format, &columns, rows)
}

fn status(session: &Session<'_>) -> Done {
    let columns = ["schema", "state", "records", "atoms", "loaded", "reason", "source", "hash"];
    let row = |status: SchemaStatus| {
        vec![
            status.name.as_str().into(),
            status.state.as_str().into(),
            int(status.records),
            int(status.atoms),
            int(status.loaded),
            status.reason.into(),
            status.source.into(),
            status.hash.into(),
        ]
    };
    let rows = session.db.schemas().get_status().into_iter().map(row).collect();
    print_rows(&mut Out::new(), session.invocation.format, &columns, rows)
}

fn show(session: &Session<'_>, name: &SchemaName) -> Done {
    let Some(entry) = session.db.pool().schemas().entry(name.as_str()) else {
        let error = DataLayerError::NotFound { what: "schema", name: name.to_string() };
        return Err(session.fail(&FoldDbError::from(error)));
    };
    let mut out = Out::new();
    match session.invocation.format {
        Format::Json | Format::Ndjson => {
            out.json_line(&*entry.schema)?;
            out.flush()
        }
        Format::Csv => print_rows(&mut out, Format::Csv, &FIELD_COLUMNS, field_rows(&entry)),
        Format::Table => {
            head(&mut out, &entry)?;
            print_fields(&mut out, &entry)?;
            let indexes = session.db.schemas().indexes(name);
            match indexes.map_err(|error| session.fail(&error))?.as_slice() {
                [] => Ok(()),
                indexes => {
                    out.line("")?;
                    print_indexes(&mut out, Format::Table, indexes)
                }
            }
        }
    }
}

fn head(out: &mut Out, entry: &SchemaEntry) -> Done {
    let schema = &entry.schema;
    let fields = counted(schema.fields.len() as u64, "field");
    out.line(format_args!("{} is {}, {fields}", schema.name, entry.state))?;
    if let Some(description) = &schema.description {
        out.line(harmless(description))?;
    }
    match schema.key.as_slice() {
        [] => out.line("key: none, it has one record")?,
        key => out.line(format_args!("key: {}", joined(key)))?,
    }
    if schema.payment != SchemaPayment::default() {
        out.line(format_args!("price: {}", schema.payment))?;
    }
    out.line(format_args!("hash: {}\n", entry.hash))
}

/// Prints the fields as a table; what is the usual only where some field has something else.
fn print_fields(out: &mut Out, entry: &SchemaEntry) -> Done {
    let mut columns = FIELD_COLUMNS.to_vec();
    let mut rows = field_rows(entry);
    for (name, usual) in USUAL {
        let Some(at) = columns.iter().position(|column| *column == name) else { continue };
        let usual = usual.map_or(Value::Null, Value::from);
        if rows.iter().all(|row| row.get(at) == Some(&usual)) {
            columns.remove(at);
            rows.iter_mut().for_each(|row| drop(row.remove(at)));
        }
    }
    print_rows(out, Format::Table, &columns, rows)
}

/// Columns that say nothing if they are like this in all rows.
const USUAL: [(&str, Option<&str>); 5] = [
    ("default", None),
    ("read", Some("owner")),
    ("write", Some("owner")),
    ("price", Some("1")),
    ("description", None),
];
const FIELD_COLUMNS: [&str; 8] =
    ["field", "kind", "value", "default", "read", "write", "price", "description"];

fn field_rows(entry: &SchemaEntry) -> Vec<Vec<Value>> {
    let row = |field: &Field| {
        vec![
            field.name.as_str().into(),
            field.kind.as_str().into(),
            value_of(field).into(),
            field.default.clone().unwrap_or_default(),
            field.permission.readers().into(),
            field.permission.writers().into(),
            field.payment.to_string().into(),
            field.description.clone().into(),
        ]
    };
    entry.schema.fields.iter().map(row).collect()
}

/// What a field accepts: its types and format in words if that is all, else its JSON Schema.
fn value_of(field: &Field) -> Option<String> {
    let json = field.value.as_ref()?.json();
    let Value::Object(members) = json else { return Some(json.to_json()) };
    let words = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        Value::Array(types) => {
            let types: Option<Vec<_>> = types.iter().map(Value::as_text).collect();
            types.map(|types| types.join(" or "))
        }
        _ => None,
    };
    let types = members.get("type").and_then(words);
    let format = members.get("format").and_then(Value::as_text);
    match (types, format, members.len()) {
        (Some(types), None, 1) => Some(types),
        (Some(types), Some(format), 2) => Some(format!("{types} ({format})")),
        _ => Some(json.to_json()),
    }
}
