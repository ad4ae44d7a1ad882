//! What of JSON Schema is taken: looks at every place of a schema before the library sees it, and
//! writes it anew for the library.
//!
//! The library is given what it shall assert and nothing else: annotations, unknown keywords and
//! formats that are not asserted are left out, and every reference stands behind a gate that counts
//! (see `library.rs`).

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};

use super::super::{Timestamp, Value};
use super::error::{ValueSchemaError, ValueSchemaRule, describe};
use super::library::{STEP, to_json};

/// The most schemas in a schema.
const SUBSCHEMAS_MAX: usize = 1_000;
/// The most schemas that apply to the same value inside each other.
pub(super) const IN_PLACE_MAX: usize = 64;

/// Keywords that assert nothing. (The words of `content…` are annotations by the standard.)
pub(super) const ANNOTATIONS: [&str; 14] = [
    "$comment",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    // Handled where they stand.
    "$defs",
];

const ASSERTIONS: [&str; 20] = [
    "const",
    "dependentRequired",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "type",
    "uniqueItems",
];

/// Keywords that would be read in another way than their writer expects.
const UNSUPPORTED: [&str; 4] = ["$recursiveAnchor", "$recursiveRef", "$vocabulary", "dependencies"];

/// What became of a schema.
#[derive(Debug, Default)]
pub(super) struct Vetted {
    pub(super) errors: Vec<ValueSchemaError>,
    /// Where an unknown keyword or format stands, which nothing checks.
    pub(super) unchecked: Vec<String>,
    /// The schema as the library gets it.
    pub(super) rewritten: Json,
    /// How many schemas apply to the same value inside each other at most.
    pub(super) in_place_depth: usize,
}

/// Looks at a schema.
pub(super) fn vet(schema: &Value) -> Vetted {
    let mut walk = Walk::default();
    let mut rewritten = walk.schema(schema, false);
    canonical_times(&mut rewritten);
    walk.resolve();
    let in_place_depth = walk.in_place_depth();
    let Walk { errors, unchecked, .. } = walk;
    Vetted { errors, unchecked, rewritten, in_place_depth }
}

/// Where values are times, writes the times of `const` and `enum` as values write them.
fn canonical_times(schema: &mut Json) {
    let Json::Object(members) = schema else { return };
    if members.get("format").and_then(Json::as_str) != Some("date-time") {
        return;
    }
    let canonical = |value: &mut Json| {
        if let Some(Ok(time)) = value.as_str().map(Timestamp::parse) {
            *value = Json::String(time.to_string());
        }
    };
    members.get_mut("const").into_iter().for_each(canonical);
    let values = members.get_mut("enum").and_then(Json::as_array_mut);
    values.into_iter().flatten().for_each(canonical);
}

