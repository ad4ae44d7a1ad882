//! Fuzz bodies of what the engine of `sled:` keeps beside the rows.

use std::ops::Bound;

use datafold_testkit::{Draw, Fuzz, Verdict};

use super::rows::{GENERATION_KEY, rows_of, tagged, tagged_bounds};
use super::seal::Seal;
use crate::{Batch, Head, Keyspace, SpaceId};

#[test]
fn sled_seal() {
    let seals = [
        Seal { generation: 7, sum: Some(u128::MAX - 5) },
        Seal { generation: u64::MAX, sum: None },
        Seal { generation: 0, sum: Some(3) },
    ];
    let words = ["\"rows_sum\"", "\"generation\"", "null", "+", "-0", "1e3"];
    Fuzz::new("sled_seal").seeds(seals.map(|seal| seal.text())).words(words).run(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return Verdict::refused("text") };
        let Some(seal) = Seal::parse(text) else { return Verdict::refused("none") };
        assert_eq!(Seal::parse(&seal.text()), Some(seal));
        if let Some(sum) = seal.sum {
            let digits = format!("{sum:032x}");
            assert!(text.to_lowercase().contains(&digits), "{sum:x} is not what stands there");
        }
        Verdict::accepted(u64::from(seal.sum.is_some()))
    });
}

/// Keys with tags sort as keyspaces and keys do, and stay inside the bounds of their keyspace.
#[test]
fn sled_rows() {
    let seeds = [&[0, 1, b'a', 1, 2, b'a', b'b'][..], &[6, 0, 0, 0], &[0, 1, 1, 0, 1, 1, 9]];
    Fuzz::new("sled_rows").seeds(seeds).run(|input| {
        let mut draw = Draw::new(input);
        let mut draw_row = || (Keyspace::ALL[draw.below(7)], draw.short_bytes().to_vec());
        let (a, b) = (draw_row(), draw_row());
        let (x, y) = (tagged(a.0, &a.1), tagged(b.0, &b.1));
        assert_eq!(x.cmp(&y), a.cmp(&b));
        assert!(x.as_slice() > GENERATION_KEY);
        let whole = tagged_bounds(a.0, (Bound::Unbounded, Bound::Unbounded));
        let is_inside = |key: &Vec<u8>| {
            let (Bound::Included(lower), Bound::Excluded(upper)) = &whole else { panic!() };
            lower <= key && key < upper
        };
        assert!(is_inside(&x));
        assert_eq!(is_inside(&y), a.0 == b.0);
        let space = SpaceId(draw.u32());
        let mut batch = Batch::new(space, 1, draw.u64(), [3; 16]);
        batch.put(a.0, a.1.clone(), &b"value"[..]);
        batch.delete(b.0, b.1.clone());
        let rows = rows_of(&batch);
        let head = tagged(Keyspace::Head, &Head::key(space));
        assert_eq!(rows.iter().filter(|(key, _)| *key == head).count(), 1);
        assert_eq!(rows.iter().filter(|(key, _)| *key == y).count(), 1);
        Verdict::accepted(a.0 as u64 * 8 + b.0 as u64)
    });
}
