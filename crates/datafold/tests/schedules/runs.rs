//! How many schedules are run, by which schedulers, and what is said of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use datafold::planted::{Fault, plant};
use datafold_testkit::{is_full_size, seed_from_env};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::space::prepare;

/// The schedules of one seed; each group of them begins with a new one.
const GROUP: usize = 50;
/// How many times the schedules of a usual run the long form has.
const FULL_TIMES: usize = 20;
/// More steps than any schedule needs: who goes beyond runs in circles.
const STEPS_MAX: usize = 100_000;
const STACK_BYTES: usize = 256 << 10;

/// What one schedule does; it answers what was wrong.
pub(crate) type Scenario = fn() -> Result<(), String>;

/// Which scheduler a group of schedules has.
#[derive(Debug, Clone, Copy)]
enum Chooser {
    /// Any thread that can go on, at each step.
    Random,
    /// Always the first thread that can go on, in an order that changes this often less one.
    Pct(usize),
}

const CHOOSERS: [Chooser; 4] = [Chooser::Random, Chooser::Pct(3), Chooser::Random, Chooser::Pct(2)];

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // The seed says as much, and a schedule is some thousands of characters.
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    config
}

fn run_group(chooser: Chooser, seed: u64, scenario: Scenario) {
    let body = move || {
        if let Err(wrong) = scenario() {
            panic!("{wrong}");
        }
    };
    match chooser {
        Chooser::Random => {
            Runner::new(RandomScheduler::new_from_seed(seed, GROUP), config()).run(body);
        }
        Chooser::Pct(depth) => {
            Runner::new(PctScheduler::new_from_seed(seed, depth, GROUP), config()).run(body);
        }
    }
}

/// The schedules of a group; what is wrong is answered with how to play it again.
fn check_group(at: u64, seed: u64, scenario: Scenario) -> Result<(), String> {
    let seed = seed.wrapping_add(at);
    let chooser = CHOOSERS[usize::try_from(seed % CHOOSERS.len() as u64).unwrap()];
    catch_unwind(AssertUnwindSafe(|| run_group(chooser, seed, scenario))).map_err(|panic| {
        format!(
            "{}\nin the {GROUP} schedules of {chooser:?} with the seed {seed:#x}; play them again \
             with DATAFOLD_SEED={seed:#x} and this test's name",
            message(panic.as_ref())
        )
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Runs so many schedules, in the long form many times as many.
pub(crate) fn run(name: &str, schedules: usize, scenario: Scenario) {
    prepare();
    let seed = seed_from_env(0x5EED);
    let groups = schedules.div_ceil(GROUP) * if is_full_size() { FULL_TIMES } else { 1 };
    for at in 0..groups as u64 {
        if let Err(wrong) = check_group(at, seed, scenario) {
            panic!("{name}: {wrong}");
        }
    }
    eprintln!("{name}: {} schedules, seed {seed:#x}", groups * GROUP);
}

/// Plants a fault, which must be found within so many schedules: as many as are run without it.
pub(crate) fn find(name: &str, fault: Fault, schedules: usize, scenario: Scenario) -> String {
    prepare();
    let seed = seed_from_env(0x5EED);
    plant(Some(fault));
    let groups = schedules.div_ceil(GROUP) as u64;
    let found = catch_unwind(|| {
        (0..groups).find_map(|at| check_group(at, seed, scenario).err().map(|wrong| (at, wrong)))
    });
    plant(None);
    match found {
        Ok(Some((at, wrong))) => {
            eprintln!("{name}: {fault:?} was found in group {at} of {groups}: {wrong}");
            wrong
        }
        Ok(None) => panic!("{name}: {fault:?} was not found by {schedules} schedules"),
        Err(panic) => resume_unwind(panic),
    }
}

/// A number below `end`, chosen anew for each schedule.
pub(crate) fn choose(end: u64) -> u64 {
    use shuttle::rand::RngCore;
    shuttle::rand::thread_rng().next_u64() % end
}
