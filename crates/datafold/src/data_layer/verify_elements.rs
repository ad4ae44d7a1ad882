//! Checks the rows of elements.

use bytes::Bytes;
use datafold_store::Keyspace;

use super::element::{ElementCell, ElementCount};
use super::error::{DataLayerError, hex};
use super::ids::{FieldId, SchemaId};
use super::record::{RecordRow, Stamp};
use super::verify::{Check, Place};

/// The elements of one field of a record, as far as they are read.
struct Field {
    schema: SchemaId,
    record: Bytes,
    field: FieldId,
    /// The row of the record, which the elements live and die with.
    row: Option<RecordRow>,
    /// What the row that counts them says; it comes first.
    stated: Option<ElementCount>,
    live: u64,
}

impl Check<'_> {
    pub(super) fn elements(&mut self) -> Result<(), DataLayerError> {
        let mut open: Option<Field> = None;
        let mut failed = None;
        self.scan(Keyspace::Elements, |check, key, row| {
            if failed.is_none()
                && let Err(error) = check.element_row(&mut open, key, row)
            {
                failed = Some(error);
            }
        })?;
        self.close_field(open);
        failed.map_or(Ok(()), Err)
    }

    fn element_row(
        &mut self,
        open: &mut Option<Field>,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), DataLayerError> {
        let read = self.read_field_key(key);
        let Some((schema, record, field, reader)) = read.filter(|read| self.has_elements(read))
        else {
            self.report.problem(format!("elements: key {} is none", hex(key)));
            return Ok(());
        };
        let element = reader.rest();
        let is_same = open.as_ref().is_some_and(|open| {
            (open.schema, open.field) == (schema, field) && open.record == record
        });
        if !is_same {
            self.close_field(open.take());
        }
        let of_field = match open {
            Some(of_field) => of_field,
            None => {
                let row = self.record_row(schema, record)?;
                let record = Bytes::copy_from_slice(record);
                open.insert(Field { schema, record, field, row, stated: None, live: 0 })
            }
        };
        let (birth, keyspace) = (None, "elements");
        let place = Place { schema, record, element, birth, keyspace, key };
        if element.is_empty() {
            match ElementCount::decode(row) {
                Ok(count) => {
                    self.form(&place, row, &count.encode());
                    of_field.stated = Some(count);
                }
                Err(error) => self.report.problem(format!("{place}: {error}")),
            }
            return Ok(());
        }
        match ElementCell::decode(&Bytes::copy_from_slice(row)) {
            Ok(cell) => {
                self.form(&place, row, &cell.encode());
                self.element(&place, of_field, &cell);
            }
            Err(error) => self.report.problem(format!("{place}: {error}")),
        }
        Ok(())
    }

    /// Whether a key is that of a count or an element of a field that has elements.
    fn has_elements(
        &self,
        (schema, _, field, reader): &(
            SchemaId,
            &[u8],
            FieldId,
            datafold_store::encoding::KeyReader<'_>,
        ),
    ) -> bool {
        let entry = self.point.published.catalogue.by_id(*schema);
        let element = reader.rest();
        entry.is_some_and(|entry| entry.element_fields.contains(field))
            && (element.is_empty() || crate::model::decode_element(element).is_ok())
    }

    fn record_row(
        &self,
        schema: SchemaId,
        record: &[u8],
    ) -> Result<Option<RecordRow>, DataLayerError> {
        let key = self.point.rows.record(schema, record);
        let row = self.point.published.get(Keyspace::Records, &key)?;
        // A row that does not decode is a problem of its own, told where records are checked.
        Ok(row.and_then(|row| RecordRow::decode(&row).ok()))
    }

    fn element(&mut self, place: &Place<'_>, of_field: &mut Field, cell: &ElementCell) {
        let ElementCell { commit, writer, ordinal: base, value } = cell;
        let stamp = Stamp { commit: *commit, writer: *writer, base: *base };
        self.value(place, of_field.field, stamp, value.as_ref());
        match &of_field.row {
            None => self.report.problem(format!("{place}: there is no such record")),
            Some(RecordRow::Tombstone(stamp)) if *commit >= stamp.commit => {
                self.report.problem(format!("{place}: is newer than the deletion of its record"));
            }
            Some(RecordRow::Live(live)) if cell.is_live(live.birth.commit) => {
                of_field.live += 1;
                self.count_element(place.schema);
            }
            Some(_) => {}
        }
    }

    fn close_field(&mut self, field: Option<Field>) {
        let Some(Field { schema, record, field, row, stated, live }) = field else { return };
        let birth = row.as_ref().and_then(RecordRow::live).map(|live| live.birth.commit);
        let stated = match (stated, birth) {
            (Some(count), Some(birth)) => count.of_life(birth),
            _ => 0,
        };
        if stated != live {
            let (record, field) = (hex(&record), field.0);
            self.report.problem(format!(
                "elements: field {field} of record {record} of schema number {schema} is said to \
                 have {stated} elements, it has {live}"
            ));
        }
    }
}
