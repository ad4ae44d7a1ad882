//! What a value was made from: the values that its transform read, down to those that people wrote.
//!
//! Nothing is stored for it. The atom of a result names its transform and its commit, and what the
//! transform read is read as of that commit, computed values of the same commit included.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use datafold_lang as lang;
use datafold_store::Keyspace;

use super::aggregate_groups::{GatheredGroups, stored_value};
use super::catalogue::SchemaEntry;
use super::draft::Draft;
use super::element_input::{Elements, elements_at};
use super::element_scan::FirstAtom;
use super::error::{DataLayerError, SerializationError};
use super::ids::{AtomId, CommitNumber, SchemaId, TransformId, WriterId};
use super::layout::CellPlace;
use super::read_point::ReadPoint;
use super::record::{Cell, LiveRecord};
use super::rows::FieldAddress;
use super::transform::{
    Evaluation, OtherRecords, Part, Target, Transform, TransformFailure, TransformState,
};
use crate::model::{
    AggregateDefinition, FieldKind, FieldName, RecordKey, SchemaName, Timestamp,
    TransformDefinition, Value, from_lang,
};

/// A lineage tells of at most so many values.
pub const LINEAGE_VALUES_MAX: usize = 1_000;

/// A lineage has at most so many steps from a value to what it was made from.
pub const LINEAGE_DEPTH_MAX: usize = 60;

/// At most so many records are read to find the value of an aggregate at an earlier moment.
pub const AGGREGATED_MAX: usize = 2_000;

/// A value of a record, who wrote or what computed it, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct Lineage {
    /// The schema through which it is read.
    pub schema: SchemaName,
    /// The record.
    pub key: RecordKey,
    /// The field.
    pub field: FieldName,
    /// The field that has the value, if this one maps from it.
    pub mapped_from: Option<(SchemaName, FieldName)>,
    /// The value; null if there is none.
    pub value: Value,
    /// The atom; `None` for a part of the key and where nothing was ever written.
    pub atom: Option<LineageAtom>,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Which atom gave a value, or took it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineageAtom {
    /// Its identity.
    pub id: AtomId,
    /// The commit that wrote it.
    pub commit: CommitNumber,
    /// The time of that commit.
    pub time: Timestamp,
    /// Who wrote it.
    pub writer: WriterId,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// It is a part of the record's key.
    Key,
    /// A person or program writes it; without an atom nobody has.
    Written,
    /// A transform computes it.
    Computed(Box<Derivation>),
    /// It is an aggregate over the records of a schema, which the transform has under this name.
    Aggregate {
        /// What is computed, of which records.
        definition: AggregateDefinition,
        /// Whether its value is known. With the result of now stands what it is now; that of an
        /// earlier result is found by reading the records of its moment, up to [`AGGREGATED_MAX`].
        is_known: bool,
        /// Whether it is the value of now, which may be newer than the result.
        is_current: bool,
    },
    /// It is an object of the elements of a field, which people and programs write. Those that are
    /// computed are [`Origin::Computed`].
    Elements {
        /// Whether they are few enough to stand there.
        is_known: bool,
    },
    /// A revision of a transform has computed it that is not registered any more. What it was like
    /// is not kept.
    Unregistered(TransformId),
}

/// How a value was computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Derivation {
    /// The revision of the transform.
    pub revision: TransformId,
    /// Its definition.
    pub definition: TransformDefinition,
    /// Whether it has computed all records.
    pub state: TransformState,
    /// What it read, as of the commit of the atom, in the order of the logic; without an atom, as
    /// of the moment at which the value is read.
    pub inputs: Vec<Lineage>,
    /// How many of them are left out, as the lineage would be too long or too deep.
    pub left_out: usize,
    /// Whether the same atom stands in the lineage before, and what it was made from is told there.
    pub is_repeated: bool,
    /// The last commit that has changed something it read without another result.
    pub unchanged_since: Option<CommitNumber>,
    /// Why it has no newer result, if it failed since.
    pub failure: Option<FailedDerivation>,
}

/// A computation that failed, so that the value before it stays.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedDerivation {
    /// The last error.
    pub error: TransformFailure,
    /// The time of the commit in which it failed.
    pub time: Timestamp,
    /// What it read then, in the order of the logic.
    pub inputs: Vec<Lineage>,
    /// How many of them are left out.
    pub left_out: usize,
}

