//! Inputs that nobody would write, for parsers and codecs.
//!
//! A [`Fuzz`] makes inputs out of valid examples and hands them to a *body*, which reads them with
//! the parser in question and asserts what must hold of it. It looks for panics, failed
//! assertions, inputs that take too long, and ones that never end.

mod draw;
mod failure;
mod mutator;
mod watchdog;

use std::collections::BTreeSet;
use std::env;
use std::time::{Duration, Instant};

pub use self::draw::Draw;
use self::failure::{Caught, run_body};
use self::mutator::Mutator;
use self::watchdog::Watchdog;
use crate::{is_full_size, seed_from_env};

/// An input that takes longer is a failure.
const SLOW: Duration = Duration::from_secs(1);
/// A body that takes longer does not end.
const STUCK: Duration = Duration::from_secs(60);
/// Stands where a failed assertion has its place.
const SLOW_PLACE: &str = "no place: the body takes too long";
/// Inputs of a target of cost 1 in each run of the tests.
const INPUTS: u64 = 10_000;
/// Inputs of a target of cost 1 in the long form.
const INPUTS_FULL: u64 = 2_000_000;
/// Failures that are told; the target ends then.
const FAILURES_MAX: usize = 8;
/// Runs of the body that make a failing input smaller.
const MINIMISE_RUNS: usize = 3_000;

/// What a body says of an input, so that inputs which lead somewhere new are built upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    accepted: bool,
    class: u64,
}

impl Verdict {
    /// The parser took the input, in one of several ways.
    #[must_use]
    pub fn accepted(class: u64) -> Self {
        Self { accepted: true, class }
    }

    /// The parser refused the input, with this code.
    #[must_use]
    pub fn refused(code: &str) -> Self {
        // FNV-1a; any number that differs from code to code would do.
        let class = code.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        });
        Self { accepted: false, class }
    }
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        Self { accepted, class: 0 }
    }
}

impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self { accepted: true, class: 0 }
    }
}

/// A target: a parser or codec, with valid examples of its inputs.
///
/// ```
/// use datafold_testkit::Fuzz;
///
/// Fuzz::new("numbers").seeds(["1", "-20"]).words(["+"]).run(|input| {
///     let Ok(text) = std::str::from_utf8(input) else { return false };
///     let Ok(number) = text.parse::<i64>() else { return false };
///     assert_eq!(number.to_string().parse(), Ok(number));
///     true
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Fuzz {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    len_max: usize,
    cost: u64,
    inputs: Option<u64>,
    stuck: Duration,
}

/// What a target did.
#[derive(Debug, Clone, Default)]
pub struct FuzzReport {
    /// Inputs that the body was given.
    pub inputs: u64,
    /// Those of them that it accepted.
    pub accepted: u64,
    /// Each failure with its input.
    pub failures: Vec<FuzzFailure>,
    /// The time that the slowest input took.
    pub longest: Duration,
}

/// An input that breaks a property.
#[derive(Debug, Clone)]
pub struct FuzzFailure {
    /// What the body said.
    pub message: String,
    /// The place of the assertion; two failures of one place are told once.
    pub place: String,
    /// The smallest input found that fails there.
    pub input: Vec<u8>,
}

impl Fuzz {
    /// A target with this name, without examples.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let (seeds, words) = (Vec::new(), Vec::new());
        Self { name, seeds, words, len_max: 512, cost: 1, inputs: None, stuck: STUCK }
    }

    /// Adds examples. Each is given to the body as it is, before all others.
    #[must_use]
    pub fn seeds<T: AsRef<[u8]>>(mut self, seeds: impl IntoIterator<Item = T>) -> Self {
        self.seeds.extend(seeds.into_iter().map(|seed| seed.as_ref().to_vec()));
        self
    }

    /// Adds pieces of which inputs are made.
    #[must_use]
    pub fn words<T: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// Inputs have at most so many bytes, but for examples; 512 unless it is said.
    #[must_use]
    pub fn len_max(mut self, len_max: usize) -> Self {
        self.len_max = len_max;
        self
    }

    /// The body takes so many times the time of others, and gets as many times fewer inputs.
    #[must_use]
    pub fn cost(mut self, cost: u64) -> Self {
        self.cost = cost.max(1);
        self
    }

    /// Runs so many inputs, whatever the environment says: for tests of the driver.
    #[must_use]
    pub fn inputs(mut self, inputs: u64) -> Self {
        self.inputs = Some(inputs);
        self
    }

    /// The process is ended when an input takes longer than this: for tests of the driver.
    #[must_use]
    pub fn stuck(mut self, stuck: Duration) -> Self {
        self.stuck = stuck;
        self
    }

    /// Gives inputs to the body: 10,000 by the cost, `DATAFOLD_FUZZ_INPUTS` by the cost if it is
    /// set, and 2,000,000 by the cost with `DATAFOLD_FULL=1`. `DATAFOLD_FUZZ_INPUT` is the
    /// hexadecimal digits of the only input to be given.
    ///
    /// # Panics
    ///
    /// If the body panics, or takes longer than a second three times in a row, with every such
    /// input, made small, and the seed. If the body takes longer than a minute the process ends.
    pub fn run<V: Into<Verdict>>(&self, body: impl Fn(&[u8]) -> V) {
        let seed = seed_from_env(0xF022_5EED);
        let begin = Instant::now();
        let report = self.report(seed, &|input| body(input).into());
        let seconds = begin.elapsed().as_secs_f64();
        let (name, cost, inputs) = (self.name, self.cost, report.inputs);
        eprintln!(
            "\nfuzz: {name} cost {cost} inputs {inputs} accepted {} seconds {seconds:.3} \
             longest_us {} failures {} seed {seed:#x}",
            report.accepted,
            report.longest.as_micros(),
            report.failures.len(),
        );
        let told: Vec<_> = report.failures.iter().map(|failure| failure.tell(seed)).collect();
        assert!(told.is_empty(), "{name} fails:\n{}", told.join("\n"));
    }

    /// As [`Fuzz::run`], with this seed; answers what happened.
    pub fn report(&self, seed: u64, body: &dyn Fn(&[u8]) -> Verdict) -> FuzzReport {
        let mut run = Run {
            fuzz: self,
            body,
            watchdog: Watchdog::begin(self.name, seed, self.stuck),
            classes: BTreeSet::new(),
            report: FuzzReport::default(),
        };
        if let Some(input) = input_from_env() {
            run.give(&input);
            return run.report;
        }
        let mut mutator = Mutator::new(seed, &self.seeds, &self.words, self.len_max);
        for input in self.seeds.iter().map(Vec::as_slice).chain([&[][..]]) {
            run.give(input);
        }
        let inputs = self.inputs.unwrap_or_else(|| inputs_from_env().div_ceil(self.cost));
        let mut input = Vec::with_capacity(self.len_max);
        while run.report.inputs < inputs && run.goes_on() {
            mutator.make(&mut input);
            if let Some((verdict, is_new)) = run.give(&input) {
                mutator.learn(&input, verdict.accepted, is_new);
            }
        }
        run.report
    }
}

