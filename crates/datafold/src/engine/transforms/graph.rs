//! Which fields are computed from which.

use std::collections::{BTreeMap, BTreeSet};

use super::super::error::FoldDbError;
use super::super::fold_db::FoldDb;
use super::super::query::unknown_field;
use crate::data_layer::{DataLayerError, SchemaCore, TransformId};
use crate::model::{FieldName, SchemaName, qualified};

/// What a field is in a graph of transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldRole {
    /// People and programs write it.
    Written,
    /// It shows the values of another field.
    Mapped,
    /// A transform computes it.
    Computed,
}

impl FieldRole {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FieldRole::Written => "written",
            FieldRole::Mapped => "mapped",
            FieldRole::Computed => "computed",
        }
    }
}

/// A field in a graph of transforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphField {
    /// Its schema.
    pub schema: SchemaName,
    /// Its name.
    pub field: FieldName,
    /// What it is.
    pub role: FieldRole,
    /// The revision of the transform that computes it.
    pub revision: Option<TransformId>,
    /// The state of that transform: `filling` or `ready`.
    pub state: Option<&'static str>,
    /// The places of the fields that it is computed or mapped from, ascending.
    pub from: Vec<usize>,
    /// How many steps it is at most from a field that is written.
    pub layer: usize,
}

/// Fields and what they are computed from. Each stands behind those that it depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransformGraph {
    /// By layer, schema and name.
    pub fields: Vec<GraphField>,
}

/// What depends on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impact {
    /// The schema of the field.
    pub schema: SchemaName,
    /// The field.
    pub field: FieldName,
    /// The fields that depend on it, in an order in which each stands behind those that it is
    /// computed or mapped from.
    pub dependents: Vec<Dependent>,
}

/// A field that depends on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its schema.
    pub schema: SchemaName,
    /// Its name.
    pub field: FieldName,
    /// Whether it is computed, or mapped.
    pub role: FieldRole,
    /// The revision of the transform that computes it.
    pub revision: Option<TransformId>,
    /// The state of that transform.
    pub state: Option<&'static str>,
    /// Whether it is computed or mapped from the field itself.
    pub is_direct: bool,
    /// Those of the fields that it is computed or mapped from which are the field or depend on it,
    /// as `Schema.field`.
    pub through: Vec<String>,
    /// How many records its schema has.
    pub records: u64,
}

type Name = (SchemaName, FieldName);

/// Fields by name, before they have places.
#[derive(Debug, Default)]
struct Links {
    fields: BTreeMap<Name, GraphField>,
    from: BTreeMap<Name, BTreeSet<Name>>,
}

impl Links {
    /// All fields that are mapped or computed, and those that they are made from.
    fn of(core: &SchemaCore) -> Self {
        let mut links = Self::default();
        for entry in core.iter().filter(|entry| entry.layout.is_some()) {
            for (place, field) in entry.fields().filter(|(_, field)| !field.mappers.is_empty()) {
                let Some((schema, root)) = core.field_at(place) else { continue };
                let name = (entry.schema.name.clone(), field.name.clone());
                let root = (schema.clone(), root.name.clone());
                links.field(&name).role = FieldRole::Mapped;
                links.link(root, name);
            }
        }
        for transform in core.computed() {
            let name = (transform.schema.clone(), transform.field.clone());
            let field = links.field(&name);
            field.role = FieldRole::Computed;
            field.revision = Some(transform.id);
            field.state = Some(transform.state.as_str());
            for input in transform.inputs().iter().filter_map(|input| qualified(input)) {
                links.link(input, name.clone());
            }
        }
        links
    }

    fn field(&mut self, name: &Name) -> &mut GraphField {
        self.fields.entry(name.clone()).or_insert_with(|| GraphField {
            schema: name.0.clone(),
            field: name.1.clone(),
            role: FieldRole::Written,
            revision: None,
            state: None,
            from: Vec::new(),
            layer: 0,
        })
    }

    fn link(&mut self, from: Name, to: Name) {
        self.field(&from);
        self.from.entry(to).or_default().insert(from);
    }

    fn sources(&self, of: &Name) -> impl Iterator<Item = &Name> {
        self.from.get(of).into_iter().flatten()
    }

    /// Leaves only what these are made from, and what is made from them.
    fn retain_around(&mut self, wanted: impl Fn(&Name) -> bool) {
        let chosen: BTreeSet<Name> =
            self.fields.keys().filter(|name| wanted(name)).cloned().collect();
        let mut kept =
            self.reach(chosen.clone(), |links, name| links.sources(name).cloned().collect());
        let into = self.readers();
        kept.extend(self.reach(chosen, |_, name| into.get(name).cloned().unwrap_or_default()));
        self.fields.retain(|name, _| kept.contains(name));
        self.from.retain(|name, _| kept.contains(name));
        for from in self.from.values_mut() {
            from.retain(|name| kept.contains(name));
        }
    }

    /// By field, those that are made from it.
    fn readers(&self) -> BTreeMap<Name, Vec<Name>> {
        let mut readers = BTreeMap::<Name, Vec<Name>>::new();
        for (to, from) in &self.from {
            for from in from {
                readers.entry(from.clone()).or_default().push(to.clone());
            }
        }
        readers
    }