/// A cell that a transform reads for a record, as the logic names it.
struct ReadCell {
    entry: Arc<SchemaEntry>,
    key: RecordKey,
    field: FieldName,
}

/// What a transform reads for a record.
#[derive(Default)]
struct Reads {
    cells: Vec<ReadCell>,
    /// The places of aggregates, with their values if they are known.
    aggregates: Vec<(usize, Option<Value>)>,
}

type RecordName = (SchemaId, Bytes, CommitNumber);

/// Follows values to what they were made from.
pub(crate) struct Tracer<'p> {
    point: &'p ReadPoint,
    origin: u32,
    records: HashMap<RecordName, Option<Arc<LiveRecord>>>,
    times: HashMap<CommitNumber, Timestamp>,
    /// Computed values whose inputs are told already, by cell, record and commit.
    told: HashSet<(CellPlace, Bytes, CommitNumber)>,
    values_left: usize,
}

impl<'p> Tracer<'p> {
    /// `origin` is that of the store's atoms.
    pub(crate) fn new(point: &'p ReadPoint, origin: u32) -> Self {
        let (records, times, told) = Default::default();
        let values_left = LINEAGE_VALUES_MAX;
        Self { point, origin, records, times, told, values_left }
    }

    /// The lineage of a field of a record as of the point; elements stand as one object.
    pub(crate) fn trace(
        &mut self,
        entry: &Arc<SchemaEntry>,
        key: &RecordKey,
        field: &FieldName,
    ) -> Result<Lineage, DataLayerError> {
        let read = ReadCell { entry: Arc::clone(entry), key: key.clone(), field: field.clone() };
        self.cell(&read, self.point.at, 0)
    }

    fn cell(
        &mut self,
        read: &ReadCell,
        at: CommitNumber,
        depth: usize,
    ) -> Result<Lineage, DataLayerError> {
        self.values_left = self.values_left.saturating_sub(1);
        let ReadCell { entry, key, field } = read;
        let mut found = Lineage {
            schema: entry.schema.name.clone(),
            key: key.clone(),
            field: field.clone(),
            mapped_from: None,
            value: Value::Null,
            atom: None,
            origin: Origin::Key,
        };
        if let Some(part) = entry.schema.key.iter().position(|part| part == field) {
            let parts = key.values().map_err(SerializationError::from)?;
            found.value = parts.get(part).cloned().unwrap_or_default();
            return Ok(found);
        }
        let missing = || DataLayerError::not_found("field", format!("{}.{field}", found.schema));
        let (place, definition) = entry.placed_field(field.as_str()).ok_or_else(missing)?;
        found.mapped_from = self
            .root_of(place)
            .filter(|(schema, name)| (schema, name) != (&entry.schema.name, field));
        let live = self.live(place.schema, key, at)?;
        if definition.kind != FieldKind::Single {
            let point = ReadPoint { at, ..self.point.clone() };
            let draft = Draft::found(live.map(|live| LiveRecord::clone(&live)));
            let address = place.address(key.as_bytes());
            let elements = elements_at(&point, address, &draft)?;
            found.origin = Origin::Elements { is_known: elements.is_ok() };
            found.value = elements.map(|elements| from_lang(&elements)).unwrap_or_default();
            if self.point.published.catalogue.is_computed(place) {
                if let Some((commit, atom)) = last_atom(&point, address)? {
                    let FirstAtom { writer, ordinal } = atom;
                    let id = AtomId { commit, ordinal, origin: self.origin };
                    let time = self.time(commit)?;
                    found.atom = Some(LineageAtom { id, commit, time, writer });
                }
                found.origin = self.origin_of(place, key, found.atom.as_ref(), at, depth)?;
            }
            return Ok(found);
        }
        let cell = live.as_ref().and_then(|live| live.cell(place.field));
        if let Some(cell) = cell {
            found.value = self.value(place, key, cell)?;
            found.atom = Some(self.atom(place, cell)?);
        }
        found.origin = self.origin_of(place, key, found.atom.as_ref(), at, depth)?;
        Ok(found)
    }

