//! Fuzz bodies of rows and their keys. Each has the name of its target.
//!
//! A decoder of rows may read bytes that are not those which are written of what it read: that is
//! for `verify` to say. What it read must be written in one form, which reads as the same.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::SpaceId;
use datafold_testkit::{Draw, Fuzz, Verdict};
use minicbor::Decoder;

use super::catalogue::{SchemaCore, encode_definition, encode_state, own_form};
use super::commit::{
    Change, ChangeKind, Commit, FailureChange, decode_changes, decode_header, encode_commit,
    encode_part,
};
use super::counters::SchemaCounters;
use super::element::{ElementCell, ElementCount, ElementView};
use super::ids::{AtomId, CommitNumber, FieldId, IndexId, SchemaId, TransformId, WriterId};
use super::index::{Index, IndexPart, IndexState, encode_index};
use super::index_build::Progress;
use super::layout::{CellPlace, Layout};
use super::pipeline::{decode_head, encode_head};
use super::plain_row::project_plain;
use super::record::{Cell, LiveRecord, PastCell, RecordRow, RecordView, RowHeader, Stamp};
use super::row_reader::RowReader;
use super::rows::{CatalogueKind, FieldAddress, Rows};
use super::transform::{ComputedRow, Evaluation, TransformState};
use super::transform_repository::encode as encode_transform;
use super::transform_revision::RetiredRow;
use super::verify_catalogue::read_catalogue_key;
use crate::model::fuzz::{CBOR_WORDS, FLIGHT, stored_values};
use crate::model::{
    FieldName, IndexDefinition, Schema, SchemaName, SchemaState, Timestamp, TransformDefinition,
    Value, decode_value, encode_element, encode_value,
};

const ROWS: Rows = Rows { space: SpaceId::DEFAULT };

fn stamp(commit: u64, base: u32) -> Stamp {
    Stamp { commit: CommitNumber(commit), writer: WriterId::OWNER, base }
}

