//! Where the cells of a schema are stored. A mapped field has none of its own.
//!
//! A schema that maps nothing has its cells in its own records, numbered by its definition. In a
//! schema that does, each mapped field resolves through the definitions to one root: the field
//! that has the data. The records of a keyed schema that maps are those of its source, and hold
//! its other fields too, under numbers that the root's schema gives out; so a record has one life,
//! whichever schema it is seen through. A schema without key may map from several sources.
//!
//! A layout is made once, when the schema is first approved or mapped from by one that is, and
//! never changes: definitions do not, and a schema that fields resolve through cannot be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use minicbor::{Decoder, Encoder};

use super::catalogue::{SchemaCore, SchemaEntry};
use super::error::DataLayerError;
use super::ids::{FieldId, SchemaId};
use super::record::ok;
use super::rows::FieldAddress;
use super::serialization::RowError;
use super::working_set::ElementName;
use crate::model::{Field, FieldName, RecordKey, Schema, SchemaName, ValueSchema};

/// Where the cell of a field is stored: among the records of which schema, under which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CellPlace {
    pub(crate) schema: SchemaId,
    pub(crate) field: FieldId,
}

impl CellPlace {
    /// The field in a record, given by its encoded key.
    pub(crate) fn address(self, record: &[u8]) -> FieldAddress<'_> {
        FieldAddress { schema: self.schema, record, field: self.field }
    }

    /// An element of the field in a record.
    pub(crate) fn element(self, key: &RecordKey, element: Bytes) -> ElementName {
        let (record, field) = (key.bytes().clone(), self.field);
        ElementName { schema: self.schema, record, field, element }
    }
}

/// Where the records and cells of a schema that maps fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The schema that has the records.
    pub(crate) records: SchemaId,
    /// By field, in the order of the definition.
    pub(crate) cells: Arc<[CellPlace]>,
}

impl Layout {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.cells.len() * 4);
        let mut encoder = Encoder::new(&mut out);
        ok(encoder
            .array(1 + 2 * self.cells.len() as u64)
            .and_then(|encoder| encoder.u32(self.records.0)));
        for cell in &*self.cells {
            ok(encoder.u32(cell.schema.0).and_then(|encoder| encoder.u32(cell.field.0)));
        }
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::new(row);
        let Some(length) = decoder.array()?.filter(|length| length % 2 == 1) else {
            return Err(RowError::Malformed("a layout is a number and pairs of numbers"));
        };
        let records = SchemaId(decoder.u32()?);
        let mut cells = Vec::new();
        for _ in 0..length / 2 {
            let schema = SchemaId(decoder.u32()?);
            let field = FieldId(decoder.u32()?);
            if field == FieldId::RECORD {
                return Err(RowError::Malformed("fields are numbered from 1 on"));
            }
            cells.push(CellPlace { schema, field });
        }
        Ok(Self { records, cells: cells.into() })
    }
}

/// Whether a schema has mapped fields.
pub(crate) fn maps(schema: &Schema) -> bool {
    schema.fields.iter().any(|field| !field.mappers.is_empty())
}