    fn root_of(&self, place: CellPlace) -> Option<(SchemaName, FieldName)> {
        let (schema, field) = self.point.published.catalogue.field_at(place)?;
        Some((schema.clone(), field.name.clone()))
    }

    fn origin_of(
        &mut self,
        place: CellPlace,
        key: &RecordKey,
        atom: Option<&LineageAtom>,
        at: CommitNumber,
        depth: usize,
    ) -> Result<Origin, DataLayerError> {
        let catalogue = Arc::clone(&self.point.published.catalogue);
        let transform = match atom.map(|atom| atom.writer.transform()) {
            Some(None) => return Ok(Origin::Written),
            Some(Some(id)) => match catalogue.revision(id) {
                Some(transform) => transform,
                None => return Ok(Origin::Unregistered(id)),
            },
            None => {
                let computing = catalogue.propagation(place.schema);
                match computing.and_then(|found| found.computing(place.field)) {
                    Some(transform) => transform,
                    None => return Ok(Origin::Written),
                }
            }
        };
        let commit = atom.map(|atom| atom.commit);
        let derivation = self.derivation(transform, place, key, commit, at, depth)?;
        Ok(Origin::Computed(Box::new(derivation)))
    }

    fn derivation(
        &mut self,
        transform: &Transform,
        place: CellPlace,
        key: &RecordKey,
        commit: Option<CommitNumber>,
        at: CommitNumber,
        depth: usize,
    ) -> Result<Derivation, DataLayerError> {
        let read_at = commit.unwrap_or(at);
        let mut found = Derivation {
            revision: transform.id,
            definition: transform.definition().cloned().unwrap_or_default(),
            state: transform.state,
            inputs: Vec::new(),
            left_out: 0,
            is_repeated: false,
            unchanged_since: None,
            failure: None,
        };
        let is_first = self.told.insert((place, key.bytes().clone(), read_at));
        found.is_repeated = !is_first;
        // The groups of now are told with the result of now.
        let newest = ReadPoint { at: self.point.published.number, ..self.point.clone() };
        let newest_commit = match newest.live(place.schema, key.as_bytes())? {
            _ if transform.gives_elements() => {
                last_atom(&newest, place.address(key.as_bytes()))?.map(|(commit, _)| commit)
            }
            Some(live) => live.cell(place.field).map(|cell| cell.stamp.commit),
            None => None,
        };
        let is_there = at >= self.point.published.number
            && newest_commit == commit
            && transform.state != TransformState::Retired;
        if is_first {
            (found.inputs, found.left_out) =
                self.inputs(transform, key, read_at, is_there, depth)?;
        }
        // What fails now is the one that computes the field now.
        let catalogue = Arc::clone(&self.point.published.catalogue);
        let present = catalogue.propagation(place.schema);
        let present = present.and_then(|found| found.computing(place.field));
        let present = present.map_or(transform, |found| &**found);
        if let Some(error) = read_failure(self.point, present, key.as_bytes())?
            && error.commit <= at
            && commit.is_none_or(|commit| commit < error.commit)
        {
            let time = self.time(error.commit)?;
            let (inputs, left_out) = match is_first {
                true => self.inputs(present, key, error.commit, is_there, depth)?,
                false => Default::default(),
            };
            found.failure = Some(FailedDerivation { error, time, inputs, left_out });
        } else if let Some(commit) = commit.filter(|commit| *commit < at) {
            found.unchanged_since = self.inputs_changed(transform, key, commit, at)?;
        }
        Ok(found)
    }

