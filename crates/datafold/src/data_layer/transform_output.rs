//! Where the results of transforms go: to the field that defines one, or to one of another schema.

use std::sync::Arc;

use datafold_lang::Type;

use super::catalogue::{SchemaCore, SchemaEntry};
use super::ids::FieldId;
use super::index::{Index, IndexPart};
use super::layout::CellPlace;
use crate::model::{Field, SchemaState, TransformDefinition, qualified, type_of};

/// The field that takes the results of a transform, and the schema that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home<'a> {
    pub(crate) entry: &'a SchemaEntry,
    /// The place of the field.
    pub(crate) at: usize,
}

/// Where the results of the transform of a field go, if there is such a field.
pub(crate) fn home<'a>(
    catalogue: &'a SchemaCore,
    entry: &'a SchemaEntry,
    field: &Field,
) -> Option<Home<'a>> {
    let output = field.transform.as_ref()?.output.as_ref();
    let (entry, name) = match output.map(|output| qualified(output)) {
        None => (entry, field.name.clone()),
        Some(None) => return None,
        Some(Some((schema, name))) if schema == entry.schema.name => {
            (entry, (name == field.name).then_some(name)?)
        }
        Some(Some((schema, name))) => (&**catalogue.get(schema.as_str())?, name),
    };
    Some(Home { entry, at: entry.schema.position(name.as_str())? })
}

/// Why there is nowhere for the results to go.
pub(super) fn no_home(catalogue: &SchemaCore, definition: &TransformDefinition) -> String {
    let output = definition.output.as_deref().unwrap_or_default();
    match qualified(output) {
        Some((schema, name)) => match catalogue.get(schema.as_str()) {
            Some(_) => format!("its output `{output}`: `{schema}` has no field `{name}`"),
            None => format!("its output `{output}`: there is no schema `{schema}`"),
        },
        None => format!("its output is `{output}`, which is not of the form `Schema.field`"),
    }
}

impl<'a> Home<'a> {
    pub(crate) fn field(self) -> Option<&'a Field> {
        self.entry.shape.fields.get(self.at)
    }

    /// The cell of the result, which is in the records of the schema itself.
    pub(crate) fn place(self) -> Option<FieldId> {
        let place = self.entry.place(self.field()?.name.as_str())?;
        (place.schema == self.entry.records()).then_some(place.field)
    }

    /// Whether the schema that defines the transform has the field, too.
    pub(super) fn is_of(self, entry: &SchemaEntry) -> bool {
        self.entry.id == entry.id
    }

    /// Why a transform of another schema cannot compute the field, if it cannot.
    pub(super) fn refusal(self, catalogue: &SchemaCore, entry: &SchemaEntry) -> Option<String> {
        if self.is_of(entry) {
            return None;
        }
        let schema = &self.entry.schema.name;
        let field = self.field()?;
        let output = format!("{schema}.{}", field.name);
        if self.entry.state != SchemaState::Approved {
            return Some(format!("its output `{output}`: `{schema}` is not approved"));
        }
        let place = self.place().map(|field| CellPlace { schema: self.entry.records(), field });
        let is_key = self.entry.schema.key.contains(&field.name);
        let Some(place) = place.filter(|_| field.mappers.is_empty() && !is_key) else {
            return Some(format!("its output `{output}` has no data of its own"));
        };
        if field.default.is_some() {
            return Some(format!("its output `{output}` has a default"));
        }
        let is_unique = |index: &&Arc<Index>| {
            index.definition.unique && index.parts.contains(&IndexPart::Cell(place.field))
        };
        let kept = catalogue.kept_indexes(place.schema);
        if kept.iter().any(|index| is_unique(&index)) {
            return Some(format!("its output `{output}` is in a unique index"));
        }
        if field.transform.is_some() {
            return Some(format!("its output `{output}` has a transform of its own"));
        }
        if field.writable {
            return Some(format!(
                "its output `{output}` can be written by users; `{schema}` must say `writable: \
                 false` there"
            ));
        }
        let other = catalogue.propagation(place.schema);
        let other = other.and_then(|found| found.computing(place.field));
        if let Some(other) = other.filter(|other| other.source.id != entry.id) {
            let by = other.defined_in().unwrap_or_else(|| other.full_name());
            return Some(format!("its output `{output}` is computed by `{by}` already"));
        }
        let is_read = !entry.schema.is_keyed() || has_same_key(self.entry, entry);
        (!is_read).then(|| {
            format!("its output `{output}` is in records with another key than those of the schema")
        })
    }
}

/// Whether the records of two schemas are found by the same keys.
pub(super) fn has_same_key(one: &SchemaEntry, other: &SchemaEntry) -> bool {
    let types = |entry: &SchemaEntry| -> Vec<Option<Type>> {
        let key = entry.schema.key.iter();
        key.map(|name| Some(type_of(entry.placed_field(name.as_str())?.1))).collect()
    };
    types(one) == types(other)
}
