//! The sources, with what the rules must not look at blanked out.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// One `.rs` file.
pub(crate) struct Source {
    /// From the root of the repository on, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked; lines and columns stay.
    pub(crate) code: String,
}

/// A place that breaks a rule.
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    /// Whether the file is compiled for tests only.
    pub(crate) fn is_test(&self) -> bool {
        let test_folders = ["/tests/", "/benches/", "/examples/"];
        let path = format!("/{}", self.path);
        let test_files = ["/tests.rs", "/fuzz.rs"];
        test_files.iter().any(|file| path.ends_with(file))
            || test_folders.iter().any(|at| path.contains(at))
    }

    /// The code without its `#[cfg(test)]` items.
    pub(crate) fn product_code(&self) -> String {
        without_tests(&self.code)
    }

    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding::new(&self.path, line, what)
    }
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folders with crates of the workspace.
pub(crate) const CRATE_FOLDERS: [&str; 2] = ["crates", "benches"];

/// Every `.rs` file of the workspace's crates.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in CRATE_FOLDERS {
        collect(&root.join(folder), "rs", &mut files);
    }
    let read = |file: PathBuf| {
        let path = relative(&root, &file);
        Source::new(&path, &fs::read_to_string(&file).unwrap())
    };
    let sources: Vec<_> = files.into_iter().map(read).collect();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// The files below `folder` with this extension, sorted; build output is left out.
pub(crate) fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&entry, extension, files);
            }
        } else if entry.extension().is_some_and(|found| found == extension) {
            files.push(entry);
        }
    }
}

pub(crate) fn relative(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).unwrap();
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Fails with every place that was found.
#[track_caller]
pub(crate) fn assert_none(rule: &str, findings: &[Finding]) {
    let places: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{rule}:\n{}", places.join("\n"));
}

/// Runs a rule on every source.
#[track_caller]
pub(crate) fn check_all(name: &str, rule: impl Fn(&Source) -> Vec<Finding>) {
    assert_none(name, &sources().iter().flat_map(rule).collect::<Vec<_>>());
}

/// The canary: the rule finds exactly these lines of a planted text.
#[track_caller]
pub(crate) fn assert_lines(
    rule: impl Fn(&Source) -> Vec<Finding>,
    path: &str,
    text: &str,
    lines: &[usize],
) {
    let found: Vec<_> = rule(&Source::new(path, text)).iter().map(|found| found.line).collect();
    assert_eq!(found, lines, "{path}:\n{text}");
}

/// Blanks comments, texts and characters.
pub(crate) fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let skip = comment_len(rest).or_else(|| literal_len(rest, before));
        let len = skip.unwrap_or(first.len_utf8());
        let (head, behind) = rest.split_at(len);
        match skip {
            Some(_) => out.extend(head.chars().map(|c| if c == '\n' { c } else { ' ' })),
            None => out.push(first),
        }
        before = if skip.is_some() { ' ' } else { first };
        rest = behind;
    }
    out
}

fn comment_len(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(rest.len())
}

fn literal_len(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with('"') {
        return Some(quoted_len(rest, '"'));
    }
    if rest.starts_with('\'') {
        let mut chars = rest.chars().skip(1);
        let (first, second) = (chars.next()?, chars.next()?);
        // A lifetime has no quote behind its first character.
        return (first == '\\' || second == '\'').then(|| quoted_len(rest, '\''));
    }
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let behind = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let body = behind.trim_start_matches('#');
    let hashes = behind.len() - body.len();
    let body = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let open = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| open + at + end.len()))
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Blanks the items behind `#[cfg(test)]`. `code` has neither comments nor literals.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let item = &rest[at..];
        let end = item.find(['{', ';']).map_or(item.len(), |open| {
            if item[open..].starts_with(';') { open + 1 } else { open + block_len(&item[open..]) }
        });
        out.push_str(&rest[..at]);
        out.extend(item[..end].chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &item[end..];
    }
    out + rest
}

/// The length of the block that starts with `{`.
fn block_len(block: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in block.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    block.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = "let a = \"// no\\\" comment\"; // unsafe\n\
                /* a /* nested */ one */ let b: &'static str = r#\"a \"quote\"\"#;\n\
                let c = ['\"', '\\'', b'x']; fn f<'a>(x: &'a str) {}";
    let code = code_of(text);
    assert_eq!(code.len(), text.len());
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = code.lines().map(words).collect();
    assert_eq!(lines[0], "let a = ;");
    assert_eq!(lines[1], "let b: &'static str = ;");
    assert_eq!(lines[2], "let c = [ , , b ]; fn f<'a>(x: &'a str) {}");
}

#[test]
fn test_items_are_blanked() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { c() }\n}\nfn d() {}\n\
                #[cfg(test)]\nmod more;\nfn e() {}\n";
    let source = Source::new("crates/x/src/x.rs", text);
    let code = source.product_code();
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(code.contains("fn a()") && code.contains("fn d()") && code.contains("fn e()"));
    assert!(!code.contains("fn b") && !code.contains("c()") && !code.contains("more"));
    assert!(!source.is_test() && Source::new("crates/x/tests/it/a.rs", "").is_test());
}
