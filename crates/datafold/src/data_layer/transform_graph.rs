//! In which order transforms run, and which read the records of a schema from others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ids::{FieldId, SchemaId, TransformId};
use super::layout::CellPlace;
use super::transform::{Finder, Part, Transform};

/// How the transforms of all schemas of a space depend on each other.
#[derive(Debug, Default)]
pub(crate) struct TransformGraph {
    levels: HashMap<TransformId, u32>,
    watchers: HashMap<SchemaId, Watchers>,
}

/// By what is read, the transforms that read it of records that are not their own.
type Watchers = HashMap<Part, Box<[Watcher]>>;

/// A transform that reads a field of the records of a schema, in records of its own.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    pub(crate) transform: Arc<Transform>,
    pub(crate) finder: Finder,
}

impl TransformGraph {
    pub(crate) fn new<'t>(transforms: impl Iterator<Item = &'t Arc<Transform>>) -> Self {
        let transforms: Vec<_> = transforms.cloned().collect();
        let (levels, _) = levels(&transforms);
        let mut found: HashMap<SchemaId, HashMap<Part, Vec<Watcher>>> = HashMap::new();
        for transform in &transforms {
            let others: BTreeSet<_> = transform.others().collect();
            for (finder, target) in others {
                let watchers = found.entry(target.records).or_default();
                let watcher = Watcher { transform: Arc::clone(transform), finder };
                watchers.entry(target.part).or_default().push(watcher);
            }
        }
        let boxed = |parts: HashMap<Part, Vec<Watcher>>| {
            parts.into_iter().map(|(part, of)| (part, of.into())).collect()
        };
        Self {
            levels: transforms.iter().map(|found| found.id).zip(levels).collect(),
            watchers: found.into_iter().map(|(schema, parts)| (schema, boxed(parts))).collect(),
        }
    }

    /// The most transforms that must run one behind the other before this one. A transform has a
    /// higher level than all whose results it reads.
    pub(crate) fn level(&self, transform: TransformId) -> u32 {
        self.levels.get(&transform).copied().unwrap_or_default()
    }

    /// Whether other records read those of a schema.
    pub(crate) fn is_watched(&self, records: SchemaId) -> bool {
        self.watchers.contains_key(&records)
    }

    /// Whether other records read one of some fields of those of a schema.
    pub(crate) fn watches_any<'f>(
        &self,
        records: SchemaId,
        mut fields: impl Iterator<Item = &'f FieldId>,
    ) -> bool {
        let watched = self.watchers.get(&records);
        watched.is_some_and(|found| fields.any(|field| found.contains_key(&Part::Cell(*field))))
    }

    /// What other records read of those of a schema.
    pub(crate) fn watched(&self, records: SchemaId) -> impl Iterator<Item = Part> + '_ {
        self.watchers.get(&records).into_iter().flat_map(|parts| parts.keys().copied())
    }

    /// Who reads something of that of the records of a schema, each once.
    pub(crate) fn watchers(
        &self,
        records: SchemaId,
        parts: impl Iterator<Item = Part>,
    ) -> Vec<&Watcher> {
        let Some(watched) = self.watchers.get(&records) else { return Vec::new() };
        let of_part = |part| watched.get(&part).into_iter().flat_map(|of| of.iter());
        let mut found: Vec<&Watcher> = parts.flat_map(of_part).collect();
        let order = |watcher: &&Watcher| (watcher.transform.id, watcher.finder);
        found.sort_unstable_by_key(order);
        found.dedup_by_key(|watcher| order(watcher));
        found
    }
}

/// The level of each transform, and if there is one, a circle: transforms of which each reads the
/// result of the next, and the last that of the first. Those have no meaningful level.
pub(crate) fn levels(transforms: &[Arc<Transform>]) -> (Vec<u32>, Option<Vec<Arc<Transform>>>) {
    let writers: HashMap<CellPlace, usize> =
        transforms.iter().enumerate().map(|(at, found)| (found.cell(), at)).collect();
    let inputs: Vec<Vec<usize>> = transforms.iter().map(|found| inputs(found, &writers)).collect();
    let mut levels: Vec<Option<u32>> = vec![None; transforms.len()];
    let mut is_on_path = vec![false; transforms.len()];
    let mut circle = None;
    for first in 0..transforms.len() {
        // Depth first, without recursion: a chain may have thousands. Each step looks at the next
        // input of the last transform of the path.
        let mut path = vec![(first, 0)];
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            let of = inputs.get(at).map_or(&[][..], |of| of);
            let is_known = |at: usize| levels.get(at).copied().flatten().is_some();
            match of.get(*next).copied() {
                _ if is_known(at) => drop(path.pop()),
                Some(input) if is_on_path.get(input) == Some(&true) || input == at => {
                    *next += 1;
                    let start = path.iter().position(|(at, _)| *at == input).unwrap_or(0);
                    let of = path.get(start..).unwrap_or_default().iter();
                    let of = of.filter_map(|(at, _)| transforms.get(*at).cloned());
                    circle.get_or_insert_with(|| of.collect());
                }
                Some(input) => {
                    *next += 1;
                    set(&mut is_on_path, at, true);
                    path.push((input, 0));
                }
                None => {
                    let before = of.iter().filter_map(|input| levels.get(*input).copied()?);
                    let level = before.max().map_or(0, |level: u32| level + 1);
                    set(&mut levels, at, Some(level));
                    set(&mut is_on_path, at, false);
                    path.pop();
                }
            }
        }
    }
    (levels.into_iter().map(Option::unwrap_or_default).collect(), circle)
}

fn set<T>(values: &mut [T], at: usize, value: T) {
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

/// The transforms whose results one reads.
fn inputs(transform: &Transform, writers: &HashMap<CellPlace, usize>) -> Vec<usize> {
    let own = transform.cells().map(|field| CellPlace { schema: transform.records, field });
    let others = transform.others().filter_map(|(_, target)| match target.part {
        Part::Cell(field) => Some(CellPlace { schema: target.records, field }),
        Part::Key(_) => None,
    });
    let found: BTreeSet<usize> =
        own.chain(others).filter_map(|place| writers.get(&place).copied()).collect();
    found.into_iter().collect()
}
