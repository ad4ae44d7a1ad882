//! Functions of texts. Places and lengths are counted in characters (Unicode scalar values).

use unicode_normalization::UnicodeNormalization;

use super::{Function, Returns, array, count, int, invalid, one, text};
use crate::diagnostic::{Checked, ErrorKind, Fault};
use crate::meter::Meter;
use crate::ops;
use crate::types::Kinds;
use crate::value::{VALUE_BYTES, Value};

const TEXT: Kinds = Kinds::TEXT;
const INT: Kinds = Kinds::INT;
const BOOL: Returns = one(Kinds::BOOL);
const TO_TEXT: Returns = one(TEXT);
/// No case mapping and no normal form makes a text longer than three times its bytes.
const GROWTH: u64 = 3;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("concat", &[("text", TEXT)], 0, TO_TEXT, concat, "the texts behind each other")
        .variadic(),
    Function::new("upper", &[("text", TEXT)], 1, TO_TEXT, upper, "in upper case"),
    Function::new("lower", &[("text", TEXT)], 1, TO_TEXT, lower, "in lower case"),
    Function::new("trim", &[("text", TEXT)], 1, TO_TEXT, trim, "without blanks at both ends"),
    Function::new("trim_start", &[("text", TEXT)], 1, TO_TEXT, trim_start,
        "without blanks at the start"),
    Function::new("trim_end", &[("text", TEXT)], 1, TO_TEXT, trim_end,
        "without blanks at the end"),
    Function::new("contains", &[("text", TEXT), ("part", TEXT)], 2, BOOL, contains,
        "whether the part is in the text"),
    Function::new("starts_with", &[("text", TEXT), ("prefix", TEXT)], 2, BOOL, starts_with,
        "whether the text begins so"),
    Function::new("ends_with", &[("text", TEXT), ("suffix", TEXT)], 2, BOOL, ends_with,
        "whether the text ends so"),
    Function::new("index_of", &[("text", TEXT), ("part", TEXT)], 2, one(INT), index_of,
        "where the part begins first, from 0 on, or null"),
    Function::new("substring", &[("text", TEXT), ("start", INT), ("count", INT)], 2, TO_TEXT,
        substring, "from a place on, from 0; a start below 0 counts from the end"),
    Function::new("replace", &[("text", TEXT), ("part", TEXT), ("by", TEXT)], 3, TO_TEXT, replace,
        "with all such parts replaced"),
    Function::new("split", &[("text", TEXT), ("separator", TEXT)], 2, Returns::ArrayOf(TEXT),
        split, "what stands between the separators"),
    Function::new("join", &[("texts", Kinds::COLLECTION), ("separator", TEXT)], 1, TO_TEXT, join,
        "the texts with a separator between them; nulls are passed over").of_items(TEXT),
    Function::new("repeat", &[("text", TEXT), ("count", INT)], 2, TO_TEXT, repeat,
        "the text so many times"),
    Function::new("pad_start", &[("text", TEXT), ("length", INT), ("fill", TEXT)], 2, TO_TEXT,
        pad_start, "filled up at the start, with blanks or another text"),
    Function::new("pad_end", &[("text", TEXT), ("length", INT), ("fill", TEXT)], 2, TO_TEXT,
        pad_end, "filled up at the end"),
    Function::new("normalize", &[("text", TEXT)], 1, TO_TEXT, normalize,
        "in Unicode's form NFC, in which texts that look the same are equal"),
    Function::new("glob", &[("text", TEXT), ("pattern", TEXT)], 2, BOOL, glob,
        "whether the whole text fits, where `*` is any text and `?` one character"),
];

fn owned<'a>(text: impl Into<String>) -> Checked<Value<'a>> {
    Ok(Value::from(text.into()))
}

fn concat<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let parts: Vec<&str> = arguments.iter().filter_map(Value::as_text).collect();
    ops::concat(&parts, meter)
}

fn upper<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.bytes(text(arguments, 0).len() as u64 * GROWTH)?;
    owned(text(arguments, 0).to_uppercase())
}

fn lower<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.bytes(text(arguments, 0).len() as u64 * GROWTH)?;
    owned(text(arguments, 0).to_lowercase())
}

fn trimmed<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    trim: fn(&str) -> &str,
) -> Checked<Value<'a>> {
    let whole = text(arguments, 0);
    meter.bytes(whole.len() as u64)?;
    owned(trim(whole))
}

fn trim<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    trimmed(meter, arguments, str::trim)
}

fn trim_start<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    trimmed(meter, arguments, str::trim_start)
}

fn trim_end<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    trimmed(meter, arguments, str::trim_end)
}

fn contains<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 0).len() as u64)?;
    Ok(text(arguments, 0).contains(text(arguments, 1)).into())
}

fn starts_with<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 1).len() as u64)?;
    Ok(text(arguments, 0).starts_with(text(arguments, 1)).into())
}

fn ends_with<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    meter.read(text(arguments, 1).len() as u64)?;
    Ok(text(arguments, 0).ends_with(text(arguments, 1)).into())
}

fn index_of<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let whole = text(arguments, 0);
    meter.read(whole.len() as u64 * 2)?;
    let before = whole.find(text(arguments, 1)).and_then(|at| whole.get(..at));
    Ok(before.map_or(Value::Null, length))
}

/// The number of characters.
pub(super) fn length<'a>(text: &str) -> Value<'a> {
    Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
}

