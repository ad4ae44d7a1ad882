//! `exec`: operations in the JSON of the first DataFold.

use std::path::Path;

use datafold::FoldDbError;
use datafold::engine::{Operation, OperationAnswer, RequestError};
use datafold::model::Value;
use serde::Serialize;

use super::input;
use super::mutate::json_line;
use crate::Done;
use crate::failure::ErrorAnswer;
use crate::invocation::Invocation;
use crate::output::Out;
use crate::session::{Session, explain};

/// The largest input, in bytes.
const BYTES_MAX: u64 = 32 << 20;

/// The answer to an operation that was not carried out.
#[derive(Debug, Serialize)]
struct Refused {
    error: ErrorAnswer,
    operation: usize,
}

/// Carries out one operation, or those of an array one after the other.
pub(crate) fn run(file: &Path, invocation: &Invocation) -> Done {
    let name = input::name_of(file);
    let text = input::read_text(file, BYTES_MAX)?;
    let (operations, is_list) = match Value::parse_json(&text) {
        Ok(Value::Array(operations)) => (operations, true),
        Ok(operation) => (vec![operation], false),
        Err(error) => {
            let error = RequestError { place: "request".into(), rule: error.to_string() };
            return Err(explain(&error.into(), invocation, None).at(name));
        }
    };
    let session = Session::open(invocation)?;
    let mut out = Out::new();
    let mut failures = Vec::new();
    for (at, operation) in operations.into_iter().enumerate() {
        match execute(&session, operation) {
            Ok(answer) => out.text(&json_line(&answer))?,
            Err(error) => {
                let number = at + 1;
                let answer = Refused { error: ErrorAnswer::new(&error), operation: number };
                out.text(&json_line(&answer))?;
                let failure = session.fail(&error);
                failures.push(match is_list {
                    true => failure.at(format_args!("{name}: operation {number}")),
                    false => failure.at(&name),
                });
            }
        }
        out.flush()?;
    }
    // What an operation was answered says more than how the store closed after it.
    let closed = session.close();
    let count = failures.len();
    match failures.into_iter().next() {
        None => closed,
        Some(first) if count == 1 => Err(first),
        Some(first) => Err(first.at(format_args!("{count} operations failed, the first is"))),
    }
}

fn execute(session: &Session<'_>, operation: Value) -> Result<OperationAnswer, FoldDbError> {
    session.db.execute(&Operation::from_value(operation)?)
}
