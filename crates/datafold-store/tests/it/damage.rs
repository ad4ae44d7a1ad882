//! Files that were changed behind the store's back.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use datafold_store::{OpenOptions, Outcome, RedbStore, Store, StoreId};
use datafold_testkit::{DiskImage, Random, SimDisk, is_full_size, replay, seed_from_env};

use crate::harness::{disks, open_sim, options};
use crate::workload::Workload;

const ID: StoreId = StoreId([7; 16]);
const PAGE: usize = 4_096;

/// What becomes of a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// Every row is as it was written.
    Right,
    /// The store does not open.
    Refused,
    /// The store opens, and a read answers an error.
    ReadError,
    /// The store answers other rows than were written.
    Wrong,
    Panic,
}

fn closed_store(workload: &Workload, seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let store = open_sim(&disk, ID, true).unwrap();
    for batch in workload.batches() {
        assert!(matches!(store.apply(batch), Outcome::Accepted));
    }
    store.close().unwrap();
    disk
}

/// Opens a store with a damaged file, reads everything, writes, and closes.
fn answer(disk: &SimDisk, workload: &Workload, check_integrity: bool) -> Answer {
    let run = || {
        let options = OpenOptions { check_integrity, ..options(false) };
        let Ok(store) = RedbStore::open("sim:", disks(disk), ID, &options) else {
            return Answer::Refused;
        };
        let last = workload.batches().len() as u64 - 1;
        let answer = match workload.check(&store) {
            Ok(number) if number == last => Answer::Right,
            Err(error) if !error.contains("model has") => Answer::ReadError,
            _ => Answer::Wrong,
        };
        // Whatever this answers, it must not panic.
        let _ = workload.next(last).map(|batch| store.apply(batch));
        let _ = workload.check(&store);
        let _ = store.close();
        answer
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Answer::Panic)
}

/// Flipped bits, every fourth of them in the header; cut files; pages of zeros.
fn damages(bytes: &[u8], seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut random = Random::new(seed);
    let (flips, cuts) = if is_full_size() { (20_000, 2_000) } else { (1_500, 150) };
    let mut damages = Vec::new();
    for n in 0..flips {
        let at = random.below(if n % 4 == 0 { PAGE } else { bytes.len() });
        let bit = random.below(8);
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << bit;
        damages.push((format!("bit {bit} of byte {at} flipped"), damaged));
    }
    for _ in 0..cuts {
        let len = random.below(bytes.len());
        damages.push((format!("cut to {len} bytes"), bytes[..len].to_vec()));
    }
    for page in 0..bytes.len() / PAGE {
        let mut damaged = bytes.to_vec();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0);
        damages.push((format!("page {page} zeroed"), damaged));
    }
    damages
}

fn sweep(check_integrity: bool, is_allowed: impl Fn(&str, Answer) -> bool) {
    let seed = seed_from_env(0xDA_3A6E);
    let workload = Workload::new(seed, 31);
    let mut before_last = Workload::new(seed, 31);
    before_last.forget_last_batch();
    let closed = closed_store(&before_last, seed);
    let mut counts = BTreeMap::<Answer, usize>::new();
    let mut failures = Vec::new();
    for (damage, bytes) in damages(&closed.bytes(), seed) {
        let mut images = closed.images();
        images.insert(0, DiskImage::from_bytes(&bytes));
        let disk = SimDisk::from_images(images, 1);
        let answer = answer(&disk, &workload, check_integrity);
        *counts.entry(answer).or_default() += 1;
        if !is_allowed(&damage, answer) {
            failures.push(format!("{damage}: {answer:?}"));
        }
    }
    eprintln!("damaged files, checked when opened: {check_integrity}, answers: {counts:?}");
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), replay(seed));
    // The canary: damage that nobody notices would make the sweep worthless.
    assert!(counts[&Answer::Refused] > 100 && counts[&Answer::Right] > 100);
}

#[test]
fn a_check_when_opening_finds_all_damage() {
    sweep(true, |_, answer| matches!(answer, Answer::Right | Answer::Refused));
}

/// redb trusts its pages when it opens a file that was closed cleanly, so rows may be wrong;
/// that is what the check is for. It must not panic, and a cut file is always noticed.
#[test]
fn damage_never_panics_and_a_cut_file_is_refused() {
    sweep(false, |damage, answer| match answer {
        Answer::Panic => false,
        answer => answer == Answer::Refused || !damage.starts_with("cut to"),
    });
}
