//! Computes the fields that depend on what a commit writes.
//!
//! Most transforms read and write one record, and are computed with it. Where transforms read the
//! records of others, what is to be computed is kept in a list, from which the one of the lowest
//! level is taken: all that it reads is final then, in whichever record it is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use datafold_lang as lang;
use datafold_store::{BatchKey, Keyspace, Scan};

use super::aggregate_groups::{GroupSource, Groups};
use super::asked::{AskedWrites, Task, TaskProgress};
use super::catalogue::SchemaCore;
use super::commit::{Change, FailureChange};
use super::counters::SchemaCounters;
use super::draft::{After, Draft, ElementDraft};
use super::element_input::{Elements, elements_after};
use super::element_output::changed_elements;
use super::error::{CommitError, DataLayerError};
use super::failure::unreadable;
use super::ids::{CommitNumber, FieldId, SchemaId, TransformId};
use super::index_build::Progress;
use super::materialize::Materialized;
use super::pipeline::{TRANSACTION_BYTES_MAX, TRANSACTION_ROWS_MAX};
use super::propagation::{Cause, Propagation};
use super::rows::{BEHIND_PARTS, FieldAddress, Rows};
use super::transform::{
    Evaluation, Finder, OtherRecords, Part, PropagationLimits, Target, Transform, TransformFailure,
};
use super::transform_graph::Watcher;
use super::working_set::{Background, ElementName, RowSource, drafts_of};
use crate::model::{OnError, RecordKey};
use crate::planted::{Fault, is_planted};

/// What is computed in a commit may take so many bytes of the rows that it writes; what takes more
/// is left to the background, so that no commit is refused for what depends on it.
const PROPAGATED_BYTES_MAX: usize = TRANSACTION_BYTES_MAX / 4;

/// The same for the rows themselves.
const PROPAGATED_ROWS_MAX: usize = TRANSACTION_ROWS_MAX / 2;

/// What a row takes besides its bytes.
const ROW_BYTES: usize = 256;

/// What the key of a row takes besides those of the record and the element.
const KEY_BYTES: usize = 40;

/// A row of an element that is looked at counts as so many steps.
const ROW_STEPS: u64 = 10;

/// What may still be written for what is computed.
#[derive(Debug, Clone, Copy)]
struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    /// What the writes of a transaction leave.
    fn beside(
        records: &Records,
        elements: &BTreeMap<ElementName, ElementDraft>,
        writes: &[(BatchKey, Option<Bytes>)],
    ) -> Self {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let mut own = Self { rows: writes.len(), bytes: 0 };
        own.bytes += writes.iter().map(|((_, key), row)| key.len() + length(row)).sum::<usize>();
        for ((_, record), draft) in records {
            // Its row, and those that go to the history: cells, or the life that has ended.
            let (rows, values) = match &draft.after {
                After::Untouched => continue,
                After::Deleted => (2, 0),
                After::Merged(writes) => {
                    (1 + writes.len(), writes.values().map(length).sum::<usize>())
                }
                After::Created(writes) => {
                    let ended = usize::from(draft.before_row.is_some());
                    (1 + ended, writes.values().map(length).sum())
                }
            };
            own.rows += rows;
            own.bytes += rows * (record.len() + KEY_BYTES) + values;
            own.bytes += 2 * length(&draft.before_row);
        }
        for (name, draft) in elements {
            let record = records.get(&(name.schema, name.record.clone()));
            if let Some(record) = record.filter(|record| draft.write(record).is_some()) {
                let taken = Self::of_element(name.record.len(), &name.element, draft, record);
                own.rows += taken.rows;
                own.bytes += taken.bytes;
            }
        }
        Self {
            rows: TRANSACTION_ROWS_MAX.saturating_sub(own.rows).min(PROPAGATED_ROWS_MAX),
            bytes: TRANSACTION_BYTES_MAX.saturating_sub(own.bytes).min(PROPAGATED_BYTES_MAX),
        }
    }

    /// What an element takes that is written: its row, that of its past, and its place in the log.
    fn of_element(record: usize, element: &Bytes, draft: &ElementDraft, of: &Draft) -> Self {
        let values = draft.rows(of);
        let key = record + element.len() + KEY_BYTES;
        values.fold(Self { rows: 0, bytes: element.len() }, |sum, value| Self {
            rows: sum.rows + 1,
            bytes: sum.bytes + key + value,
        })
    }

    /// Takes what a result needs in its record: a row of the history, unless the record begins.
    fn take_result(&mut self, record: &Draft, value: Option<&Bytes>) {
        let is_new = matches!(record.after, After::Created(_));
        self.take(usize::from(!is_new), value.map_or(0, Bytes::len));
    }

    fn take(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_used_up(self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// The records of a transaction, by schema and key.
type Records = BTreeMap<RecordName, Draft>;

/// A record: the schema that has it, and its key.
type RecordName = (SchemaId, Bytes);

/// What propagation reads and writes besides the records.
pub(super) struct Propagate<'a> {
    catalogue: &'a SchemaCore,
    /// The commit that the writes become.
    number: CommitNumber,
    /// The counters before the commit.
    counters: &'a HashMap<SchemaId, SchemaCounters>,
    reading: Reading<'a>,
    /// What may still be computed in this commit.
    left: PropagationLimits,
    room: Room,
    /// Whether elements were written for what is computed.
    has_written_elements: bool,
    /// What the library computes by itself refuses nothing.
    is_background: bool,
    out: &'a mut Materialized,
    /// The elements that the commit writes.
    elements: Option<&'a mut BTreeMap<ElementName, ElementDraft>>,
    due: BTreeSet<Due>,
    /// The records that the commit writes or fills itself.
    own: BTreeSet<RecordName>,
    outcomes: BTreeMap<(TransformId, Bytes), Outcome>,
    asked: AskedWrites,
    /// The records whose contributions to aggregates may have changed, by transform.
    contributors: BTreeMap<TransformId, Vec<(usize, RecordName)>>,
    /// What becomes of tasks, by their rows: `None` for one that is done.
    tasks: BTreeMap<Bytes, (TransformId, Option<TaskProgress>)>,
}

/// What becomes of what is told of failures.
enum Outcome {
    /// It has a result.
    Computed,
    /// The record is deleted.
    Gone,
    Failed(Evaluation),
}

/// One evaluation that is to be made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    level: u32,
    transform: TransformId,
    /// The record; without one the groups of its aggregates are brought up to date.
    record: Option<Bytes>,
}

