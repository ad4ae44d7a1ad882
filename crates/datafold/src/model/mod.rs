//! The words of the product as types: values, keys, names, schemas.
//!
//! Everything here is pure: no store, file, clock or thread.

mod aggregate;
mod codec;
mod element_key;
mod expression;
#[cfg(test)]
pub(crate) mod fuzz;
mod json;
mod json_parser;
mod json_schema;
mod name;
mod record_key;
mod schema;
mod timestamp;
mod value;

pub use aggregate::{AggregateCall, AggregateKind};
pub use codec::{CodecError, decode_from, decode_value, encode_value};
pub(crate) use codec::{decode_value_into, take_text};
pub use datafold_store::encoding::KeyPart;
pub use element_key::ELEMENT_KEY_BYTES_MAX;
pub(crate) use element_key::{
    decode_element, decode_element_into, encode_element, encode_element_bound,
    encode_element_prefix,
};
pub(crate) use expression::{decode_lang, from_lang, to_lang, type_of};
pub use json::{JsonError, JsonRule};
pub use json_schema::{ScalarType, ValueError, ValueSchema, ValueSchemaError, ValueSchemaRule};
pub use name::{FieldName, NAME_BYTES_MAX, NameError, SchemaName};
pub use record_key::{KEY_BYTES_MAX, RecordKey, RecordKeyError, part_of_value, value_of_part};
pub(crate) use schema::qualified;
pub use schema::{
    AggregateDefinition, ContentHash, ContentHashError, Field, FieldKind, FieldPayment,
    IndexDefinition, KeyOfError, OnError, ParsedSchema, PermissionPolicy, Price, PriceBasis,
    PriceError, SCHEMA_BYTES_MAX, Schema, SchemaError, SchemaPayment, SchemaPlace, SchemaRule,
    SchemaState, SchemaStateError, SchemaViolation, SchemaWarning, SchemaWarningKind,
    TransformDefinition, TrustDistance, TrustDistanceScaling,
};
pub use timestamp::{Timestamp, TimestampError, TimestampRule};
pub use value::{DEPTH_MAX, InvalidValue, Value};
