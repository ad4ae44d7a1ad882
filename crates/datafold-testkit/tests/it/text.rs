//! Rules on what a source says and how it is laid out.

use std::path::Path;

use crate::source::{Finding, Source, assert_lines, check_all, root, sources};

const LINE_CHARS_MAX: usize = 100;
/// A crate's `lib.rs` is its table of contents.
const LIB_LINES_MAX: usize = 150;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "helper", "helpers", "common", "manager", "misc", "handler2"];

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(at, line)| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.filter(|word| !word.is_empty()).map(move |word| (at + 1, word))
    })
}

fn unsafe_rule(source: &Source) -> Vec<Finding> {
    let found = words(&source.code).filter(|(_, word)| *word == "unsafe");
    found.map(|(line, _)| source.finding(line, "there is no unsafe code")).collect()
}

fn unfinished_rule(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.code.lines().enumerate() {
        for name in ["todo!", "unimplemented!"] {
            if line.contains(name) {
                findings.push(source.finding(at + 1, format!("`{name}` is not finished")));
            }
        }
    }
    findings
}

/// A test or example that does not run shows nothing.
fn ignored_rule(source: &Source) -> Vec<Finding> {
    let fence = concat!("``", "`ignore");
    let mut findings = Vec::new();
    for (at, (code, text)) in source.code.lines().zip(source.text.lines()).enumerate() {
        let attribute = code.contains("#[ignore") || code.contains(", ignore)]");
        let example = text.trim_start().starts_with("//") && text.contains(fence);
        if attribute || example {
            findings.push(source.finding(at + 1, "no test and no example is ignored"));
        }
    }
    findings
}

fn length_rule(source: &Source) -> Vec<Finding> {
    let long = source.text.lines().enumerate().map(|(at, line)| (at + 1, line.chars().count()));
    long.filter(|(_, chars)| *chars > LINE_CHARS_MAX)
        .map(|(line, chars)| source.finding(line, format!("{chars} characters")))
        .collect()
}

fn lib_rule(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if !source.path.ends_with("/src/lib.rs") || lines < LIB_LINES_MAX {
        return Vec::new();
    }
    vec![source.finding(lines, format!("a lib.rs has fewer than {LIB_LINES_MAX} lines"))]
}

fn name_rule(source: &Source) -> Vec<Finding> {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
    empty.map(|part| source.finding(1, format!("`{part}` names no concept"))).collect()
}

#[test]
fn there_is_no_unsafe_code() {
    check_all("unsafe code", unsafe_rule);
}

#[test]
fn nothing_is_left_unfinished() {
    check_all("unfinished code", unfinished_rule);
}

#[test]
fn no_test_is_ignored() {
    check_all("ignored tests", ignored_rule);
}

#[test]
fn lines_are_short() {
    check_all("long lines", length_rule);
}

#[test]
fn a_lib_file_is_a_table_of_contents() {
    check_all("long lib.rs", lib_rule);
    assert!(sources().iter().any(|source| source.path == "crates/datafold-store/src/lib.rs"));
}

#[test]
fn files_are_named_by_their_noun() {
    check_all("names of files", name_rule);
}

#[test]
fn canary_text() {
    let path = "crates/x/src/x.rs";
    let words = "// unsafe\nlet a = \"unsafe todo!()\";\nunsafe { todo!() }\nunimplemented!();\n";
    assert_lines(unsafe_rule, path, words, &[3]);
    assert_lines(unfinished_rule, path, words, &[3, 4]);
    let ignored = format!(
        "#[test]\n#[ignore = \"slow\"]\n/// {0}ignore\n/// {0}\n#[cfg_attr(miri, ignore)]\n",
        "`".repeat(3)
    );
    assert_lines(ignored_rule, path, &ignored, &[2, 3, 5]);
    let lines = format!("{}\n{}\n", "é".repeat(LINE_CHARS_MAX), "x".repeat(LINE_CHARS_MAX + 1));
    assert_lines(length_rule, path, &lines, &[2]);
    let lib = "x\n".repeat(LIB_LINES_MAX);
    assert_lines(lib_rule, "crates/x/src/lib.rs", &lib, &[LIB_LINES_MAX]);
    assert_lines(lib_rule, path, &lib, &[]);
    assert_lines(name_rule, "crates/x/src/utils.rs", "", &[1]);
    assert_lines(name_rule, "crates/x/src/common/mod.rs", "", &[1]);
    assert_lines(name_rule, "crates/x/src/commons.rs", "", &[]);
}

/// A script that cannot be executed fails only where it is needed.
#[cfg(unix)]
#[test]
fn scripts_can_be_executed() {
    use std::os::unix::fs::PermissionsExt;

    let is_executable =
        |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o111 == 0o111;
    for script in ["scripts/test", "scripts/fuzz", ".ci/run"] {
        assert!(is_executable(&root().join(script)), "{script} is not executable");
    }
    assert!(!is_executable(&root().join("Cargo.toml")), "the canary");
}
