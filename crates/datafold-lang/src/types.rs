//! What is known of a value before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::sync::Arc;

use crate::value::Value;

/// Levels of arrays and objects of which the types of the content are remembered.
const TYPE_DEPTH_MAX: u8 = 16;

/// A set of kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const NONE: Kinds = Kinds(0);
    pub(crate) const NULL: Kinds = Kinds(1);
    pub(crate) const BOOL: Kinds = Kinds(2);
    pub(crate) const INT: Kinds = Kinds(4);
    pub(crate) const FLOAT: Kinds = Kinds(8);
    pub(crate) const NUMBER: Kinds = Kinds(4 | 8);
    pub(crate) const TIME: Kinds = Kinds(16);
    pub(crate) const DURATION: Kinds = Kinds(32);
    pub(crate) const TEXT: Kinds = Kinds(64);
    pub(crate) const ARRAY: Kinds = Kinds(128);
    pub(crate) const OBJECT: Kinds = Kinds(256);
    pub(crate) const ANY: Kinds = Kinds(511);
    /// What `<` and its relatives, `min`, `max` compare.
    pub(crate) const ORDERED: Kinds = Kinds(4 | 8 | 16 | 32 | 64);
    pub(crate) const COLLECTION: Kinds = Kinds(128 | 256);
    pub(crate) const TEXT_OR_ARRAY: Kinds = Kinds(64 | 128);
    pub(crate) const TEXT_OR_COLLECTION: Kinds = Kinds(64 | 128 | 256);

    pub(crate) fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Kinds::NULL,
            Value::Bool(_) => Kinds::BOOL,
            Value::Int(_) => Kinds::INT,
            Value::Float(_) => Kinds::FLOAT,
            Value::Time(_) => Kinds::TIME,
            Value::Duration(_) => Kinds::DURATION,
            Value::Text(_) => Kinds::TEXT,
            Value::Array(_) => Kinds::ARRAY,
            Value::Object(_) => Kinds::OBJECT,
        }
    }

    pub(crate) fn intersects(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_subset(self, other: Kinds) -> bool {
        other.contains(self)
    }

    pub(crate) fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The single kinds of the set.
    pub(crate) fn each(self) -> impl Iterator<Item = Kinds> {
        (0..9).map(|bit| Kinds(1 << bit)).filter(move |kind| self.contains(*kind))
    }
}

impl BitOr for Kinds {
    type Output = Kinds;

    fn bitor(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }
}

impl BitAnd for Kinds {
    type Output = Kinds;

    fn bitand(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }
}

/// `integer or text`; null is not mentioned, since everything may be null.
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.without(Kinds::NULL) == Kinds::ANY.without(Kinds::NULL) {
            return f.write_str("anything");
        }
        let words = [
            (Kinds::BOOL, "bool"),
            (Kinds::NUMBER, "number"),
            (Kinds::INT, "integer"),
            (Kinds::FLOAT, "number"),
            (Kinds::TIME, "time"),
            (Kinds::DURATION, "duration"),
            (Kinds::TEXT, "text"),
            (Kinds::ARRAY, "array"),
            (Kinds::OBJECT, "object"),
        ];
        let mut rest = *self;
        let mut separator = "";
        for (kinds, word) in words {
            if rest.contains(kinds) {
                write!(f, "{separator}{word}")?;
                separator = " or ";
                rest = rest.without(kinds);
            }
        }
        if separator.is_empty() { f.write_str("null") } else { Ok(()) }
    }
}

/// The type of an expression: which kinds of values it may have, and what is known of their
/// content. Everything may be null, whatever its type says.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub(crate) kinds: Kinds,
    /// The items of an array; unknown without.
    items: Option<Arc<Type>>,
    /// The members of an object; unknown without.
    members: Option<Arc<Members>>,
    depth: u8,
}

#[derive(Debug, Clone, PartialEq)]
struct Members {
    known: BTreeMap<String, Type>,
    /// The type of all other members; without, there are none.
    others: Option<Type>,
    /// The type of any member, known once: an object may have thousands, and be asked as often.
    content: Type,
}

impl Members {
    fn new(known: BTreeMap<String, Type>, others: Option<Type>) -> Self {
        let all = known.values().chain(&others);
        let content = all.fold(Type::NULL, |all, one| all.or(one));
        Self { known, others, content }
    }
}

/// What is known of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MemberType {
    Known(Type),
    /// No object of this type has it.
    Never,
}