fn inputs_from_env() -> u64 {
    match env::var("DATAFOLD_FUZZ_INPUTS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DATAFOLD_FUZZ_INPUTS={text}")),
        Err(_) if is_full_size() => INPUTS_FULL,
        Err(_) => INPUTS,
    }
}

fn input_from_env() -> Option<Vec<u8>> {
    let text = env::var("DATAFOLD_FUZZ_INPUT").ok()?;
    let digits = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
    Some(bytes.unwrap_or_else(|| panic!("DATAFOLD_FUZZ_INPUT={text} is not hexadecimal")))
}

struct Run<'a> {
    fuzz: &'a Fuzz,
    body: &'a dyn Fn(&[u8]) -> Verdict,
    watchdog: Watchdog,
    classes: BTreeSet<Verdict>,
    report: FuzzReport,
}

impl Run<'_> {
    /// The verdict, and whether it is a new one; `None` if the input fails.
    fn give(&mut self, input: &[u8]) -> Option<(Verdict, bool)> {
        self.report.inputs += 1;
        self.watchdog.note(input);
        let begin = Instant::now();
        let verdict = run_body(self.body, input);
        let time = begin.elapsed();
        self.report.longest = self.report.longest.max(time);
        if time > SLOW && self.is_slow(input) {
            let message = format!("takes {} ms", time.as_millis());
            self.fail(Caught { message, place: SLOW_PLACE.into() }, input.to_vec());
            return None;
        }
        match verdict {
            Ok(verdict) => {
                self.report.accepted += u64::from(verdict.accepted);
                Some((verdict, self.classes.insert(verdict)))
            }
            Err(caught) => {
                let is_told = |told: &FuzzFailure| told.place == caught.place;
                if !self.report.failures.iter().any(is_told) {
                    let input = self.minimise(&caught.place, input);
                    // The message of the small input, which is the one that is told.
                    let caught = run_body(self.body, &input).err().unwrap_or(caught);
                    self.fail(caught, input);
                }
                None
            }
        }
    }

    /// Further inputs that are slow would take for ever.
    fn goes_on(&self) -> bool {
        let failures = &self.report.failures;
        failures.len() < FAILURES_MAX && failures.iter().all(|failure| failure.place != SLOW_PLACE)
    }

    /// Whether it takes long again and again, and not only while the machine was busy.
    fn is_slow(&self, input: &[u8]) -> bool {
        (0..2).all(|_| {
            let begin = Instant::now();
            let _ = run_body(self.body, input);
            begin.elapsed() > SLOW
        })
    }

    fn fail(&mut self, Caught { message, place }: Caught, input: Vec<u8>) {
        eprintln!("{}: {message} at {place}", self.fuzz.name);
        self.report.failures.push(FuzzFailure { message, place, input });
    }

    /// The smallest input found that fails at the same place.
    fn minimise(&self, place: &str, input: &[u8]) -> Vec<u8> {
        let mut runs = 0;
        let mut fails = |input: &[u8]| {
            runs += 1;
            self.watchdog.note(input);
            let fails = run_body(self.body, input).err().is_some_and(|found| found.place == place);
            (fails, runs < MINIMISE_RUNS)
        };
        let mut smallest = input.to_vec();
        let mut piece = smallest.len();
        while piece > 0 {
            let mut at = 0;
            while at < smallest.len() {
                let mut shorter = smallest.clone();
                shorter.drain(at..(at + piece).min(smallest.len()));
                match fails(&shorter) {
                    (true, _) => smallest = shorter,
                    (false, true) => at += piece,
                    (false, false) => return smallest,
                }
            }
            piece /= 2;
        }
        smallest
    }
}

impl FuzzFailure {
    fn tell(&self, seed: u64) -> String {
        let hex: String = self.input.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = String::from_utf8_lossy(&self.input);
        let (message, place, replay) = (&self.message, &self.place, crate::replay(seed));
        format!(
            "{message}\n  at {place}\n  with DATAFOLD_FUZZ_INPUT={hex}\n  which is {text:?}\n  \
             found with {replay}"
        )
    }
}

#[cfg(test)]
mod tests;
