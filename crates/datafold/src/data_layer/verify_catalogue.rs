//! Checks the form of the rows of the catalogue and of the heads.

use datafold_store::Keyspace;
use datafold_store::encoding::{KeyError, KeyReader};

use super::catalogue::own_form;
use super::counters::SchemaCounters;
use super::error::{DataLayerError, hex};
use super::pipeline::{decode_head, encode_head};
use super::rows::{CatalogueKind, Rows};
use super::verify::Check;

impl Check<'_> {
    pub(super) fn catalogue(&mut self) -> Result<(), DataLayerError> {
        let rows = self.point.rows;
        self.scan(Keyspace::Catalogue, |check, key, row| {
            let place = format_args!("catalogue: row {}", hex(key)).to_string();
            match read_catalogue_key(rows, key) {
                Err(_) => check.report.problem(format!("catalogue: key {} is none", hex(key))),
                // Rows of an unknown kind are kept and not looked at.
                Ok(None) => {}
                Ok(Some(kind)) => match own_form(kind, key, row) {
                    Ok(own_form) => check.form(&place, row, &own_form),
                    Err(error) => check.report.problem(format!("{place}: {error}")),
                },
            }
        })
    }

    /// The head of the space, and the counters of its schemas.
    pub(super) fn heads(&mut self) -> Result<(), DataLayerError> {
        let rows = self.point.rows;
        let head = self.point.published.snapshot.head(rows.space)?;
        if let Some(head) = head
            && let Ok(time) = decode_head(&head.payload)
        {
            self.form(&"head", &head.payload, &encode_head(time));
        }
        self.scan(Keyspace::Head, |check, key, row| {
            let (place, space) = (format!("head: row {}", hex(key)), rows.all());
            if key == space {
                return;
            }
            let counters = rows.read_record(key).ok().filter(|(_, rest)| rest.is_empty());
            match (counters, SchemaCounters::decode(row)) {
                (None, _) => check.report.problem(format!("head: key {} is none", hex(key))),
                (Some(_), Ok(counters)) => check.form(&place, row, &counters.encode()),
                (Some(_), Err(error)) => check.report.problem(format!("{place}: {error}")),
            }
        })
    }
}

/// The kind of the row with this key; `None` if the kind is not known.
pub(super) fn read_catalogue_key(
    rows: Rows,
    key: &[u8],
) -> Result<Option<CatalogueKind>, KeyError> {
    let mut reader = KeyReader::new(key.get(rows.all().len()..).unwrap_or_default());
    let Some(kind) = CatalogueKind::from_number(reader.id()?) else { return Ok(None) };
    match kind {
        CatalogueKind::Transform | CatalogueKind::Metadata => {
            reader.text_into(&mut String::new())?;
        }
        CatalogueKind::NextSchemaId | CatalogueKind::NextIndexId => {}
        CatalogueKind::Schema
        | CatalogueKind::State
        | CatalogueKind::Layout
        | CatalogueKind::Index
        | CatalogueKind::ComputedField
        | CatalogueKind::RetiredTransform
        | CatalogueKind::NextFieldId => {
            reader.id()?;
        }
    }
    match reader.rest() {
        [] => Ok(Some(kind)),
        [byte, ..] => Err(KeyError::UnexpectedByte(*byte)),
    }
}
