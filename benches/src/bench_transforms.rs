//! What computed fields cost: those that a mutation does not touch, those that it does, aggregates
//! over large groups, an import that computes, values that are computed over records that are
//! there already, and telling why a value is what it is.
//!
//! Each part is a file of its own, and has a word: `--only=WORD` measures that part alone, and
//! `--without-aggregates` leaves out what aggregates cost.
//!
//! | word | what is measured |
//! | --- | --- |
//! | `registered` | a mutation that touches no transform, with 10,000 registered and with none |
//! | `touched` | a mutation with a transform that reads what it writes, and without it |
//! | `group` | a mutation that adjusts an aggregate over a large group and over a small one |
//! | `import` | flights with computed fields and aggregates, without, and SQLite with triggers |
//! | `filling` | writes while what is there is computed, and while nothing is |
//! | `why` | `FoldDb::why` and `FoldDb::verify_derived` on the store of `filling` |

use std::path::Path;

use datafold::FoldDb;
use datafold::model::{SchemaName, Value};

use crate::Size;
use crate::table::Table;

mod filling;
mod flights;
mod groups;
mod import;
mod registered;
mod sqlite;
mod touched;
mod turns;
mod why;

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The CSV file (gzip) of flights.
    pub(crate) flights: &'a Path,
    /// A part of the words of the parts.
    pub(crate) only: &'a str,
    pub(crate) aggregates: bool,
}

pub(crate) fn run(size: Size, choice: Choice<'_>, table: &mut Table) {
    let wanted = |word: &str| word.contains(choice.only);
    if wanted("registered") {
        registered::run(size, table);
    }
    if wanted("touched") {
        touched::run(size, table);
    }
    if wanted("group") && choice.aggregates {
        groups::run(size, table);
    }
    if wanted("import") {
        import::run(size, choice, table);
    }
    if wanted("filling") || wanted("why") {
        let filled = filling::Filled::load(choice);
        if wanted("filling") {
            filled.measure(size.rounds, table);
        } else {
            filled.fill(0);
        }
        if wanted("why") {
            why::run(&filled, table);
        }
    }
}

/// Loads and approves a schema.
fn approve(db: &FoldDb, text: &str) -> SchemaName {
    let name = db.schemas().load_text(text, None).unwrap().name;
    db.schemas().approve_schema(&name).unwrap();
    name
}

/// Every computed value is there and what its inputs say; answers how many there are.
fn verify_derived(db: &FoldDb) -> u64 {
    let mut first = None;
    let report = db
        .verify_derived(|difference| {
            first.get_or_insert(difference);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.differences, 0, "{first:?}");
    assert_eq!((report.filling, report.stale, report.failing), (0, 0, 0), "{report:?}");
    report.values
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
