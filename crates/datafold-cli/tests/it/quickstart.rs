//! `quickstart`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use crate::Folder;

#[test]
fn the_tour_is_given_and_given_again() {
    let folder = Folder::empty();
    let tour = folder.run(["quickstart"]).done();
    for part in [
        "✓ created ./datafold-quickstart",
        "✓ approved 5 schemas in commit 6",
        "✓ Flight: 27,004 rows imported in ",
        "5 records as of commit ",
        "4 records as of commit ",
        "delay_class = \"not flown\"  transform-",
        "└─ dep_delay = null  taken away by owner, commit ",
        "2013-01-09T14:00:00Z  N384HA        641       1301       1272  HNL",
        "2013-01-09T14:00:00Z  N384HA        621       1281       1272  HNL",
    ] {
        assert!(tour.contains(part), "{part}: {tour}");
    }
    let store = ["--store", "./datafold-quickstart"];
    let stats = folder.run([&["stats", "--format", "json"], &store[..]].concat()).json();
    assert_eq!(stats["records"], 16 + 1_458 + 3_322 + 26_115 + 27_003);
    let again = folder.run(["quickstart"]).done();
    for part in [
        "✓ ./datafold-quickstart is there",
        "✓ 5 schemas are there",
        "✓ Flight: 27,003 records are there",
        "✓ made in commit ",
    ] {
        assert!(again.contains(part), "{part}: {again}");
    }
    let after = folder.run([&["stats", "--format", "json"], &store[..]].concat()).json();
    assert_eq!(after["commit"], stats["commit"], "nothing is done twice");
    suggestions_work(&folder, &tour);
}

/// Pastes the commands that the tour ends with into a shell.
fn suggestions_work(folder: &Folder, tour: &str) {
    let (_, next) = tour.split_once("Try next\n").unwrap();
    let commands: Vec<_> =
        next.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let answer = Command::new("sh").args(["-c", command]).current_dir(folder.path("")).output();
        let answer = crate::Answer::from(answer.unwrap());
        assert_eq!(answer.code, 0, "{command}: {answer:?}");
        // The shell has nothing to read here.
        let is_shell = command.ends_with(" shell");
        assert_eq!(answer.out.is_empty(), is_shell, "{command}: {answer:?}");
    }
}

#[test]
fn the_example_can_be_loaded_by_hand_as_its_readme_says() {
    let folder = Folder::empty();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nycflights");
    let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
    let (_, block) = readme.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let store = format!("DATAFOLD_STORE={}", folder.path("store").display());
    let block = block.replace("DATAFOLD_STORE=flights-data", &store);
    assert!(block.contains(&store));
    let programs = Path::new(env!("CARGO_BIN_EXE_datafold")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", &block]).current_dir(example);
    command.env("PATH", format!("{}:{path}", programs.display()));
    let out = crate::Answer::from(command.output().unwrap()).done();
    assert!(out.contains("HA           51  2013-01-01T14:00:00Z  JFK"), "{out}");
}

#[test]
fn a_tour_that_was_interrupted_is_completed() {
    let folder = Folder::empty();
    // Each time it gets as far as such a line.
    for reached in ["✓ created", "✓ Plane: ", "✓ Weather: ", "✓ commit "] {
        let mut child = folder.command(["quickstart", "--dir", "q"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(reached)), "{reached}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    folder.run(["quickstart", "--dir", "q"]).done();
    let stats = folder.run(["stats", "--store", "q", "--format", "json"]).json();
    assert_eq!(stats["records"], 16 + 1_458 + 3_322 + 26_115 + 27_003);
    assert_eq!(folder.run(["verify", "--store", "q", "--format", "json"]).json()["sound"], true);
}
