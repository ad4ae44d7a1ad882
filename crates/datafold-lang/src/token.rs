//! Tokens, and the lexer that finds them.

use crate::diagnostic::{Checked, ErrorKind, Fault, Span, quoted};

/// The smallest part of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// The digits of an integer; its sign is an operator.
    Int(u64),
    Float(f64),
    Text(String),
    Name(String),
    /// `$name`
    Parameter(String),
    Keyword(Keyword),
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Let,
    If,
    Else,
    Return,
    True,
    False,
    Null,
    In,
}

impl Keyword {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "let" => Keyword::Let,
            "if" => Keyword::If,
            "else" => Keyword::Else,
            "return" => Keyword::Return,
            "true" => Keyword::True,
            "false" => Keyword::False,
            "null" => Keyword::Null,
            "in" => Keyword::In,
            _ => return None,
        })
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Keyword::Let => "let",
            Keyword::If => "if",
            Keyword::Else => "else",
            Keyword::Return => "return",
            Keyword::True => "true",
            Keyword::False => "false",
            Keyword::Null => "null",
            Keyword::In => "in",
        }
    }
}

impl Token {
    /// The token in a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Int(_) | Token::Float(_) => "a number".to_owned(),
            Token::Text(_) => "a text".to_owned(),
            Token::Name(name) => format!("`{}`", quoted(name)),
            Token::Parameter(name) => format!("`${}`", quoted(name)),
            Token::Keyword(keyword) => format!("`{}`", keyword.word()),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_owned(),
        }
    }
}

/// The symbols, longer ones before those that they begin with.
const SYMBOLS: [&str; 38] = [
    "===", "!==", "<>", "**", "&&", "||", "==", "!=", "<=", ">=", "=>", "??", "...", "+", "-", "*",
    "/", "%", "^", "(", ")", "[", "]", "{", "}", ",", ";", ":", "?", ".", "<", ">", "!", "=", "&",
    "|", "~", "@",
];

/// All tokens of a source, the last one [`Token::End`].
pub(crate) fn tokens(source: &str) -> Checked<Vec<(Token, Span)>> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let token = lexer.token().map_err(|fault| fault.at(Span::new(start, lexer.at)))?;
        let is_end = token == Token::End;
        tokens.push((token, Span::new(start, lexer.at)));
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

