//! Regular expressions: compiled once, bounded in size, and matched in linear time.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::array;
use crate::diagnostic::{Checked, ErrorKind, Fault, quoted};
use crate::meter::Meter;
use crate::node::{Pattern, RegexOp};
use crate::value::{VALUE_BYTES, Value};

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 512;
/// The most patterns of one program.
const PATTERNS_MAX: usize = 16;
/// What all patterns of one program take when they are compiled, in bytes: compiling takes time.
const ALL_BYTES_MAX: usize = 256 << 10;
/// Sizes of a compiled pattern in bytes, with the steps that a byte of text costs then: at worst
/// every state is visited for every byte.
const SIZES: [(usize, u64); 3] = [(8 << 10, 4), (32 << 10, 16), (LARGEST, 64)];
const LARGEST: usize = 128 << 10;
/// What the cache of states that were met may take; when it is full, it starts anew.
const CACHE_BYTES: usize = 256 << 10;

impl RegexOp {
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "matches" => RegexOp::Matches,
            "find" => RegexOp::Find,
            "find_all" => RegexOp::FindAll,
            "groups" => RegexOp::Groups,
            "replace_all" => RegexOp::Replace,
            "split_by" => RegexOp::Split,
            _ => return None,
        })
    }
}

/// The patterns of one program, each compiled once.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    compiled: BTreeMap<String, Arc<Pattern>>,
    bytes: usize,
}

impl Patterns {
    /// The compiled pattern.
    pub(crate) fn get(&mut self, text: &str) -> Checked<Arc<Pattern>> {
        if let Some(pattern) = self.compiled.get(text) {
            return Ok(Arc::clone(pattern));
        }
        if self.compiled.len() >= PATTERNS_MAX || self.bytes >= ALL_BYTES_MAX {
            let message = format!(
                "a source has at most {PATTERNS_MAX} different patterns, which take at most \
                 {ALL_BYTES_MAX} bytes when compiled"
            );
            return Err(Fault::new(ErrorKind::InvalidRegex, message));
        }
        let compiled = compile(text);
        let bytes = compiled.as_ref().map_or(LARGEST, |(_, bytes)| *bytes);
        self.bytes += bytes;
        let (pattern, _) = compiled?;
        self.compiled.insert(text.to_owned(), Arc::clone(&pattern));
        Ok(pattern)
    }
}

/// Compiles a pattern; also gives about its size.
fn compile(pattern: &str) -> Checked<(Arc<Pattern>, usize)> {
    let wrong = |message: String| Fault::new(ErrorKind::InvalidRegex, message);
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
    }
    for (size, byte_steps) in SIZES {
        let built = build(pattern, size);
        match built {
            Ok(regex) => return Ok((Arc::new(Pattern { regex, byte_steps }), size)),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => {
                // The last line of the message says what, the others repeat the pattern.
                let text = error.to_string();
                let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Err(wrong(format!("`{}` is no pattern: {what}", quoted(pattern))));
            }
        }
    }
    let fault = wrong(format!("the pattern `{}` is too large", quoted(pattern)));
    Err(fault.hint("smaller counts, or `[a-z]` instead of `\\w`, make it smaller"))
}

fn build(pattern: &str, size: usize) -> Result<Regex, regex::Error> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(size).dfa_size_limit(CACHE_BYTES).nest_limit(32).build()
}

/// What an operation makes of a text.
pub(crate) fn run<'a>(
    op: RegexOp,
    pattern: &Pattern,
    arguments: &[Value<'a>],
    meter: &mut Meter,
) -> Checked<Value<'a>> {
    let text = match arguments.first() {
        Some(Value::Text(text)) => text,
        Some(Value::Null) | None => return Ok(Value::Null),
        Some(other) => return Err(not_text(other)),
    };
    let bytes = text.len() as u64 + 1;
    meter.steps(bytes.saturating_mul(pattern.byte_steps))?;
    let regex = &pattern.regex;
    let part = |part: &str| Value::from(part.to_owned());
    match op {
        RegexOp::Matches => Ok(regex.is_match(text).into()),
        RegexOp::Find => {
            meter.bytes(bytes)?;
            Ok(regex.find(text).map_or(Value::Null, |found| part(found.as_str())))
        }
        RegexOp::FindAll => {
            let mut parts = Vec::new();
            for found in regex.find_iter(text) {
                charge_part(pattern, found.as_str(), meter)?;
                parts.push(part(found.as_str()));
            }
            array(meter, parts)
        }
        RegexOp::Groups => {
            meter.bytes(bytes.saturating_mul(regex.captures_len() as u64))?;
            meter.bytes(regex.captures_len() as u64 * 2 * VALUE_BYTES)?;
            let Some(found) = regex.captures(text) else { return Ok(Value::Null) };
            let groups =
                found.iter().map(|group| group.map_or(Value::Null, |group| part(group.as_str())));
            array(meter, groups.collect())
        }
        RegexOp::Replace => {
            let by = match arguments.get(1) {
                Some(Value::Text(by)) => by,
                Some(Value::Null) | None => return Ok(Value::Null),
                Some(other) => return Err(not_text(other)),
            };
            let mut replaced = String::new();
            let mut rest = 0;
            meter.bytes(bytes * 2)?;
            for found in regex.find_iter(text) {
                charge_part(pattern, by, meter)?;
                replaced.push_str(text.get(rest..found.start()).unwrap_or_default());
                replaced.push_str(by);
                rest = found.end();
            }
            replaced.push_str(text.get(rest..).unwrap_or_default());
            Ok(replaced.into())
        }
        RegexOp::Split => {
            let mut parts = Vec::new();
            for between in regex.split(text) {
                charge_part(pattern, between, meter)?;
                parts.push(part(between));
            }
            array(meter, parts)
        }
    }
}

/// A part that is found may begin a search of its own.
fn charge_part(pattern: &Pattern, part: &str, meter: &mut Meter) -> Checked<()> {
    meter.steps(pattern.byte_steps * 4)?;
    meter.bytes(2 * (part.len() as u64 + 2 * VALUE_BYTES))
}

fn not_text(found: &Value<'_>) -> Box<Fault> {
    let message = format!("a pattern looks at text, not {}", found.type_name());
    Fault::new(ErrorKind::TypeClash, message)
}
