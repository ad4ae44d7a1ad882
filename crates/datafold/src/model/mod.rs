//! The words of the product as types: values, keys, names, schemas.
//!
//! Everything here is pure: no store, file, clock or thread.

mod codec;
mod json;
mod json_parser;
mod name;
mod record_key;
mod timestamp;
mod value;

pub use codec::{CodecError, decode_from, decode_value, encode_value};
pub use datafold_store::encoding::KeyPart;
pub use json::{JsonError, JsonRule};
pub use name::{FieldName, NAME_BYTES_MAX, NameError, SchemaName};
pub use record_key::{KEY_BYTES_MAX, RecordKey, RecordKeyError, part_of_value, value_of_part};
pub use timestamp::{Timestamp, TimestampError, TimestampRule};
pub use value::{DEPTH_MAX, InvalidValue, Value};
