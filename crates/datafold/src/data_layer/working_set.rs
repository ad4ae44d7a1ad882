//! What a transaction is about to write, before its commit number is known.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::{BatchKey, Keyspace, Scan};

use super::catalogue::encode_definition;
use super::draft::{Draft, ElementDraft};
use super::element::ElementCount;
use super::error::DataLayerError;
use super::ids::{CommitNumber, FieldId, SchemaId, TransformId};
use super::rows::{FieldAddress, Rows};
use crate::model::{ContentHash, Schema};

/// Where a transaction reads the rows that it has not written itself.
pub(crate) trait RowSource {
    fn read(&mut self, keyspace: Keyspace, key: &Bytes) -> Result<Option<Bytes>, DataLayerError>;

    /// The first keys of a range, at most as many as the scan has rows.
    fn keys(&mut self, scan: &Scan) -> Result<Vec<Bytes>, DataLayerError>;
}

/// What a commit of the background computes: nobody has written it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    /// Records in which what was never computed is to be.
    pub(super) filling: BTreeSet<(SchemaId, Bytes)>,
    /// Evaluations that tasks ask for.
    pub(super) due: BTreeSet<((SchemaId, Bytes), TransformId)>,
    /// The rows of these tasks, and how far they are then: `None` if they are done, else the last
    /// record.
    pub(super) tasks: BTreeMap<Bytes, (TransformId, Option<Option<Bytes>>)>,
    /// Records that are added to the groups of aggregates.
    pub(super) gathering: Option<Gathering>,
    /// Transforms whose failures and tasks count no more.
    pub(super) retired: BTreeSet<TransformId>,
}

/// Records that were there before some aggregates over them.
#[derive(Debug, Clone)]
pub(crate) struct Gathering {
    /// The schema that has the records.
    pub(super) records: SchemaId,
    /// The aggregates that have gathered up to there, by their transforms.
    pub(super) aggregates: Vec<(TransformId, usize)>,
    /// The last record that they have gathered.
    pub(super) after: Option<Bytes>,
    pub(super) records_max: usize,
}

impl Background {
    pub(super) fn is_empty(&self) -> bool {
        self.filling.is_empty()
            && self.due.is_empty()
            && self.tasks.is_empty()
            && self.gathering.is_none()
    }
}

/// The full name of an element, its key encoded. They sort by record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ElementName {
    pub(crate) schema: SchemaId,
    pub(crate) record: Bytes,
    pub(crate) field: FieldId,
    pub(crate) element: Bytes,
}

impl ElementName {
    pub(crate) fn address(&self) -> FieldAddress<'_> {
        FieldAddress { schema: self.schema, record: &self.record, field: self.field }
    }

    fn record(&self) -> (SchemaId, Bytes) {
        (self.schema, self.record.clone())
    }
}

/// A catalogue row as it was found, and what becomes of it.
#[derive(Debug, Clone)]
struct CatalogueDraft {
    before: Option<Bytes>,
    after: CatalogueWrite,
}

/// What becomes of a catalogue row.
#[derive(Debug, Clone)]
pub(crate) enum CatalogueWrite {
    Put(Bytes),
    Delete,
    /// A definition's row names the commit that writes it, unless it takes the place of one that
    /// was there.
    Define {
        schema: Arc<Schema>,
        hash: ContentHash,
        loaded: Option<CommitNumber>,
        source: Option<Arc<str>>,
    },
}

impl CatalogueWrite {
    fn row(&self, number: CommitNumber) -> Option<Bytes> {
        match self {
            CatalogueWrite::Put(row) => Some(row.clone()),
            CatalogueWrite::Delete => None,
            CatalogueWrite::Define { schema, hash, loaded, source } => {
                let loaded = loaded.unwrap_or(number);
                Some(encode_definition(schema, hash, loaded, source.as_deref()).into())
            }
        }
    }
}

/// The writes of a transaction, by record and by catalogue row.
#[derive(Debug, Clone)]
pub(crate) struct WorkingSet {
    pub(crate) rows: Rows,
    pub(super) records: BTreeMap<(SchemaId, Bytes), Draft>,
    /// The draft of an element's record is always there too.
    pub(super) elements: BTreeMap<ElementName, ElementDraft>,
    catalogue: BTreeMap<Bytes, CatalogueDraft>,
    /// Entries of indexes that are built or removed.
    pub(super) index_rows: BTreeMap<Bytes, Option<Bytes>>,
    pub(super) background: Background,
}

