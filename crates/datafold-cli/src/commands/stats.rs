//! `stats`: what the store holds.

use datafold::data_layer::{DatabaseStats, SchemaStats};
use datafold::model::Value;
use serde::Serialize;

use crate::Done;
use crate::invocation::Invocation;
use crate::output::{Count, Format, Out, counted, int, print_rows};
use crate::session::Session;

#[derive(Debug, Serialize)]
struct Answer {
    store: String,
    engine: &'static str,
    store_id: String,
    format_version: u32,
    space: String,
    size_bytes: u64,
    commit: u64,
    time: Option<String>,
    schemas: u64,
    records: u64,
    elements: u64,
    atoms: u64,
    transforms: u64,
    by_schema: Vec<SchemaAnswer>,
}

#[derive(Debug, Serialize)]
struct SchemaAnswer {
    schema: String,
    state: &'static str,
    records: u64,
    atoms: u64,
}

/// The columns of the schemas.
pub(crate) const COLUMNS: [&str; 4] = ["schema", "state", "records", "atoms"];

/// Prints the counters of the space.
pub(crate) fn run(invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    let stats = session.db.stats().map_err(|error| session.fail(&error))?;
    let mut out = Out::new();
    match invocation.format {
        Format::Table => print_table(&mut out, &stats, invocation)?,
        Format::Json | Format::Ndjson => out.json_line(&answer(&stats, invocation))?,
        Format::Csv => print_rows(&mut out, Format::Csv, &COLUMNS, rows(&stats))?,
    }
    out.flush()?;
    session.close()
}

fn space(invocation: &Invocation) -> &str {
    invocation.space.as_deref().unwrap_or("default")
}

fn print_table(out: &mut Out, stats: &DatabaseStats, invocation: &Invocation) -> Done {
    let store = &stats.store;
    out.line(format_args!("store    {} ({}, {})", store.url, store.engine, store.id))?;
    out.line(format_args!("size     {}", size(stats.size_bytes)))?;
    out.line(format_args!("space    {}", space(invocation)))?;
    match stats.commit.0 {
        0 => out.line("commit   none yet")?,
        commit => out.line(format_args!("commit   {commit} of {}", stats.time))?,
    }
    out.line(format_args!("records  {}", Count(stats.total_records)))?;
    out.line(format_args!("atoms    {}", Count(stats.total_atoms)))?;
    if stats.schemas.is_empty() {
        return Ok(());
    }
    out.text("\n")?;
    print_rows(out, Format::Table, &COLUMNS, rows(stats))
}

/// One row a schema.
pub(crate) fn rows(stats: &DatabaseStats) -> Vec<Vec<Value>> {
    let row = |schema: &SchemaStats| {
        vec![
            schema.name.as_str().into(),
            schema.state.as_str().into(),
            int(schema.counters.records),
            int(schema.counters.atoms),
        ]
    };
    stats.schemas.iter().map(row).collect()
}

fn answer(stats: &DatabaseStats, invocation: &Invocation) -> Answer {
    let by_schema = stats.schemas.iter().map(|schema| SchemaAnswer {
        schema: schema.name.to_string(),
        state: schema.state.as_str(),
        records: schema.counters.records,
        atoms: schema.counters.atoms,
    });
    Answer {
        store: stats.store.url.clone(),
        engine: stats.store.engine,
        store_id: stats.store.id.to_string(),
        format_version: stats.store.format_version,
        space: space(invocation).to_owned(),
        size_bytes: stats.size_bytes,
        commit: stats.commit.0,
        time: (stats.commit.0 > 0).then(|| stats.time.to_string()),
        schemas: stats.total_schemas,
        records: stats.total_records,
        elements: stats.total_elements,
        atoms: stats.total_atoms,
        transforms: stats.total_transforms,
        by_schema: by_schema.collect(),
    }
}

/// A number of bytes in words.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes >> bits > 0);
    match unit {
        None => counted(bytes, "byte"),
        Some((unit, bits)) => {
            let tenths = (u128::from(bytes) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(12 << 20), "12.0 MiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
    }
}
