//! The paths that a source names, `use` trees spelled out.

/// A path and the line on which it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath<'a> {
    pub(crate) line: usize,
    pub(crate) segments: Vec<&'a str>,
}

impl NamedPath<'_> {
    /// Whether these segments stand in it, one behind the other; `a::*` names all of `a`.
    pub(crate) fn names(&self, wanted: &str) -> bool {
        let wanted: Vec<_> = wanted.split("::").collect();
        let has = |part: &[&str]| self.segments.windows(part.len()).any(|window| window == part);
        let globbed = || {
            let mut parent = wanted.clone();
            parent.pop();
            parent.push("*");
            parent.len() > 1 && self.segments.ends_with(&parent)
        };
        has(&wanted) || globbed()
    }

    pub(crate) fn is_of_crate(&self, name: &str) -> bool {
        self.segments.first() == Some(&name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Separator,
    Symbol(char),
}

fn tokens(code: &str) -> Vec<(usize, Token<'_>)> {
    let mut out = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let (token, len) = if is_word(first) {
                let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token::Word(&rest[..len]), len)
            } else if rest.starts_with("::") {
                (Token::Separator, 2)
            } else {
                (Token::Symbol(first), first.len_utf8())
            };
            out.push((number + 1, token));
            rest = rest[len..].trim_start();
        }
    }
    out
}

/// Every path of two segments or more, and every path that is imported.
pub(crate) fn paths(code: &str) -> Vec<NamedPath<'_>> {
    let tokens = tokens(code);
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new() };
    while let Some(token) = reader.next() {
        match token {
            Token::Word("use") if reader.peek() != Some(Token::Symbol('<')) => {
                reader.use_tree(&mut Vec::new());
            }
            Token::Word("extern") if reader.peek() == Some(Token::Word("crate")) => {
                reader.next();
                if let Some(Token::Word(name)) = reader.next() {
                    reader.push(vec![name]);
                }
            }
            Token::Word(first) => {
                let segments = reader.inline(first);
                if segments.len() > 1 {
                    reader.push(segments);
                }
            }
            Token::Separator | Token::Symbol(_) => {}
        }
    }
    reader.found
}

struct Reader<'a, 't> {
    tokens: &'t [(usize, Token<'a>)],
    at: usize,
    found: Vec<NamedPath<'a>>,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(_, token)| *token)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn push(&mut self, segments: Vec<&'a str>) {
        let line = self.tokens[self.at.min(self.tokens.len()) - 1].0;
        self.found.push(NamedPath { line, segments });
    }

    fn inline(&mut self, first: &'a str) -> Vec<&'a str> {
        let mut segments = vec![first];
        while let (Some(Token::Separator), Some((_, Token::Word(word)))) =
            (self.peek(), self.tokens.get(self.at + 1))
        {
            segments.push(word);
            self.at += 2;
        }
        segments
    }

    /// Reads the tree behind `prefix` up to its `,`, `}` or `;`.
    fn use_tree(&mut self, prefix: &mut Vec<&'a str>) {
        let own = prefix.len();
        loop {
            match self.peek() {
                Some(Token::Word("as")) => {
                    self.at += 2;
                }
                Some(Token::Word(word)) => {
                    self.at += 1;
                    prefix.push(word);
                }
                Some(Token::Symbol('*')) => {
                    self.at += 1;
                    prefix.push("*");
                }
                Some(Token::Separator) => self.at += 1,
                Some(Token::Symbol('{')) => {
                    self.at += 1;
                    while !matches!(self.peek(), None | Some(Token::Symbol('}' | ';'))) {
                        self.use_tree(prefix);
                        if self.peek() == Some(Token::Symbol(',')) {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    break;
                }
                _ => {
                    if prefix.len() > own {
                        self.push(prefix.clone());
                    }
                    break;
                }
            }
        }
        prefix.truncate(own);
    }
}

#[test]
fn use_trees_are_spelled_out_and_inline_paths_found() {
    let code = "use std::{fs, thread::{self, Builder as B}};\nextern crate redb;\n\
                use a::*;\nfn f() -> impl Fn() + use<> {\n\
                single; let x = crate::engine::redb::open::<u8>(); }";
    let found: Vec<_> = paths(code).iter().map(|p| (p.line, p.segments.join("::"))).collect();
    let expected = [
        (1, "std::fs"),
        (1, "std::thread::self"),
        (1, "std::thread::Builder"),
        (2, "redb"),
        (3, "a::*"),
        (5, "crate::engine::redb::open"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    let glob = NamedPath { line: 1, segments: vec!["std", "thread", "*"] };
    assert!(glob.names("thread::spawn") && !glob.names("fs::File") && !glob.names("spawn"));
}
