//! The documents: their links lead somewhere, and the examples of `docs/format.md` are right.

use std::fs;
use std::path::{Path, PathBuf};

use datafold_store::encoding::{KeyPart, KeyReader, KeyWriter};

use crate::source::{Finding, assert_none, collect, relative, root};

/// Links to files that are not there.
fn dead_links(root: &Path, file: &Path, text: &str) -> Vec<Finding> {
    let path = relative(root, file);
    let folder = file.parent().unwrap();
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            let is_outside = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !is_outside && !folder.join(target).exists() {
                findings.push(Finding::new(&path, at + 1, format!("`{target}` is not there")));
            }
        }
    }
    findings
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let mut files = Vec::new();
    collect(&root, "md", &mut files);
    assert!(files.iter().any(|file| file.ends_with("docs/format.md")), "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert_none("links", &dead_links(&root, &file, &text));
    }
}

#[test]
fn canary_links() {
    let root = root();
    let file: PathBuf = root.join("README.md");
    let text = "[a](Cargo.toml#x) [b](https://example.org/x)\n[c](docs/no-such-file.md)\n";
    let found: Vec<_> = dead_links(&root, &file, text).iter().map(Finding::to_string).collect();
    assert_eq!(found, ["README.md:2: `docs/no-such-file.md` is not there"]);
}

/// The lines of the first code block that begins with `fence`, without hidden lines and blanks, so
/// that two blocks may be wrapped differently.
fn first_block(text: &str, fence: &str) -> String {
    let mut lines = text.lines().map(|line| line.trim_start_matches("///").trim());
    lines.by_ref().find(|line| *line == fence).unwrap();
    let block = lines.take_while(|line| *line != "```").filter(|line| !line.starts_with("# "));
    block.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

/// The README shows what the doctest of `FoldDb` compiles and runs.
#[test]
fn the_example_of_the_readme_is_compiled() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let readme = first_block(&read("README.md"), "```rust");
    let source = read("crates/datafold/src/engine/fold_db.rs");
    let (before, _) = source.split_once("pub struct FoldDb {").unwrap();
    let doctest = first_block(before, "```");
    assert!(doctest.len() > 100, "the example was not found");
    assert_eq!(readme, doctest);
    assert_eq!(first_block("a\n```rust\nlet a =\n  1;\n# hidden\n```\nb", "```rust"), "leta=1;");
}

/// The lines `what -> bytes` of the blocks that are marked `text key-examples`.
fn examples(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("```text key-examples\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines
        .filter_map(|line| line.split_once("->"))
        .map(|(what, bytes)| (what.trim().to_owned(), bytes.trim().to_owned()))
        .collect()
}

/// The bytes of a key such as `id 1, text "UA", int 1545`, in hexadecimal digits.
fn key_bytes(what: &str) -> String {
    let mut key = KeyWriter::new();
    let mut parts = Vec::new();
    for item in what.split(", ") {
        let (kind, value) = item.split_once(' ').unwrap_or((item, ""));
        let part = match kind {
            "id" => {
                key.id(value.parse().unwrap());
                continue;
            }
            "ascending" => {
                key.ascending(value.parse().unwrap());
                continue;
            }
            "descending" => {
                key.descending(value.parse().unwrap());
                continue;
            }
            "null" => KeyPart::Null,
            "false" => KeyPart::Bool(false),
            "true" => KeyPart::Bool(true),
            "int" => KeyPart::Int(value.parse().unwrap()),
            "float" => KeyPart::Float(value.parse().unwrap()),
            "time" => KeyPart::Time(value.parse().unwrap()),
            "text" => KeyPart::Text(value.trim_matches('"').replace("\\0", "\0")),
            other => panic!("`{other}` is no part of a key"),
        };
        key.part(&part).unwrap();
        parts.push(part);
    }
    let bytes = key.into_vec();
    if parts.len() == what.split(", ").count() {
        let mut reader = KeyReader::new(&bytes);
        for _ in &parts {
            reader.part().unwrap();
        }
        assert!(reader.is_empty(), "{what} is not read back");
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The examples of which the bytes are others, with the right bytes.
fn wrong_examples(text: &str) -> Vec<String> {
    let wrong = examples(text).into_iter().filter(|(what, bytes)| key_bytes(what) != *bytes);
    wrong.map(|(what, _)| format!("{what} -> {}", key_bytes(&what))).collect()
}

#[test]
fn the_key_examples_of_the_format_are_right() {
    let text = fs::read_to_string(root().join("docs/format.md")).unwrap();
    assert!(examples(&text).len() >= 20, "the examples were not found");
    let wrong = wrong_examples(&text);
    assert!(wrong.is_empty(), "docs/format.md should say:\n{}", wrong.join("\n"));
}

#[test]
fn canary_key_examples() {
    let text = "```text key-examples\nid 1, true  -> 01 07\nint 0 -> 20 01\n```\nid 2 -> 00\n";
    assert_eq!(examples(text).len(), 2);
    assert_eq!(wrong_examples(text), ["int 0 -> 20 00"]);
}
