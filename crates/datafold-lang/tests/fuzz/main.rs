//! Random sources and inputs: no panic, no run over 100 ms, no more than 64 MiB.
//!
//! A test binary of its own, since it measures the memory of the process. `DATAFOLD_FULL=1` runs
//! 100,000,000 inputs; `DATAFOLD_SEED` plays a seed again, `DATAFOLD_FUZZ_INPUTS` sets the number.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests end at a surprise")]

mod generate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use datafold_lang::{Compiler, Scope, Time, Type, Value};
use datafold_testkit::{Random, is_full_size, replay, seed_from_env};
use generate::{Generator, NAMES};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const RUN_MAX: Duration = Duration::from_millis(100);
const BYTES_MAX: usize = 64 << 20;

/// One measurement at a time, since memory is that of the process.
static TURN: Mutex<()> = Mutex::new(());

/// Words of which sources without any structure are made.
const WORDS: [&str; 65] = [
    "let ",
    "if ",
    "else ",
    "return ",
    "true",
    "false",
    "null",
    " in ",
    "a",
    "n",
    "t",
    "xs",
    "o",
    "d",
    "x",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "?",
    ".",
    "=>",
    "??",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "<",
    ">=",
    "!",
    "&&",
    "||",
    "1",
    "0.5",
    "1e9",
    "'a'",
    "\"\\u00e9\"",
    "$p",
    "map(",
    "map_values(",
    "filter(",
    "sum(",
    "sort(",
    "matches(",
    "split(",
    "repeat(",
    "range(",
    "to_json(",
    "parse_json(",
    "time(",
    "truncate(",
    "format_time(",
    "glob(",
    "normalize(",
    "find_all(",
    "'[a-z]*'",
    "//\n",
];

/// What sources of the largest size are made of: begin, middle, end.
const LARGE: [(&str, &str, &str); 24] = [
    ("", "(", ""),
    ("", "[", ""),
    ("", "-", "1"),
    ("1", "+1", ""),
    ("1", "^1", ""),
    ("a", " && a", ""),
    ("a", ".k", ""),
    ("[", "a,", "1]"),
    ("{", "k:1,", "}"),
    ("", "let x = a;", ""),
    ("", "xs;", ""),
    ("", "nosuch;", ""),
    ("", "if b { 1 } ", ""),
    ("if b {}", " else if b {}", ""),
    ("", "upper(t) + ", "t"),
    ("", "repeat('ab', 1000);", ""),
    ("", "sort(range(0, 300));", ""),
    ("", "matches(t, '\\\\w{3}x');", ""),
    ("matches(t, '", "(a|b)?", "')"),
    ("'", "x", "'"),
    ("", "9", ""),
    ("", "to_json(o) == t;", ""),
    ("", "map(xs, x => map(xs, y => x + y));", ""),
    ("/*", "*", ""),
];

/// Sources that take as much as they can get.
const COSTLY: [&str; 26] = [
    // Each search reads to the end before it knows that what it found is the part.
    "let s = repeat('ab', 40000); find_all(s, '(a|b)*c|ab')",
    "let s = repeat('ab', 40000); replace_all(s, '[ab]*c|b', '')",
    "let s = repeat('ab', 20000); split_by(s, '(a|b|ab)*(c|d)|(a|b)+e|ba')",
    "let s = repeat('ab', 4000); find_all(s, '.*c|a')",
    "let s = 'e' + repeat('\\u0301\\u0316', 150000); normalize(s)",
    "let s = repeat('a', 30000); find_all(s, 'a{1,30}|.{31}b')",
    "sum(range(0, 100000), x => x * 2 + 1)",
    "let s = repeat('ab', 400000); find_all(s, '(a|b)*c|ab')",
    "let s = repeat('a', 100000); matches(s, '(a?){40}b')",
    "let s = repeat('ab ', 40000); split_by(s, '\\\\w+')",
    "let s = repeat('ä', 300000); normalize(upper(s))",
    "let s = repeat('e\\u0301', 200000); normalize(s)",
    "sort(map(range(0, 40000), x => to_string(x * 7919 % 40009)))",
    "let s = repeat('[0],', 60000); parse_json('[' + s + '0]')",
    "let s = repeat('\\u0001', 100000); to_json([s, s, s])",
    "glob(repeat('a', 8000), repeat('*a', 500) + 'b')",
    "map(range(0, 20000), x => format_time(d, '%Y-%m-%d', 'America/New_York'))",
    "map(range(0, 5000), x => truncate(d + duration('1h') * x, 'month', 'Europe/Berlin'))",
    "distinct(map(range(0, 30000), x => [x % 100, 'abc']))",
    "let s = repeat('a', 1000000); s < s + 'b' && contains(s, 'ab')",
    "let s = repeat('a', 200000); index_of(s, repeat('a', 10000) + 'b')",
    "let xs = range(0, 900); sum(xs, x => x in xs ? 1 : 0)",
    "let s = join(map(range(0, 9000), x => x * x % 40009 % 2 == 0 ? 'a' : 'b'), ''); \
     map(range(0, 50), x => matches(s, '(a|b)*a(a|b){14}[cd]') ? s : t)",
    "let s = repeat('aé', 4000); find_all(s, '\\\\w{5}\\\\d|\\\\w{4}x')",
    "let s = join(map(range(0, 9000), x => x * x % 40009 % 2 == 0 ? 'a' : 'b'), ''); \
     map(range(0, 50), x => groups(s, 'a((a|b){200}|(a|b){190})[cd]'))",
    "map(range(0, 9000), x => matches(t, '[^b]{3}(a|b|c)*d') ? x : -x)",
];

