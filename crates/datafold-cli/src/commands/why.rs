//! `why`: what a value was made from.

use std::fmt::Write;

use datafold::data_layer::{Derivation, FailedDerivation, Lineage, LineageAtom, Origin};
use datafold::engine::Why;
use datafold::model::{FieldName, SchemaName, Value};
use serde::Serialize;

use crate::Done;
use crate::harmless::{cut, harmless};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, counted, footer, int, plain, print_rows};
use crate::session::Session;

/// Values and logic are cut behind so many characters in the tree.
const SHOWN_CHARACTERS_MAX: usize = 100;

/// Of which value it is told.
pub(crate) struct Cell<'a> {
    pub(crate) schema: &'a SchemaName,
    pub(crate) key: &'a str,
    pub(crate) field: &'a FieldName,
}

/// Prints the tree below a value.
pub(crate) fn run(cell: Cell<'_>, as_of: Option<&str>, invocation: &Invocation) -> Done {
    let session = Session::open(invocation)?;
    let key = parse_key(cell.key)?;
    let moment = session.db.moment(as_of).map_err(|error| session.fail(&error))?;
    let why = session.db.why(cell.schema, &key, cell.field, moment);
    let why = why.map_err(|error| session.fail(&error))?;
    let mut out = Out::new();
    match invocation.format {
        Format::Table => {
            for line in tree(&why.lineage) {
                out.line(line)?;
            }
            out.flush()?;
            footer(as_of_line(&why));
        }
        Format::Json => {
            out.json_line(&Node::of(&why.lineage))?;
            out.flush()?;
        }
        Format::Ndjson | Format::Csv => {
            let mut rows = Vec::new();
            add_rows(&why.lineage, 0, "value", &mut rows);
            print_rows(&mut out, invocation.format, &COLUMNS, rows)?;
        }
    }
    session.close()
}

/// When a tree was read.
pub(crate) fn as_of_line(why: &Why) -> String {
    let time = why.time.map(|time| format!(" ({time})")).unwrap_or_default();
    format!("as of commit {}{time}", why.commit)
}

/// The tree, line by line.
pub(crate) fn tree(lineage: &Lineage) -> Vec<String> {
    let mut lines = vec![harmless(&format!("{} {}", lineage.schema, lineage.key))];
    let mut drawing = Drawing { lines: &mut lines, prefix: String::new() };
    drawing.node(lineage, lineage, "");
    lines
}

struct Drawing<'l> {
    lines: &'l mut Vec<String>,
    /// What stands in front of every line below the present node.
    prefix: String,
}

impl Drawing<'_> {
    fn node(&mut self, node: &Lineage, parent: &Lineage, branch: &str) {
        let mut line =
            format!("{}{branch}{} = {}", self.prefix, name_of(node, parent), shown(node));
        let source = source_of(node);
        if !source.is_empty() {
            let _ = write!(line, "  {source}");
        }
        self.lines.push(line);
        let longer = match branch {
            "" => "",
            "└─ " => "   ",
            _ => "│  ",
        };
        let before = self.prefix.len();
        self.prefix.push_str(longer);
        if let Origin::Computed(derivation) = &node.origin {
            self.derivation(node, derivation);
        }
        self.prefix.truncate(before);
    }

    fn derivation(&mut self, node: &Lineage, derivation: &Derivation) {
        let has_inputs = !derivation.inputs.is_empty() || derivation.left_out > 0;
        let gutter = if has_inputs || derivation.failure.is_some() { "│  " } else { "   " };
        let mut remarks = vec![in_one_line(&derivation.definition.logic)];
        if derivation.is_repeated {
            remarks.push("what it was computed from stands above".to_owned());
        }
        if let Some(commit) = derivation.unchanged_since {
            remarks.push(format!("its inputs changed in commit {commit}, with the same result"));
        }
        for remark in remarks {
            self.lines.push(format!("{}{gutter}{remark}", self.prefix));
        }
        self.inputs(node, &derivation.inputs, derivation.left_out, derivation.failure.is_none());
        if let Some(failed) = &derivation.failure {
            self.failure(node, failed);
        }
    }

    fn inputs(&mut self, node: &Lineage, inputs: &[Lineage], left_out: usize, is_end: bool) {
        for (at, input) in inputs.iter().enumerate() {
            let is_last = is_end && left_out == 0 && at + 1 == inputs.len();
            self.node(input, node, if is_last { "└─ " } else { "├─ " });
        }
        if left_out > 0 {
            let branch = if is_end { "└─ " } else { "├─ " };
            let more = counted(left_out as u64, "more input");
            self.lines.push(format!("{}{branch}… {more}", self.prefix));
        }
    }

    fn failure(&mut self, node: &Lineage, failed: &FailedDerivation) {
        let FailedDerivation { error, time, inputs, left_out } = failed;
        let place = match error.line {
            0 => String::new(),
            line => format!("line {line}, column {}: ", error.column),
        };
        let times = counted(error.count, "failure");
        let told = harmless(&format!("{place}{}", error.message));
        let (prefix, commit) = (&self.prefix, error.commit);
        self.lines.push(format!("{prefix}└─ failed in commit {commit}, {time} ({times}): {told}"));
        let before = self.prefix.len();
        self.prefix.push_str("   ");
        self.inputs(node, inputs, *left_out, true);
        self.prefix.truncate(before);
    }
}