impl Type {
    /// Any value.
    pub const ANY: Type = Type::of_kinds(Kinds::ANY);
    /// Nothing but null.
    pub const NULL: Type = Type::of_kinds(Kinds::NULL);
    /// A truth value.
    pub const BOOL: Type = Type::of_kinds(Kinds::BOOL);
    /// An integer.
    pub const INTEGER: Type = Type::of_kinds(Kinds::INT);
    /// An integer or a float.
    pub const NUMBER: Type = Type::of_kinds(Kinds::NUMBER);
    /// A moment.
    pub const TIME: Type = Type::of_kinds(Kinds::TIME);
    /// A length of time.
    pub const DURATION: Type = Type::of_kinds(Kinds::DURATION);
    /// Text.
    pub const TEXT: Type = Type::of_kinds(Kinds::TEXT);

    pub(crate) const fn of_kinds(kinds: Kinds) -> Type {
        Type { kinds, items: None, members: None, depth: 0 }
    }

    /// An array of items of this type.
    #[must_use]
    pub fn array(items: Type) -> Type {
        let depth = items.depth + 1;
        let items = (depth < TYPE_DEPTH_MAX).then(|| Arc::new(items));
        let depth = if items.is_some() { depth } else { 0 };
        Type { kinds: Kinds::ARRAY, items, members: None, depth }
    }

    /// An object that has these members and no others.
    #[must_use]
    pub fn object(members: impl IntoIterator<Item = (String, Type)>) -> Type {
        Self::of_members(Members::new(members.into_iter().collect(), None))
    }

    /// An object with members of any name, all of this type: the elements of a Collection or Range
    /// field by their keys.
    #[must_use]
    pub fn elements(element: Type) -> Type {
        Self::of_members(Members::new(BTreeMap::new(), Some(element)))
    }

    fn of_members(members: Members) -> Type {
        let below = members.known.values().chain(&members.others).map(|member| member.depth).max();
        let depth = below.unwrap_or(0) + 1;
        let members = (depth < TYPE_DEPTH_MAX).then(|| Arc::new(members));
        let depth = if members.is_some() { depth } else { 0 };
        Type { kinds: Kinds::OBJECT, items: None, members, depth }
    }

    /// Whether a value of this type may be a number, or null, which takes the place of one.
    #[must_use]
    pub fn may_be_number(&self) -> bool {
        self.kinds.intersects(Kinds::NUMBER | Kinds::NULL)
    }

    /// Whether a value of this type may have a place in the order of keys, or is null: no arrays,
    /// objects and lengths of time.
    #[must_use]
    pub fn may_be_ordered(&self) -> bool {
        let scalars = Kinds::BOOL | Kinds::NUMBER | Kinds::TIME | Kinds::TEXT;
        self.kinds.intersects(scalars | Kinds::NULL)
    }

    /// The type of a constant.
    pub(crate) fn of_value(value: &Value<'_>) -> Type {
        Type::of_kinds(Kinds::of(value))
    }

    /// What the JSON Schema of a field says of its values: of `type`, `format: date-time`, `enum`,
    /// `const`, `properties`, `additionalProperties`, `items`, `anyOf` and `oneOf`. What other
    /// keywords say is not used, so the type is never narrower than the schema.
    ///
    /// # Cost
    ///
    /// One pass over the schema, down to 16 levels.
    ///
    /// ```
    /// use datafold_lang::{Type, Value};
    ///
    /// let schema = Value::parse_json(r#"{"type": ["number", "null"]}"#)?;
    /// assert_eq!(Type::of_json_schema(&schema), Type::NUMBER);
    /// # Ok::<(), datafold_lang::JsonError>(())
    /// ```
    #[must_use]
    pub fn of_json_schema(schema: &Value<'_>) -> Type {
        of_schema(schema, 0)
    }