/// Decodes, writes what was read, and reads that again.
fn round_trip<T: PartialEq + fmt::Debug, E: fmt::Display>(
    input: &[u8],
    decode: impl Fn(&Bytes) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Result<(T, bool), Verdict> {
    let row = Bytes::copy_from_slice(input);
    let read = decode(&row).map_err(|error| {
        assert!(error.to_string().len() < 500);
        Verdict::refused("row")
    })?;
    let own_form = Bytes::from(encode(&read));
    let again = decode(&own_form).unwrap_or_else(|error| panic!("{read:?}: {error}"));
    assert_eq!(again, read, "what was written reads as something else");
    assert_eq!(encode(&again), own_form, "the own form changes");
    let is_own_form = own_form == input;
    Ok((read, is_own_form))
}

fn record_rows() -> Vec<Vec<u8>> {
    let mut rows = vec![RecordRow::Tombstone(stamp(12, 0)).encode()];
    let cells = |count: usize| {
        let values = stored_values().into_iter().cycle().take(count);
        let cells = values.enumerate().map(|(at, value)| {
            let value = (at % 4 != 3).then(|| Bytes::from(value));
            let cell =
                Cell { stamp: stamp(7 + (at as u64 % 3) * 300, FieldId::at(at * 40).0), value };
            (FieldId::at(at * 9), cell)
        });
        cells.collect::<Vec<_>>()
    };
    for count in [0, 1, 4, 9, 30] {
        let live = LiveRecord { birth: stamp(7, 0), cells: cells(count) };
        rows.push(RecordRow::Live(live).encode());
    }
    rows
}

/// The same row as it is decoded, viewed cell by cell, and walked value by value.
#[test]
fn record_row() {
    Fuzz::new("record_row").seeds(record_rows()).words(CBOR_WORDS).run(|input| {
        let mut walked = Vec::new();
        let is_walked = walk(input, &mut walked);
        let read = round_trip(input, RecordRow::decode, RecordRow::encode);
        let (row, is_own_form) = match read {
            Ok(read) => read,
            Err(refused) => return refused,
        };
        let header = RowHeader::read(input).unwrap();
        assert_eq!(header.birth, row.birth().commit);
        let view = RecordView::new(input).unwrap();
        assert_eq!(view.birth(), row.birth());
        let Some(live) = row.live() else {
            assert!(view.cells().is_none() && header.values.is_none());
            return Verdict::accepted(u64::from(is_own_form));
        };
        assert!(header.newest >= live.birth.commit);
        if is_own_form {
            assert_eq!(header.newest, live.changed());
        }
        let mut expected = Vec::new();
        for (field, cell) in &live.cells {
            if let Some(raw) = &cell.value {
                match decode_value(raw) {
                    Ok(value) => expected.push((*field, value)),
                    Err(_) => {
                        assert!(!is_walked, "a value that does not decode was read");
                        return Verdict::accepted(2);
                    }
                }
            }
        }
        assert!(is_walked && walked == expected, "{walked:?} instead of {expected:?}");
        if is_own_form {
            let fields = live.cells.iter().enumerate().map(|(at, (field, _))| (*field, at));
            let fields: Vec<_> = fields.collect();
            let mut columns = vec![Value::from("before"); fields.len()];
            // Ascending fields are what the format says, and what plain rows are read by.
            if fields.is_sorted_by_key(|(field, _)| *field)
                && let Some(is_live) = project_plain(input, &fields, &mut columns)
            {
                assert!(is_live);
                let of_row = live.cells.iter().map(|(_, cell)| match &cell.value {
                    Some(raw) => decode_value(raw).unwrap(),
                    None => Value::Null,
                });
                assert_eq!(columns, of_row.collect::<Vec<_>>(), "as a plain row");
            }
        }
        Verdict::accepted(u64::from(is_own_form) + 4 * live.cells.len().min(9) as u64)
    });
}

/// Reads the values as a scan does; answers whether all could be read.
fn walk(input: &[u8], found: &mut Vec<(FieldId, Value)>) -> bool {
    let Ok(RowHeader { values, .. }) = RowHeader::read(input) else { return false };
    let Some(mut values) = values else { return true };
    let mut value = Value::from("before");
    loop {
        match values.next_field() {
            Ok(Some(field)) => match values.decode_into(&mut value) {
                Ok(()) => found.push((field, value.clone())),
                Err(_) => return false,
            },
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The reader of rows reads what a general decoder reads, step by step.
#[test]
fn row_reader() {
    let seeds = record_rows().into_iter().map(|row| [&[12, 0, 0, 1, 2, 2][..], &row].concat());
    Fuzz::new("row_reader").seeds(seeds).words(CBOR_WORDS).run(|input| {
        let mut draw = Draw::new(input);
        let steps = draw.bytes(6);
        let row = draw.rest();
        let (mut reader, mut decoder) = (RowReader::new(row), Decoder::new(row));
        let mut value = Value::Null;
        for step in steps {
            let is_ok = match step % 5 {
                0 => {
                    let (read, length) = (reader.array().ok(), decoder.array().ok());
                    assert_eq!(read, length.map(|length| length.unwrap_or(0)));
                    read.is_some()
                }
                1 => {
                    let (read, expected) = (reader.u32().ok(), decoder.u32().ok());
                    assert_eq!(read, expected);
                    read.is_some()
                }
                2 => {
                    let (read, expected) = (reader.u64().ok(), decoder.u64().ok());
                    assert_eq!(read, expected);
                    read.is_some()
                }
                3 => {
                    let read = reader.value(&mut value).is_ok();
                    let expected = crate::model::decode_from(&mut decoder);
                    assert_eq!(read.then_some(&value), expected.as_ref().ok());
                    read
                }
                // A text that is no UTF-8 is stepped over without being looked at.
                _ => reader.skip().is_ok() && decoder.skip().is_ok(),
            };
            if !is_ok {
                return Verdict::refused("row");
            }
            assert_eq!(reader.rest().len(), row.len() - decoder.position());
        }
        true.into()
    });
}

#[test]
fn past_cell() {
    let mut seeds: Vec<_> = stored_values()
        .into_iter()
        .map(|value| PastCell { writer: WriterId(0), base: 70, value: Some(value.into()) }.encode())
        .collect();
    seeds.push(PastCell { writer: WriterId(300), base: 0, value: None }.encode());
    Fuzz::new("past_cell").seeds(seeds).words(CBOR_WORDS).run(|input| {
        match round_trip(input, PastCell::decode, PastCell::encode) {
            Ok((past, is_own)) => {
                let value = past.value.as_ref().map_or(Ok(Value::Null), |raw| decode_value(raw));
                assert_eq!(PastCell::value_of(input).ok(), value.ok());
                Verdict::accepted(u64::from(is_own) + 2 * u64::from(past.value.is_some()))
            }
            Err(refused) => refused,
        }
    });
}

#[test]
fn element_row() {
    let (commit, writer) = (CommitNumber(9), WriterId::OWNER);
    let mut seeds: Vec<_> = stored_values()
        .into_iter()
        .map(|value| ElementCell { commit, writer, ordinal: 300, value: Some(value.into()) })
        .map(|cell| cell.encode())
        .collect();
    seeds.push(ElementCell { commit, writer, ordinal: 0, value: None }.encode());
    Fuzz::new("element_row").seeds(seeds).words(CBOR_WORDS).run(|input| {
        match round_trip(input, ElementCell::decode, ElementCell::encode) {
            Ok((cell, is_own)) => {
                let view = ElementView::read(input).unwrap();
                assert_eq!(view.value, cell.value.as_deref());
                assert_eq!(ElementCell::of_past(cell.past(), cell.commit), cell);
                let decodes = cell.value.is_some_and(|raw| decode_value(&raw).is_ok());
                Verdict::accepted(u64::from(is_own) + 2 * u64::from(decodes))
            }
            Err(refused) => refused,
        }
    });
}

/// Rows of a few numbers: counts of elements, counters, heads of spaces.
#[test]
fn number_rows() {
    let counters = SchemaCounters { records: 5, elements: 300, atoms: 1 << 40 };
    let seeds = [
        ElementCount { birth: CommitNumber(7), count: 2 }.encode(),
        counters.encode(),
        encode_head(Timestamp::from_micros(-5)).to_vec(),
    ];
    Fuzz::new("number_rows").seeds(seeds).words(CBOR_WORDS).len_max(64).run(|input| {
        let count = round_trip(input, |row| ElementCount::decode(row), |count| count.encode());
        let counters = round_trip(input, |row| SchemaCounters::decode(row), |c| c.encode());
        let head = round_trip(input, |row| decode_head(row), |time| encode_head(*time).to_vec());
        let class = |is_own: bool, place: u64| place + u64::from(is_own);
        match (count, counters, head) {
            (Ok((_, own)), Err(_), Err(_)) => Verdict::accepted(class(own, 0)),
            (Err(_), Ok((_, own)), Err(_)) => Verdict::accepted(class(own, 2)),
            (Err(_), Err(_), Ok((_, own))) => Verdict::accepted(class(own, 4)),
            (Err(refused), Err(_), Err(_)) => refused,
            _ => panic!("a row is of two kinds"),
        }
    });
}

fn changes() -> Vec<Change> {
    let record = Bytes::from_static(&[0x40, 0x55, 0x41, 0x00]);
    let elements = ["a", "b"].map(|text| encode_element(text).unwrap()).to_vec();
    let written = |kind, fields: &[u32]| Change::Record {
        schema: SchemaId(3),
        record: record.clone(),
        kind,
        base: 40,
        fields: fields.iter().copied().map(FieldId).collect(),
    };
    let failure = |what| {
        let (transform, record) = (TransformId(5), record.clone());
        Change::Failure { transform, record, what }
    };
    let message = "a division by zero".to_owned();
    let error = Evaluation { code: "division_by_zero".into(), message, line: 1, column: 4 };
    vec![
        written(ChangeKind::Create, &[2]),
        written(ChangeKind::Write, &[1, 30, 300]),
        written(ChangeKind::Delete, &[]),
        Change::Elements {
            schema: SchemaId(3),
            record: record.clone(),
            base: 0,
            field: FieldId(4),
            elements,
        },
        Change::Catalogue { key: ROWS.schema(SchemaId(3)).1, row: None },
        failure(FailureChange::Failed { again: true, error }),
        failure(FailureChange::Recovered),
        failure(FailureChange::Gone),
    ]
}

#[test]
fn commit_part() {
    let header = |number| Commit {
        number: CommitNumber(number),
        time: Timestamp::from_micros(1_357_017_300_000_000),
        writer: WriterId::OWNER,
        atoms: 7,
    };
    let mut seeds: Vec<_> =
        changes().into_iter().map(|change| encode_part(Some(&header(7)), &[change])).collect();
    seeds.push(encode_part(Some(&header(7)), &changes()));
    seeds.push(encode_part(None, &changes()));
    let words = changes().into_iter().map(|change| encode_part(None, &[change]));
    Fuzz::new("commit_part").seeds(seeds).words(words).words(CBOR_WORDS).run(|input| {
        let decode = |has_header: bool, row: &Bytes| {
            let mut decoder = Decoder::new(row);
            let header = match has_header {
                true => Some(decode_header(CommitNumber(7), &mut decoder)?),
                false => None,
            };
            Ok::<_, super::serialization::RowError>((header, decode_changes(&mut decoder, row)?))
        };
        let mut verdict = Verdict::refused("part");
        for has_header in [true, false] {
            let read = round_trip(
                input,
                |row| decode(has_header, row),
                |(header, changes)| encode_part(header.as_ref(), changes),
            );
            let Ok(((header, changes), is_own)) = read else { continue };
            let atoms: u64 = changes.iter().map(|change| u64::from(change.atoms())).sum();
            if let Some(header) = header {
                // Written as a commit it is cut into parts and read back.
                let mut again = Vec::new();
                for (part, (key, row)) in encode_commit(ROWS, &header, &changes).iter().enumerate()
                {
                    assert_eq!(ROWS.read_commit_part(&key.1).unwrap().1 as usize, part);
                    let mut decoder = Decoder::new(row);
                    if part == 0 {
                        assert_eq!(decode_header(header.number, &mut decoder).unwrap(), header);
                    }
                    again.extend(decode_changes(&mut decoder, row).unwrap());
                }
                assert_eq!(again, changes);
            }
            verdict = Verdict::accepted(u64::from(is_own) + 2 * atoms.min(9));
        }
        verdict
    });
}

fn definition() -> Vec<u8> {
    let schema = Schema::parse(FLIGHT).unwrap().schema;
    encode_definition(&schema, &schema.content_hash(), CommitNumber(1), Some("flight.json"))
}

fn layout() -> Layout {
    let cells = [(3, 1), (3, 300), (70_000, 2)];
    let place = |(schema, field)| CellPlace { schema: SchemaId(schema), field: FieldId(field) };
    Layout { records: SchemaId(3), cells: cells.map(place).into() }
}

/// The kinds of catalogue rows with a row of each.
fn catalogue_rows() -> Vec<(CatalogueKind, Vec<u8>)> {
    let definition_of = IndexDefinition {
        fields: ["delay", "note"].map(|name| FieldName::parse(name).unwrap()).to_vec(),
        unique: true,
    };
    let pair = (Bytes::from_static(b"\x40a\0"), Bytes::from_static(b"\x40b\0"));
    let failed = IndexState::Failed { duplicates: vec![pair] };
    let index = |state| encode_index(SchemaId(3), &definition_of, state);
    let transform = [&[0x83, 0x81][..], &[0x63], b"A.b", &[0x61], b"x", &[0xF6]].concat();
    let declared = "transform double { logic: { delay * 2 } }";
    let declared = encode_transform(&TransformDefinition::declared(declared).unwrap());
    let state = TransformState::Ready;
    let computed = ComputedRow { schema: SchemaId(3), field: FieldId(8), state };
    let retired = RetiredRow {
        schema: SchemaId(3),
        field: FieldId(8),
        has_rows: true,
        definition: TransformDefinition { logic: "delay".into(), ..Default::default() },
    };
    vec![
        (CatalogueKind::Schema, definition()),
        (CatalogueKind::State, encode_state(SchemaState::Approved, None)),
        (CatalogueKind::State, encode_state(SchemaState::Blocked, Some("why"))),
        (CatalogueKind::Transform, transform),
        (CatalogueKind::Layout, layout().encode()),
        (CatalogueKind::Metadata, vec![0x18, 0x2A]),
        (CatalogueKind::NextSchemaId, vec![0x07]),
        (CatalogueKind::NextFieldId, vec![0x19, 0x01, 0x00]),
        (CatalogueKind::Index, index(&IndexState::Ready)),
        (CatalogueKind::Index, index(&failed)),
        (CatalogueKind::NextIndexId, vec![0x02]),
        (CatalogueKind::Transform, declared),
        (CatalogueKind::ComputedField, computed.encode()),
        (CatalogueKind::RetiredTransform, retired.encode()),
    ]
}

/// What is read of a row of the catalogue, of each kind, is written in one form.
#[test]
fn catalogue_row() {
    let seeds = catalogue_rows().into_iter().map(|(kind, row)| [&[kind as u8][..], &row].concat());
    let fuzz = Fuzz::new("catalogue_row").seeds(seeds).words(CBOR_WORDS).len_max(1_500);
    fuzz.cost(3).run(|input| {
        let Some((number, row)) = input.split_first() else { return Verdict::refused("empty") };
        let number = u32::from(*number);
        let Some(kind) = CatalogueKind::from_number(number) else {
            return Verdict::refused("kind");
        };
        match own_form(kind, b"key", row) {
            Ok(own) => {
                assert_eq!(own_form(kind, b"key", &own).unwrap(), own, "the own form changes");
                Verdict::accepted(u64::from(number) * 2 + u64::from(own == row))
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                Verdict::refused(error.code())
            }
        }
    });
}

/// A catalogue takes or refuses any row under any key, and what it has then can be looked at.
#[test]
fn catalogue_load() {
    let keys = [
        ROWS.schema(SchemaId(3)).1,
        ROWS.state(SchemaId(3)).1,
        ROWS.catalogue_text(CatalogueKind::Transform, "A.b").1,
        ROWS.layout(SchemaId(3)).1,
        ROWS.catalogue_text(CatalogueKind::Metadata, "other").1,
        ROWS.next_schema_id().1,
        ROWS.next_field_id(SchemaId(3)).1,
        ROWS.index_row(IndexId(1)).1,
        ROWS.next_index_id().1,
        ROWS.computed_field(TransformId(1)).1,
        ROWS.retired_transform(TransformId(2)).1,
    ];
    let kinds: Vec<_> = catalogue_rows();
    let mut program = Vec::new();
    for (kind, row) in kinds.iter().filter(|(_, row)| row.len() < 250) {
        let key = &keys[*kind as usize - 1];
        program.push(key.len().to_le_bytes()[0]);
        program.extend_from_slice(key);
        program.push(row.len().to_le_bytes()[0]);
        program.extend_from_slice(row);
    }
    let parsed = |text: &str| Schema::parse(text).unwrap().schema;
    let flight = parsed(FLIGHT);
    let view = parsed(
        r#"{"name":"View","key":["carrier","flight"],"fields":{
            "carrier":{"value":{"type":"string","maxLength":3}},
            "flight":{"value":{"type":"integer"}},
            "late":{"field_mappers":{"Flight":"delay"}},"own":{"field_type":"Range"}}}"#,
    );
    let base: Vec<(Bytes, Bytes)> = [(SchemaId(3), &flight), (SchemaId(4), &view)]
        .into_iter()
        .map(|(id, schema)| {
            let hash = schema.content_hash();
            let row = encode_definition(schema, &hash, CommitNumber(1), None);
            (ROWS.schema(id).1, row.into())
        })
        .collect();
    let base = SchemaCore::default()
        .with_rows(base.iter().map(|(key, row)| (key, None, Some(row))))
        .unwrap();
    let fuzz = Fuzz::new("catalogue_load").seeds([program]).words(keys).words(CBOR_WORDS);
    fuzz.words([layout().encode()]).cost(3).run(|input| {
        let mut draw = Draw::new(input);
        let mut rows = Vec::new();
        while !draw.is_empty() && rows.len() < 16 {
            let key = Bytes::copy_from_slice(draw.short_bytes());
            let row = Bytes::copy_from_slice(draw.short_bytes());
            rows.push((key, (!row.is_empty()).then_some(row)));
        }
        for (key, _) in &rows {
            let _ = read_catalogue_key(ROWS, key);
        }
        let rows = rows.iter().map(|(key, row)| (key, None, row.as_ref()));
        let core = match base.with_rows(rows) {
            Ok(core) => core,
            Err(error) => return Verdict::refused(error.code()),
        };
        assert!(core.next_schema_id().0 > 0);
        for entry in core.iter() {
            assert!(Arc::ptr_eq(core.by_id(entry.id).unwrap(), entry));
            for (place, _) in entry.fields() {
                let _ = (core.field_at(place), entry.field_at(place));
            }
        }
        Verdict::accepted(core.len() as u64)
    });
}

/// Keys of rows: what is read of one is written in the same bytes.
#[test]
fn row_keys() {
    let record = [0x40, 0x55, 0x41, 0x00];
    let at = FieldAddress { schema: SchemaId(300), record: &record, field: FieldId(4) };
    let element = encode_element("a\0b").unwrap();
    let seeds = [
        ROWS.commit_part(CommitNumber(9), 0).1,
        ROWS.commit_part(CommitNumber(u64::MAX), 300).1,
        ROWS.record(SchemaId(3), &record),
        ROWS.history(SchemaId(3), &record, FieldId(2), CommitNumber(7)),
        ROWS.element(at, &element),
        ROWS.past_element(at, &element, CommitNumber(9)).slice(8..),
    ];
    Fuzz::new("row_keys").seeds(seeds).len_max(128).run(|input| {
        let mut class = 0;
        // The number of the space is that of the reader, which reads only keys that begin with it.
        let is_own = input.starts_with(&ROWS.all());
        if let Ok((number, part)) = ROWS.read_commit_part(input)
            && is_own
        {
            assert_eq!(ROWS.commit_part(number, part).1, input, "another form");
            class |= 1;
        }
        if let Ok((schema, rest)) = ROWS.read_record(input)
            && is_own
        {
            assert_eq!(ROWS.record(schema, rest), input, "another form");
            class |= 2;
        }
        if let Ok((element, birth)) = Rows::read_past_element(input) {
            let whole = ROWS.past_element(at, element, birth);
            assert!(whole.ends_with(input), "another form");
            class |= 4;
        }
        if let Ok(Some(_)) = read_catalogue_key(ROWS, input) {
            class |= 8;
        }
        if class == 0 { Verdict::refused("none") } else { Verdict::accepted(class) }
    });
}

/// How far the building of an index is.
#[test]
fn index_progress() {
    let pair = (Bytes::from_static(b"\x40a\0"), Bytes::new());
    let progress = [
        Progress::default(),
        Progress { records: 300, last: Some(pair.0.clone()), duplicates: vec![pair] },
    ];
    let fuzz = Fuzz::new("index_progress").seeds(progress.iter().map(Progress::encode));
    fuzz.words(CBOR_WORDS).run(|input| {
        let encode = |progress: &Progress| progress.encode().to_vec();
        match round_trip(input, |row| Progress::decode(row), encode) {
            Ok((progress, is_own)) => {
                Verdict::accepted(u64::from(is_own) + 2 * progress.duplicates.len().min(5) as u64)
            }
            Err(refused) => refused,
        }
    });
}

/// Entries lead back to their records, in the order of the values.
#[test]
fn index_entry() {
    let record = [0x40, 0x55, 0x41, 0x00];
    let seeds = stored_values().into_iter().map(|value| {
        [&[0, 4], &record[..], &[value.len().min(255).to_le_bytes()[0]], &value].concat()
    });
    Fuzz::new("index_entry").seeds(seeds).words(CBOR_WORDS).run(|input| {
        let mut draw = Draw::new(input);
        let unique = draw.bool();
        let record = Bytes::copy_from_slice(draw.short_bytes());
        let values = [draw.short_bytes(), draw.short_bytes()];
        let parts = [IndexPart::Cell(FieldId(1)), IndexPart::Key(0), IndexPart::Cell(FieldId(2))];
        let index = Index {
            id: IndexId(7),
            schema: SchemaName::parse("Flight").unwrap(),
            definition: IndexDefinition { fields: Vec::new(), unique },
            state: IndexState::Ready,
            records: SchemaId(3),
            parts: parts.into(),
        };
        let value = |field: FieldId| {
            values.get(field.0 as usize - 1).copied().filter(|value| !value.is_empty())
        };
        let entry = match index.entry(ROWS, &record, value) {
            Ok(entry) => entry,
            Err(error) => {
                assert!(error.to_string().len() < 200);
                return Verdict::refused("entry");
            }
        };
        let found = index.record_of(ROWS, &entry.key, &entry.row).unwrap();
        assert_eq!(found, &record[..]);
        assert_eq!(ROWS.read_index(&entry.key).unwrap().0, index.id);
        // Whatever stands in the keyspace, an entry is read or refused.
        let _ = index.record_of(ROWS, input, &record);
        Verdict::accepted(u64::from(entry.row.is_empty()))
    });
}

#[test]
fn atom_id() {
    let seeds = ["42.3.00c0ffee", "0.0.0", "18446744073709551615.4294967295.ffffffff", "7"];
    Fuzz::new("atom_id").seeds(seeds).words([".", "+", "-", "00", "FF"]).len_max(64).run(|input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(number) = text.parse::<CommitNumber>() {
            assert_eq!(number.to_string().parse(), Ok(number));
            return Verdict::accepted(1);
        }
        match text.parse::<AtomId>() {
            Ok(id) => {
                assert_eq!(id.to_string().parse(), Ok(id));
                let bytes = [
                    &id.commit.0.to_be_bytes()[..],
                    &id.ordinal.to_be_bytes(),
                    &id.origin.to_be_bytes(),
                ];
                assert_eq!(id.to_bytes()[..], bytes.concat());
                Verdict::accepted(2)
            }
            Err(error) => Verdict::refused(&error.to_string()),
        }
    });
}

/// A value as it is stored, for the examples of other bodies.
#[test]
fn the_examples_are_read() {
    for value in stored_values() {
        let mut again = Vec::new();
        encode_value(&decode_value(&value).unwrap(), &mut again);
        assert_eq!(again, value);
    }
    for (kind, row) in catalogue_rows() {
        assert_eq!(own_form(kind, b"key", &row).unwrap(), row, "{kind:?}");
    }
}
