//! The change feed: what it tells is what happened.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use datafold::data_layer::{CommitNumber, ReadRepository};
use datafold::engine::{Change, ChangeKind, ChangesQuery, CommitChanges, Subscription};
use datafold::model::{FieldKind, Value};
use datafold::{FoldDb, MutationRequest};
use datafold_testkit::{ApplyFault, Random, is_full_size, seed_from_env};

use crate::harness::{Place, approve, clock, faulty, fold_db, memory, mutate, name};
use crate::node_model::{Cells, Key};
use crate::timeline::{State, Timeline, run_programs};

const AT_ONCE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn all() -> ChangesQuery {
    ChangesQuery { before: true, ..ChangesQuery::default() }
}

fn key_of(change: &Change) -> (String, Key) {
    let key = Key(change.key.as_ref().unwrap().values().unwrap());
    (change.schema.as_ref().unwrap().to_string(), key)
}

/// What a change says that there was before must have been there.
fn check_before(
    timeline: &Timeline,
    change: &Change,
    record: Option<&Cells>,
) -> Result<(), String> {
    let Some(found) = &change.before else { return Err(format!("{change:?} tells no before")) };
    let expected = match (&change.field, record) {
        (Some(field), Some(cells)) => {
            let id = (field.to_string(), change.element.clone());
            cells.get(&id).cloned().unwrap_or_default()
        }
        (None, Some(cells)) => {
            let at = timeline.model.schema(change.schema.as_ref().unwrap().as_str());
            let schema = &timeline.schemas[at];
            let is_single = |field: &str| schema.field(field).unwrap().kind == FieldKind::Single;
            let single = cells.iter().filter(|((field, _), _)| is_single(field));
            single.map(|((field, _), value)| (field.clone(), value.clone())).collect()
        }
        (_, None) => Value::Null,
    };
    if *found == expected { Ok(()) } else { Err(format!("{change:?} was {expected:?}")) }
}

/// Builds the records anew from what is told; they must be the model's behind each commit.
fn rebuild(timeline: &Timeline, commits: &[CommitChanges]) -> Result<(), String> {
    let mut state = State::new();
    for (commit, number) in commits.iter().zip(1..) {
        if commit.commit.number.0 != number {
            return Err(format!("commit {} stands at {number}", commit.commit.number));
        }
        let atoms = commit.changes.iter().filter(|change| change.atom.is_some()).count();
        if atoms != commit.commit.atoms as usize {
            return Err(format!("commit {number} wrote {} atoms", commit.commit.atoms));
        }
        let start = state.clone();
        for change in commit.changes.iter().filter(|change| change.key.is_some()) {
            let place = key_of(change);
            check_before(timeline, change, start.get(&place))?;
            let id = change.field.as_ref().map(|field| (field.to_string(), change.element.clone()));
            let wrong = || format!("{change:?} of a record that does not exist");
            match (change.kind, id) {
                (ChangeKind::Created, None) => {
                    state.insert(place, Cells::new());
                }
                (ChangeKind::Deleted, None) => {
                    state.remove(&place).ok_or_else(wrong)?;
                }
                (ChangeKind::Set, Some(id)) => {
                    state.get_mut(&place).ok_or_else(wrong)?.insert(id, change.value.clone());
                }
                (ChangeKind::Removed, Some(id)) => {
                    state.get_mut(&place).ok_or_else(wrong)?.remove(&id).ok_or_else(wrong)?;
                }
                _ => return Err(format!("{change:?} makes no sense")),
            }
        }
        if state != timeline.state_at(number) {
            return Err(format!("the state behind commit {number} is another one"));
        }
    }
    match commits.len() as u64 == timeline.model.head() {
        true => Ok(()),
        false => Err("commits are missing".into()),
    }
}

/// Each atom that is told is found by its id, with the same value.
fn check_atoms(db: &FoldDb, commits: &[CommitChanges], random: &mut Random) {
    let changes: Vec<_> = commits.iter().flat_map(|commit| &commit.changes).collect();
    for _ in 0..20 {
        let Some(change) = random.choose(&changes) else { return };
        let Some(id) = change.atom else { continue };
        let atom = db.pool().atoms().get(&id).unwrap().unwrap();
        let shape = (&atom.cell.field, &atom.cell.element, &atom.value, Some(&atom.cell.key));
        assert_eq!(shape, (&change.field, &change.element, &change.value, change.key.as_ref()));
        assert_eq!(Some(&atom.cell.schema), change.schema.as_ref());
    }
}