    /// What a transform reads for a record. Whatever it reads is a field of a record as of a
    /// commit, be it another record or another schema's. Which ones it looks up is found by
    /// computing it again.
    fn reads(
        &self,
        transform: &Transform,
        key: &RecordKey,
        at: CommitNumber,
        has_groups: bool,
    ) -> Result<Reads, DataLayerError> {
        let catalogue = &self.point.published.catalogue;
        let own = |(schema, field): (SchemaName, FieldName)| {
            let entry = Arc::clone(catalogue.get(schema.as_str())?);
            Some(ReadCell { entry, key: key.clone(), field })
        };
        let cells = transform.input_fields().into_iter().filter_map(own).collect();
        let mut reads = Reads { cells, aggregates: Vec::new() };
        if transform.others().next().is_none() {
            return Ok(reads);
        }
        let others = AsOf { has_groups, ..AsOf::new(self.point, at) };
        let own = Draft::found(others.point.live(transform.records, key.as_bytes())?);
        transform.evaluate(key.bytes(), &own, &others)?;
        reads.aggregates = others.aggregates.into_inner();
        for (Target { records, part }, record) in others.read.into_inner() {
            let (schema, field) = match part {
                Part::Key(at) => {
                    let name = catalogue.by_id(records).map(|entry| &entry.schema);
                    let Some(schema) = name else { continue };
                    let Some(field) = schema.key.get(at) else { continue };
                    (schema.name.clone(), field.clone())
                }
                Part::Cell(field) => {
                    let place = CellPlace { schema: records, field };
                    let Some(root) = self.root_of(place) else { continue };
                    root
                }
            };
            let Some(entry) = catalogue.get(schema.as_str()).cloned() else { continue };
            reads.cells.push(ReadCell { entry, key: RecordKey::from_bytes(record), field });
        }
        Ok(reads)
    }

    fn inputs(
        &mut self,
        transform: &Transform,
        key: &RecordKey,
        at: CommitNumber,
        has_groups: bool,
        depth: usize,
    ) -> Result<(Vec<Lineage>, usize), DataLayerError> {
        let (mut inputs, mut left_out) = (Vec::new(), 0);
        let reads = self.reads(transform, key, at, has_groups)?;
        for (slot, value) in reads.aggregates {
            let Some(aggregate) = transform.aggregates().get(slot) else { continue };
            self.values_left = self.values_left.saturating_sub(1);
            let definition = aggregate.definition.clone();
            inputs.push(Lineage {
                schema: transform.schema.clone(),
                key: key.clone(),
                field: definition.name.clone(),
                mapped_from: None,
                atom: None,
                origin: Origin::Aggregate {
                    definition,
                    is_known: value.is_some(),
                    is_current: has_groups,
                },
                value: value.unwrap_or_default(),
            });
        }
        for read in reads.cells {
            if depth + 1 >= LINEAGE_DEPTH_MAX || self.values_left == 0 {
                left_out += 1;
            } else {
                inputs.push(self.cell(&read, at, depth + 1)?);
            }
        }
        Ok((inputs, left_out))
    }

    /// The last commit behind `from`, up to `to`, that has changed what a transform reads.
    fn inputs_changed(
        &mut self,
        transform: &Transform,
        key: &RecordKey,
        from: CommitNumber,
        to: CommitNumber,
    ) -> Result<Option<CommitNumber>, DataLayerError> {
        let mut last = None;
        for ReadCell { entry, key, field } in self.reads(transform, key, to, true)?.cells {
            let Some(place) = entry.place(field.as_str()) else { continue };
            if entry.schema.is_key_field(field.as_str()) {
                continue;
            }
            let live = self.live(place.schema, &key, to)?;
            let cell = live.as_ref().and_then(|live| live.cell(place.field));
            last = last.max(cell.map(|cell| cell.stamp.commit));
        }
        Ok(last.filter(|last| *last > from))
    }

    fn live(
        &mut self,
        schema: SchemaId,
        key: &RecordKey,
        at: CommitNumber,
    ) -> Result<Option<Arc<LiveRecord>>, DataLayerError> {
        let name = (schema, key.bytes().clone(), at);
        if let Some(live) = self.records.get(&name) {
            return Ok(live.clone());
        }
        let point = ReadPoint { at, ..self.point.clone() };
        let live = point.live(schema, key.as_bytes())?.map(Arc::new);
        self.records.insert(name, live.clone());
        Ok(live)
    }

    fn value(
        &self,
        place: CellPlace,
        key: &RecordKey,
        cell: &Cell,
    ) -> Result<Value, DataLayerError> {
        let Some(raw) = &cell.value else { return Ok(Value::Null) };
        crate::model::decode_value(raw)
            .map_err(|error| self.point.record_error(place.schema, key.as_bytes(), error.into()))
    }