/// Drafts to go back to; `None` for a record or element that had none.
#[derive(Debug)]
pub(crate) struct Savepoint {
    records: Vec<((SchemaId, Bytes), Option<Draft>)>,
    elements: Vec<(ElementName, Option<ElementDraft>)>,
}

impl WorkingSet {
    pub(crate) fn new(rows: Rows) -> Self {
        Self {
            rows,
            records: BTreeMap::new(),
            elements: BTreeMap::new(),
            catalogue: BTreeMap::new(),
            index_rows: BTreeMap::new(),
            background: Background::default(),
        }
    }

    /// The draft of a record, read from `source` unless the transaction has it.
    pub(crate) fn record(
        &mut self,
        source: &mut dyn RowSource,
        schema: SchemaId,
        record: &Bytes,
    ) -> Result<&mut Draft, DataLayerError> {
        match self.records.entry((schema, record.clone())) {
            Entry::Occupied(draft) => Ok(draft.into_mut()),
            Entry::Vacant(place) => {
                let key = self.rows.record(schema, record);
                let row = source.read(Keyspace::Records, &key)?;
                let draft = Draft::new(row)
                    .map_err(|error| DataLayerError::row(Keyspace::Records, &key, error))?;
                Ok(place.insert(draft))
            }
        }
    }

