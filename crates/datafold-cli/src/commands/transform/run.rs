//! `transform run` and `transform retry`: computing again.

use std::ops::ControlFlow;

use datafold::engine::{RunReport, RunScope};
use datafold::model::Value;

use super::{transform, transforms};
use crate::Done;
use crate::args::FullName;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::key::parse_key;
use crate::output::{Format, Out, counted, footer, int, note, print_rows};
use crate::session::Session;

const COLUMNS: [&str; 7] = ["schema", "field", "records", "atoms", "commits", "failing", "commit"];

/// Computes a field again, of all records or of those with the keys.
pub(super) fn run(session: &Session<'_>, name: &FullName, keys: &[String]) -> Done {
    transform(session, name)?;
    let keys = keys.iter().map(|key| parse_key(key)).collect::<Result<Vec<_>, _>>()?;
    let scope = if keys.is_empty() { RunScope::All } else { RunScope::Keys(keys) };
    let (report, is_interrupted) = compute(session, name, &scope)?;
    print(session, &[(name.clone(), report)], is_interrupted)
}

/// Computes again what has failed, of a field or of all.
pub(super) fn retry(session: &Session<'_>, name: Option<&FullName>) -> Done {
    let names = match name {
        Some(name) => {
            transform(session, name)?;
            vec![name.clone()]
        }
        None => {
            let failing = transforms(session, None)?.into_iter().filter(|found| found.failing > 0);
            failing.map(|found| FullName { schema: found.schema, field: found.field }).collect()
        }
    };
    if names.is_empty() && session.invocation.format == Format::Table {
        footer("nothing has failed");
        return Ok(());
    }
    let (mut reports, mut is_interrupted) = (Vec::with_capacity(names.len()), false);
    for name in names {
        if is_interrupted {
            break;
        }
        let (report, interrupted) = compute(session, &name, &RunScope::Failing)?;
        is_interrupted = interrupted;
        reports.push((name, report));
    }
    print(session, &reports, is_interrupted)
}

/// Runs a transform; answers also whether Ctrl-C has ended it.
fn compute(
    session: &Session<'_>,
    name: &FullName,
    scope: &RunScope,
) -> Result<(RunReport, bool), Failure> {
    let interrupt = Interrupt::watch("stopping behind the records that are computed")?;
    let FullName { schema, field } = name;
    let stop = |_: &RunReport| match interrupt.is_wanted() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let report = session.db.run_transform(schema, field, scope, stop);
    Ok((report.map_err(|error| session.fail(&error))?, interrupt.is_wanted()))
}

fn print(session: &Session<'_>, reports: &[(FullName, RunReport)], is_interrupted: bool) -> Done {
    let row = |(name, report): &(FullName, RunReport)| -> Vec<Value> {
        vec![
            name.schema.as_str().into(),
            name.field.as_str().into(),
            int(report.records),
            int(report.atoms),
            int(report.commits),
            int(report.failing),
            int(report.commit.0),
        ]
    };
    let rows = reports.iter().map(row).collect();
    print_rows(&mut Out::new(), session.invocation.format, &COLUMNS, rows)?;
    for (FullName { schema, field }, report) in reports.iter().filter(|(_, of)| of.failing > 0) {
        let failing = counted(report.failing, "record");
        note(format_args!("{schema}.{field} could not be computed for {failing}"));
        let show = session.invocation.command(&format!("transform show {schema}.{field}"));
        footer(format_args!("{show} tells why"));
    }
    if is_interrupted {
        let failure = Failure::new(Exit::Interrupted, "interrupted; what is computed is kept");
        return Err(failure.hint("the same command computes the rest"));
    }
    Ok(())
}
