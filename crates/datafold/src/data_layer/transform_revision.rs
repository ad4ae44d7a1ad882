//! Transforms whose place others have taken: what is kept of them, so that the values that they
//! computed are explained and computed again as they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::encoding::KeyReader;
use datafold_store::{Keyspace, Scan};
use minicbor::{Decoder, Encoder};

use super::catalogue::SchemaCore;
use super::catalogue_edit::{Editor, check_definition};
use super::commit::Change;
use super::error::DataLayerError;
use super::ids::{FieldId, SchemaId, TransformId, WriterId};
use super::index_build::CHUNK_ROWS;
use super::layout::CellPlace;
use super::pipeline::{Durability, Execution, Pipeline};
use super::published::Published;
use super::record::ok;
use super::rows::{CatalogueKind, Rows};
use super::serialization::RowError;
use super::transform::Transform;
use super::transform_repository;
use super::working_set::CatalogueWrite;
use crate::model::{FieldName, Schema, TransformDefinition};

/// A transform whose place another one has taken.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) transform: Arc<Transform>,
    /// Whether there are still rows that only its evaluations needed.
    pub(crate) has_rows: bool,
}

/// Its row in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetiredRow {
    /// The schema that defines it.
    pub(crate) schema: SchemaId,
    /// The place of the field in it, from 1 on.
    pub(crate) field: FieldId,
    pub(crate) has_rows: bool,
    pub(crate) definition: TransformDefinition,
}

impl RetiredRow {
    fn of(transform: &Transform, has_rows: bool) -> Option<Self> {
        let schema = transform.source.id;
        let field = FieldId::at(transform.source.at);
        Some(Self { schema, field, has_rows, definition: transform.definition()?.clone() })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        ok(Encoder::new(&mut out)
            .array(4)
            .and_then(|e| e.u32(self.schema.0))
            .and_then(|e| e.u32(self.field.0))
            .and_then(|e| e.bool(self.has_rows))
            .and_then(|e| e.bytes(&transform_repository::encode(&self.definition))));
        out
    }

    pub(crate) fn decode(key: &[u8], row: &[u8]) -> Result<Self, DataLayerError> {
        let parts = |decoder: &mut Decoder<'_>| -> Result<_, RowError> {
            if decoder.array()? != Some(4) {
                return Err(RowError::Malformed("a retired transform has four parts"));
            }
            let (schema, field) = (SchemaId(decoder.u32()?), FieldId(decoder.u32()?));
            let (has_rows, definition) =
                (decoder.bool()?, Bytes::copy_from_slice(decoder.bytes()?));
            Ok((schema, field, has_rows, definition))
        };
        let (schema, field, has_rows, definition) = parts(&mut Decoder::new(row))
            .map_err(|error| DataLayerError::row(Keyspace::Catalogue, key, error))?;
        let definition = transform_repository::decode(key, &definition)?;
        Ok(Self { schema, field, has_rows, definition })
    }
}

/// Which transforms compute fields, in each commit of a log that is read from its beginning.
#[derive(Debug)]
pub(super) struct Revisions {
    catalogue: Arc<SchemaCore>,
    /// By cell that has had others than the present one, all that it had, ascending.
    of_cells: HashMap<CellPlace, Vec<TransformId>>,
    /// Those of them that were registered by the commits that were read.
    registered: BTreeSet<TransformId>,
}

impl Revisions {
    pub(super) fn new(catalogue: Arc<SchemaCore>) -> Self {
        let mut of_cells = HashMap::<CellPlace, Vec<TransformId>>::new();
        for retired in catalogue.retired() {
            of_cells.entry(retired.transform.cell()).or_default().push(retired.transform.id);
        }
        for (cell, revisions) in &mut of_cells {
            let present = catalogue.propagation(cell.schema);
            let present = present.and_then(|found| found.computing(cell.field));
            revisions.extend(present.map(|found| found.id));
            revisions.sort_unstable();
        }
        Self { catalogue, of_cells, registered: BTreeSet::new() }
    }

    /// Takes a change of the next commit into account.
    pub(super) fn read(&mut self, rows: Rows, change: &Change) {
        let Change::Catalogue { key, .. } = change else { return };
        if self.of_cells.is_empty() {
            return;
        }
        let mut reader = KeyReader::new(key.get(rows.all().len()..).unwrap_or_default());
        let kind = reader.id().ok().and_then(CatalogueKind::from_number);
        if let (Some(CatalogueKind::ComputedField), Ok(id)) = (kind, reader.id()) {
            self.registered.insert(TransformId(id));
        }
    }

    /// Who has written a cell of a commit by `writer`.
    pub(super) fn writer_of(&self, cell: CellPlace, writer: WriterId) -> WriterId {
        if let Some(revisions) = self.of_cells.get(&cell) {
            let mut known = revisions.iter().rev().filter(|id| self.registered.contains(id));
            return known.next().map_or(writer, |id| id.writer());
        }
        let computed = self.catalogue.propagation(cell.schema);
        computed.map_or(writer, |found| found.writer_of(cell.field, writer))
    }
}