/// The examples of the reference page, to be changed at random.
fn corpus() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/language.md");
    let page = std::fs::read_to_string(path).unwrap();
    let lines = page.lines().filter_map(|line| line.split_once(" -> "));
    let sources = lines.map(|(source, _)| source.trim().to_owned());
    // Those of the section on limits take all that they can get; `COSTLY` has more of them.
    let corpus: Vec<String> = sources.filter(|source| !source.contains("000)")).collect();
    assert!(corpus.len() > 200, "the examples were not found");
    corpus
}

fn source(random: &mut Random, corpus: &[String]) -> String {
    match random.below(1000) {
        0..=399 => Generator::new(random, false).program(),
        400..=599 => {
            let count = random.below(40);
            (0..count).map(|_| *random.choose(&WORDS).unwrap()).collect()
        }
        600..=989 => changed(random, corpus),
        990..=998 => {
            let len = random.below(200);
            String::from_utf8_lossy(&random.bytes(len)).into_owned()
        }
        _ if random.below(20) == 0 => {
            let (begin, middle, end) = *random.choose(&LARGE).unwrap();
            let count = (random.below(65_000) / middle.len()).max(1);
            format!("{begin}{}{end}", middle.repeat(count))
        }
        _ if random.below(20) == 0 => random.choose(&COSTLY).unwrap().to_string(),
        _ => Generator::new(random, false).program(),
    }
}

/// An example to be changed. Those that take as much as they can get are one in 500: each takes
/// the time of a thousand others.
fn example<'c>(random: &mut Random, corpus: &'c [String]) -> &'c str {
    match random.below(500) {
        0 => random.choose(&COSTLY).unwrap(),
        _ => random.choose(corpus).unwrap(),
    }
}

/// An example with some characters removed, doubled or replaced by words.
fn changed(random: &mut Random, corpus: &[String]) -> String {
    let mut chars: Vec<char> = example(random, corpus).chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len().max(1));
        let end = (at + random.below(6)).min(chars.len());
        match random.below(4) {
            0 if at < end => drop(chars.drain(at..end)),
            1 if at < end => {
                let part: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, part);
            }
            2 => {
                let other = example(random, corpus);
                let skipped = random.below(other.chars().count().max(1));
                let part: Vec<char> = other.chars().skip(skipped).take(12).collect();
                chars.splice(at.min(chars.len())..at.min(chars.len()), part);
            }
            _ => {
                let word = random.choose(&WORDS).unwrap().chars();
                let at = at.min(chars.len());
                chars.splice(at..at, word);
            }
        }
    }
    chars.into_iter().collect()
}

fn scope() -> Scope {
    let fields = [("k".to_owned(), Type::NUMBER), ("l".to_owned(), Type::TEXT)];
    let types = [
        Type::NUMBER,
        Type::INTEGER,
        Type::TEXT,
        Type::TEXT,
        Type::BOOL,
        Type::array(Type::NUMBER),
        Type::object(fields),
        Type::TIME,
        Type::ANY,
    ];
    let page = [
        ("carrier", Type::TEXT),
        ("tailnum", Type::TEXT),
        ("note", Type::TEXT),
        ("flight", Type::INTEGER),
        ("distance", Type::NUMBER),
        ("departure", Type::TIME),
        ("arrival", Type::TIME),
        ("prices", Type::array(Type::NUMBER)),
        ("stops", Type::ANY),
    ];
    let scope = Scope::new().with_parameter("p", Value::from("[a-c]+")).with_clock();
    let names = NAMES.into_iter().zip(types).chain(page);
    names.fold(scope, |scope, (name, of)| scope.with(name, of))
}

