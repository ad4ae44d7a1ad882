//! DataFold, the library.

pub mod model;
