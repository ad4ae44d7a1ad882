//! Registered transforms.

use std::ops::Bound;
use std::sync::Arc;

use datafold_store::encoding::{KeyPart, KeyReader};
use datafold_store::{BatchKey, Keyspace, Scan};
use minicbor::{Decoder, Encoder};

use super::db_operations::DbOperations;
use super::error::DataLayerError;
use super::record::ok;
use super::repository::{Page, ReadRepository, Repository};
use super::rows::CatalogueKind;
use super::serialization::RowError;
use super::transaction::Transaction;
use super::working_set::CatalogueWrite;
use crate::model::{OnError, TransformDefinition, decode_from, encode_value};

/// Transforms by the name of their output, `Schema.field`. Those of approved schemas are registered
/// by the approval, and cannot be changed or removed here; any others are kept and do nothing.
#[derive(Debug, Clone)]
pub struct TransformRepository {
    ops: Arc<DbOperations>,
}

/// The longest name of a transform, in bytes.
const NAME_BYTES_MAX: usize = 480;

impl TransformRepository {
    pub(crate) fn new(ops: Arc<DbOperations>) -> Self {
        Self { ops }
    }

    fn row_key(&self, name: &str) -> BatchKey {
        self.ops.rows().catalogue_text(CatalogueKind::Transform, name)
    }

    fn prefix(&self) -> Vec<u8> {
        self.ops.rows().catalogue_kind(CatalogueKind::Transform)
    }

    fn read_name(&self, key: &[u8]) -> Result<String, DataLayerError> {
        let name = key.get(self.prefix().len()..).unwrap_or_default();
        match KeyReader::new(name).part() {
            Ok(KeyPart::Text(name)) => Ok(name),
            Ok(_) => {
                let error = RowError::Malformed("the name of a transform is text");
                Err(DataLayerError::row(Keyspace::Catalogue, key, error))
            }
            Err(error) => Err(DataLayerError::key(Keyspace::Catalogue, key, error)),
        }
    }
}

/// Refuses to change what the approval of a schema has registered.
fn check_free(transaction: &Transaction, name: &str) -> Result<(), DataLayerError> {
    let registered = transaction.state.catalogue.transform_of(name);
    match registered {
        Some(transform) => Err(DataLayerError::Refused {
            what: "transform",
            name: name.to_owned(),
            rule: format!("is the one of schema `{}`, which computes its field", transform.schema),
        }),
        None => Ok(()),
    }
}

/// The row of a transform. What is not the default stands behind the first three parts.
pub(super) fn encode(transform: &TransformDefinition) -> Vec<u8> {
    let TransformDefinition { inputs, aggregates, logic, output, on_error, declaration } =
        transform;
    let has_aggregates = !aggregates.is_empty();
    let is_plain = *on_error == OnError::Keep && declaration.is_none() && !has_aggregates;
    let parts = if is_plain { 3 } else { 5 + u64::from(has_aggregates) };
    let mut out = Vec::with_capacity(64);
    let mut encoder = Encoder::new(&mut out);
    ok(encoder
        .array(parts)
        .and_then(|e| e.encode(inputs))
        .and_then(|e| e.str(logic))
        .and_then(|e| e.encode(output.as_ref())));
    if !is_plain {
        let rejects = *on_error == OnError::Reject;
        ok(encoder.bool(rejects).and_then(|e| e.encode(declaration.as_ref())));
    }
    if has_aggregates {
        encode_value(&transform.named_inputs(), &mut out);
    }
    out
}

/// The row that would be written of what one says.
pub(super) fn own_form(key: &[u8], row: &[u8]) -> Result<Vec<u8>, DataLayerError> {
    Ok(encode(&decode(key, row)?))
}