/// The rows of records that the transaction has no drafts of.
struct Reading<'a> {
    rows: Rows,
    newest: &'a mut dyn RowSource,
    drafts: HashMap<RecordName, Draft>,
    groups: Groups,
    /// How far the groups are made of the records that were there before.
    gathering: HashMap<(TransformId, usize), Option<Progress>>,
    /// Rows of indexes that the commit writes itself: those of what it approves.
    written: HashMap<Bytes, Option<Bytes>>,
    /// The rows of elements that were looked at.
    looked_at: u64,
}

impl Reading<'_> {
    /// How far the groups of an aggregate are made; `None` if they are.
    fn gathering(
        &mut self,
        transform: &Transform,
        slot: usize,
    ) -> Result<Option<&Progress>, DataLayerError> {
        if !transform.is_filling() {
            return Ok(None);
        }
        let name = (transform.id, slot);
        if !self.gathering.contains_key(&name) {
            let key = self.rows.gathering(transform.id, slot);
            let row = match self.written.get(&key) {
                Some(row) => row.clone(),
                None => self.newest.read(Keyspace::Indexes, &key)?,
            };
            let progress = row.map(|row| Progress::decode(&row)).transpose();
            let progress =
                progress.map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))?;
            self.gathering.insert(name, progress);
        }
        Ok(self.gathering.get(&name).and_then(Option::as_ref))
    }

    /// Whether the groups that a transform reads are not made yet.
    fn is_gathering(&mut self, transform: &Transform) -> Result<bool, DataLayerError> {
        for slot in 0..transform.aggregates().len() {
            if self.gathering(transform, slot)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn groups(&mut self) -> (&mut Groups, GroupSource<'_>) {
        let rows = self.rows;
        (&mut self.groups, GroupSource { rows, has_rows: true, newest: &mut *self.newest })
    }

    fn draft(&mut self, name: &RecordName) -> Result<&Draft, DataLayerError> {
        if !self.drafts.contains_key(name) {
            let key = self.rows.record(name.0, &name.1);
            let row = self.newest.read(Keyspace::Records, &key)?;
            let draft = Draft::new(row)
                .map_err(|error| DataLayerError::row(Keyspace::Records, &key, error))?;
            self.drafts.insert(name.clone(), draft);
        }
        self.drafts.get(name).ok_or_else(|| DataLayerError::missing("the draft of a record"))
    }
}

/// Records as an evaluation reads them: as the commit leaves them.
struct View<'v, 'a> {
    records: &'v Records,
    elements: &'v BTreeMap<ElementName, ElementDraft>,
    reading: RefCell<&'v mut Reading<'a>>,
}

impl OtherRecords for View<'_, '_> {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        let name = (target.records, record.clone());
        match self.records.get(&name) {
            Some(draft) => target.value(record, draft),
            None => target.value(record, self.reading.borrow_mut().draft(&name)?),
        }
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let Some(aggregate) = transform.aggregates().get(slot) else {
            return Ok(Ok(lang::Value::Null));
        };
        let mut reading = self.reading.borrow_mut();
        let (groups, mut source) = reading.groups();
        groups.value(&mut source, aggregate, &(transform.id, slot, record.clone()))
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        let mut reading = self.reading.borrow_mut();
        let Reading { rows, newest, looked_at, .. } = &mut **reading;
        let drafts = drafts_of(self.elements, at);
        elements_after(*rows, &mut **newest, at, draft, drafts, looked_at)
    }
}