/// The same in pages, and of some schemas only.
fn check_pages(timeline: &mut Timeline, commits: &[CommitChanges]) {
    let limit = 1 + timeline.random.below(40);
    let from = timeline.moment();
    let schema = timeline.random.choose(&timeline.schemas).unwrap().name.clone();
    let schemas = if timeline.random.one_in(2) { vec![schema] } else { Vec::new() };
    let wanted = |change: &&Change| {
        let schema = change.schema.as_ref();
        schemas.is_empty() || schema.is_some_and(|schema| schemas.contains(schema))
    };
    let mut expected: Vec<_> = commits.to_vec();
    for commit in &mut expected {
        commit.changes.retain(|change| wanted(&change));
    }
    let is_shown = |commit: &CommitChanges| {
        commit.commit.number.0 >= from && (schemas.is_empty() || !commit.changes.is_empty())
    };
    expected.retain(is_shown);
    let mut query = ChangesQuery { from: CommitNumber(from), limit: Some(limit), ..all() };
    query.schemas = schemas;
    let (mut found, head) = (Vec::new(), timeline.model.head());
    while query.from.0 <= head {
        let page = timeline.db.changes(&query).unwrap();
        let count = |page: &[CommitChanges]| page.iter().map(|c| c.changes.len()).sum::<usize>();
        let (_, but_last) = page.commits.split_last().unzip();
        assert!(count(but_last.unwrap_or_default()) < limit, "a page goes on behind its limit");
        assert!(page.next > query.from);
        query.from = page.next;
        found.extend(page.commits);
    }
    assert_eq!(found, expected, "{query:?}");
}

fn program(seed: u64, place: Place) {
    let mut timeline = Timeline::new(seed, place);
    timeline.run(if is_full_size() { 200 } else { 50 });
    for _ in 0..2 {
        let answer = timeline.db.changes(&all()).unwrap();
        assert_eq!(answer.next.0, timeline.model.head() + 1);
        rebuild(&timeline, &answer.commits).unwrap();
        check_pages(&mut timeline, &answer.commits);
        let db = timeline.db.clone();
        check_atoms(&db, &answer.commits, &mut timeline.random);
        drop(db);
        timeline.reopen();
    }
}

#[test]
fn the_state_behind_each_commit_is_rebuilt_from_its_changes() {
    run_programs(0xC4A6, program);
}

/// A fault, and what plants it.
type Planted<'p> = (&'p str, &'p dyn Fn(&mut Vec<CommitChanges>));

/// Planted faults of the feed; the rebuilding must find each.
#[test]
fn what_is_told_wrongly_is_found() {
    let mut timeline = Timeline::new(seed_from_env(0xCA4A), Place::memory());
    timeline.run(80);
    let told = timeline.db.changes(&all()).unwrap().commits;
    rebuild(&timeline, &told).unwrap();
    let planted: &[Planted<'_>] = &[
        ("a commit is missing", &|told| drop(told.remove(20))),
        ("a commit is told twice", &|told| told.insert(20, told[20].clone())),
        ("two commits change places", &|told| told.swap(30, 31)),
        ("the last commit is missing", &|told| drop(told.pop())),
        ("a change is missing", &|told| {
            let change = told.iter_mut().rev().find(|commit| !commit.changes.is_empty()).unwrap();
            change.changes.pop();
        }),
        ("a value is the one of later", &|told| {
            let change = first(told, |change| change.kind == ChangeKind::Set);
            change.value = Value::from("of later");
        }),
        ("a new life keeps what the old one had", &|told| {
            for commit in told {
                commit.changes.retain(|change| change.kind != ChangeKind::Created);
            }
        }),
        ("a removal is told as a value", &|told| {
            first(told, |change| change.kind == ChangeKind::Removed).kind = ChangeKind::Set;
        }),
        ("the value before is the one behind", &|told| {
            let differs = |change: &Change| change.before.as_ref() != Some(&change.value);
            let change = first(told, |change| change.kind == ChangeKind::Set && differs(change));
            change.before = Some(change.value.clone());
        }),
        ("another record's", &|told| {
            let change = first(told, |change| change.kind == ChangeKind::Set);
            change.schema = Some(name("Tag"));
        }),
    ];
    for (fault, plant) in planted {
        let mut wrong = told.clone();
        plant(&mut wrong);
        let outcome = catch_unwind(AssertUnwindSafe(|| rebuild(&timeline, &wrong)));
        assert!(!matches!(outcome, Ok(Ok(()))), "{fault} was not found");
    }
}

