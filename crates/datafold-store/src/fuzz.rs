//! Fuzz bodies of keys, URLs, identities, notes and head rows. Each has the name of its target.

use std::cmp::Ordering;
use std::path::Path;

use datafold_testkit::{Draw, Fuzz, Verdict};

use crate::encoding::{KeyError, KeyPart, KeyReader, KeyWriter, exact_int};
use crate::folder::Note;
use crate::identity::{Identity, identity_row};
use crate::{FORMAT_VERSION, Head, StoreError, StoreId, StoreUrl};

fn write(part: &KeyPart) -> Vec<u8> {
    let mut key = KeyWriter::new();
    key.part(part).unwrap();
    key.into_vec()
}

/// Keys of the examples of `docs/format.md`, one behind the other.
fn keys() -> Vec<Vec<u8>> {
    let text = |text: &str| KeyPart::Text(text.into());
    let parts = [
        KeyPart::Null,
        KeyPart::Bool(false),
        KeyPart::Bool(true),
        KeyPart::Int(0),
        KeyPart::Int(1545),
        KeyPart::Int(-1545),
        KeyPart::Int(i64::MIN),
        KeyPart::Int(i64::MAX),
        KeyPart::Float(0.5),
        KeyPart::Float(-10.5),
        KeyPart::Float(1e300),
        KeyPart::Float(-1e300),
        KeyPart::Float(4_503_599_627_370_495.5),
        KeyPart::Time(1_357_017_300_000_000),
        KeyPart::Time(-1),
        text(""),
        text("UA"),
        text("a\0b"),
        text("é\0"),
    ];
    let mut keys: Vec<_> = parts.iter().map(write).collect();
    keys.push(keys.concat());
    keys
}

fn code(error: KeyError) -> Verdict {
    Verdict::refused(&error.to_string())
}

/// Whatever is read as parts is what would be written of them: a part has one form.
#[test]
fn key_parts() {
    Fuzz::new("key_parts").seeds(keys()).words(keys()).run(|input| {
        let mut reader = KeyReader::new(input);
        let mut kinds = 0;
        while !reader.is_empty() {
            let before = reader.rest();
            let part = match reader.part() {
                Ok(part) => part,
                Err(error) => return code(error),
            };
            let read = &before[..before.len() - reader.rest().len()];
            assert_eq!(write(&part), read, "{part:?} has another form");
            let mut skipping = KeyReader::new(before);
            assert_eq!(skipping.skip_parts(1).unwrap(), read, "skipped");
            let mut text = "before".to_owned();
            let as_text = KeyReader::new(before).text_into(&mut text);
            match part {
                KeyPart::Text(part) => assert_eq!((as_text, text), (Ok(()), part)),
                _ => assert!(as_text.is_err()),
            }
            kinds |= 1 << (read[0] >> 3);
        }
        Verdict::accepted(kinds)
    });
}

/// What is read as ids and numbers is what would be written.
#[test]
fn key_ids() {
    let mut key = KeyWriter::new();
    for id in [0, 1, 0xF7, 0xF8, 0xFF, 256, 70_000, u32::MAX] {
        key.id(id);
    }
    key.ascending(42).descending(42);
    Fuzz::new("key_ids").seeds([key.as_slice()]).run(|input| {
        let mut reader = KeyReader::new(input);
        while reader.rest().len() > 16 {
            let before = reader.rest();
            match reader.id() {
                Ok(id) => {
                    let mut again = KeyWriter::new();
                    again.id(id);
                    assert!(before.starts_with(again.as_slice()), "{id} has another form");
                    let read = before.len() - reader.rest().len();
                    assert_eq!(again.as_slice().len(), read, "{id} has another form");
                }
                Err(error) => return code(error),
            }
        }
        let before = reader.rest();
        if let (Ok(up), Ok(down)) = (reader.ascending(), reader.descending()) {
            let mut again = KeyWriter::new();
            again.ascending(up).descending(down);
            assert_eq!(before, again.as_slice());
        }
        true.into()
    });
}