    /// The type of a value that may have either type.
    pub(crate) fn or(&self, other: &Type) -> Type {
        if self.kinds.is_subset(Kinds::NULL) {
            return other.clone();
        }
        if other.kinds.is_subset(Kinds::NULL) {
            return self.clone();
        }
        let items = match (&self.items, &other.items) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Some(a),
            // A mixture of two that are known is known no more: joining them costs too much.
            (Some(a), None) if !other.kinds.intersects(Kinds::ARRAY) => Some(a),
            (None, Some(b)) if !self.kinds.intersects(Kinds::ARRAY) => Some(b),
            _ => None,
        };
        let members = match (&self.members, &other.members) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Some(a),
            (Some(a), None) if !other.kinds.intersects(Kinds::OBJECT) => Some(a),
            (None, Some(b)) if !self.kinds.intersects(Kinds::OBJECT) => Some(b),
            _ => None,
        };
        Type {
            kinds: self.kinds | other.kinds,
            items: items.cloned(),
            members: members.cloned(),
            depth: self.depth.max(other.depth),
        }
    }

    /// The values of this type that are of some kinds.
    pub(crate) fn only(mut self, kinds: Kinds) -> Type {
        self.kinds = self.kinds & kinds;
        self
    }

    /// The type of what a comprehension goes through: items of an array, members of an object.
    pub(crate) fn content(&self) -> Type {
        let mut content = Type::of_kinds(Kinds::NONE);
        if self.kinds.intersects(Kinds::ARRAY) {
            content = self.items.as_deref().cloned().unwrap_or(Type::ANY);
        }
        if self.kinds.intersects(Kinds::OBJECT) {
            let members = self.members.as_deref();
            let members = members.map_or(Type::ANY, |members| members.content.clone());
            content = if content.kinds.is_empty() { members } else { content.or(&members) };
        }
        if content.kinds.is_empty() { Type::NULL } else { content }
    }

    /// The member of this name, of an object.
    pub(crate) fn member(&self, name: &str) -> MemberType {
        let Some(members) = self.members.as_deref() else { return MemberType::Known(Type::ANY) };
        match members.known.get(name).or(members.others.as_ref()) {
            Some(member) => MemberType::Known(member.clone()),
            None => MemberType::Never,
        }
    }

    /// The names of the members that are known.
    pub(crate) fn member_names(&self) -> Vec<&str> {
        let members = self.members.as_deref();
        members.map(|m| m.known.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Whether a value of this type may be stored where values of another type are, null aside. A
    /// text may be the text of a time, and a length of time is stored as its text.
    #[must_use]
    pub fn may_become(&self, stored: &Type) -> bool {
        let mut kinds = self.kinds;
        if kinds.intersects(Kinds::DURATION) {
            kinds = kinds | Kinds::TEXT;
        }
        if kinds.intersects(Kinds::TEXT) {
            kinds = kinds | Kinds::TIME;
        }
        Type::of_kinds(kinds).may_equal(&Type::of_kinds(stored.kinds))
    }

    /// Of objects of this type, the first member that cannot be stored as one of objects of another
    /// type, null aside: its name, if it is known, and its type.
    #[must_use]
    pub fn unfit_member(&self, stored: &Type) -> Option<(Option<&str>, &Type)> {
        let (members, stored) = (self.members.as_deref()?, stored.content());
        let known = members.known.iter().map(|(name, of)| (Some(name.as_str()), of));
        let others = members.others.iter().map(|of| (None, of));
        known.chain(others).find(|(_, of)| !of.may_become(&stored))
    }

    /// Whether values of both types can be equal, null aside.
    pub(crate) fn may_equal(&self, other: &Type) -> bool {
        let number = |kinds: Kinds| {
            if kinds.intersects(Kinds::NUMBER) { kinds | Kinds::NUMBER } else { kinds }
        };
        let (a, b) = (number(self.kinds), number(other.kinds));
        let (a, b) = (a.without(Kinds::NULL), b.without(Kinds::NULL));
        a.is_empty() || b.is_empty() || a.intersects(b)
    }
}

/// As in messages: `integer or text`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kinds.fmt(f)
    }
}

fn of_schema(schema: &Value<'_>, depth: u8) -> Type {
    let Value::Object(members) = schema else { return Type::ANY };
    if depth >= TYPE_DEPTH_MAX {
        return Type::ANY;
    }
    let is_time = members.get("format").and_then(Value::as_text) == Some("date-time");
    let mut kinds = match members.get("type") {
        Some(Value::Text(name)) => kinds_of_name(name, is_time),
        Some(Value::Array(names)) => names.iter().fold(Kinds::NONE, |kinds, name| {
            kinds | name.as_text().map_or(Kinds::ANY, |name| kinds_of_name(name, is_time))
        }),
        _ => Kinds::ANY,
    };
    if let Some(Value::Array(values)) = members.get("enum") {
        kinds =
            kinds & values.iter().fold(Kinds::NONE, |kinds, value| kinds | literal(value, is_time));
    }
    if let Some(value) = members.get("const") {
        kinds = kinds & literal(value, is_time);
    }
    let mut found = Type::of_kinds(kinds);
    if kinds.intersects(Kinds::ARRAY)
        && let Some(items) = members.get("items")
        && members.get("prefixItems").is_none()
    {
        found.items = Type::array(of_schema(items, depth + 1)).items;
    }
    let says_members =
        ["properties", "additionalProperties"].iter().any(|word| members.get(word).is_some());
    if kinds.intersects(Kinds::OBJECT) && says_members && members.get("patternProperties").is_none()
    {
        found.members = object_members(members.get("properties"), members, depth);
    }
    let below = found.items.iter().map(|items| items.depth + 1);
    found.depth = below.max().unwrap_or(0);
    if let Some(known) = &found.members {
        let deepest = known.known.values().chain(&known.others).map(|t| t.depth + 1).max();
        found.depth = found.depth.max(deepest.unwrap_or(1));
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = members.get(keyword)
            && !schemas.is_empty()
        {
            let mut either = of_schema(&Value::Null, depth);
            either.kinds = Kinds::NONE;
            for schema in schemas.iter() {
                let one = of_schema(schema, depth + 1);
                either = if either.kinds.is_empty() { one } else { either.or(&one) };
            }
            let narrowed = found.kinds & (either.kinds | Kinds::NULL);
            if found.kinds == Kinds::ANY {
                found = either;
            }
            found.kinds = narrowed;
        }
    }
    // A schema that nothing can fulfil says nothing useful.
    if found.kinds.is_empty() { Type::ANY } else { found.plain() }
}