/// For transforms that read their own record only.
pub(crate) struct NoOthers;

impl OtherRecords for NoOthers {
    fn value(&self, _: Target, _: &Bytes) -> Result<lang::Value<'static>, DataLayerError> {
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

impl<'a> Propagate<'a> {
    pub(super) fn new(
        rows: Rows,
        number: CommitNumber,
        (catalogue, counters): (&'a SchemaCore, &'a HashMap<SchemaId, SchemaCounters>),
        newest: &'a mut dyn RowSource,
        limits: PropagationLimits,
        out: &'a mut Materialized,
    ) -> Self {
        let of_indexes = |((keyspace, key), row): &(BatchKey, Option<Bytes>)| {
            (*keyspace == Keyspace::Indexes).then(|| (key.clone(), row.clone()))
        };
        let written = out.writes.iter().filter_map(of_indexes).collect();
        Self {
            catalogue,
            number,
            counters,
            reading: Reading {
                rows,
                newest,
                drafts: HashMap::new(),
                groups: Groups::default(),
                gathering: HashMap::new(),
                written,
                looked_at: 0,
            },
            left: limits,
            room: Room { rows: PROPAGATED_ROWS_MAX, bytes: PROPAGATED_BYTES_MAX },
            has_written_elements: false,
            is_background: false,
            out,
            elements: None,
            due: BTreeSet::new(),
            own: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            asked: AskedWrites::default(),
            contributors: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// Computes what depends on the writes, and what the background computes.
    pub(super) fn records(
        mut self,
        records: &mut Records,
        elements: &'a mut BTreeMap<ElementName, ElementDraft>,
        background: &Background,
    ) -> Result<(), CommitError> {
        if !self.catalogue.computes() {
            return Ok(());
        }
        self.is_background = !background.is_empty();
        self.room = Room::beside(records, elements, &self.out.writes);
        let written_elements = written_elements(records, elements);
        self.elements = Some(elements);
        self.take_up(background);
        self.gather(background).map_err(unreadable)?;
        let queued: BTreeSet<_> = background.due.iter().map(|(name, _)| name).collect();
        let mut of_schema = None;
        let mut linked = Vec::new();
        let mut is_any_read = false;
        for (name, draft) in &mut *records {
            let (is_local, propagation) = match &of_schema {
                Some((known, is_local, found)) if *known == name.0 => (*is_local, found),
                _ => {
                    let found = self.catalogue.propagation(name.0).cloned();
                    let is_local = self.catalogue.is_local(name.0);
                    let (_, _, found) = of_schema.insert((name.0, is_local, found));
                    (is_local, &*found)
                }
            };
            if !is_local || queued.contains(name) {
                linked.push(name.clone());
                is_any_read |= queued.contains(name)
                    || background.filling.contains(name)
                    || written_elements.contains_key(name)
                    || self.is_read(propagation.as_deref(), name.0, draft);
            } else if let Some(propagation) = propagation.clone() {
                self.local(&propagation, name, draft, background.filling.contains(name))?;
            }
        }
        if is_any_read {
            self.linked(&linked, records, &written_elements, &queued, background)?;
        }
        while let Some(due) = self.due.pop_first() {
            self.compute(due, records)?;
        }
        self.finish()
    }

    /// Whether something may have to be computed because of a record.
    fn is_read(&self, own: Option<&Propagation>, schema: SchemaId, draft: &Draft) -> bool {
        match &draft.after {
            After::Untouched => false,
            After::Merged(writes) => {
                own.is_some_and(|own| own.is_filling() || own.reads_any(writes.keys()))
                    || self.catalogue.graph().watches_any(schema, writes.keys())
            }
            After::Created(_) | After::Deleted => true,
        }
    }

    /// Lists what depends on records that have to do with others.
    fn linked(
        &mut self,
        linked: &[RecordName],
        records: &mut Records,
        written_elements: &BTreeMap<RecordName, Vec<FieldId>>,
        queued: &BTreeSet<&RecordName>,
        background: &Background,
    ) -> Result<(), CommitError> {
        let is_own = |name: &&RecordName| {
            let is_written = records.get(*name).is_some_and(Draft::is_written)
                || written_elements.contains_key(*name);
            is_written || background.filling.contains(*name) || queued.contains(*name)
        };
        self.own = linked.iter().filter(is_own).cloned().collect();
        for name in linked {
            let fields = written_elements.get(name).map_or(&[][..], |fields| fields);
            self.begin(name, records, fields, background.filling.contains(name))?;
        }
        Ok(())
    }

    /// Takes over what a commit of the background does of the tasks.
    fn take_up(&mut self, background: &Background) {
        for ((_, record), transform) in &background.due {
            let level = self.catalogue.graph().level(*transform);
            let record = Some(record.clone());
            self.due.insert(Due { level, transform: *transform, record });
        }
        let number = self.number.0;
        for (key, (transform, last)) in &background.tasks {
            let progress = last.clone().map(|last| TaskProgress { commit: number, last });
            self.tasks.insert(key.clone(), (*transform, progress));
        }
    }

    /// Adds records that were there before to the groups of aggregates.
    fn gather(&mut self, background: &Background) -> Result<(), DataLayerError> {
        let Some(gather) = &background.gathering else { return Ok(()) };
        let rows = self.reading.rows;
        let prefix = rows.records(gather.records);
        let mut scan = Scan::prefix(Keyspace::Records, &prefix).rows(gather.records_max);
        if let Some(after) = &gather.after {
            scan = scan.after(&rows.record(gather.records, after));
        }
        let keys = self.reading.newest.keys(&scan)?;
        let records: Vec<_> = keys.iter().map(|key| key.slice(prefix.len()..)).collect();
        for (id, slot) in &gather.aggregates {
            let Some(transform) = self.catalogue.transform(*id).cloned() else { continue };
            let Some(aggregate) = transform.aggregates().get(*slot) else { continue };
            let found = self.reading.gathering(&transform, *slot)?.cloned();
            let Some(mut progress) = found.filter(|found| found.last == gather.after) else {
                continue;
            };
            for record in &records {
                let draft = self.reading.draft(&(gather.records, record.clone()))?;
                if let Some(live) = draft.found_live() {
                    progress.records += 1;
                    let value = |field| live.cell(field)?.value.as_ref();
                    if let Some(of_record) = aggregate.contribution(record, &value) {
                        let (groups, mut source) = self.reading.groups();
                        groups.apply(&mut source, (*id, *slot), &of_record, true)?;
                    }
                }
            }
            let is_done = records.len() < gather.records_max;
            progress.last = records.last().cloned().or(progress.last);
            let row = (!is_done).then(|| progress.encode());
            let key = rows.gathering(*id, *slot);
            self.out.writes.push(((Keyspace::Indexes, key), row));
        }
        Ok(())
    }

    /// Computes a record whose transforms read nothing of others, and which no other reads.
    fn local(
        &mut self,
        propagation: &Propagation,
        (_, record): &RecordName,
        draft: &mut Draft,
        is_filling: bool,
    ) -> Result<(), CommitError> {
        if matches!(draft.after, After::Deleted) {
            for transform in propagation.transforms() {
                self.ended(transform, record, FailureChange::Gone).map_err(unreadable)?;
            }
            return Ok(());
        }
        // What reads a result that was never computed would compute something else.
        let fills = is_filling || (propagation.is_filling() && draft.is_written());
        let cause = if fills { Cause::Filling } else { Cause::Written };
        propagation.run(draft, cause, |transform, draft| {
            if self.is_exhausted() {
                self.defer(transform, Task::Record(record.clone()))?;
                return Ok(None);
            }
            let evaluated = transform.evaluate(record, draft, &NoOthers).map_err(unreadable)?;
            self.left.steps = self.left.steps.saturating_sub(evaluated.steps);
            match evaluated.result {
                Ok(value) => {
                    self.room.take_result(draft, value.as_ref());
                    let recovered = self.ended(transform, record, FailureChange::Recovered);
                    recovered.map_err(unreadable)?;
                    Ok(Some(value))
                }
                Err(found) if self.is_refused_by(transform) => {
                    Err(rejection(transform, record, &found))
                }
                Err(found) => {
                    self.failed(transform, record, found).map_err(unreadable)?;
                    Ok(None)
                }
            }
        })
    }

    /// Lists what depends on a record as the transaction leaves it.
    fn begin(
        &mut self,
        name: &RecordName,
        records: &mut Records,
        element_fields: &[FieldId],
        is_filling: bool,
    ) -> Result<(), CommitError> {
        let (schema, record) = name;
        let Some(draft) = records.get(name) else { return Ok(()) };
        let propagation = self.catalogue.propagation(*schema).cloned();
        let of_own = propagation.iter().flat_map(|found| found.transforms().iter());
        let mut changed: Vec<Part> = Vec::new();
        match &draft.after {
            After::Untouched => {}
            After::Created(_) => of_own.for_each(|transform| self.add_due(transform, record)),
            After::Merged(writes) => {
                let fields = writes.keys().copied();
                changed.extend(fields.clone().map(Part::Cell));
                if let Some(found) = &propagation {
                    let readers = fields.flat_map(|field| found.readers(field));
                    readers.for_each(|transform| self.add_due(transform, record));
                }
            }
            After::Deleted => {
                for transform in of_own {
                    self.outcomes.insert((transform.id, record.clone()), Outcome::Gone);
                    if transform.looks_up() {
                        self.asked.set(transform.id, record, true, BTreeSet::new());
                    }
                }
            }
        }
        if let Some(found) = propagation.as_ref().filter(|_| draft.exists()) {
            let readers = element_fields.iter().flat_map(|field| found.readers(*field));
            readers.for_each(|transform| self.add_due(transform, record));
        }
        if matches!(draft.after, After::Created(_) | After::Deleted) {
            changed.extend(self.catalogue.graph().watched(*schema));
        }
        if self.catalogue.graph().is_watched(*schema) {
            changed.retain(|part| has_changed(draft, *part));
        } else {
            changed.clear();
        }
        let is_written = draft.is_written() || !element_fields.is_empty();
        if draft.exists() && (is_filling || is_written) {
            self.add_filling(propagation.as_deref(), record);
        }
        self.fan_out(name, &changed, records)
    }

    fn add_due(&mut self, transform: &Transform, record: &Bytes) {
        let level = self.catalogue.graph().level(transform.id);
        let record = Some(record.clone());
        self.due.insert(Due { level, transform: transform.id, record });
    }

    /// What reads a result that was never computed would compute something else.
    fn add_filling(&mut self, propagation: Option<&Propagation>, record: &Bytes) {
        for transform in propagation.into_iter().flat_map(Propagation::filling) {
            self.add_due(transform, record);
        }
    }

    /// Lists the evaluations of other records that read what has changed in one.
    fn fan_out(
        &mut self,
        (schema, record): &RecordName,
        changed: &[Part],
        records: &mut Records,
    ) -> Result<(), CommitError> {
        let watchers = self.catalogue.graph().watchers(*schema, changed.iter().copied());
        for Watcher { transform, finder } in watchers {
            let rows = self.reading.rows;
            let (prefix, task) = match finder {
                Finder::Same => {
                    self.reach(transform, record, records)?;
                    continue;
                }
                Finder::One => (rows.records(transform.records), Task::All),
                Finder::Lookup => {
                    let prefix = rows.askers(transform.id, *schema, record);
                    (prefix, Task::Askers(*schema, record.clone()))
                }
                Finder::Group(slot) => {
                    let of_transform = self.contributors.entry(transform.id).or_default();
                    if of_transform.is_empty() {
                        let level = self.catalogue.graph().level(transform.id);
                        self.due.insert(Due { level, transform: transform.id, record: None });
                    }
                    of_transform.push((*slot, (*schema, record.clone())));
                    continue;
                }
            };
            let count = self.counters.get(&transform.records).map_or(0, |found| found.records);
            if *finder == Finder::One && count > self.left.outputs as u64 {
                self.defer(transform, task)?;
                continue;
            }
            let scan = dependents(*finder, &prefix).rows(self.left.outputs.saturating_add(1));
            let found = self.reading.newest.keys(&scan).map_err(unreadable)?;
            if found.len() > self.left.outputs {
                self.defer(transform, task)?;
                continue;
            }
            for key in found {
                self.reach(transform, &key.slice(prefix.len()..), records)?;
            }
        }
        Ok(())
    }

    /// Lists an evaluation that another record is the cause of.
    fn reach(
        &mut self,
        transform: &Transform,
        record: &Bytes,
        records: &mut Records,
    ) -> Result<(), CommitError> {
        let name = (transform.records, record.clone());
        if !records.contains_key(&name) {
            if !self.reading.draft(&name).map_err(unreadable)?.exists() {
                return Ok(());
            }
            let draft = self.reading.drafts.remove(&name);
            // Its row is written anew, and what it was goes to the history.
            let row = draft.iter().filter_map(|draft| draft.before_row.as_ref());
            self.room.take(2, row.map(Bytes::len).sum::<usize>() + 2 * ROW_BYTES);
            // What was never computed of it is left to the filling: computed here, it could come
            // behind those that read it.
            records.extend(draft.map(|draft| (name.clone(), draft)));
        }
        let level = self.catalogue.graph().level(transform.id);
        let due = Due { level, transform: transform.id, record: Some(record.clone()) };
        if self.due.contains(&due) {
            return Ok(());
        }
        if !self.own.contains(&name) {
            if self.left.outputs == 0 || self.room.is_used_up() {
                return self.defer(transform, Task::Record(record.clone()));
            }
            self.left.outputs -= 1;
        }
        self.due.insert(due);
        Ok(())
    }

    fn compute(&mut self, due: Due, records: &mut Records) -> Result<(), CommitError> {
        let Some(transform) = self.catalogue.transform(due.transform).cloned() else {
            return Ok(());
        };
        let Some(record) = &due.record else { return self.settle(&transform, records) };
        if self.reading.is_gathering(&transform).map_err(unreadable)? {
            return Ok(());
        }
        let name = (transform.records, record.clone());
        let Some(draft) = records.get(&name).filter(|draft| draft.exists()) else { return Ok(()) };
        if self.is_exhausted() {
            return self.defer(&transform, Task::Record(record.clone()));
        }
        let Some(elements) = self.elements.as_deref() else { return Ok(()) };
        let view = View { records, elements, reading: RefCell::new(&mut self.reading) };
        let evaluated = transform.evaluate(record, draft, &view).map_err(unreadable)?;
        self.left.steps = self.left.steps.saturating_sub(evaluated.steps);
        self.charge_rows();
        if transform.looks_up() {
            let has_earlier = draft.found_live().is_some();
            self.asked.set(transform.id, record, has_earlier, evaluated.asked);
        }
        let value = match evaluated.result {
            Ok(value) => value,
            Err(found) if self.is_refused_by(&transform) => {
                return Err(rejection(&transform, record, &found));
            }
            Err(found) => {
                let failed = Outcome::Failed(found);
                self.outcomes.insert((transform.id, record.clone()), failed);
                return Ok(());
            }
        };
        if transform.gives_elements() {
            return self.write_elements(&transform, &name, draft, value.as_ref());
        }
        self.outcomes.insert((transform.id, record.clone()), Outcome::Computed);
        let output = transform.output;
        let Some(draft) = records.get_mut(&name) else { return Ok(()) };
        if draft.value(output) == value.as_ref() || is_planted(Fault::ResultKept) {
            return Ok(());
        }
        self.room.take_result(draft, value.as_ref());
        draft.merge([(output, value)].into());
        let has_changed = has_changed(draft, Part::Cell(output));
        if let Some(propagation) = self.catalogue.propagation(transform.records).cloned() {
            propagation.readers(output).for_each(|reader| self.add_due(reader, record));
        }
        if has_changed { self.fan_out(&name, &[Part::Cell(output)], records) } else { Ok(()) }
    }

    /// Writes the elements that a result changes, and lists what reads them, all of it in the same
    /// record.
    fn write_elements(
        &mut self,
        transform: &Transform,
        (schema, record): &RecordName,
        draft: &Draft,
        result: Option<&Bytes>,
    ) -> Result<(), CommitError> {
        let (schema, field) = (*schema, transform.output);
        let at = FieldAddress { schema, record, field };
        let Reading { rows, newest, looked_at, .. } = &mut self.reading;
        let changed = changed_elements(*rows, &mut **newest, at, draft, result, looked_at);
        let changed = changed.map_err(unreadable)?;
        self.charge_rows();
        let mut taken = Room { rows: 1, bytes: record.len() + KEY_BYTES };
        for (element, written) in &changed {
            let of_element = Room::of_element(record.len(), element, written, draft);
            taken.rows += of_element.rows;
            taken.bytes += of_element.bytes;
        }
        let fits = taken.rows <= self.room.rows && taken.bytes <= self.room.bytes;
        // The background has a whole commit for the first.
        let is_first = self.is_background && !self.has_written_elements;
        if !changed.is_empty() && !fits && !is_first {
            return self.defer(transform, Task::Record(record.clone()));
        }
        self.outcomes.insert((transform.id, record.clone()), Outcome::Computed);
        if changed.is_empty() || is_planted(Fault::ResultKept) {
            return Ok(());
        }
        self.room.take(taken.rows, taken.bytes);
        self.has_written_elements = true;
        let kept = usize::from(is_planted(Fault::ElementKept));
        for (element, written) in changed.into_iter().skip(kept) {
            let name = ElementName { schema, record: record.clone(), field, element };
            if let Some(elements) = self.elements.as_deref_mut() {
                elements.insert(name, written);
            }
        }
        if let Some(propagation) = self.catalogue.propagation(schema).cloned() {
            propagation.readers(field).for_each(|reader| self.add_due(reader, record));
        }
        Ok(())
    }

    /// Brings the groups of a transform's aggregates up to date with the records that are in them,
    /// all of which are final now, and lists the evaluations that read them.
    fn settle(&mut self, transform: &Transform, records: &mut Records) -> Result<(), CommitError> {
        let changed = self.contribute(transform, records).map_err(unreadable)?;
        if self.reading.is_gathering(transform).map_err(unreadable)? {
            return Ok(());
        }
        for group in changed {
            self.reach(transform, &group, records)?;
        }
        Ok(())
    }

    /// The groups to which some records contribute something else than before.
    fn contribute(
        &mut self,
        transform: &Transform,
        records: &Records,
    ) -> Result<BTreeSet<Bytes>, DataLayerError> {
        let mut changed = BTreeSet::new();
        let mut contributors = self.contributors.remove(&transform.id).unwrap_or_default();
        // A record stands there again for each of its fields that was computed.
        contributors.sort_unstable();
        contributors.dedup();
        for (slot, name) in contributors {
            let (Some(aggregate), Some(draft)) =
                (transform.aggregates().get(slot), records.get(&name))
            else {
                continue;
            };
            // What is not gathered yet will be, as it is then.
            let progress = self.reading.gathering(transform, slot)?;
            let is_gathered = |progress: &Progress| progress.last.as_ref() >= Some(&name.1);
            if progress.is_some_and(|progress| !is_gathered(progress)) {
                continue;
            }
            let before = |field| draft.found_value(field);
            let before = draft.found_live().and_then(|_| aggregate.contribution(&name.1, &before));
            let after = |field| draft.value(field);
            let after = draft.exists().then(|| aggregate.contribution(&name.1, &after)).flatten();
            if before == after {
                continue;
            }
            let (groups, mut source) = self.reading.groups();
            let before = before.filter(|_| !is_planted(Fault::ContributionKept));
            for (of_record, is_added) in [(before, false), (after, true)] {
                if let Some(of_record) = of_record {
                    groups.apply(&mut source, (transform.id, slot), &of_record, is_added)?;
                    changed.insert(of_record.group);
                }
            }
        }
        Ok(changed)
    }

    /// Whether no more is computed in this commit.
    fn is_exhausted(&self) -> bool {
        self.left.steps == 0 || self.room.is_used_up()
    }

    /// Counts the rows of elements that were looked at.
    fn charge_rows(&mut self) {
        let looked_at = std::mem::take(&mut self.reading.looked_at);
        self.left.steps = self.left.steps.saturating_sub(looked_at.saturating_mul(ROW_STEPS));
    }

    /// Leaves something to the background.
    fn defer(&mut self, transform: &Transform, task: Task) -> Result<(), CommitError> {
        if self.is_refused_by(transform) {
            let rule = "the commit reaches more than is computed in one, and what `on_error` \
                        rejects is never computed later";
            let found = Evaluation::of_result("too_many_outputs", rule.to_owned());
            let record = match &task {
                Task::Record(record) | Task::Askers(_, record) => record.clone(),
                Task::All => Bytes::new(),
            };
            return Err(rejection(transform, &record, &found));
        }
        let key = task.key(self.reading.rows, transform.id);
        let progress = TaskProgress { commit: self.number.0, last: None };
        self.tasks.insert(key, (transform.id, Some(progress)));
        Ok(())
    }

    /// Whether what the transform cannot compute refuses the commit.
    fn is_refused_by(&self, transform: &Transform) -> bool {
        let definition = transform.definition();
        !self.is_background
            && definition.is_some_and(|definition| definition.on_error == OnError::Reject)
    }

    fn finish(mut self) -> Result<(), CommitError> {
        for ((id, record), outcome) in std::mem::take(&mut self.outcomes) {
            let Some(transform) = self.catalogue.transform(id).cloned() else { continue };
            match outcome {
                Outcome::Computed => self.ended(&transform, &record, FailureChange::Recovered),
                Outcome::Gone => self.ended(&transform, &record, FailureChange::Gone),
                Outcome::Failed(found) => self.failed(&transform, &record, found),
            }
            .map_err(unreadable)?;
        }
        let Reading { rows, newest, groups, .. } = &mut self.reading;
        std::mem::take(groups).finish(*rows, &mut self.out.writes);
        let asked = std::mem::take(&mut self.asked);
        asked.finish(*rows, &mut **newest, &mut self.out.writes).map_err(unreadable)?;
        for (key, (transform, progress)) in std::mem::take(&mut self.tasks) {
            let queued = self.counters.get(&transform.counter());
            let is_there = queued.is_some_and(|counted| counted.elements > 0)
                && self.read(&key).map_err(unreadable)?.is_some();
            let change = i64::from(progress.is_some()) - i64::from(is_there);
            self.out.counters.entry(transform.counter()).or_default().elements += change;
            let row = progress.map(|progress| progress.encode());
            self.out.writes.push(((Keyspace::Indexes, key), row));
        }
        Ok(())
    }

    fn read(&mut self, key: &Bytes) -> Result<Option<Bytes>, DataLayerError> {
        self.reading.newest.read(Keyspace::Indexes, key)
    }

    /// Removes what is told of a failure, if there was one.
    fn ended(
        &mut self,
        transform: &Transform,
        record: &Bytes,
        how: FailureChange,
    ) -> Result<(), DataLayerError> {
        if self.failure(transform, record)?.is_some() {
            let key = self.reading.rows.failure(transform.id, record);
            self.out.writes.push(((Keyspace::Indexes, key), None));
            self.count(transform, -1);
            self.tell(transform, record, how);
        }
        Ok(())
    }

    /// Says so in the log of the commit.
    fn tell(&mut self, transform: &Transform, record: &Bytes, what: FailureChange) {
        if is_planted(Fault::FailureUntold) {
            return;
        }
        let (transform, record) = (transform.id, record.clone());
        self.out.failures.push(Change::Failure { transform, record, what });
    }

    /// The cell stays as it is; the owner is told why.
    fn failed(
        &mut self,
        transform: &Transform,
        record: &Bytes,
        found: Evaluation,
    ) -> Result<(), DataLayerError> {
        let (found, before) = (found.cut(), self.failure(transform, record)?);
        let count = before.as_ref().map_or(0, |before| before.count).saturating_add(1);
        let failure = TransformFailure::new(self.number, count, found.clone());
        let key = self.reading.rows.failure(transform.id, record);
        self.out.writes.push(((Keyspace::Indexes, key), Some(failure.encode())));
        if before.is_none() {
            self.count(transform, 1);
        }
        let again = before.is_some();
        self.tell(transform, record, FailureChange::Failed { again, error: found });
        Ok(())
    }

    /// What is told of the last failure. Where no record fails, nothing is read.
    fn failure(
        &mut self,
        transform: &Transform,
        record: &Bytes,
    ) -> Result<Option<TransformFailure>, DataLayerError> {
        let counter = transform.id.counter();
        if self.counters.get(&counter).is_none_or(|counted| counted.records == 0) {
            return Ok(None);
        }
        let key = self.reading.rows.failure(transform.id, record);
        let Some(row) = self.read(&key)? else { return Ok(None) };
        let failure = TransformFailure::decode(&row);
        failure.map(Some).map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))
    }

