//! The words of the product as types: values, keys, names, schemas.