/// One schema inside of the schema.
#[derive(Debug)]
struct Place {
    path: String,
    /// Schemas that apply to the same value.
    in_place: Vec<usize>,
    /// The paths and texts of its references.
    references: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Walk {
    errors: Vec<ValueSchemaError>,
    unchecked: Vec<String>,
    path: Vec<String>,
    places: Vec<Place>,
    by_path: HashMap<String, usize>,
    anchors: HashMap<String, usize>,
    /// The place that is being read.
    here: usize,
}

impl Walk {
    fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.replace('~', "~0").replace('/', "~1"));
        let result = read(self);
        self.path.pop();
        result
    }

    fn pointer(&self) -> String {
        self.path.iter().map(|step| format!("/{step}")).collect()
    }

    fn refuse_at(&mut self, path: String, rule: ValueSchemaRule) {
        self.errors.push(ValueSchemaError { path, rule });
    }

    fn refuse(&mut self, rule: ValueSchemaRule) {
        self.refuse_at(self.pointer(), rule);
    }

    /// Reads a schema. What cannot be one stays as it is: the meta-schema refuses it.
    fn schema(&mut self, json: &Value, in_place: bool) -> Json {
        if !matches!(json, Value::Object(_) | Value::Bool(_)) {
            return to_json(json);
        }
        let (parent, id) = (self.here, self.places.len());
        if id == SUBSCHEMAS_MAX {
            self.refuse(ValueSchemaRule::TooLarge { limit: SUBSCHEMAS_MAX });
        }
        if id >= SUBSCHEMAS_MAX {
            return Json::Bool(true);
        }
        let path = self.pointer();
        self.by_path.insert(path.clone(), id);
        self.places.push(Place { path, in_place: Vec::new(), references: Vec::new() });
        if in_place && let Some(parent) = self.places.get_mut(parent) {
            parent.in_place.push(id);
        }
        self.here = id;
        let mut rewritten = Map::new();
        let mut gates = Vec::new();
        if let Value::Object(members) = json {
            for (keyword, value) in members {
                self.at(keyword, |walk| walk.keyword(keyword, value, &mut rewritten, &mut gates));
            }
        }
        self.here = parent;
        if !gates.is_empty() {
            let all = rewritten.entry("allOf").or_insert_with(|| json!([]));
            if let Json::Array(all) = all {
                all.extend(gates);
            }
        }
        if let Value::Bool(any) = json { Json::Bool(*any) } else { Json::Object(rewritten) }
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &Value,
        out: &mut Map<String, Json>,
        gates: &mut Vec<Json>,
    ) {
        let rewritten = match keyword {
            "allOf" | "anyOf" | "oneOf" => self.list(value, true),
            "prefixItems" => self.list(value, false),
            "not" | "if" | "then" | "else" => self.schema(value, true),
            "additionalProperties"
            | "contains"
            | "items"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => self.schema(value, false),
            "dependentSchemas" => self.map(value, true),
            "$defs" | "definitions" | "patternProperties" | "properties" => self.map(value, false),
            "$ref" | "$dynamicRef" => {
                gates.extend(self.reference(keyword, value));
                return;
            }
            "$anchor" | "$dynamicAnchor" => {
                if let Value::Text(name) = value {
                    self.anchors.insert(name.clone(), self.here);
                }
                to_json(value)
            }
            "$id" if self.path.len() > 1 => return self.refuse(ValueSchemaRule::Unsupported),
            "$schema" => return self.dialect(value),
            "format" => match value.as_text() {
                Some("date-time" | "date") => to_json(value),
                _ => return self.unchecked.push(self.pointer()),
            },
            keyword if UNSUPPORTED.contains(&keyword) => {
                return self.refuse(ValueSchemaRule::Unsupported);
            }
            keyword if ASSERTIONS.contains(&keyword) => to_json(value),
            keyword if ANNOTATIONS.contains(&keyword) => return,
            _ => return self.unchecked.push(self.pointer()),
        };
        out.insert(keyword.to_owned(), rewritten);
    }

    fn list(&mut self, value: &Value, in_place: bool) -> Json {
        let Value::Array(items) = value else { return to_json(value) };
        let items = items.iter().enumerate();
        items.map(|(i, item)| self.at(&i.to_string(), |w| w.schema(item, in_place))).collect()
    }

    fn map(&mut self, value: &Value, in_place: bool) -> Json {
        let Value::Object(members) = value else { return to_json(value) };
        let read = |(name, member): (&String, &Value)| {
            (name.clone(), self.at(name, |walk| walk.schema(member, in_place)))
        };
        Json::Object(members.iter().map(read).collect())
    }

    /// A reference, behind a gate that counts: once it is shut, the value is not looked at.
    fn reference(&mut self, keyword: &str, value: &Value) -> Option<Json> {
        let Value::Text(reference) = value else {
            let (expected, found) = ("text".to_owned(), describe(value));
            self.refuse(ValueSchemaRule::Wrong { expected, found });
            return None;
        };
        let path = self.pointer();
        if let Some(place) = self.places.get_mut(self.here) {
            place.references.push((path, reference.clone()));
        }
        Some(json!({ "if": { STEP: true }, "then": { keyword: reference }, "else": false }))
    }

    fn dialect(&mut self, value: &Value) {
        const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
        if value.as_text().is_none_or(|uri| uri.trim_end_matches('#') != DIALECT) {
            let (expected, found) = (format!("\"{DIALECT}\""), describe(value));
            self.refuse(ValueSchemaRule::Wrong { expected, found });
        }
    }

    /// Finds out where the references lead.
    fn resolve(&mut self) {
        for id in 0..self.places.len() {
            let references =
                self.places.get_mut(id).map(|place| std::mem::take(&mut place.references));
            for (path, reference) in references.into_iter().flatten() {
                let target = reference.strip_prefix('#').map(decode);
                match target.as_deref().map(|target| self.target(target)) {
                    Some(Some(target)) => {
                        if let Some(place) = self.places.get_mut(id) {
                            place.in_place.push(target);
                        }
                    }
                    Some(None) => {
                        self.refuse_at(path, ValueSchemaRule::UnknownReference { reference });
                    }
                    None => self.refuse_at(path, ValueSchemaRule::RemoteReference { reference }),
                }
            }
        }
    }

    fn target(&self, target: &str) -> Option<usize> {
        let is_path = target.is_empty() || target.starts_with('/');
        if is_path { self.by_path.get(target).copied() } else { self.anchors.get(target).copied() }
    }

    /// The longest chain of schemas that apply to the same value. One that comes back to where it
    /// began says nothing, and is refused.
    fn in_place_depth(&mut self) -> usize {
        let mut depths: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        let mut endless = None;
        let mut deepest = 0;
        for id in 0..self.places.len() {
            // A stack of our own: the chain may be as long as the schema.
            let mut stack = if depths.contains_key(&id) { vec![] } else { vec![(id, 0)] };
            while let Some((id, next)) = stack.pop() {
                if next == 0 {
                    depths.insert(id, None);
                }
                let children = self.places.get(id).map_or(&[][..], |place| &place.in_place);
                match children.get(next) {
                    Some(child) => {
                        stack.push((id, next + 1));
                        match depths.get(child) {
                            Some(Some(_)) => {}
                            Some(None) => endless = Some(*child),
                            None => stack.push((*child, 0)),
                        }
                    }
                    None => {
                        let below =
                            children.iter().filter_map(|c| depths.get(c).copied().flatten());
                        let depth = 1 + below.max().unwrap_or(0);
                        depths.insert(id, Some(depth));
                        deepest = deepest.max(depth);
                    }
                }
            }
        }
        if let Some(place) = endless.and_then(|id| self.places.get(id)) {
            self.refuse_at(place.path.clone(), ValueSchemaRule::Endless);
        } else if deepest > IN_PLACE_MAX {
            self.refuse_at(String::new(), ValueSchemaRule::TooDeep { limit: IN_PLACE_MAX });
        }
        deepest
    }
}

/// A fragment without percent-encoding.
fn decode(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        let mut ahead = rest.clone();
        let digits = (ahead.next().and_then(hex), ahead.next().and_then(hex));
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
