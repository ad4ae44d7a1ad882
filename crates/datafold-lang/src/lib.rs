//! The expression language of DataFold: filters, computed columns and transforms.
//!
//! A source is compiled for a set of [`Names`] and then run with [`Inputs`], any number of times.
//! The language is total and deterministic: every program ends, within [`Limits`] that do not
//! depend on the machine, and the same inputs give the same result everywhere. It reads nothing but
//! its inputs. `docs/language.md` is its reference.
//!
//! ```
//! use datafold_lang::{Compiler, Scope, Type, Value};
//!
//! let scope = Scope::new().with("distance", Type::NUMBER).with("air_time", Type::NUMBER);
//! let speed = Compiler::new(&scope).expression("round(distance / air_time * 60, 1)")?;
//! assert_eq!(speed.evaluate(&[Value::Int(1416), Value::Int(227)])?, Value::Float(374.3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod check;
mod constraint;
mod declaration;
mod diagnostic;
mod eval;
mod exact_sum;
mod json;
mod library;
mod meter;
mod node;
mod number;
mod ops;
mod parser;
mod program;
mod scope;
mod suggest;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod types;
mod value;

pub use constraint::{Constraint, Constraints};
pub use declaration::Declaration;
pub use diagnostic::{Diagnostic, ErrorKind, Span, excerpt};
pub use exact_sum::ExactSum;
pub use json::JsonError;
pub use library::{FunctionInfo, functions};
pub use meter::Limits;
pub use program::{CompileError, Compiler, EvalError, Filter, Input, Lookup, Program};
pub use scope::{FieldPath, InputError, Inputs, LookupType, Named, Names, Scope};
pub use time::{Duration, Time};
pub use types::Type;
pub use value::{Array, InvalidValue, Object, Text, VALUE_DEPTH_MAX, Value};

/// The longest source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 64 << 10;
/// The most levels to which expressions and blocks may be nested.
pub const DEPTH_MAX: usize = 100;
