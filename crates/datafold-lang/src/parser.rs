//! From tokens to a tree, by precedence climbing.

use crate::DEPTH_MAX;
use crate::ast::{Argument, BinaryOp, Expr, ExprKind, Lambda, Statement};
use crate::diagnostic::{Checked, ErrorKind, Fault, Span};
use crate::token::{Keyword, Token, int_out_of_range, tokens};

/// Reads a source that is one expression.
pub(crate) fn parse_expression(source: &str) -> Checked<Expr> {
    let mut parser = Parser::new(source)?;
    if let Token::Keyword(Keyword::Let | Keyword::If | Keyword::Return) = parser.peek() {
        let message = format!("{} starts a statement", parser.peek().describe());
        let fault = Fault::new(ErrorKind::Syntax, message).at(parser.span());
        return Err(fault.hint("here stands one expression; `a ? b : c` chooses"));
    }
    let expr = parser.expr(0)?;
    parser.expect_end()?;
    Ok(expr)
}

/// Reads a source that is a list of statements.
pub(crate) fn parse_program(source: &str) -> Checked<Vec<Statement>> {
    let mut parser = Parser::new(source)?;
    let statements = parser.statements()?;
    parser.expect_end()?;
    Ok(statements)
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    /// Expressions and blocks that are being read.
    open: usize,
}

/// How an operator behind an operand goes on.
enum Infix {
    Binary(BinaryOp),
    And,
    Or,
    Conditional,
}

/// The binding powers: a higher one binds tighter. `left` is that of the operator, `right` the
/// least of what its right side may hold.
struct Power {
    left: u8,
    right: u8,
}

const UNARY: u8 = 17;

fn infix(token: &Token) -> Option<(Infix, Power)> {
    let left = |op, power| (Infix::Binary(op), Power { left: power, right: power + 1 });
    let right = |op, power| (Infix::Binary(op), Power { left: power, right: power });
    Some(match token {
        Token::Keyword(Keyword::In) => left(BinaryOp::In, 7),
        Token::Symbol(symbol) => match *symbol {
            "?" => (Infix::Conditional, Power { left: 1, right: 1 }),
            "||" => (Infix::Or, Power { left: 3, right: 4 }),
            "&&" => (Infix::And, Power { left: 5, right: 6 }),
            "==" => left(BinaryOp::Equal, 7),
            "!=" => left(BinaryOp::NotEqual, 7),
            "<" => left(BinaryOp::Less, 7),
            "<=" => left(BinaryOp::LessEqual, 7),
            ">" => left(BinaryOp::Greater, 7),
            ">=" => left(BinaryOp::GreaterEqual, 7),
            "??" => right(BinaryOp::Coalesce, 9),
            "+" => left(BinaryOp::Add, 11),
            "-" => left(BinaryOp::Subtract, 11),
            "*" => left(BinaryOp::Multiply, 13),
            "/" => left(BinaryOp::Divide, 13),
            "%" => left(BinaryOp::Remainder, 13),
            "^" => right(BinaryOp::Power, 15),
            _ => return None,
        },
        _ => return None,
    })
}

fn too_deep(span: Span) -> Box<Fault> {
    let message = format!("this is nested deeper than {DEPTH_MAX} levels");
    Fault::new(ErrorKind::TooDeep, message).at(span).hint("name parts of it with `let`")
}

/// What is written here for something of another language that stands where it cannot.
fn foreign(token: &Token) -> Option<&'static str> {
    Some(match token {
        Token::Name(name) => match name.to_ascii_lowercase().as_str() {
            "and" => "write `&&`",
            "or" => "write `||`",
            "not" => "write `!`",
            "is" => "write `==`",
            "like" => "`glob`, `contains` and `matches` look into a text",
            "between" => "write `a <= x && x <= b`",
            _ => return None,
        },
        Token::Symbol("=") => "`==` compares",
        Token::Symbol(".") => "a number needs a digit before its point, as in `0.5`",
        _ => return None,
    })
}

impl Parser {
    fn new(source: &str) -> Checked<Self> {
        Ok(Self { tokens: tokens(source)?, at: 0, open: 0 })
    }

    fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        let last = self.tokens.last().map(|(_, span)| *span).unwrap_or_default();
        self.tokens.get(self.at).map_or(last, |(_, span)| *span)
    }

    /// Takes the next token. The last one, [`Token::End`], stays.
    fn bump(&mut self) -> Token {
        let Some((token, _)) = self.tokens.get_mut(self.at) else { return Token::End };
        if *token == Token::End {
            return Token::End;
        }
        self.at += 1;
        // Nothing looks back at a token.
        std::mem::replace(token, Token::Symbol(""))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, symbol: &str, place: &str) -> Checked<Span> {
        let span = self.span();
        if self.take(symbol) { Ok(span) } else { self.unexpected(&format!("`{symbol}` {place}")) }
    }

    fn expect_end(&mut self) -> Checked<()> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Symbol("=") => {
                let message = "a name cannot be given another value";
                let fault = Fault::new(ErrorKind::Syntax, message).at(self.span());
                Err(fault.hint("`==` compares, `let` gives a name"))
            }
            Token::Symbol("=>") => {
                let message = "`=>` stands only in the arguments of a function";
                Err(Fault::new(ErrorKind::Syntax, message).at(self.span()))
            }
            _ => self.unexpected("an operator or the end"),
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Checked<T> {
        let message = format!("expected {expected}, found {}", self.peek().describe());
        let fault = Fault::new(ErrorKind::Syntax, message).at(self.span());
        Err(match foreign(self.peek()) {
            Some(hint) => fault.hint(hint),
            None => fault,
        })
    }

    fn name(&mut self, what: &str) -> Checked<(String, Span)> {
        let span = self.span();
        if !matches!(self.peek(), Token::Name(_)) {
            return self.unexpected(what);
        }
        match self.bump() {
            Token::Name(name) => Ok((name, span)),
            _ => self.unexpected(what),
        }
    }

    /// The name of a member, which may also be a keyword.
    fn member_name(&mut self, what: &str) -> Checked<(String, Span)> {
        let span = self.span();
        let Token::Keyword(keyword) = *self.peek() else { return self.name(what) };
        self.bump();
        Ok((keyword.word().to_owned(), span))
    }

    fn enter(&mut self) -> Checked<()> {
        self.open += 1;
        if self.open > DEPTH_MAX { Err(too_deep(self.span())) } else { Ok(()) }
    }

    /// A list of statements, up to the end or a `}`.
    fn statements(&mut self) -> Checked<Vec<Statement>> {
        let mut statements = Vec::new();
        loop {
            if self.take(";") {
                continue;
            }
            if *self.peek() == Token::End || self.is_symbol("}") {
                return Ok(statements);
            }
            let is_block = *self.peek() == Token::Keyword(Keyword::If);
            statements.push(self.statement()?);
            let is_done = *self.peek() == Token::End || self.is_symbol("}");
            if !is_block && !is_done && !self.take(";") {
                if self.is_symbol("=") || self.is_symbol("=>") {
                    self.expect_end()?;
                }
                return self.unexpected("an operator or `;`");
            }
        }
    }

    fn statement(&mut self) -> Checked<Statement> {
        match self.peek() {
            Token::Keyword(Keyword::Let) => {
                self.bump();
                let (name, span) = self.name("a name behind `let`")?;
                self.expect("=", "behind the name")?;
                Ok(Statement::Let(name, span, self.expr(0)?))
            }
            Token::Keyword(Keyword::Return) => {
                self.bump();
                if *self.peek() == Token::End || self.is_symbol(";") || self.is_symbol("}") {
                    let fault = Fault::new(ErrorKind::Syntax, "`return` gives a value");
                    return Err(fault.at(self.span()).hint("write `return null`"));
                }
                Ok(Statement::Return(self.expr(0)?))
            }
            Token::Keyword(Keyword::If) => self.choice(),
            _ => Ok(Statement::Expr(self.expr(0)?)),
        }
    }

    /// `if … { … } else if … { … } else { … }`: a chain is one level, however long it is.
    fn choice(&mut self) -> Checked<Statement> {
        let mut arms = Vec::new();
        loop {
            self.bump();
            let condition = self.expr(0)?;
            arms.push((condition, self.block()?));
            if *self.peek() != Token::Keyword(Keyword::Else) {
                return Ok(Statement::If(arms, Vec::new()));
            }
            self.bump();
            if *self.peek() != Token::Keyword(Keyword::If) {
                return Ok(Statement::If(arms, self.block()?));
            }
        }
    }

    fn block(&mut self) -> Checked<Vec<Statement>> {
        self.enter()?;
        self.expect("{", "before the statements")?;
        let statements = self.statements()?;
        self.expect("}", "behind the statements")?;
        self.open -= 1;
        Ok(statements)
    }

    /// An expression whose operators bind at least as tight as `least`.
    fn expr(&mut self, least: u8) -> Checked<Expr> {
        self.enter()?;
        let mut left = self.prefix()?;
        while let Some((kind, power)) = infix(self.peek()) {
            if power.left < least {
                break;
            }
            let op_span = self.span();
            self.bump();
            left = match kind {
                Infix::Binary(op) => {
                    let right = self.expr(power.right)?;
                    let (span, depth) = (left.span.to(right.span), left.depth.max(right.depth));
                    node(ExprKind::Binary(op, op_span, Box::new((left, right))), span, depth)?
                }
                Infix::And => self.chain(left, "&&", &power, ExprKind::And)?,
                Infix::Or => self.chain(left, "||", &power, ExprKind::Or)?,
                Infix::Conditional => {
                    let then = self.expr(0)?;
                    self.expect(":", "between the two results of `?`")?;
                    let other = self.expr(power.right)?;
                    let span = left.span.to(other.span);
                    let depth = left.depth.max(then.depth).max(other.depth);
                    node(ExprKind::Conditional(Box::new((left, then, other))), span, depth)?
                }
            };
        }
        self.open -= 1;
        Ok(left)
    }

    /// The operands behind the first one and its operator.
    fn chain(
        &mut self,
        first: Expr,
        symbol: &str,
        power: &Power,
        kind: fn(Vec<Expr>) -> ExprKind,
    ) -> Checked<Expr> {
        let (start, mut depth) = (first.span, first.depth);
        let mut operands = vec![first];
        loop {
            let operand = self.expr(power.right)?;
            let span = start.to(operand.span);
            depth = depth.max(operand.depth);
            operands.push(operand);
            if !self.take(symbol) {
                return node(kind(operands), span, depth);
            }
        }
    }

    fn prefix(&mut self) -> Checked<Expr> {
        let start = self.span();
        let is_minus = self.is_symbol("-");
        if !is_minus && !self.is_symbol("!") {
            return self.postfix();
        }
        self.bump();
        if is_minus && let Token::Int(digits) = *self.peek() {
            let Some(number) = 0_i64.checked_sub_unsigned(digits) else {
                return Err(int_out_of_range().at(self.span()));
            };
            let span = start.to(self.span());
            self.bump();
            return self.trailers(Expr { kind: ExprKind::Int(number), span, depth: 1 });
        }
        let operand = self.expr(UNARY)?;
        let (span, depth) = (start.to(operand.span), operand.depth);
        let operand = Box::new(operand);
        let kind = if is_minus { ExprKind::Negate(operand) } else { ExprKind::Not(operand) };
        node(kind, span, depth)
    }

    fn postfix(&mut self) -> Checked<Expr> {
        let primary = self.primary()?;
        self.trailers(primary)
    }

    /// Members and indexes behind an expression.
    fn trailers(&mut self, mut expr: Expr) -> Checked<Expr> {
        loop {
            let (start, depth) = (expr.span, expr.depth);
            if self.take(".") {
                let (name, span) = self.member_name("the name of a member behind `.`")?;
                let kind = ExprKind::Member(Box::new(expr), name, span);
                expr = node(kind, start.to(span), depth)?;
            } else if self.take("[") {
                let (indexes, end) = self.list("]", "behind the index", Self::any_expr)?;
                if indexes.is_empty() {
                    let message = "an index stands between `[` and `]`";
                    return Err(Fault::new(ErrorKind::Syntax, message).at(end));
                }
                let depth = indexes.iter().map(|index| index.depth).fold(depth, usize::max);
                expr = node(ExprKind::Index(Box::new(expr), indexes), start.to(end), depth)?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn any_expr(&mut self) -> Checked<Expr> {
        self.expr(0)
    }

    /// Items with commas between them, and perhaps behind the last, up to `close`.
    fn list<T>(
        &mut self,
        close: &str,
        place: &str,
        item: fn(&mut Self) -> Checked<T>,
    ) -> Checked<(Vec<T>, Span)> {
        let mut items = Vec::new();
        loop {
            let span = self.span();
            if self.take(close) {
                return Ok((items, span));
            }
            items.push(item(self)?);
            let span = self.span();
            if self.take(close) {
                return Ok((items, span));
            }
            if !self.take(",") {
                return self.unexpected(&format!("`,` or `{close}` {place}"));
            }
        }
    }

    fn primary(&mut self) -> Checked<Expr> {
        let span = self.span();
        let leaf = |kind| Ok(Expr { kind, span, depth: 1 });
        match self.peek() {
            Token::Symbol("(") => {
                self.bump();
                let mut inner = self.expr(0)?;
                inner.span = span.to(self.expect(")", "behind the expression")?);
                return Ok(inner);
            }
            Token::Symbol("[") => {
                self.bump();
                let (items, end) = self.list("]", "behind the items", Self::any_expr)?;
                let depth = items.iter().map(|item| item.depth).max().unwrap_or(0);
                return node(ExprKind::Array(items), span.to(end), depth);
            }
            Token::Symbol("{") => {
                self.bump();
                let (members, end) = self.list("}", "behind the members", Self::member)?;
                let depth = members.iter().map(|(_, _, value)| value.depth).max().unwrap_or(0);
                return node(ExprKind::Object(members), span.to(end), depth);
            }
            Token::Keyword(Keyword::If) => {
                let message = "`if` is a statement";
                let fault = Fault::new(ErrorKind::Syntax, message).at(span);
                return Err(fault.hint("inside an expression, `a ? b : c` chooses"));
            }
            Token::Keyword(Keyword::Null | Keyword::True | Keyword::False)
            | Token::Int(_)
            | Token::Float(_)
            | Token::Text(_)
            | Token::Name(_)
            | Token::Parameter(_) => {}
            _ => return self.unexpected("an expression"),
        }
        match self.bump() {
            Token::Int(digits) => {
                let number = i64::try_from(digits).map_err(|_| int_out_of_range().at(span))?;
                leaf(ExprKind::Int(number))
            }
            Token::Float(number) => leaf(ExprKind::Float(number)),
            Token::Text(text) => leaf(ExprKind::Text(text)),
            Token::Parameter(name) => leaf(ExprKind::Parameter(name)),
            Token::Keyword(Keyword::True) => leaf(ExprKind::Bool(true)),
            Token::Keyword(Keyword::False) => leaf(ExprKind::Bool(false)),
            Token::Name(name) if self.take("(") => {
                let (arguments, end) = self.list(")", "behind the arguments", Self::argument)?;
                let depth = arguments.iter().map(Argument::depth).max().unwrap_or(0);
                node(ExprKind::Call(name, span, arguments), span.to(end), depth)
            }
            Token::Name(name) => leaf(ExprKind::Name(name)),
            _ => leaf(ExprKind::Null),
        }
    }

    fn member(&mut self) -> Checked<(String, Span, Expr)> {
        let span = self.span();
        let name = if matches!(self.peek(), Token::Text(_)) {
            match self.bump() {
                Token::Text(name) => name,
                _ => String::new(),
            }
        } else {
            self.member_name("the name of a member")?.0
        };
        self.expect(":", "behind the name of a member")?;
        Ok((name, span, self.expr(0)?))
    }

    fn argument(&mut self) -> Checked<Argument> {
        let start = self.span();
        let mut parameters = Vec::new();
        let is_name = |token: &Token| matches!(token, Token::Name(_));
        let is = |token: &Token, symbol: &str| matches!(token, Token::Symbol(s) if *s == symbol);
        if is_name(self.peek()) && is(self.peek_at(1), "=>") {
            parameters.push(self.name("a name")?);
        } else if self.is_symbol("(")
            && is_name(self.peek_at(1))
            && (is(self.peek_at(2), ",") || (is(self.peek_at(2), ")") && is(self.peek_at(3), "=>")))
        {
            self.bump();
            let place = "behind the names";
            parameters = self.list(")", place, |parser| parser.name("a name"))?.0;
        }
        if parameters.is_empty() {
            return Ok(Argument::Value(self.expr(0)?));
        }
        self.expect("=>", "behind the names")?;
        if parameters.len() > 2 {
            let message = "there are at most two names: the item and its key";
            return Err(Fault::new(ErrorKind::Syntax, message).at(start));
        }
        let body = self.expr(0)?;
        let span = start.to(body.span);
        Ok(Argument::Lambda(Lambda { parameters, body, span }))
    }
}

/// A node above others, of which the deepest has `below` levels.
fn node(kind: ExprKind, span: Span, below: usize) -> Checked<Expr> {
    if below >= DEPTH_MAX { Err(too_deep(span)) } else { Ok(Expr { kind, span, depth: below + 1 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with all its parentheses.
    fn shape(expr: &Expr) -> String {
        let list = |items: &[Expr], by: &str| items.iter().map(shape).collect::<Vec<_>>().join(by);
        match &expr.kind {
            ExprKind::Int(number) => number.to_string(),
            ExprKind::Float(number) => number.to_string(),
            ExprKind::Name(name) => name.clone(),
            ExprKind::Binary(op, _, sides) => {
                format!("({}{}{})", shape(&sides.0), op.symbol(), shape(&sides.1))
            }
            ExprKind::And(items) => format!("({})", list(items, "&&")),
            ExprKind::Or(items) => format!("({})", list(items, "||")),
            ExprKind::Negate(inner) => format!("-{}", shape(inner)),
            ExprKind::Not(inner) => format!("!{}", shape(inner)),
            ExprKind::Conditional(parts) => {
                format!("({}?{}:{})", shape(&parts.0), shape(&parts.1), shape(&parts.2))
            }
            ExprKind::Member(of, name, _) => format!("{}.{name}", shape(of)),
            ExprKind::Index(of, indexes) => format!("{}[{}]", shape(of), list(indexes, ",")),
            other => format!("{other:?}"),
        }
    }

    fn parsed(source: &str) -> String {
        shape(&parse_expression(source).unwrap())
    }

    #[test]
    fn operators_bind_as_documented() {
        for (source, expected) in [
            ("a || b && c", "(a||(b&&c))"),
            ("a && b && c || d || e", "((a&&b&&c)||d||e)"),
            ("2^3^2", "(2^(3^2))"),
            ("-2^2", "(-2^2)"),
            ("-a^2", "(-a^2)"),
            ("!a == b", "(!a==b)"),
            ("a - b - c", "((a-b)-c)"),
            ("a + b * c % d", "(a+((b*c)%d))"),
            ("a ?? b ?? c > 1 + 2", "((a??(b??c))>(1+2))"),
            ("a ? b : c ? d : e", "(a?b:(c?d:e))"),
            ("a ? b ? 1 : 2 : 3", "(a?(b?1:2):3)"),
            ("a.b[1].c[d, e]", "a.b[1].c[d,e]"),
            ("a in b && c", "((ainb)&&c)"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("(a || b) && c", "((a||b)&&c)"),
        ] {
            assert_eq!(parsed(source), expected, "{source}");
        }
    }

    #[test]
    fn nesting_has_a_limit_of_its_own_and_chains_have_none() {
        let nested = |open: &str, close: &str, count: usize| {
            parse_expression(&format!("{}1{}", open.repeat(count), close.repeat(count)))
        };
        for (open, close) in [("(", ")"), ("[", "]"), ("-", ""), ("!", ""), ("f(", ")"), ("1+", "")]
        {
            let count = if open == "1+" { 101 } else { 20_000 };
            let error = nested(open, close, count).unwrap_err();
            assert_eq!(error.kind, ErrorKind::TooDeep, "{open}");
            assert!(nested(open, close, DEPTH_MAX - 1).is_ok(), "{open}");
        }
        assert_eq!(nested("a?1:", "", 20_000).unwrap_err().kind, ErrorKind::TooDeep);
        assert_eq!(nested("", ".a", 20_000).unwrap_err().kind, ErrorKind::TooDeep);
        let blocks = "if a {".repeat(20_000);
        assert_eq!(parse_program(&blocks).unwrap_err().kind, ErrorKind::TooDeep);
        assert!(parse_expression(&format!("a{}", " && a".repeat(5_000))).is_ok());
        assert!(parse_program(&format!("if a {{}}{}", " else if a {1}".repeat(2_000))).is_ok());
    }

    #[test]
    fn semicolons_are_optional_where_nothing_is_unclear() {
        for source in ["", ";;", "1", "1;", "let a = 1; a", "if a { 1 } 2", "if a { 1 }; 2;"] {
            assert!(parse_program(source).is_ok(), "{source}");
        }
        let message = |source| parse_program(source).unwrap_err().message;
        assert_eq!(message("1 2"), "expected an operator or `;`, found a number");
        assert_eq!(message("a = 2"), "a name cannot be given another value");
        assert_eq!(message("let if = 2"), "expected a name behind `let`, found `if`");
        assert_eq!(message("if a { 1"), "expected `}` behind the statements, found the end");
        assert_eq!(message("if a { return }"), "`return` gives a value");
    }

    #[test]
    fn words_of_other_languages_are_answered_with_those_of_this_one() {
        for (source, expected) in [
            ("a and b", "write `&&`"),
            ("a OR b", "write `||`"),
            ("a not in b", "write `!`"),
            ("a is null", "write `==`"),
            ("a like 'x%'", "`glob`, `contains` and `matches` look into a text"),
            ("a === b", "write `==`"),
            ("a <> b", "write `!=`"),
            ("a ** b", "write `^`"),
            ("a + .5", "a number needs a digit before its point, as in `0.5`"),
            ("return;", "write `return null`"),
        ] {
            let hint = parse_program(source).unwrap_err().hint;
            assert_eq!(hint.as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn members_may_be_called_as_keywords() {
        assert_eq!(parsed("a.in.null"), "a.in.null");
        assert!(parse_expression("{in: 1, null: 2}").is_ok());
        assert!(parse_expression("{in, null}").is_err());
        assert!(parse_expression("in").is_err());
    }
}
