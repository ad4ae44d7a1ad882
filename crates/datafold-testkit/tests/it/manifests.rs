//! Which crate may depend on which, and what each manifest must say.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::source::{CRATE_FOLDERS, Finding, assert_none, collect, relative, root};

/// Our crates and the ones of ours that each may use.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("datafold-store", &[]),
    ("datafold-lang", &[]),
    ("datafold", &["datafold-store", "datafold-lang"]),
    ("datafold-node", &["datafold"]),
    ("datafold-cli", &["datafold-node", "datafold"]),
    ("datafold-testkit", &["datafold-store"]),
    // Only measures; nothing depends on it.
    ("datafold-bench", &["datafold", "datafold-store", "datafold-testkit"]),
];
/// Used by tests only.
const TESTKIT: &str = "datafold-testkit";
/// Crates that the tests of every crate may use.
const OF_TESTS: &[&str] = &["rusqlite"];
/// Crates, each with the only ones of ours that may depend on them.
const EXTERNAL: &[(&str, &[&str])] = &[
    ("redb", &["datafold-store", "datafold-bench"]),
    ("rpds", &["datafold-store"]),
    ("rusqlite", &["datafold-bench"]),
    ("sled", &["datafold-store", "datafold-bench"]),
    ("tokio-postgres", &["datafold-store"]),
    ("tokio", &["datafold-store", "datafold-node", "datafold-cli"]),
    ("axum", &["datafold-node", "datafold-cli"]),
    ("hyper", &["datafold-node", "datafold-cli"]),
];
const LICENCE: &str = "MIT OR Apache-2.0";

/// The direct dependencies of each crate of the workspace.
type Edges = BTreeMap<String, Vec<String>>;

/// What `cargo tree` answers: the resolved manifests, without a network.
pub(crate) fn cargo_tree(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["tree", "--workspace", "--locked", "--offline", "--color", "never", "--no-dedupe"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn edges(kind: &str) -> Edges {
    edges_of(&cargo_tree(&["--depth", "1", "--prefix", "depth", "--edges", kind]))
}

/// Reads lines such as `0datafold v0.1.0 (/path)` and, below it, `1bytes v1.12.0`.
fn edges_of(tree: &str) -> Edges {
    let mut edges = Edges::new();
    let mut from = String::new();
    for line in tree.lines() {
        let name = |rest: &str| rest.split(' ').next().unwrap_or_default().to_owned();
        if let Some(rest) = line.strip_prefix('0') {
            from = name(rest);
            edges.entry(from.clone()).or_default();
        } else if let Some(rest) = line.strip_prefix('1') {
            edges.entry(from.clone()).or_default().push(name(rest));
        }
    }
    edges
}

/// What is wrong with the dependencies; `is_dev` for those of tests.
fn wrong_edges(edges: &Edges, is_dev: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, tos) in edges {
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| name == from) else {
            wrong.push(format!("{from} is a crate whose direction is not decided"));
            continue;
        };
        for to in tos {
            let is_ours = DIRECTIONS.iter().any(|(name, _)| name == to);
            let is_testkit = is_dev && to == TESTKIT;
            if is_ours && !is_testkit && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{from} must not depend on {to}"));
            }
            let external = EXTERNAL.iter().find(|(name, _)| name == to);
            let is_of_tests = is_dev && OF_TESTS.contains(&to.as_str());
            if external.is_some_and(|(_, users)| !users.contains(&from.as_str()) && !is_of_tests) {
                wrong.push(format!("{from} must not depend on the crate {to}"));
            }
        }
    }
    wrong
}

