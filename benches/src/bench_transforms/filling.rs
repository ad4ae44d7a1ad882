//! Flights that are there are computed in the background, while four threads write some of them:
//! how long the writes take, beside writes as long without it; and whether every value is what it
//! should be at the end.
//!
//! Schemas with mapped and computed fields, and aggregates by carrier, are approved over flights
//! that were imported before. Each round approves others, so that filling and not filling come in
//! turns; what was filled goes on being computed by each write.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use datafold::FoldDb;
use datafold::engine::{Mutation, MutationRequest, RecordInput};
use datafold::model::{SchemaName, Value};
use tempfile::TempDir;

use super::flights::{self, Computed, DELAY_CLASS, OF_CARRIERS, SEATS, SPEED};
use super::{Choice, approve, int, number, text, verify_derived};
use crate::bench_import::{KEY, write_lines};
use crate::fixture::{self, Random};
use crate::table::{Table, percentile};

const WRITERS: u64 = 4;
/// What a flight is that is faster than it, in miles per hour.
pub(super) const FAST: f64 = 400.0;

/// A store of flights, which gets computed fields later.
pub(super) struct Filled {
    pub(super) db: FoldDb,
    /// Of flights.
    pub(super) keys: Vec<Vec<Value>>,
    pub(super) aggregates: bool,
    _folder: TempDir,
}

impl Filled {
    pub(super) fn load(choice: Choice<'_>) -> Self {
        let folder = fixture::folder();
        let lines = folder.path().join("flights.ndjson");
        write_lines(choice.flights, &lines);
        let db = flights::create(&folder.path().join("store"), Computed::Nothing);
        flights::import_flights(&db, &lines, 10_000);
        let mut keys = Vec::new();
        flights::each(&db, "Flight", &KEY, |record| keys.push(record.values.clone()));
        Self { db, keys, aggregates: choice.aggregates, _folder: folder }
    }

    /// Has the fields of a round computed, and waits for them.
    pub(super) fn fill(&self, round: usize) {
        let mut names = vec![approve(&self.db, &facts(round))];
        if self.aggregates {
            names.push(approve(&self.db, &carriers(round)));
        }
        for name in names {
            self.db.schemas().wait_for_transforms(&name).unwrap();
        }
    }

    pub(super) fn measure(&self, rounds: usize, table: &mut Table) {
        let (mut beside, mut alone, mut seconds) = (Vec::new(), Vec::new(), 0.0);
        for round in 0..rounds {
            let mut elapsed = Duration::ZERO;
            beside.extend(self.write_until(|| {
                let start = Instant::now();
                self.fill(round);
                elapsed = start.elapsed();
            }));
            alone.extend(self.write_until(|| thread::sleep(elapsed)));
            seconds += elapsed.as_secs_f64();
        }
        for round in 0..rounds {
            self.check(round);
        }
        let values = verify_derived(&self.db);
        eprintln!("  {values} computed values are what they should be");
        let (flights, writes) = (self.keys.len(), beside.len());
        let (ours, theirs) = (percentile(&mut beside, 0.999), percentile(&mut alone, 0.999));
        table.add(
            &format!(
                "p99.9 of updates by {WRITERS} writers while the fields of {flights} flights are \
                 filled ({rounds} times, {seconds:.0} s in all, {writes} updates)"
            ),
            format!("{:.2} ms", ours as f64 / 1e6),
            format!("{:.2} ms without filling ({} updates)", theirs as f64 / 1e6, alone.len()),
            ours as f64 / theirs as f64,
            "at most 2",
        );
    }