fn draw_part(draw: &mut Draw<'_>) -> KeyPart {
    match draw.below(10) {
        0 => KeyPart::Null,
        1 => KeyPart::Bool(draw.bool()),
        2 => KeyPart::Int(draw.i64()),
        3 => KeyPart::Int(i64::from(draw.u8()) - 128),
        4 => KeyPart::Int(draw.i64() >> (draw.u8() & 63)),
        5 => KeyPart::Float(draw.f64()),
        6 => KeyPart::Float((i64::from(draw.u8()) - 128) as f64 / 4.0),
        7 => KeyPart::Float((draw.i64() >> (draw.u8() & 63)) as f64),
        8 => KeyPart::Time(draw.i64()),
        _ => KeyPart::Text(draw.text()),
    }
}

/// The order of numbers, by comparing whole parts and fractions as wide integers.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn order_of_numbers(a: &KeyPart, b: &KeyPart) -> Option<Ordering> {
    let wide = |part: &KeyPart| match part {
        KeyPart::Int(int) => Some((i128::from(*int), 0.0)),
        KeyPart::Float(float) if float.abs() < 1e30 => Some((float.trunc() as i128, float.fract())),
        _ => None,
    };
    match (a, b) {
        (KeyPart::Float(a), KeyPart::Float(b)) => a.partial_cmp(b),
        _ => {
            let ((a, c), (b, d)) = (wide(a)?, wide(b)?);
            Some(a.cmp(&b).then(c.partial_cmp(&d)?))
        }
    }
}

fn order(a: &KeyPart, b: &KeyPart) -> Option<Ordering> {
    let rank = |part: &KeyPart| match part {
        KeyPart::Null => 0,
        KeyPart::Bool(_) => 1,
        KeyPart::Int(_) | KeyPart::Float(_) => 2,
        KeyPart::Time(_) => 3,
        KeyPart::Text(_) => 4,
    };
    match (a, b) {
        (KeyPart::Bool(a), KeyPart::Bool(b)) => Some(a.cmp(b)),
        (KeyPart::Time(a), KeyPart::Time(b)) => Some(a.cmp(b)),
        (KeyPart::Text(a), KeyPart::Text(b)) => Some(a.cmp(b)),
        _ if rank(a) != rank(b) => Some(rank(a).cmp(&rank(b))),
        (KeyPart::Null, _) => Some(Ordering::Equal),
        _ => order_of_numbers(a, b),
    }
}

/// The bytes of parts sort as the parts do, ids and numbers as numbers, the descending ones the
/// other way round.
#[test]
fn key_order() {
    let seeds = [&[2, 0, 0, 0, 0, 0, 0, 0, 5, 3, 133][..], b"\x09\x02a\0\x09\x03a\0b", &[5; 20]];
    Fuzz::new("key_order").seeds(seeds).words(keys()).run(|input| {
        let mut draw = Draw::new(input);
        let (a, b) = (draw_part(&mut draw), draw_part(&mut draw));
        let finite = |part: &KeyPart| !matches!(part, KeyPart::Float(f) if !f.is_finite());
        if !finite(&a) || !finite(&b) {
            for part in [&a, &b] {
                assert_eq!(KeyWriter::new().part(part).is_err(), !finite(part));
            }
            return Verdict::refused("not finite");
        }
        let (x, y) = (write(&a), write(&b));
        // A part that goes on behind the end of a text is what must not change the order.
        for tail in [&[][..], &[0], &write(&KeyPart::Text("x".into())), &[0xF8, 0xFF]] {
            let (x, y) = ([&x[..], tail].concat(), [&y[..], tail].concat());
            if let Some(order) = order(&a, &b) {
                assert_eq!(x.cmp(&y), order, "{a:?} and {b:?}");
            }
        }
        for (part, bytes) in [(&a, &x), (&b, &y)] {
            let read = KeyReader::new(bytes).part().unwrap();
            match part {
                KeyPart::Float(f) if exact_int(*f).is_some() => {
                    assert_eq!(read, KeyPart::Int(exact_int(*f).unwrap()));
                }
                part => assert_eq!(&read, part),
            }
        }
        let (m, n) = (draw.u32(), draw.u32());
        let number = |write: &dyn Fn(&mut KeyWriter)| {
            let mut key = KeyWriter::new();
            write(&mut key);
            key.into_vec()
        };
        let id = |n| number(&|key| _ = key.id(n));
        let up = |n| number(&|key| _ = key.ascending(u64::from(n)));
        let down = |n| number(&|key| _ = key.descending(u64::from(n)));
        assert_eq!(id(m).cmp(&id(n)), m.cmp(&n));
        assert_eq!(up(m).cmp(&up(n)), m.cmp(&n));
        assert_eq!(down(m).cmp(&down(n)), n.cmp(&m));
        Verdict::accepted(u64::from(x[0]) << 8 | u64::from(y[0]))
    });
}

