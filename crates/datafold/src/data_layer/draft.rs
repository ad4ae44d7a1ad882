//! A record as a transaction found it, and what becomes of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::element::ElementCell;
use super::ids::{CommitNumber, FieldId};
use super::record::{LiveRecord, RecordRow};
use super::serialization::RowError;

/// New values of fields, encoded; `None` deletes the cell.
pub(crate) type FieldWrites = BTreeMap<FieldId, Option<Bytes>>;

/// A record as it was found, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(super) before: Option<RecordRow>,
    /// The row as it was found, to be kept whole when the record's life ends.
    pub(super) before_row: Option<Bytes>,
    pub(super) after: After,
    /// Counts the lives that the transaction has begun or ended, so that what was written to the
    /// elements of an ended one counts no more.
    life: u32,
}

#[derive(Debug, Clone)]
pub(super) enum After {
    Untouched,
    /// Writes cells of the life that was found.
    Merged(FieldWrites),
    /// A new life.
    Created(FieldWrites),
    Deleted,
}

impl Draft {
    pub(super) fn new(row: Option<Bytes>) -> Result<Self, RowError> {
        let before = row.as_ref().map(RecordRow::decode).transpose()?;
        Ok(Self { before, before_row: row, after: After::Untouched, life: 0 })
    }

    /// The draft of a record that is read and never written.
    pub(crate) fn found(live: Option<LiveRecord>) -> Self {
        let before = live.map(RecordRow::Live);
        Self { before, before_row: None, after: After::Untouched, life: 0 }
    }

    pub(super) fn found_live(&self) -> Option<&LiveRecord> {
        self.before.as_ref().and_then(RecordRow::live)
    }

    /// The commit that began the record's present life, if that is the one that was found.
    pub(crate) fn found_birth(&self) -> Option<CommitNumber> {
        match self.after {
            After::Untouched | After::Merged(_) => self.found_live().map(|live| live.birth.commit),
            After::Created(_) | After::Deleted => None,
        }
    }

    /// Whether the transaction writes or deletes the record itself.
    pub(crate) fn is_written(&self) -> bool {
        !matches!(self.after, After::Untouched)
    }

    /// Whether the record exists, as the transaction sees it.
    pub(crate) fn exists(&self) -> bool {
        match self.after {
            After::Untouched | After::Merged(_) => self.found_live().is_some(),
            After::Created(_) => true,
            After::Deleted => false,
        }
    }

    /// The last commit that touched the record; `None` if it does not exist, or if this
    /// transaction wrote it.
    pub(crate) fn changed(&self) -> Option<CommitNumber> {
        match self.after {
            After::Untouched => self.found_live().map(LiveRecord::changed),
            _ => None,
        }
    }

    /// The last commit before this transaction that wrote or ended a cell.
    pub(crate) fn cell_changed(&self, field: FieldId) -> Option<CommitNumber> {
        match self.before.as_ref()? {
            RecordRow::Live(live) => live.cell(field).map(|cell| cell.stamp.commit),
            RecordRow::Tombstone(stamp) => Some(stamp.commit),
        }
    }

    /// The commit that ended the record's last life before this transaction; 0 if there was none.
    pub(crate) fn ended(&self) -> CommitNumber {
        match &self.before {
            Some(RecordRow::Tombstone(stamp)) => stamp.commit,
            _ => CommitNumber::ZERO,
        }
    }

    /// The encoded value of a field, as the transaction sees it.
    pub(crate) fn value(&self, field: FieldId) -> Option<&Bytes> {
        let found = || self.found_live()?.cell(field)?.value.as_ref();
        match &self.after {
            After::Untouched => found(),
            After::Merged(writes) => match writes.get(&field) {
                Some(write) => write.as_ref(),
                None => found(),
            },
            After::Created(writes) => writes.get(&field).and_then(Option::as_ref),
            After::Deleted => None,
        }
    }

    /// What becomes of a cell, if it is written.
    pub(crate) fn written(&self, field: FieldId) -> Option<&Option<Bytes>> {
        match &self.after {
            After::Merged(writes) | After::Created(writes) => writes.get(&field),
            After::Untouched | After::Deleted => None,
        }
    }

    /// The encoded value of a field as it was found, whatever becomes of it.
    pub(super) fn found_value(&self, field: FieldId) -> Option<&Bytes> {
        self.found_live()?.cell(field)?.value.as_ref()
    }

    /// Begins a new life with these values. The record must not exist.
    pub(crate) fn create(&mut self, writes: FieldWrites) {
        debug_assert!(!self.exists(), "create is called for a record that does not exist");
        self.after = After::Created(writes);
        self.life += 1;
    }

    /// Writes cells of the record, which must exist.
    pub(crate) fn merge(&mut self, writes: FieldWrites) {
        debug_assert!(self.exists(), "merge is called for a record that exists");
        match &mut self.after {
            After::Merged(earlier) | After::Created(earlier) => earlier.extend(writes),
            After::Untouched | After::Deleted => self.after = After::Merged(writes),
        }
    }

    /// Ends the life of the record, if it has one.
    pub(crate) fn delete(&mut self) {
        self.after = if self.found_live().is_some() { After::Deleted } else { After::Untouched };
        self.life += 1;
    }
}

/// An element as it was found, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct ElementDraft {
    /// Of whatever life of the record.
    pub(super) before: Option<ElementCell>,
    /// The new value, and the life of the record's draft that it belongs to.
    write: Option<(u32, Option<Bytes>)>,
}

impl ElementDraft {
    pub(super) fn new(row: Option<Bytes>) -> Result<Self, RowError> {
        Ok(Self::of(row.as_ref().map(ElementCell::decode).transpose()?))
    }

    pub(super) fn of(before: Option<ElementCell>) -> Self {
        Self { before, write: None }
    }

    /// What the transaction writes; `None` if nothing, or if that life of the record has ended.
    pub(super) fn write(&self, record: &Draft) -> Option<&Option<Bytes>> {
        let (life, value) = self.write.as_ref()?;
        (*life == record.life).then_some(value)
    }

    /// The last commit that touched the element; `None` if it does not exist, or if this
    /// transaction wrote it.
    pub(crate) fn changed(&self, record: &Draft) -> Option<CommitNumber> {
        match self.write(record) {
            Some(_) => None,
            None => self.found(record).map(|cell| cell.commit),
        }
    }

    /// The bytes of the values in the rows that it writes: the element's, and that of the past.
    pub(super) fn rows(&self, record: &Draft) -> impl Iterator<Item = usize> {
        let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let past = self.before.iter().map(move |cell| bytes(&cell.value));
        past.chain(self.write(record).map(bytes))
    }

    /// Gives the element a value, or takes it away, in the record's present life.
    pub(crate) fn set(&mut self, record: &Draft, value: Option<Bytes>) {
        self.write = Some((record.life, value));
    }

    /// The element as it was found, if it is one of the record's present life.
    pub(super) fn found(&self, record: &Draft) -> Option<&ElementCell> {
        let birth = record.found_birth()?;
        self.before.as_ref().filter(|cell| cell.is_live(birth))
    }

    /// The encoded value, as the transaction sees it.
    pub(crate) fn value(&self, record: &Draft) -> Option<&Bytes> {
        match self.write(record) {
            Some(write) => write.as_ref(),
            None => self.found(record)?.value.as_ref(),
        }
    }
}
