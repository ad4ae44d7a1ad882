//! `verify`: reads everything and checks that it fits together.

use datafold::data_layer::VerifyReport;
use datafold::model::Value;
use serde::Serialize;

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::harmless::harmless;
use crate::invocation::Invocation;
use crate::output::{Format, Out, counted, int, print_rows};
use crate::session::{self, Session};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    sound: bool,
    commits: u64,
    records: u64,
    elements: u64,
    atoms: u64,
    problems_found: u64,
    problems: &'a [String],
}

/// Checks the pages of the store, then the rows of the space.
pub(crate) fn run(invocation: &Invocation) -> Done {
    let mut options = session::reading();
    options.store.check_integrity = true;
    let session = Session::open_with(invocation, options)?;
    let report = session.db.verify().map_err(|error| session.fail(&error))?;
    print(&report, invocation.format)?;
    session.close()?;
    if report.is_sound() {
        return Ok(());
    }
    let found = counted(report.problems_found, "problem");
    Err(Failure::new(Exit::Store, format!("the store is not sound: {found}")))
}

fn print(report: &VerifyReport, format: Format) -> Done {
    let mut out = Out::new();
    match format {
        Format::Table => {
            let (commits, records) =
                (counted(report.commits, "commit"), counted(report.records, "record"));
            let atoms = counted(report.atoms, "atom");
            let elements = counted(report.elements, "element");
            out.line(format_args!("read {commits}, {records}, {elements} and {atoms}"))?;
            for problem in &report.problems {
                out.line(format_args!("problem: {}", harmless(problem)))?;
            }
            let more = report.problems_found.saturating_sub(report.problems.len() as u64);
            if more > 0 {
                out.line(format_args!("… and {}", counted(more, "more problem")))?;
            }
            if report.is_sound() {
                out.line("everything fits together")?;
            }
        }
        Format::Json | Format::Ndjson => out.json_line(&Answer {
            sound: report.is_sound(),
            commits: report.commits,
            records: report.records,
            elements: report.elements,
            atoms: report.atoms,
            problems_found: report.problems_found,
            problems: &report.problems,
        })?,
        Format::Csv => {
            let columns = ["sound", "commits", "records", "elements", "atoms", "problems_found"];
            let row: Vec<Value> = vec![
                report.is_sound().into(),
                int(report.commits),
                int(report.records),
                int(report.elements),
                int(report.atoms),
                int(report.problems_found),
            ];
            print_rows(&mut out, format, &columns, vec![row])?;
        }
    }
    out.flush()
}