/// The field, with the record and schema if they are others than above.
fn name_of(node: &Lineage, parent: &Lineage) -> String {
    let name = if node.schema != parent.schema || node.key != parent.key {
        format!("{} {}.{}", node.schema, node.key, node.field)
    } else {
        node.field.to_string()
    };
    harmless(&match &node.mapped_from {
        Some((schema, field)) => format!("{name} ({schema}.{field})"),
        None => name,
    })
}

fn shown(node: &Lineage) -> String {
    if let Origin::Aggregate { is_known: false, .. } | Origin::Elements { is_known: false } =
        node.origin
    {
        return "?".to_owned();
    }
    let text = match &node.value {
        Value::Text(_) => node.value.to_json(),
        value => plain(value),
    };
    cut(&harmless(&text), SHOWN_CHARACTERS_MAX)
}

/// Who wrote a value, and when.
fn source_of(node: &Lineage) -> String {
    let Some(LineageAtom { commit, time, writer, .. }) = &node.atom else {
        return match &node.origin {
            Origin::Key => "part of the key".to_owned(),
            Origin::Computed(derivation) if derivation.state.as_str() == "filling" => {
                format!("transform-{}, which has not reached the record yet", derivation.revision)
            }
            Origin::Computed(derivation) => format!("transform-{}", derivation.revision),
            Origin::Elements { .. } => match &node.value {
                Value::Object(elements) => counted(elements.len() as u64, "element"),
                _ => "too many elements".to_owned(),
            },
            Origin::Aggregate { definition, is_known, is_current } => {
                let note = match (is_known, is_current) {
                    (false, _) => ", as it was then",
                    (true, true) => ", now",
                    (true, false) => "",
                };
                harmless(&format!("{}{note}", in_one_line(&definition.to_string())))
            }
            _ => "never written".to_owned(),
        };
    };
    let taken = match node.value {
        Value::Null if writer.transform().is_none() => "taken away by ",
        _ => "",
    };
    let note = match &node.origin {
        Origin::Unregistered(_) => ", which is not registered any more",
        _ => "",
    };
    format!("{taken}{writer}{note}, commit {commit}, {time}")
}

/// Logic in one line.
pub(crate) fn in_one_line(logic: &str) -> String {
    let words: Vec<_> = logic.split_whitespace().collect();
    cut(&harmless(&words.join(" ")), SHOWN_CHARACTERS_MAX)
}

const COLUMNS: [&str; 13] = [
    "depth", "schema", "key", "field", "value", "as", "origin", "writer", "commit", "time", "atom",
    "logic", "error",
];

/// The tree as rows, each behind the one that was made from it.
fn add_rows(node: &Lineage, depth: u64, of: &str, rows: &mut Vec<Vec<Value>>) {
    let (origin, derivation) = match &node.origin {
        Origin::Computed(derivation) => ("computed", Some(derivation)),
        origin => (origin_name(origin), None),
    };
    let key = node.key.values().map(Value::Array).unwrap_or_default();
    let error = derivation.and_then(|found| found.failure.as_ref());
    let atom = node.atom.as_ref();
    rows.push(vec![
        int(depth),
        node.schema.as_str().into(),
        key,
        node.field.as_str().into(),
        node.value.clone(),
        of.into(),
        origin.into(),
        atom.map(|atom| atom.writer.to_string()).into(),
        atom.map(|atom| int(atom.commit.0)).unwrap_or_default(),
        atom.map(|atom| atom.time.into()).unwrap_or_default(),
        atom.map(|atom| atom.id.to_string()).into(),
        derivation.map(|found| found.definition.logic.clone()).into(),
        error.map(|failed| failed.error.message.clone()).into(),
    ]);
    for input in derivation.iter().flat_map(|found| &found.inputs) {
        add_rows(input, depth + 1, "input", rows);
    }
    for input in error.iter().flat_map(|failed| &failed.inputs) {
        add_rows(input, depth + 1, "input of failure", rows);
    }
}