fn first(told: &mut [CommitChanges], is_it: impl Fn(&Change) -> bool) -> &mut Change {
    let mut changes = told.iter_mut().flat_map(|commit| &mut commit.changes);
    changes.find(|change| is_it(change)).unwrap()
}

/// A commit as one line.
fn line(commit: &CommitChanges) -> String {
    let mut line = format!("{}", commit.commit.number);
    for change in &commit.changes {
        line += &format!(" {}", change.kind);
        line += &change.schema.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        line += &change.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
        line += &change.field.as_ref().map(|field| format!(".{field}")).unwrap_or_default();
        line += &change.element.as_ref().map(|id| format!("[{id}]")).unwrap_or_default();
        if !change.value.is_null() {
            line += &format!("={}", change.value.to_json());
        }
        if let Some(before) = &change.before {
            line += &format!("<{}", before.to_json());
        }
        line += ";";
    }
    line
}

fn lines(db: &FoldDb, query: &ChangesQuery) -> Vec<String> {
    db.changes(query).unwrap().commits.iter().map(line).collect()
}

const ITEM: &str = r#"{"name": "Item", "key": ["id"], "indexes": [{"fields": ["n"]}], "fields": {
    "id": {"value": {"type": "string"}}, "n": {}, "tags": {"field_type": "Collection"}}}"#;

fn items() -> FoldDb {
    let db = memory();
    approve(&db, ITEM);
    for request in [
        r#"{"mutation": "create", "schema": "Item",
            "records": [{"id": "a", "n": 1, "tags": {"x": 1, "y": 2}}]}"#,
        r#"{"transaction": [{"mutation": "delete", "schema": "Item", "keys": ["a"]},
            {"mutation": "create", "schema": "Item", "records": [{"id": "a", "n": 2}]}]}"#,
        r#"{"mutation": "update", "schema": "Item", "records": [{"id": "a", "n": null}]}"#,
        r#"{"mutation": "put", "schema": "Item", "key": "a", "field": "tags",
            "elements": {"x": 5}}"#,
        r#"{"mutation": "delete", "schema": "Item", "keys": ["a"]}"#,
    ] {
        mutate(&db, request).unwrap();
    }
    db
}

#[test]
fn changes_are_told_with_lives_elements_and_states() {
    let db = items();
    assert_eq!(
        lines(&db, &all()),
        [
            "1 loaded Item;",
            "2 state Item=\"Approved\"; index Item;",
            "3 created Item [\"a\"]<null; set Item [\"a\"].n=1<null; \
             set Item [\"a\"].tags[x]=1<null; set Item [\"a\"].tags[y]=2<null;",
            "4 created Item [\"a\"]<{\"n\":1}; set Item [\"a\"].n=2<1;",
            "5 removed Item [\"a\"].n<2;",
            "6 set Item [\"a\"].tags[x]=5<null;",
            "7 deleted Item [\"a\"]<{};",
        ]
    );
    let few = ChangesQuery { limit: Some(1), ..ChangesQuery::from(CommitNumber(4)) };
    let page = db.changes(&few).unwrap();
    assert_eq!((page.commits.len(), page.next), (1, CommitNumber(5)));
    assert_eq!(page.commits[0].changes[0].before, None);
    let beyond = db.changes(&ChangesQuery::from(CommitNumber(9))).unwrap();
    assert_eq!((beyond.commits.len(), beyond.next), (0, CommitNumber(9)));
}

