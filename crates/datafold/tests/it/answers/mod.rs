//! Answers of queries, compared with what others find in the same rows: SQLite, and plain maps that
//! keep every version.

mod data;
mod edges;
mod expression;
mod generate;
mod pages;
mod past;
mod query;
mod sqlite;