    fn reach(
        &self,
        from: BTreeSet<Name>,
        next: impl Fn(&Self, &Name) -> Vec<Name>,
    ) -> BTreeSet<Name> {
        let mut due: Vec<Name> = from.iter().cloned().collect();
        let mut reached = from;
        while let Some(name) = due.pop() {
            for found in next(self, &name) {
                if reached.insert(found.clone()) {
                    due.push(found);
                }
            }
        }
        reached
    }

    /// Places for all fields, each behind those that it is made from.
    fn settle(mut self) -> TransformGraph {
        // Approval refuses circles, so that the layers end.
        for _ in 0..self.fields.len() {
            let mut is_settled = true;
            let names: Vec<Name> = self.from.keys().cloned().collect();
            for name in names {
                let layers = self.sources(&name).filter_map(|from| self.fields.get(from));
                let layer = layers.map(|from| from.layer + 1).max().unwrap_or(0);
                if let Some(field) = self.fields.get_mut(&name).filter(|field| field.layer < layer)
                {
                    field.layer = layer;
                    is_settled = false;
                }
            }
            if is_settled {
                break;
            }
        }
        let mut names: Vec<Name> = self.fields.keys().cloned().collect();
        names.sort_by_key(|name| (self.fields.get(name).map(|field| field.layer), name.clone()));
        let places: BTreeMap<&Name, usize> = names.iter().zip(0..).collect();
        let mut fields = Vec::with_capacity(names.len());
        for name in &names {
            let Some(mut field) = self.fields.remove(name) else { continue };
            let from = self.from.get(name).into_iter().flatten();
            field.from = from.filter_map(|from| places.get(from).copied()).collect();
            field.from.sort_unstable();
            fields.push(field);
        }
        TransformGraph { fields }
    }
}

impl FoldDb {
    /// The computed fields of a schema, or of all, with what they are made from to the end, and
    /// what is made from them. Schemas that were never approved have none.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema.
    ///
    /// # Cost
    ///
    /// Reads the catalogue in memory.
    pub fn transform_graph(
        &self,
        schema: Option<&SchemaName>,
    ) -> Result<TransformGraph, FoldDbError> {
        let core = self.schemas().core();
        if let Some(name) = schema {
            core.get(name.as_str()).ok_or_else(|| DataLayerError::not_found("schema", name))?;
        }
        let mut links = Links::of(&core);
        let computed: BTreeSet<Name> = links
            .fields
            .iter()
            .filter(|(name, field)| {
                field.role == FieldRole::Computed && schema.is_none_or(|schema| *schema == name.0)
            })
            .map(|(name, _)| name.clone())
            .collect();
        links.retain_around(|name| computed.contains(name));
        Ok(links.settle())
    }

    /// The fields that are computed or mapped from a field, directly and by way of others.
    ///
    /// # Errors
    ///
    /// [`DataLayerError::NotFound`] for an unknown schema, [`FoldDbError::Query`] for an unknown
    /// field.
    ///
    /// # Cost
    ///
    /// Reads the catalogue and the counters in memory.
    pub fn impact(&self, schema: &SchemaName, field: &FieldName) -> Result<Impact, FoldDbError> {
        let core = self.schemas().core();
        let entry = core.get(schema.as_str());
        let entry = entry.ok_or_else(|| DataLayerError::not_found("schema", schema))?;
        let (place, _) = entry
            .placed_field(field.as_str())
            .ok_or_else(|| unknown_field(&entry.schema, field.as_str()))?;
        let mut links = Links::of(&core);
        // What is written through a mapped field is the value of its root.
        let root = core.field_at(place).map(|(schema, root)| (schema.clone(), root.name.clone()));
        let name = (schema.clone(), field.clone());
        let root = root.unwrap_or_else(|| name.clone());
        let into = links.readers();
        let start: BTreeSet<Name> = [root.clone(), name].into();
        let reached =
            links.reach(start.clone(), |_, name| into.get(name).cloned().unwrap_or_default());
        links.fields.retain(|name, _| reached.contains(name));
        links.from.retain(|to, _| reached.contains(to) && *to != root);
        for from in links.from.values_mut() {
            from.retain(|from| reached.contains(from));
        }
        let counters = self.pool().operations().pipeline().counters();
        let records = |schema: &SchemaName| {
            let entry = core.get(schema.as_str())?;
            counters.get(&entry.records()).map(|counted| counted.records)
        };
        let graph = links.settle();
        let full_name = |at: &usize| {
            graph.fields.get(*at).map(|found| format!("{}.{}", found.schema, found.field))
        };
        let is_start =
            |found: &GraphField| start.contains(&(found.schema.clone(), found.field.clone()));
        let dependents = graph.fields.iter().filter(|found| !is_start(found));
        let dependents = dependents.map(|found| Dependent {
            schema: found.schema.clone(),
            field: found.field.clone(),
            role: found.role,
            revision: found.revision,
            state: found.state,
            is_direct: found.from.iter().any(|at| graph.fields.get(*at).is_some_and(is_start)),
            through: found.from.iter().filter_map(full_name).collect(),
            records: records(&found.schema).unwrap_or(0),
        });
        let dependents = dependents.collect();
        Ok(Impact { schema: schema.clone(), field: field.clone(), dependents })
    }
}
