//! Tests of the expression language through its interface.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests end at a surprise"
)]

mod language_page;
mod limits;
mod planner;
