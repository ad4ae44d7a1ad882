//! A mutation that touches no transform: with 10,000 of them registered, and with none.
//!
//! The stores have the same 500 schemas of 20 fields besides the written ones, with the same
//! values: computed in one, plain in the other. 20 of the transforms are in the schema that is
//! written, and half of all others look up a field of its records, but none reads the field that
//! is written. In a third store only those of other schemas are computed.
//!
//! Each computed value has a writer of its own, which the row of its record tells, so that such
//! rows are longer. In a fourth store no field is computed, and each was written in a commit of its
//! own, so that its rows are as long. A fifth one, the same as that without transforms, shows how
//! much the figures of equal stores differ. All are in memory, where a commit costs no sync.

use std::fmt::Write as _;

use datafold::FoldDb;
use datafold::engine::{Mutation, MutationRequest, RecordInput};
use datafold::model::SchemaName;

use super::turns::{TURN, in_turns, ratio, told, values};
use super::{approve, verify_derived};
use crate::Size;
use crate::fixture::Random;
use crate::table::Table;

const SCHEMAS: usize = 500;
const FIELDS: usize = 20;
const RECORDS: u64 = 10_000;

/// Which transforms a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Computed {
    /// None; all fields of a record are written by the commit that creates it.
    Nothing,
    /// None; each field is written by a commit of its own.
    Apart,
    /// Those of the schemas that are not written.
    Others,
    All,
}

const SIDES: [Computed; 5] =
    [Computed::All, Computed::Others, Computed::Nothing, Computed::Apart, Computed::Nothing];

pub(super) fn run(size: Size, table: &mut Table) {
    let stores = SIDES.map(store);
    let sides: Vec<&FoldDb> = stores.iter().collect();
    let mut randoms = SIDES.map(|_| Random(1));
    let times = in_turns(&sides, 20 * size.rounds, |side, _| {
        (0..TURN).map(|_| update(&mut randoms[side])).collect()
    });
    let mut add = |what: &str, ours: usize, theirs: usize, beside: &str, goal: &str| {
        let (ours, theirs) = (&times[ours], &times[theirs]);
        let beside = format!("{} {beside}", told(theirs));
        table.add(what, told(ours), beside, ratio(ours, theirs), goal);
    };
    let (all, others) = (SCHEMAS * FIELDS, (SCHEMAS - 1) * FIELDS);
    let what = format!("update that touches no transform, {all} of them beside none");
    add(&what, 0, 2, "without transforms", "at most 1.05");
    let what = format!("that, {others} of them, all in other schemas");
    add(&what, 1, 2, "without transforms", "at most 1.05");
    let apart = "without, fields written one by one";
    add("that, beside rows that are as long", 0, 3, apart, "for comparison");
    add("that, two stores without transforms", 4, 2, "without transforms", "for comparison");
    assert_eq!(verify_derived(&stores[0]), RECORDS * FIELDS as u64);
}

fn update(random: &mut Random) -> MutationRequest {
    let record = values([("id", random.below(RECORDS)), ("count", random.below(1_000_000))]);
    Mutation::update(item(), vec![record]).into()
}

fn item() -> SchemaName {
    SchemaName::parse("Item").unwrap()
}

/// A store with the records of `Item`, and all schemas.
fn store(computed: Computed) -> FoldDb {
    let db = FoldDb::create("memory:").unwrap();
    approve(&db, &schema("Item", computed == Computed::All, |at| format!("other + {at}")));
    for other in 1..SCHEMAS {
        let logic = |at: usize| match at % 2 {
            0 => format!("other + {at}"),
            _ => format!("Item[count].other + {at}"),
        };
        approve(&db, &schema(&format!("Other{other}"), computed >= Computed::Others, logic));
    }
    let ids: Vec<u64> = (0..RECORDS).collect();
    for chunk in ids.chunks(500) {
        let with = |fields: &dyn Fn(&u64) -> RecordInput| -> Vec<RecordInput> {
            let record = |id: &u64| values([("id", *id)]).into_iter().chain(fields(id)).collect();
            chunk.iter().map(record).collect()
        };
        let plain = |id: &u64, at: u64| values([(format!("c{at}").as_str(), id + at)]);
        let all = 0..FIELDS as u64;
        let records = with(&|id| {
            let mut record = values([("count", 0), ("other", *id)]);
            if matches!(computed, Computed::Nothing | Computed::Others) {
                record.extend(all.clone().flat_map(|at| plain(id, at)));
            }
            record
        });
        db.mutate(&Mutation::create(item(), records).into()).unwrap();
        if computed == Computed::Apart {
            for at in all {
                let records = with(&|id| plain(id, at));
                db.mutate(&Mutation::update(item(), records).into()).unwrap();
            }
        }
    }
    db
}

fn schema(name: &str, is_computed: bool, logic: impl Fn(usize) -> String) -> String {
    let mut fields = String::new();
    for at in 0..FIELDS {
        let transform =
            format!(r#", "writable": false, "transform": {{"logic": "{}"}}"#, logic(at));
        let transform = if is_computed { &transform } else { "" };
        let value = r#""value": {"type": ["integer", "null"]}"#;
        write!(fields, r#", "c{at}": {{{value}{transform}}}"#).unwrap();
    }
    format!(
        r#"{{"name": "{name}", "key": ["id"], "fields": {{
            "id": {{"value": {{"type": "integer"}}}}, "count": {{"value": {{"type": "integer"}}}},
            "other": {{"value": {{"type": "integer"}}}}{fields}}}}}"#
    )
}
