//! Regular expressions: compiled once, bounded in size, and matched in linear time.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

use super::array;
use crate::diagnostic::{Checked, ErrorKind, Fault, quoted};
use crate::meter::Meter;
use crate::node::{Pattern, RegexOp};
use crate::value::{VALUE_BYTES, Value};

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 512;
/// The most patterns of one program, since compiling takes time.
const PATTERNS_MAX: usize = 8;
/// The size of a compiled pattern in bytes.
const COMPILED_BYTES_MAX: usize = 64 << 10;
/// What the cache of states that were met may take; when it is full, it starts anew.
const CACHE_BYTES: usize = 256 << 10;
/// How deep groups may be nested.
const GROUP_DEPTH_MAX: u32 = 32;
/// How many times as long it takes to find the groups.
const GROUPS_FACTOR: u64 = 3;

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
    /// How many were tried.
    count: usize,
}

impl Patterns {
    /// The compiled pattern.
    pub(crate) fn get(&mut self, text: &str) -> Checked<Arc<Pattern>> {
        if let Some(pattern) = self.compiled.get(text) {
            return Ok(Arc::clone(pattern));
        }
        self.count += 1;
        if self.count > PATTERNS_MAX {
            let message = format!("a source has at most {PATTERNS_MAX} different patterns");
            return Err(Fault::new(ErrorKind::InvalidRegex, message));
        }
        let pattern = compile(text)?;
        self.compiled.insert(text.to_owned(), Arc::clone(&pattern));
        Ok(pattern)
    }
}

fn compile(pattern: &str) -> Checked<Arc<Pattern>> {
    let wrong = |message: String| Fault::new(ErrorKind::InvalidRegex, message);
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
    }
    let no_pattern = |error: String| {
        // The last line of the message says what, the others repeat the pattern.
        let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        wrong(format!("`{}` is no pattern: {what}", quoted(pattern)))
    };
    let parsed = ParserBuilder::new().nest_limit(GROUP_DEPTH_MAX).build().parse(pattern);
    let parsed = parsed.map_err(|error| no_pattern(error.to_string()))?;
    // At worst all positions are tried at each byte.
    let byte_steps = positions(&parsed).saturating_mul(2).saturating_add(2);
    match build(pattern) {
        Ok(regex) => {
            let overrun = overrun(&parsed);
            Ok(Arc::new(Pattern { regex, byte_steps, overrun }))
        }
        Err(regex::Error::CompiledTooBig(_)) => {
            let fault = wrong(format!("the pattern `{}` is too large", quoted(pattern)));
            Err(fault.hint("smaller counts, or `[a-z]` instead of `\\w`, make it smaller"))
        }
        Err(error) => Err(no_pattern(error.to_string())),
    }
}

/// The places of a pattern at which a character is read, counted repetitions written out.
fn positions(parsed: &Hir) -> u64 {
    match parsed.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or_else(|| repetition.min.saturating_add(1));
            positions(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => positions(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(positions).fold(0, u64::saturating_add)
        }
    }
}

/// See [`Pattern::overrun`]. What may go on behind a part is bounded if the pattern is, or if it
/// ends with a repetition, the only part without a bound: that goes on as long as it fits, and what
/// fits belongs to the part.
fn overrun(parsed: &Hir) -> Option<u64> {
    if let Some(max) = parsed.properties().maximum_len() {
        return Some(max as u64);
    }
    match parsed.kind() {
        HirKind::Repetition(repetition) => {
            let once = repetition.sub.properties().maximum_len()? as u64;
            Some(once.saturating_mul(u64::from(repetition.min) + 1))
        }
        HirKind::Capture(capture) => overrun(&capture.sub),
        HirKind::Concat(parts) => {
            let (last, before) = parts.split_last()?;
            before.iter().try_fold(overrun(last)?, |sum, part| {
                Some(sum.saturating_add(part.properties().maximum_len()? as u64))
            })
        }
        _ => None,
    }
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(CACHE_BYTES);
    builder.nest_limit(GROUP_DEPTH_MAX).build()
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
    let factor = if op == RegexOp::Groups { GROUPS_FACTOR } else { 1 };
    meter.steps(bytes.saturating_mul(pattern.byte_steps.saturating_mul(factor)))?;
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
                charge_search(pattern, text.len() - found.end(), meter)?;
                charge_part(found.as_str(), meter)?;
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
                charge_search(pattern, text.len() - found.end(), meter)?;
                charge_part(by, meter)?;
                replaced.push_str(text.get(rest..found.start()).unwrap_or_default());
                replaced.push_str(by);
                rest = found.end();
            }
            replaced.push_str(text.get(rest..).unwrap_or_default());
            Ok(replaced.into())
        }
        RegexOp::Split => {
            let mut parts = Vec::new();
            let mut rest = 0;
            for found in regex.find_iter(text) {
                charge_search(pattern, text.len() - found.end(), meter)?;
                let between = text.get(rest..found.start()).unwrap_or_default();
                charge_part(between, meter)?;
                parts.push(part(between));
                rest = found.end();
            }
            let between = text.get(rest..).unwrap_or_default();
            charge_part(between, meter)?;
            parts.push(part(between));
            array(meter, parts)
        }
    }
}

/// How many times as fast bytes are read that were read before, whose states are known.
const AGAIN_FACTOR: u64 = 16;

/// Charges for the search for one of many parts, of which all but what is read twice is charged
/// already.
fn charge_search(pattern: &Pattern, rest: usize, meter: &mut Meter) -> Checked<()> {
    let rest = rest as u64;
    let again = pattern.overrun.unwrap_or(rest).min(rest);
    let again = again.saturating_mul(pattern.byte_steps) / AGAIN_FACTOR;
    meter.steps(again.saturating_add(pattern.byte_steps).saturating_add(8))
}

/// Charges for a part of the result.
fn charge_part(part: &str, meter: &mut Meter) -> Checked<()> {
    meter.bytes(2 * (part.len() as u64 + 2 * VALUE_BYTES))
}

fn not_text(found: &Value<'_>) -> Box<Fault> {
    let message = format!("a pattern looks at text, not {}", found.type_name());
    Fault::new(ErrorKind::TypeClash, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_behind_a_part_is_bounded_where_it_can_be_told() {
        for (pattern, expected) in [
            ("abc", Some(3)),
            ("[0-9]+", Some(2)),
            ("x{5,}", Some(6)),
            ("[a-c]{2}[0-9]*", Some(3)),
            ("(ab)+", Some(4)),
            ("a|b|cc", Some(2)),
            ("(a|b)*c|ab", None),
            ("a.*b", None),
            ("a+b+", None),
            ("a+|b", None),
        ] {
            let parsed = ParserBuilder::new().build().parse(pattern).unwrap();
            assert_eq!(overrun(&parsed), expected, "{pattern}");
        }
    }
}