/// A value that an input may have, whatever its type says.
fn value(random: &mut Random) -> Value<'static> {
    let text = |json: &str| Value::parse_json(json).unwrap();
    match random.below(12) {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => Value::Int(random.next_u64().cast_signed()),
        3 => Value::Int(random.next_u64().cast_signed() >> 54),
        4 => Value::number(f64::from_bits(random.next_u64())).unwrap_or(Value::Float(0.5)),
        5 => Value::Time(Time::parse("2013-03-10T06:59:59.999999Z").unwrap()),
        6 => Value::Time(if random.below(2) == 0 { Time::MAX } else { Time::MIN }),
        7 => Value::from("Zürich, a,b\u{301}".to_owned()),
        8 => Value::from("12".to_owned()),
        9 => text("[1, 2.5, null, 3]"),
        10 => text(r#"{"k": 1, "l": "x", "m": [[]]}"#),
        _ => Value::from("ab".repeat(random.below(200))),
    }
}

/// Begins to measure memory; gives what is in use.
fn reset_memory() -> usize {
    MEMORY.reset_peak_usage();
    MEMORY.current_usage()
}

/// What is done with a source.
type Run<'r> = &'r dyn Fn(&str, &[Value<'static>], usize);

/// Compiles in one of the ways, and runs.
fn compile_and_run(source: &str, values: &[Value<'static>], way: usize, scope: &Scope) {
    let compiler = Compiler::new(scope).fold_constants(way.is_multiple_of(2));
    let inputs = |count: usize| -> Vec<Value<'static>> {
        (0..count).map(|slot| values[slot % values.len()].clone()).collect()
    };
    if way % 5 == 4 {
        if let Ok(filter) = compiler.filter(source) {
            drop(filter.matches(&inputs(filter.inputs().len())));
            drop(filter.constraints());
        }
        return;
    }
    match compiler.program(source) {
        Ok(program) => {
            if let Ok(value) = program.evaluate(&inputs(program.inputs().len())) {
                drop(value.into_owned());
            }
        }
        Err(error) => drop(error.render()),
    }
}

/// The shortest of `first` and some more runs: the machine may be busy with other things, for which
/// a run is not to blame.
fn unhurried(first: Duration, run: impl Fn() -> Duration) -> Duration {
    let again = (0..5).map(|_| {
        let begin = cpu_time();
        let elapsed = run();
        let cpu = cpu_time().zip(begin).map(|(end, begin)| end.saturating_sub(begin));
        cpu.map_or(elapsed, |cpu| elapsed.min(cpu + TICK))
    });
    again.fold(first, Duration::min)
}

/// How much the kernel's account of a running thread may be behind.
const TICK: Duration = Duration::from_millis(10);

/// The time that this thread has had a processor, where the system tells.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// What a campaign found.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<String>,
    longest: Duration,
    longest_source: String,
    most_bytes: usize,
}

fn campaign(seed: u64, inputs: u64, run: Run<'_>) -> Findings {
    let corpus = corpus();
    let mut random = Random::new(seed);
    let mut findings = Findings::default();
    for number in 0..inputs {
        let source = source(&mut random, &corpus);
        let values: Vec<_> = (0..4).map(|_| value(&mut random)).collect();
        let way = random.below(10);
        let shown: String = source.chars().take(300).collect();
        let timed = || {
            let begin = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| run(&source, &values, way)));
            (begin.elapsed(), result.is_err())
        };
        let before = reset_memory();
        let (mut elapsed, is_panic) = timed();
        let bytes = MEMORY.peak_usage().saturating_sub(before);
        if elapsed > RUN_MAX / 2 {
            elapsed = unhurried(elapsed, || timed().0);
        }
        let what = match () {
            () if is_panic => Some("panics".to_owned()),
            () if elapsed > RUN_MAX => Some(format!("takes {elapsed:?}")),
            () if bytes > BYTES_MAX => Some(format!("takes {bytes} bytes")),
            () => None,
        };
        if let Some(what) = what {
            findings.faults.push(format!("input {number} {what}: {shown}"));
            if findings.faults.len() >= 5 {
                break;
            }
        }
        if elapsed > findings.longest {
            (findings.longest, findings.longest_source) = (elapsed, shown);
        }
        findings.most_bytes = findings.most_bytes.max(bytes);
    }
    findings
}

#[test]
fn no_input_panics_or_takes_too_long_or_too_much() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seed = seed_from_env(0x1a46);
    let inputs = std::env::var("DATAFOLD_FUZZ_INPUTS").ok().and_then(|text| text.parse().ok());
    let inputs = inputs.unwrap_or(if is_full_size() { 100_000_000 } else { 50_000 });
    let scope = scope();
    let run = |source: &str, values: &[Value<'static>], way: usize| {
        compile_and_run(source, values, way, &scope);
    };
    let begin = Instant::now();
    let findings = campaign(seed, inputs, &run);
    println!(
        "{inputs} inputs in {:.0?}; the longest took {:?}, the most memory was {} KiB; {}\n{}",
        begin.elapsed(),
        findings.longest,
        findings.most_bytes >> 10,
        replay(seed),
        findings.longest_source,
    );
    assert!(findings.faults.is_empty(), "{}\n{}", findings.faults.join("\n"), replay(seed));
}

