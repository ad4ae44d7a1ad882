//! Which names a source may use.

use std::collections::BTreeMap;
use std::error::Error;

use crate::time::Time;
use crate::types::Type;
use crate::value::Value;

/// A field that a program reads: `field`, or `Schema.field`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    /// The schema, if the name says one.
    pub schema: Option<String>,
    /// The field.
    pub field: String,
}

/// What a name without anything before it stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    /// A field of this type.
    Field(FieldPath, Type),
    /// More than one field: the ways to write each.
    Ambiguous(Vec<String>),
    /// Nothing.
    Unknown,
}

/// The parts of a key by which records of another schema are found, and the schema's fields.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupType {
    /// The types of the key's parts, in order.
    pub key: Vec<Type>,
    /// The fields, by their names.
    pub fields: BTreeMap<String, Type>,
}

/// What names there are, and of which type. [`Scope`] is one that is filled beforehand.
pub trait Names {
    /// What a bare name stands for.
    fn named(&self, name: &str) -> Named;
    /// The type of `schema.field`; the outer `None` means that there is no such schema.
    fn qualified(&self, schema: &str, field: &str) -> Option<Option<Type>>;
    /// How `schema[key].field` finds a record.
    fn lookup(&self, schema: &str) -> Option<&LookupType>;
    /// The value of the parameter `$name`.
    fn parameter(&self, name: &str) -> Option<&Value<'static>>;
    /// Whether runs are told the time, so that `now()` can be called.
    fn has_clock(&self) -> bool;
    /// The names to choose from, for a hint: those of the fields of `schema`, or all bare names
    /// and schemas.
    fn known(&self, schema: Option<&str>) -> Vec<String>;
    /// The names of the parameters, for a hint.
    fn known_parameters(&self) -> Vec<String>;
}

/// A set of names.
///
/// ```
/// use datafold_lang::{Compiler, Scope, Type, Value};
///
/// let scope = Scope::new()
///     .with("distance", Type::NUMBER)
///     .with_qualified("Plane", "seats", Type::INTEGER)
///     .with_parameter("min", Value::Int(1000));
/// assert!(Compiler::new(&scope).filter("distance > $min && seats > 10").is_ok());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Scope {
    fields: BTreeMap<String, Type>,
    schemas: BTreeMap<String, BTreeMap<String, Type>>,
    lookups: BTreeMap<String, LookupType>,
    parameters: BTreeMap<String, Value<'static>>,
    has_clock: bool,
}

impl Scope {
    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field with a bare name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, of: Type) -> Self {
        self.fields.insert(name.into(), of);
        self
    }

    /// Adds `schema.field`. The bare name means it too, if it means nothing else.
    #[must_use]
    pub fn with_qualified(
        mut self,
        schema: impl Into<String>,
        field: impl Into<String>,
        of: Type,
    ) -> Self {
        self.schemas.entry(schema.into()).or_default().insert(field.into(), of);
        self
    }

    /// Adds a schema whose records are found by their keys: `Plane[tailnum].seats`.
    #[must_use]
    pub fn with_lookup(mut self, schema: impl Into<String>, lookup: LookupType) -> Self {
        self.lookups.insert(schema.into(), lookup);
        self
    }

    /// Adds a parameter, which is a constant for the program.
    #[must_use]
    pub fn with_parameter(mut self, name: impl Into<String>, value: Value<'static>) -> Self {
        self.parameters.insert(name.into(), value);
        self
    }

    /// Allows `now()`: [`Inputs::now`] tells the time of each run.
    #[must_use]
    pub fn with_clock(mut self) -> Self {
        self.has_clock = true;
        self
    }
}

impl Names for Scope {
    fn named(&self, name: &str) -> Named {
        if let Some(of) = self.fields.get(name) {
            return Named::Field(FieldPath { schema: None, field: name.to_owned() }, of.clone());
        }
        let mut found = self.schemas.iter().filter(|(_, fields)| fields.contains_key(name));
        match (found.next(), found.next()) {
            (Some((schema, fields)), None) => {
                let path = FieldPath { schema: Some(schema.clone()), field: name.to_owned() };
                let of = fields.get(name).cloned().unwrap_or(Type::ANY);
                Named::Field(path, of)
            }
            (Some((first, _)), Some((second, _))) => {
                let schemas = [first, second].into_iter().chain(found.map(|(schema, _)| schema));
                Named::Ambiguous(schemas.map(|schema| format!("{schema}.{name}")).collect())
            }
            (None, _) => Named::Unknown,
        }
    }

    fn qualified(&self, schema: &str, field: &str) -> Option<Option<Type>> {
        self.schemas.get(schema).map(|fields| fields.get(field).cloned())
    }

    fn lookup(&self, schema: &str) -> Option<&LookupType> {
        self.lookups.get(schema)
    }

    fn parameter(&self, name: &str) -> Option<&Value<'static>> {
        self.parameters.get(name)
    }

    fn has_clock(&self) -> bool {
        self.has_clock
    }

    fn known(&self, schema: Option<&str>) -> Vec<String> {
        if let Some(schema) = schema {
            let fields = self.schemas.get(schema);
            let fields = fields.or_else(|| self.lookups.get(schema).map(|lookup| &lookup.fields));
            return fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
        }
        let fields = self.schemas.values().flat_map(BTreeMap::keys);
        let names = self.fields.keys().chain(fields);
        names.chain(self.schemas.keys()).chain(self.lookups.keys()).cloned().collect()
    }

    fn known_parameters(&self) -> Vec<String> {
        self.parameters.keys().cloned().collect()
    }
}

/// Why an input could not be read.
pub type InputError = Box<dyn Error + Send + Sync>;

/// The values of one run: what the names of a program stand for, by their slots.
///
/// A slot is the place of a field in [`Program::inputs`](crate::Program::inputs). A value may be
/// asked for more than once in a run, and must be the same then.
pub trait Inputs {
    /// The value of a slot; null if there is none.
    ///
    /// # Errors
    ///
    /// What went wrong when it was read; the run ends with it.
    fn value(&self, slot: usize) -> Result<Value<'_>, InputError>;

    /// Whether there is a value in a slot, be it null: what `exists(field)` asks.
    ///
    /// # Errors
    ///
    /// As [`Inputs::value`].
    fn exists(&self, slot: usize) -> Result<bool, InputError> {
        Ok(!self.value(slot)?.is_null())
    }

    /// A field of the record of another schema that has this key; null if there is no such record.
    /// `slot` is the place in [`Program::lookups`](crate::Program::lookups).
    ///
    /// # Errors
    ///
    /// As [`Inputs::value`].
    fn lookup(&self, slot: usize, key: &[Value<'_>]) -> Result<Value<'_>, InputError> {
        let _ = (slot, key);
        Ok(Value::Null)
    }

    /// The time of the run, if the scope [has a clock](Names::has_clock).
    fn now(&self) -> Option<Time> {
        None
    }
}

/// Values in the order of the slots.
impl Inputs for Vec<Value<'_>> {
    fn value(&self, slot: usize) -> Result<Value<'_>, InputError> {
        Ok(self.get(slot).cloned().unwrap_or_default())
    }
}

impl<const N: usize> Inputs for [Value<'_>; N] {
    fn value(&self, slot: usize) -> Result<Value<'_>, InputError> {
        Ok(self.get(slot).cloned().unwrap_or_default())
    }
}