#[test]
fn store_url() {
    let urls = ["memory:", "redb:/a/b", "sled:x:y", "./a:b", "C:\\data", "mysql://h/db", "r3:x"];
    Fuzz::new("store_url").seeds(urls).words(["redb:", "memory:", "sled:", "://", ":"]).run(
        |input| {
            let text = String::from_utf8_lossy(input);
            match StoreUrl::parse(&text) {
                Ok(StoreUrl::Memory) => assert_eq!(text, "memory:"),
                Ok(StoreUrl::Redb(path)) => {
                    assert_eq!(format!("redb:{}", path.display()), text);
                    assert!(!path.as_os_str().is_empty());
                }
                Ok(StoreUrl::Sled(path)) => {
                    assert_eq!(format!("sled:{}", path.display()), text);
                    assert!(!path.as_os_str().is_empty());
                }
                Ok(StoreUrl::Folder(path)) => {
                    assert_eq!(path, Path::new(&*text));
                    assert!(!text.starts_with("memory:") && !text.is_empty());
                }
                Err(error) => {
                    assert_eq!(error.code(), "invalid_store_url");
                    // The text and its scheme are told.
                    assert!(error.to_string().len() < 2 * text.len() + 200);
                    return Verdict::refused("invalid");
                }
            }
            Verdict::accepted(text.len() as u64 & 3)
        },
    );
}

#[test]
fn identity() {
    let row = identity_row(StoreId([7; 16]));
    let id = StoreId([0xA5; 16]).to_string();
    let seeds = [&row[..], id.as_bytes(), id.to_uppercase().as_bytes()].map(<[u8]>::to_vec);
    Fuzz::new("identity").seeds(seeds).run(|input| {
        if let Ok(text) = std::str::from_utf8(input)
            && let Some(id) = StoreId::parse(text)
        {
            // Capital digits are read too.
            assert_eq!(id.to_string(), text.to_lowercase());
            return Verdict::accepted(1);
        }
        match Identity::decode(input) {
            Ok(Identity { id, version }) => {
                let again = identity_row(id);
                assert_eq!(input.len(), again.len(), "bytes behind the row");
                assert_eq!((&input[..8], &input[12..]), (&again[..8], &again[12..]));
                assert!(version <= FORMAT_VERSION);
                Verdict::accepted(u64::from(version) + 2)
            }
            Err(error) => Verdict::refused(error.code()),
        }
    });
}

#[test]
fn head_row() {
    Fuzz::new("head_row").seeds([[0x81; 24], [0; 24]]).run(|input| {
        match Head::decode(input.to_vec()) {
            Ok(Head { number, token, payload }) => {
                let again = [&number.to_be_bytes()[..], &token, &payload].concat();
                assert_eq!(again, input);
                Verdict::accepted(payload.len() as u64 & 7)
            }
            Err(error) => Verdict::refused(error.code()),
        }
    });
}

#[test]
fn store_note() {
    let note = |version| Note { id: StoreId([7; 16]), engine: "redb".into(), version };
    let words = ["\"format_version\"", "\"store_id\"", "\"engine\"", "null", "[", "{", "\\u0000"];
    Fuzz::new("store_note").seeds([note(2).text(), note(1).text()]).words(words).run(|input| {
        let text = String::from_utf8_lossy(input);
        match Note::parse(Path::new("STORE.json"), &text) {
            Ok(note) => {
                let again = Note::parse(Path::new("STORE.json"), &note.text()).unwrap();
                assert_eq!(again, note);
                Verdict::accepted(u64::from(note.version))
            }
            Err(StoreError::UnknownFormat { .. }) => Verdict::refused("format"),
            Err(error) => Verdict::refused(error.code()),
        }
    });
}
