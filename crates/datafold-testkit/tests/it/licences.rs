//! The licences of everything that is built, against the list in `deny.toml`.

use std::fs;

use crate::manifests::cargo_tree;
use crate::source::root;

/// The texts between quotes behind `allow = [`.
fn allowed(deny: &str) -> Vec<&str> {
    let list = deny.split_once("\nallow = [").unwrap().1;
    list.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect()
}

/// Whether a licence expression can be met with the allowed licences.
///
/// Source: SPDX specification, annex B; `/` is cargo's older way to write `OR`.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed };
    let met = reader.any();
    met && reader.at == words.len()
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a [&'a str],
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.take("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.take("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let met = self.any();
            return self.take(")") && met;
        }
        let Some(name) = self.words.get(self.at).copied() else { return false };
        self.at += 1;
        let mut name = name.to_owned();
        if self.take("WITH") {
            let exception = self.words.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            name = format!("{name} WITH {exception}");
        }
        self.allowed.contains(&name.as_str())
    }
}

#[test]
fn every_crate_that_is_built_has_an_allowed_licence() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let allowed = allowed(&deny);
    let tree = cargo_tree(&["--edges", "normal,build,dev", "--prefix", "none", "-f", "{p}|{l}"]);
    let mut lines: Vec<_> = tree.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    assert!(lines.len() > 20, "{tree}");
    let refused = lines.into_iter().filter(|line| {
        let licence = line.split_once('|').map_or("", |(_, licence)| licence);
        !is_met(licence.trim_end_matches(" (*)"), &allowed)
    });
    let refused: Vec<_> = refused.collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow:\n{}", refused.join("\n"));
}

#[test]
fn canary_licences() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
    for met in [
        "MIT",
        "MIT/GPL-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for refused in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "MIT Apache-2.0"]
    {
        assert!(!is_met(refused, &allowed), "{refused}");
    }
}