    /// Latencies of durable updates, in nanoseconds, until `end` answers.
    fn write_until(&self, end: impl FnOnce()) -> Vec<u64> {
        let (stop, all) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for thread in 0..WRITERS {
                let (stop, all) = (&stop, &all);
                scope.spawn(move || {
                    let (mut random, mut latencies) = (Random(thread), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let update = self.update(&mut random);
                        let start = Instant::now();
                        self.db.mutate(&update).unwrap();
                        latencies.push(start.elapsed().as_nanos() as u64);
                    }
                    all.lock().unwrap().extend(latencies);
                });
            }
            end();
            stop.store(true, Ordering::Relaxed);
        });
        all.into_inner().unwrap()
    }

    /// Another delay and time in the air.
    fn update(&self, random: &mut Random) -> MutationRequest {
        let key = &self.keys[random.below(self.keys.len() as u64) as usize];
        let mut record: RecordInput =
            KEY.iter().zip(key).map(|(name, part)| ((*name).to_owned(), part.clone())).collect();
        let delay = random.below(120) as i64 - 20;
        record.insert("dep_delay".into(), Value::Int(delay));
        record.insert("air_time".into(), Value::Int(20 + random.below(400) as i64));
        Mutation::update(flights::flight(), vec![record]).into()
    }

    /// Each value is what its inputs give, computed here once more.
    fn check(&self, round: usize) {
        let mut seats_of = HashMap::new();
        flights::each(&self.db, "Plane", &["tailnum", "seats"], |record| {
            seats_of.insert(record.values[0].clone().to_json().to_string(), int(&record.values[1]));
        });
        let select = ["distance", "air_time", "dep_delay", "tailnum"];
        let computed = ["speed", "is_fast", "delay_class", "seats"];
        let mut count = 0;
        flights::each(&self.db, &format!("Facts{round}"), &[select, computed].concat(), |record| {
            count += 1;
            let [distance, air_time, delay, tailnum, speed, is_fast, class, seats] =
                &record.values[..]
            else {
                unreachable!()
            };
            let exact = number(distance).zip(number(air_time)).map(|(d, t)| d / t * 60.0);
            let is_near = |speed: f64, exact: f64| (speed - exact).abs() < 0.05 + 1e-9;
            let found = number(speed);
            let is_right = found.zip(exact).is_none_or(|(speed, exact)| is_near(speed, exact));
            assert!(is_right && found.is_some() == exact.is_some(), "{record:?}");
            let expected = Value::Bool(found.is_some_and(|speed| speed > FAST));
            assert_eq!(*is_fast, expected, "{record:?}");
            assert_eq!(text(class), Some(class_of(int(delay))), "{record:?}");
            let expected = seats_of.get(&tailnum.to_json().to_string());
            assert_eq!(int(seats), expected.copied().flatten(), "{record:?}");
        });
        assert_eq!(count, self.keys.len());
        if self.aggregates {
            self.check_carriers(round);
        }
    }

    fn check_carriers(&self, round: usize) {
        let mut groups: HashMap<String, (i64, i64, i64)> = HashMap::new();
        flights::each(&self.db, "Flight", &["carrier", "dep_delay", "distance"], |record| {
            let group = groups.entry(text(&record.values[0]).unwrap().to_owned()).or_default();
            if let Some(delay) = int(&record.values[1]) {
                group.0 += 1;
                group.1 += delay;
            }
            group.2 += int(&record.values[2]).unwrap_or(0);
        });
        let select = ["carrier", "flights", "miles", "mean_delay"];
        flights::each(&self.db, &format!("Carriers{round}"), &select, |record| {
            let carrier = text(&record.values[0]).unwrap();
            let (count, delays, miles) = groups.remove(carrier).unwrap_or_default();
            assert_eq!(int(&record.values[1]), Some(count), "{record:?}");
            assert_eq!(int(&record.values[2]).unwrap_or(0), miles, "{record:?}");
            let mean = delays as f64 / count as f64;
            let found = number(&record.values[3]);
            let is_right = found.is_none_or(|found| (found - mean).abs() <= mean.abs() * 1e-9);
            assert!(is_right && found.is_some() == (count > 0), "{record:?}: {mean}");
        });
        assert!(groups.is_empty(), "{groups:?}");
    }
}

fn class_of(delay: Option<i64>) -> &'static str {
    match delay {
        None => "not flown",
        Some(..0) => "early",
        Some(..15) => "on time",
        Some(..60) => "late",
        Some(_) => "very late",
    }
}

/// The schema of a round with fields that are mapped from flights, and computed from these.
fn facts(round: usize) -> String {
    let mapped: Vec<String> = ["distance", "air_time", "dep_delay", "tailnum"]
        .map(|name| format!(r#""{name}": {{"field_mappers": {{"Flight": "{name}"}}}}"#))
        .into();
    let text = format!(
        r#"{{"name": "Facts{round}", "key": ["carrier", "flight", "time_hour"], "fields": {{
            "carrier": {{"value": {{"type": "string"}}}},
            "flight": {{"value": {{"type": "integer"}}}},
            "time_hour": {{"value": {{"type": "string", "format": "date-time"}}}},
            {}, {SPEED}, {DELAY_CLASS}, {SEATS},
            "is_fast": {{"writable": false, "transform": {{"logic": "speed > {FAST}"}}}}}}}}"#,
        mapped.join(", ")
    );
    text.replace('\n', " ")
}

/// The schema of a round with aggregates over flights, for the airlines that are there.
fn carriers(round: usize) -> String {
    let text = format!(
        r#"{{"name": "Carriers{round}", "key": ["carrier"], "fields": {{
            "carrier": {{"value": {{"type": "string"}}}},
            "name": {{"field_mappers": {{"Airline": "name"}}}}, {}}}}}"#,
        OF_CARRIERS.join(", ")
    );
    text.replace('\n', " ")
}

/// The name of the schema of the first round.
pub(super) fn first(of: &str) -> SchemaName {
    SchemaName::parse(&format!("{of}0")).unwrap()
}
