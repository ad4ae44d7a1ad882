//! The processor's time of mutations of several stores, in turns.

use std::fs;
use std::thread;

use datafold::engine::MutationRequest;
use datafold::{FoldDb, model::Value};

use crate::table::median;

/// Mutations of one turn: some hundredths of a second.
pub(super) const TURN: u64 = 500;

/// The processor's time of each mutation of each turn, in microseconds.
pub(super) type Times = Vec<f64>;

/// Has each of some sides carry out a turn, again and again, the first one another one each time;
/// answers the times of each side. `requests` makes those of a side and a turn, outside of what is
/// measured.
pub(super) fn in_turns(
    sides: &[&FoldDb],
    turns: usize,
    mut requests: impl FnMut(usize, usize) -> Vec<MutationRequest>,
) -> Vec<Times> {
    let mut times = vec![Vec::new(); sides.len()];
    // The first turn warms all of them.
    for turn in 0..=turns {
        for place in 0..sides.len() {
            let side = (turn + place) % sides.len();
            let requests = requests(side, turn);
            let start = cpu_seconds();
            for request in &requests {
                sides[side].mutate(request).unwrap();
            }
            let each = (cpu_seconds() - start) * 1e6 / requests.len() as f64;
            if turn > 0 {
                times[side].push(each);
            }
        }
    }
    times
}

/// The median of the ratios of turns.
pub(super) fn ratio(ours: &Times, theirs: &Times) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

/// The median, in words.
pub(super) fn told(times: &Times) -> String {
    format!("{:.2} us CPU", median(times.clone()))
}

/// The time of the processor that all threads of this process have had, in seconds.
fn cpu_seconds() -> f64 {
    // What this thread has had is counted to the end when it lets go of the processor.
    thread::yield_now();
    let nanos: u64 = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| {
            let path = task.unwrap().path().join("schedstat");
            let stat = fs::read_to_string(path).unwrap();
            stat.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
        .sum();
    nanos as f64 / 1e9
}

/// A record's fields by name.
pub(super) fn values<const N: usize>(fields: [(&str, u64); N]) -> datafold::engine::RecordInput {
    fields.map(|(name, value)| (name.to_owned(), Value::Int(value as i64))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let start = cpu_seconds();
        thread::sleep(std::time::Duration::from_millis(20));
        assert!(cpu_seconds() - start < 0.015);
        let begin = std::time::Instant::now();
        while begin.elapsed().as_secs_f64() < 0.05 {
            std::hint::black_box(begin);
        }
        assert!(cpu_seconds() - start > 0.001);
    }
}