fn syntax(message: impl Into<String>) -> Box<Fault> {
    Fault::new(ErrorKind::Syntax, message)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes what fits and gives it.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let taken = rest.split_at(rest.find(|c| !fits(c)).unwrap_or(rest.len())).0;
        self.at += taken.len();
        taken
    }

    /// Blanks, line breaks and comments.
    fn skip_blanks(&mut self) -> Checked<()> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if let Some(body) = self.rest().strip_prefix("/*") {
                let Some(end) = body.find("*/") else {
                    let fault = syntax("the comment has no end").hint("end it with `*/`");
                    return Err(fault.at(Span::new(self.at, self.at + 2)));
                };
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Checked<Token> {
        let Some(first) = self.peek() else { return Ok(Token::End) };
        match first {
            '0'..='9' => self.number(),
            '"' | '\'' => self.text(first),
            '_' | 'a'..='z' | 'A'..='Z' => {
                let word = self.word();
                Ok(Keyword::of(word).map_or_else(|| Token::Name(word.to_owned()), Token::Keyword))
            }
            '$' => {
                self.bump();
                match self.word() {
                    "" => Err(syntax("`$` needs the name of a parameter behind it")),
                    name => Ok(Token::Parameter(name.to_owned())),
                }
            }
            _ => self.symbol(first),
        }
    }

    fn word(&mut self) -> &'s str {
        self.take_while(|c| c == '_' || c.is_ascii_alphanumeric())
    }

    fn symbol(&mut self, first: char) -> Checked<Token> {
        let rest = self.rest();
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) else {
            self.bump();
            let message = format!("`{}` does not belong here", first.escape_debug());
            return Err(syntax(message));
        };
        self.at += symbol.len();
        let hint = match symbol {
            "&" => "write `&&`",
            "|" => "write `||`",
            "===" => "write `==`",
            "!==" | "<>" => "write `!=`",
            "**" => "write `^`",
            "..." | "~" | "@" => "",
            symbol => return Ok(Token::Symbol(symbol)),
        };
        let fault = syntax(format!("`{symbol}` does not belong here"));
        Err(if hint.is_empty() { fault } else { fault.hint(hint) })
    }

    fn number(&mut self) -> Checked<Token> {
        let start = self.at;
        let whole = self.take_while(|c| c.is_ascii_digit());
        let mut is_float = false;
        let mut rest = self.rest().chars();
        if rest.next() == Some('.') && !rest.next().is_some_and(|c| c == '_' || c.is_alphabetic()) {
            self.bump();
            is_float = true;
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                return Err(invalid("a number needs digits behind its point").hint("write `5.0`"));
            }
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.bump();
            is_float = true;
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                return Err(invalid("a number needs digits behind its `e`"));
            }
        }
        if !self.word().is_empty() {
            return Err(invalid("a number and a word need a blank between them"));
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(invalid("a number must not start with a superfluous zero"));
        }
        let digits = self.source.get(start..self.at).unwrap_or_default();
        if is_float {
            let number: f64 = digits.parse().map_err(|_| invalid("this is no number"))?;
            if !number.is_finite() {
                return Err(invalid("a number must not be larger than 1.7976931348623157e308"));
            }
            return Ok(Token::Float(number));
        }
        digits.parse().map(Token::Int).map_err(|_| int_out_of_range())
    }

    fn text(&mut self, quote: char) -> Checked<Token> {
        let start = self.at;
        self.bump();
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != quote && c != '\\'));
            match self.bump() {
                Some('\\') => text.push(self.escape()?),
                Some(_) => return Ok(Token::Text(text)),
                None => {
                    let fault = syntax("the text has no end");
                    let fault = fault.hint(format!("end it with `{quote}`"));
                    return Err(fault.at(Span::new(start, start + 1)));
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Checked<char> {
        let start = self.at - 1;
        let wrong = |lexer: &Self, message: &str| {
            Err(syntax(message).at(Span::new(start, lexer.at.max(start + 1))))
        };
        Ok(match self.bump() {
            Some(c @ ('"' | '\'' | '\\' | '/' | '$')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('u') => {
                let Some(unit) = self.hex() else {
                    return wrong(self, "`\\u` needs four hexadecimal digits behind it");
                };
                let pair = match unit {
                    0xD800..=0xDBFF if self.rest().starts_with("\\u") => {
                        self.at += 2;
                        self.hex().map(|low| [unit, low])
                    }
                    _ => None,
                };
                let units = pair.as_ref().map_or(std::slice::from_ref(&unit), |pair| &pair[..]);
                match char::decode_utf16(units.iter().copied()).next() {
                    Some(Ok(c)) => c,
                    _ => return wrong(self, "an escaped surrogate needs its other half"),
                }
            }
            _ => {
                let message =
                    "the escape is not one of \\\" \\' \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX";
                return wrong(self, message);
            }
        })
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()?;
        self.at += 4;
        Some(unit)
    }
}

fn invalid(message: &str) -> Box<Fault> {
    Fault::new(ErrorKind::InvalidNumber, message)
}

pub(crate) fn int_out_of_range() -> Box<Fault> {
    invalid("an integer must be from -9223372036854775808 to 9223372036854775807")
        .hint("with a fraction, as in `1e19`, it is a float")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Token> {
        tokens(source).unwrap().into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn keywords_have_word_boundaries() {
        let names = ["nullable", "null_count", "trueish", "letx", "returns", "In"];
        for name in names {
            assert_eq!(kinds(name), [Token::Name(name.to_owned()), Token::End]);
        }
        assert_eq!(kinds("in"), [Token::Keyword(Keyword::In), Token::End]);
    }

    #[test]
    fn comments_end_with_the_line_or_the_source() {
        assert_eq!(kinds("1 // one\n/* two ** */ // end"), [Token::Int(1), Token::End]);
        assert!(tokens("1 /* ").unwrap_err().message.contains("no end"));
    }

    #[test]
    fn texts_have_the_escapes_of_json_and_span_lines() {
        let expected = Token::Text("a\"'\n\t\\\u{8}\u{c}é𝄞\nb".to_owned());
        assert_eq!(
            kinds(
                r#""a\"'\n\t\\\b\f\u00e9\ud834\udd1e
b""#
            )[0],
            expected
        );
        for wrong in [r#""\x""#, r#""\u12""#, r#""\ud834""#, r#""\udd1e""#, "'abc", "\"\\"] {
            assert_eq!(tokens(wrong).unwrap_err().kind, ErrorKind::Syntax, "{wrong}");
        }
    }

    #[test]
    fn numbers_of_other_forms_are_refused() {
        assert_eq!(
            kinds("5 0.5 1e3 0"),
            [Token::Int(5), Token::Float(0.5), Token::Float(1000.0), Token::Int(0), Token::End]
        );
        for wrong in ["5.", "007", "1e", "1_000", "0x10", "1e999", "99999999999999999999", "5a"] {
            assert_eq!(tokens(wrong).unwrap_err().kind, ErrorKind::InvalidNumber, "{wrong}");
        }
    }
}
