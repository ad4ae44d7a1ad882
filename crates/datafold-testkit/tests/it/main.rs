//! The rules of the repository, checked on its sources, manifests and documents.
//!
//! Each rule prints `file:line` where it is broken, and each has a canary: the same function is
//! run on a small planted text that breaks the rule, so a rule that finds nothing is noticed.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod documents;
mod licences;
mod manifests;
mod paths;
mod seams;
mod source;
mod text;