    /// An element with the draft of its record, both read from `source` unless the transaction
    /// has them.
    pub(crate) fn element(
        &mut self,
        source: &mut dyn RowSource,
        name: &ElementName,
    ) -> Result<(&Draft, &mut ElementDraft), DataLayerError> {
        self.record(source, name.schema, &name.record)?;
        let record = self.records.get(&name.record());
        let record = record.ok_or_else(|| DataLayerError::missing("the draft of a record"))?;
        let draft = match self.elements.entry(name.clone()) {
            Entry::Occupied(draft) => draft.into_mut(),
            Entry::Vacant(place) => {
                let key = self.rows.element(name.address(), &name.element);
                let row = source.read(Keyspace::Elements, &key)?;
                let draft = ElementDraft::new(row)
                    .map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))?;
                place.insert(draft)
            }
        };
        Ok((record, draft))
    }

    /// How many elements a field has, as the transaction sees it.
    pub(crate) fn element_count(
        &mut self,
        source: &mut dyn RowSource,
        schema: SchemaId,
        record: &Bytes,
        field: FieldId,
    ) -> Result<u64, DataLayerError> {
        let rows = self.rows;
        let draft = self.record(source, schema, record)?;
        let found = match draft.found_birth() {
            Some(birth) => {
                let address = FieldAddress { schema, record, field };
                read_count(source, rows, address)?.map_or(0, |count| count.of_life(birth))
            }
            None => 0,
        };
        let Some(draft) = self.records.get(&(schema, record.clone())) else { return Ok(found) };
        let change = self.drafts_of(schema, record, field).map(|(_, element)| {
            match (element.found(draft), element.value(draft)) {
                (None, Some(_)) => 1,
                (Some(_), None) => -1,
                _ => 0,
            }
        });
        Ok(found.saturating_add_signed(change.sum()))
    }

    /// The drafts of the elements of a field, by element key.
    pub(crate) fn drafts_of(
        &self,
        schema: SchemaId,
        record: &Bytes,
        field: FieldId,
    ) -> impl Iterator<Item = (&Bytes, &ElementDraft)> {
        drafts_of(&self.elements, FieldAddress { schema, record, field })
    }

    /// The drafts of some records and elements as they are, to go back to.
    pub(crate) fn savepoint<'k>(
        &self,
        records: impl Iterator<Item = (SchemaId, &'k Bytes)>,
        elements: impl Iterator<Item = ElementName>,
    ) -> Savepoint {
        let record = |(schema, record): (SchemaId, &Bytes)| {
            let key = (schema, record.clone());
            let draft = self.records.get(&key).cloned();
            (key, draft)
        };
        let element = |name: ElementName| {
            let draft = self.elements.get(&name).cloned();
            (name, draft)
        };
        Savepoint {
            records: records.map(record).collect(),
            elements: elements.map(element).collect(),
        }
    }

    /// Goes back; other drafts stay as they are.
    pub(crate) fn restore(&mut self, savepoint: Savepoint) {
        for (name, draft) in savepoint.elements {
            match draft {
                Some(draft) => self.elements.insert(name, draft),
                None => self.elements.remove(&name),
            };
        }
        for (key, draft) in savepoint.records {
            match draft {
                Some(draft) => self.records.insert(key, draft),
                None => self.records.remove(&key),
            };
        }
    }

    /// Whether records or elements of a schema are written.
    pub(crate) fn writes_to(&self, schema: SchemaId) -> bool {
        let from = (schema, Bytes::new());
        let mut records = self.records.range(from..).take_while(|((found, _), _)| *found == schema);
        let mut elements = self.elements.iter().filter(|(name, _)| name.schema == schema);
        records.any(|(_, draft)| draft.is_written())
            || elements.any(|(name, draft)| self.is_element_written(name, draft))
    }

    fn is_element_written(&self, name: &ElementName, draft: &ElementDraft) -> bool {
        let record = self.records.get(&name.record());
        record.is_some_and(|record| draft.write(record).is_some())
    }

    /// A catalogue row as the transaction sees it.
    pub(crate) fn catalogue_row(
        &mut self,
        source: &mut dyn RowSource,
        key: &BatchKey,
    ) -> Result<Option<Bytes>, DataLayerError> {
        match self.catalogue.get(&key.1) {
            Some(draft) => Ok(draft.after.row(CommitNumber::ZERO)),
            None => source.read(key.0, &key.1),
        }
    }

    /// Writes a catalogue row.
    pub(crate) fn write_catalogue(
        &mut self,
        source: &mut dyn RowSource,
        key: &BatchKey,
        write: CatalogueWrite,
    ) -> Result<(), DataLayerError> {
        match self.catalogue.entry(key.1.clone()) {
            Entry::Occupied(mut draft) => draft.get_mut().after = write,
            Entry::Vacant(place) => {
                let before = source.read(key.0, &key.1)?;
                place.insert(CatalogueDraft { before, after: write });
            }
        }
        Ok(())
    }

    /// Whether nothing was written; reads may have left drafts.
    pub(crate) fn is_empty(&self) -> bool {
        self.catalogue.is_empty()
            && self.index_rows.is_empty()
            && self.background.due.is_empty()
            && self.background.tasks.is_empty()
            && self.background.gathering.is_none()
            && !self.records.values().any(Draft::is_written)
            && !self.elements.iter().any(|(name, draft)| self.is_element_written(name, draft))
    }

    pub(super) fn catalogue_rows_at(
        &self,
        at: CommitNumber,
    ) -> Vec<(Bytes, Option<Bytes>, Option<Bytes>)> {
        let drafts = self.catalogue.iter();
        drafts
            .map(|(key, draft)| (key.clone(), draft.before.clone(), draft.after.row(at)))
            .collect()
    }
}

/// The drafts of the elements of a field, by element key.
pub(super) fn drafts_of<'e>(
    elements: &'e BTreeMap<ElementName, ElementDraft>,
    at: FieldAddress<'_>,
) -> impl Iterator<Item = (&'e Bytes, &'e ElementDraft)> + use<'e> {
    let name = |field| ElementName {
        schema: at.schema,
        record: Bytes::copy_from_slice(at.record),
        field: FieldId(field),
        element: Bytes::new(),
    };
    let to = Bound::Excluded(name(at.field.0.saturating_add(1)));
    let drafts = elements.range((Bound::Included(name(at.field.0)), to));
    drafts.map(|(name, draft)| (&name.element, draft))
}

/// The count of the elements of a field; it may be of another life of the record.
pub(crate) fn read_count(
    source: &mut dyn RowSource,
    rows: Rows,
    at: FieldAddress<'_>,
) -> Result<Option<ElementCount>, DataLayerError> {
    let key = rows.element_count(at);
    let Some(row) = source.read(Keyspace::Elements, &key)? else { return Ok(None) };
    let count = ElementCount::decode(&row);
    count.map(Some).map_err(|error| DataLayerError::row(Keyspace::Elements, &key, error))
}
