use std::process::Command;

use super::*;

/// A small format: a length, that many bytes, and the sum of them.
fn planted(input: &[u8], bug: &str) -> Option<Vec<u8>> {
    let (len, rest) = input.split_first()?;
    if bug == "slow" && rest.starts_with(b"zz") {
        let begin = Instant::now();
        while begin.elapsed() < SLOW + Duration::from_millis(50) {
            std::hint::spin_loop();
        }
    }
    let len = usize::from(*len);
    let body = match bug {
        // Trusts the length.
        "length" => &rest[..len],
        _ => rest.get(..len)?,
    };
    let sum = rest.get(len)?;
    let wanted = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if bug != "sum" && *sum != wanted {
        return None;
    }
    if bug != "trailing" && rest.len() > len + 1 {
        return None;
    }
    Some(body.to_vec())
}

fn written(body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len()).unwrap();
    let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [&[len], body, &[sum]].concat()
}

fn hunt(bug: &str) -> FuzzReport {
    let fuzz = Fuzz::new("planted").seeds([written(b"ab"), written(b"")]).words(["zz"]);
    fuzz.inputs(100_000).report(seed_from_env(7), &|input| match planted(input, bug) {
        Some(body) => {
            assert_eq!(written(&body), input, "another form");
            true.into()
        }
        None => Verdict::refused("none"),
    })
}

#[test]
fn canary_each_planted_bug_is_found_and_made_small() {
    for (bug, message) in [
        ("length", "out of range"),
        ("sum", "another form"),
        ("trailing", "another form"),
        ("slow", "takes"),
    ] {
        let found = hunt(bug).failures;
        assert!(!found.is_empty(), "{bug} was not found");
        assert!(found[0].message.contains(message), "{bug}: {}", found[0].message);
        assert!(found[0].input.len() < 8 || bug == "slow", "{bug}: {:?}", found[0].input);
        assert!(found[0].tell(7).contains("DATAFOLD_SEED=0x7"), "{}", found[0].tell(7));
    }
    let sound = hunt("");
    assert!(sound.failures.is_empty());
    assert_eq!(sound.inputs, 100_000);
    // Mutations of valid inputs are valid often enough to reach what is behind the checks.
    assert!(sound.accepted > 1_000, "{}", sound.accepted);
}

#[test]
fn the_same_seed_gives_the_same_inputs() {
    let fuzz = Fuzz::new("inputs").seeds(["{\"a\": 12}"]).inputs(2_000);
    let inputs = |seed| {
        let seen = std::cell::RefCell::new(Vec::new());
        fuzz.report(seed, &|input| {
            seen.borrow_mut().push(input.to_vec());
            Verdict::accepted(input.len() as u64)
        });
        seen.into_inner()
    };
    assert_eq!(inputs(3), inputs(3));
    assert_ne!(inputs(3), inputs(4));
    assert!(inputs(3).iter().all(|input| input.len() <= 512));
}

const CHILD: &str = "DATAFOLD_FUZZ_CANARY";

/// Run by itself it does nothing; run by the canary its body does not end.
#[test]
fn a_body_without_end() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let fuzz = Fuzz::new("endless").seeds(["stop"]).stuck(Duration::from_millis(200));
    fuzz.inputs(10).run(|input| {
        let never = std::hint::black_box(Duration::MAX);
        let begin = Instant::now();
        while input == b"stop" && begin.elapsed() < never {
            std::hint::spin_loop();
        }
    });
}

#[test]
fn canary_a_body_without_end_is_ended() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fuzz::tests::a_body_without_end", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("endless does not end with DATAFOLD_FUZZ_INPUT=73746f70"), "{told}");
}
