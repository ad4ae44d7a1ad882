//! `transform graph`: which fields are computed from which.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use datafold::engine::{FieldRole, GraphField, TransformGraph};
use datafold::model::{SchemaName, Value};
use serde::Serialize;

use super::svg;
use crate::Done;
use crate::failure::Failure;
use crate::harmless::harmless;
use crate::output::{Format, Out, footer, int, print_rows};
use crate::session::Session;

const COLUMNS: [&str; 7] = ["schema", "field", "role", "revision", "state", "layer", "from"];

/// A field of a graph in JSON.
#[derive(Debug, Serialize)]
struct Node<'g> {
    schema: &'g str,
    field: &'g str,
    role: &'static str,
    revision: Option<u32>,
    state: Option<&'static str>,
    layer: usize,
    from: Vec<String>,
}

/// Prints the graph, or draws it to a file.
pub(super) fn run(session: &Session<'_>, schema: Option<&SchemaName>, svg: Option<&Path>) -> Done {
    let graph = session.db.transform_graph(schema).map_err(|error| session.fail(&error))?;
    if let Some(path) = svg {
        let drawing = svg::draw(&graph);
        let write = || File::create_new(path)?.write_all(drawing.as_bytes());
        write().map_err(|error| Failure::io(path.display(), &error))?;
        footer(format_args!("wrote {}", path.display()));
        return Ok(());
    }
    print(&graph, session.invocation.format)
}

fn print(graph: &TransformGraph, format: Format) -> Done {
    let mut out = Out::new();
    match format {
        Format::Table if graph.fields.is_empty() => {
            footer("there are no computed fields; docs/transforms.md tells how to make some");
            Ok(())
        }
        Format::Table => {
            for line in trees(graph) {
                out.line(line)?;
            }
            out.flush()
        }
        Format::Json => {
            out.json_line(
                &graph.fields.iter().map(|field| node(graph, field)).collect::<Vec<_>>(),
            )?;
            out.flush()
        }
        Format::Ndjson | Format::Csv => {
            let rows = graph.fields.iter().map(|field| row(graph, field, format));
            print_rows(&mut out, format, &COLUMNS, rows.collect())
        }
    }
}

fn full_name(field: &GraphField) -> String {
    format!("{}.{}", field.schema, field.field)
}

fn node<'g>(graph: &'g TransformGraph, field: &'g GraphField) -> Node<'g> {
    let from = field.from.iter().filter_map(|at| graph.fields.get(*at));
    Node {
        schema: field.schema.as_str(),
        field: field.field.as_str(),
        role: field.role.as_str(),
        revision: field.revision.map(|revision| revision.0),
        state: field.state,
        layer: field.layer,
        from: from.map(full_name).collect(),
    }
}

fn row(graph: &TransformGraph, field: &GraphField, format: Format) -> Vec<Value> {
    let found = node(graph, field);
    let from = match format {
        Format::Ndjson => Value::from(found.from),
        _ => Value::from(found.from.join(", ")),
    };
    vec![
        found.schema.into(),
        found.field.into(),
        found.role.into(),
        found.revision.map(|revision| int(revision.into())).unwrap_or_default(),
        found.state.map(str::to_owned).into(),
        int(field.layer as u64),
        from,
    ]
}

/// A tree below each field that nothing is made from, down to what is written.
fn trees(graph: &TransformGraph) -> Vec<String> {
    let read: BTreeSet<usize> =
        graph.fields.iter().flat_map(|field| &field.from).copied().collect();
    let ends = (0..graph.fields.len()).filter(|at| !read.contains(at));
    let mut trees = Trees { graph, told: BTreeSet::new(), lines: Vec::new() };
    for end in ends {
        trees.field(end, "", "");
    }
    trees.lines
}

struct Trees<'g> {
    graph: &'g TransformGraph,
    /// The fields whose trees stand above.
    told: BTreeSet<usize>,
    lines: Vec<String>,
}

impl Trees<'_> {
    fn field(&mut self, at: usize, branch: &str, below: &str) {
        let Some(field) = self.graph.fields.get(at) else { return };
        let is_repeated = !field.from.is_empty() && !self.told.insert(at);
        let note = match (field.role, field.state) {
            _ if is_repeated => "  (above)".to_owned(),
            (FieldRole::Computed, Some("ready")) => "  computed".to_owned(),
            (FieldRole::Computed, state) => format!("  computed, {}", state.unwrap_or_default()),
            (FieldRole::Mapped, _) => "  mapped".to_owned(),
            _ => String::new(),
        };
        self.lines.push(harmless(&format!("{branch}{}{note}", full_name(field))));
        if is_repeated {
            return;
        }
        for (place, from) in field.from.iter().enumerate() {
            let is_last = place + 1 == field.from.len();
            let (branch, longer) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.field(*from, &format!("{below}{branch}"), &format!("{below}{longer}"));
        }
    }
}