#[test]
fn every_large_and_costly_source_is_bounded() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let scope = scope();
    let time = Value::Time(Time::parse("2013-03-10T06:59:59Z").unwrap());
    let large = LARGE.iter().map(|(begin, middle, end)| {
        let count = (65_536 - begin.len() - end.len()) / middle.len();
        format!("{begin}{}{end}", middle.repeat(count))
    });
    // As many patterns as there may be, all different and large.
    let pattern =
        |at: usize| format!("matches(t + '{at}', '\\\\w{{2}}[^{at}]{{2}}(\\\\d|x){{{at}}}');");
    let patterns: String = (1..=8).map(pattern).collect();
    // Patterns of each size, in which many states are active at once, as often as may be.
    let mut hard = Vec::new();
    for (count, length) in [(4, 9000), (20, 9000), (80, 2500), (150, 1500), (300, 800)] {
        for call in ["matches", "groups", "find_all"] {
            hard.push(format!(
                "let ys = map(range(0, {length}), x => x * x % 40009 % 2);\
                 let s = join(map(ys, x => x == 0 ? 'a' : 'b'), '');\
                 map(range(0, 500), x => {call}(s, 'a((a|b){{{count}}}|[ab]{{{count}}})[cd]'))"
            ));
        }
    }
    // Names that are all different, and an object of many members that is asked as often.
    let names = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
    let object = format!("let z = {{{}}};", names(3_500, |at| format!("a{at:x}: 1,")));
    let wide = [
        names(5_000, |at| format!("let a{at} = 1;")),
        names(3_000, |at| format!("let a{at} = n; a{at};")),
        names(6_000, |at| format!("n == {at} ||")) + "b",
    ];
    let asked = ["z[t];", "sum(z);", "first(z);", "map(z, x => x);", "z.a1;", "(b ? z : o);"];
    let asked = asked.map(|ask| format!("{object}{}", ask.repeat(24_000 / ask.len())));
    let large = large.chain(wide).chain(asked);
    let small = COSTLY.map(str::to_owned).into_iter().chain([patterns]).chain(hard);
    for source in large.chain(small) {
        let shown: String = source.chars().take(80).collect();
        for way in 0..2 {
            let before = reset_memory();
            let timed = || {
                let begin = Instant::now();
                compile_and_run(&source, &[time.clone(), Value::from("abc")], way, &scope);
                begin.elapsed()
            };
            let mut least = timed();
            let bytes = MEMORY.peak_usage().saturating_sub(before);
            if least > RUN_MAX / 4 {
                least = unhurried(least, timed);
            }
            let end: String =
                source.chars().rev().take(60).collect::<String>().chars().rev().collect();
            println!("{least:>12.1?} {:>8} KiB  {shown} … {end}", bytes >> 10);
            assert!(least <= RUN_MAX, "{least:?}: {shown} … {end}");
            assert!(bytes <= BYTES_MAX, "{bytes} bytes: {shown}");
        }
    }
}

#[test]
fn canary_faults_are_found() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_planted = |source: &str| source.contains("sort") && source.contains("null");
    let panics = |source: &str, _: &[Value<'static>], _: usize| {
        assert!(!is_planted(source), "a planted panic");
    };
    let spins = |source: &str, _: &[Value<'static>], _: usize| {
        // Of a processor, since a thread that waits for one is not to blame.
        let (begin, begin_cpu) = (Instant::now(), cpu_time());
        let spent = || match cpu_time().zip(begin_cpu) {
            Some((now, begin)) => now.saturating_sub(begin),
            None => begin.elapsed(),
        };
        while is_planted(source) && spent() < RUN_MAX * 5 / 2 {}
    };
    let hoards = |source: &str, _: &[Value<'static>], _: usize| {
        let bytes = if is_planted(source) { BYTES_MAX + 1 } else { 0 };
        drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    };
    let runs: [(&str, Run<'_>); 3] = [("panics", &panics), ("takes 2", &spins), ("bytes", &hoards)];
    for (what, run) in runs {
        let findings = campaign(0xca4a, 2_000, run);
        assert!(!findings.faults.is_empty(), "{what}");
        assert!(findings.faults.iter().all(|fault| fault.contains(what)), "{findings:?}");
    }
}
