//! Tests of the expression language through its interface.

mod language_page;
mod limits;
mod planner;