#[test]
fn crates_depend_only_downwards() {
    let (normal, dev) = (edges("normal,build"), edges("dev"));
    assert!(normal["datafold-testkit"].contains(&"datafold-store".into()), "{normal:?}");
    let wrong = [wrong_edges(&normal, false), wrong_edges(&dev, true)].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn canary_directions() {
    let tree = "0datafold-store v0.1.0 (/x)\n1datafold v0.1.0 (/x)\n1redb v4.6.0\n\n\
                0datafold v0.1.0 (/x)\n1datafold-store v0.1.0 (/x)\n1datafold-testkit v0.1.0 (/x)\n\
                1redb v4.6.0\n1tokio v1.0.0\n\n0datafold-new v0.1.0 (/x)\n";
    let found = wrong_edges(&edges_of(tree), false);
    let expected = [
        "datafold must not depend on datafold-testkit",
        "datafold must not depend on the crate redb",
        "datafold must not depend on the crate tokio",
        "datafold-new is a crate whose direction is not decided",
        "datafold-store must not depend on datafold",
    ];
    assert_eq!(found, expected);
    assert!(!wrong_edges(&edges_of(tree), true).contains(&expected[0].to_owned()));
}

/// The lines of one section of a manifest, with their numbers.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<(usize, &'a str)> {
    let header = format!("[{name}]");
    let lines = manifest.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines
        .skip_while(|(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .collect()
}

/// Every dependency says what it is for, in a comment above it. A family (`serde`, `serde_json`)
/// shares one, and so do our own crates.
fn why_rule(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut above, mut family) = ("", "");
    for (line, text) in section(manifest, "workspace.dependencies") {
        if let Some((name, value)) = text.split_once('=').filter(|_| !text.starts_with('#')) {
            let name = name.trim();
            let is_explained = above.starts_with("# ") && above.len() > 5;
            let is_family = !family.is_empty() && name.starts_with(family);
            if !is_explained && !is_family && !value.contains("path =") {
                findings.push(Finding::new(path, line, format!("`{name}` says not what for")));
            }
            family = name;
            for source in ["git =", "\"*\""] {
                if value.contains(source) {
                    findings.push(Finding::new(path, line, format!("`{name}` is not pinned")));
                }
            }
        } else {
            family = "";
        }
        above = text;
    }
    findings
}

/// A member takes licence, lints and versions from the workspace, and is not published.
fn member_rule(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let package = section(manifest, "package");
    for wanted in ["license.workspace = true", "publish.workspace = true"] {
        if !package.iter().any(|(_, line)| *line == wanted) {
            findings.push(Finding::new(path, 1, format!("`{wanted}` is missing")));
        }
    }
    if !section(manifest, "lints").iter().any(|(_, line)| *line == "workspace = true") {
        findings.push(Finding::new(path, 1, "`[lints] workspace = true` is missing"));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (line, text) in section(manifest, kind) {
            if text.contains('=') && !text.starts_with('#') && !text.contains("workspace = true") {
                findings.push(Finding::new(path, line, "its version is not the workspace's"));
            }
        }
    }
    findings
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!section(&manifest, "workspace.dependencies").is_empty());
    assert_none("dependencies", &why_rule("Cargo.toml", &manifest));
}

#[test]
fn members_take_licence_lints_and_versions_from_the_workspace() {
    let root = root();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let licence = format!("license = \"{LICENCE}\"");
    assert!(section(&workspace, "workspace.package").iter().any(|(_, line)| *line == licence));
    let forbidden = section(&workspace, "workspace.lints.rust");
    assert!(forbidden.iter().any(|(_, line)| *line == "unsafe_code = \"forbid\""));
    let mut files = Vec::new();
    for folder in CRATE_FOLDERS {
        collect(&root.join(folder), "toml", &mut files);
    }
    files.retain(|file| file.file_name().is_some_and(|name| name == "Cargo.toml"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let manifest = fs::read_to_string(&file).unwrap();
        assert_none("manifests", &member_rule(&relative(&root, &file), &manifest));
    }
}

#[test]
fn canary_manifests() {
    let manifest = "[workspace.dependencies]\n# Ours.\na = { path = \"a\" }\nb = { path = \"b\" }\n\
                    # Encodes values.\nserde = \"1\"\nserde_json = \"1\"\nlog = \"*\"\n\n\
                    rand = { git = \"x\" }\n[profile.dev]\ndebug = 1\n";
    let found: Vec<_> = why_rule("Cargo.toml", manifest).iter().map(Finding::to_string).collect();
    let expected = [
        "Cargo.toml:8: `log` says not what for",
        "Cargo.toml:8: `log` is not pinned",
        "Cargo.toml:10: `rand` says not what for",
        "Cargo.toml:10: `rand` is not pinned",
    ];
    assert_eq!(found, expected);
    let member = "[package]\nname = \"a\"\nlicense.workspace = true\n[dependencies]\n\
                  log.workspace = true\nrand = \"1\"\n";
    let found: Vec<_> = member_rule("a", member).iter().map(Finding::to_string).collect();
    let expected = [
        "a:1: `publish.workspace = true` is missing",
        "a:1: `[lints] workspace = true` is missing",
        "a:6: its version is not the workspace's",
    ];
    assert_eq!(found, expected);
}