fn object_members(
    properties: Option<&Value<'_>>,
    schema: &crate::value::Object<'_>,
    depth: u8,
) -> Option<Arc<Members>> {
    let mut known = BTreeMap::new();
    if let Some(Value::Object(properties)) = properties {
        for (name, schema) in properties.iter() {
            known.insert(name.as_str().to_owned(), of_schema(schema, depth + 1));
        }
    }
    let others = match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        Some(schema @ Value::Object(_)) => Some(of_schema(schema, depth + 1)),
        _ => Some(Type::ANY),
    };
    Type::of_members(Members::new(known, others)).members
}

fn kinds_of_name(name: &str, is_time: bool) -> Kinds {
    match name {
        "null" => Kinds::NULL,
        "boolean" => Kinds::BOOL,
        "integer" => Kinds::INT,
        "number" => Kinds::NUMBER,
        "string" if is_time => Kinds::TIME,
        "string" => Kinds::TEXT,
        "array" => Kinds::ARRAY,
        "object" => Kinds::OBJECT,
        _ => Kinds::ANY,
    }
}

/// A value of a schema, whose JSON writes a time as text.
fn literal(value: &Value<'_>, is_time: bool) -> Kinds {
    match value {
        Value::Text(_) if is_time => Kinds::TIME,
        value => Kinds::of(value),
    }
}

impl Type {
    /// Without null, which every type has, unless it has nothing else.
    fn plain(mut self) -> Type {
        let kinds = self.kinds.without(Kinds::NULL);
        if self.kinds != Kinds::ANY && !kinds.is_empty() {
            self.kinds = kinds;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str) -> Type {
        Type::of_json_schema(&Value::parse_json(schema).unwrap())
    }

    #[test]
    fn types_come_from_json_schemas() {
        for (schema, expected) in [
            ("{}", Type::ANY),
            ("true", Type::ANY),
            (r#"{"type":"integer","minimum":1}"#, Type::INTEGER),
            (r#"{"type":"string","format":"date-time"}"#, Type::TIME),
            (r#"{"type":["string","null"],"format":"email"}"#, Type::TEXT),
            (r#"{"enum":["a","b",null]}"#, Type::TEXT),
            (r#"{"const":5}"#, Type::INTEGER),
            (r#"{"anyOf":[{"type":"integer"},{"type":"null"}]}"#, Type::INTEGER),
            (r#"{"type":"string","enum":[1]}"#, Type::ANY),
            (r#"{"type":"array","items":{"type":"boolean"}}"#, Type::array(Type::BOOL)),
            (
                r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
                Type::elements(Type::TEXT),
            ),
        ] {
            assert_eq!(of(schema), expected, "{schema}");
        }
        let person = of(r#"{"type":"object","properties":{"age":{"type":"integer"}},
            "additionalProperties":false}"#);
        assert_eq!(person.member("age"), MemberType::Known(Type::INTEGER));
        assert_eq!(person.member("name"), MemberType::Never);
        assert_eq!(of(r#"{"type":"object"}"#).member("x"), MemberType::Known(Type::ANY));
    }

    #[test]
    fn members_that_cannot_be_stored_are_found() {
        let object = Type::object([("a".into(), Type::INTEGER), ("b".into(), Type::TEXT)]);
        let (numbers, texts) = (Type::elements(Type::NUMBER), Type::elements(Type::TEXT));
        assert_eq!(object.unfit_member(&numbers), Some((Some("b"), &Type::TEXT)));
        assert_eq!(object.unfit_member(&Type::ANY), None);
        let bools = Type::elements(Type::BOOL);
        assert_eq!(bools.unfit_member(&texts), Some((None, &Type::BOOL)));
        assert_eq!(bools.or(&Type::NULL).unfit_member(&bools), None);
        assert_eq!(Type::ANY.unfit_member(&numbers), None);
    }

    #[test]
    fn deep_types_forget_what_is_below() {
        let mut deep = Type::INTEGER;
        for _ in 0..100_000 {
            deep = Type::array(deep);
        }
        assert!(deep.depth <= TYPE_DEPTH_MAX);
        assert_eq!(Type::of_kinds(Kinds::NUMBER | Kinds::TEXT).to_string(), "number or text");
    }
}
