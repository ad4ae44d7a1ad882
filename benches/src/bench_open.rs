//! How long opening takes.

use std::time::Instant;

use datafold::FoldDb;
use datafold::model::{SchemaName, SchemaState};

use crate::Size;
use crate::fixture;
use crate::table::{Table, median};

pub(crate) fn run(size: Size, table: &mut Table) {
    let folder = fixture::folder();
    let records = folder.path().join("records");
    fixture::filled(&records, size.records);
    let schemas = folder.path().join("schemas");
    approve(&schemas, 1_000);
    for (what, path) in [
        (format!("open {} records", size.records), records),
        ("open 1000 approved schemas of 20 fields".to_owned(), schemas),
    ] {
        let time = |_| {
            let start = Instant::now();
            let db = fixture::open(&path);
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            db.pool().close().unwrap();
            elapsed
        };
        let ms = median((0..size.rounds).map(time).collect());
        table.add(&what, format!("{ms:.1} ms"), "100 ms".into(), ms / 100.0, "at most 1");
    }
}

fn approve(path: &std::path::Path, count: usize) {
    let db = FoldDb::create(path.to_str().unwrap()).unwrap();
    let mut names: Vec<SchemaName> = Vec::new();
    for number in 0..count {
        let fields: Vec<String> = (0..20)
            .map(|field| {
                format!(
                    r#""field_{field}": {{"value": {{"type": ["number", "null"]}},
                        "description": "Number {field}"}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"name": "Schema{number}", "key": ["field_0"], "fields": {{{}}}}}"#,
            fields.join(", ")
        );
        names.push(db.schemas().load_text(&text, Some("bench")).unwrap().name);
    }
    db.schemas().set_states(&names, SchemaState::Approved, None).unwrap();
    db.pool().close().unwrap();
}