    fn atom(&mut self, place: CellPlace, cell: &Cell) -> Result<LineageAtom, DataLayerError> {
        let stamp = cell.stamp;
        let (commit, ordinal) = (stamp.commit, stamp.ordinal(place.field));
        let id = AtomId { commit, ordinal, origin: self.origin };
        Ok(LineageAtom { id, commit, time: self.time(commit)?, writer: stamp.writer })
    }

    fn time(&mut self, commit: CommitNumber) -> Result<Timestamp, DataLayerError> {
        if let Some(time) = self.times.get(&commit) {
            return Ok(*time);
        }
        let time = self.point.commit(commit)?.time;
        self.times.insert(commit, time);
        Ok(time)
    }
}

/// The records of others as of a commit, and what was read of them.
pub(super) struct AsOf {
    point: ReadPoint,
    read: RefCell<Vec<(Target, Bytes)>>,
    /// Whether the groups of aggregates are those of then, although others are read as of then.
    has_groups: bool,
    aggregates: RefCell<Vec<(usize, Option<Value>)>>,
}

impl AsOf {
    pub(super) fn new(point: &ReadPoint, at: CommitNumber) -> Self {
        let (read, aggregates) = Default::default();
        let point = ReadPoint { at, ..point.clone() };
        Self { has_groups: point.is_current(), point, read, aggregates }
    }

    pub(super) fn point(&self) -> &ReadPoint {
        &self.point
    }

    /// The value of an aggregate, if it is known.
    fn aggregated(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Option<Result<lang::Value<'static>, Evaluation>>, DataLayerError> {
        let Some(aggregate) = transform.aggregates().get(slot) else { return Ok(None) };
        if self.has_groups && !transform.is_filling() {
            let ReadPoint { rows, published, .. } = &self.point;
            return stored_value(*rows, &mut &**published, transform, slot, record).map(Some);
        }
        let records = aggregate.records;
        if self.point.records_after(records, None, AGGREGATED_MAX + 1)?.len() > AGGREGATED_MAX {
            return Ok(None);
        }
        GatheredGroups::default().value(&self.point, transform, slot, record).map(Some)
    }
}

impl OtherRecords for AsOf {
    fn value(
        &self,
        target: Target,
        record: &Bytes,
    ) -> Result<lang::Value<'static>, DataLayerError> {
        let found = Draft::found(self.point.live(target.records, record)?);
        let read = (target, record.clone());
        if !self.read.borrow().contains(&read) {
            self.read.borrow_mut().push(read);
        }
        target.value(record, &found)
    }

    fn aggregate(
        &self,
        transform: &Transform,
        slot: usize,
        record: &Bytes,
    ) -> Result<Result<lang::Value<'static>, Evaluation>, DataLayerError> {
        let found = self.aggregated(transform, slot, record)?;
        let value = found.as_ref().and_then(|found| found.as_ref().ok()).map(from_lang);
        let mut told = self.aggregates.borrow_mut();
        if told.iter().all(|(told, _)| *told != slot) {
            told.push((slot, value));
        }
        Ok(found.unwrap_or(Ok(lang::Value::Null)))
    }

    fn elements(&self, at: FieldAddress<'_>, draft: &Draft) -> Result<Elements, DataLayerError> {
        elements_at(&self.point, at, draft)
    }
}

/// The last commit that has written elements of a field in the life that its record has at a
/// moment, and the first atom of those.
fn last_atom(
    point: &ReadPoint,
    address: FieldAddress<'_>,
) -> Result<Option<(CommitNumber, FirstAtom)>, DataLayerError> {
    let Some(birth) = point.birth(address.schema, address.record)? else { return Ok(None) };
    let commits = point.element_commits(address)?;
    let last = commits.range(birth..=point.at).next_back();
    Ok(last.map(|(commit, atom)| (*commit, *atom)))
}

/// Why a transform has no result for a record at present.
pub(super) fn read_failure(
    point: &ReadPoint,
    transform: &Transform,
    record: &[u8],
) -> Result<Option<TransformFailure>, DataLayerError> {
    let key = point.rows.failure(transform.id, record);
    let Some(row) = point.published.get(Keyspace::Indexes, &key)? else { return Ok(None) };
    let failure = TransformFailure::decode(&row);
    failure.map(Some).map_err(|error| DataLayerError::row(Keyspace::Indexes, &key, error))
}