fn origin_name(origin: &Origin) -> &'static str {
    match origin {
        Origin::Key => "key",
        Origin::Computed(_) => "computed",
        Origin::Aggregate { .. } => "aggregate",
        Origin::Elements { .. } => "elements",
        Origin::Unregistered(_) => "unregistered",
        _ => "written",
    }
}

/// A value in JSON.
#[derive(Debug, Serialize)]
struct Node<'l> {
    schema: &'l str,
    key: Value,
    field: &'l str,
    value: &'l Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped_from: Option<String>,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate: Option<NodeAggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    atom: Option<NodeAtom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform: Option<NodeTransform<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Vec<Node<'l>>>,
    #[serde(skip_serializing_if = "is_zero")]
    inputs_left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<NodeFailure<'l>>,
}

#[derive(Debug, Serialize)]
struct NodeAggregate {
    /// As it is defined, in one line.
    definition: String,
    is_known: bool,
    /// Whether it is the value of now.
    is_current: bool,
}

#[derive(Debug, Serialize)]
struct NodeAtom {
    id: String,
    commit: u64,
    time: String,
    writer: String,
}

#[derive(Debug, Serialize)]
struct NodeTransform<'l> {
    revision: u32,
    state: &'static str,
    logic: &'l str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    told_above: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged_since: Option<u64>,
}

#[derive(Debug, Serialize)]
struct NodeFailure<'l> {
    commit: u64,
    time: String,
    count: u64,
    code: &'l str,
    message: &'l str,
    line: usize,
    column: usize,
    inputs: Vec<Node<'l>>,
    #[serde(skip_serializing_if = "is_zero")]
    inputs_left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'l> Node<'l> {
    fn of(node: &'l Lineage) -> Self {
        let derivation = match &node.origin {
            Origin::Computed(derivation) => Some(&**derivation),
            _ => None,
        };
        let aggregate = match &node.origin {
            Origin::Aggregate { definition, is_known, is_current } => Some(NodeAggregate {
                definition: definition.to_string(),
                is_known: *is_known,
                is_current: *is_current,
            }),
            _ => None,
        };
        let atom = node.atom.as_ref().map(|atom| NodeAtom {
            id: atom.id.to_string(),
            commit: atom.commit.0,
            time: atom.time.to_string(),
            writer: atom.writer.to_string(),
        });
        let transform = derivation.map(|found| NodeTransform {
            revision: found.revision.0,
            state: found.state.as_str(),
            logic: &found.definition.logic,
            told_above: found.is_repeated,
            unchanged_since: found.unchanged_since.map(|commit| commit.0),
        });
        let failed = derivation.and_then(|found| found.failure.as_ref());
        Self {
            schema: node.schema.as_str(),
            key: node.key.values().map(Value::Array).unwrap_or_default(),
            field: node.field.as_str(),
            value: &node.value,
            mapped_from: node
                .mapped_from
                .as_ref()
                .map(|(schema, field)| format!("{schema}.{field}")),
            origin: origin_name(&node.origin),
            aggregate,
            atom,
            transform,
            inputs: derivation.map(|found| found.inputs.iter().map(Node::of).collect()),
            inputs_left_out: derivation.map_or(0, |found| found.left_out),
            failure: failed.map(|failed| NodeFailure {
                commit: failed.error.commit.0,
                time: failed.time.to_string(),
                count: failed.error.count,
                code: &failed.error.code,
                message: &failed.error.message,
                line: failed.error.line,
                column: failed.error.column,
                inputs: failed.inputs.iter().map(Node::of).collect(),
                inputs_left_out: failed.left_out,
            }),
        }
    }
}