/// Whether a field of a schema resolves through a field of another one, be it the root or not.
pub(crate) fn leads_through(
    catalogue: &SchemaCore,
    entry: &Arc<SchemaEntry>,
    other: SchemaId,
) -> Result<bool, DataLayerError> {
    for field in &entry.schema.fields {
        let links = chain(catalogue, entry, field)?;
        if links.iter().skip(1).any(|(source, _)| source.id == other) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The fields that a mapped field resolves through, from itself to the root.
///
/// # Errors
///
/// [`DataLayerError::Refused`] where the definitions do not lead to a field that has data.
fn chain<'c>(
    catalogue: &'c SchemaCore,
    entry: &'c Arc<SchemaEntry>,
    field: &'c Field,
) -> Result<Vec<(&'c Arc<SchemaEntry>, &'c Field)>, DataLayerError> {
    let mut links = vec![(entry, field)];
    while let Some((_, last)) = links.last()
        && let Some((schema, name)) = last.mappers.iter().next()
    {
        let refuse = |rule: String| refused(&entry.schema.name, &field.name, rule);
        let Some(source) = catalogue.get(schema.as_str()) else {
            return Err(refuse(format!(
                "maps from `{schema}.{name}`, but there is no such schema"
            )));
        };
        let Some(found) = source.schema.field(name.as_str()) else {
            return Err(refuse(format!("maps from `{schema}.{name}`, but there is no such field")));
        };
        if links.iter().any(|(seen, field)| seen.id == source.id && field.name == found.name) {
            return Err(refuse(format!("maps in a circle, by way of `{schema}.{name}`")));
        }
        links.push((source, found));
    }
    Ok(links)
}

/// A definition in which each mapped field has what comes from its root: the values it accepts,
/// and whether it can be written.
///
/// # Errors
///
/// As [`plan`]: a field that cannot be mapped.
pub(crate) fn shape(
    catalogue: &SchemaCore,
    entry: &Arc<SchemaEntry>,
) -> Result<Schema, DataLayerError> {
    let mut shape = Schema::clone(&entry.schema);
    for (field, own) in shape.fields.iter_mut().zip(&entry.schema.fields) {
        let links = chain(catalogue, entry, own)?;
        let Some((_, root)) = links.get(1..).and_then(<[_]>::last) else { continue };
        field.value = root.value.clone();
        field.writable = links.iter().all(|(_, link)| link.writable) && root.transform.is_none();
    }
    Ok(shape)
}

/// Makes the layouts that a schema needs to be approved: its own, and those of keyed schemas that
/// it maps from which were never approved.
///
/// `next_field` gives out a new number among the fields of a schema.
///
/// # Errors
///
/// [`DataLayerError::Refused`] with the field and the rule, for a field that cannot be mapped so;
/// and what `next_field` answers.
pub(crate) fn plan(
    catalogue: &SchemaCore,
    entry: &Arc<SchemaEntry>,
    next_field: &mut dyn FnMut(&SchemaEntry) -> Result<FieldId, DataLayerError>,
) -> Result<Vec<(SchemaId, Layout)>, DataLayerError> {
    let mut planner = Planner { catalogue, next_field, planned: BTreeMap::new() };
    planner.layout(entry, &mut Vec::new())?;
    Ok(planner.planned.into_iter().collect())
}

struct Planner<'a> {
    catalogue: &'a SchemaCore,
    next_field: &'a mut dyn FnMut(&SchemaEntry) -> Result<FieldId, DataLayerError>,
    planned: BTreeMap<SchemaId, Layout>,
}