pub(super) fn decode(key: &[u8], row: &[u8]) -> Result<TransformDefinition, DataLayerError> {
    let parts = |decoder: &mut Decoder<'_>| -> Result<TransformDefinition, RowError> {
        let parts = decoder.array()?;
        if !matches!(parts, Some(3 | 5 | 6)) {
            return Err(RowError::Malformed("a transform row has three, five or six parts"));
        }
        let mut transform = TransformDefinition {
            inputs: decoder.decode()?,
            logic: decoder.decode()?,
            output: decoder.decode()?,
            ..TransformDefinition::default()
        };
        if parts != Some(3) {
            if decoder.bool()? {
                transform.on_error = OnError::Reject;
            }
            transform.declaration = decoder.decode()?;
        }
        if parts == Some(6) {
            let named = TransformDefinition::read_named_inputs(&decode_from(decoder)?);
            let named = named.filter(|named| !named.is_empty());
            transform.aggregates = named.ok_or(RowError::Malformed("no named inputs"))?;
        }
        Ok(transform)
    };
    parts(&mut Decoder::new(row))
        .map_err(|error| DataLayerError::row(Keyspace::Catalogue, key, error))
}

impl ReadRepository<TransformDefinition, String> for TransformRepository {
    fn get(&self, key: &String) -> Result<Option<TransformDefinition>, DataLayerError> {
        let (keyspace, row_key) = self.row_key(key);
        let row = self.ops.pipeline().published().get(keyspace, &row_key)?;
        row.map(|row| decode(&row_key, &row)).transpose()
    }

    fn get_many(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<TransformDefinition>>, DataLayerError> {
        let published = self.ops.pipeline().published();
        let get = |key: &String| {
            let (keyspace, row_key) = self.row_key(key);
            published.get(keyspace, &row_key)?.map(|row| decode(&row_key, &row)).transpose()
        };
        keys.iter().map(get).collect()
    }

    fn page(
        &self,
        after: Option<&String>,
        limit: usize,
    ) -> Result<Page<TransformDefinition, String>, DataLayerError> {
        let mut scan =
            Scan::prefix(Keyspace::Catalogue, &self.prefix()).rows(limit.min(Scan::ROWS_MAX));
        if let Some(after) = after {
            scan.lower = Bound::Excluded(self.row_key(after).1.to_vec());
        }
        let page = self.ops.pipeline().published().snapshot.scan(&scan)?;
        let items: Result<Vec<_>, DataLayerError> =
            page.rows().map(|(key, row)| Ok((self.read_name(key)?, decode(key, row)?))).collect();
        let items = items?;
        let next = items.last().map(|(name, _)| name.clone()).filter(|_| page.more());
        Ok(Page { items, next })
    }

    fn count(&self) -> Result<u64, DataLayerError> {
        Ok(self.ops.catalogue().transforms())
    }
}

impl Repository<TransformDefinition, String> for TransformRepository {
    fn operations(&self) -> &Arc<DbOperations> {
        &self.ops
    }

    fn get_in(
        &self,
        transaction: &mut Transaction,
        key: &String,
    ) -> Result<Option<TransformDefinition>, DataLayerError> {
        let row_key = self.row_key(key);
        let state = &mut transaction.state;
        let row = state.working.catalogue_row(&mut state.source, &row_key)?;
        row.map(|row| decode(&row_key.1, &row)).transpose()
    }

    fn put_in(
        &self,
        transaction: &mut Transaction,
        key: &String,
        item: &TransformDefinition,
    ) -> Result<(), DataLayerError> {
        if key.is_empty() || key.len() > NAME_BYTES_MAX {
            return Err(DataLayerError::InvalidData {
                what: "the name of a transform".into(),
                rule: format!("must have 1 to {NAME_BYTES_MAX} bytes, not {}", key.len()),
            });
        }
        check_free(transaction, key)?;
        let write = CatalogueWrite::Put(encode(item).into());
        transaction.state.editor().write(&self.row_key(key), write)
    }

    fn delete_in(&self, transaction: &mut Transaction, key: &String) -> Result<(), DataLayerError> {
        check_free(transaction, key)?;
        transaction.state.editor().write(&self.row_key(key), CatalogueWrite::Delete)
    }

    fn item_name(&self) -> &'static str {
        "transform"
    }

    fn key_name(&self, key: &String) -> String {
        key.clone()
    }
}
