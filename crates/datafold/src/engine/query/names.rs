//! What the names of a query's expressions stand for, and their types.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use datafold_lang::{self as lang, FieldPath, LookupType, Named, Names, Type};

use super::super::error::QueryError;
use super::readable;
use crate::data_layer::SchemaEntry;
use crate::data_layer::internal::ReadPoint;
use crate::model::{FieldName, SchemaName, SchemaState, type_of};

/// The fields of a schema, fields of one-record schemas, lookups by key, and parameters.
pub(super) struct QueryNames<'p> {
    point: &'p ReadPoint,
    entry: &'p SchemaEntry,
    parameters: &'p BTreeMap<String, lang::Value<'static>>,
    lookups: BTreeMap<String, LookupType>,
    /// A schema that was named and may not be read.
    refused: RefCell<Option<SchemaName>>,
}

impl<'p> QueryNames<'p> {
    /// `sources` are all that will be compiled.
    pub(super) fn new<'s>(
        point: &'p ReadPoint,
        entry: &'p SchemaEntry,
        parameters: &'p BTreeMap<String, lang::Value<'static>>,
        sources: impl Iterator<Item = &'s str> + Clone,
    ) -> Self {
        let mut lookups = BTreeMap::new();
        // A lookup has brackets; few sources have.
        if sources.clone().any(|source| source.contains('[')) {
            for other in point.published.catalogue.iter() {
                let name = other.schema.name.as_str();
                if other.schema.is_keyed()
                    && is_readable(point, other)
                    && sources.clone().any(|source| source.contains(name))
                {
                    lookups.insert(name.to_owned(), lookup_type(other));
                }
            }
        }
        Self { point, entry, parameters, lookups, refused: RefCell::default() }
    }

    /// Why a schema that was named is none for a program, if that is its state or the moment.
    pub(super) fn refusal(&self) -> Option<QueryError> {
        readable(self.point, self.refused.borrow().as_ref()?).err()
    }

    fn note(&self, entry: &SchemaEntry) {
        if !is_readable(self.point, entry) {
            self.refused.replace(Some(entry.schema.name.clone()));
        }
    }

    /// The schema whose records are asked for.
    pub(super) fn entry(&self) -> &'p SchemaEntry {
        self.entry
    }
}

impl Names for QueryNames<'_> {
    fn named(&self, name: &str) -> Named {
        match self.entry.placed_field(name) {
            Some((_, field)) => {
                Named::Field(FieldPath { schema: None, field: name.to_owned() }, type_of(field))
            }
            None => Named::Unknown,
        }
    }

    fn qualified(&self, schema: &str, field: &str) -> Option<Option<Type>> {
        let of_field = |entry: &SchemaEntry| entry.placed_field(field).map(|(_, f)| type_of(f));
        if schema == self.entry.schema.name.as_str() {
            return Some(of_field(self.entry));
        }
        let entry = self.point.published.catalogue.get(schema)?;
        self.note(entry);
        let is_one = !entry.schema.is_keyed() && is_readable(self.point, entry);
        is_one.then(|| of_field(entry))
    }

    fn lookup(&self, schema: &str) -> Option<&LookupType> {
        let found = self.lookups.get(schema);
        if found.is_none()
            && let Some(entry) = self.point.published.catalogue.get(schema)
        {
            self.note(entry);
        }
        found
    }

    fn parameter(&self, name: &str) -> Option<&lang::Value<'static>> {
        self.parameters.get(name)
    }

    fn has_clock(&self) -> bool {
        true
    }

    fn known(&self, schema: Option<&str>) -> Vec<String> {
        let fields = |entry: &SchemaEntry| -> Vec<String> {
            entry.schema.fields.iter().map(|field| field.name.to_string()).collect()
        };
        match schema {
            Some(schema) => self.point.published.catalogue.get(schema).map(|e| fields(e)),
            None => Some(fields(self.entry)),
        }
        .unwrap_or_default()
    }

    fn known_parameters(&self) -> Vec<String> {
        self.parameters.keys().cloned().collect()
    }
}

fn is_readable(point: &ReadPoint, entry: &SchemaEntry) -> bool {
    entry.state == SchemaState::Approved && entry.loaded <= point.at
}

/// The schema with this name, which a program was compiled with.
pub(super) fn other_schema(point: &ReadPoint, name: &str) -> Option<Arc<SchemaEntry>> {
    readable(point, &SchemaName::parse(name).ok()?).ok()
}

fn lookup_type(entry: &SchemaEntry) -> LookupType {
    let schema = &entry.schema;
    let field_type = |name: &FieldName| {
        entry.placed_field(name.as_str()).map_or(Type::ANY, |(_, field)| type_of(field))
    };
    LookupType {
        key: schema.key.iter().map(field_type).collect(),
        fields: schema
            .fields
            .iter()
            .map(|field| (field.name.to_string(), field_type(&field.name)))
            .collect(),
    }
}