#[test]
fn changes_of_schemas_that_are_not_approved_are_the_owners() {
    let db = items();
    approve(&db, r#"{"name": "Other", "fields": {"f": {}}}"#);
    db.schemas().block_schema(&name("Item"), None).unwrap();
    let shown = lines(&db, &ChangesQuery::default());
    let other = r#"9 state Other="Approved";"#;
    assert_eq!(shown[2..], ["3", "4", "5", "6", "7", "8 loaded Other;", other, "10"]);
    let mut query = ChangesQuery { schemas: vec![name("Item")], ..ChangesQuery::default() };
    assert_eq!(db.changes(&query).unwrap_err().code(), "schema_not_approved");
    assert_eq!(db.subscribe(query.clone()).unwrap_err().code(), "schema_not_approved");
    query.unapproved = true;
    let shown = lines(&db, &query);
    assert_eq!((shown.len(), shown[7].as_str()), (8, r#"10 state Item="Blocked";"#));
    query.schemas = vec![name("Nothing")];
    assert_eq!(db.changes(&query).unwrap_err().code(), "schema_not_found");
    db.schemas().load_text(r#"{"name": "Gone", "fields": {"f": {}}}"#, None).unwrap();
    db.schemas().delete(&name("Gone")).unwrap();
    query.schemas.clear();
    assert_eq!(lines(&db, &query)[10..], ["11 loaded;", "12 dropped;"]);
    assert_eq!(lines(&db, &ChangesQuery::default())[10..], ["11", "12"]);
}

#[test]
fn a_mapped_field_is_told_as_the_one_that_it_maps_from() {
    let db = memory();
    approve(&db, ITEM);
    approve(
        &db,
        r#"{"name": "View", "key": ["id"], "fields": {"id": {"value": {"type": "string"}},
            "count": {"field_mappers": {"Item": "n"}}, "own": {}}}"#,
    );
    let upsert = r#"{"mutation": "upsert", "schema": "View",
        "records": [{"id": "a", "count": 1, "own": 2}]}"#;
    mutate(&db, upsert).unwrap();
    let mut query = ChangesQuery::from(CommitNumber(5));
    let whole = r#"5 created Item ["a"]; set Item ["a"].n=1; set View ["a"].own=2;"#;
    assert_eq!(lines(&db, &query), [whole]);
    query.schemas = vec![name("View")];
    assert_eq!(lines(&db, &query), [r#"5 set View ["a"].own=2;"#]);
}

#[test]
fn a_visit_can_end_early() {
    let db = items();
    let mut seen = 0;
    let end = db.changes_each(&ChangesQuery::default(), |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let end = end.unwrap();
    assert_eq!((seen, end.next, end.head), (3, CommitNumber(4), CommitNumber(7)));
}

/// Writes records of its own, some of them again.
fn write(db: &FoldDb, writer: usize, count: usize) {
    for at in 0..count {
        let record = format!(r#"{{"id": "{writer}-{}", "n": {at}}}"#, at / 2);
        let request =
            format!(r#"{{"mutation": "upsert", "schema": "Item", "records": [{record}]}}"#);
        // A store that was told to fail may refuse it.
        let _ = mutate(db, &request);
    }
}

/// Reads until a commit that the writers have left as the last one.
fn follow(subscription: &mut Subscription, until: &AtomicU64, out: &mut Vec<CommitChanges>) {
    loop {
        let last = until.load(Ordering::SeqCst);
        if subscription.position().0 > last && last > 0 {
            return;
        }
        let within = if last > 0 { LONG } else { Duration::from_millis(20) };
        out.extend(subscription.next_within(within).unwrap());
    }
}

/// Four writers and three who follow: one from the first commit on, one that begins again
/// from its position all the time, and one that wants other changes than there are.
fn followed(db: &FoldDb, seed: u64, between: impl Fn()) {
    approve(db, ITEM);
    approve(db, r#"{"name": "Other", "fields": {"f": {}}}"#);
    let (until, start) = (AtomicU64::new(0), Barrier::new(8));
    let (mut one, mut other) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    write(db, writer, 100);
                })
            })
            .collect();
        let (start, until) = (&start, &until);
        scope.spawn(|| {
            start.wait();
            follow(&mut db.subscribe(all()).unwrap(), until, &mut one);
        });
        scope.spawn(|| {
            let (mut random, mut from) = (Random::new(seed), CommitNumber(1));
            start.wait();
            loop {
                let mut subscription = db.subscribe(ChangesQuery { from, ..all() }).unwrap();
                for _ in 0..random.below(9) {
                    let last = until.load(Ordering::SeqCst);
                    if subscription.position().0 > last && last > 0 {
                        return;
                    }
                    let within = if last > 0 { LONG } else { Duration::from_millis(1) };
                    other.extend(subscription.next_within(within).unwrap());
                }
                from = subscription.position();
            }
        });
        let of_others = scope.spawn(|| {
            let mut query = ChangesQuery::from(CommitNumber(5));
            query.schemas.push(name("Other"));
            let mut subscription = db.subscribe(query).unwrap();
            start.wait();
            subscription.next_within(LONG).unwrap().unwrap()
        });
        start.wait();
        while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            between();
            thread::yield_now();
        }
        let last = r#"{"mutation": "update", "schema": "Other", "records": [{"f": 1}]}"#;
        let last = loop {
            if let Ok(receipt) = mutate(db, last) {
                break receipt.commit;
            }
        };
        until.store(last.0, Ordering::SeqCst);
        assert_eq!(of_others.join().unwrap().commit.number, last);
    });
    let told = db.changes(&all()).unwrap().commits;
    let numbers: Vec<_> = one.iter().map(|commit| commit.commit.number.0).collect();
    assert!(numbers.iter().copied().eq(1..=told.len() as u64), "{numbers:?}");
    assert_eq!(one, told);
    assert_eq!(other, told);
}

