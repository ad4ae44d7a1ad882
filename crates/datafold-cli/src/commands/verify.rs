//! `verify`: reads everything and checks that it fits together.

use std::ops::ControlFlow;

use datafold::data_layer::{DerivedDifference, VerifyReport};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    derived: Option<DerivedAnswer>,
}

/// What the computed values were found to be.
#[derive(Debug, Serialize)]
struct DerivedAnswer {
    values: u64,
    failing: u64,
    filling: u64,
    stale: u64,
    unregistered: u64,
    aggregated: u64,
    differences_found: u64,
    differences: Vec<DifferenceAnswer>,
}

#[derive(Debug, Serialize)]
struct DifferenceAnswer {
    schema: String,
    key: Value,
    field: String,
    commit: u64,
    stored: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    computed: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// At most so many differences are described; the others are counted.
const DIFFERENCES_SHOWN: usize = 100;

/// Checks the pages of the store, then the rows of the space, then if wanted the computed values.
pub(crate) fn run(with_derived: bool, invocation: &Invocation) -> Done {
    let mut options = session::reading();
    options.store.check_integrity = true;
    let session = Session::open_with(invocation, options)?;
    let report = session.db.verify().map_err(|error| session.fail(&error))?;
    // What is damaged explains nothing.
    let is_wanted = with_derived && report.is_sound();
    let derived = is_wanted.then(|| check_derived(&session)).transpose()?;
    let differing = derived.as_ref().map_or(0, |derived| derived.differences_found);
    print(&report, derived, invocation.format)?;
    session.close()?;
    if !report.is_sound() {
        let found = counted(report.problems_found, "problem");
        return Err(Failure::new(Exit::Store, format!("the store is not sound: {found}")));
    }
    if differing > 0 {
        let found = counted(differing, "computed value");
        let failure = Failure::new(Exit::Store, format!("{found} not as computed"));
        return Err(failure.hint("`transform run` computes a field again"));
    }
    Ok(())
}

fn check_derived(session: &Session<'_>) -> Result<DerivedAnswer, Failure> {
    let mut differences = Vec::new();
    let report = session.db.verify_derived(|difference| {
        if differences.len() < DIFFERENCES_SHOWN {
            differences.push(told_difference(difference));
        }
        ControlFlow::Continue(())
    });
    let report = report.map_err(|error| session.fail(&error))?;
    Ok(DerivedAnswer {
        values: report.values,
        failing: report.failing,
        filling: report.filling,
        stale: report.stale,
        unregistered: report.unregistered,
        aggregated: report.aggregated,
        differences_found: report.differences,
        differences,
    })
}

fn told_difference(found: DerivedDifference) -> DifferenceAnswer {
    let (computed, error) = match found.computed {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    };
    DifferenceAnswer {
        schema: found.schema.to_string(),
        key: found.key.values().map(Value::Array).unwrap_or_default(),
        field: found.field.to_string(),
        commit: found.commit.0,
        stored: found.stored,
        computed,
        error,
    }
}

fn print_derived(out: &mut Out, derived: &DerivedAnswer) -> Done {
    let DerivedAnswer { failing, filling, stale, unregistered, aggregated, .. } = derived;
    let differences_found = &derived.differences_found;
    out.line(format_args!("computed {} again", counted(derived.values, "value")))?;
    for (count, what) in [
        (failing, "cannot be computed at present"),
        (filling, "not computed yet"),
        (stale, "of earlier inputs, to be computed again"),
        (unregistered, "computed by transforms that are not registered any more"),
        (aggregated, "of the past with aggregates, too many to be computed again"),
    ] {
        if *count > 0 {
            out.line(format_args!("{}: {what}", counted(*count, "value")))?;
        }
    }
    for found in &derived.differences {
        let DifferenceAnswer { schema, key, field, commit, stored, .. } = found;
        let (key, stored) = (key.to_json(), stored.to_json());
        let computed = match (&found.computed, &found.error) {
            (Some(value), _) => value.to_json(),
            (None, error) => error.clone().unwrap_or_default(),
        };
        out.line(harmless(&format!(
            "differs: {schema} {key}.{field} is {stored}; as of commit {commit} its inputs give \
             {computed}"
        )))?;
    }
    let more = differences_found.saturating_sub(derived.differences.len() as u64);
    if more > 0 {
        out.line(format_args!("… and {}", counted(more, "more difference")))?;
    }
    if *differences_found == 0 {
        out.line("all are what their inputs give")?;
    }
    Ok(())
}

fn print(report: &VerifyReport, derived: Option<DerivedAnswer>, format: Format) -> Done {
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
            if let Some(derived) = &derived {
                print_derived(&mut out, derived)?;
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
            derived,
        })?,
        Format::Csv => {
            let mut columns =
                vec!["sound", "commits", "records", "elements", "atoms", "problems_found"];
            let mut row: Vec<Value> = vec![
                report.is_sound().into(),
                int(report.commits),
                int(report.records),
                int(report.elements),
                int(report.atoms),
                int(report.problems_found),
            ];
            if let Some(derived) = &derived {
                columns.extend(["derived", "failing", "filling", "stale", "unregistered"]);
                columns.extend(["aggregated", "differences"]);
                let DerivedAnswer { values, failing, filling, stale, unregistered, .. } = derived;
                let (aggregated, found) = (&derived.aggregated, &derived.differences_found);
                let counts = [values, failing, filling, stale, unregistered, aggregated, found];
                row.extend(counts.map(|count| int(*count)));
            }
            print_rows(&mut out, format, &columns, vec![row])?;
        }
    }
    out.flush()
}
