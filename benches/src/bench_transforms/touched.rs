//! A mutation of a field that a transform of the same record reads, and the same one without the
//! transform: one whose result changes each time, and one whose result stays what it is. For
//! comparison a mutation that writes by hand what the first transform computes. In memory, where a
//! commit costs no sync.

use datafold::FoldDb;
use datafold::engine::{Mutation, MutationRequest, RecordInput};
use datafold::model::{SchemaName, Value};

use super::turns::{TURN, in_turns, ratio, told, values};
use super::{approve, verify_derived};
use crate::Size;
use crate::fixture::Random;
use crate::table::Table;

const RECORDS: u64 = 10_000;

/// What is done to `result`, the field beside the one that is written.
const SIDES: [Option<&str>; 4] = [Some("count * 2"), Some("count < 0"), None, None];
const CHANGES: usize = 0;
const STAYS: usize = 1;
const PLAIN: usize = 2;
const BY_HAND: usize = 3;

pub(super) fn run(size: Size, table: &mut Table) {
    let stores = SIDES.map(store);
    let mut randoms = [Random(1), Random(1), Random(1), Random(1)];
    let sides: Vec<&FoldDb> = stores.iter().collect();
    let times = in_turns(&sides, 20 * size.rounds, |side, _| {
        (0..TURN).map(|_| update(&mut randoms[side], side == BY_HAND)).collect()
    });
    let mut add = |what: &str, ours: usize, theirs: usize, beside: &str, goal: &str| {
        let (ours, theirs) = (&times[ours], &times[theirs]);
        let beside = format!("{} {beside}", told(theirs));
        table.add(what, told(ours), beside, ratio(ours, theirs), goal);
    };
    let plain = "without the transform";
    add("update with a transform of its record", CHANGES, PLAIN, plain, "at most 1.3");
    add("that, whose result stays the same", STAYS, PLAIN, plain, "at most 1.3");
    add("that, beside one that writes the result", CHANGES, BY_HAND, "by hand", "for comparison");
    for (db, logic) in stores.iter().zip(SIDES) {
        let expected = if logic.is_some() { RECORDS } else { 0 };
        assert!(verify_derived(db) >= expected);
    }
}

fn update(random: &mut Random, is_by_hand: bool) -> MutationRequest {
    let (id, count) = (random.below(RECORDS), random.below(1_000_000));
    let mut record = values([("id", id), ("count", count)]);
    if is_by_hand {
        record.extend(values([("result", count * 2)]));
    }
    Mutation::update(item(), vec![record]).into()
}

fn item() -> SchemaName {
    SchemaName::parse("Item").unwrap()
}

fn store(logic: Option<&str>) -> FoldDb {
    let db = FoldDb::create("memory:").unwrap();
    let result = logic.map_or("{}".to_owned(), |logic| {
        format!(r#"{{"writable": false, "transform": {{"logic": "{logic}"}}}}"#)
    });
    let schema = format!(
        r#"{{"name": "Item", "key": ["id"], "fields": {{
            "id": {{"value": {{"type": "integer"}}}}, "count": {{"value": {{"type": "integer"}}}},
            "text": {{"value": {{"type": "string"}}}}, "result": {result}}}}}"#
    );
    approve(&db, &schema);
    let ids: Vec<u64> = (0..RECORDS).collect();
    for chunk in ids.chunks(1_000) {
        let record = |id: &u64| -> RecordInput {
            let mut record = values([("id", *id), ("count", 0)]);
            if logic.is_none() {
                record.extend(values([("result", 0)]));
            }
            record.insert("text".into(), Value::Text(format!("{id:0>100}")));
            record
        };
        let records = chunk.iter().map(record).collect();
        db.mutate(&Mutation::create(item(), records).into()).unwrap();
    }
    db
}
