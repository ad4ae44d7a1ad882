//! The older way to write a transform: `transform name { logic: { … } }`.

use std::ops::Range;

use crate::SOURCE_BYTES_MAX;
use crate::diagnostic::{Checked, ErrorKind, Fault, Span};
use crate::program::CompileError;
use crate::token::{Keyword, Token, tokens};

/// A declared transform: a name, and where its statements stand in the declaration.
///
/// The members `reversible` and `signature` may stand before `logic`; they mean nothing.
///
/// ```
/// use datafold_lang::Declaration;
///
/// let source = "transform mph { reversible: false logic: { return distance / air_time * 60; } }";
/// let declaration = Declaration::parse(source)?;
/// assert_eq!(declaration.name, "mph");
/// assert_eq!(&source[declaration.logic], " return distance / air_time * 60; ");
/// assert!(Declaration::parse("transform mph { }").is_err());
/// # Ok::<(), datafold_lang::CompileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// The bytes of the statements.
    pub logic: Range<usize>,
}

impl Declaration {
    /// Finds the parts of a declaration. The statements are not looked at, but for their tokens.
    ///
    /// # Errors
    ///
    /// A [`CompileError`] with the place of what is not expected there.
    pub fn parse(source: &str) -> Result<Self, CompileError> {
        if source.len() > SOURCE_BYTES_MAX {
            let message = format!("a declaration has at most {SOURCE_BYTES_MAX} bytes");
            let fault = Fault::new(ErrorKind::SourceTooLong, message).at(Span::new(0, 1));
            return Err(CompileError::new("", vec![*fault]));
        }
        let read = || Reader { tokens: tokens(source)?, at: 0 }.declaration();
        read().map_err(|fault| CompileError::new(source, vec![*fault]))
    }
}

struct Reader {
    tokens: Vec<(Token, Span)>,
    at: usize,
}

impl Reader {
    fn declaration(&mut self) -> Checked<Declaration> {
        self.word("transform")?;
        let name = self.name("the name of the transform")?;
        self.symbol("{")?;
        loop {
            match self.name("`logic`, `reversible` or `signature`")?.as_str() {
                "logic" => break,
                "reversible" => self.reversible()?,
                "signature" => self.signature()?,
                _ => {
                    self.at -= 1;
                    return self.unexpected("`logic`, `reversible` or `signature`");
                }
            }
        }
        self.symbol(":")?;
        let logic = self.block()?;
        self.symbol("}")?;
        match self.peek() {
            Token::End => Ok(Declaration { name, logic }),
            _ => self.unexpected("the end"),
        }
    }

    fn reversible(&mut self) -> Checked<()> {
        self.symbol(":")?;
        match self.peek() {
            Token::Keyword(Keyword::True | Keyword::False) => {
                self.at += 1;
                Ok(())
            }
            _ => self.unexpected("`true` or `false`"),
        }
    }

    /// A text, or a name with arguments in parentheses.
    fn signature(&mut self) -> Checked<()> {
        self.symbol(":")?;
        if matches!(self.peek(), Token::Text(_)) {
            self.at += 1;
            return Ok(());
        }
        self.name("a text or a call")?;
        self.enclosed("(", ")").map(drop)
    }

    /// The bytes between two braces.
    fn block(&mut self) -> Checked<Range<usize>> {
        self.enclosed("{", "}")
    }

    fn enclosed(&mut self, open: &str, close: &str) -> Checked<Range<usize>> {
        let start = self.symbol(open)?.end as usize;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Token::End => return self.unexpected(&format!("`{close}`")),
                Token::Symbol(symbol) if *symbol == open => depth += 1,
                Token::Symbol(symbol) if *symbol == close && depth == 0 => {
                    return Ok(start..self.symbol(close)?.start as usize);
                }
                Token::Symbol(symbol) if *symbol == close => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        let token = self.tokens.get(self.at).or_else(|| self.tokens.last());
        token.map(|(_, span)| *span).unwrap_or_default()
    }

    fn word(&mut self, word: &str) -> Checked<()> {
        match self.peek() {
            Token::Name(name) if name == word => {
                self.at += 1;
                Ok(())
            }
            _ => self.unexpected(&format!("`{word}`")),
        }
    }

    fn name(&mut self, what: &str) -> Checked<String> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(what),
        }
    }

    fn symbol(&mut self, symbol: &str) -> Checked<Span> {
        match self.peek() {
            Token::Symbol(found) if *found == symbol => {
                let span = self.span();
                self.at += 1;
                Ok(span)
            }
            _ => self.unexpected(&format!("`{symbol}`")),
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Checked<T> {
        let message = format!("expected {expected}, found {}", self.peek().describe());
        Err(Fault::new(ErrorKind::Syntax, message).at(self.span()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logic(source: &str) -> String {
        let found = Declaration::parse(source).unwrap();
        source[found.logic].trim().to_owned()
    }

    #[test]
    fn the_statements_are_found_whatever_stands_in_them() {
        let source = r#"transform a_b { signature: sha256("}", f({}))
            logic: { if x { return "}"; } /* } */ // }
            y } }"#;
        assert_eq!(logic(source).lines().count(), 2);
        assert!(logic(source).starts_with("if x") && logic(source).ends_with('y'));
        assert_eq!(logic("transform t{signature:\"s\"logic:{}}"), "");
    }

    #[test]
    fn what_is_no_declaration_is_refused_at_its_place() {
        for (source, place, message) in [
            ("", 1, "expected `transform`, found the end"),
            ("transform { logic: { 1 } }", 11, "expected the name of the transform"),
            ("transform t { logic { 1 } }", 21, "expected `:`, found `{`"),
            ("transform t { logic: { 1 }", 27, "expected `}`, found the end"),
            ("transform t { logic: { 1 } } x", 30, "expected the end, found `x`"),
            ("transform t { speed: 1 }", 15, "expected `logic`, `reversible` or `signature`"),
            ("transform t { reversible: 1 }", 27, "expected `true` or `false`"),
            ("transform t { logic: { ' } }", 24, ""),
        ] {
            let error = Declaration::parse(source).unwrap_err();
            let found = &error.diagnostics[0];
            assert_eq!(found.column, place, "{source}: {found}");
            assert!(found.message.starts_with(message), "{source}: {found}");
        }
    }
}