impl Editor<'_> {
    /// Replaces the definition of a schema by one that computes its fields in another way; answers
    /// which. The transforms of these are registered anew if they were before.
    pub(crate) fn revise(
        &mut self,
        schema: &Arc<Schema>,
        source: Option<&str>,
    ) -> Result<Vec<FieldName>, DataLayerError> {
        let entry = self.entry(&schema.name)?;
        self.touch(entry.id)?;
        let hash = schema.content_hash();
        if entry.hash == hash {
            return Ok(Vec::new());
        }
        check_definition(schema)?;
        let changed = changed_transforms(&entry.schema, schema)?;
        let rows = self.working.rows;
        let mut writes = Vec::new();
        let is_changed = |found: &&Arc<Transform>| changed.contains(&found.source.at);
        let retired: Vec<_> = self.defined_by(&schema.name).filter(is_changed).cloned().collect();
        for transform in retired {
            let Some(row) = RetiredRow::of(&transform, true) else { continue };
            self.working.background.retired.insert(transform.id);
            let retired = CatalogueWrite::Put(row.encode().into());
            writes.push((rows.retired_transform(transform.id), retired));
            writes.push((rows.computed_field(transform.id), CatalogueWrite::Delete));
        }
        let is_registered = !writes.is_empty();
        let schema = Arc::clone(schema);
        let source = source.map(Arc::from);
        let name = schema.name.clone();
        let fields = changed.iter().filter_map(|at| Some(schema.fields.get(*at)?.name.clone()));
        let fields = fields.collect();
        writes.push((
            rows.schema(entry.id),
            CatalogueWrite::Define { schema, hash, loaded: Some(entry.loaded), source },
        ));
        self.write_all(writes)?;
        if is_registered {
            self.register_transforms(&name)?;
        }
        Ok(fields)
    }
}

/// The places of the fields that are computed in another way, which must be all that differs.
fn changed_transforms(old: &Schema, new: &Schema) -> Result<Vec<usize>, DataLayerError> {
    let refuse = |rule: String| {
        let name = old.name.to_string();
        Err(DataLayerError::Refused { what: "a revision of schema", name, rule })
    };
    let schema = &old.name;
    let mut like_old = new.clone();
    let mut changed = Vec::new();
    for (at, (old, new)) in old.fields.iter().zip(&mut like_old.fields).enumerate() {
        if old.name != new.name || old.transform == new.transform {
            continue;
        }
        let own = format!("{schema}.{}", old.name);
        let output = |transform: &Option<TransformDefinition>| {
            let output = transform.as_ref()?.output.as_deref().unwrap_or(&own);
            Some(output.to_owned())
        };
        let (name, outputs) = (&old.name, [&old.transform, &new.transform].map(output));
        if outputs.iter().any(Option::is_none) {
            return refuse(format!(
                "cannot begin or cease to compute `{name}`; only how it does may change"
            ));
        }
        if outputs.first() != outputs.last() {
            return refuse(format!("has another output for `{name}`, which cannot change"));
        }
        changed.push(at);
        new.transform.clone_from(&old.transform);
    }
    if like_old != *old {
        let rule = "differs in more than how its fields are computed; use a new name";
        return refuse(rule.to_owned());
    }
    Ok(changed)
}

impl Pipeline {
    /// Removes some rows that only the evaluations of a retired transform needed; answers whether
    /// there were any.
    pub(super) fn retire_step(&self, published: &Published) -> Result<bool, DataLayerError> {
        let Some(retired) = published.catalogue.retired().find(|found| found.has_rows) else {
            return Ok(false);
        };
        let id = retired.transform.id;
        let prefix = self.rows.index(id.rows());
        let page =
            published.snapshot.scan(&Scan::prefix(Keyspace::Indexes, &prefix).rows(CHUNK_ROWS))?;
        let keys: Vec<_> = page.rows().map(|(key, _)| Bytes::copy_from_slice(key)).collect();
        let is_last = !page.more();
        let remove = |execution: &mut Execution<'_>| {
            let editor = &mut execution.editor();
            let rows = &mut editor.working.index_rows;
            rows.extend(keys.iter().map(|key| (key.clone(), None)));
            // A schema that has no data of its own may have been deleted meanwhile.
            let found = editor.catalogue.retired().find(|found| found.transform.id == id);
            let row = found.and_then(|found| RetiredRow::of(&found.transform, false));
            let Some(row) = row.filter(|_| is_last) else { return Ok(()) };
            rows.insert(editor.working.rows.index_progress(id.rows()), None);
            let key = editor.working.rows.retired_transform(id);
            editor.write(&key, CatalogueWrite::Put(row.encode().into()))
        };
        self.execute(WriterId::OWNER, Durability::Durable, None, remove)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OnError;

    #[test]
    fn rows_are_read_back() {
        let definition = TransformDefinition {
            logic: "a + 1".into(),
            on_error: OnError::Reject,
            ..TransformDefinition::default()
        };
        for has_rows in [true, false] {
            let (schema, field) = (SchemaId(3), FieldId(2));
            let row = RetiredRow { schema, field, has_rows, definition: definition.clone() };
            assert_eq!(RetiredRow::decode(b"k", &row.encode()).unwrap(), row);
        }
        assert!(RetiredRow::decode(b"k", &[0x83, 1, 2, 3]).is_err());
    }
}