fn substring<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let whole = text(arguments, 0);
    meter.bytes(whole.len() as u64)?;
    let mut start = int(arguments, 1).unwrap_or(0);
    let mut most = match arguments.get(2) {
        Some(_) => count(arguments, 2, "the count")?,
        None => usize::MAX,
    };
    if start < 0 {
        let chars = i64::try_from(whole.chars().count()).unwrap_or(i64::MAX);
        start = start.saturating_add(chars);
        if start < 0 {
            // What would stand before the text counts, and is not there.
            most = most.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX));
        }
    }
    let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX);
    owned(whole.chars().skip(start).take(most).collect::<String>())
}

fn replace<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let (whole, part, by) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    meter.read(whole.len() as u64)?;
    let found = whole.matches(part).count() as u64;
    let removed = found.saturating_mul(part.len() as u64);
    let added = found.saturating_mul(by.len() as u64);
    meter.bytes((whole.len() as u64).saturating_sub(removed).saturating_add(added))?;
    meter.steps(found)?;
    owned(whole.replace(part, by))
}

fn split<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let (whole, by) = (text(arguments, 0), text(arguments, 1));
    if by.is_empty() {
        return Err(invalid("the separator is not empty"));
    }
    meter.bytes(whole.len() as u64)?;
    let parts = whole.matches(by).count() as u64 + 1;
    meter.bytes(parts * (2 * VALUE_BYTES))?;
    meter.steps(parts)?;
    array(meter, whole.split(by).map(|part| Value::from(part.to_owned())).collect())
}

fn join<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let Some(collection) = arguments.first() else { return Ok(Value::Null) };
    let len = match collection {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    meter.bytes(len as u64 * VALUE_BYTES)?;
    let items = super::items(collection);
    let mut texts = Vec::new();
    let mut bytes = 0_u64;
    for item in items.iter().filter(|item| !item.is_null()) {
        let Some(text) = item.as_text() else {
            let message = format!("`join` joins texts, not {}", item.type_name());
            return Err(Fault::new(ErrorKind::TypeClash, message));
        };
        bytes = bytes.saturating_add(text.len() as u64);
        texts.push(text);
    }
    let separator = text(arguments, 1);
    meter
        .bytes(bytes.saturating_add((texts.len() as u64).saturating_mul(separator.len() as u64)))?;
    owned(texts.join(separator))
}

fn repeat<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let times = count(arguments, 1, "the count")?;
    let whole = text(arguments, 0);
    meter.bytes((whole.len() as u64).saturating_mul(times as u64))?;
    owned(whole.repeat(if whole.is_empty() { 0 } else { times }))
}

/// What is missing to a length, of copies of the fill.
fn padding(meter: &mut Meter, arguments: &[Value<'_>]) -> Checked<String> {
    let whole = text(arguments, 0);
    let fill = if arguments.len() > 2 { text(arguments, 2) } else { " " };
    meter.read(whole.len() as u64)?;
    let missing = count(arguments, 1, "the length")?.saturating_sub(whole.chars().count());
    if missing > 0 && fill.is_empty() {
        return Err(invalid("the fill is not empty"));
    }
    meter.bytes((missing as u64).saturating_mul(4).saturating_add(whole.len() as u64))?;
    meter.steps(missing as u64 / 4)?;
    Ok(fill.chars().cycle().take(missing).collect())
}

fn pad_start<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    owned(padding(meter, arguments)? + text(arguments, 0))
}

fn pad_end<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let padding = padding(meter, arguments)?;
    owned(text(arguments, 0).to_owned() + &padding)
}

fn normalize<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let whole = text(arguments, 0);
    meter.bytes(whole.len() as u64 * GROWTH)?;
    meter.steps(whole.len() as u64)?;
    owned(whole.nfc().collect::<String>())
}

/// The longest pattern of [`glob`].
const GLOB_BYTES_MAX: usize = 1024;

fn glob<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let (whole, pattern) = (text(arguments, 0), text(arguments, 1));
    if pattern.len() > GLOB_BYTES_MAX {
        return Err(invalid(format!("a pattern has at most {GLOB_BYTES_MAX} bytes")));
    }
    meter.steps((whole.len() as u64 + 1).saturating_mul(pattern.len() as u64 / 8 + 1))?;
    Ok(fits(whole, pattern).into())
}

/// Whether a text fits a pattern. Only the last `*` is tried again, so the time is at most the
/// product of both lengths.
fn fits(mut text: &str, mut pattern: &str) -> bool {
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let mut next = pattern.chars();
        match (next.next(), text.chars().next()) {
            (Some('*'), _) => {
                pattern = next.as_str();
                retry = Some((pattern, text));
                continue;
            }
            (None, None) => return true,
            (Some(p), Some(t)) if p == '?' || p == t => {
                pattern = next.as_str();
                text = text.get(t.len_utf8()..).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let Some((behind_star, from)) = retry else { return false };
        let Some(skipped) = from.chars().next() else { return false };
        text = from.get(skipped.len_utf8()..).unwrap_or_default();
        pattern = behind_star;
        retry = Some((pattern, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_fit_whole_texts() {
        for (text, pattern, expected) in [
            ("cpu", "cpu", true),
            ("cpu", "c*", true),
            ("my cpu 1", "*cpu*", true),
            ("é", "?", true),
            ("ab", "?", false),
            ("", "", true),
            ("a", "", false),
            ("", "*", true),
            ("aab", "*ab", true),
            ("abcabd", "a*b?", true),
            ("abc", "*d", false),
        ] {
            assert_eq!(fits(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn no_case_mapping_grows_more_than_is_charged() {
        for c in (0..=0x0010_FFFF).filter_map(char::from_u32) {
            let bytes = c.len_utf8() as u64 * GROWTH;
            let text = c.to_string();
            let nfc: String = text.nfc().collect();
            for other in [text.to_uppercase(), text.to_lowercase(), nfc] {
                assert!(other.len() as u64 <= bytes, "{c:?} {other:?}");
            }
        }
    }
}
