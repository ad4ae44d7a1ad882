//! `history`: the versions of a record or field.

use std::num::NonZeroUsize;

use datafold::data_layer::{Atom, CommitNumber};
use datafold::model::{FieldName, SchemaName, Value};

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::key::parse_key;
use crate::output::{Format, Out, RowWriter, int, tell_hidden};
use crate::session::Session;

/// The columns of a history.
pub(crate) const COLUMNS: [&str; 7] =
    ["commit", "time", "writer", "field", "status", "value", "atom"];
/// So many versions are read at once.
const PAGE: usize = 1_000;

/// Prints the versions, the newest first.
pub(crate) fn run(
    schema: &SchemaName,
    key: &str,
    field: Option<&FieldName>,
    limit: Option<NonZeroUsize>,
    invocation: &Invocation,
) -> Done {
    let session = Session::open(invocation)?;
    let key = parse_key(key)?;
    let mut out = Out::new();
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let (before, left, done) = (None, limit.map(NonZeroUsize::get), false);
    let mut versions = Versions { session: &session, schema, key: &key, field, before, left, done };
    let mut page = versions.next_page()?;
    if page.is_empty() {
        let key = Value::Array(key).to_json();
        let what = match field {
            Some(field) => format!("the field `{field}` of record {key}"),
            None => format!("record {key}"),
        };
        let message = format!("{what} of `{schema}` has no versions");
        let query = invocation.command(&format!("query {schema} --select"));
        let hint = match field {
            Some(_) => invocation.command(&format!("history {schema} KEY tells all fields")),
            None => format!("{query} FIELD tells the records that exist"),
        };
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    }
    let mut rows = RowWriter::begin(&mut out, invocation.format, columns)?;
    while !page.is_empty() {
        for atom in &page {
            rows.row(&row_of(atom))?;
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

/// The versions of a cell or record, page by page.
struct Versions<'a> {
    session: &'a Session<'a>,
    schema: &'a SchemaName,
    key: &'a [Value],
    field: Option<&'a FieldName>,
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
        let db = &self.session.db;
        let page = db.history(self.schema, self.key, self.field, self.before, limit);
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