#[test]
fn each_commit_is_followed_once_while_four_write() {
    let seed = seed_from_env(0x50B5);
    for index in 0..if is_full_size() { 100 } else { 4 } {
        let seed = Random::part(seed, index).next_u64();
        let mut place = if index % 2 == 0 { Place::memory() } else { Place::sim(seed) };
        followed(&fold_db(place.open(), clock()), seed, || ());
    }
}

#[test]
fn a_commit_that_fails_is_never_followed() {
    let seed = seed_from_env(0x50B6);
    let (store, db) = faulty();
    let random = std::cell::RefCell::new(Random::new(seed));
    followed(&db, seed, || {
        if random.borrow_mut().one_in(3) {
            store.fail_apply(1, ApplyFault::Failed);
        } else {
            store.clear_faults();
        }
    });
}

/// A commit is shown when the store has it, and the one who waits for it is woken.
#[test]
fn a_commit_is_followed_when_it_is_durable() {
    let (store, db) = faulty();
    approve(&db, ITEM);
    let mut subscription = db.subscribe(ChangesQuery::from(CommitNumber(3))).unwrap();
    store.gate().shut();
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&db, 0, 1));
        store.gate().wait_for(1);
        assert_eq!(subscription.next_within(AT_ONCE).unwrap(), None);
        let waiting = scope.spawn(|| subscription.next_within(LONG).unwrap().unwrap());
        store.gate().open();
        assert_eq!(waiting.join().unwrap().commit.number, CommitNumber(3));
        writer.join().unwrap();
    });
    assert_eq!(subscription.position(), CommitNumber(4));
}

#[test]
fn who_follows_is_told_that_the_space_is_closed_and_goes_on_later() {
    let mut place = Place::memory();
    let db = fold_db(place.open(), clock());
    approve(&db, ITEM);
    let mut subscription = db.subscribe(ChangesQuery::default()).unwrap();
    assert_eq!(subscription.next_within(AT_ONCE).unwrap().unwrap().commit.number.0, 1);
    assert_eq!(subscription.next_within(AT_ONCE).unwrap().unwrap().commit.number.0, 2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| subscription.next_within(LONG).unwrap_err());
        db.pool().close().unwrap();
        assert_eq!(waiting.join().unwrap().code(), "store_closed");
    });
    let from = subscription.position();
    drop((subscription, db));
    let db = fold_db(place.open(), clock());
    let mut subscription = db.subscribe(ChangesQuery::from(from)).unwrap();
    assert_eq!(subscription.next_within(AT_ONCE).unwrap(), None);
    db.mutate(
        &MutationRequest::parse(
            r#"{"mutation": "create", "schema": "Item", "records": [{"id": "a"}]}"#,
        )
        .unwrap(),
    )
    .unwrap();
    let next = subscription.next_within(AT_ONCE).unwrap().unwrap();
    assert_eq!(line(&next), r#"3 created Item ["a"];"#);
}