impl Planner<'_> {
    /// The layout of a schema, planned unless it is there; `None` if its cells are its own.
    fn layout(
        &mut self,
        entry: &Arc<SchemaEntry>,
        path: &mut Vec<SchemaId>,
    ) -> Result<Option<Layout>, DataLayerError> {
        if let Some(layout) = entry.layout.as_ref().or_else(|| self.planned.get(&entry.id)) {
            return Ok(Some(layout.clone()));
        }
        if !maps(&entry.schema) {
            return Ok(None);
        }
        for field in &entry.schema.fields {
            self.check(entry, field)?;
        }
        let layout = if entry.schema.is_keyed() {
            self.keyed(entry, path)?
        } else {
            self.one_record(entry)?
        };
        let mut seen = BTreeSet::new();
        for (cell, field) in layout.cells.iter().zip(&entry.schema.fields) {
            if !seen.insert(*cell) {
                let rule = "shows a field that another field of the schema shows already";
                return Err(refused(&entry.schema.name, &field.name, rule.into()));
            }
        }
        self.planned.insert(entry.id, layout.clone());
        Ok(Some(layout))
    }

    /// Checks a field against the fields that it resolves through.
    fn check(&self, entry: &Arc<SchemaEntry>, field: &Field) -> Result<(), DataLayerError> {
        let links = chain(self.catalogue, entry, field)?;
        let refuse = |rule: String| Err(refused(&entry.schema.name, &field.name, rule));
        for pair in links.windows(2) {
            let [(schema, shows), (source, shown)] = pair else { continue };
            let from = format!("maps from `{}.{}`", source.schema.name, shown.name);
            if source.schema.key.contains(&shown.name) {
                return refuse(format!("{from}, which is a part of the key"));
            }
            if shows.kind != shown.kind {
                let (own, found) = (shows.kind.as_str(), shown.kind.as_str());
                return refuse(format!("is {own}, but {from}, which is {found}"));
            }
            if source.schema.is_keyed() != schema.schema.is_keyed() {
                let (own, found) =
                    if source.schema.is_keyed() { ("no", "one") } else { ("a", "none") };
                let name = &schema.schema.name;
                return refuse(format!(
                    "{from}: `{name}` has {own} key and the source has {found}"
                ));
            }
        }
        let (Some(value), Some((root, shown))) = (&field.value, links.last()) else {
            return Ok(());
        };
        if shown.value.as_ref().map(ValueSchema::json) != Some(value.json()) {
            return refuse(format!(
                "has another `value` than `{}.{}`, whose data it shows; leave it out",
                root.schema.name, shown.name
            ));
        }
        Ok(())
    }

    fn keyed(
        &mut self,
        entry: &Arc<SchemaEntry>,
        path: &mut Vec<SchemaId>,
    ) -> Result<Layout, DataLayerError> {
        let source = self.only_source(entry)?;
        path.push(entry.id);
        if path.contains(&source.id) {
            let field = entry.schema.fields.iter().find(|field| !field.mappers.is_empty());
            let name = field.map_or(entry.schema.name.as_str(), |field| field.name.as_str());
            let rule = format!("maps in a circle, by way of `{}`", source.schema.name);
            return Err(refused(&entry.schema.name, name, rule));
        }
        let beneath = self.layout(&source, path)?;
        path.pop();
        let records = beneath.as_ref().map_or(source.id, |layout| layout.records);
        let root = self.catalogue.by_id(records).cloned();
        let root = root.ok_or_else(|| DataLayerError::missing(format!("schema {records}")))?;
        let mut cells = Vec::with_capacity(entry.schema.fields.len());
        for field in &entry.schema.fields {
            // A key field stands in the key of the record; its place is never used.
            let shown = match field.mappers.values().next() {
                Some(name) => Some(name),
                None => entry.schema.key.contains(&field.name).then_some(&field.name),
            };
            let cell = match shown.and_then(|name| source.schema.position(name.as_str())) {
                Some(at) => match &beneath {
                    Some(layout) => layout.cells.get(at).copied(),
                    None => Some(CellPlace { schema: source.id, field: FieldId::at(at) }),
                },
                None => Some(CellPlace { schema: records, field: (self.next_field)(&root)? }),
            };
            let cell = cell.ok_or_else(|| DataLayerError::missing("a place in a layout"));
            cells.push(cell?);
        }
        Ok(Layout { records, cells: cells.into() })
    }

    /// The one schema that a keyed schema maps from, which must have the same key.
    fn only_source(&self, entry: &Arc<SchemaEntry>) -> Result<Arc<SchemaEntry>, DataLayerError> {
        let mut source: Option<&SchemaName> = None;
        for field in &entry.schema.fields {
            for name in field.mappers.keys() {
                if source.is_some_and(|source| source != name) {
                    let rule = "maps from a second schema; one with a key maps from one only, \
                                since its records are those of the source";
                    return Err(refused(&entry.schema.name, &field.name, rule.into()));
                }
                source = Some(name);
            }
        }
        let source = source.and_then(|name| self.catalogue.get(name.as_str()));
        let source = source.ok_or_else(|| DataLayerError::missing("a mapped schema"))?;
        let key = |entry: &SchemaEntry| {
            let fields = entry.schema.key.iter();
            let value = |name: &FieldName| {
                let field = entry.schema.field(name.as_str())?;
                Some(field.value.as_ref()?.json().clone())
            };
            fields.map(|name| (name.clone(), value(name))).collect::<Vec<_>>()
        };
        if key(entry) != key(source) {
            let place = entry.schema.key.first().map_or("key", |name| name.as_str());
            let rule = format!(
                "the key is not that of `{}`: fields, their order and their `value` must be equal",
                source.schema.name
            );
            return Err(refused(&entry.schema.name, place, rule));
        }
        Ok(Arc::clone(source))
    }

    fn one_record(&self, entry: &Arc<SchemaEntry>) -> Result<Layout, DataLayerError> {
        let mut cells = Vec::with_capacity(entry.schema.fields.len());
        for field in &entry.schema.fields {
            let links = chain(self.catalogue, entry, field)?;
            let root = links.last().and_then(|(schema, field)| {
                let at = schema.schema.position(field.name.as_str())?;
                Some(CellPlace { schema: schema.id, field: FieldId::at(at) })
            });
            cells.push(root.ok_or_else(|| DataLayerError::missing("a mapped field"))?);
        }
        Ok(Layout { records: entry.id, cells: cells.into() })
    }
}

fn refused(schema: &SchemaName, field: impl std::fmt::Display, rule: String) -> DataLayerError {
    DataLayerError::Refused {
        what: "schema",
        name: schema.to_string(),
        rule: format!("cannot be approved: the field `{field}` {rule}"),
    }
}
