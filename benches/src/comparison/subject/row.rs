//! Rows of the subjects that have no form of their own: the number and the text, one behind the
//! other, and flights as JSON.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use super::BATCH;
use crate::bench_import::KEY;

/// An item's row.
pub(super) fn encode(count: u64, text: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + text.len());
    row.extend_from_slice(&count.to_be_bytes());
    row.extend_from_slice(text.as_bytes());
    row
}

pub(super) fn count_of(row: &[u8]) -> u64 {
    u64::from_be_bytes(row[..8].try_into().unwrap())
}

pub(super) fn text_of(row: &[u8]) -> &str {
    std::str::from_utf8(&row[8..]).unwrap()
}

/// The row with another number.
pub(super) fn with_count(row: &[u8], count: u64) -> Vec<u8> {
    let mut row = row.to_vec();
    row[..8].copy_from_slice(&count.to_be_bytes());
    row
}

/// A flight's key and row, from its line.
fn flight(line: &str) -> (Vec<u8>, Vec<u8>) {
    let flight: Map<String, Value> = serde_json::from_str(line).unwrap();
    let mut key = Vec::new();
    for part in KEY {
        match &flight[part] {
            Value::Number(number) => key.extend(number.as_u64().unwrap().to_be_bytes()),
            part => key.extend(part.as_str().unwrap().bytes()),
        }
        key.push(0);
    }
    (key, serde_json::to_vec(&flight).unwrap())
}

/// Calls `write` with the keys and rows of 1,000 flights at a time; answers how many.
pub(super) fn import(lines: &Path, mut write: impl FnMut(Vec<(Vec<u8>, Vec<u8>)>)) -> u64 {
    let mut lines = BufReader::new(File::open(lines).unwrap()).lines().peekable();
    let mut rows = 0;
    while lines.peek().is_some() {
        let batch: Vec<_> = lines.by_ref().take(BATCH).map(|line| flight(&line.unwrap())).collect();
        rows += batch.len() as u64;
        write(batch);
    }
    rows
}
