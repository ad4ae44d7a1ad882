#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "x")]
#![allow(dead_code)]
#[path = "../it/answers/mod.rs"]
mod answers;
#[path = "../it/harness.rs"]
mod harness;
mod stage {}
