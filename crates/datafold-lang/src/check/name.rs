//! Names: of locals, inputs, parameters, members, and of fields of other schemas.

use super::{Checker, adapt};
use crate::ast::{Expr, ExprKind};
use crate::diagnostic::{Checked, ErrorKind, Fault, Span, quoted};
use crate::library;
use crate::node::Op;
use crate::program::{Input, Lookup};
use crate::scope::{FieldPath, Named};
use crate::suggest::closest;
use crate::types::{Kinds, MemberType, Type};
use crate::value::Value;

impl Checker<'_> {
    pub(super) fn name(&mut self, name: &str) -> Checked<(Op, Type)> {
        if let Some(local) = self.local(name) {
            return Ok((Op::Local(local.place), local.of.clone()));
        }
        match self.names.named(name) {
            Named::Field(path, of) => {
                let slot = self.slot(path, &of);
                Ok((Op::Slot(slot), of))
            }
            Named::Ambiguous(ways) => {
                let message = format!("`{}` is the name of more than one field", quoted(name));
                let ways: Vec<_> = ways.iter().take(5).map(|way| format!("`{way}`")).collect();
                let fault = Fault::new(ErrorKind::AmbiguousName, message);
                Err(fault.hint(format!("write {}", ways.join(" or "))))
            }
            Named::Unknown => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> Box<Fault> {
        let message = format!("there is no name `{}`", quoted(name));
        let fault = Fault::new(ErrorKind::UnknownName, message);
        if library::names().any(|function| function == name) {
            return fault.hint(format!("`{name}(…)` is a function"));
        }
        let locals = self.locals.iter().map(|local| local.name.clone());
        let known: Vec<String> = locals.chain(self.names.known(None)).collect();
        fault.meant(closest(name, known.iter()).map(String::as_str))
    }

    fn slot(&mut self, path: FieldPath, of: &Type) -> usize {
        let next = self.inputs.len();
        let slot = *self.slots.entry(path.clone()).or_insert(next);
        if slot == next {
            self.inputs.push(Input { path, of: of.clone() });
        }
        slot
    }

    pub(super) fn parameter(&self, name: &str) -> Checked<(Op, Type)> {
        if let Some(value) = self.names.parameter(name) {
            return Ok((Op::Constant(value.clone()), Type::of_value(value)));
        }
        let message = format!("there is no parameter `${}`", quoted(name));
        let known = self.names.known_parameters();
        let near = closest(name, known.iter()).map(|name| format!("${name}"));
        Err(Fault::new(ErrorKind::UnknownName, message).meant(near.as_deref()))
    }

    /// Whether a name stands for a schema and nothing else.
    fn is_schema(&self, name: &str) -> bool {
        self.local(name).is_none() && matches!(self.names.named(name), Named::Unknown)
    }

    pub(super) fn member(&mut self, of: &Expr, name: &str, at: Span) -> Checked<(Op, Type)> {
        match &of.kind {
            ExprKind::Name(schema) if self.is_schema(schema) => {
                if let Some(field) = self.names.qualified(schema, name) {
                    let Some(of) = field else {
                        return Err(self.no_field(schema, name).at(at));
                    };
                    let path = FieldPath { schema: Some(schema.clone()), field: name.to_owned() };
                    let slot = self.slot(path, &of);
                    return Ok((Op::Slot(slot), of));
                }
                if self.names.lookup(schema).is_some() {
                    let message = format!("`{}` needs a key", quoted(schema));
                    let fault = Fault::new(ErrorKind::TypeClash, message).at(of.span);
                    return Err(fault.hint(format!("write `{schema}[key].{name}`")));
                }
            }
            ExprKind::Index(schema, key) => {
                if let ExprKind::Name(schema_name) = &schema.kind
                    && self.is_schema(schema_name)
                    && self.names.lookup(schema_name).is_some()
                {
                    return self.lookup(schema_name, schema.span, key, name, at);
                }
            }
            _ => {}
        }
        let (node, of_type) = self.expr(of);
        self.object_type(&of_type, of.span)?;
        let member = of_type.member(name);
        let MemberType::Known(found) = member else {
            let message = format!("there is no member `{}`", quoted(name));
            let near = closest(name, of_type.member_names().into_iter());
            return Err(Fault::new(ErrorKind::UnknownName, message).meant(near).at(at));
        };
        let found = if of_type.kinds.is_subset(Kinds::NULL) { Type::NULL } else { found };
        Ok((Op::Member(Box::new(node), name.into()), found))
    }

    fn object_type(&self, of: &Type, span: Span) -> Checked<()> {
        if of.kinds.intersects(Kinds::OBJECT | Kinds::NULL) {
            return Ok(());
        }
        Err(Fault::new(ErrorKind::TypeClash, format!("{of} has no members")).at(span))
    }

    fn no_field(&self, schema: &str, field: &str) -> Box<Fault> {
        let message = format!("{} has no field `{}`", quoted(schema), quoted(field));
        let known = self.names.known(Some(schema));
        let near = closest(field, known.iter()).map(String::as_str);
        Fault::new(ErrorKind::UnknownName, message).meant(near)
    }

    /// `schema[key].field`
    fn lookup(
        &mut self,
        schema: &str,
        schema_span: Span,
        key: &[Expr],
        field: &str,
        at: Span,
    ) -> Checked<(Op, Type)> {
        let Some(lookup) = self.names.lookup(schema).cloned() else {
            return Err(self.unknown(schema).at(schema_span));
        };
        let Some(of) = lookup.fields.get(field) else {
            return Err(self.no_field(schema, field).at(at));
        };
        if key.len() != lookup.key.len() {
            let (found, expected) = (key.len(), lookup.key.len());
            let message = format!("the key of {schema} has {expected} parts, not {found}");
            return Err(Fault::new(ErrorKind::WrongArity, message).at(schema_span));
        }
        let mut nodes = Vec::with_capacity(key.len());
        for (part, expected) in key.iter().zip(&lookup.key) {
            let (mut node, of) = self.expr(part);
            adapt(&mut node, expected)?;
            let of = if node.constant().is_some() && of.kinds == Kinds::TEXT {
                Type::of_value(node.constant().unwrap_or(&Value::Null))
            } else {
                of
            };
            if !of.may_equal(expected) {
                let message = format!("this part of the key is {expected}, not {of}");
                return Err(Fault::new(ErrorKind::TypeClash, message).at(part.span));
            }
            nodes.push(node);
        }
        let path = FieldPath { schema: Some(schema.to_owned()), field: field.to_owned() };
        let key = nodes.iter().map(|node| match node.op {
            Op::Slot(slot) => Some(slot),
            _ => None,
        });
        let found = Lookup { path, of: of.clone(), key: key.collect() };
        let known = self.lookups.iter().position(|lookup| *lookup == found);
        let slot = known.unwrap_or(self.lookups.len());
        if known.is_none() {
            self.lookups.push(found);
        }
        Ok((Op::Lookup(slot, nodes.into()), of.clone()))
    }

    pub(super) fn index(&mut self, of: &Expr, indexes: &[Expr], span: Span) -> Checked<(Op, Type)> {
        if let ExprKind::Name(schema) = &of.kind
            && self.is_schema(schema)
            && self.names.lookup(schema).is_some()
        {
            let message = format!("a record of `{}` is no value", quoted(schema));
            let fault = Fault::new(ErrorKind::TypeClash, message).at(span);
            return Err(fault.hint(format!("name a field: `{schema}[key].field`")));
        }
        let [index] = indexes else {
            let message = "an index is one value";
            return Err(Fault::new(ErrorKind::Syntax, message).at(span));
        };
        let (of_node, of_type) = self.expr(of);
        let (index_node, index_type) = self.expr(index);
        let (kinds, by) = (of_type.kinds, index_type.kinds);
        let both = |a: Kinds, b: Kinds| kinds.intersects(a) && by.intersects(b | Kinds::NULL);
        let is_possible = kinds.intersects(Kinds::NULL)
            || both(Kinds::ARRAY, Kinds::INT)
            || both(Kinds::OBJECT, Kinds::TEXT);
        if !is_possible {
            let message = format!("{of_type} has no items by {index_type}");
            let fault = Fault::new(ErrorKind::TypeClash, message).at(span);
            let is_text = kinds.is_subset(Kinds::TEXT);
            return Err(if is_text { fault.hint("`substring` cuts a text") } else { fault });
        }
        let found = match index_node.constant() {
            Some(Value::Text(name)) if kinds.is_subset(Kinds::OBJECT) => {
                match of_type.member(name) {
                    MemberType::Known(found) => found,
                    MemberType::Never => Type::NULL,
                }
            }
            _ => of_type.content(),
        };
        Ok((Op::Index(Box::new((of_node, index_node))), found))
    }
}
