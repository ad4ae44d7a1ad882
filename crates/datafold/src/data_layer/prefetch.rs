//! Rows that are read before the writer lock is taken, so that under it memory is read.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;
use datafold_store::{BatchKey, Keyspace};

use super::draft::{Draft, FieldWrites};
use super::element_input::Elements;
use super::error::DataLayerError;
use super::ids::SchemaId;
use super::propagate::dependents;
use super::published::Published;
use super::rows::{FieldAddress, Rows};
use super::transform::{Evaluation, Finder, OtherRecords, Part, Target, Transform};
use super::transform_graph::Watcher;
use super::transform_queue::rows_of;

/// What a commit does with a record, as far as that is known before it has its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Planned<'w> {
    /// It writes cells of a record that is there.
    Merge(&'w FieldWrites),
    /// It writes cells of a record that may begin with them.
    Write(&'w FieldWrites),
    Delete,
}

/// Rows that were read before the writer lock was taken, with the state they are from.
#[derive(Debug)]
pub(crate) struct Prefetch {
    pub(crate) published: Arc<Published>,
    pub(crate) rows: HashMap<BatchKey, Option<Bytes>>,
}

impl Prefetch {
    /// Reads the rows that writing cells of some records reads, those of the records that they read
    /// then, and those of the records that depend on them. What is not known before the commit has
    /// its place is not among them.
    pub(crate) fn with_dependents(
        published: Arc<Published>,
        rows: Rows,
        mut keys: Vec<BatchKey>,
        planned: &[(SchemaId, Bytes, Planned<'_>)],
        outputs_max: usize,
    ) -> Result<Self, DataLayerError> {
        let catalogue = Arc::clone(&published.catalogue);
        let mut left = outputs_max;
        let mut groups = HashSet::new();
        for (schema, record, planned) in planned {
            if catalogue.is_local(*schema) {
                continue;
            }
            let writes = match planned {
                Planned::Merge(writes) | Planned::Write(writes) => Some(*writes),
                Planned::Delete => None,
            };
            let own = match (catalogue.propagation(*schema), planned) {
                (Some(found), Planned::Merge(writes)) => found.depending(writes.keys().copied()),
                (Some(found), _) => found.transforms().iter().collect(),
                (None, _) => Vec::new(),
            };
            let mut draft = None;
            for transform in own {
                keys.extend(rows_of(rows, transform, record));
                if let Some(writes) = writes.filter(|_| transform.others().next().is_some()) {
                    if draft.is_none() {
                        draft = Draft::new(None).ok();
                        draft.iter_mut().for_each(|draft| draft.create(writes.clone()));
                    }
                    let others = draft.iter().flat_map(|draft| others_of(transform, record, draft));
                    let row = |(schema, key): (SchemaId, Bytes)| {
                        (Keyspace::Records, rows.record(schema, &key))
                    };
                    keys.extend(others.map(row));
                }
            }
            let graph = catalogue.graph();
            let cells = writes.into_iter().flat_map(|writes| writes.keys().copied());
            let cells = cells.map(Part::Cell);
            let written: Vec<Part> = match planned {
                Planned::Merge(_) => cells.collect(),
                Planned::Write(_) => {
                    let key = catalogue.by_id(*schema).map_or(0, |entry| entry.schema.key.len());
                    cells.chain((0..key).map(Part::Key)).collect()
                }
                Planned::Delete => graph.watched(*schema).collect(),
            };
            for Watcher { transform, finder } in graph.watchers(*schema, written.into_iter()) {
                let prefix = match finder {
                    Finder::Same => {
                        keys.extend(rows_of(rows, transform, record));
                        continue;
                    }
                    Finder::Group(slot) => {
                        let Some(aggregate) = transform.aggregates().get(*slot) else { continue };
                        let group = writes.and_then(|writes| {
                            aggregate.group(record, &|field| writes.get(&field)?.as_ref())
                        });
                        // Many records of a commit are in the same groups.
                        if let Some(group) = group
                            && groups.insert((transform.id, *slot, group.clone()))
                        {
                            let row = rows.group(transform.id, *slot, &group);
                            keys.push((Keyspace::Indexes, row));
                            keys.extend(rows_of(rows, transform, &group));
                        }
                        continue;
                    }
                    Finder::One => rows.records(transform.records),
                    Finder::Lookup => rows.askers(transform.id, *schema, record),
                };
                let scan = dependents(*finder, &prefix).rows(left.saturating_add(1));
                let found = published.keys(&scan)?;
                // More are not computed in the commit.
                if found.len() > left {
                    continue;
                }
                left -= found.len();
                for key in found {
                    keys.extend(rows_of(rows, transform, &key.slice(prefix.len()..)));
                }
            }
        }
        Self::read(published, keys)
    }

    /// Reads some rows at once.
    pub(crate) fn read(
        published: Arc<Published>,
        mut keys: Vec<BatchKey>,
    ) -> Result<Self, DataLayerError> {
        keys.sort_unstable();
        keys.dedup();
        let wanted: Vec<_> = keys.iter().map(|(keyspace, key)| (*keyspace, &key[..])).collect();
        let found = published.snapshot.get_many(&wanted)?;
        let rows = keys.into_iter().zip(found.into_iter().map(|row| row.map(Bytes::from)));
        Ok(Self { published, rows: rows.collect() })
    }
}

/// The records of others that a transform reads for a record.
fn others_of(transform: &Transform, record: &Bytes, draft: &Draft) -> BTreeSet<(SchemaId, Bytes)> {
    /// Finds no record, but tells which were wanted.
    #[derive(Default)]
    struct Wanted(RefCell<BTreeSet<(SchemaId, Bytes)>>);
    impl OtherRecords for Wanted {
        fn value(
            &self,
            target: Target,
            record: &Bytes,
        ) -> Result<lang::Value<'static>, DataLayerError> {
            self.0.borrow_mut().insert((target.records, record.clone()));
            Ok(lang::Value::Null)
        }

        fn aggregate(
            &self,
            _: &Transform,
            _: usize,
            _: &Bytes,
        ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
            Ok(Ok(lang::Value::Null))
        }

        fn elements(&self, _: FieldAddress<'_>, _: &Draft) -> Result<Elements, DataLayerError> {
            Ok(Ok(lang::Value::Null))
        }
    }
    let wanted = Wanted::default();
    // What it gives without what it reads means nothing.
    let _ = transform.evaluate(record, draft, &wanted);
    wanted.0.into_inner()
}
