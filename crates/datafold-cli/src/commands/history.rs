//! `history`: the versions of a record or field.

use std::num::NonZeroUsize;

use datafold::data_layer::{Atom, CommitNumber};
use datafold::model::{FieldKind, FieldName, SchemaName, Value};

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, int, tell_hidden};
use crate::session::Session;

/// The columns of a history, of a schema that has no elements.
pub(crate) const COLUMNS: [&str; 7] =
    ["commit", "time", "writer", "field", "status", "value", "atom"];
/// Where the column `element` stands, if there is one.
const ELEMENT_AT: usize = 4;
/// So many versions are read at once.
const PAGE: usize = 1_000;

/// Of what the versions are wanted.
pub(crate) struct Cell<'a> {
    pub(crate) schema: &'a SchemaName,
    pub(crate) field: Option<&'a FieldName>,
    pub(crate) element: Option<String>,
}

/// Prints the versions, the newest first.
pub(crate) fn run(
    cell: Cell<'_>,
    key: &str,
    limit: Option<NonZeroUsize>,
    invocation: &Invocation,
) -> Done {
    let session = Session::open(invocation)?;
    let key = parse_key(key)?;
    let mut out = Out::new();
    let with_elements = has_elements(&session, &cell);
    let mut columns = COLUMNS.map(str::to_owned).to_vec();
    if with_elements {
        columns.insert(ELEMENT_AT, "element".to_owned());
    }
    let (before, left, done) = (None, limit.map(NonZeroUsize::get), false);
    let mut versions = Versions { session: &session, cell: &cell, key: &key, before, left, done };
    let mut page = versions.next_page()?;
    if page.is_empty() {
        let message = format!("{} of `{}` has no versions", place(&cell, key), cell.schema);
        let schema = &cell.schema;
        let hint = match cell.field {
            Some(_) => invocation.command(&format!("history {schema} KEY tells all fields")),
            None => {
                let query = invocation.command(&format!("query {schema} --select"));
                format!("{query} FIELD tells the records that exist")
            }
        };
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    }
    let mut rows = RowWriter::begin(&mut out, invocation.format, columns)?;
    while !page.is_empty() {
        for atom in &page {
            let mut row = row_of(atom);
            if with_elements {
                row.insert(ELEMENT_AT, atom.cell.element.clone().into());
            }
            rows.row(&row)?;
        }
        page = versions.next_page()?;
    }
    let hidden = rows.finish()?;
    if invocation.format == Format::Json {
        out.text("\n")?;
    }
    out.flush()?;
    tell_hidden(&hidden);
    session.close()
}

/// Whether elements can be among the versions; what is wrong with the names, the library says.
fn has_elements(session: &Session<'_>, cell: &Cell<'_>) -> bool {
    let entry = session.db.pool().schemas().entry(cell.schema.as_str());
    let mut fields = entry.iter().flat_map(|entry| &entry.schema.fields);
    fields.any(|field| {
        field.kind != FieldKind::Single && cell.field.is_none_or(|name| *name == field.name)
    })
}

/// What the versions are of, in words.
fn place(cell: &Cell<'_>, key: Vec<Value>) -> String {
    let record = format!("record {}", Value::Array(key).to_json());
    match (cell.field, &cell.element) {
        (Some(field), Some(element)) => {
            let element = Value::from(element.as_str()).to_json();
            format!("the element {element} of the field `{field}` of {record}")
        }
        (Some(field), None) => format!("the field `{field}` of {record}"),
        (None, _) => record,
    }
}

/// The versions of a cell, element or record, page by page.
struct Versions<'a> {
    session: &'a Session<'a>,
    cell: &'a Cell<'a>,
    key: &'a [Value],
    before: Option<CommitNumber>,
    /// So many are still wanted; all if there is no limit.
    left: Option<usize>,
    done: bool,
}

impl Versions<'_> {
    /// The next versions; none at the end. A page ends with a whole commit.
    fn next_page(&mut self) -> Result<Vec<Atom>, Failure> {
        if self.done {
            return Ok(Vec::new());
        }
        let wanted = self.left.map_or(PAGE, |left| left.min(PAGE));
        let mut page = self.read(wanted)?;
        self.done = page.len() < wanted;
        self.before = page.last().map(|atom| atom.commit);
        if let Some(left) = &mut self.left {
            // The last commit is never split, so there can be more than was asked for.
            page.truncate(*left);
            *left -= page.len();
            self.done |= *left == 0;
        }
        Ok(page)
    }

    fn read(&self, limit: usize) -> Result<Vec<Atom>, Failure> {
        let (db, before) = (&self.session.db, self.before);
        let Cell { schema, field, element } = self.cell;
        let page = match (field, element) {
            (Some(field), Some(element)) => {
                db.element_history(schema, self.key, field, element, before, limit)
            }
            _ => db.history(schema, self.key, *field, before, limit),
        };
        page.map_err(|error| self.session.fail(&error))
    }
}

/// A version as a row.
pub(crate) fn row_of(atom: &Atom) -> Vec<Value> {
    vec![
        int(atom.commit.0),
        atom.time.into(),
        atom.writer.to_string().into(),
        atom.cell.field.as_ref().map(FieldName::to_string).into(),
        atom.status.to_string().into(),
        atom.value.clone(),
        atom.id.to_string().into(),
    ]
}