    fn count(&mut self, transform: &Transform, change: i64) {
        self.out.counters.entry(transform.id.counter()).or_default().records += change;
    }
}

/// The fields of records whose elements are written.
fn written_elements(
    records: &Records,
    elements: &BTreeMap<ElementName, ElementDraft>,
) -> BTreeMap<RecordName, Vec<FieldId>> {
    let mut written: BTreeMap<RecordName, Vec<FieldId>> = BTreeMap::new();
    for (element, draft) in elements {
        let name = (element.schema, element.record.clone());
        if records.get(&name).is_some_and(|record| draft.write(record).is_some()) {
            let fields = written.entry(name).or_default();
            if fields.last() != Some(&element.field) {
                fields.push(element.field);
            }
        }
    }
    written
}

/// The rows of the records that a change reaches; behind the prefix stand their keys.
pub(super) fn dependents(finder: Finder, prefix: &[u8]) -> Scan {
    match finder {
        Finder::One | Finder::Same | Finder::Group(_) => Scan::prefix(Keyspace::Records, prefix),
        Finder::Lookup => {
            let mut scan = Scan::prefix(Keyspace::Indexes, prefix);
            let end = [prefix, &[BEHIND_PARTS]].concat();
            scan.upper = std::ops::Bound::Excluded(end);
            scan
        }
    }
}

/// Whether the commit leaves another value there than it has found.
fn has_changed(draft: &Draft, part: Part) -> bool {
    match part {
        Part::Key(_) => draft.found_live().is_some() != draft.exists(),
        Part::Cell(field) => draft.found_value(field) != draft.value(field),
    }
}

fn rejection(transform: &Transform, record: &Bytes, found: &Evaluation) -> CommitError {
    CommitError::NotComputed {
        schema: transform.schema.clone(),
        field: transform.field.clone(),
        record: RecordKey::from_bytes(record.clone()).to_string(),
        code: found.code.clone(),
        rule: found.to_string(),
    }
}
