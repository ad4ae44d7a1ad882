//! `mutate`: lines of JSON in, one answer for each out.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use datafold::{FoldDbError, MutationRequest};
use serde::Serialize;

use super::input;
use crate::Done;
use crate::failure::{ErrorAnswer, Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Out;
use crate::session::Session;

/// The longest line, in bytes: twice what a transaction may hold.
const LINE_BYTES_MAX: usize = 32 << 20;

/// The answer to a line that was carried out.
#[derive(Debug, Serialize)]
struct Written {
    commit: u64,
    time: String,
    atoms: u32,
}

/// The answer to a line that was not.
#[derive(Debug, Serialize)]
struct Refused {
    error: ErrorAnswer,
    line: u64,
}

/// Carries out the mutations of a file, one commit a line.
pub(crate) fn run(file: &Path, invocation: &Invocation) -> Done {
    let (input, _) = input::open(file)?;
    let session = Session::open(invocation)?;
    let answered = answer_lines(&session, &input::name_of(file), input);
    // What a line was answered says more than how the store closed after it.
    answered.and(session.close())
}

fn answer_lines(session: &Session<'_>, name: &str, input: impl Read) -> Done {
    let mut input = BufReader::new(input);
    let mut out = Out::new();
    let (mut line, mut failed) = (Vec::new(), 0);
    let mut first: Option<Failure> = None;
    for number in 1.. {
        let read = read_line(&mut input, &mut line);
        let is_whole = match read.map_err(|error| Failure::io(name, &error))? {
            Line::End => break,
            Line::Whole if line.trim_ascii().is_empty() => continue,
            Line::Whole => true,
            Line::TooLong => false,
        };
        let (answer, failure) = match is_whole {
            true => carry_out(session, &line, number),
            false => {
                let rule = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                refuse("invalid_request", &rule, Exit::Invalid, number)
            }
        };
        if let Err(failure) = out.text(&answer).and_then(|()| out.flush()) {
            return Err(unheard(failure, number));
        }
        if let Some(failure) = failure {
            failed += 1;
            first.get_or_insert(failure);
        }
    }
    match first {
        None => Ok(()),
        Some(failure) if failed == 1 => Err(failure),
        Some(failure) => Err(failure.at(format_args!("{failed} lines failed, the first is"))),
    }
}

/// Lines that are not carried out must not go unnoticed, so this is a failure.
fn unheard(failure: Failure, line: u64) -> Failure {
    match failure.exit() {
        Exit::ClosedPipe => Failure::new(
            Exit::Failed,
            format!("nobody reads the answers any more; line {line} was the last carried out"),
        ),
        _ => failure,
    }
}

/// What was read of the input.
enum Line {
    Whole,
    /// It was skipped.
    TooLong,
    End,
}

fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let read = input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if read > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(if read > 0 { Line::Whole } else { Line::End })
}

/// The answer to a line that is not carried out, and its failure.
fn refuse(code: &'static str, text: &str, exit: Exit, line: u64) -> (String, Option<Failure>) {
    let message = text.to_owned();
    let failure = Failure::new(exit, message.clone()).at(format_args!("line {line}"));
    (json_line(&Refused { error: ErrorAnswer { code, message }, line }), Some(failure))
}

/// Carries out a line; answers the line of the answer, and the failure if it is one.
fn carry_out(session: &Session<'_>, line: &[u8], number: u64) -> (String, Option<Failure>) {
    let Ok(text) = std::str::from_utf8(line) else {
        return refuse("invalid_request", "the line is not UTF-8", Exit::Invalid, number);
    };
    let refuse_error = |error: &FoldDbError| {
        let answer = Refused { error: ErrorAnswer::new(error), line: number };
        (json_line(&answer), Some(session.fail(error).at(format_args!("line {number}"))))
    };
    let request = match MutationRequest::parse(text) {
        Ok(request) => request,
        Err(error) => return refuse_error(&error.into()),
    };
    match session.db.mutate(&request) {
        Ok(receipt) => {
            let (commit, time) = (receipt.commit.0, receipt.time.to_string());
            (json_line(&Written { commit, time, atoms: receipt.atoms }), None)
        }
        Err(error) => refuse_error(&error),
    }
}

pub(super) fn json_line(answer: &impl Serialize) -> String {
    // Serializing numbers and texts into memory has no way to fail.
    serde_json::to_string(answer).unwrap_or_default() + "\n"
}
